//! Which addresses and ports are taken: by sockets that are bound, that listen or are connected there, and by connections that
//! closed sockets left behind.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use rustix::io::Errno;

/// Linux's `ip_local_port_range`.
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

/// Flows are kept at least up to this number before those that are over are looked for.
const FLOWS_MIN: usize = 64;

/// Whom a port belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Owner {
    /// A socket of the table, by its number.
    Socket(u64),
    /// What is left of one: a connection that ends by itself, or TIME-WAIT.
    Flow(SocketAddr, SocketAddr),
}

/// One claim of an address and a port.
#[derive(Clone, Copy, Debug)]
struct Claim {
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

impl Wanted {
    fn claim(&self) -> Claim {
        Claim { address: self.local.ip(), dual: self.dual, shares: self.shares, listens: false }
    }
}

/// All claims of a table.
#[derive(Default)]
pub(crate) struct Ports {
    by_port: HashMap<u16, HashMap<Owner, Claim>>,
    /// Flows among them, and how many there may be before those that are over are looked for.
    flows: usize,
    flows_max: usize,
    /// Where the search for a free port goes on.
    next: u16,
}

impl Ports {
    /// Binds, and says to which port. `is_live` says whether a flow, named by its ends, is still there.
    pub(crate) fn bind(
        &mut self,
        wanted: &Wanted,
        is_live: impl Fn(SocketAddr, SocketAddr) -> bool,
    ) -> Result<u16, Errno> {
        let port = match wanted.local.port() {
            0 => self.free(wanted).ok_or(Errno::ADDRINUSE)?,
            port => {
                self.forget_flows_of(port, is_live);
                if self.is_taken(wanted, port) {
                    return Err(Errno::ADDRINUSE);
                }
                port
            }
        };
        self.by_port.entry(port).or_default().insert(Owner::Socket(wanted.owner), wanted.claim());
        Ok(port)
    }

    /// A socket has a connection with an address and port that it was not bound to: nobody was asked.
    pub(crate) fn hold(&mut self, wanted: &Wanted) {
        let claims = self.by_port.entry(wanted.local.port()).or_default();
        claims.entry(Owner::Socket(wanted.owner)).or_insert_with(|| wanted.claim());
    }

    /// A socket shares in another way from now on.
    pub(crate) fn set_shares(&mut self, owner: u64, port: u16, shares: Shares) {
        if let Some(claim) = self.claim_mut(owner, port) {
            claim.shares = shares;
        }
    }

    /// A socket begins or ends to listen where it is bound. Nobody else may listen there.
    pub(crate) fn set_listening(&mut self, owner: u64, port: u16, listens: bool) -> Result<(), Errno> {
        let Some(mine) = self.claim_mut(owner, port).copied() else { return Ok(()) };
        let is_blocked = self.by_port.get(&port).is_some_and(|claims| {
            claims.iter().any(|(other, claim)| {
                *other != Owner::Socket(owner)
                    && claim.listens
                    && meet(claim, &mine)
                    && !mine.shares.allow(claim)
            })
        });
        if listens && is_blocked {
            return Err(Errno::ADDRINUSE);
        }
        if let Some(claim) = self.claim_mut(owner, port) {
            claim.listens = listens;
        }
        Ok(())
    }

    /// A socket gives its port up.
    pub(crate) fn release(&mut self, owner: u64, port: u16) {
        self.remove(Owner::Socket(owner), port);
    }

    /// A socket goes, and leaves a connection that ends by itself: the port is the connection's now.
    pub(crate) fn leave_to_flow(
        &mut self,
        owner: u64,
        (local, remote): (SocketAddr, SocketAddr),
        is_live: impl Fn(SocketAddr, SocketAddr) -> bool,
    ) {
        let port = local.port();
        let Some(claim) = self.remove(Owner::Socket(owner), port) else { return };
        if self.flows >= self.flows_max {
            let ports: Vec<u16> = self.by_port.keys().copied().collect();
            ports.into_iter().for_each(|port| self.forget_flows_of(port, &is_live));
            self.flows_max = (self.flows * 2).max(FLOWS_MIN);
        }
        let claim = Claim { address: local.ip(), dual: false, ..claim };
        let before = self.by_port.entry(port).or_default().insert(Owner::Flow(local, remote), claim);
        self.flows += usize::from(before.is_none());
    }

    fn claim_mut(&mut self, owner: u64, port: u16) -> Option<&mut Claim> {
        self.by_port.get_mut(&port)?.get_mut(&Owner::Socket(owner))
    }

    fn remove(&mut self, owner: Owner, port: u16) -> Option<Claim> {
        let claims = self.by_port.get_mut(&port)?;
        let claim = claims.remove(&owner);
        if claims.is_empty() {
            self.by_port.remove(&port);
        }
        claim
    }

    fn forget_flows_of(&mut self, port: u16, is_live: impl Fn(SocketAddr, SocketAddr) -> bool) {
        let Some(claims) = self.by_port.get_mut(&port) else { return };
        let before = claims.len();
        claims.retain(|owner, _| match owner {
            Owner::Socket(_) => true,
            Owner::Flow(local, remote) => is_live(*local, *remote),
        });
        self.flows -= before - claims.len();
        if claims.is_empty() {
            self.by_port.remove(&port);
        }
    }

    fn is_taken(&self, wanted: &Wanted, port: u16) -> bool {
        let mine = wanted.claim();
        self.by_port.get(&port).is_some_and(|claims| {
            claims.values().any(|other| meet(other, &mine) && !mine.shares.allow(other))
        })
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

    fn bind(ports: &mut Ports, wanted: &Wanted) -> Result<u16, Errno> {
        ports.bind(wanted, |_, _| true)
    }

    #[test]
    fn an_address_and_port_has_one_owner() {
        let mut ports = Ports::default();
        assert_eq!(bind(&mut ports, &wanted(1, "10.0.0.1:80")), Ok(80));
        assert_eq!(bind(&mut ports, &wanted(2, "10.0.0.1:80")), Err(Errno::ADDRINUSE));
        assert_eq!(bind(&mut ports, &wanted(2, "0.0.0.0:80")), Err(Errno::ADDRINUSE));
        assert_eq!(bind(&mut ports, &wanted(2, "10.0.0.2:80")), Ok(80));
        assert_eq!(bind(&mut ports, &wanted(3, "[fd00::1]:80")), Ok(80));
        assert_eq!(bind(&mut ports, &wanted(4, "[::]:80")), Err(Errno::ADDRINUSE));
        ports.release(1, 80);
        assert_eq!(bind(&mut ports, &wanted(2, "10.0.0.1:80")), Ok(80));
    }

    #[test]
    fn both_families_are_taken_by_a_socket_for_both() {
        let mut ports = Ports::default();
        assert_eq!(bind(&mut ports, &Wanted { dual: true, ..wanted(1, "[::]:80") }), Ok(80));
        assert_eq!(bind(&mut ports, &wanted(2, "10.0.0.1:80")), Err(Errno::ADDRINUSE));
        assert_eq!(bind(&mut ports, &wanted(3, "10.0.0.1:81")), Ok(81));
        assert_eq!(bind(&mut ports, &Wanted { dual: true, ..wanted(4, "[::]:81") }), Err(Errno::ADDRINUSE));
        assert_eq!(bind(&mut ports, &wanted(5, "[::]:81")), Ok(81));
    }

    #[test]
    fn those_that_share_may_until_one_listens() {
        let mut ports = Ports::default();
        let shares = Shares { unless_listening: true, port: false };
        let sharing = |owner| Wanted { shares, ..wanted(owner, "10.0.0.1:80") };
        assert_eq!(bind(&mut ports, &sharing(1)), Ok(80));
        assert_eq!(bind(&mut ports, &sharing(2)), Ok(80));
        assert_eq!(ports.set_listening(1, 80, true), Ok(()));
        assert_eq!(ports.set_listening(2, 80, true), Err(Errno::ADDRINUSE));
        assert_eq!(bind(&mut ports, &sharing(3)), Err(Errno::ADDRINUSE));
        assert_eq!(ports.set_listening(1, 80, false), Ok(()));
        assert_eq!(bind(&mut ports, &sharing(3)), Ok(80));
    }

    #[test]
    fn those_that_share_the_port_may_all_listen() {
        let mut ports = Ports::default();
        let shares = Shares { unless_listening: false, port: true };
        let sharing = |owner| Wanted { shares, ..wanted(owner, "10.0.0.1:80") };
        for owner in 1..3 {
            assert_eq!(bind(&mut ports, &sharing(owner)), Ok(80));
            assert_eq!(ports.set_listening(owner, 80, true), Ok(()));
        }
        assert_eq!(bind(&mut ports, &wanted(3, "0.0.0.0:80")), Err(Errno::ADDRINUSE));
    }

    #[test]
    fn a_connection_keeps_the_port_of_its_socket_until_it_is_over() {
        let mut ports = Ports::default();
        let (local, remote) =
            ("10.0.0.1:80".parse().expect("address"), "10.0.0.9:7".parse().expect("address"));
        ports.hold(&Wanted { local, ..wanted(1, "10.0.0.1:80") });
        assert_eq!(bind(&mut ports, &wanted(2, "10.0.0.1:80")), Err(Errno::ADDRINUSE));
        ports.leave_to_flow(1, (local, remote), |_, _| true);
        assert_eq!(bind(&mut ports, &wanted(2, "0.0.0.0:80")), Err(Errno::ADDRINUSE));
        assert_eq!(ports.bind(&wanted(2, "0.0.0.0:80"), |_, _| false), Ok(80));
        assert_eq!(ports.flows, 0);
    }

    #[test]
    fn connections_that_are_over_are_forgotten_by_and_by() {
        let mut ports = Ports::default();
        for owner in 0..10_000 {
            let local = SocketAddr::from(([10, 0, 0, 1], 80));
            let remote = SocketAddr::from(([10, 0, 0, 9], owner as u16));
            ports.hold(&Wanted { local, ..wanted(owner, "10.0.0.1:80") });
            ports.leave_to_flow(owner, (local, remote), |_, _| false);
        }
        assert!(ports.flows <= FLOWS_MIN, "{}", ports.flows);
    }

    #[test]
    fn port_zero_is_any_free_one() {
        let mut ports = Ports::default();
        let mut seen = std::collections::HashSet::new();
        for owner in 0..u64::from(EPHEMERAL.len() as u16) {
            let port = bind(&mut ports, &wanted(owner, "10.0.0.1:0")).expect("a free port");
            assert!(EPHEMERAL.contains(&port) && seen.insert(port));
        }
        assert_eq!(bind(&mut ports, &wanted(99_999, "0.0.0.0:0")), Err(Errno::ADDRINUSE));
    }
}
