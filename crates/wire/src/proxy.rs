//! The PROXY protocol header, version 2: tells a backend the client's real address.

use std::net::SocketAddr;

use ppp::v2::{Builder, Command, Protocol, Version};

/// The PROXY v2 header (haproxy `doc/proxy-protocol.txt`, section 2.2) for a client that reached the
/// director at `public`: 28 bytes for IPv4, 52 for IPv6. Addresses of two families are written as
/// IPv6, the IPv4 one mapped.
pub fn proxy_header(client: SocketAddr, public: SocketAddr, datagram: bool) -> Vec<u8> {
    let (client, public) = match (client, public) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_)) => (client, public),
        _ => (mapped(client), mapped(public)),
    };
    let protocol = if datagram { Protocol::Datagram } else { Protocol::Stream };
    Builder::with_addresses(Version::Two | Command::Proxy, protocol, (client, public))
        .build()
        .expect("an address block is far below the header's 65,535 bytes")
}

fn mapped(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_has_the_bytes_of_the_specification() {
        let client = "192.0.2.7:5000".parse().expect("an address");
        let public = "198.51.100.1:7777".parse().expect("an address");
        let header = proxy_header(client, public, true);
        let expected = [
            &b"\r\n\r\n\0\r\nQUIT\n"[..],
            &[0x21, 0x12, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0x13, 0x88, 0x1e, 0x61],
        ]
        .concat();
        assert_eq!(header, expected);
        assert_eq!(proxy_header(client, public, false)[13], 0x11);
        let v6 = proxy_header("[2001:db8::1]:1".parse().expect("an address"), public, false);
        assert_eq!((v6.len(), v6[13]), (52, 0x21));
    }
}
