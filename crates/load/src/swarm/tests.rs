//! Swarms against real sockets: an echo server, and servers that misbehave.

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::beat::{Beat, ServerId};
use crate::echo::EchoServer;

const TOKEN: &[u8; 36] = b"0b6f2c1e-8f3a-4c55-9d0e-3f6a1b2c4d5e";

fn crowd(clients: u32, net: Option<&str>, threads: u32) -> Crowd {
    Crowd { clients, net: net.map(|net| net.parse().expect("a network")), ports: 4, threads }
}

fn setup(target: SocketAddr, crowd: Crowd) -> Setup {
    Setup { target, crowd, tokens: Vec::new(), magic: Magic::default(), datagram_bytes: 100 }
}

fn game(flow: Flow) -> Game {
    Game { flow, warm_up: Duration::from_millis(50), duration: Duration::from_millis(300) }
}

fn echo() -> EchoServer {
    let listen = "127.0.0.1:0".parse().expect("an address");
    EchoServer::start(listen, "alpha", ServerId(1)).expect("a free port")
}

/// A server that does as it is told with each datagram, until its test is over.
fn server(mut act: impl FnMut(&UdpSocket, &[u8], SocketAddr) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let addr = socket.local_addr().expect("it is bound");
    thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut datagram) {
            act(&socket, &datagram[..len], from);
        }
    });
    addr
}

fn play(setup: &Setup, flow: Flow) -> (Opened, Played) {
    let mut swarm = Swarm::new(setup).expect("sockets are to be had");
    let opened = swarm.open(16).expect("loopback is there");
    let played = swarm.play(&game(flow)).expect("loopback is there");
    (opened, played)
}

#[test]
fn every_client_opens_and_every_beat_is_answered() {
    let server = echo();
    for (net, threads) in [(None, 1), (Some("127.9.0.0/16"), 1), (Some("127.9.0.0/16"), 2)] {
        let setup = setup(server.addr(), crowd(50, net, threads));
        for flow in [Flow::Rate(1_000.0), Flow::InFlight(8)] {
            let (opened, played) = play(&setup, flow);
            assert_eq!((opened.opened, opened.latency.count()), (50, 50));
            assert!(played.answered > 0 && played.round_trips.count() == played.answered, "{played:?}");
            let astray = [played.lost(), played.duplicated, played.misdelivered, played.strays];
            assert_eq!(astray, [0; 4], "{played:?}");
        }
    }
}

#[test]
fn beats_go_out_at_the_rate_whatever_comes_back() {
    let mut seen = 0;
    // Answers whoever opens, and nothing else.
    let silent = server(move |socket, datagram, from| {
        seen += 1;
        if seen <= 10 {
            socket.send_to(datagram, from).expect("loopback takes it");
        }
    });
    let (_, played) = play(&setup(silent, crowd(10, None, 1)), Flow::Rate(2_000.0));
    assert_eq!((played.sent + played.unsent, played.lost()), (600, played.sent));
}

#[test]
fn wait_for_a_slow_server_counts_for_every_beat_that_was_due() {
    let (mut seen, mut held) = (0, Vec::new());
    // Holds everything back for a while, as a server does that is busy.
    let slow = server(move |socket, datagram, from| {
        seen += 1;
        held.push((datagram.to_vec(), from));
        if !(50..=200).contains(&seen) {
            for (datagram, from) in held.drain(..) {
                socket.send_to(&datagram, from).expect("loopback takes it");
            }
        }
    });
    let (_, played) = play(&setup(slow, crowd(1, None, 1)), Flow::Rate(1_000.0));
    assert_eq!(played.lost(), 0);
    assert!(played.round_trips.longest() >= Duration::from_millis(140), "{played:?}");
    assert!(played.round_trips.at(0.6) >= Duration::from_millis(20), "{played:?}");
}

#[test]
fn lost_duplicated_and_reordered_beats_are_found() {
    let mut held = Vec::new();
    // Of each four: the first is lost, the second comes twice, the third behind the fourth.
    let bad = server(move |socket, datagram, from| {
        let send = |datagram: &[u8]| {
            socket.send_to(datagram, from).expect("loopback takes it");
        };
        match Beat::parse(datagram).expect("a beat").sequence {
            0 => send(datagram),
            n if n % 4 == 1 => {}
            n if n % 4 == 2 => (0..2).for_each(|_| send(datagram)),
            n if n % 4 == 3 => held = datagram.to_vec(),
            _ => [datagram, &held].iter().for_each(|datagram| send(datagram)),
        }
    });
    let (_, played) = play(&setup(bad, crowd(1, None, 1)), Flow::Rate(1_000.0));
    let quarter = played.sent / 4;
    for found in [played.lost(), played.duplicated, played.reordered] {
        assert!(found.abs_diff(quarter) <= 1, "{played:?}");
    }
}

#[test]
fn reply_that_reaches_another_client_is_found() {
    for net in [None, Some("127.9.0.0/16")] {
        let mut first = None;
        // Serves everybody until both have opened, then the first alone.
        let mut seen = 0;
        let confused = server(move |socket, datagram, from| {
            seen += 1;
            let first = *first.get_or_insert(from);
            let to = if seen <= 2 { from } else { first };
            socket.send_to(datagram, to).expect("loopback takes it");
        });
        let (opened, played) = play(&setup(confused, crowd(2, net, 1)), Flow::Rate(1_000.0));
        assert_eq!((opened.opened, opened.misdelivered), (2, 0));
        assert!(played.misdelivered > 100 && played.lost() > 100, "{played:?}");
    }
}

#[test]
fn client_sends_its_token_and_a_beat_behind_it() {
    let (seen, arrived) = channel();
    let director = server(move |socket, datagram, from| {
        seen.send(datagram.to_vec()).expect("the test waits");
        if Beat::parse(datagram).is_some() {
            socket.send_to(datagram, from).expect("loopback takes it");
        }
    });
    let tokens = vec![Token::from_bytes(TOKEN).expect("a token")];
    let setup = Setup { tokens, ..setup(director, crowd(1, None, 1)) };
    let opened = Swarm::new(&setup).expect("a socket").open(1).expect("loopback is there");
    assert_eq!(opened.opened, 1);
    assert_eq!(next(&arrived), TOKEN);
    assert_eq!(next(&arrived).len(), 100);
}

#[test]
fn refused_token_is_told_with_its_reason() {
    let (seen, arrived) = channel();
    // Drops a bare token, and acknowledges control packets: the token is unknown.
    let director = server(move |socket, datagram, from| {
        if let Some(control) = datagram.strip_prefix(b"\xFF\xFF\xFF\xFFRESET") {
            let ack = [b"\xFF\xFF\xFF\xFFRESET", &control[36..], &[1]].concat();
            seen.send(control.to_vec()).expect("the test waits");
            socket.send_to(&ack, from).expect("loopback takes it");
        }
    });
    let tokens = vec![Token::from_bytes(TOKEN).expect("a token")];
    let setup = Setup { tokens, ..setup(director, crowd(1, None, 1)) };
    let opened = Swarm::new(&setup).expect("a socket").open(1).expect("loopback is there");
    assert_eq!(next(&arrived), [TOKEN, &[1, 0, 0, 0, 0, 0, 0, 0, 0][..]].concat());
    assert_eq!((opened.opened, opened.unanswered), (0, 0));
    let reasons: Vec<_> = opened.refused.into_iter().collect();
    assert!(matches!(&reasons[..], [(reason, 1)] if reason.contains("token")), "{reasons:?}");
}

fn next(arrived: &Receiver<Vec<u8>>) -> Vec<u8> {
    arrived.recv_timeout(Duration::from_secs(5)).expect("a datagram")
}
