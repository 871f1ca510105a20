//! Resume: a session goes on from another address, maybe at another worker.

use std::time::Duration;

use udp_director_core::{Arrival, ClientAddr, Dropped, Event, Refusal};
use udp_director_testkit::sim::{GAME, Setup, World, backend, client, client_at, lobby};
use udp_director_wire::{AckStatus, Token};

use crate::two_workers;

const GRACE: Duration = Duration::from_millis(250);

fn playing(setup: Setup, who: ClientAddr) -> (World, Token) {
    let mut world = World::new(setup);
    let token = world.token(who.ip(), "alpha");
    world.control(GAME, who, token);
    world.send(GAME, who, b"before");
    world.settle();
    (world, token)
}

fn slow_messages() -> Setup {
    let delay = Duration::from_millis(5);
    Setup { workers: 2, message_delay: delay..delay, ..Setup::default() }
}

#[test]
fn session_survives_a_network_switch() {
    for workers in [1, 4] {
        let home = client("192.0.2.1:5000");
        let (mut world, token) = playing(Setup { workers, ..Setup::default() }, home);
        let seen = world.watch().arrival(b"before").clone();
        for (number, mobile) in
            ["198.51.100.7:1111", "198.51.100.8:9", "[2001:db8::7]:1111"].iter().enumerate()
        {
            let datagram = [number as u8; 3];
            world.control(GAME, client(mobile), token);
            world.send(GAME, client(mobile), &datagram);
            world.settle();
            let arrival = world.watch().arrival(&datagram);
            assert_eq!((&arrival.backend, arrival.upstream), (&seen.backend, seen.upstream));
            world.reply(seen.addr, seen.upstream, mobile.as_bytes());
            world.settle();
            assert!(world.watch().has_delivered(GAME, client(mobile), mobile.as_bytes()));
        }
        assert_eq!((world.sessions(), world.events(Event::Resumed)), (1, 3));
        world.run_out();
        world.assert_empty();
    }
}

#[test]
fn datagrams_from_the_old_address_count_for_a_moment_after_a_resume() {
    for workers in [1, 2] {
        let (here, there) = two_workers();
        let (mut world, token) = playing(Setup { workers, ..Setup::default() }, here);
        world.control(GAME, there, token);
        world.run(GRACE - Duration::from_micros(1));
        world.send(GAME, here, b"straggler");
        world.settle();
        assert_eq!(world.watch().backend_of(b"straggler"), "alpha");
        assert!(
            world.watch().has_delivered(GAME, there, b"straggleralpha"),
            "the reply goes to the new address"
        );
        world.run(Duration::from_micros(1));
        world.send(GAME, here, b"too late");
        world.settle();
        assert!(!world.watch().has_arrived(b"too late"));
    }
}

#[test]
fn session_of_a_token_cannot_be_put_in_place_of_another_clients() {
    let (alice, mallory) = (client("192.0.2.1:5000"), client("203.0.113.66:4000"));
    let (mut world, _) = playing(Setup::default(), alice);
    let own = world.token(mallory.ip(), "beta");
    world.control(GAME, mallory, own);
    world.control(GAME, alice, own);
    world.send(GAME, alice, b"after");
    world.settle();
    assert_eq!(world.watch().backend_of(b"after"), "alpha");
    assert_eq!((world.sessions(), world.refusals(Refusal::WrongClient)), (2, 1));
}

#[test]
fn address_is_taken_over_with_a_token_of_its_own_ip() {
    for workers in [1, 4] {
        let (first, second) = (client("192.0.2.1:5000"), client("192.0.2.1:5001"));
        let (mut world, _) = playing(Setup { workers, ..Setup::default() }, first);
        let token = world.token(second.ip(), "beta");
        world.control(GAME, second, token);
        world.control(GAME, first, token);
        world.send(GAME, first, b"after");
        world.settle();
        assert_eq!(world.watch().backend_of(b"after"), "beta");
        assert_eq!((world.sessions(), world.events(Event::EndedReplaced)), (1, 1));
        assert_eq!((world.seats("alpha"), world.seats("beta")), (0, 1));
        world.run_out();
        world.assert_empty();
    }
}

#[test]
fn session_is_resumed_elsewhere_migrated_and_resumed_back() {
    let (here, there) = two_workers();
    for setup in [Setup { workers: 2, ..Setup::default() }, slow_messages()] {
        let (mut world, token) = playing(setup, here);
        world.control(GAME, there, token);
        world.run(Duration::from_millis(20));
        let second = world.token(here.ip(), "beta");
        world.control(GAME, there, second);
        world.send(GAME, there, b"there");
        world.run(GRACE);
        world.control(GAME, here, second);
        world.send(GAME, here, b"back");
        world.run(Duration::from_millis(20));
        assert_eq!((world.watch().backend_of(b"there"), world.watch().backend_of(b"back")), ("beta", "beta"));
        let seen = world.watch().arrival(b"back").clone();
        assert_eq!(world.watch().arrival(b"there").upstream, seen.upstream);
        world.run(Duration::from_secs(10));
        world.reply(seen.addr, seen.upstream, b"still here");
        world.send(GAME, here, b"me too");
        world.settle();
        assert!(world.watch().has_delivered(GAME, here, b"still here"));
        assert_eq!(world.watch().backend_of(b"me too"), "beta");
        world.run_out();
        world.assert_empty();
    }
}

#[test]
fn replies_leave_from_the_address_that_the_client_sends_to() {
    for workers in [1, 2] {
        let (here, there) = two_workers();
        let (mut world, token) = playing(Setup { workers, ..Setup::default() }, here);
        world.control(GAME, there, token);
        world.settle();
        let local = client("198.51.100.2:0").ip();
        world.send_to(Arrival { listener: GAME, client: there, local }, b"elsewhere");
        world.settle();
        let reply = world.watch().delivered.last().expect("the echo");
        assert_eq!((reply.from, &reply.payload[..]), (local, &b"elsewherealpha"[..]));
    }
}

#[test]
fn client_resumes_into_an_address_that_the_default_endpoint_has_taken_in() {
    let mut setup = Setup { backends: vec![backend("alpha", 1), lobby("lobby", 9)], ..Setup::default() };
    setup.settings.has_default_endpoint = true;
    let (here, there) = two_workers();
    let (mut world, token) = playing(setup, here);
    world.send(GAME, there, b"too early");
    world.control(GAME, there, token);
    world.send(GAME, there, b"after");
    world.settle();
    assert_eq!(world.watch().backend_of(b"too early"), "lobby");
    assert_eq!(world.watch().backend_of(b"after"), "alpha");
    assert_eq!((world.sessions(), world.seats("lobby")), (1, 0));
}

/// As bad luck has it, the last control packet of the old network is slower than the first of the new.
#[test]
fn control_packet_that_was_under_way_does_not_fetch_the_session_back() {
    for workers in [1, 2] {
        let (here, there) = two_workers();
        let (mut world, token) = playing(Setup { workers, ..Setup::default() }, here);
        world.control(GAME, there, token);
        world.run(GRACE - Duration::from_micros(1));
        world.control(GAME, here, token);
        world.send(GAME, there, b"still");
        world.settle();
        assert!(world.watch().has_delivered(GAME, there, b"stillalpha"));
        assert_eq!(world.drops(Dropped::Refused(Refusal::JustLeft)), 1);
    }
}

#[test]
fn late_data_behind_a_late_control_packet_does_not_fetch_the_session_back() {
    let (here, there) = two_workers();
    let (mut world, token) = playing(Setup::default(), here);
    world.control(GAME, there, token);
    world.run(GRACE / 2);
    world.control(GAME, here, token);
    world.send(GAME, here, b"late");
    world.run(GRACE * 3);
    world.send(GAME, there, b"still");
    world.settle();
    assert!(world.watch().has_delivered(GAME, there, b"stillalpha"));
}

#[test]
fn data_after_the_grace_means_that_the_client_is_back() {
    for workers in [1, 2] {
        let (here, there) = two_workers();
        let (mut world, token) = playing(Setup { workers, ..Setup::default() }, here);
        world.control(GAME, there, token);
        world.run(GRACE / 2);
        world.control(GAME, here, token);
        world.run(GRACE / 2 + GRACE / 4);
        world.send(GAME, here, b"back");
        world.settle();
        assert!(world.watch().has_delivered(GAME, here, b"backalpha"));
    }
}

/// The old worker does not yet know that the session has gone, when its client comes back.
#[test]
fn client_that_comes_back_at_once_loses_nothing_that_it_sends() {
    let (here, there) = two_workers();
    let (mut world, token) = playing(slow_messages(), here);
    let player = world.join(GAME, there, token);
    world.run(Duration::from_millis(1));
    world.rebind(player, here);
    world.play(player, Duration::from_secs(2));
    world.run(Duration::from_secs(3));
    let refusals = world.player(player).refusals();
    assert!(refusals.iter().all(|status| *status == AckStatus::Busy), "it tries again: {refusals:?}");
    assert_eq!(world.watch().arrived.len() as u32, 1 + world.player(player).beats());
    assert_eq!(world.all_drops(), world.drops(Dropped::Refused(Refusal::JustLeft)));
    let last = world.player(player).echoes().last().map(|echo| echo.beat.number + 1);
    assert_eq!(last, Some(world.player(player).beats()), "the replies have followed it");
    assert_eq!(world.sessions(), 1);
    world.run_out();
    world.assert_empty();
}

#[test]
fn new_clients_token_from_an_address_just_left_is_a_token_and_no_data() {
    let (here, there) = two_workers();
    let (mut world, token) = playing(Setup::default(), here);
    world.control(GAME, there, token);
    let other = world.token(here.ip(), "beta");
    world.bare(GAME, here, other);
    world.send(GAME, here, b"hello");
    world.send(GAME, there, b"still here");
    world.settle();
    assert!(!world.watch().has_arrived(other.as_bytes()), "no backend sees a token");
    assert_eq!(world.watch().backend_of(b"hello"), "beta");
    assert_eq!(world.watch().backend_of(b"still here"), "alpha");
    world.run(Duration::from_secs(1));
    world.send(GAME, here, b"on");
    world.settle();
    assert_eq!(world.watch().backend_of(b"on"), "beta");
}

#[test]
fn backend_hears_of_a_client_that_resumes_before_its_first_datagram() {
    for (workers, migrates) in [(1, false), (2, false), (1, true), (2, true)] {
        let (here, there) = two_workers();
        let mut setup = Setup { workers, ..Setup::default() };
        setup.settings.listeners[0].proxy_protocol = true;
        let mut world = World::new(setup);
        let mut token = world.token(here.ip(), "alpha");
        world.control(GAME, here, token);
        if migrates {
            world.send(GAME, here, b"to alpha");
            token = world.token(here.ip(), "beta");
            world.control(GAME, here, token);
        }
        world.control(GAME, there, token);
        world.send(GAME, there, b"first");
        world.send(GAME, there, b"second");
        world.settle();
        let mut arrived = world.watch().arrived.iter().map(|arrived| &arrived.payload[..]);
        let first = arrived.find(|payload| payload.ends_with(b"first")).expect("it has arrived");
        assert!(first.starts_with(b"\r\n\r\n\0\r\nQUIT\n"), "{workers} workers, migrates: {migrates}");
        assert!(world.watch().has_arrived(b"second"), "and once only");
    }
}

#[test]
fn client_that_roams_without_end_leaves_no_trail_of_deadlines() {
    let (mut world, token) = playing(Setup::default(), client("192.0.2.1:5000"));
    for port in 10_000..15_000 {
        world.control(GAME, client_at(1, port), token);
        world.run(Duration::from_millis(1));
    }
    assert_eq!(world.events(Event::Resumed), 5000);
    let deadlines = world.holdings()[0].deadlines;
    assert!(deadlines < 3000, "{deadlines}");
    world.run_out();
    world.assert_empty();
}
