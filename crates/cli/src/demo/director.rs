//! The course of the demo: starts the transfer, cuts the faster link and mends it, and looks on.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use polytcp::{SubflowInfo, SubflowState};

use super::Args;
use super::screen::{Row, Screen, Snapshot};
use super::transfer::{self, Hash};
use super::world::{Carried, DemoPath, World};
use crate::delivery::{Flow, Outage};
use crate::duplex::{Duplex, explain};
use crate::units;

/// How often the director looks.
const TICK: Duration = Duration::from_millis(5);

/// The cut comes when this share of all data is delivered.
const CUT_AT: f64 = 0.4;
/// The link comes back after this time, or when this share is delivered, whichever is first.
const OUTAGE: Duration = Duration::from_secs(2);
const RESTORE_AT: f64 = 0.8;

/// What happened.
pub(super) struct Story {
    /// From the first write to the last octet delivered.
    pub(super) elapsed: Duration,
    /// How long the faster link was down.
    pub(super) outage: Duration,
    pub(super) longest_pause: Duration,
    /// From the client to the peer, and back.
    pub(super) directions: [Result<Same, String>; 2],
    pub(super) mptcp: bool,
    /// The rate of the link that was cut.
    pub(super) fast_mbps: f64,
}

impl Story {
    /// The part of the time that the faster link was down.
    pub(super) fn outage_share(&self) -> f64 {
        self.outage.as_secs_f64() / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Whether what arrived was what had been sent, by SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Same {
    Yes,
    No,
}

/// One direction's ends, when their threads are done.
struct Ended {
    direction: usize,
    end: End,
    result: io::Result<Hash>,
}

#[derive(Clone, Copy)]
enum End {
    Sender,
    Receiver,
}

pub(super) fn direct(world: &World, args: &Args, screen: &mut Screen) -> Story {
    let flows = [Flow::new(), Flow::new()];
    let outage = Outage::default();
    let (client, peer): (&dyn Duplex, &dyn Duplex) = (&world.client, &*world.peer);
    let start = Instant::now();
    let mut end = start;
    let mut hashes: [[Option<io::Result<Hash>>; 2]; 2] = Default::default();
    let mut table = Table::new(world);
    let mut mptcp = true;
    thread::scope(|scope| {
        let (sender, ended) = mpsc::channel();
        for (direction, (from, to)) in [(client, peer), (peer, client)].into_iter().enumerate() {
            let seed = args.seed.wrapping_mul(2).wrapping_add(direction as u64);
            let (flow, outage, size) = (&flows[direction], &outage, args.size);
            let tell = sender.clone();
            scope.spawn(move || {
                let result = transfer::send(from, size, seed);
                // The director is there until both ends have told.
                let _ = tell.send(Ended { direction, end: End::Sender, result });
            });
            let tell = sender.clone();
            scope.spawn(move || {
                let result = transfer::receive(to, flow, outage);
                let _ = tell.send(Ended { direction, end: End::Receiver, result });
            });
        }
        drop(sender);
        loop {
            match ended.recv_timeout(TICK) {
                Ok(Ended { direction, end: which, result }) => {
                    if matches!(which, End::Receiver) {
                        end = Instant::now();
                        mptcp &=
                            client.is_multipath().unwrap_or(false) && peer.is_multipath().unwrap_or(false);
                    }
                    if result.is_err() {
                        // The other threads are not to wait for what does not come.
                        world.client.abort();
                    }
                    hashes[direction][which as usize] = Some(result);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let done = flows.iter().map(Flow::received).sum::<u64>();
            steer(world, &outage, done as f64 / (args.size * 2) as f64, screen);
            if screen.is_due() {
                screen.show(&table.snapshot(start, done, args.size * 2));
            }
        }
        let done = flows.iter().map(Flow::received).sum::<u64>();
        screen.finish(&table.snapshot(start, done, args.size * 2));
    });
    let directions = hashes.map(|[sent, received]| verdict(sent, received));
    Story {
        elapsed: end - start,
        outage: outage.duration(end),
        longest_pause: flows.iter().map(Flow::longest_pause).max().unwrap_or_default(),
        directions,
        mptcp,
        fast_mbps: world.paths[0].mbps(),
    }
}

fn verdict(sent: Option<io::Result<Hash>>, received: Option<io::Result<Hash>>) -> Result<Same, String> {
    let told = |hash: Option<io::Result<Hash>>, what: &str| {
        let hash = hash.ok_or_else(|| format!("{what}: its thread panicked"))?;
        hash.map_err(|error| format!("{what}: {}", explain(&error)))
    };
    let (sent, received) = (told(sent, "sending"), told(received, "receiving"));
    Ok(if sent? == received? { Same::Yes } else { Same::No })
}

/// Cuts and mends the faster link when it is time.
fn steer(world: &World, outage: &Outage, done: f64, screen: &Screen) {
    let fast = &world.paths[0];
    match outage.began() {
        None if done >= CUT_AT => {
            fast.control.cut_both();
            outage.begin();
            screen.tell(&format!("-- {} is cut", fast.name));
        }
        Some(cut) if !outage.has_ended() && (cut.elapsed() >= OUTAGE || done >= RESTORE_AT) => {
            fast.control.restore_both();
            outage.end();
            screen.tell(&format!("-- {} is back after {:.1} s", fast.name, cut.elapsed().as_secs_f64()));
        }
        None | Some(_) => {}
    }
}

/// Turns the counters of links and subflows into rows.
struct Table<'a> {
    world: &'a World,
    seen_at: Instant,
    /// What each link had carried then.
    seen: Vec<Carried>,
    /// What each link had carried when the data began.
    base: Vec<Carried>,
}

impl<'a> Table<'a> {
    fn new(world: &'a World) -> Self {
        let base = carried(world);
        Self { world, seen_at: Instant::now(), seen: base.clone(), base }
    }

    fn snapshot(&mut self, start: Instant, done: u64, total: u64) -> Snapshot {
        let now = Instant::now();
        let over = now - self.seen_at;
        let flows = self.world.subflows();
        let carried = carried(self.world);
        let since_base = |index: usize| carried[index].sum() - self.base[index].sum();
        let sum: u64 = (0..carried.len()).map(since_base).sum();
        let row = |(index, path): (usize, &DemoPath)| {
            let flow = flows.iter().rev().find(|flow| flow.interface == path.interface);
            Row {
                name: path.name.clone(),
                state: if path.is_up() { state(flow) } else { "cut" },
                rtt: flow.and_then(|flow| flow.srtt),
                up_mbps: units::mbps(carried[index].up - self.seen[index].up, over),
                down_mbps: units::mbps(carried[index].down - self.seen[index].down, over),
                bytes: since_base(index),
                share: since_base(index) as f64 / sum.max(1) as f64,
            }
        };
        let rows = self.world.paths.iter().enumerate().map(row).collect();
        self.seen_at = now;
        self.seen = carried;
        Snapshot { elapsed: now - start, done, total, rows }
    }
}

fn carried(world: &World) -> Vec<Carried> {
    world.paths.iter().map(DemoPath::carried).collect()
}

fn state(flow: Option<&SubflowInfo>) -> &'static str {
    match flow.map(|flow| (flow.state, flow.stale)) {
        None | Some((SubflowState::Closed, _)) => "closed",
        Some((SubflowState::SynSent | SubflowState::SynReceived, _)) => "joining",
        Some((SubflowState::Established, true)) => "stale",
        Some((SubflowState::Established, false)) => "open",
        Some((SubflowState::Closing, _)) => "closing",
    }
}
