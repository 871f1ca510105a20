//! Records: what a journal keeps of sessions, tokens and sticky keys, as values.

use std::net::IpAddr;
use std::sync::Arc;

use udp_director_wire::Token;

use super::Ledger;
use super::changes::Changes;
use super::leaving::Wanted;
use super::memory::StickyKey;
use super::tokens::Use;
use crate::addr::{BackendAddr, ClientAddr};
use crate::inventory::{Backend, BackendId};
use crate::session::{Generation, SessionId, WorkerId};
use crate::settings::{ListenerId, Protocol};
use crate::time::Moment;

/// A UDP session, as far as it outlives a process.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// Its number.
    pub id: SessionId,
    /// The public UDP port that it is on.
    pub port: u16,
    /// Where the client is.
    pub client: ClientAddr,
    /// The director's own address that the client sends to.
    pub local: IpAddr,
    /// The backend.
    pub backend: Arc<Backend>,
    /// Where the backend serves the listener.
    pub backend_addr: BackendAddr,
    /// The worker that has the upstream socket.
    pub worker: WorkerId,
    /// The director's own port that the backend sees this player at.
    pub upstream_port: u16,
    /// The token that names it, if one does.
    pub token: Option<Token>,
    /// How often it has been migrated or resumed.
    pub generation: Generation,
    /// Whether nothing is sent to its backend, which is gone.
    pub parked: bool,
}

/// A token that has been given out, as far as it outlives a process.
#[derive(Clone, Debug)]
pub struct TokenRecord {
    /// The token, or what stands in for it: see [`Ledger::recognise_by`].
    pub token: Token,
    /// Where it leads.
    pub backend: Arc<Backend>,
    /// Whether it, or a session of it, has a seat there.
    pub seated: bool,
    /// The IP that asked for it; `None` where that is not known.
    pub asked_by: Option<IpAddr>,
    /// Whether that IP alone may redeem it.
    pub bound: bool,
    /// What was asked for.
    pub wanted: Option<Arc<Wanted>>,
    /// The key that leads to its backend.
    pub sticky_key: Option<StickyKey>,
    /// From when on it cannot be redeemed.
    pub expires: Moment,
    /// What it has been redeemed for.
    pub uses: Vec<UseRecord>,
}

/// What a token has been redeemed for on one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UseRecord {
    /// The listener's protocol.
    pub protocol: Protocol,
    /// The listener's public port.
    pub port: u16,
    /// The session.
    pub session: SessionId,
    /// Whether it still names that session.
    pub names: bool,
}

/// Where a sticky key led last, while nobody has a seat by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyRecord {
    /// The key.
    pub key: StickyKey,
    /// The backend.
    pub backend: BackendId,
    /// Until when it is remembered.
    pub until: Moment,
}

impl Ledger {
    /// Notes from now on what changes, for [`Ledger::take_changes`].
    pub fn follow_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    /// What has changed since the last call. Nothing, where nobody follows.
    pub fn take_changes(&mut self) -> Changes {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn note(&mut self, note: impl FnOnce(&mut Changes)) {
        if let Some(changes) = &mut self.changes {
            note(changes);
        }
    }

    /// Every token that is known. Goes through all of them.
    pub fn known_tokens(&self) -> Vec<Token> {
        self.grants.keys().copied().collect()
    }

    /// Every sticky key that is remembered though nobody has a seat by it.
    pub fn resting_sticky_keys(&self) -> Vec<StickyKey> {
        self.sticky.resting().cloned().collect()
    }

    /// What a journal keeps of that session. `None` where it has ended, and where it cannot outlive the
    /// process: over TCP, or on a listener that closes.
    pub fn session_record(&self, id: SessionId) -> Option<SessionRecord> {
        let session = self.session(id)?;
        let upstream = session.upstream.as_ref()?;
        Some(SessionRecord {
            id,
            port: self.settings.listener(session.listener)?.port,
            client: session.client,
            local: session.local,
            backend: Arc::clone(session.seat.backend()),
            backend_addr: session.backend_addr,
            worker: upstream.worker,
            upstream_port: upstream.socket.port(),
            token: session.token,
            generation: session.generation,
            parked: session.parked,
        })
    }

    /// What a journal keeps of that token. `None` where it is forgotten.
    pub fn token_record(&self, token: &Token) -> Option<TokenRecord> {
        let grant = self.grants.get(token)?;
        Some(TokenRecord {
            token: *token,
            backend: Arc::clone(&grant.backend),
            seated: grant.seat.is_some(),
            asked_by: grant.asked_by,
            bound: grant.bound,
            wanted: grant.wanted.clone(),
            sticky_key: grant.sticky_key.clone(),
            expires: grant.expires,
            uses: grant.uses.iter().filter_map(|(on, what)| self.use_record(*on, *what)).collect(),
        })
    }

    fn use_record(&self, on: ListenerId, what: Use) -> Option<UseRecord> {
        let listener = self.settings.listener(on)?;
        let (session, names) = match what {
            Use::Names(id) => (id, true),
            Use::Named(id) => (id, false),
        };
        Some(UseRecord { protocol: listener.protocol, port: listener.port, session, names })
    }

    /// What a journal keeps of that key. `None` where somebody has a seat by it, and where nobody
    /// remembers it.
    pub fn sticky_record(&self, key: &StickyKey) -> Option<StickyRecord> {
        let (backend, until) = self.sticky.rests(key)?;
        Some(StickyRecord { key: key.clone(), backend: backend.clone(), until })
    }
}
