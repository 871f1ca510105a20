//! Restoring: sessions of before a restart, put into the worker that has their upstream sockets again.
//!
//! The kernel decides which worker a client's datagrams arrive at, and after a restart that may be
//! another. So each worker knows all restored clients for as long as one of them may not have been heard
//! of: who is unknown here but among them is taken over from the worker that has him. Strangers cost a
//! look into a table that nobody writes, and no lock.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::clients::{ClientHalf, ClientKey};
use super::deadlines::Timer;
use super::pool;
use super::upstreams::{Phase, UpstreamHalf, UpstreamKey};
use super::{Arrival, Context, Forwarder, Return};
use crate::addr::ClientAddr;
use crate::ledger::{Opened, SessionRecord};
use crate::session::{SessionId, Upstream, UpstreamIndex, UpstreamSocket};
use crate::settings::{ListenerId, Protocol};
use crate::time::Moment;

/// Which session each client had before the restart. Never changed: as large as what was restored.
#[derive(Debug, Default)]
pub struct RestoredClients(HashMap<ClientKey, SessionId, RandomState>);

impl FromIterator<(ListenerId, ClientAddr, SessionId)> for RestoredClients {
    fn from_iter<T: IntoIterator<Item = (ListenerId, ClientAddr, SessionId)>>(clients: T) -> RestoredClients {
        let keyed = clients.into_iter().map(|(listener, client, id)| (ClientKey::new(listener, client), id));
        RestoredClients(keyed.collect())
    }
}

impl Forwarder {
    /// Takes a socket in that is open on a port of before the restart. `None` where no more may be open.
    pub fn adopt(&mut self, v6: bool, socket: Arc<dyn UpstreamSocket>) -> Option<UpstreamIndex> {
        self.pool.adopt(v6, socket)
    }

    /// Restores a session on a socket that was adopted; says whether it could be.
    pub fn restore(&mut self, index: UpstreamIndex, record: &SessionRecord, cx: &mut Context<'_>) -> bool {
        let Some(socket) = self.pool.take(index, record.backend_addr) else { return false };
        let upstream = Upstream { worker: self.worker, index, socket };
        let mut locked = cx.lock();
        let listener = locked.ledger.listener_at(Protocol::Udp, record.port);
        let opened = locked.ledger.restore_session(record, upstream.clone(), locked.now);
        let (Some(listener), Some(opened)) = (listener, opened) else {
            self.pool.release(index, record.backend_addr);
            return false;
        };
        let key = ClientKey::new(listener, record.client);
        self.put_halves(key, record, upstream, opened, locked.now);
        if record.parked {
            self.park_here(key, record.id, &mut locked);
        }
        true
    }

    fn put_halves(
        &mut self,
        key: ClientKey,
        record: &SessionRecord,
        upstream: Upstream,
        opened: Opened,
        now: Moment,
    ) {
        let slot = UpstreamKey::new(upstream.index, record.backend_addr);
        let half = UpstreamHalf {
            session: opened.id,
            generation: opened.generation,
            to: Return { listener: key.listener(), to: record.client, from: record.local },
            activity: Arc::clone(&opened.activity),
            phase: Phase::Live,
            due_at: Moment::default(),
        };
        self.upstreams.insert(slot, half);
        let half = ClientHalf {
            session: opened.id,
            generation: opened.generation,
            local: record.local,
            backend: record.backend_addr,
            handle: upstream.socket.handle(),
            upstream,
            activity: opened.activity,
            announce: false,
            parked: false,
            lingers: None,
            called_back: None,
            idle_at: now,
        };
        self.clients.insert(key, half);
        self.watch_idle(key, now + self.settings.session_timeout);
    }

    /// Closes an adopted socket after a while on which nothing could be restored.
    pub fn settle(&mut self, index: UpstreamIndex, now: Moment) {
        if self.pool.is_unused(index) {
            self.schedule(now + pool::UNUSED_FOR, Timer::Unused(index));
        }
    }

    /// Knows the clients of before the restart until each has been heard of or been idle for too long.
    pub(super) fn expect(&mut self, clients: Arc<RestoredClients>, now: Moment) {
        self.restored = Some(clients);
        self.schedule(now + self.settings.session_timeout, Timer::Restored);
    }

    pub(super) fn expect_nobody(&mut self) {
        self.restored = None;
    }

    /// Takes a client over that another worker has since the restart, but whose datagrams arrive here.
    /// Says whether it has.
    pub(super) fn claim(&mut self, key: ClientKey, arrival: &Arrival, cx: &mut Context<'_>) -> bool {
        let Some(&id) = self.restored.as_ref().and_then(|clients| clients.0.get(&key)) else { return false };
        if self.clients.get_mut(&key).is_some() {
            return false;
        }
        let mut locked = cx.lock();
        if !locked.ledger.is_at(id, arrival.client) {
            return false;
        }
        let Some(taken) = locked.ledger.take_over(id, self.worker) else { return false };
        taken.activity.to_backend().touch(locked.now);
        self.leave(arrival.listener, id, &taken, locked.now);
        self.carry_on(arrival, id, taken, locked.now);
        true
    }
}
