//! What the path manager reports, for those who subscribed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use polytcp_io::monotonic_now;
use polytcp_proto::pm::command::PmEvent;

use crate::mutex::lock;
use crate::parker::{block_on, park};

/// Events that wait for a slow subscriber at most; beyond, the oldest go and are counted.
const EVENTS_MAX: usize = 4_096;

/// A subscription to the path manager's events of one stack, by [`Stack::subscribe`](crate::Stack::subscribe).
///
/// Begins with the events after the subscription. Keeps at most 4,096 of them.
#[derive(Debug)]
pub struct PmEvents {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default, Debug)]
struct Queue {
    events: VecDeque<PmEvent>,
    missed: u64,
    waker: Option<Waker>,
}

impl PmEvents {
    /// The next event.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> PmEvent {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The next event, or `None` when there is none within `timeout`; blocks the thread meanwhile. On an
    /// undriven stack another thread has to drive.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<PmEvent> {
        let until = monotonic_now() + timeout;
        block_on(|context| self.poll_next(context), |woken| park(Some(until), woken))
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<PmEvent> {
        lock(&self.queue).events.pop_front()
    }

    /// Events that were lost so far since they were not taken in time.
    pub fn missed(&self) -> u64 {
        lock(&self.queue).missed
    }

    fn poll_next(&self, context: &Context<'_>) -> Poll<PmEvent> {
        let mut queue = lock(&self.queue);
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(event);
        }
        let replaced = queue.waker.replace(context.waker().clone());
        drop(queue);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for PmEvents {
    fn drop(&mut self) {
        // Taken out here, since the queue itself may die under the host's lock, where no waker may.
        let waker = lock(&self.queue).waker.take();
        drop(waker);
    }
}

/// All subscriptions of a stack.
#[derive(Default)]
pub(crate) struct Subscribers {
    queues: Vec<Weak<Mutex<Queue>>>,
}

impl Subscribers {
    pub(crate) fn add(&mut self) -> PmEvents {
        let queue = Arc::default();
        self.queues.push(Arc::downgrade(&queue));
        PmEvents { queue }
    }

    /// Gives `event` to all who still listen, and moves the wakers of those who wait to `out`.
    pub(crate) fn publish(&mut self, event: &PmEvent, out: &mut Vec<Waker>) {
        self.queues.retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            let mut queue = lock(&queue);
            if queue.events.len() == EVENTS_MAX {
                queue.events.pop_front();
                queue.missed += 1;
            }
            queue.events.push_back(event.clone());
            out.extend(queue.waker.take());
            true
        });
    }

    /// Moves the wakers of all who wait to `out`.
    pub(crate) fn take_wakers(&mut self, out: &mut Vec<Waker>) {
        let queues = self.queues.iter().filter_map(Weak::upgrade);
        out.extend(queues.filter_map(|queue| lock(&queue).waker.take()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polytcp_proto::pm::command::ConnectionToken;

    fn closed(token: u32) -> PmEvent {
        PmEvent::Closed { token: ConnectionToken(token) }
    }

    #[test]
    fn every_subscriber_gets_every_event_in_order() {
        let mut subscribers = Subscribers::default();
        let (mut a, mut b) = (subscribers.add(), subscribers.add());
        let mut wakers = Vec::new();
        subscribers.publish(&closed(1), &mut wakers);
        subscribers.publish(&closed(2), &mut wakers);
        for events in [&mut a, &mut b] {
            assert_eq!(events.next_timeout(Duration::ZERO), Some(closed(1)));
            assert_eq!(events.try_next(), Some(closed(2)));
            assert_eq!(events.try_next(), None);
        }
        drop(a);
        subscribers.publish(&closed(3), &mut wakers);
        assert_eq!(subscribers.queues.len(), 1);
    }

    #[test]
    fn a_slow_subscriber_misses_the_oldest_and_can_tell() {
        let mut subscribers = Subscribers::default();
        let mut events = subscribers.add();
        for token in 0..EVENTS_MAX as u32 + 3 {
            subscribers.publish(&closed(token), &mut Vec::new());
        }
        assert_eq!(events.missed(), 3);
        assert_eq!(events.try_next(), Some(closed(3)));
    }
}
