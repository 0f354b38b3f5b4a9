//! Nothing is sent outside the peer's window: checked from the packets alone, at each host.
//!
//! The window of an MPTCP subflow begins at its DATA_ACK and is shared by all subflows (RFC 8684 §3.3.4); that of
//! TCP begins at the acknowledgement. What comes with a wrong checksum opens nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use polytcp_proto::mptcp::key::Key;
use polytcp_wire::mptcp::{CapableForm, DataAck, DssDsn, Join, MptcpOption};
use polytcp_wire::tcp::TcpFlags;

use crate::tap::{Segment, Sighting};

/// Octets that a probe of a closed window may lie beyond it (RFC 9293 §3.8.6.1).
const PROBE: u64 = 1;

/// A flow of a host: its own address, and the peer's.
type Tuple = (SocketAddr, SocketAddr);

#[derive(Debug, Default)]
struct Flow {
    isn: Option<u32>,
    /// Window scale that the peer has offered.
    peer_scale: Option<u8>,
    /// Window scale that the host has offered.
    own_scale: Option<u8>,
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

/// The check, for all hosts.
#[derive(Debug, Default)]
pub(crate) struct WindowCheck {
    hosts: BTreeMap<usize, HostView>,
}

impl WindowCheck {
    /// Looks at a packet. What it finds is a line.
    pub(crate) fn see(&mut self, sighting: &Sighting<'_>) -> Option<String> {
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
        if !header.flags.contains(TcpFlags::ACK) {
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

    fn sent(&mut self, segment: &Segment<'_>) -> Option<String> {
        let header = &segment.tcp.header;
        let tuple = ends(segment);
        if header.flags.contains(TcpFlags::SYN) {
            self.opens(tuple, segment);
            return None;
        }
        let len = segment.payload.len() as u32;
        let flow = self.flows.get(&tuple).filter(|_| len > 0)?;
        let mapping = segment.tcp.options.mptcp.iter().find_map(|option| match option {
            MptcpOption::Dss(dss) => dss.mapping.filter(|mapping| mapping.len > 0),
            _ => None,
        });
        if let (Some(mapping), Some(connection)) = (mapping, flow.connection) {
            let isn = flow.isn?;
            let edge = self.data_edges[connection]?;
            let start = match mapping.dsn {
                DssDsn::Eight(dsn) => dsn,
                DssDsn::Four(low) => near(edge, low),
            };
            let place = header.seq.wrapping_sub(isn).wrapping_sub(mapping.ssn);
            let end = start.wrapping_add(u64::from(place)).wrapping_add(u64::from(len));
            let beyond = end.wrapping_sub(edge);
            return (beyond > PROBE && beyond < 1 << 63)
                .then(|| format!("{} sends {beyond} octets beyond the data-level window", tuple.0));
        }
        let end = header.seq.wrapping_add(len);
        let beyond = u64::from(end.wrapping_sub(flow.edge?));
        (beyond > PROBE && beyond < 1 << 31)
            .then(|| format!("{} sends {beyond} octets beyond the window", tuple.0))
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
        } else if flow.edge.is_none() && flow.isn.map(|isn| isn.wrapping_add(1)) == Some(header.ack) {
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
fn ends(segment: &Segment<'_>) -> Tuple {
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
    use super::*;

    #[test]
    fn short_numbers_are_read_near_what_is_known() {
        assert_eq!(near(0x1_ffff_fff0, 5), 0x2_0000_0005);
        assert_eq!(near(0x2_0000_0005, 0xffff_fff0), 0x1_ffff_fff0);
        assert_eq!(later(Some(u32::MAX), 3), 3);
        assert_eq!(later(Some(3), u32::MAX), 3);
    }
}
