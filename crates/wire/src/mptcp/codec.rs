//! The MPTCP option as octets (RFC 8684 §3). Reserved bits are sent as zero and ignored
//! on receipt; a length that a subtype cannot have makes the option [`MptcpOption::Malformed`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    AddAddr, AddAddrAuth, AddressIds, Capable, CapableFlags, CapableForm, DataAck, Dss, DssDsn, DssMapping,
    Experiment, Join, MptcpOption, OPTION_KIND, Prio, Reset,
};
use crate::cursor::{Reader, Writer};

const SUBTYPE_CAPABLE: u8 = 0x0;
const SUBTYPE_JOIN: u8 = 0x1;
const SUBTYPE_DSS: u8 = 0x2;
const SUBTYPE_ADD_ADDR: u8 = 0x3;
const SUBTYPE_REMOVE_ADDR: u8 = 0x4;
const SUBTYPE_PRIO: u8 = 0x5;
const SUBTYPE_FAIL: u8 = 0x6;
const SUBTYPE_FASTCLOSE: u8 = 0x7;
const SUBTYPE_TCPRST: u8 = 0x8;
pub(super) const SUBTYPE_EXPERIMENTAL: u8 = 0xf;

const CAPABLE_A: u8 = 0x80;
const CAPABLE_B: u8 = 0x40;
const CAPABLE_C: u8 = 0x20;
const CAPABLE_CRYPTO: u8 = 0x1f;

/// B of MP_JOIN and MP_PRIO, E of ADD_ADDR, T of MP_TCPRST: the lowest bit beside the subtype.
const LOW_BIT: u8 = 0x01;

const DSS_DATA_FIN: u8 = 0x10;
const DSS_DSN_EIGHT: u8 = 0x08;
const DSS_MAPPING: u8 = 0x04;
const DSS_ACK_EIGHT: u8 = 0x02;
const DSS_ACK: u8 = 0x01;

impl MptcpOption {
    /// Reads the octets of an option of kind 30 after its kind and length; `None` when not even the
    /// subtype is there.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let (first, body) = data.split_first()?;
        let subtype = first >> 4;
        let low = first & 0x0f;
        let option = match subtype {
            SUBTYPE_CAPABLE => parse_capable(low, body).map(Self::Capable),
            SUBTYPE_JOIN => parse_join(low, body).map(Self::Join),
            SUBTYPE_DSS => parse_dss(body).map(Self::Dss),
            SUBTYPE_ADD_ADDR => parse_add_addr(low, body).map(Self::AddAddr),
            SUBTYPE_REMOVE_ADDR => AddressIds::new(body).map(Self::RemoveAddr),
            SUBTYPE_PRIO => parse_prio(low, body).map(Self::Prio),
            SUBTYPE_FAIL => parse_u64(body).map(|dsn| Self::Fail { dsn }),
            SUBTYPE_FASTCLOSE => parse_u64(body).map(|receiver_key| Self::FastClose { receiver_key }),
            SUBTYPE_TCPRST => match body {
                [reason] => Some(Self::Reset(Reset { transient: low & LOW_BIT != 0, reason: *reason })),
                _ => None,
            },
            SUBTYPE_EXPERIMENTAL => Experiment::new(data).map(Self::Experimental),
            _ => Some(Self::Unknown { subtype }),
        };
        Some(option.unwrap_or(Self::Malformed { subtype }))
    }

    /// Octets that the option takes in a header, padded to a multiple of four; 0 for
    /// [`Malformed`](Self::Malformed), which is never emitted.
    pub const fn wire_len(&self) -> usize {
        self.option_len().next_multiple_of(4)
    }

    /// The value of the length octet.
    pub(crate) const fn option_len(&self) -> usize {
        match self {
            Self::Capable(capable) => match capable.form {
                CapableForm::Syn => 4,
                CapableForm::SynAck { .. } => 12,
                CapableForm::Ack { .. } => 20,
                CapableForm::Data { checksum: None, .. } => 22,
                CapableForm::Data { checksum: Some(_), .. } => 24,
            },
            Self::Join(Join::Syn { .. }) => 12,
            Self::Join(Join::SynAck { .. }) => 16,
            Self::Join(Join::Ack { .. }) => 24,
            Self::Dss(dss) => dss_len(dss),
            Self::AddAddr(add_addr) => {
                let address_len = if add_addr.address.is_ipv4() { 4 } else { 16 };
                let port_len = if add_addr.port.is_some() { 2 } else { 0 };
                let auth_len = if matches!(add_addr.auth, AddAddrAuth::Hmac(_)) { 8 } else { 0 };
                4 + address_len + port_len + auth_len
            }
            Self::RemoveAddr(ids) => 3 + ids.len as usize,
            Self::Prio(Prio { address_id: None, .. }) => 3,
            Self::Prio(Prio { address_id: Some(_), .. }) => 4,
            Self::Fail { .. } | Self::FastClose { .. } => 12,
            Self::Reset(_) => 4,
            Self::Experimental(experiment) => 2 + experiment.len as usize,
            Self::Unknown { .. } => 3,
            Self::Malformed { .. } => 0,
        }
    }

    /// Writes the option, without padding, to the front of `out`, which holds
    /// [`option_len`](Self::option_len) octets.
    pub(crate) fn emit(&self, out: &mut [u8]) {
        let len = self.option_len();
        let mut out = Writer::new(&mut out[..len]);
        if let Self::Malformed { .. } = self {
            return;
        }
        out.put(&[OPTION_KIND, len as u8]); // Every form is shorter than the option space of 40 octets.
        match self {
            Self::Capable(capable) => emit_capable(capable, &mut out),
            Self::Join(join) => emit_join(join, &mut out),
            Self::Dss(dss) => emit_dss(dss, &mut out),
            Self::AddAddr(add_addr) => emit_add_addr(add_addr, &mut out),
            Self::RemoveAddr(ids) => {
                out.put(&[SUBTYPE_REMOVE_ADDR << 4]);
                out.put(ids.as_slice());
            }
            Self::Prio(prio) => {
                out.put(&[SUBTYPE_PRIO << 4 | low_bit(prio.backup)]);
                if let Some(address_id) = prio.address_id {
                    out.put(&[address_id]);
                }
            }
            Self::Fail { dsn } => {
                out.put(&[SUBTYPE_FAIL << 4, 0]);
                out.u64(*dsn);
            }
            Self::FastClose { receiver_key } => {
                out.put(&[SUBTYPE_FASTCLOSE << 4, 0]);
                out.u64(*receiver_key);
            }
            Self::Reset(reset) => out.put(&[SUBTYPE_TCPRST << 4 | low_bit(reset.transient), reset.reason]),
            Self::Experimental(experiment) => out.put(experiment.as_slice()),
            Self::Unknown { subtype } => out.put(&[subtype << 4]),
            Self::Malformed { .. } => {}
        }
        debug_assert_eq!(out.written(), len, "option_len and emit agree");
    }
}

const fn low_bit(set: bool) -> u8 {
    if set { LOW_BIT } else { 0 }
}

/// MP_FASTCLOSE (§3.5) and MP_FAIL (§3.7): one octet reserved, then 64 bits.
fn parse_u64(body: &[u8]) -> Option<u64> {
    let [_, value @ ..] = body else { return None };
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// RFC 8684 §3.1. The length tells the forms apart.
fn parse_capable(version: u8, body: &[u8]) -> Option<Capable> {
    let (flags, body) = body.split_first()?;
    let mut fields = Reader::new(body);
    let form = match body.len() {
        0 => CapableForm::Syn,
        8 => CapableForm::SynAck { sender_key: fields.u64()? },
        16 => CapableForm::Ack { sender_key: fields.u64()?, receiver_key: fields.u64()? },
        18 | 20 => CapableForm::Data {
            sender_key: fields.u64()?,
            receiver_key: fields.u64()?,
            data_len: fields.u16()?,
            checksum: fields.u16(),
        },
        _ => return None,
    };
    let flags = CapableFlags {
        checksum_required: flags & CAPABLE_A != 0,
        extensibility: flags & CAPABLE_B != 0,
        deny_join_initial: flags & CAPABLE_C != 0,
        crypto: flags & CAPABLE_CRYPTO,
    };
    Some(Capable { version, flags, form })
}

fn emit_capable(capable: &Capable, out: &mut Writer<'_>) {
    let CapableFlags { checksum_required, extensibility, deny_join_initial, crypto } = capable.flags;
    let mut flags = crypto & CAPABLE_CRYPTO;
    for (set, bit) in
        [(checksum_required, CAPABLE_A), (extensibility, CAPABLE_B), (deny_join_initial, CAPABLE_C)]
    {
        flags |= if set { bit } else { 0 };
    }
    out.put(&[SUBTYPE_CAPABLE << 4 | capable.version & 0x0f, flags]);
    match capable.form {
        CapableForm::Syn => {}
        CapableForm::SynAck { sender_key } => out.u64(sender_key),
        CapableForm::Ack { sender_key, receiver_key } => {
            out.u64(sender_key);
            out.u64(receiver_key);
        }
        CapableForm::Data { sender_key, receiver_key, data_len, checksum } => {
            out.u64(sender_key);
            out.u64(receiver_key);
            out.u16(data_len);
            if let Some(checksum) = checksum {
                out.u16(checksum);
            }
        }
    }
}

/// RFC 8684 §3.2. The length tells the forms apart.
fn parse_join(low: u8, body: &[u8]) -> Option<Join> {
    let (address_id, body) = body.split_first()?;
    let (backup, address_id) = (low & LOW_BIT != 0, *address_id);
    let mut fields = Reader::new(body);
    match body.len() {
        8 => Some(Join::Syn { backup, address_id, token: fields.u32()?, nonce: fields.u32()? }),
        12 => Some(Join::SynAck { backup, address_id, hmac: fields.u64()?, nonce: fields.u32()? }),
        20 => Some(Join::Ack { hmac: fields.array()? }),
        _ => None,
    }
}

fn emit_join(join: &Join, out: &mut Writer<'_>) {
    match *join {
        Join::Syn { backup, address_id, token, nonce } => {
            out.put(&[SUBTYPE_JOIN << 4 | low_bit(backup), address_id]);
            out.u32(token);
            out.u32(nonce);
        }
        Join::SynAck { backup, address_id, hmac, nonce } => {
            out.put(&[SUBTYPE_JOIN << 4 | low_bit(backup), address_id]);
            out.u64(hmac);
            out.u32(nonce);
        }
        Join::Ack { hmac } => {
            out.put(&[SUBTYPE_JOIN << 4, 0]);
            out.put(&hmac);
        }
    }
}

/// RFC 8684 §3.3. The flags say which fields are there, and what is left over is the checksum.
fn parse_dss(body: &[u8]) -> Option<Dss> {
    let (flags, body) = body.split_first()?;
    let has = |flag: u8| flags & flag != 0;
    let mut fields = Reader::new(body);
    let data_ack = match (has(DSS_ACK), has(DSS_ACK_EIGHT)) {
        (false, _) => None,
        (true, false) => Some(DataAck::Four(fields.u32()?)),
        (true, true) => Some(DataAck::Eight(fields.u64()?)),
    };
    let mapping = if has(DSS_MAPPING) {
        let dsn = if has(DSS_DSN_EIGHT) { DssDsn::Eight(fields.u64()?) } else { DssDsn::Four(fields.u32()?) };
        Some(DssMapping { dsn, ssn: fields.u32()?, len: fields.u16()?, checksum: fields.u16() })
    } else {
        None
    };
    fields.rest().is_empty().then_some(Dss { data_fin: has(DSS_DATA_FIN), data_ack, mapping })
}

const fn dss_len(dss: &Dss) -> usize {
    let ack_len = match dss.data_ack {
        None => 0,
        Some(DataAck::Four(_)) => 4,
        Some(DataAck::Eight(_)) => 8,
    };
    let mapping_len = match dss.mapping {
        None => 0,
        Some(DssMapping { dsn, checksum, .. }) => {
            let dsn_len = if matches!(dsn, DssDsn::Four(_)) { 4 } else { 8 };
            dsn_len + 6 + if checksum.is_some() { 2 } else { 0 }
        }
    };
    4 + ack_len + mapping_len
}

fn emit_dss(dss: &Dss, out: &mut Writer<'_>) {
    let mut flags = if dss.data_fin { DSS_DATA_FIN } else { 0 };
    flags |= match dss.data_ack {
        None => 0,
        Some(DataAck::Four(_)) => DSS_ACK,
        Some(DataAck::Eight(_)) => DSS_ACK | DSS_ACK_EIGHT,
    };
    flags |= match dss.mapping {
        None => 0,
        Some(DssMapping { dsn: DssDsn::Four(_), .. }) => DSS_MAPPING,
        Some(DssMapping { dsn: DssDsn::Eight(_), .. }) => DSS_MAPPING | DSS_DSN_EIGHT,
    };
    out.put(&[SUBTYPE_DSS << 4, flags]);
    match dss.data_ack {
        None => {}
        Some(DataAck::Four(ack)) => out.u32(ack),
        Some(DataAck::Eight(ack)) => out.u64(ack),
    }
    if let Some(DssMapping { dsn, ssn, len, checksum }) = dss.mapping {
        match dsn {
            DssDsn::Four(dsn) => out.u32(dsn),
            DssDsn::Eight(dsn) => out.u64(dsn),
        }
        out.u32(ssn);
        out.u16(len);
        if let Some(checksum) = checksum {
            out.u16(checksum);
        }
    }
}

/// RFC 8684 §3.4.1. Echo flag and length together tell family, port and HMAC.
fn parse_add_addr(low: u8, body: &[u8]) -> Option<AddAddr> {
    let (address_id, body) = body.split_first()?;
    let echo = low & LOW_BIT != 0;
    let auth_len = if echo { 0 } else { 8 };
    let mut fields = Reader::new(body);
    let address_len = body.len().checked_sub(auth_len)?;
    let address = match address_len {
        4 | 6 => IpAddr::V4(Ipv4Addr::from(fields.array::<4>()?)),
        16 | 18 => IpAddr::V6(Ipv6Addr::from(fields.array::<16>()?)),
        _ => return None,
    };
    let port = if matches!(address_len, 6 | 18) { Some(fields.u16()?) } else { None };
    let auth = if echo { AddAddrAuth::Echo } else { AddAddrAuth::Hmac(fields.u64()?) };
    Some(AddAddr { address_id: *address_id, address, port, auth })
}

fn emit_add_addr(add_addr: &AddAddr, out: &mut Writer<'_>) {
    let echo = matches!(add_addr.auth, AddAddrAuth::Echo);
    out.put(&[SUBTYPE_ADD_ADDR << 4 | low_bit(echo), add_addr.address_id]);
    match add_addr.address {
        IpAddr::V4(address) => out.put(&address.octets()),
        IpAddr::V6(address) => out.put(&address.octets()),
    }
    if let Some(port) = add_addr.port {
        out.u16(port);
    }
    if let AddAddrAuth::Hmac(hmac) = add_addr.auth {
        out.u64(hmac);
    }
}

/// RFC 8684 §3.3.8, and the address identifier of version 0.
fn parse_prio(low: u8, body: &[u8]) -> Option<Prio> {
    let address_id = match body {
        [] => None,
        [address_id] => Some(*address_id),
        _ => return None,
    };
    Some(Prio { backup: low & LOW_BIT != 0, address_id })
}
