//! `TCP_USER_TIMEOUT` of an MPTCP connection: it is given up as a whole, and not for one path.

use super::dsl::*;
use polytcp_proto::host::{CallError, ConnectionError, SubflowState};

const TIMED_OUT: CallError = CallError::Failed(ConnectionError::TimedOut);

/// An MPTCP connection that may send, with a limit of three seconds.
fn limited() -> Script {
    let mut s = Script::accepted();
    s.receives(ack(1, 1).dack(1)).nodelay().user_timeout(secs(3));
    s
}

#[test]
fn a_connection_whose_data_nobody_acknowledges_is_given_up_at_the_user_timeout() {
    let mut s = limited();
    s.writes(b"anyone?").sends(data(1, 1, b"anyone?").map(1));
    s.idles(ms(2_999));
    assert!(s.is_open());
    s.after(ms(1)).sends(rst_ack(8, 1).fastclose()).sends_nothing().reads_error(TIMED_OUT);
    assert_eq!(s.host.counters().get("TcpExtTCPAbortOnTimeout"), Some(1));
}

#[test]
fn a_dead_path_ends_neither_the_connection_nor_its_subflow_at_the_user_timeout() {
    let mut s = limited();
    s.joined_by_peer(1);
    s.writes(b"hello");
    let dead = s.sent_on();
    s.sends_any();
    for at in 0..10 {
        // The other path carries it, and the peer says so there.
        let acked = 6 + at;
        while s.sent_on_other(dead).is_none() {
            s.ignores();
            s.until_sent(secs(1)).expect("a probe or a hedge");
        }
        s.ignores();
        s.receives(ack(1, acked as u32).on(1 - dead).dack(acked));
        s.idles(secs(1));
        s.writes(b"x");
    }
    assert!(s.is_open());
    let subflows = s.host.subflows(s.id()).unwrap();
    assert!(subflows.iter().all(|subflow| subflow.state == SubflowState::Established), "{subflows:?}");
    // With the other one silent too, nothing is left to wait for.
    s.idles(secs(3));
    s.reads_error(TIMED_OUT);
}

#[test]
fn a_data_fin_that_nobody_acknowledges_is_given_up_at_the_user_timeout() {
    let mut s = limited();
    s.shuts_down().ignores();
    s.idles(ms(2_999));
    assert!(s.is_open());
    s.idles(ms(1));
    s.reads_error(TIMED_OUT);
}

#[test]
fn a_data_ack_starts_the_user_timeout_of_the_connection_anew() {
    let mut s = limited();
    s.writes(b"one").sends(data(1, 1, b"one").map(1)).writes(b"two").sends(data(4, 1, b"two").map(4));
    s.idles(secs(2));
    s.receives(ack(1, 4).dack(4));
    s.idles(ms(2_999));
    assert!(s.is_open());
    s.idles(ms(1));
    s.reads_error(TIMED_OUT);
}

/// A receiver may be late with its DATA_ACK.
#[test]
fn an_acknowledgement_of_a_subflow_alone_starts_the_user_timeout_anew() {
    let mut s = limited();
    s.joined_by_peer(1);
    s.writes(b"one");
    let on = s.sent_on();
    s.sends_any();
    s.idles(secs(2));
    s.receives(ack(1, 4).on(on).dack(1));
    s.idles(ms(2_999));
    assert!(s.is_open());
    s.idles(ms(1));
    s.reads_error(TIMED_OUT);
}

#[test]
fn a_window_of_the_connection_that_stays_shut_is_given_up_at_the_user_timeout() {
    let mut s = Script::connecting_with(config(), polytcp_proto::host::Protocol::Mptcp);
    s.sends(syn().mpc())
        .receives(syn_ack().mss(1460).sack_ok().wscale(0).window(0).mpc())
        .sends(ack(1, 1).mpc());
    s.receives(ack(1, 1).dack(1).window(0)).user_timeout(secs(5)).writes(b"anyone?").ignores();
    s.idles(ms(4_999));
    assert!(s.is_open());
    s.idles(ms(1));
    s.reads_error(TIMED_OUT);
}

#[test]
fn nothing_that_is_owed_nothing_is_given_up() {
    let mut s = limited();
    s.writes(b"one").sends(data(1, 1, b"one").map(1)).receives(ack(1, 4).dack(4));
    s.idles(secs(100));
    assert!(s.is_open());
    s.writes(b"two").sends(data(4, 1, b"two").map(4));
    s.idles(ms(2_999));
    assert!(s.is_open());
}

#[test]
fn after_a_fallback_the_user_timeout_goes_on() {
    let mut s = Script::accepted();
    s.user_timeout(secs(3)).receives(data(1, 1, b"plain")).reads(b"plain").ignores();
    assert!(!s.is_mptcp());
    s.nodelay().writes(b"anyone?").sends(data(1, 6, b"anyone?"));
    s.idles(ms(2_999));
    assert!(s.is_open());
    s.idles(ms(1));
    s.reads_error(TIMED_OUT);
}
