//! What `MPTCP_INFO` and `TCP_INFO` tell of a connection.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{ConnectionId, Host};
use crate::mptcp::hook::{DSS_BYTES_MAX, Mode};
use crate::pm::kernel::PmNumbers;
use crate::tcp::info::TcpInfo;
use crate::time::{Duration, Instant};

/// A connection at one moment, as Linux's `struct mptcp_info` names it.
#[derive(Clone, Debug)]
pub struct MptcpInfo {
    /// Subflows beside the initial one.
    pub subflows: u32,
    /// Addresses that were announced, and announcements of the peer that led to a subflow.
    pub add_addr_signal: u32,
    /// See [`add_addr_signal`](Self::add_addr_signal).
    pub add_addr_accepted: u32,
    /// Limits and endpoints of the host's path manager.
    pub limits: PmNumbers,
    /// Endpoints that the connection uses beside its initial address.
    pub local_addr_used: u32,
    /// It fell back to TCP.
    pub fallback: bool,
    /// The peer's key is known.
    pub remote_key_received: bool,
    /// Names it to the peer.
    pub token: u32,
    /// Data sequence numbers: what is written next, what is acknowledged, what is expected.
    pub write_seq: u64,
    /// See [`write_seq`](Self::write_seq).
    pub snd_una: u64,
    /// See [`write_seq`](Self::write_seq).
    pub rcv_nxt: u64,
    /// DSS checksums were agreed.
    pub csum_enabled: bool,
    /// Octets sent again on another subflow.
    pub bytes_retrans: u64,
    /// Octets that were sent at least once, that came, and that were acknowledged; of the last a DATA_FIN is one.
    pub bytes_sent: u64,
    /// See [`bytes_sent`](Self::bytes_sent).
    pub bytes_received: u64,
    /// See [`bytes_sent`](Self::bytes_sent).
    pub bytes_acked: u64,
    /// Subflows, the initial one included while it is there.
    pub subflows_total: u32,
    /// How long ago data was sent, came, and was acknowledged on any subflow.
    pub last_data_sent: Duration,
    /// See [`last_data_sent`](Self::last_data_sent).
    pub last_data_recv: Duration,
    /// See [`last_data_sent`](Self::last_data_sent).
    pub last_ack_recv: Duration,
}

/// The ends of one subflow that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubflowAddrs {
    /// Its number, from 1 in order of creation.
    pub id: u32,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

impl Host {
    /// What `MPTCP_SUBFLOW_ADDRS` tells, in order of creation.
    pub fn subflow_addrs(&self, id: ConnectionId) -> Vec<SubflowAddrs> {
        let subflows = self.connection(id).map(|connection| &connection.subflows);
        let subflows = subflows.into_iter().flatten();
        subflows
            .map(|subflow| SubflowAddrs { id: subflow.id, local: subflow.local, remote: subflow.remote })
            .collect()
    }

    /// Limits and endpoints of the path manager.
    pub fn pm_numbers(&self) -> PmNumbers {
        self.pm.numbers()
    }

    /// What `MPTCP_INFO` tells; `None` for plain TCP sockets and for a connection that is gone.
    pub fn mptcp_info(&self, now: Instant, id: ConnectionId) -> Option<MptcpInfo> {
        let connection = self.connection(id)?;
        let info = connection.info();
        let data = &connection.data;
        let token = info.token?;
        let infos = self.tcp_infos(now, id);
        let since = |field: fn(&TcpInfo) -> Duration| {
            infos.iter().map(|(_, info)| field(info)).min().unwrap_or_default()
        };
        let total = connection.subflows.len() as u32;
        let initial = connection.subflows.iter().any(|subflow| subflow.id == 1);
        let unsent = data.snd.buffer.unsent();
        Some(MptcpInfo {
            subflows: total.saturating_sub(u32::from(initial)),
            add_addr_signal: connection.pm.announced_count(),
            add_addr_accepted: connection.pm.add_addr_accepted,
            limits: self.pm.numbers(),
            local_addr_used: connection.pm.local_used(),
            fallback: data.mode == Mode::Plain,
            remote_key_received: data.keys.is_some(),
            token,
            write_seq: data.snd.buffer.write_seq().0,
            snd_una: data.snd.buffer.snd_una().0,
            rcv_nxt: data.rcv.nxt().0,
            csum_enabled: info.checksums,
            bytes_retrans: info.bytes_reinjected,
            bytes_sent: info.bytes_written.saturating_sub(unsent),
            bytes_received: info.bytes_received,
            bytes_acked: info.bytes_acked + u64::from(data.snd.is_closed() && data.snd.is_done()),
            subflows_total: total,
            last_data_sent: since(|info| info.last_data_sent),
            last_data_recv: since(|info| info.last_data_recv),
            last_ack_recv: since(|info| info.last_ack_recv),
        })
    }

    /// What `TCP_INFO` tells of each flow of a connection, with the numbers of the subflows, in order of creation.
    pub fn tcp_infos(&self, now: Instant, id: ConnectionId) -> Vec<(u32, TcpInfo)> {
        let Some(connection) = self.connection(id) else { return Vec::new() };
        let reserved = if connection.data.mode == Mode::Mptcp { DSS_BYTES_MAX } else { 0 };
        let flows = connection.subflows.iter();
        let mut infos: Vec<_> =
            flows.filter_map(|subflow| Some((subflow.id, subflow.flow()?.info(now, reserved)))).collect();
        // Only the first has a SYN that can have carried data; its number is 1.
        if let Some((1, first)) = infos.first_mut() {
            first.syn_data = connection.took_syn_data();
            first.fast_open_child = connection.made_early.0;
        }
        infos
    }
}
