//! Handshakes of peers that are not remembered: SYN cookies (RFC 4987 §3.6), with MPTCP as Linux has it.
//!
//! The key of a connection follows from the cookie, and the third ACK has to repeat it. A join cannot be
//! packed into a cookie: its nonces and addresses go to a small table in which a newer one overwrites an
//! older one, so that a flood costs no more than the table.

use alloc::boxed::Box;
use alloc::vec;

use polytcp_wire::mptcp::{Join, MptcpOption};
use polytcp_wire::tcp_option::TcpOption;

use super::join::JoinRequest;
use super::passive::{Arrival, Purpose};
use super::socket::Protocol;
use super::third_ack::acked_key;
use super::{FourTuple, Host};
use crate::config::{Ecn, SynCookies};
use crate::mptcp::capable::understood_capable;
use crate::mptcp::hook::reset_reason;
use crate::mptcp::key::Key;
use crate::packet::InterfaceId;
use crate::seq::SeqNum;
use crate::tcp::cookie::{self, Ends, VALID};
use crate::tcp::opening::{Opening, asks_for_ecn, timestamp_at};
use crate::tcp::segment::Segment;
use crate::time::Instant;

/// Joins that wait for their third ACK, as in Linux (`COOKIE_JOIN_SLOTS`).
const JOIN_SLOTS: usize = 1024;

/// Joins that a cookie stands for. Takes no memory before the first.
#[derive(Default)]
pub(super) struct JoinCookies {
    slots: Box<[Option<JoinCookie>]>,
}

#[derive(Clone, Copy)]
struct JoinCookie {
    tuple: FourTuple,
    irs: SeqNum,
    request: JoinRequest,
}

impl JoinCookies {
    fn insert(&mut self, slot: u32, cookie: JoinCookie) {
        if self.slots.is_empty() {
            self.slots = vec![None; JOIN_SLOTS].into_boxed_slice();
        }
        self.slots[slot as usize % JOIN_SLOTS] = Some(cookie);
    }

    /// Takes the join out: its third ACK is good for one subflow.
    fn take(&mut self, slot: u32, tuple: FourTuple, irs: SeqNum) -> Option<JoinRequest> {
        let found = self.slots.get_mut(slot as usize % JOIN_SLOTS)?;
        let cookie = found.take_if(|cookie| cookie.tuple == tuple && cookie.irs == irs)?;
        Some(cookie.request)
    }
}

impl Host {
    /// The number of the SYN/ACK that answers `syn` without a request.
    pub(super) fn cookie(&self, now: Instant, tuple: FourTuple, syn: &Segment) -> SeqNum {
        // 536 and 1220 octets without the option (RFC 9293 §3.7.1) are the tables' smallest.
        self.cookies.encode(ends(tuple), syn.seq, syn.options.mss.unwrap_or(0), now)
    }

    /// Our key of the handshake with that cookie; `None` when a connection has its token. Linux draws a
    /// key, forgets it, and takes what the third ACK repeats; a peer cannot choose this one.
    pub(super) fn cookie_key(&mut self, tuple: FourTuple, cookie: SeqNum) -> Option<Key> {
        let key = Key::from_wire(self.cookies.secret_of(ends(tuple), cookie));
        if self.tokens.contains_key(&key.token()) {
            self.counters.mp_fallback_token_init += 1;
            return None;
        }
        Some(key)
    }

    /// Answers a SYN with a cookie and forgets it.
    pub(super) fn send_cookie(
        &mut self,
        now: Instant,
        arrival: Arrival,
        cookie: SeqNum,
        purpose: &Purpose,
        syn: &Segment,
    ) {
        let Arrival { interface, tuple, listener } = arrival;
        if let Purpose::Join(request) = purpose {
            // The limit is checked now, as in Linux: the third ACK may find the table overwritten.
            let limit = self.pm.subflow_limit();
            if self.connection(request.connection).is_none_or(|c| c.extra_subflows() >= limit) {
                self.counters.mp_join_rejected += 1;
                self.refuse_join(interface, tuple, syn, reset_reason::PROHIBITED);
                return;
            }
            let slot = self.cookies.slot(ends(tuple), syn.seq);
            self.join_cookies.insert(slot, JoinCookie { tuple, irs: syn.seq, request: *request });
        }
        let mut segment = None;
        if let Some(listener) = self.listener_mut(listener) {
            listener.cookie_at = Some(now);
            segment = listener.buffers.segment;
        }
        let mut syn = syn.clone();
        let mut offer = self.offer(interface, tuple).within(segment);
        if syn.options.timestamps.is_some() && offer.timestamps {
            let clock = timestamp_at(now, 0);
            let ecn = offer.ecn != Ecn::Off && asks_for_ecn(&syn);
            let sack = syn.options.sack_permitted && offer.sack;
            let stamp = cookie::stamp(clock, syn.options.window_scale, sack, ecn);
            offer.timestamp_offset = offer.timestamp_offset.wrapping_sub(clock.wrapping_sub(stamp));
        } else {
            // Nothing would bring these back.
            syn.options.window_scale = None;
            syn.options.sack_permitted = false;
            offer.ecn = Ecn::Off;
        }
        let option = self.syn_ack_option(purpose);
        let mut opening = Opening::passive(now, cookie, offer, &syn);
        let syn_ack = opening.poll_transmit(now, 0, |space| match option {
            Some(option) => space.push(TcpOption::Mptcp(option)),
            None => Ok(()),
        });
        if let Some(syn_ack) = syn_ack {
            self.counters.syncookies_sent += 1;
            self.reply(interface, tuple.local(), tuple.remote(), &syn_ack);
        }
    }

    /// Takes a segment for no known four-tuple, if it is the third ACK of a handshake with a cookie. False
    /// when it is not, and should be refused.
    pub(super) fn handle_cookie(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment,
    ) -> bool {
        let is_third = segment.is_ack() && !segment.is_syn() && !segment.is_rst();
        if !is_third || self.config.tcp.syncookies == SynCookies::Off {
            return false;
        }
        let Some((listener, found)) = self.listener_for(tuple) else { return false };
        if found.cookie_at.is_none_or(|at| now >= at + VALID) {
            return false;
        }
        let mptcp = found.protocol == Protocol::Mptcp && self.config.mptcp.enabled;
        let most = found.buffers.segment;
        let (irs, cookie) = (segment.seq + u32::MAX, segment.ack + u32::MAX);
        let Some(mss) = self.cookies.decode(ends(tuple), irs, cookie, now) else {
            self.counters.syncookies_failed += 1;
            return false;
        };
        self.counters.syncookies_recv += 1;
        let agreed = cookie::agreed(&self.offer(interface, tuple).within(most), segment, mss);
        let arrival = Arrival { interface, tuple, listener };
        let is_join = |option: &MptcpOption| matches!(option, MptcpOption::Join(Join::Ack { .. }));
        let keys = match understood_capable(&segment.options.mptcp) {
            Some(capable) if mptcp => {
                let key = Key::from_wire(self.cookies.secret_of(ends(tuple), cookie));
                match acked_key(&capable, key) {
                    Some(remote) if !self.tokens.contains_key(&key.token()) => Some((key, Some(remote))),
                    // Not our key, or a connection with its token has come meanwhile.
                    _ => return true,
                }
            }
            _ if mptcp && segment.options.mptcp.iter().any(is_join) => {
                let slot = self.cookies.slot(ends(tuple), irs);
                if let Some(request) = self.join_cookies.take(slot, tuple, irs) {
                    self.complete_join(now, arrival, segment.clone(), &agreed, &request);
                }
                return true;
            }
            _ => None,
        };
        self.complete_first(now, arrival, segment.clone(), &agreed, keys);
        true
    }
}

fn ends(tuple: FourTuple) -> Ends {
    Ends { local: tuple.local(), remote: tuple.remote() }
}
