//! BBR version 3: a model of the path instead of a reaction to each loss (draft-ietf-ccwg-bbr, the text of 2026).
//!
//! BBR measures the rate at which the path delivers and its smallest round trip, paces at that rate, and keeps about
//! twice their product in flight at most. It tests the model now and then: sends faster to see whether there is more
//! (`Up`), slower to empty what queue it made (`Down`), and little for 200 ms to see the bare round trip
//! (`ProbeRtt`). Losses bound the model at two time scales: in the short term by what was delivered in the latest
//! round, in the long term by what was in flight when more than 2 % were lost.
//!
//! | file | what |
//! | --- | --- |
//! | this file | the state, the order of steps, Startup and Drain (§5.3.1, §5.3.2) |
//! | `control` | pacing and window (§5.6) |
//! | `cycle` | ProbeBW and the long-term model (§5.3.3, §5.5.10.2) |
//! | `loss` | the short-term model, losses in Startup, spurious recoveries (§5.5.10, §5.5.11) |
//! | `probe_rtt` | the smallest round trip (§5.3.4) |
//! | `filter` | windowed maxima |
//!
//! Names are the draft's. Rates are octets per second, gains percent. Deviations: there is no response to ECN, as in
//! the draft; what the draft marks application-limited in ProbeRTT is remembered here and not in the flow.

use crate::rng::Prng;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant, nanos};

use super::super::rate::RateSample;
use super::window::CWND_MAX;
use super::{AckSample, BbrInfo, CongestionControl, Initial, LostSegment};
use cycle::{AckPhase, Cycle};
use filter::{MaxFilter, Stretch};
use loss::{ShortTerm, Undo};
use probe_rtt::MinRtt;

mod control;
mod cycle;
mod filter;
mod loss;
mod probe_rtt;

/// No bound.
const INFINITE: u64 = u64::MAX;
/// BBR.LossThresh, in percent.
const LOSS_THRESHOLD_PERCENT: u64 = 2;
/// BBR.Beta, in percent.
const BETA_PERCENT: u64 = 70;
/// BBR.Headroom, in percent.
const HEADROOM_PERCENT: u64 = 15;
/// BBR.PacingMarginPercent.
const PACING_MARGIN_PERCENT: u64 = 1;
/// BBR.MinPipeCwnd in segments.
const MIN_PIPE_SEGMENTS: u64 = 4;
/// BBRStartupFullLossCnt: separate losses in a round that end Startup.
const STARTUP_LOSS_RANGES: u32 = 6;
/// Rounds for which the degree of aggregation is remembered (BBR.ExtraAckedFilterLen), in each of two halves.
const EXTRA_ACKED_HALF_ROUNDS: u64 = 5;

/// Where the machine is (§5.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Doubles the rate each round until the pipe is full.
    Startup,
    /// Empties the queue that Startup made.
    Drain,
    /// ProbeBW: slower than the path delivers.
    Down,
    /// ProbeBW: as fast.
    Cruise,
    /// ProbeBW: fills the pipe before probing.
    Refill,
    /// ProbeBW: faster.
    Up,
    /// Little in flight, to see the bare round trip.
    ProbeRtt,
}

impl State {
    /// BBR.pacing_gain (§5.6.1), in percent.
    fn pacing_gain(self) -> u64 {
        match self {
            Self::Startup => 277,
            Self::Drain => 50,
            Self::Down => 90,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 100,
            Self::Up => 125,
        }
    }

    /// BBR.cwnd_gain (§5.6.1), in percent.
    fn cwnd_gain(self) -> u64 {
        match self {
            Self::Startup | Self::Drain | Self::Down | Self::Cruise | Self::Refill => 200,
            Self::Up => 225,
            Self::ProbeRtt => 50,
        }
    }

    fn is_probe_bw(self) -> bool {
        match self {
            Self::Down | Self::Cruise | Self::Refill | Self::Up => true,
            Self::Startup | Self::Drain | Self::ProbeRtt => false,
        }
    }

    /// IsProbingBW: losses are the price of looking for more.
    fn is_accelerating(self) -> bool {
        match self {
            Self::Startup | Self::Refill | Self::Up => true,
            Self::Drain | Self::Down | Self::Cruise | Self::ProbeRtt => false,
        }
    }
}

/// Packet-timed round trips (§5.5.1).
#[derive(Debug)]
struct Rounds {
    count: u64,
    /// The acknowledgement in hand begins one.
    start: bool,
    next_delivered: u64,
    /// Round in which Drain began.
    drain_start: u64,
}

/// Whether the pipe is full, by a plateau of the rate (§5.3.1.2).
#[derive(Debug)]
struct FullBw {
    /// Ever, since the connection began.
    reached: bool,
    /// Since the search began.
    now: bool,
    baseline: u64,
    count: u32,
}

/// How much more is acknowledged at once than the rate explains (§5.5.9).
#[derive(Debug)]
struct ExtraAcked {
    filter: MaxFilter,
    slot_start_round: u64,
    interval_start: Instant,
    delivered: u64,
}

/// BBR for one flow.
#[derive(Debug)]
pub struct Bbr {
    state: State,
    mss: u32,
    initial_cwnd: u32,
    sack: bool,
    chance: Prng,
    cwnd: u32,
    /// The last good window, unmodulated by recovery or ProbeRTT.
    prior_cwnd: u32,
    /// 0 before the first round trip.
    pacing_rate: u64,
    /// Octets delivered on the flow.
    delivered: u64,
    in_recovery: bool,
    idle_restart: bool,
    rounds: Rounds,
    full_bw: FullBw,
    max_bw: MaxFilter,
    /// BBR.bw: what the path carries, by all that is known.
    bw: u64,
    min_rtt: MinRtt,
    extra_acked: ExtraAcked,
    cycle: Cycle,
    short_term: ShortTerm,
    undo: Undo,
}

impl Bbr {
    /// A controller in Startup (§5.2.1).
    pub fn new(initial: Initial) -> Self {
        let Initial { mss, initial_window_segments, now, srtt, sack, seed } = initial;
        let mss = mss.clamp(1, 65_535);
        let initial_cwnd = mss.saturating_mul(initial_window_segments).clamp(mss, CWND_MAX);
        let mut bbr = Self {
            state: State::Startup,
            mss,
            initial_cwnd,
            sack,
            chance: Prng::new(seed),
            cwnd: initial_cwnd,
            prior_cwnd: 0,
            pacing_rate: 0,
            delivered: 0,
            in_recovery: false,
            idle_restart: false,
            rounds: Rounds { count: 0, start: false, next_delivered: 0, drain_start: 0 },
            full_bw: FullBw { reached: false, now: false, baseline: 0, count: 0 },
            max_bw: MaxFilter::default(),
            bw: 0,
            min_rtt: MinRtt::new(now, srtt),
            extra_acked: ExtraAcked {
                filter: MaxFilter::default(),
                slot_start_round: 0,
                interval_start: now,
                delivered: 0,
            },
            cycle: Cycle::new(),
            short_term: ShortTerm::new(),
            undo: Undo::default(),
        };
        bbr.init_pacing_rate(srtt);
        bbr
    }

    fn start_round(&mut self) {
        self.rounds.next_delivered = self.delivered;
    }

    /// UpdateRound and UpdateMaxBw.
    fn update_max_bw(&mut self, rs: &RateSample) {
        self.rounds.start = rs.prior_delivered >= self.rounds.next_delivered;
        if self.rounds.start {
            self.start_round();
            self.rounds.count += 1;
            self.cycle.rounds_since_probe_up += 1;
        }
        if rs.rate > 0 && (rs.rate >= self.max_bw.max() || !rs.app_limited) {
            self.max_bw.update(rs.rate);
        }
    }

    fn update_ack_aggregation(&mut self, now: Instant, acked_bytes: u32) {
        let cwnd = u64::from(self.cwnd);
        let extra = &mut self.extra_acked;
        let mut expected = volume(self.bw, now.since(extra.interval_start));
        if extra.delivered <= expected {
            extra.delivered = 0;
            extra.interval_start = now;
            expected = 0;
        }
        extra.delivered += u64::from(acked_bytes);
        let half = if self.full_bw.reached { EXTRA_ACKED_HALF_ROUNDS } else { 1 };
        if self.rounds.count >= extra.slot_start_round + half {
            extra.filter.advance();
            extra.slot_start_round = self.rounds.count;
        }
        extra.filter.update((extra.delivered - expected).min(cwnd));
    }

    fn reset_full_bw(&mut self, baseline: u64) {
        self.full_bw.baseline = baseline;
        self.full_bw.count = 0;
        self.full_bw.now = false;
    }

    fn check_full_bw_reached(&mut self, rs: &RateSample) {
        if self.full_bw.now || !self.rounds.start || rs.app_limited {
            return;
        }
        if u128::from(rs.rate) * 4 >= u128::from(self.full_bw.baseline) * 5 {
            self.reset_full_bw(rs.rate);
            return;
        }
        self.full_bw.count += 1;
        self.full_bw.now = self.full_bw.count >= 3;
        self.full_bw.reached |= self.full_bw.now;
    }

    fn check_startup_done(&mut self, rs: &RateSample) {
        if self.state != State::Startup {
            return;
        }
        self.check_startup_high_loss(rs);
        if self.full_bw.reached {
            self.state = State::Drain;
            self.rounds.drain_start = self.rounds.count;
        }
    }

    fn check_drain_done(&mut self, now: Instant, in_flight: u64) {
        let late = self.rounds.count > self.rounds.drain_start + 3;
        if self.state == State::Drain && (late || in_flight <= self.inflight(self.bw, 100)) {
            self.start_down(now);
        }
    }

    fn update_model_and_state(&mut self, ack: &AckSample<'_>, rs: &RateSample) {
        let in_flight = u64::from(ack.in_flight_after);
        self.update_latest_delivery_signals(rs);
        self.update_max_bw(rs);
        self.adapt_lower_bounds();
        self.update_ack_aggregation(ack.now, ack.acked_bytes);
        self.check_full_bw_reached(rs);
        self.check_startup_done(rs);
        self.check_drain_done(ack.now, in_flight);
        self.update_cycle(ack, rs);
        self.update_min_rtt(ack.now, ack.rtt);
        self.check_probe_rtt(ack.now, in_flight);
        if rs.delivered > 0 {
            self.idle_restart = false;
        }
        self.advance_latest_delivery_signals(rs);
        self.bw = self.max_bw.max().min(self.short_term.bw);
    }
}

impl CongestionControl for Bbr {
    fn name(&self) -> &'static str {
        "bbr"
    }

    fn cwnd(&self) -> u32 {
        self.cwnd
    }

    /// BBR has none.
    fn ssthresh(&self) -> u32 {
        u32::MAX
    }

    fn in_slow_start(&self) -> bool {
        self.state == State::Startup
    }

    fn on_ack(&mut self, ack: &AckSample<'_>) {
        let Some(mut rs) = ack.rate else { return };
        self.delivered = ack.delivered;
        rs.app_limited |= self.min_rtt.was_probing_at(rs.prior_delivered);
        if self.in_recovery && !ack.in_recovery {
            self.restore_cwnd();
        }
        self.in_recovery = ack.in_recovery;
        if self.pacing_rate == 0 {
            self.init_pacing_rate(ack.srtt);
        }
        self.update_model_and_state(ack, &rs);
        self.set_pacing_rate(self.state.pacing_gain());
        self.adjust_cwnd(ack.acked_bytes);
    }

    fn on_segment_lost(&mut self, lost: &LostSegment) {
        self.handle_lost_segment(lost);
    }

    /// Fast recovery begins; the first of its losses was noted already.
    fn on_loss(&mut self, _now: Instant, _in_flight: u32) {
        self.in_recovery = true;
    }

    fn on_rto(&mut self, _now: Instant, _in_flight: u32, _first: bool) {
        // OnEnterRTO (§5.6.4.4). The losses were noted one by one; nothing is in flight any more.
        self.save_cwnd();
        self.in_recovery = true;
        self.cwnd = self.mss;
    }

    /// Seen from the next acknowledgement.
    fn on_recovery_exit(&mut self, _now: Instant) {}

    /// BBR steers recovery itself.
    fn set_cwnd(&mut self, _cwnd: u32) {}

    fn undo(&mut self, _now: Instant) {
        self.handle_spurious_loss();
    }

    /// HandleRestartFromIdle (§5.4.1).
    fn on_idle(&mut self, now: Instant, idle: Duration, _rto: Duration) {
        if idle.is_zero() {
            return;
        }
        self.idle_restart = true;
        self.extra_acked.interval_start = now;
        if self.state.is_probe_bw() {
            self.set_pacing_rate(100);
        } else if self.state == State::ProbeRtt {
            self.check_probe_rtt_done(now);
        }
    }

    fn set_mss(&mut self, mss: u32) {
        self.mss = mss.clamp(1, 65_535);
        self.cwnd = self.cwnd.max(self.mss);
    }

    fn pacing_rate(&self) -> Option<u64> {
        (self.pacing_rate > 0).then_some(self.pacing_rate)
    }

    fn bbr_info(&self) -> Option<BbrInfo> {
        Some(BbrInfo {
            bw: self.bw,
            min_rtt: self.min_rtt.known(),
            pacing_gain: self.state.pacing_gain() as u32,
            cwnd_gain: self.state.cwnd_gain() as u32,
        })
    }

    fn steers_recovery(&self) -> bool {
        true
    }
}

/// What `rate` carries in `time`, in octets, saturating.
fn volume(rate: u64, time: Duration) -> u64 {
    let octets = u128::from(rate) * u128::from(nanos(time)) / 1_000_000_000;
    u64::try_from(octets).unwrap_or(u64::MAX)
}

fn percent(of: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(of) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
