//! What goes into the ledger and what comes out of it, as values.

use std::net::IpAddr;
use std::sync::Arc;

use udp_director_wire::Token;

use super::leaving::{MovedBy, Wanted};
use super::memory::StickyKey;
use crate::addr::{BackendAddr, ClientAddr};
use crate::inventory::Backend;
use crate::seat::Seat;
use crate::session::{Activity, Generation, Place, SessionId, Upstream, WorkerId};
use crate::settings::ListenerId;

/// A token about to be given out.
#[derive(Debug)]
pub struct Issue {
    /// The token, fresh and unguessable.
    pub token: Token,
    /// The seat it holds until it is redeemed or expires.
    pub seat: Seat,
    /// The client's IP: of the query's connection, or as an authorised matchmaker named it.
    pub asked_by: IpAddr,
    /// Whether that IP alone may redeem it.
    pub bound: bool,
    /// What was asked for; without it the player goes nowhere else when the backend leaves.
    pub wanted: Option<Arc<Wanted>>,
    /// The key that is to lead there again.
    pub sticky_key: Option<StickyKey>,
}

/// A token as a client presents it on a data port.
#[derive(Clone, Copy, Debug)]
pub struct Presented {
    /// The token.
    pub token: Token,
    /// Where it arrived.
    pub listener: ListenerId,
    /// Who sent it.
    pub client: ClientAddr,
    /// The session that this client has on this listener: one that
    /// [`Ledger::is_at`](super::Ledger::is_at) its address.
    pub own: Option<SessionId>,
    /// Whether it came in a control packet, which can move sessions, or bare.
    pub control: bool,
}

/// What a presented token means.
#[derive(Clone, Debug)]
pub enum Admission {
    /// Nothing: this client did that already, and repeats itself since datagrams get lost.
    Repeat,
    /// Begin a session on that backend.
    Bind(Target),
    /// Move the client's session to that backend.
    Migrate(SessionId, Target),
    /// Move that session to this client address.
    Resume(SessionId),
}

/// A backend and where it serves the listener in question.
#[derive(Clone, Debug)]
pub struct Target {
    /// The backend, as the inventory has it now.
    pub backend: Arc<Backend>,
    /// Where it serves the listener.
    pub addr: BackendAddr,
}

/// A session about to begin.
#[derive(Debug)]
pub struct Opening {
    /// The listener it is on.
    pub listener: ListenerId,
    /// The client.
    pub client: ClientAddr,
    /// The director's own address that the client sends to.
    pub local: IpAddr,
    /// Who carries the client's side.
    pub place: Place,
    /// Where the backend serves the listener.
    pub addr: BackendAddr,
    /// The upstream socket; `None` on TCP.
    pub upstream: Option<Upstream>,
    /// What lets it begin.
    pub by: OpenedBy,
}

/// What lets a session begin.
#[derive(Debug)]
pub enum OpenedBy {
    /// A token that [`Ledger::admit`](super::Ledger::admit) let through under the same lock.
    Token(Token),
    /// The default endpoint.
    DefaultEndpoint(Seat),
}

/// A session that has begun.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its number.
    pub id: SessionId,
    /// Its first generation.
    pub generation: Generation,
    /// What it carries is recorded here.
    pub activity: Arc<Activity>,
}

/// A session about to be migrated.
#[derive(Debug)]
pub struct Moving<'a> {
    /// The session.
    pub session: SessionId,
    /// What lets it move.
    pub by: &'a MovedBy,
    /// Where the new backend serves the listener.
    pub addr: BackendAddr,
    /// The new upstream; `None` on TCP, or where the session keeps what it has since it stays on the
    /// same backend.
    pub upstream: Option<Upstream>,
}

/// A session that has been migrated.
#[derive(Debug)]
pub struct Migrated {
    /// The session's generation from now on.
    pub generation: Generation,
    /// The upstream that it no longer uses; `None` on TCP, or when the backend stayed the same.
    pub left: Option<(Upstream, BackendAddr)>,
}

/// A session about to be resumed.
#[derive(Clone, Copy, Debug)]
pub struct Resuming {
    /// The session.
    pub session: SessionId,
    /// Where the client is now.
    pub client: ClientAddr,
    /// The director's own address that the client sends to.
    pub local: IpAddr,
    /// The worker that the client's datagrams arrive at.
    pub worker: WorkerId,
}

/// A session that has been resumed.
#[derive(Debug)]
pub struct Resumed {
    /// The session's generation from now on.
    pub generation: Generation,
    /// Where the client was.
    pub left: ClientAddr,
    /// Who carried the client's side.
    pub left_place: Place,
    /// The upstream socket that the session keeps.
    pub upstream: Upstream,
    /// The backend that the session keeps.
    pub backend_addr: BackendAddr,
    /// Whether that backend has not yet been sent anything.
    pub is_new_to_backend: bool,
    /// Whether nothing is sent there for now.
    pub is_parked: bool,
    /// What it carries is recorded here.
    pub activity: Arc<Activity>,
}

/// Where a session's client side is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// The session.
    pub id: SessionId,
    /// Its listener.
    pub listener: ListenerId,
    /// Its client.
    pub client: ClientAddr,
    /// Who carries the client's side.
    pub place: Place,
}

/// Why no token is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// `limits.maxPendingTokens` is reached; or, with those that name a session or are used up but
    /// not yet expired, its sum with `limits.maxSessions`.
    #[error("too many tokens wait to be redeemed; try again later")]
    Full,
    /// That token is known already: another replica happens to have sealed the same.
    #[error("the token is known already; try again")]
    Taken,
    /// The director takes no new sessions.
    #[error("the director is draining; ask again, and another one answers")]
    Draining,
}
