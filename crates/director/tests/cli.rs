//! The binary: what it prints, and the exit codes that scripts use.

mod rig;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_udp-director");

fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(BINARY).args(args).output().expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("no signal"), text(stdout), text(stderr))
}

fn folder(config: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("config.yaml");
    fs::write(&file, config).expect("written");
    fs::write(dir.path().join("objects.yaml"), rig::game_server("alpha", 7)).expect("written");
    (dir, file.to_str().expect("UTF-8").to_owned())
}

#[test]
fn bad_usage_exits_with_2() {
    for args in [&[][..], &["dance"], &["serve"], &["check"], &["demo", "--seconds", "0"]] {
        let (code, _, stderr) = run(args);
        assert_eq!(code, 2, "{args:?}");
        assert!(stderr.contains("--help") || stderr.contains("Usage"), "{args:?}: {stderr}");
    }
    assert_eq!(run(&["--help"]).0, 0);
    assert!(run(&["--version"]).1.starts_with("udp-director "));
}

#[test]
fn bad_configuration_exits_with_2_and_names_the_place() {
    let (_dir, file) = folder(&rig::config("queryPrt: 1\n"));
    for args in [&["check", &file][..], &["serve", "--config", &file]] {
        let (code, _, stderr) = run(args);
        assert_eq!(code, 2);
        assert!(stderr.contains("config.yaml:1:1") && stderr.contains("queryPort"), "{stderr}");
    }
    assert_eq!(run(&["check", "/nowhere/config.yaml"]).0, 2);
}

#[test]
fn missing_inventory_exits_with_2_and_names_the_file() {
    let (dir, file) = folder(&rig::config(""));
    fs::remove_file(dir.path().join("objects.yaml")).expect("removed");
    let (code, _, stderr) = run(&["serve", "--config", &file]);
    assert_eq!(code, 2);
    assert!(stderr.contains("objects.yaml"), "{stderr}");
}

#[test]
fn good_configuration_exits_with_0() {
    let (_dir, file) = folder(&rig::config(""));
    let (code, stdout, _) = run(&["check", &file]);
    assert_eq!((code, stdout.trim_end().ends_with(": ok")), (0, true));
}

#[test]
fn schema_is_json() {
    let (code, stdout, _) = run(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(code, 0);
    assert!(schema["properties"]["queryPort"].is_object());
}

#[test]
fn taken_port_exits_with_1_and_is_named() {
    for key in ["queryPort: 0", "adminPort: 0", "name: tcp, port: 0", "name: udp, port: 0"] {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let _datagrams = std::net::UdpSocket::bind(("127.0.0.1", port)).expect("free on UDP as well");
        let wanted = key.replace(": 0", &format!(": {port}"));
        let (_dir, file) = folder(&rig::config("").replace(key, &wanted));
        let (code, _, stderr) = run(&["serve", "--config", &file]);
        assert_eq!(code, 1, "{key}");
        assert!(stderr.contains(&port.to_string()), "{key}: {stderr}");
    }
}

#[test]
fn query_prints_the_answer_and_exits_by_it() {
    let (_dir, file) = folder(&rig::config(""));
    let mut serving = Serving::start(&file, "text");
    let server = serving.query_address();
    let (code, stdout, _) = run(&["query", r#"{"resourceType": "gs"}"#, "--server", &server]);
    assert_eq!(code, 0);
    assert!(stdout.contains("token"), "{stdout}");
    let (code, stdout, _) = run(&["query", r#"{"resourceType": "nothing"}"#, "--server", &server]);
    assert_eq!(code, 1);
    assert!(stdout.contains("Unknown resource type: nothing"), "{stdout}");
    drop(serving);
    let (code, _, stderr) = run(&["query", "{}", "--server", &server]);
    assert_eq!(code, 1);
    assert!(stderr.contains(&server), "{stderr}");
}

#[test]
fn sigterm_exits_with_0_sighup_does_not_and_logs_are_json_when_asked() {
    let (_dir, file) = folder(&rig::config(""));
    let mut serving = Serving::start(&file, "json");
    serving.query_address();
    serving.signal("HUP");
    serving.signal("TERM");
    assert_eq!(serving.child.wait().expect("ended").code(), Some(0));
    for line in &serving.lines {
        let line: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        assert_ne!(line["level"], "ERROR");
    }
}

/// A director as a process of its own.
struct Serving {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    lines: Vec<String>,
}

impl Serving {
    fn start(config: &str, log_format: &str) -> Serving {
        let mut child = Command::new(BINARY)
            .args(["serve", "--config", config, "--log-format", log_format])
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        Serving { child, log, lines: Vec::new() }
    }

    /// Reads the log up to the line that says where queries are served.
    fn query_address(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.log.read_line(&mut line).expect("a log"), 0, "ended: {:?}", self.lines);
            self.lines.push(line.clone());
            if line.contains("serving") {
                let (_, rest) = line.split_once("query").expect("the address");
                let address = rest.trim_start_matches(['"', ':', '=']);
                let end = address.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
                return address[..end.unwrap_or(address.len())].to_owned();
            }
        }
    }

    fn signal(&self, name: &str) {
        let (name, id) = (format!("-{name}"), self.child.id().to_string());
        assert!(Command::new("kill").args([name, id]).status().expect("kill").success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration with keys, and the arguments that name them.
fn sealing() -> (TempDir, String, String) {
    let (dir, file) = folder(&rig::config("tokens: {keys: {dir: keys}, clusterId: here}\n"));
    let keys = dir.path().join("keys");
    fs::create_dir(&keys).expect("a folder");
    let (code, key, _) = run(&["token", "keygen"]);
    assert_eq!((code, key.trim_end().len()), (0, 64));
    fs::write(keys.join("2026-11"), key).expect("written");
    (dir, file, keys.to_str().expect("UTF-8").to_owned())
}

#[test]
fn token_tells_what_it_holds_to_who_has_the_key() {
    let (_dir, file, keys) = sealing();
    let rig = rig::Rig::start(
        &rig::config(&format!("tokens: {{keys: {{dir: {keys}}}, clusterId: here}}\n")),
        &[rig::game_server("alpha", 7)],
    );
    let token = rig.token("alpha");
    let inspect = |more: &[&str]| run(&[&["token", "inspect", &token], more].concat());
    let (code, told, _) = inspect(&["--config", &file, "--client-ip", "127.0.0.1"]);
    assert_eq!(code, 0, "{told}");
    for text in ["key      2026-11", "bound to 127.0.0.1", "(gs games/alpha)", ", in "] {
        assert!(told.contains(text), "{told}");
    }
    assert!(!told.contains(&token), "whoever reads this cannot redeem it");
    let (code, told, _) =
        inspect(&["--keys", &keys, "--cluster-id", "here", "--client-ip", "::ffff:127.0.0.1"]);
    assert!(code == 0 && !told.contains("alpha"), "{told}");
    for (more, text) in [
        (&["--keys", &keys, "--cluster-id", "here"][..], "name it with --client-ip"),
        (&["--config", &file, "--client-ip", "127.0.0.2"], "another IP than 127.0.0.2"),
        (&["--keys", &keys, "--client-ip", "127.0.0.1"], "for another cluster id"),
        (&["--keys", "/nowhere"], "/nowhere: cannot be read"),
    ] {
        let (code, _, told) = inspect(more);
        assert!(code == 1 && told.contains(text) && !told.contains(&token), "{told}");
    }
    for (wrong, text) in [("0b6f2c1e-8f3a-4c55-9d0e-3f6a1b2c4d5e", "a random one"), ("short", "no token")] {
        let (code, _, told) = run(&["token", "inspect", wrong, "--keys", &keys]);
        assert!(code == 1 && told.contains(text), "{told}");
    }
    assert_eq!(inspect(&[]).0, 2, "nothing says where the keys are");
}

#[test]
fn bad_keys_at_the_start_exit_with_2_and_name_the_file() {
    let (dir, file, _) = sealing();
    fs::write(dir.path().join("keys/2026-12"), "abc").expect("written");
    let (code, _, stderr) = run(&["serve", "--config", &file]);
    assert_eq!(code, 2);
    assert!(stderr.contains("tokens.keys.dir") && stderr.contains("2026-12: a key has 64"), "{stderr}");
    let (_dir, file) = folder(&rig::config("tokens: {kind: sealed}\n"));
    let (code, _, stderr) = run(&["check", &file]);
    assert!(code == 2 && stderr.contains("sealed tokens need \"keys\""), "{stderr}");
}
