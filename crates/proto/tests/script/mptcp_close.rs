//! How MPTCP ends: DATA_FIN and MP_FASTCLOSE (RFC 8684 §3.3.3, §3.5).

use super::dsl::*;
use polytcp_proto::host::{CallError, ConnectionError};
use polytcp_proto::pm::command::{PmEvent, ResetReason};
use polytcp_wire::mptcp::{MptcpOption, Reset};

#[test]
fn a_data_fin_of_its_own_is_acknowledged_at_data_level() {
    let mut s = Script::accepted();
    s.receives(ack(1, 1).dack(1).data_fin(1)).sends(ack(1, 1).dack(2)).reads_end();
    s.writes(b"still").sends(data(1, 1, b"still").map(1).dack(2));
}

#[test]
fn a_data_fin_with_data_ends_the_stream_after_it() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"end").map(1).data_fin(4)).sends(ack(1, 4).dack(5)).reads(b"end").reads_end();
}

#[test]
fn a_data_fin_before_its_data_waits() {
    let mut s = Script::accepted();
    s.receives(ack(1, 1).dack(1).data_fin(4)).sends(ack(1, 1).dack(1)).reads(b"");
    s.receives(data(1, 1, b"end").map(1)).sends(ack(1, 4).dack(5)).reads(b"end").reads_end();
}

#[test]
fn a_repeated_data_fin_is_acknowledged_again() {
    let mut s = Script::accepted();
    s.receives(ack(1, 1).dack(1).data_fin(1)).sends(ack(1, 1).dack(2));
    s.after(ms(200)).receives(ack(1, 1).dack(1).data_fin(1)).sends(ack(1, 1).dack(2));
}

#[test]
fn a_data_fin_that_waits_for_data_is_answered_once() {
    let mut s = Script::accepted();
    s.writes(b"lost").sends(data(1, 1, b"lost").map(1));
    s.shuts_down().sends(ack(5, 1).dack(1).data_fin(5));
    // The answer has our own DATA_FIN: a peer in the same state would answer that, and so on for ever.
    s.receives(ack(1, 1).dack(1).data_fin(4)).sends(ack(5, 1).dack(1).data_fin(5));
    s.receives(ack(1, 1).dack(1).data_fin(4)).sends_nothing();
    s.receives(data(1, 1, b"end").dack(1).map(1))
        .sends(ack(5, 4).dack(5).data_fin(5))
        .reads(b"end")
        .reads_end();
    s.receives(ack(4, 1).dack(1).data_fin(4)).sends(ack(5, 4).dack(5).data_fin(5));
}

#[test]
fn our_data_fin_goes_alone_and_is_repeated_with_doubled_waits_from_200_ms() {
    let mut s = Script::accepted();
    s.shuts_down().sends(ack(1, 1).dack(1).data_fin(1));
    for wait in [200, 400, 800, 1600] {
        s.after(ms(wait)).sends(ack(1, 1).dack(1).data_fin(1));
    }
    s.receives(ack(1, 1).dack(2)).after(secs(10)).sends_nothing();
    s.receives(data(1, 1, b"still").map(1)).sends(ack(1, 6).dack(6)).reads(b"still");
}

#[test]
fn our_data_fin_leaves_with_the_last_data() {
    let mut s = Script::accepted();
    s.writes(b"one").sends(data(1, 1, b"one").map(1));
    s.after(ms(1)).writes(b"end").sends_nothing().shuts_down().sends(data(4, 1, b"end").map(4).data_fin(7));
    s.receives(ack(1, 7).dack(8)).after(secs(5)).sends_nothing();
}

/// Sent again on another subflow, the data could be there before the segment that carried DATA_FIN, which Linux then never
/// acts on.
#[test]
fn our_data_fin_goes_alone_where_the_last_data_may_come_twice() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.writes(b"one").sends(data(1, 1, b"one").map(1));
    s.after(ms(1)).writes(b"end").sends_nothing().shuts_down();
    s.sends(data(4, 1, b"end").map(4)).sends(ack(7, 1).dack(1).data_fin(7));
    s.sends(ack(1, 1).on(1).dack(1).data_fin(7));
    s.receives(ack(1, 7).dack(8)).after(secs(5)).sends_nothing();
}

#[test]
fn our_data_fin_goes_on_every_subflow() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.shuts_down().sends(ack(1, 1).dack(1).data_fin(1)).sends(ack(1, 1).on(1).dack(1).data_fin(1));
}

#[test]
fn with_both_data_fins_acknowledged_the_subflows_close() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).dack(1).data_fin(1)).sends(ack(1, 1).dack(2));
    s.shuts_down().sends(ack(1, 1).dack(2).data_fin(1)).sends(ack(1, 1).on(1).dack(2).data_fin(1));
    s.receives(ack(1, 1).dack(2)).sends(fin(1, 1)).sends(fin(1, 1).on(1));
    s.receives(fin(1, 2)).sends(ack(2, 2)).receives(fin(1, 2).on(1)).sends(ack(2, 2).on(1));
    s.closes().sends_nothing();
    let left = s.host.accounting();
    assert_eq!((left.connections, left.flows, left.tokens, left.time_wait), (0, 0, 0, 2));
}

#[test]
fn a_fin_of_a_subflow_is_not_the_end_of_the_stream() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(fin(1, 1)).sends(fin(1, 2));
    s.receives(ack(2, 2)).reads(b"");
    s.receives(data(1, 1, b"hello").on(1).map(1)).sends(ack(1, 6).on(1).dack(6)).reads(b"hello");
}

#[test]
fn an_abort_sends_fastclose_on_every_subflow() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.aborts();
    s.sends(rst_ack(1, 1).on(1).fastclose().tcprst(0))
        .sends(rst_ack(1, 1).fastclose().tcprst(0))
        .sends_nothing();
    assert_eq!(s.host.accounting().connections, 0);
}

#[test]
fn fastclose_on_a_reset_ends_the_connection() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(rst_ack(1, 1).fastclose());
    s.ignores();
    s.reads_error(CallError::Failed(ConnectionError::Reset));
    assert_eq!(s.host.accounting().flows, 0);
}

#[test]
fn fastclose_before_the_peers_first_dss_ends_a_connection_that_fell_back() {
    let mut s = Script::connecting();
    s.sends(syn().mpc()).receives(syn_ack().mss(1460).sack_ok().wscale(7).mpc()).sends(ack(1, 1).mpc());
    s.receives(rst_ack(1, 1).fastclose());
    s.reads_error(CallError::Failed(ConnectionError::Reset));
    assert!(!s.host.info(s.id()).unwrap().is_mptcp);
}

#[test]
fn fastclose_on_an_ack_ends_the_connection_with_resets() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).fastclose()).sends(rst_ack(1, 1).on(1).tcprst(0));
    s.sends(rst_ack(1, 1).tcprst(0)).sends_nothing();
    s.reads_error(CallError::Failed(ConnectionError::Reset));
}

#[test]
fn fastclose_with_a_wrong_key_only_resets_its_subflow() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).fastclose_wrong()).sends_nothing();
    s.receives(rst_ack(1, 1).fastclose_wrong()).sends_nothing();
    assert!(!s.host.readiness(s.id()).error);
    s.receives(data(1, 1, b"hello").on(1).map(1)).sends(ack(1, 6).on(1).dack(6)).reads(b"hello");
}

#[test]
fn a_reset_of_the_only_subflow_does_not_end_the_connection_at_once() {
    let mut s = Script::accepted();
    s.receives(rst_ack(1, 1).tcprst(2)).sends_nothing().reads(b"");
    assert!(!s.host.readiness(s.id()).error);
}

/// RFC 8684 §3.6.
#[test]
fn the_peers_reason_for_a_reset_is_told_to_the_path_managers_clients() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    let transient = MptcpOption::Reset(Reset { transient: true, reason: 5 });
    s.receives(rst_ack(1, 1).on(1).option(transient)).receives(rst_ack(1, 1)).sends_nothing();
    let mut told = s.pm_events.iter().filter_map(|event| match event {
        PmEvent::SubClosed { subflow, reset } => Some((subflow.remote, subflow.error, *reset)),
        _ => None,
    });
    // ECONNRESET
    let unacceptable = ResetReason { reason: 5, flags: 1 };
    assert_eq!(told.next(), Some((s.peer_of(1), Some(104), Some(unacceptable))));
    assert_eq!(told.next(), Some((s.peer_of(0), Some(104), None)), "a reset without a reason");
    assert_eq!(told.next(), None);
}

#[test]
fn an_orphan_is_fast_closed_after_a_minute() {
    let mut s = Script::accepted();
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1));
    s.receives(ack(1, 6).dack(6)).closes().sends(ack(6, 1).data_fin(6));
    s.receives(ack(1, 6).dack(7));
    s.after(secs(60)).sends(rst_ack(6, 1).fastclose());
    assert_eq!(s.host.accounting().connections, 0);
}

#[test]
fn a_reset_with_fastclose_is_not_answered_with_a_reset() {
    let mut s = Script::accepted();
    s.receives(rst_ack(1, 1).fastclose()).sends_nothing();
}

#[test]
fn data_after_data_fin_is_not_read() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"end").map(1).data_fin(4)).sends(ack(1, 4).dack(5));
    s.reads(b"end").reads_end();
    s.receives(data(4, 1, b"more").map(5));
    s.ignores();
    s.reads_end();
}

#[test]
fn data_that_falls_back_after_data_fin_is_not_read() {
    let mut s = Script::accepted();
    s.receives(ack(1, 1).dack(1).data_fin(1)).sends(ack(1, 1).dack(2)).reads_end();
    s.receives(data(1, 1, b"more"));
    s.ignores();
    s.reads_end();
}

#[test]
fn a_data_fin_leaves_the_room_beside_timestamps_to_sack() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().ts().mpc()).sends(syn_ack().ts().mpc());
    s.receives(ack(1, 1).mpc()).accepts();
    s.receives(ack(1, 1).dack(1));
    s.shuts_down().sends(ack(1, 1).dack(1).data_fin(1));
    s.receives(data(5, 1, b"last").dack(1).map(5)).sends(ack(1, 1).dack(1).sack(&[(5, 9)]));
    s.receives(data(1, 1, b"lost").dack(1).map(1)).sends(ack(1, 9).dack(9).data_fin(1));
    s.reads(b"lostlast");
}
