//! What the kernel says about a device of the calling thread's network namespace.

use std::net::IpAddr;

use netlink_packet_core::{NetlinkSerializable, Parseable};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use polytcp_control::ControlError;
use polytcp_control::netlink::{DUMP, Frame, Netlink, ROUTE};

/// A device that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ExistingLink {
    pub(super) mtu: u32,
    pub(super) queue_packets: u32,
    pub(super) up: bool,
    pub(super) addresses: Vec<IpAddr>,
}

/// The device called `name`, if there is one.
pub(super) fn find(name: &str) -> Result<Option<ExistingLink>, ControlError> {
    let mut netlink = Netlink::open(ROUTE)?;
    let links = dump(&mut netlink, RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let links = links.iter().filter_map(|frame| LinkMessage::parse(&frame.payload).ok());
    let named = |link: &LinkMessage| {
        link.attributes.iter().any(|a| matches!(a, LinkAttribute::IfName(own) if own == name))
    };
    let Some(link) = links.into_iter().find(named) else { return Ok(None) };
    let mut found = ExistingLink {
        mtu: 0,
        queue_packets: 0,
        up: link.header.flags.contains(LinkFlags::Up),
        addresses: Vec::new(),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => found.mtu = *mtu,
            LinkAttribute::TxQueueLen(packets) => found.queue_packets = *packets,
            _ => {}
        }
    }
    let addresses = dump(&mut netlink, RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    for message in addresses.iter().filter_map(|frame| AddressMessage::parse(&frame.payload).ok()) {
        if message.header.index == link.header.index {
            found.addresses.extend(message.attributes.iter().filter_map(own_address));
        }
    }
    Ok(Some(found))
}

/// On a point-to-point device `Address` is the peer's; IPv6 has no `Local` where they are the same.
fn own_address(attribute: &AddressAttribute) -> Option<IpAddr> {
    match attribute {
        AddressAttribute::Local(address) | AddressAttribute::Address(address) => Some(*address),
        _ => None,
    }
}

fn dump(netlink: &mut Netlink, message: RouteNetlinkMessage) -> Result<Vec<Frame>, ControlError> {
    let mut payload = vec![0; message.buffer_len()];
    message.serialize(&mut payload);
    netlink.request(message.message_type(), DUMP, &payload)
}
