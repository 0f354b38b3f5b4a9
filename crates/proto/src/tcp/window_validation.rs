//! A congestion window that the application does not use, kept for a while (RFC 7661).
//!
//! Where `tcp_slow_start_after_idle` is off, an idle flow keeps its window, as Linux does. Whether the network still
//! carries so much is not known then: of such a window only what was lately acknowledged is *validated*. A loss goes by
//! that instead of by the window, and every five minutes without use halve it.

use alloc::boxed::Box;

use super::flow::{Env, Flow};
use super::recovery::Episode;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// How long an unused window is kept: the non-validated period (§4.4, at most five minutes).
const KEPT: Duration = Duration::from_secs(300);
/// The largest sample of so much time counts, or of three round trips if these are longer (§4.2).
const SAMPLED: Duration = Duration::from_secs(1);

/// The use that a flow makes of its window.
#[derive(Debug)]
pub(super) struct Validation {
    /// The round trip that is being measured ends when this is acknowledged.
    round_end: SeqNum,
    /// Octets delivered when it began.
    delivered: u64,
    /// Data was on the way when it began. Else it measures only what was delivered as a whole (§4.2).
    began_in_use: bool,
    /// The largest sample of this half of the sampling period and of the half before: together `pipeACK`. `None` where
    /// there was none since the start or since the latest recovery: the window counts as validated then.
    samples: Option<[u32; 2]>,
    half_began: Instant,
    /// When the window was last known to be in use.
    validated_at: Instant,
    reduction: Option<Reduction>,
}

/// A loss under a window that was not validated.
#[derive(Clone, Copy, Debug)]
struct Reduction {
    /// What counts instead of the window: the larger of `pipeACK` and what was outstanding.
    used: u32,
    /// Octets lost since the flow began, before this loss.
    lost: u64,
}

impl Validation {
    pub(super) fn new(now: Instant, snd_una: SeqNum) -> Self {
        Self {
            round_end: snd_una,
            delivered: 0,
            began_in_use: false,
            samples: None,
            half_began: now,
            validated_at: now,
            reduction: None,
        }
    }

    fn sampled_for(srtt: Option<Duration>) -> Duration {
        SAMPLED.max(srtt.unwrap_or_default() * 3)
    }

    /// An acknowledgement outside recovery.
    fn on_ack(&mut self, now: Instant, ends: [SeqNum; 2], delivered: u64, srtt: Option<Duration>) {
        let [snd_una, snd_nxt] = ends;
        if snd_una.before(self.round_end) {
            return;
        }
        let sample = u32::try_from(delivered - self.delivered).unwrap_or(u32::MAX);
        let all_acked = snd_una == snd_nxt;
        let measured = core::mem::replace(&mut self.began_in_use, !all_acked) || (all_acked && sample > 0);
        (self.round_end, self.delivered) = (snd_nxt, delivered);
        self.age(now, srtt);
        if !measured {
            return;
        }
        let [newest, _] = self.samples.get_or_insert_default();
        *newest = sample.max(*newest);
    }

    /// Forgets what is older than the sampling period.
    fn age(&mut self, now: Instant, srtt: Option<Duration>) {
        let Some([newest, older]) = &mut self.samples else { return };
        let (half, passed) = (Self::sampled_for(srtt) / 2, now.since(self.half_began));
        if passed >= half {
            *older = if passed < half * 2 { *newest } else { 0 };
            *newest = 0;
            self.half_began = now;
        }
    }

    /// `pipeACK`, where it is below half of the window: the window is not validated.
    fn unvalidated(&mut self, now: Instant, cwnd: u32, srtt: Option<Duration>) -> Option<u32> {
        self.age(now, srtt);
        let pipe_ack = self.samples.map(|[newest, older]| newest.max(older));
        let unvalidated = pipe_ack.filter(|pipe_ack| *pipe_ack < cwnd / 2);
        if unvalidated.is_none() {
            self.validated_at = now;
        }
        unvalidated
    }

    /// How long the window has not been validated, when that is longer than it is kept; begins anew then.
    fn outlived(&mut self, now: Instant, cwnd: u32, srtt: Option<Duration>) -> Option<Duration> {
        self.unvalidated(now, cwnd, srtt)?;
        let unused = now.since(self.validated_at);
        (unused >= KEPT).then(|| {
            self.validated_at = now;
            unused
        })
    }

    /// After a loss: there is no sample yet.
    fn forget(&mut self, now: Instant, snd_nxt: SeqNum, delivered: u64) {
        *self = Self { delivered, began_in_use: true, ..Self::new(now, snd_nxt) };
    }
}

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// Takes note of an acknowledgement.
    pub(super) fn note_validation(&mut self, env: &Env<'_>) {
        // An algorithm with a model of the path knows what it carries.
        if env.config.slow_start_after_idle || self.cc.steers_recovery() || !self.recovery.in_open() {
            return;
        }
        let now = env.now;
        let (srtt, cwnd, delivered) = (self.rtt.srtt(), self.cc.cwnd(), self.snd.rate.delivered());
        let ends = [self.snd.board.snd_una(), self.snd.board.snd_nxt()];
        let begin = || Box::new(Validation::new(now, ends[0]));
        let validation = self.snd.validation.get_or_insert_with(begin);
        validation.on_ack(now, ends, delivered, srtt);
        validation.unvalidated(now, cwnd, srtt);
    }

    /// Before new data leaves: a window that was not used for long is halved (§4.4.3).
    pub(super) fn expire_window(&mut self, now: Instant) {
        let (srtt, cwnd) = (self.rtt.srtt(), self.cc.cwnd());
        let validation = self.snd.validation.as_mut();
        if let Some(unused) = validation.and_then(|validation| validation.outlived(now, cwnd, srtt)) {
            self.cc.on_idle(now, unused, KEPT);
        }
    }

    /// Reduces the window for a congestion that was met with `in_flight` octets on the way. Of a window that is not
    /// validated counts what was used (§4.4.1).
    pub(super) fn reduce(&mut self, env: &Env<'_>, in_flight: u32) {
        let used = self.fall_to_used(env.now);
        self.cc.on_loss(env.now, in_flight);
        if let Some(used) = used {
            self.cc.set_ssthresh(used / 2);
        }
    }

    fn fall_to_used(&mut self, now: Instant) -> Option<u32> {
        let (srtt, cwnd) = (self.rtt.srtt(), self.cc.cwnd());
        let board = &self.snd.board;
        let outstanding = board.snd_nxt().since(board.snd_una()).unwrap_or(0);
        let lost = self.snd.rate.lost().saturating_sub(u64::from(board.waiting_bytes()));
        let validation = self.snd.validation.as_mut()?;
        let used = validation.unvalidated(now, cwnd, srtt)?.max(outstanding).min(cwnd);
        validation.reduction = Some(Reduction { used, lost });
        self.cc.set_cwnd(used);
        Some(used)
    }

    /// Fast recovery or a loss ended: begins anew, with half of what was used and not lost (§4.4.1).
    pub(super) fn restart_validation(&mut self, now: Instant) {
        let (lost, delivered) = (self.snd.rate.lost(), self.snd.rate.delivered());
        let snd_nxt = self.snd.board.snd_nxt();
        let Some(validation) = &mut self.snd.validation else { return };
        let reduction = validation.reduction.take();
        validation.forget(now, snd_nxt, delivered);
        if let (Some(reduction), Episode::Fast { .. }) = (reduction, &self.recovery.episode) {
            let lost = u32::try_from(lost - reduction.lost).unwrap_or(u32::MAX);
            let cwnd = reduction.used.saturating_sub(lost) / 2;
            self.cc.set_ssthresh(cwnd);
            self.cc.set_cwnd(cwnd);
        }
    }
}
