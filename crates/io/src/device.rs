//! What a device is to the stack that drives it.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use polytcp_proto::packet::{Received, Transmit};
use polytcp_proto::time::Instant;

use crate::rx_pool::RxPool;

/// Octets of the largest IP packet that the stack makes or takes: the 16-bit length of IPv4, which
/// for IPv6 leaves 40 octets unused.
pub const PACKET_BYTES_MAX: u32 = 65_535;

/// What a device can take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Octets of the largest IP packet on the link behind the device.
    pub mtu: u16,
    /// Octets of the largest packet with `segmentation` that [`Device::send`] accepts: 65,535 with
    /// segmentation offload, else `mtu`.
    pub segment_bytes_max: u32,
    /// Whether [`Device::send`] accepts a partial checksum and finishes it (or hands it to a receiver on
    /// this machine that needs none). Never false where `segment_bytes_max` exceeds `mtu`.
    pub checksum_offload: bool,
}

impl Capabilities {
    /// A device that takes finished packets of up to `mtu` octets only.
    pub const fn per_packet(mtu: u16) -> Self {
        Self { mtu, segment_bytes_max: mtu as u32, checksum_offload: false }
    }

    /// A device with checksum and TCP segmentation offload.
    pub const fn offload(mtu: u16) -> Self {
        Self { mtu, segment_bytes_max: PACKET_BYTES_MAX, checksum_offload: true }
    }

    /// Whether packets with `segmentation` are accepted.
    pub const fn segmentation_offload(&self) -> bool {
        self.segment_bytes_max > self.mtu as u32
    }
}

/// What became of a packet given to a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendOutcome {
    /// It is on its way. What happens to it on the link is not known.
    Sent,
    /// It was not taken since the device is full for now; it may be offered again later.
    Busy,
    /// The device refuses this packet for good (its link is down, or it does not fit).
    Dropped,
}

/// A place where packets of a host leave and arrive.
///
/// Any thread may call any method. A driver sleeps until [`as_fd`](Self::as_fd) is readable or
/// [`deadline`](Self::deadline) has come, whichever is first; then it calls [`advance`](Self::advance)
/// and [`receive`](Self::receive), and asks for the deadline again. A device whose deadline moves
/// forward on its own account, by a [`send`](Self::send) of another thread for instance, makes its
/// descriptor readable.
pub trait Device: Send + Sync {
    /// What the device takes.
    fn capabilities(&self) -> Capabilities;

    /// Sends one packet.
    ///
    /// # Errors
    /// When the device is gone and no later packet can pass.
    fn send(&self, now: Instant, packet: &Transmit) -> io::Result<SendOutcome>;

    /// Appends up to `budget` packets to `out` and returns how many; fewer than `budget` when nothing
    /// more can be read now.
    ///
    /// # Errors
    /// When the device is gone. Packets read before are in `out`.
    fn receive(
        &self,
        now: Instant,
        budget: usize,
        pool: &mut RxPool,
        out: &mut Vec<Received>,
    ) -> io::Result<usize>;

    /// A descriptor that is readable while [`receive`](Self::receive) has something to do; `None` for
    /// devices that are driven by [`deadline`](Self::deadline) alone.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// When [`advance`](Self::advance) and [`receive`](Self::receive) must be called next, if ever. May
    /// be in the past, which means now.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Moves on packets that became due inside the device.
    ///
    /// # Errors
    /// When the device is gone.
    fn advance(&self, _now: Instant) -> io::Result<()> {
        Ok(())
    }

    /// The name that people know it by.
    fn name(&self) -> &str;
}

macro_rules! forward_device {
    ($pointer:ty) => {
        impl<D: Device + ?Sized> Device for $pointer {
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
            fn send(&self, now: Instant, packet: &Transmit) -> io::Result<SendOutcome> {
                (**self).send(now, packet)
            }
            fn receive(
                &self,
                now: Instant,
                budget: usize,
                pool: &mut RxPool,
                out: &mut Vec<Received>,
            ) -> io::Result<usize> {
                (**self).receive(now, budget, pool, out)
            }
            fn as_fd(&self) -> Option<BorrowedFd<'_>> {
                (**self).as_fd()
            }
            fn deadline(&self) -> Option<Instant> {
                (**self).deadline()
            }
            fn advance(&self, now: Instant) -> io::Result<()> {
                (**self).advance(now)
            }
            fn name(&self) -> &str {
                (**self).name()
            }
        }
    };
}

forward_device!(Box<D>);
forward_device!(Arc<D>);
