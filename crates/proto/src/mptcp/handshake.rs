//! The handshakes of subflows that we open: MP_CAPABLE and MP_JOIN as a client, and what a server makes
//! of the third ACK (RFC 8684 §3.1, §3.2).

use alloc::boxed::Box;
use core::net::SocketAddr;

use polytcp_wire::mptcp::{Capable, CapableFlags, CapableForm, Join, MptcpOption};
use polytcp_wire::tcp_option::TcpOption;
use polytcp_wire::tcp_options::MptcpOptions;

use super::capable::{Asked, capable, understood_capable};
use super::connection::{Connection, Ctx, Emission, FastOpenOutcome, Notice, Role, Stage};
use super::fallback::{Failing, FallbackReason};
use super::hook::{Mode, reset_reason};
use super::key::{Key, Nonce, join_hmac};
use super::subflow::{ActiveHandshake, Confirmation, Phase, Subflow, SubflowState};
use super::timeouts::third_ack_wait;
use crate::host::socket::ConnectionError;
use crate::packet::InterfaceId;
use crate::pm::command::AddressId;
use crate::tcp::flow::End;
use crate::tcp::opening::{Agreed, Opening, OpeningVerdict};
use crate::tcp::segment::{Outgoing, Segment};
use crate::time::Duration;

/// Linux repeats the first four SYNs without back-off (`tcp_syn_linear_timeouts`).
const LINEAR_TIMEOUTS: u8 = 4;

/// A further subflow that we open.
pub struct NewJoin {
    /// Where from.
    pub local: SocketAddr,
    /// Where to.
    pub remote: SocketAddr,
    /// The interface that holds the local address.
    pub interface: InterfaceId,
    /// Our identifier of the local address.
    pub local_id: AddressId,
    /// The peer's identifier of the remote address, 0 for its first one.
    pub remote_id: AddressId,
    /// We want it as a backup.
    pub backup: bool,
    /// Our random number.
    pub nonce: Nonce,
}

impl Connection {
    /// Opens the first subflow.
    pub(crate) fn open_first(&mut self, opening: Opening, interface: InterfaceId) -> u32 {
        let handshake = match self.data.mode {
            Mode::Mptcp => ActiveHandshake::Capable,
            Mode::Plain => ActiveHandshake::Plain,
        };
        let phase = Phase::Opening { opening: Box::new(opening), handshake };
        let mp = SubflowState::new(AddressId(0), AddressId(0), Confirmation::Done);
        self.add_subflow(self.first_local, self.first_remote, interface, phase, mp)
    }

    /// Opens a further subflow.
    pub(crate) fn open_join(&mut self, ctx: &mut Ctx<'_>, opening: Opening, join: &NewJoin) -> u32 {
        ctx.counters.mp_join_syn_tx += 1;
        let handshake = ActiveHandshake::Join { nonce: join.nonce };
        let phase = Phase::Opening { opening: Box::new(opening), handshake };
        let mut mp = SubflowState::new(join.local_id, join.remote_id, Confirmation::Done);
        mp.unproven = true;
        mp.backup_local = join.backup;
        self.add_subflow(join.local, join.remote, join.interface, phase, mp)
    }

    /// The SYN or SYN/ACK of a subflow that we open, when it is due.
    pub(super) fn poll_opening(&mut self, ctx: &mut Ctx<'_>, index: usize) -> Option<Emission> {
        let keys = self.data.keys;
        let subflow = &mut self.subflows[index];
        let Phase::Opening { opening, handshake } = &mut subflow.phase else { return None };
        let option = match handshake {
            ActiveHandshake::Capable => {
                let tries = ctx.config.mptcp.syn_retrans_before_tcp_fallback;
                if tries < 128 && opening.sent() > tries && opening.deadline() <= ctx.now {
                    ctx.counters.mp_capable_syn_tx_drop += 1;
                    *handshake = ActiveHandshake::PlainAfter { capable_syns: opening.sent() };
                    self.data.mode = Mode::Plain;
                    self.notices.push_back(Notice::FellBack(FallbackReason::SynDropped));
                    None
                } else {
                    Some(capable(CapableForm::Syn, Asked::by(&ctx.config.mptcp)))
                }
            }
            ActiveHandshake::Plain | ActiveHandshake::PlainAfter { .. } => None,
            ActiveHandshake::Join { nonce } => keys.map(|keys| {
                MptcpOption::Join(Join::Syn {
                    backup: subflow.mp.backup_local,
                    address_id: subflow.mp.local_id.0,
                    token: keys.remote.token().0,
                    nonce: nonce.0,
                })
            }),
        };
        let segment = opening.poll_transmit(ctx.now, LINEAR_TIMEOUTS, |space| match option {
            Some(option) => space.push(TcpOption::Mptcp(option)),
            None => Ok(()),
        })?;
        if opening.sent() == 1 && matches!(option, Some(MptcpOption::Capable(_))) {
            ctx.counters.mp_capable_syn_tx += 1;
        }
        let Subflow { interface, local, remote, .. } = *subflow;
        Some(Emission { interface, local, remote, ip: self.ip, segment })
    }

    /// Gives up a handshake whose SYN was repeated often enough.
    pub(super) fn expire_opening(&mut self, ctx: &mut Ctx<'_>, index: usize) {
        let Phase::Opening { opening, .. } = &self.subflows[index].phase else { return };
        if opening.deadline() > ctx.now
            || opening.sent() <= ctx.config.tcp.syn_retries.saturating_add(LINEAR_TIMEOUTS)
        {
            return;
        }
        let first = self.subflows[index].id == 1;
        ctx.counters.tcp_abort_on_timeout += 1;
        self.note_unanswered(index);
        // ETIMEDOUT
        self.remove_subflow(ctx, index, None, 110);
        if first {
            self.fail(ctx, ConnectionError::TimedOut);
        }
    }

    /// Processes a segment of a subflow that we open. `segment_bytes_max` is what the interface takes.
    pub(crate) fn handle_opening(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: u32,
        segment: &Segment,
        segment_bytes_max: u32,
    ) {
        let Some(index) = self.subflows.iter().position(|s| s.id == id) else { return };
        let subflow = &mut self.subflows[index];
        let Phase::Opening { opening, .. } = &mut subflow.phase else { return };
        match opening.handle_segment(ctx.now, segment) {
            OpeningVerdict::Ignore => {}
            OpeningVerdict::Answer(answer) => self.answer(index, answer),
            OpeningVerdict::Refused => {
                // ECONNREFUSED
                self.remove_subflow(ctx, index, None, 111);
                if id == 1 {
                    self.fail(ctx, ConnectionError::Refused);
                }
            }
            OpeningVerdict::Crossed => {
                // RFC 8684 §3.1 does not cover simultaneous open; Linux falls back.
                if self.data.mode == Mode::Mptcp && id == 1 {
                    ctx.counters.simult_connect_fallback += 1;
                    self.become_plain(ctx, index, FallbackReason::SimultaneousOpen);
                }
            }
            OpeningVerdict::Agreed(agreed) => self.on_agreed(ctx, index, segment, &agreed, segment_bytes_max),
        }
    }

    fn answer(&mut self, index: usize, segment: Outgoing) {
        let Subflow { interface, local, remote, .. } = self.subflows[index];
        self.pending.push_back(Emission { interface, local, remote, ip: self.ip, segment });
    }

    fn on_agreed(
        &mut self,
        ctx: &mut Ctx<'_>,
        index: usize,
        segment: &Segment,
        agreed: &Agreed,
        segment_bytes_max: u32,
    ) {
        self.note_fast_open(ctx, index, segment, agreed);
        let Phase::Opening { handshake, opening } = &self.subflows[index].phase else { return };
        let syns = opening.sent();
        match handshake {
            ActiveHandshake::Capable => {
                let answer = understood_capable(&segment.options.mptcp);
                if let Some(Capable { form: CapableForm::SynAck { sender_key }, flags, .. }) = answer {
                    self.peer_denies_join = flags.deny_join_initial;
                    // RFC 8684 §3.1: checksums are used unless neither side wants them.
                    self.data.checksums = ctx.config.mptcp.checksum_enabled || flags.checksum_required;
                    ctx.counters.mp_capable_syn_ack_rx += 1;
                    self.notices.push_back(Notice::CapableAnswered);
                    self.set_keys(Key::from_wire(sender_key), agreed.rcv_wnd);
                    self.subflows[index].mp.confirmation = Confirmation::CapableClient;
                    self.subflows[index].mp.handshake_ack_due = true;
                } else {
                    ctx.counters.mp_capable_fallback_syn_ack += 1;
                    self.become_plain(ctx, index, FallbackReason::SynAck);
                }
                self.on_established(agreed);
            }
            ActiveHandshake::Plain => self.on_established(agreed),
            ActiveHandshake::PlainAfter { capable_syns } => {
                // As Linux: a later one says little, the peer may just have been away.
                if syns == capable_syns + 1 {
                    self.notices.push_back(Notice::CapableSwallowed);
                }
                self.on_established(agreed);
            }
            ActiveHandshake::Join { nonce } => {
                let nonce = *nonce;
                let joinable = self.is_joinable();
                let other_port = self.subflows[index].remote.port() != self.first_remote.port();
                match self.verified_join(ctx, nonce, &segment.options.mptcp).filter(|_| joinable) {
                    Some(verified) => {
                        ctx.counters.mp_join_port_syn_ack_rx += u64::from(other_port);
                        self.data.may_fall_back = false;
                        let mp = &mut self.subflows[index].mp;
                        mp.backup_peer = verified.backup;
                        mp.remote_id = verified.remote_id;
                        mp.confirmation =
                            Confirmation::JoinClient { hmac: verified.hmac, again_at: ctx.now, repeats: 0 };
                    }
                    None => {
                        // RFC 8684 §3.2: no or a wrong HMAC, or MP_FAIL went by meanwhile: reset.
                        self.subflows[index].mp.reset_reason = reset_reason::MPTCP_ERROR;
                        self.open_flow(ctx, index, agreed, segment_bytes_max);
                        let end = End::Violation(crate::tcp::extension::Abort {
                            reason: reset_reason::MPTCP_ERROR,
                        });
                        self.on_flow_end(ctx, index, end);
                        return;
                    }
                }
            }
        }
        self.open_flow(ctx, index, agreed, segment_bytes_max);
        let Subflow { phase: Phase::Open(flow), mp, .. } = &mut self.subflows[index] else { return };
        if let Confirmation::JoinClient { again_at, .. } = &mut mp.confirmation {
            *again_at = ctx.now + third_ack_wait(flow);
        }
        flow.ack_now();
    }

    /// Counts what became of data on the SYN, and tells what Fast Open came to.
    fn note_fast_open(&mut self, ctx: &mut Ctx<'_>, index: usize, segment: &Segment, agreed: &Agreed) {
        let Phase::Opening { opening, .. } = &self.subflows[index].phase else { return };
        if opening.syn_data() > 0 {
            let all = agreed.syn_data_acked == opening.syn_data();
            *(if all {
                &mut ctx.counters.tcp_fast_open_active
            } else {
                &mut ctx.counters.tcp_fast_open_active_fail
            }) += 1;
        }
        if !opening.asked_fast_open() && opening.syn_data() == 0 {
            return;
        }
        let given =
            segment.options.fast_open.filter(|cookie| !cookie.is_request() && opening.asked_fast_open());
        let is_lost = opening.has_lost_syn_data() && agreed.syn_data_acked == 0 && given.is_none();
        let outcome = if is_lost {
            FastOpenOutcome::Lost
        } else {
            // RFC 9293 §3.7.1: 536 octets when the peer names none.
            FastOpenOutcome::Answered { given: given.zip(segment.options.mss.or(Some(536))) }
        };
        self.notices.push_back(Notice::FastOpen(outcome));
    }

    /// A handshake ends without any answer: what its first SYN carried may be the reason (RFC 7413 §4.1.3.1).
    pub(super) fn note_unanswered(&mut self, index: usize) {
        if let Some(Phase::Opening { opening, .. }) = self.subflows.get(index).map(|subflow| &subflow.phase)
            && opening.has_lost_syn_data()
        {
            self.notices.push_back(Notice::FastOpen(FastOpenOutcome::Lost));
        }
    }

    fn open_flow(&mut self, ctx: &Ctx<'_>, index: usize, agreed: &Agreed, segment_bytes_max: u32) {
        let mut flow = self.new_flow(ctx, agreed, segment_bytes_max);
        if self.data.snd.is_closed() && self.data.mode == Mode::Plain && self.data.snd.buffer.unsent() == 0 {
            flow.close();
        }
        self.subflows[index].phase = Phase::Open(flow);
    }

    /// Checks the peer's HMAC of an MP_JOIN SYN/ACK and computes ours.
    fn verified_join(
        &self,
        ctx: &mut Ctx<'_>,
        local_nonce: Nonce,
        options: &MptcpOptions,
    ) -> Option<VerifiedJoin> {
        let keys = self.data.keys?;
        let found = options.iter().find_map(|option| match option {
            MptcpOption::Join(Join::SynAck { backup, address_id, hmac, nonce }) => {
                Some((*backup, *address_id, *hmac, Nonce(*nonce)))
            }
            _ => None,
        });
        let (backup, address_id, hmac, remote_nonce) = found?;
        let expected = join_hmac(keys.remote, keys.local, remote_nonce, local_nonce);
        if !expected.verify_64(hmac) {
            // As Linux: the client counts it here too.
            ctx.counters.mp_join_ack_hmac_failure += 1;
            return None;
        }
        ctx.counters.mp_join_syn_ack_rx += 1;
        ctx.counters.mp_join_syn_ack_backup_rx += u64::from(backup);
        let ours = join_hmac(keys.local, keys.remote, local_nonce, remote_nonce);
        Some(VerifiedJoin { backup, remote_id: AddressId(address_id), hmac: ours.leftmost_160() })
    }

    /// The server's side of the first subflow: the third ACK has come. `remote` has the client's key and
    /// flags.
    pub(crate) fn accept_first(
        &mut self,
        ctx: &mut Ctx<'_>,
        interface: InterfaceId,
        agreed: &Agreed,
        remote: Option<(Key, CapableFlags)>,
        segment_bytes_max: u32,
    ) -> u32 {
        let mut mp = SubflowState::new(AddressId(0), AddressId(0), Confirmation::Done);
        match remote {
            Some((key, flags)) => {
                // RFC 8684 §3.1: the third ACK confirms what both SYNs said; Linux goes by it alone.
                self.data.checksums = ctx.config.mptcp.checksum_enabled || flags.checksum_required;
                self.peer_denies_join = flags.deny_join_initial;
                self.set_keys(key, agreed.rcv_wnd);
                // As Linux, nothing is said before there is data: a client opens further subflows once it has a
                // DATA_ACK (RFC 8684 §3.2), so that a connection that nobody uses has one.
                mp.confirmation = Confirmation::CapableServer;
            }
            None => self.data.mode = Mode::Plain,
        }
        let flow = self.new_flow(ctx, agreed, segment_bytes_max);
        let id = self.add_subflow(self.first_local, self.first_remote, interface, Phase::Open(flow), mp);
        self.on_established(agreed);
        id
    }

    /// The server's side of a first subflow whose SYN brought data that is taken (RFC 7413 §4.2): it can be
    /// read at once. With `awaits_key` it becomes MPTCP or TCP by the third ACK.
    pub(crate) fn accept_early(
        &mut self,
        ctx: &mut Ctx<'_>,
        interface: InterfaceId,
        agreed: &Agreed,
        syn: &Segment,
        segment_bytes_max: u32,
    ) -> u32 {
        self.made_early = (true, !syn.payload.is_empty());
        self.data.rcv.append(syn.payload.clone(), syn.buffer_bytes);
        let mp = SubflowState::new(AddressId(0), AddressId(0), Confirmation::Done);
        let mut flow = self.new_flow(ctx, agreed, segment_bytes_max);
        flow.await_handshake();
        let id = self.add_subflow(self.first_local, self.first_remote, interface, Phase::Open(flow), mp);
        self.on_established(agreed);
        id
    }

    /// Made by its SYN as MPTCP: it can be read, and has nothing to say before the peer's key is known.
    pub(super) fn awaits_key(&self) -> bool {
        self.data.mode == Mode::Mptcp && self.data.keys.is_none()
    }

    /// The third ACK of a subflow that [`accept_early`](Self::accept_early) made, with the peer's key and
    /// flags.
    pub(crate) fn confirm_early(
        &mut self,
        ctx: &mut Ctx<'_>,
        remote: Option<(Key, CapableFlags)>,
        window: u32,
        rtt: Option<Duration>,
    ) {
        if let Some(flow) = self.subflows.first_mut().and_then(Subflow::flow_mut) {
            flow.end_handshake(ctx.now, rtt);
        }
        if self.data.mode == Mode::Plain {
            return;
        }
        match (remote, self.subflows.first_mut()) {
            (Some((key, flags)), Some(subflow)) => {
                subflow.mp.confirmation = Confirmation::CapableServer;
                self.data.checksums = ctx.config.mptcp.checksum_enabled || flags.checksum_required;
                self.peer_denies_join = flags.deny_join_initial;
                self.set_keys(key, window);
            }
            _ => {
                ctx.counters.mp_capable_fallback_ack += 1;
                self.data.mode = Mode::Plain;
                self.on_fallback(ctx, FallbackReason::ThirdAck);
            }
        }
    }

    /// The server's side of a further subflow: the third ACK has come, and its HMAC was right.
    pub(crate) fn accept_join(
        &mut self,
        ctx: &mut Ctx<'_>,
        join: &NewJoin,
        backup_peer: bool,
        agreed: &Agreed,
        segment_bytes_max: u32,
    ) -> u32 {
        self.data.may_fall_back = false;
        let mut mp = SubflowState::new(join.local_id, join.remote_id, Confirmation::Done);
        mp.unproven = true;
        mp.backup_local = join.backup;
        mp.backup_peer = backup_peer;
        // The fourth ACK (RFC 8684 §3.2): the joiner sends no data before it.
        mp.ack_wanted = true;
        let flow = self.new_flow(ctx, agreed, segment_bytes_max);
        let id = self.add_subflow(join.local, join.remote, join.interface, Phase::Open(flow), mp);
        self.notices.push_back(Notice::SubflowEstablished { id });
        self.reinject_suspects();
        id
    }

    /// A join of the peer may be accepted. A client has to be confirmed first, as in Linux: its peer could not know
    /// that it speaks MPTCP before it has said so (RFC 8684 §3.2).
    pub(crate) fn takes_joins(&self) -> bool {
        self.is_joinable() && (self.role == Role::Server || self.fully_established)
    }

    /// A join may be accepted: both sides know that the connection is MPTCP, and it is neither ending nor on its way
    /// back to plain TCP.
    pub(crate) fn is_joinable(&self) -> bool {
        self.data.mode == Mode::Mptcp
            && self.data.keys.is_some()
            && self.stage == Stage::Established
            && self.data.failing == Failing::No
    }
}

struct VerifiedJoin {
    backup: bool,
    remote_id: AddressId,
    hmac: [u8; 20],
}
