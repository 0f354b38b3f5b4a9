//! The smallest round trip, and ProbeRTT to see it anew (§5.3.4).

use super::*;

/// BBR.MinRTTFilterLen.
const FILTER_LEN: Duration = Duration::from_secs(10);
/// BBR.ProbeRTTInterval.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// BBR.ProbeRTTDuration.
const PROBE_DURATION: Duration = Duration::from_millis(200);

/// How far ProbeRTT is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Probe {
    /// More is in flight than shall be.
    Draining,
    /// Little is in flight, until `done_at` and for a round.
    Holding { done_at: Instant, round_done: bool },
}

/// The estimate of the bare round trip.
#[derive(Debug)]
pub(super) struct MinRtt {
    /// `Duration::MAX` before the first sample.
    value: Duration,
    stamp: Instant,
    /// The smallest one of the latest 5 s.
    recent: Duration,
    recent_stamp: Instant,
    recent_expired: bool,
    probe: Probe,
    /// The latest ProbeRTT, until what was on the way in it is delivered.
    probed: Stretch,
}

impl MinRtt {
    pub(super) fn new(now: Instant, srtt: Option<Duration>) -> Self {
        let value = srtt.unwrap_or(Duration::MAX);
        Self {
            value,
            stamp: now,
            recent: value,
            recent_stamp: now,
            recent_expired: false,
            probe: Probe::Draining,
            probed: Stretch::NEVER,
        }
    }

    /// `None` before the first sample.
    pub(super) fn known(&self) -> Option<Duration> {
        Some(self.value).filter(|value| *value != Duration::MAX)
    }

    pub(super) fn get(&self) -> Duration {
        self.value
    }

    /// A segment that left when so much was delivered, left in ProbeRTT: it tells nothing of the path's rate.
    pub(super) fn was_probing_at(&self, delivered: u64) -> bool {
        self.probed.contains(delivered)
    }
}

impl Bbr {
    pub(super) fn update_min_rtt(&mut self, now: Instant, rtt: Option<Duration>) {
        let min = &mut self.min_rtt;
        min.recent_expired = now > min.recent_stamp + PROBE_INTERVAL;
        if let Some(rtt) = rtt
            && (rtt < min.recent || min.recent_expired)
        {
            min.recent = rtt;
            min.recent_stamp = now;
        }
        if min.recent < min.value || now > min.stamp + FILTER_LEN {
            min.value = min.recent;
            min.stamp = min.recent_stamp;
        }
    }

    pub(super) fn check_probe_rtt(&mut self, now: Instant, in_flight: u64) {
        if self.state != State::ProbeRtt && self.min_rtt.recent_expired && !self.idle_restart {
            self.save_cwnd();
            self.end_down();
            self.state = State::ProbeRtt;
            self.min_rtt.probe = Probe::Draining;
            self.min_rtt.probed = Stretch::beginning(self.delivered);
            self.cycle.ack_phase = AckPhase::ProbeStopping;
            self.start_round();
        }
        if self.state == State::ProbeRtt {
            self.handle_probe_rtt(now, in_flight);
        }
    }

    fn handle_probe_rtt(&mut self, now: Instant, in_flight: u64) {
        self.min_rtt.probed.extend(self.delivered.saturating_add(in_flight));
        match &mut self.min_rtt.probe {
            Probe::Draining => {
                if in_flight <= self.probe_rtt_cwnd() {
                    self.min_rtt.probe = Probe::Holding { done_at: now + PROBE_DURATION, round_done: false };
                    self.start_round();
                }
            }
            Probe::Holding { round_done, .. } => {
                *round_done |= self.rounds.start;
                if *round_done {
                    self.check_probe_rtt_done(now);
                }
            }
        }
    }

    pub(super) fn check_probe_rtt_done(&mut self, now: Instant) {
        let Probe::Holding { done_at, .. } = self.min_rtt.probe else { return };
        if now <= done_at {
            return;
        }
        self.min_rtt.recent_stamp = now;
        self.restore_cwnd();
        // ExitProbeRTT: little is in flight, so that Down has nothing to do.
        self.short_term.reset();
        if self.full_bw.reached {
            self.start_down(now);
            self.start_cruise();
        } else {
            self.state = State::Startup;
        }
    }

    pub(super) fn probe_rtt_cwnd(&self) -> u64 {
        self.bdp_multiple(self.bw, State::ProbeRtt.cwnd_gain()).max(self.min_pipe_cwnd())
    }
}
