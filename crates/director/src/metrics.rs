//! The metrics: counters and gauges read where they are kept, at each scrape.
//!
//! Label sets are closed: reasons, events, codes, and the resource types of the configuration. No
//! address, token or id is a label.

mod page;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use udp_director_core::{Counters, Dropped, Event, Inventory, Moment, SharedLedger, Volume};
use udp_director_dataplane::Clock;
use udp_director_wire::ErrorCode;

use crate::allocation::{AllocationCounters, Outcome, Returned};
use crate::control::ControlStatus;
use crate::journal::JournalStatus;
use crate::moving::MoveCounters;
use crate::query::{Bound, Catalog, HoldEnd, QueryCounters};

use page::Page;

/// Where the metrics are read.
#[derive(Debug)]
pub(crate) struct Sources {
    /// The process's clock; its epoch is the start of the process.
    pub(crate) clock: Clock,
    /// The sessions, the tokens that wait, and the inventory.
    pub(crate) ledger: Arc<SharedLedger>,
    /// What the data plane has counted: one for each worker, and one for all TCP connections.
    pub(crate) counters: Vec<Arc<Counters>>,
    /// What has come of moving players.
    pub(crate) moves: Arc<MoveCounters>,
    /// How many upstream sockets are open.
    pub(crate) upstream_sockets: Reading<u64>,
    /// What the query server has counted.
    pub(crate) queries: Arc<QueryCounters>,
    /// What has been counted of allocations.
    pub(crate) allocations: Arc<AllocationCounters>,
    /// Which resource types there are.
    pub(crate) catalog: watch::Receiver<Arc<Catalog>>,
    /// What has become of the configuration and of the inventory.
    pub(crate) control: Arc<ControlStatus>,
    /// How the journal fares; `None` where there is none.
    pub(crate) journal: Option<Arc<JournalStatus>>,
}

/// Something that is asked for anew each time it is needed.
pub(crate) struct Reading<T>(Box<dyn Fn() -> T + Send + Sync>);

/// The metrics of this process.
#[derive(Debug)]
pub(crate) struct Metrics(Registry);

impl Sources {
    /// How long ago the inventory was last found to be current.
    pub(crate) fn inventory_age(&self) -> Duration {
        let seen = Duration::from_micros(self.control.inventory_seen.load(Ordering::Relaxed));
        self.clock.now() - Moment::since_epoch(seen)
    }
}

impl<T> Reading<T> {
    /// Asks `source`, which answers at once.
    pub(crate) fn new(source: impl Fn() -> T + Send + Sync + 'static) -> Reading<T> {
        Reading(Box::new(source))
    }

    /// What it is now.
    pub(crate) fn now(&self) -> T {
        (self.0)()
    }
}

impl<T> fmt::Debug for Reading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reading")
    }
}

impl Metrics {
    /// The content type of [`Metrics::render`].
    pub(crate) const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Metrics that are read from these sources.
    pub(crate) fn new(sources: Arc<Sources>) -> Metrics {
        let mut registry = Registry::with_prefix("udp_director");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        registry.register_collector(Box::new(Scrape(sources)));
        Metrics(registry)
    }

    /// All metrics as they are now, in the OpenMetrics text format.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).expect("a String takes all text");
        text
    }
}

#[derive(Debug)]
struct Scrape(Arc<Sources>);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.state(&mut page)?;
        self.traffic(&mut page)?;
        self.moves(&mut page)?;
        self.queries(&mut page)?;
        self.holds(&mut page)?;
        self.allocations(&mut page)?;
        self.backends(&mut page)?;
        self.reloads(&mut page)?;
        self.journal(&mut page)
    }
}

impl Scrape {
    fn state(&self, page: &mut Page<'_>) -> fmt::Result {
        let (sessions, waiting, drains) = {
            let ledger = self.0.ledger.lock();
            (ledger.session_count(), ledger.waiting_count(), ledger.is_draining())
        };
        let uptime = (self.0.clock.now() - Moment::default()).as_secs_f64();
        page.gauge("uptime_seconds", "Time since the start of the process", uptime)?;
        page.gauge("active_sessions", "Sessions that run", sessions as f64)?;
        page.gauge("draining", "Whether no new sessions are taken", f64::from(u8::from(drains)))?;
        page.gauge("token_cache_size", "Tokens that wait to be redeemed", waiting as f64)?;
        page.gauge("upstream_sockets", "Sockets towards backends", self.0.upstream_sockets.now() as f64)
    }

    fn traffic(&self, page: &mut Page<'_>) -> fmt::Result {
        let received =
            [("client", self.volume(|c| &c.from_clients)), ("backend", self.volume(|c| &c.from_backends))];
        let sent = [("backend", self.volume(|c| &c.to_backends)), ("client", self.volume(|c| &c.to_clients))];
        let packets = |&(end, (packets, _)): &(_, (u64, u64))| (end, packets);
        let bytes = |&(end, (_, bytes)): &(_, (u64, u64))| (end, bytes);
        page.counters(
            "packets_received",
            "Datagrams, or reads on TCP",
            "source",
            received.iter().map(packets),
        )?;
        page.counters(
            "packets_sent",
            "Datagrams, or writes on TCP",
            "destination",
            sent.iter().map(packets),
        )?;
        page.counters("bytes_received", "Bytes received", "source", received.iter().map(bytes))?;
        page.counters("bytes_sent", "Bytes sent", "destination", sent.iter().map(bytes))?;
        let drops = Dropped::all().map(|drop| (drop.reason(), self.sum(|counters| counters.drops(drop))));
        page.counters("drops", "Datagrams dropped, and TCP connections refused", "reason", drops)?;
        let events = Event::ALL.map(|event| (name(event), self.sum(|counters| counters.events(event))));
        page.counters("session_events", "What has happened to sessions", "event", events)
    }

    fn moves(&self, page: &mut Page<'_>) -> fmt::Result {
        let labels = |cause, outcome| [("cause", cause), ("outcome", outcome)];
        let tries = self.0.moves.read().map(|(cause, outcome, count)| (labels(cause, outcome), count));
        let help = "Tries to move a player, by who wanted it and what came of it";
        page.counters_by("migrations", help, tries)
    }

    fn queries(&self, page: &mut Page<'_>) -> fmt::Result {
        let queries = &self.0.queries;
        let failed = ErrorCode::ALL.map(|code| (code.as_str(), queries.failed(code)));
        let requests = [("success", queries.succeeded())].into_iter().chain(failed);
        page.counters("query_requests", "Documents on the query port, by outcome", "status", requests)?;
        page.histogram("query_duration_seconds", "From a document to its answer", queries.duration())?;
        page.gauge("query_connections", "Open connections of the query port", queries.connections() as f64)?;
        let refused = Bound::ALL.map(|bound| (bound.as_str(), queries.refused(bound)));
        page.counters("query_connections_refused", "Connections refused at a bound", "bound", refused)
    }

    fn holds(&self, page: &mut Page<'_>) -> fmt::Result {
        let queries = &self.0.queries;
        page.gauge(
            "held_queries",
            "Queries that wait, or for which a server is allocated",
            queries.held() as f64,
        )?;
        let ends = HoldEnd::ALL.map(|end| (end.as_str(), queries.holds_ended(end)));
        page.counters("held_query_ends", "Held queries, by how that ended", "end", ends)
    }

    fn allocations(&self, page: &mut Page<'_>) -> fmt::Result {
        let counters = &self.0.allocations;
        let outcomes = Outcome::ALL.map(|outcome| (outcome.as_str(), counters.ended(outcome)));
        page.counters("allocations", "Servers that were to be allocated, by outcome", "outcome", outcomes)?;
        let unclaimed = Returned::ALL.map(|action| (action.as_str(), counters.unclaimed(action)));
        let help = "Allocated servers that no player took, by what became of them";
        page.counters("unclaimed_allocations", help, "action", unclaimed)?;
        let help = "From a query to its allocated server";
        page.histogram("allocation_duration_seconds", help, counters.duration())?;
        page.counter("allocation_requests", "Requests to Agones", counters.attempts())
    }

    fn backends(&self, page: &mut Page<'_>) -> fmt::Result {
        let inventory = Arc::clone(self.0.ledger.lock().inventory());
        let catalog = Arc::clone(&self.0.catalog.borrow());
        let counts = count_backends(&inventory, &catalog);
        let samples = counts.iter().flat_map(|(&resource_type, counts)| {
            let labels = |accepting| [("resource_type", resource_type), ("accepting", accepting)];
            [(labels("true"), counts.accepting), (labels("false"), counts.others)]
        });
        page.gauges("backends", "Backends, by whether they take new players", samples)?;
        page.gauge("inventory_refused", "Objects that are no backends", inventory.refused().len() as f64)?;
        let endpoint = self.0.ledger.lock().default_endpoint().map(Arc::clone);
        let Some(endpoint) = endpoint else { return Ok(()) };
        let available = if endpoint.candidates().is_empty() { 0.0 } else { 1.0 };
        page.gauge("default_endpoint_available", "Whether a backend matches the default endpoint", available)
    }

    fn reloads(&self, page: &mut Page<'_>) -> fmt::Result {
        let control = &self.0.control;
        for (prefix, generation, rejections) in [
            ("config", &control.config_generation, &control.config_rejections),
            ("inventory", &control.inventory_generation, &control.inventory_rejections),
        ] {
            let (accepted, rejected) =
                (generation.load(Ordering::Relaxed), rejections.load(Ordering::Relaxed));
            let reloads = [("accepted", accepted), ("rejected", rejected)];
            page.counters(&format!("{prefix}_loads"), "Files read, by outcome", "outcome", reloads)?;
            page.gauge(&format!("{prefix}_generation"), "Which one is in force", accepted as f64)?;
        }
        let key_rejections = control.key_rejections.load(Ordering::Relaxed);
        page.counter(
            "token_key_rejections",
            "Token keys refused, so that the old ones stayed",
            key_rejections,
        )?;
        let age = self.0.inventory_age().as_secs_f64();
        page.gauge("inventory_age_seconds", "Time since the inventory was found current", age)
    }

    fn journal(&self, page: &mut Page<'_>) -> fmt::Result {
        let Some(journal) = &self.0.journal else { return Ok(()) };
        let (written, rewrites) = journal.written();
        let failing = f64::from(u8::from(journal.is_failing()));
        page.gauge("journal_failing", "Whether the journal cannot be written", failing)?;
        page.gauge("journal_bytes", "Size of the journal", journal.bytes() as f64)?;
        let written = [("row", written), ("whole", rewrites)];
        page.counters("journal_writes", "Rows written, and how often all were", "what", written)?;
        let counts = journal.outcome().counts().map(|(outcome, count)| (outcome, count as u64));
        page.counters("restored_sessions", "Sessions found at the start", "outcome", counts)
    }

    fn sum(&self, read: impl Fn(&Counters) -> u64) -> u64 {
        self.0.counters.iter().map(|counters| read(counters)).sum()
    }

    fn volume(&self, of: impl Fn(&Counters) -> &Volume) -> (u64, u64) {
        (self.sum(|counters| of(counters).read().0), self.sum(|counters| of(counters).read().1))
    }
}

#[derive(Default)]
struct BackendCounts {
    accepting: usize,
    others: usize,
}

/// By resource type, those without a backend included: that is when an alert is due.
fn count_backends<'a>(inventory: &'a Inventory, catalog: &'a Catalog) -> BTreeMap<&'a str, BackendCounts> {
    let empty = |name: &'a String| (name.as_str(), BackendCounts::default());
    let mut counts: BTreeMap<_, _> = catalog.resource_types.keys().map(empty).collect();
    for backend in inventory.backends() {
        let count = counts.entry(&*backend.spec.resource_type).or_default();
        match backend.spec.accepting() {
            true => count.accepting += 1,
            false => count.others += 1,
        }
    }
    counts
}

fn name(event: Event) -> &'static str {
    match event {
        Event::OpenedByToken => "opened_by_token",
        Event::OpenedByDefault => "opened_by_default",
        Event::MigratedByClient => "migrated_by_client",
        Event::MigratedByReset => "migrated_by_reset",
        Event::MigratedByDirector => "migrated_by_director",
        Event::MigratedByOperator => "migrated_by_operator",
        Event::Resumed => "resumed",
        Event::Repeated => "repeated",
        Event::EndedIdle => "ended_idle",
        Event::EndedBackendGone => "ended_backend_gone",
        Event::EndedClosed => "ended_closed",
        Event::EndedReplaced => "ended_replaced",
        Event::BackendUnreachable => "backend_unreachable",
        Event::ClientUnreachable => "client_unreachable",
    }
}

#[cfg(test)]
pub(crate) mod tests;
