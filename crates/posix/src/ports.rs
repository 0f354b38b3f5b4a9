//! Which addresses and ports are bound, by sockets that listen, will listen, or connect from there.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use rustix::io::Errno;

/// Linux's `ip_local_port_range`.
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

/// One socket's claim.
#[derive(Clone, Copy, Debug)]
struct Claim {
    owner: u64,
    address: IpAddr,
    /// Both families: an IPv6 socket at `::` that takes IPv4 too.
    dual: bool,
    shares: Shares,
    listens: bool,
}

/// With whom a socket has its address and port together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shares {
    /// `SO_REUSEADDR`: with others that have it and do not listen.
    pub(crate) unless_listening: bool,
    /// `SO_REUSEPORT`: with others that have it.
    pub(crate) port: bool,
}

impl Shares {
    fn allow(self, other: &Claim) -> bool {
        (self.port && other.shares.port)
            || (self.unless_listening && other.shares.unless_listening && !other.listens)
    }
}

/// What a socket asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Names the socket.
    pub(crate) owner: u64,
    pub(crate) local: SocketAddr,
    pub(crate) dual: bool,
    pub(crate) shares: Shares,
}

/// All claims of a table.
#[derive(Default)]
pub(crate) struct Ports {
    by_port: HashMap<u16, Vec<Claim>>,
    /// Where the search for a free port goes on.
    next: u16,
}

impl Ports {
    /// Binds, and says to which port.
    pub(crate) fn bind(&mut self, wanted: &Wanted) -> Result<u16, Errno> {
        let port = match wanted.local.port() {
            0 => self.free(wanted).ok_or(Errno::ADDRINUSE)?,
            port if self.is_taken(wanted, port) => return Err(Errno::ADDRINUSE),
            port => port,
        };
        self.by_port.entry(port).or_default().push(Claim {
            owner: wanted.owner,
            address: wanted.local.ip(),
            dual: wanted.dual,
            shares: wanted.shares,
            listens: false,
        });
        Ok(port)
    }

    /// A socket begins or ends to listen where it is bound. It must be alone there to begin.
    pub(crate) fn set_listening(&mut self, owner: u64, port: u16, listens: bool) -> Result<(), Errno> {
        let Some(claims) = self.by_port.get_mut(&port) else { return Ok(()) };
        let Some(at) = claims.iter().position(|claim| claim.owner == owner) else { return Ok(()) };
        let mine = claims[at];
        let is_blocked = claims.iter().any(|other| {
            other.owner != owner
                && other.listens
                && meet(other, &mine)
                && !(mine.shares.port && other.shares.port)
        });
        if listens && is_blocked {
            return Err(Errno::ADDRINUSE);
        }
        claims[at].listens = listens;
        Ok(())
    }

    pub(crate) fn release(&mut self, owner: u64, port: u16) {
        if let Some(claims) = self.by_port.get_mut(&port) {
            claims.retain(|claim| claim.owner != owner);
            if claims.is_empty() {
                self.by_port.remove(&port);
            }
        }
    }

    fn is_taken(&self, wanted: &Wanted, port: u16) -> bool {
        let Wanted { owner, local, dual, shares } = *wanted;
        let mine = Claim { owner, address: local.ip(), dual, shares, listens: false };
        self.by_port
            .get(&port)
            .is_some_and(|claims| claims.iter().any(|other| meet(other, &mine) && !shares.allow(other)))
    }

    fn free(&mut self, wanted: &Wanted) -> Option<u16> {
        let count = EPHEMERAL.len() as u16;
        (0..count).find_map(|_| {
            self.next = (self.next + 1) % count;
            let port = EPHEMERAL.start() + self.next;
            (!self.is_taken(wanted, port)).then_some(port)
        })
    }
}

/// The two would hear the same connections.
fn meet(a: &Claim, b: &Claim) -> bool {
    let covers = |wide: &Claim, narrow: &Claim| {
        wide.address.is_unspecified() && (wide.dual || wide.address.is_ipv4() == narrow.address.is_ipv4())
    };
    a.address == b.address || covers(a, b) || covers(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(owner: u64, local: &str) -> Wanted {
        Wanted { owner, local: local.parse().expect("address"), dual: false, shares: Shares::default() }
    }

    #[test]
    fn an_address_and_port_has_one_owner() {
        let mut ports = Ports::default();
        assert_eq!(ports.bind(&wanted(1, "10.0.0.1:80")), Ok(80));
        assert_eq!(ports.bind(&wanted(2, "10.0.0.1:80")), Err(Errno::ADDRINUSE));
        assert_eq!(ports.bind(&wanted(2, "0.0.0.0:80")), Err(Errno::ADDRINUSE));
        assert_eq!(ports.bind(&wanted(2, "10.0.0.2:80")), Ok(80));
        assert_eq!(ports.bind(&wanted(3, "[fd00::1]:80")), Ok(80));
        assert_eq!(ports.bind(&wanted(4, "[::]:80")), Err(Errno::ADDRINUSE));
        ports.release(1, 80);
        assert_eq!(ports.bind(&wanted(2, "10.0.0.1:80")), Ok(80));
    }

    #[test]
    fn both_families_are_taken_by_a_socket_for_both() {
        let mut ports = Ports::default();
        assert_eq!(ports.bind(&Wanted { dual: true, ..wanted(1, "[::]:80") }), Ok(80));
        assert_eq!(ports.bind(&wanted(2, "10.0.0.1:80")), Err(Errno::ADDRINUSE));
        assert_eq!(ports.bind(&wanted(3, "10.0.0.1:81")), Ok(81));
        assert_eq!(ports.bind(&Wanted { dual: true, ..wanted(4, "[::]:81") }), Err(Errno::ADDRINUSE));
        assert_eq!(ports.bind(&wanted(5, "[::]:81")), Ok(81));
    }

    #[test]
    fn those_that_share_may_until_one_listens() {
        let mut ports = Ports::default();
        let shares = Shares { unless_listening: true, port: false };
        let sharing = |owner| Wanted { shares, ..wanted(owner, "10.0.0.1:80") };
        assert_eq!(ports.bind(&sharing(1)), Ok(80));
        assert_eq!(ports.bind(&sharing(2)), Ok(80));
        assert_eq!(ports.set_listening(1, 80, true), Ok(()));
        assert_eq!(ports.set_listening(2, 80, true), Err(Errno::ADDRINUSE));
        assert_eq!(ports.bind(&sharing(3)), Err(Errno::ADDRINUSE));
        assert_eq!(ports.set_listening(1, 80, false), Ok(()));
        assert_eq!(ports.bind(&sharing(3)), Ok(80));
    }

    #[test]
    fn those_that_share_the_port_may_all_listen() {
        let mut ports = Ports::default();
        let shares = Shares { unless_listening: false, port: true };
        let sharing = |owner| Wanted { shares, ..wanted(owner, "10.0.0.1:80") };
        for owner in 1..3 {
            assert_eq!(ports.bind(&sharing(owner)), Ok(80));
            assert_eq!(ports.set_listening(owner, 80, true), Ok(()));
        }
        assert_eq!(ports.bind(&wanted(3, "0.0.0.0:80")), Err(Errno::ADDRINUSE));
    }

    #[test]
    fn port_zero_is_any_free_one() {
        let mut ports = Ports::default();
        let mut seen = std::collections::HashSet::new();
        for owner in 0..u64::from(EPHEMERAL.len() as u16) {
            let port = ports.bind(&wanted(owner, "10.0.0.1:0")).expect("a free port");
            assert!(EPHEMERAL.contains(&port) && seen.insert(port));
        }
        assert_eq!(ports.bind(&wanted(99_999, "0.0.0.0:0")), Err(Errno::ADDRINUSE));
    }
}
