//! Networks that swallow MP_CAPABLE (`net.mptcp.blackhole_timeout`).

use super::dsl::*;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::Protocol;

/// Connects where SYNs with MP_CAPABLE vanish; the plain SYN that is answered has this number, from 1.
fn connects_through_a_blackhole(s: &mut Script, answered: usize) {
    let sf = s.line_count() - 1;
    s.sends(syn().on(sf).mpc());
    s.after(secs(1)).sends(syn().on(sf).mpc()).after(secs(1)).sends(syn().on(sf).mpc());
    for _ in 0..answered {
        s.until_sent(secs(4)).expect("a SYN");
        s.sends(syn().on(sf).plain());
    }
    s.receives(syn_ack().on(sf).mss(1460)).sends(ack(1, 1).on(sf).plain());
}

#[test]
fn after_a_swallowed_mp_capable_connections_are_plain_for_an_hour() {
    let mut s = Script::connecting();
    connects_through_a_blackhole(&mut s, 1);
    assert_eq!((s.count("MPCapableSYNTXDrop"), s.count("Blackhole")), (1, 1));
    s.after(secs(3599));
    s.connect(Protocol::Mptcp, 5001).sends(syn().on(1).plain());
    assert!(!s.is_mptcp());
    s.receives(syn_ack().on(1).mss(1460)).sends(ack(1, 1).on(1).plain());
    assert_eq!((s.count("MPCapableSYNTXDisabled"), s.count("MPCapableSYNTX")), (1, 1));
    s.after(secs(2));
    s.connect(Protocol::Mptcp, 5002).sends(syn().on(2).mpc());
}

#[test]
fn the_second_time_counts_for_twice_as_long() {
    let mut s = Script::connecting();
    connects_through_a_blackhole(&mut s, 1);
    s.after(secs(3600));
    s.connect(Protocol::Mptcp, 5001);
    connects_through_a_blackhole(&mut s, 1);
    s.after(secs(7199));
    s.connect(Protocol::Mptcp, 5002).sends(syn().on(2).plain());
}

#[test]
fn a_later_plain_syn_that_is_answered_tells_nothing() {
    let mut s = Script::connecting();
    connects_through_a_blackhole(&mut s, 2);
    assert_eq!(s.count("Blackhole"), 0);
    s.connect(Protocol::Mptcp, 5001).sends(syn().on(1).mpc());
}

#[test]
fn an_answered_mp_capable_forgets_it() {
    let mut s = Script::connecting();
    connects_through_a_blackhole(&mut s, 1);
    s.after(secs(3600));
    s.connect(Protocol::Mptcp, 5001).sends(syn().on(1).mpc());
    s.receives(syn_ack().on(1).mss(1460).wscale(7).mpc()).sends(ack(1, 1).on(1).mpc());
    s.connect(Protocol::Mptcp, 5002);
    connects_through_a_blackhole(&mut s, 1);
    // As after the first time, not as after the second.
    s.ignores();
    s.idles(secs(3600));
    s.connect(Protocol::Mptcp, 5003).sends(syn().on(3).mpc());
}

#[test]
fn with_a_timeout_of_0_nothing_is_detected() {
    let mut config = HostConfig::default();
    config.mptcp.blackhole_timeout = secs(0);
    let mut s = Script::connecting_with(config, Protocol::Mptcp);
    connects_through_a_blackhole(&mut s, 1);
    assert_eq!(s.count("Blackhole"), 0);
    s.connect(Protocol::Mptcp, 5001).sends(syn().on(1).mpc());
}
