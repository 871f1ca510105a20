use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use udp_director_core::{
    BackendSpec, Capacity, ClientAddr, Counters, Issue, ListenerId, OpenedBy, Opening, Ports, Query, Wanted,
    Withheld,
};
use udp_director_dataplane::{Clock, Descriptors, WorkersOptions};
use udp_director_wire as wire;
use wire::Token;

use super::*;

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
        (vec![relabelled("a", 1)], None, Some(Fate::Move), None),
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

#[test]
fn pace_saves_a_fifth_of_a_second_and_no_more() {
    let mut pace = Pace::default();
    let at = |millis| Moment::since_epoch(Duration::from_millis(millis));
    let takes = |pace: &mut Pace, now| (0..1_000).take_while(|_| pace.take(now, 100)).count();
    assert_eq!(takes(&mut pace, at(60_000)), 20);
    assert_eq!(takes(&mut pace, at(60_050)), 5);
    assert!(Pace::default().take(at(1_000), 1), "one is always to be had");
}

/// An evacuation with a player on each of some backends.
fn playing(backends: &[BackendSpec]) -> (Evacuation, Inventory) {
    let inventory = Inventory::default().next(backends.to_vec(), Vec::new());
    let clock = Clock::new();
    let settings = Arc::new(rules::settings(&config("keep"), Vec::new()));
    let ledger =
        Arc::new(SharedLedger::new(settings, Arc::new(inventory.next(backends.to_vec(), Vec::new()))));
    for (number, backend) in inventory.backends().iter().enumerate() {
        let token =
            Token::from_bytes(format!("00000000-0000-4000-8000-{number:012}").as_bytes()).expect("a token");
        let query = wire::Query { resource_type: "gs".into(), ..wire::Query::default() };
        let query = Query::compile(&query).expect("a query");
        let wanted = Some(Arc::new(Wanted { query, balancer: Arc::default() }));
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
        evacuation.compare(&before, &now, &config);
        before = now;
    }
    assert_eq!((evacuation.queue.len(), evacuation.closing.len()), (1, 0));
    let now = before.next(vec![spec("a", 3), spec("b", 2)], Vec::new());
    evacuation.compare(&before, &now, &config);
    assert_eq!((evacuation.queue.len(), evacuation.closing.len()), (1, 1), "another has taken its name");
}
