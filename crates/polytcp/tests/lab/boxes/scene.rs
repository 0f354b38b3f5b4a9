//! Two peers with boxes between them: the stack and the kernel, or two kernels.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use polytcp::blocking::MptcpStream;
use polytcp::io::middlebox::{Chain, Direction, Middlebox, Output};
use polytcp::io::{Boxes, LinkConfig};
use polytcp_lab::pair::BridgedPath;
use polytcp_lab::{KernelListener, KernelPair, KernelStream, Protocol, require_or_skip};
use polytcp_proto::config::HostConfig;
use polytcp_proto::time::Instant as Time;

use crate::bounded::{WAIT, bounded, wait_until};
use crate::stream_data::{Seen, Sum};
use crate::transfer::{Manner, ReadBack, both};
use crate::world::{Client, Ends, Family, PORT, Plan, World};

/// Who the peers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// The stack is the client, a kernel the server.
    Client,
    /// A kernel is the client, the stack the server.
    Server,
    /// Both are kernels.
    Kernels,
}

/// Both directions, the client's first.
pub(super) const BOTH: [Direction; 2] = [Direction::Outward, Direction::Inward];

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Kernels];
}

/// Octets of a transfer: 16 MiB when `POLYTCP_LAB_WHOLE` is set.
pub(super) fn bytes() -> u64 {
    if is_whole() { 16 << 20 } else { 2 << 20 }
}

/// Every role over both families when `POLYTCP_LAB_WHOLE` is set, else each over one.
fn families(role: Role) -> &'static [Family] {
    match role {
        // Two kernels join over IPv4 only.
        Role::Kernels => &[Family::V4],
        _ if is_whole() => &[Family::V4, Family::V6],
        Role::Client => &[Family::V4],
        Role::Server => &[Family::V6],
    }
}

fn is_whole() -> bool {
    std::env::var_os("POLYTCP_LAB_WHOLE").is_some()
}

/// Runs a case in every role, at the same time.
pub(super) fn in_roles(case: impl Fn(Role, Family) + Clone + Send + 'static) {
    if !require_or_skip() {
        return;
    }
    std::thread::scope(|scope| {
        for role in Role::ALL {
            let case = case.clone();
            scope.spawn(move || {
                for family in families(role) {
                    let case = case.clone();
                    bounded(&format!("{role:?}, {family:?}"), move || case(role, *family));
                }
            });
        }
    });
}

/// A single box.
pub(super) fn one(middlebox: impl Middlebox + 'static) -> Chain {
    Chain::new().with(middlebox)
}

/// What lies between the peers.
#[derive(Clone, Copy)]
pub(super) struct Between {
    /// Boxes of each path, by its number; the client is inside.
    pub(super) boxes: fn(usize) -> Chain,
    pub(super) paths: usize,
    /// Sysctls of every kernel.
    pub(super) sysctls: &'static [(&'static str, &'static str)],
    /// The same for the stack.
    pub(super) configure: fn(&mut HostConfig),
}

impl Between {
    pub(super) fn one_path(boxes: fn(usize) -> Chain) -> Self {
        Self { boxes, paths: 1, sysctls: &[], configure: |_| () }
    }
}

/// An end of a connection.
pub(super) trait Peer: Sync {
    fn read(&self, out: &mut [u8]) -> io::Result<usize>;
    fn write(&self, octets: &[u8]) -> io::Result<usize>;
    /// Whether it speaks MPTCP, by all that it says.
    fn is_mptcp(&self) -> bool;
    /// Subflows that are there.
    fn subflows(&self) -> usize;
}

impl Peer for MptcpStream {
    fn read(&self, out: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut { self }, out)
    }

    fn write(&self, octets: &[u8]) -> io::Result<usize> {
        Write::write(&mut { self }, octets)
    }

    fn is_mptcp(&self) -> bool {
        Self::is_mptcp(self).expect("info")
    }

    fn subflows(&self) -> usize {
        Self::subflows(self).expect("subflows").len()
    }
}

impl Peer for KernelStream {
    fn read(&self, out: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut { self }, out)
    }

    fn write(&self, octets: &[u8]) -> io::Result<usize> {
        Write::write(&mut { self }, octets)
    }

    fn is_mptcp(&self) -> bool {
        let told = self.tcp_is_mptcp().expect("TCP_IS_MPTCP");
        let info = self.mptcp_info();
        assert_eq!(told, info.as_ref().is_ok_and(|info| !info.is_fallback()), "{info:?}");
        told
    }

    fn subflows(&self) -> usize {
        self.mptcp_info().map_or(0, |info| usize::from(info.subflows_total))
    }
}

/// A peer as a reader and writer.
pub(super) struct Octets<'a>(pub(super) &'a dyn Peer);

impl Read for Octets<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Octets<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Two peers and what is between them.
pub(super) struct Scene {
    hosts: Hosts,
    deeds: Arc<Deeds>,
}

/// What boxes have done.
#[derive(Debug, Default)]
struct Deeds {
    /// A packet left that is not the next one of those that came.
    changed: AtomicBool,
    /// Packets that came and did not leave.
    kept: AtomicI64,
}

enum Hosts {
    Stack(Box<World>, Ends),
    Kernels { pair: KernelPair, client: KernelStream, server: KernelStream, _listener: KernelListener },
}

/// A short way, so that transfers are quick and held packets are late all the same.
fn link() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(1), ..LinkConfig::default() }
}

impl Scene {
    /// Connects.
    pub(super) fn new(between: Between, role: Role, family: Family) -> Self {
        let deeds = Arc::new(Deeds::default());
        let boxes = |path| {
            let inner = (between.boxes)(path);
            let pending = [VecDeque::new(), VecDeque::new()];
            Chain::new().with(Observed { inner, pending, deeds: Arc::clone(&deeds) })
        };
        let client = match role {
            Role::Client => Client::Stack,
            Role::Server => Client::Kernel,
            Role::Kernels => {
                let hosts = Hosts::two_kernels(between, boxes, family);
                return Self { hosts, deeds };
            }
        };
        let mut plan = Plan::emulated(client, family, (0..between.paths).map(|_| link()));
        plan.sysctls = between.sysctls.to_vec();
        (between.configure)(&mut plan.config);
        let world = World::with_boxes(plan, boxes);
        let ends = world.connect();
        Self { hosts: Hosts::Stack(Box::new(world), ends), deeds }
    }

    /// The client and the server.
    pub(super) fn peers(&self) -> [&dyn Peer; 2] {
        match &self.hosts {
            Hosts::Kernels { client, server, .. } => [client, server],
            Hosts::Stack(world, ends) => match world.plan.client {
                Client::Stack => [&ends.stack, &ends.kernel],
                Client::Kernel => [&ends.kernel, &ends.stack],
            },
        }
    }

    /// Who sends in that direction, and who receives.
    pub(super) fn sender_and_receiver(&self, direction: Direction) -> [&dyn Peer; 2] {
        let [client, server] = self.peers();
        match direction {
            Direction::Outward => [client, server],
            Direction::Inward => [server, client],
        }
    }

    /// Whether any packet did not go through the boxes, unchanged and in order.
    pub(super) fn boxes_acted(&self) -> bool {
        self.deeds.changed.load(Ordering::Relaxed) || self.deeds.kept.load(Ordering::Relaxed) > 0
    }

    /// Has both sides say a little, which counts as a right checksum, and join on all paths.
    pub(super) fn greet(&self, paths: usize) {
        for direction in BOTH {
            self.transfer(direction, Manner::new(1, GREETING_BYTES));
        }
        let subflows = || self.peers().map(Peer::subflows);
        wait_until(|| subflows() == [paths; 2], || format!("{:?} subflows\n{}", subflows(), self.describe()));
    }

    /// Sends one way and checks that everything arrives as it was sent.
    pub(super) fn transfer(&self, direction: Direction, manner: Manner) -> Duration {
        let [from, to] = self.sender_and_receiver(direction);
        let started = Instant::now();
        let sums = self.sums(direction, &both(Octets(from), Octets(to), manner));
        assert!(sums[0] == sums[1], "{direction:?}: SHA-256 differs\n{}", self.describe());
        started.elapsed()
    }

    /// The digests at both ends of a transfer that ended.
    fn sums<E: std::fmt::Debug>(
        &self,
        direction: Direction,
        (written, read): &(Result<Seen, E>, Result<ReadBack, E>),
    ) -> [Sum; 2] {
        match (written, read) {
            (Ok(written), Ok(read)) => {
                if let Some(at) = read.seen.first_wrong {
                    panic!("{direction:?}: octet {at} is wrong\n{}", self.describe());
                }
                [written.sum, read.seen.sum]
            }
            _ => {
                let read = read.as_ref().map(|read| read.seen.bytes);
                panic!("{direction:?}: written {written:?}, read {read:?}\n{}", self.describe())
            }
        }
    }

    /// Counters of MPTCP that must not move on a connection that no box ended, those of the stack and of
    /// every kernel.
    pub(super) fn assert_no_faults(&self) {
        match &self.hosts {
            Hosts::Stack(world, ends) => world.assert_no_faults(ends),
            Hosts::Kernels { .. } => {
                for name in ["DssFallback", "MPCapableDataFallback", "MPFailTx", "DataCsumErr"] {
                    assert_eq!(self.counters(name), [0, 0], "{name}\n{}", self.describe());
                }
            }
        }
    }

    /// A counter of MPTCP, the client's and the server's.
    pub(super) fn counters(&self, name: &str) -> [i64; 2] {
        let name = format!("MPTcpExt{name}");
        match &self.hosts {
            Hosts::Stack(world, _) => {
                let stack = world.stack.counters().get(&name).expect("a counter") as i64;
                let kernel = world.counters().value(&name);
                match world.plan.client {
                    Client::Stack => [stack, kernel],
                    Client::Kernel => [kernel, stack],
                }
            }
            Hosts::Kernels { pair, .. } => {
                [&pair.client, &pair.server].map(|kernel| kernel.counters().expect("counters").value(&name))
            }
        }
    }

    /// A counter of MPTCP, the sender's and the receiver's.
    pub(super) fn counters_of(&self, direction: Direction, name: &str) -> [i64; 2] {
        let [client, server] = self.counters(name);
        match direction {
            Direction::Outward => [client, server],
            Direction::Inward => [server, client],
        }
    }

    /// Everything that a failure should tell.
    pub(super) fn describe(&self) -> String {
        match &self.hosts {
            Hosts::Stack(world, ends) => world.describe(Some(ends)),
            Hosts::Kernels { pair, .. } => {
                let mut text = String::new();
                for kernel in [&pair.client, &pair.server] {
                    for (name, value) in kernel.counters().expect("counters").starting_with("MPTcpExt") {
                        if value != 0 {
                            let _ = write!(text, "{name} {value}; ");
                        }
                    }
                    text.push('\n');
                }
                text
            }
        }
    }
}

/// What each side says first in [`Scene::greet`].
pub(super) const GREETING_BYTES: u64 = 1_000;

impl Hosts {
    fn two_kernels(between: Between, boxes: impl Fn(usize) -> Chain, family: Family) -> Self {
        let path = |index: usize| {
            let boxes = Boxes { near: boxes(index), far: Chain::new() };
            (BridgedPath::new(index as u8, link(), link()), boxes)
        };
        let paths = (0..between.paths).map(path).collect();
        let pair = KernelPair::bridged_with_boxes(paths, 1).expect("pair");
        for kernel in [&pair.client, &pair.server] {
            for (name, value) in between.sysctls {
                kernel.sysctl_set(name, value).expect("sysctl");
            }
        }
        let to = match family {
            Family::V4 => (pair.path(0).kernel_v4, PORT).into(),
            Family::V6 => (pair.path(0).kernel_v6, PORT).into(),
        };
        let listener = pair.server.listen(to, Protocol::Mptcp).expect("listen");
        let client = pair.client.connect_within(None, to, Protocol::Mptcp, WAIT).expect("connect");
        let server = listener.accept_within(WAIT).expect("accept");
        for stream in [&client, &server] {
            stream.set_timeouts(Some(WAIT)).expect("timeouts");
        }
        Self::Kernels { pair, client, server, _listener: listener }
    }
}

/// Notes whether a box does anything.
#[derive(Debug)]
struct Observed {
    inner: Chain,
    /// What came and has not left, in each direction, as long as no packet was changed.
    pending: [VecDeque<Vec<u8>>; 2],
    deeds: Arc<Deeds>,
}

impl Observed {
    fn pass_on(&mut self, mut made: Output, out: &mut Output) {
        while let Some((direction, packet)) = made.pop() {
            self.deeds.kept.fetch_sub(1, Ordering::Relaxed);
            if self.pending[direction as usize].pop_front().as_ref() != Some(&packet) {
                self.deeds.changed.store(true, Ordering::Relaxed);
            }
            out.push(direction, packet);
        }
    }
}

impl Middlebox for Observed {
    fn name(&self) -> &'static str {
        "observed"
    }

    fn handle(&mut self, now: Time, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        self.deeds.kept.fetch_add(1, Ordering::Relaxed);
        if self.deeds.changed.load(Ordering::Relaxed) {
            self.pending = [VecDeque::new(), VecDeque::new()];
        } else {
            self.pending[direction as usize].push_back(packet.clone());
        }
        let mut made = Output::new();
        self.inner.handle(now, direction, packet, &mut made);
        self.pass_on(made, out);
    }

    fn next_deadline(&self) -> Option<Time> {
        self.inner.next_deadline()
    }

    fn poll(&mut self, now: Time, out: &mut Output) {
        let mut made = Output::new();
        self.inner.poll(now, &mut made);
        self.pass_on(made, out);
    }
}
