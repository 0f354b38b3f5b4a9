//! Netlink attributes: type, length, value, padded to four octets.
//!
//! Reading stands on the iterator of `netlink-packet-core`; writing is our own, since that crate
//! wants a type with three methods for every attribute.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::NlasIterator;

use crate::error::Malformed;

/// Set in the type of an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// The two flag bits of a type are not part of the number.
const TYPE_MASK: u16 = 0x3fff;
const HEADER_LEN: usize = 4;

/// Attributes under construction.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Appends an attribute with that value.
    ///
    /// # Panics
    /// When `value` exceeds what 16 bits of length can hold; nothing in this crate comes near.
    pub fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let len = u16::try_from(HEADER_LEN + value.len()).expect("attributes here are short");
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Appends an octet.
    pub fn put_u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.put(kind, &[value])
    }

    /// Appends 16 bits in the host's order.
    pub fn put_u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Appends 16 bits in network order.
    pub fn put_be16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Appends 32 bits in the host's order.
    pub fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Appends an address, as `kind4` or as `kind6`.
    pub fn put_ip(&mut self, kind4: u16, kind6: u16, address: IpAddr) -> &mut Self {
        match address {
            IpAddr::V4(v4) => self.put(kind4, &v4.octets()),
            IpAddr::V6(v6) => self.put(kind6, &v6.octets()),
        }
    }

    /// Appends an attribute that holds what `fill` writes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Writer)) -> &mut Self {
        let mut inner = Writer::default();
        fill(&mut inner);
        self.put(kind | NESTED, &inner.bytes)
    }

    /// The finished octets.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The attributes of a message or of a nest. Where one is repeated, the last counts, as in Linux.
pub struct Attributes<'a> {
    list: Vec<(u16, &'a [u8])>,
}

impl<'a> Attributes<'a> {
    /// Reads all attributes of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut list = Vec::new();
        let mut at = 0;
        for attribute in NlasIterator::new(bytes) {
            let attribute = attribute.map_err(|_| Malformed::Length)?;
            let len = usize::from(attribute.length());
            let value = bytes.get(at + HEADER_LEN..at + len).ok_or(Malformed::Length)?;
            list.push((attribute.kind() & TYPE_MASK, value));
            at += len.next_multiple_of(4);
        }
        Ok(Self { list })
    }

    /// Every attribute in order, for lists of nests.
    pub fn values(&self) -> impl Iterator<Item = &'a [u8]> {
        self.list.iter().map(|(_, value)| *value)
    }

    /// The value of an attribute.
    pub fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.list.iter().rev().find(|(k, _)| *k == kind).map(|(_, value)| *value)
    }

    /// An octet.
    pub fn u8(&self, kind: u16) -> Result<Option<u8>, Malformed> {
        Ok(self.array::<1>(kind)?.map(|[octet]| octet))
    }

    /// 16 bits in the host's order.
    pub fn u16(&self, kind: u16) -> Result<Option<u16>, Malformed> {
        Ok(self.array(kind)?.map(u16::from_ne_bytes))
    }

    /// 16 bits in network order.
    pub fn be16(&self, kind: u16) -> Result<Option<u16>, Malformed> {
        Ok(self.array(kind)?.map(u16::from_be_bytes))
    }

    /// 32 bits in the host's order.
    pub fn u32(&self, kind: u16) -> Result<Option<u32>, Malformed> {
        Ok(self.array(kind)?.map(u32::from_ne_bytes))
    }

    /// 32 bits with a sign, in the host's order.
    pub fn i32(&self, kind: u16) -> Result<Option<i32>, Malformed> {
        Ok(self.array(kind)?.map(i32::from_ne_bytes))
    }

    /// An address, from whichever of the two attributes is there.
    pub fn ip(&self, kind4: u16, kind6: u16) -> Result<Option<IpAddr>, Malformed> {
        if let Some(octets) = self.array::<4>(kind4)? {
            return Ok(Some(Ipv4Addr::from(octets).into()));
        }
        Ok(self.array::<16>(kind6)?.map(|octets| Ipv6Addr::from(octets).into()))
    }

    /// The attributes inside an attribute.
    pub fn nest(&self, kind: u16) -> Result<Option<Attributes<'a>>, Malformed> {
        self.find(kind).map(Attributes::parse).transpose()
    }

    fn array<const N: usize>(&self, kind: u16) -> Result<Option<[u8; N]>, Malformed> {
        let Some(value) = self.find(kind) else { return Ok(None) };
        value.try_into().map(Some).map_err(|_| Malformed::AttributeSize(kind))
    }
}

/// Turns "not there" into an error that names the attribute.
pub fn required<T>(kind: u16, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or(Malformed::AttributeMissing(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut writer = Writer::default();
        writer.put_u8(1, 7).put_be16(2, 443).nest(3, |inner| {
            inner.put_ip(4, 5, "10.0.0.1".parse().expect("an address")).put_u32(6, 9);
        });
        let bytes = writer.into_bytes();
        assert_eq!(bytes.len() % 4, 0);
        let read = Attributes::parse(&bytes).expect("well-formed");
        assert_eq!(read.u8(1), Ok(Some(7)));
        assert_eq!(read.be16(2), Ok(Some(443)));
        assert_eq!(read.u32(2), Err(Malformed::AttributeSize(2)));
        assert_eq!(read.u8(9), Ok(None));
        let inner = read.nest(3).expect("well-formed").expect("there");
        assert_eq!(inner.ip(4, 5).expect("4 octets"), Some(Ipv4Addr::new(10, 0, 0, 1).into()));
        assert_eq!(inner.u32(6), Ok(Some(9)));
    }

    #[test]
    fn no_truncation_of_a_message_panics() {
        let mut writer = Writer::default();
        writer.put_u8(1, 7).nest(3, |inner| {
            inner.put_u32(6, 9);
        });
        let bytes = writer.into_bytes();
        for len in 0..bytes.len() {
            if let Ok(read) = Attributes::parse(&bytes[..len]) {
                let _ = read.nest(3);
            }
        }
        assert!(Attributes::parse(&[0, 0, 1, 0]).is_err(), "a length below the header's");
    }
}
