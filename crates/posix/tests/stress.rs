//! Eight threads use one socket at the same time, over and over: no call hangs, whatever the others do.
//!
//! `POLYTCP_ROUNDS=10000 cargo test -p polytcp-posix --test stress -- --nocapture` runs more rounds, each with a connection of
//! its own. In every other one the socket is closed while it is used; in the rest it is closed last, so that each thread that
//! waits has to hear of the end by itself.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use polytcp::Stack;
use polytcp::io::{MemoryConfig, MemoryDevice};
use polytcp_posix::{EpollEvent, Fd, FdSet, PollFd, Sockets, libc};

/// Rounds where nothing else is asked for.
const ROUNDS: u32 = 1_000;

/// Longer than any wait may last.
const LIMIT: Duration = Duration::from_secs(20);

const SERVER: &str = "10.0.1.1:443";

/// What the data of an event means.
const SOCKET: u64 = 1;
const STOP: u64 = 2;

/// What the threads of all rounds share.
struct Arena {
    near: Sockets,
    far: Sockets,
    /// The socket of this round.
    fd: AtomicI32,
    round: AtomicUsize,
    /// All begin, and all have ended.
    gate: Barrier,
    /// Threads of this round that have ended without the one that closes.
    ended: AtomicUsize,
    is_over: AtomicBool,
    /// Events and octets, to see that something happened.
    events: AtomicUsize,
    received: AtomicUsize,
}

/// What one thread does with the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Read,
    Write,
    Poll,
    Select,
    EpollLevel,
    EpollEdge,
    Shut,
    Close,
}

const ROLES: [Role; 8] = [
    Role::Read,
    Role::Write,
    Role::Poll,
    Role::Select,
    Role::EpollLevel,
    Role::EpollEdge,
    Role::Shut,
    Role::Close,
];

/// Those that end by themselves, before the instances are told to stop and the socket is closed at the latest.
const OTHERS: usize = 5;

/// A number of steps to let others go first, by chance.
fn dawdle(seed: &mut u64) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (0..*seed % 24).for_each(|_| std::thread::yield_now());
}

impl Arena {
    fn new() -> Self {
        let (a, b) = MemoryDevice::pair(MemoryConfig::default()).expect("devices");
        let stack =
            |device, address: &str| Stack::builder().device(device, [address]).start().expect("stack");
        Self {
            near: Sockets::new(stack(a, "10.0.1.2/24")),
            far: Sockets::new(stack(b, "10.0.1.1/24")),
            fd: AtomicI32::new(-1),
            round: AtomicUsize::new(0),
            gate: Barrier::new(ROLES.len() + 1),
            ended: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            events: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
        }
    }

    /// The socket is closed last in this round.
    fn is_closed_last(&self) -> bool {
        self.round.load(Ordering::SeqCst) % 2 == 1
    }

    /// One thread's part of every round.
    fn play(&self, role: Role) {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64.rotate_left(role as u32 * 7) | 1;
        let epfd = self.near.epoll_create(0).expect("epoll_create");
        let stop = self.near.socket(libc::AF_INET, libc::SOCK_STREAM, 0).expect("socket");
        loop {
            self.gate.wait();
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let fd = self.fd.load(Ordering::SeqCst);
            dawdle(&mut seed);
            match role {
                Role::Read => self.read(fd),
                Role::Write => self.write(fd, &mut seed),
                Role::Poll => self.poll(fd),
                Role::Select => self.select(fd),
                Role::EpollLevel => self.epoll(epfd, stop, fd, 0),
                Role::EpollEdge => self.epoll(epfd, stop, fd, libc::EPOLLET as u32),
                Role::Shut => {
                    dawdle(&mut seed);
                    let how = if seed.is_multiple_of(3) { libc::SHUT_WR } else { libc::SHUT_RDWR };
                    let _ = self.near.shutdown(fd, how);
                }
                Role::Close => {
                    // The instances hear of the end before that.
                    while self.is_closed_last() && self.ended.load(Ordering::SeqCst) < OTHERS + 2 {
                        std::thread::yield_now();
                    }
                    let _ = self.near.close(fd);
                }
            }
            self.ended.fetch_add(1, Ordering::SeqCst);
            self.gate.wait();
        }
    }

    fn read(&self, fd: Fd) {
        let mut buffer = [0; 700];
        while let Ok(len) = self.near.recv(fd, &mut buffer, 0)
            && len > 0
        {
            self.received.fetch_add(len, Ordering::Relaxed);
        }
    }

    fn write(&self, fd: Fd, seed: &mut u64) {
        for _ in 0..8 {
            if self.near.send(fd, &[7; 900], 0).is_err() {
                return;
            }
            dawdle(seed);
        }
    }

    fn poll(&self, fd: Fd) {
        loop {
            let mut fds = [PollFd { fd, events: libc::POLLRDHUP, revents: 0 }];
            let count = self.near.poll(&mut fds, Some(LIMIT)).expect("poll");
            assert_eq!(count, 1, "poll was not woken");
            if fds[0].revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0 {
                return;
            }
        }
    }

    /// Waits for data or the end, whichever is first; both come.
    fn select(&self, fd: Fd) {
        let mut read = FdSet::new();
        read.insert(fd);
        match self.near.select(fd + 1, Some(&mut read), None, None, Some(LIMIT)) {
            Ok(count) => assert_eq!(count, 1, "select was not woken"),
            Err(error) => assert_eq!(error, polytcp_posix::Errno::BADF),
        }
    }

    fn epoll(&self, epfd: Fd, stop: Fd, fd: Fd, manner: u32) {
        let wish = (libc::EPOLLIN | libc::EPOLLRDHUP) as u32 | manner;
        let event = EpollEvent { events: wish, data: SOCKET };
        let is_added = self.near.epoll_ctl(epfd, libc::EPOLL_CTL_ADD, fd, event).is_ok();
        let must_hear = self.is_closed_last();
        assert!(is_added || !must_hear, "nobody has closed it");
        let mut has_heard = false;
        loop {
            let mut events = [EpollEvent::default(); 2];
            // Whether or not another thread has read it already, there was data or will be an end.
            if !must_hear && self.ended.load(Ordering::SeqCst) >= OTHERS {
                let event = EpollEvent { events: libc::EPOLLOUT as u32, data: STOP };
                let _ = self.near.epoll_ctl(epfd, libc::EPOLL_CTL_ADD, stop, event);
            }
            let limit = if must_hear { LIMIT } else { Duration::from_millis(2) };
            let count = self.near.epoll_wait(epfd, &mut events, Some(limit)).expect("epoll_wait");
            assert!(count > 0 || !must_hear, "epoll_wait was not woken");
            self.events.fetch_add(count, Ordering::Relaxed);
            for event in &events[..count] {
                let end = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
                has_heard |= event.data == STOP || event.events & end != 0;
                if event.data == SOCKET && event.events & libc::EPOLLIN as u32 != 0 {
                    let mut buffer = [0; 700];
                    while let Ok(1..) = self.near.recv(fd, &mut buffer, libc::MSG_DONTWAIT) {}
                }
            }
            if has_heard {
                break;
            }
        }
        for fd in [fd, stop] {
            let _ = self.near.epoll_ctl(epfd, libc::EPOLL_CTL_DEL, fd, EpollEvent::default());
        }
    }

    /// The peer's part: some data and the end, while it reads.
    fn answer(&self, listener: Fd) {
        let (peer, _) = self.far.accept(listener, 0).expect("accept");
        let _ = self.far.send(peer, &[1; 2000], 0);
        std::thread::yield_now();
        let _ = self.far.send(peer, &[2; 500], 0);
        let _ = self.far.shutdown(peer, libc::SHUT_WR);
        let mut buffer = [0; 4096];
        while let Ok(1..) = self.far.recv(peer, &mut buffer, 0) {}
        self.far.close(peer).expect("close");
    }
}

/// Ends the process where no round has ended for [`LIMIT`].
fn watch(arena: &Arena) {
    let (mut seen, mut since) = (0, Instant::now());
    while !arena.is_over.load(Ordering::SeqCst) {
        std::thread::park_timeout(Duration::from_millis(100));
        let round = arena.round.load(Ordering::SeqCst);
        if round != seen {
            (seen, since) = (round, Instant::now());
        }
        if since.elapsed() > 2 * LIMIT {
            eprintln!(
                "round {round} hangs: {} of {} threads have ended",
                arena.ended.load(Ordering::SeqCst),
                ROLES.len()
            );
            std::process::abort();
        }
    }
}

#[test]
fn eight_threads_on_one_socket_never_hang() {
    let rounds: u32 =
        std::env::var("POLYTCP_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let arena = Arc::new(Arena::new());
    let address: SocketAddr = SERVER.parse().expect("address");
    let listener = arena.far.socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP).expect("socket");
    arena.far.bind(listener, address).expect("bind");
    arena.far.listen(listener, 5).expect("listen");
    let threads: Vec<_> = ROLES
        .into_iter()
        .map(|role| {
            let arena = Arc::clone(&arena);
            std::thread::spawn(move || arena.play(role))
        })
        .collect();
    let watchdog = {
        let arena = Arc::clone(&arena);
        std::thread::spawn(move || watch(&arena))
    };
    let started = Instant::now();
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        let began = Instant::now();
        arena.round.store(round as usize, Ordering::SeqCst);
        let protocol = if round % 4 < 2 { libc::IPPROTO_MPTCP } else { libc::IPPROTO_TCP };
        let fd = arena.near.socket(libc::AF_INET, libc::SOCK_STREAM, protocol).expect("socket");
        arena.near.connect(fd, address).expect("connect");
        arena.fd.store(fd, Ordering::SeqCst);
        arena.ended.store(0, Ordering::SeqCst);
        arena.gate.wait();
        arena.answer(listener);
        arena.gate.wait();
        longest = longest.max(began.elapsed());
    }
    arena.is_over.store(true, Ordering::SeqCst);
    arena.gate.wait();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    watchdog.thread().unpark();
    watchdog.join().expect("no panic");
    let (events, received) = (arena.events.load(Ordering::Relaxed), arena.received.load(Ordering::Relaxed));
    println!(
        "{rounds} rounds in {:?}, the longest {longest:?}; {events} events, {received} octets",
        started.elapsed()
    );
    assert!(events as u32 >= rounds / 2);
}
