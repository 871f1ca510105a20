//! How many tries to move a player there were, by who wanted it and what came of it.

use std::sync::atomic::{AtomicU64, Ordering};

use udp_director_core::Refusal;

/// Who wants players moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The director, since the backend leaves.
    Director,
    /// An operator.
    Operator,
}

/// Counts tries.
#[derive(Debug)]
pub(crate) struct MoveCounters([[AtomicU64; OUTCOMES]; 2]);

/// He has moved, or he has not for one of these.
const OUTCOMES: usize = 1 + Refusal::ALL.len();

impl Default for MoveCounters {
    fn default() -> MoveCounters {
        MoveCounters(std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl MoveCounters {
    /// Counts one try.
    pub(super) fn tried(&self, cause: Cause, outcome: Result<(), Refusal>) {
        let place = outcome.err().map_or(0, |refusal| 1 + refusal as usize);
        self.0[cause as usize][place].fetch_add(1, Ordering::Relaxed);
    }

    /// Every cause and outcome by their names, and how often it has come to that.
    pub(crate) fn read(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let outcomes = || std::iter::once("moved").chain(Refusal::ALL.map(Refusal::reason));
        ["director", "operator"].into_iter().zip(&self.0).flat_map(move |(cause, counts)| {
            let named = outcomes().zip(counts);
            named.map(move |(outcome, count)| (cause, outcome, count.load(Ordering::Relaxed)))
        })
    }
}
