//! The events of the kernel's path manager.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use polytcp_proto::pm::command::PmEvent;

use crate::client::Family;
use crate::error::ControlError;
use crate::event;
use crate::message::{EVENTS_GROUP, FAMILY, Message, Mode};
use crate::netlink::{GENERIC, Netlink};

/// Room for some thousand events that nobody reads yet.
const RECEIVE_BUFFER_BYTES: u32 = 1 << 20;

/// A subscription to `mptcp_pm_events`, in the network namespace in which it was made.
///
/// With the userspace path manager the kernel accepts joins and announced addresses only while such
/// a subscription exists.
pub struct Events {
    netlink: Netlink,
    family: u16,
    pending: VecDeque<PmEvent>,
}

impl Events {
    /// Subscribes, in the calling thread's network namespace. Needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// [`ControlError::NoFamily`] when the kernel has no MPTCP or an old one without events.
    pub fn subscribe() -> Result<Self, ControlError> {
        let mut netlink = Netlink::open(GENERIC)?;
        let family = Family::find(&mut netlink, FAMILY)?;
        let group = family.group(EVENTS_GROUP).ok_or(ControlError::NoFamily(EVENTS_GROUP))?;
        netlink.set_receive_buffer(RECEIVE_BUFFER_BYTES)?;
        netlink.join(group)?;
        Ok(Self { netlink, family: family.id, pending: VecDeque::new() })
    }

    /// The next event, or `None` when none comes within `timeout`. Events of unknown kinds are passed over.
    ///
    /// # Errors
    /// [`ControlError::EventsLost`] when the kernel had to drop events; later ones still come.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<PmEvent>, ControlError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(frames) = self.netlink.receive(Some(left))? {
                for frame in frames.iter().filter(|frame| frame.kind == self.family) {
                    self.pending.extend(event::decode(&Message::read(&frame.payload, Mode::Do)?)?);
                }
            } else if left.is_zero() {
                return Ok(None);
            }
        }
    }
}
