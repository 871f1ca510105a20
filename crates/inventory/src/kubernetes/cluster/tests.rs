use serde_json::json;
use tokio::time::timeout;
use udp_director_core::Inventory;

use super::*;
use crate::kubernetes::fake::{Fake, Fault, Verb};
use crate::kubernetes::fixtures::*;

const PODS: &str = "/api/v1/namespaces/games/pods";
const SERVERS: &str = "/apis/agones.dev/v1/namespaces/games/gameservers";

/// A cluster that follows a fake server, and the inventory that it gave last.
struct Rig {
    fake: Fake,
    cluster: Cluster,
    inventory: Inventory,
}

impl Rig {
    async fn new(mappings: &[Mapping]) -> Rig {
        let fake = Fake::start().await;
        fake.serve(PODS, "Pod");
        Rig::of(fake, mappings)
    }

    fn of(fake: Fake, mappings: &[Mapping]) -> Rig {
        let cluster = Cluster::follow(fake.client(), mappings.to_vec(), Targets::default());
        Rig { fake, cluster, inventory: Inventory::default() }
    }

    /// Assembles what is known until these are the backends.
    async fn until(&mut self, expected: &[&str]) {
        let wait = timeout(Duration::from_secs(30), async {
            while self.names() != expected {
                self.cluster.changed().await;
                self.inventory = self.cluster.view().assemble(&self.inventory);
            }
        });
        let outcome = wait.await;
        assert!(outcome.is_ok(), "{expected:?}, not {:?}; {:?}", self.names(), self.cluster.status());
    }

    fn names(&self) -> Vec<String> {
        self.inventory.backends().iter().map(|backend| backend.spec.name.clone()).collect()
    }

    fn restarts(&self, cause: &str) -> u64 {
        self.cluster.status().watches.iter().filter_map(|watch| watch.restarts.get(cause)).sum()
    }

    /// Waits for a state of the watches, which nothing announces.
    async fn until_status(&self, wanted: impl Fn(&ClusterStatus) -> bool) {
        let wait = timeout(Duration::from_secs(30), async {
            while !wanted(&self.cluster.status()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(wait.await.is_ok(), "{:?}", self.cluster.status());
    }
}

fn trusted_game_servers() -> Mapping {
    Mapping { trust_addresses: true, ..game_servers() }
}

#[tokio::test]
async fn objects_appear_change_and_go() {
    let mut rig = Rig::new(&[pods()]).await;
    rig.fake.put(PODS, &pod("a", "10.0.0.1"));
    rig.until(&["a"]).await;
    rig.fake.put(PODS, &pod("b", "10.0.0.2"));
    rig.until(&["a", "b"]).await;
    rig.fake.delete(PODS, "a");
    rig.until(&["b"]).await;
    let status = rig.cluster.status();
    assert_eq!((status.awaited.len(), status.watches[0].objects, status.watches.len()), (0, 1, 1));
    assert_eq!(status.watches[0].to_string(), "pods in games: 1 objects, current 0 s ago");
    assert_eq!(rig.fake.count(Verb::List), 1);
}

#[tokio::test]
async fn large_list_comes_in_pages() {
    let fake = Fake::start().await;
    fake.serve(PODS, "Pod");
    for number in 0..1200 {
        fake.put(PODS, &pod(&format!("p{number}"), "10.0.0.1"));
    }
    let rig = Rig::of(fake, &[pods()]);
    rig.until_status(|status| status.awaited.is_empty()).await;
    assert_eq!(
        (rig.cluster.view().assemble(&Inventory::default()).backends().len(), rig.fake.count(Verb::List)),
        (1200, 3)
    );
}

#[tokio::test]
async fn version_that_is_gone_is_listed_anew_at_once() {
    for (verb, fault) in [(Verb::Watch, Fault::Event(410)), (Verb::Watch, Fault::Status(410))] {
        let fake = Fake::start().await;
        fake.serve(PODS, "Pod");
        fake.fail(verb, PODS, fault);
        let mut rig = Rig::of(fake, &[pods()]);
        let begun = Instant::now();
        rig.fake.asked(Verb::Watch, 2).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{fault:?} took {:?}", begun.elapsed());
        rig.fake.put(PODS, &pod("a", "10.0.0.1"));
        rig.until(&["a"]).await;
        assert_eq!((rig.fake.count(Verb::List), rig.restarts("gone")), (2, 1), "{fault:?}");
    }
}

#[tokio::test]
async fn version_that_is_gone_over_and_over_is_not_listed_over_and_over() {
    let fake = Fake::start().await;
    fake.serve(PODS, "Pod");
    (0..3).for_each(|_| fake.fail(Verb::Watch, PODS, Fault::Event(410)));
    let rig = Rig::of(fake, &[pods()]);
    let begun = Instant::now();
    rig.fake.asked(Verb::Watch, 4).await;
    assert!(begun.elapsed() > Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn busy_server_is_waited_out() {
    let fake = Fake::start().await;
    fake.serve(PODS, "Pod");
    fake.put(PODS, &pod("a", "10.0.0.1"));
    fake.fail(Verb::List, PODS, Fault::Status(429));
    fake.fail(Verb::Watch, PODS, Fault::Status(429));
    let mut rig = Rig::of(fake, &[pods()]);
    rig.until(&["a"]).await;
    rig.fake.asked(Verb::Watch, 2).await;
    rig.fake.put(PODS, &pod("b", "10.0.0.2"));
    rig.until(&["a", "b"]).await;
    assert_eq!((rig.restarts("busy"), rig.fake.count(Verb::List)), (2, 2));
}

#[tokio::test]
async fn cut_connection_is_taken_up_where_it_was_cut() {
    let mut rig = Rig::new(&[pods()]).await;
    rig.fake.asked(Verb::Watch, 1).await;
    rig.fake.put(PODS, &pod("a", "10.0.0.1"));
    rig.until(&["a"]).await;
    rig.fake.cut();
    rig.fake.put(PODS, &pod("b", "10.0.0.2"));
    rig.until(&["a", "b"]).await;
    assert_eq!(rig.fake.count(Verb::List), 1);
}

#[tokio::test]
async fn changes_made_while_the_server_was_away_are_seen_soon_after() {
    let mut rig = Rig::new(&[pods()]).await;
    rig.fake.put(PODS, &pod("a", "10.0.0.1"));
    rig.until(&["a"]).await;
    rig.fake.asked(Verb::Watch, 1).await;
    rig.fake.away(true);
    rig.fake.delete(PODS, "a");
    rig.fake.put(PODS, &pod("b", "10.0.0.2"));
    rig.until_status(|status| status.watches[0].restarts.values().sum::<u64>() >= 5).await;
    assert_eq!((rig.names(), rig.cluster.status().awaited.len()), (vec!["a".to_owned()], 0));
    rig.fake.away(false);
    let back = Instant::now();
    rig.until(&["b"]).await;
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
}

#[tokio::test]
async fn right_withdrawn_for_one_resource_leaves_what_is_known_and_the_others() {
    let fake = Fake::start().await;
    fake.serve(PODS, "Pod");
    fake.serve(SERVERS, "GameServer");
    let mut rig = Rig::of(fake, &[pods(), trusted_game_servers()]);
    rig.fake.put(PODS, &pod("a", "10.0.0.1"));
    rig.until(&["a"]).await;
    rig.fake.forbid(PODS, true);
    rig.fake.cut();
    rig.fake.put(SERVERS, &game_server("gs", "10.0.0.7"));
    rig.until(&["a", "gs"]).await;
    let forbidden = |status: &ClusterStatus| {
        status
            .watches
            .iter()
            .any(|watch| watch.error.as_ref().is_some_and(|error| error.starts_with("forbidden (403)")))
    };
    rig.until_status(forbidden).await;
    rig.fake.forbid(PODS, false);
    rig.fake.put(PODS, &pod("b", "10.0.0.2"));
    rig.until(&["a", "b", "gs"]).await;
    rig.until_status(|status| !forbidden(status)).await;
}

#[tokio::test]
async fn what_was_never_listed_is_awaited_with_its_reason() {
    let fake = Fake::start().await;
    fake.serve(PODS, "Pod");
    fake.forbid(PODS, true);
    let rig = Rig::of(fake, &[pods(), trusted_game_servers()]);
    rig.until_status(|status| {
        let reasons = ["pods in games: forbidden (403)", "gameservers.agones.dev in games: no such resource"];
        reasons.iter().all(|reason| status.awaited.iter().any(|awaited| awaited.starts_with(reason)))
    })
    .await;
}

#[tokio::test]
async fn resource_that_is_installed_later_is_picked_up() {
    let mut rig = Rig::new(&[trusted_game_servers()]).await;
    rig.until_status(|status| status.watches[0].restarts.contains_key("not_found")).await;
    rig.fake.serve(SERVERS, "GameServer");
    rig.fake.put(SERVERS, &game_server("gs", "10.0.0.7"));
    rig.until(&["gs"]).await;
}

#[tokio::test]
async fn storage_that_went_back_is_seen_when_the_watch_begins_again() {
    let mut rig = Rig::new(&[pods()]).await;
    rig.fake.put(PODS, &pod("a", "10.0.0.1"));
    rig.until(&["a"]).await;
    rig.fake.asked(Verb::Watch, 1).await;
    rig.fake.restore(PODS, 50, &[pod("old", "10.0.0.2")]);
    rig.fake.cut();
    rig.until(&["old"]).await;
    assert_eq!(rig.restarts("went_back"), 1);
}

#[tokio::test]
async fn address_of_the_api_server_is_no_target() {
    let fake = Fake::start().await;
    fake.serve(SERVERS, "GameServer");
    fake.put(SERVERS, &game_server("bad", "203.0.113.1"));
    fake.put(SERVERS, &game_server("good", "203.0.113.2"));
    let mut rig = Rig::of(fake, &[trusted_game_servers()]);
    rig.until(&["good"]).await;
    assert!(rig.inventory.refused()[0].reason.contains("203.0.113.1 is an address of the API server"));
    let all = Targets::new(vec!["203.0.113.0/24".parse().expect("a CIDR")]);
    rig.cluster.configure(vec![trusted_game_servers()], all);
    rig.until(&["bad", "good"]).await;
    assert_eq!(rig.fake.count(Verb::List), 1);
}

#[tokio::test]
async fn other_mappings_end_and_begin_watches_and_move_no_backend_in_between() {
    let mut rig = Rig::new(&[pods()]).await;
    rig.fake.put(PODS, &pod("a", "10.0.0.1"));
    rig.until(&["a"]).await;
    rig.fake.forbid(PODS, true);
    let other = Mapping { address_path: Some("status.podIPs".into()), ..pods() };
    rig.cluster.configure(vec![other], Targets::default());
    rig.inventory = rig.cluster.view().assemble(&rig.inventory);
    assert_eq!(rig.names(), ["a"]);
    rig.until_status(|status| status.awaited.iter().any(|awaited| awaited.contains("forbidden"))).await;
    rig.cluster.configure(Vec::new(), Targets::default());
    rig.until(&[]).await;
    assert_eq!(rig.cluster.status().watches.len(), 0);
}

#[tokio::test]
async fn name_that_is_none_never_becomes_part_of_a_url() {
    for namespace in ["../../secrets", "a/b", "games?watch=1", "GAMES", ".."] {
        let mapping = Mapping { namespaces: vec![namespace.into()], ..pods() };
        let rig = Rig::new(&[mapping]).await;
        rig.until_status(|status| {
            status.awaited.iter().any(|awaited| awaited.contains("is no name of Kubernetes"))
        })
        .await;
        assert!(rig.fake.paths().iter().all(|path| path == "/api"), "{:?}", rig.fake.paths());
    }
}

#[tokio::test]
async fn burst_of_changes_is_told_in_few_inventories() {
    let mut rig = Rig::new(&[pods()]).await;
    rig.until_status(|status| status.awaited.is_empty()).await;
    for number in 0..500 {
        rig.fake.put(PODS, &pod(&format!("p{number}"), "10.0.0.1"));
    }
    let mut inventories = 0;
    let wait = timeout(Duration::from_secs(30), async {
        while rig.inventory.backends().len() < 500 {
            rig.cluster.changed().await;
            rig.inventory = rig.cluster.view().assemble(&rig.inventory);
            inventories += 1;
        }
    });
    wait.await.expect("all in time");
    assert!(inventories < 100, "{inventories}");
}

#[tokio::test]
async fn objects_of_wrong_forms_end_no_watch() {
    let mut rig = Rig::new(&[pods()]).await;
    for (number, odd) in
        [json!(7), json!("x"), json!([1]), json!({"podIP": {"a": 1}})].into_iter().enumerate()
    {
        rig.fake.put(PODS, &with(pod(&format!("odd{number}"), "10.0.0.1"), "/status", odd));
    }
    rig.fake.put(PODS, &pod("good", "10.0.0.1"));
    rig.until(&["good"]).await;
    assert_eq!(rig.inventory.refused().len(), 4);
}
