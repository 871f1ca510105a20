//! The default endpoint: where clients without a token go, and how those with one get past it.

use std::time::Duration;

use udp_director_core::{Dropped, Event, Refusal};
use udp_director_testkit::sim::{GAME, Setup, VOICE, World, backend, client, lobby};

const GRACE: Duration = Duration::from_millis(500);

fn with_lobby() -> Setup {
    let mut setup = Setup {
        backends: vec![backend("alpha", 1), lobby("lobby", 8), lobby("lounge", 9)],
        ..Setup::default()
    };
    setup.settings.has_default_endpoint = true;
    setup
}

#[test]
fn clients_without_a_token_are_spread_over_the_default_endpoint() {
    let mut world = World::new(with_lobby());
    for port in 1..=10 {
        world.send(GAME, udp_director_testkit::sim::client_at(1, port), &[port as u8]);
    }
    world.settle();
    assert_eq!((world.seats("lobby"), world.seats("lounge")), (5, 5));
    assert_eq!(world.events(Event::OpenedByDefault), 10);
    world.run_out();
    world.assert_empty();
}

#[test]
fn datagrams_that_overtake_the_token_wait_for_it() {
    let mut world = World::new(with_lobby());
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    for number in 0..8 {
        world.send(GAME, alice, &[number]);
    }
    world.run(GRACE - Duration::from_micros(1));
    assert!(world.watch().arrived.is_empty());
    world.bare(GAME, alice, token);
    world.send(GAME, alice, &[8]);
    world.settle();
    let arrived: Vec<u8> = world.watch().arrived.iter().map(|arrived| arrived.payload[0]).collect();
    assert_eq!(arrived, [0, 1, 2, 3, 4, 5, 6, 7, 8], "in order");
    assert!(world.watch().arrived.iter().all(|arrived| arrived.backend == "alpha"));
}

#[test]
fn ninth_datagram_that_waits_is_dropped() {
    let mut world = World::new(with_lobby());
    let alice = client("192.0.2.1:5000");
    world.token(alice.ip(), "alpha");
    for number in 0..9 {
        world.send(GAME, alice, &[number]);
    }
    world.settle();
    assert_eq!(world.drops(Dropped::HoldFull), 1);
    world.run(GRACE);
    assert_eq!(world.watch().arrived.len(), 8);
}

#[test]
fn client_whose_token_is_lost_goes_to_the_default_endpoint_after_the_grace() {
    let mut world = World::new(with_lobby());
    let alice = client("192.0.2.1:5000");
    world.token(alice.ip(), "alpha");
    world.send(GAME, alice, b"first");
    world.run(Duration::from_millis(499));
    assert!(world.watch().arrived.is_empty());
    world.run(Duration::from_millis(1));
    assert_eq!(world.watch().backend_of(b"first"), "lobby");
    world.send(GAME, alice, b"second");
    world.settle();
    assert_eq!(world.watch().backend_of(b"second"), "lobby");
}

#[test]
fn token_that_comes_after_the_grace_still_counts() {
    for control in [false, true] {
        let mut world = World::new(with_lobby());
        let alice = client("192.0.2.1:5000");
        let token = world.token(alice.ip(), "alpha");
        world.send(GAME, alice, b"first");
        world.run(Duration::from_secs(2));
        if control {
            world.control(GAME, alice, token);
        } else {
            world.bare(GAME, alice, token);
        }
        world.send(GAME, alice, b"second");
        world.settle();
        assert_eq!(world.watch().backend_of(b"first"), "lobby");
        assert_eq!(world.watch().backend_of(b"second"), "alpha");
        assert!(!world.watch().has_arrived(token.as_bytes()));
        assert_eq!((world.seats("lobby"), world.seats("alpha")), (0, 1));
        world.run_out();
        world.assert_empty();
    }
}

#[test]
fn clients_of_an_ip_without_a_waiting_token_are_not_held() {
    let mut world = World::new(with_lobby());
    let (alice, bob) = (client("192.0.2.1:5000"), client("192.0.2.2:5000"));
    let token = world.token(alice.ip(), "alpha");
    world.send(GAME, bob, b"bob");
    world.settle();
    assert_eq!(world.watch().backend_of(b"bob"), "lobby");
    world.bare(GAME, alice, token);
    world.bare(VOICE, alice, token);
    world.send(GAME, client("192.0.2.1:5001"), b"carol");
    world.settle();
    assert!(world.watch().has_arrived(b"carol"), "no token of that IP waits any more");
}

#[test]
fn held_datagrams_are_counted_when_no_backend_is_left_for_them() {
    let mut world = World::new(with_lobby());
    let alice = client("192.0.2.1:5000");
    world.token(alice.ip(), "alpha");
    for number in 0..3 {
        world.send(GAME, alice, &[number]);
    }
    world.settle();
    world.publish(vec![backend("alpha", 1)]);
    world.run(GRACE);
    assert_eq!(world.refusals(Refusal::NoDefaultBackend), 3);
    world.run_out();
    world.assert_empty();
}

#[test]
fn spoofed_token_does_not_move_a_tokenless_client() {
    let mut world = World::new(with_lobby());
    let (alice, mallory) = (client("192.0.2.1:5000"), client("203.0.113.66:4000"));
    world.send(GAME, alice, b"before");
    let own = world.token(mallory.ip(), "alpha");
    world.bare(GAME, alice, own);
    world.control(GAME, alice, own);
    world.control(GAME, mallory, own);
    world.control(GAME, alice, own);
    world.send(GAME, alice, b"after");
    world.settle();
    assert_eq!(world.watch().backend_of(b"after"), "lobby");
    assert_eq!(world.refusals(Refusal::WrongClient), 2);
}

#[test]
fn second_wait_of_an_address_lasts_as_long_as_the_first() {
    let mut setup = with_lobby();
    setup.settings.session_timeout = Duration::from_millis(100);
    let mut world = World::new(setup);
    let alice = client("192.0.2.1:5000");
    let first = world.token(alice.ip(), "alpha");
    world.send(GAME, alice, b"one");
    world.bare(GAME, alice, first);
    world.run(Duration::from_millis(400));
    assert_eq!(world.sessions(), 0, "idle");
    world.token(alice.ip(), "alpha");
    world.send(GAME, alice, b"two");
    world.run(Duration::from_millis(499));
    assert!(!world.watch().has_arrived(b"two"));
    world.run(Duration::from_millis(1));
    assert_eq!(world.watch().backend_of(b"two"), "lobby");
}

#[test]
fn datagrams_are_held_on_a_listener_whose_token_is_yet_to_come_though_another_has_it() {
    let mut world = World::new(with_lobby());
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, token);
    world.settle();
    world.send(VOICE, alice, b"hello");
    world.bare(VOICE, alice, token);
    world.settle();
    assert_eq!(world.watch().backend_of(b"hello"), "alpha");
}
