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
//! when the timeout turns out spurious. `on_ack` is not called in fast recovery, except to an algorithm that
//! [steers recovery](CongestionControl::steers_recovery) by itself.
//!
//! Read [`window`] first, then [`reno`], then [`cubic`] with [`hystart`], [`coupled`] with [`lia`], [`olia`] and
//! [`balia`], and [`bbr`].

use alloc::boxed::Box;

use super::rate::{DeliveryRate, RateSample};
use super::recovery::scoreboard::{AtSend, Sent};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

pub mod balia;
pub mod bbr;
pub mod coupled;
pub mod cubic;
pub mod hystart;
pub mod lia;
pub mod olia;
pub mod reno;
#[cfg(test)]
mod test_support;
pub mod window;

use cubic::Cubic;
use reno::Reno;

/// What one acknowledgement tells a congestion controller.
#[derive(Clone, Copy, Debug)]
pub struct AckSample<'a> {
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
    /// Bytes on the way after it and the losses that it revealed.
    pub in_flight_after: u32,
    /// The congestion window was what held the sender back; a window that is not used does not grow
    /// (RFC 7661 §4.3).
    pub cwnd_limited: bool,
    /// The flow repairs losses, after this acknowledgement.
    pub in_recovery: bool,
    /// Bytes delivered since the flow began, these included.
    pub delivered: u64,
    /// What it tells of the path's rate; `None` only where nothing was delivered.
    pub rate: Option<RateSample>,
    /// Largest segment that the sender makes, in bytes.
    pub mss: u32,
    /// The acknowledgement carries ECE. It only keeps the window from growing; the reaction, once per
    /// window (RFC 3168 §6.1.2), comes through [`CongestionControl::on_loss`].
    pub ecn_echo: bool,
    /// The connection's other subflows, if the algorithm [is coupled](CongestionControl::is_coupled); else empty.
    pub siblings: &'a [Sibling],
}

/// What a coupled algorithm learns of another subflow of its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sibling {
    /// Its congestion window in bytes.
    pub cwnd: u32,
    /// Its smoothed round-trip time.
    pub srtt: Duration,
    /// Bytes that its path carries between two losses; 0 where its algorithm does not count them.
    pub loss_interval_bytes: u64,
}

/// A segment that was just marked lost.
#[derive(Clone, Copy, Debug)]
pub struct LostSegment {
    /// When that was found.
    pub now: Instant,
    /// Its first number.
    pub seq: SeqNum,
    /// Its length in bytes.
    pub bytes: u32,
    /// The state of delivery when it was sent.
    pub at_send: AtSend,
    /// Bytes marked lost since it was sent, its own included.
    pub lost: u32,
    /// Bytes delivered since the flow began.
    pub delivered: u64,
}

impl LostSegment {
    pub(super) fn new<T>(now: Instant, sent: &Sent<T>, rate: &DeliveryRate) -> Self {
        let (lost, delivered) = (rate.lost_since(&sent.at_send), rate.delivered());
        Self { now, seq: sent.seq, bytes: sent.len, at_send: sent.at_send, lost, delivered }
    }
}

/// The model of `bbr`, as Linux's `struct tcp_bbr_info` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BbrInfo {
    /// What the path carries, octets per second.
    pub bw: u64,
    /// Its shortest round trip; `None` before the first one.
    pub min_rtt: Option<Duration>,
    /// Part of `bw` at which is sent, percent.
    pub pacing_gain: u32,
    /// Part of what the path holds that may be in flight, percent.
    pub cwnd_gain: u32,
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
    fn on_ack(&mut self, ack: &AckSample<'_>);

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

    /// Sets the window, in bytes; never below one segment. An algorithm that steers recovery ignores it.
    fn set_cwnd(&mut self, cwnd: u32);

    /// Sets the threshold, in bytes, where the rule is not the algorithm's own (RFC 7661 §4.4.1); at least two
    /// segments. An algorithm that steers recovery ignores it.
    fn set_ssthresh(&mut self, _ssthresh: u32) {}

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

    /// What a model of the path knows, for who asks (Linux: `TCP_CC_INFO`). `None` for what has no model.
    fn bbr_info(&self) -> Option<BbrInfo> {
        None
    }

    /// Pacing rate in bytes per second that the algorithm demands; `None` leaves it to the sender's own
    /// rule over `cwnd` and `srtt`.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }

    /// The algorithm sets its window in fast recovery as well, instead of Proportional Rate Reduction: it is given
    /// every acknowledgement (what Linux's `cong_control` is).
    fn steers_recovery(&self) -> bool {
        false
    }

    /// A segment was marked lost; once for each, before the episode that follows from it begins.
    fn on_segment_lost(&mut self, _lost: &LostSegment) {}

    /// The algorithm wants [`AckSample::siblings`].
    fn is_coupled(&self) -> bool {
        false
    }

    /// Bytes that the path carries between two losses, for siblings that ask (OLIA).
    fn loss_interval_bytes(&self) -> u64 {
        0
    }
}

/// What a congestion controller starts from.
#[derive(Clone, Copy, Default, Debug)]
pub struct Initial {
    /// Largest segment, in bytes.
    pub mss: u32,
    /// Initial window in segments; 10 by RFC 6928 §2. As in Linux its further limit of 14,600 bytes
    /// for large segments is not applied.
    pub initial_window_segments: u32,
    /// The time.
    pub now: Instant,
    /// The handshake's round-trip time.
    pub srtt: Option<Duration>,
    /// Selective acknowledgements were agreed.
    pub sack: bool,
    /// What the algorithm's chances follow from, if it has any.
    pub seed: u64,
}

/// Names of the built-in algorithms, as in `net.ipv4.tcp_available_congestion_control`.
pub const AVAILABLE: &[&str] = &["balia", "bbr", "cubic", "lia", "olia", "reno"];

/// A new controller of the algorithm called `name`, or `None` when there is none.
pub fn by_name(name: &str, initial: Initial) -> Option<Box<dyn CongestionControl>> {
    match name {
        "balia" => Some(Box::new(balia::Balia::new(initial))),
        "bbr" => Some(Box::new(bbr::Bbr::new(initial))),
        "cubic" => Some(Box::new(Cubic::new(initial))),
        "lia" => Some(Box::new(lia::Lia::new(initial))),
        "olia" => Some(Box::new(olia::Olia::new(initial))),
        "reno" => Some(Box::new(Reno::new(initial))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_available_algorithm_is_found_by_its_name_and_starts_in_slow_start() {
        let initial = Initial { mss: 1460, initial_window_segments: 10, ..Initial::default() };
        for name in AVAILABLE {
            let cc = by_name(name, initial).expect("it is in the list");
            assert_eq!(cc.name(), *name);
            assert_eq!((cc.cwnd(), cc.ssthresh()), (14_600, u32::MAX));
            assert!(cc.in_slow_start());
        }
        assert!(by_name("vegas", initial).is_none());
    }
}
