//! Congestion control: how much data may be on the way.
//!
//! An algorithm owns the congestion window and the slow-start threshold of one TCP flow, both in bytes. It
//! is told what happened and never looks at the flow. Loss detection, Proportional Rate Reduction and pacing
//! stay with the sender: during fast recovery it steers the window through
//! [`set_cwnd`](CongestionControl::set_cwnd).
//!
//! Order of calls around a loss: [`on_loss`](CongestionControl::on_loss), any number of `set_cwnd`, then either
//! [`on_recovery_exit`](CongestionControl::on_recovery_exit) or [`undo`](CongestionControl::undo). After a timeout:
//! [`on_rto`](CongestionControl::on_rto), then [`on_ack`](CongestionControl::on_ack) as usual (slow start), and `undo`
//! when the timeout turns out spurious. `on_ack` is not called in fast recovery.
//!
//! Read [`window`] first, then [`reno`], then [`cubic`] with [`hystart`].

use alloc::boxed::Box;

use crate::time::{Duration, Instant};

pub mod cubic;
pub mod hystart;
pub mod reno;
#[cfg(test)]
mod test_support;
pub mod window;

use cubic::Cubic;
use reno::Reno;

/// What one acknowledgement tells a congestion controller.
#[derive(Clone, Copy, Debug)]
pub struct AckSample {
    /// When it arrived.
    pub now: Instant,
    /// Bytes newly acknowledged, cumulatively or selectively.
    pub acked_bytes: u32,
    /// Round-trip time measured by this acknowledgement.
    pub rtt: Option<Duration>,
    /// The path's windowed minimum.
    pub min_rtt: Option<Duration>,
    /// The smoothed round-trip time.
    pub srtt: Option<Duration>,
    /// Bytes on the way before this acknowledgement.
    pub in_flight: u32,
    /// The congestion window was what held the sender back; a window that is not used does not grow
    /// (RFC 7661 §4.3).
    pub cwnd_limited: bool,
    /// The delivery rate was measured while the application had too little to send.
    pub app_limited: bool,
    /// Measured delivery rate, in bytes per second.
    pub delivery_rate: Option<u64>,
    /// Largest segment that the sender makes, in bytes.
    pub mss: u32,
    /// The acknowledgement carries ECE. It only keeps the window from growing; the reaction, once per
    /// window (RFC 3168 §6.1.2), comes through [`CongestionControl::on_loss`].
    pub ecn_echo: bool,
}

/// A congestion control algorithm, working for one TCP flow.
pub trait CongestionControl: Send + core::fmt::Debug {
    /// Its name in the registry, as in `net.ipv4.tcp_congestion_control`.
    fn name(&self) -> &'static str;

    /// Congestion window in bytes; at least one segment.
    fn cwnd(&self) -> u32;

    /// Slow-start threshold in bytes; `u32::MAX` until the first congestion.
    fn ssthresh(&self) -> u32;

    /// True when the window grows exponentially.
    fn in_slow_start(&self) -> bool {
        self.cwnd() < self.ssthresh()
    }

    /// New data was acknowledged outside fast recovery; grows the window if it was in use.
    fn on_ack(&mut self, ack: &AckSample);

    /// Fast recovery (or the reaction to ECN) begins with `in_flight` bytes on the way: remembers what
    /// [`undo`](Self::undo) restores and sets `ssthresh`. The window itself is left to `set_cwnd`.
    fn on_loss(&mut self, now: Instant, in_flight: u32);

    /// The retransmission timer expired: the window becomes one segment (RFC 5681 §3.1).
    ///
    /// `first` tells the first timeout of an episode, the only one that changes `ssthresh`.
    /// It is false for the repetitions and when the timer expires in fast recovery.
    fn on_rto(&mut self, now: Instant, in_flight: u32, first: bool);

    /// Fast recovery ended: the window becomes `ssthresh`, or as the algorithm wants it.
    fn on_recovery_exit(&mut self, now: Instant);

    /// Sets the window, in bytes; never below one segment.
    fn set_cwnd(&mut self, cwnd: u32);

    /// The congestion event was spurious: window and threshold return to what they were before it.
    /// Without such an event it does nothing.
    fn undo(&mut self, now: Instant);

    /// Sending resumes at `now` after `idle` without any data sent, and with none on the way.
    ///
    /// May be called after an idle time of any length; only one of an `rto` or more reduces the window
    /// (RFC 5681 §4.1, decayed as in RFC 2861 §3.1).
    fn on_idle(&mut self, now: Instant, idle: Duration, rto: Duration);

    /// The segment size changed, to `mss` bytes.
    fn set_mss(&mut self, mss: u32);

    /// Pacing rate in bytes per second that the algorithm demands; `None` leaves it to the sender's own
    /// rule over `cwnd` and `srtt`.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }
}

/// What a congestion controller starts from.
#[derive(Clone, Copy, Debug)]
pub struct Initial {
    /// Largest segment, in bytes.
    pub mss: u32,
    /// Initial window in segments; 10 by RFC 6928 §2. As in Linux its further limit of 14,600 bytes
    /// for large segments is not applied.
    pub initial_window_segments: u32,
}

/// Names of the built-in algorithms, as in `net.ipv4.tcp_available_congestion_control`.
pub const AVAILABLE: &[&str] = &["cubic", "reno"];

/// A new controller of the algorithm called `name`, or `None` when there is none.
pub fn by_name(name: &str, initial: Initial) -> Option<Box<dyn CongestionControl>> {
    match name {
        "cubic" => Some(Box::new(Cubic::new(initial))),
        "reno" => Some(Box::new(Reno::new(initial))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_available_algorithm_is_found_by_its_name_and_starts_in_slow_start() {
        let initial = Initial { mss: 1460, initial_window_segments: 10 };
        for name in AVAILABLE {
            let cc = by_name(name, initial).expect("it is in the list");
            assert_eq!(cc.name(), *name);
            assert_eq!((cc.cwnd(), cc.ssthresh()), (14_600, u32::MAX));
            assert!(cc.in_slow_start());
        }
        assert!(by_name("vegas", initial).is_none());
    }
}
