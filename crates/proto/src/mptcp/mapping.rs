//! Mappings: which data sequence numbers a run of a subflow's octets carries (RFC 8684 §3.3.1).

use bytes::Bytes;
use polytcp_wire::checksum::Sum;
use polytcp_wire::mptcp::{DssDsn, DssMapping};

use super::checksum::dss_checksum;
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
    /// Its checksum, where the connection uses them.
    pub checksum: Option<u16>,
}

impl Mapping {
    /// The mapping of `bytes`; its checksum is computed here, once.
    pub fn cut(dsn: Dsn, ssn: Ssn, bytes: &Bytes, fin: bool, checksums: bool) -> Self {
        let len = bytes.len() as u16;
        let checksum = checksums.then(|| {
            let mut sum = Sum::ZERO;
            sum.add_bytes(bytes);
            dss_checksum(dsn, ssn, len + u16::from(fin), sum)
        });
        Self { dsn, ssn, len, fin, checksum }
    }

    /// The mapping of a DATA_FIN without data (RFC 8684 §3.3.3).
    pub fn data_fin(dsn: Dsn, checksums: bool) -> Self {
        Self::cut(dsn, Ssn(0), &Bytes::new(), true, checksums)
    }

    /// The infinite mapping from `dsn` on (RFC 8684 §3.7): length 0, and the checksum is 0 too.
    pub fn infinite(dsn: Dsn, ssn: Ssn, checksums: bool) -> Self {
        Self { dsn, ssn, len: 0, fin: false, checksum: checksums.then_some(0) }
    }

    /// All data that follows is plain TCP.
    pub fn is_infinite(&self) -> bool {
        self.len == 0 && !self.fin
    }

    /// The option that carries it.
    pub fn to_wire(self) -> DssMapping {
        DssMapping {
            dsn: DssDsn::Eight(self.dsn.0),
            ssn: self.ssn.0,
            len: self.len + u16::from(self.fin),
            checksum: self.checksum,
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
    /// DATA_FIN follows the last octet.
    pub fin: bool,
    /// Its checksum, where the connection uses them.
    pub checksum: Option<u16>,
}

impl PeerMapping {
    /// The length that the option has, with DATA_FIN.
    pub fn wire_len(&self) -> u16 {
        self.len as u16 + u16::from(self.fin)
    }

    /// The data sequence number after the last octet.
    pub fn end(&self) -> Dsn {
        self.dsn + u64::from(self.len)
    }

    /// The checksum of a mapping without data, a DATA_FIN, is right, or there is none.
    pub fn has_right_header(&self) -> bool {
        let expected = dss_checksum(self.dsn, self.ssn, self.wire_len(), Sum::ZERO);
        self.checksum.is_none_or(|found| found == expected)
    }

    /// Both map the same octets in the same way. DATA_FIN, and with it the checksum, may differ: Linux adds
    /// it to whatever it sends of the last mapping.
    fn is_same(&self, other: &Self) -> bool {
        (self.dsn, self.ssn, self.len) == (other.dsn, other.ssn, other.len)
    }

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

/// Octets of one mapping.
#[derive(Debug)]
pub struct Part {
    /// Their mapping.
    pub mapping: PeerMapping,
    /// Where in it they start.
    pub into: u32,
    /// The octets.
    pub bytes: Bytes,
}

/// The mapping in force on the receiving side of one subflow.
#[derive(Clone, Copy, Debug, Default)]
pub struct MappingCursor {
    current: Option<PeerMapping>,
}

impl MappingCursor {
    /// Looks at the mapping `seen` that came with in-order payload from `ssn` on.
    ///
    /// # Errors
    /// [`MappingFault::Contradiction`]: a repeated mapping has to be identical (as Linux; RFC 8684 §3.3.1
    /// lets a receiver drop what contradicts).
    pub fn see(&mut self, ssn: Ssn, seen: Option<PeerMapping>) -> Result<(), MappingFault> {
        let Some(seen) = seen else { return Ok(()) };
        let covering = self.current.filter(|current| current.covers(ssn));
        match covering {
            Some(current) if current.is_same(&seen) => self.current = Some(seen),
            Some(_) if seen.covers(ssn) => return Err(MappingFault::Contradiction),
            // The segment begins in the old mapping and carries the one that comes next.
            Some(_) => {}
            None => self.current = Some(seen),
        }
        Ok(())
    }

    /// Splits the octets of the next mapping off `rest`, which starts at `ssn` and is not empty.
    ///
    /// # Errors
    /// [`MappingFault::Unmapped`] when they have none.
    pub fn next_part(
        &mut self,
        ssn: Ssn,
        rest: &mut Bytes,
        seen: Option<PeerMapping>,
    ) -> Result<Part, MappingFault> {
        let covering = [self.current, seen].into_iter().flatten().find(|m| m.covers(ssn));
        let Some(mapping) = covering else { return Err(MappingFault::Unmapped) };
        self.current = Some(mapping);
        let into = ssn.saturating_since(mapping.ssn);
        let len = (mapping.len - into).min(rest.len() as u32);
        Ok(Part { mapping, into, bytes: rest.split_to(len as usize) })
    }

    /// The data sequence number of the first octet of the latest mapping.
    pub fn latest(&self) -> Option<Dsn> {
        self.current.map(|mapping| mapping.dsn)
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
        let (mut at, mut rest) = (Ssn(ssn), Bytes::from(vec![0; len]));
        cursor.see(at, seen)?;
        while !rest.is_empty() {
            let part = cursor.next_part(at, &mut rest, seen)?;
            at += part.bytes.len() as u32;
            parts.push((part.mapping.dsn.0 + u64::from(part.into), part.bytes.len()));
        }
        Ok(parts)
    }

    const fn mapping(dsn: u64, ssn: u32, len: u32) -> PeerMapping {
        PeerMapping { dsn: Dsn(dsn), ssn: Ssn(ssn), len, fin: false, checksum: None }
    }

    const FIRST: PeerMapping = mapping(1000, 1, 300);
    const SECOND: PeerMapping = mapping(5000, 301, 100);

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
