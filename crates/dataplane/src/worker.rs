//! A worker: one thread that owns its sockets and its forwarder, and moves datagrams between them.
//!
//! ```text
//! epoll -> messages, listeners (a batch each), upstream sockets (gathered into batches)
//!       -> forwarder: verdict for each datagram -> one sendmmsg for each socket
//!       -> deadlines
//! ```
//! Order is kept per client: a batch is judged in order of arrival, and what goes to one socket goes
//! out in that order.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;

use tracing::{debug, warn};
use udp_director_core::{
    Arrival, BackendAddr, ClientAddr, Context, Counters, Dropped, Effect, Event, Forwarder, ListenerId,
    Message, Moment, Return, SharedLedger, UpstreamIndex, UpstreamSocket, Verdict, WorkerId,
};

use crate::clock::Clock;
use crate::restoring::Restoring;
use crate::sys::{
    BATCH, Datagram, Epoll, Ready, RecvBatch, Route, SendBatch, SendObserver, Waker, take_icmp_error,
};
use crate::udp::{ListenerSocket, Overflow, Upstream};

/// The longest that a worker sleeps, so that its heartbeat goes on.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How often a worker looks how much its sockets had no room for.
const OVERFLOW_INTERVAL: Duration = Duration::from_secs(1);

/// How many batches of one listener a worker takes before it looks at the other sockets.
const LISTENER_BATCHES: usize = 4;

/// How many orders a worker takes before it looks at the sockets.
const ORDER_BUDGET: usize = 256;

/// How many ICMP errors a worker reads off a socket at a time.
const ICMP_BUDGET: usize = 64;

/// What a worker is told to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Something for the forwarder.
    Forward(Message),
    /// Serve a listener.
    Listen(ListenerId, ListenerSocket),
    /// Close a listener.
    Unlisten(ListenerId),
    /// Take up sessions of before a restart.
    Restore(Restoring),
    /// End the thread.
    Stop,
}

/// The way to a worker.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    pub(crate) orders: SyncSender<Order>,
    pub(crate) waker: Arc<Waker>,
}

impl Mailbox {
    /// Hands an order over; gives it back when the worker has too many, or is gone.
    pub(crate) fn tell(&self, order: Order) -> Result<(), Order> {
        let outcome = self.orders.try_send(order);
        self.waker.wake();
        outcome.map_err(|error| match error {
            TrySendError::Full(order) | TrySendError::Disconnected(order) => order,
        })
    }
}

/// What a worker is made of.
pub(crate) struct Setup {
    pub(crate) id: WorkerId,
    pub(crate) forwarder: Forwarder,
    pub(crate) ledger: Arc<SharedLedger>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Clock,
    pub(crate) orders: Receiver<Order>,
    pub(crate) mailboxes: Vec<Mailbox>,
    /// Microseconds since the clock's epoch at which the worker last went round.
    pub(crate) heartbeat: Arc<AtomicU64>,
    /// Client halves and open upstream sockets, for gauges.
    pub(crate) sizes: Arc<[AtomicU64; 2]>,
}

/// A worker's state; lives on its thread.
pub(crate) struct Worker {
    setup: Setup,
    sockets: Sockets,
    received: RecvBatch,
    sending: SendBatch,
    /// When it looks at overflows again.
    overflows_due: Moment,
}

/// The sockets that a worker reads.
struct Sockets {
    epoll: Epoll,
    /// By listener id.
    listeners: Vec<Option<ListenerSocket>>,
    /// By upstream index.
    upstreams: Vec<Option<Reading>>,
}

/// An upstream socket that is read.
struct Reading {
    socket: Arc<Upstream>,
    /// How many datagrams the next call asks for. One that asks for more than there are makes the
    /// kernel look once more in vain, and most sockets have one: so it grows with what is found.
    most: usize,
    /// How often in a row a call for one datagram has found one.
    singles: u8,
    overflow: Overflow,
}

impl Reading {
    /// After so many single datagrams in a row it looks whether there are more.
    const SINGLES: u8 = 16;

    fn new(socket: Arc<Upstream>) -> Reading {
        Reading { socket, most: 1, singles: 0, overflow: Overflow::default() }
    }

    fn overflow(&mut self) -> u64 {
        self.overflow.since(self.socket.handle())
    }

    /// Learns from a call that asked for so many and found so many. What it may have left is
    /// reported again: epoll is level-triggered.
    fn found(&mut self, count: usize, asked: usize) {
        if count < asked {
            (self.most, self.singles) = (count.max(1), 0);
        } else if asked > 1 || self.singles >= Reading::SINGLES {
            (self.most, self.singles) = (BATCH.min(asked * 8), 0);
        } else {
            self.singles += 1;
        }
    }
}

/// What an epoll key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Orders,
    Listener(ListenerId),
    Upstream(UpstreamIndex),
}

impl Source {
    fn key(self) -> u64 {
        match self {
            Source::Orders => 0,
            Source::Listener(id) => 1 << 32 | u64::from(id.0),
            Source::Upstream(index) => 2 << 32 | u64::from(index.0),
        }
    }

    fn from_key(key: u64) -> Source {
        match key >> 32 {
            0 => Source::Orders,
            1 => Source::Listener(ListenerId(key as u16)),
            _ => Source::Upstream(UpstreamIndex(key as u32)),
        }
    }
}

impl Worker {
    pub(crate) fn new(setup: Setup) -> io::Result<Worker> {
        let epoll = Epoll::new()?;
        epoll.add(setup.mailboxes[usize::from(setup.id.0)].waker.fd(), Source::Orders.key())?;
        let sockets = Sockets { epoll, listeners: Vec::new(), upstreams: Vec::new() };
        Ok(Worker {
            setup,
            sockets,
            received: RecvBatch::new(),
            sending: SendBatch::new(),
            overflows_due: Moment::default(),
        })
    }

    /// Goes round until told to stop.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            let timeout = self.timeout();
            self.sockets.epoll.wait(&mut ready, timeout)?;
            self.beat();
            if ready.iter().any(|ready| ready.key == Source::Orders.key()) && !self.take_orders() {
                return Ok(());
            }
            self.serve_listeners(&ready);
            self.serve_upstreams(&ready);
            self.keep_deadlines();
            self.count_overflows();
        }
    }

    fn timeout(&self) -> Duration {
        if self.setup.forwarder.has_effects() {
            return Duration::from_millis(1);
        }
        let due = self.setup.forwarder.poll_timeout();
        due.map_or(LONGEST_WAIT, |due| due - self.setup.clock.now()).min(LONGEST_WAIT)
    }

    fn beat(&self) {
        let elapsed = self.setup.clock.now() - Moment::default();
        self.setup.heartbeat.store(elapsed.as_micros() as u64, Ordering::Relaxed);
        let (clients, upstreams) = self.setup.forwarder.sizes();
        self.setup.sizes[0].store(clients as u64, Ordering::Relaxed);
        self.setup.sizes[1].store(upstreams as u64, Ordering::Relaxed);
    }

    /// Carries orders out; `false` means to stop.
    fn take_orders(&mut self) -> bool {
        let waker = Arc::clone(&self.setup.mailboxes[usize::from(self.setup.id.0)].waker);
        waker.clear();
        for _ in 0..ORDER_BUDGET {
            match self.setup.orders.try_recv() {
                Ok(Order::Forward(message)) => self.message(message),
                Ok(Order::Listen(id, socket)) => self.listen(id, socket),
                Ok(Order::Unlisten(id)) => {
                    let lost = self.sockets.unlisten(id);
                    self.overflowed(lost);
                }
                Ok(Order::Restore(restoring)) => self.restore(restoring),
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
        waker.wake();
        true
    }

    fn listen(&mut self, id: ListenerId, socket: ListenerSocket) {
        if let Err(error) = self.sockets.listen(id, socket) {
            warn!(listener = id.0, %error, "a worker cannot serve a listener");
        }
    }

    fn message(&mut self, message: Message) {
        let now = self.setup.clock.now();
        let sockets = &mut self.sockets;
        let mut open = |v6, index| sockets.open_upstream(v6, index);
        let mut cx = Context { now, ledger: &self.setup.ledger, open: &mut open };
        self.setup.forwarder.message(message, &mut cx);
        self.carry_out();
    }

    fn restore(&mut self, restoring: Restoring) {
        let now = self.setup.clock.now();
        let sockets = &mut self.sockets;
        let mut put = |index: UpstreamIndex, socket| sockets.put_upstream(index, socket);
        let restored = restoring.carry_out(&mut self.setup.forwarder, &self.setup.ledger, now, &mut put);
        self.carry_out();
        restored.tell();
    }

    fn serve_listeners(&mut self, ready: &[Ready]) {
        for ready in ready {
            let Source::Listener(id) = Source::from_key(ready.key) else { continue };
            let Some(fd) = self.sockets.listener(id).map(ListenerSocket::fd) else { continue };
            if ready.error {
                self.observer(false).icmp_pending(fd);
            }
            for _ in 0..LISTENER_BATCHES {
                if self.client_batch(id, fd) < BATCH {
                    break;
                }
            }
        }
    }

    /// Forwards one batch of clients' datagrams; gives its size.
    fn client_batch(&mut self, listener: ListenerId, fd: i32) -> usize {
        let count = match self.received.receive(fd, 0, BATCH) {
            Ok(count) => count,
            Err(_) => {
                self.observer(false).icmp_pending(fd);
                return 0;
            }
        };
        let now = self.setup.clock.now();
        let mut bytes = 0;
        for slot in 0..count {
            bytes += self.client_datagram(listener, slot, now);
        }
        if count > 0 {
            self.setup.counters.from_clients.add(count as u64, bytes as u64);
        }
        self.flush_to_backends();
        count
    }

    /// Judges the datagram in a slot; gives its size.
    fn client_datagram(&mut self, listener: ListenerId, slot: usize, now: Moment) -> usize {
        let Some(datagram) = self.received.datagram(slot) else { return 0 };
        if datagram.truncated {
            self.setup.counters.dropped(Dropped::Truncated);
            return datagram.payload.len();
        }
        let arrival = arrival(listener, &datagram);
        let sockets = &mut self.sockets;
        let mut open = |v6, index| sockets.open_upstream(v6, index);
        let mut cx = Context { now, ledger: &self.setup.ledger, open: &mut open };
        let len = datagram.payload.len();
        match self.setup.forwarder.client_datagram(&arrival, datagram.payload, &mut cx) {
            Verdict::Forward { handle, to } => {
                let route = backend_route(handle, to);
                self.sending.push(route, slot);
            }
            Verdict::Consumed => {}
            Verdict::Drop(why) => self.setup.counters.dropped(why),
        }
        if self.setup.forwarder.has_effects() {
            self.carry_out();
        }
        len
    }

    fn flush_to_backends(&mut self) {
        let mut observer = Observer { counters: &self.setup.counters, icmp: Event::BackendUnreachable };
        let (datagrams, bytes) = self.sending.flush(&self.received, &mut observer);
        if datagrams > 0 {
            self.setup.counters.to_backends.add(datagrams, bytes);
        }
    }

    /// Gathers replies from all ready upstream sockets into batches: many sockets with a reply each
    /// still go out by few calls.
    fn serve_upstreams(&mut self, ready: &[Ready]) {
        let mut filled = 0;
        for ready in ready {
            let Source::Upstream(index) = Source::from_key(ready.key) else { continue };
            let Some((fd, most)) = self.sockets.upstream(index) else { continue };
            if ready.error {
                self.observer(true).icmp_pending(fd);
            }
            let count = match self.received.receive(fd, filled, most) {
                Ok(count) => count,
                Err(_) => {
                    self.observer(true).icmp_pending(fd);
                    continue;
                }
            };
            self.sockets.found(index, count, most.min(BATCH - filled));
            self.replies(index, filled, count);
            filled += count;
            if filled == BATCH {
                self.flush_to_clients();
                filled = 0;
            }
        }
        if filled > 0 {
            self.flush_to_clients();
        }
    }

    /// Judges the replies in `count` slots from `first` on.
    fn replies(&mut self, index: UpstreamIndex, first: usize, count: usize) {
        let now = self.setup.clock.now();
        let mut bytes = 0;
        for slot in first..first + count {
            let Some(reply) = self.received.datagram(slot) else { continue };
            bytes += reply.payload.len();
            if reply.truncated {
                self.setup.counters.dropped(Dropped::Truncated);
                continue;
            }
            let source = BackendAddr::new(reply.source);
            match self.setup.forwarder.backend_datagram(index, source, reply.payload.len(), now) {
                Ok(to) => match self.sockets.route(&to) {
                    Some(route) => self.sending.push(route, slot),
                    None => self.setup.counters.dropped(Dropped::NoSession),
                },
                Err(why) => self.setup.counters.dropped(why),
            }
        }
        if count > 0 {
            self.setup.counters.from_backends.add(count as u64, bytes as u64);
        }
    }

    fn flush_to_clients(&mut self) {
        let mut observer = Observer { counters: &self.setup.counters, icmp: Event::ClientUnreachable };
        let (datagrams, bytes) = self.sending.flush(&self.received, &mut observer);
        if datagrams > 0 {
            self.setup.counters.to_clients.add(datagrams, bytes);
        }
    }

    fn observer(&self, backend: bool) -> Observer<'_> {
        let icmp = if backend { Event::BackendUnreachable } else { Event::ClientUnreachable };
        Observer { counters: &self.setup.counters, icmp }
    }

    fn keep_deadlines(&mut self) {
        let now = self.setup.clock.now();
        let sockets = &mut self.sockets;
        let mut open = |v6, index| sockets.open_upstream(v6, index);
        let mut cx = Context { now, ledger: &self.setup.ledger, open: &mut open };
        self.setup.forwarder.handle_timeout(&mut cx);
        self.carry_out();
    }

    /// Counts, now and then, what found a socket's buffer full.
    fn count_overflows(&mut self) {
        let now = self.setup.clock.now();
        if now >= self.overflows_due {
            self.overflows_due = now + OVERFLOW_INTERVAL;
            let lost = self.sockets.overflows();
            self.overflowed(lost);
        }
    }

    fn overflowed(&self, lost: u64) {
        self.setup.counters.dropped_many(Dropped::Overflow, lost);
    }

    /// Carries the forwarder's effects out. What another worker cannot take yet waits.
    fn carry_out(&mut self) {
        while let Some(effect) = self.setup.forwarder.pop_effect() {
            match effect {
                Effect::ToBackend { handle, to, bytes } => {
                    let mut observer =
                        Observer { counters: &self.setup.counters, icmp: Event::BackendUnreachable };
                    let sent = self.sending.send_now(&backend_route(handle, to), &bytes, &mut observer);
                    self.setup.counters.to_backends.add(sent.0, sent.1);
                }
                Effect::ToClient { to, bytes } => self.answer(&to, &bytes),
                Effect::CloseUpstream { index, handle } => {
                    let lost = self.sockets.close_upstream(index, handle);
                    self.overflowed(lost);
                }
                Effect::Tell { worker, message } => {
                    let mailbox = &self.setup.mailboxes[usize::from(worker.0)];
                    if let Err(Order::Forward(message)) = mailbox.tell(Order::Forward(message)) {
                        debug!(worker = worker.0, "a worker is slow to take messages");
                        self.setup.forwarder.unpop_effect(Effect::Tell { worker, message });
                        return;
                    }
                }
            }
        }
    }

    fn answer(&mut self, to: &Return, bytes: &[u8]) {
        let Some(route) = self.sockets.route(to) else { return };
        let mut observer = Observer { counters: &self.setup.counters, icmp: Event::ClientUnreachable };
        let sent = self.sending.send_now(&route, bytes, &mut observer);
        self.setup.counters.to_clients.add(sent.0, sent.1);
    }
}

fn arrival(listener: ListenerId, datagram: &Datagram<'_>) -> Arrival {
    let unknown = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    Arrival { listener, client: ClientAddr::new(datagram.source), local: datagram.local.unwrap_or(unknown) }
}

fn backend_route(handle: i32, to: BackendAddr) -> Route {
    let to = to.socket_addr();
    Route { fd: handle, v6: to.is_ipv6(), to, from: None }
}

struct Observer<'a> {
    counters: &'a Counters,
    icmp: Event,
}

impl SendObserver for Observer<'_> {
    fn dropped(&mut self, why: Dropped) {
        self.counters.dropped(why);
    }

    fn icmp_pending(&mut self, fd: i32) {
        for _ in 0..ICMP_BUDGET {
            if !take_icmp_error(fd) {
                return;
            }
            self.counters.happened(self.icmp);
        }
    }
}

impl Sockets {
    fn listen(&mut self, id: ListenerId, socket: ListenerSocket) -> io::Result<()> {
        self.epoll.add(socket.fd(), Source::Listener(id).key())?;
        put(&mut self.listeners, usize::from(id.0), socket);
        Ok(())
    }

    /// Closes a listener's socket. Gives what had found its buffer full.
    fn unlisten(&mut self, id: ListenerId) -> u64 {
        // Closing takes the descriptor out of the epoll instance: nobody else has it.
        let closed = self.listeners.get_mut(usize::from(id.0)).and_then(Option::take);
        closed.map_or(0, |mut socket| socket.overflow())
    }

    /// What has found a buffer full since this was last asked.
    fn overflows(&mut self) -> u64 {
        let listeners = self.listeners.iter_mut().flatten().map(ListenerSocket::overflow);
        let upstreams = self.upstreams.iter_mut().flatten().map(Reading::overflow);
        listeners.chain(upstreams).sum()
    }

    fn listener(&self, id: ListenerId) -> Option<&ListenerSocket> {
        self.listeners.get(usize::from(id.0))?.as_ref()
    }

    /// The descriptor of an upstream socket, and how many datagrams to ask it for.
    fn upstream(&self, index: UpstreamIndex) -> Option<(i32, usize)> {
        let reading = self.upstreams.get(index.0 as usize)?.as_ref()?;
        Some((reading.socket.handle(), reading.most))
    }

    fn found(&mut self, index: UpstreamIndex, count: usize, asked: usize) {
        if let Some(Some(reading)) = self.upstreams.get_mut(index.0 as usize) {
            reading.found(count, asked);
        }
    }

    fn open_upstream(&mut self, v6: bool, index: UpstreamIndex) -> Option<Arc<dyn UpstreamSocket>> {
        let opened = Upstream::open(v6).and_then(|socket| {
            let socket = Arc::new(socket);
            self.put_upstream(index, Arc::clone(&socket))?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => Some(socket),
            Err(error) => {
                debug!(%error, "an upstream socket cannot be opened");
                None
            }
        }
    }

    /// Reads an upstream socket from now on.
    fn put_upstream(&mut self, index: UpstreamIndex, socket: Arc<Upstream>) -> io::Result<()> {
        self.epoll.add(socket.handle(), Source::Upstream(index).key())?;
        put(&mut self.upstreams, index.0 as usize, Reading::new(socket));
        Ok(())
    }

    /// Closes an upstream socket. Gives what had found its buffer full.
    fn close_upstream(&mut self, index: UpstreamIndex, handle: i32) -> u64 {
        let place = self.upstreams.get_mut(index.0 as usize);
        let reading = place.and_then(|place| place.take_if(|reading| reading.socket.handle() == handle));
        reading.map_or(0, |mut reading| {
            self.epoll.remove(handle);
            reading.overflow()
        })
    }

    /// The way back to a client: by this worker's socket of the listener, from the address that the
    /// client sent to.
    fn route(&self, to: &Return) -> Option<Route> {
        let socket = self.listener(to.listener)?;
        let from = (!to.from.is_unspecified()).then_some(to.from);
        Some(Route { fd: socket.fd(), v6: socket.v6, to: to.to.socket_addr(), from })
    }
}

fn put<T>(places: &mut Vec<Option<T>>, index: usize, value: T) {
    if places.len() <= index {
        places.resize_with(index + 1, || None);
    }
    places[index] = Some(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_with_a_backlog_is_soon_asked_for_whole_batches() {
        let mut reading = Reading::new(Arc::new(Upstream::open(false).expect("a socket")));
        let calls = (0..).find(|_| {
            reading.found(reading.most, reading.most);
            reading.most == BATCH
        });
        assert!(calls < Some(20));
        reading.found(1, BATCH);
        assert_eq!(reading.most, 1, "and for one when there is one");
    }

    #[test]
    fn epoll_key_gives_its_source_back() {
        for source in [
            Source::Orders,
            Source::Listener(ListenerId(u16::MAX)),
            Source::Upstream(UpstreamIndex(u32::MAX)),
            Source::Upstream(UpstreamIndex(0)),
        ] {
            assert_eq!(Source::from_key(source.key()), source);
        }
    }
}
