//! What one TCP flow has sent and the peer has not acknowledged: the scoreboard of RFC 6675 §3, with
//! the transmission times that RACK needs (RFC 8985 §5.2).
//!
//! It keeps what is true of each segment and the sums over them. What is lost and what may be sent is
//! decided elsewhere (RACK-TLP, RTO, F-RTO, congestion control), through [`Scoreboard::detect_lost`]
//! and the marks.
//!
//! **Cost.** An ACK costs what it changes. SACKed ranges are kept merged besides the entries, so that a
//! block which repeats what is known is recognised in O(log n). Transmissions are kept in the order of
//! their times, so that loss detection begins with the oldest one in flight and never looks at what is
//! SACKed, or marked lost and not sent again. Both matter when one hole stays open at the front of a
//! window of thousands of segments.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::ranges::{RangeSet, Span};
use crate::seq::SeqNum;
use crate::time::Instant;

mod sent;

pub use sent::{AtSend, Sent};

/// Entries beyond which a SACK block splits none any more. A peer that SACKs single octets would make
/// an entry of each. Beyond this, only entries that a block covers whole count as SACKed, so that such a
/// peer is sent more than it lacks. Enough for four separate losses in each of a thousand 64 KiB segments.
pub const SACK_SPLIT_ENTRIES_MAX: usize = 8192;

/// What [`Scoreboard::detect_lost`] does with a transmission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// It is lost.
    Lost,
    /// It may still arrive.
    Wait,
    /// It and all that were sent later may still arrive.
    Stop,
}

/// A transmission that may be in flight: all entries within `span` that were last sent at `sent`.
#[derive(Clone, Copy, Debug)]
struct Transmission {
    span: Span<SeqNum>,
    sent: Instant,
}

/// Sums over the entries, in sequence numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Sums {
    sacked: u32,
    lost: u32,
    /// Retransmitted and neither SACKed nor lost again.
    retransmitted: u32,
    /// Lost and in retransmission; the part of `lost` that does not wait.
    lost_retransmitted: u32,
    payload: usize,
}

impl Sums {
    fn add<T>(&mut self, sent: &Sent<T>) {
        self.sacked += if sent.sacked { sent.len } else { 0 };
        self.lost += if sent.lost { sent.len } else { 0 };
        self.retransmitted += if sent.in_retransmission { sent.len } else { 0 };
        self.lost_retransmitted += if sent.lost && sent.in_retransmission { sent.len } else { 0 };
        self.payload += sent.bytes.len();
    }

    fn remove<T>(&mut self, sent: &Sent<T>) {
        self.sacked -= if sent.sacked { sent.len } else { 0 };
        self.lost -= if sent.lost { sent.len } else { 0 };
        self.retransmitted -= if sent.in_retransmission { sent.len } else { 0 };
        self.lost_retransmitted -= if sent.lost && sent.in_retransmission { sent.len } else { 0 };
        self.payload -= sent.bytes.len();
    }
}

/// The sent and unacknowledged segments of one flow, contiguous from `snd_una` to `snd_nxt`.
#[derive(Clone, Debug)]
pub struct Scoreboard<T> {
    entries: VecDeque<Sent<T>>,
    snd_una: SeqNum,
    snd_nxt: SeqNum,
    sums: Sums,
    /// The numbers of all SACKed entries.
    sacked: Option<Box<RangeSet<SeqNum>>>,
    /// In order of time. Each entry in flight is in the one of its last transmission; others are
    /// dropped when they are met.
    transmissions: VecDeque<Transmission>,
    /// No entry before this waits for retransmission.
    waiting_from: SeqNum,
}

impl<T: Clone> Scoreboard<T> {
    /// An empty scoreboard; the first segment pushed begins at `snd_una`.
    pub fn new(snd_una: SeqNum) -> Self {
        Self {
            entries: VecDeque::new(),
            snd_una,
            snd_nxt: snd_una,
            sums: Sums::default(),
            sacked: None,
            transmissions: VecDeque::new(),
            waiting_from: snd_una,
        }
    }

    /// Adds a segment that is sent for the first time, at `snd_nxt`; one that takes no number is not kept.
    ///
    /// # Panics
    /// When it does not begin at `snd_nxt`: a mistake of the sender, no input leads here.
    pub fn push(&mut self, sent: Sent<T>) {
        assert_eq!(sent.seq, self.snd_nxt, "segments are sent in order");
        if sent.len == 0 {
            return;
        }
        self.snd_nxt = sent.end();
        self.sums.add(&sent);
        self.note_transmission(sent.span(), sent.last_sent);
        self.entries.push_back(sent);
        self.check();
    }

    /// Removes everything before `snd_una`, and calls `on` with each part that was not SACKed before.
    ///
    /// A partly acknowledged segment keeps its tag and its times. A number that is not after the
    /// current `snd_una`, or after `snd_nxt`, changes nothing (RFC 9293 §3.10.7.4 judges it).
    pub fn ack(&mut self, snd_una: SeqNum, mut on: impl FnMut(&Sent<T>)) {
        if !snd_una.after(self.snd_una) || snd_una.after(self.snd_nxt) {
            return;
        }
        self.snd_una = snd_una;
        while let Some(front) = self.entries.front_mut()
            && front.seq.before(snd_una)
        {
            let acked = if front.end().after(snd_una) {
                front.take_front(snd_una.saturating_since(front.seq))
            } else {
                self.entries.pop_front().expect("the front was seen just now")
            };
            self.sums.remove(&acked);
            if !acked.sacked {
                on(&acked);
            }
        }
        if let Some(sacked) = &mut self.sacked {
            sacked.trim_below(snd_una);
        }
        self.waiting_from = self.waiting_from.max(snd_una);
        self.drop_stale_transmissions();
        self.check();
    }

    /// Marks `left..right` as SACKed, calls `on` with each part that was not, and returns their sum.
    ///
    /// Entries are split at the edges, unless there are [`SACK_SPLIT_ENTRIES_MAX`] already. `on` sees a
    /// part as it was before (lost, in retransmission), the scoreboard has it in flight no more. A block
    /// that is not wholly within `snd_una..snd_nxt`, or begins at `snd_una`, changes nothing: it is a
    /// D-SACK (RFC 2883), older than the last ACK, or wrong.
    pub fn sack(&mut self, left: SeqNum, right: SeqNum, mut on: impl FnMut(&Sent<T>)) -> u32 {
        if !left.after(self.snd_una) || !left.before(right) || right.after(self.snd_nxt) {
            return 0;
        }
        let mut newly = 0;
        let mut from = left;
        while let Some(gap) = self.sacked.get_or_insert_default().next_gap(Span::new(from, right)) {
            from = gap.end;
            let mut index = self.index_at_edge(gap.start);
            while let Some(entry) = self.entries.get(index)
                && entry.seq.before(gap.end)
            {
                if entry.end().after(gap.end) {
                    let keep = gap.end.saturating_since(entry.seq);
                    if self.entries.len() >= SACK_SPLIT_ENTRIES_MAX || !self.split_at(index, keep) {
                        break;
                    }
                }
                let entry = &mut self.entries[index];
                on(entry);
                self.sums.remove(entry);
                entry.sacked = true;
                entry.lost = false;
                entry.in_retransmission = false;
                self.sums.add(entry);
                newly += entry.len;
                self.sacked.get_or_insert_default().insert(entry.span());
                index += 1;
            }
        }
        self.drop_stale_transmissions();
        self.check();
        newly
    }

    /// Asks about each transmission in flight, the earliest sent first, whether it is lost, until
    /// `judge` says [`Judgement::Stop`]; returns how many numbers it marked lost.
    ///
    /// This is the loop of RFC 8985 §6.2 step 5: `Stop` for a segment that was not sent before the one
    /// that RACK saw delivered last, `Lost` when its time is over, else `Wait` (or `Stop`, for an owner
    /// to which the earliest deadline is enough). What is SACKed or lost already is not asked about, so
    /// that a call costs as much as it finds lost or waiting. Segments sent at the same instant are
    /// asked about in the order in which they were sent.
    pub fn detect_lost(&mut self, mut judge: impl FnMut(&Sent<T>) -> Judgement) -> u32 {
        let lost_before = self.waiting_bytes();
        let mut at = 0;
        'transmissions: while let Some(transmission) = self.transmissions.get(at).copied() {
            let mut in_flight = false;
            let mut index = self.index_of(transmission.span.start);
            while let Some(entry) = self.entries.get(index)
                && entry.seq.before(transmission.span.end)
            {
                if entry.is_in_flight() && entry.last_sent == transmission.sent {
                    match judge(entry) {
                        Judgement::Lost => self.mark_lost_unchecked(index),
                        Judgement::Wait => in_flight = true,
                        Judgement::Stop => break 'transmissions,
                    }
                }
                index += 1;
            }
            if in_flight {
                at += 1;
            } else {
                self.transmissions.remove(at);
            }
        }
        self.check();
        self.waiting_bytes() - lost_before
    }

    /// Marks the entry at `index` lost, its retransmission too; one that is SACKed or beyond the end is
    /// left alone.
    pub fn mark_lost(&mut self, index: usize) {
        if self.entries.get(index).is_some_and(|e| !e.sacked) {
            self.mark_lost_unchecked(index);
            self.check();
        }
    }

    /// Marks everything lost that is not SACKed, retransmissions too: the retransmission timer ran out
    /// (RFC 6675 §5.1, RFC 8985 §6.3).
    pub fn mark_all_lost(&mut self) {
        for index in 0..self.entries.len() {
            if !self.entries[index].sacked {
                self.mark_lost_unchecked(index);
            }
        }
        self.transmissions.clear();
        self.check();
    }

    /// Takes back that entries are lost, unless they were sent again: the timeout was spurious
    /// (RFC 5682 §3). They are in flight again.
    pub fn forgive_lost(&mut self) {
        for entry in &mut self.entries {
            if entry.is_waiting() {
                self.sums.remove(entry);
                entry.lost = false;
                self.sums.add(entry);
            }
        }
        self.rebuild_transmissions();
        self.check();
    }

    /// The SACKed first entry shows that the peer dropped what it had SACKed: otherwise its ACK would
    /// have passed it (RFC 2018 §8).
    pub fn is_reneging(&self) -> bool {
        self.entries.front().is_some_and(|e| e.sacked)
    }

    /// Forgets all SACK information, as a retransmission timeout of a reneging peer demands (RFC 2018 §8).
    pub fn clear_sacked(&mut self) {
        for entry in &mut self.entries {
            self.sums.remove(entry);
            entry.sacked = false;
            self.sums.add(entry);
        }
        self.sacked = None;
        self.rebuild_transmissions();
        self.check();
    }

    /// The first entry that is lost and not in retransmission.
    ///
    /// Needs no search when there is none, and goes on where the last call ended when there is.
    pub fn next_lost(&mut self) -> Option<usize> {
        if self.waiting_bytes() == 0 {
            return None;
        }
        let from = self.index_of(self.waiting_from);
        let index = (from..self.entries.len()).find(|i| self.entries[*i].is_waiting())?;
        self.waiting_from = self.entries[index].seq;
        Some(index)
    }

    /// Splits the entry at `index` after `len` numbers, so that the first part can be sent alone; both
    /// keep tag, times and marks. False when there is no such entry, or `len` leaves one part empty.
    pub fn split_at(&mut self, index: usize, len: u32) -> bool {
        let Some(entry) = self.entries.get_mut(index).filter(|e| len > 0 && len < e.len) else {
            return false;
        };
        let front = entry.take_front(len);
        self.entries.insert(index, front);
        true
    }

    /// Notes that the whole entry at `index` is sent again at `now`, and returns it as it is then.
    ///
    /// Also for one that is not lost: a tail loss probe (RFC 8985 §7.3), of which two copies are then
    /// in flight.
    pub fn retransmitted(&mut self, index: usize, now: Instant, at_send: AtSend) -> Option<&Sent<T>> {
        let entry = self.entries.get_mut(index).filter(|e| !e.sacked)?;
        self.sums.remove(entry);
        entry.in_retransmission = true;
        entry.transmissions = entry.transmissions.saturating_add(1);
        entry.last_sent = now;
        entry.at_send = at_send;
        self.sums.add(entry);
        let span = entry.span();
        self.note_transmission(span, now);
        self.check();
        self.entries.get(index)
    }

    /// The entry at `index`; 0 is the one at `snd_una`. Indices hold until the next change.
    pub fn get(&self, index: usize) -> Option<&Sent<T>> {
        self.entries.get(index)
    }

    /// The entry that holds `seq`, or the first after it.
    pub fn index_of(&self, seq: SeqNum) -> usize {
        match self.entries.front() {
            Some(front) if !front.end().after(seq) => self.entries.partition_point(|e| !e.end().after(seq)),
            _ => 0,
        }
    }

    /// The entries, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Sent<T>> + ExactSizeIterator {
        self.entries.iter()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The lowest number that is not acknowledged.
    pub fn snd_una(&self) -> SeqNum {
        self.snd_una
    }

    /// The next number to be sent.
    pub fn snd_nxt(&self) -> SeqNum {
        self.snd_nxt
    }

    /// Numbers thought to be in the network, the pipe of RFC 6675 §4 as Linux counts it: sent, less
    /// SACKed, less lost, plus retransmitted.
    pub fn in_flight(&self) -> u32 {
        let sent = self.snd_nxt.saturating_since(self.snd_una);
        sent - self.sums.sacked - self.sums.lost + self.sums.retransmitted
    }

    /// Gives the memory back if nothing is on its way.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.entries = VecDeque::new();
            self.transmissions = VecDeque::new();
            self.sacked = None;
        }
    }

    /// Numbers that are SACKed.
    pub fn sacked_bytes(&self) -> u32 {
        self.sums.sacked
    }

    /// The SACKed ranges, ascending.
    pub fn sacked_ranges(&self) -> impl DoubleEndedIterator<Item = Span<SeqNum>> + '_ {
        self.sacked.iter().flat_map(|sacked| sacked.iter())
    }

    /// One past the highest SACKed number.
    pub fn sacked_end(&self) -> Option<SeqNum> {
        self.sacked.as_ref()?.last().map(|range| range.end)
    }

    /// Numbers that are lost, those in retransmission included.
    pub fn lost_bytes(&self) -> u32 {
        self.sums.lost
    }

    /// Numbers that are lost and not in retransmission.
    pub fn waiting_bytes(&self) -> u32 {
        self.sums.lost - self.sums.lost_retransmitted
    }

    /// Numbers of which a retransmission is in flight.
    pub fn retransmitted_bytes(&self) -> u32 {
        self.sums.retransmitted
    }

    /// Octets of payload that are held.
    pub fn payload_bytes(&self) -> usize {
        self.sums.payload
    }

    fn mark_lost_unchecked(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        self.sums.remove(entry);
        entry.lost = true;
        entry.in_retransmission = false;
        self.sums.add(entry);
        self.waiting_from = self.waiting_from.min(entry.seq);
    }

    /// The first entry that begins at or after `seq`, after splitting one that `seq` lies within, if
    /// there may be one more.
    fn index_at_edge(&mut self, seq: SeqNum) -> usize {
        let index = self.index_of(seq);
        let Some(entry) = self.entries.get(index).filter(|e| e.seq.before(seq)) else { return index };
        let len = seq.saturating_since(entry.seq);
        if self.entries.len() < SACK_SPLIT_ENTRIES_MAX {
            self.split_at(index, len);
        }
        index + 1
    }

    fn note_transmission(&mut self, span: Span<SeqNum>, sent: Instant) {
        self.transmissions.push_back(Transmission { span, sent });
    }

    /// Drops the earliest transmissions as long as nothing of them is in flight, so that their number
    /// follows what is in flight even if nobody detects losses by time.
    fn drop_stale_transmissions(&mut self) {
        while let Some(front) = self.transmissions.front() {
            let from = self.index_of(front.span.start);
            let mut entries = self.entries.iter().skip(from).take_while(|e| e.seq.before(front.span.end));
            if entries.any(|e| e.is_in_flight() && e.last_sent == front.sent) {
                break;
            }
            self.transmissions.pop_front();
        }
    }

    /// Brings all that is in flight into the order of time anew. O(n log n), for rare events.
    fn rebuild_transmissions(&mut self) {
        let in_flight = self.entries.iter().filter(|e| e.is_in_flight());
        self.transmissions = in_flight.map(|e| Transmission { span: e.span(), sent: e.last_sent }).collect();
        // Stable: what was sent at the same instant stays in the order of numbers.
        self.transmissions.make_contiguous().sort_by_key(|t| t.sent);
    }

    /// Recounts what is kept incrementally. Only while there are few entries, so that a simulation with
    /// assertions does not become quadratic.
    fn check(&self) {
        debug_assert!(self.entries.len() > 32 || self.is_consistent());
    }

    fn is_consistent(&self) -> bool {
        let Self { entries, snd_una, snd_nxt, sums, sacked, transmissions, waiting_from } = self;
        let mut counted = Sums::default();
        let mut at = *snd_una;
        for entry in entries {
            if entry.seq != at || entry.len == 0 || (entry.sacked && (entry.lost || entry.in_retransmission))
            {
                return false;
            }
            let noted =
                || transmissions.iter().any(|t| t.sent == entry.last_sent && t.span.contains(entry.seq));
            if entry.is_in_flight() && !noted() || entry.is_waiting() && entry.seq.before(*waiting_from) {
                return false;
            }
            counted.add(entry);
            at = entry.end();
        }
        at == *snd_nxt
            && counted == *sums
            && sacked.as_ref().map_or(0, |s| s.octets()) == u64::from(sums.sacked)
    }
}

#[cfg(test)]
mod tests;
