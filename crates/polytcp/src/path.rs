//! A path as its owner sees it: a device of the stack by name, and what passed it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use polytcp_proto::packet::InterfaceId;

use crate::device_slot::DeviceSlot;

/// One path of a stack, as [`Stack::paths`](crate::Stack::paths) tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathInfo {
    /// Its name, which is the device's.
    pub name: String,
    /// The interface of the host, by which subflows name it.
    pub interface: InterfaceId,
    /// The device has failed for good, as when a TUN device is deleted.
    pub gone: bool,
    /// Packets that the device took; one of up to 64 KiB counts once.
    pub packets_sent: u64,
    /// Packets that the device delivered.
    pub packets_received: u64,
    /// Packets that the device refused.
    pub packets_refused: u64,
    /// Packets that were dropped since the device was busy for too long.
    pub packets_overflowed: u64,
    /// How often the device was busy and a packet had to wait.
    pub times_busy: u64,
}

impl PathInfo {
    pub(crate) fn of(slot: &DeviceSlot) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &slot.counters;
        Self {
            name: slot.device.name().to_owned(),
            interface: slot.interface,
            gone: slot.is_gone(),
            packets_sent: read(&counters.packets_sent),
            packets_received: read(&counters.packets_received),
            packets_refused: read(&counters.packets_refused),
            packets_overflowed: read(&counters.packets_overflowed),
            times_busy: read(&counters.times_busy),
        }
    }
}

/// The first of `slots` whose device has that name.
///
/// # Errors
/// `NotFound` when there is none.
pub(crate) fn find<'a>(slots: &'a [DeviceSlot], name: &str) -> io::Result<&'a DeviceSlot> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no path is called `{name}`"));
    slots.iter().find(|slot| slot.device.name() == name).ok_or_else(missing)
}
