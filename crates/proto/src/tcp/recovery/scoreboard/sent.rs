//! One sent segment, and how it comes apart: by a partial ACK, by the edge of a SACK block, or to be sent
//! again in smaller parts.

use bytes::{Buf, Bytes};

use crate::ranges::Span;
use crate::seq::SeqNum;
use crate::time::Instant;

/// The state of delivery when a segment was sent, for the rate sample that its acknowledgement gives. Each of the
/// thousands of segments of a window has one, so it is packed into 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AtSend {
    /// Octets delivered on the flow until then.
    pub delivered: u64,
    /// When the last of these was delivered.
    pub delivered_time: Instant,
    /// When the first segment of that flight was sent.
    pub first_sent_time: Instant,
    /// Octets marked lost on the flow until then, the low half of the count.
    pub lost: u32,
    /// Octets in flight, this segment's among them, in the low 31 bits; whether the flow was application-limited
    /// in the highest.
    in_flight_and_limit: u32,
}

const APP_LIMITED: u32 = 1 << 31;

impl AtSend {
    /// The state as of a sending; `tx_in_flight` counts the segment itself, up to 2^31 - 1.
    pub fn new(
        delivered: u64,
        delivered_time: Instant,
        first_sent_time: Instant,
        lost: u32,
        tx_in_flight: u32,
        app_limited: bool,
    ) -> Self {
        let limit = if app_limited { APP_LIMITED } else { 0 };
        let in_flight_and_limit = tx_in_flight.min(APP_LIMITED - 1) | limit;
        Self { delivered, delivered_time, first_sent_time, lost, in_flight_and_limit }
    }

    /// Octets in flight just after it was sent.
    pub fn tx_in_flight(&self) -> u32 {
        self.in_flight_and_limit & !APP_LIMITED
    }

    /// The flow had less to send than it was allowed to.
    pub fn is_app_limited(&self) -> bool {
        self.in_flight_and_limit & APP_LIMITED != 0
    }
}

/// One sent segment, or the part of one that is not acknowledged.
#[derive(Clone, Debug)]
pub struct Sent<T> {
    /// The number of its first octet, or of its SYN.
    pub seq: SeqNum,
    /// Sequence numbers that it takes: those of its payload, and one each for SYN and FIN.
    pub len: u32,
    /// The payload.
    pub bytes: Bytes,
    /// The last number is that of the FIN.
    pub fin: bool,
    /// It ended what there was to send, so that it goes with PSH each time; of parts, the last one.
    pub push: bool,
    /// What the owner attached (a mapping, or nothing); every part has a clone.
    pub tag: T,
    /// When it was sent for the first time.
    pub first_sent: Instant,
    /// When it was sent for the last time.
    pub last_sent: Instant,
    /// How often it was sent; at least 1.
    pub transmissions: u16,
    /// The peer has SACKed it.
    pub sacked: bool,
    /// Taken for lost. Stays set while a retransmission is in flight, until that is SACKed.
    pub lost: bool,
    /// A retransmission of it is in flight.
    pub in_retransmission: bool,
    /// The state of delivery when it was last sent.
    pub at_send: AtSend,
}

impl<T> Sent<T> {
    /// A segment that is sent at `now` for the first time.
    pub fn new(seq: SeqNum, payload: Bytes, tag: T, now: Instant, at_send: AtSend) -> Self {
        Self {
            seq,
            len: payload.len() as u32,
            bytes: payload,
            fin: false,
            push: false,
            tag,
            first_sent: now,
            last_sent: now,
            transmissions: 1,
            sacked: false,
            lost: false,
            in_retransmission: false,
            at_send,
        }
    }

    /// The same with a SYN in front, which takes one number more.
    #[must_use]
    pub fn with_syn(mut self) -> Self {
        self.len += 1;
        self
    }

    /// The same with a FIN behind, which takes one number more.
    #[must_use]
    pub fn with_fin(mut self) -> Self {
        self.len += u32::from(!self.fin);
        self.fin = true;
        self
    }

    /// One past its last number.
    pub fn end(&self) -> SeqNum {
        self.seq + self.len
    }

    /// Its first number is that of a SYN.
    pub fn syn(&self) -> bool {
        self.syn_len() > 0
    }

    /// It awaits retransmission.
    pub fn is_waiting(&self) -> bool {
        self.lost && !self.in_retransmission
    }

    /// At least one copy of it is thought to be in the network.
    pub fn is_in_flight(&self) -> bool {
        !self.sacked && !self.is_waiting()
    }

    pub(super) fn syn_len(&self) -> u32 {
        self.len.saturating_sub(self.bytes.len() as u32 + u32::from(self.fin))
    }

    pub(super) fn span(&self) -> Span<SeqNum> {
        Span::new(self.seq, self.end())
    }
}

impl<T: Clone> Sent<T> {
    /// Takes the first `len` numbers off; `len` is less than all.
    pub(super) fn take_front(&mut self, len: u32) -> Self {
        let payload = len.saturating_sub(self.syn_len()).min(self.bytes.len() as u32) as usize;
        let front = Self { len, bytes: self.bytes.slice(..payload), fin: false, push: false, ..self.clone() };
        self.bytes.advance(payload);
        self.seq += len;
        self.len -= len;
        front
    }
}
