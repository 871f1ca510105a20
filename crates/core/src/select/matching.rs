//! Which backends of an inventory match a query.

use std::sync::Arc;

use super::query::Query;
use crate::inventory::{Backend, Inventory};

impl Inventory {
    /// The accepting backends that match, in order.
    ///
    /// Costs a bounded check per backend that has the rarest of the exact labels asked for; without
    /// an exact label, per backend of that type and namespace.
    pub fn matching(&self, query: &Query) -> Vec<Arc<Backend>> {
        self.candidates(query.resource_type(), query.namespace(), query.labels().exact_pairs())
            .filter(|backend| query.matches(&backend.spec))
            .map(Arc::clone)
            .collect()
    }
}

#[cfg(test)]
mod tests;
