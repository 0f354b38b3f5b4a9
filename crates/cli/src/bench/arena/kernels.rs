//! A kernel with a kernel, joined by veth pairs or emulated links.

use std::net::SocketAddr;

use polytcp::io::LinkControl;
use polytcp_lab::pair::BridgedPath;
use polytcp_lab::{Kernel, KernelListener, KernelPair, Protocol};

use super::plan::{CHECKSUMS, Direct, FORGETFUL, Family, KERNEL_CC, Plan, STEERING};
use super::{Arena, Begin, Ends, opening};
use crate::duplex::Duplex;
use crate::failure::Failure;

/// See the module.
pub(in crate::bench) struct KernelArena {
    pair: KernelPair,
    family: Family,
    protocol: Protocol,
    cc: String,
}

impl KernelArena {
    /// Over veth pairs.
    pub(in crate::bench) fn direct(direct: &Direct<'_>) -> Result<Self, Failure> {
        let pair = KernelPair::veth_prepared(direct.paths, direct.mtu, |client, server| {
            direct.steered.map_or(Ok(()), |cores| {
                client.sysctl_set(STEERING, &cores.client_mask())?;
                server.sysctl_set(STEERING, &cores.server_mask())
            })
        });
        let pair = pair.map_err(Failure::setting_up("the pair of kernels"))?;
        let arena = Self { pair, family: direct.family, protocol: direct.protocol, cc: KERNEL_CC.to_owned() };
        if direct.checksums {
            arena.set(CHECKSUMS, "1")?;
        }
        Ok(arena)
    }

    /// Over emulated links.
    pub(in crate::bench) fn emulated(plan: &Plan<'_>) -> Result<Self, Failure> {
        let paths = (0..).zip(plan.links).map(|(index, link)| BridgedPath::new(index, link.up, link.down));
        let pair = match plan.capture {
            Some(file) => KernelPair::bridged_captured(paths.collect(), plan.seed, file),
            None => KernelPair::bridged(paths.collect(), plan.seed),
        };
        let pair = pair.map_err(Failure::setting_up("the pair of kernels"))?;
        let cc = plan.kernel_cc.to_owned();
        let arena = Self { pair, family: Family::Ipv4, protocol: Protocol::Mptcp, cc };
        FORGETFUL.iter().try_for_each(|(name, value)| arena.set(name, value))?;
        Ok(arena)
    }

    /// Sets a sysctl of both kernels.
    fn set(&self, name: &str, value: &str) -> Result<(), Failure> {
        let mut kernels = [&self.pair.client, &self.pair.server].into_iter();
        kernels
            .try_for_each(|kernel| kernel.sysctl_set(name, value))
            .map_err(Failure::setting_up("the pair of kernels"))
    }

    pub(in crate::bench) fn pair(&self) -> &KernelPair {
        &self.pair
    }
}

impl Arena for KernelArena {
    fn listen(&self) -> Result<(SocketAddr, KernelListener), Failure> {
        opening::listen(&self.pair.server, self.family, self.protocol, &self.cc)
    }

    fn dial(&self, to: SocketAddr) -> Result<Box<dyn Duplex>, Failure> {
        let client = self.pair.client.connect(None, to, self.protocol, Some(&self.cc));
        Ok(Box::new(client.map_err(Failure::running("connecting the kernels"))?))
    }

    fn connect_all(&self, begin: Begin, count: u16) -> Result<Vec<Ends>, Failure> {
        super::connect_blocking(self, begin, count)
    }

    fn kernel_cc(&self) -> &str {
        &self.cc
    }

    fn path_count(&self) -> usize {
        self.pair.paths().len()
    }

    fn name(&self) -> &'static str {
        "kernel"
    }

    fn link(&self, index: usize) -> Option<&LinkControl> {
        self.pair.bridge(index).map(|bridge| bridge.control())
    }
}

/// `wanted` if the kernel has it, else cubic.
pub(in crate::bench) fn kernel_cc_like(wanted: &str) -> Result<String, Failure> {
    let kernel = Kernel::create().map_err(Failure::setting_up("a network namespace"))?;
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let socket =
        kernel.listen(any, Protocol::Mptcp).map_err(Failure::setting_up("opening an MPTCP socket"))?;
    Ok(if socket.set_congestion(wanted).is_ok() { wanted } else { KERNEL_CC }.to_owned())
}
