use super::super::balia::Balia;
use super::super::lia::{Lia, LinkedIncreases};
use super::super::olia::Olia;
use super::super::reno::Reno;
use super::super::test_support::{MSS, ack, initial};
use super::*;
use crate::rng::Prng;

fn sibling(cwnd: u32, rtt_ms: u64) -> Sibling {
    Sibling { cwnd, srtt: Duration::from_millis(rtt_ms), loss_interval_bytes: 0 }
}

/// Puts a controller into congestion avoidance with a window of `segments`.
fn in_avoidance<C: CongestionControl>(mut cc: C, segments: u32) -> C {
    cc.set_cwnd(2 * segments * MSS);
    cc.on_loss(Instant::ZERO, 2 * segments * MSS);
    cc.on_recovery_exit(Instant::ZERO);
    assert_eq!(cc.cwnd(), segments * MSS);
    cc
}

#[test]
fn without_siblings_each_is_new_reno() {
    fn compare<C: CongestionControl>(cc: C) {
        let mut cc = in_avoidance(cc, 20);
        let mut reno = in_avoidance(Reno::new(initial()), 20);
        let mut rng = Prng::new(1);
        for step in 0..20_000 {
            let acked = 1 + rng.below(u64::from(4 * MSS)) as u32;
            cc.on_ack(&ack(step, acked, cc.cwnd()));
            reno.on_ack(&ack(step, acked, reno.cwnd()));
            if rng.ratio(1, 1500) {
                cc.on_loss(Instant::ZERO, cc.cwnd());
                reno.on_loss(Instant::ZERO, reno.cwnd());
                cc.on_recovery_exit(Instant::ZERO);
                reno.on_recovery_exit(Instant::ZERO);
            }
            // What is left of a step is kept in other units: one segment may come an acknowledgement earlier.
            assert!(cc.cwnd().abs_diff(reno.cwnd()) <= 2 * MSS, "step {step}: {} {}", cc.cwnd(), reno.cwnd());
        }
    }
    compare(Lia::new(initial()));
    compare(Olia::new(initial()));
    compare(Balia::new(initial()));
}

#[test]
fn two_equal_subflows_grow_together_as_one_flow_of_both_windows() {
    // alpha = 40,000 * (20,000 / 0.1^2) / (2 * 20,000 / 0.1)^2 = 1/2; growth per round 1/2 * MSS * 20 / 40.
    let siblings = [sibling(20 * MSS, 100)];
    let mut lia = in_avoidance(Lia::new(initial()), 20);
    // One more, for what division cuts off.
    for _ in 0..4 * 20 + 1 {
        lia.on_ack(&AckSample { siblings: &siblings, ..ack(0, MSS, lia.cwnd()) });
    }
    assert_eq!(lia.cwnd(), 21 * MSS, "a segment in four rounds");
}

#[test]
fn alpha_follows_the_path_with_the_best_window_for_its_round_trip() {
    // cwnd 10 at 100 ms and 10 at 50 ms: alpha = 20 * (10 / 0.05^2) / (10/0.1 + 10/0.05)^2 = 8/9, so the growth is
    // alpha / cwnd_total = 8/9 / 20,000 bytes.
    let own = Path::from(&sibling(10_000, 100));
    let share = LinkedIncreases.growth(&own, &[sibling(10_000, 50)], MSS);
    let expected = (SHARE_ONE * 8 / 9 / 20_000) as Share;
    assert!(share.abs_diff(expected) < 1000, "{share} {expected}");
}

#[test]
fn lia_never_grows_faster_than_new_reno() {
    let mut rng = Prng::new(2);
    let mut capped = 0;
    for _ in 0..10_000 {
        let mut random = || sibling(1 + rng.below(1 << 24) as u32, 1 + rng.below(500));
        let (own, siblings) = (random(), [random(), random(), random()]);
        let share = LinkedIncreases.growth(&Path::from(&own), &siblings, MSS);
        let alone = SHARE_ONE.div_ceil(own.cwnd.into()) as Share;
        assert!((0..=alone).contains(&share), "{own:?} {siblings:?}");
        capped += u32::from(share == alone);
    }
    assert!((1..9_999).contains(&capped), "{capped} times it was the limit");
}

#[test]
fn slow_start_is_not_coupled() {
    let siblings = [sibling(1 << 20, 1)];
    let mut lia = Lia::new(initial());
    for _ in 0..10 {
        lia.on_ack(&AckSample { siblings: &siblings, ..ack(0, MSS, lia.cwnd()) });
    }
    assert_eq!(lia.cwnd(), 20 * MSS);
}

#[test]
fn a_path_with_the_largest_window_shrinks_for_a_better_one() {
    // 3 * 10^5 / (5 * 10^4)^2 - 1/2 / 3000 = -1/21,429: a segment in 22 acknowledgements of one.
    let better = Sibling { loss_interval_bytes: 1 << 40, ..sibling(2 * MSS, 100) };
    let mut olia = in_avoidance(Olia::new(initial()), 3);
    let mut windows = [0; 23];
    for window in &mut windows {
        let in_flight = olia.cwnd();
        olia.on_ack(&AckSample { siblings: &[better], ..ack(0, MSS, in_flight) });
        *window = olia.cwnd();
    }
    assert_eq!((windows[20], windows[21]), (3 * MSS, 2 * MSS), "{windows:?}");
}

#[test]
fn a_spurious_loss_is_undone_with_what_the_rule_knew() {
    let mut olia = in_avoidance(Olia::new(initial()), 20);
    olia.on_ack(&ack(0, 5 * MSS, olia.cwnd()));
    let before = (olia.cwnd(), olia.ssthresh(), olia.loss_interval_bytes());
    olia.on_loss(Instant::ZERO, olia.cwnd());
    olia.on_rto(Instant::ZERO, olia.cwnd(), false);
    olia.undo(Instant::ZERO);
    assert_eq!((olia.cwnd(), olia.ssthresh(), olia.loss_interval_bytes()), before);
}

#[test]
fn no_quantity_overflows() {
    let extremes = [0, 1, MSS, u32::MAX];
    for cwnd in extremes {
        for srtt in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let siblings = [Sibling { cwnd, srtt, loss_interval_bytes: u64::MAX }; 32];
            for own in extremes {
                let sample =
                    AckSample { siblings: &siblings, srtt: Some(srtt), ..ack(0, u32::MAX, u32::MAX) };
                let mut all: [alloc::boxed::Box<dyn CongestionControl>; 3] = [
                    alloc::boxed::Box::new(Lia::new(initial())),
                    alloc::boxed::Box::new(Olia::new(initial())),
                    alloc::boxed::Box::new(Balia::new(initial())),
                ];
                for cc in &mut all {
                    cc.on_loss(Instant::ZERO, 0);
                    cc.set_cwnd(own);
                    cc.on_ack(&sample);
                    cc.on_loss(Instant::ZERO, 0);
                    assert!(cc.cwnd() >= MSS && cc.ssthresh() >= 2 * MSS);
                }
            }
        }
    }
}
