//! The reference model: DESIGN 4.2, 4.3 and 4.5 in lists that are searched from end to end, for a
//! network without delay. It knows nothing of workers, halves or messages.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use udp_director_core::{
    BackendAddr, BackendSpec, ClientAddr, Dropped, Event, ListenerId, Ports, Refusal, Settings,
};
use udp_director_testkit::sim::GAME;

const HOLD: usize = 8;
const REST: Duration = Duration::from_secs(5);

/// A client on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) listener: ListenerId,
    pub(crate) client: ClientAddr,
}

/// A datagram that a backend gets.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) slot: usize,
    pub(crate) to: BackendAddr,
    pub(crate) payload: Vec<u8>,
}

#[derive(Debug)]
struct Token {
    asked_by: IpAddr,
    bound: bool,
    backend: usize,
    expires: Duration,
    /// On which listener, for which session, and whether it still names that.
    uses: Vec<(ListenerId, usize, bool)>,
    known: bool,
}

#[derive(Debug)]
struct Session {
    home: Home,
    backend: usize,
    token: Option<usize>,
    slot: usize,
    last: Duration,
    left: Option<(Home, Duration)>,
    runs: bool,
}

/// A session's place on a backend, as long as it is not given to another.
#[derive(Debug)]
struct Slot {
    session: usize,
    to: BackendAddr,
    backend: usize,
    upstream: Option<i32>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Live,
    Grace(Home, Duration),
    Rest(Duration),
    Free,
}

/// An address that a session has left.
#[derive(Debug)]
struct Linger {
    home: Home,
    session: usize,
    slot: usize,
    until: Duration,
    /// A control packet has come from there.
    called_back: Option<Duration>,
}

#[derive(Debug)]
struct Held {
    home: Home,
    payloads: Vec<Vec<u8>>,
    until: Duration,
}

/// What the director should be doing.
#[derive(Debug)]
pub(crate) struct Model {
    settings: Settings,
    specs: Vec<BackendSpec>,
    /// Whether each backend is in the inventory.
    present: Vec<bool>,
    now: Duration,
    tokens: Vec<Token>,
    sessions: Vec<Session>,
    slots: Vec<Slot>,
    lingers: Vec<Linger>,
    held: Vec<Held>,
    drops: BTreeMap<&'static str, u64>,
    events: Vec<Event>,
    /// What backends got since this was last taken.
    pub(crate) arrived: Vec<Sent>,
    /// What clients got since this was last taken.
    pub(crate) delivered: Vec<(Home, Vec<u8>)>,
}

/// The control side.
impl Model {
    pub(crate) fn new(settings: &Settings, specs: Vec<BackendSpec>) -> Model {
        Model {
            settings: settings.clone(),
            present: vec![true; specs.len()],
            specs,
            now: Duration::ZERO,
            tokens: Vec::new(),
            sessions: Vec::new(),
            slots: Vec::new(),
            lingers: Vec::new(),
            held: Vec::new(),
            drops: BTreeMap::new(),
            events: Vec::new(),
            arrived: Vec::new(),
            delivered: Vec::new(),
        }
    }

    pub(crate) fn issue(&mut self, host: u8, backend: usize, bound: bool) -> bool {
        let limits = self.settings.limits;
        if self.waiting() >= limits.max_pending_tokens
            || self.tokens() >= limits.max_pending_tokens + limits.max_sessions
        {
            return false;
        }
        let asked_by = IpAddr::from([192, 0, 2, host]);
        let expires = self.now + self.settings.token_ttl;
        self.tokens.push(Token { asked_by, bound, backend, expires, uses: Vec::new(), known: true });
        true
    }

    pub(crate) fn publish(&mut self, left_out: Option<usize>) {
        for (number, present) in self.present.iter_mut().enumerate() {
            *present = left_out != Some(number);
        }
        for id in self.running() {
            if !self.is_present(self.sessions[id].backend) {
                self.end(id, Event::EndedBackendGone);
            }
        }
    }

    pub(crate) fn reset(
        &mut self,
        session: usize,
        token: usize,
        asked_by: IpAddr,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let named = if self.tokens[session].known { &self.tokens[session].uses[..] } else { &[] };
        let running: Vec<usize> = named.iter().filter(|(.., names)| *names).map(|(_, id, _)| *id).collect();
        let next = &self.tokens[token];
        if !next.known {
            return Err(Refusal::UnknownToken);
        }
        if running.is_empty() {
            return Err(Refusal::NoSession);
        }
        if self.now >= next.expires {
            return Err(Refusal::ExpiredToken);
        }
        let theirs = running.iter().any(|id| self.admits(token, self.sessions[*id].home.client.ip()));
        if !theirs && !self.admits(token, asked_by) {
            return Err(Refusal::WrongClient);
        }
        Ok(running.into_iter().map(|id| self.reset_one(id, token)).collect())
    }

    fn reset_one(&mut self, id: usize, token: usize) -> Result<(), Refusal> {
        let listener = self.sessions[id].home.listener;
        if self.use_on(token, listener).is_some() {
            return Err(Refusal::UsedToken);
        }
        self.target(self.tokens[token].backend, listener)?;
        self.migrate(id, token, Event::MigratedByReset);
        Ok(())
    }
}

/// Datagrams.
impl Model {
    pub(crate) fn send(&mut self, home: Home, payload: &[u8]) {
        let called =
            |linger: &&Linger| linger.home == home && linger.called_back.is_some_and(|from| from <= self.now);
        if self.session_at(home).is_none()
            && let Some(linger) = self.lingers.iter().find(called)
            && self.sessions[linger.session].runs
        {
            self.resume(linger.session, home, None);
        }
        if let Some(id) = self.session_at(home) {
            self.forward(id, self.sessions[id].slot, payload);
        } else if let Some(linger) = self.lingers.iter().find(|linger| linger.home == home) {
            self.forward(linger.session, linger.slot, payload);
        } else if !self.settings.has_default_endpoint {
            self.dropped(Dropped::NoSession);
        } else if self.held.iter().any(|held| held.home == home) || self.awaits(home) {
            self.hold(home, payload);
        } else {
            match self.open_default(home) {
                Ok(id) => self.forward(id, self.sessions[id].slot, payload),
                Err(refusal) => self.dropped(Dropped::Refused(refusal)),
            }
        }
    }

    pub(crate) fn bare(&mut self, home: Home, token: usize, text: &[u8]) {
        let own = self.session_at(home);
        let lingering = self.lingers.iter().find(|linger| linger.home == home).map(|linger| linger.session);
        let Some(session) = own.or(lingering) else {
            if let Err(refusal) = self.present(home, token, None, false) {
                self.dropped(Dropped::Refused(refusal));
            }
            return;
        };
        if self.tokens[token].known && self.tokens[token].uses.iter().any(|(_, id, _)| *id == session) {
            self.events.push(Event::Repeated);
            if let Some(own) = own {
                self.sessions[own].last = self.now;
            }
        } else if own.is_some_and(|own| self.sessions[own].token.is_some())
            || self.present(home, token, own, false).is_err()
        {
            self.send(home, text);
        }
    }

    pub(crate) fn control(&mut self, home: Home, token: usize) {
        if self.straggles(home, token) {
            let until = self.now + self.settings.migration_grace;
            self.dropped(Dropped::Refused(Refusal::JustLeft));
            for linger in self.lingers.iter_mut().filter(|linger| linger.home == home) {
                linger.called_back = linger.called_back.or(Some(linger.until));
                linger.until = until;
            }
        } else if let Err(refusal) = self.present(home, token, self.session_at(home), true) {
            self.dropped(Dropped::Refused(refusal));
        }
    }

    pub(crate) fn reply(&mut self, upstream: i32, source: BackendAddr, payload: &[u8]) {
        let here =
            |slot: &Slot| (slot.upstream, slot.to) == (Some(upstream), source) && slot.phase != Phase::Free;
        let Some(number) = self.slots.iter().position(here) else {
            return self.dropped(Dropped::UnknownSource);
        };
        let session = self.slots[number].session;
        let home = match self.slots[number].phase {
            Phase::Grace(home, _) => home,
            Phase::Live => self.sessions[session].home,
            Phase::Rest(_) | Phase::Free => {
                self.slots[number].phase = Phase::Rest(self.now + REST);
                return self.dropped(Dropped::LateReply);
            }
        };
        self.sessions[session].last = self.now;
        self.delivered.push((home, payload.to_vec()));
    }

    fn forward(&mut self, session: usize, slot: usize, payload: &[u8]) {
        self.sessions[session].last = self.now;
        let to = self.slots[slot].to;
        self.arrived.push(Sent { slot, to, payload: payload.to_vec() });
        self.echo(slot, payload);
    }

    /// The simulated backends answer everything at once, with their name behind it.
    fn echo(&mut self, slot: usize, payload: &[u8]) {
        let Slot { session, backend, phase, .. } = self.slots[slot];
        if !self.is_present(backend) {
            return;
        }
        let home = match phase {
            Phase::Live => self.sessions[session].home,
            Phase::Grace(home, _) => home,
            Phase::Rest(_) | Phase::Free => {
                self.slots[slot].phase = Phase::Rest(self.now + REST);
                return self.dropped(Dropped::LateReply);
            }
        };
        self.delivered.push((home, [payload, self.specs[backend].name.as_bytes()].concat()));
    }

    fn hold(&mut self, home: Home, payload: &[u8]) {
        let until = self.now + self.settings.token_grace;
        if !self.held.iter().any(|held| held.home == home) {
            self.held.push(Held { home, payloads: Vec::new(), until });
        }
        let held = self.held.iter_mut().find(|held| held.home == home).expect("entered above");
        if held.payloads.len() < HOLD {
            held.payloads.push(payload.to_vec());
        } else {
            self.dropped(Dropped::HoldFull);
        }
    }
}

/// Tokens and sessions.
impl Model {
    fn present(
        &mut self,
        home: Home,
        token: usize,
        own: Option<usize>,
        control: bool,
    ) -> Result<(), Refusal> {
        if !self.tokens[token].known {
            return Err(Refusal::UnknownToken);
        }
        match self.use_on(token, home.listener) {
            Some((id, true)) if own == Some(id) => {
                self.events.push(Event::Repeated);
                self.sessions[id].last = self.now;
            }
            Some((_, true)) if !control => return Err(Refusal::WrongClient),
            Some((_, true)) if own.is_some_and(|own| !self.may_move(token, own, home)) => {
                return Err(Refusal::WrongClient);
            }
            Some((id, true)) => self.resume(id, home, own),
            Some((_, false)) => return Err(Refusal::UsedToken),
            None => self.redeem(home, token, own)?,
        }
        if let Some(at) = self.held.iter().position(|held| held.home == home) {
            let held = self.held.remove(at);
            self.release(&held);
        }
        Ok(())
    }

    fn redeem(&mut self, home: Home, token: usize, own: Option<usize>) -> Result<(), Refusal> {
        if self.now >= self.tokens[token].expires {
            return Err(Refusal::ExpiredToken);
        }
        if !self.admits(token, home.client.ip()) || own.is_some_and(|own| !self.may_move(token, own, home)) {
            return Err(Refusal::WrongClient);
        }
        let backend = self.tokens[token].backend;
        self.target(backend, home.listener)?;
        match own {
            Some(own) => self.migrate(own, token, Event::MigratedByClient),
            None if self.sessions() >= self.settings.limits.max_sessions => {
                return Err(Refusal::SessionLimit);
            }
            None => {
                let id = self.open(home, backend, Some(token));
                self.tokens[token].uses.push((home.listener, id, true));
                self.events.push(Event::OpenedByToken);
            }
        }
        Ok(())
    }

    fn open(&mut self, home: Home, backend: usize, token: Option<usize>) -> usize {
        let (id, slot) = (self.sessions.len(), self.take_slot(self.sessions.len(), backend, home.listener));
        self.lingers.retain(|linger| linger.home != home);
        self.sessions.push(Session { home, backend, token, slot, last: self.now, left: None, runs: true });
        id
    }

    fn open_default(&mut self, home: Home) -> Result<usize, Refusal> {
        if self.sessions() >= self.settings.limits.max_sessions {
            return Err(Refusal::SessionLimit);
        }
        let lobbies = (0..self.specs.len()).filter(|it| &*self.specs[*it].resource_type == "lobby");
        let fewest = lobbies.filter(|it| self.is_present(*it)).min_by_key(|it| self.seats(*it));
        let id = self.open(home, fewest.ok_or(Refusal::NoDefaultBackend)?, None);
        self.events.push(Event::OpenedByDefault);
        Ok(id)
    }

    fn migrate(&mut self, id: usize, token: usize, event: Event) {
        let Session { home, backend: before, slot, .. } = self.sessions[id];
        let backend = self.tokens[token].backend;
        self.supersede(id);
        self.tokens[token].uses.push((home.listener, id, true));
        self.sessions[id].token = Some(token);
        self.events.push(event);
        if backend != before {
            self.slots[slot].phase = Phase::Grace(home, self.now + self.settings.migration_grace);
            self.sessions[id].slot = self.take_slot(id, backend, home.listener);
            self.sessions[id].backend = backend;
        }
    }

    fn resume(&mut self, id: usize, home: Home, own: Option<usize>) {
        if let Some(own) = own {
            self.end(own, Event::EndedReplaced);
        }
        let (left, slot) = (self.sessions[id].home, self.sessions[id].slot);
        let until = self.now + self.settings.migration_grace;
        self.lingers.retain(|linger| linger.home != home && linger.home != left);
        self.lingers.push(Linger { home: left, session: id, slot, until, called_back: None });
        self.sessions[id].left = Some((left, until));
        self.sessions[id].home = home;
        self.sessions[id].last = self.now;
        self.events.push(Event::Resumed);
    }

    fn end(&mut self, id: usize, why: Event) {
        self.supersede(id);
        self.sessions[id].runs = false;
        let slot = self.sessions[id].slot;
        self.slots[slot].phase = Phase::Rest(self.now + REST);
        self.events.push(why);
    }

    fn supersede(&mut self, id: usize) {
        let Some(token) = self.sessions[id].token.take() else { return };
        for (_, session, names) in &mut self.tokens[token].uses {
            *names &= *session != id;
        }
    }

    fn take_slot(&mut self, session: usize, backend: usize, listener: ListenerId) -> usize {
        let to = self.target(backend, listener).expect("it was looked at before");
        self.slots.push(Slot { session, to, backend, upstream: None, phase: Phase::Live });
        self.slots.len() - 1
    }

    fn release(&mut self, held: &Held) {
        let Some(id) = self.session_at(held.home) else { return };
        for payload in &held.payloads {
            self.forward(id, self.sessions[id].slot, payload);
        }
    }
}

/// Time.
impl Model {
    pub(crate) fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(due) = self.next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.keep_deadlines();
        }
        self.now = until;
        for token in &mut self.tokens {
            token.known &= token.expires > until || token.uses.iter().any(|(.., names)| *names);
        }
    }

    fn next_due(&self) -> Option<Duration> {
        let idle = self.running().into_iter().map(|id| self.idle_at(id));
        let lingers = self.lingers.iter().map(|linger| linger.until);
        let held = self.held.iter().map(|held| held.until);
        let slots = self.slots.iter().filter_map(|slot| match slot.phase {
            Phase::Grace(_, until) | Phase::Rest(until) => Some(until),
            Phase::Live | Phase::Free => None,
        });
        idle.chain(lingers).chain(held).chain(slots).min()
    }

    fn keep_deadlines(&mut self) {
        let now = self.now;
        for id in self.running() {
            if self.idle_at(id) <= now {
                self.end(id, Event::EndedIdle);
            }
        }
        self.lingers.retain(|linger| linger.until > now);
        for slot in &mut self.slots {
            slot.phase = match slot.phase {
                Phase::Grace(_, until) if until <= now => Phase::Rest(now + REST),
                Phase::Rest(until) if until <= now => Phase::Free,
                phase => phase,
            };
        }
        while let Some(at) = self.held.iter().position(|held| held.until <= now) {
            let held = self.held.remove(at);
            match self.open_default(held.home) {
                Ok(_) => self.release(&held),
                Err(refusal) => held.payloads.iter().for_each(|_| self.dropped(Dropped::Refused(refusal))),
            }
        }
    }

    fn idle_at(&self, id: usize) -> Duration {
        self.sessions[id].last + self.settings.session_timeout
    }
}

/// What it knows.
impl Model {
    /// The director has used that upstream socket for the slot: nobody else may have it. A session that
    /// comes back to a backend may get back the slot that it has left there.
    pub(crate) fn meet(&mut self, number: usize, upstream: i32) {
        let Slot { session, to, .. } = self.slots[number];
        for (other, slot) in self.slots.iter_mut().enumerate() {
            if other == number
                || slot.phase == Phase::Free
                || (slot.upstream, slot.to) != (Some(upstream), to)
            {
                continue;
            }
            assert_eq!(slot.session, session, "{to} sees two players at {upstream}");
            assert_ne!(slot.phase, Phase::Live, "{to} sees a player twice at {upstream}");
            slot.phase = Phase::Free;
        }
        assert!(self.slots[number].upstream.is_none_or(|known| known == upstream), "a slot keeps its socket");
        self.slots[number].upstream = Some(upstream);
    }

    /// One of the last slots that a backend knows, that nobody else has and whose session has not come
    /// back to it unseen.
    pub(crate) fn recent_slot(&self, back: usize) -> Option<(i32, BackendAddr)> {
        let unseen = |slot: &Slot| {
            let same = |other: &Slot| (other.session, other.to) == (slot.session, slot.to);
            self.slots.iter().any(|other| same(other) && other.upstream.is_none())
        };
        let known = self.slots.iter().rev().filter(|slot| slot.phase != Phase::Free && !unseen(slot));
        known.filter_map(|slot| Some((slot.upstream?, slot.to))).nth(back)
    }

    pub(crate) fn is_present(&self, backend: usize) -> bool {
        self.present[backend]
    }

    pub(crate) fn sessions(&self) -> usize {
        self.running().len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.tokens.iter().filter(|token| token.known && token.uses.is_empty()).count()
    }

    pub(crate) fn tokens(&self) -> usize {
        self.tokens.iter().filter(|token| token.known).count()
    }

    pub(crate) fn seats(&self, backend: usize) -> u32 {
        let holds = |token: &&Token| {
            token.backend == backend
                && token.known
                && (token.uses.is_empty() || token.uses.iter().any(|(.., names)| *names))
        };
        let tokenless =
            |id: &usize| self.sessions[*id].token.is_none() && self.sessions[*id].backend == backend;
        let sessions = self.running().into_iter().filter(tokenless).count();
        (self.tokens.iter().filter(holds).count() + sessions) as u32
    }

    pub(crate) fn drops(&self, why: Dropped) -> u64 {
        self.drops.get(why.reason()).copied().unwrap_or(0)
    }

    pub(crate) fn events(&self, event: Event) -> u64 {
        self.events.iter().filter(|happened| **happened == event).count() as u64
    }

    fn dropped(&mut self, why: Dropped) {
        *self.drops.entry(why.reason()).or_default() += 1;
    }

    fn running(&self) -> Vec<usize> {
        (0..self.sessions.len()).filter(|id| self.sessions[*id].runs).collect()
    }

    fn session_at(&self, home: Home) -> Option<usize> {
        self.running().into_iter().find(|id| self.sessions[*id].home == home)
    }

    fn straggles(&self, home: Home, token: usize) -> bool {
        let named = self.use_on(token, home.listener).filter(|(_, names)| *names && self.tokens[token].known);
        let Some((id, _)) = named else { return false };
        self.sessions[id].left.is_some_and(|(left, until)| left == home && self.now < until)
    }

    fn use_on(&self, token: usize, listener: ListenerId) -> Option<(usize, bool)> {
        let found = self.tokens[token].uses.iter().find(|(on, ..)| *on == listener);
        found.map(|(_, id, names)| (*id, *names))
    }

    fn admits(&self, token: usize, ip: IpAddr) -> bool {
        !self.tokens[token].bound || self.tokens[token].asked_by == ip
    }

    fn may_move(&self, token: usize, own: usize, home: Home) -> bool {
        let asked_by = self.tokens[token].asked_by;
        let same = |named: usize| self.tokens[named].asked_by == asked_by;
        asked_by == home.client.ip() || self.sessions[own].token.is_some_and(same)
    }

    fn awaits(&self, home: Home) -> bool {
        self.tokens.iter().any(|token| {
            token.asked_by == home.client.ip()
                && token.expires > self.now
                && port(&self.specs[token.backend], home.listener).is_some()
                && token.uses.iter().all(|(on, ..)| *on != home.listener)
        })
    }

    fn target(&self, backend: usize, listener: ListenerId) -> Result<BackendAddr, Refusal> {
        if !self.is_present(backend) {
            return Err(Refusal::BackendGone);
        }
        let port = port(&self.specs[backend], listener).ok_or(Refusal::NoPort)?;
        Ok(BackendAddr::new(SocketAddr::new(self.specs[backend].address, port)))
    }
}

fn port(spec: &BackendSpec, listener: ListenerId) -> Option<u16> {
    let Ports::Named(ports) = &spec.ports else { return None };
    ports.get(if listener == GAME { "game" } else { "voice" }).copied()
}
