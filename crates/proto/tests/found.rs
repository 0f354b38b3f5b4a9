//! Faults found by scripts and not mended yet: each test fails until its fault is gone, and then moves to the
//! file where it belongs.

#[path = "script/dsl.rs"]
mod dsl;

use dsl::*;
use polytcp_proto::config::HostConfig;

#[test]
fn an_acknowledgement_counts_although_its_data_meets_a_shut_window() {
    let mut config = HostConfig::default();
    config.tcp.recv_buffer_bytes = core::num::NonZeroU32::new(4_500).unwrap();
    let mut s = Script::accepted_plain_with(config);
    s.writes(b"hello").sends(data(1, 1, b"hello"));
    for i in 0..3 {
        s.receives(bulk(1 + 1460 * i, 1, 1460));
        s.ignores();
    }
    s.receives(bulk(4381, 1, 120));
    s.ignores();
    // The peer, with its own window probe of one octet, acknowledges what we sent.
    s.receives(bulk(4501, 6, 1)).sends(ack(6, 4501).window(0));
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 5);
}

#[test]
fn no_join_goes_to_an_address_that_names_no_single_host() {
    let mut config = HostConfig::default();
    config.mptcp.add_addr_accepted = 8;
    config.mptcp.subflows = 8;
    let mut s = Script::connected_with(config);
    for (id, address) in
        ["224.0.0.1", "255.255.255.255", "0.0.0.0", "10.0.0.1", "127.0.0.1"].iter().enumerate()
    {
        let id = id as u8 + 1;
        s.receives(ack(1, 1).add_addr(id, address.parse().unwrap()));
        s.sends(ack(1, 1).echo(id, address.parse().unwrap())).sends_nothing();
    }
}

#[test]
fn data_that_falls_back_after_data_fin_is_not_read() {
    let mut s = Script::accepted();
    s.receives(ack(1, 1).dack(1).data_fin(1)).sends(ack(1, 1).dack(2)).reads_end();
    s.receives(data(1, 1, b"more"));
    s.ignores();
    s.reads_end();
}

#[test]
fn an_echo_larger_than_the_mtu_is_not_answered_with_one() {
    let mut s = Script::listening();
    s.pinged(3_000);
    assert!(s.others.iter().all(|packet| packet.len() <= 1500));
    s.pinged(500);
    assert_eq!(s.others.pop().map(|packet| packet.len()), Some(528));
}

fn lowers_mtu(s: &mut Script, mtu: u16) {
    let now = s.now;
    s.host.set_mtu(now, polytcp_proto::packet::InterfaceId(0), mtu);
}

#[test]
fn a_connection_whose_handshake_runs_keeps_to_a_lowered_mtu() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok()).sends(syn_ack());
    lowers_mtu(&mut s, 1280);
    s.receives(ack(1, 1)).accepts();
    s.writes_bulk(0, 1460).sends(bulk(1, 1, 1240));
}
