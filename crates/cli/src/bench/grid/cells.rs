//! The cells of the grid: what their links are, as text.

use std::str::FromStr;

use crate::bench::Way;
use crate::bench::arena::TwoWay;
use crate::failure::Failure;
use crate::link_spec::RatedLink;

/// A network that two hosts share, of one path or more.
#[derive(Debug)]
pub(in crate::bench) struct Cell {
    /// How it is asked for.
    pub(super) name: &'static str,
    links: &'static [Spec],
}

/// A link as `--link` writes it, up and down.
#[derive(Debug)]
struct Spec {
    up: &'static str,
    down: &'static str,
}

/// Rates, delays, losses and queues that stand for what people have. A queue that is not named holds a round trip.
pub(super) static CELLS: [Cell; 12] = [
    // A slow line that is near; where every burst is seen.
    Cell { name: "slow", links: &[same("rate=10mbit,delay=10ms")] },
    // A slow line to the other side of the world.
    Cell { name: "far", links: &[same("rate=5mbit,delay=100ms")] },
    // A queue of a fifth of a round trip: loss comes long before delay.
    Cell { name: "shallow", links: &[same("rate=50mbit,delay=20ms,queue=50k")] },
    // A queue of four round trips: delay comes long before loss.
    Cell { name: "deep", links: &[same("rate=100mbit,delay=40ms,queue=4M")] },
    // Losses that are no congestion.
    Cell { name: "lossy", links: &[same("rate=20mbit,delay=20ms,loss=0.5%")] },
    // The same path twice.
    Cell { name: "twins", links: &[same("rate=50mbit,delay=10ms"), same("rate=50mbit,delay=10ms")] },
    Cell { name: "unequal", links: &[same("rate=20mbit,delay=20ms"), same("rate=10mbit,delay=50ms")] },
    // Fibre and a distant radio link.
    Cell { name: "fast-and-far", links: &[same("rate=100mbit,delay=5ms"), same("rate=10mbit,delay=80ms")] },
    // A good path, and one that is hardly worth it.
    Cell { name: "trickle", links: &[same("rate=50mbit,delay=10ms"), same("rate=1mbit,delay=100ms")] },
    Cell {
        name: "one-lossy",
        links: &[same("rate=50mbit,delay=10ms"), same("rate=50mbit,delay=10ms,loss=1%")],
    },
    // A subscriber's line and a telephone, both faster down than up.
    Cell {
        name: "asymmetric",
        links: &[
            Spec { up: "rate=10mbit,delay=15ms", down: "rate=50mbit,delay=15ms" },
            Spec { up: "rate=5mbit,delay=40ms", down: "rate=20mbit,delay=40ms" },
        ],
    },
    // Two radio links with delays that wander.
    Cell {
        name: "jitter",
        links: &[
            same("rate=30mbit,delay=20ms,jitter=15ms,queue=256k"),
            same("rate=20mbit,delay=30ms,jitter=20ms,queue=256k"),
        ],
    },
];

const fn same(both: &'static str) -> Spec {
    Spec { up: both, down: both }
}

impl Cell {
    /// How many paths there are.
    pub(super) fn paths(&self) -> usize {
        self.links.len()
    }

    /// The links.
    pub(super) fn links(&self) -> Result<Vec<TwoWay>, Failure> {
        self.links.iter().map(Spec::parse).collect()
    }

    /// What the links carry one way, in 10^6 bits per second.
    pub(super) fn sum_mbps(&self, way: Way) -> f64 {
        let links = self.links().unwrap_or_default();
        let rates = links.iter().map(|link| match way {
            Way::Up => link.up.rate_bits_per_sec,
            Way::Down => link.down.rate_bits_per_sec,
        });
        rates.flatten().map(|rate| rate.get() as f64 / 1e6).sum()
    }

    /// Its links, for people.
    pub(super) fn told(&self) -> String {
        let links = self.links.iter().map(|Spec { up, down }| match up == down {
            true => (*up).to_owned(),
            false => format!("{up} up {down} down"),
        });
        links.collect::<Vec<_>>().join(" + ")
    }
}

impl Spec {
    fn parse(&self) -> Result<TwoWay, Failure> {
        let parse = |text: &str| text.parse::<RatedLink>().map_err(Failure::setting_up(text));
        Ok(TwoWay { up: parse(self.up)?.config, down: parse(self.down)?.config })
    }
}

impl FromStr for &'static Cell {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        CELLS.iter().find(|cell| cell.name == name).ok_or_else(|| {
            let names: Vec<_> = CELLS.iter().map(|cell| cell.name).collect();
            format!("the cells are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_links_that_can_be_made_and_a_name_of_its_own() {
        for (index, cell) in CELLS.iter().enumerate() {
            let links = cell.links().unwrap_or_else(|failure| panic!("{}: {failure:?}", cell.name));
            assert!((1..=2).contains(&links.len()), "{}", cell.name);
            assert!(CELLS[..index].iter().all(|other| other.name != cell.name), "{}", cell.name);
        }
    }
}
