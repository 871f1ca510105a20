//! What the query server counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use udp_director_wire::ErrorCode;

/// What the query server has counted. It writes, the metrics read.
#[derive(Debug)]
pub struct QueryCounters {
    succeeded: AtomicU64,
    failed: [AtomicU64; ErrorCode::ALL.len()],
    duration: Histogram,
    connections: AtomicU64,
    refused: [AtomicU64; Bound::ALL.len()],
    held: AtomicU64,
    hold_ends: [AtomicU64; HoldEnd::ALL.len()],
}

/// How the hold of a query ended: one that waited, or for which a server was allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// It got its server.
    Answered,
    /// Nothing had matched when its time was over.
    NoMatch,
    /// Another error ended it.
    Failed,
    /// Its client went away.
    ClientGone,
    /// The director stopped.
    Stopped,
    /// It was not held, for want of room.
    Refused,
}

impl HoldEnd {
    /// Each of them.
    pub const ALL: [HoldEnd; 6] = [
        HoldEnd::Answered,
        HoldEnd::NoMatch,
        HoldEnd::Failed,
        HoldEnd::ClientGone,
        HoldEnd::Stopped,
        HoldEnd::Refused,
    ];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            HoldEnd::Answered => "answered",
            HoldEnd::NoMatch => "no_match",
            HoldEnd::Failed => "failed",
            HoldEnd::ClientGone => "client_gone",
            HoldEnd::Stopped => "stopped",
            HoldEnd::Refused => "refused",
        }
    }
}

/// Which bound refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// [`ConnectionLimits::total`](super::ConnectionLimits::total).
    Total,
    /// [`ConnectionLimits::per_source`](super::ConnectionLimits::per_source).
    Source,
    /// [`Descriptors`](udp_director_dataplane::Descriptors).
    Descriptors,
}

impl Bound {
    /// Every bound.
    pub const ALL: [Bound; 3] = [Bound::Total, Bound::Source, Bound::Descriptors];

    /// The bound's name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Bound::Total => "total",
            Bound::Source => "source",
            Bound::Descriptors => "descriptors",
        }
    }
}

impl QueryCounters {
    /// All at zero.
    #[expect(clippy::new_without_default, reason = "counters are shared: a second set counts nothing")]
    pub fn new() -> QueryCounters {
        QueryCounters {
            succeeded: AtomicU64::new(0),
            failed: Default::default(),
            duration: Histogram::new(DURATION_BUCKETS),
            connections: AtomicU64::new(0),
            refused: Default::default(),
            held: AtomicU64::new(0),
            hold_ends: Default::default(),
        }
    }

    /// Documents that got what they asked for.
    pub fn succeeded(&self) -> u64 {
        self.succeeded.load(Ordering::Relaxed)
    }

    /// Documents that were answered with that code.
    pub fn failed(&self, code: ErrorCode) -> u64 {
        self.failed[code as usize].load(Ordering::Relaxed)
    }

    /// Queries that are held now.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Queries whose hold has ended so.
    pub fn holds_ended(&self, end: HoldEnd) -> u64 {
        self.hold_ends[end as usize].load(Ordering::Relaxed)
    }

    /// Seconds from a complete document to its answer, before that is sent. Without those that were held.
    pub fn duration(&self) -> &Histogram {
        &self.duration
    }

    /// Connections that are open now.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that a bound has refused.
    pub fn refused(&self, bound: Bound) -> u64 {
        self.refused[bound as usize].load(Ordering::Relaxed)
    }

    /// Counts a document that was answered at once, with the code if it was an error.
    pub(super) fn answered(&self, error: Option<ErrorCode>, took: Duration) {
        self.duration.observe(took.as_secs_f64());
        self.outcome(error);
    }

    /// Counts a document that was answered.
    pub(super) fn outcome(&self, error: Option<ErrorCode>) {
        match error {
            None => self.succeeded.fetch_add(1, Ordering::Relaxed),
            Some(code) => self.failed[code as usize].fetch_add(1, Ordering::Relaxed),
        };
    }

    /// Counts a document that never became complete.
    pub(super) fn cut(&self, code: ErrorCode) {
        self.failed[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A query is held.
    pub(super) fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// A query is held no longer.
    pub(super) fn release(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts how a hold ended.
    pub(super) fn end_hold(&self, end: HoldEnd) {
        self.hold_ends[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection that was refused.
    pub(super) fn turned_away(&self, bound: Bound) {
        self.refused[bound as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// From a look-up in a small inventory (tens of microseconds) to a reset that waits for its deadline.
const DURATION_BUCKETS: [f64; 12] =
    [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];
