//! The configuration as it is written: the keys, their texts and their defaults.
//!
//! The doc comments here are the texts of the JSON Schema and of `docs/configuration.md`; what the
//! types and attributes say is what [`super::shape`] checks.

pub(super) mod allocate;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::form::Form;

/// Configuration of UDP Director: one YAML document.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(title = "UDP Director configuration")]
#[schemars(extend("required" = ["resourceQueryMapping"]))]
#[schemars(extend("oneOf" = [{"required": ["dataPort"]}, {"required": ["dataPorts"]}]))]
#[schemars(extend("x-hints" = document_hints()))]
pub(super) struct Document {
    /// The TCP port that answers queries. 0 takes any free port, which is for tests.
    pub query_port: u16,
    /// The one UDP data port, with the name `default`. Either this or `dataPorts` is needed. 0 takes
    /// any free port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_port: Option<u16>,
    /// The data ports, each with a protocol and a name. Either this or `dataPort` is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub data_ports: Option<Vec<DataPort>>,
    /// The TCP port of `/livez`, `/readyz`, `/metrics` and the admin API, by which players can be moved. It
    /// is for operators: keep it out of the public Service. 0 takes any free port.
    pub admin_port: u16,
    /// The address that every port listens on. `::` is every IPv6 and IPv4 address of the host,
    /// `0.0.0.0` every IPv4 address.
    pub bind_address: IpAddr,
    /// How many threads carry UDP datagrams. `auto` is one for each core.
    pub workers: Workers,
    /// For how many seconds a token can be redeemed. `tokenTtlSeconds` is read too.
    #[serde(rename = "tokenTTLSeconds")]
    #[schemars(range(min = 1, max = 86_400), extend("x-alias" = "tokenTtlSeconds"))]
    pub token_ttl_seconds: u32,
    /// After how many seconds without a datagram or byte in either direction a session ends.
    #[schemars(range(min = 1, max = 604_800))]
    pub session_timeout_seconds: u32,
    /// The bytes, in hexadecimal, that begin every control packet. Clients must use the same.
    #[schemars(extend("format" = Form::Magic))]
    pub control_packet_magic_bytes: String,
    /// For how many milliseconds after a migration datagrams of the old backend still reach the client.
    #[schemars(range(max = 60_000))]
    pub migration_grace_ms: u32,
    /// How many players a second the director itself moves at most, where their servers leave.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_migrations_per_second: u32,
    /// For how many seconds a server must not have been ready, without a break, before `whenLost` moves
    /// its players or closes their sessions: one that flaps keeps them. One that is gone, drains,
    /// terminates or stands on a cordoned Node is left at once.
    #[schemars(range(max = 3600))]
    pub evacuate_after_seconds: u32,
    /// For how many milliseconds data of an unknown client is held back, where a default endpoint would
    /// take it, while a token that was given to its IP waits to be redeemed: the token datagram may be
    /// late.
    #[schemars(range(max = 10_000))]
    pub token_grace_ms: u32,
    /// For how many seconds after its last session has ended a `stickyKey` leads to the same backend,
    /// and a token tells a query which backend to `avoid`.
    #[schemars(range(max = 86_400))]
    pub sticky_seconds: u32,
    /// What tokens are, and who may redeem them.
    pub tokens: Tokens,
    /// Where the objects come from that become backends: a file, or the cluster, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// Backend addresses that are allowed although they are loopback, link-local or otherwise refused;
    /// `127.0.0.0/8` for servers on the same host.
    #[schemars(with = "Vec<String>", length(max = 256))]
    #[schemars(extend("items" = {"type": "string", "format": Form::Cidr}))]
    pub allowed_target_cidrs: Vec<IpNet>,
    /// Which of the backends that match and have room is picked, by queries and by the default endpoint
    /// alike, where the mapping does not say it.
    pub load_balancing: LoadBalancing,
    /// The query that picks a backend for clients that come without a token. Without it they are
    /// refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_endpoint: Option<DefaultEndpoint>,
    /// The resource types that can be asked for, by the name that queries use.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": Form::ResourceType}))]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 256))]
    pub resource_query_mapping: BTreeMap<String, ResourceMapping>,
    /// Where sessions are kept for the next process, so that a restart loses nobody. Without it they end
    /// with the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<Journal>,
    /// For how many seconds after SIGTERM running sessions go on, if they do not end before. New ones
    /// are refused meanwhile. What kills the process has to wait for longer than that.
    #[schemars(range(max = 86_400))]
    pub drain_seconds: u32,
    /// Whether answers tell the backend's own address. Players then learn what the director hides.
    pub expose_backend: bool,
    /// The bounds of what clients can make grow. At a bound the newcomer is refused and counted; those
    /// who play are never dropped for it.
    pub limits: Limits,
}

/// Where sessions are kept for the next process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Journal {
    /// The folder: absolute, or relative to the folder of this file. It is made where there is none, and
    /// one process at a time may have it.
    #[schemars(length(min = 1))]
    pub dir: String,
}

/// One public data port.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DataPort {
    /// The name, which answers and resource mappings use.
    #[schemars(extend("format" = Form::ListenerName))]
    pub name: String,
    /// The port. UDP and TCP may share a number. 0 takes any free port.
    pub port: u16,
    /// The transport.
    pub protocol: Protocol,
    /// Tells backends the client's real address: a PROXY protocol header before the first byte of a TCP
    /// stream and in the first datagram of a UDP session. Left out, nothing is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// A transport.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProxyProtocol {
    V2,
}

/// A number of threads.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Workers {
    /// One for each core.
    Auto(Auto),
    /// So many.
    Count(#[schemars(range(min = 1, max = 256))] u16),
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Auto {
    Auto,
}

/// Tokens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Tokens {
    /// The kind. A `random` token is known to the process that issued it and to no other; a `sealed` one
    /// is good on every director that has the key and the same `clusterId`. Left out, `sealed` where
    /// there are `keys`, else `random`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<TokenKind>,
    /// Whether only the IP that asked may redeem the token. `false` is for clients whose query and game
    /// traffic leave by different addresses, such as dual-stack hosts and carrier pools.
    pub bind_client_ip: bool,
    /// The keys of sealed tokens. With `kind: random` they only open those that other directors give out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<TokenKeys>,
    /// The name of what sealed tokens are good for: one of another `clusterId` does not open, even where
    /// the key is the same.
    #[schemars(extend("format" = Form::ClusterId))]
    pub cluster_id: String,
}

/// Keys of sealed tokens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TokenKeys {
    /// A folder with a file for each key, such as a mounted Secret, watched for changes. The file's name
    /// is the key's id, its content 64 hexadecimal digits. The file `current` holds the id of the key that
    /// seals; without it that is the last by name. A relative path begins at the directory of the
    /// configuration file.
    #[schemars(length(min = 1))]
    pub dir: String,
}

/// A kind of token.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TokenKind {
    Random,
    Sealed,
}

/// A source of objects.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Inventory {
    /// A file of objects as `kubectl get -o yaml` writes them, watched for changes. A relative path
    /// begins at the directory of the configuration file. Either this or `kubernetes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub file: Option<String>,
    /// The cluster that the process runs in, or else that of the current context of `KUBECONFIG`. Has no
    /// keys of its own: `kubernetes: {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
}

/// A cluster.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("properties" = {}))]
pub(super) struct Kubernetes {}

/// A strategy and its settings.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(extend("x-hints" = {"strategy": "its keys stand directly under loadBalancing"}))]
pub(super) struct LoadBalancing {
    /// The strategy. `first` takes the first by namespace and name; `random` any; `roundRobin` each in
    /// turn; `leastSessions` the one with the fewest seats taken; `leastLoaded` the less loaded of two at
    /// random, by the share of its capacity; `labelArithmetic` the one with the most room, which is max -
    /// current - seats taken - `overlap`; `packed` the one with the least room that still has some;
    /// `stickyKey` goes by the query's `stickyKey`, or the client's IP on the default endpoint. Whatever
    /// the strategy, one without room is not picked, and a `stickyKey` in a query comes first.
    #[serde(rename = "type")]
    pub strategy: Strategy,
    /// For `labelArithmetic`, which needs this, `currentAnnotation` or `currentPath`, unless the mapping
    /// has a `capacity`: the label that holds how many players are there. An object without it is not
    /// picked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::LabelKey))]
    pub current_label: Option<String>,
    /// In place of `currentLabel`: an annotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::LabelKey))]
    pub current_annotation: Option<String>,
    /// In place of `currentLabel`: a JSONPath (RFC 9535) without the leading `$.`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::FieldPath))]
    pub current_path: Option<String>,
    /// For `labelArithmetic`, which needs this, `maxAnnotation` or `maxPath`, unless the mapping has a
    /// `capacity`: the label that holds how many players fit. An object without it is not picked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::LabelKey))]
    pub max_label: Option<String>,
    /// In place of `maxLabel`: an annotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::LabelKey))]
    pub max_annotation: Option<String>,
    /// In place of `maxLabel`: a JSONPath (RFC 9535) without the leading `$.`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::FieldPath))]
    pub max_path: Option<String>,
    /// For `labelArithmetic`: seats to keep free, for players whom the labels do not count yet.
    #[schemars(range(max = 1_000_000))]
    pub overlap: u32,
}

/// A way to pick one of the backends that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Strategy {
    First,
    Random,
    RoundRobin,
    LeastSessions,
    LeastLoaded,
    LabelArithmetic,
    Packed,
    StickyKey,
}

/// How many players a backend takes: one of `max`, `maxLabel`, `maxAnnotation` and `maxPath`, less what
/// stands at `currentLabel`, `currentAnnotation` or `currentPath`, less `overlap`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Capacity {
    /// So many players, for each backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000_000))]
    pub max: Option<u32>,
    /// The label that holds how many players fit. An object without it, or in which it is no whole
    /// number, is not picked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::LabelKey))]
    pub max_label: Option<String>,
    /// In place of `maxLabel`: an annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::LabelKey))]
    pub max_annotation: Option<String>,
    /// In place of `maxLabel`: a JSONPath (RFC 9535) without the leading `$.`, such as
    /// `status.counters.players.capacity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::FieldPath))]
    pub max_path: Option<String>,
    /// The label that holds how many players are there of whom the director does not know. Its own
    /// players count beside them: leave this out where the server counts all of its players.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::LabelKey))]
    pub current_label: Option<String>,
    /// In place of `currentLabel`: an annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::LabelKey))]
    pub current_annotation: Option<String>,
    /// In place of `currentLabel`: a JSONPath (RFC 9535) without the leading `$.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::FieldPath))]
    pub current_path: Option<String>,
    /// Seats to keep free.
    #[serde(default)]
    #[schemars(range(max = 1_000_000))]
    pub overlap: u32,
}

/// A query with the fields of the query port.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DefaultEndpoint {
    /// A name of `resourceQueryMapping`.
    #[schemars(extend("format" = Form::ResourceType))]
    pub resource_type: String,
    /// The Kubernetes namespace. It may be left out where the mapping has just one.
    #[schemars(extend("format" = Form::DnsLabel))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The labels that an object must have: pairs, or a selector as `kubectl -l` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// The annotations that an object must have, with exactly these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation_selector: Option<BTreeMap<String, String>>,
    /// What the object's status must say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_query: Option<StatusQuery>,
}

/// A label selector.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum LabelSelector {
    /// Pairs that must all be there.
    Pairs(BTreeMap<String, String>),
    /// The Kubernetes selector syntax.
    Text(String),
}

/// A condition on an object.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StatusQuery {
    /// A JSONPath (RFC 9535); the leading `$.` may be left out.
    #[schemars(length(min = 1))]
    pub json_path: String,
    /// The value that the path must give. Either this or `expectedValues` is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_value: Option<Value>,
    /// The values of which the path must give one. Either this or `expectedValue` is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub expected_values: Option<Vec<Value>>,
}

/// How a resource type is found, and where its address and ports stand.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ResourceMapping {
    /// The API group, such as `agones.dev`; `""` is the core group.
    #[schemars(extend("format" = Form::Group))]
    pub group: String,
    /// The API version, such as `v1`.
    #[schemars(extend("format" = Form::DnsLabel))]
    pub version: String,
    /// The plural resource name, such as `pods` or `gameservers`.
    #[schemars(extend("format" = Form::DnsLabel))]
    pub resource: String,
    /// The namespaces that are watched and may be asked for. Left out, every namespace;
    /// an empty list is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1024), extend("items" = {"type": "string", "format": Form::DnsLabel}))]
    pub namespaces: Vec<String>,
    /// Where the address stands, such as `status.podIP`: a JSONPath (RFC 9535) without the leading `$.`.
    /// May be left out for Pods (`status.podIP`), for Agones GameServers (the `PodIP` of
    /// `status.addresses`, else `status.address`), and where a Service stands for the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::FieldPath))]
    pub address_path: Option<String>,
    /// Which entry of a list of `{type, address}` at `addressPath` is meant, such as `PodIP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub address_type: Option<String>,
    /// Whether the addresses that objects name are taken as they are. Else, in a cluster, an address must
    /// be that of a Pod or a Node which the API server knows: who may write an object's status may be
    /// anybody.
    #[serde(default)]
    pub trust_addresses: bool,
    /// The port of that name serves the first data port of each protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub port_name: Option<String>,
    /// The port at that path, such as `status.ports[0].port`, serves the first data port of each
    /// protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::FieldPath))]
    pub port_path: Option<String>,
    /// A port for each of several data ports, in place of `portName` and `portPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub ports: Option<Vec<PortMapping>>,
    /// The label by which a Service names the object it stands for: address and port then come from the
    /// Service. Needs `serviceTargetPortName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::LabelKey))]
    pub service_selector_label: Option<String>,
    /// The name of that Service's port. Needs `serviceSelectorLabel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub service_target_port_name: Option<String>,
    /// How many players a backend takes. Left out, as many as come. Seats that are taken never exceed
    /// it; who holds one when it shrinks keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// Which of the backends that match and have room is picked, in place of the general
    /// `loadBalancing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancing: Option<LoadBalancing>,
    /// What becomes of players whose server leaves. `keep`: they stay until its object is gone or its
    /// time to terminate is over. `migrate`: they go elsewhere as soon as it takes no more players, or
    /// has no longer the labels that they asked for. `close`: their sessions end as soon as it takes no
    /// more players. When the object is gone, those who are left go to another server that matches what
    /// they asked for; where none does, or another object has taken its name or address, their sessions
    /// end.
    #[serde(default)]
    pub when_lost: WhenLost,
    /// What becomes of players who are to leave and for whom nothing else matches and has room. `keep`:
    /// they stay and are tried again each second; once their server is gone nothing is sent to its
    /// address, but a UDP session lives on, until something matches or its client is silent for
    /// `sessionTimeoutSeconds`. `close`: their sessions end. Where another object has taken the name or
    /// the address of a server that is gone, they end in either case.
    #[serde(default)]
    pub when_nothing_matches: WhenNothingMatches,
    /// Asks a server before the director or an operator moves a player to it: a `POST` over HTTP to its
    /// own address, with a JSON object of `sessions`, `from`, `to` and `deadlineMs`. Unless it answers
    /// with a status of the 200s in time, the player stays where he is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration_notice: Option<MigrationNotice>,
    /// Whether Pods and GameServers take no new players while their Node is cordoned. In a cluster this
    /// takes the right to list and watch Nodes, which holds for the whole cluster.
    #[serde(default)]
    pub follow_nodes: bool,
    /// Conditions on the object, all of which must hold before it takes players.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub ready_when: Vec<StatusQuery>,
    /// For Agones GameServers: queries allocate a server each, by a GameServerAllocation, or take a seat on
    /// an allocated one that has room, where the mapping has a capacity. Only allocated servers take
    /// players then. Queries ask for them by labels alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocate: Option<allocate::Allocate>,
}

/// What becomes of players whose server leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WhenLost {
    #[default]
    Keep,
    Migrate,
    Close,
}

/// What becomes of players for whom nothing else matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WhenNothingMatches {
    #[default]
    Keep,
    Close,
}

/// How a server is asked before a player is moved to it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MigrationNotice {
    /// The TCP port at the server's address.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The path, from `/` on.
    #[schemars(extend("format" = Form::HttpPath))]
    pub path: String,
    /// How many milliseconds the answer may take, the connection included.
    #[serde(default = "notice_deadline_ms")]
    #[schemars(range(min = 1, max = 60_000))]
    pub deadline_ms: u32,
}

fn notice_deadline_ms() -> u32 {
    1000
}

/// The backend's port for one data port.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PortMapping {
    /// The name of a data port.
    #[schemars(extend("format" = Form::ListenerName))]
    pub name: String,
    /// The name of the object's port. Either this or `portPath` is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub port_name: Option<String>,
    /// The path to the port's number. Either this or `portName` is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = Form::FieldPath))]
    pub port_path: Option<String>,
}

/// Bounds.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Limits {
    /// Sessions on all data ports together.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_sessions: u32,
    /// Tokens that nobody has redeemed yet.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_pending_tokens: u32,
    /// Connections to the query port; a quarter of the descriptors that clients may take, if that is
    /// less.
    #[schemars(range(min = 1, max = 65_536))]
    pub query_connections: u32,
    /// Connections to the query port from one IP. Players behind one carrier NAT share an IP, and so do
    /// all players behind one matchmaker.
    #[schemars(range(min = 1, max = 65_536))]
    pub query_connections_per_source: u32,
    /// Client connections to all TCP data ports together; fewer while descriptors are short, of which
    /// each takes two.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub tcp_connections: u32,
    /// Queries that are held at once: by `waitSeconds`, or while a server is allocated for them. Those
    /// beyond are answered at once, as overloaded.
    #[schemars(range(min = 1, max = 65_536))]
    pub waiting_queries: u32,
    /// Queries that are held at once from one IP; all players behind one matchmaker share an IP.
    #[schemars(range(min = 1, max = 65_536))]
    pub waiting_queries_per_source: u32,
}

impl Default for Document {
    fn default() -> Document {
        Document {
            query_port: 9000,
            data_port: None,
            data_ports: None,
            admin_port: 9090,
            bind_address: Ipv6Addr::UNSPECIFIED.into(),
            workers: Workers::Auto(Auto::Auto),
            token_ttl_seconds: 30,
            session_timeout_seconds: 300,
            control_packet_magic_bytes: "FFFFFFFF5245534554".to_owned(),
            migration_grace_ms: 250,
            max_migrations_per_second: 500,
            evacuate_after_seconds: 5,
            token_grace_ms: 500,
            sticky_seconds: 120,
            tokens: Tokens::default(),
            inventory: None,
            allowed_target_cidrs: Vec::new(),
            load_balancing: LoadBalancing::default(),
            default_endpoint: None,
            resource_query_mapping: BTreeMap::new(),
            journal: None,
            drain_seconds: 30,
            expose_backend: false,
            limits: Limits::default(),
        }
    }
}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens { kind: None, bind_client_ip: true, keys: None, cluster_id: String::new() }
    }
}

impl Default for LoadBalancing {
    fn default() -> LoadBalancing {
        LoadBalancing {
            strategy: Strategy::LeastSessions,
            current_label: None,
            current_annotation: None,
            current_path: None,
            max_label: None,
            max_annotation: None,
            max_path: None,
            overlap: 0,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_sessions: 100_000,
            max_pending_tokens: 100_000,
            query_connections: 4096,
            query_connections_per_source: 1024,
            tcp_connections: 10_000,
            waiting_queries: 1024,
            waiting_queries_per_source: 256,
        }
    }
}

/// Keys of the original director, and keys that people try, that have another place here.
fn document_hints() -> Value {
    json!({
        "mapLabel": "clients name labels in \"labelSelector\" of their query",
        "maxCharactersPerServer": "use \"loadBalancing\" with type labelArithmetic",
        "characterLabelPrefix": "clients name labels in \"labelSelector\" of their query",
        "disconnectAnnotation": "clients come back to their server with \"stickyKey\" in their query",
        "projectXAllocationOnly": "clients without a token are refused where \"defaultEndpoint\" is left out",
        "metricsPort": "metrics are served on \"adminPort\"",
        "healthPort": "health is served on \"adminPort\"",
        "log": "logging is set by the flags of `udp-director serve`",
        "logLevel": "logging is set by the flags of `udp-director serve`",
        "logFormat": "logging is set by the flags of `udp-director serve`",
    })
}
