//! Random worlds from seeds: whatever the links do, every byte arrives once and in order, within a
//! generous time, and nothing is left behind.
//!
//! `POLYTCP_SEED` is the first seed (default 0), `POLYTCP_SEEDS` how many are run (default 100). A failure
//! names its seed; `POLYTCP_SEED=<it> POLYTCP_SEEDS=1` replays it.

mod support;

use polytcp_netem::LinkConfig;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{Piece, ReadOutcome, SubflowInfo, SubflowState};
use polytcp_proto::pm::command::EndpointFlags;
use polytcp_proto::rng::Prng;
use polytcp_proto::time::Instant;
use std::num::NonZeroU32;
use support::*;

/// Seeds that once failed; each stays.
const FAILED_ONCE: &[u64] = &[];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn every_byte_arrives_once_and_in_order_in_random_worlds() {
    let first = number("POLYTCP_SEED", 0);
    let count = number("POLYTCP_SEEDS", 100);
    let mut virtual_time = 0.0;
    for seed in FAILED_ONCE.iter().copied().chain(first..first + count) {
        virtual_time += run(seed);
    }
    println!("{count} worlds from seed {first}: {virtual_time:.0} s of virtual time");
}

/// The same seed gives the same packets at the same times.
#[test]
fn a_seed_replays_byte_for_byte() {
    assert_eq!(fingerprint(3), fingerprint(3));
    assert_ne!(fingerprint(3), fingerprint(4));
}

fn fingerprint(seed: u64) -> (u64, u64) {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::sync::{Arc, Mutex};
    let hash = Arc::new(Mutex::new((DefaultHasher::new(), 0)));
    let mut world = random_world(&mut Prng::new(seed), seed);
    let sink = hash.clone();
    world.filter = Box::new(move |now, side, path, packet| {
        let mut sink = sink.lock().unwrap();
        (now.as_nanos(), side == Side::Client, path, packet.header.as_slice()).hash(&mut sink.0);
        packet.payload.hash(&mut sink.0);
        sink.1 += 1;
        true
    });
    let ids = world.establish();
    world.transfer(Side::Client, ids, 300_000, secs(60));
    let hash = hash.lock().unwrap();
    (hash.0.finish(), hash.1)
}

fn random_link(rng: &mut Prng) -> LinkConfig {
    let rate = 1 + rng.below(100);
    let delay = rng.below(100);
    let mut link = mbit(rate, delay);
    link.jitter = ms(rng.below(10));
    if rng.ratio(1, 2) {
        link = with_loss(link, rng.below(40) as f64 / 10.0);
    }
    if rng.ratio(1, 3) {
        link.queue_bytes = Some(15_000 + rng.below(200_000));
    }
    link
}

fn random_config(rng: &mut Prng) -> HostConfig {
    let mut config = HostConfig::default();
    let buffer = |rng: &mut Prng| NonZeroU32::new((32 << 10) + rng.below(2 << 20) as u32);
    config.tcp.recv_buffer_bytes = buffer(rng);
    config.tcp.send_buffer_bytes = buffer(rng);
    if rng.ratio(1, 2) {
        let names = polytcp_proto::tcp::cc::AVAILABLE;
        config.tcp.congestion_control = names[rng.below(names.len() as u64) as usize].into();
    }
    if rng.ratio(1, 4) {
        config.mptcp.scheduler = "roundrobin".into();
    }
    if rng.ratio(1, 2) {
        config.mptcp.idsn_near_wrap_bytes = Some(1 << 20);
        config.tcp.isn_near_wrap_bytes = NonZeroU32::new(1 << 18);
    }
    config.tcp.pacing = rng.ratio(3, 4);
    config.mptcp.checksum_enabled = rng.ratio(1, 3);
    config
}

fn random_world(rng: &mut Prng, seed: u64) -> World {
    let links: Vec<LinkConfig> = (0..1 + rng.below(3)).map(|_| random_link(rng)).collect();
    let client = random_config(rng);
    let mut server = random_config(rng);
    server.mptcp.enabled = true;
    let mut world = World::new(seed, &links, client, server);
    let backup = if rng.ratio(1, 4) { EndpointFlags::BACKUP } else { EndpointFlags::NONE };
    world.endpoints(EndpointFlags::SUBFLOW | backup);
    world
}

/// Runs one world; returns its virtual seconds.
fn run(seed: u64) -> f64 {
    let rng = &mut Prng::new(seed);
    let mut world = random_world(rng, seed);
    if std::env::var("TRACE").is_ok() {
        world.filter = Box::new(move |now, side, path, packet| {
            let h = packet.header.as_slice();
            let t = polytcp_wire::tcp::parse(&h[20..]).unwrap();
            println!(
                "T {now:?} {side:?} p{path} {:?} seq {} ack {} win {} len {} ts {:?} sack {:?} {:?}",
                t.header.flags,
                t.header.seq,
                t.header.ack,
                t.header.window,
                packet.payload.len(),
                t.options.timestamps,
                t.options.sack,
                t.options.mptcp.as_slice()
            );
            true
        });
    }
    let ids = world.establish();
    let total = [rng.below(800_000), rng.below(800_000)];
    let mut state = [Half::default(), Half::default()];
    // Cuts, each restored, never of all paths at once.
    let mut cuts: Vec<(Instant, Option<Instant>, usize)> = Vec::new();
    // A path that dies before the second one has joined takes the connection with it, rightly.
    let joined = world.run_until(secs(10), |w| {
        let open = |s: &SubflowInfo| s.state == SubflowState::Established;
        let subflows = w.server.subflows(ids.1).unwrap();
        subflows.len() == w.paths.len() && subflows.iter().all(open)
    });
    if joined && world.paths.len() > 1 && rng.ratio(1, 2) {
        let at = world.now + ms(rng.below(2_000));
        let path = rng.below(world.paths.len() as u64) as usize;
        let back = rng.ratio(1, 2).then(|| at + ms(50 + rng.below(5_000)));
        cuts.push((at, back, path));
    }
    let start = world.now;
    let done = world.run_until(secs(400), |w| {
        let now = w.now;
        for (at, back, path) in &mut cuts {
            if *at <= now {
                w.paths[*path].up.cut();
                w.paths[*path].down.cut();
                *at = Instant::FAR_FUTURE;
            }
            if back.is_some_and(|at| at <= now) && *at == Instant::FAR_FUTURE {
                w.paths[*path].up.restore();
                w.paths[*path].down.restore();
                *back = None;
            }
        }
        for (i, side) in [Side::Client, Side::Server].into_iter().enumerate() {
            let id = if i == 0 { ids.0 } else { ids.1 };
            state[i].drive(w, side, id, total[i], total[1 - i], rng, seed);
        }
        state.iter().all(|half| half.finished)
    });
    if !done {
        for (side, id) in [(Side::Client, ids.0), (Side::Server, ids.1)] {
            println!("{side:?} {:?} {:?}", world.host(side).info(id), world.host(side).readiness(id));
            println!("{:#?}", world.host(side).subflows(id));
        }
    }
    assert!(done, "seed {seed}: stuck at {:?} of {total:?} after {:?}", state, world.now.since(start));
    for side in [Side::Client, Side::Server] {
        let id = if side == Side::Client { ids.0 } else { ids.1 };
        let now = world.now;
        world.host(side).close(now, id);
    }
    world.run_for(secs(180));
    for side in [Side::Client, Side::Server] {
        let held = world.host(side).accounting();
        assert_eq!(
            (held.connections, held.flows, held.half_open, held.tokens, held.time_wait, held.buffered_bytes),
            (0, 0, 0, 0, 0, 0),
            "seed {seed}: {side:?} keeps {held:?}"
        );
    }
    world.now.since(start).as_secs_f64()
}

#[derive(Debug, Default)]
struct Half {
    written: u64,
    read: u64,
    shut: bool,
    finished: bool,
}

impl Half {
    #[allow(clippy::too_many_arguments)]
    fn drive(
        &mut self,
        w: &mut World,
        side: Side,
        id: polytcp_proto::host::ConnectionId,
        to_write: u64,
        to_read: u64,
        rng: &mut Prng,
        seed: u64,
    ) {
        let now = w.now;
        let room = w.host(side).write_room(id).unwrap_or(0) as u64;
        let n = room.min(to_write - self.written).min(1 + rng.below(70_000));
        if n > 0 {
            let piece = pattern(self.written, n as usize);
            let piece = if rng.ratio(1, 2) { Piece::Growing(piece) } else { Piece::Fixed(piece.freeze()) };
            w.host(side).write(now, id, piece).unwrap();
            self.written += n;
        }
        if self.written == to_write && !self.shut {
            w.host(side).shutdown(now, id).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            self.shut = true;
        }
        // A reader that is sometimes slow.
        if rng.ratio(1, 3) {
            return;
        }
        loop {
            match w.host(side).read(now, id, 1 + rng.below(60_000) as usize) {
                Ok(ReadOutcome::Data(data)) => {
                    check_pattern(self.read, &data);
                    self.read += data.len() as u64;
                }
                Ok(ReadOutcome::Finished) => {
                    assert_eq!(self.read, to_read, "seed {seed}: {side:?} read a short stream");
                    self.finished = self.shut;
                    break;
                }
                Ok(ReadOutcome::WouldBlock) => break,
                Err(error) => panic!("seed {seed}: {side:?} {error}"),
            }
        }
    }
}
