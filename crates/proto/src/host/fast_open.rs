//! TCP Fast Open (RFC 7413): what a SYN of ours says of it, and whose data we take.
//!
//! A SYN with data and a right cookie makes its connection at once. Its request lives on beside it and
//! repeats the SYN/ACK until the third ACK comes, which on MPTCP brings the peer's key: until then such a
//! connection can be read and has nothing to send. Data on a SYN has no data sequence numbers.

use core::hash::Hasher;
use core::net::IpAddr;

use bytes::Bytes;
use polytcp_wire::mptcp::CapableFlags;
use polytcp_wire::tcp_options::FastOpenCookie;
use siphasher::sip::SipHasher24;
use subtle::ConstantTimeEq;

use super::passive::{Arrival, Purpose};
use super::third_ack::acked_key;
use super::{ConnectionId, Event, FlowRef, FourTuple, Host, ListenerId};
use crate::config::{FastOpenKeys, fastopen};
use crate::host::socket::{BufferLimits, ConnectionError};
use crate::mptcp::capable::understood_capable;
use crate::mptcp::connection::{Connection, Ctx, FastOpenOutcome, NewConnection, Role};
use crate::mptcp::hook::Mode;
use crate::mptcp::key::Key;
use crate::rng::SecretSource;
use crate::tcp::opening::{FastOpenSyn, Opening};
use crate::tcp::segment::{Outgoing, Segment};
use crate::time::{Duration, Instant};

/// MSS towards a server of which nothing is known (RFC 9293 §3.7.1).
const UNKNOWN_MSS_V4: u16 = 536;
const UNKNOWN_MSS_V6: u16 = 1220;

fn unknown_mss(server: IpAddr) -> u16 {
    if server.is_ipv6() { UNKNOWN_MSS_V6 } else { UNKNOWN_MSS_V4 }
}

/// Octets of the cookies that we give, as Linux's.
const COOKIE_BYTES: usize = 8;

/// A key that nobody knows.
pub(super) fn random_keys(secrets: &mut SecretSource) -> FastOpenKeys {
    let mut present = [0; 16];
    secrets.fill_bytes(&mut present);
    FastOpenKeys { present, before: None }
}

/// The cookie of a client under a key: SipHash-2-4 of both addresses, as Linux makes it.
fn cookie_of(key: &[u8; 16], tuple: FourTuple) -> [u8; COOKIE_BYTES] {
    let mut hash = SipHasher24::new_with_key(key);
    for address in [tuple.remote().ip(), tuple.local().ip()] {
        match address {
            IpAddr::V4(address) => hash.write(&address.octets()),
            IpAddr::V6(address) => hash.write(&address.octets()),
        }
    }
    hash.finish().to_le_bytes()
}

/// What a SYN gets of Fast Open.
pub(super) enum FastOpenVerdict {
    /// Nothing.
    Ignore,
    /// A cookie.
    Grant(FastOpenCookie),
    /// Its data is taken; a cookie of the present key if its own was of the one before.
    Take { renew: Option<FastOpenCookie> },
}

impl Host {
    /// Gives Fast Open cookies by a new key from now on, which nobody knows; those of the key before are still
    /// taken, older ones are not. Keys that are known are set by `net.ipv4.tcp_fastopen_key`.
    pub fn rotate_fast_open_key(&mut self) {
        let before = Some(self.fast_open_keys.present);
        self.fast_open_keys = FastOpenKeys { before, ..random_keys(&mut *self.secrets) };
        self.config.tcp.fastopen_keys = None;
    }

    /// Judges a SYN by its option and data (Linux's `tcp_try_fastopen`).
    pub(super) fn judge_fast_open(
        &mut self,
        tuple: FourTuple,
        listener: ListenerId,
        syn: &Segment,
    ) -> FastOpenVerdict {
        let asks = syn.options.fast_open;
        self.counters.tcp_fast_open_cookie_reqd += u64::from(asks.is_some_and(|c| c.is_request()));
        let bits = self.config.tcp.fastopen;
        let has_data = !syn.payload.is_empty() && !syn.is_fin();
        let Some(listener) = self.listener_mut(listener).filter(|listener| listener.fast_open_max > 0) else {
            return FastOpenVerdict::Ignore;
        };
        if bits & fastopen::SERVER_ENABLE == 0 || (asks.is_none() && !has_data) {
            return FastOpenVerdict::Ignore;
        }
        if listener.fast_open_pending >= listener.fast_open_max {
            self.counters.tcp_fast_open_listen_overflow += 1;
            return FastOpenVerdict::Ignore;
        }
        let right = cookie_of(&self.fast_open_keys.present, tuple);
        // As Linux: in the option in which the client asks.
        let experimental = asks.is_some_and(|cookie| cookie.is_experimental());
        let present = FastOpenCookie::new(&right).expect("eight octets are allowed");
        let present = present.in_experimental_option(experimental);
        if has_data && bits & fastopen::SERVER_COOKIE_NOT_REQD != 0 {
            return FastOpenVerdict::Take { renew: None };
        }
        let Some(cookie) = asks else { return FastOpenVerdict::Ignore };
        if cookie.is_request() {
            return FastOpenVerdict::Grant(present);
        }
        let is = |key: &[u8; 16]| bool::from(cookie_of(key, tuple)[..].ct_eq(cookie.as_slice()));
        let renew = if is(&self.fast_open_keys.present) {
            None
        } else if self.fast_open_keys.before.as_ref().is_some_and(is) {
            self.counters.tcp_fast_open_passive_alt_key += 1;
            Some(present)
        } else {
            self.counters.tcp_fast_open_passive_fail += 1;
            return FastOpenVerdict::Grant(present);
        };
        // As Linux: a cookie alone makes a connection that can write.
        FastOpenVerdict::Take { renew }
    }

    /// Makes the connection of a SYN whose data is taken. Returns what its request is for from now on.
    pub(super) fn make_at_once(
        &mut self,
        now: Instant,
        arrival: Arrival,
        opening: &mut Opening,
        purpose: &Purpose,
        syn: &Segment,
    ) -> Option<Purpose> {
        let Arrival { interface, tuple, listener } = arrival;
        let key = match purpose {
            Purpose::Plain => None,
            Purpose::Capable(key) => Some(*key),
            Purpose::Join(_) | Purpose::Made { .. } => return None,
        };
        let agreed = opening.take_syn_data(now, syn.payload.len() as u32, syn.window)?;
        let buffers =
            self.listener_mut(listener).map_or(BufferLimits::default(), |listener| listener.buffers);
        let segment_bytes_max = self.segment_bytes_max(interface);
        let new = NewConnection {
            role: Role::Server,
            mode: if key.is_some() { Mode::Mptcp } else { Mode::Plain },
            local_key: key,
            congestion_control: &self.config.tcp.congestion_control,
            local: tuple.local(),
            remote: tuple.remote(),
        };
        let ctx = Ctx { now, config: &self.config, counters: &mut self.counters };
        let mut connection = Connection::new(&ctx, &new);
        connection.set_buffers(buffers);
        let id = self.insert_connection(connection);
        if let Some(key) = key {
            self.tokens.insert(key.token(), id);
        }
        self.counters.passive_opens += 1;
        self.counters.tcp_fast_open_passive += 1;
        let (connection, mut ctx) = self.split(now, id)?;
        let subflow = connection.accept_early(&mut ctx, interface, &agreed, syn, segment_bytes_max);
        self.flows.insert(tuple, FlowRef::Unconfirmed { connection: id, subflow });
        self.keep_to_mtu(now, id, subflow);
        if let Some(found) = self.listener_mut(listener) {
            found.fast_open_pending += 1;
            found.queue.push_back(id);
            self.events.push_back(Event::Incoming(listener));
        }
        self.touch(now, id);
        Some(Purpose::Made { connection: id, key })
    }

    /// A segment for a connection that its SYN made: the third ACK, a repeated SYN, a reset.
    pub(super) fn handle_unconfirmed_segment(
        &mut self,
        now: Instant,
        tuple: FourTuple,
        id: ConnectionId,
        subflow: u32,
        segment: Segment,
    ) {
        let Some(half) = self.half_open.get_mut(&tuple) else {
            self.handle_subflow_segment(now, id, subflow, segment);
            return;
        };
        if segment.is_rst() {
            self.handle_subflow_segment(now, id, subflow, segment);
            return;
        }
        if segment.is_syn() || !segment.is_ack() {
            let _ = half.opening.handle_segment(now, &segment);
            if half.opening.deadline() <= now {
                self.half_open_ready.push_back(tuple);
            }
            return;
        }
        let key = match &half.purpose {
            Purpose::Made { key, .. } => *key,
            Purpose::Plain | Purpose::Capable(_) | Purpose::Join(_) => None,
        };
        let first = half.opening.iss() + 1;
        let flow = self.connection(id).and_then(|c| c.subflows.iter().find(|s| s.id == subflow)?.flow());
        let Some((sent, rcv_nxt, interface)) = flow
            .map(|flow| (flow.unacked(), flow.rcv_seq()))
            .and_then(|(sent, next)| Some((sent, next, self.connection(id)?.subflows.first()?.interface)))
        else {
            return;
        };
        if segment.ack.since(first).is_none_or(|acked| acked > sent) {
            // RFC 9293 §3.10.7.4: in SYN-RECEIVED an unacceptable acknowledgement is answered with a reset.
            if let Some(reset) = Outgoing::reset_for(&segment) {
                self.reply(interface, tuple.local(), tuple.remote(), &reset);
            }
            return;
        }
        let remote = key.and_then(|key| {
            let capable = understood_capable(&segment.options.mptcp)?;
            acked_key(&capable, key)
        });
        if segment.seq != rcv_nxt && (key.is_none() || remote.is_none()) {
            // Old, or data that overtook the third ACK.
            return;
        }
        let rtt = self.remove_half_open(tuple).and_then(|half| half.opening.handshake_rtt(now));
        self.flows.insert(tuple, FlowRef::Subflow { connection: id, subflow });
        self.confirm(now, id, key, remote, rtt);
        self.handle_subflow_segment(now, id, subflow, segment);
    }

    fn confirm(
        &mut self,
        now: Instant,
        id: ConnectionId,
        key: Option<Key>,
        remote: Option<(Key, CapableFlags)>,
        rtt: Option<Duration>,
    ) {
        let window = self.config.tcp.recv_window_bytes().min(u32::from(u16::MAX));
        if let (Some(key), None) = (key, remote)
            && self.tokens.get(&key.token()) == Some(&id)
        {
            self.tokens.remove(&key.token());
        }
        if let Some((connection, mut ctx)) = self.split(now, id) {
            connection.confirm_early(&mut ctx, remote, window, rtt);
        }
    }

    /// The third ACK of a connection that its SYN made never came.
    pub(super) fn give_up_unconfirmed(&mut self, now: Instant, id: ConnectionId) {
        if let Some((connection, mut ctx)) = self.split(now, id) {
            connection.fail(&mut ctx, ConnectionError::TimedOut);
            self.touch(now, id);
        }
    }

    /// What became of a SYN with Fast Open to `server` (RFC 7413 §4.1.3.1).
    pub(super) fn note_fast_open(&mut self, now: Instant, server: IpAddr, outcome: FastOpenOutcome) {
        match outcome {
            FastOpenOutcome::Answered { given } => self.known_servers.note_answer(server, given),
            FastOpenOutcome::Lost => self.known_servers.note_loss(now, server, unknown_mss(server)),
        }
    }

    /// What the SYN to `server` says of Fast Open, when there is `data` to begin with.
    pub(super) fn fast_open_syn(&self, now: Instant, server: IpAddr, data: &Bytes) -> Option<FastOpenSyn> {
        let bits = self.config.tcp.fastopen;
        if data.is_empty() || bits & fastopen::CLIENT_ENABLE == 0 {
            return None;
        }
        let known = self.known_servers.get(&server);
        if known.is_some_and(|known| known.is_avoided(now)) {
            return None;
        }
        let mss = known.map_or(unknown_mss(server), |known| known.mss);
        let option = match known.and_then(|known| known.cookie) {
            _ if bits & fastopen::CLIENT_NO_COOKIE != 0 => None,
            Some(cookie) => Some(cookie),
            None => Some(FastOpenCookie::REQUEST),
        };
        Some(FastOpenSyn { option, data: data.clone(), mss })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux gives these with `net.ipv4.tcp_fastopen_key=a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4`.
    #[test]
    fn cookies_are_linuxs() {
        let groups = [0xa1a1_a1a1_u32, 0xb2b2_b2b2, 0xc3c3_c3c3, 0xd4d4_d4d4];
        let mut key = [0; 16];
        key.chunks_exact_mut(4)
            .zip(groups)
            .for_each(|(octets, group)| octets.copy_from_slice(&group.to_le_bytes()));
        for (server, client, cookie) in [
            ("192.168.0.2:8080", "192.0.2.1:40000", 0xde4f_234f_0f43_3a55_u64),
            ("[fd3d:fa7b:d17d::]:8080", "[2001:db8::1]:40000", 0x6aa6_ae70_c288_023b),
        ] {
            let address = |text: &str| text.parse().expect("an address");
            let tuple = FourTuple::new(address(server), address(client));
            assert_eq!(cookie_of(&key, tuple), cookie.to_be_bytes(), "{server}");
        }
    }
}
