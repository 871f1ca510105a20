//! Which backends of an inventory match a query, and how much room they have.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::query::Query;
use crate::inventory::{Backend, BackendId, Inventory};
use crate::rendezvous::Hashed;

/// Accepting backends that match a query, in the inventory's order.
#[derive(Clone, Debug)]
pub struct Matching<'a> {
    inventory: &'a Inventory,
    positions: Cow<'a, [u32]>,
}

/// The seats of a backend that has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Seats taken now.
    pub(super) taken: u32,
    /// How many there are; `u32::MAX` where nothing bounds them.
    pub(super) seats: u32,
    /// How many players the object itself counts.
    pub(super) current: u32,
}

impl Room {
    /// Seats that are still free; those of an unbounded backend are so many that it is told from others
    /// of its kind by what is taken.
    pub(super) fn free(&self) -> u32 {
        self.seats - self.taken
    }

    /// Which has the smaller share of its players, or, where one of the two is unbounded, fewer of them.
    pub(super) fn compare_load(&self, other: &Room) -> Ordering {
        let players = |room: &Room| u64::from(room.current) + u64::from(room.taken);
        let most = |room: &Room| u64::from(room.current) + u64::from(room.seats);
        if self.seats == u32::MAX || other.seats == u32::MAX {
            return players(self).cmp(&players(other));
        }
        let cross = |a: &Room, b: &Room| u128::from(players(a)) * u128::from(most(b));
        cross(self, other).cmp(&cross(other, self))
    }
}

impl Inventory {
    /// The accepting backends that match.
    ///
    /// Labels that must have one of some values are looked up. Whatever else is asked for costs a bounded check per backend of
    /// that type and namespace that has them.
    pub fn matching(&self, query: &Query) -> Matching<'_> {
        let labels = query.labels().looked_up();
        let positions = self.accepting(query.resource_type(), query.namespace(), labels);
        let matching = Matching { inventory: self, positions };
        if query.asks_for_labels_that_are_looked_up() {
            return matching;
        }
        matching.retain(|backend| query.matches(&backend.spec))
    }

    /// What [`Matching::positions`] said of this very inventory.
    pub(crate) fn at<'a>(&'a self, positions: &'a [u32]) -> Matching<'a> {
        Matching { inventory: self, positions: Cow::Borrowed(positions) }
    }
}

impl<'a> Matching<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether nothing matches.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &'a Arc<Backend>> {
        self.positions.iter().map(|&position| &self.inventory.backends()[position as usize])
    }

    /// Those that are to be kept.
    #[must_use]
    pub fn retain(self, keep: impl Fn(&Backend) -> bool) -> Matching<'a> {
        let Matching { inventory, positions } = self;
        let kept = |position: &u32| keep(&inventory.backends()[*position as usize]);
        Matching { inventory, positions: positions.iter().copied().filter(kept).collect() }
    }

    /// Where they are in the inventory.
    pub(crate) fn positions(self) -> Vec<u32> {
        self.positions.into_owned()
    }

    pub(super) fn get(&self, nth: usize) -> Option<&'a Arc<Backend>> {
        self.positions.get(nth).map(|&position| &self.inventory.backends()[position as usize])
    }

    /// Which of them has that id.
    pub(super) fn nth_of(&self, id: &BackendId) -> Option<usize> {
        self.positions.binary_search(&self.inventory.position(id)?).ok()
    }

    pub(super) fn hash(&self, nth: usize) -> Option<Hashed> {
        self.positions.get(nth).map(|&position| self.inventory.standings()[position as usize].hash)
    }

    /// The room of one; `None` where it has none.
    pub(super) fn room(&self, nth: usize) -> Option<Room> {
        self.room_at(*self.positions.get(nth)?)
    }

    /// Each that has room, without a look at anything but seats.
    pub(super) fn rooms(&self) -> impl Iterator<Item = (usize, Room)> {
        let rooms = self.positions.iter().map(|&position| self.room_at(position)).enumerate();
        rooms.filter_map(|(nth, room)| Some((nth, room?)))
    }

    /// The first with the lowest key among those with room.
    pub(super) fn least<K: Ord>(&self, key: impl Fn(&Room) -> K) -> Option<usize> {
        self.rooms().min_by_key(|(_, room)| key(room)).map(|(nth, _)| nth)
    }

    /// The first with room from the nth on, and then from the beginning.
    pub(super) fn with_room_from(&self, nth: usize) -> Option<usize> {
        let len = self.positions.len();
        (nth..len).chain(0..nth.min(len)).find(|nth| self.room(*nth).is_some())
    }

    fn room_at(&self, position: u32) -> Option<Room> {
        let standing = &self.inventory.standings()[position as usize];
        let (taken, seats) = (standing.load.seats(), standing.seats);
        (taken < seats).then_some(Room { taken, seats, current: standing.current })
    }
}

#[cfg(test)]
mod tests;
