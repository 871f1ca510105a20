//! Which backends of one scope have a label.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// Positions of backends by exact label. Each list is in ascending order.
#[derive(Debug, Default)]
pub(super) struct LabelIndex {
    all: Vec<u32>,
    with: HashMap<String, HashMap<String, Vec<u32>>>,
}

impl LabelIndex {
    /// Enters a backend; its position is above all that were entered before.
    pub(super) fn add(&mut self, position: u32, labels: &BTreeMap<String, String>) {
        self.all.push(position);
        for (key, value) in labels {
            self.list(key, value).push(position);
        }
    }

    /// The backends that have all of the labels. Costs a binary search per backend that has the rarest
    /// of them and per further label.
    pub(super) fn having<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Cow<'_, [u32]> {
        let mut lists: Vec<&[u32]> = labels.map(|(key, value)| self.with(key, value)).collect();
        lists.sort_unstable_by_key(|list| list.len());
        match &lists[..] {
            [] => Cow::Borrowed(&self.all),
            [only] => Cow::Borrowed(only),
            [rarest, others @ ..] => {
                let in_all = |position: &u32| others.iter().all(|list| list.binary_search(position).is_ok());
                Cow::Owned(rarest.iter().copied().filter(in_all).collect())
            }
        }
    }

    fn with(&self, key: &str, value: &str) -> &[u32] {
        self.with.get(key).and_then(|values| values.get(value)).map_or(&[], Vec::as_slice)
    }

    /// Looks first and inserts then, so that a label that is known costs no copy of its text.
    fn list(&mut self, key: &str, value: &str) -> &mut Vec<u32> {
        if !self.with.contains_key(key) {
            self.with.insert(key.to_owned(), HashMap::new());
        }
        let values = self.with.get_mut(key).expect("a key that was inserted above");
        if !values.contains_key(value) {
            values.insert(value.to_owned(), Vec::new());
        }
        values.get_mut(value).expect("a value that was inserted above")
    }
}
