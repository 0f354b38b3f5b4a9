//! The hosts that compete, and their connections: the stack with a kernel, and a kernel with a kernel.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use polytcp::blocking::MptcpStream;
use polytcp::io::{CaptureFile, Captured, Device, Emulated, LinkConfig, LinkControl};
use polytcp::{ConnectOptions, EndpointFlags, HostConfig, Stack, StackBuilder};
use polytcp_lab::pair::BridgedPath;
use polytcp_lab::{Kernel, KernelListener, KernelPair, KernelStream, Lab, LabConfig, PathConfig, Protocol};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::end::End;
use super::tasks::{self, TaskEnd};
use crate::duplex::Duplex;
use crate::failure::Failure;

/// The kernel's congestion control where nothing else is asked for: the default here may be another one,
/// which cannot be changed for a namespace.
pub(super) const KERNEL_CC: &str = "cubic";

const CHECKSUMS: &str = "net.mptcp.checksum_enabled";
const PORT: u16 = 5_001;
const OPENING_MAX: Duration = Duration::from_secs(20);
/// Longest wait of one read or write.
const STALL_MAX: Duration = Duration::from_secs(30);

/// An emulated link, from the client and to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TwoWay {
    pub(super) up: LinkConfig,
    pub(super) down: LinkConfig,
}

impl From<LinkConfig> for TwoWay {
    /// The same in both directions.
    fn from(link: LinkConfig) -> Self {
        Self { up: link, down: link }
    }
}

/// What emulated hosts are made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    pub(super) links: &'a [TwoWay],
    /// What the links' losses follow from.
    pub(super) seed: u64,
    /// The stack's congestion control; its default where there is none.
    pub(super) cc: Option<&'a str>,
    /// The kernels' one.
    pub(super) kernel_cc: &'a str,
    /// Where the client's packets are written.
    pub(super) capture: Option<&'a CaptureFile>,
}

/// What hosts without emulated links between them are made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direct<'a> {
    pub(super) paths: u8,
    pub(super) mtu: u16,
    pub(super) family: Family,
    /// DSS checksums.
    pub(super) checksums: bool,
    /// The stack's.
    pub(super) sockets: Sockets,
    /// The stack's congestion control; its default where there is none.
    pub(super) cc: Option<&'a str>,
}

/// The addresses' family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

/// By whom the stack's data is carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sockets {
    /// Threads that block.
    Blocking,
    /// Tasks in a multi-threaded tokio runtime.
    Tokio,
}

/// Two hosts, client and server, that can be connected again and again.
pub(super) trait Arena {
    /// Opens a connection.
    fn connect(&self, begin: Begin) -> Result<Match, Failure>;
    /// Opens connections that carry loads.
    fn connect_all(&self, begin: Begin, count: u16) -> Result<Vec<Ends>, Failure>;
    /// Whose client it is.
    fn name(&self) -> &'static str;
    /// The emulated link of path `index`.
    fn link(&self, index: usize) -> Option<&LinkControl>;
}

/// When a connection is ready to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin {
    /// Once an octet has gone each way; further subflows join meanwhile.
    AtOnce,
    /// Once it has a subflow on every path.
    Joined,
}

/// A connection.
pub(super) struct Match {
    pub(super) client: Box<dyn Duplex>,
    pub(super) server: Box<dyn Duplex>,
    /// Needed for joins.
    _listener: KernelListener,
}

/// A connection that carries loads.
pub(super) struct Ends {
    pub(super) client: Box<dyn End>,
    pub(super) server: Box<dyn End>,
    /// Needed for joins.
    _listener: Arc<KernelListener>,
}

/// The stack and a kernel, joined by TUN devices.
pub(super) struct StackArena {
    stack: Stack,
    /// Where tasks carry the data.
    runtime: Option<Arc<Runtime>>,
    lab: Lab,
    family: Family,
    controls: Vec<LinkControl>,
    cc: Option<String>,
    kernel_cc: String,
}

/// A kernel and a kernel.
pub(super) struct KernelArena {
    pair: KernelPair,
    family: Family,
    cc: String,
}

impl StackArena {
    /// Over bare TUN devices.
    pub(super) fn direct(direct: &Direct<'_>) -> Result<Self, Failure> {
        let paths = (0..direct.paths).map(|index| PathConfig::new(index).with_mtu(direct.mtu)).collect();
        let plan = Plan { links: &[], seed: 0, cc: direct.cc, kernel_cc: KERNEL_CC, capture: None };
        let mut arena = Self::build(paths, &plan, direct.family, direct.checksums)?;
        if direct.sockets == Sockets::Tokio {
            arena.runtime = Some(tasks::runtime()?);
        }
        Ok(arena)
    }

    /// Over emulated links.
    pub(super) fn emulated(plan: &Plan<'_>) -> Result<Self, Failure> {
        let paths = (0..).zip(plan.links).map(|(index, _)| PathConfig::new(index)).collect();
        Self::build(paths, plan, Family::Ipv4, false)
    }

    fn build(
        paths: Vec<PathConfig>,
        plan: &Plan<'_>,
        family: Family,
        checksums: bool,
    ) -> Result<Self, Failure> {
        let mut config = LabConfig { paths: paths.clone(), ..LabConfig::default() };
        if checksums {
            config = config.sysctl(CHECKSUMS, "1");
        }
        let mut lab = Lab::start(config).map_err(Failure::setting_up("the kernel's namespace"))?;
        let mut host = HostConfig::default();
        host.mptcp.checksum_enabled = checksums;
        let mut builder = Stack::builder().config(host).limits(8, 8);
        let mut controls = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            let tun = lab.take_device(index);
            let device: Box<dyn Device> = match plan.links.get(index) {
                Some(TwoWay { up, down }) => {
                    let device = Emulated::new(tun, *up, *down, plan.seed.wrapping_add(index as u64))
                        .map_err(Failure::setting_up("an emulated link"))?;
                    controls.push(device.control());
                    Box::new(device)
                }
                None => Box::new(tun),
            };
            builder = match plan.capture {
                Some(file) => with_path(builder, index, path, family, Captured::new(device, file)),
                None => with_path(builder, index, path, family, device),
            };
        }
        let stack = builder.start().map_err(Failure::setting_up("the stack"))?;
        let cc = plan.cc.map(str::to_owned);
        Ok(Self { stack, runtime: None, lab, family, controls, cc, kernel_cc: plan.kernel_cc.to_owned() })
    }

    fn open(&self, listener: &KernelListener, begin: Begin) -> Result<(MptcpStream, KernelStream), Failure> {
        let options = ConnectOptions {
            congestion_control: self.cc.clone(),
            ..ConnectOptions::new(server_of(self.family))
        };
        let client =
            MptcpStream::connect_with(&self.stack, &options).map_err(Failure::running("connecting"))?;
        let server = accept(listener, &self.kernel_cc)?;
        open(begin, &client, &server, self.lab.paths().len())?;
        Ok((client, server))
    }

    /// The client's end, for whoever carries the data.
    fn end(&self, client: MptcpStream) -> Result<Box<dyn End>, Failure> {
        let Some(runtime) = &self.runtime else { return Ok(Box::new(client)) };
        let stream = client.into_async().map_err(|_| Failure::run("the stream has clones"))?;
        Ok(Box::new(TaskEnd::new(Arc::clone(runtime), stream)))
    }
}

fn with_path(
    builder: StackBuilder,
    index: usize,
    plan: &PathConfig,
    family: Family,
    device: impl Device + 'static,
) -> StackBuilder {
    let (address, prefix_len): (IpAddr, u8) = match family {
        Family::Ipv4 => (plan.stack_v4.into(), plan.prefix_len_v4),
        Family::Ipv6 => (plan.stack_v6.into(), plan.prefix_len_v6),
    };
    let builder = builder.device(device, [format!("{address}/{prefix_len}")]);
    // The first path has the initial subflow.
    if index == 0 { builder } else { builder.endpoint(address, EndpointFlags::SUBFLOW) }
}

impl Arena for StackArena {
    fn connect(&self, begin: Begin) -> Result<Match, Failure> {
        let listener = listen(&self.lab, self.family, &self.kernel_cc)?;
        let (client, server) = self.open(&listener, begin)?;
        Ok(Match { client: Box::new(client), server: Box::new(server), _listener: listener })
    }

    fn connect_all(&self, begin: Begin, count: u16) -> Result<Vec<Ends>, Failure> {
        let listener = Arc::new(listen(&self.lab, self.family, &self.kernel_cc)?);
        let open = |_| {
            let (client, server) = self.open(&listener, begin)?;
            let client = self.end(client)?;
            Ok(Ends { client, server: Box::new(server), _listener: Arc::clone(&listener) })
        };
        (0..count).map(open).collect()
    }

    fn name(&self) -> &'static str {
        "polytcp"
    }

    fn link(&self, index: usize) -> Option<&LinkControl> {
        self.controls.get(index)
    }
}

impl KernelArena {
    /// Over veth pairs.
    pub(super) fn direct(direct: &Direct<'_>) -> Result<Self, Failure> {
        let pair =
            KernelPair::veth(direct.paths, direct.mtu).map_err(Failure::setting_up("the pair of kernels"))?;
        if direct.checksums {
            for kernel in [&pair.client, &pair.server] {
                kernel.sysctl_set(CHECKSUMS, "1").map_err(Failure::setting_up("checksums"))?;
            }
        }
        Ok(Self { pair, family: direct.family, cc: KERNEL_CC.to_owned() })
    }

    /// Over emulated links.
    pub(super) fn emulated(plan: &Plan<'_>) -> Result<Self, Failure> {
        let paths = (0..).zip(plan.links).map(|(index, link)| BridgedPath::new(index, link.up, link.down));
        let pair = match plan.capture {
            Some(file) => KernelPair::bridged_captured(paths.collect(), plan.seed, file),
            None => KernelPair::bridged(paths.collect(), plan.seed),
        };
        let pair = pair.map_err(Failure::setting_up("the pair of kernels"))?;
        Ok(Self { pair, family: Family::Ipv4, cc: plan.kernel_cc.to_owned() })
    }

    fn open(&self, listener: &KernelListener, begin: Begin) -> Result<(KernelStream, KernelStream), Failure> {
        let client = self
            .pair
            .client
            .connect(None, server_of(self.family), Protocol::Mptcp, Some(&self.cc))
            .map_err(Failure::running("connecting the kernels"))?;
        let server = accept(listener, &self.cc)?;
        open(begin, &client, &server, self.pair.paths().len())?;
        Ok((client, server))
    }
}

impl Arena for KernelArena {
    fn connect(&self, begin: Begin) -> Result<Match, Failure> {
        let listener = listen(&self.pair.server, self.family, &self.cc)?;
        let (client, server) = self.open(&listener, begin)?;
        Ok(Match { client: Box::new(client), server: Box::new(server), _listener: listener })
    }

    fn connect_all(&self, begin: Begin, count: u16) -> Result<Vec<Ends>, Failure> {
        let listener = Arc::new(listen(&self.pair.server, self.family, &self.cc)?);
        let open = |_| {
            let (client, server) = self.open(&listener, begin)?;
            Ok(Ends { client: Box::new(client), server: Box::new(server), _listener: Arc::clone(&listener) })
        };
        (0..count).map(open).collect()
    }

    fn name(&self) -> &'static str {
        "kernel"
    }

    fn link(&self, index: usize) -> Option<&LinkControl> {
        self.pair.bridge(index).map(|bridge| bridge.control())
    }
}

/// `wanted` if the kernel has it, else cubic.
pub(super) fn kernel_cc_like(wanted: &str) -> Result<String, Failure> {
    let kernel = Kernel::create().map_err(Failure::setting_up("a network namespace"))?;
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let socket =
        kernel.listen(any, Protocol::Mptcp).map_err(Failure::setting_up("opening an MPTCP socket"))?;
    Ok(if socket.set_congestion(wanted).is_ok() { wanted } else { KERNEL_CC }.to_owned())
}

/// Where the server listens: at its address on the first path.
fn server_of(family: Family) -> SocketAddr {
    let path = PathConfig::new(0);
    let address = match family {
        Family::Ipv4 => path.kernel_v4.into(),
        Family::Ipv6 => path.kernel_v6.into(),
    };
    SocketAddr::new(address, PORT)
}

fn listen(kernel: &Kernel, family: Family, cc: &str) -> Result<KernelListener, Failure> {
    let to = server_of(family);
    let listener = kernel.listen(to, Protocol::Mptcp).map_err(Failure::setting_up("listening"))?;
    listener.set_congestion(cc).map_err(Failure::setting_up(format!("the kernel's {cc}")))?;
    Ok(listener)
}

fn accept(listener: &KernelListener, cc: &str) -> Result<KernelStream, Failure> {
    let stream = listener.accept_within(OPENING_MAX).map_err(Failure::running("accepting"))?;
    stream.set_congestion(cc).map_err(Failure::setting_up(format!("the kernel's {cc}")))?;
    Ok(stream)
}

/// Has the connection ready for both. The subflows are counted by the server, which is a kernel in either
/// arena: it lists one when its handshake is over, a client that connects when it begins.
fn open(begin: Begin, client: &dyn Duplex, server: &KernelStream, paths: usize) -> Result<(), Failure> {
    greet(client, server)?;
    match begin {
        Begin::AtOnce => Ok(()),
        Begin::Joined => await_count(paths, || {
            server.subflows().map(|flows| flows.len()).map_err(Failure::running("asking for the subflows"))
        }),
    }
}

/// An octet each way: a client joins once the server has answered.
fn greet(client: &dyn Duplex, server: &dyn Duplex) -> Result<(), Failure> {
    let failed = |error| Failure::running::<std::io::Error>("the connection does not open")(error);
    client.limit_waits(STALL_MAX).map_err(failed)?;
    server.limit_waits(STALL_MAX).map_err(failed)?;
    client.send_all(b"?").map_err(failed)?;
    server.receive_exact(&mut [0]).map_err(failed)?;
    server.send_all(b"!").map_err(failed)?;
    client.receive_exact(&mut [0]).map_err(failed)
}

fn await_count(wanted: usize, count: impl Fn() -> Result<usize, Failure>) -> Result<(), Failure> {
    let deadline = Instant::now() + OPENING_MAX;
    loop {
        let found = count()?;
        if found >= wanted {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::run(format!("{found} of {wanted} subflows within 20 s")));
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}
