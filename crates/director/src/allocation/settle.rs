//! What becomes of servers that were allocated: those that no player took are logged, counted and, where
//! that is configured, given back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use udp_director_core::{Claim, Settled, Unclaimed};
use udp_director_inventory::kubernetes::{GiveBack, GivenBack};

use super::allocations::Allocations;
use super::counters::Returned;
use super::errands::Errand;

impl Allocations {
    /// Looks after the servers until `stop`; then tells of those without a player, gives back what is to
    /// be given back, within 3 s, and cancels `done`.
    pub async fn look_after(self: Arc<Self>, stop: CancellationToken, done: CancellationToken) {
        let mut looks = interval(LOOKS);
        let mut returns = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = returns.join_next() => {}
                _ = looks.tick() => self.settle(&mut returns),
            }
        }
        let inventory = self.inventory();
        let unclaimed = self.book().claims.close(&inventory);
        for claim in unclaimed {
            self.return_unclaimed(claim, &mut returns);
        }
        let _ = timeout(LAST_RETURNS, async { while returns.join_next().await.is_some() {} }).await;
        done.cancel();
    }

    fn settle(self: &Arc<Self>, returns: &mut JoinSet<()>) {
        let (inventory, now) = (self.inventory(), self.parts.clock.now());
        let settled = self.book().claims.settle(&inventory, now);
        for settled in settled {
            match settled {
                Settled::Played(_) => {}
                Settled::Gone(claim) => {
                    self.parts.counters.give_back(Returned::Gone);
                    self.log(|unlogged| {
                        let server = &claim.server;
                        info!(%server, unlogged, "an allocated server is gone, and no player has taken it");
                    });
                }
                Settled::Unclaimed(claim) => self.return_unclaimed(claim, returns),
            }
        }
    }

    fn return_unclaimed(self: &Arc<Self>, claim: Claim, returns: &mut JoinSet<()>) {
        self.log(|unlogged| {
            let (server, allocation) = (&claim.server, &claim.allocation);
            let becomes = match claim.unclaimed {
                Unclaimed::Keep => "stays allocated",
                Unclaimed::Delete => "is deleted",
                Unclaimed::Ready => "is made ready again",
            };
            warn!(%server, %allocation, becomes, unlogged, "no player has taken an allocated server");
        });
        let how = match claim.unclaimed {
            Unclaimed::Keep => return self.parts.counters.give_back(Returned::Kept),
            Unclaimed::Delete => GiveBack::Delete,
            Unclaimed::Ready => GiveBack::Ready,
        };
        returns.spawn(Arc::clone(self).give_back(claim, how));
    }

    async fn give_back(self: Arc<Self>, claim: Claim, how: GiveBack) {
        let (done, given_back) = oneshot::channel();
        let errand = Errand::GiveBack { claim: claim.clone(), how, done };
        let outcome = match self.parts.errands.send(errand).await {
            Ok(()) => given_back.await.map_err(|_| "the director stops".to_owned()),
            Err(_) => Err("the director stops".to_owned()),
        };
        let outcome = outcome.and_then(|outcome| outcome.map_err(|error| error.to_string()));
        self.book().claims.given_back(&claim.server, outcome.is_err());
        let returned = match (&outcome, how) {
            (Ok(GivenBack::Done), GiveBack::Delete) => Returned::Deleted,
            (Ok(GivenBack::Done), GiveBack::Ready) => Returned::MadeReady,
            (Ok(GivenBack::NotOurs), _) => Returned::NotOurs,
            (Err(_), _) => Returned::Failed,
        };
        self.parts.counters.give_back(returned);
        if let Err(why) = outcome {
            self.log(|unlogged| {
                let server = &claim.server;
                warn!(%server, %why, unlogged, "an allocated server could not be given back and stays allocated");
            });
        }
    }
}

/// How often it is looked what has become of the servers.
const LOOKS: Duration = Duration::from_millis(200);
/// For what is given back when the director stops.
const LAST_RETURNS: Duration = Duration::from_secs(3);
