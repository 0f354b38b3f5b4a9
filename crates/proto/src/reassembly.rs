//! Data that arrived above the in-order point, until what lies before it arrives.
//!
//! One structure for both levels: a subflow orders its octets by [`SeqNum`](crate::seq::SeqNum)
//! (RFC 9293 §3.10.7.4), a connection by [`Dsn`](crate::seq::Dsn) (RFC 8684 §3.3.1). It knows neither
//! window nor in-order point: the owner judges what is acceptable, takes data that is in order past
//! this structure while it is empty, and asks for the rest with [`pop_in_order`](Reassembly::pop_in_order).
//!
//! **What a peer can do to it.** Old data wins: an octet once held is never replaced, so overlapping
//! segments cannot rewrite what was acknowledged. The number of entries is limited; see
//! [`insert`](Reassembly::insert) for what happens at the limit. Memory is counted by what is pinned,
//! and a payload under a quarter of its buffer is copied out, so that one-octet segments in 64 KiB
//! buffers do not pin 64 KiB each.
//!
//! **Why a deque.** Serial numbers have no total order, so that no ordered map takes them as keys.
//! Nearly all data arrives at the tail (O(1)) and leaves at the front (O(1)); a retransmission that
//! fills a hole is found by binary search and moves the smaller side of the deque, at most half of the
//! limit in small entries.

use alloc::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::ranges::RangeSet;
pub use crate::ranges::{Sequence, Span};

/// Ranges that are remembered in the order of their last arrival: as many as fit a SACK option
/// without timestamps (RFC 2018 §3).
pub const RECENT_RANGES: usize = 4;

/// What a payload that was copied out costs beyond its octets: its allocation's header and rounding,
/// and its entry here. Rounded up, so that one-octet segments are not a bargain.
pub const COPY_OVERHEAD_BYTES: u32 = 128;

/// Entries for which memory is kept when the structure runs empty; idle connections hold none of a
/// past burst.
const KEEP_ENTRIES: usize = 64;

/// Contiguous octets that arrived together.
#[derive(Clone, Debug)]
pub struct Entry<S, T> {
    /// The number of the first octet. After a trim this is no longer where the tagged whole began.
    pub start: S,
    /// The octets; never empty.
    pub bytes: Bytes,
    /// Octets of memory that `bytes` pins; at least its length.
    pub buffer_bytes: u32,
    /// What the owner attached to the data that it inserted (a mapping, or nothing).
    pub tag: T,
}

impl<S: Sequence, T> Entry<S, T> {
    /// One past the number of the last octet.
    pub fn end(&self) -> S {
        self.start.plus(self.bytes.len() as u64)
    }
}

/// What became of inserted data. Every octet is counted in one of new, duplicate and refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inserted<S> {
    /// Octets that were not held before and are now.
    pub new_bytes: u32,
    /// Octets that were held already.
    pub duplicate_bytes: u32,
    /// The first run of octets that were held already, for a D-SACK (RFC 2883 §4).
    pub duplicate: Option<Span<S>>,
    /// Octets not taken, because of the limit of entries or a number half the space away.
    pub refused_bytes: u32,
    /// Payload octets given up at the tail to make room for data in front of everything held.
    pub evicted_bytes: u32,
    /// All new data went behind everything held: no hole was filled.
    pub at_tail: bool,
}

/// Out-of-order data, sorted and disjoint.
#[derive(Clone, Debug)]
pub struct Reassembly<S, T> {
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

impl<S: Sequence, T: Clone> Reassembly<S, T> {
    /// An empty structure for at most `limit_entries` entries (at least one).
    pub fn new(limit_entries: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            ranges: RangeSet::new(),
            recent: [None; RECENT_RANGES],
            limit_entries: limit_entries.max(1),
            payload_bytes: 0,
            buffer_bytes: 0,
        }
    }

    /// Takes `bytes` that begin at `start` and pin `buffer_bytes` octets of memory.
    ///
    /// Only octets that are not held become entries, one for each hole that they fill or touch, each
    /// with a clone of `tag` and counted with the whole buffer unless it is copied out.
    ///
    /// At the limit of entries, data in front of everything held takes the place of the highest entry,
    /// since it may be what the owner waits for; so an owner's next octet is never refused. (Giving up
    /// octets that were SACKed is allowed, RFC 2018 §8; the peer sends them again.) All other data is
    /// refused. Refused too, as a whole, is data that would make what is held span half of the number
    /// space, where order ends; no window is that wide.
    pub fn insert(&mut self, start: S, bytes: Bytes, buffer_bytes: u32, tag: T) -> Inserted<S> {
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

    /// Takes the data at `next`, the owner's in-order point, if it is held.
    ///
    /// Octets before `next` are trimmed; entries wholly before it are discarded on the way.
    pub fn pop_in_order(&mut self, next: S) -> Option<Entry<S, T>> {
        loop {
            let front = self.entries.front()?;
            if front.start.after(next) {
                return None;
            }
            let is_over = !front.end().after(next);
            let mut entry = self.entries.pop_front()?;
            self.ranges.trim_below(entry.end());
            self.uncount(&entry);
            self.shrink_if_empty();
            if is_over {
                continue;
            }
            entry.bytes.advance(next.distance(entry.start).unwrap_or(0) as usize);
            entry.start = next;
            return Some(entry);
        }
    }

    /// Removes the entry with the highest numbers, the one that is needed last: for an owner over budget.
    pub fn drop_tail(&mut self) -> Option<Entry<S, T>> {
        let entry = self.entries.pop_back()?;
        self.ranges.trim_from(entry.start);
        self.uncount(&entry);
        self.shrink_if_empty();
        Some(entry)
    }

    /// Drops everything and gives the memory back.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit_entries);
    }

    /// The maximal contiguous ranges that are held, ascending (RFC 2018 §3).
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = Span<S>> + '_ {
        self.ranges.iter()
    }

    /// Up to [`RECENT_RANGES`] held ranges in the order of a SACK option: the one that the last arrival
    /// belongs to, then those of the arrivals before (RFC 2018 §4).
    ///
    /// When fewer are remembered than are held, the lowest of the others follow: to name them costs
    /// nothing, and they are the next that the peer would send again.
    pub fn recent_first(&self) -> impl Iterator<Item = Span<S>> + use<S, T> {
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

    /// The entries, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry<S, T>> {
        self.entries.iter()
    }

    /// How many entries are held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Octets of data that are held.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Octets of memory that the held data pins.
    pub fn buffer_bytes(&self) -> usize {
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
        self.buffer_bytes += buffer_bytes as usize;
        self.ranges.insert(part);
        self.entries.insert(index, Entry { start: part.start, bytes, buffer_bytes, tag });
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
        self.buffer_bytes -= entry.buffer_bytes as usize;
    }

    fn shrink_if_empty(&mut self) {
        if self.entries.is_empty() {
            self.recent = [None; RECENT_RANGES];
            if self.entries.capacity() > KEEP_ENTRIES {
                self.entries = VecDeque::new();
            }
        }
    }

    /// Recounts what is kept incrementally.
    fn is_consistent(&self) -> bool {
        let Self { entries, ranges, recent: _, limit_entries, payload_bytes, buffer_bytes } = self;
        let disjoint = entries.iter().zip(entries.iter().skip(1)).all(|(a, b)| !b.start.before(a.end()));
        disjoint
            && entries.len() <= *limit_entries
            && *payload_bytes == entries.iter().map(|e| e.bytes.len()).sum::<usize>()
            && *buffer_bytes == entries.iter().map(|e| e.buffer_bytes as usize).sum::<usize>()
            && ranges.octets() == *payload_bytes as u64
    }
}

fn earlier<S: Sequence>(a: S, b: S) -> S {
    if a.before(b) { a } else { b }
}

#[cfg(test)]
mod tests;
