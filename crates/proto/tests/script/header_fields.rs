//! Fields of a header that no story tells of: PSH, the urgent pointer, the IP header, the echoed timestamp.

use super::dsl::*;

/// RFC 9293 §3.9.2: type of service and, here, all else of the IP header stay as they are; a retransmission may have the
/// identification of the original (MAY-4). RFC 8684 §3.3.1: no urgent pointer interrupts a mapping.
#[test]
fn the_ip_header_never_changes_and_nothing_is_urgent() {
    let mut s = Script::accepted();
    let mut headers = Vec::new();
    s.writes(b"hello");
    headers.extend(s.drain_headers());
    s.until_sent(secs(2)).expect("it is sent again");
    headers.extend(s.drain_headers());
    s.receives(data(1, 6, b"world").map(1).dack(6));
    headers.extend(s.drain_headers());
    s.aborts();
    headers.extend(s.drain_headers());
    assert!(headers.len() >= 4, "{}", headers.len());
    for (header, urgent) in headers {
        assert_eq!(header[0], 0x45, "no options");
        assert_eq!(header[1], 0, "type of service");
        assert_eq!(header[4..8], [0, 0, 0x40, 0], "identification 0, DF");
        assert_eq!(header[8..10], [64, 6], "hop limit, TCP");
        assert_eq!(urgent, 0);
    }
}

#[test]
fn the_last_segment_of_what_is_queued_has_psh_and_no_other() {
    let mut s = Script::accepted_plain();
    s.nodelay().writes_bulk(0, 3_000);
    s.sends(bulk(1, 1, 1460).push(false)).sends(bulk(1461, 1, 1460).push(false));
    s.sends(bulk(2921, 1, 80).push(true));
    s.receives(ack(1, 3001)).sends_nothing();
    s.closes().sends(fin(3001, 1).push(false));
}

#[test]
fn of_two_writes_that_wait_together_only_the_end_has_psh() {
    let mut s = Script::accepted();
    s.writes_bulk(0, 100).sends(bulk(1, 1, 100).map(1).push(true));
    s.writes_bulk(100, 100).writes_bulk(200, 100).sends_nothing();
    s.receives(ack(1, 101).dack(101)).sends(bulk(101, 1, 100).map(101).push(false));
    s.receives(ack(1, 201).dack(201)).sends(bulk(201, 1, 100).map(201).push(true));
}

/// RFC 7323 §3.2.
#[test]
fn a_syn_echoes_no_timestamp() {
    let mut s = Script::connecting();
    s.sends(syn().mpc().ts().ts_ecr(0));
    s.until_sent(secs(2)).expect("it is repeated");
    s.sends(syn().mpc().ts().ts_ecr(0));
    let theirs = s.peer_clock();
    s.receives(syn_ack().mss(1460).ts().mpc()).sends(ack(1, 1).mpc().ts().ts_ecr(theirs));
}

/// RFC 7323 §4.3: or the peer would measure its round trip without our delay.
#[test]
fn a_delayed_acknowledgement_echoes_the_earliest_timestamp_that_it_answers() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().ts()).sends(syn_ack());
    s.receives(ack(1, 1)).accepts();
    for i in 0..16 {
        s.receives(data(1 + i, 1, b"x")).sends(ack(1, 2 + i));
    }
    s.after(ms(5));
    let earliest = s.peer_clock();
    s.receives(data(17, 1, b"a")).after(ms(5)).receives(data(18, 1, b"b")).sends_nothing();
    s.until_sent(ms(200)).expect("it is not delayed without bound");
    s.sends(ack(1, 19).ts_ecr(earliest));
    // And the next is answered with its own.
    s.after(ms(5));
    let next = s.peer_clock();
    s.receives(data(19, 1, b"c")).sends_nothing();
    s.until_sent(ms(200));
    s.sends(ack(1, 20).ts_ecr(next));
}
