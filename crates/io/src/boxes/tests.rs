use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::time::Duration;

use polytcp_netem::middlebox::{
    ChangePayload, Nat, NatConfig, Replay, ReplayConfig, Split, SplitOptions, TooBig, TooBigConfig,
};
use polytcp_netem::{LinkConfig, Ratio};
use polytcp_wire::ip::PROTOCOL_ICMP;
use polytcp_wire::virtio::Checksum;

use super::*;
use crate::clock::monotonic_now;
use crate::device::{Capabilities, Device, SendOutcome};
use crate::emulated::Emulated;
use crate::memory::{MemoryConfig, MemoryDevice};
use crate::rx_pool::RxPool;
use crate::testing::{Tcp, drive, is_readable, octets, pattern};

/// Far more than any test here needs, for a machine that is busy with something else.
const LIMIT: Duration = Duration::from_secs(10);

fn pair(boxes: Boxes, ingress: LinkConfig, config: MemoryConfig) -> (Emulated<MemoryDevice>, MemoryDevice) {
    let (a, b) = MemoryDevice::pair(config).expect("descriptors");
    (Emulated::with_boxes(a, LinkConfig::default(), ingress, boxes, 1).expect("descriptors"), b)
}

fn perfect(boxes: Boxes) -> (Emulated<MemoryDevice>, MemoryDevice) {
    pair(boxes, LinkConfig::default(), MemoryConfig::default())
}

fn send(device: &impl Device, packet: &Transmit) {
    assert_eq!(device.send(monotonic_now(), packet).expect("it works"), SendOutcome::Sent);
}

fn received_now(device: &impl Device) -> Vec<Received> {
    let mut out = Vec::new();
    device.receive(monotonic_now(), 100, &mut RxPool::new(), &mut out).expect("it works");
    out
}

/// The payload of a TCP packet of [`Tcp`], which has 52 octets of headers.
fn payload(packet: &Received) -> &[u8] {
    &packet.bytes[52..]
}

fn text(text: &'static [u8]) -> Transmit {
    Tcp { payload: text.into(), ..Tcp::default() }.packet()
}

fn replaced(way: Way, from: &[u8], to: &[u8]) -> ChangePayload {
    ChangePayload::pattern(way, from, to).expect("one length")
}

#[test]
fn packets_pass_the_near_boxes_the_link_and_the_far_boxes_in_both_directions() {
    let near = Chain::new().with(replaced(Way::Outward, b"1", b"2")).with(replaced(Way::Inward, b"8", b"9"));
    let far = Chain::new().with(replaced(Way::Outward, b"2", b"3")).with(replaced(Way::Inward, b"7", b"8"));
    let (a, b) = perfect(Boxes { near, far });
    send(&a, &text(b"from 1"));
    assert_eq!(payload(&received_now(&b)[0]), b"from 3");
    send(&b, &text(b"from 7"));
    assert_eq!(payload(&received_now(&a)[0]), b"from 9");
    let stats = |direction| a.control().stats(direction).link.delivered_packets;
    assert_eq!((stats(Direction::Egress), stats(Direction::Ingress)), (1, 1));
}

#[test]
fn super_packets_are_cut_before_a_box_and_joined_behind_it() {
    let far = Chain::new().with(replaced(Way::Outward, b"nowhere", b"at most"));
    let (a, b) = perfect(Boxes { far, ..Boxes::default() });
    let whole = Tcp { payload: pattern(50_000), ..Tcp::default() }.super_packet(1_448);
    send(&a, &whole);
    let received = received_now(&b);
    assert_eq!(received.len(), 1);
    assert_eq!((&received[0].bytes[..], received[0].vnet), (&octets(&whole)[..], whole.vnet));
    assert_eq!(a.control().stats(Direction::Egress).link.delivered_packets, 35);
}

#[test]
fn a_device_without_offload_gets_what_a_box_made_with_right_checksums() {
    let size = NonZeroU16::new(100).expect("not zero");
    let far = Chain::new().with(Split::new(size, SplitOptions::All));
    let config = MemoryConfig { capabilities: Capabilities::per_packet(1_500), ..MemoryConfig::default() };
    let (a, b) = pair(Boxes { far, ..Boxes::default() }, LinkConfig::default(), config);
    send(&a, &Tcp { payload: pattern(1_000), ..Tcp::default() }.packet());
    let received = received_now(&b);
    assert_eq!(received.len(), 10);
    for packet in &received {
        assert_eq!((packet.vnet.checksum, packet.vnet.segmentation), (Checksum::Complete, None));
        let ip = polytcp_wire::ip::parse(&packet.bytes).expect("an IP packet");
        let segment = &packet.bytes[ip.payload_offset..];
        assert!(polytcp_wire::tcp::verify_checksum(&ip.header.addresses, segment));
    }
    assert_eq!(received.iter().flat_map(payload).copied().collect::<Vec<_>>(), pattern(1_000));
}

#[test]
fn a_near_box_answers_the_stack_at_once_and_wakes_its_driver() {
    let near = Chain::new().with(TooBig::new(TooBigConfig { mtu: 600, ..TooBigConfig::default() }));
    let (a, b) = perfect(Boxes { near, ..Boxes::default() });
    assert_eq!(a.deadline(), None);
    assert!(!is_readable(&a));
    send(&a, &Tcp::default().packet());
    assert!(is_readable(&a), "there is something to receive");
    let answers = received_now(&a);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].bytes[9], PROTOCOL_ICMP);
    assert!(received_now(&b).is_empty());
    assert!(!is_readable(&a));
}

#[test]
fn a_far_box_answers_over_the_ingress_link() {
    let far = Chain::new().with(TooBig::new(TooBigConfig { mtu: 600, ..TooBigConfig::default() }));
    let delay = LinkConfig::new(0, Duration::from_millis(30));
    let (a, b) = pair(Boxes { far, ..Boxes::default() }, delay, MemoryConfig::default());
    let start = monotonic_now();
    send(&a, &Tcp::default().packet());
    assert!(received_now(&a).is_empty());
    assert_eq!(drive(&a, LIMIT, |out| out.len() == 1).len(), 1);
    assert!(monotonic_now() - start >= Duration::from_millis(30));
    assert!(received_now(&b).is_empty());
}

#[test]
fn what_a_box_sends_later_wakes_the_driver_then() {
    let config =
        ReplayConfig { share: Ratio::ONE, delay: Duration::from_millis(30), ..ReplayConfig::default() };
    let far = Chain::new().with(Replay::new(config, 1));
    let (a, b) = perfect(Boxes { far, ..Boxes::default() });
    let start = monotonic_now();
    send(&a, &text(b"again"));
    assert_eq!(received_now(&b).len(), 1);
    assert!(a.deadline().is_some_and(|due| due >= start + Duration::from_millis(30)));
    let mut copies = Vec::new();
    drive(&a, LIMIT, |_| {
        copies.extend(received_now(&b));
        copies.len() == 1
    });
    assert_eq!(payload(&copies[0]), b"again");
    assert!(monotonic_now() - start >= Duration::from_millis(30));
    assert_eq!(a.deadline(), None);
}

#[test]
fn a_nat_stands_before_the_device() {
    let own = Ipv4Addr::new(192, 0, 2, 9);
    let far = Chain::new().with(Nat::new(NatConfig { v4: Some(own), ..NatConfig::default() }));
    let (a, b) = perfect(Boxes { far, ..Boxes::default() });
    let syn = polytcp_wire::tcp::TcpFlags::SYN;
    send(&a, &Tcp { flags: syn, payload: b""[..].into(), ..Tcp::default() }.packet());
    let out = received_now(&b);
    assert_eq!(out.len(), 1);
    let header = polytcp_wire::ip::parse(&out[0].bytes).expect("an IP packet").header;
    assert_eq!(header.addresses.src(), own);
    // What does not come back to that address has no flow.
    send(&b, &Tcp::default().packet());
    assert!(received_now(&a).is_empty());
}

#[test]
fn what_nobody_takes_is_bounded() {
    let near = Chain::new().with(TooBig::new(TooBigConfig { mtu: 600, ..TooBigConfig::default() }));
    let (a, _b) = perfect(Boxes { near, ..Boxes::default() });
    for _ in 0..5_000 {
        send(&a, &Tcp::default().packet());
    }
    let unread = a.control().stats(Direction::Ingress).unread;
    assert!((1..5_000).contains(&unread), "{unread}");
    let mut out = Vec::new();
    a.receive(monotonic_now(), 10_000, &mut RxPool::new(), &mut out).expect("it works");
    assert_eq!(out.len() as u64 + unread, 5_000);
}
