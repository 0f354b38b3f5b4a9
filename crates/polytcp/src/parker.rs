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
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

/// Polls until ready, asleep in between; `None` once `until` has passed and the last poll was not ready.
pub(crate) fn block_on<T>(
    until: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let (parker, waker) = PARKER.with(|cell| cell.get_or_init(new_parker).clone());
    let mut context = Context::from_waker(&waker);
    loop {
        // A wake-up meant for an earlier wait of this thread is none for this one.
        parker.woken.store(false, Ordering::Relaxed);
        if let Poll::Ready(value) = poll(&mut context) {
            return Some(value);
        }
        while !parker.woken.swap(false, Ordering::Acquire) {
            match until.map(|until| until.since(monotonic_now())) {
                None => std::thread::park(),
                Some(left) if left.is_zero() => return None,
                Some(left) => std::thread::park_timeout(left),
            }
        }
    }
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
        let value = block_on(None, |context| {
            polls += 1;
            context.waker().wake_by_ref();
            if polls == 3 { Poll::Ready(polls) } else { Poll::Pending }
        });
        assert_eq!(value, Some(3));
    }

    #[test]
    fn another_thread_ends_the_sleep() {
        let mut helper = None;
        let value = block_on(None, |context| {
            if helper.is_some() {
                return Poll::Ready(7);
            }
            let waker = context.waker().clone();
            helper = Some(std::thread::spawn(move || waker.wake()));
            Poll::Pending
        });
        assert_eq!(value, Some(7));
        helper.expect("spawned").join().expect("no panic");
    }

    #[test]
    fn a_deadline_ends_the_sleep() {
        let until = monotonic_now() + Duration::from_millis(2);
        assert_eq!(block_on(Some(until), |_| Poll::<()>::Pending), None);
        assert!(monotonic_now() >= until);
    }
}
