//! `iperf3`: control over TCP and data over TCP or UDP, on one port number.

use serde_json::Value;

use super::program::{Running, run};
use super::stage::{Stage, accepts};

#[test]
fn iperf3_moves_tcp_streams_both_ways() {
    let stage = Stage::new();
    let _server = iperf_server(&stage);
    for ip in stage.direct_and_through() {
        for direction in [&[][..], &["--reverse"]] {
            let report = iperf(&ip, &[&["--parallel", "4", "--bytes", "32M"], direction].concat());
            let [sent, received] =
                ["sum_sent", "sum_received"].map(|sum| report["end"][sum]["bytes"].as_u64());
            assert!(sent >= Some(32 << 20) && received > Some(0), "{ip} {direction:?}: {report}");
        }
    }
}

#[test]
fn iperf3_moves_udp_streams_both_ways_in_order() {
    let stage = Stage::new();
    let _server = iperf_server(&stage);
    for ip in stage.direct_and_through() {
        for direction in [&[][..], &["--reverse"]] {
            let load = ["--udp", "--parallel", "4", "--bitrate", "4M", "--length", "1200", "--time", "1"];
            let report = iperf(&ip, &[&load, direction].concat());
            let streams = report["end"]["streams"].as_array().expect("streams");
            assert_eq!(streams.len(), 4);
            streams.iter().for_each(|stream| check_stream(&stream["udp"]));
        }
    }
}

#[test]
fn iperf3_moves_udp_datagrams_of_full_size() {
    let stage = Stage::new();
    let _server = iperf_server(&stage);
    let load = ["--udp", "--bitrate", "5M", "--length", "65507", "--time", "1"];
    let report = iperf(&stage.public.to_string(), &load);
    check_stream(&report["end"]["streams"][0]["udp"]);
}

/// A machine that is busy may lose some, but nothing may come out of order.
fn check_stream(stream: &Value) {
    let number = |key: &str| stream[key].as_f64().unwrap_or_else(|| panic!("no {key}: {stream}"));
    assert!(number("packets") > 0.0 && number("lost_percent") < 50.0, "{stream}");
    assert_eq!(number("out_of_order"), 0.0, "{stream}");
}

fn iperf_server(stage: &Stage) -> Running {
    let ip = stage.servers[0];
    let mut server =
        stage.start("iperf-server", "iperf3", &["--server", "--bind", &ip.to_string(), "--port", "7777"]);
    server.wait_until(|_| accepts(ip));
    server
}

fn iperf(ip: &str, args: &[&str]) -> Value {
    let report = run("iperf3", &[&["--client", ip, "--port", "7777", "--json"], args].concat());
    serde_json::from_str(&report).expect("JSON")
}
