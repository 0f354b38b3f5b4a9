//! Generated data: a stream that follows from its seed, and a buffer that tells its place.

use std::sync::Arc;

/// An endless stream of characters from space to underscore without period; the same seed gives the same
/// stream.
///
/// No character is outside of that range, so that what reads a capture of them does not take them for one
/// of the binary protocols that it guesses from a few octets.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl Generator {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed, word: [0; 8], used: 8 }
    }

    /// The next octets of the stream.
    pub(crate) fn fill(&mut self, buf: &mut [u8]) {
        for octet in buf {
            if self.used == self.word.len() {
                self.word = self.next().to_le_bytes().map(|octet| b' ' + octet % 64);
                self.used = 0;
            }
            *octet = self.word[self.used];
            self.used += 1;
        }
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014): a word for each step of its state, equal ones for no two.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

/// A prime number of octets, so that data that is displaced by any power of two does not match.
const PERIOD: usize = 1_048_573;

/// A stream that repeats after [`PERIOD`] octets: made once, so that a bench measures the stack and not
/// the generator.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// Two periods, so that a slice of one may begin anywhere.
    octets: Vec<u8>,
}

impl Pattern {
    /// For threads and tasks.
    pub(crate) fn shared(seed: u64) -> Arc<Self> {
        Arc::new(Self::new(seed))
    }

    pub(crate) fn new(seed: u64) -> Self {
        let mut octets = vec![0; PERIOD];
        Generator::new(seed).fill(&mut octets);
        octets.extend_from_within(..);
        Self { octets }
    }

    /// The octets from `offset` on, at most `len` and at most one period.
    pub(crate) fn at(&self, offset: u64, len: usize) -> &[u8] {
        let start = (offset % PERIOD as u64) as usize;
        &self.octets[start..start + len.min(PERIOD)]
    }
}

/// All that [`at`](Pattern::at) gives parts of.
impl AsRef<[u8]> for Pattern {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_does_not_depend_on_how_it_is_asked_for() {
        let mut whole = [0; 100];
        Generator::new(7).fill(&mut whole);
        let mut parts = [0; 100];
        let mut generator = Generator::new(7);
        let (first, second) = parts.split_at_mut(13);
        generator.fill(first);
        generator.fill(second);
        assert_eq!(whole, parts);
        let mut other = [0; 100];
        Generator::new(8).fill(&mut other);
        assert_ne!(whole, other);
    }

    #[test]
    fn a_pattern_goes_round() {
        let pattern = Pattern::new(1);
        assert_eq!(pattern.at(PERIOD as u64 + 5, 10), pattern.at(5, 10));
        assert_eq!(pattern.at(PERIOD as u64 - 1, 2)[1], pattern.at(0, 1)[0]);
        assert_ne!(pattern.at(1 << 16, 64), pattern.at(0, 64));
    }
}
