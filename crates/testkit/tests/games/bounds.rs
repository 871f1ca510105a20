//! At a bound the newcomer is refused, and those who play go on.

use std::time::Duration;

use udp_director_core::{IssueError, Refusal};
use udp_director_testkit::sim::{GAME, Setup, World, client, client_at, lobby};

#[test]
fn session_beyond_the_limit_is_refused_and_the_others_play_on() {
    let mut setup = Setup::default();
    setup.settings.limits.max_sessions = 3;
    setup.settings.session_timeout = Duration::from_secs(10);
    let mut world = World::new(setup);
    for port in 1..=4 {
        let token = world.token(client_at(1, port).ip(), "alpha");
        world.bare(GAME, client_at(1, port), token);
        world.send(GAME, client_at(1, port), &[port as u8]);
    }
    world.settle();
    assert_eq!((world.sessions(), world.refusals(Refusal::SessionLimit)), (3, 1));
    assert!(world.watch().has_arrived(&[1]) && !world.watch().has_arrived(&[4]));
    assert_eq!(world.seats("alpha"), 4, "the refused token waits on");
    world.run(Duration::from_secs(10));
    let token = world.token(client_at(1, 5).ip(), "alpha");
    world.bare(GAME, client_at(1, 5), token);
    world.settle();
    assert_eq!(world.sessions(), 1, "there is room again");
}

#[test]
fn session_limit_holds_for_the_default_endpoint() {
    let mut setup = Setup { backends: vec![lobby("lobby", 9)], ..Setup::default() };
    setup.settings.has_default_endpoint = true;
    setup.settings.limits.max_sessions = 3;
    let mut world = World::new(setup);
    for port in 1..=5 {
        world.send(GAME, client_at(1, port), &[port as u8]);
    }
    world.settle();
    assert_eq!((world.sessions(), world.refusals(Refusal::SessionLimit)), (3, 2));
    assert_eq!(world.seats("lobby"), 3);
}

#[test]
fn token_beyond_the_limit_is_not_given_out_until_one_is_redeemed_or_expires() {
    let mut setup = Setup::default();
    setup.settings.limits.max_pending_tokens = 2;
    let mut world = World::new(setup);
    let alice = client("192.0.2.1:5000");
    let first = world.token(alice.ip(), "alpha");
    world.token(alice.ip(), "alpha");
    assert_eq!(world.ask(alice.ip(), "alpha", true), Err(IssueError::Full));
    assert_eq!(world.seats("alpha"), 2, "no seat for a token that is not given out");
    world.bare(GAME, alice, first);
    world.settle();
    world.token(alice.ip(), "alpha");
    assert_eq!(world.ask(alice.ip(), "alpha", true), Err(IssueError::Full));
    world.run(Duration::from_secs(30));
    assert!(world.ask(alice.ip(), "alpha", true).is_ok());
}

#[test]
fn pool_beyond_its_bound_refuses_the_newcomer_of_a_full_backend_alone() {
    let mut world = World::new(Setup { max_upstreams: 2, ..Setup::default() });
    for port in 1..=3 {
        let token = world.token(client_at(1, port).ip(), "alpha");
        world.bare(GAME, client_at(1, port), token);
    }
    let token = world.token(client_at(1, 4).ip(), "beta");
    world.bare(GAME, client_at(1, 4), token);
    world.settle();
    assert_eq!((world.sessions(), world.refusals(Refusal::NoUpstream)), (3, 1));
    assert_eq!(world.open_sockets(), 2);
}

#[test]
fn tokens_used_up_within_their_time_are_bounded_too() {
    let mut setup = Setup::default();
    setup.settings.limits.max_pending_tokens = 10;
    setup.settings.limits.max_sessions = 10;
    let mut world = World::new(setup);
    let alice = client("192.0.2.1:5000");
    let mut refused = 0;
    for number in 0..100 {
        match world.ask(alice.ip(), if number % 2 == 0 { "alpha" } else { "beta" }, true) {
            Ok(token) => world.control(GAME, alice, token),
            Err(IssueError::Full) => refused += 1,
            Err(other) => panic!("each token is new, and nothing drains: {other}"),
        }
        world.settle();
    }
    assert!(refused > 0);
    assert!(world.tokens() <= 20, "{}", world.tokens());
    world.run(Duration::from_secs(30));
    assert!(world.ask(alice.ip(), "alpha", true).is_ok(), "their time is over");
}
