//! Fake upstream sockets: each has a number that stands for the director's port.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use udp_director_core::{UpstreamIndex, UpstreamSocket, WorkerId};

/// The upstream sockets of all workers, by number. No number is used twice.
#[derive(Debug, Default)]
pub(super) struct Sockets(HashMap<i32, Socket>);

#[derive(Debug)]
struct Socket {
    worker: WorkerId,
    index: UpstreamIndex,
    /// Whether its worker still reads it.
    open: bool,
    /// Lives as long as a forwarder may send on it.
    held: Weak<FakeSocket>,
}

#[derive(Debug)]
struct FakeSocket(i32);

impl UpstreamSocket for FakeSocket {
    fn handle(&self) -> i32 {
        self.0
    }
}

impl Sockets {
    pub(super) fn open(&mut self, worker: WorkerId, index: UpstreamIndex) -> Arc<dyn UpstreamSocket> {
        let handle = self.0.len() as i32 + 1;
        let socket = Arc::new(FakeSocket(handle));
        self.0.insert(handle, Socket { worker, index, open: true, held: Arc::downgrade(&socket) });
        socket
    }

    pub(super) fn close(&mut self, worker: WorkerId, index: UpstreamIndex) {
        for socket in self.0.values_mut().filter(|socket| (socket.worker, socket.index) == (worker, index)) {
            socket.open = false;
        }
    }

    /// Who reads that socket; `None` once it is closed.
    pub(super) fn reader(&self, handle: i32) -> Option<(WorkerId, UpstreamIndex)> {
        let socket = self.0.get(&handle).filter(|socket| socket.open)?;
        Some((socket.worker, socket.index))
    }

    /// Whether a descriptor of that number could still be sent on.
    pub(super) fn can_send(&self, handle: i32) -> bool {
        self.0.get(&handle).is_some_and(|socket| socket.held.strong_count() > 0)
    }

    /// How many are read.
    pub(super) fn open_count(&self) -> usize {
        self.0.values().filter(|socket| socket.open).count()
    }
}
