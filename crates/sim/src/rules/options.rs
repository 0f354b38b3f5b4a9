//! Options that a host sends: what of them follows from keys, nonces and the place in the stream.

use polytcp_wire::mptcp::{AddAddrAuth, Capable, CapableForm, DssDsn, Join, MptcpOption};

use super::flows::{Flow, HostView, Keyed};
use crate::pattern;
use crate::proofs;
use crate::tap::Segment;
use crate::window::Tuple;

/// No stream of a world is longer: a number past it is none of the stream's.
const STREAM_MAX: u64 = 1 << 40;

impl HostView {
    /// What is wrong with the options of a segment that is sent, in a line.
    pub(super) fn check_options(&mut self, tuple: Tuple, segment: &Segment<'_>) -> Option<String> {
        let flow = self.flows.get(&tuple)?;
        let keyed = flow.connection.and_then(|place| self.connections.get_mut(place));
        let Some(keyed) = keyed else {
            let is_join = |option: &MptcpOption| matches!(option, MptcpOption::Join(Join::Syn { .. }));
            let joins = segment.tcp.options.mptcp.iter().any(is_join);
            return joins.then(|| format!("{} joins no connection that its peer has", tuple.0));
        };
        let fault = |what: &str| Some(format!("{}: {what}", tuple.0));
        for option in segment.tcp.options.mptcp.iter() {
            if let MptcpOption::Capable(Capable {
                form:
                    CapableForm::Ack { sender_key, receiver_key }
                    | CapableForm::Data { sender_key, receiver_key, .. },
                ..
            }) = *option
            {
                if keyed.remote.is_some_and(|key| key != receiver_key) {
                    return fault("MP_CAPABLE shows another key than the peer's");
                }
                keyed.local = Some(sender_key);
                keyed.idsn = keyed.idsn.or_else(|| Some(proofs::idsn(sender_key)));
            }
            let keys = keyed.local.zip(keyed.remote).map(|(local, remote)| [local, remote]);
            let nonces = match flow.peer_nonces[..] {
                [theirs] => flow.own_nonce.map(|own| [own, theirs]),
                _ => None,
            };
            let shown = match *option {
                MptcpOption::Join(Join::SynAck { hmac, .. }) => Some(hmac.to_be_bytes().to_vec()),
                MptcpOption::Join(Join::Ack { hmac }) => Some(hmac.to_vec()),
                _ => None,
            };
            if let (Some(shown), Some(keys), Some(nonces)) = (shown, keys, nonces)
                && !proofs::join(keys, nonces).starts_with(&shown)
            {
                return fault("the HMAC of its MP_JOIN is wrong");
            }
            match (*option, keys) {
                (MptcpOption::AddAddr(add), Some(keys)) => {
                    let expected = proofs::add_addr(keys, add.address_id, add.address, add.port);
                    if matches!(add.auth, AddAddrAuth::Hmac(hmac) if hmac != expected) {
                        return fault("the HMAC of its ADD_ADDR is wrong");
                    }
                }
                (MptcpOption::FastClose { receiver_key }, Some([_, remote])) if receiver_key != remote => {
                    return fault("MP_FASTCLOSE shows another key than the peer's");
                }
                (MptcpOption::Dss(dss), _) => {
                    let is_infinite = dss.mapping.is_some_and(|mapping| mapping.len == 0);
                    if dss.data_ack.is_none() && !is_infinite {
                        return fault("a DSS has no DATA_ACK");
                    }
                }
                _ => {}
            }
        }
        check_mapping(flow, keyed, segment).and_then(fault)
    }
}

/// What is wrong with the mapping of a segment.
fn check_mapping(flow: &Flow, keyed: &Keyed, segment: &Segment<'_>) -> Option<&'static str> {
    let (isn, idsn) = flow.isn.zip(keyed.idsn)?;
    let mapping_of = |option: &MptcpOption| match option {
        MptcpOption::Dss(dss) => dss.mapping.map(|mapping| (mapping, dss.data_fin)),
        _ => None,
    };
    let (mapping, fin) = segment.tcp.options.mptcp.iter().find_map(mapping_of)?;
    let DssDsn::Eight(dsn) = mapping.dsn else { return None };
    if mapping.len == 0 {
        return None;
    }
    let data = u32::from(mapping.len) - u32::from(fin);
    let len = segment.payload.len() as u32;
    let into = match data {
        0 => 0,
        _ => segment.tcp.header.seq.wrapping_sub(isn.wrapping_add(flow.on_syn)).wrapping_sub(mapping.ssn),
    };
    if len > 0 && (into >= data || len > data - into) {
        return Some("a segment does not lie within its mapping");
    }
    if let Some(checksum) = mapping.checksum.filter(|_| into == 0 && len == data) {
        let right = proofs::dss_checksum(dsn, mapping.ssn, mapping.len, segment.payload);
        // Both forms of zero mean the same (RFC 1071 §1).
        if checksum != right && !(matches!(checksum, 0 | u16::MAX) && matches!(right, 0 | u16::MAX)) {
            return Some("a DSS checksum is wrong");
        }
    }
    let offset = dsn.wrapping_sub(idsn).wrapping_sub(1);
    if offset > STREAM_MAX {
        return Some("a mapping begins before the stream");
    }
    let offset = offset + keyed.skipped;
    pattern::first_difference(offset + u64::from(into), segment.payload)
        .map(|_| "an octet goes under another number than its own")
}
