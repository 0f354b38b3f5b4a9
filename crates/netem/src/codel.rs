//! CoDel (RFC 8289): a queue that drops at its head once packets have waited too long for too long.

use core::time::Duration;

use polytcp_proto::time::Instant;

/// The two constants of CoDel (RFC 8289 §4.2, §4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodelConfig {
    /// Time in the queue that is acceptable when it stands. Default 5 ms.
    pub target: Duration,
    /// How long the time in the queue must stay above `target` before the first drop: about the
    /// longest round trip expected. Default 100 ms.
    pub interval: Duration,
}

impl Default for CodelConfig {
    fn default() -> Self {
        Self { target: Duration::from_millis(5), interval: Duration::from_millis(100) }
    }
}

/// What CoDel wants to know of the packet at the head of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) queued_at: Instant,
    /// Octets behind it.
    pub(crate) rest_bytes: u64,
}

/// A queue as CoDel sees it.
pub(crate) trait HeadDrop {
    /// The packet at the head, if any.
    fn head(&self) -> Option<Head>;
    /// Drops it.
    fn drop_head(&mut self);
}

/// The state of RFC 8289 §5.1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Codel {
    /// When the time in the queue will have been above the target for an interval.
    first_above_time: Option<Instant>,
    dropping: bool,
    drop_next: Instant,
    /// Drops since dropping began, and what that count was when it began last.
    count: u32,
    lastcount: u32,
    /// Octets of the largest packet seen: a queue no longer than that is not dropped from.
    maxpacket: u32,
}

impl Codel {
    pub(crate) fn saw(&mut self, size_bytes: u32) {
        self.maxpacket = self.maxpacket.max(size_bytes);
    }

    /// Drops packets from the head of `queue` until the one that may depart at `now` is there
    /// (RFC 8289 §5.4, §5.5).
    pub(crate) fn dequeue(&mut self, config: CodelConfig, now: Instant, queue: &mut impl HeadDrop) {
        let mut ok_to_drop = self.ok_to_drop(config, now, queue);
        if self.dropping {
            self.dropping = ok_to_drop;
            while self.dropping && now >= self.drop_next {
                queue.drop_head();
                self.count = self.count.saturating_add(1);
                ok_to_drop = self.ok_to_drop(config, now, queue);
                self.dropping = ok_to_drop;
                if ok_to_drop {
                    self.drop_next = control_law(self.drop_next, config.interval, self.count);
                }
            }
        } else if ok_to_drop {
            queue.drop_head();
            // Its verdict is of no interest: one packet is dropped when dropping begins.
            let _ = self.ok_to_drop(config, now, queue);
            self.dropping = true;
            // Soon after the last time, the rate of drops that controlled the queue then is resumed.
            let delta = self.count.saturating_sub(self.lastcount);
            let recent = now.since(self.drop_next) < config.interval.saturating_mul(16);
            self.count = if delta > 1 && recent { delta } else { 1 };
            self.drop_next = control_law(now, config.interval, self.count);
            self.lastcount = self.count;
        }
    }

    /// Whether the head has been above the target for an interval (RFC 8289 §5.6).
    fn ok_to_drop(&mut self, config: CodelConfig, now: Instant, queue: &impl HeadDrop) -> bool {
        let Some(head) = queue.head() else {
            self.first_above_time = None;
            return false;
        };
        if now.since(head.queued_at) < config.target || head.rest_bytes <= u64::from(self.maxpacket) {
            self.first_above_time = None;
            return false;
        }
        match self.first_above_time {
            None => {
                self.first_above_time = Some(now + config.interval);
                false
            }
            Some(at) => now >= at,
        }
    }
}

/// The next drop: an interval, divided by the root of the number of drops, after the last one.
fn control_law(after: Instant, interval: Duration, count: u32) -> Instant {
    let nanos = interval.as_nanos().min(u128::from(u64::MAX));
    let shortened = (nanos * nanos / u128::from(count.max(1))).isqrt();
    after + Duration::from_nanos(shortened as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_follow_each_other_by_the_inverse_root() {
        let at = |count| control_law(Instant::ZERO, Duration::from_millis(100), count).as_nanos();
        assert_eq!(at(1), 100_000_000);
        assert_eq!(at(4), 50_000_000);
        assert_eq!(at(2), 70_710_678);
        assert_eq!(at(100), 10_000_000);
        let forever = control_law(Instant::ZERO, Duration::MAX, 1);
        assert_eq!(forever, Instant::FAR_FUTURE, "no overflow");
    }

    /// A queue in which every packet has waited since zero.
    struct Standing {
        packets: u64,
        dropped: u64,
    }

    impl HeadDrop for Standing {
        fn head(&self) -> Option<Head> {
            let rest_bytes = self.packets.checked_sub(1)? * 1_500;
            Some(Head { queued_at: Instant::ZERO, rest_bytes })
        }

        fn drop_head(&mut self) {
            self.packets -= 1;
            self.dropped += 1;
        }
    }

    /// Times of drops, in milliseconds, when a packet departs each millisecond.
    fn drops(queue: &mut Standing, codel: &mut Codel, millis: core::ops::Range<u64>) -> std::vec::Vec<u64> {
        let mut times = std::vec::Vec::new();
        for at in millis {
            let before = queue.dropped;
            codel.dequeue(CodelConfig::default(), Instant::from_millis(at), queue);
            times.extend((before..queue.dropped).map(|_| at));
        }
        times
    }

    #[test]
    fn a_standing_queue_is_dropped_from_after_an_interval_and_then_ever_faster() {
        let mut codel = Codel::default();
        codel.saw(1_500);
        let mut queue = Standing { packets: 10_000, dropped: 0 };
        // Above the target from 5 ms on, for an interval at 105 ms; then 100 ms, 100/√2, 100/√3, …,
        // from when each drop was due and not from when a packet let it happen.
        assert_eq!(drops(&mut queue, &mut codel, 0..500), [105, 205, 276, 334, 384, 429, 469]);
    }

    #[test]
    fn a_queue_of_one_packet_is_never_dropped_from() {
        let mut codel = Codel::default();
        codel.saw(1_500);
        let mut queue = Standing { packets: 2, dropped: 0 };
        assert_eq!(drops(&mut queue, &mut codel, 0..2_000), []);
    }

    #[test]
    fn dropping_resumes_where_it_controlled_the_queue() {
        let mut codel = Codel::default();
        codel.saw(1_500);
        let mut queue = Standing { packets: 10_000, dropped: 0 };
        drops(&mut queue, &mut codel, 0..420);
        let count = codel.count;
        let mut empty = Standing { packets: 0, dropped: 0 };
        assert_eq!(drops(&mut empty, &mut codel, 420..430), []);
        assert!(!codel.dropping);
        assert_eq!(drops(&mut queue, &mut codel, 430..535), [530]);
        assert_eq!(codel.count, count - 1, "those of the last time but its first");
    }
}
