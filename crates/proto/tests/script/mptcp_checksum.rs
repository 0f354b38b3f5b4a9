//! DSS checksums: who asks for them, what they cover, when data counts (RFC 8684 §3.1, §3.3).

use super::dsl::*;
use core::num::NonZeroU32;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::Protocol;

fn wanting() -> HostConfig {
    let mut config = HostConfig::default();
    config.mptcp.checksum_enabled = true;
    config
}

fn uses_checksums(s: &Script) -> bool {
    s.host.info(s.id()).unwrap().checksums
}

#[test]
fn a_server_follows_the_clients_wish() {
    let mut s = Script::accepted_csum();
    assert!(uses_checksums(&s));
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1).csum());
}

#[test]
fn a_server_goes_by_the_third_ack() {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(7).mpc_a()).sends(syn_ack().mpc());
    s.receives(ack(1, 1).mpc()).accepts();
    assert!(!uses_checksums(&s));
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1));
}

#[test]
fn a_server_asks_in_its_syn_ack() {
    let mut s = Script::listening_with(wanting());
    s.receives(syn().mss(1460).sack_ok().wscale(7).mpc()).sends(syn_ack().mpc_a());
    s.receives(ack(1, 1).mpc_a()).accepts();
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1).csum());
}

#[test]
fn a_client_asks_in_its_syn() {
    let mut s = Script::connecting_with(wanting(), Protocol::Mptcp);
    s.sends(syn().mpc_a());
    s.receives(syn_ack().mss(1460).sack_ok().wscale(7).mpc()).sends(ack(1, 1).mpc_a());
    s.receives(ack(1, 1).dack(1)).writes(b"hello").sends(data(1, 1, b"hello").map(1).csum());
}

#[test]
fn a_client_follows_the_servers_wish() {
    let mut s = Script::connected_csum();
    assert!(uses_checksums(&s));
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1).csum());
}

#[test]
fn without_a_wish_there_is_no_checksum() {
    let mut s = Script::accepted();
    assert!(!uses_checksums(&s));
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1));
}

#[test]
fn first_data_with_mp_capable_has_a_checksum() {
    let mut s = Script::connecting();
    s.sends(syn().mpc());
    s.receives(syn_ack().mss(1460).sack_ok().wscale(7).mpc_a()).sends(ack(1, 1).mpc_a());
    s.writes(b"hello").sends(data(1, 1, b"hello").mpc_a().csum());
    s.until_sent(secs(3)).expect("a retransmission");
    s.sends(data(1, 1, b"hello").mpc_a().csum());
    s.receives(ack(1, 6).dack(6)).writes(b"world").sends(data(6, 1, b"world").map(6).csum());
}

#[test]
fn first_data_with_mp_capable_is_verified() {
    let start = || {
        let mut s = Script::listening();
        s.receives(syn().mss(1460).sack_ok().wscale(7).mpc_a()).sends(syn_ack().mpc());
        s
    };
    let mut s = start();
    s.receives(data(1, 1, b"hello").mpc_a().csum()).sends(ack(1, 6).dack(6)).accepts().reads(b"hello");
    let mut s = start();
    s.receives(data(1, 1, b"hallo").mpc_a().csum_of(b"hello")).sends(ack(1, 6).plain()).accepts();
    assert!(!s.is_mptcp());
    assert_eq!(s.host.counters().data_csum_err, 1);
}

#[test]
fn a_mapping_counts_when_all_of_it_came_and_is_right() {
    let all = b"abcdefghi";
    let mut s = Script::accepted_csum();
    s.receives(data(1, 1, b"abc").map_of(1, 1, 9).csum_of(all)).sends(ack(1, 4).dack(1)).reads(b"");
    s.receives(data(4, 1, b"def")).sends(ack(1, 7).dack(1)).reads(b"");
    s.receives(data(7, 1, b"ghi").map_of(1, 1, 9).csum_of(all)).sends(ack(1, 10).dack(10)).reads(all);
    assert_eq!(s.host.counters().data_csum_err, 0);
}

#[test]
fn parts_of_a_mapping_may_come_in_any_order() {
    let all = b"abcdefghi";
    let mut s = Script::accepted_csum();
    s.receives(data(7, 1, b"ghi").map_of(1, 1, 9).csum_of(all)).sends(ack(1, 1).dack(1));
    s.receives(data(1, 1, b"abc").map_of(1, 1, 9).csum_of(all)).sends(ack(1, 4).dack(1)).reads(b"");
    s.receives(data(4, 1, b"def").map_of(1, 1, 9).csum_of(all)).sends(ack(1, 10).dack(10)).reads(all);
}

#[test]
fn one_segment_may_end_one_mapping_and_hold_the_next() {
    let mut s = Script::accepted_csum();
    s.receives(data(1, 1, b"abc").map_of(1, 1, 5).csum_of(b"abcde")).sends(ack(1, 4).dack(1)).reads(b"");
    s.receives(data(4, 1, b"defg").map_of(6, 6, 2).csum_of(b"fg")).sends(ack(1, 8).dack(8)).reads(b"abcdefg");
}

#[test]
fn four_octet_numbers_are_summed_as_eight() {
    let mut s = Script::accepted_csum();
    s.receives(data(1, 1, b"hello").dack4(1).map4(1).csum()).sends(ack(1, 6).dack4(6)).reads(b"hello");
}

/// Linux adds DATA_FIN to whatever it sends of the last mapping, a retransmission too.
#[test]
fn a_repeated_mapping_may_have_got_a_data_fin() {
    let mut s = Script::accepted_csum();
    s.receives(data(1, 1, b"abc").map_of(1, 1, 6).csum_of(b"abcdef")).sends(ack(1, 4).dack(1));
    s.receives(data(4, 1, b"def").map_of(1, 1, 6).data_fin(7).csum_of(b"abcdef"));
    s.sends(ack(1, 7).dack(8)).reads(b"abcdef").reads_end();
}

#[test]
fn a_data_fin_with_data_counts_when_that_was_verified() {
    let mut s = Script::accepted_csum();
    s.receives(data(1, 1, b"abc").map_of(1, 1, 6).data_fin(7).csum_of(b"abcdef")).sends(ack(1, 4).dack(1));
    s.reads(b"").receives(data(4, 1, b"def")).sends(ack(1, 7).dack(8)).reads(b"abcdef").reads_end();
}

#[test]
fn a_data_fin_alone_has_a_checksum_of_its_header() {
    let mut s = Script::accepted_csum();
    s.shuts_down().sends(ack(1, 1).dack(1).data_fin(1).csum());
    s.receives(ack(1, 1).dack(1).data_fin(1).csum_wrong()).sends_nothing().reads(b"");
    assert_eq!(s.host.counters().data_csum_err, 1);
    s.receives(ack(1, 1).dack(1).data_fin(1).csum()).sends(ack(1, 1).dack(2).data_fin(1).csum()).reads_end();
}

#[test]
fn a_checksum_that_was_not_agreed_resets_the_subflow() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"hello").map(1).csum()).sends(rst_ack(1, 1).tcprst(1)).reads(b"");
}

#[test]
fn a_checksum_that_is_missing_resets_the_subflow() {
    let mut s = Script::accepted_csum();
    s.receives(data(1, 1, b"hello").map(1)).sends(rst_ack(1, 1).tcprst(1)).reads(b"");
    let mut s = Script::accepted_csum();
    s.receives(ack(1, 1).dack(1).data_fin(1)).sends(rst_ack(1, 1).tcprst(1)).reads(b"");
}

#[test]
fn every_part_that_is_sent_again_repeats_the_same_checksum() {
    let mut s = Script::accepted_csum();
    s.nodelay().writes_bulk(0, 1400).sends(bulk(1, 1, 1400).map(1).csum());
    s.until_sent(secs(2)).expect("a retransmission");
    s.sends(bulk(1, 1, 1400).map(1).csum());
    // Half of it arrived: what is sent again is no whole mapping.
    s.receives(ack(1, 701).dack(1));
    s.until_sent(secs(4)).expect("a retransmission");
    s.sends(bulk(701, 1, 700).map_of(1, 1, 1400).csum());
    assert!(
        s.checksums.len() == 3 && s.checksums.iter().all(|sum| *sum == s.checksums[0]),
        "{:?}",
        s.checksums
    );
}

/// A mapping is of no use before all of it came, so that its end is promised, whatever the buffer.
#[test]
fn a_mapping_that_is_larger_than_the_buffer_is_received() {
    let mut config = HostConfig::default();
    config.tcp.recv_buffer_bytes = NonZeroU32::new(9_362); // a window of 8,192
    let mut s = Script::accepted_csum_with(config);
    let all = octets(0, 40_000);
    let (mut at, mut edge) = (0, 8_192);
    while at < all.len() {
        let len = 1_000.min(edge - at);
        assert!(len > 0, "the window is shut at {at}");
        s.receives(bulk(1 + at as u32, 1, len).map_of(1, 1, 40_000).csum_of(&all).pinning(1_500));
        at += len;
        let _ = s.until_sent(ms(50));
        for (_, window) in s.drain_edges() {
            edge = edge.max(usize::from(window));
        }
        let held = s.host.accounting().buffered_bytes;
        assert!(held <= 65_536 + 9_362, "{held}");
    }
    s.idles(ms(100));
    s.reads(&all);
    // What follows is kept to the buffer again.
    let (ack, window) = s.drain_edges().pop().expect("a window update");
    assert_eq!((ack, window), (40_001, 8_192));
}

/// Who waits for the window that it lacks would wait for the clock of a delayed acknowledgement.
#[test]
fn a_mapping_that_ends_beyond_the_window_opens_it_at_once() {
    let mut config = HostConfig::default();
    config.tcp.recv_buffer_bytes = NonZeroU32::new(16 << 10);
    let mut s = Script::accepted_csum_with(config);
    for i in 0..16 {
        s.receives(data(1 + i, 1, b"x").map(u64::from(1 + i)).csum()).sends(ack(1, 2 + i)).reads(b"x");
    }
    let inside = octets(0, 2_000);
    s.receives(bulk_at(17, 1, 0, 1_000).map_of(17, 17, 2_000).csum_of(&inside)).sends_nothing();
    s.receives(bulk_at(1_017, 1, 1_000, 1_000));
    s.ignores();
    s.idles(ms(100));
    let beyond = octets(0, 20_000);
    s.receives(bulk_at(2_017, 1, 0, 1_000).map_of(2_017, 2_017, 20_000).csum_of(&beyond));
    let (_, window) = *s.drain_edges().first().expect("an acknowledgement");
    assert!(u64::from(window) * 128 >= 20_000, "{window}");
}
