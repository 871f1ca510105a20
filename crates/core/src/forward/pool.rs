//! The pool of upstream sockets: a backend sees each of its players at another of our ports, and
//! players on different backends share a port. So the pool needs as many sockets as the fullest
//! backend has players in this worker, not as many as there are players.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::OpenUpstream;
use crate::addr::BackendAddr;
use crate::session::{UpstreamIndex, UpstreamSocket};

/// How long a socket stays open that no slot uses. Far longer than any batch of datagrams that names
/// its handle takes to be sent.
pub(super) const UNUSED_FOR: Duration = Duration::from_secs(10);

/// A worker's upstream sockets and the slots (socket, backend) in use on them, resting ones included.
/// Bounded by `max`: beyond it no slot is given.
#[derive(Debug)]
pub(super) struct Pool {
    sockets: Vec<Place>,
    slots: HashMap<BackendAddr, Bits>,
    max: u32,
    open: usize,
}

/// A place for a socket. Its family stays, so that a backend's bits keep their meaning.
#[derive(Debug)]
struct Place {
    v6: bool,
    socket: Option<Arc<dyn UpstreamSocket>>,
    slots: u32,
}

/// Which places a backend has a slot on.
#[derive(Debug, Default)]
struct Bits {
    words: Vec<u64>,
    taken: u32,
}

impl Pool {
    pub(super) fn new(max: u32) -> Pool {
        Pool { sockets: Vec::new(), slots: HashMap::new(), max, open: 0 }
    }

    /// Takes a slot for a session with that backend: on the first open socket on which the backend
    /// has none, else on a new one. `None` where no socket is to be had.
    pub(super) fn acquire(
        &mut self,
        backend: BackendAddr,
        open: &mut OpenUpstream<'_>,
    ) -> Option<(UpstreamIndex, Arc<dyn UpstreamSocket>)> {
        let v6 = backend.socket_addr().is_ipv6();
        let index = match self.free_place(backend, v6, true) {
            Some(index) => index,
            None => self.open_socket(backend, v6, open)?,
        };
        self.slots.entry(backend).or_default().set(index);
        let place = &mut self.sockets[index];
        place.slots += 1;
        let socket = place.socket.as_ref().expect("a slot is taken on an open socket alone");
        Some((UpstreamIndex(index as u32), Arc::clone(socket)))
    }

    /// Takes a socket in that was opened for slots of before a restart. `None` beyond the bound.
    pub(super) fn adopt(&mut self, v6: bool, socket: Arc<dyn UpstreamSocket>) -> Option<UpstreamIndex> {
        let index = self.sockets.len();
        if index >= self.max as usize {
            return None;
        }
        self.sockets.push(Place { v6, socket: Some(socket), slots: 0 });
        self.open += 1;
        Some(UpstreamIndex(index as u32))
    }

    /// Takes the slot of a backend on that very socket. `None` where the socket is closed or of another
    /// family, or the backend has a slot there already.
    pub(super) fn take(
        &mut self,
        index: UpstreamIndex,
        backend: BackendAddr,
    ) -> Option<Arc<dyn UpstreamSocket>> {
        let place = self.sockets.get_mut(index.0 as usize)?;
        let socket = place.socket.clone().filter(|_| place.v6 == backend.socket_addr().is_ipv6())?;
        let bits = self.slots.entry(backend).or_default();
        if bits.first_clear(index.0 as usize) != index.0 as usize {
            return None;
        }
        bits.set(index.0 as usize);
        place.slots += 1;
        Some(socket)
    }

    /// The first place of that family, open or closed, on which the backend has no slot.
    fn free_place(&self, backend: BackendAddr, v6: bool, open: bool) -> Option<usize> {
        let bits = self.slots.get(&backend);
        let fits = |place: &Place| place.v6 == v6 && place.socket.is_some() == open;
        let mut from = 0;
        loop {
            let index = bits.map_or(from, |bits| bits.first_clear(from));
            match self.sockets.get(index) {
                None => return None,
                Some(place) if fits(place) => return Some(index),
                Some(_) => from = index + 1,
            }
        }
    }

    fn open_socket(&mut self, backend: BackendAddr, v6: bool, open: &mut OpenUpstream<'_>) -> Option<usize> {
        let index = match self.free_place(backend, v6, false) {
            Some(closed) => closed,
            None if self.sockets.len() < self.max as usize => self.sockets.len(),
            None => return None,
        };
        let socket = open(v6, UpstreamIndex(index as u32))?;
        if index == self.sockets.len() {
            self.sockets.push(Place { v6, socket: None, slots: 0 });
        }
        self.sockets[index].socket = Some(socket);
        self.open += 1;
        Some(index)
    }

    /// The socket at that place, if it is open.
    pub(super) fn socket(&self, index: UpstreamIndex) -> Option<Arc<dyn UpstreamSocket>> {
        self.sockets.get(index.0 as usize)?.socket.clone()
    }

    /// Gives a slot back; says whether its socket is unused now.
    pub(super) fn release(&mut self, index: UpstreamIndex, backend: BackendAddr) -> bool {
        let Some(bits) = self.slots.get_mut(&backend) else { return false };
        bits.clear(index.0 as usize);
        if bits.taken == 0 {
            self.slots.remove(&backend);
        }
        let place = &mut self.sockets[index.0 as usize];
        place.slots -= 1;
        place.slots == 0
    }

    pub(super) fn is_unused(&self, index: UpstreamIndex) -> bool {
        self.sockets[index.0 as usize].slots == 0
    }

    /// Gives up and gives out a socket on which there is no slot.
    pub(super) fn close_if_unused(&mut self, index: UpstreamIndex) -> Option<Arc<dyn UpstreamSocket>> {
        let place = self.sockets.get_mut(index.0 as usize).filter(|place| place.slots == 0)?;
        let socket = place.socket.take()?;
        self.open -= 1;
        Some(socket)
    }

    pub(super) fn open_sockets(&self) -> usize {
        self.open
    }
}

impl Bits {
    fn first_clear(&self, from: usize) -> usize {
        let mut word = from / 64;
        let mut mask = !0_u64 << (from % 64);
        while let Some(bits) = self.words.get(word) {
            let clear = !bits & mask;
            if clear != 0 {
                return word * 64 + clear.trailing_zeros() as usize;
            }
            word += 1;
            mask = !0;
        }
        from.max(word * 64)
    }

    fn set(&mut self, index: usize) {
        if self.words.len() <= index / 64 {
            self.words.resize(index / 64 + 1, 0);
        }
        self.words[index / 64] |= 1 << (index % 64);
        self.taken += 1;
    }

    fn clear(&mut self, index: usize) {
        self.words[index / 64] &= !(1 << (index % 64));
        self.taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[derive(Debug)]
    struct Fake(i32);

    impl UpstreamSocket for Fake {
        fn handle(&self) -> i32 {
            self.0
        }
    }

    fn backend(n: u16) -> BackendAddr {
        BackendAddr::new(([192, 0, 2, 1], n).into())
    }

    fn open_any(_: bool, index: UpstreamIndex) -> Option<Arc<dyn UpstreamSocket>> {
        Some(Arc::new(Fake(index.0 as i32)))
    }

    #[test]
    fn ten_thousand_players_of_one_backend_get_ten_thousand_sockets() {
        let mut pool = Pool::new(10_000);
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let (index, _) = pool.acquire(backend(1), &mut open_any).expect("a slot");
            assert!(seen.insert(index), "{index:?} twice");
        }
        assert!(pool.acquire(backend(1), &mut open_any).is_none(), "beyond the bound");
        assert!(pool.acquire(backend(2), &mut open_any).is_some(), "another backend shares a socket");
    }

    #[test]
    fn hundred_players_on_each_of_a_thousand_backends_share_a_hundred_sockets() {
        let mut pool = Pool::new(1_000);
        for player in 0..100_000_u32 {
            pool.acquire(backend((player % 1_000) as u16), &mut open_any).expect("a slot");
        }
        assert_eq!(pool.open_sockets(), 100);
    }

    #[test]
    fn a_released_slot_is_given_again_and_an_unused_socket_closes() {
        let mut pool = Pool::new(2);
        let (first, _) = pool.acquire(backend(1), &mut open_any).expect("a slot");
        let (second, _) = pool.acquire(backend(1), &mut open_any).expect("a slot");
        assert!(pool.release(second, backend(1)));
        pool.close_if_unused(second);
        pool.close_if_unused(first);
        assert_eq!(pool.open_sockets(), 1, "the first is in use");
        assert_eq!(pool.acquire(backend(1), &mut open_any).expect("a slot").0, second);
    }

    #[test]
    fn families_do_not_share_sockets() {
        let mut pool = Pool::new(10);
        let v6 = BackendAddr::new("[2001:db8::1]:1".parse().expect("an address"));
        let mut families = Vec::new();
        let mut open = |v6: bool, index| {
            families.push(v6);
            open_any(v6, index)
        };
        let four = pool.acquire(backend(1), &mut open).expect("a slot").0;
        let six = pool.acquire(v6, &mut open).expect("a slot").0;
        assert_ne!(four, six);
        assert_eq!(families, [false, true]);
    }

    #[test]
    fn a_socket_that_cannot_be_opened_leaves_the_pool_as_it_was() {
        let mut pool = Pool::new(10);
        assert!(pool.acquire(backend(1), &mut |_, _| None).is_none());
        assert_eq!(pool.acquire(backend(1), &mut open_any).expect("a slot").0, UpstreamIndex(0));
    }
}
