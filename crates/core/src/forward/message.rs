//! What a forwarder asks of others and is asked by them.

use std::fmt;
use std::sync::Arc;

use super::Return;
use super::restoring::RestoredClients;
use crate::addr::{BackendAddr, ClientAddr};
use crate::ledger::MovedBy;
use crate::refusal::Refusal;
use crate::seat::Seat;
use crate::session::{Generation, SessionId, Upstream, UpstreamIndex, WorkerId};
use crate::settings::{ListenerId, Settings};

/// Something to be done outside, in the order given.
#[derive(Debug)]
pub enum Effect {
    /// Send to a backend, by the upstream socket with that handle.
    ToBackend {
        /// See [`crate::UpstreamSocket::handle`].
        handle: i32,
        /// The backend.
        to: BackendAddr,
        /// The whole datagram.
        bytes: Vec<u8>,
    },
    /// Send to a client.
    ToClient {
        /// To whom, from where.
        to: Return,
        /// The whole datagram.
        bytes: Vec<u8>,
    },
    /// Close an upstream socket that no slot uses, unless another has taken its place meanwhile.
    CloseUpstream {
        /// Its place.
        index: UpstreamIndex,
        /// See [`crate::UpstreamSocket::handle`].
        handle: i32,
    },
    /// Hand a message to another worker.
    Tell {
        /// The worker.
        worker: WorkerId,
        /// The message.
        message: Message,
    },
}

/// What a worker is told by another, or by the control side.
#[derive(Debug)]
pub enum Message {
    /// New settings are in force.
    Configure(Arc<Settings>),
    /// A client half of yours goes on elsewhere.
    Linger {
        /// Its listener.
        listener: ListenerId,
        /// Its client address.
        client: ClientAddr,
        /// Its session.
        session: SessionId,
        /// The session's generation there: a half of that or a later one has come back since.
        generation: Generation,
    },
    /// The replies on a slot of yours go elsewhere from now on.
    Redirect(Redirect),
    /// A session has left a slot of yours.
    Retire(Retire),
    /// Migrate a session, and say what came of it. Follows a client that has gone elsewhere meanwhile.
    Migrate {
        /// The session.
        session: SessionId,
        /// What lets it, and where to.
        by: MovedBy,
        /// Told the outcome.
        reply: Reply,
    },
    /// Send nothing to a session's backend, which is gone, and take nothing from there, until it moves.
    /// Follows a client that has gone elsewhere meanwhile, and does nothing to a session that has moved
    /// to another seat.
    Park {
        /// The session.
        session: SessionId,
        /// The seat that it is on.
        seat: Arc<Seat>,
    },
    /// End a session whose backend is gone. Follows a client that has gone elsewhere meanwhile, and
    /// does nothing to a session that has moved to another seat.
    Close {
        /// The session.
        session: SessionId,
        /// The seat that it is on.
        seat: Arc<Seat>,
    },
    /// Clients of before the restart may send to you, whose sessions another worker has.
    Expect(Arc<RestoredClients>),
}

/// Where the replies on a slot go from now on.
#[derive(Clone, Debug)]
pub struct Redirect {
    pub(super) upstream: Upstream,
    pub(super) backend: BackendAddr,
    pub(super) session: SessionId,
    pub(super) generation: Generation,
    pub(super) to: Return,
}

/// A slot that its session has left.
#[derive(Clone, Copy, Debug)]
pub struct Retire {
    pub(super) index: UpstreamIndex,
    pub(super) backend: BackendAddr,
    pub(super) session: SessionId,
    /// Until when replies are still delivered; `None`: no longer.
    pub(super) grace: Option<crate::time::Moment>,
}

/// Takes the outcome of a message, once.
pub struct Reply(Box<dyn FnOnce(Result<(), Refusal>) + Send>);

impl Reply {
    /// A reply that calls `with`.
    pub fn new(with: impl FnOnce(Result<(), Refusal>) + Send + 'static) -> Reply {
        Reply(Box::new(with))
    }

    /// Gives the outcome.
    pub fn send(self, outcome: Result<(), Refusal>) {
        (self.0)(outcome);
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}
