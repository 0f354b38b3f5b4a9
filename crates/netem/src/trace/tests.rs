use std::vec;

use super::*;
use crate::{Link, LinkConfig};

const MBIT: u64 = 1_000_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn step(at: u64, mbit: u64, delay: u64) -> TraceStep {
    TraceStep { at: ms(at), rate_bits_per_sec: mbit * MBIT, delay: ms(delay) }
}

fn following(steps: &[TraceStep], period: u64) -> Link<u32> {
    let mut link = Link::new(LinkConfig::default(), 1);
    link.follow(Instant::ZERO, Some(Trace::new(steps, ms(period)).expect("a trace")));
    link
}

fn arrivals(link: &mut Link<u32>) -> Vec<(Instant, u32)> {
    let mut out = vec![];
    while let Some(due) = link.next_deadline() {
        out.extend(core::iter::from_fn(|| link.pop(due)).map(|packet| (due, packet)));
    }
    out
}

#[test]
fn steps_must_start_at_zero_and_keep_their_distance() {
    assert_eq!(Trace::new([], ms(1)), Err(TraceError::NoStart));
    assert_eq!(Trace::new([step(1, 1, 0)], ms(5)), Err(TraceError::NoStart));
    assert_eq!(Trace::new([step(0, 1, 0), step(0, 2, 0)], ms(5)), Err(TraceError::TooClose(1)));
    assert_eq!(Trace::new([step(0, 1, 0), step(5, 2, 0)], ms(5)), Err(TraceError::TooClose(2)));
    assert!(Trace::new([step(0, 1, 0), step(4, 2, 0)], ms(5)).is_ok());
}

#[test]
fn a_packet_departs_at_the_rates_of_all_steps_that_it_sees() {
    // 12 Mbit/s carry one packet of 1,500 octets in a millisecond, 6 Mbit/s half of one.
    let mut link = following(&[step(0, 12, 1), step(2, 6, 2), step(4, 0, 3), step(7, 12, 4)], 10);
    for i in 0..4 {
        link.push(Instant::ZERO, i, 1_500);
    }
    // The third takes the third and fourth millisecond; the fourth stands still from 4 to 7.
    assert_eq!(arrivals(&mut link), [(at(2), 0), (at(3), 1), (at(6), 2), (at(12), 3)]);
}

#[test]
fn a_trace_starts_again_when_it_ends() {
    let mut link = following(&[step(0, 12, 0), step(1, 0, 0)], 10);
    for i in 0..4 {
        link.push(Instant::ZERO, i, 1_500);
    }
    assert_eq!(arrivals(&mut link), [(at(1), 0), (at(11), 1), (at(21), 2), (at(31), 3)]);
    // After a long silence the step in force is found without playing all of them.
    let late = at(1_000_000_000_000 + 5);
    link.push(late, 9, 1_500);
    assert_eq!(arrivals(&mut link), [(at(1_000_000_000_011), 9)]);
}

#[test]
fn a_trace_that_carries_nothing_holds_everything_without_end() {
    let mut link = following(&[step(0, 0, 0)], 1);
    link.push(Instant::ZERO, 1, 1_500);
    assert_eq!(link.pop(at(1_000_000_000)), None);
    link.follow(at(1_000_000_000), None);
    assert_eq!(link.pop(at(1_000_000_000)), Some(1), "the configuration's rate counts again");
}

#[test]
fn a_full_link_carries_the_mean_rate_of_its_trace() {
    let steps = [step(0, 3, 0), step(13, 40, 0), step(20, 0, 0), step(29, 17, 0)];
    let trace = Trace::new(steps, ms(41)).expect("a trace");
    let mean = trace.mean_rate_bits_per_sec();
    let mut link = Link::new(LinkConfig::default(), 1);
    link.follow(Instant::ZERO, Some(trace));
    let (mut carried, mut now) = (0, Instant::ZERO);
    link.push(now, 0, 1_500);
    link.push(now, 0, 1_500);
    while let Some(due) = link.next_deadline().filter(|due| *due <= at(41 * 100)) {
        now = due;
        while link.pop(now).is_some() {
            carried += 1_500 * 8;
            link.push(now, 0, 1_500);
        }
    }
    let expected = mean as f64 * 4.1;
    assert!((carried as f64 - expected).abs() < 2.0 * 12_000.0, "{carried} for {expected}");
}

#[test]
fn mahimahi_opportunities_become_rates() {
    let trace = Trace::from_mahimahi("1\n1\n2\n\n5\n5\n7\n", ms(20)).expect("a trace");
    let rates: Vec<_> =
        trace.steps().iter().map(|s| (s.at.as_millis(), s.rate_bits_per_sec / MBIT)).collect();
    assert_eq!(rates, [(0, 24), (1, 12), (2, 0), (4, 24), (5, 0), (6, 12)]);
    assert_eq!((trace.period(), trace.steps()[0].delay), (ms(7), ms(20)));
    assert_eq!(trace.mean_rate_bits_per_sec(), 6 * 12_000 * 1_000 / 7);

    let mut link = Link::new(LinkConfig::default(), 1);
    link.follow(Instant::ZERO, Some(trace));
    for i in 0..8 {
        link.push(Instant::ZERO, i, 1_500);
    }
    let times: Vec<_> = arrivals(&mut link).iter().map(|(due, _)| due.as_millis() - 20).collect();
    assert_eq!(times, [0, 1, 2, 4, 5, 7, 7, 8], "half a millisecond each in the first, rounded down");
}

#[test]
fn a_wrong_line_of_a_mahimahi_trace_is_named() {
    let read = |text| Trace::from_mahimahi(text, Duration::ZERO).map(|trace| trace.steps().len());
    assert_eq!(read("3\n"), Ok(2));
    assert_eq!(read("1\n2\nx\n"), Err(MahimahiError::NotANumber(3)));
    assert_eq!(read("-1\n"), Err(MahimahiError::NotANumber(1)));
    assert_eq!(read("86400001\n"), Err(MahimahiError::NotANumber(1)));
    assert_eq!(read("2\n1\n"), Err(MahimahiError::NotInOrder(2)));
    assert_eq!(read(""), Err(MahimahiError::Empty));
    assert_eq!(read("0\n0\n"), Err(MahimahiError::Empty));
}
