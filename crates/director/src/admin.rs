//! The admin server: `/livez`, `/readyz` and `/metrics`, on a port that is not for the public.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200; 503 with the names of what has stopped working |
//! | `/readyz` | 200; 503 with what is missing. `?verbose` adds the state of inventory and configuration |
//! | `/metrics` | OpenMetrics text |
//! | `/v1/...` | the admin API ([`v1`]) |
//! | `POST /v1/drain` | 202; takes no new sessions, and ends with the last one |

mod drain;
mod report;
mod server;
mod v1;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::drain::Drain;
use crate::jobs::Jobs;
use crate::metrics::{Metrics, Reading, Sources};
use crate::readiness::Readiness;

use report::Report;
use v1::Api;

/// What the admin server tells of.
#[derive(Debug)]
pub(crate) struct Admin {
    /// Where the metrics and the state of inventory and configuration are read.
    pub(crate) sources: Arc<Sources>,
    /// What `POST /v1/drain` begins.
    pub(crate) drain: Arc<Drain>,
    /// Whether clients can be served.
    pub(crate) readiness: Arc<Readiness>,
    /// Players whom operators want moved.
    pub(crate) jobs: Arc<Jobs>,
    /// What must not stop. An age above [`Heartbeat::MAX_AGE`] makes `/livez` fail.
    pub(crate) heartbeats: Vec<Heartbeat>,
}

/// A sign of life of a thread or task.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    /// Whose it is, for people.
    pub(crate) of: String,
    /// How long ago it last came.
    pub(crate) age: Reading<Duration>,
}

impl Heartbeat {
    /// Older than that, its thread or task counts as stuck.
    pub(crate) const MAX_AGE: Duration = Duration::from_secs(10);
}

impl Admin {
    /// Serves until `stop` is done. Each request has its own connection, which is closed after
    /// 10 seconds at the latest; at most 64 are served at once, others wait.
    pub(crate) async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let metrics = Metrics::new(Arc::clone(&self.sources));
        let api = Api {
            sources: Arc::clone(&self.sources),
            readiness: Arc::clone(&self.readiness),
            jobs: Arc::clone(&self.jobs),
        };
        let drains = drain::route(Arc::clone(&self.drain));
        let router = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(render))
            .with_state(Arc::new(Served { admin: self, metrics }))
            .merge(drains)
            .merge(api.router());
        server::serve(router, listener, stop).await;
    }
}

struct Served {
    admin: Admin,
    metrics: Metrics,
}

async fn livez(State(served): State<Arc<Served>>) -> Response {
    let ages = served.admin.heartbeats.iter().map(|heartbeat| (heartbeat, heartbeat.age.now()));
    let stuck: Vec<String> = ages
        .filter(|(_, age)| *age > Heartbeat::MAX_AGE)
        .map(|(heartbeat, age)| format!("{} (no sign of life for {} s)", heartbeat.of, age.as_secs()))
        .collect();
    verdict("live", "stuck", &stuck.join(", ")).into_response()
}

async fn readyz(State(served): State<Arc<Served>>, RawQuery(options): RawQuery) -> Response {
    let (status, mut text) = verdict("ready", "not ready", &served.admin.readiness.unmet().join(", "));
    if options.is_some_and(|options| options.split('&').any(|option| option.starts_with("verbose"))) {
        text.push_str(&Report(&served.admin.sources).to_string());
    }
    (status, text).into_response()
}

async fn render(State(served): State<Arc<Served>>) -> Response {
    ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], served.metrics.render()).into_response()
}

fn verdict(good: &str, bad: &str, faults: &str) -> (StatusCode, String) {
    match faults {
        "" => (StatusCode::OK, format!("{good}\n")),
        faults => (StatusCode::SERVICE_UNAVAILABLE, format!("{bad}: {faults}\n")),
    }
}

#[cfg(test)]
mod tests;
