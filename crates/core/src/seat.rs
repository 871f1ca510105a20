//! Seats: who counts against a backend, and for how long.

use std::sync::Arc;

use crate::inventory::Backend;

/// A place on a backend, taken while this value lives and given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    backend: Arc<Backend>,
}

impl Seat {
    /// Takes a seat, if the backend's capacity leaves one. Of two who want the last one gets it.
    pub fn take(backend: &Arc<Backend>) -> Option<Seat> {
        let taken = backend.load.take_below(backend.spec.capacity.seats());
        taken.then(|| Seat { backend: Arc::clone(backend) })
    }

    /// Takes a seat that was held before, whatever the capacity says by now: who plays is not turned out.
    pub(crate) fn hold(backend: &Arc<Backend>) -> Seat {
        backend.load.take();
        Seat { backend: Arc::clone(backend) }
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
