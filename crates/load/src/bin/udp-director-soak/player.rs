//! Players that come with a token: they are moved, change their socket, leave and come back.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep;
use udp_director_client::{Session, SessionError, SessionOptions, Token};

use crate::account::{Account, Cause, RESUME, Servers, Terms};
use crate::fleet::{GameServer, Place, Standing};
use crate::game::{Game, Way};
use crate::random::Random;
use crate::world::{Ticket, World};

/// A player, whether it is in a game or not.
#[derive(Debug)]
pub(crate) struct Player {
    /// Its number.
    pub(crate) id: u32,
    /// Beats a second.
    pub(crate) rate: u32,
    /// The listener that it takes when it is there; `game` else.
    pub(crate) listener: &'static str,
    /// What it does when.
    pub(crate) random: Random,
    /// Where it plays.
    pub(crate) world: World,
}

/// A player's stay in the game.
struct Stay {
    game: Game,
    session: Arc<Session>,
    place: Place,
    listener: &'static str,
}

/// Why a player stops playing for a moment.
enum Pause {
    /// It is time to do something.
    Due,
    /// Its server's standing has changed.
    Server(Standing),
    /// Everybody leaves.
    Closing,
}

/// What a player does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Migrate,
    Reset,
    Resume,
    KeepAlive,
    Abandon,
    Leave,
}

impl Player {
    /// Comes and goes until everybody is to leave.
    pub(crate) async fn run(mut self) {
        self.rest(0..3_000).await;
        while !self.world.is_closing() {
            if let Some(mut stay) = self.join().await {
                self.stay(&mut stay).await;
                stay.game.end().await;
                self.world.findings.act("leave");
            }
            self.rest(500..12_000).await;
        }
    }

    async fn rest(&mut self, millis: std::ops::Range<u64>) {
        let pause = self.random.millis(millis);
        tokio::select! {
            () = sleep(pause) => {}
            () = self.world.closed() => {}
        }
    }

    async fn join(&mut self) -> Option<Stay> {
        let ticket = self.world.ticket(None).await?;
        let listener = if ticket.port(self.listener).is_some() { self.listener } else { MAIN };
        let Some(port) = ticket.port(listener) else {
            self.world.findings.fault("an answer names no port for the listener game");
            return None;
        };
        let options = SessionOptions { deadline: Account::DEADLINE, ..SessionOptions::default() };
        match Session::connect_with(port, ticket.token, options).await {
            Ok(session) => Some(self.enter(session, ticket, listener)),
            Err(error) => {
                self.refused("join", &ticket, listener, &error);
                None
            }
        }
    }

    fn enter(&self, session: Session, ticket: Ticket, listener: &'static str) -> Stay {
        self.world.findings.act(if listener == MAIN { "join" } else { "join-extra" });
        let session = Arc::new(session);
        let (way, servers) = (Way::Session(Arc::clone(&session)), Servers::One(ticket.server.id()));
        let game = Game::new(self.id, way, servers, self.rate, &self.world.findings);
        Stay { game, session, place: ticket.server.place(), listener }
    }

    /// Plays and acts until it leaves.
    async fn stay(&mut self, stay: &mut Stay) {
        loop {
            let going_on = match self.pause(stay).await {
                Pause::Closing => return,
                Pause::Server(Standing::Removed) => self.lose_server(stay).await,
                Pause::Server(_) => self.act(stay, Act::Migrate).await,
                Pause::Due => {
                    let act = self.choose();
                    self.act(stay, act).await
                }
            };
            if !going_on {
                return;
            }
        }
    }

    /// Plays for a while, or until something happens to the server.
    async fn pause(&mut self, stay: &mut Stay) -> Pause {
        let due = self.random.millis(4_000..20_000);
        let server = Arc::clone(stay.place.server());
        let world = self.world.clone();
        let end = async {
            tokio::select! {
                () = sleep(due) => Pause::Due,
                standing = server.changed(Standing::Open) => Pause::Server(standing),
                () = world.closed() => Pause::Closing,
            }
        };
        stay.game.play(end).await
    }

    fn choose(&mut self) -> Act {
        use Act::{Abandon, KeepAlive, Leave, Migrate, Reset, Resume};
        self.random.one_of([Migrate, Migrate, Reset, Reset, Resume, Resume, KeepAlive, Abandon, Leave, Leave])
    }

    /// Does it, and says whether the player stays.
    async fn act(&mut self, stay: &mut Stay, act: Act) -> bool {
        match act {
            Act::Migrate => self.migrate(stay).await,
            Act::Reset => self.reset(stay).await,
            Act::Resume => self.resume(stay).await,
            Act::KeepAlive => self.keep_alive(stay).await,
            Act::Abandon => {
                self.world.findings.act("abandon a token");
                stay.game.play(self.world.ticket(None)).await.is_some()
            }
            Act::Leave => false,
        }
    }

    /// Moves by a control packet. The packet and the beats leave by one socket, in order.
    async fn migrate(&mut self, stay: &mut Stay) -> bool {
        let Some(ticket) = self.way_on(stay).await else { return false };
        let session = Arc::clone(&stay.session);
        stay.game.account.excuse(Cause::Migrated, None);
        let moved = move_by(stay, &ticket, session.migrate(ticket.token)).await;
        self.moved("migrate", stay, ticket, moved)
    }

    /// Moves by a reset over the query port, of which the beats under way know nothing.
    async fn reset(&mut self, stay: &mut Stay) -> bool {
        let Some(ticket) = self.way_on(stay).await else { return false };
        let (left, joined) = (stay.place.server().id(), ticket.server.id());
        stay.game.account.excuse(Cause::Migrated, Some(Servers::Either(left, joined)));
        let (world, session) = (self.world.clone(), Arc::clone(&stay.session));
        let both = async {
            if let Err(error) = world.reset(session.token(), ticket.token).await {
                return Ok(Err(error));
            }
            adopt(&session, ticket.token).await.map(Ok)
        };
        let moved = match move_by(stay, &ticket, both).await {
            Ok(Ok(())) => Ok(()),
            Err(error) => Err(error),
            Ok(Err(error)) => {
                self.world.findings.fault(format!("player {}: a reset failed: {error}", self.id));
                return false;
            }
        };
        self.moved("reset", stay, ticket, moved)
    }

    /// A token for another server on the listener of the session; `None` where that listener takes
    /// no new sessions any more.
    async fn way_on(&mut self, stay: &mut Stay) -> Option<Ticket> {
        let server = Arc::clone(stay.place.server());
        let ticket = stay.game.play(self.world.ticket(Some(&server))).await?;
        ticket.port(stay.listener).is_some().then_some(ticket)
    }

    fn moved(
        &mut self,
        act: &'static str,
        stay: &mut Stay,
        ticket: Ticket,
        moved: Result<(), SessionError>,
    ) -> bool {
        let findings = &self.world.findings;
        stay.game.account.did(act, Instant::now());
        match moved {
            Ok(()) => {
                findings.act(act);
                stay.game.account.expect(Terms::at(ticket.server.id()));
                stay.place = ticket.server.place();
                true
            }
            Err(error) => {
                self.refused(act, &ticket, stay.listener, &error);
                false
            }
        }
    }

    /// Goes on from another local socket.
    async fn resume(&mut self, stay: &mut Stay) -> bool {
        let session = Arc::clone(&stay.session);
        let resumed = stay.game.play(session.resume()).await;
        stay.game.account.excuse(Cause::Resumed, None);
        self.kept(RESUME, stay, resumed)
    }

    async fn keep_alive(&mut self, stay: &mut Stay) -> bool {
        let session = Arc::clone(&stay.session);
        let kept = stay.game.play(session.keep_alive()).await;
        self.kept("keep alive", stay, kept)
    }

    fn kept(&mut self, act: &'static str, stay: &mut Stay, kept: Result<(), SessionError>) -> bool {
        let findings = &self.world.findings;
        stay.game.account.did(act, Instant::now());
        findings.act(act);
        match kept {
            Ok(()) => true,
            Err(_) if stay.place.server().standing() == Standing::Removed => true,
            Err(error) => {
                findings.fault(format!("player {} cannot {act}: {error}", self.id));
                false
            }
        }
    }

    /// The server is taken away with its players: plays on for a moment, and then asks for another.
    async fn lose_server(&mut self, stay: &mut Stay) -> bool {
        self.world.findings.act("lose the server");
        stay.game.account.excuse(Cause::Removed, Some(Servers::Any));
        stay.game.account.expect(Terms::REMOVED);
        let pause = self.random.millis(1_000..4_000);
        stay.game.play(sleep(pause)).await;
        if self.random.chance(0.5) {
            return false;
        }
        let server = Arc::clone(stay.place.server());
        let Some(ticket) = stay.game.play(self.world.ticket(Some(&server))).await else { return false };
        if ticket.port(stay.listener).is_none() {
            return false;
        }
        let session = Arc::clone(&stay.session);
        let moved = stay.game.play(session.migrate(ticket.token)).await;
        self.moved("find another server", stay, ticket, moved)
    }

    /// Whether a refusal is what the soak itself has brought about: the server or the listener went.
    fn refused(&self, act: &str, ticket: &Ticket, listener: &str, error: &SessionError) {
        if ticket.server.standing() != Standing::Open || listener != MAIN {
            self.world.findings.act("refused, the server or port is gone");
        } else {
            self.world.findings.fault(format!("player {} cannot {act}: {error}", self.id));
        }
    }
}

/// Plays while the player is on its way to another server.
async fn move_by<T>(stay: &mut Stay, ticket: &Ticket, way: impl Future<Output = T>) -> T {
    let left: &GameServer = stay.place.server();
    stay.game.account.expect(Terms::between(left.id(), ticket.server.id()));
    stay.game.play(way).await
}

/// Tells the session its new token: to the director, which has moved it, this is a repetition.
async fn adopt(session: &Session, token: Token) -> Result<(), SessionError> {
    session.migrate(token).await
}

/// The listener that is always there.
pub(crate) const MAIN: &str = "game";
