//! Services that stand for objects: a label of the Service holds the object's name, and its
//! EndpointSlices say where the Pods behind it listen. The cluster IP is never used, since
//! connection tracking pins a UDP flow through it to a Pod that may be gone.

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::address;
use crate::mapping::ServiceSource;
use crate::object::{Object, text};
use crate::ports;
use crate::reason::Reason;

/// The Services and EndpointSlices among the objects, as one mapping needs them.
pub(crate) struct Services<'a> {
    source: &'a ServiceSource,
    /// By namespace and the name of the object that they stand for; the first one counts.
    services: HashMap<(&'a str, &'a str), Object<'a>>,
    /// By namespace and Service.
    slices: HashMap<(&'a str, &'a str), Vec<Object<'a>>>,
}

/// Where a Service leads.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// Whether the Pod there is ready.
    pub(crate) ready: bool,
}

impl<'a> Services<'a> {
    pub(crate) fn new(source: &'a ServiceSource, objects: &[Object<'a>]) -> Services<'a> {
        let mut found = Services { source, services: HashMap::new(), slices: HashMap::new() };
        for &object in objects {
            match (object.api_version, object.kind) {
                ("v1", "Service") => {
                    let stands_for = object.label(&source.selector_label);
                    found.services.entry((object.namespace, stands_for)).or_insert(object);
                }
                ("discovery.k8s.io/v1", "EndpointSlice") => {
                    let service = object.label("kubernetes.io/service-name");
                    found.slices.entry((object.namespace, service)).or_default().push(object);
                }
                _ => {}
            }
        }
        found
    }

    /// The first ready endpoint of the object's Service; the first at all where none is ready, so
    /// that sessions there go on.
    pub(crate) fn resolve(&self, object: Object<'_>) -> Result<Endpoint, Reason> {
        let service = self.services.get(&(object.namespace, object.name)).ok_or_else(|| {
            Reason::NoService { label: self.source.selector_label.clone(), name: object.name.to_owned() }
        })?;
        let slices = self.slices.get(&(service.namespace, service.name));
        let port_names = self.port_names(*service);
        let mut endpoints = slices.into_iter().flatten().flat_map(|slice| endpoints(*slice, &port_names));
        let first = endpoints.next().ok_or_else(|| Reason::NoEndpoint {
            service: service.name.to_owned(),
            port: self.source.target_port_name.clone(),
        })?;
        if first.ready {
            return Ok(first);
        }
        Ok(endpoints.find(|endpoint| endpoint.ready).unwrap_or(first))
    }

    /// An EndpointSlice names its ports as the Service does. The name that is configured can also be
    /// the Pod's, which the Service then has as `targetPort`.
    fn port_names<'s>(&'s self, service: Object<'s>) -> Vec<&'s str> {
        let wanted = self.source.target_port_name.as_str();
        let ports = service.value["spec"]["ports"].as_array().into_iter().flatten();
        let by_target =
            ports.filter(|port| text(&port["targetPort"]) == wanted).map(|port| text(&port["name"]));
        std::iter::once(wanted).chain(by_target).collect()
    }
}

fn endpoints(slice: Object<'_>, port_names: &[&str]) -> Vec<Endpoint> {
    let Some(port) = port(slice, port_names) else { return Vec::new() };
    let endpoints = slice.value["endpoints"].as_array().into_iter().flatten();
    let endpoint = |endpoint: &Value| {
        let address = address::parse(endpoint["addresses"].get(0)?)?;
        Some(Endpoint { address, port, ready: is_ready(&endpoint["conditions"]) })
    };
    endpoints.filter_map(endpoint).collect()
}

fn port(slice: Object<'_>, names: &[&str]) -> Option<u16> {
    let slice_ports = slice.value["ports"].as_array()?;
    let of_name = |name: &&str| slice_ports.iter().find(|port| text(&port["name"]) == *name);
    names.iter().find_map(of_name).and_then(|port| ports::parse(&port["port"]))
}

/// An unknown `ready` counts as true, as the API says.
fn is_ready(conditions: &Value) -> bool {
    conditions["ready"] != Value::Bool(false) && conditions["terminating"] != Value::Bool(true)
}
