//! Programs of socket calls, as texts: one step a line, `socket call arguments`.
//!
//! Sockets have names: `n0` to `n3` are on the side under test, `f0` to `f3` are its peer's, the kernel's. After each step
//! everything is given time to become quiet, and what `poll` says of every socket is noted beside the call's answer.
//!
//! | step | what it does |
//! | --- | --- |
//! | `n0 socket mptcp`, `n0 socket tcp blocking` | opens; one that blocks waits 40 ms at most |
//! | `n0 bind own`, `any`, `foreign`, `f0` | binds to the own address, to all, to one that is not its own, to that of another socket |
//! | `n0 listen 5` | |
//! | `n0 connect f0`, `refused`, `silent`, `unspec`, `other` | connects to where another socket is, to a closed port, to where nobody answers, to `AF_UNSPEC`, to the other family |
//! | `n1 accept n0` | takes a connection of `n0` to be `n1` |
//! | `n0 send 100 more`, `n0 recv 50 peek waitall` | with flags by their names |
//! | `n0 shutdown rd`, `wr`, `rdwr`, `bad`; `n0 close` | |
//! | `n0 set SO_RCVLOWAT 10`, `n0 get SO_ERROR` | options, by the names in `options` |
//! | `n0 ioctl inq`, `outq`, `outqnsd`, `atmark` | |
//! | `n0 name`, `n0 peer`, `n0 nonblock on`, `n0 nonblock off` | |

use std::fmt::Write;
use std::net::SocketAddr;

use polytcp_posix::{Destination, Fd, SIOCATMARK, SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, libc};

use crate::bsd::Bsd;
use crate::options::Named;
use crate::told::{told, told_mask, told_name};
use crate::world::{Family, Sides, World, settle};

/// Sockets of a side.
pub(crate) const SLOTS: usize = 4;

const FLAGS: &[(&str, i32)] = &[
    ("peek", libc::MSG_PEEK),
    ("waitall", libc::MSG_WAITALL),
    ("dontwait", libc::MSG_DONTWAIT),
    ("trunc", libc::MSG_TRUNC),
    ("nosignal", libc::MSG_NOSIGNAL),
    ("more", libc::MSG_MORE),
    ("oob", libc::MSG_OOB),
    ("errqueue", libc::MSG_ERRQUEUE),
    ("eor", libc::MSG_EOR),
];

/// Steps with a title and a family of addresses.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) title: String,
    pub(crate) family: Family,
    pub(crate) steps: Vec<String>,
}

/// Programs of a file: each begins with a line `# title`; one for `family` without the file's own.
pub(crate) fn read(text: &str, family: Family) -> Vec<Program> {
    let mut programs: Vec<Program> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match (line.strip_prefix("# "), programs.last_mut()) {
            (Some(title), _) => {
                programs.push(Program { title: title.to_owned(), family, steps: Vec::new() });
            }
            (None, Some(program)) => program.steps.extend(line.split(';').map(|step| step.trim().to_owned())),
            (None, None) => panic!("a step before the first title: {line}"),
        }
    }
    programs
}

/// An open socket.
#[derive(Clone, Copy)]
struct Open {
    fd: Fd,
    blocks: bool,
    /// Octets sent so far: where its pattern is.
    sent: usize,
    /// Whether the peer's answers can be compared.
    trust: Trust,
}

/// A client of the peer's that a server resets before it has heard of it is another thing where the server is Linux: the stack's
/// server has said by then that it speaks MPTCP (docs/differences.md).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Everything counts.
    Full,
    /// Nothing has come from the server yet.
    Unconfirmed,
    /// It was reset before.
    Lost,
}

impl Open {
    fn new(fd: Fd) -> Self {
        Self { fd, blocks: false, sent: 0, trust: Trust::Full }
    }
}

/// A program that runs.
struct Run<'a> {
    sides: Sides<'a>,
    family: Family,
    near: [Option<Open>; SLOTS],
    far: [Option<Open>; SLOTS],
}

/// Names a socket: its side and its slot.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    is_near: bool,
    slot: usize,
}

impl Name {
    fn parse(name: &str) -> Option<Self> {
        let is_near = match name.as_bytes().first()? {
            b'n' => true,
            b'f' => false,
            _ => return None,
        };
        let slot = name[1..].parse().ok().filter(|slot| *slot < SLOTS)?;
        Some(Self { is_near, slot })
    }
}

impl Program {
    /// Runs it, and tells every answer.
    pub(crate) fn run(&self, world: &World) -> String {
        let mut run =
            Run { sides: world.sides(), family: self.family, near: [None; SLOTS], far: [None; SLOTS] };
        let mut told = String::new();
        for step in &self.steps {
            let answer = run.step(step);
            settle();
            let masks = run.masks();
            let _ = writeln!(told, "  {step}: {answer}{masks}");
        }
        told
    }
}

impl Run<'_> {
    fn side(&self, is_near: bool) -> &dyn Bsd {
        if is_near { &*self.sides.near } else { &self.sides.far }
    }

    fn place(&mut self, name: Name) -> &mut Option<Open> {
        if name.is_near { &mut self.near[name.slot] } else { &mut self.far[name.slot] }
    }

    fn masks(&mut self) -> String {
        self.judge_trust();
        let mut told = String::new();
        for (letter, is_near, sockets) in [('n', true, &self.near), ('f', false, &self.far)] {
            for (slot, open) in sockets.iter().enumerate() {
                let Some(open) = open else { continue };
                let _ = match open.trust {
                    Trust::Lost => write!(told, " {letter}{slot}~"),
                    _ => write!(told, " {letter}{slot}[{}]", told_mask(self.side(is_near), open.fd)),
                };
            }
        }
        told
    }

    fn judge_trust(&mut self) {
        for open in self.far.iter_mut().flatten().filter(|open| open.trust == Trust::Unconfirmed) {
            let mask = self.sides.far.poll(open.fd, libc::POLLIN);
            if mask & libc::POLLERR != 0 {
                open.trust = Trust::Lost;
            } else if mask & libc::POLLIN != 0 {
                open.trust = Trust::Full;
            }
        }
    }

    fn step(&mut self, step: &str) -> String {
        let mut words = step.split_whitespace();
        let name = words.next().and_then(Name::parse).unwrap_or_else(|| panic!("no socket in {step:?}"));
        let call = words.next().unwrap_or_else(|| panic!("no call in {step:?}"));
        let arguments: Vec<&str> = words.collect();
        match (call, *self.place(name)) {
            ("socket", None) => self.socket(name, &arguments),
            ("accept", None) => self.accept(name, arguments[0]),
            // A socket that is missing may come from an answer that differs, which is told already.
            ("socket" | "accept", Some(_)) | (_, None) => String::from("-"),
            ("close", Some(open)) => {
                *self.place(name) = None;
                told(self.side(name.is_near).close(open.fd))
            }
            (call, Some(open)) => {
                if !name.is_near && call == "connect" && open.trust == Trust::Full {
                    self.far[name.slot] = Some(Open { trust: Trust::Unconfirmed, ..open });
                }
                let answer = self.call(name, open, call, &arguments);
                if open.trust == Trust::Lost { String::from("~") } else { answer }
            }
        }
    }

    fn socket(&mut self, name: Name, arguments: &[&str]) -> String {
        let protocol = match arguments[0] {
            "mptcp" => libc::IPPROTO_MPTCP,
            "tcp" => libc::IPPROTO_TCP,
            other => panic!("no protocol: {other}"),
        };
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        let answer = self.side(name.is_near).socket(self.family.domain(), kind, protocol);
        if let Ok(fd) = answer {
            let blocks = arguments.get(1) == Some(&"blocking");
            if blocks {
                crate::scene::let_block(self.side(name.is_near), fd);
            }
            *self.place(name) = Some(Open { blocks, ..Open::new(fd) });
        }
        told(answer.map(drop))
    }

    fn accept(&mut self, name: Name, listener: &str) -> String {
        let from = Name::parse(listener).expect("a listener's name");
        let Some(listener) = *self.place(from) else { return String::from("-") };
        let side = self.side(name.is_near);
        // Linux waits there for ever: see docs/differences.md.
        if listener.blocks && side.poll(listener.fd, libc::POLLIN) == 0 {
            return String::from("-");
        }
        let answer = side.accept(listener.fd, libc::SOCK_NONBLOCK);
        if let Ok((fd, _)) = answer {
            *self.place(name) = Some(Open::new(fd));
        }
        told_name(answer.map(|(_, peer)| peer))
    }

    /// Where a socket is, as its side sees it.
    fn address_of(&mut self, name: &str) -> Option<SocketAddr> {
        let name = Name::parse(name)?;
        let open = (*self.place(name))?;
        let bound = self.side(name.is_near).getsockname(open.fd).ok()?;
        let ip = if name.is_near { self.sides.near_ip(self.family) } else { self.sides.far_ip(self.family) };
        Some(SocketAddr::new(ip, bound.port()))
    }

    fn own_ip(&self, name: Name) -> SocketAddr {
        let ip = if name.is_near { self.sides.near_ip(self.family) } else { self.sides.far_ip(self.family) };
        SocketAddr::new(ip, 0)
    }

    fn call(&mut self, name: Name, open: Open, call: &str, arguments: &[&str]) -> String {
        let fd = open.fd;
        let number = || arguments.first().and_then(|number| number.parse().ok()).expect("a number");
        let flags = arguments.iter().skip(1).map(|wanted| {
            FLAGS.iter().find(|(flag, _)| flag == wanted).unwrap_or_else(|| panic!("no flag: {wanted}")).1
        });
        match call {
            "bind" => {
                let to = match arguments[0] {
                    "own" => self.own_ip(name),
                    "any" => self.family.any(),
                    "foreign" => self.family.foreign(),
                    other => self.address_of(other).unwrap_or(self.own_ip(name)),
                };
                told(self.side(name.is_near).bind(fd, to))
            }
            "listen" => told(self.side(name.is_near).listen(fd, number())),
            "connect" => {
                let peer_ip = if name.is_near {
                    self.sides.far_ip(self.family)
                } else {
                    self.sides.near_ip(self.family)
                };
                let to: Destination = match arguments[0] {
                    "refused" => SocketAddr::new(peer_ip, 1).into(),
                    "silent" => self.sides.silent(self.family).into(),
                    "unspec" => Destination::Unspecified,
                    "other" => self.family.other().into(),
                    socket => match self.address_of(socket) {
                        Some(address) => address.into(),
                        None => return String::from("-"),
                    },
                };
                told(self.side(name.is_near).connect(fd, to))
            }
            "send" => {
                let len = number() as usize;
                let data: Vec<u8> = (open.sent..open.sent + len).map(|at| (at % 251) as u8).collect();
                let answer = self.side(name.is_near).send(fd, &data, flags.fold(0, |all, flag| all | flag));
                if let (Ok(sent), Some(open)) = (answer, self.place(name)) {
                    open.sent += sent;
                }
                told(answer)
            }
            "recv" => {
                let flags = flags.fold(0, |all, flag| all | flag);
                let answer = self.side(name.is_near).recv(fd, number() as usize, flags);
                told(answer.map(|data| (data.len(), data.first().copied(), data.last().copied())))
            }
            "shutdown" => {
                let how = match arguments[0] {
                    "rd" => libc::SHUT_RD,
                    "wr" => libc::SHUT_WR,
                    "rdwr" => libc::SHUT_RDWR,
                    _ => 9,
                };
                told(self.side(name.is_near).shutdown(fd, how))
            }
            "set" => {
                let option = Named::find(arguments[0]).unwrap_or_else(|| panic!("no option: {arguments:?}"));
                let value = option.value(arguments[1].parse().expect("a number"));
                told(self.side(name.is_near).setsockopt(fd, option.level, option.number, &value))
            }
            "get" => {
                let option = Named::find(arguments[0]).unwrap_or_else(|| panic!("no option: {arguments:?}"));
                let len = arguments.get(1).map_or(option.len(), |len| len.parse().expect("a length"));
                told(self.side(name.is_near).getsockopt(fd, option.level, option.number, len))
            }
            "ioctl" => {
                let request = match arguments[0] {
                    "inq" => SIOCINQ,
                    "outq" => SIOCOUTQ,
                    "outqnsd" => SIOCOUTQNSD,
                    "atmark" => SIOCATMARK,
                    other => panic!("no ioctl: {other}"),
                };
                told(self.side(name.is_near).ioctl(fd, request))
            }
            "name" => told_name(self.side(name.is_near).getsockname(fd)),
            "peer" => told_name(self.side(name.is_near).getpeername(fd)),
            "nonblock" => {
                if let Some(open) = self.place(name) {
                    open.blocks = arguments[0] == "off";
                }
                let side = self.side(name.is_near);
                if arguments[0] == "off" {
                    crate::scene::let_block(side, fd);
                    String::from("()")
                } else {
                    told(side.set_nonblocking(fd, true))
                }
            }
            other => panic!("no call: {other}"),
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        for (is_near, sockets) in [(true, &self.near), (false, &self.far)] {
            for open in sockets.iter().flatten() {
                let linger = Named::find("SO_LINGER").expect("listed");
                // Leaves no TIME-WAIT and nothing that goes on beside the next program.
                let side = self.side(is_near);
                let _ = side.setsockopt(open.fd, linger.level, linger.number, &linger.value(0));
                let _ = side.close(open.fd);
            }
        }
    }
}
