//! The text that says what a stack is made of. Its language is told at `pt_stack_new`.

use std::fmt::Display;
use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use polytcp::pm::{AddressId, Endpoint, EndpointFlags};
use polytcp::{Cidr, HostConfig, sysctl};
use polytcp_posix::Compat;

/// How long the end of a stack waits for what was written: what a path that works has not delivered by then is rare, and a
/// peer that keeps its side open should not keep a program from ending.
const LINGER_DEFAULT: Duration = Duration::from_secs(5);

/// IPv6 asks for it (RFC 8200 §5), and a stack has both families.
const MTU_MIN: u16 = 1280;

/// Linux's largest limit.
const LIMIT_MAX: u32 = 8;

/// What a stack is made of.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) tuns: Vec<TunSpec>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) host: HostConfig,
    pub(crate) compat: Compat,
    pub(crate) tcp: AskedForTcp,
    pub(crate) linger: Duration,
}

/// What a program gets that asks for TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AskedForTcp {
    GetsTcp,
    /// As with `mptcpize`.
    GetsMptcp,
}

/// A path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TunSpec {
    pub(crate) device: TunDevice,
    pub(crate) addresses: Vec<Cidr>,
    pub(crate) mtu: Option<u16>,
}

/// Where the device is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TunDevice {
    Named(String),
    /// A descriptor of the process that is attached already.
    Open(i32),
}

impl FromStr for Config {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        settings(text, |setting| config.set(setting))?;
        if config.tuns.is_empty() {
            return Err("no device: add `tun NAME ADDRESS/PREFIX`".to_owned());
        }
        Ok(config)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tuns: Vec::new(),
            endpoints: Vec::new(),
            host: HostConfig::default(),
            compat: Compat::Extended,
            tcp: AskedForTcp::GetsTcp,
            linger: LINGER_DEFAULT,
        }
    }
}

/// Gives each setting of a text to `set`; what it says of one that is wrong is told with its name.
pub(crate) fn settings(text: &str, mut set: impl FnMut(&str) -> Result<(), String>) -> Result<(), String> {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        for setting in line.split(';').map(str::trim).filter(|setting| !setting.is_empty()) {
            set(setting).map_err(|fault| format!("`{setting}`: {fault}"))?;
        }
    }
    Ok(())
}

impl Config {
    /// Takes one setting.
    pub(crate) fn set(&mut self, setting: &str) -> Result<(), String> {
        if let Some((name, value)) = setting.split_once('=') {
            return sysctl::set(&mut self.host, name, value).map_err(|fault| fault.to_string());
        }
        let mut words = setting.split_whitespace();
        let key = words.next().unwrap_or_default();
        match key {
            "tun" => {
                let tun = parse_tun(words)?;
                if self.tuns.iter().any(|other| other.device == tun.device) {
                    return Err("the device is named twice".to_owned());
                }
                self.tuns.push(tun);
                return Ok(());
            }
            "endpoint" => {
                expect(&mut words, "add")?;
                self.endpoints.push(parse_endpoint(&words.collect::<Vec<_>>())?);
                return Ok(());
            }
            "limits" => {
                expect(&mut words, "set")?;
                let mptcp = &mut self.host.mptcp;
                return parse_limits(&words.collect::<Vec<_>>(), |name, value| match name {
                    "subflows" => mptcp.subflows = value,
                    _ => mptcp.add_addr_accepted = value,
                });
            }
            "compat" => {
                self.compat = match words.next() {
                    Some("linux") => Compat::Linux,
                    Some("extended") => Compat::Extended,
                    _ => return Err("expected linux or extended".to_owned()),
                };
            }
            "mptcpize" => self.tcp = AskedForTcp::GetsMptcp,
            "linger" => self.linger = Duration::from_secs(number::<u16>(words.next(), "seconds")?.into()),
            _ => {
                return Err(format!(
                    "`{key}` is none of tun, endpoint, limits, compat, mptcpize, linger and NAME = VALUE"
                ));
            }
        }
        end(words)
    }
}

/// `[subflows N] [add_addr_accepted N]`; each is given to `set` with its name.
pub(crate) fn parse_limits(words: &[&str], mut set: impl FnMut(&str, u32)) -> Result<(), String> {
    for pair in words.chunks(2) {
        let name = match pair[0] {
            // `ip` takes both.
            "subflow" | "subflows" => "subflows",
            "add_addr_accepted" => "add_addr_accepted",
            other => return Err(format!("`{other}` is none of subflows and add_addr_accepted")),
        };
        let value = number(pair.get(1).copied(), name)?;
        if value > LIMIT_MAX {
            return Err(format!("{name} goes from 0 to {LIMIT_MAX}"));
        }
        set(name, value);
    }
    Ok(())
}

/// `NAME|fd:NUMBER ADDRESS/PREFIX... [mtu OCTETS]`.
fn parse_tun(mut words: SplitWhitespace<'_>) -> Result<TunSpec, String> {
    let name = words.next().ok_or("expected a device and its addresses")?;
    let device = match name.strip_prefix("fd:") {
        Some(fd) => TunDevice::Open(number(Some(fd), "descriptor")?),
        None => TunDevice::Named(name.to_owned()),
    };
    let mut spec = TunSpec { device, addresses: Vec::new(), mtu: None };
    while let Some(word) = words.next() {
        if word == "mtu" {
            let mtu = number(words.next(), "mtu")?;
            if mtu < MTU_MIN {
                return Err(format!("an mtu goes from {MTU_MIN} to {}", u16::MAX));
            }
            spec.mtu = Some(mtu);
        } else {
            spec.addresses.push(word.parse().map_err(|fault| format!("`{word}`: {fault}"))?);
        }
    }
    if spec.addresses.is_empty() {
        Err("expected an address with its prefix length".to_owned())
    } else {
        Ok(spec)
    }
}

/// As `ip mptcp endpoint add`: `ADDRESS [port N] [id N] [FLAG...]`.
pub(crate) fn parse_endpoint(words: &[&str]) -> Result<Endpoint, String> {
    let (address, words) = words.split_first().ok_or("expected an address")?;
    let address = address.parse().map_err(|_| format!("`{address}` is not a numeric address"))?;
    let mut endpoint = Endpoint::new(address, EndpointFlags::NONE);
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        match word {
            "port" => endpoint.port = Some(number(words.next(), "port")?),
            "id" => endpoint.id = Some(AddressId(number(words.next(), "id")?)),
            _ => {
                endpoint.flags |= EndpointFlags::from_name(word).ok_or_else(|| {
                    format!("`{word}` is none of port, id, signal, subflow, backup, fullmesh and laminar")
                })?;
            }
        }
    }
    Ok(endpoint)
}

fn expect(words: &mut SplitWhitespace<'_>, word: &str) -> Result<(), String> {
    if words.next() == Some(word) { Ok(()) } else { Err(format!("expected `{word}`")) }
}

fn end(mut words: SplitWhitespace<'_>) -> Result<(), String> {
    words.next().map_or(Ok(()), |word| Err(format!("`{word}` is one word too many")))
}

pub(crate) fn number<T: FromStr<Err: Display>>(word: Option<&str>, what: &str) -> Result<T, String> {
    let word = word.ok_or_else(|| format!("expected a number after `{what}`"))?;
    word.parse().map_err(|fault| format!("{what} `{word}`: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_arrives() {
        let text = "tun poly0 10.0.1.2/24 fd00::2/64 mtu 9000; tun fd:5 10.0.2.2/24  # the second path\n\
                    endpoint add 10.0.2.2 id 3 subflow backup\n\n\
                    endpoint add 10.0.1.2 port 8080 signal; limits set subflows 4 add_addr_accepted 1\n\
                    net.mptcp.enabled = 0; net.mptcp.checksum_enabled=1\n\
                    net.mptcp.allow_join_initial_addr_port = 0; net.ipv4.tcp_congestion_control = bbr\n\
                    compat linux\n mptcpize; linger 12";
        let config: Config = text.parse().expect("all known");
        assert_eq!(config.tuns.len(), 2);
        assert_eq!(config.tuns[0].device, TunDevice::Named("poly0".to_owned()));
        assert_eq!((config.tuns[0].addresses.len(), config.tuns[0].mtu), (2, Some(9000)));
        assert_eq!((&config.tuns[1].device, config.tuns[1].mtu), (&TunDevice::Open(5), None));
        let [first, second] = config.endpoints[..] else { panic!("two endpoints") };
        assert_eq!(first.id, Some(AddressId(3)));
        assert_eq!(first.flags, EndpointFlags::SUBFLOW | EndpointFlags::BACKUP);
        assert_eq!(second.port.map(u16::from), Some(8080));
        let HostConfig { tcp, mptcp, .. } = &config.host;
        assert_eq!((mptcp.subflows, mptcp.add_addr_accepted), (4, 1));
        assert!(!mptcp.enabled && mptcp.checksum_enabled && !mptcp.allow_join_initial_addr_port);
        assert_eq!(tcp.congestion_control, "bbr");
        assert_eq!((config.compat, config.tcp), (Compat::Linux, AskedForTcp::GetsMptcp));
        assert_eq!(config.linger, Duration::from_secs(12));
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line_that_names_the_setting() {
        let cases = [
            ("", "no device"),
            ("tun", "expected a device"),
            ("tun poly0", "expected an address"),
            ("tun poly0 10.0.1.2", "`10.0.1.2`: expected an address with a prefix length"),
            ("tun poly0 10.0.1.2/24 mtu", "expected a number after `mtu`"),
            ("tun poly0 10.0.1.2/24 mtu 576", "from 1280"),
            ("tun fd:x 10.0.1.2/24", "descriptor `x`"),
            ("tun a 10.0.1.2/24; tun a 10.0.2.2/24", "named twice"),
            ("endpoint 10.0.1.2", "expected `add`"),
            ("endpoint add here", "`here` is not a numeric address"),
            ("endpoint add 10.0.1.2 subflows", "`subflows` is none of"),
            ("limits set subflows 9", "0 to 8"),
            ("limits set paths 2", "`paths` is none of"),
            ("compat windows", "linux or extended"),
            ("mptcpize on", "`on` is one word too many"),
            ("linger soon", "seconds `soon`"),
            ("net.mptcp.enabled = yes", "net.mptcp.enabled: `yes` is not 0 or 1"),
            ("net.mptcp.enable = 1", "unknown sysctl `net.mptcp.enable`"),
            ("net.ipv4.tcp_congestion_control = vegas", "cubic"),
            ("turbo", "`turbo` is none of tun"),
        ];
        for (text, expected) in cases {
            let fault = text.parse::<Config>().expect_err(text);
            assert!(fault.contains(expected) && !fault.contains('\n'), "{text}: {fault}");
        }
    }
}
