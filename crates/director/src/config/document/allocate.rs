//! The keys of `resourceQueryMapping.NAME.allocate`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Form, LabelSelector};

/// How queries allocate servers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(in crate::config) struct Allocate {
    /// Whether servers on nodes that are almost full come first, or all nodes are used alike.
    pub scheduling: Scheduling,
    /// What a server must be, beside the labels that the query asks for: the first of these that a server
    /// matches. Left out, any ready server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub selectors: Vec<ServerSelector>,
    /// Which of the servers that match comes first, by counters and lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub priorities: Vec<Priority>,
    /// What becomes of the server's counters, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub counters: BTreeMap<String, CounterAction>,
    /// What becomes of the server's lists, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub lists: BTreeMap<String, ListAction>,
    /// What the server's metadata gets. It gets the annotation `udp-director.io/allocation` in any case.
    pub metadata: Metadata,
    /// For how many milliseconds a server is asked for, until it has shown in the inventory. The query
    /// fails then.
    #[schemars(range(min = 100, max = 60_000))]
    pub deadline_ms: u32,
    /// What becomes of a server that was allocated and no player took: his token expired, or his query had
    /// failed. `keep`: it stays allocated, and is logged. `delete`: its object is deleted, and its fleet
    /// makes another. `ready`: its state is `Ready` again.
    pub unclaimed: Unclaimed,
}

/// An order of nodes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Scheduling {
    #[default]
    Packed,
    Distributed,
}

/// What becomes of a server that no player took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Unclaimed {
    #[default]
    Keep,
    Delete,
    Ready,
}

/// What a server must be.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(extend("x-hints" = selector_hints()))]
pub(in crate::config) struct ServerSelector {
    /// The labels that it must have: pairs, or a selector as `kubectl -l` takes it, without `<` and `>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// The state that it is in. `allocated` allocates one more time what was allocated before, for games
    /// that count their players in counters or lists.
    pub game_server_state: GameServerState,
    /// How many more players it takes, where Agones counts players.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub players: Option<PlayerRange>,
    /// What its counters say, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub counters: BTreeMap<String, CounterRange>,
    /// What its lists say, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub lists: BTreeMap<String, ListFilter>,
}

/// A state of a GameServer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum GameServerState {
    #[default]
    Ready,
    Allocated,
}

/// Room for players.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct PlayerRange {
    /// The least.
    #[serde(default)]
    #[schemars(range(max = 1_000_000_000))]
    pub min_available: u64,
    /// The most.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_available: u64,
}

/// What a counter says.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(in crate::config) struct CounterRange {
    /// Its count, at least.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub min_count: u64,
    /// Its count, at most. 0 does not bound it.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max_count: u64,
    /// Its capacity less its count, at least.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub min_available: u64,
    /// Its capacity less its count, at most. 0 does not bound it.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub max_available: u64,
}

/// What a list says.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(in crate::config) struct ListFilter {
    /// A value that is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub contains_value: Option<String>,
    /// How many more values it takes, at least.
    #[schemars(range(max = 1_000))]
    pub min_available: u64,
    /// How many more values it takes, at most. 0 does not bound it.
    #[schemars(range(max = 1_000))]
    pub max_available: u64,
}

/// What comes first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-hints" = {"priorityType": "here it is \"type\": counter or list"}))]
pub(in crate::config) struct Priority {
    /// Whether a counter's count or a list's length is looked at.
    #[serde(rename = "type")]
    pub kind: PriorityType,
    /// The name of the counter or list.
    #[schemars(length(min = 1))]
    pub key: String,
    /// Whether the least or the most comes first.
    #[serde(default)]
    pub order: Order,
}

/// A counter or a list.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum PriorityType {
    Counter,
    List,
}

/// An order.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Order {
    Ascending,
    #[default]
    Descending,
}

/// What becomes of a counter.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(in crate::config) struct CounterAction {
    /// Whether it is counted up or down. Needs `amount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<CounterChange>,
    /// By how much. Needs `action`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub amount: Option<u64>,
    /// Its capacity from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub capacity: Option<u64>,
}

/// Up or down.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum CounterChange {
    Increment,
    Decrement,
}

/// What becomes of a list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(in crate::config) struct ListAction {
    /// Values that it gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub add_values: Vec<String>,
    /// Its capacity from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000))]
    pub capacity: Option<u64>,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(in crate::config) struct Metadata {
    /// Labels. Queries should not ask for those: a server that is about to be allocated has none of them
    /// yet.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": Form::LabelKey}, "maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": Form::LabelKey}, "maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
}

impl Default for Allocate {
    fn default() -> Allocate {
        Allocate {
            scheduling: Scheduling::default(),
            selectors: Vec::new(),
            priorities: Vec::new(),
            counters: BTreeMap::new(),
            lists: BTreeMap::new(),
            metadata: Metadata::default(),
            deadline_ms: 5000,
            unclaimed: Unclaimed::default(),
        }
    }
}

/// Keys of a GameServerAllocation that have another name here.
fn selector_hints() -> Value {
    json!({
        "matchLabels": "write them as \"labelSelector\"",
        "matchExpressions": "write them as the text of \"labelSelector\", such as \"tier in (a,b),!old\"",
    })
}
