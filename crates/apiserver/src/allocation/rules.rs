//! What Agones does with an allocation: which server is chosen, and what is done to it. On the objects as
//! they are written; what is missing reads as empty, or 0.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use serde_json::{Value, json};

/// Why Agones would not take it, if it would not.
pub(super) fn invalid(spec: &Value) -> Option<String> {
    if !["Packed", "Distributed"].contains(&text(&spec["scheduling"])) {
        return Some("spec.scheduling: value must be either Packed or Distributed".to_owned());
    }
    let wrong_state =
        |selector: &&Value| !["", "Ready", "Allocated"].contains(&text(&selector["gameServerState"]));
    let wrong_priority = |priority: &&Value| !["Counter", "List"].contains(&text(&priority["priorityType"]));
    if list(&spec["selectors"]).iter().find(wrong_state).is_some() {
        return Some("spec.selectors: GameServerState value can only be Allocated or Ready".to_owned());
    }
    let priority = list(&spec["priorities"]).iter().find(wrong_priority);
    priority.map(|_| "spec.priorities: must be either Counter or List".to_owned())
}

/// The server that is allocated.
pub(super) fn choose<'a>(spec: &Value, servers: &'a [Value]) -> Option<&'a Value> {
    let is_allocatable = |server: &&Value| {
        server["metadata"]["deletionTimestamp"].is_null()
            && ["Ready", "Allocated"].contains(&text(&server["status"]["state"]))
    };
    let mut sorted: Vec<&Value> = servers.iter().filter(is_allocatable).collect();
    let counts = counts_by_node(&sorted);
    let packed = text(&spec["scheduling"]) == "Packed";
    sorted.sort_by(|a, b| {
        let by_node = |server: &Value| {
            let (allocated, ready) = counts[text(&server["status"]["nodeName"])];
            (text(&server["status"]["state"]) != "Allocated", Reverse(allocated), Reverse(ready))
        };
        let nodes = if packed { by_node(a).cmp(&by_node(b)) } else { Ordering::Equal };
        nodes.then_with(|| by_priorities(spec, a, b)).then_with(|| name(a).cmp(name(b)))
    });
    list(&spec["selectors"])
        .iter()
        .find_map(|selector| sorted.iter().find(|server| matches(selector, server)).copied())
}

/// The server as it is then.
pub(super) fn allocate(spec: &Value, server: &Value) -> Value {
    let mut server = server.clone();
    server["status"]["state"] = json!("Allocated");
    for kind in ["labels", "annotations"] {
        for (key, value) in entries(&spec["metadata"][kind]) {
            server["metadata"][kind][key] = value.clone();
        }
    }
    server["metadata"]["annotations"]["agones.dev/last-allocated"] = json!("2026-01-01T00:00:00Z");
    for (key, action) in entries(&spec["counters"]) {
        if let Some(counter) = server["status"]["counters"].get_mut(key) {
            count(counter, action);
        }
    }
    for (key, action) in entries(&spec["lists"]) {
        if let Some(list) = server["status"]["lists"].get_mut(key) {
            extend(list, action);
        }
    }
    server
}

fn counts_by_node<'a>(servers: &[&'a Value]) -> HashMap<&'a str, (usize, usize)> {
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    for server in servers {
        let count = counts.entry(text(&server["status"]["nodeName"])).or_default();
        match text(&server["status"]["state"]) {
            "Allocated" => count.0 += 1,
            _ => count.1 += 1,
        }
    }
    counts
}

/// Who lacks what is counted comes last.
fn by_priorities(spec: &Value, a: &Value, b: &Value) -> Ordering {
    let order = |priority: &Value| {
        let key = text(&priority["key"]);
        let of = |server: &Value| match text(&priority["priorityType"]) {
            "Counter" => server["status"]["counters"].get(key).map(|counter| number(&counter["count"])),
            _ => server["status"]["lists"].get(key).map(|names| list(&names["values"]).len() as i64),
        };
        match (of(a), of(b)) {
            (Some(a), Some(b)) if text(&priority["order"]) == "Ascending" => a.cmp(&b),
            (Some(a), Some(b)) => b.cmp(&a),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    };
    list(&spec["priorities"]).iter().map(order).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn matches(selector: &Value, server: &Value) -> bool {
    let labels = &server["metadata"]["labels"];
    let state = match text(&selector["gameServerState"]) {
        "" => "Ready",
        state => state,
    };
    entries(&selector["matchLabels"]).all(|(key, value)| labels.get(key) == Some(value))
        && list(&selector["matchExpressions"]).iter().all(|expression| holds(expression, labels))
        && text(&server["status"]["state"]) == state
        && has_room_for_players(&selector["players"], &server["status"]["players"])
        && entries(&selector["counters"]).all(|(key, range)| {
            server["status"]["counters"].get(key).is_some_and(|counter| counts(range, counter))
        })
        && entries(&selector["lists"])
            .all(|(key, filter)| server["status"]["lists"].get(key).is_some_and(|names| lists(filter, names)))
}

fn holds(expression: &Value, labels: &Value) -> bool {
    let label = labels.get(text(&expression["key"]));
    let named = label.is_some_and(|value| list(&expression["values"]).contains(value));
    match text(&expression["operator"]) {
        "In" => named,
        "NotIn" => !named,
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        _ => false,
    }
}

fn has_room_for_players(range: &Value, players: &Value) -> bool {
    let most = number(&range["maxAvailable"]);
    let available = number(&players["capacity"]) - number(&players["count"]);
    players.is_null() || most == 0 || (number(&range["minAvailable"])..=most).contains(&available)
}

fn counts(range: &Value, counter: &Value) -> bool {
    let count = number(&counter["count"]);
    within(count, &range["minCount"], &range["maxCount"])
        && within(number(&counter["capacity"]) - count, &range["minAvailable"], &range["maxAvailable"])
}

fn lists(filter: &Value, names: &Value) -> bool {
    let values = list(&names["values"]);
    let available = number(&names["capacity"]) - values.len() as i64;
    let wanted = text(&filter["containsValue"]);
    within(available, &filter["minAvailable"], &filter["maxAvailable"])
        && (wanted.is_empty() || values.iter().any(|value| text(value) == wanted))
}

/// A most of 0 is none.
fn within(value: i64, least: &Value, most: &Value) -> bool {
    value >= number(least) && (number(most) == 0 || value <= number(most))
}

/// Within its capacity, and not below 0.
fn count(counter: &mut Value, action: &Value) {
    if let Some(capacity) = action["capacity"].as_i64() {
        counter["capacity"] = json!(capacity);
    }
    let amount = match text(&action["action"]) {
        "Increment" => number(&action["amount"]),
        "Decrement" => -number(&action["amount"]),
        _ => 0,
    };
    let most = number(&counter["capacity"]);
    counter["count"] = json!((number(&counter["count"]) + amount).clamp(0, most.max(0)));
}

/// What is there already is not there twice, and what is too much is left out.
fn extend(names: &mut Value, action: &Value) {
    if let Some(capacity) = action["capacity"].as_i64() {
        names["capacity"] = json!(capacity);
    }
    let mut values = list(&names["values"]).to_vec();
    for value in list(&action["addValues"]) {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    values.truncate(usize::try_from(number(&names["capacity"])).unwrap_or(0));
    names["values"] = json!(values);
}

fn name(server: &Value) -> &str {
    text(&server["metadata"]["name"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, state: &str, node: &str) -> Value {
        json!({"metadata": {"name": name, "labels": {"map": "canyon"}}, "status": {"state": state, "nodeName": node}})
    }

    fn with(mut server: Value, count: i64, values: &[&str]) -> Value {
        server["status"]["counters"] = json!({"rooms": {"count": count, "capacity": 10}});
        server["status"]["lists"] = json!({"names": {"values": values, "capacity": 3}});
        server
    }

    fn chosen(spec: &Value, servers: &[Value]) -> Option<String> {
        choose(spec, servers).map(|server| name(server).to_owned())
    }

    fn packed(selectors: &Value) -> Value {
        json!({"scheduling": "Packed", "selectors": selectors})
    }

    #[test]
    fn ready_server_on_the_fullest_node_is_chosen_when_packed() {
        let servers = [
            server("a", "Ready", "empty"),
            server("b", "Ready", "full"),
            server("c", "Allocated", "full"),
            server("d", "Shutdown", "full"),
        ];
        assert_eq!(chosen(&packed(&json!([{}])), &servers).as_deref(), Some("b"));
        let allocated = packed(&json!([{"gameServerState": "Allocated"}]));
        assert_eq!(chosen(&allocated, &servers).as_deref(), Some("c"));
        let distributed = json!({"scheduling": "Distributed", "selectors": [{}]});
        assert_eq!(chosen(&distributed, &servers).as_deref(), Some("a"));
        assert_eq!(chosen(&packed(&json!([{}])), &servers[2..]), None);
    }

    #[test]
    fn selectors_are_tried_in_order() {
        let servers = [server("a", "Ready", ""), server("b", "Allocated", "")];
        let selectors = json!([{"matchLabels": {"map": "sea"}}, {"gameServerState": "Allocated"}, {}]);
        assert_eq!(chosen(&packed(&selectors), &servers).as_deref(), Some("b"));
    }

    #[test]
    fn expressions_counters_and_lists_narrow_what_matches() {
        let servers = [with(server("a", "Ready", ""), 4, &["x"])];
        for (selector, found) in [
            (json!({"matchExpressions": [{"key": "map", "operator": "In", "values": ["canyon"]}]}), true),
            (json!({"matchExpressions": [{"key": "map", "operator": "NotIn", "values": ["canyon"]}]}), false),
            (json!({"matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]}), true),
            (json!({"matchExpressions": [{"key": "old", "operator": "Exists"}]}), false),
            (json!({"counters": {"rooms": {"minAvailable": 6, "maxCount": 4}}}), true),
            (json!({"counters": {"rooms": {"minAvailable": 7}}}), false),
            (json!({"counters": {"rooms": {"maxCount": 3}}}), false),
            (json!({"counters": {"other": {}}}), false),
            (json!({"lists": {"names": {"containsValue": "x", "minAvailable": 2}}}), true),
            (json!({"lists": {"names": {"containsValue": "y"}}}), false),
            (json!({"lists": {"names": {"minAvailable": 3}}}), false),
        ] {
            assert_eq!(chosen(&packed(&json!([selector])), &servers).is_some(), found, "{selector}");
        }
    }

    #[test]
    fn priorities_decide_between_alike() {
        let servers = [
            with(server("a", "Ready", ""), 1, &[]),
            with(server("b", "Ready", ""), 5, &["x"]),
            server("c", "Ready", ""),
        ];
        for (order, first) in [("Ascending", "a"), ("Descending", "b"), ("", "b")] {
            let mut spec = packed(&json!([{}]));
            spec["priorities"] = json!([{"priorityType": "Counter", "key": "rooms", "order": order}]);
            assert_eq!(chosen(&spec, &servers).as_deref(), Some(first), "{order}");
        }
    }

    #[test]
    fn allocated_server_bears_what_was_asked() {
        let spec = json!({
            "metadata": {"labels": {"match": "live"}, "annotations": {"by": "director"}},
            "counters": {"rooms": {"action": "Increment", "amount": 20}, "other": {"action": "Increment", "amount": 1}},
            "lists": {"names": {"addValues": ["x", "y", "z", "w"]}},
        });
        let allocated = allocate(&spec, &with(server("a", "Ready", ""), 4, &["x"]));
        assert_eq!(allocated["status"]["state"], "Allocated");
        assert_eq!(allocated["metadata"]["labels"], json!({"map": "canyon", "match": "live"}));
        assert_eq!(allocated["metadata"]["annotations"]["by"], "director");
        assert_eq!(allocated["status"]["counters"], json!({"rooms": {"count": 10, "capacity": 10}}));
        assert_eq!(allocated["status"]["lists"]["names"]["values"], json!(["x", "y", "z"]));
    }

    #[test]
    fn what_agones_does_not_take_is_refused() {
        assert_eq!(invalid(&packed(&json!([{}]))), None);
        for spec in [
            json!({"selectors": [{}]}),
            packed(&json!([{"gameServerState": "Shutdown"}])),
            json!({"scheduling": "Packed", "priorities": [{"priorityType": "Player"}]}),
        ] {
            assert!(invalid(&spec).is_some(), "{spec}");
        }
    }
}
