//! A thread that waits for a socket, as a waker.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use polytcp_io::monotonic_now;
use polytcp_proto::time::Instant;

/// Wakes one thread.
struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

/// Polls until ready, asleep in between; `None` when the sleep ended without a wake-up.
///
/// `sleep` is given the check whether this thread was woken, and says whether it was.
pub(crate) fn block_on<T>(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    mut sleep: impl FnMut(&dyn Fn() -> bool) -> bool,
) -> Option<T> {
    PARKER.with(|cell| {
        let (parker, waker) = cell.get_or_init(new_parker);
        let mut context = Context::from_waker(waker);
        loop {
            // A wake-up meant for an earlier wait of this thread is none for this one.
            parker.woken.store(false, Ordering::SeqCst);
            if let Poll::Ready(value) = poll(&mut context) {
                return Some(value);
            }
            if !sleep(&|| parker.woken.load(Ordering::SeqCst)) {
                return None;
            }
        }
    })
}

/// Parks the thread until it was `woken` or `until` has passed; says whether it was woken.
pub(crate) fn park(until: Option<Instant>, woken: &dyn Fn() -> bool) -> bool {
    while !woken() {
        match until.map(|until| until.since(monotonic_now())) {
            None => std::thread::park(),
            Some(left) if left.is_zero() => return false,
            Some(left) => std::thread::park_timeout(left),
        }
    }
    true
}

fn new_parker() -> (Arc<Parker>, Waker) {
    let parker = Arc::new(Parker { thread: std::thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parker));
    (parker, waker)
}

thread_local! {
    static PARKER: OnceCell<(Arc<Parker>, Waker)> = const { OnceCell::new() };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_wake_up_before_the_sleep_is_not_lost() {
        let mut polls = 0;
        let poll = |context: &mut Context<'_>| {
            polls += 1;
            context.waker().wake_by_ref();
            if polls == 3 { Poll::Ready(polls) } else { Poll::Pending }
        };
        let value = block_on(poll, |woken| park(None, woken));
        assert_eq!(value, Some(3));
    }

    #[test]
    fn another_thread_ends_the_sleep() {
        let mut helper = None;
        let poll = |context: &mut Context<'_>| {
            if helper.is_some() {
                return Poll::Ready(7);
            }
            let waker = context.waker().clone();
            helper = Some(std::thread::spawn(move || waker.wake()));
            Poll::Pending
        };
        let value = block_on(poll, |woken| park(None, woken));
        assert_eq!(value, Some(7));
        helper.expect("spawned").join().expect("no panic");
    }

    #[test]
    fn a_deadline_ends_the_sleep() {
        let until = monotonic_now() + Duration::from_millis(2);
        assert_eq!(block_on(|_| Poll::<()>::Pending, |woken| park(Some(until), woken)), None);
        assert!(monotonic_now() >= until);
    }
}
