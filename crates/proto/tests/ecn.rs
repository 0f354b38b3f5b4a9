//! Routers that mark instead of dropping, under MPTCP (RFC 3168).

mod support;

use polytcp_netem::LinkConfig;
use polytcp_proto::config::{Ecn, HostConfig};
use polytcp_proto::pm::command::EndpointFlags;
use polytcp_wire::ip::{self, rewrite};
use support::*;

#[test]
fn marks_slow_both_subflows_down_without_a_loss() {
    let mut config = HostConfig::default();
    config.tcp.ecn = Ecn::Request;
    let link = LinkConfig { queue_bytes: Some(20_000_000), ..mbit(50, 10) };
    let mut world = World::new(3, &[link, link], config.clone(), config);
    let mut seen = [0_u32; 2];
    world.filter = Box::new(move |_, side, path, packet| {
        let mut octets = packet.header.as_slice().to_vec();
        octets.extend_from_slice(&packet.payload);
        let class = ip::parse(&octets).unwrap().header.traffic_class;
        if class == 2 && side == Side::Client {
            seen[path] += 1;
            if seen[path] % 200 == 0 {
                rewrite::set_traffic_class(&mut packet.header.storage()[..], 3).unwrap();
            }
        }
        true
    });
    world.endpoints(EndpointFlags::SUBFLOW);
    let ids = world.establish();
    world.run_for(secs(1));
    let report = world.transfer(Side::Client, ids, 10_000_000, secs(60));
    assert_eq!(report.received, 10_000_000);
    let delivered = world.client.counters().get("TcpExtTCPDeliveredCE").unwrap();
    assert!(delivered >= 10, "{delivered} segments were acknowledged with an echo");
    for subflow in world.client.subflows(ids.0).unwrap() {
        assert_eq!(subflow.retransmissions, 0);
        assert!(subflow.ssthresh_bytes < 200_000, "{} octets: slowed down", subflow.ssthresh_bytes);
    }
}
