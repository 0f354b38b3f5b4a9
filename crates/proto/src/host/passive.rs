//! Listeners, and the handshakes of peers that connect to them (RFC 9293 §3.10.7.2; RFC 8684 §3.1, §3.2).
//!
//! A request holds little until its third ACK: the TCP handshake, and what MPTCP promised in the SYN/ACK.
//! Then it becomes a connection, or a further subflow of one. Requests per listener are bounded by its
//! backlog; at the limit a SYN is answered with a cookie (`cookies`), or dropped and the peer tries again.
//! A full accept queue drops SYNs and third ACKs alike, as in Linux.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use polytcp_wire::mptcp::{Capable, CapableFlags, CapableForm, Join, MptcpOption, Reset};
use polytcp_wire::tcp_option::TcpOption;

use super::fast_open::FastOpenVerdict;
use super::port_endpoints::JoinPort;
use super::socket::Protocol;
use super::{Event, FlowRef, FourTuple, Host, ListenerId, TimerKey, emit};
use crate::config::SynCookies;
use crate::mptcp::connection::{Connection, Emission, NewConnection, Role};
use crate::mptcp::handshake::NewJoin;
use crate::mptcp::hook::{Asked, Mode, capable, reset_reason, understood_capable};
use crate::mptcp::key::{Key, Nonce, join_hmac};
use crate::packet::InterfaceId;
use crate::pm::command::AddressId;
use crate::seq::SeqNum;
use crate::tcp::opening::{Agreed, INITIAL_RTO, Offer, Opening, OpeningVerdict, window_scale_for};
use crate::tcp::segment::{Outgoing, Segment};
use crate::time::{Duration, Instant};

/// Linux does not repeat SYN/ACKs linearly.
const LINEAR_TIMEOUTS: u8 = 0;
/// Linux's `TCP_RTO_MAX`, with which `TCP_DEFER_ACCEPT` counts timeouts.
const DEFER_RTO_MAX: Duration = Duration::from_secs(120);
/// RFC 8684 §3.1 wants unique tokens; Linux tries five keys and then speaks plain TCP.
const KEY_TRIES: u8 = 5;
/// With [`crate::config::MptcpConfig::idsn_near_wrap_bytes`]: draws until a key is near enough; the
/// chance of one is the range over 2^32.
const NEAR_WRAP_TRIES: u32 = 1 << 20;

/// A listener.
pub(super) struct Listener {
    pub(super) generation: u32,
    pub(super) local: SocketAddr,
    pub(super) protocol: Protocol,
    /// It belongs to an endpoint with a port.
    pub(super) takes_only_joins: bool,
    backlog: usize,
    /// SYN/ACK timeouts for which a third ACK without data is dropped; 0 without `TCP_DEFER_ACCEPT`.
    defer_accept: u8,
    pub(super) queue: VecDeque<super::ConnectionId>,
    half_open: usize,
    /// Connections made by their SYN whose third ACK has not come, and how many there may be.
    pub(super) fast_open_pending: usize,
    pub(super) fast_open_max: usize,
    /// When a SYN cookie left last.
    pub(super) cookie_at: Option<Instant>,
}

impl Listener {
    pub(super) fn new(
        generation: u32,
        local: SocketAddr,
        protocol: Protocol,
        backlog: usize,
        defer_accept: u8,
    ) -> Self {
        Self {
            generation,
            local,
            protocol,
            takes_only_joins: false,
            backlog,
            defer_accept,
            queue: VecDeque::new(),
            half_open: 0,
            fast_open_pending: 0,
            fast_open_max: 0,
            cookie_at: None,
        }
    }

    /// The accept queue takes no more: one more than the backlog, as in Linux.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() > self.backlog
    }

    fn matches(&self, local: SocketAddr) -> bool {
        let any = match (self.local.ip(), local.ip()) {
            (IpAddr::V4(own), IpAddr::V4(_)) => own.is_unspecified(),
            // As Linux without IPV6_V6ONLY: the unspecified IPv6 address takes IPv4 as well.
            (IpAddr::V6(own), _) => own.is_unspecified(),
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        };
        self.local.port() == local.port() && (any || self.local.ip() == local.ip())
    }
}

/// How many SYN/ACK timeouts lie within `wait`, at least one unless it is zero (Linux's `secs_to_retrans`).
pub(super) fn timeouts_within(wait: Duration) -> u8 {
    let (mut count, mut rto, mut at) = (u8::from(!wait.is_zero()), INITIAL_RTO, INITIAL_RTO);
    while wait > at && count < u8::MAX {
        count += 1;
        rto = (rto * 2).min(DEFER_RTO_MAX);
        at += rto;
    }
    count
}

/// What becomes of a SYN.
enum Admission {
    /// It becomes a request.
    Remember,
    /// It is answered with a cookie and forgotten.
    Cookie,
    /// It is dropped.
    Drop,
}

/// How far beyond the numbers of the last connection the next one on its four-tuple starts: more than any window that is
/// not scaled (Linux's distance).
const AFTER_TIME_WAIT: u32 = 65_537;

/// What a request becomes.
pub(super) enum Purpose {
    /// A connection that is plain TCP.
    Plain,
    /// An MPTCP connection with this key of ours.
    Capable(Key),
    /// A further subflow.
    Join(JoinRequest),
    /// A connection that the SYN has made already, with our key if it is to be MPTCP.
    Made { connection: super::ConnectionId, key: Option<Key> },
}

/// What a join's third ACK is checked against.
#[derive(Clone, Copy)]
pub(super) struct JoinRequest {
    pub(super) connection: super::ConnectionId,
    local_id: AddressId,
    remote_id: AddressId,
    backup_peer: bool,
    backup_local: bool,
    local_nonce: Nonce,
    remote_nonce: Nonce,
}

/// A handshake that a peer began.
pub(super) struct HalfOpen {
    pub(super) opening: Opening,
    pub(super) purpose: Purpose,
    interface: InterfaceId,
    listener: ListenerId,
    /// SYN/ACK timeouts so far.
    timeouts: u8,
    /// A third ACK came and was not taken, with the round trip that it measured.
    acked: Option<Acked>,
    /// The timer entry that stands for it.
    pub(super) armed_at: Option<Instant>,
}

struct Acked {
    rtt: Option<Duration>,
}

/// Where a handshake came to its end.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) interface: InterfaceId,
    pub(super) tuple: FourTuple,
    pub(super) listener: ListenerId,
}

impl Host {
    /// The listener for a local end: one at the very address first.
    pub(super) fn listener_for(&self, local: SocketAddr) -> Option<(ListenerId, &Listener)> {
        let all = || {
            self.listeners.iter().enumerate().filter_map(|(i, l)| {
                let listener = l.as_ref()?;
                let id = ListenerId { index: i as u32, generation: listener.generation };
                listener.matches(local).then_some((id, listener))
            })
        };
        all().find(|(_, l)| l.local.ip() == local.ip()).or_else(|| all().next())
    }

    pub(super) fn listener_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.listeners.get_mut(id.index as usize)?.as_mut().filter(|l| l.generation == id.generation)
    }

    /// What we offer in a SYN or SYN/ACK.
    pub(super) fn offer(&self, interface: InterfaceId, tuple: FourTuple) -> Offer {
        let mtu = self.interfaces.find(interface).map_or(1280, |i| i.config.mtu);
        let tcp = &self.config.tcp;
        let ipv6 = tuple.remote.is_ipv6();
        Offer {
            mss: emit::mss_for(mtu, ipv6),
            // The scale is said once: it has to do for what the buffer may grow to (RFC 7323 §2.2).
            window_scale: window_scale_for(tcp.recv_window_max_bytes()),
            window_bytes: tcp.recv_window_bytes(),
            timestamp_offset: self.numbers.timestamp_offset(tuple.local, tuple.remote),
            ipv6,
            ecn: self.config.tcp.ecn,
        }
    }

    /// The initial sequence number of a new flow (RFC 6528).
    pub(super) fn initial_number(&self, tuple: FourTuple, now: Instant) -> SeqNum {
        let isn = self.numbers.isn(tuple.local, tuple.remote, now);
        if let Some(near) = self.config.tcp.isn_near_wrap_bytes {
            return SeqNum(u32::MAX - isn.0 % near);
        }
        // RFC 9293 §3.6.1 (MAY-2): a fast connection was ahead of the clock, and old segments of it may be on the way.
        match self.time_wait.get(&tuple).map(|last| last.snd_nxt + AFTER_TIME_WAIT) {
            Some(free) if isn.before(free) => free,
            Some(_) | None => isn,
        }
    }

    /// A key whose token no connection of the host has; `None` after some tries (RFC 8684 §3.1).
    pub(super) fn unused_key(&mut self) -> Option<Key> {
        for _ in 0..KEY_TRIES {
            let key = self.draw_key();
            if !self.tokens.contains_key(&key.token()) {
                return Some(key);
            }
        }
        self.counters.mp_fallback_token_init += 1;
        None
    }

    fn draw_key(&mut self) -> Key {
        let Some(near) = self.config.mptcp.idsn_near_wrap_bytes else {
            return Key::random(&mut *self.secrets);
        };
        for _ in 0..NEAR_WRAP_TRIES {
            let key = Key::random(&mut *self.secrets);
            if u32::MAX - key.idsn().low() < near {
                return key;
            }
        }
        Key::random(&mut *self.secrets)
    }

    /// A SYN for no known four-tuple.
    pub(super) fn handle_syn(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment,
    ) {
        let Some((listener, found)) = self.listener_for(tuple.local) else {
            self.refuse(interface, tuple, segment);
            return;
        };
        let mptcp = found.protocol == Protocol::Mptcp && self.config.mptcp.enabled;
        let (half_open, backlog, is_full) = (found.half_open, found.backlog, found.is_full());
        let takes_only_joins = found.takes_only_joins;
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
                let token = crate::mptcp::key::Token(token);
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
        let offer = self.offer(interface, tuple);
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

    /// Judges a SYN by what its listener holds already (Linux's `tcp_conn_request`).
    fn admission(&mut self, half_open: usize, backlog: usize, is_full: bool) -> Admission {
        let config = &self.config.tcp;
        let many = half_open >= backlog.max(1);
        let cookie = match config.syncookies {
            SynCookies::Off if many => {
                self.counters.tcp_req_q_full_drop += 1;
                return Admission::Drop;
            }
            SynCookies::Off => false,
            SynCookies::WhenFull => many,
            SynCookies::Always => true,
        };
        self.counters.tcp_req_q_full_do_cookies += u64::from(cookie);
        if is_full {
            self.counters.listen_overflows += 1;
            return Admission::Drop;
        }
        if cookie {
            return Admission::Cookie;
        }
        let left = config.max_syn_backlog.saturating_sub(half_open);
        if config.syncookies == SynCookies::Off && left < config.max_syn_backlog / 4 {
            return Admission::Drop;
        }
        Admission::Remember
    }

    /// Judges an MP_JOIN SYN (RFC 8684 §3.2).
    fn join_request(
        &mut self,
        tuple: FourTuple,
        backup: bool,
        address_id: u8,
        token: crate::mptcp::key::Token,
        nonce: u32,
    ) -> Result<JoinRequest, u8> {
        self.counters.mp_join_syn_rx += 1;
        self.counters.mp_join_syn_backup_rx += u64::from(backup);
        let Some(id) = self.tokens.get(&token).copied() else {
            self.counters.mp_join_no_token_found += 1;
            return Err(reset_reason::MPTCP_ERROR);
        };
        let Some(connection) = self.connection(id) else { return Err(reset_reason::MPTCP_ERROR) };
        if !connection.takes_joins() {
            return Err(reset_reason::MPTCP_ERROR);
        }
        // Deviation: Linux says so with flag C and takes the join all the same; RFC 8684 §3.1 says that the sender
        // of C will not accept it.
        if connection.data.deny_join_initial && tuple.local == connection.first_local {
            self.counters.mp_join_rejected += 1;
            return Err(reset_reason::PROHIBITED);
        }
        let port = self.join_port(connection, tuple);
        let first_local = connection.first_local.ip();
        match port {
            JoinPort::First => {}
            JoinPort::Announced => self.counters.mp_join_port_syn_rx += 1,
            JoinPort::Unknown => {
                self.counters.mp_join_port_syn_rx += 1;
                self.counters.mismatch_port_syn_rx += 1;
                return Err(reset_reason::PROHIBITED);
            }
        }
        let local_id = self.pm.local_id(tuple.local, first_local);
        Ok(JoinRequest {
            connection: id,
            local_id,
            remote_id: AddressId(address_id),
            backup_peer: backup,
            backup_local: self.pm.is_backup(tuple.local),
            local_nonce: Nonce::random(&mut *self.secrets),
            remote_nonce: Nonce(nonce),
        })
    }

    pub(super) fn refuse_join(
        &mut self,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment,
        reason: u8,
    ) {
        let Some(mut reset) = Outgoing::reset_for(segment) else { return };
        let option = TcpOption::Mptcp(MptcpOption::Reset(Reset { transient: false, reason }));
        // 4 of 40 octets.
        let _ = reset.options.push(option);
        self.counters.mp_rst_tx += 1;
        self.reply(interface, tuple.local, tuple.remote, &reset);
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
            let FourTuple { local, remote } = tuple;
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

    /// A segment for a request.
    pub(super) fn handle_half_open_segment(&mut self, now: Instant, tuple: FourTuple, segment: Segment) {
        let Some(half) = self.half_open.get_mut(&tuple) else { return };
        let interface = half.interface;
        match half.opening.handle_segment(now, &segment) {
            OpeningVerdict::Ignore => {
                if half.opening.deadline() <= now {
                    self.half_open_ready.push_back(tuple);
                } else {
                    self.counters.tcp_ack_skipped_syn_recv += u64::from(segment.is_syn());
                }
            }
            OpeningVerdict::Answer(answer) => self.reply(interface, tuple.local, tuple.remote, &answer),
            OpeningVerdict::Refused => {
                self.counters.attempt_fails += 1;
                self.counters.embryonic_rsts += 1;
                self.remove_half_open(tuple);
            }
            OpeningVerdict::Crossed => {}
            OpeningVerdict::Agreed(agreed) => self.complete(now, tuple, segment, agreed),
        }
    }

    /// True when the listener of a request waits for data, and `segment` has none.
    fn is_deferred(&mut self, tuple: FourTuple, segment: &Segment, agreed: &Agreed) -> bool {
        let Some(half) = self.half_open.get(&tuple) else { return false };
        let (listener, timeouts) = (half.listener, half.timeouts);
        let defer = self.listener_mut(listener).map_or(0, |listener| listener.defer_accept);
        if timeouts >= defer || segment.end() != agreed.irs + 1 {
            return false;
        }
        self.counters.tcp_defer_accept_drop += 1;
        if let Some(half) = self.half_open.get_mut(&tuple)
            && half.acked.is_none()
        {
            half.acked = Some(Acked { rtt: agreed.rtt });
        }
        true
    }

    /// The third ACK has come: the request becomes what it was for.
    fn complete(&mut self, now: Instant, tuple: FourTuple, segment: Segment, mut agreed: Agreed) {
        let is_join = |half: &HalfOpen| matches!(half.purpose, Purpose::Join(_));
        if !self.half_open.get(&tuple).is_some_and(|half| is_join(half))
            && self.is_deferred(tuple, &segment, &agreed)
        {
            return;
        }
        let Some(half) = self.half_open.get(&tuple) else { return };
        if let Some(acked) = &half.acked {
            agreed.rtt = acked.rtt;
        }
        let agreed = &agreed;
        let arrival = Arrival { interface: half.interface, tuple, listener: half.listener };
        match &half.purpose {
            Purpose::Plain => self.complete_first(now, arrival, segment, agreed, None),
            Purpose::Capable(key) => {
                let key = *key;
                let remote = understood_capable(&segment.options.mptcp).and_then(|c| acked_key(&c, key));
                if remote.is_none() && (segment.seq != agreed.irs + 1 || is_later(&segment)) {
                    // It overtook the third ACK, or that was lost: keys are in what comes first, or once more in
                    // the answer to our next SYN/ACK.
                    return;
                }
                self.complete_first(now, arrival, segment, agreed, Some((key, remote)));
            }
            // Its segments go to the connection.
            Purpose::Made { .. } => {}
            Purpose::Join(join) => {
                let join = *join;
                self.complete_join(now, arrival, segment, agreed, &join);
            }
        }
    }

    pub(super) fn complete_first(
        &mut self,
        now: Instant,
        arrival: Arrival,
        segment: Segment,
        agreed: &Agreed,
        keys: Option<(Key, Option<(Key, CapableFlags)>)>,
    ) {
        let Arrival { interface, tuple, listener: listener_id } = arrival;
        match self.listener_mut(listener_id) {
            None => {
                self.remove_half_open(tuple);
                return;
            }
            Some(listener) if listener.is_full() => {
                self.counters.listen_overflows += 1;
                self.counters.listen_drops += 1;
                // Else the peer repeats; accept may have made room by then.
                if self.config.tcp.abort_on_overflow && self.remove_half_open(tuple).is_some() {
                    self.counters.embryonic_rsts += 1;
                    self.refuse(interface, tuple, &segment);
                }
                return;
            }
            Some(_) => {}
        }
        self.remove_half_open(tuple);
        // Another request may have drawn the same token and been faster: one of them has to do without.
        let taken = keys.is_some_and(|(local, _)| self.tokens.contains_key(&local.token()));
        self.counters.mp_fallback_token_init += u64::from(taken);
        let keys = keys.filter(|_| !taken);
        let remote = keys.and_then(|(_, remote)| remote);
        if keys.is_some() && remote.is_none() {
            self.counters.mp_capable_fallback_ack += 1;
        }
        let local_key = keys.map(|(local, _)| local).filter(|_| remote.is_some());
        let segment_bytes_max = self.segment_bytes_max(interface);
        let new = NewConnection {
            role: Role::Server,
            mode: if remote.is_some() { Mode::Mptcp } else { Mode::Plain },
            local_key,
            congestion_control: &self.config.tcp.congestion_control,
            local: tuple.local,
            remote: tuple.remote,
        };
        let ctx = crate::mptcp::connection::Ctx { now, config: &self.config, counters: &mut self.counters };
        let connection = Connection::new(&ctx, &new);
        let id = self.insert_connection(connection);
        if let Some(key) = local_key {
            self.tokens.insert(key.token(), id);
        }
        self.counters.passive_opens += 1;
        let Some((connection, mut ctx)) = self.split(now, id) else { return };
        let subflow = connection.accept_first(&mut ctx, interface, agreed, remote, segment_bytes_max);
        connection.handle_segment(&mut ctx, subflow, segment);
        self.flows.insert(tuple, FlowRef::Subflow { connection: id, subflow });
        self.keep_to_mtu(now, id, subflow);
        if let Some(listener) = self.listener_mut(listener_id) {
            listener.queue.push_back(id);
            self.events.push_back(Event::Incoming(listener_id));
        }
        self.touch(now, id);
    }

    pub(super) fn complete_join(
        &mut self,
        now: Instant,
        arrival: Arrival,
        segment: Segment,
        agreed: &Agreed,
        join: &JoinRequest,
    ) {
        let Arrival { interface, tuple, .. } = arrival;
        let hmac = segment.options.mptcp.iter().find_map(|option| match option {
            MptcpOption::Join(Join::Ack { hmac }) => Some(*hmac),
            _ => None,
        });
        if hmac.is_none() && segment.seq != agreed.irs + 1 {
            // Out-of-order data before the third ACK.
            return;
        }
        self.remove_half_open(tuple);
        let limit = self.pm.subflow_limit();
        let verdict = match self.connection(join.connection).filter(|c| c.takes_joins()) {
            None => Err(reset_reason::MPTCP_ERROR),
            Some(connection) => match (connection.data.keys, hmac) {
                (Some(keys), Some(hmac)) => {
                    let expected = join_hmac(keys.remote, keys.local, join.remote_nonce, join.local_nonce);
                    if !expected.verify_160(&hmac) {
                        self.counters.mp_join_ack_hmac_failure += 1;
                        Err(reset_reason::PROHIBITED)
                    } else if self.join_port(connection, tuple) == JoinPort::Unknown {
                        // Withdrawn since its SYN.
                        self.counters.mismatch_port_ack_rx += 1;
                        Err(reset_reason::PROHIBITED)
                    } else if connection.extra_subflows() >= limit {
                        self.counters.mp_join_rejected += 1;
                        Err(reset_reason::PROHIBITED)
                    } else {
                        Ok(())
                    }
                }
                _ => Err(reset_reason::MPTCP_ERROR),
            },
        };
        if let Err(reason) = verdict {
            self.refuse_join(interface, tuple, &segment, reason);
            return;
        }
        self.counters.mp_join_ack_rx += 1;
        let is_first_port =
            self.connection(join.connection).is_some_and(|c| c.first_local.port() == tuple.local.port());
        self.counters.mp_join_port_ack_rx += u64::from(!is_first_port);
        let segment_bytes_max = self.segment_bytes_max(interface);
        let Some((connection, mut ctx)) = self.split(now, join.connection) else { return };
        let new = NewJoin {
            local: tuple.local,
            remote: tuple.remote,
            interface,
            local_id: join.local_id,
            remote_id: join.remote_id,
            backup: join.backup_local,
            nonce: join.local_nonce,
        };
        let subflow = connection.accept_join(&mut ctx, &new, join.backup_peer, agreed, segment_bytes_max);
        connection.handle_segment(&mut ctx, subflow, segment);
        self.flows.insert(tuple, FlowRef::Subflow { connection: join.connection, subflow });
        self.keep_to_mtu(now, join.connection, subflow);
        self.touch(now, join.connection);
    }
}

/// A segment of a peer that takes the connection for MPTCP, on a path that lets its options pass.
///
/// Deviation: RFC 8684 §3.1 falls back when MP_CAPABLE is missing here, and so does Linux. A lost or late third ACK
/// would cost the connection its MPTCP; so it costs a repetition of our SYN/ACK.
fn is_later(segment: &Segment) -> bool {
    segment.options.mptcp.iter().any(|option| matches!(option, MptcpOption::Dss(_) | MptcpOption::AddAddr(_)))
}

fn is_syn_form(capable: Capable) -> bool {
    matches!(capable.form, CapableForm::Syn)
}

/// The peer's key and flags from an MP_CAPABLE that names ours.
pub(super) fn acked_key(capable: &Capable, local: Key) -> Option<(Key, CapableFlags)> {
    match capable.form {
        CapableForm::Ack { sender_key, receiver_key }
        | CapableForm::Data { sender_key, receiver_key, .. } => {
            local.verify(receiver_key).then(|| (Key::from_wire(sender_key), capable.flags))
        }
        CapableForm::Syn | CapableForm::SynAck { .. } => None,
    }
}
