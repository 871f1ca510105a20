//! Problems: errors of the admin API, as RFC 9457 has them.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use udp_director_core::Refusal;

use crate::jobs::OrderError;

/// Why a request is not answered. `code` is of a closed set, for programs.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: &str) -> Problem {
        Problem { status, code, title, detail: detail.to_owned() }
    }

    pub(super) fn bad_request(detail: &str) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", "The request cannot be read", detail)
    }

    /// A body that has not been read.
    pub(super) fn unread(status: StatusCode, detail: &str) -> Problem {
        Problem::new(status, "bad_request", "The request cannot be read", detail)
    }

    /// A query that may not be asked, as the query port tells it.
    pub(super) fn bad_query(code: &'static str, detail: &str) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, "The query cannot be asked", detail)
    }

    pub(super) fn no_such_path() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "no_such_path", "There is no such path", "see docs/admin-api.md")
    }

    pub(super) fn wrong_method() -> Problem {
        let detail = "the path is there, but not for this method";
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "The method is wrong", detail)
    }

    pub(super) fn not_found(what: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "It is not there", what)
    }

    /// The director has just started, and does not know all that there is.
    pub(super) fn not_known_yet() -> Problem {
        let detail = "not everything has been listed since the start; try again in a moment";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_known_yet", "It is not known yet", detail)
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Problem {
        let detail = error.to_string();
        match error {
            OrderError::NoSession => Problem::not_found(&detail),
            OrderError::TooMany => {
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many", "Too many migrations run", &detail)
            }
            OrderError::Refused(Refusal::BackendGone) => {
                Problem::not_found("the backend to move to is not in the inventory")
            }
            OrderError::Refused(refusal) => {
                Problem::new(StatusCode::CONFLICT, refusal.reason(), "Nobody can be moved so", &detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        (self.status, [(CONTENT_TYPE, "application/problem+json")], format!("{body}\n")).into_response()
    }
}
