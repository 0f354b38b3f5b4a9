//! Paths with a link in the middle that takes less than the ends think.

mod support;

use polytcp_netem::LinkConfig;
use polytcp_proto::config::{HostConfig, MtuProbing};
use polytcp_proto::pm::command::EndpointFlags;
use polytcp_proto::time::Instant;
use support::*;

fn config(probing: MtuProbing) -> HostConfig {
    let mut config = HostConfig::default();
    config.tcp.mtu_probing = probing;
    config
}

#[test]
fn a_path_that_drops_large_packets_without_a_word_works_with_mtu_probing() {
    for (probing, works) in
        [(MtuProbing::Off, false), (MtuProbing::OnBlackHole, true), (MtuProbing::Always, true)]
    {
        let mut world = World::new(3, &[mbit(20, 10)], config(probing), config(probing));
        world.filter = Box::new(|_, _, _, packet| packet.len() <= 1_300);
        let ids = world.establish();
        let report = world.transfer(Side::Client, ids, 1_000_000, secs(20));
        assert_eq!(report.received == 1_000_000, works, "{probing:?}: {report:?}");
    }
}

/// The largest packet that the path takes is found, though no router says a word, and what a probe costs is no congestion.
#[test]
fn a_search_from_below_finds_what_the_path_takes() {
    // A queue that loses nothing.
    let deep = LinkConfig { queue_bytes: Some(10 << 20), ..mbit(20, 10) };
    for (limit, probing) in
        [(1_500, MtuProbing::Always), (1_300, MtuProbing::Always), (1_300, MtuProbing::OnBlackHole)]
    {
        let mut world = World::new(3, &[deep], config(probing), config(probing));
        world.filter = Box::new(move |_, _, _, packet| packet.len() <= limit);
        let ids = world.establish();
        let report = world.transfer(Side::Client, ids, 12_000_000, secs(20));
        assert_eq!(report.received, 12_000_000, "{limit} {probing:?}: {report:?}");
        let flow = &world.client.subflows(ids.0).unwrap()[0];
        // Headers, timestamps and a DSS beside the payload.
        let found = usize::from(flow.mss_bytes) + 40 + 12 + 28;
        assert!(found <= limit && found + 16 > limit, "{limit} {probing:?}: found {found}");
        let count = |name| world.client.counters().get(name).unwrap();
        let (found, lost) = (count("TcpExtTCPMTUPSuccess"), count("TcpExtTCPMTUPFail"));
        assert!(
            found > 0 && (lost > 0) == (limit < 1_500),
            "{limit} {probing:?}: {found} arrived, {lost} were lost"
        );
        if probing == MtuProbing::Always {
            // Each goes again as two segments.
            assert_eq!(flow.retransmissions, 2 * lost, "{limit}: {flow:?}");
            assert_eq!(count("TcpExtTCPSackRecovery"), 0, "{limit}");
        }
    }
}

/// RFC 4821 §7.3: a path that takes more than it did is looked at again.
#[test]
fn a_search_that_ended_begins_again_after_a_while() {
    let mut config = config(MtuProbing::Always);
    config.tcp.mtu_probe_interval = secs(2);
    let mut world = World::new(3, &[mbit(20, 10)], config.clone(), config);
    world.filter = Box::new(|now, _, _, packet| {
        packet.len() <= if now < Instant::from_millis(3_000) { 1_200 } else { 1_500 }
    });
    let ids = world.establish();
    let report = world.transfer(Side::Client, ids, 15_000_000, secs(20));
    assert_eq!(report.received, 15_000_000, "{report:?}");
    let flow = &world.client.subflows(ids.0).unwrap()[0];
    assert!(flow.mss_bytes > 1_410, "{flow:?}");
}

#[test]
fn one_of_two_paths_that_drops_large_packets_carries_its_part() {
    let both = config(MtuProbing::OnBlackHole);
    let mut world = World::new(3, &[mbit(20, 10), mbit(20, 10)], both.clone(), both);
    world.filter = Box::new(|_, _, path, packet| path == 0 || packet.len() <= 1_300);
    world.endpoints(EndpointFlags::SUBFLOW);
    let ids = world.establish();
    world.run_for(secs(1));
    let report = world.transfer(Side::Client, ids, 30_000_000, secs(60));
    assert_eq!(report.received, 30_000_000);
    let subflows = world.client.subflows(ids.0).unwrap();
    let second = subflows.iter().find(|s| s.interface.0 == 1).expect("it is open");
    assert!(second.bytes_sent - second.bytes_retransmitted > 1_000_000, "{second:?}");
}

/// A probe that was the last to leave is repeated in part by the tail loss probe. That part arrives, which tells nothing of
/// the size; the rest is lost for its size and not for congestion (RFC 4821 §7.5).
#[test]
fn a_probe_at_the_tail_that_is_too_large_is_told_from_congestion() {
    let deep = LinkConfig { queue_bytes: Some(10 << 20), ..mbit(20, 10) };
    let mut at_tail = 0;
    // Four segments and a probe are somewhat more than 7,100 octets; at one length nothing follows.
    for octets in 7_050..7_150 {
        let mut world = World::new(3, &[deep], config(MtuProbing::Always), config(MtuProbing::Always));
        world.filter = Box::new(|_, _, _, packet| packet.len() <= 1_200);
        let ids = world.establish();
        assert_eq!(world.transfer(Side::Client, ids, octets, secs(5)).received, octets);
        world.run_for(ms(300));
        assert_eq!(world.transfer(Side::Client, ids, 2_000, secs(5)).received, 2_000);
        let counters = world.client.counters();
        at_tail += counters.tcp_mtup_fail * counters.tcp_loss_probes;
        let ssthresh = world.client.subflows(ids.0).unwrap()[0].ssthresh_bytes;
        assert_eq!(ssthresh, u32::MAX, "{octets}: a lost probe is no congestion");
    }
    assert!(at_tail > 0, "no tail loss probe met one");
}
