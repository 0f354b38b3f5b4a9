use alloc::vec::Vec;

use super::*;
use core::num::NonZeroU64;

use crate::{CodelConfig, Ratio};

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

fn packets_out<P: Clone>(link: &mut Link<P>) -> Vec<(Instant, P)> {
    let mut out = Vec::new();
    while let Some(due) = link.next_deadline() {
        out.extend(core::iter::from_fn(|| link.pop(due)).map(|packet| (due, packet)));
    }
    out
}

#[test]
fn free_jitter_lets_packets_overtake_and_each_arrives_after_its_own_delay() {
    let (delay, jitter) = (Duration::from_millis(10), Duration::from_millis(8));
    let config = LinkConfig { delay, jitter, order: Order::Free, ..Default::default() };
    let mut link = Link::new(config, 3);
    for i in 0..1_000u64 {
        link.push(micros(i * 1_000), i, MTU);
    }
    let out = packets_out(&mut link);
    let mut spread = Duration::ZERO;
    for (due, i) in &out {
        let late = *due - micros(i * 1_000);
        assert!((delay..=delay + jitter).contains(&late), "{late:?}");
        spread += late - delay;
    }
    assert!((3_800..4_200).contains(&(spread / 1_000).as_micros()), "not held by one another: {spread:?}");
    let overtakers = out.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
    assert!(overtakers > 200, "{overtakers}");
    assert!(link.stats().reordered > 200);
    assert_eq!(out.len(), 1_000);
}

#[test]
fn free_jitter_delivers_no_packet_late_on_a_slow_link() {
    // The second packet's jitter may be so much smaller that it arrives first.
    let config = LinkConfig {
        rate_bits_per_sec: megabits(12),
        jitter: Duration::from_millis(50),
        order: Order::Free,
        ..Default::default()
    };
    for seed in 0..50 {
        let mut link = Link::new(config, seed);
        for i in 0..20u64 {
            link.push(Instant::ZERO, i, MTU);
        }
        let mut often = link.clone();
        let mut asked = Vec::new();
        for now in (0..1_000u64).map(|i| micros(i * 100)) {
            asked.extend(core::iter::from_fn(|| often.pop(now)).map(|packet| (now, packet)));
        }
        let told = packets_out(&mut link);
        assert_eq!((told.len(), asked.len()), (20, 20));
        for ((at, packet), (seen, other)) in told.into_iter().zip(asked) {
            assert_eq!(packet, other);
            assert!(at <= seen && seen - at < Duration::from_micros(100), "{at:?} for {seen:?}");
        }
    }
}

#[test]
fn copies_come_right_behind_and_take_their_share_of_the_rate() {
    let config = LinkConfig {
        rate_bits_per_sec: megabits(12),
        duplicate: Ratio::from_percent(25),
        queue_bytes: Some(u64::MAX),
        ..Default::default()
    };
    let mut link = Link::new(config, 5);
    for i in 0..10_000u64 {
        link.push(Instant::ZERO, i, MTU);
    }
    let copies = link.stats().duplicated;
    assert!((2_350..2_650).contains(&copies), "{copies}");
    let out = packets_out(&mut link);
    assert_eq!(out.len() as u64, 10_000 + copies);
    assert_eq!(out.last().expect("many").0, Instant::from_millis(10_000 + copies));
    let twice = out.windows(2).filter(|pair| pair[0].1 == pair[1].1).count();
    assert_eq!(twice as u64, copies);
}

#[test]
fn a_copy_finds_no_room_in_a_full_queue() {
    let config = LinkConfig {
        rate_bits_per_sec: megabits(12),
        duplicate: Ratio::ONE,
        queue_bytes: Some(3 * u64::from(MTU)),
        ..Default::default()
    };
    let mut link = Link::new(config, 5);
    assert_eq!(link.push(Instant::ZERO, 0, MTU), Verdict::Queued);
    assert_eq!(link.push(Instant::ZERO, 1, MTU), Verdict::Queued);
    assert_eq!((link.len(), link.stats().duplicated), (3, 1));
}

#[test]
fn damage_flips_bits_all_over_the_packet_and_pop_passes_over_the_damaged() {
    let config = LinkConfig { corrupt: Ratio::from_percent(10), ..Default::default() };
    let mut link = Link::new(config, 5);
    let mut other = link.clone();
    let mut bits = Vec::new();
    for i in 0..10_000u64 {
        link.push(Instant::ZERO, i, 100);
        other.push(Instant::ZERO, i, 100);
        bits.extend(link.pop_arrival(Instant::ZERO).expect("it arrives").flipped_bit);
    }
    assert!((900..1_100).contains(&bits.len()), "{}", bits.len());
    assert!(bits.iter().all(|bit| *bit < 800));
    assert!(bits.iter().any(|bit| *bit < 40) && bits.iter().any(|bit| *bit >= 760));
    let unharmed = core::iter::from_fn(|| other.pop(Instant::ZERO)).count();
    assert_eq!(unharmed, 10_000 - bits.len());
    assert_eq!(other.stats().corrupted, bits.len() as u64);
}

#[test]
fn a_new_feature_does_not_shift_the_chances_of_the_others() {
    let plain =
        LinkConfig { loss: Ratio::from_percent(20), jitter: Duration::from_millis(5), ..Default::default() };
    let more = LinkConfig { duplicate: Ratio::from_percent(30), corrupt: Ratio::from_percent(30), ..plain };
    let run = |config| {
        let mut link = Link::new(config, 11);
        let mut queued = |i| link.push(micros(i * 10_000), i, MTU) == Verdict::Queued;
        let kept: Vec<u64> = (0..500u64).filter(|i| queued(*i)).collect();
        kept
    };
    assert_eq!(run(plain), run(more));
}

#[test]
fn bursts_of_loss_take_neighbours_and_are_counted_as_loss() {
    let model = crate::GilbertElliott::bursts(Ratio::from_percent(1), Ratio::from_percent(25));
    let mut link = Link::new(LinkConfig { burst_loss: Some(model), ..Default::default() }, 2);
    let lost: Vec<bool> =
        (0..50_000).map(|i| link.push(Instant::ZERO, i, MTU) == Verdict::Dropped(DropReason::Loss)).collect();
    let count = lost.iter().filter(|lost| **lost).count();
    assert_eq!(link.stats().lost, count as u64);
    assert!((count as f64 / 50_000.0 - 1.0 / 26.0).abs() < 0.006, "{count}");
    let after_loss = lost.windows(2).filter(|pair| pair[0] && pair[1]).count();
    assert!((after_loss as f64 / count as f64 - 0.75).abs() < 0.04, "{after_loss} of {count}");
}

/// A sender that adds one segment per round trip and halves at a drop, on a link with a deep queue.
/// Returns the time in the queue, in milliseconds, averaged over the last five of `secs` seconds.
fn standing_queue_millis(discipline: QueueDiscipline, secs: u64) -> f64 {
    let config = LinkConfig {
        rate_bits_per_sec: megabits(12),
        delay: Duration::from_millis(20),
        discipline,
        queue_bytes: Some(3_000_000),
        ..Default::default()
    };
    let mut link = Link::new(config, 1);
    let (mut window, mut in_flight, mut dropped) = (10.0f64, 0u64, 0u64);
    let (mut samples, mut sum) = (0u64, 0.0);
    let mut now = Instant::ZERO;
    let end = Instant::from_millis(secs * 1_000);
    let mut halved_at = Instant::ZERO;
    while now < end {
        while (in_flight as f64) < window {
            link.push(now, now, MTU);
            in_flight += 1;
        }
        now = link.next_deadline().expect("there is always something in flight");
        while let Some(sent) = link.pop(now) {
            in_flight -= 1;
            window += 1.0 / window;
            if now + Duration::from_secs(5) >= end {
                samples += 1;
                sum += (now - sent - Duration::from_millis(21)).as_secs_f64() * 1e3;
            }
        }
        let new = link.stats().codel_drops - dropped;
        dropped += new;
        in_flight -= new;
        if new > 0 && now.since(halved_at) > Duration::from_millis(40) {
            (window, halved_at) = ((window / 2.0).max(2.0), now);
        }
    }
    sum / samples as f64
}

#[test]
fn codel_brings_the_time_in_the_queue_down_to_its_target() {
    let tail = standing_queue_millis(QueueDiscipline::TailDrop, 30);
    let codel = standing_queue_millis(QueueDiscipline::Codel(CodelConfig::default()), 30);
    assert!(tail > 100.0, "the queue stands: {tail} ms");
    assert!(codel < 7.0, "about the target of 5 ms: {codel} ms");
}

#[test]
fn codel_leaves_a_burst_alone() {
    let config = LinkConfig {
        rate_bits_per_sec: megabits(12),
        discipline: QueueDiscipline::Codel(CodelConfig::default()),
        ..Default::default()
    };
    let mut link = Link::new(config, 1);
    for i in 0..60 {
        link.push(Instant::ZERO, i, MTU);
    }
    assert_eq!(packets_out(&mut link).len(), 60, "60 ms of queue, but not for an interval");
    assert_eq!(link.stats().codel_drops, 0);
}
