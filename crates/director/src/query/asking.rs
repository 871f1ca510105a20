//! A query that may be asked, with all that it goes by at that moment.

use std::sync::Arc;

use udp_director_core::{
    BackendId, Balancer, Draw, Inventory, Moment, Query, Selection, Serves, Settings, SharedLedger, StickyKey,
};
use udp_director_wire as wire;
use wire::ErrorAnswer;

use super::catalog::Catalog;
use super::failure::Failure;

/// A query that may be asked, and what it would be answered by.
pub(crate) struct Asking {
    query: Query,
    balancer: Arc<Balancer>,
    settings: Arc<Settings>,
    inventory: Arc<Inventory>,
    remembered: Option<BackendId>,
    avoid: Vec<BackendId>,
}

impl Asking {
    /// Checks a query as the query port does.
    ///
    /// # Errors
    /// What the query port would answer.
    pub(crate) fn new(
        catalog: &Catalog,
        mut written: wire::Query,
        ledger: &SharedLedger,
        now: Moment,
    ) -> Result<Asking, ErrorAnswer> {
        let listed = catalog.admit(&mut written).map_err(|refused| Failure::from(refused).answer())?;
        let query = Query::compile(&written).map_err(|error| Failure::from(error).answer())?;
        let key = query.sticky_key().map(|key| StickyKey::new(query.resource_type(), key));
        let ledger = ledger.lock();
        Ok(Asking {
            balancer: Arc::clone(&listed.balancer),
            settings: Arc::clone(ledger.settings()),
            inventory: Arc::clone(ledger.inventory()),
            remembered: key.and_then(|key| ledger.remembered(&key, now)),
            avoid: written.avoid.iter().filter_map(|token| ledger.whereabouts(token, now)).collect(),
            query,
        })
    }

    /// What decides which backend it gets.
    pub(crate) fn selection(&self, random: u64) -> Selection<'_> {
        Selection {
            inventory: &self.inventory,
            query: &self.query,
            balancer: &self.balancer,
            serves: Serves::Any(&self.settings.listeners),
            avoid: &self.avoid,
            draw: Draw { sticky_key: self.query.sticky_key(), remembered: self.remembered.as_ref(), random },
        }
    }
}
