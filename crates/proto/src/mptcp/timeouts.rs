//! What becomes due at data level: repeated DATA_FINs and third ACKs, stalls, orphans, lost paths.

use super::connection::{Connection, Ctx, Stage, Why};
use super::fallback::Failing;
use super::hook::Mode;
use super::subflow::{Confirmation, Phase, Subflow, SubflowFlow};
use crate::config::HostConfig;
use crate::host::socket::ConnectionError;
use crate::tcp::flow::{End, State};
use crate::tcp::opening::INITIAL_RTO;
use crate::time::{Duration, Instant};

/// A peer that acknowledged everything at subflow level and nothing at data level is helped after two
/// round trips, but not sooner than this: below it, it may just be busy.
const STALL_MIN: Duration = Duration::from_millis(4);
/// A closed window is probed after this (Linux's `TCP_RTO_MIN`), doubled each time.
const WINDOW_PROBE_MIN: Duration = Duration::from_millis(200);
/// No stall waits longer than this for the next attempt.
const STALL_MAX: Duration = Duration::from_secs(60);
/// A connection that the application closed may take this long to end (Linux's fixed 60 s).
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(60);
/// Data is probed with one segment of at most this many octets,
const STALL_PROBE_BYTES: u64 = 1400;
/// and when that moved nothing, with this many.
const STALL_RESEND_BYTES: u64 = 64 << 10;

impl Connection {
    /// When [`handle_timeout`](Self::handle_timeout) or `poll_transmit` is needed next.
    pub(crate) fn deadline(&self, now: Instant, config: &HostConfig) -> Option<Instant> {
        let flows = self.subflows.iter().filter_map(|subflow| match &subflow.phase {
            Phase::Opening { opening, .. } => Some(opening.deadline()),
            Phase::Open(_) if self.awaits_key() => None,
            Phase::Open(flow) => {
                let third_ack = match subflow.mp.confirmation {
                    Confirmation::JoinClient { again_at, .. } => Some(again_at),
                    Confirmation::Done | Confirmation::CapableClient | Confirmation::CapableServer => None,
                };
                let closing = subflow.mp.closing_since.filter(|_| self.data.mode == Mode::Mptcp);
                let closed = closing.map(|since| since + config.tcp.fin_timeout);
                flow.deadline(now).into_iter().chain(third_ack).chain(closed).min()
            }
        });
        let timing = &self.timing;
        let bare = timing.bare_since.filter(|_| self.stage == Stage::Established);
        let orphaned = timing.orphaned_at.filter(|_| !self.subflows.is_empty() || bare.is_some());
        flows
            .chain(timing.cork.map(|cork| cork.until))
            .chain(timing.schedule_at)
            .chain(timing.stall_at)
            .chain(self.user_timeout_at())
            .chain(self.fin_again_at())
            .chain(self.failing_deadline())
            .chain(bare.map(|since| since + config.mptcp.close_timeout))
            .chain(orphaned.map(|at| at + self.orphan_timeout(config)))
            .chain(self.pm.deadline())
            .min()
    }

    fn orphan_timeout(&self, config: &HostConfig) -> Duration {
        match self.data.mode {
            Mode::Mptcp => ORPHAN_TIMEOUT,
            Mode::Plain => config.tcp.fin_timeout,
        }
    }

    /// Does what became due at `ctx.now`.
    pub(crate) fn handle_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.expire_user_timeout(ctx);
        // Backwards, because a subflow may go.
        for index in (0..self.subflows.len()).rev() {
            self.handle_subflow_timeout(ctx, index);
        }
        if self.timing.cork.is_some_and(|cork| cork.until <= ctx.now) {
            self.timing.cork = None;
        }
        if self.fin_again_at().is_some_and(|at| at <= ctx.now) {
            self.data.snd.on_fin_sent(ctx.now);
            self.want_ack_everywhere();
        }
        self.handle_failing_timeout(ctx);
        self.handle_stall(ctx);
        if self.stage == Stage::Established
            && self.timing.bare_since.is_some_and(|at| at + ctx.config.mptcp.close_timeout <= ctx.now)
        {
            self.fail(ctx, ConnectionError::AllPathsLost);
        }
        self.handle_orphan(ctx);
    }

    fn handle_subflow_timeout(&mut self, ctx: &mut Ctx<'_>, index: usize) {
        if index >= self.subflows.len() {
            return;
        }
        self.expire_opening(ctx, index);
        let Some(subflow) = self.subflows.get_mut(index) else { return };
        let Phase::Open(flow) = &mut subflow.phase else { return };
        if let Confirmation::JoinClient { again_at, repeats, .. } = &mut subflow.mp.confirmation
            && *again_at <= ctx.now
        {
            *repeats += 1;
            if *repeats > ctx.config.tcp.syn_retries {
                self.on_flow_end(ctx, index, End::TimedOut);
                return;
            }
            *again_at = ctx.now + third_ack_wait(flow);
            subflow.mp.ack_wanted = true;
        }
        // A subflow that we close carries nothing any more: its end is not waited for without bound.
        let closing = subflow.mp.closing_since.filter(|_| self.data.mode == Mode::Mptcp);
        if closing.is_some_and(|since| since + ctx.config.tcp.fin_timeout <= ctx.now) {
            self.on_flow_end(ctx, index, End::TimedOut);
            return;
        }
        if let Some(end) = flow.handle_timeout(&mut ctx.env()) {
            self.on_flow_end(ctx, index, end);
            return;
        }
        let suspect = flow.is_suspect();
        if suspect && !subflow.mp.was_suspect {
            subflow.mp.was_suspect = true;
            if self.is_helped(index) {
                self.reinject_outstanding(index, Why::Suspect);
            }
        }
        self.judge_stale(ctx, index);
    }

    /// Another subflow works.
    fn is_helped(&self, index: usize) -> bool {
        let works = |s: &Subflow| s.is_usable() && !s.flow().is_some_and(SubflowFlow::is_suspect);
        self.subflows.iter().enumerate().any(|(other, s)| other != index && works(s))
    }

    /// A suspect subflow that stays silent becomes stale, as in Linux: its data is not waited for any more.
    fn judge_stale(&mut self, ctx: &mut Ctx<'_>, index: usize) {
        let limit = ctx.config.mptcp.stale_loss_cnt;
        let Some(subflow) = self.subflows.get(index) else { return };
        let timeouts = subflow.flow().map_or(0, SubflowFlow::timeouts_in_a_row);
        let silent = limit > 0 && u32::from(timeouts) >= limit;
        if !silent || subflow.mp.stale || self.data.mode == Mode::Plain || !self.is_helped(index) {
            return;
        }
        self.subflows[index].mp.stale = true;
        ctx.counters.subflow_stale += 1;
        self.reinject_outstanding(index, Why::Gone);
    }

    /// Sets the clock for a stall; called when everything that could be sent was sent.
    ///
    /// Two kinds: all subflow data is acknowledged, but DATA_ACK stands still (a Linux receiver can go
    /// silent for 200 ms in that state); or the window is closed and nothing is under way that could
    /// bring its opening (RFC 8684 §3.3.4, RFC 9293 §3.8.6.1).
    pub(crate) fn watch_stall(&mut self, now: Instant) {
        self.watch_user_timeout(now);
        for subflow in &mut self.subflows {
            if subflow.flow().is_some_and(SubflowFlow::is_closing) {
                subflow.mp.closing_since.get_or_insert(now);
            }
        }
        // On the way back to plain TCP nothing is sent twice at data level (RFC 8684 §3.7).
        let reverting = self.data.failing != Failing::No;
        let is_early = self.awaits_key();
        if is_early || self.data.mode == Mode::Plain || reverting || self.stage != Stage::Established {
            self.timing.stall_at = None;
            return;
        }
        let snd = &self.data.snd;
        let behind = snd.buffer.unacked() > 0;
        let shut = snd.buffer.unsent() > 0 && snd.window_left() == 0;
        if !self.has_nothing_under_way() || (!behind && !shut) || self.subflows.is_empty() {
            self.timing.stall_at = None;
            if !behind {
                self.timing.stalls = 0;
            }
            return;
        }
        if self.timing.stall_at.is_none() {
            let srtt = self.subflows.iter().filter_map(|s| s.flow()?.rtt().srtt()).max().unwrap_or_default();
            let base = if behind { (srtt * 2).max(STALL_MIN) } else { WINDOW_PROBE_MIN.max(srtt * 2) };
            let wait = base.saturating_mul(1 << self.timing.stalls.min(14)).min(STALL_MAX);
            self.timing.stall_at = Some(now + wait);
        }
    }

    /// No subflow waits for the peer. One that does not answer is not waited for where another one does: it may
    /// retransmit for minutes, and what it holds was sent again elsewhere.
    fn has_nothing_under_way(&self) -> bool {
        let flows = || self.subflows.iter().filter(|s| s.is_usable()).filter_map(Subflow::flow);
        let answered = flows().any(|flow| !flow.is_suspect());
        self.subflows
            .iter()
            .filter_map(Subflow::flow)
            .all(|flow| flow.is_idle() || (answered && flow.is_suspect()))
    }

    /// The peer took what a stall had sent again and still lacks more, with nothing under way: it lost
    /// a whole run, and the next part need not wait for the clock.
    pub(super) fn continue_repair(&mut self, now: Instant) {
        if self.timing.stalls == 0 || !self.has_nothing_under_way() {
            return;
        }
        let snd = &mut self.data.snd;
        let behind = snd.buffer.unacked();
        if self.data.mode == Mode::Plain
            || self.data.failing != Failing::No
            || snd.progress_at <= self.timing.last_stall
            || behind == 0
            || snd.next_again().is_some()
        {
            return;
        }
        self.timing.last_stall = now;
        // What moves need not be waited for longer each time.
        self.timing.stalls = 1;
        let una = snd.buffer.snd_una();
        snd.reinject.insert(una, una + behind.min(STALL_RESEND_BYTES));
    }

    fn handle_stall(&mut self, ctx: &mut Ctx<'_>) {
        if self.timing.stall_at.is_none_or(|at| at > ctx.now) {
            return;
        }
        self.timing.stall_at = None;
        self.timing.stalls = self.timing.stalls.saturating_add(1);
        self.timing.unheard = if self.timing.heard { 0 } else { self.timing.unheard.saturating_add(1) };
        self.timing.heard = false;
        if self.timing.unheard > ctx.config.tcp.retries2 {
            self.fail(ctx, ConnectionError::TimedOut);
            return;
        }
        let snd = &mut self.data.snd;
        if snd.progress_at > self.timing.last_stall {
            self.timing.stalls = 1;
        }
        self.timing.last_stall = ctx.now;
        let behind = snd.buffer.unacked();
        if behind > 0 && self.is_peer_plain() {
            self.follow_plain_peer(ctx);
            return;
        }
        let snd = &mut self.data.snd;
        if behind > 0 {
            // One segment makes a silent peer speak; one that lost more than that needs more.
            let bytes = if self.timing.stalls <= 1 { STALL_PROBE_BYTES } else { STALL_RESEND_BYTES };
            let una = snd.buffer.snd_una();
            snd.reinject.insert(una, una + behind.min(bytes));
        } else {
            for flow in self.subflows.iter_mut().filter_map(Subflow::flow_mut) {
                ctx.counters.win_probe += 1;
                flow.probe_now();
            }
        }
    }

    fn handle_orphan(&mut self, ctx: &mut Ctx<'_>) {
        let Some(at) = self.timing.orphaned_at else { return };
        if at + self.orphan_timeout(ctx.config) > ctx.now {
            return;
        }
        let waits_only_for_fin = self.data.mode == Mode::Plain
            && self.subflows.iter().filter_map(Subflow::flow).all(|f| f.state() == State::FinWait2);
        match self.stage {
            Stage::Connecting | Stage::Established | Stage::Finished => {
                // Plain TCP in FIN-WAIT-2 just ends; elsewhere its own retransmission limit applies.
                if self.data.mode == Mode::Mptcp {
                    self.abort(ctx);
                } else if waits_only_for_fin {
                    while !self.subflows.is_empty() {
                        self.remove_subflow(ctx, 0, None, 0);
                    }
                    self.stage = Stage::Finished;
                } else if self.data.snd.buffer.snd_una() == self.timing.orphan_una {
                    // A peer that keeps its window shut holds no memory of ours for ever.
                    self.abort(ctx);
                } else {
                    self.timing.orphaned_at = Some(ctx.now);
                    self.timing.orphan_una = self.data.snd.buffer.snd_una();
                }
            }
            Stage::Failed(_) => {}
        }
    }
}

/// How long the fourth ACK is waited for before the third goes again (RFC 8684 §3.2): two round trips, as Linux, which
/// the SYN/ACK has measured.
pub(super) fn third_ack_wait(flow: &SubflowFlow) -> Duration {
    flow.rtt().srtt().map_or(INITIAL_RTO, |srtt| (srtt * 2).max(WINDOW_PROBE_MIN))
}
