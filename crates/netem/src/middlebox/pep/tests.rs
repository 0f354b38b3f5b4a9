use super::*;
use crate::middlebox::testing::*;
use Direction::{Inward, Outward};

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A proxy that has seen a handshake: the client's data starts at 1, the server's at 501, and the server's
/// windows are shifted by 2.
fn opened(family: Family, config: PepConfig) -> Pep {
    let mut pep = Pep::new(config);
    let mut syn = Tcp::new(family, Outward, SYN, 0, 0).times(10, 0);
    syn.options.window_scale = Some(7);
    let mut syn_ack = Tcp::new(family, Inward, SYN_ACK, 500, 1).times(20, 10);
    syn_ack.options.window_scale = Some(2);
    assert_untouched(&mut pep, &syn);
    assert_untouched(&mut pep, &syn_ack);
    assert_untouched(&mut pep, &Tcp::new(family, Outward, ACK, 1, 501).times(11, 20));
    pep
}

fn data(family: Family, seq: u32, text: &[u8]) -> Tcp {
    Tcp::new(family, Outward, ACK, seq, 501).times(12, 20).mptcp(mapping(seq, text.len() as u16)).data(text)
}

fn ack(family: Family, number: u32) -> Tcp {
    Tcp::new(family, Inward, ACK, 501, number).times(21, 12)
}

#[test]
fn data_is_acknowledged_at_once_without_mptcp_and_goes_on_untouched() {
    for family in FAMILIES {
        let mut pep = opened(family, PepConfig::default());
        let segment = data(family, 1, b"hello");
        let out = through(&mut pep, at(0), Outward, segment.packet());
        let [(Inward, answer), (Outward, on)] = &out[..] else { panic!("{out:?}") };
        assert_eq!(*on, segment.packet());
        let answer = read(answer);
        assert_eq!((answer.tcp.seq, answer.tcp.ack, answer.tcp.flags), (501, 6, ACK));
        assert!(answer.options.mptcp.is_empty() && answer.payload.is_empty());
        assert_eq!(answer.options.timestamps, Some(Timestamps { val: 20, ecr: 12 }));
        // The SYN/ACK's window of 1,000 is not shifted; 5 of it are used, in units of four.
        assert_eq!(answer.tcp.window, 995 / 4);
        assert_eq!(answer.ip.addresses.src(), address(family, Inward));
    }
}

#[test]
fn what_the_receiver_acknowledges_is_forgotten_and_told_only_if_it_is_news() {
    let mut pep = opened(Family::V4, PepConfig::default());
    for (seq, text) in [(1, b"abc"), (4, b"def")] {
        through(&mut pep, at(0), Outward, data(Family::V4, seq, text).packet());
    }
    assert_eq!(through(&mut pep, at(10), Inward, ack(Family::V4, 4).packet()), [], "known already");
    // DATA_ACK is news, under the proxy's own number.
    let told = one(&mut pep, &ack(Family::V4, 4).mptcp(data_ack()).sack(5, 6));
    assert_eq!((told.tcp.ack, told.options.mptcp.len(), told.options.sack.len()), (7, 1, 0));
    assert_untouched(&mut pep, &ack(Family::V4, 7));
    assert_eq!(pep.next_deadline(), None, "nothing is kept");
}

#[test]
fn lost_data_is_sent_again_with_times_of_now_until_it_is_given_up() {
    for family in FAMILIES {
        let config = PepConfig { retries_max: 3, ..PepConfig::default() };
        let mut pep = opened(family, config);
        through(&mut pep, at(0), Outward, data(family, 1, b"abc").packet());
        through(&mut pep, at(100), Outward, Tcp::new(family, Outward, ACK, 4, 777).times(99, 20).packet());
        let mut times = Vec::new();
        while let Some(due) = pep.next_deadline() {
            times.push(due.as_millis());
            for (direction, packet) in polled(&mut pep, due) {
                let again = read(&packet);
                assert_eq!((direction, again.tcp.seq, &again.payload[..]), (Outward, 1, &b"abc"[..]));
                assert_eq!(again.tcp.ack, 777);
                assert_eq!(again.options.timestamps, Some(Timestamps { val: 99, ecr: 20 }));
                assert_eq!(again.options.mptcp, data(family, 1, b"abc").options.mptcp);
            }
        }
        assert_eq!(times, [300, 900, 2_100, 4_500]);
        assert_eq!(pep.given_up_bytes(), 3);
    }
}

#[test]
fn three_duplicates_bring_a_retransmission_and_do_not_reach_the_sender() {
    let mut pep = opened(Family::V6, PepConfig::default());
    for seq in [1, 4, 7, 10] {
        through(&mut pep, at(0), Outward, data(Family::V6, seq, b"abc").packet());
    }
    through(&mut pep, at(1), Inward, ack(Family::V6, 4).packet());
    for _ in 0..2 {
        assert_eq!(through(&mut pep, at(1), Inward, ack(Family::V6, 4).sack(7, 10).packet()), []);
    }
    let out = through(&mut pep, at(1), Inward, ack(Family::V6, 4).sack(7, 13).packet());
    let [(Outward, again)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(read(again).tcp.seq, 4);
}

#[test]
fn a_retransmission_of_the_sender_is_answered_and_goes_no_further() {
    let mut pep = opened(Family::V4, PepConfig::default());
    let segment = data(Family::V4, 1, b"abc");
    through(&mut pep, at(0), Outward, segment.packet());
    let out = through(&mut pep, at(5), Outward, segment.packet());
    let [(Inward, answer)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(read(answer).tcp.ack, 4);
    let fin = Tcp { flags: ACK | TcpFlags::FIN, ..segment };
    assert_eq!(through(&mut pep, at(6), Outward, fin.packet()).len(), 2, "its FIN is not lost");
}

#[test]
fn what_is_out_of_order_or_beyond_its_memory_is_left_to_the_ends() {
    let mut pep = opened(Family::V4, PepConfig { store_bytes_max: 5, ..PepConfig::default() });
    assert_untouched(&mut pep, &data(Family::V4, 4, b"def"));
    assert_eq!(through(&mut pep, at(0), Outward, data(Family::V4, 1, b"abc").packet()).len(), 2);
    assert_untouched(&mut pep, &data(Family::V4, 4, b"def"));
    // The receiver has both, and the proxy goes on from there.
    assert_untouched(&mut pep, &ack(Family::V4, 7));
    assert_eq!(through(&mut pep, at(0), Outward, data(Family::V4, 7, b"ghi").packet()).len(), 2);
}

#[test]
fn the_number_of_flows_is_bounded_and_ended_ones_make_room() {
    let mut pep = Pep::new(PepConfig { flows_max: 2, ..PepConfig::default() });
    let syn = |port| Tcp { inside_port: port, ..Tcp::new(Family::V4, Outward, SYN, 0, 0) };
    for port in 1..=10 {
        assert_untouched(&mut pep, &syn(port));
    }
    assert_eq!(pep.flows.len(), 2);
    let fin = ACK | TcpFlags::FIN;
    assert_untouched(&mut pep, &Tcp { flags: fin, seq: 1, ..syn(1) });
    assert_untouched(&mut pep, &Tcp { flags: SYN_ACK, direction: Inward, ..syn(1) });
    assert_untouched(&mut pep, &Tcp { flags: fin, seq: 1, ack: 2, direction: Inward, ..syn(1) });
    assert_untouched(&mut pep, &syn(11));
    assert_eq!(pep.flows.len(), 2);
    let probe = Tcp { flags: ACK, seq: 1, ..syn(11) }.data(b"x");
    assert_eq!(through(&mut pep, at(0), Outward, probe.packet()).len(), 2, "the new flow is served");
    assert_untouched(&mut pep, &Tcp { flags: TcpFlags::RST, seq: 2, ..syn(11) });
    assert_eq!(pep.flows.len(), 1);
}

#[test]
fn data_of_the_other_direction_is_served_alike() {
    let mut pep = opened(Family::V6, PepConfig::default());
    let segment = Tcp::new(Family::V6, Inward, ACK, 501, 1).times(30, 12).data(b"welcome");
    let out = through(&mut pep, at(0), Inward, segment.packet());
    let [(Outward, answer), (Inward, on)] = &out[..] else { panic!("{out:?}") };
    assert_eq!((read(answer).tcp.ack, on), (508, &segment.packet()));
    // The client's windows are shifted by 7: 1,000 * 128 less 7.
    assert_eq!(read(answer).tcp.window, ((128_000 - 7) / 128) as u16);
}
