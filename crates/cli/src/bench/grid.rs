//! Many networks, one after the other: goodput and the longest pause, the stack beside the kernel.

mod cells;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use polytcp::io::CaptureFile;

use self::cells::{CELLS, Cell};
use self::report::{CellReport, Report, Score};
use super::arena::{Arena, Begin, KernelArena, Plan, StackArena, kernel_cc_like};
use super::flood::flood;
use super::{Way, parse_cc};
use crate::failure::Failure;
use crate::{Outcome, output, units};

/// Goodput and longest pause over a grid of emulated networks of one and two paths.
///
/// The stack with the kernel, and the kernel with the kernel over the same links, in alternating rounds.
/// A round is a new connection between new hosts, used at once, while its further subflows join. The cells: slow, far, shallow, deep, lossy (one path),
/// twins, unequal, fast-and-far, trickle, one-lossy, asymmetric, jitter (two paths).
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Only this cell. May be given more than once.
    #[arg(long = "cell", value_name = "NAME", value_parser = str::parse::<&'static Cell>)]
    cells: Vec<&'static Cell>,
    /// The stack's congestion control, and the kernel's if it has one of that name [default: cubic].
    #[arg(long, value_name = "NAME", value_parser = parse_cc)]
    cc: Option<String>,
    /// Measured rounds of each cell and direction, 1 to 100.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each transfer lasts, 1 to 600.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// What the links' losses follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes the clients' packets of the first rounds into this folder: CELL-WAY-NAME.pcapng.
    #[arg(long, value_name = "FOLDER", value_parser = parse_folder)]
    pcap: Option<PathBuf>,
    /// Prints one JSON object to stdout and nothing else.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let cc = args.cc.as_deref().unwrap_or("cubic");
    let kernel_cc = kernel_cc_like(cc)?;
    let cells: Vec<_> = if args.cells.is_empty() { CELLS.iter().collect() } else { args.cells.clone() };
    let mut reports = Vec::new();
    for cell in cells {
        let report = run_cell(args, cell, &kernel_cc)?;
        if !args.json {
            if reports.is_empty() {
                report::head();
            }
            report.tell();
        }
        reports.push(report);
    }
    let report = Report::new(reports, cc, &kernel_cc, args.rounds, args.seconds);
    if args.json {
        return output::json(&report);
    }
    report.tell_end();
    Ok(())
}

fn run_cell(args: &Args, cell: &'static Cell, kernel_cc: &str) -> Result<CellReport, Failure> {
    let links = cell.links()?;
    let mut scores: [[Score; 2]; 2] = Default::default();
    for round in 0..args.rounds {
        for (way, scores) in Way::BOTH.into_iter().zip(&mut scores) {
            let capture = |name| capture(args, round, cell, way, name);
            let (stack_capture, kernel_capture) = (capture("polytcp")?, capture("kernel")?);
            let plan = Plan {
                links: &links,
                seed: args.seed.wrapping_add(u64::from(round) << 8),
                cc: args.cc.as_deref(),
                sched: None,
                kernel_cc,
                capture: None,
            };
            // New hosts each time: the kernel remembers what it has seen of a peer.
            let stack = StackArena::emulated(&Plan { capture: stack_capture.as_ref(), ..plan })?;
            scores[0].add(measure(&stack, way, args.seconds)?);
            drop(stack);
            let kernels = KernelArena::emulated(&Plan { capture: kernel_capture.as_ref(), ..plan })?;
            scores[1].add(measure(&kernels, way, args.seconds)?);
        }
    }
    let [up, down] = scores;
    Ok(CellReport::new(cell, up, down))
}

/// Goodput in Mbit/s, and the longest time without delivery.
fn measure(arena: &dyn Arena, way: Way, seconds: u64) -> Result<(f64, Duration), Failure> {
    flood(arena, way, Begin::AtOnce, None, |watch| {
        let start = Instant::now();
        watch.wait(Duration::from_secs(seconds));
        let goodput = units::mbps(watch.flow.received(), start.elapsed());
        (goodput, watch.flow.longest_gap())
    })
}

/// A file for the first round, where captures are asked for.
fn capture(
    args: &Args,
    round: u32,
    cell: &Cell,
    way: Way,
    name: &str,
) -> Result<Option<CaptureFile>, Failure> {
    let folder = args.pcap.as_ref().filter(|_| round == 0);
    let path = folder.map(|folder| folder.join(format!("{}-{way}-{name}.pcapng", cell.name)));
    path.map(|path| {
        CaptureFile::create(&path).map_err(Failure::setting_up(format!("writing {}", path.display())))
    })
    .transpose()
}

fn parse_folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err("no such folder".to_owned()) }
}
