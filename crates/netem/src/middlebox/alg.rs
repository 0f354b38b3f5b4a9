//! An application-level gateway: it replaces words in the payload by longer or shorter ones, as those for
//! FTP and SIP do with addresses, and shifts all numbers that follow so that TCP does not notice. MPTCP
//! does, by its lengths and checksums (RFC 8684 §3.7).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use polytcp_proto::time::Instant;
use polytcp_wire::tcp::TcpFlags;

use crate::middlebox::flow::{Flow, FlowTable};
use crate::middlebox::options::map_sack;
use crate::middlebox::segment::Segment;
use crate::middlebox::split::{SplitOptions, cut};
use crate::middlebox::stream::Stream;
use crate::middlebox::{Direction, Middlebox, Output};

/// Flows that a gateway remembers.
const GATEWAY_FLOWS_MAX: usize = 1_024;
/// Replacements of a flow that can be repeated on a retransmission; older ones are only counted. A segment
/// gets no more than that many.
const EDITS_MAX: usize = 256;

/// Replaces a word in one direction of each flow whose SYN has passed.
///
/// A word is found within one segment, the first time that its octets pass; retransmissions of any cut
/// get the same replacement. Segments that exceed the MTU then are split, options copied.
#[derive(Clone, Debug)]
pub struct ApplicationGateway {
    direction: Direction,
    find: Vec<u8>,
    replacement: Vec<u8>,
    mtu: u16,
    flows: FlowTable<Edits>,
}

impl ApplicationGateway {
    /// Replaces `find` by `replacement` in `direction`, where packets hold at most `mtu` octets.
    ///
    /// `None` when `find` is empty, or `mtu` below 160: less than all headers and some payload.
    pub fn new(direction: Direction, find: &[u8], replacement: &[u8], mtu: u16) -> Option<Self> {
        if find.is_empty() || mtu < 160 {
            return None;
        }
        Some(Self {
            direction,
            find: find.to_vec(),
            replacement: replacement.to_vec(),
            mtu,
            flows: FlowTable::new(GATEWAY_FLOWS_MAX),
        })
    }

    /// Changes a segment that goes in the gateway's direction.
    fn edit(&mut self, flow: &Flow, mut segment: Segment) -> Segment {
        let known = self.flows.use_flow(flow).map(|edits| edits.stream.at(segment.payload_seq()));
        if segment.is_syn() && known != Some(0) {
            let stream = Stream::opened(segment.header.seq);
            self.flows.insert(*flow, Edits { stream, starts: VecDeque::new(), folded: 0 });
        }
        let Some(edits) = self.flows.use_flow(flow) else { return segment };
        let word = Word { old_len: self.find.len() as i64, new: &self.replacement };
        let start = edits.stream.at(segment.payload_seq());
        edits.find(start, &segment.payload, &self.find);
        segment.payload = edits.apply(&word, start, &segment.payload);
        segment.header.seq = shifted(segment.header.seq, edits.forward(&word, start) - start);
        segment
    }

    /// Changes what a segment of the other direction acknowledges.
    fn restore(&mut self, flow: &Flow, mut segment: Segment) -> Segment {
        let Some(edits) = self.flows.use_flow(flow) else { return segment };
        let word = Word { old_len: self.find.len() as i64, new: &self.replacement };
        let back = |number: u32| {
            let at = edits.stream.at(number);
            shifted(number, edits.back(&word, at) - at)
        };
        if segment.has(TcpFlags::ACK) {
            segment.header.ack = back(segment.header.ack);
        }
        map_sack(&mut segment.options, back);
        segment
    }
}

fn shifted(number: u32, by: i64) -> u32 {
    number.wrapping_add(by as u32)
}

/// The lengths of what is replaced and what stands there instead.
struct Word<'a> {
    old_len: i64,
    new: &'a [u8],
}

impl Word<'_> {
    fn new_len(&self) -> i64 {
        self.new.len() as i64
    }

    /// Where in the new word the place `at` of the old one is; the end is at the end.
    fn place(&self, at: i64) -> i64 {
        if at >= self.old_len { self.new_len() } else { at.min(self.new_len()) }
    }
}

/// What has been replaced in a stream. Offsets are those of the sender.
#[derive(Clone, Debug)]
struct Edits {
    stream: Stream,
    /// Where replaced words start, in order.
    starts: VecDeque<i64>,
    /// Replacements before those.
    folded: i64,
}

impl Edits {
    /// Notes the words among octets that have not passed before.
    fn find(&mut self, start: i64, payload: &[u8], find: &[u8]) {
        let mut at = usize::try_from(self.stream.end() - start).unwrap_or(0);
        let mut found = 0;
        while let Some(rest) = payload.get(at..)
            && rest.len() >= find.len()
            && found < EDITS_MAX
        {
            if rest.starts_with(find) {
                found += 1;
                self.starts.push_back(start + at as i64);
                if self.starts.len() > EDITS_MAX {
                    self.starts.pop_front();
                    self.folded += 1;
                }
                at += find.len();
            } else {
                at += 1;
            }
        }
        self.stream.saw(start + payload.len() as i64);
    }

    /// `payload` from offset `start` on, with all words in it replaced that were found, in part where it
    /// has only a part.
    fn apply(&self, word: &Word<'_>, start: i64, payload: &[u8]) -> Vec<u8> {
        let end = start + payload.len() as i64;
        let octets = |from: i64, to: i64| &payload[(from - start) as usize..(to - start) as usize];
        let (mut out, mut at) = (Vec::with_capacity(payload.len()), start);
        for edit in self.starts.iter().copied().filter(|edit| edit + word.old_len > start && *edit < end) {
            out.extend_from_slice(octets(at, edit.max(at)));
            let (first, last) = (edit.max(start), (edit + word.old_len).min(end));
            let part = word.place(first - edit) as usize..word.place(last - edit) as usize;
            out.extend_from_slice(&word.new[part]);
            at = last;
        }
        out.extend_from_slice(octets(at, end));
        out
    }

    /// The receiver's offset of the sender's offset `at`.
    fn forward(&self, word: &Word<'_>, at: i64) -> i64 {
        let growth = word.new_len() - word.old_len;
        let mut shift = self.folded * growth;
        for edit in &self.starts {
            if *edit + word.old_len > at {
                return if *edit < at { edit + shift + word.place(at - edit) } else { at + shift };
            }
            shift += growth;
        }
        at + shift
    }

    /// The sender's offset of the receiver's offset `at`: no more than what the receiver has all of.
    fn back(&self, word: &Word<'_>, at: i64) -> i64 {
        let mut shift = self.folded * (word.new_len() - word.old_len);
        for edit in &self.starts {
            let new_start = edit + shift;
            if at < new_start + word.new_len() || at < new_start {
                return if at <= new_start {
                    at - shift
                } else {
                    edit + (at - new_start).min(word.old_len - 1)
                };
            }
            shift += word.new_len() - word.old_len;
        }
        at - shift
    }
}

impl Middlebox for ApplicationGateway {
    fn name(&self) -> &'static str {
        "replaces words of another length"
    }

    fn handle(&mut self, _now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let Some(before) = Segment::parse(&packet) else {
            out.push(direction, packet);
            return;
        };
        let flow = before.flow(direction);
        let grown_from = before.len();
        let segment =
            if direction == self.direction { self.edit(&flow, before) } else { self.restore(&flow, before) };
        let room = usize::from(self.mtu).saturating_sub(segment.header_len()).max(1);
        if segment.len() > grown_from && segment.payload.len() > room {
            for part in cut(&segment, room, SplitOptions::All) {
                out.push(direction, part.emit());
            }
        } else {
            let emitted = segment.emit();
            out.push(direction, if packet.starts_with(&emitted) { packet } else { emitted });
        }
    }
}

#[cfg(test)]
mod tests;
