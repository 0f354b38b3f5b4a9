//! An instance alone, over flags.
#![cfg(not(loom))]

use super::*;
use crate::queue::tests::Flag;

const READ: u32 = libc::EPOLLIN as u32;

fn add(epoll: &Epoll, target: &Arc<dyn Pollable>, events: u32) -> Result<(), Errno> {
    let asked = EpollEvent { events, data: target.id() };
    epoll.control(libc::EPOLL_CTL_ADD, target, target.id() as Fd, asked, &mut Vec::new())
}

fn flag(id: u64) -> (Arc<Flag>, Arc<dyn Pollable>) {
    let flag = Flag::new(id);
    (Arc::clone(&flag), flag)
}

/// The data of what is told, of at most `max`.
fn told(epoll: &Epoll, max: usize) -> Vec<u64> {
    let mut events = vec![EpollEvent::default(); max];
    let count = epoll.collect(&mut events);
    events[..count].iter().map(|event| event.data).collect()
}

#[test]
fn level_triggered_items_are_told_in_turn() {
    let epoll = Epoll::new(0);
    let flags: Vec<_> = (1..5).map(flag).collect();
    for (flag, target) in &flags {
        flag.set(libc::POLLIN);
        add(&epoll, target, READ).expect("add");
    }
    assert_eq!(told(&epoll, 3), [1, 2, 3]);
    assert_eq!(told(&epoll, 3), [4, 1, 2]);
    flags[2].0.set(0);
    assert_eq!(told(&epoll, 9), [4, 1, 2]);
    assert_eq!(told(&epoll, 9), [4, 1, 2]);
}

#[test]
fn an_edge_is_told_once_and_in_the_order_in_which_it_came() {
    let epoll = Epoll::new(0);
    let flags: Vec<_> = (1..4).map(flag).collect();
    flags.iter().for_each(|(_, target)| add(&epoll, target, READ | EDGE).expect("add"));
    for at in [2, 0, 1, 2] {
        flags[at].0.set(libc::POLLIN);
        flags[at].0.ring(Key::READ);
    }
    assert_eq!(told(&epoll, 9), [3, 1, 2]);
    assert_eq!(told(&epoll, 9), [0; 0]);
    flags[0].0.ring(Key::WRITE);
    assert_eq!(told(&epoll, 9), [0; 0], "it did not ask for that");
    flags[0].0.ring(Key::READ);
    assert_eq!(told(&epoll, 9), [1]);
}

#[test]
fn what_is_no_more_when_it_is_looked_at_is_not_told() {
    let epoll = Epoll::new(0);
    let (flag, target) = flag(1);
    add(&epoll, &target, READ | EDGE).expect("add");
    flag.set(libc::POLLIN);
    flag.ring(Key::READ);
    flag.set(0);
    assert_eq!(told(&epoll, 9), [0; 0]);
}

#[test]
fn what_is_gone_leaves_the_instance() {
    let epoll = Epoll::new(0);
    let (flag, target) = flag(1);
    flag.set(libc::POLLIN);
    add(&epoll, &target, READ).expect("add");
    flag.queue().detach();
    assert_eq!(told(&epoll, 9), [0; 0]);
    assert!(lock(&epoll.lists).items.is_empty() && lock(&epoll.lists).names.is_empty());
}

#[test]
fn a_wait_that_ends_hands_on_what_is_left() {
    let epoll = Epoll::new(0);
    let (flag, target) = flag(1);
    add(&epoll, &target, READ | EDGE).expect("add");
    let tickets = [Ticket::new(), Ticket::new()];
    for ticket in tickets {
        assert_eq!(epoll.poll_wait(ticket, Waker::noop(), &mut [EpollEvent::default()]), 0);
    }
    flag.set(libc::POLLIN);
    // Wakes the first, whose time is over at that moment.
    flag.ring(Key::READ);
    assert!(epoll.hand_on(Some(tickets[0])).is_some());
    assert_eq!(told(&epoll, 1), [1]);
    assert!(epoll.hand_on(Some(tickets[1])).is_none());
}

#[test]
fn five_instances_at_most_above_each_other_and_no_circle() {
    let epolls: Vec<_> = (0..6).map(Epoll::new).collect();
    let watch = |outer: usize, inner: usize| {
        let target: Arc<dyn Pollable> = Arc::clone(&epolls[inner]) as _;
        add(&epolls[outer], &target, READ)
    };
    for at in [3, 0, 2, 1] {
        assert_eq!(watch(at, at + 1), Ok(()));
    }
    assert_eq!(watch(4, 5), Err(Errno::LOOP));
    assert_eq!(watch(4, 0), Err(Errno::LOOP));
    assert_eq!(watch(0, 0), Err(Errno::INVAL));
}
