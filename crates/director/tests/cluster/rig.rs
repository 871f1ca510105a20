//! A director that runs as its own process and service account beside a real API server, game servers
//! on loopback addresses, and players.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use udp_director_apiserver::{Account, ApiServer, Mode, apply};
use udp_director_client::Session;
use udp_director_wire::Token;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A director, ended when this is dropped.
pub(crate) struct Director {
    child: Child,
    ports: Ports,
    folder: TempDir,
}

#[derive(Clone, Copy)]
struct Ports {
    query: u16,
    data: u16,
    admin: u16,
}

/// A game server that answers every datagram with its name.
pub(crate) struct Server {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    socket: Arc<UdpSocket>,
}

/// The configuration that follows Pods of one namespace, with more keys at the top and in the mapping.
pub(crate) fn pods_of(namespace: &str, top: &str, mapping: &str) -> String {
    format!(
        "allowedTargetCidrs: ['127.0.0.0/8']\ninventory: {{kubernetes: {{}}}}\n{top}\nresourceQueryMapping:\n  gs: \
         {{group: '', version: v1, resource: pods, namespaces: [{namespace}], portName: game{mapping}}}\n"
    )
}

impl Director {
    /// Starts one as that account, which is granted what the configuration needs.
    pub(crate) async fn start(server: &ApiServer, account: &Account, config: &str) -> Director {
        let director = Director::start_as_is(account, config, &[]);
        director.grant(server, account).await;
        director.ready().await;
        director
    }

    /// Starts one without granting anything or waiting. `more` are further arguments in place of
    /// `--config`.
    pub(crate) fn start_as_is(account: &Account, config: &str, more: &[&str]) -> Director {
        let folder = tempfile::tempdir().expect("a folder");
        let ports = Ports { query: free_port(), data: free_port(), admin: free_port() };
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, with_ports(config, ports)).expect("a file");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_udp-director"));
        command.arg("serve").env("KUBECONFIG", &account.kubeconfig).stdout(Stdio::null()).stderr(log);
        match more {
            [] => command.arg("--config").arg(&file),
            more => command.args(more),
        };
        let child = command.spawn().expect("the director starts");
        Director { child, ports, folder }
    }

    /// A configuration with this director's ports.
    pub(crate) fn with_ports(&self, config: &str) -> String {
        with_ports(config, self.ports)
    }

    /// Another text for its configuration file.
    pub(crate) fn write_config(&self, config: &str) {
        let new = self.folder.path().join("new.yaml");
        let config = if config.contains("queryPort") { config.to_owned() } else { self.with_ports(config) };
        std::fs::write(&new, config).expect("a file");
        std::fs::rename(new, self.folder.path().join("config.yaml")).expect("a file in its place");
    }

    /// Grants the account what `udp-director rbac` prints for the configuration.
    pub(crate) async fn grant(&self, server: &ApiServer, account: &Account) {
        self.apply_roles(server, account, &[]).await;
    }

    /// Grants what another configuration needs, which is in the ConfigMap of that path.
    pub(crate) async fn grant_for(
        &self,
        server: &ApiServer,
        account: &Account,
        config: &str,
        map: Option<&str>,
    ) {
        self.write_config(config);
        let more: Vec<&str> = map.into_iter().flat_map(|map| ["--config-map", map]).collect();
        self.apply_roles(server, account, &more).await;
    }

    async fn apply_roles(&self, server: &ApiServer, account: &Account, more: &[&str]) {
        let roles = self.roles(account, more);
        apply(&server.admin(), "default", &roles, Mode::Keep).await.expect("roles that the server takes");
    }

    /// What `udp-director rbac` prints.
    fn roles(&self, account: &Account, more: &[&str]) -> String {
        let (namespace, name) = account
            .user
            .strip_prefix("system:serviceaccount:")
            .and_then(|user| user.split_once(':'))
            .expect("a service account");
        let output = Command::new(env!("CARGO_BIN_EXE_udp-director"))
            .arg("rbac")
            .arg(self.folder.path().join("config.yaml"))
            .args(["--namespace", namespace, "--service-account", name])
            .args(more)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("YAML")
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        self.until("it is ready", async || self.get("/readyz").await.starts_with("ready")).await;
    }

    /// What the admin port answers; empty where it does not.
    pub(crate) async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: director\r\nConnection: close\r\n\r\n");
        let answer = exchange(self.ports.admin, &request, false).await.unwrap_or_default();
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    /// What the query port answers.
    pub(crate) async fn query(&self, document: &str) -> Value {
        let answer = exchange(self.ports.query, document, true).await.expect("the query port answers");
        serde_json::from_str(&answer).expect("JSON")
    }

    /// A token for what is asked for, as soon as something matches.
    pub(crate) async fn token(&self, document: &str) -> Token {
        let mut token = None;
        self.until(document, async || {
            token = self.query(document).await["token"].as_str().map(str::to_owned);
            token.is_some()
        })
        .await;
        token.and_then(|token| Token::from_bytes(token.as_bytes())).expect("a token")
    }

    /// A player with a session on what is asked for.
    pub(crate) async fn player(&self, document: &str) -> Session {
        let token = self.token(document).await;
        Session::connect(self.data(), token).await.expect("a session")
    }

    /// Waits until nothing matches.
    pub(crate) async fn until_no_match(&self, document: &str) {
        self.until("nothing matches", async || {
            self.query(document).await["error"] == "No matching resources found"
        })
        .await;
    }

    /// Waits until that holds.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    }

    /// The UDP data port.
    pub(crate) fn data(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.data).into()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

#[allow(dead_code, reason = "for the benchmark")]
impl Director {
    /// Its resident memory, in MiB.
    pub(crate) fn memory_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok());
        kib.expect("a number") / 1024.0
    }

    /// How much CPU time it has used.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let nanos = tasks.filter_map(|task| {
            let spent = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            spent.split_whitespace().next()?.parse::<f64>().ok()
        });
        nanos.sum::<f64>() / 1e9
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request and reads until the end. An HTTP server may take the end of what it reads for the end
/// of its client.
async fn exchange(port: u16, request: &str, and_end: bool) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(request.as_bytes()).await?;
    if and_end {
        stream.shutdown().await?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn with_ports(config: &str, Ports { query, data, admin }: Ports) -> String {
    let data = if config.contains("dataPorts:") { String::new() } else { format!("dataPort: {data}\n") };
    format!("queryPort: {query}\n{data}adminPort: {admin}\nworkers: 1\n{config}")
}

/// A port that is free for UDP and TCP, below those that the kernel gives to outgoing connections: those
/// may be taken before the director takes them. By chance, so that two tests do not meet.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = 10_000 + (RandomState::new().hash_one(()) % 20_000) as u16;
        let any = (Ipv6Addr::UNSPECIFIED, port);
        if TcpListener::bind(any).is_ok() && UdpSocket::bind(any).is_ok() {
            return port;
        }
    }
}

impl Server {
    /// Starts one at that address, at a free port.
    pub(crate) fn start(name: &'static str, address: [u8; 4]) -> Server {
        Server::start_at(name, address.into(), 0)
    }

    /// Starts one at that address and port.
    pub(crate) fn start_at(name: &'static str, address: Ipv4Addr, port: u16) -> Server {
        let socket = Arc::new(UdpSocket::bind((address, port)).expect("a free port"));
        let port = socket.local_addr().expect("a bound socket").port();
        let answering = Arc::clone(&socket);
        std::thread::spawn(move || {
            let mut buf = [0; 2048];
            while let Ok((len, from)) = answering.recv_from(&mut buf) {
                if &buf[..len] == b"end" && from.ip() == address {
                    return;
                }
                let _ = answering.send_to(name.as_bytes(), from);
            }
        });
        Server { address, port, socket }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.socket.send_to(b"end", (self.address, self.port));
    }
}

/// Where the player is now: the name that his server answers with.
pub(crate) async fn whereabouts(player: &Session) -> String {
    let mut buf = [0; 64];
    for _ in 0..50 {
        player.send(b"where am I?").await.expect("sent");
        let answer = tokio::time::timeout(Duration::from_millis(200), player.recv(&mut buf)).await;
        if let Ok(Ok(len)) = answer {
            return String::from_utf8_lossy(&buf[..len]).into_owned();
        }
    }
    "nowhere".to_owned()
}
