//! Objects to backends, by resource mapping: the static file's way, all at once.

use std::collections::HashSet;

use serde_json::Value;
use udp_director_core::{BackendSpec, Refused, Withheld};

use crate::cordon::{is_cordoned, node_of};
use crate::mapping::Mapping;
use crate::object::Object;
use crate::reader::Reader;
use crate::reason::Reason;
use crate::service::Services;
use crate::targets::Targets;

/// What every mapping makes of the objects that it claims, and which of them it refuses and why.
///
/// One object can serve several mappings. It is then a backend of each, with an id and seats of each:
/// an id is the resource type and the object's UID, since the ports of one mapping are not another's.
/// Who writes the file vouches for its addresses: they are not looked for among Pods and Nodes.
pub fn backends(
    objects: &[Value],
    mappings: &[Mapping],
    targets: &Targets,
) -> (Vec<BackendSpec>, Vec<Refused>) {
    let objects: Vec<Object<'_>> = objects.iter().map(Object::new).collect();
    let services = services(&objects, mappings);
    let cordoned = objects.iter().filter(|object| is_cordoned(**object)).map(|node| node.name).collect();
    let mut specs = Vec::new();
    let mut refused = Vec::new();
    for mapping in mappings {
        let mut file = FileReader::new(mapping, targets, &services, &cordoned);
        for object in objects.iter().copied().filter(|object| mapping.claims(*object)) {
            match file.read(object) {
                Ok(spec) => specs.push(spec),
                Err(reason) => refused.push(file.reader.refused(object.to_ref(), &reason)),
            }
        }
    }
    (specs, refused)
}

/// The Services and EndpointSlices among the objects, which rank as they stand.
fn services(objects: &[Object<'_>], mappings: &[Mapping]) -> Services {
    let sources = mappings.iter().filter_map(|mapping| mapping.service.as_ref());
    let mut services = Services::new(sources.map(|source| source.selector_label.clone()));
    for (position, &object) in objects.iter().enumerate() {
        let rank = (object.namespace.to_owned(), format!("{position:010}"));
        match (object.api_version, object.kind) {
            ("v1", "Service") => services.set_service(rank, object),
            ("discovery.k8s.io/v1", "EndpointSlice") => services.set_slice(rank, object),
            _ => false,
        };
    }
    services
}

/// One mapping at work on a file's objects.
struct FileReader<'a> {
    reader: Reader,
    targets: &'a Targets,
    services: &'a Services,
    /// The names of the Nodes that are cordoned.
    cordoned: &'a HashSet<&'a str>,
    /// Kind, namespace and name of what was read before.
    seen: HashSet<(&'a str, &'a str, &'a str)>,
    seen_uids: HashSet<String>,
}

impl<'a> FileReader<'a> {
    fn new(
        mapping: &Mapping,
        targets: &'a Targets,
        services: &'a Services,
        cordoned: &'a HashSet<&'a str>,
    ) -> FileReader<'a> {
        let reader = Reader::new(mapping);
        FileReader { reader, targets, services, cordoned, seen: HashSet::new(), seen_uids: HashSet::new() }
    }

    fn read(&mut self, object: Object<'a>) -> Result<BackendSpec, Reason> {
        object.check_names()?;
        self.check_new(object)?;
        let mut spec = match &self.reader.mapping().service {
            None => self.reader.read(object)?,
            Some(source) => {
                let mut spec = self.reader.read_unplaced(object)?;
                let withheld = spec.withheld.take();
                self.services.resolve(source, object.namespace, object.name)?.put(&mut spec, withheld);
                spec
            }
        };
        self.targets.check(spec.address)?;
        if spec.withheld.is_none() && self.is_on_cordoned_node(object) {
            spec.withheld = Some(Withheld::Cordoned);
        }
        Ok(spec)
    }

    fn is_on_cordoned_node(&self, object: Object<'_>) -> bool {
        let follows = self.reader.mapping().follow_nodes;
        follows && node_of(object).is_some_and(|node| self.cordoned.contains(node))
    }

    fn check_new(&mut self, object: Object<'a>) -> Result<(), Reason> {
        if !self.seen.insert((object.kind, object.namespace, object.name)) {
            return Err(Reason::Duplicate);
        }
        if !self.seen_uids.insert(object.uid()) {
            return Err(Reason::DuplicateUid);
        }
        Ok(())
    }
}

impl Mapping {
    /// Whether the object is of this mapping's group, version and resource, in one of its namespaces.
    fn claims(&self, object: Object<'_>) -> bool {
        let group_version = object.api_version.rsplit_once('/').unwrap_or(("", object.api_version));
        group_version == (self.group.as_str(), self.version.as_str())
            && is_kind_of(object.kind, &self.resource)
            && (self.namespaces.is_empty() || self.namespaces.iter().any(|name| name == object.namespace))
    }
}

/// Whether a resource's name is the kind's in lower case, in singular or in plural. The plural is
/// what Kubernetes itself guesses (`UnsafeGuessKindToResource`), or more regular English.
fn is_kind_of(kind: &str, resource: &str) -> bool {
    let singular = kind.to_ascii_lowercase();
    let hisses = ["s", "x", "ch", "sh"].iter().any(|end| singular.ends_with(end));
    let guess = match singular.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if hisses => format!("{singular}es"),
        None => format!("{singular}s"),
    };
    !singular.is_empty() && (resource == singular || resource == guess || resource == format!("{singular}s"))
}

#[cfg(test)]
mod tests;
