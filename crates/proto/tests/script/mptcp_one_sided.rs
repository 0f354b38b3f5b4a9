//! A fallback that only one side has seen must not damage the stream, nor hang (RFC 8684 §3.7).

use super::dsl::*;
use polytcp_proto::host::{CallError, ConnectionError};
use polytcp_wire::mptcp::{Dss, DssDsn, DssMapping, MptcpOption};

const RESET: CallError = CallError::Failed(ConnectionError::Reset);

/// The path has begun to take options away: the peer did not fall back, and sends again what it gets no DATA_ACK for.
#[test]
fn data_without_an_option_resets_a_connection_whose_peer_has_acknowledged_ours() {
    let mut s = Script::accepted();
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1));
    s.receives(ack(1, 6).dack(6)).sends_nothing();
    s.receives(data(1, 6, b"abc").map(1)).sends(ack(6, 4).dack(4)).reads(b"abc");
    s.receives(data(4, 6, b"def")).sends(rst_ack(6, 7).tcprst(6)).reads(b"");
}

#[test]
fn data_without_an_option_resets_a_connection_that_went_beyond_the_first_window() {
    let mut s = Script::accepted();
    let mut at = 1;
    while at <= 65_535 {
        s.receives(bulk(at, 1, 1400).map(u64::from(at)));
        s.ignores();
        s.read();
        at += 1400;
    }
    s.receives(data(at, 1, b"def")).sends(rst_ack(1, at + 3).tcprst(6)).reads(b"");
}

/// A box has joined two segments and lost the second one's mapping. The peer learns of it by what we no longer say.
#[test]
fn octets_behind_a_mapping_fall_back_and_our_next_data_says_so() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abcdef").map_of(1, 1, 3)).sends(ack(1, 7).plain()).reads(b"abcdef");
    assert!(!s.is_mptcp());
    assert_eq!(s.host.counters().infinite_map_tx, 0);
    s.writes(b"hello").sends(data(1, 7, b"hello").infinite(1, 1));
    s.receives(ack(7, 6)).writes(b"world").sends(data(6, 7, b"world").plain());
    assert_eq!(s.host.counters().infinite_map_tx, 1);
}

#[test]
fn a_peer_that_has_not_fallen_back_goes_on_until_it_repeats_itself() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abcdef").map_of(1, 1, 3)).sends(ack(1, 7).plain()).reads(b"abcdef");
    s.receives(data(7, 1, b"ghi").map(7)).sends(ack(1, 10).plain()).reads(b"ghi");
    // No DATA_ACK came: it sends its data again, as new octets of the flow.
    s.receives(data(10, 1, b"def").map_of(4, 10, 3)).sends(rst_ack(1, 10)).reads_error(RESET);
}

/// It has other subflows to say the rest on; here that would look like the end of the stream.
#[test]
fn a_subflow_closed_by_a_peer_that_has_not_fallen_back_is_no_end_of_the_stream() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abcdef").map_of(1, 1, 3)).sends(ack(1, 7).plain()).reads(b"abcdef");
    s.receives(fin(7, 1).dack(1)).sends(rst_ack(1, 7)).reads_error(RESET);
}

#[test]
fn a_peer_that_has_not_fallen_back_ends_its_stream_by_data_fin() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abcdef").map_of(1, 1, 3)).sends(ack(1, 7).plain()).reads(b"abcdef");
    s.receives(ack(7, 1).dack(1).data_fin(7)).sends_nothing().reads_end();
    s.receives(fin(7, 1).dack(1)).sends(ack(1, 8).plain()).reads_end();
}

#[test]
fn data_that_was_sent_twice_at_data_level_rules_a_fallback_out() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abc").map(1)).sends(ack(1, 4).dack(4));
    s.receives(data(4, 1, b"abc").map_of(1, 4, 3)).sends(ack(1, 7).dack(4)).reads(b"abc");
    s.receives(data(7, 1, b"def")).sends(rst_ack(1, 10).tcprst(6));
}

#[test]
fn the_data_fin_of_a_peer_that_has_not_fallen_back_ends_its_stream() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abcdef").map_of(1, 1, 3)).sends(ack(1, 7).plain()).reads(b"abcdef");
    s.receives(ack(7, 1).data_fin(8)).receives(ack(7, 1).data_fin(7)).reads_end();
}

/// Nor one without a place: DATA_FIN takes a number, so that a mapping with it is never empty.
#[test]
fn a_data_fin_of_an_empty_mapping_ends_nothing() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abcdef").map_of(1, 1, 3)).sends(ack(1, 7).plain()).reads(b"abcdef");
    let dsn = DssDsn::Eight((s.keys().1.idsn() + 7).0);
    let mapping = Some(DssMapping { dsn, ssn: 0, len: 0, checksum: None });
    let empty = MptcpOption::Dss(Dss { data_fin: true, mapping, ..Dss::default() });
    s.receives(ack(7, 1).option(empty)).reads(b"");
    s.receives(data(7, 1, b"g")).reads(b"g");
}

#[test]
fn a_data_fin_that_lies_ahead_ends_nothing() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abcdef").map_of(1, 1, 3)).sends(ack(1, 7).plain()).reads(b"abcdef");
    s.receives(ack(7, 1).data_fin(8)).reads(b"");
    s.receives(data(7, 1, b"g")).reads(b"g");
}

/// All is acknowledged, and nothing of it at data level: to send it again would give it to a peer that speaks TCP twice.
#[test]
fn acknowledgements_without_an_option_are_followed_by_a_fallback_and_not_by_data_sent_again() {
    let mut s = Script::accepted();
    s.nodelay().writes(b"hello").sends(data(1, 1, b"hello").map(1));
    s.receives(ack(1, 6).dack(6)).sends_nothing();
    s.writes(b"again").sends(data(6, 1, b"again").map(6));
    s.receives(ack(1, 11)).after(secs(3)).sends_nothing();
    assert!(!s.is_mptcp());
    s.writes(b"world").sends(data(11, 1, b"world").infinite(6, 6));
    s.receives(ack(1, 16)).sends_nothing();
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 15);
    s.closes().sends(fin(16, 1).plain());
}

/// A proxy kept it, and raised its acknowledgement.
#[test]
fn an_older_segment_with_an_option_tells_nothing_against_such_an_acknowledgement() {
    let mut s = Script::accepted();
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1));
    s.receives(ack(4, 6)).receives(data(1, 6, b"abc").map(1).dack(1)).sends(ack(6, 4).dack(4)).reads(b"abc");
    s.after(secs(3)).sends_nothing();
    assert!(!s.is_mptcp());
}

#[test]
fn one_acknowledgement_with_a_data_ack_keeps_mptcp() {
    let mut s = Script::accepted();
    s.nodelay().writes(b"hello").sends(data(1, 1, b"hello").map(1));
    s.receives(ack(1, 6)).receives(ack(1, 6).dack(1)).sends_nothing();
    s.until_sent(secs(1)).expect("the data is sent again");
    s.sends(data(6, 1, b"hello").map(1));
    assert!(s.is_mptcp());
}

#[test]
fn a_fin_without_an_option_ends_the_stream_of_a_peer_that_fell_back() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abc").map(1)).sends(ack(1, 4).dack(4)).reads(b"abc");
    s.receives(fin(4, 1)).sends(ack(1, 5).plain()).reads_end();
    s.writes(b"hello").sends(data(1, 5, b"hello").plain());
}

#[test]
fn a_fin_with_an_option_ends_the_subflow_only() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abc").map(1)).sends(ack(1, 4).dack(4)).reads(b"abc");
    s.receives(fin(4, 1).dack(1)).sends_any().reads(b"");
    assert!(s.is_mptcp());
}

/// Data was sent twice, so that the peer may have it twice by now: nothing clean can come of it.
#[test]
fn a_fin_without_an_option_resets_what_cannot_fall_back() {
    let mut s = Script::accepted();
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1));
    s.receives(ack(1, 6).dack(1)).sends_nothing();
    s.until_sent(secs(1)).expect("the data is sent again");
    s.sends(data(6, 1, b"hello").map(1));
    s.receives(fin(1, 11)).sends(rst_ack(11, 2).tcprst(6)).reads(b"");
}

/// Its octets in the flow are more than those of the stream, and where the stream ends is not known.
#[test]
fn a_fin_without_an_option_resets_a_stream_that_is_not_contiguous() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"abc").map(1)).sends(ack(1, 4).dack(4));
    s.receives(data(4, 1, b"abc").map_of(1, 4, 3)).sends(ack(1, 7).dack(4)).reads(b"abc");
    s.receives(fin(7, 1)).sends(rst_ack(1, 8).tcprst(6));
    assert_eq!(s.count("FallbackFailed"), 1);
}

/// What went twice at data level may be twice in the stream of a peer that fell back.
#[test]
fn acknowledgements_without_an_option_reset_a_connection_that_has_sent_its_data_again() {
    let mut s = Script::accepted();
    s.nodelay().writes(b"hello").sends(data(1, 1, b"hello").map(1));
    s.receives(ack(1, 6).dack(1)).sends_nothing();
    s.until_sent(secs(1)).expect("the data is sent again");
    s.sends(data(6, 1, b"hello").map(1));
    s.receives(ack(1, 11));
    s.until_sent(secs(3)).expect("the end");
    s.sends(rst_ack(11, 1).tcprst(6)).sends_nothing();
    assert_eq!((s.count("FallbackFailed"), s.host.accounting().flows), (1, 0));
}
