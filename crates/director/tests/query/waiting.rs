//! Queries that wait until something matches.

use std::net::Ipv4Addr;
use std::pin::pin;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use udp_director_core::{BackendSpec, Capacity};
use udp_director_director::query::{ConnectionLimits, HoldEnd};
use udp_director_wire::ErrorCode;

use crate::harness::{Client, Server, backend, eventually, named};

const NO_MATCH: &str = "No matching resources found";

fn arena(wait_seconds: u64) -> String {
    json!({"resourceType": "lobby", "labelSelector": {"map": "arena"}, "waitSeconds": wait_seconds})
        .to_string()
}

fn arena_server() -> BackendSpec {
    let mut spec = backend("arena-1", "lobby", "games", named(&[("game", 4001)]));
    spec.labels.insert("map".to_owned(), "arena".to_owned());
    spec
}

/// A client whose query is held.
async fn waiting(server: &Server, document: &str) -> Client {
    let held = server.counters.held();
    let mut client = server.client().await;
    client.send(document).await;
    eventually(|| server.counters.held() == held + 1).await;
    client
}

#[tokio::test]
async fn query_waits_until_a_server_appears() {
    let server = Server::start().await;
    for end in [false, true] {
        server.publish(Vec::new());
        let mut client = waiting(&server, &arena(60)).await;
        if end {
            client.end().await;
        }
        server.publish(vec![arena_server()]);
        assert!(client.answer().await["token"].is_string(), "end: {end}");
        eventually(|| server.counters.held() == 0).await;
    }
    assert_eq!(server.counters.holds_ended(HoldEnd::Answered), 2);
    assert_eq!(server.counters.succeeded(), 2);
}

#[tokio::test]
async fn query_waits_until_a_seat_is_free() {
    let full = BackendSpec { capacity: Capacity::of(1, 0, 0), ..arena_server() };
    let server = Server::start_with(|setup| {
        setup.backends.push(full);
        setup.settings.token_ttl = Duration::from_millis(300);
    })
    .await;
    let mut client = server.client().await;
    assert!(client.ask(arena(0)).await["token"].is_string());
    assert_eq!(client.ask(arena(0)).await["error"], NO_MATCH);
    client.send(arena(60)).await;
    eventually(|| server.counters.held() == 1).await;
    let mut answer = pin!(client.answer());
    let answer = loop {
        tokio::select! {
            answer = &mut answer => break answer,
            () = tokio::task::yield_now() => server.clear_expired_tokens(),
        }
    };
    assert!(answer["token"].is_string(), "{answer}");
}

#[tokio::test]
async fn query_gets_the_usual_answer_when_its_time_is_over() {
    let server = Server::start().await;
    let asked = Instant::now();
    let answer = server.client().await.ask(arena(1)).await;
    assert_eq!(answer, json!({"error": NO_MATCH, "code": "no_matching_resources"}));
    assert!(asked.elapsed() >= Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(server.counters.holds_ended(HoldEnd::NoMatch), 1);
    assert_eq!(server.counters.failed(ErrorCode::NoMatchingResources), 1);
}

#[tokio::test]
async fn query_that_finds_something_or_is_wrong_waits_for_nothing() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let ask = async |client: &mut Client, keys: Value| {
        let mut document = json!({"resourceType": "lobby", "wait_seconds": 60});
        document.as_object_mut().expect("an object").extend(keys.as_object().expect("an object").clone());
        client.ask(document.to_string()).await
    };
    assert!(ask(&mut client, json!({})).await["token"].is_string());
    assert_eq!(ask(&mut client, json!({"resourceType": "pods"})).await["code"], "unknown_resource_type");
    assert_eq!(ask(&mut client, json!({"labelSelector": "a in"})).await["code"], "invalid_query");
    assert_eq!([HoldEnd::Answered, HoldEnd::Failed].map(|end| server.counters.holds_ended(end)), [0, 0]);
}

#[tokio::test]
async fn wait_beyond_the_bound_is_refused_and_the_bound_named() {
    let server = Server::start().await;
    let answer = server.client().await.ask(arena(61)).await;
    assert_eq!(answer["error"], "Invalid query: waitSeconds is at most 60, not 61");
    assert_eq!(answer["code"], "invalid_query");
}

#[tokio::test]
async fn client_that_goes_away_gives_its_room_back() {
    let server = Server::start_with(|setup| setup.held.total = 1).await;
    let gone = waiting(&server, &arena(60)).await;
    // An end of its side within a second may be that of a client which waits for the answer.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    drop(gone);
    eventually(|| server.counters.held() == 0).await;
    assert_eq!(server.counters.holds_ended(HoldEnd::ClientGone), 1);

    let mut broken = waiting(&server, &arena(60)).await;
    broken.end().await;
    broken.reset();
    eventually(|| server.counters.held() == 0).await;
    assert_eq!(server.counters.holds_ended(HoldEnd::ClientGone), 2);
    eventually(|| server.counters.connections() == 0).await;
}

#[tokio::test]
async fn query_beyond_the_room_is_answered_at_once() {
    let server = Server::start_with(|setup| setup.held.total = 1).await;
    let mut client = waiting(&server, &arena(60)).await;
    let answer = server.client().await.ask(arena(60)).await;
    assert_eq!(answer["error"], "Overloaded: too many queries wait; try again later");
    assert_eq!(answer["code"], "overloaded");
    assert_eq!(server.counters.holds_ended(HoldEnd::Refused), 1);
    server.publish(vec![arena_server()]);
    assert!(client.answer().await["token"].is_string(), "who is in stays");
}

#[tokio::test]
async fn one_source_cannot_take_all_the_room() {
    let server = Server::start_with(|setup| setup.held = ConnectionLimits { total: 2, per_source: 1 }).await;
    let _waits = waiting(&server, &arena(60)).await;
    assert_eq!(server.client().await.ask(arena(60)).await["code"], "overloaded");
    let mut other = server.client_from(Ipv4Addr::new(127, 0, 0, 2)).await;
    other.send(arena(60)).await;
    eventually(|| server.counters.held() == 2).await;
}

#[tokio::test]
async fn later_documents_wait_and_are_answered_in_order() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(format!("{{\"resourceType\":\"one\"}}\n{}\n{{\"resourceType\":\"two\"}}\n", arena(60))).await;
    assert_eq!(client.answer().await["error"], "Unknown resource type: one", "earlier answers are not held");
    eventually(|| server.counters.held() == 1).await;
    client.send("{\"resourceType\":\"three\"}\n").await;
    server.publish(vec![arena_server()]);
    assert!(client.answer().await["token"].is_string());
    assert_eq!(client.answer().await["error"], "Unknown resource type: two");
    assert_eq!(client.answer().await["error"], "Unknown resource type: three");
}

#[tokio::test]
async fn client_that_floods_while_it_waits_is_not_read_without_bound() {
    let server = Server::start().await;
    let mut client = waiting(&server, &arena(60)).await;
    let documents = "{\"resourceType\":\"x\"}\n".repeat(1000);
    // 20 MB fit into no socket buffer: what the server does not read stays with the client.
    let flood = async {
        for _ in 0..1000 {
            if client.writer.try_send_within(&documents, Duration::from_millis(300)).await.is_none() {
                return true;
            }
        }
        false
    };
    assert!(flood.await, "the client is held up");
    assert_eq!(server.counters.held(), 1);
}

#[tokio::test]
async fn query_whose_mapping_goes_by_a_reload_waits_no_longer() {
    let server = Server::start().await;
    let mut client = waiting(&server, &arena(60)).await;
    server.catalog.send_replace(Default::default());
    assert_eq!(client.answer().await["code"], "unknown_resource_type");
}

#[tokio::test]
async fn stopped_server_ends_what_waits_at_once() {
    let mut server = Server::start().await;
    let mut client = waiting(&server, &arena(60)).await;
    let stopped = Instant::now();
    server.stop().await;
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    assert_eq!(client.answer().await["error"], NO_MATCH);
    assert!(client.is_closed().await);
    assert_eq!(server.counters.holds_ended(HoldEnd::Stopped), 1);
}
