//! Paths with a link in the middle that takes less than the ends think.

mod support;

use polytcp_proto::config::{HostConfig, MtuProbing};
use polytcp_proto::pm::command::EndpointFlags;
use support::*;

fn config(probing: MtuProbing) -> HostConfig {
    let mut config = HostConfig::default();
    config.tcp.mtu_probing = probing;
    config
}

#[test]
fn a_path_that_drops_large_packets_without_a_word_works_with_mtu_probing() {
    for (probing, works) in [(MtuProbing::Off, false), (MtuProbing::OnBlackHole, true)] {
        let mut world = World::new(3, &[mbit(20, 10)], config(probing), config(probing));
        world.filter = Box::new(|_, _, _, packet| packet.len() <= 1_300);
        let ids = world.establish();
        let report = world.transfer(Side::Client, ids, 1_000_000, secs(20));
        assert_eq!(report.received == 1_000_000, works, "{probing:?}: {report:?}");
    }
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
