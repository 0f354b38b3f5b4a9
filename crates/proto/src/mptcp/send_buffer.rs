//! The octets that a connection has accepted for sending and the peer has not yet DATA_ACKed.
//!
//! Hop 2 of the way of a byte: here it gets its [`Dsn`], and here it stays until DATA_ACK passes it
//! (RFC 8684 §3.3.1), whichever subflows carry it meanwhile. Subflows hold slices of the same memory.
//! What is sent next and where is the scheduler's choice, what is sent again is kept in
//! [`Reinject`](super::reinject::Reinject), and the number that a DATA_FIN takes is the owner's: it is
//! never in this buffer.

use alloc::collections::VecDeque;
use core::mem;

use bytes::{Buf, Bytes, BytesMut};

use crate::seq::Dsn;

/// Memory that one block costs beyond its octets: its place in the deque and its share of the
/// allocation's reference count. Approximate.
pub const BLOCK_OVERHEAD_BYTES: usize = 64;

/// What a write brings.
#[derive(Debug)]
pub enum Piece {
    /// Memory that is complete; always a block of its own.
    Fixed(Bytes),
    /// The part that a writer just filled of a larger allocation (`BytesMut::split`).
    ///
    /// While the octets before it are unsent and end where it begins in memory, it becomes one block
    /// with them, at no cost. So many small writes come out as few large runs.
    ///
    /// A writer leaves the last octet of each allocation unused. Then adjacent addresses always mean
    /// the same allocation; else an allocator that puts two side by side would change the sizes of
    /// runs (and cost a copy), and a replayed run would differ.
    Growing(BytesMut),
}

impl Piece {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes.len(),
            Self::Growing(bytes) => bytes.len(),
        }
    }

    /// Keeps the first `len` octets only.
    pub fn truncate(&mut self, len: usize) {
        match self {
            Self::Fixed(bytes) => bytes.truncate(len),
            Self::Growing(bytes) => bytes.truncate(len),
        }
    }
}

/// A run of octets on its way into a mapping; they lie in one block of memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The number of the first octet.
    pub dsn: Dsn,
    /// The octets; never empty.
    pub bytes: Bytes,
}

/// Contiguous octets in one allocation. A growing one is wholly unsent, and the last.
#[derive(Debug)]
struct Block {
    start: Dsn,
    piece: Piece,
    /// Octets that it had when it was made, acknowledged ones included: these stay pinned.
    pinned_bytes: usize,
}

impl Block {
    fn end(&self) -> Dsn {
        self.start + self.piece.len() as u64
    }
}

/// The data-level send buffer of one connection.
///
/// `snd_una <= snd_nxt <= write_seq`, as a window of at most `limit_bytes` and one write.
#[derive(Debug)]
pub struct SendBuffer {
    /// Sorted and contiguous from `snd_una` to `write_seq`; none is empty. Never empty itself unless
    /// everything is acknowledged.
    blocks: VecDeque<Block>,
    snd_una: Dsn,
    snd_nxt: Dsn,
    write_seq: Dsn,
    limit_bytes: usize,
    pinned_bytes: usize,
    /// Octets that may be accepted and not sent.
    unsent_limit: u32,
}

impl SendBuffer {
    /// An empty buffer whose first octet will be `first` (IDSN + 1, RFC 8684 §3.1).
    pub fn new(first: Dsn, limit_bytes: usize) -> Self {
        Self {
            blocks: VecDeque::new(),
            snd_una: first,
            snd_nxt: first,
            write_seq: first,
            limit_bytes,
            pinned_bytes: 0,
            unsent_limit: u32::MAX,
        }
    }

    /// Lets `limit_bytes` be accepted and not acknowledged, if that is more than before.
    pub fn raise_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = self.limit_bytes.max(limit_bytes);
    }

    /// Lets `limit_bytes` be accepted and not acknowledged; what was accepted beyond that stays.
    pub fn set_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
    }

    /// Lets `bytes` be accepted and not sent (Linux: `TCP_NOTSENT_LOWAT`); `u32::MAX`, the default, for all that may be accepted.
    pub fn set_unsent_limit(&mut self, bytes: u32) {
        self.unsent_limit = bytes;
    }

    /// How many octets may be accepted and not acknowledged.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Octets that may be accepted now: by the memory that is pinned, so that a block of which only the end
    /// is still needed counts whole. An empty buffer takes an octet, however small its limit.
    pub fn room(&self) -> usize {
        let room = self.limit_bytes.saturating_sub(self.held_bytes() + BLOCK_OVERHEAD_BYTES);
        let room = room.max(usize::from(self.blocks.is_empty()));
        match self.unsent_limit {
            u32::MAX => room,
            limit => room.min(u64::from(limit).saturating_sub(self.unsent()) as usize),
        }
    }

    /// Whether a writer that waits is woken. Linux does so when a third is free; fewer, larger writes follow.
    /// While everything was sent and the rest waits for its acknowledgement, an eighth is enough: a path
    /// that could send stays idle otherwise.
    pub fn is_writable(&self) -> bool {
        // As Linux: of what may be unsent, half.
        if self.unsent_limit != u32::MAX {
            return self.room() > 0 && 2 * self.unsent() < u64::from(self.unsent_limit);
        }
        let part = if self.unsent() == 0 { 8 } else { 3 };
        self.room() * part >= self.limit_bytes
    }

    /// All that was accepted is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Appends `piece` at `write_seq`; an empty one does nothing.
    ///
    /// Nothing is refused here: the caller looks at [`room`](Self::room) first, and one that writes as
    /// long as there is any exceeds the limit by less than one piece.
    pub fn push(&mut self, piece: Piece) {
        let len = piece.len();
        if len == 0 {
            return;
        }
        let start = self.write_seq;
        self.write_seq += len as u64;
        self.pinned_bytes += len;
        let piece = match (piece, self.blocks.back_mut()) {
            (Piece::Growing(more), Some(Block { piece: Piece::Growing(last), pinned_bytes, .. }))
                if last.as_ptr_range().end == more.as_ptr() =>
            {
                last.unsplit(more);
                *pinned_bytes += len;
                return;
            }
            (piece, _) => piece,
        };
        self.freeze_last();
        self.blocks.push_back(Block { start, piece, pinned_bytes: len });
    }

    /// Takes the next unsent run of at most `max` octets that lies in one block; it counts as sent, and
    /// stays held until it is acknowledged.
    pub fn cut(&mut self, max: u32) -> Option<Cut> {
        let len = self.run_len(max) as usize;
        if len == 0 {
            return None;
        }
        let dsn = self.snd_nxt;
        let index = self.index_of(dsn);
        self.snd_nxt += len as u64;
        // Each part of a block that is taken apart costs an entry, which a full buffer has no room for.
        if self.held_bytes() + BLOCK_OVERHEAD_BYTES > self.limit_bytes {
            self.freeze_last();
        }
        let block = &mut self.blocks[index];
        let growing = match &mut block.piece {
            Piece::Fixed(bytes) => {
                let from = dsn.saturating_since(block.start) as usize;
                return Some(Cut { dsn, bytes: bytes.slice(from..from + len) });
            }
            Piece::Growing(growing) => growing,
        };
        // What is sent becomes a block of its own, what is not goes on growing.
        let bytes = growing.split_to(len).freeze();
        let sent = Block { start: dsn, piece: Piece::Fixed(bytes.clone()), pinned_bytes: len };
        if growing.is_empty() {
            *block = sent;
        } else {
            block.start += len as u64;
            block.pinned_bytes -= len;
            self.blocks.insert(index, sent);
        }
        Some(Cut { dsn, bytes })
    }

    /// How many octets [`cut`](Self::cut) would take now.
    pub fn run_len(&self, max: u32) -> u32 {
        let block = self.blocks.get(self.index_of(self.snd_nxt));
        let run = block.map_or(0, |block| block.end().saturating_since(self.snd_nxt));
        u32::try_from(run).unwrap_or(u32::MAX).min(max)
    }

    /// Octets in flight from `from` on: at most `max`, out of one block, for sending them again.
    ///
    /// `None` when `from` is not in flight, that is outside `snd_una..snd_nxt`, or `max` is 0.
    pub fn slice(&self, from: Dsn, max: u32) -> Option<Bytes> {
        if from.before(self.snd_una) || !from.before(self.snd_nxt) || max == 0 {
            return None;
        }
        let block = self.blocks.get(self.index_of(from))?;
        let Piece::Fixed(bytes) = &block.piece else { return None };
        let skip = from.saturating_since(block.start) as usize;
        let end = block.end().min(self.snd_nxt);
        let len = end.saturating_since(from).min(u64::from(max)) as usize;
        Some(bytes.slice(skip..skip + len))
    }

    /// Frees everything before `upto`, a DATA_ACK, and returns how many octets that were.
    ///
    /// Does nothing for one that is not after `snd_una`, or that is after `snd_nxt`: that acknowledges
    /// what was never sent, which the caller judges.
    pub fn ack(&mut self, upto: Dsn) -> u64 {
        if !upto.after(self.snd_una) || upto.after(self.snd_nxt) {
            return 0;
        }
        let freed = upto.saturating_since(self.snd_una);
        self.snd_una = upto;
        while let Some(front) = self.blocks.front_mut()
            && front.start.before(upto)
        {
            if !front.end().after(upto) {
                self.pinned_bytes -= front.pinned_bytes;
                self.blocks.pop_front();
                continue;
            }
            let skip = upto.saturating_since(front.start) as usize;
            match &mut front.piece {
                Piece::Fixed(bytes) => bytes.advance(skip),
                Piece::Growing(bytes) => bytes.advance(skip),
            }
            front.start = upto;
        }
        if self.blocks.is_empty() {
            // A connection that runs idle keeps no memory for a past burst.
            self.blocks = VecDeque::new();
        }
        freed
    }

    /// The number that the next octet written will get.
    pub fn write_seq(&self) -> Dsn {
        self.write_seq
    }

    /// The lowest number that is not acknowledged.
    pub fn snd_una(&self) -> Dsn {
        self.snd_una
    }

    /// The lowest number that was never sent.
    pub fn snd_nxt(&self) -> Dsn {
        self.snd_nxt
    }

    /// Octets accepted and never sent.
    pub fn unsent(&self) -> u64 {
        self.write_seq.saturating_since(self.snd_nxt)
    }

    /// Octets sent and not acknowledged.
    pub fn unacked(&self) -> u64 {
        self.snd_nxt.saturating_since(self.snd_una)
    }

    /// Octets of memory that the buffer pins, about: those of all blocks, with what is acknowledged of
    /// the first, and what blocks cost beyond.
    ///
    /// Not known here: the rest of an allocation that the writer goes on filling, or whose beginning
    /// was acknowledged as blocks of their own: less than one allocation at each end.
    pub fn held_bytes(&self) -> usize {
        self.pinned_bytes + self.blocks.len() * BLOCK_OVERHEAD_BYTES
    }

    /// The block that holds `dsn`, or one past the last.
    fn index_of(&self, dsn: Dsn) -> usize {
        match self.blocks.back() {
            // New data is sent from the last block more often than from any other.
            Some(last) if !dsn.before(last.start) => self.blocks.len() - usize::from(dsn.before(last.end())),
            _ => self.blocks.partition_point(|block| !block.end().after(dsn)),
        }
    }

    /// Ends the growth of the last block, so that it need not be taken apart when it is sent.
    fn freeze_last(&mut self) {
        if let Some(Block { piece, .. }) = self.blocks.back_mut()
            && let Piece::Growing(bytes) = piece
        {
            *piece = Piece::Fixed(mem::take(bytes).freeze());
        }
    }
}

#[cfg(test)]
mod tests;
