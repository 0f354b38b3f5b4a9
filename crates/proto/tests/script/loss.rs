//! Loss: SACK, fast retransmit, tail loss probes, timeouts (RFC 2018, 2883, 6298, 8985).

use super::dsl::*;

/// A connection with a round trip of 20 ms, no pacing in the way.
fn measured() -> Script {
    let mut s = Script::listening();
    s.receives(syn().mss(1000).sack_ok()).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    s
}

/// `count` segments of 1000 octets leave, whatever the pacing.
fn sends_bulk(s: &mut Script, from: u32, count: u32) {
    s.writes_bulk(from, count as usize * 1000);
    for i in 0..count {
        s.until_sent(ms(15)).expect("the window has room");
        s.sends(bulk(1 + from + i * 1000, 1, 1000));
    }
    s.sends_nothing();
}

#[test]
fn sack_blocks_name_the_latest_range_first() {
    let mut s = Script::accepted_plain();
    s.receives(bulk(11, 1, 10)).sends(ack(1, 1).sack(&[(11, 21)]));
    s.receives(bulk(31, 1, 10)).sends(ack(1, 1).sack(&[(31, 41), (11, 21)]));
    s.receives(bulk(51, 1, 10)).sends(ack(1, 1).sack(&[(51, 61), (31, 41), (11, 21)]));
    s.receives(bulk(71, 1, 10)).sends(ack(1, 1).sack(&[(71, 81), (51, 61), (31, 41), (11, 21)]));
    s.receives(bulk(91, 1, 10)).sends(ack(1, 1).sack(&[(91, 101), (71, 81), (51, 61), (31, 41)]));
    // Joined with its neighbour, the old range is the latest again.
    s.receives(bulk(21, 1, 10)).sends(ack(1, 1).sack(&[(11, 41), (91, 101), (71, 81), (51, 61)]));
    s.receives(bulk(1, 1, 10)).sends(ack(1, 41).sack(&[(91, 101), (71, 81), (51, 61)]));
    s.reads(&octets(0, 40));
}

#[test]
fn with_timestamps_three_blocks_fit() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().ts()).sends(syn_ack());
    s.receives(ack(1, 1)).accepts();
    for i in 1..5 {
        s.receives(bulk(20 * i, 1, 10));
        s.ignores();
    }
    s.receives(bulk(100, 1, 10)).sends(ack(1, 1).ts().sack(&[(100, 110), (80, 90), (60, 70)]));
}

#[test]
fn without_sack_permitted_no_blocks_are_sent() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460)).sends(syn_ack());
    s.receives(ack(1, 1)).accepts();
    s.receives(bulk(11, 1, 10)).sends(ack(1, 1).sack(&[]));
}

#[test]
fn a_duplicate_above_a_hole_is_reported_first() {
    let mut s = Script::accepted_plain();
    s.receives(bulk(11, 1, 10)).sends(ack(1, 1).sack(&[(11, 21)]));
    s.receives(bulk(11, 1, 10)).sends(ack(1, 1).sack(&[(11, 21), (11, 21)]));
}

#[test]
fn octets_once_held_are_not_rewritten() {
    let mut s = Script::accepted_plain();
    s.receives(data(4, 1, b"def")).sends(ack(1, 1).sack(&[(4, 7)]));
    s.receives(data(1, 1, b"abcXYZg")).sends(ack(1, 8)).reads(b"abcdefg");
}

#[test]
fn three_segments_above_a_hole_make_it_lost() {
    let mut s = measured();
    sends_bulk(&mut s, 0, 5);
    s.after(ms(8)).receives(ack(1, 1).sack(&[(1001, 2001)])).sends_nothing();
    s.receives(ack(1, 1).sack(&[(1001, 3001)])).sends_nothing();
    s.receives(ack(1, 1).sack(&[(1001, 4001)]));
    s.until_sent(ms(20)).expect("a fast retransmission");
    s.sends(bulk(1, 1, 1000));
    s.receives(ack(1, 5001)).after(ms(100)).sends_nothing();
}

#[test]
fn three_duplicate_acknowledgements_make_the_front_lost_without_sack() {
    let mut s = Script::listening();
    s.receives(syn().mss(1000)).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    sends_bulk(&mut s, 0, 5);
    s.after(ms(8)).receives(ack(1, 1)).receives(ack(1, 1)).sends_nothing();
    s.receives(ack(1, 1));
    s.until_sent(ms(20)).expect("a fast retransmission");
    s.sends(bulk(1, 1, 1000));
}

#[test]
fn a_lone_segment_is_probed_when_its_timeout_would_come() {
    let mut s = measured();
    s.writes(b"anyone?").sends(data(1, 1, b"anyone?"));
    s.after(ms(220)).sends(data(1, 1, b"anyone?"));
    s.receives(ack(1, 8)).after(secs(1)).sends_nothing();
    let counts = ["TcpExtTCPLossProbes", "TcpExtTCPTimeouts"].map(|name| s.host.counters().get(name));
    assert_eq!(counts, [Some(1), Some(0)]);
}

#[test]
fn a_probe_of_the_tail_repeats_its_last_segment() {
    let mut s = measured();
    sends_bulk(&mut s, 0, 3);
    let wait = s.until_sent(ms(100)).expect("a probe");
    assert!(wait >= ms(40) && wait <= ms(43), "{wait:?}");
    s.sends(bulk(2001, 1, 1000));
    // It arrives, and the holes before it become known.
    s.after(ms(20)).receives(ack(1, 1).sack(&[(2001, 3001)]));
    s.until_sent(ms(20)).expect("a retransmission");
    s.sends(bulk(1, 1, 1000));
}

#[test]
fn timeouts_double_from_200_ms_above_the_round_trip() {
    let mut s = measured();
    s.writes(b"anyone?").sends(data(1, 1, b"anyone?"));
    s.after(ms(220)).sends(data(1, 1, b"anyone?"));
    for wait in [220, 440, 880, 1760, 3520] {
        s.after(ms(wait)).sends(data(1, 1, b"anyone?"));
    }
    // Which copy this acknowledges is not known: the next timeout is as long as the last (RFC 6298 §5).
    s.receives(ack(1, 8)).writes(b"again").sends(data(8, 1, b"again"));
    s.after(ms(7040)).sends(data(8, 1, b"again"));
    s.after(ms(20)).receives(ack(1, 13)).writes(b"new").sends(data(13, 1, b"new"));
    // What was sent once is measured, which ends it.
    s.after(ms(20)).receives(ack(1, 16)).writes(b"last").sends(data(16, 1, b"last"));
    let wait = s.until_sent(secs(1)).expect("a probe or a timeout");
    assert!(wait <= ms(300), "{wait:?}");
}

#[test]
fn without_a_measured_handshake_the_first_timeout_is_3_s() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460)).sends(syn_ack());
    s.after(secs(1)).sends(syn_ack());
    s.receives(ack(1, 1)).accepts();
    s.writes(b"anyone?").sends(data(1, 1, b"anyone?"));
    s.after(secs(3)).sends(data(1, 1, b"anyone?"));
}

#[test]
fn after_a_timeout_one_segment_leaves_and_then_two() {
    let mut s = measured();
    sends_bulk(&mut s, 0, 6);
    s.idles(ms(100));
    s.until_sent(secs(1)).expect("a timeout");
    s.sends(bulk(1, 1, 1000)).sends_nothing();
    s.after(ms(20)).receives(ack(1, 1001));
    s.until_sent(ms(20));
    s.sends(bulk(1001, 1, 1000));
    s.until_sent(ms(20));
    s.sends(bulk(2001, 1, 1000));
}

#[test]
fn sack_blocks_outside_of_what_was_sent_mean_nothing() {
    let mut s = measured();
    sends_bulk(&mut s, 0, 3);
    s.receives(ack(1, 1).sack(&[(5001, 9001), (2001, 1001), (0x8000_0000, 0x8000_1000)])).sends_nothing();
    s.receives(ack(1, 1).sack(&[(1, 3001)])).sends_nothing();
    s.receives(ack(1, 3001)).after(secs(2)).sends_nothing();
}

#[test]
fn the_first_two_duplicate_acknowledgements_let_new_data_leave_without_sack() {
    let mut s = Script::listening();
    s.receives(syn().mss(1000)).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    sends_bulk(&mut s, 0, 10);
    s.writes_bulk(10_000, 5_000).sends_nothing();
    s.after(ms(8)).receives(ack(1, 1));
    s.until_sent(ms(5)).expect("one more segment");
    s.sends(bulk(10_001, 1, 1000)).sends_nothing();
    s.receives(ack(1, 1));
    s.until_sent(ms(5)).expect("and another");
    s.sends(bulk(11_001, 1, 1000)).sends_nothing();
    s.receives(ack(1, 1));
    s.until_sent(ms(20)).expect("a fast retransmission");
    s.sends(bulk(1, 1, 1000));
}

#[test]
fn a_window_is_spread_out_unless_told_otherwise() {
    for (pacing, within_a_millisecond) in [(true, 1..5_000), (false, 10_001..10_002)] {
        let mut config = config();
        config.tcp.pacing = pacing;
        let mut s = Script::listening_with(config);
        s.receives(syn().mss(1000).sack_ok()).sends(syn_ack());
        s.after(ms(20)).receives(ack(1, 1)).accepts();
        s.nodelay().writes_bulk(0, 10_000);
        let mut end = 0;
        s.idles_into(&mut end, ms(1));
        assert!(within_a_millisecond.contains(&end), "pacing {pacing}: {end}");
    }
}

#[test]
fn an_idle_window_shrinks_unless_told_otherwise() {
    for shrinks in [true, false] {
        let mut config = config();
        config.tcp.slow_start_after_idle = shrinks;
        let mut s = Script::listening_with(config);
        s.receives(syn().mss(1000).sack_ok()).sends(syn_ack());
        s.after(ms(20)).receives(ack(1, 1)).accepts();
        s.nodelay();
        sends_bulk(&mut s, 0, 10);
        s.after(ms(15)).receives(ack(1, 10_001));
        let cwnd = |s: &Script| s.host.subflows(s.id()).unwrap()[0].cwnd_bytes;
        let grown = cwnd(&s);
        assert!(grown > 10_000, "{grown}");
        s.after(secs(10)).writes(b"on").sends(data(10_001, 1, b"on"));
        assert_eq!(cwnd(&s), if shrinks { 10_000 } else { grown });
    }
}

#[test]
fn after_two_lost_syn_acks_data_begins_with_one_segment() {
    for (lost, segments) in [(1, 5), (2, 1)] {
        let mut s = Script::listening();
        s.receives(syn().mss(1000).sack_ok()).sends(syn_ack());
        for n in 0..lost {
            s.after(secs(1 << n)).sends(syn_ack());
        }
        s.after(ms(20)).receives(ack(1, 1)).accepts();
        s.nodelay().writes_bulk(0, 5000);
        for n in 0..segments {
            s.sends(bulk(1 + n * 1000, 1, 1000));
        }
        s.sends_nothing();
    }
}

/// A round trip of 20 ms, a segment, and the tail loss probe that repeats it.
fn probed() -> Script {
    let mut s = measured();
    s.writes_bulk(0, 1000).sends(bulk(1, 1, 1000));
    s.until_sent(ms(300)).expect("a probe");
    s.sends(bulk(1, 1, 1000));
    s
}

#[test]
fn a_probe_that_repaired_a_loss_reduces_the_window() {
    let mut s = probed();
    let cwnd = |s: &Script| s.host.subflows(s.id()).unwrap()[0].cwnd_bytes;
    let before = cwnd(&s);
    s.after(ms(20)).receives(ack(1, 1001)).sends_nothing();
    assert_eq!(cwnd(&s), before, "the peer may still report a duplicate");
    s.writes_bulk(1000, 1000).sends(bulk(1001, 1, 1000));
    s.after(ms(20)).receives(ack(1, 2001)).sends_nothing();
    assert!(cwnd(&s) < before, "{} {before}", cwnd(&s));
}

#[test]
fn data_that_leaves_after_the_probe_timeout_is_the_probe() {
    let mut s = measured();
    sends_bulk(&mut s, 0, 2);
    // The probe is due, and the program writes before there is room for it.
    s.waits_without_room(ms(60)).writes_bulk(2000, 1000);
    s.sends(bulk(2001, 1, 1000)).sends_nothing();
    assert_eq!(s.host.counters().get("TcpExtTCPLossProbes"), Some(1));
    // As after a probe: what follows is the timeout.
    let wait = s.until_sent(secs(1)).expect("a timeout");
    assert!(wait >= ms(200), "{wait:?}");
    s.sends(bulk(1, 1, 1000));
}

#[test]
fn data_that_waits_for_the_congestion_window_is_the_probe() {
    let mut s = measured();
    s.writes_bulk(0, 40_000);
    for i in 0..10 {
        s.until_sent(ms(15)).expect("the first window has room");
        s.sends(bulk(1 + i * 1000, 1, 1000));
    }
    let wait = s.until_sent(ms(100)).expect("a probe");
    assert!(wait >= ms(40), "{wait:?}");
    s.sends(bulk(10_001, 1, 1000)).sends_nothing();
    assert_eq!(s.host.counters().get("TcpExtTCPLossProbes"), Some(1));
}

#[test]
fn an_acknowledgement_between_the_probe_timeout_and_the_probe_makes_it_needless() {
    let mut s = measured();
    sends_bulk(&mut s, 0, 2);
    s.waits_without_room(ms(60)).receives(ack(1, 1001)).sends_nothing();
}

#[test]
fn a_second_probe_waits_for_a_round_trip_that_was_measured() {
    let mut s = probed();
    // Which copy this acknowledges is not known.
    s.after(ms(20)).receives(ack(1, 1001).sack(&[(1, 1001)])).sends_nothing();
    s.writes_bulk(1000, 1000).sends(bulk(1001, 1, 1000));
    let counts = |s: &Script| {
        ["TcpExtTCPLossProbes", "TcpExtTCPTimeouts"].map(|name| s.host.counters().get(name).expect("known"))
    };
    s.until_sent(secs(1)).expect("a timeout");
    assert_eq!(counts(&s), [1, 1]);
    s.sends(bulk(1001, 1, 1000)).after(ms(20)).receives(ack(1, 2001)).sends_nothing();
    s.writes_bulk(2000, 1000).sends(bulk(2001, 1, 1000)).after(ms(20)).receives(ack(1, 3001));
    s.writes_bulk(3000, 1000).sends(bulk(3001, 1, 1000));
    s.until_sent(secs(1)).expect("a probe");
    assert_eq!(counts(&s), [2, 1]);
}

#[test]
fn a_probe_that_was_reported_twice_reduces_nothing() {
    let mut s = probed();
    let cwnd = |s: &Script| s.host.subflows(s.id()).unwrap()[0].cwnd_bytes;
    let before = cwnd(&s);
    s.after(ms(5)).receives(ack(1, 1001)).sends_nothing();
    s.after(ms(15)).receives(ack(1, 1001).sack(&[(1, 1001)])).sends_nothing();
    s.writes_bulk(1000, 1000).sends(bulk(1001, 1, 1000));
    s.after(ms(20)).receives(ack(1, 2001)).sends_nothing();
    assert!(cwnd(&s) >= before, "{} {before}", cwnd(&s));
}

/// RFC 2018 §8: the peer reported it and has thrown it away since.
#[test]
fn what_a_peer_reported_and_then_lacks_is_sent_again_after_a_timeout() {
    let mut s = measured();
    sends_bulk(&mut s, 0, 4);
    s.after(ms(8)).receives(ack(1, 1).sack(&[(1001, 3001)]));
    // The first has arrived; what follows it was reported, and is not acknowledged with it.
    s.receives(ack(1, 1001));
    let mut again = Vec::new();
    while again.len() < 3 {
        s.until_sent(secs(3)).expect("a timeout");
        let from = 1001 + 1000 * again.len() as u32;
        s.sends(bulk(from, 1, 1000));
        s.receives(ack(1, from + 1000));
        again.push(from);
    }
    assert_eq!(again, [1001, 2001, 3001]);
    assert_eq!(s.host.counters().get("TcpExtTCPSACKReneging"), Some(1));
}

/// RFC 2883 §5: what it acknowledges and reports was news when it left, although a later one has overtaken it.
#[test]
fn an_overtaken_report_is_no_report_of_a_duplicate() {
    let mut s = measured();
    sends_bulk(&mut s, 0, 3);
    s.after(ms(8)).receives(ack(1, 3001)).receives(ack(1, 1).sack(&[(1001, 3001)])).sends_nothing();
    assert_eq!(s.host.counters().get("TcpExtTCPDSACKRecv"), Some(0));
    s.receives(ack(1, 3001).sack(&[(1001, 3001)])).sends_nothing();
    assert_eq!(s.host.counters().get("TcpExtTCPDSACKRecv"), Some(1));
}

fn windows(s: &Script) -> (u32, u32) {
    let subflow = &s.host.subflows(s.id()).unwrap()[0];
    (subflow.cwnd_bytes, subflow.ssthresh_bytes)
}

/// RFC 8985 §7.1: the loss that the probe showed was answered by fast recovery.
#[test]
fn a_probe_of_the_tail_that_led_to_recovery_reduces_no_second_time() {
    let mut s = measured();
    sends_bulk(&mut s, 0, 3);
    s.until_sent(ms(100)).expect("a probe");
    s.sends(bulk(2001, 1, 1000));
    s.after(ms(20)).receives(ack(1, 1).sack(&[(2001, 3001)]));
    s.until_sent(ms(20)).expect("a retransmission");
    s.sends(bulk(1, 1, 1000));
    s.after(ms(20)).receives(ack(1, 1001).sack(&[(2001, 3001)]));
    s.until_sent(ms(20)).expect("a retransmission");
    s.sends(bulk(1001, 1, 1000));
    s.after(ms(20)).receives(ack(1, 3001)).sends_nothing();
    let (_, ssthresh) = windows(&s);
    s.writes_bulk(3000, 1000).sends(bulk(3001, 1, 1000));
    s.after(ms(20)).receives(ack(1, 4001)).sends_nothing();
    assert_eq!(windows(&s).1, ssthresh);
}

/// RFC 8985 §6.2 step 5: what was sent before a retransmission that arrived is lost, though no block is left to say so.
#[test]
fn a_lost_tail_behind_a_repaired_hole_is_sent_again_without_a_timeout() {
    let mut s = measured();
    sends_bulk(&mut s, 0, 8);
    // The first and the last four are lost.
    s.after(ms(8)).receives(ack(1, 1).sack(&[(1001, 4001)]));
    s.until_sent(ms(20)).expect("a retransmission");
    s.sends(bulk(1, 1, 1000));
    s.after(ms(20)).receives(ack(1, 4001));
    let wait = s.until_sent(ms(20)).expect("the next hole's");
    s.sends(bulk(4001, 1, 1000));
    assert!(wait <= ms(20), "{wait:?}");
    assert_eq!(s.host.counters().get("TcpExtTCPTimeouts"), Some(0));
}

/// RFC 8985 §7.4.2: a peer with SACK and without D-SACK answers the second copy by a bare duplicate.
#[test]
fn a_probe_that_was_answered_twice_reduces_nothing() {
    let mut s = probed();
    let before = windows(&s);
    s.after(ms(5)).receives(ack(1, 1001)).sends_nothing();
    s.after(ms(15)).receives(ack(1, 1001)).sends_nothing();
    s.writes_bulk(1000, 1000).sends(bulk(1001, 1, 1000));
    s.after(ms(20)).receives(ack(1, 2001)).sends_nothing();
    let after = windows(&s);
    assert!(after.0 >= before.0 && after.1 == before.1, "{before:?} {after:?}");
}

/// RFC 6582 §3.2 step 2: they answer what a timeout sent again without need.
#[test]
fn duplicates_right_after_a_recovery_without_sack_send_nothing_again() {
    let mut s = Script::listening();
    s.receives(syn().mss(1000)).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    sends_bulk(&mut s, 0, 4);
    s.until_sent(secs(1)).expect("a timeout");
    s.sends(bulk(1, 1, 1000));
    // All had arrived.
    s.after(ms(20)).receives(ack(1, 4001));
    sends_bulk(&mut s, 4000, 4);
    for _ in 0..4 {
        s.receives(ack(1, 4001)).sends_nothing();
    }
    s.after(ms(5)).receives(ack(1, 5001)).sends_nothing();
    // Beyond it they count again.
    for _ in 0..3 {
        s.receives(ack(1, 5001));
    }
    s.until_sent(ms(15)).expect("a fast retransmission");
    s.sends(bulk(5001, 1, 1000));
}

/// RFC 6298 §5: the back-off ends with a measurement. Else every segment on a path that has become slow leaves twice.
#[test]
fn on_a_path_that_became_slow_only_the_first_segment_is_sent_again() {
    let mut s = Script::listening();
    s.receives(syn().mss(1000)).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    s.writes(b"a").sends(data(1, 1, b"a"));
    s.until_sent(ms(399)).expect("a timeout");
    s.sends(data(1, 1, b"a"));
    // Each is answered after 400 ms.
    s.after(ms(180)).receives(ack(1, 2));
    for n in 0..3u32 {
        let seq = 2 + n;
        s.writes(b"b").sends(data(seq, 1, b"b"));
        s.after(ms(400)).sends_nothing().receives(ack(1, seq + 1)).sends_nothing();
    }
}

#[test]
fn data_written_in_recovery_goes_as_segments_arrive() {
    let mut config = config();
    config.tcp.slow_start_after_idle = false;
    config.tcp.pacing = false;
    let mut s = Script::listening_with(config);
    s.receives(syn().mss(1000).sack_ok()).sends(syn_ack());
    s.after(ms(100)).receives(ack(1, 1));
    s.accepts();
    s.nodelay();
    sends_bulk(&mut s, 0, 10);
    s.after(ms(110)).receives(ack(1, 1).sack(&[(1001, 2001)]));
    s.after(ms(10)).receives(ack(1, 1).sack(&[(1001, 3001)]));
    s.after(ms(10)).receives(ack(1, 1).sack(&[(1001, 4001)])).sends(bulk(1, 1, 1000));
    s.after(ms(20)).writes_bulk(10_000, 7000);
    s.sends_nothing();
    for i in 0..4 {
        s.after(ms(10)).receives(ack(1, 1).sack(&[(1001, 5001 + i * 1000)]));
        s.sends(bulk(10_001 + i * 1000, 1, 1000));
    }
}
