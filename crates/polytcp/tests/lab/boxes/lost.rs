//! Boxes that take a path away, whole or for large packets.

use std::time::Duration;

use polytcp::io::middlebox::*;
use polytcp_proto::config::MtuProbing;

use super::scene::{BOTH, Between, Peer, Role, Scene, bytes, in_roles, one};
use crate::bounded::pause;
use crate::transfer::Manner;

fn acting(case: impl Fn(Role, &Scene) + Clone + Send + 'static, between: Between) {
    in_roles(move |role, family| {
        let scene = Scene::new(between, role, family);
        case(role, &scene);
        assert!(scene.boxes_acted(), "{role:?}: the boxes did nothing");
    });
}

/// Silence after which a NAT forgets.
const IDLE: Duration = Duration::from_millis(400);

fn forgetful(path: usize, forgotten: Forgotten) -> Chain {
    if path == 0 {
        let (v4, v6) = ([10, 0, 0, 9].into(), [0xfd00, 0, 0, 0, 0, 0, 0, 9].into());
        let config = NatConfig { v4: Some(v4), v6: Some(v6), idle: IDLE, forgotten, ..NatConfig::default() };
        one(Nat::new(config))
    } else {
        Chain::new()
    }
}

fn a_nat_forgets(boxes: fn(usize) -> Chain) {
    for first in BOTH {
        let case = move |_, scene: &Scene| {
            scene.greet(2);
            pause(IDLE * 2);
            for direction in [first, first.reversed()] {
                scene.transfer(direction, Manner::new(3, bytes()));
            }
            assert_eq!(scene.peers().map(Peer::is_mptcp), [true; 2]);
        };
        acting(case, Between { paths: 2, ..Between::one_path(boxes) });
    }
}

#[test]
fn the_other_path_takes_over_when_a_nat_forgets_and_resets() {
    a_nat_forgets(|path| forgetful(path, Forgotten::Reset));
}

#[test]
fn the_other_path_takes_over_when_a_nat_forgets_and_drops() {
    a_nat_forgets(|path| forgetful(path, Forgotten::Drop));
}

fn hole() -> Chain {
    one(MtuBlackHole::new(1_300))
}

#[test]
fn the_other_path_takes_over_what_a_black_hole_for_large_packets_takes() {
    let case = |_, scene: &Scene| {
        scene.greet(2);
        for direction in BOTH {
            scene.transfer(direction, Manner::new(3, bytes()));
        }
        assert_eq!(scene.peers().map(Peer::is_mptcp), [true; 2]);
        scene.assert_no_faults();
    };
    let boxes = |path| if path == 1 { hole() } else { Chain::new() };
    acting(case, Between { paths: 2, ..Between::one_path(boxes) });
}

/// Who tries smaller segments finds what the only path takes.
#[test]
fn who_probes_gets_through_a_black_hole_on_the_only_path() {
    let case = |_, scene: &Scene| {
        for direction in BOTH {
            scene.transfer(direction, Manner::new(3, bytes()));
        }
        assert_eq!(scene.peers().map(Peer::is_mptcp), [true; 2]);
        scene.assert_no_faults();
    };
    let between = Between {
        sysctls: &[("net.ipv4.tcp_mtu_probing", "1"), ("net.ipv4.tcp_retries1", "1")],
        configure: |config| {
            config.tcp.mtu_probing = MtuProbing::OnBlackHole;
            config.tcp.retries1 = 1;
        },
        ..Between::one_path(|_| hole())
    };
    acting(case, between);
}
