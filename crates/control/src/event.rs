//! Events to messages and back.

use std::net::SocketAddr;

use polytcp_proto::pm::command::{
    AddressId, ConnectionEvent, ConnectionToken, InitialAddress, PmEvent, ResetReason, Side, SubflowEvent,
};

use crate::attribute::{Attributes, Writer, required};
use crate::endpoint::family;
use crate::error::Malformed;
use crate::message::{Message, Mode};

const CREATED: u8 = 1;
const ESTABLISHED: u8 = 2;
const CLOSED: u8 = 3;
const ANNOUNCED: u8 = 6;
const REMOVED: u8 = 7;
const SUB_ESTABLISHED: u8 = 10;
const SUB_CLOSED: u8 = 11;
const SUB_PRIORITY: u8 = 13;
const LISTENER_CREATED: u8 = 15;
const LISTENER_CLOSED: u8 = 16;

const TOKEN: u16 = 1;
const FAMILY: u16 = 2;
const LOC_ID: u16 = 3;
const REM_ID: u16 = 4;
const SADDR4: u16 = 5;
const SADDR6: u16 = 6;
const DADDR4: u16 = 7;
const DADDR6: u16 = 8;
const SPORT: u16 = 9;
const DPORT: u16 = 10;
const BACKUP: u16 = 11;
const ERROR: u16 = 12;
const FLAGS: u16 = 13;
const IF_IDX: u16 = 15;
const RESET_REASON: u16 = 16;
const RESET_FLAGS: u16 = 17;
const SERVER_SIDE: u16 = 18;

const FLAG_DENY_JOIN_ID0: u16 = 1;
const FLAG_SERVER_SIDE: u16 = 2;

/// The message of an event, with the attributes that Linux gives it.
pub fn encode(event: &PmEvent) -> Message {
    let mut out = Writer::default();
    let command = match event {
        PmEvent::Created(connection) => {
            write_connection(connection, &mut out);
            CREATED
        }
        PmEvent::Established(connection) => {
            write_connection(connection, &mut out);
            ESTABLISHED
        }
        PmEvent::Closed { token } => {
            out.put_u32(TOKEN, token.0);
            CLOSED
        }
        PmEvent::Announced { token, remote_id, remote } => {
            out.put_u32(TOKEN, token.0).put_u8(REM_ID, remote_id.0).put_be16(DPORT, remote.port());
            out.put_ip(DADDR4, DADDR6, remote.ip());
            ANNOUNCED
        }
        PmEvent::Removed { token, remote_id } => {
            out.put_u32(TOKEN, token.0).put_u8(REM_ID, remote_id.0);
            REMOVED
        }
        PmEvent::SubEstablished(subflow) => {
            write_subflow(subflow, &mut out);
            SUB_ESTABLISHED
        }
        PmEvent::SubClosed { subflow, reset } => {
            write_subflow(subflow, &mut out);
            if let Some(ResetReason { reason, flags }) = reset {
                out.put_u32(RESET_REASON, *reason).put_u32(RESET_FLAGS, *flags);
            }
            SUB_CLOSED
        }
        PmEvent::SubPriority(subflow) => {
            write_subflow(subflow, &mut out);
            SUB_PRIORITY
        }
        PmEvent::ListenerCreated { local } => {
            write_listener(*local, &mut out);
            LISTENER_CREATED
        }
        PmEvent::ListenerClosed { local } => {
            write_listener(*local, &mut out);
            LISTENER_CLOSED
        }
    };
    Message { command, mode: Mode::Do, body: out.into_bytes() }
}

fn write_connection(connection: &ConnectionEvent, out: &mut Writer) {
    let ConnectionEvent { token, local, remote, local_id, remote_id, side, initial_address } = *connection;
    out.put_u32(TOKEN, token.0);
    let mut flags = 0;
    if side == Side::Server {
        out.put_u8(SERVER_SIDE, 1);
        flags |= FLAG_SERVER_SIDE;
    }
    if initial_address == InitialAddress::DenyJoin {
        flags |= FLAG_DENY_JOIN_ID0;
    }
    if flags != 0 {
        out.put_u16(FLAGS, flags);
    }
    write_ends(local, remote, out);
    out.put_u8(LOC_ID, local_id.0).put_u8(REM_ID, remote_id.0);
}

fn write_subflow(subflow: &SubflowEvent, out: &mut Writer) {
    let SubflowEvent { token, local, remote, local_id, remote_id, backup, interface, error } = *subflow;
    out.put_u32(TOKEN, token.0);
    write_ends(local, remote, out);
    out.put_u8(LOC_ID, local_id.0).put_u8(REM_ID, remote_id.0).put_u8(BACKUP, backup.into());
    if let Some(index) = interface {
        out.put(IF_IDX, &index.to_ne_bytes());
    }
    if let Some(error) = error {
        out.put_u8(ERROR, error);
    }
}

fn write_ends(local: SocketAddr, remote: SocketAddr, out: &mut Writer) {
    out.put_u16(FAMILY, family(local.ip()));
    out.put_ip(SADDR4, SADDR6, local.ip()).put_ip(DADDR4, DADDR6, remote.ip());
    out.put_be16(SPORT, local.port()).put_be16(DPORT, remote.port());
}

fn write_listener(local: SocketAddr, out: &mut Writer) {
    out.put_u16(FAMILY, family(local.ip())).put_be16(SPORT, local.port());
    out.put_ip(SADDR4, SADDR6, local.ip());
}

/// The event of a message; `None` for an event number that this version does not know.
///
/// # Errors
/// When a known event lacks an attribute or has one of the wrong size.
pub fn decode(message: &Message) -> Result<Option<PmEvent>, Malformed> {
    let body = Body(Attributes::parse(&message.body)?);
    Ok(Some(match message.command {
        CREATED => PmEvent::Created(body.connection()?),
        ESTABLISHED => PmEvent::Established(body.connection()?),
        CLOSED => PmEvent::Closed { token: body.token()? },
        ANNOUNCED => PmEvent::Announced {
            token: body.token()?,
            remote_id: body.id(REM_ID)?,
            remote: body.end(DADDR4, DADDR6, DPORT)?,
        },
        REMOVED => PmEvent::Removed { token: body.token()?, remote_id: body.id(REM_ID)? },
        SUB_ESTABLISHED => PmEvent::SubEstablished(body.subflow()?),
        SUB_CLOSED => PmEvent::SubClosed { subflow: body.subflow()?, reset: body.reset()? },
        SUB_PRIORITY => PmEvent::SubPriority(body.subflow()?),
        LISTENER_CREATED => PmEvent::ListenerCreated { local: body.end(SADDR4, SADDR6, SPORT)? },
        LISTENER_CLOSED => PmEvent::ListenerClosed { local: body.end(SADDR4, SADDR6, SPORT)? },
        _ => return Ok(None),
    }))
}

/// The attributes of an event.
struct Body<'a>(Attributes<'a>);

impl Body<'_> {
    fn token(&self) -> Result<ConnectionToken, Malformed> {
        required(TOKEN, self.0.u32(TOKEN)?).map(ConnectionToken)
    }

    fn id(&self, kind: u16) -> Result<AddressId, Malformed> {
        required(kind, self.0.u8(kind)?).map(AddressId)
    }

    fn end(&self, kind4: u16, kind6: u16, port: u16) -> Result<SocketAddr, Malformed> {
        let address = required(kind4, self.0.ip(kind4, kind6)?)?;
        Ok(SocketAddr::new(address, required(port, self.0.be16(port)?)?))
    }

    fn connection(&self) -> Result<ConnectionEvent, Malformed> {
        // Linux before 6.18 has only the attribute, a later one may have only the flag.
        let flags = self.0.u16(FLAGS)?.unwrap_or(0);
        let server = flags & FLAG_SERVER_SIDE != 0 || self.0.u8(SERVER_SIDE)?.unwrap_or(0) != 0;
        let deny = flags & FLAG_DENY_JOIN_ID0 != 0;
        Ok(ConnectionEvent {
            token: self.token()?,
            local: self.end(SADDR4, SADDR6, SPORT)?,
            remote: self.end(DADDR4, DADDR6, DPORT)?,
            local_id: self.id(LOC_ID)?,
            remote_id: self.id(REM_ID)?,
            side: if server { Side::Server } else { Side::Client },
            initial_address: if deny { InitialAddress::DenyJoin } else { InitialAddress::Joinable },
        })
    }

    fn subflow(&self) -> Result<SubflowEvent, Malformed> {
        Ok(SubflowEvent {
            token: self.token()?,
            local: self.end(SADDR4, SADDR6, SPORT)?,
            remote: self.end(DADDR4, DADDR6, DPORT)?,
            local_id: self.id(LOC_ID)?,
            remote_id: self.id(REM_ID)?,
            backup: self.0.u8(BACKUP)?.unwrap_or(0) != 0,
            interface: self.0.i32(IF_IDX)?,
            error: self.0.u8(ERROR)?,
        })
    }

    fn reset(&self) -> Result<Option<ResetReason>, Malformed> {
        let Some(reason) = self.0.u32(RESET_REASON)? else { return Ok(None) };
        Ok(Some(ResetReason { reason, flags: self.0.u32(RESET_FLAGS)?.unwrap_or(0) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_survives_its_message() {
        let token = ConnectionToken(0x156d_9ca3);
        let connection = ConnectionEvent {
            token,
            local: "10.77.1.1:5001".parse().expect("an address"),
            remote: "10.77.1.2:60160".parse().expect("an address"),
            local_id: AddressId(0),
            remote_id: AddressId(0),
            side: Side::Server,
            initial_address: InitialAddress::DenyJoin,
        };
        let subflow = SubflowEvent {
            token,
            local: "[fd00::1]:1".parse().expect("an address"),
            remote: "[fd00::2]:2".parse().expect("an address"),
            local_id: AddressId(1),
            remote_id: AddressId(2),
            backup: true,
            interface: Some(3),
            error: Some(104),
        };
        let local = subflow.local;
        let remote = connection.remote;
        let remote_id = AddressId(9);
        let client =
            ConnectionEvent { side: Side::Client, initial_address: InitialAddress::Joinable, ..connection };
        for event in [
            PmEvent::Created(connection),
            PmEvent::Established(client),
            PmEvent::Closed { token },
            PmEvent::Announced { token, remote_id, remote },
            PmEvent::Removed { token, remote_id },
            PmEvent::SubEstablished(SubflowEvent { interface: None, error: None, ..subflow }),
            PmEvent::SubClosed { subflow, reset: Some(ResetReason { reason: 6, flags: 0 }) },
            PmEvent::SubClosed { subflow, reset: None },
            PmEvent::SubPriority(subflow),
            PmEvent::ListenerCreated { local },
            PmEvent::ListenerClosed { local },
        ] {
            assert_eq!(decode(&encode(&event)), Ok(Some(event)));
        }
    }

    #[test]
    fn an_unknown_event_is_passed_over() {
        let message = Message { command: 200, mode: Mode::Do, body: Vec::new() };
        assert_eq!(decode(&message), Ok(None));
    }
}
