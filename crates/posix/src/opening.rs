//! `bind`, `listen`, `accept`, `connect`, and the names of both ends.

use std::net::{IpAddr, SocketAddr};

use polytcp::raw::{self, ConnectionId, Watched};
use polytcp::{ConnectOptions, ListenOptions, Protocol};
use rustix::io::Errno;

use crate::errno;
use crate::ports::Wanted;
use crate::socket::{Domain, Inner, Place, Shut, Socket, Stage, State};

/// Where `connect` goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// An address of the socket's family.
    Address(SocketAddr),
    /// `AF_UNSPEC`: nowhere, which disconnects.
    Unspecified,
    /// An address that could not be read, and why. What the socket's state forbids is told first.
    Malformed(Errno),
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl Socket {
    pub(crate) fn bind(&self, address: SocketAddr) -> Result<(), Errno> {
        let inner = &mut *self.lock();
        let state = self.view(inner).state;
        inner.first_subflow = true;
        // Linux asks for the first subflow, which a socket in use does not lend.
        if self.is_mptcp() && !matches!(state, State::Close | State::Listen) {
            return Err(Errno::INVAL);
        }
        let local = self.own_form(address)?;
        let is_bound = state != State::Close || inner.claimed.is_some();
        // A mapped address is none of IPv6.
        if self.domain == Domain::Inet6 && inner.options.v6_only && local.is_ipv4() {
            return Err(Errno::INVAL);
        }
        // Which of two things that are wrong is told depends on the family.
        if is_bound && self.domain == Domain::Inet6 {
            return Err(Errno::INVAL);
        }
        if !self.stack().look(|host| host.can_bind(local)) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        if is_bound {
            return Err(Errno::INVAL);
        }
        self.claim(inner, local)?;
        inner.port_is_fixed = local.port() != 0;
        inner.bound = Some(local.ip());
        // As Linux, where an MPTCP socket does not hear of it.
        if local.is_ipv6() && !local.ip().is_unspecified() && !self.is_mptcp() {
            inner.options.v6_only = true;
        }
        Ok(())
    }

    /// Takes a local address and port; a port is drawn where there is none.
    fn claim(&self, inner: &mut Inner, local: SocketAddr) -> Result<(), Errno> {
        let wanted = self.wanted(inner, local);
        let port = self.ports().bind(&wanted, |local, remote| self.is_live(local, remote))?;
        inner.claimed = Some(port);
        inner.local = Some(SocketAddr::new(local.ip(), port));
        Ok(())
    }

    fn wanted(&self, inner: &Inner, local: SocketAddr) -> Wanted {
        let dual = self.is_dual(inner) && local.ip() == Domain::Inet6.any();
        Wanted { owner: self.id, local, dual, shares: inner.options.shares() }
    }

    /// A connection between these is still there, or in TIME-WAIT.
    fn is_live(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        self.stack().look(|host| host.has_flow(local, remote))
    }

    /// The options by which others may have the port too are others from now on.
    pub(crate) fn renew_shares(&self, inner: &Inner) {
        if let Some(local) = inner.local {
            self.ports().set_shares(self.id, local.port(), inner.options.shares());
        }
    }

    fn ports(&self) -> std::sync::MutexGuard<'_, crate::ports::Ports> {
        self.net.ports.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_dual(&self, inner: &Inner) -> bool {
        self.domain == Domain::Inet6 && !inner.options.v6_only
    }

    /// An address as the host has it, if the socket's family can mean it.
    fn own_form(&self, address: SocketAddr) -> Result<SocketAddr, Errno> {
        match (self.domain, address.ip()) {
            (Domain::Inet, IpAddr::V4(_)) => Ok(address),
            (Domain::Inet6, IpAddr::V6(v6)) => {
                let ip = v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4);
                Ok(SocketAddr::new(ip, address.port()))
            }
            // It is too short.
            (Domain::Inet6, IpAddr::V4(_)) => Err(Errno::INVAL),
            (Domain::Inet, IpAddr::V6(_)) => Err(Errno::AFNOSUPPORT),
        }
    }

    pub(crate) fn listen(&self, backlog: i32) -> Result<(), Errno> {
        let inner = &mut *self.lock();
        let state = self.view(inner).state;
        if inner.stage != Stage::Unconnected || !matches!(state, State::Close | State::Listen) {
            return Err(Errno::INVAL);
        }
        // Linux counts without a sign.
        let backlog = backlog as u32 as usize;
        if let Place::Listener(id) = inner.place {
            self.stack().call(|host, _| host.set_backlog(id, backlog));
            return Ok(());
        }
        inner.first_subflow = true;
        if inner.claimed.is_none() {
            self.claim(inner, SocketAddr::new(inner.bound.unwrap_or(self.domain.any()), 0))?;
        }
        let (Some(port), Some(local)) = (inner.claimed, inner.local) else { return Err(Errno::INVAL) };
        self.ports().set_listening(self.id, port, true)?;
        let options = ListenOptions {
            protocol: self.protocol,
            v6_only: inner.options.v6_only,
            reuse_port: inner.options.reuse_port(),
            buffers: inner.options.buffers(),
            backlog,
            defer_accept: inner.options.defer_accept(),
            fast_open: inner.options.fast_open as usize,
            ..ListenOptions::new(local)
        };
        let id = self.stack().call(|host, _| host.listen(&options)).map_err(|error| {
            let _ = self.ports().set_listening(self.id, port, false);
            errno::listen(error)
        })?;
        self.watch(Watched::Listener(id));
        inner.place = Place::Listener(id);
        Ok(())
    }

    /// Takes a connection out of the listener's queue.
    pub(crate) fn accept(&self) -> Result<Self, Errno> {
        let until = match self.is_nonblocking() {
            true => Some(raw::now()),
            false => self.lock().options.recv_until(),
        };
        self.wait(until, || self.try_accept()).unwrap_or(Err(Errno::AGAIN))
    }

    fn try_accept(&self) -> Option<Result<Self, Errno>> {
        let inner = self.lock();
        let Place::Listener(listener) = inner.place else { return Some(Err(Errno::INVAL)) };
        let (id, info) = self.stack().call(|host, _| {
            let id = host.accept(listener)?;
            Some((id, host.info(id)))
        })?;
        let protocol = self.stack().look(|host| host.socket_protocol(id)).unwrap_or(self.protocol);
        let mut options = inner.options.inherited();
        if self.is_mptcp() && protocol == Protocol::Tcp {
            options = options.of_first_subflow();
            options.v6_only |= inner.bound.is_some_and(|ip| ip.is_ipv6() && !ip.is_unspecified());
        }
        let accepted = Self::new(&self.net, self.domain, protocol, options);
        {
            let mut new = accepted.lock();
            new.stage = Stage::Connected;
            new.first_subflow = true;
            new.bound = inner.bound;
            new.port_is_fixed = inner.port_is_fixed;
            new.claimed = inner.claimed.filter(|_| inner.port_is_fixed);
            if let Ok(info) = info {
                new.local = Some(info.local);
                new.peer = Some(info.remote);
            }
            accepted.hold_port(&new);
            accepted.take_connection(&mut new, id);
            accepted.apply_options(&new, id);
        }
        Some(Ok(accepted))
    }

    pub(crate) fn connect(&self, to: Destination) -> Result<(), Errno> {
        let to = match to {
            Destination::Unspecified => return self.disconnect(),
            Destination::Address(to) => Ok(to),
            Destination::Malformed(error) => Err(error),
        };
        // Which answer a wait that did not end gives.
        let mut unfinished = Errno::INPROGRESS;
        {
            let inner = &mut *self.lock();
            match inner.stage {
                Stage::Connected => return Err(Errno::ISCONN),
                Stage::Connecting => unfinished = Errno::ALREADY,
                Stage::Disconnecting => return Err(Errno::INVAL),
                Stage::Unconnected => {
                    if self.view(inner).state != State::Close {
                        return Err(Errno::ISCONN);
                    }
                    inner.first_subflow = true;
                    self.start(inner, self.own_form(to?)?)?;
                    // The handshake may be over already; Linux has not looked yet.
                    if self.is_nonblocking() {
                        return Err(Errno::INPROGRESS);
                    }
                }
            }
        }
        let until = match self.is_nonblocking() {
            true => Some(raw::now()),
            false => self.lock().options.send_until(),
        };
        self.wait(until, || {
            let inner = &mut *self.lock();
            match self.view(inner).state {
                State::SynSent => None,
                State::Close => {
                    let error = inner.error.take().unwrap_or(Errno::CONNABORTED);
                    self.abandon(inner);
                    self.ring();
                    Some(Err(error))
                }
                State::Listen | State::Open => {
                    inner.stage = Stage::Connected;
                    Some(Ok(()))
                }
            }
        })
        .unwrap_or(Err(unfinished))
    }

    /// Sends the SYN.
    fn start(&self, inner: &mut Inner, remote: SocketAddr) -> Result<(), Errno> {
        if self.domain == Domain::Inet6 && inner.options.v6_only && remote.is_ipv4() {
            return Err(Errno::NETUNREACH);
        }
        let bound = inner.bound.filter(|ip| !ip.is_unspecified());
        let any = if remote.is_ipv4() { Domain::Inet.any() } else { Domain::Inet6.any() };
        let is_bound = bound.is_some() || inner.claimed.is_some();
        let local = is_bound.then(|| SocketAddr::new(bound.unwrap_or(any), inner.claimed.unwrap_or(0)));
        let options = ConnectOptions {
            local,
            protocol: self.protocol,
            nodelay: inner.options.nodelay(),
            congestion_control: inner.options.congestion_control.clone(),
            buffers: inner.options.buffers(),
            ..ConnectOptions::new(remote)
        };
        let (id, info) = self
            .stack()
            .call(|host, now| host.connect(now, &options).map(|id| (id, host.info(id))))
            .map_err(errno::connect)?;
        if let Ok(info) = info {
            inner.local = Some(info.local);
            inner.peer = Some(info.remote);
        }
        // An MPTCP socket keeps what the connection before left.
        if !self.is_mptcp() {
            inner.error = None;
        }
        inner.stage = Stage::Connecting;
        self.hold_port(inner);
        self.take_connection(inner, id);
        self.apply_options(inner, id);
        Ok(())
    }

    /// Puts the options that were set before into effect.
    fn apply_options(&self, inner: &Inner, id: ConnectionId) {
        let options = &inner.options;
        self.stack().call(|host, now| options.apply(host, now, id));
    }

    /// `connect` to `AF_UNSPEC`.
    fn disconnect(&self) -> Result<(), Errno> {
        let inner = &mut *self.lock();
        self.abandon(inner);
        self.ring();
        Ok(())
    }

    /// Aborts what there is, so that the socket can be used again (Linux: `tcp_disconnect`, `mptcp_disconnect`).
    pub(crate) fn abandon(&self, inner: &mut Inner) {
        let state = self.view(inner).state;
        self.leave(inner);
        if !self.is_mptcp() {
            if matches!(state, State::SynSent | State::Open) {
                inner.error = Some(Errno::CONNRESET);
            }
            if let Some(local) = &mut inner.local
                && inner.bound.is_none_or(|ip| ip.is_unspecified())
            {
                local.set_ip(self.domain.any());
            }
        }
    }

    /// Gives up the connection or the listener.
    pub(crate) fn leave(&self, inner: &mut Inner) {
        match self.vacate(inner) {
            Place::Nothing => {}
            Place::Listener(id) => {
                self.stack().call(|host, now| host.close_listener(now, id));
                if let Some(port) = inner.claimed {
                    let _ = self.ports().set_listening(self.id, port, false);
                }
                self.return_port(inner);
            }
            Place::Connection(id) => {
                self.stack().call(|host, now| host.abort(now, id));
                if !inner.over {
                    self.return_port(inner);
                }
            }
        }
        inner.stage = Stage::Unconnected;
        inner.peer = None;
        inner.shut = Shut::default();
    }

    /// The connection that the socket has now keeps others from its port.
    fn hold_port(&self, inner: &Inner) {
        if let Some(local) = inner.local {
            self.ports().hold(&self.wanted(inner, local));
        }
    }

    /// The socket has no connection and does not listen any more: a port that was drawn goes.
    pub(crate) fn return_port(&self, inner: &mut Inner) {
        if !inner.port_is_fixed {
            self.release_port(inner);
        }
    }

    /// The socket gives its port up. A connection that it leaves keeps it.
    pub(crate) fn release_port(&self, inner: &mut Inner) {
        inner.claimed = None;
        let Some(local) = inner.local else { return };
        match inner.peer {
            Some(remote) if self.is_live(local, remote) => {
                self.ports()
                    .leave_to_flow(self.id, (local, remote), |local, remote| self.is_live(local, remote));
            }
            _ => self.ports().release(self.id, local.port()),
        }
    }

    pub(crate) fn local_name(&self) -> SocketAddr {
        let local = self.lock().local.unwrap_or(SocketAddr::new(self.domain.any(), 0));
        self.domain.tell(local)
    }

    pub(crate) fn peer_name(&self) -> Result<SocketAddr, Errno> {
        self.peer_of(&mut self.lock())
    }

    pub(crate) fn peer_of(&self, inner: &mut Inner) -> Result<SocketAddr, Errno> {
        let state = self.view(inner).state;
        match inner.peer {
            Some(peer) if state == State::Open => Ok(self.domain.tell(peer)),
            _ => Err(Errno::NOTCONN),
        }
    }
}
