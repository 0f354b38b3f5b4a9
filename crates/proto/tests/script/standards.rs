//! What the conformance tables list and no other story tells, RFC by RFC.

use super::dsl::*;
use polytcp_proto::host::{CallError, ConnectOptions, ConnectionError};
use polytcp_wire::mptcp::{Capable, CapableFlags, CapableForm, MptcpOption};

/// A round trip of 20 ms, segments of 1000 octets, no Nagle, without SACK.
fn without_sack() -> Script {
    let mut s = Script::listening();
    s.receives(syn().mss(1000)).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    s
}

fn with_timestamps() -> Script {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().ts()).sends(syn_ack());
    s.receives(ack(1, 1)).accepts();
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

fn cwnd(s: &Script) -> u32 {
    s.host.subflows(s.id()).unwrap()[0].cwnd_bytes
}

// RFC 9293.

#[test]
fn the_local_address_of_an_open_can_be_named() {
    let mut s = Script::new(config());
    let local = "10.0.1.1:5555".parse().unwrap();
    let options =
        ConnectOptions { local: Some(local), ..ConnectOptions::new("10.0.0.2:80".parse().unwrap()) };
    let now = s.now;
    let id = s.host.connect(now, &options).expect("it is ours");
    assert_eq!(s.host.subflows(id).unwrap()[0].local, local);
}

#[test]
fn without_an_mss_option_536_octets_are_assumed() {
    let mut s = Script::listening();
    s.receives(syn()).sends(syn_ack()).receives(ack(1, 1)).accepts();
    s.nodelay().writes_bulk(0, 600).sends(bulk(1, 1, 536)).sends(bulk(537, 1, 64));
}

#[test]
fn a_reset_may_have_data() {
    let mut s = Script::accepted_plain();
    s.receives(rst(1).payload(b"why not")).sends_nothing();
    s.reads_error(CallError::Failed(ConnectionError::Reset));
}

#[test]
fn a_reset_counts_with_a_closed_window_too() {
    let mut config = config();
    config.tcp.recv_buffer_bytes = std::num::NonZeroU32::new(16 << 10);
    let mut s = Script::accepted_plain_with(config);
    let (mut at, mut window) = (1, 1);
    while window > 0 {
        s.receives(bulk(at, 1, 1024));
        s.until_sent(ms(100)).expect("an acknowledgement");
        (at, window) = *s.drain_edges().last().expect("one was sent");
    }
    s.receives(rst(at)).sends_nothing();
    assert_eq!(s.host.accounting().flows, 0);
}

#[test]
fn a_newer_timestamp_ends_time_wait_although_the_number_is_lower() {
    let mut s = with_timestamps();
    s.closes().sends(fin(1, 1)).receives(fin(1, 2)).sends(ack(2, 2));
    s.receives(syn().any_seq_at(0x9000_0000).mss(1460).sack_ok().ts().ts_val(-10_000)).ignores();
    assert_eq!(s.host.accounting().time_wait, 1, "an old duplicate");
    s.after(secs(1)).receives(syn().any_seq_at(0x9000_0000).mss(1460).sack_ok().ts());
    s.sends_any();
    assert_eq!(s.host.accounting().time_wait, 0);
}

#[test]
fn a_window_that_is_taken_back_is_survived() {
    let mut s = without_sack();
    sends_bulk(&mut s, 0, 4);
    // 1000 octets are taken, and of the window, which was 65,535, 1000 are left.
    s.after(ms(8)).receives(ack(1, 1001).window(1000)).writes_bulk(4000, 2000);
    s.idles(ms(100));
    assert_eq!(s.host.subflows(s.id()).unwrap()[0].bytes_sent, 4000, "nothing new beyond the edge");
    s.until_sent(secs(2)).expect("what was sent is sent again");
    s.sends(bulk(1001, 1, 1000));
    s.receives(ack(1, 4001).window(65_535));
    s.until_sent(ms(100)).expect("the window is open again");
    s.sends(bulk(4001, 1, 1000));
}

/// RFC 9293 §3.8.6, MAY-7.
#[test]
fn what_lies_beyond_a_window_that_was_taken_back_is_sent_again() {
    let mut s = without_sack();
    sends_bulk(&mut s, 0, 2);
    s.after(ms(8)).receives(ack(1, 1).window(500)).sends_nothing();
    s.until_sent(secs(2)).expect("a timeout");
    s.sends(bulk(1, 1, 1000));
}

#[test]
fn segments_that_wait_together_are_acknowledged_together() {
    let mut s = Script::accepted_plain();
    s.receives_both(data(1, 1, b"abc"), data(4, 1, b"def")).sends(ack(1, 7)).sends_nothing().reads(b"abcdef");
}

#[test]
fn source_quench_changes_nothing() {
    let mut s = Script::accepted_plain();
    s.writes(b"hello").sends(data(1, 1, b"hello"));
    let before = cwnd(&s);
    s.receives_icmp(0, 4, 0, 0, 1).sends_nothing();
    assert_eq!(cwnd(&s), before);
    s.receives(ack(1, 6)).writes(b"more").sends(data(6, 1, b"more"));
}

// RFC 7323.

#[test]
fn a_window_scale_option_after_the_handshake_means_nothing() {
    let mut s = Script::accepted_plain();
    s.receives(ack(1, 1).wscale(10).window(5)).writes(b"0123456789").sends_nothing();
    s.until_sent(secs(2)).expect("a probe, or what the window takes");
    assert!(s.sent_to() <= 6, "{}", s.sent_to());
}

#[test]
fn a_shift_above_14_is_taken_for_14() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).wscale(15)).sends(syn_ack()).receives(ack(1, 1).window(1)).accepts();
    // One unit of the window: 16,384 octets, and not twice that.
    let mut acked = 1;
    while acked < 200_000 {
        s.nodelay().writes_bulk(acked - 1, 1 << 16);
        let mut end = acked;
        s.idles_into(&mut end, ms(100));
        assert!(end - acked <= 16_384, "{}", end - acked);
        if end - acked > 15_000 {
            return;
        }
        acked = end;
        s.receives(ack(1, acked).window(1));
    }
    panic!("the window was never full");
}

#[test]
fn a_segment_that_lacks_agreed_timestamps_is_taken() {
    let mut s = with_timestamps();
    s.receives(data(1, 1, b"hello").without_ts()).sends(ack(1, 6).ts()).reads(b"hello");
    s.receives(data(6, 1, b"world")).sends(ack(1, 11).ts()).reads(b"world");
}

#[test]
fn a_segment_without_agreed_timestamps_still_has_to_lie_in_the_window() {
    let mut s = with_timestamps();
    s.receives(data(0x1000_0000, 1, b"far").without_ts()).sends(ack(1, 1).ts()).reads(b"");
    // Nor does it move the clock by which others are judged.
    s.receives(data(1, 1, b"hello").without_ts()).sends(ack(1, 6).ts());
    s.receives(data(6, 1, b"old").ts_val(-10_000)).sends(ack(1, 6).ts()).reads(b"hello");
}

#[test]
fn timestamps_that_were_not_agreed_mean_nothing() {
    let mut s = Script::accepted_plain();
    s.receives(data(1, 1, b"hello").ts()).sends(ack(1, 6).without_ts());
    s.receives(data(6, 1, b"world").ts_val(-100_000).ts())
        .sends(ack(1, 11).without_ts())
        .reads(b"helloworld");
}

#[test]
fn after_24_idle_days_an_old_timestamp_is_taken() {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    let mut s = with_timestamps();
    s.receives(data(1, 1, b"hello")).sends(ack(1, 6)).reads(b"hello");
    s.idles(secs(23 * 24 * 3600));
    s.receives(data(6, 1, b"early").ts_val(-23 * DAY_MS - 10_000)).sends(ack(1, 6)).reads(b"");
    s.idles(secs(2 * 24 * 3600));
    s.receives(data(6, 1, b"later").ts_val(-25 * DAY_MS - 10_000)).sends(ack(1, 11)).reads(b"later");
    // From then on it is the one that others are compared with.
    s.receives(data(11, 1, b"older").ts_val(-25 * DAY_MS - 20_000)).sends(ack(1, 11)).reads(b"");
    s.receives(data(11, 1, b"newer").ts_val(-25 * DAY_MS)).sends(ack(1, 16)).reads(b"newer");
}

// RFC 5681, 6582, 6298, 9937.

#[test]
fn the_initial_window_is_ten_segments_and_the_handshake_adds_nothing() {
    assert_eq!(cwnd(&Script::accepted_plain()), 10 * 1460);
    assert_eq!(cwnd(&Script::connected_plain()), 10 * 1460);
}

#[test]
fn a_partial_acknowledgement_reveals_the_next_loss() {
    let mut s = without_sack();
    sends_bulk(&mut s, 0, 8);
    s.after(ms(8)).receives(ack(1, 1)).receives(ack(1, 1)).receives(ack(1, 1));
    s.until_sent(ms(20)).expect("a fast retransmission");
    s.sends(bulk(1, 1, 1000));
    s.after(ms(20)).receives(ack(1, 1001));
    s.until_sent(ms(20)).expect("the next hole");
    s.sends(bulk(1001, 1, 1000));
}

#[test]
fn an_acknowledgement_of_new_data_restarts_the_timer() {
    let mut s = without_sack();
    sends_bulk(&mut s, 0, 2);
    s.after(ms(150)).receives(ack(1, 1001)).after(ms(200)).sends_nothing();
    let more = s.until_sent(secs(2)).expect("a timeout");
    // 200 ms above a round trip that is 20 ms to 150 ms by now.
    assert!(more < ms(400), "{more:?}");
    s.sends(bulk(1001, 1, 1000));
}

#[test]
fn at_the_end_of_recovery_the_window_is_the_threshold() {
    let mut s = Script::listening();
    s.receives(syn().mss(1000).sack_ok()).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    sends_bulk(&mut s, 0, 10);
    // All but the last are lost: what is repaired one by one keeps the window far below the threshold.
    s.after(ms(8)).receives(ack(1, 1).sack(&[(9001, 10_001)]));
    s.until_sent(ms(40)).expect("a fast retransmission");
    s.ignores();
    for repaired in 1..9 {
        s.idles(ms(3));
        s.receives(ack(1, 1 + repaired * 1000).sack(&[(9001, 10_001)]));
        s.ignores();
    }
    s.idles(ms(3));
    assert!(cwnd(&s) <= 4_000, "{}", cwnd(&s));
    s.receives(ack(1, 10_001));
    let flow = &s.host.subflows(s.id()).unwrap()[0];
    assert_eq!(flow.ssthresh_bytes, 7_000);
    // The acknowledgement that ended it lets it grow as any in congestion avoidance.
    assert!((7_000..7_200).contains(&flow.cwnd_bytes), "{}", flow.cwnd_bytes);
}

/// RFC 6356 §3, and what its successors take over: the windows after each acknowledgement of a recovery and what follows.
#[test]
fn a_coupled_algorithm_on_its_only_path_is_reno() {
    let windows = |name: &str| {
        let mut config = config();
        config.tcp.congestion_control = name.into();
        let mut s = Script::listening_with(config);
        s.receives(syn().mss(1000).sack_ok()).sends(syn_ack());
        s.after(ms(20)).receives(ack(1, 1)).accepts();
        s.nodelay().writes_bulk(0, 50_000);
        s.idles(ms(15));
        s.receives(ack(1, 1).sack(&[(1001, 10_001)]));
        let mut end = 10_001;
        let mut seen = Vec::new();
        while end < 50_001 {
            s.ignores();
            s.receives(ack(1, end));
            seen.push(cwnd(&s));
            let mut sent = end;
            s.idles_into(&mut sent, ms(19));
            end = sent;
        }
        seen
    };
    let reno = windows("reno");
    assert!(reno.len() > 5 && reno.last() > reno.first(), "{reno:?}");
    for name in ["lia", "olia", "balia"] {
        assert_eq!(windows(name), reno, "{name}");
    }
}

// RFC 5961.

#[test]
fn the_ration_of_challenges_can_be_set() {
    let mut config = config();
    config.tcp.invalid_ratelimit = ms(100);
    let mut s = Script::accepted_plain_with(config);
    s.receives(rst(2)).sends(ack(1, 1)).receives(rst(3)).sends_nothing();
    s.after(ms(100)).receives(rst(4)).sends(ack(1, 1));
}

// RFC 8684.

#[test]
fn an_mp_capable_with_flag_b_or_without_our_algorithm_is_answered_without() {
    let sha = CapableFlags { crypto: CapableFlags::HMAC_SHA256, ..CapableFlags::default() };
    let cases = [
        (CapableFlags { extensibility: true, ..sha }, false),
        (CapableFlags { crypto: 0, ..sha }, false),
        (CapableFlags { crypto: 2, ..sha }, false),
        (sha, true),
    ];
    for (flags, is_understood) in cases {
        let mut s = Script::listening();
        s.receives(syn().mss(1460).sack_ok().wscale(7).mpc_with(flags));
        let expected = if is_understood { syn_ack().mpc() } else { syn_ack().plain() };
        s.sends(expected);
    }
}

/// RFC 8684 §3.1: who asks for a higher version is offered the one that we have.
#[test]
fn an_mp_capable_of_a_higher_version_is_answered_with_ours_and_one_of_a_lower_is_not() {
    let flags = CapableFlags { crypto: CapableFlags::HMAC_SHA256, ..CapableFlags::default() };
    for (version, is_answered) in [(0, false), (1, true), (2, true), (15, true)] {
        let mut s = Script::listening();
        let theirs = MptcpOption::Capable(Capable { version, flags, form: CapableForm::Syn });
        s.receives(syn().mss(1460).sack_ok().wscale(7).option(theirs));
        s.sends(if is_answered { syn_ack().mpc() } else { syn_ack().plain() });
    }
}

/// Each would be the third duplicate, and none of them is one.
#[test]
fn acknowledgements_with_a_signal_are_no_duplicates() {
    let mut s = Script::listening();
    s.receives(syn().mss(1000).wscale(7).mpc()).sends(syn_ack().mpc());
    s.after(ms(20)).receives(ack(1, 1).mpc()).accepts();
    s.nodelay().writes_bulk(0, 5_000);
    s.idles(ms(15));
    for backup in [true, false, true, false] {
        s.receives(ack(1, 1).prio(backup)).sends_nothing();
    }
    s.idles(ms(1));
    assert_eq!(s.host.counters().get("TcpExtTCPRenoRecovery"), Some(0));
    for _ in 0..3 {
        s.receives(ack(1, 1).dack(1));
    }
    s.ignores();
    assert_eq!(s.host.counters().get("TcpExtTCPRenoRecovery"), Some(1));
}
