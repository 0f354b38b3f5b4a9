use polytcp_wire::mptcp::AddAddrAuth;

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
