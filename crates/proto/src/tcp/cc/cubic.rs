//! CUBIC: growth by a cubic function of time since the last congestion (RFC 9438).
//!
//! All arithmetic is on integers, so that every platform computes the same window: time in units of 2^-20 s,
//! windows in bytes. Growth follows W_cubic(t) = C (t - K)^3 + W_max (§4.2) or, where that is slower, what Reno
//! would have reached (§4.3). The time t runs only while the window is what holds the sender back (§4.2, §5.8).
//! The initial slow start ends by HyStart++ (§4.10).

use alloc::boxed::Box;

use crate::time::{Duration, Instant, nanos};

use super::hystart::{Growth, HyStart};
use super::window::Window;
use super::{AckSample, CongestionControl, Initial};

/// The CUBIC algorithm, counting bytes.
#[derive(Debug)]
pub struct Cubic {
    window: Window,
    curve: Curve,
    hystart: HyStart,
    last_ack: Instant,
    /// Window and curve before the latest congestion event (§4.9).
    saved: Option<Box<(Window, Curve)>>,
}

/// What CUBIC remembers besides the window.
#[derive(Clone, Debug)]
struct Curve {
    /// Window before the latest reduction, lowered by fast convergence; 0 when there is none.
    w_max: u32,
    /// Window before the latest reduction (`cwnd_prior`, §4.1.2).
    cwnd_prior: u32,
    /// `None` until congestion avoidance begins again.
    epoch: Option<Epoch>,
}

/// One stage of congestion avoidance.
#[derive(Clone, Debug)]
struct Epoch {
    /// Time since its start, as far as the window was in use.
    elapsed: Duration,
    /// When the curve reaches `origin`, in units of 2^-20 s after the start.
    k: u64,
    /// The window at the plateau, in bytes.
    origin: u32,
    /// What Reno would have reached (W_est), in bytes.
    w_est: u32,
    /// Acknowledged bytes that have not yet enlarged `w_est`, times 17.
    w_est_credit: u64,
    /// Growth of the window below one byte, in units of 1/cwnd.
    growth_credit: u64,
}

impl Cubic {
    /// A controller in slow start.
    pub fn new(initial: Initial) -> Self {
        Self {
            window: Window::new(initial),
            curve: Curve { w_max: 0, cwnd_prior: 0, epoch: None },
            hystart: HyStart::new(),
            last_ack: Instant::ZERO,
            saved: None,
        }
    }

    /// Remembers everything and lowers the threshold (§4.6), with fast convergence (§4.7).
    ///
    /// As §4.6 permits, the reduction starts from the window and not from what is in flight; the window only grows
    /// while it is in use.
    fn reduce(&mut self) {
        self.saved = Some(Box::new((self.window.clone(), self.curve.clone())));
        let cwnd = self.window.cwnd();
        let w_max = match cwnd < self.curve.w_max {
            true => scale(cwnd, 17, 20), // (1 + beta) / 2
            false => cwnd,
        };
        self.curve = Curve { w_max, cwnd_prior: cwnd, epoch: None };
        self.window.set_ssthresh(scale(cwnd, BETA_TENTHS, 10));
    }

    fn avoid_congestion(&mut self, acked_bytes: u32, srtt: Duration, passed: Duration) {
        let (cwnd, mss) = (self.window.cwnd(), self.window.mss());
        let epoch = match &mut self.curve.epoch {
            Some(epoch) => {
                epoch.elapsed = epoch.elapsed.saturating_add(passed);
                epoch
            }
            none => none.insert(Epoch::new(cwnd, self.curve.w_max, mss)),
        };
        epoch.grow_estimate(acked_bytes, cwnd, mss, self.curve.cwnd_prior);
        if epoch.w_cubic(epoch.elapsed, mss) < epoch.w_est {
            self.window.set_cwnd(cwnd.max(epoch.w_est));
            return;
        }
        let target = epoch.w_cubic(epoch.elapsed.saturating_add(srtt), mss).clamp(cwnd, cwnd + cwnd / 2);
        // At most 2^29 * 2^32: no overflow.
        epoch.growth_credit += u64::from(target - cwnd) * u64::from(acked_bytes);
        let bytes = epoch.growth_credit / u64::from(cwnd);
        epoch.growth_credit %= u64::from(cwnd);
        // One acknowledgement of several windows shall not overshoot the target.
        self.window.grow(bytes.min(u64::from(target - cwnd)) as u32);
    }
}

impl Epoch {
    /// A stage that begins with a window of `cwnd` bytes, after one of `w_max` bytes was too much.
    ///
    /// With no such `w_max`, or above it, the curve is convex from the start: K is 0 (§4.8, §4.10).
    fn new(cwnd: u32, w_max: u32, mss: u32) -> Self {
        let below = u128::from(w_max.saturating_sub(cwnd));
        Self {
            elapsed: Duration::ZERO,
            // Cube root of segments / C, with C = 2/5 (§5): 5/2 of the distance, in 2^-60 s^3.
            k: cube_root(((below * 5) << 59) / u128::from(mss)),
            origin: w_max.max(cwnd),
            w_est: cwnd,
            w_est_credit: 0,
            growth_credit: 0,
        }
    }

    /// W_cubic(`time`) in bytes (§4.2, figure 1).
    fn w_cubic(&self, time: Duration, mss: u32) -> u32 {
        let t = units(time);
        let distance = cubed(t.abs_diff(self.k), mss);
        match t < self.k {
            true => self.origin.saturating_sub(distance),
            false => self.origin.saturating_add(distance),
        }
    }

    /// W_est: Reno's growth with an increase of alpha segments per window, where alpha = 3 (1 - beta) / (1 + beta)
    /// = 9/17 makes up for the smaller decrease, and 1 from `cwnd_prior` on (§4.3).
    fn grow_estimate(&mut self, acked_bytes: u32, cwnd: u32, mss: u32, cwnd_prior: u32) {
        let alpha = if self.w_est < cwnd_prior { 9 } else { 17 };
        self.w_est_credit += u64::from(acked_bytes) * alpha;
        let per_segment = u64::from(cwnd) * 17;
        let segments = self.w_est_credit / per_segment;
        self.w_est_credit %= per_segment;
        let bytes = u32::try_from(segments.saturating_mul(u64::from(mss))).unwrap_or(u32::MAX);
        self.w_est = self.w_est.saturating_add(bytes);
    }
}

impl CongestionControl for Cubic {
    fn name(&self) -> &'static str {
        "cubic"
    }

    fn cwnd(&self) -> u32 {
        self.window.cwnd()
    }

    fn ssthresh(&self) -> u32 {
        self.window.ssthresh()
    }

    fn on_ack(&mut self, ack: &AckSample<'_>) {
        let passed = ack.now.since(self.last_ack);
        self.last_ack = ack.now;
        let growth = match self.window.ssthresh() {
            u32::MAX => self.hystart.on_ack(ack),
            _ => Growth::Full,
        };
        if growth == Growth::Done {
            self.window.set_ssthresh(self.window.cwnd());
        }
        if !ack.cwnd_limited || ack.ecn_echo {
            return;
        }
        let left = match growth {
            _ if !self.window.in_slow_start() => ack.acked_bytes,
            Growth::Conservative(bytes) => self.window.slow_start(bytes),
            Growth::Full | Growth::Done => self.window.slow_start(ack.acked_bytes),
        };
        if left > 0 {
            self.avoid_congestion(left, ack.srtt.unwrap_or_default(), passed);
        }
    }

    fn on_loss(&mut self, _now: Instant, _in_flight: u32) {
        self.reduce();
    }

    fn on_rto(&mut self, _now: Instant, _in_flight: u32, first: bool) {
        if first {
            self.reduce();
        }
        // §4.8: the stage after a timeout starts with K = 0 from whatever slow start reaches.
        self.curve.w_max = 0;
        self.curve.epoch = None;
        self.window.collapse();
    }

    fn on_recovery_exit(&mut self, _now: Instant) {
        self.window.set_cwnd(self.window.ssthresh());
        self.curve.epoch = None;
    }

    fn set_cwnd(&mut self, cwnd: u32) {
        self.window.set_cwnd(cwnd);
    }

    fn set_ssthresh(&mut self, ssthresh: u32) {
        self.window.set_ssthresh(ssthresh);
    }

    fn undo(&mut self, _now: Instant) {
        if let Some(saved) = self.saved.take() {
            let (window, curve) = *saved;
            self.window.restore(&window);
            self.curve = curve;
        }
    }

    fn on_idle(&mut self, now: Instant, idle: Duration, rto: Duration) {
        self.window.restart_after_idle(idle, rto);
        self.last_ack = self.last_ack.max(now);
    }

    fn set_mss(&mut self, mss: u32) {
        self.window.set_mss(mss);
        // The curve is drawn in segments; a new stage draws it anew, towards the same plateau.
        self.curve.epoch = None;
    }
}

/// Multiplicative decrease, in tenths (§4.6).
const BETA_TENTHS: u32 = 7;
/// C = 0.4 (§5) in units of 2^-16.
const C_SCALED: u128 = 26_214;

fn scale(bytes: u32, numerator: u32, denominator: u32) -> u32 {
    (u64::from(bytes) * u64::from(numerator) / u64::from(denominator)) as u32
}

/// `time` in units of 2^-20 s, about a microsecond.
fn units(time: Duration) -> u64 {
    // 2^60 / 10^9, rounded; a multiplication and a shift instead of a division by 10^9.
    ((u128::from(nanos(time)) * 1_152_921_505) >> 40) as u64
}

/// C * `distance`^3 in bytes, where `distance` is in units of 2^-20 s.
fn cubed(distance: u64, mss: u32) -> u32 {
    // 2^31 units are 2,048 s, when even segments of one byte make more than the largest window:
    // 93 + 16 + 15 bits fit.
    let distance = u128::from(distance.min(1 << 31));
    let bytes = (distance * distance * distance * u128::from(mss) * C_SCALED) >> 76;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The integer part of the cube root, for `n` below 2^126. Once per loss, so the plain method will do.
fn cube_root(n: u128) -> u64 {
    let mut root: u128 = 0;
    for bit in (0..42).rev() {
        let candidate = root | (1 << bit);
        if candidate * candidate * candidate <= n {
            root = candidate;
        }
    }
    root as u64
}

#[cfg(test)]
mod tests;
