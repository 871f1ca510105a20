//! Forwarding: where each datagram goes. One [`Forwarder`] per worker, owned by it.
//!
//! A session has two halves: the client half (found by listener and client address) says where the
//! client's datagrams go, the upstream half (found by upstream socket and source) says where the
//! backend's replies go. Both are caches of the ledger's decisions and usually live in one worker;
//! after a resume the client's datagrams may arrive at another worker than the one that reads the
//! upstream socket, and then each worker holds one half.
//!
//! ```text
//! client --> [listener, client] --> client half --> upstream socket --> backend
//! client <-- listener           <-- upstream half <-- [upstream socket, source] <-- backend
//! ```

mod clients;
mod hold;
mod message;
mod pool;
mod upstreams;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use udp_director_wire::{Ack, AckRequest, AckStatus, ControlPacket, Token, parse_bare_token, proxy_header};

use crate::addr::{BackendAddr, ClientAddr};
use crate::counters::{Counters, Dropped, Event};
use crate::ledger::{Admission, Ledger, Migrated, OpenedBy, Opening, Presented, Target};
use crate::refusal::Refusal;
use crate::session::{Generation, Place, SessionId, Upstream, UpstreamIndex, UpstreamSocket, WorkerId};
use crate::settings::{ListenerId, Settings};
use crate::shared::SharedLedger;
use crate::time::Moment;

use clients::{ClientHalf, ClientKey, Clients};
use hold::Hold;
pub use message::{Effect, Message, Reply};
use message::{Redirect, Retire};
use pool::Pool;
use upstreams::{Phase, UpstreamHalf, UpstreamKey, Upstreams};

/// How long an upstream slot rests after its session has left it and its backend has fallen silent,
/// before another player gets it: a reply under way must not reach the wrong one.
pub const SLOT_REST: Duration = Duration::from_secs(5);

/// How many deadlines one call of [`Forwarder::handle_timeout`] acts on at most.
const TIMER_BUDGET: usize = 512;

/// How many messages to other workers may wait before control packets are refused.
const EFFECT_BOUND: usize = 1024;

/// Where a datagram from a client arrived, and from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The listener.
    pub listener: ListenerId,
    /// The client.
    pub client: ClientAddr,
    /// The director's own address that it was sent to.
    pub local: IpAddr,
}

/// What becomes of a datagram from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it on, unchanged, by the socket with that handle.
    Forward {
        /// See [`UpstreamSocket::handle`].
        handle: i32,
        /// The backend.
        to: BackendAddr,
    },
    /// It was meant for the director, or is held; there may be effects.
    Consumed,
    /// Dropped and count it.
    Drop(Dropped),
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Return {
    /// The listener to send from.
    pub listener: ListenerId,
    /// The client.
    pub to: ClientAddr,
    /// The address to send from: the one that the client sent to.
    pub from: IpAddr,
}

/// Opens an upstream socket for IPv6 (`true`) or IPv4 to be read at that index.
pub type OpenUpstream<'a> = dyn FnMut(bool, UpstreamIndex) -> Option<Arc<dyn UpstreamSocket>> + 'a;

/// What a forwarder needs from outside to act.
pub struct Context<'a> {
    /// The present.
    pub now: Moment,
    /// The shared truth.
    pub ledger: &'a SharedLedger,
    /// Opens upstream sockets; `None` means that none is to be had.
    pub open: &'a mut OpenUpstream<'a>,
}

/// One worker's forwarding state.
#[derive(Debug)]
pub struct Forwarder {
    worker: WorkerId,
    settings: Arc<Settings>,
    clients: Clients,
    upstreams: Upstreams,
    pool: Pool,
    hold: Hold,
    timers: BinaryHeap<Reverse<(Moment, Timer)>>,
    effects: VecDeque<Effect>,
    /// Sockets of other workers that a client half has let go within this batch: they must not close
    /// while the batch still names their handles.
    parting: Vec<Upstream>,
    counters: Arc<Counters>,
    random: u64,
}

/// How much a forwarder holds of each kind: nothing, some time after the last player has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Client halves, lingering ones included.
    pub clients: usize,
    /// Upstream slots, those at rest included.
    pub slots: usize,
    /// Open upstream sockets.
    pub sockets: usize,
    /// Clients whose datagrams wait for a token.
    pub held: usize,
    /// Deadlines, outdated ones included.
    pub deadlines: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A client half may have been idle for too long.
    Idle(ClientKey, SessionId),
    /// The old address of a resumed session is given up.
    Linger(ClientKey, SessionId),
    /// An upstream half ends its grace or its rest.
    Upstream(UpstreamKey, SessionId),
    /// A held client's token has not come.
    Held(ClientKey),
    /// An upstream socket may have been unused for long enough to be closed.
    Unused(UpstreamIndex),
}

impl Forwarder {
    /// An empty forwarder. `max_upstreams` bounds the pool; `seed` feeds the `random` strategy.
    pub fn new(
        worker: WorkerId,
        settings: Arc<Settings>,
        max_upstreams: u32,
        counters: Arc<Counters>,
        seed: u64,
    ) -> Forwarder {
        Forwarder {
            worker,
            settings,
            clients: Clients::default(),
            upstreams: Upstreams::default(),
            pool: Pool::new(max_upstreams),
            hold: Hold::default(),
            timers: BinaryHeap::new(),
            effects: VecDeque::new(),
            parting: Vec::new(),
            counters,
            random: seed,
        }
    }

    /// Says where a datagram from a client goes (DESIGN 4.3, rules 1 to 5).
    #[inline]
    pub fn client_datagram(&mut self, arrival: &Arrival, payload: &[u8], cx: &mut Context<'_>) -> Verdict {
        if let Some(packet) = self.settings.magic.parse_control(payload) {
            return self.control_packet(arrival, &packet, cx);
        }
        let key = ClientKey::new(arrival.listener, arrival.client);
        let Some(half) = self.clients.get_mut(&key) else {
            return self.stranger(arrival, payload, cx);
        };
        let plain = half.local == arrival.local && !half.announce;
        if plain && !may_be_token(payload) {
            half.activity.to_backend().record(cx.now, payload.len());
            return Verdict::Forward { handle: half.handle, to: half.backend };
        }
        self.unusual(key, arrival, payload, cx)
    }

    /// A datagram of a running session that is not simply sent on: it may repeat the token, come in
    /// at another of the director's addresses, or be the first that its backend sees.
    #[cold]
    fn unusual(
        &mut self,
        key: ClientKey,
        arrival: &Arrival,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> Verdict {
        if let Some(token) = parse_bare_token(payload, self.settings.token_form)
            && self.takes_token(key, arrival, token, cx)
        {
            return Verdict::Consumed;
        }
        self.meet_at(key, arrival.local);
        self.forward(key, payload, cx.now)
    }

    /// Whether a bare token within a session is for the director. The session's own is: clients repeat
    /// it. So is one that the default endpoint was faster than: a client that has been taken in
    /// without a token goes where its late token says. Any other is data like all else.
    fn takes_token(&mut self, key: ClientKey, arrival: &Arrival, token: Token, cx: &mut Context<'_>) -> bool {
        let Some(own) = self.clients.get_mut(&key).map(|half| half.session) else { return false };
        let ledger = cx.ledger.lock();
        if ledger.has_named(&token, own) {
            self.counters.happened(Event::Repeated);
            return true;
        }
        if ledger.session(own).is_none_or(|session| session.token.is_some()) {
            return false;
        }
        drop(ledger);
        let (listener, client) = (arrival.listener, arrival.client);
        let presented = Presented { token, listener, client, own: Some(own), control: false };
        self.present(arrival, &presented, cx).is_ok()
    }

    /// Sends a datagram on for a client half that exists, with the PROXY header where one is due.
    fn forward(&mut self, key: ClientKey, payload: &[u8], now: Moment) -> Verdict {
        let Some(half) = self.clients.get_mut(&key) else { return Verdict::Drop(Dropped::NoSession) };
        half.activity.to_backend().record(now, payload.len());
        let (handle, to) = (half.handle, half.backend);
        if !std::mem::take(&mut half.announce) {
            return Verdict::Forward { handle, to };
        }
        let mut bytes = self.header(&key);
        bytes.extend_from_slice(payload);
        self.effects.push_back(Effect::ToBackend { handle, to, bytes });
        Verdict::Consumed
    }

    fn header(&mut self, key: &ClientKey) -> Vec<u8> {
        let Some(half) = self.clients.get_mut(key) else { return Vec::new() };
        let port = self.settings.listener(key.listener()).map_or(0, |listener| listener.port);
        proxy_header(key.client().socket_addr(), (half.local, port).into(), true)
    }

    /// The client now sends to another of the director's addresses: replies leave from there.
    fn meet_at(&mut self, key: ClientKey, local: IpAddr) {
        let Some(half) = self.clients.get_mut(&key) else { return };
        if half.local == local {
            return;
        }
        half.local = local;
        let redirect = Redirect {
            upstream: half.upstream.clone(),
            backend: half.backend,
            session: half.session,
            generation: half.generation,
            to: Return { listener: key.listener(), to: key.client(), from: local },
        };
        self.redirect(&redirect);
    }

    /// A datagram from a client that has no session on the listener.
    #[cold]
    fn stranger(&mut self, arrival: &Arrival, payload: &[u8], cx: &mut Context<'_>) -> Verdict {
        if let Some(token) = parse_bare_token(payload, self.settings.token_form) {
            let presented = Presented {
                token,
                listener: arrival.listener,
                client: arrival.client,
                own: None,
                control: false,
            };
            return match self.present(arrival, &presented, cx) {
                Ok(()) => Verdict::Consumed,
                Err(refusal) => Verdict::Drop(Dropped::Refused(refusal)),
            };
        }
        if !self.settings.has_default_endpoint {
            return Verdict::Drop(Dropped::NoSession);
        }
        let key = ClientKey::new(arrival.listener, arrival.client);
        if self.hold.holds(&key) || cx.ledger.lock().waits_for(arrival.client.ip(), cx.now) {
            return self.hold_back(key, arrival, payload, cx.now);
        }
        match self.open_default(arrival, cx) {
            Ok(key) => self.forward(key, payload, cx.now),
            Err(refusal) => Verdict::Drop(Dropped::Refused(refusal)),
        }
    }

    fn hold_back(&mut self, key: ClientKey, arrival: &Arrival, payload: &[u8], now: Moment) -> Verdict {
        let first = !self.hold.holds(&key);
        if !self.hold.push(key, arrival.local, payload) {
            return Verdict::Drop(Dropped::HoldFull);
        }
        if first {
            self.timers.push(Reverse((now + self.settings.token_grace, Timer::Held(key))));
        }
        Verdict::Consumed
    }

    /// Begins a session on the default endpoint.
    fn open_default(&mut self, arrival: &Arrival, cx: &mut Context<'_>) -> Result<ClientKey, Refusal> {
        self.random = next_random(self.random);
        let mut ledger = cx.ledger.lock();
        let (seat, addr) = ledger.admit_default(arrival.listener, self.random)?;
        let by = OpenedBy::DefaultEndpoint(seat);
        let key = self.open(arrival, addr, by, &mut ledger, cx.now, &mut *cx.open)?;
        self.counters.happened(Event::OpenedByDefault);
        Ok(key)
    }

    #[cold]
    fn control_packet(&mut self, arrival: &Arrival, packet: &ControlPacket, cx: &mut Context<'_>) -> Verdict {
        let outcome = self.obey(arrival, packet, cx);
        if let Some(request) = packet.ack {
            let status = outcome.err().map_or(AckStatus::Done, Refusal::ack_status);
            let bytes = self.settings.magic.encode_ack(&Ack { request, status });
            let to = Return { listener: arrival.listener, to: arrival.client, from: arrival.local };
            self.effects.push_back(Effect::ToClient { to, bytes });
        }
        match outcome {
            Ok(()) => Verdict::Consumed,
            Err(refusal) => Verdict::Drop(Dropped::Refused(refusal)),
        }
    }

    fn obey(
        &mut self,
        arrival: &Arrival,
        packet: &ControlPacket,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        if packet.ack.is_some_and(|request| request.opcode != AckRequest::SWITCH) {
            return Err(Refusal::UnknownOpcode);
        }
        if self.effects.len() >= EFFECT_BOUND {
            return Err(Refusal::WorkerBusy);
        }
        let key = ClientKey::new(arrival.listener, arrival.client);
        let own = self.clients.get_mut(&key).filter(|half| !half.lingers).map(|half| half.session);
        let presented = Presented {
            token: packet.token,
            listener: arrival.listener,
            client: arrival.client,
            own,
            control: true,
        };
        self.present(arrival, &presented, cx)
    }

    /// Does what a presented token means, and then sends on what was held for it.
    fn present(
        &mut self,
        arrival: &Arrival,
        presented: &Presented,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let mut ledger = cx.ledger.lock();
        match ledger.admit(presented, cx.now)? {
            Admission::Repeat => {
                self.counters.happened(Event::Repeated);
                self.touch(presented.own, arrival, cx.now);
            }
            Admission::Bind(target) => {
                let by = OpenedBy::Token(presented.token);
                self.open(arrival, target.addr, by, &mut ledger, cx.now, &mut *cx.open)?;
                self.counters.happened(Event::OpenedByToken);
            }
            Admission::Migrate(id, target) => {
                let key = ClientKey::new(arrival.listener, arrival.client);
                self.migrate(key, id, presented, &target, &mut ledger, cx.now, &mut *cx.open)?;
                self.counters.happened(Event::MigratedByClient);
            }
            Admission::Resume(id) => {
                self.resume(arrival, id, presented.own, &mut ledger, cx.now)?;
                self.counters.happened(Event::Resumed);
            }
        }
        drop(ledger);
        self.release_held(ClientKey::new(arrival.listener, arrival.client), cx.now);
        Ok(())
    }

    /// A repeated control packet is what a client keeps a session alive with.
    fn touch(&mut self, own: Option<SessionId>, arrival: &Arrival, now: Moment) {
        let key = ClientKey::new(arrival.listener, arrival.client);
        self.meet_at(key, arrival.local);
        if let Some(half) = self.clients.get_mut(&key)
            && Some(half.session) == own
        {
            half.activity.to_backend().touch(now);
        }
    }

    /// Begins a session: takes an upstream slot, enters the session, and puts both halves in place.
    fn open(
        &mut self,
        arrival: &Arrival,
        addr: BackendAddr,
        by: OpenedBy,
        ledger: &mut Ledger,
        now: Moment,
        open: &mut OpenUpstream<'_>,
    ) -> Result<ClientKey, Refusal> {
        let upstream = self.acquire(addr, open)?;
        let key = ClientKey::new(arrival.listener, arrival.client);
        let opened = ledger.open(
            Opening {
                listener: arrival.listener,
                client: arrival.client,
                local: arrival.local,
                place: Place::Worker(self.worker),
                addr,
                upstream: Some(upstream.clone()),
                by,
            },
            now,
        );
        let (index, handle) = (upstream.index, upstream.socket.handle());
        let half = ClientHalf {
            session: opened.id,
            generation: opened.generation,
            local: arrival.local,
            backend: addr,
            handle,
            upstream,
            activity: Arc::clone(&opened.activity),
            announce: self.announces(arrival.listener),
            lingers: false,
        };
        self.clients.insert(key, half);
        self.upstreams.insert(
            UpstreamKey::new(index, addr),
            UpstreamHalf {
                session: opened.id,
                generation: opened.generation,
                to: arrival.into(),
                activity: opened.activity,
                phase: Phase::Live,
            },
        );
        self.timers.push(Reverse((now + self.settings.session_timeout, Timer::Idle(key, opened.id))));
        Ok(key)
    }

    fn announces(&self, listener: ListenerId) -> bool {
        self.settings.listener(listener).is_some_and(|listener| listener.proxy_protocol)
    }

    fn acquire(&mut self, addr: BackendAddr, open: &mut OpenUpstream<'_>) -> Result<Upstream, Refusal> {
        let (index, socket) = self.pool.acquire(addr, open).ok_or(Refusal::NoUpstream)?;
        Ok(Upstream { worker: self.worker, index, socket })
    }

    /// Make before break: the new slot is taken before the old one is let go.
    #[expect(clippy::too_many_arguments, reason = "one step under one lock, by two callers")]
    fn migrate(
        &mut self,
        key: ClientKey,
        id: SessionId,
        presented: &Presented,
        target: &Target,
        ledger: &mut Ledger,
        now: Moment,
        open: &mut OpenUpstream<'_>,
    ) -> Result<(), Refusal> {
        let (backend, same) = match self.clients.get_mut(&key) {
            Some(half) if half.session == id => (half.backend, half.backend == target.addr),
            _ => return Err(Refusal::NoSession),
        };
        if same {
            let migrated = ledger.migrate(id, presented.token, backend, None);
            self.renew(key, migrated.generation);
            return Ok(());
        }
        let upstream = self.acquire(target.addr, open)?;
        let migrated = ledger.migrate(id, presented.token, target.addr, Some(upstream.clone()));
        self.switch(key, target.addr, upstream, &migrated);
        self.retire(id, migrated, Some(now + self.settings.migration_grace), now);
        Ok(())
    }

    /// The session stays where it is and goes by another token: only its generation is new.
    fn renew(&mut self, key: ClientKey, generation: Generation) {
        let Some(half) = self.clients.get_mut(&key) else { return };
        half.generation = generation;
        let redirect = Redirect {
            upstream: half.upstream.clone(),
            backend: half.backend,
            session: half.session,
            generation,
            to: Return { listener: key.listener(), to: key.client(), from: half.local },
        };
        self.redirect(&redirect);
    }

    /// Points both halves to the new backend.
    fn switch(&mut self, key: ClientKey, addr: BackendAddr, upstream: Upstream, migrated: &Migrated) {
        let announce = self.announces(key.listener());
        let index = upstream.index;
        let Some(half) = self.clients.get_mut(&key) else { return };
        half.generation = migrated.generation;
        half.backend = addr;
        half.handle = upstream.socket.handle();
        half.announce = announce;
        self.parting.push(std::mem::replace(&mut half.upstream, upstream));
        let to = Return { listener: key.listener(), to: key.client(), from: half.local };
        let (session, activity) = (half.session, Arc::clone(&half.activity));
        let live =
            UpstreamHalf { session, generation: migrated.generation, to, activity, phase: Phase::Live };
        self.upstreams.insert(UpstreamKey::new(index, addr), live);
    }

    /// Lets the slot go that a session has left: in grace until `grace`, or to rest at once.
    fn retire(&mut self, session: SessionId, migrated: Migrated, grace: Option<Moment>, now: Moment) {
        let Some((upstream, backend)) = migrated.left else { return };
        let message = Retire { index: upstream.index, backend, session, grace };
        if upstream.worker == self.worker {
            self.retire_here(&message, now);
        } else {
            self.tell(upstream.worker, Message::Retire(message));
        }
        self.parting.push(upstream);
    }

    fn retire_here(&mut self, retire: &Retire, now: Moment) {
        let key = UpstreamKey::new(retire.index, retire.backend);
        let Some(half) = self.upstreams.get_mut(&key).filter(|half| half.session == retire.session) else {
            return;
        };
        let (phase, until) = match retire.grace {
            Some(until) => (Phase::Grace, until),
            None => (Phase::Rest(now + SLOT_REST), now + SLOT_REST),
        };
        half.phase = phase;
        self.timers.push(Reverse((until, Timer::Upstream(key, retire.session))));
    }

    /// Moves a session here from another client address, and maybe another worker. The old address
    /// lingers for a moment: datagrams that left it earlier are still the session's.
    fn resume(
        &mut self,
        arrival: &Arrival,
        id: SessionId,
        own: Option<SessionId>,
        ledger: &mut Ledger,
        now: Moment,
    ) -> Result<(), Refusal> {
        let key = ClientKey::new(arrival.listener, arrival.client);
        let resumed = ledger.resume(id, arrival.client, arrival.local, self.worker)?;
        if let Some(own) = own {
            self.end_session(key, own, Event::EndedReplaced, ledger, now);
        }
        let left = ClientKey::new(arrival.listener, resumed.left);
        match resumed.left_place {
            Place::Worker(worker) if worker != self.worker => {
                self.tell(
                    worker,
                    Message::Linger { listener: arrival.listener, client: resumed.left, session: id },
                );
            }
            _ => self.linger(left, id, now),
        }
        let redirect = Redirect {
            upstream: resumed.upstream.clone(),
            backend: resumed.backend_addr,
            session: id,
            generation: resumed.generation,
            to: arrival.into(),
        };
        self.redirect(&redirect);
        resumed.activity.to_backend().touch(now);
        let half = ClientHalf {
            session: id,
            generation: resumed.generation,
            local: arrival.local,
            backend: resumed.backend_addr,
            handle: resumed.upstream.socket.handle(),
            upstream: resumed.upstream,
            activity: resumed.activity,
            announce: false,
            lingers: false,
        };
        self.clients.insert(key, half);
        self.timers.push(Reverse((now + self.settings.session_timeout, Timer::Idle(key, id))));
        Ok(())
    }

    fn linger(&mut self, key: ClientKey, session: SessionId, now: Moment) {
        if let Some(half) = self.clients.get_mut(&key).filter(|half| half.session == session) {
            half.lingers = true;
            self.timers.push(Reverse((now + self.settings.migration_grace, Timer::Linger(key, session))));
        }
    }

    fn redirect(&mut self, redirect: &Redirect) {
        if redirect.upstream.worker == self.worker {
            self.redirect_here(redirect);
        } else {
            self.tell(redirect.upstream.worker, Message::Redirect(redirect.clone()));
        }
    }

    fn redirect_here(&mut self, redirect: &Redirect) {
        let key = UpstreamKey::new(redirect.upstream.index, redirect.backend);
        if let Some(half) = self.upstreams.get_mut(&key)
            && half.session == redirect.session
            && half.generation <= redirect.generation
        {
            half.generation = redirect.generation;
            half.to = redirect.to;
        }
    }

    /// Sends on what was held for a client whose session has begun.
    fn release_held(&mut self, key: ClientKey, now: Moment) {
        for (local, payload) in self.hold.take(&key) {
            self.meet_at(key, local);
            match self.forward(key, &payload, now) {
                Verdict::Forward { handle, to } => {
                    self.effects.push_back(Effect::ToBackend { handle, to, bytes: payload });
                }
                Verdict::Consumed => {}
                Verdict::Drop(drop) => self.counters.dropped(drop),
            }
        }
    }

    /// Says where a datagram from outside goes that an upstream socket has received.
    ///
    /// # Errors
    /// It is not from the backend of a session on that socket, or that player has left.
    #[inline]
    pub fn backend_datagram(
        &mut self,
        index: UpstreamIndex,
        source: BackendAddr,
        len: usize,
        now: Moment,
    ) -> Result<Return, Dropped> {
        let Some(half) = self.upstreams.get_mut(&UpstreamKey::new(index, source)) else {
            return Err(Dropped::UnknownSource);
        };
        if let Phase::Rest(until) = &mut half.phase {
            *until = now + SLOT_REST;
            return Err(Dropped::LateReply);
        }
        half.activity.to_client().record(now, len);
        Ok(half.to)
    }

    /// Takes a message from another worker or from the control side.
    pub fn message(&mut self, message: Message, cx: &mut Context<'_>) {
        match message {
            Message::Configure(settings) => self.configure(settings, cx.now),
            Message::Linger { listener, client, session } => {
                self.linger(ClientKey::new(listener, client), session, cx.now);
            }
            Message::Redirect(redirect) => self.redirect_here(&redirect),
            Message::Retire(retire) => self.retire_here(&retire, cx.now),
            Message::Migrate { listener, client, session, token, reply } => {
                let presented = Presented { token, listener, client, own: Some(session), control: true };
                let outcome = self.migrate_by_message(&presented, session, cx);
                reply.send(outcome);
            }
            Message::Close { listener, client, session } => {
                let key = ClientKey::new(listener, client);
                let mut ledger = cx.ledger.lock();
                self.end_session(key, session, Event::EndedBackendGone, &mut ledger, cx.now);
            }
        }
    }

    fn migrate_by_message(
        &mut self,
        presented: &Presented,
        id: SessionId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let mut ledger = cx.ledger.lock();
        let target = ledger.admit_migration(id, &presented.token, cx.now)?;
        let key = ClientKey::new(presented.listener, presented.client);
        self.migrate(key, id, presented, &target, &mut ledger, cx.now, &mut *cx.open)?;
        self.counters.happened(Event::MigratedByReset);
        Ok(())
    }

    /// Takes new settings; a shorter session timeout holds for running sessions at once.
    fn configure(&mut self, settings: Arc<Settings>, now: Moment) {
        let shorter = settings.session_timeout < self.settings.session_timeout;
        self.settings = settings;
        if shorter {
            let idle: Vec<_> = self
                .clients
                .iter()
                .map(|(key, half)| {
                    Reverse((
                        half.activity.last() + self.settings.session_timeout,
                        Timer::Idle(key, half.session),
                    ))
                })
                .collect();
            self.timers.retain(|Reverse((_, timer))| !matches!(timer, Timer::Idle(..)));
            self.timers.extend(idle.into_iter().map(|Reverse((at, timer))| Reverse((at.max(now), timer))));
        }
    }

    fn tell(&mut self, worker: WorkerId, message: Message) {
        self.effects.push_back(Effect::Tell { worker, message });
    }

    /// Ends a session whose client half is here.
    fn end_session(&mut self, key: ClientKey, id: SessionId, why: Event, ledger: &mut Ledger, now: Moment) {
        if !self.clients.remove_if(&key, |half| half.session == id) {
            return;
        }
        let Some(session) = ledger.end(id, now) else { return };
        self.counters.happened(why);
        let left = session.upstream.map(|upstream| (upstream, session.backend_addr));
        self.retire(id, Migrated { generation: session.generation, left }, None, now);
    }

    /// The next effect to carry out, in order; call until `None` after every other call.
    pub fn pop_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Puts an effect back that could not be carried out yet.
    pub fn unpop_effect(&mut self, effect: Effect) {
        self.effects.push_front(effect);
    }

    /// Says whether effects wait.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// When [`Forwarder::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Acts on the deadlines that have passed, a bounded number a call. Not to be called while
    /// datagrams of a batch still wait to be sent.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.parting.clear();
        for _ in 0..TIMER_BUDGET {
            match self.timers.peek() {
                Some(Reverse((at, _))) if *at <= cx.now => {}
                _ => return,
            }
            let Some(Reverse((_, timer))) = self.timers.pop() else { return };
            match timer {
                Timer::Idle(key, id) => self.idle(key, id, cx),
                Timer::Linger(key, id) => {
                    self.clients.remove_if(&key, |half| half.session == id && half.lingers);
                }
                Timer::Upstream(key, id) => self.upstream_due(key, id, cx.now),
                Timer::Held(key) => self.token_overdue(key, cx),
                Timer::Unused(index) => {
                    if self.pool.close_if_unused(index) {
                        self.effects.push_back(Effect::CloseUpstream(index));
                    }
                }
            }
        }
    }

    fn idle(&mut self, key: ClientKey, id: SessionId, cx: &mut Context<'_>) {
        let Some(half) = self.clients.get_mut(&key) else { return };
        if half.session != id || half.lingers {
            return;
        }
        let ends = half.activity.last() + self.settings.session_timeout;
        if ends > cx.now {
            self.timers.push(Reverse((ends, Timer::Idle(key, id))));
        } else {
            self.end_session(key, id, Event::EndedIdle, &mut cx.ledger.lock(), cx.now);
        }
    }

    fn upstream_due(&mut self, key: UpstreamKey, id: SessionId, now: Moment) {
        let Some(half) = self.upstreams.get_mut(&key).filter(|half| half.session == id) else { return };
        match half.phase {
            Phase::Live => {}
            Phase::Grace => {
                half.phase = Phase::Rest(now + SLOT_REST);
                self.timers.push(Reverse((now + SLOT_REST, Timer::Upstream(key, id))));
            }
            Phase::Rest(until) if until > now => {
                self.timers.push(Reverse((until, Timer::Upstream(key, id))));
            }
            Phase::Rest(_) => {
                self.upstreams.remove(&key);
                if self.pool.release(key.index(), key.backend()) {
                    self.timers.push(Reverse((now + pool::UNUSED_FOR, Timer::Unused(key.index()))));
                }
            }
        }
    }

    /// The held client's token has not come in time: it goes to the default endpoint.
    fn token_overdue(&mut self, key: ClientKey, cx: &mut Context<'_>) {
        let Some(local) = self.hold.local(&key) else { return };
        let arrival = Arrival { listener: key.listener(), client: key.client(), local };
        match self.open_default(&arrival, cx) {
            Ok(key) => self.release_held(key, cx.now),
            Err(refusal) => {
                for _ in self.hold.take(&key) {
                    self.counters.dropped(Dropped::Refused(refusal));
                }
            }
        }
    }

    /// Client halves and open upstream sockets of this worker, for its gauges.
    pub fn sizes(&self) -> (usize, usize) {
        (self.clients.len(), self.pool.open_sockets())
    }

    /// How much it holds of each kind.
    pub fn holdings(&self) -> Holdings {
        Holdings {
            clients: self.clients.len(),
            slots: self.upstreams.len(),
            sockets: self.pool.open_sockets(),
            held: self.hold.clients(),
            deadlines: self.timers.len(),
        }
    }
}

impl From<&Arrival> for Return {
    fn from(arrival: &Arrival) -> Return {
        Return { listener: arrival.listener, to: arrival.client, from: arrival.local }
    }
}

/// Only these lengths can be a bare token (with or without a newline); all else skips the look.
fn may_be_token(payload: &[u8]) -> bool {
    matches!(payload.len(), 36 | 37)
}

/// One step of SplitMix64: enough to spread players, no secret hangs on it.
fn next_random(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
