//! Received octets in order, in the buffers that they came in.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

/// Pieces below this are gathered, whatever they pin: each would cost an entry of its own.
const SMALL_BYTES: usize = 512;
/// Size of the blocks in which they are gathered.
const SMALL_BLOCK_BYTES: usize = 16 << 10;

/// Pieces for which memory is kept when the queue runs empty: what one read takes of a busy connection.
const KEEP_PIECES: usize = 8;

/// A queue of octets that knows what memory it pins. A payload that is small beside its buffer is copied
/// out, so that a peer which sends single octets pins about what it sends.
#[derive(Debug, Default)]
pub struct Pieces {
    queue: VecDeque<Piece>,
    /// Small pieces, gathered behind the last of `queue`.
    small: BytesMut,
    len: usize,
    pinned: usize,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    pinned: u32,
}

impl Pieces {
    /// Octets in the queue.
    pub fn len_bytes(&self) -> usize {
        self.len
    }

    /// Memory that they pin, in octets.
    pub fn pinned_bytes(&self) -> usize {
        self.pinned
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives the memory back if nothing is queued.
    pub fn release(&mut self) {
        if self.len == 0 {
            self.clear();
        }
    }

    /// Appends octets that pin `pinned` of memory. They are copied out where that is far more than they
    /// are, or more than `spare` beyond them.
    pub fn push(&mut self, bytes: Bytes, pinned: u32, spare: usize) {
        let is_loose = (bytes.len() as u64) * 4 < u64::from(pinned);
        let overhead = (pinned as usize).saturating_sub(bytes.len());
        let is_tight = overhead > bytes.len() / 8 && overhead > spare;
        if is_loose || is_tight || bytes.len() < SMALL_BYTES {
            self.gather(&bytes);
        } else {
            self.push_uncopied(bytes, pinned);
        }
    }

    /// Appends octets that will not stay, whatever they pin.
    pub fn push_uncopied(&mut self, bytes: Bytes, pinned: u32) {
        self.seal();
        self.len += bytes.len();
        self.pinned += pinned as usize;
        self.queue.push_back(Piece { bytes, pinned });
    }

    fn gather(&mut self, bytes: &[u8]) {
        if self.small.capacity() - self.small.len() < bytes.len() {
            self.seal();
            self.small = BytesMut::with_capacity(SMALL_BLOCK_BYTES.max(bytes.len()));
        }
        self.small.extend_from_slice(bytes);
        self.len += bytes.len();
        self.pinned += bytes.len();
    }

    /// Puts the gathered pieces into the queue.
    fn seal(&mut self) {
        if !self.small.is_empty() {
            let bytes = self.small.split().freeze();
            let pinned = bytes.len() as u32;
            self.queue.push_back(Piece { bytes, pinned });
        }
    }

    /// The first `max` octets, which stay.
    pub fn peek(&mut self, max: usize) -> Vec<Bytes> {
        self.seal();
        let mut left = max;
        let mut parts = Vec::new();
        for Piece { bytes, .. } in &self.queue {
            if left == 0 {
                break;
            }
            let len = bytes.len().min(left);
            parts.push(bytes.slice(..len));
            left -= len;
        }
        parts
    }

    /// Detaches the first piece, with the memory that it pins.
    pub fn pop(&mut self) -> Option<(Bytes, u32)> {
        if self.queue.is_empty() {
            self.seal();
        }
        let Piece { bytes, pinned } = self.queue.pop_front()?;
        self.len -= bytes.len();
        self.pinned -= pinned as usize;
        if self.queue.is_empty() && self.small.is_empty() {
            self.small = BytesMut::new();
            if self.queue.capacity() > KEEP_PIECES {
                self.queue = VecDeque::new();
            }
        }
        Some((bytes, pinned))
    }

    /// Detaches at most `max` octets of the first piece; `None` when there are none.
    pub fn read(&mut self, max: usize) -> Option<Bytes> {
        if self.queue.is_empty() {
            self.seal();
        }
        let front = self.queue.front_mut()?;
        if max == 0 {
            return None;
        }
        if front.bytes.len() <= max {
            return self.pop().map(|(bytes, _)| bytes);
        }
        let bytes = front.bytes.split_to(max);
        // The rest pins the same buffer: only the octets that left stop counting.
        let freed = (max as u32).min(front.pinned);
        front.pinned -= freed;
        self.pinned -= freed as usize;
        self.len -= max;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMPLE: usize = 1 << 20;

    fn octets(from: usize, len: usize) -> Bytes {
        (from..from + len).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn a_payload_is_copied_out_where_it_pins_more_than_four_times_itself() {
        for (len, pinned, spare, held) in [
            (1_000, 4_000, AMPLE, 4_000),
            (1_000, 4_001, AMPLE, 1_000),
            // More than an eighth beyond itself, which the budget has no room for.
            (1_000, 2_000, 1_000, 2_000),
            (1_000, 2_000, 999, 1_000),
            (1_000, 1_125, 0, 1_125),
            (1_000, 1_126, 0, 1_000),
        ] {
            let mut pieces = Pieces::default();
            pieces.push(octets(0, len), pinned, spare);
            assert_eq!(pieces.pinned_bytes(), held, "{len} in {pinned}, {spare} to spare");
            assert_eq!(pieces.pop(), Some((octets(0, len), held as u32)));
            assert_eq!((pieces.len_bytes(), pieces.pinned_bytes()), (0, 0));
        }
    }

    #[test]
    fn small_pieces_are_gathered_and_larger_ones_are_not() {
        let mut pieces = Pieces::default();
        for i in 0..3 {
            pieces.push(octets(i * 100, 100), 100, AMPLE);
        }
        pieces.push(octets(300, SMALL_BYTES - 1), 2_000, AMPLE);
        pieces.push(octets(299 + SMALL_BYTES, SMALL_BYTES), 600, AMPLE);
        pieces.push(octets(299 + 2 * SMALL_BYTES, 1), 60, AMPLE);
        assert_eq!(pieces.pop(), Some((octets(0, 299 + SMALL_BYTES), 299 + SMALL_BYTES as u32)));
        assert_eq!(pieces.pop(), Some((octets(299 + SMALL_BYTES, SMALL_BYTES), 600)));
        assert_eq!(pieces.read(10), Some(octets(299 + 2 * SMALL_BYTES, 1)));
        assert_eq!((pieces.pop(), pieces.read(1)), (None, None));
    }

    #[test]
    fn a_block_is_filled_before_the_next_one_begins() {
        let mut pieces = Pieces::default();
        let part = SMALL_BLOCK_BYTES / 64;
        for i in 0..65 {
            pieces.push(octets(i * part, part), part as u32, AMPLE);
        }
        assert_eq!(pieces.pop(), Some((octets(0, 64 * part), 64 * part as u32)));
        assert_eq!(pieces.pop(), Some((octets(64 * part, part), part as u32)));
    }

    #[test]
    fn what_is_read_of_a_piece_stops_counting() {
        let mut pieces = Pieces::default();
        pieces.push(octets(0, 1_000), 1_500, AMPLE);
        pieces.push(octets(1_000, 1_000), 1_000, AMPLE);
        assert_eq!(pieces.read(0), None);
        assert_eq!(pieces.read(400), Some(octets(0, 400)));
        assert_eq!((pieces.len_bytes(), pieces.pinned_bytes()), (1_600, 2_100));
        assert_eq!(pieces.read(600), Some(octets(400, 600)), "the rest of the piece, whole");
        assert_eq!((pieces.len_bytes(), pieces.pinned_bytes()), (1_000, 1_000));
        assert_eq!(pieces.read(2_000), Some(octets(1_000, 1_000)), "never more than a piece");
        assert_eq!((pieces.len_bytes(), pieces.pinned_bytes()), (0, 0));
        pieces.push(octets(0, 1_000), 1_500, AMPLE);
        pieces.clear();
        assert_eq!((pieces.read(1), pieces.len_bytes(), pieces.pinned_bytes()), (None, 0, 0));
    }

    #[test]
    fn what_is_peeked_at_stays() {
        let mut pieces = Pieces::default();
        pieces.push(octets(0, 1_000), 1_000, AMPLE);
        pieces.push(octets(1_000, 100), 100, AMPLE);
        let at = |pieces: &mut Pieces, max| pieces.peek(max).concat();
        assert_eq!(at(&mut pieces, 0), b"");
        assert_eq!(at(&mut pieces, 600), octets(0, 600));
        assert_eq!(at(&mut pieces, 1_050), octets(0, 1_050));
        pieces.push(octets(1_100, 100), 100, AMPLE);
        assert_eq!(at(&mut pieces, 5_000), octets(0, 1_200));
        assert_eq!((pieces.len_bytes(), pieces.pinned_bytes()), (1_200, 1_200));
        assert_eq!(pieces.read(400), Some(octets(0, 400)));
        assert_eq!(at(&mut pieces, 700), octets(400, 700));
    }

    #[test]
    fn octets_leave_in_their_order_whatever_they_came_in() {
        let mut rng = crate::rng::Prng::new(5);
        let mut pieces = Pieces::default();
        let (mut pushed, mut read) = (0, 0);
        for _ in 0..5_000 {
            if rng.below(2) == 0 {
                let len = 1 + rng.below(3_000) as usize;
                let pinned = len + rng.below(6_000) as usize;
                pieces.push(octets(pushed, len), pinned as u32, rng.below(4_000) as usize);
                pushed += len;
            } else if let Some(bytes) = pieces.read(1 + rng.below(4_000) as usize) {
                assert_eq!(bytes, octets(read, bytes.len()));
                read += bytes.len();
            }
            assert_eq!(pieces.len_bytes(), pushed - read);
            assert!(pieces.pinned_bytes() >= pieces.len_bytes());
        }
        let rest: Vec<u8> = core::iter::from_fn(|| pieces.read(usize::MAX)).flatten().collect();
        assert_eq!(rest, octets(read, pushed - read));
        assert_eq!(pieces.pinned_bytes(), 0);
    }
}
