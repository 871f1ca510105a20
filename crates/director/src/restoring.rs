//! Restoring: what the journal has goes into the ledger and the workers, before clients are served.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{info, warn};
use udp_director_core::{Backend, Balancer, Inventory, Query, RestoredClients, SharedLedger, Wanted};
use udp_director_dataplane::{Clock, Workers};
use udp_director_wire::{Request, parse_request};

use crate::config::Config;
use crate::journal::{Journal, JournalStatus, Left, stand_in_for};

/// What is restored into.
#[derive(Debug)]
pub(crate) struct Restoring<'a> {
    pub(crate) ledger: &'a Arc<SharedLedger>,
    pub(crate) workers: &'a Arc<Workers>,
    pub(crate) clock: Clock,
    pub(crate) config: &'a Config,
    pub(crate) status: &'a JournalStatus,
}

/// Backends that are known from before the restart alone: players are on them, and whether they are
/// still there is not known before everything has been listed.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed(Vec<Arc<Backend>>);

impl Restoring<'_> {
    /// Reads the journal and restores what it has. Says which backends are to be confirmed.
    pub(crate) async fn carry_out(&self, journal: Journal) -> (Journal, Unconfirmed) {
        let read = tokio::task::spawn_blocking(move || {
            let left = journal.read();
            (journal, left)
        });
        let (journal, left) = read.await.expect("reading catches its own panics");
        self.status.tell(|outcome| outcome.unreadable = left.unreadable);
        if left.is_empty() {
            return (journal, Unconfirmed::default());
        }
        (journal, self.restore(left).await)
    }

    async fn restore(&self, left: Left) -> Unconfirmed {
        let inventory = Arc::new(left.inventory());
        let unreadable = left.unreadable;
        let mut balancers = HashMap::new();
        let mut wanting = |text: &str| wanted(text, self.config, &mut balancers);
        let records = left.records(&inventory, self.clock.now(), &mut wanting);
        self.ledger.lock().publish(Arc::clone(&inventory), None);
        self.ledger.lock().recognise_by(stand_in_for);
        for record in records.tokens {
            self.ledger.lock().restore_token(record, self.clock.now());
        }
        for record in records.sticky {
            self.ledger.lock().restore_sticky_key(record, self.clock.now());
        }
        let restored = self.workers.restore(records.sessions).await;
        self.ledger.lock().conclude_restoring(self.clock.now());
        self.expect_clients();
        self.status.tell(|outcome| {
            (outcome.restored, outcome.unreadable) = (restored, unreadable + records.unreadable);
        });
        let tokens = self.ledger.lock().token_count();
        info!(sessions = restored.sessions, tokens, "sessions restored");
        let lost: Vec<String> = self.status.outcome().counts()[1..]
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| format!("{reason}: {count}"))
            .collect();
        if !lost.is_empty() {
            warn!(lost = %lost.join(", "), "not everything could be restored");
        }
        let played = inventory.backends().iter().filter(|backend| backend.load.seats() > 0);
        Unconfirmed(played.map(Arc::clone).collect())
    }

    /// Lets every worker know whom another one has.
    fn expect_clients(&self) {
        let clients: RestoredClients = {
            let ledger = self.ledger.lock();
            ledger.sessions().map(|session| (session.listener, session.client, session.id)).collect()
        };
        self.workers.expect(&Arc::new(clients));
    }
}

impl Unconfirmed {
    /// Whether there is none, or all have been confirmed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// That inventory, and those beside it that it does not have yet.
    pub(crate) fn beside(&self, inventory: Inventory) -> Inventory {
        let missing: Vec<_> = self
            .0
            .iter()
            .filter(|backend| inventory.by_id(&backend.spec.id).is_none())
            .map(|backend| backend.spec.share())
            .collect();
        if missing.is_empty() {
            return inventory;
        }
        let listed = inventory.backends().iter().map(|backend| backend.spec.share());
        inventory.next_shared(listed.chain(missing).collect(), inventory.refused_shared())
    }

    /// Everything has been listed: counts those who play on what is gone. What becomes of them, the
    /// mapping says.
    pub(crate) fn confirm(&mut self, ledger: &SharedLedger, inventory: &Inventory, status: &JournalStatus) {
        let gone = |backend: &Arc<Backend>| inventory.by_id(&backend.spec.id).is_none();
        let ledger = ledger.lock();
        let lost = std::mem::take(&mut self.0).into_iter().filter(gone);
        let sessions: usize = lost.map(|backend| ledger.sessions_of(&backend.spec.id).len()).sum();
        drop(ledger);
        status.tell(|outcome| outcome.backend_gone = sessions);
        if sessions > 0 {
            warn!(sessions, "backends of restored sessions are gone");
        }
    }
}

/// Makes what a player asked for out of its text; those of one type share a balancer.
fn wanted(
    text: &str,
    config: &Config,
    balancers: &mut HashMap<String, Arc<Balancer>>,
) -> Option<Arc<Wanted>> {
    let Ok(Request::Query(written)) = parse_request(text.as_bytes()) else { return None };
    let query = Query::compile(&written).ok()?.for_anyone();
    let fresh = || Arc::new(Balancer::new(config.strategy_of(query.resource_type())));
    let balancer = Arc::clone(balancers.entry(query.resource_type().to_owned()).or_insert_with(fresh));
    Some(Arc::new(Wanted { query, balancer, text: text.into() }))
}

#[cfg(test)]
mod tests;
