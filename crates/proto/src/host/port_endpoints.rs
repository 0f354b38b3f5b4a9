//! Endpoints with a port: their listeners, and joins at other ports than the connection's (RFC 8684 §3.4.1).
//!
//! As in Linux, an endpoint with a port has a listener of its own that takes joins only, and a join at a port
//! that the connection has not announced is refused.

use core::net::SocketAddr;

use super::listener::Listener;
use super::socket::{ListenError, ListenOptions, ListenerId, Protocol};
use super::{FourTuple, Host};
use crate::mptcp::connection::Connection;
use crate::pm::command::{Endpoint, PmError};

/// Requests in progress at one such listener (Linux's backlog for it).
const BACKLOG: usize = 1024;
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;

/// How the port of a join compares with the connection's first one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum JoinPort {
    /// The same.
    First,
    /// Another, which the connection has announced.
    Announced,
    /// Another, of which the peer cannot know.
    Unknown,
}

impl Host {
    /// Opens the listener of an endpoint with a port; one without needs none.
    pub(super) fn open_port_listener(&mut self, endpoint: &Endpoint) -> Result<(), PmError> {
        let Some(port) = endpoint.port else { return Ok(()) };
        let local = SocketAddr::new(endpoint.address, port.get());
        let options =
            ListenOptions { protocol: Protocol::Mptcp, backlog: BACKLOG, ..ListenOptions::new(local) };
        let id = self.listen(&options).map_err(|error| match error {
            ListenError::AddressInUse => PmError::new(EADDRINUSE, "create listen socket error: -98"),
            ListenError::AddressNotAvailable => {
                PmError::new(EADDRNOTAVAIL, "create listen socket error: -99")
            }
            ListenError::MptcpDisabled => PmError::new(92, "create listen socket error: -92"),
        })?;
        if let Some(listener) = self.listener_mut(id) {
            listener.takes_only_joins = true;
        }
        Ok(())
    }

    /// Closes the listener of an endpoint that went. Requests that came through it go on.
    pub(super) fn close_port_listener(&mut self, endpoint: &Endpoint) {
        let Some(port) = endpoint.port else { return };
        let local = SocketAddr::new(endpoint.address, port.get());
        let is_its = |listener: &Listener| listener.takes_only_joins && listener.local == local;
        let found = self.listeners.iter().enumerate().find_map(|(index, listener)| {
            let listener = listener.as_ref().filter(|listener| is_its(listener))?;
            Some(ListenerId { index: index as u32, generation: listener.generation })
        });
        if let Some(id) = found {
            self.drop_listener(id);
        }
    }

    /// What the local port of a join is to its connection.
    pub(super) fn join_port(&self, connection: &Connection, tuple: FourTuple) -> JoinPort {
        if connection.first_local.port() == tuple.local().port() {
            JoinPort::First
        } else if self.pm.has_announced(&connection.pm, tuple.local()) {
            JoinPort::Announced
        } else {
            JoinPort::Unknown
        }
    }
}
