//! One measured transfer of a given size, as fast as it goes.

use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::Way;
use super::arena::Match;
use super::cores::{Cores, process_time, thread_time};
use crate::duplex::{Duplex, explain};
use crate::failure::Failure;
use crate::pattern::Pattern;

/// Octets of one read, on both sides and for both stacks.
const PIECE_BYTES: usize = 256 * 1024;

/// Whether the receiver compares what it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Check {
    EveryOctet,
    LengthOnly,
}

/// What is carried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Octets in all.
    pub(super) size: u64,
    /// Octets of one write.
    pub(super) write_bytes: usize,
}

/// What a transfer took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// From the first write to the end of the stream at the receiver.
    pub(super) elapsed: Duration,
    /// Processor time of the whole process without the server's thread.
    pub(super) client_cpu: Duration,
}

/// Carries `load` one way, and ends the connection.
pub(super) fn transfer(
    ends: &Match,
    way: Way,
    load: Load,
    pattern: &Pattern,
    check: Check,
    cores: Option<Cores>,
) -> Result<Measured, Failure> {
    let start_line = Barrier::new(2);
    let (client, server) = (&*ends.client, &*ends.server);
    let run = |stream: &dyn Duplex, sends: bool| -> io::Result<Run> {
        let cpu = thread_time();
        start_line.wait();
        let started = Instant::now();
        if sends {
            send(stream, load, pattern)?;
        } else {
            receive(stream, load.size, pattern, check)?;
        }
        let ended = Instant::now();
        if sends {
            drain(stream)?
        } else {
            stream.finish()?
        }
        Ok(Run { started, ended, cpu: thread_time() - cpu })
    };
    let cpu = process_time();
    let (at_client, at_server) = thread::scope(|scope| {
        let at_server = scope.spawn(|| {
            cores.map_or(Ok(()), Cores::pin_server)?;
            run(server, way == Way::Down).map_err(failed(way, "server"))
        });
        let at_client = scope.spawn(|| run(client, way == Way::Up).map_err(failed(way, "client")));
        (join(at_client), join(at_server))
    });
    let cpu = process_time() - cpu;
    let (at_client, at_server) = (at_client?, at_server?);
    let (sender, receiver) = match way {
        Way::Up => (&at_client, &at_server),
        Way::Down => (&at_server, &at_client),
    };
    Ok(Measured {
        elapsed: receiver.ended.saturating_duration_since(sender.started),
        client_cpu: cpu.saturating_sub(at_server.cpu),
    })
}

/// One side of a transfer.
struct Run {
    started: Instant,
    ended: Instant,
    cpu: Duration,
}

fn failed(way: Way, side: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::run(format!("transfer {way}, {side}: {}", explain(&error)))
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn send(stream: &dyn Duplex, load: Load, pattern: &Pattern) -> io::Result<()> {
    let mut sent = 0;
    while sent < load.size {
        let len = usize::try_from(load.size - sent).unwrap_or(usize::MAX).min(load.write_bytes);
        stream.send_all(pattern.at(sent, len))?;
        sent += len as u64;
    }
    stream.finish()
}

fn receive(stream: &dyn Duplex, size: u64, pattern: &Pattern, check: Check) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut received = 0;
    loop {
        let len = stream.receive(&mut piece)?;
        if len == 0 {
            break;
        }
        if check == Check::EveryOctet && piece[..len] != *pattern.at(received, len) {
            return Err(io::Error::other(format!("wrong data after {received} bytes")));
        }
        received += len as u64;
    }
    if received == size { Ok(()) } else { Err(io::Error::other(format!("{received} of {size} bytes came"))) }
}

/// Waits for the other side's end of stream.
fn drain(stream: &dyn Duplex) -> io::Result<()> {
    match stream.receive(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("data came the wrong way")),
    }
}
