//! An attacker who sees nothing and guesses: resets, SYNs and data with made-up numbers (RFC 5961). It
//! knows addresses and ports of the flows that pass.

use alloc::vec::Vec;
use core::time::Duration;

use polytcp_proto::rng::Prng;
use polytcp_proto::time::Instant;
use polytcp_wire::tcp::{TcpFlags, TcpHeader};

use crate::middlebox::flow::{Flow, FlowTable};
use crate::middlebox::segment::Segment;
use crate::middlebox::{Direction, Middlebox, Output};
use polytcp_wire::addresses::Addresses;

/// Flows that are attacked at a time.
const VICTIMS_MAX: usize = 256;

/// How an attacker guesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InjectConfig {
    /// Time between two packets; zero counts as a nanosecond. Default 100 ms.
    pub interval: Duration,
    /// Packets in all. Default 1,000.
    pub packets_max: u64,
    /// How far a guessed number is off at most, in octets, from the next one of its flow. Default
    /// `None`: any number of 32 bits.
    pub guess_within: Option<u32>,
}

impl Default for InjectConfig {
    fn default() -> Self {
        Self { interval: Duration::from_millis(100), packets_max: 1_000, guess_within: None }
    }
}

/// Sends resets, SYNs and data in turn to either end of the flows that pass, and passes all packets.
///
/// A flow in its handshake is left alone: to a client that waits for a SYN/ACK, any SYN is a simultaneous
/// open (RFC 9293 §3.5), and who hits its ports then has won.
#[derive(Clone, Debug)]
pub struct BlindInjector {
    config: InjectConfig,
    chance: Prng,
    victims: FlowTable<Victim>,
    sent: u64,
    next_at: Instant,
}

/// The next sequence number of each direction.
#[derive(Clone, Copy, Debug)]
struct Victim {
    outward: u32,
    inward: u32,
}

impl BlindInjector {
    /// An attacker of `config`, whose guesses follow from `seed`.
    pub fn new(config: InjectConfig, seed: u64) -> Self {
        let victims = FlowTable::new(VICTIMS_MAX);
        Self { config, chance: Prng::new(seed), victims, sent: 0, next_at: Instant::ZERO }
    }

    /// Packets sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    fn learn(&mut self, now: Instant, direction: Direction, segment: &Segment) {
        let flow = segment.flow(direction);
        let established = direction == Direction::Outward && segment.has(TcpFlags::ACK) && !segment.is_syn();
        if established && self.victims.use_flow(&flow).is_none() {
            if self.victims.len() == 0 {
                self.next_at = self.next_at.max(now + self.config.interval);
            }
            self.victims.insert(flow, Victim { outward: segment.seq_end(), inward: segment.header.ack });
        }
        if let Some(victim) = self.victims.use_flow(&flow) {
            match direction {
                Direction::Outward => victim.outward = segment.seq_end(),
                Direction::Inward => victim.inward = segment.seq_end(),
            }
        }
        if segment.has(TcpFlags::RST) {
            self.victims.remove(&flow);
        }
    }

    fn guess(&mut self, near: u32) -> u32 {
        let draw = self.chance.next_u64() as u32;
        match self.config.guess_within {
            None => draw,
            Some(within) => {
                let span = u64::from(within) * 2 + 1;
                let off = (u64::from(draw) * span) >> 32;
                near.wrapping_add(off as u32).wrapping_sub(within)
            }
        }
    }

    fn forge(&mut self) -> Option<(Direction, Vec<u8>)> {
        let index = self.chance.below(self.victims.len() as u64) as usize;
        let (flow, victim) = self.victims.nth(index).map(|(flow, victim)| (*flow, *victim))?;
        let Flow { inside, outside } = flow;
        let outward = self.chance.next_u64() & 1 == 0;
        let (direction, src, dst, seq, ack) = if outward {
            (Direction::Outward, inside, outside, victim.outward, victim.inward)
        } else {
            (Direction::Inward, outside, inside, victim.inward, victim.outward)
        };
        let (flags, payload) = match self.sent % 3 {
            0 => (TcpFlags::RST, &b""[..]),
            1 => (TcpFlags::SYN, &b""[..]),
            _ => (TcpFlags::ACK | TcpFlags::PSH, &b"injected"[..]),
        };
        let (seq, guessed_ack) = (self.guess(seq), self.guess(ack));
        let ack = if flags.contains(TcpFlags::ACK) { guessed_ack } else { 0 };
        let (src_port, dst_port) = (src.port(), dst.port());
        let header = TcpHeader { src_port, dst_port, seq, ack, flags, window: 1_000, urgent: 0 };
        let mut segment = Segment::new(Addresses::new(src.ip(), dst.ip())?, header);
        segment.payload = payload.to_vec();
        Some((direction, segment.emit()))
    }
}

impl Middlebox for BlindInjector {
    fn name(&self) -> &'static str {
        "injects blindly"
    }

    fn handle(&mut self, now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        if let Some(segment) = Segment::parse(&packet) {
            self.learn(now, direction, &segment);
        }
        out.push(direction, packet);
    }

    fn next_deadline(&self) -> Option<Instant> {
        (self.victims.len() > 0 && self.sent < self.config.packets_max).then_some(self.next_at)
    }

    /// Sends one packet at most, so that time lost is not made up by a flood.
    fn poll(&mut self, now: Instant, out: &mut Output) {
        if self.next_deadline().is_none_or(|due| due > now) {
            return;
        }
        if let Some((direction, packet)) = self.forge() {
            out.push(direction, packet);
        }
        self.sent += 1;
        self.next_at = now + self.config.interval.max(Duration::from_nanos(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::*;
    use Direction::{Inward, Outward};

    fn attacked(family: Family, config: InjectConfig) -> BlindInjector {
        let mut attacker = BlindInjector::new(config, 1);
        assert_untouched(&mut attacker, &Tcp::new(family, Outward, SYN, 999, 0));
        assert_untouched(&mut attacker, &Tcp::new(family, Inward, SYN_ACK, 4_999, 1_000));
        assert_eq!(attacker.next_deadline(), None, "not during the handshake");
        assert_untouched(&mut attacker, &Tcp::new(family, Outward, ACK, 1_000, 5_000));
        attacker
    }

    /// Everything that is sent, with its time.
    fn all(attacker: &mut BlindInjector) -> Vec<(Instant, Direction, Read)> {
        let mut sent = Vec::new();
        while let Some(due) = attacker.next_deadline() {
            let out = polled(attacker, due);
            assert_eq!(out.len(), 1);
            sent.extend(out.iter().map(|(direction, packet)| (due, *direction, read(packet))));
        }
        sent
    }

    #[test]
    fn nothing_is_sent_before_a_flow_is_known() {
        let mut attacker = BlindInjector::new(InjectConfig::default(), 1);
        assert_untouched(&mut attacker, &Tcp::new(Family::V4, Outward, SYN, 1, 0));
        assert_untouched(&mut attacker, &Tcp::new(Family::V4, Inward, ACK, 1, 2).data(b"x"));
        assert_eq!(attacker.next_deadline(), None);
        assert_eq!(polled(&mut attacker, Instant::from_millis(10_000)), []);
    }

    #[test]
    fn resets_syns_and_data_go_to_both_ends_at_a_bounded_rate_and_number() {
        for family in FAMILIES {
            let mut attacker = attacked(family, InjectConfig { packets_max: 90, ..InjectConfig::default() });
            let sent = all(&mut attacker);
            assert_eq!((sent.len(), attacker.sent()), (90, 90));
            assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Duration::from_millis(100)));
            for flags in [TcpFlags::RST, SYN, ACK | TcpFlags::PSH] {
                for direction in [Outward, Inward] {
                    let matching =
                        |sent: &&(Instant, Direction, Read)| sent.1 == direction && sent.2.tcp.flags == flags;
                    assert!(sent.iter().filter(matching).count() > 5, "{flags:?} {direction:?}");
                }
            }
            for (_, direction, packet) in &sent {
                assert_eq!(packet.ip.addresses.src(), address(family, *direction));
                let ports = (packet.tcp.src_port, packet.tcp.dst_port);
                assert_eq!(ports, if *direction == Outward { (40_000, 80) } else { (80, 40_000) });
            }
            let seqs: Vec<u32> = sent.iter().map(|sent| sent.2.tcp.seq >> 30).collect();
            assert!((0..4).all(|quarter| seqs.contains(&quarter)), "from all of the space");
        }
    }

    #[test]
    fn a_lucky_attacker_guesses_close() {
        let config = InjectConfig { guess_within: Some(100), packets_max: 300, ..InjectConfig::default() };
        for (_, direction, packet) in all(&mut attacked(Family::V6, config)) {
            let (seq, ack) = if direction == Outward { (1_000, 5_000) } else { (5_000, 1_000) };
            assert!(packet.tcp.seq.abs_diff(seq) <= 100);
            assert!(!packet.tcp.flags.contains(ACK) || packet.tcp.ack.abs_diff(ack) <= 100);
        }
    }

    #[test]
    fn a_reset_flow_is_left_alone_and_time_lost_is_not_made_up() {
        let mut attacker = attacked(Family::V4, InjectConfig::default());
        let late = Instant::from_millis(1_000_000);
        assert_eq!(polled(&mut attacker, late).len(), 1);
        assert_eq!(polled(&mut attacker, late), []);
        assert_untouched(&mut attacker, &Tcp::new(Family::V4, Outward, TcpFlags::RST, 1_000, 0));
        assert_eq!(attacker.next_deadline(), None);
    }
}
