//! The `polytcp` command: a demo, netcat and benches of Multipath TCP in user space.
//!
//! - `demo`: two hosts in one process, two links, one of them cut for a while.
//! - `nc`: stdin and stdout over a connection of a stack in this network namespace.
//! - `bench`: the stack beside the kernel, over fast devices and over emulated links.
//! - `sim`: scenarios in virtual time.
//! - `failure`: what becomes of errors, and of what clap finds wrong with the flags.
//! - `units`: sizes, rates, delays and shares as people write them.
//! - `duplex`, `delivery`, `pattern`, `lab`, `output`: what the commands share.
#![forbid(unsafe_code)]

mod bench;
mod delivery;
mod demo;
mod duplex;
mod failure;
mod lab;
mod link_spec;
mod nc;
mod output;
mod pattern;
mod sim;
mod units;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Multipath TCP (RFC 8684) in user space: a demo, netcat and benches.
#[derive(Parser)]
#[command(name = "polytcp", version, arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Nc(nc::Args),
    Bench(Box<bench::Args>),
    Sim(sim::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::tell_parse_error(&error),
    };
    let result = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Nc(args) => nc::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Sim(args) => sim::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// What a command returns.
type Outcome = Result<(), Failure>;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_flags_is_consistent() {
        Cli::command().debug_assert();
    }
}
