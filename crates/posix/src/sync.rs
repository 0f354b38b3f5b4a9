//! Locks of the wait lists: those of std, or loom's where the order of steps is explored (`POLYTCP_LOOM=1`).

#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::AtomicBool;
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(all(test, loom))]
pub(crate) use loom::sync::atomic::AtomicBool;
#[cfg(all(test, loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// Takes a lock whose holders keep what it guards whole even where they panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
