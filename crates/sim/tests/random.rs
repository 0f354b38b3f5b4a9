//! Random worlds keep all invariants.
//!
//! `POLYTCP_SEED` is the first seed (default 0), `POLYTCP_SEEDS` how many are run (default 60). A failure names
//! its seed; `polytcp sim --random --seeds SEED..` with the one after it replays and shrinks it. Its line in `seeds.txt`
//! keeps the seed.

use polytcp_sim::batch::{judge, run_random};
use polytcp_sim::random;

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

/// The seeds of `seeds.txt`: a number, and what was wrong.
fn kept_seeds() -> Vec<u64> {
    let lines = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_whitespace().next().and_then(|seed| seed.parse().ok()).expect("a seed"))
        .collect()
}

#[test]
fn worlds_that_went_wrong_once_do_not_again() {
    let seeds = kept_seeds();
    assert!(seeds.len() > 10);
    let faults = seeds.iter().map(|seed| (seed, judge(&random::world(*seed)).1));
    let bad: Vec<_> = faults.filter(|(_, faults)| !faults.is_empty()).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}
