//! Backends that players are to leave: who plays there, and where else they can go.

use std::collections::HashSet;
use std::sync::Arc;

use udp_director_wire::Token;

use super::memory::StickyKey;
use super::{Ledger, Located, locate};
use crate::counters::Event;
use crate::inventory::{Backend, BackendId};
use crate::refusal::Refusal;
use crate::seat::Seat;
use crate::select::{Balancer, Draw, Query, Selection, Serves};
use crate::session::{Session, SessionId};
use crate::settings::ListenerId;

/// What a player asked for, and what he is sent elsewhere by when his backend leaves.
#[derive(Debug)]
pub struct Wanted {
    /// What a backend must match.
    pub query: Query,
    /// How one is picked.
    pub balancer: Arc<Balancer>,
    /// The query as it can be read again; empty where nobody is to.
    pub text: Arc<str>,
}

/// What lets a running session move to another backend.
#[derive(Clone, Debug)]
pub enum MovedBy {
    /// A token for that backend. It names the session from then on.
    Token(Token),
    /// The director itself. The session goes by the token that it had.
    Director(Handover),
    /// An operator. The session goes by the token that it had.
    Operator(Handover),
}

/// From one seat to another. It was decided on a while ago: a session that has left the first seat
/// meanwhile, since its client wanted so, stays where it is.
#[derive(Clone, Debug)]
pub struct Handover {
    /// The seat that the session is to leave.
    pub from: Arc<Seat>,
    /// The seat that it gets.
    pub to: Arc<Seat>,
}

/// A player's sessions on one backend. They share his seat there, and move together.
#[derive(Clone, Debug)]
pub struct Player {
    /// The seat, and by it the backend.
    pub seat: Arc<Seat>,
    /// One for each listener that he uses.
    pub sessions: Vec<Located>,
}

/// Where a player is to go.
#[derive(Clone, Copy, Debug)]
pub enum Destination<'a> {
    /// To that backend.
    Backend(&'a BackendId),
    /// To another backend that matches.
    Matching(&'a Query, &'a Balancer),
    /// To another backend that is what he asked for.
    Wanted,
}

/// Where a player can go whose backend leaves.
#[derive(Debug)]
pub enum Elsewhere {
    /// He can stay: the backend takes players, and still has the labels that he asked for.
    Here,
    /// To that seat. It is his own where his backend is back and he was parked.
    There(Arc<Seat>),
    /// Nothing else is what he asked for, or nobody knows what that was.
    Nowhere,
}

impl From<Token> for MovedBy {
    fn from(token: Token) -> MovedBy {
        MovedBy::Token(token)
    }
}

impl MovedBy {
    /// The token, if it is one.
    pub fn token(&self) -> Option<Token> {
        match self {
            MovedBy::Token(token) => Some(*token),
            MovedBy::Director(_) | MovedBy::Operator(_) => None,
        }
    }

    /// What is counted when it has.
    pub fn event(&self) -> Event {
        match self {
            MovedBy::Token(_) => Event::MigratedByReset,
            MovedBy::Director(_) => Event::MigratedByDirector,
            MovedBy::Operator(_) => Event::MigratedByOperator,
        }
    }
}

impl Ledger {
    /// One session of each player on that backend, in no order.
    pub fn players_on(&self, backend: &BackendId) -> Vec<SessionId> {
        let mut seats = HashSet::new();
        let sessions = self.sessions_of(backend).filter_map(|id| self.session(id));
        sessions
            .filter(|session| seats.insert(Arc::as_ptr(&session.seat)))
            .map(|session| session.id)
            .collect()
    }

    /// The player whose session that is.
    pub fn player_of(&self, id: SessionId) -> Option<Player> {
        let session = self.session(id)?;
        let seat = &session.seat;
        let mut sessions = session.token.map_or(Vec::new(), |token| self.named_by(&token));
        sessions.retain(|located| self.is_on(located.id, seat));
        if sessions.is_empty() {
            sessions.push(locate(session));
        }
        Some(Player { seat: Arc::clone(seat), sessions })
    }

    /// The player on that seat, if any session of his runs there. Goes through the sessions of the
    /// backend.
    pub fn player_at(&self, seat: &Arc<Seat>) -> Option<Player> {
        let mut sessions = self.sessions_of(&seat.backend().spec.id);
        self.player_of(sessions.find(|id| self.is_on(*id, seat))?)
    }

    /// Whether the backend is gone from the inventory, or at another address by now.
    pub fn is_gone(&self, backend: &Backend) -> bool {
        self.current(backend).is_none()
    }

    /// Takes a seat for a player whose backend leaves, on another that is what he asked for and serves
    /// every listener that he uses.
    pub fn elsewhere(&self, player: &Player, random: u64) -> Elsewhere {
        if let Some(seat) = self.seat_of_others(player) {
            return Elsewhere::There(seat);
        }
        let Some((query, balancer)) = self.wanted_by(player) else { return Elsewhere::Nowhere };
        let own = self.current(player.seat.backend());
        let stays = own.is_some_and(|own| own.spec.accepting() && query.labels().matches(&own.spec.labels));
        match stays {
            true if self.is_parked(player) => Elsewhere::There(Arc::clone(&player.seat)),
            true => Elsewhere::Here,
            false => {
                let seat = self.choose_for(player, query, balancer, &[], random);
                seat.map_or(Elsewhere::Nowhere, |seat| Elsewhere::There(Arc::new(seat)))
            }
        }
    }

    /// Takes a seat for a player who is to go there.
    ///
    /// # Errors
    /// He is there already; that backend is gone, takes no new players, is full, or does not serve each
    /// listener that he uses; or nothing else matches that has room.
    pub fn seat_at(&self, player: &Player, to: Destination<'_>, random: u64) -> Result<Seat, Refusal> {
        let own = &player.seat.backend().spec.id;
        let listeners = listeners_of(player);
        let (query, balancer) = match to {
            Destination::Backend(id) if id == own => return Err(Refusal::AlreadyThere),
            Destination::Backend(id) => return self.seat_on_backend(id, &listeners),
            Destination::Matching(query, balancer) => (query, balancer),
            Destination::Wanted => self.wanted_by(player).ok_or(Refusal::NoMatch)?,
        };
        let avoid = std::slice::from_ref(own);
        self.choose_for(player, query, balancer, avoid, random).ok_or(Refusal::NoMatch)
    }

    fn seat_on_backend(&self, id: &BackendId, listeners: &[ListenerId]) -> Result<Seat, Refusal> {
        let backend = self.inventory.by_id(id).ok_or(Refusal::BackendGone)?;
        if !backend.spec.accepting() {
            return Err(Refusal::BackendWithheld);
        }
        let mut listeners = listeners.iter().filter_map(|id| self.settings.listener(*id));
        if !listeners.all(|listener| backend.addr_for(listener).is_some()) {
            return Err(Refusal::NoPort);
        }
        Seat::take(backend).ok_or(Refusal::BackendFull)
    }

    /// Nothing is sent to the session's backend any more, and nothing is taken from there, until it
    /// moves. On UDP alone: a stream to a host that is another by now ends by itself.
    pub fn park(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.parked = session.upstream.is_some();
        }
        self.note(|changes| changes.session(id));
    }

    fn is_parked(&self, player: &Player) -> bool {
        let mut sessions = player.sessions.iter().filter_map(|located| self.session(located.id));
        sessions.any(|session| session.parked)
    }

    /// Whether the backend that the player is on still has the labels that he asked for; also where
    /// nobody knows what that was.
    pub fn still_wants(&self, player: &Player) -> bool {
        let own = self.current(player.seat.backend());
        match (self.wanted_by(player), own) {
            (Some((query, _)), Some(own)) => query.labels().matches(&own.spec.labels),
            _ => true,
        }
    }

    /// The seat of those of a player's sessions that have moved already, where these could not follow.
    fn seat_of_others(&self, player: &Player) -> Option<Arc<Seat>> {
        let token = player.sessions.iter().find_map(|at| self.session(at.id)?.token)?;
        let seat = self.grants.get(&token)?.seat.as_ref()?;
        let is_elsewhere = !Arc::ptr_eq(seat, &player.seat);
        let mut listeners = player.sessions.iter().filter_map(|at| self.settings.listener(at.listener));
        let backend = self.current(seat.backend()).filter(|backend| backend.spec.accepting())?;
        let serves = listeners.all(|listener| backend.addr_for(listener).is_some());
        (is_elsewhere && serves).then(|| Arc::clone(seat))
    }

    /// Takes a seat for a player on one that matches. With a sticky key it goes by that: a party stays
    /// together.
    fn choose_for(
        &self,
        player: &Player,
        query: &Query,
        balancer: &Balancer,
        avoid: &[BackendId],
        random: u64,
    ) -> Option<Seat> {
        let token = player.sessions.iter().find_map(|at| self.session(at.id)?.token);
        let key = token.and_then(|token| self.grants.get(&token)?.sticky_key.as_ref());
        let remembered = key.and_then(|key| self.sticky.held(key));
        let draw = Draw { sticky_key: key.map(StickyKey::key), remembered, random };
        self.choose_by(query, balancer, &listeners_of(player), avoid, draw)
    }

    fn wanted_by(&self, player: &Player) -> Option<(&Query, &Balancer)> {
        player.sessions.iter().find_map(|located| self.wanted(self.session(located.id)?))
    }

    /// Gives a token that waits for a backend which takes no players any more another backend that is
    /// what was asked for and serves the listener, if there is one.
    pub fn reseat_waiting(&mut self, token: &Token, listener: ListenerId, random: u64) {
        self.recognise(token);
        let Some(grant) = self.grants.get(token) else { return };
        if !grant.uses.is_empty() || self.takes_players(&grant.backend) {
            return;
        }
        let Some(wanted) = grant.wanted.clone() else { return };
        let Some(seat) = self.choose_by(&wanted.query, &wanted.balancer, &[listener], &[], Draw::of(random))
        else {
            return;
        };
        let awaited = self.listeners_of(seat.backend());
        let Some(grant) = self.grants.get_mut(token) else { return };
        if let Some(key) = &grant.sticky_key {
            self.sticky.lead(key, &seat.backend().spec.id);
        }
        grant.backend = Arc::clone(seat.backend());
        grant.seat = Some(Arc::new(seat));
        let (asked_by, no_longer) = (grant.asked_by, std::mem::replace(&mut grant.awaited, awaited.clone()));
        self.await_at(asked_by, &awaited);
        self.forget_awaited(asked_by, no_longer);
        self.note(|changes| changes.token(*token));
    }

    /// Whether the backend is still in the inventory, and takes new players.
    pub(super) fn takes_players(&self, backend: &Backend) -> bool {
        self.current(backend).is_some_and(|now| now.spec.accepting())
    }

    fn wanted(&self, session: &Session) -> Option<(&Query, &Balancer)> {
        match &session.token {
            Some(token) => {
                let wanted = self.grants.get(token)?.wanted.as_deref()?;
                Some((&wanted.query, &wanted.balancer))
            }
            None => {
                let endpoint = self.default_endpoint.as_deref()?;
                Some((endpoint.query(), endpoint.balancer()))
            }
        }
    }

    fn choose_by(
        &self,
        query: &Query,
        balancer: &Balancer,
        listeners: &[ListenerId],
        avoid: &[BackendId],
        draw: Draw<'_>,
    ) -> Option<Seat> {
        let listeners: Vec<_> = listeners.iter().filter_map(|id| self.settings.listener(*id)).collect();
        let selection = Selection {
            inventory: &self.inventory,
            query,
            balancer,
            serves: Serves::All(&listeners),
            avoid,
            draw,
        };
        selection.choose()
    }

    /// A token's sessions move with the session that it names.
    pub(super) fn hand_over(&mut self, id: SessionId, seat: &Arc<Seat>) {
        let Some(token) = self.sessions.get(&id).and_then(|session| session.token) else { return };
        if let Some(grant) = self.grants.get_mut(&token) {
            grant.backend = Arc::clone(seat.backend());
            grant.seat = Some(Arc::clone(seat));
            if let Some(key) = &grant.sticky_key {
                self.sticky.lead(key, &seat.backend().spec.id);
            }
        }
        self.note(|changes| changes.token(token));
    }
}

fn listeners_of(player: &Player) -> Vec<ListenerId> {
    player.sessions.iter().map(|located| located.listener).collect()
}
