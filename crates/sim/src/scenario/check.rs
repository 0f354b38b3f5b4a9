//! Whether a scenario makes sense: a line that names the item where it does not.

use super::text::{parse_endpoint, parse_new_address};
use super::{Action, Load, Scenario};

/// Least MTU: that of IPv6, and what a host takes.
const MTU_MIN: u16 = 1_280;
const CONNECTIONS_MAX: u64 = 20_000;

impl Scenario {
    /// Whether all names lead somewhere and all texts can be read.
    ///
    /// # Errors
    /// One line that names the item.
    pub fn check(&self) -> Result<(), String> {
        let at = |what: &str, place: usize, name: &str| {
            let text = format!("{what} {} (`{name}`): ", place + 1);
            move |fault: String| format!("{text}{fault}")
        };
        for (place, host) in self.hosts.iter().enumerate() {
            let fail = at("host", place, &host.name);
            if self.hosts[..place].iter().any(|other| other.name == host.name) {
                return Err(fail("a second host of that name".to_owned()));
            }
            host.config().map_err(&fail)?;
            for endpoint in &host.endpoints {
                parse_endpoint(endpoint).map_err(&fail)?;
            }
        }
        for (place, link) in self.links.iter().enumerate() {
            let fail = at("link", place, &link.name);
            if self.links[..place].iter().any(|other| other.name == link.name) {
                return Err(fail("a second link of that name".to_owned()));
            }
            if link.between[0] == link.between[1] {
                return Err(fail("it needs two different hosts".to_owned()));
            }
            for host in &link.between {
                self.host(host).map_err(&fail)?;
            }
            if link.mtu.is_some_and(|mtu| mtu < MTU_MIN) {
                return Err(fail(format!("mtu: at least {MTU_MIN}")));
            }
            self.addresses(place).map_err(&fail)?;
            link.traces().map_err(&fail)?;
            for spec in link.boxes.iter().chain(&link.far_boxes) {
                spec.build(0).map_err(|fault| fail(format!("box {}: {fault}", spec.kind())))?;
            }
        }
        for (place, traffic) in self.traffic.iter().enumerate() {
            let fail = at("traffic", place, &traffic.name);
            let hosts = [self.host(&traffic.from).map_err(&fail)?, self.host(&traffic.to).map_err(&fail)?];
            if hosts[0] == hosts[1] {
                return Err(fail("it needs two different hosts".to_owned()));
            }
            self.destination(place).map_err(&fail)?;
            if traffic.connections > CONNECTIONS_MAX {
                return Err(fail(format!("connections: at most {CONNECTIONS_MAX}")));
            }
            traffic.load.check().map_err(&fail)?;
        }
        for (place, event) in self.events.iter().enumerate() {
            let fail = at("event", place, &event.link);
            self.link(&event.link).map_err(&fail)?;
            match &event.action {
                Action::AddAddress(text) | Action::Roam(text) => {
                    parse_new_address(text).map_err(&fail)?;
                }
                Action::Mtu(mtu) if *mtu < MTU_MIN => return Err(fail(format!("mtu: at least {MTU_MIN}"))),
                Action::Mtu(_)
                | Action::Cut
                | Action::Restore
                | Action::Down
                | Action::Up
                | Action::RemoveAddress(_)
                | Action::Backup(_)
                | Action::Shape(_) => {}
            }
        }
        self.expect.check(self)
    }
}

impl Load {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Request { request, response, count, .. } => {
                if request.0 == 0 || response.0 == 0 || *count == 0 {
                    return Err("load: request, response and count are at least 1".to_owned());
                }
            }
            Self::Stream { chunk, .. } if chunk.0 == 0 => return Err("load: chunk is at least 1B".to_owned()),
            Self::Abort { after, down } if after > down => {
                return Err("load: after is at most down".to_owned());
            }
            Self::Bulk { .. } | Self::HalfClose { .. } | Self::Abort { .. } | Self::Stream { .. } => {}
        }
        Ok(())
    }
}
