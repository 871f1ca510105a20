//! The upstream halves of a worker, found by upstream socket and source address.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Return;
use crate::addr::{BackendAddr, Packed};
use crate::session::{Activity, Generation, SessionId, UpstreamIndex};
use crate::time::Moment;

/// A slot: one backend on one upstream socket. The socket stands where an address has its scope, so
/// link-local backends are told apart by socket alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct UpstreamKey(Packed);

/// Where the replies on a slot go.
#[derive(Debug)]
pub(super) struct UpstreamHalf {
    pub(super) session: SessionId,
    pub(super) generation: Generation,
    pub(super) to: Return,
    pub(super) activity: Arc<Activity>,
    pub(super) phase: Phase,
    /// When the phase is next looked at; of no meaning while it is live.
    pub(super) due_at: Moment,
}

/// What a slot is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its session uses it.
    Live,
    /// Its session has moved on; what is still under way is delivered. Until the moment.
    Grace(Moment),
    /// Nobody uses it; what still comes is dropped. Until the moment, which each late reply puts off.
    Rest(Moment),
}

/// The upstream halves of a worker. Bounded by the pool: one for each slot in use.
#[derive(Debug, Default)]
pub(super) struct Upstreams(HashMap<UpstreamKey, UpstreamHalf, RandomState>);

impl UpstreamKey {
    #[inline]
    pub(super) fn new(index: UpstreamIndex, backend: BackendAddr) -> UpstreamKey {
        UpstreamKey(Packed { scope: index.0, ..backend.packed() })
    }

    pub(super) fn index(&self) -> UpstreamIndex {
        UpstreamIndex(self.0.scope)
    }

    pub(super) fn backend(&self) -> BackendAddr {
        BackendAddr::from_packed(Packed { scope: 0, ..self.0 })
    }
}

impl Upstreams {
    #[inline]
    pub(super) fn get_mut(&mut self, key: &UpstreamKey) -> Option<&mut UpstreamHalf> {
        self.0.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: UpstreamKey, half: UpstreamHalf) {
        self.0.insert(key, half);
    }

    pub(super) fn remove(&mut self, key: &UpstreamKey) {
        self.0.remove(key);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
