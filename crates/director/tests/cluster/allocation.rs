//! Game servers that are allocated for queries, by an allocation service behind a real API server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use udp_director_apiserver::{Account, Agones, ApiServer, Faults, GameServers, Without};

use crate::ANY;
use crate::namespace;
use crate::rig::{Director, Server, whereabouts};

/// A director that allocates in a namespace of its own, and Agones there.
struct World {
    api: &'static ApiServer,
    agones: &'static Agones,
    game_servers: GameServers,
    namespace: String,
    account: Account,
    director: Arc<Director>,
}

impl World {
    /// `allocate` are the keys of the mapping's `allocate`, `more` further keys of the mapping, `top` of
    /// the configuration.
    async fn start(allocate: &str, more: &str, top: &str) -> World {
        let world = World::start_ungranted(allocate, more, top).await;
        world.director.grant(world.api, &world.account).await;
        world.director.ready().await;
        world
    }

    async fn start_ungranted(allocate: &str, more: &str, top: &str) -> World {
        let (api, namespace, account, _) = namespace().await;
        let agones = Agones::shared().await;
        let game_servers = GameServers::install(&api.admin(), &namespace).await.expect("the resource");
        let config = format!(
            "allowedTargetCidrs: ['127.0.0.0/8']\ninventory: {{kubernetes: {{}}}}\n{top}\n\
             resourceQueryMapping:\n  gs: {{group: agones.dev, version: v1, resource: gameservers, \
             namespaces: [{namespace}], addressPath: status.address, portPath: 'status.ports[0].port', \
             trustAddresses: true{more}, allocate: {{{allocate}}}}}\n"
        );
        let director = Arc::new(Director::start_as_is(&account, &config, &[]));
        World { api, agones, game_servers, namespace, account, director }
    }

    /// A GameServer in that state, where the game server is.
    async fn add(&self, server: &Server, name: &str, state: &str) {
        self.write(name, state, server.address.to_string(), server.port, json!({"map": "canyon"})).await;
    }

    /// Ready GameServers at which nobody answers.
    async fn add_many(&self, count: usize) {
        for number in 0..count {
            let address = format!("127.3.{}.{}", number / 200, number % 200 + 1);
            self.write(&format!("gs-{number:03}"), "Ready", address, 7000, json!({})).await;
        }
    }

    async fn write(&self, name: &str, state: &str, address: String, port: u16, labels: Value) {
        let status = json!({"state": state, "address": address, "nodeName": "node",
            "ports": [{"name": "default", "port": port}]});
        self.game_servers.write(name, &json!({"labels": labels}), &status).await.expect("a GameServer");
    }

    async fn all(&self) -> Vec<Value> {
        let servers: Api<DynamicObject> =
            Api::namespaced_with(self.api.admin(), &self.namespace, &GameServers::resource());
        let list = servers.list(&ListParams::default()).await.expect("a list");
        list.items.iter().map(|server| json!(server)).collect()
    }

    /// The names of those that are in that state.
    async fn in_state(&self, state: &str) -> BTreeSet<String> {
        let all = self.all().await.into_iter().filter(|server| server["status"]["state"] == state);
        all.map(|server| server["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Asks that many times at once.
    async fn ask_at_once(&self, count: usize) -> Vec<Value> {
        let mut asking = JoinSet::new();
        for _ in 0..count {
            let director = Arc::clone(&self.director);
            asking.spawn(async move { director.query(ANY).await });
        }
        asking.join_all().await
    }

    async fn metric(&self, name: &str) -> f64 {
        self.director.metric(name).await
    }

    async fn until_unclaimed(&self, action: &str) {
        let metric = format!("udp_director_unclaimed_allocations_total{{action=\"{action}\"}}");
        self.director.until(&metric, async || self.metric(&metric).await == 1.0).await;
        let log = self.director.log();
        assert!(log.contains("no player has taken an allocated server"), "{log}");
    }
}

fn outcome(name: &str) -> String {
    format!("udp_director_allocations_total{{outcome=\"{name}\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn player_gets_on_the_server_that_was_allocated_for_him() {
    let allocate = "selectors: [{labelSelector: 'map notin (sea)'}], metadata: {labels: {match: live}, \
                    annotations: {example.com/by: director}}";
    let world = World::start(allocate, "", "").await;
    let (one, two) = (Server::start("one", [127, 0, 20, 1]), Server::start("two", [127, 0, 20, 2]));
    world.add(&one, "one", "Ready").await;
    let document = r#"{"resourceType": "gs", "labelSelector": {"map": "canyon"}, "waitSeconds": 30}"#;
    let player = world.director.player(document).await;
    assert_eq!(whereabouts(&player).await, "one");
    assert_eq!(world.in_state("Allocated").await, BTreeSet::from(["one".to_owned()]));
    let metadata = world.all().await[0]["metadata"].clone();
    assert_eq!(
        (&metadata["labels"]["match"], &metadata["labels"]["map"]),
        (&json!("live"), &json!("canyon"))
    );
    assert_eq!(metadata["annotations"]["example.com/by"], "director");
    let id = metadata["annotations"]["udp-director.io/allocation"].clone();
    let asked = world.agones.requests(&world.namespace).pop().expect("a request");
    assert_eq!(asked["metadata"]["annotations"]["udp-director.io/allocation"], id);
    let selector = json!({"gameServerState": "Ready", "matchLabels": {"map": "canyon"},
        "matchExpressions": [{"key": "map", "operator": "NotIn", "values": ["sea"]}]});
    assert_eq!(asked["selectors"], json!([selector]));

    assert_eq!(world.director.query(ANY).await["error"], "No matching resources found");
    world.add(&two, "two", "Ready").await;
    let newcomer = world.director.player(ANY).await;
    assert_eq!(whereabouts(&newcomer).await, "two");
    assert_eq!(whereabouts(&player).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn hundred_queries_at_once_allocate_as_many_servers_as_they_fill() {
    let world =
        World::start("", ", loadBalancing: {type: packed}, capacity: {max: 10}", "exposeBackend: true").await;
    world.add_many(20).await;
    let answers = world.ask_at_once(100).await;
    let mut players: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in &answers {
        *players.entry(answer["backend"].as_str().unwrap_or("none")).or_default() += 1;
    }
    assert!(players.values().all(|count| *count == 10), "{players:?}");
    assert_eq!(world.in_state("Allocated").await.len(), 10);
    assert_eq!(world.metric(&outcome("allocated")).await, 10.0);
    assert_eq!(world.agones.requests(&world.namespace).len(), 10);
    // They are full: the next one needs another.
    assert!(world.director.query(ANY).await["token"].is_string());
    assert_eq!(world.in_state("Allocated").await.len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_queries_at_once_gets_a_server_of_its_own_without_a_capacity() {
    let world = World::start("", "", "exposeBackend: true").await;
    world.add_many(30).await;
    let answers = world.ask_at_once(40).await;
    let servers: Vec<&str> = answers.iter().filter_map(|answer| answer["backend"].as_str()).collect();
    assert_eq!((servers.len(), BTreeSet::from_iter(&servers).len()), (30, 30), "{answers:?}");
    let none = answers.iter().filter(|answer| answer["error"] == "No matching resources found").count();
    assert_eq!(none, 10, "{answers:?}");
    assert_eq!(world.in_state("Allocated").await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn conflict_and_a_busy_or_failing_service_are_tried_again() {
    let world = World::start("deadlineMs: 20000", "", "").await;
    world.add_many(1).await;
    let faults = Faults { conflicts: 2, contentions: 2, busy: 1, failing: 1, ..Faults::default() };
    world.agones.fail(&world.namespace, faults);
    let answer = world.director.query(ANY).await;
    assert!(answer["token"].is_string(), "{answer}");
    assert_eq!(world.agones.requests(&world.namespace).len(), 7);
    assert_eq!(world.metric("udp_director_allocation_requests_total").await, 7.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn conflict_that_does_not_end_fails_the_query_at_the_deadline() {
    let world = World::start("deadlineMs: 500", "", "").await;
    world.add_many(1).await;
    world.agones.fail(&world.namespace, Faults { conflicts: 1000, ..Faults::default() });
    let answer = world.director.query(ANY).await;
    assert_eq!(answer["error"], "Allocation failed: others were faster each time; try again later");
    assert_eq!(
        (world.metric(&outcome("contention")).await, answer["code"].as_str()),
        (1.0, Some("allocation_failed"))
    );
    assert!(world.in_state("Allocated").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_allocated_after_the_deadline_is_unclaimed() {
    let world = World::start("deadlineMs: 300, unclaimed: ready", "", "").await;
    world.add_many(1).await;
    world.agones.fail(&world.namespace, Faults { slow: Duration::from_secs(1), ..Faults::default() });
    assert_eq!(world.director.query(ANY).await["code"], "allocation_failed");
    assert_eq!(world.metric(&outcome("late")).await, 1.0);
    world.until_unclaimed("made_ready").await;
    assert_eq!(world.in_state("Ready").await.len(), 1);
    let annotations = world.all().await[0]["metadata"]["annotations"].clone();
    assert_eq!(annotations["udp-director.io/allocation"], Value::Null, "it is nobody's");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_without_name_or_address_fails_the_query_and_its_server_is_found_and_returned() {
    for without in [Without::Name, Without::Address] {
        let world = World::start("unclaimed: delete", "", "").await;
        world.add_many(1).await;
        world.agones.fail(&world.namespace, Faults { without: Some(without), ..Faults::default() });
        assert_eq!(world.director.query(ANY).await["code"], "allocation_failed", "{without:?}");
        assert_eq!(world.metric(&outcome("malformed")).await, 1.0);
        world.until_unclaimed("deleted").await;
        assert!(world.all().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_of_a_lost_answer_is_found_and_the_query_gets_another() {
    let world = World::start("unclaimed: ready, deadlineMs: 20000", "", "").await;
    world.add_many(2).await;
    world.agones.fail(&world.namespace, Faults { lost: 1, ..Faults::default() });
    let answer = world.director.query(ANY).await;
    assert!(answer["token"].is_string(), "{answer}");
    world.until_unclaimed("made_ready").await;
    assert_eq!((world.in_state("Allocated").await.len(), world.in_state("Ready").await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_deleted_meanwhile_fails_the_query() {
    let world = World::start("deadlineMs: 3000", "", "").await;
    world.add_many(1).await;
    let line = "udp_director_backends{resource_type=\"gs\",accepting=\"false\"}";
    world.director.until("it is seen", async || world.metric(line).await == 1.0).await;
    let faults = Faults { deletes: true, slow: Duration::from_millis(300), ..Faults::default() };
    world.agones.fail(&world.namespace, faults);
    let answer = world.director.query(ANY).await;
    assert_eq!(answer["code"], "allocation_failed", "{answer}");
    let counted = [outcome("gone"), outcome("not_shown")];
    assert_eq!(world.metric(&counted[0]).await + world.metric(&counted[1]).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_nobody_plays_on_is_kept_deleted_or_made_ready() {
    let modes = [("keep", "kept", 1, 0), ("delete", "deleted", 0, 0), ("ready", "made_ready", 0, 1)];
    for (mode, action, allocated, ready) in modes {
        let world =
            World::start(&format!("unclaimed: {mode}, deadlineMs: 1000"), "", "tokenTTLSeconds: 1").await;
        world.add_many(1).await;
        assert!(world.director.query(ANY).await["token"].is_string());
        assert_eq!(world.in_state("Allocated").await.len(), 1);
        world.until_unclaimed(action).await;
        let found = (world.in_state("Allocated").await.len(), world.in_state("Ready").await.len());
        assert_eq!(found, (allocated, ready), "{mode}");
        assert!(world.director.log().contains("gs-000"), "{}", world.director.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_with_a_player_and_one_that_somebody_else_took_over_are_never_returned() {
    let world = World::start("unclaimed: delete, deadlineMs: 1000", "", "tokenTTLSeconds: 1").await;
    let one = Server::start("one", [127, 0, 21, 1]);
    world.add(&one, "one", "Ready").await;
    let player = world.director.player(ANY).await;
    world.add_many(1).await;
    assert!(world.director.query(ANY).await["token"].is_string());
    let other = json!({"metadata": {"annotations": {"udp-director.io/allocation": "somebody-else"}}});
    world.game_servers.patch("gs-000", &other).await.expect("a change");
    world.until_unclaimed("not_ours").await;
    assert_eq!(world.in_state("Allocated").await.len(), 2);
    assert_eq!(whereabouts(&player).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn players_share_a_server_by_its_counter() {
    let allocate = "selectors: [{gameServerState: allocated, counters: {players: {minAvailable: 1}}}, \
                    {counters: {players: {minAvailable: 1}}}], counters: {players: {action: increment, amount: 1}}";
    let world = World::start(allocate, "", "exposeBackend: true").await;
    world.add_many(2).await;
    for name in ["gs-000", "gs-001"] {
        let counters = json!({"status": {"counters": {"players": {"count": 0, "capacity": 2}}}});
        world.game_servers.patch(name, &counters).await.expect("counters");
    }
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(world.director.query(ANY).await["backend"].as_str().expect("a server").to_owned());
    }
    assert_eq!((servers[0] == servers[1], servers[2] == servers[3]), (true, true), "{servers:?}");
    assert_ne!(servers[0], servers[2]);
    assert_eq!(world.director.query(ANY).await["error"], "No matching resources found");
}

#[tokio::test(flavor = "multi_thread")]
async fn query_waits_until_a_server_is_there_to_be_allocated() {
    let world = World::start("", "", "").await;
    let one = Server::start("one", [127, 0, 22, 1]);
    let director = Arc::clone(&world.director);
    let asking =
        tokio::spawn(async move { director.query(r#"{"resourceType": "gs", "waitSeconds": 60}"#).await });
    world.director.until("it waits", async || world.metric(&outcome("nothing_matches")).await >= 2.0).await;
    world.add(&one, "one", "Ready").await;
    let answer = asking.await.expect("no panic");
    assert!(answer["token"].is_string(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn director_may_allocate_where_that_is_configured_and_do_nothing_else() {
    let world = World::start_ungranted("unclaimed: delete, deadlineMs: 1000", "", "tokenTTLSeconds: 1").await;
    world.add_many(1).await;
    world.director.grant(world.api, &world.account).await;
    world.director.ready().await;
    assert!(world.director.query(ANY).await["token"].is_string());
    world.until_unclaimed("deleted").await;
    let requests = world.api.requests_of(&world.account.user);
    let verbs: BTreeSet<(String, String)> = requests
        .iter()
        .filter(|request| request.code < 400 && !["list", "watch", "get"].contains(&&*request.verb))
        .map(|request| (request.verb.clone(), request.resource.clone()))
        .collect();
    let expected =
        [("create", "gameserverallocations.allocation.agones.dev"), ("delete", "gameservers.agones.dev")];
    assert_eq!(verbs, expected.map(|(verb, resource)| (verb.to_owned(), resource.to_owned())).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn director_that_may_not_allocate_says_so_to_its_operator_alone() {
    let (api, namespace, account, _) = namespace().await;
    Agones::shared().await;
    let game_servers = GameServers::install(&api.admin(), &namespace).await.expect("the resource");
    let config = format!(
        "inventory: {{kubernetes: {{}}}}\nresourceQueryMapping:\n  gs: {{group: agones.dev, version: v1, \
         resource: gameservers, namespaces: [{namespace}], addressPath: status.address, \
         portPath: 'status.ports[0].port', trustAddresses: true}}\n"
    );
    // It may watch there, and no more.
    let director = Director::start(api, &account, &config).await;
    let allocating = config.replace("trustAddresses: true", "trustAddresses: true, allocate: {}");
    director.write_config(&allocating);
    let status = json!({"state": "Ready", "address": "127.3.0.1", "ports": [{"name": "default", "port": 7}]});
    game_servers.write("one", &json!({}), &status).await.expect("a GameServer");
    director.until("it allocates", async || director.query(ANY).await["code"] == "allocation_failed").await;
    let answer = director.query(ANY).await;
    assert_eq!(answer["error"], "Allocation failed: the cluster gives no server; try again later");
    let log = director.log();
    assert!(log.contains("forbidden") && log.contains("gameserverallocations"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_hangs_fails_who_wants_an_allocation_and_nobody_else() {
    let mut api = ApiServer::start().await;
    let agones = Agones::start(&api).await;
    let namespace = api.namespace().await;
    let account = api.service_account(&namespace, "director").await;
    let game_servers = GameServers::install(&api.admin(), &namespace).await.expect("the resource");
    let mapping = format!(
        "{{group: agones.dev, version: v1, resource: gameservers, namespaces: [{namespace}], addressPath: \
         status.address, portPath: 'status.ports[0].port', trustAddresses: true"
    );
    let config = format!(
        "allowedTargetCidrs: ['127.0.0.0/8']\ninventory: {{kubernetes: {{}}}}\nresourceQueryMapping:\n  \
         gs: {mapping}, allocate: {{deadlineMs: 500, unclaimed: ready}}}}\n  known: {mapping}}}\n"
    );
    let director = Director::start(&api, &account, &config).await;
    let status = json!({"state": "Ready", "address": "127.3.0.1", "ports": [{"name": "default", "port": 7}]});
    game_servers.write("one", &json!({}), &status).await.expect("a GameServer");
    let known = r#"{"resourceType": "known"}"#;
    director.token(known).await;

    api.hold();
    let answer = director.query(ANY).await;
    assert_eq!(answer["error"], "Allocation failed: the cluster has not answered in time; try again later");
    director.token(known).await;
    api.go_on();
    let returned = "udp_director_unclaimed_allocations_total{action=\"made_ready\"}";
    director.until("the late server is returned", async || director.metric(returned).await == 1.0).await;
    assert_eq!(agones.requests(&namespace).len(), 1);
    assert!(director.query(ANY).await["token"].is_string(), "and can be allocated again");
}
