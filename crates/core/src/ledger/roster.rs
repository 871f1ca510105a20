//! The roster: which sessions are on a backend.

use std::collections::HashMap;

use crate::inventory::BackendId;
use crate::session::SessionId;

/// Sessions by backend. Each of them knows its place in the list of its backend, so that to come and
/// to go costs the same however many are there.
#[derive(Debug, Default)]
pub(super) struct Roster(HashMap<BackendId, Vec<SessionId>>);

impl Roster {
    /// Enters a session. Gives its place.
    pub(super) fn enter(&mut self, backend: &BackendId, session: SessionId) -> u32 {
        let list = match self.0.get_mut(backend) {
            Some(list) => list,
            None => self.0.entry(backend.clone()).or_default(),
        };
        list.push(session);
        place_of(list.len() - 1)
    }

    /// Takes out the session at that place. Gives the one that has the place from now on, if any.
    pub(super) fn leave(&mut self, backend: &BackendId, place: u32) -> Option<SessionId> {
        let list = self.0.get_mut(backend)?;
        list.swap_remove(place as usize);
        let moved = list.get(place as usize).copied();
        if list.is_empty() {
            self.0.remove(backend);
        }
        moved
    }

    /// The sessions on a backend, in no order.
    pub(super) fn on(&self, backend: &BackendId) -> &[SessionId] {
        self.0.get(backend).map_or(&[], Vec::as_slice)
    }

    /// Every backend that has sessions, in no order.
    pub(super) fn backends(&self) -> impl Iterator<Item = &BackendId> {
        self.0.keys()
    }
}

fn place_of(position: usize) -> u32 {
    u32::try_from(position).expect("fewer sessions than 2^32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_of_who_leaves_goes_to_the_last() {
        let (mut roster, backend) = (Roster::default(), BackendId::new("a"));
        let places: Vec<u32> = (0..3).map(|n| roster.enter(&backend, SessionId(n))).collect();
        assert_eq!(places, [0, 1, 2]);
        assert_eq!(roster.leave(&backend, 0), Some(SessionId(2)));
        assert_eq!(roster.on(&backend), [SessionId(2), SessionId(1)]);
        assert_eq!(roster.leave(&backend, 1), None);
        assert_eq!(roster.leave(&backend, 0), None);
        assert_eq!((roster.on(&backend).len(), roster.backends().count()), (0, 0));
    }
}
