//! Reassembly against an array of octets, at the wrap of both number spaces.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::rng::Prng;
use crate::seq::{Dsn, SeqNum};

/// Numbers that a run uses; bases lie so that the wrap falls among them.
const SPACE: usize = 300;
const ROOMY: usize = 1_000;

/// One step: what to do, where, how much.
type Step = (u8, u16, u16);

struct World<S> {
    base: S,
    next: usize,
    /// The octet held at each place, and the tag of the insert that brought it.
    held: Vec<Option<(u8, usize)>>,
    queue: Reassembly<S, usize>,
}

impl<S: Sequence> World<S> {
    fn new(base: S, limit_entries: usize) -> Self {
        Self { base, next: 0, held: vec![None; SPACE], queue: Reassembly::new(limit_entries) }
    }

    fn at(&self, place: usize) -> S {
        self.base.plus(place as u64)
    }

    fn place(&self, at: S) -> usize {
        at.distance(self.base).expect("within the run") as usize
    }

    fn step(&mut self, tag: usize, (kind, place, len): Step) {
        match kind % 8 {
            0 => self.take(0),
            1 => self.take(usize::from(len) % 20),
            2 => self.drop_tail(),
            _ => {
                let place = usize::from(place) % SPACE;
                self.insert(tag, place, (usize::from(len) % 24).min(SPACE - place));
            }
        }
        self.compare();
    }

    fn insert(&mut self, tag: usize, place: usize, len: usize) {
        let octets: Vec<u8> = (0..len).map(|i| (tag * 31 + i) as u8).collect();
        let lowest = self.held.iter().position(Option::is_some).unwrap_or(SPACE);
        let highest = self.held.iter().rposition(Option::is_some);
        let evictions_before = self.queue.payload_bytes();
        let outcome = self.queue.insert(self.at(place), Bytes::from(octets.clone()), len as u32, tag);

        let slots = &self.held[place..place + len];
        let duplicate = slots.iter().filter(|slot| slot.is_some()).count();
        let first = slots.iter().position(Option::is_some).map(|skip| {
            let run = slots[skip..].iter().take_while(|slot| slot.is_some()).count();
            Span::with_len(self.at(place + skip), run as u64)
        });
        if outcome.evicted_bytes == 0 {
            assert_eq!(outcome.duplicate_bytes as usize, duplicate);
            assert_eq!(outcome.duplicate, first);
        }
        let sum = outcome.new_bytes + outcome.duplicate_bytes + outcome.refused_bytes;
        assert_eq!(sum as usize, len, "every octet is counted once");
        assert_eq!(outcome.at_tail, highest.is_none_or(|highest| place > highest));
        if place < lowest && len > 0 {
            assert!(outcome.new_bytes > 0, "the front is never refused");
        }
        let expected = evictions_before + outcome.new_bytes as usize - outcome.evicted_bytes as usize;
        assert_eq!(self.queue.payload_bytes(), expected);

        for (slot, octet) in self.held[place..place + len].iter_mut().zip(&octets) {
            slot.get_or_insert((*octet, tag));
        }
        if outcome.refused_bytes + outcome.evicted_bytes > 0 {
            self.forget_what_the_queue_gave_up();
        } else if len > 0 {
            let latest = self.queue.recent_first().next().expect("something is held");
            assert!(latest.contains(self.at(place)));
        }
    }

    /// Only at the limit: the model follows what is held, the octets themselves are compared after.
    fn forget_what_the_queue_gave_up(&mut self) {
        let ranges: Vec<_> = self.queue.ranges().collect();
        for place in 0..SPACE {
            let at = self.at(place);
            if !ranges.iter().any(|range| range.contains(at)) {
                self.held[place] = None;
            }
        }
    }

    fn take(&mut self, skip: usize) {
        self.next = (self.next + skip).min(SPACE - 1);
        while let Some(entry) = self.queue.pop_in_order(self.at(self.next)) {
            assert_eq!(entry.start, self.at(self.next));
            for octet in &entry.bytes {
                assert_eq!(self.held[self.next], Some((*octet, entry.tag)));
                self.next += 1;
            }
        }
        self.held[..self.next].fill(None);
        assert!(self.held.get(self.next).copied().flatten().is_none(), "all in order was taken");
    }

    fn drop_tail(&mut self) {
        let highest = self.held.iter().rposition(Option::is_some);
        let dropped = self.queue.drop_tail();
        assert_eq!(dropped.as_ref().map(|e| self.place(e.end())), highest.map(|place| place + 1));
        if let Some(entry) = dropped {
            let place = self.place(entry.start);
            self.held[place..place + entry.bytes.len()].fill(None);
        }
    }

    fn compare(&self) {
        let mut found = vec![None; SPACE];
        for entry in self.queue.iter() {
            let place = self.place(entry.start);
            for (slot, octet) in found[place..].iter_mut().zip(&entry.bytes) {
                *slot = Some((*octet, entry.tag));
            }
        }
        assert_eq!(found, self.held);
        let mut ranges = Vec::new();
        let mut place = 0;
        while place < SPACE {
            let run = self.held[place..].iter().take_while(|slot| slot.is_some()).count();
            if run > 0 {
                ranges.push(Span::with_len(self.at(place), run as u64));
            }
            place += run.max(1);
        }
        assert_eq!(self.queue.ranges().collect::<Vec<_>>(), ranges);
        let recent: Vec<_> = self.queue.recent_first().collect();
        assert_eq!(recent.len(), ranges.len().min(RECENT_RANGES));
        for (i, range) in recent.iter().enumerate() {
            assert!(ranges.contains(range) && !recent[..i].contains(range));
        }
        assert!(self.queue.held.as_ref().is_none_or(|held| held.is_consistent()));
    }
}

fn run<S: Sequence>(base: S, limit_entries: usize, steps: &[Step]) {
    let mut world = World::new(base, limit_entries);
    for (tag, step) in steps.iter().enumerate() {
        world.step(tag, *step);
    }
}

fn run_everywhere(offset: u64, limit_entries: usize, steps: &[Step]) {
    run(SeqNum(u32::MAX - offset as u32), limit_entries, steps);
    run(SeqNum((1 << 31) - offset as u32), limit_entries, steps);
    run(Dsn(u64::MAX - offset), limit_entries, steps);
    run(Dsn((1 << 32) - offset), limit_entries, steps);
}

fn random_steps(rng: &mut Prng, count: usize) -> Vec<Step> {
    (0..count)
        .map(|_| {
            let bits = rng.next_u64();
            (bits as u8, (bits >> 8) as u16, (bits >> 24) as u16)
        })
        .collect()
}

#[test]
fn random_runs_agree_with_an_array() {
    for seed in 0..60 {
        let mut rng = Prng::new(seed);
        let offset = rng.below(SPACE as u64);
        let steps = random_steps(&mut rng, 80);
        run_everywhere(offset, ROOMY, &steps);
        run_everywhere(offset, 1 + seed as usize % 6, &steps);
    }
}

proptest! {
    #[test]
    fn any_run_agrees_with_an_array(
        offset in 0..SPACE as u64,
        limit_entries in prop_oneof![Just(ROOMY), 1..8usize],
        steps in prop::collection::vec(any::<Step>(), 0..60),
    ) {
        run_everywhere(offset, limit_entries, &steps);
    }
}

fn insert(queue: &mut Reassembly<SeqNum, ()>, start: u32, len: usize) -> Inserted<SeqNum> {
    queue.insert(SeqNum(start), Bytes::from(vec![0; len]), len as u32, ())
}

#[test]
fn the_latest_range_comes_first_as_in_the_second_example_of_rfc_2018() {
    // RFC 2018 §4: the first segment is lost, then every other one.
    let mut queue = Reassembly::new(ROOMY);
    for start in [5500, 6500, 7500, 8500, 9500] {
        insert(&mut queue, start, 500);
    }
    let starts: Vec<_> = queue.recent_first().map(|range| range.start.0).collect();
    assert_eq!(starts, [9500, 8500, 7500, 6500]);
    insert(&mut queue, 7000, 500);
    let ranges: Vec<_> = queue.recent_first().map(|range| (range.start.0, range.end.0)).collect();
    assert_eq!(ranges, [(6500, 8000), (9500, 10000), (8500, 9000), (5500, 6000)]);
}

#[test]
fn a_duplicate_makes_its_range_the_latest() {
    let mut queue = Reassembly::new(ROOMY);
    insert(&mut queue, 10, 5);
    insert(&mut queue, 20, 5);
    let again = insert(&mut queue, 11, 2);
    assert_eq!(again.duplicate, Some(Span::new(SeqNum(11), SeqNum(13))));
    assert_eq!(queue.recent_first().next(), Some(Span::new(SeqNum(10), SeqNum(15))));
}

#[test]
fn a_small_payload_does_not_pin_its_buffer() {
    let mut queue = Reassembly::new(ROOMY);
    let buffer = Bytes::from(vec![7; 65_536]);
    queue.insert(SeqNum(10), buffer.slice(100..101), 65_536, ());
    assert_eq!(queue.buffer_bytes(), ENTRY_BYTES_MIN as usize);
    assert!(buffer.is_unique(), "the queue has its own copy");
    queue.insert(SeqNum(20), buffer.slice(0..16_384), 65_536, ());
    assert_eq!(queue.buffer_bytes(), ENTRY_BYTES_MIN as usize + 65_536);
    assert!(!buffer.is_unique());
    queue.clear();
    assert!(buffer.is_unique() && queue.buffer_bytes() == 0 && queue.payload_bytes() == 0);
}

#[test]
fn data_half_the_space_away_is_refused_and_harms_nothing() {
    for far in [1 << 31, (1 << 31) - 5, (1 << 31) + 5, (1 << 31) + 10] {
        let mut queue = Reassembly::new(ROOMY);
        insert(&mut queue, 100, 10);
        let outcome = insert(&mut queue, 100u32.wrapping_add(far), 10);
        assert_eq!((outcome.refused_bytes, outcome.new_bytes), (10, 0), "{far}");
        assert_eq!(queue.ranges().collect::<Vec<_>>(), [Span::new(SeqNum(100), SeqNum(110))]);
    }
}

#[test]
fn octets_that_arrive_backwards_are_bounded_and_the_lowest_stay() {
    let mut queue = Reassembly::new(16);
    for start in (0..1_000).rev() {
        let outcome = insert(&mut queue, start * 2, 1);
        assert_eq!(outcome.new_bytes, 1);
    }
    assert_eq!(queue.len(), 16);
    assert_eq!(queue.iter().next().map(|e| e.start), Some(SeqNum(0)));
    assert_eq!(insert(&mut queue, 5_000, 1).refused_bytes, 1);
    assert_eq!(insert(&mut queue, 3, 1).refused_bytes, 1, "only the front takes the place of the tail");
}
