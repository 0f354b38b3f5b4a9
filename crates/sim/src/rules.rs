//! What a host must and must not send, judged from its packets alone.
//!
//! | rule | source |
//! | --- | --- |
//! | no packet exceeds the interface's MTU | RFC 9293 §3.7.1 |
//! | data in order is acknowledged within half a second | RFC 9293 §3.8.6.3 (MUST-59) |
//! | acknowledgements are not answered by acknowledgements: their number is bounded by what arrives and by time | §3.10.7.4 |
//! | tokens, HMACs and MP_FASTCLOSE follow from the keys | RFC 8684 §3.2, §3.4.1, §3.5 |
//! | each octet has the DSN of its place in the stream, from IDSN + 1 on, and lies within its mapping | §3.1, §3.3.1 |
//! | a DSS has a DATA_ACK, and a right checksum if any | §3.3 |
//! | no new data goes to an address that REMOVE_ADDR withdrew | §3.4.2 |
//! | no data goes on a backup path of a world where every other answers | §3.3.8 |
//!
//! Keys and flows are learnt as a listener on the wire learns them; what cannot be known is not judged.

use std::collections::{BTreeMap, VecDeque};

use polytcp_proto::time::{Duration, Instant};
use polytcp_wire::mptcp::{AddAddrAuth, Capable, CapableForm, DssDsn, Join, MptcpOption};
use polytcp_wire::tcp::TcpFlags;

use crate::pattern;
use crate::proofs;
use crate::scenario::{Action, EventSpec, Scenario};
use crate::tap::{Segment, Sighting};
use crate::window::{Tuple, ends};

/// RFC 9293 §3.8.6.3.
const ACK_DELAY_MAX: Duration = Duration::from_millis(500);
/// What a flow had been given when its address was withdrawn may still leave.
const WITHDRAWAL: Duration = Duration::from_millis(100);
/// Segments without anything that a host may send, at first, per segment with something that arrives, and per flow and
/// second: window updates, repeated signals and probes, and answers to forged segments are far below.
const EMPTY_MAX: [u64; 3] = [2_000, 4, 2];
/// No stream of a world is longer: a number past it is none of the stream's.
const STREAM_MAX: u64 = 1 << 40;

#[derive(Debug, Default)]
struct Flow {
    isn: Option<u32>,
    connection: Option<usize>,
    remote_id: Option<u8>,
    is_backup: bool,
    own_nonce: Option<u32>,
    /// Those that came: a SYN that comes again may be another one.
    peer_nonces: Vec<u32>,
    /// Of a join that the peer asked for: its token, address id and backup flag.
    asked: Option<(u32, u8, bool)>,
    sent_end: u32,
    /// Octets that went with the SYN: numbers of mappings begin behind them (RFC 8684 appendix B).
    on_syn: u32,
    last_ack: Option<u32>,
    /// Highest acknowledgement that came.
    acked: Option<u32>,
    /// Latest timestamp that came with such: what is older is dropped, with its options (RFC 7323 §5).
    clock: Option<u32>,
    owed_since: Option<Instant>,
    withdrawn_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Keyed {
    local: Option<u64>,
    remote: Option<u64>,
    idsn: Option<u64>,
    /// Octets of the stream that went with the SYN: DSNs begin behind them.
    skipped: u64,
}

#[derive(Debug, Default)]
struct HostView {
    flows: BTreeMap<Tuple, Flow>,
    connections: Vec<Keyed>,
    backup_octets: u64,
    traffic: Traffic,
}

/// What a host was given to answer, and what it said without data.
#[derive(Debug, Default)]
struct Traffic {
    since: Option<Instant>,
    /// SYNs that it sent or got, repeated ones too.
    opened: u64,
    arrived: u64,
    empty: u64,
}

impl Traffic {
    /// Counts a segment that is sent; what is wrong with their number, in a line.
    fn sent(&mut self, at: Instant, segment: &Segment<'_>) -> Option<String> {
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

    fn arrived(&mut self, segment: &Segment<'_>) {
        let flags = segment.tcp.header.flags;
        self.opened += u64::from(flags.contains(TcpFlags::SYN));
        let has_more = flags.contains(TcpFlags::SYN) || flags.contains(TcpFlags::FIN);
        self.arrived += u64::from(has_more || !segment.payload.is_empty());
    }
}

/// The rules, for all hosts.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    hosts: BTreeMap<usize, HostView>,
    /// Of each link.
    mtus: Vec<usize>,
    /// Acknowledgements that have to have left by then.
    owed: VecDeque<(Instant, usize, Tuple)>,
    /// Hosts keep their addresses: else they cannot always answer.
    is_steady: bool,
    has_priorities: bool,
}

impl Rules {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let loses_address = |event: &EventSpec| {
            matches!(event.action, Action::Down | Action::RemoveAddress(_) | Action::Roam(_))
        };
        Self {
            mtus: scenario.links.iter().map(|link| usize::from(link.mtu.unwrap_or(1_500))).collect(),
            is_steady: !scenario.events.iter().any(loses_address),
            ..Self::default()
        }
    }

    pub(crate) fn happened(&mut self, link: usize, action: &Action) {
        if let (Action::Mtu(mtu), Some(of_link)) = (action, self.mtus.get_mut(link)) {
            *of_link = usize::from(*mtu);
        }
    }

    /// Looks at a packet: what is wrong, in a line.
    pub(crate) fn see(&mut self, sighting: &Sighting<'_>) -> Option<String> {
        let Sighting { at, host, link, is_sent, packet, .. } = *sighting;
        if let Some(mtu) = self.mtus.get(link).filter(|mtu| is_sent && packet.len() > **mtu) {
            return Some(format!("a packet of {} octets is sent where {mtu} fit", packet.len()));
        }
        if let Some(late) = self.late(at) {
            return Some(late);
        }
        let segment = sighting.segment.as_ref()?;
        let view = self.hosts.entry(host).or_default();
        let is_prio = |option: &MptcpOption| matches!(option, MptcpOption::Prio(_));
        self.has_priorities |= segment.tcp.options.mptcp.iter().any(is_prio);
        if is_sent {
            return view.sent(at, segment).or_else(|| view.traffic.sent(at, segment));
        }
        view.traffic.arrived(segment);
        if segment.is_sound() && view.arrived(at, segment) && self.is_steady {
            let (source, destination) = ends(segment);
            self.owed.push_back((at + ACK_DELAY_MAX, host, (destination, source)));
        }
        None
    }

    /// An acknowledgement that did not leave in time.
    fn late(&mut self, now: Instant) -> Option<String> {
        while let Some((by, host, tuple)) = self.owed.front().copied()
            && by < now
        {
            self.owed.pop_front();
            let flow = self.hosts.get(&host).and_then(|view| view.flows.get(&tuple));
            if flow.and_then(|flow| flow.owed_since).is_some_and(|since| since + ACK_DELAY_MAX <= by) {
                return Some(format!("{} does not acknowledge data within {ACK_DELAY_MAX:?}", tuple.0));
            }
        }
        None
    }

    /// At the end of a run in which `timers` ran out and `resets` were sent.
    pub(crate) fn finish(&self, timers: u64, resets: u64) -> Option<String> {
        let octets: u64 = self.hosts.values().map(|view| view.backup_octets).sum();
        let is_judged = timers == 0 && resets == 0 && self.is_steady && !self.has_priorities;
        (is_judged && octets > 0)
            .then(|| format!("{octets} octets went on a backup path although every other one answered"))
    }
}

impl HostView {
    /// Takes in a segment that is sound; true when it brings data in order.
    fn arrived(&mut self, at: Instant, segment: &Segment<'_>) -> bool {
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
                    flow.withdrawn_at.get_or_insert(at);
                }
            }
        }
        is_new
    }

    fn sent(&mut self, at: Instant, segment: &Segment<'_>) -> Option<String> {
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
        let is_late = flow.withdrawn_at.is_some_and(|withdrawn| withdrawn + WITHDRAWAL < at);
        if is_new && is_mapped && is_late {
            return Some(format!("{} sends new data to an address that was withdrawn", tuple.0));
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

    fn check_options(&mut self, tuple: Tuple, segment: &Segment<'_>) -> Option<String> {
        let flow = self.flows.get(&tuple)?;
        let keyed = flow.connection.and_then(|place| self.connections.get_mut(place));
        let Some(keyed) = keyed else {
            let is_join = |option: &MptcpOption| matches!(option, MptcpOption::Join(Join::Syn { .. }));
            let joins = segment.tcp.options.mptcp.iter().any(is_join);
            return joins.then(|| format!("{} joins no connection that its peer has", tuple.0));
        };
        let fault = |what: &str| Some(format!("{}: {what}", tuple.0));
        for option in segment.tcp.options.mptcp.iter() {
            if let MptcpOption::Capable(Capable {
                form:
                    CapableForm::Ack { sender_key, receiver_key }
                    | CapableForm::Data { sender_key, receiver_key, .. },
                ..
            }) = *option
            {
                if keyed.remote.is_some_and(|key| key != receiver_key) {
                    return fault("MP_CAPABLE shows another key than the peer's");
                }
                keyed.local = Some(sender_key);
                keyed.idsn = keyed.idsn.or_else(|| Some(proofs::idsn(sender_key)));
            }
            let keys = keyed.local.zip(keyed.remote).map(|(local, remote)| [local, remote]);
            let nonces = match flow.peer_nonces[..] {
                [theirs] => flow.own_nonce.map(|own| [own, theirs]),
                _ => None,
            };
            let shown = match *option {
                MptcpOption::Join(Join::SynAck { hmac, .. }) => Some(hmac.to_be_bytes().to_vec()),
                MptcpOption::Join(Join::Ack { hmac }) => Some(hmac.to_vec()),
                _ => None,
            };
            if let (Some(shown), Some(keys), Some(nonces)) = (shown, keys, nonces)
                && !proofs::join(keys, nonces).starts_with(&shown)
            {
                return fault("the HMAC of its MP_JOIN is wrong");
            }
            match (*option, keys) {
                (MptcpOption::AddAddr(add), Some(keys)) => {
                    let expected = proofs::add_addr(keys, add.address_id, add.address, add.port);
                    if matches!(add.auth, AddAddrAuth::Hmac(hmac) if hmac != expected) {
                        return fault("the HMAC of its ADD_ADDR is wrong");
                    }
                }
                (MptcpOption::FastClose { receiver_key }, Some([_, remote])) if receiver_key != remote => {
                    return fault("MP_FASTCLOSE shows another key than the peer's");
                }
                (MptcpOption::Dss(dss), _) => {
                    let is_infinite = dss.mapping.is_some_and(|mapping| mapping.len == 0);
                    if dss.data_ack.is_none() && !is_infinite {
                        return fault("a DSS has no DATA_ACK");
                    }
                }
                _ => {}
            }
        }
        check_mapping(flow, keyed, segment).and_then(fault)
    }
}

/// What is wrong with the mapping of a segment.
fn check_mapping(flow: &Flow, keyed: &Keyed, segment: &Segment<'_>) -> Option<&'static str> {
    let (isn, idsn) = flow.isn.zip(keyed.idsn)?;
    let mapping_of = |option: &MptcpOption| match option {
        MptcpOption::Dss(dss) => dss.mapping.map(|mapping| (mapping, dss.data_fin)),
        _ => None,
    };
    let (mapping, fin) = segment.tcp.options.mptcp.iter().find_map(mapping_of)?;
    let DssDsn::Eight(dsn) = mapping.dsn else { return None };
    if mapping.len == 0 {
        return None;
    }
    let data = u32::from(mapping.len) - u32::from(fin);
    let len = segment.payload.len() as u32;
    let into = match data {
        0 => 0,
        _ => segment.tcp.header.seq.wrapping_sub(isn.wrapping_add(flow.on_syn)).wrapping_sub(mapping.ssn),
    };
    if len > 0 && (into >= data || len > data - into) {
        return Some("a segment does not lie within its mapping");
    }
    if let Some(checksum) = mapping.checksum.filter(|_| into == 0 && len == data) {
        let right = proofs::dss_checksum(dsn, mapping.ssn, mapping.len, segment.payload);
        // Both forms of zero mean the same (RFC 1071 §1).
        if checksum != right && !(matches!(checksum, 0 | u16::MAX) && matches!(right, 0 | u16::MAX)) {
            return Some("a DSS checksum is wrong");
        }
    }
    let offset = dsn.wrapping_sub(idsn).wrapping_sub(1);
    if offset > STREAM_MAX {
        return Some("a mapping begins before the stream");
    }
    let offset = offset + keyed.skipped;
    pattern::first_difference(offset + u64::from(into), segment.payload)
        .map(|_| "an octet goes under another number than its own")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::packet;

    /// A segment between 10.0.0.1:1000 and 10.0.0.2:80, seen at the first one after so many milliseconds.
    fn see(
        rules: &mut Rules,
        millis: u64,
        is_sent: bool,
        flags: TcpFlags,
        numbers: [u32; 2],
        len: usize,
    ) -> Option<String> {
        let packet = packet(is_sent, flags, numbers, 9_000, len);
        let segment = Segment::parse(&packet);
        let at = Instant::from_millis(millis);
        rules.see(&Sighting { at, host: 0, link: 0, is_sent, packet: &packet, segment })
    }

    #[test]
    fn data_that_is_not_acknowledged_in_time_and_packets_that_are_too_large_are_found() {
        let (syn, ack) = (TcpFlags::SYN, TcpFlags::ACK);
        let mut rules = Rules { mtus: vec![1_500], is_steady: true, ..Rules::default() };
        assert_eq!(see(&mut rules, 0, true, syn, [99, 0], 0), None);
        assert_eq!(see(&mut rules, 1, false, syn.union(ack), [499, 100], 0), None);
        assert_eq!(see(&mut rules, 2, true, ack, [100, 500], 0), None);
        assert_eq!(see(&mut rules, 3, false, ack, [500, 100], 1_000), None);
        assert_eq!(see(&mut rules, 400, true, ack, [100, 1_500], 0), None);
        assert_eq!(see(&mut rules, 900, false, ack, [2_500, 100], 1_000), None, "out of order");
        assert_eq!(see(&mut rules, 1_900, false, ack, [1_500, 100], 1_000), None);
        let late = see(&mut rules, 2_500, false, ack, [3_500, 100], 1_000);
        assert_eq!(late.as_deref(), Some("10.0.0.1:1000 does not acknowledge data within 500ms"));
        // Behind a proxy: data with an acknowledgement from long ago.
        assert_eq!(see(&mut rules, 2_510, true, ack, [100, 2_500], 50), None);
        assert_eq!(see(&mut rules, 2_520, false, ack, [9_500, 150], 0), None);
        assert_eq!(see(&mut rules, 2_530, false, ack, [2_500, 120], 1_000), None);
        assert_eq!(see(&mut rules, 3_500, false, ack, [9_500, 150], 0), None);
        let large = see(&mut rules, 3_600, true, ack, [100, 3_500], 1_461);
        assert_eq!(large.as_deref(), Some("a packet of 1501 octets is sent where 1500 fit"));
    }

    #[test]
    fn acknowledgements_that_answer_acknowledgements_are_found() {
        let ack = TcpFlags::ACK;
        let mut rules = Rules { mtus: vec![1_500], is_steady: true, ..Rules::default() };
        let storm = |rules: &mut Rules, data: usize| {
            (0..2_100).find_map(|at| {
                assert_eq!(see(rules, at, false, ack, [500, 100], data), None);
                see(rules, at, true, ack, [100, 500], 0)
            })
        };
        assert_eq!(storm(&mut rules, 1), None, "answers to data");
        let mut rules = Rules { mtus: vec![1_500], is_steady: true, ..Rules::default() };
        let found = storm(&mut rules, 0);
        assert_eq!(found.as_deref(), Some("the 2001th segment without data in 2 s, with 0 to answer"));
    }
}
