//! What losses tell (§5.5.10), and how they are taken back (§5.5.11).

use super::*;

/// The model of the latest rounds, and the signals that it follows.
#[derive(Debug)]
pub(super) struct ShortTerm {
    /// BBR.bw_shortterm.
    pub(super) bw: u64,
    /// BBR.inflight_shortterm.
    pub(super) inflight: u64,
    bw_latest: u64,
    pub(super) inflight_latest: u64,
    is_loss_in_round: bool,
    loss_round_start: bool,
    loss_round_delivered: u64,
    /// Separate ranges lost in the round, and where the latest one ends.
    lost_ranges: u32,
    lost_end: SeqNum,
}

impl ShortTerm {
    pub(super) fn new() -> Self {
        Self {
            bw: INFINITE,
            inflight: INFINITE,
            bw_latest: 0,
            inflight_latest: 0,
            is_loss_in_round: false,
            loss_round_start: false,
            loss_round_delivered: 0,
            lost_ranges: 0,
            lost_end: SeqNum(0),
        }
    }

    /// ResetShortTermModel.
    pub(super) fn reset(&mut self) {
        self.bw = INFINITE;
        self.inflight = INFINITE;
    }

    /// ResetCongestionSignals.
    pub(super) fn reset_signals(&mut self) {
        self.is_loss_in_round = false;
        self.bw_latest = 0;
        self.inflight_latest = 0;
    }
}

/// What a spurious recovery gives back.
#[derive(Default, Debug)]
pub(super) struct Undo {
    /// The state that losses ended, if they did.
    state: Option<State>,
    bw_shortterm: u64,
    inflight_shortterm: u64,
    inflight_longterm: u64,
}

impl Bbr {
    pub(super) fn update_latest_delivery_signals(&mut self, rs: &RateSample) {
        let rate = self.rate_of_path(rs);
        let short = &mut self.short_term;
        short.bw_latest = short.bw_latest.max(rate);
        short.inflight_latest = short.inflight_latest.max(rs.delivered);
        short.loss_round_start = rs.prior_delivered >= short.loss_round_delivered;
        if short.loss_round_start {
            short.loss_round_delivered = self.delivered;
        }
    }

    pub(super) fn advance_latest_delivery_signals(&mut self, rs: &RateSample) {
        let rate = self.rate_of_path(rs);
        let short = &mut self.short_term;
        if short.loss_round_start {
            short.bw_latest = rate;
            short.inflight_latest = rs.delivered;
            short.lost_ranges = 0;
        }
    }

    /// The rate of a sample, for the short-term bound.
    ///
    /// Deviation: what was sent in Down was sent at 90 % of the estimate, and delivered at that rate at most. The
    /// draft would take any loss in it for a loss of those 10 % as well, and keep the bound until the next probe; by
    /// its own reckoning (§5.3.3.8.3) the bound follows the losses. So the gain is taken out, up to the estimate.
    fn rate_of_path(&self, rs: &RateSample) -> u64 {
        match self.cycle.was_down_at(rs.prior_delivered) {
            true => percent(rs.rate, 10_000 / State::Down.pacing_gain()).min(self.bw).max(rs.rate),
            false => rs.rate,
        }
    }

    /// AdaptLowerBoundsFromCongestion, once a round with losses: slows down towards what was delivered in it.
    pub(super) fn adapt_lower_bounds(&mut self) {
        let short = &mut self.short_term;
        if !short.loss_round_start {
            return;
        }
        if short.is_loss_in_round && !self.state.is_accelerating() {
            let bw = if short.bw == INFINITE { self.max_bw.max() } else { short.bw };
            let inflight = if short.inflight == INFINITE { self.cwnd.into() } else { short.inflight };
            short.bw = short.bw_latest.max(percent(bw, BETA_PERCENT));
            short.inflight = short.inflight_latest.max(percent(inflight, BETA_PERCENT));
        }
        short.is_loss_in_round = false;
    }

    /// Whether more was lost since the sampled segment left than the path may lose.
    pub(super) fn is_inflight_too_high(&self, rs: &RateSample) -> bool {
        let lost = u64::from(rs.lost);
        lost * 100 > u64::from(rs.tx_in_flight) * LOSS_THRESHOLD_PERCENT || (lost > 0 && !self.sack)
    }

    /// CheckStartupHighLoss: a full round of recovery with too many losses in too many places (§5.3.1.3).
    pub(super) fn check_startup_high_loss(&mut self, rs: &RateSample) {
        let short = &self.short_term;
        let enough = short.lost_ranges >= STARTUP_LOSS_RANGES || !self.sack;
        if self.in_recovery && short.loss_round_start && enough && self.is_inflight_too_high(rs) {
            self.undo.state = Some(State::Startup);
            self.full_bw.now = true;
            self.full_bw.reached = true;
            self.cycle.inflight_longterm = self.bdp().max(self.short_term.inflight_latest);
        }
    }

    /// HandleLostPacket.
    pub(super) fn handle_lost_segment(&mut self, lost: &LostSegment) {
        self.delivered = lost.delivered;
        self.note_loss(lost);
        if !self.cycle.is_bw_probe_sample {
            return;
        }
        let rs = RateSample {
            rate: 0,
            delivered: 0,
            prior_delivered: lost.at_send.delivered,
            tx_in_flight: lost.at_send.tx_in_flight(),
            lost: lost.lost,
            app_limited: lost.at_send.is_app_limited(),
        };
        if self.is_inflight_too_high(&rs) {
            let app_limited = rs.app_limited || self.min_rtt.was_probing_at(rs.prior_delivered);
            self.handle_inflight_too_high(lost.now, inflight_at_loss(lost), app_limited);
        }
    }

    fn note_loss(&mut self, lost: &LostSegment) {
        if !self.short_term.is_loss_in_round {
            self.short_term.loss_round_delivered = self.delivered;
            self.save_state_upon_loss();
        }
        let short = &mut self.short_term;
        short.is_loss_in_round = true;
        if short.lost_ranges == 0 || lost.seq != short.lost_end {
            short.lost_ranges += 1;
        }
        short.lost_end = lost.seq + lost.bytes;
    }

    fn handle_inflight_too_high(&mut self, now: Instant, inflight: u64, app_limited: bool) {
        self.cycle.prev_probe_too_high = true;
        self.cycle.is_bw_probe_sample = false;
        if !app_limited {
            let floor = percent(self.target_inflight(), BETA_PERCENT);
            self.cycle.inflight_longterm = inflight.max(floor);
        }
        if self.state == State::Up {
            self.undo.state = Some(State::Up);
            self.start_down(now);
        }
    }

    fn save_state_upon_loss(&mut self) {
        self.save_cwnd();
        self.undo = Undo {
            state: None,
            bw_shortterm: self.short_term.bw,
            inflight_shortterm: self.short_term.inflight,
            inflight_longterm: self.cycle.inflight_longterm,
        };
    }

    /// HandleSpuriousLossDetection (§5.5.11.2).
    pub(super) fn handle_spurious_loss(&mut self) {
        self.restore_cwnd();
        self.short_term.is_loss_in_round = false;
        self.reset_full_bw(0);
        self.short_term.bw = self.short_term.bw.max(self.undo.bw_shortterm);
        self.short_term.inflight = self.short_term.inflight.max(self.undo.inflight_shortterm);
        self.cycle.inflight_longterm = self.cycle.inflight_longterm.max(self.undo.inflight_longterm);
        let probing_rtt = self.state == State::ProbeRtt;
        match self.undo.state.take() {
            Some(State::Startup) if self.state != State::Startup => {
                self.full_bw.reached = false;
                if !probing_rtt {
                    self.state = State::Startup;
                }
            }
            Some(State::Up) if self.state != State::Up && !probing_rtt => self.start_refill(),
            _ => {}
        }
    }
}

/// At which volume in flight the losses passed the threshold, within the lost segment, which may be a burst of many
/// packets: `prev + x` with `(lost_prev + x) / (prev + x)` at the threshold (InflightAtLoss).
fn inflight_at_loss(lost: &LostSegment) -> u64 {
    let size = u64::from(lost.bytes);
    let prev = u64::from(lost.at_send.tx_in_flight()).saturating_sub(size);
    let lost_prev = u64::from(lost.lost).saturating_sub(size);
    let prefix =
        (prev * LOSS_THRESHOLD_PERCENT).saturating_sub(lost_prev * 100) / (100 - LOSS_THRESHOLD_PERCENT);
    prev + prefix
}
