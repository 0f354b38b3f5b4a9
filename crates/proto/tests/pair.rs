//! Two hosts on emulated links: handshakes, transfers, losses, cuts and ends.

mod support;

use polytcp_proto::config::HostConfig;
use polytcp_proto::pm::command::EndpointFlags;
use support::*;

fn world(seed: u64, links: &[polytcp_netem::LinkConfig]) -> World {
    let mut world = World::new(seed, links, HostConfig::default(), HostConfig::default());
    world.endpoints(EndpointFlags::SUBFLOW);
    world
}

#[test]
fn one_path_carries_a_stream_up_and_down() {
    for from in [Side::Client, Side::Server] {
        let mut world = world(1, &[mbit(50, 10)]);
        let ids = world.establish();
        let report = world.transfer(from, ids, 5_000_000, secs(30));
        assert_eq!(report.received, 5_000_000);
        assert!(report.mbit_per_sec() > 30.0, "{report:?} {}", report.mbit_per_sec());
        assert!(world.client.info(ids.0).unwrap().is_mptcp);
        assert!(world.server.info(ids.1).unwrap().is_mptcp);
    }
}

#[test]
fn two_paths_carry_more_than_one() {
    for from in [Side::Client, Side::Server] {
        let mut world = world(2, &[mbit(20, 20), mbit(10, 50)]);
        let ids = world.establish();
        let report = world.transfer(from, ids, 30_000_000, secs(60));
        assert_eq!(report.received, 30_000_000);
        assert_eq!(world.client.subflows(ids.0).unwrap().len(), 2);
        assert!(report.mbit_per_sec() > 24.0, "{report:?} {}", report.mbit_per_sec());
    }
}
