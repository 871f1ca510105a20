//! Rules of the metrics.

use std::collections::HashMap;

use udp_director_core::{Limits, Refusal, Settings};
use udp_director_wire::{Magic, TokenForm};

use super::*;

/// Sources that have seen nothing yet.
pub(crate) fn sources() -> Sources {
    let settings = Settings {
        magic: Magic::default(),
        token_form: TokenForm::Uuid,
        seal: None,
        token_ttl: Duration::from_secs(30),
        session_timeout: Duration::from_secs(300),
        migration_grace: Duration::ZERO,
        token_grace: Duration::ZERO,
        sticky_for: Duration::from_secs(120),
        has_default_endpoint: false,
        limits: Limits { max_sessions: 1, max_pending_tokens: 1 },
        listeners: Vec::new(),
    };
    let listed =
        crate::query::ResourceType { namespaces: Vec::new(), balancer: Arc::default(), allocating: None };
    let catalog = Catalog { resource_types: [("lobby".to_owned(), listed)].into(), ..Catalog::default() };
    Sources {
        journal: None,
        clock: Clock::new(),
        ledger: Arc::new(SharedLedger::new(Arc::new(settings), Arc::default())),
        counters: vec![Arc::default(), Arc::default()],
        moves: Arc::default(),
        upstream_sockets: Reading::new(|| 7),
        queries: Arc::new(QueryCounters::new()),
        allocations: Arc::new(AllocationCounters::new()),
        catalog: watch::channel(Arc::new(catalog)).1,
        control: Arc::default(),
    }
}

/// The samples of a page, by name and labels as written.
fn samples(page: &str) -> HashMap<String, f64> {
    assert!(page.ends_with("# EOF\n"), "{page}");
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.strip_prefix("udp_director_").expect("the prefix").to_owned(), value.parse().expect("a number"))
    };
    let samples: Vec<_> = lines.map(sample).collect();
    let count = samples.len();
    let by_name: HashMap<_, _> = samples.into_iter().collect();
    assert_eq!(by_name.len(), count, "a sample appears twice: {page}");
    by_name
}

#[test]
fn counters_of_all_workers_are_summed() {
    let sources = sources();
    for counters in &sources.counters {
        counters.from_clients.add(2, 100);
        counters.dropped(Dropped::NoSession);
        counters.happened(Event::Resumed);
    }
    let samples = samples(&Metrics::new(Arc::new(sources)).render());
    for (name, value) in [
        ("packets_received_total{source=\"client\"}", 4.0),
        ("bytes_received_total{source=\"client\"}", 200.0),
        ("bytes_sent_total{destination=\"backend\"}", 0.0),
        ("drops_total{reason=\"no_session\"}", 2.0),
        ("session_events_total{event=\"resumed\"}", 2.0),
        ("upstream_sockets", 7.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name}");
    }
}

#[test]
fn every_reason_event_and_code_is_there_from_the_start() {
    let page = Metrics::new(Arc::new(sources())).render();
    let samples = samples(&page);
    let named = |prefix: &str| samples.keys().filter(|name| name.starts_with(prefix)).count();
    assert_eq!(named("drops_total{"), Dropped::COUNT);
    assert_eq!(named("session_events_total{"), Event::ALL.len());
    assert_eq!(named("migrations_total{cause=\"operator\",outcome=\""), 1 + Refusal::ALL.len());
    assert_eq!(named("query_requests_total{"), ErrorCode::ALL.len() + 1);
    assert_eq!(named("held_query_ends_total{"), HoldEnd::ALL.len());
    assert_eq!(named("allocations_total{"), Outcome::ALL.len());
    assert_eq!(named("unclaimed_allocations_total{"), Returned::ALL.len());
    assert_eq!(samples["allocation_requests_total"], 0.0);
    assert_eq!(samples["build_info{version=\"0.1.0\"}"], 1.0);
}

#[test]
fn resource_type_without_backends_counts_zero() {
    let samples = samples(&Metrics::new(Arc::new(sources())).render());
    assert_eq!(samples["backends{resource_type=\"lobby\",accepting=\"true\"}"], 0.0);
    assert_eq!(samples["backends{resource_type=\"lobby\",accepting=\"false\"}"], 0.0);
}

#[test]
fn rejected_configuration_is_counted_and_leaves_the_generation() {
    let sources = sources();
    sources.control.config_generation.store(3, Ordering::Relaxed);
    sources.control.config_rejections.store(2, Ordering::Relaxed);
    let samples = samples(&Metrics::new(Arc::new(sources)).render());
    assert_eq!(samples["config_generation"], 3.0);
    assert_eq!(samples["config_loads_total{outcome=\"rejected\"}"], 2.0);
}
