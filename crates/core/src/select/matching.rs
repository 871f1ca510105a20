//! Which backends of an inventory match a query.

use std::borrow::Cow;
use std::sync::Arc;

use super::query::Query;
use crate::inventory::{Backend, Inventory};
use crate::load::Load;

/// Accepting backends that match a query, in the inventory's order.
#[derive(Clone, Debug)]
pub struct Matching<'a> {
    inventory: &'a Inventory,
    positions: Cow<'a, [u32]>,
}

impl Inventory {
    /// The accepting backends that match.
    ///
    /// Exact labels are looked up. Whatever else is asked for costs a bounded check per backend of
    /// that type and namespace that has them.
    pub fn matching(&self, query: &Query) -> Matching<'_> {
        let labels = query.labels().exact_pairs();
        let positions = self.accepting(query.resource_type(), query.namespace(), labels);
        let matching = Matching { inventory: self, positions };
        if query.asks_for_exact_labels_alone() {
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

    /// The first of those with the lowest key by load, without a look at anything but loads.
    pub(super) fn min_by_load(&self, key: impl Fn(&Load) -> u32) -> Option<&'a Arc<Backend>> {
        let loads = self.inventory.loads();
        let lowest = self.positions.iter().min_by_key(|&&position| key(&loads[position as usize]))?;
        Some(&self.inventory.backends()[*lowest as usize])
    }
}

#[cfg(test)]
mod tests;
