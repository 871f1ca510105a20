//! The client halves of a worker, found by listener and client address.

use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::addr::{BackendAddr, ClientAddr, Packed};
use crate::session::{Activity, Generation, SessionId, Upstream};
use crate::settings::ListenerId;
use crate::time::Moment;

/// A client: its address, with the listener as tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClientKey(Packed);

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
    /// The backend is gone: nothing is sent there.
    pub(super) parked: bool,
    /// Until when this half stays though its session goes on from another client address.
    pub(super) lingers: Option<Moment>,
    /// A control packet has come from here since the session has left: data from that moment on, when
    /// nothing can be under way any more, means that its client is back.
    pub(super) called_back: Option<Moment>,
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
        ClientKey(Packed { tag: listener.0, ..client.packed() })
    }

    pub(super) fn listener(&self) -> ListenerId {
        ListenerId(self.0.tag)
    }

    pub(super) fn client(&self) -> ClientAddr {
        ClientAddr::from_packed(self.0)
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
