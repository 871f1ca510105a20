//! The client halves of a worker, found by listener and client address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::addr::{BackendAddr, ClientAddr};
use crate::session::{Activity, Generation, SessionId, Upstream};
use crate::settings::ListenerId;
use crate::time::Moment;

/// A client, packed for hashing: 24 bytes. IPv4 stands in its IPv6-mapped form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClientKey {
    ip: [u64; 2],
    port: u16,
    listener: u16,
    scope: u32,
}

/// Where a client's datagrams go.
#[derive(Debug)]
pub(super) struct ClientHalf {
    pub(super) session: SessionId,
    pub(super) generation: Generation,
    /// The director's address that the client sends to.
    pub(super) local: IpAddr,
    pub(super) backend: BackendAddr,
    /// `upstream.socket.handle()`, at hand.
    pub(super) handle: i32,
    pub(super) upstream: Upstream,
    pub(super) activity: Arc<Activity>,
    /// The backend is yet to be told who the client is, with its next datagram.
    pub(super) announce: bool,
    /// Until when this half stays though its session goes on from another client address.
    pub(super) lingers: Option<Moment>,
    /// When it is next looked at whether the session is idle.
    pub(super) idle_at: Moment,
}

impl ClientHalf {
    /// The session, unless it goes on from another client address.
    pub(super) fn current(&self) -> Option<SessionId> {
        self.lingers.is_none().then_some(self.session)
    }
}

/// The client halves of a worker. Bounded by `limits.maxSessions`: each belongs to a session, and a
/// session has at most one more that lingers.
#[derive(Debug, Default)]
pub(super) struct Clients(HashMap<ClientKey, ClientHalf, RandomState>);

impl ClientKey {
    #[inline]
    pub(super) fn new(listener: ListenerId, client: ClientAddr) -> ClientKey {
        let addr = client.socket_addr();
        let scope = match addr {
            SocketAddr::V6(v6) => v6.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        ClientKey { ip: pack(addr.ip()), port: addr.port(), listener: listener.0, scope }
    }

    pub(super) fn listener(&self) -> ListenerId {
        ListenerId(self.listener)
    }

    pub(super) fn client(&self) -> ClientAddr {
        ClientAddr::new(SocketAddrV6::new(unpack(self.ip), self.port, 0, self.scope).into())
    }
}

impl Clients {
    #[inline]
    pub(super) fn get_mut(&mut self, key: &ClientKey) -> Option<&mut ClientHalf> {
        self.0.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: ClientKey, half: ClientHalf) {
        self.0.insert(key, half);
    }

    pub(super) fn remove(&mut self, key: &ClientKey) {
        self.0.remove(key);
    }

    /// Removes the half at `key` if it is the one that is meant; says whether it was.
    pub(super) fn remove_if(&mut self, key: &ClientKey, meant: impl FnOnce(&ClientHalf) -> bool) -> bool {
        let found = self.0.get(key).is_some_and(meant);
        if found {
            self.0.remove(key);
        }
        found
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientKey, &ClientHalf)> {
        self.0.iter().map(|(key, half)| (*key, half))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// An address as two words, IPv4 in its IPv6-mapped form.
#[inline]
pub(super) fn pack(ip: IpAddr) -> [u64; 2] {
    let bits = match ip {
        IpAddr::V4(v4) => 0xffff_0000_0000 | u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    [(bits >> 64) as u64, bits as u64]
}

/// The opposite of [`pack`]; IPv4 comes back in its IPv6-mapped form.
pub(super) fn unpack([high, low]: [u64; 2]) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_gives_listener_and_client_back() {
        for text in ["192.0.2.1:7", "[2001:db8::1]:9", "[fe80::1%3]:1", "0.0.0.0:0"] {
            let client = ClientAddr::new(text.parse().expect("an address"));
            let key = ClientKey::new(ListenerId(4), client);
            assert_eq!((key.listener(), key.client()), (ListenerId(4), client));
        }
        assert_eq!(size_of::<ClientKey>(), 24);
    }
}
