//! A netlink socket of the calling thread's network namespace: requests, acknowledgements, dumps and
//! extended errors. It serves generic netlink here and routing netlink in the lab.

use std::borrow::Cow;
use std::time::Duration;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP,
    NetlinkBuffer, NetlinkHeader,
};
use netlink_sys::{Socket, SocketAddr};
use polytcp_proto::pm::command::PmError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::attribute::Attributes;
use crate::error::{ControlError, Malformed};

/// The flag of a request for a list.
pub use netlink_packet_core::NLM_F_DUMP as DUMP;

/// The protocol number of generic netlink.
pub const GENERIC: isize = netlink_sys::protocols::NETLINK_GENERIC;
/// The protocol number of routing netlink.
pub const ROUTE: isize = netlink_sys::protocols::NETLINK_ROUTE;

const HEADER_LEN: usize = 16;
const EXT_ACK_MSG: u16 = 1;
/// The kernel answers before `send` returns, but for module loading; this guards against a hang.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// One message that was received: its type and what follows its header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// `nlmsg_type`: for generic netlink the family's id.
    pub kind: u16,
    /// What follows the header.
    pub payload: Vec<u8>,
}

/// A socket to the kernel.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace, and stays in that one.
    pub fn open(protocol: isize) -> Result<Self, ControlError> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends one request and collects its answers, up to the acknowledgement or the end of the dump.
    ///
    /// `flags` are those beside `NLM_F_REQUEST` and `NLM_F_ACK`.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with the kernel's error number and extended text.
    pub fn request(&mut self, kind: u16, flags: u16, payload: &[u8]) -> Result<Vec<Frame>, ControlError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.length = (HEADER_LEN + payload.len()) as u32;
        header.message_type = kind;
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut bytes = vec![0; HEADER_LEN];
        header.emit(&mut bytes);
        bytes.extend_from_slice(payload);
        self.socket.send(&bytes, 0)?;
        self.answers()
    }

    /// Joins a multicast group.
    pub fn join(&mut self, group: u32) -> Result<(), ControlError> {
        Ok(self.socket.add_membership(group)?)
    }

    /// Asks the kernel for a receive buffer of that size.
    pub fn set_receive_buffer(&mut self, bytes: u32) -> Result<(), ControlError> {
        Ok(self.socket.set_rx_buf_sz(bytes)?)
    }

    /// The messages of the next datagram, or `None` when none comes within `timeout`
    /// (`None` waits without end).
    pub fn receive(&mut self, timeout: Option<Duration>) -> Result<Option<Vec<Frame>>, ControlError> {
        let Some(datagram) = self.datagram(timeout)? else { return Ok(None) };
        let mut frames = Vec::new();
        for message in Messages(&datagram) {
            let message = message?;
            frames.push(Frame { kind: message.kind, payload: message.payload.to_vec() });
        }
        Ok(Some(frames))
    }

    fn answers(&mut self) -> Result<Vec<Frame>, ControlError> {
        let mut frames = Vec::new();
        loop {
            let Some(datagram) = self.datagram(Some(ANSWER_TIMEOUT))? else {
                return Err(ControlError::NoAnswer(ANSWER_TIMEOUT.as_secs()));
            };
            for message in Messages(&datagram) {
                let message = message?;
                if message.sequence != self.sequence {
                    continue; // the rest of an answer that was given up
                }
                match message.kind {
                    NLMSG_NOOP => {}
                    NLMSG_ERROR | NLMSG_DONE => return message.verdict().map(|()| frames),
                    kind => frames.push(Frame { kind, payload: message.payload.to_vec() }),
                }
            }
        }
    }

    fn datagram(&self, timeout: Option<Duration>) -> Result<Option<Vec<u8>>, ControlError> {
        let timeout = timeout.map(|wait| Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        });
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(ControlError::Socket(errno.into())),
        }
        match self.socket.recv_from_full() {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                Err(ControlError::EventsLost)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A message inside a datagram.
struct RawMessage<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl RawMessage<'_> {
    /// What an `NLMSG_ERROR` or an `NLMSG_DONE` says.
    fn verdict(&self) -> Result<(), ControlError> {
        // An error starts with the number; a dump's end may be without.
        let Some(code) = self.payload.first_chunk::<4>() else { return Ok(()) };
        let code = i32::from_ne_bytes(*code);
        if code >= 0 {
            return Ok(());
        }
        let text = self.extended_text().map_or(Cow::Borrowed(""), Cow::Owned);
        Err(ControlError::Refused(PmError { errno: code.saturating_neg(), text }))
    }

    /// The text of the extended acknowledgement, which follows the request that is quoted.
    fn extended_text(&self) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let mut rest = self.payload.get(4..)?;
        if self.kind == NLMSG_ERROR {
            let quoted = match self.flags & NLM_F_CAPPED {
                0 => NetlinkBuffer::new_checked(rest).ok()?.length() as usize,
                _ => HEADER_LEN,
            };
            rest = rest.get(quoted.checked_next_multiple_of(4)?..)?;
        }
        let text = Attributes::parse(rest).ok()?.find(EXT_ACK_MSG)?;
        let text = text.strip_suffix(&[0]).unwrap_or(text);
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// The messages of a datagram, one after another.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<RawMessage<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Ok(buffer) = NetlinkBuffer::new_checked(self.0) else {
            self.0 = &[];
            return Some(Err(Malformed::Length));
        };
        let message = RawMessage {
            kind: buffer.message_type(),
            flags: buffer.flags(),
            sequence: buffer.sequence_number(),
            payload: buffer.payload(),
        };
        let len = (buffer.length() as usize).next_multiple_of(4);
        self.0 = self.0.get(len..).unwrap_or(&[]);
        Some(Ok(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_that_ends_within_a_message_is_an_error_and_ends_the_walk() {
        let mut header = NetlinkHeader::default();
        header.length = 20;
        let mut bytes = vec![0; HEADER_LEN];
        header.emit(&mut bytes);
        let seen: Vec<_> = Messages(&bytes).collect();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].as_ref().err(), Some(&Malformed::Length));
    }

    #[test]
    fn a_refusal_without_text_still_has_its_number() {
        let payload = (-17i32).to_ne_bytes();
        let message = RawMessage { kind: NLMSG_ERROR, flags: NLM_F_ACK_TLVS, sequence: 0, payload: &payload };
        let Err(ControlError::Refused(error)) = message.verdict() else { panic!("a refusal") };
        assert_eq!(error, PmError::new(17, ""));
    }
}
