//! The hosts, the links between them and the connection.

use std::time::{Duration, Instant};

use polytcp::blocking::{MptcpListener, MptcpStream};
use polytcp::io::{
    CaptureFile, Captured, Device, Direction, Emulated, LinkConfig, LinkControl, MemoryConfig, MemoryDevice,
};
use polytcp::{EndpointFlags, InterfaceId, Stack, StackBuilder, SubflowInfo, SubflowState};
use polytcp_lab::{KernelListener, Lab, LabConfig, PathConfig, Protocol};

use super::{Args, Peer};
use crate::duplex::Duplex;
use crate::failure::Failure;

/// A link in use: name, Mbit/s, one-way delay in milliseconds. The faster one comes first; the
/// connection begins on it.
const LINKS: [(&str, u64, u64); 2] = [("wifi", 40, 10), ("lte", 20, 30)];

const PORT: u16 = 5_001;

/// For handshake and join, some ten round trips in all.
const OPENING_MAX: Duration = Duration::from_secs(10);

/// Longest wait of one read or write; a cut alone is to stop nothing.
const STALL_MAX: Duration = Duration::from_secs(20);

/// Everything that the demo is about, connected over all links.
pub(super) struct World {
    pub(super) client: MptcpStream,
    pub(super) peer: Box<dyn Duplex>,
    pub(super) paths: Vec<DemoPath>,
    capture: Option<CaptureFile>,
    /// Where the other end lives, for as long as it is needed.
    _host: PeerHost,
    _stack: Stack,
}

/// One link with the stack's name and number for it.
pub(super) struct DemoPath {
    pub(super) name: String,
    pub(super) interface: InterfaceId,
    pub(super) link: LinkConfig,
    pub(super) control: LinkControl,
}

/// Octets of IP packets that came through a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    /// From the client to the peer.
    pub(super) up: u64,
    pub(super) down: u64,
}

impl Carried {
    pub(super) fn sum(self) -> u64 {
        self.up + self.down
    }
}

/// Joins need the listener that the connection came in by, so it stays.
enum PeerHost {
    Polytcp { _listener: MptcpListener, _stack: Stack },
    Linux { _listener: KernelListener, _lab: Box<Lab> },
}

impl World {
    /// Builds the hosts, connects them, and waits until every link has a subflow.
    pub(super) fn build(args: &Args) -> Result<Self, Failure> {
        let capture = args.pcap.as_ref().map(CaptureFile::create).transpose().map_err(|error| {
            let path = args.pcap.as_deref().unwrap_or("".as_ref()).display();
            Failure::setup(format!("cannot write {path}: {error}; give --pcap a file that can be written"))
        })?;
        let mut builder = Builder { args, capture, client: Stack::builder(), paths: Vec::new() };
        builder.client = builder.client.limits(8, 8).seed(args.seed);
        match args.peer {
            Peer::Polytcp => builder.with_stack(),
            Peer::Linux => builder.with_kernel(),
        }
    }

    /// The subflows, none when the connection is over.
    pub(super) fn subflows(&self) -> Vec<SubflowInfo> {
        self.client.subflows().unwrap_or_default()
    }

    /// What the links can carry together in one direction.
    pub(super) fn link_sum_mbps(&self) -> f64 {
        self.paths.iter().map(DemoPath::mbps).sum()
    }

    /// Why the capture is not complete.
    pub(super) fn capture_problem(&self) -> Option<String> {
        let file = self.capture.as_ref()?;
        let flushed = file.flush().err().map(|error| error.to_string());
        let failed = file.failure().map(|kind| kind.to_string());
        failed.or(flushed).map(|error| format!("the capture is not complete: {error}"))
    }

    /// An octet each way, which confirms the keys, then the join.
    fn open(&self) -> Result<(), Failure> {
        let failed = |error| Failure::running::<std::io::Error>("the connection does not open")(error);
        self.client.limit_waits(STALL_MAX).map_err(failed)?;
        self.peer.limit_waits(STALL_MAX).map_err(failed)?;
        self.client.send_all(b"?").map_err(failed)?;
        self.peer.receive_exact(&mut [0]).map_err(failed)?;
        self.peer.send_all(b"!").map_err(failed)?;
        self.client.receive_exact(&mut [0]).map_err(failed)?;
        let deadline = Instant::now() + OPENING_MAX;
        let open = |flow: &&SubflowInfo| flow.state == SubflowState::Established;
        while self.subflows().iter().filter(open).count() < self.paths.len() {
            if Instant::now() > deadline {
                return Err(Failure::run("the second link got no subflow within 10 s"));
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl DemoPath {
    pub(super) fn mbps(&self) -> f64 {
        self.link.rate_bits_per_sec.map_or(0.0, |rate| rate.get() as f64 / 1e6)
    }

    pub(super) fn carried(&self) -> Carried {
        let delivered = |direction| self.control.stats(direction).link.delivered_bytes;
        Carried { up: delivered(Direction::Egress), down: delivered(Direction::Ingress) }
    }

    pub(super) fn is_up(&self) -> bool {
        self.control.is_up(Direction::Egress)
    }
}

struct Builder<'a> {
    args: &'a Args,
    capture: Option<CaptureFile>,
    client: StackBuilder,
    paths: Vec<DemoPath>,
}

impl Builder<'_> {
    fn with_stack(mut self) -> Result<World, Failure> {
        let mut server = Stack::builder().limits(8, 8).seed(!self.args.seed);
        for (number, plan) in plans().into_iter().enumerate() {
            let (a, b) = MemoryDevice::pair(MemoryConfig::default()).map_err(no_resources)?;
            let address = format!("{}/{}", plan.kernel_v4, plan.prefix_len_v4);
            let there = self.captured(b.named(format!("{}-peer", plan.name)));
            server = server.device(there, [address]);
            self = self.link(number, &plan, a.named(&plan.name))?;
        }
        let server = server.start().map_err(no_resources)?;
        let listener = MptcpListener::bind(&server, destination()).map_err(no_resources)?;
        let (stack, client) = self.connect()?;
        let (peer, _) =
            listener.accept_timeout(OPENING_MAX).map_err(Failure::running("the peer does not accept"))?;
        let host = PeerHost::Polytcp { _listener: listener, _stack: server };
        self.finish(stack, client, Box::new(peer), host)
    }

    fn with_kernel(mut self) -> Result<World, Failure> {
        let config = LabConfig { paths: plans(), ..LabConfig::default() };
        let mut lab = Lab::start(config).map_err(Failure::setting_up("the kernel's namespace"))?;
        for (number, plan) in plans().into_iter().enumerate() {
            let tun = lab.take_device(number);
            self = self.link(number, &plan, tun)?;
        }
        let listener = lab.listen(destination().into(), Protocol::Mptcp).map_err(no_resources)?;
        listener.set_congestion("cubic").map_err(no_resources)?;
        let (stack, client) = self.connect()?;
        let peer =
            listener.accept_within(OPENING_MAX).map_err(Failure::running("the kernel does not accept"))?;
        let host = PeerHost::Linux { _listener: listener, _lab: Box::new(lab) };
        self.finish(stack, client, Box::new(peer), host)
    }

    /// Gives the client `device` behind an emulated link.
    fn link(
        mut self,
        number: usize,
        plan: &PathConfig,
        device: impl Device + 'static,
    ) -> Result<Self, Failure> {
        let (name, mbps, millis) = LINKS[number];
        let link = LinkConfig::new(mbps * 1_000_000, Duration::from_millis(millis));
        let seed = self.args.seed.wrapping_add(number as u64);
        let device = Emulated::new(device, link, link, seed).map_err(no_resources)?;
        self.paths.push(DemoPath {
            name: name.to_owned(),
            interface: InterfaceId(number as u32),
            link,
            control: device.control(),
        });
        let device = self.captured(device);
        self.client = self.client.device(device, [format!("{}/{}", plan.stack_v4, plan.prefix_len_v4)]);
        if number > 0 {
            self.client = self.client.endpoint(plan.stack_v4, EndpointFlags::SUBFLOW);
        }
        Ok(self)
    }

    fn captured(&self, device: impl Device + 'static) -> Box<dyn Device> {
        match &self.capture {
            Some(file) => Box::new(Captured::new(device, file)),
            None => Box::new(device),
        }
    }

    fn connect(&mut self) -> Result<(Stack, MptcpStream), Failure> {
        let client = std::mem::replace(&mut self.client, Stack::builder());
        let stack = client.start().map_err(no_resources)?;
        let stream = MptcpStream::connect_timeout(&stack, destination(), OPENING_MAX)
            .map_err(Failure::running("connecting"))?;
        Ok((stack, stream))
    }

    fn finish(
        self,
        stack: Stack,
        client: MptcpStream,
        peer: Box<dyn Duplex>,
        host: PeerHost,
    ) -> Result<World, Failure> {
        let Self { args: _, capture, client: _, paths } = self;
        let world = World { client, peer, paths, capture, _host: host, _stack: stack };
        world.open()?;
        Ok(world)
    }
}

fn plans() -> Vec<PathConfig> {
    let plan = |(index, (name, ..)): (u8, (&str, u64, u64))| PathConfig {
        name: name.to_owned(),
        ..PathConfig::new(index)
    };
    (0..).zip(LINKS).map(plan).collect()
}

/// The first address of the other end.
fn destination() -> std::net::SocketAddrV4 {
    std::net::SocketAddrV4::new(PathConfig::new(0).kernel_v4, PORT)
}

fn no_resources(error: std::io::Error) -> Failure {
    Failure::setup(format!("the hosts cannot be made: {error}"))
}
