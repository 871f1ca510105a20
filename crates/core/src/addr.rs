//! Addresses that must not be mixed up.

use std::fmt;
use std::net::SocketAddr;

/// Where a client's datagrams come from: address and port, IPv4 never in its IPv6-mapped form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddr(SocketAddr);

/// Where a backend listens: address and port, IPv4 never in its IPv6-mapped form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendAddr(SocketAddr);

/// The one form in which an address is compared: IPv4 instead of IPv6-mapped IPv4, no flow label.
/// The scope of a link-local address stays.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(_) => addr,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None => std::net::SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        },
    }
}

macro_rules! socket_addr_newtype {
    ($name:ident) => {
        impl $name {
            /// Takes an address in its canonical form.
            pub fn new(addr: SocketAddr) -> $name {
                $name(canonical(addr))
            }

            /// The address and port.
            pub fn socket_addr(self) -> SocketAddr {
                self.0
            }

            /// The address alone.
            pub fn ip(self) -> std::net::IpAddr {
                self.0.ip()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

socket_addr_newtype!(ClientAddr);
socket_addr_newtype!(BackendAddr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_and_plain_ipv4_are_one_client() {
        let mapped = "[::ffff:192.0.2.1]:9".parse().expect("an address");
        let plain = "192.0.2.1:9".parse().expect("an address");
        assert_eq!(ClientAddr::new(mapped), ClientAddr::new(plain));
    }
}
