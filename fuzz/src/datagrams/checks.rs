//! What holds for every datagram, whatever came before.

use std::collections::{HashMap, HashSet};

use udp_director_core::{
    Arrival, BackendAddr, ClientAddr, Dropped, ListenerId, Message, Moment, Return, Session, UpstreamIndex,
    Verdict, WorkerId,
};

use super::cast;
use super::director::Director;

type Slot = (WorkerId, UpstreamIndex, BackendAddr);
type ClientKey = (ListenerId, ClientAddr);

/// What the running sessions occupy.
#[derive(Debug, Default)]
pub(super) struct Slots {
    upstream: HashSet<Slot>,
    clients: HashSet<ClientKey>,
}

/// What sessions have left, and when last.
#[derive(Debug, Default)]
pub(super) struct Left {
    upstream: HashMap<Slot, Moment>,
    clients: HashMap<ClientKey, Moment>,
}

impl Slots {
    pub(super) fn of(director: &Director) -> Slots {
        let ids = director.sessions();
        let ledger = director.ledger.lock();
        let mut slots = Slots::default();
        for session in ids.iter().filter_map(|id| ledger.session(*id)) {
            slots.upstream.extend(slot(session));
            slots.clients.insert((session.listener, session.client));
        }
        slots
    }
}

impl Director {
    /// Notes what sessions have left since `before`.
    pub(super) fn note_departures(&mut self, before: &Slots) {
        let (after, now) = (Slots::of(self), self.now);
        let upstream = before.upstream.difference(&after.upstream).map(|slot| (*slot, now));
        self.left.upstream.extend(upstream);
        let clients = before.clients.difference(&after.clients).map(|key| (*key, now));
        self.left.clients.extend(clients);
    }

    /// A client half lingers from when its worker is told.
    pub(super) fn note_linger(&mut self, message: &Message) {
        if let Message::Linger { listener, client, .. } = *message {
            self.left.clients.insert((listener, client), self.now);
        }
    }

    /// A datagram is sent on to the backend of its client's session and to nobody else.
    pub(super) fn check_verdict(&self, arrival: &Arrival, payload: &[u8], verdict: &Verdict) {
        let Verdict::Forward { handle, to } = *verdict else { return };
        assert!(self.settings.magic.parse_control(payload).is_none(), "no control packet is sent on");
        assert!(self.sockets.can_send(handle), "what is sent leaves by a socket that is open");
        self.check_target(to);
        if !self.is_settled() {
            return;
        }
        let key = (arrival.listener, arrival.client);
        let mine = self.with_session(|session| {
            let here = (session.listener, session.client) == key;
            let upstream = session.upstream.as_ref().map(|upstream| upstream.socket.handle());
            here.then_some((upstream, session.backend_addr))
        });
        match mine {
            Some(mine) => assert_eq!(mine, (Some(handle), to), "it goes where its session says"),
            None => assert!(self.is_within_grace(self.left.clients.get(&key)), "who has left sends no more"),
        }
    }

    /// What was held back is sent on unchanged, but for a header before it.
    pub(super) fn check_sent_on(&self, handle: i32, to: BackendAddr, bytes: &[u8]) {
        assert!(self.sockets.can_send(handle), "what is sent leaves by a socket that is open");
        self.check_target(to);
        let sent = self.payloads.iter().any(|payload| bytes.ends_with(payload));
        assert!(sent, "what is sent on was sent by a client");
    }

    fn check_target(&self, to: BackendAddr) {
        let known = cast::addresses().contains(&to) || to.socket_addr().port() == 7001;
        assert!(known, "{to} is no backend");
    }

    /// An ack goes to who asked for it, from where it was asked, and is shorter than what asked.
    pub(super) fn check_ack(&self, to: &Return, bytes: &[u8], cause: Option<(&Arrival, &[u8])>) {
        let (arrival, asked) = cause.expect("an ack answers a datagram");
        assert_eq!(*to, Return::from(arrival), "an ack goes to who asked for it");
        assert!(bytes.len() < asked.len(), "an ack is shorter than what asked for it");
        let request = self.settings.magic.parse_control(asked).and_then(|packet| packet.ack);
        let ack = self.settings.magic.parse_ack(bytes).map(|ack| ack.request);
        assert_eq!(ack, request, "an ack names what it answers");
    }

    /// A reply reaches the client of the slot's session, for a moment also the one that has left it.
    pub(super) fn check_reply(
        &self,
        worker: WorkerId,
        index: UpstreamIndex,
        source: BackendAddr,
        outcome: Result<Return, Dropped>,
    ) {
        let slot_here = (worker, index, source);
        if let Ok(to) = outcome {
            assert!(self.sent.contains(&(to.listener, to.to)), "a reply goes to a client that has sent");
            assert!(cast::LOCALS.contains(&to.from), "a reply leaves from an address of the director");
        }
        if !self.is_settled() {
            return;
        }
        let owner = self.with_session(|session| {
            (slot(session) == Some(slot_here)).then_some((session.listener, session.client))
        });
        match (owner, outcome) {
            (Some(owner), Ok(to)) => assert_eq!(owner, (to.listener, to.to), "a reply goes to its player"),
            (Some(owner), Err(why)) => panic!("a reply to {owner:?} is dropped: {why:?}"),
            (None, Ok(_)) => {
                assert!(
                    self.is_within_grace(self.left.upstream.get(&slot_here)),
                    "who has left gets no replies"
                );
            }
            (None, Err(_)) => {}
        }
    }

    /// No two sessions share a slot or a client, and when all is delivered each has a backend of the
    /// inventory.
    pub(super) fn check_sessions(&self) {
        let (ids, slots) = (self.sessions(), Slots::of(self));
        assert_eq!(slots.upstream.len(), ids.len(), "a slot is one session's");
        assert_eq!(slots.clients.len(), ids.len(), "a client has one session on a listener");
        if !self.is_settled() {
            return;
        }
        let ledger = self.ledger.lock();
        for session in ids.iter().filter_map(|id| ledger.session(*id)) {
            let backend = ledger.inventory().by_id(&session.seat.backend().spec.id);
            let address = backend.map(|backend| backend.spec.address);
            assert_eq!(address, Some(session.backend_addr.ip()), "a session's backend is in the inventory");
        }
    }

    fn with_session<T>(&self, look: impl Fn(&Session) -> Option<T>) -> Option<T> {
        let ids = self.sessions();
        let ledger = self.ledger.lock();
        ids.iter().filter_map(|id| ledger.session(*id)).find_map(look)
    }

    fn is_within_grace(&self, left: Option<&Moment>) -> bool {
        left.is_some_and(|left| self.now - *left <= cast::GRACE)
    }
}

fn slot(session: &Session) -> Option<Slot> {
    let upstream = session.upstream.as_ref()?;
    Some((upstream.worker, upstream.index, session.backend_addr))
}
