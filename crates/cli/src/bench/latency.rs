//! Latency: small exchanges of the stack with the kernel over TUN, and of the kernel with the kernel over veth.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::arena::{Arena, Begin, Direct, KERNEL_CC, KernelArena, StackArena};
use super::cores::{Cores, Pinning};
use super::flood::flood;
use super::ping::{Exchange, ping};
use super::samples::{Samples, Spread, SpreadRatio, SpreadReport};
use super::{Peer, Way};
use crate::failure::Failure;
use crate::{Outcome, output, units};

/// How long small exchanges take: one octet each way, and 16 KiB as the answer to one octet.
///
/// The stack with the kernel, and the kernel with the kernel, in alternating rounds. Every stream has TCP_NODELAY. The
/// client's threads are on one core and the server's on another.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Whom the stack is measured with.
    #[arg(long, value_enum, default_value_t = Peer::Linux)]
    peer: Peer,
    /// How many paths, 1 to 8.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    paths: u8,
    /// Octets of the largest IP packet on each path, 1280 to 65535.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1280..))]
    mtu: u16,
    /// Measured rounds, 1 to 100.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long one kind of exchange is measured in a round, up to 10s.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::parse_delay)]
    time: Duration,
    /// Beside another connection of the same hosts that sends as fast as it can: up, from the client, or down.
    #[arg(long, value_name = "WAY", value_enum, num_args = 0..=1, default_missing_value = "up")]
    loaded: Option<Load>,
    /// Lets the kernel choose each thread's core.
    #[arg(long)]
    unpinned: bool,
    /// Prints one JSON object to stdout and nothing else.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Load {
    Up,
    Down,
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    peer: Peer,
    paths: u8,
    mtu: u16,
    rounds: u32,
    time_ms: f64,
    kernel_cc: &'static str,
    /// Each side on a core of its own.
    pinned: bool,
    loaded: Option<Load>,
    ping: Figure,
    request: Figure,
}

#[derive(Serialize)]
struct Figure {
    answer_bytes: usize,
    polytcp: SpreadReport,
    kernel: SpreadReport,
    ratio: SpreadRatio,
}

const EXCHANGES: [(&str, Exchange); 2] = [("1 B", Exchange::PING), ("16 KiB", Exchange::REQUEST)];

pub(super) fn run(args: &Args) -> Outcome {
    let cores = Pinning::choose(args.unpinned)?.cores();
    let stack = StackArena::direct(&Direct::new(args.paths, args.mtu))?;
    let kernels = KernelArena::direct(&Direct::new(args.paths, args.mtu))?;
    let arenas: [&dyn Arena; 2] = [&stack, &kernels];
    // One exchange has a row for each contestant.
    let mut spreads: [[Spread; 2]; 2] = Default::default();
    for round in 1..=args.rounds {
        for ((_, exchange), rows) in EXCHANGES.into_iter().zip(&mut spreads) {
            for (arena, spread) in arenas.into_iter().zip(rows) {
                spread.add(measure(arena, exchange, args, cores)?);
            }
        }
        if !args.json {
            output::line(&format!("round {round} of {}", args.rounds));
        }
    }
    let [ping, request] = &spreads;
    let report = Report {
        peer: args.peer,
        paths: args.paths,
        mtu: args.mtu,
        rounds: args.rounds,
        time_ms: units::millis(args.time),
        kernel_cc: KERNEL_CC,
        pinned: cores.is_some(),
        loaded: args.loaded,
        ping: Figure::new(Exchange::PING, ping),
        request: Figure::new(Exchange::REQUEST, request),
    };
    if args.json {
        return output::json(&report);
    }
    tell(&report);
    Ok(())
}

fn measure(
    arena: &dyn Arena,
    exchange: Exchange,
    args: &Args,
    cores: Option<Cores>,
) -> Result<Samples, Failure> {
    let ends = arena.connect(Begin::Joined)?;
    let exchanges = || ping(&ends, exchange, args.time, cores);
    let way = match args.loaded {
        None => return exchanges(),
        Some(Load::Up) => Way::Up,
        Some(Load::Down) => Way::Down,
    };
    flood(arena, way, Begin::Joined, cores, |watch| {
        // The other connection's windows have their size by then.
        watch.wait(SETTLING);
        exchanges()
    })?
}

const SETTLING: Duration = Duration::from_millis(200);

impl Figure {
    fn new(exchange: Exchange, [stack, kernel]: &[Spread; 2]) -> Self {
        Self {
            answer_bytes: exchange.answer_bytes,
            polytcp: stack.report(),
            kernel: kernel.report(),
            ratio: stack.by(kernel),
        }
    }
}

fn tell(report: &Report) {
    output::line("");
    output::line("answer            µs p50                  p99                      p99.9");
    for ((name, _), figure) in EXCHANGES.into_iter().zip([&report.ping, &report.request]) {
        for (whose, spread) in [("polytcp", &figure.polytcp), ("kernel", &figure.kernel)] {
            let [p50, p99, p999] = spread.cells();
            output::line(&format!("{name:<8} {whose:<8} {p50:<23} {p99:<24} {p999}"));
        }
        let SpreadRatio { p50, p99, p999 } = figure.ratio;
        output::line(&format!("{name:<8} {:<8} {p50:<23.2} {p99:<24.2} {p999:.2}", "ratio"));
    }
    output::line("");
    let load = match report.loaded {
        None => "",
        Some(Load::Up) => ", beside an upload",
        Some(Load::Down) => ", beside a download",
    };
    let pinned = if report.pinned { "each side on its core" } else { "not pinned" };
    output::line(&format!(
        "medians [range] of {} rounds of {} ms over {} paths of MTU {}{load}; {pinned}",
        report.rounds, report.time_ms, report.paths, report.mtu,
    ));
}
