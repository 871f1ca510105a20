//! Why there is no server, or one could not be given back.

use std::time::Duration;

use kube::Error;
use kube::core::Status;

use crate::kubernetes::fault::Fault;

/// Why no server was allocated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// No server is what is asked for.
    #[error("no server matches")]
    NothingMatches,
    /// Others took the servers that match, each time until the deadline.
    #[error("others took every server that was chosen, until the deadline")]
    Contention,
    /// 401 or 403.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// 404: Agones does not serve allocations in that cluster.
    #[error("the cluster has no allocation.agones.dev/v1: {0}")]
    NotServed(String),
    /// 4xx: Agones does not take what is asked.
    #[error("refused: {0}")]
    Refused(String),
    /// The answer names no server, or no address of it, or is none at all.
    #[error("the answer has {0}")]
    Malformed(&'static str),
    /// Busy, failing or out of reach, each time until the deadline.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a server could not be given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GiveBackError(pub(super) String);

/// What one attempt failed by.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: AllocationError,
    /// Whether another attempt can do better; how long the server wants to be left alone at least.
    pub(super) again: Option<Duration>,
    /// Whether it may have got a server all the same.
    pub(super) may_have_one: bool,
}

impl From<&str> for GiveBackError {
    fn from(text: &str) -> GiveBackError {
        GiveBackError(text.to_owned())
    }
}

impl AllocationError {
    /// From a closed set, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            AllocationError::NothingMatches => "nothing_matches",
            AllocationError::Contention => "contention",
            AllocationError::Forbidden(_) => "forbidden",
            AllocationError::NotServed(_) => "not_served",
            AllocationError::Refused(_) => "refused",
            AllocationError::Malformed(_) => "malformed",
            AllocationError::Unavailable(_) => "unavailable",
        }
    }
}

impl Failed {
    /// Others took the server; nothing was allocated.
    pub(super) fn contention() -> Failed {
        Failed { error: AllocationError::Contention, again: Some(Duration::ZERO), may_have_one: false }
    }

    /// Nothing matches; nothing was allocated.
    pub(super) fn nothing_matches() -> Failed {
        Failed { error: AllocationError::NothingMatches, again: None, may_have_one: false }
    }

    /// The answer is not to be understood.
    pub(super) fn malformed(what: &'static str) -> Failed {
        Failed { error: AllocationError::Malformed(what), again: None, may_have_one: true }
    }

    /// No answer, though it was waited for that long.
    pub(super) fn silence(waited: Duration) -> Failed {
        let error = AllocationError::Unavailable(Fault::Late(waited).to_string());
        Failed { error, again: Some(Duration::ZERO), may_have_one: true }
    }

    /// Asking so makes no sense; nothing was allocated.
    pub(super) fn refused(text: String) -> Failed {
        Failed { error: AllocationError::Refused(text), again: None, may_have_one: false }
    }

    fn of_status(status: &Status) -> Failed {
        let fault = Fault::of_status(status);
        let text = fault.to_string();
        let final_word = |error| Failed { error, again: None, may_have_one: false };
        match (status.code, fault) {
            (409, _) => Failed::contention(),
            (401 | 403, _) => final_word(AllocationError::Forbidden(text)),
            (404, _) => final_word(AllocationError::NotServed(text)),
            (_, Fault::Busy { wait, .. }) => {
                Failed { error: AllocationError::Unavailable(text), again: Some(wait), may_have_one: false }
            }
            (400..500, _) => final_word(AllocationError::Refused(text)),
            _ => Failed {
                error: AllocationError::Unavailable(text),
                again: Some(Duration::ZERO),
                may_have_one: true,
            },
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        match error {
            Error::Api(status) => Failed::of_status(&status),
            Error::BuildRequest(error) => Failed::refused(error.to_string()),
            Error::SerdeError(_) | Error::FromUtf8(_) => Failed::malformed("no JSON"),
            error => Failed {
                error: AllocationError::Unavailable(Fault::from(error).to_string()),
                again: Some(Duration::ZERO),
                may_have_one: true,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16) -> Failed {
        Failed::of_status(&Status { code, ..Status::failure("text", "reason") })
    }

    #[test]
    fn status_says_whether_trying_again_makes_sense_and_whether_a_server_may_be_taken() {
        for (code, reason, again, may_have_one) in [
            (400, "refused", false, false),
            (401, "forbidden", false, false),
            (403, "forbidden", false, false),
            (404, "not_served", false, false),
            (409, "contention", true, false),
            (422, "refused", false, false),
            (429, "unavailable", true, false),
            (500, "unavailable", true, true),
            (503, "unavailable", true, true),
            (504, "unavailable", true, true),
        ] {
            let failed = of(code);
            let found = (failed.error.reason(), failed.again.is_some(), failed.may_have_one);
            assert_eq!(found, (reason, again, may_have_one), "{code}");
        }
    }
}
