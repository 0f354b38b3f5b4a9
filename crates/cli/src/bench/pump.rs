//! One measured transfer of a given size, as fast as it goes.

use std::fmt;
use std::io;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use super::Way;
use super::arena::Ends;
use super::cores::{Cores, process_time, thread_time};
use super::end::End;
use crate::duplex::explain;
use crate::failure::Failure;
use crate::pattern::Pattern;
use crate::units;

/// Octets of one read, on both sides and for both stacks.
pub(super) const PIECE_BYTES: usize = 256 * 1024;

/// Which way the data of a transfer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Course {
    /// From the client.
    Up,
    /// To the client.
    Down,
    /// Both at once.
    Both,
}

impl Course {
    const fn ways(self) -> &'static [Way] {
        match self {
            Self::Up => &[Way::Up],
            Self::Down => &[Way::Down],
            Self::Both => &Way::BOTH,
        }
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Both => "both",
        })
    }
}

/// Whether the receiver compares what it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Check {
    EveryOctet,
    LengthOnly,
}

/// What each connection carries each way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Octets in all.
    pub(super) size: u64,
    /// Octets of one write.
    pub(super) write_bytes: usize,
    pub(super) check: Check,
}

impl Load {
    /// Nothing: only the end of the direction.
    pub(super) fn none(self) -> Self {
        Self { size: 0, ..self }
    }
}

/// What a transfer took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// All that was carried.
    pub(super) octets: u64,
    /// From the first write to the last end of a stream at its receiver.
    pub(super) elapsed: Duration,
    /// Processor time of the whole process without the server's threads.
    pub(super) client_cpu: Duration,
    /// How long a receiver waited for data, after its first octets.
    pub(super) longest_pause: Duration,
}

impl Measured {
    pub(super) fn gbps(&self) -> f64 {
        units::mbps(self.octets, self.elapsed) / 1e3
    }
}

/// What a receiver saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reception {
    pub(super) ended: Instant,
    pub(super) longest_pause: Duration,
}

/// Which side of the connections a thread is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Client,
    Server,
}

/// One thread's part.
struct Run {
    started: Instant,
    reception: Option<Reception>,
    /// Of a server's thread.
    server_cpu: Duration,
}

/// Carries `load` over each connection, and ends them.
pub(super) fn transfer(
    connections: &[Ends],
    course: Course,
    load: Load,
    pattern: &Arc<Pattern>,
    cores: Option<Cores>,
) -> Result<Measured, Failure> {
    let parts = connections.iter().flat_map(|ends| {
        let sides = [(Side::Client, &*ends.client), (Side::Server, &*ends.server)];
        course.ways().iter().flat_map(move |way| sides.map(|(side, stream)| (*way, side, stream)))
    });
    let parts: Vec<_> = parts.collect();
    let start_line = Barrier::new(parts.len());
    let run = |way: Way, side: Side, stream: &dyn End| -> Result<Run, Failure> {
        if let (Side::Server, Some(cores)) = (side, cores) {
            cores.pin_server()?;
        }
        let failed = |error: io::Error| Failure::run(format!("{way}, {side}: {}", explain(&error)));
        let sends = (way == Way::Up) == (side == Side::Client);
        let cpu = thread_time();
        start_line.wait();
        let started = Instant::now();
        let reception = if sends {
            stream.send_pattern(load, pattern).map_err(failed)?;
            None
        } else {
            Some(stream.receive_pattern(load, pattern).map_err(failed)?)
        };
        // The other direction of a connection that carries one only.
        match (course, sends) {
            (Course::Both, _) => {}
            (_, true) => _ = stream.receive_pattern(load.none(), pattern).map_err(failed)?,
            (_, false) => stream.end().map_err(failed)?,
        }
        let server_cpu = if side == Side::Server { thread_time() - cpu } else { Duration::ZERO };
        Ok(Run { started, reception, server_cpu })
    };
    let run = &run;
    let cpu = process_time();
    let runs: Result<Vec<Run>, Failure> = thread::scope(|scope| {
        let threads: Vec<_> = parts
            .into_iter()
            .map(|(way, side, stream)| scope.spawn(move || run(way, side, stream)))
            .collect();
        // All of them are waited for, whatever the first says.
        let runs: Vec<_> = threads.into_iter().map(join).collect();
        runs.into_iter().collect()
    });
    let cpu = process_time() - cpu;
    let runs = runs?;
    let received = || runs.iter().filter_map(|run| run.reception);
    let started = runs.iter().filter(|run| run.reception.is_none()).map(|run| run.started).min();
    let ended = received().map(|reception| reception.ended).max();
    Ok(Measured {
        octets: load.size * received().count() as u64,
        elapsed: ended
            .zip(started)
            .map_or(Duration::ZERO, |(end, start)| end.saturating_duration_since(start)),
        client_cpu: cpu.saturating_sub(runs.iter().map(|run| run.server_cpu).sum()),
        longest_pause: received().map(|reception| reception.longest_pause).max().unwrap_or_default(),
    })
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
