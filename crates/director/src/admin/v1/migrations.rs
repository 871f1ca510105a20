//! Migrations from outside: begin, rehearse, watch and abort.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use udp_director_core::{Query, SessionId, Wanted};
use udp_director_wire as wire;

use super::backends::Named;
use super::problem::Problem;
use super::{Api, json, whole};
use crate::jobs::{From, Order, Report, To, rehearse};
use crate::rules;

/// What is to be moved, as it is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    from: Source,
    /// Left out: each player goes where his own query leads, other than where he is.
    to: Option<Target>,
    /// Which share of a backend's players: above 0, at most 1. Left out: all.
    share: Option<f64>,
    /// At most so many players a second, beside `maxMigrationsPerSecond`.
    per_second: Option<u32>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Source {
    session: Option<u64>,
    backend: Option<Named>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Target {
    backend: Option<Named>,
    query: Option<wire::Query>,
}

#[derive(Debug, Serialize)]
struct All {
    migrations: Vec<Report>,
}

pub(super) async fn begin(
    State(api): State<Arc<Api>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let request: Request =
        serde_json::from_slice(&whole(body)?).map_err(|error| Problem::bad_request(&error.to_string()))?;
    let dry_run = request.dry_run;
    let order = order(&api, request)?;
    if dry_run {
        // With many players that takes a while, in which other requests are answered.
        let rehearsal = spawn_blocking(move || rehearse(&order, api.ledger(), rules::seed()));
        let rehearsal = rehearsal.await.expect("a rehearsal does not panic")?;
        return Ok(json(StatusCode::OK, &rehearsal));
    }
    Ok(json(StatusCode::ACCEPTED, &api.jobs.begin(order, api.ledger(), rules::seed())?))
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Response {
    json(StatusCode::OK, &All { migrations: api.jobs.all() })
}

pub(super) async fn one(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let report = id.parse().ok().and_then(|id| api.jobs.one(id)).ok_or_else(unknown)?;
    Ok(json(StatusCode::OK, &report))
}

pub(super) async fn abort(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let report = id.parse().ok().and_then(|id| api.jobs.abort(id)).ok_or_else(unknown)?;
    Ok(json(StatusCode::OK, &report))
}

fn unknown() -> Problem {
    Problem::not_found("no migration of that number is known; those that ended long ago are forgotten")
}

fn order(api: &Api, request: Request) -> Result<Order, Problem> {
    let share = match (request.share, &request.from.backend) {
        (Some(_), None) => return Err(Problem::bad_request("share is for the players of a backend")),
        (Some(share), Some(_)) if !(share > 0.0 && share <= 1.0) => {
            return Err(Problem::bad_request(&format!("share is above 0 and at most 1, not {share}")));
        }
        (share, _) => share.unwrap_or(1.0),
    };
    if request.per_second == Some(0) {
        return Err(Problem::bad_request("perSecond is at least 1"));
    }
    let inventory = api.inventory()?;
    let from = match (request.from.session, request.from.backend) {
        (Some(id), None) => From::Session(SessionId(id)),
        (None, Some(named)) => From::Backend(named.find_id(&inventory, &api.ledger().lock())?, share),
        _ => return Err(Problem::bad_request("from has either \"session\" or \"backend\"")),
    };
    let to = match request.to {
        None => To::Wanted,
        Some(Target { backend: Some(named), query: None }) => {
            To::Backend(named.find(&inventory)?.spec.id.clone())
        }
        Some(Target { backend: None, query: Some(query) }) => To::Matching(wanted(api, query)?),
        Some(_) => return Err(Problem::bad_request("to has either \"backend\" or \"query\"")),
    };
    Ok(Order { from, to, per_second: request.per_second })
}

/// A query is asked as on the query port.
fn wanted(api: &Api, mut query: wire::Query) -> Result<Arc<Wanted>, Problem> {
    let catalog = Arc::clone(&api.catalog().borrow());
    let listed = catalog
        .admit(&mut query)
        .map_err(|error| Problem::bad_query(error.code().as_str(), &error.to_string()))?;
    let query = Query::compile(&query)
        .map_err(|error| Problem::bad_query(wire::ErrorCode::InvalidQuery.as_str(), &error.to_string()))?;
    let balancer = Arc::clone(&listed.balancer);
    Ok(Arc::new(Wanted { query: query.for_anyone(), balancer, text: Arc::default() }))
}
