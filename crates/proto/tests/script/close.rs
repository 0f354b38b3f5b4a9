//! How plain TCP ends: half close, simultaneous close, TIME-WAIT (RFC 9293 §3.6).

use super::dsl::*;
use polytcp_proto::host::{CallError, ConnectionError};

#[test]
fn a_half_close_leaves_the_other_direction_open() {
    let mut s = Script::accepted_plain();
    s.shuts_down().sends(fin(1, 1));
    s.receives(ack(1, 2)).sends_nothing();
    s.receives(data(1, 2, b"still")).sends(ack(2, 6)).reads(b"still");
    s.receives(fin(6, 2)).sends(ack(2, 7)).reads_end();
    assert_eq!(s.host.accounting().time_wait, 1);
}

#[test]
fn data_for_a_socket_that_is_shut_in_both_directions_is_answered_with_a_reset() {
    let mut s = Script::accepted_plain();
    s.receives(data(1, 1, b"early")).sends(ack(1, 6));
    s.shuts_down().sends(fin(1, 6));
    let id = s.id();
    s.host.shutdown_read(id);
    s.receives(ack(6, 2)).sends_nothing();
    s.receives(data(6, 2, b"late")).sends(rst(2));
    // As Linux: what was there before is still read.
    s.reads(b"early").reads_error(CallError::Failed(ConnectionError::Reset));
}

#[test]
fn data_for_a_socket_that_is_shut_for_reading_alone_is_kept() {
    let mut s = Script::accepted_plain();
    let id = s.id();
    s.host.shutdown_read(id);
    s.receives(data(1, 1, b"data")).sends(ack(1, 5)).reads(b"data");
}

#[test]
fn a_peer_that_closes_first_still_gets_data() {
    let mut s = Script::accepted_plain();
    s.receives(fin(1, 1)).sends(ack(1, 2)).reads_end();
    s.writes(b"late").sends(data(1, 2, b"late"));
    s.receives(ack(2, 5)).shuts_down().sends(fin(5, 2));
    s.receives(ack(2, 6)).sends_nothing();
    let left = s.host.accounting();
    assert_eq!((left.time_wait, left.flows), (0, 0));
}

#[test]
fn fin_leaves_with_the_last_data() {
    let mut s = Script::accepted_plain();
    s.receives(ack(1, 1).window(10)).writes_bulk(0, 10);
    s.sends(bulk(1, 1, 10)).writes(b"end").sends_nothing().shuts_down().sends_nothing();
    s.receives(ack(1, 11)).sends(data(11, 1, b"end").flags(polytcp_wire::tcp::TcpFlags::FIN));
}

#[test]
fn fins_that_cross_lead_to_time_wait() {
    let mut s = Script::accepted_plain();
    s.closes().sends(fin(1, 1));
    s.receives(fin(1, 1)).sends(ack(2, 2));
    s.receives(ack(2, 2)).sends_nothing();
    assert_eq!(s.host.accounting().time_wait, 1);
}

#[test]
fn time_wait_acknowledges_a_repeated_fin_and_expires_after_a_minute() {
    let mut s = Script::accepted_plain();
    s.closes().sends(fin(1, 1));
    s.receives(ack(1, 2)).receives(fin(1, 2)).sends(ack(2, 2));
    s.after(secs(30)).receives(fin(1, 2)).sends(ack(2, 2));
    s.receives(rst(2)).sends_nothing();
    assert_eq!(s.host.accounting().time_wait, 1, "a reset does not end TIME-WAIT (RFC 1337)");
    s.after(secs(60)).sends_nothing();
    assert_eq!(s.host.accounting(), polytcp_proto::host::Accounting { listeners: 1, ..Default::default() });
}

#[test]
fn a_new_syn_takes_a_four_tuple_out_of_time_wait() {
    let mut s = Script::accepted_plain();
    s.closes().sends(fin(1, 1));
    s.receives(fin(1, 2)).sends(ack(2, 2));
    // An old duplicate of the SYN is none.
    s.receives(syn()).sends(ack(2, 2));
    s.receives(syn().any_seq_at(10_000).mss(1460)).sends(syn_ack().acking(10_001));
    assert_eq!(s.host.accounting().time_wait, 0);
}

#[test]
fn a_lost_fin_is_sent_again() {
    let mut s = Script::accepted_plain();
    s.closes().sends(fin(1, 1));
    let wait = s.until_sent(secs(2));
    assert!(wait.is_some());
    s.sends(fin(1, 1));
    s.receives(ack(1, 2)).sends_nothing();
}

#[test]
fn closing_with_unread_data_resets() {
    let mut s = Script::accepted_plain();
    s.receives(data(1, 1, b"unread")).sends(ack(1, 7));
    s.closes().sends(rst_ack(1, 7).plain()).sends_nothing();
    assert_eq!(s.host.accounting().connections, 0);
}

#[test]
fn data_for_a_closed_socket_is_answered_with_a_reset() {
    let mut s = Script::accepted_plain();
    s.closes().sends(fin(1, 1)).receives(ack(1, 2));
    s.receives(data(1, 2, b"too late")).sends(rst(2));
    assert_eq!(s.host.accounting().connections, 0);
}

#[test]
fn an_orphan_in_fin_wait_2_goes_after_a_minute() {
    let mut s = Script::accepted_plain();
    s.closes().sends(fin(1, 1)).receives(ack(1, 2)).after(secs(60)).sends_nothing();
    assert_eq!(s.host.accounting().connections, 0);
}

#[test]
fn an_abort_resets() {
    let mut s = Script::accepted_plain();
    s.aborts().sends(rst_ack(1, 1).plain());
    assert_eq!(s.host.accounting().connections, 0);
}

#[test]
fn a_fin_out_of_order_waits_for_what_is_before_it() {
    let mut s = Script::accepted_plain();
    s.receives(data(4, 1, b"def").flags(polytcp_wire::tcp::TcpFlags::FIN)).sends(ack(1, 1).sack(&[(4, 7)]));
    s.receives(data(1, 1, b"abc")).sends(ack(1, 8)).reads(b"abcdef").reads_end();
}

#[test]
fn an_unanswered_flow_is_given_up_after_fifteen_time_outs() {
    let mut s = Script::accepted_plain();
    s.writes(b"anyone?").sends(data(1, 1, b"anyone?"));
    // RFC 9293 §3.8.3 asks for 100 s at least.
    s.idles(secs(100));
    assert!(s.is_open());
    s.idles(secs(2_000));
    s.reads_error(CallError::Failed(ConnectionError::TimedOut));
    // The sixteenth finds that fifteen did not help.
    assert_eq!(s.host.counters().get("TcpExtTCPTimeouts"), Some(16));
}

#[test]
fn an_orphan_whose_peer_keeps_its_window_shut_ends_at_last() {
    let mut s = Script::accepted_plain();
    s.writes_bulk(0, 1000).sends(bulk(1, 1, 1000));
    s.receives(ack(1, 1001).window(0)).writes_bulk(1000, 1000).sends_nothing().closes();
    // The peer answers every probe and never opens its window.
    for _ in 0..2_000 {
        if s.host.accounting().connections == 0 {
            return;
        }
        match s.until_sent(secs(600)) {
            Some(_) => {
                s.ignores();
                s.receives(ack(1, 1001).window(0));
            }
            None => break,
        }
    }
    assert_eq!(s.host.accounting().connections, 0, "held since {:?}", s.now);
}

/// What moves is not given up, however long it takes.
#[test]
fn an_orphan_whose_peer_takes_its_data_slowly_delivers_all_of_it() {
    let mut s = Script::accepted_plain();
    s.receives(ack(1, 1).window(1460)).nodelay().writes_bulk(0, 5 * 1460).sends(bulk(1, 1, 1460)).closes();
    for taken in 1..5 {
        let at = 1 + taken * 1460;
        s.receives(ack(1, at).window(0));
        s.idles(secs(50));
        s.receives(ack(1, at).window(1460));
        let next = bulk(at, 1, 1460);
        s.sends(if taken < 4 { next } else { next.flags(polytcp_wire::tcp::TcpFlags::FIN) });
    }
    s.receives(fin(1, 2 + 5 * 1460)).sends(ack(2 + 5 * 1460, 2));
    assert_eq!(s.host.accounting().connections, 0);
}

#[test]
fn a_repeated_fin_restarts_time_wait() {
    let mut s = Script::accepted_plain();
    s.closes().sends(fin(1, 1));
    s.receives(fin(1, 2)).sends(ack(2, 2));
    s.after(secs(50)).receives(fin(1, 2)).sends(ack(2, 2));
    s.after(secs(50)).receives(fin(1, 2)).sends(ack(2, 2));
}

#[test]
fn an_answer_in_time_wait_carries_timestamps_when_they_were_agreed() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().ts()).sends(syn_ack().plain());
    s.receives(ack(1, 1)).accepts().closes().sends(fin(1, 1).ts());
    s.receives(fin(1, 2)).sends(ack(2, 2).ts());
    s.receives(fin(1, 2)).sends(ack(2, 2).ts());
}

#[test]
fn fins_repeated_in_time_wait_do_not_pile_up() {
    let mut s = Script::accepted_plain();
    s.closes().sends(fin(1, 1));
    s.receives(fin(1, 2)).sends(ack(2, 2));
    for _ in 0..1_000 {
        s.idles(ms(1));
        s.receives(fin(1, 2)).sends(ack(2, 2));
    }
    // Each entry that is remembered is a time at which the host wants to be woken.
    let mut wakes = 0;
    while let Some(at) = s.host.poll_timeout() {
        s.now = at;
        s.host.handle_timeout(at);
        wakes += 1;
    }
    assert!(wakes <= 70, "{wakes} entries for one four-tuple");
}

#[test]
fn a_connection_after_time_wait_starts_beyond_the_last_ones_numbers() {
    let mut s = Script::accepted_plain();
    let last = s.host_iss(0);
    // 5,000 octets at once: the clock of initial numbers needs 20 ms for as many.
    s.nodelay().writes_bulk(0, 5000).ignores();
    s.receives(ack(1, 5001)).closes().sends(fin(5001, 1));
    s.receives(fin(1, 5002)).sends(ack(5002, 2));
    s.receives(syn().any_seq_at(10_000).mss(1460)).sends(syn_ack().acking(10_001));
    let ahead = s.host_iss(0).wrapping_sub(last);
    assert!((5002..1 << 31).contains(&ahead), "{ahead}");
}
