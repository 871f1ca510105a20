//! What an API server can do to a director, on the real one.

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use udp_director_apiserver::{Account, ApiServer, GameServers, Kubelet, Mode, apply};

use crate::cut::Line;
use crate::rig::{Director, Server, pods_of, whereabouts};
use crate::{ANY, namespace, run};

/// A server of the test's own, to be stopped and set back.
async fn own_server() -> (ApiServer, String, Account, Kubelet) {
    let server = ApiServer::start().await;
    let namespace = server.namespace().await;
    let account = server.service_account(&namespace, "director").await;
    let kubelet = Kubelet::new(server.admin(), &namespace);
    (server, namespace, account, kubelet)
}

/// A query for the server of that name.
fn named(name: &str) -> String {
    format!(r#"{{"resourceType": "gs", "labelSelector": {{"name": "{name}"}}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_that_may_no_longer_be_read_stays_as_it_was_and_others_go_on() {
    let (mut server, namespace, account, kubelet) = own_server().await;
    let game_servers = GameServers::install(&server.admin(), &namespace).await.expect("the resource");
    let (one, two) = (Server::start("one", [127, 0, 10, 1]), Server::start("two", [127, 0, 10, 2]));
    let arena = Server::start("arena", [127, 0, 10, 3]);
    let config = format!(
        "{}  arena: {{group: agones.dev, version: v1, resource: gameservers, namespaces: [{namespace}], \
         addressPath: status.address, portPath: 'status.ports[0].port', trustAddresses: true}}\n",
        pods_of(&namespace, "", "")
    );
    let director = Director::start(&server, &account, &config).await;
    run(&kubelet, "one", &[("name", "one")], &one).await;
    let status = json!({"state": "Ready", "address": arena.address.to_string(),
        "ports": [{"name": "default", "port": arena.port}]});
    game_servers.write("arena", &json!({}), &status).await.expect("a GameServer");
    let in_arena = r#"{"resourceType": "arena"}"#;
    let (player, fighter) = (director.player(&named("one")).await, director.player(in_arena).await);

    let roles: Api<k8s_openapi::api::rbac::v1::Role> = Api::namespaced(server.admin(), &namespace);
    let pods_alone =
        json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]});
    roles.patch("director", &PatchParams::default(), &Patch::Merge(&pods_alone)).await.expect("a Role");
    // A watch that has begun goes on without the right to it; the next may not begin.
    server.kill();
    server.start_again().await;
    director
        .until("the refusal shows", async || {
            let report = director.get("/readyz?verbose").await;
            report.lines().any(|line| line.starts_with("gameservers") && line.contains("forbidden (403)"))
        })
        .await;

    assert!(director.get("/readyz").await.starts_with("ready"));
    assert_eq!(whereabouts(&fighter).await, "arena");
    assert_eq!(whereabouts(&director.player(in_arena).await).await, "arena", "what was known is known");
    run(&kubelet, "two", &[("name", "two")], &two).await;
    assert_eq!(whereabouts(&director.player(&named("two")).await).await, "two");
    assert_eq!(whereabouts(&player).await, "one");

    game_servers.remove("arena").await.expect("it goes");
    director.grant(&server, &account).await;
    director.until_no_match(in_arena).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_that_is_installed_later_is_followed_from_then_on() {
    let (server, namespace, account, _) = namespace().await;
    let one = Server::start("one", [127, 0, 11, 1]);
    let config = format!(
        "allowedTargetCidrs: ['127.0.0.0/8']\ninventory: {{kubernetes: {{}}}}\nresourceQueryMapping:\n  gs: \
         {{group: later.example.com, version: v1, resource: duels, namespaces: [{namespace}], \
         addressPath: spec.address, portPath: spec.port, trustAddresses: true}}\n"
    );
    let director = Director::start_as_is(&account, &config, &[]);
    director.grant(server, &account).await;
    director
        .until("it is missed", async || {
            let report = director.get("/readyz?verbose").await;
            report.contains("not listed yet: duels") && report.contains("no such resource")
        })
        .await;
    apply(&server.admin(), &namespace, DUELS, Mode::Keep).await.expect("a definition");
    let duel = json!({"apiVersion": "later.example.com/v1", "kind": "Duel", "metadata": {"name": "one"},
        "spec": {"address": one.address.to_string(), "port": one.port}});
    apply(&server.admin(), &namespace, &duel.to_string(), Mode::Keep).await.expect("an object");
    director.ready().await;
    assert_eq!(whereabouts(&director.player(ANY).await).await, "one");
}

const DUELS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: duels.later.example.com}
spec:
  group: later.example.com
  scope: Namespaced
  names: {kind: Duel, listKind: DuelList, plural: duels, singular: duel}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[tokio::test(flavor = "multi_thread")]
async fn server_that_ends_in_order_and_comes_back_is_followed_again() {
    let (mut server, namespace, account, kubelet) = own_server().await;
    let (one, two) = (Server::start("one", [127, 0, 12, 1]), Server::start("two", [127, 0, 12, 2]));
    let director = Director::start(&server, &account, &pods_of(&namespace, "", "")).await;
    run(&kubelet, "one", &[("name", "one")], &one).await;
    let player = director.player(ANY).await;

    server.stop().await;
    assert_eq!(whereabouts(&player).await, "one");
    assert_eq!(whereabouts(&director.player(ANY).await).await, "one");
    assert!(director.get("/readyz").await.starts_with("ready"));

    server.start_again().await;
    run(&kubelet, "two", &[("name", "two")], &two).await;
    director.player(&named("two")).await;
    kubelet.remove("one").await.expect("it goes");
    director.until("he is moved", async || whereabouts(&player).await == "two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_hangs_holds_up_neither_queries_nor_players() {
    let (mut server, namespace, account, kubelet) = own_server().await;
    let (one, two) = (Server::start("one", [127, 0, 13, 1]), Server::start("two", [127, 0, 13, 2]));
    let director = Director::start(&server, &account, &pods_of(&namespace, "", "")).await;
    run(&kubelet, "one", &[("name", "one")], &one).await;
    let player = director.player(&named("one")).await;

    server.hold();
    let held = Instant::now();
    while held.elapsed() < Duration::from_secs(5) {
        let asked = Instant::now();
        let newcomer = director.player(&named("one")).await;
        assert_eq!(whereabouts(&newcomer).await, "one");
        assert_eq!(whereabouts(&player).await, "one");
        assert!(asked.elapsed() < Duration::from_secs(2), "nobody waits for the API server");
    }
    assert!(director.get("/readyz").await.starts_with("ready"));
    server.go_on();

    run(&kubelet, "two", &[("name", "two")], &two).await;
    director.player(&named("two")).await;
    assert_eq!(whereabouts(&player).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_is_set_back_takes_what_came_after_with_it() {
    let (mut server, namespace, account, kubelet) = own_server().await;
    let (one, two) = (Server::start("one", [127, 0, 14, 1]), Server::start("two", [127, 0, 14, 2]));
    let three = Server::start("three", [127, 0, 14, 3]);
    let director = Director::start(&server, &account, &pods_of(&namespace, "", "")).await;
    run(&kubelet, "one", &[("name", "one")], &one).await;
    let player = director.player(&named("one")).await;
    server.stop().await;
    let then = server.snapshot();
    server.start_again().await;
    run(&kubelet, "two", &[("name", "two")], &two).await;
    director.token(&named("two")).await;

    server.kill();
    server.restore(&then);
    server.start_again().await;
    director.until_no_match(&named("two")).await;
    assert_eq!(whereabouts(&player).await, "one", "who was there then is there");
    run(&kubelet, "three", &[("name", "three")], &three).await;
    assert_eq!(whereabouts(&director.player(&named("three")).await).await, "three");
}

#[tokio::test(flavor = "multi_thread")]
async fn change_made_while_the_server_is_out_of_reach_is_seen_when_it_is_back() {
    let (server, namespace, account, kubelet) = namespace().await;
    let mut line = Line::lay(server, &account).await;
    let (one, two) = (Server::start("one", [127, 0, 15, 1]), Server::start("two", [127, 0, 15, 2]));
    let director = Director::start(server, &account, &pods_of(&namespace, "", "")).await;
    run(&kubelet, "one", &[("name", "one")], &one).await;
    director.token(&named("one")).await;

    line.cut().await;
    director
        .until("the lost server shows", async || {
            !director.get("/readyz?verbose").await.contains("last error: none")
        })
        .await;
    run(&kubelet, "two", &[("name", "two")], &two).await;
    kubelet.remove("one").await.expect("it goes");
    // Long enough for the pauses between its tries to be as long as they get.
    let cut = Instant::now();
    while cut.elapsed() < Duration::from_secs(4) {
        director.token(&named("one")).await;
        assert!(director.query(&named("two")).await["error"].is_string());
    }
    line.mend().await;
    let back = Instant::now();
    director.token(&named("two")).await;
    director.until_no_match(&named("one")).await;
    println!("seen {:?} after the return", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn config_map_written_while_the_server_is_out_of_reach_is_in_force_when_it_is_back() {
    let (server, namespace, account, _) = namespace().await;
    let mut line = Line::lay(server, &account).await;
    let path = format!("{namespace}/director");
    let director = Director::start_as_is(&account, "", &["--config-map", &path]);
    let config = director.with_ports(&pods_of(&namespace, "", ""));
    let write = async |config: &str| {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "director"},
            "data": {"config.yaml": config}});
        apply(&server.admin(), &namespace, &map.to_string(), Mode::Keep).await.expect("a ConfigMap");
    };
    write(&config).await;
    director.grant_for(server, &account, &config, Some(&path)).await;
    director.ready().await;

    line.cut().await;
    director
        .until("the lost server shows", async || {
            !director.get("/readyz?verbose").await.contains("last error: none")
        })
        .await;
    let lobby = r#"{"resourceType": "lobby"}"#;
    assert_eq!(director.query(lobby).await["code"], "unknown_resource_type");
    write(&config.replace("  gs:", "  lobby:")).await;
    line.mend().await;
    let back = Instant::now();
    director.until_no_match(lobby).await;
    println!("in force {:?} after the return", back.elapsed());
}
