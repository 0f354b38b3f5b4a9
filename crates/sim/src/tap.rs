//! Who watches the packets: counts, a hash of the run, a capture, the points of a plot.

use std::collections::BTreeMap;

use polytcp_proto::time::Instant;
use polytcp_wire::mptcp::MptcpOption;
use polytcp_wire::tcp::{ParsedTcp, TcpFlags};
use polytcp_wire::{ip, tcp};

/// A packet at a host.
pub(crate) struct Sighting<'a> {
    pub(crate) at: Instant,
    pub(crate) host: usize,
    pub(crate) link: usize,
    /// The host sends it; else it has arrived there.
    pub(crate) is_sent: bool,
    pub(crate) packet: &'a [u8],
    /// Its TCP segment, if it is one with an intact header.
    pub(crate) segment: Option<Segment<'a>>,
}

/// A TCP segment and its addresses.
pub(crate) struct Segment<'a> {
    pub(crate) ip: ip::ParsedIp,
    pub(crate) tcp: ParsedTcp,
    pub(crate) payload: &'a [u8],
    /// Header and payload, as the checksum covers them.
    octets: &'a [u8],
}

impl<'a> Segment<'a> {
    pub(crate) fn parse(packet: &'a [u8]) -> Option<Self> {
        let ip = ip::parse(packet).ok().filter(|ip| ip.header.protocol == ip::PROTOCOL_TCP)?;
        let octets = packet.get(ip.payload_offset..ip.total_len)?;
        let tcp = tcp::parse(octets).ok()?;
        let payload = octets.get(tcp.payload_offset..)?;
        Some(Self { ip, tcp, payload, octets })
    }

    /// Whether a host takes it for undamaged.
    pub(crate) fn is_sound(&self) -> bool {
        tcp::verify_checksum(&self.ip.header.addresses, self.octets)
    }
}

/// What a host has sent and got, as seen from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostSeen {
    pub(crate) segments_sent: u64,
    pub(crate) resets_sent: u64,
}

/// What a direction of a link has delivered to its host.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carried {
    pub(crate) payload: u64,
    pub(crate) packets: u64,
}

/// All counts of a run, and its hash.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) hosts: Vec<HostSeen>,
    /// For each link, to the first host and to the second.
    pub(crate) carried: Vec<[Carried; 2]>,
    pub(crate) packets: u64,
    /// Resets that hosts sent, by [`reset_kind`].
    pub(crate) reset_kinds: BTreeMap<String, u64>,
    hash: u64,
}

impl Tap {
    pub(crate) fn new(hosts: usize, links: usize) -> Self {
        Self {
            hosts: vec![HostSeen::default(); hosts],
            carried: vec![[Carried::default(); 2]; links],
            packets: 0,
            reset_kinds: BTreeMap::new(),
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub(crate) fn see(&mut self, sighting: &Sighting<'_>, end: usize) {
        if !sighting.is_sent {
            if let Some(segment) = &sighting.segment {
                let carried = &mut self.carried[sighting.link][end];
                carried.packets += 1;
                carried.payload += segment.payload.len() as u64;
            }
            return;
        }
        self.packets += 1;
        self.mix(sighting.at.as_nanos());
        self.mix((sighting.host as u64) << 32 | sighting.link as u64);
        for part in sighting.packet.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(sighting.packet.len() as u64);
        if let Some(segment) = &sighting.segment {
            let seen = &mut self.hosts[sighting.host];
            seen.segments_sent += 1;
            if segment.tcp.header.flags.contains(TcpFlags::RST) {
                seen.resets_sent += 1;
                *self.reset_kinds.entry(reset_kind(segment)).or_default() += 1;
            }
        }
    }

    /// A number that follows from every octet that hosts sent and from when they sent it.
    pub(crate) fn hash(&self) -> u64 {
        let mut word = self.hash;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word ^ (word >> 31)
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
}

/// What a reset says beside being one: MP_FASTCLOSE, the reason of MP_TCPRST, or nothing.
pub(crate) fn reset_kind(segment: &Segment<'_>) -> String {
    let options = || segment.tcp.options.mptcp.iter();
    if options().any(|option| matches!(option, MptcpOption::FastClose { .. })) {
        return "MP_FASTCLOSE".to_owned();
    }
    let reason = options().find_map(|option| match option {
        MptcpOption::Reset(reset) => Some(reset.reason),
        _ => None,
    });
    match reason {
        Some(reason) => format!("MP_TCPRST {reason}"),
        None if segment.tcp.header.flags.contains(TcpFlags::ACK) => "plain with ACK".to_owned(),
        None => "plain".to_owned(),
    }
}
