//! Scenario files: hosts, links, traffic, events and what is expected, in TOML.
//!
//! [`Scenario::parse`] refuses unknown keys, bad values and names that lead nowhere with one line that has the
//! place. A random world is a [`Scenario`] too, so that a failing one can be written down and read.

mod check;
mod config;
mod text;
mod trace;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use polytcp_proto::host::{Cidr, Protocol};
use serde::{Deserialize, Serialize};

use crate::boxes::BoxSpec;
use crate::expect::Expect;
use crate::quantity::{Rate, Share, Size, Span};
use crate::sysctl::Sysctls;
use text::parse_cidr;
pub(crate) use text::{parse_endpoint, parse_new_address};
pub use trace::{TraceSpec, TraceStepSpec};

/// The port of the first traffic in a file.
const PORT_FIRST: u16 = 8_000;

/// A network, what happens in it, and what is expected of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a line.
    pub about: String,
    /// What keys and chances follow from. Default 1.
    #[serde(default = "one")]
    pub seed: u64,
    /// Virtual time after which traffic that is not over counts as unfinished.
    pub limit: Span,
    /// The hosts.
    #[serde(rename = "host")]
    pub hosts: Vec<HostSpec>,
    /// The links between them; each is one interface of either host.
    #[serde(rename = "link")]
    pub links: Vec<LinkSpec>,
    /// What the hosts' programs do.
    #[serde(default)]
    pub traffic: Vec<TrafficSpec>,
    /// What happens to the network.
    #[serde(default, rename = "event", skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventSpec>,
    /// What has to come out.
    #[serde(default)]
    pub expect: Expect,
}

/// A host. What is not given is the stack's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// Its name, unique.
    pub name: String,
    /// `net.ipv4.tcp_congestion_control`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub congestion_control: Option<String>,
    /// `net.mptcp.scheduler`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Send buffer of a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_buffer: Option<Size>,
    /// Receive buffer of a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recv_buffer: Option<Size>,
    /// Segments are spread over the round trip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pacing: Option<bool>,
    /// `net.mptcp.enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mptcp: Option<bool>,
    /// `ip mptcp limits set subflows`. Default 8, so that links are what limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subflows: Option<u32>,
    /// `ip mptcp limits set add_addr_accepted`. Default 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_addr_accepted: Option<u32>,
    /// Silence before a flow is probed. Default never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Span>,
    /// `net.mptcp.syn_retrans_before_tcp_fallback`: 128 and above mean never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syn_retrans_before_tcp_fallback: Option<u8>,
    /// `net.mptcp.checksum_enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<bool>,
    /// Sequence numbers of both levels wrap within so many octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrap_within: Option<Size>,
    /// Congestion notification, by the number of `net.ipv4.tcp_ecn`: 0 never, 1 asked for, 2 accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecn: Option<u8>,
    /// Both sides of TCP Fast Open are on. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast_open: Option<bool>,
    /// Every request is answered with a SYN cookie. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syncookies: Option<bool>,
    /// Smaller segments are tried on a path that seems to drop large ones without a word. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_probing: Option<bool>,
    /// Endpoints as `ip mptcp endpoint add` takes them: `10.0.2.2 subflow backup`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Everything else that can be set, under Linux's names.
    #[serde(default, skip_serializing_if = "Sysctls::is_empty")]
    pub sysctl: Sysctls,
}

/// A link between two hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// Its name, and that of the interface on both hosts; unique.
    pub name: String,
    /// The two hosts; the first one is on the boxes' inside, and `up` is from it.
    pub between: [String; 2],
    /// Their addresses. Default 10.0.N.2/24 and 10.0.N.1/24 for the Nth link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<[String; 2]>,
    /// Largest packet of both interfaces, in octets. Default 1,500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Both interfaces take packets of up to 64 KiB and cut them to the MTU (TSO). Default no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offload: Option<bool>,
    /// Both directions.
    #[serde(default)]
    pub shape: Shape,
    /// What is different from the first host to the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<Shape>,
    /// What is different from the second host to the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<Shape>,
    /// Rate and delay over time in both directions, in place of those of the shapes, which an event does not change
    /// then. The queue's default follows from the shape's rate if there is one, and from the mean otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceSpec>,
    /// What the first direction follows instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_trace: Option<TraceSpec>,
    /// What the second direction follows instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_trace: Option<TraceSpec>,
    /// Boxes between the first host and the link, the innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boxes: Vec<BoxSpec>,
    /// Boxes between the link and the second host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub far_boxes: Vec<BoxSpec>,
}

/// What a direction of a link does to packets; see [`LinkConfig`](polytcp_netem::LinkConfig).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Default without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// One way. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Added to the delay at most. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// Jitter changes the order. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reorder: Option<bool>,
    /// Share of packets lost. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Share>,
    /// Loss in bursts: chance that one begins at a packet, chance that it ends at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bursts: Option<[Share; 2]>,
    /// Share of packets that come twice. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Share>,
    /// Share of packets with a bit flipped. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Share>,
    /// Queue. Default what rate and delay ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Size>,
    /// The queue is managed by CoDel. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codel: Option<bool>,
}

/// Connections from one host to another, and what their programs do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficSpec {
    /// Its name in reports.
    pub name: String,
    /// The host that connects.
    pub from: String,
    /// The host that listens.
    pub to: String,
    /// Where to. Default the address of `to` on the first link that both share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Default 8,000 and the traffic's place in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// When the first connection starts. Default at once.
    #[serde(default)]
    pub start: Span,
    /// How many connections. Default 1.
    #[serde(default = "one")]
    pub connections: u64,
    /// Time from one connection to the next. Default none.
    #[serde(default)]
    pub every: Span,
    /// Plain TCP instead of MPTCP. Default false.
    #[serde(default)]
    pub tcp: bool,
    /// What fits of the first data goes on the SYN, where the hosts have Fast Open. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fast_open: bool,
    /// Rate at which either program reads. Default as it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_rate: Option<Rate>,
    /// What they carry.
    pub load: Load,
}

/// What the programs at both ends of a connection do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Load {
    /// Both ends send what they have and close their direction.
    Bulk {
        /// From who connected.
        #[serde(default)]
        up: Size,
        /// To who connected.
        #[serde(default)]
        down: Size,
    },
    /// The listener answers only when it has seen the end of what it was sent.
    HalfClose {
        /// From who connected.
        up: Size,
        /// To who connected.
        down: Size,
    },
    /// Who connected reads so much of what comes, and aborts.
    Abort {
        /// Octets that it reads at least.
        after: Size,
        /// Octets that the other end has.
        down: Size,
    },
    /// Who connected asks, the other answers, again and again.
    Request {
        /// Octets of a request.
        request: Size,
        /// Octets of an answer.
        response: Size,
        /// How many.
        count: u64,
        /// From an answer to the next request. Default none.
        #[serde(default)]
        think: Span,
    },
    /// Chunks at a rate, to who connected.
    Stream {
        /// Of the data.
        rate: Rate,
        /// Octets of a chunk, whose latency is measured.
        chunk: Size,
        /// For how long.
        lasts: Span,
    },
}

/// Something that happens to the network at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSpec {
    /// When, since the start.
    pub at: Span,
    /// On which link.
    pub link: String,
    /// What.
    pub action: Action,
}

/// What happens to a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Nothing passes any more, and nobody is told.
    Cut,
    /// A cut link passes again.
    Restore,
    /// The first host sees its interface go down; nothing passes.
    Down,
    /// The interface is up again.
    Up,
    /// The first host gets a further address there, and perhaps an endpoint: `10.0.1.3/24 subflow`.
    AddAddress(String),
    /// The first host loses an address there, and the endpoint of it.
    RemoveAddress(IpAddr),
    /// The first host changes all its addresses there for this one, and makes it an endpoint if it had one:
    /// `10.0.1.3/24 subflow`.
    Roam(String),
    /// The endpoint of this address of the first host becomes a backup.
    Backup(IpAddr),
    /// Both directions get this shape, with what `up` and `down` of the link say on top.
    Shape(Shape),
    /// Both interfaces get this MTU.
    Mtu(u16),
}

fn one() -> u64 {
    1
}

impl Scenario {
    /// Reads a scenario file, and what it names beside it.
    ///
    /// # Errors
    /// One line: why a file cannot be read, or as [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|fault| fault.to_string())?;
        let mut scenario = Self::of_toml(&text)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for link in &mut scenario.links {
            for trace in [&mut link.trace, &mut link.up_trace, &mut link.down_trace].into_iter().flatten() {
                trace.resolve(folder).map_err(|fault| format!("link `{}`: {fault}", link.name))?;
            }
        }
        scenario.check()?;
        Ok(scenario)
    }

    /// Reads the text of a scenario that names no other file.
    ///
    /// # Errors
    /// One line with the place: line and column, or which item.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario = Self::of_toml(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    fn of_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|fault| {
            let line = fault.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            let message = fault.message().replace('\n', " ");
            line.map_or(message.clone(), |line| format!("line {line}: {message}"))
        })
    }

    /// The scenario as a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|fault| format!("# cannot be written: {fault}\n"))
    }

    /// The place of a host.
    pub(crate) fn host(&self, name: &str) -> Result<usize, String> {
        let place = self.hosts.iter().position(|host| host.name == name);
        place.ok_or_else(|| format!("there is no host `{name}`"))
    }

    /// The place of a link.
    pub(crate) fn link(&self, name: &str) -> Result<usize, String> {
        let place = self.links.iter().position(|link| link.name == name);
        place.ok_or_else(|| format!("there is no link `{name}`"))
    }

    /// The addresses of a link's two interfaces.
    pub(crate) fn addresses(&self, link: usize) -> Result<[Cidr; 2], String> {
        let number = link + 1;
        let given = self.links[link].addresses.clone();
        let [first, second] =
            given.unwrap_or_else(|| [format!("10.0.{number}.2/24"), format!("10.0.{number}.1/24")]);
        Ok([parse_cidr(&first)?, parse_cidr(&second)?])
    }

    /// Where a traffic's connections go.
    pub(crate) fn destination(&self, traffic: usize) -> Result<SocketAddr, String> {
        let spec = &self.traffic[traffic];
        let shared = || {
            let link = self
                .links
                .iter()
                .position(|link| link.between.contains(&spec.from) && link.between.contains(&spec.to))
                .ok_or_else(|| format!("no link joins `{}` and `{}`", spec.from, spec.to))?;
            let side = usize::from(self.links[link].between[0] != spec.to);
            Ok::<_, String>(self.addresses(link)?[side].address)
        };
        let address = match spec.address {
            Some(address) => address,
            None => shared()?,
        };
        let port = spec.port.unwrap_or(PORT_FIRST.saturating_add(u16::try_from(traffic).unwrap_or(u16::MAX)));
        Ok(SocketAddr::new(address, port))
    }
}

impl TrafficSpec {
    pub(crate) fn protocol(&self) -> Protocol {
        if self.tcp { Protocol::Tcp } else { Protocol::Mptcp }
    }
}

impl Load {
    /// Its word in scenario files.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bulk { .. } => "bulk",
            Self::HalfClose { .. } => "half-close",
            Self::Abort { .. } => "abort",
            Self::Request { .. } => "request",
            Self::Stream { .. } => "stream",
        }
    }
}
