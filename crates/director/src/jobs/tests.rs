use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use udp_director_core::{
    BackendAddr, BackendSpec, Capacity, ClientAddr, Inventory, Issue, Limits, Listener, ListenerId, OpenedBy,
    Opening, Place, Ports, Protocol, Query, Seat, Settings, Withheld,
};
use udp_director_wire::{self as wire, Magic, Token, TokenForm};

use super::*;

fn spec(name: &str, seats: u32) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(name),
        resource_type: "gs".into(),
        namespace: "games".into(),
        name: name.into(),
        address: Ipv4Addr::new(10, 0, 0, 1).into(),
        ports: Ports::One(7777),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        view: serde_json::Value::Null.into(),
        ends_at: None,
        withheld: None,
        capacity: Capacity::of(seats, 0, 0),
    }
}

/// A ledger with so many players on `a`, over TCP.
fn playing(players: u16, specs: Vec<BackendSpec>) -> SharedLedger {
    let listener = Listener {
        id: ListenerId(0),
        name: "default".into(),
        protocol: Protocol::Tcp,
        port: 7777,
        first_of_protocol: true,
        proxy_protocol: false,
    };
    let settings = Settings {
        magic: Magic::default(),
        token_form: TokenForm::Uuid,
        seal: None,
        token_ttl: Duration::from_secs(30),
        session_timeout: Duration::from_secs(300),
        migration_grace: Duration::from_millis(250),
        token_grace: Duration::from_millis(500),
        sticky_for: Duration::from_secs(120),
        has_default_endpoint: false,
        limits: Limits { max_sessions: 1000, max_pending_tokens: 1000 },
        listeners: vec![listener],
    };
    let inventory = Arc::new(Inventory::default().next(specs, Vec::new()));
    let ledger = SharedLedger::new(Arc::new(settings), Arc::clone(&inventory));
    let backend = inventory.by_id(&BackendId::new("a")).expect("a backend");
    for number in 0..players {
        let token =
            Token::from_bytes(format!("00000000-0000-4000-8000-{number:012}").as_bytes()).expect("a token");
        let seat = Seat::take(backend).expect("room");
        let asked_by = Ipv4Addr::LOCALHOST.into();
        let issue = Issue { token, seat, asked_by, bound: true, wanted: Some(wanted()), sticky_key: None };
        let mut locked = ledger.lock();
        locked.issue(issue, Moment::default()).expect("room");
        let opening = Opening {
            listener: ListenerId(0),
            client: ClientAddr::new((Ipv4Addr::LOCALHOST, 1 + number).into()),
            local: asked_by,
            place: Place::Stream,
            addr: BackendAddr::new((backend.spec.address, 7777).into()),
            upstream: None,
            by: OpenedBy::Token(token),
        };
        locked.open(opening, Moment::default());
    }
    ledger
}

fn wanted() -> Arc<Wanted> {
    let query = wire::Query { resource_type: "gs".into(), ..wire::Query::default() };
    Arc::new(Wanted {
        query: Query::compile(&query).expect("a query"),
        balancer: Arc::default(),
        text: Arc::default(),
    })
}

fn id(name: &str) -> BackendId {
    BackendId::new(name)
}

fn order(from: From, to: To) -> Order {
    Order { from, to, per_second: None }
}

#[test]
fn rehearsal_fills_each_server_to_its_capacity_and_changes_nothing() {
    let ledger = playing(10, vec![spec("a", 10), spec("b", 3), spec("c", 4)]);
    let all = order(From::Backend(id("a"), 1.0), To::Wanted);
    for _ in 0..2 {
        let rehearsal = rehearse(&all, &ledger, 7).expect("an order");
        assert_eq!(rehearsal.total, 10);
        assert_eq!(
            rehearsal.to,
            BTreeMap::from([("gs/games/b".to_owned(), 3), ("gs/games/c".to_owned(), 4)])
        );
        assert_eq!(rehearsal.by_reason, BTreeMap::from([("no_match", 3)]));
    }
}

#[test]
fn share_is_rounded_up() {
    let ledger = playing(10, vec![spec("a", 10), spec("b", 100)]);
    for (share, players) in [(0.25, 3), (0.001, 1), (1.0, 10)] {
        let some = order(From::Backend(id("a"), share), To::Backend(id("b")));
        assert_eq!(rehearse(&some, &ledger, 7).expect("an order").total, players, "{share}");
    }
}

#[test]
fn order_that_can_come_to_nothing_is_refused() {
    let withheld = BackendSpec { withheld: Some(Withheld::Cordoned), ..spec("withheld", 9) };
    let elsewhere = BackendSpec { ports: Ports::Named(BTreeMap::new()), ..spec("portless", 9) };
    let ledger = playing(1, vec![spec("a", 1), spec("full", 0), withheld, elsewhere]);
    let session = ledger.lock().sessions().next().expect("a session").id;
    let jobs = Jobs::default();
    for (to, refusal) in [
        ("a", Refusal::AlreadyThere),
        ("gone", Refusal::BackendGone),
        ("full", Refusal::BackendFull),
        ("withheld", Refusal::BackendWithheld),
        ("portless", Refusal::NoPort),
    ] {
        for from in [From::Session(session), From::Backend(id("a"), 1.0)] {
            let refused = jobs.begin(order(from, To::Backend(id(to))), &ledger, 0).expect_err(to);
            assert_eq!(refused, OrderError::Refused(refusal), "{to}");
        }
    }
    let nowhere = jobs.begin(order(From::Session(session), To::Wanted), &ledger, 0);
    assert_eq!(nowhere.expect_err("nothing else"), OrderError::Refused(Refusal::NoMatch));
    let unknown = jobs.begin(order(From::Session(SessionId(99)), To::Wanted), &ledger, 0);
    assert_eq!(unknown.expect_err("no session"), OrderError::NoSession);
    let onto_itself = jobs.begin(order(From::Backend(id("b"), 1.0), To::Backend(id("b"))), &ledger, 0);
    assert_eq!(onto_itself.expect_err("itself"), OrderError::Refused(Refusal::AlreadyThere));
    assert!(jobs.all().is_empty());
}

#[test]
fn job_for_nobody_is_done_at_once() {
    let ledger = playing(0, vec![spec("a", 1)]);
    let report = Jobs::default().begin(order(From::Backend(id("a"), 1.0), To::Wanted), &ledger, 0);
    let report = report.expect("an order");
    assert_eq!((report.state, report.total), (State::Done, 0));
}

#[test]
fn abort_leaves_those_who_have_not_moved() {
    let ledger = playing(3, vec![spec("a", 3), spec("b", 9)]);
    let jobs = Jobs::default();
    let begun = jobs.begin(order(From::Backend(id("a"), 1.0), To::Wanted), &ledger, 0).expect("an order");
    assert_eq!((begun.state, begun.remaining), (State::Running, 3));
    let aborted = jobs.abort(begun.id).expect("a job");
    assert_eq!((aborted.state, aborted.remaining, aborted.moved), (State::Aborted, 0, 0));
    assert_eq!(jobs.one(begun.id).map(|job| job.state), Some(State::Aborted));
    assert!(jobs.abort(99).is_none());
}

#[test]
fn jobs_are_bounded_and_the_oldest_that_has_ended_is_forgotten() {
    let ledger = playing(1, vec![spec("a", 1), spec("b", 9)]);
    let jobs = Jobs::default();
    let begin = || jobs.begin(order(From::Backend(id("a"), 1.0), To::Wanted), &ledger, 0);
    for _ in 0..MOST_RUNNING {
        begin().expect("room");
    }
    assert_eq!(begin().expect_err("too many"), OrderError::TooMany);
    for job in jobs.all() {
        jobs.abort(job.id);
    }
    for _ in 0..MOST_ENDED {
        let job = begin().expect("room");
        jobs.abort(job.id);
    }
    assert!(jobs.all().len() <= MOST_ENDED + 1);
    assert!(jobs.one(1).is_none(), "the oldest");
}
