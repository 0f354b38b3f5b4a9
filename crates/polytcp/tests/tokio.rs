//! Asynchronous sockets in tokio, over two stacks joined in memory.
#![cfg(feature = "tokio")]

mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use polytcp::{MptcpListener, MptcpStream};
use support::{Pair, SERVER, assert_same, bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

async fn connected(pair: &Pair) -> (MptcpStream, MptcpStream) {
    let listener = MptcpListener::bind(&pair.server, SERVER).await.expect("bind");
    let (client, accepted) = tokio::join!(MptcpStream::connect(&pair.client, SERVER), listener.accept());
    pair.keep(listener);
    (client.expect("connect"), accepted.expect("accept").0)
}

/// Writes `data`, ends the direction, and returns what came the other way.
async fn exchange(stream: MptcpStream, data: Vec<u8>) -> Vec<u8> {
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        writer.write_all(&data).await.expect("write");
        writer.shutdown().await.expect("shutdown");
        writer
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).await.expect("read");
    let writer = writing.await.expect("no panic");
    reader.reunite(writer).expect("of one stream");
    received
}

async fn both_directions(paths: u8) {
    let pair = Pair::new(paths);
    let (client, server) = connected(&pair).await;
    assert!(client.is_mptcp().expect("info"));
    let (up, down) = (bytes(1, 8 << 20), bytes(2, 8 << 20));
    let answer = tokio::spawn(exchange(server, down.clone()));
    assert_same(&exchange(client, up.clone()).await, &down);
    assert_same(&answer.await.expect("no panic"), &up);
    pair.assert_idle();
}

#[tokio::test]
async fn eight_mebibytes_pass_on_one_thread() {
    timeout(LIMIT, both_directions(1)).await.expect("in time");
}

#[tokio::test]
async fn eight_mebibytes_pass_on_one_thread_over_two_paths() {
    timeout(LIMIT, both_directions(2)).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_mebibytes_pass_on_two_threads_over_two_paths() {
    timeout(LIMIT, both_directions(2)).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_connections_at_once() {
    let run = async {
        let pair = Pair::new(1);
        let listener = MptcpListener::bind(&pair.server, SERVER).await.expect("bind");
        let accepting = tokio::spawn(async move {
            for _ in 0..100 {
                let (mut stream, _) = listener.accept().await.expect("accept");
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    tokio::io::copy(&mut reader, &mut writer).await.expect("echo");
                    writer.shutdown().await.expect("shutdown");
                });
            }
        });
        let clients: Vec<_> = (0..100)
            .map(|seed| {
                let stack = pair.client.clone();
                tokio::spawn(async move {
                    let stream = MptcpStream::connect(&stack, SERVER).await.expect("connect");
                    let data = bytes(seed, 20_000);
                    assert_same(&exchange(stream, data.clone()).await, &data);
                })
            })
            .collect();
        for client in clients {
            client.await.expect("no panic");
        }
        accepting.await.expect("no panic");
        pair.assert_idle();
    };
    timeout(LIMIT, run).await.expect("in time");
}

#[tokio::test]
async fn chunks_pass_in_both_styles() {
    let run = async {
        let pair = Pair::new(1);
        let (client, server) = connected(&pair).await;
        let data = Bytes::from(bytes(3, 2 << 20));
        let sending = async {
            client.write_chunk(data.clone()).await.expect("write");
            client.close_write().expect("close");
        };
        let receiving = async {
            let mut received = Vec::new();
            while let Some(chunk) = server.read_chunk().await.expect("read") {
                received.extend_from_slice(&chunk);
            }
            received
        };
        let ((), received) = tokio::join!(sending, receiving);
        assert_same(&received, &data);
    };
    timeout(LIMIT, run).await.expect("in time");
}

/// Tasks that this one wakes wait for its thread: no call may keep it for itself.
#[tokio::test]
async fn a_task_that_never_has_to_wait_lets_others_run() {
    const CALLS: usize = 2_000;
    /// A task of tokio's has 128 calls at a time.
    const TURNS_MIN: usize = CALLS / 256;
    let run = async {
        let pair = Pair::new(1);
        let (mut client, mut server) = connected(&pair).await;
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        let other = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let told = |what: &str| {
            let turns = turns.swap(0, Ordering::Relaxed);
            assert!(turns >= TURNS_MIN, "{what}: others ran {turns} times during {CALLS} calls");
        };
        for _ in 0..CALLS {
            client.write_all(b"octets").await.expect("write");
        }
        told("write");
        // All of it is there before the first read.
        while server.info().expect("info").bytes_received < 6 * CALLS as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        turns.store(0, Ordering::Relaxed);
        let mut octets = [0; 6];
        for _ in 0..CALLS / 2 {
            server.read_exact(&mut octets).await.expect("read");
        }
        for _ in 0..CALLS / 2 {
            server.readable().await.expect("readable");
        }
        told("read, readable");
        other.abort();
    };
    timeout(LIMIT, run).await.expect("in time");
}

#[tokio::test]
async fn a_cancelled_read_loses_nothing() {
    let run = async {
        let pair = Pair::new(1);
        let (mut client, mut server) = connected(&pair).await;
        let data = bytes(4, 200_000);
        let sent = data.clone();
        let writing = tokio::spawn(async move {
            for part in sent.chunks(1_000) {
                server.write_all(part).await.expect("write");
                tokio::task::yield_now().await;
            }
        });
        let mut received = Vec::new();
        while received.len() < data.len() {
            let mut buf = [0; 700];
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => {}
                len = client.read(&mut buf) => received.extend_from_slice(&buf[..len.expect("read")]),
            }
        }
        assert_same(&received, &data);
        writing.await.expect("no panic");
    };
    timeout(LIMIT, run).await.expect("in time");
}

#[tokio::test]
async fn dropping_the_writing_half_ends_the_direction() {
    let run = async {
        let pair = Pair::new(1);
        let (client, mut server) = connected(&pair).await;
        let (mut reader, mut writer) = client.into_split();
        writer.write_all(b"all").await.expect("write");
        drop(writer);
        let mut text = String::new();
        server.read_to_string(&mut text).await.expect("read");
        assert_eq!(text, "all");
        server.write_all(b"answer").await.expect("write");
        drop(server);
        text.clear();
        reader.read_to_string(&mut text).await.expect("read");
        assert_eq!(text, "answer");
        drop(reader);
        pair.assert_idle();
    };
    timeout(LIMIT, run).await.expect("in time");
}

#[tokio::test]
async fn a_connect_that_is_given_up_leaves_nothing() {
    let pair = Pair::new(1);
    // Nobody answers: the server's only path is cut.
    pair.server.set_link("path1", polytcp::LinkState::Down).expect("it exists");
    let connecting = MptcpStream::connect(&pair.client, "10.0.1.77:1");
    let error = timeout(Duration::from_millis(5), connecting).await;
    assert!(error.is_err() || error.is_ok_and(|result| result.is_err()));
    pair.assert_idle();
}

#[tokio::test]
async fn refused_is_refused() {
    let pair = Pair::new(1);
    let error = MptcpStream::connect(&pair.client, SERVER).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let error = MptcpStream::connect(&pair.client, "server:443").await.expect_err("a name");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_stream_with_no_time_to_linger_aborts_when_it_is_dropped() {
    let pair = Pair::new(1);
    let (client, mut server) = connected(&pair).await;
    client.set_linger(Some(Duration::ZERO)).expect("open");
    client.set_user_timeout(Some(Duration::from_secs(30))).expect("open");
    assert_eq!(client.linger(), Some(Duration::ZERO));
    drop(client);
    let ended = timeout(LIMIT, server.read(&mut [0])).await.expect("it ends");
    assert_eq!(ended.map_err(|e| e.kind()), Err(ErrorKind::ConnectionReset));
}
