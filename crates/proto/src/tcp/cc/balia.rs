//! BALIA, the Balanced Linked Adaptation (draft-walid-mptcp-congestion-control-04).
//!
//! With `x_r = w_r / rtt_r` and `alpha_r = max(x_k) / x_r`, for each acknowledgement on path r the window grows by
//! `bytes_acked * MSS_r` times `x_r / (rtt_r * (sum x_k)^2) * (1 + alpha_r) / 2 * (4 + alpha_r) / 5`, and at a loss
//! it shrinks by `w_r / 2 * min(alpha_r, 3/2)`.

use super::Sibling;
use super::coupled::{Coupled, Path, Rule, SHARE_ONE, Share, all};

/// BALIA for one subflow.
pub type Balia = Coupled<BalancedAdaptation>;

/// BALIA's rule.
#[derive(Clone, Debug)]
pub struct BalancedAdaptation {
    /// alpha as of the latest acknowledgement, at most 3/2, in units of 2^-16.
    alpha: u32,
}

const ONE: u32 = 1 << 16;

impl Default for BalancedAdaptation {
    fn default() -> Self {
        Self { alpha: ONE }
    }
}

impl Rule for BalancedAdaptation {
    const NAME: &'static str = "balia";

    fn growth(&mut self, own: &Path, siblings: &[Sibling], _mss: u32) -> Share {
        if siblings.is_empty() {
            self.alpha = ONE;
            return SHARE_ONE.div_ceil(own.cwnd.into()) as Share;
        }
        let sum: u128 = all(own, siblings).map(|path| path.rate()).sum();
        let max = all(own, siblings).map(|path| path.rate()).max().unwrap_or(0);
        let rate = own.rate().max(1);
        self.alpha = (max * u128::from(ONE) / rate).clamp(ONE.into(), (ONE + ONE / 2).into()) as u32;
        // x_r * rtt_r is w_r, so the whole is (x_r + max) (4 x_r + max) / (10 w_r sum^2). Rates lose their low bits
        // until the sum has 32.
        let shift = (128 - sum.leading_zeros()).saturating_sub(32);
        let (sum, max, rate) = ((sum >> shift).max(1), max >> shift, rate >> shift);
        let growth = (rate + max) * (4 * rate + max) * SHARE_ONE / (sum * sum);
        (growth / (10 * u128::from(own.cwnd))) as Share
    }

    fn threshold(&self, cwnd: u32) -> u32 {
        let decrease = (u64::from(cwnd / 2) * u64::from(self.alpha)) >> 16;
        cwnd - decrease as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn sibling(cwnd: u32, rtt_ms: u64) -> Sibling {
        Sibling { cwnd, srtt: Duration::from_millis(rtt_ms), loss_interval_bytes: 0 }
    }

    fn growth(own: Sibling, siblings: &[Sibling]) -> (Share, u32) {
        let mut rule = BalancedAdaptation::default();
        let share = rule.growth(&Path::from(&own), siblings, 1000);
        (share, rule.threshold(12_000))
    }

    #[test]
    fn equal_paths_grow_at_a_quarter_of_reno_and_halve() {
        // alpha = 1: x / (rtt (2x)^2) = 1 / (4 w).
        let (share, threshold) = growth(sibling(10_000, 100), &[sibling(10_000, 100)]);
        assert!(share.abs_diff((SHARE_ONE / 40_000) as Share) < 10, "{share}");
        assert_eq!(threshold, 6_000);
    }

    #[test]
    fn a_slower_path_grows_faster_than_its_share_and_shrinks_more() {
        // 100 kB/s beside 120 kB/s: alpha = 1.2. x / (rtt sum^2) = 10^6 / 220,000^2; times 1.1 and 5.2/5.
        let (share, threshold) = growth(sibling(10_000, 100), &[sibling(12_000, 100)]);
        let expected = SHARE_ONE as f64 * 1e6 / (220_000.0 * 220_000.0) * 1.1 * 1.04;
        assert!((share as f64 / expected - 1.0).abs() < 1e-4, "{share} {expected}");
        assert_eq!(threshold, 12_000 - 7_199, "6,000 * 1.2, rounded");
        // alpha = 4 counts in full for the growth, and as 1.5 for the decrease.
        let (share, threshold) = growth(sibling(10_000, 100), &[sibling(40_000, 100)]);
        let expected = SHARE_ONE as f64 * 1e6 / (500_000.0 * 500_000.0) * 2.5 * 1.6;
        assert!((share as f64 / expected - 1.0).abs() < 1e-4, "{share} {expected}");
        assert_eq!(threshold, 3_000);
    }

    #[test]
    fn the_fastest_path_halves_at_a_loss() {
        let (share, threshold) = growth(sibling(40_000, 50), &[sibling(10_000, 100)]);
        // 800 kB/s beside 100 kB/s, alpha = 1: 1.6 * 10^7 / 900,000^2.
        let expected = SHARE_ONE as f64 * 1.6e7 / (900_000.0 * 900_000.0);
        assert!((share as f64 / expected - 1.0).abs() < 1e-4, "{share} {expected}");
        assert_eq!(threshold, 6_000);
    }
}
