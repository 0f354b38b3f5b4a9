//! LIA, the Linked Increases Algorithm (RFC 6356).
//!
//! For each acknowledgement on subflow i the window grows by the smaller of
//! `alpha * bytes_acked * MSS_i / cwnd_total` and `bytes_acked * MSS_i / cwnd_i` (§3), where
//! `alpha = cwnd_total * max(cwnd_i / rtt_i^2) / (sum(cwnd_i / rtt_i))^2` (§3.1).

use super::Sibling;
use super::coupled::{Coupled, Path, Rule, SHARE_ONE, Share, all, total_rate_squared};

/// LIA for one subflow.
pub type Lia = Coupled<LinkedIncreases>;

/// LIA's rule; it keeps no state.
#[derive(Clone, Default, Debug)]
pub struct LinkedIncreases;

impl Rule for LinkedIncreases {
    const NAME: &'static str = "lia";

    fn growth(&mut self, own: &Path, siblings: &[Sibling], _mss: u32) -> Share {
        // The total window is in alpha's numerator and under the increase: it cancels out. At most 2^126.
        let best = all(own, siblings).map(|path| path.rate_per_rtt()).max().unwrap_or(0) * SHARE_ONE;
        let linked = best / total_rate_squared(own, siblings);
        let alone = SHARE_ONE.div_ceil(own.cwnd.into());
        // Without siblings both are the same, but for what division cuts off.
        let growth = if siblings.is_empty() { alone } else { linked.min(alone) };
        growth as Share
    }
}
