//! Where the director may send: an object's status is what a tenant can write, so not every address
//! that it names is a game server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::reason::Reason;

/// Which addresses can be a backend's.
///
/// Refused are unspecified, loopback, link-local, multicast and reserved addresses and those of the
/// clouds' metadata services, also when written as IPv6 by the NAT64 prefix `64:ff9b::/96`, unless a
/// listed CIDR contains the address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    allowed: Vec<IpNet>,
    /// The API server's own.
    api_server: Vec<IpAddr>,
}

impl Targets {
    /// Allows these CIDRs as well.
    pub fn new(allowed: Vec<IpNet>) -> Targets {
        Targets { allowed, api_server: Vec::new() }
    }

    /// Refuses these addresses of the API server as well, unless a listed CIDR contains them.
    #[must_use]
    pub(crate) fn without_api_server(self, addresses: Vec<IpAddr>) -> Targets {
        Targets { api_server: addresses, ..self }
    }

    /// Whether a listed CIDR contains the address.
    pub(crate) fn lists(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|cidr| cidr.contains(&address))
    }

    /// `address` is in canonical form, IPv4 never as mapped IPv6.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), Reason> {
        if self.lists(address) {
            return Ok(());
        }
        if self.api_server.contains(&address) {
            return Err(Reason::Target { address, what: "an address of the API server" });
        }
        let reached = [Some(address), nat64(address)];
        let forbidden = |reached: &IpAddr| FORBIDDEN.iter().find(|(cidr, _)| cidr.contains(reached));
        match reached.iter().flatten().find_map(forbidden) {
            Some(&(_, what)) => Err(Reason::Target { address, what }),
            None => Ok(()),
        }
    }
}

/// The IPv4 address that a NAT64 gateway sends to (RFC 6052, 2.1).
fn nat64(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let [prefix @ .., a, b, c, d] = v6.octets();
    (prefix == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]).then(|| Ipv4Addr::new(a, b, c, d).into())
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix)
}

const fn v6(first: u16, second: u16, last: u16, prefix: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, last)), prefix)
}

const FORBIDDEN: [(IpNet, &str); 15] = [
    (v4(0, 0, 0, 0, 8), "an unspecified address"),
    (v4(127, 0, 0, 0, 8), "a loopback address"),
    (v4(169, 254, 0, 0, 16), "a link-local or metadata address"),
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(240, 0, 0, 0, 4), "a broadcast or reserved address"),
    (v4(100, 100, 100, 200, 32), "a metadata address (Alibaba Cloud)"),
    (v4(168, 63, 129, 16, 32), "a metadata address (Azure)"),
    (v4(192, 0, 0, 192, 32), "a metadata address (Oracle Cloud)"),
    (v6(0, 0, 0, 128), "an unspecified address"),
    (v6(0, 0, 1, 128), "a loopback address"),
    (v6(0xfe80, 0, 0, 10), "a link-local address"),
    (v6(0xfec0, 0, 0, 10), "a site-local address"),
    (v6(0xff00, 0, 0, 8), "a multicast address"),
    (v6(0xfd00, 0xec2, 0, 32), "a metadata address (AWS)"),
    (v6(0xfd20, 0xce, 0, 32), "a metadata address (Google Cloud)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(targets: &Targets, address: &str) -> Result<(), String> {
        targets.check(address.parse().expect(address)).map_err(|reason| reason.to_string())
    }

    #[test]
    fn pod_addresses_are_targets() {
        for address in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "2001:db8::1", "64:ff9b::a00:1"] {
            assert_eq!(check(&Targets::default(), address), Ok(()), "{address}");
        }
    }

    #[test]
    fn addresses_that_are_no_server_are_refused() {
        for (address, what) in [
            ("0.0.0.0", "unspecified"),
            ("127.0.0.1", "loopback"),
            ("169.254.169.254", "metadata"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("fe80::1", "link-local"),
            ("ff02::1", "multicast"),
            ("fd00:ec2::254", "metadata"),
            ("64:ff9b::a9fe:a9fe", "metadata"),
            ("64:ff9b::7f00:1", "loopback"),
        ] {
            let reason = check(&Targets::default(), address).expect_err(address);
            assert!(reason.contains(what), "{reason}");
        }
    }

    #[test]
    fn listed_cidr_allows_its_addresses_alone() {
        let targets = Targets::new(vec!["127.0.0.0/8".parse().expect("a CIDR")]);
        assert_eq!(check(&targets, "127.1.2.3"), Ok(()));
        assert!(check(&targets, "::1").is_err());
        assert!(check(&targets, "169.254.1.1").is_err());
    }
}
