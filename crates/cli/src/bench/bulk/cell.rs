//! One combination of what a matrix varies, with the hosts that compete in it.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use super::super::arena::{Direct, Family, KernelArena, Sockets, StackArena};
use super::super::cores::Cores;
use super::super::pump::Course;
use super::Args;
use crate::failure::Failure;

/// Whether mappings carry DSS checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum Checksums {
    Off,
    On,
}

/// Whether each kernel receives on its own side's core.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum Steering {
    Off,
    On,
}

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Cell {
    pub(super) paths: u8,
    pub(super) mtu: u16,
    pub(super) family: Family,
    pub(super) checksums: Checksums,
    pub(super) steering: Steering,
    pub(super) sockets: Sockets,
    /// Connections at once.
    pub(super) connections: u16,
}

impl Cell {
    /// All combinations that are asked for.
    pub(super) fn all(args: &Args) -> Vec<Self> {
        let first = |&family| Self {
            family,
            mtu: 0,
            paths: 0,
            checksums: Checksums::Off,
            steering: Steering::Off,
            sockets: Sockets::Blocking,
            connections: 0,
        };
        let cells = args.family.iter().map(first).collect();
        let cells = each(cells, &args.mtu, |cell, mtu| Self { mtu, ..cell });
        let cells = each(cells, &args.paths, |cell, paths| Self { paths, ..cell });
        let cells = each(cells, &args.checksums, |cell, checksums| Self { checksums, ..cell });
        let cells = each(cells, &args.steering, |cell, steering| Self { steering, ..cell });
        let cells = each(cells, &args.sockets, |cell, sockets| Self { sockets, ..cell });
        each(cells, &args.connections, |cell, connections| Self { connections, ..cell })
    }

    /// The hosts of both contestants.
    pub(super) fn arenas(
        &self,
        cc: Option<&str>,
        cores: Option<Cores>,
    ) -> Result<(StackArena, KernelArena), Failure> {
        let direct = Direct {
            family: self.family,
            checksums: self.checksums == Checksums::On,
            sockets: self.sockets,
            steered: cores.filter(|_| self.steering == Steering::On),
            cc,
            ..Direct::new(self.paths, self.mtu)
        };
        Ok((StackArena::direct(&direct)?, KernelArena::direct(&direct)?))
    }
}

/// Each cell with each of `values`.
fn each<T: Copy>(cells: Vec<Cell>, values: &[T], with: impl Fn(Cell, T) -> Cell) -> Vec<Cell> {
    cells
        .iter()
        .flat_map(|&cell| values.iter().map(move |&value| (cell, value)))
        .map(|(c, v)| with(c, v))
        .collect()
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { paths, mtu, family, checksums, steering, sockets, connections } = self;
        let plural = if *paths == 1 { "" } else { "s" };
        write!(f, "{paths} path{plural}, MTU {mtu}, {family}")?;
        if *checksums == Checksums::On {
            write!(f, ", checksums")?;
        }
        if *steering == Steering::On {
            write!(f, ", steered")?;
        }
        match sockets {
            Sockets::Blocking => {}
            Sockets::Chunks => write!(f, ", chunks")?,
            Sockets::Tokio => write!(f, ", tokio")?,
        }
        if *connections > 1 {
            write!(f, ", {connections} connections")?;
        }
        Ok(())
    }
}

/// A cell in one direction: what has a figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lane {
    /// Index of the cell.
    pub(super) cell: usize,
    pub(super) course: Course,
}
