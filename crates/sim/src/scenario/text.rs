//! Texts within a scenario: addresses, prefixes and the flags of endpoints.

use polytcp_proto::host::Cidr;
use polytcp_proto::pm::command::{Endpoint, EndpointFlags};

/// A text of an address and endpoint flags: `10.0.2.2 subflow backup`.
pub(crate) fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    let mut words = text.split_whitespace();
    let address = words.next().unwrap_or_default();
    let address = address.parse().map_err(|_| format!("`{address}` is not an address"))?;
    Ok(Endpoint::new(address, parse_flags(words)?))
}

/// An address with its prefix, and the flags of the endpoint that it becomes, if any are given.
pub(crate) fn parse_new_address(text: &str) -> Result<(Cidr, Option<EndpointFlags>), String> {
    let mut words = text.split_whitespace();
    let cidr = parse_cidr(words.next().unwrap_or_default())?;
    let flags = parse_flags(words)?;
    Ok((cidr, (!flags.is_empty()).then_some(flags)))
}

pub(super) fn parse_cidr(text: &str) -> Result<Cidr, String> {
    text.parse().map_err(|fault| format!("`{text}`: {fault}"))
}

fn parse_flags<'a>(words: impl Iterator<Item = &'a str>) -> Result<EndpointFlags, String> {
    let mut flags = EndpointFlags::NONE;
    for word in words {
        flags |= EndpointFlags::from_name(word)
            .ok_or_else(|| format!("`{word}` is no flag: signal, subflow, backup, fullmesh or laminar"))?;
    }
    Ok(flags)
}
