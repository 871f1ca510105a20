//! Why a document, or a connection, gets an error: the texts and their codes.

use udp_director_core::{IssueError, QueryError, Refusal};
use udp_director_inventory::kubernetes::Unsayable;
use udp_director_wire::{ErrorAnswer, ErrorCode, RequestError};

use super::catalog::NotListed;
use super::counters::Bound;
use super::frame::{MAX_DOCUMENT_BYTES, TooLarge};
use crate::allocation::NoServer;

/// What an error answer says.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The document cannot be read.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What is asked for is not in the catalog.
    #[error(transparent)]
    NotListed(#[from] NotListed),
    /// A selector cannot be compiled.
    #[error("Invalid query: {0}")]
    Query(#[from] QueryError),
    /// Someone asks in the name of another IP.
    #[error("Forbidden: clientIp is not the IP that asks")]
    ForeignClientIp,
    /// Servers are allocated, and not by that.
    #[error("Invalid query: labelSelector: {0}")]
    Unsayable(#[from] Unsayable),
    /// Servers are allocated, and not by that.
    #[error("Invalid query: servers of this type are allocated by labels alone, not by {0}")]
    NotByThat(&'static str),
    /// No server could be allocated.
    #[error("Allocation failed: {}; try again later", .0.told())]
    Allocation(NoServer),
    /// No room to hold the query.
    #[error("Overloaded: too many queries wait; try again later")]
    Waiting,
    /// No backend is what is asked for.
    #[error("No matching resources found")]
    NoMatch,
    /// No token can be given out.
    #[error("Overloaded: {0}")]
    Tokens(IssueError),
    /// The director takes no new players.
    #[error("Draining: this director takes no new players; connect again, and another one answers")]
    Draining,
    /// The data plane or the ledger refuses a session reset.
    #[error("{}", reset_text(*.0))]
    Reset(#[from] Refusal),
    /// The document is too long.
    #[error("Too large: a document has at most {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge,
    /// The document did not become complete, or none came.
    #[error("Timeout: no complete document arrived in time")]
    Late,
    /// No room for the connection.
    #[error("Overloaded: too many connections; try again later")]
    Connections(Bound),
}

impl Failure {
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Failure::Request(error) => error.code(),
            Failure::NotListed(error) => error.code(),
            Failure::Query(_) | Failure::Unsayable(_) | Failure::NotByThat(_) => ErrorCode::InvalidQuery,
            Failure::Allocation(NoServer::Overloaded | NoServer::Abandoned) | Failure::Waiting => {
                ErrorCode::Overloaded
            }
            Failure::Allocation(_) => ErrorCode::AllocationFailed,
            Failure::ForeignClientIp => ErrorCode::Forbidden,
            Failure::NoMatch => ErrorCode::NoMatchingResources,
            Failure::Tokens(_) | Failure::Connections(_) => ErrorCode::Overloaded,
            Failure::Draining => ErrorCode::Draining,
            Failure::Reset(refusal) => reset_code(*refusal),
            Failure::TooLarge => ErrorCode::TooLarge,
            Failure::Late => ErrorCode::Timeout,
        }
    }

    /// The answer, in a length that suits people whatever the client has sent.
    pub(super) fn answer(&self) -> ErrorAnswer {
        let mut error = self.to_string();
        if let Some((end, _)) = error.char_indices().nth(MAX_TEXT_CHARS) {
            error.truncate(end);
            error.push('…');
        }
        ErrorAnswer { error, code: self.code() }
    }
}

impl From<NoServer> for Failure {
    fn from(why: NoServer) -> Failure {
        match why {
            NoServer::NothingMatches => Failure::NoMatch,
            why => Failure::Allocation(why),
        }
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Failure {
        match error {
            IssueError::Draining => Failure::Draining,
            error => Failure::Tokens(error),
        }
    }
}

impl From<TooLarge> for Failure {
    fn from(TooLarge: TooLarge) -> Failure {
        Failure::TooLarge
    }
}

fn reset_text(refusal: Refusal) -> String {
    match reset_code(refusal) {
        ErrorCode::InvalidToken => "Invalid or expired token".to_owned(),
        ErrorCode::BackendUnreachable => {
            format!("Backend unreachable: {refusal}; the session stays where it is")
        }
        ErrorCode::Draining => format!("Draining: {refusal}"),
        _ => format!("Overloaded: {refusal}; try again later"),
    }
}

fn reset_code(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::UnknownToken
        | Refusal::ExpiredToken
        | Refusal::UsedToken
        | Refusal::WrongClient
        | Refusal::NoSession
        | Refusal::UnknownOpcode => ErrorCode::InvalidToken,
        Refusal::BackendGone
        | Refusal::BackendFull
        | Refusal::BackendWithheld
        | Refusal::NoMatch
        | Refusal::AlreadyThere
        | Refusal::NoticeRefused
        | Refusal::NoticeFailed
        | Refusal::BackendUnreachable
        | Refusal::NoPort
        | Refusal::NoDefaultBackend => ErrorCode::BackendUnreachable,
        Refusal::Draining => ErrorCode::Draining,
        Refusal::ListenerDraining
        | Refusal::SessionLimit
        | Refusal::ConnectionLimit
        | Refusal::NoUpstream
        | Refusal::JustLeft
        | Refusal::TokenLimit
        | Refusal::WorkerBusy => ErrorCode::Overloaded,
    }
}

const MAX_TEXT_CHARS: usize = 512;

#[cfg(test)]
mod tests {
    use udp_director_inventory::kubernetes::AllocationError;

    use super::*;

    #[test]
    fn texts_of_the_seed_system_stay() {
        for (failure, text) in [
            (Failure::NoMatch, "No matching resources found"),
            (NotListed::Unknown("gs".into()).into(), "Unknown resource type: gs"),
            (Refusal::ExpiredToken.into(), "Invalid or expired token"),
        ] {
            assert_eq!(failure.answer().error, text);
        }
    }

    #[test]
    fn refused_reset_says_whether_trying_again_makes_sense() {
        for refusal in Refusal::ALL {
            let answer = Failure::from(refusal).answer();
            let overloaded = answer.code == ErrorCode::Overloaded;
            assert_eq!(answer.error.ends_with("try again later"), overloaded, "{refusal}");
        }
    }

    #[test]
    fn client_is_told_nothing_that_an_api_server_has_said() {
        let said = AllocationError::Forbidden("system:serviceaccount:proxy:director cannot".to_owned());
        let answer = Failure::from(NoServer::Refused(said)).answer();
        assert_eq!(answer.error, "Allocation failed: the cluster gives no server; try again later");
        assert_eq!(answer.code, ErrorCode::AllocationFailed);
        assert_eq!(Failure::from(NoServer::NothingMatches).answer().error, "No matching resources found");
        assert_eq!(Failure::from(NoServer::Overloaded).answer().code, ErrorCode::Overloaded);
    }

    #[test]
    fn what_the_client_sent_is_not_repeated_at_any_length() {
        let unknown = Failure::from(NotListed::Unknown("ü".repeat(60_000)));
        let answer = unknown.answer().error;
        assert!(answer.starts_with("Unknown resource type: üü") && answer.ends_with("ü…"));
        assert_eq!(answer.chars().count(), MAX_TEXT_CHARS + 1);
    }
}
