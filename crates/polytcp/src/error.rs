//! The core's errors as `io::Error`: one exhaustive match for each, and the typed error inside.

use std::io::{Error, ErrorKind};

use polytcp_proto::host::{CallError, ConnectError, ConnectionError, ListenError};
use polytcp_proto::pm::command::PmError;

/// Why a connection could not be started.
pub(crate) fn connect(error: ConnectError) -> Error {
    let kind = match error {
        ConnectError::NoRoute => ErrorKind::NetworkUnreachable,
        ConnectError::AddressNotAvailable => ErrorKind::AddrNotAvailable,
        ConnectError::AddressInUse => ErrorKind::AddrInUse,
        ConnectError::InvalidRemote => ErrorKind::InvalidInput,
        ConnectError::UnknownCongestionControl => ErrorKind::NotFound,
        ConnectError::DataTooLong => ErrorKind::InvalidInput,
        ConnectError::MptcpDisabled => ErrorKind::Unsupported,
    };
    Error::new(kind, error)
}

/// Why a listener could not be made.
pub(crate) fn listen(error: ListenError) -> Error {
    let kind = match error {
        ListenError::AddressNotAvailable => ErrorKind::AddrNotAvailable,
        ListenError::AddressInUse => ErrorKind::AddrInUse,
        ListenError::MptcpDisabled => ErrorKind::Unsupported,
    };
    Error::new(kind, error)
}

/// Why a call on a connection failed.
pub(crate) fn call(error: CallError) -> Error {
    match error {
        CallError::NotFound | CallError::NotConnected => Error::new(ErrorKind::NotConnected, error),
        CallError::WriteClosed => Error::new(ErrorKind::BrokenPipe, error),
        CallError::Failed(error) => connection(error),
    }
}

/// Why a connection ended.
pub(crate) fn connection(error: ConnectionError) -> Error {
    let kind = match error {
        ConnectionError::Refused => ErrorKind::ConnectionRefused,
        ConnectionError::Reset => ErrorKind::ConnectionReset,
        ConnectionError::TimedOut | ConnectionError::AllPathsLost => ErrorKind::TimedOut,
        ConnectionError::Unreachable => ErrorKind::HostUnreachable,
        ConnectionError::Aborted => ErrorKind::ConnectionAborted,
    };
    Error::new(kind, error)
}

/// Why a path manager refused what the builder was told.
pub(crate) fn path_manager(error: PmError) -> Error {
    Error::new(ErrorKind::InvalidInput, error)
}

/// Nothing moves any more.
pub(crate) fn engine_failed() -> Error {
    Error::other("the engine thread of the stack has failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typed_error_is_inside() {
        let error = call(CallError::Failed(ConnectionError::Reset));
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ConnectionError>());
        assert_eq!(inner, Some(&ConnectionError::Reset));
    }
}
