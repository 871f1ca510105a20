//! Restarts of the binary, with players on it. The long forms run by `make test-restarts`; each prints
//! a line of figures.

mod crowd;
mod faults;
#[path = "../rig/mod.rs"]
mod rig;
mod stage;

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use crowd::{Account, Crowd, Server};
use rig::{eventually, game_server, local_socket, receive};
use stage::Stage;

/// How long players play between two events.
const ROUND: Duration = Duration::from_millis(500);

#[test]
fn nobody_is_lost_by_kill_9_and_restart() {
    kill_and_restart(3, 4);
}

#[test]
#[ignore = "long: make test-restarts"]
fn nobody_is_lost_by_20_times_kill_9_and_restart() {
    kill_and_restart(20, 20);
}

/// Kills and restarts so often under so many players, and one more each time who is 100 ms old.
fn kill_and_restart(times: usize, players: usize) {
    let server = Server::start();
    let mut stage = Stage::new("", server.port);
    stage.start();
    let crowd = Crowd::start();
    (0..players).for_each(|_| crowd.join(stage.player("alpha")));
    let (mut outages, mut longest_restart, mut most_gap) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    for _ in 0..times {
        std::thread::sleep(ROUND);
        crowd.join(stage.player("alpha"));
        std::thread::sleep(Duration::from_millis(100));
        outages.push(Instant::now());
        stage.kill();
        longest_restart = longest_restart.max(stage.start());
        assert!(!stage.log().contains("ERROR"), "{}", stage.log());
    }
    std::thread::sleep(ROUND);
    let expected = (players + times) as f64;
    assert_eq!((stage.sessions(), stage.restored("restored")), (expected, expected));
    let accounts = crowd.stop();
    let last = *outages.last().expect("at least one");
    let lost = accounts.iter().filter(|account| !account.played_after(last + longest_restart)).count();
    for account in &accounts {
        most_gap = most_gap.max(account.longest_gap());
    }
    let outside: usize = accounts.iter().map(|account| account.lost_outside(&outages)).sum();
    figures(
        "kill -9 and restart",
        &accounts,
        &format!(
            "{times} times, restart at most {longest_restart:?}, sessions lost {lost}, longest gap \
             {most_gap:?}, lost outside {outside}, new peer addresses {}",
            server.new_peers()
        ),
    );
    assert_eq!((lost, outside, server.new_peers()), (0, 0, 0));
    assert!(most_gap < longest_restart + Duration::from_secs(1), "{most_gap:?} with {longest_restart:?}");
}

fn figures(what: &str, accounts: &[Account], text: &str) {
    let (sent, lost): (usize, usize) =
        (accounts.iter().map(Account::sent).sum(), accounts.iter().map(Account::lost).sum());
    println!("{what}: {} players, {sent} datagrams, {lost} lost; {text}", accounts.len());
}

#[test]
fn sigterm_refuses_newcomers_and_lets_sessions_run_to_their_end() {
    let twin = rig::TwinServer::start();
    let mut stage = Stage::new("sessionTimeoutSeconds: 2\n", twin.port());
    stage.start();
    let (waiting, player, mut stream) = (stage.token("alpha"), stage.player("alpha"), stage.stream("alpha"));
    eventually("the stream begins", || stage.sessions() == 2.0);
    stage.signal("TERM");
    eventually("not ready", || stage.admin("GET", "/readyz").contains("not ready: draining"));
    let refused = stage.query(r#"{"resourceType": "gs"}"#);
    assert_eq!(refused["code"], "draining", "{refused}");
    let newcomer = local_socket();
    newcomer.connect(stage.udp).expect("a route");
    newcomer.send(waiting.as_bytes()).expect("sent");
    eventually("the newcomer is refused", || {
        stage.metric_where("udp_director_drops_total", r#"reason="draining""#) == 1.0
    });
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        player.send(b"over UDP").expect("sent");
        assert_eq!(receive(&player), b"over UDP");
        stream.write_all(b"over TCP").expect("sent");
        let mut back = [0; 8];
        stream.read_exact(&mut back).expect("it comes back");
    }
    assert!(stage.is_running());
    drop(stream);
    assert!(stage.ended().success(), "it ends with the last session: {}", stage.log());
}

#[test]
fn second_signal_ends_at_once_and_leaves_the_sessions_to_the_next_process() {
    let server = Server::start();
    let mut stage = Stage::new("", server.port);
    stage.start();
    let crowd = Crowd::start();
    crowd.join(stage.player("alpha"));
    stage.signal("TERM");
    eventually("it drains", || stage.admin("GET", "/readyz").contains("draining"));
    stage.signal("TERM");
    let outage = Instant::now();
    assert!(stage.ended().success());
    stage.start();
    std::thread::sleep(ROUND);
    assert_eq!(stage.restored("restored"), 1.0);
    let accounts = crowd.stop();
    let outside: usize = accounts.iter().map(|account| account.lost_outside(&[outage])).sum();
    figures("SIGTERM and restart", &accounts, &format!("lost outside {outside}"));
    assert_eq!((outside, server.new_peers()), (0, 0));
}

#[test]
fn drain_ends_when_its_time_is_over() {
    let server = Server::start();
    let mut stage = Stage::new("drainSeconds: 1\n", server.port);
    stage.start();
    let _player = stage.player("alpha");
    stage.signal("TERM");
    let begun = Instant::now();
    assert!(stage.ended().success());
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[test]
fn drain_that_the_admin_port_is_asked_for_outlives_the_first_signal() {
    let server = Server::start();
    let mut stage = Stage::new("", server.port);
    stage.start();
    let player = stage.player("alpha");
    let admin = stage.admin_port().to_string();
    let drain =
        || Command::new(env!("CARGO_BIN_EXE_udp-director")).args(["drain", "--admin", &admin]).output();
    let asked = drain().expect("run");
    let answer = String::from_utf8(asked.stdout).expect("UTF-8");
    assert!(asked.status.success() && answer.contains(r#""sessions":1"#), "{answer}");
    assert!(drain().expect("run").status.success(), "asking again changes nothing");
    stage.signal("TERM");
    player.send(&[0; 8]).expect("sent");
    assert_eq!(receive(&player), [0; 8]);
    assert!(stage.is_running());
    stage.signal("TERM");
    assert!(stage.ended().success());
}

#[test]
fn players_go_over_to_another_configuration() {
    let server = Server::start();
    let mut stage = Stage::new("workers: 3\n", server.port);
    stage.start();
    let crowd = Crowd::start();
    (0..12).for_each(|_| crowd.join(stage.player("alpha")));
    stage.settle();
    stage.write_config("journal: {dir: journal}\nworkers: 2\ntokenTTLSeconds: 60\n");
    let outage = Instant::now();
    stage.kill();
    let restart = stage.start();
    std::thread::sleep(ROUND);
    assert_eq!((stage.restored("restored"), stage.sessions()), (12.0, 12.0));
    let accounts = crowd.stop();
    let outside: usize = accounts.iter().map(|account| account.lost_outside(&[outage])).sum();
    let gap = accounts.iter().map(Account::longest_gap).max().unwrap_or_default();
    figures(
        "another configuration",
        &accounts,
        &format!(
            "restart {restart:?}, longest gap {gap:?}, lost outside {outside}, new peer addresses {}",
            server.new_peers()
        ),
    );
    assert!(accounts.iter().all(|account| account.played_after(outage + restart)));
    assert_eq!((outside, server.new_peers()), (0, 0));
}

#[test]
fn token_that_waits_is_good_after_a_restart_and_only_for_its_holder() {
    let server = Server::start();
    let mut stage = Stage::new("", server.port);
    stage.start();
    let token = stage.token("alpha");
    stage.settle();
    stage.kill();
    let journal = std::fs::read(stage.path("journal/sessions.redb")).expect("a journal");
    assert!(!journal.windows(36).any(|bytes| bytes == token.as_bytes()), "no token is in the journal");
    stage.start();
    let player = local_socket();
    player.connect(stage.udp).expect("a route");
    player.send(token.as_bytes()).expect("sent");
    player.send(&[0; 8]).expect("sent");
    assert_eq!(receive(&player), [0; 8]);
    let other = local_socket();
    other.connect(stage.udp).expect("a route");
    other.send(token.as_bytes()).expect("sent");
    eventually("nobody else redeems it", || {
        stage.metric_where("udp_director_drops_total", r#"reason="wrong_client""#) == 1.0
    });
}

#[test]
fn token_resumes_and_moves_a_session_of_before_the_restart() {
    let (alpha, beta) = (local_socket(), local_socket());
    let mut stage = Stage::new("", port(&alpha));
    stage.write_objects(&[game_server("alpha", port(&alpha)), game_server("beta", port(&beta))]);
    stage.start();
    let token = stage.token("alpha");
    let player = local_socket();
    player.connect(stage.udp).expect("a route");
    player.send(token.as_bytes()).expect("sent");
    player.send(b"one").expect("sent");
    assert_eq!(receive(&alpha), b"one");
    stage.settle();
    stage.kill();
    stage.start();
    let elsewhere = local_socket();
    elsewhere.connect(stage.udp).expect("a route");
    elsewhere.send(&control(&token)).expect("sent");
    elsewhere.send(b"two").expect("sent");
    assert_eq!(receive(&alpha), b"two");
    let next = stage.token("beta");
    elsewhere.send(&control(&next)).expect("sent");
    elsewhere.send(b"three").expect("sent");
    assert_eq!(receive(&beta), b"three");
    assert_eq!(stage.sessions(), 1.0);
}

fn control(token: &str) -> Vec<u8> {
    [b"\xff\xff\xff\xffRESET", token.as_bytes()].concat()
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().expect("bound").port()
}

#[test]
fn session_whose_backend_is_gone_ends_and_the_others_play_on() {
    let (alpha, beta) = (local_socket(), local_socket());
    let mut stage = Stage::new("", port(&alpha));
    let both = [game_server("alpha", port(&alpha)), game_server("beta", port(&beta))];
    stage.write_objects(&both);
    stage.start();
    let (_on_alpha, on_beta) = (stage.player("alpha"), stage.player("beta"));
    stage.settle();
    stage.kill();
    // Same name and address, another UID: another server.
    stage.write_objects(&[both[0].replace("uid-alpha", "uid-other"), both[1].clone()]);
    stage.start();
    eventually("the session on alpha ends", || stage.sessions() == 1.0);
    assert_eq!((stage.restored("restored"), stage.restored("backend_gone")), (2.0, 1.0));
    assert_eq!(stage.log().matches("backends of restored sessions are gone").count(), 1);
    on_beta.send(b"still here").expect("sent");
    assert_eq!(receive(&beta), b"still here");
}

#[test]
fn session_whose_upstream_port_is_taken_is_lost_and_counted() {
    let alpha = local_socket();
    let mut stage = Stage::new("", port(&alpha));
    stage.start();
    let players = [stage.player("alpha"), stage.player("alpha")];
    let mut peers = Vec::new();
    for player in &players {
        player.send(b"x").expect("sent");
        peers.push(alpha.recv_from(&mut [0; 8]).expect("a datagram").1);
    }
    stage.settle();
    stage.kill();
    let _taken = UdpSocket::bind(("0.0.0.0", peers[0].port())).expect("the port is free");
    stage.start();
    assert_eq!((stage.restored("restored"), stage.restored("port_taken")), (1.0, 1.0));
    assert_eq!(stage.log().matches("not everything could be restored").count(), 1);
    players[1].send(b"still here").expect("sent");
    let (_, from) = alpha.recv_from(&mut [0; 32]).expect("a datagram");
    assert_eq!(from, peers[1]);
}

#[test]
fn without_a_journal_sessions_end_with_the_process() {
    let alpha = local_socket();
    let mut stage = Stage::new("", port(&alpha));
    stage.write_config("");
    stage.start();
    let player = stage.player("alpha");
    stage.kill();
    stage.start();
    player.send(b"to nobody").expect("sent");
    eventually("the datagram is dropped", || {
        stage.metric_where("udp_director_drops_total", r#"reason="no_session""#) == 1.0
    });
    assert!(rig::silent(&alpha) && !stage.path("journal").exists());
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let page = include_str!("../../../../docs/restarts.md");
    let table =
        page.lines().skip_while(|line| !line.starts_with("| cause")).take_while(|line| line.starts_with('|'));
    let tests = [include_str!("main.rs"), include_str!("faults.rs")].concat();
    for row in table.skip(2) {
        let name = row.trim_end_matches([' ', '|', '`']).rsplit('`').next().expect("a last column");
        assert!(tests.contains(&format!("fn {name}()")), "{name}");
    }
}
