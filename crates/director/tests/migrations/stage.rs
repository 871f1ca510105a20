//! The stage: three network namespaces, and the director's own process in the middle one.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use udp_director_load::ServerId;
use udp_director_testkit::netns::{DIRECTOR, Row};
use udp_director_wire::Token;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const LISTENERS: [&str; 2] = ["game", "voice"];

/// The grace is longer than a busy machine lets a game server wait for a processor: an answer that comes
/// later than that is dropped, as it is to be.
const CONFIG: &str = "\
queryPort: 9000
dataPorts:
  - {name: game, port: 7777, protocol: udp}
  - {name: voice, port: 7778, protocol: udp}
adminPort: 9090
bindAddress: 0.0.0.0
workers: 2
maxMigrationsPerSecond: 10000
migrationGraceMs: 3000
inventory: {file: objects.yaml}
resourceQueryMapping:
  gs:
    group: agones.dev
    version: v1
    resource: gameservers
    namespaces: [games]
    addressPath: status.address
    ports: [{name: game, portName: game}, {name: voice, portName: voice}]
    whenLost: migrate
";

/// A director that runs on the stage.
pub(crate) struct Stage {
    pub(crate) row: Row,
    director: Child,
    folder: TempDir,
}

/// A connection to the query port.
pub(crate) struct Questions(BufReader<TcpStream>);

impl Stage {
    /// Lets a director run that has these game servers in its inventory.
    pub(crate) fn new(servers: &[ServerId]) -> Stage {
        let row = Row::new();
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("config.yaml"), CONFIG).expect("written");
        write_objects(folder.path(), servers);
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_udp-director"));
        command.arg("serve").arg("--config").arg(folder.path().join("config.yaml"));
        command.stdout(Stdio::null()).stderr(log);
        let director = row.director.run(|| command.spawn()).expect("the director starts");
        let stage = Stage { row, director, folder };
        stage.eventually("the director is ready", || {
            stage.row.clients.run(|| TcpStream::connect((DIRECTOR, 9090))).is_ok()
                && stage.get("/readyz").0 == 200
        });
        stage
    }

    /// Replaces the inventory.
    pub(crate) fn put(&self, servers: &[ServerId]) {
        write_objects(self.folder.path(), servers);
    }

    pub(crate) fn questions(&self) -> Questions {
        let stream = self.row.clients.run(|| TcpStream::connect((DIRECTOR, 9000))).expect("a listener");
        stream.set_nodelay(true).expect("a flag");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Questions(BufReader::new(stream))
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    /// The answer to a request that must be accepted.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let (body, head) =
            (body.to_string(), format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close"));
        let length = body.len();
        let kind = "Content-Type: application/json";
        let (status, answer) =
            self.request(&format!("{head}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}"));
        assert!((200..300).contains(&status), "{path} {body}: {status} {answer}");
        serde_json::from_str(&answer).expect("JSON")
    }

    fn request(&self, text: &str) -> (u16, String) {
        let mut stream = self.row.clients.run(|| TcpStream::connect((DIRECTOR, 9090))).expect("a listener");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(text.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// The sum of a metric over the lines whose labels contain that text.
    pub(crate) fn metric(&self, name: &str, label: &str) -> u64 {
        let page = self.get("/metrics").1;
        let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// How many sessions have been migrated for that reason.
    pub(crate) fn migrated(&self, by: &str) -> u64 {
        self.metric("udp_director_session_events_total", &format!("\"migrated_by_{by}"))
    }

    /// How many datagrams the kernel has found no room for, in any of the namespaces.
    pub(crate) fn overflowed(&self) -> u64 {
        let parts = [&self.row.clients, &self.row.director, &self.row.servers];
        parts
            .iter()
            .map(|part| part.counted("Udp", "RcvbufErrors") + part.counted("Udp", "SndbufErrors"))
            .sum()
    }

    /// What the director says that it has dropped, and why.
    pub(crate) fn drops(&self) -> Vec<String> {
        let page = self.get("/metrics").1;
        let lines = page
            .lines()
            .filter(|line| line.starts_with("udp_director_drops_total") && !line.starts_with('#'));
        lines.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
    }

    /// Looks until it holds.
    pub(crate) fn eventually(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "not in time: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.director.kill();
        let _ = self.director.wait();
    }
}

impl Questions {
    /// A token for that server, or for any.
    pub(crate) fn token(&mut self, server: Option<ServerId>) -> Token {
        self.ask(server).unwrap_or_else(|answer| panic!("{server:?}: {answer}"))
    }

    /// A token for that server, as soon as the director knows it.
    pub(crate) fn token_once_there(&mut self, server: ServerId) -> Token {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask(Some(server)) {
                Ok(token) => return token,
                Err(answer) => assert!(Instant::now() < deadline, "{answer}"),
            }
        }
    }

    /// A token, or what is answered instead.
    pub(crate) fn ask(&mut self, server: Option<ServerId>) -> Result<Token, Value> {
        let mut query = json!({"resourceType": "gs"});
        if let Some(server) = server {
            query["labelSelector"] = json!({"server": name(server)});
        }
        writeln!(self.0.get_mut(), "{query}").expect("sent");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        let token = answer["token"].as_str().and_then(|text| Token::from_bytes(text.as_bytes()));
        token.ok_or(answer)
    }
}

pub(crate) fn name(server: ServerId) -> String {
    format!("server-{server}")
}

/// How the admin port names the server.
pub(crate) fn named(server: ServerId) -> Value {
    json!({"resourceType": "gs", "namespace": "games", "name": name(server)})
}

pub(crate) fn address(server: ServerId) -> IpAddr {
    let [high, low] = server.0.to_be_bytes();
    Ipv4Addr::new(10, 2, high, low).into()
}

/// Of a listener, and of a game server for it.
pub(crate) fn port(listener: &str) -> u16 {
    if listener == LISTENERS[0] { 7777 } else { 7778 }
}

pub(crate) fn socket_address(server: ServerId, listener: &str) -> SocketAddr {
    SocketAddr::new(address(server), port(listener))
}

fn write_objects(folder: &Path, servers: &[ServerId]) {
    let objects: Vec<Value> = servers.iter().map(|server| object(*server)).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    fs::write(folder.join("objects.next"), list.to_string()).expect("written");
    fs::rename(folder.join("objects.next"), folder.join("objects.yaml")).expect("renamed");
}

fn object(server: ServerId) -> Value {
    let name = name(server);
    let ports = LISTENERS.map(|listener| json!({"name": listener, "port": port(listener)}));
    json!({
        "apiVersion": "agones.dev/v1", "kind": "GameServer",
        "metadata": {"name": name, "namespace": "games", "uid": format!("uid-{name}"), "labels": {"server": name}},
        "status": {"state": "Ready", "address": address(server), "ports": ports},
    })
}
