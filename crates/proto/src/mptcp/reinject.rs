//! Data that waits to be sent again, on another subflow than before (RFC 8684 §3.3.6).
//!
//! Ranges of data sequence numbers, never octets: these stay in the connection's
//! [`SendBuffer`](super::send_buffer::SendBuffer) until DATA_ACK passes them. Why a range was queued
//! and who may carry it is the owner's business.

use alloc::boxed::Box;

use crate::ranges::{RangeSet, Span};
use crate::seq::Dsn;

/// Ranges that are kept apart. A connection that lost more separate runs sends some octets between
/// them once more than needed, which is harmless; a list without limit is not.
pub const RANGES_MAX: usize = 256;

/// An ordered set of disjoint data-sequence ranges to send again, lowest first.
///
/// All of them lie in the send buffer's window, so that their order is never in doubt.
#[derive(Clone, Default, Debug)]
pub struct Reinject {
    /// Few connections ever have one.
    ranges: Option<Box<RangeSet<Dsn>>>,
}

impl Reinject {
    /// An empty queue, without allocation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues `start..end`; what is queued already stays queued once.
    ///
    /// Beyond [`RANGES_MAX`] ranges the two with the smallest gap between them become one that covers
    /// the gap too.
    pub fn insert(&mut self, start: Dsn, end: Dsn) {
        let ranges = self.ranges.get_or_insert_default();
        ranges.insert(Span::new(start, end));
        if ranges.len() > RANGES_MAX {
            ranges.fill_smallest_gap();
        }
    }

    /// Takes up to `max` octets from the lowest range at or above `snd_una`.
    ///
    /// What lies below `snd_una` was acknowledged meanwhile and is forgotten.
    pub fn pop_front(&mut self, max: u32, snd_una: Dsn) -> Option<Span<Dsn>> {
        let front = self.peek(snd_una)?;
        let taken = Span::with_len(front.start, front.len().min(u64::from(max)));
        self.trim_below(taken.end);
        (!taken.is_empty()).then_some(taken)
    }

    /// The lowest range at or above `snd_una`, without taking it; forgets what lies below.
    pub fn peek(&mut self, snd_una: Dsn) -> Option<Span<Dsn>> {
        let ranges = self.ranges.as_mut()?;
        ranges.trim_below(snd_una);
        ranges.first()
    }

    /// Forgets everything below `snd_una`: it was acknowledged.
    pub fn trim_below(&mut self, snd_una: Dsn) {
        if let Some(ranges) = &mut self.ranges {
            ranges.trim_below(snd_una);
        }
    }

    /// The queued ranges, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = Span<Dsn>> + '_ {
        self.ranges.iter().flat_map(|ranges| ranges.iter())
    }

    /// Octets that are queued.
    pub fn len_bytes(&self) -> u64 {
        self.ranges.as_ref().map_or(0, |ranges| ranges.octets())
    }

    /// True when nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.ranges.as_ref().is_none_or(|ranges| ranges.is_empty())
    }

    /// Forgets everything and gives the memory back.
    pub fn clear(&mut self) {
        self.ranges = None;
    }

    /// Gives the memory back if nothing is queued.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.ranges = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn ranges_leave_lowest_first_and_no_octet_twice() {
        let base = Dsn(u64::MAX - 10);
        let mut queue = Reinject::new();
        queue.insert(base + 50, base + 60);
        queue.insert(base, base + 20);
        queue.insert(base + 10, base + 30);
        assert_eq!(queue.len_bytes(), 40);
        assert_eq!(queue.pop_front(8, base + 4), Some(Span::new(base + 4, base + 12)));
        assert_eq!(queue.peek(base + 4), Some(Span::new(base + 12, base + 30)));
        assert_eq!(queue.pop_front(0, base), None);
        queue.trim_below(base + 30);
        assert_eq!(queue.pop_front(100, base), Some(Span::new(base + 50, base + 60)));
        assert_eq!(queue.pop_front(100, base), None);
        assert_eq!(queue.len_bytes(), 0);
    }

    #[test]
    fn the_number_of_ranges_is_bounded_and_covers_what_was_queued() {
        let mut queue = Reinject::new();
        let starts: Vec<u64> = (0..RANGES_MAX as u64 + 50).map(|i| i * 100 + (i % 7) * 3).collect();
        for start in &starts {
            queue.insert(Dsn(*start), Dsn(start + 10));
        }
        assert_eq!(queue.iter().count(), RANGES_MAX);
        for start in starts {
            assert!(queue.iter().any(|r| r.contains(Dsn(start)) && r.contains(Dsn(start + 9))));
        }
        queue.clear();
        assert!(queue.is_empty());
    }
}
