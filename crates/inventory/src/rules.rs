//! A mapping made ready to be applied: its paths are read, its defaults filled in.

use udp_director_core::{Path, StatusMatch};

use crate::address::AddressRule;
use crate::mapping::{Condition, Mapping, MappingError, PortsSource};
use crate::numbers::CapacityRule;
use crate::ports::{PortRule, PortsRule};
use crate::ready::ReadyWhen;

/// A mapping's rules.
pub(crate) struct Rules {
    /// The places of the address, tried in order; empty where the mapping names none.
    pub(crate) addresses: Vec<AddressRule>,
    pub(crate) ports: PortsRule,
    pub(crate) ready: Vec<ReadyWhen>,
    /// `None` where nothing bounds how many players come.
    pub(crate) capacity: Option<CapacityRule>,
}

impl Mapping {
    /// Checks the mapping's paths, for a configuration to be refused before it is in force.
    ///
    /// # Errors
    /// Names the path and what is wrong with it.
    pub fn check(&self) -> Result<(), MappingError> {
        Rules::new(self).map(|_| ())
    }
}

impl Rules {
    pub(crate) fn new(mapping: &Mapping) -> Result<Rules, MappingError> {
        let ports = match &mapping.ports {
            PortsSource::One(source) => PortsRule::One(PortRule::new(source)?),
            PortsSource::Named(sources) => {
                let rule = |(listener, source): &(String, _)| Ok((listener.clone(), PortRule::new(source)?));
                PortsRule::Named(sources.iter().map(rule).collect::<Result<_, MappingError>>()?)
            }
        };
        Ok(Rules {
            addresses: addresses(mapping)?,
            ports,
            ready: mapping.ready_when.iter().map(condition).collect::<Result<_, _>>()?,
            capacity: mapping.capacity.as_ref().map(CapacityRule::new).transpose()?,
        })
    }
}

/// `status.address` of a GameServer is its node's, and serves only where no Pod address is told.
fn addresses(mapping: &Mapping) -> Result<Vec<AddressRule>, MappingError> {
    let address_type = mapping.address_type.as_deref();
    let of = |path: &str, address_type: Option<&str>| AddressRule::new(path, address_type);
    match (&mapping.address_path, mapping.group.as_str(), mapping.resource.as_str()) {
        (Some(path), ..) => Ok(vec![of(path, address_type)?]),
        (None, "", "pods" | "pod") if address_type.is_some() => Ok(vec![of("status.podIPs", address_type)?]),
        (None, "", "pods" | "pod") => Ok(vec![of("status.podIP", None)?]),
        (None, "agones.dev", "gameservers" | "gameserver") => Ok(vec![
            of("status.addresses", Some(address_type.unwrap_or("PodIP")))?,
            of("status.address", None)?,
        ]),
        _ => Ok(Vec::new()),
    }
}

fn condition(condition: &Condition) -> Result<ReadyWhen, MappingError> {
    let path = Path::parse(&condition.json_path)
        .map_err(|error| MappingError::ReadyWhen { path: condition.json_path.clone(), error })?;
    let holds = StatusMatch { path, expected: condition.expected.clone() };
    Ok(ReadyWhen { path: condition.json_path.clone(), holds })
}
