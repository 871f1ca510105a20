use proptest::prelude::*;
use serde_json::json;
use udp_director_core::Ports;

use super::*;
use crate::mapping::{Condition, PortSource, PortsSource, ServiceSource};
use crate::objects::read_objects;

fn mapping(group: &str, resource: &str) -> Mapping {
    Mapping {
        resource_type: "lobby".into(),
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        namespaces: Vec::new(),
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

fn pods() -> Mapping {
    mapping("", "pods")
}

fn game_servers() -> Mapping {
    mapping("agones.dev", "gameservers")
}

/// A running Pod of that name on 10.0.0.1 with the port `game`.
fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "games", "uid": format!("uid-{name}"), "labels": {"app": "lobby"}},
        "spec": {"containers": [
            {"name": "sidecar"},
            {"name": "server", "env": [{"name": "SECRET"}],
             "ports": [{"name": "game", "containerPort": 7000}, {"name": "rcon", "containerPort": 7001}]},
        ]},
        "status": {"podIP": "10.0.0.1", "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn game_server() -> Value {
    json!({
        "apiVersion": "agones.dev/v1", "kind": "GameServer",
        "metadata": {"name": "gs", "namespace": "games", "uid": "uid-gs"},
        "spec": {"ports": [{"name": "game", "containerPort": 7000, "hostPort": 7500}]},
        "status": {
            "state": "Ready", "address": "192.0.2.7",
            "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}, {"type": "PodIP", "address": "10.0.0.7"}],
            "ports": [{"name": "game", "port": 7500}],
        },
    })
}

/// The object with what stands at a JSON pointer replaced.
fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    object.pointer_mut(parent).expect(pointer)[key] = value;
    object
}

fn read(mapping: &Mapping, objects: &[Value]) -> (Vec<BackendSpec>, Vec<Refused>) {
    backends(objects, std::slice::from_ref(mapping), &Targets::default())
}

fn one(mapping: &Mapping, object: &Value) -> BackendSpec {
    let (mut specs, refused) = read(mapping, std::slice::from_ref(object));
    assert_eq!(refused, []);
    specs.pop().expect("a backend")
}

/// Address and ports as text.
fn place(mapping: &Mapping, object: &Value) -> String {
    let spec = one(mapping, object);
    format!("{} {:?}", spec.address, spec.ports)
}

fn refusal(mapping: &Mapping, objects: &[Value]) -> String {
    let (specs, mut refused) = read(mapping, objects);
    assert_eq!(specs, []);
    refused.pop().expect("a refusal").reason
}

#[test]
fn pod_becomes_a_backend() {
    let spec = one(&pods(), &with(pod("a"), "/metadata/annotations", json!({"map": "dust"})));
    assert_eq!(spec.id.to_string(), "lobby/uid-a");
    assert_eq!((&*spec.resource_type, &*spec.namespace, &*spec.name), ("lobby", "games", "a"));
    assert_eq!(spec.address.to_string(), "10.0.0.1");
    assert_eq!(spec.ports, Ports::One(7000));
    assert_eq!(spec.labels["app"], "lobby");
    assert_eq!(spec.annotations["map"], "dust");
    assert!(spec.accepting());
}

#[test]
fn status_query_sees_neither_the_spec_nor_a_copy_of_it() {
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": "SECRET", "map": "dust"});
    let spec = one(&pods(), &with(pod("a"), "/metadata/annotations", annotations));
    let keys: Vec<&String> = spec.view.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["apiVersion", "kind", "metadata", "status"]);
    assert_eq!(spec.view["status"]["podIP"], "10.0.0.1");
    assert!(!spec.view.to_string().contains("SECRET"));
    assert_eq!(spec.annotations.keys().collect::<Vec<_>>(), ["map"]);
}

#[test]
fn node_that_is_cordoned_takes_no_new_players_where_nodes_are_followed() {
    let on_node = |name: &str, uid: &str, node: &str| {
        with(with(pod(name), "/spec/nodeName", json!(node)), "/metadata/uid", json!(uid))
    };
    let node = |name: &str, unschedulable: Value| {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"unschedulable": unschedulable},
        })
    };
    let objects = [
        on_node("a", "1", "n1"),
        on_node("b", "2", "n2"),
        on_node("c", "3", "unknown"),
        node("n1", json!(true)),
        node("n2", json!("true")),
    ];
    for (follow_nodes, withheld) in [(true, Some(Withheld::Cordoned)), (false, None)] {
        let (specs, refused) = read(&Mapping { follow_nodes, ..pods() }, &objects);
        assert_eq!(refused, []);
        let found: Vec<_> = specs.into_iter().map(|spec| spec.withheld).collect();
        assert_eq!(found, [withheld, None, None]);
    }
}

#[test]
fn mapping_claims_its_kind_alone() {
    for (kind, resource, claimed) in [
        ("Pod", "pods", true),
        ("Pod", "pod", true),
        ("Pod", "services", false),
        ("Match", "matches", true),
        ("Box", "boxes", true),
        ("Proxy", "proxies", true),
        ("Gateway", "gateways", true),
        ("Endpoints", "endpoints", true),
        ("Ingress", "ingresses", true),
        ("GameServer", "gameservers", true),
        ("", "s", false),
    ] {
        assert_eq!(is_kind_of(kind, resource), claimed, "{kind} as {resource}");
    }
    let other_version = with(pod("a"), "/apiVersion", json!("v2"));
    let other_group = with(pod("a"), "/apiVersion", json!("games.io/v1"));
    let untyped = with(pod("a"), "/apiVersion", json!(7));
    assert_eq!(read(&pods(), &[other_version, other_group, untyped]), (vec![], vec![]));
}

#[test]
fn object_outside_the_namespaces_is_not_seen() {
    let mapping = Mapping { namespaces: vec!["default".into()], ..pods() };
    let without = with(pod("a"), "/metadata/namespace", Value::Null);
    assert_eq!(read(&mapping, &[pod("a")]), (vec![], vec![]));
    assert_eq!(one(&mapping, &without).namespace, "default");
}

#[test]
fn object_without_uid_has_one_that_stands_for_it() {
    let object = with(pod("a"), "/metadata/uid", Value::Null);
    assert_eq!(one(&pods(), &object).id.to_string(), "lobby/Pod/games/a");
}

#[test]
fn object_can_serve_two_mappings() {
    let other = Mapping {
        resource_type: "rcon".into(),
        ports: PortsSource::One(PortSource::Name("rcon".into())),
        ..pods()
    };
    let (specs, refused) = backends(&[pod("a")], &[pods(), other], &Targets::default());
    let found: Vec<_> = specs.iter().map(|spec| (spec.id.to_string(), spec.ports.clone())).collect();
    assert_eq!(found, [("lobby/uid-a".into(), Ports::One(7000)), ("rcon/uid-a".into(), Ports::One(7001))]);
    assert_eq!(refused, []);
}

#[test]
fn address_is_found_wherever_the_path_leads() {
    let by = |path: &str, address_type: Option<&str>| Mapping {
        address_path: Some(path.into()),
        address_type: address_type.map(str::to_owned),
        ..pods()
    };
    let status = json!({
        "text": "10.1.0.1", "mapped": "::ffff:10.1.0.2", "v6": "2001:db8::1",
        "typed": [{"type": "Hostname", "address": "node"}, {"type": "PodIP", "address": "10.1.0.3"}],
        "ips": [{"ip": "10.1.0.4"}, {"ip": "fd00::5"}], "texts": ["10.1.0.6", "10.1.0.7"],
    });
    let object = with(pod("a"), "/status", status);
    let object = with(object, "/metadata/annotations", json!({"x/y": "10.1.0.8"}));
    for (path, address_type, expected) in [
        ("status.text", None, "10.1.0.1"),
        ("status.text", Some("PodIP"), "10.1.0.1"),
        ("status.mapped", None, "10.1.0.2"),
        ("status.v6", None, "2001:db8::1"),
        ("status.typed", Some("PodIP"), "10.1.0.3"),
        ("status.typed[1]", None, "10.1.0.3"),
        ("$.status.typed[?@.type=='PodIP'].address", None, "10.1.0.3"),
        ("status.ips", None, "10.1.0.4"),
        ("status.ips", Some("IPv6"), "fd00::5"),
        ("status.ips", Some("IPv4"), "10.1.0.4"),
        ("status.texts", None, "10.1.0.6"),
        ("metadata.annotations['x/y']", None, "10.1.0.8"),
    ] {
        assert_eq!(one(&by(path, address_type), &object).address.to_string(), expected, "{path}");
    }
    for (path, address_type, reason) in [
        ("status.typed", None, "lobby: an IP address is due at status.typed, not \"node\""),
        ("status.typed", Some("X"), "lobby: there is no address at status.typed of type X"),
        ("status.nothing", None, "lobby: there is no address at status.nothing"),
        ("status", None, "lobby: an IP address is due at status, not a mapping"),
        ("status[", None, "lobby: addressPath \"status[\": it is no JSONPath"),
    ] {
        let found = refusal(&by(path, address_type), std::slice::from_ref(&object));
        assert!(found.contains(reason), "{path}: {found}");
    }
}

#[test]
fn game_server_is_reached_on_its_pod_and_else_on_its_node() {
    let host_only = with(game_server(), "/status/addresses", json!([]));
    let host_typed = Mapping {
        address_path: Some("status.addresses".into()),
        address_type: Some("InternalIP".into()),
        ..game_servers()
    };
    let filtered =
        Mapping { address_path: Some("status.addresses[?@.type=='PodIP'].address".into()), ..game_servers() };
    let no_container_port = with(game_server(), "/spec/ports", json!([{"name": "game"}]));
    let not_yet_placed = with(host_only.clone(), "/status/ports", Value::Null);
    assert_eq!(place(&game_servers(), &game_server()), "10.0.0.7 One(7000)");
    assert_eq!(place(&filtered, &game_server()), "10.0.0.7 One(7000)");
    assert_eq!(place(&game_servers(), &no_container_port), "10.0.0.7 One(7500)");
    assert_eq!(place(&game_servers(), &host_only), "192.0.2.7 One(7500)");
    assert_eq!(place(&host_typed, &game_server()), "192.0.2.7 One(7500)");
    assert!(refusal(&game_servers(), &[not_yet_placed]).contains("there is no port"));
}

#[test]
fn kind_without_a_default_needs_an_address_path() {
    let object = json!({"apiVersion": "games.io/v1", "kind": "Match", "metadata": {"name": "m"}});
    assert_eq!(
        refusal(&mapping("games.io", "matches"), &[object]),
        "lobby: the mapping has no addressPath, which only pods and gameservers can do without"
    );
}

#[test]
fn port_is_found_by_name_wherever_the_kind_lists_it() {
    for (pointer, ports, expected) in [
        ("/status/ports", json!([{"name": "x", "port": 1}, {"name": "game", "port": 2}]), 2),
        ("/spec/ports", json!([{"name": "game", "port": 3, "containerPort": 4}]), 3),
        ("/spec/ports", json!([{"name": "game", "containerPort": 4}]), 4),
        ("/status/ports", json!([{"name": "game", "port": "5"}]), 5),
        ("/status/ports", json!("nonsense"), 7000),
    ] {
        let object = with(pod("a"), pointer, ports);
        assert_eq!(one(&pods(), &object).ports, Ports::One(expected), "{pointer}");
    }
}

#[test]
fn port_is_from_1_to_65535() {
    let by_path = Mapping { ports: PortsSource::One(PortSource::Path("status.port".into())), ..pods() };
    for (value, expected) in [(json!(1), 1), (json!(65535), 65535), (json!("7777"), 7777)] {
        assert_eq!(one(&by_path, &with(pod("a"), "/status/port", value)).ports, Ports::One(expected));
    }
    for value in [json!(0), json!(65536), json!(-1), json!(1.5), json!("http"), json!(""), json!([7777])] {
        let reason = refusal(&by_path, &[with(pod("a"), "/status/port", value.clone())]);
        assert!(reason.contains("a port from 1 to 65535 is due at status.port, not "), "{value}: {reason}");
    }
}

#[test]
fn named_ports_that_the_object_lacks_are_left_out() {
    let sources = [
        ("game-udp", PortSource::Name("game".into())),
        ("voice", PortSource::Name("voice".into())),
        ("query", PortSource::Path("status.query".into())),
    ];
    let named = |sources: &[(&str, PortSource)]| Mapping {
        ports: PortsSource::Named(
            sources.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect(),
        ),
        ..pods()
    };
    assert_eq!(one(&named(&sources), &pod("a")).ports, Ports::Named([("game-udp".to_owned(), 7000)].into()));
    assert_eq!(
        refusal(&named(&sources[1..]), &[pod("a")]),
        "lobby: there is no port: looked for the port named \"voice\", status.query"
    );
}

#[test]
fn object_that_is_not_ready_is_a_backend_that_accepts_nobody() {
    for (pointer, value, accepting) in [
        ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"), false),
        ("/metadata/labels", json!({"udp-director.io/draining": "true"}), false),
        ("/metadata/labels", json!({"udp-director.io/draining": "false"}), true),
        ("/metadata/annotations", json!({"udp-director.io/draining": "true"}), false),
        ("/status/phase", json!("Pending"), false),
        ("/status/phase", json!("Unknown"), false),
        ("/status/phase", json!(7), false),
        ("/status/phase", Value::Null, true),
        ("/status/conditions", json!([{"type": "Ready", "status": "False"}]), false),
        ("/status/conditions", json!([{"type": "Initialized", "status": "False"}]), true),
        ("/status/conditions", json!([{"type": "Ready"}]), false),
        ("/status/conditions", Value::Null, true),
    ] {
        let spec = one(&pods(), &with(pod("a"), pointer, value.clone()));
        assert_eq!(spec.accepting(), accepting, "{pointer} {value}");
    }
}

#[test]
fn game_server_accepts_players_while_a_game_can_run() {
    for (state, accepting) in [
        (json!("Ready"), true),
        (json!("Allocated"), true),
        (json!("Reserved"), true),
        (Value::Null, true),
        (json!("Scheduled"), false),
        (json!("RequestReady"), false),
        (json!("Shutdown"), false),
        (json!("Unhealthy"), false),
        (json!(["Ready"]), false),
    ] {
        let spec = one(&game_servers(), &with(game_server(), "/status/state", state.clone()));
        assert_eq!(spec.accepting(), accepting, "{state}");
    }
}

#[test]
fn every_condition_of_the_mapping_must_hold() {
    let condition = |json_path: &str, expected: &[Value]| Condition {
        json_path: json_path.into(),
        expected: expected.to_vec(),
    };
    let of_spec = condition("spec.containers[*].name", &[json!("server")]);
    let of_status = condition("$.status.phase", &[json!("Running"), json!("Pending")]);
    let failing = condition("status.players", &[json!(0)]);
    let with_conditions = |ready_when: Vec<Condition>| Mapping { ready_when, ..pods() };
    assert!(one(&with_conditions(vec![of_spec.clone(), of_status]), &pod("a")).accepting());
    assert!(!one(&with_conditions(vec![of_spec, failing]), &pod("a")).accepting());
    let broken = with_conditions(vec![condition("a[", &[])]);
    assert!(broken.check().expect_err("a broken path").to_string().starts_with("readyWhen \"a[\": "));
}

#[test]
fn target_that_is_no_server_is_refused_unless_listed() {
    let loopback = with(pod("a"), "/status/podIP", json!("127.0.0.1"));
    assert_eq!(
        refusal(&pods(), std::slice::from_ref(&loopback)),
        "lobby: 127.0.0.1 is a loopback address, and no allowed CIDR contains it"
    );
    let targets = Targets::new(vec!["127.0.0.0/8".parse().expect("a CIDR")]);
    let (specs, refused) = backends(&[loopback], &[pods()], &targets);
    assert_eq!((specs.len(), refused.len()), (1, 0));
}

#[test]
fn first_of_two_objects_with_one_name_or_uid_counts() {
    let moved = with(pod("a"), "/status/podIP", json!("10.0.0.2"));
    let renamed = with(pod("b"), "/metadata/uid", json!("uid-a"));
    let (specs, refused) = read(&pods(), &[pod("a"), moved, renamed]);
    assert_eq!(specs.iter().map(|spec| spec.address.to_string()).collect::<Vec<_>>(), ["10.0.0.1"]);
    let reasons: Vec<_> = refused.iter().map(|refused| refused.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "lobby: an object of that kind, namespace and name came before",
            "lobby: an object of that UID came before"
        ]
    );
    assert_eq!(refused[0].object.to_string(), "Pod games/a");
}

#[test]
fn wrong_type_refuses_the_object_with_a_reason() {
    for (pointer, value, reason) in [
        ("/metadata/name", json!(7), "metadata.name is missing, empty or no text"),
        ("/metadata/namespace", json!([]), "metadata.namespace is missing, empty or no text"),
        ("/metadata/labels", json!("a=b"), "metadata.labels is no mapping of texts"),
        ("/metadata/labels", json!({"v": 1.0}), "metadata.labels[\"v\"] is no text; a number or boolean"),
        ("/metadata/annotations", json!({"v": true}), "metadata.annotations[\"v\"] is no text"),
        (
            "/metadata/annotations",
            json!({"v": "x".repeat(1 << 20)}),
            "metadata.annotations takes 1048577 bytes",
        ),
        ("/status/dump", json!("x".repeat(1 << 20)), "status takes 1048"),
        ("/status/phase", json!("Failed"), "the Pod has ended"),
        ("/status", json!([]), "there is no address at status.podIP"),
        ("/status/podIP", json!(""), "there is no address at status.podIP"),
        ("/status/podIP", json!(10), "an IP address is due at status.podIP, not 10"),
        ("/status/podIP", json!("x".repeat(9999)), "not \"xxxxxxxx"),
        ("/spec/containers", json!({}), "there is no port: looked for the port named \"game\""),
    ] {
        let found = refusal(&pods(), &[with(pod("a"), pointer, value)]);
        assert!(found.contains(reason) && found.len() < 200, "{pointer}: {found}");
    }
}

/// A Service that stands for the Pod `a`, and its slices with the given endpoints.
fn service_objects(slices: &[Value]) -> Vec<Value> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "svc", "namespace": "games", "labels": {"server": "a"}},
        "spec": {"ports": [{"name": "udp", "port": 1, "targetPort": "game"}]},
    });
    let slice = |endpoints: &Value| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "games", "labels": {"kubernetes.io/service-name": "svc"}},
            "ports": [{"name": "metrics", "port": 9}, {"name": "udp", "port": 7100}], "endpoints": endpoints,
        })
    };
    [pod("a"), service].into_iter().chain(slices.iter().map(slice)).collect()
}

fn by_service(port: &str) -> Mapping {
    let service = ServiceSource { selector_label: "server".into(), target_port_name: port.into() };
    Mapping { service: Some(service), ..pods() }
}

#[test]
fn service_leads_to_its_first_ready_endpoint() {
    let endpoint =
        |address: &str, ready: Value| json!({"addresses": [address], "conditions": {"ready": ready}});
    for (slices, port, expected) in [
        (vec![json!([endpoint("10.0.1.1", json!(true))])], "udp", Some(("10.0.1.1", true))),
        (vec![json!([endpoint("10.0.1.1", json!(true))])], "game", Some(("10.0.1.1", true))),
        (vec![json!([endpoint("10.0.1.1", Value::Null)])], "udp", Some(("10.0.1.1", true))),
        (
            vec![json!([endpoint("10.0.1.1", json!(false))]), json!([endpoint("10.0.1.2", json!(true))])],
            "udp",
            Some(("10.0.1.2", true)),
        ),
        (vec![json!([endpoint("10.0.1.1", json!(false))])], "udp", Some(("10.0.1.1", false))),
        (vec![json!([endpoint("host.name", json!(true))])], "udp", None),
        (vec![json!([endpoint("10.0.1.1", json!(true))])], "rcon", None),
        (vec![json!([{"addresses": []}]), json!("nonsense")], "udp", None),
        (vec![], "udp", None),
    ] {
        let (specs, refused) = read(&by_service(port), &service_objects(&slices));
        match expected {
            Some((address, accepting)) => {
                assert_eq!(
                    (specs[0].address.to_string().as_str(), specs[0].accepting()),
                    (address, accepting)
                );
                assert_eq!(specs[0].ports, Ports::One(7100));
            }
            None => assert!(refused[0].reason.contains("Service svc has no endpoint"), "{refused:?}"),
        }
    }
}

#[test]
fn object_without_its_service_is_refused() {
    assert_eq!(
        refusal(&by_service("udp"), &[pod("a")]),
        "lobby: there is no Service with the label server=a"
    );
    let elsewhere: Vec<Value> = service_objects(&[])
        .into_iter()
        .map(|object| match object["kind"] == "Service" {
            true => with(object, "/metadata/namespace", json!("other")),
            false => object,
        })
        .collect();
    assert!(refusal(&by_service("udp"), &elsewhere).contains("there is no Service"));
}

#[test]
fn objects_of_a_file_become_the_next_inventory() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n\
                spec: {containers: [{ports: [{name: game, containerPort: 7000}]}]}\n\
                status: {podIP: 10.0.0.1}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n";
    let previous = udp_director_core::Inventory::default();
    let inventory = crate::snapshot(text, &[pods()], &Targets::default(), &previous).expect("an inventory");
    assert_eq!(inventory.backends().len(), 1);
    assert_eq!(inventory.refused()[0].object.to_string(), "Pod default/b");
    assert_eq!(read_objects(text).map(|objects| objects.len()), Ok(2));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec!["", "10.0.0.1", "game", "PodIP", "true", "Ready", "é"])
            .prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "metadata",
        "name",
        "namespace",
        "uid",
        "labels",
        "annotations",
        "status",
        "spec",
        "podIP",
        "addresses",
        "address",
        "type",
        "ports",
        "port",
        "containers",
        "containerPort",
        "conditions",
        "phase",
        "state",
        "endpoints",
        "server",
        "kubernetes.io/service-name",
        "ready",
        "targetPort",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    #[test]
    fn every_claimed_object_is_a_backend_or_refused(bodies in prop::collection::vec((any_json(), 0..4_usize), 0..5)) {
        let types = [("v1", "Pod"), ("agones.dev/v1", "GameServer"), ("v1", "Service"), ("discovery.k8s.io/v1", "EndpointSlice")];
        let typed = |(mut body, kind): (Value, usize)| {
            let (api_version, kind) = types[kind];
            if let Some(object) = body.as_object_mut() {
                object.insert("apiVersion".into(), api_version.into());
                object.insert("kind".into(), kind.into());
            }
            body
        };
        let objects: Vec<Value> = bodies.into_iter().map(typed).collect();
        for mapping in [pods(), game_servers(), by_service("game")] {
            let kind = if mapping.group.is_empty() { "Pod" } else { "GameServer" };
            let claimed = objects.iter().filter(|object| object["kind"] == kind).count();
            let (specs, refused) = read(&mapping, &objects);
            prop_assert_eq!(specs.len() + refused.len(), claimed);
            prop_assert!(refused.iter().all(|refused| !refused.reason.is_empty()));
        }
    }

    #[test]
    fn no_value_anywhere_in_an_object_panics(value in any_json(), place in 0..6_usize) {
        let pointer = ["/metadata", "/spec", "/status", "/metadata/labels", "/status/podIP", "/spec/containers"][place];
        let _ = read(&pods(), &[with(pod("a"), pointer, value)]);
    }
}
