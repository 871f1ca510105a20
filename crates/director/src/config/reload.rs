//! What a reload cannot change.

use std::fmt;

use super::{Config, InventorySource, Workers};

/// A key whose new value takes effect only in a new process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The key.
    pub key: &'static str,
    /// Its value in the running process.
    pub running: String,
    /// Its value in the new configuration.
    pub wanted: String,
}

/// The keys that differ between the configurations and cannot be taken over live; with none, all of the
/// new configuration can.
pub fn restart_needed(running: &Config, wanted: &Config) -> Vec<Restart> {
    FIXED
        .iter()
        .map(|(key, value)| Restart { key, running: value(running), wanted: value(wanted) })
        .filter(|restart| restart.running != restart.wanted)
        .collect()
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Restart { key, running, wanted } = self;
        write!(f, "{key} is {running} and becomes {wanted} only by a restart")
    }
}

/// The keys that a reload cannot change.
pub(super) fn fixed_keys() -> impl Iterator<Item = &'static str> {
    FIXED.iter().map(|(key, _)| *key)
}

type Shown = fn(&Config) -> String;

const FIXED: [(&str, Shown); 11] = [
    ("adminPort", |config| config.admin_port.to_string()),
    ("bindAddress", |config| config.bind_address.to_string()),
    ("inventory", |config| match &config.inventory {
        InventorySource::File(path) => path.display().to_string(),
        InventorySource::Kubernetes => "kubernetes".to_owned(),
    }),
    ("journal", |config| match &config.journal {
        Some(dir) => dir.display().to_string(),
        None => "off".to_owned(),
    }),
    ("limits.queryConnections", |config| config.limits.query_connections.to_string()),
    ("limits.queryConnectionsPerSource", |config| config.limits.query_connections_per_source.to_string()),
    ("limits.tcpConnections", |config| config.limits.tcp_connections.to_string()),
    ("limits.waitingQueries", |config| config.limits.waiting_queries.to_string()),
    ("limits.waitingQueriesPerSource", |config| config.limits.waiting_queries_per_source.to_string()),
    ("queryPort", |config| config.query_port.to_string()),
    ("workers", |config| match config.workers {
        Workers::Auto => "auto".to_owned(),
        Workers::Count(count) => count.to_string(),
    }),
];
