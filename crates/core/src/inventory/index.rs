//! Which backends of one scope have a label.

use std::collections::{BTreeMap, HashMap};

/// Positions of backends by exact label. Each list is in ascending order.
#[derive(Debug, Default)]
pub(super) struct LabelIndex {
    positions: HashMap<String, HashMap<String, Vec<usize>>>,
}

impl LabelIndex {
    /// Enters a backend; its position is above all that were entered before.
    pub(super) fn add(&mut self, position: usize, labels: &BTreeMap<String, String>) {
        for (key, value) in labels {
            self.list(key, value).push(position);
        }
    }

    /// The shortest list of those for the given labels; `None` without a label.
    pub(super) fn shortest<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Option<&[usize]> {
        labels.map(|(key, value)| self.with(key, value)).min_by_key(|positions| positions.len())
    }

    fn with(&self, key: &str, value: &str) -> &[usize] {
        self.positions.get(key).and_then(|values| values.get(value)).map_or(&[], Vec::as_slice)
    }

    /// Looks first and inserts then, so that a label that is known costs no copy of its text.
    fn list(&mut self, key: &str, value: &str) -> &mut Vec<usize> {
        if !self.positions.contains_key(key) {
            self.positions.insert(key.to_owned(), HashMap::new());
        }
        let values = self.positions.get_mut(key).expect("a key that was inserted above");
        if !values.contains_key(value) {
            values.insert(value.to_owned(), Vec::new());
        }
        values.get_mut(value).expect("a value that was inserted above")
    }
}
