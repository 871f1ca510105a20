//! What ten thousand GameServers of realistic size cost.

use std::time::{Duration, Instant};

use allocation_counter::measure;
use serde_json::{Value, json};

use super::*;
use crate::kubernetes::assembly::WatchId;
use crate::kubernetes::fixtures::game_servers;
use crate::mapping::{Mapping, PortSource, PortsSource};
use crate::targets::Targets;

const COUNT: usize = 10_000;

fn view() -> View {
    let ports = PortsSource::One(PortSource::Name("default".into()));
    let mapping = Mapping { address_type: Some("PodIP".into()), ports, ..game_servers() };
    View { assembly: Mutex::new(Assembly::new(&[mapping], Targets::default())) }
}

fn watch(view: &View, resource: &str) -> WatchId {
    let mut watches = view.with(|assembly| assembly.watches()).into_iter();
    watches.find(|watch| watch.needed.resource == resource).expect("a watch on that resource")
}

fn list(view: &View, resource: &str, object: fn(usize) -> Value) {
    let watch = watch(view, resource);
    view.with(|assembly| assembly.begin_list(&watch));
    (0..COUNT).for_each(|number| {
        view.with(|assembly| assembly.apply(&watch, &object(number)));
    });
    view.with(|assembly| assembly.end_list(&watch));
}

fn timed(view: &View, inventory: &mut Inventory) -> Duration {
    let begun = Instant::now();
    *inventory = view.assemble(inventory);
    begun.elapsed()
}

#[test]
fn ten_thousand_game_servers_stay_small_and_are_assembled_quickly() {
    let mut kept = None;
    let allocated = measure(|| {
        let view = view();
        list(&view, "pods", pod);
        list(&view, "gameservers", |number| game_server(number, "Ready"));
        let inventory = view.assemble(&Inventory::default());
        kept = Some((view, inventory));
    });
    let (view, mut inventory) = kept.expect("made above");
    assert_eq!(inventory.backends().len(), COUNT);

    let servers = watch(&view, "gameservers");
    view.with(|assembly| assembly.apply(&servers, &game_server(5000, "Allocated")));
    let status = timed(&view, &mut inventory);
    view.with(|assembly| assembly.apply(&servers, &game_server(5000, "Shutdown")));
    let accepting = timed(&view, &mut inventory);
    let pods = watch(&view, "pods");
    view.with(|assembly| assembly.apply(&pods, &pod(COUNT)));
    view.with(|assembly| assembly.apply(&servers, &game_server(COUNT, "Ready")));
    let one_more = timed(&view, &mut inventory);
    assert_eq!(inventory.backends().len(), COUNT + 1);

    let bytes = game_server(1, "Ready").to_string().len();
    let kib = allocated.bytes_current / 1024;
    println!("{COUNT} GameServers of {bytes} bytes: {kib} KiB kept in {} pieces", allocated.count_current);
    println!("assembled after: a status {status:?}, a readiness {accepting:?}, a newcomer {one_more:?}");
    assert!(kib < 60 << 10, "{kib} KiB");
    // Without optimisation; with it, about a tenth.
    let slowest = status.max(accepting).max(one_more);
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

fn address(number: usize) -> String {
    format!("10.{}.{}.{}", number / 62_500 + 1, number / 250 % 250, number % 250 + 1)
}

/// About 6 KB of JSON, as Agones and its SDK write it.
fn game_server(number: usize, state: &str) -> Value {
    let name = format!("fleet-dust2-eu-west-{number:05}-x7k2p");
    let port = 7000 + number % 1000;
    let fields = |manager: &str| {
        let metadata = json!({"f:annotations": {".": {}, "f:agones.dev/sdk-map": {}, "f:agones.dev/sdk-mode": {}}, "f:labels": {".": {}, "f:agones.dev/fleet": {}, "f:agones.dev/gameserverset": {}}});
        json!({"manager": manager, "operation": "Update", "apiVersion": "agones.dev/v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": metadata, "f:status": {".": {}, "f:address": {}, "f:addresses": {}, "f:nodeName": {}, "f:ports": {}, "f:state": {}}, "f:spec": {".": {}, "f:template": {".": {}, "f:spec": {".": {}, "f:containers": {}}}}}})
    };
    json!({
        "apiVersion": "agones.dev/v1", "kind": "GameServer",
        "metadata": {
            "name": name, "namespace": "games", "uid": format!("0f5f2a6e-8d0c-4d37-9a3b-{number:012}"), "generation": 7,
            "creationTimestamp": "2026-01-01T00:00:00Z", "generateName": "fleet-dust2-eu-west-", "finalizers": ["agones.dev/controller"],
            "labels": {"agones.dev/fleet": "fleet-dust2-eu-west", "agones.dev/gameserverset": "fleet-dust2-eu-west-9xk", "agones.dev/sdk-region": "eu-west", "map": "dust2", "version": "1.42.7"},
            "annotations": {"agones.dev/ready-container-id": format!("containerd://{number:064}"), "agones.dev/sdk-version": "1.50.0", "agones.dev/sdk-map": "dust2", "agones.dev/sdk-players": "0/16", "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(1500)},
            "ownerReferences": [{"apiVersion": "agones.dev/v1", "kind": "GameServerSet", "name": "fleet-dust2-eu-west-9xk", "uid": "5b2e5a3e-0000-4000-8000-000000000000", "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [fields("controller"), fields("sdk-server"), fields("allocator")],
        },
        "spec": {
            "container": "server", "health": {"failureThreshold": 3, "initialDelaySeconds": 5, "periodSeconds": 5}, "scheduling": "Packed", "sdkServer": {"grpcPort": 9357, "httpPort": 9358, "logLevel": "Info"},
            "ports": [{"name": "default", "portPolicy": "Dynamic", "container": "server", "containerPort": 7654, "hostPort": port, "protocol": "UDP"}],
            "template": {"metadata": {}, "spec": {"containers": [{"name": "server", "image": "registry.example.com/game:1.42.7", "env": [{"name": "REGION", "value": "eu-west"}, {"name": "TOKEN", "value": "x".repeat(400)}], "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]}},
        },
        "status": {
            "state": state, "address": "192.0.2.7", "nodeName": format!("gke-games-pool-{}", number % 200),
            "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}, {"type": "ExternalIP", "address": "198.51.100.7"}, {"type": "Hostname", "address": "gke-games-pool"}, {"type": "PodIP", "address": address(number)}],
            "ports": [{"name": "default", "port": port}],
            "players": null, "counters": {"rooms": {"count": 0, "capacity": 16}}, "lists": {}, "immutableReplicas": 1, "reservedUntil": null, "eviction": {"safe": "Never"},
        },
    })
}

fn pod(number: usize) -> Value {
    let address = address(number);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("fleet-{number:05}"), "namespace": "games"}, "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}})
}
