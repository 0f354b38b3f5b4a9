//! A side under test and its peer, joined by one path: the kernel with a kernel, and a stack with a kernel.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use polytcp::io::LinkConfig;
use polytcp::{EndpointFlags, HostConfig, Stack};
use polytcp_lab::pair::BridgedPath;
use polytcp_lab::{KernelPair, Lab, LabConfig, PathConfig};
use polytcp_posix::{Compat, Fd, Sockets, libc};

use crate::bsd::Bsd;
use crate::kernel::KernelBsd;

/// How long both ends are given to become quiet: far above a round trip, below every timer of TCP.
const QUIET: Duration = Duration::from_millis(12);

/// A wait that ends later than this shows that the machine is busy.
const LATE: Duration = Duration::from_millis(3);
/// One way over the link of [`World::distant_linux`].
const DELAY: Duration = Duration::from_micros(500);

/// Which sockets are under test.
pub(crate) enum World {
    Linux(KernelPair),
    Stack { lab: Lab, sockets: Box<Sockets> },
}

/// One side's calls, its peer's, and the addresses of both.
pub(crate) struct Sides<'a> {
    /// The sockets under test.
    pub(crate) near: Box<dyn Bsd + 'a>,
    /// The kernel that they talk to.
    pub(crate) far: KernelBsd<'a>,
    path: &'a PathConfig,
}

impl World {
    pub(crate) fn linux() -> Self {
        Self::Linux(KernelPair::veth(1, 1500).expect("a pair of kernels"))
    }

    /// Linux with a link that takes its time, so that no answer comes while the call lasts that it answers.
    pub(crate) fn distant_linux() -> Self {
        let link = LinkConfig { delay: DELAY, ..LinkConfig::default() };
        let path = BridgedPath::new(0, link, link);
        Self::Linux(KernelPair::bridged(vec![path], 1).expect("a pair of kernels"))
    }

    pub(crate) fn stack() -> Self {
        let mut lab = Lab::start(LabConfig::with_paths(1)).expect("lab");
        let device = lab.take_device(0);
        let path = lab.path(0);
        let addresses = [
            format!("{}/{}", path.stack_v4, path.prefix_len_v4),
            format!("{}/{}", path.stack_v6, path.prefix_len_v6),
        ];
        let mut config = HostConfig::default();
        config.tcp.rmem.max = tcp_rmem_max();
        config.tcp.congestion_control = sysctl("net/ipv4/tcp_congestion_control");
        let stack = Stack::builder().config(config).limits(8, 8).device(device, addresses);
        // As the kernel's side has them.
        let stack = [IpAddr::from(path.stack_v4), IpAddr::from(path.stack_v6)]
            .iter()
            .fold(stack, |stack, address| stack.endpoint(address, EndpointFlags::SUBFLOW));
        let stack = stack.start().expect("stack");
        Self::Stack { lab, sockets: Box::new(Sockets::with_compat(stack, Compat::Linux)) }
    }

    pub(crate) fn sides(&self) -> Sides<'_> {
        match self {
            Self::Linux(pair) => Sides {
                near: Box::new(KernelBsd(&pair.client)),
                far: KernelBsd(&pair.server),
                path: pair.path(0),
            },
            Self::Stack { lab, sockets } => {
                Sides { near: Box::new(&**sockets), far: KernelBsd(lab.kernel()), path: lab.path(0) }
            }
        }
    }
}

/// Whose addresses are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    Inet,
    Inet6,
    /// IPv4 through sockets of IPv6.
    Mapped,
}

impl Family {
    pub(crate) fn domain(self) -> i32 {
        match self {
            Self::Inet => libc::AF_INET,
            Self::Inet6 | Self::Mapped => libc::AF_INET6,
        }
    }

    fn of(self, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
        match self {
            Self::Inet => v4.into(),
            Self::Inet6 => v6.into(),
            Self::Mapped => v4.to_ipv6_mapped().into(),
        }
    }

    /// All addresses.
    pub(crate) fn any(self) -> SocketAddr {
        let ip = match self {
            Self::Inet => Ipv4Addr::UNSPECIFIED.into(),
            Self::Inet6 | Self::Mapped => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(ip, 0)
    }

    /// An address that is not of the sockets' family.
    pub(crate) fn other(self) -> SocketAddr {
        match self {
            Self::Inet => SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 9], 9)),
            Self::Inet6 | Self::Mapped => SocketAddr::from(([10, 0, 0, 9], 9)),
        }
    }

    /// An address that nobody has.
    pub(crate) fn foreign(self) -> SocketAddr {
        let v6 = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
        SocketAddr::new(self.of(Ipv4Addr::new(10, 77, 0, 1), v6), 0)
    }
}

impl Sides<'_> {
    pub(crate) fn near_ip(&self, family: Family) -> IpAddr {
        family.of(self.path.stack_v4, self.path.stack_v6)
    }

    pub(crate) fn far_ip(&self, family: Family) -> IpAddr {
        family.of(self.path.kernel_v4, self.path.kernel_v6)
    }

    /// An address of the path that nobody has: nothing comes back from there.
    pub(crate) fn silent(&self, family: Family) -> SocketAddr {
        let mut v4 = self.path.stack_v4.octets();
        v4[3] = 99;
        let mut v6 = self.path.stack_v6.octets();
        v6[15] = 99;
        SocketAddr::new(family.of(v4.into(), v6.into()), 99)
    }
}

fn sysctl(name: &str) -> String {
    let told = std::fs::read_to_string(format!("/proc/sys/{name}")).expect("sysctl");
    told.trim().to_owned()
}

/// The kernel's, which some options tell.
fn tcp_rmem_max() -> NonZeroU32 {
    let told = sysctl("net/ipv4/tcp_rmem");
    told.split_whitespace().nth(2).and_then(|max| max.parse().ok()).expect("three numbers")
}

thread_local! {
    /// How often as long as usual this thread lets things settle.
    static PATIENCE: Cell<u32> = const { Cell::new(1) };
}

/// Runs something, and lets things settle `times` as long meanwhile.
pub(crate) fn with_patience<T>(times: u32, run: impl FnOnce() -> T) -> T {
    PATIENCE.set(times);
    let answer = run();
    PATIENCE.set(1);
    answer
}

/// How often a wait is repeated that ended late.
const LATE_MAX: u32 = 20;

/// Lets both ends become quiet. There is nothing to wait for that both kinds of sockets would tell; but where this thread itself
/// runs late, so may they.
pub(crate) fn settle() {
    let quiet = QUIET * PATIENCE.get();
    for _ in 0..LATE_MAX {
        let start = Instant::now();
        while let Some(left) = quiet.checked_sub(start.elapsed()) {
            std::thread::park_timeout(left);
        }
        if start.elapsed() < quiet + LATE {
            return;
        }
    }
}

/// Lets things settle until `side` says that something of `events` is there: a scene needs it.
pub(crate) fn settle_until(side: &dyn Bsd, fd: Fd, events: i16) {
    let limit = Instant::now() + Duration::from_secs(10);
    while side.poll(fd, events) & events == 0 {
        assert!(Instant::now() < limit, "events {events:#x} do not come");
        settle();
    }
}
