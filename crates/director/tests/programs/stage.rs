//! A stage: a director, and room for servers behind it.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::program::Running;

/// The port of every server, and that of the director for UDP and for TCP. Below the ports that the
/// system gives out by itself.
pub(crate) const PORT: u16 = 7777;

/// A director whose default endpoint is the first of its servers.
pub(crate) struct Stage {
    director: Running,
    /// Where the director listens.
    pub(crate) public: Ipv4Addr,
    /// Where the servers are to listen.
    pub(crate) servers: Vec<Ipv4Addr>,
    folder: TempDir,
}

impl Stage {
    /// A director in front of one server.
    pub(crate) fn new() -> Stage {
        Stage::with_servers(1)
    }

    /// A director in front of that many servers, named `server-0` and so on.
    pub(crate) fn with_servers(count: usize) -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let public = own_address();
        let servers: Vec<_> = (0..count).map(|_| own_address()).collect();
        let pods: Vec<_> = servers.iter().enumerate().map(|(number, ip)| pod(number, *ip)).collect();
        fs::write(folder.path().join("objects.yaml"), pods.join("---\n")).expect("written");
        let config = folder.path().join("config.yaml");
        fs::write(&config, configuration(public)).expect("written");
        let args = ["serve", "--config", config.to_str().expect("a path")];
        let mut director =
            Running::start(folder.path(), "director", env!("CARGO_BIN_EXE_udp-director"), &args);
        director.wait_for("serving");
        Stage { director, public, servers, folder }
    }

    /// A folder for this test alone.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a program in the stage's folder.
    pub(crate) fn start(&self, name: &str, program: &str, args: &[&str]) -> Running {
        Running::start(self.folder(), name, program, args)
    }

    /// The first server's address and the director's: what is run against the one is run against the
    /// other.
    pub(crate) fn direct_and_through(&self) -> [String; 2] {
        [self.servers[0].to_string(), self.public.to_string()]
    }

    /// A token for that server.
    pub(crate) fn token(&self, server: &str) -> String {
        let mut stream = TcpStream::connect((self.public, 9000)).expect("a director that listens");
        let document = format!(r#"{{"resourceType": "server", "labelSelector": {{"name": "{server}"}}}}"#);
        stream.write_all(document.as_bytes()).expect("sent");
        stream.shutdown(Shutdown::Write).expect("shut down");
        let answer: Value = serde_json::from_reader(stream).expect("JSON");
        answer["token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let log = self.director.log();
        if !std::thread::panicking() {
            assert!(!log.contains("ERROR"), "the director logs no error:\n{log}");
        }
    }
}

/// Says whether a TCP server listens there.
pub(crate) fn accepts(ip: Ipv4Addr) -> bool {
    TcpStream::connect(SocketAddr::from((ip, PORT))).is_ok()
}

/// An address of 127.0.0.0/8 that, by all odds, nobody else uses.
fn own_address() -> Ipv4Addr {
    let random = RandomState::new().build_hasher().finish();
    let [_, a, b, c, ..] = random.to_be_bytes();
    Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254))
}

fn configuration(public: Ipv4Addr) -> String {
    format!(
        "bindAddress: {public}
queryPort: 9000
adminPort: 9090
dataPorts:
  - {{name: udp, port: {PORT}, protocol: udp}}
  - {{name: tcp, port: {PORT}, protocol: tcp}}
tokens: {{bindClientIp: false}}
inventory: {{file: objects.yaml}}
allowedTargetCidrs: [127.0.0.0/8]
defaultEndpoint: {{resourceType: server, labelSelector: {{name: server-0}}}}
resourceQueryMapping:
  server: {{group: '', version: v1, resource: pods, namespaces: [tests], portName: main}}
"
    )
}

fn pod(number: usize, ip: Ipv4Addr) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: server-{number}, namespace: tests, labels: {{name: server-{number}}}}}
spec: {{containers: [{{name: main, ports: [{{name: main, containerPort: {PORT}}}]}}]}}
status: {{phase: Running, podIP: {ip}, conditions: [{{type: Ready, status: 'True'}}]}}
"
    )
}
