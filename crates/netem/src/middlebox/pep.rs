//! A performance-enhancing proxy, as before satellite and radio links (RFC 3135): it acknowledges data on
//! behalf of the receiver, keeps it, and retransmits it itself. A sender that takes the acknowledgement
//! of a subflow for delivery loses data when the path dies; DATA_ACK is there for that (RFC 8684 §3.3.2).

mod half;

use alloc::vec::Vec;
use core::time::Duration;

use polytcp_proto::time::Instant;
use polytcp_wire::mptcp::OPTION_KIND;
use polytcp_wire::raw_options::raw_options;
use polytcp_wire::tcp::{TcpFlags, TcpHeader};
use polytcp_wire::tcp_options::{TcpOption, Timestamps};

use crate::middlebox::flow::{Flow, FlowTable};
use crate::middlebox::segment::Segment;
use crate::middlebox::{Direction, Middlebox, Output};
use half::{Due, Half, Heard};

/// How much a proxy does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PepConfig {
    /// Octets of payload kept for each direction of a flow; what comes beyond passes unacknowledged.
    /// Default 262,144.
    pub store_bytes_max: usize,
    /// Flows at a time; of one more it stays out. Default 64.
    pub flows_max: usize,
    /// Time to the first retransmission; each further one takes twice as long. Default 300 ms.
    pub retransmit_after: Duration,
    /// Retransmissions without progress, after which the data is given up: it was acknowledged, and is
    /// lost. Default 8.
    pub retries_max: u32,
}

impl Default for PepConfig {
    fn default() -> Self {
        Self {
            store_bytes_max: 262_144,
            flows_max: 64,
            retransmit_after: Duration::from_millis(300),
            retries_max: 8,
        }
    }
}

/// A proxy for both directions of the flows whose SYN has passed.
///
/// Its own acknowledgements carry timestamps and no other option, MPTCP's least of all. What the
/// receiver sends passes with its acknowledgement number raised to what the proxy has acknowledged;
/// pure acknowledgements that would tell nothing new are dropped.
#[derive(Clone, Debug)]
pub struct Pep {
    config: PepConfig,
    flows: FlowTable<Connection>,
    given_up_bytes: u64,
}

/// The data of each direction.
#[derive(Clone, Debug, Default)]
struct Connection {
    outward: Half,
    inward: Half,
}

impl Connection {
    /// The half whose data goes in `direction`, and the other one.
    fn halves(&mut self, direction: Direction) -> (&mut Half, &mut Half) {
        match direction {
            Direction::Outward => (&mut self.outward, &mut self.inward),
            Direction::Inward => (&mut self.inward, &mut self.outward),
        }
    }

    fn is_over(&self) -> bool {
        self.outward.is_finished() && self.inward.is_finished() && self.deadline().is_none()
    }

    fn deadline(&self) -> Option<Instant> {
        [self.outward.retransmit_at(), self.inward.retransmit_at()].into_iter().flatten().min()
    }
}

impl Pep {
    /// A proxy of `config`.
    pub fn new(config: PepConfig) -> Self {
        Self { config, flows: FlowTable::new(config.flows_max), given_up_bytes: 0 }
    }

    /// Octets that were acknowledged and not delivered.
    pub fn given_up_bytes(&self) -> u64 {
        self.given_up_bytes
    }

    /// Forgets a connection that is over, if there is one.
    fn forget_one(&mut self) -> bool {
        let over = self.flows.iter().find(|(_, connection)| connection.is_over()).map(|(flow, _)| *flow);
        over.and_then(|flow| self.flows.remove(&flow)).is_some()
    }

    /// The connection of a segment that concerns the proxy.
    fn connection(&mut self, flow: &Flow, segment: &Segment) -> Option<&mut Connection> {
        if segment.has(TcpFlags::RST) {
            self.flows.remove(flow);
            return None;
        }
        let known = self.flows.peek(flow);
        if segment.is_first_syn() && known.is_none_or(Connection::is_over) {
            if known.is_none() && self.flows.len() >= self.config.flows_max && !self.forget_one() {
                return None;
            }
            self.flows.insert(*flow, Connection::default());
        }
        self.flows.use_flow(flow)
    }
}

/// What the proxy tells the sender of `segment`: all that it has, and nothing that the receiver has not
/// room for.
fn acknowledgement(segment: &Segment, data: &Half, other: &Half) -> Segment {
    let header = TcpHeader {
        src_port: segment.header.dst_port,
        dst_port: segment.header.src_port,
        seq: other.seq_nxt(),
        ack: data.rcv_nxt(),
        flags: TcpFlags::ACK,
        window: data.window(),
        urgent: 0,
    };
    let mut ack = Segment::new(segment.addresses.reversed(), header);
    if let (Some(val), Some(times)) = (other.last_tsval(), segment.typed_options().timestamps) {
        let mut options = polytcp_wire::tcp::OptionBuf::new();
        let times = Timestamps { val, ecr: times.val };
        options.push(TcpOption::Timestamps(times)).expect("there is nothing else");
        ack.options = options.as_slice().to_vec();
    }
    ack
}

fn has_mptcp(segment: &Segment) -> bool {
    raw_options(&segment.options).any(|option| option.kind == OPTION_KIND)
}

impl Middlebox for Pep {
    fn name(&self) -> &'static str {
        "PEP"
    }

    fn handle(&mut self, now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let config = self.config;
        let Some(mut segment) = Segment::parse(&packet) else {
            out.push(direction, packet);
            return;
        };
        let flow = segment.flow(direction);
        let Some(connection) = self.connection(&flow, &segment) else {
            out.push(direction, packet);
            return;
        };
        let (data, other) = connection.halves(direction);
        data.saw(&segment);
        if segment.is_syn() {
            other.saw_receivers_syn(&segment, data.receiver_shift_mut());
            out.push(direction, packet);
            return;
        }

        // The other half's data is acknowledged by this segment.
        let mut changed = false;
        if segment.has(TcpFlags::ACK) {
            if let Some(again) = other.acknowledged(now, &config, &segment) {
                out.push(direction.reversed(), again.emit());
            }
            if other.raise(&mut segment) {
                changed = true;
                let bare = segment.payload.is_empty() && !segment.has(TcpFlags::FIN);
                if bare && !has_mptcp(&segment) {
                    return;
                }
            }
        }

        let heard = data.take(now, &config, &segment);
        if heard != Heard::Passes {
            out.push(direction.reversed(), acknowledgement(&segment, data, other).emit());
        }
        if heard != Heard::Old || segment.has(TcpFlags::FIN) {
            out.push(direction, if changed { segment.emit() } else { packet });
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.flows.iter().filter_map(|(_, connection)| connection.deadline()).min()
    }

    fn poll(&mut self, now: Instant, out: &mut Output) {
        for (_, connection) in self.flows.iter_mut() {
            for direction in [Direction::Outward, Direction::Inward] {
                let (data, _) = connection.halves(direction);
                match data.due(now, &self.config) {
                    Due::Nothing => {}
                    Due::Again(segment) => out.push(direction, segment.emit()),
                    Due::GivenUp(bytes) => self.given_up_bytes += bytes as u64,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
