//! Received octets in order, in the buffers that they came in.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces below this are gathered, whatever they pin: each would cost an entry of its own.
const SMALL_BYTES: usize = 512;
/// Size of the blocks in which they are gathered.
const SMALL_BLOCK_BYTES: usize = 16 << 10;

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

    /// Detaches the first piece, with the memory that it pins.
    pub fn pop(&mut self) -> Option<(Bytes, u32)> {
        if self.queue.is_empty() {
            self.seal();
        }
        let Piece { bytes, pinned } = self.queue.pop_front()?;
        self.len -= bytes.len();
        self.pinned -= pinned as usize;
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
