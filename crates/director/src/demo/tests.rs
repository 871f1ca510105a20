//! The demo with a stand-in for the director that can lose and repeat what a real one must not.

use super::*;
use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use udp_director_client::{AckStatus, Magic, Token};
use udp_director_wire::{Ack, ControlPacket};
use uuid::Uuid;

use stage::LISTENER;

/// What the stand-in does to replies.
#[derive(Clone, Copy)]
enum Way {
    Faithful,
    LosesEveryTenth,
    RepeatsEveryTenth,
    NeverMoves,
}

struct StandIn {
    alpha: SocketAddr,
    beta: SocketAddr,
    way: Way,
    data: UdpSocket,
    tokens: Mutex<HashMap<Token, SocketAddr>>,
}

impl StandIn {
    async fn start(demo: &Demo, way: Way) -> SocketAddr {
        let (alpha, beta) = (demo.stage.alpha.addr(), demo.stage.beta.addr());
        let data = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let query = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = query.local_addr().expect("it is bound");
        let tokens = Mutex::default();
        let director = Arc::new(StandIn { alpha, beta, way, data, tokens });
        tokio::spawn(director.clone().serve_data());
        tokio::spawn(async move {
            loop {
                let (stream, _) = query.accept().await.expect("a connection");
                tokio::spawn(director.clone().serve_query(stream));
            }
        });
        addr
    }

    async fn serve_query(self: Arc<Self>, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|len| len > 0) {
            let text = Uuid::new_v4().to_string();
            let token = Token::from_bytes(text.as_bytes()).expect("36 characters");
            let server = if line.contains("canyon") { self.alpha } else { self.beta };
            self.tokens.lock().expect("no panic").insert(token, server);
            let port = self.data.local_addr().expect("it is bound").port();
            let answer = json!({"token": text, "expiresInSeconds": 30, "ports": {LISTENER: port}});
            stream.write_all(format!("{answer}\n").as_bytes()).await.expect("it listens");
            line.clear();
        }
    }

    async fn serve_data(self: Arc<Self>) {
        let mut sessions: HashMap<SocketAddr, (Arc<UdpSocket>, SocketAddr)> = HashMap::new();
        let mut buf = [0; 2048];
        loop {
            let (len, client) = self.data.recv_from(&mut buf).await.expect("a datagram");
            let Some(packet) = Magic::default().parse_control(&buf[..len]) else {
                let (upstream, server) = &sessions[&client];
                upstream.send_to(&buf[..len], server).await.expect("loopback takes it");
                continue;
            };
            let server = self.tokens.lock().expect("no panic")[&packet.token];
            if let Some(session) = sessions.get_mut(&client) {
                session.1 = if matches!(self.way, Way::NeverMoves) { session.1 } else { server };
            } else {
                let upstream = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a free port"));
                tokio::spawn(self.clone().carry_back(upstream.clone(), client));
                sessions.insert(client, (upstream, server));
            }
            self.acknowledge(&packet, client).await;
        }
    }

    async fn acknowledge(&self, packet: &ControlPacket, client: SocketAddr) {
        let request = packet.ack.expect("the extended form");
        let ack = Magic::default().encode_ack(&Ack { request, status: AckStatus::Done });
        self.data.send_to(&ack, client).await.expect("loopback takes it");
    }

    async fn carry_back(self: Arc<Self>, upstream: Arc<UdpSocket>, client: SocketAddr) {
        let mut buf = [0; 2048];
        for n in 1_u32.. {
            let len = upstream.recv(&mut buf).await.expect("a reply");
            let copies = match self.way {
                Way::LosesEveryTenth if n.is_multiple_of(10) => 0,
                Way::RepeatsEveryTenth if n.is_multiple_of(10) => 2,
                _ => 1,
            };
            for _ in 0..copies {
                self.data.send_to(&buf[..len], client).await.expect("loopback takes it");
            }
        }
    }
}

/// Plays a second of the demo, and gives what it found and what it showed.
async fn play(way: Way) -> (Outcome, String) {
    let demo = Demo::prepare(DemoArgs { keep: false, seconds: 8 }).expect("free ports");
    let query = StandIn::start(&demo, way).await;
    let mut out = Vec::new();
    let outcome = demo.play(query, SECOND, &mut out).await.expect("a game");
    out.extend(report::summary(&outcome).into_bytes());
    (outcome, String::from_utf8(out).expect("text"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_game_ends_in_ok_and_shows_who_served_what() {
    let (outcome, shown) = play(Way::Faithful).await;
    assert_eq!(outcome.faults(), [""; 0], "{shown}");
    assert_eq!(outcome.through.sent, u64::from(PLAYERS * RATE_HZ));
    assert_eq!(outcome.straight.lost, 0);
    assert_eq!(outcome.moved, PLAYERS as usize);
    assert_eq!(outcome.through.by_alpha + outcome.through.by_beta, outcome.through.sent);
    assert!(shown.ends_with("every player moved from alpha to beta\n"), "{shown}");
    assert!(shown.contains("   alpha 0-") && shown.contains(", beta "), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_datagrams_fail_the_demo() {
    let (outcome, shown) = play(Way::LosesEveryTenth).await;
    assert_eq!(outcome.through.lost, u64::from(PLAYERS * RATE_HZ / 10));
    assert!(shown.ends_with("failed: 48 datagrams were lost\n"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicated_datagrams_fail_the_demo() {
    let (outcome, shown) = play(Way::RepeatsEveryTenth).await;
    assert_eq!(outcome.through.duplicated, u64::from(PLAYERS * RATE_HZ / 10));
    assert!(shown.ends_with("failed: 48 datagrams were duplicated\n"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn player_that_stays_on_alpha_fails_the_demo() {
    let (outcome, shown) = play(Way::NeverMoves).await;
    assert_eq!(outcome.faults().len(), PLAYERS as usize, "{shown}");
    assert!(shown.contains("player 1 was not served by alpha and then by beta"), "{shown}");
}

#[test]
fn files_go_with_the_demo() {
    let demo = Demo::prepare(DemoArgs { keep: false, seconds: 8 }).expect("free ports");
    let files = [demo.config_file().to_owned(), demo.stage.inventory_file()];
    assert!(files.iter().all(|file| file.is_file()));
    drop(demo);
    assert!(!files.iter().any(|file| file.exists()));
}
