//! The socket calls.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::num::{NonZeroU8, NonZeroU32};

use bytes::Bytes;

use super::ip_counters::{Family, IpEvent, count_ip};
use super::listener::{Listener, timeouts_within};
use super::socket::{
    BufferLimits, CallError, ConnectError, ConnectOptions, ConnectionId, ConnectionInfo, ListenError,
    ListenOptions, ListenerId, Protocol, ReadOutcome, Readiness, Subflows,
};
use super::{FlowRef, FourTuple, Host, Piece};
use crate::config::{Keepalive, fastopen};
use crate::mptcp::connection::{Connection, Ctx, NewConnection, Role};
use crate::mptcp::hook::Mode;
use crate::pm::command::PmEvent;
use crate::tcp::cc;
use crate::tcp::opening::Opening;
use crate::time::{Duration, Instant};

impl Host {
    /// Starts a connection; the SYN leaves with the next [`poll_transmit`](Self::poll_transmit).
    ///
    /// # Errors
    /// [`ConnectError`] when it cannot be started; nothing was sent then.
    pub fn connect(&mut self, now: Instant, options: &ConnectOptions) -> Result<ConnectionId, ConnectError> {
        let remote = options.remote;
        if remote.port() == 0 || !super::demux::is_unicast(remote.ip()) {
            return Err(ConnectError::InvalidRemote);
        }
        if options.protocol == Protocol::Mptcp && !self.config.mptcp.enabled {
            return Err(ConnectError::MptcpDisabled);
        }
        let send_max = options.buffers.send.map_or(self.config.tcp.send_buffer_max_bytes(), NonZeroU32::get);
        if options.data.len() > send_max as usize {
            return Err(ConnectError::DataTooLong);
        }
        let congestion_control =
            options.congestion_control.as_deref().unwrap_or(&self.config.tcp.congestion_control);
        if !cc::AVAILABLE.contains(&congestion_control) {
            return Err(ConnectError::UnknownCongestionControl);
        }
        let congestion_control = alloc::string::String::from(congestion_control);
        let wanted = options.local.filter(|local| !local.ip().is_unspecified());
        let address = match wanted {
            Some(local) if local.is_ipv4() == remote.is_ipv4() => local.ip(),
            Some(_) => return Err(ConnectError::AddressNotAvailable),
            None => match self.interfaces.source_for(remote.ip()) {
                Some(address) => address,
                None => {
                    count_ip(&mut self.counters, Family::of(remote.ip()), IpEvent::NoRoute);
                    return Err(ConnectError::NoRoute);
                }
            },
        };
        let interface = self.interfaces.holding(address).ok_or(ConnectError::AddressNotAvailable)?;
        let port = match options.local.map_or(0, |local| local.port()) {
            0 => self.free_port(address, remote).ok_or(ConnectError::AddressInUse)?,
            port => port,
        };
        let local = SocketAddr::new(address, port);
        let tuple = FourTuple::new(local, remote);
        if self.flows.contains_key(&tuple) {
            return Err(ConnectError::AddressInUse);
        }
        let local_key = match options.protocol {
            Protocol::Mptcp if self.blackhole.is_suspected(now, self.config.mptcp.blackhole_timeout) => {
                self.counters.mp_capable_syn_tx_disabled += 1;
                None
            }
            Protocol::Mptcp => self.unused_key(),
            Protocol::Tcp => None,
        };
        let mode = if local_key.is_some() { Mode::Mptcp } else { Mode::Plain };
        let mut opening = Opening::active(
            now,
            self.initial_number(tuple, now),
            self.offer_for(interface, tuple, options.buffers),
        );
        if let Some(syn) = self.fast_open_syn(now, remote.ip(), &options.data) {
            opening.set_fast_open(syn);
        }
        let new = NewConnection {
            role: Role::Client,
            mode,
            local_key,
            congestion_control: &congestion_control,
            local,
            remote,
        };
        let ctx = Ctx { now, config: &self.config, counters: &mut self.counters };
        let mut connection = Connection::new(&ctx, &new);
        connection.set_buffers(options.buffers);
        connection.set_nodelay(options.nodelay);
        connection.first_data = options.data.clone();
        let subflow = connection.open_first(opening, interface);
        let id = self.insert_connection(connection);
        if let Some(key) = local_key {
            self.tokens.insert(key.token(), id);
        }
        self.counters.time_wait_recycled += u64::from(self.time_wait.remove(&tuple).is_some());
        self.flows.insert(tuple, FlowRef::Subflow { connection: id, subflow });
        self.counters.active_opens += 1;
        self.touch(now, id);
        Ok(id)
    }

    /// An ephemeral port from `address` to `remote` (RFC 6056).
    pub(super) fn free_port(&mut self, address: core::net::IpAddr, remote: SocketAddr) -> Option<u16> {
        let Self { ports, flows, time_wait, .. } = self;
        ports.choose(address, remote, |port| {
            let tuple = FourTuple::new(SocketAddr::new(address, port), remote);
            !flows.contains_key(&tuple) && !time_wait.contains_key(&tuple)
        })
    }

    /// Starts to listen.
    ///
    /// # Errors
    /// [`ListenError`] when the address cannot be listened at.
    pub fn listen(&mut self, options: &ListenOptions) -> Result<ListenerId, ListenError> {
        if options.protocol == Protocol::Mptcp && !self.config.mptcp.enabled {
            return Err(ListenError::MptcpDisabled);
        }
        if !self.interfaces.can_bind(&options.local) {
            return Err(ListenError::AddressNotAvailable);
        }
        let in_use = |host: &Self, port: u16| {
            let at = SocketAddr::new(options.local.ip(), port);
            host.listeners.iter().flatten().any(|listener| {
                listener.meets(at, options.v6_only) && !(listener.reuse_port && options.reuse_port)
            })
        };
        let mut local = options.local;
        if local.port() == 0 {
            let free = self.ports.range().find(|port| !in_use(self, *port));
            local.set_port(free.ok_or(ListenError::AddressInUse)?);
        } else if in_use(self, local.port()) {
            return Err(ListenError::AddressInUse);
        }
        self.listener_generation = self.listener_generation.wrapping_add(1);
        let generation = self.listener_generation;
        let every = fastopen::SERVER_ENABLE | fastopen::SERVER_WITHOUT_OPTION;
        let fast_open = match options.fast_open {
            0 if self.config.tcp.fastopen & every == every => options.backlog,
            asked => asked,
        };
        let listener = Some(Listener {
            backlog: options.backlog.min(self.config.tcp.backlog_max),
            defer_accept: options.defer_accept.map_or(0, timeouts_within),
            fast_open_max: fast_open,
            v6_only: options.v6_only,
            reuse_port: options.reuse_port,
            buffers: options.buffers,
            ..Listener::new(generation, local, options.protocol)
        });
        let index = match self.listeners.iter().position(Option::is_none) {
            Some(free) => {
                self.listeners[free] = listener;
                free
            }
            None => {
                self.listeners.push(listener);
                self.listeners.len() - 1
            }
        };
        if options.protocol == Protocol::Mptcp {
            self.push_pm_event(PmEvent::ListenerCreated { local });
        }
        Ok(ListenerId { index: index as u32, generation })
    }

    /// True when sockets can be bound to `local`: to any address, or to one of an interface.
    pub fn can_bind(&self, local: SocketAddr) -> bool {
        self.interfaces.can_bind(&local)
    }

    /// True while a flow between these ends is there, or in TIME-WAIT.
    pub fn has_flow(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let tuple = FourTuple::new(local, remote);
        self.flows.contains_key(&tuple) || self.time_wait.contains_key(&tuple)
    }

    /// Connections that wait to be accepted.
    pub fn incoming(&self, id: ListenerId) -> usize {
        let listener = self.listeners.get(id.index as usize).and_then(Option::as_ref);
        listener
            .filter(|listener| listener.generation == id.generation)
            .map_or(0, |listener| listener.queue.len())
    }

    /// Connections that may wait to be accepted.
    pub fn backlog(&self, id: ListenerId) -> usize {
        let listener = self.listeners.get(id.index as usize).and_then(Option::as_ref);
        listener
            .filter(|listener| listener.generation == id.generation)
            .map_or(0, |listener| listener.backlog)
    }

    /// Changes how many connections may wait for `accept` from now on, as a second `listen` does in Linux.
    pub fn set_backlog(&mut self, id: ListenerId, backlog: usize) {
        let backlog = backlog.min(self.config.tcp.backlog_max);
        if let Some(listener) = self.listener_mut(id) {
            listener.backlog = backlog;
        }
    }

    /// Fixes the sizes of the connections that a listener makes from now on.
    pub fn set_listener_buffers(&mut self, id: ListenerId, buffers: BufferLimits) {
        if let Some(listener) = self.listener_mut(id) {
            listener.buffers = buffers;
        }
    }

    /// Changes how many connections may begin with data on the SYN and wait for their third ACK (`TCP_FASTOPEN`).
    pub fn set_fast_open(&mut self, id: ListenerId, most: usize) {
        if let Some(listener) = self.listener_mut(id) {
            listener.fast_open_max = most;
        }
    }

    /// What kind of socket a connection is (`SO_PROTOCOL`): one that was accepted from a client without MPTCP is plain TCP,
    /// one that fell back later is not.
    pub fn socket_protocol(&self, id: ConnectionId) -> Option<Protocol> {
        Some(self.connection(id)?.socket_protocol())
    }

    /// Where a listener listens; `None` when it is gone.
    pub fn listener_addr(&self, id: ListenerId) -> Option<SocketAddr> {
        let listener = self.listeners.get(id.index as usize)?.as_ref()?;
        (listener.generation == id.generation).then_some(listener.local)
    }

    /// Stops listening. Connections that nobody accepted are aborted, as Linux does.
    pub fn close_listener(&mut self, now: Instant, id: ListenerId) {
        let Some(listener) = self.listener_mut(id) else { return };
        let waiting = core::mem::take(&mut listener.queue);
        self.drop_listener(id);
        for connection in waiting {
            self.abort(now, connection);
        }
    }

    /// Takes a listener out; the path manager's clients hear of MPTCP ones, as in Linux.
    pub(super) fn drop_listener(&mut self, id: ListenerId) {
        let dropped = self.listeners.get_mut(id.index as usize).and_then(Option::take);
        if let Some(Listener { local, protocol: Protocol::Mptcp, .. }) = dropped {
            self.push_pm_event(PmEvent::ListenerClosed { local });
        }
    }

    /// The next connection that a listener has; `None` when there is none.
    pub fn accept(&mut self, id: ListenerId) -> Option<ConnectionId> {
        let listener = self.listener_mut(id)?;
        let connection = listener.queue.pop_front()?;
        if self.connection(connection).is_some_and(|c| c.data.mode == Mode::Mptcp) {
            self.counters.mp_capable_ack_rx += 1;
        }
        Some(connection)
    }

    /// Octets that a [`write`](Self::write) would take now; 0 means that it would block.
    ///
    /// # Errors
    /// [`CallError`] when nothing can be written any more.
    pub fn write_room(&self, id: ConnectionId) -> Result<usize, CallError> {
        self.connection(id).ok_or(CallError::NotFound)?.write_room()
    }

    /// Appends a piece to the stream, whole. The caller asked [`write_room`](Self::write_room) before, and
    /// brings no more than that, or exceeds the send buffer.
    ///
    /// # Errors
    /// [`CallError`] when nothing can be written any more; the piece is gone then.
    pub fn write(&mut self, now: Instant, id: ConnectionId, piece: Piece) -> Result<(), CallError> {
        let (connection, _) = self.split(now, id).ok_or(CallError::NotFound)?;
        let result = connection.write(piece);
        connection.reported = connection.readiness();
        self.touch(now, id);
        result
    }

    /// As [`write`](Self::write), and more follows (`MSG_MORE`): what is less than a segment waits for it until the next
    /// acknowledgement, or for a retransmission timeout where nothing is on the way, as in Linux.
    ///
    /// # Errors
    /// As `write`.
    pub fn write_more(&mut self, now: Instant, id: ConnectionId, piece: Piece) -> Result<(), CallError> {
        let (connection, _) = self.split(now, id).ok_or(CallError::NotFound)?;
        let result = connection.write(piece);
        connection.expect_more();
        connection.reported = connection.readiness();
        self.touch(now, id);
        result
    }

    /// A [`write`](Self::write) that needs no time and leaves nothing to poll for, which is most of the
    /// cost of a small one. It succeeds while the connection waits for more small writes, and gives the
    /// piece back in every other case, closed connections included.
    ///
    /// # Errors
    /// The piece, to be written by `write`.
    pub fn gather(&mut self, id: ConnectionId, piece: Piece) -> Result<(), Piece> {
        let Some(tenant) = self.tenant_mut(id) else { return Err(piece) };
        let connection = &mut tenant.connection;
        connection.gather(piece)?;
        connection.reported = connection.readiness();
        Ok(())
    }

    /// Detaches at most `max` octets from the stream, without a copy.
    ///
    /// # Errors
    /// [`CallError`] when the connection failed and everything before that was read.
    pub fn read(&mut self, now: Instant, id: ConnectionId, max: usize) -> Result<ReadOutcome, CallError> {
        let (connection, ctx) = self.split(now, id).ok_or(CallError::NotFound)?;
        let outcome = connection.read(&ctx, max);
        connection.reported = connection.readiness();
        if matches!(outcome, Ok(ReadOutcome::Data(_))) {
            self.touch(now, id);
        }
        outcome
    }

    /// The first `max` octets at most of what [`read`](Self::read) would give, without a copy; they stay to be read
    /// (`MSG_PEEK`). Empty where there is nothing.
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn peek(&mut self, id: ConnectionId, max: usize) -> Result<Vec<Bytes>, CallError> {
        let tenant = self.tenant_mut(id).ok_or(CallError::NotFound)?;
        Ok(tenant.connection.peek(max))
    }

    /// Closes the sending direction after what was written (`SHUT_WR`).
    ///
    /// # Errors
    /// [`CallError`] when the connection is not open.
    pub fn shutdown(&mut self, now: Instant, id: ConnectionId) -> Result<(), CallError> {
        let (connection, mut ctx) = self.split(now, id).ok_or(CallError::NotFound)?;
        let result = connection.shutdown(&mut ctx);
        self.touch(now, id);
        result
    }

    /// The application reads no more (`SHUT_RD`). A plain TCP socket whose sending direction is closed too answers data with a
    /// reset from then on (RFC 9293 §3.6.1); all others go on as before, as in Linux.
    pub fn shutdown_read(&mut self, id: ConnectionId) {
        if let Some(tenant) = self.tenant_mut(id) {
            tenant.connection.shutdown_read();
        }
    }

    /// The application is done with the connection: its id means nothing any more. Unread data makes it
    /// an abort; else it ends gracefully by itself.
    pub fn close(&mut self, now: Instant, id: ConnectionId) {
        let Some((connection, mut ctx)) = self.split(now, id) else { return };
        connection.close(&mut ctx);
        self.touch(now, id);
    }

    /// Ends the connection at once, with MP_FASTCLOSE or RST, and closes it.
    pub fn abort(&mut self, now: Instant, id: ConnectionId) {
        let Some((connection, mut ctx)) = self.split(now, id) else { return };
        connection.abort(&mut ctx);
        connection.close(&mut ctx);
        self.touch(now, id);
    }

    /// What a connection is ready for; one that is gone is ready for everything, to be told so.
    pub fn readiness(&self, id: ConnectionId) -> Readiness {
        self.connection(id).map_or(
            Readiness {
                readable: true,
                writable: true,
                read_closed: true,
                hup: true,
                error: true,
                connected: true,
                closed: true,
                end_acked: true,
            },
            Connection::readiness,
        )
    }

    /// Lets [`Event::Ready`](super::Event::Ready) also tell that data has arrived while other data is unread, from now on.
    pub fn tell_arrivals(&mut self, id: ConnectionId) {
        if let Some(tenant) = self.tenant_mut(id) {
            tenant.arrived_bytes = Some(tenant.connection.bytes_received());
        }
    }

    /// Octets that came in order so far, those that were read included.
    pub fn bytes_received(&self, id: ConnectionId) -> u64 {
        self.connection(id).map_or(0, Connection::bytes_received)
    }

    /// Octets that can be read.
    pub fn bytes_readable(&self, id: ConnectionId) -> usize {
        self.connection(id).map_or(0, Connection::bytes_readable)
    }

    /// Sets `TCP_NODELAY`.
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn set_nodelay(&mut self, now: Instant, id: ConnectionId, on: bool) -> Result<(), CallError> {
        let (connection, _) = self.split(now, id).ok_or(CallError::NotFound)?;
        connection.set_nodelay(on);
        self.touch(now, id);
        Ok(())
    }

    /// Sets `TCP_CORK`: what is less than a segment waits until it is one, the cork goes, or nothing was on the way for a
    /// retransmission timeout (in Linux 200 ms and more). Default off.
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn set_cork(&mut self, now: Instant, id: ConnectionId, on: bool) -> Result<(), CallError> {
        let (connection, _) = self.split(now, id).ok_or(CallError::NotFound)?;
        connection.set_cork(on);
        self.touch(now, id);
        Ok(())
    }

    /// Sets `TCP_NOTSENT_LOWAT`: so many octets may be written and not sent, and who waits for room is told when less than half of
    /// that is unsent. `u32::MAX` for no limit. Default [`notsent_lowat`](crate::config::TcpConfig::notsent_lowat).
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn set_notsent_lowat(&mut self, id: ConnectionId, bytes: u32) -> Result<(), CallError> {
        let tenant = self.tenant_mut(id).ok_or(CallError::NotFound)?;
        tenant.connection.set_notsent_lowat(bytes);
        Ok(())
    }

    /// Fixes the sizes of the buffers from now on (`SO_SNDBUF`, `SO_RCVBUF`); `None` leaves one as it is. A receive buffer that
    /// becomes smaller does so as far as the peer has not been promised more.
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn set_buffers(&mut self, id: ConnectionId, buffers: BufferLimits) -> Result<(), CallError> {
        let tenant = self.tenant_mut(id).ok_or(CallError::NotFound)?;
        tenant.connection.set_buffers(buffers);
        Ok(())
    }

    /// Sets `TCP_USER_TIMEOUT`: the connection fails with [`ConnectionError::TimedOut`](super::ConnectionError::TimedOut) when what it sent was not
    /// acknowledged for this long, the peer's window stayed shut, or its first SYN was not answered; `None` (the default)
    /// leaves that to [`retries2`](crate::config::TcpConfig::retries2) and
    /// [`syn_retries`](crate::config::TcpConfig::syn_retries).
    ///
    /// On plain TCP it replaces `retries2`. On MPTCP, where Linux refuses it, it holds for the connection: it ends when
    /// DATA_ACK stood still for so long and no subflow got anything acknowledged. A path that died among others that work
    /// ends nothing; single subflows, and keepalive, keep to the ordinary limits.
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn set_user_timeout(
        &mut self,
        now: Instant,
        id: ConnectionId,
        limit: Option<Duration>,
    ) -> Result<(), CallError> {
        let (connection, _) = self.split(now, id).ok_or(CallError::NotFound)?;
        connection.set_user_timeout(limit.filter(|limit| !limit.is_zero()));
        self.touch(now, id);
        Ok(())
    }

    /// Sets `SO_KEEPALIVE`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL` and `TCP_KEEPCNT` (RFC 9293 §3.8.4, MUST-24): when flows of the
    /// connection are probed while they are idle; `None`: never. Default
    /// [`TcpConfig::keepalive`](crate::config::TcpConfig::keepalive). Holds for subflows that come later too.
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn set_keepalive(
        &mut self,
        now: Instant,
        id: ConnectionId,
        keepalive: Option<Keepalive>,
    ) -> Result<(), CallError> {
        let (connection, _) = self.split(now, id).ok_or(CallError::NotFound)?;
        connection.set_keepalive(keepalive);
        self.touch(now, id);
        Ok(())
    }

    /// Sets `IP_TOS` or `IPV6_TCLASS` for what the connection sends from now on (RFC 9293 §3.9.1.9, MUST-48). The low two
    /// bits are ECN's and stay as they are. Default [`IpFields::traffic_class`](crate::config::IpFields).
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn set_traffic_class(
        &mut self,
        now: Instant,
        id: ConnectionId,
        traffic_class: u8,
    ) -> Result<(), CallError> {
        let (connection, _) = self.split(now, id).ok_or(CallError::NotFound)?;
        connection.ip_fields_mut().traffic_class = traffic_class;
        Ok(())
    }

    /// Sets `IP_TTL` or `IPV6_UNICAST_HOPS` for what the connection sends from now on (RFC 9293 §3.9.2, MUST-49). Default
    /// [`IpFields::hop_limit`](crate::config::IpFields).
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn set_hop_limit(
        &mut self,
        now: Instant,
        id: ConnectionId,
        hop_limit: NonZeroU8,
    ) -> Result<(), CallError> {
        let (connection, _) = self.split(now, id).ok_or(CallError::NotFound)?;
        connection.ip_fields_mut().hop_limit = hop_limit;
        Ok(())
    }

    /// Sets `SO_LINGER`: with zero, [`close`](Self::close) aborts the connection instead of ending it gracefully.
    /// Any other time is for whoever blocks in the call; nothing here blocks. Default `None`.
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn set_linger(
        &mut self,
        now: Instant,
        id: ConnectionId,
        linger: Option<Duration>,
    ) -> Result<(), CallError> {
        let (connection, _) = self.split(now, id).ok_or(CallError::NotFound)?;
        connection.set_linger(linger);
        Ok(())
    }

    /// What a connection tells of itself.
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn info(&self, id: ConnectionId) -> Result<ConnectionInfo, CallError> {
        self.connection(id).map(Connection::info).ok_or(CallError::NotFound)
    }

    /// Its subflows, in order of creation; the latest closed ones too, in state `Closed`.
    ///
    /// # Errors
    /// [`CallError::NotFound`].
    pub fn subflows(&self, id: ConnectionId) -> Result<Subflows, CallError> {
        self.connection(id).map(Connection::subflow_infos).ok_or(CallError::NotFound)
    }
}
