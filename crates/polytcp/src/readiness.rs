//! What a socket is ready for, as its handles tell it.

use polytcp_proto::host::Readiness;

/// What a connection is ready for at this moment; the same answers as `poll()` gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SocketReadiness {
    /// A read would not block: data, end of stream or an error (POLLIN).
    pub readable: bool,
    /// A write would not block (POLLOUT).
    pub writable: bool,
    /// The peer has closed its direction (POLLRDHUP).
    pub read_closed: bool,
    /// Both directions are closed (POLLHUP).
    pub hup: bool,
    /// The connection has failed (POLLERR).
    pub error: bool,
    /// Counts how often any of this may have changed: an edge-triggered client compares it.
    pub edges: u64,
}

impl SocketReadiness {
    /// The host's answer, with what the socket itself holds or has shut.
    pub(crate) fn new(host: Readiness, readable_here: bool, edges: u64) -> Self {
        let Readiness { readable, writable, read_closed, hup, error, connected: _, closed: _, end_acked: _ } =
            host;
        Self { readable: readable || readable_here, writable, read_closed, hup, error, edges }
    }
}
