//! Boxes that join segments, as traffic normalizers and interfaces with receive offload do. Options of a
//! later segment can be lost, DSS mappings among them (RFC 8684 §3.3.5).

use alloc::vec::Vec;
use core::time::Duration;

use polytcp_proto::time::Instant;
use polytcp_wire::tcp::TcpFlags;

use crate::middlebox::flow::{Flow, FlowTable};
use crate::middlebox::segment::Segment;
use crate::middlebox::{Direction, Middlebox, Output};

/// Which segments are joined, as far as options go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinedOptions {
    /// Those with the same options, octet for octet (as Linux's GRO).
    Same,
    /// All; the first one's options are kept and the others' lost.
    First,
}

/// How a box joins segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CoalesceConfig {
    /// Octets of the largest packet made. Default 1,500.
    pub packet_bytes_max: u16,
    /// How long a segment is held for the next one. Default 1 ms.
    pub hold: Duration,
    /// Which segments are joined. Default [`JoinedOptions::First`].
    pub options: JoinedOptions,
}

impl Default for CoalesceConfig {
    fn default() -> Self {
        Self { packet_bytes_max: 1_500, hold: Duration::from_millis(1), options: JoinedOptions::First }
    }
}

/// Holds small segments of data for a moment and joins them with those that continue them.
#[derive(Clone, Debug)]
pub struct Coalesce {
    config: CoalesceConfig,
    /// One segment of each one-way flow.
    held: FlowTable<Held>,
}

/// Flows with a segment held at a time; one more lets the oldest segment go.
const HELD_MAX: usize = 256;

#[derive(Clone, Debug)]
struct Held {
    direction: Direction,
    segment: Segment,
    until: Instant,
}

impl Coalesce {
    /// A box of `config`.
    pub fn new(config: CoalesceConfig) -> Self {
        Self { config, held: FlowTable::new(HELD_MAX) }
    }

    /// Joins `next` to what is held of its flow, if it continues that.
    fn join(&mut self, key: &Flow, next: &Segment) -> bool {
        let CoalesceConfig { packet_bytes_max, options, hold: _ } = self.config;
        let Some(Held { segment, .. }) = self.held.use_flow(key) else { return false };
        let fits = segment.len() + next.payload.len() <= usize::from(packet_bytes_max);
        let alike = options == JoinedOptions::First || segment.options == next.options;
        if !fits || !alike || next.header.seq != segment.seq_end() {
            return false;
        }
        segment.payload.extend_from_slice(&next.payload);
        segment.header.ack = next.header.ack;
        segment.header.window = next.header.window;
        segment.header.flags |= next.header.flags;
        true
    }
}

/// Whether a segment is plain data, as most are.
fn is_plain(segment: &Segment) -> bool {
    segment.has(TcpFlags::ACK)
        && segment.header.flags.without(TcpFlags::ACK | TcpFlags::PSH) == TcpFlags::NONE
        && !segment.payload.is_empty()
}

impl Middlebox for Coalesce {
    fn name(&self) -> &'static str {
        "coalesces segments"
    }

    fn handle(&mut self, now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let Some(segment) = Segment::parse(&packet) else {
            out.push(direction, packet);
            return;
        };
        let key = segment.one_way();
        let plain = is_plain(&segment);
        if plain && self.join(&key, &segment) {
            return;
        }
        if let Some(held) = self.held.remove(&key) {
            out.push(held.direction, held.segment.emit());
        }
        if !plain || segment.len() >= usize::from(self.config.packet_bytes_max) {
            out.push(direction, packet);
            return;
        }
        let held = Held { direction, segment, until: now + self.config.hold };
        if let Some((_, oldest)) = self.held.insert(key, held) {
            out.push(oldest.direction, oldest.segment.emit());
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.held.iter().map(|(_, held)| held.until).min()
    }

    fn poll(&mut self, now: Instant, out: &mut Output) {
        let due = self.held.iter().filter(|(_, held)| held.until <= now);
        let keys: Vec<Flow> = due.map(|(key, _)| *key).collect();
        for key in keys {
            let held = self.held.remove(&key).expect("it was found");
            out.push(held.direction, held.segment.emit());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::*;

    fn data(family: Family, seq: u32, payload: &[u8]) -> Tcp {
        Tcp::new(family, Direction::Outward, ACK, seq, 2).times(1, 2).data(payload)
    }

    fn handle(middlebox: &mut Coalesce, segment: &Tcp) -> Vec<Read> {
        let out = through(middlebox, Instant::ZERO, segment.direction, segment.packet());
        out.iter().map(|(_, packet)| read(packet)).collect()
    }

    fn flushed(middlebox: &mut Coalesce) -> Vec<Read> {
        let due = middlebox.next_deadline().expect("something is held");
        assert_eq!(due, Instant::from_millis(1));
        assert_eq!(polled(middlebox, due - Duration::from_nanos(1)), []);
        polled(middlebox, due).iter().map(|(_, packet)| read(packet)).collect()
    }

    #[test]
    fn neighbours_become_one_segment_with_the_first_ones_options() {
        for family in FAMILIES {
            let mut joiner = Coalesce::new(CoalesceConfig::default());
            let first = data(family, u32::MAX, b"hel").mptcp(mapping(1, 3));
            let mut second = data(family, 2, b"lo").mptcp(mapping(4, 2));
            (second.ack, second.window, second.flags) = (9, 77, ACK | TcpFlags::PSH);
            assert_eq!(handle(&mut joiner, &first), []);
            assert_eq!(handle(&mut joiner, &second), []);
            let out = flushed(&mut joiner);
            assert_eq!(out.len(), 1);
            assert_eq!((&out[0].payload[..], out[0].tcp.seq), (&b"hello"[..], u32::MAX));
            assert_eq!((out[0].tcp.ack, out[0].tcp.window, out[0].tcp.flags), (9, 77, second.flags));
            assert_eq!(out[0].options, first.options);
            assert_eq!(joiner.next_deadline(), None);
        }
    }

    #[test]
    fn segments_with_other_options_stay_apart_where_so_chosen() {
        let config = CoalesceConfig { options: JoinedOptions::Same, ..CoalesceConfig::default() };
        let mut joiner = Coalesce::new(config);
        let first = data(Family::V4, 1, b"abc");
        assert_eq!(handle(&mut joiner, &first), []);
        assert_eq!(handle(&mut joiner, &data(Family::V4, 4, b"def")), [], "alike");
        let out = handle(&mut joiner, &data(Family::V4, 7, b"ghi").times(9, 9));
        assert_eq!(out.iter().map(|out| &out.payload[..]).collect::<Vec<_>>(), [b"abcdef"]);
        assert_eq!(flushed(&mut joiner)[0].payload, b"ghi");
    }

    #[test]
    fn what_does_not_continue_lets_the_held_segment_go_first() {
        for later in [
            data(Family::V6, 5, b"gap"),
            data(Family::V6, 1, b"again"),
            Tcp { flags: ACK | TcpFlags::FIN, ..data(Family::V6, 4, b"fin") },
            data(Family::V6, 4, &[7; 1_428]),
            data(Family::V6, 4, b""),
        ] {
            let mut joiner = Coalesce::new(CoalesceConfig::default());
            assert_eq!(handle(&mut joiner, &data(Family::V6, 1, b"abc")), []);
            let mut out = handle(&mut joiner, &later);
            if joiner.next_deadline().is_some() {
                out.extend(flushed(&mut joiner));
            }
            assert_eq!(out.len(), 2);
            assert_eq!(out[0].payload, b"abc");
            assert_eq!(out[1], read(&later.packet()));
        }
    }

    #[test]
    fn directions_and_flows_are_not_mixed_and_memory_is_bounded() {
        let mut joiner = Coalesce::new(CoalesceConfig::default());
        for port in 0..1_000 {
            let segment = Tcp { inside_port: port, ..data(Family::V4, 1, b"abc") };
            let out = handle(&mut joiner, &segment);
            assert_eq!(out.len(), usize::from(usize::from(port) >= HELD_MAX));
        }
        assert_eq!(joiner.held.len(), HELD_MAX);
        assert_eq!(flushed(&mut joiner).len(), HELD_MAX);
    }
}
