//! Objects to backends, by resource mapping.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::Value;
use udp_director_core::{BackendId, BackendSpec, Ports, Refused};

use crate::address::address;
use crate::mapping::{Mapping, MappingError};
use crate::object::Object;
use crate::ready::accepts;
use crate::reason::Reason;
use crate::rules::Rules;
use crate::service::Services;
use crate::targets::Targets;

/// What every mapping makes of the objects that it claims, and which of them it refuses and why.
///
/// One object can serve several mappings. It is then a backend of each, with an id and seats of each:
/// an id is the resource type and the object's UID, since the ports of one mapping are not another's.
pub fn backends(
    objects: &[Value],
    mappings: &[Mapping],
    targets: &Targets,
) -> (Vec<BackendSpec>, Vec<Refused>) {
    let objects: Vec<Object<'_>> = objects.iter().map(Object::new).collect();
    let mut specs = Vec::new();
    let mut refused = Vec::new();
    for mapping in mappings {
        let mut reader = Reader::new(mapping, targets, &objects);
        for object in objects.iter().copied().filter(|object| mapping.claims(*object)) {
            match reader.read(object) {
                Ok(spec) => specs.push(spec),
                Err(reason) => {
                    let reason = format!("{}: {reason}", mapping.resource_type);
                    refused.push(Refused { object: object.to_ref(), reason });
                }
            }
        }
    }
    (specs, refused)
}

struct Reader<'a> {
    mapping: &'a Mapping,
    targets: &'a Targets,
    rules: Result<Rules, MappingError>,
    services: Option<Services<'a>>,
    /// Kind, namespace and name of what was read before.
    seen: HashSet<(&'a str, &'a str, &'a str)>,
    seen_uids: HashSet<String>,
}

/// Where an object leads.
struct Place {
    address: IpAddr,
    ports: Ports,
    ready: bool,
}

impl<'a> Reader<'a> {
    fn new(mapping: &'a Mapping, targets: &'a Targets, objects: &[Object<'a>]) -> Reader<'a> {
        Reader {
            mapping,
            targets,
            rules: Rules::new(mapping),
            services: mapping.service.as_ref().map(|source| Services::new(source, objects)),
            seen: HashSet::new(),
            seen_uids: HashSet::new(),
        }
    }

    fn read(&mut self, object: Object<'a>) -> Result<BackendSpec, Reason> {
        object.check_names()?;
        self.check_new(object)?;
        let rules = self.rules.as_ref().map_err(Clone::clone)?;
        let place = self.place(object, rules)?;
        self.targets.check(place.address)?;
        let (labels, annotations) = (object.labels()?, object.annotations()?);
        Ok(BackendSpec {
            id: BackendId::new(&format!("{}/{}", self.mapping.resource_type, object.uid())),
            resource_type: self.mapping.resource_type.clone(),
            namespace: object.namespace.to_owned(),
            name: object.name.to_owned(),
            address: place.address,
            ports: place.ports,
            view: object.view(&labels, &annotations),
            labels,
            annotations,
            accepting: place.ready && accepts(object, &rules.ready),
        })
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

    fn place(&self, object: Object<'_>, rules: &Rules) -> Result<Place, Reason> {
        if let Some(services) = &self.services {
            let endpoint = services.resolve(object)?;
            let ports = Ports::One(endpoint.port);
            return Ok(Place { address: endpoint.address, ports, ready: endpoint.ready });
        }
        let address = address(object, &rules.addresses)?;
        Ok(Place { address, ports: rules.ports.find(object, address)?, ready: true })
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
