//! The default endpoint: where clients without a token go.

use std::net::IpAddr;
use std::sync::Arc;

use crate::inventory::Inventory;
use crate::refusal::Refusal;
use crate::seat::Seat;
use crate::select::{Balancer, Draw, Matching, Query, Strategy};
use crate::settings::Listener;

/// Where clients without a token go.
#[derive(Debug)]
pub struct DefaultEndpoint {
    query: Query,
    balancer: Arc<Balancer>,
    inventory: Arc<Inventory>,
    /// Where in the inventory that is what matches.
    positions: Vec<u32>,
}

impl DefaultEndpoint {
    /// One whose backends match the query, picked by the balancer. The query's sticky key, if any, is
    /// not used.
    pub fn new(query: Query, balancer: Arc<Balancer>, inventory: Arc<Inventory>) -> DefaultEndpoint {
        let positions = inventory.matching(&query).positions();
        DefaultEndpoint { query, balancer, inventory, positions }
    }

    /// What a backend must match.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// How one is picked.
    pub fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }

    /// What matches.
    pub fn candidates(&self) -> Matching<'_> {
        self.inventory.at(&self.positions)
    }

    /// Takes a seat for a client on one that serves the listener.
    pub(super) fn choose(&self, listener: &Listener, client: IpAddr, random: u64) -> Result<Seat, Refusal> {
        let key = (self.balancer.strategy() == Strategy::StickyKey).then(|| client.to_string());
        let draw = Draw { sticky_key: key.as_deref(), ..Draw::of(random) };
        let seat = self.balancer.choose(&self.candidates(), &draw).ok_or(Refusal::NoDefaultBackend)?;
        if seat.backend().addr_for(listener).is_some() {
            return Ok(seat);
        }
        drop(seat);
        // All of them serve all listeners as a rule: only now is it worth a look at each.
        let serving = self.candidates().retain(|backend| backend.addr_for(listener).is_some());
        self.balancer.choose(&serving, &draw).ok_or(Refusal::NoPort)
    }
}
