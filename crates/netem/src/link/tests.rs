use alloc::vec::Vec;

use super::*;
use crate::config::Ratio;

const MTU: u32 = 1_500;

fn micros(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn megabits(megabits: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(megabits * 1_000_000)
}

/// Everything that comes out, with the time at which it is due, in virtual time.
fn drain<P>(link: &mut Link<P>) -> Vec<(Instant, P)> {
    let mut out = Vec::new();
    while let Some(due) = link.next_deadline() {
        assert!(due == Instant::ZERO || link.pop(due - Duration::from_nanos(1)).is_none(), "too early");
        out.push((due, link.pop(due).expect("what is due comes out")));
    }
    out
}

#[test]
fn a_perfect_link_passes_packets_at_once_and_in_order() {
    let mut link = Link::new(LinkConfig::default(), 1);
    for i in 0..10 {
        assert_eq!(link.push(micros(5), i, MTU), Verdict::Queued);
    }
    assert_eq!(link.next_deadline(), Some(micros(5)));
    let out: Vec<_> = core::iter::from_fn(|| link.pop(micros(5))).collect();
    assert_eq!(out, (0..10).collect::<Vec<_>>());
    assert_eq!(link.next_deadline(), None);
}

#[test]
fn packets_queue_behind_each_other_at_the_rate_and_arrive_after_the_delay() {
    let config =
        LinkConfig { rate_bits_per_sec: megabits(12), delay: Duration::from_millis(5), ..Default::default() };
    let mut link = Link::new(config, 1);
    for i in 0..3 {
        link.push(micros(100), i, MTU);
    }
    assert_eq!(drain(&mut link), [(micros(6_100), 0), (micros(7_100), 1), (micros(8_100), 2)]);
}

#[test]
fn a_busy_link_does_not_drift_from_its_rate() {
    // 7 Mbit/s divides no packet into whole nanoseconds.
    let config =
        LinkConfig { rate_bits_per_sec: megabits(7), queue_bytes: Some(u64::MAX), ..Default::default() };
    let mut link = Link::new(config, 1);
    let packets = 7_000u64;
    for i in 0..packets {
        link.push(Instant::ZERO, i, 1_001);
    }
    let last = drain(&mut link).last().expect("packets came out").0;
    assert_eq!(last, Instant::from_nanos(packets * 1_001 * 8 * 1_000 / 7));
}

#[test]
fn a_link_kept_busy_by_single_packets_does_not_drift_either() {
    let config = LinkConfig { rate_bits_per_sec: megabits(7), ..Default::default() };
    let mut link = Link::new(config, 1);
    link.push(Instant::ZERO, 0u32, 1_001);
    for _ in 0..6_999 {
        let now = link.next_deadline().expect("a packet is on the link");
        link.push(now, 0, 1_001);
        assert!(link.pop(now).is_some());
    }
    assert_eq!(
        link.next_deadline().expect("the last packet is on the link"),
        Instant::from_nanos(7_000 * 1_001 * 8 * 1_000 / 7)
    );
}

#[test]
fn an_idle_link_gives_no_credit() {
    let config = LinkConfig { rate_bits_per_sec: megabits(12), ..Default::default() };
    let mut link = Link::new(config, 1);
    link.push(Instant::ZERO, 0, MTU);
    link.push(micros(50_000), 1, MTU);
    assert_eq!(drain(&mut link), [(micros(1_000), 0), (micros(51_000), 1)]);
}

#[test]
fn jitter_spreads_arrivals_and_keeps_the_order() {
    let (delay, jitter) = (Duration::from_millis(10), Duration::from_millis(4));
    let mut link = Link::new(LinkConfig { delay, jitter, ..Default::default() }, 3);
    let mut out = Vec::new();
    for i in 0..1_000u64 {
        let now = micros(i * 100);
        out.extend(core::iter::from_fn(|| link.pop(now)));
        link.push(now, i, MTU);
        let due = link.travelling.back().expect("it travels at once").due;
        assert!((delay..=delay + jitter).contains(&(due - now)), "{due:?} for {now:?}");
    }
    out.extend(drain(&mut link).into_iter().map(|(_, i)| i));
    assert!(out.into_iter().eq(0..1_000));
}

#[test]
fn jitter_is_spread_over_its_whole_range() {
    let jitter = Duration::from_millis(4);
    let mut link = Link::new(LinkConfig { jitter, ..Default::default() }, 3);
    let mut sum = Duration::ZERO;
    for i in 0..1_000u64 {
        let now = Instant::from_millis(i * 100);
        link.push(now, (), MTU);
        sum += link.next_deadline().expect("it is on the link") - now;
        assert!(link.pop(now + jitter).is_some());
    }
    assert!((1_850..2_150).contains(&(sum / 1_000).as_micros()), "{sum:?}");
}

#[test]
fn a_full_queue_drops_what_comes_last() {
    let config =
        LinkConfig { rate_bits_per_sec: megabits(12), queue_bytes: Some(3_000), ..Default::default() };
    let mut link = Link::new(config, 1);
    assert_eq!(link.push(Instant::ZERO, 0, MTU), Verdict::Queued);
    assert_eq!(link.push(Instant::ZERO, 1, MTU), Verdict::Queued);
    assert_eq!(link.push(Instant::ZERO, 2, 1), Verdict::Dropped(DropReason::QueueFull));
    // The first has departed by now, and its place is free.
    assert_eq!(link.push(micros(1_000), 3, MTU), Verdict::Queued);
    let stats = link.stats();
    assert_eq!((stats.queue_full, stats.queue_bytes_peak, stats.packets), (1, 3_000, 3));
    assert_eq!(drain(&mut link).len(), 3);
    assert_eq!(link.stats().delivered_bytes, 4_500);
    assert_eq!(link.stats().queue_bytes, 0);
}

#[test]
fn an_empty_queue_takes_a_packet_larger_than_its_limit() {
    let config = LinkConfig { rate_bits_per_sec: megabits(1), queue_bytes: Some(100), ..Default::default() };
    let mut link = Link::new(config, 1);
    assert_eq!(link.push(Instant::ZERO, 0, MTU), Verdict::Queued);
    assert_eq!(link.push(Instant::ZERO, 1, MTU), Verdict::Dropped(DropReason::QueueFull));
}

#[test]
fn a_link_without_rate_is_bounded_in_packets() {
    let config = LinkConfig { delay: Duration::MAX, packets_max: 2, ..Default::default() };
    let mut link = Link::new(config, 1);
    link.push(Instant::ZERO, 0, MTU);
    link.push(Instant::ZERO, 1, MTU);
    assert_eq!(link.push(Instant::ZERO, 2, MTU), Verdict::Dropped(DropReason::QueueFull));
}

#[test]
fn one_percent_of_loss_drops_one_percent_of_packets() {
    for seed in 0..20 {
        let mut link = Link::new(LinkConfig { loss: Ratio::from_percent(1), ..Default::default() }, seed);
        for i in 0..100_000u64 {
            link.push(micros(i), (), MTU);
            link.pop(micros(i));
        }
        let stats = link.stats();
        assert!((800..=1_200).contains(&stats.lost), "seed {seed}: {}", stats.lost);
        assert_eq!(stats.delivered_packets + stats.lost, 100_000);
    }
}

#[test]
fn losses_are_independent_of_each_other() {
    let mut link = Link::new(LinkConfig { loss: Ratio::from_percent(10), ..Default::default() }, 5);
    let lost: Vec<bool> = (0..100_000).map(|_| link.push(Instant::ZERO, (), 1) != Verdict::Queued).collect();
    let pairs = lost.windows(2).filter(|pair| pair[0] && pair[1]).count();
    assert!((900..1_100).contains(&pairs), "{pairs}");
}

#[test]
fn a_cut_link_drops_what_is_on_it_and_what_comes() {
    let config =
        LinkConfig { rate_bits_per_sec: megabits(12), delay: Duration::from_millis(5), ..Default::default() };
    let mut link = Link::new(config, 1);
    for i in 0..4 {
        link.push(Instant::ZERO, i, MTU);
    }
    assert!(link.pop(micros(2_000)).is_none());
    link.cut();
    assert!(!link.is_up() && link.is_empty());
    assert_eq!(link.next_deadline(), None);
    assert_eq!(link.push(micros(3_000), 4, MTU), Verdict::Dropped(DropReason::Cut));
    assert_eq!(link.pop(Instant::FAR_FUTURE), None);
    assert_eq!(link.stats().cut_drops, 5);
    link.restore();
    assert!(link.is_up());
    link.push(micros(10_000), 5, MTU);
    assert_eq!(drain(&mut link), [(micros(16_000), 5)]);
}

#[test]
fn queued_packets_follow_a_change_of_rate() {
    let slow = LinkConfig { rate_bits_per_sec: megabits(12), ..Default::default() };
    let mut link = Link::new(slow, 1);
    for i in 0..3 {
        link.push(Instant::ZERO, i, MTU);
    }
    // A quarter of the first is still to depart, which takes half as long at twice the rate.
    link.set_config(micros(750), LinkConfig { rate_bits_per_sec: megabits(24), ..slow });
    assert_eq!(drain(&mut link), [(micros(875), 0), (micros(1_375), 1), (micros(1_875), 2)]);
}

#[test]
fn lifting_the_rate_frees_the_queue_at_once() {
    let slow = LinkConfig { rate_bits_per_sec: NonZeroU64::new(1), ..Default::default() };
    let mut link = Link::new(slow, 1);
    link.push(Instant::ZERO, 0, MTU);
    link.push(Instant::ZERO, 1, MTU);
    link.set_config(micros(7), LinkConfig::default());
    assert_eq!(drain(&mut link), [(micros(7), 0), (micros(7), 1)]);
}

#[test]
fn a_shorter_delay_does_not_let_packets_overtake() {
    let mut link = Link::new(LinkConfig { delay: Duration::from_millis(9), ..Default::default() }, 1);
    link.push(Instant::ZERO, 0, MTU);
    link.set_config(micros(1), LinkConfig::default());
    link.push(micros(1), 1, MTU);
    assert_eq!(drain(&mut link), [(micros(9_000), 0), (micros(9_000), 1)]);
}

#[test]
fn a_seed_gives_the_same_run() {
    let run = |seed| {
        let config = LinkConfig {
            rate_bits_per_sec: megabits(50),
            delay: Duration::from_millis(3),
            jitter: Duration::from_millis(2),
            loss: Ratio::from_percent(5),
            queue_bytes: Some(20_000),
            ..Default::default()
        };
        let mut link = Link::new(config, seed);
        let verdicts: Vec<_> = (0..500).map(|i| link.push(micros(i * 200), i, MTU)).collect();
        (verdicts, drain(&mut link))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn extremes_neither_panic_nor_stall() {
    let config = LinkConfig { rate_bits_per_sec: NonZeroU64::new(1), ..Default::default() };
    let mut link = Link::new(config, 1);
    link.push(Instant::FAR_FUTURE, 0, u32::MAX);
    link.push(Instant::ZERO, 1, u32::MAX);
    link.set_config(Instant::ZERO, LinkConfig::new(u64::MAX, Duration::MAX));
    link.set_config(Instant::FAR_FUTURE, LinkConfig::new(u64::MAX, Duration::MAX));
    assert!(link.pop(Instant::FAR_FUTURE).is_some());
}
