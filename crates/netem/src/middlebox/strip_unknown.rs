//! Firewalls that know the options of the 1990s and take out all others.

use alloc::vec::Vec;

use polytcp_proto::time::Instant;
use polytcp_wire::option_space::{MSS, SACK, SACK_PERMITTED, TIMESTAMPS, WINDOW_SCALE};

use crate::middlebox::options::{Changed, blank};
use crate::middlebox::segment::Segment;
use crate::middlebox::{Direction, Middlebox, Output};

/// Overwrites every option with NOPs but MSS, window scale, SACK permitted, SACK and timestamps.
#[derive(Clone, Copy, Debug, Default)]
pub struct StripUnknown;

impl Middlebox for StripUnknown {
    fn name(&self) -> &'static str {
        "strips unknown options"
    }

    fn handle(&mut self, _now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let known = |kind| matches!(kind, MSS | WINDOW_SCALE | SACK_PERMITTED | SACK | TIMESTAMPS);
        let changed = Segment::parse(&packet).and_then(|mut segment| {
            let changed = blank(&mut segment.options, |kind| !known(kind));
            (changed == Changed::Yes).then(|| segment.emit())
        });
        out.push(direction, changed.unwrap_or(packet));
    }
}

#[cfg(test)]
mod tests {
    use polytcp_wire::mptcp::CapableForm;
    use polytcp_wire::tcp::TcpOptions;

    use super::*;
    use crate::middlebox::testing::*;

    #[test]
    fn options_of_the_nineties_stay() {
        for family in FAMILIES {
            let mut syn = Tcp::new(family, Direction::Outward, SYN, 1, 0).times(1, 0);
            syn.options =
                TcpOptions { mss: Some(1_460), window_scale: Some(7), sack_permitted: true, ..syn.options };
            assert_untouched(&mut StripUnknown, &syn);
            assert_untouched(&mut StripUnknown, &Tcp::new(family, Direction::Inward, ACK, 1, 0).sack(1, 9));
            let kept = syn.options;
            syn.options.unknown.push(77, &[1, 2, 3]);
            let syn = syn.mptcp(capable(CapableForm::Syn));
            assert_eq!(one(&mut StripUnknown, &syn).options, kept);
        }
    }
}
