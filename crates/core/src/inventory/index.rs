//! Which backends of one scope have a label.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;

/// Positions of backends by exact label. Each list is in ascending order. A copy shares all that is not
/// changed afterwards.
#[derive(Clone, Debug, Default)]
pub(super) struct LabelIndex {
    all: Vec<u32>,
    with: HashMap<String, Arc<Values>>,
}

/// For each of some values of a label, the backends that have it.
type Lists<'a> = SmallVec<[&'a [u32]; 4]>;

/// By the label's value.
type Values = HashMap<Arc<str>, Arc<Vec<u32>>>;

impl LabelIndex {
    /// Enters a backend.
    pub(super) fn add(&mut self, position: u32, labels: &BTreeMap<String, String>) {
        insert(&mut self.all, position);
        for (key, value) in labels {
            self.add_label(position, key, value);
        }
    }

    /// Takes a backend out that was entered with these labels.
    pub(super) fn remove(&mut self, position: u32, labels: &BTreeMap<String, String>) {
        remove(&mut self.all, position);
        for (key, value) in labels {
            self.remove_label(position, key, value);
        }
    }

    /// Gives a backend that was entered other labels.
    pub(super) fn relabel(
        &mut self,
        position: u32,
        before: &BTreeMap<String, String>,
        now: &BTreeMap<String, String>,
    ) {
        for (key, value) in before.iter().filter(|(key, value)| now.get(*key) != Some(*value)) {
            self.remove_label(position, key, value);
        }
        for (key, value) in now.iter().filter(|(key, value)| before.get(*key) != Some(*value)) {
            self.add_label(position, key, value);
        }
    }

    /// The backends that have each of the labels with one of its values. Costs a binary search per
    /// backend that meets the most selective of them and per further value.
    pub(super) fn having<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a [String])>) -> Cow<'_, [u32]> {
        let mut lists: Vec<Lists<'_>> =
            labels.map(|(key, values)| values.iter().map(|value| self.with(key, value)).collect()).collect();
        lists.sort_unstable_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>());
        let Some((rarest, others)) = lists.split_first() else { return Cow::Borrowed(&self.all) };
        let met =
            |lists: &Lists<'_>, position: &u32| lists.iter().any(|list| list.binary_search(position).is_ok());
        let in_all = |position: &u32| others.iter().all(|lists| met(lists, position));
        match &rarest[..] {
            [only] if others.is_empty() => Cow::Borrowed(only),
            [only] => Cow::Owned(only.iter().copied().filter(in_all).collect()),
            lists => {
                // A backend has one value of a label, so it stands in one of these lists.
                let mut merged: Vec<u32> = lists.concat();
                merged.retain(in_all);
                merged.sort_unstable();
                merged.dedup();
                Cow::Owned(merged)
            }
        }
    }

    fn with(&self, key: &str, value: &str) -> &[u32] {
        self.with.get(key).and_then(|values| values.get(value)).map_or(&[], |list| list.as_slice())
    }

    /// Looks first and inserts then, so that a label that is known costs no copy of its text.
    fn add_label(&mut self, position: u32, key: &str, value: &str) {
        if !self.with.contains_key(key) {
            self.with.insert(key.to_owned(), Arc::default());
        }
        let values = Arc::make_mut(self.with.get_mut(key).expect("a key that was inserted above"));
        if !values.contains_key(value) {
            values.insert(value.into(), Arc::default());
        }
        let list = values.get_mut(value).expect("a value that was inserted above");
        insert(Arc::make_mut(list), position);
    }

    fn remove_label(&mut self, position: u32, key: &str, value: &str) {
        let Some(values) = self.with.get_mut(key).map(Arc::make_mut) else { return };
        let Some(list) = values.get_mut(value).map(Arc::make_mut) else { return };
        remove(list, position);
        if list.is_empty() {
            values.remove(value);
        }
        if values.is_empty() {
            self.with.remove(key);
        }
    }
}

fn insert(list: &mut Vec<u32>, position: u32) {
    match list.last() {
        Some(last) if *last >= position => {
            if let Err(at) = list.binary_search(&position) {
                list.insert(at, position);
            }
        }
        _ => list.push(position),
    }
}

fn remove(list: &mut Vec<u32>, position: u32) {
    if let Ok(at) = list.binary_search(&position) {
        list.remove(at);
    }
}
