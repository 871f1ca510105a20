use std::collections::HashMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde_json::Value;

use udp_director_wire as wire;

use super::{Arc, BTreeMap, Backend, Balancer, Matching, Seat, Strategy};
use crate::inventory::{BackendId, BackendSpec, Capacity, Inventory, Ports};
use crate::select::Query;

/// Backends `b0`, `b1`, ... with the given labels.
fn backends(labels: &[&[(&str, &str)]]) -> Inventory {
    let specs = labels.iter().enumerate().map(|(n, labels)| spec(&format!("b{n:03}"), labels)).collect();
    Inventory::default().next(specs, Vec::new())
}

fn plain(count: usize) -> Inventory {
    backends(&vec![&[][..]; count])
}

fn spec(name: &str, labels: &[(&str, &str)]) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(name),
        resource_type: "gs".into(),
        namespace: "games".into(),
        name: name.into(),
        address: Ipv4Addr::new(10, 0, 0, 1).into(),
        ports: Ports::One(7777),
        labels: labels.iter().map(|&(key, value)| (key.into(), value.into())).collect(),
        annotations: BTreeMap::new(),
        view: Value::Null.into(),
        ends_at: None,
        withheld: None,
        capacity: Capacity::Unbounded,
    }
}

fn all(inventory: &Inventory) -> Matching<'_> {
    let query = wire::Query { resource_type: "gs".into(), ..wire::Query::default() };
    inventory.matching(&Query::compile(&query).expect("a query"))
}

fn arithmetic(overlap: u32) -> Balancer {
    Balancer::new(Strategy::LabelArithmetic {
        current_label: "current".into(),
        max_label: "max".into(),
        overlap,
    })
}

fn chosen(balancer: &Balancer, candidates: &Inventory) -> Option<String> {
    name(balancer.choose(&all(candidates), None, 0)?)
}

fn stuck(key: &str, candidates: &Inventory) -> Option<String> {
    name(Balancer::default().choose(&all(candidates), Some(key), 0)?)
}

#[expect(clippy::needless_pass_by_value, reason = "the seat is given back at once")]
fn name(seat: Seat) -> Option<String> {
    Some(seat.backend().spec.name.clone())
}

/// Takes that many seats for good.
fn occupy(backend: &Arc<Backend>, seats: u32) {
    (0..seats).for_each(|_| std::mem::forget(Seat::take(backend)));
}

#[test]
fn nothing_is_chosen_from_nothing() {
    for strategy in [Strategy::First, Strategy::Random, Strategy::RoundRobin, Strategy::LeastSessions] {
        assert!(Balancer::new(strategy).choose(&all(&plain(0)), None, 7).is_none());
    }
    assert!(arithmetic(0).choose(&all(&plain(0)), None, 7).is_none());
    assert_eq!(stuck("key", &plain(0)), None);
}

#[test]
fn chosen_backend_has_a_seat_taken_until_the_seat_is_dropped() {
    let candidates = plain(1);
    let seat = Balancer::default().choose(&all(&candidates), None, 0);
    assert_eq!(candidates.backends()[0].load.seats(), 1);
    drop(seat);
    assert_eq!(candidates.backends()[0].load.seats(), 0);
}

#[test]
fn label_arithmetic_takes_the_most_room_then_the_lower_current() {
    for (labels, expected) in [
        (&[&[("current", "3"), ("max", "10")][..], &[("current", "2"), ("max", "10")]][..], Some("b001")),
        (&[&[("current", "5"), ("max", "10")], &[("current", "3"), ("max", "8")]], Some("b001")),
        (&[&[("current", "3"), ("max", "8")], &[("current", "3"), ("max", "8")]], Some("b000")),
        (&[&[("current", "8"), ("max", "8")], &[("current", "9"), ("max", "8")]], None),
        (&[&[("max", "8")], &[("current", "x"), ("max", "8")], &[("current", "1"), ("max", "")]], None),
        (&[&[("current", "-9223372036854775808"), ("max", "9223372036854775807")]], Some("b000")),
    ] {
        assert_eq!(chosen(&arithmetic(0), &backends(labels)).as_deref(), expected, "{labels:?}");
    }
}

#[test]
fn label_arithmetic_counts_seats_and_keeps_the_overlap_free() {
    let candidates = backends(&[&[("current", "1"), ("max", "6")]]);
    let seats: Vec<_> = (0..9).map_while(|_| arithmetic(2).choose(&all(&candidates), None, 0)).collect();
    assert_eq!(seats.len(), 3, "6 - 1 - 2");
}

#[test]
fn last_seat_goes_to_one_of_those_who_race_for_it() {
    let candidates = backends(&[&[("current", "0"), ("max", "100")]]);
    let balancer = arithmetic(0);
    let take = || (0..50).filter_map(|_| balancer.choose(&all(&candidates), None, 0)).collect::<Vec<_>>();
    let taken: Vec<Vec<Seat>> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
    });
    assert_eq!(candidates.backends()[0].load.seats(), 100);
    assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), 100);
}

#[test]
fn sticky_key_respects_the_room_that_label_arithmetic_demands() {
    let candidates = backends(&[&[("current", "0"), ("max", "1")], &[("current", "0"), ("max", "1")]]);
    let balancer = arithmetic(0);
    let seats: Vec<_> = (0..3).map(|_| balancer.choose(&all(&candidates), Some("party"), 0)).collect();
    let taken: Vec<bool> = seats.iter().map(Option::is_some).collect();
    assert_eq!(taken, [true, true, false]);
}

#[test]
fn sticky_key_gives_these_backends_in_every_process_and_version() {
    let candidates = plain(10);
    let chosen: Vec<_> = ["player-1", "player-2", "party-7", "é"].map(|key| stuck(key, &candidates)).into();
    assert_eq!(chosen, STICKY_VECTOR.map(|name| Some(name.to_owned())));
}

/// What the hash gives; computed by an implementation of its own, in another language.
const STICKY_VECTOR: [&str; 4] = ["b000", "b009", "b005", "b002"];

proptest! {
    #[test]
    fn first_is_the_first(count in 1_usize..20) {
        prop_assert_eq!(chosen(&Balancer::new(Strategy::First), &plain(count)), Some("b000".to_owned()));
    }

    #[test]
    fn random_covers_all_evenly(count in 1_usize..20) {
        let candidates = plain(count);
        let balancer = Balancer::new(Strategy::Random);
        let mut counts = HashMap::new();
        for step in 0..count as u64 * 10 {
            let random = step * (u64::MAX / (count as u64 * 10)) + 1;
            let seat = balancer.choose(&all(&candidates), None, random).expect("a seat");
            *counts.entry(seat.backend().spec.name.clone()).or_insert(0) += 1;
        }
        prop_assert_eq!(counts.len(), count);
        prop_assert!(counts.values().all(|&times| (9..=11).contains(&times)), "{:?}", counts);
    }

    #[test]
    fn any_random_number_will_do(random in any::<u64>(), count in 1_usize..20) {
        prop_assert!(Balancer::new(Strategy::Random).choose(&all(&plain(count)), None, random).is_some());
    }

    #[test]
    fn round_robin_gives_each_its_turn(count in 1_usize..20, rounds in 1_usize..4) {
        let candidates = plain(count);
        let balancer = Balancer::new(Strategy::RoundRobin);
        let seats: Vec<_> = (0..count * rounds).filter_map(|_| balancer.choose(&all(&candidates), None, 0)).collect();
        prop_assert_eq!(seats.len(), count * rounds);
        prop_assert!(candidates.backends().iter().all(|backend| backend.load.seats() as usize == rounds));
    }

    #[test]
    fn least_sessions_is_the_first_of_the_lowest(seats in prop::collection::vec(0_u32..5, 1..20)) {
        let candidates = plain(seats.len());
        candidates.backends().iter().zip(&seats).for_each(|(backend, &seats)| occupy(backend, seats));
        let lowest = seats.iter().min().expect("one at least");
        let expected = seats.iter().position(|seats| seats == lowest).map(|n| format!("b{n:03}"));
        prop_assert_eq!(chosen(&Balancer::default(), &candidates), expected);
    }

    #[test]
    fn label_arithmetic_agrees_with_its_definition(
        servers in prop::collection::vec((0_i64..6, 0_i64..9, 0_u32..4), 1..8),
        overlap in 0_u32..3,
    ) {
        let texts: Vec<_> = servers.iter().map(|(current, max, _)| (current.to_string(), max.to_string())).collect();
        let labels: Vec<_> = texts.iter().map(|(current, max)| [("current", &**current), ("max", &**max)]).collect();
        let candidates = backends(&labels.iter().map(|pair| &pair[..]).collect::<Vec<_>>());
        candidates.backends().iter().zip(&servers).for_each(|(backend, &(_, _, seats))| occupy(backend, seats));
        let room = |&(current, max, seats): &(i64, i64, u32)| max - current - i64::from(seats) - i64::from(overlap);
        let expected = (0..servers.len())
            .filter(|&n| room(&servers[n]) > 0)
            .min_by_key(|&n| (-room(&servers[n]), servers[n].0))
            .map(|n| format!("b{n:03}"));
        prop_assert_eq!(chosen(&arithmetic(overlap), &candidates), expected);
    }

    #[test]
    fn sticky_key_stays_unless_its_own_backend_goes(key in ".{1,40}", count in 2_usize..20, gone in any::<prop::sample::Index>()) {
        let candidates = plain(count);
        let before = stuck(&key, &candidates);
        let mut specs: Vec<_> = candidates.backends().iter().map(|backend| backend.spec.clone()).collect();
        let removed = specs.remove(gone.index(count)).name;
        let candidates = candidates.next(specs, Vec::new());
        if before.as_deref() != Some(&removed) {
            prop_assert_eq!(stuck(&key, &candidates), before);
        }
    }

    #[test]
    fn sticky_keys_spread_over_all(prefix in "[a-z]{0,8}") {
        let candidates = plain(8);
        let mut counts: HashMap<_, u32> = HashMap::new();
        for n in 0..800 {
            *counts.entry(stuck(&format!("{prefix}{n}"), &candidates)).or_default() += 1;
        }
        prop_assert!(counts.len() == 8 && counts.values().all(|&times| (50..=160).contains(&times)), "{:?}", counts);
    }
}
