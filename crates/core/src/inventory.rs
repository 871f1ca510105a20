//! The inventory: an immutable snapshot of all backends, replaced as a whole.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use crate::addr::BackendAddr;
use crate::load::Load;
use crate::rendezvous::Hashed;
use crate::seal::Handle;
use crate::settings::Listener;

pub use self::capacity::Capacity;
pub use self::view::View;
pub use self::withheld::Withheld;

use self::handles::Handles;
use self::index::LabelIndex;

mod capacity;
mod handles;
mod index;
mod view;
mod withheld;

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
    pub view: View,
    /// Until when it may go on, where it has been asked to end.
    pub ends_at: Option<SystemTime>,
    /// Why it takes no new players; `None` where it does.
    pub withheld: Option<Withheld>,
    /// How many players it takes.
    pub capacity: Capacity,
}

impl BackendSpec {
    /// Whether it takes new players: it is ready, does not terminate and does not drain. Whether it has
    /// room for one is another question.
    pub fn accepting(&self) -> bool {
        self.withheld.is_none()
    }
}

/// A backend in a snapshot: what its resource says, and its live load.
#[derive(Debug)]
pub struct Backend {
    /// What the resource says.
    pub spec: SharedSpec,
    /// Seats taken, shared with this backend's other snapshots.
    pub load: Load,
}

/// A spec that snapshots share with the source that read it, so that ten thousand are kept once.
///
/// It reads like the spec itself; a `clone` through it copies the spec.
#[derive(Debug)]
pub struct SharedSpec(Arc<BackendSpec>);

impl Deref for SharedSpec {
    type Target = BackendSpec;

    fn deref(&self) -> &BackendSpec {
        &self.0
    }
}

impl SharedSpec {
    /// The spec, shared once more.
    pub fn share(&self) -> Arc<BackendSpec> {
        Arc::clone(&self.0)
    }

    /// Whether it says the same; costs nothing where it is the very same.
    fn says(&self, other: &Arc<BackendSpec>) -> bool {
        Arc::ptr_eq(&self.0, other) || *self.0 == **other
    }
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
    standings: Vec<Standing>,
    /// Loads of backends that are gone while seats of theirs are still taken: one that comes back is as
    /// full as it was. Bounded by the sessions and tokens that hold the seats.
    departed: HashMap<BackendId, Load>,
    by_id: Arc<HashMap<BackendId, usize>>,
    handles: Arc<Handles>,
    /// In the order of the backends.
    scopes: Vec<Scope>,
    refused: Arc<[Refused]>,
}

/// What a choice looks at, side by side for all backends: to go through ten thousand takes microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) load: Load,
    /// How many seats may be taken at once.
    pub(crate) seats: u32,
    /// How many players the object itself counts.
    pub(crate) current: u32,
    /// The hash of its id, for sticky keys.
    pub(crate) hash: Hashed,
}

impl Standing {
    fn of(backend: &Backend) -> Standing {
        let (spec, load) = (&backend.spec, backend.load.clone());
        let hash = Hashed::new(spec.id.as_str());
        Standing { load, seats: spec.capacity.seats(), current: spec.capacity.current(), hash }
    }
}

/// The backends of one resource type in one namespace: neighbours in the inventory's order.
#[derive(Clone, Debug)]
struct Scope {
    /// The position of the first.
    start: usize,
    /// How many.
    len: usize,
    /// Those that accept players.
    accepting: Arc<LabelIndex>,
}

impl Inventory {
    /// The snapshot that follows this one. A backend whose id was here before keeps its load, also when
    /// it was gone meanwhile; of several specs with one id the first (in order) counts.
    pub fn next(&self, specs: Vec<BackendSpec>, refused: Vec<Refused>) -> Inventory {
        self.next_shared(specs.into_iter().map(Arc::new).collect(), refused.into())
    }

    /// Like [`Inventory::next`], for a source that keeps what it has read. What did not change is
    /// shared with this snapshot: each backend, the ids, and the labels of a resource type in a
    /// namespace. The cost is a few pointers for each backend, and a look at those that are new.
    pub fn next_shared(&self, mut specs: Vec<Arc<BackendSpec>>, refused: Arc<[Refused]>) -> Inventory {
        specs.sort_by(|a, b| order(a).cmp(&order(b)));
        let by_id = self.ids_of(&mut specs);
        let mut fresh = Load::fresh(self.count_new(&specs, &by_id));
        let mut backends = Vec::with_capacity(specs.len());
        for spec in specs {
            // Where nothing came or went, a backend is where it was.
            let here = self.backends.get(backends.len()).filter(|known| known.spec.id == spec.id);
            let backend = match here.or_else(|| self.by_id(&spec.id)) {
                Some(known) if known.spec.says(&spec) => Arc::clone(known),
                known => {
                    let load = known.map(|known| &known.load).or_else(|| self.departed.get(&spec.id));
                    let load = load.cloned().or_else(|| fresh.next()).expect("one for each newcomer");
                    Arc::new(Backend { spec: SharedSpec(spec), load })
                }
            };
            backends.push(backend);
        }
        let standings = backends.iter().map(|backend| Standing::of(backend)).collect();
        let handles = self.handles_of(&backends, &by_id);
        let scopes = self.scopes_for(&backends);
        let departed = self.departed_from(&by_id);
        Inventory { backends, standings, departed, by_id, handles, scopes, refused }
    }

    /// How many were never known, or are forgotten.
    fn count_new(&self, specs: &[Arc<BackendSpec>], by_id: &Arc<HashMap<BackendId, usize>>) -> usize {
        if Arc::ptr_eq(by_id, &self.by_id) {
            return 0;
        }
        let is_known = |id| self.by_id.contains_key(id) || self.departed.contains_key(id);
        specs.iter().filter(|spec| !is_known(&spec.id)).count()
    }

    /// Who is not among those, and still has seats taken.
    fn departed_from(&self, present: &HashMap<BackendId, usize>) -> HashMap<BackendId, Load> {
        let leaving = self.backends.iter().map(|backend| (&backend.spec.id, &backend.load));
        let gone = leaving.chain(&self.departed);
        let counts = gone.filter(|(id, load)| load.seats() > 0 && !present.contains_key(*id));
        counts.map(|(id, load)| (id.clone(), load.clone())).collect()
    }

    /// Where each id is. Takes out the specs whose id came before.
    fn ids_of(&self, specs: &mut Vec<Arc<BackendSpec>>) -> Arc<HashMap<BackendId, usize>> {
        let known = self.backends.iter().map(|backend| &backend.spec.id);
        if known.eq(specs.iter().map(|spec| &spec.id)) {
            return Arc::clone(&self.by_id);
        }
        let mut by_id = HashMap::with_capacity(specs.len());
        specs.retain(|spec| {
            let position = by_id.len();
            match by_id.entry(spec.id.clone()) {
                Entry::Occupied(_) => false,
                Entry::Vacant(vacant) => {
                    vacant.insert(position);
                    true
                }
            }
        });
        Arc::new(by_id)
    }

    /// The handles of these backends; where they are as they were here, they are shared.
    fn handles_of(&self, backends: &[Arc<Backend>], by_id: &Arc<HashMap<BackendId, usize>>) -> Arc<Handles> {
        if Arc::ptr_eq(by_id, &self.by_id) {
            return Arc::clone(&self.handles);
        }
        Arc::new(Handles::of(backends.iter().map(|backend| backend.spec.id.as_str())))
    }

    /// The scopes of these backends; one that is as it was here is shared.
    fn scopes_for(&self, backends: &[Arc<Backend>]) -> Vec<Scope> {
        let mut start = 0;
        let mut scopes = Vec::new();
        for neighbours in backends.chunk_by(|a, b| scope_of(a) == scope_of(b)) {
            let scope = self.patched_scope(start, neighbours);
            scopes.push(scope.unwrap_or_else(|| Scope::new(start, neighbours)));
            start += neighbours.len();
        }
        scopes
    }

    /// The scope that begins there, if it holds the same backends: shared as far as they accept players
    /// and have labels as before.
    fn patched_scope(&self, start: usize, neighbours: &[Arc<Backend>]) -> Option<Scope> {
        let at = self.scopes.binary_search_by_key(&start, |scope| scope.start).ok()?;
        let mut scope = self.scopes[at].clone();
        let known = &self.backends[start..start + scope.len];
        let pairs = || known.iter().zip(neighbours).enumerate().filter(|(_, (a, b))| !Arc::ptr_eq(a, b));
        let same = |(_, (a, b)): (usize, (&Arc<Backend>, &Arc<Backend>))| {
            scope_of(a) == scope_of(b) && a.spec.id == b.spec.id
        };
        if known.len() != neighbours.len() || !pairs().all(same) {
            return None;
        }
        for (offset, (before, now)) in pairs() {
            if before.spec.accepting() != now.spec.accepting() || before.spec.labels != now.spec.labels {
                scope.patch(offset, &before.spec, &now.spec);
            }
        }
        Some(scope)
    }

    /// The standing of each backend, in order.
    pub(crate) fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// Where the backend of that id is.
    pub(crate) fn position(&self, id: &BackendId) -> Option<u32> {
        self.by_id.get(id).map(|&position| index_of(position))
    }

    /// Every backend, in order.
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// The backend of that id.
    pub fn by_id(&self, id: &BackendId) -> Option<&Arc<Backend>> {
        self.by_id.get(id).map(|&index| &self.backends[index])
    }

    /// The backend of that resource type, namespace and name.
    pub fn named(&self, resource_type: &str, namespace: &str, name: &str) -> Option<&Arc<Backend>> {
        let wanted = (resource_type, namespace, name);
        let place = |spec: &BackendSpec| {
            (&*spec.resource_type, spec.namespace.as_str(), spec.name.as_str()).cmp(&wanted)
        };
        let at = self.backends.binary_search_by(|backend| place(&backend.spec)).ok()?;
        Some(&self.backends[at])
    }

    /// The backend that a sealed token calls so; `None` where none has that handle, or more than one.
    pub fn by_handle(&self, handle: Handle) -> Option<&Arc<Backend>> {
        self.handles.only(handle).map(|position| &self.backends[position as usize])
    }

    /// What a sealed token calls that backend, which is one of these; `None` where another one here has
    /// the same handle.
    pub fn handle_of(&self, id: &BackendId) -> Option<Handle> {
        let handle = Handle::of(id.as_str());
        self.by_handle(handle).filter(|backend| backend.spec.id == *id).map(|_| handle)
    }

    /// The objects that did not become backends.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// The same, to be shared with the next snapshot.
    pub fn refused_shared(&self) -> Arc<[Refused]> {
        Arc::clone(&self.refused)
    }

    /// The positions of the accepting backends of that type and namespace (`None`: of any) that have
    /// each of the labels with one of its values, in order.
    pub(crate) fn accepting<'a, L>(
        &self,
        resource_type: &str,
        namespace: Option<&str>,
        labels: L,
    ) -> Cow<'_, [u32]>
    where
        L: Iterator<Item = (&'a str, &'a [String])> + Clone,
    {
        match self.scopes_of(resource_type, namespace) {
            [only] => only.accepting.having(labels),
            scopes => {
                let having = |scope: &Scope| scope.accepting.having(labels.clone()).into_owned();
                scopes.iter().flat_map(having).collect()
            }
        }
    }

    /// The backends of that type and namespace (`None`: of any), in order.
    pub(crate) fn within(
        &self,
        resource_type: &str,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = &Arc<Backend>> {
        let scopes = self.scopes_of(resource_type, namespace).iter();
        scopes.flat_map(|scope| &self.backends[scope.start..scope.start + scope.len])
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
            if backend.spec.accepting() {
                accepting.add(index_of(position), &backend.spec.labels);
            }
        }
        Scope { start, len: backends.len(), accepting: Arc::new(accepting) }
    }

    /// Another spec stands at that place.
    fn patch(&mut self, offset: usize, before: &BackendSpec, now: &BackendSpec) {
        let position = index_of(self.start + offset);
        let accepting = Arc::make_mut(&mut self.accepting);
        match (before.accepting(), now.accepting()) {
            (true, true) => accepting.relabel(position, &before.labels, &now.labels),
            (true, false) => accepting.remove(position, &before.labels),
            (false, true) => accepting.add(position, &now.labels),
            (false, false) => {}
        }
    }
}

fn index_of(position: usize) -> u32 {
    u32::try_from(position).expect("fewer backends than addresses")
}

fn order(spec: &BackendSpec) -> (&str, &str, &str, &BackendId) {
    (&spec.resource_type, &spec.namespace, &spec.name, &spec.id)
}

fn scope_of(backend: &Backend) -> (&str, &str) {
    (&backend.spec.resource_type, &backend.spec.namespace)
}
