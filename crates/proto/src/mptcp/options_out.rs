//! Which options a segment carries: what is said once, what is said on every segment, and what has no room.

use polytcp_wire::mptcp::{AddAddrAuth, CapableForm, DataAck, Dss, Join, MptcpOption};
use polytcp_wire::tcp_options::MptcpOptions;

use super::capable::capable;
use super::hook::Hook;
use super::mapping::Mapping;
use super::send::DataFin;
use super::subflow::{Confirmation, Signal};
use crate::seq::Ssn;
use crate::tcp::flow::Env;

/// A SACK option with one block and what aligns it (RFC 2018 §3).
const SACK_BYTES_MIN: usize = 12;

impl Hook<'_> {
    fn fin_option(&self, data_ack: DataAck) -> Dss {
        let mapping = Mapping::data_fin(self.data.snd.fin_dsn(), self.data.checksums).to_wire();
        Dss { data_fin: true, data_ack: Some(data_ack), mapping: Some(mapping) }
    }

    pub(super) fn ack_options(
        &mut self,
        env: &mut Env<'_>,
        room: usize,
        reports: bool,
        out: &mut MptcpOptions,
    ) {
        self.mp.ack_wanted = false;
        let fin_pending = matches!(self.data.snd.fin(), DataFin::Sent { .. });
        let again = core::mem::take(&mut self.mp.handshake_ack_due);
        match (self.mp.confirmation, self.data.keys) {
            (Confirmation::CapableClient, Some(keys)) if again || !fin_pending => {
                let (sender_key, receiver_key) = (keys.local.to_wire(), keys.remote.to_wire());
                out.push(capable(CapableForm::Ack { sender_key, receiver_key }, self.data.asked()));
                return;
            }
            (Confirmation::JoinClient { hmac, .. }, _) => {
                out.push(MptcpOption::Join(Join::Ack { hmac }));
                return;
            }
            _ => {}
        }
        let data_ack = self.data.data_ack(self.mp.announced);
        if let Some(dsn) = self.mp.fail_due.take() {
            env.counters.mp_fail_tx += 1;
            out.push(MptcpOption::Dss(Dss { data_ack: Some(data_ack), ..Dss::default() }));
            out.push(MptcpOption::Fail { dsn: dsn.0 });
            return;
        }
        match self.mp.signals.front().copied() {
            Some(Signal::AddAddr(add)) => {
                self.mp.signals.pop_front();
                let option = MptcpOption::AddAddr(add);
                let echo = matches!(add.auth, AddAddrAuth::Echo);
                if option.wire_len() <= room {
                    out.push(option);
                    *(if echo { &mut env.counters.echo_add_tx } else { &mut env.counters.add_addr_tx }) += 1;
                    return;
                }
                // IPv6 with port beside timestamps: no room, as in Linux.
                *(if echo {
                    &mut env.counters.echo_add_tx_drop
                } else {
                    &mut env.counters.add_addr_tx_drop
                }) += 1;
            }
            Some(Signal::RemoveAddr(ids)) => {
                let option = MptcpOption::RemoveAddr(ids);
                if option.wire_len() + 12 <= room {
                    self.mp.signals.pop_front();
                    env.counters.rm_addr_tx += ids.as_slice().len() as u64;
                    out.push(MptcpOption::Dss(Dss { data_ack: Some(data_ack), ..Dss::default() }));
                    out.push(option);
                    return;
                }
                self.mp.signals.pop_front();
                env.counters.rm_addr_tx_drop += 1;
            }
            Some(Signal::Prio { backup }) => {
                self.mp.signals.pop_front();
                env.counters.mp_prio_tx += 1;
                out.push(MptcpOption::Dss(Dss { data_ack: Some(data_ack), ..Dss::default() }));
                out.push(MptcpOption::Prio(polytcp_wire::mptcp::Prio { backup, address_id: None }));
                return;
            }
            None => {}
        }
        let bare = Dss { data_ack: Some(data_ack), ..Dss::default() };
        let with_fin = fin_pending.then(|| self.fin_option(data_ack)).filter(|dss| {
            // Beside timestamps it leaves no room for SACK, without which the peer learns of its losses by timeouts
            // only. DATA_FIN can wait until it has mended them.
            !reports || MptcpOption::Dss(*dss).wire_len() + SACK_BYTES_MIN <= room
        });
        out.push(MptcpOption::Dss(with_fin.unwrap_or(bare)));
    }

    pub(super) fn data_options(&mut self, mapping: &Mapping, out: &mut MptcpOptions) {
        if let (Confirmation::CapableClient, Some(keys), Ssn(1)) =
            (self.mp.confirmation, self.data.keys, mapping.ssn)
            // Its mapping is implicit: IDSN + 1.
            && mapping.dsn == keys.local.idsn() + 1
        {
            let form = CapableForm::Data {
                sender_key: keys.local.to_wire(),
                receiver_key: keys.remote.to_wire(),
                data_len: mapping.len,
                checksum: mapping.checksum,
            };
            out.push(capable(form, self.data.asked()));
            return;
        }
        out.push(MptcpOption::Dss(Dss {
            data_fin: mapping.fin,
            data_ack: Some(self.data.data_ack(self.mp.announced)),
            mapping: Some(mapping.to_wire()),
        }));
    }
}
