//! One way as fast as it goes, until who watches it has seen enough.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Way;
use super::arena::{Arena, Begin, Match};
use super::cores::Cores;
use crate::delivery::{Flow, Outage};
use crate::duplex::{Duplex, explain};
use crate::failure::Failure;
use crate::pattern::Pattern;

/// Octets of one write and of one read.
const PIECE_BYTES: usize = 32 * 1024;

/// What arrives, for whoever watches.
pub(super) struct Watch<'a> {
    pub(super) flow: &'a Flow,
    pub(super) outage: &'a Outage,
    failed: &'a dyn Fn() -> bool,
}

impl Watch<'_> {
    /// Waits that long, or until a side has given up.
    pub(super) fn wait(&self, time: Duration) {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline && !(self.failed)() {
            thread::park_timeout(Duration::from_millis(2));
        }
    }
}

/// Opens a connection and sends one way, octets compared, until `watch` returns; the server's thread on its core.
pub(super) fn flood<T>(
    arena: &dyn Arena,
    way: Way,
    begin: Begin,
    cores: Option<Cores>,
    watch: impl FnOnce(&Watch<'_>) -> T,
) -> Result<T, Failure> {
    let ends = arena.connect(begin)?;
    let Match { client, server, .. } = &ends;
    let (from, to): (&dyn Duplex, &dyn Duplex) = match way {
        Way::Up => (&**client, &**server),
        Way::Down => (&**server, &**client),
    };
    // Threads begin on the core of who starts them, which is the client's.
    let settle = |is_server: bool| match cores {
        Some(cores) if is_server => cores.pin_server(),
        Some(_) | None => Ok(()),
    };
    let name = arena.name();
    let failed = |error| Failure::run(format!("{name} {way}: {}", explain(&error)));
    let (pattern, stop) = (Pattern::new(1), AtomicBool::new(false));
    let (flow, outage) = (Flow::new(), Outage::default());
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            settle(way == Way::Down)?;
            send(from, &pattern, &stop).map_err(failed)
        });
        let receiver = scope.spawn(|| {
            settle(way == Way::Up)?;
            receive(to, &pattern, &flow, &outage, &stop).map_err(failed)
        });
        let has_failed = || sender.is_finished() || receiver.is_finished();
        let seen = watch(&Watch { flow: &flow, outage: &outage, failed: &has_failed });
        stop.store(true, Ordering::Relaxed);
        [from, to].iter().for_each(|end| end.abort());
        let results = [sender.join(), receiver.join()];
        for result in results {
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(seen)
    })
}

fn send(stream: &dyn Duplex, pattern: &Pattern, stop: &AtomicBool) -> io::Result<()> {
    let mut sent = 0;
    loop {
        match stream.send_all(pattern.at(sent, PIECE_BYTES)) {
            // What ends the transfer is an abort.
            _ if stop.load(Ordering::Relaxed) => return Ok(()),
            Ok(()) => sent += PIECE_BYTES as u64,
            Err(error) => return Err(error),
        }
    }
}

fn receive(
    stream: &dyn Duplex,
    pattern: &Pattern,
    flow: &Flow,
    outage: &Outage,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let result = stream.receive(&mut piece);
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let len = match result? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => len,
        };
        if piece[..len] != *pattern.at(flow.received(), len) {
            return Err(io::Error::other(format!("wrong data after {} bytes", flow.received())));
        }
        flow.deliver(len, outage);
    }
}
