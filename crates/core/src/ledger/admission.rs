//! Admission: what a token, a client or the control side may do, before it is done under the same lock.

use std::net::IpAddr;
use std::sync::Arc;

use udp_director_wire::Token;

use super::Ledger;
use super::leaving::{Handover, MovedBy};
use super::restoring::is_stand_in;
use super::terms::{Admission, Located, Presented, Target};
use super::tokens::{Grant, Use};
use crate::addr::{BackendAddr, ClientAddr};
use crate::inventory::Backend;
use crate::refusal::Refusal;
use crate::seat::Seat;
use crate::session::{Session, SessionId};
use crate::settings::ListenerId;
use crate::time::Moment;

impl Ledger {
    /// Says what a presented token means. Changes nothing, except that a token which has given its seat
    /// back, and now begins or moves a session, has one again; [`Ledger::relinquish`] undoes that.
    ///
    /// # Errors
    /// Says why the token means nothing here.
    pub fn admit(&mut self, presented: &Presented, now: Moment) -> Result<Admission, Refusal> {
        self.recognise(&presented.token);
        let admission = self.judge(presented, now)?;
        if matches!(admission, Admission::Bind(_) | Admission::Migrate(..)) {
            self.reseat(&presented.token)?;
        }
        Ok(admission)
    }

    fn judge(&self, presented: &Presented, now: Moment) -> Result<Admission, Refusal> {
        if is_stand_in(&presented.token) {
            return Err(Refusal::UnknownToken);
        }
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
    pub fn straggles(
        &mut self,
        token: &Token,
        listener: ListenerId,
        client: ClientAddr,
        now: Moment,
    ) -> bool {
        self.recognise(token);
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
    /// that are not bound are no exception, and one of which nobody knows who asked moves nothing.
    fn may_move(&self, grant: &Grant, own: SessionId, client: ClientAddr) -> bool {
        let named = self.session(own).and_then(|session| self.grants.get(session.token.as_ref()?));
        let Some(asked_by) = grant.asked_by else { return false };
        asked_by == client.ip() || named.is_some_and(|named| named.asked_by == Some(asked_by))
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
            None => self.admit_newcomer().map(|()| Admission::Bind(target)),
        }
    }

    fn target(&self, backend: &Backend, listener: ListenerId) -> Result<Target, Refusal> {
        let listener = self.settings.listener(listener).ok_or(Refusal::ListenerDraining)?;
        let backend = self.current(backend).ok_or(Refusal::BackendGone)?;
        let addr = backend.addr_for(listener).ok_or(Refusal::NoPort)?;
        Ok(Target { backend: Arc::clone(backend), addr })
    }

    /// Picks a backend of the default endpoint for a client without a token, with a seat on it. Where
    /// the strategy goes by a key, the client's IP is the key.
    ///
    /// # Errors
    /// No endpoint, nothing that matches and has room, no port for the listener, the bound of sessions,
    /// or a drain.
    pub fn admit_default(
        &self,
        listener: ListenerId,
        client: IpAddr,
        random: u64,
    ) -> Result<(Seat, BackendAddr), Refusal> {
        self.admit_newcomer()?;
        let serving = self.settings.listener(listener).ok_or(Refusal::ListenerDraining)?;
        let endpoint = self.default_endpoint.as_ref().ok_or(Refusal::NoDefaultBackend)?;
        let seat = endpoint.choose(serving, client, random)?;
        let target = self.target(seat.backend(), listener)?;
        Ok((seat, target.addr))
    }

    /// Says once more, for a client that had to be waited for, whether its session may begin on the
    /// seat that [`Ledger::admit_default`] gave, and where.
    ///
    /// # Errors
    /// The backend or the listener is gone by now, the bound of sessions is reached, or the director
    /// drains.
    pub fn admit_seat(&self, seat: &Seat, listener: ListenerId) -> Result<BackendAddr, Refusal> {
        self.admit_newcomer()?;
        let target = self.target(seat.backend(), listener)?;
        if target.backend.spec.accepting() { Ok(target.addr) } else { Err(Refusal::BackendWithheld) }
    }

    /// The running sessions that a token names, for a reset over the query port by `asked_by`.
    ///
    /// # Errors
    /// `session` names no running session, or `token` cannot be redeemed for its client.
    pub fn admit_reset(
        &mut self,
        session: &Token,
        token: &Token,
        asked_by: IpAddr,
        now: Moment,
    ) -> Result<Vec<Located>, Refusal> {
        [session, token].into_iter().for_each(|token| self.recognise(token));
        if is_stand_in(session) || is_stand_in(token) {
            return Err(Refusal::UnknownToken);
        }
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

    /// The IPs of the clients whose running sessions a token names.
    pub fn client_ips(&self, session: &Token) -> Vec<IpAddr> {
        self.named_by(session).iter().map(|located| located.client.ip()).collect()
    }

    /// A backend that takes nobody new takes nobody who moves either; but a parked session may go on
    /// where it was.
    fn admit_handover(&self, session: &Session, handover: &Handover) -> Result<Target, Refusal> {
        if !Arc::ptr_eq(&session.seat, &handover.from) {
            return Err(Refusal::NoSession);
        }
        let target = self.target(handover.to.backend(), session.listener)?;
        let stays = Arc::ptr_eq(&handover.from, &handover.to);
        if !stays && !target.backend.spec.accepting() {
            return Err(Refusal::BackendWithheld);
        }
        Ok(target)
    }

    /// Where a session is to go that the control side moves: by a reset over the query port, of which
    /// [`Ledger::admit_reset`] has checked who asks, or by its own decision.
    ///
    /// # Errors
    /// The token, the seat or the session is not (or no longer) good for it.
    pub fn admit_migration(&mut self, id: SessionId, by: &MovedBy, now: Moment) -> Result<Target, Refusal> {
        let session = self.sessions.get(&id).ok_or(Refusal::NoSession)?;
        let token = match by {
            MovedBy::Token(token) => token,
            MovedBy::Director(handover) | MovedBy::Operator(handover) => {
                return self.admit_handover(session, handover);
            }
        };
        let grant = self.grants.get(token).ok_or(Refusal::UnknownToken)?;
        if grant.use_on(session.listener).is_some() {
            return Err(Refusal::UsedToken);
        }
        if now >= grant.expires {
            return Err(Refusal::ExpiredToken);
        }
        let target = self.target(&grant.backend, session.listener)?;
        if grant.uses.is_empty() && !target.backend.spec.accepting() {
            return Err(Refusal::BackendGone);
        }
        self.reseat(token)?;
        Ok(target)
    }
}
