//! The director in a cluster: as its own process and service account, beside a real API server.

mod allocation;
mod bad_objects;
mod cordon;
mod cut;
mod examples;
mod faults;
mod rig;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use rig::{Director, Server, pods_of, whereabouts};
use serde_json::json;
use udp_director_apiserver::{Account, ApiServer, Kubelet, NewPod};

const ANY: &str = r#"{"resourceType": "gs"}"#;

/// A namespace of the shared server, with a director's account and a kubelet.
async fn namespace() -> (&'static ApiServer, String, Account, Kubelet) {
    let server = ApiServer::shared().await;
    let namespace = server.namespace().await;
    let account = server.service_account(&namespace, "director").await;
    let kubelet = Kubelet::new(server.admin(), &namespace);
    (server, namespace, account, kubelet)
}

/// A Pod that runs where the game server is.
async fn run(kubelet: &Kubelet, name: &str, labels: &[(&str, &str)], server: &Server) {
    let ports = [("game", server.port, "UDP")];
    kubelet.create(&NewPod { name, labels, ports: &ports, ..NewPod::default() }).await.expect("a Pod");
    kubelet.run(name, &[&server.address.to_string()]).await.expect("its status");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_come_and_go_while_players_play() {
    let (server, namespace, account, kubelet) = namespace().await;
    let (one, two) = (Server::start("one", [127, 0, 1, 1]), Server::start("two", [127, 0, 1, 2]));
    let director = Director::start(server, &account, &pods_of(&namespace, "", "")).await;
    director.until_no_match(ANY).await;

    run(&kubelet, "one", &[("map", "sand")], &one).await;
    let player = director.player(ANY).await;
    assert_eq!(whereabouts(&player).await, "one");

    kubelet.set_ready("one", false).await.expect("its status");
    director.until_no_match(ANY).await;
    assert_eq!(whereabouts(&player).await, "one", "who plays there goes on");

    run(&kubelet, "two", &[("map", "sand")], &two).await;
    director.token(ANY).await;
    assert_eq!(whereabouts(&player).await, "one", "and is not moved");
    kubelet.terminate("one").await.expect("it terminates");
    assert_eq!(whereabouts(&player).await, "one", "a Pod that terminates still serves who is there");

    kubelet.remove("one").await.expect("it goes");
    director.until("he is moved", async || whereabouts(&player).await == "two").await;
    player.keep_alive().await.expect("his token still names his session");
}

#[tokio::test(flavor = "multi_thread")]
async fn players_stay_on_a_pod_that_terminates_until_its_time_is_over() {
    let (server, namespace, account, kubelet) = namespace().await;
    let (one, two) = (Server::start("one", [127, 0, 9, 1]), Server::start("two", [127, 0, 9, 2]));
    let director = Director::start(server, &account, &pods_of(&namespace, "", "")).await;
    run(&kubelet, "one", &[], &one).await;
    let player = director.player(ANY).await;
    run(&kubelet, "two", &[], &two).await;
    let pods: Api<Pod> = Api::namespaced(server.admin(), &namespace);
    pods.delete("one", &DeleteParams::default().grace_period(3)).await.expect("it terminates");
    director
        .until("nobody new comes", async || whereabouts(&director.player(ANY).await).await == "two")
        .await;
    assert_eq!(whereabouts(&player).await, "one");
    director.until("he is moved", async || whereabouts(&player).await == "two").await;
    pods.get("one").await.expect("it is still there, since nobody ends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn players_move_when_their_server_leaves_and_wait_where_nothing_else_matches() {
    let (server, namespace, account, kubelet) = namespace().await;
    let (one, two) = (Server::start("one", [127, 0, 2, 1]), Server::start("two", [127, 0, 2, 2]));
    let three = Server::start("three", [127, 0, 2, 3]);
    let config = pods_of(&namespace, "", ", whenLost: migrate");
    let director = Director::start(server, &account, &config).await;
    run(&kubelet, "one", &[("map", "sand")], &one).await;
    let sand = r#"{"resourceType": "gs", "labelSelector": {"map": "sand"}}"#;
    let player = director.player(sand).await;
    run(&kubelet, "two", &[("map", "snow")], &two).await;

    kubelet.patch("one", &json!({"metadata": {"labels": {"map": "ice"}}})).await.expect("labels");
    director.until_no_match(sand).await;
    assert_eq!(whereabouts(&player).await, "one", "nothing else is what he asked for");
    kubelet.patch("two", &json!({"metadata": {"labels": {"map": "sand"}}})).await.expect("labels");
    director.until("he is moved", async || whereabouts(&player).await == "two").await;

    kubelet.remove("two").await.expect("it goes");
    director.until_no_match(sand).await;
    run(&kubelet, "three", &[("map", "sand")], &three).await;
    director.until("he is moved again", async || whereabouts(&player).await == "three").await;
    assert_eq!(director.metric("udp_director_active_sessions").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_of_the_same_name_with_another_uid_is_another_server() {
    let (server, namespace, account, kubelet) = namespace().await;
    let one = Server::start("one", [127, 0, 3, 1]);
    let director = Director::start(server, &account, &pods_of(&namespace, "", "")).await;
    run(&kubelet, "one", &[], &one).await;
    let player = director.player(ANY).await;
    assert_eq!(whereabouts(&player).await, "one");
    kubelet.remove("one").await.expect("it goes");
    run(&kubelet, "one", &[], &one).await;
    director
        .until("his session ends", async || director.metric("udp_director_active_sessions").await == 0.0)
        .await;
    let again = director.player(ANY).await;
    assert_eq!(whereabouts(&again).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn director_may_do_nothing_but_what_its_configuration_needs() {
    let (server, namespace, account, kubelet) = namespace().await;
    let one = Server::start("one", [127, 0, 4, 1]);
    let config = pods_of(&namespace, "", "");
    let director = Director::start_as_is(&account, &config, &[]);
    director
        .until("it says what it lacks", async || {
            let report = director.get("/readyz?verbose").await;
            report.starts_with("not ready: inventory") && report.contains("pods")
        })
        .await;
    director.grant(server, &account).await;
    director.ready().await;
    run(&kubelet, "one", &[], &one).await;
    director.player(ANY).await;
    let refused = server.requests_of(&account.user).into_iter();
    let others: Vec<_> = refused
        .filter(|request| !matches!(request.verb.as_str(), "list" | "watch" | "get"))
        .map(|request| request.verb)
        .collect();
    assert!(others.is_empty(), "it only reads: {others:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_directors_serve_one_cluster() {
    let (server, namespace, account, kubelet) = namespace().await;
    let one = Server::start("one", [127, 0, 5, 1]);
    let config = pods_of(&namespace, "", "");
    let directors =
        [Director::start(server, &account, &config).await, Director::start(server, &account, &config).await];
    run(&kubelet, "one", &[], &one).await;
    for director in &directors {
        let player = director.player(ANY).await;
        assert_eq!(whereabouts(&player).await, "one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_mapping_is_followed_and_an_old_one_left_by_a_reload() {
    let (server, namespace, account, kubelet) = namespace().await;
    let one = Server::start("one", [127, 0, 6, 1]);
    let config = pods_of(&namespace, "", "");
    let director = Director::start(server, &account, &config).await;
    run(&kubelet, "one", &[], &one).await;
    let player = director.player(ANY).await;
    let more = format!(
        "{config}  lobby: {{group: '', version: v1, resource: pods, namespaces: [{namespace}], portName: game}}\n"
    );
    director.write_config(&more);
    director.token(r#"{"resourceType": "lobby"}"#).await;
    assert_eq!(whereabouts(&player).await, "one", "a reload moves nobody");
    director.write_config(&config);
    director
        .until("the mapping is gone", async || {
            director.query(r#"{"resourceType": "lobby"}"#).await["code"] == "unknown_resource_type"
        })
        .await;
    assert_eq!(whereabouts(&player).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn config_map_is_followed_and_told_what_comes_of_it() {
    let (server, namespace, account, kubelet) = namespace().await;
    let one = Server::start("one", [127, 0, 7, 1]);
    let maps: Api<ConfigMap> = Api::namespaced(server.admin(), &namespace);
    let path = format!("{namespace}/director");
    let director = Director::start_as_is(&account, "", &["--config-map", &path]);
    let config = director.with_ports(&pods_of(&namespace, "", ""));
    let write = async |config: &str| {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "director"},
            "data": {"config.yaml": config}});
        maps.patch("director", &PatchParams::apply("test").force(), &Patch::Apply(&map))
            .await
            .expect("a ConfigMap");
    };
    write(&config).await;
    director.grant_for(server, &account, &config, Some(&path)).await;
    director.ready().await;
    run(&kubelet, "one", &[], &one).await;
    director.player(ANY).await;

    write(&format!("{config}tokenTTLSeconds: 77\n")).await;
    director.until("it is in force", async || director.query(ANY).await["expiresInSeconds"] == 77).await;
    write(&format!("{config}tokenTTLSecond: 1\n")).await;
    let events: Api<Event> = Api::namespaced(server.admin(), &namespace);
    let told = async |reason: &str| {
        let all = events.list(&ListParams::default()).await.expect("events");
        all.items.into_iter().find(|event| event.reason.as_deref() == Some(reason))
    };
    director.until("it is told", async || told("ConfigurationRefused").await.is_some()).await;
    let refused = told("ConfigurationRefused").await.expect("as was just seen");
    assert!(refused.note.is_some_and(|note| note.contains("did you mean \"tokenTTLSeconds\"")));
    assert!(told("ConfigurationInForce").await.is_some());
    assert_eq!(director.query(ANY).await["expiresInSeconds"], 77, "the old one stays in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn game_goes_on_without_an_api_server_and_what_was_missed_is_seen_when_it_is_back() {
    let mut server = ApiServer::start().await;
    let namespace = server.namespace().await;
    let account = server.service_account(&namespace, "director").await;
    let kubelet = Kubelet::new(server.admin(), &namespace);
    let (one, two) = (Server::start("one", [127, 0, 8, 1]), Server::start("two", [127, 0, 8, 2]));
    let director = Director::start(&server, &account, &pods_of(&namespace, "", "")).await;
    run(&kubelet, "one", &[], &one).await;
    let player = director.player(ANY).await;

    server.kill();
    director
        .until("the lost server shows", async || {
            !director.get("/readyz?verbose").await.contains("last error: none")
        })
        .await;
    let report = director.get("/readyz?verbose").await;
    assert!(report.starts_with("ready"), "that alone makes nobody unready: {report}");
    assert_eq!(whereabouts(&player).await, "one");
    let newcomer = director.player(ANY).await;
    assert_eq!(whereabouts(&newcomer).await, "one");

    server.start_again().await;
    run(&kubelet, "two", &[], &two).await;
    kubelet.remove("one").await.expect("it goes");
    director
        .until("they are moved", async || {
            whereabouts(&player).await == "two" && whereabouts(&newcomer).await == "two"
        })
        .await;
}
