//! What the next inventory is made of: candidates that are proven, those that are refused, and those
//! that stand in for what is not known yet.

use std::sync::Arc;

use udp_director_core::{Backend, BackendSpec, Inventory, ObjectRef, Refused};

use super::address_index::AddressIndex;
use super::assembly::Assembly;
use super::needed::{Needed, Proof};
use super::plan::Served;
use super::store::{Candidate, Reading};
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
        for served in &self.plan.mappings {
            let is_listed = |needed: &Needed| self.stores.get(needed).is_some_and(|store| store.listed);
            let settled = served.depends_on.iter().all(is_listed);
            let judge = Judge {
                served,
                targets: &self.targets,
                pods: &self.pods,
                nodes: &self.nodes,
                services: &self.services,
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
}

/// Decides over the candidates of one mapping.
struct Judge<'a> {
    served: &'a Served,
    targets: &'a Targets,
    pods: &'a AddressIndex,
    nodes: &'a AddressIndex,
    services: &'a Services,
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
