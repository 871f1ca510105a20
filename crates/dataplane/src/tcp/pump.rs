//! The task of one TCP session: carries bytes, obeys letters, ends what nobody uses.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use udp_director_core::{Event, Moving, Refusal, Session, Target};

use super::flow::Flow;
use super::lanes::Lanes;
use super::mailbox::{Letter, Switch};
use super::origin::Origin;
use super::sessions::Lease;

/// A session that is about to be carried.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) lease: Lease,
    pub(super) backend: TcpStream,
    pub(super) forth: Flow,
}

/// Carries a session until it ends.
#[derive(Debug)]
pub(super) struct Pump {
    /// Before the connections, so that the seat is free when the client sees the end.
    lease: Lease,
    lanes: Lanes,
    origin: Origin,
    idle: Pin<Box<Sleep>>,
}

impl Pump {
    pub(super) fn new(client: TcpStream, origin: Origin, begun: Begun) -> Pump {
        let Begun { lease, backend, forth } = begun;
        let lanes = Lanes::new(client, backend, forth, lease.tally());
        let idle = Box::pin(sleep(Duration::ZERO));
        Pump { lease, lanes, origin, idle }
    }

    /// Carries bytes until the session ends; its lease tells what ended it.
    pub(super) async fn run(&mut self) {
        self.lease.why = self.carry().await;
    }

    /// Gives what ended the session.
    async fn carry(&mut self) -> Event {
        let mailbox = Arc::clone(&self.lease.mailbox);
        loop {
            tokio::select! {
                biased;
                letter = mailbox.next() => match letter {
                    Letter::Switch(switch) => self.switch(*switch),
                    Letter::Close(seat) => {
                        let ledger = self.lease.sessions.ledger.lock();
                        if ledger.is_on(self.lease.id, &seat) {
                            return Event::EndedBackendGone;
                        }
                    }
                    Letter::Reconsider => {}
                },
                () = poll_fn(|cx| self.lanes.poll(cx)) => return Event::EndedClosed,
                // Behind the lanes: what has come in time counts, however late its task runs.
                () = &mut self.idle => {}
            }
            let Some(span) = self.idle_for() else { return Event::EndedIdle };
            self.idle.as_mut().reset(Instant::now() + span);
        }
    }

    /// How much longer the session may stay unused; `None` when that is over.
    fn idle_for(&self) -> Option<Duration> {
        let sessions = &self.lease.sessions;
        let timeout = sessions.ledger.lock().settings().session_timeout;
        let left = (self.lease.activity.last() + timeout) - sessions.clock.now();
        (!left.is_zero()).then_some(left)
    }

    fn switch(&mut self, switch: Switch) {
        let outcome = self.enter_switch(&switch).map(|terms| {
            if let Some(beside) = switch.beside {
                self.lanes.switch(beside, terms.header, terms.grace);
            }
        });
        // Who asked may have gone.
        let _ = switch.reply.send(outcome);
    }

    /// Enters a migration in the ledger, if nothing has changed since the backend was connected to.
    fn enter_switch(&self, switch: &Switch) -> Result<Terms, Refusal> {
        if switch.beside.is_some() {
            self.lanes.check_switch()?;
        }
        let (sessions, id) = (&self.lease.sessions, self.lease.id);
        let mut ledger = sessions.ledger.lock();
        let target = ledger.admit_migration(id, &switch.by, sessions.clock.now())?;
        if target.addr != switch.addr {
            return Err(Refusal::BackendGone);
        }
        if switch.beside.is_none() && !is_on(ledger.session(id), &target) {
            return Err(Refusal::WorkerBusy);
        }
        let moving = Moving { session: id, by: &switch.by, addr: target.addr, upstream: None };
        ledger.migrate(moving, sessions.clock.now());
        sessions.counters.happened(switch.by.event());
        let settings = ledger.settings();
        Ok(Terms { header: self.origin.header(settings), grace: settings.migration_grace })
    }
}

/// How a backend is changed.
struct Terms {
    header: Vec<u8>,
    grace: Duration,
}

/// Says whether the session is on the target already: the same backend, and not only its address.
pub(super) fn is_on(session: Option<&Session>, target: &Target) -> bool {
    session.is_some_and(|session| {
        session.backend_addr == target.addr && session.seat.backend().spec.id == target.backend.spec.id
    })
}
