//! The rig's promises, on a server that all tests here share.

use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;
use udp_director_apiserver::{ApiServer, GameServers, Kubelet, Mode, NewPod, Nodes, Services, apply};

const LIMIT: Duration = Duration::from_secs(20);

fn code(refusal: &kube::Error) -> u16 {
    match refusal {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

/// Grants a service account to read Pods.
fn reader_of_pods(name: &str) -> String {
    format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader}}
rules: [{{apiGroups: [''], resources: [pods], verbs: [get, list, watch]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{kind: ServiceAccount, name: {name}}}]
"
    )
}

#[tokio::test]
async fn account_may_do_what_is_granted_and_nothing_else() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace().await;
    let account = server.service_account(&namespace, "director").await;
    let pods = Api::<Pod>::namespaced(account.client.clone(), &namespace);

    assert_eq!(code(&pods.list(&ListParams::default()).await.expect_err("nothing is granted")), 403);
    let yaml = reader_of_pods("director")
        .replace("name: director", &format!("name: director, namespace: {namespace}"));
    apply(&server.admin(), &namespace, &yaml, Mode::Keep).await.expect("a role");
    // The server learns of roles by a watch of its own.
    let granted = async {
        while pods.list(&ListParams::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, granted).await.expect("the role takes effect");
    assert_eq!(
        code(
            &Kubelet::new(account.client, &namespace)
                .create(&NewPod::default())
                .await
                .expect_err("read only")
        ),
        403
    );

    let asked = server.requests_of(&account.user);
    assert_eq!((asked[0].verb.as_str(), asked[0].resource.as_str(), asked[0].code), ("list", "pods", 403));
    assert!(asked.iter().all(|request| request.namespace == namespace));
    assert_eq!(asked.last().map(|request| (request.verb.as_str(), request.code)), Some(("create", 403)));
}

#[tokio::test]
async fn kubeconfig_is_the_account() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace().await;
    let account = server.service_account(&namespace, "director").await;

    let file = Kubeconfig::read_from(&account.kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("valid");
    let client = Client::try_from(config).expect("valid");
    let refusal = Api::<Pod>::namespaced(client, &namespace).list(&ListParams::default()).await;
    let refusal = refusal.expect_err("nothing is granted").to_string();
    assert!(refusal.contains(&account.user), "{refusal}");
}

#[tokio::test]
async fn watch_sees_a_pod_run_fail_its_probe_and_end() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace().await;
    let kubelet = Kubelet::new(server.admin(), &namespace);
    let ports = [("game", 7777, "UDP")];
    let pod =
        kubelet.create(&NewPod { name: "match-1", ports: &ports, ..NewPod::default() }).await.expect("a Pod");
    let version = pod.resource_version().expect("a version");

    let pods = Api::<Pod>::namespaced(server.admin(), &namespace);
    let mut events = pin!(pods.watch(&WatchParams::default(), &version).await.expect("a watch"));
    kubelet.run("match-1", &["127.0.0.7", "fd00::7"]).await.expect("a status");
    kubelet.set_ready("match-1", false).await.expect("a status");
    kubelet.terminate("match-1").await.expect("a deletion");
    kubelet.remove("match-1").await.expect("a deletion");

    let mut seen = Vec::new();
    while let Some(event) =
        tokio::time::timeout(LIMIT, events.try_next()).await.expect("an event").expect("no error")
    {
        let (WatchEvent::Modified(pod) | WatchEvent::Deleted(pod)) = &event else { panic!("{event:?}") };
        let status = pod.status.clone().expect("a status");
        let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
        let ready = ready.map(|condition| condition.status.clone()).unwrap_or_default();
        let addresses = status.pod_ips.iter().flatten().map(|address| address.ip.clone());
        seen.push((
            ready,
            addresses.collect::<Vec<_>>().join(" "),
            pod.metadata.deletion_timestamp.is_some(),
        ));
        if matches!(event, WatchEvent::Deleted(_)) {
            break;
        }
    }
    let state = |ready: &str, ends| (ready.to_owned(), "127.0.0.7 fd00::7".to_owned(), ends);
    assert_eq!(seen[..3], [state("True", false), state("False", false), state("False", true)]);
    assert_eq!(seen.last(), Some(&state("False", true)));
}

#[tokio::test]
async fn game_servers_have_their_schema_and_can_be_watched_at_once() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace().await;
    let games = GameServers::install(&server.admin(), &namespace).await.expect("the resource");
    let status = json!({
        "state": "Ready", "address": "10.1.2.3", "ports": [{"name": "default", "port": 7777}],
        "addresses": [{"type": "InternalIP", "address": "10.1.2.3"}], "counters": {"rooms": {"count": 1}},
    });
    let game =
        games.write("match-1", &json!({"labels": {"map": "dust"}}), &status).await.expect("a GameServer");
    assert_eq!(game.data["status"]["counters"]["rooms"], json!({"count": 1, "capacity": 1000}));
    let game = games.patch("match-1", &json!({"status": {"state": "Allocated"}})).await.expect("a change");
    assert_eq!(game.data["status"]["state"], "Allocated");
    let refusal = games.patch("match-1", &json!({"status": {"state": "Asleep"}})).await;
    assert_eq!(code(&refusal.expect_err("no such state")), 422);

    let before = server.request_counts().await.expect("metrics");
    let api = Api::<kube::api::DynamicObject>::namespaced_with(
        server.admin(),
        &namespace,
        &GameServers::resource(),
    );
    let mut events = pin!(api.watch(&WatchParams::default(), "0").await.expect("a watch"));
    let event = tokio::time::timeout(LIMIT, events.next()).await.expect("an event").expect("no end");
    assert!(matches!(event, Ok(WatchEvent::Added(_))), "{event:?}");
    let counts = server.request_counts().await.expect("metrics").since(&before);
    assert!(counts.open_watches("gameservers.agones.dev") >= 1, "{counts:?}");
    assert_eq!(counts.answered("LIST", "gameservers.agones.dev"), 0);
}

#[tokio::test]
async fn services_slices_and_nodes_can_be_written() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace().await;
    let services = Services::new(server.admin(), &namespace);
    let spec = json!({"type": "LoadBalancer", "ports": [{"name": "game", "port": 7777, "protocol": "UDP"}]});
    services.write("games", &spec).await.expect("a Service");
    let service = services.set_load_balancer("games", &["192.0.2.7"]).await.expect("a status");
    let ingress = service.status.and_then(|status| status.load_balancer?.ingress).expect("an address");
    assert_eq!(ingress[0].ip.as_deref(), Some("192.0.2.7"));

    let endpoints = json!({"endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": true}}],
        "ports": [{"name": "game", "port": 7777, "protocol": "UDP"}]});
    let slice = services.write_slice("games-1", "games", &endpoints).await.expect("an EndpointSlice");
    assert_eq!(slice.endpoints[0].addresses, ["10.1.2.3"]);

    let nodes = Nodes::new(server.admin());
    nodes
        .create(&namespace, &[("InternalIP", "10.0.0.1"), ("ExternalIP", "192.0.2.1")])
        .await
        .expect("a Node");
    let node = nodes.set_addresses(&namespace, &[("InternalIP", "10.0.0.2")]).await.expect("a status");
    let addresses = node.status.and_then(|status| status.addresses).expect("addresses");
    assert_eq!(addresses.iter().map(|address| address.address.as_str()).collect::<Vec<_>>(), ["10.0.0.2"]);
}

#[tokio::test]
async fn dry_run_checks_and_keeps_nothing() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace().await;
    let yaml = "{apiVersion: v1, kind: ConfigMap, metadata: {name: config}, data: {a: b}}";
    apply(&server.admin(), &namespace, yaml, Mode::DryRun).await.expect("a ConfigMap");
    let found = Api::<ConfigMap>::namespaced(server.admin(), &namespace).get_opt("config").await;
    assert!(found.expect("an answer").is_none());
    let wrong = yaml.replace(" data", " dota");
    let refusal = apply(&server.admin(), &namespace, &wrong, Mode::DryRun).await;
    assert!(refusal.expect_err("an unknown field").to_string().contains("dota"));
}
