//! The admin API against the whole process: who plays where, why a query gets what it gets, and moves.

mod rig;

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::mpsc;
use std::thread;

use rig::{Rig, eventually, game_server, local_socket, receive, silent};
use serde_json::{Value, json};

/// An object that is no backend, so that the file is not empty.
const OTHER: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: other, namespace: games}\n";

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().expect("bound").port()
}

/// The configuration with more keys for the one mapping.
fn mapped(more: &str) -> String {
    rig::config("").replace("portName: default", &format!("portName: default, {more}"))
}

fn named(name: &str) -> Value {
    json!({"backend": {"resourceType": "gs", "namespace": "games", "name": name}})
}

fn migrate(rig: &Rig, request: &Value) -> (u16, Value) {
    rig.api("POST", "/v1/migrations", &request.to_string())
}

/// Begins a migration and waits for its end.
fn migrated(rig: &Rig, request: &Value) -> Value {
    let (status, job) = migrate(rig, request);
    assert_eq!(status, 202, "{job}");
    let path = format!("/v1/migrations/{}", job["id"]);
    eventually("the migration ends", || rig.api("GET", &path, "").1["state"] != "running");
    rig.api("GET", &path, "").1
}

fn backend(rig: &Rig, name: &str) -> Value {
    let (status, backend) = rig.api("GET", &format!("/v1/backends/gs/games/{name}"), "");
    assert_eq!(status, 200, "{backend}");
    backend
}

fn counts(rig: &Rig, name: &str) -> [u64; 3] {
    let backend = backend(rig, name);
    ["seats", "players", "sessions"].map(|key| backend[key].as_u64().expect("a number"))
}

fn says(from: &UdpSocket, text: &str, to: &UdpSocket) {
    from.send(text.as_bytes()).expect("sent");
    assert_eq!(receive(to), text.as_bytes());
}

#[test]
fn backends_tell_seats_players_and_sessions_by_name_and_by_uid() {
    let (alpha, beta) = (local_socket(), local_socket());
    let servers = [game_server("alpha", port(&alpha)), game_server("beta", port(&beta))];
    let rig = Rig::start(&mapped("capacity: {max: 2}"), &servers);
    assert_eq!(counts(&rig, "alpha"), [0, 0, 0]);
    let _player = rig.player("alpha");
    rig.token("alpha");
    assert_eq!(counts(&rig, "alpha"), [2, 1, 1], "one plays, one is about to");
    let (_, by_uid) = rig.api("GET", "/v1/backends/uid/uid-alpha", "");
    assert_eq!(by_uid, backend(&rig, "alpha"));
    assert_eq!((&by_uid["capacity"], &by_uid["accepting"]), (&json!(2), &json!(true)));
    let refused = rig.query(r#"{"resourceType": "gs", "labelSelector": {"server": "alpha"}}"#);
    assert_eq!(refused["code"], "no_matching_resources", "both seats are taken");
    let (status, unknown) = rig.api("GET", "/v1/backends/uid/uid-gamma", "");
    assert_eq!((status, &unknown["code"]), (404, &json!("not_found")));
    let (_, page) = rig.api("GET", "/v1/backends?limit=1", "");
    assert_eq!((&page["backends"][0]["name"], &page["next"]), (&json!("alpha"), &json!("gs/games/alpha")));
    let (_, rest) = rig.api("GET", "/v1/backends?after=gs/games/alpha", "");
    assert_eq!((&rest["backends"][0]["name"], &rest["next"]), (&json!("beta"), &Value::Null));
}

#[test]
fn sessions_tell_where_they_are_and_never_their_token() {
    let (alpha, beta) = (local_socket(), local_socket());
    let servers = [game_server("alpha", port(&alpha)), game_server("beta", port(&beta))];
    let rig = Rig::start(&rig::config(""), &servers);
    let players = [rig.player("alpha"), rig.player("alpha"), rig.player("beta")];
    says(&players[0], "hello", &alpha);
    let (_, all) = rig.api("GET", "/v1/sessions?limit=2", "");
    assert_eq!((all["sessions"].as_array().expect("a list").len(), &all["next"]), (2, &json!(2)));
    let (_, on_beta) = rig.api("GET", "/v1/sessions?backend=gs/games/beta", "");
    assert_eq!(on_beta["sessions"].as_array().expect("a list").len(), 1);
    let (_, first) = rig.api("GET", "/v1/sessions/1", "");
    assert_eq!((&first["backend"], &first["listener"]), (&json!("gs/games/alpha"), &json!("udp")));
    assert_eq!(first["client"], players[0].local_addr().expect("bound").to_string());
    assert_eq!(first["toBackend"], json!({"datagrams": 1, "bytes": 5}));
    assert_eq!(first["tokenFingerprint"].as_str().expect("a text").len(), 8);
    assert!(first.get("token").is_none());
    assert_eq!(rig.api("GET", "/v1/sessions/99", "").0, 404);
}

#[test]
fn operator_moves_one_player_a_share_or_all() {
    let (alpha, beta) = (local_socket(), local_socket());
    let servers = [game_server("alpha", port(&alpha)), game_server("beta", port(&beta))];
    let rig = Rig::start(&rig::config(""), &servers);
    let players: Vec<UdpSocket> = (0..8).map(|_| rig.player("alpha")).collect();
    let job = migrated(&rig, &json!({"from": {"session": 1}, "to": named("beta")}));
    assert_eq!((&job["state"], &job["total"], &job["moved"]), (&json!("done"), &json!(1), &json!(1)));
    says(&players[0], "moved", &beta);
    says(&players[1], "not moved", &alpha);
    let all = json!({"labelSelector": {"server": "beta"}, "resourceType": "gs"});
    let to = json!({"query": all});
    let job = migrated(&rig, &json!({"from": named("alpha"), "share": 0.3, "to": to}));
    assert_eq!((&job["total"], &job["moved"]), (&json!(3), &json!(3)), "three tenths of seven");
    assert_eq!((counts(&rig, "alpha"), counts(&rig, "beta")), ([4, 4, 4], [4, 4, 4]));
    let job = migrated(&rig, &json!({"from": named("alpha"), "to": named("beta"), "perSecond": 1000}));
    assert_eq!(job["moved"], 4);
    assert_eq!((counts(&rig, "alpha"), counts(&rig, "beta")), ([0, 0, 0], [8, 8, 8]));
    for (number, player) in players.iter().enumerate() {
        says(player, &format!("player {number}"), &beta);
    }
    assert_eq!(rig.metric_where("udp_director_session_events_total", "migrated_by_operator"), 8.0);
    assert_eq!(rig.api("GET", "/v1/migrations", "").1["migrations"].as_array().expect("a list").len(), 3);
}

#[test]
fn dry_run_tells_who_would_go_where_and_moves_nobody() {
    let (alpha, beta) = (local_socket(), local_socket());
    let servers = [game_server("alpha", port(&alpha)), game_server("beta", port(&beta))];
    let rig = Rig::start(&mapped("capacity: {max: 3}"), &servers);
    let _players: Vec<UdpSocket> = (0..3).map(|_| rig.player("alpha")).collect();
    let _there: Vec<UdpSocket> = (0..2).map(|_| rig.player("beta")).collect();
    let request = json!({"from": named("alpha"), "to": named("beta"), "dryRun": true});
    let (status, rehearsal) = migrate(&rig, &request);
    assert_eq!(status, 200, "{rehearsal}");
    let expected = json!({"total": 3, "to": {"gs/games/beta": 1}, "byReason": {"backend_full": 2}});
    assert_eq!(rehearsal, expected);
    assert_eq!((counts(&rig, "alpha"), counts(&rig, "beta")), ([3, 3, 3], [2, 2, 2]));
    let job = migrated(&rig, &json!({"from": named("alpha"), "to": named("beta")}));
    assert_eq!((&job["moved"], &job["byReason"]), (&json!(1), &json!({"backend_full": 2})));
    assert_eq!((counts(&rig, "alpha"), counts(&rig, "beta")), ([2, 2, 2], [3, 3, 3]));
}

#[test]
fn slow_migration_can_be_aborted() {
    let (alpha, beta) = (local_socket(), local_socket());
    let servers = [game_server("alpha", port(&alpha)), game_server("beta", port(&beta))];
    let rig = Rig::start(&rig::config("maxMigrationsPerSecond: 1\n"), &servers);
    let _players: Vec<UdpSocket> = (0..6).map(|_| rig.player("alpha")).collect();
    let (_, job) = migrate(&rig, &json!({"from": named("alpha"), "to": named("beta")}));
    let path = format!("/v1/migrations/{}", job["id"]);
    let (status, aborted) = rig.api("DELETE", &path, "");
    assert_eq!((status, &aborted["state"]), (200, &json!("aborted")));
    let moved = rig.api("GET", &path, "").1["moved"].as_u64().expect("a number");
    assert_eq!(counts(&rig, "alpha")[1] + counts(&rig, "beta")[1], 6);
    assert!(moved < 6, "those who had not moved stay");
}

#[test]
fn request_that_can_come_to_nothing_is_a_problem() {
    let (alpha, beta) = (local_socket(), local_socket());
    let draining = game_server("gamma", 9).replace("server: gamma", "udp-director.io/draining: 'true'");
    let servers = [game_server("alpha", port(&alpha)), game_server("beta", port(&beta)), draining];
    let rig = Rig::start(&mapped("capacity: {max: 1}"), &servers);
    let _players = [rig.player("alpha"), rig.player("beta")];
    let session = json!({"session": 1});
    for (request, status, code) in [
        (json!({"from": session, "to": named("alpha")}), 409, "already_there"),
        (json!({"from": named("alpha"), "to": named("alpha")}), 409, "already_there"),
        (json!({"from": session, "to": named("beta")}), 409, "backend_full"),
        (json!({"from": session, "to": named("gamma")}), 409, "backend_withheld"),
        (json!({"from": session, "to": named("delta")}), 404, "not_found"),
        (json!({"from": session}), 409, "no_match"),
        (json!({"from": {"session": 99}, "to": named("beta")}), 404, "not_found"),
        (json!({"from": named("delta")}), 404, "not_found"),
        (json!({"from": named("alpha"), "share": 0}), 400, "bad_request"),
        (json!({"from": named("alpha"), "share": 1.5}), 400, "bad_request"),
        (json!({"from": session, "share": 0.5}), 400, "bad_request"),
        (json!({"from": session, "perSecond": 0}), 400, "bad_request"),
        (json!({"from": {}}), 400, "bad_request"),
        (json!({"from": session, "to": {}}), 400, "bad_request"),
        (json!({"from": session, "too": {}}), 400, "bad_request"),
        (json!({"from": session, "to": {"query": {"resourceType": "x"}}}), 400, "unknown_resource_type"),
        (
            json!({"from": session, "to": {"query": {"resourceType": "gs", "labelSelector": "("}}}),
            400,
            "invalid_query",
        ),
        (json!([]), 400, "bad_request"),
    ] {
        let (answered, problem) = migrate(&rig, &request);
        assert_eq!((answered, &problem["code"]), (status, &json!(code)), "{request}: {problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    }
    assert_eq!(rig.api("POST", "/v1/migrations", &" ".repeat(70_000)).0, 413);
    for (method, path, status) in [
        ("DELETE", "/v1/migrations/7", 404),
        ("GET", "/v1/migrations/x", 404),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/migrations", 405),
        ("GET", "/v1/backends?limit=0", 400),
        ("GET", "/v1/backends?limit=1001", 400),
        ("GET", "/v1/backends?limt=1", 400),
        ("GET", "/v1/sessions?after=x", 400),
    ] {
        assert_eq!(rig.api(method, path, "").0, status, "{method} {path}");
    }
    assert_eq!(rig.metric("udp_director_active_sessions"), 2.0);
}

#[test]
fn explanation_names_the_winner_and_why_others_are_not() {
    let servers = [
        game_server("alpha", 1),
        game_server("beta", 2).replace("state: Ready", "state: Shutdown"),
        game_server("gamma", 3).replace("server: gamma", "server: gamma, map: dust"),
    ];
    let rig = Rig::start(&mapped("capacity: {max: 1}"), &servers);
    let explain = |query: Value| rig.api("POST", "/v1/explain", &query.to_string());
    let (status, told) = explain(json!({"resourceType": "gs", "labelSelector": "map!=dust"}));
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["winner"], "gs/games/alpha");
    assert_eq!((&told["total"], &told["eligible"]), (&json!(3), &json!(1)));
    assert_eq!(told["refused"], json!({"withheld": 1, "label": 1}));
    assert_eq!(told["candidates"][0]["score"]["seatsFree"], 1);
    assert_eq!(told["candidates"][1]["why"], "it is not ready: its state is \"Shutdown\"");
    assert_eq!(told["candidates"][2]["why"], "its labels are not map notin (dust)");
    assert_eq!(rig.metric("udp_director_token_cache_size"), 0.0, "no token is given");
    rig.token("alpha");
    let (_, told) = explain(json!({"resourceType": "gs", "labelSelector": "map!=dust"}));
    assert_eq!((&told["winner"], &told["refused"]["full"]), (&Value::Null, &json!(1)));
    let (status, unknown) = explain(json!({"resourceType": "gs", "namespace": "kube-system"}));
    let (_, other) = explain(json!({"resourceType": "x"}));
    assert_eq!((status, &unknown["code"]), (400, &json!("unknown_resource_type")));
    assert_eq!(unknown["detail"], "Unknown resource type: gs");
    assert_eq!(other["detail"], "Unknown resource type: x");
    let (status, wrong) = explain(json!({"resourceType": "gs", "stickyKey": "k".repeat(257)}));
    assert_eq!((status, &wrong["code"]), (400, &json!("invalid_query")));
}

/// Answers notices with that status, and tells what they say.
fn notices(answer: &'static str) -> (u16, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let (told, notices) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            let body = loop {
                let read = stream.read(&mut buffer).expect("a request");
                request.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
                if let Some(body) = body.and_then(|body| serde_json::from_str::<Value>(&body).ok()) {
                    break body;
                }
            };
            if answer.is_empty() {
                std::mem::forget(stream);
            } else {
                write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").expect("answered");
            }
            if told.send(body).is_err() {
                return;
            }
        }
    });
    (port, notices)
}

#[test]
fn backend_is_asked_before_a_player_comes_and_its_no_is_respected() {
    for (answer, moved, reason) in [
        ("204 No Content", 1, None),
        ("409 Conflict", 0, Some("notice_refused")),
        ("", 0, Some("notice_failed")),
    ] {
        let (alpha, beta) = (local_socket(), local_socket());
        let servers = [game_server("alpha", port(&alpha)), game_server("beta", port(&beta))];
        let (notice_port, told) = notices(answer);
        let notice = format!("migrationNotice: {{port: {notice_port}, path: /moves, deadlineMs: 300}}");
        let rig = Rig::start(&mapped(&notice), &servers);
        let player = rig.player("alpha");
        let job = migrated(&rig, &json!({"from": {"session": 1}, "to": named("beta")}));
        assert_eq!(job["moved"], moved, "{answer}: {job}");
        assert_eq!(job["byReason"], reason.map_or(json!({}), |reason| json!({reason: 1})));
        let notice = told.recv().expect("a notice");
        assert_eq!((&notice["sessions"], &notice["deadlineMs"]), (&json!([1]), &json!(300)));
        assert_eq!(notice["from"], json!({"resourceType": "gs", "namespace": "games", "name": "alpha"}));
        assert_eq!(notice["to"]["name"], "beta");
        says(&player, "on", if moved == 1 { &beta } else { &alpha });
    }
}

#[test]
fn notice_that_nobody_takes_leaves_the_player_where_he_is() {
    let (alpha, beta) = (local_socket(), local_socket());
    let servers = [game_server("alpha", port(&alpha)), game_server("beta", port(&beta))];
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let notice = format!("migrationNotice: {{port: {closed}, path: /}}");
    let rig = Rig::start(&mapped(&notice), &servers);
    let player = rig.player("alpha");
    let job = migrated(&rig, &json!({"from": {"session": 1}, "to": named("beta")}));
    assert_eq!(job["byReason"], json!({"notice_failed": 1}));
    says(&player, "on", &alpha);
}

#[test]
fn player_whose_server_is_gone_waits_for_another_and_nothing_reaches_the_old_address() {
    let (alpha, beta) = (local_socket(), local_socket());
    let rig = Rig::start(&rig::config(""), &[game_server("alpha", port(&alpha))]);
    let token = rig.query(r#"{"resourceType": "gs"}"#)["token"].as_str().expect("a token").to_owned();
    let player = rig.udp_client("udp");
    player.send(token.as_bytes()).expect("sent");
    says(&player, "before", &alpha);
    rig.write_objects(&[OTHER.to_owned()]);
    eventually("the session is parked", || rig.api("GET", "/v1/sessions/1", "").1["parked"] == true);
    player.send(b"into the void").expect("sent");
    eventually("it is dropped", || rig.metric_where("udp_director_drops_total", "parked") == 1.0);
    assert!(silent(&alpha));
    rig.write_objects(&[game_server("beta", port(&beta))]);
    eventually("he is moved", || rig.api("GET", "/v1/sessions/1", "").1["parked"] == false);
    says(&player, "after", &beta);
    assert_eq!(rig.metric("udp_director_active_sessions"), 1.0);
}

#[test]
fn player_whose_server_comes_back_plays_on_there() {
    let alpha = local_socket();
    let rig = Rig::start(&mapped("capacity: {max: 1}"), &[game_server("alpha", port(&alpha))]);
    let player = rig.player("alpha");
    rig.write_objects(&[OTHER.to_owned()]);
    eventually("the session is parked", || rig.api("GET", "/v1/sessions/1", "").1["parked"] == true);
    rig.write_objects(&[game_server("alpha", port(&alpha))]);
    eventually("it goes on", || rig.api("GET", "/v1/sessions/1", "").1["parked"] == false);
    says(&player, "after", &alpha);
    assert_eq!(counts(&rig, "alpha"), [1, 1, 1], "in the one seat");
}

#[test]
fn session_for_which_nothing_matches_ends_where_the_mapping_says_so() {
    let alpha = local_socket();
    let rig = Rig::start(&mapped("whenNothingMatches: close"), &[game_server("alpha", port(&alpha))]);
    let _player = rig.player("alpha");
    rig.write_objects(&[OTHER.to_owned()]);
    eventually("the session ends", || rig.metric("udp_director_active_sessions") == 0.0);
    assert_eq!(rig.metric_where("udp_director_session_events_total", "ended_backend_gone"), 1.0);
}

#[test]
fn explanation_is_what_a_query_gets_by_every_strategy() {
    for strategy in ["first", "roundRobin", "leastSessions", "labelArithmetic", "packed", "stickyKey"] {
        let sockets = ["alpha", "beta", "gamma"].map(|name| (name, local_socket()));
        let servers: Vec<_> = sockets.iter().map(|(name, socket)| game_server(name, port(socket))).collect();
        let keys = format!("exposeBackend: true\nloadBalancing: {{type: {strategy}}}\n");
        let config = format!("{keys}{}", mapped("capacity: {max: 2}"));
        let rig = Rig::start(&config, &servers);
        for turn in 0..7 {
            let key = if turn % 2 == 1 { r#", "stickyKey": "party""# } else { "" };
            let query = format!(r#"{{"resourceType": "gs"{key}}}"#);
            let (_, told) = rig.api("POST", "/v1/explain", &query);
            assert_eq!((&told["strategy"], &told["byChance"]), (&json!(strategy), &json!(false)));
            let winner = sockets.iter().find(|(name, _)| told["winner"] == format!("gs/games/{name}"));
            let address = winner.map(|(_, socket)| socket.local_addr().expect("bound").to_string());
            assert_eq!(rig.query(&query)["backend"].as_str(), address.as_deref(), "{strategy}, {turn}");
            assert_eq!(address.is_some(), turn < 6, "{strategy}: seats for six");
        }
    }
}
