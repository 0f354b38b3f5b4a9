//! `ip addr`, `ip mptcp` and `ip tcp_metrics`.

use std::net::IpAddr;

use polytcp::pm::{AddressId, Endpoint, EndpointFlags, FlagsTarget, PmCommand, PmReply};

use super::Outcome;
use crate::config::{number, parse_endpoint, parse_limits};
use crate::packetdrill::wire::DEVICE_NAME;
use crate::stack::Net;

/// What `ip` ends with after an error of its own, and after one of the kernel's.
const WRONG: u8 = 1;
const REFUSED: u8 = 2;

pub(super) fn run(net: &Net, arguments: &[&str]) -> Outcome {
    let options = arguments.iter().take_while(|word| word.starts_with('-')).count();
    let result = match &arguments[options..] {
        ["address" | "addr" | "a", rest @ ..] => address(net, rest),
        ["mptcp", "endpoint" | "endpoints" | "e", rest @ ..] => endpoint(net, rest),
        ["mptcp", "limits" | "limit" | "l", rest @ ..] => limits(net, rest),
        // The stack keeps none but cookies of Fast Open servers, which a script cannot have asked for before.
        ["tcp_metrics" | "tcpmetrics", "flush", ..] => Ok(String::new()),
        _ => return Outcome::Foreign,
    };
    match result {
        Ok(out) => Outcome::told(out),
        Err((code, fault)) => Outcome::refused(code, fault),
    }
}

type Told = Result<String, (u8, String)>;

fn wrong<T>(fault: impl Into<String>) -> Result<T, (u8, String)> {
    Err((WRONG, format!("Error: {}", fault.into())))
}

/// `add|del ADDRESS/PREFIX [dev NAME]`.
fn address(net: &Net, words: &[&str]) -> Told {
    let (verb, cidr) = match *words {
        // packetdrill tells scripts a device's name only where it has made one.
        [verb @ ("add" | "del" | "delete"), cidr, ref device @ ..]
            if matches!(device, [] | ["dev"] | ["dev", _]) =>
        {
            (verb, cidr)
        }
        _ => return wrong("expected `add|del ADDRESS/PREFIX [dev NAME]`"),
    };
    let stack = net.sockets.stack();
    let done = if verb == "add" {
        let Ok(cidr) = cidr.parse() else { return wrong(format!("`{cidr}` is not ADDRESS/PREFIX")) };
        stack.add_address(DEVICE_NAME, cidr)
    } else {
        let text = cidr.split('/').next().unwrap_or_default();
        let Ok(address) = text.parse() else { return wrong(format!("`{text}` is not an address")) };
        stack.remove_address(DEVICE_NAME, address)
    };
    done.map(|()| String::new()).map_err(|error| (REFUSED, error.to_string()))
}

fn command(net: &Net, command: &PmCommand) -> Result<PmReply, (u8, String)> {
    net.sockets.stack().command(command).map_err(|error| (REFUSED, format!("Error: {error}")))
}

fn endpoint(net: &Net, words: &[&str]) -> Told {
    let asked = match *words {
        ["add", ref rest @ ..] => PmCommand::AddAddr(parse_endpoint(&without_device(rest)).or_else(wrong)?),
        ["delete" | "del", "id", id] => PmCommand::DelAddr { id: id_of(id)?, address: None },
        ["delete" | "del", "id", id, address] => {
            PmCommand::DelAddr { id: id_of(id)?, address: Some(address_of(address)?) }
        }
        ["change", ref rest @ ..] => change(rest)?,
        ["flush"] => PmCommand::FlushAddrs,
        ["show", "id", id] => PmCommand::GetAddr { id: id_of(id)?, token: None },
        [] | ["show" | "list"] => PmCommand::DumpAddr { token: None },
        _ => return wrong("expected `add`, `delete`, `change`, `show` or `flush` of endpoints"),
    };
    Ok(match command(net, &asked)? {
        PmReply::Endpoint(endpoint) => line(&endpoint),
        PmReply::Endpoints(endpoints) => endpoints.iter().map(line).collect(),
        PmReply::Done | PmReply::Limits { .. } => String::new(),
    })
}

/// There is one device, whichever number the kernel would know it by.
fn without_device<'a>(words: &[&'a str]) -> Vec<&'a str> {
    match words.iter().position(|word| *word == "dev") {
        Some(at) => [&words[..at], words.get(at + 2..).unwrap_or_default()].concat(),
        None => words.to_vec(),
    }
}

/// `id N|ADDRESS [port N] [no]backup [no]fullmesh`.
fn change(words: &[&str]) -> Result<PmCommand, (u8, String)> {
    let (target, flags) = match *words {
        ["id", id, ref flags @ ..] => (FlagsTarget::Id(id_of(id)?), flags),
        [address, "port", port, ref flags @ ..] => {
            let port = Some(number(Some(port), "port").or_else(wrong)?);
            (FlagsTarget::Address { address: address_of(address)?, port }, flags)
        }
        [address, ref flags @ ..] => {
            (FlagsTarget::Address { address: address_of(address)?, port: None }, flags)
        }
        [] => return wrong("expected `id N` or an address"),
    };
    let mut set = EndpointFlags::NONE;
    for flag in flags {
        match *flag {
            "nobackup" | "nofullmesh" => (),
            "backup" => set |= EndpointFlags::BACKUP,
            "fullmesh" => set |= EndpointFlags::FULLMESH,
            _ => return wrong(format!("`{flag}` is none of backup, nobackup, fullmesh and nofullmesh")),
        }
    }
    Ok(PmCommand::SetFlags { target, flags: set })
}

fn id_of(word: &str) -> Result<AddressId, (u8, String)> {
    number(Some(word), "id").map(AddressId).or_else(wrong)
}

fn address_of(word: &str) -> Result<IpAddr, (u8, String)> {
    word.parse().or_else(|_| wrong(format!("`{word}` is not a numeric address")))
}

/// An endpoint as `ip mptcp endpoint show` prints it.
fn line(endpoint: &Endpoint) -> String {
    let port = endpoint.port.map(|port| format!("port {port} ")).unwrap_or_default();
    let id = endpoint.id.map(|AddressId(id)| format!("id {id} ")).unwrap_or_default();
    let flags: String = endpoint.flags.names().map(|name| format!("{name} ")).collect();
    format!("{} {port}{id}{flags}\n", endpoint.address)
}

fn limits(net: &Net, words: &[&str]) -> Told {
    let asked = match *words {
        ["set", ref rest @ ..] => {
            let (mut subflows, mut add_addr_accepted) = (None, None);
            parse_limits(rest, |name, value| {
                *(if name == "subflows" { &mut subflows } else { &mut add_addr_accepted }) = Some(value);
            })
            .or_else(wrong)?;
            PmCommand::SetLimits { subflows, add_addr_accepted }
        }
        [] | ["show"] => PmCommand::GetLimits,
        _ => return wrong("expected `set` or `show` of limits"),
    };
    Ok(match command(net, &asked)? {
        PmReply::Limits { subflows, add_addr_accepted } => {
            format!("add_addr_accepted {add_addr_accepted} subflows {subflows} \n")
        }
        _ => String::new(),
    })
}
