//! The congestion window itself: what every loss-based algorithm shares (RFC 5681).
//!
//! [`Window`] keeps `cwnd` and `ssthresh` in bytes and within their bounds, and knows slow start, the collapse at
//! a timeout and the restart after idle time. How the window grows in congestion avoidance, and by how much it
//! shrinks, is the algorithm's business.

use crate::time::{Duration, nanos};

use super::Initial;

/// Largest window, in bytes: no peer can offer more (65,535 shifted by 14, RFC 7323 §2.3).
pub const CWND_MAX: u32 = 1 << 30;

/// Largest segment size, in bytes: the MSS option has 16 bits (RFC 9293 §3.7.1).
const MSS_MAX: u32 = 65_535;

/// Congestion window and slow-start threshold of one flow.
#[derive(Clone, Debug)]
pub struct Window {
    cwnd: u32,
    ssthresh: u32,
    mss: u32,
    initial_window_segments: u32,
}

impl Window {
    /// A window of the initial size; the threshold is out of reach.
    pub fn new(initial: Initial) -> Self {
        let Initial { mss, initial_window_segments, .. } = initial;
        let mut window =
            Self { cwnd: 0, ssthresh: u32::MAX, mss: mss.clamp(1, MSS_MAX), initial_window_segments };
        window.set_cwnd(window.initial_bytes());
        window
    }

    /// The window, in bytes.
    pub fn cwnd(&self) -> u32 {
        self.cwnd
    }

    /// The threshold, in bytes; `u32::MAX` before the first congestion.
    pub fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    /// The segment size, in bytes.
    pub fn mss(&self) -> u32 {
        self.mss
    }

    /// True below the threshold.
    pub fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Sets the window, at least one segment and at most [`CWND_MAX`].
    pub fn set_cwnd(&mut self, cwnd: u32) {
        self.cwnd = cwnd.clamp(self.mss, CWND_MAX);
    }

    /// Sets the threshold after a congestion, at least two segments (RFC 5681 §3.1, equation 4).
    pub fn set_ssthresh(&mut self, ssthresh: u32) {
        self.ssthresh = ssthresh.max(self.mss.saturating_mul(2));
    }

    /// Raises window and threshold to what they were before a spurious congestion event. A window that has
    /// grown past it in the meantime stays.
    pub fn restore(&mut self, before: &Self) {
        self.set_cwnd(self.cwnd.max(before.cwnd));
        self.ssthresh = self.ssthresh.max(before.ssthresh);
    }

    /// Sets the segment size; the window in bytes stays, unless it is now less than one segment.
    pub fn set_mss(&mut self, mss: u32) {
        self.mss = mss.clamp(1, MSS_MAX);
        self.set_cwnd(self.cwnd);
    }

    /// Enlarges the window by `bytes`.
    pub fn grow(&mut self, bytes: u32) {
        self.set_cwnd(self.cwnd.saturating_add(bytes));
    }

    /// Slow start: enlarges the window by the bytes acknowledged, up to the threshold. Returns the acknowledged
    /// bytes that are left for congestion avoidance.
    ///
    /// All bytes count, which is RFC 3465 §2.2 with no limit L: one acknowledgement may stand for a whole
    /// received super-packet, and pacing, not L, keeps what it releases from being a burst.
    pub fn slow_start(&mut self, acked_bytes: u32) -> u32 {
        let step = self.ssthresh.saturating_sub(self.cwnd).min(acked_bytes);
        self.grow(step);
        acked_bytes - step
    }

    /// The loss window, one segment (RFC 5681 §3.1).
    pub fn collapse(&mut self) {
        self.set_cwnd(self.mss);
    }

    /// Halves the window for each `rto` in `idle`, down to the initial window.
    ///
    /// RFC 5681 §4.1 would fall to the initial window at once; like Linux we decay as in RFC 2861 §3.1,
    /// which also keeps the knowledge of the path in the threshold.
    pub fn restart_after_idle(&mut self, idle: Duration, rto: Duration) {
        let halvings = nanos(idle) / nanos(rto).max(1);
        let floor = self.initial_bytes().min(self.cwnd);
        if halvings == 0 {
            return;
        }
        self.ssthresh = self.ssthresh.max(self.cwnd - self.cwnd / 4);
        self.set_cwnd(floor.max(self.cwnd >> halvings.min(31)));
    }

    fn initial_bytes(&self) -> u32 {
        self.mss.saturating_mul(self.initial_window_segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn window() -> Window {
        Window::new(Initial { mss: MSS, initial_window_segments: 10, ..Initial::default() })
    }

    #[test]
    fn slow_start_grows_by_what_is_acknowledged_and_hands_on_the_rest() {
        let mut window = window();
        assert_eq!(window.slow_start(64_000), 0);
        assert_eq!(window.cwnd(), 74_000);
        window.set_ssthresh(80_000);
        assert_eq!(window.slow_start(10_000), 4_000);
        assert_eq!(window.cwnd(), 80_000);
        assert!(!window.in_slow_start());
    }

    #[test]
    fn an_idle_window_is_halved_per_rto_down_to_the_initial_one() {
        let rto = Duration::from_millis(200);
        let after = |millis| {
            let mut window = window();
            window.set_cwnd(100 * MSS);
            window.set_ssthresh(20 * MSS);
            window.restart_after_idle(Duration::from_millis(millis), rto);
            (window.cwnd() / MSS, window.ssthresh() / MSS)
        };
        assert_eq!(after(199), (100, 20));
        assert_eq!(after(200), (50, 75));
        assert_eq!(after(799), (12, 75));
        assert_eq!(after(86_400_000), (10, 75));

        let mut small = window();
        small.set_cwnd(3 * MSS);
        small.restart_after_idle(Duration::MAX, Duration::ZERO);
        assert_eq!((small.cwnd(), small.ssthresh()), (3 * MSS, u32::MAX));
    }

    #[test]
    fn no_size_leaves_the_bounds() {
        let largest = Initial { mss: u32::MAX, initial_window_segments: u32::MAX, ..Initial::default() };
        let mut window = Window::new(largest);
        assert_eq!((window.cwnd(), window.mss()), (CWND_MAX, MSS_MAX));
        window.set_mss(0);
        window.set_cwnd(0);
        assert_eq!(window.cwnd(), 1);
        window.grow(u32::MAX);
        assert_eq!(window.cwnd(), CWND_MAX);
        window.slow_start(u32::MAX);
        assert_eq!(window.cwnd(), CWND_MAX);
    }
}
