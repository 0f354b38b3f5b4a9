//! Single fields of IP headers, changed in place, for who stands in the middle of a path. The checksum of
//! an IPv4 header is completed again; what the transport's checksum covers is up to the caller.

use crate::addresses::Addresses;
use crate::checksum::Sum;
use crate::ip::{V4_DONT_FRAGMENT, V4_HEADER_LEN, V6_HEADER_LEN};

/// The packet is not whole IP of the family meant, or too long to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotIp;

/// States in the header that `packet` is as long as the slice.
///
/// # Errors
/// [`NotIp`] when there is no header, or the length exceeds its field.
pub fn set_total_len(packet: &mut [u8]) -> Result<(), NotIp> {
    let len = packet.len();
    match header(packet)? {
        Header::V4(header) => {
            let len = u16::try_from(len).map_err(|_| NotIp)?;
            header[2..4].copy_from_slice(&len.to_be_bytes());
            complete_v4(header);
        }
        Header::V6(header) => {
            let len = u16::try_from(len - V6_HEADER_LEN).map_err(|_| NotIp)?;
            header[4..6].copy_from_slice(&len.to_be_bytes());
        }
    }
    Ok(())
}

/// Writes source and destination.
///
/// # Errors
/// [`NotIp`] when there is no header of their family.
pub fn set_addresses(packet: &mut [u8], addresses: &Addresses) -> Result<(), NotIp> {
    match (header(packet)?, addresses) {
        (Header::V4(header), Addresses::V4 { src, dst }) => {
            header[12..16].copy_from_slice(&src.octets());
            header[16..20].copy_from_slice(&dst.octets());
            complete_v4(header);
        }
        (Header::V6(header), Addresses::V6 { src, dst }) => {
            header[8..24].copy_from_slice(&src.octets());
            header[24..40].copy_from_slice(&dst.octets());
        }
        (Header::V4(_), Addresses::V6 { .. }) | (Header::V6(_), Addresses::V4 { .. }) => return Err(NotIp),
    }
    Ok(())
}

/// Writes DSCP (upper six bits) and ECN (lower two).
///
/// # Errors
/// [`NotIp`] when there is no header.
pub fn set_traffic_class(packet: &mut [u8], traffic_class: u8) -> Result<(), NotIp> {
    match header(packet)? {
        Header::V4(header) => {
            header[1] = traffic_class;
            complete_v4(header);
        }
        Header::V6(header) => {
            header[0] = header[0] & 0xf0 | traffic_class >> 4;
            header[1] = traffic_class << 4 | header[1] & 0x0f;
        }
    }
    Ok(())
}

/// Writes the identification of an IPv4 packet; an IPv6 packet has none and stays as it is.
///
/// # Errors
/// [`NotIp`] when there is no header.
pub fn set_ident(packet: &mut [u8], ident: u16) -> Result<(), NotIp> {
    if let Header::V4(header) = header(packet)? {
        header[4..6].copy_from_slice(&ident.to_be_bytes());
        complete_v4(header);
    }
    Ok(())
}

/// Whether a router must not fragment the packet: DF is set, or it is IPv6.
pub fn must_not_fragment(packet: &[u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.get(6).is_some_and(|flags| u16::from(*flags) << 8 & V4_DONT_FRAGMENT != 0),
        _ => true,
    }
}

enum Header<'a> {
    /// With its options.
    V4(&'a mut [u8]),
    /// Without extension headers.
    V6(&'a mut [u8; V6_HEADER_LEN]),
}

fn header(packet: &mut [u8]) -> Result<Header<'_>, NotIp> {
    match packet.first().ok_or(NotIp)? >> 4 {
        4 => {
            let len = usize::from(packet[0] & 0x0f) * 4;
            let header = packet.get_mut(..len).filter(|header| header.len() >= V4_HEADER_LEN);
            header.map(Header::V4).ok_or(NotIp)
        }
        6 => packet.first_chunk_mut().map(Header::V6).ok_or(NotIp),
        _ => Err(NotIp),
    }
}

fn complete_v4(header: &mut [u8]) {
    header[10..12].fill(0);
    let mut sum = Sum::ZERO;
    sum.add_bytes(header);
    header[10..12].copy_from_slice(&sum.finish().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::ip::{IpHeader, PROTOCOL_TCP, parse};

    const V4: Addresses = Addresses::V4 { src: Ipv4Addr::new(10, 0, 0, 1), dst: Ipv4Addr::new(10, 0, 0, 2) };
    const V6: Addresses = Addresses::V6 { src: Ipv6Addr::LOCALHOST, dst: Ipv6Addr::UNSPECIFIED };

    fn packet(addresses: Addresses) -> (IpHeader, Vec<u8>) {
        let header = IpHeader {
            addresses,
            protocol: PROTOCOL_TCP,
            hop_limit: 64,
            traffic_class: 0x5a,
            ident: if matches!(addresses, V4) { 0x1234 } else { 0 },
            payload_len: 8,
        };
        let mut packet = vec![7; header.len() + 8];
        header.emit(&mut packet);
        (header, packet)
    }

    #[test]
    fn each_field_is_changed_alone() {
        for addresses in [V4, V6] {
            let (header, packet) = packet(addresses);
            let parsed = |packet: &[u8]| parse(packet).expect("well formed").header;

            let mut other = packet.clone();
            assert_eq!(set_addresses(&mut other, &addresses.reversed()), Ok(()));
            assert_eq!(parsed(&other), IpHeader { addresses: addresses.reversed(), ..header });

            let mut other = packet.clone();
            assert_eq!(set_traffic_class(&mut other, 0xa5), Ok(()));
            assert_eq!(parsed(&other), IpHeader { traffic_class: 0xa5, ..header });

            let mut other = packet.clone();
            other.extend([1, 2, 3]);
            assert_eq!(set_total_len(&mut other), Ok(()));
            assert_eq!(parsed(&other), IpHeader { payload_len: 11, ..header });

            let mut other = packet.clone();
            assert_eq!(set_ident(&mut other, 9), Ok(()));
            let ident = if addresses == V4 { 9 } else { 0 };
            assert_eq!(parsed(&other), IpHeader { ident, ..header });
            assert!(must_not_fragment(&packet));
        }
        let (_, mut fragmentable) = packet(V4);
        fragmentable[6] = 0;
        assert!(!must_not_fragment(&fragmentable));
    }

    #[test]
    fn what_is_not_ip_is_refused() {
        for len in 0..20 {
            assert_eq!(set_total_len(&mut vec![0x45; len]), Err(NotIp));
            assert_eq!(set_ident(&mut vec![0x60; len], 1), Err(NotIp));
        }
        assert_eq!(set_traffic_class(&mut [0x44; 40], 0), Err(NotIp), "a short header");
        assert_eq!(set_traffic_class(&mut [0x55; 40], 0), Err(NotIp), "another version");
        assert_eq!(set_addresses(&mut packet(V4).1, &V6), Err(NotIp));
        assert_eq!(set_total_len(&mut vec![0x45; 65_536]), Err(NotIp));
        assert_eq!(set_total_len(&mut vec![0x60; 65_576]), Err(NotIp));
    }
}
