//! A worker's part in the life of sessions: open, migrate, resume, end, and the slots that they leave.
//!
//! The ledger decides, under its lock; what is done here puts its decision into the halves, or tells
//! the worker that has them.

use std::sync::{Arc, MutexGuard};

use super::clients::{ClientHalf, ClientKey};
use super::deadlines::Timer;
use super::message::{Effect, Message, Redirect, Reply, Retire};
use super::upstreams::{Phase, UpstreamHalf, UpstreamKey};
use super::{Arrival, Context, Forwarder, OpenUpstream, Return, SLOT_REST};
use crate::addr::BackendAddr;
use crate::counters::Event;
use crate::ledger::{Ledger, MovedBy, Moving, OpenedBy, Opening, Resumed, Resuming};
use crate::refusal::Refusal;
use crate::seat::Seat;
use crate::session::{Generation, Place, SessionId, Upstream, WorkerId};
use crate::settings::ListenerId;
use crate::time::Moment;

/// A [`Context`] with the ledger locked: several things are one step.
pub(super) struct Locked<'s, 'o> {
    pub(super) ledger: MutexGuard<'s, Ledger>,
    pub(super) now: Moment,
    pub(super) open: &'s mut OpenUpstream<'o>,
}

/// Where a session is to go.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) session: SessionId,
    pub(super) by: MovedBy,
    pub(super) addr: BackendAddr,
}

impl Move {
    fn moving(&self, upstream: Option<Upstream>) -> Moving<'_> {
        Moving { session: self.session, by: &self.by, addr: self.addr, upstream }
    }
}

impl<'a> Context<'a> {
    pub(super) fn lock(&mut self) -> Locked<'_, 'a> {
        Locked { ledger: self.ledger.lock(), now: self.now, open: &mut *self.open }
    }
}

/// Open.
impl Forwarder {
    /// Begins a session: takes an upstream slot, enters the session, and puts both halves in place.
    pub(super) fn open(
        &mut self,
        arrival: &Arrival,
        addr: BackendAddr,
        by: OpenedBy,
        locked: &mut Locked<'_, '_>,
    ) -> Result<ClientKey, Refusal> {
        let upstream = self.acquire(addr, locked.open)?;
        let key = ClientKey::new(arrival.listener, arrival.client);
        let opened = locked.ledger.open(
            Opening {
                listener: arrival.listener,
                client: arrival.client,
                local: arrival.local,
                place: Place::Worker(self.worker),
                addr,
                upstream: Some(upstream.clone()),
                by,
            },
            locked.now,
        );
        let slot = UpstreamKey::new(upstream.index, addr);
        let half = ClientHalf {
            session: opened.id,
            generation: opened.generation,
            local: arrival.local,
            backend: addr,
            handle: upstream.socket.handle(),
            upstream,
            activity: Arc::clone(&opened.activity),
            announce: self.announces(arrival.listener),
            parked: false,
            lingers: None,
            called_back: None,
            idle_at: locked.now,
        };
        self.clients.insert(key, half);
        let half = UpstreamHalf {
            session: opened.id,
            generation: opened.generation,
            to: arrival.into(),
            activity: opened.activity,
            phase: Phase::Live,
            due_at: Moment::default(),
        };
        self.upstreams.insert(slot, half);
        self.watch_idle(key, locked.now + self.settings.session_timeout);
        Ok(key)
    }

    fn acquire(&mut self, addr: BackendAddr, open: &mut OpenUpstream<'_>) -> Result<Upstream, Refusal> {
        let (index, socket) = self.pool.acquire(addr, open).ok_or(Refusal::NoUpstream)?;
        Ok(Upstream { worker: self.worker, index, socket })
    }

    fn announces(&self, listener: ListenerId) -> bool {
        self.settings.listener(listener).is_some_and(|listener| listener.proxy_protocol)
    }
}

/// Migrate.
impl Forwarder {
    /// Migrates a session for the control side, wherever its client is by now.
    pub(super) fn reset(&mut self, session: SessionId, by: MovedBy, reply: Reply, cx: &mut Context<'_>) {
        let mut locked = cx.lock();
        let Some(at) = locked.ledger.located(session) else { return reply.send(Err(Refusal::NoSession)) };
        match at.place {
            Place::Worker(worker) if worker != self.worker => {
                self.tell(worker, Message::Migrate { session, by, reply });
            }
            _ => {
                reply.send(self.reset_here(ClientKey::new(at.listener, at.client), session, by, &mut locked));
            }
        }
    }

    fn reset_here(
        &mut self,
        key: ClientKey,
        session: SessionId,
        by: MovedBy,
        locked: &mut Locked<'_, '_>,
    ) -> Result<(), Refusal> {
        let target = locked.ledger.admit_migration(session, &by, locked.now)?;
        let (event, token) = (by.event(), by.token());
        let outcome = self.migrate(key, &Move { session, by, addr: target.addr }, locked);
        if let (Err(_), Some(token)) = (&outcome, token) {
            locked.ledger.relinquish(&token, locked.now);
        }
        outcome?;
        self.counters.happened(event);
        Ok(())
    }

    /// Make before break: the new slot is taken before the old one is let go.
    pub(super) fn migrate(
        &mut self,
        key: ClientKey,
        to: &Move,
        locked: &mut Locked<'_, '_>,
    ) -> Result<(), Refusal> {
        let Some(half) = self.clients.get_mut(&key).filter(|half| half.session == to.session) else {
            return Err(Refusal::NoSession);
        };
        if half.backend == to.addr && !half.parked {
            let migrated = locked.ledger.migrate(to.moving(None), locked.now);
            self.renew(key, migrated.generation);
            return Ok(());
        }
        // Who has the address of a backend that is gone is nobody to be heard.
        let grace = (!half.parked).then(|| locked.now + self.settings.migration_grace);
        let upstream = match self.return_to(to) {
            Some(upstream) => upstream,
            None => self.acquire(to.addr, locked.open)?,
        };
        let migrated = locked.ledger.migrate(to.moving(Some(upstream.clone())), locked.now);
        self.switch(key, to.addr, upstream, migrated.generation);
        self.retire(to.session, migrated.left, grace, locked.now);
        Ok(())
    }

    /// The slot that the session has left on that backend, while it is in grace or at rest: whoever
    /// comes back gets it back, so that going to and fro takes no more slots than there are backends,
    /// and the backend knows the player again.
    fn return_to(&mut self, to: &Move) -> Option<Upstream> {
        let index = self.left.remove(&(to.session, to.addr))?;
        let socket = self.pool.socket(index)?;
        Some(Upstream { worker: self.worker, index, socket })
    }

    /// The session stays where it is and goes by another token: only its generation is new.
    fn renew(&mut self, key: ClientKey, generation: Generation) {
        let Some(half) = self.clients.get_mut(&key) else { return };
        half.generation = generation;
        let redirect = half.redirect(&key);
        self.redirect(redirect);
    }

    /// Points both halves to the new backend.
    fn switch(&mut self, key: ClientKey, addr: BackendAddr, upstream: Upstream, generation: Generation) {
        let announce = self.announces(key.listener());
        let slot = UpstreamKey::new(upstream.index, addr);
        let Some(half) = self.clients.get_mut(&key) else { return };
        half.generation = generation;
        half.backend = addr;
        half.handle = upstream.socket.handle();
        half.announce = announce;
        half.parked = false;
        half.upstream = upstream;
        let to = Return { listener: key.listener(), to: key.client(), from: half.local };
        let (session, activity) = (half.session, Arc::clone(&half.activity));
        let due_at = Moment::default();
        let half = UpstreamHalf { session, generation, to, activity, phase: Phase::Live, due_at };
        self.upstreams.insert(slot, half);
    }
}

/// Resume.
impl Forwarder {
    /// Moves a session here from another client address, and maybe another worker. The old address
    /// lingers for a moment: datagrams that left it earlier are still the session's.
    pub(super) fn resume(
        &mut self,
        arrival: &Arrival,
        id: SessionId,
        own: Option<SessionId>,
        locked: &mut Locked<'_, '_>,
    ) -> Result<(), Refusal> {
        let key = ClientKey::new(arrival.listener, arrival.client);
        let (client, local) = (arrival.client, arrival.local);
        let resuming = Resuming { session: id, client, local, worker: self.worker };
        let resumed = locked.ledger.resume(&resuming, locked.now)?;
        if let Some(own) = own {
            self.end_session(key, own, Event::EndedReplaced, locked);
        }
        self.leave(arrival.listener, id, &resumed, locked.now);
        resumed.activity.to_backend().touch(locked.now);
        self.carry_on(arrival, id, resumed, locked.now);
        Ok(())
    }

    /// Puts the client half of a session here that another worker, or another half, had.
    pub(super) fn carry_on(&mut self, arrival: &Arrival, id: SessionId, resumed: Resumed, now: Moment) {
        let key = ClientKey::new(arrival.listener, arrival.client);
        let half = ClientHalf {
            session: id,
            generation: resumed.generation,
            local: arrival.local,
            backend: resumed.backend_addr,
            handle: resumed.upstream.socket.handle(),
            upstream: resumed.upstream,
            activity: resumed.activity,
            announce: resumed.is_new_to_backend && self.announces(arrival.listener),
            parked: resumed.is_parked,
            lingers: None,
            called_back: None,
            idle_at: now,
        };
        let redirect = half.redirect(&key);
        self.redirect(redirect);
        self.clients.insert(key, half);
        self.watch_idle(key, now + self.settings.session_timeout);
    }

    pub(super) fn leave(&mut self, listener: ListenerId, session: SessionId, resumed: &Resumed, now: Moment) {
        let (client, generation) = (resumed.left, resumed.generation);
        match resumed.left_place {
            Place::Worker(worker) if worker != self.worker => {
                self.tell(worker, Message::Linger { listener, client, session, generation });
            }
            _ => self.linger(ClientKey::new(listener, client), session, generation, now),
        }
    }

    pub(super) fn linger(&mut self, key: ClientKey, session: SessionId, generation: Generation, now: Moment) {
        let left = |half: &&mut ClientHalf| half.session == session && half.generation < generation;
        if let Some(half) = self.clients.get_mut(&key).filter(left) {
            half.lingers = Some(now);
            self.linger_until(key, now);
        }
    }

    /// A control packet has come from an address that its session has left: the half there lingers for
    /// the whole grace from now on, and data from there after the first grace will mean that the client
    /// is back.
    pub(super) fn linger_on(&mut self, key: ClientKey, now: Moment) {
        if let Some(half) = self.clients.get_mut(&key) {
            half.called_back = half.called_back.or(half.lingers);
        }
        self.linger_until(key, now);
    }

    fn linger_until(&mut self, key: ClientKey, now: Moment) {
        if let Some(half) = self.clients.get_mut(&key).filter(|half| half.lingers.is_some()) {
            let (until, session) = (now + self.settings.migration_grace, half.session);
            half.lingers = Some(until);
            self.schedule(until, Timer::Linger(key, session));
        }
    }

    /// The client now sends to another of the director's addresses: replies leave from there.
    pub(super) fn meet_at(&mut self, key: ClientKey, local: std::net::IpAddr) {
        let Some(half) = self.clients.get_mut(&key).filter(|half| half.local != local) else { return };
        half.local = local;
        let redirect = half.redirect(&key);
        self.redirect(redirect);
    }

    fn redirect(&mut self, redirect: Redirect) {
        if redirect.upstream.worker == self.worker {
            self.redirect_here(&redirect);
        } else {
            self.tell(redirect.upstream.worker, Message::Redirect(redirect));
        }
    }

    pub(super) fn redirect_here(&mut self, redirect: &Redirect) {
        let key = UpstreamKey::new(redirect.upstream.index, redirect.backend);
        if let Some(half) = self.upstreams.get_mut(&key)
            && half.session == redirect.session
            && half.generation <= redirect.generation
        {
            half.generation = redirect.generation;
            half.to = redirect.to;
        }
    }
}

/// Park.
impl Forwarder {
    /// Parks a session, wherever its client is by now; unless it has moved to another backend since.
    pub(super) fn park(&mut self, session: SessionId, seat: Arc<Seat>, cx: &mut Context<'_>) {
        let mut locked = cx.lock();
        let Some(at) = locked.ledger.located(session).filter(|_| locked.ledger.is_on(session, &seat)) else {
            return;
        };
        match at.place {
            Place::Worker(worker) if worker != self.worker => {
                self.tell(worker, Message::Park { session, seat });
            }
            _ => self.park_here(ClientKey::new(at.listener, at.client), session, &mut locked),
        }
    }

    /// The slot rests, since whoever has the address now is nobody to be heard.
    pub(super) fn park_here(&mut self, key: ClientKey, session: SessionId, locked: &mut Locked<'_, '_>) {
        let Some(half) = self.clients.get_mut(&key).filter(|half| half.session == session && !half.parked)
        else {
            return;
        };
        half.parked = true;
        let left = (half.upstream.clone(), half.backend);
        locked.ledger.park(session);
        self.retire(session, Some(left), None, locked.now);
    }
}

/// End.
impl Forwarder {
    /// Ends a session whose backend is gone, wherever its client is by now; unless it has moved to
    /// another backend since.
    pub(super) fn close(&mut self, session: SessionId, seat: Arc<Seat>, cx: &mut Context<'_>) {
        let mut locked = cx.lock();
        let Some(at) = locked.ledger.located(session).filter(|_| locked.ledger.is_on(session, &seat)) else {
            return;
        };
        match at.place {
            Place::Worker(worker) if worker != self.worker => {
                self.tell(worker, Message::Close { session, seat });
            }
            _ => {
                let key = ClientKey::new(at.listener, at.client);
                self.end_session(key, session, Event::EndedBackendGone, &mut locked);
            }
        }
    }

    /// Ends a session whose client half is here.
    pub(super) fn end_session(
        &mut self,
        key: ClientKey,
        id: SessionId,
        why: Event,
        locked: &mut Locked<'_, '_>,
    ) {
        if !self.clients.remove_if(&key, |half| half.session == id) {
            return;
        }
        let Some(session) = locked.ledger.end(id, locked.now) else { return };
        self.counters.happened(why);
        let left = session.upstream.map(|upstream| (upstream, session.backend_addr));
        self.retire(id, left, None, locked.now);
    }

    /// Lets the slot go that a session has left: in grace until `grace`, or to rest at once.
    fn retire(
        &mut self,
        session: SessionId,
        left: Option<(Upstream, BackendAddr)>,
        grace: Option<Moment>,
        now: Moment,
    ) {
        let Some((upstream, backend)) = left else { return };
        let message = Retire { index: upstream.index, backend, session, grace };
        if upstream.worker == self.worker {
            self.retire_here(&message, now);
        } else {
            self.tell(upstream.worker, Message::Retire(message));
        }
    }

    pub(super) fn retire_here(&mut self, retire: &Retire, now: Moment) {
        let key = UpstreamKey::new(retire.index, retire.backend);
        let Some(half) = self.upstreams.get_mut(&key).filter(|half| half.session == retire.session) else {
            return;
        };
        let (phase, until) = match retire.grace {
            Some(until) => {
                self.left.insert((retire.session, retire.backend), retire.index);
                (Phase::Grace(until), until)
            }
            None => (Phase::Rest(now + SLOT_REST), now + SLOT_REST),
        };
        half.phase = phase;
        self.watch_slot(key, until);
    }

    fn tell(&mut self, worker: WorkerId, message: Message) {
        self.effects.push_back(Effect::Tell { worker, message });
    }
}

impl ClientHalf {
    /// What the slot is to be told of where the client is.
    fn redirect(&self, key: &ClientKey) -> Redirect {
        Redirect {
            upstream: self.upstream.clone(),
            backend: self.backend,
            session: self.session,
            generation: self.generation,
            to: Return { listener: key.listener(), to: key.client(), from: self.local },
        }
    }
}
