//! Seats: which server a query gets, and the token for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use udp_director_core::{Backend, BackendId, Issue, Query, Seat, ServerName, Settings};
use udp_director_wire as wire;
use udp_director_wire::Answer;

use super::answer::{Asked, Responder};
use super::asking::Present;
use super::catalog::{Catalog, ResourceType};
use super::failure::Failure;
use crate::allocation::NoServer;

impl Responder {
    /// A seat on a server that matches now. Where each query allocates its own, none does.
    pub(super) fn seat(
        &self,
        catalog: &Catalog,
        listed: &ResourceType,
        asked: &Asked,
    ) -> Result<Answer, Failure> {
        if listed.allocating.as_ref().is_some_and(|allocating| !allocating.shares()) {
            return Err(Failure::NoMatch);
        }
        let present = self.present(listed, asked);
        let selection = present.selection(&asked.query, &listed.balancer, self.dice.roll());
        let seat = selection.choose().ok_or(Failure::NoMatch)?;
        self.issue((catalog, listed), asked, present, seat)
    }

    /// A seat on the server that was allocated, which need not have the labels any more that were asked
    /// for: an allocation can change them.
    pub(super) fn seat_on(
        &self,
        catalog: &Catalog,
        listed: &ResourceType,
        asked: &Asked,
        server: &BackendId,
    ) -> Result<Answer, Failure> {
        let present = self.present(listed, asked);
        let serves = |backend: &Backend| {
            present.settings.listeners.iter().any(|listener| backend.addr_for(listener).is_some())
        };
        let backend = present.inventory.by_id(server).ok_or(Failure::NoMatch)?;
        if !serves(backend) {
            let why = "no data port leads there".to_owned();
            return Err(NoServer::Unusable(ServerName::of(&backend.spec), why).into());
        }
        let of_its_kind = Query::compile(&wire::Query {
            resource_type: asked.written.resource_type.clone(),
            namespace: asked.written.namespace.clone(),
            ..wire::Query::default()
        })?;
        let is_it = |backend: &Backend| backend.spec.id == *server && !present.avoid.contains(server);
        let there = present.inventory.matching(&of_its_kind).retain(is_it);
        let seat = listed
            .balancer
            .choose(&there, &present.draw(&asked.query, self.dice.roll()))
            .ok_or(Failure::NoMatch)?;
        self.issue((catalog, listed), asked, present, seat)
    }

    /// Enters a token for the seat.
    fn issue(
        &self,
        (catalog, listed): (&Catalog, &ResourceType),
        asked: &Asked,
        present: Present,
        seat: Seat,
    ) -> Result<Answer, Failure> {
        let backend = Arc::clone(seat.backend());
        // It may have begun to be given back just now: who has a seat there looks once more.
        if listed.allocating.is_some() && self.allocations.is_returning(&backend.spec.id) {
            return Err(Failure::NoMatch);
        }
        let bound = catalog.bind_client_ip;
        let bound_to = bound.then_some(asked.asked_by);
        let token = self.fresh_token(catalog, &present, &backend.spec.id, bound_to);
        let Present { settings, sticky_key, .. } = present;
        let wanted = Some(self.wants.of(&asked.written, &asked.query, &listed.balancer));
        let issue = Issue { token, seat, asked_by: asked.asked_by, bound, wanted, sticky_key };
        self.ledger.lock().issue(issue, self.clock.now())?;
        Ok(Answer {
            token,
            expires_in_seconds: settings.token_ttl.as_secs(),
            ports: public_ports(&backend, &settings),
            backend: if catalog.expose_backend { first_address(&backend, &settings) } else { None },
        })
    }

    fn present(&self, listed: &ResourceType, asked: &Asked) -> Present {
        let returning = if listed.allocating.is_some() { self.allocations.returning() } else { Vec::new() };
        Present::new((&asked.written, &asked.query), returning, &self.ledger, self.clock.now())
    }
}

fn public_ports(backend: &Backend, settings: &Settings) -> BTreeMap<String, u16> {
    let serving = settings.listeners.iter().filter(|listener| backend.addr_for(listener).is_some());
    serving.map(|listener| (listener.name.to_string(), listener.port)).collect()
}

/// Where the backend serves the first listener that leads to it.
fn first_address(backend: &Backend, settings: &Settings) -> Option<String> {
    settings.listeners.iter().find_map(|listener| backend.addr_for(listener)).map(|addr| addr.to_string())
}
