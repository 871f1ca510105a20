//! The descriptors of the process: how many there are for what clients bring about.
//!
//! Who is refused here has not got far. Without a budget, accepting would go on until the kernel has
//! no descriptor left, and then nothing can be opened any more: no liveness probe is answered, no
//! configuration is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tracing::warn;
use udp_director_core::Moment;

use crate::Clock;

/// What clients may have in descriptors, all kinds of sockets together.
#[derive(Debug)]
pub struct Descriptors {
    budget: usize,
    taken: AtomicUsize,
    clock: Clock,
    /// Microseconds since the clock's epoch at which the log may speak of a shortage again.
    quiet_until: AtomicU64,
}

/// Some descriptors, given back when it is dropped.
#[derive(Debug)]
pub struct Taken {
    from: Arc<Descriptors>,
    count: usize,
}

impl Descriptors {
    /// A budget of all that the process may have but a reserve: a quarter, and at most 128. It is for
    /// the admin port, files, and what tells of events.
    pub fn new(limit: u64, clock: Clock) -> Arc<Descriptors> {
        let budget = usize::try_from(limit - MAX_RESERVE.min(limit / 4)).unwrap_or(usize::MAX);
        Arc::new(Descriptors { budget, taken: AtomicUsize::new(0), clock, quiet_until: AtomicU64::new(0) })
    }

    /// Takes that many for a newcomer, before they are opened. `None` where there are not as many:
    /// the newcomer is to be refused. The log says so once a minute at most.
    pub fn take(self: &Arc<Self>, count: usize) -> Option<Taken> {
        let fits = |taken: usize| taken.checked_add(count).filter(|&sum| sum <= self.budget);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Some(Taken { from: Arc::clone(self), count }),
            Err(_) => {
                self.warn();
                None
            }
        }
    }

    /// How many may be taken in all.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn warn(&self) {
        let now = (self.clock.now() - Moment::default()).as_micros() as u64;
        let silence = WARN_EVERY.as_micros() as u64;
        let due = |until: u64| (now >= until).then_some(now + silence);
        if self.quiet_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok() {
            warn!(budget = self.budget, "descriptors are short, newcomers are refused; raise RLIMIT_NOFILE");
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.from.taken.fetch_sub(self.count, Ordering::Relaxed);
    }
}

const MAX_RESERVE: u64 = 128;

/// How often at most the log speaks of a shortage.
const WARN_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_never_given_away() {
        for (limit, budget) in
            [(0, 0), (4, 3), (256, 192), (512, 384), (1_024, 896), (1 << 20, (1 << 20) - 128)]
        {
            assert_eq!(Descriptors::new(limit, Clock::new()).budget(), budget, "of {limit}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_whole_and_what_is_dropped_can_be_taken_again() {
        let descriptors = Descriptors::new(8, Clock::new());
        let most = descriptors.take(5).expect("room");
        assert!(descriptors.take(2).is_none(), "one is left");
        assert!(descriptors.take(usize::MAX).is_none());
        let last = descriptors.take(1).expect("room");
        drop(most);
        assert_eq!(descriptors.taken(), 1);
        assert!(descriptors.take(5).is_some());
        drop(last);
        assert_eq!(descriptors.taken(), 0);
    }

    #[test]
    fn a_shortage_is_spoken_of_once_a_minute() {
        let descriptors = Descriptors::new(0, Clock::new());
        assert!(descriptors.take(1).is_none());
        let until = descriptors.quiet_until.load(Ordering::Relaxed);
        assert!(until >= 60_000_000);
        assert!(descriptors.take(1).is_none());
        assert_eq!(descriptors.quiet_until.load(Ordering::Relaxed), until);
    }
}
