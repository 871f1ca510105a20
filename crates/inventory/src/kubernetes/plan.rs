//! What each watch is for: mappings made ready, and which watch serves which of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::needed::{
    ENDPOINT_SLICES, NODES, Needed, PODS, Proof, SERVICES, covering, main_of, needed, needed_by,
};
use crate::mapping::Mapping;
use crate::reader::Reader;

/// All mappings and all watches.
pub(super) struct Plan {
    pub(super) mappings: Vec<Served>,
    pub(super) watches: BTreeMap<Needed, Uses>,
}

/// One mapping, and where what it needs comes from.
pub(super) struct Served {
    pub(super) mapping: Mapping,
    pub(super) proof: Proof,
    /// The watches on its resource: for each, which of the readings there is this mapping's.
    pub(super) sources: Vec<(Needed, usize)>,
    /// All watches that its backends depend on.
    pub(super) depends_on: Vec<Needed>,
}

/// What is read of the objects of one watch. As long as it stays the same, so does the watch.
#[derive(Clone)]
pub(super) struct Uses {
    /// By these mappings; their namespaces do not matter here.
    pub(super) readers: Vec<Arc<Reader>>,
    /// The addresses of Pods or Nodes.
    pub(super) addresses: bool,
    /// What Services or EndpointSlices say: for Services, the labels that hold the names of objects.
    pub(super) services: Option<Vec<String>>,
}

impl Plan {
    pub(super) fn new(mappings: &[Mapping]) -> Plan {
        let all = needed(mappings);
        let mut watches: BTreeMap<Needed, Uses> =
            all.iter().map(|needed| (needed.clone(), Uses::new(needed, mappings))).collect();
        let serving = |wanted: &Needed| covering(wanted, &all).map(|at| all[at].clone());
        let mut served = Vec::new();
        for mapping in mappings {
            let reader = Arc::new(Reader::new(mapping));
            let mut mains: Vec<Needed> = main_of(mapping).iter().filter_map(serving).collect();
            mains.dedup();
            let source = |needed: Needed| {
                let uses = watches.get_mut(&needed)?;
                uses.readers.push(Arc::clone(&reader));
                Some((needed, uses.readers.len() - 1))
            };
            served.push(Served {
                mapping: mapping.clone(),
                proof: Proof::of(mapping),
                sources: mains.into_iter().filter_map(source).collect(),
                depends_on: needed_by(mapping).iter().filter_map(serving).collect(),
            });
        }
        Plan { mappings: served, watches }
    }

    /// The labels in which Services hold the names of objects.
    pub(super) fn service_labels(&self) -> Vec<String> {
        self.mappings.iter().filter_map(|served| label(&served.mapping)).collect()
    }
}

impl Served {
    /// Whether the mapping looks at that namespace.
    pub(super) fn sees(&self, namespace: &str) -> bool {
        let namespaces = &self.mapping.namespaces;
        namespaces.is_empty() || namespaces.iter().any(|name| name == namespace)
    }
}

impl Uses {
    fn new(needed: &Needed, mappings: &[Mapping]) -> Uses {
        let labels = || {
            let mut labels: Vec<String> = mappings.iter().filter_map(label).collect();
            labels.sort_unstable();
            labels.dedup();
            labels
        };
        let proofs = mappings.iter().map(Proof::of);
        let by_pods = |proof: Proof| matches!(proof, Proof::Pods | Proof::PodsOrNodes);
        let has_services = mappings.iter().any(|mapping| mapping.service.is_some());
        Uses {
            readers: Vec::new(),
            addresses: needed.is(NODES) || (needed.is(PODS) && proofs.clone().any(by_pods)),
            services: match () {
                () if needed.is(SERVICES) && has_services => Some(labels()),
                () if needed.is(ENDPOINT_SLICES) && has_services => Some(Vec::new()),
                () => None,
            },
        }
    }
}

impl PartialEq for Uses {
    fn eq(&self, other: &Uses) -> bool {
        self.addresses == other.addresses
            && self.services == other.services
            && self.readers.len() == other.readers.len()
            && self.readers.iter().zip(&other.readers).all(|(a, b)| reads_alike(a.mapping(), b.mapping()))
    }
}

fn reads_alike(a: &Mapping, b: &Mapping) -> bool {
    let everywhere = |mapping: &Mapping| Mapping { namespaces: Vec::new(), ..mapping.clone() };
    everywhere(a) == everywhere(b)
}

fn label(mapping: &Mapping) -> Option<String> {
    mapping.service.as_ref().map(|source| source.selector_label.clone())
}
