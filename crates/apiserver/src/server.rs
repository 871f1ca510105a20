//! The server: its processes, its life and what a test asks it for.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::account::{self, Account};
use crate::audit::{self, Request};
use crate::credentials::{ADMIN_TOKEN, Credentials};
use crate::endpoint::Endpoint;
use crate::keeper::Keeper;
use crate::process::Process;
use crate::requests::RequestCounts;
use crate::{program, readiness};

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long watches get to end after SIGTERM (`--shutdown-watch-termination-grace-period`). With zero the
    /// server does not end them: it waits for its clients, for 60 s if need be. Default: 3 s.
    pub watch_grace: Duration,
    /// The loopback address that it listens on. Default: one of 127.64.0.0/10 that no other server has.
    pub address: Option<IpAddr>,
    /// More flags of kube-apiserver, as in `--emulated-version=kube=1.33`. Default: none.
    pub flags: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { watch_grace: Duration::from_secs(3), address: None, flags: Vec::new() }
    }
}

/// A state of the cluster, to go back to. It goes with its server.
#[derive(Clone, Debug)]
pub struct Snapshot(PathBuf);

/// A Kubernetes API server with an etcd of its own. When it is dropped, or the test's process ends in any
/// way, its processes are killed and its folder is removed.
pub struct ApiServer {
    // Dropped in this order: the processes end before the folder goes.
    api: Option<Process>,
    etcd: Option<Process>,
    _keeper: Keeper,
    folder: PathBuf,
    settings: Settings,
    credentials: Credentials,
    endpoint: Endpoint,
    namespaces: AtomicU64,
    snapshots: u64,
}

impl ApiServer {
    /// The server that the tests of this binary share; the first who asks starts it. It cannot be stopped.
    ///
    /// # Panics
    /// As [`ApiServer::start`] does.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<ApiServer> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// Starts a server and waits until it is ready.
    ///
    /// # Panics
    /// When it cannot be built or is not ready within two minutes.
    pub async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    /// Starts a server with settings of the test's own and waits until it is ready.
    ///
    /// # Panics
    /// As [`ApiServer::start`] does.
    pub async fn start_with(settings: Settings) -> Self {
        let prefix = "udp-director-apiserver-";
        let folder = TempDir::with_prefix(prefix).expect("a writable temporary folder").keep();
        let keeper = Keeper::start(&folder);
        let address = SocketAddr::new(settings.address.unwrap_or_else(free_address), PORT);
        let credentials = Credentials::create(&folder, address.ip());
        let endpoint = Endpoint { address, ca: credentials.ca.clone(), ca_der: credentials.ca_der.clone() };
        fs::write(folder.join(AUDIT_POLICY), audit::POLICY).expect("a writable folder");
        let mut server = Self {
            api: None,
            etcd: None,
            _keeper: keeper,
            folder,
            settings,
            credentials,
            endpoint,
            namespaces: AtomicU64::new(0),
            snapshots: 0,
        };
        server.start_again().await;
        server
    }

    /// A client that may do everything. Each test takes its own: a client belongs to the test's runtime.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn admin(&self) -> Client {
        self.endpoint.client(json!({"token": ADMIN_TOKEN}))
    }

    /// Where the server is, as in `https://127.64.0.1:6443`.
    pub fn url(&self) -> String {
        self.endpoint.url()
    }

    /// The address and port that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// Creates a namespace that no other test has, and returns its name.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn namespace(&self) -> String {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{number}");
        let object = serde_json::from_value(json!({"metadata": {"name": name}})).expect("a Namespace");
        let created = Api::<Namespace>::all(self.admin()).create(&PostParams::default(), &object).await;
        created.expect("a new namespace");
        name
    }

    /// A service account with a new token, as a client and as files; creates the account where it is missing.
    ///
    /// # Panics
    /// When the server refuses it, for example because there is no such namespace.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Account {
        let created = account::create(self.admin(), &self.endpoint, &self.folder, (namespace, name)).await;
        created.expect("a service account")
    }

    /// What the server has been asked since it was started last.
    ///
    /// # Errors
    /// The failure of the request for its metrics.
    pub async fn request_counts(&self) -> Result<RequestCounts, kube::Error> {
        let metrics = self.admin().request_text(readiness::http_get("/metrics")).await?;
        Ok(RequestCounts::read(&metrics))
    }

    /// What a service account has asked, in the order of the answers: [`Account::user`] is its name.
    pub fn requests_of(&self, user: &str) -> Vec<Request> {
        audit::read(&self.folder.join(AUDIT_LOG), user)
    }

    /// Sends SIGTERM and does not wait ([`ApiServer::stop`] or [`ApiServer::kill`] come next): the server
    /// refuses new connections, and with [`Settings::watch_grace`] ends its watches, in its own time.
    pub fn terminate(&mut self) {
        if let Some(api) = &mut self.api {
            api.terminate();
        }
    }

    /// Ends the server by SIGTERM, as a rolling update does, waits for its end, and ends etcd. That takes a
    /// second; with a grace of zero and open watches, a minute.
    ///
    /// # Panics
    /// When it still runs after two minutes.
    pub async fn stop(&mut self) {
        for process in [self.api.take(), self.etcd.take()] {
            let Some(mut process) = process else { continue };
            process.terminate();
            process.wait(readiness::LIMIT).await;
        }
    }

    /// Kills the server and etcd, as a lost machine would: connections break without a word.
    pub fn kill(&mut self) {
        self.api = None;
        self.etcd = None;
    }

    /// Holds the server (SIGSTOP): connections stay open, and nothing is answered, until
    /// [`ApiServer::go_on`].
    pub fn hold(&mut self) {
        if let Some(api) = &mut self.api {
            api.signal(Signal::STOP);
        }
    }

    /// Lets a server that is held go on.
    pub fn go_on(&mut self) {
        if let Some(api) = &mut self.api {
            api.signal(Signal::CONT);
        }
    }

    /// Starts a server that has been stopped or killed: with the same address, credentials and objects.
    /// Waits until it is ready. One that runs is left alone.
    ///
    /// # Panics
    /// As [`ApiServer::start`] does.
    pub async fn start_again(&mut self) {
        if self.api.is_some() {
            return;
        }
        if self.etcd.is_none() {
            self.etcd = Some(Process::start(program::path(), &self.folder, &self.etcd_command()));
        }
        self.api = Some(Process::start(program::path(), &self.folder, &self.api_command()));
        self.wait_until_ready().await;
    }

    /// Keeps the state that etcd has now.
    ///
    /// # Panics
    /// When the server runs.
    pub fn snapshot(&mut self) -> Snapshot {
        self.snapshots += 1;
        let copy = self.folder.join(format!("snapshot-{}", self.snapshots));
        copy_folder(&self.stopped_data(), &copy);
        Snapshot(copy)
    }

    /// Goes back to a state that was kept, as a cluster restored from a backup does: objects and resource
    /// versions are those of then.
    ///
    /// # Panics
    /// When the server runs.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let data = self.stopped_data();
        fs::remove_dir_all(&data).expect("a folder of our own");
        copy_folder(&snapshot.0, &data);
    }

    fn stopped_data(&self) -> PathBuf {
        assert!(self.api.is_none() && self.etcd.is_none(), "stop the server first");
        self.folder.join(DATA)
    }

    async fn wait_until_ready(&mut self) {
        let client = self.admin();
        let (Some(api), Some(etcd)) = (&mut self.api, &mut self.etcd) else { return };
        let ended = || {
            let ended = if etcd.ended().is_some() { &*etcd } else { api.ended().map(|_| &*api)? };
            Some(format!("ended:\n{}", ended.log_end()))
        };
        let ready = async || readiness::is_ready(&client).await.then_some(());
        readiness::until("the API server is ready", ready, ended).await;
    }

    fn etcd_command(&self) -> Vec<String> {
        let flags = [
            format!("--data-dir={}", self.folder.join(DATA).display()),
            format!("--listen-client-urls={}", self.etcd_url()),
            format!("--listen-peer-urls={}", self.socket_url("peers")),
            // Must have a port, and nobody asks for it: there are no peers.
            "--advertise-client-urls=http://localhost:2379".to_owned(),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        ["etcd".to_owned()].into_iter().chain(flags).collect()
    }

    fn api_command(&self) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let flags = [
            format!("--bind-address={}", self.endpoint.address.ip()),
            format!("--secure-port={}", self.endpoint.address.port()),
            format!("--etcd-servers={}", self.etcd_url()),
            format!("--tls-cert-file={}", path(&self.credentials.certificate)),
            format!("--tls-private-key-file={}", path(&self.credentials.key)),
            format!("--token-auth-file={}", path(&self.credentials.tokens)),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={}", path(&self.credentials.account_public_key)),
            format!("--service-account-signing-key-file={}", path(&self.credentials.account_key)),
            // Nobody makes the account `default` that Pods would get.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            // Loopback is refused here; with no reconciler the address is not used.
            "--advertise-address=192.0.2.1".to_owned(),
            format!("--shutdown-watch-termination-grace-period={}s", self.settings.watch_grace.as_secs()),
            format!("--audit-policy-file={}", path(&self.folder.join(AUDIT_POLICY))),
            format!("--audit-log-path={}", path(&self.folder.join(AUDIT_LOG))),
        ];
        let own = ["kube-apiserver".to_owned()].into_iter().chain(flags);
        own.chain(self.settings.flags.iter().cloned()).collect()
    }

    fn etcd_url(&self) -> String {
        self.socket_url("etcd")
    }

    fn socket_url(&self, name: &str) -> String {
        format!("unix://{}", self.folder.join(name).display())
    }
}

const PORT: u16 = 6443;
const DATA: &str = "data";
const AUDIT_POLICY: &str = "audit-policy.json";
const AUDIT_LOG: &str = "audit.log";

/// An address of 127.64.0.0/10 where the port is free. A port of 127.0.0.1 may be taken while the server is
/// stopped, by any outgoing connection; these are looked for by chance, so that two tests do not meet.
fn free_address() -> IpAddr {
    loop {
        let [a, b, c, ..] = RandomState::new().hash_one(()).to_ne_bytes();
        let address = Ipv4Addr::new(127, 64 | (a & 63), b, c);
        if TcpListener::bind((address, PORT)).is_ok() {
            return address.into();
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a writable folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).expect("space for a copy");
        }
    }
}
