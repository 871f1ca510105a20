//! Backends that players are to leave: who plays there, and where else they can go.

use std::collections::HashSet;
use std::sync::Arc;

use udp_director_wire::Token;

use super::{Ledger, Located, locate};
use crate::counters::Event;
use crate::inventory::{Backend, BackendId};
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
}

/// What lets a running session move to another backend.
#[derive(Clone, Debug)]
pub enum MovedBy {
    /// A token for that backend. It names the session from then on.
    Token(Token),
    /// The director itself, by a seat there. The session goes by the token that it had.
    Director(Arc<Seat>),
}

/// A player's sessions on one backend. They share his seat there, and move together.
#[derive(Clone, Debug)]
pub struct Player {
    /// The seat, and by it the backend.
    pub seat: Arc<Seat>,
    /// One for each listener that he uses.
    pub sessions: Vec<Located>,
}

/// Where a player can go whose backend leaves.
#[derive(Debug)]
pub enum Elsewhere {
    /// He can stay: the backend takes players, and still has the labels that he asked for.
    Here,
    /// To that seat.
    There(Seat),
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
            MovedBy::Director(_) => None,
        }
    }

    /// What is counted when it has.
    pub fn event(&self) -> Event {
        match self {
            MovedBy::Token(_) => Event::MigratedByReset,
            MovedBy::Director(_) => Event::MigratedByDirector,
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

    /// Whether the backend is gone from the inventory, or at another address by now.
    pub fn is_gone(&self, backend: &Backend) -> bool {
        self.current(backend).is_none()
    }

    /// Takes a seat for a player on another backend that is what he asked for and serves every
    /// listener that he uses.
    pub fn elsewhere(&self, player: &Player, random: u64) -> Elsewhere {
        let wanted = player.sessions.iter().find_map(|located| self.wanted(self.session(located.id)?));
        let Some((query, balancer)) = wanted else { return Elsewhere::Nowhere };
        let own = self.current(player.seat.backend());
        if own.is_some_and(|own| own.spec.accepting() && query.labels().matches(&own.spec.labels)) {
            return Elsewhere::Here;
        }
        let listeners: Vec<ListenerId> = player.sessions.iter().map(|located| located.listener).collect();
        self.choose(query, balancer, &listeners, random).map_or(Elsewhere::Nowhere, Elsewhere::There)
    }

    /// Gives a token that waits for a backend which takes no players any more another backend that is
    /// what was asked for and serves the listener, if there is one.
    pub fn reseat_waiting(&mut self, token: &Token, listener: ListenerId, random: u64) {
        let Some(grant) = self.grants.get(token) else { return };
        if !grant.uses.is_empty() || self.takes_players(&grant.backend) {
            return;
        }
        let Some(wanted) = grant.wanted.clone() else { return };
        let Some(seat) = self.choose(&wanted.query, &wanted.balancer, &[listener], random) else { return };
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

    fn choose(
        &self,
        query: &Query,
        balancer: &Balancer,
        listeners: &[ListenerId],
        random: u64,
    ) -> Option<Seat> {
        let listeners: Vec<_> = listeners.iter().filter_map(|id| self.settings.listener(*id)).collect();
        let selection = Selection {
            inventory: &self.inventory,
            query,
            balancer,
            serves: Serves::All(&listeners),
            avoid: &[],
            draw: Draw::of(random),
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
    }
}
