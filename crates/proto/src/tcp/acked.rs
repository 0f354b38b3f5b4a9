//! What an acknowledgement does to the sending half (RFC 9293 §3.10.7.4, fifth check; RFC 5681; 8985).

use polytcp_wire::mptcp::MptcpOption;

use super::cc::{AckSample, LostSegment, Sibling};
use super::delivered::Delivered;
use super::extension::{Abort, Extension};
use super::flow::{Env, Flow, OwnFin, SendHalf};
use super::recovery::prr::{Delivery, Prr};
use super::recovery::scoreboard::Judgement;
use super::recovery::undo::Undo;
use super::recovery::{Episode, TimerKind};
use super::segment::Segment;
use crate::seq::SeqNum;

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// Processes acknowledgement, window and options of an acceptable segment. `None`: the segment has
    /// to be dropped.
    pub(super) fn handle_ack<X>(
        &mut self,
        env: &mut Env<'_>,
        segment: &Segment,
        ext: &mut X,
    ) -> Result<Option<H>, Abort>
    where
        X: Extension<Sent = S, Held = H>,
    {
        let snd_una = self.snd.board.snd_una();
        let snd_nxt = self.snd.board.snd_nxt();
        if segment.ack.after(snd_nxt) {
            self.acks.on_unacceptable(env.now, false, env.config.invalid_ratelimit);
            return Ok(None);
        }
        // RFC 5961 §5.2: an acknowledgement older than the largest window ever seen is forged or lost.
        if snd_una.saturating_since(segment.ack) > self.snd.wnd_max.max(1 << 16) {
            self.challenge(env);
            return Ok(None);
        }
        let window = u32::from(segment.window) << self.snd.wscale;
        let window_changed = window != self.snd.wnd;
        // As Linux, beyond RFC 9293 §3.10.7.4: what acknowledges more is newer, though it be a retransmission with a
        // lower number. Else an old window would count from the new acknowledgement, and reach too far.
        if segment.ack.after(snd_una)
            || (segment.ack == snd_una
                && (self.snd.wl1.before(segment.seq)
                    || (self.snd.wl1 == segment.seq && !segment.ack.before(self.snd.wl2))))
        {
            self.snd.wnd = window;
            self.snd.wnd_max = self.snd.wnd_max.max(window);
            self.snd.wl1 = segment.seq;
            self.snd.wl2 = segment.ack;
            if matches!(self.recovery.timer, Some((_, TimerKind::Persist))) && self.window_room() > 0 {
                // The probes' back-off says nothing of the path.
                self.recovery.timer = None;
                self.rtt.on_progress();
            }
        }
        let held = ext.handle_options(env, segment, segment.seq.relative_to(self.irs), window)?;
        if segment.ack.before(snd_una) {
            return Ok(Some(held));
        }
        let has_signal = segment
            .options
            .mptcp
            .iter()
            .any(|option| !matches!(option, MptcpOption::Dss(dss) if !dss.data_fin));
        let prior_in_flight = self.snd.board.in_flight();
        self.snd.rate.before_ack(env.now, prior_in_flight);
        env.counters.tcp_pure_acks += u64::from(segment.seq_len() == 0);
        let delivered = self.take_delivered(env, segment);
        if delivered.bytes > 0 {
            self.snd.acked_at = env.now;
        }
        env.counters.tcp_delivered += u64::from(delivered.bytes.div_ceil(u32::from(self.snd.mss).max(1)));
        if segment.ack.after(snd_una) {
            self.on_cumulative_progress(env, segment, ext);
        } else if !self.sack
            && segment.seq_len() == 0
            && !window_changed
            && !self.snd.board.is_empty()
            // RFC 8684 §3.3: an acknowledgement that carries signalling is no duplicate; a plain DSS is on
            // every acknowledgement and tells nothing.
            && !has_signal
        {
            self.on_duplicate_ack(env);
        } else if self.sack
            && segment.seq_len() == 0
            && !window_changed
            && !has_signal
            && segment.options.sack.is_empty()
            && self.recovery.tail_probe.is_some_and(|probe| probe.repeats && probe.end == segment.ack)
        {
            // RFC 8985 §7.4.2: a peer that reports no duplicates answers one all the same.
            self.recovery.tail_probe = None;
        }
        if let Some(sample) = self.round_trip(env.now, &delivered, segment.ack.after(snd_una)) {
            self.rtt.on_sample(sample, env.now);
            self.recovery.rtt_since_probe = true;
        }
        self.end_or_undo(env, &delivered, segment.ack.after(snd_una));
        self.react(env, segment, &delivered, prior_in_flight, ext.siblings());
        Ok(Some(held))
    }

    fn on_cumulative_progress<X>(&mut self, env: &mut Env<'_>, segment: &Segment, ext: &mut X)
    where
        X: Extension<Sent = S, Held = H>,
    {
        self.recovery.duplicate_acks = 0;
        self.is_unreachable = false;
        if self.recovery.recover.is_some_and(|recover| segment.ack.after(recover)) {
            self.recovery.recover = None;
        }
        if self.snd.fin == OwnFin::Sent && segment.ack == self.snd.board.snd_nxt() {
            self.snd.fin = OwnFin::Acked;
        }
        self.end_tail_probe(env, segment.ack);
        // RFC 6298 §5.3: progress restarts the timer.
        self.recovery.timer = None;
        ext.handle_acked(segment.ack.relative_to(self.iss));
    }

    /// RFC 8985 §7.4.2: a probe that repeated the last segment, and of which the peer reported no duplicate by the time
    /// that it acknowledges more, has repaired a loss, which is a congestion as any other.
    fn end_tail_probe(&mut self, env: &mut Env<'_>, ack: SeqNum) {
        let Some(probe) = self.recovery.tail_probe.filter(|probe| !ack.before(probe.end)) else { return };
        if probe.repeats && ack == probe.end {
            // The report may come with the next acknowledgement.
            return;
        }
        self.recovery.tail_probe = None;
        if probe.repeats && self.recovery.in_open() {
            env.counters.tcp_loss_probe_recovery += 1;
            self.reduce(env, self.snd.board.in_flight());
            self.cc.on_recovery_exit(env.now);
            self.restart_validation(env.now);
            self.recovery.undo = None;
            self.note_reduction();
        }
    }

    /// Fast retransmit without SACK (RFC 5681 §3.2, RFC 6582).
    fn on_duplicate_ack(&mut self, env: &mut Env<'_>) {
        self.recovery.duplicate_acks = self.recovery.duplicate_acks.saturating_add(1);
        // RFC 6582 §3.2 step 2: after a recovery these may be answers to what was sent again without need.
        if self.recovery.duplicate_acks == 3 && self.recovery.recover.is_none() {
            self.mark_front_lost(env);
        }
    }

    fn mark_front_lost(&mut self, env: &mut Env<'_>) {
        let mss = u32::from(self.snd.mss);
        self.snd.board.split_at(0, mss);
        let SendHalf { board, rate, .. } = &mut self.snd;
        if let Some(sent) = board.get(0).filter(|sent| sent.is_in_flight()) {
            rate.on_lost(sent.len);
            env.counters.tcp_lost_retransmit += u64::from(sent.in_retransmission);
            self.cc.on_segment_lost(&LostSegment::new(env.now, sent, rate));
        }
        board.mark_lost(0);
    }

    /// Everything that is on the way counts as lost: the retransmission timer ran out.
    pub(super) fn mark_all_lost(&mut self, env: &mut Env<'_>) {
        let SendHalf { board, rate, .. } = &mut self.snd;
        for sent in board.iter().filter(|sent| sent.is_in_flight()) {
            rate.on_lost(sent.len);
            env.counters.tcp_lost_retransmit += u64::from(sent.in_retransmission);
            self.cc.on_segment_lost(&LostSegment::new(env.now, sent, rate));
        }
        board.mark_all_lost();
    }

    /// Loss detection and the congestion window, after everything was taken in.
    fn react(
        &mut self,
        env: &mut Env<'_>,
        segment: &Segment,
        delivered: &Delivered,
        prior_in_flight: u32,
        siblings: &[Sibling],
    ) {
        let now = env.now;
        if !self.sack && delivered.bytes > 0 && matches!(self.recovery.episode, Episode::Fast { .. }) {
            // RFC 6582 §3.2 step 5: a partial acknowledgement reveals the next loss.
            self.mark_front_lost(env);
        }
        let newly_lost = self.detect_losses(env);
        let ecn_echo = self.echoes_mark(segment);
        if ecn_echo {
            let segments = delivered.bytes.div_ceil(u32::from(self.snd.mss).max(1));
            env.counters.tcp_delivered_ce += u64::from(segments);
        }
        let rate = delivered.newest.map(|newest| self.snd.rate.sample(&newest, self.rtt.min_rtt()));
        let is_of_probe = self.judge_mtu_probe(env);
        if self.recovery.in_open() && self.snd.board.waiting_bytes() > 0 && !is_of_probe {
            self.enter_fast_recovery(env, prior_in_flight);
        }
        if ecn_echo {
            self.react_to_mark(env, prior_in_flight);
        }
        let in_flight = self.snd.board.in_flight();
        let mss = u32::from(self.snd.mss);
        let steers_recovery = self.cc.steers_recovery();
        self.note_validation(env);
        match &mut self.recovery.episode {
            Episode::Fast { prr, .. } if !steers_recovery => {
                let cwnd = prr.on_ack(Delivery {
                    delivered_bytes: delivered.bytes,
                    in_flight,
                    mss,
                    safe_ack: delivered.advances && newly_lost == 0,
                });
                self.cc.set_cwnd(cwnd);
            }
            Episode::Fast { .. } | Episode::Open | Episode::Loss { .. } => {
                if delivered.bytes > 0 {
                    // RFC 5681 §3.1: a window grows by what is acknowledged; what is only SACKed may be the sign of a loss. After a
                    // timeout it is what repairs have brought.
                    let may_grow = delivered.advances || steers_recovery || !self.recovery.in_open();
                    let cwnd_limited =
                        may_grow && self.snd.usage.is_limited(self.cc.cwnd(), self.cc.in_slow_start());
                    let is_first_slow_start = self.cc.ssthresh() == u32::MAX && !steers_recovery;
                    self.cc.on_ack(&AckSample {
                        now,
                        acked_bytes: delivered.bytes,
                        rtt: delivered.newest.and_then(|newest| newest.rtt(now)),
                        min_rtt: self.rtt.min_rtt(),
                        srtt: self.rtt.srtt(),
                        in_flight: prior_in_flight,
                        in_flight_after: in_flight,
                        cwnd_limited,
                        in_recovery: !self.recovery.in_open(),
                        delivered: self.snd.rate.delivered(),
                        rate,
                        mss,
                        ecn_echo,
                        siblings,
                    });
                    // Only HyStart++ ends the first slow start by an acknowledgement.
                    if is_first_slow_start && self.cc.ssthresh() != u32::MAX {
                        env.counters.tcp_hystart_delay_detect += 1;
                        env.counters.tcp_hystart_delay_cwnd += u64::from(self.cc.cwnd() / mss.max(1));
                    }
                }
            }
        }
        self.arm_timer(now);
    }

    /// Marks what RACK judges lost, and remembers when the next one would be. Returns newly lost octets.
    pub(super) fn detect_losses(&mut self, env: &mut Env<'_>) -> u32 {
        let now = env.now;
        // In recovery a retransmission that is acknowledged shows what was sent before it to be lost, and nothing need be
        // left that tells of it (RFC 8985 §6.2 step 5).
        let is_calm = self.recovery.in_open()
            && self.snd.board.sacked_bytes() == 0
            && self.snd.board.retransmitted_bytes() == 0;
        if !self.sack || is_calm {
            return 0;
        }
        let hurry = !self.recovery.in_open() || self.snd.board.sacked_bytes() >= 3 * u32::from(self.snd.mss);
        let mut next = None;
        let mut judge = self.recovery.rack.judge(now, self.rtt.srtt(), self.rtt.min_rtt(), hurry, &mut next);
        let SendHalf { board, rate, .. } = &mut self.snd;
        let cc = &mut self.cc;
        let lost = board.detect_lost(|sent| {
            let verdict = judge(sent);
            if verdict == Judgement::Lost {
                rate.on_lost(sent.len);
                env.counters.tcp_lost_retransmit += u64::from(sent.in_retransmission);
                cc.on_segment_lost(&LostSegment::new(now, sent, rate));
            }
            verdict
        });
        drop(judge);
        match (next, self.recovery.timer) {
            (Some(at), _) => self.recovery.timer = Some((at, TimerKind::Reorder)),
            (None, Some((_, TimerKind::Reorder))) => self.recovery.timer = None,
            (None, _) => {}
        }
        lost
    }

    pub(super) fn enter_fast_recovery(&mut self, env: &mut Env<'_>, prior_in_flight: u32) {
        self.reduce(env, prior_in_flight);
        self.begin_undo();
        self.note_reduction();
        // RFC 8985 §7.1: the loss that a probe of the tail showed is this one, not another.
        self.recovery.tail_probe = None;
        if !self.sack {
            self.recovery.recover = Some(self.snd.board.snd_nxt());
        }
        if self.sack {
            env.counters.tcp_sack_recovery += 1;
        } else {
            env.counters.tcp_reno_recovery += 1;
        }
        self.recovery.episode = Episode::Fast {
            until: self.snd.board.snd_nxt(),
            prr: Prr::enter(prior_in_flight, self.cc.ssthresh()),
        };
    }

    /// The window is reduced: from now on it is watched whether that was needed.
    pub(super) fn begin_undo(&mut self) {
        let board = &self.snd.board;
        let mut undo = Undo::new(board.snd_una());
        let earlier = board.retransmitted_bytes();
        if earlier > 0 {
            // A tail loss probe on its way may be reported as a duplicate too.
            let first = board.iter().filter(|sent| sent.in_retransmission).map(|sent| sent.last_sent).min();
            undo.on_resent(earlier, first.and_then(|at| self.timestamp(at)).map(|ts| ts.val));
        }
        self.recovery.undo = Some(undo);
    }
}
