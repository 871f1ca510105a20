//! The inventory: an immutable snapshot of all backends, replaced as a whole.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::Value;

use crate::addr::BackendAddr;
use crate::load::Load;
use crate::settings::Listener;

use self::index::LabelIndex;

mod index;

/// What makes a backend the same one in two snapshots: the resource type and the object's UID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(Arc<str>);

impl BackendId {
    /// Takes a text that is unique among all backends.
    pub fn new(uid: &str) -> BackendId {
        BackendId(uid.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
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
    /// Who it is, in every snapshot.
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
    pub load: Load,
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
    /// Theirs, in the same order.
    loads: Vec<Load>,
    by_id: HashMap<BackendId, usize>,
    /// In the order of the backends.
    scopes: Vec<Scope>,
    refused: Vec<Refused>,
}

/// The backends of one resource type in one namespace: neighbours in the inventory's order.
#[derive(Debug)]
struct Scope {
    /// The position of the first.
    start: usize,
    /// Those that accept players.
    accepting: LabelIndex,
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
        let mut fresh = Load::fresh(specs.len());
        for spec in specs {
            if next.by_id.contains_key(&spec.id) {
                continue;
            }
            let known = self.by_id(&spec.id).map(|known| known.load.clone());
            let load = known.or_else(|| fresh.next()).expect("as many as there are specs");
            next.by_id.insert(spec.id.clone(), next.backends.len());
            next.loads.push(load.clone());
            next.backends.push(Arc::new(Backend { spec, load }));
        }
        next.scopes = scopes(&next.backends);
        next
    }

    /// The load of each backend, in order.
    pub(crate) fn loads(&self) -> &[Load] {
        &self.loads
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

    /// The positions of the accepting backends of that type and namespace (`None`: of any) that have
    /// all of the labels, in order.
    pub(crate) fn accepting<'a, L>(
        &self,
        resource_type: &str,
        namespace: Option<&str>,
        labels: L,
    ) -> Cow<'_, [u32]>
    where
        L: Iterator<Item = (&'a str, &'a str)> + Clone,
    {
        match self.scopes_of(resource_type, namespace) {
            [only] => only.accepting.having(labels),
            scopes => {
                let having = |scope: &Scope| scope.accepting.having(labels.clone()).into_owned();
                scopes.iter().flat_map(having).collect()
            }
        }
    }

    fn scopes_of(&self, resource_type: &str, namespace: Option<&str>) -> &[Scope] {
        let order = |scope: &Scope| {
            let spec = &self.backends[scope.start].spec;
            let by_namespace =
                namespace.map_or(Ordering::Equal, |namespace| spec.namespace.as_str().cmp(namespace));
            (*spec.resource_type).cmp(resource_type).then(by_namespace)
        };
        let start = self.scopes.partition_point(|scope| order(scope) == Ordering::Less);
        let end = self.scopes.partition_point(|scope| order(scope) != Ordering::Greater);
        &self.scopes[start..end]
    }
}

impl Scope {
    fn new(start: usize, backends: &[Arc<Backend>]) -> Scope {
        let mut accepting = LabelIndex::default();
        for (position, backend) in (start..).zip(backends) {
            if backend.spec.accepting {
                let position = u32::try_from(position).expect("fewer backends than addresses");
                accepting.add(position, &backend.spec.labels);
            }
        }
        Scope { start, accepting }
    }
}

fn scopes(backends: &[Arc<Backend>]) -> Vec<Scope> {
    let same = |a: &Arc<Backend>, b: &Arc<Backend>| {
        a.spec.resource_type == b.spec.resource_type && a.spec.namespace == b.spec.namespace
    };
    let mut start = 0;
    let mut scopes = Vec::new();
    for neighbours in backends.chunk_by(same) {
        scopes.push(Scope::new(start, neighbours));
        start += neighbours.len();
    }
    scopes
}
