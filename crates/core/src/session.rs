//! Sessions: the binding of a client to a backend on one listener.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use udp_director_wire::Token;

use crate::addr::{BackendAddr, ClientAddr};
use crate::seat::Seat;
use crate::settings::ListenerId;
use crate::time::{Moment, SharedMoment};

/// A session's number, never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// How often a session has been migrated or resumed: what is older changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u32);

impl Generation {
    pub(crate) fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

/// A data-plane thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

/// Who carries the client's side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The worker that the client's datagrams arrive at.
    Worker(WorkerId),
    /// A TCP connection.
    Stream,
}

/// An upstream socket, as far as the rules see it.
pub trait UpstreamSocket: fmt::Debug + Send + Sync {
    /// What the socket layer needs to send on it from any worker; valid while this value lives.
    fn handle(&self) -> i32;

    /// The port that backends see; 0 where nobody is to bind it again after a restart.
    fn port(&self) -> u16 {
        0
    }
}

/// An upstream socket and where it is read.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The worker whose pool it is in, and which reads it.
    pub worker: WorkerId,
    /// Its place in that worker's pool.
    pub index: UpstreamIndex,
    /// The socket itself.
    pub socket: Arc<dyn UpstreamSocket>,
}

/// A place in a worker's pool of upstream sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamIndex(pub u32);

/// When a session was last used and what it has carried. Each direction has one writer.
#[derive(Debug)]
pub struct Activity {
    to_backend: Direction,
    to_client: Direction,
}

/// One direction of a session.
#[derive(Debug)]
pub struct Direction {
    last: SharedMoment,
    datagrams: AtomicU64,
    bytes: AtomicU64,
}

impl Direction {
    fn new(now: Moment) -> Direction {
        Direction { last: SharedMoment::new(now), datagrams: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Counts one datagram, or one piece of a stream. For the direction's one writer alone: loads
    /// and stores instead of read-modify-writes, since nobody else counts here.
    #[inline]
    pub fn record(&self, now: Moment, len: usize) {
        self.last.set(now);
        self.datagrams.store(self.datagrams.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + len as u64, Ordering::Relaxed);
    }

    /// Keeps the session alive without counting anything.
    pub(crate) fn touch(&self, now: Moment) {
        self.last.set(now);
    }

    /// Datagrams (on TCP: reads) carried so far.
    pub fn datagrams(&self) -> u64 {
        self.datagrams.load(Ordering::Relaxed)
    }

    /// Bytes carried so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Activity {
    /// Activity that begins now.
    pub fn new(now: Moment) -> Activity {
        Activity { to_backend: Direction::new(now), to_client: Direction::new(now) }
    }

    /// From the client to the backend.
    pub fn to_backend(&self) -> &Direction {
        &self.to_backend
    }

    /// From the backend to the client.
    pub fn to_client(&self) -> &Direction {
        &self.to_client
    }

    /// When the session last carried anything, in either direction.
    pub fn last(&self) -> Moment {
        self.to_backend.last.get().max(self.to_client.last.get())
    }
}

/// A session, as the ledger keeps it.
#[derive(Debug)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// The listener it is on.
    pub listener: ListenerId,
    /// Where the client is now.
    pub client: ClientAddr,
    /// The director's own address that the client sends to.
    pub local: IpAddr,
    /// Who carries the client's side.
    pub place: Place,
    /// The seat it holds, and by it the backend.
    pub seat: Arc<Seat>,
    /// Where the backend serves this listener.
    pub backend_addr: BackendAddr,
    /// The upstream socket; `None` on TCP.
    pub upstream: Option<Upstream>,
    /// The token that names it; `None` for a session of the default endpoint.
    pub token: Option<Token>,
    /// How often it has been migrated or resumed.
    pub generation: Generation,
    /// When it began.
    pub started: Moment,
    /// What it has carried.
    pub activity: Arc<Activity>,
    /// How many of the client's datagrams went to earlier backends.
    pub(crate) before_backend: u64,
    /// Where the client was before it was resumed, and until when what comes from there is late.
    pub(crate) left: Option<Box<(ClientAddr, Moment)>>,
    /// Whether its backend is gone, so that nothing is sent there until it moves.
    pub parked: bool,
    /// Its place among the sessions of its backend.
    pub(crate) roster_place: u32,
}

impl Session {
    /// Whether its backend has not yet been sent anything.
    pub(crate) fn is_new_to_backend(&self) -> bool {
        self.activity.to_backend.datagrams() == self.before_backend
    }
}
