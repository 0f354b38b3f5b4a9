//! A flow's timers: retransmission timeout, tail loss probe, reordering, persist, keepalive.

use super::flow::{End, Env, Flow};
use super::recovery::{DueProbe, Episode, Frto, TimerKind};
use super::rtt::RTO_MIN;
use crate::config::Keepalive;
use crate::time::{Duration, Instant};

/// What a peer's delayed acknowledgement may add to a lone segment's round trip before it is probed: RFC 8985 §7.2 leaves
/// TLP.max_ack_delay to the implementation, and this is Linux's, the shortest retransmission timeout.
const MAX_ACK_DELAY: Duration = RTO_MIN;
/// RFC 9293 §3.8.6.1 names no ceiling for the space between window probes; Linux's TCP_RTO_MAX.
const PROBE_INTERVAL_MAX: Duration = Duration::from_secs(120);

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_transmit`](Self::poll_transmit) has to be
    /// called next.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let timer = self.recovery.timer.map(|(at, _)| at);
        let ack = self.acks.deadline();
        let keepalive =
            self.keepalive.as_deref().filter(|_| self.may_keep_alive()).map(|when| self.keepalive_at(when));
        let pace = self.paced_until(now);
        let new_data = self.new_data_deadline(now);
        [timer, ack, keepalive, pace, new_data].into_iter().flatten().min()
    }

    /// Sets the timer for what is on the way; called whenever that changes.
    pub(super) fn arm_timer(&mut self, now: Instant) {
        if matches!(self.recovery.timer, Some((_, TimerKind::Reorder))) {
            return;
        }
        if self.snd.board.is_empty() {
            let front = self.snd.queue.front().map(|(bytes, _)| bytes.len() as u32);
            let stuck = front.is_some_and(|len| self.is_window_blocked(len, u32::from(self.snd.mss)));
            self.recovery.timer = match self.recovery.timer {
                Some((at, TimerKind::Persist)) if stuck => Some((at, TimerKind::Persist)),
                _ if stuck => Some((now + self.rtt.rto(), TimerKind::Persist)),
                _ => None,
            };
            return;
        }
        if matches!(self.recovery.timer, Some((_, TimerKind::Rto | TimerKind::Probe))) {
            return;
        }
        let rto_at = self.timeout_at(now);
        self.recovery.timer = match self.probe_timeout() {
            // RFC 8985 §7.2: a probe that would come after the timeout comes in its place.
            Some(pto) => Some((rto_at.min(now + pto), TimerKind::Probe)),
            None => Some((rto_at, TimerKind::Rto)),
        };
    }

    /// RFC 8985 §7.2; `None` when no tail loss probe is due (§7.1).
    fn probe_timeout(&self) -> Option<Duration> {
        let eligible = self.sack
            && self.recovery.in_open()
            && self.recovery.tail_probe.is_none()
            // §7.3: one probe for each measurement, so that a path without any is left to the RTO. Linux asks for none.
            && self.recovery.rtt_since_probe
            && self.rtt.backoff() == 0
            && self.snd.board.sacked_bytes() == 0;
        let srtt = self.rtt.srtt().filter(|_| eligible)?;
        let lone = self.snd.board.in_flight() <= u32::from(self.snd.mss);
        let slack = if lone { MAX_ACK_DELAY } else { Duration::from_millis(2) };
        Some(srtt * 2 + slack)
    }

    /// The last transmission restarts the timer: an RTO or probe counts from the latest segment.
    pub(super) fn rearm_after_send(&mut self, now: Instant) {
        if !matches!(self.recovery.timer, Some((_, TimerKind::Reorder | TimerKind::Rto))) {
            self.recovery.timer = None;
        }
        self.arm_timer(now);
    }

    /// Does what became due at `env.now`.
    pub fn handle_timeout(&mut self, env: &mut Env<'_>) -> Option<End> {
        self.give_up_new_data();
        if let Some((at, kind)) = self.recovery.timer
            && at <= env.now
        {
            self.recovery.timer = None;
            match kind {
                TimerKind::Rto => {
                    if let Some(end) = self.on_rto(env) {
                        return Some(end);
                    }
                }
                TimerKind::Probe => self.on_probe_timeout(env),
                TimerKind::Reorder => {
                    let in_flight = self.snd.board.in_flight();
                    self.detect_losses(env);
                    let is_of_probe = self.judge_mtu_probe(env);
                    if self.recovery.in_open() && self.snd.board.waiting_bytes() > 0 && !is_of_probe {
                        self.enter_fast_recovery(env, in_flight);
                        // The first retransmission leaves at once (RFC 6937 §3.1).
                        let cwnd = self.snd.board.in_flight() + u32::from(self.snd.mss);
                        self.cc.set_cwnd(cwnd);
                    }
                }
                TimerKind::Persist => {
                    if self.window_probes == 0 {
                        self.window_probed_at = env.now;
                    }
                    self.window_probes = self.window_probes.saturating_add(1);
                    let waited = env.now.since(self.window_probed_at);
                    if self.is_given_up(waited, self.window_probes, env.config.retries2) {
                        env.counters.tcp_abort_on_timeout += 1;
                        return Some(End::TimedOut);
                    }
                    if self.window_room() > 0 {
                        self.snd.silly_window_override = true;
                    } else {
                        env.counters.tcp_win_probe += 1;
                        self.snd.probe = true;
                    }
                    self.rtt.on_rto();
                    let wait = self.rtt.rto().min(PROBE_INTERVAL_MAX);
                    self.recovery.timer = Some((env.now + wait, TimerKind::Persist));
                }
            }
            self.arm_timer(env.now);
        }
        self.handle_keepalive(env)
    }

    /// When the retransmission timer runs out; not after the user timeout (Linux's `tcp_clamp_rto_to_user_timeout`).
    fn timeout_at(&self, now: Instant) -> Instant {
        let rto_at = now + self.rtt.rto();
        let oldest = self.snd.board.get(0).map(|sent| sent.first_sent);
        match oldest.zip(self.user_timeout).map(|(sent, limit)| sent + limit) {
            Some(end) if end > now => rto_at.min(end),
            _ => rto_at,
        }
    }

    /// The peer did not answer for `waited`, in which it was tried `tries` times.
    fn is_given_up(&self, waited: Duration, tries: u8, tries_max: u8) -> bool {
        self.user_timeout.map_or(tries > tries_max, |limit| waited >= limit)
    }

    /// The peer took its window back and answers all the same: what lies beyond the edge now does not time the flow
    /// out (RFC 9293 §3.8.6, SHLD-17), as long as something was heard lately (Linux's `tcp_rtx_probe0_timed_out`).
    fn is_refused(&self, now: Instant) -> bool {
        let beyond = self.snd.board.get(0).is_some_and(|sent| sent.len > self.snd.wnd);
        beyond && now.since(self.rcv.last_at) <= PROBE_INTERVAL_MAX * 2
    }

    /// RFC 6298 §5.4 to §5.6: everything not reported as received is lost, the window collapses.
    fn on_rto(&mut self, env: &mut Env<'_>) -> Option<End> {
        if self.snd.board.is_empty() {
            return None;
        }
        env.counters.tcp_timeouts += 1;
        let is_repeated = self.recovery.timeouts > 0;
        if !self.is_refused(env.now) {
            self.recovery.timeouts = self.recovery.timeouts.saturating_add(1);
        }
        let waited = self.snd.board.get(0).map(|sent| env.now.since(sent.first_sent)).unwrap_or_default();
        if self.is_given_up(waited, self.recovery.timeouts, env.config.retries2) {
            env.counters.tcp_abort_on_timeout += 1;
            return Some(End::TimedOut);
        }
        self.recovery.suspect();
        // After progress a timeout is another loss (RFC 5681 §4.3), as in Linux.
        let is_open = self.recovery.in_open();
        let in_loss = matches!(self.recovery.episode, Episode::Loss { .. });
        let first = is_open || (in_loss && !is_repeated);
        let in_flight = self.snd.board.in_flight();
        // RFC 5682 §3.1: in a recovery that got on, acknowledgements of originals prove nothing.
        let may_tell = is_open || (in_loss && is_repeated);
        let frto = if env.config.frto && may_tell { Frto::Started } else { Frto::Off };
        if first {
            self.begin_undo();
        }
        self.note_reduction();
        if self.snd.board.is_reneging() {
            // RFC 2018 §8: after a timeout, what was only reported selectively may be gone.
            env.counters.tcp_sack_reneging += 1;
            self.snd.board.clear_sacked();
        }
        self.mark_all_lost(env);
        self.suspect_size(env);
        self.cc.on_rto(env.now, in_flight, first);
        self.rtt.on_rto();
        self.recovery.tail_probe = None;
        self.recovery.duplicate_acks = 0;
        if !self.sack {
            self.recovery.recover = Some(self.snd.board.snd_nxt());
        }
        self.recovery.episode = Episode::Loss { until: self.snd.board.snd_nxt(), frto };
        self.snd.pace_next = env.now;
        None
    }

    /// RFC 8985 §7.3: new data if there is any and the window allows, else the last segment again.
    fn on_probe_timeout(&mut self, env: &mut Env<'_>) {
        env.counters.tcp_loss_probes += 1;
        self.recovery.suspect();
        self.recovery.due_probe = DueProbe::WantsNew;
        self.recovery.rtt_since_probe = false;
        // Whatever happens to the probe, the timeout follows.
        self.recovery.timer = Some((self.timeout_at(env.now), TimerKind::Rto));
    }

    /// What is on the way probes the peer by itself. Who has said all and waits for the peer's end (FIN-WAIT-2)
    /// needs it most.
    fn may_keep_alive(&self) -> bool {
        self.snd.board.is_empty()
    }

    fn keepalive_at(&self, when: &Keepalive) -> Instant {
        if self.keepalive_probes == 0 {
            self.rcv.last_at.max(self.snd.last_sent) + when.idle
        } else {
            self.snd.last_sent + when.interval
        }
    }

    /// RFC 9293 §3.8.4: an idle flow is probed, and given up when nothing answers.
    fn handle_keepalive(&mut self, env: &mut Env<'_>) -> Option<End> {
        let when = self.keepalive.as_deref()?;
        if !self.may_keep_alive() || self.keepalive_at(when) > env.now {
            return None;
        }
        let silent = env.now.since(self.rcv.last_at);
        let over = match self.user_timeout {
            Some(limit) => self.keepalive_probes > 0 && silent >= limit,
            None => self.keepalive_probes >= when.probes,
        };
        if over {
            env.counters.tcp_abort_on_timeout += 1;
            return Some(End::TimedOut);
        }
        env.counters.tcp_keep_alive += 1;
        self.keepalive_probes += 1;
        self.snd.last_sent = env.now;
        self.snd.probe = true;
        None
    }
}
