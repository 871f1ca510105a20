//! Sealed tokens over real sockets: several directors with the same keys, rotation, and bad keys.

mod rig;

use std::fs;
use std::net::UdpSocket;

use rig::{Rig, eventually, game_server, local_socket, receive};
use tempfile::TempDir;

const UNKNOWN: &str = "\"unknown_token\"";
const USED: &str = "\"used_token\"";

/// A folder of keys, each all of one digit, that several directors follow.
struct Keys(TempDir);

impl Keys {
    fn new(keys: &[(&str, char)]) -> Keys {
        let folder = Keys(tempfile::tempdir().expect("a folder"));
        keys.iter().for_each(|(id, digit)| folder.put(id, &digit.to_string().repeat(64)));
        folder
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("written");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.0.path().join(name)).expect("removed");
    }

    fn set(&self, name: &str, text: Option<&str>) {
        text.map_or_else(|| self.remove(name), |text| self.put(name, text));
    }

    fn config(&self) -> String {
        self.config_with("")
    }

    fn config_with(&self, more: &str) -> String {
        rig::config(&format!("tokens: {{{more}keys: {{dir: {}}}}}\n", self.0.path().display()))
    }

    fn director(&self, servers: &[String]) -> Rig {
        Rig::start(&self.config(), servers)
    }
}

/// A server that is only a socket, and its object.
fn server(name: &str) -> (UdpSocket, String) {
    let socket = local_socket();
    let object = game_server(name, socket.local_addr().expect("bound").port());
    (socket, object)
}

/// A client that has sent the token.
fn client(rig: &Rig, token: &str) -> UdpSocket {
    let client = rig.udp_client("udp");
    client.send(token.as_bytes()).expect("sent");
    client
}

fn dropped(rig: &Rig, reason: &str) -> f64 {
    rig.metric_where("udp_director_drops_total", reason)
}

fn control_packet(token: &str) -> Vec<u8> {
    [b"\xff\xff\xff\xffRESET", token.as_bytes()].concat()
}

#[test]
fn token_of_one_director_opens_the_others_over_udp_and_tcp() {
    let echo = rig::TwinServer::start();
    let servers = [game_server("alpha", echo.port())];
    let keys = Keys::new(&[("k", 'a')]);
    let (one, other) = (keys.director(&servers), keys.director(&servers));
    let token = one.token("alpha");
    assert_eq!(token.len(), 36);
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let player = client(&other, &token);
    player.send(b"over UDP").expect("sent");
    assert_eq!(receive(&player), b"over UDP");
    assert_eq!(other.tcp_exchange("tcp", &[token.as_bytes(), b"\nover TCP"]), b"over TCP");
    assert_eq!(other.tcp_exchange("tcp", &[token.as_bytes()]), b"", "once a listener");
    assert_eq!(dropped(&other, USED), 1.0);
    assert_eq!(one.metric("udp_director_token_cache_size"), 1.0, "it waits there until it expires");
}

#[test]
fn player_is_moved_by_the_token_of_another_director() {
    let ((alpha, alpha_object), (beta, beta_object)) = (server("alpha"), server("beta"));
    let servers = [alpha_object, beta_object];
    let keys = Keys::new(&[("k", 'a')]);
    let (one, other) = (keys.director(&servers), keys.director(&servers));
    let first = one.token("alpha");
    let player = client(&other, &first);
    player.send(b"one").expect("sent");
    assert_eq!(receive(&alpha), b"one");
    let second = one.token("beta");
    player.send(&control_packet(&second)).expect("sent");
    player.send(b"two").expect("sent");
    assert_eq!(receive(&beta), b"two");
    let third = one.token("alpha");
    let reset = format!(r#"{{"type": "sessionReset", "session": "{second}", "token": "{third}"}}"#);
    assert_eq!(other.query(&reset)["migrated"], 1);
    player.send(b"three").expect("sent");
    assert_eq!(receive(&alpha), b"three");
    let reset =
        format!(r#"{{"type": "sessionReset", "session": "{second}", "token": "{}"}}"#, one.token("beta"));
    assert_eq!(other.query(&reset)["code"], "invalid_token", "that names nothing any more");
}

#[test]
fn token_is_good_after_a_restart_of_its_director() {
    let (alpha, object) = server("alpha");
    let keys = Keys::new(&[("k", 'a')]);
    let token = keys.director(std::slice::from_ref(&object)).token("alpha");
    let again = keys.director(&[object]);
    client(&again, &token).send(b"hello").expect("sent");
    assert_eq!(receive(&alpha), b"hello");
}

#[test]
fn token_without_the_key_or_for_another_cluster_is_dropped() {
    let (_alpha, object) = server("alpha");
    let keys = Keys::new(&[("k", 'a')]);
    let token = keys.director(std::slice::from_ref(&object)).token("alpha");
    let other_key = Keys::new(&[("k", 'b')]);
    for config in [other_key.config(), keys.config_with("clusterId: elsewhere, ")] {
        let rig = Rig::start(&config, std::slice::from_ref(&object));
        let _client = client(&rig, &token);
        eventually("it is dropped", || dropped(&rig, UNKNOWN) == 1.0);
    }
}

#[test]
fn keys_are_rotated_while_players_play() {
    let (alpha, object) = server("alpha");
    let keys = Keys::new(&[("2026-11", 'a')]);
    let rig = keys.director(std::slice::from_ref(&object));
    let other = keys.director(&[object]);
    let shows = |rig: &Rig, text: &str| rig.admin("/readyz?verbose").contains(text);
    let old = [rig.token("alpha"), rig.token("alpha")];
    let player = client(&rig, &old[0]);

    // The new key comes first, and seals only when all have it.
    keys.put("current", "2026-11");
    keys.put("2026-12", &"b".repeat(64));
    for rig in [&rig, &other] {
        eventually("the new key opens", || shows(rig, "token keys: 2026-11 seals, older ones: 2026-12"));
    }
    keys.put("current", "2026-12");
    for rig in [&rig, &other] {
        eventually("the new key seals", || shows(rig, "token keys: 2026-12 seals, older ones: 2026-11"));
    }
    client(&other, &old[0]).send(b"old").expect("sent");
    assert_eq!(receive(&alpha), b"old");
    client(&other, &rig.token("alpha")).send(b"new").expect("sent");
    assert_eq!(receive(&alpha), b"new");

    keys.remove("2026-11");
    for rig in [&rig, &other] {
        eventually("the old key is gone", || shows(rig, "token keys: 2026-12 seals, older ones: none"));
    }
    let _late = client(&other, &old[1]);
    eventually("what it sealed is worth nothing", || dropped(&other, UNKNOWN) == 1.0);
    player.send(b"still here").expect("sent");
    assert_eq!(receive(&alpha), b"still here");
    assert_eq!(rig.metric("udp_director_token_key_rejections_total"), 0.0);
}

#[test]
fn bad_keys_leave_the_old_ones_in_force_and_are_counted_and_shown() {
    let (alpha, object) = server("alpha");
    let keys = Keys::new(&[("1", 'a'), ("2", 'b')]);
    let rig = keys.director(std::slice::from_ref(&object));
    let other = keys.director(&[object]);
    let (b, c, short) = ("b".repeat(64), "c".repeat(64), "c".repeat(63));
    // A file, what it holds when it is wrong, and when it is right; `None` where it is not there.
    for (number, (file, wrong, right, text)) in [
        ("3", Some(&*short), None, "3: a key has 64 hexadecimal digits, not 63"),
        ("2.key", Some(&*c), None, "two keys have the id 2"),
        ("3", Some(&*b), None, "2 and 3 are the same key"),
        ("2", None, Some(&*b), "the key 2 has vanished"),
        ("current", Some("7"), None, "the current key is to be 7, which is not there"),
    ]
    .into_iter()
    .enumerate()
    {
        keys.set(file, wrong);
        eventually(text, || rig.metric("udp_director_token_key_rejections_total") == number as f64 + 1.0);
        let page = rig.admin("/readyz?verbose");
        assert!(page.starts_with("HTTP/1.1 200"), "players are served: {page}");
        assert!(page.contains(text) && page.contains("token keys: 2 seals, older ones: 1"), "{page}");
        client(&other, &rig.token("alpha")).send(text.as_bytes()).expect("sent");
        assert_eq!(receive(&alpha), text.as_bytes());
        keys.set(file, right);
        eventually("all is well again", || !rig.admin("/readyz?verbose").contains("are refused"));
    }
}

#[test]
fn kind_is_changed_while_players_play() {
    let (alpha, object) = server("alpha");
    let keys = Keys::new(&[("k", 'a')]);
    let rig = Rig::start(&rig::config(""), std::slice::from_ref(&object));
    let other = Rig::start(&keys.config_with("kind: random, "), &[object]);
    let uuid = rig.token("alpha");
    assert_eq!(other.token("alpha").matches('-').count(), 4, "a UUID");
    rig.write_config(&keys.config());
    eventually("tokens are sealed", || {
        client(&other, &rig.token("alpha")).send(b"sealed").expect("sent");
        other.metric("udp_director_active_sessions") > 0.0
    });
    assert_eq!(receive(&alpha), b"sealed");
    client(&rig, &uuid).send(b"random").expect("sent");
    eventually("the one from before is good", || receive(&alpha) == b"random");
    rig.write_config(&keys.config().replace("keys: {dir: ", "keys: {dir: /nowhere"));
    eventually("it is refused", || rig.metric_where("udp_director_config_loads_total", "rejected") == 1.0);
    assert!(rig.admin("/readyz?verbose").contains("tokens.keys.dir /nowhere"));
}

#[test]
fn game_data_that_looks_like_a_token_reaches_the_server_within_a_session_only() {
    let (alpha, object) = server("alpha");
    let keys = Keys::new(&[("k", 'a')]);
    let rig = keys.director(&[object]);
    let data = [b'x'; 36];
    let player = client(&rig, &rig.token("alpha"));
    player.send(&data).expect("sent");
    assert_eq!(receive(&alpha), data);
    let stranger = rig.udp_client("udp");
    stranger.send(&data).expect("sent");
    eventually("it is dropped", || dropped(&rig, UNKNOWN) == 1.0);
}
