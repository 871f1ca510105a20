//! Load: how many seats of a backend are taken.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many seats of a backend are taken: one per player, be it a token that waits, its sessions on
/// any number of listeners, or both. Shared by all snapshots that hold the same backend.
#[derive(Debug, Default)]
pub struct Load(AtomicU32);

impl Load {
    /// Seats taken now.
    pub fn seats(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one more unless `capacity` are taken; in one step, so that of two who want the last
    /// seat one gets it.
    pub(crate) fn take_below(&self, capacity: u32) -> bool {
        let one_more = |seats: u32| (seats < capacity).then(|| seats + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    pub(crate) fn give_back(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
