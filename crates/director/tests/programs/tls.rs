//! `openssl s_client` and `s_server`: TLS over TCP, and DTLS over UDP.

use super::program::{Running, run};
use super::stage::{PORT, Stage};

#[test]
fn dtls_session_goes_through_on_udp() {
    converse(&["-dtls1_2", "-mtu", "1200"]);
}

#[test]
fn tls_session_goes_through_on_tcp() {
    converse(&["-tls1_3"]);
}

/// Each side reads what the other has written, after a handshake that both have signed and checked.
fn converse(kind: &[&str]) {
    let stage = Stage::new();
    let mut server = server(&stage, kind);
    let mut client = client(&stage, kind);
    client.say("from the client\n");
    server.wait_for("from the client");
    server.say("to the client\n");
    client.wait_for("to the client");
}

fn server(stage: &Stage, kind: &[&str]) -> Running {
    let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let (key, certificate) = (path(stage, "key.pem"), path(stage, "certificate.pem"));
    run("openssl", &[&request[..], &["-subj", "/CN=x", "-keyout", &key, "-out", &certificate]].concat());
    let accept = format!("{}:{PORT}", stage.servers[0]);
    let args = ["s_server", "-accept", &accept, "-key", &key, "-cert", &certificate];
    let mut server = stage.start("tls-server", "openssl", &[&args, kind].concat());
    server.wait_for("ACCEPT");
    server
}

fn client(stage: &Stage, kind: &[&str]) -> Running {
    let (connect, trusted) = (format!("{}:{PORT}", stage.public), path(stage, "certificate.pem"));
    let args = ["s_client", "-connect", &connect, "-CAfile", &trusted, "-verify_return_error", "-quiet"];
    stage.start("tls-client", "openssl", &[&args, kind].concat())
}

fn path(stage: &Stage, name: &str) -> String {
    stage.folder().join(name).display().to_string()
}
