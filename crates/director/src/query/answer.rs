//! Answers: from one document to one line.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;
use udp_director_core::{Nonces, Query, SharedLedger};
use udp_director_dataplane::Clock;
use udp_director_wire as wire;
use udp_director_wire::{Answer, Request, SessionReset, parse_request};

use super::catalog::Catalog;
use super::counters::QueryCounters;
use super::failure::Failure;
use super::hold::Holds;
use super::reset::Resets;
use super::wants::Wants;
use crate::allocation::Allocations;

/// Answers documents: queries from memory alone or, where they are to be held, when they have their
/// server; resets with the data plane's help.
#[derive(Debug)]
pub(super) struct Responder {
    pub(super) ledger: Arc<SharedLedger>,
    pub(super) clock: Clock,
    pub(super) catalog: watch::Receiver<Arc<Catalog>>,
    pub(super) resets: Resets,
    pub(super) counters: Arc<QueryCounters>,
    pub(super) dice: Dice,
    pub(super) nonces: Nonces,
    pub(super) wants: Wants,
    pub(super) holds: Holds,
    pub(super) allocations: Arc<Allocations>,
}

/// What comes of a document.
pub(super) enum Begun {
    /// It is answered.
    Answered,
    /// Nothing matches now: it is to be held.
    Hold(Box<Asked>),
    /// The data plane is to move something.
    Reset(SessionReset),
}

/// A query that has passed its checks.
#[derive(Debug)]
pub(super) struct Asked {
    /// As it was written, with its namespace.
    pub(super) written: wire::Query,
    pub(super) query: Query,
    pub(super) asked_by: IpAddr,
}

/// What comes of a query.
enum Step {
    Answer(Answer),
    Hold(Box<Asked>),
}

/// Random numbers for the strategies: good enough to spread players, not to keep secrets.
#[derive(Debug, Default)]
pub(super) struct Dice {
    keys: RandomState,
    rolls: AtomicU64,
}

impl Responder {
    /// Appends the answer to a document from `peer` to `answers`, if it can be given at once.
    pub(super) fn begin(&self, document: &[u8], peer: IpAddr, answers: &mut Vec<u8>) -> Begun {
        let received = Instant::now();
        let outcome = match parse_request(document) {
            Ok(Request::Query(query)) => match self.query(query, peer) {
                Ok(Step::Hold(asked)) => return Begun::Hold(asked),
                Ok(Step::Answer(answer)) => Ok(answer),
                Err(failure) => Err(failure),
            },
            Ok(Request::SessionReset(reset)) => return Begun::Reset(reset),
            Err(error) => Err(error.into()),
        };
        let failure = put(answers, outcome);
        self.counters.answered(failure.map(|failure| failure.code()), received.elapsed());
        Begun::Answered
    }

    /// Carries a reset out, and appends its answer.
    pub(super) async fn reset(&self, reset: &SessionReset, peer: IpAddr, answers: &mut Vec<u8>) {
        let received = Instant::now();
        let outcome = self.resets.reset(reset, peer).await.map_err(Failure::from);
        let failure = put(answers, outcome);
        self.counters.answered(failure.map(|failure| failure.code()), received.elapsed());
    }

    fn query(&self, mut query: wire::Query, peer: IpAddr) -> Result<Step, Failure> {
        let catalog = Arc::clone(&self.catalog.borrow());
        let listed = catalog.admit(&mut query)?;
        check_client_ip(&query, peer)?;
        let written = query;
        let query = Query::compile(&written)?;
        let asked = Asked { written, query, asked_by: peer };
        if self.ledger.lock().is_draining() {
            return Err(Failure::Draining);
        }
        if let Some(allocating) = &listed.allocating {
            check_by_labels(&asked.written)?;
            allocating.check(asked.query.labels())?;
        }
        match self.seat(&catalog, listed, &asked) {
            Err(Failure::NoMatch) if !asked.wait().is_zero() || listed.allocating.is_some() => {
                Ok(Step::Hold(Box::new(asked)))
            }
            outcome => outcome.map(Step::Answer),
        }
    }
}

impl Asked {
    /// For how long it may be held.
    pub(super) fn wait(&self) -> Duration {
        Duration::from_secs(self.written.wait_seconds.unwrap_or(0).into())
    }
}

impl Dice {
    pub(super) fn roll(&self) -> u64 {
        self.keys.hash_one(self.rolls.fetch_add(1, Ordering::Relaxed))
    }
}

/// Appends an answer and its newline. Gives the failure back.
pub(super) fn put<T: Serialize>(answers: &mut Vec<u8>, outcome: Result<T, Failure>) -> Option<Failure> {
    let written = match &outcome {
        Ok(answer) => serde_json::to_writer(&mut *answers, answer),
        Err(failure) => serde_json::to_writer(&mut *answers, &failure.answer()),
    };
    written.expect("an answer's keys are texts, and a Vec takes all bytes");
    answers.push(b'\n');
    outcome.err()
}

/// Nobody asks in the name of another IP, since nobody can prove to be a matchmaker.
fn check_client_ip(query: &wire::Query, peer: IpAddr) -> Result<(), Failure> {
    match query.client_ip {
        Some(named) if named.to_canonical() != peer => Err(Failure::ForeignClientIp),
        _ => Ok(()),
    }
}

/// An allocation asks for labels, and for nothing else that a query can ask for.
fn check_by_labels(query: &wire::Query) -> Result<(), Failure> {
    match (&query.annotation_selector, &query.status_query) {
        (None, None) => Ok(()),
        (Some(_), _) => Err(Failure::NotByThat("annotationSelector")),
        (None, Some(_)) => Err(Failure::NotByThat("statusQuery")),
    }
}
