//! The socket calls' vocabulary: ids, options, outcomes and what a connection tells of itself.

use core::net::SocketAddr;
use core::num::{NonZeroU16, NonZeroU32};

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use crate::packet::InterfaceId;
use crate::time::Duration;

/// A connection of a host. Generational: an id of a connection that is gone is never mistaken for
/// one that took its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnectionId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A listener of a host, generational as [`ConnectionId`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ListenerId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// What a socket asks for, as the third argument of Linux's `socket()`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// `IPPROTO_MPTCP`: MPTCP where the peer has it, else TCP.
    #[default]
    Mptcp,
    /// `IPPROTO_TCP`: plain TCP.
    Tcp,
}

/// What `connect` needs to know.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The peer.
    pub remote: SocketAddr,
    /// Address (and port, 0 for any) to connect from. Default: the first address of the peer's family
    /// on an interface that is up, one in the peer's prefix preferred; an ephemeral port.
    pub local: Option<SocketAddr>,
    /// MPTCP or TCP.
    pub protocol: Protocol,
    /// Send small segments at once instead of waiting for acknowledgements (`TCP_NODELAY`).
    pub nodelay: bool,
    /// Congestion control of this connection's flows; default the host's.
    pub congestion_control: Option<String>,
    /// Sizes of its buffers. Default: the host's.
    pub buffers: BufferLimits,
    /// What the application has to say first, as with `MSG_FASTOPEN`: what fits goes on the SYN if the
    /// peer is known to take it ([`crate::config::TcpConfig::fastopen`], RFC 7413), the rest after the
    /// handshake. A SYN may reach the peer's application twice, so only data that may be said twice
    /// belongs here. At most the send buffer. Default empty.
    pub data: Bytes,
}

impl ConnectOptions {
    /// An MPTCP connection to `remote` with the host's defaults.
    pub fn new(remote: SocketAddr) -> Self {
        Self {
            remote,
            local: None,
            protocol: Protocol::Mptcp,
            nodelay: false,
            congestion_control: None,
            buffers: BufferLimits::default(),
            data: Bytes::new(),
        }
    }
}

/// Sizes that are set. Buffers are in bytes as in [`crate::config::TcpConfig::send_buffer_bytes`] and
/// [`crate::config::TcpConfig::recv_buffer_bytes`] (`SO_SNDBUF`, `SO_RCVBUF`). `None` is as the host has it: it grows with use,
/// unless the host's configuration fixes it. The first window promises at least what the handshake said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BufferLimits {
    /// Accepted from the application and not acknowledged.
    pub send: Option<NonZeroU32>,
    /// Held for the application, and promised to the peer.
    pub recv: Option<NonZeroU32>,
    /// Payload of a segment at most, in both directions, before options (`TCP_MAXSEG`); counts where a subflow is opened.
    pub segment: Option<NonZeroU16>,
}

/// What `listen` needs to know.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Where to listen; `0.0.0.0` means all IPv4 addresses, `::` all addresses of both families; port 0 draws a free one.
    pub local: SocketAddr,
    /// `::` means IPv6 only (`IPV6_V6ONLY`). Default false.
    pub v6_only: bool,
    /// Listen beside others that have this too; each connection goes to one of them by a keyed hash of its four-tuple
    /// (`SO_REUSEPORT`). Default false.
    pub reuse_port: bool,
    /// MPTCP (which accepts plain TCP clients as well) or TCP only.
    pub protocol: Protocol,
    /// Sizes of the buffers of its connections. Default: the host's.
    pub buffers: BufferLimits,
    /// Connections that may wait for `accept`; capped by [`crate::config::TcpConfig::backlog_max`].
    pub backlog: usize,
    /// Wait so long for the peer's first data before a connection is made (`TCP_DEFER_ACCEPT`): third ACKs
    /// without data are dropped meanwhile. Counted in SYN/ACK timeouts as Linux does, so 1 s means until
    /// the first one. A peer that stays silent is accepted when it answers the SYN/ACK that follows.
    /// Default `None`. Joins do not wait.
    pub defer_accept: Option<Duration>,
    /// Connections at most whose data came on the SYN and whose handshake is not over (`TCP_FASTOPEN`, the
    /// queue's length); also needs [`crate::config::fastopen::SERVER_ENABLE`]. Such a connection can be
    /// accepted and read at once, and on plain TCP answered at once; on MPTCP the answer waits for the
    /// peer's key in the third ACK. A SYN may be repeated by the network, so only applications whose
    /// requests may be said twice should take them. Default 0, none.
    pub fast_open: usize,
}

impl ListenOptions {
    /// An MPTCP listener at `local` with Linux's usual backlog of 128.
    pub fn new(local: SocketAddr) -> Self {
        Self {
            local,
            v6_only: false,
            reuse_port: false,
            protocol: Protocol::Mptcp,
            buffers: BufferLimits::default(),
            backlog: 128,
            defer_accept: None,
            fast_open: 0,
        }
    }
}

/// Why `connect` could not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectError {
    /// No interface that is up has an address of the peer's family.
    #[error("no interface that is up has an address of the peer's family")]
    NoRoute,
    /// The local address belongs to no interface of the host.
    #[error("the local address belongs to no interface")]
    AddressNotAvailable,
    /// The local port is taken, or no ephemeral port is free.
    #[error("the local port is in use, or none is free")]
    AddressInUse,
    /// The peer's address or port cannot be connected to (unspecified, multicast, port 0).
    #[error("the remote address or port cannot be connected to")]
    InvalidRemote,
    /// The congestion control's name is not known.
    #[error("unknown congestion control; known are {}", crate::tcp::cc::AVAILABLE.join(", "))]
    UnknownCongestionControl,
    /// MPTCP is switched off (`net.mptcp.enabled` = 0).
    #[error("MPTCP is switched off")]
    MptcpDisabled,
    /// The data to begin with exceeds the send buffer.
    #[error("the data to begin with exceeds the send buffer")]
    DataTooLong,
}

/// Why `listen` failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListenError {
    /// The address belongs to no interface of the host.
    #[error("the address belongs to no interface")]
    AddressNotAvailable,
    /// Another listener has this address and port.
    #[error("the address and port are in use")]
    AddressInUse,
    /// MPTCP is switched off (`net.mptcp.enabled` = 0).
    #[error("MPTCP is switched off")]
    MptcpDisabled,
}

/// Why a connection ended other than by both sides closing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The peer answered the SYN with a reset (`ECONNREFUSED`).
    #[error("connection refused")]
    Refused,
    /// The peer reset the connection: MP_FASTCLOSE, or a RST of a plain TCP connection (`ECONNRESET`).
    #[error("connection reset by peer")]
    Reset,
    /// No answer within the retransmission limit (`ETIMEDOUT`).
    #[error("connection timed out")]
    TimedOut,
    /// The network said that the peer cannot be reached (`EHOSTUNREACH`).
    #[error("host is unreachable")]
    Unreachable,
    /// All subflows went and none came back within `close_timeout`.
    #[error("all paths lost")]
    AllPathsLost,
    /// This side aborted it.
    #[error("connection aborted")]
    Aborted,
}

/// Why a socket call was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// The id names nothing (any more).
    #[error("no such connection")]
    NotFound,
    /// The handshake is not done yet.
    #[error("not connected yet")]
    NotConnected,
    /// The sending direction is closed (`EPIPE`).
    #[error("the sending direction is closed")]
    WriteClosed,
    /// The connection failed.
    #[error(transparent)]
    Failed(#[from] ConnectionError),
}

/// What `read` found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// Bytes, next in the stream; never empty.
    Data(Bytes),
    /// Nothing yet.
    WouldBlock,
    /// The peer has closed its direction, and everything before that was read.
    Finished,
}

/// What a connection is ready for; the same answers as `poll()` gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Readiness {
    /// `read` would not block: data, end of stream or an error (POLLIN).
    pub readable: bool,
    /// `write` would not block (POLLOUT).
    pub writable: bool,
    /// The peer closed its direction (POLLRDHUP).
    pub read_closed: bool,
    /// Both directions are closed (POLLHUP).
    pub hup: bool,
    /// The connection failed; [`CallError::Failed`] says how (POLLERR).
    pub error: bool,
    /// The handshake is over, one way or the other.
    pub connected: bool,
    /// The connection is over: both directions are done and acknowledged, or it failed (`TCP_CLOSE`).
    pub closed: bool,
    /// The peer has acknowledged the end of our stream.
    pub end_acked: bool,
}

/// What happened, in order, since the last poll.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A connection's [`Readiness`] may have changed, or data has arrived after [`Host::tell_arrivals`](super::Host::tell_arrivals).
    Ready(ConnectionId),
    /// A listener has a connection to accept.
    Incoming(ListenerId),
}

/// State of a subflow, by its TCP state as `ss` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubflowState {
    /// SYN sent.
    SynSent,
    /// SYN received.
    SynReceived,
    /// Open in both directions.
    Established,
    /// FIN sent, or received, or both.
    Closing,
    /// Gone.
    Closed,
}

/// One subflow as [`super::Host::subflows`] tells it.
#[derive(Clone, Debug)]
pub struct SubflowInfo {
    /// Counts from 1 in order of creation; never reused within a connection.
    pub id: u32,
    /// Local address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Interface that it uses.
    pub interface: InterfaceId,
    /// TCP state.
    pub state: SubflowState,
    /// Either side declared it a backup.
    pub backup: bool,
    /// It has not answered lately, and new data goes elsewhere.
    pub stale: bool,
    /// Routers say of what is on the way that the peer cannot be reached, and nothing was acknowledged since: a soft
    /// error (RFC 9293 §3.9.1.8, MUST-47).
    pub unreachable: bool,
    /// Smoothed round-trip time; `None` before the first sample.
    pub srtt: Option<Duration>,
    /// Round-trip time variation; zero before the first sample.
    pub rttvar: Duration,
    /// Retransmission timeout in force.
    pub rto: Duration,
    /// Congestion window in bytes.
    pub cwnd_bytes: u32,
    /// Slow-start threshold in bytes.
    pub ssthresh_bytes: u32,
    /// Sent and not yet acknowledged or lost, in bytes.
    pub in_flight_bytes: u32,
    /// Payload bytes of a full segment.
    pub mss_bytes: u16,
    /// Payload bytes sent, retransmissions included.
    pub bytes_sent: u64,
    /// Payload bytes received in order.
    pub bytes_received: u64,
    /// Payload bytes that this subflow sent again.
    pub bytes_retransmitted: u64,
    /// Segments that it sent again.
    pub retransmissions: u64,
    /// Payload bytes per second that the peer confirmed lately; 0 before the first sample.
    pub delivery_rate_bytes_per_sec: u64,
}

/// One connection as [`super::Host::info`] tells it.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Local address and port of the first subflow, also after it is gone.
    pub local: SocketAddr,
    /// The peer's address and port of the first subflow, also after it is gone.
    pub remote: SocketAddr,
    /// MPTCP is in use; false on plain TCP and after fallback. Undecided counts as true.
    pub is_mptcp: bool,
    /// Its mappings have checksums (`csum_enabled` of Linux's `mptcp_info`).
    pub checksums: bool,
    /// Our token; `None` on plain TCP.
    pub token: Option<u32>,
    /// The handshake was completed, now or before.
    pub was_established: bool,
    /// Bytes accepted from the application so far.
    pub bytes_written: u64,
    /// Bytes that the peer acknowledged at data level.
    pub bytes_acked: u64,
    /// Bytes accepted that were not sent for the first time yet (`SIOCOUTQNSD`).
    pub bytes_unsent: u64,
    /// Our direction is closed, and the peer has not acknowledged that.
    pub data_fin_outstanding: bool,
    /// Bytes received in order at data level.
    pub bytes_received: u64,
    /// Of these, bytes that were not read yet (`SIOCINQ`).
    pub bytes_readable: usize,
    /// The peer closed its direction, and all before that was received.
    pub peer_finished: bool,
    /// Bytes sent again at data level (reinjections and probes).
    pub bytes_reinjected: u64,
    /// Bytes held in the send buffer.
    pub send_buffer_used: usize,
    /// Bytes that the send buffer takes at present (`SO_SNDBUF`).
    pub send_buffer_bytes: usize,
    /// Bytes held in receive queues, by the memory that they pin.
    pub recv_buffer_used: usize,
    /// Bytes that the receive queues may hold at present (`SO_RCVBUF`).
    pub recv_buffer_bytes: usize,
    /// Totals of subflows that are closed: payload bytes sent, received and retransmitted.
    pub closed_subflows: ClosedTotals,
}

/// What the closed subflows of a connection carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClosedTotals {
    /// How many there were.
    pub count: u32,
    /// Payload bytes that they sent.
    pub bytes_sent: u64,
    /// Payload bytes that they received.
    pub bytes_received: u64,
    /// Payload bytes that they sent again.
    pub bytes_retransmitted: u64,
}

/// What a host holds at this moment, for leak checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Accounting {
    /// Connections, orphans included.
    pub connections: usize,
    /// Requests whose handshake is not done.
    pub half_open: usize,
    /// Four-tuples that lead to a subflow.
    pub flows: usize,
    /// Entries in TIME-WAIT.
    pub time_wait: usize,
    /// Listeners.
    pub listeners: usize,
    /// Tokens in use.
    pub tokens: usize,
    /// Timer entries, stale ones included.
    pub timers: usize,
    /// Bytes held in all send and receive queues.
    pub buffered_bytes: usize,
}

/// The list of subflows of one connection.
pub type Subflows = Vec<SubflowInfo>;
