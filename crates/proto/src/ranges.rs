//! A set of sequence numbers, kept as sorted, disjoint ranges that do not touch.
//!
//! Reassembly keeps what it holds in one (the blocks of RFC 2018), the scoreboard what the peer has
//! SACKed, and the reinjection queue what is to be sent again. It knows no bytes. Its owner sees to it
//! that all members lie within half of the number space: order is only local there.

use alloc::collections::VecDeque;
use core::fmt::Debug;

use crate::seq::{Dsn, SeqNum};

/// A modular number space, as reassembly and range sets need it.
pub trait Sequence: Copy + Eq + Debug {
    /// Half of the space: numbers further apart than this have no order.
    const HALF: u64;

    /// True when `self` comes earlier than `other` in the half circle around it.
    fn before(self, other: Self) -> bool;

    /// True when `self` comes later than `other` in the half circle around it.
    fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Octets from `earlier` to `self`, or `None` when `self` is before it.
    fn distance(self, earlier: Self) -> Option<u64>;

    /// The number `octets` further on; a count beyond the space wraps.
    fn plus(self, octets: u64) -> Self;
}

impl Sequence for SeqNum {
    const HALF: u64 = 1 << 31;

    fn before(self, other: Self) -> bool {
        SeqNum::before(self, other)
    }

    fn distance(self, earlier: Self) -> Option<u64> {
        self.since(earlier).map(u64::from)
    }

    fn plus(self, octets: u64) -> Self {
        self + octets as u32
    }
}

impl Sequence for Dsn {
    const HALF: u64 = 1 << 63;

    fn before(self, other: Self) -> bool {
        Dsn::before(self, other)
    }

    fn distance(self, earlier: Self) -> Option<u64> {
        self.since(earlier)
    }

    fn plus(self, octets: u64) -> Self {
        self + octets
    }
}

/// The numbers `start..end`, `end` not included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span<S> {
    /// The first number.
    pub start: S,
    /// One past the last number.
    pub end: S,
}

impl<S: Sequence> Span<S> {
    /// The numbers `start..end`.
    pub fn new(start: S, end: S) -> Self {
        Self { start, end }
    }

    /// The `len` numbers from `start`.
    pub fn with_len(start: S, len: u64) -> Self {
        Self { start, end: start.plus(len) }
    }

    /// How many numbers it holds; 0 when it is inverted.
    pub fn len(&self) -> u64 {
        self.end.distance(self.start).unwrap_or(0)
    }

    /// True when it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when `point` is one of its numbers.
    pub fn contains(&self, point: S) -> bool {
        !point.before(self.start) && point.before(self.end)
    }
}

/// Sorted, disjoint, non-touching ranges.
///
/// Work at either end is O(1), in the middle O(log n) to find the place and a short move of the
/// deque's smaller side: a range is 8 or 16 octets and few exist at once, so that this beats a tree.
#[derive(Clone, Debug)]
pub struct RangeSet<S> {
    ranges: VecDeque<Span<S>>,
    octets: u64,
}

impl<S> Default for RangeSet<S> {
    fn default() -> Self {
        Self { ranges: VecDeque::new(), octets: 0 }
    }
}

impl<S: Sequence> RangeSet<S> {
    /// An empty set, without allocation.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// True when no number is held.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers are held.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Span<S>> + '_ {
        self.ranges.iter().copied()
    }

    /// The lowest range.
    pub fn first(&self) -> Option<Span<S>> {
        self.ranges.front().copied()
    }

    /// The highest range.
    pub fn last(&self) -> Option<Span<S>> {
        self.ranges.back().copied()
    }

    /// The range that holds `point`.
    pub fn containing(&self, point: S) -> Option<Span<S>> {
        let at = self.ranges.partition_point(|r| !r.end.after(point));
        self.ranges.get(at).copied().filter(|r| r.contains(point))
    }

    /// The first part of `within` that is not held, up to the next held range.
    pub fn next_gap(&self, within: Span<S>) -> Option<Span<S>> {
        // The next range to end after the start either holds it, or limits the gap.
        let at = match self.ranges.back() {
            Some(last) if last.end.after(within.start) => {
                self.ranges.partition_point(|r| !r.end.after(within.start))
            }
            _ => self.ranges.len(),
        };
        let (start, limit) = match self.ranges.get(at) {
            Some(r) if r.start.after(within.start) => (within.start, Some(r.start)),
            Some(r) => (r.end, self.ranges.get(at + 1).map(|next| next.start)),
            None => (within.start, None),
        };
        let end = match limit {
            Some(limit) if limit.before(within.end) => limit,
            _ => within.end,
        };
        start.before(end).then_some(Span { start, end })
    }

    /// Adds `span`, joining it with what it overlaps or touches. Returns how many numbers are new.
    pub fn insert(&mut self, span: Span<S>) -> u64 {
        if span.is_empty() {
            return 0;
        }
        let before = self.octets;
        // Ranges from `low` on end at or after the span's start; those up to `high` begin within it.
        let low = match self.ranges.back() {
            Some(last) if !last.end.before(span.start) => {
                if last.start.after(span.start) {
                    self.ranges.partition_point(|r| r.end.before(span.start))
                } else {
                    self.ranges.len() - 1
                }
            }
            _ => self.ranges.len(),
        };
        let mut joined = span;
        let mut high = low;
        while let Some(r) = self.ranges.get(high)
            && !r.start.after(joined.end)
        {
            if r.start.before(joined.start) {
                joined.start = r.start;
            }
            if r.end.after(joined.end) {
                joined.end = r.end;
            }
            self.octets -= r.len();
            high += 1;
        }
        self.octets += joined.len();
        if low == high {
            self.ranges.insert(low, joined);
        } else {
            self.ranges[low] = joined;
            self.ranges.drain(low + 1..high);
        }
        self.octets - before
    }

    /// Forgets every number before `point`.
    pub fn trim_below(&mut self, point: S) {
        while let Some(front) = self.ranges.front_mut()
            && front.start.before(point)
        {
            let cut = if front.end.after(point) { Span::new(front.start, point) } else { *front };
            self.octets -= cut.len();
            front.start = cut.end;
            if front.is_empty() {
                self.ranges.pop_front();
            }
        }
    }

    /// Forgets every number from `point` on.
    pub fn trim_from(&mut self, point: S) {
        while let Some(back) = self.ranges.back_mut()
            && back.end.after(point)
        {
            let cut = if back.start.before(point) { Span::new(point, back.end) } else { *back };
            self.octets -= cut.len();
            back.end = cut.start;
            if back.is_empty() {
                self.ranges.pop_back();
            }
        }
    }

    /// Fills the smallest gap between two ranges (the lowest such one), so that one range less remains.
    ///
    /// O(n); for an owner that limits the number of ranges. Returns how many numbers this added.
    pub fn fill_smallest_gap(&mut self) -> u64 {
        let gaps = self.ranges.iter().zip(self.ranges.iter().skip(1));
        let smallest = gaps.map(|(a, b)| Span::new(a.end, b.start)).min_by_key(Span::len);
        smallest.map_or(0, |gap| self.insert(gap))
    }

    /// Forgets everything and gives the memory back.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives memory back of which three quarters are not used any more, but for `keep` ranges.
    pub fn shrink(&mut self, keep: usize) {
        shrink(&mut self.ranges, keep);
    }
}

/// Gives memory of a queue back, where less than a quarter is used: down to half, so that it neither grows nor
/// shrinks again soon. Room for `keep` stays.
pub(crate) fn shrink<T>(queue: &mut VecDeque<T>, keep: usize) {
    if queue.capacity() > keep && queue.len() < queue.capacity() / 4 {
        queue.shrink_to((queue.len() * 2).max(keep));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Prng;
    use alloc::vec;
    use alloc::vec::Vec;

    const SPACE: u64 = 96;

    /// What a naive set of single numbers would say.
    fn model_ranges(model: &[bool], base: SeqNum) -> Vec<Span<SeqNum>> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < model.len() {
            let len = model[at..].iter().take_while(|held| **held).count();
            if len > 0 {
                found.push(Span::with_len(base + at as u32, len as u64));
            }
            at += len.max(1);
        }
        found
    }

    #[test]
    fn the_set_agrees_with_single_numbers_across_the_wrap() {
        for seed in 0..200 {
            let mut rng = Prng::new(seed);
            let base = SeqNum(u32::MAX - rng.below(SPACE) as u32);
            let mut model = vec![false; SPACE as usize];
            let mut set = RangeSet::new();
            for _ in 0..60 {
                let start = rng.below(SPACE) as usize;
                let len = rng.below(12).min(SPACE - start as u64) as usize;
                let span = Span::with_len(base + start as u32, len as u64);
                match rng.below(8) {
                    0 => {
                        model[..start].fill(false);
                        set.trim_below(span.start);
                    }
                    1 => {
                        model[start..].fill(false);
                        set.trim_from(span.start);
                    }
                    2 => {
                        let gap = model[start..start + len].iter().position(|held| !held).map(|skip| {
                            let free = &model[start + skip..start + len];
                            let width = free.iter().take_while(|held| !**held).count();
                            Span::with_len(span.start + skip as u32, width as u64)
                        });
                        assert_eq!(set.next_gap(span), gap, "seed {seed}");
                    }
                    _ => {
                        let new = model[start..start + len].iter().filter(|held| !**held).count();
                        model[start..start + len].fill(true);
                        assert_eq!(set.insert(span), new as u64, "seed {seed}");
                    }
                }
                let expected = model_ranges(&model, base);
                assert_eq!(set.iter().collect::<Vec<_>>(), expected, "seed {seed}");
                assert_eq!(set.octets(), expected.iter().map(Span::len).sum::<u64>());
                let point = base + start as u32;
                assert_eq!(set.containing(point), expected.iter().find(|r| r.contains(point)).copied());
            }
        }
    }

    #[test]
    fn filling_a_gap_takes_the_smallest() {
        let mut set = RangeSet::new();
        for (start, len) in [(0, 10), (15, 5), (22, 3), (40, 1)] {
            set.insert(Span::with_len(Dsn(start), len));
        }
        assert_eq!(set.fill_smallest_gap(), 2);
        assert_eq!(set.len(), 3);
        assert_eq!(set.containing(Dsn(21)), Some(Span::new(Dsn(15), Dsn(25))));
    }
}
