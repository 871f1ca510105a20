//! Migrations that come to nothing: the session that was to move has lost nothing by it.

use std::time::Duration;

use udp_director_core::{BackendSpec, Ports, Refusal, Withheld};
use udp_director_testkit::sim::{GAME, Link, PlayerId, Setup, World, backend, client_at, settings};
use udp_director_wire::Token;

use crate::account::{Account, beyond_a_tick};

/// Why a migration comes to nothing.
#[derive(Clone, Copy, Debug)]
enum Obstacle {
    /// The new backend is gone by the time that the client wants to go there.
    ClientFindsItGone,
    /// It has no port for the client's listener.
    ClientFindsNoPort,
    /// No upstream slot is to be had for the client's move, the operator's, the director's.
    ClientFindsNoSlot,
    OperatorFindsNoSlot,
    DirectorFindsNoSlot,
    /// The new backend has left between an operator's order and the worker that carries it out.
    OperatorFindsItGone,
}

#[test]
fn session_that_was_to_move_and_could_not_has_lost_nothing() {
    for (obstacle, refusal) in [
        (Obstacle::ClientFindsItGone, Refusal::BackendGone),
        (Obstacle::ClientFindsNoPort, Refusal::NoPort),
        (Obstacle::ClientFindsNoSlot, Refusal::NoUpstream),
        (Obstacle::OperatorFindsNoSlot, Refusal::NoUpstream),
        (Obstacle::DirectorFindsNoSlot, Refusal::NoUpstream),
        (Obstacle::OperatorFindsItGone, Refusal::BackendGone),
    ] {
        let mut game = Game::begin(obstacle);
        while game.attempts < ATTEMPTS {
            game.attempt();
        }
        let failed = game.failed(refusal);
        assert!(failed >= ATTEMPTS, "{obstacle:?}: {failed} of {}", game.attempts);
        game.end();
    }
}

struct Game {
    obstacle: Obstacle,
    world: World,
    /// Those who are to move.
    movers: Vec<(PlayerId, Token)>,
    attempts: usize,
}

impl Game {
    /// Movers play on `home`. Just as many others play on `beta`, so that each upstream socket has
    /// both, and a further player of `beta` needs a further socket.
    fn begin(obstacle: Obstacle) -> Game {
        let mut settings = settings();
        settings.limits.max_pending_tokens = 100_000;
        let mut world = World::new(Setup {
            settings,
            backends: all(),
            client_link: Link::steady(Duration::from_millis(20)),
            cluster_link: Link::steady(Duration::from_millis(1)),
            message_delay: Duration::from_millis(1)..Duration::from_millis(5),
            ..Setup::default()
        });
        let mut movers = Vec::new();
        for (host, home) in [(1, "home"), (2, "beta")] {
            for port in 0..MOVERS {
                let client = client_at(host, 5000 + port);
                let token = world.ask_for_any(client.ip(), home).expect("room for tokens");
                let player = world.join(GAME, client, token);
                world.play(player, Duration::from_secs(3600));
                movers.extend((home == "home").then_some((player, token)));
            }
        }
        world.run(Duration::from_secs(1));
        world.shorten_sockets(true);
        Game { obstacle, world, movers, attempts: 0 }
    }

    /// Each of the movers is to move once.
    fn attempt(&mut self) {
        for (player, token) in self.movers.clone() {
            self.world.burst(player, 3);
            match self.obstacle {
                Obstacle::ClientFindsItGone => self.try_as_client(player, "leaver"),
                Obstacle::ClientFindsNoPort => self.try_as_client(player, "silent"),
                Obstacle::ClientFindsNoSlot => self.try_as_client(player, "beta"),
                Obstacle::OperatorFindsNoSlot => assert_eq!(self.world.send_away(token, "beta"), Ok(())),
                Obstacle::OperatorFindsItGone => assert_eq!(self.world.send_away(token, "leaver"), Ok(())),
                Obstacle::DirectorFindsNoSlot => {}
            }
            self.attempts += 1;
            self.world.burst(player, 3);
        }
        match self.obstacle {
            Obstacle::ClientFindsItGone | Obstacle::OperatorFindsItGone => self.lose("leaver"),
            Obstacle::DirectorFindsNoSlot => self.drain_home(),
            _ => {}
        }
        self.world.run(Duration::from_millis(100));
        self.world.publish(all());
    }

    /// By a plain control packet, which is sent once.
    fn try_as_client(&mut self, player: PlayerId, to: &str) {
        let client = self.world.player(player).client();
        let token = self.world.token(client.ip(), to);
        self.world.control(GAME, client, token);
    }

    fn lose(&mut self, gone: &str) {
        self.world.publish(all().into_iter().filter(|spec| spec.name != gone).collect());
    }

    /// Only `beta` would be left for those who are on `home`.
    fn drain_home(&mut self) {
        let drains = |spec: &mut BackendSpec| {
            spec.withheld = (spec.name != "beta").then_some(Withheld::Draining);
        };
        let mut backends = all();
        backends.iter_mut().for_each(drains);
        self.world.replace(backends);
    }

    /// How many migrations have been refused for that reason.
    fn failed(&self, refusal: Refusal) -> usize {
        let by_others = self.world.resets().iter().filter(|outcome| **outcome == Err(refusal)).count();
        by_others + self.world.refusals(refusal) as usize
    }

    fn end(mut self) {
        for id in 0..self.world.players().len() {
            self.world.play(PlayerId(id as u32), Duration::ZERO);
        }
        self.world.run(Duration::from_secs(1));
        let account = Account::of(&self.world);
        account.check_in_order(&self.world);
        assert_eq!(beyond_a_tick(account.longest_gap), Duration::ZERO, "{:?}", self.obstacle);
        for player in self.world.players() {
            assert_eq!(
                player.echoes().len(),
                player.beats() as usize,
                "{:?} {:?}",
                self.obstacle,
                player.id()
            );
            assert_eq!(account.stays[&player.id().0].len(), 1, "{:?} {:?}", self.obstacle, player.id());
        }
        println!(
            "| failed: {:?} | {} | {} + {} | {} | {:.1} ms |",
            self.obstacle,
            self.attempts,
            account.up.sent(),
            account.down.sent(),
            account.up.lost_by_director() + account.down.lost_by_director(),
            account.longest_gap.as_secs_f64() * 1000.0,
        );
    }
}

/// `silent` serves the other listener alone.
fn all() -> Vec<BackendSpec> {
    let mut silent = backend("silent", 4);
    silent.ports = Ports::Named([("voice".to_owned(), 7001)].into());
    vec![backend("home", 1), backend("beta", 2), backend("leaver", 3), silent]
}

const MOVERS: u16 = 20;
const ATTEMPTS: usize = 1000;
