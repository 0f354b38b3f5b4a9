//! Keys and what is derived from them: tokens, initial data sequence numbers, and the HMACs that authenticate joins
//! and address signals (RFC 8684 §3.1, §3.2, §3.4.1), all by SHA-256.
//!
//! Nothing here prints a key, and what a peer sends is compared in constant time.

use core::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::rng::SecretSource;
use crate::seq::Dsn;

/// One host's key of a connection. No `Debug`: a key must not reach a log.
#[derive(Clone, Copy)]
pub struct Key(u64);

/// Names a connection at the host whose key it was derived from (RFC 8684 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u32);

/// A random number of one host, good for one MP_JOIN handshake (RFC 8684 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nonce(pub u32);

impl Key {
    /// A key drawn from `secrets`; never zero.
    ///
    /// Whether its token is free at this host is for the caller to check (RFC 8684 §3.1).
    pub fn random(secrets: &mut SecretSource) -> Self {
        // Zero comes once in 2^64 draws, so that replacing it costs no entropy and needs no loop.
        Self(secrets.next_u64().max(1))
    }

    /// A key as a peer sent it, any value.
    pub const fn from_wire(key: u64) -> Self {
        Self(key)
    }

    /// The key as it is sent.
    pub const fn to_wire(self) -> u64 {
        self.0
    }

    /// True when a peer sent this very key; takes the same time for every value.
    pub fn verify(self, wire: u64) -> bool {
        self.0.ct_eq(&wire).into()
    }

    /// The most significant 32 bits of the key's SHA-256 (RFC 8684 §3.2).
    pub fn token(self) -> Token {
        let [a, b, c, d, ..] = self.sha256();
        Token(u32::from_be_bytes([a, b, c, d]))
    }

    /// The initial data sequence number: the least significant 64 bits of the key's SHA-256 (RFC 8684 §3.1).
    pub fn idsn(self) -> Dsn {
        Dsn(rightmost_64(&self.sha256()))
    }

    fn sha256(self) -> [u8; 32] {
        Sha256::digest(self.0.to_be_bytes()).into()
    }
}

impl Nonce {
    /// A nonce drawn from `secrets`.
    pub fn random(secrets: &mut SecretSource) -> Self {
        Self(secrets.next_u32())
    }
}

/// The HMAC by which one host proves in an MP_JOIN handshake that it knows both keys.
///
/// No `Debug`, as it could be replayed while the handshake lasts.
#[derive(Clone, Copy)]
pub struct JoinHmac([u8; 32]);

/// The HMAC of the host whose key and nonce are `local` and `local_nonce` (RFC 8684 §3.2).
///
/// To check a peer's HMAC, compute it from the peer's side: its key and nonce first.
pub fn join_hmac(local: Key, remote: Key, local_nonce: Nonce, remote_nonce: Nonce) -> JoinHmac {
    let mut message = [0; 8];
    message[..4].copy_from_slice(&local_nonce.0.to_be_bytes());
    message[4..].copy_from_slice(&remote_nonce.0.to_be_bytes());
    JoinHmac(hmac_sha256(local, remote, &message))
}

impl JoinHmac {
    /// The truncated HMAC of the SYN/ACK (RFC 8684 §3.2).
    pub fn leftmost_64(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The truncated HMAC of the third ACK (RFC 8684 §3.2).
    pub fn leftmost_160(&self) -> [u8; 20] {
        core::array::from_fn(|i| self.0[i])
    }

    /// True when a peer's SYN/ACK carried this HMAC; takes the same time for every value.
    pub fn verify_64(&self, wire: u64) -> bool {
        self.leftmost_64().ct_eq(&wire).into()
    }

    /// True when a peer's third ACK carried this HMAC; takes the same time for every value.
    pub fn verify_160(&self, wire: &[u8; 20]) -> bool {
        self.leftmost_160().ct_eq(wire).into()
    }
}

/// The truncated HMAC of an ADD_ADDR that the host with the key `sender` sends (RFC 8684 §3.4.1).
///
/// `port` is `None` when the option carries no port. Compare a peer's with [`verify_add_addr_hmac`].
pub fn add_addr_hmac(sender: Key, receiver: Key, id: u8, addr: IpAddr, port: Option<u16>) -> u64 {
    let mut message = [0; 19];
    message[0] = id;
    let addr_end = match addr {
        IpAddr::V4(v4) => {
            message[1..5].copy_from_slice(&v4.octets());
            5
        }
        IpAddr::V6(v6) => {
            message[1..17].copy_from_slice(&v6.octets());
            17
        }
    };
    message[addr_end..addr_end + 2].copy_from_slice(&port.unwrap_or(0).to_be_bytes());
    rightmost_64(&hmac_sha256(sender, receiver, &message[..addr_end + 2]))
}

/// True when `wire` is `expected`; takes the same time for every value.
pub fn verify_add_addr_hmac(expected: u64, wire: u64) -> bool {
    expected.ct_eq(&wire).into()
}

/// HMAC-SHA256 under the key `first ‖ second`.
fn hmac_sha256(first: Key, second: Key, message: &[u8]) -> [u8; 32] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&first.0.to_be_bytes());
    key[8..].copy_from_slice(&second.0.to_be_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn rightmost_64(digest: &[u8; 32]) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key = Key::from_wire(0x0102_0304_0506_0708);
    const B: Key = Key::from_wire(0xf1e2_d3c4_b5a6_9788);
    const NONCE_A: Nonce = Nonce(0x1122_3344);
    const NONCE_B: Nonce = Nonce(0xdead_beef);

    // The expected values are Python's: hashlib.sha256 and hmac.new(.., "sha256") over struct.pack(">Q") of
    // the keys, and so on.

    #[test]
    fn token_and_idsn_are_the_two_ends_of_the_digest() {
        assert_eq!((A.token(), A.idsn()), (Token(0x6684_0dda), Dsn(0xf5a1_01d3_d29d_6f72)));
        assert_eq!((B.token(), B.idsn()), (Token(0xe45b_8bdc), Dsn(0x845b_c998_f0ba_ce6f)));
    }

    #[test]
    fn each_host_proves_itself_with_its_own_key_and_nonce_first() {
        let of_a = join_hmac(A, B, NONCE_A, NONCE_B);
        let of_b = join_hmac(B, A, NONCE_B, NONCE_A);
        assert_eq!(of_b.leftmost_64(), 0xf28a_0e79_c7ef_7267);
        let expected = [
            0xde, 0x39, 0x5e, 0x63, 0xe9, 0x78, 0x63, 0x18, 0x61, 0x74, 0x4e, 0x1c, 0x7a, 0x64, 0xba, 0xd6,
            0xb9, 0x2b, 0xbc, 0xa4,
        ];
        assert_eq!(of_a.leftmost_160(), expected);
        assert!(of_a.verify_160(&expected) && !of_b.verify_160(&expected));
        assert!(of_b.verify_64(0xf28a_0e79_c7ef_7267) && !of_b.verify_64(0xf28a_0e79_c7ef_7266));
    }

    #[test]
    fn an_address_signal_is_authenticated_with_its_id_and_port() {
        let v4 = IpAddr::from([10, 0, 2, 1]);
        assert_eq!(add_addr_hmac(A, B, 5, v4, None), 0xede6_0c4c_0001_63ce);
        assert_eq!(add_addr_hmac(A, B, 5, v4, Some(8080)), 0x8b94_3047_89bf_c34a);
        let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7]);
        let hmac = add_addr_hmac(B, A, 255, v6, None);
        assert_eq!(hmac, 0x7e4e_0b8e_f44f_4acd);
        assert!(verify_add_addr_hmac(hmac, hmac) && !verify_add_addr_hmac(hmac, hmac ^ 1));
    }

    #[test]
    fn the_hmac_underneath_gives_the_vector_of_rfc_4231() {
        // RFC 4231 §4.3, test case 2: key "Jefe", which HMAC pads with zeros to the block anyway.
        let key = u64::from_be_bytes(*b"Jefe\0\0\0\0");
        let mac = hmac_sha256(Key(key), Key(0), b"what do ya want for nothing?");
        assert_eq!(mac[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
        assert_eq!(rightmost_64(&mac), 0x9dec_58b9_64ec_3843);
        assert!(A.verify(A.to_wire()) && !A.verify(B.to_wire()));
    }
}
