//! Migration: make before break, and no way to move someone else.

use std::collections::HashSet;
use std::time::Duration;

use udp_director_core::{ClientAddr, Dropped, Event, Refusal};
use udp_director_testkit::sim::{GAME, Setup, VOICE, World, backend, client, settings};
use udp_director_wire::{AckStatus, Token};

use crate::two_workers;

const GRACE: Duration = Duration::from_millis(250);
const MICROSECOND: Duration = Duration::from_micros(1);

/// A world in which that client plays on alpha.
fn playing(setup: Setup, who: ClientAddr) -> (World, Token) {
    let mut world = World::new(setup);
    let token = world.token(who.ip(), "alpha");
    world.bare(GAME, who, token);
    world.send(GAME, who, b"before");
    world.settle();
    assert_eq!(world.watch().backend_of(b"before"), "alpha");
    (world, token)
}

#[test]
fn datagrams_behind_the_control_packet_go_to_the_new_backend() {
    let alice = client("192.0.2.1:5000");
    let (mut world, _) = playing(Setup::default(), alice);
    let token = world.token(alice.ip(), "beta");
    assert_eq!((world.seats("alpha"), world.seats("beta")), (1, 1), "a token that waits counts");
    world.send(GAME, alice, b"old");
    world.control(GAME, alice, token);
    world.send(GAME, alice, b"new");
    world.settle();
    assert_eq!(world.watch().backend_of(b"old"), "alpha");
    assert_eq!(world.watch().backend_of(b"new"), "beta");
    assert_eq!((world.seats("alpha"), world.seats("beta")), (0, 1));
    assert_eq!((world.sessions(), world.all_drops()), (1, 0));
}

#[test]
fn late_reply_of_the_old_backend_is_delivered_within_the_grace_and_dropped_after() {
    for (wait, delivered) in
        [(Duration::ZERO, true), (GRACE - MICROSECOND, true), (GRACE, false), (Duration::from_secs(2), false)]
    {
        let alice = client("192.0.2.1:5000");
        let (mut world, _) = playing(Setup::default(), alice);
        let seen = world.watch().arrival(b"before").clone();
        let token = world.token(alice.ip(), "beta");
        world.control(GAME, alice, token);
        world.run(wait);
        world.reply(seen.addr, seen.upstream, b"late");
        world.settle();
        assert_eq!(world.watch().has_delivered(GAME, alice, b"late"), delivered, "after {wait:?}");
        assert_eq!(world.drops(Dropped::LateReply), u64::from(!delivered), "after {wait:?}");
    }
}

#[test]
fn failed_migration_leaves_the_session_as_it_is() {
    let no_port = || {
        let mut gamma = backend("gamma", 3);
        gamma.ports = udp_director_core::Ports::Named([("voice".to_owned(), 7001)].into());
        Setup { backends: vec![backend("alpha", 1), backend("beta", 2), gamma], ..Setup::default() }
    };
    let full_pool = || Setup { max_upstreams: 1, ..Setup::default() };
    let cases: [(&str, Setup, &str, Refusal); 3] = [
        ("no port", no_port(), "gamma", Refusal::NoPort),
        ("gone", Setup::default(), "beta", Refusal::BackendGone),
        ("full pool", full_pool(), "beta", Refusal::NoUpstream),
    ];
    for (name, setup, to, refusal) in cases {
        let alice = client("192.0.2.1:5000");
        let (mut world, old) = playing(setup, alice);
        let token = world.token(alice.ip(), to);
        if refusal == Refusal::BackendGone {
            world.publish(vec![backend("alpha", 1)]);
        }
        if refusal == Refusal::NoUpstream {
            let bob = client("192.0.2.2:5000");
            let other = world.token(bob.ip(), "beta");
            world.bare(GAME, bob, other);
        }
        world.control(GAME, alice, token);
        world.bare(GAME, alice, old);
        world.send(GAME, alice, b"after");
        world.settle();
        assert_eq!(world.watch().backend_of(b"after"), "alpha", "{name}");
        assert_eq!(world.refusals(refusal), 1, "{name}");
        assert_eq!(world.seats("alpha"), 1, "{name}");
        let same = world.watch().arrival(b"before").upstream == world.watch().arrival(b"after").upstream;
        assert!(same, "{name}");
    }
}

#[test]
fn token_refused_for_a_full_pool_can_be_tried_again() {
    let alice = client("192.0.2.1:5000");
    let mut short = settings();
    short.session_timeout = Duration::from_secs(2);
    let (mut world, _) = playing(Setup { max_upstreams: 1, settings: short, ..Setup::default() }, alice);
    let bob = client("192.0.2.2:5000");
    let other = world.token(bob.ip(), "beta");
    world.bare(GAME, bob, other);
    let token = world.token(alice.ip(), "beta");
    world.control(GAME, alice, token);
    for _ in 0..10 {
        world.run(Duration::from_secs(1));
        world.send(GAME, alice, b"playing");
    }
    world.control(GAME, alice, token);
    world.send(GAME, alice, b"after");
    world.settle();
    assert_eq!(world.watch().backend_of(b"after"), "beta");
}

#[test]
fn session_limit_does_not_stop_migrations() {
    let alice = client("192.0.2.1:5000");
    let mut setup = Setup::default();
    setup.settings.limits.max_sessions = 1;
    let (mut world, _) = playing(setup, alice);
    let token = world.token(alice.ip(), "beta");
    world.control(GAME, alice, token);
    world.send(GAME, alice, b"after");
    world.settle();
    assert_eq!(world.watch().backend_of(b"after"), "beta");
}

#[test]
fn migration_to_the_same_backend_keeps_the_upstream_address() {
    let alice = client("192.0.2.1:5000");
    let (mut world, old) = playing(Setup::default(), alice);
    let token = world.token(alice.ip(), "alpha");
    world.control(GAME, alice, token);
    world.send(GAME, alice, b"after");
    world.control(GAME, client("192.0.2.1:6000"), old);
    world.settle();
    let upstream = |datagram| world.watch().arrival(datagram).upstream;
    assert_eq!(upstream(b"before"), upstream(b"after"));
    assert_eq!((world.seats("alpha"), world.sessions()), (1, 1));
    assert_eq!(world.refusals(Refusal::UsedToken), 1, "the session goes by the new token");
}

#[test]
fn late_duplicate_of_a_superseded_token_does_not_bounce_the_session_back() {
    let alice = client("192.0.2.1:5000");
    let (mut world, old) = playing(Setup::default(), alice);
    let token = world.token(alice.ip(), "beta");
    world.control(GAME, alice, token);
    world.control(GAME, alice, old);
    world.bare(GAME, alice, old);
    world.control(GAME, client("192.0.2.1:6000"), old);
    world.send(GAME, alice, b"after");
    world.settle();
    assert_eq!(world.watch().backend_of(b"after"), "beta");
    assert_eq!(world.watch().arrived.len(), 2, "no token reached a backend");
    assert_eq!(world.sessions(), 1);
}

#[test]
fn player_moves_to_and_fro() {
    let alice = client("192.0.2.1:5000");
    let (mut world, _) = playing(Setup::default(), alice);
    for number in 0..20_u8 {
        let to = if number % 2 == 0 { "beta" } else { "alpha" };
        let token = world.token(alice.ip(), to);
        world.control(GAME, alice, token);
        world.send(GAME, alice, &[number]);
        world.settle();
        assert_eq!(world.watch().backend_of(&[number]), to);
    }
    assert_eq!(world.sessions(), 1);
    let seen: Vec<_> = world.watch().arrived.iter().map(|arrival| (arrival.addr, arrival.upstream)).collect();
    assert_eq!(HashSet::<_>::from_iter(seen).len(), 2, "each backend knows the player again");
    world.run_out();
    world.assert_empty();
}

#[test]
fn player_that_moves_to_and_fro_without_end_leaves_no_trail_of_deadlines() {
    let alice = client("192.0.2.1:5000");
    let mut setup = Setup::default();
    setup.settings.limits.max_pending_tokens = 10_000;
    let (mut world, _) = playing(setup, alice);
    for _ in 0..3000 {
        for to in ["beta", "alpha"] {
            let token = world.token(alice.ip(), to);
            world.control(GAME, alice, token);
        }
        world.run(Duration::from_millis(1));
    }
    let deadlines = world.holdings()[0].deadlines;
    assert!(deadlines < 2000, "{deadlines}");
    world.run_out();
    world.assert_empty();
}

#[test]
fn grace_begins_anew_when_a_backend_is_left_again() {
    let alice = client("192.0.2.1:5000");
    let (mut world, _) = playing(Setup::default(), alice);
    let seen = world.watch().arrival(b"before").clone();
    for (to, stay) in [("beta", GRACE / 2), ("alpha", GRACE / 4), ("beta", GRACE / 2)] {
        let token = world.token(alice.ip(), to);
        world.control(GAME, alice, token);
        world.run(stay);
    }
    // The first grace on alpha is over, the second is not.
    world.reply(seen.addr, seen.upstream, b"late");
    world.settle();
    assert!(world.watch().has_delivered(GAME, alice, b"late"));
}

#[test]
fn spoofed_source_with_the_attackers_own_token_moves_nobody() {
    let (alice, mallory) = (client("192.0.2.1:5000"), client("203.0.113.66:4000"));
    let (mut world, _) = playing(Setup::default(), alice);
    let own = world.token(mallory.ip(), "beta");
    world.control(GAME, alice, own);
    world.bare(GAME, alice, own);
    world.send(GAME, alice, b"after");
    world.settle();
    assert_eq!(world.watch().backend_of(b"after"), "alpha");
    assert_eq!(world.refusals(Refusal::WrongClient), 1);
    assert_eq!(world.seats("beta"), 1, "the token still waits");
}

#[test]
fn token_migrates_each_listener_on_its_own() {
    let alice = client("192.0.2.1:5000");
    let mut world = World::new(Setup::default());
    let first = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, first);
    world.bare(VOICE, alice, first);
    let second = world.token(alice.ip(), "beta");
    world.control(GAME, alice, second);
    world.send(VOICE, alice, b"talk");
    world.settle();
    assert_eq!(world.watch().backend_of(b"talk"), "alpha");
    assert_eq!((world.seats("alpha"), world.seats("beta")), (1, 1));
    world.control(VOICE, alice, second);
    world.send(VOICE, alice, b"talk on");
    world.settle();
    assert_eq!(world.watch().backend_of(b"talk on"), "beta");
    assert_eq!((world.seats("alpha"), world.seats("beta")), (0, 1));
}

#[test]
fn reset_over_the_query_port_moves_every_session_of_the_token() {
    let alice = client("192.0.2.1:5000");
    let mut world = World::new(Setup { workers: 4, ..Setup::default() });
    let first = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, first);
    world.bare(VOICE, alice, first);
    world.settle();
    let second = world.token(alice.ip(), "beta");
    assert_eq!(world.reset(first, second, alice.ip()), Ok(2));
    world.settle();
    assert_eq!(world.resets(), [Ok(()), Ok(())]);
    world.send(GAME, alice, b"game");
    world.send(VOICE, alice, b"voice");
    world.settle();
    assert_eq!((world.watch().backend_of(b"game"), world.watch().backend_of(b"voice")), ("beta", "beta"));
    assert_eq!((world.seats("alpha"), world.seats("beta")), (0, 1));
}

#[test]
fn reset_with_a_token_of_somebody_else_is_refused() {
    let (alice, mallory) = (client("192.0.2.1:5000"), client("203.0.113.66:4000"));
    let (mut world, first) = playing(Setup::default(), alice);
    let second = world.token(client("198.51.100.50:1").ip(), "beta");
    assert_eq!(world.reset(first, second, mallory.ip()), Err(Refusal::WrongClient));
    let forged = Token::from_bytes(b"00000000-0000-0000-0000-000000000000").expect("a token");
    assert_eq!(world.reset(first, forged, alice.ip()), Err(Refusal::UnknownToken));
    assert_eq!(world.reset(forged, second, alice.ip()), Err(Refusal::NoSession));
}

#[test]
fn acknowledgement_tells_the_outcome_and_is_shorter_than_the_request() {
    let alice = client("192.0.2.1:5000");
    let mut world = World::new(Setup::default());
    let token = world.token(alice.ip(), "alpha");
    let good = world.join(GAME, alice, token);
    let others = world.token(client("192.0.2.3:5000").ip(), "alpha");
    let bad = world.join(GAME, client("192.0.2.2:5000"), others);
    world.settle();
    assert!(world.player(good).is_settled());
    assert_eq!(world.player(bad).refusals(), [AckStatus::NotYours]);
    assert_eq!(world.events(Event::OpenedByToken), 1);
    assert!(world.watch().delivered.iter().all(|ack| ack.payload.len() == 19));
}

/// The message to the worker is under way while the client goes elsewhere: it must not split the
/// session into a half that has moved and one that has not.
#[test]
fn reset_follows_a_session_that_is_resumed_meanwhile() {
    for linger_seen in [false, true] {
        let (here, there) = two_workers();
        let delay = Duration::from_millis(5);
        let setup = Setup { workers: 2, message_delay: delay..delay, ..Setup::default() };
        let (mut world, first) = playing(setup, here);
        let second = world.token(here.ip(), "beta");
        if linger_seen {
            assert_eq!(world.reset(first, second, here.ip()), Ok(1));
            world.control(GAME, there, first);
        } else {
            world.control(GAME, there, first);
            world.run(Duration::from_millis(1));
            assert_eq!(world.reset(first, second, here.ip()), Ok(1));
        }
        world.run(Duration::from_millis(20));
        assert_eq!(world.resets(), [Ok(())]);
        world.send(GAME, there, b"after");
        world.settle();
        assert_eq!(world.watch().backend_of(b"after"), "beta");
        assert!(world.watch().has_delivered(GAME, there, b"afterbeta"));
        assert_eq!((world.seats("alpha"), world.seats("beta")), (0, 1));
        world.run_out();
        world.assert_empty();
    }
}
