//! OLIA, the Opportunistic Linked Increases Algorithm (draft-khalili-mptcp-congestion-control-05).
//!
//! For each acknowledgement on path r the window grows by `bytes_acked * MSS_r` times
//! `(w_r / rtt_r^2) / (sum(w_p / rtt_p))^2 + alpha_r / w_r`. The first term is the optimal one; alpha moves window from
//! the paths that have the largest to those that are better and have less ("collected"):
//!
//! | path r | alpha_r |
//! | --- | --- |
//! | collected: among the best, and without a largest window | `1 / (paths * collected)` |
//! | with a largest window, while there are collected ones | `-1 / (paths * largest)` |
//! | other | 0 |
//!
//! The best paths are those on which TCP would be fastest by the losses seen: rate grows with the root of the bytes
//! between two losses and falls with the round trip, so `l / rtt^2` is compared.
//!
//! Deviation: the draft's smallest threshold is one segment when there are several paths; here it is two, as RFC
//! 5681 has it. Windows are compared in whole segments, as they are in the draft.

use super::Sibling;
use super::coupled::{Coupled, Path, Rule, SHARE_ONE, Share, all, total_rate_squared};

/// OLIA for one subflow.
pub type Olia = Coupled<OpportunisticIncreases>;

/// OLIA's rule.
#[derive(Clone, Default, Debug)]
pub struct OpportunisticIncreases {
    /// Bytes acknowledged between the last two losses (l1).
    before_loss_bytes: u64,
    /// Bytes acknowledged since the last loss (l2).
    since_loss_bytes: u64,
}

/// alpha, as a fraction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Alpha {
    Zero,
    /// One part of so many.
    Gain(u128),
    /// Minus one part of so many.
    Give(u128),
}

fn alpha(own: &Path, siblings: &[Sibling], mss: u32) -> Alpha {
    let mss = mss.max(1);
    let largest_window = all(own, siblings).map(|path| path.cwnd / mss).max().unwrap_or(0);
    let is_largest = |path: &Path| path.cwnd / mss == largest_window;
    let best = all(own, siblings).reduce(|best, path| if is_better(&path, &best) { path } else { best });
    let is_best = |path: &Path| best.is_none_or(|best| !is_better(&best, path));
    let is_collected = |path: &Path| is_best(path) && !is_largest(path);

    let paths = siblings.len() as u128 + 1;
    let collected = all(own, siblings).filter(is_collected).count() as u128;
    let largest = all(own, siblings).filter(is_largest).count() as u128;
    if collected == 0 {
        Alpha::Zero
    } else if is_collected(own) {
        Alpha::Gain(paths * collected)
    } else if is_largest(own) {
        Alpha::Give(paths * largest)
    } else {
        Alpha::Zero
    }
}

/// Whether l / rtt^2 of `a` is larger than that of `b`.
fn is_better(a: &Path, b: &Path) -> bool {
    // In microseconds, below 2^27, so that no product exceeds 2^118.
    let rtt_squared = |path: &Path| u128::from(path.rtt / 1000).pow(2);
    u128::from(a.loss_interval_bytes) * rtt_squared(b) > u128::from(b.loss_interval_bytes) * rtt_squared(a)
}

impl Rule for OpportunisticIncreases {
    const NAME: &'static str = "olia";

    fn growth(&mut self, own: &Path, siblings: &[Sibling], mss: u32) -> Share {
        if siblings.is_empty() {
            return SHARE_ONE.div_ceil(own.cwnd.into()) as Share;
        }
        let linked = (own.rate_per_rtt() * SHARE_ONE / total_rate_squared(own, siblings)) as Share;
        match alpha(own, siblings, mss) {
            Alpha::Zero => linked,
            Alpha::Gain(parts) => linked + (SHARE_ONE / (parts * u128::from(own.cwnd))) as Share,
            Alpha::Give(parts) => linked - (SHARE_ONE / (parts * u128::from(own.cwnd))) as Share,
        }
    }

    fn on_delivered(&mut self, bytes: u32) {
        self.since_loss_bytes = self.since_loss_bytes.saturating_add(bytes.into());
    }

    fn on_congestion(&mut self) {
        self.before_loss_bytes = core::mem::take(&mut self.since_loss_bytes);
    }

    fn loss_interval_bytes(&self) -> u64 {
        self.before_loss_bytes.max(self.since_loss_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    const MSS: u32 = 1000;

    fn sibling(segments: u32, rtt_ms: u64, loss_interval_bytes: u64) -> Sibling {
        Sibling { cwnd: segments * MSS, srtt: Duration::from_millis(rtt_ms), loss_interval_bytes }
    }

    fn path(segments: u32, rtt_ms: u64, loss_interval_bytes: u64) -> Path {
        Path::from(&sibling(segments, rtt_ms, loss_interval_bytes))
    }

    #[test]
    fn alpha_is_zero_while_the_best_path_has_the_largest_window() {
        assert_eq!(alpha(&path(20, 100, 900), &[sibling(10, 100, 100)], MSS), Alpha::Zero);
        assert_eq!(alpha(&path(10, 100, 100), &[sibling(20, 100, 900)], MSS), Alpha::Zero);
        assert_eq!(alpha(&path(10, 100, 100), &[sibling(10, 100, 100)], MSS), Alpha::Zero);
    }

    #[test]
    fn a_better_path_with_a_smaller_window_gains_from_the_one_with_the_largest() {
        let (better, largest) = (sibling(10, 100, 900), sibling(20, 100, 100));
        assert_eq!(alpha(&Path::from(&better), &[largest], MSS), Alpha::Gain(2));
        assert_eq!(alpha(&Path::from(&largest), &[better], MSS), Alpha::Give(2));
        // The windows differ by less than a segment: both are largest, and nothing is collected.
        let close = Sibling { cwnd: 20 * MSS + 999, ..better };
        assert_eq!(alpha(&Path::from(&close), &[largest], MSS), Alpha::Zero);
    }

    #[test]
    fn what_is_gained_and_given_is_divided_among_those_who_do() {
        let (best, other) = (sibling(10, 100, 900), sibling(10, 100, 100));
        let largest = sibling(20, 100, 100);
        // Two collected paths of four.
        assert_eq!(alpha(&Path::from(&best), &[best, largest, largest], MSS), Alpha::Gain(8));
        assert_eq!(alpha(&Path::from(&largest), &[best, best, largest], MSS), Alpha::Give(8));
        assert_eq!(alpha(&Path::from(&other), &[best, largest, largest], MSS), Alpha::Zero);
    }

    #[test]
    fn the_round_trip_counts_twice_and_the_losses_once() {
        // l / rtt^2: 400 / 50^2 is four times 400 / 100^2, and as much as 1600 / 100^2.
        assert!(is_better(&path(1, 50, 400), &path(1, 100, 1599)));
        assert!(!is_better(&path(1, 50, 400), &path(1, 100, 1600)));
        assert!(!is_better(&path(1, 100, 1600), &path(1, 50, 400)));
    }

    #[test]
    fn the_growth_follows_both_terms() {
        let mut rule = OpportunisticIncreases::default();
        // Rates of 10,000 bytes in 0.1 s and 20,000 bytes in 0.1 s: w/rtt^2 is 10^6, the sum of rates 3 * 10^5.
        // First term 10^6 / (9 * 10^10) = 1/90,000; alpha / w = 1/2 / 10,000 = 1/20,000.
        let share = rule.growth(&path(10, 100, 900), &[sibling(20, 100, 100)], MSS);
        let expected = SHARE_ONE / 90_000 + SHARE_ONE / 20_000;
        assert!(share.abs_diff(expected as Share) < 10, "{share} {expected}");
        // The other: 2 * 10^6 / (9 * 10^10) = 1/45,000; -1/2 / 20,000 = -1/40,000: it shrinks.
        let share = rule.growth(&path(20, 100, 100), &[sibling(10, 100, 900)], MSS);
        let expected = (SHARE_ONE / 45_000) as Share - (SHARE_ONE / 40_000) as Share;
        assert!(share.abs_diff(expected) < 10 && share < 0, "{share} {expected}");
    }

    #[test]
    fn the_longer_of_the_last_two_intervals_between_losses_counts() {
        let mut rule = OpportunisticIncreases::default();
        rule.on_delivered(700);
        rule.on_congestion();
        rule.on_delivered(300);
        assert_eq!(rule.loss_interval_bytes(), 700);
        rule.on_delivered(500);
        assert_eq!(rule.loss_interval_bytes(), 800);
        rule.on_congestion();
        rule.on_congestion();
        assert_eq!(rule.loss_interval_bytes(), 0);
    }
}
