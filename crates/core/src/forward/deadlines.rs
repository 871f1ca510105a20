//! Deadlines: what becomes due in a worker, and what is done then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::clients::ClientKey;
use super::message::Effect;
use super::pool;
use super::upstreams::{Phase, UpstreamKey};
use super::{Arrival, Context, Forwarder, SLOT_REST};
use crate::counters::{Dropped, Event};
use crate::session::{SessionId, UpstreamIndex};
use crate::settings::Settings;
use crate::time::Moment;

/// How many deadlines one call of [`Forwarder::handle_timeout`] acts on at most.
const BUDGET: usize = 512;

/// How many outdated deadlines are left lying at least before they are cleared away.
const OUTDATED: usize = 1024;

/// What may be due. Each is checked against what it is about: it may have been outdated since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A client half may have been idle for too long.
    Idle(ClientKey, SessionId),
    /// The old address of a resumed session is given up.
    Linger(ClientKey, SessionId),
    /// An upstream half ends its grace or its rest.
    Upstream(UpstreamKey, SessionId),
    /// A held client's token has not come.
    Held(ClientKey),
    /// An upstream socket may have been unused for long enough to be closed.
    Unused(UpstreamIndex),
    /// Every client of before the restart has been heard of, or its session has ended.
    Restored,
}

/// What becomes due when. Outdated deadlines stay in it for a while: see [`Forwarder::schedule`].
#[derive(Debug, Default)]
pub(super) struct Deadlines(BinaryHeap<Reverse<(Moment, Timer)>>);

impl Deadlines {
    fn next(&self) -> Option<Moment> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    fn pop_due(&mut self, now: Moment) -> Option<(Moment, Timer)> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop().map(|Reverse(due)| due)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Forwarder {
    /// When [`Forwarder::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.deadlines.next()
    }

    /// Acts on the deadlines that have passed, a bounded number a call.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BUDGET {
            let Some((at, timer)) = self.deadlines.pop_due(cx.now) else { return };
            if self.is_meant(at, timer) {
                self.act(timer, cx);
            }
        }
    }

    /// Enters a deadline. Those that are outdated are cleared away once they outnumber the others, so
    /// that a client that roams without end does not fill the memory.
    pub(super) fn schedule(&mut self, at: Moment, timer: Timer) {
        self.deadlines.0.push(Reverse((at, timer)));
        let current = 2 * self.clients.len() + self.upstreams.len() + self.pool.open_sockets();
        if self.deadlines.len() > 2 * (current + self.hold.clients()) + OUTDATED {
            let mut deadlines = std::mem::take(&mut self.deadlines);
            deadlines.0.retain(|Reverse((at, timer))| self.is_meant(*at, *timer));
            self.deadlines = deadlines;
        }
    }

    /// Whether that is still the deadline of what it is about.
    fn is_meant(&mut self, at: Moment, timer: Timer) -> bool {
        match timer {
            Timer::Idle(key, id) => self
                .clients
                .get_mut(&key)
                .is_some_and(|half| half.current() == Some(id) && half.idle_at == at),
            Timer::Linger(key, id) => {
                self.clients.get_mut(&key).is_some_and(|half| half.session == id && half.lingers == Some(at))
            }
            Timer::Upstream(key, id) => {
                self.upstreams.get_mut(&key).is_some_and(|half| half.session == id && half.due_at == at)
            }
            Timer::Held(key) => self.hold.until(&key) == Some(at),
            Timer::Unused(index) => self.pool.is_unused(index),
            Timer::Restored => true,
        }
    }

    fn act(&mut self, timer: Timer, cx: &mut Context<'_>) {
        match timer {
            Timer::Idle(key, id) => self.idle(key, id, cx),
            Timer::Linger(key, _) => self.clients.remove(&key),
            Timer::Upstream(key, id) => self.upstream_due(key, id, cx.now),
            Timer::Held(key) => self.token_overdue(key, cx),
            Timer::Restored => self.expect_nobody(),
            Timer::Unused(index) => {
                if let Some(socket) = self.pool.close_if_unused(index) {
                    self.effects.push_back(Effect::CloseUpstream { index, handle: socket.handle() });
                }
            }
        }
    }

    /// Ends a session that nothing has used, unless another worker has just resumed it: that counts as
    /// a use, and is only seen for certain under the lock.
    fn idle(&mut self, key: ClientKey, id: SessionId, cx: &mut Context<'_>) {
        let mut locked = cx.lock();
        let Some(half) = self.clients.get_mut(&key) else { return };
        let ends = half.activity.last() + self.settings.session_timeout;
        if ends > locked.now {
            self.watch_idle(key, ends);
        } else if locked.ledger.is_at(id, key.client()) {
            self.end_session(key, id, Event::EndedIdle, &mut locked);
        }
    }

    /// Looks at the session of that client half again when it may have been idle for too long.
    pub(super) fn watch_idle(&mut self, key: ClientKey, at: Moment) {
        if let Some(half) = self.clients.get_mut(&key) {
            half.idle_at = at;
            let session = half.session;
            self.schedule(at, Timer::Idle(key, session));
        }
    }

    fn upstream_due(&mut self, key: UpstreamKey, id: SessionId, now: Moment) {
        let Some(half) = self.upstreams.get_mut(&key) else { return };
        match half.phase {
            Phase::Live => {}
            Phase::Grace(until) | Phase::Rest(until) if until > now => {
                self.watch_slot(key, until);
            }
            Phase::Grace(_) => {
                half.phase = Phase::Rest(now + SLOT_REST);
                self.watch_slot(key, now + SLOT_REST);
            }
            Phase::Rest(_) => {
                self.upstreams.remove(&key);
                self.left.remove(&(id, key.backend()));
                if self.pool.release(key.index(), key.backend()) {
                    self.schedule(now + pool::UNUSED_FOR, Timer::Unused(key.index()));
                }
            }
        }
    }

    /// Looks at the phase of that slot again when it may be over.
    pub(super) fn watch_slot(&mut self, key: UpstreamKey, at: Moment) {
        if let Some(half) = self.upstreams.get_mut(&key) {
            half.due_at = at;
            let session = half.session;
            self.schedule(at, Timer::Upstream(key, session));
        }
    }

    /// The held client's token has not come in time: it goes to the default endpoint.
    fn token_overdue(&mut self, key: ClientKey, cx: &mut Context<'_>) {
        let Some(local) = self.hold.local(&key) else { return };
        let arrival = Arrival { listener: key.listener(), client: key.client(), local };
        match self.open_default(&arrival, cx) {
            Ok(key) => self.release_held(key, cx.now),
            Err(refusal) => {
                for _ in self.hold.take(&key) {
                    self.counters.dropped(Dropped::Refused(refusal));
                }
            }
        }
    }

    /// Takes new settings; a shorter session timeout holds for running sessions at once.
    pub(super) fn configure(&mut self, settings: Arc<Settings>, now: Moment) {
        let shorter = settings.session_timeout < self.settings.session_timeout;
        self.settings = settings;
        if shorter {
            let timeout = self.settings.session_timeout;
            let ends: Vec<_> =
                self.clients.iter().map(|(key, half)| (key, half.activity.last() + timeout)).collect();
            for (key, at) in ends {
                self.watch_idle(key, at.max(now));
            }
        }
    }
}
