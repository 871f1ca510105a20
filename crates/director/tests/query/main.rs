//! The query server over real sockets, with a real ledger.

mod allocation;
mod harness;
mod selection;
mod waiting;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use harness::{Client, Server, backend, eventually, named};
use serde_json::json;
use udp_director_core::{ListenerId, Place, Refusal, WorkerId};
use udp_director_director::query::{Bound, Catalog, ConnectionLimits};
use udp_director_wire::ErrorCode;

const LOBBY: &str = r#"{"resourceType":"lobby"}"#;

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn query_gives_a_token_that_the_asking_ip_can_redeem() {
    let server = Server::start().await;
    let answer = server.client().await.ask(LOBBY).await;
    assert_eq!(answer["expiresInSeconds"], 30);
    assert_eq!(answer["ports"], json!({"game": 7777, "chat": 7778}));
    assert_eq!(answer.get("backend"), None);
    let token = answer["token"].as_str().expect("a token");
    assert!(server.admits(token, "127.0.0.1:4000"));
    assert!(!server.admits(token, "127.0.0.2:4000"));
}

#[tokio::test]
async fn both_spellings_are_understood() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for document in [
        r#"{"type":"query","resourceType":"lobby","labelSelector":{"tier":"gold"},"stickyKey":"anna"}"#,
        r#"{"resource_type":"lobby","label_selector":"tier in (gold,silver)","sticky_key":"anna"}"#,
        r#"{"resourceType":"lobby","statusQuery":{"jsonPath":"$.status.phase","expectedValue":"Running"}}"#,
        r#"{"resource_type":"lobby","status_query":{"json_path":"status.phase","expected_values":["Running"]}}"#,
    ] {
        let answer = client.ask(document).await;
        assert!(answer["token"].is_string(), "{document}: {answer}");
    }
}

#[tokio::test]
async fn documents_are_answered_however_they_are_framed() {
    let server = Server::start().await;
    let pretty =
        serde_json::to_string_pretty(&json!({"resourceType": "lobby", "labelSelector": {}})).expect("JSON");
    for (stream, answers) in [
        (format!("{LOBBY}\n"), 1),
        (format!("{LOBBY}\r\n"), 1),
        (LOBBY.to_owned(), 1),
        (format!("\n\r\n  \n{LOBBY}\n\n"), 1),
        (format!("{LOBBY}\n{LOBBY}\n{LOBBY}"), 3),
        (format!("{LOBBY}{LOBBY}"), 2),
        (format!("{pretty}\n{pretty}"), 2),
    ] {
        let mut client = server.client().await;
        client.send(&stream).await;
        for _ in 0..answers {
            assert!(client.answer().await["token"].is_string(), "{stream}");
        }
    }
}

#[tokio::test]
async fn documents_may_arrive_byte_by_byte() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for byte in format!("{LOBBY}\n{LOBBY}").bytes() {
        client.send([byte]).await;
    }
    for _ in 0..2 {
        assert!(client.answer().await["token"].is_string());
    }
}

#[tokio::test]
async fn end_of_the_stream_ends_a_document_and_its_answer_still_comes() {
    let server = Server::start().await;
    for (stream, code) in
        [(LOBBY, None), (r#"{"resourceType":"#, Some("invalid_json")), ("lobby", Some("invalid_json"))]
    {
        let mut client = server.client().await;
        client.send(stream).await;
        client.end().await;
        let answer = client.answer().await;
        assert_eq!(answer["code"].as_str(), code, "{stream}: {answer}");
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn hundreds_of_documents_at_once_are_answered_in_order() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let documents: String = (0..500).map(|i| format!("{{\"resourceType\":\"unknown-{i}\"}}\n")).collect();
    client.send(&documents).await;
    for i in 0..500 {
        assert_eq!(client.answer().await["error"], format!("Unknown resource type: unknown-{i}"));
    }
}

#[tokio::test]
async fn longest_document_is_answered_and_one_byte_more_is_not() {
    let server = Server::start().await;
    let padded = |length: usize| format!(r#"{{"resourceType":"lobby"{}}}"#, " ".repeat(length - LOBBY.len()));
    let mut client = server.client().await;
    client.send(format!("{}\n", padded(65_536))).await;
    assert!(client.answer().await["token"].is_string());
    client.send(format!("{LOBBY}\n{}\n{LOBBY}\n", padded(65_537))).await;
    assert!(client.answer().await["token"].is_string());
    assert_eq!(client.answer().await["code"], "too_large");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn too_large_is_told_although_the_client_still_sends() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send("x".repeat(200_000)).await;
    assert_eq!(client.answer().await["code"], "too_large");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn connection_outlives_documents_that_cannot_be_read() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let deep = |open: &str| format!("{}\n", open.repeat(30_000 / open.len()));
    for (document, code) in [
        (b"nonsense\n".to_vec(), "invalid_json"),
        (b"\xff\xfe{}\n".to_vec(), "invalid_json"),
        (b"{\"resourceType\":\"\xff\"}\n".to_vec(), "invalid_json"),
        (b"{\"resourceType\":\"lobby\n".to_vec(), "invalid_json"),
        (b"{\"resourceType\":\"lobby\"\n".to_vec(), "invalid_json"),
        (b"{\"a\0\":1}\n".to_vec(), "invalid_json"),
        (deep("[").into_bytes(), "invalid_json"),
        (deep("{\"a\":").into_bytes(), "invalid_json"),
        (b"[]\n".to_vec(), "invalid_query"),
        (b"{}\n".to_vec(), "invalid_query"),
    ] {
        client.send(&document).await;
        let shown = String::from_utf8_lossy(&document[..document.len().min(40)]).into_owned();
        assert_eq!(client.answer().await["code"], code, "{shown}");
    }
    assert!(client.ask(LOBBY).await["token"].is_string());
}

#[tokio::test]
async fn line_after_a_cut_object_is_a_document_of_its_own() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(format!("{{\"resourceType\":\n{LOBBY}\n")).await;
    assert_eq!(client.answer().await["code"], "invalid_json");
    assert!(client.answer().await["token"].is_string());
}

#[tokio::test]
async fn every_error_has_its_code() {
    let server = Server::start_with(|setup| {
        setup.settings.limits.max_pending_tokens = 1;
        setup.deadlines.document = SHORT;
    })
    .await;
    let mut client = server.client().await;
    assert!(client.ask(LOBBY).await["token"].is_string());
    for (document, code) in [
        ("nonsense\n", ErrorCode::InvalidJson),
        (r#"{"resourceType":"lobby","labelselector":{}}"#, ErrorCode::InvalidQuery),
        (r#"{"resourceType":"lobby","labelSelector":"a in"}"#, ErrorCode::InvalidQuery),
        (r#"{"resourceType":"gameserver"}"#, ErrorCode::InvalidQuery),
        (r#"{"resourceType":"pods"}"#, ErrorCode::UnknownResourceType),
        (r#"{"resourceType":"lobby","namespace":"kube-system"}"#, ErrorCode::UnknownResourceType),
        (r#"{"resourceType":"lobby","labelSelector":{"tier":"none"}}"#, ErrorCode::NoMatchingResources),
        (r#"{"resourceType":"lobby","clientIp":"192.0.2.1"}"#, ErrorCode::Forbidden),
        (LOBBY, ErrorCode::Overloaded),
    ] {
        assert_eq!(client.ask(document).await["code"], code.as_str(), "{document}");
        assert!(server.counters.failed(code) > 0);
    }
    client.send("{").await;
    assert_eq!(client.answer().await["code"], "timeout");
    assert_eq!(server.counters.failed(ErrorCode::Timeout), 1);
    assert_eq!(server.counters.succeeded(), 1);
}

#[tokio::test]
async fn unknown_type_and_namespace_that_is_not_allowed_get_the_same_answer() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let unknown = client.ask(r#"{"resourceType":"pods"}"#).await;
    let hidden = client.ask(r#"{"resourceType":"lobby","namespace":"kube-system"}"#).await;
    assert_eq!(unknown, json!({"error": "Unknown resource type: pods", "code": "unknown_resource_type"}));
    assert_eq!(hidden, json!({"error": "Unknown resource type: lobby", "code": "unknown_resource_type"}));
}

#[tokio::test]
async fn missing_namespace_is_named_and_a_given_one_chooses() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let missing = client.ask(r#"{"resourceType":"gameserver"}"#).await;
    assert!(missing["error"].as_str().expect("a text").contains("`namespace` is required"), "{missing}");
    let answer = client.ask(r#"{"resourceType":"gameserver","namespace":"east"}"#).await;
    assert_eq!(answer["ports"], json!({"game": 7777}));
    let answer = client.ask(r#"{"resourceType":"gameserver","namespace":"west"}"#).await;
    assert_eq!(answer["code"], "no_matching_resources");
}

#[tokio::test]
async fn own_ip_may_be_named() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for ip in ["127.0.0.1", "::ffff:127.0.0.1"] {
        let answer = client.ask(json!({"resourceType": "lobby", "clientIp": ip}).to_string()).await;
        assert!(answer["token"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn backend_that_no_listener_leads_to_is_no_match() {
    let unreachable = backend("a-unreachable", "lobby", "games", named(&[("voice", 1)]));
    let server = Server::start_with(|setup| setup.backends.push(unreachable)).await;
    let mut client = server.client().await;
    for _ in 0..4 {
        assert_eq!(client.ask(LOBBY).await["ports"], json!({"game": 7777, "chat": 7778}));
    }
    server.keep_backends(|spec| spec.name == "a-unreachable");
    assert_eq!(client.ask(LOBBY).await["code"], "no_matching_resources");
}

#[tokio::test]
async fn backend_is_told_only_where_that_is_configured() {
    let server = Server::start_with(|setup| setup.catalog.expose_backend = true).await;
    let mut client = server.client().await;
    assert_eq!(client.ask(LOBBY).await["backend"], "10.0.0.1:4001");
    server.catalog.send_replace(Arc::new(Catalog::default()));
    assert_eq!(client.ask(LOBBY).await["code"], "unknown_resource_type");
}

#[tokio::test]
async fn token_that_is_not_bound_is_good_from_anywhere() {
    let server = Server::start_with(|setup| setup.catalog.bind_client_ip = false).await;
    let answer = server.client().await.ask(LOBBY).await;
    assert!(server.admits(answer["token"].as_str().expect("a token"), "192.0.2.1:4000"));
}

#[tokio::test]
async fn ipv4_client_of_a_dual_stack_port_is_an_ipv4_client() {
    let server = Server::start_with(|setup| setup.bind = "[::]:0".parse().expect("an address")).await;
    let mut client = Client::connect((Ipv4Addr::LOCALHOST, server.addr.port())).await;
    let answer = client.ask(LOBBY).await;
    assert!(server.admits(answer["token"].as_str().expect("a token"), "127.0.0.1:4000"));
}

#[tokio::test]
async fn ipv6_client_gets_a_token_for_its_ip() {
    let server = Server::start_with(|setup| setup.bind = "[::1]:0".parse().expect("an address")).await;
    let answer = server.client().await.ask(LOBBY).await;
    let token = answer["token"].as_str().expect("a token");
    assert!(server.admits(token, "[::1]:4000") && !server.admits(token, "127.0.0.1:4000"));
}

#[tokio::test]
async fn slow_document_is_a_timeout_however_often_a_byte_comes() {
    let server = Server::start_with(|setup| setup.deadlines.document = SHORT).await;
    let mut client = server.client().await;
    assert!(client.ask(LOBBY).await["token"].is_string());
    let Client { reader, writer } = &mut client;
    let trickle = async {
        let mut tick = tokio::time::interval(SHORT / 8);
        loop {
            tick.tick().await;
            writer.send("{").await;
        }
    };
    tokio::select! {
        answer = reader.answer() => assert_eq!(answer["code"], "timeout"),
        () = trickle => unreachable!("it trickles for ever"),
    }
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn idle_connection_is_told_and_closed_and_counts_as_no_query() {
    let server = Server::start_with(|setup| setup.deadlines.idle = SHORT).await;
    let mut client = server.client().await;
    assert_eq!(client.answer().await["code"], "timeout");
    assert!(client.is_closed().await);
    assert_eq!(server.counters.failed(ErrorCode::Timeout), 0);
    eventually(|| server.counters.connections() == 0).await;
}

#[tokio::test]
async fn client_that_does_not_take_its_answers_is_dropped() {
    let server = Server::start_with(|setup| setup.deadlines.write = SHORT).await;
    let mut client = server.client().await;
    let documents = "x\n".repeat(10_000);
    while client.writer.try_send(&documents).await.is_ok() {}
    eventually(|| server.counters.connections() == 0).await;
}

#[tokio::test]
async fn newcomer_beyond_the_bounds_is_told_and_those_inside_stay() {
    let limits = ConnectionLimits { total: 3, per_source: 2 };
    let server = Server::start_with(|setup| setup.limits = limits).await;
    let mut inside = vec![server.client().await, server.client().await];
    for client in &mut inside {
        assert!(client.ask(LOBBY).await["token"].is_string());
    }
    let mut refused = server.client().await;
    refused.send(LOBBY).await;
    assert_eq!(refused.answer().await["code"], "overloaded");
    assert!(refused.is_closed().await);
    inside.push(server.client_from(Ipv4Addr::new(127, 0, 0, 2)).await);
    assert!(inside[2].ask(LOBBY).await["token"].is_string());
    let mut refused = server.client_from(Ipv4Addr::new(127, 0, 0, 3)).await;
    assert_eq!(refused.answer().await["code"], "overloaded");
    assert_eq!([Bound::Source, Bound::Total].map(|bound| server.counters.refused(bound)), [1, 1]);
    for client in &mut inside {
        assert!(client.ask(LOBBY).await["token"].is_string());
    }
    drop(inside);
    eventually(|| server.counters.connections() == 0).await;
    assert!(server.client().await.ask(LOBBY).await["token"].is_string());
}

#[tokio::test]
async fn stopped_server_closes_idle_connections_and_accepts_nobody() {
    let mut server = Server::start().await;
    let mut client = server.client().await;
    assert!(client.ask(LOBBY).await["token"].is_string());
    server.stop().await;
    assert!(client.is_closed().await);
    assert!(tokio::net::TcpStream::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn reset_moves_the_session_on_every_listener() {
    let mut server = Server::start().await;
    let mut client = server.client().await;
    let session = client.token(LOBBY).await;
    server.play(&session, [ListenerId(0), ListenerId(1)]);
    let token = client.token(LOBBY).await;
    client.send(reset(&session, &token)).await;
    for _ in 0..2 {
        let migration = server.migrations.recv().await.expect("a migration");
        assert_eq!(migration.token.as_str(), token);
        migration.done.send(Ok(())).expect("awaited");
    }
    assert_eq!(client.answer().await, json!({"migrated": 2}));
}

#[tokio::test]
async fn reset_in_snake_case_that_moves_something_passes_over_listeners_without_a_port() {
    let mut server = Server::start().await;
    let mut client = server.client().await;
    let session = client.token(LOBBY).await;
    server.play(&session, [ListenerId(0), ListenerId(1)]);
    let token = client.token(LOBBY).await;
    client.send(reset(&session, &token).replace("sessionReset", "session_reset")).await;
    for outcome in [Err(Refusal::NoPort), Ok(())] {
        server.migrations.recv().await.expect("a migration").done.send(outcome).expect("awaited");
    }
    assert_eq!(client.answer().await, json!({"migrated": 1}));
}

#[tokio::test]
async fn reset_that_cannot_move_the_tcp_session_leaves_the_udp_session_where_it_is() {
    let mut server = Server::start().await;
    let mut client = server.client().await;
    let session = client.token(LOBBY).await;
    server.play_at(Place::Worker(WorkerId(0)), &session, ListenerId(0));
    server.play_at(Place::Stream, &session, ListenerId(1));
    let token = client.token(LOBBY).await;
    client.send(reset(&session, &token)).await;
    let migration = server.migrations.recv().await.expect("a migration");
    assert_eq!(migration.session.place, Place::Stream, "what can fail goes first");
    migration.done.send(Err(Refusal::BackendUnreachable)).expect("awaited");
    assert_eq!(client.answer().await["code"], "backend_unreachable");
    assert!(server.migrations.try_recv().is_err(), "nothing else moves");

    client.send(reset(&session, &token)).await;
    for place in [Place::Stream, Place::Worker(WorkerId(0))] {
        let migration = server.migrations.recv().await.expect("a migration");
        assert_eq!(migration.session.place, place);
        migration.done.send(Ok(())).expect("awaited");
    }
    assert_eq!(client.answer().await, json!({"migrated": 2}));
}

#[tokio::test]
async fn reset_that_moves_nothing_says_why() {
    let mut server = Server::start().await;
    let mut client = server.client().await;
    let session = client.token(LOBBY).await;
    server.play(&session, [ListenerId(0)]);
    for (refusal, code) in [
        (Refusal::UsedToken, "invalid_token"),
        (Refusal::NoPort, "backend_unreachable"),
        (Refusal::NoUpstream, "overloaded"),
    ] {
        let token = client.token(LOBBY).await;
        client.send(reset(&session, &token)).await;
        let migration = server.migrations.recv().await.expect("a migration");
        migration.done.send(Err(refusal)).expect("awaited");
        assert_eq!(client.answer().await["code"], code);
    }
}

#[tokio::test]
async fn reset_with_a_token_that_is_not_good_is_refused_at_once() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let (session, idle) = (client.token(LOBBY).await, client.token(LOBBY).await);
    server.play(&session, [ListenerId(0)]);
    let forged = "0b6f2c1e-8f3a-4c55-9d0e-3f6a1b2c4d5e";
    for (session, token) in [(session.as_str(), forged), (&idle, &idle), (forged, &idle)] {
        let answer = client.ask(reset(session, token)).await;
        assert_eq!(answer, json!({"error": "Invalid or expired token", "code": "invalid_token"}));
    }
}

#[tokio::test]
async fn reset_that_the_data_plane_does_not_carry_out_in_time_is_given_up() {
    let server = Server::start_with(|setup| setup.deadlines.reset = Duration::from_millis(50)).await;
    let mut client = server.client().await;
    let session = client.token(LOBBY).await;
    server.play(&session, [ListenerId(0)]);
    let token = client.token(LOBBY).await;
    assert_eq!(client.ask(reset(&session, &token)).await["code"], "overloaded");
}

fn reset(session: &str, token: &str) -> String {
    json!({"type": "sessionReset", "session": session, "token": token}).to_string()
}
