//! TCP connections: a token, then bytes both ways.
//!
//! ```text
//! client --[token]--> admission --> session --> backend
//!            |
//!            +-- no token --> default endpoint, or closed
//! ```
//!
//! **How a connection begins.** With a token or a control packet, split in any way, within five
//! seconds; one newline straight behind it belongs to it, whenever it arrives, so data that begins
//! with a newline needs the token's own newline before it. Whatever else follows is data. A token that
//! is not good here closes the connection and reaches no backend. Where the backend does not answer
//! within five seconds, the connection is closed and the token is as good as before.
//!
//! **Without a token.** The default endpoint, if there is one, takes the connection at the first byte
//! that no token can have there, with all bytes; when the client ends its side before a token is
//! complete; or when nothing has come within `tokenGraceMs` of connecting, so that servers may speak
//! first. While a token waits to be redeemed by the client's IP, silence is waited out for five
//! seconds instead. Half a token and then silence closes the connection: so a protocol whose clients
//! begin with fewer than 36 characters that a token could have, and then wait for the answer, needs a
//! token. Without a default endpoint all of these close the connection.
//!
//! **How it ends.** Each direction ends by itself (half-close), and all that was sent before arrives.
//! A reset is passed on as a reset, behind the bytes that were read before it; a side that has got
//! the other's regular end is not reset. A session that carries nothing either way for
//! `sessionTimeoutSeconds` is closed, half-closed or not.
//!
//! **What a migration does to a running connection** ([`Streams::migrate`]). The client's connection
//! stays. The director connects to the new backend first; if that fails, nothing changes. Then:
//!
//! - To the backend: what the director has read from the client before is still written to the old
//!   backend (for up to `migrationGraceMs`), which then sees the end of the stream (FIN). All that is
//!   read afterwards goes to the new backend. TCP has no marks between messages: a client that needs
//!   the cut at a certain byte stops sending before it asks for the reset.
//! - To the client: what the old backend sends until it closes, or for `migrationGraceMs`, comes
//!   first and whole; then come the new backend's bytes, and never both mixed. At the end of the grace
//!   the old connection is dropped, wherever its stream stands.
//! - The new backend sees a new connection that begins with the PROXY header, where the listener has
//!   it, and then the client's bytes. If the client had ended its side, so it is for the new backend.
//! - While the old backend is being left no other migration is possible, nor is one of a connection
//!   whose backend has ended its side already: the client would see nothing of a new one.
//! - A token of the backend that the session is on already only renames the session.

mod admission;
mod connect;
mod flow;
mod greeting;
mod lanes;
mod mailbox;
mod origin;
mod pump;
mod rest;
mod sessions;
mod tally;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use udp_director_core::{
    BackendAddr, Counters, Dropped, ListenerId, Moment, MovedBy, Refusal, Seat, SessionId, SharedLedger,
};

use crate::{Clock, Descriptors, Taken};
use mailbox::{Beside, Letter, Switch};
use origin::Origin;
use pump::{Pump, is_on};
use sessions::Sessions;

/// How long accepting rests when the process is out of descriptors or memory.
const SHORTAGE_REST: Duration = Duration::from_millis(50);

/// How often at most the log speaks of it.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// All TCP connections of the process.
#[derive(Debug)]
pub struct Streams {
    sessions: Arc<Sessions>,
    /// One permit for each connection that there may be.
    room: Arc<Semaphore>,
    descriptors: Arc<Descriptors>,
    max_connections: usize,
}

/// What an open connection occupies.
#[derive(Debug)]
struct Room {
    _permit: OwnedSemaphorePermit,
    /// For the client's side and the backend's.
    _descriptors: Taken,
}

impl Streams {
    /// No connections yet, and at most `max_connections` at a time, those that have not shown a token
    /// included; fewer while `descriptors` are short. `seed` feeds the `random` strategy. All of them
    /// count into `counters`.
    pub fn new(
        ledger: Arc<SharedLedger>,
        counters: Arc<Counters>,
        clock: Clock,
        max_connections: usize,
        descriptors: Arc<Descriptors>,
        seed: u64,
    ) -> Arc<Streams> {
        let max_connections = max_connections.min(Semaphore::MAX_PERMITS);
        let sessions = Sessions::new(ledger, counters, clock, seed);
        let room = Arc::new(Semaphore::new(max_connections));
        Arc::new(Streams { sessions, room, descriptors, max_connections })
    }

    /// Accepts connections on a listener until `stop` is cancelled; those that run then go on.
    ///
    /// Above the bound of connections, or when descriptors are short, the newcomer is closed and counted
    /// ([`Refusal::ConnectionLimit`]). No error ends it: connections that fail are counted, and while
    /// descriptors are short it tries again every 50 ms.
    pub async fn serve(self: Arc<Self>, socket: TcpListener, listener: ListenerId, stop: CancellationToken) {
        let mut warned = None;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => self.take(stream, from, listener),
                Err(error) => self.rest_after(&error, &mut warned).await,
            }
        }
    }

    fn take(&self, stream: TcpStream, from: SocketAddr, listener: ListenerId) {
        let counters = &self.sessions.counters;
        let Some(room) = self.room() else {
            return counters.dropped(Dropped::Refused(Refusal::ConnectionLimit));
        };
        let Ok(origin) = Origin::of(&stream, from, listener) else {
            return counters.dropped(Dropped::AcceptFailed);
        };
        connect::tune(&stream);
        tokio::spawn(carry(Arc::clone(&self.sessions), stream, origin, room));
    }

    fn room(&self) -> Option<Room> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let descriptors = self.descriptors.take(2)?;
        Some(Room { _permit: permit, _descriptors: descriptors })
    }

    /// What is the client's doing took its connection along, and the next can be accepted at once; all
    /// else would come again at once.
    async fn rest_after(&self, error: &io::Error, warned: &mut Option<Moment>) {
        self.sessions.counters.dropped(Dropped::AcceptFailed);
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        let now = self.sessions.clock.now();
        if warned.is_none_or(|last| now - last >= WARN_EVERY) {
            *warned = Some(now);
            warn!(%error, "cannot accept TCP connections");
        }
        sleep(SHORTAGE_REST).await;
    }

    /// Migrates a session to another backend; the module says what becomes of its bytes. That
    /// who asks may do so is checked before, by [`Ledger::admit_reset`].
    ///
    /// [`Ledger::admit_reset`]: udp_director_core::Ledger::admit_reset
    ///
    /// # Errors
    /// Says why the session stays where it was: among others [`Refusal::BackendUnreachable`] when the
    /// new backend does not take the connection, [`Refusal::NoUpstream`] when descriptors are short, and [`Refusal::WorkerBusy`] while the session is
    /// leaving another backend.
    pub async fn migrate(&self, session: SessionId, by: impl Into<MovedBy>) -> Result<(), Refusal> {
        let by = by.into();
        let (addr, stays) = self.target(session, &by)?;
        let token = by.token();
        let outcome = self.switch(session, by, (addr, stays)).await;
        if let (Err(_), Some(token)) = (&outcome, token) {
            self.sessions.ledger.lock().relinquish(&token, self.sessions.clock.now());
        }
        outcome
    }

    /// Connects to the backend at that address, unless the session is there already, and lets the
    /// session's task change over.
    async fn switch(
        &self,
        session: SessionId,
        by: MovedBy,
        (addr, stays): (BackendAddr, bool),
    ) -> Result<(), Refusal> {
        let beside = if stays { None } else { Some(self.connect_beside(addr).await?) };
        let (reply, outcome) = oneshot::channel();
        // The mailbox itself is let go before the wait: a letter that its task has left unread is
        // dropped with the last who holds it, and tells so.
        let letter = Letter::Switch(Box::new(Switch { beside, addr, by, reply }));
        self.sessions.mailbox(session).ok_or(Refusal::NoSession)?.post(letter)?;
        outcome.await.unwrap_or(Err(Refusal::NoSession))
    }

    /// Connects to the backend that a session is to be migrated to: for a while it has two.
    async fn connect_beside(&self, addr: BackendAddr) -> Result<Beside, Refusal> {
        let descriptor = self.descriptors.take(1).ok_or(Refusal::NoUpstream)?;
        Ok(Beside { stream: connect::connect(addr).await?, descriptor })
    }

    /// Where the session is to go, and whether it is there already.
    fn target(&self, session: SessionId, by: &MovedBy) -> Result<(BackendAddr, bool), Refusal> {
        let mut ledger = self.sessions.ledger.lock();
        let target = ledger.admit_migration(session, by, self.sessions.clock.now())?;
        Ok((target.addr, is_on(ledger.session(session), &target)))
    }

    /// Ends a session whose backend is gone, unless it has left that seat. One that has ended already
    /// is none of its business.
    pub fn close(&self, session: SessionId, seat: Arc<Seat>) {
        if let Some(mailbox) = self.sessions.mailbox(session) {
            // Nothing comes before closing, so this is not refused.
            let _ = mailbox.post(Letter::Close(seat));
        }
    }

    /// Lets running sessions look at the ledger's settings again: a shorter session timeout holds for
    /// them at once.
    pub fn reconsider(&self) {
        for mailbox in self.sessions.all_mailboxes() {
            // A task that has a letter waiting looks at the settings anyway.
            let _ = mailbox.post(Letter::Reconsider);
        }
    }

    /// Open connections, those that have not shown a token included.
    pub fn connections(&self) -> usize {
        self.max_connections - self.room.available_permits()
    }
}

/// One connection, from its first byte to its last. Boxed where it waits for the token, so that what
/// that needs does not stay in memory as long as the session runs.
async fn carry(sessions: Arc<Sessions>, mut client: TcpStream, origin: Origin, _room: Room) {
    match Box::pin(admission::admit(&sessions, &mut client, &origin)).await {
        Ok(begun) => Pump::new(client, origin, begun).run().await,
        Err(dropped) => sessions.counters.dropped(dropped),
    }
}
