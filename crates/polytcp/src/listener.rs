//! The asynchronous listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use polytcp_proto::host::ListenOptions;

use crate::acceptor::Acceptor;
use crate::address::Address;
use crate::stack::Stack;
use crate::stream::MptcpStream;

/// Accepts Multipath TCP connections, and plain TCP ones of peers without MPTCP, in asynchronous code.
///
/// Dropping it stops listening; connections that wait in it are reset.
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
    ///
    /// # Cancel safety
    /// Never waits.
    pub async fn bind(stack: &Stack, address: impl Address) -> io::Result<Self> {
        Self::bind_with(stack, &ListenOptions::new(address.to_socket_addr()?))
    }

    /// Listens with a chosen protocol and backlog.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_with(stack: &Stack, options: &ListenOptions) -> io::Result<Self> {
        Ok(Self { acceptor: Acceptor::listen(stack, options)? })
    }

    /// The next connection whose handshake is done, and the peer's address.
    ///
    /// Several tasks may wait at once.
    ///
    /// # Errors
    /// When the stack itself has failed.
    ///
    /// # Cancel safety
    /// Dropping the future loses no connection.
    pub async fn accept(&self) -> io::Result<(MptcpStream, SocketAddr)> {
        let socket = self.acceptor.registration().wait(|cx, key| self.acceptor.poll_accept(cx, key)).await?;
        let peer = socket.peer_addr()?;
        Ok((MptcpStream::from_socket(socket), peer))
    }

    /// Where it listens, with the port that was drawn for port 0.
    ///
    /// # Errors
    /// None; the `Result` is that of `std::net::TcpListener`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.acceptor.local_addr())
    }
}
