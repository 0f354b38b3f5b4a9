//! The programs at both ends of connections: when they begin, who belongs to whom, and when they are over.

use polytcp_proto::host::{ConnectOptions, ListenerId};

use super::{Connection, Place, World};
use crate::program::{self, Outcome};
use crate::quantity::Span;
use crate::scenario::Load;

impl World {
    pub(super) fn accept(&mut self, host: usize, listener: ListenerId) {
        let Some((_, traffic)) = self.nodes[host].listeners.iter().copied().find(|(id, _)| *id == listener)
        else {
            return;
        };
        while let Some(id) = self.nodes[host].host.accept(listener) {
            let remote = self.nodes[host].host.info(id).ok().map(|info| info.remote);
            let waiting = |c: &Connection| {
                let server = &c.programs[1];
                c.traffic == traffic && server.id.is_none() && !server.outcome.is_over()
            };
            let by_address = self.connections.iter().position(|c| {
                let client = &self.nodes[c.hosts[0]].host;
                let local = c.programs[0].id.and_then(|id| client.info(id).ok()).map(|info| info.local);
                waiting(c) && local.is_some() && local == remote
            });
            let Some(place) = by_address.or_else(|| self.connections.iter().position(waiting)) else {
                // Its other end has gone, and a later one is not to be taken for it.
                self.nodes[host].host.abort(self.now, id);
                continue;
            };
            self.nodes[host].sockets.insert(id, Place { connection: place, side: 1 });
            let connection = &mut self.connections[place];
            connection.is_paired = by_address.is_some();
            connection.programs[1].open(self.now, id);
            self.ready.push(Place { connection: place, side: 1 });
        }
    }

    pub(super) fn start_connections(&mut self) {
        for traffic in 0..self.starts.len() {
            while self.starts[traffic].0 <= self.now
                && self.starts[traffic].1 < self.scenario.traffic[traffic].connections
            {
                let spec = &self.scenario.traffic[traffic];
                let (at, number) = self.starts[traffic];
                self.starts[traffic] = (at + spec.every.duration(), number + 1);
                let Ok(hosts) =
                    self.scenario.host(&spec.from).and_then(|a| Ok([a, self.scenario.host(&spec.to)?]))
                else {
                    return;
                };
                let Ok(remote) = self.scenario.destination(traffic) else { return };
                let mut programs = program::pair(spec, self.now);
                let mut options = ConnectOptions::new(remote);
                options.protocol = spec.protocol();
                if spec.fast_open {
                    options.data = programs[0].first_data();
                }
                let place = Place { connection: self.connections.len(), side: 0 };
                let node = &mut self.nodes[hosts[0]];
                match node.host.connect(self.now, &options) {
                    Ok(id) => {
                        programs[0].open(self.now, id);
                        node.sockets.insert(id, place);
                        self.open += 2;
                    }
                    Err(_) => {
                        programs[0].outcome = Outcome::Failed("cannot connect");
                        programs[1].outcome = Outcome::Absent;
                    }
                }
                self.connections.push(Connection {
                    traffic,
                    number,
                    hosts,
                    started_at: self.now,
                    programs,
                    is_paired: false,
                });
                self.ready.push(place);
                self.settle(hosts[0]);
            }
        }
    }

    pub(super) fn drive_programs(&mut self) {
        while let Some(place) = self.ready.pop() {
            let connection = &mut self.connections[place.connection];
            let host = connection.hosts[place.side];
            let other = &connection.programs[1 - place.side];
            let (peer_written, peer_script) =
                (connection.is_paired.then_some(other.written), other.peer_script());
            let program = &mut connection.programs[place.side];
            if program.id.is_none() || program.outcome.is_over() {
                continue;
            }
            let was = program.wake_at;
            program.drive(self.now, &mut self.nodes[host].host, peer_written, &peer_script);
            if let Some(at) = was {
                self.alarms.remove(&(at, place));
            }
            if let Some(at) = program.wake_at {
                self.alarms.insert((at, place), ());
            }
            if let Some(violation) = program.violation.take() {
                let name = &self.scenario.traffic[connection.traffic].name;
                self.violations.push(format!("{name} {}: {violation}", connection.number));
            }
            if program.outcome.is_over() {
                self.end(place);
            }
            self.settle(host);
        }
    }

    /// An end is over.
    fn end(&mut self, place: Place) {
        let connection = &mut self.connections[place.connection];
        let took = Self::since_start(self.now).0 - Self::since_start(connection.started_at).0;
        let program = &mut connection.programs[place.side];
        if let Some(id) = program.id {
            self.nodes[connection.hosts[place.side]].sockets.remove(&id);
        }
        self.open -= 1;
        let is_whole = matches!(
            self.scenario.traffic[connection.traffic].load,
            Load::Bulk { .. } | Load::HalfClose { .. }
        );
        if is_whole && place.side == 0 && program.outcome.is_complete() {
            program.latencies.push(Span(took));
        }
        // Who never was accepted will not be.
        let [client, _] = &connection.programs;
        let has_failed = client.outcome.is_over() && !client.outcome.is_complete();
        let traffic = connection.traffic;
        if has_failed {
            self.give_up_waiting(place.connection);
        }
        // Behind a NAT a socket may have been taken for another one's: who fails then has a server, and one who
        // completed waits for ever.
        let of_traffic = |c: &&Connection| c.traffic == traffic;
        let all_started = self.starts[traffic].1 >= self.scenario.traffic[traffic].connections;
        let mut clients = self.connections.iter().filter(of_traffic);
        if all_started && clients.all(|c| c.programs[0].outcome.is_over()) {
            let is_mistaken = |c: &Connection| c.programs[1].id.is_some() && !c.is_paired;
            if self.connections.iter().filter(of_traffic).any(is_mistaken) {
                let places =
                    (0..self.connections.len()).filter(|at| self.connections[*at].traffic == traffic);
                places.collect::<Vec<_>>().into_iter().for_each(|at| self.give_up_waiting(at));
            }
        }
    }

    /// The server's end of a connection is not waited for any more, if it never was accepted.
    fn give_up_waiting(&mut self, connection: usize) {
        let [client, server] = &mut self.connections[connection].programs;
        if server.id.is_none() && server.outcome == Outcome::Unfinished {
            // A client that aborts at once can be faster than its handshake.
            server.outcome = if client.outcome.is_planned_abort() { client.outcome } else { Outcome::Absent };
            self.open -= 1;
        }
    }
}
