//! The game servers: some stay, some come, go unready and disappear while players play.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use udp_director_load::{EchoServer, ServerId};

/// Every game server that runs, with what the players have been told of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    /// Guards the servers; held for moments.
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    servers: Vec<Arc<GameServer>>,
    started: u16,
    /// When a lobby was last removed while players could be on it.
    lobby_removed: Option<Instant>,
}

/// One game server.
#[derive(Debug)]
pub(crate) struct GameServer {
    echo: EchoServer,
    role: Role,
    standing: watch::Sender<Standing>,
    players: AtomicUsize,
}

/// What a game server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Players ask for it.
    Arena,
    /// The default endpoint leads to it.
    Lobby,
}

/// Where a game server is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It takes players.
    Open,
    /// It takes no new ones, and those who are there move away.
    Leaving,
    /// It is out of the inventory, or about to be.
    Removed,
}

/// A player's place on a server, counted while it is held.
#[derive(Debug)]
pub(crate) struct Place(Arc<GameServer>);

impl Fleet {
    /// Starts one more server; it is not in the inventory file before that is written anew.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) fn open(&self, role: Role) -> io::Result<Arc<GameServer>> {
        let mut inner = self.inner();
        inner.started += 1;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let name = format!("server-{}", inner.started);
        let echo = EchoServer::start(any, &name, ServerId(inner.started))?;
        let standing = watch::Sender::new(Standing::Open);
        let server = Arc::new(GameServer { echo, role, standing, players: AtomicUsize::new(0) });
        inner.servers.push(Arc::clone(&server));
        Ok(server)
    }

    /// Stops a server that nobody can be on any more.
    pub(crate) fn close(&self, server: &Arc<GameServer>) {
        self.inner().servers.retain(|other| !Arc::ptr_eq(other, server));
    }

    /// The server at that address.
    pub(crate) fn at(&self, addr: SocketAddr) -> Option<Arc<GameServer>> {
        self.inner().servers.iter().find(|server| server.echo.addr() == addr).cloned()
    }

    /// The server that signs so.
    pub(crate) fn of(&self, id: ServerId) -> Option<Arc<GameServer>> {
        self.inner().servers.iter().find(|server| server.id() == id).cloned()
    }

    /// The servers that the inventory is to name.
    pub(crate) fn listed(&self) -> Vec<Arc<GameServer>> {
        let listed = |server: &&Arc<GameServer>| server.standing() != Standing::Removed;
        self.inner().servers.iter().filter(listed).cloned().collect()
    }

    /// Tells everybody that a server's standing is another now.
    pub(crate) fn mark(&self, server: &GameServer, standing: Standing) {
        server.standing.send_replace(standing);
        if (server.role, standing) == (Role::Lobby, Standing::Removed) {
            self.inner().lobby_removed = Some(Instant::now());
        }
    }

    /// Whether a lobby has been removed since then, or a moment before.
    pub(crate) fn lobby_removed_since(&self, then: Instant) -> bool {
        self.inner().lobby_removed.is_some_and(|at| at + Duration::from_secs(5) > then)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the servers")
    }
}

impl GameServer {
    /// What it signs with.
    pub(crate) fn id(&self) -> ServerId {
        self.echo.id()
    }

    /// Its name, which is also its label `server`.
    pub(crate) fn name(&self) -> &str {
        self.echo.name()
    }

    /// Where it serves.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.echo.addr()
    }

    /// What it is for.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Where it is on its way.
    pub(crate) fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Waits until its standing is another than `known`.
    pub(crate) async fn changed(&self, known: Standing) -> Standing {
        let mut standing = self.standing.subscribe();
        let changed = standing.wait_for(|now| *now != known).await;
        *changed.expect("the sender lives in the server")
    }

    /// How many players hold a place.
    pub(crate) fn players(&self) -> usize {
        self.players.load(Ordering::Relaxed)
    }

    /// Takes a place.
    pub(crate) fn place(self: Arc<GameServer>) -> Place {
        self.players.fetch_add(1, Ordering::Relaxed);
        Place(self)
    }
}

impl Place {
    /// The server that it is on.
    pub(crate) fn server(&self) -> &Arc<GameServer> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.players.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Role {
    /// The label's value.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Arena => "arena",
            Role::Lobby => "lobby",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_server_is_listed_no_more_but_found_until_it_is_closed() {
        let fleet = Fleet::default();
        let server = fleet.open(Role::Lobby).expect("a free port");
        assert_eq!(fleet.listed().len(), 1);
        fleet.mark(&server, Standing::Removed);
        assert!(fleet.listed().is_empty() && fleet.lobby_removed_since(Instant::now()));
        assert!(fleet.at(server.addr()).is_some() && fleet.of(server.id()).is_some());
        fleet.close(&server);
        assert!(fleet.at(server.addr()).is_none());
    }

    #[test]
    fn places_are_counted_while_they_are_held() {
        let server = Fleet::default().open(Role::Arena).expect("a free port");
        let place = Arc::clone(&server).place();
        assert_eq!(server.players(), 1);
        drop(place);
        assert_eq!(server.players(), 0);
    }
}
