//! `polytcp bench core`: two hosts in memory on one thread, without any system call on the way of a byte.
//!
//! - [`pair`]: the hosts, and what carries their packets. [`case`]: what is measured. [`instructions`]: under callgrind.

mod case;
mod instructions;
mod pair;

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

use self::case::{CASES, Case};
use super::figures::{Rounds, Series, ratio};
use crate::failure::Failure;
use crate::{Outcome, output, units};

/// What memory is copied in at once for comparison.
const COPY_BYTES: usize = 64 << 10;
/// How long the comparison lasts.
const COPY_TIME: Duration = Duration::from_millis(100);

/// The stack alone: two hosts in memory on one thread, without system calls.
///
/// Each octet is copied twice: from the writer's buffer into the stack's, and by the device that joins headers and
/// payload; checksums of TCP are left to it. Beside each figure stands its ratio to the rate of a plain copy of 64 KiB
/// in the same round.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Bytes of one transfer, with a suffix k, M or G of 1024; from 1M to 64G.
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = super::bulk::parse_size)]
    size: u64,
    /// Measured rounds, 5 to 100, after one that compares every octet.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(5..=100))]
    rounds: u32,
    /// Only the case of this name, or where none has it, those whose names contain it.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Counts instructions under valgrind's callgrind, without those that copy memory, and measures no time.
    #[arg(long)]
    instructions: bool,
    /// Prints one JSON object to stdout and nothing else.
    #[arg(long)]
    json: bool,
    /// One transfer of the case of this name and nothing else: what is run under callgrind.
    #[arg(long, value_name = "CASE", hide = true)]
    once: Option<String>,
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    size: u64,
    rounds: u32,
    /// One round of each figure compared every octet.
    compared: bool,
    copy_gbps: Series,
    cases: Vec<Figure>,
}

#[derive(Serialize)]
struct Figure {
    name: String,
    gbps: Series,
    /// To the copy, of the medians.
    copy_ratio: f64,
    /// Of the sender, of the last round: those with payload.
    segments: u64,
    nanos_per_segment: f64,
}

pub(super) fn run(args: &Args) -> Outcome {
    if let Some(name) = &args.once {
        let measured = Case::named(name)?.transfer(args.size, false)?;
        output::line(&format!("segments {}", measured.segments));
        return Ok(());
    }
    let cases = chosen(args.only.as_deref())?;
    if args.instructions {
        return instructions::run(&cases, args.json);
    }
    for case in &cases {
        case.transfer(args.size.min(16 << 20), true)?;
    }
    say(args, "every octet compared once in each case");
    let mut copy = Rounds::default();
    let mut rounds: Vec<Rounds> = cases.iter().map(|_| Rounds::default()).collect();
    let mut segments = vec![0; cases.len()];
    for round in 1..=args.rounds {
        copy.add(copy_gbps());
        for (at, case) in cases.iter().enumerate() {
            let measured = case.transfer(args.size, false)?;
            rounds[at].add(units::mbps(args.size, measured.elapsed) / 1e3);
            segments[at] = measured.segments;
        }
        say(args, &format!("round {round} of {}", args.rounds));
    }
    let figures: Vec<Figure> = cases
        .iter()
        .zip(rounds.iter().zip(&segments))
        .map(|(case, (rounds, segments))| {
            let nanos = args.size as f64 * 8.0 / rounds.median().max(f64::MIN_POSITIVE);
            Figure {
                name: case.to_string(),
                gbps: rounds.series(),
                copy_ratio: units::rounded(ratio(rounds, &copy)),
                segments: *segments,
                nanos_per_segment: units::rounded(nanos / (*segments).max(1) as f64),
            }
        })
        .collect();
    let report = Report {
        size: args.size,
        rounds: args.rounds,
        compared: true,
        copy_gbps: copy.series(),
        cases: figures,
    };
    if args.json {
        return output::json(&report);
    }
    output::line("");
    output::line("case                          Gbit/s (range)           of a copy   ns/segment");
    for figure in &report.cases {
        let (least, most) = figure.gbps.range();
        let range = format!("{:.2} ({least:.2} to {most:.2})", figure.gbps.median());
        output::line(&format!(
            "{:<29} {range:<26} {:>7.3} {:>12.0}",
            figure.name, figure.copy_ratio, figure.nanos_per_segment
        ));
    }
    output::line("");
    output::line(&format!(
        "medians of {} rounds of {} one way; a copy of 64 KiB: {:.1} Gbit/s",
        args.rounds,
        units::bytes(args.size),
        copy.median(),
    ));
    Ok(())
}

fn chosen(only: Option<&str>) -> Result<Vec<Case>, Failure> {
    if let Some(case) = only.and_then(|text| CASES.iter().find(|case| case.to_string() == text)) {
        return Ok(vec![*case]);
    }
    let is_chosen = |case: &&Case| only.is_none_or(|text| case.to_string().contains(text));
    let cases: Vec<Case> = CASES.iter().filter(is_chosen).copied().collect();
    if cases.is_empty() {
        let names: Vec<String> = CASES.iter().map(Case::to_string).collect();
        return Err(Failure::Setup(format!("no case has such a name; there are {}", names.join(", "))));
    }
    Ok(cases)
}

/// The rate at which this thread copies memory, 64 KiB from one place to one other at once.
fn copy_gbps() -> f64 {
    let from = vec![1_u8; COPY_BYTES];
    let mut to = vec![0_u8; COPY_BYTES];
    let begun = Instant::now();
    let mut copied = 0;
    while begun.elapsed() < COPY_TIME {
        for _ in 0..64 {
            black_box(&mut to).copy_from_slice(black_box(&from));
            copied += COPY_BYTES as u64;
        }
    }
    units::mbps(copied, begun.elapsed()) / 1e3
}

fn say(args: &Args, text: &str) {
    if !args.json {
        output::line(text);
    }
}
