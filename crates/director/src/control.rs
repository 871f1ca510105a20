//! The control task: the one place that changes configuration, inventory and token keys while players
//! play.

mod keys;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use udp_director_core::{Balancer, DefaultEndpoint, Inventory, Moment, Settings, SharedLedger};
use udp_director_dataplane::tcp::Streams;
use udp_director_dataplane::{Clock, Workers};
use udp_director_inventory::kubernetes::ClusterStatus;

use crate::config::{Config, restart_needed};
use crate::config_source::ConfigSource;
use crate::drain::Drain;
use crate::evacuation::Evacuation;
use crate::jobs::Jobs;
use crate::journal::{Following, Journal, JournalStatus};
use crate::keys::KeyFolder;
use crate::moving::{Moved, Mover, WantedBy};
use crate::ports::Ports;
use crate::query::Catalog;
use crate::readiness::Readiness;
use crate::restoring::{Restoring, Unconfirmed};
use crate::rules;
use crate::source::{Change, Objects, Source, targets};

use keys::keys_changed;

pub(crate) use keys::{KeysStatus, open_keys};

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
    /// The state of the cluster's watches; `None` where objects come from a file.
    pub(crate) cluster: Mutex<Option<ClusterStatus>>,
    /// The token keys in force; `None` without any.
    pub(crate) keys: Mutex<Option<KeysStatus>>,
    /// Why the folder of keys as it is now is refused; empty where it is in force.
    pub(crate) key_fault: Mutex<String>,
    /// Token keys refused since the start.
    pub(crate) key_rejections: AtomicU64,
    /// Microseconds since the clock's epoch at which the control task last went round.
    pub(crate) ticked: AtomicU64,
}

impl ControlStatus {
    /// How long ago the control task last went round.
    pub(crate) fn last_tick_age(&self, clock: Clock) -> Duration {
        clock.now() - Moment::since_epoch(Duration::from_micros(self.ticked.load(Ordering::Relaxed)))
    }
}

/// When the control task goes round.
pub(crate) fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What the control task works on.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) config: Config,
    /// `None` where the configuration cannot change.
    pub(crate) config_source: Option<ConfigSource>,
    pub(crate) source: Source,
    /// `None` where no token is sealed.
    pub(crate) keys: Option<KeyFolder>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) ports: Ports,
    pub(crate) ledger: Arc<SharedLedger>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) catalog: watch::Sender<Arc<Catalog>>,
    /// Changes with each inventory that is published.
    pub(crate) published: watch::Sender<u64>,
    pub(crate) clock: Clock,
    pub(crate) status: Arc<ControlStatus>,
    /// Whether an inventory is in force that was made of everything that is followed.
    pub(crate) is_whole: bool,
    /// Whether the inventory in force is what the file says.
    pub(crate) inventory_is_current: bool,
    /// The configuration file as it is now, where all that it lacks is a port which is taken.
    pub(crate) waiting: Option<Config>,
    pub(crate) drain: Arc<Drain>,
    /// How the journal fares; `None` where there is none.
    pub(crate) journal: Option<Arc<JournalStatus>>,
    /// Backends of before the restart that have not been listed yet.
    pub(crate) unconfirmed: Unconfirmed,
    /// Players whose backend leaves.
    pub(crate) evacuation: Evacuation,
    /// Players whom operators want moved.
    pub(crate) jobs: Arc<Jobs>,
    /// What moves them all.
    pub(crate) mover: Mover,
    /// Whether it was an operator's turn last.
    pub(crate) is_operators_turn: bool,
    /// How many refused objects may be logged until `refusals_again`.
    pub(crate) refusals_to_log: usize,
    pub(crate) refusals_again: Moment,
    /// When to look at what time brings about.
    pub(crate) ticks: Interval,
}

impl Control {
    /// Binds the ports, lets those in who played before the restart, publishes the inventory as far as
    /// it is known, and then lets queries and clients in.
    ///
    /// # Errors
    /// A port that cannot be bound.
    pub(crate) async fn begin(&mut self, journal: Option<Journal>) -> anyhow::Result<Option<Following>> {
        let change = self.ports.prepare(&self.config.data_ports)?;
        self.ports.commit(change);
        self.tell_time(self.clock.now());
        self.configure();
        let journal = self.restore(journal).await?;
        let objects = self.source.objects(&self.config);
        let inventory = self.assemble(objects).await?;
        self.is_whole = matches!(self.source, Source::File { .. });
        self.publish(inventory);
        self.ports.serve();
        self.look_ready();
        self.status.config_generation.fetch_add(1, Ordering::Relaxed);
        Ok(journal)
    }

    /// Takes up what the journal has, serves its players at once, and has it follow.
    async fn restore(&mut self, journal: Option<Journal>) -> anyhow::Result<Option<Following>> {
        let Some((journal, status)) = journal.zip(self.journal.as_ref()) else { return Ok(None) };
        let restoring = Restoring {
            ledger: &self.ledger,
            workers: &self.workers,
            clock: self.clock,
            config: &self.config,
            status,
        };
        let (journal, unconfirmed) = restoring.carry_out(journal).await;
        self.unconfirmed = unconfirmed;
        if self.ledger.lock().session_count() > 0 {
            self.ports.serve();
        }
        journal.follow(&self.ledger, self.clock).context("the journal's thread cannot start")
    }

    /// Follows both sources until stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        loop {
            tokio::select! {
                text = changed(&mut self.config_source) => self.config_changed(text).await,
                change = self.source.changed() => self.inventory_changed(change).await,
                outcome = keys_changed(&mut self.keys) => self.conclude_keys(outcome),
                () = self.jobs.next_begun() => self.move_players(self.clock.now()),
                moved = self.mover.next_ended() => {
                    let now = self.clock.now();
                    self.note(&moved, now);
                    self.move_players(now);
                }
                _ = self.ticks.tick() => {
                    self.tick();
                    self.retry().await;
                    if !self.is_whole && self.lists_everything() {
                        self.inventory_changed(Change::Cluster).await;
                    }
                }
            }
            self.look_ready();
        }
    }

    /// Ready from the moment on at which everything has been listed once, and is in force.
    fn look_ready(&mut self) {
        if self.is_whole {
            self.readiness.meet(INVENTORY);
        }
    }

    fn lists_everything(&self) -> bool {
        self.source.status().is_none_or(|cluster| cluster.awaited.is_empty())
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        let micros = (now - Moment::default()).as_micros() as u64;
        self.status.ticked.store(micros, Ordering::Relaxed);
        let seen = match self.source.status() {
            Some(cluster) => {
                let age = cluster.age;
                self.log_watches(&cluster);
                *self.status.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
                Some(micros.saturating_sub(age.as_micros() as u64))
            }
            None => self.inventory_is_current.then_some(micros),
        };
        if let Some(seen) = seen {
            self.status.inventory_seen.store(seen, Ordering::Relaxed);
        }
        if now >= self.refusals_again {
            (self.refusals_to_log, self.refusals_again) = (LOGGED_REFUSALS, now + REFUSALS_INTERVAL);
        }
        self.tell_time(now);
        // The lock is let go in between, for those who wait for it.
        while self.ledger.lock().expire(now) {}
        self.ports.close_drained();
        let inventory = Arc::clone(self.ledger.lock().inventory());
        self.evacuation.look_at_ends(&inventory, &self.config, now);
        self.move_players(now);
    }

    /// Takes note of the moves that have ended, and begins as many as the rate allows. Who leaves comes
    /// first; then operators and those who had nowhere to go take turns.
    fn move_players(&mut self, now: Moment) {
        while let Some(moved) = self.mover.ended() {
            self.note(&moved, now);
        }
        let per_second = self.config.max_migrations_per_second;
        self.evacuation.step(now, &mut self.mover, per_second);
        let mut idle = 0;
        while idle < 2 {
            self.is_operators_turn = !self.is_operators_turn;
            let taken = match self.is_operators_turn {
                true => self.jobs.take_turn(now, &mut self.mover, per_second),
                false => self.evacuation.try_again(now, &mut self.mover, per_second),
            };
            idle = if taken { 0 } else { idle + 1 };
        }
    }

    /// Tells the ledger what the wall clock says: it may have been set anew.
    fn tell_time(&self, now: Moment) {
        self.ledger.lock().tell_time(SystemTime::now(), now);
    }

    fn note(&mut self, moved: &Moved, now: Moment) {
        match moved.wanted_by {
            WantedBy::Evacuation => self.evacuation.ended(moved, now),
            WantedBy::Job(id) => self.jobs.ended(id, moved),
        }
    }

    async fn config_changed(&mut self, text: anyhow::Result<String>) {
        let Some(source) = &self.config_source else { return };
        self.waiting = None;
        let parse =
            |text: String| Config::parse(&text, source.path()).map_err(|errors| anyhow::anyhow!("{errors}"));
        let config = text.and_then(parse);
        let outcome = match config {
            Ok(config) => self.take_over(config).await,
            Err(fault) => Err(fault),
        };
        self.conclude(outcome);
    }

    /// Takes over the configuration that waits for a port, once that is free: nobody touches the file
    /// again only because another program has ended.
    async fn retry(&mut self) {
        let ports = &self.ports;
        if let Some(config) = self.waiting.take_if(|config| ports.are_free(&config.data_ports)) {
            let outcome = self.take_over(config).await;
            self.conclude(outcome);
        }
    }

    fn conclude(&self, outcome: anyhow::Result<()>) {
        let generation = self.status.config_generation.load(Ordering::Relaxed);
        let told = outcome.as_ref().map(|()| generation).map_err(|fault| format!("{fault:#}"));
        if let Some(source) = &self.config_source {
            source.announce(told.as_ref().map(|generation| *generation).map_err(String::as_str));
        }
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

    /// Takes a new configuration over as a whole, or changes nothing. One that lacks a port waits for it.
    async fn take_over(&mut self, config: Config) -> anyhow::Result<()> {
        if config == self.config {
            return Ok(());
        }
        let restarts = restart_needed(&self.config, &config);
        if !restarts.is_empty() {
            let keys: Vec<String> = restarts.iter().map(ToString::to_string).collect();
            anyhow::bail!("{}", keys.join("; "));
        }
        let from_file = match self.source {
            Source::File { .. } => Some(self.assemble(self.source.objects(&config)).await?),
            Source::Cluster(_) => None,
        };
        let other_keys = self.other_keys(&config)?;
        let change = match self.ports.prepare(&config.data_ports) {
            Ok(change) => change,
            Err(fault) => {
                self.waiting = Some(config);
                return Err(fault);
            }
        };
        self.ports.commit(change);
        if let Some(keys) = other_keys {
            self.follow_keys(keys);
        }
        self.config = config;
        self.configure();
        let inventory = match from_file {
            Some(inventory) => inventory,
            None => {
                self.source.configure(&self.config);
                self.assemble(self.source.objects(&self.config)).await?
            }
        };
        self.publish(inventory);
        self.ports.serve();
        let generation = self.status.config_generation.fetch_add(1, Ordering::Relaxed) + 1;
        info!(generation, "configuration in force");
        Ok(())
    }

    /// Puts the settings of the current configuration in force everywhere.
    fn configure(&mut self) {
        let listeners = self.ports.listeners(&self.config.data_ports);
        let settings: Arc<Settings> =
            Arc::new(rules::settings(&self.config, listeners, self.keys.as_ref().map(KeyFolder::ring)));
        self.ledger.lock().configure(Arc::clone(&settings));
        self.workers.configure(&settings);
        self.streams.reconsider();
        self.drain.lasts(self.config.drain_for);
        self.mover.configure(self.config.notices.clone());
        self.catalog.send_replace(Arc::new(rules::catalog(&self.config)));
        self.note_keys();
    }

    async fn inventory_changed(&mut self, change: Change) {
        let whole = self.lists_everything();
        let outcome = match change {
            Change::Cluster => self.assemble(self.source.objects(&self.config)).await,
            Change::File(text) => self.file_changed(text).await,
        };
        self.inventory_is_current = outcome.is_ok();
        match outcome {
            Ok(inventory) => {
                self.is_whole |= whole;
                self.publish(inventory);
            }
            Err(fault) => {
                self.status.inventory_rejections.fetch_add(1, Ordering::Relaxed);
                error!(fault = %format!("{fault:#}"), "inventory file refused, the old inventory stays");
            }
        }
    }

    /// What the inventory file says now; it is kept when it is right.
    async fn file_changed(&mut self, text: std::io::Result<String>) -> anyhow::Result<Inventory> {
        let text: Arc<str> = text.context("cannot be read")?.into();
        let (mappings, targets) = (self.config.mappings.clone(), targets(&self.config));
        let inventory = self.assemble(Objects::Text(Arc::clone(&text), mappings, targets)).await?;
        if let Source::File { objects, .. } = &mut self.source {
            *objects = text;
        }
        Ok(inventory)
    }

    /// What follows the inventory in force with these objects. That may take seconds, in which time
    /// goes on but nothing else is begun.
    async fn assemble(&mut self, objects: Objects) -> anyhow::Result<Inventory> {
        let previous = Arc::clone(self.ledger.lock().inventory());
        let mut assembling = objects.assemble(previous);
        loop {
            tokio::select! {
                inventory = &mut assembling => return Ok(inventory??),
                _ = self.ticks.tick() => self.tick(),
            }
        }
    }

    /// Puts an inventory in force, and sees to the players whose backend leaves.
    fn publish(&mut self, inventory: Inventory) {
        let inventory = if self.is_whole { inventory } else { self.unconfirmed.beside(inventory) };
        self.log_refusals(&inventory);
        let (backends, refused) = (inventory.backends().len(), inventory.refused().len());
        let inventory = Arc::new(inventory);
        let default_endpoint = self.default_endpoint(&inventory);
        let before = {
            let mut ledger = self.ledger.lock();
            let before = Arc::clone(ledger.inventory());
            ledger.publish(Arc::clone(&inventory), default_endpoint);
            before
        };
        self.status.inventory_generation.fetch_add(1, Ordering::Relaxed);
        self.published.send_modify(|generation| *generation += 1);
        debug!(backends, refused, "inventory published");
        // Nobody leaves a backend only because it has not been listed yet.
        if !self.is_whole && !self.unconfirmed.is_empty() {
            return;
        }
        if let Some(status) = self.journal.as_ref().filter(|_| !self.unconfirmed.is_empty()) {
            self.unconfirmed.confirm(&self.ledger, &inventory, status);
        }
        let now = self.clock.now();
        self.evacuation.compare(&before, &inventory, &self.config, now);
        self.move_players(now);
    }

    /// Logs which watches have failed and which go on again since the last look.
    fn log_watches(&self, now: &ClusterStatus) {
        let before = self.status.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        for watch in &now.watches {
            let known =
                before.as_ref().and_then(|before| before.watches.iter().find(|w| w.name == watch.name));
            match (known.and_then(|known| known.error.as_ref()), &watch.error) {
                (None, Some(error)) => {
                    warn!(watch = %watch.name, %error, "a watch fails; its objects stay as they were");
                }
                (Some(_), None) => info!(watch = %watch.name, "a watch goes on again"),
                _ => {}
            }
        }
    }

    /// Logs which objects are no backends that were not among those before; a few a second at most.
    fn log_refusals(&mut self, inventory: &Inventory) {
        let before = Arc::clone(self.ledger.lock().inventory());
        if Arc::ptr_eq(&before.refused_shared(), &inventory.refused_shared()) {
            return;
        }
        let known: BTreeSet<_> =
            before.refused().iter().map(|refused| (&refused.object, &refused.reason)).collect();
        let new =
            inventory.refused().iter().filter(|refused| !known.contains(&(&refused.object, &refused.reason)));
        for refused in new.take(self.refusals_to_log) {
            self.refusals_to_log -= 1;
            warn!(object = %refused.object, reason = %refused.reason, "object is no backend");
        }
    }

    fn default_endpoint(&self, inventory: &Arc<Inventory>) -> Option<Arc<DefaultEndpoint>> {
        let query = self.config.default_endpoint.clone()?;
        let known = self.ledger.lock().default_endpoint().map(|endpoint| Arc::clone(endpoint.balancer()));
        let strategy = self.config.strategy_of(query.resource_type());
        let known = known.filter(|balancer| balancer.strategy() == strategy);
        let balancer = known.unwrap_or_else(|| Arc::new(Balancer::new(strategy)));
        Some(Arc::new(DefaultEndpoint::new(query, balancer, Arc::clone(inventory))))
    }
}

/// How many refused objects are logged within [`REFUSALS_INTERVAL`]. `/readyz?verbose` lists them.
pub(crate) const LOGGED_REFUSALS: usize = 20;

/// See [`LOGGED_REFUSALS`].
const REFUSALS_INTERVAL: Duration = Duration::from_secs(10);

/// What `/readyz` names until the first whole inventory is in force.
pub(crate) const INVENTORY: &str = "inventory";

async fn changed(source: &mut Option<ConfigSource>) -> anyhow::Result<String> {
    match source {
        Some(source) => source.changed().await,
        None => std::future::pending().await,
    }
}
