//! What RFC 8684 derives from keys, and its checksum, computed beside the stack and not by it: two hosts of one stack
//! agree on any mistake that both make.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Key of the sender, then of the other end.
pub(crate) type Keys = [u64; 2];

/// RFC 8684 §3.2: the most significant 32 bits of the key's hash.
pub(crate) fn token(key: u64) -> u32 {
    (u64::from_be_bytes(part(&Sha256::digest(key.to_be_bytes()), 0)) >> 32) as u32
}

/// RFC 8684 §3.1: the least significant 64 bits of the key's hash.
pub(crate) fn idsn(key: u64) -> u64 {
    u64::from_be_bytes(part(&Sha256::digest(key.to_be_bytes()), 24))
}

/// RFC 8684 §3.2: keys and nonces of the sender first.
pub(crate) fn join(keys: Keys, nonces: [u32; 2]) -> [u8; 32] {
    hmac(keys, &nonces.map(u32::to_be_bytes).concat())
}

/// RFC 8684 §3.4.1: the least significant 64 bits over id, address and port.
pub(crate) fn add_addr(keys: Keys, id: u8, address: IpAddr, port: Option<u16>) -> u64 {
    let mut message = vec![id];
    match address {
        IpAddr::V4(v4) => message.extend(v4.octets()),
        IpAddr::V6(v6) => message.extend(v6.octets()),
    }
    message.extend(port.unwrap_or(0).to_be_bytes());
    u64::from_be_bytes(part(&hmac(keys, &message), 24))
}

/// RFC 8684 §3.3: the Internet checksum over DSN, subflow number, length, a zero and the data.
pub(crate) fn dss_checksum(dsn: u64, ssn: u32, len: u16, data: &[u8]) -> u16 {
    let mut octets = Vec::with_capacity(data.len() + 17);
    octets.extend(dsn.to_be_bytes());
    octets.extend(ssn.to_be_bytes());
    octets.extend(len.to_be_bytes());
    octets.extend([0, 0]);
    octets.extend(data);
    if octets.len() % 2 == 1 {
        octets.push(0);
    }
    let sum: u64 = octets.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1])).sum();
    // One's complement: what is carried out comes in again. Zero and its complement are the same number.
    let folded = sum % 0xffff;
    !(folded as u16)
}

fn hmac([own, other]: Keys, message: &[u8]) -> [u8; 32] {
    let key = [own.to_be_bytes(), other.to_be_bytes()].concat();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn part(octets: &[u8], from: usize) -> [u8; 8] {
    std::array::from_fn(|i| octets[from + i])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hashlib and hmac.
    #[test]
    fn what_follows_from_keys_is_what_another_implementation_computes() {
        assert_eq!(token(0x0102_0304_0506_0708), PYTHON.0);
        assert_eq!(idsn(0x0102_0304_0506_0708), PYTHON.1);
        let keys = [0x0102_0304_0506_0708, 0x1112_1314_1516_1718];
        assert_eq!(join(keys, [7, 9])[..8], PYTHON.2.to_be_bytes());
        assert_eq!(add_addr(keys, 3, [10, 0, 2, 1].into(), None), PYTHON.3);
    }

    const PYTHON: (u32, u64, u64, u64) =
        (0x6684_0dda, 0xf5a1_01d3_d29d_6f72, 0x179e_6d84_8109_f728, 0x275e_0f23_1bd5_a1c0);

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        // 1 + 2 + 3 + 0x0102: nothing is carried.
        assert_eq!(dss_checksum(1, 2, 3, &[1, 2]), !(1 + 2 + 3 + 0x0102));
        assert_eq!(dss_checksum(u64::MAX, 0, 0, &[]), u16::MAX, "four times minus zero");
    }
}
