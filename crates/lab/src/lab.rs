//! One kernel whose every path is a TUN device; the other end of each device is a stack's.

use std::ops::Deref;

use polytcp_io::tun::{Offload, Tun, TunConfig};

use crate::error::{Context, LabError};
use crate::kernel::Kernel;
use crate::path::{Limits, PathConfig};
use crate::privilege::{self, Unavailable};
use crate::routing::LinkState;

/// How a lab is set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LabConfig {
    /// The paths, in the order of the kernel's preference. Default two with the default addresses.
    pub paths: Vec<PathConfig>,
    /// Sysctls to set before the devices are made: name with dots, value. Default none.
    pub sysctls: Vec<(String, String)>,
    /// The kernel's limits. Default 8 and 8.
    pub limits: Limits,
}

impl LabConfig {
    /// That many paths with the default addresses and no endpoints.
    pub fn with_paths(count: u8) -> Self {
        Self {
            paths: (0..count).map(PathConfig::new).collect(),
            sysctls: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// The same, with one more sysctl.
    pub fn sysctl(mut self, name: &str, value: &str) -> Self {
        self.sysctls.push((name.into(), value.into()));
        self
    }
}

impl Default for LabConfig {
    fn default() -> Self {
        Self::with_paths(2)
    }
}

/// A Linux kernel joined to a stack by TUN devices. It offers everything that [`Kernel`] does.
#[derive(Debug)]
pub struct Lab {
    kernel: Kernel,
    paths: Vec<PathConfig>,
    devices: Vec<Option<Tun>>,
}

impl Lab {
    /// Finds out whether a lab can run here.
    ///
    /// # Errors
    /// With one line that says what is missing.
    pub fn available() -> Result<(), Unavailable> {
        privilege::available()
    }

    /// Makes the namespace with everything in it. The kernel takes packets to all its addresses when this
    /// returns.
    ///
    /// # Errors
    /// With the step that failed.
    pub fn start(config: LabConfig) -> Result<Self, LabError> {
        let LabConfig { paths, sysctls, limits } = config;
        let kernel = Kernel::create()?;
        for (name, value) in &sysctls {
            kernel.sysctl_set(name, value)?;
        }
        kernel.limits_set(limits).context(|| "setting the limits".into())?;
        let mut devices = Vec::with_capacity(paths.len());
        for (number, path) in (0u8..).zip(&paths) {
            devices.push(Some(open_tun(&kernel, path)?));
            let addresses = path.kernel_end();
            let link = kernel.link_configure(&path.name, number, &addresses)?;
            kernel.endpoints_configure(path, link, &addresses)?;
        }
        Ok(Self { kernel, paths, devices })
    }

    /// Takes the stack's end of path `index`. The device goes when it is dropped.
    ///
    /// # Panics
    /// When there is no such path, or it was taken already.
    pub fn take_device(&mut self, index: usize) -> Tun {
        self.devices[index].take().expect("a device is taken once")
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

    /// Sets the kernel's device of path `index` up, with its addresses and routes, or down.
    ///
    /// # Errors
    /// When it was up or down already, or its device was dropped.
    ///
    /// # Panics
    /// When there is no such path.
    pub fn link_set(&self, index: usize, state: LinkState) -> Result<(), LabError> {
        let path = &self.paths[index];
        match state {
            LinkState::Up => {
                let number = u8::try_from(index).unwrap_or(u8::MAX);
                self.kernel.link_restore(&path.name, number, &path.kernel_end())
            }
            LinkState::Down => self.kernel.link_down(&path.name),
        }
    }

    /// A handle to the kernel that outlives the borrow of the lab.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }
}

/// The lab is the kernel, with devices beside it.
impl Deref for Lab {
    type Target = Kernel;

    fn deref(&self) -> &Kernel {
        &self.kernel
    }
}

/// Opens a path's TUN device inside the kernel's namespace.
pub(crate) fn open_tun(kernel: &Kernel, path: &PathConfig) -> Result<Tun, LabError> {
    let offload = if path.offload { Offload::On } else { Offload::Off };
    let config = TunConfig { mtu: path.mtu, offload, ..TunConfig::default() };
    kernel.run(|| Tun::open(Some(&path.name), config)).context(|| format!("opening TUN device {}", path.name))
}
