//! `ioctl`: how much is queued.

use rustix::io::Errno;

use crate::socket::{Socket, State};

/// `SIOCINQ`, which is `FIONREAD`: octets that can be read.
pub const SIOCINQ: u64 = 0x541B;
/// `SIOCOUTQ`, which is `TIOCOUTQ`: octets that were written and not acknowledged.
pub const SIOCOUTQ: u64 = 0x5411;
/// `SIOCOUTQNSD`: octets that were written and not sent.
pub const SIOCOUTQNSD: u64 = 0x894B;
/// `SIOCATMARK`: whether the next octet is the urgent one.
pub const SIOCATMARK: u64 = 0x8905;

impl Socket {
    /// The answer to a request that reads a number.
    pub(crate) fn queued(&self, request: u64) -> Result<i32, Errno> {
        let inner = &mut *self.lock();
        let view = self.view(inner);
        let is_mptcp = self.is_mptcp();
        let clamp = |bytes: u64| i32::try_from(bytes).unwrap_or(i32::MAX);
        let out = |bytes: u64| match view.state {
            // Linux stores the error as the answer here.
            State::Listen if is_mptcp => Ok(-Errno::INVAL.raw_os_error()),
            State::Listen => Err(Errno::INVAL),
            State::SynSent => Ok(0),
            State::Close | State::Open => Ok(clamp(bytes)),
        };
        match request {
            SIOCINQ if view.state == State::Listen => Err(Errno::INVAL),
            SIOCINQ if is_mptcp => {
                // The end of the stream counts as one.
                let is_at_end = match view.readable_bytes {
                    0 => view.shut.read || view.state == State::Close,
                    _ => view.peer_finished,
                };
                Ok(clamp(view.readable_bytes as u64 + u64::from(is_at_end)))
            }
            SIOCINQ => Ok(clamp(view.readable_bytes as u64)),
            SIOCOUTQ => out(view.unacked_bytes),
            SIOCOUTQNSD => out(view.unsent_bytes),
            SIOCATMARK if !is_mptcp => Ok(0),
            _ => Err(Errno::NOTTY),
        }
    }
}
