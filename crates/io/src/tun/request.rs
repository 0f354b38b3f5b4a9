//! The ioctls that make and set up a TUN interface, each a safe function with a clear error.
#![allow(unsafe_code, reason = "rustix has no TUN ioctls of its own")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use polytcp_wire::virtio::VNET_HDR_LEN;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Opcode, Setter, Updater, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::Offload;

const NAME_BYTES: usize = libc::IFNAMSIZ;

/// `struct ifreq`: a name, and room for the largest of its union's members (`struct ifmap`).
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct IfReq {
    name: [u8; NAME_BYTES],
    value: [u8; 24],
}

const _: () = assert!(size_of::<IfReq>() >= size_of::<libc::ifreq>());

impl IfReq {
    /// # Errors
    /// When `name` is empty or longer than 15 octets, or holds a NUL.
    fn named(name: &str) -> io::Result<Self> {
        let mut request = Self { name: [0; NAME_BYTES], value: [0; 24] };
        if name.is_empty() || name.len() >= NAME_BYTES || name.contains(['\0', '/']) {
            let text = format!("interface name {name:?} is not 1 to {} octets without '/'", NAME_BYTES - 1);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        Ok(request)
    }

    fn unnamed() -> Self {
        Self { name: [0; NAME_BYTES], value: [0; 24] }
    }

    fn name(&self) -> String {
        let len = self.name.iter().position(|&b| b == 0).unwrap_or(NAME_BYTES);
        String::from_utf8_lossy(&self.name[..len]).into_owned()
    }

    fn flags(&self) -> i32 {
        i32::from(i16::from_ne_bytes([self.value[0], self.value[1]]))
    }

    fn set_flags(&mut self, flags: i32) {
        self.value[..2].copy_from_slice(&(flags as i16).to_ne_bytes());
    }

    fn set_number(&mut self, number: u32) {
        self.value[..4].copy_from_slice(&number.to_ne_bytes());
    }
}

/// Opens `/dev/net/tun`, not yet attached to an interface.
pub(super) fn open_clone_device() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open("/dev/net/tun", flags, Mode::empty()).map_err(|error| {
        let why = match error {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => {
                "no /dev/net/tun: load the kernel module tun, or pass the device into the container"
            }
            Errno::ACCESS | Errno::PERM => "no permission to open /dev/net/tun: needs root or CAP_NET_ADMIN",
            _ => "cannot open /dev/net/tun",
        };
        explained(error, why)
    })
}

/// Attaches `fd` to the interface `name`, making it if need be, and returns the name it has.
pub(super) fn attach(fd: &OwnedFd, name: Option<&str>) -> io::Result<String> {
    let mut request = match name {
        Some(name) => IfReq::named(name)?,
        None => IfReq::unnamed(),
    };
    request.set_flags(libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR);
    update::<{ libc::TUNSETIFF as Opcode }>(fd, &mut request).map_err(|error| {
        let name = name.unwrap_or("tun%d");
        let why = match error {
            Errno::PERM => "no permission: needs root or CAP_NET_ADMIN",
            Errno::BUSY => "in use by another process",
            Errno::EXIST | Errno::INVAL => "the name is that of another kind of interface",
            _ => "cannot make it",
        };
        explained(error, &format!("TUN device {name}: {why}"))
    })?;
    Ok(request.name())
}

/// The name of the interface that `fd` is attached to, if as this crate needs it.
pub(super) fn attached(fd: &OwnedFd) -> io::Result<String> {
    let mut request = IfReq::unnamed();
    update::<{ libc::TUNGETIFF as Opcode }>(fd, &mut request)
        .map_err(|error| explained(error, "the descriptor is not attached to a TUN interface"))?;
    let needed = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    if request.flags() & needed != needed {
        let text = format!("TUN device {} lacks IFF_NO_PI or IFF_VNET_HDR", request.name());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(request.name())
}

/// Sets the length of the virtio-net header to the one that this crate uses.
pub(super) fn set_vnet_hdr_len(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads an `int` and writes nothing.
    let request = unsafe { Setter::<{ libc::TUNSETVNETHDRSZ as Opcode }, i32>::new(VNET_HDR_LEN as i32) };
    // SAFETY: as above, and `fd` is open.
    unsafe { ioctl(fd, request) }
        .map_err(|error| explained(error, "cannot set the virtio-net header's length"))
}

/// Tells the kernel what it may leave to us.
pub(super) fn set_offload(fd: &OwnedFd, offload: Offload) -> Result<(), Errno> {
    let flags = match offload {
        Offload::On => libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN,
        Offload::Off => 0,
    };
    // SAFETY: TUNSETOFFLOAD takes its argument as a number and reads no memory.
    let request = unsafe { IntegerSetter::<{ libc::TUNSETOFFLOAD as Opcode }>::new_usize(flags as usize) };
    // SAFETY: as above, and `fd` is open.
    unsafe { ioctl(fd, request) }
}

/// Sets MTU and queue length of the interface `name`, and its link up, in the calling thread's network
/// namespace.
pub(super) fn bring_up(name: &str, mtu: u16, queue_packets: u32) -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let failed = |what: &'static str| move |error| explained(error, &format!("TUN device {name}: {what}"));
    let mut request = IfReq::named(name)?;
    request.set_number(queue_packets);
    update::<{ libc::SIOCSIFTXQLEN as Opcode }>(&socket, &mut request)
        .map_err(failed("cannot set the queue's length"))?;
    request.set_number(u32::from(mtu));
    update::<{ libc::SIOCSIFMTU as Opcode }>(&socket, &mut request).map_err(failed("cannot set the MTU"))?;
    update::<{ libc::SIOCGIFFLAGS as Opcode }>(&socket, &mut request).map_err(failed("cannot read flags"))?;
    request.set_flags(request.flags() | libc::IFF_UP);
    update::<{ libc::SIOCSIFFLAGS as Opcode }>(&socket, &mut request).map_err(failed("cannot set it up"))
}

/// Gives the interface `name` an IPv4 address of a /24, in the calling thread's network namespace.
#[cfg(test)]
pub(super) fn set_address(name: &str, address: std::net::Ipv4Addr) -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut request = IfReq::named(name)?;
    request.value[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    request.value[4..8].copy_from_slice(&address.octets());
    update::<{ libc::SIOCSIFADDR as Opcode }>(&socket, &mut request)?;
    request.value[4..8].copy_from_slice(&[255, 255, 255, 0]);
    Ok(update::<{ libc::SIOCSIFNETMASK as Opcode }>(&socket, &mut request)?)
}

fn update<const OPCODE: Opcode>(fd: impl AsFd, request: &mut IfReq) -> Result<(), Errno> {
    // SAFETY: every ioctl of this module that comes here reads and writes one `struct ifreq`, which
    // `IfReq` is at least as large as, in the kernel's layout and for any octets valid.
    let updater = unsafe { Updater::<OPCODE, IfReq>::new(request) };
    // SAFETY: as above, and `fd` is open.
    unsafe { ioctl(fd, updater) }
}

fn explained(error: Errno, why: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{why} ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_interface_can_have_is_refused_before_the_kernel_sees_it() {
        for name in ["", "sixteen-octets-x", "a/b", "nul\0"] {
            let error = IfReq::named(name).map(|_| ()).expect_err(name);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(IfReq::named("fifteen-octets-").expect("it fits").name(), "fifteen-octets-");
    }
}
