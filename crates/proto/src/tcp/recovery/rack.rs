//! RACK: a segment is lost when one that was sent sufficiently later has arrived (RFC 8985 §6).

use super::scoreboard::{Judgement, Sent};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// RFC 8985 §6.2 step 4: recoveries after which a widened reordering window shrinks again.
const WINDOW_PERSISTS: u8 = 16;

/// The most recently sent segment that arrived, and how much reordering the path shows.
#[derive(Clone, Debug)]
pub struct Rack {
    /// When the latest sent one of the delivered segments left; `None` before the first.
    latest: Option<Latest>,
    /// Highest sequence number delivered (RACK.fack).
    highest: SeqNum,
    reordering_seen: bool,
    window_steps: u32,
    window_persists: u8,
    /// The window was widened, and again only when all up to here is acknowledged (RACK.dsack_round).
    widened_until: Option<SeqNum>,
}

#[derive(Clone, Copy, Debug)]
struct Latest {
    sent: Instant,
    end: SeqNum,
    rtt: Duration,
}

impl Rack {
    /// No segment has arrived yet.
    pub fn new(snd_una: SeqNum) -> Self {
        Self {
            latest: None,
            highest: snd_una,
            reordering_seen: false,
            window_steps: 1,
            window_persists: WINDOW_PERSISTS,
            widened_until: None,
        }
    }

    /// A segment was acknowledged, cumulatively or selectively (RFC 8985 §6.2 steps 1 to 3).
    ///
    /// `spurious` tells that the acknowledgement answers an earlier transmission of it (by timestamp, or
    /// because it came sooner than any round trip). Returns whether it came later than one with higher numbers.
    pub fn on_delivered<T>(&mut self, now: Instant, sent: &Sent<T>, spurious: bool) -> bool {
        if sent.transmissions > 1 && spurious {
            return false;
        }
        let reordered = sent.end().before(self.highest) && sent.transmissions == 1;
        self.reordering_seen |= reordered;
        self.highest = self.highest.max(sent.end());
        let later = self.latest.is_none_or(|latest| {
            sent.last_sent > latest.sent || (sent.last_sent == latest.sent && sent.end().after(latest.end))
        });
        if later {
            self.latest =
                Some(Latest { sent: sent.last_sent, end: sent.end(), rtt: now.since(sent.last_sent) });
        }
        reordered
    }

    /// The peer reported that a segment came twice: reordering was mistaken for loss. The window widens once per
    /// round trip (RFC 8985 §6.2 step 4).
    pub fn on_duplicate_report(&mut self, snd_una: SeqNum, snd_nxt: SeqNum) {
        if self.widened_until.is_some_and(|until| snd_una.before(until)) {
            return;
        }
        self.widened_until = Some(snd_nxt);
        self.window_steps = (self.window_steps + 1).min(254);
        self.window_persists = WINDOW_PERSISTS;
    }

    /// Something taken for lost was only late.
    pub fn on_reordering(&mut self) {
        self.reordering_seen = true;
    }

    /// A recovery episode ended.
    pub fn on_recovery_exit(&mut self) {
        self.window_persists = self.window_persists.saturating_sub(1);
        if self.window_persists == 0 {
            self.window_steps = 1;
        }
    }

    /// How much later than its successor a segment may arrive (RFC 8985 §6.2 step 4).
    fn window(&self, srtt: Option<Duration>, min_rtt: Option<Duration>, hurry: bool) -> Duration {
        if !self.reordering_seen && hurry {
            return Duration::ZERO;
        }
        let quarter = min_rtt.unwrap_or_default() / 4;
        quarter.saturating_mul(self.window_steps).min(srtt.unwrap_or_default())
    }

    /// Judges segments in the order in which they were sent (RFC 8985 §6.2 step 5).
    ///
    /// `hurry`: in recovery already, or three segments arrived out of order. `next` becomes the time at
    /// which the earliest one not judged lost would be.
    pub fn judge<'a, T>(
        &self,
        now: Instant,
        srtt: Option<Duration>,
        min_rtt: Option<Duration>,
        hurry: bool,
        next: &'a mut Option<Instant>,
    ) -> impl FnMut(&Sent<T>) -> Judgement + use<'a, T> {
        let window = self.window(srtt, min_rtt, hurry);
        let latest = self.latest;
        move |sent| {
            let Some(latest) = latest else { return Judgement::Stop };
            if sent.last_sent > latest.sent {
                return Judgement::Stop;
            }
            if sent.last_sent == latest.sent && !latest.end.after(sent.end()) {
                return Judgement::Wait;
            }
            let due = sent.last_sent + latest.rtt + window;
            if due <= now {
                return Judgement::Lost;
            }
            *next = Some(next.map_or(due, |at| at.min(due)));
            Judgement::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn sent(seq: u32, at_ms: u64) -> Sent<()> {
        let payload = Bytes::from_static(&[0; 100]);
        Sent::new(SeqNum(seq), payload, (), Instant::from_millis(at_ms), Default::default())
    }

    #[test]
    fn a_segment_is_lost_a_quarter_round_trip_after_its_successor_arrived() {
        let mut rack = Rack::new(SeqNum(0));
        let rtt = Some(Duration::from_millis(40));
        rack.on_delivered(Instant::from_millis(41), &sent(100, 1), false);
        let mut next = None;
        let early = rack.judge(Instant::from_millis(41), rtt, rtt, false, &mut next)(&sent(0, 0));
        assert_eq!(early, Judgement::Wait);
        assert_eq!(next, Some(Instant::from_millis(50)));
        let late = rack.judge(Instant::from_millis(50), rtt, rtt, false, &mut None)(&sent(0, 0));
        assert_eq!(late, Judgement::Lost);
        let hurried = rack.judge(Instant::from_millis(41), rtt, rtt, true, &mut None)(&sent(0, 0));
        assert_eq!(hurried, Judgement::Lost);
    }

    #[test]
    fn what_was_sent_after_the_latest_arrival_is_not_judged() {
        let mut rack = Rack::new(SeqNum(0));
        let rtt = Some(Duration::from_millis(40));
        assert_eq!(rack.judge(Instant::ZERO, rtt, rtt, true, &mut None)(&sent(0, 0)), Judgement::Stop);
        rack.on_delivered(Instant::from_millis(41), &sent(100, 1), false);
        let verdict = rack.judge(Instant::from_millis(99), rtt, rtt, true, &mut None)(&sent(300, 2));
        assert_eq!(verdict, Judgement::Stop);
        let verdict = rack.judge(Instant::from_millis(99), rtt, rtt, true, &mut None)(&sent(200, 1));
        assert_eq!(verdict, Judgement::Wait);
    }

    /// RFC 8985 §6.2 step 2, RACK_sent_after: by time, and at one time by number.
    #[test]
    fn the_latest_arrival_is_the_one_that_was_sent_last() {
        let mut rack = Rack::new(SeqNum(0));
        let rtt = Some(Duration::from_millis(40));
        let now = Instant::from_millis(41);
        let judge = |rack: &Rack, seq, at_ms| rack.judge(now, rtt, rtt, true, &mut None)(&sent(seq, at_ms));
        rack.on_delivered(now, &sent(100, 1), false);
        assert_eq!(judge(&rack, 100, 1), Judgement::Wait);
        rack.on_delivered(now, &sent(200, 1), false);
        assert_eq!(judge(&rack, 100, 1), Judgement::Lost, "its successor of the same instant arrived");
        assert_eq!(judge(&rack, 300, 1), Judgement::Wait);
        // A higher number that was sent before: those below it left again.
        rack.on_delivered(now, &sent(500, 0), false);
        assert_eq!(judge(&rack, 300, 1), Judgement::Wait);
        assert_eq!(judge(&rack, 100, 1), Judgement::Lost);
    }

    #[test]
    fn duplicates_widen_the_window_once_a_round_trip_and_for_sixteen_recoveries() {
        let mut rack = Rack::new(SeqNum(0));
        let rtt = Some(Duration::from_millis(40));
        let window = |rack: &Rack| rack.window(rtt, rtt, false).as_millis();
        assert_eq!(window(&rack), 10);
        rack.on_duplicate_report(SeqNum(100), SeqNum(500));
        rack.on_duplicate_report(SeqNum(499), SeqNum(900));
        assert_eq!(window(&rack), 20);
        rack.on_duplicate_report(SeqNum(500), SeqNum(900));
        assert_eq!(window(&rack), 30);
        rack.on_duplicate_report(SeqNum(900), SeqNum(1000));
        rack.on_duplicate_report(SeqNum(1000), SeqNum(1100));
        assert_eq!(window(&rack), 40, "never more than a round trip");
        for _ in 0..15 {
            rack.on_recovery_exit();
        }
        assert_eq!(window(&rack), 40);
        rack.on_recovery_exit();
        assert_eq!(window(&rack), 10);
    }

    #[test]
    fn once_reordering_was_seen_there_is_no_hurry() {
        let mut rack = Rack::new(SeqNum(0));
        let rtt = Some(Duration::from_millis(40));
        rack.on_delivered(Instant::from_millis(41), &sent(100, 1), false);
        rack.on_delivered(Instant::from_millis(42), &sent(0, 0), false);
        let verdict = rack.judge(Instant::from_millis(42), rtt, rtt, true, &mut None)(&sent(50, 1));
        assert_eq!(verdict, Judgement::Wait);
    }
}
