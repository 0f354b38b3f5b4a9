//! The machine, driven by samples of an imagined path: one acknowledgement a round, unless a test says otherwise.

use alloc::vec::Vec;

use super::super::super::recovery::scoreboard::AtSend;
use super::super::test_support::{MSS, initial};
use super::*;

const RTT: Duration = Duration::from_millis(100);
/// 1 MB/s: 100,000 bytes in a round trip.
const RATE: u64 = 1_000_000;
const BDP: u32 = 100_000;
/// Twice that, and a round trip's worth that is acknowledged at once here (extra_acked).
const FULL_CWND: u32 = 3 * BDP;

struct Path {
    bbr: Bbr,
    now: Instant,
    delivered: u64,
}

/// What a round shows; the default is that of a full pipe without a queue.
struct Round {
    rate: u64,
    in_flight: u32,
    tx_in_flight: u32,
    lost: u32,
    rtt: Duration,
    cwnd_limited: bool,
    app_limited: bool,
    in_recovery: bool,
}

impl Default for Round {
    fn default() -> Self {
        Self {
            rate: RATE,
            in_flight: BDP,
            tx_in_flight: BDP,
            lost: 0,
            rtt: RTT,
            cwnd_limited: false,
            app_limited: false,
            in_recovery: false,
        }
    }
}

impl Path {
    fn new() -> Self {
        let initial = Initial { srtt: Some(RTT), sack: true, seed: 1, ..initial() };
        Self { bbr: Bbr::new(initial), now: Instant::ZERO, delivered: 0 }
    }

    /// Past Startup and Drain, in the first Down or Cruise of ProbeBW.
    fn in_probe_bw() -> Self {
        let mut path = Self::new();
        for _ in 0..4 {
            path.round(Round::default());
        }
        path.round(Round { in_flight: BDP / 2, ..Round::default() });
        assert!(path.bbr.state.is_probe_bw(), "{:?}", path.bbr.state);
        path
    }

    /// The same, until `state`.
    fn until(state: State) -> Self {
        let mut path = Self::in_probe_bw();
        path.run_until(state);
        path
    }

    /// Rounds with a full pipe, as far as the window lets it be.
    fn run_until(&mut self, state: State) {
        let mut rounds = 0;
        while self.bbr.state != state {
            self.round(Round { in_flight: BDP.min(self.bbr.cwnd()), ..Round::default() });
            rounds += 1;
            assert!(rounds < 100, "{:?}", self.bbr.state);
        }
    }

    /// A round trip goes by and is acknowledged at once.
    fn round(&mut self, round: Round) {
        self.now += round.rtt;
        let bytes = volume(round.rate, round.rtt);
        let prior_delivered = self.delivered;
        self.delivered += bytes;
        self.bbr.on_ack(&AckSample {
            now: self.now,
            acked_bytes: bytes as u32,
            rtt: Some(round.rtt),
            min_rtt: Some(RTT),
            srtt: Some(RTT),
            in_flight: round.in_flight + bytes as u32,
            in_flight_after: round.in_flight,
            cwnd_limited: round.cwnd_limited,
            in_recovery: round.in_recovery,
            delivered: self.delivered,
            rate: Some(RateSample {
                rate: round.rate,
                delivered: bytes,
                prior_delivered,
                tx_in_flight: round.tx_in_flight,
                lost: round.lost,
                app_limited: round.app_limited,
            }),
            mss: MSS,
            ecn_echo: false,
            siblings: &[],
        });
    }

    /// One segment is found lost that was sent with so much in flight, `lost` bytes with it since then.
    fn lose(&mut self, seq: u32, tx_in_flight: u32, lost: u32) {
        let at_send = AtSend::new(self.delivered, self.now, self.now, 0, tx_in_flight, false);
        self.bbr.on_segment_lost(&LostSegment {
            now: self.now,
            seq: SeqNum(seq),
            bytes: MSS,
            at_send,
            lost,
            delivered: self.delivered,
        });
    }
}

#[test]
fn the_first_rate_is_that_of_the_initial_window() {
    let path = Path::new();
    // 10,000 bytes in 0.1 s, times 2.77.
    assert_eq!(path.bbr.pacing_rate(), Some(277_000));
    assert_eq!((path.bbr.cwnd(), path.bbr.ssthresh()), (10 * MSS, u32::MAX));
    let unmeasured = Bbr::new(Initial { srtt: None, ..initial() });
    assert_eq!(unmeasured.pacing_rate(), None);
}

#[test]
fn startup_doubles_until_three_rounds_bring_no_quarter_more() {
    let mut path = Path::new();
    for rate in [100_000, 200_000, 400_000, 800_000] {
        path.round(Round { rate, ..Round::default() });
        assert_eq!(path.bbr.state, State::Startup);
        assert_eq!(path.bbr.pacing_rate(), Some((rate * 277 * 99 / 10_000).max(277_000)));
    }
    // 25 % more is growth, less is none.
    path.round(Round { rate: 1_000_000, ..Round::default() });
    for rate in [1_240_000, 1_249_999] {
        path.round(Round { rate, ..Round::default() });
        assert_eq!((path.bbr.state, path.bbr.full_bw.reached), (State::Startup, false));
    }
    path.round(Round { rate: 1_200_000, in_flight: 400_000, ..Round::default() });
    assert_eq!((path.bbr.state, path.bbr.full_bw.reached), (State::Drain, true));
    assert_eq!(path.bbr.max_bw.max(), 1_249_999);
    assert_eq!(path.bbr.pacing_rate(), Some(618_749), "half of it, less the margin");
}

#[test]
fn rounds_without_enough_to_send_do_not_end_startup() {
    let mut path = Path::new();
    for _ in 0..20 {
        path.round(Round { rate: 50_000, app_limited: true, ..Round::default() });
    }
    assert_eq!(path.bbr.state, State::Startup);
    assert_eq!(path.bbr.pacing_rate(), Some(277_000), "and do not slow it down");
}

#[test]
fn drain_ends_with_the_queue_or_after_three_rounds() {
    let mut path = Path::new();
    for _ in 0..4 {
        path.round(Round { in_flight: 2 * BDP, ..Round::default() });
    }
    assert_eq!(path.bbr.state, State::Drain);
    for _ in 0..3 {
        path.round(Round { in_flight: 2 * BDP, ..Round::default() });
        assert_eq!(path.bbr.state, State::Drain);
    }
    path.round(Round { in_flight: 2 * BDP, ..Round::default() });
    assert_eq!(path.bbr.state, State::Down);

    let mut path = Path::new();
    for _ in 0..4 {
        path.round(Round { in_flight: 2 * BDP, ..Round::default() });
    }
    path.round(Round { in_flight: BDP, ..Round::default() });
    assert_eq!(path.bbr.state, State::Cruise, "by way of Down, which has nothing to do either");
}

#[test]
fn losses_in_many_places_end_startup_at_what_was_delivered() {
    let mut path = Path::new();
    path.round(Round { rate: 500_000, ..Round::default() });
    path.bbr.on_loss(path.now, BDP);
    for i in 0..6 {
        path.lose(2 * i * MSS, BDP, (i + 1) * MSS);
    }
    path.round(Round { lost: 6 * MSS, in_recovery: true, in_flight: 3 * BDP, ..Round::default() });
    assert_eq!(path.bbr.state, State::Drain);
    assert_eq!(path.bbr.cycle.inflight_longterm, u64::from(BDP));

    // One burst of as many segments is a single event.
    let mut burst = Path::new();
    burst.round(Round { rate: 500_000, ..Round::default() });
    burst.bbr.on_loss(burst.now, BDP);
    for i in 0..6 {
        burst.lose(i * MSS, BDP, (i + 1) * MSS);
    }
    burst.round(Round { lost: 6 * MSS, in_recovery: true, ..Round::default() });
    assert_eq!(burst.bbr.state, State::Startup);

    path.bbr.undo(path.now);
    assert_eq!((path.bbr.state, path.bbr.full_bw.reached), (State::Startup, false));
    assert_eq!(path.bbr.cycle.inflight_longterm, INFINITE);
}

#[test]
fn the_cycle_cruises_refills_for_a_round_probes_and_slows_down() {
    let mut path = Path::until(State::Cruise);
    assert_eq!(path.bbr.pacing_rate(), Some(990_000));
    assert_eq!(path.bbr.cwnd(), FULL_CWND);
    let began = path.now;
    path.run_until(State::Refill);
    let waited = path.now.since(began);
    assert!(waited > Duration::from_millis(1_800) && waited < Duration::from_millis(3_200), "{waited:?}");
    assert_eq!(path.bbr.state, State::Refill);
    path.round(Round::default());
    assert_eq!(path.bbr.state, State::Up);
    assert_eq!(path.bbr.pacing_rate(), Some(1_237_500));
    for _ in 0..2 {
        path.round(Round::default());
        assert_eq!(path.bbr.state, State::Up);
    }
    path.round(Round::default());
    assert_eq!(path.bbr.state, State::Down, "three rounds without growth");
    assert_eq!(path.bbr.pacing_rate(), Some(891_000));
    path.round(Round { in_flight: BDP + 1, ..Round::default() });
    assert_eq!(path.bbr.state, State::Down);
    path.round(Round { in_flight: BDP, ..Round::default() });
    assert_eq!(path.bbr.state, State::Cruise);
}

#[test]
fn more_bandwidth_is_found_and_less_is_believed_after_a_cycle_without_it() {
    let mut path = Path::until(State::Up);
    for rate in [1_250_000, 1_600_000, 2_000_000, 2_500_000] {
        path.round(Round { rate, ..Round::default() });
        assert_eq!(path.bbr.state, State::Up, "{rate}");
    }
    assert_eq!(path.bbr.bw, 2_500_000);
    let mut downs = 0;
    let mut rounds = 0;
    while path.bbr.bw > RATE {
        let before = path.bbr.state;
        path.round(Round { in_flight: BDP.min(path.bbr.cwnd()), ..Round::default() });
        downs += u32::from(before == State::Up && path.bbr.state == State::Down);
        rounds += 1;
        assert!(rounds < 300);
    }
    assert_eq!(downs, 2, "the probe in which it was seen, and one without it");
}

#[test]
fn a_cycle_waits_for_as_many_rounds_as_reno_would_on_a_short_path() {
    let mut path = Path::until(State::Cruise);
    let rounds = path.bbr.target_inflight() / u64::from(MSS);
    assert_eq!(rounds, 100);
    path.bbr.cycle.rounds_since_probe_up = 62;
    assert!(!path.bbr.is_time_to_probe_bw(path.now));
    path.bbr.cycle.rounds_since_probe_up = 63;
    assert!(path.bbr.is_time_to_probe_bw(path.now));
}

#[test]
fn excess_loss_while_probing_bounds_what_may_be_in_flight() {
    let mut path = Path::until(State::Up);
    // 2 % of 150,000 are three segments; a fourth is too much.
    path.lose(0, 150_000, 3 * MSS);
    assert_eq!(path.bbr.state, State::Up);
    path.lose(2 * MSS, 150_000, 4 * MSS);
    assert_eq!(path.bbr.state, State::Down);
    // Before that segment 149,000 were in flight and 3,000 lost: past 2 % at once.
    assert_eq!(path.bbr.cycle.inflight_longterm, 149_000);
    assert_eq!(path.bbr.inflight_with_headroom(), 149_000 - 22_350);
    // Once for each probe.
    path.lose(4 * MSS, 100_000, 50 * MSS);
    assert_eq!(path.bbr.cycle.inflight_longterm, 149_000);
}

#[test]
fn the_probe_after_one_that_lost_only_touches_the_bound_and_the_next_goes_on() {
    let mut path = Path::until(State::Up);
    path.lose(0, 150_000, 4 * MSS);
    path.run_until(State::Up);
    path.round(Round { in_flight: 149_000, tx_in_flight: 140_000, ..Round::default() });
    assert_eq!(path.bbr.state, State::Down, "touched");
    path.round(Round { in_flight: 140_000, tx_in_flight: 149_000, ..Round::default() });
    assert_eq!(path.bbr.state, State::Refill, "without loss, so it probes again at once");
    path.round(Round::default());
    path.round(Round { in_flight: 149_000, tx_in_flight: 149_000, ..Round::default() });
    assert_eq!(path.bbr.state, State::Up);
}

#[test]
fn the_bound_rises_by_one_two_four_segments_a_round_while_it_holds_the_flow() {
    let mut path = Path::until(State::Refill);
    path.bbr.cycle.inflight_longterm = u64::from(BDP);
    path.bbr.cwnd = BDP;
    path.round(Round { cwnd_limited: true, ..Round::default() });
    let mut steps = [0; 4];
    for step in &mut steps {
        assert_eq!(path.bbr.state, State::Up);
        let before = path.bbr.cycle.inflight_longterm;
        // Marked so that the plateau, which is no matter here, does not end the probe.
        path.round(Round { cwnd_limited: true, app_limited: true, ..Round::default() });
        *step = (path.bbr.cycle.inflight_longterm - before) / u64::from(MSS);
        assert_eq!(u64::from(path.bbr.cwnd()), path.bbr.cycle.inflight_longterm);
    }
    // The window grows meanwhile, so that a round of 100,000 bytes falls a little short of it.
    assert_eq!(steps, [1, 2, 3, 9]);
}

#[test]
fn a_loss_while_cruising_bounds_by_what_was_delivered_and_by_seven_tenths_at_least() {
    let mut path = Path::until(State::Cruise);
    let mut round = |rate| {
        path.lose(0, BDP, MSS);
        path.round(Round { rate, lost: MSS, ..Round::default() });
        (path.bbr.short_term.bw, path.bbr.short_term.inflight, path.bbr.pacing_rate)
    };
    // Loss is noted first; the round that then begins ends with the next acknowledgement.
    let (bw, inflight, _) = round(980_000);
    assert_eq!((bw, inflight), (RATE, u64::from(FULL_CWND) * 7 / 10), "the round of full rate counts");
    let (bw, inflight, pacing_rate) = round(970_000);
    assert_eq!((bw, inflight), (980_000, 210_000 * 7 / 10));
    assert_eq!(pacing_rate, 980_000, "no margin below what was delivered");
    round(300_000);
    let (bw, inflight, _) = round(300_000);
    assert_eq!((bw, inflight), (970_000 * 7 / 10, 210_000 * 343 / 1000));
    // The next probe forgets it.
    path.run_until(State::Refill);
    assert_eq!((path.bbr.short_term.bw, path.bbr.bw), (INFINITE, RATE));
}

#[test]
fn a_round_paced_at_nine_tenths_does_not_bound_the_rate_by_them() {
    let mut path = Path::until(State::Down);
    path.lose(0, BDP, MSS);
    path.round(Round { rate: 891_000, lost: MSS, in_flight: 2 * BDP, ..Round::default() });
    assert_eq!(path.bbr.state, State::Down);
    path.lose(2 * MSS, BDP, MSS);
    path.round(Round { rate: 882_000, lost: MSS, in_flight: 2 * BDP, ..Round::default() });
    assert_eq!(path.bbr.short_term.bw, 891_000 * 111 / 100);
}

#[test]
fn after_five_seconds_without_a_shorter_round_trip_little_is_in_flight_for_200_ms() {
    let mut path = Path::until(State::Cruise);
    let slow = || Round { rtt: RTT + Duration::from_millis(5), ..Round::default() };
    let mut rounds = 0;
    while path.bbr.state != State::ProbeRtt {
        path.round(slow());
        rounds += 1;
        assert!(rounds < 60);
    }
    assert!(path.now > Instant::from_millis(5_000), "{:?}", path.now);
    assert_eq!(path.bbr.cwnd(), BDP / 2);
    assert_eq!(path.bbr.pacing_rate(), Some(990_000));
    // Not before the pipe has drained does the time count, and a round has to go by.
    path.round(Round { in_flight: BDP / 2 + 1, ..Round::default() });
    path.round(Round { rate: RATE / 2, in_flight: BDP / 2, ..Round::default() });
    let held = path.now;
    let mut probing = Vec::new();
    while path.bbr.state == State::ProbeRtt && probing.len() < 20 {
        path.round(Round { rate: RATE / 2, in_flight: BDP / 2, ..Round::default() });
        probing.push(path.bbr.max_bw.max());
    }
    assert_eq!(path.now.since(held), Duration::from_millis(300), "the first round beyond 200 ms");
    assert!(probing.iter().all(|bw| *bw == RATE));
    assert_eq!(path.bbr.state, State::Cruise);
    assert!(path.bbr.cwnd() > BDP, "{}", path.bbr.cwnd());
    assert_eq!(path.bbr.min_rtt.get(), RTT);
}

#[test]
fn a_longer_path_is_believed_after_ten_seconds() {
    let mut path = Path::until(State::Cruise);
    let longer = Duration::from_millis(150);
    while path.now < Instant::from_millis(9_000) {
        path.round(Round { rtt: longer, in_flight: BDP / 4, ..Round::default() });
        assert_eq!(path.bbr.min_rtt.get(), RTT);
    }
    while path.now < Instant::from_millis(12_000) {
        path.round(Round { rtt: longer, in_flight: BDP / 4, ..Round::default() });
    }
    assert_eq!(path.bbr.min_rtt.get(), longer);
}

#[test]
fn a_pause_stands_for_probe_rtt() {
    let mut path = Path::until(State::Cruise);
    path.now += Duration::from_secs(6);
    path.bbr.on_idle(path.now, Duration::from_secs(6), Duration::from_secs(1));
    assert_eq!(path.bbr.pacing_rate(), Some(990_000));
    path.round(Round { rtt: RTT + Duration::from_millis(1), ..Round::default() });
    assert_ne!(path.bbr.state, State::ProbeRtt);
}

#[test]
fn a_timeout_leaves_one_segment_and_the_end_of_recovery_brings_the_window_back() {
    let mut path = Path::until(State::Cruise);
    let before = path.bbr.cwnd();
    path.bbr.on_rto(path.now, BDP, true);
    assert_eq!(path.bbr.cwnd(), MSS);
    path.bbr.set_cwnd(77 * MSS);
    assert_eq!(path.bbr.cwnd(), MSS, "it is not steered");
    path.round(Round { rate: 10_000, in_recovery: true, ..Round::default() });
    assert_eq!(path.bbr.cwnd(), 4 * MSS);
    path.round(Round { rate: 100_000, ..Round::default() });
    assert!(path.bbr.cwnd() >= before, "{} {before}", path.bbr.cwnd());
}

#[test]
fn a_spurious_loss_gives_back_bounds_and_the_probe_that_it_ended() {
    let mut path = Path::until(State::Up);
    path.lose(0, 150_000, 4 * MSS);
    assert_eq!((path.bbr.state, path.bbr.cycle.inflight_longterm), (State::Down, 149_000));
    path.bbr.undo(path.now);
    assert_eq!((path.bbr.state, path.bbr.cycle.inflight_longterm), (State::Refill, INFINITE));

    let mut path = Path::until(State::Cruise);
    path.lose(0, BDP, MSS);
    path.round(Round { rate: 500_000, lost: MSS, ..Round::default() });
    assert!(path.bbr.short_term.inflight < u64::from(FULL_CWND));
    path.bbr.undo(path.now);
    assert_eq!((path.bbr.short_term.bw, path.bbr.short_term.inflight), (INFINITE, INFINITE));
    assert_eq!(path.bbr.state, State::Cruise);
}

#[test]
fn aggregation_widens_the_window() {
    let mut path = Path::until(State::Cruise);
    let before = path.bbr.cwnd();
    // A quarter more than the rate explains, at once.
    path.round(Round { rate: RATE * 5 / 4, app_limited: true, ..Round::default() });
    path.bbr.max_bw = MaxFilter::default();
    path.bbr.max_bw.update(RATE);
    path.round(Round::default());
    assert!(path.bbr.cwnd() > before + 20_000, "{} {before}", path.bbr.cwnd());
}

#[test]
fn tiny_paths_keep_four_segments_in_flight() {
    let mut path = Path::new();
    for _ in 0..8 {
        path.round(Round { rate: 1_000, in_flight: 0, tx_in_flight: 1000, ..Round::default() });
    }
    assert!(path.bbr.full_bw.reached);
    assert!(path.bbr.cwnd() >= 4 * MSS);
}

#[test]
fn a_seed_decides_when_the_next_probe_comes() {
    let wait = |seed| {
        let mut bbr = Bbr::new(Initial { seed, ..initial() });
        bbr.start_down(Instant::ZERO);
        (0..4000).find(|ms| bbr.is_time_to_probe_bw(Instant::from_millis(*ms))).expect("it comes")
    };
    assert_eq!(wait(3), wait(3));
    let waits: Vec<u64> = (0..20).map(wait).collect();
    assert!(waits.iter().any(|ms| *ms != waits[0]), "{waits:?}");
}

#[test]
fn no_quantity_overflows() {
    for extreme in [0, 1, u64::MAX] {
        let mut path = Path::new();
        let small = extreme as u32;
        for step in 0..200u64 {
            path.now += Duration::from_millis(70);
            path.lose(small, small, small);
            path.bbr.on_loss(path.now, small);
            path.bbr.on_ack(&AckSample {
                now: path.now,
                acked_bytes: small,
                rtt: Some(Duration::from_nanos(extreme)),
                min_rtt: None,
                srtt: None,
                in_flight: small,
                in_flight_after: small,
                cwnd_limited: step % 2 == 0,
                in_recovery: step % 3 == 0,
                delivered: extreme / 2 + step,
                rate: Some(RateSample {
                    rate: extreme,
                    delivered: extreme,
                    prior_delivered: extreme / 2 + step,
                    tx_in_flight: small,
                    lost: small,
                    app_limited: step % 5 == 0,
                }),
                mss: MSS,
                ecn_echo: false,
                siblings: &[],
            });
            assert!((MSS..=CWND_MAX).contains(&path.bbr.cwnd()));
            if step % 50 == 49 {
                path.bbr.undo(path.now);
                path.bbr.on_rto(path.now, small, true);
                path.bbr.on_idle(path.now, Duration::MAX, Duration::ZERO);
            }
        }
    }
}
