//! The path manager `kernel`: endpoints and limits of the host, as Linux's in-kernel one.
//!
//! It decides and never acts: each step gives [`Action`]s, which the host carries out. A lost path is
//! not made again on its own, as in Linux.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;

mod mesh;

use super::command::{AddressId, Endpoint, EndpointFlags, FlagsTarget, PmCommand, PmError, PmReply};
use crate::time::Instant;

/// Endpoints of a host at most (Linux's `MPTCP_PM_ADDR_MAX`).
pub const ENDPOINTS_MAX: usize = 8;
/// Largest value of either limit.
pub const LIMIT_MAX: u32 = 8;
/// What a host's configuration can ask for beyond that: 32 subflows of a connection.
pub const EXTRA_SUBFLOWS_MAX: u32 = 31;
/// An announcement without echo is repeated so often.
pub const ANNOUNCE_REPEATS: u8 = 3;

const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const ERANGE: i32 = 34;
const EOPNOTSUPP: i32 = 95;

/// What a step of the path manager asks of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Open a further subflow.
    Join {
        /// Where from; `None` lets routing choose.
        local: Option<(IpAddr, AddressId)>,
        /// Where to.
        remote: SocketAddr,
        /// The peer's identifier of that address.
        remote_id: AddressId,
        /// Ask for it as a backup.
        backup: bool,
    },
    /// Announce an address.
    Announce(Endpoint),
    /// Tell the peer that the initial subflow is a backup of ours.
    DeclareBackup {
        /// The new flag.
        backup: bool,
        /// Which local address.
        local_id: AddressId,
    },
    /// Withdraw an address and close the subflows from it.
    Withdraw {
        /// Its identifier in the connection.
        id: AddressId,
        /// Send REMOVE_ADDR.
        tell_peer: bool,
    },
}

/// A connection as the path manager sees it.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    /// We called connect.
    pub is_client: bool,
    /// Local address and port of the first subflow.
    pub first_local: SocketAddr,
    /// Remote address and port of the first subflow.
    pub first_remote: SocketAddr,
    /// Subflows beside the first, attempts in progress included.
    pub extra_subflows: u32,
    /// The peer takes no joins to its initial address (flag C).
    pub peer_denies_join: bool,
    /// Subflows, attempts in progress included, without those that are closing.
    pub subflows: Vec<SubflowEnds>,
}

/// The ends of a subflow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubflowEnds {
    /// Our identifier of the local address.
    pub local_id: AddressId,
    /// The peer's identifier of the remote address.
    pub remote_id: AddressId,
    /// Remote address and port.
    pub remote: SocketAddr,
}

/// An announcement that waits for its echo.
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    /// What was announced.
    pub endpoint: Endpoint,
    /// With this identifier.
    pub address_id: AddressId,
    /// How often it was repeated.
    pub repeats: u8,
    /// When it goes again; never, without `add_addr_timeout`.
    pub again_at: Option<Instant>,
}

/// What the path manager keeps for each connection.
#[derive(Debug, Default)]
pub struct ConnectionState {
    started: bool,
    used: Vec<AddressId>,
    /// Endpoints among `used` that are not the initial address (Linux's `local_addr_used`).
    local_used: u32,
    /// Endpoints that were announced, and that of the initial address, which needs not be.
    announced: Vec<AddressId>,
    initial: Option<AddressId>,
    /// The announcement in progress; one at a time, as Linux.
    pub announcing: Option<Box<Announcement>>,
    /// Announcements of the peer that led to a subflow.
    pub add_addr_accepted: u32,
    /// What the peer withdrew and began no join from since: the third ACK of an older join comes too late.
    withdrawn: Vec<AddressId>,
}

impl ConnectionState {
    /// The peer withdraws `id` (RFC 8684 §3.4.2).
    pub fn on_withdrawn(&mut self, id: AddressId) {
        if !self.withdrawn.contains(&id) {
            self.withdrawn.push(id);
        }
    }

    /// The peer begins a join from `id`.
    pub fn on_join_begun(&mut self, id: AddressId) {
        self.withdrawn.retain(|other| *other != id);
    }

    /// `id` was withdrawn, and no join began from it since.
    pub fn is_withdrawn(&self, id: AddressId) -> bool {
        self.withdrawn.contains(&id)
    }

    fn use_endpoint(&mut self, endpoint: &Endpoint, view: &ConnectionView) {
        self.used.extend(endpoint.id);
        self.local_used += u32::from(!stands_for(endpoint, view.first_local));
    }

    fn use_endpoints(&mut self, endpoints: &[&Endpoint], view: &ConnectionView) {
        for endpoint in endpoints {
            self.use_endpoint(endpoint, view);
        }
    }

    /// Addresses that were announced, the initial one not counted.
    pub fn announced_count(&self) -> u32 {
        self.announced.len() as u32 - u32::from(self.initial.is_some_and(|id| self.announced.contains(&id)))
    }

    /// Endpoints that are used and are not the initial address.
    pub fn local_used(&self) -> u32 {
        self.local_used
    }

    /// When an announcement goes again.
    pub fn deadline(&self) -> Option<Instant> {
        self.announcing.as_ref().and_then(|a| a.again_at)
    }
}

/// Endpoints and limits of a host.
#[derive(Debug)]
pub struct KernelPm {
    endpoints: Vec<Endpoint>,
    subflows: u32,
    add_addr_accepted: u32,
    cursor: u8,
}

/// Limits, and how many endpoints of each kind there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PmNumbers {
    /// Further subflows that a connection may have.
    pub subflows: u32,
    /// Announcements that a connection follows.
    pub add_addr_accepted: u32,
    /// Endpoints that are announced.
    pub signal: u32,
    /// Endpoints from which joins go.
    pub subflow: u32,
    /// Endpoints with the flag `laminar`.
    pub laminar: u32,
}

/// What a command changed for live connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing.
    None,
    /// An endpoint came.
    Added,
    /// An endpoint went; `true`: REMOVE_ADDR also for one that was never announced.
    Removed(Vec<Endpoint>, bool),
    /// The backup flag of an endpoint changed.
    Backup(Endpoint),
    /// The fullmesh flag of an endpoint changed, and perhaps its backup flag.
    Fullmesh(Endpoint),
}

impl KernelPm {
    /// No endpoints, with these limits (capped at [`EXTRA_SUBFLOWS_MAX`]).
    pub fn new(subflows: u32, add_addr_accepted: u32) -> Self {
        Self {
            endpoints: Vec::new(),
            subflows: subflows.min(EXTRA_SUBFLOWS_MAX),
            add_addr_accepted: add_addr_accepted.min(EXTRA_SUBFLOWS_MAX),
            cursor: 0,
        }
    }

    /// Further subflows that a connection may have.
    pub fn subflow_limit(&self) -> u32 {
        self.subflows
    }

    /// What there is.
    pub fn numbers(&self) -> PmNumbers {
        let count = |flag| self.endpoints.iter().filter(|e| e.flags.contains(flag)).count() as u32;
        PmNumbers {
            subflows: self.subflows,
            add_addr_accepted: self.add_addr_accepted,
            signal: count(EndpointFlags::SIGNAL),
            subflow: count(EndpointFlags::SUBFLOW),
            laminar: count(EndpointFlags::LAMINAR),
        }
    }

    /// The identifier of `local` in a connection whose first local address is `first_local`.
    pub fn local_id(&mut self, local: SocketAddr, first_local: IpAddr) -> AddressId {
        let address = local.ip();
        if address == first_local {
            return AddressId(0);
        }
        if let Some(id) = self.endpoints.iter().find(|e| stands_for(e, local)).and_then(|e| e.id) {
            return id;
        }
        // Linux makes an `implicit` endpoint for an address that routing chose.
        let id = self.free_id().unwrap_or(AddressId(255));
        if self.endpoints.len() < ENDPOINTS_MAX {
            self.endpoints.push(Endpoint { id: Some(id), ..Endpoint::new(address, EndpointFlags::IMPLICIT) });
        }
        id
    }

    /// The endpoint of `local` asks for backup.
    pub fn is_backup(&self, local: SocketAddr) -> bool {
        let endpoint = self.endpoints.iter().find(|e| stands_for(e, local));
        endpoint.is_some_and(|e| e.flags.contains(EndpointFlags::BACKUP))
    }

    /// The connection has announced this address with this port.
    pub fn has_announced(&self, state: &ConnectionState, local: SocketAddr) -> bool {
        self.endpoints.iter().any(|e| {
            e.port.is_some() && stands_for(e, local) && e.id.is_some_and(|id| state.announced.contains(&id))
        })
    }

    /// Takes an endpoint back that was added just now and cannot be used.
    pub fn forget(&mut self, address: IpAddr, port: Option<NonZeroU16>) {
        self.endpoints.retain(|e| e.address != address || e.port != port);
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// [`PmError`] with Linux's errno and text.
    pub fn command(&mut self, command: &PmCommand) -> Result<(PmReply, Change), PmError> {
        let done = |change| Ok((PmReply::Done, change));
        match command {
            PmCommand::AddAddr(endpoint) => self.add(endpoint).and_then(|()| done(Change::Added)),
            PmCommand::DelAddr { id: AddressId(0), address: Some(address) } => {
                let zero =
                    Endpoint { id: Some(AddressId(0)), ..Endpoint::new(*address, EndpointFlags::NONE) };
                done(Change::Removed(alloc::vec![zero], true))
            }
            PmCommand::DelAddr { id, .. } => {
                let at = self.position(*id).ok_or(PmError::new(EINVAL, "address not found"))?;
                let gone = self.endpoints.remove(at);
                done(Change::Removed(alloc::vec![gone], true))
            }
            PmCommand::GetAddr { id, token: None } => {
                let at = self.position(*id).ok_or(PmError::new(EINVAL, "address not found"))?;
                Ok((PmReply::Endpoint(self.endpoints[at]), Change::None))
            }
            PmCommand::DumpAddr { token: None } => {
                Ok((PmReply::Endpoints(self.endpoints.clone()), Change::None))
            }
            PmCommand::FlushAddrs => {
                self.cursor = 0;
                done(Change::Removed(core::mem::take(&mut self.endpoints), false))
            }
            PmCommand::SetLimits { subflows, add_addr_accepted } => {
                if [subflows, add_addr_accepted].into_iter().flatten().any(|limit| *limit > LIMIT_MAX) {
                    return Err(PmError::new(EINVAL, "limit greater than maximum (8)"));
                }
                self.subflows = subflows.unwrap_or(self.subflows);
                self.add_addr_accepted = add_addr_accepted.unwrap_or(self.add_addr_accepted);
                done(Change::None)
            }
            PmCommand::GetLimits => {
                let (subflows, add_addr_accepted) = (self.subflows, self.add_addr_accepted);
                Ok((PmReply::Limits { subflows, add_addr_accepted }, Change::None))
            }
            PmCommand::SetFlags { target, flags } => self.set_flags(*target, *flags),
            PmCommand::GetAddr { token: Some(_), .. }
            | PmCommand::DumpAddr { token: Some(_) }
            | PmCommand::Announce { .. }
            | PmCommand::Remove { .. }
            | PmCommand::SubflowCreate { .. }
            | PmCommand::SubflowDestroy { .. } => {
                Err(PmError::new(EINVAL, "the connection is not managed from user space"))
            }
        }
    }

    fn add(&mut self, endpoint: &Endpoint) -> Result<(), PmError> {
        let Endpoint { address, port, id, flags, .. } = *endpoint;
        let signal = flags.contains(EndpointFlags::SIGNAL);
        if port.is_some() && (!signal || flags.contains(EndpointFlags::SUBFLOW)) {
            return Err(PmError::new(EINVAL, "flags must have signal and not subflow when using port"));
        }
        if signal && flags.contains(EndpointFlags::FULLMESH) {
            return Err(PmError::new(EINVAL, "flags mustn't have both signal and fullmesh"));
        }
        if flags.contains(EndpointFlags::IMPLICIT) {
            return Err(PmError::new(EINVAL, "can't create IMPLICIT endpoint"));
        }
        if let Some(at) = self.endpoints.iter().position(|e| e.address == address && e.port == port) {
            let held = self.endpoints[at];
            if held.flags.contains(EndpointFlags::IMPLICIT) && id.is_none() {
                self.endpoints[at] = Endpoint { id: held.id, ..*endpoint };
                return Ok(());
            }
            return Err(PmError::new(EEXIST, "too many addresses or duplicate one: -17"));
        }
        if self.endpoints.len() >= ENDPOINTS_MAX {
            return Err(PmError::new(ERANGE, "too many addresses or duplicate one: -34"));
        }
        let id = match id {
            Some(AddressId(0)) | None => self.free_id().ok_or(PmError::new(ERANGE, "no id is free"))?,
            Some(id) if self.position(id).is_some() => {
                return Err(PmError::new(EBUSY, "too many addresses or duplicate one: -16"));
            }
            Some(id) => id,
        };
        self.cursor = self.cursor.max(id.0);
        let endpoint = Endpoint { id: Some(id), ..*endpoint };
        // As Linux: those with a port come first.
        let at = if port.is_some() { 0 } else { self.endpoints.len() };
        self.endpoints.insert(at, endpoint);
        Ok(())
    }

    /// The first free identifier above the highest one handed out; wraps to 1 after 255.
    fn free_id(&mut self) -> Option<AddressId> {
        let above = (self.cursor..=u8::MAX).skip(1);
        let id = above.chain(1..=self.cursor).map(AddressId).find(|id| self.position(*id).is_none())?;
        self.cursor = id.0;
        Some(id)
    }

    fn position(&self, id: AddressId) -> Option<usize> {
        self.endpoints.iter().position(|e| e.id == Some(id))
    }

    fn set_flags(&mut self, target: FlagsTarget, flags: EndpointFlags) -> Result<(PmReply, Change), PmError> {
        let at = match target {
            FlagsTarget::Id(AddressId(0)) => {
                return Err(PmError::new(EOPNOTSUPP, "missing address ID"));
            }
            FlagsTarget::Id(id) => self.position(id),
            FlagsTarget::Address { address, port } => {
                self.endpoints.iter().position(|e| e.address == address && e.port == port)
            }
            FlagsTarget::Subflow { .. } => {
                return Err(PmError::new(EINVAL, "the connection is not managed from user space"));
            }
        };
        let at = at.ok_or(PmError::new(EINVAL, "address not found"))?;
        let held = self.endpoints[at].flags;
        let fullmesh = flags.contains(EndpointFlags::FULLMESH);
        if fullmesh && (held.contains(EndpointFlags::SIGNAL) || held.contains(EndpointFlags::IMPLICIT)) {
            return Err(PmError::new(EINVAL, "invalid addr flags"));
        }
        let settable = EndpointFlags::BACKUP | EndpointFlags::FULLMESH;
        let kept = held.bits() & !settable.bits();
        self.endpoints[at].flags = EndpointFlags::from_bits_truncate(kept | (flags.bits() & settable.bits()));
        let changed = self.endpoints[at];
        let backup_changed =
            held.contains(EndpointFlags::BACKUP) != changed.flags.contains(EndpointFlags::BACKUP);
        let fullmesh_changed = held.contains(EndpointFlags::FULLMESH) != fullmesh;
        let change = match (fullmesh_changed, backup_changed) {
            (true, _) => Change::Fullmesh(changed),
            (false, true) => Change::Backup(changed),
            (false, false) => Change::None,
        };
        Ok((PmReply::Done, change))
    }

    /// The connection is established, an endpoint came, or an announcement is done: what to do next.
    pub fn next_steps(&self, state: &mut ConnectionState, view: &ConnectionView) -> Vec<Action> {
        let mut actions = Vec::new();
        if !state.started {
            state.started = true;
            let initial = self.endpoints.iter().find(|e| stands_for(e, view.first_local));
            if let Some(id) = initial.and_then(|e| e.id) {
                state.used.push(id);
                state.announced.push(id);
                state.initial = Some(id);
            }
            if initial.is_some_and(|e| e.flags.contains(EndpointFlags::BACKUP)) {
                actions.push(Action::DeclareBackup { backup: true, local_id: AddressId(0) });
            }
        }
        if state.announcing.is_none() {
            let signal = self.endpoints.iter().find(|e| {
                e.flags.contains(EndpointFlags::SIGNAL)
                    && e.id.is_some_and(|id| !state.announced.contains(&id))
            });
            if let Some(endpoint) = signal {
                state.announced.extend(endpoint.id);
                actions.push(Action::Announce(*endpoint));
            }
        }
        self.open_subflows(state, view, &mut actions);
        actions
    }

    /// The endpoint's `fullmesh` flag changed: its subflows are closed, and the next step makes them anew.
    ///
    /// Deviation: the initial subflow stays, which Linux closes as well.
    pub fn on_fullmesh(
        &self,
        state: &mut ConnectionState,
        view: &ConnectionView,
        endpoint: &Endpoint,
    ) -> Option<Action> {
        let id = endpoint.id.filter(|id| state.used.contains(id))?;
        if stands_for(endpoint, view.first_local) {
            return None;
        }
        state.used.retain(|i| *i != id);
        state.local_used = state.local_used.saturating_sub(1);
        Some(Action::Withdraw { id, tell_peer: false })
    }

    /// What an endpoint's end means for one connection.
    pub fn on_removed(
        &self,
        state: &mut ConnectionState,
        view: &ConnectionView,
        endpoint: &Endpoint,
        always_tell: bool,
    ) -> Option<Action> {
        let id = endpoint.id?;
        let announced = state.announced.contains(&id);
        let used = state.used.contains(&id);
        let is_initial = stands_for(endpoint, view.first_local);
        state.local_used = state.local_used.saturating_sub(u32::from(used && !is_initial));
        state.announced.retain(|i| *i != id);
        state.used.retain(|i| *i != id);
        if state.announcing.as_ref().is_some_and(|a| a.endpoint.id == Some(id)) {
            state.announcing = None;
        }
        if id == AddressId(0) && !is_initial {
            return None;
        }
        let wire_id = id_on_wire(endpoint, id, view);
        let implicit = endpoint.flags.contains(EndpointFlags::IMPLICIT);
        let tell_peer = !implicit && (announced || (always_tell && (used || is_initial)));
        Some(Action::Withdraw { id: wire_id, tell_peer })
    }
}

/// The endpoint's address, and its port if it has one, are those of `local`.
pub fn stands_for(endpoint: &Endpoint, local: SocketAddr) -> bool {
    endpoint.address == local.ip() && endpoint.port.is_none_or(|port| port.get() == local.port())
}

/// The identifier that names the endpoint `id` in a connection: 0 for its initial address (RFC 8684 §3.2).
fn id_on_wire(endpoint: &Endpoint, id: AddressId, view: &ConnectionView) -> AddressId {
    if stands_for(endpoint, view.first_local) { AddressId(0) } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in crate::pm) fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    pub(in crate::pm) fn add(pm: &mut KernelPm, address: &str, flags: EndpointFlags) {
        pm.command(&PmCommand::AddAddr(Endpoint::new(ip(address), flags))).expect("accepted");
    }

    pub(in crate::pm) fn view(is_client: bool, extra_subflows: u32) -> ConnectionView {
        let first_remote = "10.0.0.1:80".parse().expect("address");
        ConnectionView {
            is_client,
            first_local: "10.0.0.2:40000".parse().expect("address"),
            first_remote,
            extra_subflows,
            peer_denies_join: false,
            subflows: alloc::vec![SubflowEnds {
                local_id: AddressId(0),
                remote_id: AddressId(0),
                remote: first_remote,
            }],
        }
    }

    #[test]
    fn endpoints_are_checked_as_linux_does() {
        let mut pm = KernelPm::new(2, 0);
        add(&mut pm, "10.0.1.2", EndpointFlags::SUBFLOW);
        let mut refused =
            |endpoint: Endpoint| pm.command(&PmCommand::AddAddr(endpoint)).expect_err("refused").errno;
        let other = Endpoint::new(ip("10.0.2.2"), EndpointFlags::SUBFLOW);
        assert_eq!(refused(Endpoint::new(ip("10.0.1.2"), EndpointFlags::SIGNAL)), EEXIST);
        assert_eq!(refused(Endpoint { id: Some(AddressId(1)), ..other }), EBUSY);
        assert_eq!(refused(Endpoint { port: NonZeroU16::new(80), ..other }), EINVAL);
        assert_eq!(refused(Endpoint { flags: EndpointFlags::IMPLICIT, ..other }), EINVAL);
        let mesh = EndpointFlags::SIGNAL | EndpointFlags::FULLMESH;
        assert_eq!(refused(Endpoint { flags: mesh, ..other }), EINVAL);
        for i in 3..10 {
            add(&mut pm, &alloc::format!("10.0.{i}.2"), EndpointFlags::SUBFLOW);
        }
        let full = pm.command(&PmCommand::AddAddr(other)).expect_err("refused");
        assert_eq!(full.errno, ERANGE);
        let limits = PmCommand::SetLimits { subflows: Some(9), add_addr_accepted: None };
        assert_eq!(pm.command(&limits).expect_err("refused").errno, EINVAL);
    }

    #[test]
    fn identifiers_are_not_handed_out_again_until_they_wrap() {
        let mut pm = KernelPm::new(2, 0);
        add(&mut pm, "10.0.1.2", EndpointFlags::SUBFLOW);
        add(&mut pm, "10.0.2.2", EndpointFlags::SUBFLOW);
        pm.command(&PmCommand::DelAddr { id: AddressId(2), address: None }).expect("there");
        add(&mut pm, "10.0.3.2", EndpointFlags::SUBFLOW);
        let (reply, _) = pm.command(&PmCommand::DumpAddr { token: None }).expect("list");
        let PmReply::Endpoints(list) = reply else { panic!("a list") };
        let ids: Vec<_> = list.iter().filter_map(|e| e.id).map(|id| id.0).collect();
        assert_eq!(ids, [1, 3]);
    }

    #[test]
    fn an_identifier_in_use_is_passed_over_after_the_wrap() {
        let mut pm = KernelPm::new(2, 0);
        add(&mut pm, "10.0.1.2", EndpointFlags::SUBFLOW);
        let last = Endpoint::new(ip("10.0.2.2"), EndpointFlags::SUBFLOW);
        let last = Endpoint { id: Some(AddressId(255)), ..last };
        pm.command(&PmCommand::AddAddr(last)).expect("free");
        add(&mut pm, "10.0.3.2", EndpointFlags::SUBFLOW);
        let (reply, _) = pm.command(&PmCommand::DumpAddr { token: None }).expect("list");
        let PmReply::Endpoints(list) = reply else { panic!("a list") };
        let ids: Vec<_> = list.iter().filter_map(|e| e.id).map(|id| id.0).collect();
        assert_eq!(ids, [1, 255, 2]);
    }

    #[test]
    fn a_client_opens_subflows_up_to_the_limit_and_a_server_none() {
        let mut pm = KernelPm::new(1, 0);
        for i in 0..3 {
            add(&mut pm, &alloc::format!("10.0.{i}.2"), EndpointFlags::SUBFLOW);
        }
        let mut state = ConnectionState::default();
        let steps = pm.next_steps(&mut state, &view(true, 0));
        let [Action::Join { local: Some((local, id)), .. }] = steps[..] else { panic!("{steps:?}") };
        assert_eq!((local, id), (ip("10.0.1.2"), AddressId(2)), "the initial address is in use");
        assert!(pm.next_steps(&mut ConnectionState::default(), &view(false, 0)).is_empty());
    }

    #[test]
    fn addresses_are_announced_one_after_another() {
        let mut pm = KernelPm::new(2, 0);
        add(&mut pm, "10.0.1.2", EndpointFlags::SIGNAL);
        add(&mut pm, "10.0.2.2", EndpointFlags::SIGNAL);
        let mut state = ConnectionState::default();
        let first = pm.next_steps(&mut state, &view(false, 0));
        let [Action::Announce(endpoint)] = first[..] else { panic!("{first:?}") };
        assert_eq!(endpoint.address, ip("10.0.1.2"));
        state.announcing =
            Some(Box::new(Announcement { endpoint, address_id: AddressId(1), repeats: 0, again_at: None }));
        assert!(pm.next_steps(&mut state, &view(false, 0)).is_empty());
        state.announcing = None;
        assert!(matches!(pm.next_steps(&mut state, &view(false, 0))[..], [Action::Announce(_)]));
    }
}
