//! What a mapping allocates.

use std::time::Duration;

use serde_json::json;
use udp_director_core::Unclaimed;

use super::*;

/// A mapping of GameServers with these further keys, on line 5.
fn servers(keys: &str) -> String {
    format!(
        "dataPort: 7777\nresourceQueryMapping:\n  gs:\n    {{group: agones.dev, version: v1, \
         resource: gameservers, portName: default,\n     {keys}}}\n"
    )
}

#[test]
fn least_that_is_allocated_is_any_ready_server_and_only_allocated_ones_take_players() {
    let config = config(&servers("namespaces: [games], allocate: {}"));
    let allocate = &config.allocations["gs"];
    assert_eq!((allocate.deadline, allocate.unclaimed), (Duration::from_secs(5), Unclaimed::Keep));
    let spec = json!({"selectors": [{"gameServerState": "Ready"}], "scheduling": "Packed", "metadata": {}});
    assert_eq!(json!(allocate.spec), spec);
    let [condition] = &config.mappings[0].ready_when[..] else { panic!("one condition") };
    assert_eq!((&*condition.json_path, &condition.expected[..]), ("status.state", &[json!("Allocated")][..]));
    assert_eq!((config.limits.waiting_queries, config.limits.waiting_queries_per_source), (1024, 256));
}

#[test]
fn mapping_that_allocates_nothing_takes_players_as_before() {
    let config = config(&servers("namespaces: [games]"));
    assert!(config.allocations.is_empty() && config.mappings[0].ready_when.is_empty());
}

#[test]
fn everything_that_is_asked_is_asked_of_agones() {
    let config = config(&servers(
        "namespaces: [games], allocate: {scheduling: distributed, deadlineMs: 250, unclaimed: delete,
      selectors: [{labelSelector: {map: canyon}, counters: {rooms: {minAvailable: 1}}},
                  {labelSelector: 'map in (a,b)', players: {maxAvailable: 9}, lists: {names: {containsValue: x}}}],
      priorities: [{type: list, key: names, order: descending}],
      counters: {rooms: {action: increment, amount: 2}}, lists: {names: {addValues: [y], capacity: 3}},
      metadata: {labels: {match: live}, annotations: {example.com/by: director}}}",
    ));
    let allocate = &config.allocations["gs"];
    assert_eq!((allocate.deadline, allocate.unclaimed), (Duration::from_millis(250), Unclaimed::Delete));
    let rooms = json!({"minCount": 0, "maxCount": 0, "minAvailable": 1, "maxAvailable": 0});
    let expected = json!({
        "selectors": [
            {"gameServerState": "Ready", "matchLabels": {"map": "canyon"}, "counters": {"rooms": rooms}},
            {"gameServerState": "Ready",
             "matchExpressions": [{"key": "map", "operator": "In", "values": ["a", "b"]}],
             "players": {"minAvailable": 0, "maxAvailable": 9},
             "lists": {"names": {"containsValue": "x", "minAvailable": 0, "maxAvailable": 0}}},
        ],
        "priorities": [{"priorityType": "List", "key": "names", "order": "Descending"}],
        "scheduling": "Distributed",
        "metadata": {"labels": {"match": "live"}, "annotations": {"example.com/by": "director"}},
        "counters": {"rooms": {"action": "Increment", "amount": 2}},
        "lists": {"names": {"addValues": ["y"], "capacity": 3}},
    });
    assert_eq!(json!(allocate.spec), expected);
}

#[test]
fn what_cannot_be_allocated_is_refused_with_its_place_and_reason() {
    let of = |keys: &str| servers(&format!("namespaces: [games], allocate: {keys}"));
    for (text, said) in [
        (servers("allocate: {}"), "config.yaml:5:16: resourceQueryMapping.gs.allocate: needs \"namespaces\""),
        (of("{}").replace("agones.dev", "example.com"), "allocate: only \"gameservers\" of the group"),
        (of("{}") + "inventory: {file: o.yaml}\n", "allocate: servers are allocated in a cluster"),
        (of("{selectors: [{matchLabels: {a: b}}]}"), "write them as \"labelSelector\""),
        (of("{selectors: [{labelSelector: 'a<3'}]}"), "selectors[0].labelSelector: servers are allocated by"),
        (
            of("{selectors: [{labelSelector: {a: 'b c'}}]}"),
            "selectors[0].labelSelector: \"b c\" is no label value",
        ),
        (of("{selectors: [{gameServerState: Ready}]}"), "did you mean \"ready\"?"),
        (of("{selectors: [{players: {minAvailable: 5, maxAvailable: 4}}]}"), "players: its least is more"),
        (of("{selectors: [{counters: {c: {minCount: 5, maxCount: 4}}}]}"), "counters.c: its least is more"),
        (of("{selectors: [{lists: {l: {minAvailable: 5, maxAvailable: 4}}}]}"), "lists.l: its least is more"),
        (of("{priorities: [{priorityType: Counter, key: a}]}"), "here it is \"type\""),
        (of("{counters: {c: {action: increment}}}"), "counters.c: needs both \"action\" and \"amount\""),
        (of("{metadata: {labels: {a: 'b c'}}}"), "metadata.labels: \"b c\" is no label value"),
        (of("{metadata: {labels: {'a b': c}}}"), "is not the key of a label"),
        (of("{unclaimed: ready, selectors: [{gameServerState: allocated}]}"), "unclaimed: must be \"keep\""),
        (
            of("{unclaimed: delete}") + "tokens: {kind: sealed, keys: {dir: keys}}\n",
            "resourceQueryMapping.gs.allocate.unclaimed: must be \"keep\" with sealed tokens",
        ),
        (of("{deadlineMs: 99}"), "a whole number from 100 to 60000"),
        (of("{selectors: []}"), "1 to 16 entries"),
    ] {
        let errors = errors(&text);
        assert!(errors.contains(said), "{text}\n{errors}");
    }
}
