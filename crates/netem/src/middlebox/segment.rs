//! A TCP packet taken apart, changed, and put together again with right lengths and checksums.

use alloc::vec::Vec;
use core::net::SocketAddr;

use polytcp_wire::addresses::Addresses;
use polytcp_wire::ip::{self, IpHeader, PROTOCOL_TCP, rewrite};
use polytcp_wire::tcp::{self, OptionBuf, TcpFlags, TcpHeader, TcpOptions};

use crate::middlebox::Direction;
use crate::middlebox::flow::Flow;

/// A TCP packet. What a box does not change comes out as it went in.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// The IP header as it came, with its options or extension headers.
    ip: Vec<u8>,
    /// Source and destination.
    pub(crate) addresses: Addresses,
    /// Identification of an IPv4 packet.
    pub(crate) ident: u16,
    pub(crate) header: TcpHeader,
    reserved_bits: u8,
    /// The options' octets, padding included.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    /// Takes a packet apart; `None` for what is not a whole TCP packet with a right checksum.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let parsed = ip::parse(packet).ok()?;
        let IpHeader { addresses, protocol, ident, .. } = parsed.header;
        let octets = packet.get(parsed.payload_offset..parsed.total_len)?;
        if protocol != PROTOCOL_TCP || !tcp::verify_checksum(&addresses, octets) {
            return None;
        }
        let segment = tcp::parse(octets).ok()?;
        Some(Self {
            ip: packet[..parsed.payload_offset].to_vec(),
            addresses,
            ident,
            header: segment.header,
            reserved_bits: tcp::reserved_bits(octets),
            options: octets[tcp::HEADER_LEN..segment.payload_offset].to_vec(),
            payload: octets[segment.payload_offset..].to_vec(),
        })
    }

    /// A packet of the box's own, without options and payload.
    pub(crate) fn new(addresses: Addresses, header: TcpHeader) -> Self {
        let ident = 0;
        let ip_header = IpHeader {
            addresses,
            protocol: PROTOCOL_TCP,
            hop_limit: 64,
            traffic_class: 0,
            ident,
            payload_len: 0,
        };
        let mut ip = alloc::vec![0; ip_header.len()];
        ip_header.emit(&mut ip);
        Self { ip, addresses, ident, header, reserved_bits: 0, options: Vec::new(), payload: Vec::new() }
    }

    /// The packet, with lengths and checksums as they have to be.
    ///
    /// # Panics
    /// If options or payload have grown beyond what an IP packet holds.
    pub(crate) fn emit(&self) -> Vec<u8> {
        let options = OptionBuf::from_octets(&self.options).expect("options only shrink or stay");
        let mut header = [0; tcp::HEADER_LEN_MAX];
        let header_len = self.header.emit(&options, &mut header);
        let header = &mut header[..header_len];
        tcp::set_reserved_bits(header, self.reserved_bits);
        let checksum = tcp::checksum_full(&self.addresses, header, &self.payload);
        header[tcp::CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum.to_be_bytes());
        let mut packet = [&self.ip, &*header, &self.payload].concat();
        rewrite::set_ident(&mut packet, self.ident).expect("it was parsed or made here");
        rewrite::set_addresses(&mut packet, &self.addresses).expect("a box keeps the family");
        rewrite::set_total_len(&mut packet).expect("boxes cut what grows");
        packet
    }

    /// The same headers on another payload.
    pub(crate) fn with_payload(&self, payload: &[u8]) -> Self {
        let Self { ip, addresses, ident, header, reserved_bits, options, payload: _ } = self;
        Self {
            ip: ip.clone(),
            addresses: *addresses,
            ident: *ident,
            header: *header,
            reserved_bits: *reserved_bits,
            options: options.clone(),
            payload: payload.to_vec(),
        }
    }

    /// Octets of the packet.
    pub(crate) fn len(&self) -> usize {
        self.header_len() + self.payload.len()
    }

    /// Octets of IP and TCP header.
    pub(crate) fn header_len(&self) -> usize {
        self.ip.len() + tcp::HEADER_LEN + self.options.len()
    }

    /// The two ends, as seen by a packet that goes in `direction`.
    pub(crate) fn flow(&self, direction: Direction) -> Flow {
        let (src, dst) = (self.src(), self.dst());
        match direction {
            Direction::Outward => Flow { inside: src, outside: dst },
            Direction::Inward => Flow { inside: dst, outside: src },
        }
    }

    /// The flow in the segment's own direction alone: from source to destination.
    pub(crate) fn one_way(&self) -> Flow {
        Flow { inside: self.src(), outside: self.dst() }
    }

    pub(crate) fn src(&self) -> SocketAddr {
        SocketAddr::new(self.addresses.src(), self.header.src_port)
    }

    pub(crate) fn dst(&self) -> SocketAddr {
        SocketAddr::new(self.addresses.dst(), self.header.dst_port)
    }

    pub(crate) fn has(&self, flags: TcpFlags) -> bool {
        self.header.flags.contains(flags)
    }

    /// A SYN or SYN/ACK.
    pub(crate) fn is_syn(&self) -> bool {
        self.has(TcpFlags::SYN)
    }

    /// The sequence number of the first octet of payload.
    pub(crate) fn payload_seq(&self) -> u32 {
        self.header.seq.wrapping_add(u32::from(self.is_syn()))
    }

    /// A SYN that opens a connection, as against a SYN/ACK.
    pub(crate) fn is_first_syn(&self) -> bool {
        self.has(TcpFlags::SYN) && !self.has(TcpFlags::ACK)
    }

    /// Sequence numbers that the segment takes.
    pub(crate) fn seq_len(&self) -> u32 {
        let bit = |flag| u32::from(self.has(flag));
        self.payload.len() as u32 + bit(TcpFlags::SYN) + bit(TcpFlags::FIN)
    }

    /// The sequence number after the segment.
    pub(crate) fn seq_end(&self) -> u32 {
        self.header.seq.wrapping_add(self.seq_len())
    }

    /// The options as values.
    pub(crate) fn typed_options(&self) -> TcpOptions {
        TcpOptions::parse(&self.options)
    }

    /// The reset that answers this segment where no connection is (RFC 9293 §3.10.7.1); none for a
    /// reset.
    pub(crate) fn reset(&self) -> Option<Self> {
        if self.has(TcpFlags::RST) {
            return None;
        }
        let (seq, ack, flags) = if self.has(TcpFlags::ACK) {
            (self.header.ack, 0, TcpFlags::RST)
        } else {
            (0, self.seq_end(), TcpFlags::RST | TcpFlags::ACK)
        };
        let (src_port, dst_port) = (self.header.dst_port, self.header.src_port);
        let header = TcpHeader { src_port, dst_port, seq, ack, flags, window: 0, urgent: 0 };
        Some(Self::new(self.addresses.reversed(), header))
    }
}

#[cfg(test)]
mod tests {
    use polytcp_wire::checksum;

    use super::*;
    use crate::middlebox::testing::*;

    #[test]
    fn what_is_taken_apart_and_put_together_is_as_it_was() {
        for family in FAMILIES {
            let tcp = Tcp::new(family, Direction::Outward, ACK, 1, 2).times(3, 4).sack(5, 6).data(b"odd");
            let mut packet = tcp.packet();
            // Bits that nothing here has a name for: reserved ones of TCP, and a flow label.
            let at = if family == Family::V4 { 20 } else { 40 };
            let word = |packet: &[u8], at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
            let before = word(&packet, at + 12);
            packet[at + 12] |= 0x0b;
            let checksum = checksum::update(word(&packet, at + 16), before, word(&packet, at + 12));
            packet[at + 16..at + 18].copy_from_slice(&checksum.to_be_bytes());
            if family == Family::V6 {
                packet[1..4].copy_from_slice(&[0x07, 0x65, 0x43]);
            }
            let segment = Segment::parse(&packet).expect("a segment");
            assert_eq!(segment.emit(), packet);
            assert_eq!(segment.len(), packet.len());
        }
    }

    #[test]
    fn the_reset_of_a_segment_fits_its_numbers() {
        let segment = |flags, payload: &[u8]| {
            let tcp = Tcp::new(Family::V6, Direction::Outward, flags, 10, 20).data(payload);
            Segment::parse(&tcp.packet()).expect("a segment")
        };
        let reset = |flags, payload| segment(flags, payload).reset().map(|reset| read(&reset.emit()).tcp);
        let of_syn = reset(SYN, b"").expect("a reset");
        assert_eq!((of_syn.seq, of_syn.ack, of_syn.flags), (0, 11, TcpFlags::RST | ACK));
        let of_data = reset(ACK, b"abc").expect("a reset");
        assert_eq!((of_data.seq, of_data.flags), (20, TcpFlags::RST));
        assert_eq!((of_data.src_port, of_data.dst_port), (80, 40_000));
        assert_eq!(reset(TcpFlags::RST, b""), None);
    }
}
