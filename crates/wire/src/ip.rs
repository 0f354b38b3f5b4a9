//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers, as a host at the end of the path sees them.
//!
//! IPv4 options and the IPv6 extension headers that a destination may ignore are skipped. Fragments are
//! refused, not reassembled: TCP sends with DF, and its peers discover the path's MTU.

pub mod rewrite;
#[cfg(test)]
mod tests;

use core::net::{Ipv4Addr, Ipv6Addr};

pub use crate::addresses::Addresses;
use crate::checksum::Sum;

/// Protocol number of ICMP for IPv4.
pub const PROTOCOL_ICMP: u8 = 1;
/// Protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Protocol number of ICMP for IPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;

/// Octets of an IPv4 header without options.
pub const V4_HEADER_LEN: usize = 20;
/// Octets of an IPv6 header without extension headers.
pub const V6_HEADER_LEN: usize = 40;

const V4_DONT_FRAGMENT: u16 = 0x4000;
/// MF and the fragment offset.
const V4_FRAGMENT: u16 = 0x3fff;

const V6_HOP_BY_HOP: u8 = 0;
const V6_ROUTING: u8 = 43;
const V6_FRAGMENT: u8 = 44;
const V6_DESTINATION_OPTIONS: u8 = 60;
/// More extension headers than this are refused. RFC 8504 §5.3 lets a host set such a limit; honest
/// traffic has at most a hop-by-hop, a routing, a fragment and two destination options headers.
const V6_EXTENSIONS_MAX: usize = 8;

/// What a host needs of an IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpHeader {
    /// Source and destination; their family says which header it is.
    pub addresses: Addresses,
    /// Protocol of the payload, after any IPv6 extension headers.
    pub protocol: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// DSCP (upper six bits) and ECN (lower two).
    pub traffic_class: u8,
    /// Identification of an IPv4 packet; 0 and not sent for IPv6.
    pub ident: u16,
    /// Octets of payload, after IPv4 options and IPv6 extension headers.
    pub payload_len: u16,
}

/// An IP header and where things are in its packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParsedIp {
    /// The header.
    pub header: IpHeader,
    /// Offset of the payload, after IPv4 options and IPv6 extension headers.
    pub payload_offset: usize,
    /// Octets of the IP packet; what follows is padding of the link. Never more than was given.
    pub total_len: usize,
}

/// Why a packet is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpError {
    /// Shorter than its header, or than the header says.
    Truncated,
    /// Neither IPv4 nor IPv6.
    Version,
    /// An IPv4 header length or total length that cannot be.
    HeaderLength,
    /// The IPv4 header checksum is wrong.
    Checksum,
    /// A part of a packet.
    Fragment,
    /// An IPv6 payload length of zero: a jumbogram (RFC 2675), or no payload at all.
    Jumbogram,
    /// Extension headers that this host must not ignore, or too many of them.
    Extension,
}

/// Reads the header of the IP packet at the front of `packet`.
///
/// # Errors
/// [`IpError`] for what is malformed, damaged, a fragment, or not addressed to its final destination.
#[inline]
pub fn parse(packet: &[u8]) -> Result<ParsedIp, IpError> {
    match packet.first() {
        None => Err(IpError::Truncated),
        Some(first) if first >> 4 == 4 => parse_v4(packet),
        Some(first) if first >> 4 == 6 => parse_v6(packet),
        Some(_) => Err(IpError::Version),
    }
}

impl IpHeader {
    /// Octets of the emitted header: 20 or 40.
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub const fn len(&self) -> usize {
        match self.addresses {
            Addresses::V4 { .. } => V4_HEADER_LEN,
            Addresses::V6 { .. } => V6_HEADER_LEN,
        }
    }

    /// Writes the header to the front of `out` and returns its length. IPv4 goes with DF and a
    /// complete header checksum; IPv6 with flow label 0.
    ///
    /// # Panics
    /// If `out` is shorter than [`len`](Self::len), or an IPv4 packet would exceed 65,535 octets.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        match self.addresses {
            Addresses::V4 { src, dst } => {
                let out = out.first_chunk_mut().expect("the caller's buffer holds a header");
                self.emit_v4(src, dst, out);
            }
            Addresses::V6 { src, dst } => {
                let out = out.first_chunk_mut().expect("the caller's buffer holds a header");
                self.emit_v6(src, dst, out);
            }
        }
        self.len()
    }

    fn emit_v4(&self, src: Ipv4Addr, dst: Ipv4Addr, out: &mut [u8; V4_HEADER_LEN]) {
        let total_len = self.payload_len.checked_add(V4_HEADER_LEN as u16);
        let total_len = total_len.expect("the sender cuts segments that fit an IP packet");
        out[0] = 0x45;
        out[1] = self.traffic_class;
        out[2..4].copy_from_slice(&total_len.to_be_bytes());
        out[4..6].copy_from_slice(&self.ident.to_be_bytes());
        out[6..8].copy_from_slice(&V4_DONT_FRAGMENT.to_be_bytes());
        out[8] = self.hop_limit;
        out[9] = self.protocol;
        out[10..12].fill(0);
        out[12..16].copy_from_slice(&src.octets());
        out[16..20].copy_from_slice(&dst.octets());
        let mut sum = Sum::ZERO;
        sum.add_bytes(out);
        out[10..12].copy_from_slice(&sum.finish().to_be_bytes());
    }

    fn emit_v6(&self, src: Ipv6Addr, dst: Ipv6Addr, out: &mut [u8; V6_HEADER_LEN]) {
        let first = 6 << 28 | u32::from(self.traffic_class) << 20;
        out[0..4].copy_from_slice(&first.to_be_bytes());
        out[4..6].copy_from_slice(&self.payload_len.to_be_bytes());
        out[6] = self.protocol;
        out[7] = self.hop_limit;
        out[8..24].copy_from_slice(&src.octets());
        out[24..40].copy_from_slice(&dst.octets());
    }
}

/// RFC 791 §3.1.
fn parse_v4(packet: &[u8]) -> Result<ParsedIp, IpError> {
    let (fixed, _) = packet.split_first_chunk::<V4_HEADER_LEN>().ok_or(IpError::Truncated)?;
    let field = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let total_len = field(2);
    let header_len = u16::from(fixed[0] & 0x0f) * 4;
    if usize::from(header_len) < V4_HEADER_LEN || total_len < header_len {
        return Err(IpError::HeaderLength);
    }
    let packet = packet.get(..usize::from(total_len)).ok_or(IpError::Truncated)?;
    let payload_offset = usize::from(header_len);
    let mut sum = Sum::ZERO;
    sum.add_bytes(&packet[..payload_offset]);
    if sum.finish() != 0 {
        return Err(IpError::Checksum);
    }
    if field(6) & V4_FRAGMENT != 0 {
        return Err(IpError::Fragment);
    }
    let header = IpHeader {
        addresses: v4_addresses(fixed),
        protocol: fixed[9],
        hop_limit: fixed[8],
        traffic_class: fixed[1],
        ident: field(4),
        payload_len: total_len - header_len,
    };
    Ok(ParsedIp { header, payload_offset, total_len: packet.len() })
}

/// RFC 8200 §3.
fn parse_v6(packet: &[u8]) -> Result<ParsedIp, IpError> {
    let (fixed, _) = packet.split_first_chunk::<V6_HEADER_LEN>().ok_or(IpError::Truncated)?;
    let payload_len = u16::from_be_bytes([fixed[4], fixed[5]]);
    if payload_len == 0 {
        return Err(IpError::Jumbogram);
    }
    let total_len = V6_HEADER_LEN + usize::from(payload_len);
    let packet = packet.get(..total_len).ok_or(IpError::Truncated)?;
    let Upper { protocol, skipped_len } = skip_extensions(fixed[6], &packet[V6_HEADER_LEN..])?;
    let header = IpHeader {
        addresses: v6_addresses(fixed),
        protocol,
        hop_limit: fixed[7],
        traffic_class: fixed[0] << 4 | fixed[1] >> 4,
        ident: 0,
        payload_len: payload_len - skipped_len,
    };
    Ok(ParsedIp { header, payload_offset: V6_HEADER_LEN + usize::from(skipped_len), total_len })
}

/// Where an IP packet that an ICMP error quotes has its payload. Its end is usually missing, and its
/// checksum is that of another hop.
pub(crate) struct Quoted<'a> {
    pub(crate) addresses: Addresses,
    pub(crate) protocol: u8,
    /// As much as is quoted.
    pub(crate) payload: &'a [u8],
}

/// Reads the quoted packet at the front of `packet`; `None` if its transport header is not there.
pub(crate) fn parse_quoted(packet: &[u8]) -> Option<Quoted<'_>> {
    match packet.first()? >> 4 {
        4 => {
            let (fixed, _) = packet.split_first_chunk::<V4_HEADER_LEN>()?;
            let offset = usize::from(fixed[0] & 0x0f) * 4;
            let fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & V4_FRAGMENT;
            if offset < V4_HEADER_LEN || fragment & 0x1fff != 0 {
                return None;
            }
            let (addresses, protocol) = (v4_addresses(fixed), fixed[9]);
            Some(Quoted { addresses, protocol, payload: packet.get(offset..)? })
        }
        6 => {
            let (fixed, rest) = packet.split_first_chunk::<V6_HEADER_LEN>()?;
            let Upper { protocol, skipped_len } = skip_extensions(fixed[6], rest).ok()?;
            let payload = rest.get(usize::from(skipped_len)..)?;
            Some(Quoted { addresses: v6_addresses(fixed), protocol, payload })
        }
        _ => None,
    }
}

fn v4_addresses(fixed: &[u8; V4_HEADER_LEN]) -> Addresses {
    let address = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
    Addresses::V4 { src: address(12), dst: address(16) }
}

fn v6_addresses(fixed: &[u8; V6_HEADER_LEN]) -> Addresses {
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&fixed[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    Addresses::V6 { src: address(8), dst: address(24) }
}

/// What follows the extension headers.
struct Upper {
    protocol: u8,
    skipped_len: u16,
}

/// Walks the extension headers at the front of `rest`, the first of which is of type `first`
/// (RFC 8200 §4). Each is at least eight octets long, and there is a limit to their number.
fn skip_extensions(first: u8, rest: &[u8]) -> Result<Upper, IpError> {
    let mut next = first;
    let mut skipped = 0;
    for count in 0..=V6_EXTENSIONS_MAX {
        let extension = &rest[skipped..];
        if !matches!(next, V6_HOP_BY_HOP | V6_ROUTING | V6_FRAGMENT | V6_DESTINATION_OPTIONS) {
            let skipped_len = u16::try_from(skipped).map_err(|_| IpError::Extension)?;
            return Ok(Upper { protocol: next, skipped_len });
        }
        if extension.len() < 8 {
            return Err(IpError::Truncated);
        }
        // A fragment header has a reserved octet where the others have a length.
        let len = if next == V6_FRAGMENT { 8 } else { 8 + usize::from(extension[1]) * 8 };
        let extension = extension.get(..len).ok_or(IpError::Truncated)?;
        match next {
            // Only the first header may be of this type (RFC 8200 §4.1).
            V6_HOP_BY_HOP if count > 0 => return Err(IpError::Extension),
            V6_HOP_BY_HOP | V6_DESTINATION_OPTIONS => check_options(&extension[2..])?,
            // With segments left, this is not the final destination, and the addresses are not those
            // of the pseudo-header (RFC 8200 §4.4).
            V6_ROUTING if extension[3] != 0 => return Err(IpError::Extension),
            V6_ROUTING => {}
            // An offset of zero and no more fragments: a whole packet (RFC 8200 §4.5, RFC 6946).
            _ if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff9 != 0 => {
                return Err(IpError::Fragment);
            }
            _ => {}
        }
        next = extension[0];
        skipped += len;
    }
    Err(IpError::Extension)
}

/// Whether every option of a hop-by-hop or destination options header may be ignored by a host that
/// does not know it: the two upper bits of its type are zero (RFC 8200 §4.2).
fn check_options(mut options: &[u8]) -> Result<(), IpError> {
    const PAD1: u8 = 0;
    while let [kind, rest @ ..] = options {
        if *kind == PAD1 {
            options = rest;
            continue;
        }
        if kind >> 6 != 0 {
            return Err(IpError::Extension);
        }
        let [len, rest @ ..] = rest else { return Err(IpError::Extension) };
        options = rest.get(usize::from(*len)..).ok_or(IpError::Extension)?;
    }
    Ok(())
}
