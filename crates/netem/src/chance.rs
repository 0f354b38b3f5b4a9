//! Everything on a link that is left to chance: loss, bursts of loss, jitter, copies, damage.
//!
//! Each subject draws from a source of its own, so that switching one on does not change what the
//! others do with the same seed. All sources follow from the link's seed.

use polytcp_proto::rng::Prng;

use crate::ratio::Ratio;

/// Loss in bursts: the model of Gilbert and Elliott, a chain of two states that is asked per packet.
///
/// The share of time in the bad state is `to_bad / (to_bad + to_good)`, and a stay in it lasts
/// `1 / to_good` packets on average. With `loss_good` none and `loss_bad` all (the default of
/// [`bursts`](Self::bursts)), those are the share of packets lost and the mean length of a burst.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GilbertElliott {
    /// Chance that a packet is the last one of a good stretch (often named p).
    pub to_bad: Ratio,
    /// Chance that a packet is the last one of a bad stretch (r).
    pub to_good: Ratio,
    /// Share of packets lost in the good state (1 - k).
    pub loss_good: Ratio,
    /// Share of packets lost in the bad state (1 - h).
    pub loss_bad: Ratio,
}

impl GilbertElliott {
    /// Bursts in which every packet is lost, and no loss between them.
    pub const fn bursts(to_bad: Ratio, to_good: Ratio) -> Self {
        Self { to_bad, to_good, loss_good: Ratio::ZERO, loss_bad: Ratio::ONE }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Good,
    Bad,
}

/// The sources of chance of one link.
#[derive(Clone, Debug)]
pub(crate) struct Chances {
    /// Independent loss, and the jitter of what is not lost.
    path: Prng,
    burst: Prng,
    state: State,
    duplicate: Prng,
    damage: Prng,
}

impl Chances {
    pub(crate) fn new(seed: u64) -> Self {
        // Any constants do, as long as they differ.
        Self {
            path: Prng::new(seed),
            burst: Prng::new(seed ^ 0x6275_7273_7400_0000),
            state: State::Good,
            duplicate: Prng::new(seed ^ 0x6475_706c_6963_6174),
            damage: Prng::new(seed ^ 0x6461_6d61_6765_0000),
        }
    }

    /// Whether a packet is lost, independently of all others.
    pub(crate) fn lost(&mut self, share: Ratio) -> bool {
        hit(&mut self.path, share)
    }

    /// Whether a packet is lost in a burst.
    pub(crate) fn lost_in_burst(&mut self, model: Option<GilbertElliott>) -> bool {
        let Some(GilbertElliott { to_bad, to_good, loss_good, loss_bad }) = model else {
            self.state = State::Good;
            return false;
        };
        let (loss, leave, other) = match self.state {
            State::Good => (loss_good, to_bad, State::Bad),
            State::Bad => (loss_bad, to_good, State::Good),
        };
        let lost = hit(&mut self.burst, loss);
        if hit(&mut self.burst, leave) {
            self.state = other;
        }
        lost
    }

    /// A packet's place in the range of jitter, as a fraction of 2^32.
    pub(crate) fn jitter(&mut self) -> u32 {
        (self.path.next_u64() >> 32) as u32
    }

    /// Whether a packet gets a copy, and the copy's place in the range of jitter.
    pub(crate) fn copied(&mut self, share: Ratio) -> Option<u32> {
        let copied = share > Ratio::ZERO && hit(&mut self.duplicate, share);
        copied.then(|| (self.duplicate.next_u64() >> 32) as u32)
    }

    /// Which bit of a packet of `size_bytes` is flipped, if one is.
    pub(crate) fn flipped_bit(&mut self, share: Ratio, size_bytes: u32) -> Option<u32> {
        let damaged = share > Ratio::ZERO && hit(&mut self.damage, share);
        damaged.then(|| self.damage.below(u64::from(size_bytes) * 8).min(u64::from(u32::MAX)) as u32)
    }
}

fn hit(source: &mut Prng, share: Ratio) -> bool {
    source.ratio(u64::from(share.parts_per_million()), u64::from(Ratio::PARTS))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const PACKETS: usize = 400_000;

    fn losses(model: GilbertElliott, seed: u64) -> Vec<bool> {
        let mut chances = Chances::new(seed);
        (0..PACKETS).map(|_| chances.lost_in_burst(Some(model))).collect()
    }

    fn share(losses: &[bool]) -> f64 {
        losses.iter().filter(|lost| **lost).count() as f64 / losses.len() as f64
    }

    #[test]
    fn bursts_have_the_share_and_the_length_of_the_theory() {
        // p = 0.5 %, r = 20 %: 2.44 % of packets, in bursts of five.
        let model = GilbertElliott::bursts(Ratio::from_ppm(5_000), Ratio::from_percent(20));
        for seed in [1, 2, 3] {
            let losses = losses(model, seed);
            assert!((share(&losses) - 0.005 / 0.205).abs() < 0.003, "{}", share(&losses));
            let bursts: Vec<usize> =
                losses.split(|lost| !lost).map(<[bool]>::len).filter(|len| *len > 0).collect();
            let mean = bursts.iter().sum::<usize>() as f64 / bursts.len() as f64;
            assert!((mean - 5.0).abs() < 0.3, "{mean}");
            // Lengths are geometric: one in five bursts is a single packet.
            let single = bursts.iter().filter(|len| **len == 1).count() as f64 / bursts.len() as f64;
            assert!((single - 0.2).abs() < 0.03, "{single}");
        }
    }

    #[test]
    fn all_four_parameters_count() {
        let model = GilbertElliott {
            to_bad: Ratio::from_percent(2),
            to_good: Ratio::from_percent(8),
            loss_good: Ratio::from_percent(1),
            loss_bad: Ratio::from_percent(60),
        };
        let mean = share(&losses(model, 4));
        let expected = 0.8 * 0.01 + 0.2 * 0.60;
        assert!((mean - expected).abs() < 0.004, "{mean} for {expected}");
    }

    #[test]
    fn what_is_off_draws_nothing() {
        let (mut plain, mut all) = (Chances::new(9), Chances::new(9));
        let model = GilbertElliott::bursts(Ratio::from_percent(10), Ratio::from_percent(10));
        for _ in 0..100 {
            all.lost_in_burst(Some(model));
            all.copied(Ratio::from_percent(50));
            all.flipped_bit(Ratio::from_percent(50), 100);
            assert_eq!(plain.lost(Ratio::from_percent(30)), all.lost(Ratio::from_percent(30)));
            assert_eq!(plain.jitter(), all.jitter());
        }
    }
}
