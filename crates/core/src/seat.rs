//! Seats: who counts against a backend, and for how long.

use std::sync::Arc;

use crate::inventory::Backend;

/// A place on a backend, taken while this value lives and given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    backend: Arc<Backend>,
}

impl Seat {
    /// Takes a seat.
    pub fn take(backend: &Arc<Backend>) -> Seat {
        backend.load.take();
        Seat { backend: Arc::clone(backend) }
    }

    /// Takes a seat while fewer than `capacity` are taken.
    pub fn take_below(backend: &Arc<Backend>, capacity: u32) -> Option<Seat> {
        backend.load.take_below(capacity).then(|| Seat { backend: Arc::clone(backend) })
    }

    /// The backend as it was when the seat was taken.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.backend.load.give_back();
    }
}
