//! Boxes that change payload. Without DSS checksums a change arrives as with TCP; with them it is found
//! (RFC 8684 §3.7): of several subflows the one concerned is closed and its data sent elsewhere, of a
//! single one all goes back to TCP.

use std::io::{self, Read};
use std::num::NonZeroU8;

use polytcp::io::middlebox::*;

use super::scene::{BOTH, Between, GREETING_BYTES, Octets, Peer, Role, Scene, bytes, in_roles, one};
use crate::bounded::wait_until;
use crate::stream_data::Source;
use crate::transfer::{Manner, both};
use crate::world::Family;

const SEED: u64 = 9;
const CHECKSUMS: &[(&str, &str)] = &[("net.mptcp.checksum_enabled", "1")];
const FLIPPED: NonZeroU8 = NonZeroU8::new(0x20).expect("not zero");

/// The first octets of what is sent, which a box looks for.
fn word() -> [u8; 8] {
    let mut word = [0; 8];
    Source::new(SEED).fill(&mut word);
    word
}

/// A reader that undoes the change of a box, and fails where there was none.
struct Restored<'a> {
    inner: Octets<'a>,
    /// Octets up to the change.
    before: u64,
    changed: Vec<u8>,
    original: Vec<u8>,
}

impl<'a> Restored<'a> {
    /// Of a stream whose first octets, [`word`], were replaced.
    fn replaced(inner: Octets<'a>, replacement: &[u8]) -> Self {
        Self { inner, before: 0, changed: replacement.to_vec(), original: word().to_vec() }
    }

    /// Of a stream in which the octet at `at` was flipped.
    fn flipped(inner: Octets<'a>, at: u64) -> Self {
        let mut stream = vec![0; at as usize + 1];
        Source::new(SEED).fill(&mut stream);
        let original = stream[at as usize];
        Self { inner, before: at, changed: vec![original ^ FLIPPED.get()], original: vec![original] }
    }
}

impl Read for Restored<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.before > 0 {
            let want = self.before.min(out.len() as u64) as usize;
            let len = self.inner.read(&mut out[..want])?;
            self.before -= len as u64;
            return Ok(len);
        }
        if !self.changed.is_empty() {
            let mut found = vec![0; self.changed.len()];
            self.inner.read_exact(&mut found)?;
            assert_eq!(found, self.changed, "what the box wrote");
            self.changed.clear();
        }
        if !self.original.is_empty() {
            let len = self.original.len().min(out.len());
            out[..len].copy_from_slice(&self.original[..len]);
            self.original.drain(..len);
            return Ok(len);
        }
        self.inner.read(out)
    }
}

/// Sends octets and checks that they arrive with the change that `restored` undoes, and no other.
fn arrives_changed(
    scene: &Scene,
    direction: Direction,
    bytes: u64,
    restored: impl FnOnce(Octets<'_>) -> Restored<'_>,
) {
    let [from, to] = scene.sender_and_receiver(direction);
    let result = both(Octets(from), restored(Octets(to)), Manner::new(SEED, bytes));
    let (Ok(written), Ok(read)) = &result else {
        panic!("{direction:?}: {:?}, {:?}\n{}", result.0, result.1.is_ok(), scene.describe())
    };
    assert_eq!(*written, read.seen, "{direction:?}: but for the change\n{}", scene.describe());
}

/// A box for each direction in which it may work.
#[derive(Clone, Copy)]
struct Directed {
    outward: fn(usize) -> Chain,
    inward: fn(usize) -> Chain,
}

impl Directed {
    fn of(self, direction: Direction) -> fn(usize) -> Chain {
        match direction {
            Direction::Outward => self.outward,
            Direction::Inward => self.inward,
        }
    }
}

/// Boxes that differ in their direction only.
macro_rules! directed {
    (|$direction:ident, $path:pat_param| $chain:expr) => {
        Directed {
            outward: |$path| {
                let $direction = Direction::Outward;
                $chain
            },
            inward: |$path| {
                let $direction = Direction::Inward;
                $chain
            },
        }
    };
}

/// Where an octet is flipped in the stream of a flow.
const FLIPPED_AT: u64 = 5_000;

/// Where the checksums of several segments before it were right: Linux says MP_FAIL only where it has seen such.
const FLIPPED_LATE: u64 = 150_000;

fn flip(direction: Direction, at: u64) -> ChangePayload {
    ChangePayload::octet(direction, at, FLIPPED)
}

const FLIP: Directed = directed!(|direction, _| one(flip(direction, FLIPPED_AT)));

#[test]
fn without_checksums_a_flipped_octet_arrives_as_with_tcp() {
    in_roles(|role, family| {
        for direction in BOTH {
            let scene = Scene::new(Between::one_path(FLIP.of(direction)), role, family);
            arrives_changed(&scene, direction, bytes(), |octets| Restored::flipped(octets, FLIPPED_AT));
            scene.transfer(direction.reversed(), Manner::new(4, bytes()));
            assert_eq!(scene.peers().map(Peer::is_mptcp), [true; 2]);
            scene.assert_no_faults();
        }
    });
}

const SAME_LENGTH: &[u8] = b"replaced";
const LONGER: &[u8] = b"replaced by more";
const SHORTER: &[u8] = b"less";

const PATTERN: Directed =
    directed!(|direction, _| one(
        ChangePayload::pattern(direction, &word(), SAME_LENGTH).expect("one length")
    ));

#[test]
fn without_checksums_replaced_words_of_one_length_arrive_as_with_tcp() {
    in_roles(|role, family| {
        for direction in BOTH {
            let scene = Scene::new(Between::one_path(PATTERN.of(direction)), role, family);
            arrives_changed(&scene, direction, bytes(), |octets| Restored::replaced(octets, SAME_LENGTH));
            assert_eq!(scene.peers().map(Peer::is_mptcp), [true; 2]);
            scene.assert_no_faults();
        }
    });
}

fn gateway(direction: Direction, replacement: &[u8]) -> ApplicationGateway {
    ApplicationGateway::new(direction, &word(), replacement, 1_500).expect("a gateway")
}

const LENGTHEN: Directed =
    directed!(|direction, _| one(StripMptcp::new(MptcpPackets::ALL)).with(gateway(direction, LONGER)));
const SHORTEN: Directed =
    directed!(|direction, _| one(StripMptcp::new(MptcpPackets::ALL)).with(gateway(direction, SHORTER)));

#[test]
fn tcp_does_not_notice_a_gateway() {
    in_roles(|role, family| {
        for direction in BOTH {
            for (boxes, replacement) in [(LENGTHEN, LONGER), (SHORTEN, SHORTER)] {
                let scene = Scene::new(Between::one_path(boxes.of(direction)), role, family);
                arrives_changed(&scene, direction, bytes(), |octets| Restored::replaced(octets, replacement));
                scene.transfer(direction.reversed(), Manner::new(4, bytes()));
                assert_eq!(scene.peers().map(Peer::is_mptcp), [false; 2]);
            }
        }
    });
}

/// Linux 6.18 sizes the segment with the infinite mapping as if it had no option: a full one exceeds its own
/// MTU and never leaves. So kernels send little there.
const LITTLE: u64 = 1_000;

/// MP_FAIL both ways and the infinite mapping of the sender.
fn assert_reverted(scene: &Scene, direction: Direction) {
    for (name, sender, receiver) in [
        ("DataCsumErr", 0, 1),
        ("MPFailTx", 1, 1),
        ("MPFailRx", 1, 1),
        ("InfiniteMapTx", 1, 0),
        ("InfiniteMapRx", 0, 1),
    ] {
        let counts = scene.counters_of(direction, name);
        assert_eq!(counts, [sender, receiver], "sender's and receiver's {name}\n{}", scene.describe());
    }
    assert_eq!(scene.peers().map(Peer::is_mptcp), [false; 2], "{}", scene.describe());
}

/// Whether the stack sends in that direction.
fn stack_sends(role: Role, direction: Direction) -> bool {
    matches!((role, direction), (Role::Client, Direction::Outward) | (Role::Server, Direction::Inward))
}

const FLIP_LITTLE: Directed = directed!(|direction, _| one(flip(direction, GREETING_BYTES + LITTLE / 2)));

#[test]
fn with_checksums_a_flipped_octet_on_the_only_path_leads_back_to_tcp() {
    in_roles(|role, family| {
        for direction in BOTH {
            let amounts = if stack_sends(role, direction) { vec![LITTLE, bytes()] } else { vec![LITTLE] };
            for amount in amounts {
                let between = Between { sysctls: CHECKSUMS, ..Between::one_path(FLIP_LITTLE.of(direction)) };
                let scene = Scene::new(between, role, family);
                scene.greet(1);
                arrives_changed(&scene, direction, amount, |octets| Restored::flipped(octets, LITTLE / 2));
                let failed = || scene.counters_of(direction, "MPFailRx") == [1, 1];
                wait_until(failed, || scene.describe());
                scene.transfer(direction, Manner::new(4, amount));
                assert_reverted(&scene, direction);
                for direction in BOTH {
                    scene.transfer(direction, Manner::new(5, bytes()));
                }
            }
        }
    });
}

/// A box on one path of two.
macro_rules! on_path {
    ($doomed:expr, |$direction:ident| $chain:expr) => {
        directed!(|$direction, path| if path == $doomed { $chain } else { Chain::new() })
    };
}

/// Everything arrives unchanged; the subflow whose octets were changed is gone, closed with MP_FAIL.
fn loses_a_subflow(role: Role, family: Family, boxes: Directed) {
    for direction in BOTH {
        let between = Between { paths: 2, sysctls: CHECKSUMS, ..Between::one_path(boxes.of(direction)) };
        let scene = Scene::new(between, role, family);
        scene.greet(2);
        let receivers = |name| scene.counters_of(direction, name)[1];
        // A scheduler need not use each path in each transfer.
        for _ in 0..TRANSFERS_MAX {
            scene.transfer(direction, Manner::new(4, bytes()));
            if receivers("DataCsumErr") > 0 {
                break;
            }
        }
        wait_until(|| receivers("MPRstTx") > 0, || scene.describe());
        for (name, expected) in
            [("DataCsumErr", 1), ("MPFailTx", 1), ("DssFallback", 0), ("FallbackFailed", 0)]
        {
            assert_eq!(receivers(name), expected, "the receiver's {name}\n{}", scene.describe());
        }
        assert_eq!(scene.peers().map(Peer::is_mptcp), [true; 2]);
        for direction in BOTH {
            scene.transfer(direction, Manner::new(5, bytes()));
        }
    }
}

const TRANSFERS_MAX: usize = 20;

#[test]
fn with_checksums_a_path_that_flips_an_octet_is_lost_and_no_octet_with_it() {
    in_roles(|role, family| {
        loses_a_subflow(role, family, on_path!(0, |direction| one(flip(direction, FLIPPED_LATE))));
        loses_a_subflow(role, family, on_path!(1, |direction| one(flip(direction, FLIPPED_LATE))));
    });
}

/// Two octets that are often in what is sent.
const OFTEN: &[u8] = b"\x00\x9e";

fn often(direction: Direction, replacement: &[u8]) -> ApplicationGateway {
    ApplicationGateway::new(direction, OFTEN, replacement, 1_500).expect("a gateway")
}

#[test]
fn with_checksums_a_path_with_a_gateway_is_lost_and_no_octet_with_it() {
    in_roles(|role, family| {
        loses_a_subflow(role, family, on_path!(0, |direction| one(often(direction, LONGER))));
        loses_a_subflow(role, family, on_path!(1, |direction| one(often(direction, LONGER))));
    });
}

#[test]
fn with_checksums_a_path_with_a_shortening_gateway_is_lost_and_no_octet_with_it() {
    in_roles(|role, family| {
        loses_a_subflow(role, family, on_path!(0, |direction| one(often(direction, b"\x00"))));
        loses_a_subflow(role, family, on_path!(1, |direction| one(often(direction, b"\x00"))));
    });
}
