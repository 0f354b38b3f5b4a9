//! The hook through which another protocol rides on a TCP flow (what TCP-ULP is in Linux).
//!
//! TCP knows nothing of MPTCP. A flow borrows an [`Extension`] for the length of one call and asks it
//! for options, hands it payload in order, and takes its window. The extension never reaches another
//! flow: what it wants elsewhere it queues, and its owner carries it out after the flow returned.

use bytes::Bytes;
use polytcp_wire::tcp_options::MptcpOptions;

use super::cc::Sibling;
use super::flow::Env;
use super::segment::Segment;
use crate::seq::Ssn;

/// What carries the options that an extension is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Carrier<'a, S> {
    /// A segment with payload (and perhaps FIN) whose run was queued with this tag.
    Data {
        /// The tag of the run.
        tag: &'a S,
        /// Relative sequence number of the segment's first octet.
        ssn: Ssn,
        /// Octets of payload.
        len: u32,
    },
    /// A segment without payload.
    Ack {
        /// It has out-of-order data to report (SACK), in what the extension leaves of the option space.
        reports: bool,
    },
    /// A reset.
    Reset,
}

/// The flow has to be reset, with this MP_TCPRST reason (RFC 8684 §3.6), because of what the peer sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abort {
    /// The reason code.
    pub reason: u8,
}

/// What a flow asks of the protocol above it.
pub trait Extension {
    /// Travels with each run of bytes that is queued for sending, and with every part of it.
    type Sent: Clone + core::fmt::Debug;
    /// Travels with the payload of each segment received, until it is delivered in order.
    type Held: Clone + core::fmt::Debug;

    /// Takes the options of an acceptable segment whose acknowledgement is valid, before the flow
    /// processes anything else of it. `window_bytes` is the scaled window of the segment.
    ///
    /// # Errors
    /// [`Abort`] when the segment violates the protocol above.
    fn handle_options(
        &mut self,
        env: &mut Env<'_>,
        segment: &Segment,
        ssn: Ssn,
        window_bytes: u32,
    ) -> Result<Self::Held, Abort>;

    /// Takes payload of the subflow, in order and once; `ssn` is the relative number of its first octet.
    ///
    /// # Errors
    /// [`Abort`] when the payload cannot belong to the stream.
    fn deliver(
        &mut self,
        env: &mut Env<'_>,
        ssn: Ssn,
        bytes: Bytes,
        buffer_bytes: u32,
        held: &Self::Held,
    ) -> Result<(), Abort>;

    /// The peer's FIN is next in order.
    fn handle_fin(&mut self);

    /// The peer acknowledged everything of the flow below `ssn`.
    fn handle_acked(&mut self, ssn: Ssn);

    /// Octets of window to announce in a field that is shifted by `shift`. The right edge that was
    /// announced never moves back (RFC 9293 §3.8.6.2.1, MUST-34).
    ///
    /// `repeats_ack` tells that the segment acknowledges nothing new of the flow: a Linux peer takes a
    /// smaller window only from one that does, or when it is zero.
    fn window_bytes(&mut self, shift: u8, repeats_ack: bool) -> u32;

    /// Octets that the peer may send on any flow, whichever of them told it so.
    fn shared_window_bytes(&self) -> u32 {
        0
    }

    /// The tag of a segment without payload, which a FIN is.
    fn empty_tag(&self) -> Self::Sent;

    /// Options for a segment that is about to leave; together at most `room` octets.
    fn options(&mut self, env: &mut Env<'_>, carrier: Carrier<'_, Self::Sent>, room: usize) -> MptcpOptions;

    /// The owner holds more data than it has queued, so that the last segment of what is queued is none to be pushed
    /// (RFC 9293 §3.9.1.2).
    fn has_more(&self) -> bool;

    /// A pure acknowledgement has to leave although TCP has no need of one.
    fn wants_ack(&self) -> bool;

    /// The other flows of the connection that may send, for coupled congestion control; empty where there are none,
    /// or where the flow's controller is not coupled.
    fn siblings(&self) -> &[Sibling] {
        &[]
    }

    /// Octets of option space that each data segment of a run with `tag` has to leave free.
    fn reserved_option_bytes(&self, tag: &Self::Sent) -> usize;
}
