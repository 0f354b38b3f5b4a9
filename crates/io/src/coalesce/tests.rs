use polytcp_wire::virtio::SegmentationKind;
use proptest::prelude::*;

use super::*;
use crate::segment::{Checksums, complete, cut};
use crate::testing::{Tcp, octets, pattern};

/// Joins as far as possible, as a link's end does.
fn join_all(pieces: impl IntoIterator<Item = Piece>) -> Vec<Transmit> {
    let mut out = Vec::new();
    let mut run: Option<Run> = None;
    for piece in pieces {
        run = Some(match run.take() {
            None => Run::new(piece),
            Some(mut current) => match current.join(piece) {
                Ok(()) => current,
                Err(piece) => {
                    out.push(current.finish());
                    Run::new(piece)
                }
            },
        });
    }
    out.extend(run.map(Run::finish));
    out
}

/// Two consecutive segments of 1,000 octets, the second changed by `change`, joined if they can be.
fn pair(change: impl FnOnce(&mut Tcp)) -> usize {
    let mut second = Tcp { seq: 2_000, ident: 8, ..Tcp::default() };
    change(&mut second);
    join_all([Tcp::default().packet().into(), second.packet().into()]).len()
}

#[test]
fn only_what_would_be_cut_alike_is_joined() {
    assert_eq!(pair(|_| {}), 1);
    assert_eq!(pair(|second| second.payload = pattern(1)), 1, "a short last segment");
    assert_eq!(pair(|second| second.flags = TcpFlags::ACK.union(TcpFlags::PSH)), 1);
    assert_eq!(pair(|second| second.flags = TcpFlags::ACK.union(TcpFlags::FIN)), 1);
    assert_eq!(pair(|second| second.ident = 99), 1, "the identification of an atomic packet");
    assert_eq!(pair(|second| second.seq = 2_001), 2, "a gap");
    assert_eq!(pair(|second| second.seq = 1_000), 2, "the same again");
    assert_eq!(pair(|second| second.payload = pattern(1_001)), 2, "longer than the first");
    assert_eq!(pair(|second| second.payload = Bytes::new()), 2, "no data");
    assert_eq!(pair(|second| second.options[7] = 9), 2, "another timestamp");
    assert_eq!(pair(|second| second.options.clear()), 2, "other options");
    assert_eq!(pair(|second| second.kind = SegmentationKind::Tcp6), 2, "another flow");
    for flags in [TcpFlags::SYN, TcpFlags::RST, TcpFlags::URG, TcpFlags::CWR, TcpFlags::ECE] {
        assert_eq!(pair(|second| second.flags = TcpFlags::ACK.union(flags)), 2, "{flags:?}");
    }
}

#[test]
fn a_damaged_header_is_not_joined_wherever_the_bit_is() {
    for kind in [SegmentationKind::Tcp4, SegmentationKind::Tcp6] {
        let second = Tcp { seq: 2_000, ident: 8, kind, ..Tcp::default() }.packet();
        let first = Tcp { kind, ..Tcp::default() }.packet();
        let joined = |second: Transmit| join_all([first.clone().into(), second.into()]).len();
        assert_eq!(joined(second.clone()), 1);
        for bit in 0..second.header.as_slice().len() as u32 * 8 {
            assert_eq!(joined(crate::segment::flip_bit(second.clone(), bit)), 2, "{kind:?}, bit {bit}");
        }
    }
}

#[test]
fn nothing_follows_a_short_or_a_pushed_segment() {
    let segment = |seq, flags, len| -> Piece {
        Tcp { seq, flags, payload: pattern(len), ..Tcp::default() }.packet().into()
    };
    let pushed = TcpFlags::ACK.union(TcpFlags::PSH);
    let ack = TcpFlags::ACK;
    assert_eq!(join_all([segment(0, pushed, 500), segment(500, ack, 500)]).len(), 2);
    assert_eq!(join_all([segment(0, ack, 500), segment(500, ack, 499), segment(999, ack, 500)]).len(), 2);
}

#[test]
fn a_segment_whose_checksum_is_wrong_stays_alone() {
    let mut first = Tcp::default().packet();
    let mut second = Tcp { seq: 2_000, ident: 8, ..Tcp::default() }.packet();
    for packet in [&mut first, &mut second] {
        complete(packet).expect("the field is there");
    }
    let good = [first.clone().into(), second.clone().into()];
    assert_eq!(join_all(good).len(), 1);
    second.header.storage()[20 + 16] ^= 1;
    assert_eq!(join_all([first.into(), second.into()]).len(), 2);
}

#[test]
fn pieces_of_one_payload_are_joined_without_a_copy() {
    let payload = pattern(10_000);
    let whole = Tcp { payload: payload.clone(), ..Tcp::default() }.super_packet(1_448);
    let pieces = cut(whole, 1_500, Checksums::Partial).expect("it can be cut");
    let joined = join_all(pieces);
    assert_eq!(joined.len(), 1);
    assert_eq!(joined[0].payload.as_ptr(), payload.as_ptr());
}

#[test]
fn a_run_from_the_middle_of_a_payload_is_joined_without_a_copy() {
    let payload = pattern(10_000);
    let whole = Tcp { payload: payload.clone(), ..Tcp::default() }.super_packet(1_000);
    let pieces = cut(whole, 1_500, Checksums::Partial).expect("it can be cut");
    let joined = join_all(pieces.enumerate().filter(|(i, _)| *i != 4).map(|(_, piece)| piece));
    assert_eq!(joined.len(), 2);
    assert_eq!(joined[1].payload, payload.slice(5_000..));
    assert_eq!(joined[1].payload.as_ptr(), payload[5_000..].as_ptr());
}

#[test]
fn a_run_stays_within_an_ip_packet() {
    for kind in [SegmentationKind::Tcp4, SegmentationKind::Tcp6] {
        let segments = (0..100u32).map(|i| -> Piece {
            let ident = i as u16;
            Tcp { kind, seq: i * 1_000, ident, ..Tcp::default() }.packet().into()
        });
        let joined = join_all(segments);
        assert_eq!(joined.len(), 2);
        assert!(joined.iter().all(|packet| packet.len() <= PACKET_BYTES_MAX as usize));
    }
}

proptest! {
    #[test]
    fn joining_what_was_cut_gives_the_super_packet_back(
        v6 in any::<bool>(), ident in any::<u16>(), seq in any::<u32>(), psh in any::<bool>(), fin in any::<bool>(),
        cwr in any::<bool>(), options in 0usize..10, len in 2usize..65_000, size in 1u16..9_000, copied in any::<bool>(),
    ) {
        // More segments than packets are long would take the test's time and show nothing new.
        let size = size.max((len / 200) as u16 + 1);
        prop_assume!(len > usize::from(size));
        let mut flags = TcpFlags::ACK;
        for (set, flag) in [(psh, TcpFlags::PSH), (fin, TcpFlags::FIN), (cwr, TcpFlags::CWR)] {
            if set {
                flags = flags.union(flag);
            }
        }
        let kind = if v6 { SegmentationKind::Tcp6 } else { SegmentationKind::Tcp4 };
        let options = vec![1; options * 4];
        let whole = Tcp { kind, ident, seq, flags, options, payload: pattern(len) }.super_packet(size);
        for checksums in [Checksums::Complete, Checksums::Partial] {
            let pieces = cut(whole.clone(), 9_200, checksums).expect("it can be cut");
            let joined = join_all(pieces.map(|piece| {
                let mut packet = piece.into_packet();
                if copied {
                    packet.payload = Bytes::copy_from_slice(&packet.payload);
                }
                Piece::from(packet)
            }));
            prop_assert_eq!(joined.len(), 1);
            prop_assert_eq!(joined[0].vnet, whole.vnet);
            prop_assert_eq!(octets(&joined[0]), octets(&whole));
        }
    }
}
