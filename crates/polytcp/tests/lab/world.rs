//! A kernel and a stack with paths between them, and how they connect.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use polytcp::blocking::{MptcpListener, MptcpStream};
use polytcp::io::middlebox::{Chain, Turned};
use polytcp::io::{Boxes, Device, Emulated, LinkConfig, LinkControl};
use polytcp::{EndpointFlags, HostConfig, Stack};
use polytcp_lab::{Counters, KernelListener, KernelStream, Lab, LabConfig, Protocol};

use crate::bounded::{WAIT, wait_until};
use crate::spoiled::{Spoiled, Spoiler};
use crate::watched::{Log, Watched};

/// Where servers listen.
pub(crate) const PORT: u16 = 5001;

/// Which side opens the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Client {
    Stack,
    Kernel,
}

/// Address family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

/// What lies between kernel and stack.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) client: Client,
    pub(crate) family: Family,
    /// One entry for each path: a link for both directions, or none for a bare TUN device.
    pub(crate) links: Vec<Option<LinkConfig>>,
    pub(crate) config: HostConfig,
    pub(crate) sysctls: Vec<(&'static str, &'static str)>,
}

/// Boxes before a stack's device, from what they are with the client inside.
fn before_device(chain: Chain, client: Client) -> Boxes {
    let far = match client {
        Client::Kernel if !chain.is_empty() => Chain::new().with(Turned::new(chain)),
        Client::Kernel | Client::Stack => chain,
    };
    Boxes { near: Chain::new(), far }
}

impl Plan {
    /// `paths` bare TUN devices.
    pub(crate) fn bare(client: Client, family: Family, paths: usize) -> Self {
        Self { client, family, links: vec![None; paths], config: HostConfig::default(), sysctls: Vec::new() }
    }

    /// Emulated links.
    pub(crate) fn emulated(
        client: Client,
        family: Family,
        links: impl IntoIterator<Item = LinkConfig>,
    ) -> Self {
        Self { links: links.into_iter().map(Some).collect(), ..Self::bare(client, family, 0) }
    }
}

/// A kernel, a stack, and the paths between them.
pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) stack: Stack,
    /// What passes each path, as the stack sees it.
    pub(crate) logs: Vec<Arc<Log>>,
    /// The links of emulated paths; empty with bare ones.
    pub(crate) links: Vec<LinkControl>,
    /// What changes payload beyond the logs.
    pub(crate) spoilers: Vec<Arc<Spoiler>>,
    pub(crate) plan: Plan,
    before: Counters,
}

/// The two ends of one connection, and the listener that joins need.
pub(crate) struct Ends {
    pub(crate) stack: MptcpStream,
    pub(crate) kernel: KernelStream,
    _listener: Listener,
}

/// Whichever side listens.
#[expect(dead_code, reason = "kept alive, never looked at")]
pub(crate) enum Listener {
    Stack(MptcpListener),
    Kernel(KernelListener),
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        Self::with_boxes(plan, |_| Chain::new())
    }

    /// With boxes on each emulated path, by its number; the client is inside.
    pub(crate) fn with_boxes(plan: Plan, boxes: impl Fn(usize) -> Chain) -> Self {
        let paths = u8::try_from(plan.links.len()).expect("a few paths");
        let mut config = LabConfig::with_paths(paths);
        for (name, value) in &plan.sysctls {
            config = config.sysctl(name, value);
        }
        let mut lab = Lab::start(config).expect("lab");
        let mut builder = Stack::builder().config(plan.config.clone()).limits(8, 8);
        let (mut logs, mut links, mut spoilers) = (Vec::new(), Vec::new(), Vec::new());
        for (index, link) in plan.links.iter().enumerate() {
            let tun = lab.take_device(index);
            let device: Box<dyn Device> = match link {
                None => Box::new(tun),
                Some(link) => {
                    let boxes = before_device(boxes(index), plan.client);
                    let emulated = Emulated::with_boxes(tun, *link, *link, boxes, index as u64);
                    let emulated = emulated.expect("descriptors");
                    links.push(emulated.control());
                    Box::new(emulated)
                }
            };
            let (device, spoiler) = Spoiled::new(device);
            spoilers.push(spoiler);
            let (device, log) = Watched::new(device);
            logs.push(log);
            let path = lab.path(index);
            let addresses = [
                format!("{}/{}", path.stack_v4, path.prefix_len_v4),
                format!("{}/{}", path.stack_v6, path.prefix_len_v6),
            ];
            builder = builder.device(device, addresses);
            // A client joins from its further addresses; a server announces them and is joined.
            let flags = match plan.client {
                Client::Stack => EndpointFlags::SUBFLOW,
                Client::Kernel => EndpointFlags::SIGNAL,
            };
            if index > 0 {
                let address: IpAddr = match plan.family {
                    Family::V4 => path.stack_v4.into(),
                    Family::V6 => path.stack_v6.into(),
                };
                builder = builder.endpoint(address, flags);
            }
        }
        if let Some(folder) = std::env::var_os("POLYTCP_LAB_CAPTURE") {
            let name = std::thread::current().name().unwrap_or("lab").replace(' ', "_");
            let file = std::path::Path::new(&folder).join(format!("{name}.pcapng"));
            builder = builder.capture(file).expect("a capture file");
        }
        let stack = builder.start().expect("stack");
        let before = lab.counters().expect("counters");
        Self { lab, stack, logs, links, spoilers, plan, before }
    }

    /// The server's address on the first path.
    pub(crate) fn server(&self) -> SocketAddr {
        let path = self.lab.path(0);
        let address: IpAddr = match (self.plan.client, self.plan.family) {
            (Client::Stack, Family::V4) => path.kernel_v4.into(),
            (Client::Stack, Family::V6) => path.kernel_v6.into(),
            (Client::Kernel, Family::V4) => path.stack_v4.into(),
            (Client::Kernel, Family::V6) => path.stack_v6.into(),
        };
        SocketAddr::new(address, PORT)
    }

    /// A listener of the stack.
    pub(crate) fn listen(&self) -> MptcpListener {
        MptcpListener::bind(&self.stack, self.all_addresses()).expect("listen")
    }

    /// Where servers listen: joins to a further address need a listener there too.
    fn all_addresses(&self) -> SocketAddr {
        let any: IpAddr = match self.plan.family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(any, PORT)
    }

    /// One connection between an MPTCP client and an MPTCP server.
    pub(crate) fn connect(&self) -> Ends {
        self.connect_as(Protocol::Mptcp)
    }

    /// One connection; the stack's side is MPTCP, the kernel's as told.
    pub(crate) fn connect_as(&self, kernel: Protocol) -> Ends {
        let server = self.server();
        match self.plan.client {
            Client::Stack => {
                let listener = self.lab.listen(self.all_addresses(), kernel).expect("listen");
                listener.set_congestion("cubic").expect("cubic");
                let stack = match MptcpStream::connect_timeout(&self.stack, server, WAIT) {
                    Ok(stream) => stream,
                    Err(error) => panic!("connect: {error}\n{}", self.describe(None)),
                };
                let kernel = match listener.accept_within(WAIT) {
                    Ok(stream) => stream,
                    Err(error) => panic!("the kernel's accept: {error}\n{}", self.describe(None)),
                };
                Ends { stack, kernel, _listener: Listener::Kernel(listener) }.limited()
            }
            Client::Kernel => {
                let listener = self.listen();
                let lab = self.lab.kernel().clone();
                let connecting = std::thread::spawn(move || lab.connect_within(None, server, kernel, WAIT));
                let accepted = listener.accept_timeout(WAIT);
                let kernel = match connecting.join().expect("no panic") {
                    Ok(stream) => stream,
                    Err(error) => panic!("the kernel's connect: {error}\n{}", self.describe(None)),
                };
                kernel.set_congestion("cubic").expect("cubic");
                let stack = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => panic!("accept: {error}\n{}", self.describe(None)),
                };
                Ends { stack, kernel, _listener: Listener::Stack(listener) }.limited()
            }
        }
    }

    /// Waits until both ends have `total` subflows.
    pub(crate) fn await_subflows(&self, ends: &Ends, total: usize) {
        let of_kernel = || ends.kernel.mptcp_info().map_or(0, |info| usize::from(info.subflows_total));
        let of_stack = || ends.stack.subflows().map_or(0, |list| list.len());
        wait_until(
            || (of_kernel(), of_stack()) == (total, total),
            || format!("{total} subflows\n{}", self.describe(Some(ends))),
        );
    }

    /// Waits until the kernel has `total` subflows; the stack still tells of those that it closed.
    pub(crate) fn await_subflows_of_kernel(&self, ends: &Ends, total: usize) {
        let of_kernel = || ends.kernel.mptcp_info().map_or(0, |info| usize::from(info.subflows_total));
        wait_until(
            || of_kernel() == total,
            || format!("{total} subflows of the kernel\n{}", self.describe(Some(ends))),
        );
    }

    /// What the kernel counted since the world was made.
    pub(crate) fn counters(&self) -> Counters {
        self.lab.counters().expect("counters").since(&self.before)
    }

    /// Everything that a failure should tell.
    pub(crate) fn describe(&self, ends: Option<&Ends>) -> String {
        let mut text = String::new();
        if let Some(ends) = ends {
            let _ = writeln!(text, "stack: {:?}", ends.stack.info());
            for subflow in ends.stack.subflows().unwrap_or_default() {
                let _ = writeln!(text, "  {subflow:?}");
            }
            let _ = writeln!(text, "kernel: {:?}", ends.kernel.mptcp_info());
            for subflow in ends.kernel.subflows().unwrap_or_default() {
                let _ = writeln!(text, "  {subflow:?}");
            }
        }
        let _ = writeln!(text, "{:?}", self.stack.accounting());
        for path in self.stack.paths() {
            let _ = writeln!(text, "  {path:?}");
        }
        let counters = self.stack.counters();
        for (name, value) in counters.iter().filter(|(_, value)| *value != 0) {
            let _ = write!(text, "{name} {value}; ");
        }
        text.push_str("\nthe kernel's: ");
        for (name, change) in self.counters().starting_with("") {
            if ["MPTcpExt", "TcpExt", "Tcp"].iter().any(|group| name.starts_with(group)) {
                let _ = write!(text, "{name} {change}; ");
            }
        }
        let _ = writeln!(text, "\nthe last packets, > from the stack:\n{}", Log::trace(&self.logs));
        text
    }
}

impl Ends {
    /// No call waits for ever.
    fn limited(self) -> Self {
        self.kernel.set_timeouts(Some(WAIT)).expect("timeouts");
        self.stack.set_read_timeout(Some(WAIT)).expect("timeout");
        self.stack.set_write_timeout(Some(WAIT)).expect("timeout");
        self
    }
}
