//! The handle to a running stack, and what ends it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant as StdInstant};

use polytcp_io::monotonic_now;
use polytcp_proto::counters::Counters;
use polytcp_proto::host::{Accounting, Cidr, LinkState};
use polytcp_proto::pm::command::{PmCommand, PmError, PmReply};
use polytcp_proto::sysctl::SysctlError;

use crate::builder::StackBuilder;
use crate::drive::Leadership;
use crate::engine;
use crate::path::{self, PathInfo};
use crate::pm_events::PmEvents;
use crate::reactor::Wakeup;
use crate::registration::Registration;
use crate::shared::Shared;
use crate::waiters::{Interest, Source};

/// A running Multipath TCP host: its connections, its devices and the thread that drives them.
///
/// Cheap to clone; clones are the same stack. Every socket is a handle too. When the last of them is
/// gone the engine thread goes on in the background until the connections that were closed have
/// delivered what was written, at most for [`StackBuilder::linger`], and ends. A process that exits
/// does not wait for that: call [`wait_idle`](Self::wait_idle) first. An undriven stack ends at once.
#[derive(Clone, Debug)]
pub struct Stack {
    handle: Arc<Handle>,
}

/// Keeps a stack running; its last owner ends it.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.reactor.ring();
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Stack {
    /// Begins to put a stack together.
    pub fn builder() -> StackBuilder {
        StackBuilder::new()
    }

    pub(crate) fn driven(shared: Shared, linger: Duration) -> io::Result<Self> {
        let shared = Arc::new(shared);
        let for_engine = Arc::clone(&shared);
        let engine = std::thread::Builder::new().name("polytcp-engine".to_owned());
        engine.spawn(move || engine::run(&for_engine, linger))?;
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    pub(crate) fn undriven(shared: Shared) -> Self {
        Self { handle: Arc::new(Handle { shared: Arc::new(shared) }) }
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Does one round: sleeps until a packet arrives, a timer is due, another thread's call left work, or
    /// `deadline` has come (`None`: no limit; a time in the past: does not sleep), then does what there is
    /// to do. Returns how many packets came in.
    ///
    /// Any thread may call it, also beside an engine thread, and several at once: packets of a device are
    /// handled in order whoever reads them.
    ///
    /// # Errors
    /// When the operating system refuses to wait.
    pub fn turn(&self, deadline: Option<StdInstant>) -> io::Result<usize> {
        let until =
            deadline.map(|deadline| monotonic_now() + deadline.saturating_duration_since(StdInstant::now()));
        let packets = self.shared().turn(&mut Wakeup::default(), until)?;
        // This round may have taken a ring that was meant for a thread that leads.
        if self.shared().leadership.as_ref().is_some_and(Leadership::is_taken) {
            self.shared().reactor.ring();
        }
        Ok(packets)
    }

    /// Waits until the stack has no connection left, closed ones that still deliver included; false when
    /// that takes longer than `timeout`. TIME-WAIT does not count.
    ///
    /// Blocks the thread, which drives an undriven stack meanwhile.
    pub fn wait_idle(&self, timeout: Duration) -> bool {
        let wait = Registration::new(self.shared(), Source::Idle);
        let idle = wait.block(Some(monotonic_now() + timeout), |context, key| {
            let replaced = {
                let mut core = self.shared().lock();
                if core.host.accounting().connections == 0 || self.shared().has_failed() {
                    return Poll::Ready(Ok(()));
                }
                core.waiters.register(Source::Idle, key, Interest::Read, context.waker())
            };
            drop(replaced);
            Poll::Pending
        });
        idle.is_ok()
    }

    /// Gives a command to the path manager: endpoints, limits, flags, subflows.
    ///
    /// # Errors
    /// What the path manager says, with Linux's error number.
    pub fn command(&self, command: &PmCommand) -> Result<PmReply, PmError> {
        self.shared().call(|core, now| core.host.command(now, command))
    }

    /// Sets one of Linux's sysctls, such as `net.ipv4.tcp_sack`, for what is opened or decided from now on;
    /// `docs/sysctls.md` lists them.
    ///
    /// # Errors
    /// When there is none of that name, or it does not take the value; nothing is changed then.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<(), SysctlError> {
        self.shared().look(|core| core.host.set_sysctl(name, value))
    }

    /// Reads one of Linux's sysctls.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn sysctl(&self, name: &str) -> Result<String, SysctlError> {
        self.shared().look(|core| core.host.sysctl(name))
    }

    /// Subscribes to the path manager's events, beginning with the next.
    pub fn subscribe(&self) -> PmEvents {
        self.shared().look(|core| core.subscribers.add())
    }

    /// Gives TCP Fast Open cookies by a new key from now on; those of the key before are still taken.
    pub fn rotate_fast_open_key(&self) {
        self.shared().look(|core| core.host.rotate_fast_open_key());
    }

    /// What the host holds at this moment, for leak checks.
    pub fn accounting(&self) -> Accounting {
        self.shared().look(|core| core.host.accounting())
    }

    /// What the host counted so far, under Linux's names.
    pub fn counters(&self) -> Counters {
        self.shared().look(|core| core.host.counters().clone())
    }

    /// Rounds that the stack's drivers did so far. An idle stack does none.
    pub fn rounds(&self) -> u64 {
        self.shared().rounds.load(Ordering::Relaxed)
    }

    /// The paths: name, interface and counters of each device, in the order in which they were added.
    pub fn paths(&self) -> Vec<PathInfo> {
        self.shared().slots.iter().map(PathInfo::of).collect()
    }

    /// Declares a path usable or not, as when a link goes up or down.
    ///
    /// # Errors
    /// `NotFound` when no path has that name.
    pub fn set_link(&self, path: &str, state: LinkState) -> io::Result<()> {
        let path = path::find(&self.shared().slots, path)?;
        self.shared().call(|core, now| core.host.set_link(now, path.interface, state));
        Ok(())
    }

    /// Declares the largest IP packet that a path takes, in octets; at least 1280.
    ///
    /// # Errors
    /// `NotFound` when no path has that name.
    pub fn set_mtu(&self, path: &str, mtu: u16) -> io::Result<()> {
        let path = path::find(&self.shared().slots, path)?;
        self.shared().call(|core, now| core.host.set_mtu(now, path.interface, mtu));
        Ok(())
    }

    /// Adds an address of the stack to a path.
    ///
    /// # Errors
    /// `NotFound` when no path has that name.
    pub fn add_address(&self, path: &str, address: Cidr) -> io::Result<()> {
        let path = path::find(&self.shared().slots, path)?;
        self.shared().call(|core, now| core.host.add_address(now, path.interface, address));
        Ok(())
    }

    /// Removes an address of the stack from a path.
    ///
    /// # Errors
    /// `NotFound` when no path has that name.
    pub fn remove_address(&self, path: &str, address: IpAddr) -> io::Result<()> {
        let path = path::find(&self.shared().slots, path)?;
        self.shared().call(|core, now| core.host.remove_address(now, path.interface, address));
        Ok(())
    }
}
