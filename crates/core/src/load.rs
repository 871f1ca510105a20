//! Load: how many seats of a backend are taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// How many seats of a backend are taken: one per player, be it a token that waits, its sessions on
/// any number of listeners, or both. Shared by all snapshots that hold the same backend.
///
/// The loads of backends that became known together are neighbours in memory, in their order: to look
/// at all of ten thousand takes microseconds.
#[derive(Clone, Debug)]
pub struct Load {
    neighbours: Arc<Neighbours>,
    index: usize,
}

#[derive(Debug)]
struct Neighbours {
    seats: Box<[AtomicU32]>,
    /// Apart from the seats, which choices go through.
    begun: Box<[AtomicU32]>,
}

impl Load {
    /// That many new ones, with no seat taken.
    pub(crate) fn fresh(count: usize) -> impl Iterator<Item = Load> {
        let zeros = || (0..count).map(|_| AtomicU32::new(0)).collect();
        let neighbours = Arc::new(Neighbours { seats: zeros(), begun: zeros() });
        (0..count).map(move |index| Load { neighbours: Arc::clone(&neighbours), index })
    }

    fn count(&self) -> &AtomicU32 {
        &self.neighbours.seats[self.index]
    }

    /// How many sessions have ever begun there or come there, modulo 2^32. When it is read after
    /// [`Load::seats`], those whose seats are given back are counted.
    pub fn sessions_begun(&self) -> u32 {
        fence(Ordering::Acquire);
        self.neighbours.begun[self.index].load(Ordering::Relaxed)
    }

    /// A session begins there.
    pub(crate) fn begin_session(&self) {
        self.neighbours.begun[self.index].fetch_add(1, Ordering::Relaxed);
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

    /// Takes one more, however many are taken.
    pub(crate) fn take(&self) {
        self.count().fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self) {
        self.count().fetch_sub(1, Ordering::Release);
    }
}
