use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use udp_director_core::{
    BackendSpec, Capacity, ClientAddr, Counters, Issue, ListenerId, OpenedBy, Opening, Ports, Query,
    SharedLedger, Wanted, Withheld,
};
use udp_director_dataplane::tcp::Streams;
use udp_director_dataplane::{Clock, Descriptors, Workers, WorkersOptions};
use udp_director_wire as wire;
use wire::Token;

use super::*;
use crate::rules;

const CONFIG: &str = "\
dataPort: 7777
inventory: {file: objects.yaml}
resourceQueryMapping:
  gs: {group: '', version: v1, resource: pods, portName: game, whenLost: POLICY}
";

fn config(policy: &str) -> Config {
    Config::parse(&CONFIG.replace("POLICY", policy), "config.yaml".as_ref()).expect("a configuration")
}

fn spec(name: &str, host: u8) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(&format!("uid-{name}-{host}")),
        resource_type: "gs".into(),
        namespace: "games".into(),
        name: name.into(),
        address: Ipv4Addr::new(10, 0, 0, host).into(),
        ports: Ports::One(7777),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        view: serde_json::Value::Null.into(),
        ends_at: None,
        withheld: None,
        capacity: Capacity::Unbounded,
    }
}

fn unready(name: &str, host: u8) -> BackendSpec {
    BackendSpec { withheld: Some(Withheld::Draining), ..spec(name, host) }
}

fn relabelled(name: &str, host: u8) -> BackendSpec {
    BackendSpec { labels: [("map".to_owned(), "snow".to_owned())].into(), ..spec(name, host) }
}

fn ending(name: &str, host: u8, ends_at: SystemTime) -> BackendSpec {
    BackendSpec { ends_at: Some(ends_at), ..unready(name, host) }
}

#[test]
fn fate_follows_the_policy_and_what_has_become_of_the_backend() {
    let before = Inventory::default().next(vec![spec("a", 1)], Vec::new());
    let backend = &before.backends()[0];
    let (past, future) = (SystemTime::UNIX_EPOCH, SystemTime::now() + Duration::from_secs(3600));
    for (now, keep, migrate, close) in [
        (vec![spec("a", 1)], None, None, None),
        (vec![unready("a", 1)], None, Some(Fate::Move), Some(Fate::Close)),
        (vec![relabelled("a", 1)], None, Some(Fate::MoveSome), None),
        (vec![ending("a", 1, future)], None, Some(Fate::Move), Some(Fate::Close)),
        (vec![ending("a", 1, past)], Some(Fate::Move), Some(Fate::Move), Some(Fate::Close)),
        (vec![spec("b", 2)], Some(Fate::Move), Some(Fate::Move), Some(Fate::Move)),
        // The name, or the address, is another object's.
        (vec![spec("a", 2)], Some(Fate::Close), Some(Fate::Close), Some(Fate::Close)),
        (vec![spec("b", 1)], Some(Fate::Close), Some(Fate::Close), Some(Fate::Close)),
    ] {
        let shown = format!("{now:?}");
        let now = before.next(now, Vec::new());
        for (policy, expected) in [("keep", keep), ("migrate", migrate), ("close", close)] {
            assert_eq!(fate(backend, &now, &config(policy)), expected, "{policy}: {shown}");
        }
    }
}

/// An evacuation with a player on each of some backends.
fn playing(backends: &[BackendSpec]) -> (Evacuation, Inventory) {
    let inventory = Inventory::default().next(backends.to_vec(), Vec::new());
    let clock = Clock::new();
    let settings = Arc::new(rules::settings(&config("keep"), Vec::new(), None));
    let ledger =
        Arc::new(SharedLedger::new(settings, Arc::new(inventory.next(backends.to_vec(), Vec::new()))));
    for (number, backend) in inventory.backends().iter().enumerate() {
        let token =
            Token::from_bytes(format!("00000000-0000-4000-8000-{number:012}").as_bytes()).expect("a token");
        let query = wire::Query { resource_type: "gs".into(), ..wire::Query::default() };
        let query = Query::compile(&query).expect("a query");
        let wanted = Some(Arc::new(Wanted { query, balancer: Arc::default(), text: Arc::default() }));
        let asked_by = Ipv4Addr::LOCALHOST.into();
        let issue = Issue {
            token,
            seat: Seat::take(backend).expect("a seat"),
            asked_by,
            bound: true,
            wanted,
            sticky_key: None,
        };
        let mut locked = ledger.lock();
        locked.issue(issue, Moment::default()).expect("room");
        let opening = Opening {
            listener: ListenerId(0),
            client: ClientAddr::new((Ipv4Addr::LOCALHOST, 1 + number as u16).into()),
            local: asked_by,
            place: Place::Stream,
            addr: udp_director_core::BackendAddr::new((backend.spec.address, 7777).into()),
            upstream: None,
            by: OpenedBy::Token(token),
        };
        locked.open(opening, Moment::default());
    }
    let options = WorkersOptions { count: 1, max_upstreams: 1, seed: 1 };
    let workers = Arc::new(Workers::start(&options, &ledger, clock).expect("a worker"));
    let descriptors = Descriptors::new(100, clock);
    let streams = Streams::new(Arc::clone(&ledger), Arc::new(Counters::default()), clock, 10, descriptors, 1);
    (Evacuation::new(Movers { ledger, workers, streams }), inventory)
}

#[tokio::test]
async fn player_is_entered_once_however_often_the_inventory_changes() {
    let config = config("migrate");
    let (mut evacuation, mut before) = playing(&[spec("a", 1), spec("b", 2)]);
    for _ in 0..5 {
        let now = before.next(vec![unready("a", 1), spec("b", 2)], Vec::new());
        evacuation.compare(&before, &now, &config, Moment::default());
        before = now;
    }
    assert_eq!((evacuation.queue.len(), evacuation.telling.len()), (1, 0));
    let now = before.next(vec![spec("a", 3), spec("b", 2)], Vec::new());
    evacuation.compare(&before, &now, &config, Moment::default());
    assert_eq!((evacuation.queue.len(), evacuation.telling.len()), (1, 1), "another has taken its name");
}

fn flapping(name: &str, host: u8) -> BackendSpec {
    BackendSpec { withheld: Some(Withheld::NotReady("for a moment".into())), ..spec(name, host) }
}

fn at(seconds: u64) -> Moment {
    Moment::since_epoch(Duration::from_secs(seconds))
}

#[tokio::test]
async fn players_stay_on_a_backend_that_flaps_and_leave_one_that_is_not_ready_for_long() {
    let config = config("migrate");
    let (mut evacuation, mut before) = playing(&[spec("a", 1), spec("b", 2)]);
    let mut now = |evacuation: &mut Evacuation, ready: bool, second: u64| {
        let a = if ready { spec("a", 1) } else { flapping("a", 1) };
        let next = before.next(vec![a, spec("b", 2)], Vec::new());
        evacuation.compare(&before, &next, &config, at(second));
        before = next;
        evacuation.queue.len()
    };
    for second in (0..40).step_by(4) {
        assert_eq!(now(&mut evacuation, false, second), 0);
        assert_eq!(now(&mut evacuation, true, second + 3), 0);
    }
    assert_eq!(now(&mut evacuation, false, 100), 0);
    evacuation.enter_due(at(104));
    assert_eq!(evacuation.queue.len(), 0);
    evacuation.enter_due(at(105));
    assert_eq!(evacuation.queue.len(), 1);
    assert_eq!(now(&mut evacuation, false, 200), 1, "once");
}

#[tokio::test]
async fn backend_that_is_meant_to_be_left_is_left_at_once() {
    let config = config("migrate");
    for meant in [Withheld::Draining, Withheld::Terminating, Withheld::Cordoned] {
        let (mut evacuation, before) = playing(&[spec("a", 1), spec("b", 2)]);
        let flaps = before.next(vec![flapping("a", 1), spec("b", 2)], Vec::new());
        evacuation.compare(&before, &flaps, &config, at(0));
        assert_eq!(evacuation.queue.len(), 0);
        let leaving = BackendSpec { withheld: Some(meant), ..spec("a", 1) };
        let now = flaps.next(vec![leaving, spec("b", 2)], Vec::new());
        evacuation.compare(&flaps, &now, &config, at(1));
        assert_eq!(evacuation.queue.len(), 1);
    }
}

#[tokio::test]
async fn player_who_was_moved_stays_for_a_while_unless_his_backend_is_gone() {
    let config = config("migrate");
    let (mut evacuation, before) = playing(&[spec("a", 1), spec("b", 2)]);
    let ledger = Arc::clone(&evacuation.with.ledger);
    let player = ledger.lock().players_on(&BackendId::new("uid-a-1"))[0];
    let moved = Moved { wanted_by: WantedBy::Evacuation, session: player, outcome: Ok(()) };
    evacuation.ended(&moved, at(0));
    let mut mover = Mover::new(evacuation.with.clone());
    let publish = |evacuation: &mut Evacuation, before: &Inventory, specs: Vec<BackendSpec>, second| {
        let now = before.next(specs.clone(), Vec::new());
        ledger.lock().publish(Arc::new(before.next(specs, Vec::new())), None);
        evacuation.compare(before, &now, &config, at(second));
        now
    };
    let draining = publish(&mut evacuation, &before, vec![unready("a", 1), spec("b", 2)], 1);
    let try_all = |evacuation: &mut Evacuation, mover: &mut Mover, second| {
        evacuation.step(at(second), mover, 100);
        while evacuation.try_again(at(second), mover, 100) {}
        evacuation.queue.len() + evacuation.retries.len() + evacuation.stuck.len()
    };
    assert_eq!(try_all(&mut evacuation, &mut mover, 1), 1);
    assert_eq!(try_all(&mut evacuation, &mut mover, 8), 1);
    publish(&mut evacuation, &draining, vec![spec("b", 2)], 9);
    assert_eq!(try_all(&mut evacuation, &mut mover, 9), 0, "he is on his way");
}

#[tokio::test]
async fn players_for_whom_nothing_matches_stay_or_go_as_the_mapping_says() {
    for (policy, ending, is_stuck) in [("keep", Ending::Park, true), ("close", Ending::Close, false)] {
        let config = CONFIG.replace("POLICY", &format!("migrate, whenNothingMatches: {policy}"));
        let config = Config::parse(&config, "config.yaml".as_ref()).expect("a configuration");
        let (mut evacuation, before) = playing(&[spec("a", 1)]);
        let gone = Inventory::default();
        evacuation.with.ledger.lock().publish(Arc::new(Inventory::default()), None);
        evacuation.compare(&before, &gone, &config, at(0));
        let player = evacuation.queue.pop_front().expect("a player").session;
        evacuation.telling.clear();
        evacuation.give_up(player);
        assert_eq!(evacuation.telling.iter().map(|told| told.what).collect::<Vec<_>>(), [ending]);
        assert_eq!(evacuation.stuck, if is_stuck { vec![player] } else { Vec::new() });
    }
}

#[tokio::test]
async fn players_of_a_backend_that_is_gone_are_parked_while_they_wait_for_their_turn() {
    for now in [vec![spec("b", 2)], Vec::new()] {
        let (mut evacuation, before) = playing(&[spec("a", 1), spec("b", 2)][..1]);
        evacuation.with.ledger.lock().publish(Arc::new(before.next(now.clone(), Vec::new())), None);
        evacuation.compare(&before, &before.next(now, Vec::new()), &config("keep"), at(0));
        assert_eq!((evacuation.queue.len(), evacuation.telling.len()), (1, 0));
        for _ in 0..3 {
            evacuation.park_those_who_wait();
            let told: Vec<_> = evacuation.telling.iter().map(|told| told.what).collect();
            assert_eq!(told, [Ending::Park], "once");
        }
    }
}

#[tokio::test]
async fn player_with_nowhere_to_go_waits_once_however_often_labels_change() {
    let config = config("migrate");
    let (mut evacuation, mut before) = playing(&[spec("a", 1)]);
    let mut mover = Mover::new(evacuation.with.clone());
    let ledger = Arc::clone(&evacuation.with.ledger);
    for second in 0..20 {
        let labels = [("players".to_owned(), second.to_string())].into();
        let specs = vec![BackendSpec { labels, ..unready("a", 1) }];
        let now = before.next(specs.clone(), Vec::new());
        ledger.lock().publish(Arc::new(before.next(specs, Vec::new())), None);
        evacuation.compare(&before, &now, &config, at(second));
        evacuation.step(at(second), &mut mover, 1_000);
        while evacuation.try_again(at(second), &mut mover, 1_000) {}
        before = now;
    }
    assert_eq!(evacuation.queue.len() + evacuation.retries.len() + evacuation.stuck.len(), 1);
}

#[tokio::test]
async fn backend_whose_labels_have_changed_is_left_when_it_drains_and_not_before() {
    let config = config("migrate");
    let (mut evacuation, mut before) = playing(&[spec("a", 1), spec("b", 2)]);
    let ledger = Arc::clone(&evacuation.with.ledger);
    let mut publish = |evacuation: &mut Evacuation, specs: Vec<BackendSpec>, second| {
        let now = before.next(specs.clone(), Vec::new());
        ledger.lock().publish(Arc::new(before.next(specs, Vec::new())), None);
        evacuation.compare(&before, &now, &config, at(second));
        before = now;
    };
    publish(&mut evacuation, vec![relabelled("a", 1), spec("b", 2)], 1);
    assert_eq!(evacuation.queue.len(), 0, "they asked for no label");
    let draining = BackendSpec { withheld: Some(Withheld::Draining), ..relabelled("a", 1) };
    publish(&mut evacuation, vec![draining, spec("b", 2)], 2);
    assert_eq!(evacuation.queue.len(), 1);
}

#[tokio::test]
async fn who_comes_to_a_backend_that_is_being_left_is_entered_too() {
    let config = config("migrate");
    let (mut evacuation, before) = playing(&[spec("a", 1), spec("b", 2)]);
    let now = before.next(vec![unready("a", 1), spec("b", 2)], Vec::new());
    evacuation.compare(&before, &now, &config, at(0));
    let entered = evacuation.queue.pop_front().expect("a player").session;
    evacuation.look_again();
    assert_eq!(evacuation.queue.len(), 0, "he is on his way");
    evacuation.entered.remove(&entered);
    evacuation.look_again();
    assert_eq!(evacuation.queue.len(), 1, "as who has come since");
}
