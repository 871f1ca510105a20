//! What every player needs: the director, the servers, the findings, and when to leave.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use udp_director_client::{Answer, LabelSelector, Query, QueryClient, QueryError, Token};

use crate::director::{PATIENCE, Ports};
use crate::findings::Findings;
use crate::fleet::{Fleet, GameServer, Role};

/// What every player needs.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// Where the director answers.
    pub(crate) director: Ports,
    /// The game servers.
    pub(crate) fleet: Fleet,
    /// What is found.
    pub(crate) findings: Findings,
    /// Whether everybody is to leave.
    pub(crate) closing: watch::Receiver<bool>,
}

/// A token and what it is good for.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    /// The token.
    pub(crate) token: Token,
    /// The server that it leads to.
    pub(crate) server: Arc<GameServer>,
    director: SocketAddr,
    answer: Answer,
}

impl World {
    /// Asks for an arena, another than `but`; over a connection of its own, as clients do. `None`
    /// when the query failed, which is noted.
    pub(crate) async fn ticket(&self, but: Option<&GameServer>) -> Option<Ticket> {
        let other = but.map(|server| format!(",server!={}", server.name())).unwrap_or_default();
        match self.ask(&format!("role={}{other}", Role::Arena.name())).await {
            Ok(answer) => self.known(answer),
            Err(error) => {
                self.findings.fault(format!("a query failed: {error}"));
                None
            }
        }
    }

    /// Asks for a server with these labels.
    ///
    /// # Errors
    /// As the director answers.
    pub(crate) async fn ask(&self, labels: &str) -> Result<Answer, QueryError> {
        let query = Query {
            resource_type: "gameserver".into(),
            label_selector: Some(LabelSelector::Text(labels.into())),
            ..Query::default()
        };
        self.client().await?.query(&query).await
    }

    /// Moves a session by a reset over the query port.
    ///
    /// # Errors
    /// As the director answers.
    pub(crate) async fn reset(&self, session: Token, token: Token) -> Result<(), QueryError> {
        self.client().await?.reset(session, token).await.map(drop)
    }

    /// Waits until everybody is to leave.
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing.clone();
        // A sender that is gone means the same.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// Whether everybody is to leave.
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    async fn client(&self) -> Result<QueryClient, QueryError> {
        Ok(QueryClient::connect(self.director.query).await?.with_deadline(PATIENCE))
    }

    fn known(&self, answer: Answer) -> Option<Ticket> {
        let addr = answer.backend.as_deref().and_then(|addr| addr.parse().ok());
        let Some(server) = addr.and_then(|addr| self.fleet.at(addr)) else {
            self.findings.fault(format!("an answer names a server that is gone: {:?}", answer.backend));
            return None;
        };
        Some(Ticket { token: answer.token, server, director: self.director.query, answer })
    }
}

impl Ticket {
    /// Where the listener of that name takes the token, if the server can be reached there.
    pub(crate) fn port(&self, listener: &str) -> Option<SocketAddr> {
        let port = self.answer.ports.get(listener)?;
        Some(SocketAddr::new(self.director.ip(), *port))
    }
}
