//! A swarm: up to hundreds of thousands of clients over few sockets and threads.
//!
//! ```text
//! Crowd -> places (socket, source address) -> one Lane for each thread
//!                                              Lane: Outlets (sockets, epoll) + clients
//! open: token and first beat of each client, so many at a time -> Opened
//! play: beats by schedule or by window, whatever comes back    -> Played
//! ```

mod crowd;
mod lane;
mod opening;
mod outlets;
mod play;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use udp_director_client::{Magic, Token};

use crate::datagrams::Arrivals;

pub use crowd::{Crowd, CrowdError};
use lane::Lane;
pub use opening::Opened;
pub use play::{Flow, Game, Played};

/// What a swarm is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where datagrams go: a director's data port, or an echo server.
    pub target: SocketAddr,
    /// Who the clients are.
    pub crowd: Crowd,
    /// A token for each client, in their order; empty when they come without.
    pub tokens: Vec<Token>,
    /// Begins the control packets that ask why a token is not taken.
    pub magic: Magic,
    /// The length of every beat, in bytes; [`Beat::LEN`](crate::Beat::LEN) at least.
    pub datagram_bytes: usize,
}

/// Clients that play together, each with a session of its own.
#[derive(Debug)]
pub struct Swarm {
    lanes: Vec<Lane>,
    progress: Arc<Progress>,
}

/// How far a swarm has come, to be read while it is under way.
#[derive(Debug, Default)]
pub struct Progress {
    opened: AtomicU64,
    sent: AtomicU64,
    answered: AtomicU64,
}

impl Swarm {
    /// Opens the sockets.
    ///
    /// # Errors
    /// When sockets are not to be had: no descriptors left, or an address that is not this host's.
    ///
    /// # Panics
    /// When there are tokens, but not one for each client.
    pub fn new(setup: &Setup) -> Result<Swarm, CrowdError> {
        assert!(setup.tokens.is_empty() || setup.tokens.len() == setup.crowd.clients as usize);
        let (epoch, progress) = (Instant::now(), Arc::new(Progress::default()));
        let mut lanes = Vec::new();
        for places in setup.crowd.places()? {
            let lane = Lane::new(setup, places, epoch, Arc::clone(&progress));
            lanes.push(lane.map_err(CrowdError::Socket)?);
        }
        Ok(Swarm { lanes, progress })
    }

    /// How far it has come.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Lets every client present its token, if it has one, and play until its first reply;
    /// `at_a_time` of them at once. Who is not served within [`Opened::DEADLINE`] is given up.
    ///
    /// # Errors
    /// When a socket fails.
    pub fn open(&mut self, at_a_time: usize) -> io::Result<Opened> {
        let share = at_a_time.div_ceil(self.lanes.len());
        self.each(|lane, arrivals| lane.open(share, arrivals), Opened::merge)
    }

    /// Lets the clients whose sessions are open play.
    ///
    /// # Errors
    /// When a socket fails.
    pub fn play(&mut self, game: &Game) -> io::Result<Played> {
        let share = game.share(self.lanes.len());
        self.each(|lane, arrivals| lane.play(&share, arrivals), Played::merge)
    }

    /// Does the same on every lane, each in a thread of its own, and merges what they found.
    fn each<T: Send>(
        &mut self,
        act: impl Fn(&mut Lane, &mut Arrivals) -> io::Result<T> + Sync,
        merge: impl Fn(T, &T) -> T,
    ) -> io::Result<T> {
        let found: io::Result<Vec<T>> = thread::scope(|scope| {
            let act = |lane: &mut Lane| act(lane, &mut lane.arrivals());
            let spawn = |lane| scope.spawn(move || act(lane));
            let threads: Vec<_> = self.lanes.iter_mut().map(spawn).collect();
            threads.into_iter().map(|thread| thread.join().expect("a lane does not panic")).collect()
        });
        Ok(found?.into_iter().reduce(|all, lane| merge(all, &lane)).expect("a crowd has a lane at least"))
    }
}

impl Progress {
    /// Clients whose sessions are open.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Beats sent, those of opening and warm-up included.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Beats answered, those of opening and warm-up included.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// How long a reply is awaited after the last beat, before it is lost.
const SETTLE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
