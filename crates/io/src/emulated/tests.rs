use std::time::Duration;

use polytcp_netem::Ratio;
use polytcp_proto::packet::Transmit;
use polytcp_wire::virtio::Checksum;

use super::*;
use crate::clock::monotonic_now;
use crate::memory::{MemoryConfig, MemoryDevice};
use crate::testing::{Tcp, drive, is_readable, octets, pattern};

/// Far more than any test here needs, for a machine that is busy with something else.
const LIMIT: Duration = Duration::from_secs(10);

fn delayed(millis: u64) -> LinkConfig {
    LinkConfig::new(0, Duration::from_millis(millis))
}

/// An emulated end and the plain one that it is joined to.
fn pair(
    egress: LinkConfig,
    ingress: LinkConfig,
    config: MemoryConfig,
) -> (Emulated<MemoryDevice>, MemoryDevice) {
    let (a, b) = MemoryDevice::pair(config).expect("descriptors");
    (Emulated::new(a, egress, ingress, 1).expect("descriptors"), b)
}

fn send(device: &impl Device, packet: &Transmit) {
    assert_eq!(device.send(monotonic_now(), packet).expect("it works"), SendOutcome::Sent);
}

fn received_now(device: &impl Device) -> Vec<Received> {
    let mut out = Vec::new();
    device.receive(monotonic_now(), 100, &mut RxPool::new(), &mut out).expect("it works");
    out
}

#[test]
fn a_perfect_link_passes_packets_unchanged_without_being_driven() {
    let (a, b) = pair(LinkConfig::default(), LinkConfig::default(), MemoryConfig::default());
    let whole = Tcp { payload: pattern(50_000), ..Tcp::default() }.super_packet(1_448);
    send(&a, &whole);
    send(&a, &Tcp::default().packet());
    let received = received_now(&b);
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].bytes, octets(&whole), "cut and joined again");
    assert_eq!(received[0].vnet, whole.vnet);
    assert_eq!(a.control().stats(Direction::Egress).link.delivered_packets, 35 + 1);
    send(&b, &whole);
    assert_eq!(received_now(&a)[0].bytes, octets(&whole));
    assert_eq!(a.control().stats(Direction::Ingress).link.delivered_packets, 35);
}

#[test]
fn both_directions_are_delayed_and_keep_their_order() {
    let (a, b) = pair(delayed(20), delayed(30), MemoryConfig::default());
    let start = monotonic_now();
    let packets: Vec<_> = (0..20).map(|i| Tcp { seq: i * 7, ..Tcp::default() }.packet()).collect();
    for packet in &packets {
        send(&a, packet);
        send(&b, packet);
    }
    assert!(received_now(&b).is_empty());
    let ingress = drive(&a, LIMIT, |out| out.len() == 20);
    assert!(monotonic_now() - start >= Duration::from_millis(30));
    let egress = drive(&b, LIMIT, |out| out.len() == 20);
    for (i, packet) in packets.iter().enumerate() {
        assert_eq!(ingress[i].bytes, octets(packet));
        assert_eq!(egress[i].bytes, octets(packet));
    }
}

#[test]
fn a_device_without_offload_gets_finished_packets_of_the_mtu() {
    let config = MemoryConfig { capabilities: Capabilities::per_packet(1_500), ..MemoryConfig::default() };
    let (a, b) = pair(LinkConfig::default(), LinkConfig::default(), config);
    assert_eq!(a.capabilities(), Capabilities::offload(1_500));
    send(&a, &Tcp { payload: pattern(50_000), ..Tcp::default() }.super_packet(1_448));
    let received = received_now(&b);
    assert_eq!(received.len(), 35);
    for packet in received {
        assert_eq!((packet.vnet.checksum, packet.vnet.segmentation), (Checksum::Complete, None));
        let ip = polytcp_wire::ip::parse(&packet.bytes).expect("an IP packet");
        assert!(polytcp_wire::tcp::verify_checksum(&ip.header.addresses, &packet.bytes[ip.payload_offset..]));
    }
}

#[test]
fn a_sender_on_another_thread_wakes_a_driver_that_sleeps_without_deadline() {
    let (a, b) = pair(delayed(5), LinkConfig::default(), MemoryConfig::default());
    assert_eq!(a.deadline(), None);
    assert!(!is_readable(&a));
    send(&a, &Tcp::default().packet());
    assert!(is_readable(&a), "the driver has to ask again");
    a.advance(monotonic_now()).expect("it works");
    assert!(!is_readable(&a));
    let deadline = a.deadline().expect("a packet is under way");
    send(&a, &Tcp::default().packet());
    assert!(!is_readable(&a), "the driver knows of an earlier deadline");
    a.advance(deadline + Duration::from_secs(1)).expect("it works");
    assert_eq!(received_now(&b).len(), 2);
    assert_eq!(a.deadline(), None);
}

#[test]
fn a_shorter_delay_set_by_another_thread_wakes_the_driver() {
    let (a, b) = pair(delayed(3_600_000), LinkConfig::default(), MemoryConfig::default());
    let control = a.control();
    let rate = LinkConfig { rate_bits_per_sec: std::num::NonZeroU64::new(1), ..LinkConfig::default() };
    control.set_link(Direction::Egress, rate);
    assert_eq!(control.link(Direction::Egress), rate);
    send(&a, &Tcp::default().packet());
    assert!(a.deadline().expect("it departs some day") > monotonic_now() + Duration::from_secs(60));
    a.advance(monotonic_now()).expect("it works");
    let changer = std::thread::spawn(move || control.set_link(Direction::Egress, LinkConfig::default()));
    let mut arrived = 0;
    drive(&a, LIMIT, |_| {
        arrived += received_now(&b).len();
        arrived == 1
    });
    assert_eq!(arrived, 1);
    changer.join().expect("it is well");
}

#[test]
fn a_cut_link_takes_packets_and_delivers_none_until_it_is_restored() {
    let (a, b) = pair(delayed(1), LinkConfig::default(), MemoryConfig::default());
    let control = a.control();
    send(&a, &Tcp::default().packet());
    control.cut_both();
    assert!(!control.is_up(Direction::Egress));
    send(&a, &Tcp::default().packet());
    send(&b, &Tcp::default().packet());
    assert!(received_now(&a).is_empty());
    assert_eq!(a.deadline(), None);
    control.restore_both();
    send(&a, &Tcp { seq: 5, ..Tcp::default() }.packet());
    a.advance(monotonic_now() + Duration::from_secs(1)).expect("it works");
    assert_eq!(received_now(&b).len(), 1);
    assert_eq!(control.stats(Direction::Egress).link.cut_drops, 2);
    assert_eq!(control.stats(Direction::Ingress).link.cut_drops, 1);
}

#[test]
fn losses_are_counted_in_packets_of_the_mtu() {
    let lossy = LinkConfig { loss: Ratio::from_percent(10), ..LinkConfig::default() };
    let (a, b) = pair(lossy, LinkConfig::default(), MemoryConfig::default());
    let mut arrived = 0;
    for i in 0..100 {
        send(&a, &Tcp { seq: i * 14_480, payload: pattern(14_480), ..Tcp::default() }.super_packet(1_448));
        arrived += received_now(&b).iter().map(|packet| packet.bytes.len() - 52).sum::<usize>();
    }
    let link = a.control().stats(Direction::Egress).link;
    assert_eq!(link.packets + link.lost, 1_000);
    assert!((60..140).contains(&link.lost), "{}", link.lost);
    assert_eq!(arrived as u64, link.delivered_packets * 1_448);
}

#[test]
fn what_a_busy_device_refuses_is_kept_and_offered_again() {
    let config = MemoryConfig { queue_packets: 1, ..MemoryConfig::default() };
    let (a, b) = pair(LinkConfig::default(), LinkConfig::default(), config);
    for i in 0..4 {
        send(&a, &Tcp { seq: i * 5_000, ..Tcp::default() }.packet());
    }
    let now = monotonic_now();
    assert!(a.deadline().expect("it tries again") < now + Duration::from_millis(1));
    a.advance(now).expect("it works");
    assert!(a.deadline().is_some_and(|retry| retry != Instant::ZERO), "it does not try without a pause");
    let mut received = Vec::new();
    drive(&a, LIMIT, |_| {
        received.extend(received_now(&b));
        received.len() == 4
    });
    let seqs: Vec<_> = received.iter().map(|packet| packet.bytes[24..28].to_vec()).collect();
    assert_eq!(seqs, (0..4u32).map(|i| (i * 5_000).to_be_bytes().to_vec()).collect::<Vec<_>>());
}

#[test]
fn what_does_not_fit_or_contradicts_itself_is_counted() {
    let (a, b) = pair(LinkConfig::default(), LinkConfig::default(), MemoryConfig::default());
    send(&a, &Tcp { payload: pattern(3_000), ..Tcp::default() }.packet());
    let mut udp = Tcp::default().super_packet(100);
    udp.header.storage()[9] = 17;
    send(&a, &udp);
    let stats = a.control().stats(Direction::Egress);
    assert_eq!((stats.oversized, stats.malformed), (1, 1));
    drop(b);
    send(&a, &Tcp::default().packet());
    assert_eq!(a.control().stats(Direction::Egress).refused, 1);
}

#[test]
fn the_budget_of_a_receive_is_kept_and_the_rest_is_due_at_once() {
    let (a, b) = pair(LinkConfig::default(), LinkConfig::default(), MemoryConfig::default());
    for i in 0..10 {
        send(&b, &Tcp { seq: i * 5_000, ..Tcp::default() }.packet());
    }
    let mut out = Vec::new();
    assert_eq!(a.receive(monotonic_now(), 3, &mut RxPool::new(), &mut out).expect("it works"), 3);
    assert!(a.deadline().is_some_and(|deadline| deadline <= monotonic_now()));
    assert_eq!(drive(&a, LIMIT, |out| out.len() == 7).len(), 7);
}

#[test]
fn a_damaged_packet_arrives_with_one_bit_flipped_under_a_complete_checksum() {
    let damaging = LinkConfig { corrupt: Ratio::ONE, ..LinkConfig::default() };
    let (a, b) = pair(damaging, damaging, MemoryConfig::default());
    let packet = Tcp::default().packet();
    let mut whole = packet.clone();
    crate::segment::complete(&mut whole).expect("well formed");
    for _ in 0..200 {
        for (from, to) in [(&a as &dyn Device, &b as &dyn Device), (&b, &a)] {
            from.send(monotonic_now(), &packet).expect("it works");
            let mut out = Vec::new();
            to.receive(monotonic_now(), 10, &mut RxPool::new(), &mut out).expect("it works");
            assert_eq!((out.len(), out[0].vnet.checksum), (1, Checksum::Complete));
            let pairs = out[0].bytes.iter().zip(octets(&whole));
            assert_eq!(pairs.map(|(is, was)| (is ^ was).count_ones()).sum::<u32>(), 1);
        }
    }
    assert_eq!(a.control().stats(Direction::Egress).link.corrupted, 200);
}

#[test]
fn damage_is_not_mended_by_joining() {
    let damaging = LinkConfig { corrupt: Ratio::from_percent(50), ..LinkConfig::default() };
    let (a, b) = pair(damaging, LinkConfig::default(), MemoryConfig::default());
    let mut sound = 0;
    for i in 0..100 {
        let segment = Tcp { seq: i * 14_480, payload: pattern(14_480), ..Tcp::default() };
        send(&a, &segment.super_packet(1_448));
        for packet in received_now(&b) {
            let sums = polytcp_wire::ip::parse(&packet.bytes).is_ok_and(|ip| {
                let segment = &packet.bytes[ip.payload_offset..];
                polytcp_wire::tcp::verify_checksum(&ip.header.addresses, segment)
            });
            match packet.vnet.segmentation {
                Some(_) => sound += (packet.bytes.len() - 52) / 1_448,
                None if sums || packet.vnet.checksum != Checksum::Complete => sound += 1,
                None => {}
            }
        }
    }
    let link = a.control().stats(Direction::Egress).link;
    assert_eq!(sound as u64, link.delivered_packets - link.corrupted);
}

#[test]
fn copies_and_codel_and_bursts_of_loss_work_in_real_time_too() {
    let twice = LinkConfig { duplicate: Ratio::ONE, ..LinkConfig::default() };
    let (a, b) = pair(twice, LinkConfig::default(), MemoryConfig::default());
    send(&a, &Tcp::default().packet());
    assert_eq!(received_now(&b).len(), 2);

    let never = polytcp_netem::GilbertElliott::bursts(Ratio::ONE, Ratio::ZERO);
    let burst = LinkConfig { burst_loss: Some(never), ..LinkConfig::default() };
    let (a, b) = pair(burst, LinkConfig::default(), MemoryConfig::default());
    for _ in 0..10 {
        send(&a, &Tcp::default().packet());
    }
    assert_eq!((received_now(&b).len(), a.control().stats(Direction::Egress).link.lost), (1, 9));
}

#[test]
fn a_trace_set_by_another_thread_rules_the_link() {
    let (a, b) = pair(delayed(3_600_000), LinkConfig::default(), MemoryConfig::default());
    let step = |millis, rate_bits_per_sec| polytcp_netem::TraceStep {
        at: Duration::from_millis(millis),
        rate_bits_per_sec,
        delay: Duration::ZERO,
    };
    let trace = polytcp_netem::Trace::new([step(0, 0), step(40, 1_000_000_000)], Duration::from_secs(3_600));
    let start = monotonic_now();
    a.control().follow(Direction::Egress, Some(trace.expect("a trace")));
    send(&a, &Tcp::default().packet());
    assert!(received_now(&b).is_empty());
    let mut arrived = 0;
    drive(&a, LIMIT, |_| {
        arrived += received_now(&b).len();
        arrived == 1
    });
    assert_eq!(arrived, 1);
    assert!(monotonic_now() - start >= Duration::from_millis(40));
}
