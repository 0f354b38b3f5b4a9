//! A TCP segment on its way in and on its way out.

use bytes::Bytes;
use polytcp_wire::tcp::{ParsedTcp, TcpFlags};
use polytcp_wire::tcp_options::{OptionBuf, TcpOptions};

use crate::seq::SeqNum;

/// A segment that arrived: parsed once, its payload a slice of the receive buffer.
#[derive(Clone, Debug)]
pub struct Segment {
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK; meaningless without the ACK flag.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
    /// The window field as sent, not scaled.
    pub window: u16,
    /// Options.
    pub options: TcpOptions,
    /// The ECN bits of its IP header.
    pub ecn: u8,
    /// Payload; up to 64 KiB when the device coalesced.
    pub payload: Bytes,
    /// Octets of memory that the payload pins.
    pub buffer_bytes: u32,
}

impl Segment {
    /// The parsed header with its payload, a slice of a buffer of `buffer_bytes` octets.
    pub fn new(parsed: &ParsedTcp, payload: Bytes, buffer_bytes: u32) -> Self {
        Self {
            seq: SeqNum(parsed.header.seq),
            ack: SeqNum(parsed.header.ack),
            flags: parsed.header.flags,
            window: parsed.header.window,
            options: parsed.options,
            ecn: 0,
            payload,
            buffer_bytes,
        }
    }

    /// The same from a packet with this traffic class.
    #[must_use]
    pub fn with_traffic_class(self, traffic_class: u8) -> Self {
        Self { ecn: traffic_class & 0b11, ..self }
    }

    /// True with SYN set.
    pub fn is_syn(&self) -> bool {
        self.flags.contains(TcpFlags::SYN)
    }

    /// True with FIN set.
    pub fn is_fin(&self) -> bool {
        self.flags.contains(TcpFlags::FIN)
    }

    /// True with RST set.
    pub fn is_rst(&self) -> bool {
        self.flags.contains(TcpFlags::RST)
    }

    /// True with ACK set.
    pub fn is_ack(&self) -> bool {
        self.flags.contains(TcpFlags::ACK)
    }

    /// SEG.LEN: payload octets, SYN and FIN counted (RFC 9293 §3.3.1).
    pub fn seq_len(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.is_syn()) + u32::from(self.is_fin())
    }

    /// The number after the segment's last.
    pub fn end(&self) -> SeqNum {
        self.seq + self.seq_len()
    }
}

/// A segment to be sent; the host adds addresses, ports and checksums.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK; zero without the ACK flag.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
    /// The window field, already scaled.
    pub window: u16,
    /// Options.
    pub options: OptionBuf,
    /// Payload, shared with the send buffer.
    pub payload: Bytes,
    /// Payload octets per segment on the wire, should the payload need more than one.
    pub mss: u16,
    /// The ECN bits of the IP header.
    pub ecn: u8,
    /// Its numbers were sent before: it counts as a retransmission.
    pub repeats: bool,
}

impl Outgoing {
    /// A segment without payload and options.
    pub fn bare(seq: SeqNum, ack: SeqNum, flags: TcpFlags, window: u16) -> Self {
        Self {
            seq,
            ack,
            flags,
            window,
            options: OptionBuf::EMPTY,
            payload: Bytes::new(),
            mss: u16::MAX,
            ecn: 0,
            repeats: false,
        }
    }

    /// Segments on the wire: more than one when the device cuts it.
    pub fn wire_segments(&self) -> u64 {
        self.payload.len().div_ceil(usize::from(self.mss).max(1)).max(1) as u64
    }

    /// The reset that answers `segment` where there is no connection (RFC 9293 §3.10.7.1); `None` when
    /// `segment` is itself a reset.
    pub fn reset_for(segment: &Segment) -> Option<Self> {
        if segment.is_rst() {
            None
        } else if segment.is_ack() {
            Some(Self::bare(segment.ack, SeqNum(0), TcpFlags::RST, 0))
        } else {
            Some(Self::bare(SeqNum(0), segment.end(), TcpFlags::RST | TcpFlags::ACK, 0))
        }
    }
}
