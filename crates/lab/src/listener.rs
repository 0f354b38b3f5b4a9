//! A listening socket of the kernel.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, Socket};

use crate::stream::KernelStream;

/// A listening kernel socket. Blocking, usable from any thread.
///
/// Keep it as long as its connections are to get more subflows: Linux looks for the connection of an
/// MP_JOIN only after it has found a listener at the port, and resets the SYN where there is none.
#[derive(Debug)]
pub struct KernelListener {
    listener: TcpListener,
}

impl KernelListener {
    /// Waits for the next connection. An MPTCP listener gives a plain TCP socket to a plain peer;
    /// [`KernelStream::tcp_is_mptcp`] tells.
    pub fn accept(&self) -> io::Result<KernelStream> {
        let (stream, _) = self.listener.accept()?;
        Ok(stream.into())
    }

    /// As [`accept`](Self::accept), but fails with `TimedOut` when nobody connects in time.
    pub fn accept_within(&self, wait: Duration) -> io::Result<KernelStream> {
        let timeout = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&timeout))? {
            0 => Err(io::Error::new(io::ErrorKind::TimedOut, "nobody connected in time")),
            _ => self.accept(),
        }
    }

    /// Where it listens, with the port that the kernel chose if 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// `TCP_CONGESTION` of the connections to come.
    pub fn set_congestion(&self, name: &str) -> io::Result<()> {
        SockRef::from(&self.listener).set_tcp_congestion(name.as_bytes())
    }

    /// The socket as the standard library's type, for anything else.
    pub fn as_tcp(&self) -> &TcpListener {
        &self.listener
    }
}

impl From<Socket> for KernelListener {
    fn from(socket: Socket) -> Self {
        Self { listener: socket.into() }
    }
}

impl AsFd for KernelListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
