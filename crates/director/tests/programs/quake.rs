//! `quakestat` asks an OpenArena server: its packets begin with `FF FF FF FF`, as control packets do.

use std::net::UdpSocket;
use std::time::Duration;

use super::program::{Running, run};
use super::stage::{PORT, Stage};

#[test]
fn quakestat_sees_the_server_that_it_sees_directly() {
    let stage = Stage::new();
    let _arena = arena(&stage, 0);
    let [direct, through] = stage.direct_and_through().map(|ip| quakestat(&ip).replace(&ip, "IP"));
    assert!(direct.contains("Arena 0") && direct.contains("oa_dm1"), "{direct}");
    assert_eq!(through, direct);
}

#[test]
fn control_packet_moves_a_client_from_one_game_server_to_another() {
    let stage = Stage::with_servers(2);
    let _arenas = [arena(&stage, 0), arena(&stage, 1)];
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    client.connect((stage.public, PORT)).expect("a route");
    for (server, name) in [("server-1", "Arena 1"), ("server-0", "Arena 0")] {
        let control = [b"\xFF\xFF\xFF\xFFRESET", stage.token(server).as_bytes()].concat();
        let answers = |_| ask(&client, &control).is_some_and(|answer| answer.contains(name));
        assert!((0..20).any(answers), "{name} answers");
    }
}

fn arena(stage: &Stage, number: usize) -> Running {
    let (ip, port, name) = (stage.servers[number].to_string(), PORT.to_string(), format!("Arena {number}"));
    let home = stage.folder().join(&name).display().to_string();
    let mut args = vec!["+set", "dedicated", "1", "+set", "fs_homepath", &home, "+set", "sv_hostname", &name];
    args.extend(["+set", "net_enabled", "1", "+set", "net_ip", &ip, "+set", "net_port", &port]);
    args.extend(["+map", "oa_dm1"]);
    let mut server = stage.start(&format!("arena-{number}"), "/usr/games/openarena-server", &args);
    server.wait_until(|_| quakestat(&ip).contains(&name));
    server
}

/// What the server tells of itself and its rules, but not how fast.
fn quakestat(ip: &str) -> String {
    let address = format!("{ip}:{PORT}");
    let text = run("quakestat", &["-q3s", &address, "-raw", ";", "-R"]);
    let (first, rules) = text.split_once('\n').unwrap_or((&text, ""));
    let fields: Vec<_> = first.split(';').take(6).collect();
    format!("{}\n{rules}", fields.join(";"))
}

/// What the server answers, if something comes. The control packet repeats itself, as clients do.
fn ask(client: &UdpSocket, control: &[u8]) -> Option<String> {
    client.send(control).expect("sent");
    client.send(b"\xFF\xFF\xFF\xFFgetinfo rules").expect("sent");
    let mut answer = [0; 2048];
    let length = client.recv(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}
