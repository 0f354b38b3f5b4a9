//! Two stacks in memory, a watchdog, and bytes that can be checked.
#![allow(dead_code, reason = "each test file uses its part")]

use std::any::Any;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use polytcp::io::{MemoryConfig, MemoryDevice};
use polytcp::{EndpointFlags, HostConfig, Stack, StackBuilder};

pub(crate) const SERVER: &str = "10.0.1.1:443";

/// Longest that a test may take, far above what it needs.
const LIMIT: Duration = Duration::from_secs(20);

/// A client and a server.
pub(crate) struct Pair {
    pub(crate) client: Stack,
    pub(crate) server: Stack,
    kept: Mutex<Vec<Box<dyn Any + Send>>>,
}

/// Builders of a client and a server that are joined by `paths` memory pairs.
pub(crate) fn builders(paths: u8, memory: MemoryConfig) -> (StackBuilder, StackBuilder) {
    let config = HostConfig::default();
    let mut client = Stack::builder().config(config.clone()).seed(1).limits(8, 8);
    let mut server = Stack::builder().config(config).seed(2).limits(8, 8);
    for path in 1..=paths {
        let (a, b) = MemoryDevice::pair(memory).expect("descriptors");
        client = client.device(a.named(format!("path{path}")), [format!("10.0.{path}.2/24")]);
        server = server.device(b.named(format!("path{path}")), [format!("10.0.{path}.1/24")]);
        if path > 1 {
            client = client.endpoint(format!("10.0.{path}.2"), EndpointFlags::SUBFLOW);
        }
    }
    (client, server)
}

impl Pair {
    pub(crate) fn of(client: Stack, server: Stack) -> Self {
        Self { client, server, kept: Mutex::default() }
    }

    /// Keeps a listener for as long as the pair: a join needs one at its address, as in Linux.
    pub(crate) fn keep(&self, listener: impl Any + Send) {
        self.kept.lock().expect("no panic").push(Box::new(listener));
    }

    pub(crate) fn new(paths: u8) -> Self {
        let (client, server) = builders(paths, MemoryConfig::default());
        Self::of(client.start().expect("client"), server.start().expect("server"))
    }

    /// Neither stack has an engine.
    pub(crate) fn undriven(paths: u8) -> Self {
        let (client, server) = builders(paths, MemoryConfig::default());
        let start = |builder: StackBuilder| builder.start_undriven().expect("stack");
        Self::of(start(client), start(server))
    }

    /// What both hosts counted, but for zeros.
    pub(crate) fn describe(&self) -> String {
        let counted = |stack: &Stack| -> Vec<_> {
            stack
                .counters()
                .iter()
                .filter(|(_, value)| *value > 0)
                .map(|(name, value)| format!("{name} {value}"))
                .collect()
        };
        format!("client: {}\nserver: {}", counted(&self.client).join(", "), counted(&self.server).join(", "))
    }

    /// All connections have ended by themselves, and nothing is held.
    pub(crate) fn assert_idle(&self) {
        for (name, stack) in [("client", &self.client), ("server", &self.server)] {
            assert!(stack.wait_idle(Duration::from_secs(5)), "{name}: {:?}", stack.accounting());
            let accounting = stack.accounting();
            assert_eq!((accounting.connections, accounting.buffered_bytes), (0, 0), "{name}: {accounting:?}");
        }
    }
}

/// Runs `test` in a thread, and fails when it takes too long instead of hanging.
pub(crate) fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match finished.recv_timeout(LIMIT) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test takes more than {LIMIT:?}"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// `len` bytes that follow from `seed` and tell their place.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Compares without printing megabytes.
pub(crate) fn assert_same(got: &[u8], wanted: &[u8]) {
    assert_eq!(got.len(), wanted.len(), "lengths");
    if let Some(at) = got.iter().zip(wanted).position(|(a, b)| a != b) {
        let same_again =
            (at..got.len()).find(|&i| got[i..].iter().zip(&wanted[i..]).take(64).all(|(a, b)| a == b));
        let probe = &got[at..got.len().min(at + 16)];
        let taken_from = wanted.windows(probe.len()).position(|window| window == probe);
        panic!("bytes differ from {at} on, up to {same_again:?}; they are those of {taken_from:?}");
    }
}
