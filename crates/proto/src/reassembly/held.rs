//! What [`Reassembly`](super::Reassembly) holds: entries in a deque, the ranges that they make, and the sums over them.

use alloc::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::{COPY_OVERHEAD_BYTES, ENTRY_BYTES_MIN, Entry, Inserted, RECENT_RANGES, Sequence, Span};
use crate::ranges::{RangeSet, shrink};

/// Entries for which memory is kept when the structure runs empty: what little reordering needs again and again.
const KEEP_ENTRIES: usize = 8;

/// Out-of-order data.
#[derive(Clone, Debug)]
pub(super) struct Held<S, T> {
    entries: VecDeque<Entry<S, T>>,
    /// The maximal contiguous ranges of `entries`, so that a SACK option costs no walk over them.
    ranges: RangeSet<S>,
    /// A number out of each of the ranges last touched, latest first. One that is not held any more,
    /// or lies in the same range as an earlier one, means nothing.
    recent: [Option<S>; RECENT_RANGES],
    limit_entries: usize,
    payload_bytes: usize,
    buffer_bytes: usize,
}

impl<S: Sequence, T: Clone> Held<S, T> {
    pub(super) fn new(limit_entries: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            ranges: RangeSet::new(),
            recent: [None; RECENT_RANGES],
            limit_entries: limit_entries.max(1),
            payload_bytes: 0,
            buffer_bytes: 0,
        }
    }

    /// See [`Reassembly::insert`](super::Reassembly::insert), and for the other calls their namesakes.
    pub(super) fn insert(&mut self, start: S, bytes: Bytes, buffer_bytes: u32, tag: T) -> Inserted<S> {
        let mut outcome = Inserted {
            new_bytes: 0,
            duplicate_bytes: 0,
            duplicate: None,
            refused_bytes: 0,
            evicted_bytes: 0,
            at_tail: self.entries.back().is_none_or(|last| !start.before(last.end())),
        };
        if !self.is_in_reach(start, bytes.len() as u64) {
            outcome.refused_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            return outcome;
        }
        let end = start.plus(bytes.len() as u64);
        let mut index = if outcome.at_tail {
            self.entries.len()
        } else {
            self.entries.partition_point(|e| !e.end().after(start))
        };
        let mut at = start;
        while at.before(end) {
            let held = self.entries.get(index).map(|e| Span::new(e.start, e.end()));
            if let Some(held) = held
                && !held.start.after(at)
            {
                let run = Span::new(at, earlier(held.end, end));
                outcome.duplicate_bytes += run.len() as u32;
                outcome.duplicate = match outcome.duplicate {
                    None => Some(run),
                    Some(first) if first.end == at => Some(Span::new(first.start, run.end)),
                    first => first,
                };
                at = run.end;
                index += 1;
                continue;
            }
            let part = Span::new(at, held.map_or(end, |held| earlier(held.start, end)));
            at = part.end;
            if self.entries.len() >= self.limit_entries {
                let in_front = index == 0 && held.is_some();
                if !in_front {
                    outcome.refused_bytes += part.len() as u32;
                    continue;
                }
                let evicted = self.drop_tail().map_or(0, |e| e.bytes.len());
                outcome.evicted_bytes += evicted as u32;
            }
            outcome.new_bytes += part.len() as u32;
            let from = part.start.distance(start).unwrap_or(0) as usize;
            let piece = bytes.slice(from..from + part.len() as usize);
            self.place(index, part, piece, buffer_bytes, tag.clone());
            index += 1;
        }
        self.note_recent(start);
        debug_assert!(self.entries.len() > 32 || self.is_consistent());
        outcome
    }

    pub(super) fn pop_in_order(&mut self, next: S) -> Option<Entry<S, T>> {
        loop {
            let front = self.entries.front()?;
            if front.start.after(next) {
                return None;
            }
            let is_over = !front.end().after(next);
            let mut entry = self.entries.pop_front()?;
            self.ranges.trim_below(entry.end());
            self.uncount(&entry);
            self.shrink();
            if is_over {
                continue;
            }
            entry.bytes.advance(next.distance(entry.start).unwrap_or(0) as usize);
            entry.start = next;
            return Some(entry);
        }
    }

    pub(super) fn drop_tail(&mut self) -> Option<Entry<S, T>> {
        let entry = self.entries.pop_back()?;
        self.ranges.trim_from(entry.start);
        self.uncount(&entry);
        self.shrink();
        Some(entry)
    }

    pub(super) fn ranges(&self) -> impl DoubleEndedIterator<Item = Span<S>> + '_ {
        self.ranges.iter()
    }

    pub(super) fn recent_first(&self) -> impl Iterator<Item = Span<S>> + use<S, T> {
        let mut found: [Option<Span<S>>; RECENT_RANGES] = [None; RECENT_RANGES];
        let mut count = 0;
        let recent = self.recent.iter().flatten().filter_map(|point| self.ranges.containing(*point));
        // As many as are wanted suffice: so many as are found already are not missing.
        for range in recent.chain(self.ranges.iter().take(RECENT_RANGES)) {
            if count < RECENT_RANGES && !found[..count].contains(&Some(range)) {
                found[count] = Some(range);
                count += 1;
            }
        }
        found.into_iter().flatten()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry<S, T>> {
        self.entries.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// True when `len` octets from `start` and everything held fit into half of the number space.
    fn is_in_reach(&self, start: S, len: u64) -> bool {
        if len >= S::HALF || len > u64::from(u32::MAX) {
            return false;
        }
        let (Some(first), Some(last)) = (self.entries.front(), self.entries.back()) else { return true };
        let held = last.end().distance(first.start).unwrap_or(S::HALF);
        match (start.distance(first.start), first.start.distance(start)) {
            (Some(past), _) => past + len < S::HALF,
            (None, Some(ahead)) => ahead + held.max(len) < S::HALF,
            // Exactly half the space away: each is before the other.
            (None, None) => false,
        }
    }

    fn place(&mut self, index: usize, part: Span<S>, bytes: Bytes, buffer_bytes: u32, tag: T) {
        let len = bytes.len() as u32;
        let (bytes, buffer_bytes) =
            if len.saturating_mul(4) < buffer_bytes && len + COPY_OVERHEAD_BYTES < buffer_bytes {
                (Bytes::copy_from_slice(&bytes), len + COPY_OVERHEAD_BYTES)
            } else {
                (bytes, buffer_bytes.max(len))
            };
        self.payload_bytes += bytes.len();
        let entry = Entry { start: part.start, bytes, buffer_bytes, tag };
        self.buffer_bytes += cost(&entry);
        self.ranges.insert(part);
        self.entries.insert(index, entry);
    }

    /// Makes the range that holds `point` the latest one.
    fn note_recent(&mut self, point: S) {
        let Some(latest) = self.ranges.containing(point) else { return };
        let mut fresh = [None; RECENT_RANGES];
        fresh[0] = Some(point);
        let others = self.recent.iter().flatten().filter(|p| !latest.contains(**p));
        for (slot, other) in fresh[1..].iter_mut().zip(others) {
            *slot = Some(*other);
        }
        self.recent = fresh;
    }

    fn uncount(&mut self, entry: &Entry<S, T>) {
        self.payload_bytes -= entry.bytes.len();
        self.buffer_bytes -= cost(entry);
    }

    /// Gives memory back of which three quarters are not used any more.
    fn shrink(&mut self) {
        if self.entries.is_empty() {
            self.recent = [None; RECENT_RANGES];
            if self.entries.capacity() > KEEP_ENTRIES {
                self.entries = VecDeque::new();
            }
        } else {
            shrink(&mut self.entries, KEEP_ENTRIES);
        }
        self.ranges.shrink(KEEP_ENTRIES);
    }

    /// Recounts what is kept incrementally.
    pub(super) fn is_consistent(&self) -> bool {
        let Self { entries, ranges, recent: _, limit_entries, payload_bytes, buffer_bytes } = self;
        let disjoint = entries.iter().zip(entries.iter().skip(1)).all(|(a, b)| !b.start.before(a.end()));
        disjoint
            && entries.len() <= *limit_entries
            && *payload_bytes == entries.iter().map(|e| e.bytes.len()).sum::<usize>()
            && *buffer_bytes == entries.iter().map(cost).sum::<usize>()
            && ranges.octets() == *payload_bytes as u64
    }
}

/// What an entry is accounted for.
fn cost<S, T>(entry: &Entry<S, T>) -> usize {
    entry.buffer_bytes.max(ENTRY_BYTES_MIN) as usize
}

fn earlier<S: Sequence>(a: S, b: S) -> S {
    if a.before(b) { a } else { b }
}
