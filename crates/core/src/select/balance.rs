//! Strategies: which of the backends that match is picked.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::matching::Matching;
use super::rendezvous::Key;
use crate::inventory::Backend;
use crate::load::Load;
use crate::seat::Seat;

/// How one of the backends that match is picked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The first in the inventory's order.
    First,
    /// Any, all with the same chance.
    Random,
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest seats taken; the first in order among equals.
    #[default]
    LeastSessions,
    /// The one with the most room, by two labels that the game keeps up to date:
    /// room = max - current - seats taken - overlap. Without room a backend is not picked, nor is one
    /// whose labels are missing or no whole numbers. Among equals the one with the lower current
    /// number comes first, then the first in order.
    LabelArithmetic {
        /// The label that holds how many players the server counts itself.
        current_label: String,
        /// The label that holds how many players it takes.
        max_label: String,
        /// How many places stay free.
        overlap: u32,
    },
}

/// Picks backends by a strategy.
#[derive(Debug, Default)]
pub struct Balancer {
    strategy: Strategy,
    /// How often it was someone's turn.
    turn: AtomicUsize,
}

impl Balancer {
    /// Begins with the first turn.
    pub fn new(strategy: Strategy) -> Balancer {
        Balancer { strategy, turn: AtomicUsize::new(0) }
    }

    /// How it picks.
    pub fn strategy(&self) -> &Strategy {
        &self.strategy
    }

    /// Picks one of the candidates and takes a seat on it. `None` when there is none, or none with
    /// room.
    ///
    /// With a sticky key, the key alone decides: the same candidates and key give the same backend,
    /// in every process. Only the room that [`Strategy::LabelArithmetic`] demands still counts.
    /// `random` is used by [`Strategy::Random`] alone. Takes time linear in the candidates, and
    /// allocates nothing.
    pub fn choose(&self, candidates: &Matching<'_>, sticky_key: Option<&str>, random: u64) -> Option<Seat> {
        if let Strategy::LabelArithmetic { current_label, max_label, overlap } = &self.strategy {
            let rule = RoomRule { current_label, max_label, overlap: *overlap };
            return rule.choose(candidates, sticky_key);
        }
        let backend = match sticky_key.map(Key::new) {
            Some(key) => candidates.iter().max_by_key(|backend| key.weight(backend)),
            None => self.pick(candidates, random),
        };
        backend.map(Seat::take)
    }

    fn pick<'a>(&self, candidates: &Matching<'a>, random: u64) -> Option<&'a Arc<Backend>> {
        match self.strategy {
            Strategy::First => candidates.get(0),
            Strategy::Random => candidates.get(scale(random, candidates.len())),
            Strategy::RoundRobin => candidates.get(self.next_turn().checked_rem(candidates.len())?),
            Strategy::LeastSessions | Strategy::LabelArithmetic { .. } => candidates.min_by_load(Load::seats),
        }
    }

    fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

/// The rule of [`Strategy::LabelArithmetic`].
struct RoomRule<'a> {
    current_label: &'a str,
    max_label: &'a str,
    overlap: u32,
}

struct Room {
    current: i64,
    /// How many seats the director may hold there at once.
    capacity: u32,
    free: u32,
}

impl RoomRule<'_> {
    /// Others take seats at the same time: the pick is repeated when the last one has gone meanwhile.
    fn choose(&self, candidates: &Matching<'_>, sticky_key: Option<&str>) -> Option<Seat> {
        for _ in 0..MAX_RACES {
            let (backend, room) = self.pick(candidates, sticky_key.map(Key::new))?;
            if let Some(seat) = Seat::take_below(backend, room.capacity) {
                return Some(seat);
            }
        }
        None
    }

    fn pick<'a>(&self, candidates: &Matching<'a>, key: Option<Key>) -> Option<(&'a Arc<Backend>, Room)> {
        let with_room = candidates.iter().filter_map(|backend| Some((backend, self.room(backend)?)));
        match key {
            Some(key) => with_room.max_by_key(|(backend, _)| key.weight(backend)),
            None => with_room.min_by_key(|(_, room)| (Reverse(room.free), room.current)),
        }
    }

    fn room(&self, backend: &Backend) -> Option<Room> {
        let current = number(&backend.spec.labels, self.current_label)?;
        let max = number(&backend.spec.labels, self.max_label)?;
        let capacity = max.saturating_sub(current).saturating_sub(self.overlap.into());
        let capacity = u32::try_from(capacity.clamp(0, u32::MAX.into())).ok()?;
        let free = capacity.saturating_sub(backend.load.seats());
        (free > 0).then_some(Room { current, capacity, free })
    }
}

fn number(labels: &BTreeMap<String, String>, key: &str) -> Option<i64> {
    labels.get(key)?.parse().ok()
}

/// Maps a random number to `0..len`, evenly; a remainder would favour the low positions.
fn scale(random: u64, len: usize) -> usize {
    ((u128::from(random) * len as u128) >> 64) as usize
}

/// How often the last seat of the pick may go to someone else before the choice is given up.
const MAX_RACES: usize = 16;

#[cfg(test)]
mod tests;
