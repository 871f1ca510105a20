//! A director with few descriptors and many connections: a process of its own, for the limit is its own.

mod rig;

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream, UdpSocket};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use rig::{TwinServer, eventually, game_server, local_socket, receive};

/// More than the process may have, of each kind.
const CROWD: usize = 600;

const QUERY: u16 = 9000;
const ADMIN: u16 = 9090;
const GAME: u16 = 7777;

/// A director that may have 256 descriptors.
struct Director {
    child: Child,
    ip: Ipv4Addr,
    dir: TempDir,
}

#[test]
fn crowds_leave_the_players_and_the_admin_port_alone() {
    let backend = TwinServer::start();
    let director = Director::start(backend.port());
    let datagrams = director.udp_player();
    let mut stream = director.tcp_player();

    let asking = director.crowd(QUERY);
    director.check(&datagrams, &mut stream);
    eventually("the crowd is refused", || director.metric("query_connections_refused_total") > 0);
    let inside = director.metric("query_connections");
    assert!((1..=64).contains(&inside), "{inside} query connections are a quarter");

    let entering = director.crowd(GAME);
    eventually("descriptors are short", || director.metric("drops_total{reason=\"connection_limit\"}") > 0);
    director.check(&datagrams, &mut stream);

    drop((asking, entering, stream));
    eventually("there is room again", || director.query().get("token").is_some());
    director.check(&director.udp_player(), &mut director.tcp_player());
    let log = director.log();
    assert_eq!(log.matches("descriptors are short").count(), 1, "once a minute: {log}");
    assert!(!log.contains("ERROR") && !log.contains("cannot accept"), "{log}");
}

impl Director {
    fn start(backend: u16) -> Director {
        let dir = tempfile::tempdir().expect("a folder");
        let ip = own_address();
        let config = rig::config("").replace("127.0.0.1", &ip.to_string());
        let config = config.replace("queryPort: 0", &format!("queryPort: {QUERY}"));
        let config = config.replace("adminPort: 0", &format!("adminPort: {ADMIN}"));
        let config = config.replace("port: 0", &format!("port: {GAME}"));
        fs::write(dir.path().join("config.yaml"), config).expect("written");
        fs::write(dir.path().join("objects.yaml"), game_server("alpha", backend)).expect("written");
        let log = File::create(dir.path().join("log")).expect("a file");
        let child = Command::new("prlimit")
            .args(["--nofile=256", env!("CARGO_BIN_EXE_udp-director"), "serve", "--config"])
            .arg(dir.path().join("config.yaml"))
            .stderr(log)
            .spawn()
            .expect("prlimit, of util-linux");
        let director = Director { child, ip, dir };
        eventually("it serves", || director.log().contains("serving"));
        director
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).expect("a log")
    }

    fn connect(&self, port: u16) -> TcpStream {
        let stream = TcpStream::connect((self.ip, port)).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream
    }

    /// Connections that send nothing.
    fn crowd(&self, port: u16) -> Vec<TcpStream> {
        (0..CROWD).map(|_| self.connect(port)).collect()
    }

    fn query(&self) -> Value {
        let mut stream = self.connect(QUERY);
        let mut answer = String::new();
        // Who is refused may find the connection closed at any point.
        let asked = stream.write_all(br#"{"resourceType": "gs"}"#);
        let _ = asked.and_then(|()| stream.shutdown(Shutdown::Write));
        let _ = stream.read_to_string(&mut answer);
        serde_json::from_str(&answer).unwrap_or_default()
    }

    fn token(&self) -> String {
        self.query()["token"].as_str().expect("a token").to_owned()
    }

    fn udp_player(&self) -> UdpSocket {
        let socket = local_socket();
        socket.connect((self.ip, GAME)).expect("a route");
        socket.send(self.token().as_bytes()).expect("sent");
        socket
    }

    fn tcp_player(&self) -> TcpStream {
        let mut stream = self.connect(GAME);
        stream.write_all(format!("{}\n", self.token()).as_bytes()).expect("sent");
        echo(&mut stream);
        stream
    }

    /// Both players play, and the admin port answers.
    fn check(&self, datagrams: &UdpSocket, stream: &mut TcpStream) {
        datagrams.send(b"over UDP").expect("sent");
        assert_eq!(receive(datagrams), b"over UDP");
        echo(stream);
        for path in ["/livez", "/readyz", "/metrics"] {
            let answer = self.admin(path);
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer:?}");
        }
    }

    fn admin(&self, path: &str) -> String {
        let mut stream = self.connect(ADMIN);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// The sum of the metrics that begin so.
    fn metric(&self, name: &str) -> u64 {
        let page = self.admin("/metrics");
        let of_name = page.lines().filter_map(|line| line.strip_prefix("udp_director_")?.strip_prefix(name));
        let values = of_name.filter(|rest| rest.starts_with(['{', ' ', ',']));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn echo(stream: &mut TcpStream) {
    let mut bytes = [0; 8];
    stream.write_all(b"over TCP").expect("sent");
    stream.read_exact(&mut bytes).expect("an echo");
    assert_eq!(&bytes, b"over TCP");
}

/// An address of 127.0.0.0/8 that, by all odds, nobody else uses.
fn own_address() -> Ipv4Addr {
    let random = RandomState::new().build_hasher().finish();
    let [_, a, b, c, ..] = random.to_be_bytes();
    Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254))
}
