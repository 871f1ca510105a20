//! All workers: started together, told what to serve, stopped together.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use udp_director_core::{
    Counters, Forwarder, ListenerId, Located, Message, Moment, MovedBy, Place, Refusal, Reply,
    RestoredClients, Seat, SessionRecord, Settings, SharedLedger, WorkerId,
};

use crate::clock::Clock;
use crate::restoring::{Restored, Restoring, divided};
use crate::sys::Waker;
use crate::udp::{ListenerSocket, bind_group};
use crate::worker::{Mailbox, Order, Setup, Worker};

/// How many orders wait for a worker at most; beyond it, whoever orders is told that it is busy.
const ORDERS: usize = 4096;

/// How workers are made.
#[derive(Debug)]
pub struct WorkersOptions {
    /// How many threads.
    pub count: usize,
    /// How many upstream sockets all workers together may open.
    pub max_upstreams: usize,
    /// Feeds the `random` strategy.
    pub seed: u64,
}

/// The data-plane threads for UDP.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Handle>,
    clock: Clock,
}

/// A listener's sockets, bound but not served yet.
#[derive(Debug)]
pub struct Listening {
    group: Vec<ListenerSocket>,
    bound: SocketAddr,
}

impl Listening {
    /// Where it is bound.
    pub fn addr(&self) -> SocketAddr {
        self.bound
    }
}

#[derive(Debug)]
struct Handle {
    mailbox: Mailbox,
    counters: Arc<Counters>,
    heartbeat: Arc<AtomicU64>,
    sizes: Arc<[AtomicU64; 2]>,
    /// `None` once it has been waited for. Held to look at it or to take it.
    thread: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

impl Workers {
    /// Starts the threads. They serve nothing until [`Workers::listen`].
    ///
    /// # Errors
    /// A descriptor or a thread cannot be had.
    pub fn start(options: &WorkersOptions, ledger: &Arc<SharedLedger>, clock: Clock) -> io::Result<Workers> {
        let mut receivers = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..options.count {
            let (orders, receiver) = sync_channel(ORDERS);
            receivers.push(receiver);
            mailboxes.push(Mailbox { orders, waker: Arc::new(Waker::new()?) });
        }
        let settings = Arc::clone(ledger.lock().settings());
        let workers = receivers.into_iter().enumerate().map(|(number, orders)| {
            let id = WorkerId(number as u16);
            let counters = Arc::new(Counters::default());
            let max_upstreams = (options.max_upstreams / options.count).max(1) as u32;
            let seed = options.seed.wrapping_add(number as u64);
            let setup = Setup {
                id,
                forwarder: Forwarder::new(
                    id,
                    Arc::clone(&settings),
                    max_upstreams,
                    Arc::clone(&counters),
                    seed,
                ),
                ledger: Arc::clone(ledger),
                counters,
                clock,
                orders,
                mailboxes: mailboxes.clone(),
                heartbeat: Arc::default(),
                sizes: Arc::default(),
            };
            start_thread(setup)
        });
        Ok(Workers { workers: workers.collect::<io::Result<_>>()?, clock })
    }

    /// Binds a listener's sockets, one for each worker, and lets the workers serve them. Gives the
    /// address that was bound, with the port that the kernel chose where `addr` says 0.
    ///
    /// # Errors
    /// As `bind(2)`, among others where another process has the port.
    pub fn listen(&self, id: ListenerId, addr: SocketAddr) -> io::Result<SocketAddr> {
        let listening = self.bind(addr)?;
        let bound = listening.addr();
        self.serve(id, listening);
        Ok(bound)
    }

    /// Binds a listener's sockets, one for each worker. What arrives waits in them until
    /// [`Workers::serve`], or is lost with them.
    ///
    /// # Errors
    /// As `bind(2)`, among others where another process has the port.
    pub fn bind(&self, addr: SocketAddr) -> io::Result<Listening> {
        let group = bind_group(addr, self.workers.len())?;
        let bound = group.first().map(ListenerSocket::local_addr).unwrap_or(Ok(addr))?;
        Ok(Listening { group, bound })
    }

    /// Lets the workers serve a listener, behind what they have been told before.
    pub fn serve(&self, id: ListenerId, listening: Listening) {
        for (worker, socket) in self.workers.iter().zip(listening.group) {
            worker.give(Order::Listen(id, socket));
        }
    }

    /// Puts sessions of before a restart into the workers, on the upstream ports that they had, and says
    /// what has become of them. For the time before any listener is served.
    pub async fn restore(&self, records: Vec<SessionRecord>) -> Restored {
        let mut outcomes = Vec::new();
        for (worker, ports) in self.workers.iter().zip(divided(records, self.workers.len())) {
            let (sender, outcome) = oneshot::channel();
            worker.give(Order::Restore(Restoring { ports, done: sender }));
            outcomes.push(outcome);
        }
        let mut restored = Restored::default();
        for outcome in outcomes {
            // A worker that has failed restores nobody; that ends the process anyway.
            restored.add(outcome.await.unwrap_or_default());
        }
        restored
    }

    /// Lets all workers know the clients of before a restart, wherever their datagrams arrive now.
    pub fn expect(&self, clients: &Arc<RestoredClients>) {
        if self.workers.len() > 1 {
            self.tell_all(|| Order::Forward(Message::Expect(Arc::clone(clients))));
        }
    }

    /// Closes a listener's sockets. Its sessions are to have ended before.
    pub fn unlisten(&self, id: ListenerId) {
        self.tell_all(|| Order::Unlisten(id));
    }

    /// Hands new settings to all workers.
    pub fn configure(&self, settings: &Arc<Settings>) {
        self.tell_all(|| Order::Forward(Message::Configure(Arc::clone(settings))));
    }

    /// An order to all, that must not be lost: waits for those that are busy.
    fn tell_all(&self, order: impl Fn() -> Order) {
        self.workers.iter().for_each(|worker| worker.give(order()));
    }

    /// Migrates a UDP session to the backend of a token.
    ///
    /// # Errors
    /// Says why the session stays where it was.
    pub async fn migrate(&self, at: Located, by: impl Into<MovedBy>) -> Result<(), Refusal> {
        let (sender, outcome) = oneshot::channel();
        let reply = Reply::new(move |result| {
            // Who asked may have gone.
            let _ = sender.send(result);
        });
        self.tell(at.place, Message::Migrate { session: at.id, by: by.into(), reply })?;
        outcome.await.unwrap_or(Err(Refusal::WorkerBusy))
    }

    /// Parks a UDP session whose backend is gone, unless it has left that seat.
    ///
    /// # Errors
    /// The worker has too many orders; to be tried again.
    pub fn park(&self, at: Located, seat: Arc<Seat>) -> Result<(), Refusal> {
        self.tell(at.place, Message::Park { session: at.id, seat })
    }

    /// Ends a UDP session whose backend is gone, unless it has left that seat.
    ///
    /// # Errors
    /// The worker has too many orders; to be tried again.
    pub fn close(&self, at: Located, seat: Arc<Seat>) -> Result<(), Refusal> {
        self.tell(at.place, Message::Close { session: at.id, seat })
    }

    fn tell(&self, place: Place, message: Message) -> Result<(), Refusal> {
        let Place::Worker(WorkerId(number)) = place else { return Err(Refusal::NoSession) };
        let worker = self.workers.get(usize::from(number)).ok_or(Refusal::NoSession)?;
        worker.mailbox.tell(Order::Forward(message)).map_err(|_| Refusal::WorkerBusy)
    }

    /// What each worker counts.
    pub fn counters(&self) -> Vec<Arc<Counters>> {
        self.workers.iter().map(|worker| Arc::clone(&worker.counters)).collect()
    }

    /// How long ago the slowest worker last went round.
    pub fn slowest_heartbeat(&self) -> Duration {
        let now = self.clock.now();
        let age = |worker: &Handle| {
            let last = Duration::from_micros(worker.heartbeat.load(Ordering::Relaxed));
            now - Moment::since_epoch(last)
        };
        self.workers.iter().map(age).max().unwrap_or_default()
    }

    /// Upstream sockets open in all workers.
    pub fn upstream_sockets(&self) -> u64 {
        self.workers.iter().map(|worker| worker.sizes[1].load(Ordering::Relaxed)).sum()
    }

    /// Whether a thread has ended though nobody told it to.
    pub fn has_failed(&self) -> bool {
        self.workers.iter().any(|worker| worker.lock_thread().as_ref().is_some_and(JoinHandle::is_finished))
    }

    /// Ends all threads and waits for them.
    ///
    /// # Errors
    /// What ended a worker before, if something did.
    pub fn stop(&self) -> io::Result<()> {
        self.tell_all(|| Order::Stop);
        let threads = self.workers.iter().filter_map(|worker| worker.lock_thread().take());
        threads.map(|thread| thread.join()).try_for_each(|ended| match ended {
            Ok(outcome) => outcome,
            Err(_) => Err(io::Error::other("a worker panicked")),
        })
    }
}

impl Handle {
    /// Gives an order that must not be lost: where the worker has too many, waits until it has taken
    /// some. One whose thread has ended gets none; the process is about to end then.
    fn give(&self, order: Order) {
        if let Err(order) = self.mailbox.tell(order)
            && self.mailbox.orders.send(order).is_ok()
        {
            self.mailbox.waker.wake();
        }
    }

    fn lock_thread(&self) -> MutexGuard<'_, Option<JoinHandle<io::Result<()>>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start_thread(setup: Setup) -> io::Result<Handle> {
    let mailbox = setup.mailboxes[usize::from(setup.id.0)].clone();
    let counters = Arc::clone(&setup.counters);
    let heartbeat = Arc::clone(&setup.heartbeat);
    let sizes = Arc::clone(&setup.sizes);
    let name = format!("worker-{}", setup.id.0);
    let thread = std::thread::Builder::new().name(name).spawn(move || Worker::new(setup)?.run())?;
    Ok(Handle { mailbox, counters, heartbeat, sizes, thread: Mutex::new(Some(thread)) })
}
