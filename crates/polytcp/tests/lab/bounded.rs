//! A limit for every test: what hangs fails, and says where.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

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

/// Longest that any single step takes on a working stack.
pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// Between two looks at what tells nobody when it changes, such as a kernel's counters.
const LOOK: Duration = Duration::from_millis(1);

/// Waits until `reached`, and fails with `describe` when that takes longer than [`WAIT`].
pub(crate) fn wait_until(mut reached: impl FnMut() -> bool, describe: impl Fn() -> String) {
    let deadline = Instant::now() + WAIT;
    while !reached() {
        assert!(Instant::now() < deadline, "waited {WAIT:?} in vain: {}", describe());
        pause(LOOK);
    }
}

/// Lets time go by.
#[expect(clippy::disallowed_methods, reason = "the pause is what is tested, or there is nothing to wait on")]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}

/// Becomes true when dropped, so that a case that fails leaves no scoped thread waiting.
pub(crate) struct Raised<'a>(pub(crate) &'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
