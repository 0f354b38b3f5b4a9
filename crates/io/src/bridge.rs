//! Two devices joined by emulated links: what one receives, the other sends. With a TUN device at
//! either end, two kernels talk to each other over a path of any rate, delay and loss.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use polytcp_netem::LinkConfig;
use polytcp_proto::packet::Received;
use polytcp_proto::time::Instant;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::boxes::Boxes;
use crate::clock::monotonic_now;
use crate::device::Device;
use crate::links::{Direction, LinkControl, Links, Retries};
use crate::outlet::Outlet;
use crate::rx_pool::RxPool;
use crate::segment;

/// Packets read from a device before the other side has its turn.
const TURN_PACKETS: usize = 64;

/// Two devices and the links between them.
#[derive(Debug)]
pub struct Bridge {
    a: End,
    b: End,
    links: Arc<Links>,
    stop: Arc<OwnedFd>,
    pool: RxPool,
    received: Vec<Received>,
}

/// A running bridge; dropping it stops the thread and gives the devices up.
#[derive(Debug)]
pub struct BridgeHandle {
    control: LinkControl,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// One device, and the end of the link towards it.
struct End {
    device: Box<dyn Device>,
    outlet: Outlet,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("End").field(&self.device.name()).finish()
    }
}

impl Bridge {
    /// Joins `a` and `b` on a thread of their own, until the handle is dropped or a device is gone.
    /// All chances follow from `seed`.
    ///
    /// # Errors
    /// When the process has no descriptor or thread left.
    pub fn spawn(
        a: Box<dyn Device>,
        b: Box<dyn Device>,
        a_to_b: LinkConfig,
        b_to_a: LinkConfig,
        seed: u64,
    ) -> io::Result<BridgeHandle> {
        Self::spawn_with_boxes(a, b, a_to_b, b_to_a, Boxes::default(), seed)
    }

    /// Joins `a` and `b` like [`spawn`](Self::spawn), with middleboxes on both sides of the links: the
    /// near ones at `a`, the far ones at `b`.
    ///
    /// # Errors
    /// When the process has no descriptor or thread left.
    pub fn spawn_with_boxes(
        a: Box<dyn Device>,
        b: Box<dyn Device>,
        a_to_b: LinkConfig,
        b_to_a: LinkConfig,
        boxes: Boxes,
        seed: u64,
    ) -> io::Result<BridgeHandle> {
        let links = Links::new(a_to_b, b_to_a, boxes, seed)?;
        let control = links.control();
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let bridge = Self {
            a: End { device: a, outlet: Outlet::default() },
            b: End { device: b, outlet: Outlet::default() },
            links,
            stop: Arc::clone(&stop),
            pool: RxPool::new(),
            received: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("polytcp-bridge".to_owned()).spawn(|| bridge.run())?;
        Ok(BridgeHandle { control, stop, thread: Some(thread) })
    }

    fn run(mut self) {
        // The default slack of 50 µs would be a jitter of its own on a fast link.
        if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
            tracing::debug!(%error, "timer slack stays at its default");
        }
        loop {
            let outcome = self.turn().and_then(|()| self.wait());
            match outcome {
                Ok(Waited::Woken) => {}
                Ok(Waited::Stopped) => return,
                Err(error) => {
                    let (a, b) = (self.a.device.name(), self.b.device.name());
                    tracing::warn!(%error, a, b, "a device is gone, the bridge stops");
                    return;
                }
            }
        }
    }

    /// Moves on what is there, in both directions.
    fn turn(&mut self) -> io::Result<()> {
        self.links.answer()?;
        let now = monotonic_now();
        self.pass(Direction::Egress, now)?;
        self.pass(Direction::Ingress, now)
    }

    /// Moves on what is there in one direction.
    fn pass(&mut self, direction: Direction, now: Instant) -> io::Result<()> {
        let Self { a, b, links, stop: _, pool, received } = self;
        let (from, to) = match direction {
            Direction::Egress => (a, b),
            Direction::Ingress => (b, a),
        };
        from.device.advance(now)?;
        let result = from.device.receive(now, TURN_PACKETS, pool, received);
        let mtu = from.device.capabilities().mtu.min(to.device.capabilities().mtu);
        for packet in received.drain(..) {
            links.offer(direction, now, segment::forward(&packet), mtu);
        }
        result?;
        to.outlet.release(&*to.device, links, direction, now)
    }

    /// Sleeps until there is something to do.
    fn wait(&self) -> io::Result<Waited> {
        let ends = [&self.a, &self.b];
        let retries = Retries { egress: self.b.outlet.retry_at(), ingress: self.a.outlet.retry_at() };
        let devices_deadline = ends.iter().filter_map(|end| end.device.deadline()).min();
        let deadline = self.links.tell_deadline(retries, devices_deadline);
        let timeout = deadline.map(|deadline| timespec(deadline, monotonic_now()));
        let watched = [Some(self.stop.as_fd()), Some(self.links.doorbell())];
        let devices = ends.map(|end| end.device.as_fd());
        let fds: Vec<BorrowedFd<'_>> = watched.into_iter().chain(devices).flatten().collect();
        let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(if polled[0].revents().is_empty() { Waited::Woken } else { Waited::Stopped })
    }
}

enum Waited {
    Woken,
    Stopped,
}

impl BridgeHandle {
    /// Changes and reads the links: egress is from `a` to `b`, ingress from `b` to `a`.
    pub fn control(&self) -> &LinkControl {
        &self.control
    }

    /// Whether the bridge still runs; false once one of its devices is gone.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for BridgeHandle {
    fn drop(&mut self) {
        if rustix::io::write(&*self.stop, &1u64.to_ne_bytes()).is_ok()
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the bridge thread panicked");
        }
    }
}

fn timespec(deadline: Instant, now: Instant) -> Timespec {
    let left = deadline - now;
    // A deadline that never comes is beyond what the kernel accepts; a day is as good.
    let secs = left.as_secs().min(86_400);
    Timespec { tv_sec: secs as i64, tv_nsec: left.subsec_nanos().into() }
}

#[cfg(test)]
mod tests;
