//! Strategies: which of the backends that match is picked.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Memory};

use super::matching::{Matching, Room};
use crate::inventory::{Backend, BackendId};
use crate::rendezvous::Hashed;
use crate::seat::Seat;

/// How one of the backends that match and have room is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Of two at random the one with the smaller share of its players, or with fewer seats taken where
    /// nothing bounds one of them. Directors that do not know of each other do not all run to the same one.
    LeastLoaded,
    /// The one with the most seats free, as its capacity says. Among equals the one that itself counts
    /// fewer players, then the first in order.
    LabelArithmetic,
    /// The one with the fewest seats free, or with the most taken where nothing bounds them; the first
    /// in order among equals.
    Packed,
    /// By the hash of the sticky key; like [`Strategy::LeastSessions`] for who has none.
    StickyKey,
}

impl Strategy {
    /// Its name, as the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::First => "first",
            Strategy::Random => "random",
            Strategy::RoundRobin => "roundRobin",
            Strategy::LeastSessions => "leastSessions",
            Strategy::LeastLoaded => "leastLoaded",
            Strategy::LabelArithmetic => "labelArithmetic",
            Strategy::Packed => "packed",
            Strategy::StickyKey => "stickyKey",
        }
    }

    /// Whether two who ask at the same moment may get different backends, by chance alone.
    pub fn is_by_chance(self) -> bool {
        matches!(self, Strategy::Random | Strategy::LeastLoaded)
    }
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Strategy; 8] = [
        Strategy::First,
        Strategy::Random,
        Strategy::RoundRobin,
        Strategy::LeastSessions,
        Strategy::LeastLoaded,
        Strategy::LabelArithmetic,
        Strategy::Packed,
        Strategy::StickyKey,
    ];
}

/// Picks backends by a strategy.
#[derive(Debug, Default)]
pub struct Balancer {
    strategy: Strategy,
    /// How often it was someone's turn.
    turn: AtomicUsize,
}

/// What decides beside the strategy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draw<'a> {
    /// The key that is to lead to the same backend each time.
    pub sticky_key: Option<&'a str>,
    /// Where that key led last: there it leads again, while that backend is a candidate with room.
    pub remembered: Option<&'a BackendId>,
    /// A random number; used by [`Strategy::Random`] and [`Strategy::LeastLoaded`] alone.
    pub random: u64,
}

impl Draw<'_> {
    /// For who has no key.
    pub fn of(random: u64) -> Draw<'static> {
        Draw { random, ..Draw::default() }
    }
}

impl Balancer {
    /// Begins with the first turn.
    pub fn new(strategy: Strategy) -> Balancer {
        Balancer { strategy, turn: AtomicUsize::new(0) }
    }

    /// How it picks.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// Picks one of the candidates and takes a seat on it, never beyond its capacity. `None` when there
    /// is none with room.
    ///
    /// With a sticky key the strategy does not count: the key leads where it is remembered to have led,
    /// or else by its hash, in every process alike. Takes time linear in the candidates, and allocates
    /// nothing.
    pub fn choose(&self, candidates: &Matching<'_>, draw: &Draw<'_>) -> Option<Seat> {
        self.seat(candidates, draw, self.take_turn(draw))
    }

    pub(super) fn seat(&self, candidates: &Matching<'_>, draw: &Draw<'_>, turn: usize) -> Option<Seat> {
        // Others take seats at the same time. Who loses a race finds one candidate fewer with room.
        for _ in 0..=candidates.len() {
            let backend = self.pick(candidates, draw, turn)?;
            if let Some(seat) = Seat::take(backend) {
                return Some(seat);
            }
        }
        None
    }

    /// Whose turn it is: his alone.
    pub(super) fn take_turn(&self, draw: &Draw<'_>) -> usize {
        match (self.strategy, draw.sticky_key) {
            (Strategy::RoundRobin, None) => self.turn.fetch_add(1, Memory::Relaxed),
            _ => 0,
        }
    }

    /// Whose turn it is next.
    pub(super) fn next_turn(&self) -> usize {
        self.turn.load(Memory::Relaxed)
    }

    pub(super) fn pick<'a>(
        &self,
        candidates: &Matching<'a>,
        draw: &Draw<'_>,
        turn: usize,
    ) -> Option<&'a Arc<Backend>> {
        let nth = match draw.sticky_key {
            Some(key) => by_key(candidates, Hashed::new(key), draw.remembered),
            None => self.by_strategy(candidates, draw.random, turn),
        };
        candidates.get(nth?)
    }

    fn by_strategy(&self, candidates: &Matching<'_>, random: u64, turn: usize) -> Option<usize> {
        match self.strategy {
            Strategy::First => candidates.with_room_from(0),
            Strategy::Random => any(candidates, random),
            Strategy::RoundRobin => candidates.with_room_from(turn.checked_rem(candidates.len())?),
            Strategy::LeastSessions | Strategy::StickyKey => candidates.least(|room| room.taken),
            Strategy::LeastLoaded => less_loaded_of_two(candidates, random),
            Strategy::LabelArithmetic => candidates.least(|room| (Reverse(room.free()), room.current)),
            Strategy::Packed => candidates.least(Room::free),
        }
    }
}

/// The remembered one, or else the one that the key weighs heaviest.
fn by_key(candidates: &Matching<'_>, key: Hashed, remembered: Option<&BackendId>) -> Option<usize> {
    let here = remembered.and_then(|id| candidates.nth_of(id)).filter(|nth| candidates.room(*nth).is_some());
    here.or_else(|| {
        let with_room = candidates.rooms().map(|(nth, _)| nth);
        with_room.max_by_key(|nth| candidates.hash(*nth).map(|id| key.weight(id)))
    })
}

/// Any with room. As long as most have some, a few throws find one.
fn any(candidates: &Matching<'_>, random: u64) -> Option<usize> {
    let thrown = throws(random).map(|random| scale(random, candidates.len())).take(THROWS);
    thrown.into_iter().find(|nth| candidates.room(*nth).is_some()).or_else(|| {
        let with_room = candidates.rooms().count();
        candidates.rooms().nth(scale(mix(random), with_room)).map(|(nth, _)| nth)
    })
}

fn less_loaded_of_two(candidates: &Matching<'_>, random: u64) -> Option<usize> {
    let (first, second) = (any(candidates, random)?, any(candidates, mix(random ^ SECOND))?);
    let (of_first, of_second) = (candidates.room(first)?, candidates.room(second)?);
    Some(if of_second.compare_load(&of_first) == Ordering::Less { second } else { first })
}

/// Maps a random number to `0..len`, evenly; a remainder would favour the low positions.
fn scale(random: u64, len: usize) -> usize {
    ((u128::from(random) * len as u128) >> 64) as usize
}

/// The number itself, and others that follow from it.
fn throws(random: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(random), |random| Some(mix(*random)))
}

/// The finalizer of SplitMix64.
fn mix(random: u64) -> u64 {
    let mut mixed = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How often one with room is guessed before they are counted.
const THROWS: usize = 8;

/// Tells the second of two throws from the first.
const SECOND: u64 = 0x5ec0_4d5e_c04d_5ec0;

#[cfg(test)]
mod tests;
