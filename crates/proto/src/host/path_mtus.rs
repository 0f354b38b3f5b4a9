//! The MTUs of paths that ICMP told, by destination, for the flows that come later (RFC 1191 §6.3, RFC 8201 §5.2).

use alloc::collections::VecDeque;
use core::net::IpAddr;

use crate::map::{Map, MapSecret};
use crate::time::{Duration, Instant};

/// Destinations remembered at most; beyond it the oldest is forgotten.
const DESTINATIONS_MAX: usize = 4096;

pub(super) struct PathMtus {
    known: Map<IpAddr, (u16, Instant)>,
    /// In the order of their expiry; a destination learnt again has an older entry that no longer counts.
    order: VecDeque<(Instant, IpAddr)>,
}

impl PathMtus {
    pub(super) fn new(secret: MapSecret) -> Self {
        Self { known: Map::new(secret), order: VecDeque::new() }
    }

    /// Packets of up to `mtu` octets reach `destination`; holds for `lifetime`.
    pub(super) fn learn(&mut self, now: Instant, destination: IpAddr, mtu: u16, lifetime: Duration) {
        while let Some((at, oldest)) = self.order.front().copied()
            && (at <= now || self.order.len() >= DESTINATIONS_MAX)
        {
            self.order.pop_front();
            if self.known.get(&oldest).is_some_and(|(_, expires_at)| *expires_at == at) {
                self.known.remove(&oldest);
            }
        }
        let expires_at = now + lifetime;
        self.known.insert(destination, (mtu, expires_at));
        self.order.push_back((expires_at, destination));
    }

    /// The MTU of the path to `destination`, if it is known to be less than the interface's.
    pub(super) fn get(&self, now: Instant, destination: IpAddr) -> Option<u16> {
        self.known.get(&destination).filter(|(_, expires_at)| now < *expires_at).map(|(mtu, _)| *mtu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SecretSource;

    fn cache() -> PathMtus {
        use rand_chacha::rand_core::SeedableRng;
        let mut source: alloc::boxed::Box<SecretSource> =
            alloc::boxed::Box::new(rand_chacha::ChaCha8Rng::seed_from_u64(1));
        PathMtus::new(MapSecret::random(&mut *source))
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn what_is_known_of_a_destination_expires() {
        let (mut cache, life) = (cache(), Duration::from_secs(600));
        cache.learn(Instant::ZERO, address(1), 1400, life);
        let later = Instant::from_millis(300_000);
        cache.learn(later, address(1), 1300, life);
        assert_eq!(cache.get(later, address(1)), Some(1300));
        assert_eq!(cache.get(later, address(2)), None);
        cache.learn(Instant::from_millis(600_000), address(2), 1400, life);
        assert_eq!(cache.get(Instant::from_millis(899_999), address(1)), Some(1300));
        assert_eq!(cache.get(Instant::from_millis(900_000), address(1)), None);
    }

    #[test]
    fn many_destinations_push_out_the_oldest() {
        let mut cache = cache();
        let life = Duration::from_secs(600);
        for n in 0..2 * DESTINATIONS_MAX as u32 {
            cache.learn(Instant::from_millis(n.into()), address(n), 1400, life);
        }
        assert!(cache.order.len() <= DESTINATIONS_MAX && cache.known.len() <= DESTINATIONS_MAX);
        let now = Instant::from_millis(2 * DESTINATIONS_MAX as u64);
        assert_eq!(cache.get(now, address(0)), None);
        assert_eq!(cache.get(now, address(2 * DESTINATIONS_MAX as u32 - 1)), Some(1400));
    }
}
