//! Game servers: each notes every datagram that reaches it, and gives it back signed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use udp_director_load::{Beat, ServerId};
use udp_director_testkit::netns::{Namespace, widen};

use crate::stage::{LISTENERS, address, port};

/// Game servers that run, in one thread.
pub(crate) struct Servers {
    shared: Arc<Shared>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

struct Shared {
    /// Everything that has come, in order.
    seen: Mutex<Vec<Seen>>,
    /// Who hangs: takes datagrams, and answers none.
    hanging: BTreeMap<ServerId, AtomicBool>,
}

/// A datagram that has reached a game server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) server: ServerId,
    /// Where it came in.
    pub(crate) at: SocketAddr,
    /// As whom the server sees the player.
    pub(crate) peer: SocketAddr,
    pub(crate) stream: u32,
    pub(crate) number: u64,
    pub(crate) answered: bool,
    pub(crate) when: Instant,
}

impl Servers {
    /// Lets the game servers of these ids run, on every listener's port.
    pub(crate) fn start(namespace: &Namespace, ids: &[ServerId]) -> Servers {
        let hanging = ids.iter().map(|id| (*id, AtomicBool::new(false))).collect();
        let shared = Arc::new(Shared { seen: Mutex::default(), hanging });
        let (stop, stopped) = oneshot::channel();
        let (for_thread, sockets) = (Arc::clone(&shared), namespace.run(|| bind(ids)));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                for (id, socket) in sockets {
                    tokio::spawn(serve(id, socket, Arc::clone(&for_thread)));
                }
                let _ = stopped.await;
            });
        });
        Servers { shared, running: Some((stop, thread)) }
    }

    /// Lets a server hang, or answer again.
    pub(crate) fn hang(&self, server: ServerId, hangs: bool) {
        self.shared.hanging[&server].store(hangs, Ordering::Relaxed);
    }

    /// How many datagrams have come so far, and how many have been answered.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let seen = self.shared.seen.lock().expect("no server panics");
        (seen.len() as u64, seen.iter().filter(|seen| seen.answered).count() as u64)
    }

    /// Everything that has come.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("no server panics").clone()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

fn bind(ids: &[ServerId]) -> Vec<(ServerId, std::net::UdpSocket)> {
    let places = ids.iter().flat_map(|id| LISTENERS.map(|listener| (*id, listener)));
    let bound = places.map(|(id, listener)| {
        let socket = std::net::UdpSocket::bind((address(id), port(listener))).expect("a free port");
        socket.set_nonblocking(true).expect("a flag");
        widen(&socket);
        (id, socket)
    });
    bound.collect()
}

async fn serve(id: ServerId, socket: std::net::UdpSocket, shared: Arc<Shared>) {
    let socket = UdpSocket::from_std(socket).expect("the runtime drives sockets");
    let at = socket.local_addr().expect("it is bound");
    let mut buffer = [0; 256];
    loop {
        // An error is an ICMP message about an earlier answer.
        let Ok((len, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let datagram = &mut buffer[..len];
        let beat = Beat::parse(datagram).expect("players send beats, and the director nothing of its own");
        let answered = !shared.hanging[&id].load(Ordering::Relaxed);
        let seen = Seen {
            server: id,
            at,
            peer,
            stream: beat.player,
            number: beat.sequence,
            answered,
            when: Instant::now(),
        };
        shared.seen.lock().expect("no server panics").push(seen);
        if answered {
            Beat::sign(datagram, id);
            socket.send_to(datagram, peer).await.expect("an answer leaves");
        }
    }
}
