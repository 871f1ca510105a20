//! Resource mappings: how a resource type is found, and where its address and ports stand.

use std::sync::Arc;

use serde_json::Value;
use udp_director_core::PathError;

/// How one resource type is found and read.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// The name that queries use.
    pub resource_type: Arc<str>,
    /// API group; empty for the core group.
    pub group: String,
    /// API version, such as `v1`.
    pub version: String,
    /// Plural resource name, such as `pods`.
    pub resource: String,
    /// Which namespaces are watched and may be asked for; empty means every one.
    pub namespaces: Vec<String>,
    /// Where the address stands, such as `status.podIP`: a JSONPath (RFC 9535) whose leading `$.` may
    /// be left out. It leads to a text, a list of `{type, address}`, of `{ip}` or of texts. `None` is
    /// enough for Pods (`status.podIP`) and GameServers (`status.addresses` of type `PodIP`, else
    /// `status.address`).
    pub address_path: Option<String>,
    /// Which entry of a list is the address: by its `type`, such as `PodIP`, or, where entries have
    /// none, the first of the family `IPv4` or `IPv6`; `None` means the first.
    pub address_type: Option<String>,
    /// Where the ports stand.
    pub ports: PortsSource,
    /// Take address and port from a Service instead of from the object itself. The backend then has
    /// that one port, whatever `ports` says.
    pub service: Option<ServiceSource>,
    /// All of these must hold before the backend takes players.
    pub ready_when: Vec<Condition>,
    /// How many players a backend takes; `None` does not bound them.
    pub capacity: Option<CapacitySource>,
    /// Whether a cluster's objects may name any address that [`Targets`](crate::Targets) allows, also
    /// one of which the API knows no Pod and no Node. A file's always may.
    pub trust_addresses: bool,
    /// Whether Pods and GameServers take no new players while their Node is cordoned. In a cluster this
    /// takes a watch on Nodes.
    pub follow_nodes: bool,
}

/// The ports of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortsSource {
    /// One port, for the first listener of each protocol.
    One(PortSource),
    /// A port per listener name.
    Named(Vec<(String, PortSource)>),
}

/// Where one port stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortSource {
    /// The port of that name, wherever the kind lists its ports.
    Name(String),
    /// A JSONPath to the number or to a text of digits, such as `status.port`.
    Path(String),
}

/// A Service that stands for the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSource {
    /// The label of the Service that holds the object's name.
    pub selector_label: String,
    /// The name of the Service port to use, or of the Pod port that it leads to.
    pub target_port_name: String,
}

/// How many players a backend takes: max - current - overlap, at least none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacitySource {
    /// How many players fit.
    pub max: NumberSource,
    /// How many are there whom the director does not count; `None` means none.
    pub current: Option<NumberSource>,
    /// How many places stay free.
    pub overlap: u32,
}

/// Where a number of players stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberSource {
    /// It is the same for each object.
    Fixed(u32),
    /// In that label of the object.
    Label(String),
    /// In that annotation of the object.
    Annotation(String),
    /// At that JSONPath (RFC 9535), be it a number or a text of digits; the leading `$.` may be left out.
    Path(String),
}

/// A condition on an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// A JSONPath (RFC 9535); the leading `$.` may be left out.
    pub json_path: String,
    /// The values of which the path must give one.
    pub expected: Vec<Value>,
}

/// What is wrong with a mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// The path to the address.
    #[error("addressPath {path:?}: {error}")]
    AddressPath {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        error: PathError,
    },
    /// The path to a port.
    #[error("portPath {path:?}: {error}")]
    PortPath {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        error: PathError,
    },
    /// The path to a number of players.
    #[error("capacity {path:?}: {error}")]
    CapacityPath {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        error: PathError,
    },
    /// The path of a condition.
    #[error("readyWhen {path:?}: {error}")]
    ReadyWhen {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        error: PathError,
    },
}
