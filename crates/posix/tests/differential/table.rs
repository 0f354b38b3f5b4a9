//! Every call in every state, on sockets that block and that do not: what it answers, and what `poll` says before and after.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use polytcp_posix::{Destination, Errno, SIOCATMARK, SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, TCP_IS_MPTCP, libc};

use crate::differences::{self, Difference};
use crate::scene::{Kind, Scene, State};
use crate::world::{Family, World, settle, with_patience};

/// Cells that are tried at once; they mostly wait.
const WORKERS: usize = 24;

/// How often as long as usual each attempt waits.
const PATIENCE: [u32; 3] = [1, 4, 16];

/// A call, and its answer as a text.
type Call = fn(&mut Scene<'_>) -> String;

fn told<T: Debug>(answer: Result<T, Errno>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("E{}", error.raw_os_error()),
    }
}

/// Without the port, if there is one: which it is, is chance.
fn told_name(answer: Result<SocketAddr, Errno>) -> String {
    told(answer.map(|name| (name.ip(), name.port() != 0)))
}

fn number(scene: &Scene<'_>, level: i32, name: i32) -> String {
    told(scene.near().getsockopt(scene.fd, level, name, 4))
}

fn poll(scene: &Scene<'_>) -> String {
    let asked =
        libc::POLLIN | libc::POLLPRI | libc::POLLOUT | libc::POLLRDHUP | libc::POLLRDNORM | libc::POLLWRNORM;
    let mask = scene.near().poll(scene.fd, asked);
    let names = [
        (libc::POLLIN, "IN"),
        (libc::POLLPRI, "PRI"),
        (libc::POLLOUT, "OUT"),
        (libc::POLLERR, "ERR"),
        (libc::POLLHUP, "HUP"),
        (libc::POLLRDHUP, "RDHUP"),
        (libc::POLLNVAL, "NVAL"),
        (libc::POLLRDNORM, "RDNORM"),
        (libc::POLLWRNORM, "WRNORM"),
    ];
    let set: Vec<&str> = names.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect();
    set.join("|")
}

/// An address that is not of the socket's family.
fn other_family(scene: &Scene<'_>) -> SocketAddr {
    match scene.kind.family {
        Family::Inet => SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 9], 9)),
        Family::Inet6 | Family::Mapped => SocketAddr::from(([10, 0, 0, 9], 9)),
    }
}

fn recv(scene: &mut Scene<'_>, len: usize, flags: i32) -> String {
    let near = scene.near();
    let answers: Vec<String> = (0..3).map(|_| told(near.recv(scene.fd, len, flags))).collect();
    answers.join(" ")
}

fn connect_elsewhere(scene: &mut Scene<'_>) -> String {
    let listener = scene.listener();
    let to = scene.far().getsockname(listener).expect("name");
    let first = told(scene.near().connect(scene.fd, to.into()));
    settle();
    let second = told(scene.near().connect(scene.fd, to.into()));
    settle();
    format!("{first} {second} {}", told(scene.near().connect(scene.fd, to.into())))
}

const CALLS: &[(&str, Call)] = &[
    ("poll", |_| String::new()),
    ("bind", |s| told(s.near().bind(s.fd, SocketAddr::new(s.sides.near_ip(s.kind.family), 0)))),
    ("bind elsewhere", |s| told(s.near().bind(s.fd, s.kind.family.foreign()))),
    ("bind other family", |s| told(s.near().bind(s.fd, other_family(s)))),
    ("listen", |s| told(s.near().listen(s.fd, 5))),
    ("accept", |s| {
        let accepted = s.near().accept(s.fd, libc::SOCK_NONBLOCK);
        accepted.iter().for_each(|(fd, _)| s.keep(*fd));
        told(accepted.map(|(_, peer)| peer.ip()))
    }),
    ("connect", connect_elsewhere),
    ("connect other family", |s| told(s.near().connect(s.fd, other_family(s).into()))),
    ("disconnect", |s| {
        let first = told(s.near().connect(s.fd, Destination::Unspecified));
        format!("{first} {}", connect_elsewhere(s))
    }),
    ("getsockname", |s| told_name(s.near().getsockname(s.fd))),
    ("getpeername", |s| told_name(s.near().getpeername(s.fd))),
    ("recv", |s| recv(s, 3, 0)),
    ("recv nothing", |s| recv(s, 0, 0)),
    ("recv all", |s| recv(s, 10, libc::MSG_WAITALL)),
    ("peek", |s| recv(s, 3, libc::MSG_PEEK)),
    ("peek all", |s| recv(s, 10, libc::MSG_PEEK | libc::MSG_WAITALL)),
    ("recv error queue", |s| recv(s, 3, libc::MSG_ERRQUEUE)),
    ("recv urgent", |s| recv(s, 3, libc::MSG_OOB)),
    ("send", |s| {
        let first = told(s.near().send(s.fd, b"abc", 0));
        settle();
        format!("{first} {}", told(s.near().send(s.fd, b"abc", 0)))
    }),
    ("send nothing", |s| told(s.near().send(s.fd, b"", 0))),
    ("shutdown read", |s| told(s.near().shutdown(s.fd, libc::SHUT_RD))),
    ("shutdown write", |s| told(s.near().shutdown(s.fd, libc::SHUT_WR))),
    ("shutdown both", |s| told(s.near().shutdown(s.fd, libc::SHUT_RDWR))),
    ("shutdown nonsense", |s| told(s.near().shutdown(s.fd, 3))),
    ("shutdown then recv", |s| {
        let first = told(s.near().shutdown(s.fd, libc::SHUT_RDWR));
        format!("{first} {}", recv(s, 3, 0))
    }),
    ("SO_ERROR", |s| {
        let first = number(s, libc::SOL_SOCKET, libc::SO_ERROR);
        format!("{first} {} {}", number(s, libc::SOL_SOCKET, libc::SO_ERROR), recv(s, 3, 0))
    }),
    ("SO_ACCEPTCONN", |s| number(s, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)),
    ("SO_PROTOCOL", |s| number(s, libc::SOL_SOCKET, libc::SO_PROTOCOL)),
    ("TCP_IS_MPTCP", |s| number(s, libc::SOL_TCP, TCP_IS_MPTCP)),
    ("SIOCINQ", |s| told(s.near().ioctl(s.fd, SIOCINQ))),
    ("SIOCOUTQ", |s| told(s.near().ioctl(s.fd, SIOCOUTQ))),
    ("SIOCOUTQNSD", |s| told(s.near().ioctl(s.fd, SIOCOUTQNSD))),
    ("SIOCATMARK", |s| told(s.near().ioctl(s.fd, SIOCATMARK))),
];

/// One cell of the table.
#[derive(Clone, Copy)]
struct Cell {
    kind: Kind,
    state: State,
    call: usize,
}

impl Cell {
    /// Sockets that do not block in all families, and such that do in one.
    fn all() -> Vec<Self> {
        let ways =
            [(Family::Inet, false), (Family::Inet, true), (Family::Inet6, false), (Family::Mapped, false)];
        let mut cells = Vec::new();
        for (family, blocks) in ways {
            for protocol in [libc::IPPROTO_MPTCP, libc::IPPROTO_TCP] {
                let kind = Kind { protocol, family, blocks };
                for state in State::ALL {
                    cells.extend((0..CALLS.len()).map(|call| Self { kind, state, call }));
                }
            }
        }
        // Linux waits there for ever: see docs/differences.md.
        cells.retain(|cell| cell.name() != "MPTCP blocking Listening: accept");
        cells
    }

    fn name(&self) -> String {
        let protocol = if self.kind.protocol == libc::IPPROTO_TCP { "TCP" } else { "MPTCP" };
        let family = match self.kind.family {
            Family::Inet => "",
            Family::Inet6 => " IPv6",
            Family::Mapped => " mapped",
        };
        let blocking = if self.kind.blocks { " blocking" } else { "" };
        format!("{protocol}{family}{blocking} {:?}: {}", self.state, CALLS[self.call].0)
    }

    fn run(&self, world: &World) -> String {
        let mut scene = Scene::new(world.sides(), self.kind, self.state);
        let before = poll(&scene);
        let answer = (CALLS[self.call].1)(&mut scene);
        settle();
        format!("[{before}] {answer} [{}]", poll(&scene))
    }
}

#[test]
fn every_call_in_every_state_answers_as_linux() {
    if !polytcp_lab::require_or_skip() {
        return;
    }
    let (linux, stack) = (World::linux(), World::stack());
    let cells = Cell::all();
    let next = AtomicUsize::new(0);
    let differences = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // A machine that is busy may be late: only what stays different is.
                    let both = |patience: &u32| {
                        let (theirs, ours) =
                            with_patience(*patience, || (cell.run(&linux), cell.run(&stack)));
                        (theirs != ours).then(|| Difference { name: cell.name(), theirs, ours })
                    };
                    if let Some(difference) = PATIENCE.iter().map_while(both).nth(PATIENCE.len() - 1) {
                        differences.lock().expect("no panic").push(difference);
                    }
                }
            });
        }
    });
    let differences = differences.into_inner().expect("no panic");
    differences::judge(cells.iter().map(Cell::name), differences);
}
