//! What epoll and select tell, and how often: in every state, in scenes with edge-triggered items, and when misused.
//!
//! A scene has five instances that watch one socket with `EPOLLET`, each asking for something else, and after each step, once
//! both ends are quiet, notes what each of them tells: whether there was an edge for it, and what is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use polytcp_posix::{Destination, EpollEvent, Errno, Fd, SIOCATMARK, SIOCINQ, SIOCOUTQ, libc};

use crate::bsd::Bsd;
use crate::differences::{self, Difference};
use crate::scene::{Kind, Scene, State, accept};
use crate::world::{Family, World, settle, with_patience};

const WORKERS: usize = 24;

/// How often as long as usual each attempt waits.
const PATIENCE: [u32; 5] = [1, 2, 6, 16, 16];

/// How often an acknowledgement that has not come yet is waited for.
const ACKS_MAX: u32 = 40;

/// How often in a row nothing could be written once a buffer is full for good.
const QUIET_MAX: u32 = 20;

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const PRI: u32 = libc::EPOLLPRI as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const EDGE: u32 = libc::EPOLLET as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;
const WAKEUP: u32 = libc::EPOLLWAKEUP as u32;
const EVERYTHING: u32 = IN | OUT | PRI | RDHUP;

fn named(mask: u32) -> String {
    let names = [
        (IN, "IN"),
        (PRI, "PRI"),
        (OUT, "OUT"),
        (libc::EPOLLERR as u32, "ERR"),
        (libc::EPOLLHUP as u32, "HUP"),
        (RDHUP, "RDHUP"),
        (libc::EPOLLRDNORM as u32, "RDNORM"),
        (libc::EPOLLWRNORM as u32, "WRNORM"),
    ];
    let set: Vec<&str> = names.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect();
    set.join("|")
}

fn told<T>(answer: Result<T, Errno>) -> String {
    answer.map_or_else(|error| format!("E{}", error.raw_os_error()), |_| "ok".to_owned())
}

fn event(events: u32, data: u64) -> EpollEvent {
    EpollEvent { events, data }
}

/// What an instance tells now: of each event its data and its mask.
fn waited(near: &dyn Bsd, epfd: Fd, max: usize) -> String {
    match near.epoll_wait(epfd, max) {
        Ok(events) if events.is_empty() => "-".to_owned(),
        Ok(events) => {
            let told = events.iter().map(|event| format!("{}:{}", event.data, named(event.events)));
            told.collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("E{}", error.raw_os_error()),
    }
}

/// Something to do on both sides, and what it told.
struct Story {
    name: String,
    tell: Box<dyn Fn(&World) -> String + Send + Sync>,
}

/// Has every story told by both sides, and judges the differences.
fn compare(linux: &World, stack: &World, stories: &[Story]) {
    let next = AtomicUsize::new(0);
    let differences = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(story) = stories.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // A machine that is busy may be late: only what stays different is.
                    let both = |patience: &u32| {
                        let tell = |world| catch_unwind(AssertUnwindSafe(|| (story.tell)(world)));
                        let (theirs, ours) = with_patience(*patience, || (tell(linux), tell(stack)));
                        let is_same = matches!((&theirs, &ours), (Ok(theirs), Ok(ours)) if theirs == ours);
                        let [theirs, ours] = [theirs, ours].map(|told| told.unwrap_or("panicked".to_owned()));
                        (!is_same).then(|| Difference { name: story.name.clone(), theirs, ours })
                    };
                    if let Some(difference) = PATIENCE.iter().map_while(both).nth(PATIENCE.len() - 1) {
                        differences.lock().expect("no panic").push(difference);
                    }
                }
            });
        }
    });
    let differences = differences.into_inner().expect("no panic");
    differences::judge(stories.iter().map(|story| story.name.clone()), differences);
}

const PROTOCOLS: [(i32, &str); 2] = [(libc::IPPROTO_MPTCP, "MPTCP"), (libc::IPPROTO_TCP, "TCP")];

fn kind(protocol: i32) -> Kind {
    Kind { protocol, family: Family::Inet, blocks: false }
}

/// An instance of its own, which is closed at the end of the scene.
fn instance(scene: &mut Scene<'_>) -> Fd {
    let epfd = scene.near().epoll_create(libc::EPOLL_CLOEXEC).expect("epoll_create");
    scene.keep(epfd);
    epfd
}

#[test]
fn epoll_and_select_in_every_state_tell_as_linux() {
    if !polytcp_lab::require_or_skip() {
        return;
    }
    let mut stories = Vec::new();
    for (protocol, name) in PROTOCOLS {
        for state in State::ALL {
            for (manner, flags) in [("level", 0), ("edge", EDGE), ("oneshot", ONESHOT)] {
                stories.push(Story {
                    name: format!("{name} {state:?}: epoll {manner}"),
                    tell: Box::new(move |world| watched(world, protocol, state, flags)),
                });
            }
            stories.push(Story {
                name: format!("{name} {state:?}: select"),
                tell: Box::new(move |world| selected(world, protocol, state)),
            });
        }
    }
    compare(&World::linux(), &World::stack(), &stories);
}

/// What is told when the socket is added, again, when it is changed, again, for other wishes, and after `EPOLL_CTL_DEL`.
fn watched(world: &World, protocol: i32, state: State, flags: u32) -> String {
    let mut scene = Scene::new(world.sides(), kind(protocol), state);
    let epfd = instance(&mut scene);
    let near = scene.near();
    let mut log = Vec::new();
    let mut wait = |what: &str| log.push(format!("{what} {}", waited(near, epfd, 8)));
    let control = |op, events| near.epoll_ctl(epfd, op, scene.fd, event(events, 7)).expect("epoll_ctl");
    control(libc::EPOLL_CTL_ADD, EVERYTHING | flags);
    wait("added");
    wait("again");
    control(libc::EPOLL_CTL_MOD, EVERYTHING | (libc::EPOLLRDNORM | libc::EPOLLWRNORM) as u32 | flags);
    wait("changed");
    wait("again");
    for (what, events) in [("in", IN), ("out", OUT), ("rdhup", RDHUP), ("nothing", 0)] {
        control(libc::EPOLL_CTL_MOD, events | flags);
        wait(what);
    }
    control(libc::EPOLL_CTL_MOD, EVERYTHING | flags);
    control(libc::EPOLL_CTL_DEL, 0);
    wait("deleted");
    log.join(", ")
}

fn selected(world: &World, protocol: i32, state: State) -> String {
    let scene = Scene::new(world.sides(), kind(protocol), state);
    let fd = [scene.fd];
    let (count, sets) = scene.near().select(scene.fd + 1, [&fd, &fd, &fd]).expect("select");
    let beyond = scene.near().select(scene.fd, [&fd, &fd, &fd]).map(|(count, _)| count);
    format!("{count} {:?} {beyond:?}", sets.map(|set| set.len()))
}

/// A socket under test that five instances watch, its peer, and what was told.
struct Play<'a> {
    scene: Scene<'a>,
    instances: Vec<Fd>,
    listener: Option<Fd>,
    peer: Fd,
    log: Vec<String>,
}

/// What the instances of a play ask for.
const WISHES: [u32; 5] = [IN, OUT, RDHUP, 0, IN | OUT | RDHUP];

impl<'a> Play<'a> {
    /// With a socket in a state that needs no peer to play with.
    fn alone(world: &'a World, protocol: i32, state: State) -> Self {
        let scene = Scene::new(world.sides(), kind(protocol), state);
        Self { scene, instances: Vec::new(), listener: None, peer: -1, log: Vec::new() }
    }

    /// With a socket that has connected.
    fn connected(world: &'a World, protocol: i32) -> Self {
        let mut play = Self::alone(world, protocol, State::Fresh);
        play.connect();
        play.accept();
        play
    }

    /// With a socket that was accepted.
    fn accepted(world: &'a World, protocol: i32) -> Self {
        let mut play = Self::alone(world, protocol, State::Listening);
        play.peer = play.client();
        settle();
        let fd = accept(play.near(), play.scene.fd);
        let listener = std::mem::replace(&mut play.scene.fd, fd);
        play.scene.keep(listener);
        play
    }

    fn near(&self) -> &dyn Bsd {
        self.scene.near()
    }

    fn far(&self) -> &dyn Bsd {
        self.scene.far()
    }

    fn connect(&mut self) {
        let listener = self.listener.unwrap_or_else(|| self.scene.listener());
        self.listener = Some(listener);
        let to = self.far().getsockname(listener).expect("name");
        let _ = self.near().connect(self.scene.fd, to.into());
    }

    fn accept(&mut self) {
        settle();
        let listener = self.listener.expect("connected");
        self.peer = accept(self.far(), listener);
        self.scene.keep_far(self.peer);
        settle();
    }

    /// A peer that connects to the socket.
    fn client(&mut self) -> Fd {
        let to = self.near().getsockname(self.scene.fd).expect("name");
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        let client = self.far().socket(libc::AF_INET, kind, self.scene.kind.protocol).expect("socket");
        self.scene.keep_far(client);
        let _ = self.far().connect(client, to.into());
        client
    }

    fn watch(&mut self, manner: u32) {
        for wish in WISHES {
            let epfd = instance(&mut self.scene);
            self.instances.push(epfd);
            self.control(libc::EPOLL_CTL_ADD, epfd, wish | manner);
        }
        self.note("watched");
    }

    fn control(&self, op: i32, epfd: Fd, events: u32) {
        self.near().epoll_ctl(epfd, op, self.scene.fd, event(events, 0)).expect("epoll_ctl");
    }

    fn change(&mut self, manner: u32) {
        for (epfd, wish) in self.instances.iter().zip(WISHES) {
            self.control(libc::EPOLL_CTL_MOD, *epfd, wish | manner);
        }
    }

    /// Lets both ends become quiet, and writes down what each instance tells.
    fn note(&mut self, what: &str) {
        settle();
        let told: Vec<_> = self.instances.iter().map(|epfd| waited(self.near(), *epfd, 4)).collect();
        self.log.push(format!("{what} [{}]", told.join(" ")));
    }

    fn send(&self, data: &[u8]) {
        let _ = self.near().send(self.scene.fd, data, 0);
    }

    fn peer_sends(&self, data: &[u8]) {
        self.far().send(self.peer, data, 0).expect("send");
    }

    fn recv(&self, len: usize) {
        let _ = self.near().recv(self.scene.fd, len, 0);
    }

    fn shutdown(&self, how: i32) {
        let _ = self.near().shutdown(self.scene.fd, how);
    }

    /// Lets what was sent be acknowledged, the end included: that is an edge too, and may be late on a busy machine.
    fn until_acked(&self) {
        for _ in 0..ACKS_MAX {
            settle();
            if self.near().ioctl(self.scene.fd, SIOCOUTQ) == Ok(0) {
                return;
            }
        }
    }

    fn peer_shuts(&self) {
        let _ = self.far().shutdown(self.peer, libc::SHUT_WR);
    }

    fn peer_closes(&mut self) {
        self.scene.close_peer(self.peer);
    }

    fn peer_aborts(&mut self) {
        let linger = [1_i32.to_ne_bytes(), 0_i32.to_ne_bytes()].concat();
        self.far().setsockopt(self.peer, libc::SOL_SOCKET, libc::SO_LINGER, &linger).expect("linger");
        self.peer_closes();
    }

    /// Writes until nothing goes for some time: buffers grow while they are filled, and windows open a little at probes.
    fn fill(&self) {
        let piece = [7; 1 << 16];
        let mut quiet = 0;
        while quiet < QUIET_MAX {
            quiet += 1;
            while self.near().send(self.scene.fd, &piece, 0).is_ok() {
                quiet = 0;
            }
            settle();
        }
    }

    /// The peer reads all, until nothing comes for some time.
    fn peer_drains(&self) {
        let mut quiet = 0;
        while quiet < 6 {
            match self.far().recv(self.peer, 1 << 20, 0) {
                Ok(bytes) if !bytes.is_empty() => quiet = 0,
                _ => {
                    quiet += 1;
                    settle();
                }
            }
        }
    }

    fn set_lowat(&self, octets: i32) {
        let value = octets.to_ne_bytes();
        self.near()
            .setsockopt(self.scene.fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, &value)
            .expect("SO_RCVLOWAT");
    }

    fn take_error(&self) {
        self.near().getsockopt(self.scene.fd, libc::SOL_SOCKET, libc::SO_ERROR, 4).expect("SO_ERROR");
    }

    fn told(self) -> String {
        self.log.join("\n        ")
    }
}

/// What happens in a play after the socket came into its first state.
type Script = fn(&mut Play<'_>);

/// How a play begins.
#[derive(Clone, Copy)]
enum Cast {
    Connected,
    Accepted,
    Alone(State),
}

const PLAYS: &[(&str, Cast, Script)] = &[
    ("data, and more beside it", Cast::Connected, |p| {
        p.watch(EDGE);
        for _ in 0..3 {
            p.peer_sends(b"1");
            p.note("data");
        }
        p.recv(1);
        p.note("part read");
        p.recv(9);
        p.note("all read");
        p.recv(9);
        p.note("nothing to read");
        p.peer_sends(b"1");
        p.note("data");
    }),
    ("data between two looks", Cast::Connected, |p| {
        p.watch(EDGE);
        p.peer_sends(b"1");
        settle();
        p.peer_sends(b"2");
        p.note("twice");
        p.note("quiet");
        p.peer_sends(b"3");
        settle();
        p.recv(9);
        p.note("read before the look");
    }),
    ("changed, and ready", Cast::Connected, |p| {
        p.watch(EDGE);
        p.peer_sends(b"1");
        p.note("data");
        p.change(EDGE);
        p.note("changed");
        p.note("quiet");
        p.recv(9);
        p.change(EDGE);
        p.note("read and changed");
        p.change(0);
        p.note("level");
        p.note("level again");
    }),
    ("a write that fits", Cast::Connected, |p| {
        p.watch(EDGE);
        p.send(b"abc");
        p.note("sent");
        p.far().recv(p.peer, 9, 0).expect("recv");
        p.note("peer has read");
        p.send(&[1; 10_000]);
        p.note("sent more");
        p.peer_drains();
        p.note("drained");
    }),
    ("a full buffer", Cast::Connected, |p| {
        p.watch(EDGE);
        p.fill();
        p.note("filled");
        p.note("quiet");
        p.peer_drains();
        p.note("drained");
        p.peer_drains();
        p.note("quiet");
    }),
    ("a full buffer, twice", Cast::Connected, |p| {
        p.watch(EDGE);
        for _ in 0..2 {
            p.fill();
            p.note("filled");
            p.peer_drains();
            p.note("drained");
        }
        p.send(b"abc");
        p.note("sent");
    }),
    ("added when the buffer was full", Cast::Connected, |p| {
        p.fill();
        p.watch(EDGE);
        p.peer_drains();
        p.note("drained");
    }),
    ("a full buffer and shut", Cast::Connected, |p| {
        p.watch(EDGE);
        p.fill();
        p.note("filled");
        p.shutdown(libc::SHUT_WR);
        p.note("shut");
        p.peer_drains();
        p.note("drained");
        p.peer_shuts();
        p.note("peer shut");
    }),
    ("a full buffer, level-triggered", Cast::Connected, |p| {
        p.watch(0);
        p.fill();
        p.note("filled");
        p.note("quiet");
        p.peer_drains();
        p.note("drained");
        p.note("quiet");
    }),
    ("the peer's end", Cast::Connected, |p| {
        p.watch(EDGE);
        p.peer_shuts();
        p.note("peer shut");
        p.recv(1);
        p.note("end read");
        p.shutdown(libc::SHUT_WR);
        p.note("shut");
        p.note("quiet");
    }),
    ("the peer's end after data", Cast::Connected, |p| {
        p.watch(EDGE);
        p.peer_sends(b"hello");
        p.note("data");
        p.peer_shuts();
        p.note("peer shut");
        p.recv(2);
        p.note("part read");
        p.recv(9);
        p.note("all read");
    }),
    ("the peer's end with data", Cast::Connected, |p| {
        p.watch(EDGE);
        p.peer_sends(b"hello");
        p.peer_shuts();
        p.note("data, peer shut");
        p.recv(9);
        p.note("read");
    }),
    ("shut for writing", Cast::Connected, |p| {
        p.watch(EDGE);
        p.shutdown(libc::SHUT_WR);
        p.until_acked();
        p.note("shut");
        p.peer_sends(b"x");
        p.note("data");
        p.peer_shuts();
        p.note("peer shut");
    }),
    ("shut for reading", Cast::Connected, |p| {
        p.watch(EDGE);
        p.shutdown(libc::SHUT_RD);
        p.note("shut");
        p.peer_sends(b"x");
        p.note("data");
        p.peer_shuts();
        p.note("peer shut");
    }),
    ("shut for both", Cast::Connected, |p| {
        p.watch(EDGE);
        p.shutdown(libc::SHUT_RDWR);
        p.note("shut");
        p.peer_shuts();
        p.note("peer shut");
    }),
    ("shut more than once", Cast::Connected, |p| {
        p.watch(EDGE);
        for how in [libc::SHUT_WR, libc::SHUT_WR, libc::SHUT_RD, libc::SHUT_RD, 3] {
            p.shutdown(how);
            p.note("shut");
        }
    }),
    ("an abort", Cast::Connected, |p| {
        p.send(b"x");
        settle();
        p.watch(EDGE);
        p.peer_aborts();
        p.note("aborted");
        p.recv(1);
        p.note("told");
        p.recv(1);
        p.note("quiet");
    }),
    ("an abort before any data", Cast::Connected, |p| {
        p.watch(EDGE);
        p.peer_aborts();
        p.note("aborted");
        for _ in 0..2 {
            let answers = many([
                p.near().recv(p.scene.fd, 1, 0).map(drop),
                p.near().send(p.scene.fd, b"x", 0).map(drop),
            ]);
            p.note(&answers);
        }
    }),
    ("an abort with unread data", Cast::Connected, |p| {
        p.send(b"x");
        settle();
        p.watch(EDGE);
        p.peer_sends(b"hello");
        p.note("data");
        p.peer_aborts();
        p.note("aborted");
        p.take_error();
        p.note("told");
        p.recv(9);
        p.note("read");
    }),
    ("a close with unread data", Cast::Connected, |p| {
        p.watch(EDGE);
        p.send(b"hello");
        p.note("sent");
        p.peer_closes();
        p.note("closed");
    }),
    ("a close, and writes after it", Cast::Connected, |p| {
        p.watch(EDGE);
        p.peer_closes();
        p.note("closed");
        p.send(b"x");
        p.note("sent");
        p.send(b"x");
        p.note("sent again");
    }),
    ("refused", Cast::Alone(State::Fresh), |p| {
        p.watch(EDGE);
        let nobody = std::net::SocketAddr::new(p.scene.sides.far_ip(Family::Inet), 1);
        let _ = p.near().connect(p.scene.fd, nobody.into());
        p.note("refused");
        p.take_error();
        p.note("told");
        let _ = p.near().connect(p.scene.fd, nobody.into());
        p.note("aborted");
        let _ = p.near().connect(p.scene.fd, nobody.into());
        p.note("refused again");
        let _ = p.near().connect(p.scene.fd, nobody.into());
        p.note("told by connect");
    }),
    ("connected", Cast::Alone(State::Fresh), |p| {
        p.watch(EDGE);
        p.connect();
        p.note("connected");
        p.connect();
        p.note("told");
        p.accept();
        p.note("accepted");
        p.peer_sends(b"x");
        p.note("data");
    }),
    ("connected, level-triggered", Cast::Alone(State::Fresh), |p| {
        p.watch(0);
        p.connect();
        p.note("connected");
        p.accept();
        p.peer_sends(b"x");
        p.note("data");
        p.recv(1);
        p.note("read");
    }),
    ("connecting, and shut", Cast::Alone(State::Connecting), |p| {
        p.watch(EDGE);
        p.shutdown(libc::SHUT_RDWR);
        p.note("shut");
    }),
    ("bound, listening, shut", Cast::Alone(State::Bound), |p| {
        p.watch(EDGE);
        p.near().listen(p.scene.fd, 5).expect("listen");
        p.note("listening");
        p.client();
        p.note("a client");
        p.shutdown(libc::SHUT_WR);
        p.note("shut for writing");
        p.shutdown(libc::SHUT_RD);
        p.note("shut");
    }),
    ("clients", Cast::Alone(State::Listening), |p| {
        p.watch(EDGE);
        for _ in 0..2 {
            p.client();
            p.note("a client");
        }
        p.client();
        p.client();
        p.note("two clients");
        for count in [1, 3] {
            for _ in 0..count {
                let fd = accept(p.near(), p.scene.fd);
                p.scene.keep(fd);
            }
            p.note("accepted");
        }
        p.peer = p.client();
        p.note("a client");
        p.peer_closes();
        p.note("it closes");
        p.near().listen(p.scene.fd, 9).expect("listen");
        p.note("listening again");
    }),
    ("clients, level-triggered", Cast::Alone(State::Listening), |p| {
        p.watch(0);
        p.client();
        p.note("a client");
        p.note("quiet");
        let fd = accept(p.near(), p.scene.fd);
        p.scene.keep(fd);
        p.note("accepted");
    }),
    ("disconnected", Cast::Connected, |p| {
        p.watch(EDGE);
        p.near().connect(p.scene.fd, Destination::Unspecified).expect("disconnect");
        p.note("disconnected");
        p.take_error();
        p.connect();
        p.note("connected again");
        p.note("quiet");
    }),
    ("accepted", Cast::Accepted, |p| {
        p.watch(EDGE);
        p.peer_sends(b"1");
        p.note("data");
        p.peer_sends(b"2");
        p.note("data");
        p.peer_shuts();
        p.note("peer shut");
        p.send(b"xyz");
        p.note("sent");
        p.shutdown(libc::SHUT_WR);
        p.note("shut");
    }),
    ("a low-water mark", Cast::Connected, |p| {
        p.set_lowat(4);
        p.watch(EDGE);
        for data in [b"1".as_slice(), b"22", b"22", b"22"] {
            p.peer_sends(data);
            p.note("data");
        }
        p.recv(4);
        p.note("read to 3");
        p.peer_sends(b"1");
        p.note("data");
        for octets in [2, 20, 1] {
            p.set_lowat(octets);
            p.note("another mark");
        }
    }),
    ("a low-water mark, level-triggered", Cast::Connected, |p| {
        p.set_lowat(4);
        p.watch(0);
        for data in [b"1".as_slice(), b"22", b"22"] {
            p.peer_sends(data);
            p.note("data");
        }
        p.recv(2);
        p.note("read to 3");
        p.set_lowat(3);
        p.note("another mark");
    }),
    ("a read that finds nothing", Cast::Connected, |p| {
        p.watch(EDGE);
        p.recv(1);
        p.note("nothing");
        p.send(b"x");
        p.note("sent");
    }),
    ("once", Cast::Connected, |p| {
        p.send(b"x");
        settle();
        p.watch(ONESHOT);
        p.peer_sends(b"1");
        p.note("data");
        p.peer_sends(b"1");
        p.note("data");
        p.peer_shuts();
        p.note("peer shut");
        p.change(ONESHOT);
        p.note("changed");
        p.peer_aborts();
        p.note("aborted");
        p.change(ONESHOT | EDGE);
        p.note("changed");
        p.note("quiet");
    }),
    ("exclusive", Cast::Connected, |p| {
        let epfds: Vec<Fd> = (0..2).map(|_| instance(&mut p.scene)).collect();
        p.instances.clone_from(&epfds);
        for epfd in epfds {
            p.control(libc::EPOLL_CTL_ADD, epfd, IN | EXCLUSIVE | EDGE);
        }
        p.note("watched");
        p.peer_sends(b"1");
        p.note("data");
        p.peer_shuts();
        p.note("peer shut");
    }),
    ("nested", Cast::Connected, |p| {
        let (inner, outer) = (instance(&mut p.scene), instance(&mut p.scene));
        p.near().epoll_ctl(outer, libc::EPOLL_CTL_ADD, inner, event(IN | OUT | EDGE, 5)).expect("epoll_ctl");
        p.control(libc::EPOLL_CTL_ADD, inner, IN | EDGE);
        p.instances = vec![outer];
        p.note("watched");
        for _ in 0..2 {
            p.peer_sends(b"1");
            p.note("data");
        }
        let polled = named(p.near().poll(inner, libc::POLLIN | libc::POLLOUT) as u32);
        p.log.push(format!("poll {polled}"));
        p.instances = vec![inner, outer];
        p.note("inner looked at");
        let polled = named(p.near().poll(inner, libc::POLLIN | libc::POLLOUT) as u32);
        p.log.push(format!("poll {polled}"));
        p.peer_sends(b"1");
        p.recv(9);
        p.note("read before the look");
    }),
    ("nested, level-triggered", Cast::Connected, |p| {
        let (inner, outer) = (instance(&mut p.scene), instance(&mut p.scene));
        p.control(libc::EPOLL_CTL_ADD, inner, IN);
        p.near().epoll_ctl(outer, libc::EPOLL_CTL_ADD, inner, event(IN, 5)).expect("epoll_ctl");
        p.instances = vec![outer, inner];
        p.note("watched");
        p.peer_sends(b"1");
        p.note("data");
        p.note("again");
        p.recv(9);
        p.note("read");
        let (count, sets) = p.near().select(inner + 1, [&[inner], &[inner], &[inner]]).expect("select");
        p.log.push(format!("select {count} {:?}", sets.map(|set| set.len())));
        p.scene.close(inner);
        p.peer_sends(b"1");
        p.instances = vec![outer];
        p.note("inner closed");
    }),
    ("closed", Cast::Connected, |p| {
        p.watch(0);
        let gone = p.scene.fd;
        p.scene.close(gone);
        p.note("closed");
        let fd = p.near().socket(libc::AF_INET, libc::SOCK_STREAM, 0).expect("socket");
        let first = p.instances[0];
        let answers = [libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_DEL, libc::EPOLL_CTL_ADD]
            .map(|op| told(p.near().epoll_ctl(first, op, fd, event(IN, 1))));
        p.log.push(answers.join(" "));
        p.scene.fd = fd;
        p.note("another");
    }),
    ("in turn", Cast::Alone(State::Fresh), |p| {
        let epfd = instance(&mut p.scene);
        for data in 0..4 {
            let fd = p.near().socket(libc::AF_INET, libc::SOCK_STREAM, 0).expect("socket");
            p.scene.keep(fd);
            let manner = if data == 2 { EDGE } else { 0 };
            p.near().epoll_ctl(epfd, libc::EPOLL_CTL_ADD, fd, event(OUT | manner, data)).expect("epoll_ctl");
        }
        for max in [3, 3, 2, 1, 8] {
            let told = waited(p.near(), epfd, max);
            p.log.push(told);
        }
    }),
    ("in the order of what happens", Cast::Connected, |p| {
        let epfd = instance(&mut p.scene);
        let first = (p.scene.fd, p.peer);
        p.near().epoll_ctl(epfd, libc::EPOLL_CTL_ADD, first.0, event(IN | EDGE, 1)).expect("epoll_ctl");
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        let fd = p.near().socket(libc::AF_INET, kind, p.scene.kind.protocol).expect("socket");
        p.scene.keep(first.0);
        p.scene.fd = fd;
        p.connect();
        p.accept();
        p.near().epoll_ctl(epfd, libc::EPOLL_CTL_ADD, fd, event(IN | EDGE, 2)).expect("epoll_ctl");
        p.instances = vec![epfd];
        for order in [[first.1, p.peer], [p.peer, first.1]] {
            for peer in order {
                p.far().send(peer, b"x", 0).expect("send");
                settle();
            }
            p.note("both");
        }
    }),
];

#[test]
fn edge_triggered_items_are_told_as_often_as_by_linux() {
    if !polytcp_lab::require_or_skip() {
        return;
    }
    let mut stories = Vec::new();
    for (protocol, name) in PROTOCOLS {
        for (play, cast, script) in PLAYS {
            stories.push(Story {
                name: format!("{name} epoll scene: {play}"),
                tell: Box::new(move |world| {
                    let mut play = match *cast {
                        Cast::Connected => Play::connected(world, protocol),
                        Cast::Accepted => Play::accepted(world, protocol),
                        Cast::Alone(state) => Play::alone(world, protocol, state),
                    };
                    script(&mut play);
                    play.told()
                }),
            });
        }
    }
    compare(&World::distant_linux(), &World::stack(), &stories);
}

/// Misuse, and calls of sockets on an instance.
type Misuse = fn(&mut Scene<'_>) -> String;

fn many(answers: impl IntoIterator<Item = Result<(), Errno>>) -> String {
    answers.into_iter().map(told).collect::<Vec<_>>().join(" ")
}

/// `count` instances, each watching the next; what the calls told.
fn chain(scene: &mut Scene<'_>, count: usize, order: impl Fn(usize) -> usize) -> String {
    let epfds: Vec<Fd> = (0..count).map(|_| instance(scene)).collect();
    let add = |at: usize| scene.near().epoll_ctl(epfds[at], libc::EPOLL_CTL_ADD, epfds[at + 1], event(IN, 0));
    many((0..count - 1).map(|at| add(order(at))))
}

const MISUSES: &[(&str, Misuse)] = &[
    ("create", |s| {
        let flags = [0, libc::EPOLL_CLOEXEC, 1, libc::EPOLL_CLOEXEC | 1, -1];
        let answers = flags.map(|flags| {
            let answer = s.near().epoll_create(flags);
            answer.iter().for_each(|fd| s.keep(*fd));
            answer.map(drop)
        });
        many(answers)
    }),
    ("control", |s| {
        let epfd = instance(s);
        let (near, fd) = (s.near(), s.fd);
        let ops =
            [libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_DEL, libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_ADD, 0, 4, -1];
        let valid = many(ops.map(|op| near.epoll_ctl(epfd, op, fd, event(IN, 0))));
        let ops = [libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_DEL, 9];
        let pairs =
            [(epfd, epfd), (fd, epfd), (fd, fd), (epfd, -1), (-1, fd), (epfd, 5000), (5000, epfd), (fd, -1)];
        let others = pairs.map(|(epfd, fd)| many(ops.map(|op| near.epoll_ctl(epfd, op, fd, event(IN, 0)))));
        format!("{valid} {others:?}")
    }),
    ("exclusive", |s| {
        let (epfd, inner) = (instance(s), instance(s));
        let (near, fd) = (s.near(), s.fd);
        let add = |fd, events| {
            let added = near.epoll_ctl(epfd, libc::EPOLL_CTL_ADD, fd, event(events, 0));
            let _ = near.epoll_ctl(epfd, libc::EPOLL_CTL_DEL, fd, event(0, 0));
            added
        };
        let always = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
        let flags =
            [0, IN, OUT | EDGE, IN | WAKEUP, IN | always, IN | RDHUP, IN | PRI, IN | ONESHOT, 1 << 20];
        let single = many(flags.map(|flags| add(fd, flags | EXCLUSIVE)));
        let nested = told(add(inner, IN | EXCLUSIVE));
        near.epoll_ctl(epfd, libc::EPOLL_CTL_ADD, fd, event(IN | EXCLUSIVE, 0)).expect("epoll_ctl");
        let later = many([
            near.epoll_ctl(epfd, libc::EPOLL_CTL_MOD, fd, event(IN, 0)),
            near.epoll_ctl(epfd, libc::EPOLL_CTL_MOD, fd, event(IN | EXCLUSIVE, 0)),
            near.epoll_ctl(epfd, libc::EPOLL_CTL_ADD, fd, event(IN, 0)),
            near.epoll_ctl(epfd, libc::EPOLL_CTL_DEL, fd, event(IN | EXCLUSIVE, 0)),
            near.epoll_ctl(epfd, libc::EPOLL_CTL_MOD, fd, event(IN | EXCLUSIVE, 0)),
            near.epoll_ctl(epfd, libc::EPOLL_CTL_ADD, fd, event(!EXCLUSIVE, 0)),
        ]);
        format!("{single} {nested} {later}")
    }),
    ("wait", |s| {
        let epfd = instance(s);
        let pairs = [(epfd, 0), (epfd, 1), (s.fd, 0), (s.fd, 1), (-1, 1), (-1, 0), (5000, 1)];
        many(pairs.map(|(fd, max)| s.near().epoll_wait(fd, max).map(drop)))
    }),
    ("nested in a circle", |s| {
        let epfds = [instance(s), instance(s), instance(s)];
        let add =
            |a: usize, b: usize| s.near().epoll_ctl(epfds[a], libc::EPOLL_CTL_ADD, epfds[b], event(IN, 0));
        many([add(0, 1), add(1, 0), add(1, 2), add(2, 0), add(2, 1), add(0, 2), add(0, 1)])
    }),
    ("nested deep", |s| {
        let down: Vec<String> = (2..8).map(|count| chain(s, count, |at| at)).collect();
        let up: Vec<String> = (2..8).map(|count| chain(s, count, |at| count - 2 - at)).collect();
        format!("{down:?} {up:?}")
    }),
    ("calls of sockets", |s| {
        let epfd = instance(s);
        let near = s.near();
        let any = std::net::SocketAddr::new(s.sides.near_ip(Family::Inet), 0);
        let answers = many([
            near.bind(epfd, any),
            near.listen(epfd, 1),
            near.accept(epfd, 0).map(drop),
            near.accept(epfd, 1).map(drop),
            near.connect(epfd, any.into()),
            near.connect(epfd, Destination::Unspecified),
            near.getsockname(epfd).map(drop),
            near.getpeername(epfd).map(drop),
            near.recv(epfd, 1, 0).map(drop),
            near.recv(epfd, 0, libc::MSG_PEEK).map(drop),
            near.send(epfd, b"x", 0).map(drop),
            near.shutdown(epfd, libc::SHUT_RD),
            near.shutdown(epfd, 9),
            near.setsockopt(epfd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, &[0; 4]),
            near.getsockopt(epfd, libc::SOL_SOCKET, libc::SO_ERROR, 4).map(drop),
            near.ioctl(epfd, SIOCINQ).map(drop),
            near.ioctl(epfd, SIOCATMARK).map(drop),
            near.set_nonblocking(epfd, true),
        ]);
        format!("{answers} {}", named(near.poll(epfd, libc::POLLIN | libc::POLLOUT) as u32))
    }),
    ("select", |s| {
        let near = s.near();
        let fd = s.fd;
        let count =
            |nfds, sets| near.select(nfds, sets).map(|(count, sets)| (count, sets.map(|set| set.len())));
        let answers = [
            count(-1, [&[fd], &[], &[]]),
            count(0, [&[fd], &[fd], &[fd]]),
            count(fd + 1, [&[], &[], &[]]),
            count(fd + 1, [&[fd], &[], &[]]),
            count(fd + 1, [&[], &[fd], &[]]),
            count(fd + 1, [&[], &[], &[fd]]),
        ];
        // It is no descriptor of this table any more, though below its end: Linux does not look at what is beyond.
        let gone = near.socket(libc::AF_INET, libc::SOCK_STREAM, 0).expect("socket");
        near.close(gone).expect("close");
        let closed = near.select(gone + 1, [&[], &[gone], &[]]).map(|(count, _)| count);
        let unasked = near.select(gone, [&[], &[gone], &[]]).map(|(count, _)| count);
        format!("{answers:?} {closed:?} {unasked:?}")
    }),
];

#[test]
fn what_epoll_and_select_refuse_is_what_linux_refuses() {
    if !polytcp_lab::require_or_skip() {
        return;
    }
    let mut stories = Vec::new();
    for (protocol, name) in PROTOCOLS {
        for (misuse, tell) in MISUSES {
            stories.push(Story {
                name: format!("{name} epoll misuse: {misuse}"),
                tell: Box::new(move |world| {
                    tell(&mut Scene::new(world.sides(), kind(protocol), State::Connected))
                }),
            });
        }
    }
    compare(&World::linux(), &World::stack(), &stories);
}
