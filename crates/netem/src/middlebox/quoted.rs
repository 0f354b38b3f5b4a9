//! ICMP errors about TCP segments, for boxes that translate: the error goes back to who sent the segment, and has to
//! quote it as it was sent (RFC 5508 §4).

use alloc::vec::Vec;
use core::net::SocketAddr;

use polytcp_wire::addresses::Addresses;
use polytcp_wire::icmp::{self, IcmpMessage, Original};
use polytcp_wire::ip::{self, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, rewrite};

use crate::middlebox::Direction;
use crate::middlebox::flow::Flow;

/// An ICMP error, and the start of the TCP segment that it quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted {
    /// Of the error itself.
    pub(crate) addresses: Addresses,
    /// Of the segment.
    pub(crate) original: Original,
    message_at: usize,
    total_len: usize,
}

impl Quoted {
    /// Takes a packet apart; `None` for all but a sound ICMP error that quotes TCP.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let parsed = ip::parse(packet).ok()?;
        let addresses = parsed.header.addresses;
        let message = packet.get(parsed.payload_offset..parsed.total_len)?;
        let read = match (&addresses, parsed.header.protocol) {
            (Addresses::V4 { .. }, PROTOCOL_ICMP) => icmp::parse_v4(message),
            (Addresses::V6 { .. }, PROTOCOL_ICMPV6) => icmp::parse_v6(&addresses, message),
            _ => return None,
        };
        let Ok(IcmpMessage::Error { kind: _, original }) = read else { return None };
        (original.protocol == PROTOCOL_TCP).then_some(Self {
            addresses,
            original,
            message_at: parsed.payload_offset,
            total_len: parsed.total_len,
        })
    }

    /// Who sent the segment.
    pub(crate) fn src(&self) -> SocketAddr {
        SocketAddr::new(self.original.addresses.src(), self.original.src_port)
    }

    /// Whom the segment was for.
    pub(crate) fn dst(&self) -> SocketAddr {
        SocketAddr::new(self.original.addresses.dst(), self.original.dst_port)
    }

    /// The flow of the segment, which went the other way than the error, which goes in `direction`.
    pub(crate) fn flow(&self, direction: Direction) -> Flow {
        match direction {
            Direction::Inward => Flow { inside: self.src(), outside: self.dst() },
            Direction::Outward => Flow { inside: self.dst(), outside: self.src() },
        }
    }

    /// `packet`, from which this was parsed, with what was changed here.
    pub(crate) fn emit(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut out = packet.get(..self.total_len)?.to_vec();
        rewrite::set_addresses(&mut out, &self.addresses).ok()?;
        icmp::replace_quoted(&self.addresses, &mut out[self.message_at..], &self.original)?;
        Some(out)
    }
}
