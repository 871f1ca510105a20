//! Running connections that are moved to another backend.

use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use udp_director_core::{Event, Refusal, SessionId, Settings};

use crate::preamble::announcing;
use crate::world::*;

fn with_grace(grace: Duration) -> impl FnOnce(Settings) -> Settings {
    move |settings| Settings { migration_grace: grace, ..settings }
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn live_stream_moves_to_the_new_backend() {
    let ((old, old_addr), (new, new_addr)) = (backend().await, backend().await);
    let world = World::start_with(&[old_addr, new_addr], with_grace(LONG)).await;
    let (mut client, mut left, id) = world.enter(0, &old).await;
    write(&mut client, b"one").await;
    assert_eq!(read(&mut left, 3).await, b"one");

    soon(world.streams.migrate(id, world.token(1))).await.expect("a good token");
    let mut server = accept(&new).await;
    write(&mut client, b"two").await;
    assert_eq!(read(&mut server, 3).await, b"two");
    assert_eq!(read_all(&mut left).await, b"", "the old backend sees the end of the stream");
    drop(left);
    write(&mut server, b"three").await;
    assert_eq!(read(&mut client, 5).await, b"three");

    assert_eq!(world.events(Event::MigratedByReset), 1);
    assert_eq!(world.backend(0).load.seats(), 0, "the seat on the old backend is given back");
    drop(server);
    assert_eq!(read_all(&mut client).await, b"");
}

#[tokio::test]
async fn bytes_of_the_old_backend_come_before_those_of_the_new() {
    let ((old, old_addr), (new, new_addr)) = (backend().await, backend().await);
    let world = World::start_with(&[old_addr, new_addr], with_grace(LONG)).await;
    let (mut client, mut left, id) = world.enter(0, &old).await;
    soon(world.streams.migrate(id, world.token(1))).await.expect("a good token");
    let mut server = accept(&new).await;
    write(&mut server, b"new").await;
    assert_eq!(read_all(&mut left).await, b"");
    write(&mut left, b"old").await;
    drop(left);
    assert_eq!(read(&mut client, 6).await, b"oldnew");
}

#[tokio::test]
async fn old_backend_that_does_not_end_is_left_after_the_grace() {
    let ((old, old_addr), (new, new_addr)) = (backend().await, backend().await);
    let grace = Duration::from_millis(300);
    let world = World::start_with(&[old_addr, new_addr], with_grace(grace)).await;
    let (mut client, mut left, id) = world.enter(0, &old).await;
    let begun = Instant::now();
    soon(world.streams.migrate(id, world.token(1))).await.expect("a good token");
    let mut server = accept(&new).await;
    write(&mut server, b"new").await;
    write(&mut left, b"old").await;
    assert_eq!(read(&mut client, 6).await, b"oldnew");
    assert!(begun.elapsed() >= grace);
    write(&mut client, b"on").await;
    assert_eq!(read(&mut server, 2).await, b"on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_the_client_is_lost_or_doubled_by_a_migration() {
    const LEN: usize = 6_000_000;
    let ((old, old_addr), (new, new_addr)) = (backend().await, backend().await);
    let world = World::start_with(&[old_addr, new_addr], with_grace(LONG)).await;
    let (mut client, mut left, id) = world.enter(0, &old).await;
    let sent: Vec<u8> = (0..LEN).map(|place| (place / 1000 % 251) as u8).collect();
    let (migrated, was_migrated) = oneshot::channel();
    let bytes = sent.clone();
    let sending = tokio::spawn(async move {
        write(&mut client, &bytes[..LEN / 2]).await;
        was_migrated.await.expect("a migration");
        write(&mut client, &bytes[LEN / 2..]).await;
        finish(&mut client).await;
        client
    });
    // The old backend reads nothing before it is left, so that much is under way to it.
    world.until(|world| world.counters.from_clients.read().1 > 100_000).await;
    soon(world.streams.migrate(id, world.token(1))).await.expect("a good token");
    migrated.send(()).expect("a client that waits");
    let mut server = accept(&new).await;
    let mut received = read_all(&mut left).await;
    assert!((1..LEN).contains(&received.len()), "the cut is within the stream, at {}", received.len());
    received.extend(read_all(&mut server).await);
    assert!(received == sent);
    soon(sending).await.expect("no panic");
}

#[tokio::test]
async fn backend_that_does_not_answer_leaves_the_session_and_the_token_as_they_were() {
    let (old, old_addr) = backend().await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let new_addr = socket.local_addr().expect("a bound socket");
    let world = World::start(&[old_addr, new_addr]).await;
    let (mut client, mut server, id) = world.enter(0, &old).await;
    let token = world.token(1);
    assert_eq!(soon(world.streams.migrate(id, token)).await, Err(Refusal::BackendUnreachable));
    write(&mut client, b"still here").await;
    assert_eq!(read(&mut server, 10).await, b"still here");

    let new = socket.listen(8).expect("a bound socket");
    soon(world.streams.migrate(id, token)).await.expect("the token is still good");
    write(&mut client, b"moved").await;
    assert_eq!(read(&mut accept(&new).await, 5).await, b"moved");
}

#[tokio::test]
async fn token_of_the_same_backend_only_renames_the_session() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let (mut client, mut server, id) = world.enter(0, &backend).await;
    let token = world.token(0);
    soon(world.streams.migrate(id, token)).await.expect("a good token");
    write(&mut client, b"same").await;
    assert_eq!(read(&mut server, 4).await, b"same");
    assert_eq!(world.named_by(&token), Some(id));
    assert!(is_untouched(&backend).await);
}

#[tokio::test]
async fn migration_that_is_not_allowed_changes_nothing() {
    let ((old, old_addr), (new, new_addr)) = (backend().await, backend().await);
    let world = World::start(&[old_addr, new_addr]).await;
    let (mut client, mut server, id) = world.enter(0, &old).await;
    let unknown = world.unknown_token();
    assert_eq!(soon(world.streams.migrate(id, unknown)).await, Err(Refusal::UnknownToken));
    let nobody = SessionId(id.0 + 1);
    assert_eq!(soon(world.streams.migrate(nobody, world.token(1))).await, Err(Refusal::NoSession));
    assert!(is_untouched(&new).await);
    write(&mut client, b"same").await;
    assert_eq!(read(&mut server, 4).await, b"same");
}

#[tokio::test]
async fn session_that_is_leaving_a_backend_is_not_moved_again() {
    let ((old, old_addr), (new, new_addr)) = (backend().await, backend().await);
    let world = World::start_with(&[old_addr, new_addr], with_grace(LONG)).await;
    let (_client, left, id) = world.enter(0, &old).await;
    soon(world.streams.migrate(id, world.token(1))).await.expect("a good token");
    let _server = accept(&new).await;
    let back = world.token(0);
    assert_eq!(soon(world.streams.migrate(id, back)).await, Err(Refusal::WorkerBusy));
    drop(accept(&old).await);
    drop(left);
    let again = async {
        while world.streams.migrate(id, back).await.is_err() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    soon(again).await;
}

#[tokio::test]
async fn session_whose_backend_has_ended_its_side_is_not_moved() {
    let ((old, old_addr), (_new, new_addr)) = (backend().await, backend().await);
    let world = World::start(&[old_addr, new_addr]).await;
    let (mut client, mut server, id) = world.enter(0, &old).await;
    finish(&mut server).await;
    assert_eq!(read_all(&mut client).await, b"");
    assert_eq!(soon(world.streams.migrate(id, world.token(1))).await, Err(Refusal::NoSession));
    write(&mut client, b"report").await;
    assert_eq!(read(&mut server, 6).await, b"report");
}

#[tokio::test]
async fn client_that_has_ended_its_side_has_ended_it_for_the_new_backend() {
    let ((old, old_addr), (new, new_addr)) = (backend().await, backend().await);
    let world = World::start(&[old_addr, new_addr]).await;
    let (mut client, mut left, id) = world.enter(0, &old).await;
    finish(&mut client).await;
    assert_eq!(read_all(&mut left).await, b"");
    soon(world.streams.migrate(id, world.token(1))).await.expect("a good token");
    let mut server = accept(&new).await;
    assert_eq!(read_all(&mut server).await, b"");
    drop(left);
    write(&mut server, b"answer").await;
    drop(server);
    assert_eq!(read_all(&mut client).await, b"answer");
}

#[tokio::test]
async fn new_backend_is_told_the_real_address_first() {
    let ((old, old_addr), (new, new_addr)) = (backend().await, backend().await);
    let world = World::start_with(&[old_addr, new_addr], announcing).await;
    let (mut client, mut left, id) = world.enter(0, &old).await;
    let from = client.local_addr().expect("a connection");
    let header = udp_director_wire::proxy_header(from, world.public, false);
    assert_eq!(read(&mut left, header.len()).await, header);
    soon(world.streams.migrate(id, world.token(1))).await.expect("a good token");
    write(&mut client, b"moved").await;
    let received = read(&mut accept(&new).await, header.len() + 5).await;
    assert_eq!(received, [&header, &b"moved"[..]].concat());
}

#[tokio::test]
async fn migration_needs_a_descriptor_until_the_old_backend_is_left() {
    let ((old, old_addr), (new, new_addr)) = (backend().await, backend().await);
    let world = World::start_with(&[old_addr, new_addr], with_grace(LONG)).await;
    let (mut client, mut left, id) = world.enter(0, &old).await;
    let taken = world.leave_descriptors(0);
    let token = world.token(1);
    assert_eq!(soon(world.streams.migrate(id, token)).await, Err(Refusal::NoUpstream));
    write(&mut client, b"one").await;
    assert_eq!(read(&mut left, 3).await, b"one", "the session is where it was");

    drop(taken);
    soon(world.streams.migrate(id, token)).await.expect("as good as before");
    let _server = accept(&new).await;
    assert_eq!(world.descriptors.taken(), 3);
    drop(left);
    world.until(|world| world.descriptors.taken() == 2).await;
}
