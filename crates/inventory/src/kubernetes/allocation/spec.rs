//! What is asked of Agones: the `spec` of a GameServerAllocation (`allocation.agones.dev/v1`), in Agones'
//! own names.

use std::collections::BTreeMap;

use serde::Serialize;
use udp_director_core::{AllocationId, LabelTest, Selector};

/// What a server must be, and what is done to it when it is allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationSpec {
    /// Tried in order; at least one. A server that is none of them is not allocated.
    pub selectors: Vec<ServerSelector>,
    /// Which of those that match comes first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<Priority>,
    /// Whether full nodes come first.
    pub scheduling: Scheduling,
    /// What the server's metadata gets.
    pub metadata: MetaPatch,
    /// What becomes of its counters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, CounterAction>,
    /// What becomes of its lists.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: BTreeMap<String, ListAction>,
}

/// What a server must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerSelector {
    /// Labels with exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements on labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Expression>,
    /// In which state it is.
    pub game_server_state: GameServerState,
    /// How much room for players it has, where Agones counts players.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub players: Option<PlayerRange>,
    /// What its counters say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, CounterRange>,
    /// What its lists say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: BTreeMap<String, ListFilter>,
}

/// A requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expression {
    key: String,
    operator: Operator,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// In which state a server is allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum GameServerState {
    /// Nobody plays there.
    #[default]
    Ready,
    /// It was allocated before, and is once more.
    Allocated,
}

/// How much room for players; a maximum of 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlayerRange {
    /// At least.
    pub min_available: u64,
    /// At most.
    pub max_available: u64,
}

/// What a counter says; a maximum of 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CounterRange {
    /// Its count, at least.
    pub min_count: u64,
    /// Its count, at most.
    pub max_count: u64,
    /// Its capacity less its count, at least.
    pub min_available: u64,
    /// Its capacity less its count, at most.
    pub max_available: u64,
}

/// What a list says; a maximum of 0 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListFilter {
    /// A value that is in it; empty asks for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub contains_value: String,
    /// How many more values it takes, at least.
    pub min_available: u64,
    /// How many more values it takes, at most.
    pub max_available: u64,
}

/// What comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Priority {
    /// A counter or a list.
    pub priority_type: PriorityType,
    /// Its name.
    pub key: String,
    /// In which order.
    pub order: Order,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PriorityType {
    /// The count of a counter.
    Counter,
    /// The length of a list.
    List,
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Order {
    /// The least first.
    Ascending,
    /// The most first.
    Descending,
}

/// How servers are spread over nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Scheduling {
    /// On as few nodes as possible.
    #[default]
    Packed,
    /// Over all nodes.
    Distributed,
}

/// What a server's metadata gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MetaPatch {
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What becomes of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CounterAction {
    /// Whether it is counted up or down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<CounterChange>,
    /// By how much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<u64>,
    /// Its capacity from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CounterChange {
    /// Up.
    Increment,
    /// Down.
    Decrement,
}

/// What becomes of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListAction {
    /// Values that it gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_values: Vec<String>,
    /// Its capacity from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
}

/// A requirement on a label that no Kubernetes object can express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("servers are allocated by their labels without \"<\" and \">\", which stands behind {0:?}")]
pub struct Unsayable(String);

impl AllocationSpec {
    /// The same, of those alone that have these labels.
    ///
    /// # Errors
    /// Names the label of which that cannot be asked.
    pub fn with_labels(&self, labels: &Selector) -> Result<AllocationSpec, Unsayable> {
        let mut spec = self.clone();
        spec.selectors.iter_mut().try_for_each(|selector| selector.require(labels))?;
        Ok(spec)
    }

    /// The same, for a server that bears that id afterwards.
    pub(super) fn with_id(&self, id: &AllocationId) -> AllocationSpec {
        let mut spec = self.clone();
        spec.metadata.annotations.insert(AllocationId::ANNOTATION.to_owned(), id.to_string());
        spec
    }
}

impl ServerSelector {
    /// Asks for these labels too.
    ///
    /// # Errors
    /// Names the label of which that cannot be asked.
    pub fn require(&mut self, labels: &Selector) -> Result<(), Unsayable> {
        for (key, test) in labels.requirements() {
            let (operator, values) = match test {
                LabelTest::In(values) if self.takes_pair(key, values) => continue,
                LabelTest::In(values) => (Operator::In, values.clone()),
                LabelTest::NotIn(values) => (Operator::NotIn, values.clone()),
                LabelTest::Exists => (Operator::Exists, Vec::new()),
                LabelTest::Absent => (Operator::DoesNotExist, Vec::new()),
                LabelTest::Above(_) | LabelTest::Below(_) => return Err(Unsayable(key.to_owned())),
            };
            self.match_expressions.push(Expression { key: key.to_owned(), operator, values });
        }
        Ok(())
    }

    /// Whether one value is asked for, and no other was before.
    fn takes_pair(&mut self, key: &str, values: &[String]) -> bool {
        let [only] = values else { return false };
        self.match_labels.entry(key.to_owned()).or_insert_with(|| only.clone()) == only
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn selector(text: &str) -> Selector {
        Selector::parse(text).expect("a selector")
    }

    fn with_labels(labels: &[&str]) -> Value {
        let spec = AllocationSpec { selectors: vec![ServerSelector::default()], ..AllocationSpec::default() };
        let add = |spec: AllocationSpec, text: &&str| spec.with_labels(&selector(text)).expect("sayable");
        json!(labels.iter().fold(spec, add))["selectors"][0].take()
    }

    #[test]
    fn least_that_is_asked_is_any_ready_server() {
        let spec = AllocationSpec { selectors: vec![ServerSelector::default()], ..AllocationSpec::default() };
        let expected =
            json!({"selectors": [{"gameServerState": "Ready"}], "scheduling": "Packed", "metadata": {}});
        assert_eq!(json!(spec), expected);
    }

    #[test]
    fn labels_are_asked_for_as_kubernetes_writes_them() {
        let expected = json!({
            "gameServerState": "Ready",
            "matchLabels": {"map": "canyon", "tier": ""},
            "matchExpressions": [
                {"key": "mode", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "region", "operator": "Exists"},
                {"key": "env", "operator": "NotIn", "values": ["dev"]},
            ],
        });
        assert_eq!(with_labels(&["map=canyon,tier=,mode in (a,b),!old,region,env!=dev"]), expected);
    }

    #[test]
    fn what_a_query_asks_for_is_asked_beside_what_the_mapping_asks_for() {
        let expected = json!({
            "gameServerState": "Ready",
            "matchLabels": {"fleet": "arena"},
            "matchExpressions": [{"key": "fleet", "operator": "In", "values": ["lobby"]}],
        });
        assert_eq!(with_labels(&["fleet=arena", "fleet=lobby"]), expected, "and so nothing matches");
        let same = json!({"gameServerState": "Ready", "matchLabels": {"fleet": "arena"}});
        assert_eq!(with_labels(&["fleet=arena", "fleet=arena"]), same);
    }

    #[test]
    fn every_selector_gets_the_labels() {
        let selectors = vec![ServerSelector::default(), ServerSelector::default()];
        let spec = AllocationSpec { selectors, ..AllocationSpec::default() };
        let spec = spec.with_labels(&selector("map=canyon")).expect("sayable");
        assert!(spec.selectors.iter().all(|selector| selector.match_labels["map"] == "canyon"));
    }

    #[test]
    fn comparison_of_numbers_is_refused() {
        let spec = AllocationSpec { selectors: vec![ServerSelector::default()], ..AllocationSpec::default() };
        for text in ["players<5", "players>5"] {
            let error = spec.with_labels(&selector(text)).expect_err("unsayable").to_string();
            assert!(error.contains("\"players\""), "{error}");
        }
    }

    #[test]
    fn everything_is_written_in_the_names_of_agones() {
        let spec = AllocationSpec {
            selectors: vec![ServerSelector {
                game_server_state: GameServerState::Allocated,
                players: Some(PlayerRange { min_available: 1, max_available: 9 }),
                counters: [(
                    "rooms".to_owned(),
                    CounterRange { min_available: 1, ..CounterRange::default() },
                )]
                .into(),
                lists: [(
                    "names".to_owned(),
                    ListFilter { contains_value: "a".into(), ..ListFilter::default() },
                )]
                .into(),
                ..ServerSelector::default()
            }],
            priorities: vec![Priority {
                priority_type: PriorityType::Counter,
                key: "rooms".into(),
                order: Order::Descending,
            }],
            scheduling: Scheduling::Distributed,
            metadata: MetaPatch { labels: [("a".to_owned(), "b".to_owned())].into(), ..MetaPatch::default() },
            counters: [(
                "rooms".to_owned(),
                CounterAction { action: Some(CounterChange::Increment), amount: Some(1), capacity: None },
            )]
            .into(),
            lists: [("names".to_owned(), ListAction { add_values: vec!["b".into()], capacity: Some(9) })]
                .into(),
        };
        let expected = json!({
            "selectors": [{
                "gameServerState": "Allocated",
                "players": {"minAvailable": 1, "maxAvailable": 9},
                "counters": {"rooms": {"minCount": 0, "maxCount": 0, "minAvailable": 1, "maxAvailable": 0}},
                "lists": {"names": {"containsValue": "a", "minAvailable": 0, "maxAvailable": 0}},
            }],
            "priorities": [{"priorityType": "Counter", "key": "rooms", "order": "Descending"}],
            "scheduling": "Distributed",
            "metadata": {"labels": {"a": "b"}, "annotations": {"udp-director.io/allocation": "id"}},
            "counters": {"rooms": {"action": "Increment", "amount": 1}},
            "lists": {"names": {"addValues": ["b"], "capacity": 9}},
        });
        assert_eq!(json!(spec.with_id(&AllocationId("id".into()))), expected);
    }
}
