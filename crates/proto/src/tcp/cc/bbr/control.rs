//! What follows from the model: pacing rate and window (§5.6).

use super::*;

impl Bbr {
    pub(super) fn init_pacing_rate(&mut self, srtt: Option<Duration>) {
        if let Some(srtt) = srtt {
            let rate = u128::from(self.initial_cwnd) * u128::from(State::Startup.pacing_gain()) * 10_000_000
                / u128::from(nanos(srtt).max(1));
            self.pacing_rate = u64::try_from(rate).unwrap_or(u64::MAX);
        }
    }

    /// `gain` percent of what `bw` carries in the smallest round trip (BDPMultiple).
    pub(super) fn bdp_multiple(&self, bw: u64, gain: u64) -> u64 {
        match self.min_rtt.get() {
            Duration::MAX => u64::from(self.initial_cwnd),
            min_rtt => percent(volume(bw, min_rtt), gain),
        }
    }

    /// BBR.bdp.
    pub(super) fn bdp(&self) -> u64 {
        self.bdp_multiple(self.bw, 100)
    }

    /// The same with room for offloads and pipelining (Inflight).
    pub(super) fn inflight(&self, bw: u64, gain: u64) -> u64 {
        self.quantization_budget(self.bdp_multiple(bw, gain))
    }

    pub(super) fn quantization_budget(&self, inflight_cap: u64) -> u64 {
        let mss = u64::from(self.mss);
        // As the flow makes its segments: a millisecond of pacing (§5.6.3).
        let send_quantum = (self.pacing_rate / 1000).min(64 << 10).max(2 * mss);
        let cap = inflight_cap.max(3 * send_quantum).max(self.min_pipe_cwnd());
        if self.state == State::Up { cap.saturating_add(2 * mss) } else { cap }
    }

    pub(super) fn min_pipe_cwnd(&self) -> u64 {
        MIN_PIPE_SEGMENTS * u64::from(self.mss)
    }

    pub(super) fn set_pacing_rate(&mut self, gain: u64) {
        // Deviation: the draft takes its margin off the short-term bound as well. That bound is what was delivered of
        // a round that had the margin off already, so that each round would cost 1 % more than its losses; by the
        // draft's own reckoning (§5.3.3.8.3) a round with X % of loss slows the flow by X %.
        let margin = if self.short_term.bw < self.max_bw.max() { 0 } else { PACING_MARGIN_PERCENT };
        let rate = percent(percent(self.bw, gain), 100 - margin);
        if self.full_bw.reached || rate > self.pacing_rate {
            self.pacing_rate = rate;
        }
    }

    pub(super) fn set_window(&mut self, cwnd: u64) {
        self.cwnd = u32::try_from(cwnd).unwrap_or(u32::MAX).clamp(self.mss, CWND_MAX);
    }

    /// SetCwnd (§5.6.4.6).
    pub(super) fn adjust_cwnd(&mut self, acked_bytes: u32) {
        let target = self.bdp_multiple(self.bw, self.state.cwnd_gain());
        let max_inflight = self.quantization_budget(target.saturating_add(self.extra_acked.filter.max()));
        let mut cwnd = u64::from(self.cwnd);
        let grown = cwnd + u64::from(acked_bytes);
        if self.full_bw.reached {
            cwnd = grown.min(max_inflight);
        } else if cwnd < max_inflight || self.delivered < u64::from(self.initial_cwnd) {
            cwnd = grown;
        }
        cwnd = cwnd.max(self.min_pipe_cwnd());
        if self.state == State::ProbeRtt {
            cwnd = cwnd.min(self.probe_rtt_cwnd());
        }
        self.set_window(cwnd.min(self.model_cap()));
    }

    /// The bound of the model in this state (BoundCwndForModel, §5.6.4.7).
    pub(super) fn model_cap(&self) -> u64 {
        let long_term = match self.state {
            State::Down | State::Refill | State::Up => self.cycle.inflight_longterm,
            State::Cruise | State::ProbeRtt => self.inflight_with_headroom(),
            State::Startup | State::Drain => INFINITE,
        };
        long_term.min(self.short_term.inflight).max(self.min_pipe_cwnd())
    }

    pub(super) fn save_cwnd(&mut self) {
        let modulated = self.in_recovery || self.state == State::ProbeRtt;
        self.prior_cwnd = if modulated { self.prior_cwnd.max(self.cwnd) } else { self.cwnd };
    }

    pub(super) fn restore_cwnd(&mut self) {
        self.cwnd = self.cwnd.max(self.prior_cwnd);
    }
}
