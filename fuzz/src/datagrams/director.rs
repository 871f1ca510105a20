//! A director without sockets: two workers, the ledger that they share, and messages under way.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use udp_director_core::{
    Arrival, BackendAddr, Balancer, ClientAddr, Context, Counters, DefaultEndpoint, Effect, Forwarder,
    Holdings, Inventory, Issue, ListenerId, Located, Message, Moment, Place, Player, Query, Reply, Seat,
    SessionId, Settings, SharedLedger, Strategy, UpstreamIndex, Verdict, WorkerId,
};
use udp_director_wire::{self as wire, Magic, Token};

use super::super::script::Script;
use super::cast;
use super::checks::{Left, Slots};
use super::sockets::Sockets;

/// How many share the clients.
pub(super) const WORKERS: usize = 2;

#[derive(Debug)]
pub(super) struct Director {
    pub(super) now: Moment,
    pub(super) settings: Settings,
    pub(super) ledger: SharedLedger,
    pub(super) sockets: Sockets,
    /// What was sent so far, and by whom.
    pub(super) sent: HashSet<(ListenerId, ClientAddr)>,
    pub(super) payloads: HashSet<Vec<u8>>,
    /// Slots and client addresses that sessions have left, and when.
    pub(super) left: Left,
    workers: [Worker; WORKERS],
    tokens: Vec<Token>,
}

#[derive(Debug)]
struct Worker {
    forwarder: Forwarder,
    inbox: VecDeque<Message>,
}

impl Director {
    pub(super) fn new(script: &mut Script<'_>) -> Director {
        let (choice, form) = (script.byte(), script.token_form());
        let settings = cast::settings(magic(script), form, choice);
        let shared = Arc::new(settings.clone());
        let worker = |number: u16| {
            let counters = Arc::new(Counters::default());
            let forwarder = Forwarder::new(WorkerId(number), Arc::clone(&shared), 3, counters, 1);
            Worker { forwarder, inbox: VecDeque::new() }
        };
        let mut director = Director {
            now: Moment::since_epoch(Duration::from_secs(1)),
            ledger: SharedLedger::new(Arc::clone(&shared), Arc::default()),
            sockets: Sockets::default(),
            sent: HashSet::new(),
            payloads: HashSet::new(),
            left: Left::default(),
            workers: [worker(0), worker(1)],
            tokens: Vec::new(),
            settings,
        };
        director.publish(ALL_BACKENDS);
        director
    }

    pub(super) fn magic(&self) -> Magic {
        self.settings.magic
    }

    pub(super) fn token(&self, number: usize) -> Option<Token> {
        self.tokens.get(number).copied()
    }

    /// Whether all workers know what the ledger knows.
    pub(super) fn is_settled(&self) -> bool {
        self.workers.iter().all(|worker| worker.inbox.is_empty())
    }
}

/// What happens to it.
impl Director {
    /// A client's datagram arrives.
    pub(super) fn datagram(&mut self, arrival: Arrival, payload: &[u8]) {
        self.sent.insert((arrival.listener, arrival.client));
        self.payloads.insert(payload.to_vec());
        let number = worker_of(&arrival);
        let before = Slots::of(self);
        let verdict = self.with(number, |forwarder, cx| forwarder.client_datagram(&arrival, payload, cx));
        self.note_departures(&before);
        self.check_verdict(&arrival, payload, &verdict);
        let acks = self.carry_out(number, Some((&arrival, payload)));
        let asked = self.magic().parse_control(payload).is_some_and(|packet| packet.ack.is_some());
        assert_eq!(acks, usize::from(asked), "an ack for what asks for one, none for all else");
        if let Verdict::Drop(why) = verdict {
            assert!(!why.reason().is_empty(), "a drop has a reason");
        }
    }

    /// A datagram arrives at one of the upstream sockets.
    pub(super) fn reply(&mut self, socket: usize, source: BackendAddr, len: usize) {
        let Some((worker, index)) = self.sockets.pick(socket) else { return };
        let now = self.now;
        let forwarder = &mut self.workers[usize::from(worker.0)].forwarder;
        let outcome = forwarder.backend_datagram(index, source, len, now);
        self.check_reply(worker, index, source, outcome);
    }

    /// A query is answered with a token.
    pub(super) fn issue(&mut self, asked_by: IpAddr, backend: u8, bound: bool) {
        let mut ledger = self.ledger.lock();
        let inventory = Arc::clone(ledger.inventory());
        let count = inventory.backends().len();
        let Some(backend) = inventory.backends().get(usize::from(backend) % count.max(1)) else { return };
        let token = cast::token(self.tokens.len());
        let issue = Issue {
            token,
            seat: Seat::take(backend).expect("a seat"),
            asked_by,
            bound,
            wanted: None,
            sticky_key: None,
        };
        if self.tokens.len() < 16 && ledger.issue(issue, self.now).is_ok() {
            self.tokens.push(token);
        }
    }

    /// Time passes.
    pub(super) fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        let before = Slots::of(self);
        self.ledger.lock().expire(self.now);
        for number in 0..WORKERS {
            self.with(number, |forwarder, cx| forwarder.handle_timeout(cx));
            self.carry_out(number, None);
        }
        self.note_departures(&before);
        self.check_sessions();
    }

    /// Another inventory is in force; sessions whose backend is gone are to be closed.
    pub(super) fn publish(&mut self, choice: u8) {
        let inventory = Arc::new(self.ledger.lock().inventory().next(cast::backends(choice), Vec::new()));
        let endpoint = self.settings.has_default_endpoint.then(|| default_endpoint(Arc::clone(&inventory)));
        self.ledger.lock().publish(inventory, endpoint);
        let ledger = self.ledger.lock();
        let stranded = ledger.played().flat_map(|backend| ledger.players_on(backend));
        let stranded = stranded.filter_map(|id| ledger.player_of(id));
        let stranded: Vec<_> = stranded.filter(|player| ledger.is_gone(player.seat.backend())).collect();
        drop(ledger);
        for Player { seat, sessions } in stranded {
            for at in sessions {
                self.tell(at.place, Message::Close { session: at.id, seat: Arc::clone(&seat) });
            }
        }
    }

    /// Other settings are in force.
    pub(super) fn configure(&mut self, choice: u8) {
        self.settings = cast::settings(self.settings.magic, self.settings.token_form, choice);
        let settings = Arc::new(self.settings.clone());
        self.ledger.lock().configure(Arc::clone(&settings));
        for number in 0..WORKERS as u16 {
            let message = Message::Configure(Arc::clone(&settings));
            self.tell(Place::Worker(WorkerId(number)), message);
        }
        let inventory = Arc::clone(self.ledger.lock().inventory());
        let endpoint = self.settings.has_default_endpoint.then(|| default_endpoint(Arc::clone(&inventory)));
        self.ledger.lock().publish(inventory, endpoint);
    }

    /// Over the query port, the sessions of one token are to move to the backend of another.
    pub(super) fn reset(&mut self, session: u8, token: Token) {
        let (asker, session) = (session >> 4, self.token(usize::from(session % 16)));
        let asked_by = IpAddr::from([192, 0, 2, 1 + asker % 2]);
        let Some(session) = session else { return };
        let running = self.ledger.lock().admit_reset(&session, &token, asked_by, self.now);
        for Located { id: session, place, .. } in running.unwrap_or_default() {
            let reply = Reply::new(|_| {});
            self.tell(place, Message::Migrate { session, by: token.into(), reply });
        }
    }

    /// The worker reads the first message that waits for it.
    pub(super) fn deliver_one(&mut self, number: usize) {
        let Some(message) = self.workers[number].inbox.pop_front() else { return };
        let before = Slots::of(self);
        self.note_linger(&message);
        self.with(number, |forwarder, cx| {
            forwarder.message(message, cx);
            forwarder.handle_timeout(cx);
        });
        self.note_departures(&before);
        self.carry_out(number, None);
    }

    /// All messages are read, and what comes of them.
    pub(super) fn deliver_all(&mut self) {
        while !self.is_settled() {
            (0..WORKERS).for_each(|number| self.deliver_one(number));
        }
        self.check_sessions();
    }

    /// Everybody leaves. Panics when something is left of anybody.
    pub(super) fn run_out(&mut self) {
        self.deliver_all();
        for _ in 0..LONG_ENOUGH {
            self.pass(Duration::from_secs(60));
            self.deliver_all();
        }
        for worker in &self.workers {
            assert_eq!(worker.forwarder.holdings(), Holdings::default(), "nothing is left in a worker");
        }
        assert_eq!(self.sockets.open_count(), 0, "no upstream socket is left open");
        let ledger = self.ledger.lock();
        let left = (ledger.session_count(), ledger.waiting_count(), ledger.token_count());
        assert_eq!(left, (0, 0, 0), "no session, no token that waits, no token is left");
        let seats = ledger.inventory().backends().iter().map(|backend| backend.load.seats());
        assert_eq!(seats.sum::<u32>(), 0, "no seat is left taken");
    }
}

/// What workers ask for.
impl Director {
    fn with<T>(&mut self, number: usize, act: impl FnOnce(&mut Forwarder, &mut Context<'_>) -> T) -> T {
        let sockets = &mut self.sockets;
        let worker = WorkerId(number as u16);
        let mut open = |_: bool, index: UpstreamIndex| sockets.open(worker, index);
        let mut context = Context { now: self.now, ledger: &self.ledger, open: &mut open };
        act(&mut self.workers[number].forwarder, &mut context)
    }

    /// Carries all effects out, and says how many acks were among them.
    fn carry_out(&mut self, number: usize, cause: Option<(&Arrival, &[u8])>) -> usize {
        let mut acks = 0;
        while let Some(effect) = self.workers[number].forwarder.pop_effect() {
            match effect {
                Effect::ToBackend { handle, to, bytes } => self.check_sent_on(handle, to, &bytes),
                Effect::ToClient { to, bytes } => {
                    self.check_ack(&to, &bytes, cause);
                    acks += 1;
                }
                Effect::CloseUpstream { handle, .. } => self.sockets.close(handle),
                Effect::Tell { worker, message } => self.tell(Place::Worker(worker), message),
            }
        }
        acks
    }

    fn tell(&mut self, place: Place, message: Message) {
        let Place::Worker(WorkerId(number)) = place else { return };
        self.workers[usize::from(number)].inbox.push_back(message);
    }

    /// The running sessions.
    pub(super) fn sessions(&self) -> Vec<SessionId> {
        let ledger = self.ledger.lock();
        let mut found = Vec::new();
        for number in 1.. {
            if found.len() == ledger.session_count() {
                break;
            }
            found.extend(ledger.session(SessionId(number)).map(|session| session.id));
        }
        found
    }
}

/// As `SO_REUSEPORT` does it: a client's datagrams arrive at one worker.
fn worker_of(arrival: &Arrival) -> usize {
    let port = usize::from(arrival.client.socket_addr().port());
    (port + usize::from(arrival.client.ip().is_ipv6())) % WORKERS
}

/// The default, one that text can begin with, and one that the script names.
fn magic(script: &mut Script<'_>) -> Magic {
    match script.below(4) {
        0 => Magic::new(b"0000").expect("four bytes"),
        1 => script.magic(),
        _ => Magic::default(),
    }
}

fn default_endpoint(inventory: Arc<Inventory>) -> Arc<DefaultEndpoint> {
    let query = wire::Query { resource_type: "lobby".to_owned(), ..wire::Query::default() };
    let query = Query::compile(&query).expect("a query without selectors");
    let balancer = Arc::new(Balancer::new(Strategy::LeastSessions));
    Arc::new(DefaultEndpoint::new(query, balancer, inventory))
}

const ALL_BACKENDS: u8 = 0b1_1111;

/// Minutes until the last session has timed out and all that rests after it is gone.
const LONG_ENOUGH: usize = 15;
