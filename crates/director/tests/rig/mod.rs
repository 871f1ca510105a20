//! A director on free ports, with its files in a folder of its own.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use udp_director_core::Protocol;
use udp_director_director::config::Config;
use udp_director_director::config_source::ConfigSource;
use udp_director_director::process::Director;

const PATIENCE: Duration = Duration::from_secs(20);

/// A director that runs.
pub(crate) struct Rig {
    director: Option<Director>,
    runtime: Runtime,
    dir: TempDir,
}

impl Rig {
    pub(crate) fn start(config: &str, objects: &[String]) -> Rig {
        let dir = tempfile::tempdir().expect("a folder");
        let config_file = dir.path().join("config.yaml");
        Rig::start_in(dir, config, objects, config_file)
    }

    /// The files are reached by `current/`, a symlink as kubelet makes it.
    pub(crate) fn start_behind_symlink(config: &str, objects: &[String]) -> Rig {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("first")).expect("a folder");
        symlink("first", dir.path().join("current")).expect("a link");
        fs::write(dir.path().join("current/config.yaml"), config).expect("written");
        fs::write(dir.path().join("current/objects.yaml"), objects.join("---\n")).expect("written");
        let config_file = dir.path().join("current/config.yaml");
        Rig::start_in(dir, config, objects, config_file)
    }

    fn start_in(dir: TempDir, config: &str, objects: &[String], config_file: PathBuf) -> Rig {
        fs::write(dir.path().join("objects.yaml"), objects.join("---\n")).expect("written");
        fs::write(&config_file, config).expect("written");
        let runtime = Runtime::new().expect("a runtime");
        let config = Config::read(&config_file).expect("a good configuration");
        let director = runtime
            .block_on(Director::start(config, Some(ConfigSource::file(config_file))))
            .expect("started");
        Rig { director: Some(director), runtime, dir }
    }

    fn director(&self) -> &Director {
        self.director.as_ref().expect("it runs until the rig is dropped")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces the configuration by rename.
    pub(crate) fn write_config(&self, text: &str) {
        replace(&self.path("config.yaml"), text);
    }

    /// Replaces the inventory by rename.
    pub(crate) fn write_objects(&self, objects: &[String]) {
        replace(&self.path("objects.yaml"), &objects.join("---\n"));
    }

    pub(crate) fn address(&self, name: &str, protocol: Protocol) -> SocketAddr {
        let mut bound = self.director().bound().data.iter();
        bound.find(|(bound, of, _)| **bound == *name && *of == protocol).expect("a data port").2
    }

    pub(crate) fn port(&self, name: &str) -> u16 {
        let mut bound = self.director().bound().data.iter();
        bound.find(|(bound, ..)| **bound == *name).expect("a data port").2.port()
    }

    pub(crate) fn query(&self, document: &str) -> Value {
        let mut stream = connect(self.director().bound().query);
        stream.write_all(document.as_bytes()).expect("sent");
        stream.shutdown(Shutdown::Write).expect("shut down");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        serde_json::from_str(&answer).expect("JSON")
    }

    /// A token for the server of that name.
    pub(crate) fn token(&self, server: &str) -> String {
        let document = format!(r#"{{"resourceType": "gs", "labelSelector": {{"server": "{server}"}}}}"#);
        let answer = self.query(&document);
        answer["token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    pub(crate) fn udp_client(&self, listener: &str) -> UdpSocket {
        let socket = local_socket();
        socket.connect(self.address(listener, Protocol::Udp)).expect("a route");
        socket
    }

    /// A UDP client with a session on that server.
    pub(crate) fn player(&self, server: &str) -> UdpSocket {
        let sessions = self.metric("udp_director_active_sessions");
        let player = self.udp_client("udp");
        player.send(self.token(server).as_bytes()).expect("sent");
        eventually("the session begins", || self.metric("udp_director_active_sessions") == sessions + 1.0);
        player
    }

    /// Sends the pieces, ends the sending side, and gives what comes back.
    pub(crate) fn tcp_exchange(&self, listener: &str, pieces: &[&[u8]]) -> Vec<u8> {
        let mut stream = connect(self.address(listener, Protocol::Tcp));
        for piece in pieces {
            stream.write_all(piece).expect("sent");
        }
        stream.shutdown(Shutdown::Write).expect("shut down");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        answer
    }

    /// The body of a page of the admin port, whatever its status.
    pub(crate) fn admin(&self, path: &str) -> String {
        let mut stream = connect(self.director().bound().admin);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    pub(crate) fn admin_address(&self) -> String {
        self.director().bound().admin.to_string()
    }

    /// A request to the admin API: the status, and the body, which is JSON.
    pub(crate) fn api(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = connect(self.director().bound().admin);
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).expect("a status").parse().expect("a number");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("JSON: {answer}")))
    }

    /// The sum of a metric over its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.metric_where(name, "")
    }

    /// The sum of a metric over the lines whose labels contain that text.
    pub(crate) fn metric_where(&self, name: &str, label: &str) -> f64 {
        let page = self.admin("/metrics");
        let of_name = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        };
        let value = |line: &str| line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok());
        page.lines().filter(of_name).filter_map(value).sum()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let director = self.director.take().expect("dropped once");
        let stopped = self.runtime.block_on(director.stop());
        if !std::thread::panicking() {
            stopped.expect("no worker failed");
        }
    }
}

/// A configuration on free ports of 127.0.0.1, with more keys in front.
pub(crate) fn config(more: &str) -> String {
    format!(
        "{more}queryPort: 0
dataPorts:
  - {{name: udp, port: 0, protocol: udp}}
  - {{name: tcp, port: 0, protocol: tcp}}
adminPort: 0
bindAddress: 127.0.0.1
workers: 2
inventory: {{file: objects.yaml}}
allowedTargetCidrs: [127.0.0.0/8]
resourceQueryMapping:
  gs: {{group: agones.dev, version: v1, resource: gameservers, namespaces: [games], portName: default}}
"
    )
}

/// A GameServer on 127.0.0.1 with that name, UID `uid-NAME` and label `server`.
pub(crate) fn game_server(name: &str, port: u16) -> String {
    format!(
        "apiVersion: agones.dev/v1
kind: GameServer
metadata: {{name: {name}, namespace: games, uid: uid-{name}, labels: {{server: {name}}}}}
status: {{state: Ready, address: 127.0.0.1, ports: [{{name: default, port: {port}}}]}}
"
    )
}

/// An echo server on one port number, over UDP and TCP. Its threads end with the test process.
pub(crate) struct TwinServer(u16);

impl TwinServer {
    pub(crate) fn start() -> TwinServer {
        let (datagrams, streams) = taken_port();
        let port = datagrams.local_addr().expect("bound").port();
        std::thread::spawn(move || echo_datagrams(&datagrams));
        std::thread::spawn(move || streams.incoming().flatten().for_each(|stream| echo_stream(&stream)));
        TwinServer(port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0
    }
}

/// One port number over UDP and TCP, taken as long as the sockets are there.
pub(crate) fn taken_port() -> (UdpSocket, TcpListener) {
    let both = || {
        let datagrams = UdpSocket::bind("127.0.0.1:0").ok()?;
        let streams = TcpListener::bind(datagrams.local_addr().ok()?).ok()?;
        Some((datagrams, streams))
    };
    (0..100).find_map(|_| both()).expect("a port that is free on both")
}

fn echo_datagrams(socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&buffer[..len], from);
    }
}

fn echo_stream(stream: &TcpStream) {
    let _ = std::io::copy(&mut &*stream, &mut &*stream);
    let _ = stream.shutdown(Shutdown::Write);
}

pub(crate) fn local_socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

pub(crate) fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 65_536];
    let len = socket.recv(&mut buffer).expect("a datagram in time");
    buffer[..len].to_vec()
}

/// Whether nothing has arrived so far.
pub(crate) fn silent(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).expect("a flag");
    let outcome = socket.recv(&mut [0; 65_536]);
    socket.set_nonblocking(false).expect("a flag");
    matches!(outcome, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Looks until it holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a listener");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).expect("written");
    fs::rename(next, path).expect("renamed");
}
