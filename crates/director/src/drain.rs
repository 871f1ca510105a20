//! Draining: no new sessions, and an end when the old ones are over or their time is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::info;
use udp_director_core::SharedLedger;

use crate::readiness::Readiness;

/// What `/readyz` names in a drain.
const DRAINING: &str = "draining";

/// How often it is looked whether the last session has ended.
const LOOK: Duration = Duration::from_millis(100);

/// The one drain of a process, which SIGTERM begins, or whoever asks on the admin port.
#[derive(Debug)]
pub(crate) struct Drain {
    ledger: Arc<SharedLedger>,
    readiness: Arc<Readiness>,
    begun: CancellationToken,
    /// For how many milliseconds running sessions go on.
    lasts: AtomicU64,
}

impl Drain {
    /// None has begun.
    pub(crate) fn new(ledger: Arc<SharedLedger>, readiness: Arc<Readiness>) -> Drain {
        Drain { ledger, readiness, begun: CancellationToken::new(), lasts: AtomicU64::new(0) }
    }

    /// Sets for how long running sessions go on.
    pub(crate) fn lasts(&self, time: Duration) {
        self.lasts.store(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// For how long running sessions go on.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_millis(self.lasts.load(Ordering::Relaxed))
    }

    /// Begins the drain, if it has not begun: from here on newcomers are refused, and `/readyz` fails.
    pub(crate) fn begin(&self) {
        if !self.begun.is_cancelled() {
            self.readiness.fail(DRAINING);
            self.ledger.lock().drain();
            info!(sessions = self.sessions(), "draining");
            self.begun.cancel();
        }
    }

    /// Returns once the drain has begun.
    pub(crate) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Sessions that still run.
    pub(crate) fn sessions(&self) -> usize {
        self.ledger.lock().session_count()
    }

    /// Returns once no session runs.
    pub(crate) async fn last_session_ended(&self) {
        let mut look = interval(LOOK);
        while self.sessions() > 0 {
            look.tick().await;
        }
    }
}
