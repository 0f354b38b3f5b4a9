//! Paths that change the order of packets, or stop for a while, without losing any: what looks like loss is none.

mod support;

use polytcp_netem::{LinkConfig, Order};
use polytcp_proto::config::HostConfig;
use support::*;

fn counter(world: &World, name: &str) -> u64 {
    world.client.counters().get(name).expect("Linux has it")
}

#[test]
fn mistakes_about_a_path_that_reorders_are_taken_back() {
    let link = LinkConfig { jitter: ms(25), order: Order::Free, ..mbit(50, 20) };
    let mut world = World::new(5, &[link], HostConfig::default(), HostConfig::default());
    let ids = world.establish();
    let report = world.transfer(Side::Client, ids, 20_000_000, secs(60));
    assert_eq!(report.received, 20_000_000);
    assert!(counter(&world, "TcpExtTCPSACKReorder") > 0);
    let undone: u64 = ["TcpExtTCPFullUndo", "TcpExtTCPPartialUndo", "TcpExtTCPDSACKUndo"]
        .iter()
        .map(|name| counter(&world, name))
        .sum();
    assert!(undone > 0);
    let goodput = report.mbit_per_sec();
    assert!(goodput > 12.0, "{goodput:.1} of 50 Mbit/s");
}

#[test]
fn a_path_that_becomes_slow_keeps_its_window() {
    let mut world = World::new(5, &[mbit(20, 20)], HostConfig::default(), HostConfig::default());
    let ids = world.establish();
    world.transfer(Side::Client, ids, 2_000_000, secs(20));
    let before = world.client.subflows(ids.0).unwrap()[0].cwnd_bytes;
    // Acknowledgements take 1.5 s from now on: nothing was lost.
    let (now, later) = (world.now, LinkConfig { delay: ms(1_500), ..mbit(20, 20) });
    world.paths[0].down.set_config(now, later);
    let report = world.transfer(Side::Client, ids, 2_100_000, secs(1));
    assert!(report.received > 0);
    world.run_for(secs(3));
    assert!(counter(&world, "TcpExtTCPTimeouts") > 0);
    assert!(counter(&world, "TcpExtTCPLossUndo") > 0);
    let after = world.client.subflows(ids.0).unwrap()[0].cwnd_bytes;
    assert!(after >= before / 2, "{after} of {before} octets");
}
