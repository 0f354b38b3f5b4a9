//! What the owner of a flow sees of it, and what it asks of it.

use alloc::boxed::Box;

use bytes::Bytes;

use super::cc::{CongestionControl, Sibling};
use super::flow::{Flow, FlowTotals, OwnFin};
use super::recovery::Episode;
use super::rtt::RttEstimator;
use crate::config::Keepalive;
use crate::seq::{SeqNum, Ssn};
use crate::time::{Duration, Instant};

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// Initial send sequence number.
    pub fn iss(&self) -> SeqNum {
        self.iss
    }

    /// Initial receive sequence number.
    pub fn irs(&self) -> SeqNum {
        self.irs
    }

    /// Where the next queued octet goes, relative.
    pub fn queue_end(&self) -> Ssn {
        (self.snd.board.snd_nxt() + self.snd.queued_bytes).relative_to(self.iss)
    }

    /// Everything below was acknowledged, relative.
    pub fn snd_una(&self) -> Ssn {
        self.snd.board.snd_una().relative_to(self.iss)
    }

    /// The next octet expected, relative.
    pub fn rcv_nxt(&self) -> Ssn {
        self.rcv.nxt.relative_to(self.irs)
    }

    /// The next octet expected, as on the wire.
    pub fn rcv_seq(&self) -> SeqNum {
        self.rcv.nxt
    }

    /// Nothing is queued, and nothing sent waits for its acknowledgement.
    pub fn is_idle(&self) -> bool {
        self.snd.queue.is_empty() && self.snd.board.is_empty()
    }

    /// Octets queued and not sent.
    pub fn queued_bytes(&self) -> u32 {
        self.snd.queued_bytes
    }

    /// Octets on the way.
    pub fn in_flight(&self) -> u32 {
        self.snd.board.in_flight()
    }

    /// Octets sent and not acknowledged cumulatively, lost and selectively acknowledged ones included.
    pub fn unacked(&self) -> u32 {
        self.snd.board.snd_nxt().saturating_since(self.snd.board.snd_una())
    }

    /// What was sent and not acknowledged, in order, with its tags: (relative number, length, tag).
    pub fn outstanding(&self) -> impl Iterator<Item = (Ssn, u32, &S)> {
        self.snd.board.iter().map(|sent| (sent.seq.relative_to(self.iss), sent.bytes.len() as u32, &sent.tag))
    }

    /// What is queued and not sent, with its tags: (relative number, length, tag).
    pub fn queued(&self) -> impl Iterator<Item = (Ssn, u32, &S)> {
        let start = self.snd.board.snd_nxt().relative_to(self.iss);
        self.snd.queue.iter().scan(start, |at, (bytes, tag)| {
            let here = *at;
            *at += bytes.len() as u32;
            Some((here, bytes.len() as u32, tag))
        })
    }

    /// Round-trip statistics.
    pub fn rtt(&self) -> &RttEstimator {
        &self.rtt
    }

    /// The round trip as the receiver sees it: from an acknowledgement to the data that it let go. `None` before data
    /// came.
    pub fn receive_rtt(&self) -> Option<Duration> {
        self.rcv.rtt.smoothed()
    }

    /// The congestion controller.
    pub fn congestion(&self) -> &dyn CongestionControl {
        &*self.cc
    }

    /// The congestion controller wants to know of the other subflows of the connection.
    pub fn is_coupled(&self) -> bool {
        self.cc.is_coupled()
    }

    /// What the controllers of the connection's other subflows may know of this one; `None` before the first round
    /// trip, and where nothing was sent for a retransmission timeout: a window that is not used takes no share of a
    /// bottleneck, and a backup shall not slow the path that carries the data. While the flow recovers from a loss,
    /// its window is what it will have after that.
    pub fn as_sibling(&self, now: Instant) -> Option<Sibling> {
        if self.snd.board.is_empty() && now.since(self.snd.last_sent) > self.rtt.rto() {
            return None;
        }
        let cwnd = match self.recovery.episode {
            Episode::Fast { .. } if !self.cc.steers_recovery() => self.cc.ssthresh(),
            Episode::Fast { .. } | Episode::Open | Episode::Loss { .. } => self.cc.cwnd(),
        };
        let srtt = self.rtt.srtt()?;
        Some(Sibling { cwnd, srtt, loss_interval_bytes: self.cc.loss_interval_bytes() })
    }

    /// What the flow did so far.
    pub fn totals(&self) -> FlowTotals {
        self.totals
    }

    /// Payload octets per second that the peer confirmed lately; 0 before the first sample.
    pub fn delivery_rate(&self) -> u64 {
        self.snd.rate.latest()
    }

    /// Payload octets of a full segment, when each carries `reserved` octets of the extension.
    pub fn payload_mss(&self, reserved: usize) -> u16 {
        let stamps = if self.stamps.is_some() { 12 } else { 0 };
        self.snd.mss.saturating_sub(stamps + reserved as u16).max(1)
    }

    /// Memory that out-of-order payload pins, in octets.
    pub fn out_of_order_bytes(&self) -> usize {
        self.rcv.out_of_order.buffer_bytes()
    }

    /// Gives up the out-of-order data that is needed last; false when there is none. The peer still has
    /// it: what was only SACKed may be needed again (RFC 2018 §8).
    pub fn drop_out_of_order_tail(&mut self) -> bool {
        self.rcv.out_of_order.drop_tail().is_some()
    }

    /// The path does not answer: a tail loss probe or a retransmission timeout found no
    /// acknowledgement since, or the flow's data was not acknowledged for long.
    pub fn is_suspect(&self) -> bool {
        self.recovery.is_suspect()
    }

    /// Retransmission timeouts in a row without an acknowledgement of something new.
    pub fn timeouts_in_a_row(&self) -> u8 {
        self.recovery.timeouts
    }

    /// The peer's FIN was received and everything before it.
    pub fn peer_closed(&self) -> bool {
        self.rcv.fin
    }

    /// Our FIN was asked for.
    pub fn is_closing(&self) -> bool {
        self.snd.fin != OwnFin::None
    }

    /// Tells whose window limits the flow.
    pub fn set_window_is_shared(&mut self, shared: bool) {
        self.snd.window_is_shared = shared;
    }

    /// The peer's window as it last announced it, in octets.
    pub fn snd_wnd(&self) -> u32 {
        self.snd.wnd
    }

    /// Octets that a packet of the path has beside the smallest headers.
    pub fn mss(&self) -> u16 {
        self.snd.mss
    }

    /// Appends a run of payload. The caller asked [`room`](Self::room) before.
    pub fn queue(&mut self, bytes: Bytes, tag: S) {
        debug_assert!(self.snd.fin == OwnFin::None, "queued behind FIN");
        self.snd.queued_bytes += bytes.len() as u32;
        self.snd.queue.push_back((bytes, tag));
    }

    /// Closes our direction after what is queued (FIN).
    pub fn close(&mut self) {
        if self.snd.fin == OwnFin::None {
            self.snd.fin = OwnFin::Queued;
        }
    }

    /// When the peer acknowledged something new last, or the handshake.
    pub fn acked_at(&self) -> Instant {
        self.snd.acked_at
    }

    /// How long data may go unacknowledged, or a window stay shut, before the flow is given up (RFC 9293 §3.9.1.8;
    /// `TCP_USER_TIMEOUT`); `None` leaves that to the number of retransmissions.
    pub fn set_user_timeout(&mut self, limit: Option<Duration>) {
        self.user_timeout = limit;
    }

    /// The flow was made before its handshake was over: nothing is known of its round trip yet (RFC 6298 §2.1).
    pub fn await_handshake(&mut self) {
        self.rtt = RttEstimator::new();
    }

    /// The handshake is over, with its round trip, where that is known.
    pub fn end_handshake(&mut self, now: Instant, rtt: Option<Duration>) {
        match rtt {
            Some(sample) => self.rtt.on_sample(sample, now),
            None => self.rtt.on_unmeasured_handshake(),
        }
    }

    /// When the flow is probed while it is idle; `None`: never.
    pub fn set_keepalive(&mut self, keepalive: Option<Keepalive>) {
        self.keepalive = keepalive.map(Box::new);
    }

    /// A router reports the segment that begins at `seq` as undeliverable. That is remembered while nothing is
    /// acknowledged, and false for what is not on the way (RFC 5927 §4.1).
    pub fn handle_unreachable(&mut self, seq: SeqNum) -> bool {
        let is_on_way = seq.within(self.snd.board.snd_una(), self.unacked());
        self.is_unreachable |= is_on_way;
        is_on_way
    }

    /// Routers report what is on the way as undeliverable, and nothing was acknowledged since.
    pub fn is_unreachable(&self) -> bool {
        self.is_unreachable
    }

    /// Has an acknowledgement leave at once.
    pub fn ack_now(&mut self) {
        self.acks.at_once();
    }

    /// The application has read all that the connection holds.
    pub fn on_all_read(&mut self) {
        self.acks.on_all_read();
    }

    /// Has a window probe leave at once: an empty segment below the peer's window, which has to be
    /// answered with its acknowledgement and window (RFC 9293 §3.10.7.4, first check).
    pub fn probe_now(&mut self) {
        self.snd.probe = true;
    }
}
