//! What a selection costs with 10, 1,000 and 10,000 backends: `cargo bench -p udp-director-core`.
//!
//! Medians of 15 runs, in nanoseconds a selection, on one thread. Beside them, in the same runs, a scan
//! that looks at every backend: what it costs to have no index.

mod timing;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::Ipv4Addr;

use serde_json::json;
use udp_director_core::{
    BackendId, BackendSpec, Balancer, Capacity, Draw, Inventory, Ports, Query, Seat, Selection, Serves,
    Strategy,
};
use udp_director_wire as wire;

const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// How many backends have the same value of the selective label.
const NEIGHBOURS: usize = 20;

const STRATEGIES: [(&str, Strategy); 8] = [
    ("first", Strategy::First),
    ("random", Strategy::Random),
    ("roundRobin", Strategy::RoundRobin),
    ("leastSessions", Strategy::LeastSessions),
    ("leastLoaded", Strategy::LeastLoaded),
    ("labelArithmetic", Strategy::LabelArithmetic),
    ("packed", Strategy::Packed),
    ("stickyKey", Strategy::StickyKey),
];

fn main() {
    let inventories = SIZES.map(inventory);
    println!(
        "ns a selection with {SIZES:?} backends of one type, {NEIGHBOURS} or fewer with the same shard\n"
    );
    row("", &SIZES.map(|size| size.to_string()));
    for (name, strategy) in STRATEGIES {
        let key = (strategy == Strategy::StickyKey).then_some("player-4711");
        row(&format!("{name}, any"), &costs(&inventories, &json!({}), strategy, key));
    }
    for (name, selector) in [
        ("one label", json!({"shard": "3"})),
        ("two labels", json!({"shard": "3", "map": "canyon"})),
        ("a label and a set", json!("shard=3,mode in (duel,team)")),
        ("a set alone", json!("mode in (duel,team)")),
    ] {
        let figures = costs(&inventories, &json!({"labelSelector": selector}), Strategy::LeastSessions, None);
        row(&format!("leastSessions, {name}"), &figures);
    }
    row("scan of all, one label", &inventories.each_ref().map(scan));
}

fn row(name: &str, figures: &[String; 3]) {
    println!("{name:<36}{:>12}{:>12}{:>12}", figures[0], figures[1], figures[2]);
}

fn inventory(size: usize) -> Inventory {
    let inventory = Inventory::default().next((0..size).map(spec).collect(), Vec::new());
    // Every backend has some players, not all as many.
    for (number, backend) in inventory.backends().iter().enumerate() {
        (0..1 + number * 7 % 5).for_each(|_| std::mem::forget(Seat::take(backend)));
    }
    inventory
}

fn spec(number: usize) -> BackendSpec {
    let label = |key: &str, value: String| (key.to_owned(), value);
    BackendSpec {
        id: BackendId::new(&format!("gameserver/6e1c7a8e-0000-4000-8000-{number:012}")),
        resource_type: "gameserver".into(),
        namespace: "games".to_owned(),
        name: format!("match-{number:05}"),
        address: Ipv4Addr::from_bits(0x0a00_0000 + number as u32).into(),
        ports: Ports::One(7777),
        labels: BTreeMap::from([
            label("agones.dev/fleet", "arena".to_owned()),
            label("map", ["canyon", "dust"][number % 2].to_owned()),
            label("mode", ["duel", "team", "free"][number % 3].to_owned()),
            label("shard", (number / NEIGHBOURS).to_string()),
        ]),
        annotations: BTreeMap::new(),
        view: json!({"status": {"state": "Ready"}}).into(),
        ends_at: None,
        withheld: None,
        capacity: Capacity::of(16, number as u32 % 3, 0),
    }
}

fn costs(
    inventories: &[Inventory; 3],
    more: &serde_json::Value,
    strategy: Strategy,
    sticky_key: Option<&str>,
) -> [String; 3] {
    let query = query(more);
    let balancer = Balancer::new(strategy);
    inventories.each_ref().map(|inventory| {
        let mut random = 1_u64;
        median(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let draw = Draw { sticky_key, remembered: None, random };
            let serves = Serves::All(&[]);
            let selection =
                Selection { inventory, query: &query, balancer: &balancer, serves, avoid: &[], draw };
            drop(black_box(selection.choose()));
        })
    })
}

fn scan(inventory: &Inventory) -> String {
    let query = query(&json!({"labelSelector": {"shard": "3"}}));
    median(|| {
        let matching = inventory.backends().iter().filter(|backend| query.matches(&backend.spec));
        drop(black_box(matching.min_by_key(|backend| backend.load.seats()).and_then(Seat::take)));
    })
}

fn query(more: &serde_json::Value) -> Query {
    let mut written = json!({"resourceType": "gameserver", "namespace": "games"});
    if let (Some(written), Some(more)) = (written.as_object_mut(), more.as_object()) {
        written.extend(more.clone());
    }
    let query: wire::Query = serde_json::from_value(written).expect("a query");
    Query::compile(&query).expect("a query that compiles")
}

fn median(work: impl FnMut()) -> String {
    format!("{:.0}", timing::median(work))
}
