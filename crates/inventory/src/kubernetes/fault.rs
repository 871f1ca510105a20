//! What can go wrong between a watch and the API server, by what is to be done then.

use std::time::Duration;

use kube::Error;
use kube::core::Status;

/// Why a request or a watch did not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// 410: the version is too old, or the list took too long.
    #[error("the version is gone (410): {0}")]
    Gone(String),
    /// The storage behind the API server is older than what it told before.
    #[error("resource versions went back: the API server's storage was restored from an older state")]
    WentBack,
    /// The API server counts other objects than the watch has told.
    #[error("the watch lost events: the API server has {there} objects, not {here}")]
    Miscounted {
        /// How many it has.
        there: u64,
        /// How many are known.
        here: u64,
    },
    /// 403.
    #[error("forbidden (403): {0}")]
    Forbidden(String),
    /// 404, or discovery does not name it.
    #[error("no such resource: {0}")]
    NotFound(String),
    /// 429.
    #[error("the API server is busy (429): {message}")]
    Busy {
        /// What it says.
        message: String,
        /// How long it wants to be left alone.
        wait: Duration,
    },
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The watch ended almost as soon as it began.
    #[error("the watch was cut")]
    Cut,
    /// A name in the configuration that can be no part of a URL.
    #[error("{0:?} is no name of Kubernetes")]
    Name(String),
    /// Any other answer of the API server, or what is none of its answers.
    #[error("{0}")]
    Answer(String),
    /// No connection.
    #[error("unreachable: {0}")]
    Unreachable(String),
}

impl Fault {
    /// From a closed set.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Fault::Gone(_) => "gone",
            Fault::WentBack => "went_back",
            Fault::Miscounted { .. } => "miscounted",
            Fault::Forbidden(_) => "forbidden",
            Fault::NotFound(_) => "not_found",
            Fault::Busy { .. } => "busy",
            Fault::Late(_) => "late",
            Fault::Cut => "cut",
            Fault::Name(_) => "name",
            Fault::Answer(_) => "answer",
            Fault::Unreachable(_) => "unreachable",
        }
    }

    /// Whether only a new list helps.
    pub(super) fn takes_a_list(&self) -> bool {
        matches!(self, Fault::Gone(_) | Fault::WentBack | Fault::Miscounted { .. })
    }

    pub(super) fn of_status(status: &Status) -> Fault {
        let message = brief(&status.message);
        let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        match status.code {
            410 => Fault::Gone(message),
            403 => Fault::Forbidden(message),
            404 => Fault::NotFound(message),
            429 => Fault::Busy {
                message,
                wait: Duration::from_secs(asked.into()).clamp(SHORTEST_WAIT, LONGEST_WAIT),
            },
            code => Fault::Answer(format!("status {code}: {message}")),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match &error {
            Error::Api(status) => Fault::of_status(status),
            Error::SerdeError(_) | Error::FromUtf8(_) | Error::BuildRequest(_) | Error::Auth(_) => {
                Fault::Answer(brief(&error.to_string()))
            }
            _ => Fault::Unreachable(brief(&chain(&error))),
        }
    }
}

/// An error and what caused it; kube's own texts leave the causes out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

fn brief(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS).collect()
}

const SHOWN_CHARACTERS: usize = 300;
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
