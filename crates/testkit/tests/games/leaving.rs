//! Backends that leave: the director moves their players, who keep their tokens.

use udp_director_core::{BackendSpec, ClientAddr, Dropped, Event, Refusal, Withheld};
use udp_director_testkit::sim::{GAME, Setup, VOICE, World, backend, client};
use udp_director_wire::Token;

use crate::two_workers;

fn unready(name: &str, host: u8) -> BackendSpec {
    BackendSpec { withheld: Some(Withheld::Draining), ..backend(name, host) }
}

/// A world in which that client plays on alpha, and would as soon play on beta.
fn playing(setup: Setup, who: ClientAddr) -> (World, Token) {
    let mut world = World::new(setup);
    let token = world.ask_for_any(who.ip(), "alpha").expect("room");
    world.bare(GAME, who, token);
    world.send(GAME, who, b"before");
    world.settle();
    assert_eq!(world.watch().backend_of(b"before"), "alpha");
    (world, token)
}

#[test]
fn player_is_moved_and_keeps_his_token() {
    let (here, there) = two_workers();
    let (mut world, token) = playing(Setup { workers: 2, ..Setup::default() }, here);
    world.publish(vec![unready("alpha", 1), backend("beta", 2)]);
    world.send(GAME, here, b"old");
    world.evacuate();
    world.settle();
    world.send(GAME, here, b"new");
    world.settle();
    assert_eq!(world.watch().backend_of(b"new"), "beta");
    assert_eq!((world.seats("alpha"), world.seats("beta")), (0, 1));
    world.control(GAME, there, token);
    world.send(GAME, there, b"resumed");
    world.settle();
    assert_eq!(world.watch().backend_of(b"resumed"), "beta");
    assert_eq!((world.sessions(), world.events(Event::MigratedByDirector)), (1, 1));
    assert_eq!(world.all_drops(), 0);
    world.run_out();
    world.assert_empty();
}

#[test]
fn all_sessions_of_a_player_move_to_one_seat() {
    let alice = client("192.0.2.1:5000");
    let (mut world, token) = playing(Setup::default(), alice);
    world.bare(VOICE, alice, token);
    world.settle();
    world.publish(vec![unready("alpha", 1), backend("beta", 2)]);
    world.evacuate();
    world.settle();
    world.send(GAME, alice, b"game");
    world.send(VOICE, alice, b"voice");
    world.settle();
    assert_eq!((world.watch().backend_of(b"game"), world.watch().backend_of(b"voice")), ("beta", "beta"));
    assert_eq!((world.seats("alpha"), world.seats("beta")), (0, 1));
}

#[test]
fn player_stays_where_nothing_else_is_what_he_asked_for() {
    let alice = client("192.0.2.1:5000");
    let (mut world, _) = playing(Setup::default(), alice);
    world.publish(vec![unready("alpha", 1), unready("beta", 2)]);
    world.evacuate();
    world.send(GAME, alice, b"on");
    world.settle();
    assert_eq!(world.watch().backend_of(b"on"), "alpha");
    assert_eq!((world.seats("alpha"), world.seats("beta")), (1, 0));
}

#[test]
fn player_on_a_backend_that_takes_players_is_not_moved() {
    let alice = client("192.0.2.1:5000");
    let (mut world, _) = playing(Setup::default(), alice);
    world.evacuate();
    world.settle();
    assert_eq!((world.seats("alpha"), world.events(Event::MigratedByDirector)), (1, 0));
}

#[test]
fn token_that_waits_for_a_backend_that_leaves_leads_to_another() {
    let alice = client("192.0.2.1:5000");
    for gone in [false, true] {
        let mut world = World::new(Setup::default());
        let token = world.ask_for_any(alice.ip(), "alpha").expect("room");
        world.publish(if gone {
            vec![backend("beta", 2)]
        } else {
            vec![unready("alpha", 1), backend("beta", 2)]
        });
        world.bare(GAME, alice, token);
        world.send(GAME, alice, b"hello");
        world.settle();
        assert_eq!(world.watch().backend_of(b"hello"), "beta", "gone: {gone}");
        assert_eq!(world.seats("beta"), 1);
        world.run_out();
        world.assert_empty();
    }
}

#[test]
fn nobody_new_comes_to_a_backend_that_leaves_but_who_is_there_may_open_more() {
    let (alice, bob) = (client("192.0.2.1:5000"), client("192.0.2.2:5000"));
    let (mut world, token) = playing(Setup::default(), alice);
    let waiting = world.ask_for_any(bob.ip(), "alpha").expect("room");
    world.publish(vec![unready("alpha", 1)]);
    world.bare(GAME, bob, waiting);
    world.bare(VOICE, alice, token);
    world.settle();
    assert_eq!((world.sessions(), world.drops(Dropped::Refused(Refusal::BackendGone))), (2, 1));
    world.run_out();
    world.assert_empty();
}

#[test]
fn nothing_goes_to_or_comes_from_the_address_of_a_backend_that_is_gone() {
    let alice = client("192.0.2.1:5000");
    let (mut world, _) = playing(Setup::default(), alice);
    let seen = world.watch().arrival(b"before").clone();
    world.publish_and_park(Vec::new());
    world.settle();
    world.send(GAME, alice, b"to nobody");
    world.reply(seen.addr, seen.upstream, b"from a stranger");
    world.settle();
    assert!(!world.watch().has_arrived(b"to nobody"));
    assert_eq!((world.drops(Dropped::Parked), world.sessions()), (1, 1));
    world.publish_and_park(vec![backend("beta", 2)]);
    world.evacuate();
    world.settle();
    world.send(GAME, alice, b"after");
    // No grace: who has the address now is not the backend that the player has left.
    world.reply(seen.addr, seen.upstream, b"from a stranger still");
    world.settle();
    assert_eq!(world.watch().backend_of(b"after"), "beta");
    assert!(!world.watch().has_delivered(GAME, alice, b"from a stranger"));
    assert!(!world.watch().has_delivered(GAME, alice, b"from a stranger still"));
    world.run_out();
    world.assert_empty();
}

#[test]
fn parked_player_who_is_silent_ends_and_leaves_nothing() {
    let alice = client("192.0.2.1:5000");
    let (mut world, _) = playing(Setup::default(), alice);
    world.publish_and_park(Vec::new());
    world.settle();
    world.run_out();
    world.assert_empty();
}

#[test]
fn parked_player_resumes_elsewhere_and_stays_parked() {
    let (here, there) = two_workers();
    let (mut world, token) = playing(Setup { workers: 2, ..Setup::default() }, here);
    world.publish_and_park(Vec::new());
    world.settle();
    world.control(GAME, there, token);
    world.send(GAME, there, b"to nobody");
    world.settle();
    assert!(!world.watch().has_arrived(b"to nobody"));
    world.publish_and_park(vec![backend("beta", 2)]);
    world.evacuate();
    world.settle();
    world.send(GAME, there, b"after");
    world.settle();
    assert_eq!(world.watch().backend_of(b"after"), "beta");
    world.run_out();
    world.assert_empty();
}
