//! Backends that leave, against the whole process: who moves, who stays, and who is parked.

mod rig;

use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use rig::{Rig, eventually, game_server, local_socket, receive, silent};
use serde_json::json;

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().expect("bound").port()
}

/// A configuration with more keys, and more for the one mapping.
fn configured(keys: &str, mapping: &str) -> String {
    rig::config(keys).replace("portName: default", &format!("portName: default, {mapping}"))
}

/// A server with a label `map`, and with what else its metadata or its status say.
fn server(name: &str, socket: &UdpSocket, map: &str) -> String {
    let labels = format!("labels: {{server: {name}, map: {map}}}");
    game_server(name, port(socket)).replace(&format!("labels: {{server: {name}}}"), &labels)
}

fn draining(object: &str) -> String {
    object
        .replace("namespace: games,", "namespace: games, annotations: {udp-director.io/draining: \"true\"},")
}

fn unready(object: &str) -> String {
    object.replace("state: Ready", "state: Unhealthy")
}

/// A player who would as soon play on any server with that map.
fn player_of(rig: &Rig, map: &str) -> UdpSocket {
    let query = json!({"resourceType": "gs", "labelSelector": {"map": map}}).to_string();
    let token = rig.query(&query)["token"].as_str().expect("a token").to_owned();
    let sessions = rig.metric("udp_director_active_sessions");
    let player = rig.udp_client("udp");
    player.send(token.as_bytes()).expect("sent");
    eventually("the session begins", || rig.metric("udp_director_active_sessions") == sessions + 1.0);
    player
}

fn says(player: &UdpSocket, text: &str, to: &UdpSocket) {
    player.send(text.as_bytes()).expect("sent");
    assert_eq!(receive(to), text.as_bytes());
}

fn players_on(rig: &Rig, name: &str) -> u64 {
    let (_, backend) = rig.api("GET", &format!("/v1/backends/gs/games/{name}"), "");
    backend["players"].as_u64().unwrap_or_default()
}

#[test]
fn players_with_nowhere_to_go_hold_up_no_operator() {
    let sockets = [(); 4].map(|()| local_socket());
    let [alpha, beta, gamma, delta] = ["alpha", "beta", "gamma", "delta"];
    let maps = ["snow", "sand", "sand", "sand"];
    let object = |n: usize, name| server(name, &sockets[n], maps[n]);
    let all = [object(0, alpha), object(1, beta), object(2, gamma), object(3, delta)];
    let keys = "maxMigrationsPerSecond: 1\n";
    let rig = Rig::start(&configured(keys, "whenLost: migrate"), &all);
    let _stuck = [(); 5].map(|()| player_of(&rig, "snow"));
    let _moved = rig.player(beta);
    rig.write_objects(&[draining(&all[0]), all[1].clone(), all[2].clone(), all[3].clone()]);
    eventually("alpha drains", || rig.api("GET", "/v1/backends/uid/uid-alpha", "").1["accepting"] == false);
    let order = json!({"from": {"backend": {"uid": "uid-beta"}}, "to": {"backend": {"uid": "uid-gamma"}}});
    assert_eq!(rig.api("POST", "/v1/migrations", &order.to_string()).0, 202);
    eventually("the operator's player is moved", || players_on(&rig, gamma) == 1);
    assert_eq!(players_on(&rig, alpha), 5, "those for whom nothing matches stay");
}

#[test]
fn players_of_a_server_that_flaps_stay_and_of_one_that_is_not_ready_for_long_go() {
    let (alpha, beta) = (local_socket(), local_socket());
    let both = [server("alpha", &alpha, "snow"), server("beta", &beta, "snow")];
    let keys = "evacuateAfterSeconds: 2\n";
    let rig = Rig::start(&configured(keys, "whenLost: migrate"), &both[..1]);
    let player = player_of(&rig, "snow");
    says(&player, "before", &alpha);
    let put = |ready: bool| {
        let alpha = if ready { both[0].clone() } else { unready(&both[0]) };
        rig.write_objects(&[alpha, both[1].clone()]);
        let shown = || rig.api("GET", "/v1/backends/uid/uid-alpha", "").1["accepting"] == ready;
        eventually("it is seen", shown);
    };
    for _ in 0..3 {
        put(false);
        put(true);
    }
    says(&player, "still", &alpha);
    assert_eq!(rig.metric_where("udp_director_session_events_total", "migrated_by_director"), 0.0);
    let since = Instant::now();
    put(false);
    eventually("he is moved", || players_on(&rig, "beta") == 1);
    assert!(since.elapsed() >= Duration::from_secs(1), "after {:?}", since.elapsed());
    says(&player, "after", &beta);
    assert!(silent(&alpha));
}

#[test]
fn drained_server_is_left_at_once_and_a_full_one_takes_nobody() {
    let sockets = [(); 3].map(|()| local_socket());
    let names = ["alpha", "beta", "gamma"];
    let object = |n: usize| server(names[n], &sockets[n], "snow");
    let rig = Rig::start(&configured("", "whenLost: migrate, capacity: {max: 2}"), &[object(0)]);
    let players = [(); 2].map(|()| player_of(&rig, "snow"));
    rig.write_objects(&[object(0), object(1)]);
    eventually("beta is seen", || rig.api("GET", "/v1/backends/uid/uid-beta", "").0 == 200);
    let _other = rig.player("beta");
    rig.write_objects(&[draining(&object(0)), object(1)]);
    eventually("one moves", || players_on(&rig, "beta") == 2);
    let tries = |outcome: &str| {
        let labels = format!("cause=\"director\",outcome=\"{outcome}\"");
        rig.metric_where("udp_director_migrations_total", &labels)
    };
    eventually("one is told to have moved", || tries("moved") == 1.0);
    eventually("the other has no place", || tries("no_match") > 0.0);
    assert_eq!(players_on(&rig, "alpha"), 1, "there is no seat for the other");
    rig.write_objects(&[draining(&object(0)), object(1), object(2)]);
    eventually("the other follows", || players_on(&rig, "gamma") == 1);
    for player in &players {
        player.send(b"on").expect("sent");
    }
    assert_eq!((receive(&sockets[1]), receive(&sockets[2])), (b"on".to_vec(), b"on".to_vec()));
    assert_eq!(players_on(&rig, "beta"), 2, "never beyond its capacity");
}

#[test]
fn nothing_reaches_a_server_that_is_gone_while_another_does_not_want_its_player() {
    let (alpha, beta) = (local_socket(), local_socket());
    let both = [server("alpha", &alpha, "snow"), server("beta", &beta, "snow")];
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let notice = format!("migrationNotice: {{port: {closed}, path: /}}");
    let rig = Rig::start(&configured("", &notice), &both[..1]);
    let player = player_of(&rig, "snow");
    says(&player, "before", &alpha);
    rig.write_objects(&both[1..]);
    eventually("he is parked", || rig.api("GET", "/v1/sessions/1", "").1["parked"] == true);
    player.send(b"to nobody").expect("sent");
    eventually("it is dropped", || rig.metric_where("udp_director_drops_total", "parked") == 1.0);
    assert!(silent(&alpha) && silent(&beta));
}

#[test]
fn large_migration_holds_up_no_small_one() {
    let sockets = [(); 2].map(|()| local_socket());
    let both = [server("alpha", &sockets[0], "snow"), server("beta", &sockets[1], "snow")];
    let rig = Rig::start(&configured("maxMigrationsPerSecond: 1\n", "whenLost: keep"), &both);
    let _many = [(); 20].map(|()| rig.player("alpha"));
    let _one = rig.player("beta");
    let order = |from: &str, to: &str| {
        let order = json!({"from": {"backend": {"uid": from}}, "to": {"backend": {"uid": to}}});
        let (status, job) = rig.api("POST", "/v1/migrations", &order.to_string());
        assert_eq!(status, 202, "{job}");
        format!("/v1/migrations/{}", job["id"])
    };
    let (large, small) = (order("uid-alpha", "uid-beta"), order("uid-beta", "uid-alpha"));
    eventually("the small one ends", || rig.api("GET", &small, "").1["state"] == "done");
    assert_eq!(rig.api("GET", &large, "").1["state"], "running");
}
