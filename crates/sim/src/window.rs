//! Nothing is sent outside the peer's window: checked from the packets alone, at each host.
//!
//! The window of an MPTCP subflow begins at its DATA_ACK and is shared by all subflows (RFC 8684 §3.3.4); that of
//! TCP begins at the acknowledgement. What comes with a wrong checksum opens nothing. A closed window is probed without
//! data, so that not one octet may lie beyond it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use polytcp_proto::mptcp::key::Key;
use polytcp_wire::mptcp::{CapableForm, DataAck, DssDsn, Join, MptcpOption};
use polytcp_wire::tcp::TcpFlags;

use crate::tap::{Segment, Sighting};

/// A flow of a host: its own address, and the peer's.
pub(crate) type Tuple = (SocketAddr, SocketAddr);

#[derive(Debug, Default)]
struct Flow {
    isn: Option<u32>,
    /// Window scale that the peer has offered.
    peer_scale: Option<u8>,
    /// Window scale that the host has offered.
    own_scale: Option<u8>,
    /// End of what the host has sent.
    sent_end: u32,
    /// Octets on the SYN: numbers of mappings begin behind them (RFC 8684 appendix B).
    on_syn: u32,
    /// End of what the peer takes, in the flow's own numbers.
    edge: Option<u32>,
    connection: Option<usize>,
    asked: Asked,
}

/// What the last SYN that came has offered.
#[derive(Debug, Default)]
struct Asked {
    scale: Option<u8>,
    token: Option<u32>,
}

#[derive(Debug, Default)]
struct HostView {
    flows: BTreeMap<Tuple, Flow>,
    /// Connections by the token that joins carry.
    tokens: BTreeMap<u32, usize>,
    /// End of what the peer takes, in data sequence numbers.
    data_edges: Vec<Option<u64>>,
}

/// A stream of data that a host sends: a connection, or a flow of plain TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Connection(usize),
    Flow(Tuple),
}

/// Where the data of a sent segment lies in its stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataPlace {
    pub(crate) stream: Stream,
    /// Data sequence number, or sequence number of plain TCP.
    pub(crate) start: u64,
    pub(crate) len: u64,
    /// Octets beyond what the peer takes, where that is known.
    beyond: u64,
}

/// The check, for all hosts.
#[derive(Debug, Default)]
pub(crate) struct WindowCheck {
    hosts: BTreeMap<usize, HostView>,
}

impl WindowCheck {
    /// Looks at a packet: where its data lies, if it is one that the host sends.
    pub(crate) fn see(&mut self, sighting: &Sighting<'_>) -> Option<DataPlace> {
        let segment = sighting.segment.as_ref()?;
        let view = self.hosts.entry(sighting.host).or_default();
        if sighting.is_sent {
            view.sent(segment)
        } else {
            if segment.is_sound() {
                view.arrived(segment);
            }
            None
        }
    }
}

impl DataPlace {
    /// What is wrong with it, in a line.
    pub(crate) fn fault(&self) -> Option<String> {
        let Self { stream, beyond, .. } = self;
        (*beyond > 0).then(|| match stream {
            Stream::Connection(_) => format!("{beyond} octets are sent beyond the data-level window"),
            Stream::Flow((local, _)) => format!("{local} sends {beyond} octets beyond the window"),
        })
    }
}

impl HostView {
    fn arrived(&mut self, segment: &Segment<'_>) {
        let header = &segment.tcp.header;
        let (source, destination) = ends(segment);
        let tuple = (destination, source);
        let is_syn = header.flags.contains(TcpFlags::SYN);
        if is_syn {
            self.is_opened(tuple, segment);
        }
        let Some(flow) = self.flows.get_mut(&tuple) else { return };
        // Who guesses acknowledges what was not sent (RFC 9293 §3.10.7.4), or what was long ago.
        let sent = flow.isn.map(|isn| flow.sent_end.wrapping_sub(isn));
        let acked = flow.isn.map(|isn| header.ack.wrapping_sub(isn));
        if !header.flags.contains(TcpFlags::ACK) || acked > sent {
            return;
        }
        let scale = flow.own_scale.and(flow.peer_scale).unwrap_or(0).min(14);
        let window = u32::from(header.window) << if is_syn { 0 } else { scale };
        flow.edge = Some(later(flow.edge, header.ack.wrapping_add(window)));
        let Some(connection) = flow.connection else { return };
        let edge = &mut self.data_edges[connection];
        for option in segment.tcp.options.mptcp.iter() {
            let MptcpOption::Dss(dss) = option else { continue };
            let ack = match dss.data_ack {
                Some(DataAck::Eight(ack)) => ack,
                Some(DataAck::Four(low)) => match *edge {
                    Some(known) => near(known, low),
                    None => continue,
                },
                None => continue,
            };
            let new = ack.wrapping_add(u64::from(window));
            if edge.is_none_or(|known| new.wrapping_sub(known) < 1 << 63) {
                *edge = Some(new);
            }
        }
    }

    fn sent(&mut self, segment: &Segment<'_>) -> Option<DataPlace> {
        let header = &segment.tcp.header;
        let tuple = ends(segment);
        if header.flags.contains(TcpFlags::SYN) {
            self.opens(tuple, segment);
            return None;
        }
        let len = segment.payload.len() as u64;
        let flow = self.flows.get_mut(&tuple)?;
        let is_fin = u32::from(header.flags.contains(TcpFlags::FIN));
        let end = header.seq.wrapping_add(len as u32).wrapping_add(is_fin);
        flow.sent_end = later(Some(flow.sent_end), end);
        if len == 0 {
            return None;
        }
        let mapping = segment.tcp.options.mptcp.iter().find_map(|option| match option {
            MptcpOption::Dss(dss) => dss.mapping.filter(|mapping| mapping.len > 0),
            _ => None,
        });
        if let (Some(mapping), Some(connection)) = (mapping, flow.connection) {
            let isn = flow.isn?;
            let edge = self.data_edges[connection];
            let start = match (mapping.dsn, edge) {
                (DssDsn::Eight(dsn), _) => dsn,
                (DssDsn::Four(low), Some(edge)) => near(edge, low),
                (DssDsn::Four(_), None) => return None,
            };
            let place = header.seq.wrapping_sub(isn.wrapping_add(flow.on_syn)).wrapping_sub(mapping.ssn);
            let start = start.wrapping_add(u64::from(place));
            let beyond = edge.map_or(0, |edge| start.wrapping_add(len).wrapping_sub(edge));
            let beyond = if beyond < 1 << 63 { beyond } else { 0 };
            return Some(DataPlace { stream: Stream::Connection(connection), start, len, beyond });
        }
        let end = header.seq.wrapping_add(len as u32);
        let beyond = flow.edge.map_or(0, |edge| end.wrapping_sub(edge));
        let beyond = if beyond < 1 << 31 { u64::from(beyond) } else { 0 };
        Some(DataPlace { stream: Stream::Flow(tuple), start: u64::from(header.seq), len, beyond })
    }

    /// The host sends a SYN or SYN/ACK: with a number that it has not used, a new flow.
    fn opens(&mut self, tuple: Tuple, segment: &Segment<'_>) {
        let header = &segment.tcp.header;
        let flow = self.flows.entry(tuple).or_default();
        if flow.isn == Some(header.seq) {
            return;
        }
        let is_answer = header.flags.contains(TcpFlags::ACK);
        let asked = std::mem::take(&mut flow.asked);
        let new = Flow {
            isn: Some(header.seq),
            sent_end: header.seq.wrapping_add(1).wrapping_add(segment.payload.len() as u32),
            own_scale: segment.tcp.options.window_scale,
            peer_scale: asked.scale.filter(|_| is_answer),
            ..Flow::default()
        };
        *flow = new;
        let token = if is_answer { asked.token } else { join_token(segment) };
        let connection = listener_token(segment).map(|token| self.named(token));
        let joined = token.and_then(|token| self.tokens.get(&token).copied());
        if let Some(flow) = self.flows.get_mut(&tuple) {
            flow.connection = connection.or(joined);
        }
    }

    /// A SYN or SYN/ACK arrives. Anyone can send one: a SYN counts when the host answers it, a SYN/ACK when it
    /// answers the host's.
    fn is_opened(&mut self, tuple: Tuple, segment: &Segment<'_>) {
        let header = &segment.tcp.header;
        let flow = self.flows.entry(tuple).or_default();
        let scale = segment.tcp.options.window_scale;
        if !header.flags.contains(TcpFlags::ACK) {
            flow.asked = Asked { scale, token: join_token(segment) };
        } else if let Some(isn) = flow.isn.filter(|_| flow.edge.is_none())
            && flow.sent_end.wrapping_sub(isn.wrapping_add(1)) >= header.ack.wrapping_sub(isn.wrapping_add(1))
        {
            flow.on_syn = header.ack.wrapping_sub(isn.wrapping_add(1));
            flow.peer_scale = scale;
            if let Some(token) = listener_token(segment) {
                let connection = self.named(token);
                if let Some(flow) = self.flows.get_mut(&tuple) {
                    flow.connection = Some(connection);
                }
            }
        }
    }

    /// The connection whose listener has this token.
    fn named(&mut self, token: u32) -> usize {
        let next = self.data_edges.len();
        let connection = *self.tokens.entry(token).or_insert(next);
        if connection == next {
            self.data_edges.push(None);
        }
        connection
    }
}

/// The token of the listener's key in a SYN/ACK with MP_CAPABLE, which names the connection in joins.
fn listener_token(segment: &Segment<'_>) -> Option<u32> {
    segment.tcp.options.mptcp.iter().find_map(|option| match option {
        MptcpOption::Capable(capable) => match capable.form {
            CapableForm::SynAck { sender_key } => Some(Key::from_wire(sender_key).token().0),
            CapableForm::Syn | CapableForm::Ack { .. } | CapableForm::Data { .. } => None,
        },
        _ => None,
    })
}

/// The token in a SYN with MP_JOIN.
fn join_token(segment: &Segment<'_>) -> Option<u32> {
    segment.tcp.options.mptcp.iter().find_map(|option| match option {
        MptcpOption::Join(Join::Syn { token, .. }) => Some(*token),
        _ => None,
    })
}

/// Source and destination.
pub(crate) fn ends(segment: &Segment<'_>) -> Tuple {
    let header = &segment.tcp.header;
    let addresses = segment.ip.header.addresses;
    (SocketAddr::new(addresses.src(), header.src_port), SocketAddr::new(addresses.dst(), header.dst_port))
}

fn later(known: Option<u32>, new: u32) -> u32 {
    known.filter(|known| new.wrapping_sub(*known) >= 1 << 31).unwrap_or(new)
}

/// The number with these low 32 bits that is nearest to `known`.
fn near(known: u64, low: u32) -> u64 {
    let distance = low.wrapping_sub(known as u32) as i32;
    known.wrapping_add_signed(i64::from(distance))
}

#[cfg(test)]
mod tests {
    use polytcp_proto::time::Instant;

    use super::*;
    use crate::test_support::packet;

    /// A segment between 10.0.0.1:1000 and 10.0.0.2:80, seen at the first one.
    fn see(
        check: &mut WindowCheck,
        is_sent: bool,
        flags: TcpFlags,
        numbers: [u32; 2],
        window: u16,
        len: usize,
    ) -> Option<String> {
        let packet = packet(is_sent, flags, numbers, window, len);
        let segment = Segment::parse(&packet);
        assert!(segment.as_ref().is_some_and(Segment::is_sound));
        let at = Instant::ZERO;
        let sighting = Sighting { at, host: 0, link: 0, is_sent, packet: &packet, segment };
        check.see(&sighting).and_then(|place| place.fault())
    }

    #[test]
    fn what_is_sent_beyond_the_window_is_found_and_nothing_else() {
        let (syn, ack) = (TcpFlags::SYN, TcpFlags::ACK);
        let mut check = WindowCheck::default();
        assert_eq!(see(&mut check, true, syn, [99, 0], 9_000, 0), None);
        assert_eq!(see(&mut check, false, syn.union(ack), [499, 100], 1_000, 0), None);
        assert_eq!(see(&mut check, true, ack, [100, 500], 9_000, 1_000), None);
        // Someone guesses an acknowledgement: it opens nothing.
        assert_eq!(see(&mut check, false, ack, [500, 9_000_000], 60_000, 0), None);
        let fault = see(&mut check, true, ack, [1_100, 500], 9_000, 1);
        assert_eq!(
            fault.as_deref(),
            Some("10.0.0.1:1000 sends 1 octets beyond the window"),
            "one octet too many"
        );
        assert_eq!(see(&mut check, false, ack, [500, 1_100], 1_000, 0), None);
        assert_eq!(see(&mut check, true, ack, [1_100, 500], 9_000, 1_000), None);
    }

    #[test]
    fn short_numbers_are_read_near_what_is_known() {
        assert_eq!(near(0x1_ffff_fff0, 5), 0x2_0000_0005);
        assert_eq!(near(0x2_0000_0005, 0xffff_fff0), 0x1_ffff_fff0);
        assert_eq!(later(Some(u32::MAX), 3), 3);
        assert_eq!(later(Some(3), u32::MAX), 3);
    }
}
