//! What holds for every box.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::num::{NonZeroU8, NonZeroU16};
use core::time::Duration;

use polytcp_wire::addresses::Addresses;
use polytcp_wire::mptcp::CapableForm;
use polytcp_wire::tcp::TcpFlags;
use proptest::prelude::*;

use super::testing::*;
use super::*;
use crate::ratio::Ratio;
use Direction::{Inward, Outward};

/// One of each kind and of each of its variants that changes what it does.
fn boxes() -> Vec<Box<dyn Middlebox>> {
    let mut boxes: Vec<Box<dyn Middlebox>> = vec![
        Box::new(StripMptcp::new(MptcpPackets::ALL)),
        Box::new(StripMptcp::new(MptcpPackets::ESTABLISHED)),
        Box::new(StripUnknown),
        Box::new(DropMptcpSyn),
        Box::new(RewriteIsn::new(1)),
        Box::new(Split::new(NonZeroU16::new(7).expect("not zero"), SplitOptions::All)),
        Box::new(Split::new(NonZeroU16::new(1).expect("not zero"), SplitOptions::FirstOnly)),
        Box::new(Coalesce::new(CoalesceConfig::default())),
        Box::new(ChangePayload::pattern(Outward, b"a", b"b").expect("one length")),
        Box::new(ChangePayload::octet(Inward, 3, NonZeroU8::MIN)),
        Box::new(ApplicationGateway::new(Outward, b"a", b"bcd", 1_500).expect("a gateway")),
        Box::new(ApplicationGateway::new(Inward, b"abc", b"", 1_500).expect("a gateway")),
        Box::new(Pep::new(PepConfig { store_bytes_max: 1_000, ..PepConfig::default() })),
        Box::new(Replay::new(ReplayConfig { share: Ratio::from_percent(50), ..ReplayConfig::default() }, 1)),
        Box::new(MtuBlackHole::new(1_300)),
        Box::new(TooBig::new(TooBigConfig { mtu: 60, ..TooBigConfig::default() })),
        Box::new(BlindInjector::new(InjectConfig { guess_within: Some(9), ..InjectConfig::default() }, 1)),
        Box::new(Nat::new(NatConfig {
            v4: Some([192, 0, 2, 9].into()),
            v6: Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9].into()),
            forgotten: Forgotten::Reset,
            idle: Duration::from_secs(1),
            ..NatConfig::default()
        })),
    ];
    for change in [
        EcnChange::Bleach,
        EcnChange::MarkAll,
        EcnChange::Ect1ToEct0,
        EcnChange::Mangle,
        EcnChange::ClearOnSyn,
    ] {
        boxes.push(Box::new(EcnRewriter::new(change)));
    }
    let mut chain = Chain::new();
    for middlebox in
        [Box::new(RewriteIsn::new(2)) as Box<dyn Middlebox>, Box::new(Pep::new(PepConfig::default()))]
    {
        chain.push(middlebox);
    }
    boxes.push(Box::new(chain));
    boxes
}

/// Whether a box is to pass what it does not understand.
fn is_transparent(middlebox: &dyn Middlebox) -> bool {
    !matches!(
        middlebox.name(),
        "NAT" | "drops large packets" | "says that packets are too big" | "rewrites ECN"
    )
}

/// A segment of one of few flows, near its numbers, often with options that mean something.
fn segment() -> impl Strategy<Value = Tcp> {
    let family = prop_oneof![Just(Family::V4), Just(Family::V6)];
    let direction = prop_oneof![Just(Outward), Just(Inward)];
    let flags = prop_oneof![Just(SYN.0), Just(SYN_ACK.0), Just(ACK.0), Just(ACK.0), Just(0x11), any::<u8>()];
    let number = || prop_oneof![0..40_u32, Just(u32::MAX), any::<u32>()];
    let payload = prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 0..40);
    let more = (0..5_u8, 0..3_u16, number(), number());
    (family, direction, flags, number(), number(), payload, more).prop_map(
        |(family, direction, flags, seq, ack, payload, (option, port, left, right))| {
            let mut tcp = Tcp::new(family, direction, TcpFlags(flags), seq, ack).data(&payload);
            tcp.inside_port = 40_000 + port;
            match option {
                0 => tcp,
                1 => tcp.times(seq, ack).sack(left, right),
                2 => tcp.times(seq, ack).mptcp(capable(CapableForm::Syn)),
                3 => tcp.sack(left, right),
                _ => tcp.times(seq, ack).mptcp(mapping(left, payload.len() as u16)),
            }
        },
    )
}

/// Gives a box its time, and checks that it moves on.
fn poll(middlebox: &mut dyn Middlebox, now: Instant) -> Vec<(Direction, Vec<u8>)> {
    let mut out = Vec::new();
    let mut rounds = 0;
    while middlebox.next_deadline().is_some_and(|due| due <= now) {
        out.extend(polled(middlebox, now));
        rounds += 1;
        assert!(rounds < 10, "{} does not come to an end", middlebox.name());
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_segments_come_all_that_leaves_is_well_formed(
        segments in prop::collection::vec((segment(), 0..500_u64), 1..40)
    ) {
        for mut middlebox in boxes() {
            let mut now = Instant::from_millis(1);
            for (segment, pause) in &segments {
                now += Duration::from_millis(*pause);
                let mut out = poll(&mut *middlebox, now);
                out.extend(through(&mut *middlebox, now, segment.direction, segment.packet()));
                prop_assert!(out.len() <= 64, "{} makes {} of one", middlebox.name(), out.len());
                for (_, packet) in out {
                    prop_assert!(packet.len() <= 1_500);
                    let header = polytcp_wire::ip::parse(&packet).expect("an IP packet").header;
                    if header.protocol == polytcp_wire::ip::PROTOCOL_TCP {
                        read(&packet);
                    }
                }
            }
        }
    }

    #[test]
    fn damaged_and_foreign_packets_pass_untouched(
        segment in segment(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut packet = segment.packet();
        for (at, octet) in damage {
            let at = at.index(packet.len());
            packet[at] ^= octet;
        }
        if let Some(cut) = cut {
            packet.truncate(cut.index(packet.len()));
        }
        prop_assume!(segment::Segment::parse(&packet).is_none());
        for mut middlebox in boxes() {
            let out = through(&mut *middlebox, Instant::ZERO, segment.direction, packet.clone());
            if is_transparent(&*middlebox) {
                prop_assert_eq!(&out, &[(segment.direction, packet.clone())], "{}", middlebox.name());
            }
        }
    }

    #[test]
    fn no_octets_at_all_make_a_box_panic(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..10)) {
        for mut middlebox in boxes() {
            for packet in &packets {
                through(&mut *middlebox, Instant::ZERO, Outward, packet.clone());
                through(&mut *middlebox, Instant::ZERO, Inward, packet.clone());
            }
        }
    }
}

#[test]
fn other_protocols_pass_untouched() {
    for family in FAMILIES {
        let addresses =
            Addresses::new(address(family, Outward), address(family, Inward)).expect("one family");
        let packet = ip_packet(addresses, 17, 0, b"\x00\x50\x00\x50\x00\x0c\x00\x00abcd");
        for mut middlebox in boxes() {
            if is_transparent(&*middlebox) {
                let out = through(&mut *middlebox, Instant::ZERO, Outward, packet.clone());
                assert_eq!(out, [(Outward, packet.clone())], "{}", middlebox.name());
            }
        }
    }
}
