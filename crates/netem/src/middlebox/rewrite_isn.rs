//! Firewalls that replace initial sequence numbers by better ones and shift all numbers that follow.
//! MPTCP's relative subflow sequence numbers are made for them (RFC 8684 §3.3.1).

use alloc::vec::Vec;

use polytcp_proto::rng::Prng;
use polytcp_proto::time::Instant;
use polytcp_wire::tcp::TcpFlags;

use crate::middlebox::flow::{FLOWS_MAX, FlowTable};
use crate::middlebox::options::map_sack;
use crate::middlebox::quoted::Quoted;
use crate::middlebox::segment::Segment;
use crate::middlebox::{Direction, Middlebox, Output};

/// Shifts the sequence numbers of both directions of each flow by numbers of its own: in sequence and
/// acknowledgement number, in SACK blocks, and in what ICMP errors quote (RFC 5508 §4 asks that of NATs; without
/// it no host would believe them, RFC 5927 §4.1). Flows whose SYN it has not seen pass unchanged.
#[derive(Clone, Debug)]
pub struct RewriteIsn {
    chance: Prng,
    flows: FlowTable<Shifts>,
}

/// What is added to the sequence numbers of each direction.
#[derive(Clone, Copy, Debug)]
struct Shifts {
    outward: u32,
    inward: u32,
}

impl Shifts {
    fn of(self, direction: Direction) -> u32 {
        match direction {
            Direction::Outward => self.outward,
            Direction::Inward => self.inward,
        }
    }
}

impl RewriteIsn {
    /// A box whose numbers follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { chance: Prng::new(seed), flows: FlowTable::new(FLOWS_MAX) }
    }

    fn rewrite(&mut self, direction: Direction, packet: &[u8]) -> Option<Vec<u8>> {
        let mut segment = Segment::parse(packet)?;
        let flow = segment.flow(direction);
        let shifts = match self.flows.use_flow(&flow) {
            Some(shifts) => *shifts,
            None if segment.is_first_syn() => {
                let draw = self.chance.next_u64();
                let shifts = Shifts { outward: draw as u32, inward: (draw >> 32) as u32 };
                self.flows.insert(flow, shifts);
                shifts
            }
            None => return None,
        };
        let (ahead, back) = (shifts.of(direction), shifts.of(direction.reversed()));
        segment.header.seq = segment.header.seq.wrapping_add(ahead);
        if segment.has(TcpFlags::ACK) {
            segment.header.ack = segment.header.ack.wrapping_sub(back);
        }
        map_sack(&mut segment.options, |edge| edge.wrapping_sub(back));
        Some(segment.emit())
    }

    /// An error about a segment of a known flow quotes the number that its sender knows.
    fn rewrite_error(&self, direction: Direction, packet: &[u8]) -> Option<Vec<u8>> {
        let mut quoted = Quoted::parse(packet)?;
        let shifts = self.flows.peek(&quoted.flow(direction))?;
        quoted.original.seq = quoted.original.seq.wrapping_sub(shifts.of(direction.reversed()));
        quoted.emit(packet)
    }
}

impl Middlebox for RewriteIsn {
    fn name(&self) -> &'static str {
        "rewrites initial sequence numbers"
    }

    fn handle(&mut self, _now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let rewritten = self.rewrite(direction, &packet).or_else(|| self.rewrite_error(direction, &packet));
        out.push(direction, rewritten.unwrap_or(packet));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::*;
    use crate::middlebox::{TooBig, TooBigConfig};

    #[test]
    fn both_ends_see_a_consistent_flow_with_other_numbers() {
        use Direction::{Inward, Outward};
        for family in FAMILIES {
            let mut firewall = RewriteIsn::new(1);
            let syn = one(&mut firewall, &Tcp::new(family, Outward, SYN, 100, 0)).tcp;
            assert_ne!(syn.seq, 100);
            assert_eq!(syn.ack, 0, "not an acknowledgement");
            // The server acknowledges what it saw, and the client sees its own number.
            let answer = Tcp::new(family, Inward, SYN_ACK, u32::MAX, syn.seq.wrapping_add(1));
            let syn_ack = one(&mut firewall, &answer).tcp;
            assert_eq!(syn_ack.ack, 101);
            assert_ne!(syn_ack.seq, u32::MAX);
            let third = Tcp::new(family, Outward, ACK, 101, syn_ack.seq.wrapping_add(1)).data(b"hello");
            let data = one(&mut firewall, &third);
            assert_eq!((data.tcp.seq, data.tcp.ack), (syn.seq.wrapping_add(1), 0));
            assert_eq!(data.payload, b"hello");
            let (left, right) = (syn.seq.wrapping_add(3), syn.seq.wrapping_add(6));
            let sack =
                Tcp::new(family, Inward, ACK, 0, syn.seq.wrapping_add(1)).sack(left, right).times(1, 2);
            let seen = one(&mut firewall, &sack);
            let block = seen.options.sack.as_slice()[0];
            assert_eq!((block.left, block.right, seen.tcp.ack), (103, 106, 101));
            assert_eq!(seen.options.timestamps, sack.options.timestamps);
            // Retransmissions get the same numbers.
            assert_eq!(one(&mut firewall, &Tcp::new(family, Outward, SYN, 100, 0)).tcp.seq, syn.seq);
        }
    }

    #[test]
    fn an_error_quotes_the_number_that_was_sent() {
        use Direction::{Inward, Outward};
        for family in FAMILIES {
            let mut firewall = RewriteIsn::new(1);
            let syn = Tcp::new(family, Outward, SYN, 100, 0);
            let seen = one(&mut firewall, &syn).tcp;
            let answer = Tcp::new(family, Inward, SYN_ACK, 700, seen.seq.wrapping_add(1));
            one(&mut firewall, &answer);
            for (sent, seq) in [
                (Tcp::new(family, Outward, ACK, 101, 0).data(&[0; 1_400]), 101),
                (Tcp::new(family, Inward, ACK, 701, 0).data(&[0; 1_400]), 701),
            ] {
                let passed = through(&mut firewall, Instant::ZERO, sent.direction, sent.packet()).remove(0).1;
                assert_ne!(read(&passed).tcp.seq, seq);
                let mut router = TooBig::new(TooBigConfig::default());
                let (back, error) = through(&mut router, Instant::ZERO, sent.direction, passed).remove(0);
                assert_eq!(back, sent.direction.reversed());
                let out = through(&mut firewall, Instant::ZERO, back, error);
                let quoted = Quoted::parse(&out[0].1).expect("an error with a right checksum");
                assert_eq!((out[0].0, quoted.original.seq), (back, seq));
            }
        }
    }

    #[test]
    fn a_flow_that_it_has_not_seen_begin_passes_unchanged() {
        let mut firewall = RewriteIsn::new(1);
        assert_untouched(&mut firewall, &Tcp::new(Family::V4, Direction::Outward, ACK, 7, 9).data(b"x"));
        assert_untouched(&mut firewall, &Tcp::new(Family::V4, Direction::Inward, SYN_ACK, 7, 9));
    }
}
