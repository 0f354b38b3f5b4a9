use bytes::Bytes;
use polytcp_wire::virtio::SegmentationKind;

use super::*;
use crate::clock::monotonic_now;
use crate::testing::{Tcp, drive, is_readable, octets, pattern};

const NOW: Instant = Instant::ZERO;

fn receive(device: &MemoryDevice, budget: usize) -> Vec<Received> {
    let mut out = Vec::new();
    let count = device.receive(NOW, budget, &mut RxPool::new(), &mut out).expect("it works");
    assert_eq!(count, out.len());
    out
}

#[test]
fn what_one_end_sends_the_other_receives_in_order() {
    let (a, b) = MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
    let sent: Vec<_> = (0..5).map(|i| Tcp { seq: i, ..Tcp::default() }.packet()).collect();
    for packet in &sent {
        assert_eq!(a.send(NOW, packet).expect("it works"), SendOutcome::Sent);
    }
    assert!(receive(&a, 10).is_empty());
    let received = receive(&b, 10);
    for (sent, received) in sent.iter().zip(&received) {
        assert_eq!(received.bytes, octets(sent));
        assert_eq!(received.vnet, sent.vnet, "partial checksums pass");
        assert_eq!(received.buffer_bytes as usize, received.bytes.len());
    }
    assert_eq!(received.len(), 5);
}

#[test]
fn the_descriptor_is_readable_while_packets_wait() {
    let (a, b) = MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
    assert!(!is_readable(&b));
    for _ in 0..3 {
        a.send(NOW, &Tcp::default().packet()).expect("it works");
    }
    assert!(is_readable(&b) && !is_readable(&a));
    assert_eq!(receive(&b, 2).len(), 2);
    assert!(is_readable(&b));
    assert_eq!(receive(&b, 2).len(), 1);
    assert!(!is_readable(&b));
}

#[test]
fn a_full_queue_is_busy_until_it_is_read() {
    let config = MemoryConfig { queue_bytes: 2_500, ..MemoryConfig::default() };
    let (a, b) = MemoryDevice::pair(config).expect("descriptors");
    let packet = Tcp::default().packet();
    assert_eq!(a.send(NOW, &packet).expect("it works"), SendOutcome::Sent);
    assert_eq!(a.send(NOW, &packet).expect("it works"), SendOutcome::Sent);
    assert_eq!(a.send(NOW, &packet).expect("it works"), SendOutcome::Busy);
    assert_eq!(receive(&b, 1).len(), 1);
    assert_eq!(a.send(NOW, &packet).expect("it works"), SendOutcome::Sent);
    let few = MemoryConfig { queue_packets: 1, ..MemoryConfig::default() };
    let (a, _b) = MemoryDevice::pair(few).expect("descriptors");
    assert_eq!(a.send(NOW, &packet).expect("it works"), SendOutcome::Sent);
    assert_eq!(a.send(NOW, &packet).expect("it works"), SendOutcome::Busy);
}

#[test]
fn packets_beyond_the_capabilities_are_dropped() {
    let (a, _b) = MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
    let large = Tcp { payload: pattern(60_000), ..Tcp::default() };
    assert_eq!(a.send(NOW, &large.clone().packet()).expect("it works"), SendOutcome::Dropped);
    assert_eq!(a.send(NOW, &large.clone().super_packet(1_448)).expect("it works"), SendOutcome::Sent);
    let config = MemoryConfig { capabilities: Capabilities::per_packet(1_500), ..MemoryConfig::default() };
    let (a, b) = MemoryDevice::pair(config).expect("descriptors");
    assert_eq!(a.send(NOW, &large.super_packet(1_448)).expect("it works"), SendOutcome::Dropped);
    assert_eq!(a.send(NOW, &Tcp::default().packet()).expect("it works"), SendOutcome::Sent);
    let received = receive(&b, 1);
    assert_eq!(received[0].vnet.checksum, Checksum::Complete);
    let ip = polytcp_wire::ip::parse(&received[0].bytes).expect("an IP packet");
    assert!(polytcp_wire::tcp::verify_checksum(
        &ip.header.addresses,
        &received[0].bytes[ip.payload_offset..]
    ));
}

#[test]
fn sending_into_an_unplugged_cable_drops() {
    let (a, b) = MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
    drop(b);
    assert_eq!(a.send(NOW, &Tcp::default().packet()).expect("it works"), SendOutcome::Dropped);
}

#[test]
fn a_waiting_reader_is_woken_by_another_thread() {
    let (a, b) = MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
    let sender = std::thread::spawn(move || {
        let packet = Tcp { kind: SegmentationKind::Tcp6, payload: Bytes::new(), ..Tcp::default() }.packet();
        for _ in 0..1_000 {
            while a.send(monotonic_now(), &packet).expect("it works") != SendOutcome::Sent {
                std::thread::yield_now();
            }
        }
        a
    });
    let received = drive(&b, std::time::Duration::from_secs(5), |out| out.len() == 1_000);
    assert_eq!(received.len(), 1_000);
    sender.join().expect("the sender is well");
}
