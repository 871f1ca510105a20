//! Held queries: those that wait until something matches, and those for which a server is allocated.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use udp_director_wire::Answer;

use super::answer::{Asked, Responder, put};
use super::catalog::{Catalog, ResourceType};
use super::counters::{HoldEnd, QueryCounters};
use super::failure::Failure;
use super::gate::{ConnectionLimits, Inside, source_of};
use crate::allocation::Allocating;

/// The room for queries that are held, and what wakes them.
#[derive(Debug)]
pub(super) struct Holds {
    limits: ConnectionLimits,
    /// Whose queries are held. Held for one look-up.
    inside: Arc<Mutex<Inside>>,
    /// Changes with each inventory that is published.
    published: watch::Receiver<u64>,
    counters: Arc<QueryCounters>,
}

/// A held query's room, given back when it is dropped.
struct Held {
    source: IpAddr,
    inside: Arc<Mutex<Inside>>,
    counters: Arc<QueryCounters>,
}

impl Holds {
    /// Room for that many.
    pub(super) fn new(
        limits: ConnectionLimits,
        published: watch::Receiver<u64>,
        counters: Arc<QueryCounters>,
    ) -> Holds {
        Holds { limits, inside: Arc::default(), published, counters }
    }

    fn enter(&self, asked_by: IpAddr) -> Result<Held, Failure> {
        let source = source_of(asked_by);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.check(source, self.limits).map_err(|_| Failure::Waiting)?;
        inside.enter(source);
        self.counters.hold();
        Ok(Held { source, inside: Arc::clone(&self.inside), counters: Arc::clone(&self.counters) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).leave(self.source);
        self.counters.release();
    }
}

impl HoldEnd {
    /// How a hold ended with that outcome.
    pub(super) fn of(outcome: &Result<Answer, Failure>) -> HoldEnd {
        match outcome {
            Ok(_) => HoldEnd::Answered,
            Err(Failure::NoMatch) => HoldEnd::NoMatch,
            Err(_) => HoldEnd::Failed,
        }
    }
}

impl Responder {
    /// Holds a query for which nothing matches now, until something does or its time is over.
    ///
    /// # Errors
    /// There is no room to hold it.
    pub(super) fn hold(
        &self,
        asked: Asked,
    ) -> Result<impl Future<Output = Result<Answer, Failure>> + use<'_>, Failure> {
        let held = self.holds.enter(asked.asked_by)?;
        Ok(async move {
            let outcome = self.wait(asked).await;
            drop(held);
            outcome
        })
    }

    /// Appends the answer of a hold that has ended.
    pub(super) fn end_hold(&self, outcome: Result<Answer, Failure>, end: HoldEnd, answers: &mut Vec<u8>) {
        let failure = put(answers, outcome);
        self.counters.outcome(failure.map(|failure| failure.code()));
        self.counters.end_hold(end);
    }

    /// Tries again with each inventory that is published, and now and then: seats become free without one.
    async fn wait(&self, mut asked: Asked) -> Result<Answer, Failure> {
        let until = Instant::now() + asked.wait();
        let mut published = self.holds.published.clone();
        loop {
            published.mark_unchanged();
            let found = self.find(&mut asked).await;
            if !matches!(found, Err(Failure::NoMatch)) || Instant::now() >= until {
                return found;
            }
            let next = (Instant::now() + pause()).min(until);
            tokio::select! {
                Ok(()) = published.changed() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// A seat where there is one now, else on a server that is allocated, if that is how it is.
    async fn find(&self, asked: &mut Asked) -> Result<Answer, Failure> {
        let catalog = Arc::clone(&self.catalog.borrow());
        let listed = catalog.admit(&mut asked.written)?;
        match (self.seat(&catalog, listed, asked), &listed.allocating) {
            (Err(Failure::NoMatch), Some(allocating)) => {
                self.allocate(&catalog, listed, asked, allocating).await
            }
            (outcome, _) => outcome,
        }
    }

    /// A seat on an allocated server. Others may be faster to take it, where servers are shared; then there
    /// is one elsewhere, or another server is allocated.
    async fn allocate(
        &self,
        catalog: &Catalog,
        listed: &ResourceType,
        asked: &Asked,
        allocating: &Allocating,
    ) -> Result<Answer, Failure> {
        let until = Instant::now() + allocating.allocate.deadline;
        let written = &asked.written;
        for _ in 0..MOST_SERVERS {
            let inventory = Arc::clone(self.ledger.lock().inventory());
            let namespace = written.namespace.as_deref().unwrap_or_default();
            let of = (&*written.resource_type, namespace);
            let order = allocating.order(of, asked.query.labels(), &inventory)?;
            let server = self.allocations.server_for(&order).await?;
            match self.seat_on(catalog, listed, asked, &server) {
                Err(Failure::NoMatch) => {}
                outcome => return outcome,
            }
            match self.seat(catalog, listed, asked) {
                Err(Failure::NoMatch) if Instant::now() < until => {}
                outcome => return outcome,
            }
        }
        Err(Failure::NoMatch)
    }
}

/// How long to wait for a seat to become free before the next look: between 100 and 250 ms, at random, so
/// that those who wait do not all look at once.
fn pause() -> Duration {
    Duration::from_millis(100 + RandomState::new().hash_one(0) % 150)
}

/// How many servers a query that finds them full asks for before it gives up, or waits if it may.
const MOST_SERVERS: usize = 8;
