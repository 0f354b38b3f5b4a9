//! A limit for every test: what hangs fails, and says where.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Longest that one case may take, far above what it needs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs `case` in a thread, and fails when it takes longer than [`LIMIT`].
pub(crate) fn bounded<T: Send + 'static>(name: &str, case: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = mpsc::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ = done.send(case());
    });
    let thread = thread.expect("a thread");
    match finished.recv_timeout(LIMIT) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{name}: takes more than {LIMIT:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("a case that ends sends its result"),
        },
    }
}

/// Becomes true when dropped, so that a case that fails leaves no scoped thread waiting.
pub(crate) struct Raised<'a>(pub(crate) &'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
