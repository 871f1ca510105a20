//! How sessions end, and what rests afterwards.

use std::time::Duration;

use udp_director_core::{Dropped, Event};
use udp_director_testkit::sim::{GAME, Setup, World, backend, client, client_at};

use crate::two_workers;

const MICROSECOND: Duration = Duration::from_micros(1);

fn short_timeout() -> Setup {
    let mut setup = Setup::default();
    setup.settings.session_timeout = Duration::from_secs(10);
    setup
}

#[test]
fn session_ends_to_the_second_when_nothing_uses_it() {
    let mut world = World::new(short_timeout());
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, token);
    world.run(Duration::from_secs(4));
    world.send(GAME, alice, b"hello");
    world.run(Duration::from_secs(10) - MICROSECOND);
    assert_eq!(world.sessions(), 1);
    world.run(MICROSECOND);
    assert_eq!((world.sessions(), world.events(Event::EndedIdle)), (0, 1));
    assert_eq!(world.seats("alpha"), 0);
}

#[test]
fn either_direction_and_a_repeated_token_keep_a_session_alive() {
    for feed in ["client", "backend", "control", "token"] {
        let mut world = World::new(short_timeout());
        let alice = client("192.0.2.1:5000");
        let token = world.token(alice.ip(), "alpha");
        world.bare(GAME, alice, token);
        world.send(GAME, alice, b"hello");
        world.settle();
        let seen = world.watch().arrival(b"hello").clone();
        for _ in 0..10 {
            world.run(Duration::from_secs(9));
            match feed {
                "client" => world.send(GAME, alice, b"x"),
                "backend" => world.reply(seen.addr, seen.upstream, b"x"),
                "control" => world.control(GAME, alice, token),
                _ => world.bare(GAME, alice, token),
            }
        }
        world.settle();
        assert_eq!(world.sessions(), 1, "{feed}");
        world.run(Duration::from_secs(10));
        assert_eq!(world.sessions(), 0, "{feed}");
    }
}

#[test]
fn shorter_timeout_holds_for_running_sessions() {
    let mut world = World::new(Setup::default());
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, token);
    world.run(Duration::from_secs(5));
    world.configure(short_timeout().settings);
    world.run(Duration::from_secs(5) - MICROSECOND);
    assert_eq!(world.sessions(), 1);
    world.run(MICROSECOND);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn sessions_of_a_backend_that_is_gone_end_and_others_do_not() {
    let mut world = World::new(Setup { workers: 4, ..Setup::default() });
    for port in 1..=20 {
        let token = world.token(client_at(1, port).ip(), if port % 2 == 0 { "alpha" } else { "beta" });
        world.bare(GAME, client_at(1, port), token);
    }
    world.settle();
    world.publish(vec![backend("beta", 2)]);
    world.settle();
    assert_eq!((world.sessions(), world.events(Event::EndedBackendGone)), (10, 10));
    world.send(GAME, client_at(1, 2), b"into the void");
    world.send(GAME, client_at(1, 1), b"on");
    world.settle();
    assert_eq!(world.watch().backend_of(b"on"), "beta");
    assert!(!world.watch().has_arrived(b"into the void"));
    world.run_out();
    world.assert_empty();
}

#[test]
fn backend_that_comes_back_at_another_address_is_another_target() {
    let mut world = World::new(Setup::default());
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, token);
    world.settle();
    world.publish(vec![backend("alpha", 7)]);
    world.send(GAME, alice, b"old");
    world.settle();
    assert_eq!(world.sessions(), 0);
    assert!(!world.watch().has_arrived(b"old"));
}

#[test]
fn reply_of_nobodys_backend_is_dropped_and_counted() {
    let mut world = World::new(Setup::default());
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, token);
    world.send(GAME, alice, b"hello");
    world.settle();
    let seen = world.watch().arrival(b"hello").clone();
    for stranger in ["10.0.0.1:7001", "10.0.0.2:7000", "203.0.113.66:7000"] {
        let source = udp_director_core::BackendAddr::new(stranger.parse().expect("an address"));
        world.reply(source, seen.upstream, b"boo");
    }
    world.settle();
    assert!(!world.watch().has_delivered(GAME, alice, b"boo"));
    assert_eq!(world.drops(Dropped::UnknownSource), 3);
}

/// The next player of that backend would get what is still under way to the last one.
#[test]
fn slot_rests_until_its_backend_has_been_silent_for_a_while() {
    let mut setup = short_timeout();
    setup.max_upstreams = 1;
    let mut world = World::new(setup);
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, token);
    world.send(GAME, alice, b"hello");
    world.run(Duration::from_secs(10));
    let seen = world.watch().arrival(b"hello").clone();
    let bob = client("192.0.2.2:5000");
    let token = world.token(bob.ip(), "alpha");
    for second in 0..11 {
        world.bare(GAME, bob, token);
        world.settle();
        assert_eq!(world.sessions(), 0, "{second} s");
        if second < 7 {
            world.reply(seen.addr, seen.upstream, b"for alice");
        }
        world.run(Duration::from_secs(1));
    }
    assert_eq!(world.drops(Dropped::LateReply), 7);
    world.bare(GAME, bob, token);
    world.send(GAME, bob, b"mine");
    world.settle();
    assert_eq!(world.watch().arrival(b"mine").upstream, seen.upstream);
    assert!(!world.watch().has_delivered(GAME, bob, b"for alice"));
}

#[test]
fn upstream_socket_closes_ten_seconds_after_its_last_slot() {
    let mut world = World::new(short_timeout());
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, token);
    world.run(Duration::from_secs(10 + 5 + 9));
    assert_eq!(world.open_sockets(), 1);
    world.run(Duration::from_secs(1));
    assert_eq!(world.open_sockets(), 0);
    world.run_out();
    world.assert_empty();
}

#[test]
fn session_of_a_backend_that_is_gone_ends_wherever_its_client_has_gone() {
    let (here, there) = two_workers();
    let delay = Duration::from_millis(5);
    let setup = Setup { workers: 2, message_delay: delay..delay, ..Setup::default() };
    let mut world = World::new(setup);
    let token = world.token(here.ip(), "alpha");
    world.bare(GAME, here, token);
    world.settle();
    world.publish(vec![backend("beta", 2)]);
    world.control(GAME, there, token);
    world.run(Duration::from_secs(1));
    world.send(GAME, there, b"into the void");
    world.settle();
    assert!(world.watch().arrived.is_empty());
    assert_eq!((world.sessions(), world.events(Event::EndedBackendGone)), (0, 1));
    world.run_out();
    world.assert_empty();
}

#[test]
fn session_that_has_moved_on_does_not_end_with_its_old_backend() {
    let delay = Duration::from_millis(5);
    let mut world = World::new(Setup { message_delay: delay..delay, ..Setup::default() });
    let alice = client("192.0.2.1:5000");
    let first = world.token(alice.ip(), "alpha");
    let second = world.token(alice.ip(), "beta");
    world.bare(GAME, alice, first);
    world.settle();
    world.publish(vec![backend("beta", 2)]);
    world.control(GAME, alice, second);
    world.run(delay * 2);
    world.send(GAME, alice, b"after");
    world.settle();
    assert_eq!(world.watch().backend_of(b"after"), "beta");
}
