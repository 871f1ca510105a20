use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use udp_director_wire as wire;

use super::{Selection, Serves};
use crate::inventory::{BackendId, BackendSpec, Capacity, Inventory, Ports, Withheld};
use crate::seat::Seat;
use crate::select::{Balancer, Draw, Filter, Finding, Query, Strategy as Pick};
use crate::settings::{Listener, ListenerId, Protocol};

fn spec(name: &str) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(name),
        resource_type: "gs".into(),
        namespace: "games".into(),
        name: name.into(),
        address: Ipv4Addr::new(10, 0, 0, 1).into(),
        ports: Ports::Named(BTreeMap::from([("game".to_owned(), 7777)])),
        labels: BTreeMap::from([("map".to_owned(), "canyon".to_owned())]),
        annotations: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
        view: json!({"status": {"state": "Ready"}}).into(),
        ends_at: None,
        withheld: None,
        capacity: Capacity::Unbounded,
    }
}

fn listeners() -> [Listener; 1] {
    [Listener {
        id: ListenerId(0),
        name: "game".into(),
        protocol: Protocol::Udp,
        port: 7777,
        first_of_protocol: true,
        proxy_protocol: false,
    }]
}

fn query() -> Query {
    let query = json!({
        "resourceType": "gs", "namespace": "games", "labelSelector": "map in (canyon,dust)",
        "annotationSelector": {"region": "eu"},
        "statusQuery": {"jsonPath": "status.state", "expectedValue": "Ready"},
    });
    Query::compile(&serde_json::from_value::<wire::Query>(query).expect("a query")).expect("a right one")
}

#[test]
fn each_filter_says_what_it_refuses_and_why() {
    let changed = |name: &str, change: fn(&mut BackendSpec)| {
        let mut spec = spec(name);
        change(&mut spec);
        spec
    };
    let specs = vec![
        changed("a", |spec| spec.withheld = Some(Withheld::Draining)),
        changed("b", |spec| spec.labels.clear()),
        changed("c", |spec| spec.annotations.clear()),
        changed("d", |spec| spec.view = json!({"status": {"state": "Shutdown"}}).into()),
        changed("e", |_| {}),
        changed("f", |spec| spec.ports = Ports::Named(BTreeMap::from([("voice".to_owned(), 7)]))),
        changed("g", |spec| spec.capacity = Capacity::Unknown("the label max is missing".into())),
        changed("h", |spec| spec.capacity = Capacity::of(4, 4, 0)),
        changed("i", |spec| spec.capacity = Capacity::of(4, 1, 0)),
        changed("j", |spec| spec.namespace = "elsewhere".into()),
    ];
    let inventory = Inventory::default().next(specs, Vec::new());
    let (query, balancer, listeners) = (query(), Balancer::new(Pick::First), listeners());
    let avoid = [BackendId::new("e")];
    let serves = Serves::Any(&listeners);
    let selection = Selection {
        inventory: &inventory,
        query: &query,
        balancer: &balancer,
        serves,
        avoid: &avoid,
        draw: Draw::of(0),
    };
    let explained = selection.explain();
    let told: Vec<_> = explained
        .candidates
        .iter()
        .map(|candidate| match &candidate.finding {
            Finding::Refused(filter) => {
                format!("{} {}: {filter}", candidate.backend.spec.name, filter.name())
            }
            Finding::Scored(score) => {
                format!(
                    "{} {} of {:?}, {}",
                    candidate.backend.spec.name, score.taken, score.seats, score.current
                )
            }
        })
        .collect();
    assert_eq!(
        told,
        [
            "a withheld: it drains (udp-director.io/draining)",
            "b label: its labels are not map in (canyon,dust)",
            "c annotation: its annotation region is missing or another",
            "d status: its status is not what statusQuery asks for",
            "e avoided: the query avoids it",
            "f no_port: it has no port for a data port",
            "g capacity: the label max is missing",
            "h full: its 0 seats are taken",
            "i 0 of Some(3), 1",
        ]
    );
    assert_eq!(explained.winner, Some(8));
    assert_eq!(
        inventory.backends().iter().map(|backend| backend.load.seats()).sum::<u32>(),
        0,
        "nothing is taken"
    );
}

#[test]
fn full_backend_is_told_with_its_seats() {
    let inventory = Inventory::default()
        .next(vec![BackendSpec { capacity: Capacity::of(2, 0, 0), ..spec("a") }], Vec::new());
    let (query, balancer) = (query(), Balancer::default());
    let selection = Selection {
        inventory: &inventory,
        query: &query,
        balancer: &balancer,
        serves: Serves::All(&[]),
        avoid: &[],
        draw: Draw::of(0),
    };
    let _seats = [selection.choose().expect("room"), selection.choose().expect("room")];
    assert!(selection.choose().is_none());
    let explained = selection.explain();
    assert_eq!(explained.candidates[0].finding, Finding::Refused(Filter::Full(2)));
    assert_eq!(explained.winner, None);
}

#[derive(Clone, Debug)]
struct Server {
    withheld: bool,
    map: bool,
    serves: bool,
    avoided: bool,
    seats: Option<u32>,
    taken: u32,
}

prop_compose! {
    fn any_server()(
        withheld in prop::bool::weighted(0.2),
        map in prop::bool::weighted(0.8),
        serves in prop::bool::weighted(0.8),
        avoided in prop::bool::weighted(0.1),
        seats in prop::option::of(0_u32..5),
        taken in 0_u32..5,
    ) -> Server {
        Server { withheld, map, serves, avoided, seats, taken }
    }
}

impl Server {
    fn spec(&self, number: usize) -> BackendSpec {
        let mut spec = spec(&format!("b{number:03}"));
        spec.withheld = self.withheld.then_some(Withheld::Cordoned);
        if !self.map {
            spec.labels.clear();
        }
        if !self.serves {
            spec.ports = Ports::Named(BTreeMap::new());
        }
        spec.capacity = self.seats.map_or(Capacity::Unbounded, |seats| Capacity::of(seats, 0, 0));
        spec
    }
}

fn any_pick() -> impl Strategy<Value = Pick> {
    prop::sample::select(&Pick::ALL[..])
}

proptest! {
    #[test]
    fn winner_is_what_a_query_gets(
        servers in prop::collection::vec(any_server(), 0..12),
        pick in any_pick(),
        key in prop::option::of("[a-c]"),
        remembered in prop::option::of(0_usize..12),
        random in any::<u64>(),
        turns in 0_u64..5,
    ) {
        let specs = servers.iter().enumerate().map(|(number, server)| server.spec(number)).collect();
        let inventory = Inventory::default().next(specs, Vec::new());
        let mut held = Vec::new();
        for (backend, server) in inventory.backends().iter().zip(&servers) {
            held.extend((0..server.taken).filter_map(|_| Seat::take(backend)));
        }
        let (query, balancer, listeners) = (query(), Balancer::new(pick), listeners());
        let id = |number: usize| BackendId::new(&format!("b{number:03}"));
        let avoid: Vec<_> = (0..servers.len()).filter(|n| servers[*n].avoided).map(id).collect();
        let remembered = remembered.map(id);
        let draw = Draw { sticky_key: key.as_deref(), remembered: remembered.as_ref(), random };
        let serves = Serves::Any(&listeners);
        let selection = Selection { inventory: &inventory, query: &query, balancer: &balancer, serves, avoid: &avoid, draw };
        (0..turns).for_each(|_| drop(selection.choose()));
        let explained = selection.explain();
        let seat = selection.choose();
        let winner = explained.winner.map(|winner| Arc::clone(&explained.candidates[winner].backend));
        prop_assert_eq!(
            winner.map(|backend| backend.spec.name.clone()),
            seat.as_ref().map(|seat| seat.backend().spec.name.clone())
        );
        let scored = |finding: &Finding| matches!(finding, Finding::Scored(_));
        let eligible = explained.candidates.iter().filter(|candidate| scored(&candidate.finding)).count();
        prop_assert_eq!(seat.is_some(), eligible > 0, "somebody is picked if somebody can be");
        let winner = explained.winner.map(|winner| &explained.candidates[winner].finding);
        prop_assert!(winner.is_none_or(scored));
    }
}
