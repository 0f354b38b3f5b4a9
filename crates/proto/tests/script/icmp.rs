//! ICMP errors count only for what is on its way (RFC 5927 §4); segments keep to an MTU that falls.

use super::dsl::*;
use polytcp_proto::config::MtuProbing;
use polytcp_proto::host::{CallError, ConnectionError};

#[test]
fn unreachable_ends_a_connect_when_it_quotes_our_syn() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives_icmp(0, 3, 1, 0, 77).sends_nothing();
    s.reads_error(CallError::NotConnected);
    s.receives_icmp(0, 3, 1, 0, 0).sends_nothing();
    s.reads_error(CallError::Failed(ConnectionError::Unreachable));
}

#[test]
fn unreachable_does_not_end_an_open_connection() {
    let mut s = Script::accepted_plain();
    s.writes(b"hello").sends(data(1, 1, b"hello"));
    s.receives_icmp(0, 3, 3, 0, 1).sends_nothing();
    assert_eq!(s.host.counters().out_of_window_icmps, 0);
    s.receives_icmp(0, 3, 3, 0, 5_000).sends_nothing();
    assert_eq!(s.host.counters().out_of_window_icmps, 1);
    s.receives(data(1, 6, b"world")).sends(ack(6, 6)).reads(b"world");
}

#[test]
fn fragmentation_needed_makes_smaller_segments_of_what_is_in_flight() {
    let mut s = Script::accepted_plain();
    s.writes_bulk(0, 1460).sends(bulk(1, 1, 1460));
    // Not in flight: believed by nobody.
    s.receives_icmp(0, 3, 4, 1000, 5_000).sends_nothing();
    s.receives_icmp(0, 3, 4, 1000, 1).sends(bulk(1, 1, 960)).sends(bulk(961, 1, 500));
    s.receives(ack(1, 1461)).writes_bulk(1460, 960).sends(bulk(1461, 1, 960));
}

#[test]
fn fragmentation_needed_never_leads_below_the_minimum() {
    let mut s = Script::accepted_plain();
    s.writes_bulk(0, 1460).sends(bulk(1, 1, 1460));
    s.receives_icmp(0, 3, 4, 20, 1).sends(bulk(1, 1, 512)).sends(bulk(513, 1, 512)).sends(bulk(1025, 1, 436));
}

fn lowers_mtu(s: &mut Script, mtu: u16) {
    let now = s.now;
    s.host.set_mtu(now, polytcp_proto::packet::InterfaceId(0), mtu);
}

#[test]
fn what_is_sent_again_keeps_to_a_lowered_mtu() {
    let mut s = Script::accepted_plain();
    s.writes_bulk(0, 1460).sends(bulk(1, 1, 1460));
    lowers_mtu(&mut s, 1280);
    for _ in 0..4 {
        s.until_sent(secs(60)).expect("it is repeated");
        let lens = s.drain_lens();
        assert!(lens.iter().all(|len| *len <= 1240), "{lens:?}");
    }
}

#[test]
fn data_queued_before_the_mtu_fell_keeps_to_it() {
    let mut s = Script::accepted();
    s.nodelay();
    s.receives(ack(1, 1).dack(1));
    s.writes_bulk(0, 60_000);
    lowers_mtu(&mut s, 1280);
    s.drain_lens();
    for _ in 0..20 {
        if s.until_sent(secs(2)).is_none() {
            break;
        }
        let lens = s.drain_lens();
        assert!(lens.iter().all(|len| *len + 20 <= 1240), "{lens:?}");
    }
}

#[test]
fn an_echo_larger_than_the_mtu_is_not_answered_with_one() {
    let mut s = Script::listening();
    s.pinged(3_000);
    assert!(s.others.iter().all(|packet| packet.len() <= 1500));
    s.pinged(500);
    assert_eq!(s.others.pop().map(|packet| packet.len()), Some(528));
}

#[test]
fn a_connection_whose_handshake_runs_keeps_to_a_lowered_mtu() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok()).sends(syn_ack());
    lowers_mtu(&mut s, 1280);
    s.receives(ack(1, 1)).accepts();
    s.writes_bulk(0, 1460).sends(bulk(1, 1, 1240));
}

#[test]
fn fragmentation_needed_waits_for_a_timeout_where_such_segments_have_arrived() {
    let mut s = Script::accepted_plain();
    s.nodelay();
    s.writes_bulk(0, 1460).sends(bulk(1, 1, 1460));
    s.after(ms(20)).receives(ack(1, 1461));
    s.writes_bulk(1460, 1460).sends(bulk(1461, 1, 1460));
    s.receives_icmp(0, 3, 4, 1000, 1461).sends_nothing();
    // A tail loss probe goes first, then the timeout confirms what ICMP said.
    s.until_sent(secs(1)).expect("a probe");
    s.sends(bulk(1461, 1, 1460));
    s.until_sent(secs(1)).expect("a timeout");
    s.sends(bulk(1461, 1, 960));
}

#[test]
fn doubtful_fragmentation_needed_is_forgotten_when_the_segment_arrives() {
    let mut s = Script::accepted_plain();
    s.nodelay();
    s.writes_bulk(0, 1460).sends(bulk(1, 1, 1460));
    s.after(ms(20)).receives(ack(1, 1461));
    s.writes_bulk(1460, 1460).sends(bulk(1461, 1, 1460));
    s.receives_icmp(0, 3, 4, 1000, 1461).sends_nothing();
    s.receives(ack(1, 2921)).writes_bulk(2920, 1460).sends(bulk(2921, 1, 1460));
    s.idles(ms(200));
    s.until_sent(secs(1)).expect("a timeout");
    s.sends(bulk(2921, 1, 1460));
}

#[test]
fn fragmentation_needed_for_more_than_is_sent_means_nothing() {
    let mut s = Script::accepted_plain();
    s.writes_bulk(0, 1460).sends(bulk(1, 1, 1460));
    s.receives_icmp(0, 3, 4, 1500, 1).sends_nothing();
    s.receives_icmp(0, 3, 4, 9000, 1).sends_nothing();
    s.receives_icmp(0, 3, 4, 1000, 1461).sends_nothing();
    assert_eq!(s.host.counters().get("TcpExtOutOfWindowIcmps"), Some(1));
}

#[test]
fn a_router_that_names_no_size_leads_to_the_next_usual_one() {
    let mut s = Script::accepted_plain();
    s.writes_bulk(0, 1460).sends(bulk(1, 1, 1460));
    s.receives_icmp(0, 3, 4, 0, 1).sends(bulk(1, 1, 1452)).sends(bulk(1453, 1, 8));
    s.receives_icmp(0, 3, 4, 0, 1).sends(bulk(1, 1, 966)).sends(bulk(967, 1, 486)).sends(bulk(1453, 1, 8));
}

#[test]
fn later_connections_know_the_paths_mtu_for_ten_minutes() {
    let mut s = Script::accepted_plain();
    s.writes_bulk(0, 1460).sends(bulk(1, 1, 1460));
    s.receives_icmp(0, 3, 4, 1000, 1).sends(bulk(1, 1, 960)).sends(bulk(961, 1, 500));
    s.receives(ack(1, 1461));
    let sf = s.add_line(0, 1001);
    s.receives(syn().on(sf).mss(1460).sack_ok()).sends(syn_ack().on(sf));
    s.receives(ack(1, 1).on(sf)).accepts();
    s.writes_bulk(0, 1460).sends(bulk(1, 1, 960).on(sf));
    s.until_sent(ms(100)).expect("the rest");
    s.sends(bulk(961, 1, 500).on(sf)).receives(ack(1, 1461).on(sf));
    // The path may have changed by then.
    s.after(secs(600)).sends_nothing();
    s.writes_bulk(1460, 1460).sends(bulk(1461, 1, 1460).on(sf));
}

#[test]
fn parts_of_a_segment_that_was_too_big_repeat_its_mapping() {
    let mut s = Script::accepted();
    s.nodelay();
    s.receives(ack(1, 1).dack(1));
    s.writes_bulk(0, 1400).sends(bulk(1, 1, 1400).map_of(1, 1, 1400));
    s.receives_icmp(0, 3, 4, 1000, 1);
    s.sends(bulk(1, 1, 932).map_of(1, 1, 1400)).sends(bulk(933, 1, 468).map_of(1, 1, 1400));
}

#[test]
fn after_three_timeouts_smaller_segments_are_tried_if_so_configured() {
    for probing in [MtuProbing::Off, MtuProbing::OnBlackHole] {
        let mut config = config();
        config.tcp.mtu_probing = probing;
        let mut s = Script::accepted_plain_with(config);
        s.writes_bulk(0, 1460).sends(bulk(1, 1, 1460));
        let mut lens = Vec::new();
        for _ in 0..6 {
            s.until_sent(secs(60)).expect("it is repeated");
            lens.push(s.drain_lens()[0]);
        }
        // A tail loss probe and two timeouts come first.
        let smaller = if probing == MtuProbing::Off { [1460; 3] } else { [1024, 512, 256] };
        assert_eq!(lens, [[1460; 3], smaller].concat());
    }
}
