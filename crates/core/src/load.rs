//! Load: how many seats of a backend are taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many seats of a backend are taken: one per player, be it a token that waits, its sessions on
/// any number of listeners, or both. Shared by all snapshots that hold the same backend.
///
/// The loads of backends that became known together are neighbours in memory, in their order: to look
/// at all of ten thousand takes microseconds.
#[derive(Clone, Debug)]
pub struct Load {
    neighbours: Arc<[AtomicU32]>,
    index: usize,
}

impl Load {
    /// That many new ones, with no seat taken.
    pub(crate) fn fresh(count: usize) -> impl Iterator<Item = Load> {
        let neighbours: Arc<[AtomicU32]> = (0..count).map(|_| AtomicU32::new(0)).collect();
        (0..count).map(move |index| Load { neighbours: Arc::clone(&neighbours), index })
    }

    fn count(&self) -> &AtomicU32 {
        &self.neighbours[self.index]
    }

    /// Seats taken now.
    pub fn seats(&self) -> u32 {
        self.count().load(Ordering::Relaxed)
    }

    /// Takes one more unless `capacity` are taken; in one step, so that of two who want the last
    /// seat one gets it.
    pub(crate) fn take_below(&self, capacity: u32) -> bool {
        let one_more = |seats: u32| (seats < capacity).then(|| seats + 1);
        self.count().fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    pub(crate) fn give_back(&self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
    }
}
