//! Chance, split in two: [`Prng`] for decisions that anyone may predict (jitter, simulated loss),
//! and an injected cryptographic source for keys, nonces, sequence numbers and ports.

use rand_core::CryptoRng;

/// A source of secrets: keys, nonces, initial sequence numbers, ports.
///
/// Any `rand_core` 0.10 cryptographic generator serves. The running stack injects one that is
/// seeded by the operating system, a simulation one that is seeded by the run.
pub type SecretSource = dyn CryptoRng + Send;

/// A small deterministic generator (xoshiro256\*\*), the same on every platform and toolchain.
///
/// Not for secrets. Our own, so that a seed replays a simulation on any version of any dependency.
#[derive(Clone, Debug)]
pub struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// A generator whose whole sequence follows from `seed` (expanded by SplitMix64).
    pub fn new(seed: u64) -> Self {
        let mut z = seed;
        let state = core::array::from_fn(|_| {
            z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = z;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        });
        Self { state }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    ///
    /// Multiply-and-shift: the bias is below 2^-32 for any bound that this project uses.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True in `numerator` of `denominator` cases on average; never when `denominator` is 0.
    pub fn ratio(&mut self, numerator: u64, denominator: u64) -> bool {
        denominator > 0 && self.below(denominator) < numerator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_sequence_everywhere() {
        let mut a = Prng::new(1);
        let mut b = Prng::new(1);
        for _ in 0..100 {
            assert_eq!(a.next_u64(), b.next_u64());
        }
        assert_ne!(Prng::new(1).next_u64(), Prng::new(2).next_u64());
    }

    #[test]
    fn a_ratio_is_met_on_average() {
        let mut rng = Prng::new(7);
        let hits = (0..100_000).filter(|_| rng.ratio(1, 100)).count();
        assert!((900..1_100).contains(&hits), "{hits}");
        assert!(!rng.ratio(1, 0));
    }
}
