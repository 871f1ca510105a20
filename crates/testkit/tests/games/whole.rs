//! Whole games: players connect, play at 60 Hz, move and roam, over good and bad networks.

use std::collections::HashMap;
use std::time::Duration;

use udp_director_core::{ClientAddr, Dropped, ListenerId};
use udp_director_testkit::sim::{
    Beat, GAME, Link, PlayerId, Random, Setup, VOICE, World, backend, client_at,
};

const PLAYERS: u8 = 12;
const ROUNDS: usize = 60;
const ROUND: Duration = Duration::from_millis(150);

/// A world, its players, and everywhere that each of them has been.
struct Game {
    world: World,
    random: Random,
    homes: HashMap<(ListenerId, ClientAddr), PlayerId>,
    ports: u16,
}

#[test]
fn nothing_is_lost_or_reordered_over_a_good_network() {
    for (seed, workers) in [(1, 1), (2, 4), (3, 4)] {
        let mut game = Game::begin(seed, workers, Link::steady(Duration::from_millis(20)));
        game.play();
        assert_eq!(game.world.all_drops(), 0, "seed {seed}");
        for player in game.world.players() {
            let sent = player.beats();
            let arrived: Vec<u32> = game.arrived(player.id()).iter().map(|beat| beat.number).collect();
            assert!(arrived.iter().copied().eq(0..sent), "seed {seed}, {:?}", player.id());
        }
        game.end();
    }
}

#[test]
fn what_a_bad_network_brings_arrives_once_and_in_the_order_it_came() {
    for seed in 1..=8 {
        let mut game = Game::begin(seed, if seed % 2 == 0 { 1 } else { 4 }, Link::bad());
        game.play();
        game.end();
    }
}

impl Game {
    fn begin(seed: u64, workers: u16, client_link: Link) -> Game {
        let setup = Setup {
            seed,
            workers,
            client_link,
            backends: (1..=4).map(|host| backend(&format!("server-{host}"), host)).collect(),
            cluster_link: Link::steady(Duration::from_micros(200)),
            message_delay: Duration::ZERO..Duration::from_millis(5),
            ..Setup::default()
        };
        let random = Random::new(seed ^ 0x5eed);
        let mut game = Game { world: World::new(setup), random, homes: HashMap::new(), ports: 1000 };
        for number in 0..PLAYERS {
            game.join(number);
        }
        game
    }

    /// Three players share a house and so an IP; every other one talks on the second listener too.
    fn join(&mut self, number: u8) {
        let home = self.fresh_address(number / 3);
        let server = self.any_server();
        let token = self.world.token(home.ip(), &server);
        let listeners: &[ListenerId] = if number.is_multiple_of(2) { &[GAME, VOICE] } else { &[GAME] };
        for &listener in listeners {
            let player = self.world.join(listener, home, token);
            self.homes.insert((listener, home), player);
            self.world.play(player, ROUND * ROUNDS as u32);
        }
    }

    fn play(&mut self) {
        for _ in 0..ROUNDS {
            let players = self.world.players().len() as u64;
            let player = PlayerId((self.random.number() % players) as u32);
            if self.world.player(player).is_settled() {
                self.disturb(player);
            }
            self.world.run(ROUND);
            self.world.assert_upstreams_unshared();
        }
        self.world.run(Duration::from_secs(1));
    }

    fn disturb(&mut self, player: PlayerId) {
        if self.random.chance(0.5) {
            let server = self.any_server();
            let token = self.world.token(self.world.player(player).client().ip(), &server);
            self.world.migrate(player, token);
        } else {
            let host = if self.random.chance(0.5) { 100 } else { 101 };
            let elsewhere = self.fresh_address(host);
            self.homes.insert((self.world.player(player).listener(), elsewhere), player);
            self.world.rebind(player, elsewhere);
        }
    }

    fn end(mut self) {
        self.assert_each_datagram_went_once();
        self.assert_replies_found_their_player();
        for player in self.world.players() {
            assert!(player.is_settled() && player.refusals().is_empty(), "{player:?}");
            let last = self.arrived(player.id()).last().map_or(0, |beat| beat.number);
            assert!(last + 60 > player.beats(), "{:?} plays to the end", player.id());
        }
        self.world.run_out();
        self.world.assert_empty();
    }

    /// What reached the director went to one backend in the order it came, or was counted.
    fn assert_each_datagram_went_once(&self) {
        let forwarded = self.world.watch().arrived.len() as u64;
        let came = self.world.watch().beats.len() as u64;
        assert_eq!(came, forwarded + self.world.drops(Dropped::NoSession));
        for player in self.world.players() {
            let mut came = self.world.watch().beats.iter().filter(|beat| beat.player == player.id().0);
            for beat in self.arrived(player.id()) {
                assert!(came.any(|candidate| *candidate == beat), "{beat:?} is in its place");
            }
        }
    }

    fn assert_replies_found_their_player(&self) {
        for delivered in &self.world.watch().delivered {
            let Some(beat) = Beat::parse(&delivered.payload) else { continue };
            let home = self.homes.get(&(delivered.listener, delivered.client));
            assert_eq!(home.map(|player| player.0), Some(beat.player), "an echo at {}", delivered.client);
        }
    }

    fn arrived(&self, player: PlayerId) -> Vec<Beat> {
        let beats = self.world.watch().arrived.iter().filter_map(|arrived| Beat::parse(&arrived.payload));
        beats.filter(|beat| beat.player == player.0).collect()
    }

    fn any_server(&mut self) -> String {
        format!("server-{}", 1 + self.random.number() % 4)
    }

    fn fresh_address(&mut self, host: u8) -> ClientAddr {
        self.ports += 1;
        client_at(host, self.ports)
    }
}
