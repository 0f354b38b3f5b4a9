//! Commands to a path manager, its replies and its events, as types.
//!
//! They mirror the `mptcp_pm` generic-netlink family of Linux one to one; `polytcp-control` turns
//! them into its messages and back. Nothing here decides anything: which combinations are refused,
//! and with which errno, is the path manager's matter.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;
use core::ops::{BitOr, BitOrAssign};

/// The number by which MPTCP options name an address of a connection (RFC 8684 §3.2).
///
/// 0 is the address of the initial subflow, whatever the number of an endpoint with that address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AddressId(pub u8);

impl fmt::Display for AddressId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The local token of a connection, which names it in commands and events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionToken(pub u32);

impl fmt::Display for ConnectionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for ConnectionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an endpoint is used for (`MPTCP_PM_ADDR_FLAG_*` of Linux).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EndpointFlags(u32);

impl EndpointFlags {
    /// No flag: the address is known but not used on its own.
    pub const NONE: Self = Self(0);
    /// Announced to the peer with ADD_ADDR.
    pub const SIGNAL: Self = Self(1);
    /// A client creates a subflow from it.
    pub const SUBFLOW: Self = Self(2);
    /// Its subflows are backup: used when no other is left.
    pub const BACKUP: Self = Self(4);
    /// One subflow to every address of the peer in use, not only to the initial one.
    pub const FULLMESH: Self = Self(8);
    /// Made by the path manager when routing chose an address without endpoint.
    pub const IMPLICIT: Self = Self(16);
    /// A local address used only to answer ADD_ADDR.
    pub const LAMINAR: Self = Self(32);

    const ALL: u32 = 63;
    const NAMES: [(Self, &str); 6] = [
        (Self::SIGNAL, "signal"),
        (Self::SUBFLOW, "subflow"),
        (Self::BACKUP, "backup"),
        (Self::FULLMESH, "fullmesh"),
        (Self::IMPLICIT, "implicit"),
        (Self::LAMINAR, "laminar"),
    ];

    /// True when every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when no flag is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags as Linux numbers them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The known flags among `bits`; the others are masked away, as Linux does.
    pub const fn from_bits_truncate(bits: u32) -> Self {
        Self(bits & Self::ALL)
    }

    /// The flag with that name (`signal`, `subflow`, `backup`, `fullmesh`, `implicit`, `laminar`).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, n)| *n == name).map(|(flag, _)| *flag)
    }

    /// The names of the set flags, in the order of `ip mptcp`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

impl BitOr for EndpointFlags {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl BitOrAssign for EndpointFlags {
    fn bitor_assign(&mut self, rhs: Self) {
        *self = *self | rhs;
    }
}

impl fmt::Display for EndpointFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.names().enumerate() {
            let separator = if i == 0 { "" } else { " " };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for EndpointFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointFlags({self})")
    }
}

/// A local address that a path manager may use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// A port to announce with it, on which joins are accepted too. Needs `SIGNAL`.
    pub port: Option<NonZeroU16>,
    /// Its number; `None` in a command lets the path manager choose.
    pub id: Option<AddressId>,
    /// What it is used for.
    pub flags: EndpointFlags,
    /// The index of the interface that its subflows are bound to.
    pub interface: Option<i32>,
}

impl Endpoint {
    /// An endpoint with automatic id, no port and no interface.
    pub const fn new(address: IpAddr, flags: EndpointFlags) -> Self {
        Self { address, port: None, id: None, flags, interface: None }
    }
}

/// Which endpoint or which subflow `SetFlags` changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FlagsTarget {
    /// The endpoint with this id (in-kernel path manager).
    Id(AddressId),
    /// The endpoint with this address and port (in-kernel path manager).
    Address {
        /// The address.
        address: IpAddr,
        /// Its port, if it has one.
        port: Option<NonZeroU16>,
    },
    /// One subflow of one connection (userspace path manager).
    Subflow {
        /// The connection.
        token: ConnectionToken,
        /// The subflow's local address; port 0 matches any.
        local: SocketAddr,
        /// The subflow's remote address; port 0 matches any.
        remote: SocketAddr,
    },
}

/// One command to a path manager.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PmCommand {
    /// Adds an endpoint.
    AddAddr(Endpoint),
    /// Deletes an endpoint.
    DelAddr {
        /// Its id. 0 with an address means that initial address of every connection.
        id: AddressId,
        /// Its address, which only id 0 needs.
        address: Option<IpAddr>,
    },
    /// Asks for one endpoint.
    GetAddr {
        /// Its id.
        id: AddressId,
        /// The connection whose list is meant, with the userspace path manager.
        token: Option<ConnectionToken>,
    },
    /// Asks for all endpoints.
    DumpAddr {
        /// The connection whose list is meant, with the userspace path manager.
        token: Option<ConnectionToken>,
    },
    /// Deletes all endpoints.
    FlushAddrs,
    /// Changes the limits that are given.
    SetLimits {
        /// Extra subflows of a connection, 0..=8.
        subflows: Option<u32>,
        /// Announced addresses of the peer that are used, 0..=8.
        add_addr_accepted: Option<u32>,
    },
    /// Asks for the limits.
    GetLimits,
    /// Sets backup and fullmesh of an endpoint, or backup of a subflow, to exactly the given bits.
    SetFlags {
        /// What to change.
        target: FlagsTarget,
        /// The new flags; others than `BACKUP` and `FULLMESH` are ignored.
        flags: EndpointFlags,
    },
    /// Announces an address on a connection (userspace path manager).
    Announce {
        /// The connection.
        token: ConnectionToken,
        /// The address with its id, which must not be 0, and the flag `SIGNAL`.
        local: Endpoint,
    },
    /// Withdraws an address of a connection (userspace path manager).
    Remove {
        /// The connection.
        token: ConnectionToken,
        /// The address.
        id: AddressId,
    },
    /// Creates a subflow (userspace path manager).
    SubflowCreate {
        /// The connection.
        token: ConnectionToken,
        /// Local address, with id, port, interface and `BACKUP` as wanted.
        local: Endpoint,
        /// Remote address and port.
        remote: SocketAddr,
    },
    /// Closes a subflow (userspace path manager).
    SubflowDestroy {
        /// The connection.
        token: ConnectionToken,
        /// The subflow's local address and port.
        local: SocketAddr,
        /// The subflow's remote address and port.
        remote: SocketAddr,
    },
}

/// What a path manager answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PmReply {
    /// The command was carried out; there is nothing to tell.
    Done,
    /// To `GetAddr`.
    Endpoint(Endpoint),
    /// To `DumpAddr`, in the path manager's order.
    Endpoints(Vec<Endpoint>),
    /// To `GetLimits`.
    Limits {
        /// Extra subflows of a connection.
        subflows: u32,
        /// Announced addresses of the peer that are used.
        add_addr_accepted: u32,
    },
}

/// Why a path manager refused a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PmError {
    /// The error number of Linux, positive.
    pub errno: i32,
    /// One line that says what was wrong; empty when the number is all there is.
    pub text: Cow<'static, str>,
}

impl PmError {
    /// An error with a fixed text.
    pub const fn new(errno: i32, text: &'static str) -> Self {
        Self { errno, text: Cow::Borrowed(text) }
    }
}

impl fmt::Display for PmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            write!(f, "refused with error {}", self.errno)
        } else {
            write!(f, "{} (error {})", self.text, self.errno)
        }
    }
}

impl core::error::Error for PmError {}

/// A new or completed connection, as its event tells it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionEvent {
    /// The connection.
    pub token: ConnectionToken,
    /// The local end of the initial subflow.
    pub local: SocketAddr,
    /// The remote end of the initial subflow.
    pub remote: SocketAddr,
    /// The local address's id, 0.
    pub local_id: AddressId,
    /// The remote address's id, 0.
    pub remote_id: AddressId,
    /// Which end this host is.
    pub side: Side,
    /// Whether the peer allows joins to its initial address (C flag, RFC 8684 §3.1).
    pub initial_address: InitialAddress,
}

/// Which end of a connection a host is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// It called connect.
    Client,
    /// It called accept.
    Server,
}

/// Whether the peer's initial address takes further subflows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum InitialAddress {
    /// Joins to it are allowed.
    Joinable,
    /// The peer has set the C flag: no joins to it.
    DenyJoin,
}

/// A subflow, as its event tells it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SubflowEvent {
    /// The connection.
    pub token: ConnectionToken,
    /// The local end.
    pub local: SocketAddr,
    /// The remote end.
    pub remote: SocketAddr,
    /// The local address's id.
    pub local_id: AddressId,
    /// The remote address's id.
    pub remote_id: AddressId,
    /// True when the peer has asked for backup.
    pub backup: bool,
    /// The index of the interface that it is bound to.
    pub interface: Option<i32>,
    /// The error number of the subflow, when it has one.
    pub error: Option<u8>,
}

/// The MP_TCPRST option that came with a reset (RFC 8684 §3.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ResetReason {
    /// The reason code.
    pub reason: u32,
    /// The flags beside it (1: transient).
    pub flags: u32,
}

/// What happened on some connection of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PmEvent {
    /// A connection began; it may not be fully established yet.
    Created(ConnectionEvent),
    /// A connection became fully established.
    Established(ConnectionEvent),
    /// A connection was closed or disconnected.
    Closed {
        /// The connection.
        token: ConnectionToken,
    },
    /// The peer announced an address (ADD_ADDR).
    Announced {
        /// The connection.
        token: ConnectionToken,
        /// The address's id.
        remote_id: AddressId,
        /// The address, with the initial port when none was announced.
        remote: SocketAddr,
    },
    /// The peer withdrew an address (REMOVE_ADDR).
    Removed {
        /// The connection.
        token: ConnectionToken,
        /// The address's id.
        remote_id: AddressId,
    },
    /// A subflow is established.
    SubEstablished(SubflowEvent),
    /// A subflow is closed, or could not be made.
    SubClosed {
        /// The subflow.
        subflow: SubflowEvent,
        /// The peer's reason, when it gave one.
        reset: Option<ResetReason>,
    },
    /// The peer changed a subflow's priority (MP_PRIO).
    SubPriority(SubflowEvent),
    /// A listener was made.
    ListenerCreated {
        /// Where it listens.
        local: SocketAddr,
    },
    /// A listener was closed.
    ListenerClosed {
        /// Where it listened.
        local: SocketAddr,
    },
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn flags_print_in_the_order_of_ip_mptcp_and_read_back_by_name() {
        let flags = EndpointFlags::BACKUP | EndpointFlags::SIGNAL | EndpointFlags::LAMINAR;
        assert_eq!(flags.to_string(), "signal backup laminar");
        let mut read = EndpointFlags::NONE;
        for name in flags.names() {
            read |= EndpointFlags::from_name(name).expect("a name of its own");
        }
        assert_eq!(read, flags);
        assert_eq!(EndpointFlags::from_name("metered"), None);
    }

    #[test]
    fn unknown_flag_bits_are_masked_away() {
        assert_eq!(EndpointFlags::from_bits_truncate(0xff41), EndpointFlags::SIGNAL);
    }

    #[test]
    fn an_error_is_one_line_with_or_without_text() {
        assert_eq!(PmError::new(22, "missing address ID").to_string(), "missing address ID (error 22)");
        assert_eq!(PmError::new(17, "").to_string(), "refused with error 17");
    }
}
