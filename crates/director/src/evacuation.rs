//! Evacuation: players whose backend leaves go to another, at a bounded rate, or their sessions end.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tracing::{info, warn};
use udp_director_core::{
    Backend, BackendId, Elsewhere, Inventory, Moment, MovedBy, Place, Player, Refusal, Seat, SessionId,
    SharedLedger,
};
use udp_director_dataplane::Workers;
use udp_director_dataplane::tcp::Streams;

use crate::config::{Config, WhenLost};
use crate::rules;

/// How often those are tried again who had nowhere to go.
const RETRY: Duration = Duration::from_secs(1);

/// How long the rate can be saved up.
const BURST: Duration = Duration::from_millis(200);

/// What moves players.
#[derive(Clone, Debug)]
pub(crate) struct Movers {
    pub(crate) ledger: Arc<SharedLedger>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) streams: Arc<Streams>,
}

/// Who is to leave, and what has become of it.
#[derive(Debug)]
pub(crate) struct Evacuation {
    with: Movers,
    /// Backends that players are to leave.
    leaving: HashMap<BackendId, Leaving>,
    /// One session of each player who is to move.
    queue: VecDeque<SessionId>,
    /// Those who are tried again: a worker was busy, or they had nowhere to go while their backend is
    /// still there.
    stuck: Vec<SessionId>,
    stuck_until: Moment,
    /// Sessions to be closed, of which the worker was too busy to be told.
    closing: Vec<(SessionId, Arc<Seat>)>,
    moving: JoinSet<(SessionId, Result<(), Refusal>)>,
    /// When the first of the backends that players are on has to have ended.
    next_end: Option<SystemTime>,
    pace: Pace,
    random: u64,
}

#[derive(Debug)]
struct Leaving {
    backend: Arc<Backend>,
    fate: Fate,
}

/// What becomes of a backend's players.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Move,
    Close,
}

/// How many may move by now.
#[derive(Debug, Default)]
struct Pace {
    since: Moment,
    /// In players.
    saved: f64,
}

impl Pace {
    /// Takes one move, if there is one to be had.
    fn take(&mut self, now: Moment, per_second: u32) -> bool {
        let rate = f64::from(per_second);
        let most = (rate * BURST.as_secs_f64()).max(1.0);
        self.saved = (self.saved + rate * (now - self.since).as_secs_f64()).min(most);
        self.since = now;
        let takes = self.saved >= 1.0;
        if takes {
            self.saved -= 1.0;
        }
        takes
    }
}

impl Evacuation {
    pub(crate) fn new(with: Movers) -> Evacuation {
        Evacuation {
            with,
            leaving: HashMap::new(),
            queue: VecDeque::new(),
            stuck: Vec::new(),
            stuck_until: Moment::default(),
            closing: Vec::new(),
            moving: JoinSet::new(),
            next_end: None,
            pace: Pace::default(),
            random: rules::seed(),
        }
    }

    /// Looks again where a backend's time to end is over by now.
    pub(crate) fn look_at_ends(&mut self, inventory: &Inventory, config: &Config) {
        if self.next_end.is_some_and(|end| end <= SystemTime::now()) {
            self.compare(inventory, inventory, config);
        }
    }

    /// Looks at what has changed from one inventory to the one now in force.
    pub(crate) fn compare(&mut self, before: &Inventory, now: &Inventory, config: &Config) {
        let played = now.backends().iter().filter(|backend| backend.load.seats() > 0);
        let ends = played.filter_map(|backend| backend.spec.ends_at);
        self.next_end = ends.filter(|end| *end > SystemTime::now()).min();
        let played = before.backends().iter().filter(|backend| backend.load.seats() > 0);
        let mut leaving = HashMap::new();
        let mut fresh = HashSet::new();
        for backend in played {
            if let Some(fate) = fate(backend, now, config) {
                fresh.insert(backend.spec.id.clone());
                leaving.insert(backend.spec.id.clone(), Leaving { backend: Arc::clone(backend), fate });
            }
        }
        for (id, known) in self.leaving.drain() {
            let Some(fate) = fate(&known.backend, now, config) else { continue };
            if known.backend.load.seats() == 0 {
                continue;
            }
            // Whoever was there has been entered, unless something else has come about since.
            let as_before = fate == known.fate && same_labels(before, now, &id);
            if as_before {
                fresh.remove(&id);
            } else {
                fresh.insert(id.clone());
            }
            leaving.entry(id).or_insert(Leaving { fate, ..known });
        }
        self.leaving = leaving;
        self.enter(&fresh);
    }

    /// Enters everybody who plays on these backends.
    fn enter(&mut self, fresh: &HashSet<BackendId>) {
        if fresh.is_empty() {
            return;
        }
        let ledger = self.with.ledger.lock();
        let leaving = &self.leaving;
        let players = fresh.iter().flat_map(|backend| ledger.players_on(backend));
        let players: Vec<Player> = players.filter_map(|id| ledger.player_of(id)).collect();
        drop(ledger);
        let (mut moved, mut closed) = (0, 0);
        for player in players {
            match leaving.get(&player.seat.backend().spec.id).map(|leaving| leaving.fate) {
                Some(Fate::Close) => {
                    closed += 1;
                    self.closing.extend(player.sessions.iter().map(|at| (at.id, Arc::clone(&player.seat))));
                }
                Some(Fate::Move) => {
                    moved += 1;
                    self.queue.extend(player.sessions.first().map(|at| at.id));
                }
                None => {}
            }
        }
        if moved + closed > 0 {
            info!(backends = fresh.len(), to_move = moved, to_close = closed, "backends leave");
        }
    }

    /// Does what is due: moves as many as the rate allows, and closes what is to be closed.
    pub(crate) fn step(&mut self, now: Moment, per_second: u32) {
        while let Some(ended) = self.moving.try_join_next() {
            if let Ok((id, Err(refusal))) = ended {
                warn!(session = id.0, %refusal, "a player could not be moved");
                match refusal {
                    Refusal::WorkerBusy => self.stuck.push(id),
                    _ => self.give_up(id),
                }
            }
        }
        if now >= self.stuck_until {
            self.stuck_until = now + RETRY;
            self.queue.extend(self.stuck.drain(..));
        }
        while let Some(&id) = self.queue.front() {
            if !self.pace.take(now, per_second) {
                break;
            }
            self.queue.pop_front();
            self.move_player(id);
        }
        for (id, seat) in std::mem::take(&mut self.closing) {
            self.close(id, seat);
        }
    }

    fn move_player(&mut self, id: SessionId) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let ledger = self.with.ledger.lock();
        let Some(player) = ledger.player_of(id) else { return };
        let elsewhere = ledger.elsewhere(&player, self.random);
        drop(ledger);
        match elsewhere {
            Elsewhere::Here => {}
            Elsewhere::There(seat) => {
                self.moving.spawn(carry_over(self.with.clone(), id, player, Arc::new(seat)));
            }
            Elsewhere::Nowhere => self.give_up(id),
        }
    }

    /// Closes a player's sessions where the backend is gone; else he stays, and is tried again.
    fn give_up(&mut self, id: SessionId) {
        let ledger = self.with.ledger.lock();
        let Some(player) = ledger.player_of(id) else { return };
        let gone = ledger.is_gone(player.seat.backend());
        drop(ledger);
        if gone {
            self.closing.extend(player.sessions.iter().map(|at| (at.id, Arc::clone(&player.seat))));
        } else if self.leaving.contains_key(&player.seat.backend().spec.id) {
            self.stuck.push(id);
        }
    }

    fn close(&mut self, id: SessionId, seat: Arc<Seat>) {
        let Some(at) = self.with.ledger.lock().located(id) else { return };
        match at.place {
            Place::Stream => self.with.streams.close(id, seat),
            Place::Worker(_) => {
                if self.with.workers.close(at, Arc::clone(&seat)).is_err() {
                    self.closing.push((id, seat));
                }
            }
        }
    }
}

/// Moves all sessions of a player. Those over TCP go first: a connection is more likely to fail.
async fn carry_over(
    with: Movers,
    id: SessionId,
    player: Player,
    seat: Arc<Seat>,
) -> (SessionId, Result<(), Refusal>) {
    let (streams, others): (Vec<_>, Vec<_>) =
        player.sessions.into_iter().partition(|at| at.place == Place::Stream);
    for at in streams.into_iter().chain(others) {
        let by = MovedBy::Director(Arc::clone(&seat));
        let outcome = match at.place {
            Place::Stream => with.streams.migrate(at.id, by).await,
            Place::Worker(_) => with.workers.migrate(at, by).await,
        };
        // A session that has ended needs no other backend.
        if outcome.is_err() && outcome != Err(Refusal::NoSession) {
            return (id, outcome);
        }
    }
    (id, Ok(()))
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
        WhenLost::Migrate if current.spec.accepting() && current.spec.labels == spec.labels => None,
        WhenLost::Migrate => Some(Fate::Move),
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
