//! The data that simulated programs carry: a stream that tells its place, made once.

use std::sync::LazyLock;

use bytes::Bytes;

/// A prime number of octets: data that is displaced by any power of two does not match.
const PERIOD: usize = 262_139;

static OCTETS: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state: u64 = 0;
    let mut octets: Vec<u8> = (0..PERIOD)
        .map(|_| {
            // SplitMix64 (Steele, Lea and Flood, 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (word >> 56) as u8
        })
        .collect();
    octets.extend_from_within(..);
    octets.into()
});

/// Octets of the stream from `offset` on: `len` of them, at most one period.
pub(crate) fn at(offset: u64, len: usize) -> Bytes {
    let start = (offset % PERIOD as u64) as usize;
    OCTETS.slice(start..start + len.min(PERIOD))
}

/// Where `data`, read at `offset`, first differs from the stream.
pub(crate) fn first_difference(offset: u64, data: &[u8]) -> Option<u64> {
    let mut place = offset;
    for part in data.chunks(PERIOD) {
        let expected = at(place, part.len());
        if expected != part {
            let same = expected.iter().zip(part).take_while(|(a, b)| a == b).count();
            return Some(place + same as u64);
        }
        place += part.len() as u64;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_displaced_or_changed_octet_is_found() {
        let data = at(1_000, 500).to_vec();
        assert_eq!(first_difference(1_000, &data), None);
        assert!(first_difference(1_001, &data).is_some());
        let mut changed = data;
        changed[77] ^= 1;
        assert_eq!(first_difference(1_000, &changed), Some(1_077));
        let long: Vec<u8> = [at(5, PERIOD), at(5 + PERIOD as u64, 100)].concat();
        assert_eq!(first_difference(5, &long), None);
    }
}
