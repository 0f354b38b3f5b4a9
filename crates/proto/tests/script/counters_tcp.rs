//! What TCP counts, where no other story tells it: the meaning is Linux's, the names are nstat's.

use super::dsl::*;
use polytcp_proto::host::Protocol;
use polytcp_wire::tcp::TcpFlags;

fn count(s: &Script, name: &str) -> u64 {
    s.host.counters().get(name).expect("a counter")
}

fn counts<const N: usize>(s: &Script, names: [&str; N]) -> [u64; N] {
    names.map(|name| count(s, name))
}

/// A round trip of 20 ms, segments of 1000 octets, no Nagle.
fn measured(sack: bool) -> Script {
    let mut s = Script::listening();
    let syn = syn().mss(1000);
    s.receives(if sack { syn.sack_ok() } else { syn }).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    s
}

fn sends_bulk(s: &mut Script, from: u32, count: u32) {
    s.writes_bulk(from, count as usize * 1000);
    for i in 0..count {
        s.until_sent(ms(15)).expect("the window has room");
        s.sends(bulk(1 + from + i * 1000, 1, 1000));
    }
    s.sends_nothing();
}

#[test]
fn a_segment_counts_as_sent_or_as_repeated() {
    let names = ["TcpOutSegs", "TcpRetransSegs", "TcpExtTCPOrigDataSent", "TcpExtTCPSynRetrans"];
    let mut s = Script::listening();
    s.receives(syn().mss(1000).sack_ok()).sends(syn_ack());
    assert_eq!(counts(&s, names), [1, 0, 0, 0]);
    s.after(secs(1)).sends(syn_ack());
    assert_eq!(counts(&s, names), [1, 1, 0, 1]);
    s.receives(ack(1, 1)).accepts();
    s.writes(b"anyone?").sends(data(1, 1, b"anyone?"));
    assert_eq!(counts(&s, names), [2, 1, 1, 1]);
    s.until_sent(secs(5)).expect("a repetition");
    s.sends(data(1, 1, b"anyone?"));
    assert_eq!(counts(&s, names), [2, 2, 1, 1]);
    s.receives(ack(1, 8)).receives(data(1, 8, b"yes")).sends(ack(8, 4)).reads(b"yes");
    assert_eq!(counts(&s, names), [3, 2, 1, 1]);
    s.closes().sends(fin(8, 4));
    assert_eq!(counts(&s, names), [4, 2, 2, 1]);
    assert_eq!(count(&s, "TcpInSegs"), 4);
    let mut s = Script::connecting_with(config(), Protocol::Tcp);
    s.sends(syn()).after(secs(1)).sends(syn());
    assert_eq!(counts(&s, names), [1, 1, 0, 1]);
}

#[test]
fn opens_resets_and_failed_handshakes_are_counted() {
    let names = ["TcpActiveOpens", "TcpPassiveOpens", "TcpAttemptFails", "TcpEstabResets", "TcpCurrEstab"];
    let mut s = Script::accepted_plain();
    assert_eq!(counts(&s, names), [0, 1, 0, 0, 1]);
    s.receives(rst(1)).sends_nothing();
    assert_eq!(counts(&s, names), [0, 1, 0, 1, 0]);
    let mut s = Script::connecting_with(config(), Protocol::Tcp);
    s.sends(syn());
    assert_eq!(counts(&s, names), [1, 0, 0, 0, 0]);
    s.receives(rst_ack(0, 1)).sends_nothing();
    assert_eq!(counts(&s, names), [1, 0, 1, 0, 0]);
    // Both ends close: no reset. CLOSE-WAIT is counted as established, LAST-ACK is not.
    let mut s = Script::accepted_plain();
    s.receives(fin(1, 1)).sends(ack(1, 2));
    assert_eq!(count(&s, "TcpCurrEstab"), 1);
    s.closes().sends(fin(1, 2));
    assert_eq!(count(&s, "TcpCurrEstab"), 0);
    s.receives(ack(2, 2));
    assert_eq!(counts(&s, names), [0, 1, 0, 0, 0]);
    // Each subflow is one.
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    assert_eq!(count(&s, "TcpCurrEstab"), 2);
    s.aborts();
    s.ignores();
    assert_eq!(counts(&s, ["TcpCurrEstab", "TcpEstabResets", "TcpOutRsts"]), [0, 2, 2]);
}

#[test]
fn damaged_segments_are_counted() {
    let mut s = Script::accepted_plain();
    for damage in [45, 30] {
        let (path, mut packet) = s.build(&data(1, 1, b"0123456789"));
        let mut octets = packet.bytes.to_vec();
        octets[damage] ^= 0xf0;
        packet.bytes = octets.into();
        s.deliver(path, packet);
    }
    s.sends_nothing();
    assert_eq!(counts(&s, ["TcpInErrs", "TcpInCsumErrors"]), [2, 2]);
}

#[test]
fn losses_and_what_repairs_them_are_counted() {
    let mut s = measured(true);
    sends_bulk(&mut s, 0, 6);
    s.after(ms(8)).receives(ack(1, 1).sack(&[(1001, 5001)]));
    s.until_sent(ms(20)).expect("a fast retransmission");
    s.sends(bulk(1, 1, 1000));
    assert_eq!(counts(&s, ["TcpExtTCPSackRecovery", "TcpExtTCPFastRetrans", "TcpRetransSegs"]), [1, 1, 1]);
    assert_eq!(counts(&s, ["TcpExtTCPLostRetransmit", "TcpExtTCPDelivered"]), [0, 4]);
    // What left after the retransmission is delivered, and it is not.
    s.writes_bulk(6000, 2000);
    s.idles(ms(40));
    s.receives(ack(1, 1).sack(&[(1001, 8001)]));
    s.until_sent(ms(40)).expect("the retransmission was lost too");
    assert_eq!(count(&s, "TcpExtTCPLostRetransmit"), 1);

    let mut s = measured(false);
    sends_bulk(&mut s, 0, 5);
    s.after(ms(8)).receives(ack(1, 1)).receives(ack(1, 1)).receives(ack(1, 1));
    s.ignores();
    assert_eq!(counts(&s, ["TcpExtTCPRenoRecovery", "TcpExtTCPSackRecovery"]), [1, 0]);
    // The third ACK of the handshake is one as well.
    assert_eq!(count(&s, "TcpExtTCPPureAcks"), 4);
}

#[test]
fn a_retransmission_after_a_timeout_is_counted_as_one_of_slow_start() {
    let mut s = measured(true);
    s.writes(b"anyone?").sends(data(1, 1, b"anyone?"));
    // After the probe.
    s.idles(ms(450));
    assert_eq!(counts(&s, ["TcpExtTCPTimeouts", "TcpExtTCPSlowStartRetrans"]), [1, 1]);
}

#[test]
fn a_probe_of_the_tail_that_repaired_a_loss_is_counted() {
    let mut s = measured(true);
    sends_bulk(&mut s, 0, 3);
    s.until_sent(ms(100)).expect("a probe");
    s.sends(bulk(2001, 1, 1000));
    s.after(ms(20)).receives(ack(1, 3001)).writes(b"more").sends(data(3001, 1, b"more"));
    s.after(ms(20)).receives(ack(1, 3005));
    assert_eq!(counts(&s, ["TcpExtTCPLossProbes", "TcpExtTCPLossProbeRecovery"]), [1, 1]);
}

#[test]
fn a_peer_that_drops_what_it_had_sacked_is_counted() {
    let mut s = measured(true);
    sends_bulk(&mut s, 0, 3);
    s.after(ms(5)).receives(ack(1, 1).sack(&[(1001, 2001)]));
    s.ignores();
    s.receives(ack(1, 1001));
    assert_eq!(count(&s, "TcpExtTCPSACKReneging"), 0);
    s.idles(secs(1));
    assert_eq!(count(&s, "TcpExtTCPSACKReneging"), 1);
}

#[test]
fn sack_blocks_that_cannot_be_are_counted_and_old_ones_are_not() {
    let mut s = measured(true);
    sends_bulk(&mut s, 0, 3);
    s.receives(ack(1, 1).sack(&[(5001, 9001), (2001, 1001)]));
    assert_eq!(count(&s, "TcpExtTCPSACKDiscard"), 2);
    s.receives(ack(1, 2001)).receives(ack(1, 2001).sack(&[(2001, 3001), (1, 1001)]));
    s.ignores();
    assert_eq!(count(&s, "TcpExtTCPSACKDiscard"), 3, "what begins at SND.UNA is acknowledged, not reported");
}

#[test]
fn reports_of_duplicates_are_counted_in_both_directions() {
    let mut s = Script::accepted_plain();
    s.receives(bulk(1, 1, 10)).sends(ack(1, 11));
    s.receives(bulk(1, 1, 10)).sends(ack(1, 11).sack(&[(1, 11)]));
    assert_eq!(
        counts(&s, ["TcpExtTCPDSACKOldSent", "TcpExtTCPDSACKOfoSent", "TcpExtDelayedACKLost"]),
        [1, 0, 1]
    );
    s.receives(bulk(21, 1, 10)).sends(ack(1, 11).sack(&[(21, 31)]));
    s.receives(bulk(21, 1, 10)).sends(ack(1, 11).sack(&[(21, 31), (21, 31)]));
    assert_eq!(
        counts(&s, ["TcpExtTCPDSACKOldSent", "TcpExtTCPDSACKOfoSent", "TcpExtDelayedACKLost"]),
        [1, 1, 1]
    );
    assert_eq!(counts(&s, ["TcpExtTCPOFOQueue", "TcpExtTCPOFOMerge"]), [1, 1]);

    let mut s = measured(true);
    sends_bulk(&mut s, 0, 4);
    s.after(ms(20)).receives(ack(1, 2001)).receives(ack(1, 2001).sack(&[(1, 1001)]));
    let names = ["TcpExtTCPDSACKRecv", "TcpExtTCPDSACKOfoRecv", "TcpExtTCPDSACKRecvSegs"];
    assert_eq!(counts(&s, names), [1, 0, 1]);
    assert_eq!(count(&s, "TcpExtTCPDSACKIgnoredDubious"), 1, "nothing was sent again");
    s.receives(ack(1, 2001).sack(&[(3001, 4001), (3001, 4001)]));
    assert_eq!(counts(&s, names), [1, 1, 2]);
}

#[test]
fn reports_that_tell_nothing_of_the_last_reduction_are_counted() {
    let mut s = measured(true);
    sends_bulk(&mut s, 0, 3);
    // A probe of the tail is repeated for nothing, and the window is not reduced: nothing to undo.
    s.until_sent(ms(100)).expect("a probe");
    s.sends(bulk(2001, 1, 1000));
    s.receives(ack(1, 3001)).receives(ack(1, 3001).sack(&[(2001, 3001)]));
    assert_eq!(counts(&s, ["TcpExtTCPDSACKIgnoredNoUndo", "TcpExtTCPDSACKIgnoredOld"]), [1, 0]);
    sends_bulk(&mut s, 3000, 3);
    s.idles(secs(1));
    // A timeout by now; the report is of what was acknowledged long before.
    s.receives(ack(1, 3001).sack(&[(1001, 2001)]));
    assert_eq!(counts(&s, ["TcpExtTCPDSACKIgnoredNoUndo", "TcpExtTCPDSACKIgnoredOld"]), [1, 1]);
}

#[test]
fn what_the_delay_timer_sends_is_counted() {
    let mut s = Script::accepted_plain();
    for i in 0..16 {
        s.receives(data(1 + i, 1, b"x")).sends(ack(1, 2 + i));
    }
    assert_eq!(count(&s, "TcpExtDelayedACKs"), 0);
    s.receives(data(17, 1, b"x")).after(ms(40)).sends(ack(1, 18));
    assert_eq!(count(&s, "TcpExtDelayedACKs"), 1);
}

#[test]
fn windows_that_shut_and_open_are_counted_on_both_sides() {
    let names = ["TcpExtTCPToZeroWindowAdv", "TcpExtTCPFromZeroWindowAdv", "TcpExtTCPZeroWindowDrop"];
    let mut config = config();
    config.tcp.recv_buffer_bytes = std::num::NonZeroU32::new(16 << 10);
    let mut s = Script::accepted_plain_with(config);
    let mut at = 1;
    while count(&s, names[0]) == 0 {
        assert!(at < 64 << 10, "the window never shuts");
        s.receives(bulk(at, 1, 1024));
        s.until_sent(ms(100)).expect("an acknowledgement");
        at = s.drain_edges().last().expect("one was sent").0;
    }
    s.receives(bulk(at, 1, 100));
    s.ignores();
    assert_eq!(counts(&s, names), [1, 0, 1]);
    s.read();
    s.ignores();
    assert_eq!(counts(&s, names), [1, 1, 1]);

    let mut s = Script::accepted_plain();
    s.receives(ack(1, 1).window(0)).writes(b"anyone?").sends_nothing();
    s.idles(secs(1));
    assert!(count(&s, "TcpExtTCPWinProbe") >= 1);
}

#[test]
fn segments_beyond_the_window_are_counted() {
    let mut s = Script::accepted_plain();
    s.receives(data(0x1000_0000, 1, b"far")).sends(ack(1, 1));
    s.receives(data(1, 1, b"x")).sends(ack(1, 2));
    s.receives(data(1, 1, b"x")).sends(ack(1, 2).sack(&[(1, 2)]));
    assert_eq!(count(&s, "TcpExtBeyondWindow"), 1, "old data is not beyond");
}

#[test]
fn a_syn_on_an_open_connection_is_counted() {
    let mut s = Script::accepted_plain();
    s.receives(syn().any_seq_at(5)).sends(ack(1, 1));
    assert_eq!(counts(&s, ["TcpExtTCPSYNChallenge", "TcpExtTCPChallengeACK"]), [1, 1]);
}

#[test]
fn answers_that_were_left_out_are_counted() {
    let mut s = Script::listening();
    s.receives(syn().mss(1000)).sends(syn_ack()).receives(syn().mss(1000)).sends_nothing();
    assert_eq!(count(&s, "TcpExtTCPACKSkippedSynRecv"), 1);

    let mut s = Script::listening();
    s.receives(syn().mss(1000).ts()).sends(syn_ack()).receives(ack(1, 1)).accepts();
    s.receives(ack(1, 1).ts_val(-10_000))
        .sends(ack(1, 1))
        .receives(ack(1, 1).ts_val(-10_000))
        .sends_nothing();
    assert_eq!(counts(&s, ["TcpExtPAWSEstab", "TcpExtTCPACKSkippedPAWS"]), [2, 1]);
    s.closes().sends(fin(1, 1)).receives(fin(1, 2)).sends(ack(2, 2));
    s.receives(ack(1, 2).ts_val(-10_000)).sends(ack(2, 2)).receives(ack(1, 2)).sends_nothing();
    assert_eq!(counts(&s, ["TcpExtPAWSTimewait", "TcpExtTCPACKSkippedTimeWait"]), [1, 1]);
    s.after(ms(500)).receives(ack(1, 2)).sends(ack(2, 2));
}

#[test]
fn flows_that_nobody_answers_are_counted() {
    let mut s = Script::accepted_plain();
    s.user_timeout(secs(3)).writes(b"anyone?").sends(data(1, 1, b"anyone?"));
    s.idles(secs(10));
    assert_eq!(count(&s, "TcpExtTCPAbortOnTimeout"), 1);
    let mut s = Script::connecting_with(config(), Protocol::Tcp);
    s.idles(secs(200));
    assert_eq!(counts(&s, ["TcpExtTCPAbortOnTimeout", "TcpAttemptFails"]), [1, 1]);
    let mut config = config();
    config.tcp.keepalive_idle = Some(secs(60));
    let mut s = Script::accepted_plain_with(config);
    s.idles(secs(2_000));
    assert_eq!(count(&s, "TcpExtTCPAbortOnTimeout"), 1);
    assert_eq!(count(&s, "TcpExtTCPKeepAlive"), 9);
}

#[test]
fn a_close_with_unread_data_is_counted() {
    let mut s = Script::accepted_plain();
    s.receives(data(1, 1, b"unread")).sends(ack(1, 7)).closes().ignores();
    assert_eq!(count(&s, "TcpExtTCPAbortOnClose"), 1);
}

#[test]
fn time_waits_are_counted_as_they_begin_and_when_they_are_cut_short() {
    let mut config = config();
    config.tcp.time_wait_max = 1;
    let names = ["TcpExtTW", "TcpExtTCPTimeWaitOverflow", "TcpExtTWRecycled"];
    let mut s = Script::accepted_plain_with(config);
    s.closes().sends(fin(1, 1)).receives(fin(1, 2)).sends(ack(2, 2));
    assert_eq!(counts(&s, names), [1, 0, 0]);
    let second = s.add_line(0, 1001);
    s.receives(syn().on(second).mss(1000))
        .sends(syn_ack().on(second))
        .receives(ack(1, 1).on(second))
        .accepts();
    s.closes().sends(fin(1, 1).on(second)).receives(fin(1, 2).on(second)).sends(ack(2, 2).on(second));
    assert_eq!(counts(&s, names), [2, 1, 0]);
    // The four-tuple is taken again from this side.
    let tuple = (s.host_of(second), s.peer_of(second));
    let options = polytcp_proto::host::ConnectOptions {
        local: Some(tuple.0),
        protocol: Protocol::Tcp,
        ..polytcp_proto::host::ConnectOptions::new(tuple.1)
    };
    let now = s.now;
    s.host.connect(now, &options).expect("it is free again");
    assert_eq!(counts(&s, names), [2, 1, 1]);
}

#[test]
fn out_of_order_data_beyond_the_limit_of_pieces_is_counted() {
    let mut config = config();
    config.tcp.recv_buffer_bytes = std::num::NonZeroU32::new(4 << 20);
    let mut s = Script::accepted_plain_with(config);
    for piece in 0..4097u32 {
        s.receives(bulk(3 + piece * 2, 1, 1));
        s.ignores();
    }
    assert_eq!(count(&s, "TcpExtTCPOFODrop"), 1);
}

#[test]
fn a_delay_that_ends_slow_start_is_counted_with_its_window() {
    let mut s = measured(true);
    s.writes_bulk(0, 1_000_000);
    let (mut at, mut end) = (1, 1);
    for round in 0..12 {
        s.idles_into(&mut end, ms(20 + 20 * round.min(3)));
        let until = end;
        while at < until {
            at = (at + 1000).min(until);
            s.receives(ack(1, at));
            s.idles_into(&mut end, ms(0));
        }
    }
    assert_eq!(count(&s, "TcpExtTCPHystartDelayDetect"), 1);
    assert!(count(&s, "TcpExtTCPHystartDelayCwnd") >= 10);
}

#[test]
fn a_flag_more_is_not_a_segment_more() {
    let mut s = Script::accepted_plain();
    let before = count(&s, "TcpOutSegs");
    s.writes(b"end").shuts_down();
    s.sends(data(1, 1, b"end")).sends(fin(4, 1)).sends_nothing();
    assert_eq!(count(&s, "TcpOutSegs"), before + 2);
    s.receives(data(1, 5, b"x").flags(TcpFlags::FIN)).sends(ack(5, 3));
    assert_eq!(count(&s, "TcpOutSegs"), before + 3);
}
