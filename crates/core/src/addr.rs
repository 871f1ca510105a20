//! Addresses that must not be mixed up.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Where a client's datagrams come from: address and port, IPv4 never in its IPv6-mapped form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddr(Packed);

/// Where a backend listens: address and port, IPv4 never in its IPv6-mapped form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendAddr(Packed);

/// An address, its scope and a port in 24 bytes, cheap to hash and to compare: there are several for
/// each session. IPv4 stands in its IPv6-mapped form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Packed {
    pub(crate) ip: [u64; 2],
    pub(crate) scope: u32,
    pub(crate) port: u16,
    /// Free for the use of whoever packs: 0 in an address.
    pub(crate) tag: u16,
}

impl Packed {
    #[inline]
    fn new(addr: SocketAddr) -> Packed {
        let (bits, scope) = match addr {
            SocketAddr::V4(v4) => (0xffff_0000_0000 | u128::from(v4.ip().to_bits()), 0),
            SocketAddr::V6(v6) => (v6.ip().to_bits(), v6.scope_id()),
        };
        Packed { ip: [(bits >> 64) as u64, bits as u64], scope, port: addr.port(), tag: 0 }
    }

    #[inline]
    fn socket_addr(self) -> SocketAddr {
        let [high, low] = self.ip;
        let ip = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
        canonical(SocketAddrV6::new(ip, self.port, 0, self.scope).into())
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket_addr().fmt(f)
    }
}

/// The one form in which an address is compared: IPv4 instead of IPv6-mapped IPv4, no flow label.
/// The scope of a link-local address stays.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(_) => addr,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        },
    }
}

macro_rules! socket_addr_newtype {
    ($name:ident) => {
        impl $name {
            /// Takes an address in its canonical form.
            pub fn new(addr: SocketAddr) -> $name {
                $name(Packed::new(addr))
            }

            /// The address and port.
            pub fn socket_addr(self) -> SocketAddr {
                self.0.socket_addr()
            }

            /// The address alone.
            pub fn ip(self) -> IpAddr {
                self.0.socket_addr().ip()
            }

            pub(crate) fn packed(self) -> Packed {
                self.0
            }

            pub(crate) fn from_packed(packed: Packed) -> $name {
                $name(Packed { tag: 0, ..packed })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.socket_addr().fmt(f)
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
    fn address_comes_back_as_it_went_in() {
        for text in ["192.0.2.1:7", "[2001:db8::1]:9", "[fe80::1%3]:1", "0.0.0.0:0", "[::]:65535"] {
            let addr: SocketAddr = text.parse().expect("an address");
            assert_eq!(ClientAddr::new(addr).socket_addr(), addr);
        }
        assert_eq!(size_of::<ClientAddr>(), 24);
    }

    #[test]
    fn mapped_and_plain_ipv4_are_one_client() {
        let mapped = "[::ffff:192.0.2.1]:9".parse().expect("an address");
        let plain = "192.0.2.1:9".parse().expect("an address");
        assert_eq!(ClientAddr::new(mapped), ClientAddr::new(plain));
    }
}
