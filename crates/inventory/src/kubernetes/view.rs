//! The inventory as the watches know it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use udp_director_core::{Inventory, Refused};

use super::assembly::Assembly;

/// What the watches of a [`Cluster`](super::Cluster) know, always as it is now.
pub struct View {
    /// Guards what all watches write; held for one object, or to gather the parts of an inventory.
    pub(super) assembly: Mutex<Assembly>,
}

impl View {
    /// The inventory as it is known now, following `previous`.
    ///
    /// Measured for ten thousand backends, optimised, on a busy machine: 8 to 11 ms when some change,
    /// 26 ms when some come or go. A backend that says what it said in `previous` is shared with it.
    pub fn assemble(&self, previous: &Inventory) -> Inventory {
        let collected = self.with(|assembly| assembly.collect(previous));
        let refused = refused(&collected.refused, previous);
        previous.next_shared(collected.specs, refused)
    }

    /// Works on what is known.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Assembly) -> T) -> T {
        // A panic in a reading leaves the assembly without that one object, and else as it was.
        work(&mut self.assembly.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

/// The refusals, shared with the previous inventory where they are the same.
fn refused(now: &[Arc<Refused>], previous: &Inventory) -> Arc<[Refused]> {
    let before = previous.refused();
    if now.len() == before.len() && now.iter().zip(before).all(|(now, before)| **now == *before) {
        return previous.refused_shared();
    }
    now.iter().map(|refused| Refused::clone(refused)).collect()
}

#[cfg(test)]
mod tests;
