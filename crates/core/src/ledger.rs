//! The ledger: which tokens wait, which sessions run, and what a token may do. The one truth that
//! workers, TCP connections and the query server share; forwarding is a cache of its decisions.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;
use udp_director_wire::Token;

use crate::addr::{BackendAddr, ClientAddr};
use crate::inventory::{Backend, Inventory};
use crate::refusal::Refusal;
use crate::seat::Seat;
use crate::select::{Balancer, Matching, Query};
use crate::session::{Activity, Generation, Place, Session, SessionId, Upstream, WorkerId};
use crate::settings::{Limits, Listener, ListenerId, Settings};
use crate::time::Moment;

/// How many expired tokens one call clears away at most, so that no caller holds the ledger long.
const EXPIRY_BUDGET: usize = 256;

pub use self::leaving::{Elsewhere, MovedBy, Player, Wanted};

mod leaving;

/// Which tokens wait and which sessions run.
#[derive(Debug)]
pub struct Ledger {
    settings: Arc<Settings>,
    inventory: Arc<Inventory>,
    default_endpoint: Option<Arc<DefaultEndpoint>>,
    grants: HashMap<Token, Grant, foldhash::quality::RandomState>,
    expiries: BinaryHeap<Reverse<(Moment, Token)>>,
    /// How many tokens that an IP asked for can still be redeemed on a listener.
    awaited: HashMap<(IpAddr, ListenerId), u32>,
    /// How many tokens nobody has redeemed yet.
    waiting: usize,
    /// Boxed, since a table has room for up to twice of what is in it.
    sessions: HashMap<SessionId, Box<Session>, foldhash::fast::RandomState>,
    last_session: u64,
}

/// Where clients without a token go.
#[derive(Debug)]
pub struct DefaultEndpoint {
    query: Query,
    balancer: Arc<Balancer>,
    inventory: Arc<Inventory>,
    /// Where in the inventory that is what matches.
    positions: Vec<u32>,
}

impl DefaultEndpoint {
    /// One whose backends match the query, picked by the balancer. The query's sticky key, if any, is
    /// not used.
    pub fn new(query: Query, balancer: Arc<Balancer>, inventory: Arc<Inventory>) -> DefaultEndpoint {
        let positions = inventory.matching(&query).positions();
        DefaultEndpoint { query, balancer, inventory, positions }
    }

    /// What a backend must match.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// How one is picked.
    pub fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }

    /// What matches.
    pub fn candidates(&self) -> Matching<'_> {
        self.inventory.at(&self.positions)
    }
}

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
    /// The session that this client has on this listener: one that [`Ledger::is_at`] its address.
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
    /// A token that [`Ledger::admit`] let through under the same lock.
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
}

#[derive(Debug)]
struct Grant {
    backend: Arc<Backend>,
    /// Held while the token waits, then by its sessions.
    seat: Option<Arc<Seat>>,
    asked_by: IpAddr,
    bound: bool,
    wanted: Option<Arc<Wanted>>,
    expires: Moment,
    uses: SmallVec<[(ListenerId, Use); 1]>,
    /// Where it can still be redeemed, and is counted in [`Ledger::awaited`].
    awaited: SmallVec<[ListenerId; 4]>,
}

/// What a token has been redeemed for on one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It names this session.
    Names(SessionId),
    /// It named this session, which has ended or goes by another token now.
    Named(SessionId),
}

impl Grant {
    fn use_on(&self, listener: ListenerId) -> Option<Use> {
        self.uses.iter().find(|(on, _)| *on == listener).map(|(_, what)| *what)
    }

    fn names_any(&self) -> bool {
        self.uses.iter().any(|(_, what)| matches!(what, Use::Names(_)))
    }

    fn admits(&self, ip: IpAddr) -> bool {
        !self.bound || self.asked_by == ip
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new(settings: Arc<Settings>, inventory: Arc<Inventory>) -> Ledger {
        Ledger {
            settings,
            inventory,
            default_endpoint: None,
            grants: HashMap::default(),
            expiries: BinaryHeap::new(),
            awaited: HashMap::new(),
            waiting: 0,
            sessions: HashMap::default(),
            last_session: 0,
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

    /// Enters a token. Gives the moment from which on it cannot be redeemed.
    ///
    /// # Errors
    /// At the bound of tokens that wait, or that are known at all.
    pub fn issue(&mut self, issue: Issue, now: Moment) -> Result<Moment, IssueError> {
        self.expire(now);
        let Limits { max_sessions, max_pending_tokens } = self.settings.limits;
        // Used up tokens are known until their time is over: they fill what sessions leave free.
        let known = max_pending_tokens.saturating_add(max_sessions);
        if self.waiting >= max_pending_tokens || self.grants.len() >= known {
            return Err(IssueError::Full);
        }
        let expires = now + self.settings.token_ttl;
        let awaited = self.listeners_of(issue.seat.backend());
        self.await_at(issue.asked_by, &awaited);
        self.waiting += 1;
        self.expiries.push(Reverse((expires, issue.token)));
        let grant = Grant {
            backend: Arc::clone(issue.seat.backend()),
            seat: Some(Arc::new(issue.seat)),
            asked_by: issue.asked_by,
            bound: issue.bound,
            wanted: issue.wanted,
            expires,
            uses: SmallVec::new(),
            awaited,
        };
        self.grants.insert(issue.token, grant);
        Ok(expires)
    }

    fn listeners_of(&self, backend: &Backend) -> SmallVec<[ListenerId; 4]> {
        let serves = |listener: &&Listener| backend.addr_for(listener).is_some();
        self.settings.listeners.iter().filter(serves).map(|listener| listener.id).collect()
    }

    /// Says what a presented token means; changes nothing.
    ///
    /// # Errors
    /// Says why the token means nothing here.
    pub fn admit(&self, presented: &Presented, now: Moment) -> Result<Admission, Refusal> {
        let grant = self.grants.get(&presented.token).ok_or(Refusal::UnknownToken)?;
        match grant.use_on(presented.listener) {
            Some(Use::Names(id)) if presented.own == Some(id) => Ok(Admission::Repeat),
            Some(Use::Names(id)) if presented.control => self.admit_resume(id, grant, presented),
            Some(Use::Names(_)) => Err(Refusal::WrongClient),
            Some(Use::Named(_)) => Err(Refusal::UsedToken),
            None => self.admit_redeem(grant, presented, now),
        }
    }

    /// Says whether the token names a session that has left that client address a moment ago: a
    /// control packet from there is probably one that was under way when the client left.
    pub fn straggles(&self, token: &Token, listener: ListenerId, client: ClientAddr, now: Moment) -> bool {
        let Some(Use::Names(id)) = self.grants.get(token).and_then(|grant| grant.use_on(listener)) else {
            return false;
        };
        let left = self.session(id).and_then(|session| session.left.as_deref());
        left.is_some_and(|(left, until)| *left == client && now < *until)
    }

    /// Says whether the session runs and its client is there. What a worker takes for a client's
    /// session may have been resumed elsewhere a moment ago.
    pub fn is_at(&self, id: SessionId, client: ClientAddr) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.client == client)
    }

    /// A session may always move to an address that has none: who presents its token is its client.
    /// An address that has one is taken over only with a token that its own IP asked for, or anyone
    /// could spoof a player's address and put a session of his own in its place.
    fn admit_resume(
        &self,
        id: SessionId,
        grant: &Grant,
        presented: &Presented,
    ) -> Result<Admission, Refusal> {
        match presented.own {
            Some(own) if !self.may_move(grant, own, presented.client) => Err(Refusal::WrongClient),
            _ => Ok(Admission::Resume(id)),
        }
    }

    /// Whether a token may do something to the session of an address, whose datagrams anyone can spoof:
    /// only if it was asked for from there, or from where the session's own token was asked for. Tokens
    /// that are not bound are no exception.
    fn may_move(&self, grant: &Grant, own: SessionId, client: ClientAddr) -> bool {
        let named = self.session(own).and_then(|session| self.grants.get(session.token.as_ref()?));
        grant.asked_by == client.ip() || named.is_some_and(|named| named.asked_by == grant.asked_by)
    }

    fn admit_redeem(&self, grant: &Grant, presented: &Presented, now: Moment) -> Result<Admission, Refusal> {
        if now >= grant.expires {
            return Err(Refusal::ExpiredToken);
        }
        let moves = presented.own.is_none_or(|own| self.may_move(grant, own, presented.client));
        if !grant.admits(presented.client.ip()) || !moves {
            return Err(Refusal::WrongClient);
        }
        let target = self.target(&grant.backend, presented.listener)?;
        if grant.uses.is_empty() && !target.backend.spec.accepting() {
            return Err(Refusal::BackendGone);
        }
        match presented.own {
            Some(own) => Ok(Admission::Migrate(own, target)),
            None if self.sessions.len() >= self.settings.limits.max_sessions => Err(Refusal::SessionLimit),
            None => Ok(Admission::Bind(target)),
        }
    }

    fn target(&self, backend: &Backend, listener: ListenerId) -> Result<Target, Refusal> {
        let listener = self.settings.listener(listener).ok_or(Refusal::ListenerDraining)?;
        let backend = self.current(backend).ok_or(Refusal::BackendGone)?;
        let addr = backend.addr_for(listener).ok_or(Refusal::NoPort)?;
        Ok(Target { backend: Arc::clone(backend), addr })
    }

    /// Picks a backend of the default endpoint for a client without a token, with a seat on it.
    ///
    /// # Errors
    /// No endpoint, nothing that matches, no port for the listener, or the bound of sessions.
    pub fn admit_default(&self, listener: ListenerId, random: u64) -> Result<(Seat, BackendAddr), Refusal> {
        if self.sessions.len() >= self.settings.limits.max_sessions {
            return Err(Refusal::SessionLimit);
        }
        let endpoint = self.default_endpoint.as_ref().ok_or(Refusal::NoDefaultBackend)?;
        let seat = endpoint
            .balancer
            .choose(&endpoint.candidates(), None, random)
            .ok_or(Refusal::NoDefaultBackend)?;
        let target = self.target(seat.backend(), listener)?;
        Ok((seat, target.addr))
    }

    /// Says once more, for a client that had to be waited for, whether its session may begin on the
    /// seat that [`Ledger::admit_default`] gave, and where.
    ///
    /// # Errors
    /// The backend or the listener is gone by now, or the bound of sessions is reached.
    pub fn admit_seat(&self, seat: &Seat, listener: ListenerId) -> Result<BackendAddr, Refusal> {
        if self.sessions.len() >= self.settings.limits.max_sessions {
            return Err(Refusal::SessionLimit);
        }
        self.target(seat.backend(), listener).map(|target| target.addr)
    }

    /// Says whether the IP has a token that waits to be redeemed on that listener, be it redeemed on
    /// another or not.
    pub fn awaits_token(&mut self, listener: ListenerId, ip: IpAddr, now: Moment) -> bool {
        self.expire(now);
        self.awaited.contains_key(&(ip, listener))
    }

    /// Says whether the IP has a token that waits to be redeemed on any listener.
    pub fn waits_for(&mut self, ip: IpAddr, now: Moment) -> bool {
        self.expire(now);
        self.settings.listeners.iter().any(|listener| self.awaited.contains_key(&(ip, listener.id)))
    }

    /// Says whether the token names, or has named, that session: a repeated token is no data.
    pub fn has_named(&self, token: &Token, session: SessionId) -> bool {
        self.grants.get(token).is_some_and(|grant| {
            grant
                .uses
                .iter()
                .any(|(_, what)| matches!(what, Use::Names(id) | Use::Named(id) if *id == session))
        })
    }

    /// Begins a session that was admitted under the same lock.
    pub fn open(&mut self, opening: Opening, now: Moment) -> Opened {
        self.last_session += 1;
        let id = SessionId(self.last_session);
        let (seat, token) = match opening.by {
            OpenedBy::Token(token) => (self.redeem(token, opening.listener, id), Some(token)),
            OpenedBy::DefaultEndpoint(seat) => (Arc::new(seat), None),
        };
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
        };
        let opened = Opened { id, generation: session.generation, activity: Arc::clone(&session.activity) };
        self.sessions.insert(id, Box::new(session));
        opened
    }

    /// Lets the token name the session from now on, and gives the seat that it holds.
    fn redeem(&mut self, token: Token, listener: ListenerId, id: SessionId) -> Arc<Seat> {
        let grant = self.grants.get_mut(&token).expect("a token is admitted under the same lock");
        let seat = grant.seat.get_or_insert_with(|| Arc::new(Seat::take(&grant.backend)));
        let seat = Arc::clone(seat);
        self.waiting -= usize::from(grant.uses.is_empty());
        grant.uses.push((listener, Use::Names(id)));
        let position = grant.awaited.iter().position(|awaited| *awaited == listener);
        let awaited = position.map(|position| grant.awaited.swap_remove(position));
        let asked_by = grant.asked_by;
        self.forget_awaited(asked_by, awaited);
        seat
    }

    /// Moves a session to a target that was admitted under the same lock. `upstream` is the new one;
    /// `None` on TCP, or where the session keeps what it has since it stays on the same backend.
    pub fn migrate(
        &mut self,
        id: SessionId,
        by: &MovedBy,
        addr: BackendAddr,
        upstream: Option<Upstream>,
    ) -> Migrated {
        let listener = self.sessions[&id].listener;
        let (seat, token) = match by {
            MovedBy::Token(token) => (self.redeem(*token, listener, id), Some(*token)),
            MovedBy::Director(seat) => {
                self.hand_over(id, seat);
                (Arc::clone(seat), None)
            }
        };
        let session = self.sessions.get_mut(&id).expect("a session is admitted under the same lock");
        let former = token.and_then(|token| session.token.replace(token));
        session.seat = seat;
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
            self.supersede(former, id);
        }
        Migrated { generation, left }
    }

    /// Moves a UDP session to another client address.
    ///
    /// # Errors
    /// The session is not a UDP session that runs.
    pub fn resume(&mut self, resuming: &Resuming, now: Moment) -> Result<Resumed, Refusal> {
        let session = self.sessions.get_mut(&resuming.session).ok_or(Refusal::NoSession)?;
        let upstream = session.upstream.clone().ok_or(Refusal::WrongClient)?;
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
            activity: Arc::clone(&session.activity),
        })
    }

    /// Ends a session; gives it one last time, or `None` if it had ended before.
    pub fn end(&mut self, id: SessionId, now: Moment) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        if let Some(token) = session.token {
            self.supersede(token, id);
        }
        self.expire(now);
        Some(*session)
    }

    /// The token no longer names the session. Its seat is given back with its last session; the
    /// token itself stays known until its time is over, so that it cannot be redeemed again.
    fn supersede(&mut self, token: Token, id: SessionId) {
        let Some(grant) = self.grants.get_mut(&token) else { return };
        for (_, what) in &mut grant.uses {
            if *what == Use::Names(id) {
                *what = Use::Named(id);
            }
        }
        if !grant.names_any() {
            grant.seat = None;
            // Its place in `expiries` tells whether its time is over: those that are past it are
            // taken out there, and are kept here only while they name a session.
            self.expiries.push(Reverse((grant.expires, token)));
        }
    }

    /// Clears expired tokens away, at most a few hundred a call; says whether there may be more.
    pub fn expire(&mut self, now: Moment) -> bool {
        for _ in 0..EXPIRY_BUDGET {
            match self.expiries.peek() {
                Some(Reverse((expires, _))) if *expires <= now => {}
                _ => return false,
            }
            let Some(Reverse((_, token))) = self.expiries.pop() else { return false };
            self.forget_expired(&token);
        }
        true
    }

    fn forget_expired(&mut self, token: &Token) {
        let Some(grant) = self.grants.get_mut(token) else { return };
        let (asked_by, awaited) = (grant.asked_by, std::mem::take(&mut grant.awaited));
        if !grant.names_any() {
            self.waiting -= usize::from(grant.uses.is_empty());
            self.grants.remove(token);
        }
        self.forget_awaited(asked_by, awaited);
    }

    fn await_at(&mut self, asked_by: IpAddr, listeners: &[ListenerId]) {
        for &listener in listeners {
            *self.awaited.entry((asked_by, listener)).or_default() += 1;
        }
    }

    fn forget_awaited(&mut self, asked_by: IpAddr, listeners: impl IntoIterator<Item = ListenerId>) {
        for listener in listeners {
            if let Entry::Occupied(mut count) = self.awaited.entry((asked_by, listener)) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    /// The running sessions that a token names, for a reset over the query port by `asked_by`.
    ///
    /// # Errors
    /// `session` names no running session, or `token` cannot be redeemed for its client.
    pub fn admit_reset(
        &self,
        session: &Token,
        token: &Token,
        asked_by: IpAddr,
        now: Moment,
    ) -> Result<Vec<Located>, Refusal> {
        let running = self.named_by(session);
        let grant = self.grants.get(token).ok_or(Refusal::UnknownToken)?;
        if running.is_empty() {
            return Err(Refusal::NoSession);
        }
        if now >= grant.expires {
            return Err(Refusal::ExpiredToken);
        }
        let yours = grant.admits(asked_by) || running.iter().any(|at| grant.admits(at.client.ip()));
        if yours { Ok(running) } else { Err(Refusal::WrongClient) }
    }

    fn named_by(&self, token: &Token) -> Vec<Located> {
        let uses = self.grants.get(token).map(|grant| &grant.uses[..]).unwrap_or_default();
        uses.iter()
            .filter_map(|(_, what)| match what {
                Use::Names(id) => self.session(*id).map(locate),
                Use::Named(_) => None,
            })
            .collect()
    }

    /// Where a session is to go that the control side moves: by a reset over the query port, of which
    /// [`Ledger::admit_reset`] has checked who asks, or by its own decision.
    ///
    /// # Errors
    /// The token, the seat or the session is not (or no longer) good for it.
    pub fn admit_migration(&self, id: SessionId, by: &MovedBy, now: Moment) -> Result<Target, Refusal> {
        let session = self.sessions.get(&id).ok_or(Refusal::NoSession)?;
        let token = match by {
            MovedBy::Token(token) => token,
            MovedBy::Director(seat) => return self.target(seat.backend(), session.listener),
        };
        let grant = self.grants.get(token).ok_or(Refusal::UnknownToken)?;
        if grant.use_on(session.listener).is_some() {
            return Err(Refusal::UsedToken);
        }
        if now >= grant.expires {
            return Err(Refusal::ExpiredToken);
        }
        self.target(&grant.backend, session.listener)
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

    /// How many sessions run.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// How many tokens wait to be redeemed.
    pub fn waiting_count(&self) -> usize {
        self.waiting
    }

    /// How many tokens are known: those that wait, those that name a session, and those used up whose
    /// time is not over.
    pub fn token_count(&self) -> usize {
        self.grants.len()
    }

    /// Sessions on that listener.
    pub fn sessions_on(&self, listener: ListenerId) -> usize {
        self.sessions.values().filter(|session| session.listener == listener).count()
    }
}

fn locate(session: &Session) -> Located {
    Located { id: session.id, listener: session.listener, client: session.client, place: session.place }
}
