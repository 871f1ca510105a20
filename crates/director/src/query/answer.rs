//! Answers: from one document to one line.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::watch;
use udp_director_core::{Backend, Balancer, Inventory, Issue, Matching, Query, Seat, Settings, SharedLedger};
use udp_director_dataplane::Clock;
use udp_director_wire as wire;
use udp_director_wire::{Answer, Request, SessionReset, Token, parse_request};
use uuid::Uuid;

use super::catalog::Catalog;
use super::counters::QueryCounters;
use super::failure::Failure;
use super::reset::Resets;
use super::wants::Wants;

/// Answers documents: queries from memory alone, resets with the data plane's help.
#[derive(Debug)]
pub(super) struct Responder {
    pub(super) ledger: Arc<SharedLedger>,
    pub(super) clock: Clock,
    pub(super) catalog: watch::Receiver<Arc<Catalog>>,
    pub(super) resets: Resets,
    pub(super) counters: Arc<QueryCounters>,
    pub(super) dice: Dice,
    pub(super) wants: Wants,
}

/// Random numbers for the strategies: good enough to spread players, not to keep secrets.
#[derive(Debug, Default)]
pub(super) struct Dice {
    keys: RandomState,
    rolls: AtomicU64,
}

impl Responder {
    /// Appends the answer to a document from `peer` to `answers`.
    pub(super) async fn answer(&self, document: &[u8], peer: IpAddr, answers: &mut Vec<u8>) {
        let received = Instant::now();
        let failure = match parse_request(document) {
            Ok(Request::Query(query)) => put(answers, self.query(query, peer)),
            Ok(Request::SessionReset(reset)) => put(answers, self.reset(&reset, peer).await),
            Err(error) => put::<Answer>(answers, Err(error.into())),
        };
        self.counters.answered(failure.map(|failure| failure.code()), received.elapsed());
    }

    fn query(&self, mut query: wire::Query, peer: IpAddr) -> Result<Answer, Failure> {
        let catalog = Arc::clone(&self.catalog.borrow());
        let listed = catalog.admit(&mut query)?;
        check_client_ip(&query, peer)?;
        let written = query;
        let query = Query::compile(&written)?;
        let (settings, inventory) = self.present();
        let candidates = inventory.matching(&query);
        let seat = self.pick(candidates, &query, &listed.balancer, &settings).ok_or(Failure::NoMatch)?;
        let backend = Arc::clone(seat.backend());
        let token = fresh_token();
        let wanted = Some(self.wants.of(&written, &query, &listed.balancer));
        let issue = Issue { token, seat, asked_by: peer, bound: catalog.bind_client_ip, wanted };
        self.ledger.lock().issue(issue, self.clock.now())?;
        Ok(Answer {
            token,
            expires_in_seconds: settings.token_ttl.as_secs(),
            ports: public_ports(&backend, &settings),
            backend: if catalog.expose_backend { first_address(&backend, &settings) } else { None },
        })
    }

    async fn reset(&self, reset: &SessionReset, peer: IpAddr) -> Result<wire::ResetAnswer, Failure> {
        Ok(self.resets.reset(reset, peer).await?)
    }

    /// The settings and the inventory in force. What takes time is done on these, without the lock.
    fn present(&self) -> (Arc<Settings>, Arc<Inventory>) {
        let ledger = self.ledger.lock();
        (Arc::clone(ledger.settings()), Arc::clone(ledger.inventory()))
    }

    /// Takes a seat on one of the candidates that some listener leads to. To find out of thousands
    /// which those are would cost more than all the rest, and it is all of them as a rule: so they
    /// are gone through only when the one picked turns out not to be.
    fn pick(
        &self,
        candidates: Matching<'_>,
        query: &Query,
        balancer: &Balancer,
        settings: &Settings,
    ) -> Option<Seat> {
        let seat = balancer.choose(&candidates, query.sticky_key(), self.dice.roll())?;
        if is_served(seat.backend(), settings) {
            return Some(seat);
        }
        drop(seat);
        let served = candidates.retain(|backend| is_served(backend, settings));
        balancer.choose(&served, query.sticky_key(), self.dice.roll())
    }
}

impl Dice {
    fn roll(&self) -> u64 {
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

fn fresh_token() -> Token {
    let mut text = Uuid::encode_buffer();
    let text = Uuid::new_v4().hyphenated().encode_lower(&mut text);
    Token::from_bytes(text.as_bytes()).expect("the text form of a UUID has 36 visible characters")
}

fn is_served(backend: &Backend, settings: &Settings) -> bool {
    settings.listeners.iter().any(|listener| backend.addr_for(listener).is_some())
}

fn public_ports(backend: &Backend, settings: &Settings) -> BTreeMap<String, u16> {
    let serving = settings.listeners.iter().filter(|listener| backend.addr_for(listener).is_some());
    serving.map(|listener| (listener.name.to_string(), listener.port)).collect()
}

/// Where the backend serves the first listener that leads to it.
fn first_address(backend: &Backend, settings: &Settings) -> Option<String> {
    settings.listeners.iter().find_map(|listener| backend.addr_for(listener)).map(|addr| addr.to_string())
}
