//! Delivery-rate estimation: how fast the path delivered what was sent (draft-ietf-ccwg-bbr §4.1, before that
//! draft-cheng-iccrg-delivery-rate-estimation).
//!
//! A segment carries the state of delivery at its sending ([`AtSend`]). Its acknowledgement then tells how much was
//! delivered since, and over how long: the longer of the time in which that was sent and the time in which it was
//! acknowledged, so that neither a burst of segments nor one of acknowledgements looks like bandwidth. A segment may
//! be 64 KiB, so the cost is per segment and acknowledgement, never per MSS.

use super::recovery::scoreboard::{AtSend, Sent};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant, nanos};

/// What one acknowledgement tells of the path, from the most recently sent of the segments that it delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateSample {
    /// Octets per second; 0 when the interval is shorter than the smallest round trip, so that it tells nothing
    /// (an acknowledgement of the first transmission of a segment that was sent again).
    pub rate: u64,
    /// Octets delivered between the sending of that segment and now.
    pub delivered: u64,
    /// Octets that had been delivered when it was sent.
    pub prior_delivered: u64,
    /// Octets in flight just after it was sent.
    pub tx_in_flight: u32,
    /// Octets marked lost since it was sent.
    pub lost: u32,
    /// The flow had too little to send when it was sent: the rate is the application's, not the path's.
    pub app_limited: bool,
}

/// The most recently sent of the segments that one acknowledgement delivered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    sent: Instant,
    end: SeqNum,
    at_send: AtSend,
    /// It was sent only once, so that its age is a round trip (Karn's rule, RFC 6298 §3).
    once: bool,
}

impl Newest {
    /// The later sent one of `so_far` and `sent`.
    pub(super) fn later<T>(so_far: Option<Self>, sent: &Sent<T>) -> Self {
        let new = Self {
            sent: sent.last_sent,
            end: sent.end(),
            at_send: sent.at_send,
            once: sent.transmissions == 1,
        };
        match so_far {
            Some(old) if old.sent > new.sent || (old.sent == new.sent && old.end.after(new.end)) => old,
            _ => new,
        }
    }

    /// The round trip that it measured, if that is certain.
    pub(super) fn rtt(&self, now: Instant) -> Option<Duration> {
        self.once.then(|| now.since(self.sent))
    }
}

/// The flow has nothing to send.
#[derive(Clone, Copy, Debug)]
struct Starved {
    /// From when on it could send; pacing may put that into the future.
    since: Instant,
    /// Pacing put it into the future, so that the owner may have data that it could not give yet.
    paced: bool,
}

/// What a flow has delivered so far, and when.
#[derive(Debug)]
pub(super) struct DeliveryRate {
    delivered: u64,
    delivered_at: Instant,
    /// When the segment that was delivered last had been sent, or the first of a flight after a pause.
    first_sent_at: Instant,
    lost: u64,
    /// The flow is application-limited until so much is delivered; 0 when it is not.
    limited_until: u64,
    starved: Option<Starved>,
    latest: u64,
}

impl DeliveryRate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            lost: 0,
            limited_until: 0,
            starved: None,
            latest: 0,
        }
    }

    /// Octets delivered so far.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Octets per second by the latest sample that told something; 0 before it.
    pub(super) fn latest(&self) -> u64 {
        self.latest
    }

    /// What a segment of `len` octets remembers that leaves while `in_flight` octets are on the way.
    pub(super) fn on_send(&mut self, now: Instant, in_flight: u32, len: u32) -> AtSend {
        if in_flight == 0 {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        AtSend::new(
            self.delivered,
            self.delivered_at,
            self.first_sent_at,
            self.lost as u32,
            in_flight.saturating_add(len),
            self.limited_until > 0,
        )
    }

    /// New data leaves after the flow may have had none: what is on the way then is all that the application gave.
    pub(super) fn on_new_data(&mut self, now: Instant, in_flight: u32) {
        if self.starved.take().is_some_and(|starved| starved.since < now) {
            self.limit(in_flight);
        }
    }

    /// The flow has nothing to send at `now`, and could send from `free_at` on.
    pub(super) fn on_starved(&mut self, now: Instant, free_at: Instant) {
        let starved = Starved { since: free_at.max(now), paced: free_at > now };
        self.starved = self.starved.or(Some(starved));
    }

    /// The flow's owner has data and waits for pacing or the window.
    pub(super) fn on_owner_waits(&mut self) {
        self.starved = self.starved.filter(|starved| !starved.paced);
    }

    /// An acknowledgement comes in while `in_flight` octets are on the way.
    pub(super) fn before_ack(&mut self, now: Instant, in_flight: u32) {
        if self.starved.is_some_and(|starved| starved.since < now) {
            self.limit(in_flight);
        }
    }

    fn limit(&mut self, in_flight: u32) {
        self.limited_until = (self.delivered + u64::from(in_flight)).max(1);
    }

    /// `bytes` were newly acknowledged, cumulatively or selectively.
    pub(super) fn on_delivered(&mut self, now: Instant, bytes: u32) {
        self.delivered += u64::from(bytes);
        self.delivered_at = now;
    }

    /// Octets marked lost so far, each time that they were.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// `bytes` were marked lost.
    pub(super) fn on_lost(&mut self, bytes: u32) {
        self.lost += u64::from(bytes);
    }

    /// Octets marked lost since a segment was sent.
    pub(super) fn lost_since(&self, at_send: &AtSend) -> u32 {
        // The low halves: no segment is outstanding while 4 GiB are lost.
        (self.lost as u32).wrapping_sub(at_send.lost)
    }

    /// The sample of an acknowledgement, after all that it delivered was counted.
    pub(super) fn sample(&mut self, newest: &Newest, min_rtt: Option<Duration>) -> RateSample {
        if self.delivered > self.limited_until {
            self.limited_until = 0;
        }
        let at_send = &newest.at_send;
        self.first_sent_at = newest.sent;
        let sending = newest.sent.since(at_send.first_sent_time);
        let acking = self.delivered_at.since(at_send.delivered_time);
        let interval = sending.max(acking);
        let delivered = self.delivered.saturating_sub(at_send.delivered);
        let reliable = interval >= min_rtt.unwrap_or_default() && !interval.is_zero();
        let rate = if reliable { per_second(delivered, interval) } else { 0 };
        if reliable {
            self.latest = rate;
        }
        RateSample {
            rate,
            delivered,
            prior_delivered: at_send.delivered,
            tx_in_flight: at_send.tx_in_flight(),
            lost: self.lost_since(at_send),
            app_limited: at_send.is_app_limited(),
        }
    }
}

/// `bytes` over `interval`, in octets per second, saturating; the interval is not zero.
fn per_second(bytes: u64, interval: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / u128::from(nanos(interval).max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
