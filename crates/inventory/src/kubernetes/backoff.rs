//! How long to wait after a failure.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Doubles from 50 ms to 1 s, each time with up to half of it taken off at random, so that the many
/// watches of many directors do not come back at once. Changes made while an API server was away are
/// due within 2 s of its return, so it stays below that.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait before the next try.
    pub(super) fn after_failure(&mut self) -> Duration {
        let longest = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        jittered(longest)
    }

    /// A try went well.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Between a half and the whole of a duration, at random.
pub(super) fn jittered(longest: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 1024;
    longest / 2 + longest.mul_f64(random as f64 / 2048.0)
}

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        for longest in [50, 100, 200, 400, 800, 1000, 1000].map(Duration::from_millis) {
            let wait = backoff.after_failure();
            assert!(wait >= longest / 2 && wait <= longest, "{wait:?} of {longest:?}");
        }
        backoff.reset();
        assert!(backoff.after_failure() <= FIRST);
    }
}
