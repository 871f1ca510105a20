//! What can be seen from outside the director: what reached it, its backends and its clients.

use std::net::IpAddr;

use udp_director_core::{BackendAddr, ClientAddr, ListenerId, Moment};

use super::beat::Beat;
use super::link::Way;

/// Everything that was seen so far, in order.
#[derive(Debug, Default)]
pub struct Watch {
    /// The beats that reached the director.
    pub beats: Vec<Beat>,
    /// What was given to links, and what they made of it.
    pub carried: Vec<Carried>,
    /// What reached backends.
    pub arrived: Vec<Arrived>,
    /// What reached clients, or the places where they have been.
    pub delivered: Vec<Delivered>,
}

/// A datagram that was given to a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// When.
    pub at: Moment,
    /// On which way.
    pub way: Way,
    /// The datagram.
    pub payload: Vec<u8>,
    /// How many of it arrive: none where the link loses it, two where it doubles it.
    pub copies: usize,
}

/// A datagram that has reached a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// When.
    pub at: Moment,
    /// The name of the backend; empty where nobody is at the address.
    pub backend: String,
    /// The backend's address and port.
    pub addr: BackendAddr,
    /// The director's socket that it came from: as whom the backend sees the player.
    pub upstream: i32,
    /// The datagram.
    pub payload: Vec<u8>,
}

/// A datagram that has reached a client's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// When.
    pub at: Moment,
    /// The listener that it came from.
    pub listener: ListenerId,
    /// Where it went.
    pub client: ClientAddr,
    /// The director's address that it came from.
    pub from: IpAddr,
    /// The datagram.
    pub payload: Vec<u8>,
}

impl Watch {
    /// The name of the backend that the datagram reached.
    ///
    /// # Panics
    /// When it reached none, or more than one.
    pub fn backend_of(&self, payload: &[u8]) -> &str {
        &self.arrival(payload).backend
    }

    /// The one arrival of the datagram.
    ///
    /// # Panics
    /// When it reached no backend, or more than one.
    pub fn arrival(&self, payload: &[u8]) -> &Arrived {
        let found: Vec<_> = self.arrived.iter().filter(|arrived| arrived.payload == payload).collect();
        assert_eq!(found.len(), 1, "arrivals of {:?}", String::from_utf8_lossy(payload));
        found[0]
    }

    /// Whether the datagram reached a backend.
    pub fn has_arrived(&self, payload: &[u8]) -> bool {
        self.arrived.iter().any(|arrived| arrived.payload == payload)
    }

    /// Whether the client got that datagram on the listener.
    pub fn has_delivered(&self, listener: ListenerId, client: ClientAddr, payload: &[u8]) -> bool {
        self.delivered.iter().any(|delivered| {
            delivered.listener == listener && delivered.client == client && delivered.payload == payload
        })
    }
}
