//! How engines, devices and stacks end.

mod support;

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use polytcp::blocking::{MptcpListener, MptcpStream};
use polytcp::io::{Capabilities, Device, MemoryConfig, MemoryDevice, RxPool, SendOutcome};
use polytcp::{EndpointFlags, Stack};
use polytcp_proto::packet::{Received, Transmit};
use polytcp_proto::time::Instant as CoreInstant;
use support::{Pair, SERVER, assert_same, bounded, bytes};

/// These tests count the threads of the process, so one runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A connection with a dead path ends late, and its engine is not to disturb the next test.
const LINGER: Duration = Duration::from_millis(100);

const WORKS: u8 = 0;
const GONE: u8 = 1;
const PANICS: u8 = 2;

/// A device that can be told to fail.
struct Fragile {
    inner: MemoryDevice,
    mood: Arc<AtomicU8>,
}

impl Fragile {
    fn check(&self) -> io::Result<()> {
        match self.mood.load(Ordering::SeqCst) {
            WORKS => Ok(()),
            GONE => Err(io::ErrorKind::NotConnected.into()),
            _ => panic!("the test asked for it"),
        }
    }
}

impl Device for Fragile {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn send(&self, now: CoreInstant, packet: &Transmit) -> io::Result<SendOutcome> {
        // Only the engine is to panic.
        if self.mood.load(Ordering::SeqCst) == GONE {
            self.check()?;
        }
        self.inner.send(now, packet)
    }

    fn receive(
        &self,
        now: CoreInstant,
        budget: usize,
        pool: &mut RxPool,
        out: &mut Vec<Received>,
    ) -> io::Result<usize> {
        self.check()?;
        self.inner.receive(now, budget, pool, out)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_fd()
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}

/// A pair whose client has a fragile device on its first path.
fn fragile(paths: u8) -> (Pair, Arc<AtomicU8>) {
    let mood = Arc::new(AtomicU8::new(WORKS));
    let mut client = Stack::builder().seed(1).limits(8, 8).linger(LINGER);
    let mut server = Stack::builder().seed(2).limits(8, 8).linger(LINGER);
    for path in 1..=paths {
        let (a, b) = MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
        let a = a.named(format!("path{path}"));
        let address = [format!("10.0.{path}.2/24")];
        client = match path {
            1 => client.device(Fragile { inner: a, mood: Arc::clone(&mood) }, address),
            _ => client.device(a, address).endpoint(format!("10.0.{path}.2"), EndpointFlags::SUBFLOW),
        };
        server = server.device(b, [format!("10.0.{path}.1/24")]);
    }
    (Pair::of(client.start().expect("client"), server.start().expect("server")), mood)
}

fn engines() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let name =
        |task: io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("comm")).ok();
    tasks.filter_map(name).filter(|name| name.trim() == "polytcp-engine").count()
}

fn wait_for_engines(count: usize) {
    let until = Instant::now() + Duration::from_secs(10);
    while engines() != count {
        assert!(Instant::now() < until, "{} engines instead of {count}", engines());
        thread::yield_now();
    }
}

#[test]
fn engines_end_after_the_last_handle_and_deliver_what_was_written() {
    let _alone = ALONE.lock();
    bounded(|| {
        wait_for_engines(0);
        let pair = Pair::new(1);
        let listener = MptcpListener::bind(&pair.server, SERVER).expect("bind");
        let mut client = MptcpStream::connect(&pair.client, SERVER).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        drop((pair, listener));
        wait_for_engines(2);
        // Written before anybody reads: what both buffers hold at first.
        let data = bytes(1, 100_000);
        client.write_all(&data).expect("write");
        // The last handle of the client's stack: its engine goes on until all is delivered.
        drop(client);
        let mut received = Vec::new();
        server.read_to_end(&mut received).expect("read");
        assert_same(&received, &data);
        drop(server);
        wait_for_engines(0);
    });
}

#[test]
fn a_device_that_is_gone_leaves_the_other_paths() {
    let _alone = ALONE.lock();
    bounded(|| {
        let (pair, mood) = fragile(2);
        let listener = MptcpListener::bind(&pair.server, SERVER).expect("bind");
        let client = MptcpStream::connect(&pair.client, SERVER).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        let data = bytes(2, 4 << 20);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (before, after) = data.split_at(1 << 20);
                (&client).write_all(before).expect("write");
                mood.store(GONE, Ordering::SeqCst);
                (&client).write_all(after).expect("write");
                client.shutdown(std::net::Shutdown::Write).expect("shutdown");
            });
            let mut received = Vec::new();
            server.read_to_end(&mut received).expect("read");
            assert_same(&received, &data);
        });
        // At the latest the end of its subflow shows that the device is gone.
        drop((client, server));
        let until = Instant::now() + Duration::from_secs(10);
        while !pair.client.paths()[0].gone {
            assert!(Instant::now() < until, "{:?}", pair.client.paths());
            thread::yield_now();
        }
        assert!(!pair.client.paths()[1].gone);
    });
}

#[test]
fn who_waits_learns_that_the_engine_has_failed() {
    let _alone = ALONE.lock();
    bounded(|| {
        let (pair, mood) = fragile(1);
        let listener = MptcpListener::bind(&pair.server, SERVER).expect("bind");
        let mut client = MptcpStream::connect(&pair.client, SERVER).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        let (failed, failure) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                // A round that had begun before may still deliver something.
                let error = std::iter::repeat_with(|| client.read(&mut [0; 10])).find_map(Result::err);
                failed.send(error.expect("endless").kind()).expect("the writer waits");
            });
            mood.store(PANICS, Ordering::SeqCst);
            let kind = loop {
                // Slowly: nobody acknowledges any more, and a full buffer would hold this thread.
                server.write_all(b"x").expect("write");
                match failure.recv_timeout(Duration::from_millis(1)) {
                    Err(RecvTimeoutError::Timeout) => {}
                    ended => break ended.expect("no panic"),
                }
            };
            assert_eq!(kind, io::ErrorKind::Other);
        });
        assert_eq!(
            MptcpStream::connect(&pair.client, SERVER).expect_err("no engine").kind(),
            io::ErrorKind::Other
        );
    });
}
