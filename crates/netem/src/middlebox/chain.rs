//! Several boxes in a row, from the inside to the outside; itself a box.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use polytcp_proto::time::Instant;

use crate::middlebox::{Direction, Middlebox, Output};

/// Packets that boxes may pass to one another for one packet that comes in. Two boxes that answer each
/// other would never end.
const STEPS_MAX: usize = 4_096;

/// Boxes in a row. What one sends, the next one in that direction handles.
#[derive(Debug, Default)]
pub struct Chain {
    /// The first one is the innermost.
    boxes: Vec<Box<dyn Middlebox>>,
    runaway_drops: u64,
}

/// A packet on its way between two boxes.
struct Passing {
    direction: Direction,
    /// Boxes that are further inside.
    place: usize,
    packet: Vec<u8>,
}

impl Chain {
    /// No box: everything passes.
    pub const fn new() -> Self {
        Self { boxes: Vec::new(), runaway_drops: 0 }
    }

    /// Adds a box at the outer end.
    #[must_use]
    pub fn with(mut self, middlebox: impl Middlebox + 'static) -> Self {
        self.push(Box::new(middlebox));
        self
    }

    /// Adds a box at the outer end.
    pub fn push(&mut self, middlebox: Box<dyn Middlebox>) {
        self.boxes.push(middlebox);
    }

    /// The boxes, the innermost first.
    pub fn boxes(&self) -> impl Iterator<Item = &dyn Middlebox> {
        self.boxes.iter().map(|middlebox| &**middlebox)
    }

    /// Whether there is no box.
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    /// Packets dropped since boxes went on answering each other.
    pub fn runaway_drops(&self) -> u64 {
        self.runaway_drops
    }

    /// Moves packets through boxes until all have left at either end.
    fn run(&mut self, now: Instant, mut passing: VecDeque<Passing>, out: &mut Output) {
        let mut made = Output::new();
        for _ in 0..STEPS_MAX {
            let Some(Passing { direction, place, packet }) = passing.pop_front() else { return };
            let index = match direction {
                Direction::Outward => Some(place),
                Direction::Inward => place.checked_sub(1),
            };
            match index.and_then(|index| Some((index, self.boxes.get_mut(index)?))) {
                Some((index, middlebox)) => {
                    middlebox.handle(now, direction, packet, &mut made);
                    collect(&mut made, index, &mut passing);
                }
                None => out.push(direction, packet),
            }
        }
        self.runaway_drops += passing.len() as u64;
    }
}

/// Takes what the box at `index` has made.
fn collect(made: &mut Output, index: usize, passing: &mut VecDeque<Passing>) {
    while let Some((direction, packet)) = made.pop() {
        let place = match direction {
            Direction::Outward => index + 1,
            Direction::Inward => index,
        };
        passing.push_back(Passing { direction, place, packet });
    }
}

impl Middlebox for Chain {
    fn name(&self) -> &'static str {
        "chain"
    }

    fn handle(&mut self, now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let place = match direction {
            Direction::Outward => 0,
            Direction::Inward => self.boxes.len(),
        };
        self.run(now, VecDeque::from([Passing { direction, place, packet }]), out);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.boxes.iter().filter_map(|middlebox| middlebox.next_deadline()).min()
    }

    fn poll(&mut self, now: Instant, out: &mut Output) {
        let (mut made, mut passing) = (Output::new(), VecDeque::new());
        for (index, middlebox) in self.boxes.iter_mut().enumerate() {
            if middlebox.next_deadline().is_some_and(|due| due <= now) {
                middlebox.poll(now, &mut made);
                collect(&mut made, index, &mut passing);
            }
        }
        self.run(now, passing, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::*;
    use crate::middlebox::{
        ChangePayload, EcnChange, EcnRewriter, MtuBlackHole, Replay, ReplayConfig, TooBig, TooBigConfig,
    };
    use crate::ratio::Ratio;
    use Direction::{Inward, Outward};

    fn replaced(from: &[u8], to: &[u8], direction: Direction) -> ChangePayload {
        ChangePayload::pattern(direction, from, to).expect("one length")
    }

    #[test]
    fn packets_meet_the_boxes_in_the_order_of_their_way() {
        for (direction, expected) in [(Outward, b"c"), (Inward, b"b")] {
            let mut chain =
                Chain::new().with(replaced(b"a", b"b", direction)).with(replaced(b"b", b"c", direction));
            let out = one(&mut chain, &Tcp::new(Family::V4, direction, ACK, 1, 2).data(b"a"));
            assert_eq!(out.payload, expected);
        }
        assert_untouched(&mut Chain::new(), &Tcp::new(Family::V6, Inward, ACK, 1, 2));
    }

    #[test]
    fn an_answer_goes_back_through_the_boxes_before() {
        let mut chain =
            Chain::new().with(EcnRewriter::new(EcnChange::Mangle)).with(TooBig::new(TooBigConfig::default()));
        let large = Tcp::new(Family::V6, Outward, ACK, 1, 2).data(&[0; 1_400]).packet();
        let out = through(&mut chain, Instant::ZERO, Outward, large);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].0, Inward);
        let answer = polytcp_wire::ip::parse(&out[0].1).expect("an IP packet").header;
        assert_eq!(answer.traffic_class, 3, "the first box has seen it");
    }

    #[test]
    fn what_a_box_sends_later_goes_through_the_boxes_behind() {
        let config = ReplayConfig { share: Ratio::ONE, ..ReplayConfig::default() };
        let mut chain = Chain::new()
            .with(replaced(b"a", b"b", Outward))
            .with(Replay::new(config, 1))
            .with(replaced(b"b", b"c", Outward));
        let data = Tcp::new(Family::V4, Outward, ACK, 1, 2).data(b"a");
        assert_eq!(one(&mut chain, &data).payload, b"c");
        let due = chain.next_deadline().expect("a copy is kept");
        assert_eq!(polled(&mut chain, due - core::time::Duration::from_nanos(1)), []);
        let out = polled(&mut chain, due);
        assert_eq!(out.len(), 1);
        assert_eq!(read(&out[0].1).payload, b"c");
        assert_eq!(chain.next_deadline(), None);
    }

    /// Sends every packet back, and another one on.
    #[derive(Debug)]
    struct Echo;

    impl Middlebox for Echo {
        fn name(&self) -> &'static str {
            "echo"
        }

        fn handle(&mut self, _now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
            out.push(direction.reversed(), packet.clone());
            out.push(direction.reversed(), packet);
        }
    }

    #[test]
    fn boxes_that_answer_each_other_come_to_an_end() {
        let mut chain = Chain::new().with(MtuBlackHole::new(1_500)).with(Echo).with(Echo);
        chain.push(Box::new(Chain::new().with(Echo)));
        let names: Vec<_> = chain.boxes().map(|middlebox| middlebox.name()).collect();
        assert_eq!(names, ["drops large packets", "echo", "echo", "chain"]);
        let out = through(&mut chain, Instant::ZERO, Inward, alloc::vec![1; 40]);
        assert_eq!(out.len(), 2, "the outermost one sends all back");
        let mut between = Chain::new().with(MtuBlackHole::new(10)).with(Echo).with(Echo);
        let mut passing = VecDeque::new();
        passing.push_back(Passing { direction: Outward, place: 2, packet: alloc::vec![1; 40] });
        between.run(Instant::ZERO, passing, &mut Output::new());
        assert!(between.runaway_drops() > 0);
    }
}
