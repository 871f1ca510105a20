//! A director's TCP side with its ledger, and the two ends that talk through it.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use udp_director_core::{
    Backend, BackendId, BackendSpec, Capacity, Counters, DefaultEndpoint, Dropped, Event, Inventory, Issue,
    Limits, Listener, ListenerId, Ports, Protocol, Query, Refusal, Seat, SessionId, Settings, SharedLedger,
};
use udp_director_dataplane::tcp::Streams;
use udp_director_dataplane::{Clock, Descriptors, Taken};
use udp_director_wire::{Magic, Token, TokenForm};

pub(crate) const LISTENER: ListenerId = ListenerId(0);

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) ledger: Arc<SharedLedger>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) public: SocketAddr,
    pub(crate) stop: CancellationToken,
    clock: Clock,
    tokens: AtomicU64,
}

impl World {
    pub(crate) async fn start(backends: &[SocketAddr]) -> World {
        World::start_with(backends, |settings| settings).await
    }

    pub(crate) async fn start_with(
        backends: &[SocketAddr],
        change: impl FnOnce(Settings) -> Settings,
    ) -> World {
        World::start_at("127.0.0.1:0", 10_000, backends, change).await
    }

    pub(crate) async fn start_at(
        bind: &str,
        max_connections: usize,
        backends: &[SocketAddr],
        change: impl FnOnce(Settings) -> Settings,
    ) -> World {
        let inventory = Arc::new(inventory(backends));
        let ledger = Arc::new(SharedLedger::new(Arc::new(change(settings())), Arc::clone(&inventory)));
        if ledger.lock().settings().has_default_endpoint {
            ledger
                .lock()
                .publish(Arc::clone(&inventory), Some(Arc::new(default_endpoint(Arc::clone(&inventory)))));
        }
        let (counters, clock) = (Arc::new(Counters::default()), Clock::new());
        let descriptors = Descriptors::new(100_000, clock);
        let (of, to) = (Arc::clone(&ledger), Arc::clone(&counters));
        let streams = Streams::new(of, to, clock, max_connections, Arc::clone(&descriptors), 1);
        let socket = TcpListener::bind(bind).await.expect("a free port");
        let public = socket.local_addr().expect("a bound socket");
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&streams).serve(socket, LISTENER, stop.clone()));
        World { ledger, counters, descriptors, streams, public, stop, clock, tokens: AtomicU64::new(0) }
    }

    pub(crate) fn backend(&self, number: usize) -> Arc<Backend> {
        let id = BackendId::new(&number.to_string());
        Arc::clone(self.ledger.lock().inventory().by_id(&id).expect("a backend of this world"))
    }

    /// A token for clients on the loopback.
    pub(crate) fn token(&self, backend: usize) -> Token {
        self.token_for(backend, Ipv4Addr::LOCALHOST.into())
    }

    pub(crate) fn token_for(&self, backend: usize, asked_by: IpAddr) -> Token {
        let token = self.unknown_token();
        let seat = Seat::take(&self.backend(backend)).expect("a seat");
        let issue = Issue { token, seat, asked_by, bound: true, wanted: None, sticky_key: None };
        self.ledger.lock().issue(issue, self.clock.now()).expect("room for a token");
        token
    }

    /// A token that was never given out.
    pub(crate) fn unknown_token(&self) -> Token {
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        let text = format!("0b6f2c1e-8f3a-4c55-9d0e-{number:012x}");
        Token::from_bytes(text.as_bytes()).expect("a token")
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(self.public)).await.expect("a connection to the director")
    }

    /// Connects and sends these bytes.
    pub(crate) async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut client = self.connect().await;
        write(&mut client, bytes).await;
        client
    }

    /// Both ends of a session on that backend, and its number.
    pub(crate) async fn enter(
        &self,
        number: usize,
        backend: &TcpListener,
    ) -> (TcpStream, TcpStream, SessionId) {
        let token = self.token(number);
        let client = self.send(&[token.as_bytes(), &b"\n"[..]].concat()).await;
        let server = accept(backend).await;
        self.until(|world| world.named_by(&token).is_some()).await;
        (client, server, self.named_by(&token).expect("a session"))
    }

    /// Takes all descriptors but that many.
    pub(crate) fn leave_descriptors(&self, count: usize) -> Taken {
        let left = self.descriptors.budget() - self.descriptors.taken();
        self.descriptors.take(left - count).expect("as many are left")
    }

    /// The session that a token names.
    pub(crate) fn named_by(&self, token: &Token) -> Option<SessionId> {
        let client = Ipv4Addr::LOCALHOST.into();
        let named = self.ledger.lock().admit_reset(token, token, client, self.clock.now()).ok()?;
        named.first().map(|at| at.id)
    }

    pub(crate) fn events(&self, event: Event) -> u64 {
        self.counters.events(event)
    }

    pub(crate) fn refused(&self, refusal: Refusal) -> u64 {
        self.counters.drops(Dropped::Refused(refusal))
    }

    pub(crate) async fn until(&self, holds: impl Fn(&World) -> bool) {
        let wait = async {
            while !holds(self) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        soon(wait).await;
    }
}

/// Waits with a bound.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens soon")
}

/// A backend that can be accepted on.
pub(crate) async fn backend() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = socket.local_addr().expect("a bound socket");
    (socket, addr)
}

pub(crate) async fn accept(backend: &TcpListener) -> TcpStream {
    soon(backend.accept()).await.expect("a connection from the director").0
}

pub(crate) async fn write(stream: &mut TcpStream, bytes: &[u8]) {
    soon(stream.write_all(bytes)).await.expect("a peer that reads");
}

pub(crate) async fn finish(stream: &mut TcpStream) {
    stream.shutdown().await.expect("an open connection");
}

pub(crate) async fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    soon(stream.read_exact(&mut bytes)).await.expect("so many bytes");
    bytes
}

/// Reads up to the regular end.
pub(crate) async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon(stream.read_to_end(&mut bytes)).await.expect("a regular end");
    bytes
}

/// Waits for the end of the connection, by FIN or by reset, and says that nothing came before it.
pub(crate) async fn is_turned_away(client: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    let _ = soon(client.read_to_end(&mut bytes)).await;
    bytes.is_empty()
}

/// Says that no connection has been made to the backend by now.
pub(crate) async fn is_untouched(backend: &TcpListener) -> bool {
    timeout(Duration::from_millis(20), backend.accept()).await.is_err()
}

fn settings() -> Settings {
    let listener = Listener {
        id: LISTENER,
        name: "game-tcp".into(),
        protocol: Protocol::Tcp,
        port: 7777,
        first_of_protocol: true,
        proxy_protocol: false,
    };
    Settings {
        magic: Magic::default(),
        token_form: TokenForm::Uuid,
        seal: None,
        token_ttl: Duration::from_secs(60),
        session_timeout: Duration::from_secs(60),
        migration_grace: Duration::from_millis(250),
        token_grace: Duration::from_millis(100),
        sticky_for: Duration::from_secs(120),
        has_default_endpoint: false,
        limits: Limits { max_sessions: 10_000, max_pending_tokens: 10_000 },
        listeners: vec![listener],
    }
}

fn inventory(backends: &[SocketAddr]) -> Inventory {
    let spec = |(number, addr): (usize, &SocketAddr)| BackendSpec {
        id: BackendId::new(&number.to_string()),
        resource_type: "gs".into(),
        namespace: "games".into(),
        name: format!("gs-{number}"),
        address: addr.ip(),
        ports: Ports::One(addr.port()),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        view: serde_json::Value::Null.into(),
        ends_at: None,
        withheld: None,
        capacity: Capacity::Unbounded,
    };
    Inventory::default().next(backends.iter().enumerate().map(spec).collect(), Vec::new())
}

fn default_endpoint(inventory: Arc<Inventory>) -> DefaultEndpoint {
    let query = udp_director_wire::Query { resource_type: "gs".into(), ..Default::default() };
    DefaultEndpoint::new(Query::compile(&query).expect("a query"), Arc::default(), inventory)
}
