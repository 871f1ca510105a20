//! Moving players for whoever wants it: all of a player's sessions, to one seat, at one bounded rate.
//!
//! ```text
//! Evacuation --\                    notice       workers, streams
//!               >--player, seat--> Mover --> new backend --> switch --outcome--> whoever wanted it
//! Jobs --------/                     (yes or no)
//! ```

mod counters;
mod notice;
mod pace;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};
use udp_director_core::{Handover, Moment, MovedBy, Place, Player, Refusal, Seat, SessionId, SharedLedger};
use udp_director_dataplane::Workers;
use udp_director_dataplane::tcp::Streams;

use crate::config::Notice;
use crate::rules;

use counters::Cause;

pub(crate) use counters::MoveCounters;
pub(crate) use pace::Pace;

/// How many players may be on their way at once. Each waits for a worker, a connection or a notice.
const MOST_UNDER_WAY: usize = 1024;

/// What moves players.
#[derive(Clone, Debug)]
pub(crate) struct Movers {
    pub(crate) ledger: Arc<SharedLedger>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) streams: Arc<Streams>,
}

/// Who wants a player moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WantedBy {
    /// The director, since the backend leaves.
    Evacuation,
    /// An operator, by the job of that number.
    Job(u64),
}

impl WantedBy {
    fn cause(self) -> Cause {
        match self {
            WantedBy::Evacuation => Cause::Director,
            WantedBy::Job(_) => Cause::Operator,
        }
    }
}

/// A player who is to move.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) wanted_by: WantedBy,
    /// The session that he was found by.
    pub(crate) session: SessionId,
    pub(crate) player: Player,
    /// Where to.
    pub(crate) seat: Arc<Seat>,
}

/// What has come of a [`Step`].
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) wanted_by: WantedBy,
    pub(crate) session: SessionId,
    pub(crate) outcome: Result<(), Refusal>,
}

/// Moves players, so many a second.
#[derive(Debug)]
pub(crate) struct Mover {
    with: Movers,
    pace: Pace,
    under_way: JoinSet<Moved>,
    /// Whom each of them is about, in case that it panics.
    about: HashMap<Id, (WantedBy, SessionId)>,
    counters: Arc<MoveCounters>,
    /// Who is asked before a player comes, by resource type.
    notices: BTreeMap<Arc<str>, Notice>,
    random: u64,
}

impl Mover {
    pub(crate) fn new(with: Movers) -> Mover {
        Mover {
            with,
            pace: Pace::default(),
            under_way: JoinSet::new(),
            about: HashMap::new(),
            counters: Arc::default(),
            notices: BTreeMap::new(),
            random: rules::seed(),
        }
    }

    /// What has come of every try.
    pub(crate) fn counters(&self) -> Arc<MoveCounters> {
        Arc::clone(&self.counters)
    }

    pub(crate) fn ledger(&self) -> &SharedLedger {
        &self.with.ledger
    }

    pub(crate) fn configure(&mut self, notices: BTreeMap<Arc<str>, Notice>) {
        self.notices = notices;
    }

    /// Takes one turn, if the rate allows one and not too many are under way. A turn is for one player,
    /// be there a place for him or not: to look for one takes time too.
    pub(crate) fn take_turn(&mut self, now: Moment, per_second: u32) -> bool {
        self.under_way.len() < MOST_UNDER_WAY && self.pace.take(now, per_second)
    }

    /// A random number to choose a seat by.
    pub(crate) fn roll(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.random
    }

    /// Begins a move of which the turn has been taken.
    pub(crate) fn begin(&mut self, step: Step) {
        let notice = self.notices.get(&step.seat.backend().spec.resource_type).cloned();
        let about = (step.wanted_by, step.session);
        let task = self.under_way.spawn(carry_over(self.with.clone(), step, notice));
        self.about.insert(task.id(), about);
    }

    /// A player for whom there is no place where he is wanted.
    pub(crate) fn has_no_place(&self, wanted_by: WantedBy, why: Refusal) {
        self.counters.tried(wanted_by.cause(), Err(why));
    }

    /// A move that has ended since the last look.
    pub(crate) fn ended(&mut self) -> Option<Moved> {
        let ended = self.under_way.try_join_next_with_id()?;
        self.conclude(ended)
    }

    /// Waits for the next move to end. Can be dropped while it waits, at no loss.
    pub(crate) async fn next_ended(&mut self) -> Moved {
        loop {
            let Some(ended) = self.under_way.join_next_with_id().await else { std::future::pending().await };
            if let Some(moved) = self.conclude(ended) {
                return moved;
            }
        }
    }

    /// A move that panics has told why; its player stays where he is.
    fn conclude(&mut self, ended: Result<(Id, Moved), JoinError>) -> Option<Moved> {
        let (id, moved) = match ended {
            Ok((id, moved)) => (id, Some(moved)),
            Err(error) => (error.id(), None),
        };
        let (wanted_by, session) = self.about.remove(&id)?;
        let moved = moved.unwrap_or(Moved { wanted_by, session, outcome: Err(Refusal::WorkerBusy) });
        self.counters.tried(wanted_by.cause(), moved.outcome);
        Some(moved)
    }
}

/// Asks the new backend where it wants to be asked, and moves all sessions of a player. Those over TCP
/// go first: a connection is more likely to fail.
async fn carry_over(with: Movers, step: Step, notice: Option<Notice>) -> Moved {
    let Step { wanted_by, session, player, seat } = step;
    let moved = |outcome| Moved { wanted_by, session, outcome };
    if let Some(notice) = notice
        && let Err(refusal) = notice.ask(&player, seat.backend()).await
    {
        return moved(Err(refusal));
    }
    let from = player.seat;
    let (streams, others): (Vec<_>, Vec<_>) =
        player.sessions.into_iter().partition(|at| at.place == Place::Stream);
    for at in streams.into_iter().chain(others) {
        let handover = Handover { from: Arc::clone(&from), to: Arc::clone(&seat) };
        let by = match wanted_by {
            WantedBy::Evacuation => MovedBy::Director(handover),
            WantedBy::Job(_) => MovedBy::Operator(handover),
        };
        let outcome = match at.place {
            Place::Stream => with.streams.migrate(at.id, by).await,
            Place::Worker(_) => with.workers.migrate(at, by).await,
        };
        // A session that has ended needs no other backend.
        if outcome.is_err() && outcome != Err(Refusal::NoSession) {
            return moved(outcome);
        }
    }
    moved(Ok(()))
}
