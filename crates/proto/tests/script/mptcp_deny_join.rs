//! Flag C of MP_CAPABLE: no joins to the sender's initial address and port (RFC 8684 §3.1).

use super::dsl::*;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::Protocol;
use polytcp_proto::pm::command::{Endpoint, EndpointFlags, PmCommand};

fn denying() -> HostConfig {
    let mut config = HostConfig::default();
    config.mptcp.allow_join_initial_addr_port = false;
    config
}

/// Connected to a peer that says C, with a further address of our own.
fn denied_by_peer(config: HostConfig) -> Script {
    let mut s = Script::connecting_with(config, Protocol::Mptcp);
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW)));
    s.sends(syn().mpc());
    s.receives(syn_ack().mss(1460).sack_ok().wscale(7).mpc_c()).sends(ack(1, 1).mpc());
    s.receives(ack(1, 1).dack(1));
    s
}

#[test]
fn a_client_says_c_on_its_syn_and_its_third_ack() {
    let mut s = Script::connecting_with(denying(), Protocol::Mptcp);
    s.sends(syn().mpc_c());
    s.receives(syn_ack().mss(1460).sack_ok().wscale(7).mpc()).sends(ack(1, 1).mpc_c());
}

#[test]
fn a_server_says_c_and_refuses_a_join_to_its_initial_address() {
    let mut s = Script::listening_with(denying());
    s.receives(syn().mss(1460).sack_ok().wscale(7).mpc()).sends(syn_ack().mpc_c());
    s.receives(ack(1, 1).mpc()).accepts();
    let sf = s.add_line(0, 2000);
    s.receives(syn().on(sf).mss(1460).join_syn(1)).sends(rst_ack(0, 1).on(sf).tcprst(3));
    assert_eq!(s.count("MPJoinRejected"), 1);
    // Another address of ours takes joins.
    s.joined_by_peer(1);
}

#[test]
fn without_c_a_join_to_the_initial_address_is_accepted() {
    let mut s = Script::accepted();
    s.joined_by_peer(0);
}

#[test]
fn no_join_goes_to_the_initial_address_of_a_peer_that_says_c() {
    let mut s = denied_by_peer(HostConfig::default());
    s.sends_nothing().after(secs(100)).sends_nothing();
    assert_eq!(s.count("MPJoinSynTx"), 0);
}

/// The addresses that it saved go to the first address that the peer announces, although the limit is 0.
#[test]
fn the_first_announcement_of_a_peer_that_says_c_is_used_in_spite_of_the_limit() {
    let mut s = denied_by_peer(HostConfig::default());
    s.receives(ack(1, 1).add_addr(7, peer_ip(2)));
    s.sends(ack(1, 1).echo(7, peer_ip(2))).sends(syn().on(1).any_join_syn());
    s.receives(ack(1, 1).add_addr(8, peer_ip(1))).sends(ack(1, 1).echo(8, peer_ip(1))).sends_nothing();
}
