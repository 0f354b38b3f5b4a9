//! Random worlds: run, count, and make the first bad one small.

use polytcp_sim::batch::{self, BadWorld, Tally};
use polytcp_sim::{random, shrink};

use super::Args;
use crate::Outcome;
use crate::failure::Failure;
use crate::output;

/// Runs that may be spent on making a bad world small.
const SHRINK_RUNS: usize = 500;

pub(super) fn run(args: &Args) -> Outcome {
    // clap asks for them with --random.
    let seeds = args.seeds.clone().unwrap_or(0..1);
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let (tally, hashes) = batch::run_random(seeds, jobs);
    if args.hash {
        for (seed, hash) in hashes {
            output::line(&format!("{seed} {hash:016x}"));
        }
    } else if args.json {
        output::json(&tally)?;
    } else {
        output::line(tally.to_text().trim_end());
    }
    let Some(first) = tally.failures.first() else { return Ok(()) };
    if !args.hash && !args.json {
        output::line(&smaller(first));
    }
    Err(Failure::Run(format!(
        "{} of {} worlds went wrong; {}",
        tally.failures.len(),
        tally.worlds,
        replay(&tally)
    )))
}

fn replay(tally: &Tally) -> String {
    tally.failures.first().map_or_else(String::new, |bad| {
        format!("replay the first one with `polytcp sim --random --seeds {}..{}`", bad.seed, bad.seed + 1)
    })
}

/// A scenario file that goes wrong as the world does.
fn smaller(bad: &BadWorld) -> String {
    let kind = bad.faults.first().map(|fault| shrink::kind_of_fault(fault)).unwrap_or_default();
    let fails =
        |scenario: &_| batch::judge(scenario).1.iter().any(|fault| shrink::kind_of_fault(fault) == kind);
    let small = shrink::shrink(&random::world(bad.seed), SHRINK_RUNS, fails);
    let faults = batch::judge(&small).1.join("\n# ");
    format!("\n# seed {} made small, a scenario file:\n# {faults}\n{}", bad.seed, small.to_toml())
}
