//! What a scenario says happens to the network, done to links and hosts when its time has come.

use std::net::IpAddr;

use polytcp_proto::host::LinkState;
use polytcp_proto::packet::InterfaceId;
use polytcp_proto::pm::command::{AddressId, Endpoint, EndpointFlags, FlagsTarget, PmCommand, PmReply};

use super::{START, World};
use crate::path::End;
use crate::scenario::{Action, parse_new_address};

impl World {
    pub(super) fn do_events(&mut self) {
        while let Some(place) = self.events.last().copied()
            && START + self.scenario.events[place].at.duration() <= self.now
        {
            self.events.pop();
            let event = self.scenario.events[place].clone();
            let Ok(link) = self.scenario.link(&event.link) else { continue };
            self.watchers.happens(link, &event.action);
            self.act(link, &event.action);
            self.watchers.happened(&event);
        }
    }

    fn act(&mut self, link: usize, action: &Action) {
        let spec = self.scenario.links[link].clone();
        let Ok(host) = self.scenario.host(&spec.between[0]) else { return };
        let interface = self.nodes[host].interfaces.iter().position(|at| *at == (link, End::First));
        let interface = InterfaceId(interface.unwrap_or_default() as u32);
        match action {
            Action::Cut => self.paths[link].cut(),
            Action::Restore => self.paths[link].restore(),
            Action::Down => {
                self.paths[link].cut();
                self.nodes[host].host.set_link(self.now, interface, LinkState::Down);
            }
            Action::Up => {
                self.paths[link].restore();
                self.nodes[host].host.set_link(self.now, interface, LinkState::Up);
            }
            Action::AddAddress(text) => self.add_address(host, interface, text),
            Action::RemoveAddress(address) => self.remove_address(host, interface, *address),
            Action::Roam(text) => {
                let held: Vec<IpAddr> = self.addresses_on(link);
                // The new address first, so that the connection is never without one.
                self.add_address(host, interface, text);
                for address in held {
                    self.remove_address(host, interface, address);
                }
            }
            Action::Backup(address) => {
                let target = FlagsTarget::Address { address: *address, port: None };
                let command = PmCommand::SetFlags { target, flags: EndpointFlags::BACKUP };
                // Refused where it is no endpoint any more.
                let _ = self.nodes[host].host.command(self.now, &command);
            }
            Action::Shape(shape) => self.paths[link].reshape(self.now, &spec, *shape),
            Action::Mtu(mtu) => {
                for end in End::BOTH {
                    let Ok(host) = self.scenario.host(&spec.between[end.index()]) else { continue };
                    let node = &mut self.nodes[host];
                    let interface =
                        node.interfaces.iter().position(|at| *at == (link, end)).unwrap_or_default();
                    node.host.set_mtu(self.now, InterfaceId(interface as u32), *mtu);
                }
            }
        }
        for host in 0..self.nodes.len() {
            self.settle(host);
        }
    }

    /// Addresses that the first host has on a link by now, as the scenario and its events gave them.
    fn addresses_on(&self, link: usize) -> Vec<IpAddr> {
        let mut held: Vec<IpAddr> =
            self.scenario.addresses(link).map(|[first, _]| first.address).into_iter().collect();
        for event in &self.scenario.events {
            if START + event.at.duration() >= self.now || self.scenario.link(&event.link) != Ok(link) {
                continue;
            }
            match &event.action {
                Action::AddAddress(text) => {
                    held.extend(parse_new_address(text).map(|(cidr, _)| cidr.address));
                }
                Action::Roam(text) => {
                    held = parse_new_address(text).map(|(cidr, _)| cidr.address).into_iter().collect()
                }
                Action::RemoveAddress(address) => held.retain(|one| one != address),
                Action::Cut
                | Action::Restore
                | Action::Down
                | Action::Up
                | Action::Backup(_)
                | Action::Shape(_)
                | Action::Mtu(_) => {}
            }
        }
        held
    }

    fn add_address(&mut self, host: usize, interface: InterfaceId, text: &str) {
        let Ok((cidr, flags)) = parse_new_address(text) else { return };
        let host = &mut self.nodes[host].host;
        host.add_address(self.now, interface, cidr);
        if let Some(flags) = flags {
            // An endpoint that is refused is one that the path manager has no room for.
            let _ = host.command(self.now, &PmCommand::AddAddr(Endpoint::new(cidr.address, flags)));
        }
    }

    /// As a network manager does: the endpoint goes with its address, and what the path manager has to say
    /// leaves while the address is still there.
    fn remove_address(&mut self, host: usize, interface: InterfaceId, address: IpAddr) {
        let stack = &mut self.nodes[host].host;
        let endpoints = match stack.command(self.now, &PmCommand::DumpAddr { token: None }) {
            Ok(PmReply::Endpoints(endpoints)) => endpoints,
            Ok(PmReply::Done | PmReply::Endpoint(_) | PmReply::Limits { .. }) | Err(_) => Vec::new(),
        };
        let command = match endpoints.iter().find(|e| e.address == address).and_then(|e| e.id) {
            Some(id) => PmCommand::DelAddr { id, address: None },
            None => PmCommand::DelAddr { id: AddressId(0), address: Some(address) },
        };
        // Refused where no connection has it.
        let _ = stack.command(self.now, &command);
        self.settle(host);
        self.nodes[host].host.remove_address(self.now, interface, address);
    }
}
