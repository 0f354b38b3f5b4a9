//! The client of the kernel's path manager.

use polytcp_proto::pm::command::{PmCommand, PmReply};

use crate::attribute::{Attributes, Writer};
use crate::error::{ControlError, Malformed};
use crate::message::{FAMILY, Message, Mode, VERSION};
use crate::netlink::{DUMP, GENERIC, Netlink};
use crate::{command, reply};

/// Numbers of the `nlctrl` family, by which the ids of the others are found.
mod nlctrl {
    pub(super) const ID: u16 = 16;
    pub(super) const GET_FAMILY: u8 = 3;
    pub(super) const VERSION: u8 = 2;
    pub(super) const FAMILY_ID: u16 = 1;
    pub(super) const FAMILY_NAME: u16 = 2;
    pub(super) const MCAST_GROUPS: u16 = 7;
    pub(super) const GROUP_NAME: u16 = 1;
    pub(super) const GROUP_ID: u16 = 2;
}

/// A connection to the path manager of the network namespace in which it was opened.
pub struct KernelClient {
    netlink: Netlink,
    family: Family,
}

impl KernelClient {
    /// Connects to the kernel, in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`ControlError::NoFamily`] when the kernel has no MPTCP.
    pub fn open() -> Result<Self, ControlError> {
        let mut netlink = Netlink::open(GENERIC)?;
        let family = Family::find(&mut netlink, FAMILY)?;
        Ok(Self { netlink, family })
    }

    /// Has one command carried out. All but questions need `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with the kernel's error number and text.
    pub fn command(&mut self, command: &PmCommand) -> Result<PmReply, ControlError> {
        let message = command::encode(command);
        let messages = self.exchange(&message)?;
        Ok(reply::decode(message.command, message.mode, &messages)?)
    }

    fn exchange(&mut self, message: &Message) -> Result<Vec<Message>, ControlError> {
        let mut payload = Vec::new();
        message.write(VERSION, &mut payload);
        let flags = match message.mode {
            Mode::Do => 0,
            Mode::Dump => DUMP,
        };
        let frames = self.netlink.request(self.family.id, flags, &payload)?;
        let read = frames.iter().map(|frame| Message::read(&frame.payload, message.mode));
        Ok(read.collect::<Result<_, Malformed>>()?)
    }
}

/// A generic-netlink family as this kernel numbers it.
pub(crate) struct Family {
    pub(crate) id: u16,
    groups: Vec<(String, u32)>,
}

impl Family {
    pub(crate) fn find(netlink: &mut Netlink, name: &'static str) -> Result<Self, ControlError> {
        let mut body = Writer::default();
        body.put(nlctrl::FAMILY_NAME, format!("{name}\0").as_bytes());
        let command = nlctrl::GET_FAMILY;
        let request = Message { command, mode: Mode::Do, body: body.into_bytes() };
        let mut payload = Vec::new();
        request.write(nlctrl::VERSION, &mut payload);
        let frames = match netlink.request(nlctrl::ID, 0, &payload) {
            Err(ControlError::Refused(error)) if error.errno == rustix::io::Errno::NOENT.raw_os_error() => {
                return Err(ControlError::NoFamily(name));
            }
            answer => answer?,
        };
        let frame = frames.first().ok_or(ControlError::NoFamily(name))?;
        let answer = Message::read(&frame.payload, Mode::Do)?;
        let attributes = Attributes::parse(&answer.body)?;
        let id = attributes.u16(nlctrl::FAMILY_ID)?.ok_or(ControlError::NoFamily(name))?;
        let mut groups = Vec::new();
        if let Some(list) = attributes.nest(nlctrl::MCAST_GROUPS)? {
            for group in list.values() {
                groups.extend(read_group(group)?);
            }
        }
        Ok(Self { id, groups })
    }

    pub(crate) fn group(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|(group, _)| group == name).map(|(_, id)| *id)
    }
}

fn read_group(nest: &[u8]) -> Result<Option<(String, u32)>, Malformed> {
    let group = Attributes::parse(nest)?;
    let (Some(name), Some(id)) = (group.find(nlctrl::GROUP_NAME), group.u32(nlctrl::GROUP_ID)?) else {
        return Ok(None);
    };
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    Ok(Some((String::from_utf8_lossy(name).into_owned(), id)))
}
