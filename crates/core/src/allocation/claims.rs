//! Claims: servers that were allocated for players, until one plays there or it is known that nobody will.
//!
//! ```text
//! allocated --a session--> Played
//!     |  \--its object goes--> Gone
//!     \--nobody has a seat there any more--> Unclaimed --given back, where that is wanted--> gone
//! lost (an allocation without an answer) --an object that bears its id--> Unclaimed
//! ```

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::inventory::{Backend, BackendId, BackendSpec, Inventory};
use crate::time::Moment;

/// What tells one allocation from all others. The server that it gets bears it as an annotation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllocationId(pub Arc<str>);

/// Which object was allocated.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName {
    /// The resource mapping that it was allocated for.
    pub resource_type: Arc<str>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What becomes of an allocated server that no player took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unclaimed {
    /// It stays allocated.
    #[default]
    Keep,
    /// Its object is deleted.
    Delete,
    /// Its object is made ready again.
    Ready,
}

/// A server that was allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The server.
    pub server: ServerName,
    /// The allocation that got it.
    pub allocation: AllocationId,
    /// What becomes of it when nobody takes it.
    pub unclaimed: Unclaimed,
}

/// What has become of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// A session was opened on the server.
    Played(Claim),
    /// The object is gone, and nobody has played there.
    Gone(Claim),
    /// Nobody has taken it. Where it is to be given back, nobody gets a seat on it from now on until
    /// [`Claims::given_back`].
    Unclaimed(Claim),
}

/// The servers that were allocated and nobody has played on yet.
///
/// Bounded: who allocates looks at [`Claims::len`] before, and of allocations that were lost no more than
/// [`Claims::MOST_LOST`] are looked for.
#[derive(Debug, Default)]
pub struct Claims {
    open: BTreeMap<ServerName, Open>,
    lost: BTreeMap<AllocationId, Lost>,
    returning: HashSet<BackendId>,
}

#[derive(Debug)]
struct Open {
    claim: Claim,
    /// Until when those who asked for it may still take a seat there.
    until: Moment,
    /// The object, once it was seen in the inventory.
    seen: Option<BackendId>,
    /// How many sessions had begun there before.
    begun_before: u32,
    /// Since when it is being given back.
    returning: Option<Moment>,
}

/// An allocation of which nobody knows what it got.
#[derive(Debug)]
struct Lost {
    resource_type: Arc<str>,
    unclaimed: Unclaimed,
    until: Moment,
}

impl AllocationId {
    /// The annotation in which a server bears it.
    pub const ANNOTATION: &str = "udp-director.io/allocation";
}

impl ServerName {
    /// The object of a backend.
    pub fn of(spec: &BackendSpec) -> ServerName {
        ServerName {
            resource_type: Arc::clone(&spec.resource_type),
            namespace: spec.namespace.clone(),
            name: spec.name.clone(),
        }
    }
}

impl Claims {
    /// How many lost allocations are looked for; those beyond are forgotten.
    pub const MOST_LOST: usize = 1024;
    /// For how long a lost allocation is looked for.
    pub const LOST_FOR: Duration = Duration::from_secs(60);
    /// For how long a server that was given back may still look as if it had not been.
    pub const RETURNED_WITHIN: Duration = Duration::from_secs(30);

    /// The server was allocated; those who asked for it take a seat there before `until`, or not at all.
    /// The inventory is the one that is in force.
    pub fn allocated(&mut self, claim: Claim, until: Moment, inventory: &Inventory) {
        let ServerName { resource_type, namespace, name } = &claim.server;
        let backend = inventory.named(resource_type, namespace, name);
        let seen = backend.map(|backend| backend.spec.id.clone());
        // A game may make its server ready again after each match: its former players do not count.
        let begun_before = backend.map_or(0, |backend| backend.load.sessions_begun());
        seen.iter().for_each(|id| {
            self.returning.remove(id);
        });
        self.open.insert(claim.server.clone(), Open { claim, until, seen, begun_before, returning: None });
    }

    /// An allocation had no answer, or none that names a server. If it got one, that is unclaimed.
    pub fn lost(&mut self, id: AllocationId, resource_type: &Arc<str>, unclaimed: Unclaimed, now: Moment) {
        if self.lost.len() < Self::MOST_LOST {
            let until = now + Self::LOST_FOR;
            self.lost.insert(id, Lost { resource_type: Arc::clone(resource_type), unclaimed, until });
        }
    }

    /// How many servers are followed.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether that backend is being given back. To be asked by who has just taken a seat there, under
    /// the lock that [`Claims::settle`] is called under: then either he sees this, or `settle` his seat.
    pub fn is_returning(&self, backend: &BackendId) -> bool {
        self.returning.contains(backend)
    }

    /// The backends that are being given back, in no order.
    pub fn returning(&self) -> impl Iterator<Item = &BackendId> {
        self.returning.iter()
    }

    /// What has come of which claims. To be called now and then.
    pub fn settle(&mut self, inventory: &Inventory, now: Moment) -> Vec<Settled> {
        self.find_lost(inventory, now);
        let mut settled = Vec::new();
        self.open.retain(|server, open| {
            let backend = inventory.named(&server.resource_type, &server.namespace, &server.name);
            if let Some(since) = open.returning {
                let goes_on = now - since < Self::RETURNED_WITHIN
                    && backend.is_some_and(|backend| backend.spec.accepting());
                if !goes_on && let Some(id) = &open.seen {
                    self.returning.remove(id);
                }
                return goes_on;
            }
            let Some(outcome) = open.look(backend, now) else { return true };
            let is_returned =
                matches!(outcome, Settled::Unclaimed(_)) && open.claim.unclaimed != Unclaimed::Keep;
            settled.push(outcome);
            if is_returned {
                open.returning = Some(now);
                self.returning.extend(open.seen.clone());
            }
            is_returned
        });
        settled
    }

    /// Those that nobody has played on, when the director stops: no token is good any more.
    pub fn close(&mut self, inventory: &Inventory) -> Vec<Claim> {
        let open = std::mem::take(&mut self.open).into_values().filter(|open| open.returning.is_none());
        let is_unclaimed = |open: &Open| {
            let ServerName { resource_type, namespace, name } = &open.claim.server;
            let backend = inventory.named(resource_type, namespace, name);
            backend.is_none_or(|backend| backend.load.sessions_begun() == open.begun_before)
        };
        open.filter(is_unclaimed).map(|open| open.claim).collect()
    }

    /// An unclaimed server was given back, or that has failed: then it is like any other again.
    pub fn given_back(&mut self, server: &ServerName, has_failed: bool) {
        if has_failed && let Some(open) = self.open.remove(server) {
            open.seen.iter().for_each(|id| {
                self.returning.remove(id);
            });
        }
    }

    /// Makes claims of those that were lost and are found.
    fn find_lost(&mut self, inventory: &Inventory, now: Moment) {
        if self.lost.is_empty() {
            return;
        }
        for backend in inventory.backends() {
            let Some(id) = backend.spec.annotations.get(AllocationId::ANNOTATION) else { continue };
            let id = AllocationId(id.as_str().into());
            let is_it = |lost: &Lost| lost.resource_type == backend.spec.resource_type;
            if self.lost.get(&id).is_some_and(is_it)
                && let Some(lost) = self.lost.remove(&id)
            {
                let server = ServerName::of(&backend.spec);
                self.allocated(Claim { server, allocation: id, unclaimed: lost.unclaimed }, now, inventory);
            }
        }
        self.lost.retain(|_, lost| now < lost.until);
    }
}

impl Open {
    fn look(&mut self, backend: Option<&Arc<Backend>>, now: Moment) -> Option<Settled> {
        let known = self.seen.as_ref();
        let backend = backend.filter(|backend| known.is_none_or(|known| *known == backend.spec.id));
        let Some(backend) = backend else {
            let claim = self.claim.clone();
            return match (known, now >= self.until) {
                (Some(_), _) => Some(Settled::Gone(claim)),
                (None, true) => Some(Settled::Unclaimed(claim)),
                (None, false) => None,
            };
        };
        self.seen = Some(backend.spec.id.clone());
        let is_free = backend.load.seats() == 0;
        match backend.load.sessions_begun() == self.begun_before {
            false => Some(Settled::Played(self.claim.clone())),
            true if is_free && now >= self.until => Some(Settled::Unclaimed(self.claim.clone())),
            true => None,
        }
    }
}

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests;
