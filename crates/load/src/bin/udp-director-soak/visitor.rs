//! Players that come without a token: the default endpoint takes them in.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::sleep;
use udp_director_load::ServerId;

use crate::account::{Account, Cause, Servers, Terms};
use crate::fleet::{GameServer, Role, Standing};
use crate::game::{Game, Way};
use crate::player::MAIN;
use crate::random::Random;
use crate::world::World;

/// A player without a token, whether it is in a game or not.
#[derive(Debug)]
pub(crate) struct Visitor {
    /// Its number.
    pub(crate) id: u32,
    /// Beats a second.
    pub(crate) rate: u32,
    /// What it does when.
    pub(crate) random: Random,
    /// Where it plays.
    pub(crate) world: World,
}

/// Where a visit goes on from here.
enum Next {
    /// At that server.
    On(Arc<GameServer>),
    /// Nowhere.
    Over,
}

impl Visitor {
    /// Comes and goes until everybody is to leave.
    pub(crate) async fn run(mut self) {
        while !self.world.is_closing() {
            if let Err(error) = self.visit().await {
                self.world.findings.fault(format!("visitor {}: {error}", self.id));
            }
            let pause = self.random.millis(500..12_000);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.world.closed() => {}
            }
        }
    }

    async fn visit(&mut self) -> std::io::Result<()> {
        let Some(door) = self.door().await else { return Ok(()) };
        let socket = Arc::new(UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?);
        socket.connect(door).await?;
        let way = Way::Plain(Arc::clone(&socket));
        let mut game = Game::new(self.id, way, Servers::Any, self.rate, &self.world.findings);
        self.world.findings.act("visit");
        if let Some(server) = game.greet().await {
            self.stay(&mut game, &socket, server).await;
        }
        game.end().await;
        Ok(())
    }

    /// The data port: only answers tell it, since any free one is taken.
    async fn door(&self) -> Option<SocketAddr> {
        self.world.ticket(None).await?.port(MAIN)
    }

    async fn stay(&mut self, game: &mut Game, socket: &UdpSocket, server: ServerId) {
        let Some(mut server) = self.world.fleet.of(server) else { return };
        if server.role() != Role::Lobby {
            // The system gave it the port of a player who has just left, and so that one's session,
            // which a token names: it takes every further token for data.
            return self.world.findings.act("inherit a session with its port");
        }
        // So does a session that has been moved by a token that came late.
        let mut token_is_late = self.random.chance(0.5);
        loop {
            game.account.expect(Terms::at(server.id()));
            let standing = self.pause(game, &server).await;
            let next = match standing {
                Some(Standing::Removed) => self.lose_server(game).await,
                Some(Standing::Open) if std::mem::take(&mut token_is_late) => {
                    self.bring_token(game, socket, &server).await
                }
                _ => Next::Over,
            };
            match next {
                Next::On(at) => server = at,
                Next::Over => return,
            }
        }
    }

    /// Plays for a while; the server's standing then, `None` when everybody is to leave.
    async fn pause(&mut self, game: &mut Game, server: &GameServer) -> Option<Standing> {
        let due = self.random.millis(4_000..30_000);
        let world = self.world.clone();
        let end = async {
            tokio::select! {
                () = sleep(due) => Some(server.standing()),
                standing = server.changed(Standing::Open) => Some(standing),
                () = world.closed() => None,
            }
        };
        game.play(end).await
    }

    /// The server is taken away: the director takes the visitor in anew.
    async fn lose_server(&mut self, game: &mut Game) -> Next {
        self.world.findings.act("lose the server");
        game.account.excuse(Cause::Removed, Some(Servers::Any));
        game.account.expect(Terms::REMOVED);
        game.play(sleep(SETTLED_AFTER)).await;
        let now_at = game.account.last().and_then(|server| self.world.fleet.of(server));
        match now_at.filter(|server| server.standing() == Standing::Open) {
            Some(server) => Next::On(server),
            None => Next::Over,
        }
    }

    /// Sends a bare token, as a client does whose token datagram comes late: it is moved by that.
    async fn bring_token(&mut self, game: &mut Game, socket: &UdpSocket, left: &GameServer) -> Next {
        let Some(ticket) = game.play(self.world.ticket(None)).await else { return Next::Over };
        self.world.findings.act("bring a token late");
        game.account.excuse(Cause::Migrated, None);
        game.account.expect(Terms::between(left.id(), ticket.server.id()));
        if let Err(error) = socket.send(ticket.token.as_str().as_bytes()).await {
            self.world.findings.fault(format!("visitor {} cannot send: {error}", self.id));
        }
        let begun = Instant::now();
        while begun.elapsed() < Account::DEADLINE {
            game.play(sleep(Duration::from_millis(200))).await;
            if game.account.last() == Some(ticket.server.id()) {
                return Next::On(ticket.server);
            }
        }
        if ticket.server.standing() == Standing::Open {
            self.world.findings.fault(format!("visitor {} is not moved by its late token", self.id));
        }
        Next::Over
    }
}

/// The director has long noticed by then that a server is gone.
const SETTLED_AFTER: Duration = Duration::from_secs(4);
