//! Seats: who counts against a backend, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::inventory::Backend;

/// How many seats of a backend are taken: one per player, be it a token that waits, its sessions on
/// any number of listeners, or both. Shared by all snapshots that hold the same backend.
#[derive(Debug, Default)]
pub struct Load(AtomicU32);

impl Load {
    /// Seats taken now.
    pub fn seats(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A place on a backend, taken while this value lives and given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    backend: Arc<Backend>,
}

impl Seat {
    /// Takes a seat.
    pub fn take(backend: &Arc<Backend>) -> Seat {
        backend.load.0.fetch_add(1, Ordering::Relaxed);
        Seat { backend: Arc::clone(backend) }
    }

    /// The backend as it was when the seat was taken.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.backend.load.0.fetch_sub(1, Ordering::Relaxed);
    }
}
