use polytcp_wire::tcp::TcpFlags;
use polytcp_wire::virtio::SegmentationKind;
use proptest::prelude::*;

use super::*;
use crate::testing::{Tcp, octets, pattern};

fn cut_all(packet: Transmit, mtu: u16, checksums: Checksums) -> Vec<Transmit> {
    cut(packet, mtu, checksums).expect("it can be cut").map(Piece::into_packet).collect()
}

fn is_right(packet: &Transmit) -> bool {
    let octets = octets(packet);
    let ip = polytcp_wire::ip::parse(&octets).expect("a whole IP packet");
    ip.total_len == octets.len()
        && polytcp_wire::tcp::verify_checksum(&ip.header.addresses, &octets[ip.payload_offset..])
}

#[test]
fn a_completed_checksum_is_right_by_an_independent_check() {
    for kind in [SegmentationKind::Tcp4, SegmentationKind::Tcp6] {
        for len in [0, 1, 2, 999, 1_000] {
            let mut packet = Tcp { kind, payload: pattern(len), ..Tcp::default() }.packet();
            assert!(!is_right(&packet));
            complete(&mut packet).expect("the field is there");
            assert!(is_right(&packet));
            assert_eq!(packet.vnet.checksum, Checksum::Complete);
        }
    }
}

#[test]
fn a_sum_of_all_ones_is_a_checksum_of_zero_but_in_udp() {
    for (offset, zero) in [(CHECKSUM_OFFSET, [0, 0]), (UDP_CHECKSUM_OFFSET, [0xff, 0xff])] {
        let mut octets = [0; 20];
        octets[..2].copy_from_slice(&[0xff, 0xff]);
        fill_checksum(&mut octets, 0, offset).expect("the field is there");
        assert_eq!(octets[usize::from(offset)..][..2], zero);
    }
}

#[test]
fn a_contiguous_packet_is_completed_alike() {
    let mut packet = Tcp::default().packet();
    let mut bytes = octets(&packet);
    fill_checksum(&mut bytes, 20, 16).expect("the field is there");
    complete(&mut packet).expect("the field is there");
    assert_eq!(bytes, octets(&packet));
}

#[test]
fn a_checksum_field_outside_of_the_headers_is_malformed() {
    for (start, offset) in [(20, 60_000), (u16::MAX, u16::MAX), (52, 0), (60, 0)] {
        let mut packet = Tcp::default().packet();
        packet.vnet.checksum = Checksum::Partial { start, offset };
        assert_eq!(complete(&mut packet), Err(Malformed), "{start} + {offset}");
        assert_eq!(fill_checksum(&mut octets(&packet)[..52], start, offset), Err(Malformed));
    }
}

#[test]
fn segments_number_on_and_keep_cwr_first_and_fin_psh_last() {
    let flags = TcpFlags::ACK.union(TcpFlags::CWR).union(LAST_ONLY);
    let whole = Tcp { flags, payload: pattern(2_500), ident: u16::MAX, ..Tcp::default() };
    let segments = cut_all(whole.super_packet(1_000), 1_500, Checksums::Complete);
    let facts: Vec<_> = segments
        .iter()
        .map(|segment| {
            let header = segment.header.as_slice();
            let layout = Layout::of(header).expect("a TCP packet");
            (layout.seq(header), layout.ident(header), layout.flags(header), segment.payload.len())
        })
        .collect();
    let ack = TcpFlags::ACK;
    let expected = [
        (1_000, Some(u16::MAX), ack.union(TcpFlags::CWR), 1_000),
        (2_000, Some(0), ack, 1_000),
        (3_000, Some(1), ack.union(LAST_ONLY), 500),
    ];
    assert_eq!(facts, expected);
    assert!(segments.iter().all(is_right));
}

#[test]
fn the_mtu_bounds_segments_that_ask_for_more() {
    let segments = cut_all(
        Tcp { payload: pattern(3_000), ..Tcp::default() }.super_packet(9_000),
        576,
        Checksums::Complete,
    );
    assert!(segments.iter().all(|segment| segment.len() <= 576));
    assert_eq!(segments.iter().map(|segment| segment.payload.len()).sum::<usize>(), 3_000);
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let fits = Tcp::default().packet();
    assert!(matches!(cut(fits.clone(), 500, Checksums::Complete), Err(CutError::Oversized)));
    let mut udp = Tcp::default().super_packet(100);
    udp.header.storage()[9] = 17;
    assert!(matches!(cut(udp, 1_500, Checksums::Complete), Err(CutError::Malformed)));
    let zero = Tcp::default().super_packet(0);
    assert!(matches!(cut(zero, 1_500, Checksums::Complete), Err(CutError::Malformed)));
    let no_room = Tcp::default().super_packet(100);
    assert!(matches!(cut(no_room, 40, Checksums::Complete), Err(CutError::Malformed)));
}

#[test]
fn payload_held_inline_is_cut_like_any_other() {
    let whole = Tcp { payload: pattern(40), ..Tcp::default() }.super_packet(16);
    let mut inline = whole.clone();
    inline.header = HeaderBuf::copy_from(&octets(&whole)[..70]).expect("it fits");
    inline.payload = whole.payload.slice(18..);
    let expected: Vec<_> = cut_all(whole, 1_500, Checksums::Complete).iter().map(octets).collect();
    let actual: Vec<_> = cut_all(inline, 1_500, Checksums::Complete).iter().map(octets).collect();
    assert_eq!(actual, expected);
}

#[test]
fn a_forwarded_packet_is_the_received_one() {
    let packet = Tcp::default().packet();
    let received = Received { vnet: packet.vnet, bytes: octets(&packet).into(), buffer_bytes: 1_052 };
    let forwarded = forward(&received);
    assert_eq!(forwarded.header.as_slice(), packet.header.as_slice());
    assert_eq!(forwarded.payload, packet.payload);
    let tiny =
        forward(&Received { vnet: VnetHdr::default(), bytes: Bytes::from_static(b"x"), buffer_bytes: 1 });
    assert_eq!(octets(&tiny), b"x");
}

proptest! {
    #[test]
    fn no_octets_from_a_device_make_cutting_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        first in prop_oneof![Just(0x45u8), Just(0x60), Just(0x4f), any::<u8>()],
        size in any::<u16>(), mtu in any::<u16>(), start in any::<u16>(), offset in 0u16..64, v6 in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if let Some(octet) = bytes.first_mut() {
            *octet = first;
        }
        if let Some(octet) = bytes.get_mut(if v6 { 6 } else { 9 }) {
            *octet = 6;
        }
        let kind = if v6 { SegmentationKind::Tcp6 } else { SegmentationKind::Tcp4 };
        for segmentation in [None, Some(polytcp_wire::virtio::Segmentation { kind, size, header_len: 0, ecn: false })] {
            let vnet = VnetHdr { checksum: Checksum::Partial { start: start % 128, offset }, segmentation };
            let received = Received { vnet, bytes: bytes.clone().into(), buffer_bytes: 200 };
            if let Ok(pieces) = cut(forward(&received), mtu, Checksums::Complete) {
                for piece in pieces {
                    prop_assert!(piece.packet().len() <= usize::from(mtu).max(1));
                }
            }
        }
    }
}
