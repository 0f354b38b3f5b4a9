//! Interfaces and addresses of a host, and which of them a packet leaves through.

use core::net::{IpAddr, SocketAddr};

use alloc::string::String;
use alloc::vec::Vec;

use crate::packet::InterfaceId;

/// An address with the length of its prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    /// The address itself, not the network's.
    pub address: IpAddr,
    /// Bits that it shares with its neighbours, 0..=32 or 0..=128.
    pub prefix_len: u8,
}

impl Cidr {
    /// True when `other` is of the same family and prefix.
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.prefix_len.min(32));
                (u64::from(a.to_bits()) >> shift) == (u64::from(b.to_bits()) >> shift)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128 - u32::from(self.prefix_len.min(128));
                a.to_bits().checked_shr(shift) == b.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl core::fmt::Display for Cidr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// Why a text is not an address with a prefix length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected an address with a prefix length, such as 10.0.1.2/24 or fd00::2/64")]
pub struct BadCidr;

impl core::str::FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let (address, len) = text.split_once('/').ok_or(BadCidr)?;
        let address: IpAddr = address.parse().map_err(|_| BadCidr)?;
        let prefix_len: u8 = len.parse().map_err(|_| BadCidr)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        if prefix_len > max { Err(BadCidr) } else { Ok(Self { address, prefix_len }) }
    }
}

/// What a host knows of an interface.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// Name of the path, for people.
    pub name: String,
    /// Largest IP packet in octets; at least 1280.
    pub mtu: u16,
    /// Largest packet that the device takes and cuts by itself (TSO); `mtu` when it cannot.
    pub segment_bytes_max: u32,
    /// The device completes checksums.
    pub checksum_offload: bool,
    /// Our addresses on it.
    pub addresses: Vec<Cidr>,
}

/// Whether packets can pass an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// They can.
    Up,
    /// They cannot.
    Down,
}

pub(crate) struct Interface {
    pub(crate) config: InterfaceConfig,
    pub(crate) link: LinkState,
}

/// All interfaces of a host, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Interfaces {
    list: Vec<Interface>,
}

impl Interfaces {
    pub(crate) fn add(&mut self, config: InterfaceConfig) -> InterfaceId {
        let id = InterfaceId(self.list.len() as u32);
        self.list.push(Interface { config, link: LinkState::Up });
        id
    }

    pub(crate) fn find(&self, id: InterfaceId) -> Option<&Interface> {
        self.list.get(id.0 as usize)
    }

    pub(crate) fn find_mut(&mut self, id: InterfaceId) -> Option<&mut Interface> {
        self.list.get_mut(id.0 as usize)
    }

    /// The interface that holds `address`, whatever its link state.
    pub(crate) fn holding(&self, address: IpAddr) -> Option<InterfaceId> {
        self.position(|interface| interface.config.addresses.iter().any(|c| c.address == address))
    }

    /// The source address for a packet to `remote`: on an interface that is up, one in the remote's own
    /// prefix first, else the first of its family (each interface has an implicit default route).
    pub(crate) fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        let up = || self.list.iter().filter(|i| i.link == LinkState::Up);
        let addresses = || up().flat_map(|i| i.config.addresses.iter());
        addresses()
            .find(|c| c.contains(remote))
            .or_else(|| addresses().find(|c| c.address.is_ipv4() == remote.is_ipv4()))
            .map(|c| c.address)
    }

    /// True when a packet from `local` can leave now.
    pub(crate) fn usable(&self, local: IpAddr) -> bool {
        self.holding(local).and_then(|id| self.find(id)).is_some_and(|i| i.link == LinkState::Up)
    }

    /// True when one of our addresses is `local`, or `local` is unspecified.
    pub(crate) fn can_bind(&self, local: &SocketAddr) -> bool {
        local.ip().is_unspecified() || self.holding(local.ip()).is_some()
    }

    fn position(&self, test: impl Fn(&Interface) -> bool) -> Option<InterfaceId> {
        self.list.iter().position(test).map(|i| InterfaceId(i as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn a_prefix_is_parsed_and_matched() {
        let cidr: Cidr = "10.0.1.2/24".parse().expect("well formed");
        assert!(cidr.contains("10.0.1.200".parse().expect("address")));
        assert!(!cidr.contains("10.0.2.2".parse().expect("address")));
        assert!(!cidr.contains("fd00::1".parse().expect("address")));
        assert_eq!(cidr.to_string(), "10.0.1.2/24");
        for bad in ["", "10.0.1.2", "10.0.1.2/33", "fd00::1/129", "x/24", "10.0.1.2/-1"] {
            assert_eq!(bad.parse::<Cidr>(), Err(BadCidr), "{bad}");
        }
        let all: Cidr = "0.0.0.0/0".parse().expect("well formed");
        assert!(all.contains("203.0.113.9".parse().expect("address")));
        let all: Cidr = "::/0".parse().expect("well formed");
        assert!(all.contains("2001:db8::9".parse().expect("address")));
    }

    #[test]
    fn the_source_is_in_the_remotes_prefix_and_on_a_link_that_is_up() {
        let mut interfaces = Interfaces::default();
        for i in 1..=2 {
            interfaces.add(InterfaceConfig {
                name: alloc::format!("path{i}"),
                mtu: 1500,
                segment_bytes_max: 65_535,
                checksum_offload: true,
                addresses: vec![alloc::format!("10.0.{i}.2/24").parse().expect("well formed")],
            });
        }
        let remote = "10.0.2.1".parse().expect("address");
        assert_eq!(interfaces.source_for(remote), Some("10.0.2.2".parse().expect("address")));
        interfaces.find_mut(InterfaceId(1)).expect("exists").link = LinkState::Down;
        assert_eq!(interfaces.source_for(remote), Some("10.0.1.2".parse().expect("address")));
        assert!(!interfaces.usable("10.0.2.2".parse().expect("address")));
        assert_eq!(interfaces.source_for("fd00::1".parse().expect("address")), None);
    }
}
