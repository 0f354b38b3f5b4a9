use super::super::test_support::{MSS, ack, initial};
use super::super::window::CWND_MAX;
use super::*;

const UNITS_PER_SEC: f64 = (1 << 20) as f64;

/// A controller that has just left recovery, with a window of `segments` before the loss.
fn after_loss(segments: u32) -> Cubic {
    let mut cubic = Cubic::new(initial());
    cubic.set_cwnd(segments * MSS);
    cubic.on_loss(Instant::ZERO, segments * MSS);
    cubic.on_recovery_exit(Instant::ZERO);
    cubic
}

/// Acknowledges one window per 100 ms, ten times each, from `from_millis` until `to_millis`.
fn run(cubic: &mut Cubic, from_millis: u64, to_millis: u64) {
    for millis in (from_millis..to_millis).step_by(10) {
        cubic.on_ack(&ack(millis, cubic.cwnd() / 10, cubic.cwnd()));
    }
}

fn segments(cubic: &Cubic) -> f64 {
    f64::from(cubic.cwnd()) / f64::from(MSS)
}

#[test]
fn cube_roots_are_exact() {
    for root in [0_u128, 1, 2, 3, 99, 1 << 20, (1 << 31) + 7, (1 << 42) - 1] {
        let cube = root * root * root;
        assert_eq!(u128::from(cube_root(cube)), root);
        assert_eq!(u128::from(cube_root(cube + 1)), root.max(u128::from(cube == 0)));
        if cube > 1 {
            assert_eq!(u128::from(cube_root(cube - 1)), root - 1);
        }
    }
}

#[test]
fn k_is_the_cube_root_of_the_distance_over_c() {
    // By hand: 100 segments, reduced to 70: cube root of 30 / 0.4 is 4.2172 s. And 1000 to 700: 9.0856 s.
    for (w_max, cwnd, seconds) in
        [(100, 70, 4.217_163), (1_000, 700, 9.085_603), (500_000, 350_000, 72.112_479)]
    {
        let epoch = Epoch::new(cwnd * MSS, w_max * MSS, MSS);
        let k = epoch.k as f64 / UNITS_PER_SEC;
        assert!((k - seconds).abs() < 2e-6, "{k} for {w_max}");
    }
    assert_eq!(Epoch::new(80 * MSS, 70 * MSS, MSS).k, 0);
}

#[test]
fn the_window_follows_the_cubic_curve() {
    // A thousand segments at 100 ms: far from the Reno-friendly region.
    let mut cubic = after_loss(1_000);
    assert_eq!(cubic.cwnd(), 700 * MSS);
    let mut from = 0;
    for millis in [1_000, 3_000, 6_000, 9_000, 12_000, 15_000] {
        run(&mut cubic, from, millis);
        from = millis;
        let t = millis as f64 / 1e3;
        let expected = 0.4 * (t - 9.0856_f64).powi(3) + 1_000.0;
        let got = segments(&cubic);
        assert!((got - expected).abs() < 0.02 * expected, "{got} for {expected} at {millis} ms");
    }
}

#[test]
fn the_curve_itself_matches_the_formula_to_a_hundredth_of_a_segment() {
    let epoch = Epoch::new(700 * MSS, 1_000 * MSS, MSS);
    for millis in (0..30_000).step_by(137) {
        let t = millis as f64 / 1e3;
        let expected = (0.4 * (t - 9.085_603_f64).powi(3) + 1_000.0) * f64::from(MSS);
        let got = f64::from(epoch.w_cubic(Duration::from_millis(millis), MSS));
        assert!((got - expected).abs() < 10.0 + expected * 2e-5, "{got} for {expected} at {millis} ms");
    }
}

#[test]
fn with_a_small_window_it_grows_no_slower_than_reno() {
    // Ten segments at 100 ms: 0.4 t^3 gives less in 2 s than 9/17 of a segment per round trip.
    let mut cubic = after_loss(20);
    assert_eq!(cubic.cwnd(), 14 * MSS);
    run(&mut cubic, 0, 1_100);
    // Eleven rounds of 9/17 of a segment, in whole segments of W_est.
    assert_eq!(cubic.cwnd(), 19 * MSS);
}

#[test]
fn a_loss_takes_three_tenths_and_a_second_one_below_the_first_releases_more() {
    let mut cubic = after_loss(100);
    assert_eq!((cubic.cwnd(), cubic.ssthresh(), cubic.curve.w_max), (70 * MSS, 70 * MSS, 100 * MSS));
    cubic.on_loss(Instant::ZERO, 0);
    assert_eq!((cubic.ssthresh(), cubic.curve.w_max), (49 * MSS, 59_500));
    let mut tiny = after_loss(2);
    tiny.on_loss(Instant::ZERO, 0);
    assert_eq!(tiny.ssthresh(), 2 * MSS);
}

#[test]
fn an_undone_loss_leaves_window_and_curve_as_they_would_have_been() {
    let mut spurious = after_loss(1_000);
    run(&mut spurious, 0, 5_000);
    let mut untouched = after_loss(1_000);
    run(&mut untouched, 0, 5_000);

    spurious.on_loss(Instant::from_millis(5_000), spurious.cwnd());
    spurious.set_cwnd(300 * MSS);
    spurious.undo(Instant::from_millis(5_000));
    assert_eq!((spurious.cwnd(), spurious.ssthresh()), (untouched.cwnd(), untouched.ssthresh()));
    run(&mut spurious, 5_000, 9_000);
    run(&mut untouched, 5_000, 9_000);
    assert_eq!(spurious.cwnd(), untouched.cwnd());
}

#[test]
fn after_a_timeout_slow_start_leads_to_a_convex_curve() {
    let mut cubic = after_loss(1_000);
    run(&mut cubic, 0, 5_000);
    let before = cubic.cwnd();
    cubic.on_rto(Instant::from_millis(5_000), before, true);
    let threshold = cubic.ssthresh();
    assert_eq!(cubic.cwnd(), MSS);
    assert!(threshold < before * 71 / 100 && threshold > before * 69 / 100);
    cubic.on_rto(Instant::from_millis(5_500), MSS, false);
    assert_eq!(cubic.ssthresh(), threshold);
    while cubic.in_slow_start() {
        cubic.on_ack(&ack(6_000, cubic.cwnd(), cubic.cwnd()));
    }
    cubic.on_ack(&ack(6_000, MSS, cubic.cwnd()));
    let epoch = cubic.curve.epoch.as_ref().expect("in congestion avoidance");
    assert_eq!((epoch.k, epoch.origin), (0, threshold));
}

#[test]
fn idle_time_is_not_time_to_grow() {
    let mut cubic = after_loss(1_000);
    run(&mut cubic, 0, 5_000);
    let mut rested = after_loss(1_000);
    run(&mut rested, 0, 5_000);
    // Idle for less than an RTO, ten times, and an application that sends little for a minute.
    let mut now = 5_000;
    for _ in 0..10 {
        now += 190;
        rested.on_idle(Instant::from_millis(now), Duration::from_millis(190), Duration::from_millis(200));
    }
    for _ in 0..600 {
        now += 100;
        rested.on_ack(&AckSample { cwnd_limited: false, ..ack(now, MSS, MSS) });
    }
    assert_eq!(rested.cwnd(), cubic.cwnd());
    run(&mut cubic, 5_000, 6_000);
    run(&mut rested, now, now + 1_000);
    let (busy, rested) = (segments(&cubic), segments(&rested));
    assert!((busy - rested).abs() < 1.0, "{busy} {rested}");
}

#[test]
fn the_initial_slow_start_ends_without_a_loss_when_a_queue_builds_up() {
    // 100 segments fill the path of 100 ms; what is above them waits in a queue.
    let mut cubic = Cubic::new(initial());
    let mut millis = 0;
    for _round in 0..60 {
        let cwnd = cubic.cwnd() / MSS;
        let queue = cwnd.saturating_sub(100);
        let rtt = Some(Duration::from_millis(100 + u64::from(queue)));
        for _ in 0..cwnd {
            cubic.on_ack(&AckSample { rtt, srtt: rtt, ..ack(millis, MSS, cubic.cwnd()) });
        }
        millis += 100 + u64::from(queue);
    }
    // Noticed at 160, by then at 320 at most, and then five rounds of a quarter more each.
    assert!(cubic.ssthresh() < 1_000 * MSS, "{}", cubic.ssthresh());
    assert!(cubic.ssthresh() >= 100 * MSS, "{}", cubic.ssthresh());
    assert!(!cubic.in_slow_start());
}

#[test]
fn no_window_no_ack_and_no_time_overflows() {
    for mss in [1, MSS, u32::MAX] {
        let mut cubic = Cubic::new(Initial { mss, initial_window_segments: u32::MAX, ..Initial::default() });
        for step in 0..200_u32 {
            let now = if step % 3 == 0 { Instant::FAR_FUTURE } else { Instant::ZERO };
            cubic.set_cwnd(if step % 2 == 0 { u32::MAX } else { 0 });
            let srtt = Some(Duration::MAX);
            cubic.on_ack(&AckSample { now, srtt, rtt: srtt, ..ack(0, u32::MAX, u32::MAX) });
            cubic.on_ack(&AckSample { now, ..ack(0, u32::MAX, 0) });
            assert!(cubic.cwnd() <= CWND_MAX && cubic.cwnd() >= 1);
            match step % 5 {
                0 => cubic.on_loss(now, u32::MAX),
                1 => cubic.on_rto(now, u32::MAX, step % 2 == 0),
                2 => cubic.undo(now),
                3 => cubic.on_idle(now, Duration::MAX, Duration::ZERO),
                _ => cubic.on_recovery_exit(now),
            }
        }
    }
}

#[test]
fn a_gigabyte_window_still_follows_the_curve() {
    let mut cubic = after_loss(1_000_000);
    assert_eq!(cubic.cwnd(), 700_000 * MSS);
    run(&mut cubic, 0, 30_000);
    let expected = 0.4 * (30.0_f64 - 90.856).powi(3) + 1e6;
    let got = segments(&cubic);
    assert!((got - expected).abs() < 0.01 * expected, "{got} for {expected}");
}
