//! An emulated link as people write it: `rate=20mbit,delay=20ms,loss=0.5%`, in `bench paths --link` and as a
//! part of `nc --path`.

use std::fmt::Display;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use polytcp::io::{LinkConfig, Ratio};

use crate::units;

/// What was said of a link so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LinkParts {
    rate: Option<NonZeroU64>,
    delay: Option<Duration>,
    jitter: Option<Duration>,
    loss: Option<Ratio>,
    queue_bytes: Option<u64>,
}

impl LinkParts {
    /// Takes one part, or says that `key` is none of a link's.
    pub(crate) fn set(&mut self, key: &str, value: Option<&str>) -> Result<Taken, String> {
        let needed = || needed(key, value);
        match key {
            "rate" => once(key, &mut self.rate, named(key, units::parse_rate(needed()?))?)?,
            "delay" => once(key, &mut self.delay, named(key, units::parse_delay(needed()?))?)?,
            "jitter" => once(key, &mut self.jitter, named(key, units::parse_delay(needed()?))?)?,
            "queue" => once(key, &mut self.queue_bytes, named(key, units::parse_size(needed()?))?)?,
            "loss" => once(key, &mut self.loss, named(key, units::parse_loss(needed()?))?)?,
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    }

    /// The link, if anything was said of it.
    pub(crate) fn link(&self) -> Option<LinkConfig> {
        if *self == Self::default() {
            return None;
        }
        Some(LinkConfig {
            rate_bits_per_sec: self.rate,
            delay: self.delay.unwrap_or_default(),
            jitter: self.jitter.unwrap_or_default(),
            loss: self.loss.unwrap_or_default(),
            queue_bytes: self.queue_bytes,
            ..LinkConfig::default()
        })
    }
}

/// Whether a part was one of a link's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    Yes,
    No,
}

/// A link whose rate is known, the same in both directions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RatedLink {
    pub(crate) config: LinkConfig,
    pub(crate) rate_bits_per_sec: NonZeroU64,
}

impl FromStr for RatedLink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = LinkParts::default();
        for part in text.split(',') {
            let (key, value) = split_part(part);
            if parts.set(key, value)? == Taken::No {
                return Err(format!("`{key}` is none of rate=, delay=, jitter=, loss= and queue="));
            }
        }
        let link = parts.link().and_then(|config| Some((config, config.rate_bits_per_sec?)));
        let (config, rate_bits_per_sec) =
            link.ok_or_else(|| "a link needs its rate, as in rate=20mbit,delay=20ms,loss=0.5%".to_owned())?;
        Ok(Self { config, rate_bits_per_sec })
    }
}

/// `key=value` or a bare `key`.
pub(crate) fn split_part(part: &str) -> (&str, Option<&str>) {
    match part.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (part, None),
    }
}

/// The value of a part that has to have one.
pub(crate) fn needed<'a>(key: &str, value: Option<&'a str>) -> Result<&'a str, String> {
    value.ok_or_else(|| format!("{key} needs a value: {key}=…"))
}

/// Fills a slot that has to be empty.
pub(crate) fn once<T>(key: &str, slot: &mut Option<T>, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{key} is given twice")),
    }
}

fn named<T>(key: &str, result: Result<T, impl Display>) -> Result<T, String> {
    result.map_err(|error| format!("{key}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_what_its_parts_say_and_nothing_else() {
        let link: RatedLink = "loss=0.5%,rate=20mbit,delay=20ms".parse().expect("well-formed");
        assert_eq!(link.rate_bits_per_sec.get(), 20_000_000);
        let expected = LinkConfig {
            loss: Ratio::from_ppm(5_000),
            ..LinkConfig::new(20_000_000, Duration::from_millis(20))
        };
        assert_eq!(link.config, expected);
        let deep: RatedLink = "rate=20mbit,delay=20ms,jitter=5ms,queue=64k".parse().expect("well-formed");
        let expected = LinkConfig {
            jitter: Duration::from_millis(5),
            queue_bytes: Some(65_536),
            ..LinkConfig::new(20_000_000, Duration::from_millis(20))
        };
        assert_eq!(deep.config, expected);
        let bare: RatedLink = "rate=1gbit".parse().expect("well-formed");
        assert_eq!(bare.config, LinkConfig::new(1_000_000_000, Duration::ZERO));
    }

    #[test]
    fn what_is_wrong_with_a_link_is_named() {
        for (text, part) in [
            ("", "none of rate="),
            ("20mbit", "none of rate="),
            ("rate", "needs a value"),
            ("rate=20", "rate: a rate needs a unit"),
            ("delay=20ms", "needs its rate"),
            ("rate=20mbit,delay=20", "delay: a delay needs a unit"),
            ("rate=20mbit,loss=100%", "below 100%"),
            ("rate=20mbit,rate=10mbit", "twice"),
            ("rate=20mbit,colour=red", "`colour`"),
            ("rate=20mbit,jitter=1", "jitter: a delay needs a unit"),
            ("rate=20mbit,queue=1T", "queue: `T` is not a unit"),
            ("rate=20mbit,", "``"),
        ] {
            let error = text.parse::<RatedLink>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
