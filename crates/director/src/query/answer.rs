//! Answers: from one document to one line.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::watch;
use udp_director_core::{
    Backend, BackendId, Draw, Inventory, Issue, Query, Selection, Serves, Settings, SharedLedger, StickyKey,
};
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

/// What the ledger knows that a query goes by.
struct Present {
    settings: Arc<Settings>,
    inventory: Arc<Inventory>,
    sticky_key: Option<StickyKey>,
    /// Where the sticky key led last.
    remembered: Option<BackendId>,
    /// The backends of the tokens that the query avoids.
    avoid: Vec<BackendId>,
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
        let Present { settings, inventory, sticky_key, remembered, avoid } = self.present(&written, &query);
        let selection = Selection {
            inventory: &inventory,
            query: &query,
            balancer: &listed.balancer,
            serves: Serves::Any(&settings.listeners),
            avoid: &avoid,
            draw: Draw {
                sticky_key: query.sticky_key(),
                remembered: remembered.as_ref(),
                random: self.dice.roll(),
            },
        };
        let seat = selection.choose().ok_or(Failure::NoMatch)?;
        let backend = Arc::clone(seat.backend());
        let token = fresh_token();
        let wanted = Some(self.wants.of(&written, &query, &listed.balancer));
        let bound = catalog.bind_client_ip;
        let issue = Issue { token, seat, asked_by: peer, bound, wanted, sticky_key };
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

    /// What the ledger knows that a query goes by. What takes time is done on this, without the lock.
    fn present(&self, written: &wire::Query, query: &Query) -> Present {
        let sticky_key = query.sticky_key().map(|key| StickyKey::new(query.resource_type(), key));
        let now = self.clock.now();
        let ledger = self.ledger.lock();
        Present {
            settings: Arc::clone(ledger.settings()),
            inventory: Arc::clone(ledger.inventory()),
            remembered: sticky_key.as_ref().and_then(|key| ledger.remembered(key, now)),
            avoid: written.avoid.iter().filter_map(|token| ledger.whereabouts(token, now)).collect(),
            sticky_key,
        }
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

fn public_ports(backend: &Backend, settings: &Settings) -> BTreeMap<String, u16> {
    let serving = settings.listeners.iter().filter(|listener| backend.addr_for(listener).is_some());
    serving.map(|listener| (listener.name.to_string(), listener.port)).collect()
}

/// Where the backend serves the first listener that leads to it.
fn first_address(backend: &Backend, settings: &Settings) -> Option<String> {
    settings.listeners.iter().find_map(|listener| backend.addr_for(listener)).map(|addr| addr.to_string())
}
