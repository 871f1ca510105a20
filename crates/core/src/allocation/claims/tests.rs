//! Rules of claims.

use serde_json::Value;

use super::*;
use crate::inventory::{BackendSpec, Capacity, Ports, Withheld};
use crate::seat::Seat;

const ALLOCATION: &str = "7f3c.1";

fn at(seconds: u64) -> Moment {
    Moment::since_epoch(Duration::from_secs(seconds))
}

fn spec(uid: &str, withheld: Option<Withheld>) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(uid),
        resource_type: "gs".into(),
        namespace: "games".into(),
        name: "arena-1".into(),
        address: "10.0.0.1".parse().expect("an address"),
        ports: Ports::One(7777),
        labels: BTreeMap::new(),
        annotations: [(AllocationId::ANNOTATION.to_owned(), ALLOCATION.to_owned())].into(),
        view: Value::Null.into(),
        ends_at: None,
        withheld,
        capacity: Capacity::Unbounded,
    }
}

/// The server as it is allocated.
fn arena() -> Inventory {
    Inventory::default().next(vec![spec("uid-1", None)], Vec::new())
}

fn empty() -> Inventory {
    Inventory::default()
}

fn claim(unclaimed: Unclaimed) -> Claim {
    let server = ServerName { resource_type: "gs".into(), namespace: "games".into(), name: "arena-1".into() };
    Claim { server, allocation: AllocationId(ALLOCATION.into()), unclaimed }
}

/// Allocated at 0, for who takes a seat within 5 s.
fn claims(unclaimed: Unclaimed, inventory: &Inventory) -> Claims {
    let mut claims = Claims::default();
    claims.allocated(claim(unclaimed), at(5), inventory);
    claims
}

#[test]
fn server_with_a_session_is_claimed_and_followed_no_longer() {
    let inventory = arena();
    let mut claims = claims(Unclaimed::Delete, &inventory);
    let seat = Seat::take(&inventory.backends()[0]);
    assert_eq!(claims.settle(&inventory, at(60)), [], "a token waits");
    inventory.backends()[0].load.begin_session();
    drop(seat);
    assert_eq!(claims.settle(&inventory, at(61)), [Settled::Played(claim(Unclaimed::Delete))]);
    assert!(claims.is_empty());
}

#[test]
fn server_whose_tokens_have_all_expired_is_unclaimed() {
    let inventory = arena();
    let mut claims = claims(Unclaimed::Keep, &inventory);
    let seat = Seat::take(&inventory.backends()[0]);
    assert_eq!(claims.settle(&inventory, at(35)), []);
    drop(seat);
    assert_eq!(claims.settle(&inventory, at(35)), [Settled::Unclaimed(claim(Unclaimed::Keep))]);
    assert!(claims.is_empty(), "it is told once");
}

#[test]
fn server_on_which_nobody_took_a_seat_is_unclaimed_when_their_time_is_over() {
    for inventory in [arena(), empty()] {
        let mut claims = claims(Unclaimed::Keep, &inventory);
        assert_eq!(claims.settle(&inventory, at(4)), []);
        assert_eq!(claims.settle(&inventory, at(5)), [Settled::Unclaimed(claim(Unclaimed::Keep))]);
    }
}

#[test]
fn players_of_an_earlier_match_do_not_claim_a_server() {
    let inventory = arena();
    inventory.backends()[0].load.begin_session();
    let mut claims = claims(Unclaimed::Keep, &inventory);
    assert_eq!(claims.settle(&inventory, at(5)), [Settled::Unclaimed(claim(Unclaimed::Keep))]);
}

#[test]
fn server_that_goes_before_anybody_plays_is_gone() {
    let other = Inventory::default().next(vec![spec("uid-2", None)], Vec::new());
    for now in [empty(), other] {
        let mut claims = claims(Unclaimed::Delete, &arena());
        assert_eq!(claims.settle(&now, at(1)), [Settled::Gone(claim(Unclaimed::Delete))]);
        assert!(claims.is_empty());
    }
}

#[test]
fn nobody_gets_a_seat_on_a_server_that_is_given_back() {
    let inventory = arena();
    let id = &inventory.backends()[0].spec.id;
    let mut claims = claims(Unclaimed::Ready, &inventory);
    assert!(!claims.is_returning(id));
    assert_eq!(claims.settle(&inventory, at(5)), [Settled::Unclaimed(claim(Unclaimed::Ready))]);
    assert!(claims.is_returning(id));
    assert_eq!(claims.settle(&inventory, at(6)), [], "it is told once");
    claims.given_back(&claim(Unclaimed::Ready).server, false);
    assert!(claims.is_returning(id), "until the inventory knows");
    let ready = inventory.next(vec![spec("uid-1", Some(Withheld::Draining))], Vec::new());
    assert_eq!(claims.settle(&ready, at(7)), []);
    assert!(claims.is_empty() && !claims.is_returning(id));
}

#[test]
fn server_that_could_not_be_given_back_takes_players_again() {
    let inventory = arena();
    let mut claims = claims(Unclaimed::Delete, &inventory);
    claims.settle(&inventory, at(5));
    claims.given_back(&claim(Unclaimed::Delete).server, true);
    assert!(claims.is_empty() && !claims.is_returning(&inventory.backends()[0].spec.id));
}

#[test]
fn server_that_looks_as_before_though_it_was_given_back_is_not_kept_from_players_for_ever() {
    let inventory = arena();
    let mut claims = claims(Unclaimed::Ready, &inventory);
    claims.settle(&inventory, at(5));
    claims.settle(&inventory, at(35));
    assert!(claims.is_empty() && !claims.is_returning(&inventory.backends()[0].spec.id));
}

#[test]
fn server_that_is_allocated_anew_is_a_new_claim() {
    let inventory = arena();
    let mut claims = claims(Unclaimed::Ready, &inventory);
    claims.settle(&inventory, at(5));
    claims.allocated(claim(Unclaimed::Ready), at(20), &inventory);
    assert!(!claims.is_returning(&inventory.backends()[0].spec.id));
    assert_eq!(claims.settle(&inventory, at(19)), []);
    assert_eq!(claims.settle(&inventory, at(20)).len(), 1);
}

#[test]
fn allocation_without_an_answer_is_found_by_its_id() {
    let lost = |claims: &mut Claims, id: &str| {
        claims.lost(AllocationId(id.into()), &"gs".into(), Unclaimed::Delete, at(0));
    };
    let mut claims = Claims::default();
    lost(&mut claims, ALLOCATION);
    assert_eq!(claims.settle(&empty(), at(1)), []);
    assert_eq!(claims.settle(&arena(), at(2)), [Settled::Unclaimed(claim(Unclaimed::Delete))]);

    let mut claims = Claims::default();
    lost(&mut claims, "another");
    assert_eq!(claims.settle(&arena(), at(2)), []);
    lost(&mut claims, ALLOCATION);
    assert_eq!(claims.settle(&empty(), at(60)), []);
    assert_eq!(claims.settle(&arena(), at(61)), [], "it is looked for no longer");
    assert!(claims.lost.is_empty());
}

#[test]
fn no_more_than_a_bound_of_lost_allocations_is_kept() {
    let mut claims = Claims::default();
    for number in 0..2 * Claims::MOST_LOST {
        claims.lost(AllocationId(number.to_string().into()), &"gs".into(), Unclaimed::Keep, at(0));
    }
    assert_eq!(claims.lost.len(), Claims::MOST_LOST);
}

#[test]
fn what_nobody_has_played_on_is_unclaimed_when_the_director_stops() {
    let inventory = arena();
    let _seat = Seat::take(&inventory.backends()[0]);
    let mut unplayed = claims(Unclaimed::Ready, &inventory);
    assert_eq!(unplayed.close(&inventory), [claim(Unclaimed::Ready)]);
    assert!(unplayed.is_empty());
    let mut played = claims(Unclaimed::Ready, &inventory);
    inventory.backends()[0].load.begin_session();
    assert_eq!(played.close(&inventory), []);
}
