//! MPTCP's side of the hook in a TCP flow: options in and out, payload to the data level.
//!
//! A [`Hook`] borrows the connection's [`Data`] and one subflow's state for the length of a call. What
//! concerns other subflows or the path manager it leaves in the [`Inbox`], which the connection empties
//! after the flow has returned.

use alloc::vec::Vec;

use bytes::Bytes;
use polytcp_wire::mptcp::{
    AddAddr, AddAddrAuth, AddressIds, Capable, CapableFlags, CapableForm, DataAck, Dss, DssDsn, Join,
    MptcpOption, Reset, VERSION,
};
use polytcp_wire::tcp_options::MptcpOptions;

use super::fallback::{Failing, FallbackReason};
use super::key::{add_addr_hmac, verify_add_addr_hmac};
use super::mapping::{Mapping, PeerMapping};
use super::recv::DataRecv;
use super::send::{DataFin, DataSend};
use super::subflow::{Announced, Confirmation, HeldTag, Keys, SentTag, Signal, SubflowState};
use crate::config::MptcpConfig;
use crate::seq::{Dsn, Ssn};
use crate::tcp::cc::Sibling;
use crate::tcp::extension::{Abort, Carrier, Extension};
use crate::tcp::flow::Env;
use crate::tcp::segment::Segment;

/// A SACK option with one block and what aligns it (RFC 2018 §3).
const SACK_BYTES_MIN: usize = 12;

/// MP_TCPRST reason codes that we send (RFC 8684 §3.6).
pub mod reset_reason {
    /// Nothing more is known.
    pub const UNSPECIFIED: u8 = 0;
    /// The peer's MPTCP options make no sense here.
    pub const MPTCP_ERROR: u8 = 1;
    /// Limits or policy forbid the subflow.
    pub const PROHIBITED: u8 = 3;
    /// A middlebox damaged the options or the data.
    pub const MIDDLEBOX: u8 = 6;
}

/// Octets of the largest DSS: 64-bit mapping and 64-bit acknowledgement, with the checksum or padded.
pub const DSS_BYTES_MAX: usize = 28;

/// What a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// MPTCP, asked for or agreed.
    Mptcp,
    /// Plain TCP, from the start or after fallback (RFC 8684 §3.7).
    Plain,
}

/// What options asked for; emptied after every segment, so one segment bounds it.
#[derive(Default)]
pub struct Inbox {
    /// Announcements with a valid HMAC.
    pub add_addrs: Vec<AddAddr>,
    /// Echoes of ours.
    pub echoes: Vec<AddAddr>,
    /// Withdrawn addresses.
    pub removed: Vec<AddressIds>,
    /// MP_FASTCLOSE with our key.
    pub fastclosed: bool,
    /// The connection is plain TCP from now on.
    pub fell_back: Option<FallbackReason>,
    /// The peer changed the backup flag of this subflow.
    pub prio_changed: bool,
    /// The handshake of this subflow was confirmed.
    pub confirmed: bool,
}

/// A connection's data half: what every subflow's hook borrows.
pub struct Data {
    /// What the connection speaks.
    pub mode: Mode,
    /// Both keys, once known.
    pub keys: Option<Keys>,
    /// Sending.
    pub snd: DataSend,
    /// Receiving.
    pub rcv: DataRecv,
    /// The data sequence number of subflow octet 1, on plain TCP.
    pub plain_base: Dsn,
    /// Every mapping has a checksum (RFC 8684 §3.1, flag A).
    pub checksums: bool,
    /// We take no joins to our initial address and port (flag C).
    pub deny_join_initial: bool,
    /// A checksum was right: checksums work on this connection.
    pub checksum_seen: bool,
    /// No further subflow was ever open, and nothing was sent twice at data level: see [`super::fallback`].
    pub may_fall_back: bool,
    /// How far the exchange of MP_FAIL is.
    pub failing: Failing,
    /// Goes with the next new data of a connection that fell back after MP_FAIL.
    pub infinite: Option<Mapping>,
    /// What options asked for.
    pub inbox: Inbox,
    /// The other subflows, as the coupled congestion control of the one in hand may see them.
    pub siblings: Vec<Sibling>,
}

impl Data {
    /// On plain TCP: the flow's acknowledgement of everything below `ssn`.
    pub(super) fn ack_plain(&mut self, ssn: Ssn) {
        // The 32 bits of the flow wrap every 4 GiB: they are read beside what is known.
        let low = self.plain_base.low().wrapping_add(ssn.0.wrapping_sub(1));
        let acked = Dsn::from_low(low, self.snd.buffer.snd_una());
        // The FIN's own number is no data.
        let acked = acked.min(self.snd.buffer.snd_nxt());
        self.snd.buffer.ack(acked);
    }

    /// What our MP_CAPABLE says once the peer's is known.
    fn asked(&self) -> Asked {
        Asked { checksums: self.checksums, deny_join_initial: self.deny_join_initial }
    }

    /// The acknowledgement to send.
    fn data_ack(&self, announced: Option<Announced>) -> DataAck {
        let nxt = announced.map_or(self.rcv.nxt(), |a| a.data_ack);
        if self.rcv.is_wide() { DataAck::Eight(nxt.0) } else { DataAck::Four(nxt.low()) }
    }
}

/// One subflow's view of its connection, for the length of one call.
pub struct Hook<'a> {
    /// The connection's data half.
    pub data: &'a mut Data,
    /// The subflow's own state.
    pub mp: &'a mut SubflowState,
}

impl Hook<'_> {
    fn handle_dss(&mut self, env: &mut Env<'_>, dss: &Dss, window_bytes: u32) -> Result<HeldTag, Abort> {
        if let Some(ack) = dss.data_ack {
            self.mp.unproven = false;
            self.mp.note_option();
            let ack = match ack {
                DataAck::Four(low) => Dsn::from_low(low, self.data.snd.buffer.snd_una()),
                DataAck::Eight(full) => Dsn(full),
            };
            self.data.snd.handle_ack(env.now, ack, window_bytes);
        }
        let Some(mapping) = dss.mapping else { return Ok(None) };
        let dsn = match mapping.dsn {
            DssDsn::Four(low) => Dsn::from_low(low, self.data.rcv.nxt()),
            DssDsn::Eight(full) => {
                self.data.rcv.set_wide();
                Dsn(full)
            }
        };
        if mapping.len == 0 {
            // RFC 8684 §3.7: the infinite mapping.
            env.counters.infinite_map_rx += 1;
            self.fall_back_or(env, FallbackReason::Dss, reset_reason::MPTCP_ERROR)?;
            return Ok(None);
        }
        self.check_presence(mapping.checksum)?;
        let len = u32::from(mapping.len) - u32::from(dss.data_fin);
        let mapping =
            PeerMapping { dsn, ssn: Ssn(mapping.ssn), len, fin: dss.data_fin, checksum: mapping.checksum };
        if dss.data_fin {
            let is_right = len > 0 || mapping.has_right_header();
            if !is_right {
                env.counters.data_csum_err += 1;
            }
            let counts = is_right && (len == 0 || !self.data.checksums);
            let is_new = counts && self.data.rcv.handle_fin(mapping.end());
            // A repetition of one that was acknowledged means that the acknowledgement was lost. One that still waits
            // for data is not answered again: the answer may carry a DATA_FIN too, and two hosts that answer each
            // other's do so for ever.
            self.mp.ack_wanted |= is_new || self.data.rcv.is_finished();
            // With data that is to be verified it counts when that was.
        }
        Ok((len > 0).then_some(mapping))
    }

    /// RFC 8684 §3.3: a mapping without the checksum that was agreed, or with one that was not, is no
    /// MPTCP that we could speak with, and the subflow is reset.
    fn check_presence(&self, checksum: Option<u16>) -> Result<(), Abort> {
        if checksum.is_some() == self.data.checksums {
            Ok(())
        } else {
            Err(Abort { reason: reset_reason::MPTCP_ERROR })
        }
    }

    fn handle_add_addr(&mut self, env: &mut Env<'_>, add: &AddAddr) {
        match (add.auth, self.data.keys) {
            (AddAddrAuth::Echo, _) => {
                env.counters.echo_add += 1;
                self.data.inbox.echoes.push(*add);
            }
            (AddAddrAuth::Hmac(hmac), Some(Keys { local, remote })) => {
                let expected = add_addr_hmac(remote, local, add.address_id, add.address, add.port);
                if verify_add_addr_hmac(expected, hmac) {
                    env.counters.add_addr += 1;
                    self.data.inbox.add_addrs.push(*add);
                }
            }
            (AddAddrAuth::Hmac(_), None) => {}
        }
        if add.port.is_some() {
            env.counters.port_add += 1;
        }
    }

    fn handle_option(
        &mut self,
        env: &mut Env<'_>,
        option: &MptcpOption,
        window_bytes: u32,
    ) -> Result<HeldTag, Abort> {
        match option {
            MptcpOption::Dss(dss) => return self.handle_dss(env, dss, window_bytes),
            MptcpOption::Capable(Capable { form: CapableForm::Data { data_len, checksum, .. }, .. }) => {
                // The implicit mapping of the first data (RFC 8684 §3.1); also a late repetition.
                if let Some(Keys { remote, .. }) = self.data.keys
                    && *data_len > 0
                {
                    self.check_presence(*checksum)?;
                    self.data.rcv.set_wide();
                    let (dsn, len) = (remote.idsn() + 1, u32::from(*data_len));
                    let mapping = PeerMapping { dsn, ssn: Ssn(1), len, fin: false, checksum: *checksum };
                    return Ok(Some(mapping));
                }
            }
            MptcpOption::AddAddr(add) => self.handle_add_addr(env, add),
            MptcpOption::RemoveAddr(ids) => self.data.inbox.removed.push(*ids),
            MptcpOption::Prio(prio) => {
                env.counters.mp_prio_rx += 1;
                self.mp.backup_peer = prio.backup;
                self.data.inbox.prio_changed = true;
            }
            MptcpOption::FastClose { receiver_key } => {
                if self.data.keys.is_some_and(|keys| keys.local.verify(*receiver_key)) {
                    env.counters.mp_fastclose_rx += 1;
                    self.data.inbox.fastclosed = true;
                }
            }
            MptcpOption::Fail { dsn } => self.on_mp_fail(env, Dsn(*dsn)),
            // The joiner repeats its third ACK: ours, the fourth, was lost.
            MptcpOption::Join(Join::Ack { .. }) => self.mp.ack_wanted = true,
            MptcpOption::Capable(_)
            | MptcpOption::Join(_)
            | MptcpOption::Reset(_)
            | MptcpOption::Experimental(_)
            | MptcpOption::Unknown { .. }
            | MptcpOption::Malformed { .. } => {}
        }
        Ok(None)
    }

    /// What a packet says of the handshake (RFC 8684 §3.1, §3.2).
    fn confirm(&mut self, env: &mut Env<'_>, segment: &Segment, ssn: Ssn) -> Result<(), Abort> {
        let speaks = segment.options.mptcp.iter().any(|option| {
            matches!(
                option,
                MptcpOption::Dss(_)
                    | MptcpOption::AddAddr(_)
                    | MptcpOption::Capable(Capable {
                        form: CapableForm::Data { .. } | CapableForm::Ack { .. },
                        ..
                    })
            )
        });
        let acks_data = segment.options.mptcp.iter().any(|option| {
            matches!(option, MptcpOption::Dss(Dss { data_ack: Some(_), .. }) | MptcpOption::AddAddr(_))
        });
        match self.mp.confirmation {
            Confirmation::Done => {}
            Confirmation::CapableClient if acks_data => self.set_confirmed(),
            Confirmation::CapableServer if speaks => self.set_confirmed(),
            Confirmation::CapableClient | Confirmation::CapableServer => {
                if ssn == Ssn(1) && !speaks {
                    self.fall_back_at_first_data(env)?;
                }
            }
            // RFC 8684 §3.2: any packet of the peer after the third ACK confirms the join.
            Confirmation::JoinClient { .. } => self.set_confirmed(),
        }
        Ok(())
    }

    /// A client that has not heard of its first data at data level.
    pub(super) fn awaits_first_data_ack(&self) -> bool {
        self.data.mode == Mode::Mptcp && matches!(self.mp.confirmation, Confirmation::CapableClient)
    }

    /// MPTCP got through the handshake and no further.
    pub(super) fn fall_back_at_first_data(&mut self, env: &mut Env<'_>) -> Result<(), Abort> {
        env.counters.mp_capable_data_fallback += 1;
        self.fall_back_alone_or(env, FallbackReason::FirstData, reset_reason::MIDDLEBOX)
    }

    /// What a peer that has not noticed our fallback still says in MPTCP. While its mappings agree with where its
    /// octets are in the flow they say nothing new; then its DATA_FIN counts as well, since it sends no other end.
    /// When they do not, it sends again what we have, and the flow is no stream any more. Its FIN ends no stream either, but
    /// the subflow: the rest would go elsewhere, where nobody listens.
    fn take_late_dss(&mut self, segment: &Segment) -> Result<(), Abort> {
        let ends_subflow_only = |option: &MptcpOption| {
            matches!(option, MptcpOption::Dss(Dss { data_fin: false, data_ack: Some(_), mapping })
                if mapping.is_none_or(|mapping| mapping.len > 0))
        };
        if segment.is_fin()
            && self.data.keys.is_some()
            && !self.data.rcv.is_finished()
            && segment.options.mptcp.iter().any(ends_subflow_only)
        {
            return Err(Abort { reason: reset_reason::MIDDLEBOX });
        }
        let mapping = segment.options.mptcp.iter().find_map(|option| match option {
            MptcpOption::Dss(Dss { mapping: Some(mapping), data_fin, .. }) if mapping.len > 0 => {
                Some((*mapping, *data_fin))
            }
            _ => None,
        });
        let (Some((mapping, data_fin)), Some(_)) = (mapping, self.data.keys) else { return Ok(()) };
        let rcv = &mut self.data.rcv;
        let dsn = match mapping.dsn {
            DssDsn::Four(low) => Dsn::from_low(low, rcv.nxt()),
            DssDsn::Eight(full) => Dsn(full),
        };
        let has_data = mapping.len > u16::from(data_fin);
        if has_data && dsn != rcv.contiguous_at(Ssn(mapping.ssn)) {
            return Err(Abort { reason: reset_reason::MIDDLEBOX });
        }
        if data_fin && dsn + u64::from(mapping.len - 1) == rcv.nxt() {
            rcv.finish();
        }
        Ok(())
    }

    /// The peer knows that our options reach it: what it sends without any is not its fallback at the start of the
    /// connection (RFC 8684 §3.7).
    pub(super) fn is_proven(&self) -> bool {
        let acked = self.data.snd.buffer.snd_una().after(self.data.plain_base);
        acked || self.data.rcv.went_beyond_handshake()
    }

    fn set_confirmed(&mut self) {
        self.mp.confirmation = Confirmation::Done;
        self.data.inbox.confirmed = true;
    }

    fn fin_option(&self, data_ack: DataAck) -> Dss {
        let mapping = Mapping::data_fin(self.data.snd.fin_dsn(), self.data.checksums).to_wire();
        Dss { data_fin: true, data_ack: Some(data_ack), mapping: Some(mapping) }
    }

    fn ack_options(&mut self, env: &mut Env<'_>, room: usize, reports: bool, out: &mut MptcpOptions) {
        self.mp.ack_wanted = false;
        let fin_pending = matches!(self.data.snd.fin(), DataFin::Sent { .. });
        let again = core::mem::take(&mut self.mp.handshake_ack_due);
        match (self.mp.confirmation, self.data.keys) {
            (Confirmation::CapableClient, Some(keys)) if again || !fin_pending => {
                let (sender_key, receiver_key) = (keys.local.to_wire(), keys.remote.to_wire());
                out.push(capable(CapableForm::Ack { sender_key, receiver_key }, self.data.asked()));
                return;
            }
            (Confirmation::JoinClient { hmac, .. }, _) => {
                out.push(MptcpOption::Join(Join::Ack { hmac }));
                return;
            }
            _ => {}
        }
        let data_ack = self.data.data_ack(self.mp.announced);
        if let Some(dsn) = self.mp.fail_due.take() {
            env.counters.mp_fail_tx += 1;
            out.push(MptcpOption::Dss(Dss { data_ack: Some(data_ack), ..Dss::default() }));
            out.push(MptcpOption::Fail { dsn: dsn.0 });
            return;
        }
        match self.mp.signals.front().copied() {
            Some(Signal::AddAddr(add)) => {
                self.mp.signals.pop_front();
                let option = MptcpOption::AddAddr(add);
                let echo = matches!(add.auth, AddAddrAuth::Echo);
                if option.wire_len() <= room {
                    out.push(option);
                    *(if echo { &mut env.counters.echo_add_tx } else { &mut env.counters.add_addr_tx }) += 1;
                    return;
                }
                // IPv6 with port beside timestamps: no room, as in Linux.
                *(if echo {
                    &mut env.counters.echo_add_tx_drop
                } else {
                    &mut env.counters.add_addr_tx_drop
                }) += 1;
            }
            Some(Signal::RemoveAddr(ids)) => {
                let option = MptcpOption::RemoveAddr(ids);
                if option.wire_len() + 12 <= room {
                    self.mp.signals.pop_front();
                    env.counters.rm_addr_tx += ids.as_slice().len() as u64;
                    out.push(MptcpOption::Dss(Dss { data_ack: Some(data_ack), ..Dss::default() }));
                    out.push(option);
                    return;
                }
                self.mp.signals.pop_front();
                env.counters.rm_addr_tx_drop += 1;
            }
            Some(Signal::Prio { backup }) => {
                self.mp.signals.pop_front();
                env.counters.mp_prio_tx += 1;
                out.push(MptcpOption::Dss(Dss { data_ack: Some(data_ack), ..Dss::default() }));
                out.push(MptcpOption::Prio(polytcp_wire::mptcp::Prio { backup, address_id: None }));
                return;
            }
            None => {}
        }
        let bare = Dss { data_ack: Some(data_ack), ..Dss::default() };
        let with_fin = fin_pending.then(|| self.fin_option(data_ack)).filter(|dss| {
            // Beside timestamps it leaves no room for SACK, without which the peer learns of its losses by timeouts
            // only. DATA_FIN can wait until it has mended them.
            !reports || MptcpOption::Dss(*dss).wire_len() + SACK_BYTES_MIN <= room
        });
        out.push(MptcpOption::Dss(with_fin.unwrap_or(bare)));
    }

    fn data_options(&mut self, mapping: &Mapping, out: &mut MptcpOptions) {
        if let (Confirmation::CapableClient, Some(keys), Ssn(1)) =
            (self.mp.confirmation, self.data.keys, mapping.ssn)
            // Its mapping is implicit: IDSN + 1.
            && mapping.dsn == keys.local.idsn() + 1
        {
            let form = CapableForm::Data {
                sender_key: keys.local.to_wire(),
                receiver_key: keys.remote.to_wire(),
                data_len: mapping.len,
                checksum: mapping.checksum,
            };
            out.push(capable(form, self.data.asked()));
            return;
        }
        out.push(MptcpOption::Dss(Dss {
            data_fin: mapping.fin,
            data_ack: Some(self.data.data_ack(self.mp.announced)),
            mapping: Some(mapping.to_wire()),
        }));
    }
}

/// What MP_CAPABLE asks for beside its keys (RFC 8684 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Flag A: DSS checksums.
    pub checksums: bool,
    /// Flag C: no joins to the sender's initial address and port.
    pub deny_join_initial: bool,
}

impl Asked {
    /// What our settings ask for.
    pub fn by(config: &MptcpConfig) -> Self {
        Self { checksums: config.checksum_enabled, deny_join_initial: !config.allow_join_initial_addr_port }
    }
}

/// MP_CAPABLE of version 1 with HMAC-SHA256.
pub fn capable(form: CapableForm, asked: Asked) -> MptcpOption {
    let flags = CapableFlags {
        checksum_required: asked.checksums,
        deny_join_initial: asked.deny_join_initial,
        crypto: CapableFlags::HMAC_SHA256,
        ..CapableFlags::default()
    };
    MptcpOption::Capable(Capable { version: VERSION, flags, form })
}

/// The MP_CAPABLE of a segment, if it is one that we understand: version 1 (or higher on a SYN, which
/// is answered with 1), HMAC-SHA256, no extension bit (RFC 8684 §3.1).
pub fn understood_capable(options: &MptcpOptions) -> Option<Capable> {
    options.iter().find_map(|option| match option {
        MptcpOption::Capable(capable) => {
            let syn = matches!(capable.form, CapableForm::Syn);
            let version = capable.version == VERSION || (syn && capable.version >= VERSION);
            let flags = capable.flags.crypto == CapableFlags::HMAC_SHA256 && !capable.flags.extensibility;
            (version && flags).then_some(*capable)
        }
        _ => None,
    })
}

impl Extension for Hook<'_> {
    type Sent = SentTag;
    type Held = HeldTag;

    fn handle_options(
        &mut self,
        env: &mut Env<'_>,
        segment: &Segment,
        ssn: Ssn,
        window_bytes: u32,
    ) -> Result<HeldTag, Abort> {
        if self.data.mode == Mode::Plain {
            return self.take_late_dss(segment).map(|()| None);
        }
        self.mp.at = ssn;
        self.mp.bare = segment.options.mptcp.is_empty();
        self.mp.bare_fin |= self.mp.bare && segment.is_fin() && segment.payload.is_empty();
        self.confirm(env, segment, ssn)?;
        let mut held = None;
        if self.data.mode == Mode::Mptcp {
            for option in segment.options.mptcp.iter() {
                held = held.or(self.handle_option(env, option, window_bytes)?);
            }
        }
        Ok(held)
    }

    fn deliver(
        &mut self,
        env: &mut Env<'_>,
        ssn: Ssn,
        bytes: Bytes,
        buffer_bytes: u32,
        held: &HeldTag,
    ) -> Result<(), Abort> {
        if self.data.mode == Mode::Plain {
            self.data.rcv.append(bytes, buffer_bytes);
            return Ok(());
        }
        let total = bytes.len() as u64;
        let before = self.data.rcv.nxt();
        let duplicates = self.data.rcv.duplicate_bytes();
        let result = self.deliver_mapped(env, ssn, bytes, buffer_bytes, *held);
        env.counters.duplicate_data += u64::from(self.data.rcv.duplicate_bytes() > duplicates);
        let disorder = self.data.rcv.take_disorder();
        env.counters.ofo_queue += u64::from(disorder.queued);
        env.counters.ofo_queue_tail += u64::from(disorder.at_tail);
        env.counters.ofo_merge += u64::from(disorder.merged);
        env.counters.no_dss_in_window += u64::from(disorder.beyond_window);
        // A hole at data level was filled, or a mapping that was held: the peer's window waits for it, as its
        // recovery would at subflow level (RFC 5681 §4.2), so the acknowledgement is not delayed.
        self.mp.ack_wanted |= self.data.rcv.nxt().saturating_since(before) > total;
        result
    }

    fn handle_fin(&mut self) {
        if self.data.mode == Mode::Plain {
            self.data.rcv.finish();
        }
    }

    fn handle_acked(&mut self, ssn: Ssn) {
        match self.data.mode {
            Mode::Plain => self.data.ack_plain(ssn),
            Mode::Mptcp => self.mp.note_acked(),
        }
    }

    fn window_bytes(&mut self, shift: u8, repeats_ack: bool) -> u32 {
        let promised = self.data.rcv.promised();
        let window = self.data.rcv.announce(shift);
        // Another subflow has promised more than this one and than what is free.
        let own = self.mp.announced.map(|last| last.data_ack + u64::from(last.window));
        self.mp.window_raised = self.data.rcv.was_raised() && own.is_some_and(|own| own.before(promised));
        if let Some(last) = self.mp.announced
            && repeats_ack
            && window != 0
            && window < last.window
        {
            // Linux would add its old, larger window to the new DATA_ACK and send beyond what was promised:
            // this segment repeats the old pair, and another subflow's tells the new one.
            return last.window;
        }
        self.mp.announced = Some(Announced { data_ack: self.data.rcv.nxt(), window });
        window
    }

    fn empty_tag(&self) -> SentTag {
        None
    }

    fn options(&mut self, env: &mut Env<'_>, carrier: Carrier<'_, SentTag>, room: usize) -> MptcpOptions {
        let mut out = MptcpOptions::default();
        let raised = core::mem::take(&mut self.mp.window_raised);
        if self.data.mode == Mode::Plain {
            self.mp.ack_wanted = false;
            // The one mapping that outlives MPTCP, whenever its segment is sent.
            if let Carrier::Data { tag: Some(mapping), .. } = carrier
                && mapping.is_infinite()
            {
                let mapping = Some(mapping.to_wire());
                out.push(MptcpOption::Dss(Dss { mapping, ..Dss::default() }));
            }
            return out;
        }
        env.counters.rcv_wnd_shared += u64::from(raised);
        match carrier {
            Carrier::Data { tag: Some(mapping), .. } => self.data_options(mapping, &mut out),
            Carrier::Data { tag: None, .. } => {}
            Carrier::Ack { reports } => self.ack_options(env, room, reports, &mut out),
            Carrier::Reset => {
                if let (true, Some(keys)) = (self.mp.fastclose, self.data.keys) {
                    env.counters.mp_fastclose_tx += 1;
                    out.push(MptcpOption::FastClose { receiver_key: keys.remote.to_wire() });
                }
                if let Some(dsn) = self.mp.fail_due.take() {
                    env.counters.mp_fail_tx += 1;
                    out.push(MptcpOption::Fail { dsn: dsn.0 });
                }
                env.counters.mp_rst_tx += 1;
                out.push(MptcpOption::Reset(Reset { transient: false, reason: self.mp.reset_reason }));
            }
        }
        out
    }

    fn has_more(&self) -> bool {
        self.data.snd.buffer.unsent() > 0
    }

    fn wants_ack(&self) -> bool {
        let may_signal = self.data.mode == Mode::Mptcp
            && matches!(self.mp.confirmation, Confirmation::Done | Confirmation::CapableServer);
        self.mp.ack_wanted || (may_signal && !self.mp.signals.is_empty())
    }

    fn siblings(&self) -> &[Sibling] {
        &self.data.siblings
    }

    fn reserved_option_bytes(&self, tag: &SentTag) -> usize {
        let is_infinite = tag.is_some_and(|mapping| mapping.is_infinite());
        if self.data.mode == Mode::Mptcp || is_infinite { DSS_BYTES_MAX } else { 0 }
    }
}
