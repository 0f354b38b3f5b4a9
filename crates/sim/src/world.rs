//! Hosts on links in virtual time: the loop, and what happens in it.
//!
//! Time jumps from one deadline to the next: of a packet, a box, a host's timer, a program, an event of the
//! scenario. A host is driven by `polytcp_proto::host::drive`, as the running stack drives it.

mod events;
mod programs;

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use bytes::Bytes;
use polytcp_netem::middlebox::{Direction, Middlebox, Output, Split, SplitOptions};
use polytcp_proto::host::drive::{self, Outputs};
use polytcp_proto::host::{ConnectionId, Event, Host, InterfaceConfig, ListenOptions, ListenerId};
use polytcp_proto::packet::{InterfaceId, Received, Transmit};
use polytcp_proto::pm::command::{PmCommand, PmEvent};
use polytcp_proto::time::{Duration, Instant};
use polytcp_wire::virtio::VnetHdr;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::path::{End, Path};
use crate::program::Program;
use crate::quantity::Span;
use crate::scenario::{Scenario, parse_endpoint};
use crate::tap::{Segment, Sighting, Tap};
use crate::watch::Watchers;

/// Steps in one instant, beyond which time stands still.
const STEPS_PER_INSTANT_MAX: u32 = 100_000;
/// The longest that a host may remember what its programs have closed: all retransmissions of `tcp_retries2`,
/// which last 924 s (RFC 9293 §3.8.3), then TIME-WAIT.
const RUN_DOWN: Duration = Duration::from_secs(1_800);
/// When a world begins: not at the origin, so that a time of zero is a mistake.
const START: Instant = Instant::from_millis(1);

/// A host, and what lies around it.
pub(crate) struct Node {
    pub(crate) host: Host,
    /// The link and its end, by interface.
    interfaces: Vec<(usize, End)>,
    listeners: Vec<(ListenerId, usize)>,
    deadline: Option<Instant>,
    inbox: Vec<(InterfaceId, Received)>,
    /// Which connection of the world a socket belongs to.
    sockets: BTreeMap<ConnectionId, Place>,
}

/// An end of a connection of the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) connection: usize,
    /// 0 connected, 1 listened.
    pub(crate) side: usize,
}

/// A connection between two programs.
pub(crate) struct Connection {
    pub(crate) traffic: usize,
    pub(crate) number: u64,
    pub(crate) hosts: [usize; 2],
    pub(crate) started_at: Instant,
    pub(crate) programs: [Program; 2],
    /// The listener's end was found by address, so that it is surely the other end of the same connection.
    pub(crate) is_paired: bool,
}

/// Octets of the largest packet that an interface with segmentation offload takes.
const OFFLOAD_BYTES_MAX: u32 = 65_535;

/// The packets that an interface makes of one.
fn cut(now: Instant, vnet: VnetHdr, packet: Vec<u8>) -> Vec<Vec<u8>> {
    let Some(size) = vnet.segmentation.and_then(|asked| NonZeroU16::new(asked.size)) else {
        return vec![packet];
    };
    let mut out = Output::new();
    Split::new(size, SplitOptions::All).handle(now, Direction::Outward, packet, &mut out);
    std::iter::from_fn(|| out.pop()).map(|(_, packet)| packet).collect()
}

/// What hosts gave out, to be carried on.
#[derive(Default)]
struct Outbox {
    packets: Vec<Transmit>,
    events: Vec<Event>,
    pm_events: Vec<PmEvent>,
}

impl Outputs for Outbox {
    fn has_room(&self) -> bool {
        true
    }

    fn transmit(&mut self, packet: Transmit) {
        self.packets.push(packet);
    }

    fn event(&mut self, _host: &Host, event: Event) {
        self.events.push(event);
    }

    fn pm_event(&mut self, event: &PmEvent) {
        self.pm_events.push(event.clone());
    }
}

/// A scenario that runs.
pub struct World {
    pub(crate) scenario: Scenario,
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) paths: Vec<Path>,
    pub(crate) connections: Vec<Connection>,
    /// The next connection of each traffic.
    starts: Vec<(Instant, u64)>,
    /// Places of programs with a time to be driven, by time.
    alarms: BTreeMap<(Instant, Place), ()>,
    ready: Vec<Place>,
    /// Events of the scenario, the next one last.
    events: Vec<usize>,
    pub(crate) tap: Tap,
    pub(crate) watchers: Watchers,
    pub(crate) violations: Vec<String>,
    pub(crate) memory_peak: Vec<usize>,
    pub(crate) reset_reasons: BTreeMap<u32, u64>,
    steps: u64,
    steps_in_instant: u32,
    open: usize,
    pub(crate) finished_at: Option<Instant>,
}

impl World {
    /// Builds the world of a scenario that was checked.
    ///
    /// # Errors
    /// One line that says what cannot be built.
    pub fn new(scenario: &Scenario, mut watchers: Watchers) -> Result<Self, String> {
        scenario.check()?;
        let now = START;
        let mut nodes = Vec::new();
        for (place, spec) in (0u64..).zip(&scenario.hosts) {
            let secrets =
                ChaCha8Rng::seed_from_u64(scenario.seed.wrapping_mul(0x9e37_79b9).wrapping_add(place));
            nodes.push(Node {
                host: Host::new(spec.config()?, Box::new(secrets), now),
                interfaces: Vec::new(),
                listeners: Vec::new(),
                deadline: None,
                inbox: Vec::new(),
                sockets: BTreeMap::new(),
            });
        }
        let mut paths = Vec::new();
        for (place, spec) in scenario.links.iter().enumerate() {
            let seed = scenario.seed.wrapping_mul(0x100_0193).wrapping_add(place as u64 * 7_919);
            paths.push(Path::new(now, spec, seed)?);
            let addresses = scenario.addresses(place)?;
            let mtu = spec.mtu.unwrap_or(1_500);
            for end in End::BOTH {
                let node = &mut nodes[scenario.host(&spec.between[end.index()])?];
                node.interfaces.push((place, end));
                node.host.add_interface(
                    now,
                    InterfaceConfig {
                        name: spec.name.clone(),
                        mtu,
                        segment_bytes_max: if spec.offload == Some(true) {
                            OFFLOAD_BYTES_MAX
                        } else {
                            u32::from(mtu)
                        },
                        checksum_offload: false,
                        addresses: vec![addresses[end.index()]],
                    },
                );
            }
        }
        for (node, spec) in nodes.iter_mut().zip(&scenario.hosts) {
            for endpoint in &spec.endpoints {
                let endpoint = parse_endpoint(endpoint)?;
                let command = PmCommand::AddAddr(endpoint);
                node.host
                    .command(now, &command)
                    .map_err(|fault| format!("host {}: endpoint {}: {fault}", spec.name, endpoint.address))?;
            }
        }
        for (place, spec) in scenario.traffic.iter().enumerate() {
            let node = &mut nodes[scenario.host(&spec.to)?];
            let mut options = ListenOptions::new(scenario.destination(place)?);
            options.protocol = spec.protocol();
            options.backlog = 4_096;
            options.fast_open = if spec.fast_open { 4_096 } else { 0 };
            let listener = node
                .host
                .listen(&options)
                .map_err(|fault| format!("traffic {}: listening at {}: {fault}", spec.name, options.local))?;
            node.listeners.push((listener, place));
        }
        let mut events: Vec<usize> = (0..scenario.events.len()).collect();
        events.sort_by_key(|place| std::cmp::Reverse((scenario.events[*place].at, *place)));
        let starts = scenario.traffic.iter().map(|spec| (now + spec.start.duration(), 0)).collect();
        let tap = Tap::new(nodes.len(), paths.len());
        watchers.begin(scenario);
        Ok(Self {
            scenario: scenario.clone(),
            now,
            memory_peak: vec![0; nodes.len()],
            nodes,
            paths,
            connections: Vec::new(),
            starts,
            alarms: BTreeMap::new(),
            ready: Vec::new(),
            events,
            tap,
            watchers,
            violations: Vec::new(),
            reset_reasons: BTreeMap::new(),
            steps: 0,
            steps_in_instant: 0,
            open: 0,
            finished_at: None,
        })
    }

    /// Time since the world began.
    pub(crate) fn elapsed(&self) -> Span {
        Span(self.now.as_nanos() - START.as_nanos())
    }

    pub(crate) fn since_start(at: Instant) -> Span {
        Span(at.as_nanos().saturating_sub(START.as_nanos()))
    }

    /// Runs until all traffic is over, or until the scenario's limit.
    pub(crate) fn run_traffic(&mut self) {
        let limit = START + self.scenario.limit.duration();
        while !self.is_over() && self.violations.is_empty() && self.step(limit) {}
        self.finished_at = self.is_over().then_some(self.now);
        self.watchers.traffic_over();
    }

    /// Runs on until no host holds anything any more, as it must be when all programs have ended; then
    /// compares what the hosts counted with what was seen.
    pub(crate) fn run_down(&mut self) {
        if !self.is_over() || !self.violations.is_empty() {
            return;
        }
        for host in 0..self.nodes.len() {
            for (listener, _) in std::mem::take(&mut self.nodes[host].listeners) {
                self.nodes[host].host.close_listener(self.now, listener);
            }
            self.settle(host);
        }
        let limit = self.now + RUN_DOWN;
        while !self.is_empty() && self.violations.is_empty() && self.step(limit) {}
        for (node, spec) in self.nodes.iter().zip(&self.scenario.hosts) {
            let held = node.host.accounting();
            if !is_empty(&node.host) {
                self.violations.push(format!("{} keeps after all is closed: {held:?}", spec.name));
            }
        }
        for ((node, seen), spec) in self.nodes.iter().zip(&self.tap.hosts).zip(&self.scenario.hosts) {
            let counters = node.host.counters();
            let sent = counters.out_segs + counters.retrans_segs;
            if sent != seen.segments_sent {
                self.violations.push(format!(
                    "{} counts {sent} segments sent, and sent {}",
                    spec.name, seen.segments_sent
                ));
            }
            if counters.out_rsts != seen.resets_sent {
                self.violations.push(format!(
                    "{} counts {} resets sent, and sent {}",
                    spec.name, counters.out_rsts, seen.resets_sent
                ));
            }
        }
    }

    /// Whether the rules that need all of the run were kept.
    pub(crate) fn judge_whole(&mut self) {
        let counters = || self.nodes.iter().map(|node| node.host.counters());
        let timers = counters().map(|c| c.tcp_timeouts + c.tcp_loss_probes).sum();
        let resets = counters().map(|c| c.out_rsts).sum();
        self.violations.extend(self.watchers.end(timers, resets));
    }

    fn is_empty(&self) -> bool {
        self.nodes.iter().all(|node| is_empty(&node.host))
    }

    fn is_over(&self) -> bool {
        self.open == 0
            && self.starts.iter().zip(&self.scenario.traffic).all(|((_, n), spec)| *n >= spec.connections)
    }

    fn next_start(&self) -> Option<Instant> {
        let starts = self.starts.iter().zip(&self.scenario.traffic);
        starts.filter(|((_, n), spec)| *n < spec.connections).map(|((at, _), _)| *at).min()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let event = self.events.last().map(|place| START + self.scenario.events[*place].at.duration());
        let alarm = self.alarms.first_key_value().map(|((at, _), ())| *at);
        let paths = self
            .paths
            .iter()
            .filter_map(|path| if path.has_arrived() { Some(self.now) } else { path.next_deadline() });
        let hosts = self.nodes.iter().filter_map(|node| node.deadline);
        paths.chain(hosts).chain(event).chain(alarm).chain(self.next_start()).min()
    }

    /// Goes to the next instant at which something happens. False when nothing does until `limit`.
    fn step(&mut self, limit: Instant) -> bool {
        let Some(next) = self.next_deadline().filter(|at| *at <= limit) else {
            self.now = self.now.max(limit);
            return false;
        };
        self.steps_in_instant = if next > self.now { 0 } else { self.steps_in_instant + 1 };
        if self.steps_in_instant > STEPS_PER_INSTANT_MAX {
            self.violations.push(format!("time stands still at {}", self.elapsed()));
            return false;
        }
        self.steps += 1;
        self.now = self.now.max(next);
        self.watchers.tick(self.now, &self.paths);
        self.do_events();
        self.start_connections();
        for link in 0..self.paths.len() {
            for (end, packet) in self.paths[link].poll(self.now) {
                self.arrive(link, end, packet);
            }
        }
        for host in 0..self.nodes.len() {
            let node = &mut self.nodes[host];
            if node.inbox.is_empty() && node.deadline.is_none_or(|deadline| deadline > self.now) {
                continue;
            }
            let mut outbox = Outbox::default();
            let inbox = std::mem::take(&mut node.inbox);
            node.deadline = drive::round(&mut node.host, self.now, inbox, &mut outbox).deadline;
            self.carry(host, outbox);
            self.measure(host);
        }
        while let Some(((at, place), ())) = self.alarms.first_key_value()
            && *at <= self.now
        {
            self.ready.push(*place);
            self.alarms.remove(&(*at, *place));
        }
        self.drive_programs();
        true
    }

    fn arrive(&mut self, link: usize, end: End, packet: Vec<u8>) {
        let Ok(host) = self.scenario.host(&self.scenario.links[link].between[end.index()]) else { return };
        let sighting = Sighting {
            at: self.now,
            host,
            link,
            is_sent: false,
            packet: &packet,
            segment: Segment::parse(&packet),
        };
        self.tap.see(&sighting, end.index());
        self.violations.extend(self.watchers.see(&sighting));
        let node = &mut self.nodes[host];
        let interface = node.interfaces.iter().position(|at| *at == (link, end)).unwrap_or_default();
        let received = Received {
            vnet: VnetHdr::default(),
            buffer_bytes: packet.len() as u32,
            bytes: Bytes::from(packet),
        };
        node.inbox.push((InterfaceId(interface as u32), received));
    }

    /// Takes a host's outputs after a call.
    fn settle(&mut self, host: usize) {
        let node = &mut self.nodes[host];
        let mut outbox = Outbox::default();
        node.deadline = drive::settle(&mut node.host, self.now, &mut outbox).deadline;
        self.carry(host, outbox);
    }

    fn carry(&mut self, host: usize, outbox: Outbox) {
        for packet in outbox.packets {
            let (link, end) = self.nodes[host].interfaces[packet.interface.0 as usize];
            let mut octets = Vec::with_capacity(packet.len());
            octets.extend_from_slice(packet.header.as_slice());
            octets.extend_from_slice(&packet.payload);
            for octets in cut(self.now, packet.vnet, octets) {
                let sighting = Sighting {
                    at: self.now,
                    host,
                    link,
                    is_sent: true,
                    packet: &octets,
                    segment: Segment::parse(&octets),
                };
                self.tap.see(&sighting, end.index());
                self.violations.extend(self.watchers.see(&sighting));
                self.paths[link].send(self.now, end, octets);
            }
        }
        for event in outbox.events {
            match event {
                Event::Ready(id) => self.ready.extend(self.nodes[host].sockets.get(&id)),
                Event::Incoming(listener) => self.accept(host, listener),
            }
        }
        for event in outbox.pm_events {
            if let PmEvent::SubClosed { reset: Some(reset), .. } = event {
                *self.reset_reasons.entry(reset.reason).or_default() += 1;
            }
        }
    }

    /// Buffers stay within their bounds.
    fn measure(&mut self, host: usize) {
        // Every connection is asked: not at every step where there are many.
        let node = &self.nodes[host];
        if !self.steps.is_multiple_of(1 + node.host.connection_count() as u64) {
            return;
        }
        let held = node.host.accounting();
        self.memory_peak[host] = self.memory_peak[host].max(held.buffered_bytes);
        let Ok(config) = self.scenario.hosts[host].config() else { return };
        let (send, recv) = (config.tcp.send_buffer_max_bytes(), config.tcp.recv_buffer_max_bytes());
        let each = send as usize + recv as usize;
        if held.buffered_bytes > each * held.connections {
            let name = &self.scenario.hosts[host].name;
            self.violations.push(format!(
                "{name} holds {} octets for {} connections, above {each} each, at {}",
                held.buffered_bytes,
                held.connections,
                self.elapsed()
            ));
        }
    }
}

/// The host holds no connection, no request and no memory of one.
fn is_empty(host: &Host) -> bool {
    let held = host.accounting();
    held.connections + held.half_open + held.flows + held.tokens + held.time_wait + held.buffered_bytes == 0
}
