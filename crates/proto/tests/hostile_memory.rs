//! What a hostile peer can make a host hold: heap octets beside the receive buffer of its connection.
//!
//! The buffer is accounted for by what packets pin, and a peer that sends single octets pins other things as well:
//! entries, ranges, allocations. So the accounting is held against the heap itself. The peer has an MPTCP connection
//! with eight subflows, and whatever it sends, the host may not take more than twice the buffer.
//!
//! A binary of its own, since its allocator counts for the whole process. Only the host's work is charged to a test,
//! and the packets that it is given, each in an allocation of its own size, as from a device.

#[path = "support/heap.rs"]
mod heap;

#[path = "script/dsl/mod.rs"]
#[allow(unused_imports, reason = "this peer does not need every word")]
mod dsl;

use core::num::NonZeroU32;

use bytes::Bytes;
use dsl::*;
use heap::{charged, held_bytes, taken_bytes};
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::ConnectionInfo;
use polytcp_proto::packet::{InterfaceId, Received};

const SUBFLOWS: usize = 8;
/// Paths of the host, which the subflows share.
const PATHS: usize = 3;
/// A buffer that was set.
const SMALL_BYTES: u32 = 256 << 10;
/// Payload of a full segment.
const FULL_BYTES: usize = 1_400;
/// Octets that one subflow is sent, at most: far more pieces than it holds.
const PER_SUBFLOW_MAX: u32 = 30_000;

/// How large the buffer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Buffer {
    /// Set to [`SMALL_BYTES`].
    Small,
    /// The default, grown to the largest size by a reader that is quick.
    Grown,
}

/// The attacked host, and where its peer is in each stream.
struct Attack {
    script: Script,
    owner: usize,
    buffer: Buffer,
    name: &'static str,
    /// All mappings have checksums.
    checksums: bool,
    /// The next number of each subflow.
    seq: [u32; SUBFLOWS],
    /// The next data sequence number.
    dsn: u64,
    buffer_bytes: usize,
    before: (isize, isize),
    /// The most that was held beyond that, as asked for and as an allocator rounds it.
    most: (isize, isize),
    /// The most that was accounted for.
    accounted: usize,
    packets: u32,
}

impl Attack {
    fn new(name: &'static str, owner: usize, buffer: Buffer) -> Self {
        Self::with_checksums(name, owner, buffer, false)
    }

    fn with_checksums(name: &'static str, owner: usize, buffer: Buffer, checksums: bool) -> Self {
        let mut config = HostConfig::default();
        if buffer == Buffer::Small {
            config.tcp.recv_buffer_bytes = NonZeroU32::new(SMALL_BYTES);
        }
        config.mptcp.subflows = SUBFLOWS as u32;
        let mut attack = Self {
            script: charged(owner, || established(config, checksums)),
            owner,
            buffer,
            name,
            checksums,
            seq: [1; SUBFLOWS],
            dsn: 1,
            buffer_bytes: 0,
            before: (0, 0),
            most: (0, 0),
            accounted: 0,
            packets: 0,
        };
        let most = if buffer == Buffer::Small { SMALL_BYTES } else { 6 << 20 };
        for _ in 0..100 {
            attack.is_read();
            if attack.info().recv_buffer_bytes == most as usize {
                break;
            }
        }
        attack.buffer_bytes = attack.info().recv_buffer_bytes;
        assert_eq!(attack.buffer_bytes, most as usize, "what was read makes the buffer grow");
        assert_eq!(attack.info().recv_buffer_used, 0);
        attack.before = (held_bytes(owner), taken_bytes(owner));
        attack.packets = 0;
        attack
    }

    fn info(&self) -> ConnectionInfo {
        self.script.host.info(self.script.id()).unwrap()
    }

    /// The peer sends most of a window in order, and a little later the application reads it.
    fn is_read(&mut self) {
        let window = self.info().recv_buffer_bytes / 8 * 6;
        for _ in 0..window / FULL_BYTES {
            let seg = bulk(self.seq[0], 1, FULL_BYTES).map(self.dsn);
            let seg = if self.checksums { seg.csum() } else { seg };
            self.seq[0] += FULL_BYTES as u32;
            self.dsn += FULL_BYTES as u64;
            self.gives(seg);
        }
        self.script.idles(ms(10));
        let (owner, script) = (self.owner, &mut self.script);
        charged(owner, || script.read().len());
        self.script.ignores();
        self.script.idles(ms(10));
    }

    /// The host takes a segment, and what it answers goes nowhere.
    fn gives(&mut self, seg: Seg) {
        let (subflow, packet) = self.script.build(&seg);
        let Self { script, owner, .. } = self;
        let (host, now) = (&mut script.host, script.now);
        charged(*owner, || {
            let bytes = Bytes::copy_from_slice(&packet.bytes);
            let packet = Received { vnet: packet.vnet, buffer_bytes: bytes.len() as u32, bytes };
            host.handle_packet(now, InterfaceId((subflow % PATHS) as u32), packet);
            while host.poll_transmit(now).is_some() {}
            while host.poll_event().is_some() {}
            while host.poll_pm_event().is_some() {}
        });
        self.packets += 1;
        if self.buffer_bytes > 0 {
            self.judge();
        }
    }

    /// Looks at what is held by now.
    fn judge(&mut self) {
        let held = held_bytes(self.owner) - self.before.0;
        let taken = taken_bytes(self.owner) - self.before.1;
        self.most = (self.most.0.max(held), self.most.1.max(taken));
        if self.packets.is_multiple_of(256) {
            self.accounted = self.accounted.max(self.info().recv_buffer_used);
        }
    }

    /// The attack is over: tells what it took, and asserts that this was no more than twice the buffer.
    ///
    /// So that it was an attack, `accounted` eighths of the buffer were in use at some time.
    fn ends(&self, accounted: usize) {
        self.ends_within(accounted, 2 * self.buffer_bytes);
    }

    /// The same with another limit.
    fn ends_within(&self, accounted: usize, limit_bytes: usize) {
        let Self { name, buffer, packets, buffer_bytes, most, .. } = *self;
        let ratio = |bytes: isize| bytes as f64 / buffer_bytes as f64;
        println!(
            "{name}, {buffer:?}: {packets} segments, {} octets of heap beside a buffer of {buffer_bytes}: {:.2} times, \
             {:.2} as an allocator rounds them; accounted for: {:.2} times",
            most.0,
            ratio(most.0),
            ratio(most.1),
            self.accounted as f64 / buffer_bytes as f64,
        );
        assert_eq!(self.script.host.accounting().flows, SUBFLOWS, "no subflow was lost");
        assert!(
            self.accounted >= buffer_bytes / 8 * accounted,
            "{} octets were accounted for",
            self.accounted
        );
        assert!(most.1 <= limit_bytes as isize, "{name}, {buffer:?}: {:.2} times the buffer", ratio(most.1));
    }

    /// Every second octet that the window allows, so that a hole is before each.
    fn every_second(&self) -> impl Iterator<Item = u32> + use<> {
        (1..(self.buffer_bytes as u32 / 8 * 7).min(PER_SUBFLOW_MAX * 2)).step_by(2)
    }
}

/// A connection with all its subflows, of which the first has timestamps: by their echo the buffer grows.
fn established(config: HostConfig, checksums: bool) -> Script {
    let mut s = Script::listening_with(config);
    let capable = |seg: Seg| if checksums { seg.mpc_a() } else { seg.mpc() };
    s.receives(capable(syn().mss(1460).sack_ok().wscale(7).ts())).sends(syn_ack());
    s.receives(capable(ack(1, 1))).accepts().sends_nothing();
    for id in 1..SUBFLOWS {
        let sf = s.add_line(id % PATHS, 2000 + id as u16);
        s.receives(syn().on(sf).mss(1460).sack_ok().wscale(7).join_syn(id as u8));
        s.sends(syn_ack().on(sf).join_syn_ack());
        s.receives(ack(1, 1).on(sf).join_ack()).sends(ack(1, 1).on(sf).dack(1)).sends_nothing();
    }
    s
}

/// Single octets out of order on each subflow; their data sequence numbers are `ranges` ranges.
fn out_of_order_on_subflows(name: &'static str, owner: usize, buffer: Buffer, ranges: u64) {
    let mut attack = Attack::new(name, owner, buffer);
    let (seq, dsn) = (attack.seq, attack.dsn);
    let per_range = attack.buffer_bytes as u64 / 8 * 7 / ranges;
    for at in attack.every_second() {
        for (subflow, seq) in seq.iter().enumerate() {
            let from = dsn + per_range * (subflow as u64 % ranges);
            attack.gives(data(seq + at, 1, b"x").on(subflow).map(from + u64::from(at) % per_range));
        }
    }
    attack.ends(6);
}

/// Single octets in order on each subflow, and out of order at data level.
fn out_of_order_at_data_level(owner: usize, buffer: Buffer) {
    let mut attack = Attack::new("octets out of order at data level", owner, buffer);
    let dsn = attack.dsn;
    for (at, subflow) in attack.every_second().zip((0..SUBFLOWS).cycle()) {
        let seq = attack.seq[subflow];
        attack.seq[subflow] += 1;
        attack.gives(data(seq, 1, b"x").on(subflow).map(dsn + u64::from(at)));
    }
    attack.ends(2);
}

/// On one subflow after the other many octets out of order, and then the holes, but for the last: hardly anything is
/// held then, and what it was held in should be given back.
fn filled_holes(owner: usize, buffer: Buffer) {
    let mut attack = Attack::new("holes that are filled", owner, buffer);
    for subflow in 0..SUBFLOWS {
        let seq = attack.seq[subflow];
        // Data that was read long ago.
        let old = |at: u32| data(seq + at, 1, b"x").on(subflow).map(1 + u64::from(at));
        let last = 8_191;
        for at in (1..=last).step_by(2) {
            attack.gives(old(at));
        }
        // What was given up meanwhile comes again.
        for at in 0..last - 1 {
            attack.gives(old(at));
        }
    }
    attack.ends(0);
}

/// Full segments of which one octet is new: the others belong to a mapping of data that was read long ago.
fn octets_of_full_segments(owner: usize, buffer: Buffer) {
    let mut attack = Attack::new("octets of full segments", owner, buffer);
    let dsn = attack.dsn;
    let window = attack.buffer_bytes as u64 / 8 * 7;
    let full = FULL_BYTES as u32;
    for (at, subflow) in (1..window.min(40_000)).step_by(2).zip((0..SUBFLOWS).cycle()) {
        let seq = attack.seq[subflow];
        attack.seq[subflow] += full + 1;
        attack.gives(data(seq, 1, b"x").on(subflow).map_of(1, seq, full as u16));
        attack.gives(bulk(seq + 1, 1, FULL_BYTES).on(subflow).map_of(dsn + at, seq + full, 1));
    }
    attack.ends(2);
}

/// What may be held of mappings that are not whole, beside the buffer: one for each subflow.
const UNVERIFIED_BYTES_MAX: usize = SUBFLOWS * 65_536;

/// With checksums a mapping on each subflow, in single octets, of which the last never comes.
fn mappings_that_are_not_whole(owner: usize, buffer: Buffer) {
    let mut attack = Attack::with_checksums("mappings that are not whole", owner, buffer, true);
    let dsn = attack.dsn;
    let len = u16::MAX;
    for at in 0..u32::from(len) - 1 {
        for subflow in 0..SUBFLOWS {
            let seq = attack.seq[subflow];
            let seg = data(seq + at, 1, b"x").on(subflow);
            let first = |seg: Seg| seg.map_of(dsn + u64::from(len), seq, len).csum_wrong();
            attack.gives(if at == 0 { first(seg) } else { seg });
        }
    }
    attack.ends_within(0, 2 * attack.buffer_bytes + UNVERIFIED_BYTES_MAX);
}

#[test]
fn octets_out_of_order_on_all_subflows_take_at_most_twice_the_buffer() {
    let ranges = SUBFLOWS as u64;
    out_of_order_on_subflows("octets out of order, ranges apart", 1, Buffer::Small, ranges);
    out_of_order_on_subflows("octets out of order, ranges apart", 2, Buffer::Grown, ranges);
}

#[test]
fn the_same_octets_out_of_order_on_all_subflows_take_at_most_twice_the_buffer() {
    out_of_order_on_subflows("octets out of order, the same range", 3, Buffer::Small, 1);
    out_of_order_on_subflows("octets out of order, the same range", 4, Buffer::Grown, 1);
}

#[test]
fn octets_out_of_order_at_data_level_take_at_most_twice_the_buffer() {
    out_of_order_at_data_level(5, Buffer::Small);
    out_of_order_at_data_level(6, Buffer::Grown);
}

#[test]
fn what_filled_holes_leave_behind_takes_at_most_twice_the_buffer() {
    filled_holes(7, Buffer::Small);
    filled_holes(8, Buffer::Grown);
}

#[test]
fn octets_of_full_segments_take_at_most_twice_the_buffer() {
    octets_of_full_segments(9, Buffer::Small);
    octets_of_full_segments(10, Buffer::Grown);
}

#[test]
fn mappings_that_are_not_whole_take_a_mapping_on_each_subflow_beside_twice_the_buffer() {
    mappings_that_are_not_whole(11, Buffer::Small);
    mappings_that_are_not_whole(12, Buffer::Grown);
}
