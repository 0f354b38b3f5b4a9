//! Reno: additive increase by one segment per round trip, halving at a loss (RFC 5681 §3.1).

use crate::time::{Duration, Instant};

use super::window::Window;
use super::{AckSample, CongestionControl, Initial};

/// The Reno algorithm, counting bytes (RFC 3465).
#[derive(Debug)]
pub struct Reno {
    window: Window,
    /// Bytes acknowledged in congestion avoidance since the last increase.
    credit: u64,
    /// The window before the latest congestion event.
    saved: Option<Window>,
}

impl Reno {
    /// A controller in slow start.
    pub fn new(initial: Initial) -> Self {
        Self { window: Window::new(initial), credit: 0, saved: None }
    }

    /// Remembers the window and halves the threshold.
    ///
    /// Deviation: RFC 5681 §3.1 (equation 4) takes half of what is in flight. Like Linux we take half of the
    /// window: it only grows while it is in use, and what is in flight at this point is short by whatever the
    /// loss detection has just written off.
    fn reduce(&mut self) {
        self.saved = Some(self.window.clone());
        self.window.set_ssthresh(self.window.cwnd() / 2);
        self.credit = 0;
    }
}

impl CongestionControl for Reno {
    fn name(&self) -> &'static str {
        "reno"
    }

    fn cwnd(&self) -> u32 {
        self.window.cwnd()
    }

    fn ssthresh(&self) -> u32 {
        self.window.ssthresh()
    }

    fn on_ack(&mut self, ack: &AckSample<'_>) {
        if !ack.cwnd_limited || ack.ecn_echo {
            return;
        }
        let left = match self.window.in_slow_start() {
            true => self.window.slow_start(ack.acked_bytes),
            false => ack.acked_bytes,
        };
        self.credit += u64::from(left);
        let cwnd = u64::from(self.window.cwnd());
        let segments = self.credit / cwnd;
        self.credit %= cwnd;
        let bytes = segments.saturating_mul(u64::from(self.window.mss()));
        self.window.grow(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    fn on_loss(&mut self, _now: Instant, _in_flight: u32) {
        self.reduce();
    }

    fn on_rto(&mut self, _now: Instant, _in_flight: u32, first: bool) {
        if first {
            self.reduce();
        }
        self.window.collapse();
    }

    fn on_recovery_exit(&mut self, _now: Instant) {
        self.window.set_cwnd(self.window.ssthresh());
    }

    fn set_cwnd(&mut self, cwnd: u32) {
        self.window.set_cwnd(cwnd);
    }

    fn set_ssthresh(&mut self, ssthresh: u32) {
        self.window.set_ssthresh(ssthresh);
    }

    fn undo(&mut self, _now: Instant) {
        if let Some(before) = self.saved.take() {
            self.window.restore(&before);
        }
    }

    fn on_idle(&mut self, _now: Instant, idle: Duration, rto: Duration) {
        self.window.restart_after_idle(idle, rto);
    }

    fn set_mss(&mut self, mss: u32) {
        self.window.set_mss(mss);
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{MSS, ack, initial};
    use super::super::window::CWND_MAX;
    use super::*;

    fn in_avoidance(segments: u32) -> Reno {
        let mut reno = Reno::new(initial());
        reno.set_cwnd(2 * segments * MSS);
        reno.on_loss(Instant::ZERO, 2 * segments * MSS);
        reno.on_recovery_exit(Instant::ZERO);
        assert_eq!(reno.cwnd(), segments * MSS);
        reno
    }

    #[test]
    fn the_window_doubles_in_slow_start_and_gains_one_segment_per_round_after_it() {
        let mut reno = Reno::new(initial());
        for _ in 0..10 {
            reno.on_ack(&ack(0, MSS, reno.cwnd()));
        }
        assert_eq!(reno.cwnd(), 20 * MSS);

        let mut reno = in_avoidance(20);
        for _ in 0..20 {
            reno.on_ack(&ack(0, MSS, reno.cwnd()));
        }
        assert_eq!(reno.cwnd(), 21 * MSS);
    }

    #[test]
    fn a_stretch_ack_counts_like_the_acks_it_stands_for() {
        let mut reno = in_avoidance(20);
        reno.on_ack(&ack(0, 40 * MSS, reno.cwnd()));
        assert_eq!(reno.cwnd(), 22 * MSS);
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let mut reno = in_avoidance(20);
        reno.on_ack(&AckSample { cwnd_limited: false, ..ack(0, 100 * MSS, MSS) });
        reno.on_ack(&AckSample { ecn_echo: true, ..ack(0, 100 * MSS, MSS) });
        assert_eq!(reno.cwnd(), 20 * MSS);
    }

    #[test]
    fn a_timeout_collapses_the_window_and_only_the_first_one_lowers_the_threshold() {
        let mut reno = in_avoidance(20);
        reno.on_rto(Instant::ZERO, 20 * MSS, true);
        assert_eq!((reno.cwnd(), reno.ssthresh()), (MSS, 10 * MSS));
        reno.on_rto(Instant::ZERO, MSS, false);
        assert_eq!((reno.cwnd(), reno.ssthresh()), (MSS, 10 * MSS));
        reno.undo(Instant::ZERO);
        assert_eq!((reno.cwnd(), reno.ssthresh()), (20 * MSS, 20 * MSS));
        reno.set_cwnd(MSS);
        reno.undo(Instant::ZERO);
        assert_eq!(reno.cwnd(), MSS);
    }

    #[test]
    fn the_largest_window_and_the_largest_ack_do_not_overflow() {
        let mut reno = in_avoidance(2);
        for cwnd in [0, MSS, CWND_MAX, u32::MAX] {
            reno.set_cwnd(cwnd);
            reno.on_ack(&ack(0, u32::MAX, u32::MAX));
            assert!(reno.cwnd() <= CWND_MAX);
        }
    }
}
