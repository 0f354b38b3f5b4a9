//! How a socket comes into a state.

use std::net::SocketAddr;

use polytcp_posix::{Destination, Errno, Fd, libc};

use crate::bsd::Bsd;
use crate::world::{Family, Sides, settle, settle_until};

/// A socket in a state, with what keeps it there.
pub(crate) struct Scene<'a> {
    pub(crate) sides: Sides<'a>,
    pub(crate) kind: Kind,
    /// The socket under test.
    pub(crate) fd: Fd,
    /// Closed at the end: descriptors of the side under test and of its peer.
    near: Vec<Fd>,
    far: Vec<Fd>,
}

/// Ways into a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Fresh,
    Bound,
    Listening,
    /// With a connection that waits.
    ListeningAwaited,
    /// Nobody answers.
    Connecting,
    Connected,
    Accepted,
    Unread,
    ShutWrite,
    ShutRead,
    ShutBoth,
    PeerShut,
    PeerShutUnread,
    PeerClosed,
    /// The peer closed its direction first.
    DonePeerFirst,
    DoneOwnFirst,
    Reset,
    ResetUnread,
    ResetAfterPeerShut,
    Refused,
    /// After `SO_ERROR` told it.
    RefusedTold,
    Disconnected,
}

impl State {
    pub(crate) const ALL: [Self; 22] = [
        Self::Fresh,
        Self::Bound,
        Self::Listening,
        Self::ListeningAwaited,
        Self::Connecting,
        Self::Connected,
        Self::Accepted,
        Self::Unread,
        Self::ShutWrite,
        Self::ShutRead,
        Self::ShutBoth,
        Self::PeerShut,
        Self::PeerShutUnread,
        Self::PeerClosed,
        Self::DonePeerFirst,
        Self::DoneOwnFirst,
        Self::Reset,
        Self::ResetUnread,
        Self::ResetAfterPeerShut,
        Self::Refused,
        Self::RefusedTold,
        Self::Disconnected,
    ];
}

/// Which socket is under test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind {
    pub(crate) protocol: i32,
    pub(crate) family: Family,
    /// Its calls wait, for a short time.
    pub(crate) blocks: bool,
}

/// How long calls wait that wait.
const BLOCKING_MICROS: i64 = 40_000;

const KIND: i32 = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;

/// Lets a socket block, for a short time.
pub(crate) fn let_block(side: &dyn Bsd, fd: Fd) {
    side.set_nonblocking(fd, false).expect("FIONBIO");
    let mut timeout = [0; 16];
    timeout[8..].copy_from_slice(&BLOCKING_MICROS.to_ne_bytes());
    for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        side.setsockopt(fd, libc::SOL_SOCKET, name, &timeout).expect("a timeout");
    }
}

/// How often a connection that has not come yet is waited for, on a machine that is busy.
const ACCEPTS_MAX: u32 = 200;

/// Takes the connection that a listener has, or will have soon.
pub(crate) fn accept(side: &dyn Bsd, listener: Fd) -> Fd {
    for _ in 0..ACCEPTS_MAX {
        match side.accept(listener, libc::SOCK_NONBLOCK) {
            Ok((fd, _)) => return fd,
            Err(Errno::AGAIN) => settle(),
            Err(error) => panic!("accept: {error}"),
        }
    }
    panic!("nobody has come")
}

impl<'a> Scene<'a> {
    /// A socket of `kind` in `state`.
    pub(crate) fn new(sides: Sides<'a>, kind: Kind, state: State) -> Self {
        let fd = sides.near.socket(kind.family.domain(), KIND, kind.protocol).expect("socket");
        let mut scene = Self { sides, kind, fd, near: Vec::new(), far: Vec::new() };
        scene.bring_to(state);
        if kind.blocks {
            let_block(scene.near(), scene.fd);
        }
        scene
    }

    fn bring_to(&mut self, state: State) {
        let near_any = SocketAddr::new(self.sides.near_ip(self.kind.family), 0);
        match state {
            State::Fresh => {}
            State::Bound => self.near().bind(self.fd, near_any).expect("bind"),
            State::Listening | State::ListeningAwaited | State::Accepted => {
                self.near().bind(self.fd, near_any).expect("bind");
                self.near().listen(self.fd, 5).expect("listen");
                if state == State::Listening {
                    return;
                }
                let to = self.near().getsockname(self.fd).expect("name");
                let client =
                    self.far().socket(self.kind.family.domain(), KIND, self.kind.protocol).expect("socket");
                self.far.push(client);
                let _ = self.far().connect(client, to.into());
                settle();
                settle_until(self.near(), self.fd, libc::POLLIN);
                if state == State::Accepted {
                    self.near.push(self.fd);
                    self.fd = accept(self.near(), self.fd);
                }
            }
            State::Connecting => self.connect(self.sides.silent(self.kind.family)),
            State::Refused | State::RefusedTold => {
                self.connect(SocketAddr::new(self.sides.far_ip(self.kind.family), 1));
                settle();
                if state == State::RefusedTold {
                    self.near().getsockopt(self.fd, libc::SOL_SOCKET, libc::SO_ERROR, 4).expect("error");
                }
            }
            _ => self.bring_open_to(state),
        }
    }

    /// States that begin with a connection to the peer.
    fn bring_open_to(&mut self, state: State) {
        let listener = self.listener();
        self.connect(self.far().getsockname(listener).expect("name"));
        settle();
        settle_until(self.near(), self.fd, libc::POLLOUT);
        let peer = accept(self.far(), listener);
        self.far.push(peer);
        settle();
        let unread = matches!(state, State::Unread | State::PeerShutUnread | State::ResetUnread);
        if unread {
            self.far().send(peer, b"hello", 0).expect("send");
        }
        match state {
            State::ShutWrite | State::DoneOwnFirst => {
                self.near().shutdown(self.fd, libc::SHUT_WR).expect("shutdown");
            }
            State::ShutRead => self.near().shutdown(self.fd, libc::SHUT_RD).expect("shutdown"),
            State::ShutBoth => self.near().shutdown(self.fd, libc::SHUT_RDWR).expect("shutdown"),
            State::PeerShut | State::PeerShutUnread | State::DonePeerFirst | State::ResetAfterPeerShut => {
                self.far().shutdown(peer, libc::SHUT_WR).expect("shutdown");
            }
            State::PeerClosed => self.close_peer(peer),
            State::Disconnected => {
                self.near().connect(self.fd, Destination::Unspecified).expect("disconnect");
            }
            _ => {}
        }
        settle();
        match state {
            State::DonePeerFirst => self.near().shutdown(self.fd, libc::SHUT_WR).expect("shutdown"),
            State::DoneOwnFirst => self.far().shutdown(peer, libc::SHUT_WR).expect("shutdown"),
            // Unread data of the peer turns its close into an abort.
            State::Reset | State::ResetUnread | State::ResetAfterPeerShut => {
                self.near().send(self.fd, b"x", 0).expect("send");
                settle();
                self.close_peer(peer);
            }
            _ => return,
        }
        settle();
        settle();
    }

    fn connect(&self, to: SocketAddr) {
        let _ = self.near().connect(self.fd, to.into());
    }

    pub(crate) fn close_peer(&mut self, peer: Fd) {
        self.far.retain(|fd| *fd != peer);
        self.far().close(peer).expect("close");
    }

    /// A listener of the peer's.
    pub(crate) fn listener(&mut self) -> Fd {
        let listener =
            self.far().socket(self.kind.family.domain(), KIND, self.kind.protocol).expect("socket");
        self.far().bind(listener, SocketAddr::new(self.sides.far_ip(self.kind.family), 0)).expect("bind");
        self.far().listen(listener, 5).expect("listen");
        self.far.push(listener);
        listener
    }

    /// A descriptor to be closed at the end.
    pub(crate) fn keep(&mut self, fd: Fd) {
        self.near.push(fd);
    }

    /// Closes a descriptor now, not at the end.
    pub(crate) fn close(&mut self, fd: Fd) {
        self.near.retain(|kept| *kept != fd);
        self.near().close(fd).expect("close");
    }

    /// A descriptor of the peer to be closed at the end.
    pub(crate) fn keep_far(&mut self, fd: Fd) {
        self.far.push(fd);
    }

    pub(crate) fn near(&self) -> &dyn Bsd {
        &*self.sides.near
    }

    pub(crate) fn far(&self) -> &dyn Bsd {
        &self.sides.far
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        self.near.push(self.fd);
        self.near.iter().for_each(|fd| {
            let _ = self.sides.near.close(*fd);
        });
        self.far.iter().for_each(|fd| {
            let _ = self.sides.far.close(*fd);
        });
    }
}
