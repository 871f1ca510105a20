//! Seats, sticky keys and what is avoided: from a query to the end of the last session.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use udp_director_wire::{Magic, TokenForm};

use super::*;
use crate::addr::ClientAddr;
use crate::inventory::{BackendSpec, Capacity, Ports, Withheld};
use crate::session::Place;
use crate::settings::{Limits, Listener, Protocol};

mod restoring;

pub(super) const GAME: ListenerId = ListenerId(0);
pub(super) const VOICE: ListenerId = ListenerId(1);
const TTL: Duration = Duration::from_secs(30);
const STICKY: Duration = Duration::from_secs(120);

/// A ledger over some backends, and a clock.
struct Desk {
    ledger: Ledger,
    now: Moment,
    tokens: u64,
}

impl Desk {
    fn new(specs: Vec<BackendSpec>) -> Desk {
        let inventory = Inventory::default().next(specs, Vec::new());
        Desk {
            ledger: Ledger::new(Arc::new(settings()), Arc::new(inventory)),
            now: Moment::default(),
            tokens: 0,
        }
    }

    fn publish(&mut self, specs: Vec<BackendSpec>) {
        let next = self.ledger.inventory().next(specs, Vec::new());
        self.ledger.publish(Arc::new(next), None);
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        while self.ledger.expire(self.now) {}
    }

    fn backend(&self, name: &str) -> Arc<Backend> {
        let backends = self.ledger.inventory().backends();
        Arc::clone(backends.iter().find(|backend| backend.spec.name == name).expect("a backend"))
    }

    fn seats(&self, name: &str) -> u32 {
        self.backend(name).load.seats()
    }

    /// A token for that backend, with a key; `None` when it is full.
    fn ask(&mut self, name: &str, key: Option<&str>) -> Option<Token> {
        let seat = Seat::take(&self.backend(name))?;
        self.tokens += 1;
        let text = format!("{:08}-0000-4000-8000-000000000000", self.tokens);
        let token = Token::from_bytes(text.as_bytes()).expect("36 characters");
        let sticky_key = key.map(|key| StickyKey::new("gs", key));
        let asked_by = IpAddr::from([192, 0, 2, 1]);
        let issue = Issue { token, seat, asked_by, bound: true, wanted: None, sticky_key };
        self.ledger.issue(issue, self.now).expect("room for a token");
        Some(token)
    }

    fn redeem(&mut self, token: Token, listener: ListenerId) -> Result<SessionId, Refusal> {
        let client = ClientAddr::new(([192, 0, 2, 1], 5000 + listener.0).into());
        let presented = Presented { token, listener, client, own: None, control: false };
        let Admission::Bind(target) = self.ledger.admit(&presented, self.now)? else { panic!("it is new") };
        let opening = Opening {
            listener,
            client,
            local: IpAddr::from([198, 51, 100, 1]),
            place: Place::Stream,
            addr: target.addr,
            upstream: None,
            by: OpenedBy::Token(token),
        };
        Ok(self.ledger.open(opening, self.now).id)
    }

    fn end(&mut self, session: SessionId) {
        self.ledger.end(session, self.now).expect("it runs");
    }

    fn move_to(&mut self, session: SessionId, name: &str) {
        let to = Arc::new(Seat::take(&self.backend(name)).expect("room"));
        let from = Arc::clone(&self.ledger.session(session).expect("it runs").seat);
        let by = MovedBy::Director(Handover { from, to });
        let addr = self.ledger.admit_migration(session, &by, self.now).expect("it may").addr;
        self.ledger.migrate(Moving { session, by: &by, addr, upstream: None }, self.now);
    }

    fn remembered(&self, key: &str) -> Option<BackendId> {
        self.ledger.remembered(&StickyKey::new("gs", key), self.now)
    }
}

pub(super) fn spec(name: &str, capacity: Capacity) -> BackendSpec {
    BackendSpec {
        id: BackendId::new(name),
        resource_type: "gs".into(),
        namespace: "games".into(),
        name: name.into(),
        address: IpAddr::from([10, 0, 0, 1]),
        ports: Ports::Named(BTreeMap::from([("game".to_owned(), 7), ("voice".to_owned(), 8)])),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        view: serde_json::Value::Null.into(),
        ends_at: None,
        withheld: None,
        capacity,
    }
}

pub(super) fn settings() -> Settings {
    let listener = |id: ListenerId, name: &str| Listener {
        id,
        name: name.into(),
        protocol: Protocol::Tcp,
        port: 7777 + id.0,
        first_of_protocol: id == GAME,
        proxy_protocol: false,
    };
    Settings {
        magic: Magic::default(),
        token_form: TokenForm::Uuid,
        seal: None,
        token_ttl: TTL,
        session_timeout: Duration::from_secs(300),
        migration_grace: Duration::from_millis(250),
        token_grace: Duration::from_millis(500),
        sticky_for: STICKY,
        has_default_endpoint: false,
        limits: Limits { max_sessions: 10, max_pending_tokens: 10 },
        listeners: vec![listener(GAME, "game"), listener(VOICE, "voice")],
    }
}

fn one_seat() -> Desk {
    Desk::new(vec![spec("a", Capacity::of(1, 0, 0)), spec("b", Capacity::Unbounded)])
}

#[test]
fn player_has_one_seat_for_his_token_and_all_his_sessions() {
    let mut desk = one_seat();
    let token = desk.ask("a", None).expect("room");
    assert_eq!((desk.seats("a"), desk.ask("a", None)), (1, None));
    let (game, voice) = (desk.redeem(token, GAME).expect("new"), desk.redeem(token, VOICE).expect("new"));
    assert_eq!(desk.seats("a"), 1);
    desk.end(game);
    assert_eq!(desk.seats("a"), 1);
    desk.end(voice);
    assert_eq!(desk.seats("a"), 0);
}

#[test]
fn seat_of_a_token_that_nobody_redeems_is_free_when_its_time_is_over() {
    let mut desk = one_seat();
    desk.ask("a", None).expect("room");
    desk.pass(TTL - Duration::from_micros(1));
    assert_eq!(desk.seats("a"), 1);
    desk.pass(Duration::from_micros(1));
    assert_eq!(desk.seats("a"), 0);
}

#[test]
fn token_that_has_given_its_seat_back_needs_a_free_one_on_its_next_listener() {
    let mut desk = one_seat();
    let token = desk.ask("a", None).expect("room");
    let game = desk.redeem(token, GAME).expect("new");
    desk.end(game);
    let other = desk.ask("a", None).expect("the seat is free");
    assert_eq!(desk.redeem(token, VOICE), Err(Refusal::BackendFull));
    let others = desk.redeem(other, GAME).expect("new");
    desk.end(others);
    assert!(desk.redeem(token, VOICE).is_ok());
    assert_eq!(desk.seats("a"), 1);
}

#[test]
fn seat_that_was_taken_again_for_nothing_is_given_back() {
    let mut desk = one_seat();
    let token = desk.ask("a", None).expect("room");
    let game = desk.redeem(token, GAME).expect("new");
    desk.ledger.relinquish(&token, desk.now);
    assert_eq!(desk.seats("a"), 1, "a session holds it");
    desk.end(game);
    let client = ClientAddr::new(([192, 0, 2, 1], 6000).into());
    let presented = Presented { token, listener: VOICE, client, own: None, control: false };
    assert!(matches!(desk.ledger.admit(&presented, desk.now), Ok(Admission::Bind(_))));
    assert_eq!(desk.seats("a"), 1);
    desk.ledger.relinquish(&token, desk.now);
    assert_eq!(desk.seats("a"), 0);
}

#[test]
fn backend_that_comes_back_is_as_full_as_it_was() {
    let mut desk = one_seat();
    let token = desk.ask("a", None).expect("room");
    let game = desk.redeem(token, GAME).expect("new");
    desk.publish(vec![spec("b", Capacity::Unbounded)]);
    desk.publish(vec![spec("c", Capacity::Unbounded)]);
    desk.publish(vec![spec("a", Capacity::of(1, 0, 0))]);
    assert_eq!((desk.seats("a"), desk.ask("a", None)), (1, None));
    desk.end(game);
    assert_eq!(desk.seats("a"), 0);
    desk.publish(Vec::new());
    desk.publish(vec![spec("a", Capacity::of(1, 0, 0))]);
    assert!(desk.ask("a", None).is_some());
}

#[test]
fn who_holds_a_seat_keeps_it_when_the_capacity_shrinks() {
    let mut desk = Desk::new(vec![spec("a", Capacity::of(2, 0, 0))]);
    let tokens = [desk.ask("a", None).expect("room"), desk.ask("a", None).expect("room")];
    desk.publish(vec![spec("a", Capacity::of(1, 0, 0))]);
    let sessions = tokens.map(|token| desk.redeem(token, GAME).expect("a token keeps its seat"));
    assert_eq!(desk.seats("a"), 2);
    desk.end(sessions[0]);
    assert_eq!(desk.ask("a", None), None, "one of one is taken");
}

#[test]
fn key_leads_to_its_backend_until_a_while_after_the_last_session() {
    let mut desk = one_seat();
    let token = desk.ask("b", Some("party")).expect("room");
    assert_eq!(desk.remembered("party"), Some(BackendId::new("b")));
    let game = desk.redeem(token, GAME).expect("new");
    desk.pass(STICKY * 3);
    assert_eq!(desk.remembered("party"), Some(BackendId::new("b")), "it plays");
    desk.end(game);
    desk.pass(STICKY - Duration::from_micros(1));
    assert_eq!(desk.remembered("party"), Some(BackendId::new("b")));
    desk.pass(Duration::from_micros(1));
    assert_eq!((desk.remembered("party"), desk.ledger.sticky_key_count()), (None, 0));
}

#[test]
fn key_of_a_token_that_nobody_redeems_is_remembered_for_a_while_too() {
    let mut desk = one_seat();
    desk.ask("b", Some("party")).expect("room");
    desk.pass(TTL);
    assert_eq!(desk.remembered("party"), Some(BackendId::new("b")));
    desk.pass(STICKY);
    assert_eq!(desk.ledger.sticky_key_count(), 0);
}

#[test]
fn key_follows_a_player_whom_the_director_moves() {
    let mut desk = one_seat();
    let token = desk.ask("b", Some("party")).expect("room");
    let game = desk.redeem(token, GAME).expect("new");
    desk.move_to(game, "a");
    assert_eq!(desk.remembered("party"), Some(BackendId::new("a")));
    assert_eq!((desk.seats("a"), desk.seats("b")), (1, 0));
    desk.end(game);
    assert_eq!(desk.remembered("party"), Some(BackendId::new("a")));
}

#[test]
fn token_tells_the_backend_that_its_player_is_on_or_has_left() {
    let mut desk = one_seat();
    let token = desk.ask("b", None).expect("room");
    let at = |desk: &mut Desk| desk.ledger.whereabouts(&token, desk.now);
    assert_eq!(at(&mut desk), Some(BackendId::new("b")));
    let game = desk.redeem(token, GAME).expect("new");
    desk.pass(TTL * 2);
    desk.move_to(game, "a");
    assert_eq!(at(&mut desk), Some(BackendId::new("a")));
    desk.end(game);
    assert_eq!((at(&mut desk), desk.ledger.token_count()), (Some(BackendId::new("a")), 0));
    desk.pass(STICKY);
    assert_eq!(at(&mut desk), None);
}

#[test]
fn sessions_of_a_backend_are_known_wherever_they_move() {
    let mut desk = Desk::new(vec![spec("a", Capacity::Unbounded), spec("b", Capacity::Unbounded)]);
    let players: Vec<SessionId> = (0..4)
        .map(|_| {
            let token = desk.ask("a", None).expect("room");
            desk.redeem(token, VOICE).expect("new");
            desk.redeem(token, GAME).expect("new")
        })
        .collect();
    desk.move_to(players[1], "b");
    desk.end(players[0]);
    let on = |desk: &Desk, name: &str| {
        let backend = BackendId::new(name);
        (desk.ledger.sessions_of(&backend).len(), desk.ledger.players_on(&backend).len())
    };
    assert_eq!((on(&desk, "a"), on(&desk, "b")), ((6, 4), (1, 1)));
    let all: Vec<SessionId> = desk.ledger.sessions().map(|session| session.id).collect();
    all.into_iter().for_each(|session| desk.end(session));
    assert_eq!(desk.ledger.played().count(), 0);
}

#[test]
fn nobody_new_comes_to_a_backend_that_is_withheld() {
    let mut desk = one_seat();
    let token = desk.ask("b", None).expect("room");
    desk.publish(vec![BackendSpec { withheld: Some(Withheld::Cordoned), ..spec("b", Capacity::Unbounded) }]);
    assert_eq!(desk.redeem(token, GAME), Err(Refusal::BackendGone));
}

#[test]
fn move_that_was_decided_before_the_client_moved_himself_changes_nothing() {
    let mut desk = Desk::new(vec![
        spec("a", Capacity::Unbounded),
        spec("b", Capacity::Unbounded),
        spec("c", Capacity::Unbounded),
    ]);
    let token = desk.ask("a", None).expect("room");
    let game = desk.redeem(token, GAME).expect("new");
    let from = Arc::clone(&desk.ledger.session(game).expect("it runs").seat);
    let to = Arc::new(Seat::take(&desk.backend("b")).expect("room"));
    let stale = MovedBy::Operator(Handover { from, to });
    desk.move_to(game, "c");
    let admitted = desk.ledger.admit_migration(game, &stale, desk.now);
    assert_eq!(admitted.map(|target| target.addr), Err(Refusal::NoSession));
}

#[test]
fn nobody_is_moved_to_a_backend_that_is_withheld_by_now() {
    let mut desk = one_seat();
    let token = desk.ask("a", None).expect("room");
    let game = desk.redeem(token, GAME).expect("new");
    let from = Arc::clone(&desk.ledger.session(game).expect("it runs").seat);
    let to = Arc::new(Seat::take(&desk.backend("b")).expect("room"));
    let withheld = BackendSpec { withheld: Some(Withheld::Draining), ..spec("b", Capacity::Unbounded) };
    desk.publish(vec![spec("a", Capacity::of(1, 0, 0)), withheld]);
    let by = MovedBy::Director(Handover { from, to });
    let admitted = desk.ledger.admit_migration(game, &by, desk.now);
    assert_eq!(admitted.map(|target| target.addr), Err(Refusal::BackendWithheld));
}

#[test]
fn player_is_found_by_his_seat_when_the_session_that_he_was_noted_by_has_ended() {
    let mut desk = Desk::new(vec![spec("a", Capacity::Unbounded)]);
    let tokens = [desk.ask("a", None).expect("room"), desk.ask("a", None).expect("room")];
    desk.redeem(tokens[1], GAME).expect("new");
    let (game, voice) =
        (desk.redeem(tokens[0], GAME).expect("new"), desk.redeem(tokens[0], VOICE).expect("new"));
    let seat = Arc::clone(&desk.ledger.session(game).expect("it runs").seat);
    desk.end(game);
    let player = desk.ledger.player_at(&seat).expect("he plays on");
    assert_eq!(player.sessions.iter().map(|at| at.id).collect::<Vec<_>>(), [voice]);
    desk.end(voice);
    assert!(desk.ledger.player_at(&seat).is_none());
}

#[test]
fn session_that_stayed_behind_follows_the_others_of_its_player() {
    let mut desk = Desk::new(["a", "b", "c"].map(|name| spec(name, Capacity::Unbounded)).into());
    let token = desk.ask("a", None).expect("room");
    let (game, voice) = (desk.redeem(token, GAME).expect("new"), desk.redeem(token, VOICE).expect("new"));
    desk.move_to(game, "c");
    let player = desk.ledger.player_of(voice).expect("it runs");
    assert_eq!(player.sessions.len(), 1);
    let Elsewhere::There(seat) = desk.ledger.elsewhere(&player, 7) else { panic!("to his other session") };
    assert_eq!(seat.backend().spec.name, "c");
}

/// What can happen to seats.
#[derive(Clone, Debug)]
enum Act {
    Ask { backend: usize, key: Option<u8> },
    Redeem { token: usize, listener: bool },
    Abandon { token: usize },
    End { session: usize },
    Move { session: usize, backend: usize },
    Pass { seconds: u64 },
    Publish { capacities: [Option<u32>; 3] },
}

fn any_act() -> impl Strategy<Value = Act> {
    let (backend, number) = (0..3_usize, 0..64_usize);
    prop_oneof![
        4 => (backend.clone(), prop::option::of(0..3_u8)).prop_map(|(backend, key)| Act::Ask { backend, key }),
        4 => (number.clone(), any::<bool>()).prop_map(|(token, listener)| Act::Redeem { token, listener }),
        1 => number.clone().prop_map(|token| Act::Abandon { token }),
        3 => number.clone().prop_map(|session| Act::End { session }),
        2 => (number, backend).prop_map(|(session, backend)| Act::Move { session, backend }),
        1 => (0..40_u64).prop_map(|seconds| Act::Pass { seconds }),
        1 => prop::array::uniform3(prop::option::weighted(0.8, 0..4_u32)).prop_map(|capacities| Act::Publish { capacities }),
    ]
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn with_capacities(capacities: [Option<u32>; 3]) -> Vec<BackendSpec> {
    let there = NAMES.iter().zip(capacities);
    there.filter_map(|(name, seats)| Some(spec(name, Capacity::of(seats?, 0, 0)))).collect()
}

impl Desk {
    fn act(&mut self, act: &Act, tokens: &mut Vec<Token>) {
        let sessions: Vec<SessionId> = {
            let mut ids: Vec<_> = self.ledger.sessions().map(|session| session.id).collect();
            ids.sort_unstable();
            ids
        };
        let nth = |number: usize| sessions.get(number % sessions.len().max(1)).copied();
        let known = |number: usize| tokens.get(number % tokens.len().max(1)).copied();
        match act {
            Act::Ask { backend, key } => {
                let is_there = self.ledger.inventory().by_id(&BackendId::new(NAMES[*backend])).is_some();
                if is_there && self.ledger.waiting_count() < 10 && self.ledger.token_count() < 20 {
                    let key = key.map(|key| format!("key-{key}"));
                    tokens.extend(self.ask(NAMES[*backend], key.as_deref()));
                }
            }
            Act::Redeem { token, listener } => {
                let listener = if *listener { GAME } else { VOICE };
                let Some(token) = known(*token) else { return };
                // Whether it may does not matter here.
                let _ = self.redeem(token, listener);
            }
            Act::Abandon { token } => {
                let Some(token) = known(*token) else { return };
                let client = ClientAddr::new(([192, 0, 2, 1], 9000).into());
                let presented = Presented { token, listener: VOICE, client, own: None, control: false };
                if self.ledger.admit(&presented, self.now).is_ok() {
                    self.ledger.relinquish(&token, self.now);
                }
            }
            Act::End { session } => {
                if let Some(session) = nth(*session) {
                    self.end(session);
                }
            }
            Act::Move { session, backend } => {
                let target = self.ledger.inventory().by_id(&BackendId::new(NAMES[*backend])).cloned();
                let seat = target.as_ref().and_then(Seat::take);
                let (Some(session), Some(seat)) = (nth(*session), seat) else { return };
                let from = Arc::clone(&self.ledger.session(session).expect("it runs").seat);
                let by = MovedBy::Director(Handover { from, to: Arc::new(seat) });
                let addr = self.ledger.admit_migration(session, &by, self.now).expect("it may").addr;
                self.ledger.migrate(Moving { session, by: &by, addr, upstream: None }, self.now);
            }
            Act::Pass { seconds } => self.pass(Duration::from_secs(*seconds)),
            Act::Publish { capacities } => self.publish(with_capacities(*capacities)),
        }
    }

    /// Seats that somebody holds, by backend.
    fn held(&self) -> BTreeMap<BackendId, u32> {
        let of_tokens = self.ledger.grants.values().filter_map(|grant| grant.seat.as_ref());
        let of_sessions = self.ledger.sessions().map(|session| &session.seat);
        let seats: BTreeMap<_, _> = of_tokens
            .chain(of_sessions)
            .map(|seat| (Arc::as_ptr(seat), seat.backend().spec.id.clone()))
            .collect();
        let mut held = BTreeMap::new();
        seats.into_values().for_each(|id| *held.entry(id).or_default() += 1);
        held
    }
}

proptest! {
    #[test]
    fn seats_are_those_that_are_held_and_never_given_beyond_capacity(acts in prop::collection::vec(any_act(), 1..150)) {
        let mut desk = Desk::new(with_capacities([Some(2), Some(3), Some(1)]));
        let mut tokens = Vec::new();
        for act in &acts {
            let before = desk.held();
            desk.act(act, &mut tokens);
            let held = desk.held();
            for backend in desk.ledger.inventory().backends() {
                let count = |held: &BTreeMap<BackendId, u32>| held.get(&backend.spec.id).copied().unwrap_or(0);
                prop_assert_eq!(backend.load.seats(), count(&held), "{:?} on {}", act, backend.spec.name);
                let given = count(&held) > count(&before);
                prop_assert!(!given || count(&held) <= backend.spec.capacity.seats(), "{:?}", act);
            }
            let on_roster: usize = desk.ledger.played().map(|id| desk.ledger.sessions_of(id).len()).sum();
            prop_assert_eq!(on_roster, desk.ledger.session_count());
        }
        let sessions: Vec<_> = desk.ledger.sessions().map(|session| session.id).collect();
        sessions.into_iter().for_each(|session| desk.end(session));
        desk.pass(TTL);
        desk.pass(STICKY);
        prop_assert!(desk.held().is_empty());
        prop_assert_eq!((desk.ledger.token_count(), desk.ledger.waiting_count()), (0, 0));
        prop_assert_eq!((desk.ledger.sticky_key_count(), desk.ledger.awaited.len()), (0, 0));
        desk.publish(with_capacities([Some(1); 3]));
        prop_assert!(NAMES.iter().all(|name| desk.seats(name) == 0));
    }
}
