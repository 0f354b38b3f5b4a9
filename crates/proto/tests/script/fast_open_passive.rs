//! TCP Fast Open as a server (RFC 7413 §4.2), alone and with MPTCP (RFC 8684 appendix B).

use super::dsl::*;
use polytcp_proto::config::{HostConfig, fastopen};
use polytcp_proto::host::{CallError, ConnectionError, ListenOptions};

fn count(s: &Script, name: &str) -> u64 {
    s.host.counters().get(name).expect("a counter")
}

fn with_bits(bits: u32) -> HostConfig {
    let mut config = config();
    config.tcp.fastopen = bits;
    config
}

fn serving(config: HostConfig) -> Script {
    let options = ListenOptions { fast_open: 2, ..ListenOptions::new("0.0.0.0:80".parse().unwrap()) };
    Script::listening_by(config, &options, 1)
}

/// A host that has given the peer its cookie, on a connection that was never finished; the next line is 1.
fn acquainted() -> (Script, Vec<u8>) {
    let mut s = serving(with_bits(fastopen::SERVER_ENABLE));
    s.receives(syn().mss(1460).fast_open(&[]));
    let cookie = s.fast_open_cookie();
    assert_eq!(cookie.len(), 8);
    s.sends(syn_ack().plain().fast_open(&cookie));
    s.receives(rst(1)).sends_nothing();
    for port in 1001..1006 {
        s.add_line(0, port);
    }
    (s, cookie)
}

#[test]
fn a_cookie_is_given_to_who_asks() {
    let mut s = serving(with_bits(fastopen::SERVER_ENABLE));
    // With MPTCP's key beside it there is no room for timestamps.
    s.receives(syn().mss(1460).sack_ok().wscale(7).ts().mpc().fast_open(&[]));
    let cookie = s.fast_open_cookie();
    s.sends(syn_ack().mss(1460).wscale(7).without_ts().mpc().fast_open(&cookie));
    let sf = s.add_line(0, 1001);
    s.receives(syn().on(sf).mss(1460).sack_ok().wscale(7).ts().fast_open(&[]));
    s.sends(syn_ack().on(sf).mss(1460).wscale(7).ts().fast_open(&cookie));
    let other = s.add_line(1, 1001);
    s.receives(syn().on(other).mss(1460).fast_open(&[]));
    assert_ne!(s.fast_open_cookie(), cookie, "another address has another cookie");
    s.sends_any();
    assert_eq!(count(&s, "TcpExtTCPFastOpenCookieReqd"), 3);
}

#[test]
fn without_the_server_bit_or_the_listener_s_wish_nothing_is_given_or_taken() {
    let mut off = serving(with_bits(fastopen::CLIENT_ENABLE));
    off.receives(syn().mss(1460).payload(b"hello").fast_open(&[])).sends(syn_ack().acking(1));
    let mut not_asked = Script::listening_with(with_bits(fastopen::SERVER_ENABLE));
    not_asked.receives(syn().mss(1460).payload(b"hello").fast_open(&[])).sends(syn_ack().acking(1));
}

#[test]
fn data_on_a_syn_is_read_and_answered_before_the_third_ack() {
    let (mut s, cookie) = acquainted();
    s.receives(syn().on(1).mss(1460).sack_ok().wscale(0).payload(b"hello").fast_open(&cookie));
    s.sends(syn_ack().on(1).acking(6).plain());
    s.accepts().reads(b"hello");
    s.writes(b"world").sends(data(1, 6, b"world").on(1));
    assert_eq!(s.host.accounting().half_open, 1);
    s.receives(ack(6, 6).on(1)).sends_nothing();
    assert_eq!((s.host.accounting().half_open, count(&s, "TcpExtTCPFastOpenPassive")), (0, 1));
    s.receives(data(6, 6, b"again").on(1)).sends(ack(6, 11).on(1)).reads(b"again");
    s.receives(fin(11, 6).on(1)).sends(ack(6, 12).on(1)).reads_end();
}

#[test]
fn data_on_a_syn_of_mptcp_has_no_data_sequence_numbers() {
    let (mut s, cookie) = acquainted();
    s.receives(syn().on(1).mss(1460).sack_ok().wscale(7).mpc().payload(b"hello").fast_open(&cookie));
    s.sends(syn_ack().on(1).acking(6).mpc());
    s.accepts().reads(b"hello");
    // The peer's key is not known yet.
    s.writes(b"world").sends_nothing();
    s.receives(ack(6, 1).on(1).mpc()).sends(ack(1, 6).on(1).dack(1));
    s.sends(data(1, 6, b"world").on(1).map(1).dack(1));
    assert!(s.is_mptcp());
    s.receives(data(6, 6, b"again").on(1).dack(6).map_of(1, 1, 5)).sends(ack(6, 11).on(1).dack(6));
    s.reads(b"again");
    assert_eq!(s.host.info(s.id()).unwrap().bytes_received, 10);
}

#[test]
fn the_first_data_with_its_keys_stands_for_a_lost_third_ack() {
    let (mut s, cookie) = acquainted();
    s.receives(syn().on(1).mss(1460).sack_ok().wscale(7).mpc().payload(b"hello").fast_open(&cookie));
    s.sends(syn_ack().on(1).acking(6).mpc()).accepts();
    // What overtakes it is not taken for it.
    s.receives(data(9, 1, b"xx").on(1).dack(1).map_of(4, 4, 2)).sends_nothing();
    s.receives(data(6, 1, b"one").on(1).mpc()).sends(ack(1, 9).on(1).dack(4)).reads(b"helloone");
    assert!(s.is_mptcp());
}

#[test]
fn a_third_ack_without_keys_makes_plain_tcp() {
    let (mut s, cookie) = acquainted();
    s.receives(syn().on(1).mss(1460).sack_ok().wscale(7).mpc().payload(b"hello").fast_open(&cookie));
    s.sends(syn_ack().on(1).acking(6).mpc()).accepts().reads(b"hello");
    s.writes(b"world").sends_nothing();
    // First what reading had to tell of the window.
    s.receives(ack(6, 1).on(1)).sends(ack(1, 6).on(1).plain()).sends(data(1, 6, b"world").on(1).plain());
    assert!(!s.is_mptcp());
    assert_eq!(s.host.accounting().tokens, 0);
}

#[test]
fn a_wrong_cookie_brings_the_right_one_and_its_data_is_left() {
    let (mut s, cookie) = acquainted();
    s.receives(syn().on(1).mss(1460).payload(b"hello").fast_open(&[9; 8]));
    s.sends(syn_ack().on(1).acking(1).fast_open(&cookie));
    assert_eq!(count(&s, "TcpExtTCPFastOpenPassiveFail"), 1);
    s.accepts_nothing().receives(data(1, 1, b"hello").on(1)).sends(ack(1, 6).on(1)).accepts().reads(b"hello");
}

#[test]
fn a_cookie_outlives_one_change_of_the_key() {
    let (mut s, cookie) = acquainted();
    s.host.rotate_fast_open_key();
    s.receives(syn().on(1).mss(1460).payload(b"hello").fast_open(&cookie));
    let renewed = s.fast_open_cookie();
    assert_ne!(renewed, cookie);
    s.sends(syn_ack().on(1).acking(6).fast_open(&renewed));
    assert_eq!(count(&s, "TcpExtTCPFastOpenPassiveAltKey"), 1);
    s.host.rotate_fast_open_key();
    s.receives(syn().on(2).mss(1460).payload(b"hello").fast_open(&cookie)).sends_any();
    assert_eq!(count(&s, "TcpExtTCPFastOpenPassive"), 1);
}

#[test]
fn a_full_queue_means_the_plain_handshake() {
    let (mut s, cookie) = acquainted();
    for sf in [1, 2] {
        s.receives(syn().on(sf).mss(1460).payload(b"hello").fast_open(&cookie));
        s.sends(syn_ack().on(sf).acking(6));
    }
    s.receives(syn().on(3).mss(1460).payload(b"hello").fast_open(&cookie)).sends(syn_ack().on(3).acking(1));
    assert_eq!(count(&s, "TcpExtTCPFastOpenListenOverflow"), 1);
    s.receives(ack(6, 1).on(1)).sends_nothing();
    s.receives(syn().on(4).mss(1460).payload(b"hello").fast_open(&cookie)).sends(syn_ack().on(4).acking(6));
}

#[test]
fn the_syn_ack_is_repeated_until_the_third_ack_or_the_end() {
    let (mut s, cookie) = acquainted();
    s.receives(syn().on(1).mss(1460).payload(b"hello").fast_open(&cookie)).sends(syn_ack().on(1).acking(6));
    s.accepts().reads(b"hello");
    // The peer repeats its SYN, without data as it does not know.
    s.after(ms(600)).receives(syn().on(1).mss(1460)).sends(syn_ack().on(1).acking(6));
    for _ in 0..5 {
        assert!(s.until_sent(secs(70)).is_some());
        s.sends(syn_ack().on(1).acking(6));
    }
    s.idles(secs(130));
    s.reads_error(CallError::Failed(ConnectionError::TimedOut));
    assert_eq!((s.host.accounting().half_open, s.host.accounting().flows), (0, 0));
}

#[test]
fn a_reset_of_either_side_ends_it() {
    let (mut s, cookie) = acquainted();
    s.receives(syn().on(1).mss(1460).payload(b"hello").fast_open(&cookie)).sends(syn_ack().on(1).acking(6));
    s.accepts().receives(rst(6).on(1)).sends_nothing();
    s.reads(b"hello").reads_error(CallError::Failed(ConnectionError::Reset));
    assert_eq!((s.host.accounting().half_open, s.host.accounting().flows), (0, 0));
    s.receives(syn().on(2).mss(1460).mpc().payload(b"hello").fast_open(&cookie));
    s.sends(syn_ack().on(2).acking(6).mpc()).accepts().reads(b"hello");
    s.aborts().sends_any().sends_nothing();
    assert_eq!((s.host.accounting().half_open, s.host.accounting().flows), (0, 0));
    s.idles(secs(200));
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_answered_with_a_reset() {
    let (mut s, cookie) = acquainted();
    s.receives(syn().on(1).mss(1460).payload(b"hello").fast_open(&cookie)).sends(syn_ack().on(1).acking(6));
    s.receives(ack(6, 9).on(1)).sends(rst(9).on(1));
    s.receives(ack(6, 1).on(1)).sends_nothing();
    assert_eq!(s.host.accounting().half_open, 0);
}

#[test]
fn with_bit_200_no_cookie_is_needed() {
    let mut s = serving(with_bits(fastopen::SERVER_ENABLE | fastopen::SERVER_COOKIE_NOT_REQD));
    s.receives(syn().mss(1460).payload(b"hello")).sends(syn_ack().acking(6)).accepts().reads(b"hello");
}

#[test]
fn the_round_trip_of_a_handshake_counts_although_data_came_first() {
    let (mut s, cookie) = acquainted();
    s.receives(syn().on(1).mss(1460).sack_ok().payload(b"hello").fast_open(&cookie));
    s.sends(syn_ack().on(1).acking(6)).accepts().reads(b"hello");
    let times = |s: &Script| {
        let subflow = &s.host.subflows(s.id()).unwrap()[0];
        (subflow.srtt, subflow.rto)
    };
    assert_eq!(times(&s), (None, secs(1)));
    s.after(ms(40)).receives(ack(6, 1).on(1)).ignores();
    assert_eq!(times(&s), (Some(ms(40)), ms(240)));
}
