//! Links: what happens to a datagram on its way.

use std::ops::Range;
use std::time::Duration;

use udp_director_core::{Arrival, BackendAddr, Return};

use super::random::Random;

/// From where to where a datagram is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a client to the director.
    FromClient(Arrival),
    /// From the director to a backend.
    ToBackend {
        /// The director's socket that it left by.
        upstream: i32,
        /// The backend.
        to: BackendAddr,
    },
    /// From a backend to the director.
    FromBackend {
        /// The director's socket that it goes to.
        upstream: i32,
        /// The backend.
        source: BackendAddr,
    },
    /// From the director to a client.
    ToClient(Return),
}

/// One way between two places. A latency that varies reorders.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// How long a datagram is under way, from and below.
    pub latency: Range<Duration>,
    /// How likely a datagram is lost, 0.0 to 1.0.
    pub loss: f64,
    /// How likely a datagram arrives twice, 0.0 to 1.0.
    pub duplication: f64,
}

impl Link {
    /// No latency and no faults.
    pub fn instant() -> Link {
        Link::steady(Duration::ZERO)
    }

    /// Always the same latency, and so no reordering; nothing is lost.
    pub fn steady(latency: Duration) -> Link {
        Link { latency: latency..latency, loss: 0.0, duplication: 0.0 }
    }

    /// A mobile network on a bad day: 10 to 80 ms, 5 % lost, 3 % doubled.
    pub fn bad() -> Link {
        Link { latency: Duration::from_millis(10)..Duration::from_millis(80), loss: 0.05, duplication: 0.03 }
    }

    /// After how long one datagram arrives: not at all, once, or twice.
    pub(super) fn carry(&self, random: &mut Random) -> impl Iterator<Item = Duration> + use<> {
        let lost = random.chance(self.loss);
        let doubled = random.chance(self.duplication);
        let once = (!lost).then(|| random.within(&self.latency));
        let twice = (!lost && doubled).then(|| random.within(&self.latency));
        once.into_iter().chain(twice)
    }
}
