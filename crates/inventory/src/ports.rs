//! On which ports an object says that it listens.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;
use udp_director_core::{Path, Ports};

use crate::address::is_pod_address;
use crate::mapping::{MappingError, PortSource};
use crate::object::{Object, text};
use crate::reason::{Brief, Reason};

/// Where the ports of a mapping stand.
pub(crate) enum PortsRule {
    One(PortRule),
    /// By listener name.
    Named(Vec<(String, PortRule)>),
}

/// Where one port stands.
pub(crate) enum PortRule {
    Name(String),
    Path { path: Path, text: String },
}

impl PortsRule {
    /// The object's ports. Those that it lacks are left out, but one there must be.
    pub(crate) fn find(&self, object: Object<'_>, address: IpAddr) -> Result<Ports, Reason> {
        match self {
            PortsRule::One(rule) => {
                let port = rule.find(object, address)?;
                port.map(Ports::One).ok_or_else(|| Reason::NoPort(rule.place()))
            }
            PortsRule::Named(rules) => named(rules, object, address).map(Ports::Named),
        }
    }
}

fn named(
    rules: &[(String, PortRule)],
    object: Object<'_>,
    address: IpAddr,
) -> Result<BTreeMap<String, u16>, Reason> {
    let mut ports = BTreeMap::new();
    for (listener, rule) in rules {
        if let Some(port) = rule.find(object, address)? {
            ports.insert(listener.clone(), port);
        }
    }
    if ports.is_empty() {
        let places: Vec<String> = rules.iter().map(|(_, rule)| rule.place()).collect();
        return Err(Reason::NoPort(places.join(", ")));
    }
    Ok(ports)
}

impl PortRule {
    pub(crate) fn new(source: &PortSource) -> Result<PortRule, MappingError> {
        Ok(match source {
            PortSource::Name(name) => PortRule::Name(name.clone()),
            PortSource::Path(text) => PortRule::Path {
                path: Path::parse(text)
                    .map_err(|error| MappingError::PortPath { path: text.clone(), error })?,
                text: text.clone(),
            },
        })
    }

    fn find(&self, object: Object<'_>, address: IpAddr) -> Result<Option<u16>, Reason> {
        let found = match self {
            PortRule::Name(name) => by_name(object, name, address),
            PortRule::Path { path, .. } => path.first(object.value),
        };
        match found {
            None | Some(Value::Null) => Ok(None),
            Some(value) => parse(value)
                .map(Some)
                .ok_or_else(|| Reason::NotAPort { place: self.place(), found: Brief::new(value) }),
        }
    }

    fn place(&self) -> String {
        match self {
            PortRule::Name(name) => format!("the port named {name:?}"),
            PortRule::Path { text, .. } => text.clone(),
        }
    }
}

/// The value of the port of that name, from the first of the kind's lists that has it.
///
/// `status.ports` of a GameServer are host ports, right with its node's address; on its Pod's own
/// address it listens on the container port. `spec.ports` then says nothing for the node's address:
/// with a dynamic port policy the host port is known to the status alone.
fn by_name<'a>(object: Object<'a>, name: &str, address: IpAddr) -> Option<&'a Value> {
    let of_status = || entry(&object.value["status"]["ports"], name)?.get("port");
    let of_spec = |key: &str| entry(&object.value["spec"]["ports"], name)?.get(key);
    match (object.is_game_server(), is_pod_address(object, address)) {
        (true, true) => of_spec("containerPort").or_else(of_status),
        (true, false) => of_status(),
        (false, _) => of_status()
            .or_else(|| of_spec("port"))
            .or_else(|| of_spec("containerPort"))
            .or_else(|| of_containers(object, name)),
    }
}

fn of_containers<'a>(object: Object<'a>, name: &str) -> Option<&'a Value> {
    let containers = object.value["spec"]["containers"].as_array()?;
    containers.iter().find_map(|container| entry(&container["ports"], name)?.get("containerPort"))
}

/// The entry of that name in a list of ports.
fn entry<'a>(ports: &'a Value, name: &str) -> Option<&'a Value> {
    ports.as_array()?.iter().find(|port| text(&port["name"]) == name)
}

/// The port that a number or a text of digits spells.
pub(crate) fn parse(value: &Value) -> Option<u16> {
    let port = match value {
        Value::String(text) => text.parse().ok()?,
        number => u16::try_from(number.as_u64()?).ok()?,
    };
    (port != 0).then_some(port)
}
