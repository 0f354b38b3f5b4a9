//! Random worlds keep all invariants.
//!
//! `POLYTCP_SEED` is the first seed (default 0), `POLYTCP_SEEDS` how many are run (default 60). A failure names
//! its seed; `polytcp sim --random --seeds SEED..` with the one after it replays it and prints it, made small, as a
//! scenario file. A file of `failed/` keeps it, since a seed gives another world once the generator has changed.

use std::path::{Path, PathBuf};

use polytcp_sim::Scenario;
use polytcp_sim::batch::{judge, run_random};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn random_worlds_end_as_they_must() {
    let first = number("POLYTCP_SEED", 0);
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let (tally, _) = run_random(first..first + number("POLYTCP_SEEDS", 60), jobs);
    println!("{}", tally.to_text());
    assert!(tally.failures.is_empty(), "{}", tally.to_text());
}

#[test]
fn what_comes_out_does_not_depend_on_the_number_of_threads() {
    assert_eq!(run_random(0..6, 1).1, run_random(0..6, 3).1);
}

/// The worlds of `failed/`, by file.
fn failed_once() -> Vec<(String, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/failed");
    let files =
        std::fs::read_dir(&folder).expect("the folder of worlds").map(|entry| entry.expect("a file").path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    let read = |path: &PathBuf| {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).expect("a readable file");
        let world = Scenario::parse(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        (name, world)
    };
    files.iter().map(read).collect()
}

#[test]
fn worlds_that_went_wrong_once_do_not_again() {
    let worlds = failed_once();
    assert!(worlds.len() > 10);
    let faults = worlds.iter().map(|(name, world)| (name, &world.about, judge(world).1));
    let bad: Vec<_> = faults.filter(|(_, _, faults)| !faults.is_empty()).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}
