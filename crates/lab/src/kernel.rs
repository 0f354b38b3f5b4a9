//! The Linux kernel of one namespace: its sockets, path manager, sysctls, counters and links.

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use polytcp_control::{ControlError, Events, KernelClient};
use polytcp_proto::pm::command::{AddressId, Endpoint, PmCommand, PmReply};
use socket2::{Domain, Socket, Type};

use crate::counters::Counters;
use crate::error::{Context, LabError};
use crate::listener::KernelListener;
use crate::namespace::Namespace;
use crate::path::{EndpointBinding, Limits, PathAddress, PathConfig};
use crate::routing::{DefaultRoute, IpFamily, LinkState, Routing};
use crate::stream::{KernelStream, Protocol};
use crate::sysctl;

/// A kernel in its own network namespace. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Kernel {
    namespace: Namespace,
}

impl Kernel {
    /// A new namespace with loopback up, reverse-path filters off and no IPv6 chatter.
    pub fn create() -> Result<Self, LabError> {
        let namespace = Namespace::create()?;
        namespace.run(|| {
            for (name, value) in QUIET {
                sysctl::set(name, value)?;
            }
            let mut routing = Routing::open()?;
            let lo = routing.link_index("lo")?;
            routing.set_link(lo, LinkState::Up)?;
            for family in IpFamily::BOTH {
                routing.add_rule_connected_first(family, PRIORITY_CONNECTED)?;
            }
            Ok::<(), LabError>(())
        })?;
        Ok(Self { namespace })
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Runs `work` on a thread inside the namespace and returns its result.
    ///
    /// # Panics
    /// When `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.run(work)
    }

    /// Starts a thread inside the namespace.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.namespace.spawn(work)
    }

    /// Listens at `local`; port 0 lets the kernel choose.
    pub fn listen(&self, local: SocketAddr, protocol: Protocol) -> io::Result<KernelListener> {
        let socket = self.socket(local, protocol)?;
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    }

    /// Connects to `remote`, from `local` if given, with the congestion control if given. Blocks.
    pub fn connect(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        protocol: Protocol,
        congestion: Option<&str>,
    ) -> io::Result<KernelStream> {
        let socket = self.prepare(local, remote, protocol, congestion)?;
        socket.connect(&remote.into())?;
        Ok(socket.into())
    }

    /// As [`connect`](Self::connect), from the namespace that the calling thread is in: for code inside
    /// [`run`](Self::run) that connects often, since a thread for each would cost more than the connection.
    pub fn connect_here(remote: SocketAddr, protocol: Protocol) -> io::Result<KernelStream> {
        let domain = Domain::for_address(remote);
        let socket = Socket::new(domain, Type::STREAM, Some(protocol.into()))?;
        socket.connect(&remote.into())?;
        Ok(socket.into())
    }

    /// As [`connect`](Self::connect), but fails with `TimedOut` when it takes longer than `wait`.
    pub fn connect_within(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        protocol: Protocol,
        wait: Duration,
    ) -> io::Result<KernelStream> {
        let socket = self.prepare(local, remote, protocol, None)?;
        socket.connect_timeout(&remote.into(), wait)?;
        Ok(socket.into())
    }

    /// An unbound, unconnected socket of the namespace, for anything else.
    pub fn socket(&self, family_of: SocketAddr, protocol: Protocol) -> io::Result<Socket> {
        let domain = Domain::for_address(family_of);
        self.run(|| Socket::new(domain, Type::STREAM, Some(protocol.into())))
    }

    fn prepare(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        protocol: Protocol,
        congestion: Option<&str>,
    ) -> io::Result<Socket> {
        let socket = self.socket(remote, protocol)?;
        if let Some(name) = congestion {
            socket.set_tcp_congestion(name.as_bytes())?;
        }
        if let Some(local) = local {
            socket.bind(&local.into())?;
        }
        Ok(socket)
    }

    /// Has the kernel's path manager carry out a command.
    pub fn command(&self, command: &PmCommand) -> Result<PmReply, ControlError> {
        self.run(|| KernelClient::open()?.command(command))
    }

    /// Subscribes to the path manager's events.
    pub fn events(&self) -> Result<Events, ControlError> {
        self.run(Events::subscribe)
    }

    /// Adds an endpoint.
    pub fn endpoint_add(&self, endpoint: Endpoint) -> Result<(), ControlError> {
        self.command(&PmCommand::AddAddr(endpoint)).map(drop)
    }

    /// Deletes the endpoint with that id.
    pub fn endpoint_delete(&self, id: AddressId) -> Result<(), ControlError> {
        self.command(&PmCommand::DelAddr { id, address: None }).map(drop)
    }

    /// Deletes all endpoints.
    pub fn endpoint_flush(&self) -> Result<(), ControlError> {
        self.command(&PmCommand::FlushAddrs).map(drop)
    }

    /// All endpoints.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, ControlError> {
        match self.command(&PmCommand::DumpAddr { token: None })? {
            PmReply::Endpoints(list) => Ok(list),
            PmReply::Done | PmReply::Endpoint(_) | PmReply::Limits { .. } => Ok(Vec::new()),
        }
    }

    /// Sets both limits.
    pub fn limits_set(&self, limits: Limits) -> Result<(), ControlError> {
        let subflows = Some(limits.subflows);
        let add_addr_accepted = Some(limits.add_addr_accepted);
        self.command(&PmCommand::SetLimits { subflows, add_addr_accepted }).map(drop)
    }

    /// Sets a sysctl of the namespace, named with dots.
    pub fn sysctl_set(&self, name: &str, value: &str) -> Result<(), LabError> {
        self.run(|| sysctl::set(name, value))
    }

    /// Reads a sysctl of the namespace.
    pub fn sysctl_get(&self, name: &str) -> Result<String, LabError> {
        self.run(|| sysctl::read(name))
    }

    /// The namespace's counters now.
    pub fn counters(&self) -> Result<Counters, LabError> {
        self.run(Counters::read)
    }

    /// The index of a link.
    pub fn link_index(&self, name: &str) -> Result<u32, LabError> {
        self.run(|| Routing::open()?.link_index(name))
    }

    /// Brings a link up with addresses, which are usable when this returns, and has packets from these
    /// leave through it.
    ///
    /// Networks that are directly connected come first, then the source address decides, then the
    /// metric of the default routes, which rises with `number`: so a packet to the peer's address of
    /// path i leaves on path i, whichever of the kernel's addresses it is from, unless its socket is
    /// bound to a device.
    pub(crate) fn link_configure(
        &self,
        name: &str,
        number: u8,
        addresses: &[PathAddress],
    ) -> Result<u32, LabError> {
        self.run(|| {
            let mut routing = Routing::open()?;
            let index = routing.link_index(name)?;
            routing.set_link(index, LinkState::Up)?;
            for address in addresses {
                routing.add_address(index, address.own, address.prefix_len)?;
            }
            route_through(&mut routing, index, number, addresses)?;
            let table = policy_table(number);
            for address in addresses {
                routing.add_rule_from(address.own, table, PRIORITY_SOURCE + u32::from(number))?;
            }
            await_local(&mut routing, addresses)?;
            Ok(index)
        })
    }

    /// Sets a link down: it loses its routes and its IPv6 addresses.
    pub(crate) fn link_down(&self, name: &str) -> Result<(), LabError> {
        self.run(|| {
            let mut routing = Routing::open()?;
            let index = routing.link_index(name)?;
            routing.set_link(index, LinkState::Down)
        })
    }

    /// Brings a link up again, with what it lost when it went down, usable when this returns.
    pub(crate) fn link_restore(
        &self,
        name: &str,
        number: u8,
        addresses: &[PathAddress],
    ) -> Result<(), LabError> {
        self.run(|| {
            let mut routing = Routing::open()?;
            let index = routing.link_index(name)?;
            routing.set_link(index, LinkState::Up)?;
            for address in addresses.iter().filter(|address| address.own.is_ipv6()) {
                routing.add_address(index, address.own, address.prefix_len)?;
            }
            route_through(&mut routing, index, number, addresses)?;
            await_local(&mut routing, addresses)
        })
    }

    /// Adds the endpoints that a path asks for, on its end with these addresses.
    pub(crate) fn endpoints_configure(
        &self,
        path: &PathConfig,
        link: u32,
        addresses: &[PathAddress],
    ) -> Result<(), LabError> {
        let Some(flags) = path.endpoint else { return Ok(()) };
        let interface = match path.endpoint_binding {
            EndpointBinding::Device => i32::try_from(link).ok(),
            EndpointBinding::Routed => None,
        };
        for address in addresses.iter().map(|a| a.own) {
            if path.endpoint_families.contains(address) {
                let endpoint = Endpoint { interface, ..Endpoint::new(address, flags) };
                self.endpoint_add(endpoint).context(|| format!("adding endpoint {address}"))?;
            }
        }
        Ok(())
    }
}

/// Default routes through a link: in the main table, and in the table of its source addresses.
fn route_through(
    routing: &mut Routing,
    link: u32,
    number: u8,
    addresses: &[PathAddress],
) -> Result<(), LabError> {
    for address in addresses {
        for table in [TABLE_MAIN, policy_table(number)] {
            let metric = METRIC_BASE + u32::from(number);
            routing.add_default_route(&DefaultRoute { gateway: address.peer, link, table, metric })?;
        }
    }
    Ok(())
}

fn await_local(routing: &mut Routing, addresses: &[PathAddress]) -> Result<(), LabError> {
    addresses.iter().try_for_each(|address| routing.await_local(address.own, LOCAL_ROUTE_WAIT))
}

/// The table of the source addresses of link `number`.
fn policy_table(number: u8) -> u8 {
    POLICY_TABLES.saturating_add(number)
}

const TABLE_MAIN: u8 = 254;
const POLICY_TABLES: u8 = 100;
const METRIC_BASE: u32 = 100;
/// Before 32766, the priority of the main table's own rule.
const PRIORITY_CONNECTED: u32 = 999;
const PRIORITY_SOURCE: u32 = 1000;
/// Far more than the worker needs, which is milliseconds on an idle machine.
const LOCAL_ROUTE_WAIT: Duration = Duration::from_secs(5);
const BACKLOG: i32 = 1024;

/// Set before any link exists, so that links inherit what is said of `default`.
const QUIET: [(&str, &str); 6] = [
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    // No link-local address: a stack behind a TUN does not want to see router solicitations.
    ("net.ipv6.conf.default.addr_gen_mode", "1"),
    ("net.ipv6.conf.default.router_solicitations", "0"),
];
