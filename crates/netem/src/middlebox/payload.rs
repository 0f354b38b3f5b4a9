//! Boxes that change payload and leave its length: what DSS checksums are for (RFC 8684 §3.3 and §3.7).

use alloc::vec::Vec;
use core::num::NonZeroU8;

use polytcp_proto::time::Instant;

use crate::middlebox::flow::{FLOWS_MAX, FlowTable};
use crate::middlebox::segment::Segment;
use crate::middlebox::stream::Stream;
use crate::middlebox::{Direction, Middlebox, Output};

/// Changes payload of one direction, each time that it passes.
#[derive(Clone, Debug)]
pub struct ChangePayload {
    direction: Direction,
    change: Change,
    streams: FlowTable<Stream>,
}

#[derive(Clone, Debug)]
enum Change {
    Pattern { find: Vec<u8>, replacement: Vec<u8> },
    Octet { offset: u64, flipped: NonZeroU8 },
}

impl ChangePayload {
    /// Replaces each occurrence of `find` within a segment. `None` when the lengths differ or are zero.
    pub fn pattern(direction: Direction, find: &[u8], replacement: &[u8]) -> Option<Self> {
        if find.is_empty() || find.len() != replacement.len() {
            return None;
        }
        Some(Self::new(direction, Change::Pattern { find: find.to_vec(), replacement: replacement.to_vec() }))
    }

    /// Flips the bits `flipped` of the octet at `offset` in the stream of each flow whose SYN passes;
    /// the first octet has offset 0.
    pub fn octet(direction: Direction, offset: u64, flipped: NonZeroU8) -> Self {
        Self::new(direction, Change::Octet { offset, flipped })
    }

    fn new(direction: Direction, change: Change) -> Self {
        Self { direction, change, streams: FlowTable::new(FLOWS_MAX) }
    }

    fn rewrite(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut segment = Segment::parse(packet)?;
        let changed = match &self.change {
            Change::Pattern { find, replacement } => replace(&mut segment.payload, find, replacement),
            Change::Octet { offset, flipped } => {
                let key = segment.one_way();
                if segment.is_syn() {
                    self.streams.insert(key, Stream::opened(segment.header.seq));
                }
                let stream = self.streams.use_flow(&key)?;
                let start = stream.at(segment.payload_seq());
                stream.saw(start + segment.payload.len() as i64);
                let place = i64::try_from(*offset).ok()?.checked_sub(start)?;
                let octet = segment.payload.get_mut(usize::try_from(place).ok()?)?;
                *octet ^= flipped.get();
                true
            }
        };
        changed.then(|| segment.emit())
    }
}

fn replace(payload: &mut [u8], find: &[u8], replacement: &[u8]) -> bool {
    let (mut at, mut changed) = (0, false);
    while let Some(rest) = payload.get_mut(at..)
        && rest.len() >= find.len()
    {
        if rest.starts_with(find) {
            rest[..find.len()].copy_from_slice(replacement);
            (at, changed) = (at + find.len(), true);
        } else {
            at += 1;
        }
    }
    changed
}

impl Middlebox for ChangePayload {
    fn name(&self) -> &'static str {
        "changes payload"
    }

    fn handle(&mut self, _now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let changed = if direction == self.direction { self.rewrite(&packet) } else { None };
        out.push(direction, changed.unwrap_or(packet));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::*;
    use Direction::{Inward, Outward};

    #[test]
    fn a_pattern_is_replaced_wherever_it_is_in_a_segment() {
        for family in FAMILIES {
            let mut censor = ChangePayload::pattern(Outward, b"cat", b"dog").expect("one length");
            let data = |text: &[u8]| Tcp::new(family, Outward, ACK, 1, 2).times(1, 2).data(text);
            let out = one(&mut censor, &data(b"a cat, a cacat"));
            assert_eq!(out.payload, b"a dog, a cadog");
            assert_untouched(&mut censor, &data(b"ca"));
            assert_untouched(&mut censor, &data(b"tact"));
            assert_untouched(&mut censor, &Tcp::new(family, Inward, ACK, 1, 2).data(b"cat"));
        }
        assert!(ChangePayload::pattern(Outward, b"cat", b"mouse").is_none());
        assert!(ChangePayload::pattern(Outward, b"", b"").is_none());
    }

    #[test]
    fn one_octet_of_the_stream_is_changed_each_time_that_it_passes() {
        for family in FAMILIES {
            let mut noise = ChangePayload::octet(Inward, 5, NonZeroU8::new(0x20).expect("not zero"));
            let data = |at: u32, text: &[u8]| {
                Tcp::new(family, Inward, ACK, 0xffff_fffe_u32.wrapping_add(at), 2).data(text)
            };
            assert_untouched(&mut noise, &data(0, b"abcdefgh"));
            assert_untouched(&mut noise, &Tcp::new(family, Inward, SYN_ACK, 0xffff_fffd, 2));
            assert_untouched(&mut noise, &data(0, b"abcde"));
            assert_eq!(one(&mut noise, &data(5, b"fgh")).payload, b"Fgh");
            assert_untouched(&mut noise, &data(6, b"gh"));
            assert_eq!(one(&mut noise, &data(2, b"cdefg")).payload, b"cdeFg", "a retransmission");
            assert_untouched(&mut noise, &Tcp::new(family, Outward, ACK, 5, 2).data(b"abcdefgh"));
        }
    }
}
