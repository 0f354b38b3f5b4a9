//! The stack with a kernel, joined by TUN devices.

use std::net::SocketAddr;
use std::sync::Arc;

use polytcp::blocking::MptcpStream;
use polytcp::io::{Captured, Device, Emulated, LinkControl};
use polytcp::{ConnectOptions, EndpointFlags, HostConfig, Stack, StackBuilder};
use polytcp_lab::{Kernel, KernelListener, Lab, LabConfig, PathConfig, Protocol};
use tokio::runtime::Runtime;

use super::plan::{CHECKSUMS, Direct, FORGETFUL, Family, KERNEL_CC, Plan, STEERING, Sockets, TwoWay};
use super::{Arena, Begin, Ends, opening};
use crate::bench::chunks::ChunkEnd;
use crate::bench::end::End;
use crate::bench::tasks::{self, TaskEnd};
use crate::duplex::Duplex;
use crate::failure::Failure;

/// See the module.
pub(in crate::bench) struct StackArena {
    stack: Stack,
    /// Where tasks carry the data.
    runtime: Option<Arc<Runtime>>,
    /// Data is passed without a copy.
    chunks: bool,
    lab: Lab,
    family: Family,
    protocol: Protocol,
    controls: Vec<LinkControl>,
    cc: Option<String>,
    kernel_cc: String,
}

impl StackArena {
    /// Over bare TUN devices.
    pub(in crate::bench) fn direct(direct: &Direct<'_>) -> Result<Self, Failure> {
        let path = |index| PathConfig::new(index).with_mtu(direct.mtu);
        let joining = |index| match direct.serves {
            true => path(index).with_endpoint(EndpointFlags::SUBFLOW),
            false => path(index),
        };
        let plan =
            Plan { links: &[], seed: 0, cc: direct.cc, sched: None, kernel_cc: KERNEL_CC, capture: None };
        let mut arena = Self::build((0..direct.paths).map(joining).collect(), &plan, direct)?;
        match direct.sockets {
            Sockets::Blocking => {}
            Sockets::Chunks => arena.chunks = true,
            Sockets::Tokio => arena.runtime = Some(tasks::runtime()?),
        }
        Ok(arena)
    }

    /// Over emulated links.
    pub(in crate::bench) fn emulated(plan: &Plan<'_>) -> Result<Self, Failure> {
        let paths = (0..).zip(plan.links).map(|(index, _)| PathConfig::new(index)).collect();
        Self::build(paths, plan, &Direct::new(1, 1_500))
    }

    /// Of `direct` counts what the hosts are, and not their paths.
    fn build(paths: Vec<PathConfig>, plan: &Plan<'_>, direct: &Direct<'_>) -> Result<Self, Failure> {
        let config = LabConfig { paths: paths.clone(), ..LabConfig::default() };
        let mut config = FORGETFUL.iter().fold(config, |config, (name, value)| config.sysctl(name, value));
        if let Some(cores) = direct.steered {
            config = config.sysctl(STEERING, &cores.server_mask());
        }
        let mut host = HostConfig::default();
        if direct.checksums {
            config = config.sysctl(CHECKSUMS, "1");
            host.mptcp.checksum_enabled = true;
        }
        if let Some(name) = plan.sched {
            name.clone_into(&mut host.mptcp.scheduler);
        }
        let mut lab = Lab::start(config).map_err(Failure::setting_up("the kernel's namespace"))?;
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
                Some(file) => with_path(builder, index, path, direct.family, Captured::new(device, file)),
                None => with_path(builder, index, path, direct.family, device),
            };
        }
        let stack = builder.start().map_err(Failure::setting_up("the stack"))?;
        Ok(Self {
            stack,
            runtime: None,
            chunks: false,
            lab,
            family: direct.family,
            protocol: direct.protocol,
            controls,
            cc: plan.cc.map(str::to_owned),
            kernel_cc: plan.kernel_cc.to_owned(),
        })
    }

    pub(in crate::bench) fn stack(&self) -> &Stack {
        &self.stack
    }

    pub(in crate::bench) fn kernel(&self) -> &Kernel {
        &self.lab
    }

    fn stream(&self, to: SocketAddr) -> Result<MptcpStream, Failure> {
        let protocol = match self.protocol {
            Protocol::Mptcp => polytcp::Protocol::Mptcp,
            Protocol::Tcp => polytcp::Protocol::Tcp,
        };
        let congestion_control = self.cc.clone();
        let options = ConnectOptions { protocol, congestion_control, ..ConnectOptions::new(to) };
        MptcpStream::connect_with(&self.stack, &options).map_err(Failure::running("connecting"))
    }

    /// As [`Arena::connect_all`], with an `end` of their own kind.
    fn connect_ends(
        &self,
        begin: Begin,
        count: u16,
        end: impl Fn(MptcpStream) -> Result<Box<dyn End>, Failure>,
    ) -> Result<Vec<Ends>, Failure> {
        let (to, listener) = self.listen()?;
        let listener = Arc::new(listener);
        let open = |_| {
            let client = self.stream(to)?;
            let server = opening::accept(&listener, &self.kernel_cc)?;
            opening::open(begin, &client, &server, self.path_count())?;
            let server: Box<dyn Duplex> = Box::new(server);
            Ok(Ends { client: end(client)?, server: Box::new(server), _listener: Arc::clone(&listener) })
        };
        (0..count).map(open).collect()
    }
}

fn with_path(
    builder: StackBuilder,
    index: usize,
    path: &PathConfig,
    family: Family,
    device: impl Device + 'static,
) -> StackBuilder {
    let (address, prefix_len) = family.client(path);
    let builder = builder.device(device, [format!("{address}/{prefix_len}")]);
    // The first path has the initial subflow.
    if index == 0 { builder } else { builder.endpoint(address, EndpointFlags::SUBFLOW) }
}

impl Arena for StackArena {
    fn listen(&self) -> Result<(SocketAddr, KernelListener), Failure> {
        opening::listen(&self.lab, self.family, self.protocol, &self.kernel_cc)
    }

    fn dial(&self, to: SocketAddr) -> Result<Box<dyn Duplex>, Failure> {
        Ok(Box::new(self.stream(to)?))
    }

    fn connect_all(&self, begin: Begin, count: u16) -> Result<Vec<Ends>, Failure> {
        match &self.runtime {
            Some(runtime) => self.connect_ends(begin, count, |client| {
                let client = client.into_async().map_err(|_| Failure::run("the stream has clones"))?;
                Ok(Box::new(TaskEnd::new(Arc::clone(runtime), client)))
            }),
            None if self.chunks => self.connect_ends(begin, count, |client| Ok(Box::new(ChunkEnd(client)))),
            None => super::connect_blocking(self, begin, count),
        }
    }

    fn kernel_cc(&self) -> &str {
        &self.kernel_cc
    }

    fn path_count(&self) -> usize {
        self.lab.paths().len()
    }

    fn name(&self) -> &'static str {
        "polytcp"
    }

    fn link(&self, index: usize) -> Option<&LinkControl> {
        self.controls.get(index)
    }
}
