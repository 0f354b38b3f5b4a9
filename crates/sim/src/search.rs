//! The first seed whose world goes wrong: what a planted bug, or a bisection, asks for.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::batch::{BadWorld, judge};
use crate::random;

/// The lowest of `seeds` that is not in `known` and whose world does not come out as it must.
///
/// `jobs` threads go up from the lowest seed, and none begins a world past one that went wrong. What comes out
/// does not depend on how many they are.
pub fn first_bad(seeds: Range<u64>, known: &BTreeSet<u64>, jobs: usize) -> Option<BadWorld> {
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<Option<BadWorld>> = Mutex::default();
    let end = AtomicU64::new(seeds.end);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    if known.contains(&seed) {
                        continue;
                    }
                    let (_, faults) = judge(&random::world(seed));
                    if faults.is_empty() {
                        continue;
                    }
                    end.fetch_min(seed, Ordering::Relaxed);
                    let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if found.as_ref().is_none_or(|bad| seed < bad.seed) {
                        *found = Some(BadWorld { seed, faults });
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
