//! Names: what records name by a number. Backends and questions, which many share, are written once;
//! tokens have ascending numbers, so that those that come together lie together in the store.

use std::collections::HashMap;
use std::sync::Arc;

use udp_director_core::{Backend, BackendId, BackendSpec};
use udp_director_wire::Token;

use super::form::BackendForm;
use super::store::{Row, Rows};

/// What has a number in the journal. Bounded by what the journal has, which is written anew before it
/// outgrows what is alive.
#[derive(Debug, Default)]
pub(super) struct Names {
    backends: HashMap<BackendId, (u64, Arc<BackendSpec>)>,
    wants: HashMap<Arc<str>, u64>,
    /// By what stands in for them.
    tokens: HashMap<Token, u64>,
    last: u64,
}

impl Names {
    /// The number of a backend. One that is new, or says something else by now, goes into the rows.
    pub(super) fn backend(&mut self, backend: &Backend, rows: &mut Rows) -> u64 {
        let spec = backend.spec.share();
        let known = self.backends.get(&spec.id);
        if let Some((number, _)) = known.filter(|(_, known)| same(known, &spec)) {
            return *number;
        }
        let number = known.map_or_else(|| self.last + 1, |(number, _)| *number);
        self.last = self.last.max(number);
        rows.backends.push(Row(number, Some(BackendForm::of(&spec).to_bytes())));
        self.backends.insert(spec.id.clone(), (number, spec));
        number
    }

    /// The number of a token, by what stands in for it.
    pub(super) fn token(&mut self, stand_in: Token) -> u64 {
        *self.tokens.entry(stand_in).or_insert_with(|| {
            self.last += 1;
            self.last
        })
    }

    /// The number that a token had which is forgotten.
    pub(super) fn forget_token(&mut self, stand_in: &Token) -> Option<u64> {
        self.tokens.remove(stand_in)
    }

    /// The number of a question; `None` for one that cannot be asked again.
    pub(super) fn want(&mut self, text: &Arc<str>, rows: &mut Rows) -> Option<u64> {
        if text.is_empty() {
            return None;
        }
        if let Some(number) = self.wants.get(text) {
            return Some(*number);
        }
        self.last += 1;
        rows.wants.push(Row(self.last, Some(text.as_bytes().to_vec())));
        self.wants.insert(Arc::clone(text), self.last);
        Some(self.last)
    }
}

/// Whether both say the same, as far as the journal keeps it.
fn same(known: &Arc<BackendSpec>, now: &Arc<BackendSpec>) -> bool {
    let kept = |spec: &BackendSpec| (spec.address, spec.ports.clone(), spec.labels.clone());
    Arc::ptr_eq(known, now) || kept(known) == kept(now)
}
