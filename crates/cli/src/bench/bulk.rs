//! Throughput: the stack with the kernel over TUN, and the kernel with the kernel over veth.

use serde::Serialize;

use super::arena::{Arena, Begin, KERNEL_CC, KernelArena, StackArena};
use super::cores::Cores;
use super::figures::{Rounds, Series, ratio};
use super::pump::{Check, Load, Measured, transfer};
use super::{Peer, Way, parse_cc};
use crate::failure::Failure;
use crate::pattern::Pattern;
use crate::{Outcome, output, units};

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
    /// Bytes of one transfer, with a suffix k, M or G of 1024; from 1M to 64G.
    #[arg(long, value_name = "BYTES", default_value = "512M", value_parser = parse_size)]
    size: u64,
    /// Bytes of one write of the sender, with a suffix k, M or G of 1024; from 1 to 1M.
    #[arg(long, value_name = "BYTES", default_value = "256k", value_parser = parse_write)]
    write: usize,
    /// The stack's congestion control [default: cubic].
    #[arg(long, value_name = "NAME", value_parser = parse_cc)]
    cc: Option<String>,
    /// Measured rounds, 5 to 100, after one that compares every octet.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(5..=100))]
    rounds: u32,
    /// Prints one JSON object to stdout and nothing else.
    #[arg(long)]
    json: bool,
}

pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let size = units::parse_size(text)?;
    if (1 << 20..=64 << 30).contains(&size) { Ok(size) } else { Err("a transfer has 1M to 64G".to_owned()) }
}

fn parse_write(text: &str) -> Result<usize, String> {
    let size = units::parse_size(text)?;
    if (1..=1 << 20).contains(&size) { Ok(size as usize) } else { Err("a write has 1 to 1M".to_owned()) }
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    peer: Peer,
    paths: u8,
    mtu: u16,
    size: u64,
    write: usize,
    cc: String,
    kernel_cc: &'static str,
    rounds: u32,
    /// Each side on a core of its own.
    pinned: bool,
    /// One round of each figure compared every octet.
    compared: bool,
    up: Figure,
    down: Figure,
}

#[derive(Serialize)]
struct Figure {
    polytcp_gbps: Series,
    kernel_gbps: Series,
    /// Of the medians.
    ratio: f64,
    /// Processor time without the server's thread.
    polytcp_cpu_seconds_per_gib: Series,
    kernel_cpu_seconds_per_gib: Series,
}

/// The rounds of one contestant in one direction.
#[derive(Default)]
struct Score {
    gbps: Rounds,
    cpu: Rounds,
}

pub(super) fn run(args: &Args) -> Outcome {
    let cores = Cores::choose()?;
    match cores {
        Some(cores) => cores.pin_client()?,
        None => eprintln!("polytcp: only one core may be used: both sides share it, expect lower figures"),
    }
    let stack = StackArena::direct(args.paths, args.mtu, args.cc.as_deref())?;
    let kernels = KernelArena::direct(args.paths, args.mtu)?;
    let pattern = Pattern::new(1);
    let measure = |arena: &dyn Arena, way: Way, check: Check| -> Result<Measured, Failure> {
        let load = Load { size: args.size, write_bytes: args.write };
        transfer(&arena.connect(Begin::Joined)?, way, load, &pattern, check, cores)
    };
    let arenas: [&dyn Arena; 2] = [&stack, &kernels];
    // One figure has a row for each contestant and a column for each way.
    let mut scores: [[Score; 2]; 2] = Default::default();
    for (way, arena) in Way::BOTH.into_iter().flat_map(|way| arenas.map(|arena| (way, arena))) {
        measure(arena, way, Check::EveryOctet)?;
    }
    say(args, "every octet compared once in each direction");
    for round in 1..=args.rounds {
        let mut told = Vec::new();
        for (column, way) in Way::BOTH.into_iter().enumerate() {
            for (row, arena) in arenas.iter().enumerate() {
                let measured = measure(*arena, way, Check::LengthOnly)?;
                let gbps = units::mbps(args.size, measured.elapsed) / 1e3;
                let gib = args.size as f64 / (1u64 << 30) as f64;
                scores[row][column].gbps.add(gbps);
                scores[row][column].cpu.add(measured.client_cpu.as_secs_f64() / gib);
                told.push(format!("{} {way} {gbps:.2}", arena.name()));
            }
        }
        say(args, &format!("round {round}: {} Gbit/s", told.join(", ")));
    }
    let [[stack_up, stack_down], [kernel_up, kernel_down]] = &scores;
    let report = Report {
        peer: args.peer,
        paths: args.paths,
        mtu: args.mtu,
        size: args.size,
        write: args.write,
        cc: args.cc.clone().unwrap_or_else(|| "cubic".to_owned()),
        kernel_cc: KERNEL_CC,
        rounds: args.rounds,
        pinned: cores.is_some(),
        compared: true,
        up: Figure::new(stack_up, kernel_up),
        down: Figure::new(stack_down, kernel_down),
    };
    if args.json {
        return output::json(&report);
    }
    output::line("");
    output::line("      polytcp (best)   kernel (best)    ratio   CPU s/GiB polytcp  kernel");
    table_line("up", stack_up, kernel_up);
    table_line("down", stack_down, kernel_down);
    output::line("");
    output::line(&format!(
        "Gbit/s, medians of {} rounds of {} in writes of {}, {} paths of MTU {}; polytcp with {}, kernel with {KERNEL_CC}; CPU \
         time without the server's thread",
        args.rounds,
        units::bytes(args.size),
        units::bytes(args.write as u64),
        args.paths,
        args.mtu,
        report.cc,
    ));
    Ok(())
}

impl Figure {
    fn new(stack: &Score, kernel: &Score) -> Self {
        Self {
            polytcp_gbps: stack.gbps.series(),
            kernel_gbps: kernel.gbps.series(),
            ratio: units::rounded(ratio(&stack.gbps, &kernel.gbps)),
            polytcp_cpu_seconds_per_gib: stack.cpu.series(),
            kernel_cpu_seconds_per_gib: kernel.cpu.series(),
        }
    }
}

fn table_line(way: &str, stack: &Score, kernel: &Score) {
    let gbps = |score: &Score| format!("{:.2} ({:.2})", score.gbps.median(), score.gbps.best());
    output::line(&format!(
        "{way:<5} {:<16} {:<16} {:<7.2} {:>17.2} {:>7.2}",
        gbps(stack),
        gbps(kernel),
        ratio(&stack.gbps, &kernel.gbps),
        stack.cpu.median(),
        kernel.cpu.median(),
    ));
}

fn say(args: &Args, text: &str) {
    if !args.json {
        output::line(text);
    }
}
