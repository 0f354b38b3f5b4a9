//! The text of `--so_flags`: what a stack under packetdrill is made of.

use std::net::IpAddr;

use polytcp::Cidr;

use crate::config::{self, Config};

/// packetdrill's default.
const MTU_DEFAULT: u16 = 1500;

/// packetdrill's own prefix lengths, where it names none.
const PREFIX_DEFAULT: [u8; 2] = [16, 48];

/// What a stack under packetdrill is made of.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    pub(crate) config: Config,
    pub(crate) addresses: Vec<Cidr>,
    pub(crate) mtu: u16,
    /// Keys, nonces and ports are drawn from it.
    pub(crate) seed: Option<u64>,
}

impl Flags {
    /// Reads a text; `environment` answers what packetdrill says of itself in `OPT_...` ([`told_by_packetdrill`]).
    ///
    /// # Errors
    /// One line that names the setting.
    pub(crate) fn parse(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut flags =
            Self { config: Config::default(), addresses: Vec::new(), mtu: MTU_DEFAULT, seed: None };
        // Linux paces only where the device's queue or the congestion control does, and scripts expect bursts.
        flags.config.host.tcp.pacing = false;
        if let Some(mtu) = environment("OPT_MTU") {
            flags.mtu = mtu.parse().map_err(|_| format!("OPT_MTU `{mtu}` is no MTU of an IP packet"))?;
        }
        config::settings(text, |setting| flags.set(setting))?;
        if flags.addresses.is_empty() {
            flags.addresses.push(default_address(environment)?);
        }
        Ok(flags)
    }

    fn set(&mut self, setting: &str) -> Result<(), String> {
        let words: Vec<_> = setting.split_whitespace().collect();
        match words[..] {
            ["ip", "addr" | "address" | "a", ..] | ["ip", "mptcp", ..] => {
                self.set(setting.split_once(char::is_whitespace).unwrap_or_default().1)
            }
            ["addr" | "address" | "a", ref rest @ ..] => {
                let ["add", address, ref rest @ ..] = *rest else {
                    return Err("expected `add ADDRESS/PREFIX`".to_owned());
                };
                if !matches!(rest, [] | ["dev", _]) {
                    return Err("expected nothing or `dev NAME` after the address".to_owned());
                }
                self.addresses.push(address.parse().map_err(|fault| format!("`{address}`: {fault}"))?);
                Ok(())
            }
            ["mptcp", ..] => self.config.set(setting.split_once(char::is_whitespace).unwrap_or_default().1),
            ["tun", ..] => Err("the device is packetdrill's: add `addr add ADDRESS/PREFIX`".to_owned()),
            ["mtu", mtu] => {
                self.mtu = config::number(Some(mtu), "mtu")?;
                Ok(())
            }
            ["pacing", switch] => {
                self.config.host.tcp.pacing = match switch {
                    "on" => true,
                    "off" => false,
                    _ => return Err("expected on or off".to_owned()),
                };
                Ok(())
            }
            ["isn", number] => {
                self.config.host.tcp.isn = Some(config::number(Some(number), "isn")?);
                Ok(())
            }
            ["seed", number] => {
                self.seed = Some(config::number(Some(number), "seed")?);
                Ok(())
            }
            ["sysctl", ref rest @ ..] => {
                let names = rest.iter().filter(|word| !matches!(**word, "-q" | "-w")).count();
                let start = rest.len() - names;
                // A value of several numbers was quoted, for the shell that is not here.
                self.config.set(&rest[start..].join(" ").replace(['"', '\''], ""))
            }
            _ => self.config.set(setting),
        }
    }
}

/// An option of packetdrill's under the name `OPT_...`: from the environment, where some versions put it, or from the command line.
pub(crate) fn told_by_packetdrill(name: &str) -> Option<String> {
    std::env::var(name).ok().or_else(|| from_arguments(name, std::env::args()))
}

/// The value of `--option=value` or `--option value` for `OPT_OPTION`; the last one counts.
fn from_arguments(name: &str, arguments: impl Iterator<Item = String>) -> Option<String> {
    let option = format!("--{}", name.strip_prefix("OPT_")?.to_lowercase());
    let (mut value, mut is_next) = (None, false);
    for argument in arguments {
        if is_next {
            value = Some(argument);
            is_next = false;
        } else if let Some(rest) = argument.strip_prefix(&option) {
            is_next = rest.is_empty();
            value = rest.strip_prefix('=').map(str::to_owned).or(value);
        }
    }
    value
}

/// What packetdrill would give its device.
fn default_address(environment: impl Fn(&str) -> Option<String>) -> Result<Cidr, String> {
    let text = environment("OPT_LOCAL_IP")
        .ok_or("no address: add `addr add ADDRESS/PREFIX`, or give packetdrill `--local_ip`")?;
    let address: IpAddr = text.parse().map_err(|_| format!("OPT_LOCAL_IP `{text}` is no address"))?;
    let prefix = match (address, environment("OPT_NETMASK_IP")) {
        (IpAddr::V4(_), Some(mask)) => {
            let mask: std::net::Ipv4Addr =
                mask.parse().map_err(|_| format!("OPT_NETMASK_IP `{mask}` is no mask"))?;
            mask.to_bits().leading_ones() as u8
        }
        (IpAddr::V4(_), None) => PREFIX_DEFAULT[0],
        (IpAddr::V6(_), _) => PREFIX_DEFAULT[1],
    };
    format!("{address}/{prefix}").parse().map_err(|fault| format!("OPT_LOCAL_IP `{text}`: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packetdrill(name: &str) -> Option<String> {
        let value = match name {
            "OPT_LOCAL_IP" => "192.168.0.2",
            "OPT_NETMASK_IP" => "255.255.0.0",
            "OPT_MTU" => "1520",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn every_flag_arrives() {
        let text = "ip addr add 192.0.2.2/24 dev tun0; addr add 2001:db8::1/32; endpoint add 192.0.2.2 signal\n\
                    ip mptcp limits set subflows 8 add_addr_accepted 7 # as Linux's largest\n\
                    sysctl -q net.ipv4.tcp_congestion_control=reno; net.mptcp.checksum_enabled=1\n\
                    mtu 1400; pacing on; isn 7; seed 3";
        let Flags { config, addresses, mtu, seed } = Flags::parse(text, packetdrill).expect("all known");
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.2/24", "2001:db8::1/32"]);
        assert_eq!((mtu, seed, config.endpoints.len()), (1400, Some(3), 1));
        let (tcp, mptcp) = (&config.host.tcp, &config.host.mptcp);
        assert_eq!((tcp.pacing, tcp.isn, tcp.congestion_control.as_str()), (true, Some(7), "reno"));
        assert_eq!((mptcp.subflows, mptcp.add_addr_accepted, mptcp.checksum_enabled), (8, 7, true));
    }

    #[test]
    fn what_packetdrill_says_of_itself_is_the_default() {
        let flags = Flags::parse("", packetdrill).expect("nothing wrong");
        assert_eq!((flags.addresses[0].to_string().as_str(), flags.mtu), ("192.168.0.2/16", 1520));
        let ipv6 = |name: &str| (name == "OPT_LOCAL_IP").then(|| "fd3d:fa7b:d17d::".to_owned());
        let flags = Flags::parse("", ipv6).expect("nothing wrong");
        assert_eq!((flags.addresses[0].to_string().as_str(), flags.mtu), ("fd3d:fa7b:d17d::/48", 1500));
    }

    #[test]
    fn options_are_found_on_the_command_line() {
        let arguments = [
            "packetdrill",
            "--local_ip=10.0.0.1",
            "--mtu",
            "9000",
            "--local_ipx=3",
            "--local_ip=10.0.0.2",
            "a.pkt",
        ];
        let told = |name: &str| from_arguments(name, arguments.iter().map(ToString::to_string));
        assert_eq!(told("OPT_LOCAL_IP").as_deref(), Some("10.0.0.2"));
        assert_eq!(told("OPT_MTU").as_deref(), Some("9000"));
        assert_eq!(told("OPT_NETMASK_IP"), None);
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line_that_names_the_setting() {
        let cases = [
            ("addr add 1.2.3.4", "`addr add 1.2.3.4`: `1.2.3.4`: expected an address with a prefix"),
            ("addr del 1.2.3.4/8", "expected `add ADDRESS/PREFIX`"),
            ("addr add 1.2.3.4/8 on", "after the address"),
            ("tun poly0 10.0.0.1/8", "the device is packetdrill's"),
            ("pacing maybe", "on or off"),
            ("isn -1", "isn `-1`"),
            ("mtu 70000", "mtu `70000`"),
            ("sysctl -w net.mptcp.nothing=1", "net.mptcp.nothing"),
            ("turbo", "`turbo`"),
        ];
        for (text, expected) in cases {
            let fault = Flags::parse(text, packetdrill).expect_err(text);
            assert!(fault.contains(expected) && !fault.contains('\n'), "{text}: {fault}");
        }
        assert!(Flags::parse("", |_| None).expect_err("nowhere").starts_with("no address"));
    }
}
