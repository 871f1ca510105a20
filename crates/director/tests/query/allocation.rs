//! Queries for which servers are allocated; the test plays the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use udp_director_core::{AllocationId, BackendSpec, Capacity, Claim, Ports, Unclaimed, Withheld};
use udp_director_director::allocation::{Allocating, Errand, Outcome, Returned, Sharing};
use udp_director_director::config::Allocate;
use udp_director_director::query::{Catalog, HoldEnd};
use udp_director_inventory::kubernetes::{
    Allocation, AllocationError, AllocationRequest, AllocationSpec, GiveBack, GiveBackError, GivenBack,
    ServerSelector,
};

use crate::harness::{Client, Server, Setup, backend, eventually};

const ARENA: &str = r#"{"resourceType":"gameserver","namespace":"east"}"#;
const FAILED: &str = "allocation_failed";

fn allocating(sharing: Sharing, deadline: Duration, unclaimed: Unclaimed) -> Option<Arc<Allocating>> {
    let spec = AllocationSpec { selectors: vec![ServerSelector::default()], ..AllocationSpec::default() };
    Some(Arc::new(Allocating { allocate: Allocate { spec, deadline, unclaimed }, sharing }))
}

/// Lets queries for game servers allocate.
fn allocate(setup: &mut Setup, sharing: Sharing, deadline: Duration, unclaimed: Unclaimed) {
    setup.backends.clear();
    let mut types = std::mem::take(&mut setup.catalog.resource_types);
    let listed = types.get_mut("gameserver").expect("a type of the harness");
    listed.allocating = allocating(sharing, deadline, unclaimed);
    setup.catalog =
        Catalog { resource_types: types, seal_tokens: false, bind_client_ip: true, expose_backend: false };
}

/// A server whose queries allocate, each its own game server, and keep what nobody takes.
async fn alone() -> Server {
    start(Sharing::Alone, Duration::from_secs(20), Unclaimed::Keep).await
}

async fn start(sharing: Sharing, deadline: Duration, unclaimed: Unclaimed) -> Server {
    Server::start_with(|setup| allocate(setup, sharing, deadline, unclaimed)).await
}

/// A game server that is allocated, and takes that many players.
fn allocated(name: &str, capacity: Capacity) -> BackendSpec {
    BackendSpec { capacity, ..backend(name, "gameserver", "east", Ports::One(4101)) }
}

/// One that is not.
fn ready(name: &str) -> BackendSpec {
    let withheld = Some(Withheld::Condition("status.state".into()));
    BackendSpec { withheld, ..allocated(name, Capacity::Unbounded) }
}

struct Request {
    asked: AllocationRequest,
    done: oneshot::Sender<Allocation>,
}

impl Request {
    fn id(&self) -> AllocationId {
        AllocationId(format!("{}.1", self.asked.id).into())
    }

    fn answer(self, outcome: Result<&str, AllocationError>) {
        let outcome = outcome.map(|name| (name.to_owned(), self.id()));
        self.done.send(Allocation { outcome, lost: Vec::new(), attempts: 1 }).expect("it is awaited");
    }

    /// The answer that gets lost on its way.
    fn lose(self) -> AllocationId {
        let id = self.id();
        let outcome = Err(AllocationError::Malformed("no name of a server"));
        self.done.send(Allocation { outcome, lost: vec![id.clone()], attempts: 1 }).expect("it is awaited");
        id
    }
}

impl Server {
    async fn request(&mut self) -> Request {
        match self.errand().await {
            Errand::Allocate { request: asked, done } => Request { asked, done },
            other => panic!("no allocation: {other:?}"),
        }
    }

    async fn given_back(&mut self) -> (Claim, GiveBack, oneshot::Sender<Result<GivenBack, GiveBackError>>) {
        match self.errand().await {
            Errand::GiveBack { claim, how, done } => (claim, how, done),
            other => panic!("nothing is given back: {other:?}"),
        }
    }

    async fn errand(&mut self) -> Errand {
        let errand = tokio::time::timeout(Duration::from_secs(20), self.errands.recv()).await;
        errand.expect("an errand in time").expect("an errand")
    }

    async fn asking(&self, document: &str) -> Client {
        let mut client = self.client().await;
        client.send(document).await;
        client
    }

    fn unclaimed(&self) -> BTreeMap<&'static str, u64> {
        let counted = Returned::ALL.map(|action| (action.as_str(), self.allocations.unclaimed(action)));
        counted.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

#[tokio::test]
async fn query_gets_a_token_for_the_server_that_was_allocated_for_it() {
    let mut server = alone().await;
    server.publish(vec![ready("a"), ready("b"), allocated("c", Capacity::Unbounded)]);
    let document =
        json!({"resourceType": "gameserver", "namespace": "east", "labelSelector": "map=canyon,!old"});
    let mut client = server.asking(&document.to_string()).await;
    let request = server.request().await;
    assert_eq!(request.asked.namespace, "east");
    let selector = json!({"gameServerState": "Ready", "matchLabels": {"map": "canyon"},
        "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]});
    assert_eq!(json!(request.asked.spec)["selectors"], json!([selector]));
    request.answer(Ok("b"));
    eventually(|| server.counters.held() == 1).await;
    server.publish(vec![
        ready("a"),
        allocated("b", Capacity::Unbounded),
        allocated("c", Capacity::Unbounded),
    ]);
    let token = client.answer().await["token"].as_str().expect("a token").to_owned();
    assert_eq!(server.seats(), [("a", 0), ("b", 1), ("c", 0)].map(|(name, seats)| (name.to_owned(), seats)));
    assert!(server.admits(&token, "127.0.0.1:4000"));
    assert_eq!(server.allocations.ended(Outcome::Allocated), 1);
    assert_eq!(server.counters.holds_ended(HoldEnd::Answered), 1);
}

#[tokio::test]
async fn each_query_gets_a_server_of_its_own_where_no_capacity_is_known() {
    let mut server = alone().await;
    let mut clients =
        vec![server.asking(ARENA).await, server.asking(ARENA).await, server.asking(ARENA).await];
    for name in ["a", "b", "c"] {
        server.request().await.answer(Ok(name));
    }
    server.publish(["a", "b", "c"].map(|name| allocated(name, Capacity::Unbounded)).to_vec());
    for client in &mut clients {
        assert!(client.answer().await["token"].is_string());
    }
    assert!(server.seats().iter().all(|(_, seats)| *seats == 1), "{:?}", server.seats());
}

#[tokio::test]
async fn as_many_queries_share_an_allocation_as_the_server_takes_players() {
    for sharing in [Sharing::Fixed(3), Sharing::AsItSays] {
        let mut server = start(sharing, Duration::from_secs(20), Unclaimed::Keep).await;
        let two = BackendSpec { withheld: ready("z").withheld, ..allocated("z", Capacity::of(3, 0, 0)) };
        server.publish(vec![two.clone()]);
        let mut clients = Vec::new();
        for _ in 0..7 {
            clients.push(server.asking(ARENA).await);
        }
        eventually(|| server.counters.held() == 7).await;
        for name in ["a", "b", "c"] {
            server.request().await.answer(Ok(name));
        }
        let there = ["a", "b", "c"].map(|name| allocated(name, Capacity::of(3, 0, 0)));
        server.publish(there.into_iter().chain([two]).collect());
        for client in &mut clients {
            assert!(client.answer().await["token"].is_string());
        }
        assert!(server.errands.try_recv().is_err(), "no other server is asked for");
        assert!(server.seats().iter().all(|(_, seats)| *seats <= 3), "{:?}", server.seats());
        let mut eighth = server.client().await;
        assert!(eighth.ask(ARENA).await["token"].is_string(), "there is room for one");
        assert_eq!(server.allocations.ended(Outcome::Allocated), 3);
    }
}

#[tokio::test]
async fn answer_that_nothing_matches_answers_all_who_asked_the_same() {
    let mut server = alone().await;
    let mut clients = vec![server.asking(ARENA).await];
    server.request().await.answer(Err(AllocationError::NothingMatches));
    clients.push(server.asking(ARENA).await);
    for client in &mut clients {
        assert_eq!(client.answer().await["error"], "No matching resources found");
    }
    assert!(server.errands.try_recv().is_err(), "the second was not asked for");
    assert_eq!(server.allocations.ended(Outcome::NothingMatches), 1);
}

#[tokio::test]
async fn query_that_waits_asks_again_until_a_server_is_there() {
    let mut server = alone().await;
    let document = r#"{"resourceType":"gameserver","namespace":"east","waitSeconds":60}"#;
    let mut client = server.asking(document).await;
    server.request().await.answer(Err(AllocationError::NothingMatches));
    server.request().await.answer(Err(AllocationError::NothingMatches));
    let request = server.request().await;
    server.publish(vec![allocated("a", Capacity::Unbounded)]);
    request.answer(Ok("a"));
    assert!(client.answer().await["token"].is_string());
}

#[tokio::test]
async fn failed_allocation_is_told_counted_and_not_waited_out() {
    use AllocationError::{Contention, Forbidden, Malformed, NotServed, Refused, Unavailable};
    for (error, outcome) in [
        (Contention, Outcome::Contention),
        (Forbidden("secret".into()), Outcome::Forbidden),
        (NotServed("secret".into()), Outcome::NotServed),
        (Refused("secret".into()), Outcome::Refused),
        (Malformed("no address"), Outcome::Malformed),
        (Unavailable("secret".into()), Outcome::Unavailable),
    ] {
        let mut server = alone().await;
        let mut client = server.asking(&ARENA.replace('}', r#","waitSeconds":60}"#)).await;
        server.request().await.answer(Err(error));
        let answer = client.answer().await;
        assert_eq!(answer["code"], FAILED, "{outcome:?}");
        assert!(!answer.to_string().contains("secret"), "{answer}");
        assert_eq!(server.allocations.ended(outcome), 1, "{outcome:?}");
        assert_eq!(server.counters.holds_ended(HoldEnd::Failed), 1);
    }
}

#[tokio::test]
async fn answer_after_the_deadline_fails_the_query_and_its_server_is_unclaimed() {
    let mut server = start(Sharing::Alone, Duration::from_millis(100), Unclaimed::Delete).await;
    let mut client = server.asking(ARENA).await;
    let request = server.request().await;
    let id = request.id();
    let answer = client.answer().await;
    assert_eq!((&answer["code"], server.allocations.ended(Outcome::Late)), (&json!(FAILED), 1));
    server.publish(vec![allocated("a", Capacity::Unbounded)]);
    request.answer(Ok("a"));
    let (claim, how, done) = server.given_back().await;
    assert_eq!((&*claim.server.name, &claim.allocation, how), ("a", &id, GiveBack::Delete));
    done.send(Ok(GivenBack::Done)).expect("it is awaited");
    eventually(|| server.unclaimed() == BTreeMap::from([("deleted", 1)])).await;
}

#[tokio::test]
async fn server_that_does_not_show_fails_the_query_and_is_unclaimed() {
    let mut server = start(Sharing::Alone, Duration::from_millis(300), Unclaimed::Ready).await;
    server.publish(vec![ready("a")]);
    let mut client = server.asking(ARENA).await;
    server.request().await.answer(Ok("a"));
    assert_eq!(client.answer().await["code"], FAILED);
    assert_eq!(server.allocations.ended(Outcome::NotShown), 1);
    let (claim, how, done) = server.given_back().await;
    assert_eq!((&*claim.server.name, how), ("a", GiveBack::Ready));
    done.send(Ok(GivenBack::NotOurs)).expect("it is awaited");
    eventually(|| server.unclaimed() == BTreeMap::from([("not_ours", 1)])).await;
}

#[tokio::test]
async fn server_that_is_deleted_meanwhile_fails_the_query_at_once() {
    let ends = BackendSpec { withheld: Some(Withheld::Terminating), ..ready("a") };
    for then in [vec![], vec![ends]] {
        let mut server = alone().await;
        server.publish(vec![ready("a")]);
        let mut client = server.asking(ARENA).await;
        server.request().await.answer(Ok("a"));
        // The round has seen it before it goes.
        eventually(|| server.allocations.attempts() == 1).await;
        tokio::task::yield_now().await;
        server.publish(then);
        let answer = client.answer().await;
        assert_eq!(answer["error"], "Allocation failed: the server has ended; try again later");
        assert_eq!(server.allocations.ended(Outcome::Gone), 1);
    }
}

#[tokio::test]
async fn server_that_takes_no_player_fails_the_query_and_no_other_is_asked_for() {
    let unknown = allocated("a", Capacity::Unknown("the label players is missing".into()));
    let mut unreachable = allocated("a", Capacity::Unbounded);
    unreachable.ports = crate::harness::named(&[("voice", 1)]);
    for spec in [unknown, unreachable] {
        let mut server = alone().await;
        let mut client = server.asking(ARENA).await;
        server.publish(vec![spec]);
        server.request().await.answer(Ok("a"));
        let answer = client.answer().await;
        assert_eq!(answer["error"], "Allocation failed: the server takes no player; try again later");
        assert!(server.errands.try_recv().is_err());
    }
}

#[tokio::test]
async fn server_whose_token_nobody_redeems_is_given_back_as_configured() {
    for (unclaimed, how, counted) in [
        (Unclaimed::Delete, Some(GiveBack::Delete), "deleted"),
        (Unclaimed::Ready, Some(GiveBack::Ready), "made_ready"),
        (Unclaimed::Keep, None, "kept"),
    ] {
        let mut server = Server::start_with(|setup| {
            allocate(setup, Sharing::Alone, Duration::from_millis(300), unclaimed);
            setup.settings.token_ttl = Duration::from_millis(100);
        })
        .await;
        server.publish(vec![allocated("a", Capacity::Unbounded)]);
        let mut client = server.asking(ARENA).await;
        server.request().await.answer(Ok("a"));
        assert!(client.answer().await["token"].is_string());
        let expire = async || {
            while server.unclaimed().is_empty() && server.errands.is_empty() {
                server.expire();
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), expire()).await.expect("it is unclaimed in the end");
        if let Some(how) = how {
            let (_, asked, done) = server.given_back().await;
            assert_eq!(asked, how);
            done.send(Ok(GivenBack::Done)).expect("it is awaited");
        }
        eventually(|| server.unclaimed() == BTreeMap::from([(counted, 1)])).await;
    }
}

#[tokio::test]
async fn server_with_a_player_is_never_given_back() {
    let mut server = Server::start_with(|setup| {
        allocate(setup, Sharing::Alone, Duration::from_millis(100), Unclaimed::Delete);
        setup.settings.token_ttl = Duration::from_millis(100);
    })
    .await;
    server.publish(vec![allocated("a", Capacity::Unbounded), allocated("b", Capacity::Unbounded)]);
    let mut client = server.asking(ARENA).await;
    server.request().await.answer(Ok("a"));
    let token = client.answer().await["token"].as_str().expect("a token").to_owned();
    server.play(&token, [udp_director_core::ListenerId(0)]);
    // Of two, the one that nobody plays on is.
    client.send(ARENA).await;
    server.request().await.answer(Ok("b"));
    assert!(client.answer().await["token"].is_string());
    let expire = async || {
        while server.errands.is_empty() {
            server.expire();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), expire()).await.expect("one is unclaimed");
    let (claim, _, done) = server.given_back().await;
    assert_eq!(claim.server.name, "b");
    done.send(Err(GiveBackError::from("forbidden"))).expect("it is awaited");
    eventually(|| server.unclaimed() == BTreeMap::from([("failed", 1)])).await;
    assert!(server.errands.is_empty());
}

#[tokio::test]
async fn client_that_goes_away_leaves_an_unclaimed_server() {
    let mut server = start(Sharing::Alone, Duration::from_millis(500), Unclaimed::Delete).await;
    server.publish(vec![allocated("a", Capacity::Unbounded)]);
    let client = server.asking(ARENA).await;
    let request = server.request().await;
    client.reset();
    eventually(|| server.counters.held() == 0).await;
    assert_eq!(server.counters.holds_ended(HoldEnd::ClientGone), 1);
    request.answer(Ok("a"));
    let (claim, ..) = server.given_back().await;
    assert_eq!(claim.server.name, "a");
}

#[tokio::test]
async fn server_whose_answer_was_lost_is_found_by_its_id() {
    let mut server = start(Sharing::Alone, Duration::from_secs(5), Unclaimed::Delete).await;
    let mut client = server.asking(ARENA).await;
    let id = server.request().await.lose();
    assert_eq!(client.answer().await["code"], FAILED);
    let mut found = allocated("a", Capacity::Unbounded);
    found.annotations.insert(AllocationId::ANNOTATION.to_owned(), id.to_string());
    server.publish(vec![found]);
    let (claim, ..) = server.given_back().await;
    assert_eq!((&*claim.server.name, claim.allocation), ("a", id));
}

#[tokio::test]
async fn nobody_gets_a_seat_on_a_server_that_is_given_back() {
    let mut server = start(Sharing::Fixed(2), Duration::from_millis(100), Unclaimed::Ready).await;
    server.publish(vec![allocated("a", Capacity::of(2, 0, 0))]);
    let client = server.client().await;
    drop(client);
    server.publish(vec![ready("a")]);
    let mut client = server.asking(ARENA).await;
    server.request().await.answer(Ok("a"));
    assert_eq!(client.answer().await["code"], FAILED, "it does not show");
    let (_, _, done) = server.given_back().await;
    server.publish(vec![allocated("a", Capacity::of(2, 0, 0))]);
    client.send(ARENA).await;
    let request = server.request().await;
    assert_eq!(server.seats(), [("a".to_owned(), 0)], "another is asked for");
    drop((request, done));
}

#[tokio::test]
async fn what_is_unclaimed_when_the_director_stops_is_given_back() {
    let mut server = start(Sharing::Alone, Duration::from_secs(20), Unclaimed::Delete).await;
    server.publish(vec![allocated("a", Capacity::Unbounded)]);
    let mut client = server.asking(ARENA).await;
    server.request().await.answer(Ok("a"));
    assert!(client.answer().await["token"].is_string());
    server.stop_looking();
    let (claim, how, _done) = server.given_back().await;
    assert_eq!((&*claim.server.name, how), ("a", GiveBack::Delete));
}

#[tokio::test]
async fn what_an_allocation_cannot_ask_for_is_refused() {
    let mut server = alone().await;
    let mut client = server.client().await;
    for (keys, text) in [
        (r#""annotationSelector":{"a":"b"}"#, "labels alone, not by annotationSelector"),
        (r#""statusQuery":{"jsonPath":"a","expectedValue":1}"#, "labels alone, not by statusQuery"),
        (r#""labelSelector":"players<5""#, "\"players\""),
    ] {
        let answer: Value = client.ask(ARENA.replace('}', &format!(",{keys}}}"))).await;
        assert_eq!(answer["code"], "invalid_query", "{keys}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(text)), "{answer}");
    }
    assert!(server.errands.try_recv().is_err());
}

#[tokio::test]
async fn requests_to_the_cluster_are_bounded_and_the_rest_wait_for_their_turn() {
    let mut server = alone().await;
    let mut clients = Vec::new();
    for number in 0..66 {
        let document = ARENA.replace('}', &format!(r#","labelSelector":{{"n":"{number}"}}}}"#));
        clients.push(server.asking(&document).await);
    }
    eventually(|| server.counters.held() == 66 && server.errands.len() == 64).await;
    server.publish(vec![allocated("a", Capacity::Unbounded)]);
    for _ in 0..66 {
        server.request().await.answer(Ok("a"));
    }
    for client in &mut clients {
        assert!(client.answer().await["token"].is_string());
    }
}
