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
mod deadlines;
mod hold;
mod message;
mod pool;
mod restoring;
mod sessions;
mod tokens;
mod upstreams;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use udp_director_wire::{parse_bare_token, proxy_header};

use crate::addr::{BackendAddr, ClientAddr};
use crate::counters::{Counters, Dropped, Event};
use crate::ledger::OpenedBy;
use crate::refusal::Refusal;
use crate::session::{SessionId, UpstreamIndex, UpstreamSocket, WorkerId};
use crate::settings::{ListenerId, Settings};
use crate::shared::SharedLedger;
use crate::time::Moment;

use clients::{ClientKey, Clients};
use deadlines::{Deadlines, Timer};
use hold::Hold;
pub use message::{Effect, Message, Reply};
use pool::Pool;
pub use restoring::RestoredClients;
use upstreams::{Phase, UpstreamKey, Upstreams};

/// How long an upstream slot rests after its session has left it and its backend has fallen silent,
/// before another player gets it: a reply under way must not reach the wrong one.
pub const SLOT_REST: Duration = Duration::from_secs(5);

/// The most bytes that an IPv4 datagram carries: 65,535 less the headers of IP and UDP.
const MAX_UDP_PAYLOAD: usize = 65_507;

/// The longest PROXY header: see [`udp_director_wire::proxy_header`].
const MAX_PROXY_HEADER: usize = 52;

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
    /// The slots here that migrated sessions have left and can come back to: those in grace or at rest.
    left: HashMap<(SessionId, BackendAddr), UpstreamIndex>,
    hold: Hold,
    deadlines: Deadlines,
    effects: VecDeque<Effect>,
    /// Clients of before the restart, while some may not have been heard of since.
    restored: Option<Arc<RestoredClients>>,
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
            left: HashMap::new(),
            hold: Hold::default(),
            deadlines: Deadlines::default(),
            effects: VecDeque::new(),
            restored: None,
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
        let plain =
            half.local == arrival.local && !(half.announce | half.parked) && half.called_back.is_none();
        if plain && !may_be_token(payload) {
            half.activity.to_backend().record(cx.now, payload.len());
            return Verdict::Forward { handle: half.handle, to: half.backend };
        }
        self.unusual(key, arrival, payload, cx)
    }

    /// A datagram of a running session that is not simply sent on: it may repeat the token, come in
    /// at another of the director's addresses or from one that the session had left, or be the first
    /// that its backend sees.
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
        if self.clients.get_mut(&key).and_then(|half| half.called_back).is_some_and(|from| from <= cx.now) {
            self.come_back(key, arrival, cx);
        }
        self.meet_at(key, arrival.local);
        self.forward(key, payload, cx.now)
    }

    /// Sends a datagram on for a client half that exists, with the PROXY header where one is due.
    fn forward(&mut self, key: ClientKey, payload: &[u8], now: Moment) -> Verdict {
        let Some(half) = self.clients.get_mut(&key) else { return Verdict::Drop(Dropped::NoSession) };
        if half.parked {
            half.activity.to_backend().touch(now);
            return Verdict::Drop(Dropped::Parked);
        }
        half.activity.to_backend().record(now, payload.len());
        let (handle, to) = (half.handle, half.backend);
        // A datagram without room for the header goes without; the next one has it.
        let fits = payload.len() <= MAX_UDP_PAYLOAD - MAX_PROXY_HEADER;
        if !(fits && std::mem::take(&mut half.announce)) {
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

    /// A datagram from a client that has no session on the listener.
    #[cold]
    fn stranger(&mut self, arrival: &Arrival, payload: &[u8], cx: &mut Context<'_>) -> Verdict {
        let key = ClientKey::new(arrival.listener, arrival.client);
        if self.claim(key, arrival, cx) {
            return self.unusual(key, arrival, payload, cx);
        }
        if let Some(token) = parse_bare_token(payload, self.settings.token_form) {
            return self.bare_token(arrival, token, cx);
        }
        if !self.settings.has_default_endpoint {
            return Verdict::Drop(Dropped::NoSession);
        }
        if self.hold.holds(&key) || self.awaits_token(arrival, cx) {
            return self.hold_back(key, arrival, payload, cx.now);
        }
        match self.open_default(arrival, cx) {
            Ok(key) => self.forward(key, payload, cx.now),
            Err(refusal) => Verdict::Drop(Dropped::Refused(refusal)),
        }
    }

    fn awaits_token(&self, arrival: &Arrival, cx: &Context<'_>) -> bool {
        cx.ledger.lock().awaits_token(arrival.listener, arrival.client.ip(), cx.now)
    }

    fn hold_back(&mut self, key: ClientKey, arrival: &Arrival, payload: &[u8], now: Moment) -> Verdict {
        let first = !self.hold.holds(&key);
        let until = now + self.settings.token_grace;
        if !self.hold.push(key, arrival.local, payload, until) {
            return Verdict::Drop(Dropped::HoldFull);
        }
        if first {
            self.schedule(until, Timer::Held(key));
        }
        Verdict::Consumed
    }

    /// Begins a session on the default endpoint.
    fn open_default(&mut self, arrival: &Arrival, cx: &mut Context<'_>) -> Result<ClientKey, Refusal> {
        self.random = next_random(self.random);
        let mut locked = cx.lock();
        let (seat, addr) = locked.ledger.admit_default(arrival.listener, arrival.client.ip(), self.random)?;
        let key = self.open(arrival, addr, OpenedBy::DefaultEndpoint(seat), &mut locked)?;
        self.counters.happened(Event::OpenedByDefault);
        Ok(key)
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
            Message::Linger { listener, client, session, generation } => {
                self.linger(ClientKey::new(listener, client), session, generation, cx.now);
            }
            Message::Redirect(redirect) => self.redirect_here(&redirect),
            Message::Retire(retire) => self.retire_here(&retire, cx.now),
            Message::Migrate { session, by, reply } => self.reset(session, by, reply, cx),
            Message::Park { session, seat } => self.park(session, seat, cx),
            Message::Close { session, seat } => self.close(session, seat, cx),
            Message::Expect(clients) => self.expect(clients, cx.now),
        }
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
            deadlines: self.deadlines.len(),
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
