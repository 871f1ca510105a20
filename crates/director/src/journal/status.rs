//! How the journal fares, for the metrics.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use udp_director_dataplane::Restored;

/// How the journal fares. The writer and the control task write, the metrics read.
#[derive(Debug, Default)]
pub(crate) struct JournalStatus {
    failing: AtomicBool,
    changes: AtomicU64,
    rewrites: AtomicU64,
    bytes: AtomicU64,
    outcome: Mutex<Outcome>,
}

/// What has become of the sessions in the journal that was found at the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// As far as sockets and listeners go.
    pub(crate) restored: Restored,
    /// Restored, and then found to be on a backend that is gone: what becomes of them, the mapping says.
    pub(crate) backend_gone: usize,
    /// Records that could not be read, of any kind.
    pub(crate) unreadable: usize,
}

impl Outcome {
    /// The outcomes with their names in metrics.
    pub(crate) fn counts(&self) -> [(&'static str, usize); 6] {
        let Outcome { restored, backend_gone, unreadable } = *self;
        [
            ("restored", restored.sessions),
            ("port_taken", restored.port_taken),
            ("no_socket", restored.no_socket),
            ("no_place", restored.no_place),
            ("backend_gone", backend_gone),
            ("unreadable", unreadable),
        ]
    }
}

impl JournalStatus {
    /// Says whether it cannot be written now. Gives what was said before.
    pub(super) fn fails(&self, failing: bool) -> bool {
        self.failing.swap(failing, Ordering::Relaxed)
    }

    pub(super) fn wrote(&self, changes: usize, bytes: u64) {
        self.changes.fetch_add(changes as u64, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn rewrote(&self) {
        self.rewrites.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it cannot be written now.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Records written, and how often all were written anew.
    pub(crate) fn written(&self) -> (u64, u64) {
        (self.changes.load(Ordering::Relaxed), self.rewrites.load(Ordering::Relaxed))
    }

    /// The size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What has become of the sessions found at the start.
    pub(crate) fn outcome(&self) -> Outcome {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is told of them.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Outcome)) {
        change(&mut self.outcome.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
