//! Objects that lead nowhere good, as the real server lets them through.

use serde_json::{Value, json};
use udp_director_apiserver::{ApiServer, Kubelet, Mode, NewPod, apply};

use crate::rig::{Director, Server, pods_of, whereabouts};
use crate::{ANY, namespace, run};

/// A kind whose schema says nothing.
const ARENAS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: arenas.lax.example.com}
spec:
  group: lax.example.com
  scope: Namespaced
  names: {kind: Arena, listKind: ArenaList, plural: arenas, singular: arena}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// The configuration that follows Arenas. Game servers are in 127.0.16.0/24; all else of loopback is
/// nobody's.
fn arenas_of(namespace: &str, mapping: &str) -> String {
    format!(
        "allowedTargetCidrs: ['127.0.16.0/24']\ninventory: {{kubernetes: {{}}}}\nresourceQueryMapping:\n  gs: \
         {{group: lax.example.com, version: v1, resource: arenas, namespaces: [{namespace}], \
         addressPath: status.address, portPath: status.port{mapping}}}\n"
    )
}

async fn write(server: &ApiServer, namespace: &str, name: &str, status: &Value) {
    let arena = json!({"apiVersion": "lax.example.com/v1", "kind": "Arena", "metadata": {"name": name},
        "status": status});
    apply(&server.admin(), namespace, &arena.to_string(), Mode::Keep).await.expect("an Arena");
}

/// Waits until the report says of the object why it is no backend.
async fn until_refused(director: &Director, object: &str, reason: &str) {
    let what = format!("{object} is refused with {reason:?}");
    director
        .until(&what, async || {
            let report = director.get("/readyz?verbose").await;
            report.lines().any(|line| line.starts_with(&format!("{object}: ")) && line.contains(reason))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn object_that_names_no_game_server_is_no_backend_and_says_why() {
    let (server, namespace, account, _) = namespace().await;
    apply(&server.admin(), &namespace, ARENAS, Mode::Keep).await.expect("a definition");
    let one = Server::start("one", [127, 0, 16, 1]);
    let good = one.address.to_string();
    let config = arenas_of(&namespace, ", trustAddresses: true");
    let director = Director::start(server, &account, &config).await;
    let listens = server.address().ip().to_string();
    let port = "a port from 1 to 65535 is due at status.port";
    let address = "an IP address is due at status.address";
    let cases = [
        ("metadata", json!({"address": "169.254.169.254", "port": 80}), "a link-local or metadata address"),
        ("mapped", json!({"address": "::ffff:169.254.169.254", "port": 80}), "a link-local or metadata"),
        ("loopback", json!({"address": "127.0.0.1", "port": 80}), "127.0.0.1 is a loopback address"),
        ("loopback6", json!({"address": "::1", "port": 80}), "::1 is a loopback address"),
        ("api-listens", json!({"address": listens, "port": 6443}), "a loopback address"),
        // What the server advertises.
        ("api", json!({"address": "192.0.2.1", "port": 6443}), "192.0.2.1 is an address of the API server"),
        ("host", json!({"address": "metadata.google.internal", "port": 80}), address),
        ("number", json!({"address": 2_130_706_433, "port": 80}), address),
        ("map", json!({"address": {"ip": {"v4": good}}, "port": 80}), address),
        ("octal", json!({"address": "0127.0.16.01", "port": 80}), address),
        ("nothing", json!({"port": 80}), "there is no address at status.address"),
        ("text", json!("status"), "there is no address at status.address"),
        ("zero", json!({"address": good, "port": 0}), port),
        ("high", json!({"address": good, "port": 65_536}), port),
        ("negative", json!({"address": good, "port": -1}), port),
        ("fraction", json!({"address": good, "port": 7777.5}), port),
        ("service-name", json!({"address": good, "port": "http"}), port),
        ("list", json!({"address": good, "port": [7777]}), port),
        ("no-port", json!({"address": good}), "there is no port"),
        ("big", json!({"address": good, "port": 80, "dump": "x".repeat(200 << 10)}), "status takes"),
    ];
    for (name, status, _) in &cases {
        write(server, &namespace, name, status).await;
    }
    write(server, &namespace, "good", &json!({"address": good, "port": one.port})).await;
    let player = director.player(ANY).await;
    for (name, _, reason) in &cases {
        until_refused(&director, &format!("Arena {namespace}/{name}"), reason).await;
    }
    let report = director.get("/readyz?verbose").await;
    let count = format!("backends: 1, objects that are none: {}", cases.len());
    assert!(report.contains(&count), "{report}");
    assert_eq!(whereabouts(&player).await, "one");
    assert_eq!(whereabouts(&director.player(ANY).await).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn backend_that_turns_bad_moves_nobody_there() {
    let (server, namespace, account, _) = namespace().await;
    apply(&server.admin(), &namespace, ARENAS, Mode::Keep).await.expect("a definition");
    let (one, two) = (Server::start("one", [127, 0, 16, 2]), Server::start("two", [127, 0, 16, 3]));
    let config = arenas_of(&namespace, ", trustAddresses: true");
    let director = Director::start(server, &account, &config).await;
    write(server, &namespace, "one", &json!({"address": one.address.to_string(), "port": one.port})).await;
    let player = director.player(ANY).await;
    assert_eq!(whereabouts(&player).await, "one");
    write(server, &namespace, "two", &json!({"address": two.address.to_string(), "port": two.port})).await;
    write(server, &namespace, "one", &json!({"address": "169.254.169.254", "port": one.port})).await;
    until_refused(&director, &format!("Arena {namespace}/one"), "a link-local or metadata address").await;
    director.until("he is moved", async || whereabouts(&player).await == "two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn address_that_is_no_pods_of_the_namespace_is_not_taken_on_trust() {
    let (server, namespace, account, kubelet) = namespace().await;
    apply(&server.admin(), &namespace, ARENAS, Mode::Keep).await.expect("a definition");
    let elsewhere = server.namespace().await;
    let neighbours = Kubelet::new(server.admin(), &elsewhere);
    neighbours.create(&NewPod { name: "two", ..NewPod::default() }).await.expect("a Pod");
    neighbours.run("two", &["203.0.113.2"]).await.expect("its status");
    let one = Server::start("one", [127, 0, 16, 4]);
    let director = Director::start(server, &account, &arenas_of(&namespace, "")).await;
    for (name, address) in [("neighbour", "203.0.113.2"), ("stranger", "203.0.113.9")] {
        write(server, &namespace, name, &json!({"address": address, "port": 80})).await;
        let reason = format!("{address} is no address of");
        until_refused(&director, &format!("Arena {namespace}/{name}"), &reason).await;
    }
    run(&kubelet, "one", &[], &one).await;
    write(server, &namespace, "good", &json!({"address": one.address.to_string(), "port": one.port})).await;
    assert_eq!(whereabouts(&director.player(ANY).await).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn big_annotation_is_read_past_and_many_refuse_the_pod() {
    let (server, namespace, account, kubelet) = namespace().await;
    let (one, two) = (Server::start("one", [127, 0, 16, 5]), Server::start("two", [127, 0, 16, 6]));
    let director = Director::start(server, &account, &pods_of(&namespace, "", "")).await;
    let big = "x".repeat(200 << 10);
    let keys: Vec<String> = (0..50).map(|number| format!("part-{number}")).collect();
    let many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), &big[..4096])).collect();
    for (name, annotations, at) in [("one", &[("dump", big.as_str())][..], &one), ("two", &many, &two)] {
        let ports = [("game", at.port, "UDP")];
        let pod = NewPod { name, annotations, ports: &ports, ..NewPod::default() };
        kubelet.create(&pod).await.expect("a Pod");
        kubelet.run(name, &[&at.address.to_string()]).await.expect("its status");
    }
    let reason = "what is kept of metadata.annotations takes";
    until_refused(&director, &format!("Pod {namespace}/two"), reason).await;
    assert_eq!(whereabouts(&director.player(ANY).await).await, "one");
}
