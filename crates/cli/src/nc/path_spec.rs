//! What `--path` says.

use std::net::IpAddr;
use std::str::FromStr;

use polytcp::io::LinkConfig;
use polytcp::{Cidr, EndpointFlags};

use crate::link_spec::{LinkParts, Taken, needed, once, split_part};

/// Linux's `IFNAMSIZ` without the closing NUL.
const NAME_OCTETS_MAX: usize = 15;
/// IPv6 asks for it (RFC 8200 §5).
const MTU_MIN: u16 = 1280;

/// A path, with everything checked that needs no look at the system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PathSpec {
    pub(super) name: String,
    /// The stack's.
    pub(super) address: Cidr,
    /// The kernel's.
    pub(super) host: Option<IpAddr>,
    gateway: Option<IpAddr>,
    pub(super) mtu: Option<u16>,
    link: LinkParts,
    backup: Option<()>,
    signal: Option<()>,
}

impl PathSpec {
    /// What the stack's path manager is told of the address.
    pub(super) fn endpoint_flags(&self) -> EndpointFlags {
        let role = if self.signal.is_some() { EndpointFlags::SIGNAL } else { EndpointFlags::SUBFLOW };
        if self.backup.is_some() { role | EndpointFlags::BACKUP } else { role }
    }

    /// The emulated link, if one is asked for.
    pub(super) fn link(&self) -> Option<LinkConfig> {
        self.link.link()
    }

    fn set(&mut self, part: &str) -> Result<(), String> {
        let (key, value) = split_part(part);
        let Self { name: _, address: _, host, gateway, mtu, link, backup, signal } = self;
        let flag = || match value {
            Some(_) => Err(format!("{key} takes no value")),
            None => Ok(()),
        };
        match key {
            "host" => once(key, host, parse_address(key, needed(key, value)?)?),
            "gw" => once(key, gateway, parse_address(key, needed(key, value)?)?),
            "mtu" => once(key, mtu, parse_mtu(needed(key, value)?)?),
            "backup" => once(key, backup, flag()?),
            "signal" => once(key, signal, flag()?),
            _ => match link.set(key, value)? {
                Taken::Yes => Ok(()),
                Taken::No => Err(format!(
                    "`{key}` is none of host=, gw=, mtu=, rate=, delay=, jitter=, loss=, queue=, backup and signal"
                )),
            },
        }
    }

    /// A neighbour has to be on the path's network.
    fn check_neighbour(&self, key: &str, neighbour: Option<IpAddr>) -> Result<(), String> {
        match neighbour {
            Some(address) if address == self.address.address => {
                Err(format!("{key}={address} is the stack's own address"))
            }
            Some(address) if !self.address.contains(address) => {
                Err(format!("{key}={address} is not in {}", self.address))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl FromStr for PathSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, address) = first
            .split_once('=')
            .ok_or_else(|| "a path begins with NAME=ADDR/PREFIX, as in poly0=10.9.0.2/24".to_owned())?;
        let bad = |c: char| c.is_whitespace() || c.is_control() || "/%:".contains(c);
        if name.is_empty()
            || name.len() > NAME_OCTETS_MAX
            || name.contains(bad)
            || name == "."
            || name == ".."
        {
            return Err(format!(
                "`{name}` cannot name a device: use 1 to {NAME_OCTETS_MAX} letters or digits"
            ));
        }
        let address: Cidr = address.parse().map_err(|error| format!("`{address}`: {error}"))?;
        if address.address.is_unspecified() || address.address.is_multicast() {
            return Err(format!("{} cannot be the address of a host", address.address));
        }
        let mut spec = Self {
            name: name.to_owned(),
            address,
            host: None,
            gateway: None,
            mtu: None,
            link: LinkParts::default(),
            backup: None,
            signal: None,
        };
        parts.try_for_each(|part| spec.set(part))?;
        spec.check_neighbour("host", spec.host)?;
        spec.check_neighbour("gw", spec.gateway)?;
        Ok(spec)
    }
}

fn parse_address(key: &str, text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{key}={text} is not a numeric address"))
}

fn parse_mtu(text: &str) -> Result<u16, String> {
    let mtu = text.parse().ok().filter(|mtu| *mtu >= MTU_MIN);
    mtu.ok_or_else(|| format!("mtu={text} is not {MTU_MIN} to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_everything_is_understood() {
        let text =
            "poly1=10.9.1.2/24,host=10.9.1.1,gw=10.9.1.1,mtu=1400,rate=20mbit,delay=20ms,loss=0.5%,backup";
        let spec: PathSpec = text.parse().expect("well-formed");
        assert_eq!((spec.name.as_str(), spec.mtu), ("poly1", Some(1400)));
        assert_eq!(spec.endpoint_flags(), EndpointFlags::SUBFLOW | EndpointFlags::BACKUP);
        let link = spec.link().expect("a link");
        assert_eq!(link.rate_bits_per_sec.map(|rate| rate.get()), Some(20_000_000));
        assert_eq!(link.loss.parts_per_million(), 5_000);
        let plain: PathSpec = "a=fd00::2/64,signal".parse().expect("well-formed");
        assert_eq!(plain.endpoint_flags(), EndpointFlags::SIGNAL);
        assert!(plain.link().is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("10.9.0.2/24", "NAME="),
            ("a=10.9.0.2", "prefix"),
            ("a=10.9.0.2/33", "prefix"),
            ("a=0.0.0.0/0", "host"),
            ("sixteen-letters-=10.9.0.2/24", "15"),
            ("a=10.9.0.2/24,host=10.8.0.1", "not in"),
            ("a=10.9.0.2/24,gw=10.9.0.2", "own address"),
            ("a=10.9.0.2/24,host=fd00::1", "not in"),
            ("a=10.9.0.2/24,host", "needs a value"),
            ("a=10.9.0.2/24,mtu=1000", "1280"),
            ("a=10.9.0.2/24,rate=20", "unit"),
            ("a=10.9.0.2/24,loss=100%", "below 100%"),
            ("a=10.9.0.2/24,backup=1", "no value"),
            ("a=10.9.0.2/24,backup,backup", "twice"),
            ("a=10.9.0.2/24,speed=1", "none of"),
        ] {
            let error = text.parse::<PathSpec>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
