//! `polytcp bench`: the stack beside the kernel, in the same run.
//!
//! - [`bulk`]: as fast as the processor lets them. [`paths`]: over emulated links, with a cut.
//! - [`grid`]: over many kinds of emulated links. [`core`]: the stack alone, in memory.
//! - [`latency`]: how long small exchanges take. [`conns`]: many connections, short ones or idle ones.
//! - [`arena`]: the hosts that compete, and their connections.
//! - [`end`]: what carries a load; [`chunks`]: the same without copies; [`tasks`]: in an asynchronous runtime.
//! - [`pump`]: one measured transfer. [`flood`]: one that lasts until somebody has seen enough. [`ping`]: small exchanges.
//! - [`rivals`]: other user-space stacks beside this one.
//! - [`cores`]: which thread runs where.
//! - [`figures`], [`samples`]: medians, percentiles and ratios, for people and as JSON.

mod arena;
mod bulk;
mod chunks;
mod conns;
mod core;
mod cores;
mod end;
mod figures;
mod flood;
mod grid;
mod latency;
mod paths;
mod ping;
mod pump;
mod rivals;
mod samples;
mod tasks;

use std::fmt;

use clap::{Subcommand, ValueEnum};
use polytcp_proto::sched;
use polytcp_proto::tcp::cc;
use serde::Serialize;

use self::rivals::Rival;
use crate::{Outcome, lab};

/// The stack and the kernel side by side: throughput, latency, many connections, behaviour over slow links.
///
/// Without a subcommand: uploads and downloads between the stack and the kernel over TUN devices, and the same
/// bytes from kernel to kernel over veth pairs, in alternating rounds. The stack's threads are on one
/// core and the peer on another; every kernel socket uses cubic. With `--peer smoltcp` or `mptcp-rs` the other
/// contestant is that stack, in place of the kernel: a process of its own that is built from source first.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    kind: Option<Kind>,
    #[command(flatten)]
    bulk: bulk::Args,
    #[command(flatten)]
    rivals: rivals::Args,
}

#[derive(Subcommand)]
enum Kind {
    Paths(paths::Args),
    Grid(grid::Args),
    Core(core::Args),
    Latency(latency::Args),
    Conns(conns::Args),
}

/// Whom the stack is measured with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Peer {
    /// The Linux kernel, in a network namespace of its own.
    Linux,
    /// smoltcp, beside the stack: both with a kernel over TUN devices. Plain TCP.
    Smoltcp,
    /// mptcp-rs, beside the stack: both with a kernel over TUN devices. MPTCP.
    MptcpRs,
}

impl Peer {
    fn rival(self) -> Option<Rival> {
        match self {
            Self::Linux => None,
            Self::Smoltcp => Some(Rival::Smoltcp),
            Self::MptcpRs => Some(Rival::MptcpRs),
        }
    }
}

/// Which way the data goes: up is from the client, which is the stack, to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Up,
    Down,
}

impl Way {
    const BOTH: [Self; 2] = [Self::Up, Self::Down];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    if args.kind.is_none()
        && let Some(plan) = args.bulk.contest()?
    {
        return rivals::run(&args.rivals, &plan);
    }
    if !matches!(args.kind, Some(Kind::Core(_))) {
        lab::require()?;
    }
    match &args.kind {
        Some(Kind::Core(core)) => core::run(core),
        Some(Kind::Paths(paths)) => paths::run(paths),
        Some(Kind::Grid(grid)) => grid::run(grid),
        Some(Kind::Latency(latency)) => latency::run(latency),
        Some(Kind::Conns(conns)) => conns::run(conns),
        None => bulk::run(&args.bulk),
    }
}

/// A congestion control that the stack knows.
pub(crate) fn parse_cc(text: &str) -> Result<String, String> {
    if cc::AVAILABLE.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("the stack knows {}", cc::AVAILABLE.join(", ")))
    }
}

/// A packet scheduler that the stack knows.
fn parse_sched(text: &str) -> Result<String, String> {
    if sched::AVAILABLE.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("the stack knows {}", sched::AVAILABLE.join(", ")))
    }
}
