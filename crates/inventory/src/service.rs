//! Services that stand for objects: a label of the Service holds the object's name, and its
//! EndpointSlices say where the Pods behind it listen. The cluster IP is never used, since
//! connection tracking pins a UDP flow through it to a Pod that may be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;
use udp_director_core::Ports;

use crate::address;
use crate::mapping::ServiceSource;
use crate::object::{Object, text};
use crate::ports;
use crate::reader::Place;
use crate::reason::Reason;

/// What the known Services and EndpointSlices say. Where several could be meant, the one that ranks
/// first in text order counts.
#[derive(Default)]
pub(crate) struct Services {
    /// The labels that can hold the name of an object.
    labels: BTreeSet<String>,
    services: BTreeMap<Rank, Service>,
    slices: BTreeMap<Rank, Slice>,
    /// Which Services stand for an object: by label, namespace and the object's name.
    standing: BTreeMap<(String, String, String), BTreeSet<String>>,
    /// Which slices a Service has: by namespace and the Service's name.
    sliced: BTreeMap<(String, String), BTreeSet<String>>,
}

/// A namespace, and what tells objects in it apart and orders them.
pub(crate) type Rank = (String, String);

#[derive(Debug, PartialEq)]
struct Service {
    name: String,
    /// By label.
    stands_for: BTreeMap<String, String>,
    /// Name and named target of each port.
    ports: Vec<(String, String)>,
}

#[derive(Debug, PartialEq)]
struct Slice {
    service: String,
    ports: Vec<(String, u16)>,
    endpoints: Vec<(IpAddr, bool)>,
}

impl Services {
    /// Looks for objects' names in these labels.
    pub(crate) fn new(labels: impl IntoIterator<Item = String>) -> Services {
        Services { labels: labels.into_iter().collect(), ..Services::default() }
    }

    /// Looks for objects' names in these labels from now on, in Services that are yet to come.
    pub(crate) fn relabel(&mut self, labels: impl IntoIterator<Item = String>) {
        self.labels = labels.into_iter().collect();
    }

    /// Takes a Service in, new or changed. Says whether it says anything new.
    pub(crate) fn set_service(&mut self, rank: Rank, object: Object<'_>) -> bool {
        let service = Service::read(object, &self.labels);
        if self.services.get(&rank) == Some(&service) {
            return false;
        }
        self.drop_service(&rank);
        for (label, name) in &service.stands_for {
            let key = (label.clone(), rank.0.clone(), name.clone());
            self.standing.entry(key).or_default().insert(rank.1.clone());
        }
        self.services.insert(rank, service);
        true
    }

    /// Takes an EndpointSlice in, new or changed. Says whether it says anything new.
    pub(crate) fn set_slice(&mut self, rank: Rank, object: Object<'_>) -> bool {
        let slice = Slice::read(object);
        if self.slices.get(&rank) == Some(&slice) {
            return false;
        }
        self.drop_slice(&rank);
        let key = (rank.0.clone(), slice.service.clone());
        self.sliced.entry(key).or_default().insert(rank.1.clone());
        self.slices.insert(rank, slice);
        true
    }

    /// Forgets a Service. Says whether it was known.
    pub(crate) fn drop_service(&mut self, rank: &Rank) -> bool {
        let Some(service) = self.services.remove(rank) else { return false };
        for (label, name) in service.stands_for {
            forget(&mut self.standing, &(label, rank.0.clone(), name), &rank.1);
        }
        true
    }

    /// Forgets an EndpointSlice. Says whether it was known.
    pub(crate) fn drop_slice(&mut self, rank: &Rank) -> bool {
        let Some(slice) = self.slices.remove(rank) else { return false };
        forget(&mut self.sliced, &(rank.0.clone(), slice.service), &rank.1);
        true
    }

    /// The first ready endpoint of the object's Service; the first at all where none is ready, so
    /// that sessions there go on.
    pub(crate) fn resolve(
        &self,
        source: &ServiceSource,
        namespace: &str,
        name: &str,
    ) -> Result<Place, Reason> {
        let key = (source.selector_label.clone(), namespace.to_owned(), name.to_owned());
        let standing = self.standing.get(&key).and_then(BTreeSet::first);
        let service = standing.and_then(|first| self.services.get(&(key.1.clone(), first.clone())));
        let service = service.ok_or(Reason::NoService { label: key.0, name: key.2 })?;
        let port_names = service.port_names(&source.target_port_name);
        let mut places = self.slices_of(namespace, &service.name).flat_map(|slice| slice.places(&port_names));
        let first = places.next().ok_or_else(|| Reason::NoEndpoint {
            service: service.name.clone(),
            port: source.target_port_name.clone(),
        })?;
        if first.ready {
            return Ok(first);
        }
        Ok(places.find(|place| place.ready).unwrap_or(first))
    }

    fn slices_of(&self, namespace: &str, service: &str) -> impl Iterator<Item = &Slice> {
        let names = self.sliced.get(&(namespace.to_owned(), service.to_owned()));
        let namespace = namespace.to_owned();
        let known = move |name: &String| self.slices.get(&(namespace.clone(), name.clone()));
        names.into_iter().flatten().filter_map(known)
    }
}

impl Service {
    fn read(object: Object<'_>, labels: &BTreeSet<String>) -> Service {
        let stands_for = |label: &String| (label.clone(), object.label(label).to_owned());
        let ports = object.value["spec"]["ports"].as_array().into_iter().flatten();
        let names = |port: &Value| (text(&port["name"]).to_owned(), text(&port["targetPort"]).to_owned());
        Service {
            name: object.name.to_owned(),
            stands_for: labels.iter().map(stands_for).filter(|(_, name)| !name.is_empty()).collect(),
            ports: ports.map(names).collect(),
        }
    }

    /// An EndpointSlice names its ports as the Service does. The name that is configured can also be
    /// the Pod's, which the Service then has as `targetPort`.
    fn port_names<'s>(&'s self, wanted: &'s str) -> Vec<&'s str> {
        let by_target = self.ports.iter().filter(|(_, target)| target == wanted);
        std::iter::once(wanted).chain(by_target.map(|(name, _)| name.as_str())).collect()
    }
}

impl Slice {
    fn read(object: Object<'_>) -> Slice {
        let slice_ports = object.value["ports"].as_array().into_iter().flatten();
        let port = |port: &Value| Some((text(&port["name"]).to_owned(), ports::parse(&port["port"])?));
        let endpoints = object.value["endpoints"].as_array().into_iter().flatten();
        let endpoint = |endpoint: &Value| {
            let address = address::parse(endpoint["addresses"].get(0)?)?;
            Some((address, is_ready(&endpoint["conditions"])))
        };
        Slice {
            service: object.label("kubernetes.io/service-name").to_owned(),
            ports: slice_ports.filter_map(port).collect(),
            endpoints: endpoints.filter_map(endpoint).collect(),
        }
    }

    fn places(&self, port_names: &[&str]) -> Vec<Place> {
        let of_name = |wanted: &&str| self.ports.iter().find(|(name, _)| name == wanted);
        let Some((_, port)) = port_names.iter().find_map(of_name) else { return Vec::new() };
        let place = |&(address, ready)| Place { address, ports: Ports::One(*port), ready };
        self.endpoints.iter().map(place).collect()
    }
}

/// An unknown `ready` counts as true, as the API says.
fn is_ready(conditions: &Value) -> bool {
    conditions["ready"] != Value::Bool(false) && conditions["terminating"] != Value::Bool(true)
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<String>>, key: &K, name: &str) {
    if let Some(names) = index.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            index.remove(key);
        }
    }
}
