use alloc::vec::Vec;

use super::*;
use bytes::Bytes;

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

const SIZE: u32 = 1000;
const MIN_RTT: Option<Duration> = Some(Duration::from_millis(10));

/// Sends one segment; `index` counts them.
fn send(rate: &mut DeliveryRate, at: u64, in_flight: u32, index: u32) -> Sent<()> {
    let at_send = rate.on_send(ms(at), in_flight, SIZE);
    Sent::new(SeqNum(index * SIZE), Bytes::from_static(&[0; SIZE as usize]), (), ms(at), at_send)
}

fn ack(rate: &mut DeliveryRate, at: u64, sent: &[&Sent<()>]) -> RateSample {
    let mut newest = None;
    for sent in sent {
        rate.on_delivered(ms(at), sent.len);
        newest = Some(Newest::later(newest, *sent));
    }
    rate.sample(&newest.expect("something is acknowledged"), MIN_RTT)
}

#[test]
fn a_steady_flight_gives_the_rate_of_the_path() {
    let mut rate = DeliveryRate::new(ms(0));
    // One segment each 10 ms, acknowledged 20 ms later: 100 kB/s.
    let mut sent = Vec::new();
    for i in 0..6 {
        let at = 10 * u64::from(i);
        if i >= 2 {
            let sample = ack(&mut rate, at, &[&sent[i as usize - 2]]);
            match i {
                2 | 3 => assert_eq!(sample.delivered, u64::from(i - 1) * 1000, "the first flight"),
                _ => assert_eq!((sample.rate, sample.delivered), (100_000, 2000)),
            }
        }
        sent.push(send(&mut rate, at, i.min(1) * SIZE, i));
    }
    assert_eq!(sent[5].at_send.tx_in_flight(), 2 * SIZE);
    let stretched = ack(&mut rate, 70, &[&sent[4], &sent[5]]);
    assert_eq!((stretched.delivered, stretched.prior_delivered), (2000, 4000));
    assert_eq!(stretched.rate, 100_000);
}

#[test]
fn compressed_acknowledgements_do_not_exceed_the_rate_of_sending() {
    let mut rate = DeliveryRate::new(ms(0));
    let first = send(&mut rate, 0, 0, 0);
    ack(&mut rate, 20, &[&first]);
    // Sent over 60 ms; the acknowledgement of the first comes late and those of the others within 12 ms of it.
    let sent: Vec<_> = (1..5).map(|i| send(&mut rate, 20 * u64::from(i), (i - 1) * SIZE, i)).collect();
    ack(&mut rate, 90, &[&sent[0]]);
    let more = send(&mut rate, 90, 3 * SIZE, 5);
    ack(&mut rate, 101, &[&sent[1], &sent[2], &sent[3]]);
    let sample = ack(&mut rate, 102, &[&more]);
    // Four segments in 12 ms of acknowledgements, but in 70 ms of sending.
    assert_eq!((sample.delivered, sample.rate), (4000, 4000 * 1000 / 70));
}

#[test]
fn an_interval_shorter_than_any_round_trip_tells_nothing() {
    let mut rate = DeliveryRate::new(ms(0));
    let first = send(&mut rate, 0, 0, 0);
    ack(&mut rate, 20, &[&first]);
    assert_eq!(rate.latest(), 50_000);
    let again = send(&mut rate, 25, 0, 1);
    let sample = ack(&mut rate, 30, &[&again]);
    assert_eq!((sample.rate, sample.delivered), (0, 1000));
    assert_eq!(rate.latest(), 50_000);
}

#[test]
fn what_is_sent_after_running_dry_is_marked_until_it_is_delivered() {
    let mut rate = DeliveryRate::new(ms(0));
    let full = send(&mut rate, 0, 0, 0);
    assert!(!full.at_send.is_app_limited());
    rate.on_starved(ms(1), ms(0));
    rate.before_ack(ms(2), SIZE);
    rate.on_new_data(ms(5), SIZE);
    let scarce = send(&mut rate, 5, SIZE, 1);
    assert!(scarce.at_send.is_app_limited());
    assert!(!ack(&mut rate, 20, &[&full]).app_limited);
    // Still within the bubble: two segments were on the way when it was noticed.
    let also = send(&mut rate, 21, SIZE, 2);
    assert!(also.at_send.is_app_limited());
    assert!(ack(&mut rate, 25, &[&scarce]).app_limited);
    // The bubble is delivered; the sample of a segment that left within it is the last that is marked.
    assert!(ack(&mut rate, 41, &[&also]).app_limited);
    let free = send(&mut rate, 42, 0, 3);
    assert!(!free.at_send.is_app_limited());
}

#[test]
fn running_dry_and_being_given_data_in_the_same_moment_is_no_limit() {
    let mut rate = DeliveryRate::new(ms(0));
    rate.on_starved(ms(7), ms(0));
    rate.on_new_data(ms(7), 0);
    assert!(!send(&mut rate, 7, 0, 0).at_send.is_app_limited());
    rate.before_ack(ms(8), SIZE);
    assert!(!send(&mut rate, 8, SIZE, 1).at_send.is_app_limited());
}

#[test]
fn losses_are_counted_from_the_sending_on() {
    let mut rate = DeliveryRate::new(ms(0));
    rate.on_lost(5000);
    let sent = send(&mut rate, 0, 0, 0);
    rate.on_lost(700);
    assert_eq!(rate.lost_since(&sent.at_send), 700);
    assert_eq!(ack(&mut rate, 20, &[&sent]).lost, 700);
}

#[test]
fn only_what_was_sent_once_measures_a_round_trip() {
    let mut rate = DeliveryRate::new(ms(0));
    let mut sent = send(&mut rate, 0, 0, 0);
    assert_eq!(Newest::later(None, &sent).rtt(ms(20)), Some(Duration::from_millis(20)));
    sent.transmissions = 2;
    assert_eq!(Newest::later(None, &sent).rtt(ms(20)), None);
}

#[test]
fn data_that_waits_for_pacing_is_no_lack_of_data() {
    let mut rate = DeliveryRate::new(ms(0));
    rate.on_starved(ms(1), ms(4));
    rate.on_owner_waits();
    rate.on_new_data(ms(6), 0);
    assert!(!send(&mut rate, 6, 0, 0).at_send.is_app_limited());
    // Without data the time counts from when pacing would have let it go.
    rate.on_starved(ms(6), ms(9));
    rate.before_ack(ms(9), SIZE);
    assert!(!send(&mut rate, 9, SIZE, 1).at_send.is_app_limited());
    rate.on_new_data(ms(10), SIZE);
    assert!(send(&mut rate, 10, SIZE, 2).at_send.is_app_limited());
    // And an owner whose flow is free, but who gives it nothing, limits it.
    let mut rate = DeliveryRate::new(ms(0));
    rate.on_starved(ms(1), ms(0));
    rate.on_owner_waits();
    rate.on_new_data(ms(2), 0);
    assert!(send(&mut rate, 2, 0, 0).at_send.is_app_limited());
}
