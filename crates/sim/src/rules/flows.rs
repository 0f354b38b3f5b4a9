//! What a listener on a host's wire learns of its flows and connections, and what the host may send on them.

use std::collections::BTreeMap;

use polytcp_proto::time::Instant;
use polytcp_wire::mptcp::{Capable, CapableForm, Join, MptcpOption};
use polytcp_wire::tcp::TcpFlags;

use super::traffic::Traffic;
use crate::proofs;
use crate::tap::Segment;
use crate::window::{Tuple, ends};

/// What a flow had been given when its address was withdrawn may still leave: the rest of a burst.
const WITHDRAWN_OCTETS_MAX: u32 = 4_096;

#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) isn: Option<u32>,
    pub(super) connection: Option<usize>,
    pub(super) remote_id: Option<u8>,
    pub(super) is_backup: bool,
    pub(super) own_nonce: Option<u32>,
    /// Those that came: a SYN that comes again may be another one.
    pub(super) peer_nonces: Vec<u32>,
    /// Of a join that the peer asked for: its token, address id and backup flag.
    pub(super) asked: Option<(u32, u8, bool)>,
    pub(super) sent_end: u32,
    /// Octets that went with the SYN: numbers of mappings begin behind them (RFC 8684 appendix B).
    pub(super) on_syn: u32,
    pub(super) last_ack: Option<u32>,
    /// Highest acknowledgement that came.
    pub(super) acked: Option<u32>,
    /// Latest timestamp that came with such: what is older is dropped, with its options (RFC 7323 §5).
    pub(super) clock: Option<u32>,
    pub(super) owed_since: Option<Instant>,
    /// New octets that it sent since its address was withdrawn.
    pub(super) withdrawn_octets: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Keyed {
    pub(super) local: Option<u64>,
    pub(super) remote: Option<u64>,
    pub(super) idsn: Option<u64>,
    /// Octets of the stream that went with the SYN: DSNs begin behind them.
    pub(super) skipped: u64,
}

#[derive(Debug, Default)]
pub(super) struct HostView {
    pub(super) flows: BTreeMap<Tuple, Flow>,
    pub(super) connections: Vec<Keyed>,
    pub(super) backup_octets: u64,
    pub(super) traffic: Traffic,
}

impl HostView {
    /// Takes in a segment that is sound; true when it brings data in order.
    pub(super) fn arrived(&mut self, at: Instant, segment: &Segment<'_>) -> bool {
        let header = &segment.tcp.header;
        let (source, destination) = ends(segment);
        let tuple = (destination, source);
        let is_answer = header.flags.contains(TcpFlags::ACK);
        if header.flags.contains(TcpFlags::SYN) && !is_answer {
            let flow = self.flows.entry(tuple).or_default();
            flow.peer_nonces.clear();
            (flow.asked, flow.clock) = (None, None);
        }
        let Some(flow) = self.flows.get_mut(&tuple) else { return false };
        if header.flags.contains(TcpFlags::RST) {
            // Whether the host believes it or not: who is reset answers nothing any more.
            (flow.owed_since, flow.last_ack) = (None, None);
        }
        let is_own = flow.isn.is_some_and(|isn| header.ack.wrapping_sub(isn.wrapping_add(1)) < 1 << 31);
        for option in segment.tcp.options.mptcp.iter() {
            match *option {
                MptcpOption::Join(Join::Syn { backup, address_id, token, nonce }) if !is_answer => {
                    flow.asked = Some((token, address_id, backup));
                    flow.peer_nonces.push(nonce);
                }
                MptcpOption::Join(Join::SynAck { backup, address_id, nonce, .. }) if is_own => {
                    flow.remote_id = Some(address_id);
                    flow.is_backup |= backup;
                    if !flow.peer_nonces.contains(&nonce) {
                        flow.peer_nonces.push(nonce);
                    }
                }
                MptcpOption::Capable(Capable { form: CapableForm::SynAck { sender_key }, .. })
                    if is_own && flow.connection.is_none() =>
                {
                    flow.connection = Some(self.connections.len());
                    flow.remote_id = Some(0);
                    flow.on_syn = flow.isn.map_or(0, |isn| header.ack.wrapping_sub(isn).wrapping_sub(1));
                    let skipped = u64::from(flow.on_syn);
                    self.connections.push(Keyed { remote: Some(sender_key), skipped, ..Keyed::default() });
                }
                MptcpOption::Capable(Capable {
                    form:
                        CapableForm::Ack { sender_key, receiver_key }
                        | CapableForm::Data { sender_key, receiver_key, .. },
                    ..
                }) if is_own => {
                    let keyed = flow.connection.and_then(|place| self.connections.get_mut(place));
                    if let Some(keyed) = keyed.filter(|keyed| keyed.local == Some(receiver_key)) {
                        keyed.remote = Some(sender_key);
                    }
                }
                _ => {}
            }
        }
        // What acknowledges less than was acknowledged before may be too old to be taken, and what was never sent is no
        // acknowledgement (RFC 5961 §5.2): a proxy has acknowledged for the peer, or believed a forged segment.
        let is_old = flow.acked.is_some_and(|acked| acked.wrapping_sub(header.ack).wrapping_sub(1) < 1 << 31);
        let is_taken = is_own && !is_old && flow.sent_end.wrapping_sub(header.ack) < 1 << 31;
        let stamp = segment.tcp.options.timestamps.map(|stamps| stamps.val);
        let is_late = stamp
            .zip(flow.clock)
            .is_some_and(|(stamp, clock)| clock.wrapping_sub(stamp).wrapping_sub(1) < 1 << 31);
        if is_taken {
            flow.acked = Some(header.ack);
            flow.clock = if is_late { flow.clock } else { stamp };
        }
        let in_order = !segment.payload.is_empty()
            && is_taken
            && flow.last_ack == Some(header.seq)
            && !header.flags.contains(TcpFlags::SYN);
        let is_new = in_order && flow.owed_since.is_none();
        if is_new {
            flow.owed_since = Some(at);
        }
        // Before the window: dropped with its options, such as one that a FIN of its sender has overtaken.
        let end = header.seq.wrapping_add(segment.payload.len() as u32);
        let is_behind = flow.last_ack.is_some_and(|ack| ack.wrapping_sub(end).wrapping_sub(1) < 1 << 31);
        let connection = flow.connection;
        // Who waits for the keys still drops what comes before them.
        let knows =
            connection.and_then(|place| self.connections.get(place)).is_some_and(|k| k.remote.is_some());
        for option in segment.tcp.options.mptcp.iter() {
            if let (MptcpOption::RemoveAddr(ids), true) = (option, is_own && knows && !is_behind && !is_late)
            {
                let gone = |flow: &&mut Flow| {
                    flow.connection == connection
                        && flow.remote_id.is_some_and(|id| ids.as_slice().contains(&id))
                };
                for flow in self.flows.values_mut().filter(gone) {
                    flow.withdrawn_octets.get_or_insert(0);
                }
            }
        }
        is_new
    }

    pub(super) fn sent(&mut self, segment: &Segment<'_>) -> Option<String> {
        let header = &segment.tcp.header;
        let tuple = ends(segment);
        if header.flags.contains(TcpFlags::RST) {
            let fault = self.check_options(tuple, segment);
            self.flows.remove(&tuple);
            return fault;
        }
        if header.flags.contains(TcpFlags::SYN) {
            self.opens(tuple, segment);
            return self.check_options(tuple, segment);
        }
        let fault = self.check_options(tuple, segment);
        let flow = self.flows.get_mut(&tuple)?;
        flow.owed_since = None;
        flow.last_ack = Some(header.ack);
        let len = segment.payload.len() as u32;
        let end = header.seq.wrapping_add(len);
        let is_new = len > 0 && end.wrapping_sub(flow.sent_end).wrapping_sub(1) < 1 << 31;
        if is_new {
            flow.sent_end = end;
        }
        if flow.is_backup {
            self.backup_octets += u64::from(len);
        }
        let is_mapped = segment.tcp.options.mptcp.iter().any(|option| matches!(option, MptcpOption::Dss(_)));
        if let Some(octets) = flow.withdrawn_octets.as_mut().filter(|_| is_new && is_mapped) {
            *octets = octets.saturating_add(len);
            if *octets > WITHDRAWN_OCTETS_MAX {
                return Some(format!("{} sends new data to an address that was withdrawn", tuple.0));
            }
        }
        fault
    }

    /// The host sends a SYN or SYN/ACK: with a number that it has not used, a new flow.
    fn opens(&mut self, tuple: Tuple, segment: &Segment<'_>) {
        let header = &segment.tcp.header;
        let is_answer = header.flags.contains(TcpFlags::ACK);
        let before = self.flows.remove(&tuple).unwrap_or_default();
        let mut flow = match before.isn == Some(header.seq) {
            true => before,
            false => Flow {
                isn: Some(header.seq),
                sent_end: header.seq.wrapping_add(1),
                peer_nonces: before.peer_nonces,
                asked: before.asked,
                ..Flow::default()
            },
        };
        for option in segment.tcp.options.mptcp.iter() {
            match *option {
                MptcpOption::Capable(Capable { form: CapableForm::SynAck { sender_key }, .. }) => {
                    let same = |keyed: &Keyed| keyed.local == Some(sender_key);
                    let known = self.connections.iter().position(same);
                    flow.connection = Some(known.unwrap_or(self.connections.len()));
                    flow.remote_id = Some(0);
                    if known.is_none() {
                        let idsn = Some(proofs::idsn(sender_key));
                        self.connections.push(Keyed { local: Some(sender_key), idsn, ..Keyed::default() });
                    }
                }
                MptcpOption::Join(Join::Syn { backup, token, nonce, .. }) => {
                    let named = |keyed: &Keyed| keyed.remote.is_some_and(|key| proofs::token(key) == token);
                    flow.connection = self.connections.iter().position(named);
                    flow.own_nonce = Some(nonce);
                    flow.is_backup = backup;
                }
                MptcpOption::Join(Join::SynAck { backup, nonce, .. }) if is_answer => {
                    if let Some((token, id, asked_backup)) = flow.asked {
                        let named =
                            |keyed: &Keyed| keyed.local.is_some_and(|key| proofs::token(key) == token);
                        flow.connection = self.connections.iter().position(named);
                        flow.remote_id = Some(id);
                        flow.is_backup = backup || asked_backup;
                    }
                    flow.own_nonce = Some(nonce);
                }
                _ => {}
            }
        }
        self.flows.insert(tuple, flow);
    }
}
