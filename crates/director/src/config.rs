//! The configuration: one YAML file, checked as a whole, with all defaults filled in.
//!
//! ```text
//!  text --yaml--> Node --shape--> JSON value --serde--> Document --resolve--> Config
//!                          ^
//!            schema <------+------ document (keys, texts, defaults)
//! ```
//! `document` is the one place that says which keys there are. The schema is derived from it, and both
//! the check of the shape and `docs/configuration.md` follow the schema.

mod document;
mod form;
mod problem;
mod reference;
mod reload;
mod resolve;
mod schema;
mod shape;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use udp_director_core::{Protocol, Query, Strategy, Unclaimed};
use udp_director_inventory::kubernetes::AllocationSpec;
use udp_director_inventory::{Condition, Mapping};
use udp_director_wire::Magic;

use document::Document;
use schema::Schema;

pub use problem::{ConfigErrors, Place, Problem};
pub use reference::reference;
pub use reload::{Restart, restart_needed};
pub use schema::json_schema;

/// A configuration that has passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The TCP port of the query server; 0 for any free one.
    pub query_port: u16,
    /// The data ports, in the order of the file; at least one.
    pub data_ports: Vec<DataPort>,
    /// The TCP port of the admin server; 0 for any free one.
    pub admin_port: u16,
    /// The address that all ports listen on. The unspecified IPv6 address means both families.
    pub bind_address: IpAddr,
    /// How many data-plane threads there are.
    pub workers: Workers,
    /// For how long a token can be redeemed.
    pub token_ttl: Duration,
    /// After how long without traffic in either direction a session ends.
    pub session_timeout: Duration,
    /// Begins every control packet.
    pub magic: Magic,
    /// For how long datagrams of the old backend still reach a migrated client.
    pub migration_grace: Duration,
    /// How many players a second the director itself moves at most.
    pub max_migrations_per_second: u32,
    /// For how long data waits for a token that is on its way, before a default endpoint takes it.
    pub token_grace: Duration,
    /// For how long a sticky key leads to its backend after its last session has ended.
    pub sticky_for: Duration,
    /// What tokens are, and who may redeem them.
    pub tokens: Tokens,
    /// Where the objects come from.
    pub inventory: InventorySource,
    /// Targets that are allowed although their kind of address is refused otherwise.
    pub allowed_target_cidrs: Vec<IpNet>,
    /// Which of the backends that match is picked, by resource type.
    pub strategies: BTreeMap<Arc<str>, Strategy>,
    /// What clients without a token get, with its namespace filled in; `None` refuses them.
    pub default_endpoint: Option<Query>,
    /// The resource mappings, ordered by resource type; at least one.
    pub mappings: Vec<Mapping>,
    /// What queries allocate, by resource type; those without an entry allocate nothing.
    pub allocations: BTreeMap<Arc<str>, Allocate>,
    /// What becomes of players whose backend leaves, by resource type.
    pub when_lost: BTreeMap<Arc<str>, WhenLost>,
    /// What becomes of those of them for whom nothing else matches, by resource type.
    pub when_nothing_matches: HashMap<Arc<str>, WhenNothingMatches>,
    /// For how long a backend must not have been ready before its players are moved.
    pub evacuate_after: Duration,
    /// How backends are asked before a player is moved to them, by resource type.
    pub notices: BTreeMap<Arc<str>, Notice>,
    /// Where sessions are kept for the next process; `None` keeps them nowhere.
    pub journal: Option<PathBuf>,
    /// For how long running sessions go on after SIGTERM.
    pub drain_for: Duration,
    /// Whether answers tell the backend's address.
    pub expose_backend: bool,
    /// The bounds.
    pub limits: Limits,
}

/// How queries allocate servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocate {
    /// What is asked of Agones, beside the labels that the query asks for.
    pub spec: AllocationSpec,
    /// For how long.
    pub deadline: Duration,
    /// What becomes of a server that no player took.
    pub unclaimed: Unclaimed,
}

/// What becomes of players whose backend takes no more players. When it is gone, those who are left go
/// elsewhere, or their sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenLost {
    /// They stay until it is gone.
    Keep,
    /// They go to another that is what they asked for.
    Migrate,
    /// Their sessions end.
    Close,
}

/// What becomes of players who are to leave and for whom nothing else matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenNothingMatches {
    /// They are tried again, as long as they stay.
    #[default]
    Keep,
    /// Their sessions end.
    Close,
}

/// How the backends of a mapping are asked: `POST` over HTTP at their own address, which the inventory
/// has proven. Anything but a status of the 200s, in time, is a no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The port.
    pub port: u16,
    /// The path, from `/` on.
    pub path: String,
    /// How long the answer may take, the connection included.
    pub deadline: Duration,
}

/// One data port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPort {
    /// Its name, unique among the data ports.
    pub name: Arc<str>,
    /// Its port; 0 for any free one.
    pub port: u16,
    /// Its transport.
    pub protocol: Protocol,
    /// Whether backends are told the client's real address (PROXY protocol version 2).
    pub proxy_protocol: bool,
}

/// What tokens are, and who may redeem them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Whether they are sealed; else they are random.
    pub sealed: bool,
    /// Whether only the IP that asked may redeem a token.
    pub bind_client_ip: bool,
    /// The folder of keys: absolute, or relative to the directory that the process runs in. `None` opens
    /// no sealed token.
    pub keys: Option<PathBuf>,
    /// What sealed tokens are good for.
    pub cluster_id: String,
}

/// A number of data-plane threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One for each core.
    Auto,
    /// So many, 1 to 256.
    Count(u16),
}

/// Where the objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InventorySource {
    /// A file: absolute, or relative to the directory that the process runs in.
    File(PathBuf),
    /// The cluster that the process runs in, or that `KUBECONFIG` names.
    Kubernetes,
}

/// The bounds of what clients can make grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions on all data ports together.
    pub max_sessions: usize,
    /// Tokens that nobody has redeemed yet.
    pub max_pending_tokens: usize,
    /// Connections to the query port.
    pub query_connections: usize,
    /// Connections to the query port from one IP.
    pub query_connections_per_source: usize,
    /// Client connections to all TCP data ports together.
    pub tcp_connections: usize,
    /// Queries that are held at once.
    pub waiting_queries: usize,
    /// Of these, queries from one IP.
    pub waiting_queries_per_source: usize,
}

impl Config {
    /// Which of the backends of that type that match is picked.
    pub fn strategy_of(&self, resource_type: &str) -> Strategy {
        self.strategies.get(resource_type).copied().unwrap_or_default()
    }

    /// Largest file that is read, in bytes.
    pub const MAX_LEN: usize = 1 << 20;

    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// Where it cannot be read, and everything that [`Config::parse`] finds.
    pub fn read(path: &Path) -> Result<Config, ConfigErrors> {
        let unreadable = |error: io::Error| {
            ConfigErrors::new(path, vec![Problem::of_file(format!("cannot be read: {error}"))])
        };
        let mut text = String::new();
        let limit = Config::MAX_LEN as u64 + 1;
        File::open(path).map_err(unreadable)?.take(limit).read_to_string(&mut text).map_err(unreadable)?;
        Config::parse(&text, path)
    }

    /// Checks the text of a configuration file. `path` names the file in errors, and relative paths in
    /// the text begin at its directory.
    ///
    /// # Errors
    /// Everything that is wrong, in two steps: what is wrong with keys, types and ranges; once that is
    /// right, what does not fit together.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigErrors> {
        let directory = path.parent().unwrap_or(Path::new(""));
        parse(text, directory).map_err(|problems| ConfigErrors::new(path, problems))
    }
}

fn parse(text: &str, directory: &Path) -> Result<Config, Vec<Problem>> {
    if text.len() > Config::MAX_LEN {
        return Err(vec![Problem::of_file(format!("is longer than {} bytes", Config::MAX_LEN))]);
    }
    let root = yaml::read(text).map_err(|problem| vec![problem])?;
    let shaped = shape::shape(&root, Schema(&schema::annotated()))?;
    let document =
        Document::deserialize(shaped.value).map_err(|error| vec![Problem::of_file(error.to_string())])?;
    resolve::resolve(document, &shaped.places, directory)
}
