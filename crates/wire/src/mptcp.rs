//! The MPTCP option (RFC 8684 §3, kind 30) and its subtypes, as values.
//!
//! A value says what stands in the octets and nothing about whether it may stand there: roles, negotiated
//! checksums and which subtypes go together are for the protocol. Keys never appear in `Debug` output.

mod codec;
#[cfg(test)]
mod tests;

use core::fmt;
use core::net::IpAddr;

/// Version of MPTCP that RFC 8684 defines.
pub const VERSION: u8 = 1;
/// TCP option kind of MPTCP.
pub const OPTION_KIND: u8 = 30;

/// One MPTCP option.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MptcpOption {
    /// MP_CAPABLE (§3.1).
    Capable(Capable),
    /// MP_JOIN (§3.2).
    Join(Join),
    /// DSS: data acknowledgement and mapping (§3.3).
    Dss(Dss),
    /// ADD_ADDR (§3.4.1).
    AddAddr(AddAddr),
    /// REMOVE_ADDR (§3.4.2).
    RemoveAddr(AddressIds),
    /// MP_PRIO (§3.3.8).
    Prio(Prio),
    /// MP_FAIL (§3.7).
    Fail {
        /// First data sequence number of the mapping that failed.
        dsn: u64,
    },
    /// MP_FASTCLOSE (§3.5).
    FastClose {
        /// Key of the host that receives it.
        receiver_key: u64,
    },
    /// MP_TCPRST (§3.6).
    Reset(Reset),
    /// MP_EXPERIMENTAL (§7.2): private use, format unknown.
    Experimental(Experiment),
    /// A subtype that is not assigned (9 to 14).
    Unknown {
        /// The subtype, four bits.
        subtype: u8,
    },
    /// A known subtype with a length that it cannot have. It is never emitted.
    Malformed {
        /// The subtype, four bits.
        subtype: u8,
    },
}

/// MP_CAPABLE: starts an MPTCP connection on its first subflow (§3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capable {
    /// Version of the protocol, four bits; see [`VERSION`].
    pub version: u8,
    /// What the sender requires and offers.
    pub flags: CapableFlags,
    /// What else is there, which depends on the packet.
    pub form: CapableForm,
}

/// The flags A to H of MP_CAPABLE.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CapableFlags {
    /// A: the sender requires DSS checksums.
    pub checksum_required: bool,
    /// B: another format follows in a future version; the option is to be ignored.
    pub extensibility: bool,
    /// C: the peer is not to open subflows to the sender's address of this first one.
    pub deny_join_initial: bool,
    /// D to H: one bit for each algorithm, five bits; see [`CapableFlags::HMAC_SHA256`].
    pub crypto: u8,
}

impl CapableFlags {
    /// H: HMAC-SHA256, the only algorithm of version 1.
    pub const HMAC_SHA256: u8 = 0x01;
}

/// What MP_CAPABLE carries in each packet that has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CapableForm {
    /// On a SYN: nothing. 4 octets.
    Syn,
    /// On a SYN/ACK: the listener's key. 12 octets.
    SynAck {
        /// Key of the sender.
        sender_key: u64,
    },
    /// On the third ACK: both keys. 20 octets.
    Ack {
        /// Key of the sender.
        sender_key: u64,
        /// Key of the receiver.
        receiver_key: u64,
    },
    /// On the first data: both keys and a mapping of data sequence IDSN + 1. 22 or 24 octets.
    Data {
        /// Key of the sender.
        sender_key: u64,
        /// Key of the receiver.
        receiver_key: u64,
        /// Octets of data that the mapping covers.
        data_len: u16,
        /// DSS checksum of the mapping.
        checksum: Option<u16>,
    },
}

/// MP_JOIN: adds a subflow to a connection (§3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join {
    /// On a SYN. 12 octets.
    Syn {
        /// Use the subflow only when no other works.
        backup: bool,
        /// The sender's identifier of its address.
        address_id: u8,
        /// Names the connection: from the receiver's key.
        token: u32,
        /// The sender's random number.
        nonce: u32,
    },
    /// On a SYN/ACK. 16 octets.
    SynAck {
        /// Use the subflow only when no other works.
        backup: bool,
        /// The sender's identifier of its address.
        address_id: u8,
        /// The leftmost 64 bits of the sender's HMAC.
        hmac: u64,
        /// The sender's random number.
        nonce: u32,
    },
    /// On the third ACK. 24 octets.
    Ack {
        /// The leftmost 160 bits of the sender's HMAC.
        hmac: [u8; 20],
    },
}

/// DSS: data acknowledgement, mapping and DATA_FIN (§3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dss {
    /// F: the mapping ends with a DATA_FIN, which takes one data sequence number. Meaningful only with
    /// a mapping (§3.3.3).
    pub data_fin: bool,
    /// The next data sequence number that the sender expects.
    pub data_ack: Option<DataAck>,
    /// Where the payload belongs in the connection.
    pub mapping: Option<DssMapping>,
}

/// A data acknowledgement, in full or its low half (§3.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataAck {
    /// The low 32 bits.
    Four(u32),
    /// All 64 bits.
    Eight(u64),
}

/// A data sequence number, in full or its low half (§3.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DssDsn {
    /// The low 32 bits.
    Four(u32),
    /// All 64 bits.
    Eight(u64),
}

/// A mapping from subflow to data sequence numbers (§3.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DssMapping {
    /// Data sequence number of the first octet.
    pub dsn: DssDsn,
    /// Its subflow sequence number, relative: the first octet after the SYN is 1. 0 for a DATA_FIN
    /// without data.
    pub ssn: u32,
    /// Octets mapped, DATA_FIN included; 0 for the infinite mapping (§3.7).
    pub len: u16,
    /// Checksum over the mapping and its data, if negotiated.
    pub checksum: Option<u16>,
}

/// ADD_ADDR: another address of the sender, or the echo of one (§3.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddAddr {
    /// The announcing host's identifier of the address.
    pub address_id: u8,
    /// The address.
    pub address: IpAddr,
    /// Its port; without one, that of the first subflow.
    pub port: Option<u16>,
    /// The announcement's proof, or that this is an echo.
    pub auth: AddAddrAuth,
}

/// Whether an ADD_ADDR announces or echoes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddAddrAuth {
    /// An announcement, with the rightmost 64 bits of its HMAC.
    Hmac(u64),
    /// E: an announcement has arrived.
    Echo,
}

/// Address identifiers of a REMOVE_ADDR: between one and [`AddressIds::MAX`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AddressIds {
    ids: [u8; Self::MAX],
    len: u8,
}

/// MP_PRIO: changes the backup flag of a subflow (§3.3.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prio {
    /// B: use the subflow only when no other works.
    pub backup: bool,
    /// The subflows meant, by the sender's address. Only version 0 had this (RFC 6824 §3.3.8); in version
    /// 1 it is always the subflow that carries the option.
    pub address_id: Option<u8>,
}

/// MP_TCPRST: why a subflow is reset (§3.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reset {
    /// T: the reason may go away, and a new attempt is worth while.
    pub transient: bool,
    /// Code of the reason: 0 to 6 are assigned (§7.4).
    pub reason: u8,
}

/// The octets of an MP_EXPERIMENTAL option after kind and length. The upper half of the first is the
/// subtype.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Experiment {
    octets: [u8; Self::MAX],
    len: u8,
}

impl AddressIds {
    /// The most identifiers that fit the option space.
    pub const MAX: usize = 37;

    /// The identifiers, or `None` when there are none or too many.
    pub fn new(ids: &[u8]) -> Option<Self> {
        if ids.is_empty() {
            return None;
        }
        let mut list = Self { ids: [0; Self::MAX], len: ids.len().try_into().ok()? };
        list.ids.get_mut(..ids.len())?.copy_from_slice(ids);
        Some(list)
    }

    /// The identifiers in their order.
    pub fn as_slice(&self) -> &[u8] {
        &self.ids[..usize::from(self.len)]
    }
}

impl Experiment {
    /// The most octets that fit the option space.
    pub const MAX: usize = 38;

    /// The option with these octets after kind and length, or `None` when there are none, too many, or
    /// they do not start with the subtype 0xf.
    pub fn new(octets: &[u8]) -> Option<Self> {
        if octets.first()? >> 4 != codec::SUBTYPE_EXPERIMENTAL {
            return None;
        }
        let mut option = Self { octets: [0; Self::MAX], len: octets.len().try_into().ok()? };
        option.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(option)
    }

    /// The octets after kind and length.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

impl fmt::Debug for AddressIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

impl fmt::Debug for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// Without the keys: whoever reads a log could take over the connection.
impl fmt::Debug for CapableForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syn => f.write_str("Syn"),
            Self::SynAck { sender_key: _ } => f.write_str("SynAck"),
            Self::Ack { sender_key: _, receiver_key: _ } => f.write_str("Ack"),
            Self::Data { sender_key: _, receiver_key: _, data_len, checksum } => f
                .debug_struct("Data")
                .field("data_len", data_len)
                .field("checksum", checksum)
                .finish_non_exhaustive(),
        }
    }
}

/// Without the keys: whoever reads a log could take over the connection.
impl fmt::Debug for MptcpOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capable(capable) => capable.fmt(f),
            Self::Join(join) => f.debug_tuple("Join").field(join).finish(),
            Self::Dss(dss) => dss.fmt(f),
            Self::AddAddr(add_addr) => add_addr.fmt(f),
            Self::RemoveAddr(ids) => f.debug_tuple("RemoveAddr").field(ids).finish(),
            Self::Prio(prio) => prio.fmt(f),
            Self::Fail { dsn } => f.debug_struct("Fail").field("dsn", dsn).finish(),
            Self::FastClose { receiver_key: _ } => f.write_str("FastClose"),
            Self::Reset(reset) => reset.fmt(f),
            Self::Experimental(experiment) => f.debug_tuple("Experimental").field(experiment).finish(),
            Self::Unknown { subtype } => f.debug_struct("Unknown").field("subtype", subtype).finish(),
            Self::Malformed { subtype } => f.debug_struct("Malformed").field("subtype", subtype).finish(),
        }
    }
}
