//! What Linux tells about one of its own MPTCP sockets: `MPTCP_INFO` and `MPTCP_SUBFLOW_ADDRS`
//! (`include/uapi/linux/mptcp.h`).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

const SOL_MPTCP: libc::c_int = 284;
const MPTCP_INFO: libc::c_int = 1;
const MPTCP_SUBFLOW_ADDRS: libc::c_int = 3;
const TCP_IS_MPTCP: libc::c_int = 43;

const INFO_LEN: usize = 96;
/// `struct mptcp_subflow_data`.
const SUBFLOW_HEADER_LEN: usize = 16;
/// `struct mptcp_subflow_addrs`: two `sockaddr_storage`.
const SUBFLOW_ADDRS_LEN: usize = 256;
const SOCKADDR_LEN: usize = 128;
/// The kernel's limits allow 8 extra subflows per side and the initial one.
const SUBFLOWS_MAX: usize = 32;

/// `struct mptcp_info`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MptcpInfo {
    /// Extra subflows, without the initial one.
    pub subflows: u8,
    /// Addresses announced to the peer.
    pub add_addr_signal: u8,
    /// Announced addresses of the peer that are used.
    pub add_addr_accepted: u8,
    /// The limit of extra subflows; 0 with the userspace path manager, as the other maxima.
    pub subflows_max: u8,
    /// Endpoints with the flag signal.
    pub add_addr_signal_max: u8,
    /// The limit of the peer's announced addresses.
    pub add_addr_accepted_max: u8,
    /// Bit 0: fallback; bit 1: the remote key is known.
    pub flags: u32,
    /// The local token.
    pub token: u32,
    /// The data sequence number that the next octet written gets.
    pub write_seq: u64,
    /// The first octet that the peer has not acknowledged at data level.
    pub snd_una: u64,
    /// The next data sequence number expected.
    pub rcv_nxt: u64,
    /// Local addresses that were tried or are in use.
    pub local_addr_used: u8,
    /// Endpoints with the flag subflow.
    pub local_addr_max: u8,
    /// Whether mappings carry checksums.
    pub csum_enabled: bool,
    /// Repetitions of DATA_FIN.
    pub retransmits: u32,
    /// Octets sent again at data level.
    pub bytes_retrans: u64,
    /// Octets sent at data level.
    pub bytes_sent: u64,
    /// Octets received in order at data level.
    pub bytes_received: u64,
    /// Octets that the peer acknowledged at data level.
    pub bytes_acked: u64,
    /// All subflows, with the initial one if it lives. 0 on kernels before 6.5.
    pub subflows_total: u8,
    /// Endpoints with the flag laminar.
    pub endp_laminar_max: u8,
    /// Since data was last sent.
    pub last_data_sent_millis: u32,
    /// Since data last came.
    pub last_data_recv_millis: u32,
    /// Since a DATA_ACK last came.
    pub last_ack_recv_millis: u32,
}

impl MptcpInfo {
    /// True when the connection fell back to plain TCP. Such a socket usually refuses the whole question.
    pub const fn is_fallback(&self) -> bool {
        self.flags & 1 != 0
    }

    /// True when the peer's key is known.
    pub const fn has_remote_key(&self) -> bool {
        self.flags & 2 != 0
    }

    fn parse(bytes: &[u8; INFO_LEN]) -> Self {
        let u32_at = |at: usize| u32::from_ne_bytes(*bytes[at..].first_chunk().expect("in range"));
        let u64_at = |at: usize| u64::from_ne_bytes(*bytes[at..].first_chunk().expect("in range"));
        Self {
            subflows: bytes[0],
            add_addr_signal: bytes[1],
            add_addr_accepted: bytes[2],
            subflows_max: bytes[3],
            add_addr_signal_max: bytes[4],
            add_addr_accepted_max: bytes[5],
            flags: u32_at(8),
            token: u32_at(12),
            write_seq: u64_at(16),
            snd_una: u64_at(24),
            rcv_nxt: u64_at(32),
            local_addr_used: bytes[40],
            local_addr_max: bytes[41],
            csum_enabled: bytes[42] != 0,
            retransmits: u32_at(44),
            bytes_retrans: u64_at(48),
            bytes_sent: u64_at(56),
            bytes_received: u64_at(64),
            bytes_acked: u64_at(72),
            subflows_total: bytes[80],
            endp_laminar_max: bytes[81],
            last_data_sent_millis: u32_at(84),
            last_data_recv_millis: u32_at(88),
            last_ack_recv_millis: u32_at(92),
        }
    }
}

/// The two ends of a subflow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SubflowAddrs {
    /// The local end.
    pub local: SocketAddr,
    /// The remote end.
    pub remote: SocketAddr,
}

/// Asks for `MPTCP_INFO`. Fields that an older kernel does not have are 0.
pub(crate) fn mptcp_info(socket: BorrowedFd<'_>) -> io::Result<MptcpInfo> {
    let mut bytes = [0; INFO_LEN];
    socket_option(socket, SOL_MPTCP, MPTCP_INFO, &mut bytes)?;
    Ok(MptcpInfo::parse(&bytes))
}

/// Asks for `MPTCP_SUBFLOW_ADDRS`.
pub(crate) fn subflows(socket: BorrowedFd<'_>) -> io::Result<Vec<SubflowAddrs>> {
    let mut bytes = vec![0; SUBFLOW_HEADER_LEN + SUBFLOWS_MAX * SUBFLOW_ADDRS_LEN];
    bytes[0..4].copy_from_slice(&(SUBFLOW_HEADER_LEN as u32).to_ne_bytes());
    bytes[12..16].copy_from_slice(&(SUBFLOW_ADDRS_LEN as u32).to_ne_bytes());
    let len = socket_option(socket, SOL_MPTCP, MPTCP_SUBFLOW_ADDRS, &mut bytes)?;
    let list = bytes[..len].get(SUBFLOW_HEADER_LEN..).unwrap_or(&[]);
    let ends = list.chunks_exact(SUBFLOW_ADDRS_LEN).filter_map(|pair| {
        let (local, remote) = pair.split_at(SOCKADDR_LEN);
        Some(SubflowAddrs { local: parse_sockaddr(local)?, remote: parse_sockaddr(remote)? })
    });
    Ok(ends.collect())
}

/// Asks for `TCP_IS_MPTCP`: false on plain TCP and after a fallback.
pub(crate) fn is_mptcp(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut bytes = [0; 4];
    socket_option(socket, libc::IPPROTO_TCP, TCP_IS_MPTCP, &mut bytes)?;
    Ok(i32::from_ne_bytes(bytes) != 0)
}

fn parse_sockaddr(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => {
            let octets: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            Some(SocketAddr::new(Ipv4Addr::from(octets).into(), port))
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            Some(SocketAddr::new(Ipv6Addr::from(octets).into(), port))
        }
        _ => None,
    }
}

/// Reads a socket option into `bytes` and returns how many octets the kernel filled.
fn socket_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    bytes: &mut [u8],
) -> io::Result<usize> {
    let mut len = libc::socklen_t::try_from(bytes.len()).map_err(io::Error::other)?;
    // SAFETY: `socket` is open for the call, `bytes` is writable for `len` octets and any octets are
    // valid in it, and `len` is a live variable of the type that the kernel writes back.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, bytes.as_mut_ptr().cast(), &raw mut len) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok((len as usize).min(bytes.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_of_sockaddr_are_read() {
        let mut v4 = [0; SOCKADDR_LEN];
        v4[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        v4[2..8].copy_from_slice(&[0x13, 0x89, 10, 0, 0, 1]);
        assert_eq!(parse_sockaddr(&v4), Some("10.0.0.1:5001".parse().expect("an address")));
        let mut v6 = [0; SOCKADDR_LEN];
        v6[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        v6[3] = 80;
        v6[8] = 0xfd;
        v6[23] = 2;
        assert_eq!(parse_sockaddr(&v6), Some("[fd00::2]:80".parse().expect("an address")));
        assert_eq!(parse_sockaddr(&[0; SOCKADDR_LEN]), None);
    }
}
