//! Many connections: how many a second are opened, used and closed; or what idle ones cost.
//!
//! - [`hosts`]: who connects to whom. [`turnover`]: one round of short connections. [`idle`]: what is
//!   measured beside a [`crowd`] that stays.

mod crowd;
mod hosts;
mod idle;
mod turnover;

use serde::Serialize;

use self::hosts::Contest;
use self::turnover::{Round, turnover};
use super::Peer;
use super::arena::{Direct, KernelArena, StackArena};
use super::cores::Pinning;
use super::figures::{Rounds, Series, ratio};
use crate::failure::Failure;
use crate::{Outcome, output, units};

/// Many connections: opened, used for 64 octets each way and closed, per second; or idle ones and what they cost.
///
/// The stack connects to the kernel, the kernel to the stack, and the kernel to the kernel, in alternating rounds. The
/// stack's threads are on one core and the peer's on another. A connection that fails is told, and the command with it.
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
    /// What is spoken.
    #[arg(long, value_enum, default_value_t = Spoken::Mptcp)]
    protocol: Spoken,
    /// Connections of one round of one pair of hosts, 1 to 20000.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    count: u32,
    /// How many at once, 1 to 256: each side has so many threads.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    /// Measures memory and latency beside this many idle MPTCP connections instead, 1 to 25000, since all go to one port.
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["protocol", "count", "parallel"],
          value_parser = clap::value_parser!(u32).range(1..=25_000))]
    idle: Option<u32>,
    /// Lets the kernel choose each thread's core.
    #[arg(long)]
    unpinned: bool,
    /// Prints one JSON object to stdout and nothing else.
    #[arg(long)]
    json: bool,
}

/// The protocol of the connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Spoken {
    Mptcp,
    Tcp,
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    peer: Peer,
    paths: u8,
    mtu: u16,
    rounds: u32,
    protocol: Spoken,
    count: u32,
    parallel: u16,
    /// Each side on a core of its own.
    pinned: bool,
    /// The stack connects, the kernel accepts.
    client: Figure,
    /// The kernel connects, the stack accepts.
    server: Figure,
    kernel_per_second: Series,
    /// Of all rounds of all contestants.
    lost: u64,
}

#[derive(Serialize)]
struct Figure {
    per_second: Series,
    /// To kernel to kernel, of the medians.
    ratio: f64,
    lost: u64,
}

/// The rounds of one contestant.
#[derive(Default)]
struct Score {
    per_second: Rounds,
    lost: u64,
}

pub(super) fn run(args: &Args) -> Outcome {
    let cores = Pinning::choose(args.unpinned)?.cores();
    if let Some(count) = args.idle {
        return idle::run(args, count, cores);
    }
    let connecting = StackArena::direct(&Direct::new(args.paths, args.mtu))?;
    let serving = StackArena::direct(&Direct { serves: true, ..Direct::new(args.paths, args.mtu) })?;
    let kernels = KernelArena::direct(&Direct::new(args.paths, args.mtu))?;
    let contests =
        [Contest::StackConnects(&connecting), Contest::StackAccepts(&serving), Contest::Kernels(&kernels)];
    let mut scores: [Score; 3] = Default::default();
    for round in 1..=args.rounds {
        let mut told = Vec::new();
        for (contest, score) in contests.iter().zip(&mut scores) {
            let plan = Round { protocol: args.protocol, count: args.count, parallel: args.parallel, cores };
            let done = turnover(contest, &plan)?;
            score.per_second.add(done.per_second());
            score.lost += done.lost;
            if let Some(fault) = &done.fault {
                eprintln!("polytcp: {}: {} lost, the first: {fault}", contest.name(), done.lost);
            }
            told.push(format!("{} {:.0}", contest.name(), done.per_second()));
        }
        if !args.json {
            output::line(&format!("round {round}: {} connections/s", told.join(", ")));
        }
    }
    let lost = scores.iter().map(|score| score.lost).sum();
    tell(args, &scores, lost, cores.is_some())?;
    if lost > 0 { Err(Failure::run(format!("{lost} connections were lost"))) } else { Ok(()) }
}

fn tell(args: &Args, [client, server, kernel]: &[Score; 3], lost: u64, pinned: bool) -> Outcome {
    let figure = |score: &Score| Figure {
        per_second: score.per_second.series(),
        ratio: units::rounded(ratio(&score.per_second, &kernel.per_second)),
        lost: score.lost,
    };
    let report = Report {
        peer: args.peer,
        paths: args.paths,
        mtu: args.mtu,
        rounds: args.rounds,
        protocol: args.protocol,
        count: args.count,
        parallel: args.parallel,
        pinned,
        client: figure(client),
        server: figure(server),
        kernel_per_second: kernel.per_second.series(),
        lost,
    };
    if args.json {
        return output::json(&report);
    }
    output::line("");
    output::line("                    connections/s [range]      ratio   lost");
    for (name, score) in [("polytcp connects", client), ("polytcp accepts", server), ("kernel", kernel)] {
        let (rounds, ratio) = (&score.per_second, ratio(&score.per_second, &kernel.per_second));
        let range = format!("{:.0} [{:.0}..{:.0}]", rounds.median(), rounds.worst(), rounds.best());
        output::line(&format!("{name:<19} {range:<26} {ratio:<7.2} {}", score.lost));
    }
    output::line("");
    let protocol = match args.protocol {
        Spoken::Mptcp => "MPTCP",
        Spoken::Tcp => "TCP",
    };
    output::line(&format!(
        "medians of {} rounds of {} {protocol} connections, {} at once, 64 octets each way, {} paths",
        args.rounds, args.count, args.parallel, args.paths,
    ));
    Ok(())
}
