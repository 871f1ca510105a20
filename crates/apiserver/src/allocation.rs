//! Plays the allocation service of Agones: an API server of its own behind the real one.
//!
//! ```text
//! director --POST gameserverallocations--> kube-apiserver --APIService--> Agones (here)
//!                                              ^                             |
//!                                              \---list, update GameServer---/
//! ```
//! The real server authenticates, asks RBAC and passes on. `rules` is what Agones 1.5x does with an
//! allocation, read from its sources: selectors in order, states, counters and lists, priorities,
//! scheduling, what is done to the server, and an update that another writer can get ahead of.

mod rules;
mod service;
mod tls;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use crate::apply::{Mode, apply};
use crate::readiness;
use crate::server::ApiServer;

/// The allocation service of one API server.
pub struct Agones {
    shared: Arc<Shared>,
}

/// What goes wrong with the allocations of a namespace. Numbers are of requests, and are used up.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// How long an answer takes, after the server was allocated.
    pub slow: Duration,
    /// So many are refused with 409.
    pub conflicts: u32,
    /// So many are answered with the state `Contention`.
    pub contentions: u32,
    /// So many are refused with 429.
    pub busy: u32,
    /// So many are refused with 500.
    pub failing: u32,
    /// So many connections are cut after the server was allocated.
    pub lost: u32,
    /// What answers lack.
    pub without: Option<Without>,
    /// Whether servers are deleted as soon as they are allocated.
    pub deletes: bool,
}

/// What an answer lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// The server's name.
    Name,
    /// The server's address.
    Address,
}

/// What the service and the test share.
pub(crate) struct Shared {
    namespaces: Mutex<HashMap<String, Namespace>>,
}

#[derive(Default)]
struct Namespace {
    faults: Faults,
    requests: Vec<Value>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Agones {
    /// The one behind the shared server.
    ///
    /// # Panics
    /// As [`Agones::start`] does.
    pub async fn shared() -> &'static Agones {
        static SHARED: OnceCell<Agones> = OnceCell::const_new();
        SHARED.get_or_init(async || Agones::start(ApiServer::shared().await).await).await
    }

    /// Registers an allocation service with a server, and waits until that asks it. GameServers have to be
    /// installed by the test.
    ///
    /// # Panics
    /// When the server does not take it, or does not ask within two minutes.
    pub async fn start(server: &ApiServer) -> Agones {
        let shared = Arc::new(Shared { namespaces: Mutex::default() });
        let address = serve(server.address().ip(), server.url(), Arc::clone(&shared));
        let client = server.admin();
        let objects = registration(address);
        for object in &objects {
            apply(&client, SYSTEM, &object.to_string(), Mode::Keep).await.expect("a registration");
        }
        let path = "/apis/allocation.agones.dev/v1";
        let asked = async || client.request_text(readiness::http_get(path)).await.ok();
        readiness::until("the allocation service is asked", asked, || None).await;
        Agones { shared }
    }

    /// Lets that go wrong in the namespace from now on.
    pub fn fail(&self, namespace: &str, faults: Faults) {
        self.shared.with(namespace, |namespace| namespace.faults = faults);
    }

    /// The specifications that were asked for in the namespace, those that went wrong included.
    pub fn requests(&self, namespace: &str) -> Vec<Value> {
        self.shared.with(namespace, |namespace| namespace.requests.clone())
    }
}

impl Shared {
    fn with<T>(&self, name: &str, look: impl FnOnce(&mut Namespace) -> T) -> T {
        look(self.namespaces().entry(name.to_owned()).or_default())
    }

    fn namespaces(&self) -> MutexGuard<'_, HashMap<String, Namespace>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves on a thread of its own, since each test has a runtime that ends with it.
fn serve(ip: IpAddr, url: String, shared: Arc<Shared>) -> SocketAddr {
    let listener = std::net::TcpListener::bind((ip, 0)).expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("a bound socket");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a listening socket");
            service::serve(listener, &url, shared).await;
        });
    });
    address
}

/// What makes the API server pass requests on. It checks no certificate: the way is loopback.
fn registration(address: SocketAddr) -> [Value; 3] {
    let version = "v1";
    [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": SYSTEM},
            "spec": {"type": "ExternalName", "externalName": address.ip().to_string()}}),
        json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": format!("{version}.allocation.agones.dev")},
            "spec": {"group": "allocation.agones.dev", "version": version,
                "groupPriorityMinimum": 1000, "versionPriority": 15, "insecureSkipTLSVerify": true,
                "service": {"name": NAME, "namespace": SYSTEM, "port": address.port()}}}),
    ]
}

const SYSTEM: &str = "agones-system";
const NAME: &str = "agones-controller-service";
