//! The core's errors as Linux numbers them.

use polytcp::ConnectionError;
use polytcp::raw::{ConnectError, ListenError};
use rustix::io::Errno;

/// What `connect` answers at once.
pub(crate) fn connect(error: ConnectError) -> Errno {
    match error {
        ConnectError::NoRoute | ConnectError::InvalidRemote => Errno::NETUNREACH,
        ConnectError::AddressNotAvailable => Errno::ADDRNOTAVAIL,
        ConnectError::AddressInUse => Errno::ADDRNOTAVAIL,
        ConnectError::UnknownCongestionControl => Errno::NOENT,
        ConnectError::MptcpDisabled => Errno::NOPROTOOPT,
        ConnectError::DataTooLong => Errno::NOBUFS,
    }
}

/// What `listen` answers.
pub(crate) fn listen(error: ListenError) -> Errno {
    match error {
        ListenError::AddressNotAvailable => Errno::ADDRNOTAVAIL,
        ListenError::AddressInUse => Errno::ADDRINUSE,
        ListenError::MptcpDisabled => Errno::NOPROTOOPT,
    }
}

/// What `SO_ERROR` says of a connection that failed; `None` where Linux says nothing. A peer that had closed its direction
/// before it reset breaks the pipe.
pub(crate) fn connection(error: ConnectionError, peer_finished: bool) -> Option<Errno> {
    match error {
        ConnectionError::Refused => Some(Errno::CONNREFUSED),
        ConnectionError::Reset if peer_finished => Some(Errno::PIPE),
        ConnectionError::Reset => Some(Errno::CONNRESET),
        ConnectionError::TimedOut => Some(Errno::TIMEDOUT),
        ConnectionError::Unreachable => Some(Errno::HOSTUNREACH),
        // Linux closes such a connection without a word.
        ConnectionError::AllPathsLost | ConnectionError::Aborted => None,
    }
}
