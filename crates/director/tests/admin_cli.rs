//! The subcommands that ask the admin port: what they print, and their exit codes.

mod rig;

use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output};

use rig::{Rig, eventually, game_server, local_socket, receive, silent};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_udp-director");

/// Exit code, standard output and standard error.
fn run(admin: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(BINARY);
    let Output { status, stdout, stderr } =
        command.args(args).env("UDP_DIRECTOR_ADMIN", admin).output().expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("no signal"), text(stdout), text(stderr))
}

/// What is printed by a command that succeeds.
fn shown(rig: &Rig, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(&rig.admin_address(), args);
    assert_eq!(code, 0, "{args:?}: {stdout}{stderr}");
    stdout
}

fn json(rig: &Rig, args: &[&str]) -> Value {
    let stdout = shown(rig, &[args, &["-o", "json"]].concat());
    serde_json::from_str(&stdout).expect("JSON")
}

/// The words of a table, line by line.
fn words(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

fn playing(servers: &[&str]) -> (Rig, Vec<UdpSocket>) {
    let sockets: Vec<_> = servers.iter().map(|_| local_socket()).collect();
    let port = |socket: &UdpSocket| socket.local_addr().expect("bound").port();
    let objects = servers.iter().zip(&sockets).map(|(name, socket)| game_server(name, port(socket)));
    (Rig::start(&rig::config(""), &objects.collect::<Vec<_>>()), sockets)
}

#[test]
fn explain_shows_the_winner_and_why_not_the_others() {
    let (rig, _sockets) = playing(&["alpha", "beta"]);
    let query = r#"{"resourceType": "gs", "labelSelector": {"server": "beta"}}"#;
    let text = shown(&rig, &["explain", query]);
    assert!(text.starts_with("The query gets gs/games/beta, by "), "{text}");
    assert!(text.contains("Of 2 servers 1 can be picked; refused: label 1. The view is 0."), "{text}");
    let table = words(&text);
    assert_eq!(table[4][..2], ["gs/games/beta", "0"], "{text}");
    assert!(text.lines().any(|line| line.starts_with("gs/games/alpha") && line.contains("label")), "{text}");
    assert_eq!(json(&rig, &["explain", query])["winner"], "gs/games/beta");
    let nobody = shown(&rig, &["explain", r#"{"resourceType": "gs", "labelSelector": {"server": "none"}}"#]);
    assert!(nobody.starts_with("The query gets nothing."), "{nobody}");
}

#[test]
fn backends_and_sessions_are_shown_as_tables_and_one_by_one() {
    let (rig, _sockets) = playing(&["alpha", "beta"]);
    let player = rig.player("alpha");
    let table = shown(&rig, &["backends"]);
    assert_eq!(words(&table)[1], ["gs", "games", "alpha", "uid-alpha", "127.0.0.1", "1", "1", "1", "-", "-"]);
    assert_eq!(words(&table).len(), 3, "{table}");
    for backend in ["gs/games/beta", "uid-beta"] {
        assert_eq!(words(&shown(&rig, &["backends", backend]))[1][2], "beta", "{backend}");
    }
    let first = run(&rig.admin_address(), &["backends", "--limit", "1"]);
    assert_eq!((first.0, first.2.trim_end()), (0, "there are more: --after gs/games/alpha"));
    let rest = shown(&rig, &["backends", "--limit", "1", "--after", "gs/games/alpha"]);
    assert_eq!(words(&rest)[1][2], "beta");

    let client = player.local_addr().expect("bound").to_string();
    let session = words(&shown(&rig, &["sessions", "--backend", "gs/games/alpha"]))[1].join(" ");
    assert!(session.contains(&format!("udp {client} gs/games/alpha")), "{session}");
    let id = json(&rig, &["sessions"])["sessions"][0]["id"].to_string();
    assert_eq!(words(&shown(&rig, &["sessions", &id]))[1][2], client);
}

#[test]
fn migrate_rehearses_moves_and_waits() {
    let (rig, sockets) = playing(&["alpha", "beta"]);
    let players = [rig.player("alpha"), rig.player("alpha")];
    let order = ["migrate", "--backend", "gs/games/alpha", "--to", "uid-beta"];
    let rehearsal = shown(&rig, &[&order[..], &["--dry-run"]].concat());
    assert_eq!(words(&rehearsal), [vec!["TO", "PLAYERS"], vec!["gs/games/beta", "2"]]);
    assert_eq!(words(&shown(&rig, &["migrations"])).len(), 1, "nothing is begun");

    let (code, stdout, stderr) = run(&rig.admin_address(), &[&order[..], &["--wait"]].concat());
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(words(&stdout)[1], ["1", "done", "2", "2", "0", "0", "0", "-"]);
    assert!(stderr.contains("migration 1: 2 of 2 moved, 0 failed, 0 left, 0 to go"), "{stderr}");
    for player in &players {
        player.send(b"here").expect("sent");
        assert_eq!(receive(&sockets[1]), b"here");
    }
    assert!(silent(&sockets[0]));
    assert_eq!(words(&shown(&rig, &["migrations", "1"]))[1][..2], ["1", "done"]);
}

#[test]
fn share_moves_that_part_and_a_session_its_player() {
    let (rig, _sockets) = playing(&["alpha", "beta"]);
    let _players = [(); 4].map(|()| rig.player("alpha"));
    let to_beta = ["--to", "gs/games/beta", "--wait"];
    shown(&rig, &[&["migrate", "--backend", "uid-alpha", "--share", "25%"], &to_beta[..]].concat());
    let players = |name: &str| json(&rig, &["backends", &format!("gs/games/{name}")])["players"].clone();
    assert_eq!((players("alpha"), players("beta")), (3.into(), 1.into()));
    let id = json(&rig, &["sessions", "--backend", "uid-alpha"])["sessions"][0]["id"].to_string();
    let query = r#"{"resourceType": "gs", "labelSelector": {"server": "beta"}}"#;
    shown(&rig, &["migrate", "--session", &id, "--query", query, "--wait"]);
    assert_eq!((players("alpha"), players("beta")), (2.into(), 2.into()));
}

#[test]
fn migration_is_aborted_by_its_number() {
    let (rig, _sockets) = playing(&["alpha", "beta"]);
    let _players = [(); 4].map(|()| rig.player("alpha"));
    let order = ["migrate", "--backend", "uid-alpha", "--to", "uid-beta", "--per-second", "1"];
    let begun = json(&rig, &order);
    assert_eq!((&begun["state"], &begun["total"]), (&"running".into(), &4.into()));
    let aborted = json(&rig, &["migrate", "--abort", &begun["id"].to_string()]);
    assert_eq!(aborted["state"], "aborted");
    eventually("nobody is on his way", || json(&rig, &["migrations", "1"])["remaining"] == 0);
    let moved = json(&rig, &["migrations", "1"])["moved"].as_u64().expect("a number");
    assert!(moved < 4, "{moved}");
}

#[test]
fn what_cannot_be_done_exits_with_1_and_says_why() {
    let (rig, _sockets) = playing(&["alpha"]);
    let _player = rig.player("alpha");
    let admin = rig.admin_address();
    for (args, says) in [
        (&["explain", r#"{"resourceType": "pods"}"#][..], "unknown_resource_type"),
        (&["explain", r#"{"resourceType": "gs", "namespace": "kube-system"}"#], "unknown_resource_type"),
        (&["backends", "uid-nobody"], "not_found"),
        (&["sessions", "4711"], "not_found"),
        (&["migrations", "7"], "not_found"),
        (&["migrate", "--backend", "uid-alpha", "--to", "uid-alpha"], "already_there"),
        (&["migrate", "--backend", "uid-alpha", "--to", "uid-nobody"], "not_found"),
        (&["migrate", "--abort", "7"], "not_found"),
        (&["migrate", "--backend", "uid-alpha", "--query", "{"], "--query is no JSON"),
    ] {
        let (code, stdout, stderr) = run(&admin, args);
        assert_eq!((code, &*stdout), (1, ""), "{args:?}");
        assert!(stderr.contains(says), "{args:?}: {stderr}");
    }
    let (code, stdout, _) = run(&admin, &["sessions", "4711", "-o", "json"]);
    let problem: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, &problem["status"]), (1, &404.into()));

    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let (code, _, stderr) = run(&admin, &["backends", "--admin", &free.to_string()]);
    assert_eq!(code, 1);
    assert!(stderr.contains(&format!("cannot connect to the admin port {free}")), "{stderr}");
}

#[test]
fn move_that_fails_exits_with_1() {
    let (rig, _sockets) = playing(&["alpha", "beta"]);
    let _player = rig.player("alpha");
    // His own query matches alpha alone.
    let (code, stdout, _) = run(&rig.admin_address(), &["migrate", "--backend", "uid-alpha", "--wait"]);
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("no_match 1"), "{stdout}");
}

#[test]
fn bad_usage_exits_with_2() {
    for args in [
        &["explain"][..],
        &["backends", "uid-alpha", "--namespace", "games"],
        &["backends", "--limit", "0"],
        &["sessions", "alpha"],
        &["migrate"],
        &["migrate", "--backend", "a", "--session", "1"],
        &["migrate", "--backend", "a", "--share", "0%"],
        &["migrate", "--session", "1", "--share", "50%"],
        &["migrate", "--backend", "a", "--to", "b", "--query", "{}"],
        &["migrate", "--backend", "a", "--dry-run", "--wait"],
        &["migrate", "--abort", "1", "--to", "b"],
        &["migrate", "--backend", "a", "--per-second", "0"],
        &["migrations", "--output", "xml"],
    ] {
        let (code, _, stderr) = run("127.0.0.1:1", args);
        assert_eq!(code, 2, "{args:?}: {stderr}");
    }
}
