//! What a stack is made of, before it runs.

use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use polytcp_io::{CaptureFile, Captured, Device, Tun, TunConfig, monotonic_now};
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{Cidr, ConnectError, Host, InterfaceConfig};
use polytcp_proto::pm::command::{Endpoint, EndpointFlags, PmCommand};
use polytcp_proto::rng::SecretSource;
use polytcp_proto::tcp::cc;
use polytcp_proto::time::Duration;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::address::invalid;
use crate::device_slot::DeviceSlot;
use crate::drive::Leadership;
use crate::error;
use crate::reactor::Reactor;
use crate::shared::Shared;
use crate::stack::Stack;

/// How long connections of a stack without handles may take to end. Half of Linux's 60 s for an
/// orphan in FIN-WAIT-2 (`tcp_fin_timeout`) would serve a slow path as well; more only keeps a thread.
const LINGER_DEFAULT: Duration = Duration::from_secs(30);

/// Puts a [`Stack`] together.
///
/// Texts are checked when they are given where that can be told, else by [`start`](Self::start).
#[must_use = "a builder does nothing until it is started"]
pub struct StackBuilder {
    config: HostConfig,
    devices: Vec<(Box<dyn Device>, Vec<Cidr>)>,
    commands: Vec<PmCommand>,
    seed: Option<u64>,
    capture: Option<CaptureFile>,
    linger: Duration,
    /// What was wrong first, told by `start`, so that the builder's calls stay one chain.
    problem: Option<io::Error>,
}

impl StackBuilder {
    pub(crate) fn new() -> Self {
        Self {
            config: HostConfig::default(),
            devices: Vec::new(),
            commands: Vec::new(),
            seed: None,
            capture: None,
            linger: LINGER_DEFAULT,
            problem: None,
        }
    }

    /// Settings of the host. Default: [`HostConfig::default`].
    pub fn config(mut self, config: HostConfig) -> Self {
        self.config = config;
        self
    }

    /// Adds a path through a TUN device, which is made unless it exists, with `addresses` of the stack
    /// on it, such as `["10.0.1.2/24"]`.
    ///
    /// The kernel's end of the device, its address and its being up are the administrator's matter.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN` over the network namespace, what the kernel says
    /// else; `InvalidInput` when an address is not an address with a prefix length.
    pub fn tun(self, name: &str, addresses: impl IntoIterator<Item = impl Display>) -> io::Result<Self> {
        let addresses = cidrs(addresses)?;
        let tun = Tun::open(Some(name), TunConfig::default())?;
        Ok(self.add(Box::new(tun), addresses))
    }

    /// Adds a path through any device, with `addresses` of the stack on it. The path has the device's name.
    ///
    /// A malformed address is told by [`start`](Self::start).
    pub fn device(
        mut self,
        device: impl Device + 'static,
        addresses: impl IntoIterator<Item = impl Display>,
    ) -> Self {
        match cidrs(addresses) {
            Ok(addresses) => self.add(Box::new(device), addresses),
            Err(problem) => {
                self.problem.get_or_insert(problem);
                self
            }
        }
    }

    fn add(mut self, device: Box<dyn Device>, addresses: Vec<Cidr>) -> Self {
        self.devices.push((device, addresses));
        self
    }

    /// Adds an endpoint of the in-kernel path manager, as `ip mptcp endpoint add` does.
    ///
    /// A malformed address is told by [`start`](Self::start), as is one that the path manager refuses.
    pub fn endpoint(mut self, address: impl Display, flags: EndpointFlags) -> Self {
        let text = address.to_string();
        match text.parse::<IpAddr>() {
            Ok(address) => self.commands.push(PmCommand::AddAddr(Endpoint::new(address, flags))),
            Err(_) => {
                self.problem.get_or_insert(invalid(format!("`{text}` is not a numeric address")));
            }
        }
        self
    }

    /// Sets how many further subflows a connection may have, and how many announced addresses of the
    /// peer it acts upon, 0..=8 each, as `ip mptcp limits set` does. Default 2 and 0.
    pub fn limits(mut self, subflows: u32, add_addr_accepted: u32) -> Self {
        self.config.mptcp.subflows = subflows;
        self.config.mptcp.add_addr_accepted = add_addr_accepted;
        self
    }

    /// Draws all keys, nonces, sequence numbers and ports from this seed: for tests only, since anyone
    /// who knows the seed can forge them. Default: seeded by the operating system.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Writes all packets of all devices to a pcapng file, as they pass the devices.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn capture(mut self, path: impl AsRef<Path>) -> io::Result<Self> {
        self.capture = Some(CaptureFile::create(path)?);
        Ok(self)
    }

    /// How long the engine goes on after the last handle and socket are gone, for connections that still
    /// send what was written or wait for the peer's end. Default 30 s.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Makes the stack and starts its engine thread.
    ///
    /// # Errors
    /// `InvalidInput` when an address was malformed or the path manager refused an endpoint or limit;
    /// what the operating system says when it has no descriptor, thread or randomness left.
    pub fn start(self) -> io::Result<Stack> {
        let linger = self.linger;
        Stack::driven(self.build(None)?, linger)
    }

    /// Makes a stack without an engine thread: [`Stack::turn`] moves it, and so do threads that block on
    /// its sockets, while they wait. Asynchronous sockets need somebody who does either.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_undriven(self) -> io::Result<Stack> {
        Ok(Stack::undriven(self.build(Some(Leadership::default()))?))
    }

    fn build(self, leadership: Option<Leadership>) -> io::Result<Shared> {
        let Self { config, devices, commands, seed, capture, linger: _, problem } = self;
        problem.map_or(Ok(()), Err)?;
        if !cc::AVAILABLE.contains(&config.tcp.congestion_control.as_str()) {
            return Err(error::connect(ConnectError::UnknownCongestionControl));
        }
        let now = monotonic_now();
        let limits = PmCommand::SetLimits {
            subflows: Some(config.mptcp.subflows),
            add_addr_accepted: Some(config.mptcp.add_addr_accepted),
        };
        let mut host = Host::new(config, secrets(seed)?, now);
        let reactor = Reactor::new()?;
        let mut slots = Vec::with_capacity(devices.len());
        for (index, (device, addresses)) in devices.into_iter().enumerate() {
            let device = match &capture {
                Some(file) => Box::new(Captured::new(device, file)),
                None => device,
            };
            let interface = host.add_interface(now, interface_config(&*device, addresses));
            debug_assert_eq!(interface.0 as usize, index, "interfaces count from zero");
            if let Some(fd) = device.as_fd() {
                reactor.add(index, fd)?;
            }
            slots.push(DeviceSlot::new(interface, device));
        }
        for command in std::iter::once(&limits).chain(&commands) {
            host.command(now, command).map_err(error::path_manager)?;
        }
        let shared = Shared::new(host, slots, reactor, leadership);
        // The first deadlines, before anyone sleeps.
        shared.call(|_, _| ());
        Ok(shared)
    }
}

fn cidrs(texts: impl IntoIterator<Item = impl Display>) -> io::Result<Vec<Cidr>> {
    let parse = |text: String| text.parse().map_err(|error| invalid(format!("`{text}`: {error}")));
    texts.into_iter().map(|text| parse(text.to_string())).collect()
}

fn interface_config(device: &dyn Device, addresses: Vec<Cidr>) -> InterfaceConfig {
    let capabilities = device.capabilities();
    InterfaceConfig {
        name: device.name().to_owned(),
        mtu: capabilities.mtu,
        segment_bytes_max: capabilities.segment_bytes_max,
        checksum_offload: capabilities.checksum_offload,
        addresses,
    }
}

fn secrets(seed: Option<u64>) -> io::Result<Box<SecretSource>> {
    let mut key = [0; 32];
    match seed {
        Some(seed) => key[..8].copy_from_slice(&seed.to_le_bytes()),
        None => getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?,
    }
    Ok(Box::new(ChaCha20Rng::from_seed(key)))
}

impl std::fmt::Debug for StackBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let devices: Vec<_> = self.devices.iter().map(|(device, _)| device.name()).collect();
        f.debug_struct("StackBuilder").field("devices", &devices).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polytcp_io::{MemoryConfig, MemoryDevice};

    fn device() -> MemoryDevice {
        MemoryDevice::pair(MemoryConfig::default()).expect("descriptors").0
    }

    #[test]
    fn what_was_malformed_is_told_at_the_start() {
        let problem = |builder: StackBuilder| builder.start().err().map(|error| error.to_string());
        let text = problem(Stack::builder().device(device(), ["10.0.1.2"])).expect("no prefix length");
        assert!(text.contains("10.0.1.2") && text.contains("prefix"), "{text}");
        let mut config = HostConfig::default();
        config.tcp.congestion_control = "vegas".to_owned();
        let text = problem(Stack::builder().config(config)).expect("no such algorithm");
        assert!(text.contains("bbr, cubic"), "{text}");
        let text = problem(Stack::builder().endpoint("somewhere", EndpointFlags::SUBFLOW)).expect("a name");
        assert!(text.contains("somewhere"), "{text}");
    }

    #[test]
    fn a_seed_gives_the_same_secrets_and_none_gives_others() {
        let draw = |seed| secrets(seed).expect("randomness").next_u64();
        assert_eq!(draw(Some(7)), draw(Some(7)));
        assert_ne!(draw(Some(7)), draw(Some(8)));
        assert_ne!(draw(None), draw(None));
    }
}
