//! Tokens: from the moment on at which they are given out until nobody needs to know of them.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;
use udp_director_wire::Token;

use super::leaving::Wanted;
use super::memory::StickyKey;
use super::terms::{Issue, IssueError, Located};
use super::{Ledger, locate};
use crate::inventory::{Backend, BackendId};
use crate::refusal::Refusal;
use crate::seat::Seat;
use crate::session::SessionId;
use crate::settings::{Limits, Listener, ListenerId};
use crate::time::Moment;

/// How many expired tokens one call clears away at most, so that no caller holds the ledger long.
const EXPIRY_BUDGET: usize = 256;

/// A token that has been given out.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) backend: Arc<Backend>,
    /// Held while the token waits, then by its sessions. Given back with the last of them, and taken
    /// again where the token is redeemed on a further listener after that.
    pub(super) seat: Option<Arc<Seat>>,
    /// `None` where that is not known.
    pub(super) asked_by: Option<IpAddr>,
    pub(super) bound: bool,
    pub(super) wanted: Option<Arc<Wanted>>,
    /// The key that leads to its backend as long as it has a seat.
    pub(super) sticky_key: Option<StickyKey>,
    pub(super) expires: Moment,
    pub(super) uses: SmallVec<[(ListenerId, Use); 1]>,
    /// Where it can still be redeemed, and is counted in [`Ledger::awaited`].
    pub(super) awaited: SmallVec<[ListenerId; 4]>,
}

/// What a token has been redeemed for on one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It names this session.
    Names(SessionId),
    /// It named this session, which has ended or goes by another token now.
    Named(SessionId),
}

impl Grant {
    pub(super) fn use_on(&self, listener: ListenerId) -> Option<Use> {
        self.uses.iter().find(|(on, _)| *on == listener).map(|(_, what)| *what)
    }

    pub(super) fn names_any(&self) -> bool {
        self.uses.iter().any(|(_, what)| matches!(what, Use::Names(_)))
    }

    pub(super) fn admits(&self, ip: IpAddr) -> bool {
        !self.bound || self.asked_by == Some(ip)
    }
}

impl Ledger {
    /// Enters a token. Gives the moment from which on it cannot be redeemed.
    ///
    /// # Errors
    /// At the bound of tokens that wait, or that are known at all; where that very token is known; in a
    /// drain.
    pub fn issue(&mut self, issue: Issue, now: Moment) -> Result<Moment, IssueError> {
        self.make_room(now)?;
        if self.draining {
            return Err(IssueError::Draining);
        }
        if self.grants.contains_key(&issue.token) {
            return Err(IssueError::Taken);
        }
        let expires = now + self.settings.token_ttl;
        let awaited = self.listeners_of(issue.seat.backend());
        let grant = Grant {
            backend: Arc::clone(issue.seat.backend()),
            seat: Some(Arc::new(issue.seat)),
            asked_by: Some(issue.asked_by),
            bound: issue.bound,
            wanted: issue.wanted,
            sticky_key: issue.sticky_key,
            expires,
            uses: SmallVec::new(),
            awaited,
        };
        self.enter(issue.token, grant);
        Ok(expires)
    }

    /// Says whether one more token may be known.
    ///
    /// # Errors
    /// At either bound.
    pub(super) fn make_room(&mut self, now: Moment) -> Result<(), IssueError> {
        self.expire(now);
        let Limits { max_sessions, max_pending_tokens } = self.settings.limits;
        // Used up tokens are known until their time is over: they fill what sessions leave free.
        let known = max_pending_tokens.saturating_add(max_sessions);
        let full = self.waiting >= max_pending_tokens || self.grants.len() >= known;
        if full { Err(IssueError::Full) } else { Ok(()) }
    }

    /// Enters a token that is not known yet, and that nobody has redeemed.
    pub(super) fn enter(&mut self, token: Token, grant: Grant) {
        self.await_at(grant.asked_by, &grant.awaited);
        self.waiting += 1;
        self.expire_at(grant.expires, token);
        if let Some(key) = &grant.sticky_key {
            self.sticky.hold(key, &grant.backend.spec.id);
            let key = key.clone();
            self.note(|changes| changes.sticky_key(&key));
        }
        self.grants.insert(token, grant);
        self.note(|changes| changes.token(token));
    }

    pub(super) fn listeners_of(&self, backend: &Backend) -> SmallVec<[ListenerId; 4]> {
        let serves = |listener: &&Listener| backend.addr_for(listener).is_some();
        self.settings.listeners.iter().filter(serves).map(|listener| listener.id).collect()
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
    pub fn has_named(&mut self, token: &Token, session: SessionId) -> bool {
        self.recognise(token);
        self.grants.get(token).is_some_and(|grant| {
            grant
                .uses
                .iter()
                .any(|(_, what)| matches!(what, Use::Names(id) | Use::Named(id) if *id == session))
        })
    }

    /// Lets the token name the session from now on, and gives the seat that it holds.
    pub(super) fn redeem(&mut self, token: Token, listener: ListenerId, id: SessionId) -> Arc<Seat> {
        let grant = self.grants.get_mut(&token).expect("a token is admitted under the same lock");
        let seat = Arc::clone(grant.seat.as_ref().expect("a token that is admitted has a seat"));
        self.waiting -= usize::from(grant.uses.is_empty());
        grant.uses.push((listener, Use::Names(id)));
        let position = grant.awaited.iter().position(|awaited| *awaited == listener);
        let awaited = position.map(|position| grant.awaited.swap_remove(position));
        let asked_by = grant.asked_by;
        self.forget_awaited(asked_by, awaited);
        self.note(|changes| changes.token(token));
        seat
    }

    /// Looks at the token when its time is over.
    pub(super) fn expire_at(&mut self, expires: Moment, token: Token) {
        self.expiries.push(Reverse((expires, token)));
    }

    /// Takes a seat again for a token that has given its own back: its sessions have ended, but it can
    /// still be redeemed on other listeners.
    ///
    /// # Errors
    /// The backend is gone, or full by now.
    pub(super) fn reseat(&mut self, token: &Token) -> Result<(), Refusal> {
        let Some(grant) = self.grants.get(token).filter(|grant| grant.seat.is_none()) else { return Ok(()) };
        let backend = self.current(&grant.backend).ok_or(Refusal::BackendGone)?;
        let seat = Arc::new(Seat::take(backend).ok_or(Refusal::BackendFull)?);
        let Some(grant) = self.grants.get_mut(token) else { return Ok(()) };
        if let Some(key) = &grant.sticky_key {
            self.sticky.hold(key, &grant.backend.spec.id);
        }
        grant.seat = Some(seat);
        self.note(|changes| changes.token(*token));
        Ok(())
    }

    /// Nothing has come of what [`Ledger::admit`] or [`Ledger::admit_migration`] let through: a token
    /// that has a seat again only for that gives it back.
    pub fn relinquish(&mut self, token: &Token, now: Moment) {
        let is_idle = |grant: &Grant| !grant.uses.is_empty() && !grant.names_any();
        if self.grants.get(token).is_some_and(is_idle) {
            self.give_seat_back(token, now);
        }
    }

    /// The token no longer names the session. Its seat is given back with its last session; the
    /// token itself stays known until its time is over, so that it cannot be redeemed again.
    pub(super) fn supersede(&mut self, token: Token, id: SessionId, now: Moment) {
        let Some(grant) = self.grants.get_mut(&token) else { return };
        for (_, what) in &mut grant.uses {
            if *what == Use::Names(id) {
                *what = Use::Named(id);
            }
        }
        if grant.names_any() {
            return self.note(|changes| changes.token(token));
        }
        // Its place in `expiries` tells whether its time is over: those that are past it are
        // taken out there, and are kept here only while they name a session.
        let expires = grant.expires;
        let backend = grant.backend.spec.id.clone();
        self.expire_at(expires, token);
        self.give_seat_back(&token, now);
        self.left.remember(token, backend, now + self.settings.sticky_for);
    }

    fn give_seat_back(&mut self, token: &Token, now: Moment) {
        let Some(grant) = self.grants.get_mut(token) else { return };
        if grant.seat.take().is_some()
            && let Some(key) = &grant.sticky_key
        {
            self.sticky.release(key, now + self.settings.sticky_for);
            let key = key.clone();
            self.note(|changes| changes.sticky_key(&key));
        }
        self.note(|changes| changes.token(*token));
    }

    /// Where the key leads, if a token or session of it has a seat, or had one a while ago.
    pub fn remembered(&self, key: &StickyKey, now: Moment) -> Option<BackendId> {
        self.sticky.get(key, now).cloned()
    }

    /// The backend that a token leads to, or that its player left a while ago.
    pub fn whereabouts(&mut self, token: &Token, now: Moment) -> Option<BackendId> {
        self.recognise(token);
        let left = || self.left.get(token, now).cloned();
        // A token whose player has left may be known still, but not where it led at last.
        let grant = self.grants.get(token).filter(|grant| grant.seat.is_some());
        grant.map(|grant| grant.backend.spec.id.clone()).or_else(left)
    }

    /// Clears expired tokens away, at most a few hundred a call; says whether there may be more.
    pub fn expire(&mut self, now: Moment) -> bool {
        let more = self.sticky.expire(now, EXPIRY_BUDGET) | self.left.expire(now, EXPIRY_BUDGET);
        for _ in 0..EXPIRY_BUDGET {
            match self.expiries.peek() {
                Some(Reverse((expires, _))) if *expires <= now => {}
                _ => return more,
            }
            let Some(Reverse((_, token))) = self.expiries.pop() else { return more };
            self.forget_expired(&token, now);
        }
        true
    }

    fn forget_expired(&mut self, token: &Token, now: Moment) {
        let Some(grant) = self.grants.get_mut(token) else { return };
        let (asked_by, awaited) = (grant.asked_by, std::mem::take(&mut grant.awaited));
        if !grant.names_any() {
            self.waiting -= usize::from(grant.uses.is_empty());
            self.give_seat_back(token, now);
            self.grants.remove(token);
        }
        self.forget_awaited(asked_by, awaited);
    }

    pub(super) fn await_at(&mut self, asked_by: Option<IpAddr>, listeners: &[ListenerId]) {
        let Some(asked_by) = asked_by else { return };
        for &listener in listeners {
            *self.awaited.entry((asked_by, listener)).or_default() += 1;
        }
    }

    pub(super) fn forget_awaited(
        &mut self,
        asked_by: Option<IpAddr>,
        listeners: impl IntoIterator<Item = ListenerId>,
    ) {
        let Some(asked_by) = asked_by else { return };
        for listener in listeners {
            if let Entry::Occupied(mut count) = self.awaited.entry((asked_by, listener)) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    pub(super) fn named_by(&self, token: &Token) -> Vec<Located> {
        let uses = self.grants.get(token).map(|grant| &grant.uses[..]).unwrap_or_default();
        uses.iter()
            .filter_map(|(_, what)| match what {
                Use::Names(id) => self.session(*id).map(locate),
                Use::Named(_) => None,
            })
            .collect()
    }

    /// How many tokens wait to be redeemed.
    pub fn waiting_count(&self) -> usize {
        self.waiting
    }

    /// How many sticky keys lead somewhere: those that tokens or sessions have, and those remembered.
    pub fn sticky_key_count(&self) -> usize {
        self.sticky.len()
    }

    /// How many tokens are known: those that wait, those that name a session, and those used up whose
    /// time is not over.
    pub fn token_count(&self) -> usize {
        self.grants.len()
    }
}
