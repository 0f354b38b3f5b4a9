//! The DSS checksum (RFC 8684 §3.3): over a pseudo-header and the data of a whole mapping.
//!
//! Of a received mapping nothing is handed on before all of it came and its checksum was found right;
//! meanwhile its subflow holds it as [`Unverified`], which counts against the receive budget.

use bytes::Bytes;
use polytcp_wire::checksum::Sum;

use super::mapping::PeerMapping;
use super::pieces::Pieces;
use crate::seq::{Dsn, Ssn};

/// The checksum of a mapping: `len` as the option has it, DATA_FIN counted; `data` is the sum of its octets.
///
/// The pseudo-header has the data sequence number in 64 bits, whatever the option carries.
pub fn dss_checksum(dsn: Dsn, ssn: Ssn, len: u16, data: Sum) -> u16 {
    let mut sum = Sum::ZERO;
    sum.add_u64(dsn.0);
    sum.add_u32(ssn.0);
    sum.add_u16(len);
    sum.combine(data);
    sum.finish()
}

/// What is known of a mapping after one more part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// More has to come.
    Partial,
    /// It is whole and right.
    Right,
    /// It is whole, and the checksum is not that of its octets.
    Wrong,
    /// Its beginning came under another mapping: there is nothing that its checksum is of.
    Headless,
}

/// The data of a mapping that is not whole yet: at most the 64 KiB that one can cover, for each subflow.
#[derive(Debug, Default)]
pub struct Unverified {
    pieces: Pieces,
    sum: Sum,
    taken: u32,
}

impl Unverified {
    /// Takes the next part of `mapping`, which starts `into` octets into it.
    pub fn take(&mut self, mapping: &PeerMapping, into: u32, bytes: Bytes, pinned: u32) -> Verdict {
        if into != self.taken {
            return Verdict::Headless;
        }
        self.sum.add_bytes(&bytes);
        self.taken += bytes.len() as u32;
        if self.taken < mapping.len {
            self.pieces.push(bytes, pinned, 0);
            return Verdict::Partial;
        }
        self.pieces.push_uncopied(bytes, pinned);
        let expected = dss_checksum(mapping.dsn, mapping.ssn, mapping.wire_len(), self.sum);
        self.sum = Sum::ZERO;
        self.taken = 0;
        // Both forms of zero mean the same (RFC 1071 §1).
        let zero = |sum: u16| sum == 0 || sum == u16::MAX;
        match mapping.checksum {
            Some(found) if found == expected || zero(found) && zero(expected) => Verdict::Right,
            Some(_) | None => Verdict::Wrong,
        }
    }

    /// The next piece of what was taken, in order, with the memory that it pins.
    pub fn pop(&mut self) -> Option<(Bytes, u32)> {
        self.pieces.pop()
    }

    /// Nothing waits for the rest of its mapping.
    pub fn is_empty(&self) -> bool {
        self.taken == 0 && self.pieces.len_bytes() == 0
    }

    /// Memory held, in octets.
    pub fn held_bytes(&self) -> usize {
        self.pieces.pinned_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn mapping(data: &[u8], fin: bool) -> PeerMapping {
        let mut sum = Sum::ZERO;
        sum.add_bytes(data);
        let mut mapping =
            PeerMapping { dsn: Dsn(u64::MAX - 1), ssn: Ssn(7), len: data.len() as u32, fin, checksum: None };
        mapping.checksum = Some(dss_checksum(mapping.dsn, mapping.ssn, mapping.wire_len(), sum));
        mapping
    }

    fn octets(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    /// RFC 8684 §3.3, figure 9, written out: the pseudo-header before the data.
    #[test]
    fn the_checksum_is_that_of_pseudo_header_and_data() {
        let data = octets(301);
        let mut message = Vec::new();
        message.extend_from_slice(&0x0102_0304_0506_0708_u64.to_be_bytes());
        message.extend_from_slice(&0x1122_3344_u32.to_be_bytes());
        message.extend_from_slice(&302_u16.to_be_bytes());
        message.extend_from_slice(&[0, 0]);
        message.extend_from_slice(&data);
        let (mut whole, mut sum) = (Sum::ZERO, Sum::ZERO);
        whole.add_bytes(&message);
        sum.add_bytes(&data);
        assert_eq!(dss_checksum(Dsn(0x0102_0304_0506_0708), Ssn(0x1122_3344), 302, sum), whole.finish());
    }

    #[test]
    fn wherever_a_mapping_is_cut_it_verifies_once_it_is_whole() {
        let data = octets(2_001);
        let mapping = mapping(&data, true);
        for cut in [1, 2, 511, 512, 1_000, 1_999, 2_000] {
            let mut held = Unverified::default();
            let (first, second) = data.split_at(cut);
            assert_eq!(held.take(&mapping, 0, Bytes::copy_from_slice(first), 2048), Verdict::Partial);
            assert!(held.held_bytes() >= cut);
            let second = Bytes::copy_from_slice(second);
            assert_eq!(held.take(&mapping, cut as u32, second, 2048), Verdict::Right, "{cut}");
            let mut out = Vec::new();
            while let Some((bytes, _)) = held.pop() {
                out.extend_from_slice(&bytes);
            }
            assert_eq!(out, data);
            assert_eq!(held.held_bytes(), 0);
        }
    }

    #[test]
    fn every_changed_bit_is_found() {
        let data = octets(33);
        let mapping = mapping(&data, false);
        for bit in 0..data.len() * 8 {
            let mut changed = data.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Unverified::default().take(&mapping, 0, changed.into(), 64), Verdict::Wrong);
        }
        let other = PeerMapping { dsn: mapping.dsn + 1, ..mapping };
        assert_eq!(Unverified::default().take(&other, 0, data.clone().into(), 64), Verdict::Wrong);
        let other = PeerMapping { fin: true, ..mapping };
        assert_eq!(Unverified::default().take(&other, 0, data.into(), 64), Verdict::Wrong);
    }

    #[test]
    fn a_part_that_does_not_follow_cannot_be_judged() {
        let data = octets(100);
        let mapping = mapping(&data, false);
        let tail = Bytes::copy_from_slice(&data[50..]);
        assert_eq!(Unverified::default().take(&mapping, 50, tail, 64), Verdict::Headless);
    }

    #[test]
    fn single_octets_pin_about_what_they_are() {
        let data = octets(40_000);
        let mapping = mapping(&data, false);
        let mut held = Unverified::default();
        for (at, octet) in data[..39_999].iter().enumerate() {
            held.take(&mapping, at as u32, Bytes::copy_from_slice(&[*octet]), 2048);
        }
        assert!(held.held_bytes() < 45_000, "{}", held.held_bytes());
    }
}
