//! What the application does with a connection, and what the connection tells of itself.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::connection::{Connection, Ctx, Stage};
use super::hook::{DSS_BYTES_MAX, Mode};
use super::send_buffer::Piece;
use super::subflow::{Subflow, SubflowFlow};
use crate::config::{IpFields, Keepalive};
use crate::host::socket::{
    CallError, ConnectionError, ConnectionInfo, Protocol, ReadOutcome, Readiness, SubflowInfo,
    SubflowState as SubflowStateName, Subflows,
};
use crate::tcp::flow::State;
use crate::time::Duration;

impl Connection {
    /// Octets that a write would take.
    pub(crate) fn write_room(&self) -> Result<usize, CallError> {
        match self.stage {
            Stage::Failed(error) => Err(error.into()),
            _ if self.data.snd.is_closed() => Err(CallError::WriteClosed),
            Stage::Finished => Err(CallError::WriteClosed),
            Stage::Connecting => Ok(0),
            Stage::Established => Ok(self.data.snd.buffer.room()),
        }
    }

    /// Appends what the application wrote.
    pub(crate) fn write(&mut self, piece: Piece) -> Result<(), CallError> {
        self.write_room()?;
        self.data.snd.push(piece);
        if let Some(hold) = &mut self.hold {
            hold.more = None;
            self.data.snd.more_follows = false;
        }
        Ok(())
    }

    /// The last write was one of which more follows (`MSG_MORE`).
    pub(crate) fn expect_more(&mut self) {
        self.hold.get_or_insert_default().more = Some(self.data.snd.buffer.snd_una());
        self.data.snd.more_follows = true;
    }

    /// Appends `piece` while small writes gather, that is when it changes nothing but the buffer: it does
    /// not fill a segment, and the timer that sends it is set. Else gives it back.
    pub(crate) fn gather(&mut self, piece: Piece) -> Result<(), Piece> {
        let Some(cork) = self.timing.cork.filter(|_| self.hold.is_none()) else { return Err(piece) };
        let unsent = self.data.snd.buffer.unsent() + piece.len() as u64;
        if unsent >= cork.full_bytes || !self.write_room().is_ok_and(|room| room >= piece.len()) {
            return Err(piece);
        }
        self.data.snd.push(piece);
        Ok(())
    }

    /// Detaches at most `max` octets.
    pub(crate) fn read(&mut self, ctx: &Ctx<'_>, max: usize) -> Result<ReadOutcome, CallError> {
        if let Some(bytes) = self.data.rcv.read(max) {
            self.tune_recv_buffer(ctx, bytes.len());
            self.offer_window();
            if self.data.rcv.readable_bytes() == 0 {
                self.subflows.iter_mut().filter_map(Subflow::flow_mut).for_each(SubflowFlow::on_all_read);
            }
            return Ok(ReadOutcome::Data(bytes));
        }
        match self.stage {
            _ if self.data.rcv.is_finished() => Ok(ReadOutcome::Finished),
            Stage::Failed(error) => Err(error.into()),
            Stage::Connecting => Err(CallError::NotConnected),
            Stage::Finished => Ok(ReadOutcome::Finished),
            Stage::Established => Ok(ReadOutcome::WouldBlock),
        }
    }

    /// The first `max` octets of what can be read, which stay.
    pub(crate) fn peek(&mut self, max: usize) -> Vec<Bytes> {
        self.data.rcv.peek(max)
    }

    /// Tells the peer on every subflow that there is room again, when that matters to it.
    fn offer_window(&mut self) {
        let mss = self
            .subflows
            .iter()
            .find_map(Subflow::flow)
            .map_or(1460, |f| u32::from(f.payload_mss(DSS_BYTES_MAX)));
        if self.data.rcv.wants_window_update(mss) {
            for subflow in &mut self.subflows {
                if let Some(flow) = subflow.flow_mut() {
                    flow.ack_now();
                }
            }
        }
    }

    /// Closes the sending direction after what was written.
    pub(crate) fn shutdown(&mut self, ctx: &mut Ctx<'_>) -> Result<(), CallError> {
        match self.stage {
            Stage::Failed(error) => return Err(error.into()),
            Stage::Connecting => return Err(CallError::NotConnected),
            Stage::Established | Stage::Finished => {}
        }
        self.data.snd.close();
        self.refuse_data();
        self.advance_close(ctx);
        Ok(())
    }

    /// The application reads no more.
    pub(crate) fn shutdown_read(&mut self) {
        self.reads_no_more = self.socket_protocol() == Protocol::Tcp;
        self.refuse_data();
    }

    /// Data for a plain TCP socket whose directions are both closed is thrown away, and answered with a reset.
    fn refuse_data(&mut self) {
        if self.reads_no_more && self.data.snd.is_closed() {
            self.data.rcv.refuse();
        }
    }

    /// The application is done with it: unread data means an abort (as Linux, RFC 9293 §3.6.1), else the
    /// connection ends by itself.
    pub(crate) fn close(&mut self, ctx: &mut Ctx<'_>) {
        if self.timing.orphaned_at.is_some() {
            return;
        }
        self.timing.orphaned_at = Some(ctx.now);
        match self.stage {
            Stage::Connecting => self.fail(ctx, ConnectionError::Aborted),
            Stage::Established | Stage::Finished => {
                if self.data.rcv.readable_bytes() > 0 {
                    ctx.counters.tcp_abort_on_close += 1;
                    self.abort(ctx);
                } else if self.abort_on_close && self.stage == Stage::Established {
                    ctx.counters.tcp_abort_on_data += 1;
                    self.abort(ctx);
                } else {
                    self.data.rcv.discard();
                    self.data.snd.close();
                    self.advance_close(ctx);
                }
            }
            Stage::Failed(_) => {}
        }
    }

    /// Sets `TCP_NODELAY`.
    pub(crate) fn set_nodelay(&mut self, on: bool) {
        self.nodelay = on;
        self.timing.cork = None;
        // As Linux: what waits goes, corked or not.
        if let Some(hold) = self.hold.as_mut().filter(|_| on) {
            hold.let_go();
        }
    }

    /// Sets `TCP_CORK`.
    pub(crate) fn set_cork(&mut self, on: bool) {
        if on || self.hold.is_some() {
            self.hold.get_or_insert_default().corked = on;
        }
    }

    /// Sets `TCP_NOTSENT_LOWAT`.
    pub(crate) fn set_notsent_lowat(&mut self, bytes: u32) {
        self.data.snd.buffer.set_unsent_limit(bytes);
    }

    /// Sets `SO_KEEPALIVE` and what belongs to it.
    pub(crate) fn set_keepalive(&mut self, keepalive: Option<Keepalive>) {
        self.keepalive = keepalive.map(Box::new);
        for flow in self.subflows.iter_mut().filter_map(Subflow::flow_mut) {
            flow.set_keepalive(keepalive);
        }
    }

    /// What its IP headers say from now on.
    pub(crate) fn ip_fields_mut(&mut self) -> &mut IpFields {
        &mut self.ip
    }

    /// Sets `SO_LINGER`, as far as it is not the caller's to wait.
    pub(crate) fn set_linger(&mut self, linger: Option<Duration>) {
        self.abort_on_close = linger.is_some_and(|time| time.is_zero());
    }

    /// What the connection is ready for.
    pub(crate) fn readiness(&self) -> Readiness {
        let failed = matches!(self.stage, Stage::Failed(_));
        let finished = self.stage == Stage::Finished || failed;
        let read_closed = self.data.rcv.is_finished() || finished;
        let writable = match self.stage {
            Stage::Connecting => false,
            Stage::Established => self.data.snd.buffer.is_writable() || self.data.snd.is_closed(),
            Stage::Finished | Stage::Failed(_) => true,
        };
        Readiness {
            readable: self.data.rcv.readable_bytes() > 0 || read_closed,
            writable,
            read_closed,
            hup: finished || (read_closed && self.data.snd.is_closed()),
            error: failed,
            connected: self.stage != Stage::Connecting,
            closed: finished,
            end_acked: finished || (self.data.snd.is_closed() && self.data.snd.is_done()),
        }
    }

    /// An MPTCP connection, fallen back or not, whose sending direction is open: ESTABLISHED or CLOSE-WAIT.
    pub(crate) fn is_mptcp_established(&self) -> bool {
        self.local_key.is_some() && self.stage == Stage::Established && !self.data.snd.is_closed()
    }

    /// What the application's socket is: MPTCP stays so when it falls back.
    pub(crate) fn socket_protocol(&self) -> Protocol {
        if self.local_key.is_some() { Protocol::Mptcp } else { Protocol::Tcp }
    }

    /// What the connection tells of itself.
    pub(crate) fn info(&self) -> ConnectionInfo {
        let buffer = &self.data.snd.buffer;
        let first = self.data.plain_base;
        ConnectionInfo {
            local: self.first_local,
            remote: self.first_remote,
            is_mptcp: self.data.mode == Mode::Mptcp,
            checksums: self.data.checksums && self.data.mode == Mode::Mptcp,
            token: self.token().map(|token| token.0),
            was_established: self.was_established,
            bytes_written: buffer.write_seq().saturating_since(first) + self.syn_data_bytes,
            bytes_acked: buffer.snd_una().saturating_since(first) + self.syn_data_bytes,
            bytes_unsent: buffer.unsent(),
            data_fin_outstanding: self.data.snd.is_closed() && !self.data.snd.is_done(),
            bytes_received: self.data.rcv.bytes_received(),
            bytes_readable: self.data.rcv.readable_bytes(),
            peer_finished: self.data.rcv.is_finished(),
            bytes_reinjected: self.data.snd.bytes_reinjected,
            send_buffer_used: buffer.held_bytes(),
            send_buffer_bytes: buffer.limit_bytes(),
            recv_buffer_used: self.data.rcv.held_bytes(),
            recv_buffer_bytes: self.data.rcv.limit_bytes() as usize,
            closed_subflows: self.closed.as_ref().map(|closed| closed.totals).unwrap_or_default(),
        }
    }

    /// What each subflow tells of itself, and the latest closed ones as they ended; in order of creation.
    pub(crate) fn subflow_infos(&self) -> Subflows {
        let closed = self.closed.iter().flat_map(|closed| &closed.latest);
        let mut infos: Subflows = closed.cloned().chain(self.subflows.iter().map(subflow_info)).collect();
        infos.sort_by_key(|info| info.id);
        infos
    }

    /// Octets that came in order so far.
    pub(crate) fn bytes_received(&self) -> u64 {
        self.data.rcv.bytes_received()
    }

    /// Of these, octets that were not read yet.
    pub(crate) fn bytes_readable(&self) -> usize {
        self.data.rcv.readable_bytes()
    }

    /// Octets held in queues.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.data.snd.buffer.held_bytes() + self.data.rcv.held_bytes()
    }
}

pub(super) fn subflow_info(subflow: &Subflow) -> SubflowInfo {
    let mut info = SubflowInfo {
        id: subflow.id,
        local: subflow.local,
        remote: subflow.remote,
        interface: subflow.interface,
        state: SubflowStateName::SynSent,
        backup: subflow.mp.is_backup(),
        stale: false,
        unreachable: false,
        srtt: None,
        rttvar: Duration::ZERO,
        rto: crate::tcp::opening::INITIAL_RTO,
        cwnd_bytes: 0,
        ssthresh_bytes: 0,
        in_flight_bytes: 0,
        mss_bytes: 0,
        bytes_sent: 0,
        bytes_received: 0,
        bytes_retransmitted: 0,
        retransmissions: 0,
        delivery_rate_bytes_per_sec: 0,
    };
    if let Some(flow) = subflow.flow() {
        info.state = match flow.state() {
            State::Established => SubflowStateName::Established,
            State::TimeWait | State::Closed => SubflowStateName::Closed,
            State::FinWait1 | State::FinWait2 | State::CloseWait | State::Closing | State::LastAck => {
                SubflowStateName::Closing
            }
        };
        info.stale = flow.is_suspect();
        info.unreachable = flow.is_unreachable();
        info.srtt = flow.rtt().srtt();
        info.rttvar = flow.rtt().rttvar().unwrap_or_default();
        info.rto = flow.rtt().rto();
        info.cwnd_bytes = flow.congestion().cwnd();
        info.ssthresh_bytes = flow.congestion().ssthresh();
        info.in_flight_bytes = flow.in_flight();
        info.mss_bytes = flow.payload_mss(DSS_BYTES_MAX);
        let totals = flow.totals();
        info.bytes_sent = totals.bytes_sent;
        info.bytes_received = totals.bytes_received;
        info.bytes_retransmitted = totals.bytes_retransmitted;
        info.retransmissions = totals.retransmissions;
        info.delivery_rate_bytes_per_sec = flow.delivery_rate();
    }
    info
}
