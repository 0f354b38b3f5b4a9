//! Listeners, and which SYN one takes (RFC 9293 §3.10.7.2).

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use super::four_tuple::FourTuple;
use super::socket::{BufferLimits, Protocol};
use super::{Host, ListenerId};
use crate::config::SynCookies;
use crate::tcp::opening::INITIAL_RTO;
use crate::time::{Duration, Instant};

/// Linux's `TCP_RTO_MAX`, with which `TCP_DEFER_ACCEPT` counts timeouts.
const DEFER_RTO_MAX: Duration = Duration::from_secs(120);

/// A listener.
pub(super) struct Listener {
    pub(super) generation: u32,
    pub(super) local: SocketAddr,
    pub(super) v6_only: bool,
    pub(super) reuse_port: bool,
    pub(super) buffers: BufferLimits,
    pub(super) protocol: Protocol,
    /// It belongs to an endpoint with a port.
    pub(super) takes_only_joins: bool,
    pub(super) backlog: usize,
    /// SYN/ACK timeouts for which a third ACK without data is dropped; 0 without `TCP_DEFER_ACCEPT`.
    pub(super) defer_accept: u8,
    pub(super) queue: VecDeque<super::ConnectionId>,
    pub(super) half_open: usize,
    /// Connections made by their SYN whose third ACK has not come, and how many there may be.
    pub(super) fast_open_pending: usize,
    pub(super) fast_open_max: usize,
    /// When a SYN cookie left last.
    pub(super) cookie_at: Option<Instant>,
}

impl Listener {
    pub(super) fn new(generation: u32, local: SocketAddr, protocol: Protocol) -> Self {
        Self {
            generation,
            local,
            v6_only: false,
            reuse_port: false,
            buffers: BufferLimits::default(),
            protocol,
            takes_only_joins: false,
            backlog: 0,
            defer_accept: 0,
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

    /// How closely it is bound to a local end: not at all, to all addresses of both families, of one, or to this one.
    fn closeness(&self, local: SocketAddr) -> u8 {
        let (own, asked) = (self.local.ip(), local.ip());
        if self.local.port() != local.port() {
            0
        } else if own == asked {
            3
        } else {
            match covers(own, self.v6_only, asked) {
                false => 0,
                true if own.is_ipv4() == asked.is_ipv4() => 2,
                true => 1,
            }
        }
    }

    /// True when it and one at `local` could take the same connection.
    pub(super) fn meets(&self, local: SocketAddr, v6_only: bool) -> bool {
        let (own, other) = (self.local.ip(), local.ip());
        let port = self.local.port() == local.port();
        port && (own == other || covers(own, self.v6_only, other) || covers(other, v6_only, own))
    }
}

/// True when a socket bound to `own` takes what comes to `asked` as one of many.
fn covers(own: IpAddr, v6_only: bool, asked: IpAddr) -> bool {
    own.is_unspecified() && (own.is_ipv4() == asked.is_ipv4() || (own.is_ipv6() && !v6_only))
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
pub(super) enum Admission {
    /// It becomes a request.
    Remember,
    /// It is answered with a cookie and forgotten.
    Cookie,
    /// It is dropped.
    Drop,
}

impl Host {
    /// The listener that takes a flow: the one bound most closely; of several with `SO_REUSEPORT` always the same one,
    /// as long as they stay.
    pub(super) fn listener_for(&self, tuple: FourTuple) -> Option<(ListenerId, &Listener)> {
        let local = tuple.local();
        let all = self.listeners.iter().enumerate().filter_map(|(index, listener)| {
            let listener = listener.as_ref()?;
            let closeness = listener.closeness(local);
            let id = ListenerId { index: index as u32, generation: listener.generation };
            (closeness > 0).then_some((closeness, id, listener))
        });
        let (best, id, listener) = all.clone().reduce(|a, b| if b.0 > a.0 { b } else { a })?;
        if !listener.reuse_port {
            return Some((id, listener));
        }
        let group = all.filter(|(closeness, ..)| *closeness == best);
        let count = group.clone().count();
        let pick = self.numbers.spread(local, tuple.remote()) as usize % count;
        group.map(|(_, id, listener)| (id, listener)).nth(pick)
    }

    pub(super) fn listener_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.listeners.get_mut(id.index as usize)?.as_mut().filter(|l| l.generation == id.generation)
    }

    /// Judges a SYN by what its listener holds already (Linux's `tcp_conn_request`).
    pub(super) fn admission(&mut self, half_open: usize, backlog: usize, is_full: bool) -> Admission {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(local: &str, v6_only: bool) -> Listener {
        let local = local.parse().expect("address");
        Listener { v6_only, ..Listener::new(1, local, Protocol::Mptcp) }
    }

    #[test]
    fn the_very_address_is_closer_than_its_family_and_that_than_both_families() {
        let asked = "10.0.0.1:80".parse().expect("address");
        let closeness = |local, v6_only| listener(local, v6_only).closeness(asked);
        assert_eq!(closeness("10.0.0.1:80", false), 3);
        assert_eq!(closeness("0.0.0.0:80", false), 2);
        assert_eq!(closeness("[::]:80", false), 1);
        assert_eq!(closeness("[::]:80", true), 0);
        assert_eq!(closeness("0.0.0.0:81", false), 0);
        assert_eq!(closeness("10.0.0.2:80", false), 0);
        assert_eq!(listener("0.0.0.0:80", false).closeness("[fd00::1]:80".parse().expect("address")), 0);
    }

    #[test]
    fn two_meet_that_could_take_the_same_connection() {
        let meet =
            |a, a_only, b: &str, b_only| listener(a, a_only).meets(b.parse().expect("address"), b_only);
        assert!(meet("10.0.0.1:80", false, "10.0.0.1:80", false));
        assert!(meet("10.0.0.1:80", false, "0.0.0.0:80", false));
        assert!(meet("[::]:80", false, "10.0.0.1:80", false));
        assert!(meet("0.0.0.0:80", false, "[::]:80", false));
        assert!(!meet("0.0.0.0:80", false, "[::]:80", true));
        assert!(!meet("[::]:80", true, "10.0.0.1:80", false));
        assert!(meet("[::]:80", true, "[fd00::1]:80", false));
        assert!(!meet("0.0.0.0:80", false, "[fd00::1]:80", false));
        assert!(!meet("10.0.0.1:80", false, "10.0.0.1:81", false));
    }
}
