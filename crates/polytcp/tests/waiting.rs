//! Who is woken, how often, and who drives.

mod support;

use std::io::{Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{AsyncReadExt, AsyncWriteExt};
use polytcp::blocking;
use polytcp::{MptcpListener, MptcpStream, Stack};
use support::{Pair, SERVER, assert_same, bounded, bytes};

/// Counts wake-ups, and wakes a thread.
struct Counting {
    wakes: AtomicUsize,
    thread: thread::Thread,
}

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

#[test]
fn a_reader_that_waits_is_woken_once_per_arrival() {
    bounded(|| {
        let pair = Pair::new(1);
        let listener = blocking::MptcpListener::bind(&pair.server, SERVER).expect("bind");
        let mut writer = blocking::MptcpStream::connect(&pair.client, SERVER).expect("connect");
        let (accepted, _) = listener.accept().expect("accept");
        let reader = accepted.into_async().expect("no clones");

        let counting = Arc::new(Counting { wakes: AtomicUsize::new(0), thread: thread::current() });
        let waker = Waker::from(Arc::clone(&counting));
        let mut cx = Context::from_waker(&waker);
        const ROUNDS: usize = 50;
        let mut polls = 0;
        for _ in 0..ROUNDS {
            let mut buf = [0; 100];
            let mut by_reference = &reader;
            let mut read = pin!(by_reference.read(&mut buf));
            assert!(read.as_mut().poll(&mut cx).is_pending());
            let before = counting.wakes.load(Ordering::SeqCst);
            writer.write_all(b"x").expect("write");
            loop {
                if counting.wakes.load(Ordering::SeqCst) > before {
                    polls += 1;
                    if let Poll::Ready(len) = read.as_mut().poll(&mut cx) {
                        assert_eq!(len.expect("read"), 1);
                        break;
                    }
                } else {
                    thread::park_timeout(Duration::from_secs(1));
                }
            }
        }
        let wakes = counting.wakes.load(Ordering::SeqCst);
        assert_eq!((wakes, polls), (ROUNDS, ROUNDS), "one wake-up and one poll for each arrival");
    });
}

#[test]
fn a_future_that_is_dropped_is_not_woken() {
    bounded(|| {
        let pair = Pair::new(1);
        let listener = blocking::MptcpListener::bind(&pair.server, SERVER).expect("bind");
        let mut writer = blocking::MptcpStream::connect(&pair.client, SERVER).expect("connect");
        let (accepted, _) = listener.accept().expect("accept");
        let reader = accepted.into_async().expect("no clones");
        let counting = Arc::new(Counting { wakes: AtomicUsize::new(0), thread: thread::current() });
        let waker = Waker::from(Arc::clone(&counting));
        {
            let chunk = pin!(reader.read_chunk());
            assert!(chunk.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        writer.write_all(b"x").expect("write");
        reader.into_blocking().read_exact(&mut [0]).expect("read");
        assert_eq!(counting.wakes.load(Ordering::SeqCst), 0);
    });
}

/// Polls `future`, and turns the stacks by hand until it is ready.
fn drive<T>(stacks: &[&Stack], future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        // Timers of pacing and delayed acknowledgements are short; the sleep is on the first stack only.
        for stack in stacks {
            stack.turn(Some(Instant::now() + Duration::from_micros(100))).expect("turn");
        }
    }
}

#[test]
fn one_thread_can_drive_two_stacks_without_an_engine() {
    bounded(|| {
        let pair = Pair::undriven(2);
        let stacks = [&pair.client, &pair.server];
        let data = bytes(7, 1 << 20);
        drive(&stacks, async {
            let listener = MptcpListener::bind(&pair.server, SERVER).await.expect("bind");
            let client = MptcpStream::connect(&pair.client, SERVER).await.expect("connect");
            let (server, _) = listener.accept().await.expect("accept");
            let writing = async {
                (&client).write_all(&data).await.expect("write");
                (&client).close().await.expect("close");
            };
            let reading = async {
                let mut received = Vec::new();
                (&server).read_to_end(&mut received).await.expect("read");
                received
            };
            let ((), received) = futures_util::future::join(writing, reading).await;
            assert_same(&received, &data);
        });
    });
}

#[test]
fn threads_that_block_drive_a_stack_without_an_engine() {
    bounded(|| {
        let pair = Pair::undriven(2);
        let pair = &pair;
        let listener = blocking::MptcpListener::bind(&pair.server, SERVER).expect("bind");
        thread::scope(|scope| {
            scope.spawn(|| {
                for stream in listener.incoming().take(4) {
                    let mut stream = stream.expect("accept");
                    scope.spawn(move || {
                        let mut text = Vec::new();
                        stream.read_to_end(&mut text).expect("read");
                        stream.write_all(&text).expect("write");
                        drop(stream);
                        // Each side drives until the other has closed too.
                        assert!(pair.server.wait_idle(Duration::from_secs(10)));
                    });
                }
            });
            for seed in 0..4 {
                let client = &pair.client;
                scope.spawn(move || {
                    let mut stream = blocking::MptcpStream::connect(client, SERVER).expect("connect");
                    let data = bytes(seed, 300_000);
                    stream.write_all(&data).expect("write");
                    stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
                    let mut echo = Vec::new();
                    stream.read_to_end(&mut echo).expect("read");
                    assert_same(&echo, &data);
                    drop(stream);
                    assert!(client.wait_idle(Duration::from_secs(10)));
                });
            }
        });
    });
}

#[test]
fn turning_beside_an_engine_does_no_harm() {
    bounded(|| {
        let pair = Pair::new(2);
        let listener = blocking::MptcpListener::bind(&pair.server, SERVER).expect("bind");
        let client = blocking::MptcpStream::connect(&pair.client, SERVER).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        let data = bytes(8, 4 << 20);
        let done = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            for stack in [&pair.client, &pair.server] {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::SeqCst) {
                        stack.turn(Some(Instant::now() + Duration::from_millis(1))).expect("turn");
                    }
                });
            }
            scope.spawn(|| {
                (&client).write_all(&data).expect("write");
                client.shutdown(std::net::Shutdown::Write).expect("shutdown");
            });
            let mut received = Vec::new();
            (&server).read_to_end(&mut received).expect("read");
            done.store(true, Ordering::SeqCst);
            assert_same(&received, &data);
        });
    });
}

#[test]
fn a_turn_ends_at_its_deadline() {
    let pair = Pair::undriven(1);
    let before = Instant::now();
    assert_eq!(pair.client.turn(Some(before + Duration::from_millis(3))).expect("turn"), 0);
    assert!(before.elapsed() >= Duration::from_millis(3));
    let before = Instant::now();
    pair.client.turn(Some(before)).expect("turn");
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[test]
fn an_idle_stack_sleeps() {
    bounded(|| {
        let pair = Pair::new(1);
        let listener = blocking::MptcpListener::bind(&pair.server, SERVER).expect("bind");
        let mut client = blocking::MptcpStream::connect(&pair.client, SERVER).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        client.write_all(b"x").expect("write");
        server.read_exact(&mut [0]).expect("read");
        // Late acknowledgements and the like are over.
        client.set_read_timeout(Some(Duration::from_millis(300))).expect("not zero");
        client.read(&mut [0]).expect_err("nothing comes");
        let rounds = || pair.client.rounds() + pair.server.rounds();
        let before = rounds();
        client.read(&mut [0]).expect_err("nothing comes");
        assert!(rounds() - before <= 4, "{} rounds with nothing to do", rounds() - before);
    });
}
