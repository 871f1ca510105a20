//! From a configuration of the right shape to a [`Config`]: the rules that span several keys.

mod allocate;
mod balancing;
mod endpoint;
mod listeners;
mod mapping;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::document::{self, Document, Inventory, ResourceMapping};
use super::problem::Problem;
use super::shape::Places;
use super::{Config, InventorySource, Limits, Notice, WhenLost, WhenNothingMatches, Workers};

/// Checks what the shape cannot say, and gives the configuration with all defaults filled in.
///
/// # Errors
/// Everything that does not fit together.
pub(super) fn resolve(document: Document, places: &Places, directory: &Path) -> Result<Config, Vec<Problem>> {
    let mut resolver = Resolver { places, problems: Vec::new() };
    match resolver.config(document, directory) {
        Some(config) if resolver.problems.is_empty() => Ok(config),
        _ => Err(resolver.problems),
    }
}

/// Every method takes a part of the document, notes what is wrong with it and goes on, so that all
/// problems are found. It gives `None` only where it has noted something.
struct Resolver<'a> {
    places: &'a Places,
    problems: Vec<Problem>,
}

impl Resolver<'_> {
    fn config(&mut self, document: Document, directory: &Path) -> Option<Config> {
        let data_ports = self.data_ports(&document);
        let default_endpoint =
            self.default_endpoint(document.default_endpoint, &document.resource_query_mapping);
        let allocations = self.allocations(&document.resource_query_mapping, document.inventory.as_ref());
        let when_lost = when_lost(&document.resource_query_mapping);
        let when_nothing_matches = when_nothing_matches(&document.resource_query_mapping);
        let notices = notices(&document.resource_query_mapping);
        let balancing = self.balancing(&document.load_balancing, &document.resource_query_mapping);
        let strategies =
            balancing.iter().map(|(name, balancing)| (name.as_str().into(), balancing.strategy)).collect();
        let mappings = self.mappings(document.resource_query_mapping, &data_ports, balancing);
        let inventory = self.inventory(document.inventory, directory);
        let magic = self.noted("controlPacketMagicBytes", document.control_packet_magic_bytes.parse());
        let tokens = self.tokens(document.tokens, directory);
        if tokens.as_ref().is_some_and(|tokens| tokens.sealed) {
            self.refuse_unclaimed(&allocations);
        }
        Some(Config {
            query_port: document.query_port,
            data_ports,
            admin_port: document.admin_port,
            bind_address: document.bind_address,
            workers: workers(document.workers),
            token_ttl: Duration::from_secs(document.token_ttl_seconds.into()),
            session_timeout: Duration::from_secs(document.session_timeout_seconds.into()),
            magic: magic?,
            migration_grace: Duration::from_millis(document.migration_grace_ms.into()),
            max_migrations_per_second: document.max_migrations_per_second,
            token_grace: Duration::from_millis(document.token_grace_ms.into()),
            sticky_for: Duration::from_secs(document.sticky_seconds.into()),
            tokens: tokens?,
            inventory: inventory?,
            allowed_target_cidrs: document.allowed_target_cidrs,
            strategies,
            default_endpoint,
            mappings,
            allocations,
            when_lost,
            when_nothing_matches,
            evacuate_after: Duration::from_secs(document.evacuate_after_seconds.into()),
            notices,
            journal: document.journal.map(|journal| directory.join(journal.dir)),
            drain_for: Duration::from_secs(document.drain_seconds.into()),
            expose_backend: document.expose_backend,
            limits: limits(&document.limits),
        })
    }

    fn inventory(&mut self, source: Option<Inventory>, directory: &Path) -> Option<InventorySource> {
        match source {
            None | Some(Inventory { file: None, kubernetes: Some(_) }) => Some(InventorySource::Kubernetes),
            Some(Inventory { file: Some(file), kubernetes: None }) => {
                Some(InventorySource::File(directory.join(file)))
            }
            Some(_) => self.refused("inventory", "needs either \"file\" or \"kubernetes\""),
        }
    }

    fn noted<T>(&mut self, key: &str, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.refuse(key, &error.to_string())).ok()
    }

    fn refused<T>(&mut self, key: &str, text: &str) -> Option<T> {
        self.refuse(key, text);
        None
    }

    fn refuse(&mut self, key: &str, text: &str) {
        let place = self.places.of(key);
        self.problems.push(Problem { place, key: key.to_owned(), text: text.to_owned() });
    }
}

fn when_lost(mappings: &BTreeMap<String, ResourceMapping>) -> BTreeMap<Arc<str>, WhenLost> {
    let policy = |written| match written {
        document::WhenLost::Keep => WhenLost::Keep,
        document::WhenLost::Migrate => WhenLost::Migrate,
        document::WhenLost::Close => WhenLost::Close,
    };
    mappings.iter().map(|(name, mapping)| (name.as_str().into(), policy(mapping.when_lost))).collect()
}

fn when_nothing_matches(
    mappings: &BTreeMap<String, ResourceMapping>,
) -> HashMap<Arc<str>, WhenNothingMatches> {
    let policy = |written| match written {
        document::WhenNothingMatches::Keep => WhenNothingMatches::Keep,
        document::WhenNothingMatches::Close => WhenNothingMatches::Close,
    };
    let each = mappings.iter();
    each.map(|(name, mapping)| (name.as_str().into(), policy(mapping.when_nothing_matches))).collect()
}

fn notices(mappings: &BTreeMap<String, ResourceMapping>) -> BTreeMap<Arc<str>, Notice> {
    let notice = |written: &document::MigrationNotice| Notice {
        port: written.port,
        path: written.path.clone(),
        deadline: Duration::from_millis(written.deadline_ms.into()),
    };
    let each = mappings.iter();
    each.filter_map(|(name, mapping)| {
        Some((name.as_str().into(), notice(mapping.migration_notice.as_ref()?)))
    })
    .collect()
}

fn workers(written: document::Workers) -> Workers {
    match written {
        document::Workers::Auto(document::Auto::Auto) => Workers::Auto,
        document::Workers::Count(count) => Workers::Count(count),
    }
}

fn limits(written: &document::Limits) -> Limits {
    Limits {
        max_sessions: written.max_sessions as usize,
        max_pending_tokens: written.max_pending_tokens as usize,
        query_connections: written.query_connections as usize,
        query_connections_per_source: written.query_connections_per_source as usize,
        tcp_connections: written.tcp_connections as usize,
        waiting_queries: written.waiting_queries as usize,
        waiting_queries_per_source: written.waiting_queries_per_source as usize,
    }
}
