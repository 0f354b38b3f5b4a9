//! Proportional Rate Reduction: the window during fast recovery (RFC 9937, which replaces RFC 6937).
//!
//! While more is in flight than the new threshold allows, it sends in proportion to what arrives, so that the window
//! falls smoothly; below the threshold it climbs back with one of two speeds. It climbs fast (slow-start reduction
//! bound) only on an acknowledgement that moves SND.UNA and reveals no new loss, which RFC 9937 calls SafeACK; else
//! it keeps to packet conservation. All quantities are bytes.

/// What one acknowledgement in fast recovery means to the reduction.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// Bytes newly acknowledged, cumulatively or selectively (DeliveredData). May be 0 when a timer found the loss.
    pub delivered_bytes: u32,
    /// Estimate of what is still in flight after the acknowledgement (pipe).
    pub in_flight: u32,
    /// Segment size in bytes.
    pub mss: u32,
    /// It advanced SND.UNA and no further loss was detected (SafeACK).
    pub safe_ack: bool,
}

/// The state of one recovery episode.
#[derive(Clone, Debug)]
pub struct Prr {
    /// What was in flight when recovery began (RecoverFS).
    recover_flight: u32,
    ssthresh: u32,
    /// Bytes delivered since then. Wide, since a recovery may last for any number of windows.
    delivered: u64,
    /// Bytes sent since then.
    out: u64,
}

impl Prr {
    /// Begins an episode: `recover_flight` bytes in flight are to become `ssthresh`.
    ///
    /// Next comes [`on_ack`](Self::on_ack) for the acknowledgement that started it.
    pub fn enter(recover_flight: u32, ssthresh: u32) -> Self {
        Self { recover_flight: recover_flight.max(1), ssthresh, delivered: 0, out: 0 }
    }

    /// Takes an acknowledgement and returns the new congestion window, in bytes.
    ///
    /// Until something is sent the window has room for one segment: the fast retransmission.
    pub fn on_ack(&mut self, ack: Delivery) -> u32 {
        let Delivery { delivered_bytes, in_flight, mss, safe_ack } = ack;
        self.delivered += u64::from(delivered_bytes);
        let sendable = match self.ssthresh.checked_sub(in_flight) {
            None => self.proportional(),
            Some(room) => {
                let bonus = if safe_ack { mss } else { 0 };
                let owed = self.delivered.saturating_sub(self.out).max(u64::from(delivered_bytes));
                (owed + u64::from(bonus)).min(u64::from(room))
            }
        };
        let sendable = if self.out == 0 { sendable.max(u64::from(mss)) } else { sendable };
        u32::try_from(u64::from(in_flight) + sendable).unwrap_or(u32::MAX)
    }

    /// Takes note of `bytes` that were sent, new or again.
    pub fn on_sent(&mut self, bytes: u32) {
        self.out += u64::from(bytes);
    }

    /// Bytes to send so that what was sent is to what was delivered as `ssthresh` to what was in flight.
    fn proportional(&self) -> u64 {
        let due = u128::from(self.delivered) * u128::from(self.ssthresh);
        let due = due.div_ceil(u128::from(self.recover_flight));
        u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    /// A sender that always fills the window with whole segments.
    struct Sender {
        prr: Prr,
        in_flight: u32,
    }

    impl Sender {
        /// A window of `flight` segments of which `lost` were just found lost, on the third duplicate.
        fn enter(flight: u32, lost: u32, ssthresh: u32) -> Self {
            let mut sender =
                Self { prr: Prr::enter(flight * MSS, ssthresh * MSS), in_flight: (flight - 3 - lost) * MSS };
            sender.fill(3, false);
            sender
        }

        /// Segments sent in response to one more segment delivered.
        fn ack(&mut self, safe_ack: bool) -> u32 {
            self.in_flight -= MSS;
            self.fill(1, safe_ack)
        }

        fn fill(&mut self, delivered: u32, safe_ack: bool) -> u32 {
            let cwnd = self.prr.on_ack(Delivery {
                delivered_bytes: delivered * MSS,
                in_flight: self.in_flight,
                mss: MSS,
                safe_ack,
            });
            let segments = (cwnd - self.in_flight) / MSS;
            self.prr.on_sent(segments * MSS);
            self.in_flight += segments * MSS;
            segments
        }
    }

    #[test]
    fn a_single_loss_brings_the_window_down_smoothly_within_one_round() {
        // The first example of RFC 6937 §4: 20 segments, one lost, a threshold of 10.
        let mut sender = Sender::enter(20, 1, 10);
        let mut sent = 0;
        for acked in 1..=16 {
            let burst = sender.ack(false);
            assert!(burst <= 1, "{burst} at once");
            sent += burst;
            // One for two, from the first to the last.
            assert!(sent.abs_diff(acked / 2) <= 1, "{sent} for {acked}");
        }
        assert!((8..=9).contains(&sent), "{sent}");
        assert_eq!(sender.in_flight, 10 * MSS);
    }

    #[test]
    fn after_a_burst_of_losses_it_conserves_packets_or_climbs_when_that_is_safe() {
        // The second example of RFC 6937 §4: 20 segments, 15 of them lost.
        let mut unsafe_acks = Sender::enter(20, 15, 10);
        let before = unsafe_acks.in_flight;
        for _ in 0..4 {
            assert_eq!(unsafe_acks.ack(false), 1);
        }
        assert_eq!(unsafe_acks.in_flight, before);

        let mut safe_acks = Sender::enter(20, 15, 10);
        for _ in 0..4 {
            assert_eq!(safe_acks.ack(true), 2);
        }
        for _ in 0..20 {
            safe_acks.ack(true);
        }
        assert_eq!(safe_acks.in_flight, 10 * MSS, "never above the threshold");
    }

    #[test]
    fn the_first_retransmission_always_fits() {
        let mut prr = Prr::enter(10 * MSS, 5 * MSS);
        let nothing = Delivery { delivered_bytes: 0, in_flight: 9 * MSS, mss: MSS, safe_ack: false };
        assert_eq!(prr.on_ack(nothing), 10 * MSS);
        prr.on_sent(MSS);
        assert_eq!(prr.on_ack(nothing), 9 * MSS);
    }

    #[test]
    fn no_quantity_overflows() {
        for flight in [0, 1, u32::MAX] {
            for in_flight in [0, u32::MAX] {
                let mut prr = Prr::enter(flight, 1 << 30);
                for _ in 0..100 {
                    let all = u32::MAX;
                    prr.on_ack(Delivery { delivered_bytes: all, in_flight, mss: all, safe_ack: true });
                    prr.on_sent(all / 3);
                }
            }
        }
    }
}
