//! The host's timers: which connection is to be looked at when.
//!
//! [`TimerWheel`] orders (deadline, key) pairs and yields them when they are due. It does not cancel: the owner of
//! a key keeps its real deadline and checks it when the entry comes up ("lazily re-armed"), so that a connection that
//! moves its deadline with every acknowledgement costs no operation here as long as the new one is the later one.
//!
//! Despite its name it is a binary heap. A hierarchical wheel inserts in constant time, but it cannot name the earliest
//! deadline without a search, which a virtual clock and a driver that sleeps to the nanosecond both ask for after
//! every step. And the logarithm is small: with 100,000 entries an insertion took 5 to 29 ns on the machine that builds
//! this project (rising, random and always-earliest deadlines), taking out the earliest 70 to 180 ns.
//!
//! Entries of equal deadline come out in the order in which they went in, so that a run can be repeated exactly.

use alloc::collections::BinaryHeap;
use core::cmp::Ordering;

use crate::time::Instant;

/// Deadlines of many owners, in order.
#[derive(Clone, Debug)]
pub struct TimerWheel<K> {
    heap: BinaryHeap<Entry<K>>,
    next_number: u64,
    /// Entries given up since the latest sweep, of which some may have come up.
    given_up: usize,
}

/// So many entries are not worth a sweep.
const SWEPT_MIN: usize = 32;

#[derive(Clone, Copy, Debug)]
struct Entry<K> {
    at: Instant,
    /// Tells entries of the same deadline apart, and orders them.
    number: u64,
    key: K,
}

impl<K: Copy> Default for TimerWheel<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy> TimerWheel<K> {
    /// Without entries.
    pub const fn new() -> Self {
        Self { heap: BinaryHeap::new(), next_number: 0, given_up: 0 }
    }

    /// Adds an entry for `key`, due at `at`; entries of the same key stay.
    ///
    /// The number of entries has no bound here. An owner that adds one only when its deadline moves before
    /// the entry that it has keeps one live entry per key, and stale ones only until they are due; one whose key ends
    /// says so with [`give_up`](Self::give_up).
    pub fn schedule(&mut self, at: Instant, key: K) {
        self.heap.push(Entry { at, number: self.next_number, key });
        self.next_number += 1;
    }

    /// `entries` became stale, which may be hours before they are due. When they are the greater part, all those go that
    /// `is_live` does not claim: a constant cost for each that was given up.
    pub fn give_up(&mut self, entries: usize, mut is_live: impl FnMut(Instant, &K) -> bool) {
        self.given_up += entries;
        if self.given_up > SWEPT_MIN && self.given_up > self.heap.len() / 2 {
            self.heap.retain(|entry| is_live(entry.at, &entry.key));
            self.given_up = 0;
        }
    }

    /// Takes out the earliest entry if it is due at `now`, with its deadline. The owner checks whether it still holds.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next_deadline()? > now {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.key))
    }

    /// The deadline of the earliest entry, stale or not.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Number of entries, stale ones included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

// The heap yields its greatest element: the earliest entry is the greatest, and the key does not count.
impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K> Eq for Entry<K> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Prng;
    use crate::time::Duration;
    use std::collections::BTreeMap;

    #[test]
    fn equal_deadlines_come_out_in_the_order_they_went_in() {
        let mut wheel = TimerWheel::new();
        for key in [5, 3, 9, 1] {
            wheel.schedule(Instant::from_millis(7), key);
        }
        wheel.schedule(Instant::from_millis(6), 0);
        assert_eq!(wheel.pop_due(Instant::from_millis(5)), None);
        let now = Instant::FAR_FUTURE;
        let order: [_; 6] = core::array::from_fn(|_| wheel.pop_due(now).map(|(_, key)| key));
        assert_eq!(order, [Some(0), Some(5), Some(3), Some(9), Some(1), None]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn entries_that_are_given_up_never_outnumber_the_live_ones_for_long() {
        let mut wheel = TimerWheel::new();
        let hour = Instant::from_millis(3_600_000);
        for key in 0..10 {
            wheel.schedule(hour, key);
        }
        for key in 10..100_000_u32 {
            wheel.schedule(hour, key);
            wheel.give_up(1, |_, key| *key < 10);
            assert!(wheel.len() <= 10 + SWEPT_MIN + 1, "{}", wheel.len());
        }
        let order: [_; 10] = core::array::from_fn(|_| wheel.pop_due(hour).map(|(_, key)| key));
        assert_eq!(order, core::array::from_fn(|key| Some(key as u32)));
    }

    #[test]
    fn it_agrees_with_a_sorted_map_under_random_operations() {
        for seed in 0..20 {
            let mut rng = Prng::new(seed);
            let mut wheel = TimerWheel::new();
            let mut model = BTreeMap::new();
            let mut now = Instant::ZERO;
            for step in 0..5_000_u32 {
                if rng.ratio(2, 3) {
                    // From a microsecond to twelve days, and some in the past.
                    let ahead = Duration::from_nanos(1_000 << rng.below(31));
                    let at = if rng.ratio(1, 20) { now - ahead } else { now + ahead };
                    wheel.schedule(at, step);
                    model.insert((at, step), ());
                } else {
                    now += Duration::from_nanos(1 << rng.below(45));
                }
                for _ in 0..rng.below(4) {
                    let expected = match model.first_key_value() {
                        Some(((at, _), ())) if *at <= now => model.pop_first().map(|(entry, ())| entry),
                        _ => None,
                    };
                    assert_eq!(wheel.pop_due(now), expected, "seed {seed} step {step}");
                }
                assert_eq!(wheel.next_deadline(), model.keys().next().map(|(at, _)| *at));
                assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
