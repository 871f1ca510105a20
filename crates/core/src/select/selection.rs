//! A selection: all that decides which backend a query gets, in one place for who takes a seat there
//! and for who only wants to know why.

use std::sync::Arc;

use super::balance::{Balancer, Draw};
use super::matching::Matching;
use super::query::Query;
use crate::inventory::{Backend, BackendId, Inventory};
use crate::seat::Seat;
use crate::settings::Listener;

/// All that decides which backend a query gets.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// What there is.
    pub inventory: &'a Inventory,
    /// What a backend must match.
    pub query: &'a Query,
    /// How one is picked.
    pub balancer: &'a Balancer,
    /// What a backend must serve.
    pub serves: Serves<'a>,
    /// Backends that will not do, whatever they match.
    pub avoid: &'a [BackendId],
    /// What decides beside the strategy.
    pub draw: Draw<'a>,
}

/// Which listeners a backend must have a port for.
#[derive(Clone, Copy, Debug)]
pub enum Serves<'a> {
    /// One of these at least: somebody new comes by any of them.
    Any(&'a [Listener]),
    /// All of these: a player uses them.
    All(&'a [&'a Listener]),
}

impl Serves<'_> {
    pub(super) fn fits(&self, backend: &Backend) -> bool {
        let has = |listener: &Listener| backend.addr_for(listener).is_some();
        match self {
            Serves::Any(listeners) => listeners.iter().any(has),
            Serves::All(listeners) => listeners.iter().copied().all(has),
        }
    }
}

impl<'a> Selection<'a> {
    /// Takes a seat on the backend that is picked. `None` when nothing matches, or nothing that does
    /// has room.
    pub fn choose(&self) -> Option<Seat> {
        let turn = self.balancer.take_turn(&self.draw);
        let candidates = self.candidates();
        let seat = self.balancer.seat(&candidates, &self.draw, turn)?;
        if self.serves.fits(seat.backend()) {
            return Some(seat);
        }
        drop(seat);
        self.balancer.seat(&self.serving(candidates), &self.draw, turn)
    }

    /// The backend that [`Selection::choose`] would take a seat on now.
    pub(super) fn foresee(&self) -> Option<&'a Arc<Backend>> {
        let turn = self.balancer.next_turn();
        let candidates = self.candidates();
        let picked = self.balancer.pick(&candidates, &self.draw, turn)?;
        if self.serves.fits(picked) {
            return Some(picked);
        }
        self.balancer.pick(&self.serving(candidates), &self.draw, turn)
    }

    fn candidates(&self) -> Matching<'a> {
        let matching = self.inventory.matching(self.query);
        match self.avoid {
            [] => matching,
            avoid => matching.retain(|backend| !avoid.contains(&backend.spec.id)),
        }
    }

    /// To find out of thousands which of them serve would cost more than all the rest, and it is all of
    /// them as a rule: so they are gone through only when the one picked turns out not to.
    fn serving(&self, candidates: Matching<'a>) -> Matching<'a> {
        candidates.retain(|backend| self.serves.fits(backend))
    }
}

#[cfg(test)]
mod tests;
