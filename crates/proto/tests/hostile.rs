//! A hostile network: a million mutated packets, floods, and forgeries beside a live transfer. No input may panic,
//! loop, or make the host hold more than it was configured for.

mod support;

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use polytcp_proto::config::{HostConfig, fastopen};
use polytcp_proto::host::{Accounting, ConnectionId, Host, Piece, ReadOutcome};
use polytcp_proto::packet::{InterfaceId, Received, Transmit};
use polytcp_proto::pm::command::EndpointFlags;
use polytcp_proto::rng::Prng;
use polytcp_wire::ip::{self, Addresses};
use polytcp_wire::tcp::{self, CHECKSUM_OFFSET, TcpFlags};
use polytcp_wire::virtio::{Checksum, VnetHdr};
use support::*;

/// Packets of the run: some eight seconds at optimisation level 1.
const PACKETS: u64 = 1_000_000;
/// Packets out for one packet in, beyond what a window holds: an acknowledgement may release this much.
const OUT_MAX: usize = 6_000;

fn small_buffers() -> HostConfig {
    let mut config = HostConfig::default();
    config.tcp.recv_buffer_bytes = core::num::NonZeroU32::new(256 << 10);
    config.tcp.send_buffer_bytes = core::num::NonZeroU32::new(256 << 10);
    config.tcp.time_wait_max = 512;
    // Any SYN with data makes a connection.
    config.tcp.fastopen = fastopen::SERVER_ENABLE | fastopen::SERVER_COOKIE_NOT_REQD;
    config.mptcp.add_addr_accepted = 4;
    config.mptcp.subflows = 4;
    config
}

/// Copies of packets that passed the links, with the side that received them.
type Tape = std::rc::Rc<std::cell::RefCell<Vec<(Side, usize, Bytes)>>>;

fn taped(seed: u64) -> (World, Tape) {
    taped_with(seed, false)
}

fn taped_with(seed: u64, checksums: bool) -> (World, Tape) {
    let links = [mbit(100, 2), mbit(50, 5), mbit(20, 10)];
    let mut config = small_buffers();
    config.mptcp.checksum_enabled = checksums;
    let mut world = World::new(seed, &links, config.clone(), config);
    world.endpoints(EndpointFlags::SUBFLOW);
    let tape: Tape = std::rc::Rc::default();
    let recorder = tape.clone();
    world.filter = Box::new(move |_, from, path, packet| {
        let mut tape = recorder.borrow_mut();
        let to = match from {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        let copy = whole(packet);
        if tape.len() < 512 {
            tape.push((to, path, copy));
        } else {
            // The latest packets are the ones whose numbers are in the window.
            let at = (u64::from_be_bytes(*copy.last_chunk().unwrap_or(&[7; 8])) % 512) as usize;
            tape[at] = (to, path, copy);
        }
        true
    });
    (world, tape)
}

/// The octets of a packet with a complete checksum.
fn whole(packet: &Transmit) -> Bytes {
    let mut bytes = BytesMut::from(packet.header.as_slice());
    bytes.extend_from_slice(&packet.payload);
    fix_checksums(&mut bytes);
    bytes.freeze()
}

/// Makes the checksums right, where the packet is enough of a packet to have some.
fn fix_checksums(bytes: &mut [u8]) {
    if bytes.first().is_some_and(|b| b >> 4 == 4) {
        let header_len = usize::from(bytes[0] & 15) * 4;
        if header_len >= 20 && bytes.len() >= header_len {
            bytes[10..12].fill(0);
            let mut sum = polytcp_wire::checksum::Sum::ZERO;
            sum.add_bytes(&bytes[..header_len]);
            let sum = sum.finish();
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        }
    }
    let Ok(parsed) = ip::parse(bytes) else { return };
    let segment = &mut bytes[parsed.payload_offset..parsed.total_len];
    if parsed.header.protocol == ip::PROTOCOL_TCP && segment.len() >= 20 {
        segment[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].fill(0);
        let sum = tcp::checksum_full(&parsed.header.addresses, segment, &[]);
        segment[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&sum.to_be_bytes());
    } else if parsed.header.protocol == ip::PROTOCOL_ICMP && segment.len() >= 8 {
        segment[2..4].fill(0);
        let mut sum = polytcp_wire::checksum::Sum::ZERO;
        sum.add_bytes(segment);
        let sum = sum.finish();
        segment[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Offset of TCP in a packet that the hosts made: no IP options.
fn tcp_at(bytes: &[u8]) -> usize {
    if bytes.first().is_some_and(|b| b >> 4 == 6) { 40 } else { 20 }
}

/// Does one thing or several to a packet.
fn mutate(rng: &mut Prng, original: &Bytes) -> BytesMut {
    let mut bytes = BytesMut::from(&original[..]);
    for _ in 0..=rng.below(3) {
        let at = tcp_at(&bytes);
        let len = bytes.len();
        if len < at + 20 {
            break;
        }
        match rng.below(14) {
            // Flipped bits, anywhere and in the header.
            0 => bytes[rng.below(len as u64) as usize] ^= 1 << rng.below(8),
            1 => bytes[at + rng.below(40.min(len - at) as u64) as usize] ^= 1 << rng.below(8),
            // Truncated, with and without the lengths put right.
            2 => {
                bytes.truncate(rng.below(len as u64 + 1) as usize);
                if bytes.len() >= 20 && rng.ratio(1, 2) && at == 20 {
                    let total = (bytes.len() as u16).to_be_bytes();
                    bytes[2..4].copy_from_slice(&total);
                }
            }
            // Sequence and acknowledgement numbers: near, anywhere, swapped.
            3 => nudge(rng, &mut bytes[at + 4..at + 8]),
            4 => nudge(rng, &mut bytes[at + 8..at + 12]),
            5 => {
                let seq: [u8; 4] = bytes[at + 4..at + 8].try_into().unwrap();
                bytes.copy_within(at + 8..at + 12, at + 4);
                bytes[at + 8..at + 12].copy_from_slice(&seq);
            }
            // Flags.
            6 => bytes[at + 13] = rng.next_u64() as u8,
            7 => bytes[at + 13] ^= 1 << rng.below(6),
            // Window.
            8 => bytes[at + 14..at + 16].copy_from_slice(&(rng.next_u64() as u16).to_be_bytes()),
            // Data offset.
            9 => bytes[at + 12] = (rng.next_u64() as u8) & 0xf0,
            // Octets of the options.
            10 | 11 => {
                let end = (at + usize::from(bytes[at + 12] >> 4) * 4).min(len);
                if end > at + 20 {
                    let from = at + 20 + rng.below((end - at - 20) as u64) as usize;
                    match rng.below(3) {
                        0 => bytes[from] = rng.next_u64() as u8,
                        1 => nudge(rng, &mut bytes[from..end.min(from + 4)]),
                        _ => bytes[from..end].iter_mut().for_each(|b| *b = rng.next_u64() as u8),
                    }
                }
            }
            // An option of a random MPTCP subtype in front of the others.
            12 => {
                let end = (at + usize::from(bytes[at + 12] >> 4) * 4).min(len);
                if end >= at + 24 {
                    let len = [4u8, 8, 12, 16, 20, 24][rng.below(6) as usize].min((end - at - 20) as u8);
                    let option = &mut bytes[at + 20..at + 20 + usize::from(len)];
                    option.iter_mut().skip(2).for_each(|b| *b = rng.next_u64() as u8);
                    option[0] = 30;
                    option[1] = len;
                    option[2] = (rng.below(16) as u8) << 4 | option[2] & 15;
                }
            }
            // Addresses and ports.
            _ => match rng.below(4) {
                0 => bytes[12 + rng.below(8) as usize] = rng.next_u64() as u8,
                1 => bytes[at..at + 2].copy_from_slice(&(rng.next_u64() as u16).to_be_bytes()),
                2 => bytes[at + 2..at + 4].copy_from_slice(&80u16.to_be_bytes()),
                _ => bytes[9] = rng.next_u64() as u8,
            },
        }
    }
    bytes
}

fn nudge(rng: &mut Prng, number: &mut [u8]) {
    let mut word = [0; 4];
    let len = number.len().min(4);
    word[4 - len..].copy_from_slice(&number[..len]);
    let old = u32::from_be_bytes(word);
    let new = match rng.below(6) {
        0 => rng.next_u64() as u32,
        1 => old.wrapping_add(1 << rng.below(32)),
        2 => old.wrapping_sub(1 << rng.below(32)),
        3 => old.wrapping_add(rng.below(3_000) as u32).wrapping_sub(1_500),
        4 => old ^ 0x8000_0000,
        _ => [0, 1, u32::MAX, 0x7fff_ffff][rng.below(4) as usize],
    };
    number[..len].copy_from_slice(&new.to_be_bytes()[4 - len..]);
}

fn noise(rng: &mut Prng) -> BytesMut {
    let len = rng.below(120) as usize;
    let mut bytes = BytesMut::zeroed(len);
    bytes.iter_mut().for_each(|b| *b = rng.next_u64() as u8);
    if len > 20 && rng.ratio(3, 4) {
        let total = len as u16;
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&total.to_be_bytes());
        bytes[6..8].fill(0);
        bytes[9] = if rng.ratio(7, 8) { 6 } else { 1 };
        bytes[16..20].copy_from_slice(&[10, 0, rng.below(3) as u8, 1 + rng.below(2) as u8]);
        if len > 36 {
            bytes[22..24].copy_from_slice(&80u16.to_be_bytes());
            bytes[32] = 0x50 + (rng.below(6) as u8) * 16;
        }
    }
    bytes
}

fn deliver(world: &mut World, rng: &mut Prng, to: Side, path: usize, mut bytes: BytesMut) {
    let vnet = if rng.ratio(1, 4) {
        // A device that has verified the checksum, or says so.
        if bytes.len() >= 20 && bytes[0] >> 4 == 4 {
            fix_checksums(&mut bytes);
        }
        VnetHdr { checksum: Checksum::Verified, ..VnetHdr::default() }
    } else {
        if !rng.ratio(1, 50) {
            fix_checksums(&mut bytes);
        }
        VnetHdr::default()
    };
    let bytes = bytes.freeze();
    let buffer_bytes = (bytes.len() as u32).max(if rng.ratio(1, 8) { 2048 } else { 0 });
    let now = world.now;
    world.host(to).handle_packet(now, InterfaceId(path as u32), Received { vnet, bytes, buffer_bytes });
}

/// Sends what a host has, and asserts that this ends.
fn drain(world: &mut World, side: Side, tape: &Tape) -> usize {
    let now = world.now;
    let mut count = 0;
    while let Some(mut packet) = world.host(side).poll_transmit(now) {
        count += 1;
        assert!(count < OUT_MAX, "poll_transmit does not end");
        let path = packet.interface.0 as usize;
        assert!(packet.vnet.segmentation.is_some() || packet.len() <= 1500, "{} octets", packet.len());
        if !(world.filter)(now, side, path, &mut packet) {
            continue;
        }
        let len = packet.len() as u32;
        let received = received(&packet);
        let link = match side {
            Side::Client => &mut world.paths[path].up,
            Side::Server => &mut world.paths[path].down,
        };
        let _ = link.push(now, (packet.interface, received), len);
    }
    let host = world.host(side);
    let mut events = 0;
    while host.poll_event().is_some() {
        events += 1;
        assert!(events < 1_000);
    }
    while host.poll_pm_event().is_some() {}
    let _ = tape;
    count
}

fn assert_bounded(host: &Host, what: impl FnOnce() -> String) -> Accounting {
    let held = host.accounting();
    // Live ones, those waiting in the backlog, and orphans of both.
    let connections = 400;
    let per_connection = 2 * (256 << 10) + (128 << 10);
    let ok = held.connections <= connections
        && held.half_open <= 128
        && held.time_wait <= 512
        && held.flows <= 128 + connections * 9
        && held.tokens <= connections
        && held.timers <= 128 * 2 + (held.connections + 1) * 12 + 600
        && held.buffered_bytes <= held.connections.max(1) * per_connection;
    assert!(ok, "{held:?} after {}", what());
    held
}

struct App {
    ids: Option<(ConnectionId, ConnectionId)>,
    listener: polytcp_proto::host::ListenerId,
    extra: Vec<ConnectionId>,
}

/// Writes and reads a little at both ends; opens a new pair of ends when one was lost.
fn live(world: &mut World, app: &mut App, rng: &mut Prng) {
    let now = world.now;
    while let Some(id) = world.server.accept(app.listener) {
        app.extra.push(id);
    }
    // What attackers opened is closed after a while.
    while app.extra.len() > 16 {
        let id = app.extra.remove(0);
        match rng.below(2) {
            0 => world.server.close(now, id),
            _ => world.server.abort(now, id),
        }
    }
    let Some((client, server)) = app.ids else { return };
    for (side, id) in [(Side::Client, client), (Side::Server, server)] {
        let host = world.host(side);
        if host.write_room(id).unwrap_or(0) > 0 {
            let len = 1 + rng.below(6_000) as usize;
            let _ = host.write(now, id, Piece::Fixed(Bytes::from(vec![0x5a; len])));
        }
        if rng.ratio(1, 2) {
            while let Ok(ReadOutcome::Data(_)) = host.read(now, id, 1 + rng.below(100_000) as usize) {}
        }
    }
}

fn reconnect(world: &mut World, app: &mut App) {
    let now = world.now;
    if let Some((client, server)) = app.ids.take() {
        world.client.abort(now, client);
        world.server.abort(now, server);
    }
    for id in app.extra.drain(..) {
        world.server.abort(now, id);
    }
    world.run_for(ms(50));
    while let Some(id) = world.server.accept(app.listener) {
        world.server.abort(now, id);
    }
    let client = world.connect();
    let listener = app.listener;
    let mut server = None;
    let up = world.run_until(secs(200), |w| {
        while let Some(id) = w.server.accept(listener) {
            server = Some(id);
        }
        server.is_some() && w.client.readiness(client).connected
    });
    assert!(up, "a new connection does not come up");
    app.ids = server.map(|server| (client, server));
    world.run_for(ms(100));
}

#[test]
fn a_million_mutated_packets_do_no_harm() {
    mutated(PACKETS, false);
}

#[test]
fn mutated_packets_do_no_harm_with_checksums() {
    mutated(PACKETS / 2, true);
}

fn mutated(packets: u64, checksums: bool) {
    let started = std::time::Instant::now();
    let (mut world, tape) = taped_with(1, checksums);
    let mut rng = Prng::new(0x5eed);
    let listener = world.listen();
    let mut app = App { ids: None, listener, extra: Vec::new() };
    let mut reconnects = 0;
    let mut out = 0;
    for n in 0..packets {
        let alive = app.ids.is_some_and(|(c, s)| {
            !world.client.readiness(c).error
                && !world.server.readiness(s).error
                && world.client.subflows(c).is_ok_and(|s| !s.is_empty())
        });
        if !alive || n % 20_000 == 19_999 {
            reconnects += 1;
            tape.borrow_mut().clear();
            reconnect(&mut world, &mut app);
            live(&mut world, &mut app, &mut rng);
            world.run_for(ms(20));
        }
        let pick = {
            let tape = tape.borrow();
            let at = rng.below(tape.len().max(1) as u64) as usize;
            tape.get(at).cloned()
        };
        let (to, path, bytes) = match pick {
            Some((to, path, original)) if !rng.ratio(1, 16) => {
                let bytes = if rng.ratio(1, 16) {
                    BytesMut::from(&original[..])
                } else {
                    mutate(&mut rng, &original)
                };
                (to, path, bytes)
            }
            _ => (
                if rng.ratio(1, 2) { Side::Client } else { Side::Server },
                rng.below(3) as usize,
                noise(&mut rng),
            ),
        };
        let story = bytes.clone();
        deliver(&mut world, &mut rng, to, path, bytes);
        out += drain(&mut world, to, &tape);
        assert_bounded(world.host(to), || format!("packet {n}: {:02x?}", &story[..]));
        if n % 32 == 31 {
            live(&mut world, &mut app, &mut rng);
            let wait = match rng.below(100) {
                0 => secs(1 + rng.below(70)),
                1..10 => ms(rng.below(500)),
                _ => ms(rng.below(5)),
            };
            // Time passes on both hosts, packets on their way arrive.
            let end = world.now + wait;
            let mut steps = 0;
            while world.step(end) {
                steps += 1;
                assert!(steps < 200_000, "no end of events before {end:?}");
            }
        }
    }
    let took = started.elapsed();
    println!(
        "{packets} packets in {took:.1?}, {:.0} a second; {out} packets out at once, {reconnects} new connections",
        packets as f64 / took.as_secs_f64()
    );
    // And after all that, a transfer is right to the octet.
    reconnect(&mut world, &mut app);
    let ids = app.ids.unwrap();
    let report = world.transfer(Side::Client, ids, 3_000_000, secs(60));
    assert_eq!(report.received, 3_000_000);
    let report = world.transfer(Side::Server, ids, 3_000_000, secs(60));
    assert_eq!(report.received, 3_000_000);
}

/// A forged copy of a real packet that lies outside the windows.
fn forge(rng: &mut Prng, original: &Bytes) -> Option<BytesMut> {
    let mut bytes = BytesMut::from(&original[..]);
    let at = tcp_at(&bytes);
    let seq = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap());
    let ack = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap());
    let far = 0x1000_0000 + rng.below(0xd000_0000) as u32;
    let flags = &mut bytes[at + 13];
    match rng.below(6) {
        0 => *flags = TcpFlags::RST.0,
        1 => *flags = TcpFlags::RST.0 | TcpFlags::ACK.0,
        2 => *flags = TcpFlags::SYN.0,
        3 => *flags = TcpFlags::FIN.0 | TcpFlags::ACK.0,
        4 => *flags = TcpFlags::SYN.0 | TcpFlags::ACK.0,
        // Data and acknowledgements: the payload is not the sender's.
        _ => {
            let from = at + usize::from(bytes[at + 12] >> 4) * 4;
            bytes[from..].fill(0xee);
        }
    }
    bytes[at + 4..at + 8].copy_from_slice(&seq.wrapping_add(far).to_be_bytes());
    bytes[at + 8..at + 12].copy_from_slice(&ack.wrapping_add(far).to_be_bytes());
    fix_checksums(&mut bytes);
    Some(bytes)
}

#[test]
fn forgeries_outside_the_window_do_not_disturb_a_transfer() {
    for from in [Side::Client, Side::Server] {
        let (mut world, tape) = taped(2);
        let ids = world.establish();
        // A client opens further subflows once there was data.
        world.transfer(Side::Server, ids, 1, secs(5));
        assert!(world.run_until(secs(5), |w| w.client.subflows(ids.0).unwrap().len() == 3));
        world.run_for(ms(200));
        let mut quiet = taped(2).0;
        let quiet_ids = quiet.establish();
        quiet.transfer(Side::Server, quiet_ids, 1, secs(5));
        assert!(quiet.run_until(secs(5), |w| w.client.subflows(quiet_ids.0).unwrap().len() == 3));
        quiet.run_for(ms(200));
        let expected = quiet.transfer(from, quiet_ids, 4_000_000, secs(30));

        let mut rng = Prng::new(3);
        let mut received = 0;
        let mut forged = 0;
        let start = world.now;
        for chunk in 0..80 {
            for _ in 0..100 {
                let pick = {
                    let tape = tape.borrow();
                    let at = rng.below(tape.len().max(1) as u64) as usize;
                    tape.get(at).cloned()
                };
                let Some((to, path, original)) = pick else { continue };
                // Handshakes carry the numbers of a beginning: a forged one would be another connection.
                let at = tcp_at(&original);
                if original[at + 13] & TcpFlags::SYN.0 != 0 {
                    continue;
                }
                let Some(bytes) = forge(&mut rng, &original) else { continue };
                forged += 1;
                deliver(&mut world, &mut rng, to, path, bytes);
                drain(&mut world, to, &tape);
            }
            let report = world.transfer(from, ids, 50_000, secs(10));
            assert_eq!(report.received, 50_000, "chunk {chunk}");
            received += report.received;
        }
        assert_eq!(received, 4_000_000);
        assert_eq!(world.client.subflows(ids.0).unwrap().len(), 3, "a subflow was lost");
        let took = world.now.since(start);
        println!("{forged} forgeries: {took:?}; in peace {:?}", expected.took);
    }
}

#[test]
fn a_syn_flood_is_bounded_and_does_not_hurt_what_is_open() {
    let (mut world, tape) = taped(4);
    let ids = world.establish();
    world.run_for(ms(300));
    let mut rng = Prng::new(5);
    let template = tape.borrow().iter().find(|(to, ..)| *to == Side::Server).cloned().unwrap().2;
    let at = tcp_at(&template);
    let started = std::time::Instant::now();
    for n in 0..100_000u32 {
        let mut bytes = BytesMut::from(&template[..]);
        bytes[12..16].copy_from_slice(&(rng.next_u64() as u32 & 0x7fff_ffff | 0x0100_0000).to_be_bytes());
        bytes[at..at + 2].copy_from_slice(&(1024 + rng.below(60_000) as u16).to_be_bytes());
        bytes[at + 4..at + 8].copy_from_slice(&(rng.next_u64() as u32).to_be_bytes());
        bytes[at + 13] = TcpFlags::SYN.0;
        fix_checksums(&mut bytes);
        deliver(&mut world, &mut rng, Side::Server, 0, bytes);
        drain(&mut world, Side::Server, &tape);
        let held = world.server.accounting();
        assert!(held.half_open <= 128, "{held:?}");
        assert!(held.timers <= 400, "{held:?} after {n}");
        if n % 1_000 == 0 {
            world.run_for(ms(10));
        }
    }
    println!("{:.0} SYNs a second", 100_000.0 / started.elapsed().as_secs_f64());
    let report = world.transfer(Side::Client, ids, 1_000_000, secs(30));
    assert_eq!(report.received, 1_000_000);
    // The flood over, all of it is forgotten.
    world.run_for(secs(70));
    let held = world.server.accounting();
    assert_eq!((held.half_open, held.connections), (0, 1), "{held:?}");
}

#[test]
fn a_flood_of_connections_that_nobody_accepts_is_bounded() {
    let (mut world, tape) = taped(6);
    world.listen();
    let mut clients = Vec::new();
    for _ in 0..500 {
        clients.push(world.connect());
        world.run_for(ms(5));
        let held = world.server.accounting();
        assert!(held.connections <= 130 && held.half_open <= 128, "{held:?}");
    }
    let _ = tape;
}

#[test]
fn random_addresses_and_protocols_are_not_answered() {
    let (mut world, tape) = taped(7);
    world.listen();
    let martians: [IpAddr; 4] = [
        "255.255.255.255".parse().unwrap(),
        "224.0.0.1".parse().unwrap(),
        "0.0.0.0".parse().unwrap(),
        "239.1.2.3".parse().unwrap(),
    ];
    for src in martians {
        let addresses = Addresses::new(src, server_ip(0)).unwrap();
        let header = tcp::TcpHeader {
            src_port: 1000,
            dst_port: 80,
            seq: 1,
            ack: 0,
            flags: TcpFlags::SYN,
            window: 1000,
            urgent: 0,
        };
        let mut bytes = BytesMut::zeroed(40);
        ip::IpHeader { addresses, protocol: 6, hop_limit: 1, traffic_class: 0, ident: 0, payload_len: 20 }
            .emit(&mut bytes);
        header.emit(&polytcp_wire::tcp_options::OptionBuf::new(), &mut bytes[20..]);
        fix_checksums(&mut bytes);
        let mut rng = Prng::new(1);
        deliver(&mut world, &mut rng, Side::Server, 0, bytes);
        assert_eq!(drain(&mut world, Side::Server, &tape), 0, "{src} was answered");
    }
}
