//! Three-way handshakes, plain and with MP_CAPABLE; fallback; the schedule of SYNs (RFC 9293 §3.5, RFC 8684 §3.1).

use super::dsl::*;
use polytcp_proto::host::{CallError, ConnectError, ConnectOptions, ConnectionError, Protocol};
use polytcp_proto::time::Instant;
use polytcp_wire::mptcp::{Capable, CapableFlags, CapableForm, MptcpOption};

#[test]
fn a_server_accepts_plain_tcp() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(7).ts());
    s.sends(syn_ack().mss(1460).wscale(7).ts().plain());
    s.accepts_nothing().receives(ack(1, 1)).sends_nothing().accepts();
    assert!(!s.is_mptcp());
    s.receives(data(1, 1, b"hello")).sends(ack(1, 6).ts().plain()).reads(b"hello");
}

#[test]
fn a_syn_ack_offers_only_what_the_syn_did() {
    let mut s = Script::listening();
    s.receives(syn());
    s.sends(syn_ack().mss(1460).wscale(99).without_ts().plain());
}

/// `tcp_sack` 0 and `tcp_timestamps` 0: neither is offered, nor taken from a peer that offers it.
#[test]
fn a_host_without_sack_and_timestamps_agrees_on_neither() {
    for (sack, timestamps) in [(false, true), (true, false), (false, false)] {
        let mut config = config();
        (config.tcp.sack, config.tcp.timestamps) = (sack, timestamps);
        let as_set = |seg: Seg| {
            let seg = if timestamps { seg.ts() } else { seg.without_ts() };
            if sack { seg.sack_ok() } else { seg.without_sack() }
        };
        let hole = |s: &mut Script| {
            s.receives(bulk(1001, 1, 1000).map(1001));
            let answer = if sack { ack(1, 1).sack(&[(1001, 2001)]) } else { ack(1, 1).sack(&[]) };
            s.sends(if timestamps { answer.ts() } else { answer.without_ts() });
        };
        let mut s = Script::listening_with(config.clone());
        s.receives(syn().mss(1460).sack_ok().wscale(7).ts().mpc()).sends(as_set(syn_ack().mpc()));
        s.receives(ack(1, 1).mpc()).accepts();
        hole(&mut s);
        let mut s = Script::connecting_with(config, Protocol::Mptcp);
        s.sends(as_set(syn().mpc()));
        s.receives(as_set(syn_ack().mss(1460).wscale(7).mpc())).sends(ack(1, 1).mpc());
        s.receives(ack(1, 1).dack(1)).sends_nothing();
        hole(&mut s);
    }
}

/// A cookie brings back no more than was agreed on.
#[test]
fn a_host_without_sack_agrees_on_none_by_cookie() {
    for (sack, timestamps) in [(false, true), (true, false)] {
        let mut config = config();
        (config.tcp.sack, config.tcp.timestamps) = (sack, timestamps);
        config.tcp.syncookies = polytcp_proto::config::SynCookies::Always;
        let mut s = Script::listening_with(config);
        s.receives(syn().mss(1460).sack_ok().wscale(7).ts().mpc());
        s.sends(syn_ack().without_sack().mpc());
        s.receives(ack(1, 1).mpc()).accepts();
        s.receives(bulk(1001, 1, 1000).map(1001)).sends(ack(1, 1).sack(&[]));
    }
}

#[test]
fn a_server_accepts_mptcp_with_keys() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(7).ts().mpc());
    s.sends(syn_ack().mpc().ts());
    s.receives(ack(1, 1).mpc()).accepts();
    assert!(s.is_mptcp());
    s.receives(data(1, 1, b"hello").dack(1).map(1)).sends(ack(1, 6).dack(6)).reads(b"hello");
    s.writes(b"world").sends(data(1, 6, b"world").dack(6).map(1));
}

#[test]
fn the_first_data_with_mp_capable_stands_for_a_lost_third_ack() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(7).mpc()).sends(syn_ack().mpc());
    s.receives(data(1, 1, b"hello").mpc()).sends(ack(1, 6).dack(6)).accepts().reads(b"hello");
    assert!(s.is_mptcp());
}

/// The third ACK is lost, or late: what follows it says that the peer speaks MPTCP, and has to wait for the keys.
#[test]
fn what_overtakes_the_third_ack_with_an_option_of_mptcp_does_not_make_plain_tcp() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(7).mpc()).sends(syn_ack().mpc());
    s.receives(ack(1, 1).dack(1).data_fin(1)).sends_nothing().accepts_nothing();
    assert_eq!(s.host.counters().get("MPTcpExtMPCapableFallbackACK"), Some(0));
    s.after(secs(1)).sends(syn_ack().mpc());
    s.receives(ack(1, 1).mpc()).accepts();
    assert!(s.is_mptcp());
}

#[test]
fn a_third_ack_without_mp_capable_makes_plain_tcp() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(7).mpc()).sends(syn_ack().mpc());
    s.receives(ack(1, 1)).sends_nothing().accepts();
    assert!(!s.is_mptcp());
    assert_eq!(s.host.counters().get("MPTcpExtMPCapableFallbackACK"), Some(1));
    s.receives(data(1, 1, b"hello")).sends(ack(1, 6).plain()).reads(b"hello");
    s.writes(b"world").sends(data(1, 6, b"world").plain());
}

#[test]
fn first_data_without_dss_falls_back_on_the_server() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"hello")).sends(ack(1, 6).plain()).reads(b"hello");
    assert!(!s.is_mptcp());
    s.writes(b"world").sends(data(1, 6, b"world").infinite(1, 1));
    s.receives(ack(6, 6)).shuts_down().sends(fin(6, 6).plain());
}

#[test]
fn a_repeated_syn_is_answered_with_the_same_syn_ack() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).mpc()).sends(syn_ack().mpc());
    let iss = s.host_iss(0);
    // Not more often than every half second.
    s.receives(syn().mss(1460).mpc()).sends_nothing();
    s.after(ms(500)).receives(syn().mss(1460).mpc()).sends(syn_ack().mpc());
    assert_eq!(s.host_iss(0), iss);
    s.receives(ack(1, 1).mpc()).accepts();
}

#[test]
fn a_syn_ack_is_repeated_with_back_off_and_then_given_up() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).mpc()).sends(syn_ack().mpc());
    for wait in [1, 2, 4, 8, 16] {
        s.after(secs(wait)).sends(syn_ack().mpc());
    }
    assert_eq!(s.host.accounting().half_open, 1);
    s.after(secs(32)).sends_nothing();
    assert_eq!(s.host.accounting().half_open, 0);
}

#[test]
fn a_reset_ends_a_half_open_request_only_at_the_exact_number() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460)).sends(syn_ack());
    s.receives(rst(2)).sends_nothing();
    assert_eq!(s.host.accounting().half_open, 1);
    s.receives(rst(1)).sends_nothing();
    assert_eq!(s.host.accounting().half_open, 0);
    s.accepts_nothing();
}

#[test]
fn a_third_ack_for_another_number_is_answered_with_a_reset() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460)).sends(syn_ack());
    s.receives(ack(1, 7)).sends(rst(7));
    s.receives(ack(1, 1)).accepts();
}

#[test]
fn a_segment_for_nobody_is_answered_with_a_reset() {
    let mut s = Script::listening();
    s.receives(data(1, 7, b"who?")).sends(rst(7));
    s.receives(data(1, 0, b"who?").no_ack_flag()).sends(rst_ack(0, 5));
    s.receives(rst(1)).sends_nothing();
}

#[test]
fn a_client_connects_with_mptcp() {
    let mut s = Script::connecting();
    s.sends(syn().mss(1460).wscale(7).ts().mpc());
    s.receives(syn_ack().mss(1460).sack_ok().wscale(7).ts().mpc()).sends(ack(1, 1).mpc().ts());
    assert!(s.is_mptcp());
    s.writes(b"hello").sends(data(1, 1, b"hello").mpc());
    s.receives(ack(1, 6).dack(6)).sends_nothing();
    s.writes(b"again").sends(data(6, 1, b"again").map(6).dack(1));
}

#[test]
fn a_repeated_syn_ack_is_answered_with_the_keys_again() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives(syn_ack().mss(1460).mpc()).sends(ack(1, 1).mpc());
    // Our third ACK was lost.
    s.after(secs(1)).receives(syn_ack().mss(1460).mpc()).sends(ack(1, 1).mpc());
    s.receives(ack(1, 1).dack(1)).sends_nothing();
}

#[test]
fn keys_go_with_every_ack_until_the_peer_speaks_dss() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives(syn_ack().mss(1460).wscale(0).mpc()).sends(ack(1, 1).mpc());
    s.receives(data(1, 1, b"early").map(1)).sends(ack(1, 6).mpc()).reads(b"early");
    s.receives(data(6, 1, b"first").map(6).dack(1)).sends(ack(1, 11).dack(11)).reads(b"first");
}

#[test]
fn a_syn_ack_without_mp_capable_makes_plain_tcp() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives(syn_ack().mss(1460).sack_ok()).sends(ack(1, 1).plain());
    assert!(!s.is_mptcp());
    s.writes(b"hello").sends(data(1, 1, b"hello").plain());
    s.receives(data(1, 6, b"world")).sends(ack(6, 6).plain()).reads(b"world");
}

#[test]
fn a_syn_ack_of_version_0_makes_plain_tcp() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    let flags = CapableFlags { crypto: 1, ..CapableFlags::default() };
    let old = Capable { version: 0, flags, form: CapableForm::SynAck { sender_key: PEER_KEY } };
    s.receives(syn_ack().mss(1460).option(MptcpOption::Capable(old))).sends(ack(1, 1).plain());
    assert!(!s.is_mptcp());
}

#[test]
fn first_data_without_dss_falls_back_on_the_client() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives(syn_ack().mss(1460).wscale(0).mpc()).sends(ack(1, 1).mpc());
    s.receives(data(1, 1, b"hello")).sends(ack(1, 6).plain()).reads(b"hello");
    assert!(!s.is_mptcp());
    s.writes(b"world").sends(data(1, 6, b"world").infinite(1, 1));
}

#[test]
fn an_ack_without_dss_for_the_first_data_falls_back_on_the_client() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives(syn_ack().mss(1460).mpc()).sends(ack(1, 1).mpc());
    s.writes(b"hello").sends(data(1, 1, b"hello").mpc());
    s.receives(ack(1, 6));
    assert!(!s.is_mptcp());
    s.ignores();
    // RFC 8684 §3.7: the server may not know.
    s.writes(b"more").sends(data(6, 1, b"more").infinite(1, 1));
    s.receives(ack(1, 10)).sends_nothing();
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 9);
}

/// The server's own first data was lost: what follows it must not hide that ours was taken without MPTCP.
#[test]
fn such_an_ack_counts_on_data_out_of_order_too() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives(syn_ack().mss(1460).mpc()).sends(ack(1, 1).mpc());
    s.writes(b"hello").sends(data(1, 1, b"hello").mpc());
    s.receives(data(6, 6, b"world"));
    assert!(!s.is_mptcp());
    s.ignores();
    s.idles(secs(5));
    s.receives(data(1, 6, b"hello")).sends(ack(6, 11).plain()).reads(b"helloworld");
}

#[test]
fn syns_go_each_second_and_without_mp_capable_from_the_fourth_on() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.after(secs(1)).sends(syn().mpc());
    s.after(secs(1)).sends(syn().mpc());
    s.after(secs(1)).sends(syn().plain());
    // Four time-outs are not backed off, as in Linux; the next ones are, and the last SYN has its time too.
    for wait in [1, 1, 2, 4, 8, 16, 32] {
        s.after(secs(wait)).sends(syn().plain());
    }
    s.after(secs(64)).sends_nothing().reads_error(CallError::Failed(ConnectionError::TimedOut));
    assert_eq!(s.host.accounting().flows, 0);
}

#[test]
fn mp_capable_on_the_answer_to_a_plain_syn_is_not_mptcp() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    for _ in 0..2 {
        s.after(secs(1)).sends(syn().mpc());
    }
    s.after(secs(1)).sends(syn().plain());
    s.receives(syn_ack().mss(1460).mpc()).sends(ack(1, 1).plain());
    assert!(!s.is_mptcp());
}

#[test]
fn a_reset_refuses_a_connection_only_with_the_right_acknowledgement() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives(rst_ack(0, 7)).sends_nothing();
    s.receives(rst(0)).sends_nothing();
    s.receives(rst_ack(0, 1)).sends_nothing().reads_error(CallError::Failed(ConnectionError::Refused));
}

#[test]
fn a_syn_ack_for_another_number_is_answered_with_a_reset() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives(syn_ack().acking(9)).sends(rst(9));
    s.receives(syn_ack().mss(1460).mpc()).sends(ack(1, 1).mpc());
}

#[test]
fn a_simultaneous_open_becomes_plain_tcp() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives(syn().mss(1460).mpc()).sends(syn_ack().plain());
    s.receives(syn_ack().mss(1460)).sends(ack(1, 1).plain());
    assert!(!s.is_mptcp());
    s.writes(b"hello").sends(data(1, 1, b"hello").plain());
}

#[test]
fn a_simultaneous_open_also_ends_with_a_plain_ack() {
    let mut s = Script::connecting_with(config(), Protocol::Tcp);
    s.sends(syn().plain());
    s.receives(syn().mss(1460)).sends(syn_ack());
    s.receives(ack(1, 1)).sends(ack(1, 1));
    s.writes(b"hello").sends(data(1, 1, b"hello"));
}

#[test]
fn a_repeated_syn_does_not_add_a_timer_each_time() {
    let mut s = Script::listening();
    for _ in 0..2_000 {
        s.receives(syn().mss(1460).mpc());
        s.ignores();
    }
    let timers = s.host.accounting().timers;
    assert!(timers <= 8, "{timers} timers for one half-open request");
}

#[test]
fn nobody_connects_to_an_address_that_names_no_single_host() {
    for remote in ["255.255.255.255:80", "224.0.0.1:80", "0.0.0.0:80", "[ff02::1]:80", "[::]:80"] {
        let mut s = Script::listening();
        let refused = s.host.connect(Instant::ZERO, &ConnectOptions::new(remote.parse().unwrap()));
        assert!(matches!(refused, Err(ConnectError::InvalidRemote)), "{remote}: {refused:?}");
    }
}
