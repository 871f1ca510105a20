//! How far one watch is: what an operator sees of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a watch had to begin anew, by cause. The causes are a closed set, fit for a metric's
/// label.
pub type Restarts = BTreeMap<&'static str, u64>;

/// One watch, as it is now.
#[derive(Clone, Debug)]
pub struct WatchStatus {
    /// Such as `pods in games`.
    pub name: String,
    /// How many objects it knows.
    pub objects: usize,
    /// How long ago it was last known to be current.
    pub age: Duration,
    /// Whether it has been listed once.
    pub listed: bool,
    /// How often it had to begin anew.
    pub restarts: Restarts,
    /// What went wrong last; `None` while it goes on well.
    pub error: Option<String>,
}

impl fmt::Display for WatchStatus {
    /// One line, such as `pods in games: 12 objects, current 3 s ago, restarts gone=1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match self.listed {
            true => write!(f, "{} objects, current {} s ago", self.objects, self.age.as_secs())?,
            false => write!(f, "not listed yet, for {} s", self.age.as_secs())?,
        }
        for (position, (cause, count)) in self.restarts.iter().enumerate() {
            write!(f, "{} {cause}={count}", if position == 0 { ", restarts" } else { "" })?;
        }
        self.error.iter().try_for_each(|error| write!(f, ", {error}"))
    }
}

/// What a follower notes and others read.
#[derive(Debug)]
pub(super) struct Progress {
    /// Guards a few fields that are written once for each event.
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    /// Before the first list: when the watch began.
    pub(super) current_at: Instant,
    pub(super) restarts: Restarts,
    pub(super) error: Option<String>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        let state = State { current_at: Instant::now(), restarts: Restarts::new(), error: None };
        Progress { state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> State {
        self.with(|state| state.clone())
    }

    /// What is known is what the API server has.
    pub(super) fn is_current(&self) {
        self.with(|state| {
            state.current_at = Instant::now();
            state.error = None;
        });
    }

    pub(super) fn restart(&self, cause: &'static str) {
        self.with(|state| *state.restarts.entry(cause).or_default() += 1);
    }

    pub(super) fn failed(&self, error: String) {
        self.with(|state| state.error = Some(error));
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
