//! What is carried to the cluster: the one part of allocation that talks to an API server.

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use udp_director_core::Claim;
use udp_director_inventory::kubernetes::{
    Allocation, AllocationRequest, GameServerAllocator, GiveBack, GiveBackError, GivenBack,
};

/// Something to be done in the cluster.
#[derive(Debug)]
pub enum Errand {
    /// A server is to be allocated.
    Allocate {
        /// Which.
        request: AllocationRequest,
        /// Takes what comes of it, also after the deadline.
        done: oneshot::Sender<Allocation>,
    },
    /// A server that no player took is to be given back.
    GiveBack {
        /// Which.
        claim: Claim,
        /// How.
        how: GiveBack,
        /// Takes what comes of it.
        done: oneshot::Sender<Result<GivenBack, GiveBackError>>,
    },
}

/// Carries errands until `stop`, each on its own: who sends them bounds how many there are.
pub(crate) async fn carry_out(
    mut errands: mpsc::Receiver<Errand>,
    allocator: GameServerAllocator,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(errand) = errands.recv() => drop(tokio::spawn(carry(errand, allocator.clone()))),
        }
    }
}

async fn carry(errand: Errand, allocator: GameServerAllocator) {
    match errand {
        Errand::Allocate { request, done } => {
            // Who asked may have gone; he waits for late answers too.
            let _ = done.send(allocator.allocate(&request).await);
        }
        Errand::GiveBack { claim, how, done } => {
            let server = (&*claim.server.namespace, &*claim.server.name);
            let _ = done.send(allocator.give_back(server, &claim.allocation, how).await);
        }
    }
}
