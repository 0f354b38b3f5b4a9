//! Replies to messages and back. An acknowledgement has no message of the family: it is a netlink header.

use polytcp_proto::pm::command::{Endpoint, PmReply};

use crate::attribute::{Attributes, Writer, required};
use crate::endpoint::PartialEndpoint;
use crate::error::Malformed;
use crate::message::{Message, Mode, attributes, commands};

/// The messages of a reply: none for `Done`, one per endpoint of a list.
pub fn encode(reply: &PmReply) -> Vec<Message> {
    match reply {
        PmReply::Done => Vec::new(),
        PmReply::Endpoint(endpoint) => vec![encode_endpoint(endpoint, Mode::Do)],
        PmReply::Endpoints(list) => list.iter().map(|e| encode_endpoint(e, Mode::Dump)).collect(),
        PmReply::Limits { subflows, add_addr_accepted } => {
            let mut out = Writer::default();
            out.put_u32(attributes::RCV_ADD_ADDRS, *add_addr_accepted);
            out.put_u32(attributes::SUBFLOWS, *subflows);
            vec![Message { command: commands::GET_LIMITS, mode: Mode::Do, body: out.into_bytes() }]
        }
    }
}

fn encode_endpoint(endpoint: &Endpoint, mode: Mode) -> Message {
    let mut out = Writer::default();
    PartialEndpoint::from(*endpoint).write(attributes::ADDR, &mut out);
    Message { command: commands::GET_ADDR, mode, body: out.into_bytes() }
}

/// The reply that the messages make, which answered a request of number `command` and `mode`.
///
/// # Errors
/// When a message lacks what such a reply must have.
pub fn decode(command: u8, mode: Mode, messages: &[Message]) -> Result<PmReply, Malformed> {
    match (command, mode, messages) {
        (commands::GET_ADDR, Mode::Dump, list) => {
            list.iter().map(decode_endpoint).collect::<Result<_, _>>().map(PmReply::Endpoints)
        }
        (commands::GET_ADDR, Mode::Do, [one, ..]) => decode_endpoint(one).map(PmReply::Endpoint),
        (commands::GET_LIMITS, _, [one, ..]) => {
            let body = Attributes::parse(&one.body)?;
            let limit = |kind| required(kind, body.u32(kind)?);
            Ok(PmReply::Limits {
                subflows: limit(attributes::SUBFLOWS)?,
                add_addr_accepted: limit(attributes::RCV_ADD_ADDRS)?,
            })
        }
        (commands::GET_ADDR | commands::GET_LIMITS, _, []) => Err(Malformed::Command(command)),
        _ => Ok(PmReply::Done),
    }
}

fn decode_endpoint(message: &Message) -> Result<Endpoint, Malformed> {
    let body = Attributes::parse(&message.body)?;
    let nest = required(attributes::ADDR, body.nest(attributes::ADDR)?)?;
    required(attributes::ADDR, PartialEndpoint::read(&nest)?.complete())
}

#[cfg(test)]
mod tests {
    use polytcp_proto::pm::command::EndpointFlags;

    use super::*;

    #[test]
    fn every_reply_survives_its_messages() {
        let endpoint = Endpoint::new("10.0.0.1".parse().expect("an address"), EndpointFlags::SUBFLOW);
        for (command, mode, reply) in [
            (commands::ADD_ADDR, Mode::Do, PmReply::Done),
            (commands::GET_ADDR, Mode::Do, PmReply::Endpoint(endpoint)),
            (commands::GET_ADDR, Mode::Dump, PmReply::Endpoints(vec![endpoint; 3])),
            (commands::GET_ADDR, Mode::Dump, PmReply::Endpoints(Vec::new())),
            (commands::GET_LIMITS, Mode::Do, PmReply::Limits { subflows: 2, add_addr_accepted: 0 }),
        ] {
            assert_eq!(decode(command, mode, &encode(&reply)), Ok(reply));
        }
    }
}
