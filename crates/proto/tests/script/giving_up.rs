//! Options of a connection that say when it is given up: `TCP_USER_TIMEOUT`, `SO_LINGER` (RFC 5482, RFC 9293 §3.9.1.8).

use super::dsl::*;
use polytcp_proto::host::{CallError, ConnectionError, Protocol, SubflowState};
use polytcp_proto::pm::command::{Endpoint, EndpointFlags, PmCommand};

fn timed_out() -> CallError {
    CallError::Failed(ConnectionError::TimedOut)
}

#[test]
fn unacknowledged_data_is_given_up_at_the_user_timeout() {
    let mut s = Script::accepted_plain();
    s.user_timeout(secs(3)).writes(b"anyone?").sends(data(1, 1, b"anyone?"));
    assert!(s.idles(ms(2_999)) >= 3);
    assert!(s.is_open());
    s.idles(ms(1));
    s.reads_error(timed_out());
}

#[test]
fn a_user_timeout_longer_than_all_retransmissions_is_waited_for() {
    let mut config = config();
    config.tcp.retries2 = 3;
    let mut s = Script::accepted_plain_with(config);
    s.user_timeout(secs(60)).writes(b"anyone?").sends(data(1, 1, b"anyone?"));
    s.idles(ms(59_999));
    assert!(s.is_open());
    s.idles(ms(1));
    s.reads_error(timed_out());
}

#[test]
fn a_host_says_after_how_many_retransmissions_a_flow_is_given_up() {
    for retries in [1, 3] {
        let mut config = config();
        config.tcp.retries2 = retries;
        let mut s = Script::accepted_plain_with(config);
        s.writes(b"anyone?").sends(data(1, 1, b"anyone?"));
        s.idles(secs(2_000));
        s.reads_error(timed_out());
        let count = |name| s.host.counters().get(name).unwrap();
        // One more timeout finds that enough was sent again; a tail loss probe is none of them.
        assert_eq!(count("TcpExtTCPTimeouts"), u64::from(retries) + 1);
        assert_eq!(count("TcpRetransSegs") - count("TcpExtTCPLossProbes"), u64::from(retries));
    }
}

#[test]
fn an_acknowledgement_starts_the_user_timeout_anew() {
    let mut s = Script::accepted_plain();
    s.user_timeout(secs(3)).nodelay().writes(b"one").sends(data(1, 1, b"one"));
    s.idles(secs(2));
    s.receives(ack(1, 4)).writes(b"two").sends(data(4, 1, b"two"));
    s.idles(ms(2_900));
    assert!(s.is_open());
    s.idles(ms(200));
    s.reads_error(timed_out());
}

#[test]
fn a_window_that_stays_shut_is_given_up_at_the_user_timeout() {
    let mut s = Script::accepted_plain();
    s.user_timeout(secs(5)).receives(ack(1, 1).window(0)).writes(b"anyone?");
    // The peer's answers keep nothing alive, they do not come.
    s.idles(secs(20));
    s.reads_error(timed_out());
}

#[test]
fn a_peer_that_took_its_window_back_and_answers_is_not_given_up() {
    let mut s = Script::accepted_plain();
    s.writes_bulk(0, 1000).sends(bulk(1, 1, 1000)).receives(ack(1, 1).window(0));
    for repeat in 0..40 {
        s.until_sent(secs(121)).unwrap_or_else(|| panic!("given up after {repeat}"));
        s.sends(bulk(1, 1, 1000)).receives(ack(1, 1).window(0));
    }
    // One that falls silent is.
    s.ignores();
    s.idles(secs(3_600));
    s.reads_error(timed_out());
}

#[test]
fn a_close_with_no_time_to_linger_aborts() {
    let mut s = Script::accepted_plain();
    s.lingers(secs(0)).writes(b"unacked").sends(data(1, 1, b"unacked"));
    s.closes().sends(rst_ack(8, 1)).sends_nothing();
    assert_eq!(s.host.counters().get("TcpExtTCPAbortOnData"), Some(1));
    let mut s = Script::accepted();
    s.receives(ack(1, 1).dack(1)).lingers(secs(0)).closes().sends(rst_ack(1, 1).fastclose());
}

#[test]
fn a_close_with_time_to_linger_is_graceful() {
    let mut s = Script::accepted_plain();
    s.lingers(secs(5)).writes(b"unacked").sends(data(1, 1, b"unacked"));
    s.closes().sends(fin(8, 1));
}

/// As Linux's: it bounds the handshake too, and so do the repetitions of the SYN.
#[test]
fn a_connect_that_nobody_answers_is_given_up_at_the_user_timeout() {
    for protocol in [Protocol::Tcp, Protocol::Mptcp] {
        let mut s = Script::connecting_with(config(), protocol);
        s.user_timeout(ms(3_500));
        assert_eq!(s.idles(ms(3_499)), 4, "the SYN and three repetitions");
        assert!(s.is_open());
        s.idles(ms(1));
        s.reads_error(timed_out());
        let count = |name| s.host.counters().get(name).unwrap();
        assert_eq!((count("TcpExtTCPAbortOnTimeout"), count("TcpAttemptFails")), (1, 1));
    }
    let mut config = config();
    config.tcp.syn_retries = 0;
    let mut s = Script::connecting_with(config, Protocol::Tcp);
    s.user_timeout(secs(1_000));
    s.idles(secs(10));
    s.reads_error(timed_out());
}

/// What else its connection waits for does not end it sooner.
#[test]
fn a_join_is_given_up_when_its_last_syn_had_its_time() {
    let mut s = Script::connected();
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW)));
    // Six SYNs with back-off and four without, after the first.
    for _ in 0..11 {
        s.until_sent(secs(65)).expect("it is repeated");
        s.sends(syn().on(1).any_join_syn()).sends_nothing();
    }
    let last = s.now;
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1));
    s.until_sent(secs(1)).expect("a probe");
    s.sends(data(1, 1, b"hello").map(1)).receives(ack(1, 6).dack(6));
    let is_open = |s: &Script| s.host.subflows(s.id()).unwrap()[1].state == SubflowState::SynSent;
    assert!(is_open(&s));
    while is_open(&s) {
        let next = s.host.poll_timeout().expect("its end is awaited");
        s.after(next.since(s.now)).sends_nothing();
    }
    assert_eq!(s.now.since(last), secs(64));
    assert!(s.is_open());
}
