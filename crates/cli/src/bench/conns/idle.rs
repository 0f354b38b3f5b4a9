//! Idle connections: the stack's memory for each, and whether they slow a busy one down.
//!
//! The peer is a kernel, so that the heap of the process holds one side of each connection and no more.

use std::fs;
use std::time::Duration;

use polytcp_lab::heap_octets;
use serde::Serialize;

use super::Args;
use super::crowd::Crowd;
use crate::bench::Peer;
use crate::bench::arena::{Arena, Begin, Direct, StackArena};
use crate::bench::cores::Cores;
use crate::bench::ping::{Exchange, ping};
use crate::bench::samples::{Spread, SpreadRatio, SpreadReport};
use crate::failure::Failure;
use crate::{Outcome, output, units};

/// How long the exchanges of one round last.
const PING_TIME: Duration = Duration::from_secs(1);

/// The JSON object.
#[derive(Serialize)]
struct Report {
    peer: Peer,
    idle: u32,
    paths: u8,
    rounds: u32,
    /// Each side on a core of its own.
    pinned: bool,
    memory: Memory,
    /// One octet each way on one more connection of the host that has the idle ones.
    beside: SpreadReport,
    /// The same on a host that has none.
    alone: SpreadReport,
    ratio: SpreadRatio,
}

/// Octets for each connection.
#[derive(Clone, Copy, Serialize)]
struct Memory {
    /// Allocated; absent where the C library does not tell.
    heap_bytes: Option<f64>,
    /// In the process's resident memory.
    resident_bytes: f64,
}

/// The process at one moment.
#[derive(Clone, Copy)]
struct Weight {
    heap: Option<usize>,
    resident: u64,
}

pub(super) fn run(args: &Args, count: u32, cores: Option<Cores>) -> Outcome {
    let empty = StackArena::direct(&Direct::new(args.paths, args.mtu))?;
    let full = StackArena::direct(&Direct::new(args.paths, args.mtu))?;
    // What the first connection of a host allocates is not each connection's.
    drop(full.connect(Begin::Joined)?);
    let before = Weight::now()?;
    let crowd = Crowd::open(&full, count)?;
    let memory = Weight::now()?.each_since(before, count);
    if !args.json {
        let of = format!("of {count} connections with {} subflows", args.paths);
        if let Some(heap) = memory.heap_bytes {
            output::line(&format!("heap       {heap:.0} octets for each {of}"));
        }
        output::line(&format!("resident   {:.0} octets for each", memory.resident_bytes));
    }
    let (alone, beside) = (empty.connect(Begin::Joined)?, full.connect(Begin::Joined)?);
    let mut spreads: [Spread; 2] = Default::default();
    for _ in 0..args.rounds {
        for (ends, spread) in [&beside, &alone].into_iter().zip(&mut spreads) {
            spread.add(ping(ends, Exchange::PING, PING_TIME, cores)?);
        }
    }
    crowd.is_whole()?;
    let [beside, alone] = &spreads;
    let report = Report {
        peer: args.peer,
        idle: count,
        paths: args.paths,
        rounds: args.rounds,
        pinned: cores.is_some(),
        memory,
        beside: beside.report(),
        alone: alone.report(),
        ratio: beside.by(alone),
    };
    if args.json {
        return output::json(&report);
    }
    output::line("");
    output::line("one octet each way    µs p50                  p99                      p99.9");
    for (name, spread) in [("beside the idle ones", &report.beside), ("alone", &report.alone)] {
        let [p50, p99, p999] = spread.cells();
        output::line(&format!("{name:<21} {p50:<23} {p99:<24} {p999}"));
    }
    let SpreadRatio { p50, p99, p999 } = report.ratio;
    output::line(&format!("{:<21} {p50:<23.2} {p99:<24.2} {p999:.2}", "ratio"));
    Ok(())
}

impl Weight {
    fn now() -> Result<Self, Failure> {
        let status =
            fs::read_to_string("/proc/self/status").map_err(Failure::running("reading /proc/self/status"))?;
        let resident = resident_bytes(&status)
            .ok_or_else(|| Failure::run("/proc/self/status does not tell the resident memory"))?;
        Ok(Self { heap: heap_octets(), resident })
    }

    fn each_since(self, before: Self, count: u32) -> Memory {
        let each = |grown: f64| units::rounded(grown / f64::from(count));
        let heap = self.heap.zip(before.heap).map(|(now, before)| each(now as f64 - before as f64));
        Memory { heap_bytes: heap, resident_bytes: each(self.resident as f64 - before.resident as f64) }
    }
}

/// `VmRSS` of `/proc/self/status`, which is in KiB.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_memory_is_read_from_the_status() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    1234 kB\nVmData:\t 9 kB\n"), Some(1234 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
