//! When an acknowledgement leaves (RFC 9293 §3.8.6.3, RFC 5681 §4.2, RFC 5961 §10).

use polytcp_wire::tcp_option::SackBlock;

use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// Segments that are acknowledged at once after the handshake, so that the peer's window opens
/// quickly (Linux's `TCP_MAX_QUICKACKS`).
const QUICK_ACKS: u8 = 16;

/// What a flow owes its peer.
#[derive(Debug)]
pub struct AckState {
    /// The highest acknowledgement that left (RFC 7323's Last.ACK.sent).
    pub(super) last_ack_sent: SeqNum,
    /// In-order payload octets since then.
    unacked_bytes: u32,
    due: Due,
    quick: u8,
    /// The peer pushed what is not acknowledged: it may wait for that.
    pushed: bool,
    /// Data of ours follows the peer's, and takes the acknowledgements with it (Linux's pingpong mode).
    answers: bool,
    last_payload_at: Instant,
    /// A range that came twice, to be reported once (RFC 2883).
    pub(super) duplicate: Option<SackBlock>,
    unacceptable_allowed_at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Never,
    Now,
    At(Instant),
}

impl AckState {
    pub(super) fn new(rcv_nxt: SeqNum) -> Self {
        Self {
            last_ack_sent: rcv_nxt,
            unacked_bytes: 0,
            due: Due::Never,
            quick: QUICK_ACKS,
            pushed: false,
            answers: false,
            last_payload_at: Instant::ZERO,
            duplicate: None,
            unacceptable_allowed_at: Instant::ZERO,
        }
    }

    /// Something has to be acknowledged without delay.
    pub(super) fn at_once(&mut self) {
        self.due = Due::Now;
    }

    /// In-order payload came: at least every second full segment is acknowledged at once
    /// (RFC 9293 SHLD-19), others within `delay`.
    pub(super) fn on_payload(
        &mut self,
        now: Instant,
        len: u32,
        pushed: bool,
        full_segment: u32,
        delay: Duration,
    ) {
        self.unacked_bytes = self.unacked_bytes.saturating_add(len);
        self.pushed |= pushed;
        self.last_payload_at = now;
        if self.quick > 0 {
            self.quick -= 1;
            self.due = Due::Now;
        } else if self.unacked_bytes >= full_segment.saturating_mul(2) {
            self.due = Due::Now;
        } else if self.due == Due::Never {
            self.due = Due::At(now + delay);
        }
    }

    /// The application has read all that came. Of a peer that pushed it no more is to be expected, and it may wait for
    /// the acknowledgement to send a small segment (RFC 9293 §3.7.4), unless the application is about to answer. As Linux's
    /// `tcp_cleanup_rbuf`.
    pub(super) fn on_all_read(&mut self) {
        if self.pushed && !self.answers && matches!(self.due, Due::At(_)) {
            self.due = Due::Now;
        }
    }

    /// Payload of ours leaves: an answer, when the peer's came within `delay`.
    pub(super) fn on_own_payload(&mut self, now: Instant, delay: Duration) {
        self.answers |= self.last_payload_at != Instant::ZERO && now.since(self.last_payload_at) < delay;
    }

    /// An unacceptable segment asks for an acknowledgement; those with data are not part of a loop. Others are answered
    /// once in `interval`. False: it is not answered.
    pub(super) fn on_unacceptable(&mut self, now: Instant, has_data: bool, interval: Duration) -> bool {
        if !has_data {
            if now < self.unacceptable_allowed_at {
                return false;
            }
            self.unacceptable_allowed_at = now + interval;
        }
        self.at_once();
        true
    }

    /// An acknowledgement of `rcv_nxt` left, alone or with data.
    pub(super) fn on_sent(&mut self, rcv_nxt: SeqNum) {
        self.last_ack_sent = rcv_nxt;
        self.unacked_bytes = 0;
        self.due = Due::Never;
        self.pushed = false;
        self.duplicate = None;
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self.due {
            Due::Never => false,
            Due::Now => true,
            Due::At(at) => at <= now,
        }
    }

    /// Whether what is due was put off until now. Nothing took it along: the next one is not put off for an answer.
    pub(super) fn take_late(&mut self, now: Instant) -> bool {
        let is_late = matches!(self.due, Due::At(at) if at <= now);
        self.answers &= !is_late;
        is_late
    }

    /// When a delayed acknowledgement has to leave.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.due {
            Due::Never => None,
            Due::Now => Some(Instant::ZERO),
            Due::At(at) => Some(at),
        }
    }
}
