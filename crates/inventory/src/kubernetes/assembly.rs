//! From what the watches say to the next inventory, sans-I/O: apply, delete and reset go in, specs and
//! refusals come out.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use serde_json::Value;

use super::address_index::AddressIndex;
use super::needed::{NODES, Needed, SERVICES};
use super::plan::Plan;
use super::store::{Known, Store};
use crate::mapping::Mapping;
use crate::object::Object;
use crate::service::{Rank, Services};
use crate::targets::Targets;

/// What is known of a cluster.
///
/// Holds for each object what its mappings read from it, never the object. Its size goes by the
/// objects that are watched; each one is bounded by what a reading keeps.
pub(super) struct Assembly {
    pub(super) plan: Plan,
    pub(super) targets: Targets,
    /// Its own addresses, as soon as they are known.
    api_server: Vec<IpAddr>,
    pub(super) stores: BTreeMap<Needed, Store>,
    /// By namespace.
    pub(super) pods: AddressIndex,
    /// In the empty namespace.
    pub(super) nodes: AddressIndex,
    pub(super) services: Services,
    /// How many watches there have been.
    begun: u64,
}

/// One watch, and no other before or after it on the same resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WatchId {
    pub(super) needed: Needed,
    number: u64,
}

impl Assembly {
    pub(super) fn new(mappings: &[Mapping], targets: Targets) -> Assembly {
        let mut assembly = Assembly {
            plan: Plan::new(&[]),
            targets: Targets::default(),
            api_server: Vec::new(),
            stores: BTreeMap::new(),
            pods: AddressIndex::default(),
            nodes: AddressIndex::default(),
            services: Services::default(),
            begun: 0,
        };
        assembly.configure(mappings, targets);
        assembly
    }

    /// Takes other mappings and targets. What a watch has read stays if it would read the same now.
    pub(super) fn configure(&mut self, mappings: &[Mapping], targets: Targets) {
        let plan = Plan::new(mappings);
        let stays = |store: &Store, needed: &Needed| plan.watches.get(needed) == Some(&store.uses);
        let ended: Vec<Needed> = self
            .stores
            .iter()
            .filter(|(needed, store)| !stays(store, needed))
            .map(|(key, _)| key.clone())
            .collect();
        for needed in &ended {
            self.clear(needed);
        }
        self.services.relabel(plan.service_labels());
        for (needed, uses) in &plan.watches {
            let begun = &mut self.begun;
            self.stores.entry(needed.clone()).or_insert_with(|| {
                *begun += 1;
                Store::new(*begun, uses.clone())
            });
        }
        self.targets = targets.without_api_server(self.api_server.clone());
        self.plan = plan;
    }

    /// Refuses these addresses of the API server.
    pub(super) fn refuse(&mut self, api_server: Vec<IpAddr>) {
        self.api_server = api_server;
        self.targets = std::mem::take(&mut self.targets).without_api_server(self.api_server.clone());
    }

    /// Every watch that is needed.
    pub(super) fn watches(&self) -> Vec<WatchId> {
        let id =
            |(needed, store): (&Needed, &Store)| WatchId { needed: needed.clone(), number: store.number };
        self.stores.iter().map(id).collect()
    }

    /// How many objects a watch knows.
    pub(super) fn len(&self, watch: &WatchId) -> usize {
        self.store(watch).map_or(0, |store| store.objects.len())
    }

    /// Whether a watch has been listed once.
    pub(super) fn is_listed(&self, watch: &WatchId) -> bool {
        self.store(watch).is_some_and(|store| store.listed)
    }

    /// A list begins: what it does not name is gone when it ends.
    pub(super) fn begin_list(&mut self, watch: &WatchId) {
        if let Some(store) = self.store_mut(watch) {
            store.named = Some(HashSet::new());
        }
    }

    /// The list has come to its end. Says whether that changes anything.
    pub(super) fn end_list(&mut self, watch: &WatchId) -> bool {
        let Some(store) = self.store_mut(watch) else { return false };
        let Some(named) = store.named.take() else { return false };
        let first = !std::mem::replace(&mut store.listed, true);
        let gone: Vec<Rank> = store.objects.keys().filter(|rank| !named.contains(*rank)).cloned().collect();
        for rank in &gone {
            self.forget(&watch.needed, rank);
        }
        first || !gone.is_empty()
    }

    /// Takes an object in, new or changed, from a list or an event. Says whether it says anything new.
    pub(super) fn apply(&mut self, watch: &WatchId, object: &Value) -> bool {
        let object = Object::new(object);
        let rank = (object.namespace.to_owned(), object.name.to_owned());
        let Some(store) = self.store_mut(watch) else { return false };
        let known = store.read(object);
        if store.kind.is_empty() {
            object.kind.clone_into(&mut store.kind);
        }
        if let Some(named) = &mut store.named {
            named.insert(rank.clone());
        }
        let tells_of_services = store.uses.services.is_some();
        let is_new = store.objects.get(&rank).is_none_or(|before| !before.says(&known));
        if is_new {
            self.enter(&watch.needed, &rank, known);
        }
        match tells_of_services {
            true if watch.needed.is(SERVICES) => self.services.set_service(rank, object) || is_new,
            true => self.services.set_slice(rank, object) || is_new,
            false => is_new,
        }
    }

    /// An object is gone. Says whether it was known.
    pub(super) fn delete(&mut self, watch: &WatchId, object: &Value) -> bool {
        let object = Object::new(object);
        let rank = (object.namespace.to_owned(), object.name.to_owned());
        self.store(watch).is_some() && self.forget(&watch.needed, &rank)
    }

    fn enter(&mut self, needed: &Needed, rank: &Rank, known: Known) {
        let Some(store) = self.stores.get_mut(needed) else { return };
        let addresses = known.addresses.clone();
        let before = store.objects.insert(rank.clone(), known);
        let (index, namespace) = self.index(needed, rank);
        index.add(namespace, &addresses);
        index.remove(namespace, &before.unwrap_or_default().addresses);
    }

    fn forget(&mut self, needed: &Needed, rank: &Rank) -> bool {
        let Some(store) = self.stores.get_mut(needed) else { return false };
        let tells_of_services = store.uses.services.is_some();
        let Some(known) = store.objects.remove(rank) else { return false };
        let (index, namespace) = self.index(needed, rank);
        index.remove(namespace, &known.addresses);
        match tells_of_services {
            true if needed.is(SERVICES) => self.services.drop_service(rank),
            true => self.services.drop_slice(rank),
            false => true,
        };
        true
    }

    /// Where the addresses of that watch's objects are looked for.
    fn index<'a>(&mut self, needed: &Needed, rank: &'a Rank) -> (&mut AddressIndex, &'a str) {
        if needed.is(NODES) { (&mut self.nodes, "") } else { (&mut self.pods, &rank.0) }
    }

    /// Ends a watch.
    fn clear(&mut self, needed: &Needed) {
        let Some(store) = self.stores.get(needed) else { return };
        let ranks: Vec<Rank> = store.objects.keys().cloned().collect();
        for rank in &ranks {
            self.forget(needed, rank);
        }
        self.stores.remove(needed);
    }

    fn store(&self, watch: &WatchId) -> Option<&Store> {
        self.stores.get(&watch.needed).filter(|store| store.number == watch.number)
    }

    fn store_mut(&mut self, watch: &WatchId) -> Option<&mut Store> {
        self.stores.get_mut(&watch.needed).filter(|store| store.number == watch.number)
    }
}

#[cfg(test)]
mod tests;
