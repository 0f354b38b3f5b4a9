//! MP_JOIN at a listener: what its SYN is judged by, and its third ACK (RFC 8684 §3.2).

use polytcp_wire::mptcp::{Join, MptcpOption, Reset};
use polytcp_wire::tcp_option::TcpOption;

use super::passive::Arrival;
use super::port_endpoints::JoinPort;
use super::{ConnectionId, FlowRef, FourTuple, Host};
use crate::mptcp::handshake::NewJoin;
use crate::mptcp::hook::reset_reason;
use crate::mptcp::key::{Nonce, Token, join_hmac};
use crate::packet::InterfaceId;
use crate::pm::command::AddressId;
use crate::tcp::opening::Agreed;
use crate::tcp::segment::{Outgoing, Segment};
use crate::time::Instant;

/// What a join's third ACK is checked against.
#[derive(Clone, Copy)]
pub(super) struct JoinRequest {
    pub(super) connection: ConnectionId,
    pub(super) local_id: AddressId,
    pub(super) remote_id: AddressId,
    pub(super) backup_peer: bool,
    pub(super) backup_local: bool,
    pub(super) local_nonce: Nonce,
    pub(super) remote_nonce: Nonce,
}

impl Host {
    /// Judges an MP_JOIN SYN (RFC 8684 §3.2).
    pub(super) fn join_request(
        &mut self,
        tuple: FourTuple,
        backup: bool,
        address_id: u8,
        token: Token,
        nonce: u32,
    ) -> Result<JoinRequest, u8> {
        self.counters.mp_join_syn_rx += 1;
        self.counters.mp_join_syn_backup_rx += u64::from(backup);
        let Some(id) = self.tokens.get(&token).copied() else {
            self.counters.mp_join_no_token_found += 1;
            return Err(reset_reason::MPTCP_ERROR);
        };
        let Some(connection) = self.connection(id) else { return Err(reset_reason::MPTCP_ERROR) };
        if !connection.takes_joins() {
            return Err(reset_reason::MPTCP_ERROR);
        }
        // Deviation: Linux says so with flag C and takes the join all the same; RFC 8684 §3.1 says that the sender
        // of C will not accept it.
        if connection.data.deny_join_initial && tuple.local() == connection.first_local {
            self.counters.mp_join_rejected += 1;
            return Err(reset_reason::PROHIBITED);
        }
        let port = self.join_port(connection, tuple);
        let first_local = connection.first_local.ip();
        match port {
            JoinPort::First => {}
            JoinPort::Announced => self.counters.mp_join_port_syn_rx += 1,
            JoinPort::Unknown => {
                self.counters.mp_join_port_syn_rx += 1;
                self.counters.mismatch_port_syn_rx += 1;
                return Err(reset_reason::PROHIBITED);
            }
        }
        let local_id = self.pm.local_id(tuple.local(), first_local);
        if let Some(tenant) = self.tenant_mut(id) {
            tenant.connection.pm.on_join_begun(AddressId(address_id));
        }
        Ok(JoinRequest {
            connection: id,
            local_id,
            remote_id: AddressId(address_id),
            backup_peer: backup,
            backup_local: self.pm.is_backup(tuple.local()),
            local_nonce: Nonce::random(&mut *self.secrets),
            remote_nonce: Nonce(nonce),
        })
    }

    pub(super) fn refuse_join(
        &mut self,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment,
        reason: u8,
    ) {
        let Some(mut reset) = Outgoing::reset_for(segment) else { return };
        let option = TcpOption::Mptcp(MptcpOption::Reset(Reset { transient: false, reason }));
        // 4 of 40 octets.
        let _ = reset.options.push(option);
        self.counters.mp_rst_tx += 1;
        self.reply(interface, tuple.local(), tuple.remote(), &reset);
    }

    pub(super) fn complete_join(
        &mut self,
        now: Instant,
        arrival: Arrival,
        segment: Segment,
        agreed: &Agreed,
        join: &JoinRequest,
    ) {
        let Arrival { interface, tuple, .. } = arrival;
        let hmac = segment.options.mptcp.iter().find_map(|option| match option {
            MptcpOption::Join(Join::Ack { hmac }) => Some(*hmac),
            _ => None,
        });
        if hmac.is_none() && segment.seq != agreed.irs + 1 {
            // Out-of-order data before the third ACK.
            return;
        }
        self.remove_half_open(tuple);
        let limit = self.pm.subflow_limit();
        let verdict = match self.connection(join.connection).filter(|c| c.takes_joins()) {
            None => Err(reset_reason::MPTCP_ERROR),
            Some(connection) => match (connection.data.keys, hmac) {
                (Some(keys), Some(hmac)) => {
                    let expected = join_hmac(keys.remote, keys.local, join.remote_nonce, join.local_nonce);
                    if !expected.verify_160(&hmac) {
                        self.counters.mp_join_ack_hmac_failure += 1;
                        Err(reset_reason::PROHIBITED)
                    } else if self.join_port(connection, tuple) == JoinPort::Unknown {
                        // Withdrawn since its SYN.
                        self.counters.mismatch_port_ack_rx += 1;
                        Err(reset_reason::PROHIBITED)
                    } else if connection.pm.is_withdrawn(join.remote_id)
                        || connection.extra_subflows() >= limit
                    {
                        self.counters.mp_join_rejected += 1;
                        Err(reset_reason::PROHIBITED)
                    } else {
                        Ok(())
                    }
                }
                _ => Err(reset_reason::MPTCP_ERROR),
            },
        };
        if let Err(reason) = verdict {
            self.refuse_join(interface, tuple, &segment, reason);
            return;
        }
        self.counters.mp_join_ack_rx += 1;
        let is_first_port =
            self.connection(join.connection).is_some_and(|c| c.first_local.port() == tuple.local().port());
        self.counters.mp_join_port_ack_rx += u64::from(!is_first_port);
        let segment_bytes_max = self.segment_bytes_max(interface);
        let Some((connection, mut ctx)) = self.split(now, join.connection) else { return };
        let new = NewJoin {
            local: tuple.local(),
            remote: tuple.remote(),
            interface,
            local_id: join.local_id,
            remote_id: join.remote_id,
            backup: join.backup_local,
            nonce: join.local_nonce,
        };
        let subflow = connection.accept_join(&mut ctx, &new, join.backup_peer, agreed, segment_bytes_max);
        connection.handle_segment(&mut ctx, subflow, segment);
        self.flows.insert(tuple, FlowRef::Subflow { connection: join.connection, subflow });
        self.keep_to_mtu(now, join.connection, subflow);
        self.touch(now, join.connection);
    }
}
