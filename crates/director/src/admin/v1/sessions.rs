//! Sessions, one by one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use udp_director_core::{Direction, Ledger, Moment, Session, SessionId};

use super::backends::Named;
use super::problem::Problem;
use super::{Api, Params, json, uid_of};
use crate::jobs::name_of;

/// A session as it is told. Its token is a secret: there is a fingerprint.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    id: u64,
    listener: String,
    client: SocketAddr,
    /// As `type/namespace/name`.
    backend: String,
    backend_uid: String,
    backend_address: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_fingerprint: Option<String>,
    /// How often it has been migrated or resumed.
    generation: u32,
    /// Whether its backend is gone and nothing else matches yet.
    parked: bool,
    age_seconds: f64,
    /// Since it last carried anything.
    idle_seconds: f64,
    to_backend: Carried,
    to_client: Carried,
}

/// What a session has carried in one direction.
#[derive(Debug, Serialize)]
struct Carried {
    datagrams: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    sessions: Vec<View>,
    /// The `after` of the next page; left out on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["backend", "limit", "after"])?;
    let (limit, after) = (params.limit()?, params.number("after")?.unwrap_or(0));
    let backend = params.text("backend").map(Named::parse);
    let inventory = Arc::clone(api.ledger().lock().inventory());
    let now = api.clock().now();
    let ledger = api.ledger().lock();
    let ids = match backend {
        None => lowest(ledger.session_ids(), after, limit + 1),
        Some(named) => {
            let id = named.find_id(&inventory, &ledger)?;
            lowest(ledger.sessions_of(&id), after, limit + 1)
        }
    };
    let next = ids.iter().nth(limit).and(ids.iter().nth(limit - 1)).map(|id| id.0);
    let page = ids.iter().take(limit).filter_map(|id| ledger.session(*id));
    let sessions = page.map(|session| View::new(session, &ledger, now)).collect();
    drop(ledger);
    Ok(json(StatusCode::OK, &Page { sessions, next }))
}

pub(super) async fn one(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let unknown = || Problem::not_found("no session of that number runs");
    let id = id.parse().map(SessionId).map_err(|_| unknown())?;
    let now = api.clock().now();
    let ledger = api.ledger().lock();
    let view = ledger.session(id).map(|session| View::new(session, &ledger, now)).ok_or_else(unknown)?;
    drop(ledger);
    Ok(json(StatusCode::OK, &view))
}

/// The lowest so many numbers above that one, of any number of them.
fn lowest(ids: impl Iterator<Item = SessionId>, after: u64, count: usize) -> BTreeSet<SessionId> {
    let mut lowest = BTreeSet::new();
    for id in ids.filter(|id| id.0 > after) {
        if lowest.len() < count || lowest.last().is_some_and(|last| id < *last) {
            lowest.insert(id);
        }
        if lowest.len() > count {
            lowest.pop_last();
        }
    }
    lowest
}

impl View {
    fn new(session: &Session, ledger: &Ledger, now: Moment) -> View {
        let listener = ledger.settings().listener(session.listener);
        let backend = session.seat.backend();
        View {
            id: session.id.0,
            listener: listener.map_or_else(String::new, |listener| listener.name.to_string()),
            client: session.client.socket_addr(),
            backend: name_of(backend),
            backend_uid: uid_of(backend).to_owned(),
            backend_address: session.backend_addr.socket_addr(),
            token_fingerprint: session.token.map(|token| format!("{:08x}", token.fingerprint())),
            generation: session.generation.0,
            parked: session.parked,
            age_seconds: (now - session.started).as_secs_f64(),
            idle_seconds: (now - session.activity.last()).as_secs_f64(),
            to_backend: Carried::new(session.activity.to_backend()),
            to_client: Carried::new(session.activity.to_client()),
        }
    }
}

impl Carried {
    fn new(direction: &Direction) -> Carried {
        Carried { datagrams: direction.datagrams(), bytes: direction.bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_the_lowest_numbers_above_the_last() {
        let ids = [9, 3, 7, 1, 5, 8].map(SessionId);
        let page =
            |after, count| lowest(ids.into_iter(), after, count).iter().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(page(0, 3), [1, 3, 5]);
        assert_eq!(page(5, 3), [7, 8, 9]);
        assert!(page(9, 3).is_empty());
    }
}
