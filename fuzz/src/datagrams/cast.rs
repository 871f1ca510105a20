//! Who takes part: listeners, clients, backends, tokens.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::Value;
use udp_director_core::{
    BackendAddr, BackendId, BackendSpec, Capacity, ClientAddr, Limits, Listener, ListenerId, Ports, Protocol,
    Settings,
};
use udp_director_wire::{Magic, Token, TokenForm};

use super::super::script::Script;

/// The director's own addresses.
pub(super) const LOCALS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2))];

/// For how long a redirected or migrated client may be on its way.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// Mostly one of the two that are open, now and then one that is not.
pub(super) fn listener(byte: u8) -> ListenerId {
    ListenerId([0, 0, 0, 1, 1, 1, 2, 0][usize::from(byte % 8)])
}

/// Some share an IP, some differ in the family.
pub(super) fn client(script: &mut Script<'_>) -> ClientAddr {
    let addresses = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "192.0.2.2:2", "[2001:db8::1]:1"];
    let text = addresses[script.below(addresses.len())];
    ClientAddr::new(text.parse().expect("an address"))
}

/// The token of that number: of both forms.
pub(super) fn token(number: usize) -> Token {
    let text = format!("00000000-0000-4000-8000-{number:012x}");
    Token::from_bytes(text.as_bytes()).expect("36 visible characters")
}

/// Limits so low that they are met.
pub(super) fn settings(magic: Magic, form: TokenForm, choice: u8) -> Settings {
    let short = choice & 2 != 0;
    Settings {
        magic,
        token_form: form,
        seal: None,
        token_ttl: Duration::from_secs(30),
        session_timeout: Duration::from_secs(if short { 5 } else { 300 }),
        migration_grace: GRACE,
        token_grace: Duration::from_millis(500),
        sticky_for: Duration::from_secs(120),
        has_default_endpoint: choice & 1 != 0,
        limits: Limits { max_sessions: 6, max_pending_tokens: 8 },
        listeners: vec![open(0, "game", choice & 4 != 0), open(1, "voice", choice & 8 != 0)],
    }
}

fn open(id: u16, name: &str, proxy_protocol: bool) -> Listener {
    Listener {
        id: ListenerId(id),
        name: name.into(),
        protocol: Protocol::Udp,
        port: 7777 + id,
        first_of_protocol: id == 0,
        proxy_protocol,
    }
}

/// The backends that a choice names, a bit for each. The last bit moves one to another address.
pub(super) fn backends(choice: u8) -> Vec<BackendSpec> {
    let both = || Ports::Named(BTreeMap::from([("game".to_owned(), 7000), ("voice".to_owned(), 7001)]));
    let moved = choice & 128 != 0;
    let all = [
        backend("alpha", "game", [10, 0, 0, 1].into(), both()),
        backend("beta", "game", [10, 0, 0, if moved { 9 } else { 2 }].into(), both()),
        backend("gamma", "game", "fd00::3".parse().expect("an address"), Ports::One(7000)),
        // Two of one address, as with a host network: (backend, port) tells them apart no more.
        backend("delta", "game", [10, 0, 0, 1].into(), both()),
        backend("lobby", "lobby", [10, 0, 0, 5].into(), both()),
    ];
    let chosen = |number: &usize| choice >> number & 1 == 1;
    all.into_iter().enumerate().filter(|(number, _)| chosen(number)).map(|(_, spec)| spec).collect()
}

fn backend(name: &str, resource_type: &str, address: IpAddr, ports: Ports) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(name),
        resource_type: resource_type.into(),
        namespace: "games".to_owned(),
        name: name.to_owned(),
        address,
        ports,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        view: Value::Null.into(),
        ends_at: None,
        withheld: None,
        capacity: Capacity::Unbounded,
    }
}

/// Where backends listen, in any inventory.
pub(super) fn addresses() -> Vec<BackendAddr> {
    let of = |text: &str| BackendAddr::new(text.parse().expect("an address"));
    [
        "10.0.0.1:7000",
        "10.0.0.1:7001",
        "10.0.0.2:7000",
        "10.0.0.9:7000",
        "[fd00::3]:7000",
        "10.0.0.5:7000",
        "10.0.0.5:7001",
    ]
    .map(of)
    .to_vec()
}
