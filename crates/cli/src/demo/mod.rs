//! `polytcp demo`: data both ways over two emulated links, of which the faster is cut for a while.
//!
//! - [`world`]: the hosts, the links and the connection.
//! - [`transfer`]: the data, and how it arrives.
//! - [`director`]: when the link is cut and mended, and what is seen meanwhile.
//! - [`screen`]: the live table. [`report`]: the summary.

mod director;
mod report;
mod screen;
mod transfer;
mod world;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::failure::Failure;
use crate::{Outcome, lab, units};

/// Two hosts, two links of different speed, and the faster one is cut in mid-transfer.
///
/// Carries generated data in both directions at once and compares what arrived by SHA-256. Needs no
/// privilege. Exits with 0 only if all data arrived unchanged and both links carried their part.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Who is on the other end of the links.
    #[arg(long, value_enum, default_value_t = Peer::Polytcp)]
    peer: Peer,
    /// Prints one JSON object to stdout and nothing else.
    #[arg(long)]
    json: bool,
    /// Bytes to carry in each direction, with a suffix k, M or G of 1024; from 256k to 64G.
    #[arg(long, value_name = "BYTES", default_value = "48M", value_parser = parse_size)]
    size: u64,
    /// What the data, the keys and the links' chances follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes every packet to a pcapng file.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

/// The other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Peer {
    /// A second stack in this process, joined in memory.
    Polytcp,
    /// The Linux kernel, in a network namespace of its own.
    Linux,
}

/// Below, all is over before both links are in use.
const SIZE_MIN: u64 = 256 << 10;
const SIZE_MAX: u64 = 64 << 30;

fn parse_size(text: &str) -> Result<u64, String> {
    let size = units::parse_size(text)?;
    if (SIZE_MIN..=SIZE_MAX).contains(&size) {
        Ok(size)
    } else {
        Err("the demo carries from 256k to 64G".to_owned())
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    if args.peer == Peer::Linux {
        lab::require()?;
    }
    let world = world::World::build(args)?;
    let mut screen = screen::Screen::new(args.json);
    let story = director::direct(&world, args, &mut screen);
    let report = report::Report::new(&world, args.size, &story);
    if args.json {
        crate::output::json(&report)?;
    } else {
        report.print(&story);
    }
    match (report.problem(&story), world.capture_problem()) {
        (Some(problem), _) | (None, Some(problem)) => Err(Failure::Run(problem)),
        (None, None) => Ok(()),
    }
}
