//! What the coupled algorithms share: a Reno whose growth in congestion avoidance depends on the other subflows.
//!
//! A connection of several subflows shall take no more of a bottleneck that they share than one TCP flow would, and
//! move its load away from congested paths (RFC 6356 §2). [`Coupled`] is the window, slow start, losses and their
//! undoing; a [`Rule`] says how fast the window grows and by how much it shrinks. The siblings come with each
//! [`AckSample`]. A flow without siblings, a plain TCP socket among them, behaves as NewReno under each rule.
//!
//! Arithmetic is on integers. A [`Share`] is a growth in units of 1/byte times 2^56: multiplied with the bytes
//! acknowledged and the segment size, it is what the window gains.

use crate::time::{Duration, Instant, nanos};

use super::window::Window;
use super::{AckSample, CongestionControl, Initial, Sibling};

/// How one algorithm links the windows of a connection.
pub trait Rule: Clone + Default + Send + core::fmt::Debug {
    /// Its name in the registry.
    const NAME: &'static str;

    /// Growth of the window of `own` for each byte acknowledged and each byte of its segments.
    fn growth(&mut self, own: &Path, siblings: &[Sibling], mss: u32) -> Share;

    /// The threshold after a loss with a window of `cwnd` bytes.
    fn threshold(&self, cwnd: u32) -> u32 {
        cwnd / 2
    }

    /// Bytes were acknowledged.
    fn on_delivered(&mut self, _bytes: u32) {}

    /// A congestion event begins.
    fn on_congestion(&mut self) {}

    /// See [`CongestionControl::loss_interval_bytes`].
    fn loss_interval_bytes(&self) -> u64 {
        0
    }
}

/// A growth, in units of 2^-56 per byte of window.
pub type Share = i128;

/// One byte of growth per byte acknowledged and byte of segment, as a [`Share`].
pub const SHARE_ONE: u128 = 1 << 56;

/// A subflow as the rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Congestion window in bytes.
    pub cwnd: u32,
    /// Round-trip time in nanoseconds, between a microsecond and 68 s.
    pub rtt: u64,
    /// What a sibling tells of its losses.
    pub loss_interval_bytes: u64,
}

impl Path {
    fn new(cwnd: u32, srtt: Duration, loss_interval_bytes: u64) -> Self {
        Self { cwnd: cwnd.max(1), rtt: nanos(srtt).clamp(1_000, 1 << 36), loss_interval_bytes }
    }

    /// Window per round trip, in bytes per second; below 2^50.
    pub fn rate(&self) -> u128 {
        u128::from(self.cwnd) * 1_000_000_000 / u128::from(self.rtt)
    }

    /// Window by the square of the round trip, in bytes per second per second; below 2^70.
    pub fn rate_per_rtt(&self) -> u128 {
        self.rate() * 1_000_000_000 / u128::from(self.rtt)
    }
}

impl From<&Sibling> for Path {
    fn from(sibling: &Sibling) -> Self {
        Self::new(sibling.cwnd, sibling.srtt, sibling.loss_interval_bytes)
    }
}

/// `own` and its siblings.
pub fn all<'a>(own: &'a Path, siblings: &'a [Sibling]) -> impl Iterator<Item = Path> + 'a {
    siblings.iter().map(Path::from).chain([*own])
}

/// The sum of all rates, squared; at least 1.
pub fn total_rate_squared(own: &Path, siblings: &[Sibling]) -> u128 {
    let sum: u128 = all(own, siblings).map(|path| path.rate()).sum();
    (sum * sum).max(1)
}

/// Congestion control of one subflow under `R`.
#[derive(Debug)]
pub struct Coupled<R> {
    window: Window,
    rule: R,
    /// Growth (or shrinking) that does not make a segment yet, in units of 2^-16 byte.
    credit: i64,
    /// Window and rule before the latest congestion event.
    saved: Option<(Window, R)>,
}

impl<R: Rule> Coupled<R> {
    /// A controller in slow start.
    pub fn new(initial: Initial) -> Self {
        Self { window: Window::new(initial), rule: R::default(), credit: 0, saved: None }
    }

    fn reduce(&mut self) {
        self.saved = Some((self.window.clone(), self.rule.clone()));
        self.window.set_ssthresh(self.rule.threshold(self.window.cwnd()));
        self.rule.on_congestion();
        self.credit = 0;
    }

    fn avoid_congestion(&mut self, acked_bytes: u32, share: Share) {
        let mss = self.window.mss();
        // At most 2^30 * 2^16 * 2^58.
        let bytes = i128::from(acked_bytes.min(1 << 30)) * i128::from(mss) * share.clamp(-LARGEST, LARGEST);
        self.credit = self.credit.saturating_add(i64::try_from(bytes >> 40).unwrap_or(i64::MAX));
        let segment = i64::from(mss) << 16;
        let segments = self.credit / segment;
        self.credit %= segment;
        let bytes = u32::try_from(segments.unsigned_abs().saturating_mul(mss.into())).unwrap_or(u32::MAX);
        match segments {
            0.. => self.window.grow(bytes),
            _ => self.window.set_cwnd(self.window.cwnd().saturating_sub(bytes)),
        }
    }
}

const LARGEST: Share = (SHARE_ONE * 4) as Share;

impl<R: Rule> CongestionControl for Coupled<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn cwnd(&self) -> u32 {
        self.window.cwnd()
    }

    fn ssthresh(&self) -> u32 {
        self.window.ssthresh()
    }

    fn on_ack(&mut self, ack: &AckSample<'_>) {
        self.rule.on_delivered(ack.acked_bytes);
        let own = Path::new(self.window.cwnd(), ack.srtt.unwrap_or_default(), self.loss_interval_bytes());
        let share = self.rule.growth(&own, ack.siblings, self.window.mss());
        if !ack.cwnd_limited || ack.ecn_echo {
            return;
        }
        // Slow start is each subflow's own (RFC 6356 §3).
        let left = match self.window.in_slow_start() {
            true => self.window.slow_start(ack.acked_bytes),
            false => ack.acked_bytes,
        };
        self.avoid_congestion(left, share);
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
        if let Some((window, rule)) = self.saved.take() {
            self.window.restore(&window);
            self.rule = rule;
        }
    }

    fn on_idle(&mut self, _now: Instant, idle: Duration, rto: Duration) {
        self.window.restart_after_idle(idle, rto);
    }

    fn set_mss(&mut self, mss: u32) {
        self.window.set_mss(mss);
    }

    fn is_coupled(&self) -> bool {
        true
    }

    fn loss_interval_bytes(&self) -> u64 {
        self.rule.loss_interval_bytes()
    }
}

#[cfg(test)]
mod tests;
