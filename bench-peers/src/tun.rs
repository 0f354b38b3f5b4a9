//! A TUN device with a virtio-net header before each packet, opened by the caller.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use polytcp_wire::virtio::{VNET_HDR_LEN, VnetHdr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Octets of the largest IP packet, and one more that tells a packet that was cut off.
pub const SPACE_BYTES: usize = 65_536;

/// A device.
#[derive(Debug)]
pub struct Tun {
    fd: OwnedFd,
}

impl Tun {
    /// Takes over an inherited descriptor, which does not block.
    pub fn inherit(fd: RawFd) -> Self {
        // SAFETY: the caller passed the descriptor for this process alone, and names it once.
        Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } }
    }

    /// Reads a packet to the front of `space`.
    pub fn read(&self, space: &mut [u8]) -> io::Result<Option<usize>> {
        let mut hdr = [0; VNET_HDR_LEN];
        loop {
            let mut parts = [IoSliceMut::new(&mut hdr), IoSliceMut::new(space)];
            match rustix::io::readv(&self.fd, &mut parts) {
                Ok(len) => return Ok(len.checked_sub(VNET_HDR_LEN)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes a packet. One that the kernel has no room for is lost, as on any link.
    pub fn write(&self, hdr: &VnetHdr, packet: &[u8]) -> io::Result<()> {
        let hdr = hdr.emit();
        loop {
            match rustix::io::writev(&self.fd, &[IoSlice::new(&hdr), IoSlice::new(packet)]) {
                Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sleeps until a device has a packet, the caller says something, or the time is over.
///
/// # Errors
/// `BrokenPipe` when the caller is done or gone: nobody would end a stack that waits for ever.
pub fn wait(tuns: &[Tun], timeout: Duration) -> io::Result<()> {
    let stdin = io::stdin();
    let mut fds: Vec<_> = tuns.iter().map(|tun| PollFd::new(tun, PollFlags::IN)).collect();
    fds.push(PollFd::new(&stdin, PollFlags::IN));
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if fds.last().is_some_and(|stdin| stdin.revents().contains(PollFlags::HUP)) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}
