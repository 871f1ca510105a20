//! The ledger as threads share it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use udp_director_wire::Token;

use crate::inventory::Inventory;
use crate::ledger::Ledger;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::time::Moment;

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

    /// Takes up a token that the ledger does not know, if it is sealed for that IP or for any: see
    /// `Ledger::take_up`. It is opened without the lock, since strangers can send what no key opens.
    ///
    /// # Errors
    /// Says why the token is good for nothing.
    pub fn take_up(&self, token: &Token, by: IpAddr, now: Moment) -> Result<(), Refusal> {
        let (settings, wall) = {
            let ledger = self.lock();
            (Arc::clone(ledger.settings()), ledger.wall(now))
        };
        let seal = settings.seal.as_ref().ok_or(Refusal::UnknownToken)?;
        let opened = seal.open(token, Some(by), wall).ok_or(Refusal::UnknownToken)?;
        self.lock().take_up(*token, &opened, now)
    }
}
