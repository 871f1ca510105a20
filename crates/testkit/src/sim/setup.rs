//! What a simulated network is made of, with defaults for what a test does not care about.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use udp_director_core::{
    BackendId, BackendSpec, Capacity, ClientAddr, Limits, Listener, ListenerId, Ports, Protocol, Settings,
};
use udp_director_wire::{Magic, TokenForm};

use super::link::Link;

/// The listener that every backend of [`backend`] serves at port 7000.
pub const GAME: ListenerId = ListenerId(0);

/// The listener that every backend of [`backend`] serves at port 7001.
pub const VOICE: ListenerId = ListenerId(1);

/// What a simulated network is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How many workers share the clients.
    pub workers: u16,
    /// Upstream sockets that each worker may open.
    pub max_upstreams: u32,
    /// The rules' configuration.
    pub settings: Settings,
    /// The first inventory. Those of the type `lobby` are the default endpoint's, if there is one.
    pub backends: Vec<BackendSpec>,
    /// Whether a game server goes on answering when the inventory has it no longer.
    pub servers_outlive_inventory: bool,
    /// Between clients and the director.
    pub client_link: Link,
    /// Between the director and backends.
    pub cluster_link: Link,
    /// How long a message between workers is under way; those of one worker to another keep order.
    pub message_delay: Range<Duration>,
}

impl Default for Setup {
    /// One worker, the backends alpha and beta, and a network without latency or faults.
    fn default() -> Setup {
        Setup {
            seed: 1,
            workers: 1,
            max_upstreams: 1000,
            settings: settings(),
            backends: vec![backend("alpha", 1), backend("beta", 2)],
            servers_outlive_inventory: false,
            client_link: Link::instant(),
            cluster_link: Link::instant(),
            message_delay: Duration::ZERO..Duration::ZERO,
        }
    }
}

/// The configuration's defaults, with the listeners [`GAME`] and [`VOICE`] and no default endpoint.
pub fn settings() -> Settings {
    Settings {
        magic: Magic::default(),
        token_form: TokenForm::Uuid,
        seal: None,
        token_ttl: Duration::from_secs(30),
        session_timeout: Duration::from_secs(300),
        migration_grace: Duration::from_millis(250),
        token_grace: Duration::from_millis(500),
        sticky_for: Duration::from_secs(120),
        has_default_endpoint: false,
        limits: Limits { max_sessions: 1000, max_pending_tokens: 1000 },
        listeners: vec![listener(GAME, "game"), listener(VOICE, "voice")],
    }
}

fn listener(id: ListenerId, name: &str) -> Listener {
    Listener {
        id,
        name: name.into(),
        protocol: Protocol::Udp,
        port: 7777 + id.0,
        first_of_protocol: id == GAME,
        proxy_protocol: false,
    }
}

/// A backend at 10.0.0.`host` that serves both listeners.
pub fn backend(name: &str, host: u8) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(name),
        resource_type: "game".into(),
        namespace: "games".to_owned(),
        name: name.to_owned(),
        address: IpAddr::from([10, 0, 0, host]),
        ports: Ports::Named(BTreeMap::from([("game".to_owned(), 7000), ("voice".to_owned(), 7001)])),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        view: serde_json::Value::Null.into(),
        ends_at: None,
        withheld: None,
        capacity: Capacity::Unbounded,
    }
}

/// A backend of the default endpoint.
pub fn lobby(name: &str, host: u8) -> BackendSpec {
    BackendSpec { resource_type: "lobby".into(), ..backend(name, host) }
}

/// A client's address, written as `192.0.2.1:5000`.
///
/// # Panics
/// When it is written otherwise.
pub fn client(text: &str) -> ClientAddr {
    ClientAddr::new(text.parse().expect("an address and a port"))
}

/// The client at port `port` of 192.0.2.`host`.
pub fn client_at(host: u8, port: u16) -> ClientAddr {
    ClientAddr::new(([192, 0, 2, host], port).into())
}
