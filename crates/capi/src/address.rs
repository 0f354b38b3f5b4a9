//! `struct sockaddr`: read and written as Linux does (`move_addr_to_kernel`, `move_addr_to_user`, `inet_bind`,
//! `tcp_v6_connect` and so on), down to which of two errors is told.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use polytcp_posix::Destination;
use rustix::io::Errno;

use crate::memory;

/// `sizeof(struct sockaddr_in)`.
const V4_BYTES: usize = size_of::<libc::sockaddr_in>();
/// Without the scope, as RFC 2133 has it; Linux takes it.
const V6_BYTES_MIN: usize = 24;
/// `sizeof(struct sockaddr_storage)`: no address is longer.
const BYTES_MAX: usize = size_of::<libc::sockaddr_storage>();

/// Address family of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`.
    Inet6,
}

/// The octets of an address that a call was given.
///
/// # Errors
/// `EINVAL` for an impossible length, `EFAULT` for a null pointer with a length.
///
/// # Safety
/// `address` is null, or points to `len` octets that nobody changes during `'a`.
pub(crate) unsafe fn given<'a>(
    address: *const libc::sockaddr,
    len: libc::socklen_t,
) -> Result<&'a [u8], Errno> {
    let len = usize::try_from(len).ok().filter(|len| *len <= BYTES_MAX).ok_or(Errno::INVAL)?;
    // SAFETY: as the caller's.
    unsafe { memory::octets(address.cast(), len) }.ok_or(Errno::FAULT)
}

/// Where `bind` binds to.
///
/// # Errors
/// `EINVAL` where it is too short, else `EAFNOSUPPORT` where it is of another family.
pub(crate) fn to_bind(family: Family, address: &[u8]) -> Result<SocketAddr, Errno> {
    let read = read(family, address)?;
    match (family, read.family) {
        // Old programs leave the family out (Linux: `__inet_bind`).
        (Family::Inet, libc::AF_UNSPEC) if read.address.ip().is_unspecified() => Ok(read.address),
        _ => read.of(family),
    }
}

/// Where `connect` connects to.
///
/// # Errors
/// `EINVAL` where not even the family is there. All else is told after what the socket's state forbids.
pub(crate) fn to_connect(family: Family, address: &[u8]) -> Result<Destination, Errno> {
    if family_of(address)? == libc::AF_UNSPEC {
        return Ok(Destination::Unspecified);
    }
    let address = read(family, address).and_then(|read| read.of(family));
    Ok(address.map_or_else(Destination::Malformed, Destination::Address))
}

/// An address, and the family that it says it has.
struct Read {
    family: i32,
    address: SocketAddr,
}

impl Read {
    fn of(self, family: Family) -> Result<SocketAddr, Errno> {
        let wanted = match family {
            Family::Inet => libc::AF_INET,
            Family::Inet6 => libc::AF_INET6,
        };
        if self.family == wanted { Ok(self.address) } else { Err(Errno::AFNOSUPPORT) }
    }
}

fn family_of(address: &[u8]) -> Result<i32, Errno> {
    let family = address.first_chunk().ok_or(Errno::INVAL)?;
    Ok(u16::from_ne_bytes(*family).into())
}

/// Reads it in the form of the socket's family, whatever family it says.
fn read(family: Family, address: &[u8]) -> Result<Read, Errno> {
    let said = family_of(address)?;
    let port = |octets: &[u8]| octets.first_chunk().map_or(0, |port| u16::from_be_bytes(*port));
    let address = match family {
        Family::Inet => {
            let address = address.get(..V4_BYTES).ok_or(Errno::INVAL)?;
            let ip: [u8; 4] = *address[4..].first_chunk().ok_or(Errno::INVAL)?;
            SocketAddrV4::new(Ipv4Addr::from(ip), port(&address[2..])).into()
        }
        Family::Inet6 => {
            let address = address.get(..V6_BYTES_MIN).ok_or(Errno::INVAL)?;
            let ip: [u8; 16] = *address[8..].first_chunk().ok_or(Errno::INVAL)?;
            SocketAddrV6::new(Ipv6Addr::from(ip), port(&address[2..]), 0, 0).into()
        }
    };
    Ok(Read { family: said, address })
}

/// As many octets as the address of `family` has, in the first places.
fn encode(address: SocketAddr) -> ([u8; size_of::<libc::sockaddr_in6>()], usize) {
    let mut octets = [0; size_of::<libc::sockaddr_in6>()];
    let (family, len) = match address {
        SocketAddr::V4(address) => {
            octets[4..8].copy_from_slice(&address.ip().octets());
            (libc::AF_INET, V4_BYTES)
        }
        SocketAddr::V6(address) => {
            octets[8..24].copy_from_slice(&address.ip().octets());
            (libc::AF_INET6, octets.len())
        }
    };
    octets[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    octets[2..4].copy_from_slice(&address.port().to_be_bytes());
    (octets, len)
}

/// Tells an address: as much of it as there is room for, and how long it is.
///
/// # Errors
/// `EFAULT` for null pointers, `EINVAL` for a negative length.
///
/// # Safety
/// `len` is null or points to a length; `to` is null or points to that many octets.
pub(crate) unsafe fn tell(
    address: Option<SocketAddr>,
    to: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
) -> Result<(), Errno> {
    let (octets, whole) = address.map_or(([0; 28], 0), encode);
    // SAFETY: as the caller's.
    let room = unsafe { memory::read(len) }?;
    let room = usize::try_from(room as i32).map_err(|_| Errno::INVAL)?.min(whole);
    // SAFETY: as the caller's; it is not more than there is.
    let to = unsafe { memory::room(to.cast(), room) }.ok_or(Errno::FAULT)?;
    to.copy_from_slice(&octets[..room]);
    // SAFETY: as the caller's.
    unsafe { memory::write(len, whole as libc::socklen_t) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(text: &str) -> Vec<u8> {
        let (octets, len) = encode(text.parse().expect("an address"));
        octets[..len].to_vec()
    }

    fn with_family(text: &str, family: i32) -> Vec<u8> {
        let mut octets = octets(text);
        octets[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        octets
    }

    #[test]
    fn what_is_encoded_has_the_layout_of_c() {
        let v4 = octets("10.0.1.2:443");
        // SAFETY: every pattern of octets is a `sockaddr_in`.
        let raw: libc::sockaddr_in = unsafe { v4.as_ptr().cast::<libc::sockaddr_in>().read_unaligned() };
        assert_eq!(i32::from(raw.sin_family), libc::AF_INET);
        assert_eq!(u16::from_be(raw.sin_port), 443);
        assert_eq!(raw.sin_addr.s_addr.to_ne_bytes(), [10, 0, 1, 2]);
        let v6 = octets("[fd00::2]:80");
        assert_eq!(v6.len(), size_of::<libc::sockaddr_in6>());
        // SAFETY: every pattern of octets is a `sockaddr_in6`.
        let raw: libc::sockaddr_in6 = unsafe { v6.as_ptr().cast::<libc::sockaddr_in6>().read_unaligned() };
        assert_eq!(i32::from(raw.sin6_family), libc::AF_INET6);
        assert_eq!(u16::from_be(raw.sin6_port), 80);
        assert_eq!(raw.sin6_addr.s6_addr[..2], [0xfd, 0]);
        assert_eq!((raw.sin6_flowinfo, raw.sin6_scope_id), (0, 0));
    }

    #[test]
    fn an_address_comes_back_as_it_went() {
        for (family, text) in [(Family::Inet, "10.0.1.2:443"), (Family::Inet6, "[fd00::2]:80")] {
            let address = text.parse().expect("an address");
            assert_eq!(to_bind(family, &octets(text)), Ok(address));
            assert_eq!(to_connect(family, &octets(text)), Ok(Destination::Address(address)));
        }
    }

    #[test]
    fn too_short_is_told_before_another_family() {
        let (v4, v6) = (octets("10.0.1.2:443"), octets("[fd00::2]:80"));
        assert_eq!(to_bind(Family::Inet, &v4[..15]), Err(Errno::INVAL));
        assert_eq!(to_bind(Family::Inet, &v6), Err(Errno::AFNOSUPPORT));
        assert_eq!(to_bind(Family::Inet6, &v4), Err(Errno::INVAL));
        assert_eq!(to_bind(Family::Inet6, &v6[..23]), Err(Errno::INVAL));
        assert_eq!(to_bind(Family::Inet6, &v6[..24]), Ok("[fd00::2]:80".parse().expect("an address")));
        let other = with_family("[fd00::2]:80", libc::AF_UNIX);
        assert_eq!(to_bind(Family::Inet6, &other), Err(Errno::AFNOSUPPORT));
        assert_eq!(to_bind(Family::Inet6, &other[..23]), Err(Errno::INVAL));
        assert_eq!(to_bind(Family::Inet, &[]), Err(Errno::INVAL));
    }

    #[test]
    fn bind_takes_no_family_for_any_ipv4_address_only() {
        let any = with_family("0.0.0.0:7", libc::AF_UNSPEC);
        assert_eq!(to_bind(Family::Inet, &any), Ok("0.0.0.0:7".parse().expect("an address")));
        let one = with_family("10.0.1.2:7", libc::AF_UNSPEC);
        assert_eq!(to_bind(Family::Inet, &one), Err(Errno::AFNOSUPPORT));
        let any = with_family("[::]:7", libc::AF_UNSPEC);
        assert_eq!(to_bind(Family::Inet6, &any), Err(Errno::AFNOSUPPORT));
    }

    #[test]
    fn connect_to_no_family_disconnects_however_short() {
        let none = (libc::AF_UNSPEC as u16).to_ne_bytes();
        assert_eq!(to_connect(Family::Inet, &none), Ok(Destination::Unspecified));
        assert_eq!(to_connect(Family::Inet6, &none), Ok(Destination::Unspecified));
        assert_eq!(to_connect(Family::Inet, &none[..1]), Err(Errno::INVAL));
        let short = octets("10.0.1.2:443");
        assert_eq!(
            to_connect(Family::Inet6, &short),
            Ok(Destination::Malformed(Errno::INVAL)),
            "the socket's state comes first"
        );
        assert_eq!(
            to_connect(Family::Inet, &octets("[fd00::2]:80")),
            Ok(Destination::Malformed(Errno::AFNOSUPPORT))
        );
    }

    #[test]
    fn what_is_given_is_as_long_as_an_address_can_be() {
        let octets = [0u8; 200];
        // SAFETY: the octets are there; null is allowed.
        unsafe {
            assert_eq!(given(octets.as_ptr().cast(), 128).map(<[u8]>::len), Ok(128));
            assert_eq!(given(octets.as_ptr().cast(), 129), Err(Errno::INVAL));
            assert_eq!(given(octets.as_ptr().cast(), u32::MAX), Err(Errno::INVAL));
            assert_eq!(given(std::ptr::null(), 16), Err(Errno::FAULT));
            assert_eq!(given(std::ptr::null(), 0), Ok(&[][..]));
        }
    }

    #[test]
    fn a_short_buffer_gets_the_beginning_and_the_whole_length() {
        let address: SocketAddr = "10.0.1.2:443".parse().expect("an address");
        let told = |room: libc::socklen_t| {
            let (mut to, mut len) = ([0xffu8; 32], room);
            // SAFETY: the buffer has 32 octets, more than any length below says.
            let answer = unsafe { tell(Some(address), to.as_mut_ptr().cast(), &mut len) };
            (answer, to, len)
        };
        let (answer, to, len) = told(32);
        assert_eq!((answer, len), (Ok(()), 16));
        assert_eq!(to[..16], *octets("10.0.1.2:443"));
        assert_eq!(to[16], 0xff);
        let (answer, to, len) = told(4);
        assert_eq!((answer, len, to[3], to[4]), (Ok(()), 16, 0xbb, 0xff));
        assert_eq!(told(0).2, 16);
        assert_eq!(told(u32::MAX).0, Err(Errno::INVAL));
        let mut len = 16;
        // SAFETY: null is allowed.
        unsafe {
            assert_eq!(tell(Some(address), std::ptr::null_mut(), &mut len), Err(Errno::FAULT));
            assert_eq!(tell(Some(address), std::ptr::null_mut(), std::ptr::null_mut()), Err(Errno::FAULT));
            len = 0;
            assert_eq!(tell(Some(address), std::ptr::null_mut(), &mut len), Ok(()));
        }
        assert_eq!(len, 16);
    }
}
