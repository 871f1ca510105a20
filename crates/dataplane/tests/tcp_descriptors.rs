//! TCP connections when the process is out of descriptors: a process of its own, for it takes them all.

#[path = "tcp/world.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod world;

use std::fs::File;
use std::process::Command;

use tokio::net::TcpSocket;
use tokio::time::Instant;
use udp_director_core::Dropped;

use world::*;

/// Lowers the limit of open descriptors and opens files until there is none left.
fn take_all_descriptors() -> Vec<File> {
    let pid = std::process::id().to_string();
    let lowered = Command::new("prlimit").args(["--nofile=256:", "--pid", &pid]).status();
    assert!(lowered.expect("prlimit, of util-linux").success());
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[tokio::test]
async fn without_descriptors_accepting_rests_and_goes_on_when_there_are_some() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let (mut client, mut server, _) = world.enter(0, &backend).await;
    let newcomer = TcpSocket::new_v4().expect("a socket");
    let failures = || world.counters.drops(Dropped::AcceptFailed);

    let files = take_all_descriptors();
    let begun = Instant::now();
    let mut newcomer = soon(newcomer.connect(world.public)).await.expect("the kernel takes it");
    world.until(|_| failures() >= 3).await;
    let most = begun.elapsed().as_millis() / 50 + 1;
    assert!(u128::from(failures()) <= most, "{} failures, at most {most} in that time", failures());
    write(&mut client, b"still here").await;
    assert_eq!(read(&mut server, 10).await, b"still here");

    drop(files);
    write(&mut newcomer, &[world.token(0).as_bytes(), &b"hello"[..]].concat()).await;
    assert_eq!(read(&mut accept(&backend).await, 5).await, b"hello");
}
