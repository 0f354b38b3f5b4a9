//! One socket: what it is bound and connected to, and how Linux would name its state.
//!
//! Linux keeps two states for a socket, and programs see both: the file's (`SS_UNCONNECTED`, `SS_CONNECTING`,
//! `SS_CONNECTED`), which moves with the program's calls, and the protocol's (`TCP_CLOSE` and so on), which moves with the
//! network. A refused connect, for instance, is over at once for the protocol, but for the file only when `connect` has told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use polytcp::raw::{self, CallError, ConnectionId, Instant, ListenerId, Watched, WriteBlock};
use polytcp::{Protocol, Stack};
use rustix::io::Errno;

use crate::epoll::Pollable;
use crate::errno;
use crate::options::Options;
use crate::ports::Ports;
use crate::queue::{Key, Queue, Ticket};

/// What all sockets of a table share.
pub(crate) struct Net {
    pub(crate) stack: Stack,
    pub(crate) ports: Mutex<Ports>,
    pub(crate) compat: crate::Compat,
}

/// Address family of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Domain {
    Inet,
    Inet6,
}

impl Domain {
    /// An address as a socket of this family tells it: an IPv6 one sees IPv4 as mapped (RFC 4291 §2.5.5.2).
    pub(crate) fn tell(self, address: SocketAddr) -> SocketAddr {
        match (self, address.ip()) {
            (Self::Inet6, IpAddr::V4(v4)) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
            _ => address,
        }
    }

    /// The unspecified address.
    pub(crate) fn any(self) -> IpAddr {
        match self {
            Self::Inet => Ipv4Addr::UNSPECIFIED.into(),
            Self::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// The file's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Unconnected,
    Connecting,
    Connected,
    /// Shut down after a `connect` that failed before anybody asked: only `connect` to `AF_UNSPEC` leads out.
    Disconnecting,
}

/// The protocol's state, as far as calls tell states apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Close,
    Listen,
    SynSent,
    /// ESTABLISHED and all that follows until both directions are done.
    Open,
}

/// What a socket has of the host.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Nothing,
    Listener(ListenerId),
    Connection(ConnectionId),
}

/// Directions that are shut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Shut {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Shut {
    pub(crate) const BOTH: Self = Self { read: true, write: true };

    pub(crate) fn is_both(self) -> bool {
        self == Self::BOTH
    }
}

/// What calls change.
pub(crate) struct Inner {
    pub(crate) stage: Stage,
    pub(crate) place: Place,
    /// What `bind` or `connect` gave it, the port drawn.
    pub(crate) local: Option<SocketAddr>,
    /// The port that it is bound to or listens at.
    pub(crate) claimed: Option<u16>,
    /// The address that `bind` gave it, which it keeps.
    pub(crate) bound: Option<IpAddr>,
    /// `bind` named the port: it is kept. One that was drawn goes with the connection.
    pub(crate) port_is_fixed: bool,
    /// Linux has made an MPTCP socket's first subflow: by `bind`, `listen` or `connect`, whether they failed or not.
    pub(crate) first_subflow: bool,
    pub(crate) peer: Option<SocketAddr>,
    /// What went wrong and was not told yet (`SO_ERROR`).
    pub(crate) error: Option<Errno>,
    pub(crate) shut: Shut,
    /// The end of the connection was taken note of.
    pub(crate) over: bool,
    pub(crate) options: Options,
}

/// What a socket is at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) shut: Shut,
    /// The peer's end of stream is next after what can be read.
    pub(crate) peer_finished: bool,
    pub(crate) readable_bytes: usize,
    pub(crate) unacked_bytes: u64,
    pub(crate) unsent_bytes: u64,
    pub(crate) writable: bool,
    /// A connection waits to be accepted.
    pub(crate) incoming: bool,
}

impl View {
    const NOTHING: Self = Self {
        state: State::Close,
        shut: Shut { read: false, write: false },
        peer_finished: false,
        readable_bytes: 0,
        unacked_bytes: 0,
        unsent_bytes: 0,
        writable: true,
        incoming: false,
    };
}

/// See the module.
pub(crate) struct Socket {
    pub(crate) net: Arc<Net>,
    pub(crate) id: u64,
    pub(crate) domain: Domain,
    pub(crate) protocol: Protocol,
    pub(crate) queue: Arc<Queue>,
    pub(crate) nonblocking: AtomicBool,
    inner: Mutex<Inner>,
    /// Held by one writer from asking for room to using it.
    pub(crate) writer: Mutex<WriteBlock>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// A name for what a descriptor names.
pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

impl Socket {
    pub(crate) fn new(net: &Arc<Net>, domain: Domain, protocol: Protocol, options: Options) -> Self {
        let inner = Inner {
            stage: Stage::Unconnected,
            place: Place::Nothing,
            local: None,
            claimed: None,
            bound: None,
            port_is_fixed: false,
            first_subflow: false,
            peer: None,
            error: None,
            shut: Shut::default(),
            over: false,
            options,
        };
        let queue = Arc::<Queue>::default();
        queue.set_recv_lowat(inner.options.recv_lowat as usize);
        Self {
            net: Arc::clone(net),
            id: next_id(),
            domain,
            protocol,
            queue,
            nonblocking: AtomicBool::new(false),
            inner: Mutex::new(inner),
            writer: Mutex::default(),
        }
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.net.stack
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    pub(crate) fn is_mptcp(&self) -> bool {
        self.protocol == Protocol::Mptcp
    }

    /// Lets the queue be rung by what happens to `watched`.
    pub(crate) fn watch(&self, watched: Watched) {
        self.stack().watch(watched, Arc::clone(&self.queue) as Arc<dyn raw::Watcher>);
    }

    /// A call of this socket changed its state.
    pub(crate) fn ring(&self) {
        self.ring_for(Key::ALL);
    }

    /// A call of this socket changed what others may wait for.
    pub(crate) fn ring_for(&self, key: Key) {
        let mut wakers = Vec::new();
        self.queue.ring(key, &mut wakers);
        self.stack().wake(wakers);
    }

    /// Somebody found no room: lets its coming ring. Looks whether it has come meanwhile, and rings then.
    pub(crate) fn want_room(&self, id: ConnectionId) {
        self.queue.want_room();
        if self.stack().look(|host| host.readiness(id).writable) && self.queue.take_room_wanted() {
            self.ring_for(Key::WRITE);
        }
    }

    /// An option was set that concerns those who wait.
    pub(crate) fn note_option(&self, level: i32, name: i32) {
        if (level, name) == (libc::SOL_SOCKET, libc::SO_RCVLOWAT) {
            self.queue.set_recv_lowat(self.lock().options.recv_lowat as usize);
            // What is there may be enough now (Linux: `tcp_set_rcvlowat`).
            let is_enough = Key::READ.meets(self.poll_mask());
            self.ring_for(if is_enough { Key::READ } else { Key::NOTHING });
        }
    }

    /// The socket has a connection from now on.
    pub(crate) fn take_connection(&self, inner: &mut Inner, id: ConnectionId) {
        inner.place = Place::Connection(id);
        inner.over = false;
        self.watch(Watched::Connection(id));
        // What happened before that was told to nobody.
        let readiness = self.stack().look(|host| host.readiness(id));
        if readiness.connected || readiness.closed {
            self.ring();
        }
    }

    /// The socket has no connection and does not listen any more; gives back what it had.
    pub(crate) fn vacate(&self, inner: &mut Inner) -> Place {
        match &inner.place {
            Place::Nothing => {}
            Place::Listener(id) => self.stack().unwatch(Watched::Listener(*id)),
            Place::Connection(id) => self.stack().unwatch(Watched::Connection(*id)),
        }
        std::mem::replace(&mut inner.place, Place::Nothing)
    }

    /// Looks at the socket, and takes note of a connection that has ended.
    pub(crate) fn view(&self, inner: &mut Inner) -> View {
        let mut view = View { shut: inner.shut, ..View::NOTHING };
        match &inner.place {
            Place::Nothing => {}
            Place::Listener(id) => {
                let id = *id;
                view.state = State::Listen;
                view.incoming = self.stack().look(|host| host.incoming(id) > 0);
            }
            Place::Connection(id) => {
                let id = *id;
                let (readiness, info, room) =
                    self.stack().look(|host| (host.readiness(id), host.info(id), host.write_room(id)));
                let peer_finished = info.as_ref().is_ok_and(|info| info.peer_finished);
                if readiness.closed && !inner.over {
                    inner.over = true;
                    if let Err(CallError::Failed(error)) = room {
                        let error = errno::connection(error, peer_finished);
                        inner.error = error.or(inner.error);
                    }
                    self.return_port(inner);
                }
                view.state = match readiness {
                    _ if readiness.closed => State::Close,
                    _ if !readiness.connected => State::SynSent,
                    _ => State::Open,
                };
                view.writable = readiness.writable;
                let mut was_open = true;
                let mut fell_back = false;
                if let Ok(info) = info {
                    was_open = info.was_established;
                    fell_back = self.is_mptcp() && !info.is_mptcp;
                    view.readable_bytes = info.bytes_readable;
                    view.unsent_bytes = info.bytes_unsent;
                    let control_unacked = match view.state {
                        // The SYN of a TCP connect that failed.
                        State::Close => !was_open && !self.is_mptcp(),
                        _ => info.data_fin_outstanding,
                    };
                    view.unacked_bytes = match view.state {
                        // Nothing is on its way any more.
                        State::Close if fell_back => 0,
                        _ => info.bytes_written.saturating_sub(info.bytes_acked) + u64::from(control_unacked),
                    };
                }
                view.peer_finished = peer_finished;
                // An MPTCP connect that failed leaves its directions open, and so does a reset after a fallback.
                let is_shut = readiness.closed && (was_open || !self.is_mptcp()) && !fell_back;
                view.shut.read |= peer_finished || is_shut;
                view.shut.write |= is_shut;
            }
        }
        view
    }

    /// Waits until `attempt` answers. `None` when `until` has passed before.
    pub(crate) fn wait<T>(
        &self,
        until: Option<Instant>,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        // Most calls need not wait.
        if let Some(answer) = attempt() {
            return Some(answer);
        }
        if until.is_some_and(|until| until <= raw::now()) {
            return None;
        }
        let ticket = Ticket::new();
        let answer = self.stack().block_on(until, |context| {
            self.queue.enter(ticket, context.waker());
            match attempt() {
                Some(answer) => Poll::Ready(Some(answer)),
                // Nothing will ever come.
                None if self.stack().has_failed() => Poll::Ready(None),
                None => Poll::Pending,
            }
        });
        self.queue.leave(ticket);
        answer.flatten()
    }

    /// What `poll` says (Linux: `mptcp_poll`, `tcp_poll`): `POLLIN` and so on.
    pub(crate) fn poll_mask(&self) -> u32 {
        let mut inner = self.lock();
        let view = self.view(&mut inner);
        const IN: u32 = (libc::POLLIN | libc::POLLRDNORM) as u32;
        const OUT: u32 = (libc::POLLOUT | libc::POLLWRNORM) as u32;
        if view.state == State::Listen {
            return if view.incoming { IN } else { 0 };
        }
        let mut mask = 0;
        if view.shut.is_both() || view.state == State::Close {
            mask |= libc::POLLHUP as u32;
        }
        if view.shut.read {
            mask |= IN | libc::POLLRDHUP as u32;
        }
        if view.state != State::SynSent {
            let lowat = inner.options.recv_lowat.clamp(1, i32::MAX as u32) as usize;
            if view.readable_bytes >= lowat || (view.readable_bytes > 0 && view.shut.read) {
                mask |= IN;
            }
            if view.shut.write || view.writable || self.has_room_after_all(&inner) {
                mask |= OUT;
            }
        }
        if inner.error.is_some() {
            mask |= libc::POLLERR as u32;
        }
        mask
    }
}

impl Socket {
    /// Asks for room where there was none, and looks again, as those who ask must.
    fn has_room_after_all(&self, inner: &Inner) -> bool {
        self.queue.want_room();
        match inner.place {
            Place::Connection(id) => self.stack().look(|host| host.readiness(id).writable),
            _ => true,
        }
    }
}

impl Pollable for Socket {
    fn id(&self) -> u64 {
        self.id
    }

    fn mask(&self) -> u32 {
        self.poll_mask()
    }

    fn queue(&self) -> &Queue {
        &self.queue
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.queue.detach();
        self.release();
    }
}
