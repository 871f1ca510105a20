//! Why a query got no server.

use udp_director_core::ServerName;
use udp_director_inventory::kubernetes::AllocationError;

use super::counters::Outcome;

/// Why a query got no server. Texts are for operators; [`NoServer::told`] is for clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoServer {
    /// No server is what is asked for.
    #[error("no server matches")]
    NothingMatches,
    /// Agones gives none.
    #[error("{0}")]
    Refused(AllocationError),
    /// Agones has not answered before the deadline.
    #[error("no answer before the deadline")]
    Late,
    /// The server has not shown in the inventory, as one that takes players, before the deadline.
    #[error("the server {0} was allocated, and has not shown as one that takes players before the deadline")]
    NotShown(ServerName),
    /// The server has ended.
    #[error("the server {0} was allocated, and has ended since")]
    Gone(ServerName),
    /// No player fits, or no data port leads there.
    #[error("the server {0} was allocated, and takes no player: {1}")]
    Unusable(ServerName, String),
    /// Too many are under way, or wait for their player.
    #[error("too many allocations are under way, or too many servers wait for their player")]
    Overloaded,
    /// Nobody waits for it any more.
    #[error("its query has ended")]
    Abandoned,
}

impl NoServer {
    /// What a client is told: no names, and nothing that an API server has said.
    pub fn told(&self) -> &'static str {
        match self {
            NoServer::NothingMatches => "no server matches",
            NoServer::Refused(AllocationError::Contention) => "others were faster each time",
            NoServer::Refused(_) => "the cluster gives no server",
            NoServer::Late => "the cluster has not answered in time",
            NoServer::NotShown(_) => "the server has not come up in time",
            NoServer::Gone(_) => "the server has ended",
            NoServer::Unusable(..) => "the server takes no player",
            NoServer::Overloaded | NoServer::Abandoned => "too many servers are asked for",
        }
    }

    /// What is counted.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            NoServer::NothingMatches | NoServer::Refused(AllocationError::NothingMatches) => {
                Outcome::NothingMatches
            }
            NoServer::Refused(AllocationError::Contention) => Outcome::Contention,
            NoServer::Refused(AllocationError::Forbidden(_)) => Outcome::Forbidden,
            NoServer::Refused(AllocationError::NotServed(_)) => Outcome::NotServed,
            NoServer::Refused(AllocationError::Refused(_)) => Outcome::Refused,
            NoServer::Refused(AllocationError::Malformed(_)) => Outcome::Malformed,
            NoServer::Refused(AllocationError::Unavailable(_)) => Outcome::Unavailable,
            NoServer::Late => Outcome::Late,
            NoServer::NotShown(_) => Outcome::NotShown,
            NoServer::Gone(_) => Outcome::Gone,
            NoServer::Unusable(..) => Outcome::Unusable,
            NoServer::Overloaded => Outcome::Overloaded,
            NoServer::Abandoned => Outcome::Abandoned,
        }
    }
}

impl From<AllocationError> for NoServer {
    fn from(error: AllocationError) -> NoServer {
        match error {
            AllocationError::NothingMatches => NoServer::NothingMatches,
            error => NoServer::Refused(error),
        }
    }
}
