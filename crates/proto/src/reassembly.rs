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
//! buffers do not pin 64 KiB each. What an entry costs beside its buffer is counted where it is much
//! ([`ENTRY_BYTES_MIN`]), and room for entries that are gone is given back: the heap holds less
//! than twice what is counted, where `buffer_bytes` is what a buffer is.
//!
//! **Why a deque.** Serial numbers have no total order, so that no ordered map takes them as keys.
//! Nearly all data arrives at the tail (O(1)) and leaves at the front (O(1)); a retransmission that
//! fills a hole is found by binary search and moves the smaller side of the deque, at most half of the
//! limit in small entries.

mod held;

use alloc::boxed::Box;

use bytes::Bytes;

pub use crate::ranges::{Sequence, Span};
use held::Held;

/// Ranges that are remembered in the order of their last arrival: as many as fit a SACK option
/// without timestamps (RFC 2018 §3).
pub const RECENT_RANGES: usize = 4;

/// What a payload that was copied out costs beyond its octets: its allocation's header and rounding,
/// and its entry here. Rounded up, so that one-octet segments are not a bargain.
pub const COPY_OVERHEAD_BYTES: u32 = 128;

/// Least that an entry is accounted for. Beside its buffer it costs up to 344 octets: 72 for itself and
/// its range, four times while as much room is kept; and 56 to share the buffer and round it up. So a
/// larger buffer is more than half of the whole and is counted as it is, and a smaller one as this.
pub const ENTRY_BYTES_MIN: u32 = 384;

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

/// Out-of-order data, sorted and disjoint. It costs a word until the first comes.
#[derive(Clone, Debug)]
pub struct Reassembly<S, T> {
    limit_entries: usize,
    held: Option<Box<Held<S, T>>>,
}

impl<S: Sequence, T: Clone> Reassembly<S, T> {
    /// An empty structure for at most `limit_entries` entries (at least one).
    pub fn new(limit_entries: usize) -> Self {
        Self { limit_entries, held: None }
    }

    /// Takes `bytes` that begin at `start` and pin `buffer_bytes` octets of memory.
    ///
    /// Only octets that are not held become entries, one for each hole that they fill or touch, each
    /// with a clone of `tag` and counted with the whole buffer unless it is copied out, but at least as
    /// [`ENTRY_BYTES_MIN`].
    ///
    /// At the limit of entries, data in front of everything held takes the place of the highest entry,
    /// since it may be what the owner waits for; so an owner's next octet is never refused. (Giving up
    /// octets that were SACKed is allowed, RFC 2018 §8; the peer sends them again.) All other data is
    /// refused. Refused too, as a whole, is data that would make what is held span half of the number
    /// space, where order ends; no window is that wide.
    pub fn insert(&mut self, start: S, bytes: Bytes, buffer_bytes: u32, tag: T) -> Inserted<S> {
        let held = self.held.get_or_insert_with(|| Box::new(Held::new(self.limit_entries)));
        held.insert(start, bytes, buffer_bytes, tag)
    }

    /// Takes the data at `next`, the owner's in-order point, if it is held.
    ///
    /// Octets before `next` are trimmed; entries wholly before it are discarded on the way.
    pub fn pop_in_order(&mut self, next: S) -> Option<Entry<S, T>> {
        self.held.as_mut()?.pop_in_order(next)
    }

    /// Removes the entry with the highest numbers, the one that is needed last: for an owner over budget.
    pub fn drop_tail(&mut self) -> Option<Entry<S, T>> {
        self.held.as_mut()?.drop_tail()
    }

    /// Drops everything and gives the memory back.
    pub fn clear(&mut self) {
        self.held = None;
    }

    /// Gives the memory back if nothing is held.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.held = None;
        }
    }

    /// The maximal contiguous ranges that are held, ascending (RFC 2018 §3).
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = Span<S>> + '_ {
        self.held.iter().flat_map(|held| held.ranges())
    }

    /// Up to [`RECENT_RANGES`] held ranges in the order of a SACK option: the one that the last arrival
    /// belongs to, then those of the arrivals before (RFC 2018 §4).
    ///
    /// When fewer are remembered than are held, the lowest of the others follow: to name them costs
    /// nothing, and they are the next that the peer would send again.
    pub fn recent_first(&self) -> impl Iterator<Item = Span<S>> + use<S, T> {
        self.held.as_ref().map(|held| held.recent_first()).into_iter().flatten()
    }

    /// The entries, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry<S, T>> {
        self.held.iter().flat_map(|held| held.iter())
    }

    /// How many entries are held.
    pub fn len(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.len())
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.is_empty())
    }

    /// Octets of data that are held.
    pub fn payload_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.payload_bytes())
    }

    /// Octets of memory that the held data is accounted for.
    pub fn buffer_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.buffer_bytes())
    }
}

#[cfg(test)]
mod tests;
