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
mod flows;
mod options;
mod traffic;

use std::collections::{BTreeMap, VecDeque};

use polytcp_proto::time::{Duration, Instant};
use polytcp_wire::mptcp::MptcpOption;

use crate::scenario::{Action, EventSpec, Scenario};
use crate::tap::Sighting;
use crate::window::{Tuple, ends};
use flows::HostView;

/// RFC 9293 §3.8.6.3.
const ACK_DELAY_MAX: Duration = Duration::from_millis(500);

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
            return view.sent(segment).or_else(|| view.traffic.sent(at, segment));
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

#[cfg(test)]
mod tests {
    use polytcp_wire::tcp::TcpFlags;

    use super::*;
    use crate::tap::Segment;
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
