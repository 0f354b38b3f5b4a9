//! Paths that change payload, as a middlebox that rewrites content does, with DSS checksums on (RFC 8684 §3.7): where
//! other paths are, no changed octet is ever read; where none is, the connection goes on as plain TCP.

mod support;

use bytes::BytesMut;
use polytcp_netem::LinkConfig;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{ConnectionId, Piece, ReadOutcome};
use polytcp_proto::packet::Transmit;
use polytcp_proto::pm::command::EndpointFlags;
use polytcp_proto::rng::Prng;
use std::cell::Cell;
use std::rc::Rc;
use support::*;

const BOTH: [Side; 2] = [Side::Client, Side::Server];

/// The client asks for checksums.
fn world(seed: u64, links: &[LinkConfig]) -> World {
    let mut client = HostConfig::default();
    client.mptcp.checksum_enabled = true;
    let mut world = World::new(seed, links, client, HostConfig::default());
    world.endpoints(EndpointFlags::SUBFLOW);
    world
}

/// Changes one octet; the device is told that TCP's checksum is right.
fn change(rng: &mut Prng, packet: &mut Transmit) {
    let mut octets = BytesMut::from(&packet.payload[..]);
    let at = rng.below(octets.len() as u64) as usize;
    octets[at] ^= 1 << rng.below(8);
    packet.payload = octets.freeze();
}

fn errors(world: &World) -> [u64; 2] {
    [&world.client, &world.server].map(|host| host.counters().data_csum_err)
}

#[test]
fn no_changed_octet_is_read_while_another_path_is_there() {
    let mut found = 0;
    for seed in 0..40 {
        for from in BOTH {
            let lossy = with_loss(mbit(20, 10), 1.0);
            let mut world = world(seed, &[lossy, mbit(20, 10), lossy]);
            let ids = world.establish();
            for way in BOTH {
                // The first path is sound, and first data goes there.
                assert_eq!(world.transfer(way, ids, 3_000, secs(20)).received, 3_000, "seed {seed}");
            }
            assert!(
                world.run_until(secs(20), |w| w.client.subflows(ids.0).unwrap().len() == 3),
                "seed {seed}"
            );
            let mut rng = Prng::new(seed);
            world.filter = Box::new(move |_, _, path, packet| {
                if path > 0 && !packet.payload.is_empty() && rng.ratio(1, 50) {
                    change(&mut rng, packet);
                }
                true
            });
            // Every octet is compared by that.
            let report = world.transfer(from, ids, 2_000_000, secs(60));
            assert_eq!(report.received, 2_000_000, "seed {seed} {report:?}");
            assert!(report.longest_pause < secs(3), "seed {seed} {report:?}");
            let [client, server] = errors(&world);
            let sum = |f: fn(&polytcp_proto::counters::Counters) -> u64| {
                f(world.client.counters()) + f(world.server.counters())
            };
            assert_eq!(sum(|c| c.mp_fail_tx), client + server, "each one is told with its reset");
            assert_eq!(sum(|c| c.dss_fallback) + sum(|c| c.infinite_map_tx), 0, "seed {seed}");
            found += client + server;
        }
    }
    assert!(found > 100, "{found} changes were found");
}

/// Sends that many octets and returns how many of them arrived changed.
fn carry(world: &mut World, from: Side, ids: (ConnectionId, ConnectionId), bytes: usize, seed: u64) -> usize {
    let ((sender, receiver), to) = match from {
        Side::Client => ((ids.0, ids.1), Side::Server),
        Side::Server => ((ids.1, ids.0), Side::Client),
    };
    let expected = pattern(0, bytes);
    let (mut written, mut read) = (0, Vec::new());
    let done = world.run_until(secs(100), |w| {
        let now = w.now;
        while written < bytes {
            let n = w.host(from).write_room(sender).unwrap_or(0).min(bytes - written).min(65_536);
            if n == 0 {
                break;
            }
            let piece = BytesMut::from(&expected[written..written + n]);
            w.host(from).write(now, sender, Piece::Growing(piece)).unwrap();
            written += n;
        }
        while let Ok(ReadOutcome::Data(data)) = w.host(to).read(now, receiver, usize::MAX) {
            read.extend_from_slice(&data);
        }
        read.len() >= bytes
    });
    assert!(done, "seed {seed}: {} of {bytes} octets from {from:?}", read.len());
    assert_eq!(read.len(), bytes, "seed {seed}");
    read.iter().zip(&expected).filter(|(a, b)| a != b).count()
}

#[test]
fn a_connection_whose_only_path_changes_payload_goes_on_as_plain_tcp() {
    for seed in 0..60 {
        for from in BOTH {
            let mut world = world(seed, &[with_loss(mbit(20, 10), 3.0)]);
            let ids = world.establish();
            for way in BOTH {
                assert_eq!(carry(&mut world, way, ids, 2_000, seed), 0);
            }
            let left = Rc::new(Cell::new(1 + seed % 3));
            let (counter, mut rng) = (left.clone(), Prng::new(seed));
            world.filter = Box::new(move |_, side, _, packet| {
                if side == from && !packet.payload.is_empty() && counter.get() > 0 && rng.ratio(1, 5) {
                    counter.set(counter.get() - 1);
                    change(&mut rng, packet);
                }
                true
            });
            let changed = carry(&mut world, from, ids, 500_000, seed);
            assert_eq!(left.get(), 0);
            assert!(changed <= 3, "seed {seed}: {changed}");
            for way in BOTH {
                assert_eq!(carry(&mut world, way, ids, 200_000, seed), 0, "seed {seed}");
            }
            let errors: u64 = errors(&world).iter().sum();
            let is_mptcp =
                [world.client.info(ids.0), world.server.info(ids.1)].map(|info| info.unwrap().is_mptcp);
            // A changed packet may have been lost, or a copy of what had arrived.
            assert_eq!(is_mptcp, [errors == 0; 2], "seed {seed}: {errors} found, {changed} read");
            assert!(errors > 0 || changed == 0, "seed {seed}");
            let now = world.now;
            for (side, id) in [(Side::Client, ids.0), (Side::Server, ids.1)] {
                world.host(side).close(now, id);
            }
            world.run_for(secs(130));
            for side in BOTH {
                let held = world.host(side).accounting();
                assert_eq!((held.connections, held.flows, held.buffered_bytes), (0, 0, 0), "seed {seed}");
            }
        }
    }
}
