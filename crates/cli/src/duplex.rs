//! What the commands need of a connected stream, whether it is the stack's or the kernel's.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use polytcp::blocking::MptcpStream;
use polytcp_lab::KernelStream;

/// A connected stream that one thread reads and another writes.
pub(crate) trait Duplex: Send + Sync {
    fn receive(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn send_all(&self, bytes: &[u8]) -> io::Result<()>;
    /// Ends the sending direction.
    fn finish(&self) -> io::Result<()>;
    /// How long a read or write waits before it fails; for ever by default.
    fn limit_waits(&self, wait: Duration) -> io::Result<()>;
    /// Sends small pieces at once (`TCP_NODELAY`).
    fn send_at_once(&self) -> io::Result<()>;
    /// Ends both directions at once; whoever waits is told.
    fn abort(&self);
    /// Whether MPTCP is in use.
    fn is_multipath(&self) -> io::Result<bool>;

    /// Fills `buf`.
    fn receive_exact(&self, buf: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.receive(&mut buf[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => filled += len,
            }
        }
        Ok(())
    }
}

impl Duplex for MptcpStream {
    fn receive(&self, buf: &mut [u8]) -> io::Result<usize> {
        { self }.read(buf)
    }

    fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        { self }.write_all(bytes)
    }

    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn limit_waits(&self, wait: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(wait))?;
        self.set_write_timeout(Some(wait))
    }

    fn send_at_once(&self) -> io::Result<()> {
        self.set_nodelay(true)
    }

    fn abort(&self) {
        Self::abort(self);
    }

    fn is_multipath(&self) -> io::Result<bool> {
        self.is_mptcp()
    }
}

impl Duplex for KernelStream {
    fn receive(&self, buf: &mut [u8]) -> io::Result<usize> {
        { self }.read(buf)
    }

    fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        { self }.write_all(bytes)
    }

    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn limit_waits(&self, wait: Duration) -> io::Result<()> {
        self.set_timeouts(Some(wait))
    }

    fn send_at_once(&self) -> io::Result<()> {
        self.set_nodelay(true)
    }

    fn abort(&self) {
        // Fails only where the connection is over already.
        let _ = self.set_linger(Some(Duration::ZERO)).and_then(|()| self.shutdown(Shutdown::Both));
    }

    fn is_multipath(&self) -> io::Result<bool> {
        self.tcp_is_mptcp()
    }
}

/// Says what a stream's failure means: a wait that took too long is `WouldBlock` to the system.
pub(crate) fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no progress for too long".to_owned(),
        _ => error.to_string(),
    }
}
