//! `TCP_INFO` and the options of `SOL_MPTCP`: Linux's structures, octet by octet, and its rules for callers that know shorter or
//! longer ones.

use std::net::SocketAddr;

use polytcp::raw::{BbrInfo, CaState, MptcpInfo, SubflowAddrs, TcpInfo, TcpState};
use rustix::io::Errno;

use super::value::tell;
use crate::socket::{Domain, Inner, Place, Socket, State};

const MPTCP_INFO: i32 = 1;
const MPTCP_TCPINFO: i32 = 2;
const MPTCP_SUBFLOW_ADDRS: i32 = 3;

/// Sizes of Linux 6.18's `struct tcp_info`, `mptcp_info`, `mptcp_subflow_data`, and of one `sockaddr_storage`.
const TCP_INFO_BYTES: usize = 280;
const MPTCP_INFO_BYTES: usize = 96;
/// Size of `struct tcp_bbr_info`.
const BBR_INFO_BYTES: usize = 20;
const HEADER_BYTES: usize = 16;
const STORAGE_BYTES: usize = 128;

/// `MPTCP_INFO_FLAG_FALLBACK` and `MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED`.
const FLAG_FALLBACK: u32 = 1;
const FLAG_REMOTE_KEY: u32 = 2;

/// Linux's numbers of states.
const TCP_ESTABLISHED: u8 = 1;
const TCP_SYN_SENT: u8 = 2;
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;

/// A structure that is filled field by field.
struct Layout<const N: usize>([u8; N]);

impl<const N: usize> Layout<N> {
    fn new() -> Self {
        Self([0; N])
    }

    fn put<const M: usize>(&mut self, offset: usize, bytes: [u8; M]) {
        if let Some(place) = self.0.get_mut(offset..offset + M) {
            place.copy_from_slice(&bytes);
        }
    }

    fn put_u8(&mut self, offset: usize, value: u32) {
        self.put(offset, [u8::try_from(value).unwrap_or(u8::MAX)]);
    }

    fn put_u32(&mut self, offset: usize, value: u32) {
        self.put(offset, value.to_ne_bytes());
    }

    fn put_u64(&mut self, offset: usize, value: u64) {
        self.put(offset, value.to_ne_bytes());
    }

    fn put_micros(&mut self, offset: usize, time: polytcp::raw::Duration) {
        self.put_u32(offset, u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    fn put_millis(&mut self, offset: usize, time: polytcp::raw::Duration) {
        self.put_u32(offset, u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
    }
}

fn state_number(state: TcpState) -> u8 {
    match state {
        TcpState::Established => TCP_ESTABLISHED,
        TcpState::FinWait1 => 4,
        TcpState::FinWait2 => 5,
        TcpState::TimeWait => 6,
        TcpState::Closed => TCP_CLOSE,
        TcpState::CloseWait => 8,
        TcpState::LastAck => 9,
        TcpState::Closing => 11,
    }
}

/// `struct tcp_info` of a flow.
fn tcp_info(info: &TcpInfo, ipv4: bool) -> [u8; TCP_INFO_BYTES] {
    let mss = u32::from(info.snd_mss).max(1);
    let segments = |bytes: u32| bytes.div_ceil(mss);
    let mut out = Layout::<TCP_INFO_BYTES>::new();
    out.put(0, [state_number(info.state)]);
    out.put(
        1,
        [match info.ca_state {
            CaState::Open => 0,
            CaState::Recovery => 3,
            CaState::Loss => 4,
        }],
    );
    out.put(2, [info.retransmits, info.probes, info.backoff]);
    let scaled = info.wscale != (0, 0);
    let bits =
        [info.timestamps, info.sack, scaled, info.ecn, false, info.syn_data, false, info.fast_open_child];
    out.put_u8(5, bits.iter().zip(0..).map(|(on, bit)| u32::from(*on) << bit).sum());
    out.put(6, [(info.wscale.0 & 15) | (info.wscale.1 << 4)]);
    out.put_micros(8, info.rto);
    out.put_u32(16, info.snd_mss.into());
    out.put_u32(20, info.rcv_mss);
    out.put_u32(24, segments(info.unacked_bytes));
    out.put_u32(28, segments(info.sacked_bytes));
    out.put_u32(32, segments(info.lost_bytes));
    out.put_u32(36, segments(info.retrans_bytes));
    out.put_millis(44, info.last_data_sent);
    out.put_millis(52, info.last_data_recv);
    out.put_millis(56, info.last_ack_recv);
    out.put_u32(60, u32::from(info.advmss) + if ipv4 { 40 } else { 60 });
    out.put_u32(64, info.rcv_wnd);
    if let Some((srtt, rttvar)) = info.rtt {
        out.put_micros(68, srtt);
        out.put_micros(72, rttvar);
    }
    let unset = i32::MAX.unsigned_abs();
    out.put_u32(76, if info.ssthresh_bytes == u32::MAX { unset } else { info.ssthresh_bytes / mss });
    out.put_u32(80, (info.cwnd_bytes / mss).max(1));
    out.put_u32(84, info.advmss.into());
    out.put_micros(92, info.rcv_rtt.unwrap_or_default());
    out.put_u32(100, u32::try_from(info.total_retrans).unwrap_or(u32::MAX));
    out.put_u64(104, info.pacing_rate.unwrap_or(u64::MAX));
    out.put_u64(112, u64::MAX);
    out.put_u64(120, info.bytes_acked);
    out.put_u64(128, info.bytes_received);
    out.put_u32(144, info.notsent_bytes);
    // All ones before the first sample, as in Linux.
    out.put_u32(148, info.min_rtt.map_or(u32::MAX, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)));
    out.put_u64(160, info.delivery_rate);
    out.put_u64(200, info.bytes_sent);
    out.put_u64(208, info.bytes_retrans);
    out.put_u32(228, info.snd_wnd);
    out.put_u32(232, info.rcv_wnd);
    out.0
}

/// `struct tcp_bbr_info`; gains are in 256ths.
fn bbr_info(info: &BbrInfo) -> [u8; BBR_INFO_BYTES] {
    let mut out = Layout::<BBR_INFO_BYTES>::new();
    out.put_u64(0, info.bw);
    out.put_u32(8, info.min_rtt.map_or(u32::MAX, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)));
    out.put_u32(12, info.pacing_gain * 256 / 100);
    out.put_u32(16, info.cwnd_gain * 256 / 100);
    out.0
}

/// `struct mptcp_info`.
fn mptcp_info(info: &MptcpInfo) -> [u8; MPTCP_INFO_BYTES] {
    let mut out = Layout::<MPTCP_INFO_BYTES>::new();
    out.put_u8(0, info.subflows);
    out.put_u8(1, info.add_addr_signal);
    out.put_u8(2, info.add_addr_accepted);
    out.put_u8(3, info.limits.subflows);
    out.put_u8(4, info.limits.signal);
    out.put_u8(5, info.limits.add_addr_accepted);
    let fallback = if info.fallback { FLAG_FALLBACK } else { 0 };
    out.put_u32(8, fallback | if info.remote_key_received { FLAG_REMOTE_KEY } else { 0 });
    out.put_u32(12, info.token);
    out.put_u64(16, info.write_seq);
    out.put_u64(24, info.snd_una);
    out.put_u64(32, info.rcv_nxt);
    out.put_u8(40, info.local_addr_used);
    out.put_u8(41, info.limits.subflow);
    out.put_u8(42, info.csum_enabled.into());
    out.put_u64(48, info.bytes_retrans);
    out.put_u64(56, info.bytes_sent);
    out.put_u64(64, info.bytes_received);
    out.put_u64(72, info.bytes_acked);
    out.put_u8(80, info.subflows_total);
    out.put_u8(81, info.limits.laminar);
    out.put_millis(84, info.last_data_sent);
    out.put_millis(88, info.last_data_recv);
    out.put_millis(92, info.last_ack_recv);
    out.0
}

/// `struct sockaddr_storage`.
fn storage(address: SocketAddr) -> [u8; STORAGE_BYTES] {
    let mut out = Layout::<STORAGE_BYTES>::new();
    out.put(2, address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            out.put(0, (libc::AF_INET as u16).to_ne_bytes());
            out.put(4, v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            out.put(0, (libc::AF_INET6 as u16).to_ne_bytes());
            out.put(8, v6.ip().octets());
        }
    }
    out.0
}

/// An array behind a `struct mptcp_subflow_data`, whose fields the caller has filled with what it knows.
fn tell_array(out: &mut [u8], elements: &[Vec<u8>], whole: usize) -> Result<usize, Errno> {
    let field = |at: usize| -> Option<u32> { Some(u32::from_ne_bytes(*out.get(at..)?.first_chunk()?)) };
    let [Some(header), Some(count), Some(kernel), Some(user)] = [0, 4, 8, 12].map(field) else {
        return Err(Errno::INVAL);
    };
    let is_valid = (HEADER_BYTES..=out.len()).contains(&(header as usize))
        && count == 0
        && kernel == 0
        && i32::try_from(user).is_ok();
    if !is_valid {
        return Err(Errno::INVAL);
    }
    let (header, size) = (header as usize, (user as usize).min(whole));
    let mut at = header;
    for element in elements {
        let Some(place) = out.get_mut(at..at + size).filter(|_| size > 0) else { break };
        place.copy_from_slice(&element[..size]);
        at += size;
    }
    let told =
        [header as u32, elements.len() as u32, whole as u32, size as u32].map(u32::to_ne_bytes).concat();
    out[..HEADER_BYTES].copy_from_slice(&told);
    Ok(if at > header { at } else { header.min(HEADER_BYTES) })
}

impl Socket {
    /// An option of `SOL_MPTCP`. `out` is read too, where the caller tells in it what it knows.
    pub(super) fn get_mptcp_option(&self, name: i32, out: &mut [u8]) -> Result<usize, Errno> {
        let inner = &mut *self.lock();
        let id = match inner.place {
            Place::Connection(id) => Some(id),
            Place::Listener(_) | Place::Nothing => None,
        };
        let now = polytcp::raw::now();
        match name {
            MPTCP_INFO => {
                let info = id.and_then(|id| self.stack().look(|host| host.mptcp_info(now, id)));
                let is_listener = matches!(inner.place, Place::Listener(_));
                let bytes = match info {
                    Some(info) => mptcp_info(&info),
                    None if is_listener => [0; MPTCP_INFO_BYTES],
                    None => self.idle_info(),
                };
                Ok(tell(out, &bytes))
            }
            MPTCP_TCPINFO => {
                let ipv4 = inner.peer.is_some_and(|peer| peer.is_ipv4());
                let infos =
                    id.map(|id| self.stack().look(|host| host.tcp_infos(now, id))).unwrap_or_default();
                let mut all: Vec<Vec<u8>> =
                    infos.iter().map(|(_, info)| tcp_info(info, ipv4).to_vec()).collect();
                // The first subflow is there before the connection is.
                if all.is_empty() && inner.first_subflow {
                    let mut idle = vec![0; TCP_INFO_BYTES];
                    self.tell_tcp_info(inner, &mut idle);
                    all.push(idle);
                }
                tell_array(out, &all, TCP_INFO_BYTES)
            }
            MPTCP_SUBFLOW_ADDRS => {
                let mut all = match id {
                    Some(id) => self.stack().look(|host| host.subflow_addrs(id)),
                    None => Vec::new(),
                };
                if all.is_empty() && inner.first_subflow {
                    let any = SocketAddr::new(self.domain.any(), 0);
                    all.push(SubflowAddrs { id: 1, local: inner.local.unwrap_or(any), remote: any });
                }
                let all: Vec<Vec<u8>> = all.iter().map(|addrs| self.addresses(addrs)).collect();
                tell_array(out, &all, 2 * STORAGE_BYTES)
            }
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    /// `struct mptcp_subflow_addrs`. The first subflow of a socket of IPv6 is one of IPv6, whatever its addresses are.
    fn addresses(&self, addrs: &SubflowAddrs) -> Vec<u8> {
        let is_mapped = addrs.id == 1 && self.domain == Domain::Inet6;
        let told = |address| if is_mapped { self.domain.tell(address) } else { address };
        [storage(told(addrs.local)), storage(told(addrs.remote))].concat()
    }

    /// What there is to tell of a socket without a connection.
    fn idle_info(&self) -> [u8; MPTCP_INFO_BYTES] {
        let limits = self.stack().look(|host| host.pm_numbers());
        let mut out = Layout::<MPTCP_INFO_BYTES>::new();
        out.put_u8(3, limits.subflows);
        out.put_u8(4, limits.signal);
        out.put_u8(5, limits.add_addr_accepted);
        out.put_u8(41, limits.subflow);
        out.put_u8(81, limits.laminar);
        out.0
    }

    /// `TCP_CC_INFO`: `struct tcp_bbr_info` of the first subflow, and nothing for other congestion controls.
    pub(super) fn tell_cc_info(&self, inner: &Inner, out: &mut [u8]) -> usize {
        let bbr = self.first_flow(inner).and_then(|info| info.bbr);
        bbr.map_or(0, |bbr| tell(out, &bbr_info(&bbr)))
    }

    pub(super) fn first_flow(&self, inner: &Inner) -> Option<TcpInfo> {
        let Place::Connection(id) = inner.place else { return None };
        let infos = self.stack().look(|host| host.tcp_infos(polytcp::raw::now(), id));
        infos.into_iter().next().map(|(_, info)| info)
    }

    /// `TCP_INFO`: of the first subflow.
    pub(super) fn tell_tcp_info(&self, inner: &mut Inner, out: &mut [u8]) -> usize {
        let state = self.view(inner).state;
        let ipv4 = inner.peer.is_some_and(|peer| peer.is_ipv4());
        let bytes = match self.first_flow(inner) {
            Some(info) => tcp_info(&info, ipv4),
            None => {
                let mut idle = Layout::<TCP_INFO_BYTES>::new();
                idle.put(
                    0,
                    [match state {
                        State::Listen => TCP_LISTEN,
                        State::SynSent => TCP_SYN_SENT,
                        State::Close | State::Open => TCP_CLOSE,
                    }],
                );
                match inner.place {
                    // Who waits to be accepted, and how many may.
                    Place::Listener(id) => {
                        let (waiting, most) = self.stack().look(|host| (host.incoming(id), host.backlog(id)));
                        idle.put_u32(24, u32::try_from(waiting).unwrap_or(u32::MAX));
                        idle.put_u32(28, u32::try_from(most).unwrap_or(u32::MAX));
                    }
                    // The SYN.
                    _ if state == State::SynSent => idle.put_u32(24, 1),
                    _ => {}
                }
                idle.0
            }
        };
        tell(out, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size: u32, user: u32) -> Vec<u8> {
        [size, 0, 0, user].map(u32::to_ne_bytes).concat()
    }

    #[test]
    fn whole_elements_are_told_in_the_size_that_the_caller_knows() {
        let elements = [vec![1; 8], vec![2; 8]];
        let mut out = [header(16, 4), vec![9; 9]].concat();
        assert_eq!(tell_array(&mut out, &elements, 8), Ok(24));
        assert_eq!(out[..16], [16_u32, 2, 8, 4].map(u32::to_ne_bytes).concat());
        assert_eq!(out[16..], [1, 1, 1, 1, 2, 2, 2, 2, 9]);
        // One that knows more than there is, with room for one.
        let mut out = [header(16, 100), vec![9; 12]].concat();
        assert_eq!(tell_array(&mut out, &elements, 8), Ok(24));
        assert_eq!(out[16..], [1, 1, 1, 1, 1, 1, 1, 1, 9, 9, 9, 9]);
        assert_eq!(out[12..16], 8_u32.to_ne_bytes());
    }

    #[test]
    fn what_the_caller_says_is_checked() {
        let none: [Vec<u8>; 0] = [];
        assert_eq!(tell_array(&mut [0; 15], &none, 8), Err(Errno::INVAL));
        for bad in [header(15, 8), header(17, 8), header(16, u32::MAX)] {
            assert_eq!(tell_array(&mut bad.clone(), &none, 8), Err(Errno::INVAL), "{bad:?}");
        }
        let mut counted = header(16, 8);
        counted[4] = 1;
        assert_eq!(tell_array(&mut counted, &none, 8), Err(Errno::INVAL));
        assert_eq!(tell_array(&mut header(16, 8), &none, 8), Ok(16));
    }
}
