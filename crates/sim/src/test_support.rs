//! Packets for the tests of what watches packets.

use polytcp_wire::ip::{Addresses, IpHeader, PROTOCOL_TCP};
use polytcp_wire::tcp::{TcpFlags, TcpHeader, checksum_full};
use polytcp_wire::tcp_options::OptionBuf;

/// A sound segment from 10.0.0.1:1000 to 10.0.0.2:80, or back, with `numbers` SEQ and ACK and so many zero octets.
pub(crate) fn packet(is_sent: bool, flags: TcpFlags, numbers: [u32; 2], window: u16, len: usize) -> Vec<u8> {
    let (here, there) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let (src, dst) = if is_sent { (here, there) } else { (there, here) };
    let addresses = Addresses::V4 { src, dst };
    let (src_port, dst_port) = if is_sent { (1_000, 80) } else { (80, 1_000) };
    let [seq, ack] = numbers;
    let header = TcpHeader { src_port, dst_port, seq, ack, flags, window, urgent: 0 };
    let mut packet = vec![0; 40 + len];
    let ip = IpHeader {
        addresses,
        protocol: PROTOCOL_TCP,
        hop_limit: 64,
        traffic_class: 0,
        ident: 0,
        payload_len: 20 + len as u16,
    };
    ip.emit(&mut packet);
    header.emit(&OptionBuf::default(), &mut packet[20..]);
    let sum = checksum_full(&addresses, &packet[20..], &[]);
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    packet
}
