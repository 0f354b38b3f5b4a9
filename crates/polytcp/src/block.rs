//! The memory that writes are copied into: blocks that small writes share.

use bytes::BytesMut;

/// Bytes of the largest piece that one write hands over.
pub(crate) const PIECE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of the largest block. Four large pieces share one: a segment never crosses a block, so each block
/// ends with one that is not full.
const BLOCK_BYTES_MAX: usize = 4 * PIECE_BYTES_MAX;

/// Bytes of a socket's first block. Each later one is twice as large, up to [`SHARED_BYTES_MAX`].
const BLOCK_BYTES_MIN: usize = 4 * 1024;

/// Bytes of the largest block that is made for small writes to share.
const SHARED_BYTES_MAX: usize = 64 * 1024;

/// The block of one socket. What is filled is handed to the host; what is left is for the next write.
pub(crate) struct Block {
    /// Always empty; its capacity is the free tail of the block.
    tail: BytesMut,
    next_bytes: usize,
}

impl Block {
    pub(crate) fn new() -> Self {
        Self { tail: BytesMut::new(), next_bytes: BLOCK_BYTES_MIN }
    }

    /// A copy of `bytes`, contiguous in memory with the piece before where the block has room for it.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> BytesMut {
        if self.tail.capacity() < bytes.len() {
            // Room for four such writes: at most a quarter of a block is left over at its end.
            let wanted = (4 * bytes.len()).clamp(self.next_bytes, BLOCK_BYTES_MAX);
            self.tail = BytesMut::with_capacity(wanted.max(bytes.len()));
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
        let mut block = Block::new();
        let mut first = block.fill(b"hello ");
        let second = block.fill(b"world");
        assert_eq!(first.as_ptr().wrapping_add(6), second.as_ptr());
        first.unsplit(second);
        assert_eq!(&first[..], b"hello world");
    }

    #[test]
    fn a_piece_that_is_taken_back_is_filled_again() {
        let mut block = Block::new();
        let before = block.fill(b"a");
        let unused = block.fill(b"never sent");
        let at = unused.as_ptr();
        block.take_back(unused);
        let piece = block.fill(b"b");
        assert_eq!((piece.as_ptr(), &piece[..], &before[..]), (at, &b"b"[..], &b"a"[..]));
    }

    #[test]
    fn blocks_grow_with_use_and_to_what_is_asked() {
        let mut block = Block::new();
        block.fill(&[0; 100]);
        assert!(block.tail.capacity() < 8 * 1024);
        for _ in 0..10_000 {
            block.fill(&[0; 100]);
        }
        assert!(block.tail.capacity() <= SHARED_BYTES_MAX);
        assert_eq!(block.fill(&[1; BLOCK_BYTES_MAX]).len(), BLOCK_BYTES_MAX);
        assert!(block.fill(&[2; 100_000]).iter().all(|&byte| byte == 2));
    }
}
