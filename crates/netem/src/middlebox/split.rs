//! Boxes that cut segments in two and more, as an interface with segmentation offload does to what it
//! forwards. All copies of a DSS mapping are to be taken as one (RFC 8684 §3.3.1).

use alloc::vec::Vec;
use core::num::NonZeroU16;

use polytcp_proto::time::Instant;
use polytcp_wire::option_space::TIMESTAMPS;
use polytcp_wire::raw_options::raw_options;
use polytcp_wire::tcp::TcpFlags;

use crate::middlebox::segment::Segment;
use crate::middlebox::{Direction, Middlebox, Output};

/// Which of the segments that one is cut into carry its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SplitOptions {
    /// All of them.
    All,
    /// The first one; the others only its timestamps, which no segment may lack (RFC 7323 §3.2).
    FirstOnly,
}

/// Cuts segments with more payload than a maximum.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    payload_bytes_max: NonZeroU16,
    options: SplitOptions,
}

impl Split {
    /// Cuts segments into ones of up to `payload_bytes_max` octets of payload.
    pub fn new(payload_bytes_max: NonZeroU16, options: SplitOptions) -> Self {
        Self { payload_bytes_max, options }
    }
}

impl Middlebox for Split {
    fn name(&self) -> &'static str {
        "splits segments"
    }

    fn handle(&mut self, _now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let max = usize::from(self.payload_bytes_max.get());
        match Segment::parse(&packet) {
            Some(segment) if segment.payload.len() > max && may_cut(&segment) => {
                for part in cut(&segment, max, self.options) {
                    out.push(direction, part.emit());
                }
            }
            _ => out.push(direction, packet),
        }
    }
}

/// Whether the parts of a segment mean what the whole does.
fn may_cut(segment: &Segment) -> bool {
    !segment.header.flags.intersects(TcpFlags::SYN | TcpFlags::RST | TcpFlags::URG)
}

/// `segment` in parts of up to `max` octets of payload, which must be more than zero. CWR is on the first
/// only, PSH and FIN on the last only, and the identification counts up.
pub(crate) fn cut(segment: &Segment, max: usize, options: SplitOptions) -> impl Iterator<Item = Segment> {
    let last = segment.payload.len().div_ceil(max).saturating_sub(1);
    segment.payload.chunks(max).enumerate().map(move |(index, payload)| {
        let mut part = segment.with_payload(payload);
        part.header.seq = segment.header.seq.wrapping_add((index * max) as u32);
        part.ident = segment.ident.wrapping_add(index as u16);
        if index > 0 {
            part.header.flags = part.header.flags.without(TcpFlags::CWR);
            if options == SplitOptions::FirstOnly {
                part.options = timestamps_of(&segment.options);
            }
        }
        if index < last {
            part.header.flags = part.header.flags.without(TcpFlags::FIN | TcpFlags::PSH);
        }
        part
    })
}

fn timestamps_of(options: &[u8]) -> Vec<u8> {
    let found = raw_options(options).find(|option| option.kind == TIMESTAMPS);
    found.map_or_else(Vec::new, |option| options[option.range].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::*;

    fn parts(options: SplitOptions, segment: &Tcp) -> Vec<Read> {
        let mut splitter = Split::new(NonZeroU16::new(100).expect("not zero"), options);
        let out = through(&mut splitter, Instant::ZERO, segment.direction, segment.packet());
        assert!(out.iter().all(|(direction, _)| *direction == segment.direction));
        out.iter().map(|(_, packet)| read(packet)).collect()
    }

    fn large(family: Family) -> Tcp {
        let payload: Vec<u8> = (0..250).collect();
        let flags = ACK | TcpFlags::PSH | TcpFlags::FIN | TcpFlags::CWR;
        let segment = Tcp::new(family, Direction::Inward, flags, u32::MAX - 50, 2);
        segment.times(3, 4).mptcp(mapping(1, 250)).data(&payload)
    }

    #[test]
    fn the_parts_are_the_whole_with_flags_where_they_belong() {
        for family in FAMILIES {
            let whole = large(family);
            let parts = parts(SplitOptions::All, &whole);
            assert_eq!(parts.iter().map(|part| part.payload.len()).collect::<Vec<_>>(), [100, 100, 50]);
            assert_eq!(parts.iter().flat_map(|part| part.payload.clone()).collect::<Vec<_>>(), whole.payload);
            assert_eq!(parts.iter().map(|part| part.tcp.seq).collect::<Vec<_>>(), [u32::MAX - 50, 49, 149]);
            let (push, fin, cwr) = (TcpFlags::PSH, TcpFlags::FIN, TcpFlags::CWR);
            assert_eq!(
                parts.iter().map(|part| part.tcp.flags).collect::<Vec<_>>(),
                [ACK | cwr, ACK, ACK | push | fin]
            );
            assert!(parts.iter().all(|part| part.options == whole.options));
            if family == Family::V4 {
                let idents: Vec<_> = parts.iter().map(|part| part.ip.ident).collect();
                assert_eq!(idents, [0x4321, 0x4322, 0x4323]);
            }
        }
    }

    #[test]
    fn only_the_first_part_keeps_all_options_where_so_chosen() {
        for family in FAMILIES {
            let whole = large(family);
            let parts = parts(SplitOptions::FirstOnly, &whole);
            assert_eq!(parts[0].options, whole.options);
            for part in &parts[1..] {
                assert!(part.options.mptcp.is_empty());
                assert_eq!(part.options.timestamps, whole.options.timestamps);
            }
            assert_eq!(parts.iter().map(|part| part.payload.len()).sum::<usize>(), 250);
        }
    }

    #[test]
    fn small_segments_and_resets_pass() {
        let mut splitter = Split::new(NonZeroU16::new(100).expect("not zero"), SplitOptions::All);
        let segment = Tcp::new(Family::V4, Direction::Outward, ACK, 1, 2);
        assert_untouched(&mut splitter, &segment.clone().data(&[1; 100]));
        let reset = Tcp { flags: TcpFlags::RST, ..segment.data(&[1; 300]) };
        assert_untouched(&mut splitter, &reset);
    }
}
