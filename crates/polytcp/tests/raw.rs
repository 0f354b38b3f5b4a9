//! The host itself, through `polytcp::raw`, over two stacks joined in memory.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use polytcp::raw::{
    self, CallError, Change, ConnectionId, ListenerId, ReadOutcome, Watched, Watcher, WriteBlock,
};
use polytcp::{ConnectOptions, ListenOptions, Stack};
use support::{Pair, SERVER, assert_same, bytes};

const LIMIT: Duration = Duration::from_secs(10);

/// Wakes one thread's wait for a host.
#[derive(Default)]
struct Bell {
    rung: AtomicUsize,
    told: std::sync::Mutex<Vec<Change>>,
    sleeper: std::sync::Mutex<Option<Waker>>,
}

impl Watcher for Bell {
    fn on_change(&self, change: Change) {
        self.told.lock().expect("no panic").push(change);
        self.rung.fetch_add(1, Ordering::SeqCst);
        let sleeper = self.sleeper.lock().expect("no panic").take();
        sleeper.into_iter().for_each(Waker::wake);
    }
}

impl Bell {
    /// Asks until there is an answer, asleep in between.
    fn until<T>(&self, stack: &Stack, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
        let limit = raw::now() + LIMIT;
        stack.block_on(Some(limit), |context| {
            *self.sleeper.lock().expect("no panic") = Some(context.waker().clone());
            ask().map_or(Poll::Pending, Poll::Ready)
        })
    }
}

fn listen(stack: &Stack, bell: &Arc<Bell>) -> ListenerId {
    let options = ListenOptions::new(SERVER.parse().expect("address"));
    let id = stack.call(|host, _| host.listen(&options)).expect("listen");
    stack.watch(Watched::Listener(id), bell.clone());
    id
}

fn connect(stack: &Stack, bell: &Arc<Bell>) -> ConnectionId {
    let options = ConnectOptions::new(SERVER.parse().expect("address"));
    let id = stack.call(|host, now| host.connect(now, &options)).expect("connect");
    stack.watch(Watched::Connection(id), bell.clone());
    let connected = bell.until(stack, || stack.look(|host| host.readiness(id)).connected.then_some(()));
    connected.expect("in time");
    id
}

fn read_all(stack: &Stack, bell: &Bell, id: ConnectionId) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        let outcome = bell.until(stack, || match stack.call(|host, now| host.read(now, id, 1 << 16)) {
            Ok(ReadOutcome::WouldBlock) => None,
            other => Some(other),
        });
        match outcome.expect("in time").expect("read") {
            ReadOutcome::Data(bytes) => received.extend_from_slice(&bytes),
            _ => return received,
        }
    }
}

fn a_transfer_by_calls_of_the_host(pair: &Pair) {
    let (near, far) = (Arc::<Bell>::default(), Arc::<Bell>::default());
    let listener = listen(&pair.server, &far);
    let server = pair.server.clone();
    let data = bytes(7, 3 << 20);
    let receiving = std::thread::spawn(move || {
        let accepted = far.until(&server, || server.call(|host, _| host.accept(listener)));
        let id = accepted.expect("in time");
        server.watch(Watched::Connection(id), far.clone());
        let received = read_all(&server, &far, id);
        server.call(|host, now| host.close(now, id));
        server.unwatch(Watched::Connection(id));
        received
    });
    let id = connect(&pair.client, &near);
    let mut block = WriteBlock::default();
    let mut sent = 0;
    while sent < data.len() {
        let written = near.until(&pair.client, || {
            match block.write(&pair.client, id, &data[sent..], false).expect("write") {
                0 => None,
                written => Some(written),
            }
        });
        sent += written.expect("in time");
    }
    pair.client.call(|host, now| host.shutdown(now, id)).expect("shutdown");
    // Waits for the end before it joins: an undriven stack sends the rest only while somebody waits for it.
    assert_eq!(read_all(&pair.client, &near, id), b"");
    assert_same(&receiving.join().expect("no panic"), &data);
    assert!(near.rung.load(Ordering::SeqCst) > 0);
    assert_eq!(block.write(&pair.client, id, b"late", false), Err(CallError::WriteClosed));
    pair.client.call(|host, now| host.close(now, id));
    pair.client.unwatch(Watched::Connection(id));
}

#[test]
fn a_transfer_by_calls_of_hosts_with_engines() {
    let pair = Pair::new(1);
    a_transfer_by_calls_of_the_host(&pair);
    pair.assert_idle();
}

#[test]
fn a_transfer_by_calls_of_hosts_that_waiting_threads_drive() {
    a_transfer_by_calls_of_the_host(&Pair::undriven(2));
}

#[test]
fn what_is_peeked_at_is_read_later() {
    let pair = Pair::new(1);
    let bell = Arc::<Bell>::default();
    let listener = listen(&pair.server, &bell);
    let client = connect(&pair.client, &Arc::default());
    WriteBlock::default().write(&pair.client, client, b"some octets", false).expect("write");
    let server = &pair.server;
    let id = bell.until(server, || server.call(|host, _| host.accept(listener))).expect("in time");
    server.watch(Watched::Connection(id), bell.clone());
    let peek = |max| server.call(|host, _| host.peek(id, max)).expect("peek").concat();
    bell.until(server, || (peek(100).len() == 11).then_some(())).expect("in time");
    assert_eq!(peek(4), b"some");
    assert_eq!(server.look(|host| host.info(id)).expect("info").bytes_readable, 11);
    let read = server.call(|host, now| host.read(now, id, 100)).expect("read");
    assert_eq!(read, ReadOutcome::Data("some octets".into()));
    assert_eq!(peek(100), b"");
}

#[test]
fn a_watcher_is_told_of_data_that_comes_beside_unread_data_and_of_the_end() {
    let pair = Pair::new(1);
    let (bell, far) = (Arc::<Bell>::default(), Arc::<Bell>::default());
    let listener = listen(&pair.server, &bell);
    let client = connect(&pair.client, &Arc::default());
    let server = &pair.server;
    let id = bell.until(server, || server.call(|host, _| host.accept(listener))).expect("in time");
    server.watch(Watched::Connection(id), far.clone());
    let until = |reached: fn(&Change) -> bool| {
        far.until(server, || far.told.lock().expect("no panic").iter().any(reached).then_some(()))
            .expect("in time");
        std::mem::take(&mut *far.told.lock().expect("no panic"))
    };
    let mut block = WriteBlock::default();
    for readable_bytes in [4, 8] {
        block.write(&pair.client, client, b"some", false).expect("write");
        let told = until(|change| change.arrived);
        assert_eq!(told.last().map(|change| change.readable_bytes), Some(readable_bytes));
        assert!(told.iter().all(|change| !change.state && change.writable), "{told:?}");
    }
    pair.client.call(|host, now| host.shutdown(now, client)).expect("shutdown");
    let told = until(|change| change.state);
    assert!(told.iter().all(|change| !change.arrived), "{told:?}");
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let pair = Pair::undriven(1);
    let until = raw::now() + Duration::from_millis(20);
    let waited = pair.client.block_on(Some(until), |_| Poll::<()>::Pending);
    assert_eq!(waited, None);
    assert!(raw::now() >= until);
}
