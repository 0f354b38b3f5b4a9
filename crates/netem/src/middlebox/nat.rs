//! Source NAT for TCP, IPv4 and IPv6: many inside hosts share an address, each flow has a port of its
//! own there. It forgets flows, as all do, and then does not know what to do with them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;
use core::time::Duration;

use polytcp_proto::time::Instant;
use polytcp_wire::addresses::Addresses;
use polytcp_wire::ip;

use crate::middlebox::flow::{Flow, FlowTable};
use crate::middlebox::quoted::Quoted;
use crate::middlebox::segment::Segment;
use crate::middlebox::{Direction, Middlebox, Output};

/// What happens to a segment of a flow that is not known, or not any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forgotten {
    /// It is dropped.
    Drop,
    /// Its sender gets a reset.
    Reset,
}

/// How a NAT translates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NatConfig {
    /// The address that IPv4 flows have outside. Default `None`: IPv4 passes unchanged.
    pub v4: Option<Ipv4Addr>,
    /// The address that IPv6 flows have outside. Default `None`: IPv6 passes unchanged.
    pub v6: Option<Ipv6Addr>,
    /// Ports that flows have outside. A flow keeps its own if it is one of them and free. Default
    /// 1,024 to 65,535.
    pub ports: RangeInclusive<u16>,
    /// Silence, in both directions, after which a flow is forgotten. Default 2 hours and 4 minutes, the
    /// least that RFC 5382 §5 (REQ-5) allows; minutes are common, above all in mobile networks.
    pub idle: Duration,
    /// What happens to segments of flows that are not known. Default [`Forgotten::Drop`].
    pub forgotten: Forgotten,
    /// Flows at a time; one more makes it forget the one not used for the longest. Default 4,096.
    pub flows_max: usize,
}

impl Default for NatConfig {
    fn default() -> Self {
        Self {
            v4: None,
            v6: None,
            ports: 1_024..=u16::MAX,
            idle: Duration::from_secs(2 * 3_600 + 4 * 60),
            forgotten: Forgotten::Drop,
            flows_max: 4_096,
        }
    }
}

/// A NAT between the inside, whose sources it rewrites, and the outside.
///
/// Only a SYN from the inside makes a flow, and only the host that it went to may answer. ICMP errors about
/// a flow pass either way with what they quote translated (RFC 5508 §4); other protocols of a family that it
/// translates are dropped.
#[derive(Clone, Debug)]
pub struct Nat {
    config: NatConfig,
    flows: FlowTable<Mapping>,
    /// The flow of each pair of outside host and own port.
    by_port: BTreeMap<(SocketAddr, u16), Flow>,
    /// Where the search for a free port goes on.
    next_port: u16,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    port: u16,
    used_at: Instant,
}

impl Nat {
    /// A NAT of `config`.
    pub fn new(config: NatConfig) -> Self {
        let flows = FlowTable::new(config.flows_max);
        let next_port = *config.ports.start();
        Self { config, flows, by_port: BTreeMap::new(), next_port }
    }

    /// Flows that it remembers, silent ones included until their memory is needed.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// Its own address of the family that `address` is of.
    fn own(&self, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(_) => self.config.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.config.v6.map(IpAddr::V6),
        }
    }

    fn outward(&mut self, now: Instant, own: IpAddr, segment: &mut Segment) -> Option<()> {
        let flow = segment.flow(Direction::Outward);
        let port = match self.known(now, &flow) {
            Some(port) => port,
            None if segment.is_first_syn() => self.open(now, flow)?,
            None => return None,
        };
        segment.addresses = Addresses::new(own, segment.addresses.dst())?;
        segment.header.src_port = port;
        Some(())
    }

    fn inward(&mut self, now: Instant, own: IpAddr, segment: &mut Segment) -> Option<()> {
        if segment.addresses.dst() != own {
            return None;
        }
        let flow = *self.by_port.get(&(segment.src(), segment.header.dst_port))?;
        self.known(now, &flow)?;
        segment.addresses = Addresses::new(segment.addresses.src(), flow.inside.ip())?;
        segment.header.dst_port = flow.inside.port();
        Some(())
    }

    /// An ICMP error about a flow: as its inside host is to see it, or as the outside does, which knows nothing
    /// of the addresses inside.
    fn error(&self, now: Instant, own: IpAddr, direction: Direction, packet: &[u8]) -> Option<Vec<u8>> {
        let mut quoted = Quoted::parse(packet)?;
        let flow = match direction {
            Direction::Inward if quoted.addresses.dst() == own && quoted.src().ip() == own => {
                *self.by_port.get(&(quoted.dst(), quoted.original.src_port))?
            }
            Direction::Outward => quoted.flow(direction),
            Direction::Inward => return None,
        };
        // Anyone can send one: it does not keep the flow in memory (RFC 5508 §4).
        let mapping = self.flows.peek(&flow)?;
        if now.since(mapping.used_at) > self.config.idle {
            return None;
        }
        let Quoted { addresses, original, .. } = &mut quoted;
        match direction {
            Direction::Inward => {
                *addresses = Addresses::new(addresses.src(), flow.inside.ip())?;
                original.addresses = Addresses::new(flow.inside.ip(), original.addresses.dst())?;
                original.src_port = flow.inside.port();
            }
            Direction::Outward => {
                *addresses = Addresses::new(own, addresses.dst())?;
                original.addresses = Addresses::new(original.addresses.src(), own)?;
                original.dst_port = mapping.port;
            }
        }
        quoted.emit(packet)
    }

    /// The port of a flow that is not forgotten; its time starts anew.
    fn known(&mut self, now: Instant, flow: &Flow) -> Option<u16> {
        let mapping = self.flows.use_flow(flow)?;
        let port = mapping.port;
        if now.since(mapping.used_at) > self.config.idle {
            self.flows.remove(flow);
            self.by_port.remove(&(flow.outside, port));
            return None;
        }
        mapping.used_at = now;
        Some(port)
    }

    /// Remembers a new flow; `None` when no port is free.
    fn open(&mut self, now: Instant, flow: Flow) -> Option<u16> {
        let port = self.free_port(now, &flow)?;
        self.by_port.insert((flow.outside, port), flow);
        if let Some((gone, mapping)) = self.flows.insert(flow, Mapping { port, used_at: now }) {
            self.by_port.remove(&(gone.outside, mapping.port));
        }
        Some(port)
    }

    fn free_port(&mut self, now: Instant, flow: &Flow) -> Option<u16> {
        let own = flow.inside.port();
        if self.config.ports.contains(&own) && self.is_free(now, flow, own) {
            return Some(own);
        }
        let (first, last) = (*self.config.ports.start(), *self.config.ports.end());
        // A flow for each port at most, so that one more than the flows finds a free one.
        for _ in 0..=self.flows.len() {
            let port = self.next_port;
            self.next_port = if port >= last { first } else { port + 1 };
            if self.is_free(now, flow, port) {
                return Some(port);
            }
        }
        None
    }

    fn is_free(&mut self, now: Instant, flow: &Flow, port: u16) -> bool {
        let Some(holder) = self.by_port.get(&(flow.outside, port)).copied() else { return true };
        let silent = |mapping: &Mapping| now.since(mapping.used_at) > self.config.idle;
        let forgotten = self.flows.peek(&holder).is_none_or(silent);
        if forgotten {
            self.flows.remove(&holder);
            self.by_port.remove(&(flow.outside, port));
        }
        forgotten
    }
}

impl Middlebox for Nat {
    fn name(&self) -> &'static str {
        "NAT"
    }

    fn handle(&mut self, now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let family = ip::parse(&packet).ok().map(|parsed| parsed.header.addresses.src());
        let Some(own) = family.and_then(|src| self.own(src)) else {
            // A family that is not translated, or what no host takes.
            out.push(direction, packet);
            return;
        };
        let Some(mut segment) = Segment::parse(&packet) else {
            if let Some(error) = self.error(now, own, direction, &packet) {
                out.push(direction, error);
            }
            return;
        };
        let translated = match direction {
            Direction::Outward => self.outward(now, own, &mut segment),
            Direction::Inward => self.inward(now, own, &mut segment),
        };
        if translated.is_some() {
            out.push(direction, segment.emit());
        } else if self.config.forgotten == Forgotten::Reset
            && let Some(reset) = segment.reset()
        {
            out.push(direction.reversed(), reset.emit());
        }
    }
}

#[cfg(test)]
mod tests;
