//! Explain: why a query gets the backend that it gets, without giving a token.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use udp_director_core::{Candidate, Finding, Score};
use udp_director_wire::{ErrorCode, Request, parse_request};

use super::problem::Problem;
use super::{Api, Params, json, uid_of, whole};
use crate::jobs::name_of;
use crate::query::Asking;
use crate::rules;

/// What a query comes to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    /// Who would be picked now, as `type/namespace/name`; `null` where nobody can be.
    winner: Option<String>,
    strategy: &'static str,
    /// Whether another query at the same moment may get another backend, by chance alone.
    by_chance: bool,
    /// Whether a server is allocated where the query gets none of these.
    allocates: bool,
    /// How long ago the view of the cluster, or of the file, was found to be current.
    view_age_seconds: f64,
    /// How many backends of the type and namespace there are.
    total: usize,
    /// How many can be picked.
    eligible: usize,
    /// How many each filter refuses.
    refused: BTreeMap<&'static str, usize>,
    /// The winner, then those that can be picked, then the others; as many as `limit` says.
    candidates: Vec<View>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    backend: String,
    uid: String,
    /// The filter that refuses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<ScoreView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ScoreView {
    seats_taken: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    seats_free: Option<u32>,
    players_counted_by_object: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_weight: Option<String>,
    remembered: bool,
}

pub(super) async fn explain(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let limit = Params::read(query.as_deref(), &["limit"])?.limit()?;
    let written = match parse_request(&whole(body)?) {
        Ok(Request::Query(query)) => query,
        Ok(Request::SessionReset(_)) => {
            return Err(Problem::bad_query(
                ErrorCode::InvalidQuery.as_str(),
                "only a query can be explained",
            ));
        }
        Err(error) => return Err(Problem::bad_query(error.code().as_str(), &error.to_string())),
    };
    let catalog = Arc::clone(&api.catalog().borrow());
    let asking = Asking::new(&catalog, written, api.ledger(), api.clock().now())
        .map_err(|refused| Problem::bad_query(refused.code.as_str(), &refused.error))?;
    api.inventory()?;
    let selection = asking.selection(rules::seed());
    let (strategy, mut explained) = (selection.balancer.strategy(), selection.explain());
    if !asking.shares() {
        explained.winner = None;
    }
    let mut order: Vec<(bool, bool, &Candidate)> = explained
        .candidates
        .iter()
        .enumerate()
        .map(|(number, candidate)| (explained.winner != Some(number), !is_eligible(candidate), candidate))
        .collect();
    order.sort_by_key(|(loses, refused, _)| (*loses, *refused));
    let mut refused = BTreeMap::new();
    for candidate in &explained.candidates {
        if let Finding::Refused(filter) = &candidate.finding {
            *refused.entry(filter.name()).or_default() += 1;
        }
    }
    let told = Explanation {
        winner: explained.winner.map(|winner| name_of(&explained.candidates[winner].backend)),
        strategy: strategy.name(),
        allocates: asking.allocates(),
        by_chance: strategy.is_by_chance(),
        view_age_seconds: api.sources.inventory_age().as_secs_f64(),
        total: explained.candidates.len(),
        eligible: explained.candidates.iter().filter(|candidate| is_eligible(candidate)).count(),
        refused,
        candidates: order.iter().take(limit).map(|(.., candidate)| View::new(candidate)).collect(),
    };
    Ok(json(StatusCode::OK, &told))
}

fn is_eligible(candidate: &Candidate) -> bool {
    matches!(candidate.finding, Finding::Scored(_))
}

impl View {
    fn new(candidate: &Candidate) -> View {
        let (refused_by, why, score) = match &candidate.finding {
            Finding::Refused(filter) => (Some(filter.name()), Some(filter.to_string()), None),
            Finding::Scored(score) => (None, None, Some(ScoreView::new(*score))),
        };
        let backend = &candidate.backend;
        View { backend: name_of(backend), uid: uid_of(backend).to_owned(), refused_by, why, score }
    }
}

impl ScoreView {
    fn new(score: Score) -> ScoreView {
        ScoreView {
            seats_taken: score.taken,
            seats_free: score.seats.map(|seats| seats.saturating_sub(score.taken)),
            players_counted_by_object: score.current,
            key_weight: score.key_weight.map(|weight| format!("{weight:016x}")),
            remembered: score.remembered,
        }
    }
}
