//! What the options of a segment say, to the subflow that it came on and to its connection.

use polytcp_wire::mptcp::{
    AddAddr, AddAddrAuth, Capable, CapableForm, DataAck, Dss, DssDsn, Join, MptcpOption, Prio,
};

use super::fallback::FallbackReason;
use super::hook::{Hook, Mode, reset_reason};
use super::key::{add_addr_hmac, verify_add_addr_hmac};
use super::mapping::PeerMapping;
use super::subflow::{Confirmation, HeldTag, Keys};
use crate::seq::{Dsn, Ssn};
use crate::tcp::extension::Abort;
use crate::tcp::flow::Env;
use crate::tcp::segment::Segment;

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
            DssDsn::Eight(full) => Dsn(full),
        };
        if mapping.len == 0 {
            // As Linux: without data a mapping of nothing says nothing.
            if self.mp.no_data {
                return Ok(None);
            }
            // RFC 8684 §3.7: the infinite mapping.
            env.counters.infinite_map_rx += 1;
            self.fall_back_or(env, FallbackReason::Dss, reset_reason::MPTCP_ERROR)?;
            return Ok(None);
        }
        self.check_presence(mapping.checksum)?;
        let len = u32::from(mapping.len) - u32::from(dss.data_fin);
        if len > 0 {
            // As Linux: answers are as wide as the last mapping, a lone DATA_FIN not counted.
            self.data.rcv.set_wide(matches!(mapping.dsn, DssDsn::Eight(_)));
        }
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
        // As Linux: port 0 is none.
        let add = AddAddr { port: add.port.filter(|port| *port != 0), ..*add };
        match (add.auth, self.data.keys) {
            (AddAddrAuth::Echo, _) => {
                env.counters.echo_add += 1;
                self.data.inbox.addresses.get_or_insert_default().echoes.push(add);
            }
            (AddAddrAuth::Hmac(hmac), Some(Keys { local, remote })) => {
                let expected = add_addr_hmac(remote, local, add.address_id, add.address, add.port);
                if verify_add_addr_hmac(expected, hmac) {
                    env.counters.add_addr += 1;
                    self.data.inbox.addresses.get_or_insert_default().add_addrs.push(add);
                }
            }
            (AddAddrAuth::Hmac(_), None) => {}
        }
        if add.port.is_some() {
            env.counters.port_add += 1;
        }
    }

    pub(super) fn handle_option(
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
                    self.data.rcv.set_wide(true);
                    let (dsn, len) = (remote.idsn() + 1, u32::from(*data_len));
                    let mapping = PeerMapping { dsn, ssn: Ssn(1), len, fin: false, checksum: *checksum };
                    return Ok(Some(mapping));
                }
            }
            MptcpOption::AddAddr(add) => self.handle_add_addr(env, add),
            MptcpOption::RemoveAddr(ids) => {
                self.data.inbox.addresses.get_or_insert_default().removed.push(*ids)
            }
            // The form of four octets is version 0's; Linux ignores it too.
            MptcpOption::Prio(Prio { address_id: Some(_), .. }) => {}
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
    pub(super) fn confirm(&mut self, env: &mut Env<'_>, segment: &Segment, ssn: Ssn) -> Result<(), Abort> {
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
    pub(super) fn take_late_dss(&mut self, segment: &Segment) -> Result<(), Abort> {
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

    pub(super) fn set_confirmed(&mut self) {
        self.mp.confirmation = Confirmation::Done;
        self.data.inbox.confirmed = true;
    }
}
