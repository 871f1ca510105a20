//! The binary as a process of its own, on ports that stay the same from start to start.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::rig::{eventually, game_server};

/// How long a process may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with files, ports, and the process that is to run in it.
pub(crate) struct Stage {
    dir: TempDir,
    child: Option<Child>,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    query: SocketAddr,
    admin: SocketAddr,
    starts: u32,
    /// A shell command that ends in running the director, such as one in a namespace of its own.
    within: Option<String>,
}

impl Stage {
    /// A journal, and a server `alpha` on that port; more keys in front.
    pub(crate) fn new(more: &str, server_port: u16) -> Stage {
        let stage = Stage {
            dir: tempfile::tempdir().expect("a folder"),
            child: None,
            udp: free_udp(),
            tcp: free_tcp(),
            query: free_tcp(),
            admin: free_tcp(),
            starts: 0,
            within: None,
        };
        stage.write_config(&format!("journal: {{dir: journal}}\n{more}"));
        stage.write_objects(&[game_server("alpha", server_port)]);
        stage
    }

    /// The director is run by this shell command, in which `$@` is its command line.
    pub(crate) fn within(mut self, shell: &str) -> Stage {
        self.within = Some(shell.to_owned());
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration on this stage's ports, with more keys in front.
    pub(crate) fn write_config(&self, more: &str) {
        let text = format!(
            "{more}queryPort: {}
dataPorts:
  - {{name: udp, port: {}, protocol: udp}}
  - {{name: tcp, port: {}, protocol: tcp}}
adminPort: {}
bindAddress: 127.0.0.1
inventory: {{file: objects.yaml}}
allowedTargetCidrs: [127.0.0.0/8]
resourceQueryMapping:
  gs: {{group: agones.dev, version: v1, resource: gameservers, namespaces: [games], portName: default}}
",
            self.query.port(),
            self.udp.port(),
            self.tcp.port(),
            self.admin.port()
        );
        fs::write(self.path("config.yaml"), text).expect("written");
    }

    pub(crate) fn write_objects(&self, objects: &[String]) {
        fs::write(self.path("objects.yaml"), objects.join("---\n")).expect("written");
    }

    /// Starts the director and waits until it is ready. Gives how long that took.
    pub(crate) fn start(&mut self) -> Duration {
        let begun = Instant::now();
        self.starts += 1;
        let log = File::create(self.path(&format!("log-{}", self.starts))).expect("a log");
        let binary = env!("CARGO_BIN_EXE_udp-director");
        let mut command = match &self.within {
            None => Command::new(binary),
            Some(shell) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", shell, "sh", binary]);
                command
            }
        };
        command.current_dir(self.dir.path()).arg("serve").arg("--config").arg(self.path("config.yaml"));
        self.child = Some(command.stderr(log).spawn().expect("it starts"));
        while !self.admin("GET", "/readyz").starts_with("HTTP/1.1 200") {
            assert!(begun.elapsed() < PATIENCE, "not ready: {}", self.log());
            std::thread::yield_now();
        }
        begun.elapsed()
    }

    /// What the process that was started last has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path(&format!("log-{}", self.starts))).expect("a log")
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("it runs")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child().kill().expect("killed");
        self.child().wait().expect("ended");
        self.child = None;
    }

    pub(crate) fn signal(&mut self, name: &str) {
        let id = self.child().id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("run");
        assert!(sent.success());
    }

    /// Waits for the process to end by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child().try_wait().expect("a child") {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            std::thread::yield_now();
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child().try_wait().expect("a child").is_none()
    }

    /// The whole answer of the admin port; empty where nobody answers.
    pub(crate) fn admin(&self, method: &str, path: &str) -> String {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.admin)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().unwrap_or_default()
    }

    pub(crate) fn admin_port(&self) -> SocketAddr {
        self.admin
    }

    /// The sum of a metric over the lines whose labels contain that text.
    pub(crate) fn metric_where(&self, name: &str, label: &str) -> f64 {
        let page = self.admin("GET", "/metrics");
        let of_name = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        };
        let value = |line: &str| line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok());
        page.lines().filter(of_name).filter_map(value).sum()
    }

    pub(crate) fn sessions(&self) -> f64 {
        self.metric_where("udp_director_active_sessions", "")
    }

    /// Sessions found at the start of which that has become.
    pub(crate) fn restored(&self, outcome: &str) -> f64 {
        self.metric_where("udp_director_restored_sessions_total", &format!("outcome=\"{outcome}\""))
    }

    pub(crate) fn query(&self, document: &str) -> Value {
        let mut stream = TcpStream::connect(self.query).expect("a listener");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
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

    /// A player with a session on that server.
    pub(crate) fn player(&self, server: &str) -> UdpSocket {
        let sessions = self.sessions();
        let player = crate::rig::local_socket();
        player.connect(self.udp).expect("a route");
        player.send(self.token(server).as_bytes()).expect("sent");
        eventually("the session begins", || self.sessions() == sessions + 1.0);
        player
    }

    /// A TCP connection with a session on that server.
    pub(crate) fn stream(&self, server: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.tcp).expect("a listener");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(format!("{}\n", self.token(server)).as_bytes()).expect("sent");
        stream
    }

    /// A path as the process sees it, which may have mounts of its own.
    pub(crate) fn process_path(&mut self, name: &str) -> PathBuf {
        let id = self.child().id();
        PathBuf::from(format!("/proc/{id}/root{}", self.path(name).display()))
    }

    /// Waits until the journal has everything that has happened so far: it looks every 40 ms, and what
    /// has been restored or rewritten is in it from its first rewriting on.
    pub(crate) fn settle(&self) {
        let rows = || self.metric_where("udp_director_journal_writes_total", "row");
        let mut last = (rows(), Instant::now());
        eventually("the journal rests", || {
            let now = rows();
            if now != last.0 {
                last = (now, Instant::now());
            }
            now > 0.0 && last.1.elapsed() > Duration::from_millis(200)
        });
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

fn free_tcp() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port")
}

fn free_udp() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port")
}
