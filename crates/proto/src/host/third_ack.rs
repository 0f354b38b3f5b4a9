//! The third ACK: a request becomes a connection, or a further subflow of one (RFC 9293 §3.10.7.4; RFC 8684 §3.1).

use polytcp_wire::mptcp::{Capable, CapableFlags, CapableForm, MptcpOption};

use super::passive::{Acked, Arrival, HalfOpen, Purpose};
use super::socket::BufferLimits;
use super::{Event, FlowRef, FourTuple, Host};
use crate::mptcp::capable::understood_capable;
use crate::mptcp::connection::{Connection, Ctx, NewConnection, Role};
use crate::mptcp::hook::Mode;
use crate::mptcp::key::Key;
use crate::tcp::opening::{Agreed, OpeningVerdict};
use crate::tcp::segment::Segment;
use crate::time::Instant;

impl Host {
    /// A segment for a request.
    pub(super) fn handle_half_open_segment(&mut self, now: Instant, tuple: FourTuple, segment: Segment) {
        let Some(half) = self.half_open.get_mut(&tuple) else { return };
        let interface = half.interface;
        match half.opening.handle_segment(now, &segment) {
            OpeningVerdict::Ignore => {
                if half.opening.deadline() <= now {
                    self.half_open_ready.push_back(tuple);
                } else {
                    self.counters.tcp_ack_skipped_syn_recv += u64::from(segment.is_syn());
                }
            }
            OpeningVerdict::Answer(answer) => self.reply(interface, tuple.local(), tuple.remote(), &answer),
            OpeningVerdict::Refused => {
                self.counters.attempt_fails += 1;
                self.counters.embryonic_rsts += 1;
                self.remove_half_open(tuple);
            }
            OpeningVerdict::Crossed => {}
            OpeningVerdict::Agreed(agreed) => self.complete(now, tuple, segment, agreed),
        }
    }

    /// True when the listener of a request waits for data, and `segment` has none.
    fn is_deferred(&mut self, tuple: FourTuple, segment: &Segment, agreed: &Agreed) -> bool {
        let Some(half) = self.half_open.get(&tuple) else { return false };
        let (listener, timeouts) = (half.listener, half.timeouts);
        let defer = self.listener_mut(listener).map_or(0, |listener| listener.defer_accept);
        if timeouts >= defer || segment.end() != agreed.irs + 1 {
            return false;
        }
        self.counters.tcp_defer_accept_drop += 1;
        if let Some(half) = self.half_open.get_mut(&tuple)
            && half.acked.is_none()
        {
            half.acked = Some(Acked { rtt: agreed.rtt });
        }
        true
    }

    /// The third ACK has come: the request becomes what it was for.
    fn complete(&mut self, now: Instant, tuple: FourTuple, segment: Segment, mut agreed: Agreed) {
        let is_join = |half: &HalfOpen| matches!(half.purpose, Purpose::Join(_));
        if !self.half_open.get(&tuple).is_some_and(|half| is_join(half))
            && self.is_deferred(tuple, &segment, &agreed)
        {
            return;
        }
        let Some(half) = self.half_open.get(&tuple) else { return };
        if let Some(acked) = &half.acked {
            agreed.rtt = acked.rtt;
        }
        let agreed = &agreed;
        let arrival = Arrival { interface: half.interface, tuple, listener: half.listener };
        match &half.purpose {
            Purpose::Plain => self.complete_first(now, arrival, segment, agreed, None),
            Purpose::Capable(key) => {
                let key = *key;
                let remote = understood_capable(&segment.options.mptcp).and_then(|c| acked_key(&c, key));
                if remote.is_none() && (segment.seq != agreed.irs + 1 || is_later(&segment)) {
                    // It overtook the third ACK, or that was lost: keys are in what comes first, or once more in
                    // the answer to our next SYN/ACK.
                    return;
                }
                self.complete_first(now, arrival, segment, agreed, Some((key, remote)));
            }
            // Its segments go to the connection.
            Purpose::Made { .. } => {}
            Purpose::Join(join) => {
                let join = *join;
                self.complete_join(now, arrival, segment, agreed, &join);
            }
        }
    }

    pub(super) fn complete_first(
        &mut self,
        now: Instant,
        arrival: Arrival,
        segment: Segment,
        agreed: &Agreed,
        keys: Option<(Key, Option<(Key, CapableFlags)>)>,
    ) {
        let Arrival { interface, tuple, listener: listener_id } = arrival;
        match self.listener_mut(listener_id) {
            None => {
                self.remove_half_open(tuple);
                return;
            }
            Some(listener) if listener.is_full() => {
                self.counters.listen_overflows += 1;
                self.counters.listen_drops += 1;
                // Else the peer repeats; accept may have made room by then.
                if self.config.tcp.abort_on_overflow && self.remove_half_open(tuple).is_some() {
                    self.counters.embryonic_rsts += 1;
                    self.refuse(interface, tuple, &segment);
                }
                return;
            }
            Some(_) => {}
        }
        self.remove_half_open(tuple);
        // Another request may have drawn the same token and been faster: one of them has to do without.
        let taken = keys.is_some_and(|(local, _)| self.tokens.contains_key(&local.token()));
        self.counters.mp_fallback_token_init += u64::from(taken);
        let keys = keys.filter(|_| !taken);
        let remote = keys.and_then(|(_, remote)| remote);
        if keys.is_some() && remote.is_none() {
            self.counters.mp_capable_fallback_ack += 1;
        }
        let local_key = keys.map(|(local, _)| local).filter(|_| remote.is_some());
        let buffers =
            self.listener_mut(listener_id).map_or(BufferLimits::default(), |listener| listener.buffers);
        let segment_bytes_max = self.segment_bytes_max(interface);
        let new = NewConnection {
            role: Role::Server,
            mode: if remote.is_some() { Mode::Mptcp } else { Mode::Plain },
            local_key,
            congestion_control: &self.config.tcp.congestion_control,
            local: tuple.local(),
            remote: tuple.remote(),
        };
        let ctx = Ctx { now, config: &self.config, counters: &mut self.counters };
        let mut connection = Connection::new(&ctx, &new);
        connection.set_buffers(buffers);
        let id = self.insert_connection(connection);
        if let Some(key) = local_key {
            self.tokens.insert(key.token(), id);
        }
        self.counters.passive_opens += 1;
        let Some((connection, mut ctx)) = self.split(now, id) else { return };
        let subflow = connection.accept_first(&mut ctx, interface, agreed, remote, segment_bytes_max);
        connection.handle_segment(&mut ctx, subflow, segment);
        self.flows.insert(tuple, FlowRef::Subflow { connection: id, subflow });
        self.keep_to_mtu(now, id, subflow);
        if let Some(listener) = self.listener_mut(listener_id) {
            listener.queue.push_back(id);
            self.events.push_back(Event::Incoming(listener_id));
        }
        self.touch(now, id);
    }
}

/// A segment of a peer that takes the connection for MPTCP, on a path that lets its options pass.
///
/// Deviation: RFC 8684 §3.1 falls back when MP_CAPABLE is missing here, and so does Linux. A lost or late third ACK
/// would cost the connection its MPTCP; so it costs a repetition of our SYN/ACK.
fn is_later(segment: &Segment) -> bool {
    segment.options.mptcp.iter().any(|option| matches!(option, MptcpOption::Dss(_) | MptcpOption::AddAddr(_)))
}

/// The peer's key and flags from an MP_CAPABLE that names ours.
pub(super) fn acked_key(capable: &Capable, local: Key) -> Option<(Key, CapableFlags)> {
    match capable.form {
        CapableForm::Ack { sender_key, receiver_key }
        | CapableForm::Data { sender_key, receiver_key, .. } => {
            local.verify(receiver_key).then(|| (Key::from_wire(sender_key), capable.flags))
        }
        CapableForm::Syn | CapableForm::SynAck { .. } => None,
    }
}
