//! How fresh the inventory is, and what it costs: 10,000 objects in a real API server, 100 changes a second.
//!
//! `cargo bench -p udp-director-director --bench cluster` prints, for Pods: the time from the moment at
//! which the API server has acknowledged a change until a query sees it, the director's CPU meanwhile, its
//! memory, and what it asked of the API server. The director runs as a process of its own, in release.

#[path = "../tests/cluster/rig.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod rig;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rig::{Director, pods_of};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use udp_director_apiserver::{Account, ApiServer, Kubelet, NewPod};

const OBJECTS: usize = 10_000;
const CHANGES: usize = 2_000;
const PER_SECOND: u64 = 100;

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs this too, and then only wants to know that it builds.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let server = ApiServer::start().await;
    let namespace = server.namespace().await;
    let account = server.service_account(&namespace, "director").await;
    let kubelet = Arc::new(Kubelet::new(server.admin(), &namespace));
    let director = Arc::new(Director::start(&server, &account, &pods_of(&namespace, "", "")).await);
    let idle = director.memory_mib();
    println!("idle: {idle:.1} MiB");
    let began = Instant::now();
    create(&kubelet).await;
    println!("{OBJECTS} Pods created in {:.0} s", began.elapsed().as_secs_f64());
    director
        .until("all are there", async || director.query(&at(OBJECTS - 1, "0")).await["token"].is_string())
        .await;
    println!(
        "with {OBJECTS} Pods: {:.1} MiB, that is {:.1} more",
        director.memory_mib(),
        director.memory_mib() - idle
    );
    let (cpu, began) = (director.cpu_seconds(), Instant::now());
    let seen = change(&kubelet, &director).await;
    let elapsed = began.elapsed().as_secs_f64();
    let millis = |quantile: f64| {
        let rank = (quantile * (CHANGES - 1) as f64).round() as usize;
        seen[rank].as_secs_f64() * 1_000.0
    };
    println!(
        "{CHANGES} changes at {:.0} a second: seen after p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
        CHANGES as f64 / elapsed,
        millis(0.5),
        millis(0.99),
        millis(1.0)
    );
    println!("CPU meanwhile: {:.0} % of a core", 100.0 * (director.cpu_seconds() - cpu) / elapsed);
    println!("memory afterwards: {:.1} MiB", director.memory_mib());
    requests(&server, &account);
}

fn name(number: usize) -> String {
    format!("server-{number}")
}

fn at(number: usize, round: &str) -> String {
    json!({
        "resourceType": "gs",
        "labelSelector": {"number": number.to_string()},
        "statusQuery": {"jsonPath": "status.message", "expectedValue": round},
    })
    .to_string()
}

/// Creates Pods as big as real ones are, and lets them run.
async fn create(kubelet: &Arc<Kubelet>) {
    let (mut creating, at_once) = (JoinSet::new(), Arc::new(Semaphore::new(32)));
    for number in 0..OBJECTS {
        let turn = Arc::clone(&at_once).acquire_owned().await.expect("it is never closed");
        let kubelet = Arc::clone(kubelet);
        creating.spawn(async move {
            let (name, number_text) = (name(number), number.to_string());
            let labels = [("number", number_text.as_str()), ("app", "server"), ("map", "sand")];
            let annotations = [("game.example/build", "2026.11.22-4711"), ("game.example/notes", NOTES)];
            let ports = [("game", 7777, "UDP"), ("rcon", 7778, "TCP")];
            let pod = NewPod {
                name: &name,
                labels: &labels,
                annotations: &annotations,
                ports: &ports,
                ..NewPod::default()
            };
            kubelet.create(&pod).await.expect("a Pod");
            let address = format!("10.{}.{}.{}", 1 + number / 62_500, number / 250 % 250, 1 + number % 250);
            kubelet.run(&name, &[&address]).await.expect("its status");
            kubelet.write_status(&name, &json!({"message": "0"})).await.expect("its status");
            drop(turn);
        });
    }
    creating.join_all().await;
}

/// Writes a status at a steady rate, each of another Pod, and times each until a query sees it. Gives the
/// times in ascending order.
async fn change(kubelet: &Arc<Kubelet>, director: &Arc<Director>) -> Vec<Duration> {
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / PER_SECOND));
    let mut watching = JoinSet::new();
    for change in 0..CHANGES {
        ticks.tick().await;
        let (kubelet, director, number) = (Arc::clone(kubelet), Arc::clone(director), change * 7 % OBJECTS);
        watching.spawn(async move {
            kubelet.write_status(&name(number), &json!({"message": "1"})).await.expect("a change");
            let written = Instant::now();
            let document = at(number, "1");
            while !director.query(&document).await["token"].is_string() {
                assert!(written.elapsed() < Duration::from_secs(10), "never seen: {document}");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            written.elapsed()
        });
    }
    let mut seen = watching.join_all().await;
    seen.sort_unstable();
    seen
}

/// What the director has asked of the API server.
fn requests(server: &ApiServer, account: &Account) {
    let mut counts = std::collections::BTreeMap::new();
    for request in server.requests_of(&account.user) {
        *counts.entry((request.verb, request.resource, request.code)).or_insert(0) += 1;
    }
    for ((verb, resource, code), count) in counts {
        println!("{count:>6} x {verb} {resource} ({code})");
    }
}

const NOTES: &str = "started by the fleet autoscaler; allocated players are moved by the director; \
    region eu-central, hardware class m6, shutdown after two hours without players";
