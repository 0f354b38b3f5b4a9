//! Links, addresses, routes and rules of the calling thread's network namespace, by rtnetlink.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NetlinkSerializable, Parseable};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use polytcp_control::ControlError;
use polytcp_control::netlink::{Frame, Netlink, ROUTE};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily as SocketFamily, SocketType, socket};

use crate::error::{Context, LabError};

/// A routing socket of one namespace.
pub struct Routing {
    netlink: Netlink,
}

/// Whether a link carries packets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LinkState {
    /// Administratively up.
    Up,
    /// Administratively down.
    Down,
}

/// One end of a veth pair to be made.
pub struct VethEnd<'a> {
    /// The device's name.
    pub name: &'a str,
    /// Its MTU.
    pub mtu: u16,
}

/// A default route to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DefaultRoute {
    /// The next hop. On an Ethernet it must be the link's own neighbour: hosts do not answer neighbour
    /// solicitations for IPv6 addresses of their other links.
    pub gateway: IpAddr,
    /// The link's index.
    pub link: u32,
    /// The table; 254 is the main one.
    pub table: u8,
    /// The least is tried first.
    pub metric: u32,
}

impl Routing {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self, LabError> {
        let netlink = Netlink::open(ROUTE).context(|| "opening a routing socket".into())?;
        Ok(Self { netlink })
    }

    /// The index of a link.
    pub fn link_index(&mut self, name: &str) -> Result<u32, LabError> {
        let index =
            socket(SocketFamily::INET, SocketType::DGRAM, None).and_then(|any| name_to_index(&any, name));
        index.context(|| format!("looking for link {name}"))
    }

    /// Sets a link up or down. Down loses its IPv6 addresses and its routes.
    pub fn set_link(&mut self, index: u32, state: LinkState) -> Result<(), LabError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = match state {
            LinkState::Up => LinkFlags::Up,
            LinkState::Down => LinkFlags::empty(),
        };
        self.send(RouteNetlinkMessage::SetLink(message), 0)
            .context(|| format!("setting link {index} {state:?}"))
    }

    /// Changes a link's MTU.
    pub fn set_mtu(&mut self, index: u32, mtu: u16) -> Result<(), LabError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Mtu(mtu.into()));
        self.send(RouteNetlinkMessage::SetLink(message), 0)
            .context(|| format!("setting the MTU of link {index} to {mtu}"))
    }

    /// Makes a pair of joined Ethernet devices, one here and one in the namespace `there`.
    pub fn add_veth(
        &mut self,
        here: &VethEnd<'_>,
        peer: &VethEnd<'_>,
        there: BorrowedFd<'_>,
    ) -> Result<(), LabError> {
        let mut other = LinkMessage::default();
        other.attributes = vec![
            LinkAttribute::IfName(peer.name.into()),
            LinkAttribute::Mtu(peer.mtu.into()),
            LinkAttribute::NetNsFd(there.as_raw_fd()),
        ];
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(here.name.into()),
            LinkAttribute::Mtu(here.mtu.into()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
            ]),
        ];
        self.send(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
            .context(|| format!("making the veth pair {} and {}", here.name, peer.name))
    }

    /// Adds an address, without duplicate address detection. An IPv6 one is usable a little later: see
    /// [`await_local`](Self::await_local).
    pub fn add_address(&mut self, index: u32, address: IpAddr, prefix_len: u8) -> Result<(), LabError> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix_len;
        message.header.index = index;
        message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        if address.is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.send(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
            .context(|| format!("adding address {address}/{prefix_len}"))
    }

    /// Adds a default route.
    pub fn add_default_route(&mut self, route: &DefaultRoute) -> Result<(), LabError> {
        let DefaultRoute { gateway, link, table, metric } = *route;
        let mut message = RouteMessage::default();
        message.header.address_family = family(gateway);
        message.header.table = table;
        message.header.protocol = RouteProtocol::Static;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![
            RouteAttribute::Gateway(gateway.into()),
            RouteAttribute::Oif(link),
            RouteAttribute::Priority(metric),
        ];
        self.send(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
            .context(|| format!("adding a default route through {gateway}"))
    }

    /// Adds a rule: the main table first, but without its default routes.
    pub fn add_rule_connected_first(&mut self, family: IpFamily, priority: u32) -> Result<(), LabError> {
        let mut message = rule(family, RouteHeader::RT_TABLE_MAIN, priority);
        message.attributes.push(RuleAttribute::SuppressPrefixLen(0));
        self.add_rule(message, || format!("adding the {family:?} rule for connected networks"))
    }

    /// Adds a rule: packets from `source` look in `table`.
    pub fn add_rule_from(&mut self, source: IpAddr, table: u8, priority: u32) -> Result<(), LabError> {
        let mut message = rule(IpFamily::of(source), table, priority);
        message.header.src_len = if source.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RuleAttribute::Source(source));
        self.add_rule(message, || format!("adding the rule for packets from {source}"))
    }

    /// Waits until packets to `address` are taken as the host's own.
    ///
    /// Linux acknowledges an IPv6 address first, enters its local route later in a worker, and drops
    /// what comes in between.
    ///
    /// # Errors
    /// When the route is not there after `limit`.
    pub fn await_local(&mut self, address: IpAddr, limit: Duration) -> Result<(), LabError> {
        let what = || format!("waiting for the local route of {address}");
        let deadline = Instant::now() + limit;
        while self.route_kind(address).context(what)? != Some(RouteType::Local) {
            if Instant::now() > deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut)).context(what);
            }
            thread::park_timeout(LOCAL_ROUTE_POLL);
        }
        Ok(())
    }

    /// What happens to packets to `address` now; `None` without a route.
    fn route_kind(&mut self, address: IpAddr) -> Result<Option<RouteType>, ControlError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(address);
        message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Destination(address.into()));
        match self.request(RouteNetlinkMessage::GetRoute(message), 0) {
            Ok(frames) => {
                let mut routes = frames.iter().filter_map(|frame| RouteMessage::parse(&frame.payload).ok());
                Ok(routes.next().map(|route| route.header.kind))
            }
            Err(ControlError::Refused(error)) if error.errno == Errno::NETUNREACH.raw_os_error() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn add_rule(&mut self, message: RuleMessage, what: impl FnOnce() -> String) -> Result<(), LabError> {
        self.send(RouteNetlinkMessage::NewRule(message), NLM_F_CREATE | NLM_F_EXCL).context(what)
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), ControlError> {
        self.request(message, flags).map(drop)
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<Vec<Frame>, ControlError> {
        let mut payload = vec![0; message.buffer_len()];
        message.serialize(&mut payload);
        self.netlink.request(message.message_type(), flags, &payload)
    }
}

const LOCAL_ROUTE_POLL: Duration = Duration::from_millis(1);

/// An IP version, for rules that have no address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The version of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl From<IpFamily> for AddressFamily {
    fn from(family: IpFamily) -> Self {
        match family {
            IpFamily::V4 => Self::Inet,
            IpFamily::V6 => Self::Inet6,
        }
    }
}

fn family(address: IpAddr) -> AddressFamily {
    IpFamily::of(address).into()
}

fn rule(family: IpFamily, table: u8, priority: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family.into();
    message.header.table = table;
    message.header.action = RuleAction::ToTable;
    message.attributes.push(RuleAttribute::Priority(priority));
    message
}
