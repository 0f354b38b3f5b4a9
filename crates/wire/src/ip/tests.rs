use std::vec::Vec;

use super::*;

const V4: Addresses = Addresses::V4 { src: Ipv4Addr::new(192, 0, 2, 1), dst: Ipv4Addr::new(198, 51, 100, 2) };
const V6: Addresses = Addresses::V6 {
    src: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    dst: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
};

fn header(addresses: Addresses, payload_len: u16) -> IpHeader {
    let ident = if matches!(addresses, Addresses::V4 { .. }) { 0x1234 } else { 0 };
    IpHeader { addresses, protocol: PROTOCOL_TCP, hop_limit: 64, traffic_class: 0x2a, ident, payload_len }
}

fn packet(addresses: Addresses, payload_len: u16) -> Vec<u8> {
    let mut packet = std::vec![0; 40 + usize::from(payload_len)];
    let len = header(addresses, payload_len).emit(&mut packet);
    packet.truncate(len + usize::from(payload_len));
    packet
}

/// Writes the right checksum into an IPv4 header that a test has changed.
fn repair(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 0x0f) * 4;
    packet[10..12].fill(0);
    let mut sum = Sum::ZERO;
    sum.add_bytes(&packet[..len]);
    packet[10..12].copy_from_slice(&sum.finish().to_be_bytes());
}

#[test]
fn headers_are_as_drawn() {
    let octets = [0x45, 0x2a, 0, 30, 0x12, 0x34, 0x40, 0, 64, 6, 0x3c, 0x45, 192, 0, 2, 1, 198, 51, 100, 2];
    let mut sum = 0_u32;
    for pair in octets.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair[1]);
    }
    assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff, "the test's checksum");
    assert_eq!(packet(V4, 10)[..20], octets);
    let octets = [0x62, 0xa0, 0, 0, 0, 10, 6, 64, 0x20, 0x01, 0x0d, 0xb8];
    assert_eq!(packet(V6, 10)[..12], octets);
}

#[test]
fn what_is_emitted_is_parsed_back_whatever_the_link_adds() {
    for (addresses, len, largest) in [(V4, 20, 65_515), (V6, 40, 65_535)] {
        for payload_len in [1, 20, 1460, 65_000, largest] {
            let mut packet = packet(addresses, payload_len);
            let total_len = len + usize::from(payload_len);
            packet.extend([0xff; 6]);
            let header = header(addresses, payload_len);
            assert_eq!(parse(&packet), Ok(ParsedIp { header, payload_offset: len, total_len }));
            assert_eq!(parse(&packet[..total_len - 1]), Err(IpError::Truncated));
        }
    }
}

#[test]
fn short_and_foreign_packets_are_refused() {
    for addresses in [V4, V6] {
        let packet = packet(addresses, 8);
        for len in 0..packet.len() {
            assert_eq!(parse(&packet[..len]), Err(IpError::Truncated), "{len}");
        }
    }
    for version in (0..16).filter(|version| !matches!(version, 4 | 6)) {
        assert_eq!(parse(&[version << 4; 60]), Err(IpError::Version));
    }
}

#[test]
fn a_damaged_ipv4_header_is_refused() {
    let good = packet(V4, 8);
    for at in 1..V4_HEADER_LEN {
        for bit in 0..8 {
            let mut packet = good.clone();
            packet[at] ^= 1 << bit;
            assert!(parse(&packet).is_err(), "octet {at}, bit {bit}");
        }
    }
    let mut short = good.clone();
    short[0] = 0x44;
    assert_eq!(parse(&short), Err(IpError::HeaderLength));
    let mut short = good;
    short[3] = 19;
    assert_eq!(parse(&short), Err(IpError::HeaderLength));
}

#[test]
fn ipv4_options_are_skipped() {
    let mut packet = packet(V4, 8);
    packet[0] = 0x47;
    repair(&mut packet);
    let parsed = parse(&packet).expect("options are allowed");
    assert_eq!((parsed.payload_offset, parsed.header.payload_len, parsed.total_len), (28, 0, 28));
    packet[0] = 0x48;
    assert_eq!(parse(&packet), Err(IpError::HeaderLength), "longer than the packet");
}

#[test]
fn ipv4_fragments_are_refused_with_and_without_df() {
    for (field, fragment) in [(0x2000, true), (0x0001, true), (0x1fff, true), (0x6000, true), (0, false)] {
        let mut packet = packet(V4, 8);
        packet[6..8].copy_from_slice(&u16::to_be_bytes(field));
        repair(&mut packet);
        assert_eq!(parse(&packet).err(), fragment.then_some(IpError::Fragment), "{field:#x}");
    }
}

/// An IPv6 packet with these extension headers and eight octets of payload. The first octet of each is
/// filled in: the type of the next, which `kinds` gives.
fn chain(extensions: &[(u8, &[u8])]) -> Vec<u8> {
    let len: usize = extensions.iter().map(|(_, octets)| octets.len()).sum();
    let mut packet = packet(V6, len as u16 + 8);
    packet.truncate(V6_HEADER_LEN);
    let mut next_at = 6;
    for (kind, octets) in extensions {
        packet[next_at] = *kind;
        next_at = packet.len();
        packet.extend_from_slice(octets);
    }
    packet[next_at] = PROTOCOL_TCP;
    packet.extend([0xee; 8]);
    packet
}

/// An options header whose eight octets are padding.
const PADDED: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
const ROUTED: [u8; 8] = [0, 0, 4, 0, 0, 0, 0, 0];
const ATOMIC: [u8; 8] = [0, 0, 0, 0, 1, 2, 3, 4];

#[test]
fn harmless_extension_headers_are_skipped() {
    let long = [0, 1, 5, 2, 0, 0, 1, 0, 0, 0x3e, 5, 1, 2, 3, 4, 5]; // router alert, padding, unknown
    let chains: [&[(u8, &[u8])]; 5] = [
        &[],
        &[(V6_HOP_BY_HOP, &PADDED)],
        &[(V6_DESTINATION_OPTIONS, &long), (V6_ROUTING, &ROUTED)],
        &[
            (V6_HOP_BY_HOP, &long),
            (V6_ROUTING, &ROUTED),
            (V6_FRAGMENT, &ATOMIC),
            (V6_DESTINATION_OPTIONS, &PADDED),
        ],
        &[(V6_DESTINATION_OPTIONS, &PADDED[..]); V6_EXTENSIONS_MAX],
    ];
    for extensions in chains {
        let packet = chain(extensions);
        let parsed = parse(&packet).expect("harmless");
        assert_eq!(parsed.header, header(V6, 8));
        assert_eq!(parsed.payload_offset, packet.len() - 8);
        assert_eq!(parsed.total_len, packet.len());
    }
}

#[test]
fn other_extension_headers_are_refused() {
    let fault = |extensions: &[(u8, &[u8])]| parse(&chain(extensions)).err();
    assert_eq!(
        fault(&[(V6_DESTINATION_OPTIONS, &PADDED[..]); V6_EXTENSIONS_MAX + 1]),
        Some(IpError::Extension)
    );
    let late = [(V6_DESTINATION_OPTIONS, &PADDED[..]), (V6_HOP_BY_HOP, &PADDED)];
    assert_eq!(fault(&late), Some(IpError::Extension), "hop-by-hop options come first");
    let mut on_its_way = ROUTED;
    on_its_way[3] = 1;
    assert_eq!(fault(&[(V6_ROUTING, &on_its_way)]), Some(IpError::Extension));
    for field in [1, 8, 0xfff8] {
        let mut fragment = ATOMIC;
        fragment[2..4].copy_from_slice(&u16::to_be_bytes(field));
        assert_eq!(fault(&[(V6_FRAGMENT, &fragment)]), Some(IpError::Fragment), "{field:#x}");
    }
    for kind in [0x40, 0x80, 0xc2] {
        assert_eq!(fault(&[(V6_HOP_BY_HOP, &[0, 0, kind, 4, 0, 0, 0, 0])]), Some(IpError::Extension));
    }
    assert_eq!(
        fault(&[(V6_HOP_BY_HOP, &[0, 0, 1, 5, 0, 0, 0, 0])]),
        Some(IpError::Extension),
        "option too long"
    );
    assert_eq!(fault(&[(V6_HOP_BY_HOP, &[0, 0, 0, 0, 0, 0, 0, 1])]), Some(IpError::Extension), "no length");
    assert_eq!(
        fault(&[(V6_HOP_BY_HOP, &[0, 2, 1, 4, 0, 0, 0, 0])]),
        Some(IpError::Truncated),
        "header too long"
    );
}

#[test]
fn an_ipv6_packet_without_payload_length_is_refused() {
    let mut packet = packet(V6, 8);
    packet[4..6].fill(0);
    assert_eq!(parse(&packet), Err(IpError::Jumbogram));
}

#[test]
fn a_quoted_packet_may_be_cut_off_and_changed_on_its_way() {
    for addresses in [V4, V6] {
        let mut packet = packet(addresses, 1000);
        packet[8] ^= u8::from(addresses == V4); // the TTL, without an update of the checksum
        let len = header(addresses, 0).len();
        let quoted = parse_quoted(&packet[..len + 8]).expect("eight octets of transport");
        assert_eq!((quoted.addresses, quoted.protocol, quoted.payload.len()), (addresses, PROTOCOL_TCP, 8));
        assert!(parse_quoted(&packet[..len - 1]).is_none());
    }
    let mut later_fragment = packet(V4, 100);
    later_fragment[7] = 1;
    assert!(parse_quoted(&later_fragment).is_none());
    assert!(parse_quoted(&[]).is_none());
    assert!(parse_quoted(&[0x41; 60]).is_none());
}
