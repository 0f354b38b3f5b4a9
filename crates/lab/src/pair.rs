//! Two Linux kernels, joined by veth pairs or by emulated links, for comparisons with the stack.

use std::os::fd::AsFd;

use polytcp_io::{Boxes, Bridge, BridgeHandle, CaptureFile, Captured, Device, LinkConfig};
use polytcp_proto::pm::command::EndpointFlags;

use crate::error::{Context, LabError};
use crate::kernel::Kernel;
use crate::lab::open_tun;
use crate::path::{EndpointFamilies, Limits, PathConfig};
use crate::routing::{Routing, VethEnd};

/// A path with an emulated link in each direction.
#[derive(Clone, Debug)]
pub struct BridgedPath {
    /// Addresses and devices.
    pub path: PathConfig,
    /// From the client to the server.
    pub up: LinkConfig,
    /// From the server to the client.
    pub down: LinkConfig,
}

impl BridgedPath {
    /// Path number `index` with the default addresses and the client's subflow endpoint.
    pub fn new(index: u8, up: LinkConfig, down: LinkConfig) -> Self {
        Self { path: PathConfig::new(index).with_endpoint(EndpointFlags::SUBFLOW), up, down }
    }
}

/// Two kernels. The client has an endpoint on every path, so that it joins over all of them once it
/// has connected to any address of the server; both have limits of 8 and 8.
///
/// The client has the `stack` addresses of the paths, the server the `kernel` ones.
pub struct KernelPair {
    /// The side that connects.
    pub client: Kernel,
    /// The side that listens.
    pub server: Kernel,
    paths: Vec<PathConfig>,
    bridges: Vec<BridgeHandle>,
}

impl KernelPair {
    /// Joined by `paths` veth pairs, with all their offloads.
    ///
    /// Endpoints are made for both families up to four paths and for IPv4 above, as Linux takes eight.
    pub fn veth(paths: u8, mtu: u16) -> Result<Self, LabError> {
        Self::veth_prepared(paths, mtu, |_, _| Ok(()))
    }

    /// As [`veth`](Self::veth); `prepare` is given the client and the server while they have no devices, for sysctls that
    /// new ones follow.
    pub fn veth_prepared(
        paths: u8,
        mtu: u16,
        prepare: impl FnOnce(&Kernel, &Kernel) -> Result<(), LabError>,
    ) -> Result<Self, LabError> {
        let families = if paths <= 4 { EndpointFamilies::Both } else { EndpointFamilies::V4 };
        let paths: Vec<_> = (0..paths)
            .map(|index| PathConfig {
                endpoint_families: families,
                ..PathConfig::new(index).with_mtu(mtu).with_endpoint(EndpointFlags::SUBFLOW)
            })
            .collect();
        let pair = Self::unjoined(paths)?;
        prepare(&pair.client, &pair.server)?;
        pair.client.run(|| {
            let mut routing = Routing::open()?;
            for PathConfig { name, mtu, .. } in &pair.paths {
                let end = VethEnd { name, mtu: *mtu };
                routing.add_veth(&end, &end, pair.server.namespace().as_fd())?;
            }
            Ok::<(), LabError>(())
        })?;
        pair.configure()?;
        Ok(pair)
    }

    /// Joined by TUN devices with emulated links between them. The same `seed` gives the same losses
    /// for the same packets.
    pub fn bridged(paths: Vec<BridgedPath>, seed: u64) -> Result<Self, LabError> {
        Self::bridged_with_boxes(unboxed(paths), seed)
    }

    /// Joined like [`bridged`](Self::bridged), with what the client sends and receives written to `file`.
    pub fn bridged_captured(
        paths: Vec<BridgedPath>,
        seed: u64,
        file: &CaptureFile,
    ) -> Result<Self, LabError> {
        Self::join(unboxed(paths), seed, Some(file))
    }

    /// Joined like [`bridged`](Self::bridged), with middleboxes on each path: the near ones at the client,
    /// the far ones at the server, outward from client to server.
    pub fn bridged_with_boxes(paths: Vec<(BridgedPath, Boxes)>, seed: u64) -> Result<Self, LabError> {
        Self::join(paths, seed, None)
    }

    fn join(
        paths: Vec<(BridgedPath, Boxes)>,
        seed: u64,
        capture: Option<&CaptureFile>,
    ) -> Result<Self, LabError> {
        let mut pair = Self::unjoined(paths.iter().map(|(bridged, _)| bridged.path.clone()).collect())?;
        for (number, (BridgedPath { path, up, down }, boxes)) in (0u64..).zip(paths) {
            let client = open_tun(&pair.client, &path)?;
            let client: Box<dyn Device> = match capture {
                Some(file) => Box::new(Captured::new(client, file)),
                None => Box::new(client),
            };
            let server = Box::new(open_tun(&pair.server, &path)?);
            let bridge = Bridge::spawn_with_boxes(client, server, up, down, boxes, seed.wrapping_add(number))
                .context(|| format!("bridging {}", path.name))?;
            pair.bridges.push(bridge);
        }
        pair.configure()?;
        Ok(pair)
    }

    fn unjoined(paths: Vec<PathConfig>) -> Result<Self, LabError> {
        let (client, server) = (Kernel::create()?, Kernel::create()?);
        Ok(Self { client, server, paths, bridges: Vec::new() })
    }

    fn configure(&self) -> Result<(), LabError> {
        for kernel in [&self.client, &self.server] {
            kernel.limits_set(Limits::default()).context(|| "setting the limits".into())?;
        }
        // The server first: a link has a carrier once both ends are up.
        for (number, path) in (0u8..).zip(&self.paths) {
            self.server.link_configure(&path.name, number, &path.kernel_end())?;
            let addresses = path.stack_end();
            let link = self.client.link_configure(&path.name, number, &addresses)?;
            self.client.endpoints_configure(path, link, &addresses)?;
        }
        Ok(())
    }

    /// Path `index`, with its addresses.
    ///
    /// # Panics
    /// When there is no such path.
    pub fn path(&self, index: usize) -> &PathConfig {
        &self.paths[index]
    }

    /// All paths.
    pub fn paths(&self) -> &[PathConfig] {
        &self.paths
    }

    /// The bridge of path `index`, to cut or change its links; `None` with veth.
    pub fn bridge(&self, index: usize) -> Option<&BridgeHandle> {
        self.bridges.get(index)
    }
}

fn unboxed(paths: Vec<BridgedPath>) -> Vec<(BridgedPath, Boxes)> {
    paths.into_iter().map(|path| (path, Boxes::default())).collect()
}
