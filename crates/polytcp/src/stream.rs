//! The asynchronous stream. Its `AsyncRead` and `AsyncWrite` are in [`async_io`](crate::async_io).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polytcp_proto::config::Keepalive;
use polytcp_proto::host::{ConnectOptions, ConnectionInfo, SubflowInfo};

use crate::address::Address;
use crate::halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::readiness::SocketReadiness;
use crate::socket::Socket;
use crate::stack::Stack;
use crate::waiters::Interest;

/// A Multipath TCP connection for asynchronous code, in any runtime.
///
/// Implements `AsyncRead` and `AsyncWrite` of `futures-io`, and of tokio with the feature `tokio`. A
/// write is on its way when it returns; flushing does nothing more. Where the peer has no MPTCP, the
/// connection is plain TCP, and [`is_mptcp`](Self::is_mptcp) tells.
///
/// One task may read and one may write at a time by the traits; the methods here have no such limit.
///
/// Dropping it closes the connection: what was written is still delivered, unless bytes that the
/// application has not read are left, in which case the connection is aborted, as Linux does it.
#[derive(Debug)]
pub struct MptcpStream {
    socket: Arc<Socket>,
}

impl MptcpStream {
    /// Connects to `address` with the host's defaults.
    ///
    /// # Errors
    /// `InvalidInput` when the address cannot be understood or connected to, `NetworkUnreachable`
    /// without a path of its family, `ConnectionRefused`, `TimedOut` or `HostUnreachable` as the peer
    /// and the network answer.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up.
    pub async fn connect(stack: &Stack, address: impl Address) -> io::Result<Self> {
        Self::connect_with(stack, &ConnectOptions::new(address.to_socket_addr()?)).await
    }

    /// Connects with a chosen local address, protocol or congestion control.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); `AddrNotAvailable`, `AddrInUse` or `NotFound` when the local
    /// address or the congestion control is not to be had.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up.
    pub async fn connect_with(stack: &Stack, options: &ConnectOptions) -> io::Result<Self> {
        let socket = Socket::connect(stack, options)?;
        socket.registration().wait(|cx, key| socket.poll_connected(cx, key)).await?;
        Ok(Self { socket })
    }

    pub(crate) fn from_socket(socket: Arc<Socket>) -> Self {
        Self { socket }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn is_same_connection(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.socket, &other.socket)
    }

    /// The same connection for code that blocks.
    pub fn into_blocking(self) -> crate::blocking::MptcpStream {
        crate::blocking::MptcpStream::from_socket(self.socket)
    }

    /// The next bytes as the network delivered them, without a copy; `None` at the end of the stream.
    ///
    /// # Errors
    /// As a read: `ConnectionReset` after MP_FASTCLOSE or RST, `TimedOut` when all paths were lost.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn read_chunk(&self) -> io::Result<Option<Bytes>> {
        self.socket.registration().wait(|cx, key| self.socket.poll_read_chunk(cx, key)).await
    }

    /// Sends all of `chunk` without a copy (below 2 KiB, with one): its memory lives until the peer has
    /// acknowledged it.
    ///
    /// # Errors
    /// As a write: `BrokenPipe` after the sending direction was closed, else as the connection failed.
    /// An unknown part was sent then.
    ///
    /// # Cancel safety
    /// Not cancel safe: a part of the chunk may have been sent.
    pub async fn write_chunk(&self, mut chunk: Bytes) -> io::Result<()> {
        let registration = self.socket.registration();
        registration
            .wait(|cx, key| {
                while !chunk.is_empty() {
                    std::task::ready!(self.socket.poll_write_chunk(cx, key, &mut chunk))?;
                }
                std::task::Poll::Ready(Ok(()))
            })
            .await
    }

    /// Waits until a read would not block.
    ///
    /// # Errors
    /// When the stack itself has failed; a failed connection is readable.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.registration().wait(|cx, key| self.socket.poll_ready(cx, key, Interest::Read)).await
    }

    /// Waits until a write would not block.
    ///
    /// # Errors
    /// When the stack itself has failed; a failed connection is writable.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.registration().wait(|cx, key| self.socket.poll_ready(cx, key, Interest::Write)).await
    }

    /// What the stream is ready for at this moment.
    pub fn readiness(&self) -> SocketReadiness {
        self.socket.readiness()
    }

    /// Ends the sending direction after what was written (DATA_FIN, or FIN on plain TCP). The same as
    /// `AsyncWriteExt::shutdown` or `close`. A second call does nothing.
    ///
    /// # Errors
    /// As the connection failed.
    pub fn close_write(&self) -> io::Result<()> {
        self.socket.shut_write()
    }

    /// Ends the connection at once, in both directions: MP_FASTCLOSE, or RST on plain TCP. Unsent bytes
    /// are lost.
    pub fn abort(&self) {
        self.socket.abort();
    }

    /// The local address and port of the first subflow.
    ///
    /// # Errors
    /// None on a connected stream; the `Result` is that of `std::net::TcpStream`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The peer's address and port, as connected to.
    ///
    /// # Errors
    /// None on a connected stream; the `Result` is that of `std::net::TcpStream`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// Sends small segments at once instead of waiting for acknowledgements (`TCP_NODELAY`).
    ///
    /// # Errors
    /// As the connection failed.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket.set_nodelay(on)
    }

    /// When the subflows are probed while they are idle, and given up if nothing answers (`SO_KEEPALIVE`, `TCP_KEEPIDLE`,
    /// `TCP_KEEPINTVL`, `TCP_KEEPCNT`); `None`: never. Default as [`TcpConfig`](crate::TcpConfig) says.
    ///
    /// # Errors
    /// As the connection failed.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        self.socket.set_keepalive(keepalive)
    }

    /// How long written data may go unacknowledged before the connection is given up with `TimedOut` (`TCP_USER_TIMEOUT`,
    /// RFC 9293 §3.9.1.8); `None`, the default: as long as [`retries2`](crate::TcpConfig::retries2) takes. On MPTCP a path
    /// that died among others that work does not count.
    ///
    /// # Errors
    /// As the connection failed.
    pub fn set_user_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.socket.set_user_timeout(limit)
    }

    /// What a close does with data that is not delivered yet (`SO_LINGER`): with zero it aborts the connection, as
    /// [`abort`](Self::abort); with anything else the stack delivers it after the close, which waits for nothing. Default
    /// `None`.
    ///
    /// # Errors
    /// As the connection failed.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.socket.set_linger(linger)
    }

    /// The type of service or traffic class of what is sent from now on (`IP_TOS`, `IPV6_TCLASS`). The low two bits are
    /// ECN's and are ignored. Default as [`IpFields`](crate::IpFields) says.
    ///
    /// # Errors
    /// As the connection failed.
    pub fn set_traffic_class(&self, traffic_class: u8) -> io::Result<()> {
        self.socket.set_traffic_class(traffic_class)
    }

    /// The time to live or hop limit of what is sent from now on (`IP_TTL`, `IPV6_UNICAST_HOPS`). Default as
    /// [`IpFields`](crate::IpFields) says.
    ///
    /// # Errors
    /// `InvalidInput` for 0; else as the connection failed.
    pub fn set_hop_limit(&self, hop_limit: u8) -> io::Result<()> {
        self.socket.set_hop_limit(hop_limit)
    }

    /// What [`set_linger`](Self::set_linger) has set.
    pub fn linger(&self) -> Option<Duration> {
        self.socket.linger()
    }

    /// Whether small segments are sent at once. Default false.
    pub fn nodelay(&self) -> bool {
        self.socket.nodelay()
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
        self.socket.info()
    }

    /// The subflows: addresses, state, round-trip time, window, bytes and retransmissions of each.
    ///
    /// # Errors
    /// `NotConnected` when the host has forgotten the connection.
    pub fn subflows(&self) -> io::Result<Vec<SubflowInfo>> {
        self.socket.subflows()
    }

    /// A reading and a writing half that borrow the stream.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        (ReadHalf::new(self), WriteHalf::new(self))
    }

    /// A reading and a writing half for two tasks. Dropping the writing half ends the sending direction;
    /// dropping both closes the connection.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let reading = Self::from_socket(Arc::clone(&self.socket));
        (OwnedReadHalf::new(reading), OwnedWriteHalf::new(self))
    }
}
