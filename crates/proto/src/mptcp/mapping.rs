//! Mappings: which data sequence numbers a run of a subflow's octets carries (RFC 8684 §3.3.1).

use bytes::Bytes;
use polytcp_wire::mptcp::{DssDsn, DssMapping};

use crate::seq::{Dsn, Ssn};

/// A mapping of ours, cut once; every part of its run repeats it unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Data sequence number of the first octet.
    pub dsn: Dsn,
    /// Relative subflow sequence number of the first octet.
    pub ssn: Ssn,
    /// Octets of data.
    pub len: u16,
    /// DATA_FIN follows the last octet.
    pub fin: bool,
}

impl Mapping {
    /// The option that carries it.
    pub fn to_wire(self) -> DssMapping {
        DssMapping {
            dsn: DssDsn::Eight(self.dsn.0),
            ssn: self.ssn.0,
            len: self.len + u16::from(self.fin),
            checksum: None,
        }
    }

    /// The data sequence number at `ssn` within it.
    pub fn dsn_at(&self, ssn: Ssn) -> Dsn {
        self.dsn + u64::from(ssn.saturating_since(self.ssn))
    }

    /// The data sequence number after the last octet.
    pub fn end(&self) -> Dsn {
        self.dsn + u64::from(self.len)
    }
}

/// A mapping of the peer, as a segment carried it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerMapping {
    /// Data sequence number of the first octet.
    pub dsn: Dsn,
    /// Relative subflow sequence number of the first octet.
    pub ssn: Ssn,
    /// Octets of data, DATA_FIN not counted.
    pub len: u32,
}

impl PeerMapping {
    fn covers(&self, ssn: Ssn) -> bool {
        ssn.within(self.ssn, self.len)
    }
}

/// Octets that do not fit their mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MappingFault {
    /// No mapping covers them.
    Unmapped,
    /// A second mapping covers them differently.
    Contradiction,
}

/// The mapping in force on the receiving side of one subflow.
#[derive(Clone, Copy, Debug, Default)]
pub struct MappingCursor {
    current: Option<PeerMapping>,
}

impl MappingCursor {
    /// Takes in-order payload that starts at `ssn` and came with the mapping `seen`, and hands on each
    /// part with its data sequence number.
    ///
    /// # Errors
    /// [`MappingFault`] when some octets have no mapping, or two that differ; octets before them were
    /// handed on. A repeated mapping has to be identical (as Linux; RFC 8684 §3.3.1 lets a receiver drop
    /// what contradicts).
    pub fn take(
        &mut self,
        mut ssn: Ssn,
        mut bytes: Bytes,
        seen: Option<PeerMapping>,
        mut part: impl FnMut(Dsn, Bytes),
    ) -> Result<(), MappingFault> {
        if let Some(seen) = seen
            && self.current != Some(seen)
        {
            if self.current.is_some_and(|current| current.covers(ssn)) && seen.covers(ssn) {
                return Err(MappingFault::Contradiction);
            }
            // The segment may begin in the old mapping and carry the one that comes next.
            if !self.current.is_some_and(|current| current.covers(ssn)) {
                self.current = Some(seen);
            }
        }
        while !bytes.is_empty() {
            let covering = [self.current, seen].into_iter().flatten().find(|m| m.covers(ssn));
            let Some(mapping) = covering else { return Err(MappingFault::Unmapped) };
            self.current = Some(mapping);
            let into = ssn.saturating_since(mapping.ssn);
            let take = (mapping.len - into).min(bytes.len() as u32);
            part(mapping.dsn + u64::from(into), bytes.split_to(take as usize));
            ssn += take;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn taken(
        cursor: &mut MappingCursor,
        ssn: u32,
        len: usize,
        seen: Option<PeerMapping>,
    ) -> Result<Vec<(u64, usize)>, MappingFault> {
        let mut parts = vec![];
        let bytes = Bytes::from(vec![0; len]);
        cursor.take(Ssn(ssn), bytes, seen, |dsn, bytes| parts.push((dsn.0, bytes.len())))?;
        Ok(parts)
    }

    const FIRST: PeerMapping = PeerMapping { dsn: Dsn(1000), ssn: Ssn(1), len: 300 };
    const SECOND: PeerMapping = PeerMapping { dsn: Dsn(5000), ssn: Ssn(301), len: 100 };

    #[test]
    fn one_mapping_serves_all_segments_of_its_run() {
        let mut cursor = MappingCursor::default();
        assert_eq!(taken(&mut cursor, 1, 100, Some(FIRST)), Ok(vec![(1000, 100)]));
        assert_eq!(taken(&mut cursor, 101, 100, None), Ok(vec![(1100, 100)]));
        assert_eq!(taken(&mut cursor, 201, 100, Some(FIRST)), Ok(vec![(1200, 100)]));
        assert_eq!(taken(&mut cursor, 301, 1, None), Err(MappingFault::Unmapped));
        assert_eq!(taken(&mut cursor, 301, 100, Some(SECOND)), Ok(vec![(5000, 100)]));
    }

    #[test]
    fn a_segment_that_spans_two_mappings_is_split() {
        let mut cursor = MappingCursor::default();
        assert_eq!(taken(&mut cursor, 1, 200, Some(FIRST)), Ok(vec![(1000, 200)]));
        assert_eq!(taken(&mut cursor, 201, 150, Some(SECOND)), Ok(vec![(1200, 100), (5000, 50)]));
    }

    #[test]
    fn a_contradiction_is_refused() {
        let mut cursor = MappingCursor::default();
        assert_eq!(taken(&mut cursor, 1, 100, Some(FIRST)), Ok(vec![(1000, 100)]));
        let other = PeerMapping { dsn: Dsn(9000), ..FIRST };
        assert_eq!(taken(&mut cursor, 101, 100, Some(other)), Err(MappingFault::Contradiction));
    }
}
