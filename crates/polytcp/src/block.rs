//! The memory that writes are copied into: blocks that small writes share.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::BytesMut;

use crate::mutex::lock;

/// Bytes of the largest piece that one write hands over.
pub(crate) const PIECE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of the largest block. Four large pieces share one: a segment never crosses a block, so each block
/// ends with one that is not full.
const BLOCK_BYTES_MAX: usize = 4 * PIECE_BYTES_MAX;

/// Bytes of a socket's first block. Each later one is twice as large, up to [`SHARED_BYTES_MAX`].
const BLOCK_BYTES_MIN: usize = 4 * 1024;

/// Bytes of the largest block that is made for small writes to share: four segments of the largest size, and
/// no scrap at its end that would leave as a segment of its own.
const SHARED_BYTES_MAX: usize = 4 * 65_428;

/// Spent blocks that a stack remembers at most.
const SPENT_MAX: usize = 16;

/// Blocks of a stack from [`SHARED_BYTES_MAX`] on that are spent: each is filled again once its last octet was acknowledged.
///
/// Fresh memory of this size comes from the kernel page by page; in a profile of uploads that was a third
/// of the writer's time. At most [`SPENT_MAX`] blocks of [`BLOCK_BYTES_MAX`] are remembered.
#[derive(Default)]
pub(crate) struct BlockPool(Mutex<VecDeque<BytesMut>>);

impl BlockPool {
    /// An empty block of at least `bytes`.
    fn take(&self, bytes: usize) -> BytesMut {
        if bytes >= SHARED_BYTES_MAX {
            let mut spent = lock(&self.0);
            // The latest first: its memory is most likely in a cache.
            if let Some(at) = (0..spent.len()).rev().find(|&at| spent[at].try_reclaim(bytes)) {
                return spent.remove(at).unwrap_or_default();
            }
        }
        BytesMut::with_capacity(bytes)
    }

    /// Remembers a block of at least [`SHARED_BYTES_MAX`] whose room is used up; it is still being sent.
    fn retire(&self, block: BytesMut) {
        let mut spent = lock(&self.0);
        if spent.len() == SPENT_MAX {
            spent.pop_front();
        }
        spent.push_back(block);
    }
}

/// The block of one socket. What is filled is handed to the host; what is left is for the next write.
pub(crate) struct Block {
    /// Always empty; its capacity is the free tail of the block.
    tail: BytesMut,
    next_bytes: usize,
    /// The tail is of a block of at least [`SHARED_BYTES_MAX`].
    is_large: bool,
}

impl Block {
    pub(crate) fn new() -> Self {
        Self { tail: BytesMut::new(), next_bytes: BLOCK_BYTES_MIN, is_large: false }
    }

    /// A copy of `bytes`, contiguous in memory with the piece before where the block has room for it.
    pub(crate) fn fill(&mut self, bytes: &[u8], pool: &BlockPool) -> BytesMut {
        if self.tail.capacity() < bytes.len() {
            // Room for four such writes: at most a quarter of a block is left over at its end.
            let wanted = (4 * bytes.len()).clamp(self.next_bytes, BLOCK_BYTES_MAX);
            let spent = std::mem::take(&mut self.tail);
            if self.is_large {
                pool.retire(spent);
            }
            let wanted = wanted.max(bytes.len());
            self.is_large = wanted >= SHARED_BYTES_MAX;
            self.tail = pool.take(wanted);
            self.next_bytes = (2 * self.next_bytes).min(SHARED_BYTES_MAX);
        }
        self.tail.extend_from_slice(bytes);
        self.tail.split()
    }

    /// Takes back the last piece of [`fill`](Self::fill), which was not used.
    pub(crate) fn take_back(&mut self, mut piece: BytesMut) {
        // Joined before it is cleared: an empty piece would be thrown away.
        piece.unsplit(std::mem::take(&mut self.tail));
        piece.clear();
        self.tail = piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_writes_share_a_block() {
        let pool = BlockPool::default();
        let mut block = Block::new();
        let mut first = block.fill(b"hello ", &pool);
        let second = block.fill(b"world", &pool);
        assert_eq!(first.as_ptr().wrapping_add(6), second.as_ptr());
        first.unsplit(second);
        assert_eq!(&first[..], b"hello world");
    }

    #[test]
    fn a_piece_that_is_taken_back_is_filled_again() {
        let pool = BlockPool::default();
        let mut block = Block::new();
        let before = block.fill(b"a", &pool);
        let unused = block.fill(b"never sent", &pool);
        let at = unused.as_ptr();
        block.take_back(unused);
        let piece = block.fill(b"b", &pool);
        assert_eq!((piece.as_ptr(), &piece[..], &before[..]), (at, &b"b"[..], &b"a"[..]));
    }

    #[test]
    fn blocks_grow_with_use_and_to_what_is_asked() {
        let pool = BlockPool::default();
        let mut block = Block::new();
        block.fill(&[0; 100], &pool);
        assert!(block.tail.capacity() < 8 * 1024);
        for _ in 0..10_000 {
            block.fill(&[0; 100], &pool);
        }
        assert!(block.tail.capacity() <= SHARED_BYTES_MAX);
        assert_eq!(block.fill(&[1; BLOCK_BYTES_MAX], &pool).len(), BLOCK_BYTES_MAX);
        assert!(block.fill(&[2; 100_000], &pool).iter().all(|&byte| byte == 2));
    }

    #[test]
    fn a_large_block_is_filled_again_when_nobody_holds_it() {
        let pool = BlockPool::default();
        let mut block = Block::new();
        let first = block.fill(&[1; BLOCK_BYTES_MAX], &pool);
        let at = first.as_ptr();
        let second = block.fill(&[2; BLOCK_BYTES_MAX], &pool);
        assert_ne!(second.as_ptr(), at, "the first is still held");
        drop(first);
        let third = block.fill(&[3; BLOCK_BYTES_MAX], &pool);
        assert_eq!(third.as_ptr(), at);
        assert!(second.iter().all(|&byte| byte == 2) && third.iter().all(|&byte| byte == 3));
    }
}
