//! Datagrams that wait for the token of their client: it may have been lost or overtaken.

use std::collections::HashMap;
use std::net::IpAddr;

use super::clients::ClientKey;
use crate::time::Moment;

/// How many datagrams of one client wait at most.
const PER_CLIENT: usize = 8;

/// How many bytes of all clients of a worker wait at most.
const TOTAL_BYTES: usize = 4 << 20;

/// What a waiting datagram costs on top of its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 256;

/// The datagrams that wait in a worker. At a bound the newcomer is refused.
#[derive(Debug, Default)]
pub(super) struct Hold {
    waiting: HashMap<ClientKey, Queue>,
    bytes: usize,
}

/// What waits for the token of one client.
#[derive(Debug)]
struct Queue {
    /// Until when.
    until: Moment,
    /// Each with the director's address that it arrived at.
    datagrams: Vec<(IpAddr, Vec<u8>)>,
}

impl Hold {
    pub(super) fn holds(&self, key: &ClientKey) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(key)
    }

    /// Keeps a datagram that arrived at `local`, until the moment if it is the client's first; `false`
    /// at a bound.
    pub(super) fn push(&mut self, key: ClientKey, local: IpAddr, payload: &[u8], until: Moment) -> bool {
        let cost = payload.len() + OVERHEAD;
        let full = self.waiting.get(&key).is_some_and(|queue| queue.datagrams.len() >= PER_CLIENT);
        if full || self.bytes + cost > TOTAL_BYTES {
            return false;
        }
        self.bytes += cost;
        let queue = self.waiting.entry(key).or_insert_with(|| Queue { until, datagrams: Vec::new() });
        queue.datagrams.push((local, payload.to_vec()));
        true
    }

    /// Until when the client's datagrams wait.
    pub(super) fn until(&self, key: &ClientKey) -> Option<Moment> {
        self.waiting.get(key).map(|queue| queue.until)
    }

    /// The director's address that the client's first waiting datagram arrived at.
    pub(super) fn local(&self, key: &ClientKey) -> Option<IpAddr> {
        self.waiting.get(key)?.datagrams.first().map(|(local, _)| *local)
    }

    /// How many clients have something waiting.
    pub(super) fn clients(&self) -> usize {
        self.waiting.len()
    }

    /// Takes what waits for a client, in order of arrival.
    pub(super) fn take(&mut self, key: &ClientKey) -> Vec<(IpAddr, Vec<u8>)> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let queue = self.waiting.remove(key).map(|queue| queue.datagrams).unwrap_or_default();
        self.bytes -= queue.iter().map(|(_, payload)| payload.len() + OVERHEAD).sum::<usize>();
        queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::ClientAddr;
    use crate::settings::ListenerId;

    fn key(port: u16) -> ClientKey {
        ClientKey::new(ListenerId(0), ClientAddr::new(([192, 0, 2, 1], port).into()))
    }

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_ninth_datagram_of_a_client_is_refused() {
        let mut hold = Hold::default();
        for number in 0..8 {
            assert!(hold.push(key(1), LOCAL, &[number], Moment::default()));
        }
        assert!(!hold.push(key(1), LOCAL, &[8], Moment::default()));
        assert!(hold.push(key(2), LOCAL, &[8], Moment::default()), "another client's");
        let held: Vec<u8> = hold.take(&key(1)).into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(held, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn waiting_bytes_are_bounded_and_given_back() {
        let mut hold = Hold::default();
        let taken = (0..u16::MAX)
            .take_while(|&port| hold.push(key(port), LOCAL, &[0; 65_000], Moment::default()))
            .count();
        assert_eq!(taken, TOTAL_BYTES / (65_000 + OVERHEAD));
        for port in 0..u16::MAX {
            hold.take(&key(port));
        }
        assert_eq!(hold.bytes, 0);
    }
}
