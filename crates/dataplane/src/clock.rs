//! The process's monotonic clock.

use std::time::Instant;

use udp_director_core::Moment;

/// Reads the present as the rules count it: since the clock was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[expect(clippy::new_without_default, reason = "two clocks are two epochs: none is the default")]
    pub fn new() -> Clock {
        Clock { epoch: Instant::now() }
    }

    /// The present.
    pub fn now(&self) -> Moment {
        Moment::since_epoch(self.epoch.elapsed())
    }
}
