//! What the next inventory is made of: candidates that are proven, those that are refused, and those
//! that stand in for what is not known yet.

use std::collections::HashSet;
use std::sync::Arc;

use udp_director_core::{Backend, BackendSpec, Inventory, ObjectRef, Refused, Withheld};

use super::address_index::AddressIndex;
use super::assembly::Assembly;
use super::needed::{NODES, Needed, Proof};
use super::plan::Served;
use super::store::{Candidate, Reading};
use crate::cordon::cordon;
use crate::reason::Reason;
use crate::service::Services;
use crate::targets::Targets;

/// What the next inventory is made of.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) specs: Vec<Arc<BackendSpec>>,
    pub(super) refused: Vec<Arc<Refused>>,
}

impl Assembly {
    /// What the inventory that follows `previous` is made of.
    ///
    /// What a watch would say that has not been listed once is not known: backends of `previous` then
    /// stand in, since a change of the configuration must not end the sessions of backends that it
    /// keeps.
    pub(super) fn collect(&mut self, previous: &Inventory) -> Collected {
        let mut collected = Collected::default();
        let cordoned = self.cordoned();
        for served in &self.plan.mappings {
            let is_listed = |needed: &Needed| self.stores.get(needed).is_some_and(|store| store.listed);
            let settled = served.depends_on.iter().all(is_listed);
            let judge = Judge {
                served,
                targets: &self.targets,
                pods: &self.pods,
                nodes: &self.nodes,
                services: &self.services,
                cordoned: cordoned.as_ref(),
                fallback: (!settled).then_some(previous),
            };
            for (needed, reader) in &served.sources {
                match self.stores.get_mut(needed).filter(|store| store.listed) {
                    None => judge.stand_in(needed, previous, &mut collected),
                    Some(store) => {
                        let kind = store.kind.as_str();
                        let known = store.objects.iter_mut();
                        let seen = known.filter(|(rank, _)| served.sees(&rank.0));
                        let readings = seen.filter_map(|(_, known)| known.readings.get_mut(*reader));
                        readings.for_each(|reading| judge.enter(kind, reading, &mut collected));
                    }
                }
            }
        }
        collected
    }

    /// The names of the Nodes that are cordoned, once they are known.
    fn cordoned(&self) -> Option<HashSet<String>> {
        let nodes = self.stores.get(&Needed::of(NODES, None)).filter(|store| store.listed)?;
        let cordoned = nodes.objects.iter().filter(|(_, known)| known.cordoned);
        Some(cordoned.map(|((_, name), _)| name.clone()).collect())
    }
}

/// Decides over the candidates of one mapping.
struct Judge<'a> {
    served: &'a Served,
    targets: &'a Targets,
    pods: &'a AddressIndex,
    nodes: &'a AddressIndex,
    services: &'a Services,
    /// `None` while Nodes have not been listed.
    cordoned: Option<&'a HashSet<String>>,
    /// Where a backend stands that cannot be judged yet, as long as something has not been listed.
    fallback: Option<&'a Inventory>,
}

impl Judge<'_> {
    fn enter(&self, kind: &str, reading: &mut Reading, collected: &mut Collected) {
        let candidate = match reading {
            Reading::Candidate(candidate) => candidate,
            Reading::Refused(refused) => return collected.refused.push(Arc::clone(refused)),
        };
        let Err(reason) = self.check(candidate) else {
            let is_cordoned = self.is_cordoned(candidate);
            cordon(&mut candidate.spec, is_cordoned);
            return collected.specs.push(Arc::clone(&candidate.spec));
        };
        let fallback = self.fallback.and_then(|previous| previous.by_id(&candidate.spec.id));
        match fallback.filter(|backend| self.targets.check(backend.spec.address).is_ok()) {
            Some(backend) => collected.specs.push(backend.spec.share()),
            None => collected.refused.push(Arc::new(self.refused(kind, &candidate.spec, &reason))),
        }
    }

    /// Finds the candidate's place, where another object names it, and proves it.
    fn check(&self, candidate: &mut Candidate) -> Result<(), Reason> {
        if let Some(source) = &self.served.mapping.service {
            let (namespace, name) = (&candidate.spec.namespace, &candidate.spec.name);
            let place = self.services.resolve(source, namespace, name)?;
            candidate.join(place);
        }
        self.targets.check(candidate.spec.address)?;
        if self.is_proven(candidate) || self.targets.lists(candidate.spec.address) {
            return Ok(());
        }
        let holder = self.served.proof.holder();
        Err(Reason::Unproven { address: candidate.spec.address, holder })
    }

    /// Whether the candidate's Node is cordoned. One of which nothing is known is not; as long as Nodes
    /// have not been listed, what was known before holds on.
    fn is_cordoned(&self, candidate: &Candidate) -> bool {
        let Some(node) = &candidate.node else { return false };
        let before = || {
            let backend = self.fallback.and_then(|previous| previous.by_id(&candidate.spec.id));
            backend.is_some_and(|backend| backend.spec.withheld == Some(Withheld::Cordoned))
        };
        self.cordoned.map_or_else(before, |cordoned| cordoned.contains(&**node))
    }

    fn is_proven(&self, candidate: &Candidate) -> bool {
        let address = candidate.spec.address;
        let of_pod = || self.pods.has(&candidate.spec.namespace, address);
        let of_node = || self.nodes.has("", address);
        match self.served.proof {
            Proof::Trusted => true,
            Proof::Itself => candidate.own,
            Proof::Pods => of_pod(),
            Proof::Nodes => of_node(),
            Proof::PodsOrNodes => of_pod() || of_node(),
        }
    }

    /// Backends of before, for all those that a watch would tell of.
    fn stand_in(&self, needed: &Needed, previous: &Inventory, collected: &mut Collected) {
        let told = |backend: &&Arc<Backend>| {
            let spec = &backend.spec;
            spec.resource_type == self.served.mapping.resource_type
                && needed.namespace.as_ref().is_none_or(|namespace| *namespace == spec.namespace)
                && self.served.sees(&spec.namespace)
                && self.targets.check(spec.address).is_ok()
        };
        let standing = previous.backends().iter().filter(told);
        collected.specs.extend(standing.map(|backend| backend.spec.share()));
    }

    fn refused(&self, kind: &str, spec: &BackendSpec, reason: &Reason) -> Refused {
        let object =
            ObjectRef { kind: kind.to_owned(), namespace: spec.namespace.clone(), name: spec.name.clone() };
        let reason = format!("{}: {reason}", self.served.mapping.resource_type);
        Refused { object, reason }
    }
}
