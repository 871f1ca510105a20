//! The inventory: an immutable snapshot of all backends, replaced as a whole.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::Value;

use crate::addr::BackendAddr;
use crate::seat::Load;
use crate::settings::Listener;

/// What makes a backend the same one in two snapshots: the object's UID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(Arc<str>);

impl BackendId {
    /// Takes a UID, or what stands for it.
    pub fn new(uid: &str) -> BackendId {
        BackendId(uid.into())
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a resource says of a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendSpec {
    /// The object's UID.
    pub id: BackendId,
    /// The name of the resource mapping that found it.
    pub resource_type: Arc<str>,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// Where it listens; IPv4 never in its IPv6-mapped form.
    pub address: IpAddr,
    /// On which ports.
    pub ports: Ports,
    /// The object's labels.
    pub labels: BTreeMap<String, String>,
    /// The object's annotations that a query may ask for.
    pub annotations: BTreeMap<String, String>,
    /// What a status query sees: `metadata` and `status`, never `spec`, which can hold secrets.
    pub view: Value,
    /// Whether it takes new players: it is ready, does not terminate and does not drain.
    pub accepting: bool,
}

/// A backend in a snapshot: what its resource says, and its live load.
#[derive(Debug)]
pub struct Backend {
    /// What the resource says.
    pub spec: BackendSpec,
    /// Seats taken, shared with this backend's other snapshots.
    pub load: Arc<Load>,
}

/// A backend's ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// One port, for the first listener of each protocol.
    One(u16),
    /// Ports by the listener's name.
    Named(BTreeMap<String, u16>),
}

impl Backend {
    /// Where this backend serves the given listener, if it does.
    pub fn addr_for(&self, listener: &Listener) -> Option<BackendAddr> {
        let port = match &self.spec.ports {
            Ports::One(port) => listener.first_of_protocol.then_some(*port),
            Ports::Named(ports) => ports.get(&*listener.name).copied(),
        }?;
        Some(BackendAddr::new(SocketAddr::new(self.spec.address, port)))
    }
}

/// Which object is meant, for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    /// The object's kind, such as `Pod`.
    pub kind: String,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Its name; empty where it has none.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object that did not become a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The object.
    pub object: ObjectRef,
    /// Why, for people.
    pub reason: String,
}

/// All backends at one moment, ordered by resource type, namespace and name.
#[derive(Debug, Default)]
pub struct Inventory {
    backends: Vec<Arc<Backend>>,
    by_id: HashMap<BackendId, usize>,
    refused: Vec<Refused>,
}

impl Inventory {
    /// The snapshot that follows this one. A backend whose id was here before keeps its load; of
    /// several specs with one id the first (in order) counts.
    pub fn next(&self, mut specs: Vec<BackendSpec>, refused: Vec<Refused>) -> Inventory {
        specs.sort_by(|a, b| {
            (&a.resource_type, &a.namespace, &a.name, &a.id).cmp(&(
                &b.resource_type,
                &b.namespace,
                &b.name,
                &b.id,
            ))
        });
        let mut next = Inventory { refused, ..Inventory::default() };
        for spec in specs {
            if next.by_id.contains_key(&spec.id) {
                continue;
            }
            let load = self.by_id(&spec.id).map(|known| Arc::clone(&known.load)).unwrap_or_default();
            next.by_id.insert(spec.id.clone(), next.backends.len());
            next.backends.push(Arc::new(Backend { spec, load }));
        }
        next
    }

    /// Every backend, in order.
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// The backend of that id.
    pub fn by_id(&self, id: &BackendId) -> Option<&Arc<Backend>> {
        self.by_id.get(id).map(|&index| &self.backends[index])
    }

    /// The objects that did not become backends.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }
}
