//! What a wrong checksum leads to: MP_FAIL, the infinite mapping, the reset that takes their place (RFC 8684 §3.7).

use super::dsl::*;
use polytcp_proto::counters::Counters;

/// A connection with checksums on which both sides have sent three octets.
fn warm() -> Script {
    let mut s = Script::accepted_csum();
    s.receives(data(1, 1, b"abc").map(1).csum()).sends(ack(1, 4).dack(4)).reads(b"abc");
    s.writes(b"ABC")
        .sends(data(1, 4, b"ABC").map(1).dack(4).csum())
        .receives(ack(4, 4).dack(4))
        .sends_nothing();
    s
}

fn counts<const N: usize>(s: &Script, of: [fn(&Counters) -> u64; N]) -> [u64; N] {
    of.map(|of| of(s.host.counters()))
}

#[test]
fn a_wrong_first_checksum_makes_plain_tcp() {
    let mut s = Script::accepted_csum();
    s.receives(data(1, 1, b"hello").map(1).csum_wrong()).sends(ack(1, 6).plain()).reads(b"hello");
    assert!(!s.is_mptcp());
    s.writes(b"world").sends(data(1, 6, b"world").plain());
    s.receives(data(6, 6, b"more")).sends(ack(6, 10).plain()).reads(b"more");
    assert_eq!(counts(&s, [|c| c.data_csum_err, |c| c.dss_fallback, |c| c.mp_fail_tx]), [1, 1, 0]);
}

#[test]
fn a_wrong_checksum_on_the_only_subflow_sends_mp_fail_and_delivers() {
    let mut s = warm();
    s.receives(data(4, 4, b"dXf").map(4).csum_wrong()).sends(ack(4, 7).dack(7).fail(4)).reads(b"dXf");
    assert!(s.is_mptcp());
    // The peer answers, and its next data ends MPTCP.
    s.receives(ack(7, 4).dack(4).fail(1)).sends_nothing();
    s.receives(data(7, 4, b"ghi").infinite(7, 7).csum()).sends(ack(4, 10).plain()).reads(b"ghi");
    assert!(!s.is_mptcp());
    s.writes(b"DEF").sends(data(4, 10, b"DEF").plain()).receives(ack(10, 7)).sends_nothing();
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 6, "the flow's acknowledgements free it");
    let seen = counts(
        &s,
        [
            |c| c.data_csum_err,
            |c| c.mp_fail_tx,
            |c| c.mp_fail_rx,
            |c| c.infinite_map_rx,
            |c| c.infinite_map_tx,
            |c| c.dss_fallback,
            |c| c.fallback_failed,
        ],
    );
    assert_eq!(seen, [1, 1, 1, 1, 0, 1, 0]);
}

#[test]
fn mp_fail_is_answered_and_new_data_has_the_infinite_mapping() {
    let mut s = warm();
    s.writes(b"DEF").sends(data(4, 4, b"DEF").map(4).dack(4).csum());
    s.receives(ack(4, 7).dack(7).fail(4)).sends(ack(7, 4).dack(4).fail(1)).sends_nothing();
    assert!(s.is_mptcp(), "a peer without the infinite mapping waits for DATA_ACKs");
    s.receives(data(4, 7, b"def").map(4).csum()).sends(ack(7, 7).dack(7)).reads(b"def");
    s.writes(b"GHI").sends(data(7, 7, b"GHI").infinite(7, 7).csum());
    assert!(!s.is_mptcp());
    s.after(ms(1)).writes(b"JKL").sends_nothing().receives(ack(7, 10)).sends(data(10, 7, b"JKL").plain());
    s.receives(data(7, 13, b"ghi")).sends(ack(13, 10).plain()).reads(b"ghi");
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 12);
    let seen = counts(&s, [|c| c.mp_fail_rx, |c| c.mp_fail_tx, |c| c.infinite_map_tx, |c| c.dss_fallback]);
    assert_eq!(seen, [1, 1, 1, 0]);
}

/// RFC 8684 §3.7 has a receiver leave data that failed without DATA_ACK: it is not sent twice, which would make the
/// stream less than contiguous.
#[test]
fn data_without_data_ack_is_not_sent_again_after_mp_fail() {
    let mut s = warm();
    s.writes(b"DEF").sends(data(4, 4, b"DEF").map(4).dack(4).csum());
    s.receives(ack(4, 7).dack(4).fail(4)).sends(ack(7, 4).dack(4).fail(1));
    s.after(secs(30)).sends_nothing();
    s.writes(b"GHI").sends(data(7, 4, b"GHI").infinite(4, 4).csum()).receives(ack(4, 10)).sends_nothing();
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 9);
}

#[test]
fn the_infinite_mapping_is_repeated_with_its_segment() {
    let mut s = warm();
    s.receives(ack(4, 4).dack(4).fail(1)).sends(ack(4, 4).dack(4).fail(1));
    s.nodelay().writes_bulk(0, 5_000);
    s.sends(bulk_at(4, 4, 0, 1432).infinite(4, 4).csum());
    s.ignores();
    s.until_sent(secs(3)).expect("a probe or a retransmission");
    s.ignores();
    s.until_sent(secs(3)).expect("a retransmission");
    s.sends(bulk_at(4, 4, 0, 1432).infinite(4, 4).csum());
    assert_eq!(s.host.counters().infinite_map_tx, 1);
}

#[test]
fn what_was_under_way_at_the_fallback_goes_on_as_plain_tcp() {
    let mut s = warm();
    s.writes(b"DEF").sends(data(4, 4, b"DEF").map(4).dack(4).csum());
    s.receives(data(4, 4, b"def").infinite(4, 4).csum()).sends(ack(7, 7).plain()).reads(b"def");
    s.until_sent(secs(3)).expect("a retransmission");
    s.sends(data(4, 7, b"DEF").plain()).receives(ack(7, 7)).after(secs(5)).sends_nothing();
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 6);
}

#[test]
fn what_the_flow_had_acknowledged_is_free_after_the_fallback() {
    let mut s = warm();
    s.writes(b"DEF").sends(data(4, 4, b"DEF").map(4).dack(4).csum());
    s.receives(ack(4, 7).dack(4));
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 3);
    s.receives(data(4, 7, b"def").infinite(4, 4).csum()).sends(ack(7, 7).plain());
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 6);
}

#[test]
fn a_mapping_that_was_not_whole_is_delivered_at_the_fallback() {
    let mut s = warm();
    s.receives(data(4, 4, b"de").map_of(4, 4, 5).csum_of(b"defgh")).sends(ack(4, 6).dack(4)).reads(b"");
    s.receives(data(6, 4, b"FGH").infinite(6, 6).csum()).sends(ack(4, 9).plain()).reads(b"deFGH");
}

#[test]
fn the_stream_ends_with_fin_after_the_fallback() {
    let mut s = warm();
    s.receives(ack(4, 4).dack(4).fail(1)).sends(ack(4, 4).dack(4).fail(1));
    s.writes(b"DEF").sends(data(4, 4, b"DEF").infinite(4, 4).csum()).receives(ack(4, 7));
    s.shuts_down().sends(fin(7, 4).plain()).receives(fin(4, 8)).sends(ack(8, 5).plain()).reads_end();
    s.closes().sends_nothing();
    assert_eq!(s.host.accounting().connections, 0);
}

#[test]
fn unanswered_mp_fail_is_repeated_and_then_resets_the_subflow() {
    let mut s = warm();
    s.receives(data(4, 4, b"dXf").map(4).csum_wrong()).sends(ack(4, 7).dack(7).fail(4));
    for wait in [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200] {
        s.after(ms(wait)).sends(ack(4, 7).dack(7).fail(4));
    }
    s.after(ms(120_000 - 102_200)).sends(rst_ack(4, 7).tcprst(6));
    assert_eq!(s.host.accounting().flows, 0);
}

#[test]
fn further_wrong_checksums_are_counted_and_not_told_again() {
    let mut s = warm();
    s.receives(data(4, 4, b"dXf").map(4).csum_wrong()).sends(ack(4, 7).dack(7).fail(4));
    s.receives(data(7, 4, b"gXi").map(7).csum_wrong()).sends(ack(4, 10).dack(10)).reads(b"dXfgXi");
    assert_eq!(counts(&s, [|c| c.data_csum_err, |c| c.mp_fail_tx]), [2, 1]);
}

#[test]
fn both_may_fail_at_once() {
    let mut s = warm();
    s.receives(data(4, 4, b"dXf").map(4).csum_wrong()).sends(ack(4, 7).dack(7).fail(4));
    // The peer's own MP_FAIL is taken for the answer.
    s.receives(ack(7, 4).dack(4).fail(1)).sends_nothing();
    s.writes(b"DEF").sends(data(4, 7, b"DEF").infinite(4, 4).csum());
}

#[test]
fn mp_fails_do_not_loop() {
    let mut s = warm();
    s.receives(ack(4, 4).dack(4).fail(1)).sends(ack(4, 4).dack(4).fail(1));
    for _ in 0..1_000 {
        s.receives(ack(4, 4).dack(4).fail(1)).sends_nothing();
    }
    // Our answer may have been lost.
    s.after(ms(200)).receives(ack(4, 4).dack(4).fail(1)).sends(ack(4, 4).dack(4).fail(1));
    // One who told first is done with the answer.
    let mut s = warm();
    s.receives(data(4, 4, b"dXf").map(4).csum_wrong()).sends(ack(4, 7).dack(7).fail(4));
    for _ in 0..1_000 {
        s.receives(ack(7, 4).dack(4).fail(1)).sends_nothing();
    }
    s.after(secs(200)).sends_nothing();
}

#[test]
fn mp_fail_about_what_was_never_sent_is_ignored() {
    for dsn in [0, 4, 1_000, u64::MAX / 2] {
        let mut s = warm();
        s.receives(ack(4, 4).dack(4).fail(dsn)).sends_nothing();
        s.writes(b"DEF").sends(data(4, 4, b"DEF").map(4).csum());
    }
}

#[test]
fn nobody_joins_after_mp_fail() {
    let mut s = warm();
    s.receives(ack(4, 4).dack(4).fail(1)).sends(ack(4, 4).dack(4).fail(1));
    let sf = s.add_line(1, 2001);
    s.receives(syn().on(sf).mss(1460).join_syn(1));
    s.sends(rst_ack(0, 1).on(sf).any_seq().tcprst(1));
}

#[test]
fn a_wrong_checksum_on_one_of_two_subflows_resets_it_and_nothing_of_it_is_read() {
    for (bad, good) in [(0usize, 1usize), (1, 0)] {
        let mut s = Script::accepted_csum();
        s.joined_by_peer(1);
        s.receives(data(1, 1, b"abc").map(1).csum()).sends(ack(1, 4).dack(4)).reads(b"abc");
        let at = if bad == 0 { 4 } else { 1 };
        s.receives(data(at, 1, b"dX").on(bad).map_of(4, at, 3).csum_of(b"def"));
        s.sends(ack(1, at + 2).on(bad).dack(4)).reads(b"");
        s.receives(data(at + 2, 1, b"f").on(bad));
        s.sends(rst_ack(1, at + 3).on(bad).fail(4).tcprst(6)).reads(b"");
        assert_eq!(s.host.accounting().flows, 1);
        let at = if good == 0 { 4 } else { 1 };
        s.receives(data(at, 1, b"def").on(good).map(4).csum());
        s.sends(ack(1, at + 3).on(good).dack(7)).reads(b"def");
        assert!(s.is_mptcp());
        let seen = counts(&s, [|c| c.data_csum_err, |c| c.mp_fail_tx, |c| c.mp_rst_tx, |c| c.dss_fallback]);
        assert_eq!(seen, [1, 1, 1, 0]);
    }
}

/// It is no more to be trusted than the data.
#[test]
fn a_data_fin_of_a_mapping_that_failed_does_not_count() {
    let mut s = Script::accepted_csum();
    s.joined_by_peer(1);
    s.receives(data(1, 1, b"aXc").on(1).map(1).data_fin(4).csum_wrong());
    s.sends(rst_ack(1, 4).on(1).fail(1).tcprst(6)).reads(b"");
    s.receives(data(1, 1, b"abcdef").map(1).csum()).sends(ack(1, 7).dack(7)).reads(b"abcdef");
    s.receives(ack(7, 1).dack(1).data_fin(7).csum()).sends(ack(1, 7).dack(8)).reads_end();
}

#[test]
fn the_last_of_two_subflows_is_reset_as_well() {
    let mut s = Script::accepted_csum();
    s.joined_by_peer(1);
    s.receives(data(1, 1, b"abc").map(1).csum()).sends(ack(1, 4).dack(4)).reads(b"abc");
    s.receives(rst_ack(1, 1).on(1).tcprst(0)).sends_nothing();
    s.receives(data(4, 1, b"dXf").map(4).csum_wrong()).sends(rst_ack(1, 7).fail(4).tcprst(6)).reads(b"");
    assert!(!s.host.readiness(s.id()).error, "the peer may join again");
}

/// What was under way for a subflow that is gone is answered with plain resets: after the one that says why.
#[test]
fn the_reset_that_says_why_goes_first() {
    let mut s = Script::accepted_csum();
    s.joined_by_peer(1);
    s.receives(data(1, 1, b"abc").map(1).csum()).sends(ack(1, 4).dack(4)).reads(b"abc");
    s.receives_both(data(4, 1, b"dXf").map(4).csum_wrong(), data(7, 1, b"ghi").map(7).csum());
    s.sends(rst_ack(1, 7).fail(4).tcprst(6)).sends(rst(1).plain());
}

#[test]
fn a_gap_before_a_wrong_checksum_resets_the_only_subflow() {
    let mut s = warm();
    s.receives(data(4, 4, b"xyz").map(10).csum()).sends(ack(4, 7).dack(4));
    s.receives(data(7, 4, b"dXf").map(4).csum_wrong()).sends(rst_ack(4, 10).fail(4).tcprst(6)).reads(b"");
}

#[test]
fn a_reset_with_mp_fail_has_acknowledged_data_sent_again_at_once() {
    let mut s = Script::accepted_csum();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).dack(1));
    s.nodelay().writes_bulk(0, 1000);
    let on = s.sent_on();
    s.sends(bulk(1, 1, 1000).on(on).map(1).csum());
    // The flow took it, the data level did not.
    s.receives(ack(1, 1001).on(on).dack(1));
    s.receives(rst_ack(1, 1001).on(on).fail(1).tcprst(6));
    s.sends(bulk(1, 1, 1000).on(1 - on).map(1).csum());
    assert_eq!(counts(&s, [|c| c.mp_fail_rx, |c| c.mp_rst_rx, |c| c.mptcp_retrans]), [1, 1, 1]);
}

#[test]
fn mp_fail_on_an_acknowledgement_of_one_of_two_subflows_is_ignored() {
    let mut s = Script::accepted_csum();
    s.joined_by_peer(1);
    s.writes(b"ABC").sends(data(1, 1, b"ABC").map(1).csum());
    s.receives(ack(1, 4).dack(1).fail(1)).sends_nothing();
    assert_eq!(s.host.counters().mp_fail_rx, 1);
    assert!(s.is_mptcp());
}

#[test]
fn an_infinite_mapping_on_one_of_two_subflows_resets_it() {
    let mut s = Script::accepted_csum();
    s.joined_by_peer(1);
    s.receives(data(1, 1, b"abc").on(1).infinite(1, 1).csum())
        .sends(rst_ack(1, 1).on(1).tcprst(1))
        .reads(b"");
    assert!(s.is_mptcp());
    assert_eq!(counts(&s, [|c| c.infinite_map_rx, |c| c.fallback_failed, |c| c.dss_fallback]), [1, 1, 0]);
}

#[test]
fn an_infinite_mapping_needs_no_mp_fail_and_no_checksums() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abc").infinite(1, 1)).sends(ack(1, 4).plain()).reads(b"abc");
    assert!(!s.is_mptcp());
}

#[test]
fn a_join_that_was_only_tried_does_not_forbid_the_fallback() {
    use polytcp_proto::pm::command::{Endpoint, EndpointFlags, PmCommand};
    let mut s = Script::connected_csum();
    s.receives(data(1, 1, b"abc").map(1).csum()).sends(ack(1, 4).dack(4)).reads(b"abc");
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW)));
    s.sends(syn().on(1).any_join_syn());
    s.receives(data(4, 1, b"def").infinite(4, 4).csum()).sends(ack(1, 7).plain()).reads(b"def");
    assert!(!s.is_mptcp());
    assert_eq!(s.host.accounting().flows, 1);
    // The answer to the SYN finds nobody.
    s.receives(syn_ack().on(1).join_syn_ack()).sends(rst(1).on(1));
}
