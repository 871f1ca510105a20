//! Session resets over the query port: checked here, carried out by the data plane.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use udp_director_core::{Located, Moment, Place, Refusal, SharedLedger};
use udp_director_dataplane::Clock;
use udp_director_wire::{ResetAnswer, SessionReset, Token};

/// A session that is to be moved, as the query server asks it of the data plane.
#[derive(Debug)]
pub struct Migration {
    /// The session. [`Ledger::admit_reset`](udp_director_core::Ledger::admit_reset) has let it through.
    pub session: Located,
    /// The token to move to.
    pub token: Token,
    /// Takes the outcome. Closed when nobody waits for it any more; then there is no use in moving.
    pub done: oneshot::Sender<Result<(), Refusal>>,
}

/// Carries out session resets.
#[derive(Debug)]
pub(super) struct Resets {
    pub(super) ledger: Arc<SharedLedger>,
    pub(super) clock: Clock,
    pub(super) migrations: mpsc::Sender<Migration>,
    pub(super) deadline: Duration,
}

impl Resets {
    /// Moves what the session's token names on every listener. A listener on which the new backend has
    /// no port is passed over. TCP connections go first: theirs is the step that can fail, for they
    /// have to be connected, and then nothing else moves.
    ///
    /// # Errors
    /// Says why nothing has moved.
    pub(super) async fn reset(&self, reset: &SessionReset, peer: IpAddr) -> Result<ResetAnswer, Refusal> {
        let now = self.clock.now();
        let running = self.admit(reset, peer, now)?;
        let until = Instant::now() + self.deadline;
        let (streams, others): (Vec<_>, Vec<_>) =
            running.into_iter().partition(|session| session.place == Place::Stream);
        let mut outcomes = self.migrate(streams, reset.token, until).await;
        if outcomes.iter().all(|outcome| !stops_the_rest(outcome)) {
            outcomes.extend(self.migrate(others, reset.token, until).await);
        }
        sum_up(&outcomes)
    }

    /// What is to be moved. A new token that is not known here may be one of another replica, sealed for
    /// who asks or for the session's client.
    fn admit(&self, reset: &SessionReset, peer: IpAddr, now: Moment) -> Result<Vec<Located>, Refusal> {
        let admit = || self.ledger.lock().admit_reset(&reset.session, &reset.token, peer, now);
        let outcome = admit();
        if outcome != Err(Refusal::UnknownToken) {
            return outcome;
        }
        let clients = self.ledger.lock().client_ips(&reset.session);
        if clients.is_empty() {
            return outcome;
        }
        let ips = std::iter::once(peer).chain(clients);
        let mut attempts = ips.map(|ip| self.ledger.take_up(&reset.token, ip, now));
        attempts
            .find(|attempt| *attempt != Err(Refusal::UnknownToken))
            .unwrap_or(Err(Refusal::UnknownToken))?;
        admit()
    }

    /// Moves all of these at once.
    async fn migrate(
        &self,
        sessions: Vec<Located>,
        token: Token,
        until: Instant,
    ) -> Vec<Result<(), Refusal>> {
        let asked: Vec<_> = sessions.into_iter().map(|session| self.ask(session, token)).collect();
        let mut outcomes = Vec::with_capacity(asked.len());
        for outcome in asked {
            outcomes.push(arrived(outcome, until).await);
        }
        outcomes
    }

    /// Where the outcome will arrive. The receiver of a migration that the data plane has no room
    /// for is closed.
    fn ask(&self, session: Located, token: Token) -> oneshot::Receiver<Result<(), Refusal>> {
        let (done, outcome) = oneshot::channel();
        // What is not taken is dropped, and `done` with it: that closes the receiver.
        let _ = self.migrations.try_send(Migration { session, token, done });
        outcome
    }
}

/// What is not taken, not answered, or not answered in time has failed for want of capacity.
async fn arrived(outcome: oneshot::Receiver<Result<(), Refusal>>, until: Instant) -> Result<(), Refusal> {
    match timeout_at(until, outcome).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) | Err(_) => Err(Refusal::WorkerBusy),
    }
}

/// A session without a counterpart on the new backend, or one that has just ended, holds up no other.
fn stops_the_rest(outcome: &Result<(), Refusal>) -> bool {
    outcome.is_err_and(|refusal| !matches!(refusal, Refusal::NoPort | Refusal::NoSession))
}

fn sum_up(outcomes: &[Result<(), Refusal>]) -> Result<ResetAnswer, Refusal> {
    let migrated = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    if migrated > 0 {
        return Ok(ResetAnswer { migrated });
    }
    let refusals = || outcomes.iter().filter_map(|outcome| outcome.err());
    let weightiest = refusals().find(|refusal| *refusal != Refusal::NoPort);
    Err(weightiest.or_else(|| refusals().next()).unwrap_or(Refusal::NoSession))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_without_a_port_counts_only_when_nothing_has_moved() {
        use Refusal::{NoPort, UsedToken};
        for (outcomes, answer) in [
            (&[Ok(()), Ok(())][..], Ok(2)),
            (&[Err(NoPort), Ok(())], Ok(1)),
            (&[Err(UsedToken), Ok(())], Ok(1)),
            (&[Err(NoPort), Err(NoPort)], Err(NoPort)),
            (&[Err(NoPort), Err(UsedToken)], Err(UsedToken)),
        ] {
            assert_eq!(sum_up(outcomes).map(|answer| answer.migrated), answer, "{outcomes:?}");
        }
    }
}
