//! When nobody uses a session, and when its backend is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use udp_director_core::{Event, Inventory, Seat, Settings};

use crate::world::*;

const SHORT: Duration = Duration::from_secs(1);

fn short(settings: Settings) -> Settings {
    Settings { session_timeout: SHORT, ..settings }
}

/// Uses a session one way for longer than it could stay unused; gives when it did so last.
async fn keep_alive(from: &mut TcpStream, to: &mut TcpStream) -> Instant {
    for _ in 0..8 {
        write(from, b"tick").await;
        assert_eq!(read(to, 4).await, b"tick");
        sleep(SHORT / 5).await;
    }
    let last = Instant::now();
    write(from, b"last").await;
    assert_eq!(read(to, 4).await, b"last");
    last
}

#[tokio::test]
async fn either_direction_keeps_a_session_alive_and_silence_ends_it() {
    let (backend, addr) = backend().await;
    let world = World::start_with(&[addr], short).await;
    let (mut client, mut server, _) = world.enter(0, &backend).await;
    let (mut other_client, mut other_server, _) = world.enter(0, &backend).await;
    let (last, other_last) =
        tokio::join!(keep_alive(&mut client, &mut server), keep_alive(&mut other_server, &mut other_client));
    assert_eq!(world.events(Event::EndedIdle), 0);
    for (end, last) in [(&mut client, last), (&mut other_client, other_last)] {
        assert_eq!(read_all(end).await, b"");
        assert!(last.elapsed() >= SHORT - Duration::from_millis(1), "after {:?}", last.elapsed());
        assert!(last.elapsed() < SHORT * 3, "after {:?}", last.elapsed());
    }
    for end in [&mut server, &mut other_server] {
        assert_eq!(read_all(end).await, b"");
    }
    world.until(|world| world.events(Event::EndedIdle) == 2).await;
    assert_eq!(world.ledger.lock().session_count(), 0);
}

#[tokio::test]
async fn half_closed_session_ends_by_silence_too() {
    let (backend, addr) = backend().await;
    let world = World::start_with(&[addr], short).await;
    let (mut client, mut server, _) = world.enter(0, &backend).await;
    finish(&mut client).await;
    assert_eq!(read_all(&mut server).await, b"");
    assert_eq!(read_all(&mut client).await, b"");
    world.until(|world| world.events(Event::EndedIdle) == 1).await;
}

#[tokio::test]
async fn shorter_timeout_holds_for_running_sessions() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let (mut client, _server, _) = world.enter(0, &backend).await;
    let settings = Arc::clone(world.ledger.lock().settings());
    world.ledger.lock().configure(Arc::new(short((*settings).clone())));
    world.streams.reconsider();
    assert_eq!(read_all(&mut client).await, b"");
    world.until(|world| world.events(Event::EndedIdle) == 1).await;
}

#[tokio::test]
async fn session_is_closed_when_its_backend_is_gone() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let (mut client, mut server, id) = world.enter(0, &backend).await;
    let seat = Arc::clone(&world.ledger.lock().session(id).expect("it runs").seat);
    let another = Arc::new(Seat::take(seat.backend()).expect("a seat"));
    world.ledger.lock().publish(Inventory::default().into(), None);
    world.streams.close(id, another);
    client.write_all(b"a").await.expect("it still runs");
    assert_eq!(server.read_u8().await.expect("it still runs"), b'a');
    world.streams.close(id, Arc::clone(&seat));
    assert_eq!(read_all(&mut client).await, b"");
    assert_eq!(read_all(&mut server).await, b"");
    world.until(|world| world.events(Event::EndedBackendGone) == 1).await;
    world.streams.close(id, seat);
}
