//! Rules of the admin server, over real sockets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::metrics::tests::sources;

struct Running {
    addr: SocketAddr,
    readiness: Arc<Readiness>,
    sources: Arc<Sources>,
    heartbeat_age: Arc<AtomicU64>,
}

async fn running() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let readiness = Arc::new(Readiness::awaiting(["inventory", "listeners"]));
    let (sources, heartbeat_age) = (Arc::new(sources()), Arc::new(AtomicU64::new(0)));
    let age = Arc::clone(&heartbeat_age);
    let age = Reading::new(move || Duration::from_secs(age.load(Ordering::Relaxed)));
    let drain = Arc::new(Drain::new(Arc::clone(&sources.ledger), Arc::clone(&readiness)));
    let admin = Admin {
        drain,
        sources: Arc::clone(&sources),
        readiness: Arc::clone(&readiness),
        jobs: Arc::default(),
        heartbeats: vec![Heartbeat { of: "worker 0".into(), age }],
    };
    tokio::spawn(admin.serve(listener, std::future::pending()));
    Running { addr, readiness, sources, heartbeat_age }
}

/// The status code, and the rest of the response.
async fn request(addr: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: director\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("a response");
    let status = response.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, response)
}

#[tokio::test]
async fn ready_only_while_nothing_is_missing() {
    let running = running().await;
    let (status, text) = request(running.addr, "/readyz").await;
    assert!(status == 503 && text.ends_with("\r\n\r\nnot ready: inventory, listeners\n"), "{text}");
    running.readiness.meet("inventory");
    running.readiness.meet("listeners");
    let (status, text) = request(running.addr, "/readyz").await;
    assert!(status == 200 && text.ends_with("\r\n\r\nready\n"), "{text}");
    running.readiness.fail("draining");
    assert_eq!(request(running.addr, "/readyz").await.0, 503);
}

#[tokio::test]
async fn verbose_tells_of_inventory_and_configuration() {
    let running = running().await;
    let control = &running.sources.control;
    control.config_rejections.store(2, Ordering::Relaxed);
    *control.config_fault.lock().expect("no panic") = "line 3: dataport: unknown key".into();
    let (_, text) = request(running.addr, "/readyz?verbose").await;
    for line in [
        "configuration: generation 0, 2 refused since the start",
        "the file as it is now is refused: line 3: dataport: unknown key",
        "inventory: generation 0, found current 0 s ago, 0 refused since the start",
        "backends: 0, objects that are none: 0",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} in {text}");
    }
}

#[tokio::test]
async fn stuck_worker_makes_the_process_not_live() {
    let running = running().await;
    assert_eq!(request(running.addr, "/livez").await.0, 200);
    running.heartbeat_age.store(11, Ordering::Relaxed);
    let (status, text) = request(running.addr, "/livez").await;
    assert!(status == 503 && text.ends_with("stuck: worker 0 (no sign of life for 11 s)\n"), "{text}");
}

#[tokio::test]
async fn metrics_are_served_as_openmetrics_and_nothing_else_is_there() {
    let running = running().await;
    let (status, text) = request(running.addr, "/metrics").await;
    assert!(status == 200 && text.contains(Metrics::CONTENT_TYPE) && text.ends_with("# EOF\n"), "{text}");
    for path in ["/", "/health", "/metrics/", "/livez/x"] {
        assert_eq!(request(running.addr, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_known_yet_is_no_zero() {
    let running = running().await;
    let paths = ["/v1/backends", "/v1/backends/gs/games/alpha", "/v1/backends/uid/uid-alpha"];
    for path in paths {
        let (status, text) = request(running.addr, path).await;
        assert!(status == 503 && text.contains(r#""code":"not_known_yet""#), "{path}: {text}");
    }
    running.readiness.meet("inventory");
    running.readiness.fail("draining");
    let statuses = [200, 404, 404];
    for (path, expected) in paths.into_iter().zip(statuses) {
        assert_eq!(request(running.addr, path).await.0, expected, "{path}");
    }
}
