//! One connection of another stack over TUN devices that the caller opened: the client's side of
//! `polytcp bench --peer smoltcp` and `--peer mptcp-rs`.
//!
//! - [`job`]: what is to be carried, from the command line. [`caller`]: the talk with the caller.
//! - [`tun`]: the devices. [`transfer`]: the transfer, the same for every stack.
//! - [`smoltcp_client`], [`mptcp_rs_client`]: a stack each.

mod caller;
mod job;
mod mptcp_rs_client;
#[allow(dead_code, reason = "the command uses more of it")]
#[path = "../../crates/cli/src/pattern.rs"]
mod pattern;
mod smoltcp_client;
mod transfer;
mod tun;

use std::io;
use std::process::ExitCode;

use crate::job::{Job, Stack};

fn main() -> ExitCode {
    match Job::parse(std::env::args().skip(1)).and_then(|job| run(&job)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The caller reads stdout alone.
            println!("failed {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(job: &Job) -> io::Result<()> {
    match job.stack {
        Stack::Smoltcp => transfer::run(job, smoltcp_client::Client::connect(job)?),
        Stack::MptcpRs => transfer::run(job, mptcp_rs_client::Client::connect(job)?),
    }
}
