//! What a batch of random worlds is to contain, and how often it occurred: the table that shows that the net of the
//! simulator has no hole.
//!
//! A row is read from the hosts' counters, from the options of the resets that they sent, or from the worlds' own
//! descriptions. A row that cannot occur says why; any other that is zero over some thousand seeds asks for an
//! extension of `special.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::report::Report;
use crate::scenario::Scenario;

/// Where a row's number comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Counters of both hosts, summed.
    Counters(&'static [&'static str]),
    /// Resets that the hosts sent, by [`reset_kind`](crate::tap::reset_kind).
    Resets(&'static str),
    /// Boxes of this kind.
    Box(&'static str),
    /// It cannot occur: why.
    Never(&'static str),
}

use Source::{Box, Counters, Never, Resets};

/// Group, row, source.
const ROWS: &[(&str, &str, Source)] = &[
    ("middlebox", "nat", Box("nat")),
    ("middlebox", "strip-mptcp", Box("strip-mptcp")),
    ("middlebox", "strip-unknown", Box("strip-unknown")),
    ("middlebox", "drop-mptcp-syn", Box("drop-mptcp-syn")),
    ("middlebox", "rewrite-isn", Box("rewrite-isn")),
    ("middlebox", "split", Box("split")),
    ("middlebox", "coalesce", Box("coalesce")),
    ("middlebox", "ecn", Box("ecn")),
    ("middlebox", "too-big", Box("too-big")),
    ("middlebox", "black-hole", Box("black-hole")),
    ("middlebox", "pep", Box("pep")),
    ("middlebox", "replay", Box("replay")),
    ("middlebox", "inject", Box("inject")),
    ("middlebox", "flip-payload", Box("flip-payload")),
    ("middlebox", "gateway", Box("gateway")),
    ("fallback", "SynAck", Counters(&["MPTcpExtMPCapableFallbackSYNACK"])),
    ("fallback", "ThirdAck", Counters(&["MPTcpExtMPCapableFallbackACK"])),
    ("fallback", "SynDropped", Counters(&["MPTcpExtMPCapableSYNTXDrop"])),
    ("fallback", "FirstData", Counters(&["MPTcpExtMPCapableDataFallback"])),
    ("fallback", "Dss", Counters(&["MPTcpExtDssFallback"])),
    ("fallback", "InfiniteMapping", Counters(&["MPTcpExtInfiniteMapTx"])),
    (
        "fallback",
        "SimultaneousOpen",
        Never("programs connect to listeners; its scripts are in tests/script/handshake.rs of proto"),
    ),
    (
        "fallback",
        "NoToken",
        Never("asks for 2^32 keys; its script is in tests/script/mptcp_keys.rs of proto"),
    ),
    ("fallback", "suspected black hole of MPTCP", Counters(&["MPTcpExtMPCapableSYNTXDisabled"])),
    ("fallback", "needed and not allowed any more", Counters(&["MPTcpExtFallbackFailed"])),
    ("reset sent", "MP_TCPRST 0, unspecified", Resets("MP_TCPRST 0")),
    ("reset sent", "MP_TCPRST 1, MPTCP error", Resets("MP_TCPRST 1")),
    ("reset sent", "MP_TCPRST 2, lack of resources", Never("the stack gives no such reason")),
    ("reset sent", "MP_TCPRST 3, prohibited", Resets("MP_TCPRST 3")),
    ("reset sent", "MP_TCPRST 4, too much outstanding data", Never("the stack gives no such reason")),
    ("reset sent", "MP_TCPRST 5, unacceptable performance", Never("the stack gives no such reason")),
    ("reset sent", "MP_TCPRST 6, middlebox interference", Resets("MP_TCPRST 6")),
    ("reset sent", "with MP_FASTCLOSE", Resets("MP_FASTCLOSE")),
    ("reset sent", "plain, to a segment with ACK", Resets("plain")),
    ("reset sent", "plain, with ACK of its own", Resets("plain with ACK")),
    ("recovery", "fast retransmit, with SACK", Counters(&["TcpExtTCPSackRecovery"])),
    ("recovery", "fast retransmit, without SACK", Counters(&["TcpExtTCPRenoRecovery"])),
    ("recovery", "retransmission timeout", Counters(&["TcpExtTCPTimeouts"])),
    ("recovery", "F-RTO: the timeout was spurious", Counters(&["TcpExtTCPSpuriousRTOs"])),
    ("recovery", "tail loss probe", Counters(&["TcpExtTCPLossProbes"])),
    ("recovery", "tail loss probe that repaired a loss", Counters(&["TcpExtTCPLossProbeRecovery"])),
    ("recovery", "RACK: reordering seen", Counters(&["TcpExtTCPSACKReorder", "TcpExtTCPTSReorder"])),
    ("recovery", "Eifel: undone, whole", Counters(&["TcpExtTCPFullUndo"])),
    ("recovery", "Eifel: undone at a partial acknowledgement", Counters(&["TcpExtTCPPartialUndo"])),
    ("recovery", "D-SACK: undone", Counters(&["TcpExtTCPDSACKUndo"])),
    ("recovery", "undone after a timeout", Counters(&["TcpExtTCPLossUndo"])),
    ("recovery", "data sent again at data level", Counters(&["MPTcpExtMPTCPRetrans"])),
    ("recovery", "subflow that became stale", Counters(&["MPTcpExtSubflowStale"])),
    ("recovery", "stale subflow that came back", Counters(&["MPTcpExtSubflowRecover"])),
    ("recovery", "path MTU told by ICMP", Counters(&["IcmpInDestUnreachs", "Icmp6InPktTooBigs"])),
    ("recovery", "ICMP of another window refused", Counters(&["TcpExtOutOfWindowIcmps"])),
    ("recovery", "zero window probed by a flow", Counters(&["TcpExtTCPWinProbe"])),
    ("recovery", "zero window probed at data level", Counters(&["MPTcpExtWinProbe"])),
    ("recovery", "SYN or SYN/ACK sent again", Counters(&["TcpExtTCPSynRetrans"])),
    ("recovery", "reduction by ECN", Counters(&["TcpExtTCPDeliveredCE"])),
    ("recovery", "out-of-order data given up", Counters(&["TcpExtOfoPruned"])),
    ("recovery", "keepalive probe", Counters(&["TcpExtTCPKeepAlive"])),
    ("recovery", "challenge acknowledgement", Counters(&["TcpExtTCPChallengeACK"])),
    ("recovery", "old duplicate refused by PAWS", Counters(&["TcpExtPAWSEstab", "TcpExtPAWSOldAck"])),
    ("handshake", "Fast Open cookie asked for", Counters(&["TcpExtTCPFastOpenCookieReqd"])),
    ("handshake", "Fast Open, client", Counters(&["TcpExtTCPFastOpenActive"])),
    ("handshake", "Fast Open, server", Counters(&["TcpExtTCPFastOpenPassive"])),
    ("handshake", "Fast Open, data not taken", Counters(&["TcpExtTCPFastOpenActiveFail"])),
    ("handshake", "SYN cookie sent", Counters(&["TcpExtSyncookiesSent"])),
    ("handshake", "SYN cookie that came back", Counters(&["TcpExtSyncookiesRecv"])),
    ("handshake", "SYN cookie that was wrong", Counters(&["TcpExtSyncookiesFailed"])),
    ("handshake", "join", Counters(&["MPTcpExtMPJoinAckRx"])),
    ("handshake", "join refused", Counters(&["MPTcpExtMPJoinRejected"])),
    ("handshake", "backup join", Counters(&["MPTcpExtMPJoinSynBackupRx"])),
    ("signal", "ADD_ADDR", Counters(&["MPTcpExtAddAddr"])),
    ("signal", "ADD_ADDR echo", Counters(&["MPTcpExtEchoAdd"])),
    ("signal", "REMOVE_ADDR", Counters(&["MPTcpExtRmAddr"])),
    ("signal", "MP_PRIO", Counters(&["MPTcpExtMPPrioRx"])),
    ("signal", "MP_FAIL sent", Counters(&["MPTcpExtMPFailTx"])),
    ("signal", "MP_FAIL received", Counters(&["MPTcpExtMPFailRx"])),
    ("signal", "infinite mapping received", Counters(&["MPTcpExtInfiniteMapRx"])),
    ("signal", "wrong DSS checksum", Counters(&["MPTcpExtDataCsumErr"])),
    ("signal", "MP_FASTCLOSE received", Counters(&["MPTcpExtMPFastcloseRx"])),
    ("signal", "MP_TCPRST received", Counters(&["MPTcpExtMPRstRx"])),
];

/// How often something occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Occurred {
    /// In how many worlds.
    pub worlds: u64,
    /// How often, all worlds together.
    pub times: u64,
}

/// The table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Coverage(BTreeMap<&'static str, BTreeMap<&'static str, Occurred>>);

impl Coverage {
    /// Counts a world that was run.
    pub(crate) fn add(&mut self, scenario: &Scenario, report: &Report) {
        let boxes = || scenario.links.iter().flat_map(|link| link.boxes.iter().chain(&link.far_boxes));
        for (group, row, source) in ROWS {
            let times = match source {
                Counters(names) => names.iter().map(|name| report.counter(name)).sum(),
                Resets(kind) => report.resets_sent.get(*kind).copied().unwrap_or_default(),
                Box(kind) => boxes().filter(|spec| spec.kind() == *kind).count() as u64,
                Never(_) => continue,
            };
            let occurred = self.0.entry(group).or_default().entry(row).or_default();
            occurred.worlds += u64::from(times > 0);
            occurred.times += times;
        }
    }

    /// What could have occurred and did not: group and row.
    pub fn missing(&self) -> Vec<(&'static str, &'static str)> {
        ROWS.iter()
            .filter(|(group, row, source)| {
                !matches!(source, Never(_)) && self.of(group, row) == Occurred::default()
            })
            .map(|(group, row, _)| (*group, *row))
            .collect()
    }

    fn of(&self, group: &str, row: &str) -> Occurred {
        self.0.get(group).and_then(|rows| rows.get(row)).copied().unwrap_or_default()
    }

    /// The table for people.
    pub(crate) fn write(&self, out: &mut String) {
        let _ = writeln!(out, "covered:\n  worlds    times  what");
        for (group, row, source) in ROWS {
            let Occurred { worlds, times } = self.of(group, row);
            let _ = match source {
                Never(why) => writeln!(out, "       -        -  {group}: {row} (cannot: {why})"),
                _ if times == 0 => writeln!(out, "       0        0  {group}: {row}   <- NEVER"),
                _ => writeln!(out, "  {worlds:6} {times:8}  {group}: {row}"),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use polytcp_proto::counters::Counters as Values;

    use super::*;

    #[test]
    fn every_row_is_there_once_and_its_counters_exist() {
        let names: BTreeSet<_> = ROWS.iter().map(|(group, row, _)| (group, row)).collect();
        assert_eq!(names.len(), ROWS.len());
        for (_, row, source) in ROWS {
            if let Counters(names) = source {
                for name in *names {
                    assert!(Values::default().get(name).is_some(), "{row}: {name}");
                }
            }
        }
    }
}
