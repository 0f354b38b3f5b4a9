//! One combination of what a matrix varies, with the hosts that compete in it.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use super::super::arena::{Direct, Family, KernelArena, Sockets, StackArena};
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

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Cell {
    pub(super) paths: u8,
    pub(super) mtu: u16,
    pub(super) family: Family,
    pub(super) checksums: Checksums,
    pub(super) sockets: Sockets,
    /// Connections at once.
    pub(super) connections: u16,
}

impl Cell {
    /// All combinations that are asked for.
    pub(super) fn all(args: &Args) -> Vec<Self> {
        let mut cells = Vec::new();
        for &family in &args.family {
            for &mtu in &args.mtu {
                for &paths in &args.paths {
                    for &checksums in &args.checksums {
                        for &sockets in &args.sockets {
                            for &connections in &args.connections {
                                cells.push(Self { paths, mtu, family, checksums, sockets, connections });
                            }
                        }
                    }
                }
            }
        }
        cells
    }

    /// The hosts of both contestants.
    pub(super) fn arenas(&self, cc: Option<&str>) -> Result<(StackArena, KernelArena), Failure> {
        let direct = Direct {
            family: self.family,
            checksums: self.checksums == Checksums::On,
            sockets: self.sockets,
            cc,
            ..Direct::new(self.paths, self.mtu)
        };
        Ok((StackArena::direct(&direct)?, KernelArena::direct(&direct)?))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { paths, mtu, family, checksums, sockets, connections } = self;
        let plural = if *paths == 1 { "" } else { "s" };
        write!(f, "{paths} path{plural}, MTU {mtu}, {family}")?;
        if *checksums == Checksums::On {
            write!(f, ", checksums")?;
        }
        if *sockets == Sockets::Tokio {
            write!(f, ", tokio")?;
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
