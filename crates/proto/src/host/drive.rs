//! The loop that every driver of a host runs: inputs, then outputs until none is left.
//!
//! The running stack does it with devices and a clock, a simulation with links and virtual time; both
//! call [`round`] when something came in or became due, and [`settle`] after a socket call. So a host
//! meets its inputs in the same order in both, and a run that one of them shows is the run of the other.

use super::{Event, Host};
use crate::packet::{InterfaceId, Received, Transmit};
use crate::pm::command::PmEvent;
use crate::time::Instant;

/// Where a host's outputs go.
pub trait Outputs {
    /// Whether [`transmit`](Self::transmit) may be called. While it may not, packets stay with the host,
    /// which decides late what is in them.
    fn has_room(&self) -> bool;

    /// A packet to send.
    fn transmit(&mut self, packet: Transmit);

    /// Something happened to a socket.
    fn event(&mut self, host: &Host, event: Event);

    /// Something happened at the path manager.
    fn pm_event(&mut self, event: &PmEvent);
}

/// What a host needs next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Settled {
    /// There may be more packets, for which the outputs had no room: settle again when they have.
    pub held_back: bool,
    /// When the next [`round`] is needed, if nothing comes in before; `None` for never.
    pub deadline: Option<Instant>,
}

/// Hands `packets` to the host, does what is due, and settles.
pub fn round(
    host: &mut Host,
    now: Instant,
    packets: impl IntoIterator<Item = (InterfaceId, Received)>,
    outputs: &mut impl Outputs,
) -> Settled {
    for (interface, packet) in packets {
        host.handle_packet(now, interface, packet);
    }
    if host.poll_timeout().is_some_and(|deadline| deadline <= now) {
        host.handle_timeout(now);
    }
    settle(host, now, outputs)
}

/// Takes the host's outputs, as after every input.
pub fn settle(host: &mut Host, now: Instant, outputs: &mut impl Outputs) -> Settled {
    let held_back = loop {
        if !outputs.has_room() {
            break true;
        }
        match host.poll_transmit(now) {
            Some(packet) => outputs.transmit(packet),
            None => break false,
        }
    };
    while let Some(event) = host.poll_event() {
        outputs.event(host, event);
    }
    while let Some(event) = host.poll_pm_event() {
        outputs.pm_event(&event);
    }
    Settled { held_back, deadline: host.poll_timeout() }
}
