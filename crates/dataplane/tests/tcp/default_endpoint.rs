//! Connections without a token, where there is a default endpoint.

use std::time::Duration;

use tokio::time::sleep;
use udp_director_core::{Event, Inventory, Refusal, Settings};

use crate::world::*;

fn open(settings: Settings) -> Settings {
    Settings { has_default_endpoint: true, ..settings }
}

#[tokio::test]
async fn stream_without_a_token_reaches_the_default_endpoint_whole() {
    let (backend, addr) = backend().await;
    let world = World::start_with(&[addr], open).await;
    let half_a_token = &world.unknown_token().as_bytes()[..20].to_vec();
    let binary: Vec<u8> = (0..=255).cycle().take(5000).collect();
    for (count, bytes) in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &binary,
        b"\xff\xff\xff\xffRESET and more",
        b"\xff\xff\xff\xff",
        half_a_token,
        &[half_a_token, &b"!"[..]].concat(),
        b"\n",
        b"",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = world.send(bytes).await;
        finish(&mut client).await;
        assert_eq!(read_all(&mut accept(&backend).await).await, bytes, "stream {count}");
        assert_eq!(world.events(Event::OpenedByDefault), count as u64 + 1);
    }
}

#[tokio::test]
async fn half_a_token_and_then_other_bytes_reach_the_default_endpoint_in_order() {
    let (backend, addr) = backend().await;
    let world = World::start_with(&[addr], open).await;
    let mut client = world.send(b"0b6f2c1e").await;
    sleep(Duration::from_millis(5)).await;
    write(&mut client, b" is data").await;
    assert_eq!(read(&mut accept(&backend).await, 16).await, b"0b6f2c1e is data");
}

#[tokio::test]
async fn server_of_the_default_endpoint_may_speak_first() {
    let (backend, addr) = backend().await;
    let world = World::start_with(&[addr], open).await;
    let mut client = world.connect().await;
    let mut server = accept(&backend).await;
    write(&mut server, b"220 welcome").await;
    assert_eq!(read(&mut client, 11).await, b"220 welcome");
    write(&mut client, world.unknown_token().as_bytes()).await;
    assert_eq!(read(&mut server, 36).await.len(), 36, "what looks like a token later is data");
}

#[tokio::test]
async fn silent_client_whose_ip_has_a_token_waiting_is_waited_for() {
    let (backend, addr) = backend().await;
    let (lobby, lobby_addr) = self::backend().await;
    let grace = Duration::from_millis(20);
    let world =
        World::start_with(&[lobby_addr, addr], |settings| open(Settings { token_grace: grace, ..settings }))
            .await;
    let token = world.token(1);
    let mut client = world.connect().await;
    sleep(grace * 5).await;
    write(&mut client, &[token.as_bytes(), &b"late"[..]].concat()).await;
    assert_eq!(read(&mut accept(&backend).await, 4).await, b"late");
    assert!(is_untouched(&lobby).await);
}

#[tokio::test]
async fn token_that_is_not_good_does_not_reach_the_default_endpoint() {
    let (backend, addr) = backend().await;
    let world = World::start_with(&[addr], open).await;
    assert!(is_turned_away(&mut world.send(world.unknown_token().as_bytes()).await).await);
    assert_eq!(world.refused(Refusal::UnknownToken), 1);
    assert!(is_untouched(&backend).await);
}

#[tokio::test]
async fn default_endpoint_without_a_backend_closes_the_connection() {
    let (_backend, addr) = backend().await;
    let world = World::start_with(&[addr], open).await;
    world.ledger.lock().publish(Inventory::default().into(), None);
    assert!(is_turned_away(&mut world.send(b"hello").await).await);
    assert_eq!(world.refused(Refusal::NoDefaultBackend), 1);
}
