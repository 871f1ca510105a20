use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde_json::Value;

use udp_director_wire as wire;

use super::{Arc, Backend, Balancer, Draw, Matching, Seat, Strategy};
use crate::inventory::{BackendId, BackendSpec, Capacity, Inventory, Ports};
use crate::select::Query;

/// Backends `b000`, `b001`, ... with such capacities.
fn backends(capacities: &[Capacity]) -> Inventory {
    let specs = capacities.iter().enumerate();
    let specs = specs.map(|(n, capacity)| spec(&format!("b{n:03}"), capacity.clone())).collect();
    Inventory::default().next(specs, Vec::new())
}

fn plain(count: usize) -> Inventory {
    backends(&vec![Capacity::Unbounded; count])
}

/// Room for so many each.
fn bounded(seats: &[u32]) -> Inventory {
    backends(&seats.iter().map(|seats| Capacity::of(*seats, 0, 0)).collect::<Vec<_>>())
}

fn spec(name: &str, capacity: Capacity) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(name),
        resource_type: "gs".into(),
        namespace: "games".into(),
        name: name.into(),
        address: Ipv4Addr::new(10, 0, 0, 1).into(),
        ports: Ports::One(7777),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        view: Value::Null.into(),
        ends_at: None,
        withheld: None,
        capacity,
    }
}

fn all(inventory: &Inventory) -> Matching<'_> {
    let query = wire::Query { resource_type: "gs".into(), ..wire::Query::default() };
    inventory.matching(&Query::compile(&query).expect("a query"))
}

fn take(strategy: Strategy, candidates: &Inventory, random: u64) -> Option<Seat> {
    Balancer::new(strategy).choose(&all(candidates), &Draw::of(random))
}

fn chosen(strategy: Strategy, candidates: &Inventory) -> Option<String> {
    name(take(strategy, candidates, 0)?)
}

fn keyed<'a>(key: &'a str, remembered: Option<&'a BackendId>) -> Draw<'a> {
    Draw { sticky_key: Some(key), remembered, random: 0 }
}

fn stuck(key: &str, candidates: &Inventory) -> Option<String> {
    name(Balancer::default().choose(&all(candidates), &keyed(key, None))?)
}

#[expect(clippy::needless_pass_by_value, reason = "the seat is given back at once")]
fn name(seat: Seat) -> Option<String> {
    Some(seat.backend().spec.name.clone())
}

/// Takes that many seats for good.
fn occupy(backend: &Arc<Backend>, seats: u32) {
    (0..seats).for_each(|_| std::mem::forget(Seat::take(backend).expect("room")));
}

#[test]
fn nothing_is_chosen_from_nothing() {
    for strategy in Strategy::ALL {
        assert!(take(strategy, &plain(0), 7).is_none(), "{strategy:?}");
    }
    assert_eq!(stuck("key", &plain(0)), None);
}

#[test]
fn chosen_backend_has_a_seat_taken_until_the_seat_is_dropped() {
    let candidates = plain(1);
    let seat = take(Strategy::First, &candidates, 0);
    assert_eq!(candidates.backends()[0].load.seats(), 1);
    drop(seat);
    assert_eq!(candidates.backends()[0].load.seats(), 0);
}

#[test]
fn one_without_room_is_never_chosen() {
    let full = [Capacity::of(0, 0, 0), Capacity::Unknown("no number".into()), Capacity::of(3, 5, 0)];
    for strategy in Strategy::ALL {
        assert!(take(strategy, &backends(&full), 7).is_none(), "{strategy:?}");
        let with_one = backends(&[&full[..], &[Capacity::of(1, 0, 0)]].concat());
        assert_eq!(chosen(strategy, &with_one).as_deref(), Some("b003"), "{strategy:?}");
        assert_eq!(
            Balancer::new(strategy).choose(&all(&with_one), &keyed("key", None)).and_then(name).as_deref(),
            Some("b003")
        );
    }
}

#[test]
fn each_strategy_gives_out_every_seat_and_no_more() {
    for strategy in Strategy::ALL {
        let candidates = bounded(&[3, 0, 1, 4]);
        let balancer = Balancer::new(strategy);
        let choose =
            |n: u64| balancer.choose(&all(&candidates), &Draw::of(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let seats: Vec<Seat> = (0..20).filter_map(choose).collect();
        assert_eq!(seats.len(), 8, "{strategy:?}");
        let taken: Vec<u32> = candidates.backends().iter().map(|backend| backend.load.seats()).collect();
        assert_eq!(taken, [3, 0, 1, 4], "{strategy:?}");
    }
}

#[test]
fn label_arithmetic_takes_the_most_room_then_the_lower_current() {
    for (capacities, expected) in [
        ([(10, 3), (10, 2)], Some("b001")),
        ([(10, 5), (8, 3)], Some("b001")),
        ([(8, 3), (8, 3)], Some("b000")),
        ([(8, 8), (8, 9)], None),
    ] {
        let capacities = capacities.map(|(max, current)| Capacity::of(max, current, 0));
        let picked = chosen(Strategy::LabelArithmetic, &backends(&capacities));
        assert_eq!(picked.as_deref(), expected, "{capacities:?}");
    }
}

#[test]
fn packed_fills_the_fullest_that_still_has_room() {
    let candidates = bounded(&[4, 4, 4]);
    for (backend, seats) in candidates.backends().iter().zip([1, 3, 4]) {
        occupy(backend, seats);
    }
    assert_eq!(chosen(Strategy::Packed, &candidates).as_deref(), Some("b001"));
    let unbounded = plain(3);
    occupy(&unbounded.backends()[1], 2);
    assert_eq!(chosen(Strategy::Packed, &unbounded).as_deref(), Some("b001"), "the most players");
}

#[test]
fn least_loaded_takes_the_smaller_share_of_two() {
    let candidates = bounded(&[10, 100]);
    occupy(&candidates.backends()[0], 2);
    occupy(&candidates.backends()[1], 10);
    let counts = (0..64_u64).map(|n| take(Strategy::LeastLoaded, &candidates, n << 58).and_then(name));
    let counts: Vec<bool> = counts.map(|name| name.as_deref() == Some("b001")).collect();
    let chosen = counts.iter().filter(|is_second| **is_second).count();
    assert!(
        (40..=60).contains(&chosen),
        "10 of 100 is less than 2 of 10: {chosen} of 64, all but pairs of the first"
    );
}

#[test]
fn last_seat_goes_to_one_of_those_who_race_for_it() {
    for strategy in Strategy::ALL {
        let candidates = bounded(&[20; 5]);
        let balancer = Balancer::new(strategy);
        let take = |racer: u64| -> Vec<Seat> {
            (0..50)
                .filter_map(|n| balancer.choose(&all(&candidates), &Draw::of((racer * 50 + n) << 56)))
                .collect()
        };
        let taken: Vec<Vec<Seat>> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..4).map(|racer| scope.spawn(move || take(racer))).collect();
            racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
        });
        assert!(candidates.backends().iter().all(|backend| backend.load.seats() == 20), "{strategy:?}");
        assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), 100, "{strategy:?}");
    }
}

#[test]
fn sticky_key_leads_where_it_is_remembered_to_while_there_is_room() {
    let candidates = bounded(&[1; 10]);
    let by_hash = stuck("party", &candidates).expect("a backend");
    let elsewhere =
        candidates.backends().iter().find(|backend| backend.spec.name != by_hash).expect("others");
    let choose =
        |remembered| Balancer::default().choose(&all(&candidates), &keyed("party", Some(remembered)));
    let seat = choose(&elsewhere.spec.id).expect("a seat");
    assert_eq!(seat.backend().spec.name, elsewhere.spec.name);
    assert_eq!(choose(&elsewhere.spec.id).and_then(name), Some(by_hash.clone()), "it is full");
    assert_eq!(choose(&BackendId::new("gone")).and_then(name), Some(by_hash));
}

#[test]
fn strategy_by_key_spreads_those_without_one() {
    let candidates = plain(3);
    let seats: Vec<_> = (0..3).filter_map(|_| take(Strategy::StickyKey, &candidates, 0)).collect();
    assert_eq!(seats.len(), 3);
    assert!(candidates.backends().iter().all(|backend| backend.load.seats() == 1));
}

#[test]
fn sticky_key_gives_these_backends_in_every_process_and_version() {
    let candidates = plain(10);
    let chosen: Vec<_> = ["player-1", "player-2", "party-7", "é"].map(|key| stuck(key, &candidates)).into();
    assert_eq!(chosen, STICKY_VECTOR.map(|name| Some(name.to_owned())));
}

/// What the hash gives; computed by an implementation of its own, in another language.
const STICKY_VECTOR: [&str; 4] = ["b001", "b005", "b002", "b007"];

proptest! {
    #[test]
    fn first_is_the_first(count in 1_usize..20) {
        prop_assert_eq!(chosen(Strategy::First, &plain(count)), Some("b000".to_owned()));
    }

    #[test]
    fn random_covers_all_evenly(count in 1_usize..20) {
        let candidates = plain(count);
        let balancer = Balancer::new(Strategy::Random);
        let mut counts = HashMap::new();
        for step in 0..count as u64 * 10 {
            let random = step * (u64::MAX / (count as u64 * 10)) + 1;
            let seat = balancer.choose(&all(&candidates), &Draw::of(random)).expect("a seat");
            *counts.entry(seat.backend().spec.name.clone()).or_insert(0) += 1;
        }
        prop_assert_eq!(counts.len(), count);
        prop_assert!(counts.values().all(|&times| (9..=11).contains(&times)), "{:?}", counts);
    }

    #[test]
    fn any_random_number_will_do(random in any::<u64>(), count in 1_usize..20) {
        prop_assert!(take(Strategy::Random, &plain(count), random).is_some());
    }

    #[test]
    fn round_robin_gives_each_its_turn(count in 1_usize..20, rounds in 1_usize..4) {
        let candidates = plain(count);
        let balancer = Balancer::new(Strategy::RoundRobin);
        let seats: Vec<_> = (0..count * rounds).filter_map(|_| balancer.choose(&all(&candidates), &Draw::default())).collect();
        prop_assert_eq!(seats.len(), count * rounds);
        prop_assert!(candidates.backends().iter().all(|backend| backend.load.seats() as usize == rounds));
    }

    #[test]
    fn least_sessions_is_the_first_of_the_lowest(seats in prop::collection::vec(0_u32..5, 1..20)) {
        let candidates = plain(seats.len());
        candidates.backends().iter().zip(&seats).for_each(|(backend, &seats)| occupy(backend, seats));
        let lowest = seats.iter().min().expect("one at least");
        let expected = seats.iter().position(|seats| seats == lowest).map(|n| format!("b{n:03}"));
        prop_assert_eq!(chosen(Strategy::LeastSessions, &candidates), expected);
    }

    #[test]
    fn room_decides_as_it_is_defined(
        servers in prop::collection::vec((0_u32..9, 0_u32..6, 0_u32..4), 1..8),
        overlap in 0_u32..3,
    ) {
        let capacities: Vec<_> = servers.iter().map(|&(max, current, _)| Capacity::of(max, current, overlap)).collect();
        let candidates = backends(&capacities);
        let mut free = Vec::new();
        for (backend, &(max, current, seats)) in candidates.backends().iter().zip(&servers) {
            let room = max.saturating_sub(current + overlap);
            occupy(backend, seats.min(room));
            free.push(room - seats.min(room));
        }
        let with_room = || (0..servers.len()).filter(|&n| free[n] > 0);
        let named = |n: Option<usize>| n.map(|n| format!("b{n:03}"));
        let most = with_room().min_by_key(|&n| (-i64::from(free[n]), servers[n].1));
        prop_assert_eq!(chosen(Strategy::LabelArithmetic, &candidates), named(most));
        prop_assert_eq!(chosen(Strategy::Packed, &candidates), named(with_room().min_by_key(|&n| free[n])));
        prop_assert_eq!(chosen(Strategy::First, &candidates), named(with_room().next()));
    }

    #[test]
    fn random_is_even_among_those_with_room(room in prop::collection::vec(any::<bool>(), 1..12)) {
        let candidates = bounded(&room.iter().map(|room| u32::from(*room)).collect::<Vec<_>>());
        let with_room = room.iter().filter(|room| **room).count();
        let mut counts = HashMap::new();
        for n in 0..200 * with_room as u64 {
            let name = take(Strategy::Random, &candidates, n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).and_then(name);
            *counts.entry(name).or_insert(0) += 1;
        }
        prop_assert_eq!(counts.len(), with_room);
        prop_assert!(counts.values().all(|times| (120..=300).contains(times)), "{:?}", counts);
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
