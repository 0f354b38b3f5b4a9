//! The address plan: which addresses and which device make a path.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use polytcp_proto::pm::command::EndpointFlags;

/// One path between a kernel and its peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathConfig {
    /// The device's name, at most 15 octets. Default `path0`, `path1`, …
    pub name: String,
    /// Default 1500. At least 1280, for IPv6.
    pub mtu: u16,
    /// The kernel's IPv4 address; in a pair the server's. Default 10.0.i.1.
    pub kernel_v4: Ipv4Addr,
    /// The peer's IPv4 address; in a pair the client's. Default 10.0.i.2.
    pub stack_v4: Ipv4Addr,
    /// Default 24.
    pub prefix_len_v4: u8,
    /// The kernel's IPv6 address; in a pair the server's. Default fd00:i::1.
    pub kernel_v6: Ipv6Addr,
    /// The peer's IPv6 address; in a pair the client's. Default fd00:i::2.
    pub stack_v6: Ipv6Addr,
    /// Default 64.
    pub prefix_len_v6: u8,
    /// Whether the TUN device passes packets of up to 64 KiB with a virtio header. Default true.
    pub offload: bool,
    /// What the kernel's addresses of this path are endpoints for; `None` makes no endpoint.
    /// In a pair: the client's. Default `None`.
    pub endpoint: Option<EndpointFlags>,
    /// Which families the endpoint is made for. Default IPv4 only: Linux takes 8 endpoints at most.
    pub endpoint_families: EndpointFamilies,
    /// Whether subflows from the endpoint are bound to this path's device. Default to the device.
    pub endpoint_binding: EndpointBinding,
}

/// Whether an endpoint names its device (`dev` of `ip mptcp endpoint add`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EndpointBinding {
    /// Its subflows send and receive on the path's device only: whatever the peer answers elsewhere
    /// meets no socket.
    Device,
    /// Its subflows go where routing says.
    Routed,
}

/// Which of a path's addresses become endpoints.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EndpointFamilies {
    /// The IPv4 address.
    V4,
    /// The IPv6 address.
    V6,
    /// Both.
    Both,
}

impl PathConfig {
    /// The path number `index` with the default addresses and no endpoint.
    pub fn new(index: u8) -> Self {
        let net = u16::from(index);
        Self {
            name: format!("path{index}"),
            mtu: 1500,
            kernel_v4: Ipv4Addr::new(10, 0, index, 1),
            stack_v4: Ipv4Addr::new(10, 0, index, 2),
            prefix_len_v4: 24,
            kernel_v6: Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, 0, 1),
            stack_v6: Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, 0, 2),
            prefix_len_v6: 64,
            offload: true,
            endpoint: None,
            endpoint_families: EndpointFamilies::V4,
            endpoint_binding: EndpointBinding::Device,
        }
    }

    /// The same path with an endpoint on the kernel's IPv4 address.
    pub fn with_endpoint(mut self, flags: EndpointFlags) -> Self {
        self.endpoint = Some(flags);
        self
    }

    /// The same path with another MTU.
    pub fn with_mtu(mut self, mtu: u16) -> Self {
        self.mtu = mtu;
        self
    }

    /// The kernel's end of the path.
    pub(crate) fn kernel_end(&self) -> [PathAddress; 2] {
        let [v4, v6] = self.stack_end();
        [
            PathAddress { own: v4.peer, peer: v4.own, prefix_len: v4.prefix_len },
            PathAddress { own: v6.peer, peer: v6.own, prefix_len: v6.prefix_len },
        ]
    }

    /// The other end; in a pair the client's.
    pub(crate) fn stack_end(&self) -> [PathAddress; 2] {
        [
            PathAddress {
                own: self.stack_v4.into(),
                peer: self.kernel_v4.into(),
                prefix_len: self.prefix_len_v4,
            },
            PathAddress {
                own: self.stack_v6.into(),
                peer: self.kernel_v6.into(),
                prefix_len: self.prefix_len_v6,
            },
        ]
    }
}

/// One address of a path's end, as that end configures it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PathAddress {
    pub(crate) own: IpAddr,
    pub(crate) peer: IpAddr,
    pub(crate) prefix_len: u8,
}

impl EndpointFamilies {
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Both => true,
        }
    }
}

/// The limits of the in-kernel path manager, 0..=8 each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Extra subflows of a connection, in both directions.
    pub subflows: u32,
    /// Announced addresses of the peer that are used.
    pub add_addr_accepted: u32,
}

impl Default for Limits {
    /// 8 and 8, the most that Linux takes: a test is to see what the stack does, not a limit.
    fn default() -> Self {
        Self { subflows: 8, add_addr_accepted: 8 }
    }
}
