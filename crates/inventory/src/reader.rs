//! One object to one backend, by one mapping: the reading that the static file and a cluster share.

use std::collections::BTreeMap;
use std::net::IpAddr;

use udp_director_core::{BackendId, BackendSpec, Capacity, ObjectRef, Ports, Refused, Withheld};

use crate::address::address;
use crate::mapping::{Mapping, MappingError};
use crate::object::Object;
use crate::ready::{ends_at, has_ended, withheld};
use crate::reason::Reason;
use crate::rules::Rules;

/// A mapping that is ready to read objects.
pub(crate) struct Reader {
    mapping: Mapping,
    rules: Result<Rules, MappingError>,
}

/// Where an object leads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    pub(crate) ports: Ports,
    /// Whether something there is ready, as far as the place alone tells.
    pub(crate) ready: bool,
}

impl Reader {
    pub(crate) fn new(mapping: &Mapping) -> Reader {
        Reader { rules: Rules::new(mapping), mapping: mapping.clone() }
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// What the object says of its backend, at a place that it names itself.
    pub(crate) fn read(&self, object: Object<'_>) -> Result<BackendSpec, Reason> {
        let rules = self.begin(object)?;
        let address = address(object, &rules.addresses)?;
        let place = Place { address, ports: rules.ports.find(object, address)?, ready: true };
        self.spec(object, rules, place)
    }

    /// What the object says of its backend but for the place, which something else names and
    /// [`Place::put`] puts in.
    pub(crate) fn read_unplaced(&self, object: Object<'_>) -> Result<BackendSpec, Reason> {
        let rules = self.begin(object)?;
        self.spec(object, rules, nowhere())
    }

    /// What is told of an object that is no backend.
    pub(crate) fn refused(&self, object: ObjectRef, reason: &Reason) -> Refused {
        Refused { object, reason: format!("{}: {reason}", self.mapping.resource_type) }
    }

    fn begin(&self, object: Object<'_>) -> Result<&Rules, Reason> {
        object.check_names()?;
        if has_ended(object) {
            return Err(Reason::Ended);
        }
        self.rules.as_ref().map_err(|error| error.clone().into())
    }

    fn spec(&self, object: Object<'_>, rules: &Rules, place: Place) -> Result<BackendSpec, Reason> {
        let (labels, annotations): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (object.labels()?, object.annotations()?);
        let withheld = withheld(object, &rules.ready).or_else(|| place.withheld());
        Ok(BackendSpec {
            id: BackendId::new(&format!("{}/{}", self.mapping.resource_type, object.uid())),
            resource_type: self.mapping.resource_type.clone(),
            namespace: object.namespace.to_owned(),
            name: object.name.to_owned(),
            address: place.address,
            ports: place.ports,
            view: object.view(&labels, &annotations)?.into(),
            labels,
            annotations,
            ends_at: ends_at(object),
            withheld,
            capacity: rules.capacity.as_ref().map_or(Capacity::Unbounded, |rule| rule.read(object)),
        })
    }
}

impl Place {
    /// Puts a backend there, which by itself takes players or not.
    pub(crate) fn put(self, spec: &mut BackendSpec, withheld: Option<Withheld>) {
        spec.withheld = withheld.or_else(|| self.withheld());
        (spec.address, spec.ports) = (self.address, self.ports);
    }

    fn withheld(&self) -> Option<Withheld> {
        (!self.ready).then_some(Withheld::NoEndpoint)
    }
}

/// Stands for a place that is not known yet.
pub(crate) fn nowhere() -> Place {
    Place { address: IpAddr::from([0, 0, 0, 0]), ports: Ports::One(0), ready: true }
}
