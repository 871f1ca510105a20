//! A query server on a free port, and clients for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use udp_director_core::{
    BackendId, BackendSpec, Balancer, Capacity, ClientAddr, Inventory, Limits, Listener, ListenerId,
    OpenedBy, Opening, Place, Ports, Presented, Protocol, Settings, SharedLedger, Strategy,
};
use udp_director_dataplane::{Clock, Descriptors};
use udp_director_director::allocation::{self, AllocationCounters, Allocations, Errand};
use udp_director_director::query::{
    Catalog, ConnectionLimits, Deadlines, Migration, Parts, QueryCounters, QueryServer, ResourceType,
};
use udp_director_wire::{Magic, Token, TokenForm};

/// Nothing in these tests takes that long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a test may change before the server starts.
pub(crate) struct Setup {
    pub(crate) bind: SocketAddr,
    pub(crate) settings: Settings,
    pub(crate) backends: Vec<BackendSpec>,
    pub(crate) catalog: Catalog,
    pub(crate) limits: ConnectionLimits,
    pub(crate) deadlines: Deadlines,
    pub(crate) held: ConnectionLimits,
}

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) counters: Arc<QueryCounters>,
    pub(crate) catalog: watch::Sender<Arc<Catalog>>,
    pub(crate) migrations: mpsc::Receiver<Migration>,
    /// What is to be done in the cluster: the test plays it.
    pub(crate) errands: mpsc::Receiver<Errand>,
    pub(crate) allocations: Arc<AllocationCounters>,
    published: watch::Sender<u64>,
    /// Ends what looks after allocated servers.
    stop_looking: CancellationToken,
    ledger: Arc<SharedLedger>,
    clock: Clock,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

pub(crate) struct Client {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

pub(crate) struct Reader(BufReader<OwnedReadHalf>);

pub(crate) struct Writer(OwnedWriteHalf);

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            bind: "127.0.0.1:0".parse().expect("an address"),
            settings: settings(),
            backends: vec![
                backend("lobby-1", "lobby", "games", named(&[("game", 4001), ("chat", 4002)])),
                backend("server-1", "gameserver", "east", Ports::One(4101)),
            ],
            catalog: catalog(&[("lobby", &["games"]), ("gameserver", &["east", "west"])]),
            limits: ConnectionLimits { total: 100, per_source: 100 },
            held: ConnectionLimits { total: 100, per_source: 100 },
            deadlines: Deadlines { next_line: Duration::from_millis(50), ..Deadlines::DEFAULT },
        }
    }
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Setup)) -> Server {
        let mut setup = Setup::default();
        change(&mut setup);
        let inventory = Inventory::default().next(setup.backends, Vec::new());
        let ledger = Arc::new(SharedLedger::new(Arc::new(setup.settings), Arc::new(inventory)));
        let (catalog, catalogs) = watch::channel(Arc::new(setup.catalog));
        let (requests, migrations) = mpsc::channel(8);
        let (counters, clock) = (Arc::new(QueryCounters::new()), Clock::new());
        let published = watch::Sender::new(0);
        let (errands, sent) = mpsc::channel(2 * Allocations::MOST_REQUESTS);
        let allocation_counters = Arc::new(AllocationCounters::new());
        let allocations = Arc::new(Allocations::new(allocation::Parts {
            ledger: Arc::clone(&ledger),
            clock,
            published: published.subscribe(),
            errands,
            counters: Arc::clone(&allocation_counters),
        }));
        let stop_looking = CancellationToken::new();
        tokio::spawn(Arc::clone(&allocations).look_after(stop_looking.clone(), CancellationToken::new()));
        let server = QueryServer::new(Parts {
            ledger: Arc::clone(&ledger),
            clock,
            catalog: catalogs,
            migrations: requests,
            counters: Arc::clone(&counters),
            limits: setup.limits,
            descriptors: Descriptors::new(10_000, clock),
            deadlines: setup.deadlines,
            held: setup.held,
            published: published.subscribe(),
            allocations,
        });
        let listener = TcpListener::bind(setup.bind).await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(listener, async { drop(stopped.await) }));
        Server {
            addr,
            counters,
            catalog,
            migrations,
            errands: sent,
            allocations: allocation_counters,
            published,
            stop_looking,
            ledger,
            clock,
            stop: Some(stop),
            task,
        }
    }

    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        timeout(PATIENCE, &mut self.task).await.expect("it stops").expect("no panic");
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.addr).await
    }

    pub(crate) async fn client_from(&self, ip: Ipv4Addr) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((ip, 0).into()).expect("a loopback address");
        Client::over(socket.connect(self.addr).await.expect("a connection"))
    }

    /// Whether a data port would take that token from there.
    pub(crate) fn admits(&self, token: &str, client: &str) -> bool {
        let client = ClientAddr::new(client.parse().expect("an address"));
        let presented =
            Presented { token: parse(token), listener: ListenerId(0), client, own: None, control: false };
        self.ledger.lock().admit(&presented, self.clock.now()).is_ok()
    }

    /// Lets a client redeem the token on these listeners.
    pub(crate) fn play(&self, token: &str, listeners: impl IntoIterator<Item = ListenerId>) {
        listeners.into_iter().for_each(|listener| self.play_at(Place::Stream, token, listener));
    }

    /// Lets a client redeem the token on that listener, in a session that lives there.
    pub(crate) fn play_at(&self, place: Place, token: &str, listener: ListenerId) {
        let client: SocketAddr = "127.0.0.1:5000".parse().expect("an address");
        let mut ledger = self.ledger.lock();
        let addr = {
            let settings = Arc::clone(ledger.settings());
            let listener = settings.listener(listener).expect("a listener");
            ledger.inventory().backends().iter().find_map(|backend| backend.addr_for(listener))
        };
        let opening = Opening {
            listener,
            client: ClientAddr::new(client),
            local: IpAddr::from(Ipv4Addr::LOCALHOST),
            place,
            addr: addr.expect("a backend with a port"),
            upstream: None,
            by: OpenedBy::Token(parse(token)),
        };
        ledger.open(opening, self.clock.now());
    }

    /// Does what the control task does from time to time.
    pub(crate) fn clear_expired_tokens(&self) {
        self.ledger.lock().expire(self.clock.now());
    }

    /// Publishes an inventory of only those backends.
    pub(crate) fn keep_backends(&self, keep: impl Fn(&BackendSpec) -> bool) {
        let inventory = Arc::clone(self.ledger.lock().inventory());
        let specs = inventory.backends().iter().map(|backend| (*backend.spec).clone()).filter(keep);
        self.publish(specs.collect());
    }

    /// Publishes an inventory of these backends.
    pub(crate) fn publish(&self, specs: Vec<BackendSpec>) {
        let mut ledger = self.ledger.lock();
        let next = ledger.inventory().next(specs, Vec::new());
        ledger.publish(Arc::new(next), None);
        drop(ledger);
        self.published.send_modify(|generation| *generation += 1);
    }

    /// How many seats of each backend are taken, by name.
    pub(crate) fn seats(&self) -> Vec<(String, u32)> {
        let inventory = Arc::clone(self.ledger.lock().inventory());
        inventory.backends().iter().map(|backend| (backend.spec.name.clone(), backend.load.seats())).collect()
    }

    /// Clears expired tokens away, as the control task does.
    pub(crate) fn expire(&self) {
        self.ledger.lock().expire(self.clock.now());
    }

    /// Ends what looks after allocated servers, as the end of the process does.
    pub(crate) fn stop_looking(&self) {
        self.stop_looking.cancel();
    }
}

impl Client {
    pub(crate) async fn connect(addr: impl ToSocketAddrs) -> Client {
        Client::over(TcpStream::connect(addr).await.expect("a connection"))
    }

    fn over(stream: TcpStream) -> Client {
        let (reader, writer) = stream.into_split();
        Client { reader: Reader(BufReader::new(reader)), writer: Writer(writer) }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.writer.send(bytes).await;
    }

    pub(crate) async fn answer(&mut self) -> Value {
        self.reader.answer().await
    }

    pub(crate) async fn ask(&mut self, document: impl AsRef<[u8]>) -> Value {
        self.send(document).await;
        self.answer().await
    }

    pub(crate) async fn token(&mut self, document: &str) -> String {
        self.ask(document).await["token"].as_str().expect("a token").to_owned()
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn end(&mut self) {
        self.writer.0.shutdown().await.expect("an open connection");
    }

    /// Breaks the connection.
    pub(crate) fn reset(self) {
        let stream = self.reader.0.into_inner().reunite(self.writer.0).expect("halves of one connection");
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an open connection");
    }

    /// Waits for the server to close the connection; false when it answers instead.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let read = timeout(PATIENCE, self.reader.0.fill_buf()).await.expect("the end of the connection");
        read.map_or(true, |bytes| bytes.is_empty())
    }
}

impl Reader {
    pub(crate) async fn answer(&mut self) -> Value {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("an answer in time").expect("an answer");
        assert!(line.ends_with('\n'), "no whole answer: {line:?}");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Writer {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("an open connection");
    }

    /// Sends all of that; `None` when it is not taken within that time.
    pub(crate) async fn try_send_within(&mut self, bytes: impl AsRef<[u8]>, within: Duration) -> Option<()> {
        timeout(within, self.0.write_all(bytes.as_ref())).await.ok()?.ok()
    }

    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        timeout(PATIENCE, self.0.write_all(bytes.as_ref())).await.expect("sent or refused in time")
    }
}

/// Lets everything else run until the condition holds.
pub(crate) async fn eventually(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, holds).await.expect("the condition holds in the end");
}

pub(crate) fn backend(name: &str, resource_type: &str, namespace: &str, ports: Ports) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(name),
        resource_type: resource_type.into(),
        namespace: namespace.into(),
        name: name.into(),
        address: "10.0.0.1".parse().expect("an address"),
        ports,
        labels: [("tier".to_owned(), "gold".to_owned())].into(),
        annotations: Default::default(),
        view: json!({"status": {"phase": "Running"}}).into(),
        ends_at: None,
        withheld: None,
        capacity: Capacity::Unbounded,
    }
}

pub(crate) fn named(ports: &[(&str, u16)]) -> Ports {
    Ports::Named(ports.iter().map(|&(name, port)| (name.to_owned(), port)).collect())
}

fn catalog(listed: &[(&str, &[&str])]) -> Catalog {
    catalog_by(Strategy::default(), listed)
}

pub(crate) fn catalog_by(strategy: Strategy, listed: &[(&str, &[&str])]) -> Catalog {
    let resource_type = |&(name, namespaces): &(&str, &[&str])| {
        let namespaces = namespaces.iter().map(|&namespace| namespace.to_owned()).collect();
        let balancer = Arc::new(Balancer::new(strategy));
        (name.to_owned(), ResourceType { namespaces, balancer, allocating: None })
    };
    let resource_types = listed.iter().map(resource_type).collect();
    Catalog { resource_types, seal_tokens: false, bind_client_ip: true, expose_backend: false }
}

fn settings() -> Settings {
    let listener = |id: u16, name: &str| Listener {
        id: ListenerId(id),
        name: name.into(),
        protocol: Protocol::Udp,
        port: 7777 + id,
        first_of_protocol: id == 0,
        proxy_protocol: false,
    };
    Settings {
        magic: Magic::default(),
        token_form: TokenForm::Uuid,
        seal: None,
        token_ttl: Duration::from_secs(30),
        session_timeout: Duration::from_secs(300),
        migration_grace: Duration::from_millis(250),
        token_grace: Duration::ZERO,
        sticky_for: Duration::from_secs(120),
        has_default_endpoint: false,
        limits: Limits { max_sessions: 1_000, max_pending_tokens: 1_000 },
        listeners: vec![listener(0, "game"), listener(1, "chat")],
    }
}

fn parse(token: &str) -> Token {
    Token::from_bytes(token.as_bytes()).expect("a token")
}
