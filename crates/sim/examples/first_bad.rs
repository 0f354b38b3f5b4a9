//! `first_bad A B [SEED...]`: the first seed from A on and below B whose random world goes wrong, those named behind
//! left out; exits with 1 if there is one. `first_bad --all A B` prints every such seed, a line each. Small enough to be
//! built again for each planted bug.

use std::collections::BTreeSet;
use std::process::ExitCode;

use polytcp_sim::search::first_bad;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let all = words.first().is_some_and(|word| word == "--all");
    words.drain(..usize::from(all));
    let numbers: Vec<u64> = words.iter().map(|word| word.parse().expect("a seed is a number")).collect();
    let [first, end, known @ ..] = &numbers[..] else {
        panic!("two seeds: the first one and the one after the last")
    };
    let known: BTreeSet<u64> = known.iter().copied().collect();
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut from = *first;
    let mut code = ExitCode::SUCCESS;
    while let Some(bad) = first_bad(from..*end, &known, jobs) {
        code = ExitCode::FAILURE;
        if all {
            println!("{}", bad.seed);
            from = bad.seed + 1;
            continue;
        }
        println!("seed {}: {}", bad.seed, bad.faults.first().map_or("", String::as_str));
        break;
    }
    code
}
