//! A real Kubernetes API server for tests: kube-apiserver with etcd on loopback, TLS and RBAC on.
//!
//! A test that needs one asks for the server of its test binary and for a namespace of its own:
//!
//! ```no_run
//! # async fn test() -> Result<(), kube::Error> {
//! use udp_director_apiserver::{ApiServer, Kubelet, NewPod};
//!
//! let server = ApiServer::shared().await; // one per test binary; ends with it, even when it is killed
//! let namespace = server.namespace().await;
//! let kubelet = Kubelet::new(server.admin(), &namespace);
//! kubelet.create(&NewPod { name: "match-1", ports: &[("game", 7777, "UDP")], ..NewPod::default() }).await?;
//! kubelet.run("match-1", &["10.1.2.3"]).await?; // Running, Ready, with this address
//!
//! let account = server.service_account(&namespace, "director").await; // may do nothing yet
//! let process_reads: &std::path::Path = &account.kubeconfig; // for KUBECONFIG
//! # Ok(())
//! # }
//! ```
//!
//! A test that stops, kills or sets a server back has one alone: [`ApiServer::start`]. A server takes 3
//! to 5 s to start and 0.35 GB or more. `cargo test` builds the program by `scripts/kube-apiserver`
//! (minutes, once) where `UDP_DIRECTOR_KUBE_APISERVER` does not name it; `make test-kubernetes` runs all
//! tests that need it: the targets named `kubernetes*` or `cluster*` of any crate. There is no scheduler,
//! no kubelet and no controller: a test plays them, with [`Kubelet`], [`Nodes`], [`Services`] and
//! [`GameServers`]. [`Agones`] stands behind the server and allocates GameServers, as Agones' own does. Everything panics, with the end of the server's log, when the server itself does not
//! work: such a test has nothing to assert.
#![forbid(unsafe_code)]

mod account;
mod agones;
mod allocation;
mod apply;
mod audit;
mod cluster;
mod credentials;
mod endpoint;
mod keeper;
mod kubelet;
mod process;
mod program;
mod readiness;
mod requests;
mod server;

pub use account::Account;
pub use agones::GameServers;
pub use allocation::{Agones, Faults, Without};
pub use apply::{Mode, apply};
pub use audit::Request;
pub use cluster::{Nodes, Services};
pub use kubelet::{Kubelet, NewPod};
pub use requests::RequestCounts;
pub use server::{ApiServer, Settings, Snapshot};
