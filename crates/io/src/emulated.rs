//! A device behind emulated links, in real time.
//!
//! What is sent is cut to MTU-sized packets, held by the egress link, and given to the device when it
//! is due; what the device receives goes through the ingress link in the same way. This is how a path
//! with a real kernel behind it gets its rate, delay and loss where there is no `tc netem`, and how a
//! middlebox comes to stand before it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use polytcp_netem::LinkConfig;
use polytcp_proto::packet::{Received, Transmit};
use polytcp_proto::time::Instant;
use rustix::event::epoll;

use crate::boxes::Boxes;
use crate::device::{Capabilities, Device, SendOutcome};
pub use crate::links::{Direction, EmulatedStats, LinkControl};
use crate::links::{Links, Retries, lock};
use crate::outlet::Outlet;
use crate::passage::Joining;
use crate::rx_pool::RxPool;
use crate::segment;

/// Packets read from the device in one go. The rest stay in it, and its descriptor readable.
const DRAIN_PACKETS: usize = 64;
/// Rounds of [`DRAIN_PACKETS`] in one call, so that a flood does not keep the driver.
const DRAIN_ROUNDS: usize = 16;

/// A device behind an egress and an ingress link.
///
/// It takes packets of any size with offload, whatever the device behind it takes, and
/// [`send`](Device::send) reports [`SendOutcome::Sent`] also where the link drops the packet.
#[derive(Debug)]
pub struct Emulated<D> {
    inner: D,
    links: Arc<Links>,
    /// Locked while packets are given to the device, so that they keep their order.
    outlet: Mutex<Outlet>,
    inlet: Mutex<Inlet>,
    /// Watches the device and the links' doorbell.
    readiness: OwnedFd,
}

/// Memory for what the device receives.
#[derive(Debug, Default)]
struct Inlet {
    pool: RxPool,
    packets: Vec<Received>,
}

impl<D: Device> Emulated<D> {
    /// Puts links in front of `inner`; all their chances follow from `seed`.
    ///
    /// # Errors
    /// When the process has no descriptors left for an eventfd and an epoll instance.
    pub fn new(inner: D, egress: LinkConfig, ingress: LinkConfig, seed: u64) -> io::Result<Self> {
        Self::with_boxes(inner, egress, ingress, Boxes::default(), seed)
    }

    /// Puts links and middleboxes in front of `inner`; all chances of the links follow from `seed`. The
    /// near boxes stand between the stack and the links, the far ones between the links and `inner`.
    ///
    /// # Errors
    /// When the process has no descriptors left for an eventfd and an epoll instance.
    pub fn with_boxes(
        inner: D,
        egress: LinkConfig,
        ingress: LinkConfig,
        boxes: Boxes,
        seed: u64,
    ) -> io::Result<Self> {
        let links = Links::new(egress, ingress, boxes, seed)?;
        let readiness = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watched = inner.as_fd().into_iter().chain([links.doorbell()]);
        for fd in watched {
            epoll::add(&readiness, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        Ok(Self { inner, links, outlet: Mutex::default(), inlet: Mutex::default(), readiness })
    }

    /// A handle that changes and reads the links from any thread.
    pub fn control(&self) -> LinkControl {
        self.links.control()
    }

    /// The device behind the links.
    pub fn inner(&self) -> &D {
        &self.inner
    }

    /// Gives the device what is due on the egress link.
    fn release(&self, now: Instant) -> io::Result<()> {
        lock(&self.outlet).release(&self.inner, &self.links, Direction::Egress, now)
    }

    /// Puts all that the device has received on the ingress link.
    fn drain(&self, now: Instant) -> io::Result<()> {
        let mut inlet = lock(&self.inlet);
        let Inlet { pool, packets } = &mut *inlet;
        for _ in 0..DRAIN_ROUNDS {
            let result = self.inner.receive(now, DRAIN_PACKETS, pool, packets);
            let mtu = self.inner.capabilities().mtu;
            for packet in packets.drain(..) {
                self.links.offer(Direction::Ingress, now, segment::forward(&packet), mtu);
            }
            if result? < DRAIN_PACKETS {
                break;
            }
        }
        Ok(())
    }
}

impl<D: Device> Device for Emulated<D> {
    fn capabilities(&self) -> Capabilities {
        Capabilities::offload(self.inner.capabilities().mtu)
    }

    fn send(&self, now: Instant, packet: &Transmit) -> io::Result<SendOutcome> {
        let mtu = self.inner.capabilities().mtu;
        self.links.offer(Direction::Egress, now, packet.clone(), mtu);
        if self.links.deadline_of(Direction::Egress).is_some_and(|due| due <= now) {
            self.release(now)?;
        }
        Ok(SendOutcome::Sent)
    }

    fn receive(
        &self,
        now: Instant,
        budget: usize,
        pool: &mut RxPool,
        out: &mut Vec<Received>,
    ) -> io::Result<usize> {
        self.links.answer()?;
        self.drain(now)?;
        let before = out.len();
        while out.len() - before < budget {
            let Some(packet) = self.links.take(Direction::Ingress, now, Joining::Neighbours) else { break };
            let parts = [packet.header.as_slice(), &packet.payload];
            out.push(pool.concat(packet.vnet, parts).expect("no packet exceeds the pool's space"));
        }
        Ok(out.len() - before)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.readiness.as_fd())
    }

    fn deadline(&self) -> Option<Instant> {
        let retries = Retries { egress: lock(&self.outlet).retry_at(), ingress: None };
        self.links.tell_deadline(retries, self.inner.deadline())
    }

    fn advance(&self, now: Instant) -> io::Result<()> {
        self.links.answer()?;
        self.inner.advance(now)?;
        self.drain(now)?;
        self.release(now)
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}

#[cfg(test)]
mod tests;
