//! What is counted of allocations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

/// What has been counted of allocations. The rounds write, the metrics read.
#[derive(Debug)]
pub struct AllocationCounters {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    returned: [AtomicU64; Returned::ALL.len()],
    attempts: AtomicU64,
    duration: Histogram,
}

/// How an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its server takes players.
    Allocated,
    /// No server matched.
    NothingMatches,
    /// Others took the servers until the deadline.
    Contention,
    /// The director may not allocate there.
    Forbidden,
    /// Agones does not serve allocations.
    NotServed,
    /// Agones does not take what is asked.
    Refused,
    /// The answer had no name or address, or was none.
    Malformed,
    /// Agones failed or was out of reach until the deadline.
    Unavailable,
    /// No answer before the deadline.
    Late,
    /// Allocated, but not seen in time.
    NotShown,
    /// Allocated, but gone since.
    Gone,
    /// Allocated, but good for no player.
    Unusable,
    /// At a bound.
    Overloaded,
    /// Nobody waited for it any more, before it was asked for.
    Abandoned,
}

/// What has become of a server that no player took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// It stays allocated, as configured.
    Kept,
    /// It was deleted.
    Deleted,
    /// It was made ready again.
    MadeReady,
    /// It was somebody else's or no longer allocated when it was looked at, and was left alone.
    NotOurs,
    /// It could not be given back, and stays allocated.
    Failed,
    /// It had gone by itself.
    Gone,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 14] = [
        Outcome::Allocated,
        Outcome::NothingMatches,
        Outcome::Contention,
        Outcome::Forbidden,
        Outcome::NotServed,
        Outcome::Refused,
        Outcome::Malformed,
        Outcome::Unavailable,
        Outcome::Late,
        Outcome::NotShown,
        Outcome::Gone,
        Outcome::Unusable,
        Outcome::Overloaded,
        Outcome::Abandoned,
    ];

    /// The outcome's name in metrics and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Allocated => "allocated",
            Outcome::NothingMatches => "nothing_matches",
            Outcome::Contention => "contention",
            Outcome::Forbidden => "forbidden",
            Outcome::NotServed => "not_served",
            Outcome::Refused => "refused",
            Outcome::Malformed => "malformed",
            Outcome::Unavailable => "unavailable",
            Outcome::Late => "late",
            Outcome::NotShown => "not_shown",
            Outcome::Gone => "gone",
            Outcome::Unusable => "unusable",
            Outcome::Overloaded => "overloaded",
            Outcome::Abandoned => "abandoned",
        }
    }

    /// Whether an operator had better know: all that is neither a success nor everyday life.
    pub(super) fn is_a_fault(self) -> bool {
        !matches!(self, Outcome::Allocated | Outcome::NothingMatches | Outcome::Abandoned)
    }
}

impl Returned {
    /// Each of them.
    pub const ALL: [Returned; 6] = [
        Returned::Kept,
        Returned::Deleted,
        Returned::MadeReady,
        Returned::NotOurs,
        Returned::Failed,
        Returned::Gone,
    ];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Returned::Kept => "kept",
            Returned::Deleted => "deleted",
            Returned::MadeReady => "made_ready",
            Returned::NotOurs => "not_ours",
            Returned::Failed => "failed",
            Returned::Gone => "gone",
        }
    }
}

impl AllocationCounters {
    /// All at zero.
    #[expect(clippy::new_without_default, reason = "counters are shared: a second set counts nothing")]
    pub fn new() -> AllocationCounters {
        AllocationCounters {
            outcomes: Default::default(),
            returned: Default::default(),
            attempts: AtomicU64::new(0),
            duration: Histogram::new(DURATION_BUCKETS),
        }
    }

    /// Allocations that ended so.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    /// Servers that no player took, of which that became.
    pub fn unclaimed(&self, returned: Returned) -> u64 {
        self.returned[returned as usize].load(Ordering::Relaxed)
    }

    /// Requests to Agones.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Seconds from the query to the server, of those that got one.
    pub fn duration(&self) -> &Histogram {
        &self.duration
    }

    pub(super) fn end(&self, outcome: Outcome, took: Duration) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::Allocated {
            self.duration.observe(took.as_secs_f64());
        }
    }

    pub(super) fn give_back(&self, returned: Returned) {
        self.returned[returned as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn attempted(&self, times: u32) {
        self.attempts.fetch_add(times.into(), Ordering::Relaxed);
    }
}

/// From one request in the cluster to a deadline of a minute.
const DURATION_BUCKETS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
