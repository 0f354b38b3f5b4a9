//! Linux's sysctls of TCP and MPTCP, by name and as text: what each means here, what it takes, what it is at first.
//!
//! [`set`] and [`get`] work on a [`HostConfig`], [`Host::set_sysctl`](crate::host::Host::set_sysctl) on a host that runs. Values
//! are Linux's, units included. A sysctl that has one value here, since the stack does the thing in one way only, can be read,
//! and set to that value. What the stack has nothing to do with (memory pressure, route metrics, hash tables …) is unknown.

mod table;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::config::{FastOpenKeys, HostConfig};
pub use table::ALL;

/// One sysctl.
#[derive(Debug)]
pub struct Sysctl {
    /// Linux's name with dots, such as `net.ipv4.tcp_sack`.
    pub name: &'static str,
    /// What it says, in one line.
    pub doc: &'static str,
    pub(crate) kind: Kind,
}

/// What values a sysctl takes, and where they are.
pub(crate) enum Kind {
    /// 0 or 1.
    Switch(fn(&mut HostConfig) -> &mut bool),
    /// A whole number within both limits.
    Number {
        range: (u64, u64),
        unit: &'static str,
        get: fn(&HostConfig) -> u64,
        set: fn(&mut HostConfig, u64),
    },
    /// One of these numbers, each with its meaning.
    Choice {
        values: &'static [(u64, &'static str)],
        get: fn(&HostConfig) -> u64,
        set: fn(&mut HostConfig, u64),
    },
    /// Three sizes in bytes: smallest, at first, largest.
    Sizes(fn(&mut HostConfig) -> &mut crate::config::BufferSizes),
    /// One of these words.
    Word { words: &'static [&'static str], place: fn(&mut HostConfig) -> &mut String },
    /// What cannot be set: the words that another one takes.
    Words(&'static [&'static str]),
    /// Keys of Fast Open cookies.
    FastOpenKeys,
    /// This value and no other, for a reason.
    Fixed(&'static str, &'static str),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kind")
    }
}

/// Why a sysctl was not set or read: one line that names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SysctlError {
    /// No sysctl here has that name.
    Unknown {
        /// As it was given.
        name: String,
    },
    /// It does not take that value.
    Value {
        /// Linux's name.
        name: &'static str,
        /// As it was given.
        value: String,
        /// What it takes.
        takes: String,
    },
}

impl fmt::Display for SysctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "unknown sysctl `{name}`; docs/sysctls.md has all"),
            Self::Value { name, value, takes } => write!(f, "{name}: `{value}` is not {takes}"),
        }
    }
}

impl core::error::Error for SysctlError {}

/// The sysctl with that name: with dots, with slashes, or as a path below `/proc/sys/`.
///
/// # Errors
/// When there is none.
pub fn find(name: &str) -> Result<&'static Sysctl, SysctlError> {
    let given = name.trim();
    let dotted = given.strip_prefix("/proc/sys/").unwrap_or(given).replace('/', ".");
    ALL.iter()
        .find(|sysctl| sysctl.name == dotted)
        .ok_or_else(|| SysctlError::Unknown { name: given.to_owned() })
}

/// Sets a sysctl. Numbers are decimal, or hexadecimal after `0x`; blanks around a value do not count.
///
/// # Errors
/// When there is no such sysctl, or it does not take the value; nothing is changed then.
pub fn set(config: &mut HostConfig, name: &str, value: &str) -> Result<(), SysctlError> {
    let sysctl = find(name)?;
    let value = value.trim();
    let error = || SysctlError::Value { name: sysctl.name, value: value.to_owned(), takes: sysctl.takes() };
    sysctl.kind.set(config, value).ok_or_else(error)
}

/// Reads a sysctl.
///
/// # Errors
/// When there is no such sysctl.
pub fn get(config: &HostConfig, name: &str) -> Result<String, SysctlError> {
    Ok(find(name)?.read(config))
}

impl Sysctl {
    /// Its value in a configuration.
    pub fn read(&self, config: &HostConfig) -> String {
        // The places are named once, for writing.
        let copy = &mut config.clone();
        match self.kind {
            Kind::Switch(place) => u8::from(*place(copy)).to_string(),
            Kind::Number { get, .. } | Kind::Choice { get, .. } => get(config).to_string(),
            Kind::Sizes(place) => {
                let sizes = place(copy);
                format!("{}\t{}\t{}", sizes.min, sizes.default, sizes.max)
            }
            Kind::Word { place, .. } => place(copy).clone(),
            Kind::Words(words) => words.join(" "),
            Kind::FastOpenKeys => {
                // Linux too has zeros where none were set.
                let keys = config
                    .tcp
                    .fastopen_keys
                    .map_or([Some([0; 16]), None], |keys| [Some(keys.present), keys.before]);
                keys.iter().flatten().map(key_text).collect::<Vec<_>>().join(",")
            }
            Kind::Fixed(value, _) => value.to_owned(),
        }
    }

    /// What it takes, in words that follow "is".
    pub fn takes(&self) -> String {
        match self.kind {
            Kind::Switch(_) => "0 or 1".to_owned(),
            Kind::Number { range: (least, most), unit, .. } => {
                format!("a number of {unit} from {least} to {most}")
            }
            Kind::Choice { values, .. } => {
                let values: Vec<_> =
                    values.iter().map(|(value, meaning)| format!("{value} ({meaning})")).collect();
                format!("one of {}", values.join(", "))
            }
            Kind::Sizes(_) => {
                "three sizes in bytes from 1 to 2147483647: the smallest, that at first, the largest"
                    .to_owned()
            }
            Kind::Word { words, .. } => format!("one of {}", words.join(", ")),
            Kind::FastOpenKeys => "one key or two with a comma between them, each of four groups of 8 hexadecimal digits with dashes between them".to_owned(),
            Kind::Words(_) => "to be set".to_owned(),
            Kind::Fixed(value, reason) => format!("{value}, its only value here: {reason}"),
        }
    }

    /// Whether a value other than its present one can be set.
    pub fn is_settable(&self) -> bool {
        !matches!(self.kind, Kind::Fixed(..) | Kind::Words(_))
    }
}

impl Kind {
    fn set(&self, config: &mut HostConfig, value: &str) -> Option<()> {
        match self {
            Self::Switch(place) => {
                *place(config) = match number(value)? {
                    0 => false,
                    1 => true,
                    _ => return None,
                };
            }
            Self::Number { range: (least, most), set, .. } => {
                set(config, number(value).filter(|number| (*least..=*most).contains(number))?);
            }
            Self::Choice { values, set, .. } => {
                let number = number(value)?;
                values.iter().find(|(known, _)| *known == number)?;
                set(config, number);
            }
            Self::Sizes(place) => {
                let size = |word| u32::try_from(number(word)?).ok().filter(|size| *size <= i32::MAX as u32);
                let sizes: Option<Vec<_>> = value
                    .split_ascii_whitespace()
                    .map(|word| size(word).and_then(core::num::NonZeroU32::new))
                    .collect();
                let [min, default, max] = sizes?[..] else { return None };
                *place(config) = crate::config::BufferSizes { min, default, max };
            }
            Self::Word { words, place } => {
                *place(config) = (*words.iter().find(|word| **word == value)?).to_owned();
            }
            Self::FastOpenKeys => {
                let keys: Option<Vec<_>> = value.split(',').map(key).collect();
                config.tcp.fastopen_keys = Some(match keys?[..] {
                    [present] => FastOpenKeys { present, before: None },
                    [present, before] => FastOpenKeys { present, before: Some(before) },
                    _ => return None,
                });
            }
            Self::Fixed(only, _)
                if value == *only || number(value).is_some_and(|n| Some(n) == number(only)) => {}
            Self::Fixed(..) | Self::Words(_) => return None,
        }
        Some(())
    }
}

/// `a1b2c3d4-…`, four groups: each is a number whose least significant octet comes first.
fn key(text: &str) -> Option<[u8; 16]> {
    let mut key = [0; 16];
    let mut groups = text.trim().split('-');
    for octets in key.chunks_exact_mut(4) {
        let group = groups
            .next()
            .filter(|group| !group.is_empty() && group.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        octets.copy_from_slice(&u32::from_str_radix(group, 16).ok()?.to_le_bytes());
    }
    groups.next().is_none().then_some(key)
}

fn key_text(key: &[u8; 16]) -> String {
    let groups =
        key.chunks_exact(4).map(|octets| u32::from_le_bytes([octets[0], octets[1], octets[2], octets[3]]));
    groups.map(|group| format!("{group:08x}")).collect::<Vec<_>>().join("-")
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|digit| digit.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None if text.bytes().all(|digit| digit.is_ascii_digit()) => text.parse().ok(),
        None => None,
    }
}

#[cfg(test)]
mod tests;
