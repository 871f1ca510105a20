//! Jobs: an operator wants players moved, and sees what comes of it.
//!
//! Jobs are begun and aborted by the admin port and carried out by the control task, in turns with each
//! other, after evacuations and at the same rate. A reload does not touch them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::Serialize;
use tokio::sync::Notify;
use udp_director_core::{
    Backend, BackendId, Destination, Ledger, Moment, Player, Refusal, Seat, SessionId, SharedLedger, Wanted,
};

use crate::moving::{Moved, Mover, Pace, Step, WantedBy};

/// What an operator wants.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) from: From,
    pub(crate) to: To,
    /// At most so many players a second, beside what holds for all.
    pub(crate) per_second: Option<u32>,
}

/// Who is to move.
#[derive(Clone, Debug)]
pub(crate) enum From {
    /// The player of that session.
    Session(SessionId),
    /// Such a share of the players on that backend: above 0, at most 1.
    Backend(BackendId, f64),
}

/// Where to.
#[derive(Clone, Debug)]
pub(crate) enum To {
    Backend(BackendId),
    Matching(Arc<Wanted>),
    /// To what each has asked for.
    Wanted,
}

/// A job as it is told.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) id: u64,
    pub(crate) state: State,
    /// Players who were to move when it began.
    pub(crate) total: usize,
    pub(crate) moved: usize,
    pub(crate) failed: usize,
    /// Who had gone, or had moved by other means, when it was his turn.
    pub(crate) left: usize,
    /// Who is still to move, or on his way.
    pub(crate) remaining: usize,
    /// Why players were not moved.
    pub(crate) by_reason: BTreeMap<&'static str, usize>,
}

/// What has become of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Running,
    Done,
    Aborted,
}

/// What would come of an order now.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rehearsal {
    pub(crate) total: usize,
    /// How many would go where, as `type/namespace/name`.
    pub(crate) to: BTreeMap<String, usize>,
    /// How many would stay, and why.
    pub(crate) by_reason: BTreeMap<&'static str, usize>,
}

/// Why an order is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("no session has that number")]
    NoSession,
    #[error("{MOST_RUNNING} migrations are running; wait for one to end, or abort one")]
    TooMany,
    /// The one player of the order cannot move, or nobody can go there.
    #[error("{0}")]
    Refused(Refusal),
}

/// All jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    /// Guards all jobs. Held for one step, in which the ledger's lock is taken for each player; so never
    /// taken under that.
    kept: Mutex<Kept>,
    /// A job has begun.
    begun: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    jobs: BTreeMap<u64, Job>,
    last: u64,
    /// Whose turn was the last.
    served: u64,
}

/// A player who is to move.
#[derive(Debug)]
struct Noted {
    /// One of his sessions.
    session: SessionId,
    /// His seat; held by his sessions alone.
    seat: Weak<Seat>,
}

#[derive(Debug)]
struct Job {
    order: Order,
    report: Report,
    queue: VecDeque<Noted>,
    under_way: usize,
    pace: Pace,
}

impl Jobs {
    /// Begins a job.
    pub(crate) fn begin(
        &self,
        order: Order,
        ledger: &SharedLedger,
        random: u64,
    ) -> Result<Report, OrderError> {
        let queue = whom(&order, ledger, random)?;
        check(&order, &queue, &ledger.lock(), random)?;
        let mut kept = self.kept();
        if kept.jobs.values().filter(|job| job.report.state == State::Running).count() >= MOST_RUNNING {
            return Err(OrderError::TooMany);
        }
        kept.last += 1;
        let id = kept.last;
        let mut job = Job::new(id, order, queue);
        job.conclude();
        let report = job.report.clone();
        kept.jobs.insert(id, job);
        kept.forget();
        self.begun.notify_one();
        Ok(report)
    }

    /// Waits for a job to begin. Can be dropped while it waits, at no loss.
    pub(crate) async fn next_begun(&self) {
        self.begun.notified().await;
    }

    /// The jobs, oldest first.
    pub(crate) fn all(&self) -> Vec<Report> {
        self.kept().jobs.values().map(|job| job.report.clone()).collect()
    }

    /// The job of that number, if it is remembered.
    pub(crate) fn one(&self, id: u64) -> Option<Report> {
        self.kept().jobs.get(&id).map(|job| job.report.clone())
    }

    /// Lets those stay who are not on their way.
    pub(crate) fn abort(&self, id: u64) -> Option<Report> {
        let mut kept = self.kept();
        let job = kept.jobs.get_mut(&id)?;
        if job.report.state == State::Running {
            job.queue.clear();
            job.report.state = State::Aborted;
            job.count();
        }
        Some(job.report.clone())
    }

    /// Gives the next job a turn, if the rate allows; says whether it did. Jobs take turns, so that a small
    /// one need not wait for a large one.
    pub(crate) fn take_turn(&self, now: Moment, mover: &mut Mover, per_second: u32) -> bool {
        let mut kept = self.kept();
        let Some(id) = kept.next_due(now).filter(|_| mover.take_turn(now, per_second)) else { return false };
        kept.served = id;
        if let Some(job) = kept.jobs.get_mut(&id) {
            job.move_next(id, mover);
            job.conclude();
        }
        true
    }

    /// Takes note of what has come of a player's move.
    pub(crate) fn ended(&self, id: u64, moved: &Moved) {
        let mut kept = self.kept();
        let Some(job) = kept.jobs.get_mut(&id) else { return };
        job.under_way -= 1;
        match moved.outcome {
            Ok(()) => job.report.moved += 1,
            Err(refusal) => job.report.fail(refusal),
        }
        job.conclude();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What would come of an order now. Seats are taken as they would be, one after the other, and given
/// back at the end.
///
/// # Errors
/// The order could not be begun.
pub(crate) fn rehearse(order: &Order, ledger: &SharedLedger, random: u64) -> Result<Rehearsal, OrderError> {
    let queue = whom(order, ledger, random)?;
    let mut rehearsal = Rehearsal { total: queue.len(), ..Rehearsal::default() };
    let mut seats = Vec::new();
    for (turn, noted) in queue.into_iter().enumerate() {
        let locked = ledger.lock();
        let Some(player) = noted.find(&locked) else { continue };
        match locked.seat_at(&player, order.to.destination(), spread(random, turn as u64)) {
            Ok(seat) => {
                *rehearsal.to.entry(name_of(seat.backend())).or_default() += 1;
                seats.push(seat);
            }
            Err(refusal) => *rehearsal.by_reason.entry(refusal.reason()).or_default() += 1,
        }
    }
    Ok(rehearsal)
}

/// Each player who is to move.
fn whom(order: &Order, ledger: &SharedLedger, random: u64) -> Result<VecDeque<Noted>, OrderError> {
    match &order.from {
        From::Session(id) => {
            let noted = Noted::new(*id, &ledger.lock()).ok_or(OrderError::NoSession)?;
            Ok([noted].into())
        }
        From::Backend(id, share) => {
            let mut players: Vec<Noted> = {
                let ledger = ledger.lock();
                let players = ledger.players_on(id);
                players.into_iter().filter_map(|player| Noted::new(player, &ledger)).collect()
            };
            let count = (players.len() as f64 * share).ceil() as usize;
            players.sort_unstable_by_key(|noted| spread(random, noted.session.0));
            players.truncate(count);
            Ok(players.into())
        }
    }
}

/// Refuses what cannot come to anything.
fn check(order: &Order, queue: &VecDeque<Noted>, ledger: &Ledger, random: u64) -> Result<(), OrderError> {
    let first = queue.front().and_then(|noted| noted.find(ledger));
    let refused = match (&order.from, &order.to, first) {
        (From::Session(_), to, Some(player)) | (_, to @ To::Backend(_), Some(player)) => {
            ledger.seat_at(&player, to.destination(), random).err()
        }
        (From::Backend(from, _), To::Backend(to), None) if from == to => Some(Refusal::AlreadyThere),
        _ => None,
    };
    refused.map_or(Ok(()), |refusal| Err(OrderError::Refused(refusal)))
}

impl Noted {
    fn new(session: SessionId, ledger: &Ledger) -> Option<Noted> {
        let seat = Arc::downgrade(&ledger.session(session)?.seat);
        Some(Noted { session, seat })
    }

    /// The player as he is now, also when the session that he was noted by has ended.
    fn find(&self, ledger: &Ledger) -> Option<Player> {
        let by_seat = || ledger.player_at(&self.seat.upgrade()?);
        ledger.player_of(self.session).or_else(by_seat)
    }
}

impl To {
    fn destination(&self) -> Destination<'_> {
        match self {
            To::Backend(id) => Destination::Backend(id),
            To::Matching(wanted) => Destination::Matching(&wanted.query, &wanted.balancer),
            To::Wanted => Destination::Wanted,
        }
    }
}

impl Kept {
    /// The job whose turn is next, of those that have one to take.
    fn next_due(&mut self, now: Moment) -> Option<u64> {
        let if_due = |(id, job): (&u64, &mut Job)| job.is_due(now).then_some(*id);
        let behind = self.jobs.range_mut(self.served + 1..).find_map(if_due);
        behind.or_else(|| self.jobs.range_mut(..=self.served).find_map(if_due))
    }

    /// Forgets the oldest of those that have ended.
    fn forget(&mut self) {
        let ended = self.jobs.iter().filter(|(_, job)| job.report.state != State::Running);
        let ended: Vec<u64> = ended.map(|(id, _)| *id).collect();
        for id in ended.iter().take(ended.len().saturating_sub(MOST_ENDED)) {
            self.jobs.remove(id);
        }
    }
}

impl Job {
    fn new(id: u64, order: Order, queue: VecDeque<Noted>) -> Job {
        let report = Report {
            id,
            state: State::Running,
            total: queue.len(),
            moved: 0,
            failed: 0,
            left: 0,
            remaining: queue.len(),
            by_reason: BTreeMap::new(),
        };
        Job { order, report, queue, under_way: 0, pace: Pace::default() }
    }

    /// Whether somebody is to move, and the job's own rate allows it.
    fn is_due(&mut self, now: Moment) -> bool {
        !self.queue.is_empty() && self.order.per_second.is_none_or(|rate| self.pace.has(now, rate))
    }

    fn move_next(&mut self, id: u64, mover: &mut Mover) {
        let Some(noted) = self.queue.pop_front() else { return };
        if self.order.per_second.is_some() {
            self.pace.spend();
        }
        let random = mover.roll();
        let ledger = mover.ledger().lock();
        let player = noted.find(&ledger).filter(|player| self.is_meant(player));
        let Some(player) = player else {
            self.report.left += 1;
            return;
        };
        let seat = ledger.seat_at(&player, self.order.to.destination(), random);
        drop(ledger);
        match seat {
            Ok(seat) => {
                self.under_way += 1;
                let (wanted_by, seat) = (WantedBy::Job(id), Arc::new(seat));
                mover.begin(Step { wanted_by, session: noted.session, player, seat });
            }
            Err(refusal) => {
                mover.has_no_place(WantedBy::Job(id), refusal);
                self.report.fail(refusal);
            }
        }
    }

    /// Whether the player is still where he is to leave.
    fn is_meant(&self, player: &Player) -> bool {
        match &self.order.from {
            From::Session(_) => true,
            From::Backend(id, _) => player.seat.backend().spec.id == *id,
        }
    }

    fn conclude(&mut self) {
        self.count();
        if self.report.state == State::Running && self.report.remaining == 0 {
            self.report.state = State::Done;
        }
    }

    fn count(&mut self) {
        self.report.remaining = self.queue.len() + self.under_way;
    }
}

impl Report {
    fn fail(&mut self, refusal: Refusal) {
        self.failed += 1;
        *self.by_reason.entry(refusal.reason()).or_default() += 1;
    }
}

/// For people and programs.
pub(crate) fn name_of(backend: &Backend) -> String {
    let spec = &backend.spec;
    format!("{}/{}/{}", spec.resource_type, spec.namespace, spec.name)
}

/// A number that follows from two others, evenly spread.
fn spread(random: u64, number: u64) -> u64 {
    let mut mixed = (random ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How many jobs may run at once.
const MOST_RUNNING: usize = 16;

/// How many that have ended are remembered.
const MOST_ENDED: usize = 64;

#[cfg(test)]
mod tests;
