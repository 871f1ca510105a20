//! From the configuration to what the rules and the query server need.

use std::sync::Arc;

use udp_director_core::{Balancer, KeyRing, Limits, Listener, Protocol, Seal, Settings};
use udp_director_inventory::{CapacitySource, Mapping, NumberSource};
use udp_director_wire::TokenForm;

use crate::allocation::{Allocating, Sharing};
use crate::config::{Config, Workers};
use crate::query::{Catalog, ResourceType};

/// The settings of a configuration, with the listeners that are open and the keys of its folder.
pub(crate) fn settings(config: &Config, listeners: Vec<Listener>, keys: Option<&KeyRing>) -> Settings {
    let tokens = &config.tokens;
    let seal = keys.map(|ring| Arc::new(Seal::new(ring.clone(), &tokens.cluster_id, tokens.bind_client_ip)));
    Settings {
        magic: config.magic,
        token_form: if seal.is_some() { TokenForm::Base64Url } else { TokenForm::Uuid },
        seal,
        token_ttl: config.token_ttl,
        session_timeout: config.session_timeout,
        migration_grace: config.migration_grace,
        token_grace: config.token_grace,
        sticky_for: config.sticky_for,
        has_default_endpoint: config.default_endpoint.is_some(),
        limits: Limits {
            max_sessions: config.limits.max_sessions,
            max_pending_tokens: config.limits.max_pending_tokens,
        },
        listeners,
    }
}

/// What may be asked for under a configuration.
pub(crate) fn catalog(config: &Config) -> Catalog {
    let listed = |mapping: &Mapping| {
        let balancer = Arc::new(Balancer::new(config.strategy_of(&mapping.resource_type)));
        let allocating = allocating(config, mapping).map(Arc::new);
        let listed = ResourceType { namespaces: mapping.namespaces.clone(), balancer, allocating };
        (mapping.resource_type.to_string(), listed)
    };
    Catalog {
        resource_types: config.mappings.iter().map(listed).collect(),
        seal_tokens: config.tokens.sealed,
        bind_client_ip: config.tokens.bind_client_ip,
        expose_backend: config.expose_backend,
    }
}

/// How the queries of a mapping allocate, if they do.
fn allocating(config: &Config, mapping: &Mapping) -> Option<Allocating> {
    let allocate = config.allocations.get(&mapping.resource_type)?.clone();
    let sharing = match &mapping.capacity {
        None => Sharing::Alone,
        Some(CapacitySource { max: NumberSource::Fixed(max), current: None, overlap }) => {
            Sharing::Fixed(max.saturating_sub(*overlap))
        }
        Some(_) => Sharing::AsItSays,
    };
    Some(Allocating { allocate, sharing })
}

/// How many workers a configuration asks for.
pub(crate) fn worker_count(config: &Config) -> usize {
    match config.workers {
        Workers::Auto => std::thread::available_parallelism().map_or(1, usize::from),
        Workers::Count(count) => count.into(),
    }
}

/// How many descriptors a configuration takes before any client comes: each worker has two of its own
/// and a socket for each UDP port.
pub(crate) fn own_descriptors(config: &Config) -> u64 {
    let udp = config.data_ports.iter().filter(|port| port.protocol == Protocol::Udp).count();
    (worker_count(config) * (2 + udp) + config.data_ports.len() - udp) as u64
}

/// A number that differs from start to start: it spreads players, no secret hangs on it.
pub(crate) fn seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
