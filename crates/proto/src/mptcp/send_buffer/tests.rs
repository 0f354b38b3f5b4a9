//! The send buffer against a vector of octets, at the wraps of the data sequence space.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::rng::Prng;

/// One step: what to do, and two amounts.
type Step = (u8, u16, u16);

/// A writer as the stack has one: it fills allocations, and leaves the last octet of each unused.
struct Writer {
    block: BytesMut,
    block_bytes: usize,
}

impl Writer {
    fn new(block_bytes: usize) -> Self {
        Self { block: BytesMut::new(), block_bytes }
    }

    fn write(&mut self, buffer: &mut SendBuffer, mut octets: &[u8]) {
        while !octets.is_empty() {
            if self.block.capacity() <= 1 {
                self.block = BytesMut::with_capacity(self.block_bytes);
            }
            let (now, later) = octets.split_at(octets.len().min(self.block.capacity() - 1));
            self.block.extend_from_slice(now);
            buffer.push(Piece::Growing(self.block.split()));
            octets = later;
        }
    }
}

fn run(first: Dsn, steps: &[Step]) {
    let mut stream: Vec<u8> = Vec::new();
    let (mut una, mut nxt) = (0, 0);
    let mut writer = Writer::new(64);
    let mut buffer = SendBuffer::new(first, 500);
    for (kind, a, b) in steps {
        let (a, b) = (usize::from(*a), usize::from(*b));
        match kind % 7 {
            0 | 1 => {
                let octets: Vec<u8> = (0..a % 90).map(|i| (stream.len() + i * 7) as u8).collect();
                stream.extend_from_slice(&octets);
                if kind % 7 == 0 {
                    buffer.push(Piece::Fixed(Bytes::from(octets)));
                } else {
                    writer.write(&mut buffer, &octets);
                }
            }
            2 | 3 => {
                let max = (a % 70) as u32;
                let expected = buffer.run_len(max);
                let cut = buffer.cut(max);
                assert_eq!(expected as usize, cut.as_ref().map_or(0, |cut| cut.bytes.len()));
                assert_eq!(cut.is_some(), nxt < stream.len() && max > 0);
                if let Some(cut) = cut {
                    assert_eq!(cut.dsn, first + nxt as u64);
                    assert_eq!(cut.bytes, stream[nxt..nxt + cut.bytes.len()]);
                    nxt += cut.bytes.len();
                }
            }
            4 => {
                let upto = una + a % (nxt - una + 1);
                assert_eq!(buffer.ack(first + upto as u64), (upto - una) as u64);
                una = upto;
                assert_eq!(buffer.ack(first + nxt as u64 + 1 + b as u64), 0, "beyond what was sent");
                assert_eq!(buffer.ack(first + una as u64 - b as u64), 0, "old");
            }
            _ => {
                let from = a % (stream.len() + 2);
                let max = (b % 40) as u32;
                let slice = buffer.slice(first + from as u64, max);
                assert_eq!(slice.is_some(), (una..nxt).contains(&from) && max > 0);
                if let Some(bytes) = slice {
                    assert!(!bytes.is_empty() && bytes.len() <= max as usize && from + bytes.len() <= nxt);
                    assert_eq!(bytes, stream[from..from + bytes.len()]);
                }
            }
        }
        assert_eq!(buffer.write_seq(), first + stream.len() as u64);
        assert_eq!((buffer.snd_una(), buffer.snd_nxt()), (first + una as u64, first + nxt as u64));
        assert_eq!(buffer.unsent(), (stream.len() - nxt) as u64);
        assert_eq!(buffer.unacked(), (nxt - una) as u64);
        assert!(buffer.room() <= 500usize.saturating_sub(stream.len() - una));
        let full = buffer.blocks.is_empty() || buffer.held_bytes() + BLOCK_OVERHEAD_BYTES >= 500;
        assert!(full || buffer.held_bytes() + BLOCK_OVERHEAD_BYTES + buffer.room() == 500);
        assert!(
            !full || buffer.room() == if buffer.blocks.is_empty() { 500 - BLOCK_OVERHEAD_BYTES } else { 0 }
        );
        let held: usize = buffer.blocks.iter().map(|block| block.piece.len()).sum();
        assert_eq!(held, stream.len() - una);
        assert_eq!(buffer.pinned_bytes, buffer.blocks.iter().map(|block| block.pinned_bytes).sum());
        assert!(buffer.pinned_bytes >= held);
    }
    while buffer.cut(u32::MAX).is_some() {}
    buffer.ack(buffer.write_seq());
    assert_eq!(buffer.held_bytes(), 0, "nothing is held after the last acknowledgement");
    assert_eq!(buffer.blocks.len(), 0);
}

#[test]
fn random_runs_agree_with_a_vector() {
    for seed in 0..200 {
        let mut rng = Prng::new(seed);
        let steps: Vec<Step> = (0..120)
            .map(|_| {
                let bits = rng.next_u64();
                (bits as u8, (bits >> 8) as u16, (bits >> 24) as u16)
            })
            .collect();
        let offset = rng.below(1_000);
        run(Dsn(u64::MAX - offset), &steps);
        run(Dsn((1 << 32) - offset), &steps);
        run(Dsn((1 << 63) - offset), &steps);
    }
}

proptest! {
    #[test]
    fn any_run_agrees_with_a_vector(
        offset in 0..1_000u64,
        steps in prop::collection::vec(any::<Step>(), 0..80),
    ) {
        run(Dsn(u64::MAX - offset), &steps);
        run(Dsn((1 << 32) - offset), &steps);
    }
}

#[test]
fn one_octet_writes_share_a_block() {
    let mut buffer = SendBuffer::new(Dsn(1), 1 << 20);
    let mut writer = Writer::new(65_536);
    for i in 0..65_535u32 {
        writer.write(&mut buffer, &[i as u8]);
    }
    assert_eq!(buffer.blocks.len(), 1);
    assert_eq!(buffer.cut(1_000).expect("data").bytes.len(), 1_000);
    let cut = buffer.cut(u32::MAX).expect("data");
    assert_eq!((cut.dsn, cut.bytes.len()), (Dsn(1_001), 64_535));
}

#[test]
fn writes_of_a_segment_come_out_as_whole_blocks() {
    let mut buffer = SendBuffer::new(Dsn(1), 1 << 20);
    let mut writer = Writer::new(65_536);
    for _ in 0..100 {
        writer.write(&mut buffer, &[0; 1_400]);
    }
    let cuts: Vec<_> = core::iter::from_fn(|| buffer.cut(65_535)).map(|cut| cut.bytes.len()).collect();
    assert_eq!(cuts, [65_535, 65_535, 140_000 - 2 * 65_535]);
}

#[test]
fn what_is_unsent_grows_on_behind_what_is_sent() {
    let mut buffer = SendBuffer::new(Dsn(1), 1 << 20);
    let mut writer = Writer::new(65_536);
    writer.write(&mut buffer, &[1; 1_500]);
    assert_eq!(buffer.cut(1_000).map(|cut| cut.bytes.len()), Some(1_000));
    writer.write(&mut buffer, &[2; 1_500]);
    assert_eq!(buffer.run_len(u32::MAX), 2_000);
}

#[test]
fn a_complete_block_is_one_entry_however_often_it_is_cut() {
    let mut buffer = SendBuffer::new(Dsn(1), 1 << 20);
    let mut writer = Writer::new(1_000);
    writer.write(&mut buffer, &[1; 1_100]);
    while buffer.cut(10).is_some() {}
    assert_eq!(buffer.blocks.len(), 1 + 11, "the last block goes on growing, so its cuts are entries");
    assert_eq!(buffer.slice(Dsn(1), u32::MAX).map(|bytes| bytes.len()), Some(999));
}

/// Memory that tells when it is freed.
struct Watched(Arc<Vec<u8>>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[test]
fn memory_is_freed_with_the_acknowledgement_of_its_last_octet() {
    let memory = Arc::new(vec![0; 100]);
    let mut buffer = SendBuffer::new(Dsn(1), 1_000);
    buffer.push(Piece::Fixed(Bytes::from_owner(Watched(memory.clone()))));
    while buffer.cut(30).is_some() {}
    buffer.ack(Dsn(100));
    assert_eq!(Arc::strong_count(&memory), 2);
    assert_eq!(buffer.held_bytes(), 100 + BLOCK_OVERHEAD_BYTES);
    buffer.ack(Dsn(101));
    assert_eq!(Arc::strong_count(&memory), 1);
    assert_eq!(buffer.held_bytes(), 0);
}

#[test]
fn a_writer_that_keeps_to_the_room_keeps_to_the_limit() {
    let mut buffer = SendBuffer::new(Dsn(1), 1000);
    assert_eq!(buffer.room(), 1000 - BLOCK_OVERHEAD_BYTES);
    buffer.push(Piece::Fixed(Bytes::from(vec![0; 800])));
    let room = buffer.room();
    assert_eq!(room, 1000 - 800 - 2 * BLOCK_OVERHEAD_BYTES);
    buffer.push(Piece::Fixed(Bytes::from(vec![0; room])));
    assert_eq!((buffer.room(), buffer.held_bytes()), (0, 1000));
    buffer.raise_limit(1200);
    assert_eq!(buffer.room(), 200 - BLOCK_OVERHEAD_BYTES);
    buffer.raise_limit(500);
    assert_eq!(buffer.room(), 200 - BLOCK_OVERHEAD_BYTES, "it never shrinks");
}

#[test]
fn a_full_buffer_that_is_sent_in_small_parts_keeps_to_its_limit() {
    let limit = 20_000;
    let mut buffer = SendBuffer::new(Dsn(1), limit);
    let mut writer = Writer::new(16_000);
    for max in [1, 100, 1_400] {
        while buffer.room() > 0 {
            let len = buffer.room().min(1_400);
            writer.write(&mut buffer, &[0; 1_400][..len]);
        }
        assert!(buffer.held_bytes() <= limit);
        while let Some(cut) = buffer.cut(max) {
            assert!(
                buffer.held_bytes() <= limit,
                "{} held after a cut at {}",
                buffer.held_bytes(),
                cut.dsn.0
            );
        }
        buffer.ack(buffer.snd_nxt());
    }
}

#[test]
fn a_writer_is_woken_sooner_once_everything_was_sent() {
    let mut buffer = SendBuffer::new(Dsn(0), 8000 + BLOCK_OVERHEAD_BYTES);
    buffer.push(Piece::Fixed(Bytes::from(vec![0; 6500])));
    assert!(!buffer.is_writable(), "less than a third is free");
    buffer.cut(6500);
    assert!(buffer.is_writable());
    buffer.push(Piece::Fixed(Bytes::from(vec![0; 600])));
    buffer.cut(600);
    assert!(!buffer.is_writable(), "less than an eighth is free");
}
