//! Memory: where sticky keys lead, and where players were who have just left.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use crate::inventory::BackendId;
use crate::time::Moment;

/// A player's or party's key, within a resource type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StickyKey(Arc<str>);

impl StickyKey {
    /// The key that a query for this type gives.
    pub fn new(resource_type: &str, key: &str) -> StickyKey {
        // No name of a resource type has a line's end in it.
        StickyKey(format!("{resource_type}\n{key}").into())
    }

    /// The key that [`StickyKey::text`] gave this for.
    pub fn from_text(text: &str) -> StickyKey {
        StickyKey(text.into())
    }

    /// The key as the query gave it.
    pub(super) fn key(&self) -> &str {
        self.0.split_once('\n').map_or(&*self.0, |(_, key)| key)
    }

    /// Type and key in one text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Where each sticky key leads: as long as a token or a session of it holds a seat, and for a while
/// after that. Bounded by the tokens that are known, and by a bound of its own for those at rest.
#[derive(Debug)]
pub(super) struct Sticky {
    held: HashMap<StickyKey, Stay>,
    past: Past<StickyKey>,
}

#[derive(Debug)]
struct Stay {
    backend: BackendId,
    /// How many tokens with that key have a seat.
    seats: u32,
}

impl Sticky {
    pub(super) fn new() -> Sticky {
        Sticky { held: HashMap::new(), past: Past::new() }
    }

    /// One more seat is taken for the key, there. The key leads there from now on.
    pub(super) fn hold(&mut self, key: &StickyKey, backend: &BackendId) {
        self.past.forget(key);
        let stay =
            self.held.entry(key.clone()).or_insert_with(|| Stay { backend: backend.clone(), seats: 0 });
        stay.backend = backend.clone();
        stay.seats += 1;
    }

    /// A seat of the key has been changed for one elsewhere: who has moved draws the others along.
    pub(super) fn lead(&mut self, key: &StickyKey, backend: &BackendId) {
        if let Some(stay) = self.held.get_mut(key) {
            stay.backend = backend.clone();
        }
    }

    /// A seat of the key is given back. After the last one the key is remembered until then.
    pub(super) fn release(&mut self, key: &StickyKey, until: Moment) {
        let Some(stay) = self.held.get_mut(key) else { return };
        stay.seats -= 1;
        if stay.seats == 0 {
            let stay = self.held.remove(key).expect("it was there a line before");
            self.past.remember(key.clone(), stay.backend, until);
        }
    }

    /// The keys by which nobody has a seat, as far as they are remembered.
    pub(super) fn resting(&self) -> impl Iterator<Item = &StickyKey> {
        self.past.places.keys()
    }

    /// Where the key led while somebody had a seat by it, and until when that is remembered.
    pub(super) fn rests(&self, key: &StickyKey) -> Option<(&BackendId, Moment)> {
        self.past.places.get(key).map(|(backend, until)| (backend, *until))
    }

    /// Nobody has a seat by the key, but it led there until a while ago.
    pub(super) fn remember(&mut self, key: StickyKey, backend: BackendId, until: Moment) {
        if !self.held.contains_key(&key) {
            self.past.remember(key, backend, until);
        }
    }

    /// Where the key leads as long as a token or session of it has a seat.
    pub(super) fn held(&self, key: &StickyKey) -> Option<&BackendId> {
        self.held.get(key).map(|stay| &stay.backend)
    }

    /// Where the key leads, if that is known.
    pub(super) fn get(&self, key: &StickyKey, now: Moment) -> Option<&BackendId> {
        self.held.get(key).map(|stay| &stay.backend).or_else(|| self.past.get(key, now))
    }

    /// Forgets what is over; at most so much a call, and says whether there may be more.
    pub(super) fn expire(&mut self, now: Moment, budget: usize) -> bool {
        self.past.expire(now, budget)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len() + self.past.places.len()
    }
}

/// Where something was, for a while. Beyond [`Past::MOST`] the oldest is forgotten first.
#[derive(Debug)]
pub(super) struct Past<K> {
    places: HashMap<K, (BackendId, Moment)>,
    /// Each that was remembered, also those that have been forgotten or remembered anew since.
    order: VecDeque<(Moment, K)>,
}

impl<K: Clone + Eq + Hash> Past<K> {
    /// How many are remembered at most.
    pub(super) const MOST: usize = 1 << 16;

    pub(super) fn new() -> Past<K> {
        Past { places: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn remember(&mut self, key: K, backend: BackendId, until: Moment) {
        while self.order.len() >= Past::<K>::MOST {
            self.forget_oldest();
        }
        self.places.insert(key.clone(), (backend, until));
        self.order.push_back((until, key));
    }

    pub(super) fn get(&self, key: &K, now: Moment) -> Option<&BackendId> {
        self.places.get(key).filter(|(_, until)| now < *until).map(|(backend, _)| backend)
    }

    fn forget(&mut self, key: &K) {
        self.places.remove(key);
    }

    /// Forgets what is over; at most so much a call, and says whether there may be more.
    pub(super) fn expire(&mut self, now: Moment, budget: usize) -> bool {
        for _ in 0..budget {
            if self.order.front().is_none_or(|(until, _)| *until > now) {
                return false;
            }
            self.forget_oldest();
        }
        true
    }

    fn forget_oldest(&mut self) {
        let Some((until, key)) = self.order.pop_front() else { return };
        if self.places.get(&key).is_some_and(|(_, last)| *last == until) {
            self.places.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::since_epoch(Duration::from_secs(seconds))
    }

    fn id(name: &str) -> BackendId {
        BackendId::new(name)
    }

    #[test]
    fn key_leads_to_its_backend_until_a_while_after_the_last_seat() {
        let (mut sticky, key) = (Sticky::new(), StickyKey::new("gs", "party"));
        sticky.hold(&key, &id("a"));
        sticky.hold(&key, &id("a"));
        sticky.release(&key, at(10));
        assert_eq!(sticky.get(&key, at(1_000)), Some(&id("a")), "a seat is held");
        sticky.release(&key, at(20));
        assert_eq!((sticky.get(&key, at(19)), sticky.get(&key, at(20))), (Some(&id("a")), None));
        assert!(!sticky.expire(at(20), 10));
        assert_eq!(sticky.len(), 0);
    }

    #[test]
    fn who_moves_draws_the_others_along() {
        let (mut sticky, key) = (Sticky::new(), StickyKey::new("gs", "party"));
        sticky.hold(&key, &id("a"));
        sticky.lead(&key, &id("b"));
        assert_eq!(sticky.get(&key, at(0)), Some(&id("b")));
        sticky.hold(&key, &id("c"));
        assert_eq!(sticky.get(&key, at(0)), Some(&id("c")));
        sticky.lead(&StickyKey::new("lobby", "party"), &id("d"));
        assert_eq!(sticky.len(), 1, "who has no seat leads nowhere");
    }

    #[test]
    fn key_that_comes_back_is_not_forgotten_with_its_first_stay() {
        let (mut sticky, key) = (Sticky::new(), StickyKey::new("gs", "party"));
        for until in [10, 30] {
            sticky.hold(&key, &id("a"));
            sticky.release(&key, at(until));
        }
        assert!(sticky.expire(at(10), 1), "there may be more");
        assert_eq!(sticky.get(&key, at(29)), Some(&id("a")));
    }

    #[test]
    fn oldest_is_forgotten_at_the_bound() {
        let mut past = Past::new();
        for number in 0..=Past::<usize>::MOST {
            past.remember(number, id("a"), at(10));
        }
        assert_eq!((past.get(&0, at(0)), past.get(&1, at(0))), (None, Some(&id("a"))));
        assert_eq!((past.places.len(), past.order.len()), (Past::<usize>::MOST, Past::<usize>::MOST));
    }
}
