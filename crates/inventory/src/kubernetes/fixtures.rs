//! Objects and mappings for tests.

use serde_json::{Value, json};

use crate::mapping::{Mapping, PortSource, PortsSource, ServiceSource};

pub(super) fn mapping(resource_type: &str, group: &str, resource: &str, namespaces: &[&str]) -> Mapping {
    Mapping {
        resource_type: resource_type.into(),
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
        address_path: None,
        address_type: None,
        ports: PortsSource::One(PortSource::Name("game".into())),
        service: None,
        ready_when: Vec::new(),
        trust_addresses: false,
        follow_nodes: false,
        capacity: None,
    }
}

pub(super) fn pods() -> Mapping {
    mapping("lobby", "", "pods", &["games"])
}

pub(super) fn game_servers() -> Mapping {
    mapping("match", "agones.dev", "gameservers", &["games"])
}

/// Pods whose place a Service names by its label `server`.
pub(super) fn by_service() -> Mapping {
    let service = ServiceSource { selector_label: "server".into(), target_port_name: "game".into() };
    Mapping { resource_type: "served".into(), service: Some(service), ..pods() }
}

/// A running Pod in `games`.
pub(super) fn pod(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "games", "uid": format!("uid-{name}"), "labels": {"app": "lobby"}},
        "spec": {"containers": [{"name": "server", "ports": [{"name": "game", "containerPort": 7000}]}]},
        "status": {
            "podIP": address, "podIPs": [{"ip": address}], "hostIP": "192.0.2.1", "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// A GameServer in `games` that is ready on its Pod's address.
pub(super) fn game_server(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "agones.dev/v1", "kind": "GameServer",
        "metadata": {"name": name, "namespace": "games", "uid": format!("uid-{name}")},
        "spec": {"ports": [{"name": "game", "containerPort": 7000, "hostPort": 7500}]},
        "status": {
            "state": "Ready", "address": "192.0.2.7",
            "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}, {"type": "PodIP", "address": address}],
            "ports": [{"name": "game", "port": 7500}],
        },
    })
}

pub(super) fn node(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]},
    })
}

/// A Service in `games` that stands for an object.
pub(super) fn service(name: &str, stands_for: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "games", "labels": {"server": stands_for}},
        "spec": {"ports": [{"name": "udp", "port": 1, "targetPort": "game"}]},
    })
}

/// A slice of one ready endpoint.
pub(super) fn slice(name: &str, service: &str, address: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "games", "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "udp", "port": 7100}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
    })
}

/// The object with what stands at a JSON pointer replaced.
pub(super) fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    object.pointer_mut(parent).expect(pointer)[key] = value;
    object
}
