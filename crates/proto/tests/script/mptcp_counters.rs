//! Counters of `MPTcpExt` that no other story tells.

use super::dsl::*;
use polytcp_proto::pm::command::{Endpoint, EndpointFlags, PmCommand};

#[test]
fn established_connections_are_counted_until_they_close() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(7).mpc()).sends(syn_ack().mpc());
    assert_eq!(s.count("MPCurrEstab"), 0);
    s.receives(ack(1, 1).mpc()).accepts();
    assert_eq!(s.count("MPCurrEstab"), 1);
    // The peer's end is half of it: CLOSE-WAIT.
    s.receives(ack(1, 1).dack(1).data_fin(1)).sends_any();
    assert_eq!(s.count("MPCurrEstab"), 1);
    s.closes();
    s.ignores();
    assert_eq!(s.count("MPCurrEstab"), 0);
    s.idles(secs(200));
    assert_eq!((s.count("MPCurrEstab"), s.host.accounting().connections), (0, 0));
}

#[test]
fn a_connection_that_fell_back_still_counts_and_plain_tcp_does_not() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"plain")).sends(ack(1, 6).plain());
    assert_eq!(s.count("MPCurrEstab"), 1);
    s.aborts().sends_any();
    assert_eq!(s.count("MPCurrEstab"), 0);
    assert_eq!(Script::accepted_plain().count("MPCurrEstab"), 0);
}

#[test]
fn data_out_of_order_is_counted_by_its_place() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(data(1, 1, b"third").on(1).map(21));
    s.ignores();
    s.receives(data(6, 1, b"4th__").on(1).map(26));
    s.ignores();
    s.receives(data(11, 1, b"later").on(1).map(41));
    s.ignores();
    s.receives(data(16, 1, b"2nd__").on(1).map(11));
    assert_eq!((s.count("OFOQueue"), s.count("OFOQueueTail"), s.count("OFOMerge")), (4, 2, 1));
    s.ignores();
    s.receives(data(21, 1, b"far away").on(1).map(900_000_000));
    s.ignores();
    assert_eq!(s.count("NoDSSInWindow"), 1);
}

#[test]
fn data_that_came_before_on_another_subflow_is_counted() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(data(1, 1, b"abc").map(1)).sends(ack(1, 4).dack(4));
    s.receives(data(1, 1, b"def").on(1).map(4)).sends(ack(1, 4).on(1).dack(7));
    assert_eq!(s.count("DuplicateData"), 0);
    s.receives(data(4, 1, b"abc").on(1).map(1)).sends(ack(1, 7).on(1).dack(7));
    s.receives(data(4, 1, b"fg").map(6)).sends(ack(1, 6).dack(8)).reads(b"abcdefg");
    assert_eq!(s.count("DuplicateData"), 2, "all of one segment, and a part of another");
}

/// One subflow has promised more than the other, and what is free is less by now.
#[test]
fn a_window_raised_to_what_another_subflow_promised_is_counted() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(bulk(1, 1, 1400).map(1)).idles(ms(100));
    s.read();
    s.ignores();
    s.receives(bulk(1401, 1, 1400).map(1401)).idles(ms(100));
    assert_eq!(s.count("RcvWndShared"), 0);
    s.receives(bulk_at(1, 1, 2800, 1400).on(1).map(2801)).idles(ms(100));
    assert_eq!(s.count("RcvWndShared"), 1);
}

/// The subflow's own window is 1000 octets, the connection's is larger.
#[test]
fn data_beyond_a_subflows_own_window_is_counted() {
    let mut s = Script::accepted();
    s.joined_by_peer_with(1, 1000);
    s.receives(ack(1, 1).dack(1)).receives(rst(1)).nodelay();
    s.writes_bulk(0, 900).sends(bulk(1, 1, 900).on(1).map(1));
    assert_eq!(s.count("SndWndShared"), 0);
    s.receives(ack(1, 901).on(1).window(1000).dack(901));
    s.writes_bulk(900, 1200).sends(bulk(901, 1, 1200).on(1).map(901));
    assert_eq!(s.count("SndWndShared"), 1);
}

/// Its address is no one of ours any more: the join has nothing to bind to.
#[test]
fn a_join_from_an_address_that_went_fails_at_bind() {
    let mut s = Script::connected();
    s.command(&PmCommand::AddAddr(Endpoint::new("10.9.9.9".parse().unwrap(), EndpointFlags::SUBFLOW)));
    s.sends_nothing();
    assert_eq!((s.count("MPJoinSynTxBindErr"), s.count("MPJoinSynTxConnectErr")), (1, 0));
}

/// Two announcements on one packet: the second is not echoed, and the peer repeats it.
#[test]
fn a_second_announcement_on_one_packet_is_dropped() {
    let mut s = Script::connected();
    s.receives(ack(1, 1).add_addr(7, peer_ip(1)).add_addr(8, peer_ip(2)));
    s.sends(ack(1, 1).echo(7, peer_ip(1))).sends_nothing();
    assert_eq!((s.count("AddAddr"), s.count("AddAddrDrop")), (2, 1));
    s.receives(ack(1, 1).dack(1).remove_addr(&[7]).remove_addr(&[8])).sends_nothing();
    assert_eq!((s.count("RmAddr"), s.count("RmAddrDrop")), (1, 1));
}

fn counts<const N: usize>(s: &Script, names: [&str; N]) -> [u64; N] {
    names.map(|name| s.count(name))
}

#[test]
fn the_ends_of_a_handshake_are_counted_where_they_are_reached() {
    let names = ["MPCapableSYNRX", "MPCapableACKRX", "MPCapableSYNACKRX", "MPCapableFallbackSYNACK"];
    assert_eq!(counts(&Script::accepted(), names), [1, 1, 0, 0]);
    assert_eq!(counts(&Script::connected(), names), [0, 0, 1, 0]);
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives(syn_ack().mss(1460)).sends(ack(1, 1).plain());
    assert_eq!(counts(&s, names), [0, 0, 0, 1]);
    let mut s = Script::connecting();
    s.sends(syn().mpc()).receives(syn().mss(1460).mpc());
    s.ignores();
    assert_eq!(s.count("SimultConnectFallback"), 1);
}

#[test]
fn an_abort_is_counted_once_for_each_subflow_that_it_resets() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.aborts();
    s.ignores();
    assert_eq!(counts(&s, ["MPFastcloseTx", "MPRstTx"]), [2, 2]);
}

#[test]
fn an_echo_is_counted_as_sent() {
    let mut s = Script::connected();
    s.receives(ack(1, 1).dack(1).add_addr(3, peer_ip(1))).sends(ack(1, 1).echo(3, peer_ip(1)));
    assert_eq!(counts(&s, ["AddAddr", "EchoAddTx", "AddAddrTx"]), [1, 1, 0]);
}

#[test]
fn a_subflow_that_its_endpoint_takes_along_is_counted() {
    let mut s = Script::connected();
    let endpoint = Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW);
    s.command(&PmCommand::SetLimits { subflows: Some(2), add_addr_accepted: None });
    s.command(&PmCommand::AddAddr(endpoint));
    s.ignores();
    let (now, id) = (s.now, polytcp_proto::pm::command::AddressId(1));
    s.host.command(now, &PmCommand::DelAddr { id, address: None }).expect("it is there");
    assert_eq!(s.count("RmSubflow"), 1);
}

#[test]
fn data_behind_the_first_octet_without_a_mapping_is_counted() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abc").dack(1)).sends(ack(1, 4).plain());
    assert_eq!(s.count("DSSNoMatchTCP"), 0, "the peer never began");
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abc").map(1)).sends(ack(1, 4).dack(4));
    s.receives(data(4, 1, b"def")).sends(ack(1, 7).plain());
    assert_eq!(s.count("DSSNoMatchTCP"), 1);
}

#[test]
fn what_a_connection_holds_is_counted_until_it_is_acknowledged_and_read() {
    let mut s = Script::accepted();
    let held = |s: &Script| s.host.accounting().buffered_bytes;
    assert_eq!(held(&s), 0);
    s.writes_bulk(0, 1_000).sends(bulk(1, 1, 1_000).map(1));
    assert!((1_000..1_100).contains(&held(&s)), "{}", held(&s));
    s.receives(bulk(1, 1_001, 1_200).map(1).dack(1_001).pinning(2_000)).sends_any();
    assert!((1_200..=2_000).contains(&held(&s)), "{}", held(&s));
    s.reads(&octets(0, 1_200));
    assert_eq!(held(&s), 0);
}
