//! Which pairs of addresses a connection tries: its own endpoints with the peer's addresses.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use polytcp_wire::mptcp::AddAddr;

use super::{Action, ConnectionState, ConnectionView, KernelPm, id_on_wire};
use crate::pm::command::{AddressId, Endpoint, EndpointFlags};

impl KernelPm {
    /// Opens subflows from endpoints that were not used yet.
    ///
    /// Deviation: a server opens none. Its client has no listener at its port, so that Linux's attempt earns
    /// a reset.
    pub(super) fn open_subflows(
        &self,
        state: &mut ConnectionState,
        view: &ConnectionView,
        actions: &mut Vec<Action>,
    ) {
        if !view.is_client || self.saves_endpoints(state, view) {
            return;
        }
        let mut extra = view.extra_subflows;
        for endpoint in self.unused(state, EndpointFlags::SUBFLOW) {
            if extra >= self.subflows {
                break;
            }
            let mesh = endpoint.flags.contains(EndpointFlags::FULLMESH);
            let fits = mesh || is_of_family(endpoint, view.first_remote.ip());
            let Some(id) = endpoint.id.filter(|_| fits) else { continue };
            // As Linux: an endpoint that finds no address of the peer counts as used all the same.
            state.use_endpoint(endpoint, view);
            let wire_id = id_on_wire(endpoint, id, view);
            for (remote_id, remote) in remotes_for(endpoint, wire_id, view) {
                if extra >= self.subflows {
                    break;
                }
                extra += 1;
                actions.push(join(endpoint, wire_id, remote, remote_id));
            }
        }
    }

    /// The peer announced an address (RFC 8684 §3.4.1): the subflows to it.
    pub fn on_add_addr(
        &self,
        state: &mut ConnectionState,
        view: &ConnectionView,
        add: &AddAddr,
    ) -> Vec<Action> {
        let remote = SocketAddr::new(add.address, add.port.unwrap_or(view.first_remote.port()));
        let taken = view.subflows.iter().any(|s| match add.port {
            Some(_) => s.remote == remote,
            None => s.remote.ip() == add.address,
        });
        // Identifier 0 is the initial address come back, which no limit counts, and stands for no other.
        let is_initial = add.address_id == 0;
        let saved = !is_initial && self.saves_endpoints(state, view);
        let room = self.subflows.saturating_sub(view.extra_subflows) as usize;
        let is_due = match is_initial {
            true => remote == view.first_remote,
            false => state.add_addr_accepted < self.add_addr_accepted || saved,
        };
        if !is_due || room == 0 || taken || !names_one_host(add.address) {
            return Vec::new();
        }
        let remote_id = AddressId(add.address_id);
        let from = |endpoint: &Endpoint| {
            Some(join(endpoint, id_on_wire(endpoint, endpoint.id?, view), remote, remote_id))
        };
        let mesh: Vec<_> = self.endpoints_of(EndpointFlags::FULLMESH, add.address).collect();
        let actions: Vec<Action> = if !mesh.is_empty() {
            let chosen = &mesh[..mesh.len().min(room)];
            if saved {
                let subflow = |e: &&&Endpoint| {
                    e.flags.contains(EndpointFlags::SUBFLOW)
                        && e.id.is_some_and(|id| !state.used.contains(&id))
                };
                let newly: Vec<_> = chosen.iter().filter(subflow).copied().collect();
                state.use_endpoints(&newly, view);
            }
            chosen.iter().copied().filter_map(from).collect()
        } else if self.endpoints_of(EndpointFlags::LAMINAR, add.address).next().is_some() {
            // As Linux: one each, and none when all are in use.
            let endpoints = self.unused(state, EndpointFlags::LAMINAR);
            let chosen = endpoints.into_iter().find(|e| is_of_family(e, add.address));
            state.use_endpoints(chosen.as_slice(), view);
            chosen.and_then(from).into_iter().collect()
        } else if saved {
            let endpoints = self.unused(state, EndpointFlags::SUBFLOW);
            let chosen: Vec<_> =
                endpoints.into_iter().filter(|e| is_of_family(e, add.address)).take(room).collect();
            state.use_endpoints(&chosen, view);
            chosen.into_iter().filter_map(from).collect()
        } else {
            alloc::vec![Action::Join { local: None, remote, remote_id, backup: false }]
        };
        state.add_addr_accepted += u32::from(!is_initial && !actions.is_empty());
        actions
    }

    /// The peer takes no joins to its initial address (flag C), and nothing else is known of it: endpoints wait
    /// for its first ADD_ADDR, which is accepted although the limit is 0, as in Linux.
    fn saves_endpoints(&self, state: &ConnectionState, view: &ConnectionView) -> bool {
        view.peer_denies_join
            && self.add_addr_accepted == 0
            && state.local_used == 0
            && view.extra_subflows < self.subflows
    }

    /// Endpoints with `flag` of the family of `remote`.
    fn endpoints_of(&self, flag: EndpointFlags, remote: IpAddr) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().filter(move |e| e.flags.contains(flag) && is_of_family(e, remote))
    }

    /// Endpoints with `flag` that the connection has not used, in their order.
    fn unused(&self, state: &ConnectionState, flag: EndpointFlags) -> Vec<&Endpoint> {
        let is_unused = |e: &&Endpoint| e.id.is_some_and(|id| !state.used.contains(&id));
        self.endpoints.iter().filter(|e| e.flags.contains(flag)).filter(is_unused).collect()
    }
}

/// The peer's addresses that an endpoint goes to: its initial one, or with `fullmesh` all that have a subflow and
/// none from this endpoint.
fn remotes_for(endpoint: &Endpoint, id: AddressId, view: &ConnectionView) -> Vec<(AddressId, SocketAddr)> {
    if !endpoint.flags.contains(EndpointFlags::FULLMESH) {
        return if view.peer_denies_join {
            Vec::new()
        } else {
            alloc::vec![(AddressId(0), view.first_remote)]
        };
    }
    let mut served: Vec<AddressId> =
        view.subflows.iter().filter(|s| s.local_id == id).map(|s| s.remote_id).collect();
    let mut remotes = Vec::new();
    for subflow in &view.subflows {
        let denied = view.peer_denies_join && subflow.remote_id == AddressId(0);
        if denied || served.contains(&subflow.remote_id) || !is_of_family(endpoint, subflow.remote.ip()) {
            continue;
        }
        served.push(subflow.remote_id);
        remotes.push((subflow.remote_id, subflow.remote));
    }
    remotes
}

fn join(endpoint: &Endpoint, id: AddressId, remote: SocketAddr, remote_id: AddressId) -> Action {
    Action::Join {
        local: Some((endpoint.address, id)),
        remote,
        remote_id,
        backup: endpoint.flags.contains(EndpointFlags::BACKUP),
    }
}

fn is_of_family(endpoint: &Endpoint, remote: IpAddr) -> bool {
    endpoint.address.is_ipv4() == remote.is_ipv4()
}

/// An address that a subflow can go to: no multicast, broadcast, loopback or unspecified one.
fn names_one_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast || address.is_multicast() || address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests;
