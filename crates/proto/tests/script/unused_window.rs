//! A congestion window that is kept while nobody uses it (RFC 7661), which `tcp_slow_start_after_idle` = 0 asks for.

use super::dsl::*;

/// A plain connection with a round trip of 20 ms and a window of forty segments.
fn kept() -> Script {
    let mut config = config();
    config.tcp.slow_start_after_idle = false;
    config.tcp.pacing = false;
    config.tcp.congestion_control = "reno".into();
    let mut s = Script::listening_with(config);
    s.receives(syn().mss(1000).sack_ok()).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    sends(&mut s, 0, 10);
    s.after(ms(20)).receives(ack(1, 10_001));
    sends(&mut s, 10_000, 20);
    s.after(ms(20)).receives(ack(1, 30_001));
    assert_eq!(windows(&s), (40_000, u32::MAX));
    s
}

fn sends(s: &mut Script, from: u32, count: u32) {
    s.writes_bulk(from, count as usize * 1000);
    for i in 0..count {
        s.sends(bulk(1 + from + i * 1000, 1, 1000));
    }
    s.sends_nothing();
}

/// The congestion window and its threshold.
fn windows(s: &Script) -> (u32, u32) {
    let subflow = &s.host.subflows(s.id()).unwrap()[0];
    (subflow.cwnd_bytes, subflow.ssthresh_bytes)
}

/// The first of `count` segments from there on is lost and repaired.
fn loses_one(s: &mut Script, from: u32, count: u32) {
    sends(s, from, count);
    let (lost, end) = (from + 1, from + 1 + count * 1000);
    s.after(ms(20)).receives(ack(1, lost).sack(&[(lost + 1000, end)]));
    s.sends(bulk(lost, 1, 1000));
    s.after(ms(20)).receives(ack(1, end)).sends_nothing();
}

#[test]
fn five_minutes_without_use_halve_the_window() {
    let mut s = kept();
    s.after(secs(299));
    sends(&mut s, 30_000, 1);
    s.after(ms(20)).receives(ack(1, 31_001));
    assert_eq!(windows(&s), (40_000, u32::MAX), "kept, but one segment is no use of it");
    s.after(secs(2));
    sends(&mut s, 31_000, 1);
    s.after(ms(20)).receives(ack(1, 32_001));
    assert_eq!(windows(&s), (20_000, u32::MAX));
    s.after(secs(1_000));
    sends(&mut s, 32_000, 1);
    assert_eq!(windows(&s), (10_000, u32::MAX), "not less than the initial window");
}

#[test]
fn a_window_in_use_is_kept() {
    let mut s = kept();
    s.after(secs(250));
    sends(&mut s, 30_000, 21);
    s.after(ms(20)).receives(ack(1, 51_001));
    s.after(secs(250));
    sends(&mut s, 51_000, 1);
    assert!(windows(&s).0 >= 40_000, "{:?}", windows(&s));
}

#[test]
fn a_loss_goes_by_what_was_used() {
    let mut s = kept();
    s.after(secs(5));
    sends(&mut s, 30_000, 2);
    s.after(ms(20)).receives(ack(1, 32_001));
    s.after(secs(5));
    loses_one(&mut s, 32_000, 6);
    // Half of the six segments without the lost one.
    assert_eq!(windows(&s), (2_500, 2_500));
}

#[test]
fn a_loss_goes_by_the_window_where_that_was_used() {
    let mut s = kept();
    loses_one(&mut s, 30_000, 40);
    assert_eq!(windows(&s), (20_000, 20_000));
}

/// RFC 9438 §5.8: a pause is no time in which the window grew.
#[test]
fn cubic_does_not_grow_by_a_pause() {
    let mut config = config();
    config.tcp.slow_start_after_idle = false;
    config.tcp.pacing = false;
    config.tcp.congestion_control = "cubic".into();
    let mut s = Script::listening_with(config);
    s.receives(syn().mss(1000).sack_ok()).sends(syn_ack());
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    loses_one(&mut s, 0, 10);
    // A full window in congestion avoidance, so that its curve begins.
    let first = windows(&s).0 / 1000;
    sends(&mut s, 10_000, first);
    let sent = 10_000 + first * 1000;
    s.after(ms(20)).receives(ack(1, 1 + sent));
    let (before, _) = windows(&s);
    s.after(secs(60));
    sends(&mut s, sent, before / 1000);
    s.after(ms(20)).receives(ack(1, 1 + sent + before / 1000 * 1000));
    let (after, _) = windows(&s);
    assert!(after < before + 2_000, "{before} {after}");
}
