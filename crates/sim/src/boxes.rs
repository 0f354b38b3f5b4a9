//! The middleboxes that a scenario can name, and how each is made.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU8, NonZeroU16};

use polytcp_netem::Ratio;
use polytcp_netem::middlebox::{
    ApplicationGateway, BlindInjector, ChangePayload, Coalesce, CoalesceConfig, Direction, DropMptcpSyn,
    EcnChange, EcnRewriter, Forgotten, InjectConfig, JoinedOptions, Middlebox, MptcpPackets, MtuBlackHole,
    Nat, NatConfig, Pep, PepConfig, Replay, ReplayConfig, ReplayMode, RewriteIsn, Split, SplitOptions,
    StripMptcp, StripUnknown, TooBig, TooBigConfig,
};
use serde::{Deserialize, Serialize};

use crate::quantity::{Share, Size, Span};

/// One middlebox. The inside is the side of the link's first host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum BoxSpec {
    /// Source NAT.
    Nat {
        /// The address that IPv4 flows have outside.
        address: Ipv4Addr,
        /// Silence after which a flow is forgotten. Default 2 h 4 min.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idle: Option<Span>,
        /// Unknown segments are answered with a reset. Default false.
        #[serde(default)]
        reset: bool,
    },
    /// Takes MPTCP options out.
    StripMptcp {
        /// From which packets.
        from: Vec<StripFrom>,
    },
    /// Takes out every option that the 1990s did not know.
    StripUnknown {},
    /// Drops SYNs with an MPTCP option.
    DropMptcpSyn {},
    /// Replaces initial sequence numbers.
    RewriteIsn {},
    /// Cuts segments.
    Split {
        /// Payload octets of a part.
        payload: NonZeroU16,
        /// All parts carry the options, not only the first. Default false.
        #[serde(default)]
        copy_options: bool,
    },
    /// Joins segments.
    Coalesce {
        /// Octets of the largest packet made. Default 1,500.
        #[serde(default = "ethernet")]
        packet: u16,
        /// How long a segment is held. Default 1 ms.
        #[serde(default = "millisecond")]
        hold: Span,
        /// Only segments with equal options are joined. Default false: the first one's are kept.
        #[serde(default)]
        same_options: bool,
    },
    /// Writes into the ECN bits.
    Ecn {
        /// What it does.
        change: Ecn,
    },
    /// A router with a small MTU that says so.
    TooBig {
        /// Octets of the largest packet that passes.
        mtu: u16,
    },
    /// A router with a small MTU that says nothing.
    BlackHole {
        /// Octets of the largest packet that passes.
        mtu: u16,
    },
    /// A proxy that acknowledges on the receiver's behalf.
    Pep {
        /// Octets kept for each direction of a flow. Default 256k.
        #[serde(default = "store")]
        store: Size,
    },
    /// Delivers some segments again, or only, later.
    Replay {
        /// Share of segments with data.
        share: Share,
        /// How much later.
        delay: Span,
        /// They come later only. Default false: they come twice.
        #[serde(default)]
        late_only: bool,
    },
    /// An attacker who sees nothing and guesses.
    Inject {
        /// Time between two packets.
        interval: Span,
        /// Packets in all.
        packets: u64,
    },
    /// Flips a bit of the payload of each flow and corrects the TCP checksum.
    FlipPayload {
        /// From the first host to the second, or back.
        direction: Way,
        /// Offset of the octet in the stream.
        offset: u64,
    },
    /// An application-level gateway: replaces a word by another, of another length.
    Gateway {
        /// From the first host to the second, or back.
        direction: Way,
        /// The word.
        find: String,
        /// What stands there instead.
        replace: String,
    },
}

/// A direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From the first host to the second.
    Up,
    /// From the second host to the first.
    Down,
}

/// Packets that lose their MPTCP options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StripFrom {
    /// SYN.
    Syn,
    /// SYN/ACK.
    SynAck,
    /// The client's third packet.
    ThirdAck,
    /// Packets with payload.
    Data,
    /// All others.
    Rest,
}

/// What is done to ECN bits; see [`EcnChange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ecn {
    /// Cleared.
    Bleach,
    /// All marked.
    MarkAll,
    /// ECT(1) becomes ECT(0).
    Ect1ToEct0,
    /// Inverted.
    Mangle,
    /// Never agreed on.
    ClearHandshake,
}

fn ethernet() -> u16 {
    1_500
}

fn millisecond() -> Span {
    Span::millis(1)
}

fn store() -> Size {
    Size(256 << 10)
}

impl BoxSpec {
    /// Its word in scenario files.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nat { .. } => "nat",
            Self::StripMptcp { .. } => "strip-mptcp",
            Self::StripUnknown {} => "strip-unknown",
            Self::DropMptcpSyn {} => "drop-mptcp-syn",
            Self::RewriteIsn {} => "rewrite-isn",
            Self::Split { .. } => "split",
            Self::Coalesce { .. } => "coalesce",
            Self::Ecn { .. } => "ecn",
            Self::TooBig { .. } => "too-big",
            Self::BlackHole { .. } => "black-hole",
            Self::Pep { .. } => "pep",
            Self::Replay { .. } => "replay",
            Self::Inject { .. } => "inject",
            Self::FlipPayload { .. } => "flip-payload",
            Self::Gateway { .. } => "gateway",
        }
    }

    /// Makes the box; its chances follow from `seed`.
    ///
    /// # Errors
    /// One line that says which value is out of range.
    pub fn build(&self, seed: u64) -> Result<Box<dyn Middlebox>, String> {
        Ok(match self {
            Self::Nat { address, idle, reset } => Box::new(Nat::new(NatConfig {
                v4: Some(*address),
                idle: idle.map_or(NatConfig::default().idle, Span::duration),
                forgotten: if *reset { Forgotten::Reset } else { Forgotten::Drop },
                ..NatConfig::default()
            })),
            Self::StripMptcp { from } => {
                let has = |kind| from.contains(&kind);
                Box::new(StripMptcp::new(MptcpPackets {
                    syn: has(StripFrom::Syn),
                    syn_ack: has(StripFrom::SynAck),
                    third_ack: has(StripFrom::ThirdAck),
                    data: has(StripFrom::Data),
                    rest: has(StripFrom::Rest),
                }))
            }
            Self::StripUnknown {} => Box::new(StripUnknown),
            Self::DropMptcpSyn {} => Box::new(DropMptcpSyn),
            Self::RewriteIsn {} => Box::new(RewriteIsn::new(seed)),
            Self::Split { payload, copy_options } => {
                let options = if *copy_options { SplitOptions::All } else { SplitOptions::FirstOnly };
                Box::new(Split::new(*payload, options))
            }
            Self::Coalesce { packet, hold, same_options } => Box::new(Coalesce::new(CoalesceConfig {
                packet_bytes_max: *packet,
                hold: hold.duration(),
                options: if *same_options { JoinedOptions::Same } else { JoinedOptions::First },
            })),
            Self::Ecn { change } => Box::new(EcnRewriter::new(match change {
                Ecn::Bleach => EcnChange::Bleach,
                Ecn::MarkAll => EcnChange::MarkAll,
                Ecn::Ect1ToEct0 => EcnChange::Ect1ToEct0,
                Ecn::Mangle => EcnChange::Mangle,
                Ecn::ClearHandshake => EcnChange::ClearOnSyn,
            })),
            Self::TooBig { mtu } => Box::new(TooBig::new(TooBigConfig {
                mtu: *mtu,
                v4: ROUTER_V4,
                v6: ROUTER_V6,
                ..TooBigConfig::default()
            })),
            Self::BlackHole { mtu } => Box::new(MtuBlackHole::new(*mtu)),
            Self::Pep { store } => Box::new(Pep::new(PepConfig {
                store_bytes_max: usize::try_from(store.0).map_err(|_| "store: too large".to_owned())?,
                ..PepConfig::default()
            })),
            Self::Replay { share, delay, late_only } => Box::new(Replay::new(
                ReplayConfig {
                    share: Ratio::from_ppm(share.0),
                    delay: delay.duration(),
                    mode: if *late_only { ReplayMode::Hold } else { ReplayMode::Copy },
                    ..ReplayConfig::default()
                },
                seed,
            )),
            Self::Inject { interval, packets } => Box::new(BlindInjector::new(
                InjectConfig { interval: interval.duration(), packets_max: *packets, guess_within: None },
                seed,
            )),
            Self::FlipPayload { direction, offset } => {
                Box::new(ChangePayload::octet(direction.direction(), *offset, NonZeroU8::MIN))
            }
            Self::Gateway { direction, find, replace } => Box::new(
                ApplicationGateway::new(direction.direction(), find.as_bytes(), replace.as_bytes(), 1_500)
                    .ok_or("find: the word is empty")?,
            ),
        })
    }
}

impl Way {
    const fn direction(self) -> Direction {
        match self {
            Self::Up => Direction::Outward,
            Self::Down => Direction::Inward,
        }
    }
}

const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
