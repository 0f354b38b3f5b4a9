//! Windows, delayed acknowledgements, Nagle, window probes, keepalive (RFC 9293 §3.8).

use super::dsl::*;
use polytcp_proto::host::{CallError, ConnectionError};

#[test]
fn the_window_is_scaled_after_the_handshake_only() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).wscale(3)).sends(syn_ack().window(65_535).wscale(7));
    s.receives(ack(1, 1)).accepts();
    s.receives(data(1, 1, b"abc")).sends(ack(1, 4).window(((6 << 20) >> 7) as u16 - 1));
}

#[test]
fn an_acknowledgement_waits_40_ms_after_the_first_sixteen() {
    let mut s = Script::accepted_plain();
    for i in 0..16 {
        s.receives(data(1 + i, 1, b"x")).sends(ack(1, 2 + i));
    }
    s.receives(data(17, 1, b"x")).after(ms(40)).sends(ack(1, 18));
    s.receives(data(18, 1, b"x")).after(ms(20)).receives(data(19, 1, b"x")).after(ms(20)).sends(ack(1, 20));
}

#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    let mut s = Script::accepted_plain();
    let mut at = 1;
    for _ in 0..16 {
        s.receives(bulk(at, 1, 1460));
        at += 1460;
        s.sends(ack(1, at));
    }
    for _ in 0..3 {
        s.receives(bulk(at, 1, 1460)).sends_nothing();
        s.receives(bulk(at + 1460, 1, 1460));
        at += 2920;
        s.sends(ack(1, at));
    }
}

#[test]
fn a_delayed_acknowledgement_leaves_with_data() {
    let mut s = Script::accepted_plain();
    for i in 0..16 {
        s.receives(data(1 + i, 1, b"x")).sends(ack(1, 2 + i));
    }
    s.receives(data(17, 1, b"x")).writes(b"answer").sends(data(1, 18, b"answer"));
    s.receives(ack(18, 7)).after(secs(1)).sends_nothing();
}

#[test]
fn a_small_segment_waits_while_another_is_not_acknowledged() {
    let mut s = Script::accepted_plain();
    s.writes(b"one").sends(data(1, 1, b"one"));
    s.after(ms(1)).writes(b"two").writes(b"three").sends_nothing();
    s.receives(ack(1, 4)).sends(data(4, 1, b"two")).sends_nothing();
    s.receives(ack(1, 7)).sends(data(7, 1, b"three"));
}

#[test]
fn nodelay_sends_small_segments_at_once() {
    let mut s = Script::accepted_plain();
    s.nodelay();
    s.writes(b"one").sends(data(1, 1, b"one"));
    s.writes(b"two").sends(data(4, 1, b"two"));
}

#[test]
fn a_full_segment_does_not_wait_for_a_small_one() {
    let mut s = Script::accepted_plain();
    s.writes(b"one").sends(data(1, 1, b"one"));
    s.after(ms(1)).writes_bulk(3, 1460).sends(bulk(4, 1, 1460));
}

#[test]
fn a_shut_window_is_probed_with_back_off_until_it_opens() {
    let mut s = Script::accepted_plain();
    s.after(ms(10)).writes_bulk(0, 100).sends(bulk(1, 1, 100));
    s.after(ms(10)).receives(ack(1, 101).window(0)).writes_bulk(100, 100).sends_nothing();
    let mut last = ms(0);
    for _ in 0..5 {
        let wait = s.until_sent(secs(10)).expect("a probe");
        assert!(wait >= last * 2 && wait >= ms(200), "{wait:?} after {last:?}");
        last = wait;
        // One below SND.UNA, without payload: it has to be answered.
        s.sends(ack(100, 1)).receives(ack(1, 101).window(0));
    }
    s.receives(ack(1, 101).window(1_000)).sends(bulk(101, 1, 100));
}

#[test]
fn a_probe_of_the_peer_below_the_window_is_answered() {
    let mut s = Script::accepted_plain();
    s.receives(ack(0, 1)).sends(ack(1, 1));
    // Not more than one in half a second.
    s.after(ms(100)).receives(ack(0, 1)).sends_nothing();
    s.after(ms(400)).receives(ack(0, 1)).sends(ack(1, 1));
}

#[test]
fn keepalive_probes_a_silent_peer_and_gives_it_up() {
    let mut config = config();
    config.tcp.keepalive_idle = Some(secs(60));
    config.tcp.keepalive_interval = secs(10);
    config.tcp.keepalive_probes = 3;
    let mut s = Script::accepted_plain_with(config);
    s.after(secs(60)).sends(ack(0, 1)).receives(ack(1, 1));
    s.after(secs(60)).sends(ack(0, 1));
    s.after(secs(10)).sends(ack(0, 1));
    s.after(secs(10)).sends(ack(0, 1));
    s.after(secs(10)).sends(rst_ack(1, 1));
    s.reads_error(CallError::Failed(ConnectionError::TimedOut));
}

#[test]
fn without_keepalive_an_idle_connection_sends_nothing() {
    let mut s = Script::accepted_plain();
    s.after(secs(100_000)).sends_nothing();
    assert_eq!(s.host.poll_timeout(), None);
}
