//! SYN cookies: handshakes that nobody remembers (RFC 4987 §3.6), with MPTCP.

use super::dsl::*;
use polytcp_proto::config::{HostConfig, SynCookies};

fn always() -> HostConfig {
    let mut config = config();
    config.tcp.syncookies = SynCookies::Always;
    config
}

fn count(s: &Script, name: &str) -> u64 {
    s.host.counters().get(name).expect("a counter")
}

#[test]
fn a_cookie_stands_for_the_request() {
    let mut s = Script::listening_with(always());
    s.receives(syn().mss(1460).sack_ok().wscale(7).ts()).sends(syn_ack().mss(1460).wscale(7).ts().plain());
    assert_eq!((s.host.accounting().half_open, s.host.accounting().timers), (0, 0));
    s.after(secs(5)).receives(ack(1, 1)).sends_nothing().accepts();
    s.receives(data(1, 1, b"hello")).sends(ack(1, 6).ts()).reads(b"hello");
    assert_eq!((count(&s, "TcpExtSyncookiesSent"), count(&s, "TcpExtSyncookiesRecv")), (1, 1));
    assert_eq!(count(&s, "TcpExtTCPReqQFullDoCookies"), 1);
}

#[test]
fn window_scale_and_sack_come_back_in_the_timestamp() {
    let mut s = Script::listening_with(always());
    s.receives(syn().mss(1460).sack_ok().wscale(7).ts()).sends(syn_ack());
    s.receives(ack(1, 1).window(100)).accepts();
    s.receives(data(11, 1, b"later").window(100)).sends(ack(1, 1).sack(&[(11, 16)]));
    s.writes_bulk(0, 20_000);
    let mut end = 0;
    s.idles_into(&mut end, ms(150));
    assert_eq!(end, 1 + 8 * 1448, "the window is 100 units of 128 octets, or eight segments and a bit");
}

#[test]
fn a_peer_without_window_scale_is_not_given_one() {
    let mut s = Script::listening_with(always());
    s.receives(syn().mss(1460).ts()).sends(syn_ack().wscale(99).ts());
    s.receives(ack(1, 1).window(3_000)).accepts();
    s.receives(data(11, 1, b"later").window(3_000)).sends(ack(1, 1).sack(&[]));
    s.writes_bulk(0, 20_000);
    let mut end = 0;
    s.idles_into(&mut end, ms(150));
    assert_eq!(end, 1 + 2 * 1448);
}

#[test]
fn without_timestamps_there_is_neither_window_scale_nor_sack() {
    let mut s = Script::listening_with(always());
    s.receives(syn().mss(1460).sack_ok().wscale(7)).sends(syn_ack().wscale(99).without_ts());
    s.receives(ack(1, 1)).accepts();
    s.receives(data(11, 1, b"later")).sends(ack(1, 1).sack(&[]));
}

#[test]
fn ecn_comes_back_in_the_timestamp_or_is_not_agreed_on() {
    let mut s = Script::listening_with(always());
    s.receives(syn().mss(1460).sack_ok().wscale(7).ts().ece().cwr()).sends(syn_ack().ece().ts());
    s.receives(ack(1, 1)).accepts();
    s.writes(b"hello").sends(data(1, 1, b"hello").ecn(2));
    let mut s = Script::listening_with(always());
    s.receives(syn().mss(1460).sack_ok().wscale(7).ece().cwr()).sends(syn_ack().without_ts());
    s.receives(ack(1, 1)).accepts();
    s.writes(b"hello").sends(data(1, 1, b"hello").ecn(0));
}

#[test]
fn the_keys_of_mptcp_come_back_in_the_third_ack() {
    let mut s = Script::listening_with(always());
    s.receives(syn().mss(1460).sack_ok().wscale(7).ts().mpc()).sends(syn_ack().mpc());
    assert_eq!(s.host.accounting().tokens, 0);
    s.receives(ack(1, 1).mpc()).accepts();
    assert!(s.is_mptcp());
    s.receives(data(1, 1, b"hello").dack(1).map(1)).sends(ack(1, 6).dack(6)).reads(b"hello");
    s.writes(b"world").sends(data(1, 6, b"world").dack(6).map(1));
}

#[test]
fn the_first_data_with_its_keys_stands_for_a_lost_third_ack() {
    let mut s = Script::listening_with(always());
    s.receives(syn().mss(1460).sack_ok().wscale(7).ts().mpc()).sends(syn_ack().mpc());
    s.receives(data(1, 1, b"hello").mpc()).sends(ack(1, 6).dack(6)).accepts().reads(b"hello");
    assert!(s.is_mptcp());
}

#[test]
fn a_third_ack_without_keys_makes_plain_tcp() {
    let mut s = Script::listening_with(always());
    s.receives(syn().mss(1460).ts().mpc()).sends(syn_ack().mpc());
    s.receives(ack(1, 1)).sends_nothing().accepts();
    assert!(!s.is_mptcp());
}

#[test]
fn a_peer_cannot_choose_our_key() {
    use polytcp_proto::mptcp::key::Key;
    let mut s = Script::listening_with(always());
    s.receives(syn().mss(1460).ts().mpc()).sends(syn_ack().mpc());
    let key = s.host_key.replace(Key::from_wire(99));
    s.receives(ack(1, 1).mpc()).sends_nothing().accepts_nothing();
    s.host_key = key;
    s.receives(ack(1, 1).mpc()).accepts();
}

#[test]
fn a_join_needs_no_request_either() {
    let mut s = Script::listening_with(always());
    s.receives(syn().mss(1460).sack_ok().wscale(7).ts().mpc()).sends(syn_ack().mpc());
    s.receives(ack(1, 1).mpc()).accepts();
    s.receives(data(1, 1, b"hello").dack(1).map(1)).sends(ack(1, 6).dack(6)).reads(b"hello");
    let sf = s.add_line(1, 2001);
    s.receives(syn().on(sf).mss(1460).sack_ok().wscale(7).ts().join_syn(1));
    s.sends(syn_ack().on(sf).join_syn_ack());
    assert_eq!(s.host.accounting().half_open, 0);
    // A wrong HMAC ends it, and the right one comes too late.
    s.receives(ack(1, 1).on(sf).join_ack_wrong()).sends(rst(1).on(sf));
    s.receives(ack(1, 1).on(sf).join_ack()).sends_nothing();
    s.receives(syn().on(sf).mss(1460).sack_ok().wscale(7).ts().join_syn(1));
    s.sends(syn_ack().on(sf).join_syn_ack());
    s.receives(ack(1, 1).on(sf).join_ack()).sends(ack(1, 1).on(sf).dack(6));
    assert_eq!(s.host.subflows(s.id()).unwrap().len(), 2);
}

#[test]
fn a_guess_is_refused_and_counted() {
    let mut s = Script::listening_with(always());
    // Nothing was asked: an acknowledgement is no cookie.
    s.receives(ack(1, 1)).sends(rst(1));
    assert_eq!(count(&s, "TcpExtSyncookiesFailed"), 0);
    s.receives(syn().mss(1460)).sends(syn_ack());
    s.receives(ack(1, 2)).sends(rst(2)).accepts_nothing();
    assert_eq!(count(&s, "TcpExtSyncookiesFailed"), 1);
    // Two minutes later no cookie is taken at all.
    s.after(secs(120)).receives(ack(1, 1)).sends(rst(1)).accepts_nothing();
}

#[test]
fn a_client_gets_through_a_flood_of_100_000_syns() {
    let mut s = Script::listening_for(config(), 128, 2);
    s.floods(0, 50_000);
    s.receives(syn().on(1).mss(1460).sack_ok().wscale(7).ts().mpc()).sends(syn_ack().on(1).mpc());
    s.floods(0, 50_000);
    s.receives(ack(1, 1).on(1).mpc()).accepts();
    assert!(s.is_mptcp());
    let held = s.host.accounting();
    assert_eq!((held.half_open, held.connections), (128, 1));
    assert!(held.flows <= 129 && held.timers <= 140, "{held:?}");
    // The second half repeats the peers of the first: those that are requests are not asked again.
    assert_eq!(count(&s, "TcpExtSyncookiesSent"), 100_001 - 256);
}
