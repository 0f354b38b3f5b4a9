//! The requests of peers that connect to a listener, up to their third ACK (RFC 9293 §3.10.7.2; RFC 8684 §3.1, §3.2).
//!
//! A request holds little until its third ACK: the TCP handshake, and what MPTCP promised in the SYN/ACK.
//! Then it becomes a connection, or a further subflow of one. Requests per listener are bounded by its
//! backlog; at the limit a SYN is answered with a cookie (`cookies`), or dropped and the peer tries again.
//! A full accept queue drops SYNs and third ACKs alike, as in Linux.

use alloc::boxed::Box;

use polytcp_wire::mptcp::{Capable, CapableForm, Join, MptcpOption};
use polytcp_wire::tcp_option::TcpOption;

use super::fast_open::FastOpenVerdict;
use super::join::JoinRequest;
use super::listener::Admission;
use super::socket::Protocol;
use super::{ConnectionId, FlowRef, FourTuple, Host, ListenerId, TimerKey};
use crate::mptcp::capable::{Asked, capable, understood_capable};
use crate::mptcp::connection::Emission;
use crate::mptcp::hook::reset_reason;
use crate::mptcp::key::{Key, Token, join_hmac};
use crate::packet::InterfaceId;
use crate::tcp::opening::Opening;
use crate::tcp::segment::Segment;
use crate::time::{Duration, Instant};

/// Linux does not repeat SYN/ACKs linearly.
const LINEAR_TIMEOUTS: u8 = 0;

/// What a request becomes.
pub(super) enum Purpose {
    /// A connection that is plain TCP.
    Plain,
    /// An MPTCP connection with this key of ours.
    Capable(Key),
    /// A further subflow.
    Join(JoinRequest),
    /// A connection that the SYN has made already, with our key if it is to be MPTCP.
    Made { connection: ConnectionId, key: Option<Key> },
}

/// A handshake that a peer began.
pub(super) struct HalfOpen {
    pub(super) opening: Opening,
    pub(super) purpose: Purpose,
    pub(super) interface: InterfaceId,
    pub(super) listener: ListenerId,
    /// SYN/ACK timeouts so far.
    pub(super) timeouts: u8,
    /// A third ACK came and was not taken, with the round trip that it measured.
    pub(super) acked: Option<Acked>,
    /// The timer entry that stands for it.
    pub(super) armed_at: Option<Instant>,
}

pub(super) struct Acked {
    pub(super) rtt: Option<Duration>,
}

/// Where a handshake came to its end.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) interface: InterfaceId,
    pub(super) tuple: FourTuple,
    pub(super) listener: ListenerId,
}

impl Host {
    /// A SYN for no known four-tuple.
    pub(super) fn handle_syn(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment,
    ) {
        let Some((listener, found)) = self.listener_for(tuple) else {
            self.refuse(interface, tuple, segment);
            return;
        };
        let mptcp = found.protocol == Protocol::Mptcp && self.config.mptcp.enabled;
        let (half_open, backlog, is_full) = (found.half_open, found.backlog, found.is_full());
        let (takes_only_joins, buffers) = (found.takes_only_joins, found.buffers);
        let admission = self.admission(half_open, backlog, is_full);
        if matches!(admission, Admission::Drop) {
            self.counters.listen_drops += 1;
            return;
        }
        let iss = match admission {
            Admission::Cookie => self.cookie(now, tuple, segment),
            Admission::Remember | Admission::Drop => self.initial_number(tuple, now),
        };
        let join = segment.options.mptcp.iter().find_map(|option| match option {
            MptcpOption::Join(join @ Join::Syn { .. }) => Some(*join),
            _ => None,
        });
        let purpose = match join {
            Some(Join::Syn { backup, address_id, token, nonce }) if mptcp => {
                let token = Token(token);
                match self.join_request(tuple, backup, address_id, token, nonce) {
                    Ok(request) => Purpose::Join(request),
                    Err(reason) => {
                        self.refuse_join(interface, tuple, segment, reason);
                        return;
                    }
                }
            }
            _ if takes_only_joins => {
                self.counters.mp_capable_endp_attempt += 1;
                self.refuse_join(interface, tuple, segment, reset_reason::PROHIBITED);
                return;
            }
            _ if mptcp && understood_capable(&segment.options.mptcp).is_some_and(is_syn_form) => {
                let key = match admission {
                    Admission::Cookie => self.cookie_key(tuple, iss),
                    Admission::Remember | Admission::Drop => self.unused_key(),
                };
                match key {
                    Some(key) => {
                        self.counters.mp_capable_syn_rx += 1;
                        Purpose::Capable(key)
                    }
                    None => Purpose::Plain,
                }
            }
            _ => Purpose::Plain,
        };
        if matches!(admission, Admission::Cookie) {
            let arrival = Arrival { interface, tuple, listener };
            self.send_cookie(now, arrival, iss, &purpose, segment);
            return;
        }
        let offer = self.offer_for(interface, tuple, buffers);
        let fast_open = match &purpose {
            Purpose::Join(_) | Purpose::Made { .. } => FastOpenVerdict::Ignore,
            Purpose::Plain | Purpose::Capable(_) => self.judge_fast_open(tuple, listener, segment),
        };
        let mut opening = Opening::passive(now, iss, offer, segment);
        let mut purpose = purpose;
        let grant = match fast_open {
            FastOpenVerdict::Ignore => None,
            FastOpenVerdict::Grant(cookie) => Some(cookie),
            FastOpenVerdict::Take { renew } => {
                let arrival = Arrival { interface, tuple, listener };
                if let Some(made) = self.make_at_once(now, arrival, &mut opening, &purpose, segment) {
                    purpose = made;
                }
                renew
            }
        };
        if let Some(cookie) = grant {
            if !matches!(purpose, Purpose::Plain | Purpose::Made { key: None, .. }) {
                // Beside a cookie and a key there is no room for timestamps; Linux leaves them out as well.
                opening.leave_out_timestamps();
            }
            opening.grant(cookie);
        }
        let half =
            HalfOpen { opening, purpose, interface, listener, timeouts: 0, acked: None, armed_at: None };
        self.half_open.insert(tuple, Box::new(half));
        self.flows.get_or_insert_with(tuple, || FlowRef::HalfOpen);
        if let Some(listener) = self.listener_mut(listener) {
            listener.half_open += 1;
        }
        self.half_open_ready.push_back(tuple);
    }

    /// What MPTCP says in the SYN/ACK.
    pub(super) fn syn_ack_option(&self, purpose: &Purpose) -> Option<MptcpOption> {
        match purpose {
            Purpose::Plain | Purpose::Made { key: None, .. } => None,
            // As Linux, flag A is our own wish; the third ACK has both sides'.
            Purpose::Capable(key) | Purpose::Made { key: Some(key), .. } => Some(capable(
                CapableForm::SynAck { sender_key: key.to_wire() },
                Asked::by(&self.config.mptcp),
            )),
            Purpose::Join(join) => {
                let keys = self.connection(join.connection)?.data.keys?;
                let hmac = join_hmac(keys.local, keys.remote, join.local_nonce, join.remote_nonce);
                Some(MptcpOption::Join(Join::SynAck {
                    backup: join.backup_local,
                    address_id: join.local_id.0,
                    hmac: hmac.leftmost_64(),
                    nonce: join.local_nonce.0,
                }))
            }
        }
    }

    /// Sends the SYN/ACK of a request, when it is due.
    pub(super) fn send_syn_ack(&mut self, now: Instant, tuple: FourTuple) {
        let Some(half) = self.half_open.get(&tuple) else { return };
        let option = self.syn_ack_option(&half.purpose);
        let Some(half) = self.half_open.get_mut(&tuple) else { return };
        let segment = half.opening.poll_transmit(now, LINEAR_TIMEOUTS, |space| match option {
            Some(option) => space.push(TcpOption::Mptcp(option)),
            None => Ok(()),
        });
        let (interface, deadline) = (half.interface, half.opening.deadline());
        if half.armed_at.is_none_or(|at| deadline < at) {
            half.armed_at = Some(deadline);
            self.timers.schedule(deadline, TimerKey::HalfOpen(tuple));
        }
        if let Some(segment) = segment {
            let (local, remote) = (tuple.local(), tuple.remote());
            let emission = Emission { interface, local, remote, ip: self.config.ip, segment };
            let packet = self.packet(&emission);
            self.replies.extend(packet);
        }
    }

    pub(super) fn handle_half_open_timeout(&mut self, now: Instant, tuple: FourTuple, at: Instant) {
        let Some(half) = self.half_open.get_mut(&tuple).filter(|half| half.armed_at == Some(at)) else {
            return;
        };
        half.armed_at = None;
        let deadline = half.opening.deadline();
        if deadline > now {
            half.armed_at = Some(deadline);
            self.timers.schedule(deadline, TimerKey::HalfOpen(tuple));
            return;
        }
        let listener = half.listener;
        let defer = self.listener_mut(listener).map_or(0, |listener| listener.defer_accept);
        let Some(half) = self.half_open.get_mut(&tuple) else { return };
        // Linux's `syn_ack_recalc`: a listener that waits for data keeps a request whose peer has answered
        // for as long as it waits, and repeats the SYN/ACK only at the end of that.
        let may_wait = half.acked.is_some() && half.timeouts < defer;
        if half.timeouts >= self.config.tcp.synack_retries && !may_wait {
            self.counters.attempt_fails += 1;
            let half = self.remove_half_open(tuple);
            if let Some(Purpose::Made { connection, .. }) = half.map(|half| half.purpose) {
                self.give_up_unconfirmed(now, connection);
            }
            return;
        }
        let is_quiet = half.acked.is_some() && half.timeouts + 1 < defer;
        half.timeouts = half.timeouts.saturating_add(1);
        if is_quiet {
            half.opening.skip(now);
            let deadline = half.opening.deadline();
            half.armed_at = Some(deadline);
            self.timers.schedule(deadline, TimerKey::HalfOpen(tuple));
        } else {
            self.half_open_ready.push_back(tuple);
        }
    }

    pub(super) fn remove_half_open(&mut self, tuple: FourTuple) -> Option<Box<HalfOpen>> {
        let half = self.half_open.remove(&tuple)?;
        if matches!(self.flows.get(&tuple), Some(FlowRef::HalfOpen)) {
            self.flows.remove(&tuple);
        }
        if let Some(listener) = self.listener_mut(half.listener) {
            listener.half_open = listener.half_open.saturating_sub(1);
            let made = usize::from(matches!(half.purpose, Purpose::Made { .. }));
            listener.fast_open_pending = listener.fast_open_pending.saturating_sub(made);
        }
        self.give_up_timers(usize::from(half.armed_at.is_some()));
        Some(half)
    }
}

fn is_syn_form(capable: Capable) -> bool {
    matches!(capable.form, CapableForm::Syn)
}
