//! Blocking sockets over two stacks joined in memory.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use polytcp::blocking::{MptcpListener, MptcpStream};
use polytcp::io::MemoryConfig;
use polytcp::{ConnectOptions, Keepalive, ListenOptions, Protocol};
use polytcp_proto::pm::command::PmEvent;
use support::{Pair, SERVER, assert_same, bounded, builders, bytes};

fn connected(pair: &Pair) -> (MptcpStream, MptcpStream) {
    let listener = MptcpListener::bind(&pair.server, SERVER).expect("bind");
    let client = MptcpStream::connect(&pair.client, SERVER).expect("connect");
    let (server, peer) = listener.accept().expect("accept");
    assert_eq!(peer, client.local_addr().expect("connected"));
    pair.keep(listener);
    (client, server)
}

/// Writes `data`, ends the direction, and returns what came the other way.
fn exchange(stream: &MptcpStream, data: &[u8]) -> Vec<u8> {
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut writer = stream;
            writer.write_all(data).expect("write");
            stream.shutdown(Shutdown::Write).expect("shutdown");
        });
        let mut received = Vec::new();
        let mut reader = stream;
        reader.read_to_end(&mut received).expect("read");
        received
    })
}

fn both_directions(paths: u8) {
    let pair = Pair::new(paths);
    let (client, server) = connected(&pair);
    let (up, down) = (bytes(1, 8 << 20), bytes(2, 8 << 20));
    thread::scope(|scope| {
        let answer = scope.spawn(|| exchange(&server, &down));
        assert_same(&exchange(&client, &up), &down);
        assert_same(&answer.join().expect("server"), &up);
    });
    assert!(client.is_mptcp().expect("info"));
    for path in pair.client.paths() {
        // It was opened and closed. How large its share is, the scheduler decides: a path that a busy machine
        // delays by milliseconds is left alone for that time.
        assert!(path.packets_sent >= 6 && path.packets_received >= 6, "{path:?}\n{}", pair.describe());
        assert_eq!((path.packets_refused, path.packets_overflowed), (0, 0), "{path:?}");
    }
    drop((client, server));
    pair.assert_idle();
}

#[test]
fn an_echo_returns_what_was_sent() {
    bounded(|| {
        let pair = Pair::new(1);
        let (mut client, mut server) = connected(&pair);
        assert_eq!(client.peer_addr().expect("connected").to_string(), SERVER);
        for round in 0..100 {
            let text = bytes(round, 1 + round as usize * 37);
            client.write_all(&text).expect("write");
            let mut buf = vec![0; text.len()];
            server.read_exact(&mut buf).expect("read");
            server.write_all(&buf).expect("write");
            buf.fill(0);
            client.read_exact(&mut buf).expect("read");
            assert_same(&buf, &text);
        }
        drop((client, server));
        pair.assert_idle();
    });
}

#[test]
fn eight_mebibytes_pass_in_both_directions_over_one_path() {
    bounded(|| both_directions(1));
}

#[test]
fn eight_mebibytes_pass_in_both_directions_over_two_paths() {
    bounded(|| both_directions(2));
}

#[test]
fn a_device_that_is_often_busy_delays_and_loses_nothing_for_good() {
    bounded(|| {
        let memory = MemoryConfig { queue_packets: 4, queue_bytes: 64 << 10, ..MemoryConfig::default() };
        let (client, server) = builders(2, memory);
        let pair = Pair::of(client.start().expect("client"), server.start().expect("server"));
        let (client, server) = connected(&pair);
        let (up, down) = (bytes(1, 2 << 20), bytes(2, 2 << 20));
        thread::scope(|scope| {
            let answer = scope.spawn(|| exchange(&server, &down));
            assert_same(&exchange(&client, &up), &down);
            assert_same(&answer.join().expect("server"), &up);
        });
        let busy: u64 =
            pair.client.paths().iter().chain(&pair.server.paths()).map(|path| path.times_busy).sum();
        assert!(busy > 0, "the queues were too large for this test");
    });
}

#[test]
fn plain_tcp_passes_as_well() {
    bounded(|| {
        let pair = Pair::new(1);
        let listener = MptcpListener::bind(&pair.server, SERVER).expect("bind");
        let options = ConnectOptions {
            protocol: Protocol::Tcp,
            ..ConnectOptions::new(SERVER.parse().expect("address"))
        };
        let client = MptcpStream::connect_with(&pair.client, &options).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        let (up, down) = (bytes(1, 1 << 20), bytes(2, 1 << 20));
        thread::scope(|scope| {
            let answer = scope.spawn(|| exchange(&server, &down));
            assert_same(&exchange(&client, &up), &down);
            assert_same(&answer.join().expect("server"), &up);
        });
        assert!(!client.is_mptcp().expect("info") && !server.is_mptcp().expect("info"));
    });
}

#[test]
fn chunks_pass_without_a_copy() {
    bounded(|| {
        let pair = Pair::new(1);
        let (client, server) = connected(&pair);
        let data = Bytes::from(bytes(3, 3 << 20));
        thread::scope(|scope| {
            scope.spawn(|| {
                client.write_chunk(data.slice(..1_000)).expect("a small one");
                client.write_chunk(data.slice(1_000..)).expect("a large one");
                client.shutdown(Shutdown::Write).expect("shutdown");
            });
            let mut received = Vec::new();
            while let Some(chunk) = server.read_chunk().expect("read") {
                assert!(!chunk.is_empty());
                received.extend_from_slice(&chunk);
            }
            assert_same(&received, &data);
        });
    });
}

#[test]
fn after_a_half_close_the_other_direction_goes_on() {
    bounded(|| {
        let pair = Pair::new(1);
        let (mut client, mut server) = connected(&pair);
        client.write_all(b"question").expect("write");
        client.shutdown(Shutdown::Write).expect("shutdown");
        client.shutdown(Shutdown::Write).expect("once more does nothing");
        assert_eq!(client.write(b"x").expect_err("closed").kind(), ErrorKind::BrokenPipe);
        let mut text = String::new();
        server.read_to_string(&mut text).expect("read");
        assert_eq!(text, "question");
        // Written before anybody reads: what both buffers hold at first.
        let answer = bytes(4, 100_000);
        assert_same(&exchange(&server, &answer), b"");
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("read");
        assert_same(&received, &answer);
        drop((client, server));
        pair.assert_idle();
    });
}

#[test]
fn what_was_written_arrives_after_the_writer_is_gone() {
    bounded(|| {
        let pair = Pair::new(1);
        let (mut client, mut server) = connected(&pair);
        // Written before anybody reads: what both buffers hold at first.
        let data = bytes(5, 100_000);
        client.write_all(&data).expect("write");
        drop(client);
        let mut received = Vec::new();
        server.read_to_end(&mut received).expect("read");
        assert_same(&received, &data);
        drop(server);
        pair.assert_idle();
    });
}

#[test]
fn dropping_a_stream_with_unread_data_resets_the_peer() {
    bounded(|| {
        let pair = Pair::new(1);
        let (client, server) = connected(&pair);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let data = bytes(6, 64 << 10);
                // More than both buffers hold, so that it is under way when the reader goes.
                (0..1_000).find_map(|_| (&client).write_all(&data).err())
            });
            let mut buf = [0; 1_000];
            (&server).read_exact(&mut buf).expect("the beginning");
            drop(server);
            let error = writer.join().expect("no panic").expect("the writer is stopped");
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error:?}");
        });
        drop(client);
        pair.assert_idle();
    });
}

#[test]
fn nobody_listening_means_refused() {
    bounded(|| {
        let pair = Pair::new(1);
        let error = MptcpStream::connect(&pair.client, SERVER).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = MptcpStream::connect(&pair.client, "[fd00::1]:443").expect_err("no IPv6 here");
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        pair.assert_idle();
    });
}

#[test]
fn a_hundred_connections_at_once() {
    bounded(|| {
        let pair = Pair::new(2);
        let listener = MptcpListener::bind(&pair.server, SERVER).expect("bind");
        thread::scope(|scope| {
            scope.spawn(|| {
                for stream in listener.incoming().take(100) {
                    let mut stream = stream.expect("accept");
                    scope.spawn(move || {
                        let mut text = Vec::new();
                        stream.read_to_end(&mut text).expect("read");
                        stream.write_all(&text).expect("write");
                    });
                }
            });
            for seed in 0..100 {
                let client = &pair.client;
                scope.spawn(move || {
                    let stream = MptcpStream::connect(client, SERVER).expect("connect");
                    let data = bytes(seed, 20_000);
                    assert_same(&exchange(&stream, &data), &data);
                });
            }
        });
        pair.assert_idle();
    });
}

#[test]
fn connections_wait_in_the_backlog_for_their_accept() {
    bounded(|| {
        let pair = Pair::new(1);
        let options = ListenOptions { backlog: 8, ..ListenOptions::new(SERVER.parse().expect("address")) };
        let listener = MptcpListener::bind_with(&pair.server, &options).expect("bind");
        let second = MptcpListener::bind(&pair.server, SERVER).expect_err("taken");
        assert_eq!(second.kind(), ErrorKind::AddrInUse);
        let clients: Vec<_> = (0..8)
            .map(|i: u8| {
                let mut stream = MptcpStream::connect(&pair.client, SERVER).expect("connect");
                stream.write_all(&[i]).expect("write");
                stream
            })
            .collect();
        for client in &clients {
            let (mut accepted, peer) = listener.accept().expect("accept");
            assert_eq!(peer, client.local_addr().expect("connected"));
            accepted.read_exact(&mut [0]).expect("read");
        }
        let none = listener.accept_timeout(Duration::from_millis(5)).expect_err("all are accepted");
        assert_eq!(none.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn options_of_one_stream_are_set_and_a_hop_limit_of_zero_is_refused() {
    bounded(|| {
        let pair = Pair::new(1);
        let (client, server) = connected(&pair);
        client.set_traffic_class(0xb8).expect("open");
        client.set_hop_limit(7).expect("open");
        client.set_user_timeout(Some(Duration::from_secs(30))).expect("open");
        let refused = client.set_hop_limit(0).expect_err("no packet would arrive");
        assert_eq!(
            (refused.kind(), refused.to_string()),
            (ErrorKind::InvalidInput, "hop limit: 1 to 255".into())
        );
        let idle = Duration::from_millis(20);
        client.set_keepalive(Some(Keepalive { idle, interval: idle, probes: 100 })).expect("open");
        while pair.client.counters().get("TcpExtTCPKeepAlive") == Some(0) {
            thread::yield_now();
        }
        client.set_keepalive(None).expect("open");
        drop((client, server));
        pair.assert_idle();
    });
}

#[test]
fn a_stream_with_no_time_to_linger_aborts_when_it_is_dropped() {
    bounded(|| {
        for (linger, aborts) in
            [(Some(Duration::ZERO), true), (Some(Duration::from_secs(5)), false), (None, false)]
        {
            let pair = Pair::new(1);
            let (client, mut server) = connected(&pair);
            client.set_linger(Some(Duration::from_secs(1))).expect("open");
            client.set_linger(linger).expect("open");
            assert_eq!(client.linger().expect("never fails"), linger);
            drop(client);
            let ended = server.read(&mut [0]).map_err(|e| e.kind());
            assert_eq!(ended, if aborts { Err(ErrorKind::ConnectionReset) } else { Ok(0) }, "{linger:?}");
            drop(server);
            pair.assert_idle();
        }
    });
}

#[test]
fn many_threads_share_one_stream() {
    const THREADS: usize = 8;
    const RECORDS: usize = 200;
    const RECORD_BYTES: usize = 1_000;
    bounded(|| {
        let pair = Pair::new(1);
        let (client, server) = connected(&pair);
        thread::scope(|scope| {
            let writers: Vec<_> = (0..THREADS as u8)
                .map(|fill| {
                    let stream = client.try_clone().expect("clone");
                    scope.spawn(move || {
                        for _ in 0..RECORDS {
                            // A write of this size is never split, so records stay whole.
                            (&stream).write_all(&[fill; RECORD_BYTES]).expect("write");
                        }
                    })
                })
                .collect();
            let readers: Vec<_> = (0..THREADS)
                .map(|_| {
                    let stream = server.try_clone().expect("clone");
                    scope.spawn(move || {
                        let mut total = 0;
                        let mut buf = [0; 4_096];
                        loop {
                            match (&stream).read(&mut buf).expect("read") {
                                0 => return total,
                                len => total += len,
                            }
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().expect("writer"));
            client.shutdown(Shutdown::Write).expect("shutdown");
            let total: usize = readers.into_iter().map(|reader| reader.join().expect("reader")).sum();
            assert_eq!(total, THREADS * RECORDS * RECORD_BYTES);
        });
    });
}

#[test]
fn timeouts_and_nonblocking_mode_end_a_wait() {
    bounded(|| {
        let pair = Pair::new(1);
        let (mut client, server) = connected(&pair);
        client.set_read_timeout(Some(Duration::from_millis(5))).expect("not zero");
        assert_eq!(client.read(&mut [0]).expect_err("nothing there").kind(), ErrorKind::WouldBlock);
        client.set_read_timeout(Some(Duration::ZERO)).expect_err("zero");
        server.set_nonblocking(true).expect("always");
        assert_eq!((&server).read(&mut [0]).expect_err("nothing there").kind(), ErrorKind::WouldBlock);
        server.set_nonblocking(false).expect("always");
        // Long enough for what is under way to arrive: then both buffers are full.
        server.set_write_timeout(Some(Duration::from_millis(200))).expect("not zero");
        let filled = std::iter::repeat_with(|| (&server).write(&[0; 8_000])).find_map(Result::err);
        assert_eq!(filled.expect("buffers are finite").kind(), ErrorKind::WouldBlock);
        assert!(!server.readiness().writable);
        assert!(client.readiness().readable);
        client.abort();
        assert!(client.read(&mut [0]).is_err());
    });
}

#[test]
fn shutting_the_receiving_direction_ends_a_blocked_read() {
    bounded(|| {
        let pair = Pair::new(1);
        let (client, _server) = connected(&pair);
        thread::scope(|scope| {
            let reader = scope.spawn(|| (&client).read(&mut [0; 10]).expect("the end"));
            client.shutdown(Shutdown::Read).expect("shutdown");
            assert_eq!(reader.join().expect("no panic"), 0);
        });
    });
}

#[test]
fn a_subscriber_hears_of_listeners() {
    bounded(|| {
        let pair = Pair::new(1);
        let mut events = pair.server.subscribe();
        let local = SERVER.parse().expect("an address");
        let listener = MptcpListener::bind(&pair.server, SERVER).expect("bind");
        let limit = Duration::from_secs(5);
        assert_eq!(events.next_timeout(limit), Some(PmEvent::ListenerCreated { local }));
        drop(listener);
        assert_eq!(events.next_timeout(limit), Some(PmEvent::ListenerClosed { local }));
    });
}
