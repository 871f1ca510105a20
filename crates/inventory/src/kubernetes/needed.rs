//! Which watches some mappings take: what the director needs `list` and `watch` on.

use std::collections::BTreeSet;
use std::fmt;

use crate::mapping::Mapping;

/// One watch: a resource in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Needed {
    /// API group; empty for the core group.
    pub group: String,
    /// API version, such as `v1`.
    pub version: String,
    /// Resource name as the mapping has it, such as `pods`.
    pub resource: String,
    /// The namespace; `None` for all of them and for what has none.
    pub namespace: Option<String>,
}

/// Every watch that following those mappings takes, each once, in order. A watch on all namespaces
/// stands for those on single ones.
///
/// Beside the mapped resources themselves: Services and EndpointSlices where a mapping goes through
/// them, and the Pods and Nodes whose addresses its objects may name. Nodes only where a mapping means them:
/// by `addressType` or path, by leaving the choice for GameServers to us, or by following what is cordoned.
pub fn needed(mappings: &[Mapping]) -> Vec<Needed> {
    let all: BTreeSet<Needed> = mappings.iter().flat_map(needed_by).collect();
    all.iter().filter(|needed| !is_covered(needed, &all)).cloned().collect()
}

/// Every watch that one mapping takes.
pub(super) fn needed_by(mapping: &Mapping) -> BTreeSet<Needed> {
    let of = |uses: &[(&str, &str, &str)]| -> BTreeSet<Needed> {
        uses.iter().flat_map(|(group, version, resource)| within(mapping, group, version, resource)).collect()
    };
    let mut all = of(&[(&mapping.group, &mapping.version, plural(mapping))]);
    if mapping.service.is_some() {
        all.extend(of(&[SERVICES, ENDPOINT_SLICES]));
    }
    let proof = Proof::of(mapping);
    if matches!(proof, Proof::Pods | Proof::PodsOrNodes) {
        all.extend(of(&[PODS]));
    }
    if mapping.follow_nodes || matches!(proof, Proof::Nodes | Proof::PodsOrNodes) {
        all.insert(Needed::of(NODES, None));
    }
    all
}

/// The watch among these that serves this one: itself, or that on all namespaces.
pub(super) fn covering(needed: &Needed, all: &[Needed]) -> Option<usize> {
    let everywhere = Needed { namespace: None, ..needed.clone() };
    all.iter().position(|other| *other == everywhere).or_else(|| all.iter().position(|other| other == needed))
}

/// The watches on the mapped resource itself.
pub(super) fn main_of(mapping: &Mapping) -> Vec<Needed> {
    within(mapping, &mapping.group, &mapping.version, plural(mapping)).collect()
}

/// Who has to have an address before the director sends there. The API server lets a tenant write
/// statuses of its own resources, but not those of Pods and Nodes, which kubelet writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The mapping trusts what its objects say.
    Trusted,
    /// The object is a Pod: its own status has the address.
    Itself,
    /// A Pod of the same namespace.
    Pods,
    /// Any Node.
    Nodes,
    /// Either.
    PodsOrNodes,
}

impl Proof {
    /// What proves the addresses of a mapping, with the least that has to be watched. Nodes are looked
    /// at only where a mapping says in its words that it means them, or where it is one of GameServers
    /// that leaves the choice to us.
    pub(super) fn of(mapping: &Mapping) -> Proof {
        let path = mapping.address_path.as_deref().unwrap_or_default();
        let address_type = mapping.address_type.as_deref();
        let is_game_server = mapping.group == "agones.dev" && plural(mapping) == "gameservers";
        let is_node_type = |wanted: &str| NODE_ADDRESS_TYPES.contains(&wanted);
        let names_node_type = NODE_ADDRESS_TYPES.iter().any(|name| path.contains(name));
        match (mapping.group.as_str(), plural(mapping)) {
            _ if mapping.trust_addresses => Proof::Trusted,
            _ if mapping.service.is_some() => Proof::Pods,
            ("", "pods") => Proof::Itself,
            _ if address_type == Some("PodIP") || path.contains("PodIP") => Proof::Pods,
            _ if address_type.is_some_and(is_node_type) || names_node_type => Proof::Nodes,
            _ if is_game_server && path.trim_start_matches("$.") == "status.address" => Proof::Nodes,
            _ if is_game_server => Proof::PodsOrNodes,
            _ => Proof::Pods,
        }
    }

    /// For people.
    pub(super) fn holder(self) -> &'static str {
        match self {
            Proof::Trusted => "anyone",
            Proof::Itself => "the Pod itself",
            Proof::Pods => "a running Pod in that namespace",
            Proof::Nodes => "a Node",
            Proof::PodsOrNodes => "a running Pod in that namespace or a Node",
        }
    }
}

impl Needed {
    pub(super) fn of((group, version, resource): (&str, &str, &str), namespace: Option<&str>) -> Needed {
        Needed {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
        }
    }

    pub(super) fn is(&self, (group, version, resource): (&str, &str, &str)) -> bool {
        self.group == group && self.version == version && self.resource == resource
    }
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

fn is_covered(needed: &Needed, all: &BTreeSet<Needed>) -> bool {
    needed.namespace.is_some() && all.contains(&Needed { namespace: None, ..needed.clone() })
}

fn within<'a>(
    mapping: &'a Mapping,
    group: &str,
    version: &str,
    resource: &str,
) -> impl Iterator<Item = Needed> + use<'a> {
    let everywhere = Needed::of((group, version, resource), None);
    let single = everywhere.clone();
    let named = mapping.namespaces.iter();
    let in_each = named.map(move |name| Needed { namespace: Some(name.clone()), ..single.clone() });
    in_each.chain(mapping.namespaces.is_empty().then_some(everywhere))
}

/// A mapping may name the two best known resources in the singular.
fn plural(mapping: &Mapping) -> &str {
    match (mapping.group.as_str(), mapping.resource.as_str()) {
        ("", "pod") => "pods",
        ("agones.dev", "gameserver") => "gameservers",
        (_, resource) => resource,
    }
}

pub(super) const PODS: (&str, &str, &str) = ("", "v1", "pods");
pub(super) const NODES: (&str, &str, &str) = ("", "v1", "nodes");
pub(super) const SERVICES: (&str, &str, &str) = ("", "v1", "services");
pub(super) const ENDPOINT_SLICES: (&str, &str, &str) = ("discovery.k8s.io", "v1", "endpointslices");
const NODE_ADDRESS_TYPES: [&str; 5] = ["InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS", "hostIP"];

#[cfg(test)]
mod tests;
