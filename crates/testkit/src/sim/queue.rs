//! What is yet to happen, in order of time and then of entry.

use std::collections::BTreeMap;

use udp_director_core::Moment;

/// Events by their moment. What was entered first for a moment happens first.
#[derive(Debug)]
pub(super) struct Queue<E> {
    events: BTreeMap<(Moment, u64), E>,
    entered: u64,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Queue<E> {
        Queue { events: BTreeMap::new(), entered: 0 }
    }

    pub(super) fn push(&mut self, at: Moment, event: E) {
        self.events.insert((at, self.entered), event);
        self.entered += 1;
    }

    pub(super) fn next_at(&self) -> Option<Moment> {
        self.events.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn pop(&mut self) -> Option<E> {
        self.events.pop_first().map(|(_, event)| event)
    }
}
