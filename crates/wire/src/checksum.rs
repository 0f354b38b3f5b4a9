//! The Internet checksum (RFC 1071): sums over octets at any offset, pseudo-headers, and updates in
//! place (RFC 1624). The DSS checksum of MPTCP (RFC 8684 §3.3) is the same sum over other octets.

use crate::addresses::Addresses;

/// A ones' complement sum that remembers whether an odd number of octets has gone in.
///
/// Because of that memory the pieces of a message can be added one by one, or summed apart and
/// [`combined`](Sum::combine), wherever the cuts fall.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Sum {
    /// The sum as a number in network order, carries already added back.
    folded: u16,
    /// The next octet is the low half of a 16-bit word.
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self { folded: 0, odd: false };

    /// Adds octets, of any number and at any alignment.
    #[inline]
    pub fn add_bytes(&mut self, octets: &[u8]) {
        let folded = fold(native_sum(octets)).to_be();
        self.add_folded(folded);
        self.odd ^= octets.len() % 2 == 1;
    }

    /// Adds the two octets of `value`.
    #[inline]
    pub const fn add_u16(&mut self, value: u16) {
        self.add_folded(value);
    }

    /// Adds the four octets of `value`.
    #[inline]
    pub const fn add_u32(&mut self, value: u32) {
        self.add_folded(fold(value as u64));
    }

    /// Adds the eight octets of `value`.
    #[inline]
    pub const fn add_u64(&mut self, value: u64) {
        self.add_folded(fold(value));
    }

    /// Adds the octets that `other` has summed, as if they came next.
    #[inline]
    pub const fn combine(&mut self, other: Self) {
        self.add_folded(other.folded);
        self.odd ^= other.odd;
    }

    /// The 16-bit sum, not inverted: what a checksum field holds while a device is to finish it.
    #[inline]
    pub const fn fold(self) -> u16 {
        self.folded
    }

    /// The checksum: the inverted sum, as it stands in a header.
    #[inline]
    pub const fn finish(self) -> u16 {
        !self.folded
    }

    /// Adds a folded sum of octets that start here. At an odd position every octet changes its half
    /// of the word, which swaps the halves of the sum (RFC 1071 §2 (B)).
    #[inline]
    const fn add_folded(&mut self, folded: u16) {
        self.folded = add(self.folded, if self.odd { folded.swap_bytes() } else { folded });
    }
}

/// The sum of the pseudo-header of `protocol` with `len` octets of header and payload
/// (RFC 9293 §3.1, RFC 8200 §8.1).
#[inline]
pub fn pseudo_header(addresses: &Addresses, protocol: u8, len: u32) -> Sum {
    let mut sum = Sum::ZERO;
    match addresses {
        Addresses::V4 { src, dst } => {
            sum.add_u32(src.to_bits());
            sum.add_u32(dst.to_bits());
        }
        Addresses::V6 { src, dst } => {
            sum.add_bytes(&src.octets());
            sum.add_bytes(&dst.octets());
        }
    }
    sum.add_u16(u16::from(protocol));
    sum.add_u32(len);
    sum
}

/// The checksum after one 16-bit word under it changed from `old` to `new` (RFC 1624 §3, equation 3).
///
/// The result verifies as the recomputed one does. It is also equal to it, unless all that is summed
/// is zero, where the sum has two representations.
#[inline]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !add(add(!checksum, !old), new)
}

/// Ones' complement addition: the carry comes back in at the bottom.
#[inline]
const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    // A sum that carried is at most 0xfffe, so that this cannot carry again.
    sum + carry as u16
}

/// Adds the four 16-bit words of `sum` and all carries.
#[inline]
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff); // 33 bits
    let sum = (sum >> 16) + (sum & 0xffff); // 18 bits
    let sum = (sum >> 16) + (sum & 0xffff); // 17 bits
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// Sums `octets` as 16-bit words of this machine's byte order, where the first octet starts a word.
/// A sum in the other byte order is the same with its octets swapped (RFC 1071 §2 (B)).
#[inline]
fn native_sum(octets: &[u8]) -> u64 {
    // Eight lanes, each of the low and of the high halves of 64-bit words: independent, so that the compiler can use
    // vector registers, and without carries: a lane would need 256 GiB of octets to overflow.
    let (mut low, mut high) = ([0_u64; 8], [0_u64; 8]);
    let (chunks, rest) = octets.as_chunks::<64>();
    for chunk in chunks {
        let (words, _) = chunk.as_chunks::<8>();
        for ((low, high), word) in low.iter_mut().zip(&mut high).zip(words) {
            let word = u64::from_ne_bytes(*word);
            *low += word & 0xffff_ffff;
            *high += word >> 32;
        }
    }
    // 2 * 16 bits of each lane: the sixteen together stay far below 64 bits.
    let lanes = low.iter().chain(&high);
    let mut sum = lanes.map(|lane| (lane >> 32) + (lane & 0xffff_ffff)).sum::<u64>();
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    let (pairs, last) = rest.as_chunks::<2>();
    for pair in pairs {
        sum += u64::from(u16::from_ne_bytes(*pair));
    }
    if let [last] = last {
        sum += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// RFC 1071 §1, word by word.
    fn naive(octets: &[u8]) -> u16 {
        let mut sum = 0_u64;
        for pair in octets.chunks(2) {
            sum += u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum as u16
    }

    fn sum(octets: &[u8]) -> Sum {
        let mut sum = Sum::ZERO;
        sum.add_bytes(octets);
        sum
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn the_example_of_the_rfc_adds_up() {
        // RFC 1071 §3.
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
    }

    #[test]
    fn every_alignment_and_length_gives_the_naive_sum() {
        let octets = noise(256);
        let full = [0xff; 256];
        for start in 0..=16 {
            for len in 0..=200 {
                let end = start + len;
                assert_eq!(sum(&octets[start..end]).fold(), naive(&octets[start..end]), "{start}, {len}");
                assert_eq!(sum(&full[start..end]).fold(), naive(&full[start..end]), "{start}, {len}");
            }
        }
        let octets = noise(200_003);
        assert_eq!(sum(&octets).fold(), naive(&octets));
        assert_eq!(sum(&octets[1..]).fold(), naive(&octets[1..]));
        let full = std::vec![0xff; 1 << 20];
        assert_eq!(sum(&full).fold(), 0xffff);
    }

    #[test]
    fn a_message_may_be_cut_anywhere() {
        let octets = noise(67);
        let whole = sum(&octets);
        for first in 0..=octets.len() {
            for second in first..=octets.len() {
                let mut in_turn = sum(&octets[..first]);
                in_turn.add_bytes(&octets[first..second]);
                in_turn.add_bytes(&octets[second..]);
                assert_eq!(in_turn, whole, "{first}, {second}");
                let mut apart = sum(&octets[..first]);
                let mut tail = sum(&octets[first..second]);
                tail.combine(sum(&octets[second..]));
                apart.combine(tail);
                assert_eq!(apart, whole, "{first}, {second}");
            }
        }
    }

    #[test]
    fn numbers_are_added_as_their_octets() {
        let octets = noise(64);
        for lead in 0..2 {
            let mut numbers = sum(&octets[..lead]);
            numbers.add_u16(0xfedc);
            numbers.add_u32(0xfeed_f00d);
            numbers.add_u64(0xfedc_ba98_7654_3210);
            let mut bytes = sum(&octets[..lead]);
            bytes.add_bytes(&0xfedc_u16.to_be_bytes());
            bytes.add_bytes(&0xfeed_f00d_u32.to_be_bytes());
            bytes.add_bytes(&0xfedc_ba98_7654_3210_u64.to_be_bytes());
            assert_eq!(numbers, bytes);
        }
    }

    #[test]
    fn an_updated_checksum_equals_the_recomputed_one() {
        let words = [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff, 0x1234, 0xdd2f];
        for rest in words {
            for old in words {
                for new in words {
                    // What stands beside the word is never all zero in a packet: a version, a protocol.
                    let checksum = |word: u16| {
                        let mut sum = Sum::ZERO;
                        sum.add_u16(0x4500);
                        sum.add_u16(rest);
                        sum.add_u16(word);
                        sum.finish()
                    };
                    assert_eq!(update(checksum(old), old, new), checksum(new), "{rest:x} {old:x} {new:x}");
                }
            }
        }
        // RFC 1624 §4: the case that the equation of RFC 1141 got wrong.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }
}
