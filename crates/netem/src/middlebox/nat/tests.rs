use alloc::vec;

use polytcp_wire::icmp::{self, IcmpMessage, Original};
use polytcp_wire::tcp::TcpFlags;

use super::*;
use crate::middlebox::testing::*;
use Direction::{Inward, Outward};

const OWN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

fn nat(config: NatConfig) -> Nat {
    Nat::new(NatConfig { v4: Some(OWN_V4), v6: Some(OWN_V6), ..config })
}

fn own(family: Family) -> IpAddr {
    match family {
        Family::V4 => OWN_V4.into(),
        Family::V6 => OWN_V6.into(),
    }
}

fn syn(family: Family, inside_port: u16) -> Tcp {
    Tcp { inside_port, ..Tcp::new(family, Outward, SYN, 1, 0).times(5, 0) }
}

/// A segment from outside to the NAT's own address.
fn answer(family: Family, port: u16, seq: u32) -> Vec<u8> {
    let segment = Tcp { inside_port: port, ..Tcp::new(family, Inward, ACK, seq, 2).data(b"hi") };
    let mut segment = Segment::parse(&segment.packet()).expect("a segment");
    segment.addresses = Addresses::new(segment.addresses.src(), own(family)).expect("one family");
    segment.emit()
}

#[test]
fn a_flow_is_seen_from_the_nats_address_and_its_answers_come_back() {
    for family in FAMILIES {
        let mut nat = nat(NatConfig::default());
        let out = one(&mut nat, &syn(family, 40_000));
        assert_eq!((out.ip.addresses.src(), out.tcp.src_port), (own(family), 40_000), "its own port is free");
        assert_eq!(out.ip.addresses.dst(), address(family, Inward));
        assert_eq!(out.options, syn(family, 40_000).options);
        let back = through(&mut nat, Instant::ZERO, Inward, answer(family, 40_000, 7));
        let [(Inward, packet)] = &back[..] else { panic!("one packet: {back:?}") };
        let back = read(packet);
        assert_eq!((back.ip.addresses.dst(), back.tcp.dst_port), (address(family, Outward), 40_000));
        assert_eq!((back.payload, back.tcp.seq), (b"hi".to_vec(), 7));
    }
}

#[test]
fn two_hosts_with_the_same_port_get_two_ports() {
    let mut nat = nat(NatConfig::default());
    one(&mut nat, &syn(Family::V4, 40_000));
    let mut other = Segment::parse(&syn(Family::V4, 40_000).packet()).expect("a segment");
    let neighbour = IpAddr::from([10, 0, 0, 3]);
    other.addresses = Addresses::new(neighbour, other.addresses.dst()).expect("one family");
    let out = through(&mut nat, Instant::ZERO, Outward, other.emit());
    let port = read(&out[0].1).tcp.src_port;
    assert_ne!(port, 40_000);
    let back = through(&mut nat, Instant::ZERO, Inward, answer(Family::V4, port, 7));
    assert_eq!(read(&back[0].1).ip.addresses.dst(), neighbour);
    assert_eq!(read(&back[0].1).tcp.dst_port, 40_000);
}

#[test]
fn an_icmp_error_about_a_flow_finds_its_host() {
    use crate::middlebox::{TooBig, TooBigConfig};
    for family in FAMILIES {
        let mut nat = nat(NatConfig { ports: 5_000..=5_000, ..NatConfig::default() });
        one(&mut nat, &syn(family, 40_000));
        let large = Tcp::new(family, Outward, ACK, 77, 2).data(&[0; 1_400]).packet();
        let translated = through(&mut nat, Instant::ZERO, Outward, large).remove(0).1;
        let mut router = TooBig::new(TooBigConfig::default());
        let answer = through(&mut router, Instant::ZERO, Outward, translated).remove(0).1;
        let before = ip::parse(&answer).expect("an IP packet");
        assert_eq!(before.header.addresses.dst(), own(family));

        let out = through(&mut nat, Instant::ZERO, Inward, answer.clone());
        let [(Inward, packet)] = &out[..] else { panic!("one packet: {out:?}") };
        let parsed = ip::parse(packet).expect("an IP packet");
        assert_eq!(parsed.header.addresses.dst(), address(family, Outward));
        assert_eq!(parsed.header.addresses.src(), before.header.addresses.src());
        let message = &packet[parsed.payload_offset..];
        let read = match family {
            Family::V4 => icmp::parse_v4(message),
            Family::V6 => icmp::parse_v6(&parsed.header.addresses, message),
        };
        let Ok(IcmpMessage::Error { original, .. }) = read else { panic!("an error: {read:?}") };
        assert_eq!(original.addresses.src(), address(family, Outward));
        assert_eq!((original.src_port, original.dst_port, original.seq), (40_000, 80, 77));

        // About a flow that is not known, or long after it was.
        let late = Instant::ZERO + Duration::from_secs(9_000);
        assert_eq!(through(&mut nat, late, Inward, answer.clone()), []);
        let mut empty = super::Nat::new(nat.config.clone());
        assert_eq!(through(&mut empty, Instant::ZERO, Inward, answer), []);
    }
}

#[test]
fn an_icmp_error_from_inside_tells_nothing_of_the_inside() {
    use crate::middlebox::quoted::Quoted;
    use crate::middlebox::{TooBig, TooBigConfig};
    for family in FAMILIES {
        let mut nat = nat(NatConfig { ports: 5_000..=5_000, ..NatConfig::default() });
        one(&mut nat, &syn(family, 40_000));
        let large = Tcp::new(family, Inward, ACK, 77, 2).data(&[0; 1_400]);
        let mut inside = Segment::parse(&large.packet()).expect("a segment");
        let mut router = TooBig::new(TooBigConfig::default());
        let answer = through(&mut router, Instant::ZERO, Inward, inside.emit()).remove(0).1;

        let out = through(&mut nat, Instant::ZERO, Outward, answer);
        let [(Outward, packet)] = &out[..] else { panic!("one packet: {out:?}") };
        let quoted = Quoted::parse(packet).expect("an error with a right checksum");
        assert_eq!((quoted.addresses.src(), quoted.addresses.dst()), (own(family), address(family, Inward)));
        assert_eq!(quoted.original.addresses.dst(), own(family));
        let Original { src_port, dst_port, seq, .. } = quoted.original;
        assert_eq!((src_port, dst_port, seq), (80, 5_000, 77));

        // About a flow that is not known.
        inside.header.dst_port = 41_000;
        let answer = through(&mut router, Instant::ZERO, Inward, inside.emit()).remove(0).1;
        assert_eq!(through(&mut nat, Instant::ZERO, Outward, answer), []);
    }
}

#[test]
fn nobody_gets_in_unasked() {
    let mut nat = nat(NatConfig::default());
    one(&mut nat, &syn(Family::V4, 40_000));
    assert_eq!(through(&mut nat, Instant::ZERO, Inward, answer(Family::V4, 40_001, 7)), [], "another port");
    let mut stranger = Segment::parse(&answer(Family::V4, 40_000, 7)).expect("a segment");
    stranger.header.src_port = 81;
    assert_eq!(through(&mut nat, Instant::ZERO, Inward, stranger.emit()), [], "another host");
    let direct = Tcp::new(Family::V4, Inward, ACK, 1, 2).packet();
    assert_eq!(through(&mut nat, Instant::ZERO, Inward, direct), [], "not to its address");
    let unknown = Tcp { flags: ACK, ..syn(Family::V4, 41_000) }.packet();
    assert_eq!(through(&mut nat, Instant::ZERO, Outward, unknown), [], "only a SYN opens a flow");
}

#[test]
fn a_silent_flow_is_forgotten_and_dropped_or_reset() {
    let idle = Duration::from_secs(60);
    for family in FAMILIES {
        for forgotten in [Forgotten::Drop, Forgotten::Reset] {
            let mut nat = nat(NatConfig { idle, forgotten, ..NatConfig::default() });
            one(&mut nat, &syn(family, 40_000));
            let data = Tcp::new(family, Outward, ACK, 10, 20).data(b"abc").packet();
            // Each packet makes the time start anew.
            for secs in [50, 100, 150] {
                let now = Instant::from_millis(secs * 1_000);
                assert_eq!(through(&mut nat, now, Outward, data.clone()).len(), 1);
            }
            let late = Instant::from_millis(211_000);
            let out = through(&mut nat, late, Outward, data);
            let inward = through(&mut nat, late, Inward, answer(family, 40_000, 7));
            if forgotten == Forgotten::Drop {
                assert_eq!((out, inward), (vec![], vec![]));
                continue;
            }
            let [(Inward, packet)] = &out[..] else { panic!("a reset to the inside: {out:?}") };
            let reset = read(packet);
            assert_eq!((reset.tcp.flags, reset.tcp.seq), (TcpFlags::RST, 20));
            assert_eq!(reset.ip.addresses.dst(), address(family, Outward));
            assert_eq!(reset.ip.addresses.src(), address(family, Inward));
            let [(Outward, packet)] = &inward[..] else { panic!("a reset to the outside: {inward:?}") };
            assert_eq!(read(packet).ip.addresses.src(), own(family));
            assert_eq!(read(packet).tcp.seq, 2);
            // A reset is not answered by a reset.
            assert_eq!(through(&mut nat, late, Inward, packet.clone()), []);
        }
    }
}

#[test]
fn ports_run_out_and_come_back_and_memory_is_bounded() {
    let config = NatConfig { ports: 5_000..=5_002, idle: Duration::from_secs(60), ..NatConfig::default() };
    let mut three = nat(config);
    for port in 1..=3 {
        assert!((5_000..=5_002).contains(&one(&mut three, &syn(Family::V4, port)).tcp.src_port));
    }
    assert_eq!(through(&mut three, Instant::ZERO, Outward, syn(Family::V4, 4).packet()), []);
    let later = Instant::from_millis(61_000);
    assert_eq!(through(&mut three, later, Outward, syn(Family::V4, 4).packet()).len(), 1);

    let mut small = nat(NatConfig { flows_max: 10, ..NatConfig::default() });
    for port in 1..=1_000 {
        assert_eq!(through(&mut small, Instant::ZERO, Outward, syn(Family::V6, port).packet()).len(), 1);
    }
    assert_eq!((small.flows(), small.by_port.len()), (10, 10));
}

#[test]
fn a_family_without_an_own_address_passes() {
    let mut nat = Nat::new(NatConfig { v4: Some(OWN_V4), ..NatConfig::default() });
    assert_untouched(&mut nat, &syn(Family::V6, 40_000));
    assert_untouched(&mut nat, &Tcp::new(Family::V6, Inward, ACK, 1, 2));
}
