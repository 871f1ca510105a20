//! How a connection begins, and who is turned away.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};
use udp_director_core::{Dropped, Event, Limits, Refusal, Settings};
use udp_director_wire::{ControlPacket, Magic, Token};

use crate::world::*;

/// Every way to write a token at the beginning of a stream.
fn preambles(token: Token) -> [Vec<u8>; 4] {
    let bare = token.as_bytes().to_vec();
    let control = Magic::default().encode_control(&ControlPacket { token, ack: None });
    let with_newline = |bytes: &[u8]| [bytes, b"\n"].concat();
    [bare.clone(), with_newline(&bare), control.clone(), with_newline(&control)]
}

#[tokio::test]
async fn token_in_every_form_opens_a_session_and_is_not_forwarded() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    for form in 0..4 {
        let preamble = &preambles(world.token(0))[form];
        let mut client = world.send(&[preamble, &b"hello"[..]].concat()).await;
        finish(&mut client).await;
        assert_eq!(read_all(&mut accept(&backend).await).await, b"hello", "form {form}");
    }
    assert_eq!(world.events(Event::OpenedByToken), 4);
}

#[tokio::test]
async fn preamble_may_be_split_anywhere() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    for form in [1, 3] {
        let len = preambles(world.unknown_token())[form].len() + 2;
        for split in 1..len {
            let bytes = [&preambles(world.token(0))[form], &b"hi"[..]].concat();
            let mut client = world.send(&bytes[..split]).await;
            sleep(Duration::from_millis(1)).await;
            write(&mut client, &bytes[split..]).await;
            assert_eq!(read(&mut accept(&backend).await, 2).await, b"hi", "form {form} after {split} bytes");
        }
    }
}

#[tokio::test]
async fn one_newline_behind_the_token_is_swallowed_however_late_and_the_next_is_data() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let mut client = world.send(world.token(0).as_bytes()).await;
    let mut server = accept(&backend).await;
    world.until(|world| world.events(Event::OpenedByToken) == 1).await;
    write(&mut client, b"\n").await;
    world.until(|world| world.counters.from_clients.read().1 == 1).await;
    write(&mut client, b"\nhello").await;
    assert_eq!(read(&mut server, 6).await, b"\nhello");
}

#[tokio::test]
async fn token_that_is_not_good_closes_the_connection_and_reaches_no_backend() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let (_client, _server, _) = world.enter(0, &backend).await;
    let in_use = world.token(0);
    let _holder = world.send(in_use.as_bytes()).await;
    let _held = accept(&backend).await;
    world.until(|world| world.events(Event::OpenedByToken) == 2).await;
    let used = world.token(0);
    drop(world.send(used.as_bytes()).await);
    drop(accept(&backend).await);
    world.until(|world| world.events(Event::EndedClosed) == 1).await;
    for (token, refusal) in [
        (world.unknown_token(), Refusal::UnknownToken),
        (world.token_for(0, Ipv4Addr::new(192, 0, 2, 1).into()), Refusal::WrongClient),
        (in_use, Refusal::WrongClient),
        (used, Refusal::UsedToken),
    ] {
        let before = world.refused(refusal);
        let mut client = world.send(&[token.as_bytes(), &b"\nhello"[..]].concat()).await;
        assert!(is_turned_away(&mut client).await, "{refusal}");
        assert_eq!(world.refused(refusal), before + 1, "{refusal}");
    }
    assert!(is_untouched(&backend).await);
}

#[tokio::test]
async fn expired_token_closes_the_connection() {
    let (backend, addr) = backend().await;
    let world =
        World::start_with(&[addr], |settings| Settings { token_ttl: Duration::ZERO, ..settings }).await;
    let mut client = world.send(world.token(0).as_bytes()).await;
    assert!(is_turned_away(&mut client).await);
    assert_eq!(world.refused(Refusal::ExpiredToken), 1);
    assert!(is_untouched(&backend).await);
}

#[tokio::test]
async fn stream_that_is_no_token_is_closed_at_its_first_wrong_byte() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    for (count, bytes) in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"0b6f2c1e_", b"\xff\xff\xff\xffgetstatus", b"\0"]
        .into_iter()
        .enumerate()
    {
        let begun = Instant::now();
        assert!(is_turned_away(&mut world.send(bytes).await).await);
        assert!(begun.elapsed() < Duration::from_secs(4), "it need not wait for the deadline");
        assert_eq!(world.counters.drops(Dropped::NoSession), count as u64 + 1);
    }
    assert!(is_untouched(&backend).await);
}

#[tokio::test]
async fn client_that_ends_before_its_token_is_whole_is_closed() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    for len in [0, 35] {
        let mut client = world.send(&world.token(0).as_bytes()[..len]).await;
        finish(&mut client).await;
        assert!(is_turned_away(&mut client).await);
    }
    assert_eq!(world.counters.drops(Dropped::NoSession), 2);
    assert!(is_untouched(&backend).await);
}

#[tokio::test]
async fn token_has_five_seconds_in_all() {
    let (backend, addr) = backend().await;
    let plain = World::start(&[addr]).await;
    let open =
        World::start_with(&[addr], |settings| Settings { has_default_endpoint: true, ..settings }).await;
    let token = plain.unknown_token();
    let begun = Instant::now();
    let mut silent = plain.connect().await;
    let mut half = plain.send(&token.as_bytes()[..20]).await;
    let mut half_with_default = open.send(&token.as_bytes()[..20]).await;
    for client in [&mut silent, &mut half, &mut half_with_default] {
        assert!(is_turned_away(client).await);
        assert!((4..8).contains(&begun.elapsed().as_secs()), "after {:?}", begun.elapsed());
    }
    assert_eq!(plain.counters.drops(Dropped::NoSession), 2);
    assert_eq!(open.counters.drops(Dropped::NoSession), 1);
    assert!(is_untouched(&backend).await, "half a token reaches nobody");
}

#[tokio::test]
async fn backend_that_does_not_answer_leaves_the_token_good() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let world = World::start(&[socket.local_addr().expect("a bound socket")]).await;
    let token = world.token(0);
    assert!(is_turned_away(&mut world.send(token.as_bytes()).await).await);
    assert_eq!(world.refused(Refusal::BackendUnreachable), 1);

    let backend = socket.listen(8).expect("a bound socket");
    let mut client = world.send(token.as_bytes()).await;
    write(&mut client, b"again").await;
    assert_eq!(read(&mut accept(&backend).await, 5).await, b"again");
}

#[tokio::test]
async fn at_the_bound_of_connections_the_newcomer_is_closed_and_the_others_stay() {
    let (backend, addr) = backend().await;
    let world = World::start_at("127.0.0.1:0", 2, &[addr], |settings| settings).await;
    let (mut client, mut server, _) = world.enter(0, &backend).await;
    let waiting = world.connect().await;
    world.until(|world| world.streams.connections() == 2).await;

    assert!(is_turned_away(&mut world.connect().await).await);
    assert_eq!(world.refused(Refusal::ConnectionLimit), 1);
    write(&mut client, b"still here").await;
    assert_eq!(read(&mut server, 10).await, b"still here");

    drop(waiting);
    world.until(|world| world.streams.connections() == 1).await;
    world.enter(0, &backend).await;
}

#[tokio::test]
async fn newcomer_is_closed_while_descriptors_are_short() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let taken = world.leave_descriptors(3);
    let (mut client, mut server, _) = world.enter(0, &backend).await;
    let mut newcomer = world.connect().await;
    assert!(is_turned_away(&mut newcomer).await, "one descriptor is no room for a connection");
    assert_eq!(world.refused(Refusal::ConnectionLimit), 1);
    write(&mut client, b"still here").await;
    assert_eq!(read(&mut server, 10).await, b"still here");

    drop(taken);
    world.enter(0, &backend).await;
    drop((client, server));
    world.until(|world| world.descriptors.taken() == 0).await;
}

#[tokio::test]
async fn at_the_bound_of_sessions_the_token_is_refused() {
    let (backend, addr) = backend().await;
    let limits = Limits { max_sessions: 1, max_pending_tokens: 100 };
    let world = World::start_with(&[addr], |settings| Settings { limits, ..settings }).await;
    let (_client, _server, _) = world.enter(0, &backend).await;
    assert!(is_turned_away(&mut world.send(world.token(0).as_bytes()).await).await);
    assert_eq!(world.refused(Refusal::SessionLimit), 1);
    assert!(is_untouched(&backend).await);
}

#[tokio::test]
async fn session_knows_the_address_that_its_client_used() {
    let (backend, addr) = backend().await;
    let world = World::start_at("0.0.0.0:0", 10, &[addr], |settings| settings).await;
    let meant = Ipv4Addr::new(127, 0, 0, 7);
    let mut client = TcpStream::connect((meant, world.public.port())).await.expect("a connection");
    let token = world.token_for(0, client.local_addr().expect("a connection").ip());
    write(&mut client, token.as_bytes()).await;
    let _server = accept(&backend).await;
    world.until(|world| world.events(Event::OpenedByToken) == 1).await;
    let id = world.named_by(&token).expect("a session");
    assert_eq!(world.ledger.lock().session(id).expect("a session").local, meant);
}

#[tokio::test]
async fn client_on_a_dual_stack_listener_is_known_by_its_ipv4_address() {
    let (backend, addr) = backend().await;
    let world = World::start_at("[::]:0", 10, &[addr], |settings| settings).await;
    let mut client =
        TcpStream::connect((Ipv4Addr::LOCALHOST, world.public.port())).await.expect("a connection");
    write(&mut client, &[world.token(0).as_bytes(), &b"hello"[..]].concat()).await;
    assert_eq!(read(&mut accept(&backend).await, 5).await, b"hello");
}

#[tokio::test]
async fn proxy_header_is_the_first_that_the_backend_gets() {
    let (backend, addr) = backend().await;
    let world = World::start_with(&[addr], announcing).await;
    let client = world.send(&[world.token(0).as_bytes(), &b"\nhello"[..]].concat()).await;
    let header =
        udp_director_wire::proxy_header(client.local_addr().expect("a connection"), world.public, false);
    let received = read(&mut accept(&backend).await, header.len() + 5).await;
    assert_eq!(received, [&header, &b"hello"[..]].concat());
}

#[tokio::test]
async fn stopped_listener_takes_nobody_and_lets_the_others_go_on() {
    let (backend, addr) = backend().await;
    let world = World::start(&[addr]).await;
    let (mut client, mut server, _) = world.enter(0, &backend).await;
    world.stop.cancel();
    let refused = async { while TcpStream::connect(world.public).await.is_ok() {} };
    soon(refused).await;
    write(&mut client, b"still here").await;
    assert_eq!(read(&mut server, 10).await, b"still here");
}

/// Settings of a listener that tells its backends the clients' real addresses.
pub(crate) fn announcing(mut settings: Settings) -> Settings {
    settings.listeners[0].proxy_protocol = true;
    settings
}
