//! MPTCP's side of the hook in a TCP flow: options in and out, payload to the data level.
//!
//! A [`Hook`] borrows the connection's [`Data`] and one subflow's state for the length of a call. What
//! concerns other subflows or the path manager it leaves in the [`Inbox`], which the connection empties
//! after the flow has returned.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use polytcp_wire::mptcp::{AddAddr, AddressIds, DataAck, Dss, MptcpOption, Reset};
use polytcp_wire::tcp_options::MptcpOptions;

use super::capable::Asked;
use super::fallback::{Failing, FallbackReason};
use super::mapping::Mapping;
use super::recv::DataRecv;
use super::send::DataSend;
use super::subflow::{Announced, Confirmation, HeldTag, Keys, SentTag, SubflowState};
use crate::seq::{Dsn, Ssn};
use crate::tcp::cc::Sibling;
use crate::tcp::extension::{Abort, Carrier, Extension};
use crate::tcp::flow::Env;
use crate::tcp::segment::Segment;

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
    /// Of addresses, if anything.
    pub addresses: Option<Box<AddressNews>>,
    /// MP_FASTCLOSE with our key.
    pub fastclosed: bool,
    /// The connection is plain TCP from now on.
    pub fell_back: Option<FallbackReason>,
    /// The peer changed the backup flag of this subflow.
    pub prio_changed: bool,
    /// The handshake of this subflow was confirmed.
    pub confirmed: bool,
}

/// What options said of addresses.
#[derive(Default)]
pub struct AddressNews {
    /// Announcements with a valid HMAC.
    pub add_addrs: Vec<AddAddr>,
    /// Echoes of ours.
    pub echoes: Vec<AddAddr>,
    /// Withdrawn addresses.
    pub removed: Vec<AddressIds>,
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
    pub infinite: Option<Box<Mapping>>,
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
    pub(super) fn asked(&self) -> Asked {
        Asked { checksums: self.checksums, deny_join_initial: self.deny_join_initial }
    }

    /// The acknowledgement to send.
    pub(super) fn data_ack(&self, announced: Option<Announced>) -> DataAck {
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
        self.mp.no_data = segment.payload.is_empty();
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

    fn shared_window_bytes(&self) -> u32 {
        let rcv = &self.data.rcv;
        u32::try_from(rcv.promised().saturating_since(rcv.nxt())).unwrap_or(u32::MAX)
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
        self.data.snd.buffer.unsent() > 0 || self.data.snd.more_follows
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
