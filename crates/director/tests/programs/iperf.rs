//! `iperf3`: control over TCP and data over TCP or UDP, on one port number.

use serde_json::Value;

use super::program::{Running, run};
use super::stage::Stage;

#[test]
fn iperf3_moves_tcp_streams_both_ways() {
    let stage = Stage::new();
    let mut server = IperfServer::start(&stage);
    for ip in stage.direct_and_through() {
        for direction in [&[][..], &["--reverse"]] {
            let report = server.measure(&ip, &[&["--parallel", "4", "--bytes", "32M"], direction].concat());
            let [sent, received] =
                ["sum_sent", "sum_received"].map(|sum| report["end"][sum]["bytes"].as_u64());
            assert!(sent >= Some(32 << 20) && received > Some(0), "{ip} {direction:?}: {report}");
        }
    }
}

#[test]
fn iperf3_moves_udp_streams_both_ways_in_order() {
    let stage = Stage::new();
    let mut server = IperfServer::start(&stage);
    for ip in stage.direct_and_through() {
        for direction in [&[][..], &["--reverse"]] {
            let load = ["--udp", "--parallel", "4", "--bitrate", "4M", "--length", "1200", "--time", "1"];
            let report = server.measure(&ip, &[&load, direction].concat());
            let streams = report["end"]["streams"].as_array().expect("streams");
            assert_eq!(streams.len(), 4);
            streams.iter().for_each(|stream| check_stream(&stream["udp"]));
        }
    }
}

#[test]
fn iperf3_moves_udp_datagrams_of_full_size() {
    let stage = Stage::new();
    let mut server = IperfServer::start(&stage);
    let load = ["--udp", "--bitrate", "5M", "--length", "65507", "--time", "1"];
    let report = server.measure(&stage.public.to_string(), &load);
    check_stream(&report["end"]["streams"][0]["udp"]);
}

/// A machine that is busy may lose some, but nothing may come out of order.
fn check_stream(stream: &Value) {
    let number = |key: &str| stream[key].as_f64().unwrap_or_else(|| panic!("no {key}: {stream}"));
    assert!(number("packets") > 0.0 && number("lost_percent") < 50.0, "{stream}");
    assert_eq!(number("out_of_order"), 0.0, "{stream}");
}

/// A server that takes one client at a time, and listens anew for each.
struct IperfServer {
    running: Running,
    clients: u32,
}

impl IperfServer {
    fn start(stage: &Stage) -> IperfServer {
        let ip = stage.servers[0].to_string();
        let args = ["--server", "--bind", &ip, "--port", "7777", "--forceflush"];
        IperfServer { running: stage.start("iperf-server", "iperf3", &args), clients: 0 }
    }

    /// What a client reports that connects to that address.
    fn measure(&mut self, ip: &str, args: &[&str]) -> Value {
        self.clients += 1;
        self.running.wait_for(&format!("(test #{})", self.clients));
        let report = run("iperf3", &[&["--client", ip, "--port", "7777", "--json"], args].concat());
        serde_json::from_str(&report).expect("JSON")
    }
}
