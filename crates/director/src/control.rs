//! The control task: the one place that changes configuration and inventory while players play.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use udp_director_core::{
    Balancer, DefaultEndpoint, Inventory, Located, Moment, Place, Settings, SharedLedger,
};
use udp_director_dataplane::tcp::Streams;
use udp_director_dataplane::{Clock, Workers};
use udp_director_inventory::{FileWatch, Targets, snapshot};

use crate::config::{Config, restart_needed};
use crate::ports::Ports;
use crate::query::Catalog;
use crate::rules;

/// How often expired tokens are cleared away and drained ports closed.
const TICK: Duration = Duration::from_millis(200);

/// What the control task tells the rest of the process about itself.
#[derive(Debug, Default)]
pub(crate) struct ControlStatus {
    /// Configurations taken over, the first included.
    pub(crate) config_generation: AtomicU64,
    /// Configurations refused since the start.
    pub(crate) config_rejections: AtomicU64,
    /// Why the file as it is now is refused; empty where it is in force.
    pub(crate) config_fault: Mutex<String>,
    /// Inventories published, the first included.
    pub(crate) inventory_generation: AtomicU64,
    /// Inventory files refused since the start.
    pub(crate) inventory_rejections: AtomicU64,
    /// Microseconds since the clock's epoch at which the inventory was last found current.
    pub(crate) inventory_seen: AtomicU64,
    /// Microseconds since the clock's epoch at which the control task last went round.
    pub(crate) ticked: AtomicU64,
}

impl ControlStatus {
    /// How long ago the control task last went round.
    pub(crate) fn last_tick_age(&self, clock: Clock) -> Duration {
        clock.now() - Moment::since_epoch(Duration::from_micros(self.ticked.load(Ordering::Relaxed)))
    }
}

/// What the control task works on.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) config: Config,
    pub(crate) config_file: Option<PathBuf>,
    /// The inventory file as it was last read and found to be right.
    pub(crate) objects: String,
    pub(crate) ports: Ports,
    pub(crate) ledger: Arc<SharedLedger>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) catalog: watch::Sender<Arc<Catalog>>,
    pub(crate) clock: Clock,
    pub(crate) status: Arc<ControlStatus>,
    /// Whether the inventory in force is what the file says.
    pub(crate) inventory_is_current: bool,
    /// Sessions whose backend is gone and whose worker was too busy to be told.
    pub(crate) closing: Vec<Located>,
}

impl Control {
    /// Binds the ports, publishes the inventory, and lets queries and clients in.
    ///
    /// # Errors
    /// A port that cannot be bound.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        let change = self.ports.prepare(&self.config.data_ports)?;
        self.ports.commit(change);
        self.configure();
        self.publish()?;
        self.status.config_generation.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Follows both files until stopped.
    pub(crate) async fn run(mut self, mut files: Files, stop: CancellationToken) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                text = changed(&mut files.config) => self.config_changed(text),
                text = files.inventory.changed() => self.inventory_changed(text),
                _ = tick.tick() => self.tick(),
            }
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        let micros = (now - Moment::default()).as_micros() as u64;
        self.status.ticked.store(micros, Ordering::Relaxed);
        if self.inventory_is_current {
            self.status.inventory_seen.store(micros, Ordering::Relaxed);
        }
        self.ledger.lock().expire(now);
        self.ports.close_drained();
        let closing = std::mem::take(&mut self.closing);
        self.close(closing);
    }

    fn config_changed(&mut self, text: std::io::Result<String>) {
        let Some(path) = self.config_file.clone() else { return };
        let outcome = text
            .context("the configuration file cannot be read")
            .and_then(|text| Config::parse(&text, &path).map_err(|errors| anyhow::anyhow!("{errors}")))
            .and_then(|config| self.take_over(config));
        let fault = match outcome {
            Ok(()) => String::new(),
            Err(fault) => {
                self.status.config_rejections.fetch_add(1, Ordering::Relaxed);
                error!(fault = %format!("{fault:#}"), "configuration refused, the old one stays in force");
                format!("{fault:#}")
            }
        };
        *self.status.config_fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Takes a new configuration over as a whole, or changes nothing.
    fn take_over(&mut self, config: Config) -> anyhow::Result<()> {
        if config == self.config {
            return Ok(());
        }
        let restarts = restart_needed(&self.config, &config);
        if !restarts.is_empty() {
            let keys: Vec<String> = restarts.iter().map(ToString::to_string).collect();
            anyhow::bail!("{}", keys.join("; "));
        }
        let change = self.ports.prepare(&config.data_ports)?;
        self.ports.commit(change);
        self.config = config;
        self.configure();
        self.publish()?;
        let generation = self.status.config_generation.fetch_add(1, Ordering::Relaxed) + 1;
        info!(generation, "configuration in force");
        Ok(())
    }

    /// Puts the settings of the current configuration in force everywhere.
    fn configure(&mut self) {
        let listeners = self.ports.listeners(&self.config.data_ports);
        let settings: Arc<Settings> = Arc::new(rules::settings(&self.config, listeners));
        self.ledger.lock().configure(Arc::clone(&settings));
        self.workers.configure(&settings);
        self.streams.reconsider();
        self.catalog.send_replace(Arc::new(rules::catalog(&self.config)));
    }

    fn inventory_changed(&mut self, text: std::io::Result<String>) {
        let outcome = text.context("cannot be read").and_then(|text| {
            let before = std::mem::replace(&mut self.objects, text);
            self.publish().inspect_err(|_| self.objects = before)
        });
        self.inventory_is_current = outcome.is_ok();
        if let Err(fault) = outcome {
            self.status.inventory_rejections.fetch_add(1, Ordering::Relaxed);
            error!(fault = %format!("{fault:#}"), "inventory file refused, the old inventory stays");
        }
    }

    /// Makes backends of the objects, and closes the sessions whose backend is gone.
    fn publish(&mut self) -> anyhow::Result<()> {
        let targets = Targets::new(self.config.allowed_target_cidrs.clone());
        let previous = Arc::clone(self.ledger.lock().inventory());
        let inventory = snapshot(&self.objects, &self.config.mappings, &targets, &previous)?;
        for refused in inventory.refused().iter().take(LOGGED_REFUSALS) {
            warn!(object = %refused.object, reason = %refused.reason, "object is no backend");
        }
        let (backends, refused) = (inventory.backends().len(), inventory.refused().len());
        let default_endpoint = self.default_endpoint(&inventory);
        let gone = self.ledger.lock().publish(Arc::new(inventory), default_endpoint);
        self.status.inventory_generation.fetch_add(1, Ordering::Relaxed);
        info!(backends, refused, sessions_closed = gone.len(), "inventory published");
        self.close(gone);
        Ok(())
    }

    fn default_endpoint(&self, inventory: &Inventory) -> Option<Arc<DefaultEndpoint>> {
        let query = self.config.default_endpoint.clone()?;
        let candidates = inventory.matching(&query).into_owned();
        let known = self.ledger.lock().default_endpoint().map(|endpoint| Arc::clone(&endpoint.balancer));
        let known = known.filter(|balancer| *balancer.strategy() == self.config.strategy);
        let balancer = known.unwrap_or_else(|| Arc::new(Balancer::new(self.config.strategy.clone())));
        Some(Arc::new(DefaultEndpoint { query, balancer, candidates }))
    }

    fn close(&mut self, sessions: Vec<Located>) {
        for session in sessions {
            match session.place {
                Place::Stream => self.streams.close(session.id),
                Place::Worker(_) => {
                    if self.workers.close(session).is_err() {
                        self.closing.push(session);
                    }
                }
            }
        }
    }
}

/// How many refused objects one publication logs.
const LOGGED_REFUSALS: usize = 20;

/// The files that the control task follows.
#[derive(Debug)]
pub(crate) struct Files {
    /// `None` where the configuration did not come from a file.
    pub(crate) config: Option<FileWatch>,
    pub(crate) inventory: FileWatch,
}

async fn changed(file: &mut Option<FileWatch>) -> std::io::Result<String> {
    match file {
        Some(file) => file.changed().await,
        None => std::future::pending().await,
    }
}
