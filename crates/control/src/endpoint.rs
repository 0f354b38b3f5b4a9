//! The nested address attribute of commands and replies.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use polytcp_proto::pm::command::{AddressId, Endpoint, EndpointFlags};

use crate::attribute::{Attributes, Writer, required};
use crate::error::Malformed;

const FAMILY: u16 = 1;
const ID: u16 = 2;
const ADDR4: u16 = 3;
const ADDR6: u16 = 4;
const PORT: u16 = 5;
const FLAGS: u16 = 6;
const IF_IDX: u16 = 7;

/// `AF_INET` and `AF_INET6`, which Linux numbers alike on all machines.
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;

/// The number of an address's family.
pub(crate) const fn family(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// An address attribute in which anything may be missing, as commands use it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PartialEndpoint {
    /// The address.
    pub address: Option<IpAddr>,
    /// The port, when not 0.
    pub port: Option<NonZeroU16>,
    /// The id.
    pub id: Option<AddressId>,
    /// The flags.
    pub flags: Option<EndpointFlags>,
    /// The index of an interface.
    pub interface: Option<i32>,
}

impl PartialEndpoint {
    /// Appends it as a nested attribute.
    pub fn write(&self, kind: u16, out: &mut Writer) {
        out.nest(kind, |nest| {
            if let Some(address) = self.address {
                nest.put_u16(FAMILY, family(address)).put_ip(ADDR4, ADDR6, address);
            }
            if let Some(port) = self.port {
                nest.put_u16(PORT, port.get());
            }
            if let Some(id) = self.id {
                nest.put_u8(ID, id.0);
            }
            if let Some(flags) = self.flags {
                nest.put_u32(FLAGS, flags.bits());
            }
            if let Some(interface) = self.interface {
                nest.put(IF_IDX, &interface.to_ne_bytes());
            }
        });
    }

    /// Reads the inside of a nested attribute.
    pub fn read(nest: &Attributes<'_>) -> Result<Self, Malformed> {
        let address = match nest.u16(FAMILY)? {
            None => None,
            Some(AF_INET) => Some(required(ADDR4, nest.ip(ADDR4, ADDR4)?)?),
            Some(AF_INET6) => Some(required(ADDR6, nest.ip(u16::MAX, ADDR6)?)?),
            Some(other) => return Err(Malformed::Family(other)),
        };
        Ok(Self {
            address,
            port: nest.u16(PORT)?.and_then(NonZeroU16::new),
            id: nest.u8(ID)?.map(AddressId),
            flags: nest.u32(FLAGS)?.map(EndpointFlags::from_bits_truncate),
            interface: nest.i32(IF_IDX)?.filter(|index| *index != 0),
        })
    }

    /// The endpoint, when the address is there.
    pub fn complete(self) -> Option<Endpoint> {
        Some(Endpoint {
            address: self.address?,
            port: self.port,
            id: self.id,
            flags: self.flags.unwrap_or_default(),
            interface: self.interface,
        })
    }

    /// Address and port, 0 when none is given.
    pub fn socket_addr(self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address?, self.port.map_or(0, NonZeroU16::get)))
    }
}

impl From<Endpoint> for PartialEndpoint {
    fn from(endpoint: Endpoint) -> Self {
        let Endpoint { address, port, id, flags, interface } = endpoint;
        Self { address: Some(address), port, id, flags: Some(flags), interface }
    }
}

impl From<SocketAddr> for PartialEndpoint {
    fn from(end: SocketAddr) -> Self {
        Self { address: Some(end.ip()), port: NonZeroU16::new(end.port()), ..Self::default() }
    }
}
