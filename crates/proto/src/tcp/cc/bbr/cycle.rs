//! ProbeBW, and the bound that excess loss sets in the long term (§5.3.3, §5.5.10.2).

use super::*;

/// What the acknowledgements that come in tell of bandwidth probing (BBR.ack_phase).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AckPhase {
    /// Nothing.
    Init,
    /// The pipe is being refilled.
    Refilling,
    /// Probing has begun, and nothing sent since is acknowledged.
    ProbeStarting,
    /// They answer to probing.
    ProbeFeedback,
    /// Probing is over, and they may still answer to it.
    ProbeStopping,
}

/// The state of the cycle.
#[derive(Debug)]
pub(super) struct Cycle {
    pub(super) ack_phase: AckPhase,
    pub(super) inflight_longterm: u64,
    pub(super) is_bw_probe_sample: bool,
    pub(super) prev_probe_too_high: bool,
    prev_probe_precautionary: bool,
    pub(super) rounds_since_probe_up: u64,
    probe_up_acked_per_inc: u64,
    probe_up_acked: u64,
    probe_up_rounds: u32,
    stamp: Instant,
    probe_wait: Duration,
    /// The latest Down.
    down: Stretch,
}

impl Cycle {
    pub(super) fn new() -> Self {
        Self {
            ack_phase: AckPhase::Init,
            inflight_longterm: INFINITE,
            is_bw_probe_sample: false,
            prev_probe_too_high: false,
            prev_probe_precautionary: false,
            rounds_since_probe_up: 0,
            probe_up_acked_per_inc: INFINITE,
            probe_up_acked: 0,
            probe_up_rounds: 0,
            stamp: Instant::ZERO,
            probe_wait: Duration::ZERO,
            down: Stretch::NEVER,
        }
    }

    /// A segment that left when so much was delivered, left in Down.
    pub(super) fn was_down_at(&self, delivered: u64) -> bool {
        self.down.contains(delivered)
    }
}

impl Bbr {
    pub(super) fn start_down(&mut self, now: Instant) {
        self.short_term.reset_signals();
        self.cycle.probe_up_acked_per_inc = INFINITE;
        // PickProbeWait: chance keeps flows from probing in step.
        self.cycle.rounds_since_probe_up = self.chance.below(2);
        self.cycle.probe_wait = Duration::from_nanos(2_000_000_000 + self.chance.below(1_000_000_000));
        self.cycle.stamp = now;
        self.cycle.ack_phase = AckPhase::ProbeStopping;
        self.start_round();
        self.state = State::Down;
        self.cycle.down = Stretch::beginning(self.delivered);
    }

    /// Down is over, whatever follows.
    pub(super) fn end_down(&mut self) {
        self.cycle.down.end(self.delivered);
    }

    pub(super) fn start_cruise(&mut self) {
        self.end_down();
        self.state = State::Cruise;
    }

    pub(super) fn start_refill(&mut self) {
        self.end_down();
        self.short_term.reset();
        self.cycle.probe_up_rounds = 0;
        self.cycle.probe_up_acked = 0;
        self.cycle.prev_probe_precautionary = false;
        self.cycle.ack_phase = AckPhase::Refilling;
        self.start_round();
        self.state = State::Refill;
    }

    fn start_up(&mut self, rs: &RateSample) {
        self.cycle.ack_phase = AckPhase::ProbeStarting;
        self.start_round();
        self.reset_full_bw(rs.rate);
        self.state = State::Up;
        self.raise_inflight_longterm_slope();
    }

    /// UpdateProbeBWCyclePhase.
    pub(super) fn update_cycle(&mut self, ack: &AckSample<'_>, rs: &RateSample) {
        if !self.full_bw.reached || self.adapt_long_term_model(ack, rs) {
            return;
        }
        let in_flight = u64::from(ack.in_flight_after);
        match self.state {
            State::Down => {
                if self.is_time_to_probe_bw(ack.now) {
                    self.start_refill();
                } else if self.is_time_to_cruise(in_flight) {
                    self.start_cruise();
                }
            }
            State::Cruise => {
                if self.is_time_to_probe_bw(ack.now) {
                    self.start_refill();
                }
            }
            State::Refill => {
                if self.rounds.start {
                    self.cycle.is_bw_probe_sample = true;
                    self.start_up(rs);
                }
            }
            State::Up => {
                if self.is_time_to_go_down(ack, rs) {
                    self.cycle.prev_probe_too_high = false;
                    self.start_down(ack.now);
                }
            }
            State::Startup | State::Drain | State::ProbeRtt => {}
        }
    }

    fn is_time_to_cruise(&self, in_flight: u64) -> bool {
        in_flight <= self.inflight_with_headroom() && in_flight <= self.inflight(self.max_bw.max(), 100)
    }

    fn is_time_to_go_down(&mut self, ack: &AckSample<'_>, rs: &RateSample) -> bool {
        let bound = self.cycle.inflight_longterm;
        if self.cycle.prev_probe_too_high && u64::from(ack.in_flight_after) >= bound {
            // Precautionary probing: the bound was too much the last time, so it is only touched.
            self.cycle.prev_probe_precautionary = true;
            return true;
        }
        if ack.cwnd_limited && u64::from(self.cwnd) >= bound {
            // The bound and not the path holds the rate down.
            self.reset_full_bw(rs.rate);
            return false;
        }
        self.full_bw.now
    }

    /// IsTimeToProbeBW: after two to three seconds, or as often as Reno would probe.
    pub(super) fn is_time_to_probe_bw(&self, now: Instant) -> bool {
        let target = self.target_inflight() / u64::from(self.mss);
        now > self.cycle.stamp + self.cycle.probe_wait || self.cycle.rounds_since_probe_up >= target.min(63)
    }

    /// TargetInflight: the path's volume, unless congestion cut the window.
    pub(super) fn target_inflight(&self) -> u64 {
        self.bdp().min(self.cwnd.into())
    }

    /// What leaves room in the queue for others (InflightWithHeadroom).
    pub(super) fn inflight_with_headroom(&self) -> u64 {
        match self.cycle.inflight_longterm {
            INFINITE => INFINITE,
            bound => {
                let headroom = percent(bound, HEADROOM_PERCENT).max(self.mss.into());
                bound.saturating_sub(headroom).max(self.min_pipe_cwnd())
            }
        }
    }

    fn raise_inflight_longterm_slope(&mut self) {
        let growth = u64::from(self.cwnd) >> self.cycle.probe_up_rounds;
        self.cycle.probe_up_rounds = (self.cycle.probe_up_rounds + 1).min(30);
        self.cycle.probe_up_acked_per_inc = growth.max(self.mss.into());
    }

    fn probe_inflight_longterm_upward(&mut self, ack: &AckSample<'_>) {
        if !ack.cwnd_limited || u64::from(self.cwnd) < self.cycle.inflight_longterm {
            return;
        }
        let cycle = &mut self.cycle;
        cycle.probe_up_acked += u64::from(ack.acked_bytes);
        let steps = cycle.probe_up_acked / cycle.probe_up_acked_per_inc;
        cycle.probe_up_acked %= cycle.probe_up_acked_per_inc;
        cycle.inflight_longterm = cycle.inflight_longterm.saturating_add(steps * u64::from(self.mss));
        if self.rounds.start {
            self.raise_inflight_longterm_slope();
        }
    }

    /// AdaptLongTermModel: true when it decided on a transition.
    fn adapt_long_term_model(&mut self, ack: &AckSample<'_>, rs: &RateSample) -> bool {
        if self.cycle.ack_phase == AckPhase::ProbeStarting && self.rounds.start {
            self.cycle.ack_phase = AckPhase::ProbeFeedback;
        }
        if self.cycle.ack_phase == AckPhase::ProbeStopping && self.rounds.start {
            self.cycle.is_bw_probe_sample = false;
            self.cycle.ack_phase = AckPhase::Init;
            if self.state.is_probe_bw() && !rs.app_limited {
                self.max_bw.advance();
            }
            let careful = self.cycle.prev_probe_precautionary && !self.cycle.prev_probe_too_high;
            if self.state.is_probe_bw() && careful {
                self.start_refill();
                return true;
            }
        }
        let bound = self.cycle.inflight_longterm;
        if bound != INFINITE && !self.is_inflight_too_high(rs) {
            self.cycle.inflight_longterm = bound.max(rs.tx_in_flight.into());
            if self.state == State::Up {
                self.probe_inflight_longterm_upward(ack);
            }
        }
        false
    }
}
