//! From one ledger by the journal into the next, with real sockets and without clients.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use udp_director_core::{
    BackendAddr, BackendId, BackendSpec, Capacity, ClientAddr, Generation, Listener, ListenerId, Moment,
    Ports, Protocol, SessionId, SessionRecord, TokenRecord, UseRecord, WorkerId,
};
use udp_director_dataplane::WorkersOptions;
use udp_director_wire::Token;
use uuid::Uuid;

use super::*;
use crate::rules;

const PORT: u16 = 7777;
const PLAYERS_EACH: usize = 100;

/// A ledger with workers, and no listener.
struct Desk {
    ledger: Arc<SharedLedger>,
    workers: Arc<Workers>,
    clock: Clock,
    config: Config,
}

impl Desk {
    fn new() -> Desk {
        let text = "dataPort: 7777\ninventory: {file: none.yaml}\nresourceQueryMapping:\n  \
                    gs: {group: agones.dev, version: v1, resource: gameservers, namespaces: [games], portName: a}\n";
        let config = Config::parse(text, Path::new("config.yaml")).expect("a good configuration");
        let listener = Listener {
            id: ListenerId(0),
            name: "default".into(),
            protocol: Protocol::Udp,
            port: PORT,
            first_of_protocol: true,
            proxy_protocol: false,
        };
        let settings = Arc::new(rules::settings(&config, vec![listener], None));
        let ledger = Arc::new(SharedLedger::new(settings, Arc::default()));
        let clock = Clock::new();
        let options = WorkersOptions { count: 2, max_upstreams: 4_000, seed: 1 };
        let workers = Workers::start(&options, &ledger, clock).expect("threads");
        Desk { ledger, workers: Arc::new(workers), clock, config }
    }

    async fn restore(&self, journal: Journal, status: &JournalStatus) -> (Journal, Unconfirmed) {
        let (ledger, workers, clock) = (&self.ledger, &self.workers, self.clock);
        Restoring { ledger, workers, clock, config: &self.config, status }.carry_out(journal).await
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.workers.stop().expect("no worker failed");
    }
}

fn spec(number: usize) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(&format!("gs/{}", Uuid::from_u128(number as u128))),
        resource_type: "gs".into(),
        namespace: "games".into(),
        name: format!("server-{number}"),
        address: IpAddr::from([10, 1, (number / 250) as u8, (number % 250) as u8]),
        ports: Ports::One(7000),
        labels: BTreeMap::from([("map".to_owned(), format!("map-{}", number % 10))]),
        annotations: BTreeMap::new(),
        view: serde_json::Value::Null.into(),
        ends_at: None,
        withheld: None,
        capacity: Capacity::default(),
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let bound: Vec<_> = (0..count).map(|_| UdpSocket::bind("0.0.0.0:0").expect("a free port")).collect();
    bound.iter().map(|socket| socket.local_addr().expect("bound").port()).collect()
}

/// So many players on each of so many servers; each has a token, and asked for the same.
async fn populate(desk: &Desk, servers: usize, expires: Moment) -> usize {
    let inventory = Inventory::default().next((0..servers).map(spec).collect(), Vec::new());
    let inventory = Arc::new(inventory);
    desk.ledger.lock().publish(Arc::clone(&inventory), None);
    let text = r#"{"resourceType":"gs","namespace":"games"}"#;
    let wanted = wanted(text, &desk.config, &mut HashMap::new());
    let ports = free_ports(PLAYERS_EACH);
    let mut sessions = Vec::new();
    for number in 0..servers * PLAYERS_EACH {
        let (backend, id) = (&inventory.backends()[number % servers], SessionId(number as u64 + 1));
        let client = ([10, 9, (number >> 8) as u8, number as u8], 1024 + (number >> 16) as u16).into();
        let client = ClientAddr::new(client);
        let token = Uuid::new_v4().hyphenated().to_string();
        let token = Token::from_bytes(token.as_bytes()).expect("36 characters");
        let used = UseRecord { protocol: Protocol::Udp, port: PORT, session: id, names: true };
        let record = TokenRecord {
            token,
            backend: Arc::clone(backend),
            seated: true,
            asked_by: Some(client.ip()),
            bound: true,
            wanted: wanted.clone(),
            sticky_key: None,
            expires,
            uses: vec![used],
        };
        desk.ledger.lock().restore_token(record, desk.clock.now());
        sessions.push(SessionRecord {
            id,
            port: PORT,
            client,
            local: IpAddr::from([10, 0, 0, 1]),
            backend: Arc::clone(backend),
            backend_addr: BackendAddr::new((backend.spec.address, 7000).into()),
            worker: WorkerId((number / servers % 2) as u16),
            upstream_port: ports[number / servers],
            token: Some(token),
            generation: Generation(0),
            parked: false,
        });
    }
    desk.workers.restore(sessions).await.sessions
}

async fn whole_ledger_is_restored(servers: usize, most: Duration) {
    let (dir, status) = (tempfile::tempdir().expect("a folder"), Arc::new(JournalStatus::default()));
    let players = servers * PLAYERS_EACH;
    {
        let before = Desk::new();
        let expires = before.clock.now() + Duration::from_secs(60);
        assert_eq!(populate(&before, servers, expires).await, players);
        let journal = Journal::take(dir.path(), Arc::clone(&status));
        let following = journal.follow(&before.ledger, before.clock).expect("a thread").expect("a lock");
        following.stop();
    }
    let bytes = std::fs::metadata(dir.path().join("sessions.redb")).expect("a journal").len();
    let after = Desk::new();
    let journal = Journal::take(dir.path(), Arc::clone(&status));
    let begun = Instant::now();
    let (_journal, unconfirmed) = after.restore(journal, &status).await;
    let took = begun.elapsed();
    println!("{players} sessions restored in {took:?}, from {} KiB", bytes >> 10);
    let outcome = status.outcome();
    assert_eq!((outcome.restored.sessions, outcome.unreadable), (players, 0));
    assert!(!unconfirmed.is_empty() && took < most, "{took:?}");
    let ledger = after.ledger.lock();
    assert_eq!((ledger.session_count(), ledger.token_count()), (players, players));
    let seats = ledger.inventory().backends().iter().map(|backend| backend.load.seats());
    assert!(seats.clone().count() == servers && seats.min() == Some(PLAYERS_EACH as u32));
}

#[tokio::test]
async fn two_thousand_sessions_are_restored() {
    whole_ledger_is_restored(20, Duration::from_secs(20)).await;
}

#[tokio::test]
#[ignore = "long: make test-restarts"]
async fn hundred_thousand_sessions_are_restored_within_three_seconds() {
    whole_ledger_is_restored(1_000, Duration::from_secs(3)).await;
}
