//! The command line: what it prints and its exit codes.

use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output};

use udp_director_load::{EchoServer, ServerId};

fn load(words: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_udp-director-load");
    Command::new(program).args(words).output().expect("the program starts")
}

/// What a run that failed says last, besides its exit code.
fn complaint(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

fn server() -> EchoServer {
    let listen = "127.0.0.1:0".parse().expect("an address");
    EchoServer::start(listen, "alpha", ServerId(1)).expect("a free port")
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").to_string()
}

#[test]
fn impossible_arguments_are_bad_usage() {
    let nobody = &nobody();
    for (words, named) in [
        (&["run", nobody][..], "--director"),
        (&["run", nobody, "--no-token", "--director", nobody], "cannot be used with"),
        (&["run", nobody, "--director", nobody], "--query"),
        (&["run", nobody, "--director", nobody, "--query", "{"], "--query"),
        (&["run", nobody, "--no-token", "--clients", "0"], "--clients"),
        (&["run", nobody, "--no-token", "--size", "25"], "--size"),
        (&["run", nobody, "--no-token", "--size", "65508"], "--size"),
        (&["run", nobody, "--no-token", "--rate", "0"], "--rate"),
        (&["run", nobody, "--no-token", "--rate", "nan"], "--rate"),
        (&["run", nobody, "--no-token", "--rate", "9", "--in-flight", "9"], "--in-flight"),
        (&["run", nobody, "--no-token", "--duration=-1"], "--duration"),
        (&["run", nobody, "--no-token", "--client-net", "10.0.0.0/33"], "--client-net"),
        (&["run", "nowhere", "--no-token"], "HOST:PORT"),
        (&["query", "--director", nobody], "--query"),
        (&["echo", "--listen", "127.0.0.1:0", "--name", "a", "--id", "0"], "--id"),
    ] {
        let (code, text) = complaint(&load(words));
        assert_eq!(code, Some(2), "{words:?}: {text}");
        assert!(text.contains(named), "{words:?}: {text}");
    }
}

#[test]
fn crowd_that_does_not_fit_is_bad_usage_and_hears_what_would() {
    for (words, told) in [
        (&["127.0.0.1:9", "--client-net", "127.9.0.0/30", "--clients", "100"][..], "has 2 source addresses"),
        (&["127.0.0.1:9", "--clients", "10000000"], "--client-net lets clients share them"),
        (&["[::1]:9", "--client-net", "127.9.0.0/16"], "is an IPv4 network"),
    ] {
        let (code, text) = complaint(&load(&[&["run", "--no-token"], words].concat()));
        assert_eq!(code, Some(2), "{words:?}: {text}");
        assert!(text.contains(told), "{words:?}: {text}");
    }
}

#[test]
fn director_that_is_not_there_is_a_failure() {
    let nobody = &nobody();
    let query = r#"{"resourceType": "server"}"#;
    for words in [
        &["run", nobody, "--director", nobody, "--query", query][..],
        &["query", "--director", nobody, "--query", query],
    ] {
        let (code, text) = complaint(&load(words));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(nobody) && text.contains("cannot be reached"), "{text}");
    }
}

#[test]
fn data_port_that_says_nothing_is_a_failure() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let addr = silent.local_addr().expect("it is bound").to_string();
    let (code, text) = complaint(&load(&["run", &addr, "--no-token", "--clients", "3"]));
    assert_eq!(code, Some(1));
    assert!(text.contains("3 of 3 clients got no reply"), "{text}");
}

#[test]
fn findings_come_as_text_or_as_json() {
    let server = server();
    let addr = &server.addr().to_string();
    let run = ["run", addr, "--no-token", "--clients", "5", "--warm-up", "0", "--duration", "0.2"];
    let text = String::from_utf8(load(&run).stdout).expect("text");
    assert!(text.contains("answered    200, lost 0 (0.0000 %)"), "{text}");
    let json = load(&[&run[..], &["--json"]].concat()).stdout;
    let found: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!((&found["opening"]["opened"], &found["play"]["lost"]), (&5.into(), &0.into()));
    assert!(found["play"]["round_trip_us"]["p99"].as_f64() > Some(0.0), "{found}");
}
