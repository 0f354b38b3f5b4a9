use polytcp_wire::mptcp::AddAddrAuth;

use super::super::SubflowEnds;
use super::super::tests::{add, ip, view};
use super::*;

fn announced(id: u8, address: &str) -> AddAddr {
    AddAddr { address_id: id, address: ip(address), port: None, auth: AddAddrAuth::Hmac(0) }
}

/// Ends of the joins among `actions`: our identifier (255 for the routing's choice) and the remote address.
fn joins(actions: &[Action]) -> Vec<(u8, IpAddr)> {
    let end = |action: &Action| match action {
        Action::Join { local, remote, .. } => Some((local.map_or(255, |(_, id)| id.0), remote.ip())),
        _ => None,
    };
    actions.iter().filter_map(end).collect()
}

#[test]
fn an_announced_address_is_used_within_both_limits_and_once() {
    let add = announced(4, "10.0.1.1");
    let mut state = ConnectionState::default();
    assert!(KernelPm::new(2, 0).on_add_addr(&mut state, &view(true, 0), &add).is_empty());
    let pm = KernelPm::new(2, 1);
    assert!(pm.on_add_addr(&mut state, &view(true, 2), &add).is_empty());
    let actions = pm.on_add_addr(&mut state, &view(true, 0), &add);
    assert!(matches!(actions[..], [Action::Join { local: None, remote, .. }] if remote.port() == 80));
    assert!(pm.on_add_addr(&mut state, &view(true, 0), &add).is_empty(), "the limit is used up");
    let known = AddAddr { address: ip("10.0.0.1"), ..add };
    assert!(pm.on_add_addr(&mut ConnectionState::default(), &view(true, 0), &known).is_empty());
}

#[test]
fn behind_flag_c_endpoints_wait_for_the_first_announcement() {
    let mut pm = KernelPm::new(2, 0);
    add(&mut pm, "10.0.1.2", EndpointFlags::SUBFLOW);
    add(&mut pm, "10.0.2.2", EndpointFlags::SUBFLOW);
    let mut state = ConnectionState::default();
    let denied = ConnectionView { peer_denies_join: true, ..view(true, 0) };
    assert!(pm.next_steps(&mut state, &denied).is_empty());
    let actions = pm.on_add_addr(&mut state, &denied, &announced(4, "10.0.1.1"));
    assert_eq!(joins(&actions), [(1, ip("10.0.1.1")), (2, ip("10.0.1.1"))]);
    // Only the first: an endpoint is in use now.
    assert!(pm.on_add_addr(&mut state, &denied, &announced(5, "10.0.2.1")).is_empty());
}

/// With announcements allowed they are used from routing's address, and the endpoints count as used.
#[test]
fn behind_flag_c_with_announcements_allowed_endpoints_go_nowhere() {
    let mut pm = KernelPm::new(2, 1);
    add(&mut pm, "10.0.1.2", EndpointFlags::SUBFLOW);
    let mut state = ConnectionState::default();
    let denied = ConnectionView { peer_denies_join: true, ..view(true, 0) };
    assert!(pm.next_steps(&mut state, &denied).is_empty());
    let actions = pm.on_add_addr(&mut state, &denied, &announced(4, "10.0.1.1"));
    assert_eq!(joins(&actions), [(255, ip("10.0.1.1"))]);
}

fn subflow(local_id: u8, remote_id: u8, remote: &str) -> SubflowEnds {
    SubflowEnds {
        local_id: AddressId(local_id),
        remote_id: AddressId(remote_id),
        remote: remote.parse().expect("an address"),
    }
}

#[test]
fn a_fullmesh_endpoint_goes_to_every_address_that_has_a_subflow() {
    let mut pm = KernelPm::new(8, 2);
    add(&mut pm, "10.0.2.2", EndpointFlags::SUBFLOW | EndpointFlags::FULLMESH);
    let mut seen = view(true, 2);
    seen.subflows.push(subflow(9, 4, "10.0.1.1:80"));
    seen.subflows.push(subflow(0, 4, "10.0.1.1:80"));
    // From this very endpoint there is one already.
    seen.subflows.push(subflow(1, 6, "10.0.6.1:80"));
    seen.subflows.push(subflow(9, 7, "[fd00::1]:80"));
    let mut state = ConnectionState::default();
    let steps = pm.next_steps(&mut state, &seen);
    assert_eq!(joins(&steps), [(1, ip("10.0.0.1")), (1, ip("10.0.1.1"))]);
    assert!(pm.next_steps(&mut state, &seen).is_empty(), "it is in use");
    let denied = ConnectionView { peer_denies_join: true, ..seen };
    assert_eq!(joins(&pm.next_steps(&mut ConnectionState::default(), &denied)), [(1, ip("10.0.1.1"))]);
}

#[test]
fn a_mesh_ends_at_the_limit() {
    let mut pm = KernelPm::new(3, 8);
    for i in 1..=4 {
        add(&mut pm, &alloc::format!("10.0.{i}.2"), EndpointFlags::SUBFLOW | EndpointFlags::FULLMESH);
    }
    let mut state = ConnectionState::default();
    assert_eq!(joins(&pm.next_steps(&mut state, &view(true, 0))).len(), 3);
    let mut state = ConnectionState::default();
    let actions = pm.on_add_addr(&mut state, &view(true, 1), &announced(4, "10.0.9.1"));
    assert_eq!(joins(&actions), [(1, ip("10.0.9.1")), (2, ip("10.0.9.1"))]);
}

/// From every endpoint of the mesh, the initial address too, whose identifier is 0.
#[test]
fn a_new_address_is_joined_from_the_whole_mesh() {
    let mut pm = KernelPm::new(8, 2);
    let mesh = EndpointFlags::SUBFLOW | EndpointFlags::FULLMESH;
    for address in ["10.0.0.2", "10.0.2.2", "fd00::2"] {
        add(&mut pm, address, mesh);
    }
    add(&mut pm, "10.0.3.2", EndpointFlags::SUBFLOW);
    let mut state = ConnectionState::default();
    let actions = pm.on_add_addr(&mut state, &view(true, 0), &announced(4, "10.0.1.1"));
    assert_eq!(joins(&actions), [(0, ip("10.0.1.1")), (2, ip("10.0.1.1"))]);
    assert_eq!(state.add_addr_accepted, 1);
}

#[test]
fn each_new_address_takes_one_laminar_endpoint_until_none_is_left() {
    let mut pm = KernelPm::new(8, 8);
    add(&mut pm, "10.0.1.2", EndpointFlags::LAMINAR);
    add(&mut pm, "10.0.2.2", EndpointFlags::LAMINAR);
    let mut state = ConnectionState::default();
    assert!(pm.next_steps(&mut state, &view(true, 0)).is_empty(), "not of its own accord");
    let mut to = |id: u8, remote: &str| {
        let actions = pm.on_add_addr(&mut state, &view(true, 0), &announced(id, remote));
        joins(&actions)
    };
    assert_eq!(to(4, "10.0.1.1"), [(1, ip("10.0.1.1"))]);
    assert_eq!(to(5, "10.0.2.1"), [(2, ip("10.0.2.1"))]);
    assert_eq!(to(6, "10.0.3.1"), []);
    // Of the other family there is none at all: routing chooses.
    assert_eq!(to(7, "fd00::1"), [(255, ip("fd00::1"))]);
}

#[test]
fn a_changed_fullmesh_flag_makes_the_subflows_of_its_endpoint_anew() {
    use crate::pm::command::{FlagsTarget, PmCommand};
    use crate::pm::kernel::Change;
    let mut pm = KernelPm::new(8, 8);
    add(&mut pm, "10.0.2.2", EndpointFlags::SUBFLOW);
    let mut state = ConnectionState::default();
    let mut seen = view(true, 2);
    assert_eq!(joins(&pm.next_steps(&mut state, &seen)).len(), 1);
    let target = FlagsTarget::Id(AddressId(1));
    let command = PmCommand::SetFlags { target, flags: EndpointFlags::FULLMESH };
    let Ok((_, Change::Fullmesh(endpoint))) = pm.command(&command) else { panic!("a changed flag") };
    let action = pm.on_fullmesh(&mut state, &seen, &endpoint);
    assert_eq!(action, Some(Action::Withdraw { id: AddressId(1), tell_peer: false }));
    seen.subflows.push(subflow(0, 4, "10.0.1.1:80"));
    assert_eq!(joins(&pm.next_steps(&mut state, &seen)).len(), 2);
    assert_eq!(state.local_used, 1);
}

#[test]
fn an_implicit_endpoint_gives_way_to_one_that_is_added_without_number() {
    let mut pm = KernelPm::new(8, 8);
    let local = "10.0.2.2:5000".parse().expect("an address");
    let id = pm.local_id(local, ip("10.0.0.2"));
    assert_eq!(pm.endpoints[0].flags, EndpointFlags::IMPLICIT);
    let mut state = ConnectionState::default();
    let gone = pm.on_removed(&mut state, &view(true, 1), &pm.endpoints[0], true);
    assert_eq!(gone, Some(Action::Withdraw { id, tell_peer: false }), "nobody was told of it");
    add(&mut pm, "10.0.2.2", EndpointFlags::SUBFLOW);
    assert_eq!(pm.endpoints.len(), 1);
    assert_eq!((pm.endpoints[0].id, pm.endpoints[0].flags), (Some(id), EndpointFlags::SUBFLOW));
}
