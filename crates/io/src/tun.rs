//! A Linux TUN device: the kernel of this machine (or of the namespace it was made in) at the other end.
//!
//! Each read and write is one packet with a virtio-net header before it (`IFF_VNET_HDR`). With offload
//! a packet is up to 64 KiB long and its checksum partial, both ways; without, each fits the MTU and is
//! complete.

mod request;

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use polytcp_proto::packet::{Received, Transmit};
use polytcp_proto::time::Instant;
use polytcp_wire::virtio::{Checksum, VNET_HDR_LEN, VnetHdr};
use rustix::io::Errno;

use crate::device::{Capabilities, Device, SendOutcome};
use crate::rx_pool::{RxPool, SPACE_BYTES};
use crate::segment;

/// How a TUN device is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunConfig {
    /// Octets of the largest IP packet, from 68. Default 1,500, as Linux gives it.
    pub mtu: u16,
    /// Whether segmentation and checksums are left to the device. Default on.
    pub offload: Offload,
    /// Packets that the kernel queues for us (`txqueuelen`). Default 10,000: with Linux's 500 a single
    /// fast sender without pacing overruns a reader that loses the processor for a millisecond.
    pub queue_packets: u32,
}

/// Whether the kernel may leave segmentation and checksums to the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Offload {
    /// As far as the kernel knows it.
    #[default]
    On,
    /// Never.
    Off,
}

impl Default for TunConfig {
    fn default() -> Self {
        Self { mtu: 1_500, offload: Offload::On, queue_packets: 10_000 }
    }
}

/// A TUN device. Closing it removes the interface, unless it was made persistent elsewhere.
#[derive(Debug)]
pub struct Tun {
    fd: OwnedFd,
    name: String,
    capabilities: Capabilities,
    unreadable: AtomicU64,
}

impl Tun {
    /// Makes the interface `name` (or one that the kernel names `tun0`, `tun1`, …) in the network
    /// namespace of the calling thread, and sets it up: offload, MTU, queue, link up. The device works
    /// from any thread afterwards. Where the kernel refuses offload it goes without, and says so once
    /// in the log.
    ///
    /// # Errors
    /// With a text that names the cause: no `/dev/net/tun`, no permission, a name that is too long or
    /// in use.
    pub fn open(name: Option<&str>, config: TunConfig) -> io::Result<Self> {
        let fd = request::open_clone_device()?;
        let name = request::attach(&fd, name)?;
        let tun = Self::with_offload(fd, name, config)?;
        request::bring_up(&tun.name, config.mtu, config.queue_packets)?;
        Ok(tun)
    }

    /// Takes over a descriptor that is attached to a TUN interface already, with `IFF_NO_PI` and
    /// `IFF_VNET_HDR`. The interface itself is left as it is: `config.mtu` has to say what it is,
    /// `config.queue_packets` is not used.
    ///
    /// # Errors
    /// When `fd` is not such a descriptor.
    pub fn adopt(fd: OwnedFd, config: TunConfig) -> io::Result<Self> {
        let name = request::attached(&fd)?;
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
        Self::with_offload(fd, name, config)
    }

    fn with_offload(fd: OwnedFd, name: String, config: TunConfig) -> io::Result<Self> {
        request::set_vnet_hdr_len(&fd)?;
        let capabilities = match (config.offload, request::set_offload(&fd, config.offload)) {
            (Offload::On, Ok(())) => Capabilities::offload(config.mtu),
            (Offload::Off, Ok(())) => Capabilities::per_packet(config.mtu),
            (_, Err(error)) => {
                tracing::warn!(%name, %error, "the kernel refuses offload, going on packet by packet");
                Capabilities::per_packet(config.mtu)
            }
        };
        Ok(Self { fd, name, capabilities, unreadable: AtomicU64::new(0) })
    }

    /// Packets that were read and dropped since the device was made: shorter than their virtio header,
    /// longer than an IP packet, or segmented in a way that is not TCP's.
    pub fn unreadable_packets(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    fn write(&self, packet: &Transmit) -> io::Result<SendOutcome> {
        let hdr = packet.vnet.emit();
        let parts =
            [IoSlice::new(&hdr), IoSlice::new(packet.header.as_slice()), IoSlice::new(&packet.payload)];
        match retry_interrupted(|| rustix::io::writev(&self.fd, &parts)) {
            Ok(_) => Ok(SendOutcome::Sent),
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => Ok(SendOutcome::Busy),
            // IO: the interface is down. INVAL and MSGSIZE: not a packet that this kernel takes.
            Err(Errno::IO | Errno::INVAL | Errno::MSGSIZE) => Ok(SendOutcome::Dropped),
            Err(error) => Err(self.gone(error)),
        }
    }

    fn gone(&self, error: Errno) -> io::Error {
        io::Error::new(error.kind(), format!("TUN device {} is gone: {error}", self.name))
    }
}

impl Device for Tun {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// A packet that the capabilities exclude is dropped, but for a partial checksum, which is
    /// completed.
    fn send(&self, _now: Instant, packet: &Transmit) -> io::Result<SendOutcome> {
        let offload = self.capabilities.checksum_offload;
        match (packet.vnet.segmentation, packet.vnet.checksum) {
            (Some(_), _) if !offload => Ok(SendOutcome::Dropped),
            (None, Checksum::Partial { .. }) if !offload => {
                let mut packet = packet.clone();
                match segment::complete(&mut packet) {
                    Ok(()) => self.write(&packet),
                    Err(segment::Malformed) => Ok(SendOutcome::Dropped),
                }
            }
            _ => self.write(packet),
        }
    }

    fn receive(
        &self,
        _now: Instant,
        budget: usize,
        pool: &mut RxPool,
        out: &mut Vec<Received>,
    ) -> io::Result<usize> {
        let before = out.len();
        // Packets that cannot be used count too, so that a flood of them ends.
        for _ in 0..budget {
            let mut hdr = [0; VNET_HDR_LEN];
            let mut parts = [IoSliceMut::new(&mut hdr), IoSliceMut::new(pool.space())];
            let len = match retry_interrupted(|| rustix::io::readv(&self.fd, &mut parts)) {
                Ok(len) => len,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(self.gone(error)),
            };
            match (VnetHdr::parse(&hdr), len.checked_sub(VNET_HDR_LEN)) {
                // A read that fills the space may have been cut off.
                (Ok(vnet), Some(len @ 1..SPACE_BYTES)) => out.push(pool.take(vnet, len)),
                (vnet, _) => {
                    let total = self.unreadable.fetch_add(1, Ordering::Relaxed) + 1;
                    tracing::debug!(name = self.name, len, ?vnet, total, "unreadable packet");
                }
            }
        }
        Ok(out.len() - before)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn name(&self) -> &str {
        &self.name
    }
}

fn retry_interrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
