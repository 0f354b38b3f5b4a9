//! Short flows: how long a connection of a few kilobytes takes, from its first packet to its last octet.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::Way;
use crate::bench::arena::{Arena, accept};
use crate::bench::figures::Rounds;
use crate::bench::samples::Samples;
use crate::duplex::{Duplex, explain};
use crate::failure::Failure;
use crate::pattern::Pattern;
use crate::units;

/// Octets of one write and of one read.
const PIECE_BYTES: usize = 32 * 1024;
/// Longest wait of one read or write.
const STALL_MAX: Duration = Duration::from_secs(30);

/// What one contestant's flows of one size and way took.
#[derive(Debug, Default)]
pub(super) struct FlowScore {
    /// Of each round, in milliseconds.
    pub(super) medians: Rounds,
    /// Of all rounds.
    all: Samples,
}

impl FlowScore {
    pub(super) fn add(&mut self, round: &[Duration]) {
        let millis: Vec<_> = round.iter().map(|took| units::millis(*took)).collect();
        self.medians.add(units::median(&millis));
        round.iter().for_each(|took| self.all.add(*took));
    }

    /// In milliseconds: what 95 % of the flows did not exceed.
    pub(super) fn p95(&self) -> f64 {
        units::millis(self.all.clone().percentile(950))
    }
}

/// One flow: a new connection that carries `bytes`, used as soon as the client may write. Up, the server says with an
/// octet that it has all; down, the client asks with one.
pub(super) fn flow(
    arena: &dyn Arena,
    way: Way,
    bytes: usize,
    pattern: &Pattern,
) -> Result<Duration, Failure> {
    let (to, listener) = arena.listen()?;
    let (name, cc) = (arena.name(), arena.kernel_cc().to_owned());
    let failed = |error| Failure::run(format!("{name}, short flow {way}: {}", explain(&error)));
    thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let server = accept(&listener, &cc)?;
            serve(&server, way, bytes, pattern).map_err(failed)
        });
        let begun = Instant::now();
        let asked = arena.dial(to).and_then(|client| {
            use_up(&*client, way, bytes, pattern).map_err(failed)?;
            let took = begun.elapsed();
            end(&*client).map_err(failed)?;
            Ok(took)
        });
        let served = serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let took = asked?;
        served.map(|()| took)
    })
}

fn use_up(client: &dyn Duplex, way: Way, bytes: usize, pattern: &Pattern) -> io::Result<()> {
    client.limit_waits(STALL_MAX)?;
    match way {
        Way::Up => {
            send(client, bytes, pattern)?;
            client.receive_exact(&mut [0])
        }
        Way::Down => {
            client.send_all(b"?")?;
            receive(client, bytes, pattern)
        }
    }
}

fn serve(server: &dyn Duplex, way: Way, bytes: usize, pattern: &Pattern) -> io::Result<()> {
    server.limit_waits(STALL_MAX)?;
    match way {
        Way::Up => {
            receive(server, bytes, pattern)?;
            server.send_all(b".")?;
        }
        Way::Down => {
            server.receive_exact(&mut [0])?;
            send(server, bytes, pattern)?;
        }
    }
    end(server)
}

fn send(stream: &dyn Duplex, bytes: usize, pattern: &Pattern) -> io::Result<()> {
    (0..bytes)
        .step_by(PIECE_BYTES)
        .try_for_each(|at| stream.send_all(pattern.at(at as u64, PIECE_BYTES.min(bytes - at))))
}

fn receive(stream: &dyn Duplex, bytes: usize, pattern: &Pattern) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut received = 0;
    while received < bytes {
        let len = match stream.receive(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => len,
        };
        if piece[..len] != *pattern.at(received as u64, len) {
            return Err(io::Error::other(format!("wrong data after {received} bytes")));
        }
        received += len;
    }
    if received == bytes { Ok(()) } else { Err(io::Error::other("more than was asked for")) }
}

/// Closes in order, as both sides do once they have all.
fn end(stream: &dyn Duplex) -> io::Result<()> {
    stream.finish()?;
    match stream.receive(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("more than was asked for")),
    }
}
