//! Two hosts on emulated links: handshakes, transfers, losses, cuts and ends.

mod support;

use std::cell::Cell;
use std::num::NonZeroU32;
use std::rc::Rc;

use bytes::Bytes;
use polytcp_netem::LinkConfig;
use polytcp_proto::config::{Ecn, HostConfig, fastopen};
use polytcp_proto::host::{
    BufferLimits, ConnectOptions, ListenError, ListenOptions, Piece, Protocol, ReadOutcome,
};
use polytcp_proto::pm::command::{Endpoint, EndpointFlags, PmCommand};
use support::*;

fn world(seed: u64, links: &[LinkConfig]) -> World {
    let mut world = World::new(seed, links, HostConfig::default(), HostConfig::default());
    world.endpoints(EndpointFlags::SUBFLOW);
    world
}

const BOTH: [Side; 2] = [Side::Client, Side::Server];

#[test]
fn one_path_carries_a_stream_up_and_down() {
    for from in BOTH {
        let mut world = world(1, &[mbit(50, 10)]);
        let ids = world.establish();
        let report = world.transfer(from, ids, 5_000_000, secs(30));
        assert_eq!(report.received, 5_000_000);
        assert!(report.mbit_per_sec() > 30.0, "{report:?} {}", report.mbit_per_sec());
        assert!(world.client.info(ids.0).unwrap().is_mptcp);
        assert!(world.server.info(ids.1).unwrap().is_mptcp);
    }
}

#[test]
fn two_paths_carry_more_than_one() {
    for from in BOTH {
        let mut world = world(2, &[mbit(20, 20), mbit(10, 50)]);
        let ids = world.establish();
        let report = world.transfer(from, ids, 30_000_000, secs(60));
        assert_eq!(report.received, 30_000_000);
        assert_eq!(world.client.subflows(ids.0).unwrap().len(), 2);
        assert!(report.mbit_per_sec() > 24.0, "{report:?} {}", report.mbit_per_sec());
    }
}

#[test]
fn random_loss_costs_no_byte_and_no_stall() {
    for seed in 0..40 {
        let lossy = with_loss(mbit(20, 10), 2.0);
        let mut world = world(seed, &[lossy, lossy]);
        let ids = world.establish();
        for from in BOTH {
            let report = world.transfer(from, ids, 1_000_000, secs(60));
            assert_eq!(report.received, 1_000_000, "seed {seed} {report:?}");
            assert!(report.longest_pause < secs(3), "seed {seed} {report:?}");
        }
    }
}

#[test]
fn a_cut_path_costs_no_byte_in_either_direction() {
    for from in BOTH {
        for cut in [0, 1] {
            let mut world = world(3, &[mbit(20, 10), mbit(20, 10)]);
            let ids = world.establish();
            let first = world.transfer(from, ids, 2_000_000, secs(30));
            assert_eq!(first.received, 2_000_000);
            world.paths[cut].up.cut();
            world.paths[cut].down.cut();
            let second = world.transfer(from, ids, 2_000_000, secs(30));
            assert_eq!(second.received, 2_000_000, "{from:?} {cut} {second:?}");
            assert!(second.longest_pause < ms(600), "{from:?} {cut} {second:?}");
            let now = world.now;
            let _ = now;
            world.paths[cut].up.restore();
            world.paths[cut].down.restore();
            let third = world.transfer(from, ids, 10_000_000, secs(60));
            assert_eq!(third.received, 10_000_000, "{from:?} {cut} {third:?}");
        }
    }
}

#[test]
fn the_last_octet_survives_the_death_of_its_path() {
    for from in BOTH {
        for cut in [0, 1] {
            let mut world = world(4, &[mbit(20, 10), mbit(20, 10)]);
            let ids = world.establish();
            world.transfer(from, ids, 200_000, secs(10));
            world.run_for(secs(1));
            world.paths[cut].up.cut();
            world.paths[cut].down.cut();
            let report = world.transfer(from, ids, 1, secs(10));
            assert_eq!(report.received, 1);
            assert!(report.took < ms(300), "{from:?} {cut} {report:?}");
        }
    }
}

#[test]
fn a_slow_path_beside_a_fast_one_does_not_stall_a_small_window() {
    for from in BOTH {
        let config = || {
            let mut config = HostConfig::default();
            config.tcp.recv_buffer_bytes = NonZeroU32::new(256 << 10);
            config
        };
        let mut world = World::new(5, &[mbit(50, 1), mbit(50, 150)], config(), config());
        world.endpoints(EndpointFlags::SUBFLOW);
        let ids = world.establish();
        let report = world.transfer(from, ids, 20_000_000, secs(60));
        assert_eq!(report.received, 20_000_000);
        assert!(report.longest_pause < ms(400), "{report:?}");
        assert!(report.mbit_per_sec() > 20.0, "{report:?} {}", report.mbit_per_sec());
    }
}

/// The peer's window is large, so that it is the send buffer that fills while a slow path carries its head.
#[test]
fn a_slow_path_beside_a_fast_one_does_not_stall_a_full_send_buffer() {
    for (links, least_mbit_per_sec, longest_pause) in [
        ([mbit(100, 5), mbit(10, 80)], 90.0, ms(200)),
        // The pause is at the end, when the last data is on the slow path.
        ([mbit(50, 10), mbit(1, 100)], 42.0, secs(1)),
    ] {
        for from in BOTH {
            let config = || {
                let mut config = HostConfig::default();
                config.tcp.recv_buffer_bytes = std::num::NonZeroU32::new(32 << 20);
                config
            };
            let mut world = World::new(5, &links, config(), config());
            world.endpoints(EndpointFlags::SUBFLOW);
            let ids = world.establish();
            let report = world.transfer(from, ids, 60_000_000, secs(60));
            assert_eq!(report.received, 60_000_000);
            assert!(report.longest_pause < longest_pause, "{from:?} {links:?} {report:?}");
            let reached = report.mbit_per_sec();
            assert!(reached > least_mbit_per_sec, "{from:?} {links:?} {reached} {report:?}");
        }
    }
}

/// Small segments out of order cost more than their octets, and reinjection brings them twice.
#[test]
fn a_reader_that_pauses_on_lossy_paths_stays_within_its_memory() {
    // Buffers that were set, and buffers that grow meanwhile.
    for (seed, limit) in (0..10).flat_map(|seed| [(seed, NonZeroU32::new(64 << 10)), (seed, None)]) {
        let mut config = HostConfig::default();
        config.tcp.recv_buffer_bytes = limit;
        config.tcp.send_buffer_bytes = limit;
        let lossy = with_loss(mbit(20, 20), 5.0);
        let mut world = World::new(seed, &[lossy, lossy], config.clone(), config);
        world.endpoints(EndpointFlags::SUBFLOW);
        let ids = world.establish();
        world.run_for(ms(200));
        world.client.set_nodelay(world.now, ids.0, true).unwrap();
        let (mut written, mut received, mut most) = (0, 0, 0);
        let mut next_read = world.now;
        let all = 1_000_000;
        let done = world.run_until(secs(600), |w| {
            while written < all {
                let len = w.client.write_room(ids.0).unwrap().min(60 + (written % 977) as usize);
                if len == 0 {
                    break;
                }
                w.client.write(w.now, ids.0, Piece::Growing(pattern(written, len))).unwrap();
                written += len as u64;
            }
            let (send, recv) = (w.client.info(ids.0).unwrap(), w.server.info(ids.1).unwrap());
            for (held, size) in [
                (send.send_buffer_used, send.send_buffer_bytes),
                (recv.recv_buffer_used, recv.recv_buffer_bytes),
            ] {
                assert!(held <= size, "seed {seed}: {held} octets are held in {size}");
                assert!(limit.is_none_or(|limit| size == limit.get() as usize), "seed {seed}: {size}");
                most = most.max(held);
            }
            if w.now >= next_read {
                next_read = w.now + ms(300);
                while let Ok(ReadOutcome::Data(data)) = w.server.read(w.now, ids.1, usize::MAX) {
                    check_pattern(received, &data);
                    received += data.len() as u64;
                }
            }
            received >= all
        });
        assert!(done, "seed {seed}: {received} of {written}");
        assert!(most > 32 << 10, "the buffers were not tried: {most}");
    }
}

/// 100 Mbit/s over 100 ms are 1.25 MB on the way: ten times the receive buffer at first, and eighty times the send buffer.
#[test]
fn buffers_grow_to_what_a_long_fast_path_needs_and_no_further() {
    for from in BOTH {
        let mut world = world(7, &[mbit(100, 50)]);
        let ids = world.establish();
        let buffers = |w: &World| {
            let (send, recv) = match from {
                Side::Client => (w.client.info(ids.0).unwrap(), w.server.info(ids.1).unwrap()),
                Side::Server => (w.server.info(ids.1).unwrap(), w.client.info(ids.0).unwrap()),
            };
            (send.send_buffer_bytes, recv.recv_buffer_bytes)
        };
        let idle = buffers(&world);
        assert_eq!(idle, (32_850, 128 << 10), "two initial windows, tcp_rmem[1]");
        world.transfer(from, ids, 10_000, secs(10));
        assert_eq!(buffers(&world), idle, "a short answer needs no more");
        // As quickly as with buffers that are large from the start.
        let mut fixed = HostConfig::default();
        fixed.tcp.send_buffer_bytes = NonZeroU32::new(4 << 20);
        fixed.tcp.recv_buffer_bytes = NonZeroU32::new(6 << 20);
        let mut large = World::new(7, &[mbit(100, 50)], fixed.clone(), fixed);
        let large_ids = large.establish();
        large.transfer(from, large_ids, 10_000, secs(10));
        for bytes in [1_000_000, 10_000_000, 40_000_000] {
            let tuned = world.transfer(from, ids, bytes, secs(60));
            let fixed = large.transfer(from, large_ids, bytes, secs(60));
            println!(
                "{from:?} {bytes} bytes: {:.1} Mbit/s, {:.1} with fixed buffers; now {:?}",
                tuned.mbit_per_sec(),
                fixed.mbit_per_sec(),
                buffers(&world)
            );
            assert!(tuned.took < fixed.took + ms(110), "{bytes}: {tuned:?} {fixed:?}");
            assert!(bytes < 40_000_000 || tuned.mbit_per_sec() > 90.0, "{tuned:?} {}", tuned.mbit_per_sec());
        }
    }
}

/// `tcp_moderate_rcvbuf` 0: the buffer stays at `tcp_rmem[1]`, and the window holds the sender to it.
#[test]
fn a_receive_buffer_that_is_not_to_grow_holds_the_sender() {
    let mut config = HostConfig::default();
    config.tcp.moderate_rcvbuf = false;
    let mut world = World::new(7, &[mbit(100, 50)], HostConfig::default(), config);
    let ids = world.establish();
    let measured = world.transfer(Side::Client, ids, 4_000_000, secs(60));
    assert_eq!(world.server.info(ids.1).unwrap().recv_buffer_bytes, 128 << 10);
    let of_window = (128 << 10) as f64 * 7.0 / 8.0 * 8.0 / 0.1 / 1e6;
    let rate = measured.mbit_per_sec();
    assert!((of_window * 0.8..of_window * 1.01).contains(&rate), "{rate} Mbit/s of {of_window}");
}

#[test]
fn the_send_buffer_of_plain_tcp_grows_when_the_peer_has_closed_its_direction() {
    let mut world = world(7, &[mbit(20, 50)]);
    let listener = world.listen();
    let options =
        ConnectOptions { protocol: Protocol::Tcp, ..ConnectOptions::new((server_ip(0), 80).into()) };
    let ids = world.establish_with(listener, &options);
    world.server.shutdown(world.now, ids.1).unwrap();
    let report = world.transfer(Side::Client, ids, 10_000_000, secs(60));
    assert!(report.mbit_per_sec() > 14.0, "{report:?} {}", report.mbit_per_sec());
}

#[test]
fn plain_tcp_on_either_side_makes_plain_tcp() {
    for (client_mptcp, server_mptcp) in [(false, true), (true, false), (false, false)] {
        let config = |enabled| {
            let mut config = HostConfig::default();
            config.mptcp.enabled = enabled;
            config
        };
        let mut world =
            World::new(6, &[mbit(50, 5), mbit(50, 5)], config(client_mptcp), config(server_mptcp));
        let listen = ListenOptions {
            protocol: if server_mptcp { Protocol::Mptcp } else { Protocol::Tcp },
            ..ListenOptions::new("0.0.0.0:80".parse().unwrap())
        };
        let listener = world.server.listen(&listen).unwrap();
        let options = ConnectOptions {
            protocol: if client_mptcp { Protocol::Mptcp } else { Protocol::Tcp },
            ..ConnectOptions::new((server_ip(0), 80).into())
        };
        let ids = world.establish_with(listener, &options);
        for from in BOTH {
            assert_eq!(world.transfer(from, ids, 3_000_000, secs(20)).received, 3_000_000);
        }
        assert!(!world.client.info(ids.0).unwrap().is_mptcp);
        assert!(!world.server.info(ids.1).unwrap().is_mptcp);
        close_both(&mut world, ids);
    }
}

#[test]
fn infos_tell_what_went_over_both_paths() {
    let mut world = world(8, &[mbit(50, 5), mbit(50, 5)]);
    let ids = world.establish();
    world.run_for(secs(1));
    world.transfer(Side::Client, ids, 2_000_000, secs(30));
    world.run_for(secs(1));
    let info = world.client.mptcp_info(world.now, ids.0).unwrap();
    assert_eq!((info.subflows, info.subflows_total, info.fallback), (1, 2, false));
    assert_eq!((info.bytes_sent, info.bytes_acked), (2_000_000, 2_000_000));
    assert_eq!(info.write_seq, info.snd_una);
    let flows = world.client.tcp_infos(world.now, ids.0);
    let acked: u64 = flows.iter().map(|(_, flow)| flow.bytes_acked).sum();
    assert!(flows.len() == 2 && acked >= 2_000_000, "{acked}");
    assert!(flows.iter().all(|(_, flow)| flow.unacked_bytes == 0 && flow.rtt.is_some()));
    let server = world.server.mptcp_info(world.now, ids.1).unwrap();
    assert_eq!((server.bytes_received, server.rcv_nxt), (2_000_000, info.write_seq));
    let ends = world.server.subflow_addrs(ids.1);
    assert_eq!(ends.iter().map(|ends| ends.local.ip()).collect::<Vec<_>>(), [server_ip(0), server_ip(0)]);
}

#[test]
fn buffers_that_are_set_bound_what_is_on_the_way() {
    let size = |bytes| NonZeroU32::new(bytes);
    for (send, recv) in [(size(40_000), None), (None, size(40_000))] {
        let mut world = world(9, &[mbit(50, 5)]);
        let listen = ListenOptions {
            buffers: BufferLimits { recv, ..BufferLimits::default() },
            ..ListenOptions::new("0.0.0.0:80".parse().unwrap())
        };
        let listener = world.server.listen(&listen).unwrap();
        let connect = ConnectOptions {
            buffers: BufferLimits { send, ..BufferLimits::default() },
            ..ConnectOptions::new((server_ip(0), 80).into())
        };
        let ids = world.establish_with(listener, &connect);
        // Nobody reads.
        let mut written = 0;
        world.run_until(secs(2), |world| {
            let room = world.client.write_room(ids.0).unwrap().min(100_000);
            if room > 1 {
                let piece = Piece::Fixed(Bytes::from(vec![7; room]));
                world.client.write(world.now, ids.0, piece).unwrap();
                written += room;
            }
            false
        });
        let arrived = world.server.info(ids.1).unwrap().bytes_readable;
        let waiting = written - arrived;
        match (send, recv) {
            (Some(_), _) => assert!(waiting <= 40_000, "{waiting}"),
            _ => assert!((20_000..=40_000).contains(&arrived), "{arrived}"),
        }
        // What was set stays set.
        let buffers = BufferLimits { send: size(1_000_000), recv: size(1_000_000), segment: None };
        world.server.set_buffers(ids.1, buffers).unwrap();
        assert_eq!(world.server.info(ids.1).unwrap().recv_buffer_bytes, 1_000_000);
    }
}

#[test]
fn listeners_that_share_a_port_share_its_connections() {
    let mut world = world(7, &[mbit(50, 5)]);
    let options =
        |reuse_port| ListenOptions { reuse_port, ..ListenOptions::new("0.0.0.0:80".parse().unwrap()) };
    let listeners = [(); 2].map(|()| world.server.listen(&options(true)).unwrap());
    assert_eq!(world.server.listen(&options(false)), Err(ListenError::AddressInUse));
    for _ in 0..40 {
        world.connect();
    }
    world.run_for(secs(2));
    let counts = listeners.map(|listener| world.server.incoming(listener));
    assert_eq!(counts[0] + counts[1], 40);
    assert!(counts.iter().all(|count| *count >= 8), "{counts:?}");
}

#[test]
fn a_known_server_answers_data_on_the_syn_after_one_round_trip() {
    let mut config = HostConfig::default();
    config.tcp.fastopen = fastopen::CLIENT_ENABLE | fastopen::SERVER_ENABLE;
    let mut world = World::new(11, &[mbit(50, 50)], config.clone(), config);
    let listener = world.listen();
    let mut took = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Tcp, Protocol::Mptcp] {
        let options = ConnectOptions {
            protocol,
            data: Bytes::from_static(b"request"),
            ..ConnectOptions::new((server_ip(0), 80).into())
        };
        let start = world.now;
        let client = world.client.connect(start, &options).unwrap();
        let (mut server, mut read_at) = (None, None);
        assert!(world.run_until(secs(5), |w| {
            let now = w.now;
            server = server.or_else(|| w.server.accept(listener));
            if let Some(id) = server
                && let Ok(ReadOutcome::Data(data)) = w.server.read(now, id, 100)
            {
                assert_eq!(&data[..], b"request");
                read_at = Some(now);
                w.server.write(now, id, Piece::Fixed(Bytes::from_static(b"answer"))).unwrap();
            }
            matches!(w.client.read(now, client, 100), Ok(ReadOutcome::Data(data)) if data[..] == *b"answer")
        }));
        took.push((read_at.unwrap().since(start).as_millis(), world.now.since(start).as_millis()));
        assert_eq!(world.client.info(client).unwrap().is_mptcp, protocol == Protocol::Mptcp);
        close_both(&mut world, (client, server.unwrap()));
    }
    // Asked for a cookie; used it; used it with MPTCP, whose answer waits for the key in the third ACK.
    assert_eq!(took, [(150, 200), (50, 100), (50, 200)]);
}

/// Half-closes from the client, then the server, and checks that nothing stays but TIME-WAIT, and that
/// too is gone after its time.
fn close_both(
    world: &mut World,
    ids: (polytcp_proto::host::ConnectionId, polytcp_proto::host::ConnectionId),
) {
    let now = world.now;
    world.client.write(now, ids.0, Piece::Fixed(Bytes::from_static(b"last words"))).unwrap();
    world.client.shutdown(now, ids.0).unwrap();
    assert!(world.run_until(secs(10), |w| w.server.readiness(ids.1).read_closed));
    let now = world.now;
    let ReadOutcome::Data(words) = world.server.read(now, ids.1, 100).unwrap() else { panic!("no data") };
    assert_eq!(&words[..], b"last words");
    assert_eq!(world.server.read(now, ids.1, 100), Ok(ReadOutcome::Finished));
    world.server.write(now, ids.1, Piece::Fixed(Bytes::from_static(b"answer"))).unwrap();
    assert!(world.run_until(secs(10), |w| w.client.readiness(ids.0).readable));
    let now = world.now;
    let ReadOutcome::Data(words) = world.client.read(now, ids.0, 100).unwrap() else { panic!("no data") };
    assert_eq!(&words[..], b"answer");
    world.server.close(now, ids.1);
    assert!(
        world.run_until(secs(10), |w| w.client.readiness(ids.0).hup),
        "{:?}",
        world.client.readiness(ids.0)
    );
    let now = world.now;
    world.client.close(now, ids.0);
    world.run_for(secs(5));
    for side in BOTH {
        let held = world.host(side).accounting();
        assert_eq!(
            (held.connections, held.flows, held.half_open, held.tokens),
            (0, 0, 0, 0),
            "{side:?} {held:?}"
        );
        assert_eq!(held.buffered_bytes, 0);
    }
    world.run_for(secs(61));
    for side in BOTH {
        let held = world.host(side).accounting();
        assert_eq!((held.time_wait, held.timers), (0, 0), "{side:?} {held:?}");
    }
}

#[test]
fn a_closed_connection_leaves_nothing_behind() {
    for paths in [1, 2] {
        let links = vec![mbit(50, 5); paths];
        let mut world = world(7, &links);
        let ids = world.establish();
        world.transfer(Side::Client, ids, 500_000, secs(10));
        close_both(&mut world, ids);
    }
}

#[test]
fn an_abort_reaches_the_peer_on_every_subflow() {
    for from in BOTH {
        let mut world = world(8, &[mbit(50, 5), mbit(50, 5)]);
        let ids = world.establish();
        world.transfer(from, ids, 500_000, secs(10));
        let now = world.now;
        let (own, other, peer) = match from {
            Side::Client => (ids.0, ids.1, Side::Server),
            Side::Server => (ids.1, ids.0, Side::Client),
        };
        world.host(from).abort(now, own);
        assert!(world.run_until(secs(5), |w| w.host(peer).readiness(other).error));
        let now = world.now;
        world.host(peer).close(now, other);
        world.run_for(secs(1));
        for side in BOTH {
            let held = world.host(side).accounting();
            assert_eq!((held.connections, held.flows, held.time_wait), (0, 0, 0), "{side:?} {held:?}");
        }
    }
}

#[test]
fn both_directions_at_once_over_lossy_paths() {
    for seed in 0..10 {
        let mut world = world(seed, &[with_loss(mbit(20, 10), 1.0), mbit(10, 30)]);
        let ids = world.establish();
        let total = 1_000_000u64;
        let mut written = [0u64; 2];
        let mut read = [0u64; 2];
        let done = world.run_until(secs(60), |w| {
            for (i, side) in BOTH.into_iter().enumerate() {
                let id = if i == 0 { ids.0 } else { ids.1 };
                let now = w.now;
                let room = w.host(side).write_room(id).unwrap() as u64;
                let n = room.min(total - written[i]).min(20_000);
                if n > 0 {
                    let piece = Piece::Growing(pattern(written[i], n as usize));
                    w.host(side).write(now, id, piece).unwrap();
                    written[i] += n;
                }
                while let Ok(ReadOutcome::Data(data)) = w.host(side).read(now, id, 10_000) {
                    check_pattern(read[i], &data);
                    read[i] += data.len() as u64;
                }
            }
            read == [total; 2]
        });
        assert!(done, "seed {seed}: {read:?}");
    }
}

/// While large segments are under way on a fast path, small writes gather to several of them: a peer that has
/// nothing else to do is woken once for all.
/// A window of octets is no number of full segments; what is left of it waits for more.
#[test]
fn while_more_waits_only_full_segments_leave() {
    const BLOCK: u64 = 65_536;
    for protocol in [Protocol::Mptcp, Protocol::Tcp] {
        let config = HostConfig::default();
        let link = with_loss(mbit(20, 15), 0.5);
        let mut world = World::with_segments(65_535, 9, &[link, link], config.clone(), config);
        world.endpoints(EndpointFlags::SUBFLOW);
        let listener = world.listen();
        let options = ConnectOptions { protocol, ..ConnectOptions::new((server_ip(0), 80).into()) };
        let ids = world.establish_with(listener, &options);
        // Timestamps, and with MPTCP the largest DSS.
        let mss = if protocol == Protocol::Mptcp { 1420 } else { 1448 };
        let seen = Rc::new(Cell::new([0_u64; 2]));
        let tally = seen.clone();
        world.filter = Box::new(move |_, _, _, packet| {
            let [small, full] = tally.get();
            let len = packet.payload.len() as u64;
            tally.set([small + u64::from(!len.is_multiple_of(mss)), full + len / mss]);
            true
        });
        let report = world.transfer(Side::Client, ids, 200 * BLOCK, secs(60));
        assert_eq!(report.received, 200 * BLOCK);
        let [small, full] = seen.get();
        assert!(small * 10 < full, "{small} small ones and {full} full ones");
    }
}

/// CWR goes on a segment of its own, which a device need not cut. BBR does not answer marks and owes none, though ECN was
/// agreed on: after a loss it goes on in bursts.
#[test]
fn an_algorithm_without_an_answer_to_marks_sends_bursts_after_a_loss() {
    let mut config = HostConfig::default();
    config.tcp.ecn = Ecn::Request;
    config.tcp.congestion_control = "bbr".into();
    let link = with_loss(mbit(200, 10), 0.5);
    let mut world = World::with_segments(65_535, 9, &[link], config.clone(), config);
    let ids = world.establish();
    assert_eq!(world.transfer(Side::Client, ids, 4_000_000, secs(10)).received, 4_000_000);
    let full = Rc::new(Cell::new([0_u64; 2]));
    let tally = full.clone();
    world.filter = Box::new(move |_, _, _, packet| {
        let [packets, segments] = tally.get();
        let len = packet.payload.len() as u64;
        tally.set([packets + u64::from(len > 0), segments + len.div_ceil(1_400)]);
        true
    });
    assert_eq!(world.transfer(Side::Client, ids, 4_000_000, secs(10)).received, 4_000_000);
    let [packets, segments] = full.get();
    assert!(segments > 3 * packets, "{segments} segments in {packets} packets");
}

#[test]
fn small_writes_on_a_fast_path_leave_in_batches() {
    let config = HostConfig::default();
    let mut world = World::with_segments(65_535, 5, &[mbit(10_000, 1)], config.clone(), config);
    let ids = world.establish();
    let at = 20_000_000;
    assert_eq!(world.transfer(Side::Client, ids, at, secs(5)).received, at);
    world.run_for(ms(100));
    let mut block = pattern(at, 2_000_000);
    let mut piece = |len: usize| Piece::Growing(block.split_to(len));
    let sent = world.packets;
    world.client.write(world.now, ids.0, piece(400_000)).unwrap();
    world.flush();
    assert_eq!(world.packets, sent + 6, "full segments; the rest waits for more");
    let mut gathered = 400_000 - 6 * 65_428;
    let full = loop {
        match world.client.gather(ids.0, piece(1_400)) {
            Ok(()) => gathered += 1_400,
            Err(returned) => break returned,
        }
    };
    assert!((260_000..262_144).contains(&gathered), "{gathered} gathered");
    world.client.write(world.now, ids.0, full).unwrap();
    world.flush();
    assert_eq!(world.packets, sent + 6 + 4);
}

/// Small writes behind a segment that is under way gather without a poll, and leave by the timer.
#[test]
fn small_writes_gather_and_leave_in_time() {
    let mut world = world(4, &[mbit(100, 10)]);
    let ids = world.establish();
    let mut at = 100_000;
    world.transfer(Side::Client, ids, at, secs(5));
    world.run_for(ms(100));
    // One block of memory, as a socket fills it.
    let mut block = pattern(at, 10_000);
    let mut piece = |len: u64| Piece::Growing(block.split_to(len as usize));
    let mss = u64::from(world.client.subflows(ids.0).unwrap()[0].mss_bytes);
    let Err(returned) = world.client.gather(ids.0, piece(mss)) else { panic!("nothing is under way") };
    let sent = world.packets;
    for piece in [returned, piece(100)] {
        world.client.write(world.now, ids.0, piece).unwrap();
        world.flush();
        assert_eq!(world.packets, sent + 1, "a small write waits for more");
    }
    let mut gathered = 100;
    while world.client.gather(ids.0, piece(100)).is_ok() {
        gathered += 100;
        assert!(gathered < 1500, "a full segment does not wait");
    }
    assert!(gathered >= 1300, "only a full segment does not wait, not one of {gathered}");
    world.flush();
    assert_eq!(world.packets, sent + 1);
    at += mss + gathered;
    let mut received = 100_000;
    // One way, the gathering, and little more.
    assert!(world.run_until(ms(12), |w| {
        while let Ok(ReadOutcome::Data(data)) = w.server.read(w.now, ids.1, usize::MAX) {
            check_pattern(received, &data);
            received += data.len() as u64;
        }
        received == at
    }));
}

/// Eight addresses at the client, all of them at each of four addresses of the server.
#[test]
fn thirty_two_subflows_carry_one_stream() {
    let config = || {
        let mut config = HostConfig::default();
        (config.mptcp.subflows, config.mptcp.add_addr_accepted) = (31, 3);
        config
    };
    let mut world = World::new(21, &[mbit(10, 10); 8], config(), config());
    for path in 0..8 {
        let endpoint = Endpoint::new(client_ip(path), EndpointFlags::SUBFLOW | EndpointFlags::FULLMESH);
        world.client.command(world.now, &PmCommand::AddAddr(endpoint)).unwrap();
    }
    for path in 1..4 {
        let endpoint = Endpoint::new(server_ip(path), EndpointFlags::SIGNAL);
        world.server.command(world.now, &PmCommand::AddAddr(endpoint)).unwrap();
    }
    let ids = world.establish();
    let count =
        |w: &World| (w.client.subflows(ids.0).unwrap().len(), w.server.subflows(ids.1).unwrap().len());
    assert!(world.run_until(secs(5), |w| count(w) == (32, 32)), "{:?}", count(&world));
    for from in BOTH {
        let report = world.transfer(from, ids, 20_000_000, secs(30));
        assert_eq!(report.received, 20_000_000);
        assert!(report.mbit_per_sec() > 40.0, "{report:?} {}", report.mbit_per_sec());
    }
    let sent = |w: &World| w.client.subflows(ids.0).unwrap().iter().filter(|s| s.bytes_sent > 0).count();
    assert_eq!(sent(&world), 32, "each carried something");
    // All paths but one go, and 28 subflows with them.
    for path in 1..8 {
        world.paths[path].up.cut();
        world.paths[path].down.cut();
    }
    for from in BOTH {
        assert_eq!(world.transfer(from, ids, 2_000_000, secs(60)).received, 2_000_000);
    }
    assert_eq!(world.client.counters().mp_join_rejected + world.server.counters().mp_join_rejected, 0);
}
