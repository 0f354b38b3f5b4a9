//! A connected socket of the kernel, with what MPTCP adds to it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{SockRef, Socket};

use crate::mptcp_info::{self, MptcpInfo, SubflowAddrs};

/// The protocol of a kernel socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// `IPPROTO_MPTCP`.
    Mptcp,
    /// `IPPROTO_TCP`.
    Tcp,
}

impl From<Protocol> for socket2::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Mptcp => Self::MPTCP,
            Protocol::Tcp => Self::TCP,
        }
    }
}

/// A connected kernel socket. Blocking, usable from any thread, and by reference from two at once.
#[derive(Debug)]
pub struct KernelStream {
    stream: TcpStream,
}

impl KernelStream {
    /// What the kernel says about the MPTCP connection.
    ///
    /// # Errors
    /// `EOPNOTSUPP` (IPv4) or `ENOPROTOOPT` (IPv6) on plain TCP and after a fallback.
    pub fn mptcp_info(&self) -> io::Result<MptcpInfo> {
        mptcp_info::mptcp_info(self.as_fd())
    }

    /// The ends of every subflow.
    ///
    /// # Errors
    /// As [`mptcp_info`](Self::mptcp_info).
    pub fn subflows(&self) -> io::Result<Vec<SubflowAddrs>> {
        mptcp_info::subflows(self.as_fd())
    }

    /// `TCP_IS_MPTCP`: false on plain TCP and after a fallback.
    pub fn tcp_is_mptcp(&self) -> io::Result<bool> {
        mptcp_info::is_mptcp(self.as_fd())
    }

    /// The local end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// The remote end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Closes one direction or both; with MPTCP the data level's (DATA_FIN).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }

    /// How long reads and writes wait before they fail with `WouldBlock`; `None` for ever.
    pub fn set_timeouts(&self, wait: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(wait)?;
        self.stream.set_write_timeout(wait)
    }

    /// `TCP_NODELAY`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.stream.set_nodelay(nodelay)
    }

    /// `TCP_CONGESTION`, for all subflows. Only those that the kernel has loaded or may load.
    pub fn set_congestion(&self, name: &str) -> io::Result<()> {
        SockRef::from(&self.stream).set_tcp_congestion(name.as_bytes())
    }

    /// The name of the congestion control.
    pub fn congestion(&self) -> io::Result<String> {
        let name = SockRef::from(&self.stream).tcp_congestion()?;
        let len = name.iter().position(|octet| *octet == 0).unwrap_or(name.len());
        Ok(String::from_utf8_lossy(&name[..len]).into_owned())
    }

    /// `SO_RCVBUF`: the kernel doubles it, caps it at `net.core.rmem_max` and stops tuning.
    pub fn set_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        SockRef::from(&self.stream).set_recv_buffer_size(bytes)
    }

    /// `SO_SNDBUF`: the kernel doubles it, caps it at `net.core.wmem_max` and stops tuning.
    pub fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        SockRef::from(&self.stream).set_send_buffer_size(bytes)
    }

    /// `SO_LINGER`: zero makes closing abort the connection (MP_FASTCLOSE, RFC 8684 §3.5).
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(linger)
    }

    /// A second handle to the same socket.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()? })
    }

    /// The socket as the standard library's type, for anything else.
    pub fn as_tcp(&self) -> &TcpStream {
        &self.stream
    }
}

impl From<TcpStream> for KernelStream {
    fn from(stream: TcpStream) -> Self {
        Self { stream }
    }
}

impl From<Socket> for KernelStream {
    fn from(socket: Socket) -> Self {
        Self { stream: socket.into() }
    }
}

impl AsFd for KernelStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Read for KernelStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }
}

impl Write for KernelStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Read for &KernelStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(buf)
    }
}

impl Write for &KernelStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&self.stream).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.stream).flush()
    }
}
