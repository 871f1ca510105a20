use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde_json::json;
use udp_director_wire as wire;
use wire::LabelSelector;

use crate::inventory::{BackendId, BackendSpec, Capacity, Inventory, Ports, Withheld};
use crate::select::Query;

fn spec(resource_type: &str, namespace: &str, name: &str) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(&format!("{resource_type}/{namespace}/{name}")),
        resource_type: resource_type.into(),
        namespace: namespace.into(),
        name: name.into(),
        address: Ipv4Addr::new(10, 0, 0, 1).into(),
        ports: Ports::One(7777),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        view: json!({}).into(),
        ends_at: None,
        withheld: None,
        capacity: Capacity::Unbounded,
    }
}

fn inventory(specs: Vec<BackendSpec>) -> Inventory {
    Inventory::default().next(specs, Vec::new())
}

fn query(document: serde_json::Value) -> Query {
    Query::compile(&serde_json::from_value(document).expect("a query")).expect("a query that compiles")
}

fn names(inventory: &Inventory, query: &Query) -> Vec<String> {
    inventory.matching(query).iter().map(|backend| backend.spec.name.clone()).collect()
}

#[test]
fn type_and_namespace_bound_what_matches() {
    let inventory =
        inventory(vec![spec("a", "y", "3"), spec("a", "x", "2"), spec("b", "x", "1"), spec("a", "x", "0")]);
    for (document, expected) in [
        (json!({"resourceType": "a"}), &["0", "2", "3"][..]),
        (json!({"resourceType": "a", "namespace": "x"}), &["0", "2"]),
        (json!({"resourceType": "b", "namespace": "y"}), &[]),
        (json!({"resourceType": "c"}), &[]),
        (json!({"resourceType": "aa"}), &[]),
    ] {
        assert_eq!(names(&inventory, &query(document.clone())), expected, "{document}");
    }
}

#[test]
fn backend_that_does_not_accept_never_matches() {
    let refusing = BackendSpec { withheld: Some(Withheld::Draining), ..spec("a", "x", "1") };
    let inventory = inventory(vec![refusing, spec("a", "x", "2")]);
    assert_eq!(names(&inventory, &query(json!({"resourceType": "a"}))), ["2"]);
}

#[test]
fn annotations_and_status_narrow_what_matches() {
    let annotated =
        BackendSpec { annotations: [("map".into(), "de dust".into())].into(), ..spec("a", "x", "1") };
    let full = BackendSpec { view: json!({"status": {"players": 16}}).into(), ..spec("a", "x", "2") };
    let inventory = inventory(vec![annotated, full]);
    let by_annotation = query(json!({"resourceType": "a", "annotationSelector": {"map": "de dust"}}));
    let status = json!({"jsonPath": "status.players", "expectedValues": [8, "16"]});
    let by_status = query(json!({"resourceType": "a", "statusQuery": status}));
    assert_eq!(names(&inventory, &by_annotation), ["1"]);
    assert_eq!(names(&inventory, &by_status), ["2"]);
}

fn any_spec() -> impl Strategy<Value = BackendSpec> {
    let labels = prop::collection::btree_map("[kl]", "[vw]?", 0..3);
    ("[ab]", "[xy]", "[0-9]", labels, any::<bool>()).prop_map(
        |(resource_type, namespace, name, labels, accepting)| BackendSpec {
            labels,
            withheld: (!accepting).then_some(Withheld::Draining),
            ..spec(&resource_type, &namespace, &name)
        },
    )
}

fn any_query() -> impl Strategy<Value = wire::Query> {
    let requirement = prop::sample::select(vec![
        "k=v",
        "k=v",
        "k=w",
        "k=",
        "l",
        "!l",
        "k!=v",
        "l in (v,w)",
        "l notin (v)",
        "l=v",
    ]);
    let selector =
        prop::collection::vec(requirement, 0..4).prop_map(|all| LabelSelector::Text(all.join(",")));
    ("[abc]", prop::option::of("[xyz]"), selector).prop_map(|(resource_type, namespace, selector)| {
        wire::Query { resource_type, namespace, label_selector: Some(selector), ..wire::Query::default() }
    })
}

proptest! {
    #[test]
    fn index_gives_what_a_walk_over_all_backends_gives(
        rounds in prop::collection::vec(prop::collection::vec(any_spec(), 0..30), 1..4),
        asked in any_query(),
    ) {
        let mut inventory = Inventory::default();
        let mut all = Vec::new();
        for specs in rounds {
            // Later ones come first: of one id the first counts, so that most stay and some change.
            all = specs.into_iter().chain(all).collect();
            let mut seen = std::collections::HashSet::new();
            all.retain(|spec: &BackendSpec| seen.insert(spec.id.clone()));
            inventory = inventory.next(all.clone(), Vec::new());
        }
        let query = Query::compile(&asked).expect("a query that compiles");
        let walked: Vec<_> = inventory
            .backends()
            .iter()
            .filter(|backend| backend.spec.accepting() && query.matches(&backend.spec))
            .map(|backend| backend.spec.id.clone())
            .collect();
        let indexed: Vec<_> =
            inventory.matching(&query).iter().map(|backend| backend.spec.id.clone()).collect();
        prop_assert_eq!(indexed, walked);
    }
}
