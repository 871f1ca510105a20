//! Restoring: sessions, tokens and sticky keys that a process before this one has left.
//!
//! A journal does not keep tokens, but what stands in for each: a digest in the form of a token. A token
//! that is restored goes by its stand-in until its holder presents it; then the ledger knows it again.

use std::sync::Arc;

use smallvec::SmallVec;
use udp_director_wire::{TOKEN_LEN, Token};

use super::Ledger;
use super::records::{SessionRecord, StickyRecord, TokenRecord, UseRecord};
use super::terms::{Opened, Resumed};
use super::tokens::{Grant, Use};
use crate::seat::Seat;
use crate::session::{Activity, Place, Session, SessionId, Upstream, WorkerId};
use crate::settings::{ListenerId, Protocol};
use crate::time::Moment;

/// Begins every stand-in, and no token that is given out.
const STAND_IN_MARK: u8 = b'!';

/// What stands in for a token, by a digest of it in visible characters, of which 35 are used.
///
/// # Panics
/// The digest is shorter than that, or has other characters.
pub fn stand_in(digest: &[u8]) -> Token {
    let mut text = [STAND_IN_MARK; TOKEN_LEN];
    text[1..].copy_from_slice(&digest[..TOKEN_LEN - 1]);
    Token::from_bytes(&text).expect("a digest in visible characters")
}

/// Whether that is no token but what stands in for one.
pub fn is_stand_in(token: &Token) -> bool {
    token.as_bytes()[0] == STAND_IN_MARK
}

impl Ledger {
    /// Says how to find what stands in for a token; without it, restored tokens are never known again.
    pub fn recognise_by(&mut self, stand_in_for: fn(&Token) -> Token) {
        self.stand_in_for = Some(stand_in_for);
    }

    /// Knows a restored token again that its holder presents. What stands in for one is nothing to be
    /// presented: whoever has read a journal has no token by that.
    pub(super) fn recognise(&mut self, token: &Token) {
        let Some(stand_in_for) = self.stand_in_for else { return };
        if self.grants.contains_key(token) {
            return;
        }
        let stand_in = stand_in_for(token);
        let Some(grant) = self.grants.remove(&stand_in) else { return };
        for (_, what) in &grant.uses {
            if let Use::Names(id) = what
                && let Some(session) = self.sessions.get_mut(id)
            {
                session.token = Some(*token);
            }
        }
        self.expire_at(grant.expires, *token);
        self.grants.insert(*token, grant);
    }

    /// Enters a token that was known before. One that nothing can come of is left out.
    pub fn restore_token(&mut self, record: TokenRecord, now: Moment) {
        let uses: SmallVec<[_; 1]> = record.uses.iter().filter_map(|used| self.restored_use(used)).collect();
        let names_any = uses.iter().any(|(_, what)| matches!(what, Use::Names(_)));
        let is_over = record.expires <= now && !names_any;
        if is_over || self.grants.contains_key(&record.token) {
            return;
        }
        let mut awaited = self.listeners_of(&record.backend);
        awaited.retain(|listener| uses.iter().all(|(on, _)| on != listener));
        self.await_at(record.asked_by, &awaited);
        self.waiting += usize::from(uses.is_empty());
        self.expire_at(record.expires, record.token);
        if let Some(key) = record.sticky_key.as_ref().filter(|_| record.seated) {
            self.sticky.hold(key, &record.backend.spec.id);
        }
        let grant = Grant {
            seat: record.seated.then(|| Arc::new(Seat::hold(&record.backend))),
            backend: record.backend,
            asked_by: record.asked_by,
            bound: record.bound,
            wanted: record.wanted,
            sticky_key: record.sticky_key,
            expires: record.expires,
            uses,
            awaited,
        };
        self.note(|changes| changes.token(record.token));
        self.grants.insert(record.token, grant);
    }

    fn restored_use(&self, used: &UseRecord) -> Option<(ListenerId, Use)> {
        let listener = self.listener_at(used.protocol, used.port)?;
        let what = if used.names { Use::Names(used.session) } else { Use::Named(used.session) };
        Some((listener, what))
    }

    /// Remembers where a sticky key led.
    pub fn restore_sticky_key(&mut self, record: StickyRecord, now: Moment) {
        if now < record.until {
            self.note(|changes| changes.sticky_key(&record.key));
            self.sticky.remember(record.key, record.backend, record.until);
        }
    }

    /// The listener of that protocol on that public port.
    pub fn listener_at(&self, protocol: Protocol, port: u16) -> Option<ListenerId> {
        let mut listeners = self.settings.listeners.iter();
        listeners.find(|listener| (listener.protocol, listener.port) == (protocol, port)).map(|at| at.id)
    }

    /// Enters a session that ran before, with its own number, on the upstream that has been opened for
    /// it again. It keeps its seat, also where its backend takes fewer by now, and gets a fresh deadline.
    /// `None` where its listener is gone or its number is taken.
    pub(crate) fn restore_session(
        &mut self,
        record: &SessionRecord,
        upstream: Upstream,
        now: Moment,
    ) -> Option<Opened> {
        let listener = self.listener_at(Protocol::Udp, record.port)?;
        if self.sessions.contains_key(&record.id) {
            return None;
        }
        let id = record.id;
        self.last_session = self.last_session.max(id.0);
        let seat = self.seat_of(record);
        let roster_place = self.roster.enter(&seat.backend().spec.id, id);
        let session = Session {
            id,
            listener,
            client: record.client,
            local: record.local,
            place: Place::Worker(upstream.worker),
            seat,
            backend_addr: record.backend_addr,
            upstream: Some(upstream),
            token: record.token,
            generation: record.generation,
            started: now,
            activity: Arc::new(Activity::new(now)),
            // Its backend has been told of it, or at least may have been.
            before_backend: u64::MAX,
            left: None,
            roster_place,
            parked: false,
        };
        let opened = Opened { id, generation: session.generation, activity: Arc::clone(&session.activity) };
        self.note(|changes| changes.session(id));
        self.sessions.insert(id, Box::new(session));
        Some(opened)
    }

    /// A player's sessions share the seat that his token has.
    fn seat_of(&self, record: &SessionRecord) -> Arc<Seat> {
        let of_token = record.token.and_then(|token| self.grants.get(&token)?.seat.clone());
        let shared = of_token.filter(|seat| seat.backend().spec.id == record.backend.spec.id);
        shared.unwrap_or_else(|| Arc::new(Seat::hold(&record.backend)))
    }

    /// All sessions that could be restored are: tokens that name others name nothing any more.
    pub fn conclude_restoring(&mut self, now: Moment) {
        let lost: Vec<(Token, SessionId)> = self
            .grants
            .iter()
            .flat_map(|(token, grant)| grant.uses.iter().map(|(_, what)| (*token, *what)))
            .filter_map(|(token, what)| match what {
                Use::Names(id) if !self.sessions.contains_key(&id) => Some((token, id)),
                _ => None,
            })
            .collect();
        for (token, id) in lost {
            self.supersede(token, id, now);
        }
    }

    /// Lets another worker carry the client's side of a session: the client's datagrams arrive there
    /// since the restart. `None` where it has ended.
    pub(crate) fn take_over(&mut self, id: SessionId, worker: WorkerId) -> Option<Resumed> {
        let session = self.sessions.get_mut(&id)?;
        let upstream = session.upstream.clone()?;
        session.generation = session.generation.next();
        let taken = Resumed {
            generation: session.generation,
            left: session.client,
            left_place: std::mem::replace(&mut session.place, Place::Worker(worker)),
            upstream,
            backend_addr: session.backend_addr,
            is_new_to_backend: false,
            is_parked: session.parked,
            activity: Arc::clone(&session.activity),
        };
        self.note(|changes| changes.session(id));
        Some(taken)
    }
}
