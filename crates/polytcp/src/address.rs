//! Addresses to connect to and to listen at. Numeric only: a stack has no resolver.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Something that is an address with a port, or reads as one: `"10.0.1.1:443"`, `"[fd00::1]:443"`,
/// `("10.0.1.1", 443)`, or the types of `std::net`.
///
/// Like `std::net::ToSocketAddrs`, but names are not resolved: the names of the machine's resolver
/// would be reached through the kernel's network, not through the stack's.
pub trait Address {
    /// The address.
    ///
    /// # Errors
    /// `InvalidInput` when the text is not a numeric address with a port.
    fn to_socket_addr(&self) -> io::Result<SocketAddr>;
}

impl Address for str {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        self.parse().map_err(|_| {
            invalid(format!(
                "`{self}` is not a numeric address with a port, such as 10.0.1.1:443 or [fd00::1]:443"
            ))
        })
    }
}

impl Address for String {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        self.as_str().to_socket_addr()
    }
}

impl Address for (&str, u16) {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        let ip: IpAddr =
            self.0.parse().map_err(|_| invalid(format!("`{}` is not a numeric address", self.0)))?;
        Ok(SocketAddr::new(ip, self.1))
    }
}

impl<T: Address + ?Sized> Address for &T {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        (**self).to_socket_addr()
    }
}

macro_rules! address {
    ($($from:ty),*) => {$(
        impl Address for $from {
            fn to_socket_addr(&self) -> io::Result<SocketAddr> {
                Ok(SocketAddr::from(*self))
            }
        }
    )*};
}

address!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

pub(crate) fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(address: impl Address) -> Option<String> {
        address.to_socket_addr().ok().map(|address| address.to_string())
    }

    #[test]
    fn numeric_addresses_are_understood_and_names_are_not() {
        assert_eq!(parsed("10.0.1.1:443").as_deref(), Some("10.0.1.1:443"));
        assert_eq!(parsed(String::from("[fd00::1]:80")).as_deref(), Some("[fd00::1]:80"));
        assert_eq!(parsed(("fd00::1", 80)).as_deref(), Some("[fd00::1]:80"));
        assert_eq!(parsed((Ipv4Addr::LOCALHOST, 1)).as_deref(), Some("127.0.0.1:1"));
        assert_eq!(parsed("example.org:443"), None);
        assert_eq!(parsed("10.0.1.1"), None);
        assert_eq!(parsed(("localhost", 1)), None);
    }
}
