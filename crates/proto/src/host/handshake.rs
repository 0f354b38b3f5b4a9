//! What the handshakes of the host begin with, ours and those that peers began: options, numbers and keys.

use super::socket::BufferLimits;
use super::{FourTuple, Host, emit};
use crate::config::window_within;
use crate::mptcp::key::Key;
use crate::packet::InterfaceId;
use crate::seq::SeqNum;
use crate::tcp::opening::{Offer, window_scale_for};
use crate::time::Instant;

/// RFC 8684 §3.1 wants unique tokens; Linux tries five keys and then speaks plain TCP.
const KEY_TRIES: u8 = 5;
/// With [`crate::config::MptcpConfig::idsn_near_wrap_bytes`]: draws until a key is near enough; the
/// chance of one is the range over 2^32.
const NEAR_WRAP_TRIES: u32 = 1 << 20;
/// How far beyond the numbers of the last connection the next one on its four-tuple starts: more than any window that is
/// not scaled (Linux's distance).
const AFTER_TIME_WAIT: u32 = 65_537;

impl Host {
    /// What we offer in a SYN or SYN/ACK.
    pub(super) fn offer(&self, interface: InterfaceId, tuple: FourTuple) -> Offer {
        let mtu = self.interfaces.find(interface).map_or(1280, |i| i.config.mtu);
        let tcp = &self.config.tcp;
        let ipv6 = tuple.remote().is_ipv6();
        Offer {
            mss: emit::mss_for(mtu, ipv6),
            // The scale is said once: it has to do for what the buffer may grow to (RFC 7323 §2.2).
            window_scale: window_scale_for(tcp.recv_window_max_bytes()),
            window_bytes: tcp.recv_window_bytes(),
            timestamp_offset: self.numbers.timestamp_offset(tuple.local(), tuple.remote()),
            ipv6,
            ecn: tcp.ecn,
            sack: tcp.sack,
            timestamps: tcp.timestamps,
        }
    }

    /// The same for a connection whose buffers are set.
    pub(super) fn offer_for(&self, interface: InterfaceId, tuple: FourTuple, buffers: BufferLimits) -> Offer {
        let offer = self.offer(interface, tuple).within(buffers.segment);
        let Some(recv) = buffers.recv else { return offer };
        let window_bytes = window_within(recv.get());
        Offer { window_scale: offer.window_scale.max(window_scale_for(window_bytes)), window_bytes, ..offer }
    }

    /// The initial sequence number of a new flow (RFC 6528).
    pub(super) fn initial_number(&self, tuple: FourTuple, now: Instant) -> SeqNum {
        if let Some(isn) = self.config.tcp.isn {
            return SeqNum(isn);
        }
        let isn = self.numbers.isn(tuple.local(), tuple.remote(), now);
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
}
