//! Listeners, and which SYN one takes (RFC 9293 §3.10.7.2).

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use super::socket::Protocol;
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
pub(super) enum Admission {
    /// It becomes a request.
    Remember,
    /// It is answered with a cookie and forgotten.
    Cookie,
    /// It is dropped.
    Drop,
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
