//! What one TCP session carries, counted for it and for all.

use std::sync::Arc;

use udp_director_core::{Activity, Counters, Direction, Volume};

use crate::Clock;

/// Which way bytes go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    ToBackend,
    ToClient,
}

/// Counts what a session carries.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) activity: Arc<Activity>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
}

impl Tally {
    /// Counts a piece that was read, which is what keeps the session alive.
    pub(super) fn received(&self, way: Way, len: usize) {
        let (direction, volume): (&Direction, &Volume) = match way {
            Way::ToBackend => (self.activity.to_backend(), &self.counters.from_clients),
            Way::ToClient => (self.activity.to_client(), &self.counters.from_backends),
        };
        direction.record(self.clock.now(), len);
        volume.add(1, len as u64);
    }

    /// Counts a piece that was written.
    pub(super) fn sent(&self, way: Way, len: usize) {
        let volume = match way {
            Way::ToBackend => &self.counters.to_backends,
            Way::ToClient => &self.counters.to_clients,
        };
        volume.add(1, len as u64);
    }
}
