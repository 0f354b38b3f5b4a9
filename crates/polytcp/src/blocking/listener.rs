//! The blocking listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use polytcp_io::monotonic_now;
use polytcp_proto::host::ListenOptions;

use crate::acceptor::Acceptor;
use crate::address::Address;
use crate::stack::Stack;

use super::MptcpStream;

/// Accepts Multipath TCP connections, and plain TCP ones of peers without MPTCP; blocks the thread.
///
/// Dropping it and all its clones stops listening; connections that wait in it are reset.
#[derive(Debug)]
pub struct MptcpListener {
    acceptor: Arc<Acceptor>,
}

impl MptcpListener {
    /// Listens at `address`; the unspecified address means all of its family, port 0 any free port.
    ///
    /// # Errors
    /// `InvalidInput` when the address cannot be understood, `AddrNotAvailable` when it is not the
    /// stack's, `AddrInUse` when another listener has it, `Unsupported` when MPTCP is switched off.
    pub fn bind(stack: &Stack, address: impl Address) -> io::Result<Self> {
        Self::bind_with(stack, &ListenOptions::new(address.to_socket_addr()?))
    }

    /// Listens with a chosen protocol and backlog.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_with(stack: &Stack, options: &ListenOptions) -> io::Result<Self> {
        Ok(Self { acceptor: Acceptor::listen(stack, options)? })
    }

    /// The next connection whose handshake is done, and the peer's address. Several threads may wait.
    ///
    /// # Errors
    /// When the stack itself has failed.
    pub fn accept(&self) -> io::Result<(MptcpStream, SocketAddr)> {
        self.accept_by(None)
    }

    /// As [`accept`](Self::accept), for at most `timeout`.
    ///
    /// # Errors
    /// `WouldBlock` when no connection came in that time.
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<(MptcpStream, SocketAddr)> {
        self.accept_by(Some(monotonic_now() + timeout))
    }

    fn accept_by(
        &self,
        until: Option<polytcp_proto::time::Instant>,
    ) -> io::Result<(MptcpStream, SocketAddr)> {
        let registration = self.acceptor.registration();
        let socket = registration.block(until, |cx, key| self.acceptor.poll_accept(cx, key))?;
        let peer = socket.peer_addr()?;
        Ok((MptcpStream::from_socket(socket), peer))
    }

    /// Connections one after the other, for ever.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Where it listens, with the port that was drawn for port 0.
    ///
    /// # Errors
    /// None; the `Result` is that of `std::net::TcpListener`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.acceptor.local_addr())
    }

    /// Another handle to the same listener.
    ///
    /// # Errors
    /// None; the `Result` is that of `std::net::TcpListener`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { acceptor: Arc::clone(&self.acceptor) })
    }
}

/// The connections of a listener, by [`MptcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a MptcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<MptcpStream>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}
