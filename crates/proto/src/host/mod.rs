//! A host: interfaces, listeners, connections, and the one way in and out of the core.
//!
//! # The contract
//!
//! Inputs: [`Host::handle_packet`], [`Host::handle_timeout`], the socket calls, [`Host::command`] and the
//! calls that change interfaces. Each takes the time. After any of them the driver empties the outputs, as
//! [`drive::settle`] does: [`Host::poll_transmit`], [`Host::poll_event`] and [`Host::poll_pm_event`] until
//! `None`; then [`Host::poll_timeout`] tells when it is needed next. The same inputs give the same outputs.
//!
//! | file | what |
//! | --- | --- |
//! | [`interface`] | interfaces, addresses, which one a packet leaves through |
//! | [`socket`] | the vocabulary of the socket calls |
//! | `calls` | the socket calls |
//! | `four_tuple` | what names a flow |
//! | `demux` | from a packet to its connection |
//! | `handshake` | what handshakes begin with: options, numbers, keys |
//! | `listener` | listeners, and which SYN one takes |
//! | `passive`, `third_ack` | requests of peers that connect, and what becomes of them |
//! | `join` | MP_JOIN at a listener |
//! | `fast_open`, `known_servers` | TCP Fast Open: what our SYNs carry and to whom, whose data we take |
//! | `cookies` | handshakes of peers that are not remembered: SYN cookies |
//! | `blackhole` | networks that swallow MP_CAPABLE |
//! | `paths` | the path manager's decisions carried out |
//! | `port_endpoints` | endpoints with a port, and joins at other ports |
//! | [`drive`] | the loop around a host, the same for the running stack and a simulation |
//! | `emit` | from a segment to a packet |
//! | `path_mtus` | what is known of paths' MTUs |
//! | [`wheel`], [`ports`] | timers; ephemeral ports |

mod blackhole;
mod calls;
mod cookies;
mod demux;
pub mod drive;
mod emit;
mod fast_open;
mod four_tuple;
mod handshake;
pub mod infos;
pub mod interface;
mod ip_counters;
mod join;
mod known_servers;
mod listener;
mod passive;
mod path_mtus;
mod paths;
mod port_endpoints;
pub mod ports;
pub mod socket;
mod third_ack;
pub mod wheel;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::config::{FastOpenKeys, HostConfig};
use crate::counters::Counters;
use crate::map::{Map, MapSecret};
use crate::mptcp::connection::{Connection, Ctx};
use crate::mptcp::key::Token;
pub use crate::mptcp::send_buffer::Piece;
use crate::packet::{InterfaceId, Transmit};
use crate::pm::command::PmEvent;
use crate::pm::kernel::KernelPm;
use crate::rng::SecretSource;
use crate::sysctl::{self, SysctlError};
use crate::tcp::cookie::Cookies;
use crate::tcp::isn::InitialNumbers;
use crate::tcp::time_wait::TimeWait;
use crate::time::Instant;
use blackhole::Blackhole;
use cookies::JoinCookies;
pub(crate) use four_tuple::FourTuple;
use interface::Interfaces;
pub use interface::{Cidr, InterfaceConfig, LinkState};
use known_servers::KnownServers;
use listener::Listener;
use passive::HalfOpen;
use ports::EphemeralPorts;
pub use socket::*;
use wheel::TimerWheel;

/// Packets that wait for [`Host::poll_transmit`] without belonging to a connection (resets, echo replies)
/// at most; beyond it they are dropped, as a busy host may.
const REPLIES_MAX: usize = 1024;
/// Path-manager events that wait to be fetched at most; the oldest goes, as a full netlink socket loses
/// what it cannot hold.
const PM_EVENTS_MAX: usize = 4096;

/// Where a four-tuple leads.
#[derive(Clone, Copy, Debug)]
enum FlowRef {
    Subflow {
        connection: ConnectionId,
        subflow: u32,
    },
    HalfOpen,
    /// A connection made by its SYN; its request goes on until the third ACK.
    Unconfirmed {
        connection: ConnectionId,
        subflow: u32,
    },
}

/// What a timer entry is for.
#[derive(Clone, Copy, Debug)]
enum TimerKey {
    Connection(ConnectionId),
    HalfOpen(FourTuple),
}

/// A place for a connection; places are used again, their generation tells the tenants apart.
#[derive(Default)]
struct Slot {
    generation: u32,
    tenant: Option<Box<Tenant>>,
}

struct Tenant {
    connection: Connection,
    /// It is in the ready list.
    is_ready: bool,
    /// It is in the gauge of established MPTCP connections.
    is_counted: bool,
    /// Its subflows in the gauge of established flows.
    counted_flows: u64,
    /// Of what has arrived, how much was told; `None` where nobody asked.
    arrived_bytes: Option<u64>,
    /// Its timer entries, the earliest last. One is added only when it is earlier than all, so that there
    /// are never more than the deadlines that were once in force together.
    armed: Vec<Instant>,
}

impl Tenant {
    /// Gives back the memory of what is empty.
    fn release_memory(&mut self) {
        self.connection.release_memory();
        if self.armed.is_empty() {
            self.armed = Vec::new();
        }
    }
}

/// A tenant by its id, for calls that borrow more of the host beside it.
fn tenant_in(slots: &mut [Slot], id: ConnectionId) -> Option<&mut Tenant> {
    let slot = slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
    slot.tenant.as_deref_mut()
}

/// One host. See the module's text for the contract.
pub struct Host {
    config: HostConfig,
    counters: Counters,
    secrets: Box<SecretSource>,
    numbers: InitialNumbers,
    ports: EphemeralPorts,
    interfaces: Interfaces,
    slots: Vec<Slot>,
    free_slots: Vec<u32>,
    ready: VecDeque<ConnectionId>,
    flows: Map<FourTuple, FlowRef>,
    half_open: Map<FourTuple, Box<HalfOpen>>,
    half_open_ready: VecDeque<FourTuple>,
    cookies: Cookies,
    join_cookies: JoinCookies,
    known_servers: KnownServers,
    fast_open_keys: FastOpenKeys,
    tokens: Map<Token, ConnectionId>,
    listeners: Vec<Option<Listener>>,
    listener_generation: u32,
    time_wait: Map<FourTuple, TimeWait>,
    time_wait_order: VecDeque<(Instant, FourTuple)>,
    timers: TimerWheel<TimerKey>,
    path_mtus: path_mtus::PathMtus,
    replies: VecDeque<Transmit>,
    events: VecDeque<Event>,
    pm: KernelPm,
    blackhole: Blackhole,
    pm_events: VecDeque<PmEvent>,
}

impl Host {
    /// A host without interfaces. `secrets` gives keys, nonces, sequence numbers and ports.
    pub fn new(config: HostConfig, mut secrets: Box<SecretSource>, _now: Instant) -> Self {
        let numbers = InitialNumbers::new(&mut *secrets);
        let ports = EphemeralPorts::new(&mut *secrets);
        let map_secret = MapSecret::random(&mut *secrets);
        let cookies = Cookies::new(&mut *secrets);
        let drawn = fast_open::random_keys(&mut *secrets);
        let fast_open_keys = config.tcp.fastopen_keys.unwrap_or(drawn);
        let pm = KernelPm::new(config.mptcp.subflows, config.mptcp.add_addr_accepted);
        Self {
            config,
            counters: Counters::default(),
            numbers,
            ports,
            interfaces: Interfaces::default(),
            slots: Vec::new(),
            free_slots: Vec::new(),
            ready: VecDeque::new(),
            flows: Map::new(map_secret.clone()),
            half_open: Map::new(map_secret.clone()),
            half_open_ready: VecDeque::new(),
            cookies,
            join_cookies: JoinCookies::default(),
            known_servers: KnownServers::new(map_secret.clone()),
            fast_open_keys,
            tokens: Map::new(map_secret.clone()),
            listeners: Vec::new(),
            listener_generation: 0,
            time_wait: Map::new(map_secret.clone()),
            path_mtus: path_mtus::PathMtus::new(map_secret),
            time_wait_order: VecDeque::new(),
            timers: TimerWheel::new(),
            replies: VecDeque::new(),
            events: VecDeque::new(),
            pm,
            blackhole: Blackhole::default(),
            pm_events: VecDeque::new(),
            secrets,
        }
    }

    /// Adds an interface, up.
    pub fn add_interface(&mut self, _now: Instant, config: InterfaceConfig) -> InterfaceId {
        self.interfaces.add(config)
    }

    /// Adds an address to an interface. An unknown interface changes nothing.
    pub fn add_address(&mut self, _now: Instant, interface: InterfaceId, address: Cidr) {
        if let Some(interface) = self.interfaces.find_mut(interface) {
            interface.config.addresses.push(address);
        }
    }

    /// Takes an address away. Subflows that use it end with their retransmission limit, or by the path
    /// manager's command.
    pub fn remove_address(&mut self, _now: Instant, interface: InterfaceId, address: IpAddr) {
        if let Some(interface) = self.interfaces.find_mut(interface) {
            interface.config.addresses.retain(|cidr| cidr.address != address);
        }
    }

    /// Tells that packets can, or cannot, pass an interface.
    pub fn set_link(&mut self, _now: Instant, interface: InterfaceId, state: LinkState) {
        if let Some(interface) = self.interfaces.find_mut(interface) {
            interface.link = state;
        }
    }

    /// Tells the largest packet of an interface, in octets; flows on it keep to it from now on.
    pub fn set_mtu(&mut self, _now: Instant, interface: InterfaceId, mtu: u16) {
        let Some(found) = self.interfaces.find_mut(interface) else { return };
        let cuts = found.config.segment_bytes_max > u32::from(found.config.mtu);
        found.config.mtu = mtu;
        if !cuts || found.config.segment_bytes_max < u32::from(mtu) {
            found.config.segment_bytes_max = u32::from(mtu);
        }
        for slot in &mut self.slots {
            let Some(tenant) = &mut slot.tenant else { continue };
            for subflow in tenant.connection.subflows.iter_mut().filter(|s| s.interface == interface) {
                let mss = emit::mss_for(mtu, subflow.remote.is_ipv6());
                if let Some(flow) = subflow.flow_mut() {
                    flow.limit_mss(mss);
                }
            }
        }
    }

    /// A new flow keeps to its interface's MTU, which may have changed since its SYN, and to its path's as far as
    /// that is known.
    fn keep_to_mtu(&mut self, now: Instant, id: ConnectionId, subflow: u32) {
        let interface = self
            .connection(id)
            .and_then(|c| c.subflows.iter().find(|s| s.id == subflow))
            .map(|s| s.interface);
        let Some(mtu) = interface.and_then(|i| self.interfaces.find(i)).map(|i| i.config.mtu) else { return };
        let remote =
            self.connection(id).and_then(|c| c.subflows.iter().find(|s| s.id == subflow)).map(|s| s.remote);
        let known = remote.and_then(|remote| self.path_mtus.get(now, remote.ip()));
        let expires_at = now + self.config.tcp.mtu_expires;
        let Some((connection, ctx)) = self.split(now, id) else { return };
        let Some(found) = connection.subflow_mut(subflow) else { return };
        let ipv6 = found.remote.is_ipv6();
        if let Some(flow) = found.flow_mut() {
            flow.limit_mss(emit::mss_for(mtu, ipv6));
            if let Some(known) = known {
                flow.learn_mss(emit::mss_for(known, ipv6), expires_at);
            }
            flow.begin_mtu_search(now, &ctx.config.tcp);
        }
    }

    /// Does what became due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.pop_due(now) {
            match key {
                TimerKey::Connection(id) => self.handle_connection_timeout(now, id, at),
                TimerKey::HalfOpen(tuple) => self.handle_half_open_timeout(now, tuple, at),
            }
        }
        while let Some((at, tuple)) = self.time_wait_order.front().copied()
            && at <= now
        {
            self.time_wait_order.pop_front();
            match self.time_wait.get(&tuple).map(|entry| entry.expires_at) {
                // A repeated FIN has moved it.
                Some(later) if later > now => self.time_wait_order.push_back((later, tuple)),
                _ => {
                    self.time_wait.remove(&tuple);
                }
            }
        }
    }

    fn handle_connection_timeout(&mut self, now: Instant, id: ConnectionId, at: Instant) {
        let Some(tenant) = self.tenant_mut(id) else { return };
        if tenant.armed.last() != Some(&at) {
            return;
        }
        tenant.armed.pop();
        let (connection, mut ctx) = self.split(now, id).expect("the tenant was there just now");
        if connection.deadline(now, ctx.config).is_some_and(|deadline| deadline <= now) {
            connection.handle_timeout(&mut ctx);
        }
        if let Some(tenant) = self.tenant_mut(id).filter(|tenant| tenant.connection.is_quiet()) {
            tenant.release_memory();
        }
        self.handle_announce_timeout(now, id);
        self.touch(now, id);
    }

    /// The next packet to send, or `None` when nothing may leave now.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Some(reply);
            }
            if let Some(tuple) = self.half_open_ready.pop_front() {
                self.send_syn_ack(now, tuple);
                continue;
            }
            let id = *self.ready.front()?;
            let emission =
                self.split(now, id).and_then(|(connection, mut ctx)| connection.poll_transmit(&mut ctx));
            match emission {
                Some(emission) => {
                    if let Some(packet) = self.packet(&emission) {
                        return Some(packet);
                    }
                }
                None => {
                    self.ready.pop_front();
                    self.settle(now, id);
                }
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is needed next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let time_wait = self.time_wait_order.front().map(|(at, _)| *at);
        self.timers.next_deadline().into_iter().chain(time_wait).min()
    }

    /// What happened to sockets, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What the path manager has to tell, in order (the events of `mptcp_pm_events`).
    pub fn poll_pm_event(&mut self) -> Option<PmEvent> {
        self.pm_events.pop_front()
    }

    /// Sets one of Linux's sysctls ([`sysctl`]), for what is opened or decided from now on.
    ///
    /// # Errors
    /// When there is none of that name, or it does not take the value; nothing is changed then.
    pub fn set_sysctl(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        sysctl::set(&mut self.config, name, value)?;
        if let Some(keys) = self.config.tcp.fastopen_keys {
            self.fast_open_keys = keys;
        }
        Ok(())
    }

    /// Reads one of Linux's sysctls ([`sysctl`]).
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn sysctl(&self, name: &str) -> Result<String, SysctlError> {
        sysctl::get(&self.config, name)
    }

    /// The settings that the host was made with.
    pub fn config(&self) -> &HostConfig {
        &self.config
    }

    /// The host's counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connections that the host holds, orphans included; what [`accounting`](Self::accounting) says, at once.
    pub fn connection_count(&self) -> usize {
        self.slots.len() - self.free_slots.len()
    }

    /// What the host holds at this moment.
    pub fn accounting(&self) -> Accounting {
        let tenants = || self.slots.iter().filter_map(|slot| slot.tenant.as_ref());
        Accounting {
            connections: tenants().count(),
            half_open: self.half_open.len(),
            flows: self.flows.len(),
            time_wait: self.time_wait.len(),
            listeners: self.listeners.iter().flatten().count(),
            tokens: self.tokens.len(),
            timers: self.timers.len(),
            buffered_bytes: tenants().map(|t| t.connection.buffered_bytes()).sum(),
        }
    }

    // Connections and their bookkeeping.

    fn tenant_mut(&mut self, id: ConnectionId) -> Option<&mut Tenant> {
        tenant_in(&mut self.slots, id)
    }

    fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        slot.tenant.as_deref().map(|tenant| &tenant.connection)
    }

    /// A connection, and what its calls borrow of the host beside it.
    fn split(&mut self, now: Instant, id: ConnectionId) -> Option<(&mut Connection, Ctx<'_>)> {
        let tenant = tenant_in(&mut self.slots, id)?;
        let ctx = Ctx { now, config: &self.config, counters: &mut self.counters };
        Some((&mut tenant.connection, ctx))
    }

    fn insert_connection(&mut self, connection: Connection) -> ConnectionId {
        let index = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.tenant = Some(Box::new(Tenant {
            connection,
            is_ready: false,
            is_counted: false,
            counted_flows: 0,
            arrived_bytes: None,
            armed: Vec::new(),
        }));
        ConnectionId { index, generation: slot.generation }
    }

    fn remove_connection(&mut self, id: ConnectionId) {
        let Some(token) = self.connection(id).map(|c| c.local_key.map(|key| key.token())) else { return };
        if let Some(token) = token
            && self.tokens.get(&token) == Some(&id)
        {
            self.tokens.remove(&token);
        }
        let slot = &mut self.slots[id.index as usize];
        if let Some(tenant) = slot.tenant.take() {
            self.counters.mp_curr_estab -= u64::from(tenant.is_counted);
            self.counters.curr_estab -= tenant.counted_flows;
            slot.generation = slot.generation.wrapping_add(1);
            self.free_slots.push(id.index);
            self.give_up_timers(tenant.armed.len());
        }
    }

    /// So many timer entries belong to nothing any more.
    fn give_up_timers(&mut self, entries: usize) {
        let (slots, half_open) = (&self.slots, &self.half_open);
        self.timers.give_up(entries, |at, key| match key {
            TimerKey::Connection(id) => {
                let slot = slots.get(id.index as usize).filter(|slot| slot.generation == id.generation);
                let tenant = slot.and_then(|slot| slot.tenant.as_deref());
                tenant.is_some_and(|tenant| tenant.armed.contains(&at))
            }
            TimerKey::HalfOpen(tuple) => half_open.get(tuple).is_some_and(|half| half.armed_at == Some(at)),
        });
    }

    /// After any input to a connection: carries out what it left to the host, tells the application, and
    /// puts it on the ready list.
    fn touch(&mut self, now: Instant, id: ConnectionId) {
        self.handle_notices(now, id);
        self.report(id);
        let Some(tenant) = self.tenant_mut(id) else { return };
        if !tenant.is_ready {
            tenant.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// A connection has nothing more to send: sets its timer, or frees it.
    fn settle(&mut self, now: Instant, id: ConnectionId) {
        self.handle_notices(now, id);
        self.report(id);
        let config = &self.config;
        let Some(slot) = self.slots.get_mut(id.index as usize).filter(|s| s.generation == id.generation)
        else {
            return;
        };
        let Some(tenant) = slot.tenant.as_deref_mut() else { return };
        tenant.is_ready = false;
        if tenant.connection.is_dead() {
            self.remove_connection(id);
            return;
        }
        tenant.connection.watch_stall(now);
        if let Some(deadline) = tenant.connection.deadline(now, config)
            && tenant.armed.last().is_none_or(|armed| deadline < *armed)
        {
            tenant.armed.push(deadline);
            self.timers.schedule(deadline, TimerKey::Connection(id));
        }
    }

    /// Tells the application when a connection's readiness changed.
    fn report(&mut self, id: ConnectionId) {
        self.count_established(id);
        let Some(tenant) = self.tenant_mut(id) else { return };
        let readiness = tenant.connection.readiness();
        let received = tenant.connection.bytes_received();
        let more =
            tenant.arrived_bytes.as_mut().is_some_and(|told| core::mem::replace(told, received) != received);
        if more || readiness != tenant.connection.reported {
            tenant.connection.reported = readiness;
            self.events.push_back(Event::Ready(id));
        }
    }

    /// Keeps the gauges of flows and of MPTCP connections, fallen back ones included, in ESTABLISHED or CLOSE-WAIT.
    fn count_established(&mut self, id: ConnectionId) {
        let Some(tenant) = self.tenant_mut(id) else { return };
        let counts = tenant.connection.is_mptcp_established();
        let was = core::mem::replace(&mut tenant.is_counted, counts);
        let flows = tenant.connection.subflows.iter().filter(|s| s.is_established()).count() as u64;
        let flows_were = core::mem::replace(&mut tenant.counted_flows, flows);
        self.counters.curr_estab += flows;
        self.counters.curr_estab -= flows_were;
        self.counters.mp_curr_estab += u64::from(counts);
        self.counters.mp_curr_estab -= u64::from(was);
    }

    fn push_pm_event(&mut self, event: PmEvent) {
        if self.pm_events.len() >= PM_EVENTS_MAX {
            self.pm_events.pop_front();
        }
        self.pm_events.push_back(event);
    }

    fn remember_time_wait(&mut self, tuple: FourTuple, entry: TimeWait) {
        self.counters.time_wait += 1;
        while self.time_wait.len() >= self.config.tcp.time_wait_max
            && let Some((_, oldest)) = self.time_wait_order.pop_front()
        {
            self.counters.tcp_time_wait_overflow += u64::from(self.time_wait.remove(&oldest).is_some());
        }
        self.time_wait_order.push_back((entry.expires_at, tuple));
        self.time_wait.insert(tuple, entry);
    }
}
