//! `POST /v1/drain`: the same as SIGTERM.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::drain::Drain;

/// The route, and what it drains.
pub(super) fn route(drain: Arc<Drain>) -> Router {
    Router::new().route("/v1/drain", post(begin)).with_state(drain)
}

/// Begins the drain, and tells how many sessions are to end. Again and again the same.
async fn begin(State(drain): State<Arc<Drain>>) -> Response {
    drain.begin();
    let answer = serde_json::json!({
        "draining": true,
        "sessions": drain.sessions(),
        "drainSeconds": drain.time().as_secs(),
    });
    (StatusCode::ACCEPTED, [(CONTENT_TYPE, "application/json")], answer.to_string() + "\n").into_response()
}
