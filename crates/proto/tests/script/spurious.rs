//! Windows that were reduced for nothing come back: F-RTO, timestamps, D-SACK (RFC 5682, 3522, 3708, 4015).

use super::dsl::*;

/// A connection with a round trip of 20 ms, no Nagle.
fn measured(timestamps: bool) -> Script {
    let mut s = Script::listening();
    let syn = syn().mss(1000).sack_ok();
    s.receives(if timestamps { syn.ts() } else { syn }).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    s
}

/// `count` segments leave, whatever the pacing; returns the octets of each.
fn sends_bulk(s: &mut Script, from: u32, count: u32, len: u32) {
    s.writes_bulk(from, (count * len) as usize);
    for i in 0..count {
        s.until_sent(ms(15)).expect("the window has room");
        s.sends(bulk(1 + from + i * len, 1, len as usize));
    }
    s.sends_nothing();
}

fn counter(s: &Script, name: &str) -> u64 {
    s.host.counters().get(name).expect("Linux has it")
}

fn cwnd(s: &Script) -> u32 {
    s.host.subflows(s.id()).unwrap()[0].cwnd_bytes
}

/// The timeout comes and the first segment leaves again.
fn times_out(s: &mut Script, len: u32) {
    s.idles(ms(100));
    while s.until_sent(secs(1)).is_some() && s.sent_to() != len + 1 {
        s.ignores();
    }
    s.sends(bulk(1, 1, len as usize)).sends_nothing();
    assert_eq!(cwnd(s), 1000, "the window has collapsed");
}

#[test]
fn an_original_that_answers_after_a_timeout_brings_the_window_back() {
    let mut s = measured(false);
    sends_bulk(&mut s, 0, 6, 1000);
    times_out(&mut s, 1000);
    // Both first segments were on the way all the time; one acknowledgement stands for both.
    s.receives(ack(1, 2001));
    assert_eq!(counter(&s, "TcpExtTCPSpuriousRTOs"), 1);
    assert_eq!(counter(&s, "TcpExtTCPLossUndo"), 1);
    assert!(cwnd(&s) >= 10_000, "{}", cwnd(&s));
    // Nothing of the rest is sent again.
    s.after(ms(10)).sends_nothing();
    s.receives(ack(1, 6001)).after(secs(1)).sends_nothing();
}

#[test]
fn new_data_after_a_timeout_tells_that_it_was_spurious() {
    let mut s = measured(false);
    sends_bulk(&mut s, 0, 10, 1000);
    // The first of it is the tail loss probe.
    s.writes_bulk(10_000, 5_000).sends_nothing();
    times_out(&mut s, 1000);
    // Only the first is acknowledged, which either copy can have done: new data instead of the rest.
    s.receives(ack(1, 1001));
    s.until_sent(ms(30)).expect("new data");
    s.sends(bulk(11_001, 1, 1000));
    s.until_sent(ms(30)).expect("and a second segment of it");
    s.sends(bulk(12_001, 1, 1000)).sends_nothing();
    // An original answers.
    s.receives(ack(1, 2001));
    assert_eq!(counter(&s, "TcpExtTCPSpuriousRTOs"), 1);
    assert!(cwnd(&s) >= 10_000, "{}", cwnd(&s));
}

#[test]
fn new_data_after_a_timeout_tells_that_the_rest_is_lost() {
    let mut s = measured(false);
    sends_bulk(&mut s, 0, 10, 1000);
    s.writes_bulk(10_000, 5_000).sends_nothing();
    times_out(&mut s, 1000);
    s.receives(ack(1, 1001));
    s.until_sent(ms(30)).expect("new data");
    s.sends(bulk(11_001, 1, 1000));
    s.until_sent(ms(30)).expect("and a second segment of it");
    s.sends(bulk(12_001, 1, 1000)).sends_nothing();
    s.after(ms(15)).receives(ack(1, 1001).sack(&[(11_001, 12_001)]));
    s.until_sent(ms(30)).expect("a retransmission");
    s.sends(bulk(1001, 1, 1000));
    assert_eq!(counter(&s, "TcpExtTCPSpuriousRTOs"), 0);
}

/// The same without SACK, of which ten segments were on the way; the first is acknowledged, and new data left.
fn without_sack_new_data_left() -> Script {
    let mut s = Script::listening();
    s.receives(syn().mss(1000)).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    sends_bulk(&mut s, 0, 10, 1000);
    s.writes_bulk(10_000, 5_000).sends_nothing();
    times_out(&mut s, 1000);
    s.receives(ack(1, 1001));
    for seq in [10_001, 11_001] {
        s.until_sent(ms(30)).expect("new data");
        s.sends(bulk(seq, 1, 1000));
    }
    s.sends_nothing();
    s
}

/// RFC 5682 §2.1 step 3b: the second acknowledgement covers what did not go again.
#[test]
fn without_sack_two_acknowledgements_tell_that_a_timeout_was_spurious() {
    let mut s = without_sack_new_data_left();
    s.receives(ack(1, 2001));
    assert_eq!(counter(&s, "TcpExtTCPSpuriousRTOs"), 1);
    assert!(cwnd(&s) >= 10_000, "{}", cwnd(&s));
    s.until_sent(ms(30)).expect("more new data, and nothing again");
    s.sends(bulk(12_001, 1, 1000));
}

/// RFC 5682 §2.1 step 3a.
#[test]
fn without_sack_a_duplicate_tells_that_the_rest_is_lost() {
    let mut s = without_sack_new_data_left();
    s.after(ms(15)).receives(ack(1, 1001));
    s.until_sent(ms(30)).expect("a retransmission");
    s.sends(bulk(1001, 1, 1000));
    s.receives(ack(1, 2001));
    assert_eq!(counter(&s, "TcpExtTCPSpuriousRTOs"), 0);
    assert!(cwnd(&s) <= 4_000, "{}", cwnd(&s));
}

/// RFC 5682 §2.1 step 2: the receiver may have held what one acknowledgement covers beside the repetition since before;
/// and one that repeats the last answers what came out of order.
#[test]
fn without_sack_the_first_acknowledgement_tells_nothing() {
    for duplicate in [false, true] {
        let mut s = Script::listening();
        s.receives(syn().mss(1000)).sends(syn_ack());
        s.after(ms(20)).receives(ack(1, 1)).accepts();
        s.nodelay();
        sends_bulk(&mut s, 0, 6, 1000);
        times_out(&mut s, 1000);
        if duplicate {
            s.receives(ack(1, 1)).sends_nothing();
        }
        s.receives(ack(1, 4001));
        assert_eq!(counter(&s, "TcpExtTCPSpuriousRTOs"), 0);
        assert!(cwnd(&s) <= 5_000, "{}", cwnd(&s));
        let wait = s.until_sent(ms(30)).expect("a retransmission");
        assert!(wait <= ms(20), "{wait:?}");
        s.sends(bulk(4001, 1, 1000));
    }
}

#[test]
fn without_new_data_retransmissions_go_on_at_once() {
    let mut s = measured(false);
    sends_bulk(&mut s, 0, 6, 1000);
    times_out(&mut s, 1000);
    s.receives(ack(1, 1001));
    let wait = s.until_sent(ms(30)).expect("a retransmission");
    assert!(wait <= ms(20), "{wait:?}");
    s.sends(bulk(1001, 1, 1000));
}

#[test]
fn with_f_rto_off_an_original_is_not_told_apart() {
    let mut config = config();
    config.tcp.frto = false;
    let mut s = Script::listening_with(config);
    s.receives(syn().mss(1000).sack_ok()).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    sends_bulk(&mut s, 0, 6, 1000);
    times_out(&mut s, 1000);
    s.receives(ack(1, 2001));
    assert_eq!(counter(&s, "TcpExtTCPSpuriousRTOs"), 0);
    assert!(cwnd(&s) <= 3_000, "{}", cwnd(&s));
}

#[test]
fn an_echo_older_than_the_retransmission_undoes_a_timeout() {
    let mut s = measured(true);
    sends_bulk(&mut s, 0, 6, 988);
    let echo = s.echo();
    times_out(&mut s, 988);
    s.echoes(echo).receives(ack(1, 989));
    assert_eq!(counter(&s, "TcpExtTCPLossUndo"), 1);
    assert_eq!(counter(&s, "TcpExtTCPSpuriousRTOs"), 0, "F-RTO was not needed");
    assert!(cwnd(&s) >= 10_000 - 120, "{}", cwnd(&s));
    // The late answer has taught how long a round trip can be.
    let srtt = s.host.subflows(s.id()).unwrap()[0].srtt.unwrap();
    assert!(srtt >= ms(40), "{srtt:?}");
}

#[test]
fn an_echo_of_the_retransmission_confirms_a_timeout() {
    let mut s = measured(true);
    sends_bulk(&mut s, 0, 6, 988);
    times_out(&mut s, 988);
    s.receives(ack(1, 989));
    assert_eq!(counter(&s, "TcpExtTCPLossUndo"), 0);
    assert!(cwnd(&s) <= 2_000, "{}", cwnd(&s));
}

#[test]
fn an_echo_older_than_the_retransmission_undoes_fast_recovery() {
    let mut s = measured(true);
    sends_bulk(&mut s, 0, 6, 988);
    let echo = s.echo();
    let before = cwnd(&s);
    s.after(ms(8)).echoes(echo).receives(ack(1, 1).sack(&[(989, 3953)]));
    s.until_sent(ms(20)).expect("a fast retransmission");
    s.sends(bulk(1, 1, 988));
    assert!(cwnd(&s) < before);
    // The first one was only late.
    s.echoes(echo).receives(ack(1, 5929));
    assert_eq!(counter(&s, "TcpExtTCPFullUndo"), 1);
    assert_eq!(counter(&s, "TcpExtTCPTSReorder"), 1);
    assert!(cwnd(&s) >= before, "{} of {before}", cwnd(&s));
}

#[test]
fn a_duplicate_reported_for_each_retransmission_undoes_fast_recovery() {
    let mut s = measured(false);
    sends_bulk(&mut s, 0, 6, 1000);
    let before = cwnd(&s);
    s.after(ms(8)).receives(ack(1, 1).sack(&[(1001, 4001)]));
    s.until_sent(ms(20)).expect("a fast retransmission");
    s.sends(bulk(1, 1, 1000));
    s.receives(ack(1, 6001));
    assert!(cwnd(&s) < before);
    s.after(ms(5)).receives(ack(1, 6001).sack(&[(1, 1001)]));
    assert_eq!(counter(&s, "TcpExtTCPDSACKUndo"), 1);
    assert!(cwnd(&s) >= before, "{} of {before}", cwnd(&s));
}

#[test]
fn a_duplicate_of_something_else_undoes_nothing() {
    let mut s = measured(false);
    sends_bulk(&mut s, 0, 6, 1000);
    let before = cwnd(&s);
    s.after(ms(8)).receives(ack(1, 1).sack(&[(1001, 4001)]));
    s.until_sent(ms(20)).expect("a fast retransmission");
    s.sends(bulk(1, 1, 1000));
    s.receives(ack(1, 6001));
    s.after(ms(5)).receives(ack(1, 6001).sack(&[(3001, 3501)]));
    s.receives(ack(1, 6001).sack(&[(1, 6001)]));
    assert_eq!(counter(&s, "TcpExtTCPDSACKIgnoredDubious"), 1, "more than was sent again");
    assert_eq!(counter(&s, "TcpExtTCPDSACKUndo"), 0);
    assert!(cwnd(&s) < before);
}

#[test]
fn what_comes_after_a_later_segment_shows_reordering() {
    let mut s = measured(false);
    sends_bulk(&mut s, 0, 6, 1000);
    s.after(ms(20)).receives(ack(1, 1).sack(&[(2001, 3001)]));
    assert_eq!(counter(&s, "TcpExtTCPSACKReorder"), 0);
    s.receives(ack(1, 1).sack(&[(1001, 3001)]));
    assert_eq!(counter(&s, "TcpExtTCPSACKReorder"), 1);
    // Three above the hole are no sign of loss any more; a quarter of a round trip is waited.
    s.receives(ack(1, 1).sack(&[(1001, 5001)])).sends_nothing();
    let wait = s.until_sent(ms(20)).expect("a fast retransmission");
    assert!(wait >= ms(1), "{wait:?}");
    s.sends(bulk(1, 1, 1000));
}

#[test]
fn two_new_blocks_in_one_acknowledgement_are_no_reordering() {
    let mut s = measured(false);
    sends_bulk(&mut s, 0, 6, 1000);
    s.after(ms(8)).receives(ack(1, 1).sack(&[(3001, 4001), (1001, 2001)]));
    assert_eq!(counter(&s, "TcpExtTCPSACKReorder"), 0);
}

/// RFC 5682 §3.1 step 1 and RFC 5681 §4.3: a timeout after progress is a loss of its own, and its first acknowledgement
/// leads on to the next hole, not to new data.
#[test]
fn a_timeout_in_a_recovery_that_got_on_is_another_loss() {
    let mut s = measured(false);
    sends_bulk(&mut s, 0, 10, 1000);
    s.writes_bulk(10_000, 5_000).sends_nothing();
    times_out(&mut s, 1000);
    let ssthresh = |s: &Script| s.host.subflows(s.id()).unwrap()[0].ssthresh_bytes;
    let first = ssthresh(&s);
    s.receives(ack(1, 1001));
    // What is sent on that is lost as well.
    for _ in 0..2 {
        s.until_sent(ms(30)).expect("new data");
        s.ignores();
    }
    while s.until_sent(secs(2)).is_some() && s.sent_to() != 2001 {
        s.ignores();
    }
    s.sends(bulk(1001, 1, 1000)).sends_nothing();
    assert!(ssthresh(&s) < first, "{} {first}", ssthresh(&s));
    s.after(ms(20)).receives(ack(1, 2001));
    s.until_sent(ms(30)).expect("a retransmission");
    s.sends(bulk(2001, 1, 1000));
}

/// RFC 7323 §4.1: the echo of an acknowledgement that does not advance is that of the segment before the hole.
#[test]
fn the_echo_of_an_acknowledgement_that_stands_still_measures_nothing() {
    let mut config = config();
    config.tcp.pacing = false;
    let mut s = Script::listening_with(config);
    s.receives(syn().mss(1000).sack_ok().ts()).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    s.writes_bulk(0, 8 * 988);
    for n in 0..8 {
        s.sends(bulk(1 + n * 988, 1, 988));
    }
    let echo = s.echo();
    // The second and the fourth are lost.
    s.after(ms(20)).echoes(echo).receives(ack(1, 989).sack(&[(3953, 7905), (1977, 2965)]));
    s.until_sent(ms(20)).expect("a retransmission");
    s.sends(bulk(989, 1, 988)).sends(bulk(2965, 1, 988));
    let srtt = |s: &Script| s.host.subflows(s.id()).unwrap()[0].srtt;
    let before = srtt(&s);
    // The repair of the fourth arrives first.
    s.after(ms(20)).echoes(echo).receives(ack(1, 989).sack(&[(1977, 7905)]));
    s.ignores();
    assert_eq!(srtt(&s), before);
    s.receives(ack(1, 7905)).sends_nothing();
    assert_ne!(srtt(&s), before, "now the echo is that of the repair");
}
