//! Where Rust ends: a result becomes a value and `errno`, a panic becomes `EIO`, and a thread that is cancelled gets out first.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::io::Errno;

/// What a call of C's returns.
pub(crate) trait Answer {
    /// Beside `errno`.
    const FAILED: Self;
}

impl Answer for libc::c_int {
    const FAILED: Self = -1;
}

impl Answer for libc::ssize_t {
    const FAILED: Self = -1;
}

impl<T> Answer for *mut T {
    const FAILED: Self = std::ptr::null_mut();
}

unsafe extern "C" {
    /// The C library's; the crate `libc` does not name it.
    safe fn pthread_setcancelstate(state: c_int, old: &mut c_int) -> c_int;
}

const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// While it lives the thread is not cancelled: what `pthread_cancel` unwinds by cannot pass through Rust.
struct Uncancelled {
    before: c_int,
}

impl Uncancelled {
    fn new() -> Self {
        let mut before = 0;
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut before);
        Self { before }
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        pthread_setcancelstate(self.before, &mut 0);
    }
}

/// Runs a call; no panic leaves it. The panic's text goes to stderr, as everywhere in Rust.
pub(crate) fn answer<T: Answer>(call: impl FnOnce() -> Result<T, Errno>) -> T {
    let _uncancelled = Uncancelled::new();
    match catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(Errno::IO)) {
        Ok(answer) => answer,
        Err(error) => {
            set_errno(error);
            T::FAILED
        }
    }
}

pub(crate) fn set_errno(error: Errno) {
    // SAFETY: the place of this thread's `errno` is there as long as the thread.
    unsafe { *libc::__errno_location() = error.raw_os_error() };
}

/// The result of a call of the C library's, which has set `errno` already.
pub(crate) fn of_kernel<T: Answer + PartialEq>(value: T) -> Result<T, Errno> {
    if value == T::FAILED {
        let error = std::io::Error::last_os_error().raw_os_error();
        return Err(Errno::from_raw_os_error(error.unwrap_or(libc::EIO)));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let value: libc::c_int = answer(|| panic!("this text on stderr is meant"));
        assert_eq!(value, -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EIO));
    }

    #[test]
    fn an_error_becomes_errno() {
        let value: libc::ssize_t = answer(|| Err(Errno::NOTCONN));
        assert_eq!(value, -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENOTCONN));
        assert_eq!(answer(|| Ok(3 as libc::c_int)), 3);
    }
}
