//! Changes to a segment's options that leave each where it stands.

use core::ops::Range;

use polytcp_wire::option_space::{NOP, SACK};
use polytcp_wire::raw_options::raw_options;

/// Whether anything was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Changed {
    No,
    Yes,
}

/// Overwrites options of the kinds that `unwanted` names with NOPs, as firewalls do (Linux's TCPOPTSTRIP
/// among them): the header keeps its length.
pub(crate) fn blank(options: &mut [u8], unwanted: impl Fn(u8) -> bool) -> Changed {
    let (mut changed, mut from) = (Changed::No, 0);
    while let Some(found) = next(options, from, &unwanted) {
        from = found.end;
        options[found].fill(NOP);
        changed = Changed::Yes;
    }
    changed
}

/// Replaces each edge of the SACK blocks.
pub(crate) fn map_sack(options: &mut [u8], map: impl Fn(u32) -> u32) {
    let mut from = 0;
    while let Some(found) = next(options, from, |kind| kind == SACK) {
        from = found.end;
        for edge in options[found.start + 2..found.end].as_chunks_mut::<4>().0 {
            *edge = map(u32::from_be_bytes(*edge)).to_be_bytes();
        }
    }
}

/// Where the first option of a wanted kind is, from `from` on, which must be where an option ends.
fn next(options: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> Option<Range<usize>> {
    let found = raw_options(&options[from..]).find(|option| wanted(option.kind))?;
    Some(from + found.range.start..from + found.range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_options_of_a_kind_are_blanked_and_nothing_else() {
        let mut options = [2, 4, 5, 0xb4, 30, 4, 1, 1, 3, 3, 7, 30, 2, 0, 30, 2];
        assert_eq!(blank(&mut options, |kind| kind == 30), Changed::Yes);
        assert_eq!(options, [2, 4, 5, 0xb4, 1, 1, 1, 1, 3, 3, 7, 1, 1, 0, 30, 2]);
        assert_eq!(blank(&mut options, |kind| kind == 30), Changed::No);
    }

    #[test]
    fn edges_of_sack_blocks_are_mapped() {
        let mut options = [1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9, 8, 3, 1];
        map_sack(&mut options, |edge| edge.wrapping_sub(2));
        assert_eq!(options, [1, 1, 5, 10, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 7, 8, 3, 1]);
        let mut odd = [5, 5, 0, 0, 1];
        map_sack(&mut odd, |_| 0xffff_ffff);
        assert_eq!(odd, [5, 5, 0, 0, 1], "no whole edge");
    }
}
