//! Many connections, one after the other and at once, leave nothing behind.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use polytcp::blocking::{MptcpListener, MptcpStream};
use polytcp_lab::{Kernel, KernelStream, Protocol, require_or_skip};

use crate::bounded::{WAIT, bounded};
use crate::stream_data::Source;
use crate::world::{Client, Family, Plan, World};

const IN_A_ROW: u64 = 1_000;
const AT_ONCE: u64 = 200;
/// Octets that each connection sends and gets back.
const MESSAGE: usize = 3_000;

/// Either end, by turns.
trait End: Read + Write {
    fn finish_writing(&self);
}

impl End for MptcpStream {
    fn finish_writing(&self) {
        self.shutdown(Shutdown::Write).expect("shutdown");
    }
}

impl End for KernelStream {
    fn finish_writing(&self) {
        self.shutdown(Shutdown::Write).expect("shutdown");
    }
}

fn ask(client: &mut impl End, number: u64) {
    let mut message = vec![0; MESSAGE];
    Source::new(number).fill(&mut message);
    client.write_all(&message).expect("the client writes");
    client.finish_writing();
}

fn answer(server: &mut impl End) {
    let mut message = Vec::new();
    server.read_to_end(&mut message).expect("the server reads");
    server.write_all(&message).expect("the server writes");
    server.finish_writing();
}

fn check(client: &mut impl End, number: u64) {
    let mut expected = vec![0; MESSAGE];
    Source::new(number).fill(&mut expected);
    let mut message = Vec::new();
    client.read_to_end(&mut message).expect("the client reads");
    assert!(message == expected, "connection {number}: {} octets came back", message.len());
}

/// How connections are opened, one at a time: the client's end and the server's.
trait Opener {
    type Client: End;
    type Server: End;
    fn open(&self) -> (Self::Client, Self::Server);
}

struct StackIsClient<'a> {
    world: &'a World,
    listener: polytcp_lab::KernelListener,
}

impl Opener for StackIsClient<'_> {
    type Client = MptcpStream;
    type Server = KernelStream;
    fn open(&self) -> (MptcpStream, KernelStream) {
        let connected = MptcpStream::connect_timeout(&self.world.stack, self.world.server(), WAIT);
        let client = connected.unwrap_or_else(|error| panic!("{error}\n{}", self.world.describe(None)));
        client.set_read_timeout(Some(WAIT)).expect("timeout");
        let accepted = self.listener.accept_within(WAIT);
        let server = accepted.unwrap_or_else(|error| panic!("{error}\n{}", self.world.describe(None)));
        server.set_timeouts(Some(WAIT)).expect("timeouts");
        (client, server)
    }
}

struct StackIsServer<'a> {
    world: &'a World,
    kernel: Kernel,
    listener: MptcpListener,
}

impl Opener for StackIsServer<'_> {
    type Client = KernelStream;
    type Server = MptcpStream;
    fn open(&self) -> (KernelStream, MptcpStream) {
        let connected = self.kernel.connect_within(None, self.world.server(), Protocol::Mptcp, WAIT);
        let client = connected.unwrap_or_else(|error| panic!("{error}\n{}", self.world.describe(None)));
        client.set_timeouts(Some(WAIT)).expect("timeouts");
        // Its third ACK is on its way: the server may need it first.
        let accepted = self.listener.accept_timeout(WAIT);
        let (server, _) = accepted.unwrap_or_else(|error| panic!("{error}\n{}", self.world.describe(None)));
        server.set_read_timeout(Some(WAIT)).expect("timeout");
        (client, server)
    }
}

fn in_a_row(opener: &impl Opener) {
    for number in 0..IN_A_ROW {
        let (mut client, mut server) = opener.open();
        ask(&mut client, number);
        answer(&mut server);
        check(&mut client, number);
    }
}

fn at_once(opener: &impl Opener) {
    let mut open: Vec<_> = (0..AT_ONCE).map(|_| opener.open()).collect();
    for (number, (client, _)) in (0..).zip(&mut open) {
        ask(client, number);
    }
    for (_, server) in &mut open {
        answer(server);
    }
    for (number, (client, _)) in (0..).zip(&mut open) {
        check(client, number);
    }
}

fn both_ways(world: &World, listeners: usize, opener: &impl Opener, name: &str) {
    let started = Instant::now();
    in_a_row(opener);
    println!("{name}: {IN_A_ROW} in a row took {:?}", started.elapsed());
    println!("{name}: quiet, {} in TIME-WAIT", world.await_quiet(listeners));
    let started = Instant::now();
    at_once(opener);
    println!("{name}: {AT_ONCE} at once took {:?}", started.elapsed());
    println!("{name}: quiet, {} in TIME-WAIT", world.await_quiet(listeners));
}

#[test]
fn a_thousand_connections_of_a_client_leave_nothing_behind() {
    if !require_or_skip() {
        return;
    }
    bounded("many clients", || {
        let world = World::new(Plan::bare(Client::Stack, Family::V4, 1));
        let listener = world.lab.listen(world.server(), Protocol::Mptcp).expect("listen");
        both_ways(&world, 0, &StackIsClient { world: &world, listener }, "the stack is client");
    });
}

#[test]
fn a_thousand_connections_of_a_server_leave_nothing_behind() {
    if !require_or_skip() {
        return;
    }
    bounded("many at a server", || {
        let world = World::new(Plan::bare(Client::Kernel, Family::V4, 1));
        let listener = world.listen();
        let kernel = world.lab.kernel().clone();
        let opener = StackIsServer { world: &world, kernel, listener };
        both_ways(&world, 1, &opener, "the stack is server");
        drop(opener);
        world.await_quiet(0);
    });
}

#[test]
fn connections_over_two_paths_leave_nothing_behind() {
    if !require_or_skip() {
        return;
    }
    bounded("joined ones", || {
        let world = World::new(Plan::bare(Client::Stack, Family::V4, 2));
        for round in 0..50 {
            let mut ends = world.connect();
            (&ends.stack).write_all(b"x").expect("write");
            (&ends.kernel).read_exact(&mut [0]).expect("read");
            if round % 2 == 0 {
                world.await_subflows(&ends, 2);
            }
            ask(&mut ends.stack, round);
            answer(&mut ends.kernel);
            check(&mut ends.stack, round);
        }
        world.await_quiet(0);
    });
}
