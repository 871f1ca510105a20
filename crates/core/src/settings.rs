//! What the rules need to know of the configuration, checked and with all defaults filled in.

use std::sync::Arc;
use std::time::Duration;

use udp_director_wire::{Magic, TokenForm};

use crate::seal::Seal;

/// A listener's place in the process: the same from when it opens until it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// The transport of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
}

/// One public data port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its place in the process.
    pub id: ListenerId,
    /// Its name, unique among the listeners.
    pub name: Arc<str>,
    /// Its transport.
    pub protocol: Protocol,
    /// Its public port; the one that was bound where the configuration says 0.
    pub port: u16,
    /// Whether it is the first of its protocol in the configuration, and so the one that backends
    /// with a single port serve.
    pub first_of_protocol: bool,
    /// Whether backends are told the client's real address (PROXY protocol version 2).
    pub proxy_protocol: bool,
}

/// The bounds of everything that clients can make grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions on all listeners together.
    pub max_sessions: usize,
    /// Tokens that nobody has redeemed yet.
    pub max_pending_tokens: usize,
}

/// What the rules need to know of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Begins every control packet.
    pub magic: Magic,
    /// Which bare datagrams count as a token.
    pub token_form: TokenForm,
    /// What opens tokens that are not known here; `None` where nothing does.
    pub seal: Option<Arc<Seal>>,
    /// For how long a token can be redeemed.
    pub token_ttl: Duration,
    /// After how long without a datagram in either direction a session ends.
    pub session_timeout: Duration,
    /// For how long datagrams of the old backend still reach a migrated client.
    pub migration_grace: Duration,
    /// For how long a sticky key still leads to its backend, and a token tells which backend its player
    /// has left, after the last session has ended.
    pub sticky_for: Duration,
    /// For how long data of an unknown client waits for the token that its IP was given, where a
    /// default endpoint would take it.
    pub token_grace: Duration,
    /// Whether clients without a token have somewhere to go.
    pub has_default_endpoint: bool,
    /// The bounds.
    pub limits: Limits,
    /// Every listener that takes new sessions.
    pub listeners: Vec<Listener>,
}

impl Settings {
    /// The listener of that id, if it takes new sessions.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.id == id)
    }
}
