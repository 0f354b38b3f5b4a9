//! Which options there are, what Linux 6.18 does with each on a TCP and on an MPTCP socket, and what it does here.
//!
//! `docs/sockopts.md` is made from this; a test compares the two. Values are those of a root user's socket.

use rustix::io::Errno;

/// What an option takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Any number, kept as 0 or 1.
    Flag,
    /// A number within limits; another is `EINVAL`.
    Number(i32, i32),
    /// It is only told; to set it is this error.
    Told(Errno),
    /// An empty value is told; to set it is this error.
    ToldEmpty(Errno),
    /// To set it is allowed and does nothing; to ask for it is this error.
    Taken(Errno),
    /// To set it is allowed and does nothing; an empty value is told.
    TakenEmpty,
    /// Linux refuses it on every TCP socket, with these errors: to set it, to ask for it.
    Refused(Errno, Errno),
    /// By its own code, see the level's module.
    Own,
}

/// What Linux 6.18 does on an MPTCP socket, where it differs from TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnMptcp {
    /// As on TCP.
    Same,
    /// Takes it and forgets it.
    Forgotten,
    /// Asks the first subflow, which a connection does not lend: `EINVAL` there.
    Unconnected,
    /// The same, but the value is kept in spite of the error.
    UnconnectedKept,
    /// Checks the limits only where there is a subflow.
    Unchecked,
    /// Refuses to set it with this error, and tells the default.
    NotSet(Errno),
    /// Refuses it with these errors: to set it, to ask for it.
    Refused(Errno, Errno),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) level: i32,
    pub(crate) number: i32,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation"))]
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What is told where nothing was set.
    pub(crate) default: i32,
    pub(crate) mptcp: OnMptcp,
    /// What it does here; empty for nothing: the value is kept and told.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation"))]
    pub(crate) here: &'static str,
}

const fn option(
    level: i32,
    number: i32,
    name: &'static str,
    kind: Kind,
    default: i32,
    mptcp: OnMptcp,
    here: &'static str,
) -> Entry {
    Entry { level, number, name, kind, default, mptcp, here }
}

use Errno as E;
use Kind::{Flag, Number, Own, Refused, Taken, TakenEmpty, Told, ToldEmpty};
use OnMptcp::{Forgotten, NotSet, Same, Unchecked, Unconnected, UnconnectedKept};

const SOCKET: i32 = libc::SOL_SOCKET;
const IP: i32 = libc::SOL_IP;
const IPV6: i32 = libc::SOL_IPV6;
const TCP: i32 = libc::SOL_TCP;

/// Refused on MPTCP as an option below `SOL_SOCKET` that MPTCP does not know.
const UNKNOWN: OnMptcp = OnMptcp::Refused(E::NOPROTOOPT, E::OPNOTSUPP);
/// Refused on MPTCP as one that it knows and does not support yet.
const UNSUPPORTED: OnMptcp = OnMptcp::Refused(E::OPNOTSUPP, E::OPNOTSUPP);
/// Refused on MPTCP at `SOL_SOCKET`, where asking is TCP's.
const NOT_SET: OnMptcp = NotSet(E::OPNOTSUPP);
/// Refused on both, with another error on MPTCP.
const NEVER: OnMptcp = OnMptcp::Refused(E::OPNOTSUPP, E::NOPROTOOPT);

const ANY: Kind = Number(i32::MIN, i32::MAX);
const SWITCH: Kind = Number(0, 1);

/// All options, by level and number.
pub(crate) const TABLE: &[Entry] = &[
    option(SOCKET, 1, "SO_DEBUG", Flag, 0, Same, ""),
    option(SOCKET, 2, "SO_REUSEADDR", Flag, 0, Unconnected, "who may bind to the same address and port"),
    option(SOCKET, 3, "SO_TYPE", Own, 0, NOT_SET, "told"),
    option(SOCKET, 4, "SO_ERROR", Own, 0, NOT_SET, "told once"),
    option(SOCKET, 5, "SO_DONTROUTE", Flag, 0, Forgotten, ""),
    option(SOCKET, 6, "SO_BROADCAST", Flag, 0, Forgotten, ""),
    option(SOCKET, 7, "SO_SNDBUF", Own, 0, Same, "how much may be written and not be acknowledged"),
    option(SOCKET, 8, "SO_RCVBUF", Own, 0, Same, "how much the peer may send and not be read"),
    option(SOCKET, 9, "SO_KEEPALIVE", Flag, 0, Same, "probes on all subflows"),
    option(SOCKET, 10, "SO_OOBINLINE", Flag, 0, NOT_SET, "urgent data is always in line"),
    option(SOCKET, 11, "SO_NO_CHECK", Flag, 0, Forgotten, ""),
    option(SOCKET, 12, "SO_PRIORITY", ANY, 0, Same, ""),
    option(SOCKET, 13, "SO_LINGER", Own, 0, Same, "how `close` ends"),
    option(SOCKET, 14, "SO_BSDCOMPAT", Own, 0, Forgotten, "nothing, as in Linux"),
    option(SOCKET, 15, "SO_REUSEPORT", Flag, 0, Unconnected, "listeners share a port's connections"),
    option(SOCKET, 16, "SO_PASSCRED", Refused(E::OPNOTSUPP, E::OPNOTSUPP), 0, Forgotten, "refused"),
    option(SOCKET, 17, "SO_PEERCRED", Own, 0, NOT_SET, "told: nobody"),
    option(SOCKET, 18, "SO_RCVLOWAT", Own, 1, Same, "from how many octets on a socket is readable"),
    option(SOCKET, 19, "SO_SNDLOWAT", Told(E::NOPROTOOPT), 1, NOT_SET, "told"),
    option(SOCKET, 20, "SO_RCVTIMEO", Own, 0, Same, "how long calls wait"),
    option(SOCKET, 21, "SO_SNDTIMEO", Own, 0, Same, "how long calls wait"),
    option(SOCKET, 25, "SO_BINDTODEVICE", Own, 0, Unconnected, "only no device: `ENODEV` for all others"),
    option(
        SOCKET,
        26,
        "SO_ATTACH_FILTER",
        ToldEmpty(E::INVAL),
        0,
        NOT_SET,
        "refused: there are no BPF programs here",
    ),
    option(
        SOCKET,
        27,
        "SO_DETACH_FILTER",
        Refused(E::NOENT, E::NOPROTOOPT),
        0,
        NEVER,
        "`ENOENT`: there is none",
    ),
    option(SOCKET, 28, "SO_PEERNAME", Own, 0, NOT_SET, "told"),
    option(SOCKET, 29, "SO_TIMESTAMP", Own, 0, Same, ""),
    option(SOCKET, 30, "SO_ACCEPTCONN", Own, 0, NOT_SET, "told"),
    option(SOCKET, 31, "SO_PEERSEC", Refused(E::NOPROTOOPT, E::NOPROTOOPT), 0, NEVER, "refused"),
    option(SOCKET, 32, "SO_SNDBUFFORCE", Taken(E::NOPROTOOPT), 0, Same, ""),
    option(SOCKET, 33, "SO_RCVBUFFORCE", Taken(E::NOPROTOOPT), 0, Same, ""),
    option(SOCKET, 34, "SO_PASSSEC", Refused(E::OPNOTSUPP, E::OPNOTSUPP), 0, Forgotten, "refused"),
    option(SOCKET, 35, "SO_TIMESTAMPNS", Own, 0, Same, ""),
    option(SOCKET, 36, "SO_MARK", ANY, 0, Same, ""),
    option(SOCKET, 38, "SO_PROTOCOL", Own, 0, NOT_SET, "told"),
    option(SOCKET, 39, "SO_DOMAIN", Own, 0, NOT_SET, "told"),
    option(SOCKET, 40, "SO_RXQ_OVFL", Flag, 0, Forgotten, ""),
    option(SOCKET, 41, "SO_WIFI_STATUS", Flag, 0, Forgotten, ""),
    option(SOCKET, 42, "SO_PEEK_OFF", Number(-1, i32::MAX), -1, UNSUPPORTED, ""),
    option(SOCKET, 43, "SO_NOFCS", Flag, 0, Forgotten, ""),
    option(SOCKET, 44, "SO_LOCK_FILTER", Flag, 0, NOT_SET, ""),
    option(SOCKET, 45, "SO_SELECT_ERR_QUEUE", Flag, 0, Forgotten, ""),
    option(SOCKET, 46, "SO_BUSY_POLL", Number(0, i32::MAX), 0, Same, ""),
    option(SOCKET, 47, "SO_MAX_PACING_RATE", Own, -1, NOT_SET, ""),
    option(SOCKET, 48, "SO_BPF_EXTENSIONS", Told(E::NOPROTOOPT), 64, NOT_SET, "told"),
    option(SOCKET, 51, "SO_ATTACH_REUSEPORT_CBPF", Refused(E::INVAL, E::NOPROTOOPT), 0, NEVER, "refused"),
    option(SOCKET, 53, "SO_CNX_ADVICE", Taken(E::NOPROTOOPT), 0, NEVER, ""),
    option(
        SOCKET,
        54,
        "SCM_TIMESTAMPING_OPT_STATS",
        Refused(E::NOPROTOOPT, E::NOPROTOOPT),
        0,
        NEVER,
        "refused",
    ),
    option(SOCKET, 55, "SO_MEMINFO", Own, 0, NOT_SET, "told: sizes and contents of the buffers"),
    option(SOCKET, 56, "SO_INCOMING_NAPI_ID", Told(E::NOPROTOOPT), 0, NOT_SET, "told"),
    option(SOCKET, 57, "SO_COOKIE", Own, 0, NOT_SET, "told"),
    option(
        SOCKET,
        58,
        "SCM_TIMESTAMPING_PKTINFO",
        Refused(E::NOPROTOOPT, E::NOPROTOOPT),
        0,
        NEVER,
        "refused",
    ),
    option(
        SOCKET,
        59,
        "SO_PEERGROUPS",
        Refused(E::NOPROTOOPT, E::NODATA),
        0,
        OnMptcp::Refused(E::OPNOTSUPP, E::NODATA),
        "refused",
    ),
    option(SOCKET, 60, "SO_ZEROCOPY", SWITCH, 0, NOT_SET, ""),
    option(SOCKET, 62, "SO_BINDTOIFINDEX", Number(0, i32::MAX), 0, Unconnected, ""),
    option(SOCKET, 63, "SO_TIMESTAMP_NEW", Own, 0, Same, ""),
    option(SOCKET, 64, "SO_TIMESTAMPNS_NEW", Own, 0, Same, ""),
    option(SOCKET, 66, "SO_RCVTIMEO_NEW", Own, 0, Same, "how long calls wait"),
    option(SOCKET, 67, "SO_SNDTIMEO_NEW", Own, 0, Same, "how long calls wait"),
    option(SOCKET, 68, "SO_DETACH_REUSEPORT_BPF", Refused(E::INVAL, E::NOPROTOOPT), 0, NEVER, "refused"),
    option(SOCKET, 69, "SO_PREFER_BUSY_POLL", Flag, 0, Same, ""),
    option(SOCKET, 70, "SO_BUSY_POLL_BUDGET", Taken(E::NOPROTOOPT), 0, Same, ""),
    option(SOCKET, 72, "SO_BUF_LOCK", Number(0, 3), 0, NOT_SET, ""),
    option(SOCKET, 73, "SO_RESERVE_MEM", Told(E::OPNOTSUPP), 0, NOT_SET, "told"),
    option(SOCKET, 74, "SO_TXREHASH", Number(-1, 1), 1, UNSUPPORTED, ""),
    option(SOCKET, 75, "SO_RCVMARK", Flag, 0, NOT_SET, ""),
    option(SOCKET, 76, "SO_PASSPIDFD", Refused(E::OPNOTSUPP, E::OPNOTSUPP), 0, Forgotten, "refused"),
    option(
        SOCKET,
        77,
        "SO_PEERPIDFD",
        Refused(E::NOPROTOOPT, E::NODATA),
        0,
        OnMptcp::Refused(E::OPNOTSUPP, E::NODATA),
        "refused",
    ),
    option(SOCKET, 80, "SO_DEVMEM_DONTNEED", Refused(E::INVAL, E::NOPROTOOPT), 0, NEVER, "refused"),
    option(SOCKET, 82, "SO_RCVPRIORITY", Flag, 0, NOT_SET, ""),
    option(IP, 1, "IP_TOS", Own, 0, Same, "the field of all packets of all subflows"),
    option(IP, 2, "IP_TTL", Own, 64, UNSUPPORTED, "the field of all packets of all subflows"),
    option(IP, 3, "IP_HDRINCL", Told(E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IP, 5, "IP_ROUTER_ALERT", Told(E::INVAL), 0, UNKNOWN, "refused"),
    option(IP, 6, "IP_RECVOPTS", Flag, 0, UNSUPPORTED, ""),
    option(IP, 7, "IP_RETOPTS", Flag, 0, UNSUPPORTED, ""),
    option(IP, 8, "IP_PKTINFO", Flag, 0, UNSUPPORTED, ""),
    option(IP, 9, "IP_PKTOPTIONS", ToldEmpty(E::NOPROTOOPT), 0, UNKNOWN, "told"),
    option(IP, 10, "IP_MTU_DISCOVER", Number(0, 5), 1, UNSUPPORTED, ""),
    option(IP, 11, "IP_RECVERR", Flag, 0, UNSUPPORTED, ""),
    option(IP, 12, "IP_RECVTTL", Flag, 0, UNSUPPORTED, ""),
    option(IP, 13, "IP_RECVTOS", Flag, 0, UNSUPPORTED, ""),
    option(IP, 15, "IP_FREEBIND", Flag, 0, UnconnectedKept, ""),
    option(IP, 16, "IP_IPSEC_POLICY", Refused(E::OPNOTSUPP, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IP, 17, "IP_XFRM_POLICY", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IP, 18, "IP_PASSSEC", Flag, 0, UNSUPPORTED, ""),
    option(IP, 19, "IP_TRANSPARENT", Flag, 0, UnconnectedKept, ""),
    option(IP, 20, "IP_RECVORIGDSTADDR", Flag, 0, UNSUPPORTED, ""),
    option(IP, 21, "IP_MINTTL", Number(0, 255), 0, UNSUPPORTED, ""),
    option(IP, 22, "IP_NODEFRAG", Told(E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IP, 23, "IP_CHECKSUM", Flag, 0, UNSUPPORTED, ""),
    option(IP, 24, "IP_BIND_ADDRESS_NO_PORT", Flag, 0, UnconnectedKept, ""),
    option(IP, 25, "IP_RECVFRAGSIZE", Told(E::INVAL), 0, UNSUPPORTED, "refused"),
    option(IP, 26, "IP_RECVERR_RFC4884", SWITCH, 0, UNSUPPORTED, ""),
    option(IP, 33, "IP_MULTICAST_TTL", Told(E::INVAL), 1, UNKNOWN, "refused"),
    option(IP, 34, "IP_MULTICAST_LOOP", Flag, 1, UNKNOWN, ""),
    option(
        IP,
        35,
        "IP_ADD_MEMBERSHIP",
        Refused(E::PROTO, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(
        IP,
        36,
        "IP_DROP_MEMBERSHIP",
        Refused(E::PROTO, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(
        IP,
        37,
        "IP_UNBLOCK_SOURCE",
        Refused(E::INVAL, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(
        IP,
        38,
        "IP_BLOCK_SOURCE",
        Refused(E::INVAL, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(
        IP,
        39,
        "IP_ADD_SOURCE_MEMBERSHIP",
        Refused(E::INVAL, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(
        IP,
        40,
        "IP_DROP_SOURCE_MEMBERSHIP",
        Refused(E::INVAL, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(IP, 41, "IP_MSFILTER", Refused(E::INVAL, E::INVAL), 0, UNKNOWN, "refused"),
    option(
        IP,
        42,
        "MCAST_JOIN_GROUP",
        Refused(E::INVAL, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(
        IP,
        43,
        "MCAST_BLOCK_SOURCE",
        Refused(E::INVAL, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(
        IP,
        44,
        "MCAST_UNBLOCK_SOURCE",
        Refused(E::INVAL, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(
        IP,
        45,
        "MCAST_LEAVE_GROUP",
        Refused(E::INVAL, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(
        IP,
        46,
        "MCAST_JOIN_SOURCE_GROUP",
        Refused(E::INVAL, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(
        IP,
        47,
        "MCAST_LEAVE_SOURCE_GROUP",
        Refused(E::INVAL, E::NOPROTOOPT),
        0,
        UNKNOWN,
        "refused: TCP knows no groups",
    ),
    option(IP, 48, "MCAST_MSFILTER", Refused(E::INVAL, E::INVAL), 0, UNKNOWN, "refused"),
    option(IP, 49, "IP_MULTICAST_ALL", SWITCH, 1, UNKNOWN, ""),
    option(IP, 51, "IP_LOCAL_PORT_RANGE", Own, 0, UnconnectedKept, ""),
    option(IP, 64, "IPT_SO_GET_INFO", Refused(E::INVAL, E::INVAL), 0, UNKNOWN, "refused"),
    option(IPV6, 2, "IPV6_2292PKTINFO", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 3, "IPV6_2292HOPOPTS", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 4, "IPV6_2292DSTOPTS", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 5, "IPV6_2292RTHDR", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 6, "IPV6_2292PKTOPTIONS", TakenEmpty, 0, UNSUPPORTED, ""),
    option(IPV6, 8, "IPV6_2292HOPLIMIT", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 11, "IPV6_FLOWINFO", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 16, "IPV6_UNICAST_HOPS", Own, 64, UNSUPPORTED, "the field of all packets of all subflows"),
    option(IPV6, 17, "IPV6_MULTICAST_IF", Told(E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 18, "IPV6_MULTICAST_HOPS", Told(E::NOPROTOOPT), 1, UNKNOWN, "refused"),
    option(IPV6, 19, "IPV6_MULTICAST_LOOP", SWITCH, 1, UNKNOWN, ""),
    option(IPV6, 20, "IPV6_ADD_MEMBERSHIP", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 21, "IPV6_DROP_MEMBERSHIP", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 22, "IPV6_ROUTER_ALERT", Told(E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 23, "IPV6_MTU_DISCOVER", Number(0, 5), 1, UNSUPPORTED, ""),
    option(IPV6, 25, "IPV6_RECVERR", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 26, "IPV6_V6ONLY", Own, 0, Same, "whether `::` takes IPv4 too"),
    option(IPV6, 27, "IPV6_JOIN_ANYCAST", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 28, "IPV6_LEAVE_ANYCAST", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 29, "IPV6_MULTICAST_ALL", Flag, 1, UNKNOWN, ""),
    option(IPV6, 30, "IPV6_ROUTER_ALERT_ISOLATE", Flag, 0, UNKNOWN, ""),
    option(IPV6, 31, "IPV6_RECVERR_RFC4884", SWITCH, 0, UNSUPPORTED, ""),
    option(IPV6, 33, "IPV6_FLOWINFO_SEND", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 34, "IPV6_IPSEC_POLICY", Refused(E::OPNOTSUPP, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 35, "IPV6_XFRM_POLICY", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 42, "MCAST_JOIN_GROUP", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 43, "MCAST_BLOCK_SOURCE", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 44, "MCAST_UNBLOCK_SOURCE", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 45, "MCAST_LEAVE_GROUP", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 46, "MCAST_JOIN_SOURCE_GROUP", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 47, "MCAST_LEAVE_SOURCE_GROUP", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(IPV6, 49, "IPV6_RECVPKTINFO", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 50, "IPV6_PKTINFO", Refused(E::INVAL, E::NOPROTOOPT), 0, UNSUPPORTED, "refused"),
    option(IPV6, 51, "IPV6_RECVHOPLIMIT", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 53, "IPV6_RECVHOPOPTS", Flag, 0, UNSUPPORTED, ""),
    option(
        IPV6,
        54,
        "IPV6_HOPOPTS",
        ToldEmpty(E::INVAL),
        0,
        UNKNOWN,
        "refused: no extension headers are sent",
    ),
    option(
        IPV6,
        55,
        "IPV6_RTHDRDSTOPTS",
        ToldEmpty(E::INVAL),
        0,
        UNKNOWN,
        "refused: no extension headers are sent",
    ),
    option(IPV6, 56, "IPV6_RECVRTHDR", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 57, "IPV6_RTHDR", ToldEmpty(E::INVAL), 0, UNKNOWN, "refused: no extension headers are sent"),
    option(IPV6, 58, "IPV6_RECVDSTOPTS", Flag, 0, UNSUPPORTED, ""),
    option(
        IPV6,
        59,
        "IPV6_DSTOPTS",
        ToldEmpty(E::INVAL),
        0,
        UNKNOWN,
        "refused: no extension headers are sent",
    ),
    option(IPV6, 60, "IPV6_RECVPATHMTU", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 62, "IPV6_DONTFRAG", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 64, "IP6T_SO_GET_INFO", Refused(E::INVAL, E::INVAL), 0, UNKNOWN, "refused"),
    option(IPV6, 65, "IP6T_SO_GET_ENTRIES", Refused(E::INVAL, E::INVAL), 0, UNKNOWN, "refused"),
    option(IPV6, 66, "IPV6_RECVTCLASS", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 67, "IPV6_TCLASS", Own, 0, UNSUPPORTED, "the field of all packets of all subflows"),
    option(IPV6, 68, "IP6T_SO_GET_REVISION_MATCH", Refused(E::NOPROTOOPT, E::INVAL), 0, UNKNOWN, "refused"),
    option(IPV6, 69, "IP6T_SO_GET_REVISION_TARGET", Refused(E::NOPROTOOPT, E::INVAL), 0, UNKNOWN, "refused"),
    option(IPV6, 70, "IPV6_AUTOFLOWLABEL", Flag, 1, UNSUPPORTED, ""),
    option(IPV6, 73, "IPV6_MINHOPCOUNT", Number(0, 255), 0, UNSUPPORTED, ""),
    option(IPV6, 74, "IPV6_RECVORIGDSTADDR", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 75, "IPV6_TRANSPARENT", Flag, 0, Unconnected, ""),
    option(IPV6, 77, "IPV6_RECVFRAGSIZE", Flag, 0, UNSUPPORTED, ""),
    option(IPV6, 78, "IPV6_FREEBIND", Flag, 0, Unconnected, ""),
    option(TCP, 1, "TCP_NODELAY", Flag, 0, Same, "small segments do not wait"),
    option(
        TCP,
        2,
        "TCP_MAXSEG",
        Own,
        0,
        Same,
        "payload of a segment at most, of subflows that are opened later",
    ),
    option(TCP, 3, "TCP_CORK", Flag, 0, Same, "less than a segment waits"),
    option(TCP, 4, "TCP_KEEPIDLE", Number(1, 32_767), 7_200, Unchecked, "seconds until the first probe"),
    option(TCP, 5, "TCP_KEEPINTVL", Number(1, 32_767), 75, Unchecked, "seconds between probes"),
    option(TCP, 6, "TCP_KEEPCNT", Number(1, 127), 9, Unchecked, "probes without an answer"),
    option(TCP, 7, "TCP_SYNCNT", Number(1, 127), 6, UNKNOWN, ""),
    option(TCP, 8, "TCP_LINGER2", Own, 0, UNKNOWN, ""),
    option(TCP, 9, "TCP_DEFER_ACCEPT", Own, 0, Same, "connections are accepted when data has come"),
    option(TCP, 10, "TCP_WINDOW_CLAMP", Own, 0, UNKNOWN, ""),
    option(TCP, 11, "TCP_INFO", Own, 0, Same, "told: `struct tcp_info` of the first subflow"),
    option(TCP, 12, "TCP_QUICKACK", Flag, 1, UNKNOWN, ""),
    option(TCP, 13, "TCP_CONGESTION", Own, 0, Same, "the congestion control of new connections"),
    option(TCP, 14, "TCP_MD5SIG", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(TCP, 16, "TCP_THIN_LINEAR_TIMEOUTS", SWITCH, 0, UNKNOWN, ""),
    option(TCP, 17, "TCP_THIN_DUPACK", Own, 0, UNKNOWN, "nothing, as in Linux"),
    option(
        TCP,
        18,
        "TCP_USER_TIMEOUT",
        Number(0, i32::MAX),
        0,
        UNKNOWN,
        "milliseconds without an acknowledgement",
    ),
    option(TCP, 20, "TCP_REPAIR_QUEUE", Refused(E::PERM, E::INVAL), 0, UNKNOWN, "refused"),
    option(TCP, 22, "TCP_REPAIR_OPTIONS", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(TCP, 23, "TCP_FASTOPEN", Own, 0, Same, "how many connections may begin with data on the SYN"),
    option(TCP, 25, "TCP_NOTSENT_LOWAT", ANY, 0, Same, "how many octets may be written and not sent"),
    option(
        TCP,
        26,
        "TCP_CC_INFO",
        Own,
        0,
        UNKNOWN,
        "told: `struct tcp_bbr_info` where that is the congestion control",
    ),
    option(TCP, 27, "TCP_SAVE_SYN", Number(0, 2), 0, UNKNOWN, ""),
    option(TCP, 28, "TCP_SAVED_SYN", ToldEmpty(E::NOPROTOOPT), 0, UNKNOWN, "told"),
    option(TCP, 29, "TCP_REPAIR_WINDOW", Refused(E::PERM, E::INVAL), 0, UNKNOWN, "refused"),
    option(TCP, 30, "TCP_FASTOPEN_CONNECT", Own, 0, Same, ""),
    option(TCP, 31, "TCP_ULP", Own, 0, Same, "told"),
    option(TCP, 32, "TCP_MD5SIG_EXT", Refused(E::INVAL, E::NOPROTOOPT), 0, UNKNOWN, "refused"),
    option(TCP, 34, "TCP_FASTOPEN_NO_COOKIE", Own, 0, Same, ""),
    option(TCP, 36, "TCP_INQ", SWITCH, 0, Same, ""),
    option(TCP, 37, "TCP_TX_DELAY", Number(0, (1 << 28) - 1), 0, UNKNOWN, ""),
    option(TCP, 43, "TCP_IS_MPTCP", Own, 0, Same, "told"),
    option(TCP, 44, "TCP_RTO_MAX_MS", Number(1_000, 120_000), 120_000, UNKNOWN, ""),
];

/// The option, if there is one.
pub(crate) fn find(level: i32, number: i32) -> Option<&'static Entry> {
    let at = TABLE.binary_search_by_key(&key(level, number), |entry| key(entry.level, entry.number)).ok()?;
    TABLE.get(at)
}

/// The order of the table: sockets, then IP, IPv6 and TCP, as the levels are told in the documentation.
fn key(level: i32, number: i32) -> (u8, i32) {
    let place = match level {
        libc::SOL_SOCKET => 0,
        libc::SOL_IP => 1,
        libc::SOL_IPV6 => 2,
        libc::SOL_TCP => 3,
        _ => 4,
    };
    (place, number)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn the_table_is_in_order_and_each_option_is_found() {
        assert!(TABLE.is_sorted_by_key(|entry| key(entry.level, entry.number)));
        for entry in TABLE {
            assert_eq!(find(entry.level, entry.number).map(|found| found.name), Some(entry.name));
        }
        assert!(find(libc::SOL_TCP, 999).is_none());
    }

    fn on_tcp(entry: &Entry) -> String {
        match entry.kind {
            Flag => String::from("on or off"),
            Number(i32::MIN, i32::MAX) => String::from("any number"),
            Number(min, i32::MAX) => format!("from {min}"),
            Number(min, max) => format!("{min} to {max}"),
            Told(error) | ToldEmpty(error) => format!("told; to set it: {}", named(error)),
            Taken(error) => format!("taken; to ask for it: {}", named(error)),
            TakenEmpty => String::from("taken"),
            Refused(set, get) => format!("{}; to ask for it: {}", named(set), named(get)),
            Own => String::from("taken or told"),
        }
    }

    fn on_mptcp(entry: &Entry) -> String {
        match entry.mptcp {
            Same => String::from("as on TCP"),
            Forgotten => String::from("taken and forgotten"),
            Unconnected => String::from("as on TCP; EINVAL when connected"),
            UnconnectedKept => String::from("as on TCP; EINVAL when connected, and kept"),
            Unchecked => String::from("as on TCP; any number before the first subflow"),
            NotSet(error) => format!("told; to set it: {}", named(error)),
            OnMptcp::Refused(set, get) => format!("{}; to ask for it: {}", named(set), named(get)),
        }
    }

    fn named(error: Errno) -> &'static str {
        match error {
            E::NOPROTOOPT => "ENOPROTOOPT",
            E::OPNOTSUPP => "EOPNOTSUPP",
            E::INVAL => "EINVAL",
            E::PERM => "EPERM",
            E::NOENT => "ENOENT",
            E::NODATA => "ENODATA",
            E::PROTO => "EPROTO",
            _ => "another error",
        }
    }

    fn here(entry: &Entry) -> &'static str {
        if entry.here.is_empty() { "kept" } else { entry.here }
    }

    const HEAD: &str = "\
# Socket options

What Linux 6.18 does with each option on a TCP and on an MPTCP socket, for root, and what a socket of `polytcp-posix` does, TCP or MPTCP:
an MPTCP socket takes here what a TCP socket takes, for all its subflows, also those that come later. With `Compat::Linux` it refuses what
Linux refuses, and answers as the third and fourth column say.

\"Kept\" means that the value is told as it was set and has no effect. What is not in the table is unknown: ENOPROTOOPT. What differs from
Linux is told in `differences.md`.

This page is made from `crates/posix/src/options/registry.rs`: `POLYTCP_WRITE_DOCS=1 cargo test -p polytcp-posix --lib documented`.

| option | number | Linux, TCP | Linux, MPTCP | here |
| --- | --- | --- | --- | --- |
";

    #[test]
    fn every_option_is_documented() {
        let mut page = HEAD.to_owned();
        for entry in TABLE {
            let (tcp, mptcp) = (on_tcp(entry), on_mptcp(entry));
            let _ =
                writeln!(page, "| `{}` | {} | {tcp} | {mptcp} | {} |", entry.name, entry.number, here(entry));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sockopts.md");
        if std::env::var_os("POLYTCP_WRITE_DOCS").is_some() {
            std::fs::write(path, &page).expect("docs/sockopts.md can be written");
        }
        let written = std::fs::read_to_string(path).expect("docs/sockopts.md");
        assert!(written == page, "docs/sockopts.md is old: POLYTCP_WRITE_DOCS=1 cargo test writes it");
    }
}
