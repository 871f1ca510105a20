//! What moves players beside themselves: operators, resets over the query port, and backends that
//! leave, fall silent, or can be reached by no further socket.

use std::net::IpAddr;
use std::sync::Arc;

use udp_director_core::{
    Backend, BackendSpec, Destination, Elsewhere, Handover, Ledger, Located, Message, MovedBy, Player,
    Refusal, Reply,
};
use udp_director_wire::Token;

use super::world::World;

impl World {
    /// Publishes another inventory as the director does it: players whose backend is gone, or takes none
    /// any more, go to another. Where nothing is what they asked for, the sessions end of those whose
    /// backend is gone.
    pub fn replace(&mut self, backends: Vec<BackendSpec>) {
        self.enter(backends);
        let stranded = self.evacuate();
        let gone = |player: &Player| self.ledger.lock().is_gone(player.seat.backend());
        let gone: Vec<Player> = stranded.into_iter().filter(gone).collect();
        gone.into_iter().for_each(|player| self.close(player));
    }

    /// Moves every player who wants another backend than the one he is on now, and gives those who have
    /// nowhere to go.
    pub fn evacuate(&mut self) -> Vec<Player> {
        let mut stranded = Vec::new();
        for player in self.players_on(|_, _| true) {
            let elsewhere = self.ledger.lock().elsewhere(&player, 0);
            match elsewhere {
                Elsewhere::Here => {}
                Elsewhere::There(to) => {
                    let from = Arc::clone(&player.seat);
                    self.carry_over(&player, &MovedBy::Director(Handover { from, to }));
                }
                Elsewhere::Nowhere => stranded.push(player),
            }
        }
        stranded
    }

    /// Lets an operator send the player whom the token names to a backend, with all his sessions.
    ///
    /// # Errors
    /// When there is no seat for him there.
    pub fn send_away(&mut self, token: Token, backend: &str) -> Result<(), Refusal> {
        let id = self.backend(backend).spec.id.clone();
        let (player, seat) = {
            let ledger = self.ledger.lock();
            let named = ledger.sessions().find(|session| session.token == Some(token));
            let player = named.and_then(|session| ledger.player_of(session.id)).ok_or(Refusal::NoSession)?;
            let seat = ledger.seat_at(&player, Destination::Backend(&id), 0)?;
            (player, seat)
        };
        let from = Arc::clone(&player.seat);
        self.carry_over(&player, &MovedBy::Operator(Handover { from, to: Arc::new(seat) }));
        Ok(())
    }

    /// Asks over the query port to move the sessions of one token to the backend of another.
    ///
    /// # Errors
    /// When the ledger refuses the reset as a whole.
    pub fn reset(&mut self, session: Token, token: Token, asked_by: IpAddr) -> Result<usize, Refusal> {
        let sessions = self.ledger.lock().admit_reset(&session, &token, asked_by, self.now)?;
        for at in &sessions {
            self.move_session(at, token.into());
        }
        Ok(sessions.len())
    }

    /// What came so far of moves that somebody else than the client had wanted, session by session.
    pub fn resets(&self) -> Vec<Result<(), Refusal>> {
        self.resets.lock().expect("no test panics in it").clone()
    }

    /// Lets a backend take datagrams and answer none, as a game server that hangs.
    pub fn silence(&mut self, backend: &str) {
        self.silent.insert(backend.to_owned());
    }

    /// Lets the director open no further upstream socket, as when descriptors are short; or again.
    pub fn shorten_sockets(&mut self, are_short: bool) {
        self.sockets_are_short = are_short;
    }

    pub(super) fn players_on(&self, on: impl Fn(&Ledger, &Backend) -> bool) -> Vec<Player> {
        let ledger = self.ledger.lock();
        let players = ledger.played().flat_map(|backend| ledger.players_on(backend));
        let players = players.filter_map(|id| ledger.player_of(id));
        players.filter(|player| on(&ledger, player.seat.backend())).collect()
    }

    pub(super) fn close(&mut self, player: Player) {
        for at in player.sessions {
            self.order(at.place, Message::Close { session: at.id, seat: Arc::clone(&player.seat) });
        }
    }

    pub(super) fn park(&mut self, player: Player) {
        for at in player.sessions {
            self.order(at.place, Message::Park { session: at.id, seat: Arc::clone(&player.seat) });
        }
    }

    fn carry_over(&mut self, player: &Player, by: &MovedBy) {
        player.sessions.iter().for_each(|at| self.move_session(at, by.clone()));
    }

    fn move_session(&mut self, at: &Located, by: MovedBy) {
        let resets = Arc::clone(&self.resets);
        let reply = Reply::new(move |outcome| resets.lock().expect("no test panics in it").push(outcome));
        self.order(at.place, Message::Migrate { session: at.id, by, reply });
    }
}
