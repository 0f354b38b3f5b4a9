//! Networks that keep a packet for seconds, and deliver it a second time or only then (RFC 9293 §3.4.3
//! counts on it). Old data must be recognized as old, whatever has happened since.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use polytcp_proto::rng::Prng;
use polytcp_proto::time::Instant;

use crate::middlebox::segment::Segment;
use crate::middlebox::{Direction, Middlebox, Output};
use crate::ratio::Ratio;

/// What happens to a chosen segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplayMode {
    /// It passes, and a copy comes later.
    Copy,
    /// It comes later only.
    Hold,
}

/// Which segments come later, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplayConfig {
    /// Share of segments with data that are chosen. Default 1 %.
    pub share: Ratio,
    /// How much later. Default 5 s.
    pub delay: Duration,
    /// What happens to them. Default [`ReplayMode::Copy`].
    pub mode: ReplayMode,
    /// Segments kept at a time; beyond, they only pass. Default 256.
    pub packets_max: usize,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self {
            share: Ratio::from_percent(1),
            delay: Duration::from_secs(5),
            mode: ReplayMode::Copy,
            packets_max: 256,
        }
    }
}

/// Delivers some segments again, or only, after seconds.
#[derive(Clone, Debug)]
pub struct Replay {
    config: ReplayConfig,
    chance: Prng,
    /// By time, and in their order where times are equal.
    kept: BTreeMap<(Instant, u64), (Direction, Vec<u8>)>,
    count: u64,
}

impl Replay {
    /// A box of `config`; its choice follows from `seed`.
    pub fn new(config: ReplayConfig, seed: u64) -> Self {
        Self { config, chance: Prng::new(seed), kept: BTreeMap::new(), count: 0 }
    }

    fn choose(&mut self, packet: &[u8]) -> bool {
        let data = Segment::parse(packet).is_some_and(|segment| !segment.payload.is_empty());
        let share = u64::from(self.config.share.parts_per_million());
        data && self.chance.ratio(share, u64::from(Ratio::PARTS)) && self.kept.len() < self.config.packets_max
    }
}

impl Middlebox for Replay {
    fn name(&self) -> &'static str {
        "delivers old segments"
    }

    fn handle(&mut self, now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        if !self.choose(&packet) {
            out.push(direction, packet);
            return;
        }
        if self.config.mode == ReplayMode::Copy {
            out.push(direction, packet.clone());
        }
        self.count += 1;
        self.kept.insert((now + self.config.delay, self.count), (direction, packet));
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.kept.first_key_value().map(|((due, _), _)| *due)
    }

    fn poll(&mut self, now: Instant, out: &mut Output) {
        while let Some(first) = self.kept.first_entry()
            && first.key().0 <= now
        {
            let (direction, packet) = first.remove();
            out.push(direction, packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::*;
    use Direction::{Inward, Outward};

    fn replay(mode: ReplayMode) -> Replay {
        Replay::new(ReplayConfig { share: Ratio::ONE, mode, packets_max: 3, ..ReplayConfig::default() }, 1)
    }

    #[test]
    fn a_copy_comes_seconds_later_octet_for_octet() {
        for family in FAMILIES {
            let mut network = replay(ReplayMode::Copy);
            assert_untouched(&mut network, &Tcp::new(family, Outward, ACK, 1, 2));
            assert_eq!(network.next_deadline(), None, "no data, no copy");
            let data = Tcp::new(family, Inward, ACK, 1, 2).data(b"abc");
            assert_untouched(&mut network, &data);
            let due = Instant::from_millis(5_000);
            assert_eq!(network.next_deadline(), Some(due));
            assert_eq!(polled(&mut network, due - Duration::from_nanos(1)), []);
            assert_eq!(polled(&mut network, due), [(Inward, data.packet())]);
            assert_eq!(network.next_deadline(), None);
        }
    }

    #[test]
    fn held_segments_come_only_later_and_their_number_is_bounded() {
        let mut network = replay(ReplayMode::Hold);
        let data = |seq| Tcp::new(Family::V4, Outward, ACK, seq, 2).data(b"abc");
        for seq in 0..3 {
            assert_eq!(through(&mut network, Instant::ZERO, Outward, data(seq).packet()), []);
        }
        assert_untouched(&mut network, &data(3));
        let late: Vec<u32> = polled(&mut network, Instant::from_millis(5_000))
            .iter()
            .map(|(_, packet)| read(packet).tcp.seq)
            .collect();
        assert_eq!(late, [0, 1, 2]);
    }

    #[test]
    fn the_chosen_share_is_met() {
        let config = ReplayConfig {
            share: Ratio::from_percent(10),
            mode: ReplayMode::Hold,
            packets_max: usize::MAX,
            ..ReplayConfig::default()
        };
        let mut network = Replay::new(config, 1);
        let packet = Tcp::new(Family::V4, Outward, ACK, 1, 2).data(b"abc").packet();
        let mut passed = 0;
        for _ in 0..5_000 {
            passed += through(&mut network, Instant::ZERO, Outward, packet.clone()).len();
        }
        assert!((4_400..4_600).contains(&passed), "{passed}");
    }
}
