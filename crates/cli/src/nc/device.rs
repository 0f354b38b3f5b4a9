//! The TUN device of a path, made unless it exists, perhaps behind an emulated link.

use std::io;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use polytcp::io::{CaptureFile, Captured, Device, Emulated, Tun, TunConfig};
use polytcp_lab::routing::Routing;

use super::link::{self, ExistingLink};
use super::path_spec::PathSpec;
use crate::failure::Failure;

/// Opens the device of `spec`. One that it makes goes with the process, whatever happens.
pub(super) fn open(spec: &PathSpec, capture: Option<&CaptureFile>) -> Result<Box<dyn Device>, Failure> {
    let existing = link::find(&spec.name).map_err(Failure::setting_up("asking for the devices"))?;
    let tun = match &existing {
        Some(link) => attach(spec, link)?,
        None => make(spec)?,
    };
    let device: Box<dyn Device> = match spec.link() {
        Some(link) => {
            let emulated = Emulated::new(tun, link, link, seed());
            Box::new(emulated.map_err(Failure::setting_up("an emulated link"))?)
        }
        None => Box::new(tun),
    };
    Ok(match capture {
        Some(file) => Box::new(Captured::new(device, file)),
        None => device,
    })
}

fn make(spec: &PathSpec) -> Result<Tun, Failure> {
    let default = TunConfig::default();
    let tun = open_tun(spec, TunConfig { mtu: spec.mtu.unwrap_or(default.mtu), ..default })?;
    if let Some(host) = spec.host {
        set_address(spec, host)?;
    }
    Ok(tun)
}

/// Uses a device as it is: what the path says of it must be so already.
fn attach(spec: &PathSpec, link: &ExistingLink) -> Result<Tun, Failure> {
    let name = &spec.name;
    let differs = |what: String, remedy: String| {
        Err(Failure::setup(format!("device {name} exists and is used as it is, but {what}: {remedy}")))
    };
    let Ok(mtu) = u16::try_from(link.mtu) else {
        return differs(format!("its MTU is {}", link.mtu), format!("`ip link set {name} mtu 1500`"));
    };
    if let Some(wanted) = spec.mtu.filter(|wanted| *wanted != mtu) {
        return differs(
            format!("its MTU is {mtu}"),
            format!("leave out mtu=, or `ip link set {name} mtu {wanted}`"),
        );
    }
    if let Some(host) = spec.host.filter(|host| !link.addresses.contains(host)) {
        let prefix = spec.address.prefix_len;
        return differs(
            format!("it has no address {host}"),
            format!("leave out host=, or `ip addr add {host}/{prefix} dev {name}`"),
        );
    }
    if !link.up {
        return differs("it is down".to_owned(), format!("`ip link set {name} up`"));
    }
    open_tun(spec, TunConfig { mtu, queue_packets: link.queue_packets, ..TunConfig::default() })
}

fn open_tun(spec: &PathSpec, config: TunConfig) -> Result<Tun, Failure> {
    Tun::open(Some(&spec.name), config).map_err(|error: io::Error| {
        // The device says what is missing; where it is privilege, so that this is all there is to do.
        Failure::setup(format!("path {}: {error}", spec.name))
    })
}

fn set_address(spec: &PathSpec, host: IpAddr) -> Result<(), Failure> {
    let failed = |error| Failure::setting_up::<polytcp_lab::LabError>(format!("path {}", spec.name))(error);
    let mut routing = Routing::open().map_err(failed)?;
    let index = routing.link_index(&spec.name).map_err(failed)?;
    routing.add_address(index, host, spec.address.prefix_len).map_err(failed)
}

/// Losses need not be the same again here, so the clock is as good as anything.
fn seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}
