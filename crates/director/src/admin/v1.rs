//! The admin API: what there is, why a query gets what it gets, and moving players
//! (`docs/admin-api.md`).
//!
//! Everything is read from the inventory in force and, for a moment, from the ledger; players are moved
//! by jobs, which the control task carries out.

mod backends;
mod explain;
mod migrations;
mod problem;
mod sessions;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio::sync::watch;
use udp_director_core::{Backend, Inventory, SharedLedger};
use udp_director_dataplane::Clock;

use crate::control::INVENTORY;
use crate::jobs::Jobs;
use crate::metrics::Sources;
use crate::query::Catalog;
use crate::readiness::Readiness;

use problem::Problem;

/// What the API works on.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) sources: Arc<Sources>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) jobs: Arc<Jobs>,
}

impl Api {
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/v1/backends", get(backends::list))
            .route("/v1/backends/uid/{uid}", get(backends::by_uid))
            .route("/v1/backends/{resource_type}/{namespace}/{name}", get(backends::by_name))
            .route("/v1/sessions", get(sessions::list))
            .route("/v1/sessions/{id}", get(sessions::one))
            .route("/v1/explain", post(explain::explain))
            .route("/v1/migrations", get(migrations::list).post(migrations::begin))
            .route("/v1/migrations/{id}", get(migrations::one).delete(migrations::abort))
            .fallback(async || Problem::no_such_path())
            .method_not_allowed_fallback(async || Problem::wrong_method())
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(Arc::new(self))
    }

    fn ledger(&self) -> &SharedLedger {
        &self.sources.ledger
    }

    fn clock(&self) -> Clock {
        self.sources.clock
    }

    fn catalog(&self) -> &watch::Receiver<Arc<Catalog>> {
        &self.sources.catalog
    }

    /// The inventory in force, once all that is followed has been seen: before that, what is not there
    /// may only not be known yet.
    fn inventory(&self) -> Result<Arc<Inventory>, Problem> {
        if self.readiness.unmet().contains(&INVENTORY) {
            return Err(Problem::not_known_yet());
        }
        Ok(Arc::clone(self.ledger().lock().inventory()))
    }
}

/// Parameters behind the `?` of a URL.
#[derive(Debug)]
struct Params(HashMap<String, String>);

impl Params {
    /// Those that are known; any other is a mistake.
    fn read(query: Option<&str>, known: &[&str]) -> Result<Params, Problem> {
        let mut params = HashMap::new();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*key) {
                let known = known.join(", ");
                return Err(Problem::bad_request(&format!("unknown parameter {key:?}; there are: {known}")));
            }
            params.insert(key.into_owned(), value.into_owned());
        }
        Ok(Params(params))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number = text.parse().map_err(|_| format!("{key} is a whole number, not {text:?}"));
        number.map(Some).map_err(|text| Problem::bad_request(&text))
    }

    /// How many entries a page has.
    fn limit(&self) -> Result<usize, Problem> {
        match self.number("limit")?.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(limit as usize),
            limit => {
                Err(Problem::bad_request(&format!("limit is a number from 1 to {MAX_LIMIT}, not {limit}")))
            }
        }
    }
}

/// The body of a request, if it is not too long.
fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| Problem::unread(rejection.status(), &rejection.body_text()))
}

/// An answer in JSON.
fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let mut text = serde_json::to_string_pretty(value).expect("an answer's keys are texts");
    text.push('\n');
    (status, [(CONTENT_TYPE, "application/json")], text).into_response()
}

/// The object's UID: an id is the resource type and that.
fn uid_of(backend: &Backend) -> &str {
    let id = backend.spec.id.as_str();
    id.strip_prefix(&*backend.spec.resource_type).and_then(|rest| rest.strip_prefix('/')).unwrap_or(id)
}

const MAX_BODY_BYTES: usize = 64 << 10;

const DEFAULT_LIMIT: u64 = 100;

const MAX_LIMIT: u64 = 1000;
