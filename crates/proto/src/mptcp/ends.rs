//! How a connection and its subflows end: by themselves, by the peer, by loss of their path, at once.

use super::calls::subflow_info;
use super::connection::{CLOSED_MAX, Connection, Ctx, Emission, Notice, Stage, Why};
use super::fallback::Failing;
use super::hook::{Hook, Mode};
use super::send::DataSend;
use super::subflow::{Phase, Subflow};
use crate::host::socket::{ConnectionError, SubflowInfo, SubflowState};
use crate::tcp::extension::Abort;
use crate::tcp::flow::{End, State};
use crate::tcp::time_wait::TimeWait;

impl Connection {
    /// Removes a subflow whose flow is over, and does what follows for the connection.
    pub(super) fn on_flow_end(&mut self, ctx: &mut Ctx<'_>, index: usize, end: End) {
        if index >= self.subflows.len() {
            return;
        }
        let (time_wait, errno) = match end {
            End::TimeWait => {
                self.send_last_ack(ctx, index);
                (self.time_wait_of(ctx, index), 0)
            }
            End::Closed => (None, 0),
            // ECONNRESET
            End::PeerReset => (None, 104),
            End::Violation(Abort { reason }) => {
                self.subflows[index].mp.reset_reason = reason;
                self.send_reset(ctx, index);
                (None, 103)
            }
            // ETIMEDOUT
            End::TimedOut => {
                self.send_reset(ctx, index);
                (None, 110)
            }
        };
        let is_unreachable = self.subflows[index].flow().is_some_and(|flow| flow.is_unreachable());
        self.remove_subflow(ctx, index, time_wait, errno);
        let error = match end {
            End::TimeWait | End::Closed => None,
            End::PeerReset | End::Violation(_) => Some(ConnectionError::Reset),
            // As Linux, which prefers its soft error.
            End::TimedOut if is_unreachable => Some(ConnectionError::Unreachable),
            End::TimedOut => Some(ConnectionError::TimedOut),
        };
        if let (Some(error), Mode::Plain) = (error, self.data.mode) {
            self.fail(ctx, error);
        }
    }

    /// The acknowledgement of the peer's FIN, which the flow owes before it goes to TIME-WAIT.
    fn send_last_ack(&mut self, ctx: &mut Ctx<'_>, index: usize) {
        let subflow = &mut self.subflows[index];
        let Phase::Open(flow) = &mut subflow.phase else { return };
        let mut hook = Hook { data: &mut self.data, mp: &mut subflow.mp };
        if let Some(segment) = flow.poll_transmit(&mut ctx.env(), &mut hook) {
            let Subflow { interface, local, remote, .. } = *subflow;
            self.pending.push_back(Emission { interface, local, remote, ip: self.ip, segment });
        }
    }

    fn time_wait_of(&self, ctx: &Ctx<'_>, index: usize) -> Option<TimeWait> {
        self.subflows[index].flow().map(|flow| flow.time_wait(ctx.now + ctx.config.tcp.time_wait))
    }

    /// Takes a subflow out; what it did not deliver goes to the others.
    pub(super) fn remove_subflow(
        &mut self,
        ctx: &mut Ctx<'_>,
        index: usize,
        time_wait: Option<TimeWait>,
        errno: u8,
    ) {
        self.reinject_outstanding(index, Why::Gone);
        let subflow = self.subflows.remove(index);
        self.scheduler.on_subflows_changed();
        self.helped_to = None;
        ctx.counters.attempt_fails += u64::from(subflow.flow().is_none());
        ctx.counters.estab_resets += u64::from(subflow.is_established());
        let closed = self.closed.get_or_insert_default();
        if closed.latest.len() == CLOSED_MAX {
            closed.latest.pop_front();
        }
        closed.latest.push_back(SubflowInfo { state: SubflowState::Closed, ..subflow_info(&subflow) });
        if let Some(flow) = subflow.flow() {
            let totals = flow.totals();
            closed.totals.count += 1;
            closed.totals.bytes_sent += totals.bytes_sent;
            closed.totals.bytes_received += totals.bytes_received;
            closed.totals.bytes_retransmitted += totals.bytes_retransmitted;
        }
        if self.subflows.is_empty() {
            self.timing.bare_since = Some(ctx.now);
            // What MP_FAIL was about went with its subflow.
            self.data.failing = Failing::No;
        }
        self.notices.push_back(Notice::SubflowGone {
            id: subflow.id,
            local: subflow.local,
            remote: subflow.remote,
            local_id: subflow.mp.local_id,
            remote_id: subflow.mp.remote_id,
            time_wait,
            errno,
            peer_reset: subflow.mp.peer_reset,
            backup: subflow.mp.backup_peer,
        });
    }

    /// Queues a reset of one subflow (RFC 8684 §3.6); it leaves before anything else.
    pub(super) fn send_reset(&mut self, ctx: &mut Ctx<'_>, index: usize) {
        let subflow = &mut self.subflows[index];
        let segment = match &subflow.phase {
            Phase::Open(flow) => {
                let mut hook = Hook { data: &mut self.data, mp: &mut subflow.mp };
                flow.reset(&mut ctx.env(), &mut hook)
            }
            // Nobody holds state for a SYN that we give up.
            Phase::Opening { .. } => return,
        };
        let Subflow { interface, local, remote, .. } = *subflow;
        self.pending.push_back(Emission { interface, local, remote, ip: self.ip, segment });
    }

    /// Closes one subflow in an orderly way (FIN), its data going to the others. Before the peer has shown that it speaks
    /// MPTCP it may have fallen back, and would take a FIN for the end of the stream: then the subflow is reset.
    pub(crate) fn close_subflow(&mut self, ctx: &mut Ctx<'_>, id: u32) {
        if let Some(index) = self.subflows.iter().position(|s| s.id == id) {
            self.data.may_fall_back = false;
            if self.subflows[index].flow().is_none() {
                self.remove_subflow(ctx, index, None, 0);
                return;
            }
            if self.data.mode == Mode::Mptcp && !self.fully_established {
                self.send_reset(ctx, index);
                self.remove_subflow(ctx, index, None, 103);
                return;
            }
            self.reinject_outstanding(index, Why::Gone);
            if let Some(flow) = self.subflows[index].flow_mut() {
                flow.close();
            }
        }
    }

    /// Marks what a subflow holds and the peer has not acknowledged at data level as to be sent on another:
    /// for good, because the subflow ends, or as a hedge that is dropped when it answers again.
    pub(super) fn reinject_outstanding(&mut self, index: usize, why: Why) {
        if self.data.mode == Mode::Plain {
            return;
        }
        let Some(flow) = self.subflows.get(index).and_then(Subflow::flow) else { return };
        let DataSend { buffer, reinject, hedge, .. } = &mut self.data.snd;
        let ranges = match why {
            Why::Gone => reinject,
            Why::Suspect => hedge,
        };
        for (ssn, len, tag) in flow.outstanding().chain(flow.queued()) {
            if let Some(mapping) = tag {
                let start = mapping.dsn_at(ssn);
                ranges.insert(start, start + u64::from(len));
            }
        }
        if why == Why::Gone {
            // A mapping that failed, or that never became whole, was thrown away although the flow had
            // acknowledged it (RFC 8684 §3.7).
            let carried = core::mem::take(&mut self.subflows[index].mp.carried);
            for span in carried.iter() {
                ranges.insert(span.start, span.end);
            }
        }
        ranges.trim_below(buffer.snd_una());
    }

    /// Another path has become usable: what suspect ones hold goes there.
    pub(super) fn reinject_suspects(&mut self) {
        for index in 0..self.subflows.len() {
            if self.subflows[index].mp.was_suspect {
                self.reinject_outstanding(index, Why::Suspect);
            }
        }
    }

    /// The connection is over because of `error`: every subflow is reset.
    pub(crate) fn fail(&mut self, ctx: &mut Ctx<'_>, error: ConnectionError) {
        if matches!(self.stage, Stage::Failed(_)) {
            return;
        }
        while !self.subflows.is_empty() {
            let index = self.subflows.len() - 1;
            self.send_reset(ctx, index);
            self.remove_subflow(ctx, index, None, 104);
        }
        self.data.snd.forget_ranges();
        self.stage = Stage::Failed(error);
    }

    /// MP_FASTCLOSE, or RST on plain TCP (RFC 8684 §3.5).
    pub(crate) fn abort(&mut self, ctx: &mut Ctx<'_>) {
        for subflow in &mut self.subflows {
            subflow.mp.fastclose = true;
        }
        self.fail(ctx, ConnectionError::Aborted);
    }

    /// Takes the steps of closing that have become possible.
    pub(super) fn advance_close(&mut self, ctx: &mut Ctx<'_>) {
        if self.stage != Stage::Established {
            return;
        }
        match self.data.mode {
            Mode::Mptcp => {
                if self.data.snd.is_done() && self.data.rcv.is_finished() {
                    // RFC 8684 §3.3.3: with both DATA_FINs acknowledged the subflows may go.
                    for subflow in &mut self.subflows {
                        if let Phase::Open(flow) = &mut subflow.phase {
                            flow.close();
                        }
                    }
                    self.drop_openings(ctx);
                    self.stage = Stage::Finished;
                } else if !self.data.rcv.is_finished() {
                    // A subflow that the peer closes before its DATA_FIN is given up by it. After it the subflow goes on
                    // carrying what we send, as in Linux.
                    for index in 0..self.subflows.len() {
                        let peer_closed =
                            self.subflows[index].flow().is_some_and(|f| f.peer_closed() && !f.is_closing());
                        if peer_closed {
                            self.reinject_outstanding(index, Why::Gone);
                            if let Some(flow) = self.subflows[index].flow_mut() {
                                flow.close();
                            }
                        }
                    }
                }
            }
            Mode::Plain => {
                let closed = self.data.snd.is_closed() && self.data.snd.buffer.unsent() == 0;
                let Some(Phase::Open(flow)) = self.subflows.first_mut().map(|s| &mut s.phase) else {
                    if self.subflows.is_empty() {
                        self.stage = Stage::Finished;
                    }
                    return;
                };
                if closed {
                    flow.close();
                }
                if matches!(flow.state(), State::FinWait2 | State::TimeWait | State::Closed) {
                    self.data.snd.on_plain_fin_acked();
                }
                if self.data.snd.is_done() && self.data.rcv.is_finished() {
                    self.stage = Stage::Finished;
                }
            }
        }
    }

    pub(super) fn drop_openings(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(index) = self.subflows.iter().position(|s| s.flow().is_none()) {
            self.remove_subflow(ctx, index, None, 0);
        }
    }
}
