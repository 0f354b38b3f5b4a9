//! TCP Fast Open (RFC 7413): whose cookies we have.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use bytes::Bytes;
use polytcp_wire::tcp_options::FastOpenCookie;

use super::Host;
use crate::config::fastopen;
use crate::map::{Map, MapSecret};
use crate::tcp::opening::FastOpenSyn;

/// Servers whose cookies are kept at most; the oldest goes.
const SERVERS_MAX: usize = 1024;
/// MSS towards a server of which nothing is known (RFC 9293 §3.7.1).
const UNKNOWN_MSS_V4: u16 = 536;
const UNKNOWN_MSS_V6: u16 = 1220;

/// What a server said when it gave its cookie (RFC 7413 §4.1.3).
#[derive(Clone, Copy)]
pub(super) struct KnownServer {
    pub(super) cookie: FastOpenCookie,
    pub(super) mss: u16,
}

/// The cookies that servers gave us, by address: one serves all ports of its server.
pub(super) struct KnownServers {
    servers: Map<IpAddr, KnownServer>,
    order: VecDeque<IpAddr>,
}

impl KnownServers {
    pub(super) fn new(secret: MapSecret) -> Self {
        Self { servers: Map::new(secret), order: VecDeque::new() }
    }

    pub(super) fn insert(&mut self, server: IpAddr, known: KnownServer) {
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

impl Host {
    /// What the SYN to `server` says of Fast Open, when there is `data` to begin with.
    pub(super) fn fast_open_syn(&self, server: IpAddr, data: &Bytes) -> Option<FastOpenSyn> {
        let bits = self.config.tcp.fastopen;
        if data.is_empty() || bits & fastopen::CLIENT_ENABLE == 0 {
            return None;
        }
        let known = self.known_servers.servers.get(&server);
        let unknown_mss = if server.is_ipv6() { UNKNOWN_MSS_V6 } else { UNKNOWN_MSS_V4 };
        let mss = known.map_or(unknown_mss, |known| known.mss);
        let option = match known {
            _ if bits & fastopen::CLIENT_NO_COOKIE != 0 => None,
            Some(known) => Some(known.cookie),
            None => Some(FastOpenCookie::REQUEST),
        };
        Some(FastOpenSyn { option, data: data.clone(), mss })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn the_oldest_server_is_forgotten_first() {
        let mut known = KnownServers::new(MapSecret::random(&mut ChaCha8Rng::seed_from_u64(1)));
        let server = |n: u32| IpAddr::from(n.to_be_bytes());
        let cookie = FastOpenCookie::new(&[1; 8]).expect("a length that is allowed");
        for n in 0..SERVERS_MAX as u32 + 5 {
            known.insert(server(n), KnownServer { cookie, mss: 1460 });
            known.insert(server(n), KnownServer { cookie, mss: 1460 });
        }
        assert_eq!((known.servers.len(), known.order.len()), (SERVERS_MAX, SERVERS_MAX));
        assert!(known.servers.get(&server(4)).is_none() && known.servers.get(&server(5)).is_some());
    }
}
