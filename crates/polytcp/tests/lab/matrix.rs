//! Every combination of role, family, direction and number of paths.

use std::num::NonZeroU32;
use std::time::Duration;

use polytcp::io::{Direction, LinkConfig};
use polytcp_lab::require_or_skip;

use crate::bounded::bounded;
use crate::transfer::{Manner, Outcome, Way};
use crate::world::{Client, Ends, Family, Plan, World};

const BYTES: u64 = 64 << 20;
const WRAP_BYTES: u64 = 16 << 20;
const EMULATED_BYTES: u64 = 16 << 20;
/// How far before their wrap sequence numbers start.
const NEAR: u32 = 1 << 20;

/// Connects, waits for the joins, transfers, and judges; then closes.
fn run(world: &World, way: Way, bytes: u64, judge: impl FnOnce(&Ends)) -> Outcome {
    let ends = world.connect();
    let paths = world.plan.links.len();
    // The client's first octet, which lets both sides join (RFC 8684 §3.1).
    let greeting = match world.plan.client {
        Client::Stack => Way::Upload,
        Client::Kernel => Way::Download,
    };
    world.transfer(&ends, greeting, Manner::new(1, 1));
    world.await_subflows(&ends, paths);
    let outcome = world.transfer(&ends, way, Manner::new(2, bytes));
    world.assert_sound(&ends);
    judge(&ends);
    world.close(&ends, way);
    outcome
}

/// Payload octets that each path carried `way`.
fn carried(world: &World, way: Way) -> Vec<u64> {
    let of = |log: &std::sync::Arc<crate::watched::Log>| match way {
        Way::Upload => log.sent.payload_bytes(),
        Way::Download => log.received.payload_bytes(),
    };
    world.logs.iter().map(of).collect()
}

/// Octets of the mean packet with data.
fn mean(world: &World, way: Way) -> u64 {
    let directions = world.logs.iter().map(|log| match way {
        Way::Upload => &log.sent,
        Way::Download => &log.received,
    });
    let (packets, bytes) = directions.fold((0, 0), |(packets, bytes), direction| {
        (packets + direction.data_packets(), bytes + direction.data_packet_bytes())
    });
    bytes / packets.max(1)
}

fn bare(client: Client, family: Family) {
    if !require_or_skip() {
        return;
    }
    for way in [Way::Upload, Way::Download] {
        for paths in [1, 2] {
            let name = format!("{client:?} is client, {family:?}, {way:?}, {paths} paths");
            bounded(&name.clone(), move || {
                let world = World::new(Plan::bare(client, family, paths));
                let outcome = run(&world, way, BYTES, |ends| {
                    let carried = carried(&world, way);
                    let idle = carried.contains(&0);
                    assert!(!idle, "a path carried nothing: {carried:?}\n{}", world.describe(Some(ends)));
                });
                let rate = outcome.mbit_per_sec(BYTES);
                let pause = outcome.longest_pause.as_millis();
                let carried = carried(&world, way);
                println!(
                    "{name}: {rate:.0} Mbit/s, longest pause {pause} ms, {carried:?}, {} a packet",
                    mean(&world, way)
                );
            });
        }
    }
}

#[test]
fn the_stack_is_client_over_ipv4() {
    bare(Client::Stack, Family::V4);
}

#[test]
fn the_stack_is_client_over_ipv6() {
    bare(Client::Stack, Family::V6);
}

#[test]
fn the_stack_is_server_over_ipv4() {
    bare(Client::Kernel, Family::V4);
}

#[test]
fn the_stack_is_server_over_ipv6() {
    bare(Client::Kernel, Family::V6);
}

/// Both directions at full speed at the same time, so that every acknowledgement rides on data.
fn both_directions(client: Client, family: Family) {
    if !require_or_skip() {
        return;
    }
    for paths in [1, 2] {
        let name = format!("both directions, {client:?} is client, {family:?}, {paths} paths");
        bounded(&name.clone(), move || {
            both_ways(&World::new(Plan::bare(client, family, paths)), &name);
        });
    }
}

fn both_ways(world: &World, name: &str) {
    run(world, Way::Upload, 1, |ends| {
        let down = std::thread::scope(|scope| {
            let up = || world.transfer(ends, Way::Upload, Manner::new(3, WRAP_BYTES));
            let up = scope.spawn(up);
            let down = world.transfer(ends, Way::Download, Manner::new(4, WRAP_BYTES));
            up.join().expect("no panic");
            down
        });
        world.assert_sound(ends);
        println!("{name}: {:.0} Mbit/s down", down.mbit_per_sec(WRAP_BYTES));
    });
}

#[test]
fn both_directions_flow_at_once() {
    both_directions(Client::Stack, Family::V4);
    both_directions(Client::Kernel, Family::V6);
}

/// Data sequence numbers and sequence numbers that pass 2^32 early.
fn near_wrap(client: Client, family: Family) {
    if !require_or_skip() {
        return;
    }
    for way in [Way::Upload, Way::Download] {
        for paths in [1, 2] {
            let name = format!("near wrap, {client:?} is client, {family:?}, {way:?}, {paths} paths");
            bounded(&name, move || {
                let mut plan = Plan::bare(client, family, paths);
                plan.config.mptcp.idsn_near_wrap_bytes = Some(NEAR);
                plan.config.tcp.isn_near_wrap_bytes = NonZeroU32::new(NEAR);
                let world = World::new(plan);
                run(&world, way, WRAP_BYTES, |ends| {
                    let info = ends.kernel.mptcp_info().expect("MPTCP_INFO");
                    let first = info.rcv_nxt.wrapping_sub(info.bytes_received) as u32;
                    assert!(first >= u32::MAX - NEAR, "the stack's first DSN was not near: {first:#x}");
                    for log in &world.logs {
                        let seqs = log.sent.syn_seqs();
                        let near = seqs.iter().all(|seq| *seq >= u32::MAX - NEAR);
                        assert!(near && !seqs.is_empty(), "initial sequence numbers {seqs:x?}");
                    }
                });
            });
        }
    }
}

#[test]
fn sequence_numbers_of_a_client_wrap() {
    near_wrap(Client::Stack, Family::V4);
    near_wrap(Client::Stack, Family::V6);
}

#[test]
fn sequence_numbers_of_a_server_wrap() {
    near_wrap(Client::Kernel, Family::V4);
    near_wrap(Client::Kernel, Family::V6);
}

fn shared_by_links(client: Client, family: Family, way: Way) {
    let name = format!("2 links of 100 Mbit/s and 10 ms, {client:?} is client, {family:?}, {way:?}");
    bounded(&name.clone(), move || {
        let link = LinkConfig::new(100_000_000, Duration::from_millis(10));
        let world = World::new(Plan::emulated(client, family, [link, link]));
        let outcome = run(&world, way, EMULATED_BYTES, |_| {});
        let direction = match way {
            Way::Upload => Direction::Egress,
            Way::Download => Direction::Ingress,
        };
        let delivered: Vec<_> =
            world.links.iter().map(|link| link.stats(direction).link.delivered_bytes).collect();
        let total: u64 = delivered.iter().sum();
        let rate = outcome.mbit_per_sec(EMULATED_BYTES);
        let pause = outcome.longest_pause.as_millis();
        println!("{name}: {rate:.0} Mbit/s, longest pause {pause} ms, {delivered:?}");
        let fair = delivered.iter().all(|bytes| bytes * 5 >= total);
        assert!(fair, "a path carried less than a fifth: {delivered:?}\n{}", world.describe(None));
    });
}

#[test]
fn two_links_share_what_the_stack_sends() {
    if require_or_skip() {
        shared_by_links(Client::Stack, Family::V4, Way::Upload);
        shared_by_links(Client::Kernel, Family::V4, Way::Upload);
        shared_by_links(Client::Stack, Family::V6, Way::Upload);
    }
}

#[test]
fn two_links_share_what_the_kernel_sends() {
    if require_or_skip() {
        shared_by_links(Client::Stack, Family::V4, Way::Download);
        shared_by_links(Client::Kernel, Family::V4, Way::Download);
    }
}
