//! Keys and tokens that collide (RFC 8684 §3.1), and what address ids mean (§3.2, §3.4).

use std::collections::VecDeque;
use std::convert::Infallible;

use super::dsl::*;
use polytcp_proto::host::{ConnectOptions, ListenOptions, Protocol, SubflowState};
use polytcp_proto::mptcp::key::Key;
use polytcp_wire::mptcp::{
    Capable, CapableFlags, CapableForm, DataAck, Dss, DssDsn, DssMapping, MptcpOption,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng};

/// Gives these 64-bit numbers first, which are the keys that a host draws; the rest is chance.
struct Drawn {
    keys: VecDeque<u64>,
    rest: ChaCha8Rng,
}

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.rest.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.keys.pop_front().unwrap_or_else(|| self.rest.next_u64()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.rest.fill_bytes(out);
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

/// A host that draws these keys, after those that its own secrets take when it is made.
fn drawing(keys: &[u64]) -> Script {
    let count = {
        let counting = Counting::default();
        let taken = counting.0.clone();
        let _ = Script::drawing(config(), Box::new(counting));
        taken.load(std::sync::atomic::Ordering::Relaxed)
    };
    let mut rest = ChaCha8Rng::seed_from_u64(7);
    let keys = (0..count).map(|_| rest.next_u64()).chain(keys.iter().copied()).collect();
    Script::drawing(config(), Box::new(Drawn { keys, rest }))
}

/// Counts the 64-bit numbers that are drawn.
#[derive(Default)]
struct Counting(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(0)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.fill(0);
        Ok(())
    }
}

impl TryCryptoRng for Counting {}

fn connects(s: &mut Script) -> Option<u32> {
    let (now, options) = (s.now, ConnectOptions::new("10.0.0.2:80".parse().unwrap()));
    let id = s.host.connect(now, &options).expect("a connection");
    s.host.info(id).expect("it is there").token
}

#[test]
fn a_key_whose_token_is_taken_is_drawn_again() {
    let mut s = drawing(&[5, 5, 5, 6]);
    assert_eq!(connects(&mut s), Some(Key::from_wire(5).token().0));
    assert_eq!(connects(&mut s), Some(Key::from_wire(6).token().0));
    assert_eq!(s.count("MPFallbackTokenInit"), 0);
}

#[test]
fn a_connection_for_which_no_token_is_free_is_plain_tcp() {
    let mut s = drawing(&[5; 100]);
    assert!(connects(&mut s).is_some());
    assert_eq!(connects(&mut s), None);
    assert_eq!(s.count("MPFallbackTokenInit"), 1);
}

fn listening(keys: &[u64], peers: u16) -> Script {
    drawing(keys).listens_by(&ListenOptions::new("0.0.0.0:80".parse().unwrap()), peers)
}

#[test]
fn of_two_requests_with_one_token_the_slower_becomes_plain_tcp() {
    let mut s = listening(&[5; 100], 2);
    let syn = || syn().mss(1460).sack_ok().wscale(7).mpc();
    s.receives(syn()).sends(syn_ack().mpc());
    s.receives(syn().on(1)).sends(syn_ack().on(1).mpc());
    s.receives(ack(1, 1).on(1).mpc()).accepts();
    assert!(s.is_mptcp());
    let first = s.id();
    s.receives(ack(1, 1).mpc()).accepts();
    assert!(!s.is_mptcp());
    assert_eq!(s.count("MPFallbackTokenInit"), 1);
    assert_eq!(s.host.accounting().tokens, 1);
    // The end of the plain one leaves the token to its owner.
    s.aborts();
    s.ignores();
    assert_eq!(s.host.accounting().tokens, 1);
    assert_eq!(s.host.info(first).expect("it is there").token, Some(Key::from_wire(5).token().0));
}

/// Tokens name connections at the host whose key they come from: what the peer's would name here does not matter.
#[test]
fn a_peer_may_have_the_very_key_that_we_have() {
    let mut s = listening(&[], 1);
    s.receives(syn().mss(1460).sack_ok().wscale(7).mpc()).sends(syn_ack().mpc());
    let key = s.host_key.expect("it was sent");
    let flags = CapableFlags { crypto: CapableFlags::HMAC_SHA256, ..CapableFlags::default() };
    let form = CapableForm::Ack { sender_key: key.to_wire(), receiver_key: key.to_wire() };
    let third = MptcpOption::Capable(Capable { version: 1, flags, form });
    s.receives(ack(1, 1).option(third)).accepts();
    assert!(s.is_mptcp());
    let start = key.idsn() + 1;
    let mapping = DssMapping { dsn: DssDsn::Eight(start.0), ssn: 1, len: 5, checksum: None };
    let dss = Dss { data_fin: false, data_ack: Some(DataAck::Eight(start.0)), mapping: Some(mapping) };
    s.receives(data(1, 1, b"hello").option(MptcpOption::Dss(dss))).sends_any().reads(b"hello");
}

#[test]
fn the_id_of_the_initial_address_announces_nothing_to_join() {
    let mut config = config();
    config.mptcp.add_addr_accepted = 2;
    let mut s = Script::connected_with(config);
    s.receives(ack(1, 1).add_addr(0, peer_ip(2))).sends(ack(1, 1).echo(0, peer_ip(2))).sends_nothing();
    s.receives(ack(1, 1).add_addr(255, peer_ip(2)));
    s.sends(ack(1, 1).echo(255, peer_ip(2))).sends(syn().on(1).any_join_syn()).sends_nothing();
}

/// RFC 8684 §3.4.1: an id stands for an address until it is withdrawn; Linux joins the second one too.
#[test]
fn an_id_announced_again_with_another_address_is_echoed_and_joined_as_one_more() {
    let mut config = config();
    config.mptcp.add_addr_accepted = 2;
    let mut s = Script::connected_with(config);
    s.receives(ack(1, 1).add_addr(7, peer_ip(1)));
    s.sends(ack(1, 1).echo(7, peer_ip(1))).sends(syn().on(1).any_join_syn()).sends_nothing();
    s.receives(ack(1, 1).add_addr(7, peer_ip(1))).sends(ack(1, 1).echo(7, peer_ip(1))).sends_nothing();
    s.receives(ack(1, 1).add_addr(7, peer_ip(2)));
    s.sends(ack(1, 1).echo(7, peer_ip(2))).sends(syn().on(2).any_join_syn()).sends_nothing();
    // The withdrawal of the id ends both.
    s.receives(ack(1, 1).dack(1).remove_addr(&[7]));
    s.ignores();
    assert_eq!(s.count("RmAddr"), 1);
    let left = s.host.subflows(s.id()).unwrap();
    assert_eq!(left.iter().filter(|s| s.state != SubflowState::Closed).count(), 1, "{left:?}");
}

#[test]
fn joins_with_one_id_from_several_addresses_go_together() {
    let mut s = Script::accepted();
    for (path, port) in [(1, 2001), (2, 2002)] {
        let sf = s.add_line(path, port);
        s.receives(syn().on(sf).mss(1460).sack_ok().wscale(7).join_syn(9));
        s.sends(syn_ack().on(sf).join_syn_ack());
        s.receives(ack(1, 1).on(sf).join_ack());
        s.ignores();
    }
    assert_eq!(s.host.subflows(s.id()).unwrap().len(), 3);
    s.receives(ack(1, 1).dack(1).remove_addr(&[9]));
    s.sends(fin(1, 1).on(1)).sends(fin(1, 1).on(2)).sends_nothing();
}

#[test]
fn a_plain_connection_has_no_token() {
    let mut s = Script::connecting_with(config(), Protocol::Tcp);
    s.sends(syn().plain());
    assert_eq!(s.host.accounting().tokens, 0);
}
