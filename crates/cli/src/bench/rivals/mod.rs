//! Other user-space stacks beside this one: each with a kernel of its own over the same kind of TUN devices, in
//! alternating rounds of one run.
//!
//! - [`program`]: finds and builds the processes in which they run. [`client`]: one connection in such a process.
//! - [`contest`]: the rounds. [`report`]: what they came to.

mod client;
mod contest;
mod program;
mod report;

use std::path::PathBuf;

use serde::Serialize;

use super::pump::Load;
use crate::{Outcome, lab};

#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// The source of the programs in which other stacks run, for `--peer smoltcp` and `--peer mptcp-rs`
    /// [default: the first `bench-peers` from the current folder upwards].
    #[arg(long, value_name = "FOLDER")]
    bench_peers: Option<PathBuf>,
}

/// A stack to be measured beside this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rival {
    Smoltcp,
    MptcpRs,
}

impl Rival {
    /// The crate's name, which is also what its process is told.
    const fn name(self) -> &'static str {
        match self {
            Self::Smoltcp => "smoltcp",
            Self::MptcpRs => "mptcp-rs",
        }
    }
}

/// What is measured, and how it is told.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) rival: Rival,
    /// With MPTCP; TCP has one.
    pub(super) paths: u8,
    pub(super) mtu: u16,
    pub(super) load: Load,
    /// The stack's congestion control; its default where there is none.
    pub(super) cc: Option<String>,
    pub(super) rounds: u32,
    pub(super) output: Output,
}

/// What goes to stdout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Output {
    Table,
    Json,
}

pub(super) fn run(args: &Args, plan: &Plan) -> Outcome {
    // Before anything else: it fails where there is no source, and wants all cores.
    let program = program::build(args.bench_peers.as_deref())?;
    lab::require()?;
    contest::run(program, plan)
}
