//! Bytes both ways, and how connections end.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::sleep;
use udp_director_core::Event;

use crate::world::*;

/// A stream in which every byte tells its place.
fn stream(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 24) as u8
    };
    std::iter::repeat_with(word).take(len).collect()
}

/// Sends in pieces of 1 to 65,536 bytes, then ends its side.
async fn send_in_pieces(mut to: OwnedWriteHalf, bytes: Vec<u8>) -> OwnedWriteHalf {
    let mut rest = &bytes[..];
    let mut sizes = stream(1_000_000, 7).into_iter();
    while !rest.is_empty() {
        let size = 1 << (sizes.next().expect("a size") % 17);
        let (piece, more) = rest.split_at(size.min(rest.len()));
        to.write_all(piece).await.expect("a peer that reads");
        rest = more;
    }
    to.shutdown().await.expect("an open connection");
    to
}

/// Reads to the end, with some rests, so that buffers on the way run full.
async fn read_with_rests(mut from: OwnedReadHalf) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 100_000];
    loop {
        let before = bytes.len() >> 21;
        let len = from.read(&mut piece).await.expect("a regular end");
        bytes.extend_from_slice(&piece[..len]);
        if len == 0 {
            return bytes;
        }
        if bytes.len() >> 21 > before {
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_each_way_arrive_whole_at_slow_readers() {
    const LEN: usize = 10_000_000;
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let (client, server, _) = world.enter(0, &backend).await;
    let (up, down) = (stream(LEN, 1), stream(LEN, 2));
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let senders = [(client_write, up.clone()), (server_write, down.clone())]
        .map(|(to, bytes)| tokio::spawn(send_in_pieces(to, bytes)));
    let at_server = tokio::spawn(read_with_rests(server_read));
    let at_client = tokio::spawn(read_with_rests(client_read));
    assert!(soon(at_server).await.expect("no panic") == up);
    assert!(soon(at_client).await.expect("no panic") == down);
    for sender in senders {
        soon(sender).await.expect("no panic");
    }
    world.until(|world| world.events(Event::EndedClosed) == 1).await;
    let counters = &world.counters;
    for volume in
        [&counters.from_clients, &counters.to_backends, &counters.from_backends, &counters.to_clients]
    {
        let carried = volume.read().1;
        assert!((LEN as u64..=LEN as u64 + 1).contains(&carried), "{carried}, but for the newline");
    }
}

#[tokio::test]
async fn client_that_has_ended_its_side_still_gets_the_answer() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let (mut client, mut server, _) = world.enter(0, &backend).await;
    write(&mut client, b"question").await;
    finish(&mut client).await;
    assert_eq!(read_all(&mut server).await, b"question");
    write(&mut server, b"answer").await;
    assert_eq!(read(&mut client, 6).await, b"answer");
    drop(server);
    assert_eq!(read_all(&mut client).await, b"");
    world.until(|world| world.events(Event::EndedClosed) == 1).await;
    assert_eq!(world.ledger.lock().session_count(), 0);
}

#[tokio::test]
async fn backend_that_has_ended_its_side_still_gets_what_the_client_sends() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let (mut client, mut server, _) = world.enter(0, &backend).await;
    write(&mut server, b"greeting").await;
    finish(&mut server).await;
    assert_eq!(read_all(&mut client).await, b"greeting");
    write(&mut client, b"report").await;
    drop(client);
    assert_eq!(read_all(&mut server).await, b"report");
    world.until(|world| world.events(Event::EndedClosed) == 1).await;
}

#[tokio::test]
async fn client_that_closes_at_once_loses_nothing() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    for len in [0, 1, 1000, 1_000_000] {
        let sent = stream(len, 3);
        let preamble = world.token(0).as_bytes().to_vec();
        let mut client = world.connect().await;
        let bytes = [&preamble[..], b"\n", &sent].concat();
        let sending = tokio::spawn(async move {
            write(&mut client, &bytes).await;
            drop(client);
        });
        assert!(read_all(&mut accept(&backend).await).await == sent, "{len} bytes");
        soon(sending).await.expect("no panic");
    }
}

#[tokio::test]
async fn backend_that_closes_at_once_loses_nothing() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    for len in [0, 1, 1000, 1_000_000] {
        let sent = stream(len, 4);
        let (mut client, mut server, _) = world.enter(0, &backend).await;
        let bytes = sent.clone();
        let sending = tokio::spawn(async move {
            write(&mut server, &bytes).await;
            drop(server);
        });
        assert!(read_all(&mut client).await == sent, "{len} bytes");
        soon(sending).await.expect("no panic");
    }
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an open connection");
    drop(stream);
}

/// Reads up to a reset.
async fn read_until_reset(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let error = soon(stream.read_to_end(&mut bytes)).await.expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    bytes
}

#[tokio::test]
async fn reset_is_passed_on_behind_the_bytes_before_it() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let (mut client, server, _) = world.enter(0, &backend).await;
    let (other_client, mut other_server, _) = world.enter(0, &backend).await;
    for (mut from, to) in [(server, &mut client), (other_client, &mut other_server)] {
        write(&mut from, b"last words").await;
        assert_eq!(read(to, 4).await, b"last");
        reset(from);
        assert_eq!(read_until_reset(to).await, b" words");
    }
    world.until(|world| world.events(Event::EndedClosed) == 2).await;
}

#[tokio::test]
async fn late_reset_does_not_spoil_a_regular_end() {
    const LEN: usize = 300_000;
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let (mut client, mut server, _) = world.enter(0, &backend).await;
    let sent = stream(LEN, 5);
    write(&mut server, &sent).await;
    finish(&mut server).await;
    world.until(|world| world.counters.from_backends.read().1 == LEN as u64).await;
    reset(server);
    for _ in 0..20 {
        write(&mut client, b"are you there?").await;
        sleep(Duration::from_millis(1)).await;
    }
    assert!(read_all(&mut client).await == sent);
}

#[test]
fn session_and_seat_are_given_back_when_the_task_is_dropped() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (world, _ends) = runtime.block_on(async {
        let (backend, addr) = backend().await;
        let world = World::start(&[addr]).await;
        let ends = world.enter(0, &backend).await;
        (world, ends)
    });
    let backend = world.backend(0);
    assert_eq!((world.ledger.lock().session_count(), backend.load.seats()), (1, 1));
    drop(runtime);
    assert_eq!((world.ledger.lock().session_count(), backend.load.seats()), (0, 0));
    assert_eq!(world.events(Event::EndedClosed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_connections_at_once_each_get_their_own_bytes() {
    const COUNT: usize = 2000;
    udp_director_dataplane::raise_descriptor_limit().expect("a limit");
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    tokio::spawn(async move {
        while let Ok((mut server, _)) = backend.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = server.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let mut clients = Vec::new();
    for number in 0..COUNT {
        let token = world.token(0);
        let bytes = [token.as_bytes(), &b"\n"[..], format!("{number:08}").as_bytes()].concat();
        clients.push(world.send(&bytes).await);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(read(client, 8).await, format!("{number:08}").as_bytes());
    }
    assert_eq!(world.ledger.lock().session_count(), COUNT);
    assert_eq!(world.streams.connections(), COUNT);
    drop(clients);
    world.until(|world| world.events(Event::EndedClosed) == COUNT as u64).await;
    world.until(|world| world.streams.connections() == 0).await;
}
