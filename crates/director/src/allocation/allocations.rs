//! The rounds: a server is asked for, followed until it shows, and told to all who wait for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};
use udp_director_core::{
    AllocationId, BackendId, Claim, Claims, Inventory, Joined, Moment, RoundId, Rounds, ServerName,
    SharedLedger, Withheld,
};
use udp_director_dataplane::Clock;
use udp_director_inventory::kubernetes::{Allocation, AllocationRequest};
use uuid::Uuid;

use super::counters::{AllocationCounters, Outcome};
use super::errands::Errand;
use super::no_server::NoServer;
use super::order::Order;

/// What allocations are made with.
#[derive(Debug)]
pub struct Parts {
    /// Where the inventory in force is.
    pub ledger: Arc<SharedLedger>,
    /// The clock of the ledger's moments.
    pub clock: Clock,
    /// Changes with each inventory that is published.
    pub published: watch::Receiver<u64>,
    /// Takes what is to be done in the cluster; at least [`Allocations::MOST_REQUESTS`] at once.
    pub errands: mpsc::Sender<Errand>,
    /// Counts what comes of it.
    pub counters: Arc<AllocationCounters>,
}

/// Allocates servers for queries, and follows them until somebody plays there.
///
/// Bounds: [`Allocations::MOST_REQUESTS`] requests to the cluster at once, beyond which rounds wait for
/// their turn until their deadline; and [`Allocations::MOST_SERVERS`] rounds and servers without a player
/// together, beyond which queries are refused.
pub struct Allocations {
    pub(super) parts: Parts,
    requests: Arc<Semaphore>,
    /// Held for a look-up, or for one look at the servers without a player.
    book: Mutex<Book>,
    pub(super) to_log: Mutex<LogBudget>,
}

#[derive(Default)]
pub(super) struct Book {
    pub(super) rounds: Rounds,
    outcomes: HashMap<RoundId, Told>,
    pub(super) claims: Claims,
}

/// Where a round's outcome is told.
type Told = watch::Receiver<Option<Result<BackendId, NoServer>>>;

/// How much may still be logged before the budget is renewed.
#[derive(Debug, Default)]
pub(super) struct LogBudget {
    left: usize,
    unlogged: usize,
    again: Moment,
}

/// A place in a round, given back when its query ends before the round does.
struct Place<'a> {
    allocations: &'a Allocations,
    text: &'a str,
    round: RoundId,
    told: Told,
}

impl Allocations {
    /// How many requests to the cluster there are at once.
    pub const MOST_REQUESTS: usize = 64;
    /// How many rounds, and servers without a player, there are together.
    pub const MOST_SERVERS: usize = 16_384;

    /// Nothing is under way yet.
    pub fn new(parts: Parts) -> Allocations {
        Allocations {
            parts,
            requests: Arc::new(Semaphore::new(Self::MOST_REQUESTS)),
            book: Mutex::default(),
            to_log: Mutex::default(),
        }
    }

    /// What has been counted.
    pub fn counters(&self) -> Arc<AllocationCounters> {
        Arc::clone(&self.parts.counters)
    }

    /// A server that is what is ordered and takes players: allocated for this order, or for others like
    /// it who share it. Nothing is lost when the caller does not wait for it to the end.
    ///
    /// # Errors
    /// Says why there is none.
    pub async fn server_for(self: &Arc<Self>, order: &Order) -> Result<BackendId, NoServer> {
        let mut place = self.join(order)?;
        let told = place.told.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        told.unwrap_or_else(|| {
            self.forget(order, place.round);
            Err(NoServer::Abandoned)
        })
    }

    /// Whether that server is being given back: who has just taken a seat there gives it up.
    pub fn is_returning(&self, backend: &BackendId) -> bool {
        self.book().claims.is_returning(backend)
    }

    /// The servers that are being given back; few, as a rule none.
    pub fn returning(&self) -> Vec<BackendId> {
        self.book().claims.returning().cloned().collect()
    }

    /// A round that ends without a word has panicked: nobody is to share it any more.
    fn forget(&self, order: &Order, round: RoundId) {
        let mut book = self.book();
        if book.outcomes.remove(&round).is_some() {
            book.rounds.end(&order.text, round, false, self.parts.clock.now());
        }
    }

    fn join<'a>(self: &'a Arc<Self>, order: &'a Order) -> Result<Place<'a>, NoServer> {
        let mut book = self.book();
        if book.rounds.under_way() + book.claims.len() >= Self::MOST_SERVERS {
            self.parts.counters.end(Outcome::Overloaded, Duration::ZERO);
            return Err(NoServer::Overloaded);
        }
        let (round, told) = match book.rounds.join(&order.text, order.places, self.parts.clock.now()) {
            Joined::Barren => return Err(NoServer::NothingMatches),
            Joined::Shares(round) => {
                let told = book.outcomes.get(&round).cloned();
                (round, told.expect("a round that can be shared is under way"))
            }
            Joined::Begins(round) => {
                let (tell, told) = watch::channel(None);
                book.outcomes.insert(round, told.clone());
                tokio::spawn(Arc::clone(self).carry_through(round, order.clone(), tell));
                (round, told)
            }
        };
        Ok(Place { allocations: self, text: &order.text, round, told })
    }

    /// One round, from its order to its end.
    async fn carry_through(
        self: Arc<Self>,
        round: RoundId,
        order: Order,
        tell: watch::Sender<Option<Result<BackendId, NoServer>>>,
    ) {
        let began = self.parts.clock.now();
        let until = Instant::now() + order.allocate.deadline;
        // One who waits is the book.
        let is_awaited = || tell.receiver_count() > 1;
        let outcome = self.find_server(&order, (began, until), is_awaited).await;
        let counted = outcome.as_ref().map_or_else(NoServer::outcome, |_| Outcome::Allocated);
        let now = self.parts.clock.now();
        self.parts.counters.end(counted, now - began);
        if let Err(why) = &outcome
            && counted.is_a_fault()
        {
            self.log(|unlogged| {
                let resource_type = &order.resource_type;
                warn!(%resource_type, outcome = counted.as_str(), %why, unlogged, "no server was allocated");
            });
        }
        {
            let mut book = self.book();
            book.rounds.end(&order.text, round, counted == Outcome::NothingMatches, now);
            book.outcomes.remove(&round);
        }
        tell.send_replace(Some(outcome));
    }

    async fn find_server(
        self: &Arc<Self>,
        order: &Order,
        (began, until): (Moment, Instant),
        is_awaited: impl Fn() -> bool,
    ) -> Result<BackendId, NoServer> {
        let turn = Arc::clone(&self.requests).acquire_owned();
        let turn = timeout_at(until, turn).await.map_err(|_| NoServer::Overloaded)?;
        if self.book().rounds.is_barren_since(&order.text, began) {
            return Err(NoServer::NothingMatches);
        }
        if !is_awaited() {
            return Err(NoServer::Abandoned);
        }
        let mut answer = self.ask(order, until)?;
        let Ok(answered) = timeout_at(until, &mut answer).await else {
            let (allocations, order) = (Arc::clone(self), order.clone());
            tokio::spawn(async move {
                allocations.await_late(answer, &order).await;
                drop(turn);
            });
            return Err(NoServer::Late);
        };
        drop(turn);
        let server = self.answered(answered.map_err(|_| NoServer::Overloaded)?, order, Some(until))?;
        self.shown(&server, until).await
    }

    /// Sends the request out.
    fn ask(&self, order: &Order, until: Instant) -> Result<oneshot::Receiver<Allocation>, NoServer> {
        let request = AllocationRequest {
            namespace: order.namespace.clone(),
            spec: order.spec.clone(),
            id: Uuid::new_v4().to_string(),
            until,
        };
        let (done, answer) = oneshot::channel();
        let errand = Errand::Allocate { request, done };
        self.parts.errands.try_send(errand).map_err(|_| NoServer::Overloaded)?;
        Ok(answer)
    }

    /// Takes an answer that nobody waits for any more: its server is unclaimed from the beginning.
    async fn await_late(&self, answer: oneshot::Receiver<Allocation>, order: &Order) {
        let Ok(allocation) = answer.await else { return };
        match self.answered(allocation, order, None) {
            Ok(server) => debug!(%server, "a server was allocated after the deadline"),
            Err(why) => debug!(%why, "an allocation failed after the deadline"),
        }
    }

    /// Notes what an answer says. Those who asked take their seats before `until`, if there is one.
    fn answered(
        &self,
        allocation: Allocation,
        order: &Order,
        until: Option<Instant>,
    ) -> Result<ServerName, NoServer> {
        self.parts.counters.attempted(allocation.attempts);
        let (now, inventory) = (self.parts.clock.now(), self.inventory());
        let resource_type: Arc<str> = order.resource_type.as_str().into();
        let mut book = self.book();
        for id in allocation.lost {
            book.claims.lost(id, &resource_type, order.unclaimed(), now);
        }
        let (name, allocation): (String, AllocationId) = allocation.outcome?;
        let server = ServerName { resource_type, namespace: order.namespace.clone(), name };
        let claim = Claim { server: server.clone(), allocation, unclaimed: order.unclaimed() };
        let patience =
            until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()) + SEATING);
        book.claims.allocated(claim, now + patience, &inventory);
        Ok(server)
    }

    /// Waits until the inventory has the server as one that takes players.
    async fn shown(&self, server: &ServerName, until: Instant) -> Result<BackendId, NoServer> {
        let mut published = self.parts.published.clone();
        let mut was_there = false;
        loop {
            published.mark_unchanged();
            let ServerName { resource_type, namespace, name } = server;
            let inventory = self.inventory();
            match inventory.named(resource_type, namespace, name).map(|backend| &backend.spec) {
                Some(spec) if spec.accepting() && spec.capacity.seats() == 0 => {
                    return Err(NoServer::Unusable(server.clone(), spec.capacity.to_string()));
                }
                Some(spec) if spec.accepting() => return Ok(spec.id.clone()),
                Some(spec) if spec.withheld == Some(Withheld::Terminating) => {
                    return Err(NoServer::Gone(server.clone()));
                }
                Some(_) => was_there = true,
                None if was_there => return Err(NoServer::Gone(server.clone())),
                None => {}
            }
            match timeout_at(until, published.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(NoServer::NotShown(server.clone())),
            }
        }
    }

    pub(super) fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(self.parts.ledger.lock().inventory())
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs as long as the budget lasts; tells how much was not logged before.
    pub(super) fn log(&self, write: impl FnOnce(usize)) {
        let now = self.parts.clock.now();
        let unlogged = self.to_log.lock().unwrap_or_else(PoisonError::into_inner).spend(now);
        if let Some(unlogged) = unlogged {
            write(unlogged);
        }
    }
}

impl LogBudget {
    /// How many were not logged since the last one that was; `None` where this one is not either.
    fn spend(&mut self, now: Moment) -> Option<usize> {
        if now >= self.again {
            (self.left, self.again) = (LOGGED, now + LOGGED_WITHIN);
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.unlogged))
            }
            None => {
                self.unlogged += 1;
                None
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.allocations.book().rounds.leave(self.text, self.round);
    }
}

impl fmt::Debug for Allocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let book = self.book();
        f.debug_struct("Allocations")
            .field("rounds", &book.rounds.under_way())
            .field("servers", &book.claims.len())
            .finish_non_exhaustive()
    }
}

/// For those who wait for a round to take their seats after it.
const SEATING: Duration = Duration::from_secs(1);
/// How many lines are logged within [`LOGGED_WITHIN`].
const LOGGED: usize = 20;
const LOGGED_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_bounded_and_tells_how_much_it_left_out() {
        let mut budget = LogBudget::default();
        let now = Moment::since_epoch(Duration::from_secs(100));
        let logged = (0..LOGGED + 5).filter_map(|_| budget.spend(now)).collect::<Vec<_>>();
        assert_eq!(logged, [0; LOGGED]);
        assert_eq!(budget.spend(now + LOGGED_WITHIN), Some(5));
        assert_eq!(budget.spend(now + LOGGED_WITHIN), Some(0));
    }
}
