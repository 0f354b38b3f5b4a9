//! Which segments are believed: RFC 9293 §3.10.7.4, RFC 5961, PAWS (RFC 7323 §5).

use super::dsl::*;
use polytcp_proto::host::{CallError, ConnectionError};
use polytcp_wire::tcp::TcpFlags;

#[test]
fn a_reset_at_exactly_rcv_nxt_ends_the_connection() {
    let mut s = Script::accepted_plain();
    s.receives(data(1, 1, b"abc")).sends(ack(1, 4)).reads(b"abc");
    s.receives(rst(4)).sends_nothing().reads_error(CallError::Failed(ConnectionError::Reset));
    assert_eq!(s.host.accounting().flows, 0);
}

#[test]
fn a_reset_elsewhere_in_the_window_is_challenged_and_not_believed() {
    let mut s = Script::accepted_plain();
    s.receives(rst(2)).sends(ack(1, 1));
    s.receives(data(1, 1, b"abc")).sends(ack(1, 4)).reads(b"abc");
}

#[test]
fn a_reset_outside_the_window_is_ignored() {
    let mut s = Script::accepted_plain();
    s.receives(rst(2 + 65_535)).sends_nothing();
    s.receives(rst(0)).sends_nothing();
    s.receives(rst(0x8000_0000)).sends_nothing();
    s.receives(data(1, 1, b"abc")).sends(ack(1, 4)).reads(b"abc");
}

#[test]
fn challenges_for_resets_are_rationed() {
    let mut s = Script::accepted_plain();
    s.receives(rst(2)).sends(ack(1, 1));
    for at in 3..100 {
        s.receives(rst(at)).sends_nothing();
    }
    s.after(ms(500)).receives(rst(100)).sends(ack(1, 1));
}

#[test]
fn a_syn_on_an_open_connection_is_challenged() {
    let mut s = Script::accepted_plain();
    s.receives(syn().any_seq_at(5)).sends(ack(1, 1));
    s.after(secs(1)).receives(syn().any_seq_at(0x4000_0000)).sends(ack(1, 1));
    s.after(secs(1)).receives(syn_ack().any_seq_at(1)).sends(ack(1, 1));
    s.receives(data(1, 1, b"abc")).sends(ack(1, 4)).reads(b"abc");
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_answered_and_dropped() {
    let mut s = Script::accepted_plain();
    s.receives(data(1, 2, b"abc")).sends(ack(1, 1)).reads(b"");
    s.receives(data(1, 1, b"abc")).sends(ack(1, 4)).reads(b"abc");
}

#[test]
fn an_acknowledgement_older_than_the_largest_window_is_challenged() {
    let mut s = Script::accepted_plain();
    s.receives(data(1, 1u32.wrapping_sub(70_000), b"abc")).sends(ack(1, 1)).reads(b"");
    // A little older is a late segment, whose data counts.
    s.receives(data(1, 0, b"abc")).sends(ack(1, 4)).reads(b"abc");
}

#[test]
fn data_beyond_the_window_is_not_taken() {
    let mut config = config();
    config.tcp.recv_buffer_bytes = core::num::NonZeroU32::new(74_897); // a window of 65,535
    let mut s = Script::accepted_plain_with(config);
    s.receives(data(1 + 65_535, 1, b"abc")).sends(ack(1, 1).sack(&[]));
    // The part within it is.
    s.receives(data(1 + 65_534, 1, b"abc")).sends(ack(1, 1).sack(&[(65_535, 65_536)]));
}

#[test]
fn old_data_is_acknowledged_again_with_a_dsack() {
    let mut s = Script::accepted_plain();
    s.receives(data(1, 1, b"abcdef")).sends(ack(1, 7)).reads(b"abcdef");
    s.receives(data(1, 1, b"abcdef")).sends(ack(1, 7).sack(&[(1, 7)]));
    s.receives(data(4, 1, b"defghi")).sends(ack(1, 10).sack(&[(4, 7)])).reads(b"ghi");
}

#[test]
fn a_segment_without_ack_is_dropped() {
    let mut s = Script::accepted_plain();
    s.receives(data(1, 1, b"abc").no_ack_flag()).sends_nothing().reads(b"");
}

#[test]
fn a_segment_with_an_old_timestamp_is_dropped() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(0).ts()).sends(syn_ack());
    s.receives(ack(1, 1)).accepts();
    s.receives(data(1, 1, b"abc")).sends(ack(1, 4)).reads(b"abc");
    s.receives(data(4, 1, b"old").ts_val(-10)).sends(ack(1, 4)).reads(b"");
    assert_eq!(s.host.counters().get("TcpExtPAWSEstab"), Some(1));
    s.receives(data(4, 1, b"new")).sends(ack(1, 7)).reads(b"new");
}

#[test]
fn paws_does_not_hold_a_reset_back() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(0).ts()).sends(syn_ack());
    s.receives(ack(1, 1)).accepts();
    s.receives(rst(1).ts().ts_val(-10)).sends_nothing();
    s.reads_error(CallError::Failed(ConnectionError::Reset));
}

#[test]
fn timestamps_are_echoed_across_the_wrap_of_the_peers_clock() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(0).ts()).sends(syn_ack());
    s.receives(ack(1, 1)).accepts();
    let mut at = 1;
    // The peer's clock wraps after four seconds.
    for _ in 0..8 {
        s.receives(data(at, 1, b"abc"));
        at += 3;
        s.sends(ack(1, at).ts()).reads(b"abc").after(secs(1));
    }
}

#[test]
fn sequence_numbers_wrap() {
    // The peer's first number is a thousand below the wrap.
    let mut s = Script::accepted_plain();
    s.receives(bulk(2921, 1, 1460)).sends(ack(1, 1).sack(&[(2921, 4381)]));
    s.receives(bulk(1, 1, 1460)).sends(ack(1, 1461).sack(&[(2921, 4381)]));
    s.receives(bulk(1461, 1, 1460)).sends(ack(1, 4381)).reads(&octets(0, 4380));
}

#[test]
fn urgent_data_is_taken_in_line() {
    let mut s = Script::accepted_plain();
    s.receives(data(1, 1, b"abc").flags(TcpFlags::URG)).sends(ack(1, 4)).reads(b"abc");
}

#[test]
fn a_forged_timestamp_without_a_right_acknowledgement_does_not_cut_the_peer_off() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().ts()).sends(syn_ack().plain());
    s.receives(ack(1, 1)).accepts().sends_nothing();
    // Blind: the sequence number is right by chance, the acknowledgement is not.
    s.receives(data(1, 0x7000_0000, b"x").ts_val(0x3000_0000));
    s.ignores();
    s.receives(data(1, 1, b"hello")).sends(ack(1, 6)).reads(b"hello");
}

#[test]
fn a_forged_syn_storm_is_answered_with_few_challenge_acks() {
    let mut s = Script::accepted_plain();
    let mut answers = 0;
    for i in 0..1_000 {
        s.receives(syn().any_seq_at(0x4000_0000 + i));
        answers += s.ignores();
    }
    assert!(answers <= 10, "{answers} challenge ACKs in no time");
}

#[test]
fn a_storm_of_acks_for_the_future_is_answered_with_few_acks() {
    let mut s = Script::accepted_plain();
    let mut answers = 0;
    for i in 0..1_000 {
        s.receives(ack(1, 0x4000_0000 + i));
        answers += s.ignores();
    }
    assert!(answers <= 10, "{answers} answers in no time");
}

#[test]
fn challenges_are_sent_at_most_every_half_second_and_both_kinds_are_counted() {
    let mut s = Script::accepted_plain();
    s.receives(rst(100)).sends(ack(1, 1));
    s.receives(rst(100)).receives(syn().any_seq_at(200)).sends_nothing();
    let count = |s: &Script, name: &str| s.host.counters().get(name).expect("Linux has it");
    assert_eq!(count(&s, "TcpExtTCPChallengeACK"), 1);
    assert_eq!(count(&s, "TcpExtTCPACKSkippedChallenge"), 2);
    s.after(ms(499)).receives(rst(100)).sends_nothing();
    s.after(ms(1)).receives(rst(100)).sends(ack(1, 1));
    // A pure acknowledgement out of the window belongs to the same limit.
    s.receives(ack(50_000_000, 1)).sends_nothing();
    assert_eq!(count(&s, "TcpExtTCPACKSkippedSeq"), 1);
}
