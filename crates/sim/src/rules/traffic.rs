//! How much a host says without data, and whether something asked for it.

use polytcp_proto::time::Instant;
use polytcp_wire::tcp::TcpFlags;

use crate::tap::Segment;

/// Segments without anything that a host may send, at first, per segment with something that arrives, and per flow and
/// second: window updates, repeated signals and probes, and answers to forged segments are far below.
const EMPTY_MAX: [u64; 3] = [2_000, 4, 2];

/// What a host was given to answer, and what it said without data.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    since: Option<Instant>,
    /// SYNs that it sent or got, repeated ones too.
    opened: u64,
    arrived: u64,
    empty: u64,
}

impl Traffic {
    /// Counts a segment that is sent; what is wrong with their number, in a line.
    pub(super) fn sent(&mut self, at: Instant, segment: &Segment<'_>) -> Option<String> {
        let flags = segment.tcp.header.flags;
        let since = *self.since.get_or_insert(at);
        self.opened += u64::from(flags.contains(TcpFlags::SYN));
        let has_more = [TcpFlags::SYN, TcpFlags::FIN, TcpFlags::RST].iter().any(|flag| flags.contains(*flag));
        if has_more || !segment.payload.is_empty() {
            return None;
        }
        self.empty += 1;
        let [at_first, each, per_second] = EMPTY_MAX;
        let seconds = at.since(since).as_secs();
        let bound = at_first + each * self.arrived + per_second * self.opened * seconds;
        (self.empty == bound + 1).then(|| {
            format!(
                "the {}th segment without data in {seconds} s, with {} to answer",
                self.empty, self.arrived
            )
        })
    }

    pub(super) fn arrived(&mut self, segment: &Segment<'_>) {
        let flags = segment.tcp.header.flags;
        self.opened += u64::from(flags.contains(TcpFlags::SYN));
        let has_more = flags.contains(TcpFlags::SYN) || flags.contains(TcpFlags::FIN);
        self.arrived += u64::from(has_more || !segment.payload.is_empty());
    }
}
