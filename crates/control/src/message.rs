//! A message of the `mptcp_pm` family without its netlink header, and the family's numbers
//! (`include/uapi/linux/mptcp_pm.h`).

use crate::error::Malformed;

/// The family's name.
pub const FAMILY: &str = "mptcp_pm";
/// The multicast group of its events.
pub const EVENTS_GROUP: &str = "mptcp_pm_events";
/// The version that Linux speaks.
pub const VERSION: u8 = 1;

/// Octets of the generic-netlink header: command, version, two reserved.
const HEADER_LEN: usize = 4;

/// A generic-netlink message: a command number and attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The command, or for an event its number.
    pub command: u8,
    /// Whether one object is meant or the list of all.
    pub mode: Mode,
    /// The attributes.
    pub body: Vec<u8>,
}

/// Whether a message asks for one thing or for a list (`NLM_F_DUMP`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// One request, one answer.
    Do,
    /// One request, many answers.
    Dump,
}

impl Message {
    /// Appends header and attributes to `out`.
    pub fn write(&self, version: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.command, version, 0, 0]);
        out.extend_from_slice(&self.body);
    }

    /// Reads the payload of a netlink message.
    pub fn read(payload: &[u8], mode: Mode) -> Result<Self, Malformed> {
        let body = payload.get(HEADER_LEN..).ok_or(Malformed::Length)?;
        Ok(Self { command: payload[0], mode, body: body.to_vec() })
    }
}

/// Command numbers.
pub(crate) mod commands {
    pub(crate) const ADD_ADDR: u8 = 1;
    pub(crate) const DEL_ADDR: u8 = 2;
    pub(crate) const GET_ADDR: u8 = 3;
    pub(crate) const FLUSH_ADDRS: u8 = 4;
    pub(crate) const SET_LIMITS: u8 = 5;
    pub(crate) const GET_LIMITS: u8 = 6;
    pub(crate) const SET_FLAGS: u8 = 7;
    pub(crate) const ANNOUNCE: u8 = 8;
    pub(crate) const REMOVE: u8 = 9;
    pub(crate) const SUBFLOW_CREATE: u8 = 10;
    pub(crate) const SUBFLOW_DESTROY: u8 = 11;
}

/// Attributes of commands and replies.
pub(crate) mod attributes {
    pub(crate) const ADDR: u16 = 1;
    pub(crate) const RCV_ADD_ADDRS: u16 = 2;
    pub(crate) const SUBFLOWS: u16 = 3;
    pub(crate) const TOKEN: u16 = 4;
    pub(crate) const LOC_ID: u16 = 5;
    pub(crate) const ADDR_REMOTE: u16 = 6;
}
