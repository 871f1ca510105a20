//! A thousand migrations of each cause, of players at 60 Hz, through the director's own process in
//! network namespaces: every datagram reaches the old or the new game server, one of them, in order,
//! and nothing is lost.
//!
//! `cargo test -p udp-director-director --test migrations -- --nocapture` prints the figures.

mod account;
mod players;
mod servers;
mod stage;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use account::{Account, is_closed};
use players::Players;
use serde_json::{Value, json};
use servers::Servers;
use stage::{LISTENERS, Stage, named};
use udp_director_load::ServerId;
use udp_director_wire::Token;

/// Sessions that migrate for each cause.
const MIGRATIONS: u64 = 1000;

const PLAYERS: usize = 40;

/// How many there are in [`all`].
const SERVERS: usize = 9;

/// How long everything has to arrive that is under way when the players rest.
const LAST_WAY: Duration = Duration::from_secs(3);

/// Takes datagrams and answers none.
const HANGING: ServerId = ServerId(8);

/// Held by the one game that is played: two would take the processor from each other.
static PLAYING: Mutex<()> = Mutex::new(());

#[test]
fn players_who_move_themselves_lose_nothing() {
    let game = Game::begin(&all());
    game.servers.hang(HANGING, true);
    let mut questions = game.stage.questions();
    let mut route = Route::new(game.players.len());
    while game.stage.migrated("client") < MIGRATIONS {
        for (number, streams) in game.streams.iter().enumerate() {
            game.settle(streams);
            let to = route.next(number);
            let token = questions.token(Some(to));
            streams.iter().for_each(|stream| game.players.migrate(*stream, token, Some(to)));
            pause(Duration::from_millis(6));
        }
    }
    let migrations = game.stage.migrated("client");
    game.end("client", migrations);
}

#[test]
fn players_whom_an_operator_moves_lose_nothing() {
    let game = Game::begin(&all());
    game.servers.hang(HANGING, true);
    for turn in 0.. {
        if game.stage.migrated("operator") >= MIGRATIONS {
            break;
        }
        // Four are left at once, for others that nobody leaves meanwhile: everybody moves once a turn.
        let mut servers = all();
        servers.rotate_left(turn * 2 % SERVERS);
        let (from, to) = servers.split_at(4);
        let of_backend = |(from, to): (&ServerId, &ServerId)| json!({"from": {"backend": named(*from)}, "share": 0.8, "to": {"backend": named(*to)}});
        let mut orders: Vec<Value> = from.iter().zip(to).map(of_backend).collect();
        if turn % 2 == 1 {
            let (id, server) = game.session(turn);
            let to = to.iter().find(|to| **to != server).expect("another one");
            orders = vec![json!({"from": {"session": id}, "to": {"backend": named(*to)}})];
        }
        game.carry_out(&orders);
        // Long enough for everybody to have sent something to where he is.
        pause(2 * players::PERIOD);
    }
    let migrations = game.stage.migrated("operator");
    game.end("operator", migrations).assert_switches(migrations);
}

#[test]
fn players_whose_servers_leave_lose_nothing() {
    let halves: [Vec<ServerId>; 2] =
        [0, 1].map(|half| all().into_iter().filter(|server| server.0 % 2 == half).collect());
    let game = Game::begin(&all());
    for flip in 0.. {
        if game.stage.migrated("director") >= MIGRATIONS {
            break;
        }
        let (here, gone) = (&halves[flip % 2], &halves[(flip + 1) % 2]);
        // Every second time some of those who leave are dead before.
        game.servers.hang(gone[0], flip % 4 < 2);
        pause(2 * players::PERIOD);
        game.stage.put(here);
        game.stage.eventually("nobody is on a server that has left", || {
            game.sessions().iter().all(|session| here.contains(&server_of(session)))
        });
        pause(2 * players::PERIOD);
    }
    let migrations = game.stage.migrated("director");
    game.end("backend gone", migrations).assert_switches(migrations);
}

#[test]
fn players_whose_migration_comes_to_nothing_lose_nothing() {
    let leaver = ServerId(7);
    let stay: Vec<ServerId> =
        all().into_iter().filter(|server| *server != leaver && !is_closed(*server)).collect();
    let with_leaver = [&stay[..], &[leaver]].concat();
    let game = Game::begin(&stay);
    let mut attempts = 0;
    let mut questions = game.stage.questions();
    while attempts < MIGRATIONS {
        game.stage.put(&with_leaver);
        let mut tokens: Vec<Token> = vec![questions.token_once_there(leaver)];
        tokens.extend((1..5 * PLAYERS).map(|_| questions.token(Some(leaver))));
        game.stage.put(&stay);
        game.stage.eventually("it is gone", || game.stage.questions().ask(Some(leaver)).is_err());
        for (turn, token) in tokens.into_iter().enumerate() {
            let streams = &game.streams[turn % PLAYERS];
            game.settle(streams);
            streams.iter().for_each(|stream| game.players.migrate(*stream, token, None));
            attempts += streams.len() as u64;
            pause(Duration::from_millis(2));
        }
    }
    (0..PLAYERS).for_each(|player| game.settle(&game.streams[player]));
    assert_eq!(game.stage.migrated(""), 0);
    let ended = game.end("none: the new server is gone", attempts);
    ended.assert_switches(0);
    assert_eq!(ended.account.refused, attempts);
}

/// A game under way.
struct Game {
    stage: Stage,
    servers: Servers,
    players: Players,
    /// Which streams are each player's: every third has two.
    streams: Vec<Vec<usize>>,
    _alone: MutexGuard<'static, ()>,
}

/// A game that is over.
struct Ended {
    account: Account,
    /// How many datagrams the kernel had no room for: lost by the network.
    overflowed: u64,
}

impl Ended {
    /// Streams have gone to another server no more often than they were migrated: none of them by itself,
    /// and none back. Who is migrated twice between two of his datagrams is seen to go once; what the
    /// kernel has lost would look like a place of its own.
    fn assert_switches(&self, migrations: u64) {
        assert!(self.overflowed > 0 || self.account.switches <= migrations, "{}", self.account.switches);
    }
}

impl Game {
    /// Everybody plays on one of these servers, which run unless their ports are closed.
    fn begin(inventory: &[ServerId]) -> Game {
        let alone = PLAYING.lock().unwrap_or_else(PoisonError::into_inner);
        let running: Vec<ServerId> = all().into_iter().filter(|server| !is_closed(*server)).collect();
        let stage = Stage::new(inventory);
        let servers = Servers::start(&stage.row.servers, &running);
        let mut questions = stage.questions();
        let (mut tokens, mut streams) = (Vec::new(), Vec::new());
        for player in 0..PLAYERS {
            let token = questions.token(None);
            let listeners = &LISTENERS[..if player.is_multiple_of(3) { 2 } else { 1 }];
            streams.push((tokens.len()..tokens.len() + listeners.len()).collect());
            tokens.extend(listeners.iter().map(|listener| (token, *listener)));
        }
        let players = Players::start(&stage.row.clients, &tokens);
        let game = Game { stage, servers, players, streams, _alone: alone };
        (0..PLAYERS).for_each(|player| game.settle(&game.streams[player]));
        game
    }

    /// Waits until every control packet of these streams has been acknowledged.
    fn settle(&self, streams: &[usize]) {
        self.stage.eventually("a control packet is acknowledged", || {
            streams.iter().all(|stream| self.players.is_settled(*stream))
        });
    }

    /// Begins these migrations on the admin port, and waits until they are done.
    fn carry_out(&self, orders: &[Value]) {
        let begun = orders.iter().map(|order| self.stage.post("/v1/migrations", order)["id"].clone());
        for id in begun.collect::<Vec<_>>() {
            let page = format!("/v1/migrations/{id}");
            let report = || -> Value { serde_json::from_str(&self.stage.get(&page).1).expect("JSON") };
            self.stage.eventually("the migration is done", || report()["state"] == "done");
            assert_eq!(report()["moved"], report()["total"], "{}", report());
        }
    }

    /// One of the sessions, and the server that it is on.
    fn session(&self, turn: usize) -> (u64, ServerId) {
        let sessions = self.sessions();
        let session = &sessions[turn * 7 % sessions.len()];
        (session["id"].as_u64().expect("a number"), server_of(session))
    }

    /// All sessions, as the admin port tells them.
    fn sessions(&self) -> Vec<Value> {
        let page: Value = serde_json::from_str(&self.stage.get("/v1/sessions?limit=1000").1).expect("JSON");
        page["sessions"].as_array().expect("a list").clone()
    }

    /// Lets everything arrive, checks the account and prints its line.
    fn end(self, cause: &str, migrations: u64) -> Ended {
        self.players.rest();
        let unclaimed = || self.stage.row.servers.counted("Udp", "NoPorts");
        let deadline = Instant::now() + LAST_WAY;
        let all_is_there = || {
            let (seen, answered) = self.servers.counts();
            let sent = self.players.sent();
            sent == Some(seen + unclaimed()) && answered == self.players.echoed()
        };
        while !all_is_there() && Instant::now() < deadline {
            pause(Duration::from_millis(5));
        }
        let (unclaimed, overflowed, drops) = (unclaimed(), self.stage.overflowed(), self.stage.drops());
        let account = Account::of(&self.players.end(), &self.servers.seen());
        account.print(cause, migrations, unclaimed);
        let fewest = &account.holes[..account.holes.len().min(5)];
        let lost = account.missing as u64 - unclaimed + account.unechoed.len() as u64;
        let what =
            format!("of {fewest:?} and answers {:?}; dropped by the director: {drops:?}", account.unechoed);
        assert!(lost <= overflowed, "{lost} lost, of which {overflowed} in front of full buffers; {what}");
        // How long a player waits goes by what else the machine does: the simulated network holds it to
        // one tick, and here it is told.
        account.waits.iter().for_each(|wait| println!("{wait}"));
        Ended { account, overflowed }
    }
}

/// Where each player goes next: even ones to and fro between two servers, odd ones round all of them.
struct Route(Vec<usize>);

impl Route {
    fn new(players: usize) -> Route {
        Route(vec![0; players])
    }

    fn next(&mut self, player: usize) -> ServerId {
        let all = all();
        self.0[player] += 1;
        let step = if player.is_multiple_of(2) { self.0[player] % 2 } else { self.0[player] };
        all[(player + step) % all.len()]
    }
}

/// Eight game servers, and one in whose place nobody is.
fn all() -> Vec<ServerId> {
    (1..=8).chain([101]).map(ServerId).collect()
}

/// The server that a session is on.
fn server_of(session: &Value) -> ServerId {
    let backend = session["backend"].as_str().expect("a name");
    let number = backend.rsplit('-').next().and_then(|number| number.parse().ok());
    ServerId(number.expect("a number"))
}

/// Sets the pace of what the test does.
fn pause(span: Duration) {
    std::thread::sleep(span);
}
