//! The story so far, as it is told when a line of it is wrong.

use std::fmt;

use super::script::{Script, Seen};
use super::segment::flag_names;

impl Script {
    #[track_caller]
    pub(super) fn note(&mut self, line: fmt::Arguments<'_>) {
        if self.trace.len() < 2_000 {
            self.trace.push(format!("{:>12} {line}", format!("{:?}", self.now)));
        }
    }

    #[track_caller]
    pub(super) fn describe(&self, seen: &Seen) -> String {
        let (host_iss, peer_iss) =
            seen.line.map_or((0, 0), |l| (self.lines[l].host_iss.unwrap_or(0), self.lines[l].peer_iss));
        let flags = flag_names(seen.header.flags.0);
        let line = seen.line.map_or("?".into(), |l| l.to_string());
        format!(
            "sf{line} {flags} seq {} len {} ack {} win {} sack {:?} {:?}",
            seen.header.seq.wrapping_sub(host_iss),
            seen.payload.len(),
            seen.header.ack.wrapping_sub(peer_iss),
            seen.header.window,
            seen.options
                .sack
                .iter()
                .map(|b| (b.left.wrapping_sub(peer_iss), b.right.wrapping_sub(peer_iss)))
                .collect::<Vec<_>>(),
            seen.options.mptcp,
        )
    }

    #[track_caller]
    pub(super) fn fail(&self, what: fmt::Arguments<'_>) -> ! {
        let from = self.trace.len().saturating_sub(40);
        panic!("{what}\nthe trace so far:\n{}", self.trace[from..].join("\n"));
    }
}
