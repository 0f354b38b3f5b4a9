//! Windows, delayed acknowledgements, Nagle, window probes, keepalive (RFC 9293 §3.8).

use super::dsl::*;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{CallError, ConnectionError};

#[test]
fn the_window_is_scaled_after_the_handshake_only() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).wscale(3)).sends(syn_ack().window(65_535).wscale(7));
    s.receives(ack(1, 1)).accepts();
    s.receives(data(1, 1, b"abc")).sends(ack(1, 4).window((((128 << 10) / 8 * 7) >> 7) as u16 - 1));
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

/// As Linux: who pushed may wait for it.
#[test]
fn what_was_pushed_is_acknowledged_when_all_of_it_was_read() {
    let mut s = Script::accepted_plain();
    for i in 0..16 {
        s.receives(data(1 + i, 1, b"x")).sends(ack(1, 2 + i));
    }
    s.reads(&[b'x'; 16]).sends_nothing();
    s.receives(data(17, 1, b"end").push(true)).sends_nothing().reads(b"end").sends(ack(1, 20));
    s.receives(data(20, 1, b"not pushed")).reads(b"not pushed").sends_nothing();
    s.after(ms(40)).sends(ack(1, 30));
}

#[test]
fn who_answers_acknowledges_with_the_answer() {
    let mut s = Script::accepted_plain();
    for i in 0..16 {
        s.receives(data(1 + i, 1, b"x")).sends(ack(1, 2 + i));
    }
    s.reads(&[b'x'; 16]).after(secs(1));
    s.receives(data(17, 1, b"ask").push(true)).reads(b"ask").sends(ack(1, 20));
    s.writes(b"answer").sends(data(1, 20, b"answer"));
    s.receives(data(20, 7, b"ask").push(true)).reads(b"ask").sends_nothing();
    s.writes(b"answer").sends(data(7, 23, b"answer"));
    // Until it does not.
    s.receives(data(23, 13, b"ask").push(true)).reads(b"ask").sends_nothing();
    s.after(ms(40)).sends(ack(13, 26));
    s.receives(data(26, 13, b"ask").push(true)).reads(b"ask").sends(ack(13, 29));
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
    let mut s = Script::accepted();
    s.writes(b"one").sends(data(1, 1, b"one").map(1));
    // A segment is full when a DSS is all that it has room for beside its octets.
    s.after(ms(1)).writes_bulk(3, 1431).sends_nothing();
    s.receives(ack(1, 4).dack(4)).sends(bulk(4, 1, 1431).map(4));
    s.after(ms(1)).writes_bulk(1434, 1432).sends(bulk(1435, 1, 1432).map(1435));
}

#[test]
fn what_is_left_of_the_congestion_window_is_not_filled_with_a_part_of_a_segment() {
    let mut s = Script::accepted_plain();
    s.nodelay().writes(b"a small one").sends(data(1, 1, b"a small one"));
    s.writes_bulk(11, 20 * 1460);
    for i in 0..9 {
        s.until_sent(ms(100)).expect("the window has room");
        s.sends(bulk(12 + i * 1460, 1, 1460));
    }
    // Room for 1,449 octets is left.
    assert_eq!(s.until_sent(ms(1)), None);
}

/// Several are gathered only where segments are so large that they mean a very fast path.
#[test]
fn a_full_segment_leaves_at_once_behind_many_others() {
    let mut s = Script::accepted();
    s.writes_bulk(0, 6 * 1432);
    assert_eq!(s.drain_lens(), [1432; 6]);
    s.after(Duration::from_micros(100)).writes_bulk(6 * 1432, 1432);
    s.sends(bulk(1 + 6 * 1432, 1, 1432).map(1 + 6 * 1432));
}

/// Ten segments of 1,460 octets are more than ten of what options leave of them, and less than eleven.
#[test]
fn the_initial_window_is_ten_full_segments_and_no_small_one() {
    let mut s = Script::accepted();
    s.writes_bulk(0, 20 * 1432);
    assert_eq!(s.drain_lens(), [1432; 10]);
    s.sends_nothing();
}

/// Its retransmission has a lower number than what came before, and the newest acknowledgement and window.
#[test]
fn a_retransmission_of_the_peer_that_acknowledges_more_brings_its_window() {
    let mut s = Script::accepted_plain();
    s.nodelay().writes_bulk(0, 1000).sends(bulk(1, 1, 1000));
    s.receives(data(2, 1, b"b").window(1500)).sends(ack(1001, 1));
    s.receives(data(1, 1001, b"a").window(500)).sends(ack(1001, 3));
    s.writes_bulk(1000, 1000).sends_nothing();
    s.receives(ack(3, 1001).window(1000)).sends(bulk_at(1001, 3, 1000, 1000));
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
fn a_repeated_segment_that_acknowledges_more_tells_the_window() {
    let mut s = Script::accepted_plain();
    s.nodelay().writes_bulk(0, 1000).sends(bulk(1, 1, 1000));
    // Behind a hole; then what fills it, with a number that is lower and a window that is shut.
    s.receives(bulk(101, 1, 100).window(2_000)).sends_any();
    s.receives(bulk(1, 1001, 100).window(0)).sends_any();
    s.writes_bulk(1000, 500).sends_nothing();
    s.receives(ack(201, 1001).window(2_000)).sends(bulk(1001, 201, 500));
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
fn keepalive_goes_on_while_the_peers_end_is_awaited() {
    let mut config = config();
    config.tcp.keepalive_idle = Some(secs(60));
    config.tcp.keepalive_interval = secs(10);
    config.tcp.keepalive_probes = 2;
    let mut s = Script::accepted_plain_with(config);
    s.shuts_down().sends(fin(1, 1));
    s.receives(ack(1, 2));
    s.after(secs(60)).sends(ack(1, 1)).receives(data(1, 2, b"x")).sends(ack(2, 2)).reads(b"x");
    s.after(secs(60)).sends(ack(1, 2));
    s.after(secs(10)).sends(ack(1, 2));
    s.after(secs(10)).sends(rst_ack(2, 2));
    s.reads_error(CallError::Failed(ConnectionError::TimedOut));
}

#[test]
fn without_keepalive_an_idle_connection_sends_nothing() {
    let mut s = Script::accepted_plain();
    s.after(secs(100_000)).sends_nothing();
    assert_eq!(s.host.poll_timeout(), None);
}

#[test]
fn every_second_full_segment_with_timestamps_is_acknowledged_at_once() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().ts()).sends(syn_ack().plain());
    s.receives(ack(1, 1)).accepts().sends_nothing();
    let mut at = 1;
    for _ in 0..16 {
        s.receives(bulk(at, 1, 1448));
        at += 1448;
        s.sends(ack(1, at));
    }
    s.receives(bulk(at, 1, 1448)).sends_nothing();
    s.receives(bulk(at + 1448, 1, 1448)).sends(ack(1, at + 2 * 1448));
}

#[test]
fn a_small_window_whose_opening_was_lost_is_probed() {
    let mut s = Script::accepted_plain();
    s.writes_bulk(0, 4000);
    s.idles(ms(1));
    // The peer leaves a little window, and its next update is lost.
    s.receives(ack(1, 4001).window(500)).sends_nothing();
    s.writes_bulk(4000, 4000);
    s.ignores();
    assert!(s.until_sent(secs(10)).is_some(), "nothing is sent any more");
}

#[test]
fn small_traffic_with_keepalive_does_not_pile_up_timers() {
    let mut config = HostConfig::default();
    config.tcp.keepalive_idle = Some(secs(7200));
    let mut s = Script::accepted_plain_with(config);
    for at in 1..=500 {
        s.receives(data(at, 1, b"x"));
        s.idles(ms(100));
        s.read();
        s.ignores();
    }
    let timers = s.host.accounting().timers;
    assert!(timers <= 8, "{timers} timers for one connection");
}

#[test]
fn small_segments_that_nobody_reads_stay_within_the_receive_buffer() {
    let mut config = HostConfig::default();
    config.tcp.recv_buffer_bytes = core::num::NonZeroU32::new(74_897); // a window of 65,535
    let mut s = Script::accepted_plain_with(config);
    for at in 1..=20_000 {
        s.receives(data(at, 1, b"x").pinning(2048));
        s.ignores();
    }
    let held = s.host.accounting().buffered_bytes;
    assert!(held <= 74_897, "{held} octets are held in a buffer of 74,897");
}

#[test]
fn single_octets_out_of_order_stay_within_the_receive_buffer() {
    let mut config = HostConfig::default();
    config.tcp.recv_buffer_bytes = core::num::NonZeroU32::new(74_897); // a window of 65,535
    let mut s = Script::accepted_plain_with(config);
    for i in 1..=5_000 {
        s.receives(data(1 + 2 * i, 1, b"x").pinning(2048));
        s.ignores();
        let held = s.host.accounting().buffered_bytes;
        assert!(held <= 74_897, "{held} octets are held in a buffer of 74,897");
    }
    assert!(s.host.counters().ofo_pruned > 0);
    // What lies lowest is kept: it is needed first.
    s.receives(data(1, 1, b"ab"));
    s.sends(ack(1, 4));
}

#[test]
fn a_peer_that_dies_with_its_window_shut_is_given_up() {
    for mut s in [Script::accepted_plain(), Script::accepted()] {
        let mptcp = s.is_mptcp();
        s.writes_bulk(0, 1000);
        s.ignores();
        let closed = ack(1, 1001).window(0);
        s.receives(if mptcp { closed.dack(1001) } else { closed });
        s.writes_bulk(1000, 1000);
        s.ignores();
        s.idles(secs(24 * 3600));
        assert!(s.host.readiness(s.id()).error, "alive after a day of silence (MPTCP: {mptcp})");
    }
}

#[test]
fn the_peers_scale_applies_to_what_we_may_send() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).wscale(2)).sends(syn_ack());
    s.receives(ack(1, 1).window(25)).accepts();
    s.writes_bulk(0, 1000).sends(bulk(1, 1, 100)).sends_nothing();
    s.receives(ack(1, 101).window(50)).sends(bulk(101, 1, 200));
}

#[test]
fn a_window_of_a_syn_is_not_scaled() {
    let mut s = Script::connecting_with(config(), polytcp_proto::host::Protocol::Tcp);
    s.sends(syn());
    s.receives(syn_ack().mss(1460).wscale(7).window(100)).sends(ack(1, 1));
    s.nodelay().writes_bulk(0, 1000).sends(bulk(1, 1, 100)).sends_nothing();
}

#[test]
fn the_right_edge_of_the_window_never_retreats() {
    let mut config = config();
    config.tcp.recv_buffer_bytes = core::num::NonZeroU32::new(22_857); // a window of 20,000
    let mut s = Script::accepted_plain_with(config);
    let mut edge = 20_001;
    // Data above a hole in larger buffers, yet not so much larger that it is copied out: less memory is free than was
    // promised when what is below the hole comes.
    for at in (4_001..8_001).chain(1..4_001).step_by(400) {
        s.receives(bulk(at, 1, 400).pinning(1_400));
        for (ack, window) in s.drain_edges() {
            let right = ack + u32::from(window);
            assert!(right >= edge, "edge {right} after {edge}");
            edge = right;
        }
    }
    s.reads(&octets(0, 8_000));
}

#[test]
fn reading_opens_a_window_that_was_shut() {
    let mut config = config();
    config.tcp.recv_buffer_bytes = core::num::NonZeroU32::new(5_005); // a window of 4,380
    let mut s = Script::accepted_plain_with(config);
    for i in 0..3 {
        s.receives(bulk(1 + 1460 * i, 1, 1460));
        s.sends(ack(1, 1461 + 1460 * i).window((4_380 - 1460 * (i + 1)) as u16));
    }
    s.receives(data(4_381, 1, b"x")).sends(ack(1, 4_381).window(0));
    s.reads(&octets(0, 4_380)).sends(ack(1, 4_381).window(4_380));
}

#[test]
fn reading_does_not_announce_a_window_that_cannot_grow() {
    let mut s = Script::listening();
    // Without window scale the field is full already.
    s.receives(syn().mss(1460).sack_ok()).sends(syn_ack());
    s.receives(ack(1, 1)).accepts();
    s.receives(data(1, 1, b"abc")).sends(ack(1, 4).window(65_535)).reads(b"abc").sends_nothing();
}

#[test]
fn an_acknowledgement_counts_although_its_data_meets_a_shut_window() {
    let mut config = HostConfig::default();
    config.tcp.recv_buffer_bytes = core::num::NonZeroU32::new(5_142); // a window of 4,500
    let mut s = Script::accepted_plain_with(config);
    s.writes(b"hello").sends(data(1, 1, b"hello"));
    for i in 0..3 {
        s.receives(bulk(1 + 1460 * i, 1, 1460));
        s.ignores();
    }
    s.receives(bulk(4381, 1, 120));
    s.ignores();
    // The peer, with its own window probe of one octet, acknowledges what we sent.
    s.receives(bulk(4501, 6, 1)).sends(ack(6, 4501).window(0));
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 5);
}
