//! The subflows of the connection, the closed ones too, as one JSON object.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use polytcp::blocking::MptcpStream;
use polytcp::{Stack, SubflowInfo, SubflowState};
use serde::Serialize;

use crate::failure::Failure;
use crate::units::{millis, rounded};

/// What was last seen of every subflow.
pub(super) struct Subflows<'a> {
    stack: &'a Stack,
    seen: BTreeMap<u32, SubflowInfo>,
    /// What the last look found.
    present: Vec<u32>,
}

#[derive(Serialize)]
struct Report {
    mptcp: bool,
    bytes_written: u64,
    bytes_received: u64,
    bytes_reinjected: u64,
    subflows: Vec<SubflowReport>,
}

#[derive(Serialize)]
struct SubflowReport {
    id: u32,
    path: String,
    local: SocketAddr,
    remote: SocketAddr,
    state: &'static str,
    backup: bool,
    stale: bool,
    rtt_ms: Option<f64>,
    cwnd_bytes: u32,
    bytes_sent: u64,
    bytes_received: u64,
    bytes_retransmitted: u64,
    retransmissions: u64,
}

impl<'a> Subflows<'a> {
    pub(super) fn new(stack: &'a Stack) -> Self {
        Self { stack, seen: BTreeMap::new(), present: Vec::new() }
    }

    /// Looks at the subflows that there are.
    pub(super) fn sample(&mut self, stream: &MptcpStream) {
        // None are left when the connection is over, or has failed.
        let flows = stream.subflows().unwrap_or_default();
        self.present = flows.iter().map(|flow| flow.id).collect();
        self.seen.extend(flows.into_iter().map(|flow| (flow.id, flow)));
    }

    /// Prints all of them to stderr.
    pub(super) fn print(&self, stream: &MptcpStream) -> Result<(), Failure> {
        let info = stream.info().ok();
        let paths = self.stack.paths();
        let name = |flow: &SubflowInfo| {
            let path = paths.iter().find(|path| path.interface == flow.interface);
            path.map_or_else(String::new, |path| path.name.clone())
        };
        let flow = |flow: &SubflowInfo| SubflowReport {
            id: flow.id,
            path: name(flow),
            local: flow.local,
            remote: flow.remote,
            state: if self.present.contains(&flow.id) { state(flow.state) } else { "closed" },
            backup: flow.backup,
            stale: flow.stale,
            rtt_ms: flow.srtt.map(|rtt| rounded(millis(rtt))),
            cwnd_bytes: flow.cwnd_bytes,
            bytes_sent: flow.bytes_sent,
            bytes_received: flow.bytes_received,
            bytes_retransmitted: flow.bytes_retransmitted,
            retransmissions: flow.retransmissions,
        };
        let report = Report {
            mptcp: info.as_ref().is_some_and(|info| info.is_mptcp),
            bytes_written: info.as_ref().map_or(0, |info| info.bytes_written),
            bytes_received: info.as_ref().map_or(0, |info| info.bytes_received),
            bytes_reinjected: info.as_ref().map_or(0, |info| info.bytes_reinjected),
            subflows: self.seen.values().map(flow).collect(),
        };
        eprintln!("{}", serde_json::to_string(&report).map_err(Failure::running("writing JSON"))?);
        Ok(())
    }
}

const fn state(state: SubflowState) -> &'static str {
    match state {
        SubflowState::SynSent => "syn-sent",
        SubflowState::SynReceived => "syn-received",
        SubflowState::Established => "established",
        SubflowState::Closing => "closing",
        SubflowState::Closed => "closed",
    }
}
