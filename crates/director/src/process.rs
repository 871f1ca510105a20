//! The process: everything bound and started in one place, and stopped in one place.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::info;
use udp_director_core::{Counters, Inventory, Moment, Place, Protocol, SharedLedger};
use udp_director_dataplane::tcp::Streams;
use udp_director_dataplane::{Clock, Descriptors, Workers, WorkersOptions, raise_descriptor_limit};
use udp_director_inventory::kubernetes::{self, Cluster, GameServerAllocator};
use udp_director_inventory::{FileWatch, read_objects};

use crate::admin::{Admin, Heartbeat};
use crate::allocation::{self, AllocationCounters, Allocations};
use crate::config::{Config, InventorySource};
use crate::config_source::ConfigSource;
use crate::control::{Control, ControlStatus, INVENTORY, LOGGED_REFUSALS, open_keys, ticks};
use crate::drain::Drain;
use crate::evacuation::Evacuation;
use crate::jobs::Jobs;
use crate::journal::{Following, Journal, JournalStatus};
use crate::keys::KeyFolder;
use crate::metrics::{Reading, Sources};
use crate::moving::{MoveCounters, Mover, Movers};
use crate::ports::{Ports, describe, tcp_listener, usable};
use crate::query::{self, Catalog, ConnectionLimits, Deadlines, Migration, QueryCounters, QueryServer};
use crate::readiness::Readiness;
use crate::restoring::Unconfirmed;
use crate::rules;
use crate::source::{Source, targets};

/// Session resets that may be under way at once.
const MIGRATIONS: usize = 1024;

/// Descriptors that are never given to upstream sockets: for queries, TCP and files.
const RESERVED_DESCRIPTORS: u64 = 8192;

/// Query connections take at most one part in that many of the descriptors: the rest is for players.
const QUERY_SHARE: usize = 4;

/// A director that runs.
#[derive(Debug)]
pub struct Director {
    bound: Bound,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    readiness: Arc<Readiness>,
    workers: Arc<Workers>,
    journal: Option<Following>,
    drain: Arc<Drain>,
}

/// Where a director listens.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The query port.
    pub query: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
    /// The data ports, by name.
    pub data: Vec<(Arc<str>, Protocol, SocketAddr)>,
}

/// Why a director does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What the configuration names as inventory cannot be used.
    #[error("{0:#}")]
    Inventory(anyhow::Error),
    /// The token keys that the configuration names cannot be used.
    #[error("{0:#}")]
    Keys(anyhow::Error),
    /// A port is taken, or the system refuses something else.
    #[error("{0:#}")]
    Run(#[from] anyhow::Error),
}

impl Director {
    /// Binds every port and starts everything; when it returns, clients are served. New configurations
    /// are taken from `config_source`, if there is one.
    ///
    /// # Errors
    /// Names the port that is taken, or what is wrong with the inventory.
    pub async fn start(config: Config, config_source: Option<ConfigSource>) -> Result<Director, StartError> {
        let descriptors = raise_descriptor_limit().context("the limit of open descriptors")?;
        let (source, client) = source(&config).await.map_err(StartError::Inventory)?;
        let keys = open_keys(&config).map_err(StartError::Keys)?;
        let parts = Parts::new(&config, descriptors, client)?;
        Ok(parts.start(config, config_source, Followed { source, keys }).await?)
    }

    /// Where it listens.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Returns when a part has ended by itself, which must not happen: better a restart than a
    /// director that serves some players only.
    pub async fn failed(&mut self) -> anyhow::Error {
        let mut look = interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                _ = look.tick() => if self.workers.has_failed() {
                    return anyhow::anyhow!("a worker thread has ended");
                },
                Some(ended) = self.tasks.join_next() => return match ended {
                    Ok(()) => anyhow::anyhow!("a task has ended"),
                    Err(panicked) => anyhow::Error::new(panicked).context("a task panicked"),
                },
            }
        }
    }

    /// Takes no new sessions from now on, and fails `/readyz`. Running sessions go on.
    pub fn drain(&self) {
        self.drain.begin();
    }

    /// A wait for a drain to begin, also where the admin port was asked for it.
    pub fn drains(&self) -> impl Future<Output = ()> + use<> {
        let drain = Arc::clone(&self.drain);
        async move { drain.begun().await }
    }

    /// For how long running sessions go on in a drain.
    pub fn drain_time(&self) -> Duration {
        self.drain.time()
    }

    /// A wait for the end of the last session.
    pub fn last_session_ended(&self) -> impl Future<Output = ()> + use<> {
        let drain = Arc::clone(&self.drain);
        async move { drain.last_session_ended().await }
    }

    /// Stops everything: ports close, and sessions end, unless a journal leaves them for the next
    /// process.
    ///
    /// # Errors
    /// A worker that had failed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.readiness.fail("stopping");
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a task panicked")?;
        }
        let stopped = self.workers.stop().context("a worker failed");
        if let Some(journal) = self.journal.take() {
            // Sessions that still run are in the ledger, and so in what is left for the next process.
            tokio::task::spawn_blocking(|| journal.stop()).await.context("the journal's end")?;
        }
        stopped
    }
}

/// What a director is made of, before it has ports.
struct Parts {
    clock: Clock,
    ledger: Arc<SharedLedger>,
    workers: Arc<Workers>,
    streams: Arc<Streams>,
    stream_counters: Arc<Counters>,
    descriptors: Arc<Descriptors>,
    bind: IpAddr,
    /// The way to the cluster; `None` where objects come from a file.
    client: Option<Client>,
    published: watch::Sender<u64>,
}

/// What is followed beside the configuration.
struct Followed {
    source: Source,
    keys: Option<KeyFolder>,
}

impl Parts {
    fn new(config: &Config, descriptors: u64, client: Option<Client>) -> anyhow::Result<Parts> {
        let clock = Clock::new();
        let settings = Arc::new(rules::settings(config, Vec::new(), None));
        let ledger = Arc::new(SharedLedger::new(settings, Arc::new(Inventory::default())));
        let options = WorkersOptions {
            count: rules::worker_count(config),
            max_upstreams: (descriptors / 2).max(descriptors.saturating_sub(RESERVED_DESCRIPTORS)) as usize,
            seed: rules::seed(),
        };
        let workers = Workers::start(&options, &ledger, clock).context("the workers cannot start")?;
        let descriptors = Descriptors::new(descriptors.saturating_sub(rules::own_descriptors(config)), clock);
        let stream_counters = Arc::new(Counters::default());
        let (of, connections) = (Arc::clone(&stream_counters), config.limits.tcp_connections);
        let (with, seed) = (Arc::clone(&descriptors), rules::seed());
        let streams = Streams::new(Arc::clone(&ledger), of, clock, connections, with, seed);
        info!(workers = options.count, max_upstreams = options.max_upstreams, "workers started");
        let bind = usable(config.bind_address);
        let workers = Arc::new(workers);
        let published = watch::Sender::new(0);
        Ok(Parts { clock, ledger, workers, streams, stream_counters, descriptors, bind, client, published })
    }

    /// Binds everything, and then begins to serve.
    async fn start(
        self,
        config: Config,
        config_source: Option<ConfigSource>,
        followed: Followed,
    ) -> anyhow::Result<Director> {
        let stop = CancellationToken::new();
        let (query_socket, query) = self.listen("queryPort", config.query_port)?;
        let (admin_socket, admin) = self.listen("adminPort", config.admin_port)?;
        let (catalog, catalogs) = watch::channel(Arc::default());
        let held = ConnectionLimits {
            total: config.limits.waiting_queries,
            per_source: config.limits.waiting_queries_per_source,
        };
        let limits = ConnectionLimits {
            total: config.limits.query_connections.min(self.descriptors.budget() / QUERY_SHARE),
            per_source: config.limits.query_connections_per_source,
        };
        let journal_status = config.journal.as_ref().map(|_| Arc::new(JournalStatus::default()));
        let journal = config.journal.clone().zip(journal_status.clone());
        let journal = journal.map(|(dir, status)| Journal::take(&dir, status));
        let mut control = self.control(config, config_source, followed, catalog);
        control.journal = journal_status;
        let readiness = Arc::clone(&control.readiness);
        let query_counters = Arc::new(QueryCounters::new());
        let drain = Arc::clone(&control.drain);
        let mut tasks = JoinSet::new();
        let allocations = self.allocations(&mut tasks, &stop);
        let counted = Counted {
            queries: Arc::clone(&query_counters),
            allocations: allocations.counters(),
            moves: control.mover.counters(),
        };
        let admin_server = self.admin(counted, catalogs.clone(), &control);
        tasks.spawn(admin_server.serve(admin_socket, stop.clone().cancelled_owned()));
        let journal = control.begin(journal).await?;
        let bound = Bound { query, admin, data: control.ports.bound() };
        let queries = QueryServer::new(query::Parts {
            ledger: Arc::clone(&self.ledger),
            clock: self.clock,
            catalog: catalogs,
            migrations: self.carry_migrations(&mut tasks),
            counters: query_counters,
            limits,
            descriptors: self.descriptors,
            deadlines: Deadlines::DEFAULT,
            held,
            published: self.published.subscribe(),
            allocations,
        });
        tasks.spawn(queries.serve(query_socket, stop.clone().cancelled_owned()));
        tasks.spawn(control.run(stop.clone()));
        info!(query = %bound.query, admin = %bound.admin, "serving");
        Ok(Director { bound, stop, tasks, readiness, workers: self.workers, journal, drain })
    }

    /// The control task, before it has begun.
    fn control(
        &self,
        config: Config,
        config_source: Option<ConfigSource>,
        followed: Followed,
        catalog: watch::Sender<Arc<Catalog>>,
    ) -> Control {
        let shared = || (Arc::clone(&self.ledger), Arc::clone(&self.workers), Arc::clone(&self.streams));
        let (ledger, workers, streams) = shared();
        let movers = Movers { ledger, workers, streams };
        let (evacuation, mover) = (Evacuation::new(movers.clone()), Mover::new(movers));
        let (ledger, workers, streams) = shared();
        let ports = Ports::new(self.bind, workers, streams, ledger);
        let (ledger, workers, streams) = shared();
        let readiness = Arc::new(Readiness::awaiting([INVENTORY]));
        Control {
            config,
            config_source,
            source: followed.source,
            keys: followed.keys,
            drain: Arc::new(Drain::new(Arc::clone(&self.ledger), Arc::clone(&readiness))),
            readiness,
            is_whole: false,
            refusals_to_log: LOGGED_REFUSALS,
            refusals_again: Moment::default(),
            ports,
            ledger,
            workers,
            streams,
            catalog,
            published: self.published.clone(),
            clock: self.clock,
            status: Arc::new(ControlStatus::default()),
            inventory_is_current: true,
            waiting: None,
            journal: None,
            unconfirmed: Unconfirmed::default(),
            evacuation,
            jobs: Arc::new(Jobs::default()),
            mover,
            is_operators_turn: false,
            ticks: ticks(),
        }
    }

    fn listen(&self, key: &str, port: u16) -> anyhow::Result<(TcpListener, SocketAddr)> {
        let addr = SocketAddr::new(self.bind, port);
        let listener = tcp_listener(addr)
            .with_context(|| format!("{key}: cannot listen on {}", describe(Protocol::Tcp, addr)))?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    }

    /// What the admin port tells.
    fn admin(&self, counted: Counted, catalog: watch::Receiver<Arc<Catalog>>, control: &Control) -> Admin {
        let mut counters = self.workers.counters();
        counters.push(Arc::clone(&self.stream_counters));
        let workers = Arc::clone(&self.workers);
        let sources = Sources {
            clock: self.clock,
            ledger: Arc::clone(&self.ledger),
            counters,
            upstream_sockets: Reading::new(move || workers.upstream_sockets()),
            moves: counted.moves,
            queries: counted.queries,
            allocations: counted.allocations,
            catalog,
            control: Arc::clone(&control.status),
            journal: control.journal.clone(),
        };
        let (workers, clock, status) = (Arc::clone(&self.workers), self.clock, Arc::clone(&control.status));
        let heartbeats = vec![
            Heartbeat { of: "a worker".into(), age: Reading::new(move || workers.slowest_heartbeat()) },
            Heartbeat {
                of: "the control task".into(),
                age: Reading::new(move || status.last_tick_age(clock)),
            },
        ];
        Admin {
            sources: Arc::new(sources),
            drain: Arc::clone(&control.drain),
            readiness: Arc::clone(&control.readiness),
            jobs: Arc::clone(&control.jobs),
            heartbeats,
        }
    }

    /// Allocates servers, where there is a cluster to allocate them in.
    fn allocations(&self, tasks: &mut JoinSet<()>, stop: &CancellationToken) -> Arc<Allocations> {
        let (errands, received) = mpsc::channel(2 * Allocations::MOST_REQUESTS);
        let allocations = Arc::new(Allocations::new(allocation::Parts {
            ledger: Arc::clone(&self.ledger),
            clock: self.clock,
            published: self.published.subscribe(),
            errands,
            counters: Arc::new(AllocationCounters::new()),
        }));
        if let Some(client) = &self.client {
            // Servers are given back after everything else has been told to stop.
            let given_back = CancellationToken::new();
            let allocator = GameServerAllocator::new(client.clone());
            tasks.spawn(allocation::carry_out(received, allocator, given_back.clone()));
            tasks.spawn(Arc::clone(&allocations).look_after(stop.clone(), given_back));
        }
        allocations
    }

    /// Carries out what session resets ask for, each on its own: one slow backend holds up no other.
    fn carry_migrations(&self, tasks: &mut JoinSet<()>) -> mpsc::Sender<Migration> {
        let (sender, mut migrations) = mpsc::channel::<Migration>(MIGRATIONS);
        let (workers, streams) = (Arc::clone(&self.workers), Arc::clone(&self.streams));
        tasks.spawn(async move {
            while let Some(migration) = migrations.recv().await {
                tokio::spawn(carry_out(migration, Arc::clone(&workers), Arc::clone(&streams)));
            }
        });
        sender
    }
}

/// What is counted beside the data plane.
struct Counted {
    queries: Arc<QueryCounters>,
    allocations: Arc<AllocationCounters>,
    moves: Arc<MoveCounters>,
}

async fn carry_out(migration: Migration, workers: Arc<Workers>, streams: Arc<Streams>) {
    let Migration { session, token, done } = migration;
    if done.is_closed() {
        return;
    }
    let outcome = match session.place {
        Place::Worker(_) => workers.migrate(session, token).await,
        Place::Stream => streams.migrate(session.id, token).await,
    };
    // Who asked may have gone.
    let _ = done.send(outcome);
}

/// Where the configuration says that the objects come from, and the way to the cluster if it is one.
async fn source(config: &Config) -> anyhow::Result<(Source, Option<Client>)> {
    match &config.inventory {
        InventorySource::File(path) => {
            let mut watch = FileWatch::new(path);
            let text =
                read_inventory(&mut watch).with_context(|| format!("inventory file {}", path.display()))?;
            Ok((Source::File { watch, objects: text.into() }, None))
        }
        InventorySource::Kubernetes => {
            let client = kubernetes::client().await.context("inventory.kubernetes")?;
            let cluster = Cluster::follow(client.clone(), config.mappings.clone(), targets(config));
            Ok((Source::Cluster(cluster), Some(client)))
        }
    }
}

fn read_inventory(file: &mut FileWatch) -> anyhow::Result<String> {
    let text = file.read()?;
    read_objects(&text)?;
    Ok(text)
}
