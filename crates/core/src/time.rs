//! Moments: the `now` that every rule is given.

use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A moment on the caller's monotonic clock, in microseconds since an epoch of its choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The moment that long after the epoch.
    pub fn since_epoch(elapsed: Duration) -> Moment {
        Moment(elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros()))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(Moment::since_epoch(span).0))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// How long `earlier` is ago; zero where it is not earlier.
    fn sub(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A moment that one thread writes and others read.
#[derive(Debug)]
pub(crate) struct SharedMoment(AtomicU64);

impl SharedMoment {
    pub(crate) fn new(moment: Moment) -> SharedMoment {
        SharedMoment(AtomicU64::new(moment.0))
    }

    pub(crate) fn get(&self) -> Moment {
        Moment(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, moment: Moment) {
        self.0.store(moment.0, Ordering::Relaxed);
    }
}
