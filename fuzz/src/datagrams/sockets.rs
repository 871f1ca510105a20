//! Upstream sockets that are numbers.

use std::sync::{Arc, Weak};

use udp_director_core::{UpstreamIndex, UpstreamSocket, WorkerId};

/// Every upstream socket there ever was; a handle is its place here.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<Opened>);

#[derive(Debug)]
struct Opened {
    worker: WorkerId,
    index: UpstreamIndex,
    /// Whether its worker still reads it.
    read: bool,
    /// Lives while a forwarder may send on it.
    held: Weak<Numbered>,
}

#[derive(Debug)]
struct Numbered(i32);

impl UpstreamSocket for Numbered {
    fn handle(&self) -> i32 {
        self.0
    }
}

impl Sockets {
    /// Opens one, unless as many as may be are open.
    pub(super) fn open(&mut self, worker: WorkerId, index: UpstreamIndex) -> Option<Arc<dyn UpstreamSocket>> {
        if self.0.iter().filter(|socket| socket.read).count() >= MOST_OPEN {
            return None;
        }
        let taken = |socket: &Opened| socket.read && (socket.worker, socket.index) == (worker, index);
        assert!(!self.0.iter().any(taken), "an index is one socket's");
        let socket = Arc::new(Numbered(self.0.len() as i32));
        self.0.push(Opened { worker, index, read: true, held: Arc::downgrade(&socket) });
        Some(socket)
    }

    pub(super) fn close(&mut self, handle: i32) {
        let socket = self.0.get_mut(handle as usize).expect("what is closed was opened");
        assert!(std::mem::take(&mut socket.read), "a socket is closed once");
    }

    pub(super) fn can_send(&self, handle: i32) -> bool {
        self.0.get(handle as usize).is_some_and(|socket| socket.held.strong_count() > 0)
    }

    /// One of those that are read.
    pub(super) fn pick(&self, number: usize) -> Option<(WorkerId, UpstreamIndex)> {
        let read: Vec<_> = self.0.iter().filter(|socket| socket.read).collect();
        let socket = read.get(number % read.len().max(1))?;
        Some((socket.worker, socket.index))
    }

    pub(super) fn open_count(&self) -> usize {
        self.0.iter().filter(|socket| socket.read).count()
    }
}

const MOST_OPEN: usize = 5;
