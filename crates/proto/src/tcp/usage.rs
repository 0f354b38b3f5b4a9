//! Congestion window validation: whether the window is what holds the sender back, so that a window that nobody
//! uses does not grow (RFC 7661 §4.1; the rule is Linux's `tcp_cwnd_validate` and `tcp_is_cwnd_limited`).

use crate::seq::SeqNum;

/// The use of the congestion window over the latest window of data.
#[derive(Debug)]
pub(super) struct WindowUsage {
    limited: bool,
    /// Most octets in flight over that window of data.
    in_flight_max: u32,
    /// Where that window of data ends.
    until: SeqNum,
}

impl WindowUsage {
    pub(super) fn new(snd_nxt: SeqNum) -> Self {
        Self { limited: false, in_flight_max: 0, until: snd_nxt }
    }

    /// Takes note after a transmission, or when the window kept one back (`limited`). What is noted holds until all
    /// that was sent by then is acknowledged, unless a stronger use comes before.
    pub(super) fn note(&mut self, limited: bool, in_flight: u32, snd_una: SeqNum, snd_nxt: SeqNum) {
        if limited || !snd_una.before(self.until) || (!self.limited && in_flight > self.in_flight_max) {
            *self = Self { limited, in_flight_max: in_flight, until: snd_nxt };
        }
    }

    /// The window was in full use within the latest round trip. While it doubles, half of it is full use:
    /// acknowledgements that come before the sender gets to send again shall not stop the growth.
    pub(super) fn is_limited(&self, cwnd: u32, in_slow_start: bool) -> bool {
        self.limited || (in_slow_start && cwnd < self.in_flight_max.saturating_mul(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_for_the_window_of_data_in_which_it_was_met() {
        let mut usage = WindowUsage::new(SeqNum(0));
        usage.note(false, 1000, SeqNum(0), SeqNum(1000));
        assert!(!usage.is_limited(10_000, false));
        // Less in flight than before, but the window, smaller now, kept a segment back.
        usage.note(true, 900, SeqNum(0), SeqNum(10_000));
        usage.note(false, 9_000, SeqNum(1_000), SeqNum(10_000));
        usage.note(false, 9_000, SeqNum(9_999), SeqNum(18_999));
        assert!(usage.is_limited(10_000, false), "not all of that window is acknowledged");
        usage.note(false, 9_000, SeqNum(10_000), SeqNum(19_000));
        assert!(!usage.is_limited(10_000, false));
    }

    #[test]
    fn in_slow_start_more_than_half_of_the_window_is_full_use() {
        let mut usage = WindowUsage::new(SeqNum(0));
        usage.note(false, 5_001, SeqNum(0), SeqNum(5_001));
        assert!(usage.is_limited(10_000, true));
        assert!(!usage.is_limited(10_002, true));
        assert!(!usage.is_limited(10_000, false));
    }
}
