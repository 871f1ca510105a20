//! The ledger: which tokens wait, which sessions run, and what a token may do. The one truth that
//! workers, TCP connections and the query server share; forwarding is a cache of its decisions.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use udp_director_wire::Token;

use crate::inventory::{Backend, BackendId, Inventory};
use crate::refusal::Refusal;
use crate::seat::Seat;
use crate::session::{Activity, Generation, Place, Session, SessionId};
use crate::settings::{ListenerId, Settings};
use crate::time::Moment;

use memory::{Past, Sticky};
use roster::Roster;
use tokens::Grant;

pub use changes::Changes;
pub use endpoint::DefaultEndpoint;
pub use leaving::{Destination, Elsewhere, Handover, MovedBy, Player, Wanted};
pub use memory::StickyKey;
pub use records::{SessionRecord, StickyRecord, TokenRecord, UseRecord};
pub use restoring::{is_stand_in, stand_in};
pub use terms::{
    Admission, Issue, IssueError, Located, Migrated, Moving, Opened, OpenedBy, Opening, Presented, Resumed,
    Resuming, Target,
};

mod admission;
mod changes;
mod endpoint;
mod leaving;
mod memory;
mod records;
mod restoring;
mod roster;
mod sealed;
mod terms;
mod tokens;

/// Which tokens wait and which sessions run.
#[derive(Debug)]
pub struct Ledger {
    settings: Arc<Settings>,
    inventory: Arc<Inventory>,
    default_endpoint: Option<Arc<DefaultEndpoint>>,
    /// What the wall clock says of the moment 0.
    epoch: SystemTime,
    grants: HashMap<Token, Grant, foldhash::quality::RandomState>,
    expiries: BinaryHeap<Reverse<(Moment, Token)>>,
    /// How many tokens that an IP asked for can still be redeemed on a listener.
    awaited: HashMap<(IpAddr, ListenerId), u32>,
    /// How many tokens nobody has redeemed yet.
    waiting: usize,
    /// Boxed, since a table has room for up to twice of what is in it.
    sessions: HashMap<SessionId, Box<Session>, foldhash::fast::RandomState>,
    last_session: u64,
    roster: Roster,
    sticky: Sticky,
    /// Where players were who have ended all their sessions by a token.
    left: Past<Token>,
    /// What has changed, where a journal follows.
    changes: Option<Changes>,
    /// Takes no new sessions, and gives no tokens out.
    draining: bool,
    /// Finds what stands in for a token, where tokens have been restored.
    stand_in_for: Option<fn(&Token) -> Token>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(settings: Arc<Settings>, inventory: Arc<Inventory>) -> Ledger {
        Ledger {
            settings,
            inventory,
            default_endpoint: None,
            epoch: SystemTime::UNIX_EPOCH,
            grants: HashMap::default(),
            expiries: BinaryHeap::new(),
            awaited: HashMap::new(),
            waiting: 0,
            sessions: HashMap::default(),
            last_session: 0,
            roster: Roster::default(),
            sticky: Sticky::new(),
            left: Past::new(),
            changes: None,
            draining: false,
            stand_in_for: None,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Takes new settings. Tokens keep the deadline that they were issued with.
    pub fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Takes a new inventory and default endpoint. Sessions stay where they are.
    pub fn publish(&mut self, inventory: Arc<Inventory>, default_endpoint: Option<Arc<DefaultEndpoint>>) {
        self.inventory = inventory;
        self.default_endpoint = default_endpoint;
    }

    /// Takes no new sessions from now on, and gives no tokens out. Those that run go on, move and resume.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether it takes no new sessions.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether one more session may begin.
    fn admit_newcomer(&self) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        if self.sessions.len() >= self.settings.limits.max_sessions {
            return Err(Refusal::SessionLimit);
        }
        Ok(())
    }

    /// The backend as the inventory has it now, unless it is gone or has moved to another address.
    fn current(&self, backend: &Backend) -> Option<&Arc<Backend>> {
        self.inventory.by_id(&backend.spec.id).filter(|now| now.spec.address == backend.spec.address)
    }

    /// The inventory in force.
    pub fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// Where clients without a token go, if anywhere.
    pub fn default_endpoint(&self) -> Option<&Arc<DefaultEndpoint>> {
        self.default_endpoint.as_ref()
    }

    /// Begins a session that was admitted under the same lock.
    pub fn open(&mut self, opening: Opening, now: Moment) -> Opened {
        self.last_session += 1;
        let id = SessionId(self.last_session);
        let (seat, token) = match opening.by {
            OpenedBy::Token(token) => (self.redeem(token, opening.listener, id), Some(token)),
            OpenedBy::DefaultEndpoint(seat) => (Arc::new(seat), None),
        };
        let roster_place = self.roster.enter(&seat.backend().spec.id, id);
        seat.backend().load.begin_session();
        let session = Session {
            id,
            listener: opening.listener,
            client: opening.client,
            local: opening.local,
            place: opening.place,
            seat,
            backend_addr: opening.addr,
            upstream: opening.upstream,
            token,
            generation: Generation::default(),
            started: now,
            activity: Arc::new(Activity::new(now)),
            before_backend: 0,
            left: None,
            roster_place,
            parked: false,
        };
        let opened = Opened { id, generation: session.generation, activity: Arc::clone(&session.activity) };
        self.sessions.insert(id, Box::new(session));
        self.note(|changes| changes.session(id));
        opened
    }

    /// Moves a session to a target that was admitted under the same lock.
    pub fn migrate(&mut self, moving: Moving<'_>, now: Moment) -> Migrated {
        let Moving { session: id, by, addr, upstream } = moving;
        let listener = self.sessions[&id].listener;
        let (seat, token) = match by {
            MovedBy::Token(token) => (self.redeem(*token, listener, id), Some(*token)),
            MovedBy::Director(handover) | MovedBy::Operator(handover) => {
                self.hand_over(id, &handover.to);
                (Arc::clone(&handover.to), None)
            }
        };
        seat.backend().load.begin_session();
        self.seat_on(id, seat);
        let session = self.sessions.get_mut(&id).expect("a session is admitted under the same lock");
        let former = token.and_then(|token| session.token.replace(token));
        session.parked = false;
        session.generation = session.generation.next();
        let left_addr = std::mem::replace(&mut session.backend_addr, addr);
        let left = match upstream {
            Some(upstream) => {
                session.before_backend = session.activity.to_backend().datagrams();
                session.upstream.replace(upstream).map(|left| (left, left_addr))
            }
            None => None,
        };
        let generation = session.generation;
        if let Some(former) = former {
            self.supersede(former, id, now);
        }
        self.note(|changes| changes.session(id));
        Migrated { generation, left }
    }

    fn seat_on(&mut self, id: SessionId, seat: Arc<Seat>) {
        self.strike(id);
        let roster_place = self.roster.enter(&seat.backend().spec.id, id);
        if let Some(session) = self.sessions.get_mut(&id) {
            (session.seat, session.roster_place) = (seat, roster_place);
        }
    }

    /// Takes a session from the roster of its backend.
    fn strike(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let place = session.roster_place;
        let moved = self.roster.leave(&session.seat.backend().spec.id, place);
        if let Some(moved) = moved.and_then(|moved| self.sessions.get_mut(&moved)) {
            moved.roster_place = place;
        }
    }

    /// Moves a UDP session to another client address.
    ///
    /// # Errors
    /// The session is not a UDP session that runs.
    pub fn resume(&mut self, resuming: &Resuming, now: Moment) -> Result<Resumed, Refusal> {
        let session = self.sessions.get_mut(&resuming.session).ok_or(Refusal::NoSession)?;
        let upstream = session.upstream.clone().ok_or(Refusal::WrongClient)?;
        if let Some(changes) = &mut self.changes {
            changes.session(resuming.session);
        }
        let left = std::mem::replace(&mut session.client, resuming.client);
        session.left = Some(Box::new((left, now + self.settings.migration_grace)));
        session.generation = session.generation.next();
        session.local = resuming.local;
        Ok(Resumed {
            generation: session.generation,
            left,
            left_place: std::mem::replace(&mut session.place, Place::Worker(resuming.worker)),
            upstream,
            backend_addr: session.backend_addr,
            is_new_to_backend: session.is_new_to_backend(),
            is_parked: session.parked,
            activity: Arc::clone(&session.activity),
        })
    }

    /// Ends a session; gives it one last time, or `None` if it had ended before.
    pub fn end(&mut self, id: SessionId, now: Moment) -> Option<Session> {
        self.strike(id);
        let session = self.sessions.remove(&id)?;
        self.note(|changes| changes.session(id));
        if let Some(token) = session.token {
            self.supersede(token, id, now);
        }
        self.expire(now);
        Some(*session)
    }

    /// Where the session is carried, if it still runs.
    pub fn located(&self, id: SessionId) -> Option<Located> {
        self.session(id).map(locate)
    }

    /// Says whether the session runs, and on that seat.
    pub fn is_on(&self, id: SessionId, seat: &Arc<Seat>) -> bool {
        self.sessions.get(&id).is_some_and(|session| Arc::ptr_eq(&session.seat, seat))
    }

    /// The session of that number.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id).map(|session| &**session)
    }

    /// Every session that runs, in no order.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().map(|session| &**session)
    }

    /// The numbers of all sessions, in no order.
    pub fn session_ids(&self) -> impl ExactSizeIterator<Item = SessionId> {
        self.sessions.keys().copied()
    }

    /// The sessions on a backend, in no order.
    pub fn sessions_of(&self, backend: &BackendId) -> impl ExactSizeIterator<Item = SessionId> {
        self.roster.on(backend).iter().copied()
    }

    /// Every backend that has sessions, in no order; also those that are gone.
    pub fn played(&self) -> impl Iterator<Item = &BackendId> {
        self.roster.backends()
    }

    /// How many sessions run.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Sessions on that listener.
    pub fn sessions_on(&self, listener: ListenerId) -> usize {
        self.sessions.values().filter(|session| session.listener == listener).count()
    }
}

fn locate(session: &Session) -> Located {
    Located { id: session.id, listener: session.listener, client: session.client, place: session.place }
}

#[cfg(test)]
mod tests;
