//! Congestion control over emulated links in virtual time: fairness at a shared bottleneck, and losses that are no
//! congestion.
//!
//! A share is the median over seeds. `POLYTCP_SEEDS` is how many are run; the default is few, so that the tests
//! take seconds.

mod support;

use std::num::NonZeroU64;

use bytes::Bytes;
use polytcp_netem::LinkConfig;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{ConnectOptions, ConnectionId, Piece, Protocol, ReadOutcome};
use polytcp_proto::pm::command::EndpointFlags;
use polytcp_proto::time::Duration;
use support::*;

/// A bulk transfer from client to server.
struct Bulk {
    client: ConnectionId,
    server: ConnectionId,
    received: u64,
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    0..std::env::var("POLYTCP_SEEDS").map_or(default, |text| text.parse().expect("a number"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn start(world: &mut World, protocol: Protocol, congestion_control: &str) -> Bulk {
    let port = if protocol == Protocol::Tcp { 81 } else { 80 };
    let listener = world.listen_at(port);
    let remote = std::net::SocketAddr::new(server_ip(0), port);
    let options = ConnectOptions {
        protocol,
        congestion_control: Some(congestion_control.to_owned()),
        ..ConnectOptions::new(remote)
    };
    let (client, server) = world.establish_with(listener, &options);
    Bulk { client, server, received: 0 }
}

/// Keeps all transfers going for `duration`.
fn pump(world: &mut World, bulks: &mut [Bulk], duration: Duration) {
    let block = Bytes::from_static(&[0x5a; 65_536]);
    world.run_until(duration, |w| {
        let now = w.now;
        for bulk in &mut *bulks {
            while w.client.readiness(bulk.client).writable {
                let len = w.client.write_room(bulk.client).unwrap().min(block.len());
                w.client.write(now, bulk.client, Piece::Fixed(block.slice(..len))).unwrap();
            }
            while let Ok(ReadOutcome::Data(data)) = w.server.read(now, bulk.server, usize::MAX) {
                bulk.received += data.len() as u64;
            }
        }
        false
    });
}

/// The share that a connection of two subflows takes beside one TCP flow, all over one link.
fn share_beside_tcp(seed: u64, multi: &str, single: &str) -> f64 {
    let bottleneck = LinkConfig {
        rate_bits_per_sec: NonZeroU64::new(10_000_000),
        delay: ms(15),
        jitter: Duration::from_micros(500),
        queue_bytes: Some(60_000),
        ..LinkConfig::default()
    };
    let mut world = World::new(seed, &[bottleneck; 2], HostConfig::default(), HostConfig::default());
    world.endpoints(EndpointFlags::SUBFLOW);
    world.is_shared = true;
    let mut bulks = vec![start(&mut world, Protocol::Tcp, single), start(&mut world, Protocol::Mptcp, multi)];
    pump(&mut world, &mut bulks, secs(8) + ms(seed * 37));
    assert_eq!(world.client.subflows(bulks[1].client).unwrap().len(), 2);
    bulks.iter_mut().for_each(|bulk| bulk.received = 0);
    pump(&mut world, &mut bulks, secs(50));
    let total: u64 = bulks.iter().map(|bulk| bulk.received).sum();
    assert!(total * 8 > 50 * 8_500_000, "seed {seed} {multi}: the link carried {total} bytes");
    bulks[1].received as f64 / total as f64
}

fn median_share(multi: &str, single: &str) -> f64 {
    let shares: Vec<f64> = seeds(3).map(|seed| share_beside_tcp(seed, multi, single)).collect();
    println!("{multi} beside {single}: {shares:.2?}");
    median(shares)
}

#[test]
fn two_lia_subflows_take_the_share_of_one_flow() {
    let share = median_share("lia", "reno");
    assert!((0.35..=0.60).contains(&share), "{share}");
}

#[test]
fn two_olia_subflows_take_the_share_of_one_flow() {
    let share = median_share("olia", "reno");
    assert!((0.35..=0.60).contains(&share), "{share}");
}

#[test]
fn two_balia_subflows_take_the_share_of_one_flow() {
    let share = median_share("balia", "reno");
    assert!((0.35..=0.60).contains(&share), "{share}");
}

#[test]
fn two_cubic_subflows_take_the_share_of_two_flows() {
    let share = median_share("cubic", "cubic");
    assert!((0.58..=0.75).contains(&share), "{share}");
}

/// What an MPTCP connection with a lossy path delivers in 30 s, in octets; `backup` is a second path that is kept.
fn bulk_with_backup(seed: u64, congestion_control: &str, backup: Option<LinkConfig>) -> f64 {
    let mut links = vec![with_loss(mbit(20, 50), 1.0)];
    links.extend(backup);
    let mut world = World::new(seed, &links, HostConfig::default(), HostConfig::default());
    world.endpoints(EndpointFlags::SUBFLOW | EndpointFlags::BACKUP);
    let mut bulks = [start(&mut world, Protocol::Mptcp, congestion_control)];
    pump(&mut world, &mut bulks, secs(30));
    assert_eq!(world.client.subflows(bulks[0].client).unwrap().len(), links.len());
    bulks[0].received as f64
}

#[test]
fn a_backup_that_is_not_used_does_not_slow_the_path_that_is() {
    for name in ["lia", "olia", "balia"] {
        let ratio =
            |seed| bulk_with_backup(seed, name, Some(mbit(20, 5))) / bulk_with_backup(seed, name, None);
        let ratio = median(seeds(5).map(ratio).collect());
        assert!((0.8..1.25).contains(&ratio), "{name}: {ratio:.2} of what it is alone");
    }
}

/// What one TCP flow delivers over 100 Mbit/s and 40 ms of round trip with losses, as a part of the link.
fn use_of_a_lossy_link(seed: u64, congestion_control: &str, loss_percent: f64) -> f64 {
    let link = with_loss(mbit(100, 20), loss_percent);
    let mut world = World::new(seed, &[link], HostConfig::default(), HostConfig::default());
    let mut bulks = [start(&mut world, Protocol::Tcp, congestion_control)];
    let begin = world.now;
    pump(&mut world, &mut bulks, secs(10));
    bulks[0].received as f64 * 8.0 / world.now.since(begin).as_secs_f64() / 100e6
}

#[test]
fn bbr_fills_a_link_that_loses_one_packet_in_a_hundred() {
    let used: Vec<f64> = seeds(7).map(|seed| use_of_a_lossy_link(seed, "bbr", 1.0)).collect();
    println!("bbr: {used:.2?}");
    let used = median(used);
    assert!(used >= 0.80, "{used}");
    let cubic = use_of_a_lossy_link(0, "cubic", 1.0);
    assert!(cubic < 0.40, "the link is hard: cubic gets {cubic}");
}

#[test]
fn bbr_keeps_the_queue_short() {
    let mut world = World::new(7, &[mbit(20, 20)], HostConfig::default(), HostConfig::default());
    let mut bulks = [start(&mut world, Protocol::Tcp, "bbr")];
    pump(&mut world, &mut bulks, secs(3));
    bulks[0].received = 0;
    let mut round_trips = Vec::new();
    for _ in 0..40 {
        pump(&mut world, &mut bulks, ms(100));
        round_trips
            .push(world.client.subflows(bulks[0].client).unwrap()[0].srtt.unwrap_or_default().as_secs_f64());
    }
    let used = bulks[0].received as f64 * 8.0 / 4.0 / 20e6;
    assert!(used > 0.85, "{used}");
    let typical = median(round_trips);
    assert!(typical < 0.055, "{typical}");
}

/// What a flow delivers is the application's rate while that is the smaller, and says nothing of the path.
#[test]
fn bbr_is_as_fast_as_ever_after_a_time_of_little_to_send() {
    let mut world = World::new(3, &[mbit(100, 20)], HostConfig::default(), HostConfig::default());
    let mut bulks = [start(&mut world, Protocol::Tcp, "bbr")];
    for _ in 0..150 {
        let piece = Piece::Fixed(Bytes::from_static(&[0; 3_000]));
        world.client.write(world.now, bulks[0].client, piece).unwrap();
        world.run_for(ms(20));
        while let Ok(ReadOutcome::Data(_)) = world.server.read(world.now, bulks[0].server, usize::MAX) {}
    }
    pump(&mut world, &mut bulks, ms(300));
    bulks[0].received = 0;
    pump(&mut world, &mut bulks, secs(1));
    let rate = bulks[0].received as f64 * 8.0 / 1e6;
    assert!(rate > 80.0, "{rate} Mbit/s");
}
