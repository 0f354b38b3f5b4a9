//! Commands to messages and back.

use polytcp_proto::pm::command::{
    AddressId, ConnectionToken, Endpoint, EndpointFlags, FlagsTarget, PmCommand,
};

use crate::attribute::{Attributes, Writer, required};
use crate::endpoint::PartialEndpoint;
use crate::error::Malformed;
use crate::message::{Message, Mode, attributes, commands};

/// The message of a command.
pub fn encode(command: &PmCommand) -> Message {
    let mut out = Writer::default();
    let number = write(command, &mut out);
    let mode = match command {
        PmCommand::DumpAddr { .. } => Mode::Dump,
        _ => Mode::Do,
    };
    Message { command: number, mode, body: out.into_bytes() }
}

fn write(command: &PmCommand, out: &mut Writer) -> u8 {
    match *command {
        PmCommand::AddAddr(endpoint) => {
            PartialEndpoint::from(endpoint).write(attributes::ADDR, out);
            commands::ADD_ADDR
        }
        PmCommand::DelAddr { id, address } => {
            let nest = PartialEndpoint { id: Some(id), address, ..Default::default() };
            nest.write(attributes::ADDR, out);
            commands::DEL_ADDR
        }
        PmCommand::GetAddr { id, token } => {
            PartialEndpoint { id: Some(id), ..Default::default() }.write(attributes::ADDR, out);
            put_token(token, out);
            commands::GET_ADDR
        }
        PmCommand::DumpAddr { token } => {
            put_token(token, out);
            commands::GET_ADDR
        }
        PmCommand::FlushAddrs => commands::FLUSH_ADDRS,
        PmCommand::SetLimits { subflows, add_addr_accepted } => {
            if let Some(limit) = add_addr_accepted {
                out.put_u32(attributes::RCV_ADD_ADDRS, limit);
            }
            if let Some(limit) = subflows {
                out.put_u32(attributes::SUBFLOWS, limit);
            }
            commands::SET_LIMITS
        }
        PmCommand::GetLimits => commands::GET_LIMITS,
        PmCommand::SetFlags { target, flags } => {
            write_set_flags(target, flags, out);
            commands::SET_FLAGS
        }
        PmCommand::Announce { token, local } => {
            PartialEndpoint::from(local).write(attributes::ADDR, out);
            put_token(Some(token), out);
            commands::ANNOUNCE
        }
        PmCommand::Remove { token, id } => {
            put_token(Some(token), out);
            out.put_u8(attributes::LOC_ID, id.0);
            commands::REMOVE
        }
        PmCommand::SubflowCreate { token, local, remote } => {
            PartialEndpoint::from(local).write(attributes::ADDR, out);
            put_token(Some(token), out);
            PartialEndpoint::from(remote).write(attributes::ADDR_REMOTE, out);
            commands::SUBFLOW_CREATE
        }
        PmCommand::SubflowDestroy { token, local, remote } => {
            PartialEndpoint::from(local).write(attributes::ADDR, out);
            put_token(Some(token), out);
            PartialEndpoint::from(remote).write(attributes::ADDR_REMOTE, out);
            commands::SUBFLOW_DESTROY
        }
    }
}

fn write_set_flags(target: FlagsTarget, flags: EndpointFlags, out: &mut Writer) {
    let flags = Some(flags);
    match target {
        FlagsTarget::Id(id) => {
            PartialEndpoint { id: Some(id), flags, ..Default::default() }.write(attributes::ADDR, out);
        }
        FlagsTarget::Address { address, port } => {
            PartialEndpoint { address: Some(address), port, flags, ..Default::default() }
                .write(attributes::ADDR, out);
        }
        FlagsTarget::Subflow { token, local, remote } => {
            PartialEndpoint { flags, ..local.into() }.write(attributes::ADDR, out);
            put_token(Some(token), out);
            PartialEndpoint::from(remote).write(attributes::ADDR_REMOTE, out);
        }
    }
}

fn put_token(token: Option<ConnectionToken>, out: &mut Writer) {
    if let Some(token) = token {
        out.put_u32(attributes::TOKEN, token.0);
    }
}

/// The command of a message.
///
/// # Errors
/// For an unknown number, and for attributes that are missing or of the wrong size.
pub fn decode(message: &Message) -> Result<PmCommand, Malformed> {
    let body = Body(Attributes::parse(&message.body)?);
    Ok(match (message.command, message.mode) {
        (commands::ADD_ADDR, _) => PmCommand::AddAddr(body.local()?),
        (commands::DEL_ADDR, _) => {
            let nest = body.nest(attributes::ADDR)?;
            PmCommand::DelAddr { id: body.address_id()?, address: nest.address }
        }
        (commands::GET_ADDR, Mode::Do) => PmCommand::GetAddr { id: body.address_id()?, token: body.token()? },
        (commands::GET_ADDR, Mode::Dump) => PmCommand::DumpAddr { token: body.token()? },
        (commands::FLUSH_ADDRS, _) => PmCommand::FlushAddrs,
        (commands::SET_LIMITS, _) => PmCommand::SetLimits {
            subflows: body.0.u32(attributes::SUBFLOWS)?,
            add_addr_accepted: body.0.u32(attributes::RCV_ADD_ADDRS)?,
        },
        (commands::GET_LIMITS, _) => PmCommand::GetLimits,
        (commands::SET_FLAGS, _) => body.set_flags()?,
        (commands::ANNOUNCE, _) => {
            PmCommand::Announce { token: body.required_token()?, local: body.local()? }
        }
        (commands::REMOVE, _) => {
            let id = required(attributes::LOC_ID, body.0.u8(attributes::LOC_ID)?)?;
            PmCommand::Remove { token: body.required_token()?, id: AddressId(id) }
        }
        (commands::SUBFLOW_CREATE, _) => PmCommand::SubflowCreate {
            token: body.required_token()?,
            local: body.local()?,
            remote: body.end(attributes::ADDR_REMOTE)?,
        },
        (commands::SUBFLOW_DESTROY, _) => PmCommand::SubflowDestroy {
            token: body.required_token()?,
            local: body.end(attributes::ADDR)?,
            remote: body.end(attributes::ADDR_REMOTE)?,
        },
        (other, _) => return Err(Malformed::Command(other)),
    })
}

/// The attributes of a command.
struct Body<'a>(Attributes<'a>);

impl Body<'_> {
    fn nest(&self, kind: u16) -> Result<PartialEndpoint, Malformed> {
        PartialEndpoint::read(&required(kind, self.0.nest(kind)?)?)
    }

    fn local(&self) -> Result<Endpoint, Malformed> {
        required(attributes::ADDR, self.nest(attributes::ADDR)?.complete())
    }

    fn end(&self, kind: u16) -> Result<std::net::SocketAddr, Malformed> {
        required(kind, self.nest(kind)?.socket_addr())
    }

    fn address_id(&self) -> Result<AddressId, Malformed> {
        required(attributes::ADDR, self.nest(attributes::ADDR)?.id)
    }

    fn token(&self) -> Result<Option<ConnectionToken>, Malformed> {
        Ok(self.0.u32(attributes::TOKEN)?.map(ConnectionToken))
    }

    fn required_token(&self) -> Result<ConnectionToken, Malformed> {
        required(attributes::TOKEN, self.token()?)
    }

    fn set_flags(&self) -> Result<PmCommand, Malformed> {
        let nest = self.nest(attributes::ADDR)?;
        let target = match (self.token()?, nest.id, nest.address) {
            (Some(token), _, _) => FlagsTarget::Subflow {
                token,
                local: self.end(attributes::ADDR)?,
                remote: self.end(attributes::ADDR_REMOTE)?,
            },
            (None, _, Some(address)) => FlagsTarget::Address { address, port: nest.port },
            (None, Some(id), None) => FlagsTarget::Id(id),
            (None, None, None) => return Err(Malformed::AttributeMissing(attributes::ADDR)),
        };
        Ok(PmCommand::SetFlags { target, flags: nest.flags.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    #[test]
    fn every_command_survives_its_message() {
        let token = ConnectionToken(0xcf14_94a8);
        let id = AddressId(5);
        let local = Endpoint {
            address: "fd00::1".parse().expect("an address"),
            port: NonZeroU16::new(10_100),
            id: Some(id),
            flags: EndpointFlags::SIGNAL | EndpointFlags::BACKUP,
            interface: Some(7),
        };
        let end = "10.0.0.1:5001".parse().expect("an address");
        let remote = "[fd00::9]:80".parse().expect("an address");
        let by_address = FlagsTarget::Address { address: local.address, port: local.port };
        let subflow = FlagsTarget::Subflow { token, local: end, remote };
        let flags = EndpointFlags::BACKUP;
        let set = |target| PmCommand::SetFlags { target, flags };
        for command in [
            PmCommand::AddAddr(local),
            PmCommand::DelAddr { id, address: None },
            PmCommand::DelAddr { id: AddressId(0), address: Some(local.address) },
            PmCommand::GetAddr { id, token: None },
            PmCommand::GetAddr { id, token: Some(token) },
            PmCommand::DumpAddr { token: None },
            PmCommand::DumpAddr { token: Some(token) },
            PmCommand::FlushAddrs,
            PmCommand::SetLimits { subflows: Some(3), add_addr_accepted: None },
            PmCommand::SetLimits { subflows: None, add_addr_accepted: Some(8) },
            PmCommand::GetLimits,
            set(FlagsTarget::Id(id)),
            set(by_address),
            set(subflow),
            PmCommand::Announce { token, local },
            PmCommand::Remove { token, id },
            PmCommand::SubflowCreate { token, local, remote },
            PmCommand::SubflowDestroy { token, local: end, remote },
        ] {
            assert_eq!(decode(&encode(&command)), Ok(command));
        }
    }

    #[test]
    fn no_cut_or_changed_message_panics() {
        let flags = EndpointFlags::SIGNAL;
        let local = Endpoint::new("10.0.0.1".parse().expect("an address"), flags);
        let remote = "[fd00::9]:80".parse().expect("an address");
        let token = ConnectionToken(1);
        let whole = encode(&PmCommand::SubflowCreate { token, local, remote });
        for command in 0..=12 {
            for at in 0..whole.body.len() {
                let cut = Message { command, body: whole.body[..at].to_vec(), ..whole };
                let _ = (decode(&cut), crate::event::decode(&cut));
                let mut changed = Message { command, body: whole.body.clone(), ..whole };
                changed.body[at] ^= 0xff;
                let _ = (decode(&changed), crate::event::decode(&changed));
            }
        }
    }

    #[test]
    fn a_missing_attribute_and_an_unknown_command_are_told_apart() {
        let empty = |command| Message { command, mode: Mode::Do, body: Vec::new() };
        let missing = Malformed::AttributeMissing(attributes::ADDR);
        assert_eq!(decode(&empty(commands::ADD_ADDR)), Err(missing));
        assert_eq!(decode(&empty(99)), Err(Malformed::Command(99)));
    }
}
