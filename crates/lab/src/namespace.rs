//! A network namespace that lives as long as its descriptor.
//!
//! A thread creates it and ends at once; later work gets a thread of its own, which enters the
//! namespace first. Sockets and devices made inside stay there, whichever thread uses them, and keep the
//! namespace alive. It has no name, so nothing is left when the last descriptor is closed.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::error::{Context, LabError};

const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// A network namespace. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Namespace {
    descriptor: Arc<OwnedFd>,
}

impl Namespace {
    /// Creates an empty namespace, with nothing but a loopback device that is down.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`, and where namespaces are forbidden or used up.
    pub fn create() -> Result<Self, LabError> {
        let made = thread::scope(|scope| {
            scope
                .spawn(|| {
                    // SAFETY: only the network namespace of this thread changes, which was started for
                    // this alone; a new network namespace touches neither memory nor descriptors.
                    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
                        .context(|| "creating a network namespace".into())?;
                    File::open(OWN_NAMESPACE).context(|| format!("opening {OWN_NAMESPACE}"))
                })
                .join()
        });
        let file = made.unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(Self { descriptor: Arc::new(file.into()) })
    }

    /// Runs `work` on a thread inside the namespace and returns its result.
    ///
    /// # Panics
    /// When `work` panics, with its payload; when the namespace cannot be entered, which only happens
    /// to a process that has given up its privileges.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let done = thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter();
                    work()
                })
                .join()
        });
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Starts a thread inside the namespace, for work that goes on beside the caller's.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let namespace = self.clone();
        thread::spawn(move || {
            namespace.enter();
            drop(namespace);
            work()
        })
    }

    fn enter(&self) {
        move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("whoever created a namespace may enter it");
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn work_runs_inside_and_the_caller_stays_outside() {
        if !crate::require_or_skip() {
            return;
        }
        let identity = || fs::read_link(OWN_NAMESPACE).expect("procfs is mounted");
        let outside = identity();
        let namespace = Namespace::create().expect("namespace");
        let inside = namespace.run(identity);
        assert_ne!(inside, outside);
        assert_eq!(namespace.spawn(identity).join().expect("no panic"), inside);
        assert_eq!(identity(), outside);
        let devices = namespace.run(|| fs::read_to_string("/proc/thread-self/net/dev"));
        assert_eq!(devices.expect("procfs is mounted").matches(':').count(), 1, "only lo");
    }
}
