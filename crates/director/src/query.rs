//! The query server: clients ask for a server, and get a token for it (`docs/protocol.md`).
//!
//! ```text
//!  TcpListener -> Gate -> Connection ---bytes---> Framer ---documents---> Responder ---> Ledger
//!                 bounds  deadlines <------------ answers ------------------/   \
//!                                                       Catalog, Inventory <----/ \--> Migration
//! ```
//! A query is answered from memory. One that finds nothing may be held, by its own wish or while a server
//! is allocated for it. Nothing is kept per client but what its open connection holds.

mod answer;
mod asking;
mod catalog;
mod connection;
mod counters;
mod failure;
mod frame;
mod fresh;
mod gate;
mod hold;
mod reset;
mod seat;
mod wants;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use udp_director_core::{Nonces, SharedLedger};
use udp_director_dataplane::{Clock, Descriptors};

use answer::{Dice, Responder};
use connection::Connection;
use failure::Failure;
use gate::Gate;
use hold::Holds;
use reset::Resets;
use wants::Wants;

use crate::allocation::Allocations;

pub(crate) use asking::Asking;
pub use catalog::{Catalog, NotListed, ResourceType};
pub use connection::Deadlines;
pub use counters::{Bound, HoldEnd, QueryCounters};
pub use gate::ConnectionLimits;
pub use reset::Migration;

/// What a query server works with.
#[derive(Debug)]
pub struct Parts {
    /// Where tokens are entered, and where the settings and the inventory in force are.
    pub ledger: Arc<SharedLedger>,
    /// The clock of the ledger's moments.
    pub clock: Clock,
    /// What may be asked for. A reload sends the next one.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// Carries session resets to the data plane. When it is full, resets are answered with
    /// `overloaded`.
    pub migrations: mpsc::Sender<Migration>,
    /// Counts what is done.
    pub counters: Arc<QueryCounters>,
    /// How many connections there may be.
    pub limits: ConnectionLimits,
    /// What connections take one each of; those beyond are refused.
    pub descriptors: Arc<Descriptors>,
    /// How long clients are waited for.
    pub deadlines: Deadlines,
    /// How many queries are held at once.
    pub held: ConnectionLimits,
    /// Changes with each inventory that is published.
    pub published: watch::Receiver<u64>,
    /// Allocates servers for the queries of resource types that say so.
    pub allocations: Arc<Allocations>,
}

/// Answers clients on the query port.
#[derive(Debug)]
pub struct QueryServer {
    responder: Arc<Responder>,
    gate: Arc<Gate>,
    deadlines: Deadlines,
    descriptors: Arc<Descriptors>,
    /// How many refused connections may still be told so, if there are descriptors; those beyond are
    /// closed without a word.
    farewells: Arc<Semaphore>,
}

impl QueryServer {
    /// Puts a server together; it does nothing before [`QueryServer::serve`].
    pub fn new(parts: Parts) -> QueryServer {
        let resets = Resets {
            ledger: Arc::clone(&parts.ledger),
            clock: parts.clock,
            migrations: parts.migrations,
            deadline: parts.deadlines.reset,
        };
        let responder = Responder {
            ledger: parts.ledger,
            clock: parts.clock,
            catalog: parts.catalog,
            resets,
            counters: Arc::clone(&parts.counters),
            dice: Dice::default(),
            nonces: Nonces::new(Dice::default().roll()),
            wants: Wants::default(),
            holds: Holds::new(parts.held, parts.published, Arc::clone(&parts.counters)),
            allocations: parts.allocations,
        };
        QueryServer {
            responder: Arc::new(responder),
            gate: Arc::new(Gate::new(parts.limits, Arc::clone(&parts.descriptors), parts.counters)),
            deadlines: parts.deadlines,
            descriptors: parts.descriptors,
            farewells: Arc::new(Semaphore::new(parts.limits.total.min(MAX_FAREWELLS))),
        }
    }

    /// Serves clients until `stop` is done. Then it accepts nobody, closes the connections that
    /// wait for a document, and returns when the answers at hand are given: within the deadlines.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let (running, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(ended) = connections.join_next() => report(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.receive(&mut connections, (stream, peer), &stopped),
                    Err(error) => pause_accepting(&error).await,
                }
            }
        }
        drop((listener, running));
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    }

    fn receive(
        &self,
        connections: &mut JoinSet<()>,
        (stream, peer): (TcpStream, SocketAddr),
        stopped: &watch::Receiver<()>,
    ) {
        // An answer goes out whole; waiting to fill a segment would only delay it.
        let _ = stream.set_nodelay(true);
        let peer = peer.ip().to_canonical();
        let connection = Connection::new(stream, peer, self.deadlines);
        let pass = match self.gate.admit(peer) {
            Ok(pass) => pass,
            Err(bound) => return self.refuse(connections, connection, bound),
        };
        let (responder, stopped) = (Arc::clone(&self.responder), stopped.clone());
        connections.spawn(async move {
            connection.serve(&responder, stopped).await;
            drop(pass);
        });
    }

    fn refuse(&self, connections: &mut JoinSet<()>, connection: Connection, bound: Bound) {
        let Ok(permit) = Arc::clone(&self.farewells).try_acquire_owned() else { return };
        let Some(descriptor) = self.descriptors.take(1) else { return };
        connections.spawn(async move {
            connection.close_telling(Failure::Connections(bound)).await;
            drop((permit, descriptor));
        });
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a query connection ended in a panic");
    }
}

/// Without descriptors or memory, trying on at once would burn a core and change nothing.
async fn pause_accepting(error: &io::Error) {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    tracing::warn!(%error, "the query port cannot accept connections; trying again in {ACCEPT_PAUSE:?}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

const MAX_FAREWELLS: usize = 256;
