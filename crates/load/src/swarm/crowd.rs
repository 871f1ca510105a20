//! Who the clients are: how many, at which source addresses and ports, in how many threads.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The clients of a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// How many.
    pub clients: u32,
    /// Where their source addresses come from, all of which must be this host's, such as 127.0.0.0/8
    /// or a network routed to `lo`. `None`: a socket for each client, at the address that the system
    /// chooses.
    pub net: Option<Ipv4Net>,
    /// How many clients share a source address, each with a port of its own; counts with a `net`.
    pub ports: u32,
    /// In how many threads they play.
    pub threads: u32,
}

/// Why there are no such clients.
#[derive(Debug, thiserror::Error)]
pub enum CrowdError {
    /// The network has not as many addresses.
    #[error("{net} has {has} source addresses; {clients} clients with {ports} ports each need {needs}")]
    NetTooSmall {
        /// The network.
        net: Ipv4Net,
        /// How many addresses it has.
        has: u64,
        /// How many clients there are to be.
        clients: u32,
        /// How many of them share an address.
        ports: u32,
        /// How many addresses they need.
        needs: u64,
    },
    /// A socket cannot be opened.
    #[error("cannot open the clients' sockets: {0}")]
    Socket(#[source] io::Error),
}

/// Where the clients of one thread are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// The number of the first client among all.
    pub(super) first: u32,
    /// How many sockets they share.
    pub(super) sockets: u32,
    /// Each client's place.
    pub(super) clients: Vec<Place>,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Its socket, which stands for its port.
    pub(super) socket: u32,
    /// Its address; `None` leaves that to the system.
    pub(super) source: Option<Ipv4Addr>,
}

impl Crowd {
    /// The source address of each client, in their order.
    ///
    /// # Errors
    /// When the network is too small.
    pub fn sources(&self) -> Result<Vec<Option<Ipv4Addr>>, CrowdError> {
        Ok(self.places()?.iter().flat_map(|places| &places.clients).map(|place| place.source).collect())
    }

    pub(super) fn places(&self) -> Result<Vec<Places>, CrowdError> {
        let mut lanes = Vec::new();
        let mut used = 0;
        for thread in 0..u64::from(self.threads) {
            let edge = |n: u64| (u64::from(self.clients) * n / u64::from(self.threads)) as u32;
            let (first, count) = (edge(thread), edge(thread + 1) - edge(thread));
            let place = |client| self.place(client, used);
            lanes.push(Places {
                first,
                sockets: if self.net.is_some() { self.ports.min(count) } else { count },
                clients: (0..count).map(place).collect(),
            });
            used += count.div_ceil(self.ports);
        }
        self.check(used.into())?;
        Ok(lanes)
    }

    /// The place of a client of a thread, whose source addresses begin at that number.
    fn place(&self, client: u32, first_source: u32) -> Place {
        let Some(net) = self.net else { return Place { socket: client, source: None } };
        let host = u32::from(net.network()).wrapping_add(first_source + client / self.ports + 1);
        Place { socket: client % self.ports, source: Some(host.into()) }
    }

    fn check(&self, needs: u64) -> Result<(), CrowdError> {
        let Some(net) = self.net else { return Ok(()) };
        // Neither the first nor the last address, which mean the network and everybody in it.
        let has = (1_u64 << (32 - net.prefix_len())).saturating_sub(2);
        if needs <= has {
            return Ok(());
        }
        Err(CrowdError::NetTooSmall { net, has, clients: self.clients, ports: self.ports, needs })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn crowd(clients: u32, net: &str, ports: u32, threads: u32) -> Crowd {
        Crowd { clients, net: Some(net.parse().expect("a network")), ports, threads }
    }

    #[test]
    fn every_client_has_a_source_and_port_of_its_own() {
        for threads in 1..=3 {
            let crowd = crowd(1_000, "10.1.0.0/16", 7, threads);
            let lanes = crowd.places().expect("room for all");
            let mut seen = HashSet::new();
            for (thread, lane) in lanes.iter().enumerate() {
                assert_eq!(lane.first as usize, seen.len());
                for place in &lane.clients {
                    assert!(place.socket < lane.sockets);
                    assert!(seen.insert((thread, *place)), "{place:?} twice");
                }
            }
            assert_eq!(seen.len(), 1_000);
        }
    }

    #[test]
    fn threads_share_no_source() {
        let lanes = crowd(100, "10.1.0.0/24", 3, 2).places().expect("room for all");
        let sources =
            |lane: &Places| -> HashSet<_> { lane.clients.iter().map(|place| place.source).collect() };
        assert!(sources(&lanes[0]).is_disjoint(&sources(&lanes[1])));
    }

    #[test]
    fn network_must_have_an_address_for_all() {
        assert!(crowd(254, "10.1.0.0/24", 1, 1).places().is_ok());
        let error = crowd(255, "10.1.0.0/24", 1, 1).places().expect_err("one too many");
        assert_eq!(
            error.to_string(),
            "10.1.0.0/24 has 254 source addresses; 255 clients with 1 ports each need 255"
        );
    }

    #[test]
    fn without_a_network_every_client_has_a_socket() {
        let crowd = Crowd { clients: 5, net: None, ports: 16, threads: 2 };
        let lanes = crowd.places().expect("no network to be too small");
        assert_eq!(lanes.iter().map(|lane| lane.sockets).collect::<Vec<_>>(), [2, 3]);
    }
}
