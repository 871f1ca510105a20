//! Evacuation: players whose backend leaves go to another, or their sessions end.
//!
//! A backend leaves when it is gone, when somebody wants it so (it drains, terminates, is cordoned), or
//! when it has not been ready for a while: one that flaps keeps its players.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};
use udp_director_core::{
    Backend, BackendId, Elsewhere, Inventory, Moment, Place, Player, Refusal, Seat, Session, SessionId,
};

use crate::config::{Config, WhenLost, WhenNothingMatches};
use crate::moving::{Moved, Mover, Movers, Step, WantedBy};

/// How often those are tried again who had nowhere to go.
const RETRY: Duration = Duration::from_secs(1);

/// How long a player stays where the director has moved him, unless that backend is gone.
const STAY: Duration = Duration::from_secs(10);

/// Who is to leave, and what has become of it.
#[derive(Debug)]
pub(crate) struct Evacuation {
    with: Movers,
    /// Backends that players are to leave.
    leaving: HashMap<BackendId, Leaving>,
    /// One session of each player who is to move, until he has or need not any more.
    entered: HashSet<SessionId>,
    /// Those of them whose first turn is to come.
    queue: VecDeque<Waiting>,
    /// Those who are tried again now: a worker was busy, or they had nowhere to go.
    retries: VecDeque<SessionId>,
    /// Those who are tried again in a moment.
    stuck: Vec<SessionId>,
    stuck_until: Moment,
    /// Who was moved a moment ago, and until when he stays.
    settled: HashMap<SessionId, Moment>,
    /// Sessions to be parked or closed, of which the worker was too busy to be told.
    telling: Vec<Told>,
    /// When the first of the backends that players are on has to have ended.
    next_end: Option<SystemTime>,
    policies: HashMap<Arc<str>, WhenNothingMatches>,
}

/// A player whose turn is to come.
#[derive(Debug)]
struct Waiting {
    session: SessionId,
    /// Whether the turns that there were when he was entered are yet to be given.
    is_new: bool,
}

#[derive(Debug)]
struct Leaving {
    backend: Arc<Backend>,
    fate: Fate,
    /// When its players are entered, should it still leave then; `None` once they are.
    enter_at: Option<Moment>,
}

/// What becomes of a backend's players.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Move,
    /// Of those who asked for other labels than it has now.
    MoveSome,
    Close,
}

/// A session that stays on its seat no longer, or is not sent to.
#[derive(Clone, Debug)]
struct Told {
    session: SessionId,
    seat: Arc<Seat>,
    what: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Park,
    Close,
}

impl Evacuation {
    pub(crate) fn new(with: Movers) -> Evacuation {
        Evacuation {
            with,
            leaving: HashMap::new(),
            entered: HashSet::new(),
            queue: VecDeque::new(),
            retries: VecDeque::new(),
            stuck: Vec::new(),
            stuck_until: Moment::default(),
            settled: HashMap::new(),
            telling: Vec::new(),
            next_end: None,
            policies: HashMap::new(),
        }
    }

    /// Looks again where a backend's time to end is over by now.
    pub(crate) fn look_at_ends(&mut self, inventory: &Inventory, config: &Config, now: Moment) {
        if self.next_end.is_some_and(|end| end <= SystemTime::now()) {
            self.compare(inventory, inventory, config, now);
        }
    }

    /// Looks at what has changed from one inventory to the one now in force.
    pub(crate) fn compare(&mut self, before: &Inventory, now: &Inventory, config: &Config, at: Moment) {
        self.policies.clone_from(&config.when_nothing_matches);
        let played = now.backends().iter().filter(|backend| backend.load.seats() > 0);
        let ends = played.filter_map(|backend| backend.spec.ends_at);
        self.next_end = ends.filter(|end| *end > SystemTime::now()).min();
        let known = std::mem::take(&mut self.leaving);
        let played = before.backends().iter().filter(|backend| backend.load.seats() > 0);
        let all: HashMap<&BackendId, &Arc<Backend>> = known
            .iter()
            .filter(|(_, leaving)| leaving.backend.load.seats() > 0)
            .map(|(id, leaving)| (id, &leaving.backend))
            .chain(played.map(|backend| (&backend.spec.id, backend)))
            .collect();
        for (id, backend) in all {
            // Whoever was there has been entered by what the backend was when he came.
            let backend = known.get(id).map_or(backend, |known| &known.backend);
            let Some(fate) = fate(backend, now, config) else { continue };
            let enter_at = at + patience(backend, now, config);
            let enter_at = match known.get(id) {
                Some(known) if known.fate == fate && same_labels(before, now, id) => {
                    known.enter_at.map(|entered| entered.min(enter_at))
                }
                _ => Some(enter_at),
            };
            self.leaving.insert(id.clone(), Leaving { backend: Arc::clone(backend), fate, enter_at });
        }
        self.enter_due(at);
    }

    /// Enters everybody who plays on a backend that has left for long enough.
    fn enter_due(&mut self, now: Moment) {
        let due: Vec<(BackendId, Fate)> = self
            .leaving
            .iter_mut()
            .filter(|(_, leaving)| leaving.enter_at.is_some_and(|at| at <= now))
            .map(|(id, leaving)| {
                leaving.enter_at = None;
                (id.clone(), leaving.fate)
            })
            .collect();
        let (mut moved, mut closed) = (0, 0);
        for (id, fate) in &due {
            let players = self.with.ledger.lock().players_on(id);
            match fate {
                Fate::Move => moved += players.into_iter().filter(|player| self.enter(*player)).count(),
                Fate::MoveSome => {
                    for player in players {
                        moved += usize::from(!self.still_wants(player) && self.enter(player));
                    }
                }
                Fate::Close => {
                    closed += players.len();
                    players.into_iter().for_each(|player| self.close(player));
                }
            }
        }
        if moved + closed > 0 {
            info!(backends = due.len(), to_move = moved, to_close = closed, "backends leave");
        }
    }

    /// Who has come to a backend since its players were entered, by a move that was under way or with one
    /// more session, and who was entered by a session that has ended, is entered now.
    fn look_again(&mut self) {
        let entered = self.leaving.iter().filter(|(_, leaving)| leaving.enter_at.is_none());
        let entered: Vec<_> = entered.map(|(id, leaving)| (id.clone(), leaving.fate)).collect();
        for (id, fate) in entered {
            let players = self.with.ledger.lock().players_on(&id);
            match fate {
                Fate::Move => {
                    for player in players {
                        self.enter(player);
                    }
                }
                Fate::MoveSome => {}
                Fate::Close => players.into_iter().for_each(|player| self.close(player)),
            }
        }
    }

    fn still_wants(&self, id: SessionId) -> bool {
        let ledger = self.with.ledger.lock();
        ledger.player_of(id).is_none_or(|player| ledger.still_wants(&player))
    }

    /// Enters a player who is to move; says whether he was not entered before.
    fn enter(&mut self, id: SessionId) -> bool {
        let player = self.with.ledger.lock().player_of(id);
        let session = player.and_then(|player| player.sessions.first().map(|at| at.id));
        let fresh = session.filter(|id| self.entered.insert(*id));
        self.queue.extend(fresh.map(|session| Waiting { session, is_new: true }));
        fresh.is_some()
    }

    /// Nothing is sent to a backend that is gone while its players wait for their turn: its address may
    /// be anybody's. Whose turn has come at once is moved without a break.
    fn park_those_who_wait(&mut self) {
        let new = self.queue.iter_mut().rev().take_while(|waiting| waiting.is_new);
        let waiting: Vec<SessionId> = new
            .map(|waiting| {
                waiting.is_new = false;
                waiting.session
            })
            .collect();
        waiting.into_iter().for_each(|session| self.park_if_gone(session));
    }

    fn park_if_gone(&mut self, session: SessionId) {
        let ledger = self.with.ledger.lock();
        let player = ledger.player_of(session);
        let player = player.filter(|player| ledger.is_gone(player.seat.backend()));
        drop(ledger);
        if let Some(player) = player {
            self.tell(&player, Ending::Park);
        }
    }

    fn close(&mut self, id: SessionId) {
        let player = self.with.ledger.lock().player_of(id);
        if let Some(player) = player {
            self.tell(&player, Ending::Close);
        }
    }

    /// Does what is due: gives each his first turn, as far as the rate allows, and parks and closes.
    pub(crate) fn step(&mut self, now: Moment, mover: &mut Mover, per_second: u32) {
        self.enter_due(now);
        if now >= self.stuck_until {
            self.stuck_until = now + RETRY;
            self.retries.extend(self.stuck.drain(..));
            self.settled.retain(|_, until| *until > now);
            self.look_again();
        }
        while !self.queue.is_empty() && mover.take_turn(now, per_second) {
            let Some(waiting) = self.queue.pop_front() else { break };
            self.move_player(waiting.session, mover);
        }
        self.park_those_who_wait();
        for told in std::mem::take(&mut self.telling) {
            self.carry_out(told);
        }
    }

    /// Tries one of those again who had nowhere to go, if the rate allows; says whether it did. There may
    /// be many of them for a long time: they take turns with what operators want.
    pub(crate) fn try_again(&mut self, now: Moment, mover: &mut Mover, per_second: u32) -> bool {
        if self.retries.is_empty() || !mover.take_turn(now, per_second) {
            return false;
        }
        if let Some(id) = self.retries.pop_front() {
            self.move_player(id, mover);
        }
        true
    }

    fn move_player(&mut self, id: SessionId, mover: &mut Mover) {
        let random = mover.roll();
        let ledger = self.with.ledger.lock();
        let Some(player) = ledger.player_of(id) else {
            self.entered.remove(&id);
            return;
        };
        let gone = ledger.is_gone(player.seat.backend());
        if !gone && self.settled.contains_key(&id) {
            self.stuck.push(id);
            return;
        }
        let elsewhere = ledger.elsewhere(&player, random);
        drop(ledger);
        match elsewhere {
            Elsewhere::Here => drop(self.entered.remove(&id)),
            Elsewhere::There(seat) => {
                mover.begin(Step { wanted_by: WantedBy::Evacuation, session: id, player, seat });
            }
            Elsewhere::Nowhere => {
                mover.has_no_place(WantedBy::Evacuation, Refusal::NoMatch);
                self.give_up(id);
            }
        }
    }

    /// Takes note of what has come of a player's move.
    pub(crate) fn ended(&mut self, moved: &Moved, now: Moment) {
        match moved.outcome {
            Ok(()) => {
                self.entered.remove(&moved.session);
                self.settled.insert(moved.session, now + STAY);
            }
            Err(refusal) => {
                warn!(session = moved.session.0, %refusal, "a player could not be moved");
                // Something matched. What kept him from it may pass, and another may do next time; those of
                // his sessions that have stayed behind are found at the next look.
                self.park_if_gone(moved.session);
                self.stuck.push(moved.session);
            }
        }
    }

    /// What becomes of a player for whom there is nothing: as the mapping of his backend says, he stays
    /// and is tried again, or his sessions end.
    fn give_up(&mut self, id: SessionId) {
        let ledger = self.with.ledger.lock();
        let player = ledger.player_of(id);
        let gone = player.as_ref().is_some_and(|player| ledger.is_gone(player.seat.backend()));
        drop(ledger);
        let leaves = |player: &Player| gone || self.leaving.contains_key(&player.seat.backend().spec.id);
        let Some(player) = player.filter(leaves) else {
            self.entered.remove(&id);
            return;
        };
        let resource_type = &player.seat.backend().spec.resource_type;
        match self.policies.get(resource_type).copied().unwrap_or_default() {
            WhenNothingMatches::Close => {
                self.entered.remove(&id);
                self.tell(&player, Ending::Close);
            }
            WhenNothingMatches::Keep => {
                if gone {
                    self.tell(&player, Ending::Park);
                }
                self.stuck.push(id);
            }
        }
    }

    /// Tells a player's sessions; those that are parked need not be told so again.
    fn tell(&mut self, player: &Player, what: Ending) {
        let ledger = self.with.ledger.lock();
        let is_new = |session: &&Session| what == Ending::Close || !session.parked;
        let sessions = player.sessions.iter().filter_map(|at| ledger.session(at.id)).filter(is_new);
        let told = |session: &Session| Told { session: session.id, seat: Arc::clone(&player.seat), what };
        self.telling.extend(sessions.map(told));
    }

    fn carry_out(&mut self, told: Told) {
        let Some(at) = self.with.ledger.lock().located(told.session) else { return };
        let (seat, workers) = (Arc::clone(&told.seat), &self.with.workers);
        let taken = match (at.place, told.what) {
            (Place::Stream, Ending::Close) => {
                self.with.streams.close(told.session, seat);
                Ok(())
            }
            // A stream to a host that is another by now ends by itself.
            (Place::Stream, Ending::Park) => Ok(()),
            (Place::Worker(_), Ending::Close) => workers.close(at, seat),
            (Place::Worker(_), Ending::Park) => workers.park(at, seat),
        };
        if taken.is_err() {
            self.telling.push(told);
        }
    }
}

/// What becomes of the players on a backend, as the inventory has it now; `None` where they stay.
fn fate(backend: &Backend, now: &Inventory, config: &Config) -> Option<Fate> {
    let spec = &backend.spec;
    let policy = config.when_lost.get(&spec.resource_type).copied().unwrap_or(WhenLost::Keep);
    let Some(current) = now.by_id(&spec.id).filter(|current| current.spec.address == spec.address) else {
        return Some(if is_replaced(backend, now) { Fate::Close } else { Fate::Move });
    };
    match policy {
        WhenLost::Keep => {
            current.spec.ends_at.is_some_and(|end| end <= SystemTime::now()).then_some(Fate::Move)
        }
        WhenLost::Close if current.spec.accepting() => None,
        WhenLost::Close => Some(Fate::Close),
        WhenLost::Migrate if !current.spec.accepting() => Some(Fate::Move),
        WhenLost::Migrate => (current.spec.labels != spec.labels).then_some(Fate::MoveSome),
    }
}

/// For how long a backend must have left before its players go: what is only not ready may be ready
/// again in a moment.
fn patience(backend: &Backend, now: &Inventory, config: &Config) -> Duration {
    let withheld = now.by_id(&backend.spec.id).and_then(|current| current.spec.withheld.as_ref());
    match withheld {
        Some(withheld) if !withheld.is_meant() => config.evacuate_after,
        _ => Duration::ZERO,
    }
}

/// Whether the backend has the same labels in both, or is in neither.
fn same_labels(before: &Inventory, now: &Inventory, id: &BackendId) -> bool {
    let labels = |inventory: &Inventory| inventory.by_id(id).map(|backend| backend.spec.labels.clone());
    labels(before) == labels(now)
}

/// Whether another object has the name or the address now: a player must not be taken for its own.
fn is_replaced(backend: &Backend, now: &Inventory) -> bool {
    let spec = &backend.spec;
    now.backends().iter().map(|other| &other.spec).filter(|other| other.id != spec.id).any(|other| {
        let same_name = (&other.resource_type, &other.namespace, &other.name)
            == (&spec.resource_type, &spec.namespace, &spec.name);
        same_name || (other.address == spec.address && other.ports == spec.ports)
    })
}

#[cfg(test)]
mod tests;
