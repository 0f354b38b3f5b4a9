//! The path manager's decisions carried out, and what connections report on the way.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use polytcp_wire::mptcp::{AddAddr, AddAddrAuth, AddressIds};

use super::ip_counters::{Family, IpEvent, count_ip};
use super::{ConnectionId, FlowRef, FourTuple, Host, tenant_in};
use crate::mptcp::connection::{Connection, Notice, Role};
use crate::mptcp::fallback::FallbackReason;
use crate::mptcp::handshake::NewJoin;
use crate::mptcp::hook::Mode;
use crate::mptcp::key::{Nonce, add_addr_hmac};
use crate::mptcp::subflow::{Signal, Subflow};
use crate::pm::command::{
    AddressId, ConnectionEvent, ConnectionToken, Endpoint, EndpointFlags, InitialAddress, PmCommand, PmError,
    PmEvent, PmReply, ResetReason, Side, SubflowEvent,
};
use crate::pm::kernel::{
    ANNOUNCE_REPEATS, Action, Announcement, Change, ConnectionView, SubflowEnds, stands_for,
};
use crate::tcp::opening::Opening;
use crate::time::{Duration, Instant};

impl Host {
    /// Carries out a command for the path manager; live connections follow at once.
    ///
    /// # Errors
    /// [`PmError`] with Linux's errno and text.
    pub fn command(&mut self, now: Instant, command: &PmCommand) -> Result<PmReply, PmError> {
        let (reply, change) = self.pm.command(command)?;
        if let PmCommand::AddAddr(endpoint) = command
            && let Err(error) = self.open_port_listener(endpoint)
        {
            self.pm.forget(endpoint.address, endpoint.port);
            return Err(error);
        }
        if let Change::Removed(endpoints, _) = &change {
            for endpoint in endpoints {
                self.close_port_listener(endpoint);
            }
        }
        let ids: Vec<ConnectionId> = match change {
            Change::None => Vec::new(),
            Change::Added | Change::Removed(..) | Change::Backup(_) | Change::Fullmesh(_) => {
                self.mptcp_connections()
            }
        };
        for id in ids {
            match &change {
                Change::None => {}
                Change::Added => self.next_steps(now, id),
                Change::Removed(endpoints, always_tell) => {
                    for endpoint in endpoints {
                        self.withdraw(now, id, endpoint, *always_tell);
                    }
                }
                Change::Backup(endpoint) => self.declare_backup_of(now, id, endpoint),
                Change::Fullmesh(endpoint) => {
                    self.declare_backup_of(now, id, endpoint);
                    self.mesh_anew(now, id, endpoint);
                }
            }
            self.touch(now, id);
        }
        Ok(reply)
    }

    fn mptcp_connections(&self) -> Vec<ConnectionId> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.tenant.as_ref().is_some_and(|t| t.connection.is_joinable()))
            .map(|(index, slot)| ConnectionId { index: index as u32, generation: slot.generation })
            .collect()
    }

    /// Takes what a connection left for the host.
    pub(super) fn handle_notices(&mut self, now: Instant, id: ConnectionId) {
        while let Some(notice) = self.tenant_mut(id).and_then(|t| t.connection.notices.pop_front()) {
            self.handle_notice(now, id, notice);
        }
    }

    fn handle_notice(&mut self, now: Instant, id: ConnectionId, notice: Notice) {
        match notice {
            Notice::Established => {
                if let Some(event) = self.connection(id).and_then(connection_event) {
                    self.push_pm_event(PmEvent::Created(event));
                    self.push_pm_event(PmEvent::Established(event));
                }
            }
            Notice::FullyEstablished => self.next_steps(now, id),
            Notice::CapableAnswered => self.blackhole.clear(),
            Notice::CapableSwallowed => {
                if !self.config.mptcp.blackhole_timeout.is_zero() {
                    self.blackhole.note_found(now);
                    self.counters.blackhole += 1;
                }
            }
            Notice::SubflowEstablished { id: subflow } => {
                let found = self.connection(id).and_then(|c| {
                    let subflow = c.subflows.iter().find(|s| s.id == subflow)?;
                    Some(PmEvent::SubEstablished(subflow_event(c, subflow)?))
                });
                if let Some(event) = found {
                    self.push_pm_event(event);
                }
                self.next_steps(now, id);
            }
            Notice::SubflowGone { .. } => self.handle_subflow_gone(now, id, &notice),
            Notice::AddAddr { subflow, add } => self.handle_add_addr(now, id, subflow, &add),
            Notice::Echo(add) => {
                if let Some(tenant) = self.tenant_mut(id) {
                    let state = &mut tenant.connection.pm;
                    let echoed = |a: &Announcement| a.address_id == AddressId(add.address_id);
                    if state.announcing.as_deref().is_some_and(echoed) {
                        state.announcing = None;
                    }
                }
                self.next_steps(now, id);
            }
            Notice::RemoveAddr(ids) => self.handle_remove_addr(now, id, &ids),
            Notice::FastOpen(outcome) => {
                if let Some(server) = self.connection(id).map(|c| c.first_remote.ip()) {
                    self.note_fast_open(now, server, outcome);
                }
            }
            Notice::Prio { subflow } => {
                let found = self.connection(id).and_then(|c| {
                    let subflow = c.subflows.iter().find(|s| s.id == subflow)?;
                    Some(PmEvent::SubPriority(subflow_event(c, subflow)?))
                });
                if let Some(event) = found {
                    self.push_pm_event(event);
                }
            }
            Notice::FellBack(reason) => {
                tracing::debug!(?reason, "fell back to TCP");
                let is_dss = matches!(reason, FallbackReason::Dss | FallbackReason::NoDataAck);
                self.counters.dss_fallback += u64::from(is_dss);
            }
        }
    }

    fn handle_subflow_gone(&mut self, now: Instant, id: ConnectionId, notice: &Notice) {
        let Notice::SubflowGone {
            id: subflow,
            local,
            remote,
            local_id,
            remote_id,
            time_wait,
            errno,
            peer_reset,
            backup,
        } = *notice
        else {
            return;
        };
        // Its reset says why: it goes before those that answer what still comes for its four-tuple.
        while let Some(emission) = self.tenant_mut(id).and_then(|t| t.connection.pop_pending()) {
            let packet = self.packet(&emission);
            self.replies.extend(packet);
        }
        let tuple = FourTuple::new(local, remote);
        if let Some(FlowRef::Subflow { connection, subflow: held }) = self.flows.get(&tuple).copied()
            && connection == id
            && held == subflow
        {
            self.flows.remove(&tuple);
        }
        if let Some(FlowRef::Unconfirmed { connection, .. }) = self.flows.get(&tuple).copied()
            && connection == id
        {
            self.remove_half_open(tuple);
            self.flows.remove(&tuple);
        }
        if let Some(entry) = time_wait {
            self.remember_time_wait(tuple, entry);
        }
        let token = self.connection(id).and_then(Connection::token);
        if let Some(token) = token {
            let event = SubflowEvent {
                token: ConnectionToken(token.0),
                local,
                remote,
                local_id,
                remote_id,
                backup,
                interface: None,
                error: Some(errno).filter(|e| *e != 0),
            };
            let reset = peer_reset
                .map(|(reason, flags)| ResetReason { reason: u32::from(reason), flags: u32::from(flags) });
            self.push_pm_event(PmEvent::SubClosed { subflow: event, reset });
        }
        self.next_steps(now, id);
    }

    fn handle_add_addr(&mut self, now: Instant, id: ConnectionId, subflow: u32, add: &AddAddr) {
        let Some(connection) = self.connection(id) else { return };
        let Some(token) = connection.token() else { return };
        let view = view_of(connection);
        let port = add.port.unwrap_or(view.first_remote.port());
        self.push_pm_event(PmEvent::Announced {
            token: ConnectionToken(token.0),
            remote_id: AddressId(add.address_id),
            remote: SocketAddr::new(add.address, port),
        });
        let Some(tenant) = tenant_in(&mut self.slots, id) else { return };
        let actions = self.pm.on_add_addr(&mut tenant.connection.pm, &view, add);
        if let Some(found) = tenant.connection.subflow_mut(subflow) {
            // RFC 8684 §3.4.1: every announcement is echoed, used or not.
            let echo = AddAddr { auth: AddAddrAuth::Echo, ..*add };
            if !found.mp.signal(Signal::AddAddr(echo)) {
                self.counters.echo_add_tx_drop += 1;
            }
        }
        for action in actions {
            self.carry_out(now, id, action);
        }
    }

    fn close_subflows(&mut self, now: Instant, id: ConnectionId, subflows: &[u32]) {
        let Some((connection, mut ctx)) = self.split(now, id) else { return };
        for subflow in subflows {
            connection.close_subflow(&mut ctx, *subflow);
        }
    }

    fn handle_remove_addr(&mut self, now: Instant, id: ConnectionId, ids: &AddressIds) {
        for wire_id in ids.as_slice() {
            self.counters.rm_addr += 1;
            let Some(tenant) = self.tenant_mut(id) else { return };
            let connection = &mut tenant.connection;
            let token = connection.token();
            if connection.data.mode == Mode::Plain {
                return;
            }
            connection.pm.on_withdrawn(AddressId(*wire_id));
            let gone: Vec<u32> =
                connection.subflows.iter().filter(|s| s.mp.remote_id.0 == *wire_id).map(|s| s.id).collect();
            if !gone.is_empty() && *wire_id != 0 {
                connection.pm.add_addr_accepted = connection.pm.add_addr_accepted.saturating_sub(1);
            }
            self.close_subflows(now, id, &gone);
            if let Some(token) = token {
                self.push_pm_event(PmEvent::Removed {
                    token: ConnectionToken(token.0),
                    remote_id: AddressId(*wire_id),
                });
            }
        }
    }

    /// Lets the path manager decide again.
    fn next_steps(&mut self, now: Instant, id: ConnectionId) {
        let Some(tenant) = tenant_in(&mut self.slots, id) else { return };
        if !tenant.connection.is_joinable() || !tenant.connection.fully_established {
            return;
        }
        let view = view_of(&tenant.connection);
        for action in self.pm.next_steps(&mut tenant.connection.pm, &view) {
            self.carry_out(now, id, action);
        }
    }

    fn carry_out(&mut self, now: Instant, id: ConnectionId, action: Action) {
        match action {
            Action::Join { local, remote, remote_id, backup } => {
                self.join(now, id, local, remote, remote_id, backup);
            }
            Action::Announce(endpoint) => self.announce(now, id, endpoint, 0),
            Action::DeclareBackup { backup, local_id } => {
                if let Some(tenant) = self.tenant_mut(id) {
                    for subflow in tenant.connection.subflows.iter_mut().filter(|s| s.mp.local_id == local_id)
                    {
                        subflow.mp.backup_local = backup;
                        subflow.mp.signal(Signal::Prio { backup });
                    }
                }
            }
            Action::Withdraw { id: wire_id, tell_peer } => {
                let Some(tenant) = self.tenant_mut(id) else { return };
                let connection = &mut tenant.connection;
                let gone: Vec<u32> =
                    connection.subflows.iter().filter(|s| s.mp.local_id == wire_id).map(|s| s.id).collect();
                if tell_peer && let Some(ids) = AddressIds::new(&[wire_id.0]) {
                    // Preferably on a subflow that stays.
                    let stays = connection
                        .subflows
                        .iter()
                        .position(|s| s.is_usable() && !gone.contains(&s.id))
                        .or_else(|| connection.subflows.iter().position(Subflow::is_usable));
                    let removal = Signal::RemoveAddr(ids);
                    let fits = stays.is_none_or(|index| connection.subflows[index].mp.signal(removal));
                    self.counters.rm_addr_tx_drop += u64::from(!fits);
                }
                self.close_subflows(now, id, &gone);
                self.counters.rm_subflow += gone.len() as u64;
            }
        }
    }

    fn join(
        &mut self,
        now: Instant,
        id: ConnectionId,
        local: Option<(IpAddr, AddressId)>,
        remote: SocketAddr,
        remote_id: AddressId,
        backup: bool,
    ) {
        let Some(first_local) = self.connection(id).map(|c| c.first_local.ip()) else { return };
        let address = match local {
            Some((address, _)) => Some(address),
            None => self.interfaces.source_for(remote.ip()),
        };
        let to_ourselves = self.interfaces.holding(remote.ip()).is_some();
        if local.is_some_and(|(address, _)| self.interfaces.holding(address).is_none()) {
            self.counters.mp_join_syn_tx_bind_err += 1;
            return;
        }
        let usable = |address: &IpAddr| !to_ourselves && self.interfaces.usable(*address);
        let Some(address) = address.filter(usable) else {
            self.counters.mp_join_syn_tx_connect_err += 1;
            if !to_ourselves {
                count_ip(&mut self.counters, Family::of(remote.ip()), IpEvent::NoRoute);
            }
            return;
        };
        let local_id = match local {
            Some((_, id)) if address != first_local => id,
            _ => self.pm.local_id(SocketAddr::new(address, 0), first_local),
        };
        let Some(interface) = self.interfaces.holding(address) else { return };
        let Some(port) = self.free_port(address, remote) else {
            self.counters.mp_join_syn_tx_bind_err += 1;
            return;
        };
        let tuple = FourTuple::new(SocketAddr::new(address, port), remote);
        let iss = self.initial_number(tuple, now);
        let segment = self.connection(id).and_then(Connection::segment_limit);
        let opening = Opening::active(now, iss, self.offer(interface, tuple).within(segment));
        let nonce = Nonce::random(&mut *self.secrets);
        let join = NewJoin { local: tuple.local(), remote, interface, local_id, remote_id, backup, nonce };
        let Some((connection, mut ctx)) = self.split(now, id) else { return };
        let subflow = connection.open_join(&mut ctx, opening, &join);
        self.flows.insert(tuple, FlowRef::Subflow { connection: id, subflow });
    }

    /// Announces an address, for the first time or again (RFC 8684 §3.4.1).
    fn announce(&mut self, now: Instant, id: ConnectionId, endpoint: Endpoint, repeats: u8) {
        let cap = self.config.mptcp.add_addr_timeout;
        let Some(tenant) = self.tenant_mut(id) else { return };
        let connection = &mut tenant.connection;
        if !connection.is_joinable() {
            connection.pm.announcing = None;
            return;
        }
        let (Some(keys), Some(id)) = (connection.data.keys, endpoint.id) else { return };
        // The initial address come back: told as what it was (RFC 8684 §3.4.1).
        let address_id = if stands_for(&endpoint, connection.first_local) { AddressId(0) } else { id };
        let port = endpoint.port.map(core::num::NonZeroU16::get);
        let hmac = add_addr_hmac(keys.local, keys.remote, address_id.0, endpoint.address, port);
        let add = AddAddr {
            address_id: address_id.0,
            address: endpoint.address,
            port,
            auth: AddAddrAuth::Hmac(hmac),
        };
        // As Linux since 6.18: the largest timeout of its subflows, doubled each time, and no more than the
        // sysctl says.
        let rto = connection.subflows.iter().filter_map(|s| s.flow()).map(|f| f.rtt().rto()).max();
        let wait = rto.unwrap_or(Duration::from_secs(1)).saturating_mul(1 << repeats.min(7)).min(cap);
        let again_at = (!wait.is_zero()).then_some(now + wait);
        connection.pm.announcing = Some(Box::new(Announcement { endpoint, address_id, repeats, again_at }));
        if let Some(subflow) = connection.subflows.iter_mut().find(|s| s.is_usable()) {
            let fits = subflow.mp.signal(Signal::AddAddr(add));
            self.counters.add_addr_tx_drop += u64::from(!fits);
        }
    }

    pub(super) fn handle_announce_timeout(&mut self, now: Instant, id: ConnectionId) {
        let Some(tenant) = self.tenant_mut(id) else { return };
        let state = &mut tenant.connection.pm;
        let Some(announcing) =
            state.announcing.as_deref().copied().filter(|a| a.again_at.is_some_and(|at| at <= now))
        else {
            return;
        };
        if announcing.repeats >= ANNOUNCE_REPEATS {
            state.announcing = None;
            self.next_steps(now, id);
        } else {
            self.announce(now, id, announcing.endpoint, announcing.repeats + 1);
        }
    }

    fn withdraw(&mut self, now: Instant, id: ConnectionId, endpoint: &Endpoint, always_tell: bool) {
        let Some(tenant) = tenant_in(&mut self.slots, id) else { return };
        let view = view_of(&tenant.connection);
        let action = self.pm.on_removed(&mut tenant.connection.pm, &view, endpoint, always_tell);
        if let Some(action) = action {
            self.carry_out(now, id, action);
        }
    }

    fn mesh_anew(&mut self, now: Instant, id: ConnectionId, endpoint: &Endpoint) {
        let Some(tenant) = tenant_in(&mut self.slots, id) else { return };
        let view = view_of(&tenant.connection);
        if let Some(action) = self.pm.on_fullmesh(&mut tenant.connection.pm, &view, endpoint) {
            self.carry_out(now, id, action);
        }
        self.next_steps(now, id);
    }

    fn declare_backup_of(&mut self, now: Instant, id: ConnectionId, endpoint: &Endpoint) {
        let Some(first_local) = self.connection(id).map(|c| c.first_local) else { return };
        let local_id = if stands_for(endpoint, first_local) { Some(AddressId(0)) } else { endpoint.id };
        if let Some(local_id) = local_id {
            let backup = endpoint.flags.contains(EndpointFlags::BACKUP);
            self.carry_out(now, id, Action::DeclareBackup { backup, local_id });
        }
    }
}

fn view_of(connection: &Connection) -> ConnectionView {
    ConnectionView {
        is_client: connection.role == Role::Client,
        first_local: connection.first_local,
        first_remote: connection.first_remote,
        extra_subflows: connection.extra_subflows(),
        peer_denies_join: connection.peer_denies_join,
        subflows: connection
            .subflows
            .iter()
            .filter(|s| s.flow().is_none_or(|flow| !flow.is_closing() && !flow.peer_closed()))
            .map(|s| SubflowEnds { local_id: s.mp.local_id, remote_id: s.mp.remote_id, remote: s.remote })
            .collect(),
    }
}

fn connection_event(connection: &Connection) -> Option<ConnectionEvent> {
    if connection.data.mode != Mode::Mptcp {
        return None;
    }
    Some(ConnectionEvent {
        token: ConnectionToken(connection.token()?.0),
        local: connection.first_local,
        remote: connection.first_remote,
        local_id: AddressId(0),
        remote_id: AddressId(0),
        side: match connection.role {
            Role::Client => Side::Client,
            Role::Server => Side::Server,
        },
        initial_address: if connection.peer_denies_join {
            InitialAddress::DenyJoin
        } else {
            InitialAddress::Joinable
        },
    })
}

fn subflow_event(connection: &Connection, subflow: &Subflow) -> Option<SubflowEvent> {
    Some(SubflowEvent {
        token: ConnectionToken(connection.token()?.0),
        local: subflow.local,
        remote: subflow.remote,
        local_id: subflow.mp.local_id,
        remote_id: subflow.mp.remote_id,
        backup: subflow.mp.backup_peer,
        interface: None,
        error: None,
    })
}
