//! What queries, selectors and paths are tried on.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};
use udp_director_core::Inventory;
use udp_director_inventory::{
    Condition, Mapping, PortSource, PortsSource, ServiceSource, Targets, backends, read_objects,
};

/// The objects of `examples/objects.yaml` and one of many levels.
pub(crate) fn objects() -> &'static [Value] {
    static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
        let mut objects = read_objects(EXAMPLE).expect("the example is right");
        objects.push(deep(12));
        objects
    });
    &OBJECTS
}

/// The labels of each backend, and none.
pub(crate) fn labels() -> &'static [BTreeMap<String, String>] {
    static LABELS: LazyLock<Vec<BTreeMap<String, String>>> = LazyLock::new(|| {
        let of_backends = inventory().backends().iter().map(|backend| backend.spec.labels.clone());
        of_backends.chain([BTreeMap::new()]).collect()
    });
    &LABELS
}

/// Mappings that between them use every field.
pub(crate) fn mappings() -> [Mapping; 4] {
    let named = |name: &str| PortSource::Name(name.to_owned());
    let game_servers = Mapping {
        group: "agones.dev".to_owned(),
        resource: "gameservers".to_owned(),
        address_path: Some("status.addresses".to_owned()),
        address_type: Some("PodIP".to_owned()),
        ports: PortsSource::One(named("default")),
        ..pods("gameserver")
    };
    let rooms = Mapping {
        address_path: Some("$.status['podIPs']".to_owned()),
        namespaces: Vec::new(),
        ports: PortsSource::Named(vec![
            ("game".to_owned(), named("game")),
            ("rcon".to_owned(), PortSource::Path("metadata.annotations['example.com/rcon']".to_owned())),
        ]),
        ready_when: vec![Condition {
            json_path: "status.conditions[?@.type == 'Ready'].status".to_owned(),
            expected: vec![json!("True")],
        }],
        ..pods("room")
    };
    let fronts = Mapping {
        service: Some(ServiceSource {
            selector_label: "serves".to_owned(),
            target_port_name: "game".to_owned(),
        }),
        ..pods("front")
    };
    [game_servers, pods("lobby"), rooms, fronts]
}

fn pods(resource_type: &str) -> Mapping {
    Mapping {
        resource_type: resource_type.into(),
        group: String::new(),
        version: "v1".to_owned(),
        resource: "pods".to_owned(),
        namespaces: vec!["games".to_owned()],
        address_path: None,
        address_type: None,
        trust_addresses: false,
        follow_nodes: false,
        capacity: None,
        ports: PortsSource::One(PortSource::Name("game".to_owned())),
        service: None,
        ready_when: Vec::new(),
    }
}

/// What [`objects`] is to [`mappings`].
pub(crate) fn inventory() -> &'static Inventory {
    static INVENTORY: LazyLock<Inventory> = LazyLock::new(|| {
        let loopback = Targets::new(vec!["127.0.0.0/8".parse().expect("a CIDR")]);
        let (specs, refused) = backends(objects(), &mappings(), &loopback);
        Inventory::default().next(specs, refused)
    });
    &INVENTORY
}

/// An object of that many levels, each with a list, for paths that descend.
fn deep(levels: u32) -> Value {
    match levels {
        0 => json!({"leaf": 7, "text": "x"}),
        _ => json!({"a": deep(levels - 1), "b": [levels, {"a": null}], "metadata": {"name": "deep"}}),
    }
}

const EXAMPLE: &str = include_str!("../../examples/objects.yaml");
