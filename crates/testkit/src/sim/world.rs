//! The world: what there is, and what can be seen of it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use udp_director_core::{
    Backend, ClientAddr, Counters, Dropped, Event, Forwarder, Holdings, ListenerId, Message, Moment, Refusal,
    Settings, SharedLedger, WorkerId,
};

use super::link::Way;
use super::player::{Player, PlayerId};
use super::queue::Queue;
use super::random::{Random, mix};
use super::setup::Setup;
use super::sockets::Sockets;
use super::watch::Watch;

/// A director with its clients and backends, in virtual time.
#[derive(Debug)]
pub struct World {
    pub(super) setup: Setup,
    pub(super) now: Moment,
    pub(super) random: Random,
    pub(super) queue: Queue<Happening>,
    pub(super) ledger: SharedLedger,
    pub(super) workers: Vec<Worker>,
    pub(super) sockets: Sockets,
    pub(super) players: Vec<Player>,
    /// When the last message between two workers arrives: the next one does not overtake it.
    pub(super) told: HashMap<(WorkerId, WorkerId), Moment>,
    pub(super) tokens: u64,
    /// Game servers that the inventory has or had, where they outlive it.
    pub(super) servers: HashMap<IpAddr, String>,
    /// The backends that take datagrams and answer none.
    pub(super) silent: HashSet<String>,
    /// Whether no further upstream socket is to be had.
    pub(super) sockets_are_short: bool,
    /// Outcomes of resets over the query port.
    pub(super) resets: Arc<Mutex<Vec<Result<(), Refusal>>>>,
    pub(super) watch: Watch,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) forwarder: Forwarder,
    pub(super) counters: Arc<Counters>,
}

/// Something that is under way.
#[derive(Debug)]
pub(super) enum Happening {
    Arrival { way: Way, payload: Vec<u8> },
    Message { worker: WorkerId, message: Message },
}

/// The director's public address, unless a test says otherwise.
pub(super) const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

impl World {
    /// Makes a director with nobody in it.
    pub fn new(setup: Setup) -> World {
        let settings = Arc::new(setup.settings.clone());
        let ledger = SharedLedger::new(Arc::clone(&settings), Arc::default());
        let workers = (0..setup.workers).map(|number| Worker::new(WorkerId(number), &setup, &settings));
        let mut world = World {
            now: Moment::since_epoch(Duration::from_secs(1)),
            random: Random::new(setup.seed),
            queue: Queue::new(),
            ledger,
            workers: workers.collect(),
            sockets: Sockets::default(),
            players: Vec::new(),
            told: HashMap::new(),
            tokens: 0,
            servers: HashMap::new(),
            silent: HashSet::new(),
            sockets_are_short: false,
            resets: Arc::default(),
            watch: Watch::default(),
            setup,
        };
        world.publish(world.setup.backends.clone());
        world
    }

    /// The present.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// What could be seen from outside so far.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// How many sessions run.
    pub fn sessions(&self) -> usize {
        self.ledger.lock().session_count()
    }

    /// How many tokens are known, redeemed ones included.
    pub fn tokens(&self) -> usize {
        self.ledger.lock().token_count()
    }

    /// How many tokens wait to be redeemed.
    pub fn waiting(&self) -> usize {
        self.ledger.lock().waiting_count()
    }

    /// Clears expired tokens away, as the control side does once in a while.
    pub fn expire(&self) {
        self.ledger.lock().expire(self.now);
    }

    /// The player of that id.
    pub fn player(&self, id: PlayerId) -> &Player {
        &self.players[id.0 as usize]
    }

    /// All players.
    pub fn players(&self) -> &[Player] {
        &self.players
    }

    /// The seats taken on a backend of the current inventory.
    pub fn seats(&self, name: &str) -> u32 {
        self.backend(name).load.seats()
    }

    /// How often that was the reason for a drop, in all workers.
    pub fn drops(&self, why: Dropped) -> u64 {
        self.workers.iter().map(|worker| worker.counters.drops(why)).sum()
    }

    /// How many datagrams were dropped, for whatever reason.
    pub fn all_drops(&self) -> u64 {
        Dropped::all().map(|why| self.drops(why)).sum()
    }

    /// How often a token or control packet was refused for that reason.
    pub fn refusals(&self, why: Refusal) -> u64 {
        self.drops(Dropped::Refused(why))
    }

    /// How often that has happened, in all workers.
    pub fn events(&self, event: Event) -> u64 {
        self.workers.iter().map(|worker| worker.counters.events(event)).sum()
    }

    /// What each worker's forwarder holds.
    pub fn holdings(&self) -> Vec<Holdings> {
        self.workers.iter().map(|worker| worker.forwarder.holdings()).collect()
    }

    /// Upstream sockets open in all workers.
    pub fn open_sockets(&self) -> usize {
        self.sockets.open_count()
    }

    /// Says that no two players share an upstream socket towards one backend: it could not tell them
    /// apart.
    ///
    /// # Panics
    /// When two do.
    pub fn assert_upstreams_unshared(&self) {
        let ledger = self.ledger.lock();
        let mut taken = HashSet::new();
        for session in ledger.sessions() {
            let upstream = session.upstream.as_ref().expect("a UDP session");
            let slot = (upstream.socket.handle(), session.backend_addr);
            assert!(taken.insert(slot), "{slot:?} is used twice");
        }
    }

    /// Says that nothing is left of anybody: to be asked after [`World::run_out`].
    ///
    /// # Panics
    /// When something is left, naming it.
    pub fn assert_empty(&self) {
        let ledger = self.ledger.lock();
        assert_eq!(ledger.session_count(), 0, "sessions");
        assert_eq!(ledger.waiting_count(), 0, "tokens that wait");
        assert_eq!(ledger.token_count(), 0, "tokens");
        for backend in ledger.inventory().backends() {
            assert_eq!(backend.load.seats(), 0, "seats on {}", backend.spec.name);
        }
        for worker in &self.workers {
            assert_eq!(worker.forwarder.holdings(), Holdings::default());
        }
        assert_eq!(self.sockets.open_count(), 0, "upstream sockets");
    }

    pub(super) fn backend(&self, name: &str) -> Arc<Backend> {
        let inventory = Arc::clone(self.ledger.lock().inventory());
        let found = inventory.backends().iter().find(|backend| backend.spec.name == name);
        Arc::clone(found.expect("a backend of that name is in the inventory"))
    }

    /// The worker that a client's datagrams arrive at, as `SO_REUSEPORT` spreads them.
    pub fn worker_of(&self, listener: ListenerId, client: ClientAddr) -> WorkerId {
        let ip = match client.ip() {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => mix(v6.to_bits() as u64 ^ (v6.to_bits() >> 64) as u64),
        };
        let port = u64::from(client.socket_addr().port());
        let hash = mix(ip << 32 | port << 16 | u64::from(listener.0));
        WorkerId((hash % self.workers.len() as u64) as u16)
    }
}

impl Worker {
    fn new(id: WorkerId, setup: &Setup, settings: &Arc<Settings>) -> Worker {
        let counters = Arc::new(Counters::default());
        let seed = setup.seed.wrapping_add(id.0.into());
        let forwarder =
            Forwarder::new(id, Arc::clone(settings), setup.max_upstreams, Arc::clone(&counters), seed);
        Worker { forwarder, counters }
    }
}
