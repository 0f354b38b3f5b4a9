//! A device that counts what passes and remembers the last packets, for verdicts and for failures.

use std::collections::VecDeque;
use std::fmt::Write;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use polytcp::io::{Capabilities, Device, RxPool, SendOutcome, monotonic_now};
use polytcp_proto::packet::{Received, Transmit};
use polytcp_proto::time::Instant;
use polytcp_wire::mptcp::MptcpOption;
use polytcp_wire::tcp::{ParsedTcp, TcpFlags};
use polytcp_wire::{ip, tcp};

/// Packets that are remembered.
const REMEMBERED: usize = 120;
/// Octets of a packet that are remembered: the headers.
const HEAD_BYTES: usize = 128;

/// A device whose packets are counted on their way.
pub(crate) struct Watched<D> {
    inner: D,
    log: Arc<Log>,
}

/// What passed a device. Readable at any time.
#[derive(Default)]
pub(crate) struct Log {
    name: String,
    pub(crate) sent: Direction,
    pub(crate) received: Direction,
    recent: Mutex<VecDeque<Entry>>,
}

/// Totals of a direction.
#[derive(Default)]
pub(crate) struct Direction {
    /// Packets; one of up to 64 KiB counts once.
    packets: AtomicU64,
    /// Payload octets of TCP.
    payload_bytes: AtomicU64,
    /// Packets with payload.
    data_packets: AtomicU64,
    /// Their octets, headers included.
    data_packet_bytes: AtomicU64,
    /// Packets without SYN that carry an MPTCP option.
    mptcp_packets: AtomicU64,
    /// SYNs that carry MP_CAPABLE or MP_JOIN.
    mptcp_syns: AtomicU64,
    /// Sequence numbers of all SYNs.
    syn_seqs: Mutex<Vec<u32>>,
}

struct Entry {
    at: Instant,
    way: &'static str,
    len: usize,
    gso: u16,
    head: Head,
}

/// The first octets of a packet, inline: watching allocates nothing.
struct Head {
    octets: [u8; HEAD_BYTES],
    len: usize,
}

impl Head {
    fn of(parts: [&[u8]; 2]) -> Self {
        let mut head = Self { octets: [0; HEAD_BYTES], len: 0 };
        for part in parts {
            let len = part.len().min(HEAD_BYTES - head.len);
            head.octets[head.len..head.len + len].copy_from_slice(&part[..len]);
            head.len += len;
        }
        head
    }

    fn as_slice(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

impl<D: Device> Watched<D> {
    pub(crate) fn new(inner: D) -> (Self, Arc<Log>) {
        let log = Arc::new(Log { name: inner.name().to_owned(), ..Log::default() });
        (Self { inner, log: Arc::clone(&log) }, log)
    }
}

impl Direction {
    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    pub(crate) fn payload_bytes(&self) -> u64 {
        self.payload_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn data_packets(&self) -> u64 {
        self.data_packets.load(Ordering::Relaxed)
    }

    pub(crate) fn data_packet_bytes(&self) -> u64 {
        self.data_packet_bytes.load(Ordering::Relaxed)
    }

    /// Packets after the handshake's SYNs that have anything of MPTCP.
    pub(crate) fn mptcp_packets(&self) -> u64 {
        self.mptcp_packets.load(Ordering::Relaxed)
    }

    pub(crate) fn mptcp_syns(&self) -> u64 {
        self.mptcp_syns.load(Ordering::Relaxed)
    }

    pub(crate) fn syn_seqs(&self) -> Vec<u32> {
        self.syn_seqs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, head: &[u8], len: usize) {
        let add = |counter: &AtomicU64, n: u64| counter.fetch_add(n, Ordering::Relaxed);
        add(&self.packets, 1);
        let Some((tcp, payload)) = parse(head, len) else { return };
        if payload > 0 {
            add(&self.payload_bytes, payload as u64);
            add(&self.data_packets, 1);
            add(&self.data_packet_bytes, len as u64);
        }
        let syn = tcp.header.flags.contains(TcpFlags::SYN);
        if syn {
            self.syn_seqs.lock().unwrap_or_else(PoisonError::into_inner).push(tcp.header.seq);
        }
        if tcp.options.mptcp.iter().next().is_some() {
            add(if syn { &self.mptcp_syns } else { &self.mptcp_packets }, 1);
        }
    }
}

impl Log {
    fn add(&self, at: Instant, way: &'static str, gso: u16, parts: [&[u8]; 2]) {
        let len = parts[0].len() + parts[1].len();
        let head = Head::of(parts);
        let direction = if way == ">" { &self.sent } else { &self.received };
        direction.count(head.as_slice(), len);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(Entry { at, way, len, gso, head });
    }

    /// The last packets of all `logs` in order of time, one a line; `>` is from the stack.
    pub(crate) fn trace(logs: &[Arc<Self>]) -> String {
        let mut lines = Vec::new();
        let now = monotonic_now();
        for log in logs {
            let recent = log.recent.lock().unwrap_or_else(PoisonError::into_inner);
            lines.extend(
                recent.iter().map(|entry| (entry.at, format!("{} {}", log.name, entry.describe(now)))),
            );
        }
        lines.sort_by_key(|(at, _)| *at);
        let mut text = String::new();
        for (_, line) in lines {
            let _ = writeln!(text, "  {line}");
        }
        text
    }
}

impl Entry {
    fn describe(&self, now: Instant) -> String {
        let ago = now.since(self.at).as_micros() as f64 / 1e3;
        let Self { way, len, gso, head, .. } = self;
        let Some((tcp, payload)) = parse(head.as_slice(), *len) else {
            return format!("-{ago:9.3}ms {way} {len} octets, not TCP");
        };
        let h = tcp.header;
        let mut text = format!(
            "-{ago:9.3}ms {way} {}:{} [{:?}] seq {} ack {} win {} len {payload}",
            h.src_port, h.dst_port, h.flags, h.seq, h.ack, h.window
        );
        if *gso > 0 {
            let _ = write!(text, " gso {gso}");
        }
        if tcp.options.sack.iter().next().is_some() {
            let _ = write!(text, " sack {:?}", tcp.options.sack);
        }
        for option in tcp.options.mptcp.iter() {
            let _ = match option {
                MptcpOption::Dss(dss) => write!(text, " {dss:?}"),
                other => write!(text, " {other:?}"),
            };
        }
        text
    }
}

/// The TCP header of a packet of `len` octets that starts with `head`, and the octets of its payload.
fn parse(head: &[u8], len: usize) -> Option<(ParsedTcp, usize)> {
    // The checks of `ip::parse` want the whole packet; only the head is at hand.
    let ip_len = match head.first()? >> 4 {
        4 if head.get(9) == Some(&ip::PROTOCOL_TCP) => usize::from(head[0] & 15) * 4,
        6 if head.get(6) == Some(&ip::PROTOCOL_TCP) => ip::V6_HEADER_LEN,
        _ => return None,
    };
    let parsed = tcp::parse(head.get(ip_len..)?).ok()?;
    let payload = len.checked_sub(ip_len + parsed.payload_offset)?;
    Some((parsed, payload))
}

impl<D: Device> Device for Watched<D> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn send(&self, now: Instant, packet: &Transmit) -> io::Result<SendOutcome> {
        // Not `now`, which the packets of a round share; before the write, in which the peer may answer.
        let at = monotonic_now();
        let outcome = self.inner.send(now, packet);
        if matches!(outcome, Ok(SendOutcome::Sent)) {
            let gso = packet.vnet.segmentation.map_or(0, |s| s.size);
            self.log.add(at, ">", gso, [packet.header.as_slice(), &packet.payload]);
        }
        outcome
    }

    fn receive(
        &self,
        now: Instant,
        budget: usize,
        pool: &mut RxPool,
        out: &mut Vec<Received>,
    ) -> io::Result<usize> {
        let before = out.len();
        let result = self.inner.receive(now, budget, pool, out);
        let at = monotonic_now();
        for packet in &out[before..] {
            let gso = packet.vnet.segmentation.map_or(0, |s| s.size);
            self.log.add(at, "<", gso, [&packet.bytes, &[]]);
        }
        result
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_fd()
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.deadline()
    }

    fn advance(&self, now: Instant) -> io::Result<()> {
        self.inner.advance(now)
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}
