//! Every call in every state, on sockets that block and that do not: what it answers, and what `poll` says before and after.

use std::net::SocketAddr;

use polytcp_posix::{Destination, SIOCATMARK, SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, TCP_IS_MPTCP, libc};

use crate::compare::compare;
use crate::differences;
use crate::scene::{Kind, Scene, State};
use crate::told::{told, told_mask, told_name};
use crate::world::{Family, World, settle};

/// A call, and its answer as a text.
type Call = fn(&mut Scene<'_>) -> String;

fn number(scene: &Scene<'_>, level: i32, name: i32) -> String {
    told(scene.near().getsockopt(scene.fd, level, name, 4))
}

fn poll(scene: &Scene<'_>) -> String {
    told_mask(scene.near(), scene.fd)
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
    ("bind other family", |s| told(s.near().bind(s.fd, s.kind.family.other()))),
    ("listen", |s| told(s.near().listen(s.fd, 5))),
    ("accept", |s| {
        let accepted = s.near().accept(s.fd, libc::SOCK_NONBLOCK);
        accepted.iter().for_each(|(fd, _)| s.keep(*fd));
        told(accepted.map(|(_, peer)| peer.ip()))
    }),
    ("connect", connect_elsewhere),
    ("connect other family", |s| told(s.near().connect(s.fd, s.kind.family.other().into()))),
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
    let cells = Cell::all();
    let differences = compare(&cells, Cell::name, Cell::run);
    differences::judge(cells.iter().map(Cell::name), differences);
}
