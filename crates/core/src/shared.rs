//! The ledger as threads share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::inventory::Inventory;
use crate::ledger::Ledger;
use crate::settings::Settings;

/// The ledger behind a lock. It is taken for tokens, control packets, new and ending sessions, never
/// for a datagram of a running session, and held for microseconds: no I/O but the opening of an
/// upstream socket, no await, no search.
#[derive(Debug)]
pub struct SharedLedger(Mutex<Ledger>);

impl SharedLedger {
    /// Shares an empty ledger.
    pub fn new(settings: Arc<Settings>, inventory: Arc<Inventory>) -> SharedLedger {
        SharedLedger(Mutex::new(Ledger::new(settings, inventory)))
    }

    /// Takes the lock. A thread that panicked with it does not take everybody's sessions along: each
    /// change to the ledger is one step, so what it holds is sound.
    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
