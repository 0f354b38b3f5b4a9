//! The end of an emulated link: gives a device what is due, in order, and waits while it is busy.

use std::io;

use polytcp_proto::packet::Transmit;
use polytcp_proto::time::{Duration, Instant};

use crate::device::{Device, SendOutcome};
use crate::links::{Direction, Links};
use crate::passage::Joining;
use crate::segment;

/// Time after which a packet that the device was too busy for is offered again: some packets' time on
/// a fast link. The queue is the device's own, so nothing tells when it has room.
const BUSY_RETRY: Duration = Duration::from_micros(200);

/// What a device was too busy for; one packet at most, the rest stay on the link.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    busy: Option<Busy>,
}

#[derive(Debug)]
struct Busy {
    packet: Transmit,
    retry_at: Instant,
}

impl Outlet {
    /// Gives `device` what is due on the link in `direction`, finished as far as the device itself
    /// would not.
    pub(crate) fn release(
        &mut self,
        device: &(impl Device + ?Sized),
        links: &Links,
        direction: Direction,
        now: Instant,
    ) -> io::Result<()> {
        let capabilities = device.capabilities();
        let joining = Joining::for_device(capabilities);
        if self.busy.as_ref().is_some_and(|busy| busy.retry_at > now) {
            return Ok(());
        }
        let mut retry = self.busy.take().map(|busy| busy.packet);
        while let Some(mut packet) = retry.take().or_else(|| links.take(direction, now, joining)) {
            if !capabilities.checksum_offload && segment::complete(&mut packet).is_err() {
                links.count_refused(direction);
                continue;
            }
            match device.send(now, &packet)? {
                SendOutcome::Sent => {}
                SendOutcome::Dropped => links.count_refused(direction),
                SendOutcome::Busy => {
                    self.busy = Some(Busy { packet, retry_at: now + BUSY_RETRY });
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// When to try again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.busy.as_ref().map(|busy| busy.retry_at)
    }
}
