use polytcp_proto::rng::Prng;

use super::*;
use crate::middlebox::testing::*;
use Direction::{Inward, Outward};

const ISS: u32 = u32::MAX - 10;

fn gateway(find: &[u8], replacement: &[u8]) -> ApplicationGateway {
    ApplicationGateway::new(Outward, find, replacement, 1_500).expect("a gateway")
}

/// A gateway that has seen the handshake of both families.
fn opened(find: &[u8], replacement: &[u8]) -> ApplicationGateway {
    let mut gateway = gateway(find, replacement);
    for family in FAMILIES {
        assert_untouched(&mut gateway, &Tcp::new(family, Outward, SYN, ISS, 0));
        assert_untouched(&mut gateway, &Tcp::new(family, Inward, SYN_ACK, 500, ISS.wrapping_add(1)));
    }
    gateway
}

/// Data at an offset of the stream.
fn data(family: Family, at: u32, text: &[u8]) -> Tcp {
    Tcp::new(family, Outward, ACK, ISS.wrapping_add(1 + at), 501).data(text)
}

fn offset(number: u32) -> u32 {
    number.wrapping_sub(ISS).wrapping_sub(1)
}

#[test]
fn a_longer_word_shifts_all_that_follows_and_its_acknowledgements_back() {
    for family in FAMILIES {
        let mut gateway = opened(b"cat", b"horse");
        let out = one(&mut gateway, &data(family, 0, b"a cat!"));
        assert_eq!((&out.payload[..], offset(out.tcp.seq)), (&b"a horse!"[..], 0));
        let out = one(&mut gateway, &data(family, 6, b"more cat"));
        assert_eq!((&out.payload[..], offset(out.tcp.seq)), (&b"more horse"[..], 8));
        let out = one(&mut gateway, &data(family, 14, b"end"));
        assert_eq!(offset(out.tcp.seq), 18);
        // The receiver's numbers, and what they mean to the sender.
        for (receiver, sender) in [(0, 0), (2, 2), (3, 3), (6, 4), (7, 5), (8, 6), (18, 14), (21, 17)] {
            let ack = Tcp::new(family, Inward, ACK, 501, ISS.wrapping_add(1 + receiver));
            let edge = |at: u32| ISS.wrapping_add(1 + at);
            let ack = ack.sack(edge(receiver), edge(21)).times(1, 2);
            let out = one(&mut gateway, &ack);
            assert_eq!(offset(out.tcp.ack), sender, "acknowledgement of {receiver}");
            let block = out.options.sack.as_slice()[0];
            assert_eq!((offset(block.left), offset(block.right)), (sender, 17));
        }
    }
}

#[test]
fn words_may_vanish() {
    let mut gateway = opened(b"cat", b"");
    assert_eq!(one(&mut gateway, &data(Family::V4, 0, b"a cat!")).payload, b"a !");
    let gone = one(&mut gateway, &data(Family::V4, 6, b"cat"));
    assert_eq!((gone.payload.len(), offset(gone.tcp.seq)), (0, 3));
    let ack = Tcp::new(Family::V4, Inward, ACK, 501, ISS.wrapping_add(1 + 3));
    assert_eq!(offset(one(&mut gateway, &ack).tcp.ack), 9, "all of it");
}

#[test]
fn what_has_passed_is_not_replaced_later() {
    let mut gateway = opened(b"cat", b"horse");
    assert_untouched(&mut gateway, &data(Family::V4, 0, b"a c"));
    assert_untouched(&mut gateway, &data(Family::V4, 3, b"at!"));
    assert_untouched(&mut gateway, &data(Family::V4, 0, b"a cat!"));
}

#[test]
fn any_cut_of_a_retransmission_is_replaced_alike() {
    let stream: Vec<u8> = b"cat, a cat and the cat; no dog".repeat(20);
    for (find, replacement) in [(&b"cat"[..], &b"horse"[..]), (b"cat", b"x"), (b"cat", b""), (b"cat", b"dog")]
    {
        let mut gateway = opened(find, replacement);
        let mut changed: Vec<u8> = Vec::new();
        for (index, text) in stream.chunks(30).enumerate() {
            let out = one(&mut gateway, &data(Family::V6, index as u32 * 30, text));
            assert_eq!(offset(out.tcp.seq) as usize, changed.len());
            changed.extend_from_slice(&out.payload);
        }
        let text = alloc::string::String::from_utf8(stream.clone()).expect("text");
        let new = core::str::from_utf8(replacement).expect("text");
        assert_eq!(changed, text.replace("cat", new).as_bytes());

        let mut chance = Prng::new(3);
        for _ in 0..2_000 {
            let from = chance.below(stream.len() as u64) as usize;
            let to = from + 1 + chance.below((stream.len() - from) as u64).min(200) as usize;
            let out = one(&mut gateway, &data(Family::V6, from as u32, &stream[from..to]));
            let at = offset(out.tcp.seq) as usize;
            assert_eq!(out.payload, changed[at..at + out.payload.len()], "{from}..{to}");
            // What the receiver now has up to, the sender is told, and not more.
            let end = out.tcp.seq.wrapping_add(out.payload.len() as u32);
            let ack = one(&mut gateway, &Tcp::new(Family::V6, Inward, ACK, 501, end));
            let told = offset(ack.tcp.ack) as usize;
            let complete = one(&mut gateway, &data(Family::V6, told as u32, b"")).tcp.seq;
            assert!(offset(complete) <= offset(end), "{told} of {from}..{to}");
            assert!(told >= to || stream[told..to].len() < find.len(), "{told} for {to}");
        }
    }
}

#[test]
fn what_outgrows_the_mtu_is_split() {
    let mut gateway = opened(b"cat", b"rhinoceros");
    let text = b"cat ".repeat(360);
    let out = through(&mut gateway, Instant::ZERO, Outward, data(Family::V6, 0, &text).packet());
    assert_eq!(out.len(), 3);
    assert!(out.iter().all(|(_, packet)| packet.len() <= 1_500));
    let joined: Vec<u8> = out.iter().flat_map(|(_, packet)| read(packet).payload).collect();
    // A segment gets as many as the gateway remembers.
    assert_eq!(joined, [b"rhinoceros ".repeat(EDITS_MAX), b"cat ".repeat(360 - EDITS_MAX)].concat());
    assert!(ApplicationGateway::new(Outward, b"", b"a", 1_500).is_none());
    assert!(ApplicationGateway::new(Outward, b"a", b"b", 100).is_none());
}

#[test]
fn flows_that_it_has_not_seen_begin_pass() {
    let mut gateway = gateway(b"cat", b"horse");
    assert_untouched(&mut gateway, &data(Family::V4, 0, b"a cat!"));
    assert_untouched(&mut gateway, &Tcp::new(Family::V4, Inward, ACK, 1, 2).sack(3, 4));
}
