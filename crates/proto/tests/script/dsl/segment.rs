//! A segment in relative terms, and the words that make one.

use std::fmt;
use std::net::IpAddr;

use polytcp_wire::mptcp::{CapableFlags, MptcpOption};
use polytcp_wire::tcp::TcpFlags;

use super::octets;

/// An MPTCP option in relative terms.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mp {
    CapableSyn {
        flags: CapableFlags,
    },
    CapableSynAck {
        a: bool,
        c: bool,
    },
    CapableAck {
        a: bool,
        c: bool,
    },
    CapableData {
        len: u16,
        a: bool,
        c: bool,
        csum: Option<Csum>,
    },
    Dss {
        ack: Option<(u64, Width)>,
        map: Option<(u64, Width, u32, u16)>,
        fin: bool,
        csum: Option<Csum>,
    },
    /// MP_FAIL; the number is one of the receiver's stream.
    Fail {
        dsn: u64,
    },
    JoinSyn {
        right_token: bool,
        id: u8,
        backup: bool,
    },
    JoinSynAck {
        /// Of the peer's address.
        id: u8,
        right: bool,
        backup: bool,
    },
    JoinAck {
        right: bool,
    },
    AddAddr {
        id: u8,
        address: IpAddr,
        port: Option<u16>,
        right: bool,
    },
    Echo {
        id: u8,
        address: IpAddr,
        port: Option<u16>,
    },
    Remove(Vec<u8>),
    Prio {
        backup: bool,
    },
    FastClose {
        right: bool,
    },
    TcpRst {
        reason: u8,
    },
    /// Any MP_TCPRST, whatever the reason.
    AnyTcpRst,
    /// Any MP_JOIN SYN; its number and token are taken from it.
    AnyJoinSyn,
    /// A MP_JOIN SYN/ACK whose HMAC is checked.
    Raw(MptcpOption),
}

/// The checksum of a mapping. One that the host sent is always judged, where its mapping is on one segment.
#[derive(Clone, PartialEq)]
pub(super) enum Csum {
    /// The right one, of the segment's payload.
    Right,
    /// The right one, of these octets.
    Of(Vec<u8>),
    /// Another.
    Wrong,
}

impl fmt::Debug for Csum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right => f.write_str("Right"),
            Self::Of(octets) => write!(f, "Of({} octets)", octets.len()),
            Self::Wrong => f.write_str("Wrong"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Width {
    Four,
    Eight,
    /// Either, in an expectation.
    Any,
}

/// A segment: of the peer to be delivered, or of the host as expected. What is not named is not checked, but for
/// flags and payload.
#[derive(Clone, Default)]
pub struct Seg {
    pub(super) subflow: usize,
    pub(super) flags: u8,
    pub(super) seq: Option<u32>,
    pub(super) ack: Option<u32>,
    pub(super) window: Option<u16>,
    pub(super) mss: Option<u16>,
    pub(super) wscale: Option<u8>,
    pub(super) sack_ok: Option<bool>,
    pub(super) ts: Option<bool>,
    pub(super) ts_val: Option<u32>,
    pub(super) ts_ecr: Option<u32>,
    pub(super) push: Option<bool>,
    pub(super) sack: Option<Vec<(u32, u32)>>,
    pub(super) mptcp: Vec<Mp>,
    pub(super) raw_mptcp: Vec<Vec<u8>>,
    pub(super) plain: bool,
    pub(super) payload: Vec<u8>,
    pub(super) payload_len: Option<usize>,
    pub(super) buffer_bytes: Option<u32>,
    pub(super) ecn: Option<u8>,
    pub(super) hop_limit: Option<u8>,
    pub(super) fast_open: Option<Vec<u8>>,
}

impl fmt::Debug for Seg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or("any".into(), |n| n.to_string());
        let len = self.payload_len.unwrap_or(self.payload.len());
        write!(f, "{} seq {} len {len} ack {}", flag_names(self.flags), number(self.seq), number(self.ack))?;
        if let Some(window) = self.window {
            write!(f, " win {window}")?;
        }
        if let Some(sack) = &self.sack {
            write!(f, " sack {sack:?}")?;
        }
        if self.ts.is_some() || self.ts_val.is_some() {
            write!(f, " ts {:?} {:?}", self.ts, self.ts_val)?;
        }
        write!(f, " {:?}", self.mptcp)
    }
}

pub(super) fn flag_names(flags: u8) -> String {
    let names = [(1, "F"), (2, "S"), (4, "R"), (8, "P"), (16, "."), (32, "U"), (64, "E"), (128, "W")];
    names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, n)| *n).collect()
}

fn seg(flags: TcpFlags, seq: u32) -> Seg {
    Seg { flags: flags.0, seq: Some(seq), ..Seg::default() }
}

/// A SYN.
pub fn syn() -> Seg {
    seg(TcpFlags::SYN, 0)
}

/// A SYN/ACK.
pub fn syn_ack() -> Seg {
    Seg { ack: Some(1), ..seg(TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0), 0) }
}

/// A segment without payload.
pub fn ack(seq: u32, ack: u32) -> Seg {
    Seg { ack: Some(ack), ..seg(TcpFlags::ACK, seq) }
}

/// A segment with payload.
pub fn data(seq: u32, ack_to: u32, payload: &[u8]) -> Seg {
    Seg { payload: payload.to_vec(), ..ack(seq, ack_to) }
}

/// A segment with this many octets of payload: the stream's own pattern.
pub fn bulk(seq: u32, ack_to: u32, len: usize) -> Seg {
    Seg { payload: octets(seq - 1, len), payload_len: Some(len), ..ack(seq, ack_to) }
}

/// The same with the octets from `offset` of the pattern.
pub fn bulk_at(seq: u32, ack_to: u32, offset: u32, len: usize) -> Seg {
    Seg { payload: octets(offset, len), payload_len: Some(len), ..ack(seq, ack_to) }
}

/// A FIN without payload.
pub fn fin(seq: u32, ack: u32) -> Seg {
    Seg { ack: Some(ack), ..seg(TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0), seq) }
}

/// A reset without ACK.
pub fn rst(seq: u32) -> Seg {
    seg(TcpFlags::RST, seq)
}

/// A reset with ACK.
pub fn rst_ack(seq: u32, ack: u32) -> Seg {
    Seg { ack: Some(ack), ..seg(TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0), seq) }
}

impl Seg {
    /// On the subflow with that number, from 0.
    pub fn on(mut self, subflow: usize) -> Self {
        self.subflow = subflow;
        self
    }
    /// A Fast Open cookie; none asks for one. In an expectation without this there must be no such option.
    pub fn fast_open(mut self, cookie: &[u8]) -> Self {
        self.fast_open = Some(cookie.to_vec());
        self
    }
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }
    pub fn flags(mut self, more: TcpFlags) -> Self {
        self.flags |= more.0;
        self
    }
    pub fn no_ack_flag(mut self) -> Self {
        self.flags &= !TcpFlags::ACK.0;
        self
    }
    pub fn window(mut self, field: u16) -> Self {
        self.window = Some(field);
        self
    }
    pub fn mss(mut self, mss: u16) -> Self {
        self.mss = Some(mss);
        self
    }
    pub fn wscale(mut self, shift: u8) -> Self {
        self.wscale = Some(shift);
        self
    }
    pub fn sack_ok(mut self) -> Self {
        self.sack_ok = Some(true);
        self
    }
    /// The host is to leave SACK-permitted out.
    pub fn without_sack(mut self) -> Self {
        self.sack_ok = Some(false);
        self
    }
    /// Timestamps: the peer's clock is its own, all later segments of the subflow carry it.
    pub fn ts(mut self) -> Self {
        self.ts = Some(true);
        self
    }
    pub fn without_ts(mut self) -> Self {
        self.ts = Some(false);
        self
    }
    /// Timestamps with this value instead of the clock's, relative to it.
    pub fn ts_val(mut self, ahead_ms: i64) -> Self {
        self.ts_val = Some(ahead_ms as u32);
        self
    }
    /// Expects this timestamp to be echoed, as it is on the wire.
    pub fn ts_ecr(mut self, ecr: u32) -> Self {
        self.ts_ecr = Some(ecr);
        self
    }
    /// With the PSH bit or without, as by default; in an expectation it is not compared without this word.
    pub fn push(mut self, push: bool) -> Self {
        self.push = Some(push);
        self
    }
    /// Reports these ranges; in an expectation exactly these, in this order.
    pub fn sack(mut self, blocks: &[(u32, u32)]) -> Self {
        self.sack = Some(blocks.to_vec());
        self
    }
    fn with(mut self, option: Mp) -> Self {
        self.mptcp.push(option);
        self
    }
    /// MP_CAPABLE as this kind of segment has it.
    pub fn mpc(self) -> Self {
        let flags = CapableFlags { crypto: CapableFlags::HMAC_SHA256, ..CapableFlags::default() };
        let form = match (
            TcpFlags(self.flags).contains(TcpFlags::SYN),
            TcpFlags(self.flags).contains(TcpFlags::ACK),
        ) {
            (true, false) => Mp::CapableSyn { flags },
            (true, true) => Mp::CapableSynAck { a: false, c: false },
            (false, _) if self.payload.is_empty() => Mp::CapableAck { a: false, c: false },
            (false, _) => Mp::CapableData { len: self.payload.len() as u16, a: false, c: false, csum: None },
        };
        self.with(form)
    }
    /// MP_CAPABLE with flag A, which asks for checksums.
    pub fn mpc_a(self) -> Self {
        let mut seg = self.mpc();
        match seg.mptcp.last_mut().expect("pushed just now") {
            Mp::CapableSyn { flags } => flags.checksum_required = true,
            Mp::CapableSynAck { a, .. } | Mp::CapableAck { a, .. } | Mp::CapableData { a, .. } => *a = true,
            _ => unreachable!(),
        }
        seg
    }
    /// MP_CAPABLE with flag C, which forbids joins to the sender's initial address.
    pub fn mpc_c(self) -> Self {
        let mut seg = self.mpc();
        match seg.mptcp.last_mut().expect("pushed just now") {
            Mp::CapableSyn { flags } => flags.deny_join_initial = true,
            Mp::CapableSynAck { c, .. } | Mp::CapableAck { c, .. } | Mp::CapableData { c, .. } => *c = true,
            _ => unreachable!(),
        }
        seg
    }
    fn with_csum(mut self, csum: Csum) -> Self {
        match self.mptcp.last_mut() {
            Some(Mp::Dss { csum: to, .. } | Mp::CapableData { csum: to, .. }) => *to = Some(csum),
            _ => panic!("a checksum needs a mapping"),
        }
        self
    }
    /// The mapping has a checksum, of the payload.
    pub fn csum(self) -> Self {
        self.with_csum(Csum::Right)
    }
    /// The mapping has a checksum, of these octets, of which the payload is a part.
    pub fn csum_of(self, octets: &[u8]) -> Self {
        self.with_csum(Csum::Of(octets.to_vec()))
    }
    /// The mapping has a checksum that is not the data's.
    pub fn csum_wrong(self) -> Self {
        self.with_csum(Csum::Wrong)
    }
    /// MP_FAIL, with a number of the receiver's stream.
    pub fn fail(self, dsn: u64) -> Self {
        self.with(Mp::Fail { dsn })
    }
    /// MP_CAPABLE of a SYN with other flags.
    pub fn mpc_with(self, flags: CapableFlags) -> Self {
        self.with(Mp::CapableSyn { flags })
    }
    fn dss(&mut self) -> &mut Mp {
        if !matches!(self.mptcp.last(), Some(Mp::Dss { .. })) {
            self.mptcp.push(Mp::Dss { ack: None, map: None, fin: false, csum: None });
        }
        self.mptcp.last_mut().expect("pushed just now")
    }
    /// DATA_ACK.
    pub fn dack(mut self, to: u64) -> Self {
        let Mp::Dss { ack, .. } = self.dss() else { unreachable!() };
        *ack = Some((to, Width::Any));
        self
    }
    /// DATA_ACK of eight octets.
    pub fn dack8(mut self, to: u64) -> Self {
        let Mp::Dss { ack, .. } = self.dss() else { unreachable!() };
        *ack = Some((to, Width::Eight));
        self
    }
    /// DATA_ACK of four octets.
    pub fn dack4(mut self, to: u64) -> Self {
        let Mp::Dss { ack, .. } = self.dss() else { unreachable!() };
        *ack = Some((to, Width::Four));
        self
    }
    /// A mapping of the whole payload, from `dsn`.
    pub fn map(self, dsn: u64) -> Self {
        let (ssn, len) = (self.seq.expect("a mapping has a number"), self.payload.len() as u16);
        self.map_of(dsn, ssn, len)
    }
    /// A mapping.
    pub fn map_of(mut self, dsn: u64, ssn: u32, len: u16) -> Self {
        let Mp::Dss { map, .. } = self.dss() else { unreachable!() };
        *map = Some((dsn, Width::Any, ssn, len));
        self
    }
    /// The infinite mapping.
    pub fn infinite(self, dsn: u64, ssn: u32) -> Self {
        self.map_of(dsn, ssn, 0)
    }
    /// A mapping of the whole payload with a four-octet number.
    pub fn map4(self, dsn: u64) -> Self {
        let (ssn, len) = (self.seq.expect("a mapping has a number"), self.payload.len() as u16);
        let mut seg = self.map_of(dsn, ssn, len);
        let Mp::Dss { map: Some((_, width, _, _)), .. } = seg.dss() else { unreachable!() };
        *width = Width::Four;
        seg
    }
    /// DATA_FIN: with the mapping if there is one, which it lengthens, else alone at `dsn`.
    pub fn data_fin(mut self, dsn: u64) -> Self {
        let Mp::Dss { map, fin, .. } = self.dss() else { unreachable!() };
        *fin = true;
        *map = Some(match *map {
            Some((dsn, width, ssn, len)) => (dsn, width, ssn, len + 1),
            None => (dsn, Width::Any, 0, 1),
        });
        self
    }
    pub fn join_syn(self, id: u8) -> Self {
        self.with(Mp::JoinSyn { right_token: true, id, backup: false })
    }
    pub fn join_syn_unknown_token(self, id: u8) -> Self {
        self.with(Mp::JoinSyn { right_token: false, id, backup: false })
    }
    pub fn any_join_syn(self) -> Self {
        self.with(Mp::AnyJoinSyn)
    }
    pub fn join_syn_ack(self) -> Self {
        self.join_syn_ack_of(0)
    }
    /// From the peer's address of this identifier.
    pub fn join_syn_ack_of(self, id: u8) -> Self {
        self.with(Mp::JoinSynAck { id, right: true, backup: false })
    }
    pub fn join_syn_ack_wrong(self) -> Self {
        self.with(Mp::JoinSynAck { id: 0, right: false, backup: false })
    }
    /// The MP_JOIN that was named last asks for backup.
    pub fn backup(mut self) -> Self {
        match self.mptcp.last_mut() {
            Some(Mp::JoinSyn { backup, .. } | Mp::JoinSynAck { backup, .. }) => *backup = true,
            _ => panic!("only a join asks for backup"),
        }
        self
    }
    pub fn join_ack(self) -> Self {
        self.with(Mp::JoinAck { right: true })
    }
    pub fn join_ack_wrong(self) -> Self {
        self.with(Mp::JoinAck { right: false })
    }
    pub fn add_addr(self, id: u8, address: IpAddr) -> Self {
        self.with(Mp::AddAddr { id, address, port: None, right: true })
    }
    pub fn add_addr_wrong(self, id: u8, address: IpAddr) -> Self {
        self.with(Mp::AddAddr { id, address, port: None, right: false })
    }
    pub fn echo(self, id: u8, address: IpAddr) -> Self {
        self.with(Mp::Echo { id, address, port: None })
    }
    /// Gives the ADD_ADDR, or its echo, that was named last a port.
    pub fn port(mut self, to: u16) -> Self {
        match self.mptcp.last_mut() {
            Some(Mp::AddAddr { port, .. } | Mp::Echo { port, .. }) => *port = Some(to),
            _ => panic!("a port needs an address"),
        }
        self
    }
    pub fn remove_addr(self, ids: &[u8]) -> Self {
        self.with(Mp::Remove(ids.to_vec()))
    }
    /// An MPTCP option of these octets behind kind and length, right or not.
    pub fn raw_mptcp(mut self, octets: &[u8]) -> Self {
        self.raw_mptcp.push(octets.to_vec());
        self
    }
    pub fn prio(self, backup: bool) -> Self {
        self.with(Mp::Prio { backup })
    }
    pub fn fastclose(self) -> Self {
        self.with(Mp::FastClose { right: true })
    }
    pub fn fastclose_wrong(self) -> Self {
        self.with(Mp::FastClose { right: false })
    }
    pub fn tcprst(self, reason: u8) -> Self {
        self.with(Mp::TcpRst { reason })
    }
    pub fn any_tcprst(self) -> Self {
        self.with(Mp::AnyTcpRst)
    }
    pub fn option(self, option: MptcpOption) -> Self {
        self.with(Mp::Raw(option))
    }
    /// Expects no MPTCP option.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }
    /// Octets of memory that the delivered packet pins.
    pub fn pinning(mut self, buffer_bytes: u32) -> Self {
        self.buffer_bytes = Some(buffer_bytes);
        self
    }
    /// Expects this time to live or hop limit.
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = Some(hop_limit);
        self
    }
    /// The traffic class of the IP header, of which the low bits are ECN's: 2 for ECN-capable, 3 for a mark; 0 unless named.
    pub fn ecn(mut self, bits: u8) -> Self {
        self.ecn = Some(bits);
        self
    }
    pub fn ece(self) -> Self {
        self.flags(TcpFlags::ECE)
    }
    pub fn cwr(self) -> Self {
        self.flags(TcpFlags::CWR)
    }
    /// Acknowledges that number instead.
    pub fn acking(mut self, ack: u32) -> Self {
        self.ack = Some(ack);
        self
    }
    /// At that number instead.
    pub fn any_seq_at(mut self, seq: u32) -> Self {
        self.seq = Some(seq);
        self
    }
    /// Any number.
    pub fn any_seq(mut self) -> Self {
        self.seq = None;
        self
    }
}
