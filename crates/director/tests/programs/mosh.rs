//! `mosh`: a terminal over UDP, encrypted and in order of its own.

use std::fs;

use super::program::run;
use super::stage::{PORT, Stage};

#[test]
fn mosh_session_goes_through() {
    let stage = Stage::new();
    let key = mosh_server(&stage);
    let script = format!("stty rows 24 cols 80; MOSH_KEY={key} exec mosh-client {} {PORT}", stage.public);
    fs::write(stage.folder().join("client.sh"), script).expect("written");
    let terminal = "EXEC:sh client.sh,pty,setsid,ctty,stderr";
    let mut client = stage.start("mosh-client", "socat", &["STDIO", terminal]);
    client.wait_for("Who is there?");
    client.say("a client\r");
    client.wait_for("So a client");
    client.say("\r");
}

/// Starts a server that ends by itself when its client is gone. Gives the session's key.
fn mosh_server(stage: &Stage) -> String {
    let play = "echo 'Who is there?'; read name; echo \"So $name\"; read end";
    let (ip, port) = (stage.servers[0].to_string(), PORT.to_string());
    let limits = ["LC_ALL=C.UTF-8", "TERM=xterm", "MOSH_SERVER_NETWORK_TMOUT=5", "mosh-server", "new"];
    let args = [&limits[..], &["-i", &ip, "-p", &port, "--", "sh", "-c", play]].concat();
    let log = run("env", &args);
    let key = log.lines().find_map(|line| line.trim().strip_prefix(&format!("MOSH CONNECT {port} ")[..]));
    key.unwrap_or_else(|| panic!("no key: {log}")).to_owned()
}
