//! Random play against a reference model: each datagram goes where the model says, and each count is
//! the model's.

mod reference;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use udp_director_core::{BackendSpec, ClientAddr, Dropped, Event, ListenerId, Ports};
use udp_director_testkit::sim::{GAME, Setup, VOICE, World, backend, client_at, lobby};
use udp_director_wire::Token;

use reference::{Home, Model, Sent};

/// Something that happens to a director.
#[derive(Clone, Debug)]
enum Act {
    Issue { host: u8, backend: usize, bound: bool },
    Bare { home: Home, token: usize },
    Control { home: Home, token: usize },
    Send { home: Home, count: usize },
    Reply { slot: usize },
    Wait(Duration),
    Publish { left_out: Option<usize> },
    Reset { session: usize, token: usize, host: u8 },
}

/// Backends by number: first those of games, then those of the default endpoint.
const NAMES: [&str; 5] = ["alpha", "beta", "mute", "lobby", "lounge"];
const GAMES: usize = 3;

fn specs() -> Vec<BackendSpec> {
    let mut mute = backend("mute", 3);
    mute.ports = Ports::Named([("game".to_owned(), 7000)].into());
    vec![backend("alpha", 1), backend("beta", 2), mute, lobby("lobby", 4), lobby("lounge", 5)]
}

fn act() -> impl Strategy<Value = Act> {
    let home = || {
        (any::<bool>(), 1..=2_u8, 1..=3_u16).prop_map(|(voice, host, port)| Home {
            listener: if voice { VOICE } else { GAME },
            client: client_at(host, port),
        })
    };
    let waits = [1, 100, 240, 255, 505, 2_000, 5_100, 9_000, 21_000].map(Duration::from_millis);
    prop_oneof![
        4 => (1..=2_u8, 0..GAMES, prop::bool::weighted(0.8))
            .prop_map(|(host, backend, bound)| Act::Issue { host, backend, bound }),
        3 => (home(), 0..6_usize).prop_map(|(home, token)| Act::Bare { home, token }),
        6 => (home(), 0..6_usize).prop_map(|(home, token)| Act::Control { home, token }),
        8 => (home(), prop_oneof![6 => Just(1), 1 => 2..=10_usize]).prop_map(|(home, count)| Act::Send { home, count }),
        3 => (0..6_usize).prop_map(|slot| Act::Reply { slot }),
        4 => prop::sample::select(waits.to_vec()).prop_map(Act::Wait),
        1 => prop::option::of(0..NAMES.len()).prop_map(|left_out| Act::Publish { left_out }),
        1 => (0..6_usize, 0..6_usize, 1..=2_u8)
            .prop_map(|(session, token, host)| Act::Reset { session, token, host }),
    ]
}

fn setup(workers: u16, has_default_endpoint: bool) -> Setup {
    let mut setup = Setup { workers, backends: specs(), ..Setup::default() };
    setup.settings.has_default_endpoint = has_default_endpoint;
    setup.settings.token_ttl = Duration::from_secs(10);
    setup.settings.session_timeout = Duration::from_secs(20);
    setup.settings.limits.max_sessions = 5;
    setup.settings.limits.max_pending_tokens = 6;
    setup
}

/// The director and the model, side by side.
struct Pair {
    world: World,
    model: Model,
    tokens: Vec<Token>,
    sent: usize,
    seen: (usize, usize, usize),
}

impl Pair {
    fn new(workers: u16, has_default_endpoint: bool) -> Pair {
        let setup = setup(workers, has_default_endpoint);
        let model = Model::new(&setup.settings, specs());
        Pair { world: World::new(setup), model, tokens: Vec::new(), sent: 0, seen: (0, 0, 0) }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Issue { host, backend, bound } => self.issue(*host, *backend, *bound),
            Act::Bare { home, token } => self.present(*home, *token, false),
            Act::Control { home, token } => self.present(*home, *token, true),
            Act::Send { home, count } => (0..*count).for_each(|_| self.send(*home)),
            Act::Reply { slot } => self.reply(*slot),
            Act::Wait(span) => self.wait(*span),
            Act::Publish { left_out } => self.publish(*left_out),
            Act::Reset { session, token, host } => self.reset(*session, *token, *host),
        }
        // A little time between acts, so that no two deadlines fall together.
        self.wait(Duration::from_micros(7));
    }

    fn issue(&mut self, host: u8, backend: usize, bound: bool) {
        if !self.model.is_present(backend) {
            return;
        }
        let issued = self.world.ask(client_at(host, 0).ip(), NAMES[backend], bound);
        assert_eq!(issued.is_ok(), self.model.issue(host, backend, bound));
        self.tokens.extend(issued);
    }

    /// One of the last six tokens.
    fn recent(&self, back: usize) -> Option<(usize, Token)> {
        let number = self.tokens.len().checked_sub(1 + back)?;
        Some((number, self.tokens[number]))
    }

    fn present(&mut self, home: Home, back: usize, control: bool) {
        let Some((number, token)) = self.recent(back) else { return };
        if control {
            self.world.control(home.listener, home.client, token);
            self.model.control(home, number);
        } else {
            self.world.bare(home.listener, home.client, token);
            self.model.bare(home, number, token.as_bytes());
        }
    }

    fn send(&mut self, home: Home) {
        self.sent += 1;
        let payload = format!("datagram {}", self.sent);
        self.world.send(home.listener, home.client, payload.as_bytes());
        self.model.send(home, payload.as_bytes());
    }

    fn reply(&mut self, back: usize) {
        let Some((upstream, addr)) = self.model.recent_slot(back) else { return };
        self.sent += 1;
        let payload = format!("reply {}", self.sent);
        self.world.reply(addr, upstream, payload.as_bytes());
        self.model.reply(upstream, addr, payload.as_bytes());
    }

    fn publish(&mut self, left_out: Option<usize>) {
        let mut backends = specs();
        if let Some(number) = left_out {
            backends.remove(number);
        }
        self.world.publish(backends);
        self.model.publish(left_out);
    }

    fn reset(&mut self, session: usize, token: usize, host: u8) {
        let (Some((session, running)), Some((token, next))) = (self.recent(session), self.recent(token))
        else {
            return;
        };
        let asked_by = client_at(host, 0).ip();
        let admitted = self.world.reset(running, next, asked_by);
        self.world.settle();
        let expected = self.model.reset(session, token, asked_by);
        assert_eq!(admitted.map(|_| ()), expected.as_ref().map(|_| ()).map_err(|refusal| *refusal));
        let outcomes = self.world.resets();
        assert_eq!(outcomes[self.seen.2..], expected.unwrap_or_default());
        self.seen.2 = outcomes.len();
    }

    fn wait(&mut self, span: Duration) {
        self.world.run(span);
        self.world.expire();
        self.model.wait(span);
        self.compare();
    }

    fn compare(&mut self) {
        self.compare_arrivals();
        let delivered = &self.world.watch().delivered[self.seen.1..];
        let delivered: Vec<(ListenerId, ClientAddr, &[u8])> =
            delivered.iter().map(|it| (it.listener, it.client, &it.payload[..])).collect();
        let expected: Vec<_> = self
            .model
            .delivered
            .iter()
            .map(|(home, payload)| (home.listener, home.client, &payload[..]))
            .collect();
        assert_eq!(delivered, expected, "what reached clients");
        self.seen.1 = self.world.watch().delivered.len();
        self.model.delivered.clear();
        self.compare_counts();
    }

    /// The model says which backend, the director which upstream address; the model checks that no
    /// other player has it.
    fn compare_arrivals(&mut self) {
        let arrived = &self.world.watch().arrived[self.seen.0..];
        let expected: Vec<Sent> = std::mem::take(&mut self.model.arrived);
        assert_eq!(arrived.len(), expected.len(), "{arrived:?} {expected:?}");
        for (arrived, sent) in arrived.iter().zip(&expected) {
            assert_eq!((arrived.addr, &arrived.payload), (sent.to, &sent.payload));
            self.model.meet(sent.slot, arrived.upstream);
        }
        self.seen.0 = self.world.watch().arrived.len();
    }

    fn compare_counts(&self) {
        for why in Dropped::all() {
            assert_eq!(self.world.drops(why), self.model.drops(why), "{why:?}");
        }
        for event in Event::ALL {
            assert_eq!(self.world.events(event), self.model.events(event), "{event:?}");
        }
        assert_eq!(self.world.sessions(), self.model.sessions(), "sessions");
        assert_eq!(self.world.waiting(), self.model.waiting(), "tokens that wait");
        assert_eq!(self.world.tokens(), self.model.tokens(), "tokens");
        for (number, name) in NAMES.iter().enumerate().filter(|(number, _)| self.model.is_present(*number)) {
            assert_eq!(self.world.seats(name), self.model.seats(number), "seats on {name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn director_does_what_the_model_does(
        acts in vec(act(), 1..120),
        workers in 1..=3_u16,
        has_default_endpoint in any::<bool>(),
    ) {
        let mut pair = Pair::new(workers, has_default_endpoint);
        for act in &acts {
            pair.act(act);
        }
        pair.world.assert_upstreams_unshared();
        pair.world.run_out();
        pair.world.assert_empty();
    }
}
