//! Where things are in the headers of a TCP packet, for those who change them in place.
//!
//! The host parses packets into types (`polytcp_wire`); cutting and joining packets instead keeps
//! nearly all octets as they are, whatever they mean, and rewrites the few that count or number.

use polytcp_proto::packet::HEADER_LEN_MAX;
use polytcp_wire::checksum::{Sum, pseudo_header};
use polytcp_wire::ip::{PROTOCOL_TCP, V4_HEADER_LEN, V6_HEADER_LEN};
use polytcp_wire::tcp;
use polytcp_wire::virtio::SegmentationKind;
use std::net::{Ipv4Addr, Ipv6Addr};

use polytcp_wire::ip::Addresses;

/// Offset of the checksum field in a TCP header, as a virtio header states it.
pub(crate) const CHECKSUM_OFFSET: u16 = tcp::CHECKSUM_OFFSET as u16;

const V4_LEN: usize = 2;
const V4_IDENT: usize = 4;
const V4_FRAGMENT: usize = 6;
const V4_PROTOCOL: usize = 9;
const V4_CHECKSUM: usize = 10;
const V6_LEN: usize = 4;
const V6_NEXT_HEADER: usize = 6;
const SEQ: usize = 4;
const DATA_OFFSET: usize = 12;
const FLAGS: usize = 13;

/// Where the headers of one TCP packet begin and end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    /// The IP version.
    pub(crate) kind: SegmentationKind,
    /// Octets of IP header.
    pub(crate) ip_len: usize,
    /// Octets of IP and TCP header, at most [`HEADER_LEN_MAX`].
    pub(crate) header_len: usize,
}

impl Layout {
    /// The layout of a packet that begins with `octets`, or `None` for what is not whole headers of an
    /// unfragmented TCP packet (IPv6 extension headers make it foreign too).
    pub(crate) fn of(octets: &[u8]) -> Option<Self> {
        let (kind, ip_len) = match octets.first()? >> 4 {
            4 => {
                let ip = octets.get(..V4_HEADER_LEN)?;
                let fragmented = (ip[V4_FRAGMENT] & 0x3f) != 0 || ip[V4_FRAGMENT + 1] != 0;
                if ip[V4_PROTOCOL] != PROTOCOL_TCP || fragmented {
                    return None;
                }
                (SegmentationKind::Tcp4, usize::from(ip[0] & 0xf) * 4)
            }
            6 if *octets.get(V6_NEXT_HEADER)? == PROTOCOL_TCP => (SegmentationKind::Tcp6, V6_HEADER_LEN),
            _ => return None,
        };
        let tcp_len = usize::from(*octets.get(ip_len + DATA_OFFSET)? >> 4) * 4;
        let header_len = ip_len + tcp_len;
        let whole = ip_len >= V4_HEADER_LEN && tcp_len >= tcp::HEADER_LEN;
        (whole && header_len <= octets.len().min(HEADER_LEN_MAX)).then_some(Self { kind, ip_len, header_len })
    }

    /// States in the IP header that `payload_len` octets follow the headers, and completes the IPv4
    /// header's checksum. `None` when they exceed an IP packet.
    pub(crate) fn set_payload_len(&self, header: &mut [u8], payload_len: usize) -> Option<()> {
        let len = self.header_len + payload_len;
        match self.kind {
            SegmentationKind::Tcp4 => {
                header[V4_LEN..V4_LEN + 2].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
                header[V4_CHECKSUM..V4_CHECKSUM + 2].fill(0);
                let mut sum = Sum::ZERO;
                sum.add_bytes(&header[..self.ip_len]);
                header[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&sum.finish().to_be_bytes());
            }
            SegmentationKind::Tcp6 => {
                let len = u16::try_from(len - V6_HEADER_LEN).ok()?;
                header[V6_LEN..V6_LEN + 2].copy_from_slice(&len.to_be_bytes());
            }
        }
        Some(())
    }

    /// Whether the IPv4 header's checksum is right; true for IPv6, which has none.
    pub(crate) fn ip_checksum_is_right(&self, header: &[u8]) -> bool {
        let mut sum = Sum::ZERO;
        sum.add_bytes(&header[..self.ip_len]);
        self.kind == SegmentationKind::Tcp6 || sum.finish() == 0
    }

    /// Octets of payload that the IP header states; `None` when it states less than the headers.
    pub(crate) fn payload_len(&self, header: &[u8]) -> Option<usize> {
        let len = match self.kind {
            SegmentationKind::Tcp4 => usize::from(u16_at(header, V4_LEN)),
            SegmentationKind::Tcp6 => usize::from(u16_at(header, V6_LEN)) + V6_HEADER_LEN,
        };
        len.checked_sub(self.header_len)
    }

    /// The identification of an IPv4 packet.
    pub(crate) fn ident(&self, header: &[u8]) -> Option<u16> {
        (self.kind == SegmentationKind::Tcp4).then(|| u16_at(header, V4_IDENT))
    }

    /// Writes the identification of an IPv4 packet; its header checksum is then to be completed by
    /// [`set_payload_len`](Self::set_payload_len).
    pub(crate) fn set_ident(&self, header: &mut [u8], ident: u16) {
        if self.kind == SegmentationKind::Tcp4 {
            header[V4_IDENT..V4_IDENT + 2].copy_from_slice(&ident.to_be_bytes());
        }
    }

    /// Whether an IPv4 packet must not be fragmented, so that its identification means nothing
    /// (RFC 6864 §4.1). True for IPv6, which has none.
    pub(crate) fn is_atomic(&self, header: &[u8]) -> bool {
        self.kind == SegmentationKind::Tcp6 || header[V4_FRAGMENT] & 0x40 != 0
    }

    /// The sequence number.
    pub(crate) fn seq(&self, header: &[u8]) -> u32 {
        let at = self.ip_len + SEQ;
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    }

    /// Writes the sequence number.
    pub(crate) fn set_seq(&self, header: &mut [u8], seq: u32) {
        let at = self.ip_len + SEQ;
        header[at..at + 4].copy_from_slice(&seq.to_be_bytes());
    }

    /// The flags.
    pub(crate) fn flags(&self, header: &[u8]) -> tcp::TcpFlags {
        tcp::TcpFlags(header[self.ip_len + FLAGS])
    }

    /// Writes the flags.
    pub(crate) fn set_flags(&self, header: &mut [u8], flags: tcp::TcpFlags) {
        header[self.ip_len + FLAGS] = flags.0;
    }

    /// Writes the TCP checksum field.
    pub(crate) fn set_checksum(&self, header: &mut [u8], checksum: u16) {
        let at = self.ip_len + tcp::CHECKSUM_OFFSET;
        header[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }

    /// The sum of the pseudo-header for `payload_len` octets of payload.
    pub(crate) fn pseudo_header(&self, header: &[u8], payload_len: usize) -> Sum {
        let tcp_len = self.header_len - self.ip_len + payload_len;
        pseudo_header(&self.addresses(header), PROTOCOL_TCP, tcp_len as u32)
    }

    /// The sum over everything that the TCP checksum covers, its own field included; all ones for a
    /// packet whose checksum is right.
    pub(crate) fn sum(&self, header: &[u8], payload: &[u8]) -> Sum {
        let mut sum = self.pseudo_header(header, payload.len());
        sum.add_bytes(&header[self.ip_len..self.header_len]);
        sum.add_bytes(payload);
        sum
    }

    /// `header` with everything zeroed that differs between the segments of one super-packet, so that
    /// what is left says whether two packets can be of one.
    pub(crate) fn kinship(&self, header: &[u8]) -> [u8; HEADER_LEN_MAX] {
        let mut kin = [0; HEADER_LEN_MAX];
        kin[..self.header_len].copy_from_slice(&header[..self.header_len]);
        match self.kind {
            SegmentationKind::Tcp4 => {
                kin[V4_LEN..V4_IDENT + 2].fill(0);
                kin[V4_CHECKSUM..V4_CHECKSUM + 2].fill(0);
            }
            SegmentationKind::Tcp6 => kin[V6_LEN..V6_LEN + 2].fill(0),
        }
        self.set_seq(&mut kin, 0);
        self.set_checksum(&mut kin, 0);
        let flags = self.flags(header);
        self.set_flags(&mut kin, flags.without(FIRST_ONLY).without(LAST_ONLY));
        kin
    }

    fn addresses(&self, header: &[u8]) -> Addresses {
        match self.kind {
            SegmentationKind::Tcp4 => {
                let at =
                    |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
                Addresses::V4 { src: at(12), dst: at(16) }
            }
            SegmentationKind::Tcp6 => {
                let at = |at: usize| {
                    let octets: [u8; 16] = header[at..at + 16].try_into().expect("sixteen octets");
                    Ipv6Addr::from(octets)
                };
                Addresses::V6 { src: at(8), dst: at(24) }
            }
        }
    }
}

/// Flags that only the first segment of a super-packet carries.
pub(crate) const FIRST_ONLY: tcp::TcpFlags = tcp::TcpFlags::CWR;
/// Flags that only the last segment of a super-packet carries.
pub(crate) const LAST_ONLY: tcp::TcpFlags = tcp::TcpFlags::FIN.union(tcp::TcpFlags::PSH);

fn u16_at(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_unfragmented_tcp_headers_have_a_layout() {
        let mut packet = [0u8; 40];
        packet[0] = 0x45;
        packet[V4_PROTOCOL] = PROTOCOL_TCP;
        packet[20 + DATA_OFFSET] = 5 << 4;
        let layout = Layout::of(&packet).expect("whole headers");
        assert_eq!((layout.ip_len, layout.header_len), (20, 40));
        assert_eq!(Layout::of(&packet[..39]), None);
        let changed = |at: usize, to: u8| {
            let mut packet = packet;
            packet[at] = to;
            Layout::of(&packet)
        };
        assert_eq!(changed(0, 0x44), None, "short IPv4 header");
        assert_eq!(changed(0, 0x4f), None, "options beyond the end");
        assert_eq!(changed(V4_PROTOCOL, 17), None);
        assert_eq!(changed(V4_FRAGMENT, 0x20), None, "more fragments");
        assert_eq!(changed(V4_FRAGMENT + 1, 1), None, "a later fragment");
        assert_eq!(changed(20 + DATA_OFFSET, 4 << 4), None, "short TCP header");
        assert!(changed(V4_FRAGMENT, 0x40).is_some(), "don't fragment");
        assert_eq!(Layout::of(&[]), None);
    }
}
