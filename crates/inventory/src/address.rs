//! Where an object says that it listens.

use std::net::IpAddr;

use serde_json::Value;
use udp_director_core::Path;

use crate::mapping::MappingError;
use crate::object::{Object, text};
use crate::reason::{Brief, Reason};

/// One place where an address can stand: a text, `{type, address}` or `{ip}`, or a list of these.
pub(crate) struct AddressRule {
    path: Path,
    /// The path and type for people.
    place: String,
    /// The `type` that an entry of a list must have.
    wanted_type: Option<String>,
}

impl AddressRule {
    pub(crate) fn new(path: &str, wanted_type: Option<&str>) -> Result<AddressRule, MappingError> {
        let parsed =
            Path::parse(path).map_err(|error| MappingError::AddressPath { path: path.to_owned(), error })?;
        let place = match wanted_type {
            Some(wanted) => format!("{path} of type {wanted}"),
            None => path.to_owned(),
        };
        Ok(AddressRule { path: parsed, place, wanted_type: wanted_type.map(str::to_owned) })
    }

    /// The address that stands there, if one does.
    fn find(&self, object: Object<'_>) -> Result<Option<IpAddr>, Reason> {
        let Some(found) = self.path.first(object.value).and_then(|value| self.pick(value)) else {
            return Ok(None);
        };
        match found {
            Value::Null => Ok(None),
            Value::String(text) if text.is_empty() => Ok(None),
            found => parse(found)
                .map(Some)
                .ok_or_else(|| Reason::NotAnAddress { place: self.place.clone(), found: Brief::new(found) }),
        }
    }

    fn pick<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match value {
            Value::Array(entries) => entries.iter().find(|entry| self.is_wanted(entry)).map(of_entry),
            entry => Some(of_entry(entry)),
        }
    }

    fn is_wanted(&self, entry: &Value) -> bool {
        let Some(wanted) = &self.wanted_type else { return true };
        match (entry.get("type"), wanted.as_str()) {
            (None, "IPv4") => parse(of_entry(entry)).is_some_and(|address| address.is_ipv4()),
            (None, "IPv6") => parse(of_entry(entry)).is_some_and(|address| address.is_ipv6()),
            _ => text(&entry["type"]) == wanted,
        }
    }
}

/// The object's address, from the first of the places where one stands.
pub(crate) fn address(object: Object<'_>, rules: &[AddressRule]) -> Result<IpAddr, Reason> {
    if rules.is_empty() {
        return Err(Reason::NoAddressPath);
    }
    for rule in rules {
        if let Some(address) = rule.find(object)? {
            return Ok(address);
        }
    }
    let places: Vec<&str> = rules.iter().map(|rule| rule.place.as_str()).collect();
    Err(Reason::NoAddress(places.join(" or ")))
}

/// Whether a GameServer names that address as its Pod's own, and not as its node's.
pub(crate) fn is_pod_address(object: Object<'_>, address: IpAddr) -> bool {
    let is_it = |entry: &Value| text(&entry["type"]) == "PodIP" && parse(&entry["address"]) == Some(address);
    object.value["status"]["addresses"].as_array().is_some_and(|entries| entries.iter().any(is_it))
}

/// The IP address that a value spells, IPv4 never in its IPv6-mapped form.
pub(crate) fn parse(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// A load balancer's entry can hold a `hostname` instead, which is shown when it is refused.
fn of_entry(entry: &Value) -> &Value {
    ["address", "ip", "hostname"].iter().find_map(|key| entry.get(key)).unwrap_or(entry)
}
