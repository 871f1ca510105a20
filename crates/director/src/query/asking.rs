//! A query that may be asked, with all that it goes by at that moment.

use std::sync::Arc;
use std::time::SystemTime;

use udp_director_core::{
    BackendId, Balancer, Draw, Inventory, Moment, Query, Selection, Serves, Settings, SharedLedger, StickyKey,
};
use udp_director_wire as wire;
use wire::ErrorAnswer;

use super::catalog::Catalog;
use super::failure::Failure;
use crate::allocation::Allocating;

/// A query that may be asked, and what it would be answered by.
pub(crate) struct Asking {
    query: Query,
    balancer: Arc<Balancer>,
    present: Present,
    allocating: Option<Arc<Allocating>>,
}

/// What the ledger knows that a query goes by.
pub(super) struct Present {
    pub(super) settings: Arc<Settings>,
    pub(super) inventory: Arc<Inventory>,
    /// What the wall clock says.
    pub(super) wall: SystemTime,
    pub(super) sticky_key: Option<StickyKey>,
    /// Where the sticky key led last.
    remembered: Option<BackendId>,
    /// The backends that will not do.
    pub(super) avoid: Vec<BackendId>,
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
        let present = Present::new((&written, &query), Vec::new(), ledger, now);
        let (balancer, allocating) = (Arc::clone(&listed.balancer), listed.allocating.clone());
        Ok(Asking { balancer, present, query, allocating })
    }

    /// Whether a server is allocated where none can be shared.
    pub(crate) fn allocates(&self) -> bool {
        self.allocating.is_some()
    }

    /// Whether it may get a server that is there, and not only one that is allocated for it alone.
    pub(crate) fn shares(&self) -> bool {
        self.allocating.as_ref().is_none_or(|allocating| allocating.shares())
    }

    /// What decides which backend it gets.
    pub(crate) fn selection(&self, random: u64) -> Selection<'_> {
        self.present.selection(&self.query, &self.balancer, random)
    }
}

impl Present {
    /// Takes it down. What takes time is done on this, without the lock. `avoid` are backends that will
    /// not do, beside those that the query avoids.
    pub(super) fn new(
        (written, query): (&wire::Query, &Query),
        mut avoid: Vec<BackendId>,
        ledger: &SharedLedger,
        now: Moment,
    ) -> Present {
        let sticky_key = query.sticky_key().map(|key| StickyKey::new(query.resource_type(), key));
        let mut ledger = ledger.lock();
        avoid.extend(written.avoid.iter().filter_map(|token| ledger.whereabouts(token, now)));
        Present {
            settings: Arc::clone(ledger.settings()),
            inventory: Arc::clone(ledger.inventory()),
            wall: ledger.wall(now),
            remembered: sticky_key.as_ref().and_then(|key| ledger.remembered(key, now)),
            avoid,
            sticky_key,
        }
    }

    pub(super) fn selection<'a>(
        &'a self,
        query: &'a Query,
        balancer: &'a Balancer,
        random: u64,
    ) -> Selection<'a> {
        let (inventory, avoid) = (&*self.inventory, &self.avoid[..]);
        let serves = Serves::Any(&self.settings.listeners);
        Selection { inventory, query, balancer, serves, avoid, draw: self.draw(query, random) }
    }

    pub(super) fn draw<'a>(&'a self, query: &'a Query, random: u64) -> Draw<'a> {
        Draw { sticky_key: query.sticky_key(), remembered: self.remembered.as_ref(), random }
    }
}
