//! Data that the peer acknowledged to its subflow and not at data level, and windows that are shut there
//! (RFC 8684 §3.3.4, §3.3.6): the clock of the data level.

use super::dsl::*;

/// Five segments were acknowledged to the subflow, and of the data nothing: one of them is sent again.
fn probed() -> Script {
    let mut s = Script::accepted();
    s.nodelay().writes_bulk(0, 7_000);
    s.idles(ms(1));
    s.receives(ack(1, 7_001).dack(1)).sends_nothing();
    s.until_sent(secs(1)).expect("one segment makes a silent peer speak");
    s.sends(bulk_at(7_001, 1, 0, 1_400).map(1)).sends_nothing();
    s
}

#[test]
fn a_peer_that_lost_a_whole_run_gets_the_rest_at_once() {
    let mut s = probed();
    s.after(ms(1)).receives(ack(1, 8_401).dack(1_401));
    assert_eq!(s.drain_lens().iter().sum::<usize>(), 5_600, "without another wait");
    s.receives(ack(1, 14_001).dack(7_001)).after(secs(5)).sends_nothing();
    assert_eq!(s.host.info(s.id()).unwrap().bytes_reinjected, 7_000);
}

#[test]
fn an_answer_that_moves_nothing_is_followed_by_a_wait() {
    let mut s = probed();
    s.after(ms(1)).receives(ack(1, 8_401).dack(1)).sends_nothing();
    let wait = s.until_sent(secs(1)).expect("more is sent again");
    assert!(wait >= ms(4), "{wait:?}");
    assert_eq!(s.drain_lens().iter().sum::<usize>(), 7_000, "a segment was not enough");
}

#[test]
fn a_peer_that_falls_silent_again_and_again_is_not_waited_for_longer_each_time() {
    let mut s = probed();
    let mut waits = Vec::new();
    let mut end = 8_401;
    for moved in (1..=4).map(|n| n * 1_400 + 1) {
        s.after(ms(1)).receives(ack(1, end).dack(moved));
        end += s.drain_lens().iter().sum::<usize>() as u32;
        s.receives(ack(1, end).dack(moved)).sends_nothing();
        waits.push(s.until_sent(secs(1)).expect("it is asked again"));
        end += s.drain_lens().iter().sum::<usize>() as u32;
    }
    assert!(waits.iter().all(|wait| *wait <= waits[0]), "{waits:?}");
}

#[test]
fn what_is_still_under_way_is_waited_for() {
    let mut s = probed();
    s.after(ms(1)).receives(ack(1, 7_001).dack(1_401)).sends_nothing();
    s.receives(ack(1, 8_401).dack(1_401));
    assert_eq!(s.drain_lens().iter().sum::<usize>(), 5_600);
}

#[test]
fn a_data_ack_that_lags_alone_has_nothing_sent_again() {
    let mut s = Script::accepted();
    s.nodelay().writes_bulk(0, 7_000);
    s.idles(ms(1));
    s.receives(ack(1, 7_001).dack(1_401)).sends_nothing();
    s.receives(ack(1, 7_001).dack(4_201)).sends_nothing();
    s.after(ms(3)).receives(ack(1, 7_001).dack(7_001)).after(secs(5)).sends_nothing();
}

/// On the way back to TCP nothing goes twice (RFC 8684 §3.7), whatever a stall before had begun.
#[test]
fn after_mp_fail_a_data_ack_that_lags_has_nothing_sent_again() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(0).mpc_a()).sends(syn_ack().mpc());
    s.receives(ack(1, 1).window(1_000).mpc_a()).accepts();
    s.receives(data(1, 1, b"abc").window(1_000).map(1).dack(1).csum()).sends(ack(1, 4).dack(4));
    s.nodelay().writes_bulk(0, 3_000).sends(bulk(1, 4, 1_000).map(1).csum());
    s.receives(ack(4, 1_001).window(0).dack(1_001)).until_sent(secs(1)).expect("a window probe");
    s.sends(ack(1_000, 4).dack(4));
    s.receives(data(4, 1_001, b"dXf").window(0).map(4).dack(1_001).csum_wrong());
    s.sends(ack(1_001, 7).dack(7).fail(4));
    s.after(ms(1)).receives(ack(7, 1_001).window(5_000).dack(1_001));
    assert_eq!(s.drain_lens().iter().sum::<usize>(), 2_000);
    s.after(ms(1)).receives(ack(7, 3_001).window(5_000).dack(2_001)).after(ms(100)).sends_nothing();
}

#[test]
fn a_shut_data_window_is_probed_at_growing_intervals() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(0).mpc()).sends(syn_ack().mpc());
    s.receives(ack(1, 1).window(1_000).mpc()).accepts();
    s.nodelay().writes_bulk(0, 3_000).sends(bulk(1, 1, 1_000).map(1));
    s.receives(ack(1, 1_001).window(0).dack(1_001)).sends_nothing();
    for (count, wait) in [(1, 200), (2, 400), (3, 800), (4, 1_600)] {
        assert_eq!(s.until_sent(secs(2)), Some(ms(wait)));
        s.sends(ack(1_000, 1).dack(1)).receives(ack(1, 1_001).window(0).dack(1_001)).sends_nothing();
        assert_eq!(s.count("WinProbe"), count);
    }
    s.receives(ack(1, 1_001).window(2_000).dack(1_001)).sends(bulk(1_001, 1, 1_432).map(1_001));
}

/// It carries nothing any more, and its path may be gone.
#[test]
fn a_subflow_whose_fin_is_not_answered_ends_after_fin_timeout() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).dack(1).remove_addr(&[1])).sends(fin(1, 1).on(1));
    s.idles(ms(59_999));
    assert_eq!(s.host.accounting().flows, 2);
    s.idles(ms(1));
    assert_eq!(s.host.accounting().flows, 1);
    s.receives(data(1, 1, b"hello").map(1)).sends(ack(1, 6).dack(6)).reads(b"hello");
}

/// A subflow with a round trip of 200 ms holds the head of a window that is used up, and one of 10 ms has nothing to do.
/// Returns the octets that were sent again within 50 ms, of 40,000 with a window of `window`.
fn helped(window: u16) -> u64 {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(0).mpc()).sends(syn_ack().mpc());
    s.after(ms(200)).receives(ack(1, 1).window(window).mpc()).accepts();
    s.receives(ack(1, 1).window(window).dack(1)).nodelay().writes_bulk(0, 40_000);
    s.idles(ms(100));
    let sf = s.add_line(1, 2001);
    s.receives(syn().on(sf).mss(1460).sack_ok().wscale(0).window(window).join_syn(1));
    s.sends(syn_ack().on(sf).join_syn_ack());
    s.idles(ms(10));
    s.receives(ack(1, 1).on(sf).window(window).join_ack());
    s.idles(ms(50));
    assert_eq!(s.host.subflows(s.id()).unwrap()[0].bytes_retransmitted, 0, "it is not late yet");
    s.host.info(s.id()).unwrap().bytes_reinjected
}

#[test]
fn the_head_of_a_window_that_is_used_up_is_sent_again_on_a_much_faster_subflow() {
    assert!(helped(20_000) > 0);
    assert_eq!(helped(60_000), 0, "the window has room for all");
}
