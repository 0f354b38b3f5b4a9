//! The blocking stream.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use polytcp_io::monotonic_now;
use polytcp_proto::config::Keepalive;
use polytcp_proto::host::{ConnectOptions, ConnectionInfo, SubflowInfo};
use polytcp_proto::time::Instant;

use crate::address::{Address, invalid};
use crate::readiness::SocketReadiness;
use crate::socket::Socket;
use crate::stack::Stack;

/// A Multipath TCP connection that blocks the thread; `Read` and `Write` also by reference.
///
/// A write is on its way when it returns; flushing does nothing more. Any number of threads may use it
/// at once. Dropping the last clone closes the connection: what was written is still delivered, unless
/// bytes that the application has not read are left, in which case it is aborted, as Linux does it.
#[derive(Debug)]
pub struct MptcpStream {
    shared: Arc<Inner>,
}

/// What the clones of a stream share.
#[derive(Debug)]
struct Inner {
    socket: Arc<Socket>,
    read_timeout: Timeout,
    write_timeout: Timeout,
    nonblocking: AtomicBool,
}

/// A time limit in nanoseconds; zero for none.
#[derive(Default, Debug)]
struct Timeout(AtomicU64);

impl MptcpStream {
    /// Connects to `address` with the host's defaults.
    ///
    /// # Errors
    /// `InvalidInput` when the address cannot be understood or connected to, `NetworkUnreachable`
    /// without a path of its family, `ConnectionRefused`, `TimedOut` or `HostUnreachable` as the peer
    /// and the network answer.
    pub fn connect(stack: &Stack, address: impl Address) -> io::Result<Self> {
        Self::connect_by(stack, &ConnectOptions::new(address.to_socket_addr()?), None)
    }

    /// Connects with a chosen local address, protocol or congestion control.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); `AddrNotAvailable`, `AddrInUse` or `NotFound` when the local
    /// address or the congestion control is not to be had.
    pub fn connect_with(stack: &Stack, options: &ConnectOptions) -> io::Result<Self> {
        Self::connect_by(stack, options, None)
    }

    /// As [`connect`](Self::connect), for at most `timeout`.
    ///
    /// # Errors
    /// `TimedOut` when the handshake took longer.
    pub fn connect_timeout(stack: &Stack, address: impl Address, timeout: Duration) -> io::Result<Self> {
        let options = ConnectOptions::new(address.to_socket_addr()?);
        let timed_out = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        };
        Self::connect_by(stack, &options, Some(monotonic_now() + timeout)).map_err(timed_out)
    }

    fn connect_by(stack: &Stack, options: &ConnectOptions, until: Option<Instant>) -> io::Result<Self> {
        let socket = Socket::connect(stack, options)?;
        socket.registration().block(until, |cx, key| socket.poll_connected(cx, key))?;
        Ok(Self::from_socket(socket))
    }

    pub(crate) fn from_socket(socket: Arc<Socket>) -> Self {
        let shared = Inner {
            socket,
            read_timeout: Timeout::default(),
            write_timeout: Timeout::default(),
            nonblocking: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Another handle to the same connection, with the same settings.
    ///
    /// # Errors
    /// None; the `Result` is that of `std::net::TcpStream`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { shared: Arc::clone(&self.shared) })
    }

    /// The same connection for asynchronous code.
    ///
    /// # Errors
    /// Gives the stream back while it has clones.
    pub fn into_async(self) -> Result<crate::MptcpStream, Self> {
        match Arc::try_unwrap(self.shared) {
            Ok(inner) => Ok(crate::MptcpStream::from_socket(inner.socket)),
            Err(shared) => Err(Self { shared }),
        }
    }

    fn socket(&self) -> &Socket {
        &self.shared.socket
    }

    /// The next bytes as the network delivered them, without a copy; `None` at the end of the stream.
    ///
    /// # Errors
    /// As a read.
    pub fn read_chunk(&self) -> io::Result<Option<Bytes>> {
        let until = self.until(&self.shared.read_timeout);
        self.socket().registration().block(until, |cx, key| self.socket().poll_read_chunk(cx, key))
    }

    /// Sends all of `chunk` without a copy (below 2 KiB, with one): its memory lives until the peer has
    /// acknowledged it.
    ///
    /// # Errors
    /// As a write. An unknown part was sent then.
    pub fn write_chunk(&self, mut chunk: Bytes) -> io::Result<()> {
        while !chunk.is_empty() {
            let until = self.until(&self.shared.write_timeout);
            let registration = self.socket().registration();
            registration.block(until, |cx, key| self.socket().poll_write_chunk(cx, key, &mut chunk))?;
        }
        Ok(())
    }

    /// Closes the sending direction after what was written, the receiving one, or both. Reads after the
    /// receiving direction is shut return the end of the stream; the peer is not told, as in Linux.
    ///
    /// # Errors
    /// As the connection failed.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match how {
            Shutdown::Write => self.socket().shut_write(),
            Shutdown::Read => {
                self.socket().shut_read();
                Ok(())
            }
            Shutdown::Both => {
                self.socket().shut_read();
                self.socket().shut_write()
            }
        }
    }

    /// Ends the connection at once, in both directions: MP_FASTCLOSE, or RST on plain TCP. Unsent bytes
    /// are lost.
    pub fn abort(&self) {
        self.socket().abort();
    }

    /// What the stream is ready for at this moment.
    pub fn readiness(&self) -> SocketReadiness {
        self.socket().readiness()
    }

    /// The local address and port of the first subflow.
    ///
    /// # Errors
    /// None on a connected stream; the `Result` is that of `std::net::TcpStream`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    /// The peer's address and port, as connected to.
    ///
    /// # Errors
    /// None on a connected stream; the `Result` is that of `std::net::TcpStream`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket().peer_addr()
    }

    /// Sends small segments at once instead of waiting for acknowledgements (`TCP_NODELAY`).
    ///
    /// # Errors
    /// As the connection failed.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket().set_nodelay(on)
    }

    /// When the subflows are probed while they are idle, and given up if nothing answers (`SO_KEEPALIVE`, `TCP_KEEPIDLE`,
    /// `TCP_KEEPINTVL`, `TCP_KEEPCNT`); `None`: never. Default as [`TcpConfig`](crate::TcpConfig) says.
    ///
    /// # Errors
    /// As the connection failed.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        self.socket().set_keepalive(keepalive)
    }

    /// How long written data may go unacknowledged before the connection is given up with `TimedOut` (`TCP_USER_TIMEOUT`,
    /// RFC 9293 §3.9.1.8); `None`, the default: as long as [`retries2`](crate::TcpConfig::retries2) takes. On MPTCP a path
    /// that died among others that work does not count.
    ///
    /// # Errors
    /// As the connection failed.
    pub fn set_user_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.socket().set_user_timeout(limit)
    }

    /// What a close does with data that is not delivered yet (`SO_LINGER`): with zero it aborts the connection, as
    /// [`abort`](Self::abort); with anything else the stack delivers it after the close, which waits for nothing. Default
    /// `None`.
    ///
    /// # Errors
    /// As the connection failed.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.socket().set_linger(linger)
    }

    /// The type of service or traffic class of what is sent from now on (`IP_TOS`, `IPV6_TCLASS`). The low two bits are
    /// ECN's and are ignored. Default as [`IpFields`](crate::IpFields) says.
    ///
    /// # Errors
    /// As the connection failed.
    pub fn set_traffic_class(&self, traffic_class: u8) -> io::Result<()> {
        self.socket().set_traffic_class(traffic_class)
    }

    /// The time to live or hop limit of what is sent from now on (`IP_TTL`, `IPV6_UNICAST_HOPS`). Default as
    /// [`IpFields`](crate::IpFields) says.
    ///
    /// # Errors
    /// `InvalidInput` for 0; else as the connection failed.
    pub fn set_hop_limit(&self, hop_limit: u8) -> io::Result<()> {
        self.socket().set_hop_limit(hop_limit)
    }

    /// What [`set_linger`](Self::set_linger) has set.
    ///
    /// # Errors
    /// None; the `Result` is that of `std::net::TcpStream`.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        Ok(self.socket().linger())
    }

    /// Whether small segments are sent at once. Default false.
    ///
    /// # Errors
    /// None; the `Result` is that of `std::net::TcpStream`.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.socket().nodelay())
    }

    /// Lets reads and writes that would wait fail with `WouldBlock` instead. Default false.
    ///
    /// # Errors
    /// None; the `Result` is that of `std::net::TcpStream`.
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        self.shared.nonblocking.store(on, Ordering::Relaxed);
        Ok(())
    }

    /// How long a read waits before it fails with `WouldBlock`; `None` for ever, the default.
    ///
    /// # Errors
    /// `InvalidInput` for a zero duration.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.read_timeout.set(timeout)
    }

    /// How long a write waits before it fails with `WouldBlock`; `None` for ever, the default.
    ///
    /// # Errors
    /// `InvalidInput` for a zero duration.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.write_timeout.set(timeout)
    }

    /// How long a read waits.
    ///
    /// # Errors
    /// None; the `Result` is that of `std::net::TcpStream`.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.shared.read_timeout.value())
    }

    /// How long a write waits.
    ///
    /// # Errors
    /// None; the `Result` is that of `std::net::TcpStream`.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.shared.write_timeout.value())
    }

    /// True when the connection is MPTCP, false when it is plain TCP or fell back to it.
    ///
    /// # Errors
    /// As [`info`](Self::info).
    pub fn is_mptcp(&self) -> io::Result<bool> {
        self.info().map(|info| info.is_mptcp)
    }

    /// Counters of the connection.
    ///
    /// # Errors
    /// `NotConnected` when the host has forgotten the connection.
    pub fn info(&self) -> io::Result<ConnectionInfo> {
        self.socket().info()
    }

    /// The subflows: addresses, state, round-trip time, window, bytes and retransmissions of each.
    ///
    /// # Errors
    /// `NotConnected` when the host has forgotten the connection.
    pub fn subflows(&self) -> io::Result<Vec<SubflowInfo>> {
        self.socket().subflows()
    }

    /// When a wait that begins now ends.
    fn until(&self, timeout: &Timeout) -> Option<Instant> {
        if self.shared.nonblocking.load(Ordering::Relaxed) {
            return Some(Instant::ZERO);
        }
        timeout.value().map(|timeout| monotonic_now() + timeout)
    }
}

impl Timeout {
    fn set(&self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(invalid("a timeout of zero".to_owned()));
        }
        let nanos = timeout.map_or(0, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }

    fn value(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }
}

impl Read for &MptcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let until = self.until(&self.shared.read_timeout);
        self.socket().registration().block(until, |cx, key| {
            let mut filled = 0;
            self.socket().poll_read(cx, key, buf.len(), |part| {
                buf[filled..filled + part.len()].copy_from_slice(part);
                filled += part.len();
            })
        })
    }
}

impl Write for &MptcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.socket().gather(buf) {
            return Ok(buf.len());
        }
        let until = self.until(&self.shared.write_timeout);
        self.socket().registration().block(until, |cx, key| self.socket().poll_write_through(cx, key, buf))
    }

    /// What was written is on its way already.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for MptcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for MptcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
