//! Throughput: the stack with the kernel over TUN, and the kernel with the kernel over veth.
//!
//! - [`cell`]: what varies. [`report`]: what was found.

mod cell;
mod report;

use self::cell::{Cell, Checksums, Lane, Steering};
use self::report::Duel;
use super::arena::{Arena, Begin, Family, Sockets};
use super::cores::Pinning;
use super::pump::{Check, Course, Load, Measured, transfer};
use super::{Peer, parse_cc, rivals};
use crate::failure::Failure;
use crate::pattern::Pattern;
use crate::{Outcome, output, units};

#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Whom the stack is measured with.
    #[arg(long, value_enum, default_value_t = Peer::Linux)]
    peer: Peer,
    /// How many paths, 1 to 8. This and the next six take lists: every combination has its figures, all in the same rounds.
    #[arg(long, value_delimiter = ',', default_value = "2", value_parser = clap::value_parser!(u8).range(1..=8))]
    paths: Vec<u8>,
    /// Octets of the largest IP packet on each path, 1280 to 65535.
    #[arg(long, value_delimiter = ',', default_value = "1500", value_parser = clap::value_parser!(u16).range(1280..))]
    mtu: Vec<u16>,
    /// The addresses' family.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ipv4")]
    family: Vec<Family>,
    /// DSS checksums.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "off")]
    checksums: Vec<Checksums>,
    /// Whether each kernel does its receive processing on its own side's core (RPS) instead of the sender's.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "off")]
    steering: Vec<Steering>,
    /// The stack's sockets: blocking ones that copy, or that pass chunks without a copy, or those of tasks in a
    /// multi-threaded tokio runtime. The kernel's are blocking and copy.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "blocking")]
    sockets: Vec<Sockets>,
    /// How many connections at once, 1 to 1000; they share the size.
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: Vec<u16>,
    /// Which way the data goes; `both` is both at once, with the size each way.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "up,down")]
    way: Vec<Course>,
    /// Lets every thread run on every core, instead of one side on each of two.
    #[arg(long)]
    unpinned: bool,
    /// Bytes of one transfer, with a suffix k, M or G of 1024; from 1M to 64G.
    #[arg(long, value_name = "BYTES", default_value = "512M", value_parser = parse_size)]
    #[arg(default_value_if("peer", "mptcp-rs", "128M"))]
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

impl Args {
    /// What a rival is measured with, where one is asked for.
    ///
    /// # Errors
    /// When more is asked for than one combination of paths and MTU, or what rivals do not have.
    pub(super) fn contest(&self) -> Result<Option<rivals::Plan>, Failure> {
        let Some(rival) = self.peer.rival() else { return Ok(None) };
        let plain = self.family == [Family::Ipv4]
            && self.checksums == [Checksums::Off]
            && self.steering == [Steering::Off]
            && self.sockets == [Sockets::Blocking]
            && self.connections == [1]
            && self.way == [Course::Up, Course::Down]
            && !self.unpinned;
        let (&[paths], &[mtu], true) = (&self.paths[..], &self.mtu[..], plain) else {
            return Err(Failure::setup(
                "beside another stack there is one number of --paths and one --mtu, and no --family, --checksums, --steering, \
                 --sockets, --connections, --way or --unpinned",
            ));
        };
        Ok(Some(rivals::Plan {
            rival,
            paths,
            mtu,
            load: Load { size: self.size, write_bytes: self.write, check: Check::LengthOnly },
            cc: self.cc.clone(),
            rounds: self.rounds,
            output: if self.json { rivals::Output::Json } else { rivals::Output::Table },
        }))
    }
}

pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let size = units::parse_size(text)?;
    if (1 << 20..=64 << 30).contains(&size) { Ok(size) } else { Err("a transfer has 1M to 64G".to_owned()) }
}

fn parse_write(text: &str) -> Result<usize, String> {
    let size = units::parse_size(text)?;
    if (1..=1 << 20).contains(&size) { Ok(size as usize) } else { Err("a write has 1 to 1M".to_owned()) }
}

pub(super) fn run(args: &Args) -> Outcome {
    let pinning = Pinning::choose(args.unpinned)?;
    let cells = Cell::all(args);
    if pinning.cores().is_none() && args.steering.contains(&Steering::On) {
        return Err(Failure::setup(
            "--steering on needs a core for each side: leave --unpinned out, and have two cores",
        ));
    }
    let arenas = cells
        .iter()
        .map(|cell| cell.arenas(args.cc.as_deref(), pinning.cores()))
        .collect::<Result<Vec<_>, _>>()?;
    let lanes: Vec<Lane> =
        (0..cells.len()).flat_map(|cell| args.way.iter().map(move |&course| Lane { cell, course })).collect();
    let pattern = Pattern::shared(1);
    let measure = |lane: Lane, arena: &dyn Arena, check: Check| -> Result<Measured, Failure> {
        let connections = cells[lane.cell].connections;
        let load = Load { size: args.size / u64::from(connections), write_bytes: args.write, check };
        let measured = arena
            .connect_all(Begin::Joined, connections)
            .and_then(|ends| transfer(&ends, lane.course, load, &pattern, pinning.cores()));
        measured.map_err(|failure| {
            failure.within(&format!("{}, {} {}", cells[lane.cell], arena.name(), lane.course))
        })
    };
    for &lane in &lanes {
        let (stack, kernels) = &arenas[lane.cell];
        measure(lane, stack, Check::EveryOctet)?;
        measure(lane, kernels, Check::EveryOctet)?;
    }
    say(args, "every octet compared once in each figure");
    let mut duels: Vec<Duel> = lanes.iter().map(|_| Duel::default()).collect();
    for round in 1..=args.rounds {
        let mut told = Vec::new();
        for (&lane, duel) in lanes.iter().zip(&mut duels) {
            let (stack, kernels) = &arenas[lane.cell];
            let (ours, theirs) =
                (measure(lane, stack, Check::LengthOnly)?, measure(lane, kernels, Check::LengthOnly)?);
            duel.polytcp.add(&ours);
            duel.kernel.add(&theirs);
            told.push(format!("{} {:.2}:{:.2}", lane.course, ours.gbps(), theirs.gbps()));
        }
        say(args, &format!("round {round}, polytcp:kernel in Gbit/s: {}", told.join(", ")));
    }
    let figures = lanes.iter().zip(duels).map(|(lane, duel)| (cells[lane.cell], lane.course, duel));
    report::tell(args, pinning, figures)
}

fn say(args: &Args, text: &str) {
    if !args.json {
        output::line(text);
    }
}
