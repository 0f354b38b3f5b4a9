//! What is known of servers that Fast Open was tried with (RFC 7413 §4.1.3): their cookies, and that SYNs with data do not
//! reach them (§4.1.3.1).
//!
//! As Linux (`tcp_fastopen_cache_set`, `tcp_fastopen_cookie_check`): losses are counted in a row, and from the second one
//! on Fast Open rests for 2^losses minutes.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use polytcp_wire::tcp_options::FastOpenCookie;

use crate::map::{Map, MapSecret};
use crate::time::{Duration, Instant};

/// Servers that are known at most; the oldest goes.
const SERVERS_MAX: usize = 1024;
/// Fast Open rests that long, doubled with each loss,
const REST: Duration = Duration::from_secs(60);
/// at most so often: a day and a half.
const DOUBLINGS_MAX: u8 = 11;

/// What is known of one server.
#[derive(Clone, Copy)]
pub(super) struct KnownServer {
    /// None where Fast Open is used without cookies.
    pub(super) cookie: Option<FastOpenCookie>,
    /// The MSS that it said beside the cookie.
    pub(super) mss: u16,
    /// SYNs with data in a row that were lost.
    losses: u8,
    lost_at: Instant,
}

impl KnownServer {
    /// Neither cookie nor data should be on a SYN to it.
    pub(super) fn is_avoided(&self, now: Instant) -> bool {
        self.losses > 1 && now < self.lost_at + REST.saturating_mul(1 << self.losses.min(DOUBLINGS_MAX))
    }
}

/// By address: one cookie serves all ports of its server.
pub(super) struct KnownServers {
    servers: Map<IpAddr, KnownServer>,
    order: VecDeque<IpAddr>,
}

impl KnownServers {
    pub(super) fn new(secret: MapSecret) -> Self {
        Self { servers: Map::new(secret), order: VecDeque::new() }
    }

    pub(super) fn get(&self, server: &IpAddr) -> Option<&KnownServer> {
        self.servers.get(server)
    }

    /// It answered a SYN with Fast Open, and perhaps gave a cookie: nothing is in the way of such SYNs.
    pub(super) fn note_answer(&mut self, server: IpAddr, given: Option<(FastOpenCookie, u16)>) {
        let before = self.servers.get(&server).copied();
        let known = match (given, before) {
            (Some((cookie, mss)), _) => (Some(cookie), mss),
            (None, Some(known)) => (known.cookie, known.mss),
            (None, None) => return,
        };
        let (cookie, mss) = known;
        self.insert(server, KnownServer { cookie, mss, losses: 0, lost_at: Instant::ZERO });
    }

    /// A SYN with data got no answer. `mss` is for a server of which nothing is known.
    pub(super) fn note_loss(&mut self, now: Instant, server: IpAddr, mss: u16) {
        let before = self.servers.get(&server).copied();
        let known = before.unwrap_or(KnownServer { cookie: None, mss, losses: 0, lost_at: now });
        let losses = known.losses.saturating_add(1);
        self.insert(server, KnownServer { losses, lost_at: now, ..known });
    }

    fn insert(&mut self, server: IpAddr, known: KnownServer) {
        if self.servers.insert(server, known).is_some() {
            return;
        }
        self.order.push_back(server);
        if self.order.len() > SERVERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.servers.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn nobody() -> KnownServers {
        KnownServers::new(MapSecret::random(&mut ChaCha8Rng::seed_from_u64(1)))
    }

    fn server(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn cookie() -> FastOpenCookie {
        FastOpenCookie::new(&[1; 8]).expect("a length that is allowed")
    }

    #[test]
    fn the_oldest_server_is_forgotten_first() {
        let mut known = nobody();
        for n in 0..SERVERS_MAX as u32 + 5 {
            known.note_answer(server(n), Some((cookie(), 1460)));
            known.note_loss(Instant::ZERO, server(n), 536);
        }
        assert_eq!((known.servers.len(), known.order.len()), (SERVERS_MAX, SERVERS_MAX));
        assert!(known.get(&server(4)).is_none() && known.get(&server(5)).is_some());
    }

    #[test]
    fn from_the_second_loss_in_a_row_the_rest_doubles_up_to_a_day_and_a_half() {
        let mut known = nobody();
        let is_avoided = |known: &KnownServers, at| known.get(&server(1)).is_some_and(|k| k.is_avoided(at));
        let mut now = Instant::from_millis(5);
        known.note_loss(now, server(1), 536);
        assert!(!is_avoided(&known, now));
        for minutes in [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 2048] {
            known.note_loss(now, server(1), 536);
            let end = now + Duration::from_secs(60 * minutes);
            assert!(is_avoided(&known, end - Duration::from_millis(1)), "{minutes}");
            assert!(!is_avoided(&known, end), "{minutes}");
            now = end;
        }
        known.note_answer(server(1), None);
        known.note_loss(now, server(1), 536);
        assert!(!is_avoided(&known, now));
    }
}
