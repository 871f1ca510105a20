//! The UDP data plane over real sockets on loopback.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use udp_director_core::{
    Backend, BackendId, BackendSpec, Capacity, DefaultEndpoint, Dropped, Event, Inventory, Issue, Limits,
    Listener, ListenerId, Ports, Protocol, Seat, Settings, SharedLedger,
};
use udp_director_dataplane::{Clock, Workers, WorkersOptions};
use udp_director_wire::{Ack, AckRequest, AckStatus, ControlPacket, Magic, Token, TokenForm};

const LISTENER: ListenerId = ListenerId(0);

/// A director's data plane, and what its backends are.
struct Rig {
    ledger: Arc<SharedLedger>,
    workers: Workers,
    clock: Clock,
    public: SocketAddr,
    tokens: u64,
}

impl Rig {
    fn start(bind: &str, workers: usize, backends: &[&UdpSocket]) -> Rig {
        Rig::start_with(bind, workers, backends, |settings| settings)
    }

    fn start_with(
        bind: &str,
        workers: usize,
        backends: &[&UdpSocket],
        change: impl FnOnce(Settings) -> Settings,
    ) -> Rig {
        let inventory = Arc::new(inventory(backends));
        let settings = Arc::new(change(settings()));
        let ledger = Arc::new(SharedLedger::new(Arc::clone(&settings), Arc::clone(&inventory)));
        let clock = Clock::new();
        let options = WorkersOptions { count: workers, max_upstreams: 12_000, seed: 1 };
        let workers = Workers::start(&options, &ledger, clock).expect("workers");
        let public = workers.listen(LISTENER, bind.parse().expect("an address")).expect("a free port");
        Rig { ledger, workers, clock, public, tokens: 0 }
    }

    fn backend(&self, number: usize) -> Arc<Backend> {
        let id = BackendId::new(&number.to_string());
        Arc::clone(self.ledger.lock().inventory().by_id(&id).expect("a backend of the rig"))
    }

    fn token(&mut self, backend: usize) -> Token {
        self.token_for(backend, Ipv4Addr::LOCALHOST.into())
    }

    fn token_for(&mut self, backend: usize, asked_by: IpAddr) -> Token {
        self.tokens += 1;
        let text = format!("00000000-0000-4000-8000-{:012x}", self.tokens);
        let token = Token::from_bytes(text.as_bytes()).expect("a token");
        let seat = Seat::take(&self.backend(backend)).expect("a seat");
        let issue = Issue { token, seat, asked_by, bound: true, wanted: None, sticky_key: None };
        self.ledger.lock().issue(issue, self.clock.now()).expect("room for a token");
        token
    }

    /// A client that has a session with the backend.
    fn player(&mut self, backend: usize) -> UdpSocket {
        let token = self.token(backend);
        let client = local_socket();
        client.connect(self.public).expect("a route");
        assert_eq!(switch(&client, token), AckStatus::Done);
        client
    }

    fn count<T>(&self, read: impl Fn(&udp_director_core::Counters) -> T) -> T
    where
        T: std::iter::Sum,
    {
        self.workers.counters().iter().map(|counters| read(counters)).sum()
    }

    fn drops(&self, why: Dropped) -> u64 {
        self.count(|counters| counters.drops(why))
    }

    fn events(&self, event: Event) -> u64 {
        self.count(|counters| counters.events(event))
    }
}

fn settings() -> Settings {
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
        limits: Limits { max_sessions: 200_000, max_pending_tokens: 200_000 },
        listeners: vec![Listener {
            id: LISTENER,
            name: "default".into(),
            protocol: Protocol::Udp,
            port: 7777,
            first_of_protocol: true,
            proxy_protocol: false,
        }],
    }
}

fn inventory(backends: &[&UdpSocket]) -> Inventory {
    let specs = backends.iter().enumerate().map(|(number, socket)| {
        let addr = socket.local_addr().expect("a bound socket");
        BackendSpec {
            id: BackendId::new(&number.to_string()),
            resource_type: "gs".into(),
            namespace: "default".into(),
            name: number.to_string(),
            address: addr.ip(),
            ports: Ports::One(addr.port()),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            view: serde_json::Value::Null.into(),
            ends_at: None,
            withheld: None,
            capacity: Capacity::Unbounded,
        }
    });
    Inventory::default().next(specs.collect(), Vec::new())
}

fn socket(bind: &str) -> UdpSocket {
    let socket = UdpSocket::bind(bind).expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    socket
}

fn local_socket() -> UdpSocket {
    socket("127.0.0.1:0")
}

/// Asks for the token's session in the extended form until it is acknowledged.
fn switch(client: &UdpSocket, token: Token) -> AckStatus {
    let request = AckRequest { opcode: AckRequest::SWITCH, nonce: *b"12345678" };
    let packet = Magic::default().encode_control(&ControlPacket { token, ack: Some(request) });
    client.send(&packet).expect("sent");
    let ack: Ack = Magic::default().parse_ack(&receive(client).0).expect("an acknowledgement");
    assert_eq!(ack.request, request);
    ack.status
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (len, from) = socket.recv_from(&mut buffer).expect("a datagram within 10 s");
    buffer.truncate(len);
    (buffer, from)
}

/// Nothing more has come, after whatever was sent before has been answered by a round trip.
fn is_empty(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).expect("a flag");
    let outcome = socket.recv(&mut [0; 65_536]);
    socket.set_nonblocking(false).expect("a flag");
    matches!(outcome, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_finds_a_buffer_full_is_counted() {
    const SENT: u64 = 40_000;
    let backend = local_socket();
    let rig = Rig::start("127.0.0.1:0", 1, &[&backend]);
    let client = local_socket();
    client.connect(rig.public).expect("a route");
    // What looks like a token makes the worker wait for the ledger, with everything behind it.
    let token = b"00000000-0000-4000-8000-000000000000";
    let busy = rig.ledger.lock();
    (0..SENT).for_each(|_| assert_eq!(client.send(token).expect("sent"), token.len()));
    drop(busy);
    eventually("every datagram is received or counted", || {
        let received = rig.count(|counters| counters.from_clients.read().0);
        received > 0 && received + rig.drops(Dropped::Overflow) == SENT
    });
    assert_ne!(rig.drops(Dropped::Overflow), 0, "a buffer holds less than that");
}

#[test]
fn datagrams_of_every_size_pass_uncut_both_ways() {
    let backend = local_socket();
    let mut rig = Rig::start("127.0.0.1:0", 1, &[&backend]);
    let client = rig.player(0);
    for size in [0, 1, 35, 36, 37, 45, 46, 54, 1_472, 1_473, 16_384, 65_507] {
        let payload: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        client.send(&payload).expect("sent");
        let (there, from) = receive(&backend);
        assert!(there == payload, "{size} bytes to the backend");
        backend.send_to(&payload, from).expect("sent");
        assert!(receive(&client).0 == payload, "{size} bytes to the client");
    }
}

#[test]
fn burst_right_behind_the_token_arrives_whole_and_in_order() {
    let backend = local_socket();
    let mut rig = Rig::start("127.0.0.1:0", 2, &[&backend]);
    let token = rig.token(0);
    let client = local_socket();
    client.connect(rig.public).expect("a route");
    client.send(token.as_bytes()).expect("sent");
    for number in 0..200_u32 {
        client.send(&number.to_be_bytes()).expect("sent");
    }
    for number in 0..200_u32 {
        assert_eq!(receive(&backend).0, number.to_be_bytes());
    }
}

#[test]
fn ten_thousand_players_of_one_backend_come_from_ten_thousand_ports() {
    const PLAYERS: usize = 10_000;
    let backend = local_socket();
    let backend = raise_receive_buffer(backend);
    let mut rig = Rig::start("127.0.0.1:0", 2, &[&backend]);
    udp_director_dataplane::raise_descriptor_limit().expect("a limit");
    let mut ports = HashSet::new();
    // Each player from its own loopback address: they need no socket of their own for long.
    for player in 0..PLAYERS {
        let ip = Ipv4Addr::new(127, 1, (player / 250) as u8, (player % 250) as u8 + 1);
        let token = rig.token_for(0, ip.into());
        let client = socket(&format!("{ip}:0"));
        client.connect(rig.public).expect("a route");
        client.send(token.as_bytes()).expect("sent");
        client.send(b"here").expect("sent");
        let (_, from) = receive(&backend);
        assert!(ports.insert(from), "{from} stands for two players");
    }
    assert_eq!(rig.ledger.lock().session_count(), PLAYERS);
}

fn raise_receive_buffer(socket: UdpSocket) -> UdpSocket {
    let socket = socket2::Socket::from(socket);
    socket.set_recv_buffer_size(1 << 22).expect("a bigger buffer");
    socket.into()
}

#[test]
fn players_on_different_backends_share_upstream_ports() {
    let backends: Vec<UdpSocket> = (0..20).map(|_| local_socket()).collect();
    let mut rig = Rig::start("127.0.0.1:0", 1, &backends.iter().collect::<Vec<_>>());
    let players: Vec<UdpSocket> = (0..20).map(|number| rig.player(number)).collect();
    let mut ports = HashSet::new();
    for (player, backend) in players.iter().zip(&backends) {
        player.send(b"x").expect("sent");
        ports.insert(receive(backend).1.port());
    }
    assert_eq!(ports.len(), 1);
}

#[test]
fn only_the_sessions_backend_reaches_the_client() {
    let backend = local_socket();
    let other = local_socket();
    let stranger = local_socket();
    let mut rig = Rig::start("127.0.0.1:0", 1, &[&backend, &other]);
    let client = rig.player(0);
    client.send(b"x").expect("sent");
    let (_, upstream) = receive(&backend);
    let upstream = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), upstream.port());
    stranger.send_to(b"from a stranger", upstream).expect("sent");
    other.send_to(b"from another backend", upstream).expect("sent");
    backend.send_to(b"from the backend", upstream).expect("sent");
    assert_eq!(receive(&client).0, b"from the backend");
    assert_eq!(rig.drops(Dropped::UnknownSource), 2);
}

#[test]
fn replies_leave_from_the_address_that_the_client_sent_to() {
    for (bind, addresses) in [
        ("0.0.0.0:0", &["127.0.0.2", "127.0.0.3"][..]),
        ("[::]:0", &["127.0.0.2", "127.0.0.3"]),
        ("[::]:0", &["::1"]),
    ] {
        let backend = local_socket();
        let mut rig = Rig::start(bind, 1, &[&backend]);
        let own: IpAddr = addresses[0].parse::<IpAddr>().expect("an address");
        let client = socket(if own.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" });
        let token = rig.token_for(0, client.local_addr().expect("bound").ip());
        let public = |text: &str| SocketAddr::new(text.parse().expect("an address"), rig.public.port());
        client.send_to(token.as_bytes(), public(addresses[0])).expect("sent");
        for address in addresses {
            client.send_to(b"ping", public(address)).expect("sent");
            let (_, upstream) = receive(&backend);
            backend.send_to(b"pong", upstream).expect("sent");
            assert_eq!(receive(&client), (b"pong".to_vec(), public(address)), "bound to {bind}");
        }
    }
}

#[test]
fn control_packet_moves_the_session_and_is_never_forwarded() {
    let (old, new) = (local_socket(), local_socket());
    let mut rig = Rig::start("127.0.0.1:0", 2, &[&old, &new]);
    let client = rig.player(0);
    client.send(b"before").expect("sent");
    let (_, old_upstream) = receive(&old);
    let token = rig.token(1);
    client.send(&Magic::default().encode_control(&ControlPacket { token, ack: None })).expect("sent");
    client.send(b"after").expect("sent");
    let (payload, new_upstream) = receive(&new);
    assert_eq!(payload, b"after");
    old.send_to(b"in flight", old_upstream).expect("sent");
    assert_eq!(receive(&client).0, b"in flight", "within the grace");
    new.send_to(b"welcome", new_upstream).expect("sent");
    assert_eq!(receive(&client).0, b"welcome");
    assert!(is_empty(&old) && is_empty(&new));
    assert_eq!(rig.events(Event::MigratedByClient), 1);
}

#[test]
fn session_survives_client_address_change() {
    let backend = local_socket();
    // Enough workers and addresses that most resumes land on another worker.
    let mut rig = Rig::start("127.0.0.1:0", 4, &[&backend]);
    let token = rig.token(0);
    let mut upstream = None;
    for _ in 0..20 {
        let client = local_socket();
        client.connect(rig.public).expect("a route");
        assert_eq!(switch(&client, token), AckStatus::Done);
        client.send(b"ping").expect("sent");
        let (_, from) = receive(&backend);
        assert_eq!(*upstream.get_or_insert(from), from, "the backend sees the same player");
        backend.send_to(b"pong", from).expect("sent");
        assert_eq!(receive(&client).0, b"pong");
    }
    assert_eq!(rig.ledger.lock().session_count(), 1);
    assert_eq!(rig.events(Event::Resumed), 19);
}

#[test]
fn icmp_errors_are_counted_and_disturb_nobody_else() {
    let dead = local_socket();
    let alive = local_socket();
    let mut rig = Rig::start("127.0.0.1:0", 1, &[&dead, &alive]);
    let (unlucky, lucky) = (rig.player(0), rig.player(1));
    drop(dead);
    for number in 0..50_u8 {
        unlucky.send(&[number]).expect("sent");
        lucky.send(&[number]).expect("sent");
        let (payload, from) = receive(&alive);
        assert_eq!(payload, [number]);
        alive.send_to(&[number], from).expect("sent");
        assert_eq!(receive(&lucky).0, [number]);
    }
    eventually("an ICMP error is counted", || rig.events(Event::BackendUnreachable) > 0);
}

#[test]
fn a_port_that_is_taken_is_an_error_even_with_reuseport() {
    let backend = local_socket();
    let first = Rig::start("127.0.0.1:0", 2, &[&backend]);
    let second = Rig::start("127.0.0.1:0", 2, &[&backend]);
    let error = second.workers.listen(ListenerId(1), first.public).expect_err("the port is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn strangers_and_bad_tokens_reach_no_backend() {
    let backend = local_socket();
    let mut rig = Rig::start("127.0.0.1:0", 1, &[&backend]);
    let valid = rig.token_for(0, "192.0.2.1".parse().expect("an address"));
    let client = local_socket();
    client.connect(rig.public).expect("a route");
    let unknown = b"ffffffff-0000-4000-8000-000000000000";
    client.send(b"hello?").expect("sent");
    client.send(unknown).expect("sent");
    client.send(&valid.as_bytes()[..35]).expect("sent");
    client.send(valid.as_bytes()).expect("sent");
    let wrong = Magic::default().encode_control(&ControlPacket { token: valid, ack: None });
    client.send(&wrong).expect("sent");
    assert_eq!(switch(&client, valid), AckStatus::NotYours);
    assert!(is_empty(&backend));
    assert_eq!(rig.drops(Dropped::NoSession), 2);
    assert_eq!(rig.drops(Dropped::Refused(udp_director_core::Refusal::UnknownToken)), 1);
    assert_eq!(rig.drops(Dropped::Refused(udp_director_core::Refusal::WrongClient)), 3);
}

#[test]
fn default_endpoint_takes_clients_without_a_token() {
    let backend = local_socket();
    let rig = Rig::start_with("127.0.0.1:0", 2, &[&backend], |settings| Settings {
        has_default_endpoint: true,
        ..settings
    });
    let inventory = Arc::clone(rig.ledger.lock().inventory());
    let query = udp_director_wire::Query { resource_type: "gs".into(), ..Default::default() };
    let endpoint = DefaultEndpoint::new(
        udp_director_core::Query::compile(&query).expect("a query"),
        Arc::default(),
        Arc::clone(&inventory),
    );
    rig.ledger.lock().publish(inventory, Some(Arc::new(endpoint)));
    for number in 0..5_u8 {
        let client = local_socket();
        client.connect(rig.public).expect("a route");
        client.send(&[0xff, 0xff, 0xff, 0xff, number]).expect("sent");
        let (payload, from) = receive(&backend);
        assert_eq!(payload, [0xff, 0xff, 0xff, 0xff, number]);
        backend.send_to(&payload, from).expect("sent");
        assert_eq!(receive(&client).0, payload);
    }
}

#[test]
fn proxy_header_precedes_the_first_datagram_alone() {
    let backend = local_socket();
    let mut rig = Rig::start_with("127.0.0.1:0", 1, &[&backend], |mut settings| {
        settings.listeners[0].proxy_protocol = true;
        settings
    });
    let client = rig.player(0);
    let too_big = vec![7; 65_507];
    client.send(&too_big).expect("sent");
    assert!(receive(&backend).0 == too_big, "there is no room for the header");
    client.send(b"one").expect("sent");
    client.send(b"two").expect("sent");
    let (first, _) = receive(&backend);
    let client_addr = client.local_addr().expect("bound");
    let public = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 7777);
    let header = udp_director_wire::proxy_header(client_addr, public, true);
    assert_eq!(first, [&header[..], b"one"].concat());
    assert_eq!(receive(&backend).0, b"two");
}

#[test]
fn workers_stop_when_told() {
    let backend = local_socket();
    let rig = Rig::start("127.0.0.1:0", 3, &[&backend]);
    assert!(!rig.workers.has_failed());
    rig.workers.stop().expect("no worker failed");
    UdpSocket::bind(rig.public).expect("the port is free again");
}
