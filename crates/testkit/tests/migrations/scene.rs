//! Games in which everybody is moved, again and again, for one cause.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use udp_director_core::{BackendSpec, ClientAddr, Event, ListenerId, Moment};
use udp_director_testkit::sim::{
    Beat, Echo, GAME, Link, PlayerId, Random, Setup, VOICE, Way, World, backend, client_at, settings,
};
use udp_director_wire::Token;

use crate::account::Account;

/// Why players are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Their own control packets.
    Client,
    /// An operator.
    Operator,
    /// Their backends leave the inventory.
    BackendGone,
}

/// A game to be played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) cause: Cause,
    /// Whether half of the backends answer nothing, so that players go to dead ones and come from them.
    pub(crate) half_are_dead: bool,
    /// Whether players change their addresses while they are moved.
    pub(crate) roaming: bool,
    pub(crate) network: Network,
    pub(crate) seed: u64,
}

/// What lies between players, director and backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// Keeps the order, and loses nothing.
    Perfect,
    /// Loses, doubles and turns over.
    Bad,
}

/// A game under way.
struct Game {
    scene: Scene,
    world: World,
    random: Random,
    players: Vec<Player>,
    /// Everywhere that each socket's player has been.
    homes: HashMap<(ListenerId, ClientAddr), PlayerId>,
    ports: u16,
    /// When which backends left the inventory, and when they came back.
    absences: Vec<(Range<Moment>, Vec<BackendSpec>)>,
}

/// Someone who plays, on one listener or on two.
struct Player {
    host: u8,
    token: Token,
    sockets: Vec<PlayerId>,
    /// The numbers of the backends that he was sent to, one after the other.
    sent_to: Vec<u8>,
}

impl Cause {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Cause::Client => "client",
            Cause::Operator => "operator",
            Cause::BackendGone => "backend gone",
        }
    }
}

impl Scene {
    /// Plays until there have been that many migrations of sessions, and gives the world, how many
    /// there have been, and the account.
    pub(crate) fn play(self, migrations: u64) -> (World, u64, Account) {
        let mut game = Game::begin(self);
        while game.migrations() < migrations {
            game.round();
        }
        game.end()
    }

    fn setup(&self) -> Setup {
        let (client_link, cluster_link) = match self.network {
            Network::Perfect => (Link::steady(millis(20)), Link::steady(millis(1))),
            Network::Bad => (
                Link { latency: millis(10)..millis(40), loss: 0.03, duplication: 0.02 },
                Link { latency: millis(1)..millis(8), loss: 0.01, duplication: 0.01 },
            ),
        };
        let mut settings = settings();
        settings.limits.max_pending_tokens = 100_000;
        Setup {
            seed: self.seed,
            workers: 4,
            settings,
            backends: (1..=BACKENDS).map(server).collect(),
            servers_outlive_inventory: true,
            client_link,
            cluster_link,
            message_delay: Duration::ZERO..MESSAGE_DELAY,
            ..Setup::default()
        }
    }
}

impl Game {
    fn begin(scene: Scene) -> Game {
        let mut world = World::new(scene.setup());
        if scene.half_are_dead {
            (1..=BACKENDS).filter(|number| is_dead(*number)).for_each(|number| world.silence(&name(number)));
        }
        let random = Random::new(scene.seed ^ 0x6d6f_7665);
        let (homes, absences) = (HashMap::new(), Vec::new());
        let mut game = Game { scene, world, random, players: Vec::new(), homes, ports: 1000, absences };
        (0..PLAYERS).for_each(|host| game.join(host));
        game.world.run(millis(1500));
        game
    }

    /// Every third player uses both listeners.
    fn join(&mut self, host: u8) {
        let first = 1 + host % BACKENDS;
        let address = self.fresh_address(host);
        let token = self.world.ask_for_any(address.ip(), &name(first)).expect("room for tokens");
        let mut player = Player { host, token, sockets: Vec::new(), sent_to: vec![first] };
        let listeners = if host.is_multiple_of(3) { &[GAME, VOICE][..] } else { &[GAME] };
        for &listener in listeners {
            let address = self.fresh_address(host);
            let socket = self.world.join(listener, address, token);
            self.homes.insert((listener, address), socket);
            self.world.play(socket, Duration::from_secs(3600));
            player.sockets.push(socket);
        }
        self.players.push(player);
    }

    fn fresh_address(&mut self, host: u8) -> ClientAddr {
        self.ports += 1;
        client_at(host + 1, self.ports)
    }

    fn migrations(&self) -> u64 {
        self.world.events(match self.scene.cause {
            Cause::Client => Event::MigratedByClient,
            Cause::Operator => Event::MigratedByOperator,
            Cause::BackendGone => Event::MigratedByDirector,
        })
    }

    /// Everybody is moved once.
    fn round(&mut self) {
        match self.scene.cause {
            Cause::BackendGone => self.take_half_away(),
            Cause::Client | Cause::Operator => {
                for number in 0..self.players.len() {
                    let pause = self.random.within(&(Duration::ZERO..millis(20)));
                    self.world.run(pause);
                    self.move_player(number);
                }
            }
        }
        let pause = self.random.within(&(millis(30)..millis(400)));
        self.world.run(pause);
    }

    /// With a burst of datagrams just before, and one just behind.
    fn move_player(&mut self, number: usize) {
        if !self.players[number].sockets.iter().all(|socket| self.world.player(*socket).is_settled()) {
            return;
        }
        if self.scene.roaming && self.random.chance(0.5) {
            self.roam(number);
            self.let_news_near();
        }
        let to = self.next_stop(number);
        self.burst(number);
        match self.scene.cause {
            Cause::Client => {
                let ip = self.address(number).ip();
                let token = self.world.ask_for_any(ip, &name(to)).expect("room for tokens");
                let player = &mut self.players[number];
                player.token = token;
                player.sockets.iter().for_each(|socket| self.world.migrate(*socket, token));
            }
            Cause::Operator => {
                let sent = self.world.send_away(self.players[number].token, &name(to));
                assert_eq!(sent, Ok(()), "player {number} to {to}");
            }
            Cause::BackendGone => unreachable!("nobody moves these players one by one"),
        }
        self.players[number].sent_to.push(to);
        self.world.settle();
        if self.scene.roaming {
            self.roam(number);
            self.world.settle();
        }
        self.burst(number);
    }

    /// Even players go to and fro between two backends, odd ones go round.
    fn next_stop(&self, number: usize) -> u8 {
        let sent_to = &self.players[number].sent_to;
        let last = sent_to[sent_to.len() - 1];
        match sent_to.len().checked_sub(2) {
            Some(before) if number.is_multiple_of(2) => sent_to[before],
            _ => 1 + last % BACKENDS,
        }
    }

    fn burst(&mut self, number: usize) {
        for socket in &self.players[number].sockets {
            self.world.burst(*socket, 3);
        }
    }

    fn address(&self, number: usize) -> ClientAddr {
        self.world.player(self.players[number].sockets[0]).client()
    }

    /// One of the player's sockets gets another address.
    fn roam(&mut self, number: usize) {
        let (host, socket) = (self.players[number].host, self.players[number].sockets[0]);
        let address = self.fresh_address(host);
        self.world.rebind(socket, address);
        self.homes.insert((self.world.player(socket).listener(), address), socket);
    }

    /// Lets what players have just sent come close to the director, or be there: what is done next
    /// crosses it on the way between two workers.
    fn let_news_near(&mut self) {
        let pause = self.random.within(&(millis(14)..millis(24)));
        self.world.run(pause);
    }

    /// One half of the backends is gone, and then the other, while the first is back.
    fn take_half_away(&mut self) {
        for gone in [0, 1] {
            let (left, here): (Vec<_>, Vec<_>) =
                (1..=BACKENDS).partition(|number| number.div_ceil(2) % 2 == gone);
            if self.scene.roaming {
                (0..self.players.len()).for_each(|number| self.roam(number));
                self.let_news_near();
            }
            let now = self.world.now();
            if let Some((absence, _)) = self.absences.last_mut() {
                absence.end = now;
            }
            self.absences.push((now..now, left.into_iter().map(server).collect()));
            self.world.replace(here.into_iter().map(server).collect());
            let pause = self.random.within(&(millis(100)..millis(300)));
            self.world.run(pause);
        }
    }

    /// Lets what is under way arrive, and casts up the account.
    fn end(mut self) -> (World, u64, Account) {
        if let Some((absence, _)) = self.absences.last_mut() {
            absence.end = self.world.now();
        }
        let migrations = self.migrations();
        (0..self.world.players().len()).for_each(|id| self.world.play(PlayerId(id as u32), Duration::ZERO));
        self.world.run(Duration::from_secs(1));
        let account = Account::of(&self.world);
        self.check_stays(&account);
        self.check_absences();
        self.check_homes();
        self.world.assert_upstreams_unshared();
        (self.world, migrations, account)
    }

    /// A player's datagrams have gone where he was sent, from one to the next and never back by itself.
    fn check_stays(&self, account: &Account) {
        if self.scene.cause == Cause::BackendGone {
            return;
        }
        for player in &self.players {
            let sent_to: Vec<String> = player.sent_to.iter().map(|number| name(*number)).collect();
            for socket in &player.sockets {
                let mut rest = sent_to.iter();
                let stays = account.stays[&socket.0].iter().map(|addr| name_at(addr.ip()));
                for stay in stays {
                    assert!(rest.any(|sent| *sent == stay), "{socket:?}: {stay} after {sent_to:?}");
                }
                let strays = self.scene.network == Network::Perfect && rest.next().is_some();
                assert!(!strays, "{socket:?} has not been everywhere of {sent_to:?}");
            }
        }
    }

    /// Nothing leaves for a backend that is gone, once the workers have been told.
    fn check_absences(&self) {
        for carried in &self.world.watch().carried {
            let Way::ToBackend { to, .. } = carried.way else { continue };
            let is_late = |(absence, gone): &&(Range<Moment>, Vec<BackendSpec>)| {
                (absence.start + TOLD_WITHIN..absence.end).contains(&carried.at)
                    && gone.iter().any(|spec| spec.address == to.ip())
            };
            let late = self.absences.iter().find(is_late);
            assert!(
                late.is_none(),
                "{:?} left for {to:?} at {:?}",
                Beat::parse(&carried.payload),
                carried.at
            );
        }
    }

    /// Whatever has reached a client's address is that client's.
    fn check_homes(&self) {
        for delivered in &self.world.watch().delivered {
            let Some(echo) = Echo::parse(&delivered.payload) else { continue };
            let owner = self.homes.get(&(delivered.listener, delivered.client));
            assert_eq!(owner, Some(&PlayerId(echo.beat.player)), "{echo:?} at {:?}", delivered.client);
        }
    }
}

pub(crate) fn server(number: u8) -> BackendSpec {
    backend(&name(number), number)
}

pub(crate) fn name(number: u8) -> String {
    format!("server-{number}")
}

fn name_at(ip: std::net::IpAddr) -> String {
    (1..=BACKENDS)
        .map(server)
        .find(|spec| spec.address == ip)
        .map_or_else(|| ip.to_string(), |spec| spec.name)
}

/// Where half of the backends are dead, it is every second one: each step round leads from one kind to
/// the other.
fn is_dead(number: u8) -> bool {
    number.is_multiple_of(2)
}

pub(crate) fn dead() -> Vec<String> {
    (1..=BACKENDS).filter(|number| is_dead(*number)).map(name).collect()
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const PLAYERS: u8 = 40;
const BACKENDS: u8 = 8;
const MESSAGE_DELAY: Duration = Duration::from_millis(5);
/// A worker whose client has just gone to another one passes the message on.
const TOLD_WITHIN: Duration = Duration::from_millis(10);
