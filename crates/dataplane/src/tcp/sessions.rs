//! TCP sessions: how they begin and end in the ledger, and the way to their tasks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use udp_director_core::{
    Activity, BackendAddr, Counters, Event, Ledger, OpenedBy, Opening, Place, SessionId, SharedLedger,
};

use super::mailbox::Mailbox;
use super::origin::Origin;
use super::tally::Tally;
use crate::Clock;

/// What all TCP connections share.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) ledger: Arc<SharedLedger>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
    /// Guards the way to each session's task: as many as there are sessions. Taken under the ledger's
    /// lock, never the other way round.
    mailboxes: Mutex<HashMap<SessionId, Arc<Mailbox>>>,
    random: AtomicU64,
}

impl Sessions {
    pub(super) fn new(
        ledger: Arc<SharedLedger>,
        counters: Arc<Counters>,
        clock: Clock,
        seed: u64,
    ) -> Arc<Sessions> {
        let (mailboxes, random) = (Mutex::default(), AtomicU64::new(seed));
        Arc::new(Sessions { ledger, counters, clock, mailboxes, random })
    }

    /// Begins a session that was admitted under the same lock. Its mailbox is there before the lock
    /// is given back, so that nobody who finds the session in the ledger fails to reach it.
    pub(super) fn open(
        self: &Arc<Self>,
        ledger: &mut Ledger,
        origin: &Origin,
        addr: BackendAddr,
        by: OpenedBy,
    ) -> Lease {
        let opening = Opening {
            listener: origin.listener,
            client: origin.client,
            local: origin.local.ip(),
            place: Place::Stream,
            addr,
            upstream: None,
            by,
        };
        let opened = ledger.open(opening, self.clock.now());
        let mailbox = Arc::new(Mailbox::default());
        self.mailboxes().insert(opened.id, Arc::clone(&mailbox));
        Lease {
            sessions: Arc::clone(self),
            id: opened.id,
            activity: opened.activity,
            mailbox,
            why: Event::EndedClosed,
        }
    }

    /// The way to a session's task, while it runs.
    pub(super) fn mailbox(&self, id: SessionId) -> Option<Arc<Mailbox>> {
        self.mailboxes().get(&id).cloned()
    }

    /// The ways to all tasks.
    pub(super) fn all_mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.mailboxes().values().cloned().collect()
    }

    /// The next number of a SplitMix64: enough to spread players, no secret hangs on it.
    pub(super) fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Mailbox>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session while its task lives: dropping it ends the session, however the task came to its end.
/// Not to be dropped under the ledger's lock.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) sessions: Arc<Sessions>,
    pub(super) id: SessionId,
    pub(super) activity: Arc<Activity>,
    pub(super) mailbox: Arc<Mailbox>,
    /// What its end will be counted as.
    pub(super) why: Event,
}

impl Lease {
    /// What the session's bytes are counted into.
    pub(super) fn tally(&self) -> Tally {
        let (activity, counters) = (Arc::clone(&self.activity), Arc::clone(&self.sessions.counters));
        Tally { activity, counters, clock: self.sessions.clock }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let sessions = &self.sessions;
        sessions.mailboxes().remove(&self.id);
        let ended = sessions.ledger.lock().end(self.id, sessions.clock.now());
        if ended.is_some() {
            sessions.counters.happened(self.why);
        }
    }
}
