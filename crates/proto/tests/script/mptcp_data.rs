//! DSS: mappings, DATA_ACK, the shared window (RFC 8684 §3.3).

use super::dsl::*;
use core::num::NonZeroU32;
use polytcp_proto::config::HostConfig;

#[test]
fn four_octet_numbers_are_understood_and_answered_with_four() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"hello").dack4(1).map4(1)).sends(ack(1, 6).dack4(6)).reads(b"hello");
    s.writes(b"world").sends(data(1, 6, b"world").map(1).dack(6));
    s.receives(ack(6, 6).dack4(6)).sends_nothing();
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 5);
}

#[test]
fn answers_are_as_wide_as_the_numbers_of_the_last_data() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"hello").map(1)).sends(ack(1, 6).dack8(6));
    s.receives(data(6, 1, b"world").map4(6)).sends(ack(1, 11).dack4(11)).reads(b"helloworld");
    s.receives(ack(11, 1).dack(1).data_fin(11)).sends(ack(1, 11).dack4(12));
}

#[test]
fn our_numbers_cross_2_to_the_32() {
    let mut config = HostConfig::default();
    config.mptcp.idsn_near_wrap_bytes = Some(1 << 16);
    let mut s = Script::connected_with(config);
    let left = u64::from(u32::MAX - s.keys().0.idsn().low());
    assert!(left < 1 << 16);
    s.nodelay();
    let (mut at, mut count) = (0u32, 0);
    while u64::from(at) < left + 5_000 {
        s.writes_bulk(at, 1000);
        let sent = bulk(1 + at, 1, 1000).map(1 + u64::from(at));
        s.until_sent(ms(1));
        s.sends(sent);
        at += 1000;
        count += 1;
        s.receives(ack(1, 1 + at).dack4(1 + u64::from(at))).sends_nothing();
        assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, u64::from(at), "segment {count}");
    }
}

#[test]
fn one_mapping_may_cover_several_segments() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abc").map_of(1, 1, 9)).sends(ack(1, 4).dack(4));
    s.receives(data(4, 1, b"def")).sends(ack(1, 7).dack(7));
    s.receives(data(7, 1, b"ghi").map_of(1, 1, 9)).sends(ack(1, 10).dack(10)).reads(b"abcdefghi");
}

#[test]
fn one_segment_may_end_one_mapping_and_begin_the_next() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abc").map_of(1, 1, 5)).sends(ack(1, 4).dack(4));
    s.receives(data(4, 1, b"defg").map_of(6, 6, 2)).sends(ack(1, 8).dack(8)).reads(b"abcdefg");
}

#[test]
fn later_data_without_a_mapping_falls_back_on_the_only_subflow() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abc").map(1)).sends(ack(1, 4).dack(4)).reads(b"abc");
    s.receives(data(4, 1, b"def")).sends(ack(1, 7).plain()).reads(b"def");
    assert!(!s.is_mptcp());
}

#[test]
fn later_data_without_a_mapping_resets_one_subflow_of_two() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(data(1, 1, b"abc").map(1)).sends(ack(1, 4).dack(4)).reads(b"abc");
    s.receives(data(4, 1, b"what")).sends(rst_ack(1, 8).tcprst(6));
    assert_eq!(s.host.accounting().flows, 1);
    s.receives(data(1, 1, b"def").on(1).map(4)).sends(ack(1, 4).on(1).dack(7)).reads(b"def");
}

/// The peer's answers on a further subflow lose their options: MP_JOIN got through and nothing else does.
#[test]
fn data_acknowledged_without_dss_on_a_further_subflow_resets_it() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).dack(1).prio(true)).sends_nothing();
    s.writes(b"hello").sends(data(1, 1, b"hello").on(1).map(1));
    s.receives(ack(1, 1).on(1)).sends_nothing();
    s.receives(ack(1, 6).on(1)).sends(rst_ack(6, 1).on(1).tcprst(6));
    // Nobody knows whether it arrived: the clock of DATA_ACK brings it on the other subflow.
    s.until_sent(secs(1)).expect("the data is sent again");
    s.sends(data(1, 1, b"hello").map(1));
    s.receives(ack(1, 6).dack(6)).sends_nothing();
    assert_eq!(s.host.accounting().flows, 1);
}

#[test]
fn one_data_ack_proves_a_further_subflow() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).dack(1).prio(true)).sends_nothing();
    s.writes(b"hello").sends(data(1, 1, b"hello").on(1).map(1));
    s.receives(ack(1, 6).on(1).dack(6)).sends_nothing();
    s.writes(b"again").sends(data(6, 1, b"again").on(1).map(6));
    s.receives(ack(1, 11).on(1)).receives(ack(1, 1).dack(11)).sends_nothing();
    assert_eq!(s.host.accounting().flows, 2);
}

#[test]
fn two_mappings_that_contradict_reset_the_subflow() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abc").map_of(1, 1, 9)).sends(ack(1, 4).dack(4));
    s.receives(data(4, 1, b"def").map_of(100, 4, 3)).sends(rst_ack(1, 7).tcprst(1));
}

#[test]
fn data_out_of_order_at_data_level_waits() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(data(1, 1, b"def").on(1).map(4)).sends(ack(1, 4).on(1).dack(1)).reads(b"");
    s.receives(data(1, 1, b"abc").map(1)).sends(ack(1, 4).dack(7)).reads(b"abcdef");
}

#[test]
fn data_that_came_on_both_subflows_counts_once() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(data(1, 1, b"abc").map(1)).sends(ack(1, 4).dack(4));
    s.receives(data(1, 1, b"abcd").on(1).map(1)).sends(ack(1, 5).on(1).dack(5)).reads(b"abcd");
}

#[test]
fn data_acks_of_what_was_never_sent_free_nothing() {
    let mut s = Script::accepted();
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1));
    s.receives(ack(1, 6).dack(7)).receives(ack(1, 6).dack(1u64 << 62)).receives(ack(1, 6).dack4(0x7fff_ffff));
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 0);
    s.receives(ack(1, 6).dack(6)).sends_nothing();
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 5);
}

#[test]
fn a_subflow_acknowledgement_without_data_ack_frees_nothing_and_is_helped() {
    let mut s = Script::accepted();
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1));
    s.receives(ack(1, 6).dack(1)).sends_nothing();
    s.until_sent(ms(100)).expect("a probe at data level");
    s.sends(data(6, 1, b"hello").map(1));
    s.receives(ack(1, 11).dack(6)).after(secs(5)).sends_nothing();
}

#[test]
fn the_peers_window_counts_from_its_data_ack() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(0).mpc()).sends(syn_ack().mpc());
    s.receives(ack(1, 1).window(1_000).mpc()).accepts();
    s.joined_by_peer_with(1, 1_000);
    s.nodelay().writes_bulk(0, 3_000);
    // A thousand octets in all, not on each subflow.
    let sent: usize = s.drain_lens().iter().sum();
    assert_eq!(sent, 1_000);
}

/// RFC 8684 §3.3.2: it may be older than what another subflow said.
#[test]
fn a_window_without_data_ack_does_not_open_the_connections() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(0).mpc()).sends(syn_ack().mpc());
    s.receives(ack(1, 1).window(1_000).mpc()).accepts();
    s.nodelay().writes_bulk(0, 3_000).sends(bulk(1, 1, 1_000).map(1));
    s.receives(ack(1, 1).window(60_000)).sends_nothing();
    s.receives(ack(1, 1).window(60_000).dack(1));
    assert_eq!(s.drain_lens().iter().sum::<usize>(), 2_000);
}

/// RFC 8684 §3.3.5: a box on one path takes less than the receiver; the connection's window stays open.
#[test]
fn a_subflow_is_sent_no_more_than_its_own_window() {
    let mut s = Script::accepted();
    s.joined_by_peer_with(1, 3_000);
    // Only the joined one is left, whose path has the small window.
    s.receives(ack(1, 1).dack(1)).receives(rst(1)).nodelay();
    s.writes_bulk(0, 20_000);
    assert_eq!(s.drain_lens().iter().sum::<usize>(), 3_000 / 1_432 * 1_432);
    s.receives(ack(1, 1_433).on(1).window(3_000).dack(1_433));
    assert_eq!(s.drain_lens(), [1_432], "the edge moved by a segment");
    // The box is full: nothing new, until it takes something.
    s.receives(ack(1, 2_865).on(1).window(1_432).dack(2_865)).sends_nothing();
    s.receives(ack(1, 4_297).on(1).window(0).dack(4_297));
    assert_eq!(s.drain_lens(), [1_432], "one segment asks whether that is still so");
    s.sends_nothing();
    s.receives(ack(1, 5_729).on(1).window(30_000).dack(5_729));
    assert_eq!(s.drain_lens().iter().sum::<usize>(), 20_000 - 5_728);
}

#[test]
fn the_announced_edge_never_retreats_on_any_subflow() {
    let mut config = HostConfig::default();
    config.tcp.recv_buffer_bytes = NonZeroU32::new(30_000);
    let mut s = Script::accepted_with(config);
    s.joined_by_peer(1);
    let mut at = [1u32, 1];
    let mut dsn = 1u64;
    let mut edges = [0u64, 0];
    for i in 0..100 {
        let sf = i % 2;
        s.receives(bulk(at[sf], 1, 100).on(sf).map(dsn).pinning(1_000));
        at[sf] += 100;
        dsn += 100;
        // All data is in order: DATA_ACK is `dsn`.
        for (_, window) in s.drain_edges() {
            let edge = dsn + u64::from(window);
            assert!(edge >= edges[0].max(edges[1]), "edge {edge} after {edges:?}");
            edges[sf] = edge;
        }
    }
}

/// A Linux peer takes a smaller window only from a segment that acknowledges something new of its subflow, and would add
/// the old, larger one to the new DATA_ACK.
#[test]
fn a_segment_that_acknowledges_nothing_new_of_its_subflow_repeats_the_old_window() {
    let mut config = HostConfig::default();
    config.tcp.recv_buffer_bytes = NonZeroU32::new(1 << 20);
    let mut s = Script::accepted_with(config);
    s.joined_by_peer(1);
    s.receives(ack(1, 1).on(1).dack(1).prio(true)).nodelay();
    s.writes(b"hello").sends(data(1, 1, b"hello").dack(1).map(1).window(57_344));
    s.receives(ack(1, 6).dack(6));
    // The buffer fills by what comes on the other subflow.
    for at in (0..28_000).step_by(1400) {
        s.receives(bulk(1 + at, 1, 1400).on(1).map(u64::from(1 + at)));
        s.idles(ms(50));
    }
    s.writes(b"world").sends(data(6, 1, b"world").dack(1).map(6).window(57_344));
    s.receives(data(1, 11, b"x").map(28_001).dack(11)).sends(ack(11, 2).dack(28_002).window(55_604));
}

#[test]
fn a_window_field_of_0_takes_no_promise_back() {
    let mut s = Script::accepted();
    s.writes_bulk(0, 100).sends(bulk(1, 1, 100).map(1));
    // The window is what it ever was: its right edge does not move back when the field says 0.
    s.receives(ack(1, 101).window(0).dack(101));
    s.writes_bulk(100, 100).sends(bulk(101, 1, 100).map(101));
}

/// Linux sends on one subflow what the window that another has announced allows (RFC 8684 §3.3.4).
#[test]
fn what_another_subflow_announced_may_come_on_any() {
    let mut config = config();
    config.tcp.recv_buffer_bytes = NonZeroU32::new(9_362); // a window of 8,192
    let mut s = Script::accepted_with(config);
    s.joined_by_peer(1);
    s.receives(bulk(1, 1, 1_000).on(1).map(1)).sends(ack(1, 1_001).on(1).dack(1_001));
    assert_eq!(s.read().len(), 1_000);
    s.receives(bulk(1, 1, 100).map(1_001)).sends(ack(1, 101).dack(1_101));
    assert_eq!(s.read().len(), 100);
    // The second subflow has announced octets up to its 8,192nd, the first one 900 more.
    s.receives(bulk(8_001, 1, 1_000).on(1).map(8_101));
    s.sends(ack(1, 1_001).on(1).dack(1_101).sack(&[(8_001, 9_001)]));
}
