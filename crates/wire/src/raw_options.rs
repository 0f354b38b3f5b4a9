//! The options of a segment as octets at their places, for who changes some and leaves the rest alone.

use core::ops::Range;

use crate::option_space::{END, NOP};

/// One option and its place among the octets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawOption {
    /// Its kind.
    pub kind: u8,
    /// Where it stands, kind and length included.
    pub range: Range<usize>,
}

/// The options in `octets` (those between the fixed header and the payload), in their order, without
/// padding. A length that cannot be ends the list, as for [`TcpOptions::parse`](crate::tcp::TcpOptions).
pub fn raw_options(octets: &[u8]) -> impl Iterator<Item = RawOption> {
    let mut at = 0;
    core::iter::from_fn(move || {
        loop {
            match *octets.get(at)? {
                END => return None,
                NOP => at += 1,
                kind => {
                    let len = usize::from(*octets.get(at + 1)?);
                    let range = at..at + len;
                    if len < 2 || range.end > octets.len() {
                        return None;
                    }
                    at = range.end;
                    return Some(RawOption { kind, range });
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn options_are_found_at_their_places() {
        let octets = [2, 4, 5, 0xb4, 1, 3, 3, 7, 30, 2, 0, 8, 2];
        let found: Vec<_> = raw_options(&octets).map(|option| (option.kind, option.range)).collect();
        assert_eq!(found, [(2, 0..4), (3, 5..8), (30, 8..10)], "nothing after the end of the list");
    }

    #[test]
    fn a_length_that_cannot_be_ends_the_list() {
        for bad in [&[9][..], &[9, 0, 2, 2], &[9, 1, 2, 2], &[9, 5, 2, 2], &[9, 255]] {
            let octets = [&[4, 2], bad].concat();
            let found: Vec<_> = raw_options(&octets).map(|option| option.kind).collect();
            assert_eq!(found, [4], "{bad:?}");
        }
    }
}
