//! What a token may do: once per listener, by its own client, within its time.

use std::time::Duration;

use udp_director_core::{Event, Refusal};
use udp_director_testkit::sim::{GAME, Setup, VOICE, World, client};

const MICROSECOND: Duration = Duration::from_micros(1);

#[test]
fn burst_right_behind_the_token_is_neither_lost_nor_misrouted() {
    let mut world = World::new(Setup::default());
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, token);
    let burst: Vec<Vec<u8>> = (0..64).map(|number| vec![number; 20]).collect();
    for datagram in &burst {
        world.send(GAME, alice, datagram);
    }
    world.settle();
    let arrived = &world.watch().arrived;
    assert!(arrived.iter().all(|arrived| arrived.backend == "alpha"));
    assert!(arrived.iter().map(|arrived| &arrived.payload).eq(&burst), "in order, nothing else");
    assert_eq!(world.all_drops(), 0);
}

#[test]
fn token_is_redeemed_until_its_time_is_over_and_not_from_then_on() {
    let ttl = Setup::default().settings.token_ttl;
    for (wait, redeemed) in [(ttl - MICROSECOND, true), (ttl, false), (ttl + MICROSECOND, false)] {
        let mut world = World::new(Setup::default());
        let alice = client("192.0.2.1:5000");
        let token = world.token(alice.ip(), "alpha");
        world.run(wait);
        world.bare(GAME, alice, token);
        world.settle();
        assert_eq!(world.sessions(), usize::from(redeemed), "after {wait:?}");
        assert_eq!(world.all_drops(), u64::from(!redeemed));
    }
}

#[test]
fn token_that_expires_gives_its_seat_back() {
    let mut world = World::new(Setup::default());
    world.token(client("192.0.2.1:1").ip(), "alpha");
    assert_eq!(world.seats("alpha"), 1);
    world.run_out();
    assert_eq!(world.seats("alpha"), 0);
    world.assert_empty();
}

#[test]
fn client_that_repeats_its_token_keeps_its_session() {
    for control in [false, true] {
        let mut world = World::new(Setup::default());
        let alice = client("192.0.2.1:5000");
        let token = world.token(alice.ip(), "alpha");
        for _ in 0..5 {
            if control {
                world.control(GAME, alice, token);
            } else {
                world.bare(GAME, alice, token);
            }
            world.settle();
        }
        assert_eq!(world.sessions(), 1);
        assert_eq!((world.events(Event::OpenedByToken), world.events(Event::Repeated)), (1, 4));
        assert!(world.watch().arrived.is_empty(), "no backend saw the token");
    }
}

#[test]
fn bare_token_of_a_running_session_is_refused_from_another_address() {
    let mut world = World::new(Setup::default());
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, token);
    world.bare(GAME, client("192.0.2.1:5001"), token);
    world.settle();
    assert_eq!((world.sessions(), world.refusals(Refusal::WrongClient)), (1, 1));
}

#[test]
fn bound_token_is_redeemed_by_the_ip_that_asked_alone() {
    let mut world = World::new(Setup::default());
    let token = world.token(client("192.0.2.1:1").ip(), "alpha");
    for stranger in ["192.0.2.2:5000", "[2001:db8::1]:5000"] {
        world.bare(GAME, client(stranger), token);
        world.control(GAME, client(stranger), token);
    }
    world.settle();
    assert_eq!((world.sessions(), world.refusals(Refusal::WrongClient)), (0, 4));
    world.bare(GAME, client("[::ffff:192.0.2.1]:5000"), token);
    world.settle();
    assert_eq!(world.sessions(), 1, "the mapped form is the same IP");
}

#[test]
fn unbound_token_is_redeemed_by_the_first_who_presents_it() {
    let mut world = World::new(Setup::default());
    let token = world.ask(client("[2001:db8::1]:1").ip(), "alpha", false).expect("a token");
    let (alice, mallory) = (client("192.0.2.1:5000"), client("203.0.113.1:5000"));
    world.bare(GAME, alice, token);
    world.bare(GAME, mallory, token);
    world.send(GAME, alice, b"hello");
    world.settle();
    assert_eq!(world.watch().backend_of(b"hello"), "alpha");
    assert_eq!((world.sessions(), world.refusals(Refusal::WrongClient)), (1, 1));
}

#[test]
fn one_token_opens_every_listener_and_takes_one_seat() {
    let mut world = World::new(Setup::default());
    let (game, voice) = (client("192.0.2.1:5000"), client("192.0.2.1:5001"));
    let token = world.token(game.ip(), "alpha");
    world.bare(GAME, game, token);
    world.run(Duration::from_secs(200));
    assert_eq!(world.seats("alpha"), 1);
    world.bare(VOICE, voice, token);
    world.settle();
    assert_eq!(world.sessions(), 1, "its time is over for the other listener");

    let token = world.token(game.ip(), "beta");
    world.bare(GAME, client("192.0.2.1:6000"), token);
    world.bare(VOICE, voice, token);
    world.settle();
    assert_eq!((world.sessions(), world.seats("beta")), (3, 1));
    world.run_out();
    world.assert_empty();
}

#[test]
fn each_listener_leads_to_its_own_port_of_the_backend() {
    let mut world = World::new(Setup::default());
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    for (listener, datagram) in [(GAME, b"game "), (VOICE, b"voice")] {
        world.bare(listener, alice, token);
        world.send(listener, alice, datagram);
    }
    world.settle();
    let port = |datagram| world.watch().arrival(datagram).addr.socket_addr().port();
    assert_eq!((port(b"game "), port(b"voice")), (7000, 7001));
    assert!(world.watch().has_delivered(GAME, alice, b"game alpha"));
    assert!(world.watch().has_delivered(VOICE, alice, b"voicealpha"));
}

#[test]
fn token_is_not_replayed_after_its_session_has_ended() {
    let mut setup = Setup::default();
    setup.settings.session_timeout = Duration::from_secs(5);
    let mut world = World::new(setup);
    let alice = client("192.0.2.1:5000");
    let token = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, token);
    world.run(Duration::from_secs(5));
    assert_eq!(world.sessions(), 0);
    world.bare(GAME, alice, token);
    world.control(GAME, client("192.0.2.1:5001"), token);
    world.settle();
    assert_eq!((world.sessions(), world.refusals(Refusal::UsedToken)), (0, 2));
    world.run(Duration::from_secs(60));
    world.expire();
    world.control(GAME, alice, token);
    world.settle();
    assert_eq!((world.sessions(), world.refusals(Refusal::UnknownToken)), (0, 1));
}

#[test]
fn token_of_a_session_outlives_its_time() {
    let mut world = World::new(Setup::default());
    let (alice, elsewhere) = (client("192.0.2.1:5000"), client("198.51.100.9:1"));
    let token = world.token(alice.ip(), "alpha");
    world.bare(GAME, alice, token);
    world.run(Duration::from_secs(120));
    world.expire();
    world.control(GAME, elsewhere, token);
    world.send(GAME, elsewhere, b"here");
    world.settle();
    assert_eq!(world.watch().backend_of(b"here"), "alpha");
}

#[test]
fn unknown_and_expired_tokens_never_reach_a_backend() {
    let mut setup = Setup::default();
    setup.settings.has_default_endpoint = true;
    setup.backends.push(udp_director_testkit::sim::lobby("lobby", 9));
    let mut world = World::new(setup);
    let alice = client("192.0.2.1:5000");
    let expired = world.token(alice.ip(), "alpha");
    world.run(Duration::from_secs(31));
    for (form, newline) in [(&expired.as_bytes()[..], ""), (b"00000000-0000-0000-0000-000000000000", "\n")] {
        world.send(GAME, alice, &[form, newline.as_bytes()].concat());
    }
    world.settle();
    assert!(world.watch().arrived.is_empty());
    assert_eq!(world.all_drops(), 2);
}
