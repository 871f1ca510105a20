//! Deadlines: what becomes due in a worker, and what is done then.

use std::cmp::Reverse;
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
}

impl Forwarder {
    /// When [`Forwarder::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Acts on the deadlines that have passed, a bounded number a call. Not to be called while
    /// datagrams of a batch still wait to be sent.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.parting.clear();
        for _ in 0..BUDGET {
            match self.timers.peek() {
                Some(Reverse((at, _))) if *at <= cx.now => {}
                _ => return,
            }
            let Some(Reverse((_, timer))) = self.timers.pop() else { return };
            self.act(timer, cx);
        }
    }

    fn act(&mut self, timer: Timer, cx: &mut Context<'_>) {
        match timer {
            Timer::Idle(key, id) => self.idle(key, id, cx),
            Timer::Linger(key, id) => {
                let over = |until: Moment| until <= cx.now;
                self.clients.remove_if(&key, |half| half.session == id && half.lingers.is_some_and(over));
            }
            Timer::Upstream(key, id) => self.upstream_due(key, id, cx.now),
            Timer::Held(key) => self.token_overdue(key, cx),
            Timer::Unused(index) => {
                if self.pool.close_if_unused(index) {
                    self.effects.push_back(Effect::CloseUpstream(index));
                }
            }
        }
    }

    fn idle(&mut self, key: ClientKey, id: SessionId, cx: &mut Context<'_>) {
        let Some(half) = self.clients.get_mut(&key) else { return };
        if half.current() != Some(id) {
            return;
        }
        let ends = half.activity.last() + self.settings.session_timeout;
        if ends > cx.now {
            self.timers.push(Reverse((ends, Timer::Idle(key, id))));
        } else {
            self.end_session(key, id, Event::EndedIdle, &mut cx.lock());
        }
    }

    fn upstream_due(&mut self, key: UpstreamKey, id: SessionId, now: Moment) {
        let Some(half) = self.upstreams.get_mut(&key).filter(|half| half.session == id) else { return };
        match half.phase {
            Phase::Live => {}
            Phase::Grace => {
                half.phase = Phase::Rest(now + SLOT_REST);
                self.timers.push(Reverse((now + SLOT_REST, Timer::Upstream(key, id))));
            }
            Phase::Rest(until) if until > now => {
                self.timers.push(Reverse((until, Timer::Upstream(key, id))));
            }
            Phase::Rest(_) => {
                self.upstreams.remove(&key);
                if self.pool.release(key.index(), key.backend()) {
                    self.timers.push(Reverse((now + pool::UNUSED_FOR, Timer::Unused(key.index()))));
                }
            }
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
            self.timers.retain(|Reverse((_, timer))| !matches!(timer, Timer::Idle(..)));
            self.timers.extend(self.clients.iter().map(|(key, half)| {
                let ends = half.activity.last() + timeout;
                Reverse((ends.max(now), Timer::Idle(key, half.session)))
            }));
        }
    }
}
