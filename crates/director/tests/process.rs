//! The whole process over real sockets: games, reloads, a changing inventory.

mod rig;

use std::net::UdpSocket;
use std::os::unix::fs::symlink;

use rig::{Rig, eventually, game_server, local_socket, receive, silent};
use udp_director_core::Protocol;

#[test]
fn one_token_opens_every_listener_of_the_backend() {
    let backend = rig::TwinServer::start();
    let rig = Rig::start(&rig::config(""), &[game_server("alpha", backend.port())]);
    let answer = rig.query(r#"{"resourceType": "gs"}"#);
    let token = answer["token"].as_str().expect("a token").to_owned();
    assert_eq!(answer["ports"]["udp"], rig.port("udp"));
    assert_eq!(answer["ports"]["tcp"], rig.port("tcp"));
    assert!(answer.get("backend").is_none(), "the backend's address is nobody's business");

    let player = rig.udp_client("udp");
    player.send(token.as_bytes()).expect("sent");
    player.send(b"over UDP").expect("sent");
    assert_eq!(receive(&player), b"over UDP");
    assert_eq!(rig.tcp_exchange("tcp", &[token.as_bytes(), b"\nover TCP"]), b"over TCP");
    assert_eq!(rig.metric("udp_director_active_sessions"), 1.0, "the TCP session has ended");
}

#[test]
fn reset_over_the_query_port_moves_the_running_session() {
    let (alpha, beta) = (local_socket(), local_socket());
    let servers = [game_server("alpha", port(&alpha)), game_server("beta", port(&beta))];
    let rig = Rig::start(&rig::config(""), &servers);
    let old = rig.token("alpha");
    let player = rig.udp_client("udp");
    player.send(old.as_bytes()).expect("sent");
    player.send(b"one").expect("sent");
    assert_eq!(receive(&alpha), b"one");
    let new = rig.token("beta");
    let reset = format!(r#"{{"type": "sessionReset", "session": "{old}", "token": "{new}"}}"#);
    assert_eq!(rig.query(&reset)["migrated"], 1);
    player.send(b"two").expect("sent");
    assert_eq!(receive(&beta), b"two");
    assert_eq!(rig.query(&reset)["error"], "Invalid or expired token", "the old token names nothing");
    assert!(silent(&alpha));
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_counted() {
    let backend = local_socket();
    let rig = Rig::start(&rig::config(""), &[game_server("alpha", port(&backend))]);
    let player = rig.player("alpha");
    rig.write_config(&rig::config("sesionTimeoutSeconds: 5\n"));
    eventually("the configuration is refused", || {
        rig.metric_where("udp_director_config_loads_total", "rejected") == 1.0
    });
    let shown = rig.admin("/readyz?verbose");
    assert!(shown.contains("sessionTimeoutSeconds"), "the nearest key is named: {shown}");
    player.send(b"still here").expect("sent");
    assert_eq!(receive(&backend), b"still here");
    assert!(rig.query(r#"{"resourceType": "gs"}"#).get("token").is_some());
}

#[test]
fn a_key_that_needs_a_restart_is_refused_with_the_rest_of_its_file() {
    let backend = local_socket();
    let rig = Rig::start(&rig::config(""), &[game_server("alpha", port(&backend))]);
    rig.write_config(&rig::config("tokenTTLSeconds: 5\n").replace("workers: 2", "workers: 3"));
    eventually("the configuration is refused", || {
        rig.metric_where("udp_director_config_loads_total", "rejected") == 1.0
    });
    assert!(rig.admin("/readyz?verbose").contains("workers is 2 and becomes 3 only by a restart"));
    assert_eq!(rig.query(r#"{"resourceType": "gs"}"#)["expiresInSeconds"], 30);
}

#[test]
fn reload_keeps_sessions_and_opens_a_new_listener() {
    let backend = local_socket();
    let rig = Rig::start(&rig::config(""), &[game_server("alpha", port(&backend))]);
    let player = rig.player("alpha");
    let more = "  - {name: voice, port: 0, protocol: udp}\n";
    let config = rig::config("tokenTTLSeconds: 5\n");
    rig.write_config(&config.replace("adminPort", &format!("{more}adminPort")));
    eventually("the new settings are in force", || {
        rig.query(r#"{"resourceType": "gs"}"#)["expiresInSeconds"] == 5
    });
    player.send(b"still here").expect("sent");
    assert_eq!(receive(&backend), b"still here");
    assert_eq!(rig.metric_where("udp_director_config_loads_total", "rejected"), 0.0);
}

#[test]
fn a_configuration_that_was_refused_for_a_taken_port_is_taken_over_when_the_port_is_free() {
    let backend = local_socket();
    let rig = Rig::start(&rig::config(""), &[game_server("alpha", port(&backend))]);
    let player = rig.player("alpha");
    for (number, protocol) in [(2.0, "udp"), (3.0, "tcp")] {
        let (datagrams, streams) = rig::taken_port();
        let taken = port(&datagrams);
        let more = format!("  - {{name: more, port: {taken}, protocol: {protocol}}}\nadminPort");
        rig.write_config(&rig::config("").replace("adminPort", &more));
        eventually("the configuration is refused", || {
            rig.metric_where("udp_director_config_loads_total", "rejected") == number - 1.0
        });
        assert!(rig.admin("/readyz?verbose").contains(&taken.to_string()), "the port is named");
        drop((datagrams, streams));
        eventually("it is taken over", || rig.metric("udp_director_config_generation") == number);
        assert!(!rig.admin("/readyz?verbose").contains("is refused"));
        assert_eq!(rig.metric_where("udp_director_config_loads_total", "rejected"), number - 1.0);
    }
    player.send(b"still here").expect("sent");
    assert_eq!(receive(&backend), b"still here");
}

#[test]
fn a_listener_that_goes_serves_its_sessions_to_their_end() {
    let backend = local_socket();
    let more = "  - {name: old, port: 0, protocol: udp}\nadminPort";
    let config = rig::config("sessionTimeoutSeconds: 1\n");
    let rig = Rig::start(&config.replace("adminPort", more), &[game_server("alpha", port(&backend))]);
    let address = rig.address("old", Protocol::Udp);
    // A mapping with one port serves the first data port of each protocol alone.
    rig.write_config(
        &config.replace("adminPort", more).replace("  - {name: udp, port: 0, protocol: udp}\n", ""),
    );
    eventually("the first listener drains", || UdpSocket::bind(rig.address("udp", Protocol::Udp)).is_ok());
    let token = rig.token("alpha");
    let player = local_socket();
    player.connect(address).expect("a route");
    player.send(token.as_bytes()).expect("sent");
    player.send(b"one").expect("sent");
    assert_eq!(receive(&backend), b"one");
    rig.write_config(&config);
    eventually("the other one takes over", || {
        rig.query(r#"{"resourceType": "gs"}"#)["ports"].get("udp").is_some()
    });
    player.send(b"two").expect("sent");
    assert_eq!(receive(&backend), b"two", "a running session goes on");
    eventually("it closes after its last session", || UdpSocket::bind(address).is_ok());
}

#[test]
fn a_configuration_swapped_by_symlink_is_seen() {
    let backend = local_socket();
    let rig = Rig::start_behind_symlink(&rig::config(""), &[game_server("alpha", port(&backend))]);
    let next = rig.path("next");
    std::fs::create_dir(&next).expect("a folder");
    std::fs::copy(rig.path("objects.yaml"), next.join("objects.yaml")).expect("copied");
    std::fs::write(next.join("config.yaml"), rig::config("tokenTTLSeconds: 7\n")).expect("written");
    symlink("next", rig.path("..tmp")).expect("a link");
    std::fs::rename(rig.path("..tmp"), rig.path("current")).expect("renamed");
    eventually("the new file is in force", || {
        rig.query(r#"{"resourceType": "gs"}"#)["expiresInSeconds"] == 7
    });
}

#[test]
fn inventory_changes_are_seen_and_a_broken_file_changes_nothing() {
    let (alpha, beta) = (local_socket(), local_socket());
    let rig = Rig::start(&rig::config(""), &[game_server("alpha", port(&alpha))]);
    let asks_beta = r#"{"resourceType": "gs", "labelSelector": {"server": "beta"}}"#;
    assert_eq!(rig.query(asks_beta)["code"], "no_matching_resources");
    rig.write_objects(&[game_server("alpha", port(&alpha)), game_server("beta", port(&beta))]);
    eventually("beta is seen", || rig.query(asks_beta).get("token").is_some());
    rig.write_objects(&["kind: List\nitems: [{\n".to_owned()]);
    eventually("the file is refused", || {
        rig.metric_where("udp_director_inventory_loads_total", "rejected") == 1.0
    });
    assert!(rig.query(asks_beta).get("token").is_some());
}

#[test]
fn time_goes_on_while_a_large_inventory_is_read() {
    let backend = local_socket();
    let rig = Rig::start(&rig::config(""), &[game_server("alpha", port(&backend))]);
    let fields: String = (0..60).map(|field| format!(", field-{field}: value")).collect();
    let server =
        |number| game_server(&format!("gs-{number}"), 1).replace("{state", &format!("{{x: y{fields}, state"));
    rig.write_objects(&(0..2_000).map(server).collect::<Vec<_>>());
    let mut greatest = 0.0_f64;
    while rig.metric("udp_director_inventory_generation") == 1.0 {
        greatest = greatest.max(rig.metric("udp_director_inventory_age_seconds"));
    }
    assert_eq!(rig.metric("udp_director_backends"), 2_000.0);
    assert!(greatest < 1.5, "the control task was away for {greatest} s");
}

#[test]
fn a_backend_that_is_gone_ends_its_sessions_and_only_those() {
    let (alpha, beta) = (local_socket(), local_socket());
    let both = [game_server("alpha", port(&alpha)), game_server("beta", port(&beta))];
    let rig = Rig::start(&rig::config(""), &both);
    let (on_alpha, on_beta) = (rig.player("alpha"), rig.player("beta"));
    // Same name and address, another UID: another server.
    rig.write_objects(&[both[0].replace("uid-alpha", "uid-other"), both[1].clone()]);
    eventually("the session on alpha ends", || rig.metric("udp_director_active_sessions") == 1.0);
    on_alpha.send(b"to nobody").expect("sent");
    on_beta.send(b"to beta").expect("sent");
    assert_eq!(receive(&beta), b"to beta");
    eventually("the datagram is dropped", || {
        rig.metric_where("udp_director_drops_total", r#"reason="no_session""#) == 1.0
    });
    assert!(silent(&alpha));
}

#[test]
fn session_ends_after_its_timeout_without_traffic() {
    let backend = local_socket();
    let rig = Rig::start(&rig::config("sessionTimeoutSeconds: 1\n"), &[game_server("alpha", port(&backend))]);
    let player = rig.player("alpha");
    eventually("the session ends", || rig.metric("udp_director_active_sessions") == 0.0);
    player.send(b"too late").expect("sent");
    eventually("the datagram is dropped", || {
        rig.metric_where("udp_director_drops_total", r#"reason="no_session""#) == 1.0
    });
    assert!(silent(&backend));
}

#[test]
fn at_the_bound_of_sessions_the_newcomer_is_refused_and_the_players_play_on() {
    let backend = local_socket();
    let limits = "limits: {maxSessions: 2, maxPendingTokens: 2}\n";
    let rig = Rig::start(&rig::config(limits), &[game_server("alpha", port(&backend))]);
    let players = [rig.player("alpha"), rig.player("alpha")];
    let refused = rig.udp_client("udp");
    refused.send(rig.token("alpha").as_bytes()).expect("sent");
    eventually("the third is refused", || {
        rig.metric_where("udp_director_drops_total", r#"reason="session_limit""#) == 1.0
    });
    for player in &players {
        player.send(b"still here").expect("sent");
        assert_eq!(receive(&backend), b"still here");
    }
    // One token waits already; one more may.
    rig.token("alpha");
    assert_eq!(rig.query(r#"{"resourceType": "gs"}"#)["code"], "overloaded");
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().expect("a bound socket").port()
}
