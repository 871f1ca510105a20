//! Which backends of an inventory match a query.

use std::borrow::Cow;
use std::sync::Arc;

use super::query::Query;
use crate::inventory::{Backend, Inventory};

impl Inventory {
    /// The accepting backends that match, in order.
    ///
    /// Costs a bounded check per backend that has the rarest of the exact labels asked for; without
    /// an exact label, per backend of that type and namespace. A query for nothing but a type and a
    /// namespace costs nothing where all of those accept players.
    pub fn matching(&self, query: &Query) -> Cow<'_, [Arc<Backend>]> {
        if query.asks_nothing_more()
            && let Some(whole) = self.whole(query.resource_type(), query.namespace())
        {
            return Cow::Borrowed(whole);
        }
        self.candidates(query.resource_type(), query.namespace(), query.labels().exact_pairs())
            .filter(|backend| query.matches(&backend.spec))
            .map(Arc::clone)
            .collect()
    }
}

#[cfg(test)]
mod tests;
