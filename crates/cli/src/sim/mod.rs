//! `polytcp sim`: a scenario file in virtual time, or random worlds.

mod random;

use std::ops::Range;
use std::path::{Path, PathBuf};

use polytcp_sim::{Report, Scenario, Watchers};
use serde::Serialize;

use crate::Outcome;
use crate::failure::Failure;
use crate::output;

/// Runs a scenario file in virtual time: whole hosts, links and middleboxes, no privilege, no waiting.
///
/// Exits with 0 only if all came out as the file's [expect] says. With --random it draws worlds from seeds
/// instead, checks that each ends as it must, and shrinks the first that does not.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The scenario, in TOML; those in scenarios/ are examples.
    #[arg(value_name = "FILE", required_unless_present = "random", conflicts_with = "random")]
    file: Option<PathBuf>,
    /// Draws worlds from the seeds instead of reading a file.
    #[arg(long, requires = "seeds")]
    random: bool,
    /// Runs with this seed instead of the file's.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Runs once with each seed from A on and below B.
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    seeds: Option<Range<u64>>,
    /// With --random: worlds that run at the same time. Default: one for each processor.
    #[arg(long, value_name = "N", requires = "random")]
    jobs: Option<usize>,
    /// With --random: prints only the hash of each run, to compare two builds.
    #[arg(long, requires = "random", conflicts_with = "json")]
    hash: bool,
    /// Prints one JSON object for each run, or for all random worlds.
    #[arg(long)]
    json: bool,
    /// Writes a file HOST.pcapng into this folder for each host.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["random", "seeds"])]
    pcap: Option<PathBuf>,
    /// Draws the run: data sequence over time for each path, rate and queue below.
    #[arg(long, value_name = "FILE.svg", conflicts_with_all = ["random", "seeds"])]
    plot: Option<PathBuf>,
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    range
        .filter(|range| !range.is_empty())
        .ok_or_else(|| "seeds are A..B, the first one and the one after the last, as in 1..100".to_owned())
}

/// A run and what did not come out as expected.
#[derive(Serialize)]
struct Judged<'a> {
    #[serde(flatten)]
    report: &'a Report,
    unexpected: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let Some(file) = &args.file else { return random::run(args) };
    let mut scenario = read(file)?;
    let seeds = match (args.seed, args.seeds.clone()) {
        (Some(seed), _) => seed..seed.saturating_add(1),
        (None, Some(seeds)) => seeds,
        (None, None) => scenario.seed..scenario.seed.saturating_add(1),
    };
    let mut failed: Option<(u64, String)> = None;
    for seed in seeds {
        scenario.seed = seed;
        let report = run_once(args, file, &scenario)?;
        let unexpected = scenario.expect.judge(&report);
        let first = unexpected.first().cloned();
        if args.json {
            output::json(&Judged { report: &report, unexpected })?;
        } else {
            output::line(&report.to_text());
            for line in &unexpected {
                output::line(&format!("not as expected: {line}"));
            }
        }
        failed = failed.or(first.map(|line| (seed, line)));
    }
    match failed {
        None => Ok(()),
        Some((seed, line)) => Err(Failure::Run(format!("seed {seed}: not as expected: {line}"))),
    }
}

fn run_once(args: &Args, file: &Path, scenario: &Scenario) -> Result<Report, Failure> {
    let mut watchers = Watchers::default();
    if let Some(folder) = &args.pcap {
        watchers.capture(folder, scenario).map_err(Failure::setting_up(folder.display()))?;
    }
    if args.plot.is_some() {
        watchers.plot();
    }
    let (report, mut watchers) =
        polytcp_sim::run(scenario, watchers).map_err(Failure::setting_up(file.display()))?;
    watchers.finish().map_err(Failure::running("writing the capture"))?;
    if let Some(picture) = &args.plot {
        watchers.draw(picture, scenario).map_err(Failure::run)?;
    }
    Ok(report)
}

fn read(file: &Path) -> Result<Scenario, Failure> {
    Scenario::read(file).map_err(Failure::setting_up(file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_that_is_not_empty() {
        assert_eq!(parse_seeds("1..4"), Ok(1..4));
        for bad in ["", "1", "4..1", "3..3", "a..b", "1..=4"] {
            assert!(parse_seeds(bad).is_err(), "{bad}");
        }
    }
}
