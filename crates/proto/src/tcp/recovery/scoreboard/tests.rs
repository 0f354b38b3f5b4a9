//! The scoreboard against the state of every single number, at the wrap.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::rng::Prng;

/// One step: what to do, and two amounts.
type Step = (u8, u16, u16);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Number {
    /// The payload octet; none for SYN and FIN.
    octet: Option<u8>,
    tag: usize,
    last_sent: Instant,
    transmissions: u16,
    sacked: bool,
    lost: bool,
    in_retransmission: bool,
}

impl Number {
    fn is_in_flight(&self) -> bool {
        !self.sacked && (!self.lost || self.in_retransmission)
    }
}

struct World {
    base: SeqNum,
    una: usize,
    numbers: Vec<Number>,
    board: Scoreboard<usize>,
    now: Instant,
}

impl World {
    fn new(base: SeqNum) -> Self {
        let board = Scoreboard::new(base);
        Self { base, una: 0, numbers: Vec::new(), board, now: Instant::from_millis(1) }
    }

    fn at(&self, place: usize) -> SeqNum {
        self.base + place as u32
    }

    fn place(&self, seq: SeqNum) -> usize {
        seq.saturating_since(self.base) as usize
    }

    fn step(&mut self, tag: usize, (kind, a, b): Step) {
        // Some steps share an instant.
        self.now += Instant::from_millis(u64::from(b % 2)).since(Instant::ZERO);
        let (a, b) = (usize::from(a), usize::from(b));
        match kind % 14 {
            0..=2 => self.push(tag, a, b),
            3 => self.ack(a),
            4..=6 => self.sack(a, b),
            7 => self.mark_lost(a),
            8 => self.detect_lost(a),
            9..=11 => self.retransmit(a, b),
            12 => self.forget(a),
            _ => self.probe(),
        }
        self.compare();
    }

    fn push(&mut self, tag: usize, a: usize, b: usize) {
        let payload: Vec<u8> = (0..a % 24).map(|i| (tag * 13 + i) as u8).collect();
        let seq = self.board.snd_nxt();
        let mut sent = Sent::new(seq, Bytes::from(payload.clone()), tag, self.now, AtSend::default());
        let mut octets: Vec<Option<u8>> = payload.into_iter().map(Some).collect();
        if self.numbers.is_empty() {
            sent = sent.with_syn();
            octets.insert(0, None);
        }
        if b.is_multiple_of(8) {
            sent = sent.with_fin();
            octets.push(None);
        }
        let number = |octet| Number {
            octet,
            tag,
            last_sent: self.now,
            transmissions: 1,
            sacked: false,
            lost: false,
            in_retransmission: false,
        };
        self.numbers.extend(octets.into_iter().map(number));
        self.board.push(sent);
    }

    fn ack(&mut self, a: usize) {
        let upto = self.una + a % (self.numbers.len() - self.una + 1);
        let mut expected: Vec<Number> = self.numbers[self.una..upto].to_vec();
        expected.retain(|number| !number.sacked);
        let mut acked = Vec::new();
        self.board.ack(self.at(upto), |part| acked.extend(numbers_of(part)));
        assert_eq!(acked, expected);
        self.una = upto;
        self.board.ack(self.at(upto) - 1, |_| panic!("old"));
        self.board.ack(self.at(self.numbers.len() + 1), |_| panic!("beyond what was sent"));
    }

    fn sack(&mut self, a: usize, b: usize) {
        let left = a % (self.numbers.len() + 2);
        let right = left + b % 40;
        let valid = left > self.una && right > left && right <= self.numbers.len();
        let mut expected = Vec::new();
        if valid {
            for number in self.numbers[left..right].iter_mut().filter(|number| !number.sacked) {
                expected.push(*number);
                number.sacked = true;
                number.lost = false;
                number.in_retransmission = false;
            }
        }
        let mut newly = Vec::new();
        let sum = self.board.sack(self.at(left), self.at(right), |part| newly.extend(numbers_of(part)));
        assert_eq!(newly, expected);
        assert_eq!(sum as usize, expected.len());
    }

    fn mark_lost(&mut self, a: usize) {
        if a.is_multiple_of(8) {
            self.board.mark_all_lost();
            self.lose(|_| true);
        } else if let Some(entry) = self.board.get(a % (self.board.len() + 1)) {
            let range = self.place(entry.seq)..self.place(entry.end());
            self.board.mark_lost(a % (self.board.len() + 1));
            for number in self.numbers[range].iter_mut().filter(|number| !number.sacked) {
                number.lost = true;
                number.in_retransmission = false;
            }
        }
    }

    fn lose(&mut self, which: impl Fn(&Number) -> bool) -> usize {
        let mut count = 0;
        for number in self.numbers[self.una..].iter_mut().filter(|n| !n.sacked && which(n)) {
            count += usize::from(!number.lost || number.in_retransmission);
            number.lost = true;
            number.in_retransmission = false;
        }
        count
    }

    fn detect_lost(&mut self, a: usize) {
        let deadline = self.now - core::time::Duration::from_millis(a as u64 % 16);
        let later = if a.is_multiple_of(2) { Judgement::Wait } else { Judgement::Stop };
        let lost = self.board.detect_lost(|entry| {
            assert!(entry.is_in_flight());
            if entry.last_sent < deadline { Judgement::Lost } else { later }
        });
        let expected = self.lose(|number| number.is_in_flight() && number.last_sent < deadline);
        assert_eq!(lost as usize, expected);
    }

    fn retransmit(&mut self, a: usize, b: usize) {
        let expected = self.numbers[self.una..].iter().position(|n| n.lost && !n.in_retransmission);
        let Some(index) = self.board.next_lost() else {
            assert_eq!(expected, None);
            return;
        };
        let entry = self.board.get(index).expect("found");
        let place = self.place(entry.seq);
        assert_eq!(Some(place - self.una), expected);
        let mut len = entry.len;
        let part = a as u32 % 12;
        assert_eq!(self.board.split_at(index, part), part > 0 && part < len);
        if part > 0 {
            len = len.min(part);
        }
        if !b.is_multiple_of(4) {
            self.resend(index, place..place + len as usize);
        }
    }

    /// A tail loss probe: the last entry is sent again, whether it is lost or not.
    fn probe(&mut self) {
        let index = self.board.len().wrapping_sub(1);
        if let Some(last) = self.board.get(index).filter(|e| !e.sacked) {
            let range = self.place(last.seq)..self.place(last.end());
            self.resend(index, range);
        }
    }

    fn resend(&mut self, index: usize, range: core::ops::Range<usize>) {
        let sent = self.board.retransmitted(index, self.now, AtSend::default()).expect("not SACKed");
        assert_eq!(sent.len as usize, range.len());
        for number in &mut self.numbers[range] {
            number.in_retransmission = true;
            number.last_sent = self.now;
            number.transmissions += 1;
        }
    }

    fn forget(&mut self, a: usize) {
        let reneging = self.numbers.get(self.una).is_some_and(|number| number.sacked);
        assert_eq!(self.board.is_reneging(), reneging);
        if a.is_multiple_of(2) {
            self.board.forgive_lost();
            for number in self.numbers[self.una..].iter_mut().filter(|n| !n.in_retransmission) {
                number.lost = false;
            }
        } else {
            self.board.clear_sacked();
            for number in &mut self.numbers[self.una..] {
                number.sacked = false;
            }
        }
    }

    fn compare(&self) {
        let held = &self.numbers[self.una..];
        let found: Vec<Number> = self.board.iter().flat_map(numbers_of).collect();
        assert_eq!(found, held);
        let count = |which: fn(&Number) -> bool| held.iter().filter(|n| which(n)).count();
        assert_eq!(self.board.sacked_bytes() as usize, count(|n| n.sacked));
        assert_eq!(self.board.lost_bytes() as usize, count(|n| n.lost));
        assert_eq!(self.board.waiting_bytes() as usize, count(|n| n.lost && !n.in_retransmission));
        assert_eq!(self.board.retransmitted_bytes() as usize, count(|n| n.in_retransmission));
        assert_eq!(self.board.payload_bytes(), count(|n| n.octet.is_some()));
        // A copy that was sent first and is not lost, and a copy that was sent again.
        let pipe = count(|n| !n.sacked && !n.lost) + count(|n| n.in_retransmission);
        assert_eq!(self.board.in_flight() as usize, pipe);
        assert_eq!(self.board.snd_una(), self.at(self.una));
        assert_eq!(self.board.snd_nxt(), self.at(self.numbers.len()));
        let end = held.iter().rposition(|n| n.sacked).map(|last| self.at(self.una + last + 1));
        assert_eq!(self.board.sacked_end(), end);
        assert!(self.board.is_consistent());
    }
}

fn numbers_of(sent: &Sent<usize>) -> Vec<Number> {
    let mut octets: Vec<Option<u8>> = sent.bytes.iter().copied().map(Some).collect();
    if sent.syn() {
        octets.insert(0, None);
    }
    if sent.fin {
        octets.push(None);
    }
    assert_eq!(octets.len(), sent.len as usize);
    let number = |octet| Number {
        octet,
        tag: sent.tag,
        last_sent: sent.last_sent,
        transmissions: sent.transmissions,
        sacked: sent.sacked,
        lost: sent.lost,
        in_retransmission: sent.in_retransmission,
    };
    octets.into_iter().map(number).collect()
}

fn run(base: SeqNum, steps: &[Step]) {
    let mut world = World::new(base);
    for (tag, step) in steps.iter().enumerate() {
        world.step(tag, *step);
    }
}

#[test]
fn random_runs_agree_with_single_numbers() {
    for seed in 0..300 {
        let mut rng = Prng::new(seed);
        let base = SeqNum(u32::MAX - rng.below(600) as u32);
        let steps: Vec<Step> = (0..150)
            .map(|_| {
                let bits = rng.next_u64();
                (bits as u8, (bits >> 8) as u16, (bits >> 24) as u16)
            })
            .collect();
        run(base, &steps);
        run(base + (1 << 31), &steps);
    }
}

proptest! {
    #[test]
    fn any_run_agrees_with_single_numbers(
        offset in 0..600u32,
        steps in prop::collection::vec(any::<Step>(), 0..80),
    ) {
        run(SeqNum(u32::MAX - offset), &steps);
    }
}

fn flight(segments: u32, len: usize) -> Scoreboard<()> {
    let mut board = Scoreboard::new(SeqNum(0));
    let payload = Bytes::from(vec![0; len]);
    for i in 0..segments {
        let seq = SeqNum(i * len as u32);
        board.push(Sent::new(seq, payload.clone(), (), Instant::from_millis(i.into()), AtSend::default()));
    }
    board
}

#[test]
fn a_peer_that_sacks_single_octets_cannot_split_without_bound() {
    let mut board = flight(2, 60_000);
    for octet in (1..60_000).step_by(2) {
        board.sack(SeqNum(octet), SeqNum(octet + 1), |_| {});
    }
    assert!(board.len() <= SACK_SPLIT_ENTRIES_MAX + 1, "{}", board.len());
    // What a block covers whole is taken even then.
    assert!(board.sack(SeqNum(59_990), SeqNum(120_000), |_| {}) >= 60_000);
    assert!(board.is_consistent());
}

#[test]
fn an_open_hole_does_not_make_loss_detection_look_at_the_window() {
    let mut board = flight(1_000, 100);
    board.mark_lost(0);
    for right in 2..=900 {
        board.sack(SeqNum(100), SeqNum(right * 100), |_| {});
        let mut asked = 0;
        board.detect_lost(|_| {
            asked += 1;
            Judgement::Stop
        });
        assert_eq!(asked, 1);
    }
    assert!(board.transmissions.len() <= 101);
}

#[test]
fn transmissions_do_not_pile_up_when_nobody_detects_losses_by_time() {
    let mut board = flight(10, 100);
    for round in 0..100 {
        board.mark_all_lost();
        while let Some(index) = board.next_lost() {
            board.retransmitted(index, Instant::from_millis(1_000 + round), AtSend::default());
        }
    }
    assert!(board.transmissions.len() <= 10);
}

#[test]
fn the_state_of_delivery_is_packed_without_loss() {
    assert_eq!(size_of::<AtSend>(), 32);
    let at = AtSend::new(1 << 40, Instant::from_millis(2), Instant::from_millis(1), 7, 123_456, true);
    assert_eq!((at.tx_in_flight(), at.is_app_limited()), (123_456, true));
    let at = AtSend::new(0, Instant::ZERO, Instant::ZERO, 0, u32::MAX, false);
    assert_eq!((at.tx_in_flight(), at.is_app_limited()), ((1 << 31) - 1, false));
}

/// Else a flow on which nothing is ever judged by time would remember all that it ever sent.
#[test]
fn what_is_acknowledged_or_reported_is_not_remembered_as_sent() {
    let mut board = Scoreboard::new(SeqNum(0));
    let send = |board: &mut Scoreboard<()>, ms| {
        let payload = Bytes::from_static(&[0; 100]);
        board.push(Sent::new(board.snd_nxt(), payload, (), Instant::from_millis(ms), AtSend::default()));
    };
    for ms in 0..1_000 {
        send(&mut board, ms);
        board.ack(board.snd_nxt(), |_| {});
        assert!(board.transmissions.is_empty(), "after {ms}");
    }
    send(&mut board, 1_000);
    send(&mut board, 1_001);
    board.mark_lost(0);
    board.sack(board.snd_una() + 100, board.snd_nxt(), |_| {});
    assert_eq!(board.transmissions.len(), 0, "one is lost, the other one has arrived");
}
