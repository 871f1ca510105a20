//! `dropbear` and `dbclient`: SSH, in which the server may speak first; `socat` sends a token ahead.

use std::fs;

use super::program::{Running, attempt, run};
use super::stage::{PORT, Stage, accepts};

#[test]
fn server_that_speaks_first_is_heard_by_a_client_that_says_nothing() {
    let stage = Stage::new();
    let _server = ssh_server(&stage, 0);
    let mut client = stage.start("client", "socat", &["STDIO", &format!("TCP4:{}:{PORT}", stage.public)]);
    client.wait_for("SSH-2.0-dropbear");
}

#[test]
fn token_leads_an_ssh_client_to_its_server_and_no_token_to_the_default_one() {
    let stage = Stage::with_servers(2);
    let _servers = [ssh_server(&stage, 0), ssh_server(&stage, 1)];
    assert_eq!(greeting(&stage, ""), "I am server-0");
    for name in ["server-1", "server-0"] {
        assert_eq!(greeting(&stage, &stage.token(name)), format!("I am {name}"));
    }
}

/// Greets all and lets nobody in.
fn ssh_server(stage: &Stage, number: usize) -> Running {
    let [key, greeting, pid] = ["key", "greeting", "pid"]
        .map(|name| stage.folder().join(format!("{name}-{number}")).display().to_string());
    run("dropbearkey", &["-t", "ed25519", "-f", &key]);
    fs::write(&greeting, format!("I am server-{number}\n")).expect("written");
    let (ip, listen) = (stage.servers[number], format!("{}:{PORT}", stage.servers[number]));
    let args = ["-F", "-E", "-s", "-r", &key, "-b", &greeting, "-P", &pid, "-p", &listen];
    let mut server = stage.start(&format!("ssh-{number}"), "dropbear", &args);
    server.wait_until(|_| accepts(ip));
    server
}

/// What the server says to a client that has exchanged keys with it.
fn greeting(stage: &Stage, token: &str) -> String {
    let ahead = format!("sh -c '(printf %s \"{token}\"; cat) | socat - TCP4:{}:{PORT}'", stage.public);
    let output = attempt("dbclient", &["-J", &ahead, "-T", "-y", "-y", "nobody@server", "true"]);
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().find(|line| line.starts_with("I am")).unwrap_or_else(|| panic!("{text}")).to_owned()
}
