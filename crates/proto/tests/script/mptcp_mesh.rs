//! Endpoints with `fullmesh` and `laminar` on a live connection, as Linux has them.

use super::dsl::*;
use polytcp_proto::config::HostConfig;
use polytcp_proto::pm::command::{AddressId, Endpoint, EndpointFlags, FlagsTarget, PmCommand};

const MESH: EndpointFlags = EndpointFlags::FULLMESH;

fn config_with(subflows: u32) -> HostConfig {
    let mut config = HostConfig::default();
    config.mptcp.subflows = subflows;
    config.mptcp.add_addr_accepted = 2;
    config
}

/// The host answers the announcement of the peer's third address with these ends.
fn announced_third(s: &mut Script) -> Vec<(std::net::IpAddr, std::net::IpAddr)> {
    s.receives(ack(1, 1).add_addr(7, peer_ip(2))).sends(ack(1, 1).echo(7, peer_ip(2)));
    let first = s.line_count();
    s.ignores();
    (1..first).map(|sf| (s.host_of(sf).ip(), s.peer_of(sf).ip())).collect()
}

#[test]
fn a_new_address_is_joined_from_every_fullmesh_endpoint() {
    let mut s = Script::connected_with(config_with(8));
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW | MESH)));
    s.sends(syn().on(1).any_join_syn());
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(2), EndpointFlags::SUBFLOW | MESH)));
    s.sends(syn().on(2).any_join_syn());
    let ends = announced_third(&mut s);
    assert_eq!(
        ends,
        [
            (host_ip(1), peer_ip(0)),
            (host_ip(2), peer_ip(0)),
            (host_ip(1), peer_ip(2)),
            (host_ip(2), peer_ip(2)),
        ]
    );
}

#[test]
fn a_laminar_endpoint_answers_an_announcement_and_nothing_else() {
    let mut s = Script::connected_with(config_with(8));
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::LAMINAR))).sends_nothing();
    assert_eq!(announced_third(&mut s), [(host_ip(1), peer_ip(2))]);
}

/// Without `laminar` or `fullmesh` routing chooses: the address in the remote's own prefix.
#[test]
fn without_such_endpoints_routing_chooses() {
    let mut s = Script::connected_with(config_with(8));
    assert_eq!(announced_third(&mut s), [(host_ip(2), peer_ip(2))]);
}

#[test]
fn set_flags_makes_the_subflows_of_an_endpoint_a_mesh() {
    let mut s = Script::connected_with(config_with(8));
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW)));
    s.sends(syn().on(1).any_join_syn());
    // An address of the peer that has a subflow from elsewhere.
    assert_eq!(announced_third(&mut s).len(), 2);
    let target = FlagsTarget::Id(AddressId(1));
    s.command(&PmCommand::SetFlags { target, flags: MESH });
    s.ignores();
    let ends: Vec<_> = (3..s.line_count()).map(|sf| (s.host_of(sf).ip(), s.peer_of(sf).ip())).collect();
    assert_eq!(ends, [(host_ip(1), peer_ip(0)), (host_ip(1), peer_ip(2))]);
}
