//! A box with its inside where the outside was: what stands before a client stands before its server, too.

use alloc::vec::Vec;

use polytcp_proto::time::Instant;

use crate::middlebox::{Direction, Middlebox, Output};

/// A box turned around. Before a device, what the stack sends goes outward; where the stack is the server
/// and the box is to have the client inside, turn it.
#[derive(Clone, Debug)]
pub struct Turned<M> {
    inner: M,
}

impl<M: Middlebox> Turned<M> {
    /// `inner`, turned around.
    pub fn new(inner: M) -> Self {
        Self { inner }
    }
}

fn append_turned(mut made: Output, out: &mut Output) {
    while let Some((direction, packet)) = made.pop() {
        out.push(direction.reversed(), packet);
    }
}

impl<M: Middlebox> Middlebox for Turned<M> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn handle(&mut self, now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let mut made = Output::new();
        self.inner.handle(now, direction.reversed(), packet, &mut made);
        append_turned(made, out);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.inner.next_deadline()
    }

    fn poll(&mut self, now: Instant, out: &mut Output) {
        let mut made = Output::new();
        self.inner.poll(now, &mut made);
        append_turned(made, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::*;
    use crate::middlebox::{ChangePayload, Coalesce, CoalesceConfig, TooBig, TooBigConfig};
    use Direction::{Inward, Outward};

    #[test]
    fn what_a_box_does_outward_it_does_inward_once_turned() {
        let change = ChangePayload::pattern(Outward, b"cat", b"dog").expect("one length");
        let mut turned = Turned::new(change);
        for family in FAMILIES {
            let data = |direction| Tcp::new(family, direction, ACK, 1, 2).data(b"cat");
            assert_eq!(one(&mut turned, &data(Inward)).payload, b"dog");
            assert_untouched(&mut turned, &data(Outward));
        }
    }

    #[test]
    fn an_answer_of_a_turned_box_goes_back_to_who_asked() {
        let mut turned = Turned::new(TooBig::new(TooBigConfig { mtu: 600, ..TooBigConfig::default() }));
        for direction in [Outward, Inward] {
            let large = Tcp::new(Family::V4, direction, ACK, 1, 2).data(&[7; 900]).packet();
            let out = through(&mut turned, Instant::ZERO, direction, large);
            assert_eq!(out.iter().map(|(way, _)| *way).collect::<Vec<_>>(), [direction.reversed()]);
        }
    }

    #[test]
    fn what_a_turned_box_holds_goes_on_the_way_it_went() {
        let mut turned = Turned::new(Coalesce::new(CoalesceConfig::default()));
        for direction in [Outward, Inward] {
            let segment = Tcp::new(Family::V4, direction, ACK, 1, 2).data(b"held");
            assert_eq!(through(&mut turned, Instant::ZERO, direction, segment.packet()), []);
            let due = turned.next_deadline().expect("something is held");
            assert_eq!(polled(&mut turned, due), [(direction, segment.packet())]);
        }
    }
}
