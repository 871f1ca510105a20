//! Both directions of a TCP session, and the change from one backend to the next.

use std::future::Future;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use udp_director_core::Refusal;

use crate::Taken;

use super::flow::{Broken, Carried, Flow};
use super::mailbox::Beside;
use super::rest::Rest;
use super::tally::{Tally, Way};

/// How many rounds one session goes before others get their turn: at most a megabyte each way.
const ROUNDS: usize = 16;

/// How long a side that got everything is still listened to after the other has been reset, so that
/// what the kernel has not sent to it yet arrives.
const LINGER: Duration = Duration::from_secs(5);

/// The two connections of a session and what flows between them.
#[derive(Debug)]
pub(super) struct Lanes {
    client: TcpStream,
    backend: TcpStream,
    forth: Flow,
    back: Flow,
    leaving: Option<Box<Leaving>>,
    linger: Option<Pin<Box<Sleep>>>,
    tally: Tally,
}

/// The backend that a migrated session is leaving.
#[derive(Debug)]
struct Leaving {
    stream: TcpStream,
    /// What the session has occupied beyond its two since it was migrated.
    _descriptor: Taken,
    /// What it has not taken yet; `None` once it has all and knows that no more comes.
    rest: Option<Rest>,
    /// It has sent its last.
    drained: bool,
    /// When its time is over.
    ends: Pin<Box<Sleep>>,
}

impl Lanes {
    pub(super) fn new(client: TcpStream, backend: TcpStream, forth: Flow, tally: Tally) -> Lanes {
        let back = Flow::new(Way::ToClient, Vec::new());
        Lanes { client, backend, forth, back, leaving: None, linger: None, tally }
    }

    /// Says whether the session can change its backend.
    ///
    /// # Errors
    /// [`Refusal::WorkerBusy`] while it is leaving another one, [`Refusal::NoSession`] where a side
    /// is lost or the client has been told that no more bytes come.
    pub(super) fn check_switch(&self) -> Result<(), Refusal> {
        if self.leaving.is_some() {
            return Err(Refusal::WorkerBusy);
        }
        let alive = self.back.is_open() && !self.forth.is_discarding();
        alive.then_some(()).ok_or(Refusal::NoSession)
    }

    /// Changes the backend. `first` is what the new one is told before all else; the old one keeps
    /// `grace` to take what was read for it and to send its last.
    pub(super) fn switch(&mut self, beside: Beside, first: Vec<u8>, grace: Duration) {
        let stream = std::mem::replace(&mut self.backend, beside.stream);
        let rest = Some(self.forth.redirect(first));
        let leaving = Leaving {
            stream,
            _descriptor: beside.descriptor,
            rest,
            drained: false,
            ends: Box::pin(sleep(grace)),
        };
        self.leaving = Some(Box::new(leaving));
    }

    /// Carries bytes; `Ready` means that both directions have ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let moved = [self.poll_forth(cx), self.poll_back(cx), self.poll_leave(cx), self.poll_linger(cx)];
            if self.is_over() {
                return Poll::Ready(());
            }
            if moved.iter().all(Poll::is_pending) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_over(&self) -> bool {
        let ended = self.forth.has_ended() && self.back.has_ended();
        ended || self.forth.has_aborted() || self.back.has_aborted()
    }

    fn poll_forth(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(leaving) = &mut self.leaving {
            ready!(leaving.poll_rest(&self.tally, cx));
        }
        let step = ready!(self.forth.poll(&mut self.client, &mut self.backend, &self.tally, cx));
        if let Err(broken) = step {
            break_off(broken, &mut self.forth, &mut self.back);
        }
        Poll::Ready(())
    }

    fn poll_back(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let step = match &mut self.leaving {
            Some(leaving) if !leaving.drained && self.back.is_open() => {
                let (from, to) = (&mut leaving.stream, &mut self.client);
                match ready!(self.back.poll_carry(from, to, &self.tally, cx)) {
                    Ok(Carried::Bytes) => Ok(()),
                    Ok(Carried::End) | Err(Broken::Source) => {
                        leaving.drained = true;
                        Ok(())
                    }
                    Err(Broken::Sink) => Err(Broken::Sink),
                }
            }
            _ => ready!(self.back.poll(&mut self.backend, &mut self.client, &self.tally, cx)),
        };
        if let Err(broken) = step {
            break_off(broken, &mut self.back, &mut self.forth);
        }
        Poll::Ready(())
    }

    /// Lets the backend go that the session leaves, when nothing is left to do or its time is over.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(leaving) = &mut self.leaving else { return Poll::Pending };
        if !(leaving.drained && leaving.rest.is_none()) {
            ready!(leaving.ends.as_mut().poll(cx));
        }
        self.leaving = None;
        Poll::Ready(())
    }

    /// A side that still talks, though it got the end of the other, is not listened to for ever.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let told = |one: &Flow, other: &Flow| one.is_discarding() && other.has_ended();
        if !told(&self.forth, &self.back) && !told(&self.back, &self.forth) {
            return Poll::Pending;
        }
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        ready!(linger.as_mut().poll(cx));
        self.forth.stop();
        self.back.stop();
        Poll::Ready(())
    }
}

impl Leaving {
    /// Writes what is left, then the end. A backend that does not take it is left all the same.
    fn poll_rest(&mut self, tally: &Tally, cx: &mut Context<'_>) -> Poll<()> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(()) };
        let sent = |len| tally.sent(Way::ToBackend, len);
        if ready!(rest.poll_write(&mut self.stream, cx, sent)).is_ok() {
            let _ = SockRef::from(&self.stream).shutdown(Shutdown::Write);
        }
        self.rest = None;
        Poll::Ready(())
    }
}

/// One side of a session has been reset, as `flow` has found.
fn break_off(broken: Broken, flow: &mut Flow, other: &mut Flow) {
    match broken {
        Broken::Source => {
            flow.end_by_reset();
            other.stop();
        }
        Broken::Sink => {
            flow.discard();
            other.expect_reset();
        }
    }
}
