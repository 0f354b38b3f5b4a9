//! What names one TCP flow of a host.

use core::net::{IpAddr, SocketAddr};

/// A pair of ends: names one TCP flow of the host. Tables are keyed by it, so it is kept small: a [`SocketAddr`] has
/// room for fields of IPv6 that no flow is told apart by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct FourTuple {
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
}

impl FourTuple {
    /// The flow between these.
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { local: (local.ip(), local.port()), remote: (remote.ip(), remote.port()) }
    }

    /// Our address and port.
    pub(crate) fn local(&self) -> SocketAddr {
        SocketAddr::from(self.local)
    }

    /// The peer's address and port.
    pub(crate) fn remote(&self) -> SocketAddr {
        SocketAddr::from(self.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_no_larger_than_addresses_and_ports() {
        assert!(size_of::<FourTuple>() <= 40, "{}", size_of::<FourTuple>());
    }
}
